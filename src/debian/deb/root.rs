//! Unpacking packages into one tree.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::ar;
use super::control::{Conffile, Control};
use super::error::{DebError, Fault};
use super::expected::Expected;
use super::md5;
use super::merged_usr::{self, MergedUsr};
use super::open;
use crate::layer::{
    Assembly, Filler, Header, Kind, LayerError, Limits, Lookahead, MemoryBudget, Placing, Reader, Type,
};
use crate::visible::visible_path;

/// Packages that are unpacked into one tree, one after the other.
///
/// The rules are dpkg's: a directory that is there keeps what its first package gave it; a path that is no directory belongs to
/// one package, but for `Replaces`. Where dpkg would follow a link of another package, hermes refuses the package, except for
/// merged `/usr`.
pub struct Root<'a> {
    assembly: &'a mut Assembly,
    packages: Vec<UnpackedPackage>,
    /// The package of each path that is no directory, by the path in the tree.
    owners: HashMap<Vec<u8>, usize>,
    merged: MergedUsr,
    memory: MemoryBudget,
    replacements: Replacements,
    /// Bytes of all control archives, and how many there may be: packages are kept until the end, with scripts and lists.
    control: (u64, u64),
    /// MD5 digests of the last package's files with several names, by device and inode.
    digests: HashMap<(u64, u64), String>,
}

/// What packages have taken from others.
#[derive(Default)]
struct Replacements {
    /// Paths of each package that others have now, as they stand in its archive.
    taken: HashMap<usize, HashSet<Vec<u8>>>,
    /// Whether the last package replaces an earlier one, and whether that replaces the last one: for each only once, since
    /// both may have any number of files and relations.
    known: HashMap<usize, (bool, bool)>,
}

/// A package in the tree.
#[derive(Debug)]
pub struct UnpackedPackage {
    pub control: Control,
    /// The paths of its entries, in the order of the archive, clean, and before they were moved below `/usr`.
    pub(super) paths: Vec<Vec<u8>>,
    /// Its directories, by the paths of the archive, with their times in seconds since 1970.
    directories: HashMap<Vec<u8>, i64>,
    /// The files that users may change, and the MD5 of each, in hexadecimal digits; `None` if it is not in the tree.
    pub(super) conffiles: Vec<(Conffile, Option<String>)>,
    /// The list of MD5 digests that dpkg makes if the package has none.
    pub(super) md5sums: Option<Vec<u8>>,
}

impl UnpackedPackage {
    fn new(control: Control) -> Self {
        Self { control, paths: Vec::new(), directories: HashMap::new(), conffiles: Vec::new(), md5sums: None }
    }

    /// The paths of its entries, in the order of the archive and before they were moved below `/usr`, with the times of
    /// directories in seconds since 1970.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], Option<i64>)> {
        self.paths.iter().map(|path| (path.as_slice(), self.directories.get(path).copied()))
    }
}

impl<'a> Root<'a> {
    /// Begins with no package. `limits` are those of the assembly.
    pub fn new(assembly: &'a mut Assembly, limits: &Limits) -> Self {
        Self {
            assembly,
            packages: Vec::new(),
            owners: HashMap::new(),
            merged: MergedUsr::default(),
            // Paths are kept in the lists of packages and with their owners, beside the assembly.
            memory: MemoryBudget::new(2 * limits.entries, limits.table),
            replacements: Replacements::default(),
            control: (0, limits.table),
            digests: HashMap::new(),
        }
    }

