//! Paths in a project's files: inside the project, or elsewhere on this host.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::consent::{Access, Allowed};
use crate::fs::beneath::{self, Links};
use crate::fs::opened::Opened;
use crate::fs::regular;

/// Flags for opening files: not waiting for a FIFO, not acquiring a terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A path in a project's file, with symbolic links resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProjectPath {
    /// Inside the project: relative to its directory.
    Inside(PathBuf),
    /// Outside the project: absolute.
    Outside(PathBuf),
}

impl ProjectPath {
    /// Resolves `path` of the project in the directory `project`. A path that does not exist is not resolved.
    #[must_use]
    pub(crate) fn of(project: &Path, path: &Path) -> Self {
        let plain = beneath::plain(&project.join(path));
        let real = fs::canonicalize(&plain).unwrap_or(plain);
        match real.strip_prefix(project) {
            Ok(inside) => Self::Inside(inside.to_owned()),
            Err(_) => Self::Outside(real),
        }
    }

    /// The access needed to read it; `None` inside the project.
    #[must_use]
    pub(crate) fn access(&self) -> Option<Access> {
        match self {
            Self::Inside(_) => None,
            Self::Outside(path) => Some(Access::Read(path.clone())),
        }
    }

    /// Its absolute path, for the project in the directory `project`.
    #[must_use]
    pub(crate) fn real(&self, project: &Path) -> PathBuf {
        match self {
            Self::Inside(path) => project.join(path),
            Self::Outside(path) => path.clone(),
        }
    }

    /// Opens the regular file for reading. Refuses a symbolic link that was created on the path since it was resolved.
    ///
    /// # Errors
    /// `PermissionDenied` if it is not `allowed`, and errors of the system.
    pub(crate) fn open(&self, project: &Opened, allowed: &Allowed) -> io::Result<File> {
        let (root, path) = self.root(project, allowed)?;
        regular::checked(beneath::open(root, path, READ, Links::Refuse))
    }

    /// Opens a regular file in this directory for reading. Follows symbolic links that stay inside the directory.
    pub(crate) fn open_in(&self, project: &Opened, allowed: &Allowed, name: &Path) -> io::Result<File> {
        let (root, path) = self.root(project, allowed)?;
        let directory = beneath::open(root, path, OFlags::PATH | OFlags::DIRECTORY, Links::Refuse)?;
        regular::checked(beneath::open(directory, name, READ, Links::Follow))
    }

    /// The directory that the path starts from.
    fn root(&self, project: &Opened, allowed: &Allowed) -> io::Result<(Opened, &Path)> {
        match self {
            Self::Inside(path) => Ok((project.clone(), path)),
            Self::Outside(path) if allowed.has(&Access::Read(path.clone())) => {
                Ok((Opened::directory(Path::new("/"))?, path))
            }
            Self::Outside(_) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "not allowed")),
        }
    }
}
