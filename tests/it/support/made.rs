//! A cache of what is slow to make, for all test processes, below `target/tmp`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hermes::testing::digest::Digest;

/// The directory `NAME-DIGEST`, filled by `make` where it is missing. `key` is what the content depends on.
///
/// # Errors
/// `make`'s; the next process tries again.
pub fn once(name: &str, key: &[u8], make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = parent.join(format!("{name}-{}", Digest::of(key).short()));
    let lock = File::create(parent.join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let ready = directory.with_extension("ready");
    if !ready.exists() {
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        make(&directory)?;
        File::create(&ready).map_err(|error| error.to_string())?;
    }
    Ok(directory)
}

/// The same where only the newest is wanted: those of other keys are removed before.
///
/// # Errors
/// Those of [`once`].
pub fn newest(name: &str, key: &[u8], make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    once(name, key, |directory| {
        let parent = directory.parent().unwrap();
        for entry in fs::read_dir(parent).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if file.starts_with(&format!("{name}-")) && path != directory {
                hermes::testing::fs::remove::path(&path).map_err(|error| error.to_string())?;
            }
        }
        make(directory)
    })
}
