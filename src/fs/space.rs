//! Free space on a disk, and hints for a disk that is full or broken and for limits that are reached.

use std::error::Error;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Most that is left free, in bytes, for whatever else is written to the disk.
const RESERVE: u64 = 256 << 20;

/// How many bytes may be written to the file system of `path` so that a hundredth of it stays free, or
/// 256 MiB if that is less. `None` where it does not say how large it is.
#[must_use]
pub(crate) fn left(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok().filter(|about| about.f_blocks > 0)?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Some(bytes(about.f_bavail).saturating_sub(RESERVE.min(bytes(about.f_blocks) / 100)))
}

/// Whether `error`, or what caused it, is that a disk or a quota is full.
#[must_use]
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind())) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Next steps where `error` says that no space, no inodes or no quota is left, that nothing may be written, that the
/// disk fails, or that a limit is reached; else none.
#[must_use]
pub(crate) fn hints(error: &io::Error) -> Vec<String> {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            return vec!["the limit of open files is too low: raise it with 'ulimit -n 1024'".into()];
        }
        Some(Errno::NFILE) => {
            return vec![
                "all processes of this host have too many files open ('cat /proc/sys/fs/file-nr'): try again later"
                    .into(),
            ];
        }
        Some(Errno::IO) => {
            return vec!["the disk or its file system is faulty: read the kernel log ('dmesg')".into()];
        }
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::StorageFull => vec![
            "free space or inodes on the disk of the store ('df -h', 'df -i'), or make room with 'hermes gc' and 'hermes rm'"
                .into(),
            "or put the store on another disk: HERMES_STORE=DIRECTORY".into(),
        ],
        io::ErrorKind::QuotaExceeded => vec![
            "your disk quota is exceeded ('quota -s'): remove files, or make room with 'hermes gc' and 'hermes rm'".into(),
            "or put the store on another disk: HERMES_STORE=DIRECTORY".into(),
        ],
        io::ErrorKind::ReadOnlyFilesystem => {
            vec!["the store is on a read-only file system: put it on another, HERMES_STORE=DIRECTORY".into()]
        }
        io::ErrorKind::FileTooLarge => {
            vec!["the file is larger than 'ulimit -f' or the file system of the store allows".into()]
        }
        io::ErrorKind::PermissionDenied => {
            vec![
                "the store must belong to you and be writable: use another, HERMES_STORE=DIRECTORY"
                    .into(),
            ]
        }
        _ => vec![],
    }
}
