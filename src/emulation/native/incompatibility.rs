//! Reasons why native tools cannot replace those of an image.

use std::path::PathBuf;

use super::tools::ParseToolError;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;

/// A reason why native tools cannot replace those of an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incompatibility {
    /// A difference that could affect the result of a build.
    #[error("{0}")]
    Differs(String),
    /// An unknown tool.
    #[error(transparent)]
    Unknown(#[from] ParseToolError),
    /// The image has no GCC.
    #[error("the image has no GCC for {} on its PATH", .0.name())]
    NoCompiler(Platform),
    /// The native tools have no cross compiler.
    #[error("the native tools have no cross compiler (a program TARGET-gcc in /usr/bin)")]
    NoCrossCompiler,
    /// A required file is missing or not valid.
    #[error("{path} of the native tools {what}")]
    File {
        /// Path in the image of native tools.
        path: PathBuf,
        what: &'static str,
    },
    /// The image has a file where the libraries of the native tools must be.
    #[error("the image has its own {0}, where the libraries of the native tools must be")]
    Occupied(PathBuf),
    /// The image's compiler reads specs from a file, and the native one is configured differently.
    #[error("GCC is configured differently in the image and among the native tools, and the image has {0}")]
    Specs(PathBuf),
    /// A compiler of unknown origin.
    #[error("{path} of the {whose} belongs to no Debian package, so its sources are unknown")]
    Unpackaged {
        /// Its real path.
        path: PathBuf,
        /// Where it is: in the image, or among the native tools.
        whose: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: std::io::Error },
    /// The output of the compilers differs in the self-test, or the self-test failed.
    #[error("the self-test of the native compilers failed: {0}")]
    SelfTest(String),
    /// The query of the image's compilers failed.
    #[error("cannot query the image's compilers: {0}")]
    Silent(String),
}

impl Hint for Incompatibility {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = match self {
            Self::Differs(_) => vec![
                "native tools must be from the same distribution and release as the image, and built from the same sources: name such an image in [native]"
                    .into(),
            ],
            Self::SelfTest(_) => vec![
                "native compilers must generate the same code as the image's own: name another image in [native]; \
                 docs/emulation.md describes the comparison"
                    .into(),
            ],
            Self::Unpackaged { .. } => vec![
                "native compilers require that the image's compiler is a Debian package: docs/emulation.md".into(),
            ],
            Self::NoCompiler(_) => {
                vec!["name tools that the image has: tools = [\"make\", \"bash\", …] in [native]".into()]
            }
            Self::NoCrossCompiler | Self::File { .. } => {
                vec!["docs/emulation.md describes an image of native tools; scripts/native-image makes one from Debian packages".into()]
            }
            _ => vec![],
        };
        hints.push("--accel off runs without native tools: the same result, but slower".into());
        hints
    }
}
