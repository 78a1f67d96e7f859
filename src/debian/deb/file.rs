//! One file of a package, without unpacking the others.

use std::io::{Read, Write};

use super::error::{DebError, Fault};
use super::expected::Expected;
use super::{ar, merged_usr, open};
use crate::layer::{self, Content, Header, Limits, Type};

/// Copies the file at `path`, an absolute path in a system with merged `/usr`, out of the archive of a package. Returns whether
/// the package has a regular file there. Its links are not followed.
///
/// # Errors
/// An archive that is damaged, over the limits or not the expected one; a file of more than `longest` bytes; errors of `out`.
pub fn copy_file(
    archive: impl Read,
    expected: &Expected,
    path: &str,
    (limits, longest): (&Limits, u64),
    out: &mut dyn Write,
) -> Result<bool, DebError> {
    let wanted = merged_usr::resolved(path.trim_start_matches('/').as_bytes());
    let mut is_found = false;
    let copied = open::verified(archive, expected, |archive| {
        open::control(archive, expected)?;
        open::member(archive, "data.tar", |content, _| {
            layer::for_each_entry(content, limits, &mut |header: &Header, content: Content<'_>| {
                let path = header.path.strip_prefix(b"./").unwrap_or(&header.path);
                if header.kind != Type::File || header.sparse.is_some() || merged_usr::resolved(path) != wanted {
                    return Ok(());
                }
                if std::mem::replace(&mut is_found, true) {
                    return Err(Fault::entry(path, "the archive has it twice"));
                }
                if header.stored > longest {
                    return Err(Fault::entry(path, "it is too long"));
                }
                Ok(content(out)?)
            })
        })?;
        ar::end(archive)
    });
    copied.map_err(Fault::of(&expected.name))?;
    Ok(is_found)
}
