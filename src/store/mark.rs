//! Who needs what: the one place that decides what may be removed.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::reference::Reference;
use crate::store::{Needs, Store, StoreError};

/// Who needs something of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A name in the store.
    Name(Reference),
    /// A lock file that was used with the store.
    Lock(PathBuf),
    /// A process that runs.
    Process,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Lock(path) => write!(f, "{}", path.display()),
            Self::Process => write!(f, "a hermes that is running"),
        }
    }
}

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What everybody needs.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) holds: Vec<(Holder, Needs)>,
}

impl Store {
    /// Asks names, lock files and leases what they need; not the name `but`, nor the lock files in
    /// `forget`. If `sweep`, these are forgotten, and so are leases of the dead and lock files that are
    /// gone; only who has closed the gate may.
    ///
    /// # Errors
    /// Whoever cannot be asked: what they need is not known. The system's.
    pub(super) fn mark(&self, but: Option<&Reference>, forget: &[PathBuf], sweep: bool) -> Result<Marks, StoreError> {
        let mut holds = Vec::new();
        for (_, needs) in self.leases(sweep)? {
            holds.push((Holder::Process, needs));
        }
        for (path, needs) in self.seen(forget, sweep)? {
            holds.push((Holder::Lock(path), needs));
        }
        for (name, top) in self.refs()? {
            if Some(&name) != but {
                let mut needs = Needs::default();
                self.reach(&top, &mut needs, 0, &Err)?;
                holds.push((Holder::Name(name), needs));
            }
        }
        Ok(Marks { holds })
    }
}

impl Marks {
    /// What anybody needs.
    pub(super) fn kept(&self) -> Needs {
        union(self.holds.iter().map(|(_, needs)| needs))
    }

    /// What running processes need.
    pub(super) fn leased(&self) -> Needs {
        union(self.holds.iter().filter(|(holder, _)| *holder == Holder::Process).map(|(_, needs)| needs))
    }

    /// What running processes and lock files need.
    pub(super) fn pinned(&self) -> Needs {
        union(self.holds.iter().filter(|(holder, _)| !matches!(holder, Holder::Name(_))).map(|(_, needs)| needs))
    }

    /// Who needs a part of `needs`, each once.
    pub(super) fn who_needs(&self, needs: &Needs) -> Vec<Holder> {
        let mut holders: Vec<_> =
            self.holds.iter().filter(|(_, theirs)| theirs.meets(needs)).map(|(holder, _)| holder.clone()).collect();
        holders.sort();
        holders.dedup();
        holders
    }
}

fn union<'a>(all: impl Iterator<Item = &'a Needs>) -> Needs {
    let mut union = Needs::default();
    for needs in all {
        union.add(needs);
    }
    union
}
