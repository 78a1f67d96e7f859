//! Records read again. Whatever stands in their files, no more than a line of it is held at a time.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::record::lines::{Backwards, Line};
use crate::record::{MAX_LINE, RecordError, RunRecord, VERSION, version_2};
use crate::visible::shortened;

/// Fewest digits of an id that name a record.
const LEAST: usize = 4;

/// A record, and its id: the SHA-256 of its line.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The id.
    pub id: Digest,
    /// What it says.
    pub kind: Kind,
}

/// What a line says.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A run.
    Run(Box<RunRecord>),
    /// A run in a record of version 1, which is not enough to repeat it.
    Old(Box<Map<String, Value>>),
    /// Something that a later hermes can read, with its version.
    Newer(u64),
    /// Something that says it is a record of this version and is none.
    Malformed(String),
}

impl Entry {
    /// What the line `line` says; `None` where it is no record at all.
    fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Probe {
            version: u64,
        }
        let version = serde_json::from_slice::<Probe>(line).ok()?.version;
        let run = |record: Result<Box<RunRecord>, serde_json::Error>| match record {
            Ok(record) => Kind::Run(record),
            Err(error) => Kind::Malformed(error.to_string()),
        };
        let kind = match u32::try_from(version) {
            Ok(VERSION) => run(serde_json::from_slice(line)),
            Ok(2) => {
                let record = serde_json::from_slice(line).map(version_2::converted);
                run(record.and_then(serde_json::from_value))
            }
            Ok(..VERSION) => Kind::Old(serde_json::from_slice(line).ok()?),
            _ => Kind::Newer(version),
        };
        Some(Self { id: Digest::of(line), kind })
    }
}

/// The records of a store, the last written first.
pub struct Entries {
    /// The files, of which the last is next.
    files: Vec<PathBuf>,
    lines: Option<Backwards>,
    torn: u64,
}

/// The records in `directory`, the last written first.
///
/// # Errors
/// The directory cannot be read; one that is not there has no records.
pub fn entries(directory: &Path) -> Result<Entries, RecordError> {
    let failed = |source| RecordError::Io { path: directory.to_owned(), source };
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        listed => Some(listed.map_err(failed)?),
    };
    let mut files = Vec::new();
    for entry in listed.into_iter().flatten() {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(Entries { files, lines: None, torn: 0 })
}

impl Entries {
    /// How many lines so far were no records: torn by a crash, or longer than any record.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.torn
    }

    fn line(&mut self) -> Option<Result<Vec<u8>, RecordError>> {
        loop {
            let path = self.files.last()?.clone();
            let failed = |source| RecordError::Io { path: path.clone(), source };
            let lines = match &mut self.lines {
                Some(lines) => lines,
                lines => match Backwards::open(&path, MAX_LINE) {
                    Ok(opened) => lines.insert(opened),
                    Err(error) => {
                        self.files.pop();
                        return Some(Err(failed(error)));
                    }
                },
            };
            match lines.next() {
                Some(Ok(Line::Whole(line))) if line.is_empty() => {}
                Some(Ok(Line::Whole(line))) => return Some(Ok(line)),
                Some(Ok(Line::TooLong)) => self.torn += 1,
                Some(Err(error)) => return Some(Err(failed(error))),
                None => {
                    self.files.pop();
                    self.lines = None;
                }
            }
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.line()? {
                Err(error) => return Some(Err(error)),
                Ok(line) => match Entry::read(&line) {
                    Some(entry) => return Some(Ok(entry)),
                    None => self.torn += 1,
                },
            }
        }
    }
}

/// The record whose id begins with the digits `prefix`.
///
/// # Errors
/// [`RecordError`]: none, more than one, or not to be read.
pub fn find(directory: &Path, prefix: &str) -> Result<Entry, RecordError> {
    let digits = prefix.strip_prefix("sha256:").unwrap_or(prefix);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(LEAST..=64).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        let text = shortened(prefix, 100);
        return Err(RecordError::NoId { text });
    }
    let mut entries = entries(directory)?;
    let mut found: Option<Entry> = None;
    let mut others = BTreeSet::new();
    while let Some(line) = entries.line() {
        let line = line?;
        let id = Digest::of(&line);
        if !id.hex().starts_with(digits) {
            continue;
        }
        match &found {
            None => found = Entry::read(&line),
            Some(first) if first.id == id => {}
            Some(_) => drop(others.insert(id)),
        }
    }
    match found {
        None => Err(RecordError::Unknown { prefix: prefix.to_owned() }),
        Some(found) if others.is_empty() => Ok(found),
        Some(found) => {
            others.insert(found.id);
            Err(RecordError::Ambiguous { prefix: prefix.to_owned(), ids: others.into_iter().collect() })
        }
    }
}
