//! The error of every verb.

use std::fmt;
use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::consent::ConsentError;
use crate::credentials::CredentialsError;
use crate::debian::SolveError;
use crate::debian::deb::DebError;
use crate::digest::Digest;
use crate::emulation::native::{CrossToolsError, Incompatibility};
use crate::emulation::{EmulationError, NoHostHandler};
use crate::fetch::FetchError;
use crate::hint::{ErrorKind, Hint};
use crate::lock::LockError;
use crate::mirror::MirrorError;
use crate::platform::Platform;
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
        Archive(ArchiveError),
        Consent(ConsentError),
        Credentials(CredentialsError),
        Emulation(EmulationError),
        Fetch(FetchError),
        Lock(LockError),
        Mirror(MirrorError),
        Package(DebError),
        Record(RecordError),
        Reference(ParseReferenceError),
        Registry(RegistryError),
        Resolve(ResolveError),
        Sandbox(SandboxError),
        Solve(SolveError),
        Source(SourceError),
        Store(StoreError),
        Toolchain(ToolchainError),
        NoHostHandler(NoHostHandler),
        User(UserError),
        Verb(VerbError),
    }
    own {
        /// Native tools that are no good for the image.
        #[error("cannot use the native tools of {native}")]
        Incompatibility {
            /// Their image.
            native: Reference,
            /// Why not.
            source: Box<Incompatibility>,
        },
        /// No archive has native tools for the image.
        #[error("cannot choose native tools for {reference}")]
        NoNativeTools {
            /// The image.
            reference: Reference,
            /// Why not.
            source: Box<CrossToolsError>,
        },
        /// Native tools are required but not available.
        #[error("--accel require cannot be met: {0}")]
        NotAccelerated(&'static str),
        /// The image would have to come from a registry, which --offline forbids.
        #[error("{reference} for {} is not on this machine, and --offline forbids downloading it", platform.name())]
        Offline {
            /// The image.
            reference: Reference,
            /// The platform.
            platform: Platform,
        },
        /// The layers of a locked image have the right digests, but unpack to another tree.
        #[error("tree digest mismatch for {reference} for {}: expected {locked}, got {found}", platform.name())]
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
        /// The packages of a root have the right digests, but were composed to another image.
        #[error("{reference} was composed to the image {found}, not to the locked {locked}")]
        Composed {
            /// The reserved reference of the root.
            reference: Box<Reference>,
            /// The manifest in the lock.
            locked: Box<Digest>,
            /// The manifest of the composed image.
            found: Box<Digest>,
        },
        /// The root in the lock was composed by rules that this hermes does not have.
        #[error("{reference} was locked with version {composer} of the rules of composition; this hermes has version {known}")]
        Composer {
            /// The reserved reference of the root.
            reference: Reference,
            /// The version in the lock.
            composer: u32,
            /// The version of this hermes.
            known: u32,
        },
        /// The packages of a foreign root are here, but nothing runs their scripts.
        #[error("the packages of {reference} for {} are on this machine, but cannot be composed", platform.name())]
        NotComposed {
            /// The reserved reference of the root.
            reference: Reference,
            /// The platform of its programs.
            platform: Platform,
        },
        /// A login has to be verified with the registry.
        #[error("cannot verify the credentials for {registry} with --offline")]
        OfflineLogin {
            /// The registry.
            registry: String,
        },
        /// Not a registry's name.
        #[error("invalid registry name '{text}'")]
        NoRegistry {
            /// The text.
            text: String,
        },
        /// The lock would have to change, and must not.
        #[error("{lock} has no entry for {what}, and --locked forbids adding one")]
        Stale {
            /// The lock file.
            lock: PathBuf,
            /// The missing entry.
            what: String,
        },
        /// The lock has no such entry.
        #[error("{lock} has no entry for {what}")]
        NotLocked {
            /// The lock file.
            lock: PathBuf,
            /// The missing entry.
            what: String,
        },
        /// The emulator in the lock is not available.
        #[error("the lockfile requires the emulator for {} with digest {wanted}, but {found}", platform.name())]
        EmulatorChanged {
            /// The foreign platform.
            platform: Platform,
            /// The digest in the lock.
            wanted: Digest,
            /// What there is instead.
            found: String,
        },
        /// Neither the image or package with the emulator nor an emulator of the host is available.
        #[error("programs for {} need an emulator, but neither {place} nor a static QEMU on this host is available", platform.name())]
        NoEmulator {
            /// The foreign platform.
            platform: Platform,
            /// The image or package that has one.
            place: String,
            /// Why this host has none.
            host: Box<EmulationError>,
            /// Why the image or package is not available.
            source: Box<Error>,
        },
        /// The emulator that the host has registered is not the lock's.
        #[error("this host runs programs for {} with {}, but --locked requires {}", platform.name(), path.display(), wanted(locked.as_ref()))]
        HandlerNotLocked {
            /// The foreign platform.
            platform: Platform,
            /// The registered program.
            path: PathBuf,
            /// The digest in the lock.
            locked: Option<Digest>,
        },
        /// A lock file that is no root of the garbage collector.
        #[error("the store keeps no images for the lockfile {path}")]
        NotSeen {
            /// The lock file.
            path: PathBuf,
        },
        /// An archive cannot be written.
        #[error("cannot write {path}")]
        Unwritable {
            /// The archive.
            path: PathBuf,
            /// The system's reason.
            source: std::io::Error,
        },
        /// A directory cannot go through a pipe.
        #[error("cannot write a directory to standard output")]
        NoStream,
        /// An archive would go to a terminal.
        #[error("refusing to write an archive to a terminal")]
        Terminal,
        /// No such image.
        #[error("there is no image {0} in the store")]
        NoImage(Reference),
        /// An image of which only the name and the manifest are here.
        #[error("the layers of {0} are not in the store")]
        NoLayersHere(Box<Reference>),
        /// Both watch the same system calls.
        #[error("--explain and --fake-root stateful cannot be used together: both intercept the same system calls")]
        ExplainWithState,
        /// A nice value that the kernel would refuse.
        #[error("cannot set the nice value {nice}: the lowest allowed value is {lowest}")]
        Nice {
            /// As requested.
            nice: i8,
            /// The caller's, or that of its `RLIMIT_NICE`.
            lowest: i64,
        },
        /// Neither the user nor the image names a command.
        #[error("no command given, and {0} does not define one")]
        NoCommand(Reference),
        /// An image without layers.
        #[error("the image has no layers, so it contains no program to run")]
        NoLayers,
        /// A `-v` that cannot be done.
        #[error("cannot mount {path} into the sandbox")]
        Volume {
            /// The path outside.
            path: PathBuf,
            /// The system's reason.
            source: std::io::Error,
        },
        /// A `-v` that is not well-formed.
        #[error("cannot mount {text}: {why}")]
        VolumeSyntax {
            /// As given.
            text: PathBuf,
            /// The fault.
            why: &'static str,
        },
        /// The file that `-v` names was replaced after the run began.
        #[error("{path} was replaced after this run began")]
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
        /// The standard streams cannot be redirected.
        #[error("cannot redirect the standard streams")]
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
        || "an emulator from the lockfile, which has none".to_owned(),
        |digest| format!("the emulator with digest {digest}"),
    )
}