    /// Unpacks the archive of a package. Packages must come in order of their names.
    ///
    /// # Errors
    /// An archive that is damaged, hostile, over the limits or not the expected one; a conflict with a package that is unpacked;
    /// the system's errors. The tree is then in any state.
    pub fn unpack(&mut self, archive: impl Read + Send, expected: &Expected) -> Result<(), DebError> {
        let archive = Mutex::new(Some(archive));
        let open = |_| {
            let archive = archive.lock().unwrap_or_else(PoisonError::into_inner).take();
            archive.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        self.unpack_all(&[expected], &open, &|_| true).map(drop)
    }

    /// Unpacks the archives of packages, which are in order of their names, and are decompressed by several threads. `open` opens
    /// one by its place in the list. Those of which `is_wanted` says no are verified, but not unpacked; returns their places.
    ///
    /// # Errors
    /// As [`Self::unpack`]; those of `open`.
    pub fn unpack_all<R: Read>(
        &mut self,
        packages: &[&Expected],
        open: &(dyn Fn(usize) -> io::Result<R> + Sync),
        is_wanted: &(dyn Fn(&Control) -> bool + Sync),
    ) -> Result<Vec<usize>, DebError> {
        let (ahead, next, limits) = (Lookahead::new(packages.len()), AtomicUsize::new(0), self.assembly.limits());
        let work = || {
            while let Some((at, expected)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, packages.get(at)?)))
            {
                if ahead.is_stopped() {
                    break;
                }
                let filler = ahead.filler(at);
                let opened = open(at).map_err(Fault::Read);
                let end = opened.and_then(|archive| read(archive, expected, &filler, &limits, is_wanted));
                filler.end(end);
            }
        };
        thread::scope(|scope| {
            // Dropped before the threads are waited for.
            let _stop = Stop(&ahead);
            let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST).min(packages.len());
            for _ in 0..threads {
                let started = thread::Builder::new().name("inflate".into()).spawn_scoped(scope, work);
                started.map_err(Fault::Read).map_err(Fault::of(&packages[0].name))?;
            }
            let mut left_out = Vec::new();
            for (at, expected) in packages.iter().enumerate() {
                let is_unpacked = self.package(ahead.reader(at)).map_err(Fault::of(&expected.name))?;
                left_out.extend((!is_unpacked).then_some(at));
            }
            Ok(left_out)
        })
    }

    /// Adds a package. Returns whether it is wanted.
    fn package(&mut self, mut archive: Reader<'_, Head, Fault>) -> Result<bool, Fault> {
        let head = archive.head();
        let is_wanted = head.as_ref().is_some_and(|head| head.is_wanted);
        let placed = match head.filter(|head| head.is_wanted) {
            Some(Head { control, .. }) => {
                let (bytes, limit) = (self.control.0.saturating_add(control.weight()), self.control.1);
                if bytes > limit {
                    return Err(LayerError::Limit { what: "bytes of control files", limit }.into());
                }
                self.control.0 = bytes;
                self.replacements.known.clear();
                self.packages.push(UnpackedPackage::new(control));
                let (assembly, mut rest) = self.split();
                assembly.archive(&mut archive, &mut |path, header, kind| rest.place(path, header, kind)).map(drop)
            }
            None => Ok(()),
        };
        // What is wrong with the whole archive comes first.
        archive.finish().and(placed)?;
        if is_wanted {
            self.look_at_files()?;
        }
        Ok(is_wanted)
    }

    /// Makes the links of merged `/usr` that no package has, with the time `mtime`. Returns the packages, in the order in which they were unpacked.
    ///
    /// # Errors
    /// The system's errors.
    pub fn finish(self, mtime: i64) -> Result<Vec<UnpackedPackage>, LayerError> {
        self.merged.link(self.assembly, mtime)?;
        Ok(self.finish_above().0)
    }

    /// Ends a tree that is put on top of another root, which has the links of merged `/usr`. Returns the packages, in the order in which
    /// they were unpacked, and the names of the links that the other root must have: what lies below them here has lain in the
    /// directories of these names.
    #[must_use]
    pub fn finish_above(mut self) -> (Vec<UnpackedPackage>, Vec<&'static [u8]>) {
        for (package, taken) in self.replacements.taken {
            self.packages[package].paths.retain(|path| !taken.contains(path));
        }
        (self.packages, self.merged.needed().collect())
    }

    fn split(&mut self) -> (&mut Assembly, Placement<'_>) {
        let Self { assembly, packages, owners, merged, memory, replacements, .. } = self;
        (assembly, Placement { packages, owners, merged, memory, replacements })
    }

    /// Takes the digests of files of the last package that dpkg has in its database.
    fn look_at_files(&mut self) -> Result<(), Fault> {
        let Some(mut package) = self.packages.pop() else { return Ok(()) };
        self.digests.clear();
        for conffile in &package.control.conffiles {
            let path = conffile.path.as_bytes();
            let digest = self.md5(&path[1..])?;
            // A package that replaces this one may have the file.
            let owner = self.owners.get(&merged_usr::resolved(&path[1..])).copied();
            let mut is_elsewhere = || {
                let owner = owner.and_then(|owner| Some((owner, self.packages.get(owner)?)));
                owner.is_some_and(|(at, owner)| self.replacements.between((at, &owner.control), &package.control).1)
            };
            if digest.is_some() == conffile.is_removed && !is_elsewhere() {
                let is = if conffile.is_removed { "still a" } else { "no" };
                return Err(Fault::control(
                    "conffiles",
                    format!("'{}' is {is} file of the package", visible_path(path)),
                ));
            }
            package.conffiles.push((conffile.clone(), digest));
        }
        if package.control.file("md5sums").is_none() {
            let mut list = Vec::new();
            for path in &package.paths {
                if let Some(digest) = self.md5(path)? {
                    list.extend_from_slice(&[digest.as_bytes(), b"  ", path, b"\n"].concat());
                }
            }
            package.md5sums = Some(list);
        }
        self.packages.push(package);
        Ok(())
    }

    /// The digest of a file of the package that comes next after those in the list.
    fn md5(&mut self, path: &[u8]) -> Result<Option<String>, LayerError> {
        let path = merged_usr::resolved(path);
        if self.owners.get(&path) != Some(&self.packages.len()) || self.assembly.kind(&path) != Some(Kind::File) {
            return Ok(None);
        }
        let io = |source| LayerError::Io { action: "read", path: visible_path(&path), source };
        let file = self.assembly.open(&path)?;
        let meta = file.metadata().map_err(io)?;
        // A file with many names is read once.
        let key = (meta.nlink() > 1).then(|| (meta.dev(), meta.ino()));
        if let Some(known) = key.and_then(|key| self.digests.get(&key)) {
            return Ok(Some(known.clone()));
        }
        let digest = md5::of_reader(file).map_err(io)?;
        if let Some(key) = key {
            self.memory.more(digest.len())?;
            self.digests.insert(key, digest.clone());
        }
        Ok(Some(digest))
    }
}

