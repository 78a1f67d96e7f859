//! The unpacked base of a root, with dpkg's database; if no scripts run, all packages of the root.

use std::fs::File;

use super::composition::Work;
use super::error::ComposeError;
use crate::debian::compose::script::Preinst;
use crate::debian::compose::times::DirectoryTimes;
use crate::debian::deb::{Root, UnpackedPackage, database, link_merged_usr};
use crate::layer::{Entry, Kind, assemble};

/// A root whose packages are unpacked and not configured.
pub(super) struct Unpacked {
    /// What is in the tree, with the times that directories have in the end, unless scripts change them.
    pub(super) entries: Vec<Entry>,
    /// Packages with a preinst script, in order of their names.
    pub(super) preinsts: Vec<Preinst>,
}

/// Unpacks the base into a new tree, or all packages if none of their scripts run.
pub(super) fn base(work: &Work<'_>) -> Result<Unpacked, ComposeError> {
    let (composition, tree) = (work.composition, work.tree());
    let (epoch, limits) = (composition.epoch, &composition.limits);
    std::fs::create_dir(&tree).map_err(ComposeError::io("create", &tree))?;
    let others = if composition.scripts { &[] } else { composition.packages };
    let mut archives: Vec<_> = composition.base.iter().chain(others).collect();
    archives.sort_by(|one, other| one.expected.name.cmp(&other.expected.name));
    let mut times = DirectoryTimes::default();
    let (assembled, packages) = assemble(&tree, limits, epoch, |assembly| {
        let mut root = Root::new(assembly, limits);
        for archive in archives {
            let file = File::open(&archive.path).map_err(ComposeError::io("open", &archive.path))?;
            root.unpack(file, &archive.expected)?;
        }
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
    Ok(Unpacked { entries, preinsts: packages.iter().filter_map(preinst).collect() })
}

fn preinst(package: &UnpackedPackage) -> Option<Preinst> {
    let control = &package.control;
    control.file("preinst")?;
    let (name, architecture) = (control.database_name(), control.architecture.as_str().to_owned());
    let text = format!("Package: {}\nVersion: {}\nArchitecture: {architecture}\n", control.name, control.version);
    Some(Preinst { name, architecture, control: text.into_bytes() })
}
