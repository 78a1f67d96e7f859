//! Real root file systems against GNU tar: `HERMES_TEST_TARS="a.tar b.tar.gz" cargo test real_trees -- --ignored`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::*;

/// What can be seen of a tree: type, permissions, time, and size or target or device; and what is in files.
type GuestView = BTreeMap<Vec<u8>, (char, u32, i64, i64, Vec<u8>)>;

fn look(root: &Path, at: &Path, seen: &mut GuestView) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let (letter, content) = match () {
            () if kind.is_dir() => ('d', vec![]),
            () if kind.is_symlink() => ('l', fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()),
            () if kind.is_file() => ('f', Digest::of(&fs::read(&path).unwrap()).hex().into_bytes()),
            () => ('x', vec![]),
        };
        let mode = if letter == 'l' { 0 } else { meta.mode() & 0o777 };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        seen.insert(name, (letter, mode, meta.mtime(), meta.mtime_nsec(), content));
        if kind.is_dir() {
            look(root, &path, seen);
        }
    }
}

/// Merged alone, a layer is what it is, without what hides things below.
pub(super) fn merges_alike(place: &Place, unpacked: &Unpacked) {
    let merged = tempfile::tempdir_in(place.0.parent()).unwrap();
    let mut merge = Merge::default();
    merge.add(unpacked.toc.clone(), place.fs()).unwrap();
    merge.write(merged.path(), Files::Linked).unwrap();
    if unpacked.toc.entries.iter().any(|entry| entry.path.len() > 1000) {
        return; // too long for an access by path
    }
    let (mut have, mut want) = (GuestView::new(), GuestView::new());
    look(merged.path(), merged.path(), &mut have);
    look(&place.fs(), &place.fs(), &mut want);
    want.retain(|_, seen| seen.0 != 'x');
    assert_eq!(have, want);
    assert!(want.keys().all(|path| !opaque(&merged.path().join(std::ffi::OsStr::from_bytes(path)))));
}

#[test]
#[ignore = "for real root file systems: HERMES_TEST_TARS='a.tar b.tar.gz'"]
fn real_trees() {
    let tars = std::env::var("HERMES_TEST_TARS").expect("HERMES_TEST_TARS names tars");
    for tar in tars.split_whitespace() {
        let temp = tempfile::tempdir().unwrap();
        let (ours, theirs) = (temp.path().join("ours"), temp.path().join("theirs"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        let unpacked = unpack(fs::File::open(tar).unwrap(), TAR, &ours, &Limits::default()).unwrap();
        // An ordinary user's tar cannot make devices, and says so; nothing else may differ.
        Command::new("tar").args(["-x", "--exclude=./dev/*", "-pf", tar, "-C"]).arg(&theirs).status().unwrap();
        let (mut have, mut want) = (GuestView::new(), GuestView::new());
        look(&ours, &ours, &mut have);
        look(&theirs, &theirs, &mut want);
        for (mode, kind) in want.values_mut().map(|(kind, mode, ..)| (mode, *kind)) {
            *mode |= match kind {
                'd' => 0o700,
                'f' => 0o600,
                _ => 0,
            };
        }
        have.retain(|path, _| !path.starts_with(b"dev/"));
        assert_eq!(have.len(), want.len(), "{tar}");
        for (path, want) in &want {
            assert_eq!(have.get(path), Some(want), "{tar}: {}", path.escape_ascii());
        }
        // And the TOC tells what is on disk.
        for entry in &unpacked.toc.entries {
            let seen = have.get(&entry.path);
            match (entry.kind, seen) {
                (Kind::File | Kind::Hardlink, Some((_, mode, seconds, nanos, content))) => {
                    assert_eq!((*seconds, u32::try_from(*nanos).unwrap()), entry.mtime);
                    assert_eq!(*mode, u32::from(entry.mode & 0o777) | 0o600);
                    if let Some(digest) = entry.digest {
                        assert_eq!(digest.hex().as_bytes(), content);
                    }
                }
                (Kind::Symlink, Some((.., target))) => assert_eq!(*target, entry.link),
                _ => {}
            }
        }
        eprintln!("{tar}: {} entries, {} seen on disk", unpacked.entries, have.len());
    }
}
