//! Layers: whatever the bytes, nothing appears beside the tree, and the tree is what its table of contents says.
//!
//! The first byte says whether the rest is the blob itself, or a tar to be compressed with gzip or zstd first.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use hermes::testing::digest::Digest;
use hermes::testing::layer::{self, Entry, Kind, LayerError, Limits, Toc, Unpacked};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// As in a run, but for what would only take time; paths end before the kernel's limit for those of this target.
const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 4 << 20,
    ratio: 200,
    free: 1 << 30,
    path: 600,
    depth: 256,
    metadata: 1 << 16,
    table: 1 << 20,
};

fuzz_target!(|data: &[u8]| {
    let Some((form, bytes)) = data.split_first() else { return };
    let blob = match form % 3 {
        0 => bytes.to_vec(),
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        _ => zstd::encode_all(bytes, 1).unwrap(),
    };
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let tree = around.path().join("fs");
    fs::create_dir(&tree).unwrap();
    match layer::unpack(blob.as_slice(), TAR, &tree, &LIMITS) {
        Ok(unpacked) => {
            if form % 3 != 0 {
                assert_eq!(unpacked.diff_id, Digest::of(bytes));
            }
            check(&tree, &unpacked);
        }
        // No tar should lead to a call that the kernel refuses.
        Err(error @ LayerError::Io { .. }) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        Err(_) => {}
    }
    let beside: Vec<_> = fs::read_dir(around.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["fs"]);
    hermes::testing::fs::remove::path(&tree).unwrap();
});

fn check(tree: &Path, unpacked: &Unpacked) {
    let entries = &unpacked.toc.entries;
    assert!(entries.is_sorted_by(|a, b| a.path < b.path), "out of order");
    assert_eq!(entries[0].path, b"");
    assert!(unpacked.entries <= LIMITS.entries && unpacked.bytes <= LIMITS.bytes);
    let mut written = Vec::new();
    unpacked.toc.write(&mut written).unwrap();
    assert_eq!(Toc::read(written.as_slice()).unwrap(), unpacked.toc);

    let mut there = BTreeMap::new();
    look(tree, tree, &mut there);
    let known: BTreeMap<&[u8], &Entry> = entries.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let mut names: HashMap<&[u8], u64> = HashMap::new();
    for entry in entries {
        // Of a hard link, the entry that has the file.
        let leader = if entry.kind == Kind::Hardlink { known[entry.link.as_slice()] } else { entry };
        *names.entry(&leader.path).or_default() += 1;
        assert!(leader.path <= entry.path && leader.kind != Kind::Hardlink, "{entry:?} before {leader:?}");
        if !entry.path.is_empty() {
            let parent = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            assert_eq!(known[&entry.path[..parent]].kind, Kind::Directory, "{entry:?}");
        }
        for part in entry.path.split(|byte| *byte == b'/').filter(|_| !entry.path.is_empty()) {
            assert!(!matches!(part, b"" | b"." | b"..") && part.len() <= 255 && !part.contains(&0), "{entry:?}");
        }
        let absent = match leader.kind {
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::LowerLink => true,
            Kind::Whiteout => !unpacked.overlay_ready,
            _ => false,
        };
        match there.remove(&entry.path) {
            Some(found) if !absent => {
                compare(entry, leader, &tree.join(OsStr::from_bytes(&entry.path)), &found, unpacked.overlay_ready);
                if entry.kind == Kind::Hardlink {
                    let first = fs::symlink_metadata(tree.join(OsStr::from_bytes(&leader.path))).unwrap();
                    assert_eq!(found.ino(), first.ino(), "{entry:?}");
                }
            }
            None if absent => {}
            other => panic!("{entry:?} is on disk as {other:?}"),
        }
    }
    assert!(there.is_empty(), "nobody told of {:?}", there.keys());
    for (path, count) in names {
        match fs::symlink_metadata(tree.join(OsStr::from_bytes(path))) {
            Ok(found) if !found.is_dir() => assert_eq!(found.nlink(), count, "{}", path.escape_ascii()),
            _ => {}
        }
    }
}

fn look(tree: &Path, at: &Path, there: &mut BTreeMap<Vec<u8>, Metadata>) {
    let metadata = fs::symlink_metadata(at).unwrap();
    if metadata.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            look(tree, &entry.unwrap().path(), there);
        }
    }
    there.insert(at.strip_prefix(tree).unwrap().as_os_str().as_bytes().to_vec(), metadata);
}

fn compare(entry: &Entry, leader: &Entry, path: &Path, found: &Metadata, overlay_ready: bool) {
    let kind = found.file_type();
    let mode = found.mode() & 0o7777;
    match leader.kind {
        Kind::File => {
            assert!(kind.is_file(), "{entry:?}");
            assert_eq!(mode, u32::from(entry.mode & 0o777) | 0o600, "{entry:?}");
            let content = fs::read(path).unwrap();
            assert_eq!((entry.size, entry.digest), (content.len() as u64, Some(Digest::of(&content))), "{entry:?}");
        }
        Kind::Directory => {
            assert!(kind.is_dir(), "{entry:?}");
            assert_eq!(mode, u32::from(entry.mode & 0o1777) | 0o700, "{entry:?}");
        }
        Kind::Symlink => {
            assert!(kind.is_symlink(), "{entry:?}");
            if entry.kind == Kind::Symlink {
                assert_eq!(fs::read_link(path).unwrap().as_os_str().as_bytes(), entry.link);
            }
        }
        Kind::Whiteout => return assert!(kind.is_char_device() && found.rdev() == 0, "{entry:?}"),
        other => panic!("{other:?} on disk"),
    }
    assert_eq!((found.mtime(), found.mtime_nsec()), (entry.mtime.0, i64::from(entry.mtime.1)), "{entry:?}");
    if !kind.is_symlink() {
        let mut list = vec![0; 1 << 16];
        let length = rustix::fs::listxattr(path, &mut list).unwrap();
        let mut opaque = false;
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            if name == b"user.overlay.opaque" {
                opaque = true;
                continue;
            }
            assert!(name.starts_with(b"user.") && !name.starts_with(b"user.overlay."), "{}", name.escape_ascii());
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::getxattr(path, name, &mut value).unwrap();
            assert_eq!(entry.xattrs.get(name).map(Vec::as_slice), Some(&value[..length]), "{entry:?}");
        }
        assert!(opaque == entry.opaque || !overlay_ready, "{entry:?}");
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    hermes_fuzz::mutate_tar(data, 1, size, max_size, seed)
});
