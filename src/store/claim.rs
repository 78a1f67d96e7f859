//! Claims: of several processes that need the same thing, one makes it and the others wait.
//!
//! A claim is a file in `claims/` that is locked (`flock`) while its owner works. A lock ends with its process, so nobody waits
//! for a dead process. The owner writes a counter into the file as a heartbeat. If the counter does not change for 60 s,
//! because the owner was stopped or its host is gone, the others go on without it. Correctness does not depend on claims:
//! a result appears by one rename, whoever made it. Where there are no locks, every process works for itself.
//!
//! No process waits for a claim while it holds one, so there are no deadlocks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::progress::{Reporter, TaskId};
use crate::store::Store;
use crate::store::partial::is_at;
use crate::store::staging::make_directory;

/// How often an owner writes its heartbeat.
const BEAT: Duration = Duration::from_secs(1);
/// The first and the longest pause between two looks at a claim that another process holds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How often a claim may vanish between being opened and being locked.
const RACES: usize = 10;
/// Length of a number in a claim, in decimal digits.
const DIGITS: usize = 20;

/// The work that one process does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// The blob of this digest.
    Blob(Digest),
    /// The unpacked layer of this `diff_id`, and its blob.
    Layer(Digest),
    /// The merged tree of this chain id.
    Root(Digest),
    /// The digest of the tree of this chain id.
    Tree(Digest),
    /// The unpacked source of this key.
    Source(Digest),
    /// The note of this digest beside a merged tree.
    Note(Digest),
}

impl Work {
    fn file_name(self) -> String {
        let (what, digest) = match self {
            Self::Blob(digest) => ("blob", digest),
            Self::Layer(digest) => ("layer", digest),
            Self::Root(digest) => ("root", digest),
            Self::Tree(digest) => ("tree", digest),
            Self::Source(digest) => ("source", digest),
            Self::Note(digest) => ("note", digest),
        };
        format!("{what}-{}", digest.hex())
    }
}

/// The right to do some work, and a thread that writes the heartbeat; both end when dropped. Without locks every process has
/// the right, and there is no thread.
#[derive(Debug)]
pub struct Claims {
    /// Ends first, since its thread has the files too.
    pulse: Option<Pulse>,
    held: Arc<Vec<Held>>,
}

#[derive(Debug)]
struct Held {
    work: Work,
    file: File,
    path: PathBuf,
    done: AtomicU64,
}

#[derive(Debug)]
struct Pulse {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Claims {
    fn new(held: Vec<Held>) -> Self {
        let held = Arc::new(held);
        let pulse = (!held.is_empty()).then(|| Pulse::start(Arc::clone(&held)));
        Self { pulse, held }
    }

    /// These and those of `other`.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let both = [self, other].map(|Self { pulse, held }| {
            drop(pulse);
            Arc::into_inner(held).unwrap_or_default()
        });
        Self::new(both.into_iter().flatten().collect())
    }

    /// The same without the thread, for work in which this process must have no other thread. Without heartbeats, others wait
    /// for a minute at most.
    #[must_use]
    pub fn without_pulse(self) -> Self {
        Self { pulse: None, ..self }
    }

    /// Adds `bytes` to the progress that those who wait for `work` see.
    pub fn advance(&self, work: Work, bytes: u64) {
        if let Some(held) = self.held.iter().find(|held| held.work == work) {
            held.done.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // While it is locked. If others went on without this process, the name is another claim's.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Pulse {
    fn start(held: Arc<Vec<Held>>) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&stop);
        let beat = move || {
            let (stopped, changed) = &*seen;
            for beats in 0_u64.. {
                for held in &*held {
                    let text = format!("{:0DIGITS$} {beats:0DIGITS$}\n", held.done.load(Ordering::Relaxed));
                    // In place and of one length: takes no room on a full disk.
                    let _ = held.file.write_all_at(text.as_bytes(), 0);
                }
                let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = changed.wait_timeout_while(guard, BEAT, |stopped| !*stopped);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
            }
        };
        // Without a thread, others wait as long as for a stopped process.
        Self { stop, thread: thread::Builder::new().name("claims".into()).spawn(beat).ok() }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A claim that another process holds: the file's identity and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Other {
    identity: (u64, u64),
    text: String,
}

enum Look {
    Free(Option<Held>),
    Taken(Other),
}

/// Some work that a process wants to do or to have done.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub work: Work,
    /// What it is called, for people.
    pub label: &'a str,
    /// Bytes in all; 0 where unknown.
    pub total: u64,
}

impl Store {
    /// The store with another limit on how long the owner of a claim may be silent.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Claims those of `works` that are free, without waiting, and returns them.
    #[must_use]
    pub fn try_claim(&self, works: impl IntoIterator<Item = Work>) -> (Vec<Work>, Claims) {
        let (mut free, mut held) = (Vec::new(), Vec::new());
        for work in works {
            if let Look::Free(claim) = self.look_at_claim(work) {
                free.push(work);
                held.extend(claim);
            }
        }
        (free, Claims::new(held))
    }

