//! Error of a system call.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A failed system call, with its subject and errno. It can be sent to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysError {
    /// Name of the call, such as `mount`.
    pub call: Cow<'static, str>,
    /// Object of the call: a path, a name.
    pub subject: String,
    /// The errno.
    pub errno: i32,
}

impl SysError {
    /// The failure of `call` on `subject` with `errno`.
    pub fn new(call: &'static str, subject: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self { call: Cow::Borrowed(call), subject: subject.into(), errno: errno.into().0 }
    }

    /// Whether the errno is `errno`.
    #[must_use]
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.errno == errno.raw_os_error()
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = io::Error::from_raw_os_error(self.errno);
        if self.subject.is_empty() {
            write!(f, "{}: {reason}", self.call)
        } else {
            write!(f, "{} {}: {reason}", self.call, self.subject)
        }
    }
}

impl std::error::Error for SysError {}

/// An errno of any of the crates in use.
pub struct Errno(i32);

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Turns an errno into a [`SysError`].
pub(crate) trait Context<T> {
    /// Adds the name and the object of the call.
    fn call(self, call: &'static str, subject: impl AsRef<std::path::Path>) -> Result<T, SysError>;
}

impl<T, E: Into<Errno>> Context<T> for Result<T, E> {
    fn call(self, call: &'static str, subject: impl AsRef<std::path::Path>) -> Result<T, SysError> {
        self.map_err(|errno| SysError::new(call, subject.as_ref().display().to_string(), errno))
    }
}
