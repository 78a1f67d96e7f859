//! Collecting what nobody needs, and what is used least where there is less room than wanted.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Digest;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::mark::{Holder, Marks};
use crate::store::survey::{Survey, Tally, Thing};
use crate::store::{Needs, Store, StoreError};

/// Most that blobs, layers, merged trees and partial blobs may take together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Files, directories and links.
    pub inodes: Option<u64>,
}

impl Budget {
    /// By how many bytes and inodes `tally` is over it.
    fn excess(self, tally: Tally) -> (u64, u64) {
        let over = |limit: Option<u64>, is: u64| limit.map_or(0, |limit| is.saturating_sub(limit));
        (over(self.bytes, tally.bytes), over(self.inodes, tally.inodes))
    }

    fn holds(self, tally: Tally) -> bool {
        self.excess(tally) == (0, 0)
    }
}

/// What was collected, or would be.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// Nothing was removed; this only says what would be.
    pub dry_run: bool,
    /// Blobs.
    pub blobs: Tally,
    /// Unpacked layers.
    pub layers: Tally,
    /// Merged trees.
    pub trees: Tally,
    /// Unpacked sources.
    pub sources: Tally,
    /// Blobs that came in part, and whose rest no process is fetching.
    pub partial: Tally,
    /// What processes left that were killed.
    pub litter: Tally,
    /// Names removed to stay within the budget, least recently used first.
    pub images: Vec<Reference>,
    /// What is left of blobs, layers, merged trees and partial blobs.
    pub left: Tally,
    /// By how many bytes that is more than was wanted.
    pub excess_bytes: u64,
    /// By how many inodes.
    pub excess_inodes: u64,
    /// Who needs what is left, where it is more than was wanted.
    pub kept_for: Vec<Holder>,
}

impl Collected {
    /// Whether what is left is as little as was wanted.
    #[must_use]
    pub fn within_budget(&self) -> bool {
        (self.excess_bytes, self.excess_inodes) == (0, 0)
    }

    /// All that was removed.
    #[must_use]
    pub fn freed(&self) -> Tally {
        Tally::sum(&[self.blobs, self.layers, self.trees, self.sources, self.partial, self.litter])
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
    left: Tally,
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
        let known = self.survey(&Survey::default());
        let gate = if dry_run {
            None
        } else {
            Some(self.close_gate(reporter)?.ok_or_else(|| StoreError::NoLocks { path: self.path("leases") })?)
        };
        let marks = self.mark(None, forget, !dry_run)?;
        let survey = self.survey(&known);
        let plan = self.plan(&survey, &marks, budget);
        let mut collected = Collected { dry_run, left: plan.left, images: plan.images.clone(), ..Collected::default() };
        [collected.blobs, collected.layers, collected.trees, collected.sources] = plan.goes(&survey);
        (collected.excess_bytes, collected.excess_inodes) = budget.excess(plan.left);
        if !collected.within_budget() {
            let here = marks.holds.iter().filter(|(_, needs)| survey.of(needs).count > 0);
            // A name that is left is left for the sake of one of these.
            let mut holders: Vec<_> =
                here.map(|(holder, _)| holder.clone()).filter(|holder| holder.name().is_none()).collect();
            holders.sort();
            holders.dedup();
            collected.kept_for = holders;
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
        let Tally { count, bytes, inodes } = collected.partial;
        let left = &mut collected.left;
        (left.count, left.bytes, left.inodes) =
            (left.count - count.min(left.count), left.bytes.saturating_sub(bytes), left.inodes.saturating_sub(inodes));
        Ok(collected)
    }

    /// What [`Self::gc`] without a budget would remove.
    ///
    /// # Errors
    /// As there.
    pub(super) fn garbage(&self, survey: &Survey) -> Result<Tally, StoreError> {
        let plan = self.plan(survey, &self.mark(None, &[], false)?, Budget::default());
        let [blobs, layers, trees, sources] = plan.goes(survey);
        Ok(Tally::sum(&[blobs, layers, trees, sources, self.collect_partial(true), self.sweep_all(true)]))
    }

    fn plan(&self, survey: &Survey, marks: &Marks, budget: Budget) -> Plan {
        let mut plan = Plan::default();
        let all = [&survey.blobs, &survey.layers, &survey.trees, &survey.sources, &survey.partial];
        plan.left = Tally::of(all.iter().flat_map(|things| things.values()));
        plan.drop_all_but(&marks.kept(), survey);
        if budget.holds(plan.left) {
            return plan;
        }
        plan.drop_copies(survey, marks, budget);
        let pinned = marks.pinned();
        let mut names: Vec<_> = marks
            .holds
            .iter()
            .filter_map(|(holder, needs)| Some((holder.name()?, needs)))
            .filter(|(_, needs)| !needs.manifests.iter().any(|manifest| pinned.blobs.contains_key(manifest)))
            .map(|(name, needs)| {
                let (set, used) = (self.ref_time(name), survey.last_used(needs));
                (used.map_or(set, |used| used.max(set)), name)
            })
            .collect();
        names.sort();
        for (_, name) in names {
            if budget.holds(plan.left) {
                break;
            }
            plan.images.push(name.clone());
            let stay =
                marks.holds.iter().filter(|(holder, _)| holder.name().is_none_or(|name| !plan.images.contains(name)));
            let mut kept = Needs::default();
            for (_, needs) in stay {
                kept.add(needs);
            }
            plan.drop_all_but(&kept, survey);
        }
        plan
    }
}

impl Plan {
    /// Blobs, layers, trees and sources that are to go.
    fn goes(&self, survey: &Survey) -> [Tally; 4] {
        let parts = [
            (&self.blobs, &survey.blobs),
            (&self.layers, &survey.layers),
            (&self.trees, &survey.trees),
            (&self.sources, &survey.sources),
        ];
        parts.map(|(digests, things)| Tally::of(digests.iter().filter_map(|digest| things.get(digest))))
    }

