//! Unpacked packages of a root: its base, further packages, or all of them if no scripts run.

use std::fs::File;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use super::composition::{Archive, Composition, Work};
use super::error::ComposeError;
use crate::debian::compose::script::Preinst;
use crate::debian::compose::times::DirectoryTimes;
use crate::debian::deb::{Control, Expected, Root, UnpackedPackage, database, link_merged_usr};
use crate::layer::{Entry, Kind, assemble};

/// A base whose packages are unpacked and not configured.
pub(super) struct Unpacked {
    /// What is in the tree, with the times that directories have in the end, unless scripts change them.
    pub(super) entries: Vec<Entry>,
    /// Packages with a preinst script, in order of their names.
    pub(super) preinsts: Vec<Preinst>,
    /// The paragraphs of the packages in the indexes of archives.
    pub(super) index: Vec<String>,
}

/// Further packages, in a tree of their own.
pub(super) struct Packages {
    /// The directory of the tree; what is in it has no entry for the directories above.
    pub(super) tree: PathBuf,
    /// What is in the tree.
    pub(super) entries: Vec<Entry>,
    /// The packages in the tree, in order of their names.
    pub(super) list: Vec<UnpackedPackage>,
    /// Names of links of merged `/usr` that the base must have.
    pub(super) links: Vec<&'static [u8]>,
    /// Places in the composition of the packages that are not in the tree, and that dpkg has to unpack.
    pub(super) left_out: Vec<usize>,
}

/// Unpacks the base into the empty directory `tree`, or all packages if none of their scripts run.
pub(super) fn base(work: &Work<'_>, tree: &Path) -> Result<Unpacked, ComposeError> {
    let composition = work.composition;
    let (epoch, limits) = (composition.epoch, &composition.limits);
    let others = if composition.scripts { &[] } else { composition.packages };
    let (_, archives) = sorted(composition.base.iter().chain(others));
    let expected: Vec<&Expected> = archives.iter().map(|archive| &archive.expected).collect();
    let mut times = DirectoryTimes::default();
    thread::scope(|scope| {
        // Only scripts see it.
        let read = || if composition.scripts { (composition.index)() } else { Ok(vec![]) };
        let index = thread::Builder::new().name("index".into()).spawn_scoped(scope, read);
        let (assembled, packages) = assemble(tree, limits, epoch, |assembly| {
            let mut root = Root::new(assembly, limits);
            root.unpack_all(&expected, &|at| File::open(&archives[at].path), &|_| true)?;
            let packages = root.finish(epoch)?;
            if !composition.scripts {
                link_merged_usr(assembly, epoch)?;
            }
            for package in &packages {
                times.next_package();
                package.entries().for_each(|(path, directory)| times.add(path, directory));
            }
            // The priorities of the index come later, as in debootstrap: from dpkg's file `available`.
            for file in database(&packages, &[], &[], epoch)? {
                assembly.file(file.path.as_bytes(), file.attributes, &file.content)?;
                times.add(file.path.as_bytes(), None);
            }
            Ok::<_, ComposeError>(packages)
        })?;
        let times = times.merged();
        let mut entries = assembled.toc.entries;
        for entry in entries.iter_mut().filter(|entry| entry.kind == Kind::Directory) {
            entry.mtime = (times.get(&entry.path).copied().flatten().unwrap_or(epoch), 0);
        }
        let index = match index {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system has no thread left.
            Err(_) => read(),
        };
        Ok(Unpacked { entries, preinsts: preinsts(&packages), index: index? })
    })
}

/// Unpacks further packages into a directory of their own in `place`. Those that make diversions are left out: what comes after
/// them may belong elsewhere. If two packages have the same path, all are left out, and dpkg decides.
pub(super) fn packages(composition: &Composition<'_>, place: &Path) -> Result<Packages, ComposeError> {
    let (epoch, limits, tree) = (composition.epoch, &composition.limits, place.join("packages"));
    if composition.is_unpacked_by_dpkg {
        return Ok(Packages::none(tree, composition));
    }
    std::fs::create_dir(&tree).map_err(ComposeError::io("create", &tree))?;
    let (places, archives) = sorted(composition.packages.iter());
    let expected: Vec<&Expected> = archives.iter().map(|archive| &archive.expected).collect();
    let assembled = assemble(&tree, limits, epoch, |assembly| {
        let mut root = Root::new(assembly, limits);
        let left_out =
            root.unpack_all(&expected, &|at| File::open(&archives[at].path), &|control| !diverts(control))?;
        Ok::<_, ComposeError>((root.finish_above(), left_out))
    });
    match assembled {
        Ok((assembled, ((packages, links), left_out))) => {
            let left_out = left_out.into_iter().map(|at| places[at]).collect();
            Ok(Packages { tree, entries: assembled.toc.entries, list: packages, links, left_out })
        }
        Err(ComposeError::Deb(error)) if error.is_conflict() => Ok(Packages::none(tree, composition)),
        Err(error) => Err(error),
    }
}

impl Packages {
    /// No package: dpkg unpacks all.
    pub(super) fn none(tree: PathBuf, composition: &Composition<'_>) -> Self {
        let left_out = (0..composition.packages.len()).collect();
        Self { tree, entries: vec![], list: vec![], links: vec![], left_out }
    }
}

/// Archives in the order of the names of their packages, and the place of each in `archives`.
fn sorted<'a>(archives: impl Iterator<Item = &'a Archive>) -> (Vec<usize>, Vec<&'a Archive>) {
    let mut archives: Vec<_> = archives.enumerate().collect();
    archives.sort_by(|(_, one), (_, other)| one.expected.name.cmp(&other.expected.name));
    archives.into_iter().unzip()
}

/// Whether the package may change where files of packages belong, before it is unpacked (dpkg-divert(1)).
fn diverts(control: &Control) -> bool {
    const WORD: &[u8] = b"dpkg-divert";
    control.file("preinst").is_some_and(|preinst| preinst.content.windows(WORD.len()).any(|word| word == WORD))
}

/// Those of the packages that have a preinst script.
pub(super) fn preinsts(packages: &[UnpackedPackage]) -> Vec<Preinst> {
    packages.iter().filter_map(preinst).collect()
}

fn preinst(package: &UnpackedPackage) -> Option<Preinst> {
    let control = &package.control;
    control.file("preinst")?;
    let (name, architecture) = (control.database_name(), control.architecture.as_str().to_owned());
    let text = format!("Package: {}\nVersion: {}\nArchitecture: {architecture}\n", control.name, control.version);
    Some(Preinst { name, architecture, control: text.into_bytes() })
}
