//! Dividing the layers of an image among processes that fetch the same layers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::Digest;
use crate::lock;
use crate::progress::Reporter;
use crate::store::{Claims, Job, Store, Work};

/// Layers that this process makes, largest first.
pub(super) struct Share<'a> {
    pub(super) layers: Vec<&'a lock::Layer>,
    /// Held until the layers are published.
    pub(super) claims: Arc<Claims>,
}

/// The layers of an image, in shares, until all are in the store.
pub(super) struct Shares<'a> {
    layers: Vec<&'a lock::Layer>,
    store: &'a Store,
    reporter: &'a dyn Reporter,
    /// Layers that were in a share: if they are still missing, they failed.
    tried: BTreeSet<Digest>,
}

impl<'a> Shares<'a> {
    pub(super) fn new(mut layers: Vec<&'a lock::Layer>, store: &'a Store, reporter: &'a dyn Reporter) -> Self {
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
        Self { layers, store, reporter, tried: BTreeSet::new() }
    }

    /// The next share: the missing layers that no other process is making. Waits if there are none. `None` if no layer is
    /// missing. The previous share must be dropped first, or two processes could wait for each other.
    pub(super) fn next(&mut self, is_missing: &dyn Fn(&lock::Layer) -> bool) -> Option<Share<'a>> {
        // The layer that was waited for, and is claimed now.
        let mut turn: Option<(Work, Claims)> = None;
        loop {
            let missing: Vec<_> = self
                .layers
                .iter()
                .copied()
                .filter(|layer| !self.tried.contains(&layer.diff_id) && is_missing(layer))
                .collect();
            if missing.is_empty() {
                return None;
            }
            let taken = turn.as_ref().map(|(work, _)| *work);
            let works = missing.iter().map(|layer| work_of(layer)).filter(|work| Some(*work) != taken);
            let (mut free, mut claims) = self.store.try_claim(works);
            if let Some((work, earlier)) = turn.take() {
                free.push(work);
                claims = claims.join(earlier);
            }
            let is_ours = |layer: &&lock::Layer| free.contains(&work_of(layer)) && is_missing(layer);
            let layers: Vec<_> = missing.iter().copied().filter(is_ours).collect();
            if !layers.is_empty() {
                self.tried.extend(layers.iter().map(|layer| layer.diff_id));
                return Some(Share { layers, claims: Arc::new(claims) });
            }
            // Claims must be dropped while waiting.
            drop(claims);
            let labels: Vec<_> = missing.iter().map(|layer| format!("layer {}", layer.blob.digest.short())).collect();
            let wanted = missing.iter().zip(&labels);
            let wanted: Vec<_> =
                wanted.map(|(layer, label)| Job { work: work_of(layer), label, total: layer.blob.size }).collect();
            let is_done = |work| !missing.iter().any(|layer| work_of(layer) == work && is_missing(layer));
            turn = self.store.claim_any(&wanted, self.reporter, &is_done);
        }
    }
}

pub(super) fn work_of(layer: &lock::Layer) -> Work {
    Work::Layer(layer.diff_id)
}
