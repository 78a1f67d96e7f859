//! Why a record cannot be used.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::record::VERSION;

/// Most ids that are named.
const MAX_NAMED: usize = 5;

/// Why a record, or what it names, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The records cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An object has another digest than the one by which the record names it.
    #[error("{path} has changed since it was recorded: its digest is {found}")]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Digest,
    },
    /// Not the beginning of an id.
    #[error("invalid record id '{text}': expected 4 to 64 hexadecimal digits")]
    NoId {
        /// The text on the command line.
        text: String,
    },
    /// No record has the id.
    #[error("no record has an id that begins with {prefix}")]
    Unknown {
        /// The beginning on the command line.
        prefix: String,
    },
    /// More than one record has such an id.
    #[error("{} records have ids that begin with {prefix}", ids.len())]
    Ambiguous {
        /// The beginning on the command line.
        prefix: String,
        /// Their ids.
        ids: Vec<Digest>,
    },
    /// The directory has no recorded run.
    #[error("there is no recorded run in {project}")]
    NoneHere {
        /// The project.
        project: PathBuf,
    },
    /// Written by a later hermes.
    #[error("the record {} has version {version}; this hermes reads versions up to {VERSION}", id.short())]
    Newer {
        /// The record.
        id: Digest,
        /// Its version.
        version: u64,
    },
    /// Written by an earlier hermes, whose records lack something.
    #[error("the record {} has version 1, which lacks data that {what} needs", id.short())]
    Old {
        /// The record.
        id: Digest,
        /// The verb that needs it.
        what: &'static str,
    },
    /// It has a version that this hermes reads, but is malformed.
    #[error("the record {} is damaged: {reason}", id.short())]
    Malformed {
        /// The record.
        id: Digest,
        /// Where and why.
        reason: String,
    },
}

impl Hint for RecordError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Changed { .. } | Self::Newer { .. } | Self::Malformed { .. } => ErrorKind::Integrity,
            Self::NoId { .. } | Self::Ambiguous { .. } => ErrorKind::Usage,
            Self::Io { .. } | Self::Unknown { .. } | Self::NoneHere { .. } | Self::Old { .. } => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Changed { .. } | Self::Malformed { .. } => {
                vec!["the file was changed, or the disk is faulty; run the command again for a new record".into()]
            }
            Self::NoId { .. } => {
                vec!["'hermes log' lists the records; give a command after '--'".into()]
            }
            Self::Unknown { .. } => vec!["'hermes log' lists the records".into()],
            Self::Ambiguous { ids, .. } => {
                let named: Vec<_> = ids.iter().take(MAX_NAMED).map(|id| id.hex()[..20].to_owned()).collect();
                vec![format!("give more digits: {}", named.join(", "))]
            }
            Self::NoneHere { .. } => vec!["name a record: 'hermes log' lists the records of all directories".into()],
            Self::Newer { .. } => vec!["use the version of hermes that wrote it, or a newer one".into()],
            Self::Old { .. } => vec!["run the command again for a new record".into()],
            Self::Io { .. } => vec![],
        }
    }
}
