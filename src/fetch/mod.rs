//! From a resolved image to unpacked layers in the store.
//!
//! A layer's bytes pass once: what comes from the registry is written to the blob and unpacked at the
//! same time, and published only when the blob's digest and size and the tar's `diff_id` all agree.
//! The reference is set last. An error stops the other layers; of them only what came of their blobs
//! stays, unverified, for the next fetch to go on from.

mod error;
mod layer;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

pub use error::FetchError;
pub use report::FetchReport;

use crate::digest::Digest;
use crate::lock;
use crate::oci;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::Client;
use crate::store::Store;
use layer::{Context, Outcome, Stop};

/// Most layers received at a time: more only makes registries answer 429.
const MAX_JOBS: usize = 4;

/// Makes `store` hold `image` whole, from the repository of `reference` or its mirrors, and then sets
/// `reference` to it. `jobs` layers at a time, at most 4. A layer that is unpacked already is not
/// fetched, whatever became of its blob; one whose blob is there is unpacked from it.
///
/// For an image out of a lock, pass [`Reference::pinned`] to its [`lock::Image::top`]: the tag may by
/// now mean something newer in the store, and is not to be moved back.
///
/// # Errors
/// See [`FetchError`]. All threads have ended by then, and the reference is not set.
pub async fn fetch(
    reference: &Reference,
    image: &lock::Image,
    store: &Store,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    jobs: usize,
) -> Result<FetchReport, FetchError> {
    let mut report = FetchReport::default();
    documents(reference, image, store, client, &mut report).await?;

    let layers = distinct(image);
    let mut missing: Vec<_> = layers.iter().copied().filter(|layer| !store.has_layer(&layer.diff_id)).collect();
    report.layers_reused = layers.len() - missing.len();
    missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
    let (cancel, cancelled) = watch::channel(false);
    let context = Context { reference, store, client, reporter, cancelled };
    // Not join_all or try_*: after an error the others are awaited, since their threads must end.
    let mut work =
        stream::iter(missing.into_iter().map(|layer| context.layer(layer))).buffer_unordered(jobs.clamp(1, MAX_JOBS));
    let mut failure = None;
    while let Some(outcome) = work.next().await {
        match outcome {
            Ok(Outcome::Downloaded(bytes)) => {
                report.layers_downloaded += 1;
                report.bytes_downloaded += bytes;
            }
            Ok(Outcome::Unpacked) => report.layers_unpacked += 1,
            Err(Stop::Cancelled) => {}
            Err(Stop::Failed(error)) => {
                cancel.send_replace(true);
                failure.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failure {
        return Err(*error);
    }
    store.set_ref(reference, image.top()).map_err(FetchError::store)?;
    Ok(report)
}

/// Unpacks the layers of `image` that are not unpacked but whose blobs are in `store`, as after an
/// import. Opens no socket; starts threads only if there is more than one layer to unpack. Layers
/// whose blobs are missing stay missing (`Store::missing_layers`).
///
/// # Errors
/// See [`FetchError`]. All threads have ended by then.
pub fn unpack_local(image: &lock::Image, store: &Store, reporter: &dyn Reporter) -> Result<(), FetchError> {
    let mut waiting: Vec<_> = distinct(image)
        .into_iter()
        .filter(|layer| !store.has_layer(&layer.diff_id) && store.has_blob(&layer.blob))
        .collect();
    waiting.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
    let stop = AtomicBool::new(false);
    let unpack = |layer: &&lock::Layer| {
        let stopped = || stop.load(Ordering::Relaxed);
        let outcome = layer::unpack_blob(layer, store, reporter, &stopped);
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        outcome
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_JOBS).min(waiting.len());
    if workers <= 1 {
        return first_failure(waiting.iter().map(unpack));
    }
    let next = AtomicUsize::new(0);
    let worker = || first_failure(std::iter::from_fn(|| waiting.get(next.fetch_add(1, Ordering::Relaxed)).map(unpack)));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let ended: Vec<_> =
            workers.into_iter().map(|thread| thread.join().unwrap_or(Err(FetchError::Worker))).collect();
        ended.into_iter().collect()
    })
}

/// Goes on to the end or the first failure; what was only cancelled is no failure.
fn first_failure(outcomes: impl Iterator<Item = Result<(), Stop>>) -> Result<(), FetchError> {
    for outcome in outcomes {
        if let Err(Stop::Failed(error)) = outcome {
            return Err(*error);
        }
    }
    Ok(())
}

/// The layers of an image, each `diff_id` once: the same layer may lie in it at several heights.
fn distinct(image: &lock::Image) -> Vec<&lock::Layer> {
    let mut seen = BTreeSet::<Digest>::new();
    image.layers.iter().filter(|layer| seen.insert(layer.diff_id)).collect()
}

/// Fetches index, manifest and config where they are missing or damaged.
async fn documents(
    reference: &Reference,
    image: &lock::Image,
    store: &Store,
    client: &Client,
    report: &mut FetchReport,
) -> Result<(), FetchError> {
    for descriptor in image.index.iter().chain([&image.manifest, &image.config]) {
        // Read, not only looked for: these are small, and a damaged one is healed here.
        if store.read_blob(descriptor, oci::MAX_CONFIG).is_ok() {
            continue;
        }
        let bytes = if *descriptor == image.config {
            client.small_blob(reference, descriptor, oci::MAX_CONFIG).await.map_err(FetchError::registry)?
        } else {
            client.manifest_at(reference, descriptor).await.map_err(FetchError::registry)?.bytes
        };
        report.bytes_downloaded += bytes.len() as u64;
        store.add_blob(&bytes, &descriptor.media_type).map_err(FetchError::store)?;
    }
    Ok(())
}
