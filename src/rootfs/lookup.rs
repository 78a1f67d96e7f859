//! Lookup of files of an image by path, in its layers, with the same result as the kernel's in the mounted root.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use crate::rootfs::Rootfs;

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Marks a directory that hides those of lower layers (Documentation/filesystems/overlayfs.rst).
const OPAQUE: &str = "user.overlay.opaque";

/// What a path of an image leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its real path in the image: absolute, without links.
    pub inside: PathBuf,
    /// Where its layer has it on the host.
    pub outside: PathBuf,
    /// Whether it is a directory, and then `outside` is the uppermost layer's part of it.
    pub is_directory: bool,
}

/// A directory of the image: its real path, and what the layers have of it, uppermost first.
#[derive(Clone)]
struct View {
    path: PathBuf,
    parts: Vec<PathBuf>,
}

/// Where a path ends.
enum End {
    Directory(View),
    File(Found),
}

enum Step {
    Directory(View),
    Link(PathBuf),
    File(PathBuf),
}

impl Rootfs {
    /// What `path` leads to, links followed inside the image; `None` where it leads nowhere, or to what is neither a file nor
    /// a directory.
    pub fn find(&self, path: &Path) -> io::Result<Option<Found>> {
        Ok(match self.walk(path)? {
            Some(End::File(found)) => Some(found),
            Some(End::Directory(View { path: inside, mut parts })) => {
                (!parts.is_empty()).then(|| Found { inside, outside: parts.swap_remove(0), is_directory: true })
            }
            None => None,
        })
    }

    /// What the layers have in the directory that `path` leads to, sorted; nothing where it is none. A name may be one
    /// that an upper layer has removed: [`Self::find`] tells.
    pub fn names_in(&self, path: &Path) -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        if let Some(End::Directory(view)) = self.walk(path)? {
            for part in view.parts {
                for entry in fs::read_dir(part)? {
                    names.insert(entry?.file_name());
                }
            }
        }
        Ok(names)
    }

    fn walk(&self, path: &Path) -> io::Result<Option<End>> {
        let parts = self.lower.iter().map(|layer| self.base.join(layer)).collect();
        let mut above = vec![View { path: "/".into(), parts }];
        let mut names: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name == ".." {
                above.truncate(above.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(here) = above.last() else { return Ok(None) };
            match here.step(&name)? {
                None => return Ok(None),
                Some(Step::Directory(view)) => above.push(view),
                Some(Step::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(None);
                    }
                    if target.is_absolute() {
                        above.truncate(1);
                    }
                    for name in self::names(&target).collect::<Vec<_>>().into_iter().rev() {
                        names.push_front(name);
                    }
                }
                Some(Step::File(outside)) => {
                    let inside = here.path.join(&name);
                    let found = Found { inside, outside, is_directory: false };
                    return Ok(names.is_empty().then_some(End::File(found)));
                }
            }
        }
        Ok(above.pop().map(End::Directory))
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

impl View {
    fn step(&self, name: &OsStr) -> io::Result<Option<Step>> {
        let mut parts = Vec::new();
        for part in &self.parts {
            let path = part.join(name);
            let there: Metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                there => there?,
            };
            let kind = there.file_type();
            if kind.is_dir() {
                let is_opaque = rustix::fs::lgetxattr(&path, OPAQUE, &mut [0; 1][..]).is_ok();
                parts.push(path);
                if is_opaque {
                    break;
                }
            } else if !parts.is_empty() || kind.is_char_device() && there.rdev() == 0 {
                // Hidden by the directory above it, or a whiteout.
                break;
            } else if kind.is_symlink() {
                return fs::read_link(&path).map(|target| Some(Step::Link(target)));
            } else {
                return Ok(kind.is_file().then_some(Step::File(path)));
            }
        }
        let path = self.path.join(name);
        Ok((!parts.is_empty()).then_some(Step::Directory(Self { path, parts })))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn paths_lead_where_they_do_in_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let ids = [Digest::of(b"low"), Digest::of(b"high")];
        let [low, high] = ids.map(|id| dir.path().join(id.hex()).join("fs"));
        for directory in
            [low.join("usr/bin"), low.join("usr/lib/gcc"), low.join("gone"), high.join("usr/bin"), high.join("etc")]
        {
            fs::create_dir_all(directory).unwrap();
        }
        let put = |path: PathBuf| fs::write(path, "x").unwrap();
        put(low.join("usr/bin/gcc-12"));
        put(low.join("usr/bin/old"));
        put(low.join("gone/x"));
        put(low.join("usr/lib/gcc/cc1"));
        put(high.join("usr/bin/cc-real"));
        symlink("usr/bin", low.join("bin")).unwrap();
        symlink("gcc-12", high.join("usr/bin/gcc")).unwrap();
        symlink("/etc/alternatives-cc", low.join("usr/bin/cc")).unwrap();
        symlink("../../../../usr/bin/./gcc", high.join("etc/alternatives-cc")).unwrap();
        symlink("loop", low.join("loop")).unwrap();
        symlink("/etc/shadow", high.join("usr/bin/outside")).unwrap();
        let rootfs = Rootfs::new(dir.path().to_owned(), &ids);
        let find = |path: &str| {
            let found = rootfs.find(Path::new(path)).unwrap();
            found.map(|found| (found.inside.to_str().unwrap().to_owned(), found.outside, found.is_directory))
        };
        let gcc = Some(("/usr/bin/gcc-12".to_owned(), low.join("usr/bin/gcc-12"), false));
        for path in ["/usr/bin/gcc-12", "/usr/bin/gcc", "/bin/gcc", "/usr/bin/cc", "usr/../bin/../../bin/cc"] {
            assert_eq!(find(path), gcc, "{path}");
        }
        for path in ["/usr/bin/nothing", "/loop", "/usr/bin/outside", "/usr/bin/gcc/x", "/usr/bin/gcc-12/.."] {
            assert_eq!(find(path), None, "{path}");
        }
        assert_eq!(find("/bin"), Some(("/usr/bin".into(), high.join("usr/bin"), true)));
        assert_eq!(find("/"), Some(("/".into(), high.clone(), true)));
        // What the upper layer hides: by a file, by an opaque directory.
        put(high.join("gone"));
        assert_eq!(find("/gone/x"), None);
        assert!(find("/usr/lib/gcc/cc1").is_some());
        fs::create_dir_all(high.join("usr/lib/gcc")).unwrap();
        assert!(find("/usr/lib/gcc/cc1").is_some());
        if rustix::fs::setxattr(high.join("usr/lib"), OPAQUE, b"y", rustix::fs::XattrFlags::empty()).is_ok() {
            assert_eq!(find("/usr/lib/gcc/cc1"), None);
        }
    }
}
