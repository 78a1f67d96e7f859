//! What every error of hermes can say beside its text: of what kind it is, and what to do next.

/// Decides the exit code (`cli::exit`) of a command that ends in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operation failed: the host, the network, a file.
    Failed,
    /// The user asked for something that does not make sense.
    Usage,
    /// Bytes are not what their digest, size or format promised.
    Integrity,
    /// Not to be had without the network, or a lock that may not change would have to.
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

/// An error with its causes, in one line.
#[must_use]
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut causes: Vec<_> = causes.collect();
    causes.dedup();
    causes.join(": ")
}
