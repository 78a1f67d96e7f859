//! A cache of what this host refuses: overlays, or a `binfmt_misc` of a sandbox's own. The next run does not try again.
//!
//! An entry holds for this boot (and so for this kernel), for the file system of the store, and for processes under as many
//! system call filters: a container engine may refuse what the host allows that shares the store. Nothing depends on the
//! cache: where an entry is lost, a run tries again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::fs::boot;
use crate::store::durability::read_line;
use crate::store::layout::{HANDLERS_REFUSED, OVERLAY_REFUSED};
use crate::store::{Store, StoreError};

impl Store {
    /// Whether a run has found in this boot that an overlay of this store's layers cannot be mounted.
    #[must_use]
    pub fn overlay_known_unsupported(&self) -> bool {
        self.refuses(OVERLAY_REFUSED)
    }

    /// Whether a run has found in this boot that a sandbox gets no `binfmt_misc` of its own.
    #[must_use]
    pub fn binfmt_known_unsupported(&self) -> bool {
        self.refuses(HANDLERS_REFUSED)
    }

    fn refuses(&self, file: &str) -> bool {
        read_line(&self.path(file))
            .is_some_and(|line| boot::is_current(boot::current()) && line == self.circumstances())
    }

    /// Remembers that; `refused` false forgets it.
    ///
    /// # Errors
    /// The system's: a store that cannot be written to.
    pub fn set_overlay_unsupported(&self, refused: bool) -> Result<(), StoreError> {
        self.set_refuses(OVERLAY_REFUSED, refused)
    }

    /// The same for [`Store::binfmt_known_unsupported`].
    pub fn set_binfmt_unsupported(&self, refused: bool) -> Result<(), StoreError> {
        self.set_refuses(HANDLERS_REFUSED, refused)
    }

    fn set_refuses(&self, file: &str, refused: bool) -> Result<(), StoreError> {
        let path = self.path(file);
        if refused {
            return self.publish(file, format!("{}\n", self.circumstances()).as_bytes());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// The boot, the file system of the store, and how many filters there are (Linux 5.9; before, whether there are).
    fn circumstances(&self) -> String {
        let device = fs::metadata(self.root()).map(|root| root.dev()).unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let filters = status.lines().filter_map(|line| line.strip_prefix("Seccomp")?.split_whitespace().last());
        format!("{} {device} {}", boot::current(), filters.collect::<Vec<_>>().join("/"))
    }
}
