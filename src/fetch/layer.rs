//! Fetching and unpacking one layer.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;

use super::FetchError;
use super::share::work_of;
use crate::hint::{ErrorKind, Hint as _};
use crate::lock;
use crate::progress::{Reporter, TaskId};
use crate::reference::Reference;
use crate::registry::{Blob, Client};
use crate::store::{BlobWriter, Claims, LayerStage, Store, StoreError, Work};

/// Most bytes buffered between the network and the unpacking thread.
const QUEUE: usize = 2 << 20;

/// A layer, unpacked and verified, ready to be published.
pub(super) struct Outcome {
    pub(super) stage: LayerStage,
    /// Bytes downloaded; `None` if the blob was in the store.
    pub(super) downloaded: Option<u64>,
}

/// Why work on a layer ended early.
pub(super) enum Stop {
    /// It failed.
    Failed(Box<FetchError>),
    /// Another layer failed.
    Cancelled,
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A progress bar, finished when dropped. Processes that wait for the layer see it too.
pub(super) struct Bar<'a> {
    reporter: &'a dyn Reporter,
    task: TaskId,
    claims: &'a Claims,
    work: Work,
}

impl<'a> Bar<'a> {
    pub(super) fn new(reporter: &'a dyn Reporter, layer: &lock::Layer, claims: &'a Claims) -> Self {
        let task = reporter.start(&format!("layer {}", layer.blob.digest.short()), layer.blob.size);
        Self { reporter, task, claims, work: work_of(layer) }
    }

    fn advance(&self, bytes: usize) {
        self.reporter.advance(self.task, bytes as u64);
        self.claims.advance(self.work, bytes as u64);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.reporter.finish(self.task);
    }
}

/// Context shared by all layers of one fetch.
pub(super) struct Context<'a> {
    pub reference: &'a Reference,
    pub store: &'a Store,
    pub client: &'a Client,
    pub reporter: &'a Arc<dyn Reporter>,
    /// Becomes true when a layer has failed.
    pub cancelled: watch::Receiver<bool>,
    /// Claims on these layers, so that no other process makes them.
    pub claims: &'a Arc<Claims>,
}

