//! Hostile archives, a test a case, and what good ones look like.

mod patches;
mod zips;

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::fs::source_digest::of_tree;
use crate::hint::{ErrorKind, Hint as _};
use crate::layer::Limits;
use crate::layer::testing::{Canary, Tar};
use crate::source::archive::Unpacked;
use crate::source::tree::Tree;
use crate::source::*;

/// A directory to unpack archives into.
struct Scratch(Canary);

impl Scratch {
    fn new() -> Self {
        Self(Canary::new())
    }

    fn fs(&self) -> PathBuf {
        self.0.fs()
    }

    fn unpack(&self, archive: &[u8], strip: u32, patches: &[&str]) -> Result<Unpacked, UnpackError> {
        // Bombs should not take long.
        let limits = Limits::unpacking_to(1 << 30);
        let outcome = unpack(&mut archive_file(archive), strip, patches, &self.fs(), &limits);
        self.0.assert_alive();
        outcome
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.fs().join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.fs().join(name)).unwrap().permissions().mode() & 0o7777
    }

    fn mtime(&self, name: &str) -> i64 {
        fs::symlink_metadata(self.fs().join(name)).unwrap().mtime()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is in there may not be changed, so neither removed.
        let _ = crate::fs::remove::path(&self.fs());
    }
}

fn archive_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn tar() -> Tar {
    Tar::default()
}

/// The archive is refused, for a reason that has `word` in it, and nothing of it gets out.
#[track_caller]
fn refused(archive: &[u8], word: &str) -> UnpackError {
    let error = Scratch::new().unpack(archive, 0, &[]).unwrap_err();
    let text = crate::visible::visible_path(format!("{error} {error:?}").as_bytes());
    assert!(text.contains(word), "no {word:?} in {text}");
    assert!(!error.to_string().contains(['\n', '\x1b']), "{error:?}");
    error
}

fn compress(program: &str, tar: &[u8]) -> Vec<u8> {
    match program {
        "plain" => tar.to_vec(),
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(tar, 1).unwrap(),
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        other => panic!("{other}"),
    }
}

const ALL: [&str; 5] = ["plain", "gzip", "zstd", "bzip2", "xz"];

fn good() -> Tar {
    tar()
        .dir("top/")
        .mode("top/run", b'0', 0o4777)
        .file("top/src/a.c", "int a;\n")
        .symlink("top/link", "src/a.c")
        .hardlink("top/same", "top/src/a.c")
        .file("top/.wh.kept", "no whiteout")
}

