//! The files of an archive by their names, and links among them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use crate::digest::Digest;
use crate::layer::LayerError;

/// Most links followed from one name to the next: old archives have layers once, and links to them.
const MAX_LINKS: usize = 8;
/// Most memory for the names of files and links, in bytes: many times what those of the largest archives take.
const MAX_NAMES: usize = 64 << 20;

/// The files of an archive that may be a Docker one, by their paths.
#[derive(Default)]
pub(super) struct Members {
    by_path: BTreeMap<String, Member>,
    /// Approximate size of the members in memory, in bytes.
    taken: usize,
}

enum Member {
    /// A file, taken out of the archive by its digest, and its length.
    File(Digest, u64),
    /// Another name for this path.
    Link(String),
}

impl Members {
    /// Whether a file of this name may matter: those of Docker's own form, and what links among blobs lead to.
    pub(super) fn concerns(name: &str) -> bool {
        Path::new(name).extension() == Some(OsStr::new("json")) || name.contains(".tar") || name.starts_with("blobs/")
    }

    pub(super) fn add_file(&mut self, name: &str, digest: Digest, size: u64) -> Result<(), LayerError> {
        self.add(name, Member::File(digest, size))
    }

    fn add(&mut self, name: &str, member: Member) -> Result<(), LayerError> {
        let target = if let Member::Link(target) = &member { target.len() } else { 0 };
        self.taken += name.len() + target + 2 * size_of::<(String, Member)>();
        if self.taken > MAX_NAMES {
            return Err(LayerError::Limit { what: "bytes of names", limit: MAX_NAMES as u64 });
        }
        self.by_path.insert(name.to_owned(), member);
        Ok(())
    }

    /// Adds a link. A link that leads out of the archive is ignored.
    pub(super) fn add_link(&mut self, name: &str, target: &str, hard: bool) -> Result<(), LayerError> {
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut parts: Vec<&str> = if hard { vec![] } else { parent.split('/').collect() };
        let absolute = !hard && target.starts_with('/');
        for part in target.split('/') {
            let inside = match part {
                "" | "." => true,
                ".." => parts.pop().is_some_and(|part| !part.is_empty()),
                _ => {
                    parts.push(part);
                    true
                }
            };
            if absolute || !inside {
                self.by_path.remove(name);
                return Ok(());
            }
        }
        parts.retain(|part| !part.is_empty());
        self.add(name, Member::Link(parts.join("/")))
    }

    /// Whether this is a Docker archive.
    pub(super) fn has_manifest(&self) -> bool {
        self.find("manifest.json").is_some()
    }

    pub(super) fn find(&self, name: &str) -> Option<(Digest, u64)> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..MAX_LINKS {
            match self.by_path.get(name)? {
                Member::File(digest, size) => return Some((*digest, *size)),
                Member::Link(to) => name = to,
            }
        }
        None
    }
}
