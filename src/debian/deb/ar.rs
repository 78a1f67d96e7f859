//! The outer archive (deb(5), ar(5)), read from its start to its end, once; and written.

use std::io::Read;

use super::error::Fault;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// What ends a header.
const END: &[u8] = b"`\n";

/// The header of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Bytes of content.
    pub(super) size: u64,
}

/// The bytes of a package with this format, control and data (deb(5)).
#[must_use]
pub(crate) fn package(format: &[u8], control: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (name, content) in [("debian-binary", format), ("control.tar", control), ("data.tar", data)] {
        append(&mut bytes, name, content);
    }
    bytes
}

/// Appends a member.
pub(super) fn append(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let length = content.len();
    archive.extend_from_slice(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644).as_bytes());
    archive.extend_from_slice(content);
    if length % 2 == 1 {
        archive.push(b'\n');
    }
}

/// Reads the magic number.
pub(super) fn begin(archive: &mut impl Read) -> Result<(), Fault> {
    let mut magic = [0; MAGIC.len()];
    exact(archive, &mut magic)?;
    if magic == MAGIC { Ok(()) } else { Err(Fault::Archive("it is not an ar archive")) }
}

/// Reads the header of the next member.
pub(super) fn header(archive: &mut impl Read) -> Result<Member, Fault> {
    let mut header = [0; HEADER];
    exact(archive, &mut header)?;
    if &header[58..] != END {
        return Err(Fault::Archive("a header does not end as headers do"));
    }
    // Writers differ in whether a slash ends the name.
    let name = header[..16].trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    if name.is_empty() || !name.iter().all(is_plain) {
        return Err(Fault::Archive("the name of a member is not plain"));
    }
    // Time, owner, group and mode mean nothing, but a reader must not take them for something else.
    if header[16..48].iter().any(|byte| !byte.is_ascii_digit() && *byte != b' ') {
        return Err(Fault::Archive("a header has a field that is not a number"));
    }
    let digits = header[48..58].trim_ascii_end();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let size = str::from_utf8(digits).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok());
    let size = size.ok_or(Fault::Archive("the size of a member is not a number"))?;
    Ok(Member { name: String::from_utf8_lossy(name).into_owned(), size })
}

/// Reads what follows the content of a member with this size, up to an even offset.
pub(super) fn padding(archive: &mut impl Read, size: u64) -> Result<(), Fault> {
    let mut byte = [b'\n'];
    if size % 2 == 1 {
        exact(archive, &mut byte)?;
    }
    if byte == *b"\n" { Ok(()) } else { Err(Fault::Archive("a member is not padded as it should be")) }
}

/// Makes sure that nothing follows.
pub(super) fn end(archive: &mut impl Read) -> Result<(), Fault> {
    let mut rest = Vec::new();
    archive.take(1).read_to_end(&mut rest).map_err(Fault::Read)?;
    if rest.is_empty() { Ok(()) } else { Err(Fault::Archive("something follows data.tar")) }
}

/// Fills `bytes`.
pub(super) fn exact(archive: &mut impl Read, bytes: &mut [u8]) -> Result<(), Fault> {
    archive.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::Archive("it ends too early"),
        _ => Fault::Read(error),
    })
}