impl Context<'_> {
    /// Unpacks `layer`, after downloading its blob if the store lacks it.
    pub(super) async fn layer(&self, layer: &lock::Layer) -> Result<Outcome, Stop> {
        if *self.cancelled.borrow() {
            return Err(Stop::Cancelled);
        }
        if self.store.has_blob(&layer.blob) {
            match self.unpack(layer).await {
                // A damaged blob is replaced; any other error would occur again.
                Err(Stop::Failed(error)) if error.kind() == ErrorKind::Integrity => {
                    self.reporter.warn(&format!("{error}; fetching it again"));
                }
                outcome => return outcome.map(|stage| Outcome { stage, downloaded: None }),
            }
        }
        self.download(layer).await
    }

    async fn unpack(&self, layer: &lock::Layer) -> Result<LayerStage, Stop> {
        let (layer, store, reporter) = (layer.clone(), self.store.clone(), Arc::clone(self.reporter));
        let (cancelled, claims) = (self.cancelled.clone(), Arc::clone(self.claims));
        let work = move || {
            let bar = Bar::new(&*reporter, &layer, &claims);
            unpack_blob(&layer, &store, &store, &bar, &|| *cancelled.borrow())
        };
        spawn_blocking(work).await.unwrap_or(Err(FetchError::Worker.into()))
    }

    async fn download(&self, layer: &lock::Layer) -> Result<Outcome, Stop> {
        let mut again = true;
        loop {
            let (store, blob) = (self.store.clone(), layer.blob.clone());
            let opened = spawn_blocking(move || store.resume_blob(&blob)).await;
            let to = opened.map_err(|_| FetchError::Worker)?.map_err(FetchError::store)?;
            let kept = to.kept();
            let error = match self.receive(layer, to).await {
                Err(Stop::Failed(error)) if error.kind() == ErrorKind::Integrity => error,
                Err(Stop::Failed(error)) => return Err(self.with_partial(*error, layer).into()),
                outcome => {
                    let downloaded = Some(layer.blob.size - kept);
                    return outcome.map(|stage| Outcome { stage, downloaded });
                }
            };
            // A download cannot be resumed after wrong bytes.
            self.store.drop_partial(&layer.blob.digest);
            // The part kept from earlier may have been damaged on disk, and the rest in transit. A registry that sends wrong
            // content twice has it.
            let chance = matches!(&*error, FetchError::Layer { source, .. }
                if kept > 0 || matches!(**source, StoreError::Mismatch { .. }));
            if !(again && chance) {
                return Err(Stop::Failed(error));
            }
            again = false;
            self.reporter.warn(&format!("{error}; fetching it again from its start"));
        }
    }

    /// Marks a failed download that can be resumed.
    fn with_partial(&self, error: FetchError, layer: &lock::Layer) -> FetchError {
        match error {
            FetchError::Registry { source } if self.store.has_partial(&layer.blob.digest) => {
                FetchError::Partial { source }
            }
            other => other,
        }
    }

    async fn receive(&self, layer: &lock::Layer, to: BlobWriter) -> Result<LayerStage, Stop> {
        let mut cancelled = self.cancelled.clone();
        let bar = Bar::new(&**self.reporter, layer, self.claims);
        let kept = to.kept();
        if kept > 0 {
            self.reporter.verbose(&format!("resuming {} after {kept} bytes", layer.blob.digest));
        }
        let mut blob = tokio::select! {
            blob = self.client.blob_from(self.reference, &layer.blob, kept) => {
                blob.map_err(FetchError::registry)?
            }
            _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Stop::Cancelled),
        };
        bar.advance(usize::try_from(kept).unwrap_or(usize::MAX));
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(QUEUE));
        let stream = Stream { receiver, room: Arc::clone(&room), current: Bytes::new(), ended: false };
        let (moved, store) = (layer.clone(), self.store.clone());
        let worker = spawn_blocking(move || unpack_stream(&moved, &store, to, stream));
        let fed = tokio::select! {
            fed = feed(&mut blob, sender, &room, &bar) => fed,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Stop::Cancelled),
        };
        // The sender is dropped, so the thread ends in every case.
        let unpacked = worker.await.unwrap_or(Err(Fault::Here(FetchError::Worker)));
        fed?;
        if unpacked.is_ok() {
            self.reporter.verbose(&format!("unpacked layer {}", layer.diff_id));
        }
        unpacked.map_err(|fault| match fault {
            Fault::Here(error) => error.into(),
            Fault::Sent(source) => {
                let (digest, host, source) = (layer.blob.digest, blob.host(), Box::new(source));
                FetchError::Layer { digest, host, source }.into()
            }
        })
    }
}

/// Sends the blob chunk by chunk, and `None` at its end. A receiver that has stopped reports its own error, so that is not
/// an error here.
async fn feed(
    blob: &mut Blob<'_>,
    sender: mpsc::UnboundedSender<Option<Bytes>>,
    room: &Semaphore,
    bar: &Bar<'_>,
) -> Result<(), Stop> {
    loop {
        let chunk = blob.chunk().await.map_err(FetchError::registry)?;
        let (end, length) = (chunk.is_none(), chunk.as_ref().map_or(0, Bytes::len));
        // Closed once the receiver is dropped.
        let Ok(permit) = room.acquire_many(permits(length)).await else { return Ok(()) };
        permit.forget();
        if sender.send(chunk).is_err() || end {
            return Ok(());
        }
        bar.advance(length);
    }
}

/// Permits that a chunk takes of [`QUEUE`]. A larger chunk takes all of them.
fn permits(length: usize) -> u32 {
    u32::try_from(length.min(QUEUE)).unwrap_or(u32::MAX)
}

