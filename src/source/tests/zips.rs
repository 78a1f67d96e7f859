//! Zips, byte by byte, so that they can be as wrong as the test needs.

use super::{Scratch, refused};
use crate::hint::{ErrorKind, Hint as _};

/// One entry under construction.
#[derive(Clone)]
pub(super) struct Entry {
    name: Vec<u8>,
    local_name: Option<Vec<u8>>,
    content: Vec<u8>,
    method: u16,
    flags: u16,
    mode: u32,
    crc: Option<u32>,
    size: Option<u32>,
    extra: Vec<u8>,
}

impl Entry {
    fn new(name: &str, content: &str) -> Self {
        let mode = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
        Self {
            name: name.into(),
            local_name: None,
            content: content.into(),
            method: 8,
            flags: 0,
            mode,
            crc: None,
            size: None,
            extra: vec![],
        }
    }

    fn stored(self) -> Vec<u8> {
        if self.method != 8 {
            return self.content;
        }
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &self.content).unwrap();
        encoder.finish().unwrap()
    }

    fn fields(&self) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(&self.content);
        let stored = u32::try_from(self.clone().stored().len()).unwrap();
        let size = self.size.unwrap_or(u32::try_from(self.content.len()).unwrap());
        [
            &self.flags.to_le_bytes()[..],
            &self.method.to_le_bytes(),
            // 2001-09-09 01:46:40
            &[0xd4, 0x0d, 0x29, 0x2b],
            &self.crc.unwrap_or(crc.sum()).to_le_bytes(),
            &stored.to_le_bytes(),
            &size.to_le_bytes(),
        ]
        .concat()
    }
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_le_bytes()
}

/// The archive, whose directory has the entries at `offset` where one is given.
fn build(entries: &[Entry], offset: impl Fn(usize, u32) -> u32) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (number, entry) in entries.iter().enumerate() {
        let at = offset(number, u32::try_from(out.len()).unwrap());
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        out.extend([b"PK\x03\x04\x14\0", &entry.fields()[..], &length(local_name), &[0, 0], local_name].concat());
        out.extend(entry.clone().stored());
        directory.extend(
            [
                b"PK\x01\x02\x14\x03\x14\0",
                &entry.fields()[..],
                &length(&entry.name),
                &length(&entry.extra),
                &[0; 6],
                &(entry.mode << 16).to_le_bytes(),
                &at.to_le_bytes(),
                &entry.name,
                &entry.extra,
            ]
            .concat(),
        );
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (size, at) = (u32::try_from(directory.len()).unwrap(), u32::try_from(out.len()).unwrap());
    let end = [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]].concat();
    [out, directory, end].concat()
}

/// A good one.
pub(super) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(name, content)| Entry::new(name, content)).collect();
    build(&entries, |_, at| at)
}

fn one(entry: Entry) -> Vec<u8> {
    build(&[entry], |_, at| at)
}

#[test]
fn a_zip_is_unpacked() {
    let stored = Entry { method: 0, mode: 0o100_755, ..Entry::new("p/run", "#!/bin/sh\n") };
    let link = Entry { mode: 0o120_777, ..Entry::new("p/link", "sub/a.c") };
    let times = [0x55, 0x54, 5, 0, 1, 0xd2, 4, 0, 0];
    let dated = Entry { extra: times.to_vec(), ..Entry::new("p/timed", "x") };
    let dir = Entry::new("p/", "");
    let deep = Entry::new("p/sub/a.c", &"int a;\n".repeat(10_000));
    let scratch = Scratch::new();
    let unpacked = scratch.unpack(&build(&[dir, stored, link, dated, deep], |_, at| at), 1, &[]).unwrap();
    assert_eq!(scratch.read("link").len(), 70_000);
    assert_eq!((scratch.mode("run"), scratch.mode("timed")), (0o555, 0o444));
    assert_eq!((scratch.mtime("run"), scratch.mtime("timed")), (1_000_000_000, 1234));
    assert_eq!(unpacked.entries, 5);
    assert_eq!(crate::fs::source_digest::of_tree(&scratch.fs()).unwrap(), unpacked.digest);
}

#[test]
fn z01_names() {
    for (name, word) in [
        ("../canary", "'..'"),
        ("/etc/passwd", "absolute"),
        ("a\nb", "control"),
        ("..\\canary", "backslash"),
        ("", "empty"),
    ] {
        refused(&zip(&[(name, "x")]), word);
    }
}

