//! A tree that several archives make together, and files that hermes adds: the root file system that packages make.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;

use crate::layer::archive::for_each;
use crate::layer::header::{Header, Type};
use crate::layer::input::Input;
use crate::layer::lookahead::Reader;
use crate::layer::path::{self, Name, split};
use crate::layer::toc::{Kind, Toc};
use crate::layer::tree;
use crate::layer::unpack::Unpacker;
use crate::layer::{LayerError, Limits};
use crate::visible::visible_path;

/// A tree that grows.
pub struct Assembly(Unpacker);

/// An assembled tree.
#[derive(Debug)]
pub struct Assembled {
    /// Bytes of all files.
    pub bytes: u64,
    /// What is in the tree, as of a layer that needs none below: every directory has an entry of its own.
    pub toc: Toc,
}

/// What becomes of an entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placing {
    /// It is put at this path, which is clean.
    At(Vec<u8>),
    /// The same, with another target of a hard link, a clean path.
    Linked { path: Vec<u8>, target: Vec<u8> },
    /// It is left out.
    Skip,
}

/// Decides about an entry of an archive by its clean path, its header (with a clean target, if it is a hard link), and what the
/// tree has at a path.
pub(crate) type Place<'a, E> = &'a mut dyn FnMut(&[u8], &Header, &dyn Fn(&[u8]) -> Option<Kind>) -> Result<Placing, E>;

/// Owner, mode and time of what hermes adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// 12 bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

/// Assembles a tree in the existing, empty directory `into`, with threads of its own, by what `fill` puts in. Directories that
/// nothing is said of belong to user 0, have mode 755 and the time `mtime`.
///
/// # Errors
/// Anything hostile, damaged or over `limits`, which hold for the whole tree; the system's errors; those of `fill`. `into` is
/// then in any state.
pub fn assemble<T, E: From<LayerError>>(
    into: &Path,
    limits: &Limits,
    mtime: i64,
    fill: impl FnOnce(&mut Assembly) -> Result<T, E>,
) -> Result<(Assembled, T), E> {
    thread::scope(|scope| {
        let mut assembly = Assembly(Unpacker::start(scope, into, limits)?);
        let value = fill(&mut assembly)?;
        for node in assembly.0.nodes.values_mut().filter(|node| node.entry.implied) {
            (node.entry.implied, node.entry.mtime) = (false, (mtime, 0));
        }
        let tree = assembly.0.finish()?;
        Ok((Assembled { bytes: tree.bytes, toc: tree.toc }, value))
    })
}

impl Assembly {
    /// What all archives together may cost.
    pub(crate) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// Adds the entries of a tar as `place` decides. A directory that is there keeps what its first entry gave it. Returns the
    /// number of entries.
    ///
    /// # Errors
    /// As [`assemble`]; those of `place`. What comes after the end of the tar is ignored.
    pub(crate) fn archive<T, X, E: From<LayerError>>(
        &mut self,
        archive: &mut Reader<'_, T, X>,
        place: Place<'_, E>,
    ) -> Result<u64, E> {
        let limits = self.0.limits;
        for_each(&mut Input::new(archive), &limits, |mut header, input| {
            let path = path::clean(&header.path, &limits)?;
            if header.kind == Type::Hardlink {
                header.link = path::clean(&header.link, &limits)?;
            }
            match place(&path, &header, &|path| self.kind(path))? {
                Placing::At(path) => header.path = path,
                Placing::Linked { path, target } => (header.path, header.link) = (path, target),
                Placing::Skip => return Ok(input.copy(header.stored, |_| Ok(()))?),
            }
            if header.kind == Type::Directory && self.has_directory(&header.path) {
                return Ok(input.copy(header.stored, |_| Ok(()))?);
            }
            self.check(&header)?;
            Ok::<_, E>(self.0.entry(header, input)?)
        })
    }

    /// Adds a file, at a path where there is nothing.
    ///
    /// # Errors
    /// As [`assemble`].
    pub fn file(&mut self, path: &[u8], of: Attributes, content: &[u8]) -> Result<(), LayerError> {
        let header = Header { stored: content.len() as u64, ..self.header(path, Type::File, of)? };
        self.0.entry(header, &mut Input::new(content))
    }

    /// Adds a symbolic link, at a path where there is nothing.
    ///
    /// # Errors
    /// As [`assemble`].
    pub fn symlink(&mut self, path: &[u8], target: &[u8], of: Attributes) -> Result<(), LayerError> {
        let header = Header { link: target.to_vec(), ..self.header(path, Type::Symlink, of)? };
        self.0.entry(header, &mut Input::new(&[][..]))
    }

    /// Adds a directory, unless the tree has it.
    ///
    /// # Errors
    /// As [`assemble`].
    pub fn directory(&mut self, path: &[u8], of: Attributes) -> Result<(), LayerError> {
        if self.has_directory(path) {
            return Ok(());
        }
        let header = Header { path: path.to_vec(), ..attributed(Type::Directory, of) };
        self.check(&header)?;
        self.0.entry(header, &mut Input::new(&[][..]))
    }

    /// What the tree has at a clean path.
    pub(crate) fn kind(&self, path: &[u8]) -> Option<Kind> {
        self.0.nodes.get(path).map(|node| node.entry.kind)
    }

    /// Opens the file at a clean path.
    ///
    /// # Errors
    /// There is no file; the system's errors.
    pub(crate) fn open(&mut self, path: &[u8]) -> Result<File, LayerError> {
        self.0.writers.settle()?;
        let (parent, name) = split(path);
        let directory = self.0.tree.directory(parent).map_err(LayerError::io("open", path))?;
        tree::open_file(directory.as_fd(), name).map_err(LayerError::io("open", path))
    }

    /// Whether the tree has the directory, by an entry of its own.
    fn has_directory(&self, path: &[u8]) -> bool {
        self.0.nodes.get(path).is_some_and(|node| node.entry.kind == Kind::Directory && !node.entry.implied)
    }

    fn header(&self, path: &[u8], kind: Type, of: Attributes) -> Result<Header, LayerError> {
        if self.0.nodes.contains_key(path) {
            return Err(LayerError::entry(path, "something else is there"));
        }
        let header = Header { path: path.to_vec(), ..attributed(kind, of) };
        self.check(&header)?;
        Ok(header)
    }

    /// No entry may have a meaning of its own to layers, or need a layer below.
    fn check(&self, header: &Header) -> Result<(), LayerError> {
        if !matches!(path::name(&header.path, &self.0.limits)?, Name::Plain(_)) {
            return Err(LayerError::entry(&header.path, "its name is that of a whiteout"));
        }
        if header.kind == Type::Hardlink && !self.0.nodes.contains_key(&header.link) {
            let (path, target) = (visible_path(&header.path), visible_path(&header.link));
            return Err(LayerError::HardLink { path, target });
        }
        Ok(())
    }
}

fn attributed(kind: Type, of: Attributes) -> Header {
    Header {
        kind,
        path: vec![],
        link: vec![],
        mode: of.mode,
        uid: of.uid,
        gid: of.gid,
        mtime: (of.mtime, 0),
        device: (0, 0),
        xattrs: vec![],
        stored: 0,
        sparse: None,
    }
}
