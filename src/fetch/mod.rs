//! Fetching a resolved image: from the registry to unpacked layers in the store.
//!
//! The bytes of a layer are read once: they are written to the blob and unpacked at the same time, and published only if
//! digest and size of the blob and the `diff_id` of the tar match. Layers are published together, since one call writes
//! all of them to disk; the reference is set last. An error stops the other layers. The parts received of incomplete
//! blobs stay, unverified, so that the next fetch can resume them; on a full disk they are removed.

mod error;
mod layer;
mod report;
mod share;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

pub use error::FetchError;
pub use report::FetchReport;

use crate::digest::Digest;
use crate::fs::space;
use crate::lock;
use crate::oci::{self, Descriptor};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::Client;
use crate::store::{LayerStage, Store};
use layer::{Bar, Context, Outcome, Stop};
use share::{Share, Shares};

/// Default number of concurrent downloads: with more, registries begin to answer 429.
pub(crate) const DEFAULT_JOBS: usize = 4;
/// Most concurrent downloads.
pub(crate) const MAX_JOBS: usize = 32;

/// Fetches what `store` lacks of `image`, from the repository of `reference` or its mirrors, and then sets `reference` to
/// it. Downloads `jobs` layers at a time, at most [`MAX_JOBS`]. A layer is not downloaded if it is unpacked and its blob
/// is in the store or `elsewhere`; if only the blob is there, it is unpacked from that.
///
/// For an image from a lock, pass the reference [`pinned`](Reference::pinned) to [`lock::Image::top`]: in the store the
/// tag may mean a newer image, and must not be moved back.
///
/// # Errors
/// All threads have ended by then, and the reference is not set.
pub async fn fetch(
    reference: &Reference,
    image: &lock::Image,
    store: &Store,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    jobs: usize,
    elsewhere: &dyn Fn(&Descriptor) -> bool,
) -> Result<FetchReport, FetchError> {
    let mut report = FetchReport::default();
    documents(reference, image, store, client, &mut report).await?;

    let layers = distinct(image);
    // A layer can be there without its blob, if the blob was damaged and removed.
    let is_missing = |layer: &lock::Layer| {
        !store.has_layer(&layer.diff_id) || !(store.has_blob(&layer.blob) || elsewhere(&layer.blob))
    };
    let mut shares = Shares::new(layers.clone(), store, &**reporter);
    while let Some(share) = shares.next(&is_missing) {
        receive(&share, reference, store, client, reporter, jobs, &mut report).await?;
    }
    report.layers_reused = layers.len() - report.layers_downloaded - report.layers_unpacked;
    store.set_ref(reference, image.top()).map_err(FetchError::store)?;
    Ok(report)
}

/// Downloads, unpacks and publishes the layers of a share.
async fn receive(
    share: &Share<'_>,
    reference: &Reference,
    store: &Store,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    jobs: usize,
    report: &mut FetchReport,
) -> Result<(), FetchError> {
    let coming: Vec<_> = share.layers.iter().map(|layer| &layer.blob).filter(|blob| !store.has_blob(blob)).collect();
    let rest = |blob: &&Descriptor| blob.size.saturating_sub(store.partial_size(&blob.digest));
    store.require_room(coming.iter().map(rest).fold(0, u64::saturating_add)).map_err(FetchError::store)?;
    let (cancel, cancelled) = watch::channel(false);
    let context = Context { reference, store, client, reporter, cancelled, claims: &share.claims };
    // Not join_all or try_*: after an error the other layers are awaited, since their threads must end.
    let layers = share.layers.iter().map(|layer| context.layer(layer));
    let mut work = stream::iter(layers).buffer_unordered(jobs.clamp(1, MAX_JOBS));
    let mut failure = None;
    let mut stages = Vec::new();
    while let Some(outcome) = work.next().await {
        match outcome {
            Ok(Outcome { stage, downloaded }) => {
                stages.push(stage);
                match downloaded {
                    Some(bytes) => {
                        report.layers_downloaded += 1;
                        report.bytes_downloaded += bytes;
                    }
                    None => report.layers_unpacked += 1,
                }
            }
            Err(Stop::Cancelled) => {}
            Err(Stop::Failed(error)) => {
                cancel.send_replace(true);
                failure.get_or_insert(error);
            }
        }
    }
    // Also after an error: the next fetch has less to do.
    let committed = commit(store, &stages, &**reporter);
    let Some(error) = failure else { return committed };
    // On a full disk space is worth more than a head start: the partial blobs may be half of the disk.
    if space::is_full(&*error) {
        for blob in coming {
            store.drop_partial(&blob.digest);
        }
    }
    Err(*error)
}

