//! A strict reader of the tar of a bundle: a byte that can have only one value must have it.

use std::io::{self, Read, Write};

use tar::Header;

use crate::digest::{Digest, Hasher};
use crate::store::export::sink::header;

const BLOCK: usize = 512;

/// Why a tar is not a bundle's.
#[derive(Debug)]
pub(super) enum Fault {
    /// It cannot be read.
    Io(io::Error),
    /// It ends too early.
    Truncated,
    /// What is not as it was written.
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

pub(super) struct Tar<R> {
    inner: R,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner }
    }

    /// Name and size of the next member; `None` at the end, after which nothing may come.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>, Fault> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            self.inner.read_exact(&mut block)?;
            let is_end = block == [0; BLOCK] && self.inner.read(&mut [0])? == 0;
            return if is_end { Ok(None) } else { Err(Fault::Damaged("data follows its end".to_owned())) };
        }
        let found = Header::from_byte_slice(&block);
        let name = String::from_utf8_lossy(&found.path_bytes()).escape_default().to_string();
        let size = found.entry_size().ok();
        let expected = size.and_then(|size| header(&name, size).ok());
        match (size, expected) {
            (Some(size), Some(expected)) if expected.as_bytes() == &block => Ok(Some((name, size))),
            _ => Err(Fault::Damaged(format!(
                "invalid header of the member '{}'",
                name.chars().take(100).collect::<String>()
            ))),
        }
    }

    /// The content of a member that is known beforehand to be short.
    pub(super) fn small(&mut self, name: &str, size: u64, limit: u64) -> Result<Vec<u8>, Fault> {
        if size > limit {
            return Err(Fault::Damaged(format!("{name} has {size} bytes")));
        }
        let mut bytes = Vec::new();
        self.content(name, size, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the content of a member, `size` bytes, to `to`; its digest.
    pub(super) fn content(&mut self, name: &str, size: u64, to: &mut dyn Write) -> Result<Digest, Fault> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 << 10];
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let length = self.inner.read(&mut buffer[..most])?;
            if length == 0 {
                return Err(Fault::Truncated);
            }
            hasher.update(&buffer[..length]);
            to.write_all(&buffer[..length])?;
            left -= length as u64;
        }
        let mut padding = [0; BLOCK];
        let rest = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or_default();
        self.inner.read_exact(&mut padding[..rest])?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Fault::Damaged(format!("invalid padding after {name}")));
        }
        Ok(hasher.finish())
    }
}
