//! A tree that was not unpacked becomes what the unpacker makes of the same layer.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode};

use crate::layer::LayerError;
use crate::layer::path::split;
use crate::layer::toc::{Entry, Kind, Toc};
use crate::layer::tree::{self, Tree};
use crate::layer::write::in_tar_order;

impl Toc {
    /// The table of contents of the layer with these entries, which are in the order of a tar and have the digests of their
    /// files. A hard link names the first file of its inode in that order.
    #[must_use]
    pub(crate) fn of_entries(mut entries: Vec<Entry>) -> Self {
        sort(&mut entries, Ord::cmp);
        Self { entries }
    }

    /// The entries in the order of a tar, as [`Self::of_entries`] gets them. The other names of a file have neither its size nor
    /// its digest.
    #[must_use]
    pub(crate) fn into_entries(mut self) -> Vec<Entry> {
        sort(&mut self.entries, in_tar_order);
        for entry in self.entries.iter_mut().filter(|entry| entry.kind == Kind::Hardlink) {
            (entry.size, entry.digest) = (0, None);
        }
        self.entries
    }
}

/// Sorts entries by their paths. Of several names of a file the first one becomes the file, and the others hard links to it.
fn sort(entries: &mut [Entry], by: impl Fn(&[u8], &[u8]) -> Ordering) {
    let links = entries.iter().filter(|entry| entry.kind == Kind::Hardlink);
    let linked: HashSet<&[u8]> = links.map(|entry| entry.link.as_slice()).collect();
    let files = entries.iter().filter(|entry| linked.contains(entry.path.as_slice()));
    let files: HashMap<Vec<u8>, Entry> = files.map(|entry| (entry.path.clone(), entry.clone())).collect();
    entries.sort_by(|one, other| by(&one.path, &other.path));
    let mut firsts: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for entry in entries {
        let name = if entry.kind == Kind::Hardlink { &entry.link } else { &entry.path };
        let Some(file) = files.get(name) else { continue };
        let (name, path) = (name.clone(), std::mem::take(&mut entry.path));
        *entry = Entry { path, ..file.clone() };
        match firsts.get(&name) {
            Some(first) => (entry.kind, entry.link) = (Kind::Hardlink, first.clone()),
            None => drop(firsts.insert(name, entry.path.clone())),
        }
    }
}

/// Gives the tree in `root` the modes and times that the unpacker gives to the files of this layer, makes its whiteouts, and
/// removes what the unpacker does not put on disk. All other files must be there, with their content. Returns whether an overlay
/// would show the tree as it should.
///
/// # Errors
/// The system's. The tree is then in any state.
pub(crate) fn settle(root: &Path, toc: &Toc) -> Result<bool, LayerError> {
    let mut tree = Tree::open(root).map_err(LayerError::io("open", b"."))?;
    let mut is_overlay_ready = true;
    let is_hidden = |kind| matches!(kind, Kind::CharDevice | Kind::BlockDevice | Kind::Fifo);
    let hidden = toc.entries.iter().filter(|entry| is_hidden(entry.kind));
    let hidden: HashSet<&[u8]> = hidden.map(|entry| entry.path.as_slice()).collect();
    for entry in &toc.entries {
        let path = &entry.path;
        let of_hidden = entry.kind == Kind::Hardlink && hidden.contains(entry.link.as_slice());
        match entry.kind {
            Kind::File => file(&mut tree, entry).map_err(LayerError::io("finish", path))?,
            Kind::Symlink => symlink(&mut tree, entry).map_err(LayerError::io("finish", path))?,
            Kind::Whiteout => {
                is_overlay_ready &= tree.make_whiteout(path).map_err(LayerError::io("create", path))?;
            }
            kind if is_hidden(kind) || of_hidden => tree.remove(path).map_err(LayerError::io("remove", path))?,
            _ => {}
        }
    }
    // Last, since all of that changes their times.
    for entry in toc.entries.iter().filter(|entry| entry.kind == Kind::Directory) {
        let finished = tree.finish_directory(&entry.path, entry.mode, entry.mtime, &entry.xattrs, entry.opaque);
        is_overlay_ready &= finished.map_err(LayerError::io("finish", &entry.path))?;
    }
    Ok(is_overlay_ready)
}

/// Most files have what they need.
fn file(tree: &mut Tree, entry: &Entry) -> io::Result<()> {
    let (parent, name) = split(&entry.path);
    let directory = tree.directory(parent)?.as_fd();
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let time = (found.st_mtime, u32::try_from(found.st_mtime_nsec).unwrap_or_default());
    if Mode::from_raw_mode(found.st_mode) != tree::file_mode(entry.mode) || time != entry.mtime {
        tree::finish_file(&tree::open_file(directory, name)?, entry.mode, entry.mtime, &entry.xattrs)?;
    }
    Ok(())
}

