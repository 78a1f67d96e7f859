//! The mark phase: which objects are live, and for the sake of which GC root.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::reference::Reference;
use crate::store::{Closure, Store, StoreError};

/// Something whose objects are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GcRoot {
    /// A name in the store.
    Name(Reference),
    /// A lock file that was used with the store.
    Lock(PathBuf),
    /// A running process, by its lease.
    Process,
}

impl fmt::Display for GcRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Lock(path) => write!(f, "{}", path.display()),
            Self::Process => write!(f, "a hermes that is running"),
        }
    }
}

impl Serialize for GcRoot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl GcRoot {
    /// The name, if the root is one.
    pub(in crate::store) fn name(&self) -> Option<&Reference> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// What all GC roots need.
#[derive(Debug, Default)]
pub(in crate::store) struct LiveSet {
    pub(in crate::store) roots: Vec<(GcRoot, Closure)>,
}

impl Store {
    /// Collects what names, lock files and leases need, without the name `but` and the lock files in `forget`. With `sweep`,
    /// those lock files are removed from the roots, and so are lock files that no longer exist and leases of dead processes;
    /// the caller must have closed the gate.
    ///
    /// # Errors
    /// A root cannot be read, so what it needs is unknown.
    pub(in crate::store) fn mark(
        &self,
        but: Option<&Reference>,
        forget: &[PathBuf],
        sweep: bool,
    ) -> Result<LiveSet, StoreError> {
        let mut roots = Vec::new();
        for (_, needs) in self.leases(sweep)? {
            roots.push((GcRoot::Process, needs));
        }
        for (path, needs) in self.gc_roots(forget, sweep)? {
            roots.push((GcRoot::Lock(path), needs));
        }
        for (name, top) in self.refs()? {
            if Some(&name) != but {
                let mut needs = Closure::default();
                self.reach(&top, &mut needs, 0, &Err)?;
                roots.push((GcRoot::Name(name), needs));
            }
        }
        Ok(LiveSet { roots })
    }
}

impl LiveSet {
    /// What any root needs.
    pub(in crate::store) fn kept(&self) -> Closure {
        union(self.roots.iter().map(|(_, needs)| needs))
    }

    /// What running processes need.
    pub(in crate::store) fn leased(&self) -> Closure {
        union(self.roots.iter().filter(|(root, _)| *root == GcRoot::Process).map(|(_, needs)| needs))
    }

    /// What running processes and lock files need.
    pub(in crate::store) fn pinned(&self) -> Closure {
        union(self.roots.iter().filter(|(root, _)| !matches!(root, GcRoot::Name(_))).map(|(_, needs)| needs))
    }

    /// The roots that need a part of `needs`, each once.
    pub(in crate::store) fn who_needs(&self, needs: &Closure) -> Vec<GcRoot> {
        let mut roots: Vec<_> =
            self.roots.iter().filter(|(_, theirs)| theirs.intersects(needs)).map(|(root, _)| root.clone()).collect();
        roots.sort();
        roots.dedup();
        roots
    }
}

fn union<'a>(all: impl Iterator<Item = &'a Closure>) -> Closure {
    let mut union = Closure::default();
    for needs in all {
        union.add(needs);
    }
    union
}
