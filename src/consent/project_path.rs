//! A path that a project's file names: inside the project, or elsewhere on this host.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::consent::{Access, Allowed};
use crate::fs::beneath::{self, Links};
use crate::fs::opened::Opened;
use crate::fs::regular;

/// How files are opened: a FIFO in the place of a file is not waited for, a terminal not taken.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A path that a project's file names. Links are resolved, so that it is known where it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProjectPath {
    /// In the directory of the project: from there on.
    Inside(PathBuf),
    /// Elsewhere on this host, from the root.
    Outside(PathBuf),
}

impl ProjectPath {
    /// Where `path` of the project in the directory `project` leads to. What does not exist leads nowhere but to itself.
    #[must_use]
    pub(crate) fn of(project: &Path, path: &Path) -> Self {
        let plain = beneath::plain(&project.join(path));
        let real = fs::canonicalize(&plain).unwrap_or(plain);
        match real.strip_prefix(project) {
            Ok(inside) => Self::Inside(inside.to_owned()),
            Err(_) => Self::Outside(real),
        }
    }

    /// What it takes to read it: nothing in the project itself.
    #[must_use]
    pub(crate) fn access(&self) -> Option<Access> {
        match self {
            Self::Inside(_) => None,
            Self::Outside(path) => Some(Access::Read(path.clone())),
        }
    }

    /// Its path from the root, for the project in the directory `project`.
    #[must_use]
    pub(crate) fn real(&self, project: &Path) -> PathBuf {
        match self {
            Self::Inside(path) => project.join(path),
            Self::Outside(path) => path.clone(),
        }
    }

    /// Opens the regular file for reading. A link that somebody has put in its way since it was looked at is refused.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` where it is not `allowed`.
    pub(crate) fn open(&self, project: &Opened, allowed: &Allowed) -> io::Result<File> {
        let (root, path) = self.root(project, allowed)?;
        regular::checked(beneath::open(root, path, READ, Links::Refuse))
    }

    /// Opens a regular file in this directory for reading. Links are followed, but lead nowhere else.
    ///
    /// # Errors
    /// As [`Self::open`].
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
            Self::Outside(_) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it was not allowed")),
        }
    }
}
