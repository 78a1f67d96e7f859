//! Collecting what nobody needs, and what is used least where there is less room than wanted.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Digest;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::gc::mark::{GcRoot, LiveSet};
use crate::store::totals::{Object, Totals};
use crate::store::usage::Usage;
use crate::store::{Closure, Store, StoreError};

/// Most that blobs, layers, merged trees and partial blobs may take together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Files, directories and links.
    pub inodes: Option<u64>,
}

impl Budget {
    /// By how many bytes and inodes `totals` is over it.
    fn excess(self, totals: Totals) -> (u64, u64) {
        let over = |limit: Option<u64>, is: u64| limit.map_or(0, |limit| is.saturating_sub(limit));
        (over(self.bytes, totals.bytes), over(self.inodes, totals.inodes))
    }

    fn holds(self, totals: Totals) -> bool {
        self.excess(totals) == (0, 0)
    }
}

/// What was collected, or would be.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// Nothing was removed; this only says what would be.
    pub dry_run: bool,
    /// Blobs.
    pub blobs: Totals,
    /// Unpacked layers.
    pub layers: Totals,
    /// Merged trees.
    pub trees: Totals,
    /// Unpacked sources.
    pub sources: Totals,
    /// Blobs that came in part, and whose rest no process is fetching.
    pub partial: Totals,
    /// What processes left that were killed.
    pub litter: Totals,
    /// Names removed to stay within the budget, least recently used first.
    pub images: Vec<Reference>,
    /// What is left of blobs, layers, merged trees and partial blobs.
    pub left: Totals,
    /// By how many bytes that is more than was wanted.
    pub excess_bytes: u64,
    /// By how many inodes.
    pub excess_inodes: u64,
    /// Who needs what is left, where it is more than was wanted.
    pub kept_for: Vec<GcRoot>,
}

