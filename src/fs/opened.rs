//! Files and directories of the caller, opened once: another process can change what a path leads to between two uses, but not
//! what an open descriptor refers to.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io::Errno;

/// An open file or directory, with the path it was named by.
#[derive(Debug, Clone)]
pub struct Opened {
    path: PathBuf,
    file: Arc<OwnedFd>,
    /// How many levels it is above the working directory of this process, which its children inherit.
    levels: Option<usize>,
}

/// What tells two files apart: device and inode. No other file has the same as long as one of these is open.
pub(crate) type Identity = (u64, u64);

impl Opened {
    /// Opens what is at `path` (`O_PATH`).
    ///
    /// # Errors
    /// The system's: nothing is there, or it cannot be reached.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, file: Arc::new(file), levels: None })
    }

    /// Opens the directory at `path` (`O_PATH`).
    ///
    /// # Errors
    /// As [`Self::new`]; ENOTDIR.
    pub fn directory(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, file: Arc::new(file), levels: None })
    }

    /// Opens the working directory itself (`O_PATH`), whatever its path leads to now.
    ///
    /// # Errors
    /// The system's: it was removed.
    pub fn here() -> io::Result<Self> {
        let path = std::env::current_dir()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::open(".", flags, Mode::empty())?;
        Ok(Self { path, file: Arc::new(file), levels: Some(0) })
    }

    /// Opens the directory that is `levels` above this one: `..` leads to the parent that a directory has, whatever the
    /// path leads to now.
    pub fn above(&self, levels: usize) -> io::Result<Self> {
        let path = self.path.ancestors().nth(levels).unwrap_or(Path::new("/")).to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(&*self.file, up(levels), flags, Mode::empty())?;
        Ok(Self { path, file: Arc::new(file), levels: self.levels.map(|own| own + levels) })
    }

    /// The absolute path it was named by: for messages and records, since it may lead elsewhere now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path by which this process reaches this very directory as long as it is open.
    #[must_use]
    pub fn reach(&self) -> PathBuf {
        reach(self.file.as_fd())
    }

    /// The same by another path, for messages.
    #[must_use]
    pub fn named(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    pub fn identity(&self) -> io::Result<Identity> {
        Ok(identity(self.file.as_fd())?)
    }

    /// Opens it once more (`O_PATH`) in the mount namespace that this process is in now: what was opened in another
    /// one cannot be mounted. The working directory and those above it are opened as such, everything else by its path.
    ///
    /// # Errors
    /// ESTALE if the path leads to something else now.
    pub fn again(&self) -> Result<OwnedFd, Errno> {
        let path = self.levels.map_or_else(|| self.path.clone(), up);
        let again = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if identity(again.as_fd())? == identity(self.file.as_fd())? { Ok(again) } else { Err(Errno::STALE) }
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A path by which this process reaches the directory `fd` as long as it is open.
pub(super) fn reach(fd: BorrowedFd<'_>) -> PathBuf {
    // With the dot also those follow the link of procfs who follow none at the end of a path.
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

/// The relative path of the directory that is `levels` above.
#[must_use]
pub(crate) fn up(levels: usize) -> PathBuf {
    if levels == 0 { ".".into() } else { std::iter::repeat_n("..", levels).collect() }
}

fn identity(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    #[test]
    fn what_is_open_stays_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let [project, other] = ["project", "other"].map(|name| dir.path().join(name));
        for place in [&project, &other] {
            fs::create_dir(place).unwrap();
        }
        fs::write(project.join("mark"), "project").unwrap();
        let opened = Opened::directory(&project).unwrap();
        assert!(opened.again().is_ok());
        renameat_with(CWD, &project, CWD, &other, RenameFlags::EXCHANGE).unwrap();
        assert_eq!(opened.again().unwrap_err(), Errno::STALE);
        assert_eq!(fs::read_to_string(opened.reach().join("mark")).unwrap(), "project");
        assert_eq!(opened.path(), project);
        fs::remove_dir(&project).unwrap();
        assert_eq!(opened.again().unwrap_err(), Errno::NOENT);
        assert!(Opened::directory(&other.join("mark")).is_err() && Opened::new(&other.join("mark")).is_ok());
    }

    #[test]
    fn upwards() {
        assert_eq!(up(0), Path::new("."));
        assert_eq!(up(2), Path::new("../.."));
    }
}