impl Replacements {
    /// Whether the last package `now` replaces `before`, the package at this position, and the other way round.
    fn between(&mut self, (at, before): (usize, &Control), now: &Control) -> (bool, bool) {
        *self.known.entry(at).or_insert_with(|| (now.replaces(before), before.replaces(now)))
    }
}

/// Most threads that decompress: more of them fill the memory sooner than files are written.
const MOST: usize = 8;

/// What is known of a package before its files come.
struct Head {
    control: Control,
    is_wanted: bool,
}

/// Makes all threads end when it is dropped.
struct Stop<'a>(&'a Lookahead<Head, Fault>);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Reads an archive for `filler`.
fn read(
    archive: impl Read,
    expected: &Expected,
    filler: &Filler<'_, Head, Fault>,
    limits: &Limits,
    is_wanted: &(dyn Fn(&Control) -> bool + Sync),
) -> Result<(), Fault> {
    open::verified(archive, expected, |archive| {
        let control = open::control(archive, expected)?;
        let is_wanted = is_wanted(&control);
        filler.head(Head { control, is_wanted });
        if !is_wanted {
            return Ok(());
        }
        open::member(archive, "data.tar", |content, _| Ok(filler.decompress(content, limits)?))?;
        ar::end(archive)
    })
}

/// Decides where the entries of the last package go.
struct Placement<'r> {
    packages: &'r mut Vec<UnpackedPackage>,
    owners: &'r mut HashMap<Vec<u8>, usize>,
    merged: &'r mut MergedUsr,
    memory: &'r mut MemoryBudget,
    replacements: &'r mut Replacements,
}

