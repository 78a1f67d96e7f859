//! Removal of objects that no GC root needs, and of the least recently used ones while the store exceeds its budget.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Digest;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::gc::mark::{GcRoot, LiveSet};
use crate::store::objects::{ObjectId, ObjectKind};
use crate::store::totals::{Object, Totals};
use crate::store::usage::Usage;
use crate::store::{Closure, Store, StoreError};

/// The most that objects and partial blobs may take together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Files, directories and links.
    pub inodes: Option<u64>,
}

impl Budget {
    /// By how many bytes and inodes `totals` exceeds the budget.
    fn excess(self, totals: Totals) -> (u64, u64) {
        let over = |limit: Option<u64>, is: u64| limit.map_or(0, |limit| is.saturating_sub(limit));
        (over(self.bytes, totals.bytes), over(self.inodes, totals.inodes))
    }

    fn holds(self, totals: Totals) -> bool {
        self.excess(totals) == (0, 0)
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// Whether nothing was removed, and this says what would be.
    pub dry_run: bool,
    pub blobs: Totals,
    pub layers: Totals,
    pub trees: Totals,
    pub sources: Totals,
    /// Partial blobs that no process is fetching.
    pub partial: Totals,
    /// Staged files of killed processes.
    pub litter: Totals,
    /// Names removed to stay within the budget, least recently used first.
    pub images: Vec<Reference>,
    /// What is left of blobs, layers, merged trees and partial blobs.
    pub left: Totals,
    /// By how many bytes that exceeds the budget.
    pub excess_bytes: u64,
    /// By how many inodes that exceeds the budget.
    pub excess_inodes: u64,
    /// The roots that need what is left, where that exceeds the budget.
    pub kept_for: Vec<GcRoot>,
}

impl Collected {
    /// Whether what is left is within the budget.
    #[must_use]
    pub fn within_budget(&self) -> bool {
        (self.excess_bytes, self.excess_inodes) == (0, 0)
    }

    /// All that was removed.
    #[must_use]
    pub fn freed(&self) -> Totals {
        Totals::sum(&[self.blobs, self.layers, self.trees, self.sources, self.partial, self.litter])
    }
}

/// What is to be removed.
#[derive(Default)]
struct Plan {
    objects: BTreeSet<ObjectId>,
    images: Vec<Reference>,
    /// What stays.
    left: Totals,
}

impl Store {
    /// Removes what no name, no lock file and no lease needs. Where more is left than `budget` allows, removes what was used
    /// least recently, too: first unpacked layers, sources and merged trees that can be made again from what is in the
    /// store, then whole images that no lock file names. Never removes what is leased. Lock files in `forget` are no longer
    /// GC roots, until they are used again.
    ///
    /// # Errors
    /// [`StoreError::NoLocks`]; a root that cannot be read. Nothing is removed then.
    pub fn gc(
        &self,
        budget: Budget,
        forget: &[PathBuf],
        dry_run: bool,
        reporter: &dyn Reporter,
    ) -> Result<Collected, StoreError> {
        // Before the gate is closed, since it takes longest; objects do not change their size.
        let known = self.measure(&Usage::default());
        let gate = if dry_run {
            None
        } else {
            Some(self.close_gate(reporter)?.ok_or_else(|| StoreError::NoLocks { path: self.path("leases") })?)
        };
        let live = self.mark(None, forget, !dry_run)?;
        let usage = self.measure(&known);
        let plan = self.plan(&usage, &live, budget);
        let mut collected = Collected { dry_run, left: plan.left, images: plan.images.clone(), ..Collected::default() };
        [collected.trees, collected.layers, collected.sources, collected.blobs] = plan.removals(&usage);
        (collected.excess_bytes, collected.excess_inodes) = budget.excess(plan.left);
        if !collected.within_budget() {
            let here = live.roots.iter().filter(|(_, needs)| usage.of(needs).count > 0);
            // A name that is left is left because one of these needs its image.
            let mut roots: Vec<_> = here.map(|(root, _)| root.clone()).filter(|root| root.name().is_none()).collect();
            roots.sort();
            roots.dedup();
            collected.kept_for = roots;
        }
        if !dry_run {
            let mut trash = self.trash()?;
            plan.images.iter().try_for_each(|name| self.remove_ref(name).map(drop))?;
            for id in &plan.objects {
                trash.take(&self.object_path(*id))?;
            }
            // Nobody uses what is in the trash, so others need not wait for its deletion.
            drop(gate);
            trash.empty()?;
        }
        collected.litter = self.sweep_all(dry_run);
        collected.partial = self.collect_partial(dry_run);
        let Totals { count, bytes, inodes } = collected.partial;
        let left = &mut collected.left;
        (left.count, left.bytes, left.inodes) =
            (left.count - count.min(left.count), left.bytes.saturating_sub(bytes), left.inodes.saturating_sub(inodes));
        Ok(collected)
    }

