//! The table of contents of a layer: all metadata of its tar. `docs/store.md` describes the format.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::hint::{ErrorKind, Hint};
use crate::percent;

/// The version of most tables, ...
const VERSION: u32 = 1;
/// ... and of those with links to layers below, which the first version does not have.
const WITH_LOWER_LINKS: u32 = 2;
/// Longest line read, in bytes: a record with a MiB of xattrs in hexadecimal digits.
const MAX_LINE: u64 = 4 << 20;
const LEVEL: i32 = 3;

/// Mode of a directory that only paths imply, until a merge gives it that of the layers below.
const IMPLIED_MODE: u16 = 0o755;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    File,
    /// Another name of what `link` names, which stands earlier in the TOC and is no directory.
    Hardlink,
    /// Another name of the file that the layers below have at `link`; not on disk.
    LowerLink,
    /// A symbolic link.
    Symlink,
    Directory,
    /// A character device; not on disk.
    CharDevice,
    /// A block device; not on disk.
    BlockDevice,
    /// A FIFO; not on disk.
    Fifo,
    /// Hides this path of the layers below.
    Whiteout,
}

/// What the tar said of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without leading or trailing `/`; empty for the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, setuid, setgid and sticky: 12 bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Length of a file in bytes.
    pub size: u64,
    /// Seconds since 1970, and nanoseconds after them.
    pub mtime: (i64, u32),
    /// Target of a symlink; of a hard link, the path that has the file, in this layer or those below.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Every xattr, applied or not.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// SHA-256 of a file's content.
    pub digest: Option<Digest>,
    /// A directory that the tar does not contain although paths lead through it: its mode, owner and
    /// time say nothing, and must not win over those of the layers below.
    pub implied: bool,
    /// A directory that hides what the layers below have in it.
    pub opaque: bool,
}

impl Entry {
    /// A directory that the tar does not contain.
    pub(crate) fn implied() -> Self {
        Self {
            path: vec![],
            kind: Kind::Directory,
            mode: IMPLIED_MODE,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: (0, 0),
            link: vec![],
            device: (0, 0),
            xattrs: BTreeMap::new(),
            digest: None,
            implied: true,
            opaque: false,
        }
    }
}

/// The table of contents of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toc {
    /// One for each path, sorted by its bytes; the first is the root.
    pub entries: Vec<Entry>,
}

/// A TOC that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TocError {
    /// Reading or decompressing failed.
    #[error("cannot read the layer's table of contents")]
    Io(#[source] io::Error),
    /// A line is not what it should be.
    #[error("invalid table of contents of the layer at line {line}")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// Written by another hermes.
    #[error(
        "the layer's table of contents has version {0}; this hermes reads versions {VERSION} to {WITH_LOWER_LINKS}"
    )]
    Version(u32),
}

impl Hint for TocError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHead {
    toc: u32,
    entries: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEntry {
    path: String,
    #[serde(rename = "type")]
    kind: Kind,
    mode: u16,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    size: u64,
    mtime: (i64, u32),
    #[serde(default, skip_serializing_if = "is_default")]
    link: String,
    #[serde(default, skip_serializing_if = "is_default")]
    device: (u32, u32),
    #[serde(default, skip_serializing_if = "is_default")]
    xattrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "is_default")]
    implied: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    opaque: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Toc {
    /// The rootfs digest (`docs/tree-digests.md`): SHA-256 of the lines of entries, as [`Self::write`] has them, without the
    /// first line.
    #[must_use]
    pub fn rootfs_digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for entry in &self.entries {
            // Maps with string keys, strings and integers: JSON can hold them all.
            hasher.update(&serde_json::to_vec(&WireEntry::of(entry)).unwrap_or_default());
            hasher.update(b"\n");
        }
        hasher.finish()
    }

    /// Writes the TOC. The same layer gives the same bytes with the same hermes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut lines = BufWriter::new(encoder);
        let mut line = |value: serde_json::Result<Vec<u8>>| {
            lines.write_all(&value?)?;
            lines.write_all(b"\n")
        };
        let version = if self.needs_layers_below() { WITH_LOWER_LINKS } else { VERSION };
        line(serde_json::to_vec(&WireHead { toc: version, entries: self.entries.len() }))?;
        for entry in &self.entries {
            line(serde_json::to_vec(&WireEntry::of(entry)))?;
        }
        lines.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?.flush()
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// Those of `file`; a damaged, cut off or newer TOC.
    pub fn read(file: impl Read) -> Result<Self, TocError> {
        let mut lines = BufReader::new(zstd::Decoder::new(file).map_err(TocError::Io)?);
        let mut line = Vec::new();
        let mut number = 0;
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            number += 1;
            (&mut lines).take(MAX_LINE).read_until(b'\n', line).map(|_| number).map_err(TocError::Io)
        };
        next(&mut line)?;
        let head: WireHead = serde_json::from_slice(&line).map_err(|_| TocError::Malformed { line: 1 })?;
        if !(VERSION..=WITH_LOWER_LINKS).contains(&head.toc) {
            return Err(TocError::Version(head.toc));
        }
        let mut entries = Vec::with_capacity(head.entries.min(1 << 16));
        for _ in 0..head.entries {
            let number = next(&mut line)?;
            let entry = serde_json::from_slice(&line).ok().and_then(WireEntry::read);
            entries.push(entry.ok_or(TocError::Malformed { line: number })?);
        }
        let number = next(&mut line)?;
        if line.is_empty() { Ok(Self { entries }) } else { Err(TocError::Malformed { line: number }) }
    }
}

