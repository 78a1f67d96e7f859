//! Iteration over the entries of a tar.

use std::io::{Read, Write};

use crate::layer::decode::Decoder;
use crate::layer::header::{self, Header, Next, Type};
use crate::layer::input::{Input, Source};
use crate::layer::path;
use crate::layer::{LayerError, Limits};

/// Gives every entry of the archive to `visit`, which must read its content, and reads to the end mark;
/// gives the number of entries.
pub(super) fn for_each<S: Source, E: From<LayerError>>(
    input: &mut Input<S>,
    limits: &Limits,
    mut visit: impl FnMut(Header, &mut Input<S>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut parser = header::parser(limits);
    let mut entries = 0;
    let mut wanted = 512;
    loop {
        let offset = input.offset();
        let tar = |why: String| LayerError::Tar { offset, why };
        let window = input.peek(wanted)?;
        let (length, complete) = (window.len(), window.len() >= wanted);
        match header::next(&mut parser, window).map_err(tar)? {
            // No end mark, or half of one, on the boundary of a block: some writers leave it out.
            Next::Need(_) if !complete && (length == 0 || (length == 512 && window.iter().all(|b| *b == 0))) => {
                input.consume(length);
                return Ok(entries);
            }
            Next::Need(_) if !complete => return Err(tar("it ends in the middle of a header".into()).into()),
            // While looking for a line end tar-core may ask for no more than it has.
            Next::Need(more) => {
                wanted = more.max(length + 512);
                let most = 4 * limits.metadata as usize + (64 << 10);
                if wanted > most {
                    return Err(tar(format!("a header is longer than {most} bytes")).into());
                }
                continue;
            }
            Next::End(length) => {
                input.consume(length);
                return Ok(entries);
            }
            Next::Skip(length) => input.consume(length),
            Next::Entry(length, header) => {
                input.consume(length);
                let padding = header.stored.next_multiple_of(512) - header.stored;
                visit(*header, input)?;
                input.copy(padding, |_| Ok(()))?;
            }
        }
        wanted = 512;
        entries += 1;
        if entries > limits.entries {
            return Err(LayerError::Limit { what: "entries", limit: limits.entries }.into());
        }
    }
}

/// Gives every regular file and every link of a tar, plain or compressed by gzip, zstd, xz or bzip2, to `visit`, which must write a
/// file's content somewhere. Nothing is put on disk.
///
/// # Errors
/// As `unpack`, and those of `visit`.
pub(crate) fn for_each_member(mut archive: impl Read, limits: &Limits, visit: Visit<'_>) -> Result<(), LayerError> {
    visit_members(&mut archive, limits, visit)
}

fn visit_members(archive: &mut dyn Read, limits: &Limits, visit: Visit<'_>) -> Result<(), LayerError> {
    let mut input = Input::new(Decoder::of_archive(archive, limits)?);
    for_each(&mut input, limits, |header, input| {
        let stored = header.stored;
        match header.kind {
            Type::File if header.sparse.is_none() => {
                let path = path::clean(&header.path, limits)?;
                let mut write = |to: &mut dyn Write| {
                    input.copy(stored, |piece| to.write_all(piece).map_err(LayerError::io("write", &path)))
                };
                visit(&path, Member::File(&mut write))
            }
            Type::Symlink | Type::Hardlink => {
                let path = path::clean(&header.path, limits)?;
                visit(&path, Member::Link { target: &header.link, hard: header.kind == Type::Hardlink })?;
                input.copy(stored, |_| Ok(()))
            }
            _ => input.copy(stored, |_| Ok(())),
        }
    })?;
    input.finish().map(drop)
}

/// Gives every entry of a tar to `visit` as it stands there, with its content. Compressions
/// are those of [`for_each_member`]. Only the form of the tar is judged here; what an entry may be is the visitor's to say.
///
/// # Errors
/// A tar that is damaged, that readers could take in two ways, or over `limits`; those of `visit`.
pub(crate) fn for_each_entry<E: From<LayerError>>(
    mut archive: impl Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Header, Content<'_>) -> Result<(), E>,
) -> Result<(), E> {
    visit_entries(&mut archive, limits, visit)
}

fn visit_entries<E: From<LayerError>>(
    archive: &mut dyn Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Header, Content<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut input = Input::new(Decoder::of_archive(archive, limits)?);
    for_each(&mut input, limits, |header, input| {
        let mut left = header.stored;
        let mut write = |to: &mut dyn Write| {
            let length = std::mem::take(&mut left);
            input.copy(length, |piece| to.write_all(piece).map_err(LayerError::io("write", &header.path)))
        };
        visit(&header, &mut write)?;
        Ok::<_, E>(input.copy(left, |_| Ok(()))?)
    })?;
    input.finish()?;
    Ok(())
}

/// Writes the content of an entry, once.
pub(crate) type Content<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), LayerError>;

/// What a path of an archive stands for.
pub(crate) enum Member<'a> {
    /// A file, whose content this writes, once.
    File(&'a mut dyn FnMut(&mut dyn Write) -> Result<(), LayerError>),
    /// Another name of what `target` says.
    Link {
        /// As written: of a symbolic link, relative to it; of a hard one, a path of the archive.
        target: &'a [u8],
        /// Which of them.
        hard: bool,
    },
}

impl Member<'_> {
    /// Reads past it.
    pub(crate) fn skip(self) -> Result<(), LayerError> {
        match self {
            Self::File(content) => content(&mut std::io::sink()),
            Self::Link { .. } => Ok(()),
        }
    }
}

/// Gets the clean path of a member of an archive, and what it is.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], Member<'_>) -> Result<(), LayerError>;