    /// What [`Self::gc`] without a budget would remove.
    pub(in crate::store) fn garbage(&self, usage: &Usage) -> Result<Totals, StoreError> {
        let plan = self.plan(usage, &self.mark(None, &[], false)?, Budget::default());
        let [trees, layers, sources, blobs] = plan.removals(usage);
        Ok(Totals::sum(&[blobs, layers, trees, sources, self.collect_partial(true), self.sweep_all(true)]))
    }

    fn plan(&self, usage: &Usage, live: &LiveSet, budget: Budget) -> Plan {
        let left = Totals::of(usage.objects.values().chain(usage.partial.values()));
        let mut plan = Plan { left, ..Plan::default() };
        plan.drop_all_but(&live.kept(), usage);
        if budget.holds(plan.left) {
            return plan;
        }
        plan.drop_copies(usage, live, budget);
        let pinned = live.pinned();
        let mut names: Vec<_> = live
            .roots
            .iter()
            .filter_map(|(root, needs)| Some((root.name()?, needs)))
            .filter(|(_, needs)| !needs.manifests().any(|manifest| pinned.contains(&manifest)))
            .map(|(name, needs)| {
                let (set, used) = (self.ref_time(name), usage.last_used(needs));
                (used.map_or(set, |used| used.max(set)), name)
            })
            .collect();
        names.sort();
        for (_, name) in names {
            if budget.holds(plan.left) {
                break;
            }
            plan.images.push(name.clone());
            let stay = live.roots.iter().filter(|(root, _)| root.name().is_none_or(|name| !plan.images.contains(name)));
            let mut kept = Closure::default();
            for (_, needs) in stay {
                kept.add(needs);
            }
            plan.drop_all_but(&kept, usage);
        }
        plan
    }
}

impl Plan {
    /// What is removed, by kind as in [`ObjectKind::ALL`].
    fn removals(&self, usage: &Usage) -> [Totals; 4] {
        ObjectKind::ALL.map(|kind| {
            let objects = self.objects.iter().filter(|(of, _)| *of == kind);
            Totals::of(objects.filter_map(|id| usage.objects.get(id)))
        })
    }

    fn drop(&mut self, id: ObjectId, object: &Object) {
        if self.objects.insert(id) {
            self.left = less(self.left, object.room);
        }
    }

    fn drop_all_but(&mut self, kept: &Closure, usage: &Usage) {
        for (id, object) in usage.objects.iter().filter(|(id, _)| !kept.contains(id)) {
            self.drop(*id, object);
        }
    }

    /// Drops what can be made again from what is in the store, the least recently used first.
    fn drop_copies(&mut self, usage: &Usage, live: &LiveSet, budget: Budget) {
        let (kept, leased) = (live.kept(), live.leased());
        let is_here = |blob: &Digest| {
            let id = (ObjectKind::Blob, *blob);
            usage.objects.contains_key(&id) && !self.objects.contains(&id)
        };
        let can_be_made_again = |id: &ObjectId| match id.0 {
            ObjectKind::Blob => false,
            // Of layers, which are themselves made again where they are missing.
            ObjectKind::Tree => true,
            ObjectKind::Layer | ObjectKind::Source => kept.origins(id).any(is_here),
        };
        let copies = usage
            .objects
            .iter()
            .filter(|(id, _)| !self.objects.contains(id) && !leased.contains(id) && can_be_made_again(id));
        let mut copies: Vec<_> = copies.map(|(id, object)| (*id, *object)).collect();
        copies.sort_by_key(|(id, object)| (object.used, Reverse(object.room.bytes), *id));
        for (id, object) in copies {
            if budget.holds(self.left) {
                break;
            }
            self.drop(id, &object);
        }
    }
}

fn less(totals: Totals, room: crate::fs::measure::Room) -> Totals {
    Totals {
        count: totals.count - 1,
        bytes: totals.bytes.saturating_sub(room.bytes),
        inodes: totals.inodes.saturating_sub(room.inodes),
    }
}
