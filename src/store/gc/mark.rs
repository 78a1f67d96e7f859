//! Who needs what: the one place that decides what may be removed.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::reference::Reference;
use crate::store::{Closure, Store, StoreError};

/// Who needs something of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GcRoot {
    /// A name in the store.
    Name(Reference),
    /// A lock file that was used with the store.
    Lock(PathBuf),
    /// A process that runs.
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

/// What everybody needs.
#[derive(Debug, Default)]
pub(in crate::store) struct LiveSet {
    pub(in crate::store) roots: Vec<(GcRoot, Closure)>,
}

impl Store {
    /// Asks names, lock files and leases what they need; not the name `but`, nor the lock files in
    /// `forget`. If `sweep`, these are forgotten, and so are leases of the dead and lock files that are
    /// gone; only who has closed the gate may.
    ///
    /// # Errors
    /// Whoever cannot be asked: what they need is not known. The system's.
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
    /// What anybody needs.
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

    /// Who needs a part of `needs`, each once.
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