/// Reads what [`feed`] sends.
struct Stream {
    receiver: mpsc::UnboundedReceiver<Option<Bytes>>,
    room: Arc<Semaphore>,
    current: Bytes,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Some(chunk)) => {
                    self.room.add_permits(chunk.len().min(QUEUE));
                    self.current = chunk;
                }
                Some(None) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the download was cancelled")),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// Reads the part that the blob has from an earlier download, then from `from`, writing what it reads to the blob.
struct Tee<R> {
    from: R,
    to: BlobWriter,
    /// Whether writing failed, which the caller cannot tell from a failed read.
    broken: bool,
}

impl<R: Read> Tee<R> {
    fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to.replay(buffer) {
            Ok(0) => {}
            replayed => {
                self.broken |= replayed.is_err();
                return replayed;
            }
        }
        let length = self.from.read(buffer)?;
        let written = self.to.write_all(&buffer[..length]);
        self.broken |= written.is_err();
        written.map(|()| length)
    }
}

/// Why a received layer cannot be stored.
enum Fault {
    /// This machine failed.
    Here(FetchError),
    /// The content is wrong.
    Sent(StoreError),
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Self::Here(error)
    }
}

/// Writes a blob and unpacks its layer in one pass; publishes the blob once both are verified.
fn unpack_stream(layer: &lock::Layer, store: &Store, to: BlobWriter, from: Stream) -> Result<LayerStage, Fault> {
    let mut stage = store.create_layer(&layer.diff_id).map_err(FetchError::store)?;
    // The part kept may not be the start of this blob; then downloading the rest is useless.
    let fresh = to.kept() == 0;
    let mut tee = Tee { from, to, broken: false };
    if let Err(error) = stage.unpack_from(&mut tee, layer) {
        if tee.broken {
            return Err(FetchError::store(error).into());
        }
        // If the layer seems damaged because the registry sent other bytes, the user has to know that. So the rest is read
        // and verified too. An error such as a full disk is not the registry's.
        let suspect = fresh && error.kind() == ErrorKind::Integrity && tee.drain().is_ok();
        let verdict = if suspect { tee.to.verify() } else { Ok(()) };
        return Err(Fault::Sent(verdict.err().unwrap_or(error)));
    }
    // The unpacker may stop before the padding at the end of the blob.
    tee.drain().map_err(|source| FetchError::Write { path: store.blob_path(&layer.blob.digest), source })?;
    tee.to.commit().map_err(Fault::Sent)?;
    Ok(stage)
}

/// Unpacks a layer from its blob in the store `from`. `stopped` returns true once the work is cancelled.
pub(super) fn unpack_blob(
    layer: &lock::Layer,
    from: &Store,
    store: &Store,
    bar: &Bar<'_>,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<LayerStage, Stop> {
    if stopped() {
        return Err(Stop::Cancelled);
    }
    let path = from.blob_path(&layer.blob.digest);
    let in_blob = |source| FetchError::Blob { path: path.clone(), source: Box::new(source) };
    let from = from.open_blob(&layer.blob).map_err(in_blob)?;
    let mut stage = store.create_layer(&layer.diff_id).map_err(FetchError::store)?;
    let unpacked = stage.unpack_from(Watched { from, bar, stopped }, layer);
    if unpacked.is_err() && stopped() {
        return Err(Stop::Cancelled);
    }
    unpacked.map_err(in_blob)?;
    bar.reporter.verbose(&format!("unpacked layer {}", layer.diff_id));
    Ok(stage)
}

/// Reports progress, and fails once the work is cancelled.
struct Watched<'a, R> {
    from: R,
    bar: &'a Bar<'a>,
    stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stopped)() {
            return Err(io::Error::other("the work was cancelled"));
        }
        let length = self.from.read(buffer)?;
        self.bar.advance(length);
        Ok(length)
    }
}
