//! Decompression. The first bytes of a blob decide how; the media type only has to be one of a layer. Registries are full of
//! layers declared as gzip that are plain or zstd, every other tool goes by the bytes, and the `diff_id`, which is checked
//! afterwards, does not depend on the choice.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::layer::{LayerError, Limits};

const BUFFER: usize = 128 << 10;
/// Most memory that reading xz may take, in KiB: `xz -9` needs an eighth of it.
const XZ_MEMORY: u32 = 512 << 10;

type Blob<R> = BufReader<Chain<Cursor<Vec<u8>>, Counter<R>>>;

/// Reads a blob and gives its content: gzip (every member, as pigz and eStargz write many), zstd
/// (every frame, skippable ones skipped, windows up to 128 MiB) or the bytes themselves. Gives a
/// [`LayerError::Limit`] inside of the error once more comes out than the limits allow.
pub(crate) struct Decoder<R: Read> {
    format: Format<R>,
    pub(super) consumed: Consumed,
    produced: u64,
    limits: Limits,
}

/// Counts the bytes of a blob that were read so far; to be asked from any thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumed(Arc<AtomicU64>);

impl Consumed {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

enum Format<R: Read> {
    Plain(Blob<R>),
    Gzip(Box<MultiGzDecoder<Blob<R>>>),
    Zstd(zstd::Decoder<'static, Blob<R>>),
    Xz(Box<XzReader<Blob<R>>>),
    Bzip2(Box<MultiBzDecoder<Blob<R>>>),
}

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A layer: what the OCI image spec has.
    Layer,
    /// An archive that the user has: sources, an image to be imported.
    Archive,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    /// Known by name only, as are those below.
    Lz4,
    Lzip,
    Compress,
}

impl Compression {
    /// How many bytes tell.
    pub(crate) const HEAD: u64 = 6;

    /// The compression of a file that begins with `head`: what its first bytes say, whatever its name or media type. This
    /// is the only place that knows them.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Some(Self::Bzip2),
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4),
            [b'L', b'Z', b'I', b'P', ..] => Some(Self::Lzip),
            [0x1f, 0x9d, ..] => Some(Self::Compress),
            _ => None,
        }
    }

    /// The program that decompresses it.
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Lzip => "lzip",
            Self::Compress => "compress",
        }
    }
}

struct Counter<R> {
    inner: R,
    count: Consumed,
}

