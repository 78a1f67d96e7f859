//! The layers of an image, in mounting order.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, Timespec};

use serde::Serialize;

use crate::digest::Digest;
use crate::fs::beneath::{self, Links};
use crate::lock;
use crate::store::{Store, StoreError};
use crate::sys::mount;

/// Longest file read out of an image, in bytes: a passwd file of 100 MB is an attack (T22).
const MAX_FILE: u64 = 1 << 20;

/// Unpacked layers to be mounted over each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rootfs {
    /// The directory that holds them.
    pub base: PathBuf,
    /// The layers relative to it, uppermost first.
    pub lower: Vec<PathBuf>,
}

impl Rootfs {
    /// The root of an image with these layers, lowest first, kept as `<base>/<diff_id>/fs`. A layer
    /// that occurs twice is mounted once, where it is uppermost: overlayfs refuses the same
    /// directory twice (ELOOP).
    #[must_use]
    pub fn new(base: PathBuf, diff_ids: &[Digest]) -> Self {
        let mut lower: Vec<PathBuf> = Vec::new();
        for diff_id in diff_ids.iter().rev() {
            let path = PathBuf::from(diff_id.hex()).join("fs");
            if !lower.contains(&path) {
                lower.push(path);
            }
        }
        Self { base, lower }
    }

    /// The root of an image whose layers are unpacked in `store`: the layers, or where an overlay would
    /// not show or not take them, the tree they are merged into, which is made if need be.
    ///
    /// # Errors
    /// Those of merging.
    pub fn of(image: &lock::Image, store: &Store) -> Result<Self, StoreError> {
        let diff_ids = image.diff_ids();
        let layers = Self::new(store.root().join("layers"), &diff_ids);
        let upper = diff_ids.get(1..).unwrap_or_default();
        let Some(chain_id) = image.chain_id().filter(|_| {
            !mount::overlay_takes(&layers.lower)
                || upper.iter().any(|diff_id| !store.overlay_ready(diff_id))
                || diff_ids.first().is_some_and(|lowest| store.needs_layers_below(lowest))
        }) else {
            return Ok(layers);
        };
        Self::merged_as(&chain_id, &diff_ids, store)
    }

    /// Makes the tree that a run of `image` uses on this host, if it has to be made.
    ///
    /// # Errors
    /// As [`Self::merged`].
    pub(crate) fn make_ready(image: &lock::Image, store: &Store) -> Result<(), StoreError> {
        if store.overlay_known_unsupported() {
            return Self::merged(image, store).map(drop);
        }
        Self::of(image, store).map(drop)
    }

    /// The tree that the image's layers are merged into, which is made if need be. An image without layers has none.
    ///
    /// # Errors
    /// Those of merging.
    pub fn merged(image: &lock::Image, store: &Store) -> Result<Option<Self>, StoreError> {
        image.chain_id().map(|chain_id| Self::merged_as(&chain_id, &image.diff_ids(), store)).transpose()
    }

    /// The directory of [`Self::merged`].
    ///
    /// # Errors
    /// Those of merging.
    pub fn merged_tree(image: &lock::Image, store: &Store) -> Result<Option<PathBuf>, StoreError> {
        let rootfs = Self::merged(image, store)?;
        Ok(rootfs.map(|Self { base, lower }| std::iter::once(base).chain(lower).collect()))
    }

    fn merged_as(chain_id: &Digest, diff_ids: &[Digest], store: &Store) -> Result<Self, StoreError> {
        store.merged_root(chain_id, diff_ids)?;
        Ok(Self { base: store.root().join("roots"), lower: vec![PathBuf::from(chain_id.hex()).join("fs")] })
    }