#[test]
fn every_compression_gives_the_same_tree() {
    let mut digests = Vec::new();
    for program in ALL {
        let scratch = Scratch::new();
        let unpacked = scratch.unpack(&compress(program, &good().end()), 1, &[]).unwrap();
        assert_eq!(scratch.read("src/a.c"), "int a;\n", "{program}");
        assert_eq!(scratch.read("link"), "int a;\n", "{program}");
        assert_eq!((unpacked.entries, unpacked.bytes), (6, 18), "{program}");
        assert_eq!(of_tree(&scratch.fs()).unwrap(), unpacked.digest, "{program}");
        digests.push(unpacked.digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn modes_and_times_are_two_and_the_archives() {
    let scratch = Scratch::new();
    scratch.unpack(&good().end(), 1, &[]).unwrap();
    assert_eq!(["run", "src/a.c", "src", ""].map(|name| scratch.mode(name)), [0o555, 0o444, 0o555, 0o555]);
    // 1750 in octal; src has no entry of its own.
    assert_eq!(["run", "src/a.c", "src", "", "link"].map(|name| scratch.mtime(name)), [1000; 5]);
    assert_eq!(scratch.read(".wh.kept"), "no whiteout");
}

#[test]
fn the_digest_tells_every_change() {
    let scratch = Scratch::new();
    let unpacked = scratch.unpack(&good().end(), 1, &[]).unwrap();
    let whole = || of_tree(&scratch.fs()).unwrap();
    assert_eq!(whole(), unpacked.digest);
    let file = scratch.fs().join("src/a.c");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let changed = whole();
    assert_ne!(changed, unpacked.digest, "a mode");
    fs::write(&file, "int b;\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
    assert_ne!(whole(), unpacked.digest, "content");
}

#[test]
fn one_directory_at_the_top_is_left_out() {
    for (tar, strip) in [
        (good(), 1),
        (tar().file("a/x", "").file("a/y", ""), 1),
        (tar().file("./a/x", ""), 1),
        (tar().file("a/x", "").file("b/x", ""), 0),
        (tar().dir("a").file("x", ""), 0),
        (tar().file("x", ""), 0),
    ] {
        assert_eq!(
            strip_of(&mut archive_file(&tar.end()), &Limits::default()).unwrap(),
            strip,
            "{:?}",
            tar.cut().len()
        );
    }
    assert_eq!(
        strip_of(&mut archive_file(&zips::zip(&[("p-1/", ""), ("p-1/a", "x")])), &Limits::default()).unwrap(),
        1
    );
}

#[test]
fn components_are_left_out_as_tar_does() {
    let scratch = Scratch::new();
    scratch.unpack(&tar().file("loose", "x").file("a/b/c", "deep").file("d/e", "flat").end(), 1, &[]).unwrap();
    assert_eq!((scratch.read("b/c").as_str(), scratch.read("e").as_str()), ("deep", "flat"));
    assert!(!scratch.fs().join("loose").exists());
    let error = Scratch::new().unpack(&tar().file("a", "x").end(), 1, &[]).unwrap_err();
    assert!(matches!(error, UnpackError::Empty(1)), "{error}");
}

#[test]
fn h01_dot_dot() {
    for name in ["../canary", "a/../../canary", "a/..", ".."] {
        refused(&tar().file(name, "x").end(), "'..'");
    }
}

#[test]
fn h02_absolute_names() {
    refused(&tar().file("/etc/passwd", "x").end(), "absolute");
    refused(&tar().pax(&[("path", b"/etc/passwd")]).file("x", "x").end(), "absolute");
}

#[test]
fn h03_control_characters() {
    for name in ["a\nb", "a\x1b[2Jb", "a\x07"] {
        refused(&tar().file(name, "x").end(), "control");
    }
    refused(&tar().symlink("a", "b\nc").end(), "target");
}

#[test]
fn h04_links_that_lead_out() {
    refused(&tar().symlink("a", "/etc/passwd").end(), "absolute");
    refused(&tar().symlink("a", "../canary").end(), "leads out");
    refused(&tar().dir("d").symlink("d/a", "../../canary").end(), "leads out");
    refused(&tar().symlink("d/e/up", "../..").symlink("d/e/x", "up/../canary").end(), "leads out");
    // In the archive this one stays inside; without the first directory it does not.
    let error = Scratch::new().unpack(&tar().file("top/a", "").symlink("top/b", "../x").end(), 1, &[]).unwrap_err();
    assert!(error.to_string().contains("leads out"), "{error}");
}

#[test]
fn h05_writing_through_a_link() {
    refused(&tar().symlink("d", "e").file("d/x", "x").end(), "not a directory");
    refused(&tar().symlink("x", "y").file("x", "x").end(), "twice");
    refused(&tar().file("x", "x").symlink("x", "y").end(), "twice");
    refused(&tar().dir("d").symlink("d", "e").end(), "twice");
    refused(&tar().symlink("d", "e").dir("d").end(), "twice");
}

#[test]
fn h06_hard_links_to_what_is_not_there() {
    refused(&tar().hardlink("a", "../canary").end(), "'..'");
    refused(&tar().hardlink("a", "/etc/passwd").end(), "absolute");
    refused(&tar().hardlink("a", "b").file("b", "").end(), "hard link");
    refused(&tar().symlink("s", "x").hardlink("a", "s").end(), "hard link");
    refused(&tar().dir("d").hardlink("a", "d").end(), "hard link");
}

#[test]
fn h07_devices() {
    for kind in [b'3', b'4', b'6'] {
        let error = refused(&tar().with("dev", kind, b"", |_| {}).end(), "device");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}

#[test]
fn h08_setuid_and_what_anybody_may_write() {
    let scratch = Scratch::new();
    let tar =
        tar().mode("suid", b'0', 0o6755).mode("open", b'0', 0o666).mode("dir/", b'5', 0o7777).mode("none", b'0', 0);
    scratch.unpack(&tar.end(), 0, &[]).unwrap();
    let modes = ["suid", "open", "dir", "none"].map(|name| scratch.mode(name));
    assert_eq!(modes, [0o555, 0o444, 0o555, 0o444]);
}

#[test]
fn h09_duplicate_entries() {
    refused(&tar().file("a", "1").file("a", "2").end(), "twice");
    refused(&tar().file("a", "1").file("./a", "2").end(), "twice");
    refused(&tar().file("a", "1").file("a/b", "2").end(), "not a directory");
    refused(&tar().file("x/a", "1").file("x/./a", "2").end(), "twice");
    // What leaving components out makes the same.
    let error = Scratch::new().unpack(&tar().file("x/a", "1").file("y/a", "2").end(), 1, &[]).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    assert!(Scratch::new().unpack(&tar().dir("d").file("d/a", "").dir("d").end(), 0, &[]).is_ok());
}

#[test]
fn h10_bombs() {
    // 40 GiB of zeros that are not there, in a tar of a few blocks.
    let sparse = tar().with("big", b'S', b"", |block| {
        block[482] = 0;
        block[483..495].copy_from_slice(b"\x80\0\0\0\0\0\0\x0a\0\0\0\0");
    });
    refused(&sparse.end(), "");
    // A content that is said to be long, and is not there.
    let long = tar().with("big", b'0', b"", |block| block[124..136].copy_from_slice(b"77777777777\0"));
    refused(long.cut(), "");
    // More than 200 times the size, beyond a GiB.
    let mut bomb =
        tar().with("big", b'0', b"", |block| block[124..136].copy_from_slice(b"10460000000\0")).cut().to_vec();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&bomb).unwrap();
    bomb = vec![0; 1 << 20];
    for _ in 0..1100 {
        encoder.write_all(&bomb).unwrap();
    }
    let error = refused(&encoder.finish().unwrap(), "unpacks to more than 1G, and to more than 200 times its size");
    assert!(error.hints()[0].contains("unpack-limit"));
}

#[test]
fn h10_what_stays_in_memory_is_bounded() {
    let scratch = Scratch::new();
    let mut tree = Tree::limited(&scratch.fs(), 1000, 10_000);
    let deep = |at: usize| format!("{at}/{}d", "x/".repeat(250)).into_bytes();
    // Directories on the way count too, and so do the bytes of all paths.
    let paths = tree.directory(&deep(0), 0);
    assert!(matches!(paths, Err(UnpackError::Limit { limit: 10_000, .. })), "{paths:?}");
    let scratch = Scratch::new();
    let mut tree = Tree::limited(&scratch.fs(), 1000, 1 << 30);
    let entries = (0..5).try_for_each(|at| tree.directory(&deep(at), 0));
    assert!(matches!(entries, Err(UnpackError::Limit { what: "entries", limit: 1000 })), "{entries:?}");
    let scratch = Scratch::new();
    let mut tree = Tree::limited(&scratch.fs(), 1000, 10_000);
    let links = (0..5).try_for_each(|at| tree.symlink(format!("{at}").as_bytes(), vec![b't'; 3000], 0));
    assert!(matches!(links, Err(UnpackError::Limit { limit: 10_000, .. })), "{links:?}");
    let deeper = tar().pax(&[("path", "x/".repeat(300).as_bytes())]).file("f", "").end();
    let deeper = Scratch::new().unpack(&deeper, 0, &[]).unwrap_err().to_string();
    assert!(deeper.ends_with("more than 256 components"), "{deeper}");
}

#[test]
fn h11_xz_that_wants_all_memory() {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.lzma_options.dict_size = 1 << 30;
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(&good().end()).unwrap();
    refused(&encoder.finish().unwrap(), "memory");
}

#[test]
fn h12_damage() {
    for program in &ALL[1..] {
        let whole = compress(program, &good().end());
        for cut in [whole.len() - 1, whole.len() / 2, 12] {
            let error = Scratch::new().unpack(&whole[..cut], 0, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{program} cut at {cut}: {error:?}");
        }
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x40;
        assert!(Scratch::new().unpack(&flipped, 0, &[]).is_err(), "{program}");
        let trailing = [whole.as_slice(), b"garbage"].concat();
        assert!(Scratch::new().unpack(&trailing, 0, &[]).is_err(), "{program}: garbage after it");
    }
    // Two streams are one file.
    let (half, end) = (good().cut().to_vec(), [0; 1024]);
    for program in &ALL[1..] {
        let two = [compress(program, &half), compress(program, &end)].concat();
        assert!(Scratch::new().unpack(&two, 1, &[]).is_ok(), "{program}");
    }
}

#[test]
fn h13_what_is_no_archive() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"7z\xbc\xaf\x27\x1c..", "7z"),
        (b"LZIP\x01...", "lzip"),
        (b"\x1f\x9d\x90...", "compress"),
        (b"<!DOCTYPE html>", "web page"),
        (b"#!/bin/sh\necho hello\n", "invalid tar"),
    ] {
        refused(bytes, word);
    }
}

#[test]
fn h14_a_tar_within_a_compression_within_another() {
    let twice = compress("gzip", &compress("xz", &good().end()));
    refused(&twice, "invalid tar");
}

/// Compressed by the programs that people use.
#[test]
fn archives_of_the_usual_programs() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("p-1.0");
    fs::create_dir_all(tree.join("src")).unwrap();
    fs::write(tree.join("src/x.c"), "int x;\n".repeat(5000)).unwrap();
    fs::write(tree.join("n".repeat(180)), "long name").unwrap();
    let mut digests = Vec::new();
    for (option, program) in [("", "tar"), ("z", "gzip"), ("j", "bzip2"), ("J", "xz")] {
        let there =
            |program: &str| Path::new("/usr/bin").join(program).exists() || Path::new("/bin").join(program).exists();
        if !there(program) {
            continue;
        }
        let file = temp.path().join(format!("a{option}"));
        let words = format!("c{option}f");
        let mut tar = std::process::Command::new("tar");
        tar.args([&words, file.to_str().unwrap(), "-C"]).arg(temp.path()).arg("p-1.0");
        assert!(tar.status().unwrap().success());
        let scratch = Scratch::new();
        digests.push(scratch.unpack(&fs::read(&file).unwrap(), 1, &[]).unwrap().digest);
        assert_eq!(scratch.read("src/x.c").len(), 35000, "{program}");
    }
    assert!(!digests.is_empty());
    digests.dedup();
    assert_eq!(digests.len(), 1);
}