fn symlink(tree: &mut Tree, entry: &Entry) -> io::Result<()> {
    let (parent, name) = split(&entry.path);
    let times = tree::times(entry.mtime);
    Ok(rustix::fs::utimensat(tree.directory(parent)?, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::digest::Digest;
    use crate::layer::{Depth, Limits, TarWriter, check, unpack};

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.into(), kind, mode: 0o644, mtime: (5, 0), implied: false, ..Entry::implied() }
    }

    /// A layer with all that a layer can have but links to layers below, in the order of a tar.
    fn layer() -> Vec<(Entry, &'static str)> {
        let file = |path, mode, content: &'static str| {
            let digest = Some(Digest::of(content.as_bytes()));
            let of = Entry { mode, uid: 7, gid: 8, size: content.len() as u64, digest, ..entry(path, Kind::File) };
            (of, content)
        };
        let directory = |path, mode| (Entry { mode, ..entry(path, Kind::Directory) }, "");
        let symlink = (Entry { mode: 0o777, link: "../nowhere".into(), ..entry("a/symlink", Kind::Symlink) }, "");
        let device = (Entry { device: (1, 3), ..entry("a/null", Kind::CharDevice) }, "");
        let setuid = file("a/file", 0o4755, "content");
        let name = |path: &str, (of, _): &(Entry, _)| {
            let link = of.path.clone();
            (Entry { path: path.into(), kind: Kind::Hardlink, link, size: 0, digest: None, ..of.clone() }, "")
        };
        vec![
            directory("", 0o755),
            directory("a", 0o2750),
            // In the order of bytes a-b comes before a/.
            setuid.clone(),
            device.clone(),
            name("a/null2", &device),
            symlink.clone(),
            directory("a-b", 0o755),
            (Entry { mode: 0, mtime: (0, 0), ..entry("a-b/gone", Kind::Whiteout) }, ""),
            name("a-b/name", &setuid),
            name("a-b/symlink", &symlink),
            (Entry { opaque: true, ..directory("hidden", 0o1777).0 }, ""),
            (entry("hidden/pipe", Kind::Fifo), ""),
            file("private", 0, ""),
        ]
    }

    #[test]
    fn a_settled_tree_is_the_unpacked_one() {
        let temp = tempfile::tempdir().unwrap();
        let [unpacked, settled] = ["unpacked", "settled"].map(|name| temp.path().join(name));
        fs::create_dir(&unpacked).unwrap();
        fs::create_dir(&settled).unwrap();
        let mut tar = TarWriter::new(Vec::new());
        for (entry, content) in layer() {
            tar.add(&entry, content.as_bytes()).unwrap();
            let place = settled.join(OsStr::from_bytes(&entry.path));
            match entry.kind {
                Kind::Directory if entry.path.is_empty() => {}
                Kind::Directory => fs::create_dir(&place).unwrap(),
                Kind::Symlink => symlink(OsStr::from_bytes(&entry.link), &place).unwrap(),
                Kind::Hardlink => fs::hard_link(settled.join(OsStr::from_bytes(&entry.link)), &place).unwrap(),
                Kind::Whiteout => {}
                _ => {
                    fs::write(&place, content).unwrap();
                    fs::set_permissions(&place, fs::Permissions::from_mode(0o600 | u32::from(entry.mode))).unwrap();
                }
            }
        }
        let (blob, written) = tar.finish().unwrap();
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let expected = unpack(blob.as_slice(), media_type, &unpacked, &Limits::default()).unwrap();
        let toc = Toc::of_entries(layer().into_iter().map(|(entry, _)| entry).collect());
        assert_eq!(expected.diff_id, written.diff_id);
        assert_eq!(toc, expected.toc);
        let entries: Vec<_> = layer().into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(toc.clone().into_entries(), entries);
        let is_overlay_ready = settle(&settled, &toc).unwrap();
        assert_eq!(is_overlay_ready, expected.overlay_ready);
        for root in [&unpacked, &settled] {
            assert_eq!(check(root, &toc, is_overlay_ready, Depth::Contents, &|_| ()), []);
        }
        for path in ["", "a", "a-b", "hidden", "private", "a/file"] {
            let of = |root: &Path| {
                let found = fs::symlink_metadata(root.join(path)).unwrap();
                (found.permissions().mode(), found.modified().unwrap())
            };
            assert_eq!(of(&settled), of(&unpacked), "{path}");
        }
    }
}
