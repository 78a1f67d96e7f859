//! Whether overlays were found to be refused here, so that the next run does not try in vain.
//!
//! It holds for this boot (so for this kernel) and for the file system that the store is on now. Nothing depends on
//! it: where it is lost, a run tries again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::fs::boot;
use crate::store::settle::read_line;
use crate::store::{Store, StoreError};

pub(super) const FILE: &str = "overlay-refused";

impl Store {
    /// Whether a run has found in this boot that an overlay of this store's layers cannot be mounted.
    #[must_use]
    pub fn refuses_overlay(&self) -> bool {
        let Some(line) = read_line(&self.path(FILE)) else { return false };
        let (boot, place) = line.split_once(' ').unwrap_or_default();
        boot::is_current(boot) && self.device().is_some_and(|here| here == place)
    }

    /// Remembers that; `refused` false forgets it.
    ///
    /// # Errors
    /// The system's: a store that cannot be written to.
    pub fn set_refuses_overlay(&self, refused: bool) -> Result<(), StoreError> {
        let path = self.path(FILE);
        if refused {
            let place = self.device().unwrap_or_default();
            return self.publish(FILE, format!("{} {place}\n", boot::current()).as_bytes());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// The file system of the store.
    fn device(&self) -> Option<String> {
        Some(fs::metadata(self.root()).ok()?.dev().to_string())
    }
}