impl Collected {
    /// Whether what is left is as little as was wanted.
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

/// What is to go.
#[derive(Default)]
struct Plan {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    trees: BTreeSet<Digest>,
    sources: BTreeSet<Digest>,
    images: Vec<Reference>,
    left: Totals,
}

impl Store {
    /// Removes what no name, no lock file seen and no lease needs. Where more is left than `budget`
    /// allows, goes on with what was used least recently: unpacked layers and merged trees that can be
    /// made again from what is here, then whole images that no lock file names. Never what is leased. Lock
    /// files in `forget` count as not seen, and are not seen then until they are used again.
    ///
    /// # Errors
    /// [`StoreError::NoLocks`]; somebody whose needs cannot be read; the system's. Nothing is removed
    /// then.
    pub fn gc(
        &self,
        budget: Budget,
        forget: &[PathBuf],
        dry_run: bool,
        reporter: &dyn Reporter,
    ) -> Result<Collected, StoreError> {
        // First, since it takes longest, and what has a digest does not change its size.
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
        [collected.blobs, collected.layers, collected.trees, collected.sources] = plan.goes(&usage);
        (collected.excess_bytes, collected.excess_inodes) = budget.excess(plan.left);
        if !collected.within_budget() {
            let here = live.roots.iter().filter(|(_, needs)| usage.of(needs).count > 0);
            // A name that is left is left for the sake of one of these.
            let mut roots: Vec<_> = here.map(|(root, _)| root.clone()).filter(|root| root.name().is_none()).collect();
            roots.sort();
            roots.dedup();
            collected.kept_for = roots;
        }
        if !dry_run {
            let mut trash = self.trash()?;
            plan.images.iter().try_for_each(|name| self.remove_ref(name).map(drop))?;
            // What is made of other things goes before those.
            let trees = plan.trees.iter().map(|chain| self.root_of(chain));
            let sources = plan.sources.iter().map(|key| self.source(key));
            let layers = plan.layers.iter().map(|diff_id| self.layer(diff_id));
            let blobs = plan.blobs.iter().map(|digest| self.blob_path(digest));
            for path in trees.chain(layers).chain(sources).chain(blobs) {
                trash.take(&path)?;
            }
            // What is in the trash is nobody's: others need not wait.
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
    ///
    /// # Errors
    /// As there.
    pub(in crate::store) fn garbage(&self, usage: &Usage) -> Result<Totals, StoreError> {
        let plan = self.plan(usage, &self.mark(None, &[], false)?, Budget::default());
        let [blobs, layers, trees, sources] = plan.goes(usage);
        Ok(Totals::sum(&[blobs, layers, trees, sources, self.collect_partial(true), self.sweep_all(true)]))
    }

    fn plan(&self, usage: &Usage, live: &LiveSet, budget: Budget) -> Plan {
        let mut plan = Plan::default();
        let all = [&usage.blobs, &usage.layers, &usage.trees, &usage.sources, &usage.partial];
        plan.left = Totals::of(all.iter().flat_map(|things| things.values()));
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
            .filter(|(_, needs)| !needs.manifests.iter().any(|manifest| pinned.blobs.contains_key(manifest)))
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
    /// Blobs, layers, trees and sources that are to go.
    fn goes(&self, usage: &Usage) -> [Totals; 4] {
        let parts = [
            (&self.blobs, &usage.blobs),
            (&self.layers, &usage.layers),
            (&self.trees, &usage.trees),
            (&self.sources, &usage.sources),
        ];
        parts.map(|(digests, things)| Totals::of(digests.iter().filter_map(|digest| things.get(digest))))
    }

    fn drop_all_but(&mut self, kept: &Closure, usage: &Usage) {
        for (digest, thing) in &usage.blobs {
            if !kept.blobs.contains_key(digest) && self.blobs.insert(*digest) {
                self.left = less(self.left, thing.room);
            }
        }
        for (diff_id, thing) in &usage.layers {
            if !kept.layers.contains_key(diff_id) && self.layers.insert(*diff_id) {
                self.left = less(self.left, thing.room);
            }
        }
        for (chain, thing) in &usage.trees {
            if !kept.trees.contains(chain) && self.trees.insert(*chain) {
                self.left = less(self.left, thing.room);
            }
        }
        for (key, thing) in &usage.sources {
            if !kept.sources.contains_key(key) && self.sources.insert(*key) {
                self.left = less(self.left, thing.room);
            }
        }
    }

    /// Drops what can be made again from what is here, the least recently used first.
    fn drop_copies(&mut self, usage: &Usage, live: &LiveSet, budget: Budget) {
        let (kept, leased) = (live.kept(), live.leased());
        let whole = |digest: &Digest| usage.blobs.contains_key(digest) && !self.blobs.contains(digest);
        let layers = usage.layers.iter().filter(|(diff_id, _)| {
            !self.layers.contains(diff_id)
                && !leased.layers.contains_key(diff_id)
                && kept.layers.get(diff_id).is_some_and(|blobs| blobs.iter().any(whole))
        });
        let trees =
            usage.trees.iter().filter(|(chain, _)| !self.trees.contains(chain) && !leased.trees.contains(chain));
        let sources = usage.sources.iter().filter(|(key, _)| {
            !self.sources.contains(key)
                && !leased.sources.contains_key(key)
                && kept.sources.get(key).is_some_and(|archives| archives.iter().any(whole))
        });
        let copy = |what| {
            move |(digest, thing): (&Digest, &Object)| {
                (thing.used, Reverse(thing.room.bytes), what, *digest, thing.room)
            }
        };
        let mut copies: Vec<_> = trees
            .map(copy(Copy::Tree))
            .chain(layers.map(copy(Copy::Layer)))
            .chain(sources.map(copy(Copy::Source)))
            .collect();
        copies.sort_by_key(|(used, size, what, digest, _)| (*used, *size, *what, *digest));
        for (_, _, what, digest, room) in copies {
            if budget.holds(self.left) {
                break;
            }
            match what {
                Copy::Tree => self.trees.insert(digest),
                Copy::Layer => self.layers.insert(digest),
                Copy::Source => self.sources.insert(digest),
            };
            self.left = less(self.left, room);
        }
    }
}

/// What can be made again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Copy {
    Tree,
    Layer,
    Source,
}

fn less(totals: Totals, room: crate::fs::measure::Room) -> Totals {
    Totals {
        count: totals.count - 1,
        bytes: totals.bytes.saturating_sub(room.bytes),
        inodes: totals.inodes.saturating_sub(room.inodes),
    }
}
