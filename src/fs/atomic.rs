//! Whole files, published by rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::fs::litter;

/// What the names of unfinished files begin with.
const PREFIX: &str = ".hermes-";

/// Replaces `path` by `bytes`: a reader sees the old file or the new one, never a part. The
/// temporary file is made beside it and is gone if anything fails.
///
/// # Errors
/// The system's, from creating, writing or renaming.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    publish(file, path)
}

/// Begins a file that is to take the place of `path`, beside it. Dropped, it leaves nothing; what those
/// left who were killed before they could, and it may hold a password, is removed here.
///
/// # Errors
/// The system's.
pub fn create(path: &Path) -> io::Result<NamedTempFile> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sweep(parent);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let prefix = format!("{PREFIX}{}", litter::prefix());
    tempfile::Builder::new().permissions(permissions).prefix(&prefix).tempfile_in(parent)
}

/// Removes what killed processes left. Nothing else: the directory is the user's.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let left = name.to_str().and_then(|name| litter::is_left(name.strip_prefix(PREFIX)?));
        if left == Some(true) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes `file` be `path`.
///
/// # Errors
/// The system's.
pub fn publish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// The system's; `InvalidData` for a longer file.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_file(File::open(path)?, limit)
}

/// Reads an open file of at most `limit` bytes.
///
/// # Errors
/// As [`read_limited`].
pub fn read_file(file: File, limit: u64) -> io::Result<Vec<u8>> {
    // Room for all of it at once: reading into an empty vector begins with 32 bytes at a time.
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}
