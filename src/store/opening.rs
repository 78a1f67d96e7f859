//! Checks of ownership and permissions, made before anything in a store is used.
//!
//! A store decides which programs run, and unpacked layers are not hashed again at each run. So the store must belong to the
//! user or to root, nobody else may be able to write to it, and it must contain what hermes put there: directories, and no
//! links to other places.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;

use crate::fs::beneath::Links;
use crate::fs::regular::{self, Type};
use crate::fs::trust::{Distrust, Trust};
use crate::store::StoreError;
use crate::store::layout::{DIRECTORIES, OLD_GC_ROOTS};

/// Longest `VERSION` read, in bytes.
const MAX_VERSION: usize = 32;

/// Who may own a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The user, or root.
    Callers,
    /// Anybody, since it is only read and what has a digest is verified.
    Anybodys,
}

/// A directory that may be used as a store.
pub(super) struct Opened {
    /// In whom what is in it is trusted.
    pub(super) trust: Trust,
    /// What `VERSION` says; `None` where the store is yet to be made.
    pub(super) version: Option<String>,
    /// Others can write to it: nothing may be written before [`make_private`].
    pub(super) is_open: Option<Distrust>,
    directory: OwnedFd,
}

impl Opened {
    /// Looks at the store in `root`; `None` where there is no such directory. Only one that is yet to be made may be open
    /// to others.
    pub(super) fn new(root: &Path, whose: Whose) -> Result<Option<Self>, StoreError> {
        let Some((directory, stat)) = enter(root, whose)? else { return Ok(None) };
        let trust = match whose {
            Whose::Callers => Trust::in_caller(),
            Whose::Anybodys => Trust::in_owner_of(&stat),
        };
        let distrusted = |source| StoreError::Distrusted { path: root.to_owned(), source };
        trust.check_owner(&stat).map_err(distrusted)?;
        let is_open = trust.check(&stat, Type::Directory).err();
        let inside = trust.within(&stat);
        let path = root.join("VERSION");
        let version = match regular::open(&directory, Path::new("VERSION"), Links::Refuse) {
            Ok(file) => {
                is_open.map_or(Ok(()), |distrust| Err(distrusted(distrust)))?;
                inside.check_file(&file).map_err(StoreError::io("read", &path))?;
                Some(read_version(&file).map_err(StoreError::io("read", &path))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let opened = Self { trust: inside, version, is_open, directory };
        if opened.version.is_some() {
            opened.check_directories(root)?;
        }
        Ok(Some(opened))
    }

    /// Judges the directories that are there. Those of a directory that is no store yet are judged when it is made one:
    /// before that it may be any directory of the host.
    pub(super) fn check_directories(&self, root: &Path) -> Result<(), StoreError> {
        for name in DIRECTORIES.into_iter().chain([OLD_GC_ROOTS]) {
            match self.trust.check_directory(&self.directory, Path::new(name)) {
                // A store of a hermes that had no such directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => drop(found.map_err(|source| StoreError::io("use", &root.join(name))(source))?),
            }
        }
        Ok(())
    }
}

fn read_version(file: &File) -> io::Result<String> {
    let mut text = [0; MAX_VERSION];
    let length = rustix::io::read(file, &mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Opens the directory `root`, which may be a link of the user's or root's.
fn enter(root: &Path, whose: Whose) -> Result<Option<(OwnedFd, Stat)>, StoreError> {
    let failed = |errno| StoreError::io("open", root)(errno);
    let open = |flags| match rustix::fs::open(root, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        directory => directory.map(Some).map_err(failed),
    };
    let Some(found) = open(OFlags::NOFOLLOW)? else { return Ok(None) };
    let stat = fstat(&found).map_err(failed)?;
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(Some((found, stat)));
    }
    if whose == Whose::Callers {
        let trusted = Trust::in_caller().check_owner(&stat);
        trusted.map_err(|source| StoreError::Distrusted { path: root.to_owned(), source })?;
    }
    let Some(directory) = open(OFlags::DIRECTORY)? else { return Ok(None) };
    let stat = fstat(&directory).map_err(failed)?;
    Ok(Some((directory, stat)))
}

/// Lets only the user into `root`, which must be the user's: what a setuid program of an image must not become is a program
/// that others can reach (CVE-2021-41091).
pub(super) fn make_private(root: &Path) -> Result<(), StoreError> {
    let failed = |errno| StoreError::io("make private", root)(errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
    let owner = Trust::in_caller().check_owner(&fstat(&directory).map_err(failed)?);
    owner.map_err(|source| StoreError::Distrusted { path: root.to_owned(), source })?;
    rustix::fs::fchmod(&directory, Mode::RWXU).map_err(failed)
}
