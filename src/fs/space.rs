//! What to say when a disk is full.

use std::io;

/// Next steps where `error` says that no space, no inodes or no quota is left; else none.
#[must_use]
pub fn hints(error: &io::Error) -> Vec<String> {
    match error.kind() {
        io::ErrorKind::StorageFull => vec![
            "free space or inodes on the disk of the store ('df -h', 'df -i'), or remove images with 'hermes rm'"
                .into(),
            "a store on another disk: set HERMES_STORE=DIRECTORY".into(),
        ],
        io::ErrorKind::QuotaExceeded => vec![
            "your disk quota is used up ('quota -s'): remove files, or images with 'hermes rm'".into(),
            "a store on another disk: set HERMES_STORE=DIRECTORY".into(),
        ],
        io::ErrorKind::ReadOnlyFilesystem => {
            vec!["the store is on a read-only file system: set HERMES_STORE=DIRECTORY to another".into()]
        }
        _ => vec![],
    }
}
