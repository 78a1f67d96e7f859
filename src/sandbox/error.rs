//! Why a command could not be run.

use rustix::io::Errno;

use crate::hint::{ErrorKind, Hint};
use crate::sandbox::advice;
use crate::sandbox::init::{HANDLERS_STEP, OVERLAY_STEP, SOURCES_STEP};
use crate::sandbox::policy::Feature;
use crate::sandbox::tracer::explain::{Entry, Explanation};
use crate::sys::SysError;
use crate::sys::seccomp::LISTENER;

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The namespaces were refused.
    #[error("this host does not let an ordinary user make a user namespace")]
    Namespaces(#[source] SysError),
    /// This is a sandbox of hermes already.
    #[error("hermes does not run in a sandbox of hermes")]
    Nested(#[source] SysError),
    /// A step of init failed.
    #[error("the sandbox cannot be set up: {step}")]
    Setup {
        /// The step, in words.
        step: String,
        /// The call that failed.
        source: SysError,
    },
    /// What was required is not enforced here.
    #[error("this host does not enforce {name}, which --require or --isolation asks for", name = .0.name())]
    Missing(Feature),
    /// Landlock is all that would confine the command.
    #[error("this kernel has no landlock, on which --isolation landlock rests")]
    NoLandlock,
    /// No range of ids is the caller's.
    #[error("{file} has no range of ids for {user}, which --userns range asks for")]
    NoSubIds {
        /// `/etc/subuid`, `/etc/subgid`
        file: &'static str,
        /// The caller.
        user: String,
    },
    /// The helper that maps ranges of ids failed, or is not there.
    #[error("{program} did not map the caller's range of ids: {said}")]
    MapHelper {
        /// `newuidmap`, `newgidmap`
        program: &'static str,
        /// Its reason.
        said: String,
    },
    /// What is written to the root goes to the store's disk, where files of other ids could not be removed.
    #[error("--userns range needs a root that is written to memory, which this kernel does not have")]
    RangeOnDisk,
    /// No such program in the image.
    #[error("command not found: {0}")]
    NotFound(String),
    /// The program is there and cannot be started.
    #[error("cannot run {program}")]
    NotExecutable {
        /// The program.
        program: String,
        /// The kernel's reason.
        source: SysError,
    },
    /// Its interpreter, of a `#!` line or of the ELF header, is not there.
    #[error("cannot run {0}: the interpreter that it names is not in the image")]
    NoInterpreter(String),
    /// The command could not be started, and something was refused that tells why.
    #[error("{error}")]
    Explained {
        /// Why it was not.
        #[source]
        error: Box<SandboxError>,
        /// What was refused.
        explanation: Explanation,
    },
    /// This process has threads, so it may not be forked: a bug.
    #[error("a sandbox was to be started from a process with several threads")]
    Threads,
    /// A standard stream from which the command could go on to other files of the host.
    #[error(
        "{0} is a directory, or a path that was not opened for reading or writing: the command could leave the sandbox by it"
    )]
    Stream(&'static str),
    /// Supervising failed.
    #[error("cannot watch over the sandbox")]
    Supervise(#[source] SysError),
    /// Init was killed from outside, by the out-of-memory killer for instance.
    #[error("the sandbox ended without a word ({0})")]
    Vanished(String),
}

impl SandboxError {
    /// That namespaces were refused with `error`.
    pub(super) fn refused(error: SysError) -> Self {
        if advice::is_inside() { Self::Nested(error) } else { Self::Namespaces(error) }
    }

    /// The call by which an overlay of the image's layers was refused, where that is what failed, and where it is
    /// the host that does not have it or forbids it: not for want of memory, nor because of a damaged layer.
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
            Self::Setup { step, source } if step == OVERLAY_STEP => {
                REFUSALS.iter().any(|errno| source.is(*errno)).then_some(source)
            }
            _ => None,
        }
    }

    /// The call by which a `binfmt_misc` of the sandbox's own was refused, where that is what failed, and where it is the
    /// host that does not have it or forbids it.
    #[must_use]
    pub fn handlers_refused(&self) -> Option<&SysError> {
        const REFUSALS: [Errno; 6] =
            [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NODEV, Errno::NOSYS, Errno::OPNOTSUPP];
        match self {
            Self::Setup { step, source } if step == HANDLERS_STEP => {
                REFUSALS.iter().any(|errno| source.is(*errno)).then_some(source)
            }
            _ => None,
        }
    }

    /// 126 and 127 as every shell has them, 125 for what is not the command's fault.
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
                vec!["a sandbox allows no further one: call hermes outside, once for each image that is needed".into()]
            }
            Self::Setup { source, .. } if source.subject == LISTENER => vec![
                "--fake-root stateful needs Linux 5.6, and no such filter around it; --fake-root stateless needs neither"
                    .into(),
            ],
            Self::Setup { step, source } if step == SOURCES_STEP && source.is(Errno::STALE) => vec![
                "its path led to another directory than a moment before: find out who renames it, and try again".into(),
            ],
            Self::Setup { source, .. } => advice::setup_hints(source),
            Self::NotFound(name) if name.contains('/') => {
                vec!["paths are those inside the sandbox: the current directory is /work; with --isolation landlock, this host's".into()]
            }
            Self::NotFound(name) => vec![format!(
                "the image has no '{name}' on its PATH; see what it has with: hermes run … -- ls /usr/bin"
            )],
            Self::NotExecutable { source, .. } if source.is(Errno::NOEXEC) => {
                vec!["the file is no program for this platform; for a foreign one, say --platform".into()]
            }
            Self::NotExecutable { source, .. } if source.is(Errno::TOOBIG) => {
                vec!["arguments and variables together take more than the kernel allows: a quarter of 'ulimit -s', and 128 KiB each".into()]
            }
            Self::NotExecutable { source, .. } if source.is(Errno::ACCESS) => {
                vec![
                    "set its executable bit (chmod +x), and check that it does not lie on a file system mounted noexec"
                        .into(),
                ]
            }
            Self::NoSubIds { user, .. } => vec![format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or leave --userns out"
            )],
            Self::MapHelper { .. } => vec!["install newuidmap and newgidmap: Debian's package uidmap".into()],
            Self::RangeOnDisk => vec!["Linux 6.6 has it; without --userns range root is faked instead".into()],
            Self::NoLandlock => {
                vec!["it takes Linux 5.13 with 'landlock' in the kernel's lsm= list; 'hermes doctor' says what this host has".into()]
            }
            Self::Missing(Feature::Netns) => vec!["--net host shares the host's network: leave it out".into()],
            Self::Missing(_) => vec!["'hermes doctor' says what this host has, and what would add the rest".into()],
            Self::Explained { error, explanation } => {
                [explanation.refused.iter().map(Entry::sentence).collect(), error.hints()].concat()
            }
            Self::Stream(_) => vec!["give it a file, a pipe or a terminal, or nothing: </dev/null".into()],
            Self::Vanished(_) => vec!["look for 'Out of memory' in the kernel's log".into()],
            _ => vec![],
        }
    }
}