impl WireEntry {
    fn of(entry: &Entry) -> Self {
        Self {
            path: text(&entry.path),
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: entry.mtime,
            link: text(&entry.link),
            device: entry.device,
            xattrs: entry.xattrs.iter().map(|(name, value)| (text(name), text(value))).collect(),
            digest: entry.digest,
            implied: entry.implied,
            opaque: entry.opaque,
        }
    }

    fn read(self) -> Option<Entry> {
        let xattrs = self.xattrs.iter().map(|(name, value)| Some((percent::decode(name)?, percent::decode(value)?)));
        Some(Entry {
            path: percent::decode(&self.path)?,
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: self.mtime,
            link: percent::decode(&self.link)?,
            device: self.device,
            xattrs: xattrs.collect::<Option<_>>()?,
            digest: self.digest,
            implied: self.implied,
            opaque: self.opaque,
        })
    }
}

/// Any bytes as text: UTF-8 stands for itself, but `%`, control characters and what is not UTF-8
/// become `%xx` byte by byte.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u8::try_from(c) {
                Ok(byte) if byte == b'%' || byte.is_ascii_control() => text += &percent::encode(&[byte], |_| false),
                _ => text.push(c),
            }
        }
        text += &percent::encode(chunk.invalid(), |_| false);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Toc {
        let root = Entry::implied();
        let file = Entry {
            path: b"a\xff%\n/\xc3\xa4".to_vec(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 1,
            gid: 4_294_967_294,
            size: u64::MAX,
            mtime: (-5, 999_999_999),
            xattrs: [(b"security.capability".to_vec(), vec![0, 1, 2, 255])].into(),
            digest: Some(Digest::of(b"x")),
            implied: false,
            ..root.clone()
        };
        let device = Entry { path: b"dev".to_vec(), kind: Kind::CharDevice, device: (5, 1), ..root.clone() };
        Toc { entries: vec![root, file, device] }
    }

    fn written(toc: &Toc) -> Vec<u8> {
        let mut bytes = Vec::new();
        toc.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn reads_what_it_wrote() {
        let bytes = written(&sample());
        assert_eq!(Toc::read(bytes.as_slice()).unwrap(), sample());
        assert_eq!(written(&sample()), bytes);
    }

    #[test]
    fn links_to_layers_below_have_a_version_of_their_own() {
        let head = |toc: &Toc| {
            let text = zstd::decode_all(written(toc).as_slice()).unwrap();
            String::from_utf8(text).unwrap().lines().next().unwrap().to_owned()
        };
        let mut toc = sample();
        assert_eq!(head(&toc), r#"{"toc":1,"entries":3}"#);
        let link = Entry { path: b"z".to_vec(), kind: Kind::LowerLink, link: b"f".to_vec(), ..Entry::implied() };
        toc.entries.push(link);
        assert_eq!(head(&toc), r#"{"toc":2,"entries":4}"#);
        assert_eq!(Toc::read(written(&toc).as_slice()).unwrap(), toc);
    }

    #[test]
    fn damage_is_noticed() {
        let good = written(&sample());
        for cut in 0..good.len() {
            assert!(Toc::read(&good[..cut]).is_err(), "a TOC of {cut} of {} bytes was accepted", good.len());
        }
        let plain = String::from_utf8(zstd::decode_all(good.as_slice()).unwrap()).unwrap();
        let read = |text: &str| Toc::read(zstd::encode_all(text.as_bytes(), 1).unwrap().as_slice());
        assert!(read(&plain).is_ok());
        assert!(matches!(read(&plain.replace("\"toc\":1", "\"toc\":3")), Err(TocError::Version(3))));
        assert!(matches!(read(&format!("{plain}{{}}\n")), Err(TocError::Malformed { line: 5 })));
        assert!(matches!(read(&plain.replace("%ff", "%f")), Err(TocError::Malformed { line: 3 })));
        assert!(matches!(read(&plain.replace("\"uid\"", "\"uix\"")), Err(TocError::Malformed { line: 2 })));
    }

    proptest! {
        #[test]
        fn any_bytes_survive_as_text(raw: Vec<u8>) {
            prop_assert_eq!(percent::decode(&text(&raw)), Some(raw));
        }
    }
}
