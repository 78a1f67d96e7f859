//! The error of a system call.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A system call that failed: which, on what, and the errno. It can cross a process boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysError {
    /// The call, such as `mount`.
    pub call: Cow<'static, str>,
    /// What it was applied to: a path, a name.
    pub subject: String,
    /// The errno.
    pub errno: i32,
}

impl SysError {
    /// `call` on `subject` failed with `errno`.
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

/// An errno from any of the crates in use.
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

/// Turns the errno of a crate into a [`SysError`].
pub(crate) trait Context<T> {
    /// Names the call and what it was applied to.
    ///
    /// # Errors
    /// The failure that `self` was.
    fn call(self, call: &'static str, subject: impl AsRef<std::path::Path>) -> Result<T, SysError>;
}

impl<T, E: Into<Errno>> Context<T> for Result<T, E> {
    fn call(self, call: &'static str, subject: impl AsRef<std::path::Path>) -> Result<T, SysError> {
        self.map_err(|errno| SysError::new(call, subject.as_ref().display().to_string(), errno))
    }
}
