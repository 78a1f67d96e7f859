//! Why native tools cannot take the place of an image's.

use std::path::PathBuf;

use super::tools::ParseToolError;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incompatibility {
    /// A difference that could be seen in what is built.
    #[error("{0}")]
    Differs(String),
    /// No such tools.
    #[error(transparent)]
    Unknown(#[from] ParseToolError),
    /// The image has no GCC.
    #[error("the image has no GCC for {} on its PATH", .0.name())]
    NoCompiler(Platform),
    /// The native tools have none.
    #[error("the native tools have no cross compiler (a program TARGET-gcc in /usr/bin)")]
    NoCrossCompiler,
    /// A file that is needed is not there, or not what it has to be.
    #[error("{path} of the native tools {what}")]
    File {
        /// In the image of native tools.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The image has something where the native tools' own would have to be.
    #[error("the image has a {0} of its own, where the native tools' libraries would have to be")]
    Occupied(PathBuf),
    /// A compiler of which nobody says from what it is built.
    #[error("{path} of the {whose} belongs to no Debian package, so its sources are unknown")]
    Unpackaged {
        /// Its real path there.
        path: PathBuf,
        /// Whose it is.
        whose: &'static str,
    },
    /// The files cannot be looked at.
    #[error("cannot look at {path}")]
    Io {
        /// Image or tools.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The self-test found that the compilers do not make the same, or could not be made.
    #[error("self-test of the native compilers: {0}")]
    SelfTest(String),
    /// The image was not able to say what it has.
    #[error("the image's compilers cannot be asked what they are: {0}")]
    Silent(String),
}

impl Hint for Incompatibility {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = match self {
            Self::Differs(_) => vec![
                "native tools must be of the image's own distribution and release, and built from the same sources: name such an image in [native]"
                    .into(),
            ],
            Self::SelfTest(_) => vec![
                "native compilers must generate the same code as the image's own: name another image in [native]; \
                 docs/emulation.md says what is compared"
                    .into(),
            ],
            Self::Unpackaged { .. } => vec![
                "native compilers are for images whose compiler is one of Debian's packages: docs/emulation.md".into(),
            ],
            Self::NoCompiler(_) => {
                vec!["name the tools that the image does have: tools = [\"make\", \"bash\", …] in [native]".into()]
            }
            Self::NoCrossCompiler | Self::File { .. } => {
                vec!["docs/emulation.md says what an image of native tools has to hold; scripts/native-image makes one of Debian's packages".into()]
            }
            _ => vec![],
        };
        hints.push("--accel off does without native tools: the same result, more slowly".into());
        hints
    }
}
