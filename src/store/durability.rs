//! Durability: whether a layer survived an unclean reboot.
//!
//! `done` holds the id of the boot in which a layer was unpacked, until a later boot has checked the layer: what a file system
//! says of a file after a reboot is what is on disk. Then `done` is empty.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::PoisonError;

use rustix::fs::{CWD, Mode, OFlags};

use crate::digest::Digest;
use crate::fs::boot;
use crate::hint::error_chain;
use crate::layer::{self, Depth, Fault, Toc};
use crate::store::staging::DONE;
use crate::store::{Store, StoreError};

/// Longest text read, in bytes: a digest has 64 digits, the id of a boot 36 characters, a size 20 digits.
const MAX_LINE: usize = 120;

impl Store {
    /// Whether a layer that was unpacked in another boot is still whole. If so it is marked as durable, else removed.
    pub(super) fn verify_after_reboot(&self, diff_id: &Digest) -> bool {
        let done = self.layer(diff_id).join(DONE);
        let Some(before) = read_line(&done) else { return false };
        let seen = || self.inner.survived.lock().unwrap_or_else(PoisonError::into_inner);
        if before.is_empty() || boot::is_current(&before) || seen().contains(diff_id) {
            return true;
        }
        let Ok(directory) = open_directory(&self.layer(diff_id)) else { return false };
        if self.check_layer(diff_id, Depth::Sizes, &|_| ()).is_empty() {
            // In a read-only store every process checks the layer.
            let _ = self.mark_durable(&directory);
            seen().insert(*diff_id);
            return true;
        }
        // Unless another process has replaced it already. Where it cannot be removed, unpacking replaces it.
        if let Some(gate) = self.try_close_gate()
            && let Ok(mut trash) = self.trash()
            && read_line(&done).as_ref() == Some(&before)
        {
            let _ = trash.take(&self.layer(diff_id));
            drop(gate);
            let _ = trash.empty();
        }
        false
    }

    /// Records that everything in the layer in `directory` is on disk.
    pub(super) fn mark_durable(&self, directory: &File) -> Result<(), StoreError> {
        let file = self.temp_file()?;
        let path = Path::new(DONE);
        // By descriptor, since another process may have put another layer at this path.
        rustix::fs::renameat(CWD, file.path(), directory, path).map_err(StoreError::io("write", path))?;
        drop(file);
        Ok(())
    }

    /// Compares an unpacked layer with its table of contents; paths are relative to the layer's
    /// directory.
    pub(super) fn check_layer(&self, diff_id: &Digest, depth: Depth, advance: &dyn Fn(u64)) -> Vec<Fault> {
        let fault = |error: &dyn std::error::Error| vec![Fault { path: b"toc".to_vec(), what: error_chain(error) }];
        let toc = match self.inner.trust.open(&self.toc_path(diff_id)) {
            Ok(file) => Toc::read(BufReader::new(file)),
            Err(error) => return fault(&error),
        };
        let toc = match toc {
            Ok(toc) => toc,
            Err(error) => return fault(&error),
        };
        let mut faults = layer::check(&self.layer_path(diff_id), &toc, self.overlay_ready(diff_id), depth, advance);
        for fault in &mut faults {
            let slash: &[u8] = if fault.path.is_empty() { b"" } else { b"/" };
            fault.path = [b"fs", slash, &fault.path].concat();
        }
        faults
    }
}

/// What is in a `done` or a file like it, without white space at its end; `None` where it cannot be read.
pub(super) fn read_line(path: &Path) -> Option<String> {
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .ok()?;
    let mut text = [0; MAX_LINE];
    let length = rustix::io::read(&file, &mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).trim_end().to_owned())
}

pub(super) fn open_directory(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}
