//! Error kinds, hints, and chains of causes.

/// Decides the exit code (`cli::exit`) of a command that ends in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operation failed: the host, the network, a file.
    Failed,
    /// The command line or a file of settings is wrong.
    Usage,
    /// Bytes do not match their digest, size or format.
    Integrity,
    /// Something is not available without the network, or without a change of a lock that must not change.
    Unavailable,
    /// A bug in hermes.
    Internal,
}

/// An error that knows its kind and the user's next step.
pub trait Hint: std::error::Error {
    /// The kind; most errors are plain failures.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    /// Next steps, each naming a command, an option, a file or a sysctl.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The texts of an error and its causes, outermost first. A transparent wrapper has the text of its source, which is given
/// once.
pub(crate) fn texts(error: &dyn std::error::Error) -> Vec<String> {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.dedup();
    texts
}

/// An error and its causes in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    texts(error).join(": ")
}