impl Placement<'_> {
    fn place(&mut self, path: &[u8], header: &Header, kind: &dyn Fn(&[u8]) -> Option<Kind>) -> Result<Placing, Fault> {
        match header.kind {
            Type::CharDevice | Type::BlockDevice | Type::Fifo => {
                return Err(Fault::entry(path, "it is a device or a FIFO, which no package has"));
            }
            _ if header.sparse.is_some() => return Err(Fault::entry(path, "it is a sparse file")),
            _ if !header.xattrs.is_empty() => return Err(Fault::entry(path, "it has extended attributes")),
            _ if header.path.starts_with(b"/") => return Err(Fault::entry(path, "its path is absolute")),
            _ if path.contains(&b'\n') => return Err(Fault::entry(path, "a newline in its path")),
            _ => {}
        }
        self.memory.add(path.len())?;
        let current = self.packages.len() - 1;
        self.packages[current].paths.push(path.to_vec());
        if header.kind == Type::Directory {
            self.memory.add(path.len())?;
            self.packages[current].directories.insert(path.to_vec(), header.mtime.0);
        }
        let at = self.merged.place(path, header)?;
        self.check_parents(&at, kind)?;
        if header.kind == Type::Directory {
            return match kind(&at) {
                None | Some(Kind::Directory) => Ok(Placing::At(at)),
                Some(_) => Err(self.conflict(&at)),
            };
        }
        match (kind(&at), self.owners.get(&at)) {
            (None, _) => {}
            (_, Some(owner)) if *owner == current => return Err(Fault::entry(&at, "the archive has it twice")),
            (Some(Kind::Directory), _) | (_, None) => return Err(self.conflict(&at)),
            (_, Some(owner)) => {
                let (before, now) = (&self.packages[*owner].control, &self.packages[current].control);
                let (replaces, is_replaced) = self.replacements.between((*owner, before), now);
                if replaces {
                    self.memory.more(path.len())?;
                    // As in dpkg's lists, of two spellings of a path below a merged directory both stay.
                    self.replacements.taken.entry(*owner).or_default().insert(path.to_vec());
                } else if is_replaced {
                    self.packages[current].paths.pop();
                    return Ok(Placing::Skip);
                } else {
                    return Err(self.conflict(&at));
                }
            }
        }
        let target = if header.kind == Type::Hardlink {
            let target = merged_usr::resolved(&header.link);
            if self.owners.get(&target) != Some(&current) {
                return Err(Fault::entry(&at, "its hard link target is not an earlier file of the package"));
            }
            Some(target)
        } else {
            None
        };
        self.memory.add(at.len())?;
        self.owners.insert(at.clone(), current);
        Ok(match target {
            Some(target) => Placing::Linked { path: at, target },
            None => Placing::At(at),
        })
    }

    /// All that a path leads through must be directories.
    fn check_parents(&self, path: &[u8], kind: &dyn Fn(&[u8]) -> Option<Kind>) -> Result<(), Fault> {
        let parent = path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash]);
        if parent.is_none_or(|parent| kind(parent) == Some(Kind::Directory)) {
            return Ok(());
        }
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if kind(&path[..end]).is_some_and(|kind| kind != Kind::Directory) {
                if self.owners.get(&path[..end]) == Some(&(self.packages.len() - 1)) {
                    return Err(Fault::entry(path, "its path leads through what is no directory"));
                }
                return Err(self.conflict(&path[..end]));
            }
        }
        Ok(())
    }

    /// That an earlier package has `path`.
    fn conflict(&self, path: &[u8]) -> Fault {
        let has = |package: &&UnpackedPackage| {
            let below =
                |known: &[u8]| known.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
            package.paths.iter().any(|known| below(&merged_usr::resolved(known)))
        };
        let owner = self.owners.get(path).map(|owner| &self.packages[*owner]);
        match owner.or_else(|| self.packages.iter().find(has)) {
            Some(other) => Fault::Conflict { path: visible_path(path), other: other.control.name.clone() },
            None => Fault::entry(path, "something else is there"),
        }
    }
}