/// Unpacks the layers of `image` whose blobs are in `store`, as after an import. Opens no socket; starts threads only if
/// there is something to unpack. Layers without a blob stay missing (`Store::missing_layers`).
///
/// # Errors
/// All threads have ended by then.
pub fn unpack_local(image: &lock::Image, store: &Store, reporter: &dyn Reporter) -> Result<(), FetchError> {
    unpack_from(image, store, store, reporter)
}

/// As [`unpack_local`], with the blobs of the store `from`, which is only read.
pub(crate) fn unpack_from(
    image: &lock::Image,
    from: &Store,
    store: &Store,
    reporter: &dyn Reporter,
) -> Result<(), FetchError> {
    let is_missing = |layer: &lock::Layer| !store.has_layer(&layer.diff_id) && from.has_blob(&layer.blob);
    let mut shares = Shares::new(distinct(image), store, reporter);
    while let Some(share) = shares.next(&is_missing) {
        unpack_share(&share, from, store, reporter)?;
    }
    Ok(())
}

/// Unpacks the layers of a share, on all processors, and publishes them.
fn unpack_share(share: &Share<'_>, from: &Store, store: &Store, reporter: &dyn Reporter) -> Result<(), FetchError> {
    let stop = AtomicBool::new(false);
    let stopped = || stop.load(Ordering::Relaxed);
    let next = AtomicUsize::new(0);
    let ended = Mutex::new((Vec::new(), None));
    let worker = || {
        for layer in std::iter::from_fn(|| share.layers.get(next.fetch_add(1, Ordering::Relaxed))) {
            let outcome = layer::unpack_blob(layer, from, store, &Bar::new(reporter, layer, &share.claims), &stopped);
            let (stages, failure) = &mut *ended.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(stage) => stages.push(stage),
                Err(Stop::Cancelled) => {}
                Err(Stop::Failed(error)) => {
                    stop.store(true, Ordering::Relaxed);
                    failure.get_or_insert(*error);
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_JOBS).min(share.layers.len());
    thread::scope(|scope| {
        // This thread is one of the workers. If the system refuses a thread, there is one worker less.
        for _ in 1..workers {
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let (stages, failure) = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let committed = commit(store, &stages, reporter);
    failure.map_or(committed, Err)
}

/// Publishes unpacked layers. Shows progress, since this is slow on a slow disk.
fn commit(store: &Store, stages: &[LayerStage], reporter: &dyn Reporter) -> Result<(), FetchError> {
    if stages.is_empty() {
        return Ok(());
    }
    let task = reporter.start("writing to disk", 0);
    let committed = store.commit_layers(stages);
    reporter.finish(task);
    committed.map_err(FetchError::store)
}

/// The layers of an image, each `diff_id` once: an image may contain the same layer several times.
fn distinct(image: &lock::Image) -> Vec<&lock::Layer> {
    let mut seen = BTreeSet::<Digest>::new();
    image.layers.iter().filter(|layer| seen.insert(layer.diff_id)).collect()
}

/// Fetches index, manifest and config if they are missing or damaged.
async fn documents(
    reference: &Reference,
    image: &lock::Image,
    store: &Store,
    client: &Client,
    report: &mut FetchReport,
) -> Result<(), FetchError> {
    for descriptor in image.index.iter().chain([&image.manifest, &image.config]) {
        // Reading verifies them; they are small.
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
