//! The error of every verb.

use std::fmt;
use std::path::PathBuf;

use crate::consent::ConsentError;
use crate::credentials::CredentialsError;
use crate::digest::Digest;
use crate::emulation::native::Incompatibility;
use crate::emulation::{EmulationError, NoHostHandler};
use crate::fetch::FetchError;
use crate::hint::{ErrorKind, Hint};
use crate::lock::LockError;
use crate::platform::{ParsePlatformError, Platform};
use crate::record::RecordError;
use crate::reference::{ParseReferenceError, Reference};
use crate::registry::RegistryError;
use crate::resolve::ResolveError;
use crate::rootfs::UserError;
use crate::sandbox::SandboxError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::toolchain::ToolchainError;

/// Declares the error of all verbs: variants that show the error of a lower module as it is, with its kind and hints, and others.
macro_rules! error_of_verbs {
    (modules { $($module:ident($error:ty),)* } own { $($own:tt)* }) => {
        /// Why a verb failed.
        #[derive(Debug, thiserror::Error)]
        pub(crate) enum Error {
            $(#[error(transparent)] $module(#[from] $error),)*
            $($own)*
        }

        impl Error {
            /// The error of a lower module that this one shows.
            fn of_module(&self) -> Option<&dyn Hint> {
                match self {
                    $(Self::$module(error) => Some(error),)*
                    _ => None,
                }
            }
        }
    };
}

error_of_verbs! {
    modules {
        Consent(ConsentError),
        Credentials(CredentialsError),
        Emulation(EmulationError),
        Fetch(FetchError),
        Lock(LockError),
        Platform(ParsePlatformError),
        Record(RecordError),
        Reference(ParseReferenceError),
        Registry(RegistryError),
        Resolve(ResolveError),
        Sandbox(SandboxError),
        Source(SourceError),
        Store(StoreError),
        Toolchain(ToolchainError),
        NoHostHandler(NoHostHandler),
        User(UserError),
        Verb(VerbError),
    }
    own {
        /// Native tools that are no good for the image.
        #[error("the native tools of {native} cannot be used")]
        Incompatibility {
            /// Their image.
            native: Reference,
            /// Why not.
            source: Box<Incompatibility>,
        },
        /// Native tools are required, and there are none.
        #[error("--accel require: {0}")]
        NotAccelerated(&'static str),
        /// Something would have to be asked of a registry, and must not be.
        #[error("{reference} for {} is not on this machine, and --offline forbids to fetch it", platform.name())]
        Offline {
            /// The image.
            reference: Reference,
            /// The platform.
            platform: Platform,
        },
        /// The layers of a locked image are right, and make another tree than the lock has.
        #[error("{reference} for {} is not the locked tree {locked}: it came out as {found}", platform.name())]
        Tree {
            /// The image.
            reference: Box<Reference>,
            /// The platform.
            platform: Platform,
            /// By the lock.
            locked: Box<Digest>,
            /// As unpacked.
            found: Box<Digest>,
        },
        /// The same for a login.
        #[error("a login is checked with {registry} before it is kept, and --offline forbids that")]
        OfflineLogin {
            /// The registry.
            registry: String,
        },
        /// Not a registry's name.
        #[error("'{text}' is not the name of a registry")]
        NoRegistry {
            /// The text.
            text: String,
        },
        /// There is nobody to ask for a user or a password.
        #[error("cannot ask for {what}")]
        Prompt {
            /// What was to be asked for.
            what: &'static str,
            /// Why.
            source: std::io::Error,
        },
        /// The lock would have to change, and must not.
        #[error("{lock} has no entry for {what}, and --locked forbids to add one")]
        Stale {
            /// The lock file.
            lock: PathBuf,
            /// What is missing in it.
            what: String,
        },
        /// The emulator the lock names is not to be had.
        #[error("the lock wants an emulator for {} with digest {wanted}, and {found}", platform.name())]
        EmulatorChanged {
            /// The foreign platform.
            platform: Platform,
            /// The lock's.
            wanted: Digest,
            /// What there is instead.
            found: String,
        },
        /// Neither the image with the emulator nor an emulator of the host can be had.
        #[error("programs for {} need an emulator, and neither {image} nor a static QEMU of this host can be had", platform.name())]
        NoEmulator {
            /// The foreign platform.
            platform: Platform,
            /// The image that has one.
            image: Box<Reference>,
            /// Why there is none on this host.
            host: Box<EmulationError>,
            /// Why the image cannot be had.
            source: Box<Error>,
        },
        /// The emulator that the host has registered is not the lock's.
        #[error("this host runs programs for {} by {}, and --locked allows only {}", platform.name(), path.display(), wanted(locked.as_ref()))]
        HandlerNotLocked {
            /// The foreign platform.
            platform: Platform,
            /// What is registered.
            path: PathBuf,
            /// The lock's.
            locked: Option<Digest>,
        },
        /// A lock file that is to be forgotten, and of which nothing is known.
        #[error("the store does not know of the lock file {path}")]
        NotSeen {
            /// The lock file.
            path: PathBuf,
        },
        /// An archive cannot be written.
        #[error("cannot write {path}")]
        Archive {
            /// The archive.
            path: PathBuf,
            /// The system's reason.
            source: std::io::Error,
        },
        /// A directory cannot go through a pipe.
        #[error("a directory cannot be written to standard output")]
        NoStream,
        /// An archive on a terminal.
        #[error("an archive is not for a terminal")]
        Terminal,
        /// No such image.
        #[error("there is no image {0} in the store")]
        NoImage(Reference),
        /// An image of which only the name and the manifest are here.
        #[error("the layers of {0} are not in the store")]
        NoLayersHere(Box<Reference>),
        /// Both watch the same system calls.
        #[error("--explain and --fake-root stateful cannot be had together: both need to be asked about the same calls")]
        ExplainWithState,
        /// Neither the user nor the image names a command.
        #[error("no command was given, and {0} has none of its own")]
        NoCommand(Reference),
        /// The image is of no layers.
        #[error("the image has no layers: there is nothing to run in it")]
        NoLayers,
        /// A `-v` that cannot be done.
        #[error("cannot mount {path} into the sandbox")]
        Volume {
            /// The path outside.
            path: PathBuf,
            /// The system's reason.
            source: std::io::Error,
        },
        /// What a `-v` names is not what it named a moment ago.
        #[error("{path} is not the file or directory that it was when this run began")]
        Exchanged {
            /// The path outside.
            path: PathBuf,
        },
        /// The current directory cannot be /work.
        #[error("cannot use the current directory as /work")]
        WorkDirectory {
            /// The system's reason.
            source: std::io::Error,
        },
        /// The standard streams cannot be put aside.
        #[error("cannot put the standard streams aside")]
        Streams {
            /// The system's reason.
            source: std::io::Error,
        },
        /// The asynchronous runtime could not be started.
        #[error("cannot start network I/O")]
        Runtime {
            /// The system's reason.
            source: std::io::Error,
        },
    }
}

/// An error that only one verb has. The verb's own file defines it, and marks it so that `?` makes it an [`Error`].
pub(crate) trait OwnError: Hint + Send + Sync + 'static {}

impl<E: OwnError> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Verb(VerbError(Box::new(error)))
    }
}

