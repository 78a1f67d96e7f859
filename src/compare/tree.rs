//! Comparison of two trees, walked at once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::compare::content::{Part, describe, first_difference};
use crate::compare::diff::{Comparison, Detail, Difference, Side, Verdict, text};
use crate::compare::snapshot::{Snapshot, directory};
use crate::compare::{archive, elf};
use crate::fs::beneath::{self, Links};
use crate::fs::entries;

/// What a build left.
#[derive(Debug)]
pub struct Product {
    root: OwnedFd,
    before: Option<Snapshot>,
    /// Permissions that are not compared.
    ignored: u32,
}

impl Product {
    /// The products in the directory `root`. Files that have not changed since `before` are no products.
    pub fn open(root: &Path, before: Option<Snapshot>) -> io::Result<Self> {
        let root = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, before, ignored: 0 })
    }

    /// The same, of whose files and directories these permissions are not compared.
    #[must_use]
    pub fn ignoring(self, permissions: u32) -> Self {
        Self { ignored: permissions, ..self }
    }

    /// The first bytes, `most` at most, of the file at `path`.
    ///
    /// # Errors
    /// There is no file.
    pub fn content(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        // A FIFO would be waited for.
        let file = self.opened(path.as_os_str().as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut content = Vec::new();
        File::from(file).take(most).read_to_end(&mut content)?;
        Ok(content)
    }

    fn is_old(&self, path: &[u8], stat: &Stat) -> bool {
        self.before.as_ref().is_some_and(|before| before.has(path, stat))
    }

    /// The file at `path`, if there is one.
    pub(super) fn look(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        let found = self.opened(path, OFlags::PATH | OFlags::NOFOLLOW);
        match found {
            Ok(found) => Ok(Some(rustix::fs::fstat(found)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory `path`.
    pub(super) fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        directory(&self.root, path)
    }

    /// Opens what is at `path`, with no link on the way and none at its end.
    fn opened(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = Path::new(OsStr::from_bytes(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return directory(&self.root, b"");
        };
        let parent = beneath::find(&self.root, parent, Links::Refuse)?;
        Ok(rustix::fs::openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// Why trees were not compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Neither build made what was said to be its product.
    #[error("neither build created {path}")]
    Absent {
        /// From the top of the tree.
        path: PathBuf,
    },
    /// A product cannot be looked for.
    #[error("cannot look up {path}")]
    Look {
        /// From the top of the tree.
        path: PathBuf,
        source: io::Error,
    },
}

/// Compares what is at `paths` in both trees, and beneath; without any, all that is in the trees.
///
/// # Errors
/// [`CompareError`]. What else goes wrong is a difference: that something cannot be compared.
pub fn compare(products: [&Product; 2], paths: &[PathBuf]) -> Result<Comparison, CompareError> {
    let mut walk = Walk { products, found: Comparison::default(), waiting: Vec::new() };
    if paths.is_empty() {
        walk.waiting.push(Vec::new());
        walk.all();
    }
    for path in paths {
        let parts = path.components().filter(|part| *part != Component::CurDir);
        let name = parts.collect::<PathBuf>().into_os_string().into_encoded_bytes();
        let look = |product: &Product| product.look(&name);
        let [one, other] = products.map(look);
        let failed = |source| CompareError::Look { path: path.clone(), source };
        match (one.map_err(failed)?, other.map_err(failed)?) {
            (None, None) => return Err(CompareError::Absent { path: path.clone() }),
            (one, other) => walk.entry(name, one, other),
        }
        walk.all();
    }
    walk.found.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(walk.found)
}

struct Walk<'a> {
    products: [&'a Product; 2],
    found: Comparison,
    /// Directories that both trees have.
    waiting: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn all(&mut self) {
        while let Some(path) = self.waiting.pop() {
            if let Err(error) = self.directory(&path) {
                self.unread(&path, &error);
            }
        }
    }

    fn unread(&mut self, path: &[u8], error: &io::Error) {
        self.found.add(path, Verdict::Differs, vec![unread(error).into()]);
    }

    fn directory(&mut self, path: &[u8]) -> io::Result<()> {
        let mut names: BTreeMap<Vec<u8>, [Option<Stat>; 2]> = BTreeMap::new();
        for (side, product) in self.products.iter().enumerate() {
            for (name, stat) in entries::of(product.directory(path)?)? {
                names.entry(name).or_default()[side] = Some(stat);
            }
        }
        for (name, [one, other]) in names {
            self.entry(entries::join(path, &name), one, other);
        }
        Ok(())
    }

    /// Compares what is at `path`, but not what is in a directory, which has to wait.
    fn entry(&mut self, path: Vec<u8>, one: Option<Stat>, other: Option<Stat>) {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, _) => {
                let side = if one.is_some() { Side::First } else { Side::Second };
                self.found.add(&path, Verdict::Differs, vec![Difference::OnlyIn { side }.into()]);
                return;
            }
        };
        if [&one, &other].iter().zip(self.products).all(|(stat, product)| product.is_old(&path, stat)) {
            return;
        }
        let is_directory = kind(&one) == kind(&other) && kind(&one) == FileType::Directory;
        match self.pair(&path, &one, &other) {
            // Only what is in it counts.
            Ok((Verdict::Same, _)) if is_directory => {}
            Ok((verdict, details)) => self.found.add(&path, verdict, details),
            Err(error) => self.unread(&path, &error),
        }
        if is_directory {
            self.waiting.push(path);
        }
    }

    fn pair(&self, path: &[u8], one: &Stat, other: &Stat) -> io::Result<(Verdict, Vec<Detail>)> {
        if kind(one) != kind(other) {
            let difference = Difference::Kind { first: kind_name(one), second: kind_name(other) };
            return Ok((Verdict::Differs, vec![difference.into()]));
        }
        let mut details: Vec<Detail> = Vec::new();
        let [first, second] = [one, other].map(|stat| stat.st_mode & 0o7777);
        let ignored = self.products.iter().fold(0, |ignored, product| ignored | product.ignored);
        if (first ^ second) & !ignored != 0 && kind(one) != FileType::Symlink {
            let [first, second] = [first, second].map(|mode| format!("{mode:04o}"));
            details.push(Difference::Mode { first, second }.into());
        }
        match kind(one) {
            FileType::RegularFile => {
                let [first, second] = self.products.map(|product| open_file(product, path));
                let compared = first.and_then(|first| files(&first, &second?));
                // A difference of modes may be why one of them cannot be read.
                let (verdict, more) = compared.unwrap_or_else(|error| (Verdict::Differs, vec![unread(&error).into()]));
                let verdict = if details.is_empty() { verdict } else { Verdict::Differs };
                details.extend(more);
                return Ok((verdict, details));
            }
            FileType::Symlink => {
                let [first, second] = self.products.map(|product| target(product, path));
                let (first, second) = (first?, second?);
                if first != second {
                    details.push(Difference::Target { first: text(&first), second: text(&second) }.into());
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice if one.st_rdev != other.st_rdev => {
                details.push(Difference::Device.into());
            }
            _ => {}
        }
        Ok((if details.is_empty() { Verdict::Same } else { Verdict::Differs }, details))
    }
}

fn unread(error: &io::Error) -> Difference {
    Difference::Unread { reason: error.to_string() }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn kind_name(stat: &Stat) -> &'static str {
    match kind(stat) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "unknown",
    }
}

/// Opens a regular file and nothing else, without waiting for the other end of a FIFO.
pub(super) fn open_file(product: &Product, path: &[u8]) -> io::Result<File> {
    let file = File::from(product.opened(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no longer a file")) }
}

pub(super) fn target(product: &Product, path: &[u8]) -> io::Result<Vec<u8>> {
    let link = product.opened(path, OFlags::PATH)?;
    Ok(rustix::fs::readlinkat(link.as_fd(), c"", Vec::new())?.into_bytes())
}

/// Compares the contents of two files.
fn files(one: &File, other: &File) -> io::Result<(Verdict, Vec<Detail>)> {
    let whole = |file| -> io::Result<Part> { Ok(Part { file, start: 0, size: file.metadata()?.len() }) };
    let (one, other) = (whole(one)?, whole(other)?);
    let Some(offset) = first_difference(one, other)? else { return Ok((Verdict::Same, Vec::new())) };
    if one.starts_with(archive::MAGIC)?
        && other.starts_with(archive::MAGIC)?
        && let Some(found) = archive::compare(one, other)?
    {
        return Ok(found);
    }
    match elf::compare(one, other)? {
        Some(found) if !found.is_empty() => Ok((elf::verdict(&found), found.into_iter().map(Detail::from).collect())),
        _ => Ok((Verdict::Differs, vec![describe(one, other, offset)?.into()])),
    }
}
