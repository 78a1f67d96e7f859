//! Threads that write small files: creating a file costs more than filling it, and on a network file system it is mostly
//! waiting.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Scope};

use crate::layer::LayerError;
use crate::layer::path::split;
use crate::layer::tree;

/// Longest file that is handed over, in bytes. A longer one is written as it comes, so that memory
/// is bounded and the thread that reads the tar has something to do as well.
pub(super) const SMALL: u64 = 64 << 10;
/// Files that may wait; with [`SMALL`] this bounds the memory.
const QUEUE: usize = 64;
/// Most threads: with more, those that create files in one directory wait for each other.
const MOST: usize = 4;

/// A file to be written whole.
pub(super) struct Job {
    pub(super) directory: Arc<OwnedFd>,
    /// Its path in the layer; the last part is its name in `directory`.
    pub(super) path: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) mode: u16,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Job {
    fn run(&self) -> Result<(), LayerError> {
        let name = split(&self.path).1;
        let mut file: File = tree::create(&self.directory, name).map_err(LayerError::io("create", &self.path))?;
        file.write_all(&self.content)
            .and_then(|()| tree::finish_file(&file, self.mode, self.mtime, &self.xattrs))
            .map_err(LayerError::io("write", &self.path))
    }
}

/// The threads. Dropped, they end after the jobs that are waiting, and their scope waits for that.
pub(super) struct Writers {
    jobs: SyncSender<Job>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    progress: Mutex<Progress>,
    settled: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Jobs that were handed over and are not done.
    open: usize,
    /// The first that failed.
    failure: Option<LayerError>,
}

impl Writers {
    /// Starts threads, at most one for each processor.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let state = Arc::new(State::default());
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(MOST) {
            let (queue, state) = (Arc::clone(&queue), Arc::clone(&state));
            thread::Builder::new().name("write".into()).spawn_scoped(scope, move || work(&queue, &state))?;
        }
        Ok(Self { jobs, state })
    }

    /// Hands a file over.
    ///
    /// # Errors
    /// That of an earlier one.
    pub(super) fn write(&self, job: Job) -> Result<(), LayerError> {
        {
            let mut progress = self.state.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(failure) = progress.failure.take() {
                return Err(failure);
            }
            progress.open += 1;
        }
        // The threads live as long as this sender.
        let _ = self.jobs.send(job);
        Ok(())
    }

    /// Waits until all files that were handed over are there.
    ///
    /// # Errors
    /// That of the first that is not.
    pub(super) fn settle(&self) -> Result<(), LayerError> {
        let progress = self.state.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.state.settled.wait_while(progress, |progress| progress.open > 0);
        waited.unwrap_or_else(PoisonError::into_inner).failure.take().map_or(Ok(()), Err)
    }
}

fn work(queue: &Mutex<Receiver<Job>>, state: &State) {
    loop {
        // Whoever waits for the next job holds the lock; the others wait for the lock.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let outcome = job.run();
        let mut progress = state.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.open -= 1;
        if let Err(error) = outcome {
            progress.failure.get_or_insert(error);
        }
        if progress.open == 0 {
            state.settled.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_fails_is_told_once_and_all_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = temp.path().join(name);
            fs::create_dir(&path).unwrap();
            Arc::new(OwnedFd::from(File::open(&path).unwrap()))
        };
        let (good, gone) = (open("good"), open("gone"));
        fs::remove_dir(temp.path().join("gone")).unwrap();
        let job = |directory: &Arc<OwnedFd>, path: String| Job {
            directory: Arc::clone(directory),
            content: path.as_bytes().to_vec(),
            path: path.into_bytes(),
            mode: 0o644,
            mtime: (1, 2),
            xattrs: BTreeMap::new(),
        };
        thread::scope(|scope| {
            let writers = Writers::start(scope).unwrap();
            for number in 0..1000 {
                writers.write(job(&good, format!("d/{number}"))).unwrap();
            }
            writers.settle().unwrap();
            assert_eq!(fs::read_dir(temp.path().join("good")).unwrap().count(), 1000);
            let one = temp.path().join("good/999");
            assert_eq!(fs::read_to_string(&one).unwrap(), "d/999");
            assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o644);

            writers.write(job(&gone, "x/lost".into())).unwrap();
            let error = writers.settle().unwrap_err();
            assert!(matches!(&error, LayerError::Io { action: "create", path, .. } if path == "x/lost"), "{error:?}");
            writers.settle().unwrap();
            // The next one handed over learns of it as well.
            writers.write(job(&gone, "x/lost".into())).unwrap();
            let told = (0..10_000).any(|number| writers.write(job(&good, format!("d/x{number}"))).is_err());
            assert!(told || writers.settle().is_err());
        });
    }
}