    /// Permissions and time of the root directory, which an overlay takes from its upper directory: those
    /// of the uppermost layer whose tar has them. One that has not is unpacked with 0755 and 1970.
    pub fn root_attributes(&self) -> io::Result<(Mode, Timespec)> {
        let mut found = (Mode::from_raw_mode(0o755), Timespec { tv_sec: 0, tv_nsec: 0 });
        let implied = found;
        for layer in &self.lower {
            let stat = rustix::fs::statx(
                CWD,
                self.base.join(layer),
                AtFlags::SYMLINK_NOFOLLOW,
                StatxFlags::MODE | StatxFlags::MTIME,
            )?;
            let time = Timespec { tv_sec: stat.stx_mtime.tv_sec, tv_nsec: stat.stx_mtime.tv_nsec.into() };
            found = (Mode::from_raw_mode(u32::from(stat.stx_mode) & 0o1777), time);
            if found != implied {
                break;
            }
        }
        Ok(found)
    }

    /// Reads small files of the image, looking into each layer once; `None` where it has none, or hides it.
    ///
    /// # Errors
    /// `InvalidData` for a file of more than 1 MiB.
    pub fn read<const N: usize>(&self, paths: [&str; N]) -> io::Result<[Option<Vec<u8>>; N]> {
        let mut found = [const { None }; N];
        for layer in &self.lower {
            if found.iter().all(Option::is_some) {
                break;
            }
            let layer = open_layer(&self.base.join(layer))?;
            for (path, found) in paths.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
                if let Some(file) = open_inside(&layer, path)? {
                    *found = Some(content(file, path)?);
                }
            }
        }
        Ok(found.map(Option::flatten))
    }

    /// Whether the image has this directory; one that cannot be read does not count.
    #[must_use]
    pub fn has_directory(&self, path: &str) -> bool {
        let found = self.lower.iter().find_map(|layer| {
            let layer = open_layer(&self.base.join(layer)).ok()?;
            open_inside(&layer, path).ok().flatten()
        });
        found.and_then(|file| file.metadata().ok()).is_some_and(|metadata| metadata.is_dir())
    }
}

fn open_layer(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// All of a small file, `path` in the image; `None` of a whiteout.
fn content(file: File, path: &str) -> io::Result<Option<Vec<u8>>> {
    let metadata = file.metadata()?;
    if metadata.file_type().is_char_device() {
        return Ok(None);
    }
    // Room for all of it at once: reading into an empty vector begins with 32 bytes at a time.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(0) + 1);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("/{path} is longer than {MAX_FILE} bytes")));
    }
    Ok(Some(bytes))
}

/// Opens `path` with every symbolic link resolved inside `layer`.
fn open_inside(layer: &OwnedFd, path: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match beneath::open(layer, Path::new(path), flags, Links::Follow) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Ok(None),
        // A whiteout is a device without a driver.
        Err(rustix::io::Errno::NXIO) => {
            Ok(rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from))
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uppermost_layer_speaks_and_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let ids = [Digest::of(b"low"), Digest::of(b"high")];
        let layer = |id: &Digest| dir.path().join(id.hex()).join("fs");
        for (id, text) in ids.iter().zip(["low", "high"]) {
            std::fs::create_dir_all(layer(id).join("etc")).unwrap();
            std::fs::write(layer(id).join("etc/passwd"), text).unwrap();
        }
        std::fs::write(layer(&ids[0]).join("etc/group"), "low").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", layer(&ids[1]).join("etc/link")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../../etc/passwd", layer(&ids[1]).join("etc/escape")).unwrap();
        let rootfs = Rootfs::new(dir.path().to_owned(), &[ids[0], ids[1], ids[1]]);
        assert_eq!(rootfs.lower.len(), 2);
        for (path, text) in [("etc/passwd", "high"), ("etc/group", "low"), ("etc/link", "high"), ("etc/escape", "high")]
        {
            assert_eq!(rootfs.read([path]).unwrap()[0].as_deref(), Some(text.as_bytes()), "{path}");
        }
        assert_eq!(rootfs.read(["etc/shadow", "etc/group"]).unwrap(), [None, Some(b"low".to_vec())]);
        for (path, there) in [("etc", true), ("etc/passwd", false), ("etc/link", false), ("etc/apt", false)] {
            assert_eq!(rootfs.has_directory(path), there, "{path}");
        }
        std::fs::write(layer(&ids[1]).join("etc/group"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(rootfs.read(["etc/group"]).is_err(), "a huge file was read");
    }
}
