//! What is told: data, for tables and JSON.

use std::fmt;

use serde::Serialize;

/// What would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// These options of `hermes run`.
    Allow(String),
    /// No option does; what to do in its place.
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

/// One thing that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// What it was: a path, an address, the name of a system call.
    pub what: String,
    /// The call that met it first.
    pub call: String,
    /// What that failed with, such as `ENOENT`; `None` where the call did not fail.
    pub error: Option<String>,
    /// How often.
    pub count: u64,
    /// How many others were merged into this one, since the same option allows them.
    pub others: u64,
    /// The program that met it first.
    pub program: String,
    /// Its process id, inside.
    pub pid: i32,
    /// Why it was refused.
    pub why: String,
    /// What would allow it.
    #[serde(flatten)]
    pub remedy: Remedy,
}

impl Entry {
    /// Why it was refused and what would allow it, in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{}: {}; {}", self.what, self.why, self.remedy)
    }
}

/// Everything that was refused to a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The most telling ones, those first.
    pub refused: Vec<Entry>,
    /// How many more there were.
    pub more: u64,
}