    /// Waits for the process that does the work. Returns `None` once it `is_done`, else the right to do it. The caller must
    /// hold no claim.
    pub fn claim(&self, job: Job<'_>, reporter: &dyn Reporter, is_done: &dyn Fn() -> bool) -> Option<Claims> {
        self.claim_any(&[job], reporter, &|_| is_done()).map(|(_, claims)| claims)
    }

    /// The same for the first of several works that is free. `None` once all are done.
    pub fn claim_any(
        &self,
        jobs: &[Job<'_>],
        reporter: &dyn Reporter,
        is_done: &dyn Fn(Work) -> bool,
    ) -> Option<(Work, Claims)> {
        let mut waits: Vec<_> = jobs.iter().map(|job| Wait::new(*job, reporter)).collect();
        let mut pause = PAUSES.0;
        loop {
            waits.retain(|wait| !is_done(wait.job.work));
            if waits.is_empty() {
                return None;
            }
            for wait in &mut waits {
                let work = wait.job.work;
                match self.look_at_claim(work) {
                    // Work is done before its claim ends.
                    Look::Free(_) if is_done(work) => {}
                    Look::Free(held) => return Some((work, Claims::new(held.into_iter().collect()))),
                    Look::Taken(other) => {
                        if wait.see(other) > self.patience {
                            self.pass_over(wait);
                        }
                    }
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Takes a claim if it is free.
    fn look_at_claim(&self, work: Work) -> Look {
        let path = self.claim_path(work);
        for _ in 0..RACES {
            // A store that this user cannot write to has no claims.
            let Ok(file) = self.open_claim(&path) else { return Look::Free(None) };
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    return Look::Free(Some(Held { work, file, path, done: AtomicU64::new(0) }));
                }
                // Its owner has removed it since it was opened.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Look::Taken(Other::of(&file)),
                Err(TryLockError::Error(_)) => {
                    let _ = fs::remove_file(&path);
                    return Look::Free(None);
                }
            }
        }
        Look::Free(None)
    }

    fn open_claim(&self, path: &Path) -> io::Result<File> {
        match self.open_written(path) {
            // A store of a hermes that had no claims.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(&self.path("claims"))?;
                self.open_written(path)
            }
            file => file,
        }
    }

    /// Removes the file of a claim whose owner is silent; the next process makes a new one.
    fn pass_over(&self, wait: &mut Wait<'_>) {
        let path = self.claim_path(wait.job.work);
        let is_same =
            |meta: &fs::Metadata| Some((meta.dev(), meta.ino())) == wait.other.as_ref().map(|other| other.identity);
        if fs::symlink_metadata(&path).is_ok_and(|meta| is_same(&meta)) {
            wait.reporter.warn(&format!(
                "{}: another hermes works on it, but has made no progress for {} s; continuing without it",
                wait.job.label,
                self.patience.as_secs()
            ));
            let _ = fs::remove_file(&path);
        }
    }

    /// Removes claims of the dead.
    pub(super) fn sweep_claims(&self) {
        for entry in fs::read_dir(self.path("claims")).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Ok(file) = self.open_written(&path)
                && file.try_lock().is_ok()
                && is_at(&file, &path)
            {
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn claim_path(&self, work: Work) -> PathBuf {
        self.path("claims").join(work.file_name())
    }
}

impl Other {
    fn of(file: &File) -> Self {
        let mut bytes = [0; 2 * DIGITS + 2];
        let length = file.read_at(&mut bytes, 0).unwrap_or(0);
        let identity = file.metadata().map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
        Self { identity, text: String::from_utf8_lossy(&bytes[..length]).into_owned() }
    }

    /// Bytes that are done.
    fn done(&self) -> u64 {
        self.text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// Work that this process waits for.
struct Wait<'a> {
    job: Job<'a>,
    reporter: &'a dyn Reporter,
    task: Option<TaskId>,
    shown: u64,
    other: Option<Other>,
    since: Instant,
}

impl<'a> Wait<'a> {
    fn new(job: Job<'a>, reporter: &'a dyn Reporter) -> Self {
        Self { job, reporter, task: None, shown: 0, other: None, since: Instant::now() }
    }

    /// Updates progress from the claim. Returns how long its owner has been silent.
    fn see(&mut self, other: Other) -> Duration {
        let Job { label, total, .. } = self.job;
        let task = *self.task.get_or_insert_with(|| {
            self.reporter.verbose(&format!("{label}: waiting for another hermes that works on it"));
            self.reporter.start(&format!("{label}, by another hermes"), total)
        });
        // One that began again has less.
        let done = other.done().min(total);
        self.reporter.advance(task, done.saturating_sub(self.shown));
        self.shown = self.shown.max(done);
        if self.other.as_ref() != Some(&other) {
            (self.other, self.since) = (Some(other), Instant::now());
        }
        self.since.elapsed()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            self.reporter.finish(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;
    use crate::progress::Silent;
    use crate::store::tests::{names, temp_store};

    /// Longer than any test takes.
    const FOREVER: Duration = Duration::from_secs(3600);

    fn job(work: Work) -> Job<'static> {
        Job { work, label: "it", total: 10 }
    }

    fn work(text: &str) -> Work {
        Work::Layer(Digest::of(text.as_bytes()))
    }

    #[test]
    fn one_works_and_the_others_wait() {
        let (_temp, store) = temp_store();
        let store = store.with_patience(FOREVER);
        let (first, done, made) = (work("a"), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let claim = store.claim(job(first), &Silent, &|| done.load(Ordering::SeqCst));
                    if let Some(claim) = claim {
                        assert!(store.try_claim([first]).0.is_empty(), "two have it");
                        made.fetch_add(1, Ordering::SeqCst);
                        claim.advance(first, 10);
                        thread::sleep(Duration::from_millis(30));
                        done.store(true, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(names(store.path("claims")), [""; 0]);
    }

    #[test]
    fn what_is_free_is_shared_out() {
        let (_temp, store) = temp_store();
        let store = store.with_patience(FOREVER);
        let (free, claims) = store.try_claim([work("a"), work("b")]);
        assert_eq!(free, [work("a"), work("b")]);
        let (free, others) = store.try_claim([work("b"), work("c")]);
        assert_eq!(free, [work("c")]);
        let both = claims.join(others);
        assert!(store.try_claim([work("a"), work("b"), work("c")]).0.is_empty());
        drop(both);
        let all = [job(work("a")), job(work("b"))];
        let (first, claim) = store.claim_any(&all, &Silent, &|work| work == all[0].work).unwrap();
        assert_eq!(first, work("b"));
        drop(claim);
        assert!(store.claim_any(&all, &Silent, &|_| true).is_none());
    }

    #[test]
    fn nobody_waits_for_the_dead() {
        let (_temp, store) = temp_store();
        let store = store.with_patience(FOREVER);
        make_directory(&store.path("claims")).unwrap();
        // What a process that was killed leaves: a file that nobody has locked.
        fs::write(store.claim_path(work("a")), "00000000000000000005 00000000000000000001\n").unwrap();
        drop(store.claim(job(work("a")), &Silent, &|| false).unwrap());
        // One that dies while somebody waits.
        let alive = store.open_written(&store.claim_path(work("b"))).unwrap();
        alive.lock().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| store.claim(job(work("b")), &Silent, &|| false).is_some());
            thread::sleep(Duration::from_millis(30));
            assert!(!waiting.is_finished());
            drop(alive);
            assert!(waiting.join().unwrap());
        });
        // What they leave goes.
        fs::write(store.claim_path(work("c")), "").unwrap();
        let (_, held) = store.try_claim([work("d")]);
        store.sweep_claims();
        assert_eq!(names(store.path("claims")), [work("d").file_name()]);
        drop(held);
    }

    #[test]
    fn who_shows_no_sign_of_life_is_passed_over() {
        let (_temp, store) = temp_store();
        make_directory(&store.path("claims")).unwrap();
        let path = store.claim_path(work("a"));
        let stopped = store.open_written(&path).unwrap();
        stopped.lock().unwrap();
        let hasty = store.with_patience(Duration::from_millis(20));
        let claim = hasty.claim(job(work("a")), &Silent, &|| false).unwrap();
        // Only one takes its place.
        assert!(!is_at(&stopped, &path));
        assert!(store.try_claim([work("a")]).0.is_empty());
        drop(claim);
        assert_eq!(store.try_claim([work("a")]).0, [work("a")]);
    }

    #[test]
    fn an_owner_shows_that_it_lives() {
        let (_temp, store) = temp_store();
        let (_, claims) = store.try_claim([work("a"), work("b")]);
        claims.advance(work("a"), 7);
        let seen = || [work("a"), work("b")].map(|work| fs::read_to_string(store.claim_path(work)).unwrap());
        let number = |text: &str, at: usize| text.split_whitespace().nth(at).unwrap_or("0").parse::<u64>().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while seen().iter().any(|text| number(text, 1) < 2) {
            assert!(Instant::now() < limit, "no sign of life: {:?}", seen());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(seen().map(|text| number(&text, 0)), [7, 0]);
        let quiet = claims.without_pulse();
        assert!(store.try_claim([work("a")]).0.is_empty());
        drop(quiet);
        assert_eq!(names(store.path("claims")), [""; 0]);
    }

    #[test]
    fn a_store_that_cannot_be_written_has_no_claims() {
        let (_temp, store) = temp_store();
        fs::remove_dir(store.path("claims")).unwrap();
        fs::write(store.path("claims"), "").unwrap();
        for _ in 0..2 {
            let (free, _claims) = store.try_claim([work("a")]);
            assert_eq!(free, [work("a")], "everybody works for themselves");
        }
    }
}
