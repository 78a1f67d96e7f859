//! Explanation of denials (`--explain`), as data for tables and JSON.

use std::fmt;

use serde::Serialize;

/// What would allow the operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// These options of `hermes run`.
    Allow(String),
    /// No option; what to do instead.
    Cannot(String),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(options) => write!(f, "allow it with {options}"),
            Self::Cannot(instead) => write!(f, "cannot be allowed: {instead}"),
        }
    }
}

/// A denied operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Object: a path, an address, the name of a system call.
    pub what: String,
    /// System call that met the denial first.
    pub call: String,
    /// Error of that call, such as `ENOENT`; `None` if it did not fail.
    pub error: Option<String>,
    /// Number of occurrences.
    pub count: u64,
    /// Number of other denials that were merged into this one because the same option allows them.
    pub others: u64,
    /// Program that met it first.
    pub program: String,
    /// Process id inside.
    pub pid: i32,
    /// Reason.
    pub why: String,
    /// Remedy.
    #[serde(flatten)]
    pub remedy: Remedy,
}

impl Entry {
    /// Reason and remedy in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{}: {}; {}", self.what, self.why, self.remedy)
    }
}

/// Everything that was denied to a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// Denials, the most informative ones first.
    pub refused: Vec<Entry>,
    /// Number of further denials.
    pub more: u64,
}
