//! Operations that the sandbox denied to a command, as init reports them to the supervisor.

use serde::{Deserialize, Serialize};

/// Object of a denied operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum Denied {
    /// A path, after following links.
    Path {
        /// Absolute path inside.
        path: String,
        /// First directory of the path that does not exist, or the path itself; `None` if it exists.
        missing: Option<String>,
        /// Path on the host, if it lies in a mounted directory or the command named it relative to one.
        outside: Option<String>,
    },
    /// A program that exists, but whose interpreter does not.
    Interpreter {
        /// The program.
        program: String,
        /// Absolute path of the interpreter inside.
        path: String,
    },
    /// A set-user-id program that ran without the rights of its owner.
    SetUserId {
        /// The program.
        path: String,
    },
    /// A lookup in the domain name system.
    Lookup {
        /// The name, if it was seen.
        name: Option<String>,
    },
    /// An internet address.
    Address {
        /// Address as text, without the port.
        ip: String,
        /// The port.
        port: u16,
        /// Whether it is an address of this machine.
        loopback: bool,
    },
    /// A socket with an abstract name (unix(7)).
    Abstract {
        /// The name.
        name: String,
    },
    /// A raw internet socket.
    RawSocket {
        /// Name of the address family.
        family: String,
    },
    /// A system call.
    Call {
        /// A detail in words: the address family of a socket, an id.
        detail: Option<String>,
    },
}

impl Denied {
    /// All texts of the object.
    pub(in crate::sandbox) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Path { path, missing, outside } => {
                [Some(path), missing.as_ref(), outside.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::Interpreter { program, path } => vec![program, path],
            Self::SetUserId { path } => vec![path],
            Self::Lookup { name } => name.iter().map(String::as_str).collect(),
            Self::Address { ip, .. } => vec![ip],
            Self::Abstract { name } => vec![name],
            Self::RawSocket { family } => vec![family],
            Self::Call { detail } => detail.iter().map(String::as_str).collect(),
        }
    }
}

/// An operation that the sandbox denied to the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Denial {
    pub(in crate::sandbox) what: Denied,
    /// System call that met the denial first.
    pub(in crate::sandbox) call: String,
    /// Error of that call; 0 if it did not fail.
    pub(in crate::sandbox) errno: i32,
    /// Number of occurrences.
    pub(in crate::sandbox) count: u64,
    /// Last occurrence, counted in denials.
    pub(in crate::sandbox) last: u64,
    /// Program that met it first, by the kernel's name for it.
    pub(in crate::sandbox) program: String,
    /// Process id inside.
    pub(in crate::sandbox) pid: i32,
}