/// The error of one verb, shown as it is.
#[derive(Debug)]
pub(crate) struct VerbError(Box<dyn Hint + Send + Sync>);

impl fmt::Display for VerbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for VerbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Hint for VerbError {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    fn hints(&self) -> Vec<String> {
        self.0.hints()
    }
}

/// What the lock allows of emulators.
fn wanted(locked: Option<&Digest>) -> String {
    locked.map_or_else(
        || "an emulator that is in the lock, which has none".to_owned(),
        |digest| format!("one with digest {digest}"),
    )
}

impl Error {
    /// Whether an image cannot be had now, here: nobody has it, or nobody who has it can be asked.
    pub(super) fn is_absence(&self) -> bool {
        let by_registry = |error: &RegistryError| error.kind() == ErrorKind::Failed;
        match self {
            Self::Offline { .. } | Self::Resolve(ResolveError::NoPlatform { .. }) => true,
            Self::Registry(error) => by_registry(error),
            Self::Resolve(ResolveError::Registry { source })
            | Self::Fetch(FetchError::Registry { source } | FetchError::Partial { source }) => by_registry(source),
            _ => false,
        }
    }
}

impl Hint for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Offline { .. } | Self::OfflineLogin { .. } | Self::Stale { .. } | Self::HandlerNotLocked { .. } => {
                ErrorKind::Unavailable
            }
            Self::EmulatorChanged { .. } | Self::Tree { .. } => ErrorKind::Integrity,
            Self::Incompatibility { source, .. } => source.kind(),
            Self::NoEmulator { source, .. } => source.kind(),
            Self::NoCommand(_)
            | Self::NoStream
            | Self::Terminal
            | Self::NoRegistry { .. }
            | Self::Prompt { .. }
            | Self::ExplainWithState
            | Self::Volume { .. } => ErrorKind::Usage,
            _ => self.of_module().map_or(ErrorKind::Failed, Hint::kind),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Offline { reference, platform } => {
                vec![
                    format!(
                        "fetch it while there is a network: hermes pull --platform {} {reference}",
                        platform.name()
                    ),
                    "or bring it as a file: hermes import FILE".into(),
                ]
            }
            Self::Tree { .. } => {
                vec!["somebody changed the lock, or the layers in the store: hermes verify looks at these".into()]
            }
            Self::NoRegistry { .. } => vec!["a registry looks like docker.io, quay.io or 127.0.0.1:5000".into()],
            Self::Prompt { .. } => {
                vec!["without a terminal: hermes login REGISTRY --user USER --password-stdin < FILE".into()]
            }
            Self::Stale { .. } => vec!["run once without --locked, and commit the lock".into()],
            Self::EmulatorChanged { .. } => vec![
                "install the QEMU the lock was made with, or bring the store that has it".into(),
                "or take the one of this host: remove the [emulator] block from the lock; products may differ".into(),
            ],
            Self::Incompatibility { source, .. } => source.hints(),
            Self::NotAccelerated(_) => {
                vec!["--accel auto goes on without native tools; docs/emulation.md says how to name some".into()]
            }
            Self::NoEmulator { host, source, .. } => [source.hints(), host.hints()].concat(),
            Self::HandlerNotLocked { .. } => {
                vec!["leave --emulation host out: hermes brings the locked emulator itself".into()]
            }
            Self::NoStream => vec!["use --format oci or docker-archive, or name a directory".into()],
            Self::Terminal => vec!["name a file, or pipe it on: hermes export IMAGE - | …".into()],
            Self::NotSeen { .. } => vec!["'hermes df' lists the lock files whose images are kept".into()],
            Self::NoLayersHere(image) => vec![format!("fetch them: hermes pull {image}")],
            Self::NoImage(_) => {
                vec!["'hermes images' lists what is there; 'hermes pull' and 'hermes import' add to it".into()]
            }
            Self::ExplainWithState => vec!["--fake-root stateless can be explained".into()],
            Self::NoCommand(_) => vec!["say what to run: hermes run … -- COMMAND".into()],
            Self::Volume { .. } => vec!["-v takes SOURCE:TARGET[:ro]; the source must exist".into()],
            Self::Exchanged { .. } => {
                vec!["something was renamed while hermes fetched: find out who did that, and try again".into()]
            }
            Self::WorkDirectory { .. } => vec!["change to a directory that exists and that you may enter".into()],
            _ => self.of_module().map_or_else(Vec::new, Hint::hints),
        }
    }
}
