//! Packages by their digest, from every address that may have them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use crate::archive::ArchiveError;
use crate::archive::file::{Miss, Source};
use crate::archive::mirror::Mirror;
use crate::lock::Deb;
use crate::oci::Descriptor;
use crate::progress::TaskId;

/// The result for one package.
enum Outcome<'a> {
    Here,
    /// No address has it.
    Gone(&'a Deb),
    /// An address has other bytes, and none has the right ones.
    Wrong(&'a Deb, String, crate::digest::Digest),
    /// Addresses that may have it cannot be reached.
    Failed(&'a Deb, String),
}

/// The reason in an error if no address is known.
pub(super) const NO_ADDRESS: &str = "no address of an archive with it is known";

/// The addresses that could not be reached, by their number, with the error.
type Unreachable = RefCell<BTreeMap<usize, String>>;

impl Source<'_> {
    /// Gets `debs`, up to `jobs` at a time, each from the first of `mirrors` that has the right bytes. An address that cannot be
    /// reached is not tried again. `date` is that of the archive in the lock, for messages. Returns the number of bytes that
    /// were downloaded.
    ///
    /// # Errors
    /// [`ArchiveError::Gone`], [`ArchiveError::Changed`], [`ArchiveError::Unavailable`], [`ArchiveError::Offline`]; errors of the
    /// store. What was received stays in the store.
    pub(crate) async fn debs(
        &self,
        debs: &[&Deb],
        mirrors: &[Mirror],
        date: &str,
        jobs: usize,
    ) -> Result<u64, ArchiveError> {
        let Some(first) = debs.first() else { return Ok(0) };
        if !mirrors.iter().any(|mirror| self.reaches(mirror)) {
            return Err(match self.client {
                None => ArchiveError::Offline { what: first.shown() },
                Some(_) => ArchiveError::NoAddress { suite: first.shown() },
            });
        }
        let total: u64 = debs.iter().map(|deb| deb.size).fold(0, u64::saturating_add);
        let here = debs.iter().map(|deb| self.store.partial_size(&deb.digest)).fold(0, u64::saturating_add);
        self.store.require_room(total.saturating_sub(here))?;
        let s = if debs.len() == 1 { "" } else { "s" };
        let task = self.reporter.start(&format!("{} package{s}", debs.len()), total);
        let unreachable = Unreachable::default();
        let work = stream::iter(debs.iter().map(|deb| self.deb(deb, mirrors, task, &unreachable)));
        let mut work = work.buffer_unordered(jobs.max(1));
        let (mut gone, mut failure) = (Vec::new(), None);
        while let Some(outcome) = work.next().await {
            match outcome {
                Ok(Outcome::Here) => {}
                Ok(Outcome::Gone(deb)) => gone.push(deb),
                Ok(Outcome::Wrong(deb, place, got)) => {
                    let (expected, got) = (Box::new(deb.digest), Box::new(got));
                    failure = Some(ArchiveError::Changed { what: deb.shown(), place, expected, got });
                    break;
                }
                Ok(Outcome::Failed(deb, tried)) => {
                    failure = Some(ArchiveError::Unavailable { what: deb.shown(), tried });
                    break;
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(work);
        self.reporter.finish(task);
        gone.sort_by(|a, b| a.name.cmp(&b.name));
        match (failure, gone.first()) {
            (Some(failure), _) => Err(failure),
            (None, Some(deb)) => {
                let tried: Vec<_> = mirrors.iter().filter(|mirror| self.reaches(mirror)).collect();
                // An archive is where the package was; mirrors of content are copies.
                let archive = tried.iter().find(|mirror| mirror.uri().is_some()).or(tried.first());
                Err(ArchiveError::Gone {
                    deb: Box::new((*deb).clone()),
                    date: date.to_owned(),
                    place: archive.map(|mirror| mirror.shown()).unwrap_or_default(),
                    mirrors: tried.len().saturating_sub(1),
                    others: gone.len() - 1,
                })
            }
            (None, None) => Ok(total.saturating_sub(here)),
        }
    }

    async fn deb<'d>(
        &self,
        deb: &'d Deb,
        mirrors: &[Mirror],
        task: TaskId,
        unreachable: &Unreachable,
    ) -> Result<Outcome<'d>, ArchiveError> {
        let (mut wrong, mut failed) = (None, Vec::new());
        for (number, mirror) in mirrors.iter().enumerate().filter(|(_, mirror)| self.reaches(mirror)) {
            let known = unreachable.borrow().get(&number).cloned();
            if let Some(text) = known {
                failed.push(text);
                continue;
            }
            let miss = match self.receive(mirror, std::slice::from_ref(&deb.path), &deb.blob(), task).await? {
                Ok(()) => return Ok(Outcome::Here),
                Err(miss) => miss,
            };
            self.reporter.verbose(&format!("{}: {}: {}", deb.shown(), mirror.shown(), miss.text()));
            match miss {
                Miss::Absent(_) => {}
                Miss::Wrong { got } => {
                    let what = format!("{} from {} has other content: {got}", deb.shown(), mirror.shown());
                    self.reporter.warn(&what);
                    wrong.get_or_insert((mirror.shown(), got));
                }
                Miss::Failed(text) => failed.push(format!("{}: {text}", mirror.shown())),
                Miss::Unreachable(text) => {
                    let text = format!("{}: {text}", mirror.shown());
                    unreachable.borrow_mut().insert(number, text.clone());
                    failed.push(text);
                }
            }
        }
        Ok(match (wrong, failed.is_empty()) {
            (Some((place, got)), _) => Outcome::Wrong(deb, place, got),
            (None, false) => Outcome::Failed(deb, failed.join("; ")),
            (None, true) => Outcome::Gone(deb),
        })
    }

    /// Gets one file of the archive whose digest is signed.
    pub(super) async fn signed_file(
        &self,
        what: &str,
        paths: &[String],
        blob: &Descriptor,
        mirrors: &[Mirror],
    ) -> Result<(), ArchiveError> {
        self.store.require_room(blob.size)?;
        let task = self.reporter.start(what, blob.size);
        let (mut tried, mut wrong) = (Vec::new(), None);
        for mirror in mirrors.iter().filter(|mirror| self.reaches(mirror)) {
            match self.receive(mirror, paths, blob, task).await {
                Ok(Ok(())) => {
                    self.reporter.finish(task);
                    return Ok(());
                }
                Ok(Err(miss)) => {
                    tried.push(format!("{}: {}", mirror.shown(), miss.text()));
                    if let Miss::Wrong { got } = miss {
                        wrong.get_or_insert((mirror.shown(), got));
                    }
                }
                Err(error) => {
                    self.reporter.finish(task);
                    return Err(error);
                }
            }
        }
        self.reporter.finish(task);
        let what = what.to_owned();
        Err(match wrong {
            Some((place, got)) => {
                let (expected, got) = (Box::new(blob.digest), Box::new(got));
                ArchiveError::Changed { what, place, expected, got }
            }
            None if tried.is_empty() && self.client.is_some() => ArchiveError::NoAddress { suite: what },
            None if tried.is_empty() => ArchiveError::Offline { what },
            None => ArchiveError::Unavailable { what, tried: tried.join("; ") },
        })
    }
}
