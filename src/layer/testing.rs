//! Tars for tests, made block by block, so that they can be malformed in any way, and a place to unpack into.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A tar under construction.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// An entry whose header `change` may spoil before its checksum is made.
    pub(crate) fn with(mut self, name: &str, kind: u8, content: &[u8], change: impl FnOnce(&mut [u8; 512])) -> Self {
        let mut block = [0; 512];
        assert!(name.len() <= 100, "use pax() for {name}");
        block[..name.len()].copy_from_slice(name.as_bytes());
        let mode = if kind == b'5' { "0000755\0" } else { "0000644\0" };
        block[100..108].copy_from_slice(mode.as_bytes());
        block[108..124].copy_from_slice(b"0000000\x000000000\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[136..148].copy_from_slice(b"00000001750\0");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        checksum(&mut block);
        self.0.extend_from_slice(&block);
        self.content(content)
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.with(name, b'0', content.as_bytes(), |_| {})
    }

    pub(crate) fn mode(self, name: &str, kind: u8, mode: u16) -> Self {
        self.with(name, kind, b"", |block| block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes()))
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.with(name, b'5', b"", |_| {})
    }

    pub(crate) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        self.with(name, kind, b"", |block| block[157..157 + target.len()].copy_from_slice(target.as_bytes()))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(b'2', name, target)
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.link(b'1', name, target)
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key.as_bytes(), value)).collect();
        self.with("pax", b'x', &data, |_| {})
    }

    /// Bytes, padded to a block.
    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// One of these blocks.
    pub(crate) fn raw(blocks: &[u8]) -> Self {
        Self(blocks.to_vec())
    }

    /// Another archive after this one.
    pub(crate) fn then(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// The archive so far, with its end.
    pub(crate) fn end(&self) -> Vec<u8> {
        [self.0.as_slice(), &[0; 1024]].concat()
    }

    /// The archive so far.
    pub(crate) fn cut(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn gzip(&self) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.end()).unwrap();
        encoder.finish().unwrap()
    }
}

pub(crate) fn checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [b" ", key, b"=", value, b"\n"].concat();
    let length = (1..9).find(|digits| (body.len() + digits).to_string().len() == *digits).unwrap() + body.len();
    [length.to_string().as_bytes(), &body].concat()
}

/// A directory to unpack into, beside a canary that no archive may reach.
pub(crate) struct Canary(tempfile::TempDir);

impl Canary {
    pub(crate) fn new() -> Self {
        let canary = Self(tempfile::tempdir().unwrap());
        fs::create_dir(canary.fs()).unwrap();
        fs::create_dir(canary.path()).unwrap();
        fs::write(canary.path().join("file"), "alive").unwrap();
        fs::set_permissions(canary.path(), fs::Permissions::from_mode(0o711)).unwrap();
        canary
    }

    /// The directory to unpack into.
    pub(crate) fn fs(&self) -> PathBuf {
        self.0.path().join("fs")
    }

    /// Its parent, which has room for other directories while nothing is unpacked.
    pub(crate) fn parent(&self) -> &Path {
        self.0.path()
    }

    /// The canary: a directory with one file.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("canary")
    }

    #[track_caller]
    pub(crate) fn assert_alive(&self) {
        let canary = self.path();
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 1, "something was put beside the canary");
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
        assert_eq!(fs::metadata(canary.join("file")).unwrap().nlink(), 1, "the canary was linked");
        assert_eq!(fs::metadata(&canary).unwrap().mode() & 0o7777, 0o711, "the canary's mode was changed");
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), 2, "something was put outside");
    }
}