impl Error {
    /// Whether only the network is missing.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. } | Self::Archive(ArchiveError::Offline { .. }))
    }

    /// Whether an image or package is not available: it does not exist, or its registry or archive cannot be reached.
    pub(super) fn is_absence(&self) -> bool {
        let by_registry = |error: &RegistryError| error.kind() == ErrorKind::Failed;
        match self {
            Self::Offline { .. } | Self::Resolve(ResolveError::NoPlatform { .. }) => true,
            Self::Registry(error) => by_registry(error),
            Self::Archive(error) => error.is_absence(),
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
            Self::EmulatorChanged { .. } | Self::Tree { .. } | Self::Composed { .. } => ErrorKind::Integrity,
            Self::Composer { .. } | Self::NotComposed { .. } | Self::NotLocked { .. } => ErrorKind::Unavailable,
            Self::Incompatibility { source, .. } => source.kind(),
            Self::NoNativeTools { source, .. } => source.kind(),
            Self::NoEmulator { source, .. } => source.kind(),
            Self::NoCommand(_)
            | Self::Nice { .. }
            | Self::NoStream
            | Self::Terminal
            | Self::NoRegistry { .. }
            | Self::ExplainWithState
            | Self::Volume { .. }
            | Self::VolumeSyntax { .. } => ErrorKind::Usage,
            _ => self.of_module().map_or(ErrorKind::Failed, Hint::kind),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Offline { reference, platform } => {
                vec![
                    format!(
                        "download it while there is a network: hermes pull --platform {} {reference}",
                        platform.name()
                    ),
                    "or import it from a file: hermes import FILE".into(),
                ]
            }
            Self::Tree { .. } => {
                vec!["the lockfile or the layers in the store were changed: check the store with hermes verify".into()]
            }
            Self::Composed { .. } => vec![
                "the image in the lockfile was made by another version of hermes, or the lockfile was changed".into(),
                "lock the root again: hermes lock --update".into(),
            ],
            Self::Composer { .. } => vec![
                "use the version of hermes that wrote the lockfile, or a newer one".into(),
                "or lock the root again: hermes lock --update".into(),
            ],
            Self::NotComposed { platform, .. } => {
                vec![format!("install an emulator for {}, or name one in config.toml: [emulator]", platform.name())]
            }
            Self::NoRegistry { .. } => vec!["name a registry such as docker.io, quay.io or 127.0.0.1:5000".into()],
            Self::Stale { .. } => vec!["run once without --locked, then commit the lockfile".into()],
            Self::NotLocked { .. } => vec!["lock it: hermes lock".into()],
            Self::EmulatorChanged { .. } => vec![
                "install the QEMU that the lockfile was made with, or use a store that has it".into(),
                "or use the QEMU of this host: remove the [emulator] block from the lockfile; products may differ"
                    .into(),
            ],
            Self::Incompatibility { source, .. } => source.hints(),
            Self::NoNativeTools { source, .. } => source.hints(),
            Self::NotAccelerated(_) => {
                vec![
                    "--accel auto continues without native tools; docs/emulation.md explains how to define some".into(),
                ]
            }
            Self::NoEmulator { host, source, .. } => [source.hints(), host.hints()].concat(),
            Self::HandlerNotLocked { .. } => {
                vec!["omit --emulation host: hermes then uses the locked emulator".into()]
            }
            Self::NoStream => vec!["use --format oci or docker-archive, or name a directory".into()],
            Self::Terminal => vec!["name a file, or pipe the archive: hermes export IMAGE - | …".into()],
            Self::NotSeen { .. } => vec!["list the lockfiles whose images are kept: hermes df".into()],
            Self::NoLayersHere(image) => vec![format!("download them: hermes pull {image}")],
            Self::NoImage(_) => {
                vec![
                    "'hermes images' lists the images in the store; 'hermes pull' and 'hermes import' add images"
                        .into(),
                ]
            }
            Self::ExplainWithState => vec!["use --explain with --fake-root stateless".into()],
            Self::Nice { lowest, .. } => vec![
                format!("--nice accepts {lowest} to 19 on this host"),
                "a lower value needs privileges; set it outside the sandbox: nice -n -5 hermes run …".into(),
            ],
            Self::NoCommand(_) => vec!["name a command: hermes run … -- COMMAND".into()],
            Self::Volume { .. } | Self::VolumeSyntax { .. } => {
                vec!["-v expects SOURCE:TARGET[:ro]; the source must exist".into()]
            }
            Self::Exchanged { .. } => {
                vec![
                    "another process renamed files while hermes was downloading: find out which, then try again".into(),
                ]
            }
            Self::WorkDirectory { .. } => vec!["change to a directory that exists and that you can enter".into()],
            _ => self.of_module().map_or_else(Vec::new, Hint::hints),
        }
    }
}
