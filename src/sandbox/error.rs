//! Errors of running a command in a sandbox.

use rustix::io::Errno;

use crate::hint::{ErrorKind, Hint};
use crate::lock::Feature;
use crate::sandbox::advice;
use crate::sandbox::explanation::{Entry, Explanation};
use crate::sandbox::step::Step;
use crate::sys::SysError;

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refused the namespaces.
    #[error("this host does not allow unprivileged user namespaces")]
    Namespaces(#[source] SysError),
    /// This is a sandbox of hermes already.
    #[error("already inside a hermes sandbox; nesting is not supported")]
    Nested(#[source] SysError),
    /// A step of init failed.
    #[error("cannot set up the sandbox: {step}")]
    Setup {
        /// The step that failed.
        step: Step,
        /// The system call that failed.
        source: SysError,
    },
    /// A required feature is not in force.
    #[error("this host does not enforce {name}, which --require or --isolation requires", name = .0.name())]
    Missing(Feature),
    /// This kernel has no landlock, without which nothing would confine the command.
    #[error("this kernel has no landlock, which --isolation landlock requires")]
    NoLandlock,
    /// The caller has no range of ids.
    #[error("{file} has no range of ids for {user}, which --userns range requires")]
    NoSubIds {
        /// `/etc/subuid`, `/etc/subgid`
        file: &'static str,
        /// Name of the caller.
        user: String,
    },
    /// The helper that maps ranges of ids failed or is missing.
    #[error("{program} cannot map the caller's range of ids: {said}")]
    MapHelper {
        /// `newuidmap`, `newgidmap`
        program: &'static str,
        /// Reason.
        said: String,
    },
    /// The root is written to the disk of the store, where files of other ids could not be removed.
    #[error("--userns range needs an overlay in memory, which this kernel does not support")]
    RangeOnDisk,
    /// The image has no such program.
    #[error("command not found: {0}")]
    NotFound(String),
    /// The program exists and cannot be started.
    #[error("cannot run {program}")]
    NotExecutable {
        /// The program.
        program: String,
        /// Error of the kernel.
        source: SysError,
    },
    /// The interpreter of the program, from its `#!` line or ELF header, does not exist.
    #[error("cannot run {0}: the interpreter that it names is not in the image")]
    NoInterpreter(String),
    /// The command could not be started, and denials tell why.
    #[error("{error}")]
    Explained {
        /// Why it could not be started.
        #[source]
        error: Box<SandboxError>,
        /// Denials.
        explanation: Explanation,
    },
    /// This process has several threads, so it must not be forked: a bug.
    #[error("cannot start a sandbox from a process with several threads")]
    Threads,
    /// A standard stream from which the command could reach other files of the host.
    #[error("{0} is a directory, or a path descriptor (O_PATH): the command could leave the sandbox through it")]
    Stream(&'static str),
    /// Supervision failed.
    #[error("cannot supervise the sandbox")]
    Supervise(#[source] SysError),
    /// Init was killed from outside, for instance by the out-of-memory killer.
    #[error("sandbox init exited unexpectedly ({0})")]
    Vanished(String),
}

impl SandboxError {
    /// The error for namespaces that were refused with `error`.
    pub(super) fn refused(error: SysError) -> Self {
        if advice::is_inside() { Self::Nested(error) } else { Self::Namespaces(error) }
    }

    /// The system call by which the host refused an overlay of the image's layers. `None` for other errors, such as a
    /// lack of memory or a damaged layer.
    #[must_use]
    pub fn overlay_refused(&self) -> Option<&SysError> {
        const REFUSALS: [Errno; 10] = [
            Errno::PERM,
            Errno::ACCESS,
            Errno::INVAL,
            Errno::NODEV,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::REMOTE,
            Errno::STALE,
            Errno::OVERFLOW,
            Errno::XDEV,
        ];
        match self {
            Self::Setup { step: Step::MountOverlay | Step::MountManyLayers, source } => {
                REFUSALS.iter().any(|errno| source.is(*errno)).then_some(source)
            }
            _ => None,
        }
    }

    /// Whether [`Self::overlay_refused`] holds for every image: the mount calls that only an image of very many layers needs
    /// say nothing of others.
    #[must_use]
    pub fn refuses_every_overlay(&self) -> bool {
        matches!(self, Self::Setup { step: Step::MountOverlay, .. }) && self.overlay_refused().is_some()
    }

    /// The system call by which the host refused a `binfmt_misc` of the sandbox's own. `None` for other errors.
    #[must_use]
    pub fn handlers_refused(&self) -> Option<&SysError> {
        const REFUSALS: [Errno; 6] =
            [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NODEV, Errno::NOSYS, Errno::OPNOTSUPP];
        match self {
            Self::Setup { step: Step::RegisterEmulator, source } => {
                REFUSALS.iter().any(|errno| source.is(*errno)).then_some(source)
            }
            _ => None,
        }
    }

    /// Exit code: 126 and 127 as of shells, 125 for errors of hermes.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } | Self::NoInterpreter(_) => 126,
            Self::Explained { error, .. } => error.exit_code(),
            _ => 125,
        }
    }
}

impl Hint for SandboxError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Threads => ErrorKind::Internal,
            Self::Explained { error, .. } => error.kind(),
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Namespaces(source) => advice::namespace_hints(source),
            Self::Nested(_) => {
                vec!["run hermes outside the sandbox, once for each image".into()]
            }
            Self::Setup { step, source } => advice::setup_hints(*step, source),
            Self::NotFound(name) if name.contains('/') => {
                vec!["paths are those inside the sandbox, where the current directory is /work; with --isolation landlock they are those of this host".into()]
            }
            Self::NotFound(name) => {
                vec![format!("the image has no '{name}' on its PATH; list its programs: hermes run … -- ls /usr/bin")]
            }
            Self::NotExecutable { source, .. } if source.is(Errno::NOEXEC) => {
                vec![
                    "the file is not a program for this platform; name the platform of a foreign program: --platform"
                        .into(),
                ]
            }
            Self::NotExecutable { source, .. } if source.is(Errno::TOOBIG) => {
                vec!["arguments and variables exceed the limits of the kernel: a quarter of 'ulimit -s' together, and 128 KiB each".into()]
            }
            Self::NotExecutable { source, .. } if source.is(Errno::ACCESS) => {
                vec!["set its executable bit (chmod +x), and check that its file system is not mounted noexec".into()]
            }
            Self::NoSubIds { user, .. } => vec![format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or omit --userns"
            )],
            Self::MapHelper { .. } => vec!["install newuidmap and newgidmap: Debian's package uidmap".into()],
            Self::RangeOnDisk => vec![
                "an overlay in memory needs Linux 6.6; without --userns range, hermes fakes changes of ownership"
                    .into(),
            ],
            Self::NoLandlock => {
                vec!["landlock needs Linux 5.13 with 'landlock' in the kernel's lsm= list; 'hermes doctor' shows what this host supports".into()]
            }
            Self::Missing(Feature::Netns) => vec!["--net host shares the host's network: omit it".into()],
            Self::Missing(_) => vec!["'hermes doctor' shows what this host supports, and how to add the rest".into()],
            Self::Explained { error, explanation } => {
                [explanation.refused.iter().map(Entry::sentence).collect(), error.hints()].concat()
            }
            Self::Stream(_) => vec!["redirect it to a file, a pipe or a terminal, or to </dev/null".into()],
            Self::Vanished(_) => vec!["look for 'Out of memory' in the kernel log".into()],
            _ => vec![],
        }
    }
}
