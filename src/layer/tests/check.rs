//! Every way in which a tree can differ from its table of contents.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::layer::testing::{TAR, Tar};

fn tar() -> Tar {
    Tar::default()
        .dir("bin")
        .file("bin/sh", "a shell")
        .hardlink("bin/bash", "bin/sh")
        .file("bin/copy", "a shell")
        .symlink("bin/link", "sh")
        .hardlink("bin/link2", "bin/link")
        .file("d/.wh..wh..opq", "")
        .file("d/.wh.gone", "")
        .file("plain/file", "x")
        .mode("dev", b'3', 0o600)
}

/// What is found after `spoil` had its way with the tree, by both depths.
fn found(spoil: impl FnOnce(&Path)) -> (Vec<String>, Vec<String>) {
    let temp = tempfile::tempdir().unwrap();
    let unpacked = unpack(tar().end().as_slice(), TAR, temp.path(), &Limits::default()).unwrap();
    assert!(unpacked.overlay_ready, "whiteouts and opaque marks can be made here");
    spoil(temp.path());
    let faults = |depth| {
        let faults = check(temp.path(), &unpacked.toc, unpacked.overlay_ready, depth, &|_| ());
        faults
            .into_iter()
            .map(|Fault { path, what }| format!("{}: {what}", crate::visible::visible_path(&path)))
            .collect()
    };
    (faults(Depth::Contents), faults(Depth::Sizes))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_unpacked_is_as_it_should_be() {
    assert_eq!(found(|_| ()), (vec![], vec![]));
}

#[test]
fn what_sizes_tell() {
    let both = |spoil: &dyn Fn(&Path), fault: &str| {
        let (contents, sizes) = found(spoil);
        assert_eq!((contents[0].as_str(), sizes[0].as_str()), (fault, fault));
        assert_eq!(sizes.len(), 1);
    };
    both(&|root| fs::write(root.join("plain/file"), "").unwrap(), "plain/file: has 0 bytes, not 1");
    both(&|root| fs::remove_file(root.join("plain/file")).unwrap(), "plain/file: is missing");
    both(&|root| fs::remove_file(root.join("d/gone")).unwrap(), "d/gone: is missing");
    both(&|root| fs::remove_dir_all(root.join("plain")).unwrap(), "plain: is missing");
    let replace = |root: &Path, with: &dyn Fn(&Path)| {
        fs::remove_file(root.join("bin/link2")).unwrap();
        with(&root.join("bin/link2"));
    };
    both(&|root| replace(root, &|path| fs::write(path, "sh").unwrap()), "bin/link2: is not a symbolic link");
    both(&|root| replace(root, &|path| symlink("long", path).unwrap()), "bin/link2: has 4 bytes, not 2");
    both(&|root| fs::remove_dir_all(root).unwrap(), ": No such file or directory (os error 2)");
}

#[test]
fn what_only_a_full_look_tells() {
    let only = |spoil: &dyn Fn(&Path), faults: &[&str]| {
        let (contents, sizes) = found(spoil);
        assert_eq!(contents, faults);
        assert_eq!(sizes, [""; 0]);
    };
    only(
        &|root| fs::write(root.join("plain/file"), "y").unwrap(),
        &[&format!("plain/file: its content is {}, not {}", Digest::of(b"y"), Digest::of(b"x"))],
    );
    only(&|root| mode(&root.join("plain/file"), 0o755), &["plain/file: has mode 755, not 644"]);
    only(&|root| mode(&root.join("plain"), 0o700), &["plain: has mode 700, not 755"]);
    only(&|root| fs::write(root.join("plain/more"), "").unwrap(), &["plain/more: does not belong to the layer"]);
    only(&|root| fs::create_dir(root.join("dev")).unwrap(), &["dev: does not belong to the layer"]);
    only(
        &|root| {
            fs::remove_file(root.join("bin/link")).unwrap();
            fs::remove_file(root.join("bin/link2")).unwrap();
            symlink("no", root.join("bin/link")).unwrap();
            fs::hard_link(root.join("bin/link"), root.join("bin/link2")).unwrap();
        },
        &["bin/link: leads elsewhere", "bin/link2: leads elsewhere"],
    );
    let again = |root: &Path, name: &str, from: &str| {
        fs::remove_file(root.join(name)).unwrap();
        fs::hard_link(root.join(from), root.join(name)).unwrap();
    };
    only(&|root| again(root, "bin/copy", "bin/bash"), &["bin/copy: is one file with bin/bash, and should not be"]);
    // Where there are no hard links a copy stands for one: it must have the same content.
    let elsewhere = tempfile::tempdir().unwrap();
    let (new, other) = (elsewhere.path().join("new"), elsewhere.path().join("other"));
    let copy = |root: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(root.join("bin/sh")).unwrap();
        change(&mut bytes);
        fs::copy(root.join("bin/sh"), &new).unwrap();
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, root.join("bin/sh")).unwrap();
    };
    only(&|root| copy(root, &|_| ()), &[]);
    let (contents, _) = found(|root: &Path| copy(root, &|bytes| bytes[0] ^= 1));
    assert!(contents.len() == 1 && contents[0].starts_with("bin/sh: its content is "), "{contents:?}");
    only(
        &|root| {
            copy(root, &|_| ());
            let _ = fs::remove_file(&other);
            fs::hard_link(root.join("bin/sh"), &other).unwrap();
        },
        &["bin/sh: is not one file with bin/bash"],
    );
    let opaque = |root: &Path, name: &str, on: bool| {
        let path = root.join(name);
        if on {
            rustix::fs::setxattr(path, tree::OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
        } else {
            rustix::fs::removexattr(path, tree::OPAQUE).unwrap();
        }
    };
    only(&|root| opaque(root, "d", false), &["d: does not hide what is below it, and should"]);
    only(&|root| opaque(root, "bin", true), &["bin: hides what is below it, and should not"]);
}