    fn drop_all_but(&mut self, kept: &Needs, survey: &Survey) {
        for (digest, thing) in &survey.blobs {
            if !kept.blobs.contains_key(digest) && self.blobs.insert(*digest) {
                self.left = less(self.left, thing.room);
            }
        }
        for (diff_id, thing) in &survey.layers {
            if !kept.layers.contains_key(diff_id) && self.layers.insert(*diff_id) {
                self.left = less(self.left, thing.room);
            }
        }
        for (chain, thing) in &survey.trees {
            if !kept.trees.contains(chain) && self.trees.insert(*chain) {
                self.left = less(self.left, thing.room);
            }
        }
        for (key, thing) in &survey.sources {
            if !kept.sources.contains_key(key) && self.sources.insert(*key) {
                self.left = less(self.left, thing.room);
            }
        }
    }

    /// Drops what can be made again from what is here, the least recently used first.
    fn drop_copies(&mut self, survey: &Survey, marks: &Marks, budget: Budget) {
        let (kept, leased) = (marks.kept(), marks.leased());
        let whole = |digest: &Digest| survey.blobs.contains_key(digest) && !self.blobs.contains(digest);
        let layers = survey.layers.iter().filter(|(diff_id, _)| {
            !self.layers.contains(diff_id)
                && !leased.layers.contains_key(diff_id)
                && kept.layers.get(diff_id).is_some_and(|blobs| blobs.iter().any(whole))
        });
        let trees =
            survey.trees.iter().filter(|(chain, _)| !self.trees.contains(chain) && !leased.trees.contains(chain));
        let sources = survey.sources.iter().filter(|(key, _)| {
            !self.sources.contains(key)
                && !leased.sources.contains_key(key)
                && kept.sources.get(key).is_some_and(|archives| archives.iter().any(whole))
        });
        let copy = |what| {
            move |(digest, thing): (&Digest, &Thing)| (thing.used, Reverse(thing.room.bytes), what, *digest, thing.room)
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

fn less(tally: Tally, room: crate::fs::measure::Room) -> Tally {
    Tally {
        count: tally.count - 1,
        bytes: tally.bytes.saturating_sub(room.bytes),
        inodes: tally.inodes.saturating_sub(room.inodes),
    }
}