#[test]
fn z02_links_that_lead_out() {
    refused(&one(Entry { mode: 0o120_777, ..Entry::new("a", "../canary") }), "leads out");
    refused(&one(Entry { mode: 0o120_777, ..Entry::new("a", "/etc/passwd") }), "absolute");
    refused(&one(Entry { mode: 0o120_777, ..Entry::new("a", &"x".repeat(5000)) }), "target");
}

#[test]
fn z03_duplicate_entries() {
    refused(&zip(&[("a", "1"), ("a", "2")]), "twice");
    refused(&zip(&[("a", "1"), ("a/b", "2")]), "not a directory");
}

#[test]
fn z04_tables_that_differ() {
    refused(&one(Entry { local_name: Some(b"evil".into()), ..Entry::new("good", "x") }), "one name");
    // Another header's content, of the same length.
    let two = [Entry::new("a", "one"), Entry::new("b", "two")];
    refused(&build(&two, |_, _| 0), "one");
    let mut spoilt = zip(&[("a", "x")]);
    spoilt[8] = 0;
    refused(&spoilt, "alike");
    let mut spoilt = zip(&[("a", "x")]);
    spoilt[22] = 9;
    refused(&spoilt, "one size");
}

#[test]
fn z05_contents_that_overlap() {
    let two = [Entry::new("a", "one"), Entry::new("a", "one")];
    refused(&build(&two, |_, _| 0), "overlap");
}

#[test]
fn z06_two_ends() {
    let inner = zip(&[("inner", "x")]);
    // A whole zip in the comment of another.
    let mut outer = zip(&[("outer", "x")]);
    let at = outer.len() - 2;
    outer[at..].copy_from_slice(&length(&inner));
    refused(&[outer, inner.clone()].concat(), "ambiguous");
    // Something before it, which makes all places wrong.
    refused(&[b"PK\x03\x04".to_vec(), inner.clone()].concat(), "right before its end record");
    refused(&[inner.as_slice(), b"trailing"].concat(), "no end");
}

#[test]
fn z07_sizes_that_lie() {
    refused(&one(Entry { size: Some(1), ..Entry::new("a", "more than one") }), "stated length");
    refused(&one(Entry { size: Some(100), ..Entry::new("a", "less") }), "stated length");
    refused(&one(Entry { crc: Some(1), ..Entry::new("a", "x") }), "damaged");
    refused(&one(Entry { method: 0, size: Some(9), ..Entry::new("a", "x") }), "stated length");
}

#[test]
fn z08_what_is_not_read() {
    for (entry, word) in [
        (Entry { flags: 1, ..Entry::new("a", "x") }, "encrypted"),
        (Entry { flags: 1 << 13, ..Entry::new("a", "x") }, "encrypted"),
        (Entry { method: 12, ..Entry::new("a", "x") }, "deflate"),
        (Entry { mode: 0o060_644, ..Entry::new("a", "x") }, "not a file, directory or link"),
        (Entry { mode: 0o040_755, ..Entry::new("a", "") }, "not a file, directory or link"),
        (Entry { extra: vec![1, 0, 0, 0], ..Entry::new("a", "x") }, "zip64"),
        (Entry { extra: vec![0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, b'b'], ..Entry::new("a", "x") }, "two names"),
    ] {
        let error = refused(&one(entry), word);
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}

#[test]
fn z09_bombs() {
    // More than it could ever hold.
    let many: Vec<_> = (0..40).map(|n| Entry { size: Some(0x7fff_ffff), ..Entry::new(&format!("{n}"), "x") }).collect();
    refused(&build(&many, |_, at| at), "200 times its size");
}

#[test]
fn z10_damage() {
    let whole = zip(&[("p/a", "some content"), ("p/b", "more of it")]);
    for cut in 5..whole.len() {
        assert!(Scratch::new().unpack(&whole[..cut], 0, &[]).is_err(), "cut at {cut}");
    }
    let good = Scratch::new().unpack(&whole, 0, &[]).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        if let Ok(unpacked) = Scratch::new().unpack(&flipped, 0, &[]) {
            // Times, and what nobody looks at: never a content or a name.
            assert_eq!(unpacked.bytes, good.bytes, "byte {at}");
        }
    }
}