impl<R: Read> Read for Counter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.0.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Whether `media_type` is that of a layer, compressed in some way hermes knows.
pub(super) fn is_layer(media_type: &str) -> bool {
    let known = media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.");
    known && [".tar", ".tar+gzip", ".tar.gzip", ".tar+zstd", ".tar.zstd"].iter().any(|end| media_type.ends_with(end))
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `blob` to see what it is.
    ///
    /// # Errors
    /// Those of reading; a compression that hermes does not know.
    pub(crate) fn new(blob: R, limits: &Limits) -> Result<Self, LayerError> {
        Self::counting(blob, limits, Consumed::default())
    }

    /// The same for an archive, which may be compressed by xz (all streams, dictionaries up to 512 MiB) or bzip2
    /// (all streams) as well.
    pub(crate) fn of_archive(blob: R, limits: &Limits) -> Result<Self, LayerError> {
        Self::taking(blob, limits, Consumed::default(), Use::Archive)
    }

    /// As [`Self::new`], counting in `consumed` what is read of `blob`.
    pub(super) fn counting(blob: R, limits: &Limits, consumed: Consumed) -> Result<Self, LayerError> {
        Self::taking(blob, limits, consumed, Use::Layer)
    }

    fn taking(blob: R, limits: &Limits, consumed: Consumed, what: Use) -> Result<Self, LayerError> {
        let mut counter = Counter { inner: blob, count: consumed.clone() };
        let mut head = Vec::new();
        (&mut counter).take(Compression::HEAD).read_to_end(&mut head)?;
        let compression = Compression::of(&head);
        let blob = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(counter));
        let format = match (compression, what) {
            (None, _) => Format::Plain(blob),
            (Some(Compression::Gzip), _) => Format::Gzip(Box::new(MultiGzDecoder::new(blob))),
            (Some(Compression::Zstd), _) => Format::Zstd(zstd::Decoder::with_buffer(blob)?),
            (Some(Compression::Xz), Use::Archive) => {
                Format::Xz(Box::new(XzReader::new_mem_limit(blob, true, XZ_MEMORY)))
            }
            (Some(Compression::Bzip2), Use::Archive) => Format::Bzip2(Box::new(MultiBzDecoder::new(blob))),
            (Some(other), Use::Layer) => return Err(LayerError::Compression(other.name())),
            (Some(other), Use::Archive) => return Err(LayerError::ArchiveCompression(other.name())),
        };
        Ok(Self { format, consumed, produced: 0, limits: *limits })
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.format {
            Format::Plain(reader) => reader.read(buffer),
            Format::Gzip(reader) => reader.read(buffer),
            Format::Zstd(reader) => reader.read(buffer),
            Format::Xz(reader) => reader.read(buffer),
            Format::Bzip2(reader) => reader.read(buffer),
        }?;
        self.produced += n as u64;
        if self.produced > self.limits.bytes {
            return Err(io::Error::other(LayerError::Limit { what: "bytes", limit: self.limits.bytes }));
        }
        self.limits.check_ratio(self.consumed.get(), self.produced).map_err(io::Error::other)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(blob: &[u8]) -> Result<Vec<u8>, LayerError> {
        let mut bytes = Vec::new();
        Decoder::new(blob, &Limits::default())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn every_member_and_every_frame() {
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for (what, blob) in [
            ("plain", b"one, two".to_vec()),
            ("gzip", gzip(b"one, two")),
            ("two gzip members", [gzip(b"one, "), gzip(b"two")].concat()),
            ("empty gzip members", [gzip(b""), gzip(b"one, two"), gzip(b"")].concat()),
            ("zstd", zstd("one, two")),
            ("two zstd frames", [zstd("one, "), zstd("two")].concat()),
            (
                "skippable frames",
                [skippable.clone(), zstd("one, "), skippable.clone(), zstd("two"), skippable].concat(),
            ),
        ] {
            assert_eq!(decode(&blob).unwrap(), b"one, two", "{what}");
        }
        assert_eq!(decode(b"").unwrap(), b"");
    }

    #[test]
    fn damage_is_an_integrity_error() {
        use crate::hint::{ErrorKind, Hint};
        let good = gzip(&[7; 5000]);
        let zstd = zstd::encode_all(&[7; 5000][..], 1).unwrap();
        let mut flipped = good.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        for (what, blob) in [
            ("truncated gzip", &good[..good.len() - 1]),
            ("truncated zstd", &zstd[..zstd.len() - 1]),
            ("wrong checksum", &flipped),
            ("garbage after gzip", &[good.as_slice(), b"xx"].concat()),
            ("garbage after zstd", &[zstd.as_slice(), b"xxxx"].concat()),
            ("only a magic", &[0x1f, 0x8b]),
        ] {
            let error = decode(blob).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{what}: {error:?}");
        }
        for (head, name) in [
            (&b"\xfd7zXZ\0\0"[..], "xz"),
            (b"BZh91AY&SY", "bzip2"),
            (b"\x04\x22\x4d\x18\x64", "lz4"),
            (b"LZIP\x01", "lzip"),
            (b"\x1f\x9d\x90", "compress"),
        ] {
            assert!(matches!(decode(head), Err(LayerError::Compression(said)) if said == name), "{name}");
        }
        let archive = |head: &'static [u8]| Decoder::of_archive(head, &Limits::default()).err();
        assert!(matches!(archive(b"\x04\x22\x4d\x18\x64"), Some(LayerError::ArchiveCompression("lz4"))));
        assert!(archive(b"\xfd7zXZ\0\0").is_none() && archive(b"BZh91AY&SY").is_none());
    }

    #[test]
    fn media_types() {
        for (kind, good) in [
            ("application/vnd.oci.image.layer.v1.tar", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", true),
            ("application/vnd.oci.image.layer.v1.tar+zstd", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", true),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", false),
            ("application/vnd.oci.image.config.v1+json", false),
            ("text/plain.tar", false),
            ("", false),
        ] {
            assert_eq!(is_layer(kind), good, "{kind}");
        }
    }
}
