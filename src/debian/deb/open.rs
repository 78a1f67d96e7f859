//! Opening an archive: its members up to the data, and what must be true of the whole.

use std::io::{self, Chain, Cursor, Read, Take};

use super::ar;
use super::control::{Control, in_control};
use super::error::{DebError, Fault};
use super::expected::Expected;
use crate::digest::HashingReader;
use crate::layer::Compression;

/// The only version of the format there is.
const FORMAT: &[u8] = b"2.0\n";
/// Longest `control.tar`, compressed, in bytes.
const MAX_CONTROL: u64 = 16 << 20;

/// Content of a member, whose first bytes were read ahead.
pub(super) type Content<'a, R> = Chain<Cursor<Vec<u8>>, Take<&'a mut R>>;

/// Reads what a package says of itself. The rest of the archive is read only to verify the digest.
///
/// # Errors
/// An archive that is damaged, or is not the expected one.
pub fn read_control(archive: impl Read, expected: &Expected) -> Result<Control, DebError> {
    verified(archive, expected, |archive| control(archive, expected)).map_err(Fault::of(&expected.name))
}

/// Gives `archive` to `read`, and verifies length and digest of all of it. An archive with other bytes is reported as such,
/// whatever `read` says of it.
pub(super) fn verified<R: Read, T>(
    archive: R,
    expected: &Expected,
    read: impl FnOnce(&mut HashingReader<Take<R>>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut archive = HashingReader::new(archive.take(expected.size.saturating_add(1)));
    let value = read(&mut archive);
    let drained = io::copy(&mut archive, &mut io::sink());
    let hasher = archive.into_parts().1;
    let (actual, expected_size) = (hasher.count(), expected.size);
    match drained {
        Err(error) => value.and(Err(Fault::Read(error))),
        Ok(_) if actual != expected_size => Err(Fault::Size { expected: expected_size, actual }),
        Ok(_) => match hasher.finish() {
            digest if digest != expected.digest => Err(Fault::Digest { expected: expected.digest, actual: digest }),
            _ => value,
        },
    }
}

/// Reads the members before the data.
pub(super) fn control(archive: &mut impl Read, expected: &Expected) -> Result<Control, Fault> {
    ar::begin(archive)?;
    let format = ar::header(archive)?;
    if format.name != "debian-binary" {
        return Err(Fault::Archive("its first member is not debian-binary"));
    }
    let mut version = [0; FORMAT.len()];
    if format.size != version.len() as u64 {
        return Err(Fault::Archive("its format is not 2.0"));
    }
    ar::exact(archive, &mut version)?;
    if version != FORMAT {
        return Err(Fault::Archive("its format is not 2.0"));
    }
    member(archive, "control.tar", |content, size| {
        if size > MAX_CONTROL {
            return Err(Fault::Archive("control.tar is too long"));
        }
        Control::read(content, expected).map_err(in_control)
    })
}

/// Reads the next member, which must be the tar `stem`, with `read`, which must read all of it.
pub(super) fn member<R: Read, T>(
    archive: &mut R,
    stem: &str,
    read: impl FnOnce(&mut Content<'_, R>, u64) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let member = ar::header(archive)?;
    let named = match member.name.strip_prefix(stem) {
        Some("") => None,
        Some(".gz") => Some(Compression::Gzip),
        Some(".xz") => Some(Compression::Xz),
        Some(".zst") => Some(Compression::Zstd),
        _ => return Err(Fault::Archive("its members are not debian-binary, control.tar and data.tar, in this order")),
    };
    let mut head = Vec::new();
    archive.by_ref().take(member.size.min(Compression::HEAD)).read_to_end(&mut head).map_err(Fault::Read)?;
    if Compression::of(&head) != named {
        return Err(Fault::Archive("a member is compressed in another way than its name says"));
    }
    let left = member.size - head.len() as u64;
    let mut content = Cursor::new(head).chain(archive.by_ref().take(left));
    let value = read(&mut content, member.size)?;
    match content.into_inner().1.limit() {
        0 => {}
        left if left == member.size => return Err(Fault::Archive("it ends too early")),
        _ => return Err(Fault::Archive("something follows the tar in a member")),
    }
    ar::padding(archive, member.size)?;
    Ok(value)
}
