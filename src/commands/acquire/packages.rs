//! Packages of toolchains: chosen from the signed state of an archive, and fetched by their digests.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Acquirer;
use super::paragraphs::Paragraphs;
use super::solved::Solved;
use super::wanted_root::WantedRoot;
use crate::archive::{self, Addresses, ArchiveError, Demand, Files, Mirror, Source, Suite};
use crate::commands::{Context, Error, Target, network};
use crate::consent::{Allowed, ProjectPath};
use crate::debian::{Index, IndexPackage, Keyring, Pool, Selected, Solution, day};
use crate::digest::Digest;
use crate::dpkg::{Architecture, PackageName, Request};
use crate::fs::regular;
use crate::fs::trust::Trust;
use crate::lock::{Archive, Deb, Lock, Root};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::size;
use crate::toolchain::{Packages, SignedBy};

/// Most packages that a note lists.
const MAX_PROVIDERS: usize = 20;
/// Longest file with keys, in bytes.
const MAX_KEYS: u64 = 1 << 20;

/// Packages that are wanted in the store.
pub(super) struct Fetching<'a> {
    /// What they are for, in a note that says what is fetched; `None` for no note.
    pub(super) what: Option<String>,
    pub(super) debs: &'a [Deb],
    pub(super) archives: &'a [&'a Archive],
    /// The toolchain, for the user's consent to its addresses.
    pub(super) toolchain: Option<&'a str>,
    /// The definition, whose addresses are tried first.
    pub(super) packages: Option<&'a Packages>,
}

/// Which state of an archive packages are chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum State {
    /// The one in the lock, if the lock has one and a mirror still has it; else the present one.
    Locked,
    /// The present one, which may not be older than the one in the lock.
    Current,
}

/// What is needed of the archives of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Documents {
    /// The indexes that describe its packages.
    Indexes,
    /// The signed releases, too.
    All,
}

impl Root {
    /// Whether the root is what a toolchain wants for programs of `platform`.
    pub(in crate::commands) fn fits(&self, wanted: &Packages, platform: Platform, archives: &[&Archive]) -> bool {
        let debian = &wanted.debian;
        self.platform == platform
            && self.request == wanted.request
            && archives.iter().map(|archive| &archive.suite).eq(&debian.suites)
            && self.components == debian.components
            && debian.epoch.is_none_or(|epoch| epoch == self.epoch)
            && self.apt_sources == debian.apt_sources
            && self.scripts == wanted.scripts
    }
}

impl Acquirer<'_> {
    /// Chooses the packages of a root for programs of `platform`. The lock has the state of the archive that is known.
    ///
    /// # Errors
    /// No address; the archive is not acceptable, or cannot be reached; the request has no solution.
    pub(in crate::commands) fn solve(
        &mut self,
        toolchain: &str,
        wanted: &Packages,
        platform: Platform,
        lock: &Lock,
        state: State,
    ) -> Result<Solved, Error> {
        let (suites, indexes) = self.states(toolchain, wanted, platform, lock, state)?;
        let architecture = Architecture::of(platform);
        let pool = Pool::new(&indexes.iter().collect::<Vec<_>>(), architecture.clone())?;
        let (solution, base) = solutions(&pool, &wanted.request)?;
        for choice in &solution.choices {
            let providers: Vec<_> = choice.providers.iter().take(MAX_PROVIDERS).map(ToString::to_string).collect();
            self.context.reporter.warn(&format!(
                "package {} was chosen for {}, which no package is called: request one of {}",
                choice.chosen,
                choice.name,
                providers.join(", ")
            ));
        }
        let of_base = |selected: &Selected<'_>| base.contains(selected.package.name());
        let chosen = solution.packages.iter();
        let debs = chosen.map(|selected| deb(selected.package, &architecture, of_base(selected))).collect();
        let solved = Solved::new(wanted, platform, wanted.request.clone(), debs, suites);
        // Composing needs them, and reading indexes again takes long.
        let archives: Vec<_> = solved.archives.iter().collect();
        self.paragraphs = Some(Paragraphs::of(&solved.root, &archives, &indexes));
        Ok(solved)
    }

    /// The chain of packages from a request of a root to `name`: why the root has it. `None` if it has no such package. Only the
    /// locked indexes are used, never what the archive has now.
    ///
    /// # Errors
    /// [`ArchiveError::NoDocument`] if an index is neither in the store nor at an address.
    pub(in crate::commands) fn why(
        &mut self,
        wanted: WantedRoot<'_>,
        name: &PackageName,
    ) -> Result<Option<Vec<PackageName>>, Error> {
        let root = wanted.root;
        self.documents(wanted, Documents::Indexes)?;
        let mut indexes = Vec::new();
        wanted.read_indexes(self.store, |index| indexes.push(index))?;
        let pool = Pool::new(&indexes.iter().collect::<Vec<_>>(), Architecture::of(root.platform))?;
        Ok(solutions(&pool, &root.request)?.0.why(name))
    }

    /// The releases of the toolchain's suites, and their indexes of packages.
    pub(super) fn states(
        &mut self,
        toolchain: &str,
        wanted: &Packages,
        platform: Platform,
        lock: &Lock,
        state: State,
    ) -> Result<(Vec<Suite>, Vec<Index>), Error> {
        let allowed = self.context.allow_packages(toolchain)?;
        let keyring = keyring(self.context, wanted, &allowed)?;
        let keys = keyring.as_ref().unwrap_or_else(|| Keyring::debian());
        let known: Vec<_> = wanted.debian.suites.iter().map(|suite| newest(lock, suite)).collect();
        let held: Vec<_> = known.iter().flatten().copied().collect();
        self.hold(|needs| needs.archives(&held));
        for blob in held.iter().flat_map(|archive| [&archive.release].into_iter().chain(archive.indexes.values())) {
            // What no site store has is searched for at the mirrors.
            let _ = self.take_blob(blob);
        }
        self.fetched.get_or_insert_default();
        let architecture = Architecture::of(platform);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (context, store) = (self.context, self.store);
        let found = network::run(context, async |client| {
            let files = files(context, &allowed);
            let client = Some(&client).filter(|_| !context.offline);
            let source = Source { store, client, files, reporter: context.reporter.as_ref() };
            let (mut suites, mut indexes, mut room) = (Vec::new(), Vec::new(), archive::MAX_INDEXES);
            for (suite, locked) in wanted.debian.suites.iter().zip(&known) {
                let addresses = addresses(context, Some(wanted), suite);
                let is_reachable = !context.offline || addresses.present.iter().any(Mirror::is_local);
                let mut found = None;
                // Without a network the locked state is the present one.
                if let Some(locked) = locked.filter(|_| state == State::Locked || !is_reachable) {
                    found = source.locked(locked, keys, &addresses.clone().of_date(locked.date)).await?;
                }
                let demand = Demand { suite, keys, now: Some(now), known: locked.map(|locked| locked.date) };
                let mut found = match found {
                    Some(found) => found,
                    None => match (source.current(demand, &addresses).await, locked) {
                        // A directory with copies of files has no present state.
                        (Err(error @ ArchiveError::Unavailable { .. }), Some(locked)) if context.offline => {
                            let of_lock = addresses.of_date(locked.date);
                            source.locked(locked, keys, &of_lock).await?.ok_or(error)?
                        }
                        (current, _) => current?,
                    },
                };
                let components = &wanted.debian.components;
                indexes.extend(source.indexes(&mut found, components, &architecture, &mut room).await?);
                suites.push(found);
            }
            Ok((suites, indexes))
        })?;
        let held: Vec<_> = found.0.iter().map(|suite| &suite.archive).collect();
        self.hold(|needs| needs.archives(&held));
        Ok(found)
    }

    /// Makes the store hold the packages of a root, each verified, and the indexes that describe them. Returns the number of bytes
    /// that were downloaded.
    ///
    /// # Errors
    /// A package is gone, or changed; the network is needed, and disabled.
    pub(in crate::commands) fn debs(&mut self, wanted: WantedRoot<'_>) -> Result<u64, Error> {
        self.debs_above(wanted, false)
    }

    /// The same, but with `has_base` only for the packages that are not of the base.
    ///
    /// # Errors
    /// As [`Self::debs`].
    pub(super) fn debs_above(&mut self, wanted: WantedRoot<'_>, has_base: bool) -> Result<u64, Error> {
        let WantedRoot { root, archives, toolchain, packages, .. } = wanted;
        // Scripts see what the indexes say of the base.
        if root.scripts && !has_base {
            self.documents(wanted, Documents::Indexes)?;
        }
        let debs: Vec<Deb> = root.debs.iter().filter(|deb| !(has_base && deb.is_base)).cloned().collect();
        self.fetch_debs(Fetching { what: wanted.tools(), debs: &debs, archives, toolchain, packages })
    }

    /// Makes the store hold packages. Returns the number of bytes that were downloaded.
    ///
    /// # Errors
    /// As [`Self::debs`].
    pub(super) fn fetch_debs(&mut self, wanted: Fetching<'_>) -> Result<u64, Error> {
        let Fetching { what, debs, archives, toolchain, packages } = wanted;
        self.hold(|needs| needs.packages(debs, archives));
        let missing: Vec<&Deb> = debs.iter().filter(|deb| !self.has_deb(deb)).collect();
        let Some(first) = missing.first() else { return Ok(0) };
        let context = self.context;
        let places = places(context, packages, archives);
        if context.offline && !places.iter().any(Mirror::is_local) {
            return Err(ArchiveError::Offline { what: first.shown() }.into());
        }
        if let Some(what) = what {
            let bytes = missing.iter().map(|deb| deb.size).fold(0, u64::saturating_add);
            let s = if missing.len() == 1 { "" } else { "s" };
            let text = format!("fetching {what}: {} package{s}, {}", missing.len(), size::shown(bytes));
            context.reporter.warn(&text);
        }
        let date = archives.first().map(|archive| day(archive.date)).unwrap_or_default();
        let jobs = context.jobs;
        let bytes = self.with_archives(toolchain, async |source| source.debs(&missing, &places, &date, jobs).await)?;
        if let Some(report) = &mut self.fetched {
            report.bytes_downloaded += bytes;
        }
        Ok(bytes)
    }

    /// Makes the store hold the indexes that describe the packages of a root; with [`Documents::All`], the signed releases, too.
    ///
    /// # Errors
    /// [`ArchiveError::NoDocument`] if one is gone; the network is needed, and disabled.
    pub(in crate::commands) fn documents(&mut self, wanted: WantedRoot<'_>, what: Documents) -> Result<(), Error> {
        let WantedRoot { root, archives, .. } = wanted;
        self.hold(|needs| needs.archives(archives));
        let is_missing = |blob: &Descriptor| !self.take_blob(blob);
        let indexes =
            archives.iter().flat_map(|archive| root.indexes(archive).into_iter().map(move |of| (*archive, of)));
        let indexes: Vec<_> = indexes.filter(|(_, (_, blob))| is_missing(blob)).collect();
        let releases = archives.iter().filter(|archive| what == Documents::All && is_missing(&archive.release));
        let releases: Vec<_> = releases.copied().collect();
        if indexes.is_empty() && releases.is_empty() {
            return Ok(());
        }
        let places = places(self.context, wanted.packages, archives);
        self.with_archives(wanted.toolchain, async |source| {
            for (archive, (path, blob)) in indexes {
                source.locked_index(archive, path, blob, &places).await?;
            }
            for archive in releases {
                source.locked_release(archive, &places).await?;
            }
            Ok(())
        })
    }

    /// Does `work` with what is needed to get files of archives, and the user's consent to the addresses of `toolchain`.
    fn with_archives<T>(
        &mut self,
        toolchain: Option<&str>,
        work: impl AsyncFnOnce(Source<'_>) -> Result<T, ArchiveError>,
    ) -> Result<T, Error> {
        let (context, store) = (self.context, self.store);
        let allowed = toolchain.map_or_else(|| Ok(Allowed::default()), |name| context.allow_packages(name))?;
        self.fetched.get_or_insert_default();
        network::run(context, async |client| {
            let client = Some(&client).filter(|_| !context.offline);
            let files = files(context, &allowed);
            Ok(work(Source { store, client, files, reporter: context.reporter.as_ref() }).await?)
        })
    }

    /// Whether the store has a blob, which is copied from a site store that has it.
    fn take_blob(&self, blob: &Descriptor) -> bool {
        self.store.has_blob(blob) || self.sites().copy_blob(self.store, blob)
    }

    /// Whether the store has a package, with the right bytes; takes it from a site store that has it.
    fn has_deb(&self, deb: &Deb) -> bool {
        let blob = deb.blob();
        if !self.store.has_blob(&blob) {
            return self.sites().copy_blob(self.store, &blob);
        }
        let digest = self.store.open_blob(&blob).ok().and_then(|mut file| Digest::of_reader(&mut file, &|_| ()).ok());
        let is_whole = digest.is_some_and(|(digest, _)| digest == deb.digest);
        if !is_whole {
            self.context.reporter.warn(&format!("package {} in the store is corrupt, fetching it again", deb.shown()));
        }
        is_whole
    }
}

/// The entry of a lock for a chosen package.
pub(super) fn deb(package: IndexPackage<'_>, architecture: &Architecture, is_base: bool) -> Deb {
    Deb {
        name: package.name().clone(),
        version: package.version().clone(),
        architecture: if package.is_all() { Architecture::all() } else { architecture.clone() },
        digest: package.digest(),
        size: package.size(),
        path: package.path().to_owned(),
        is_base,
    }
}

/// The packages for the base and `request`, and the names of the base.
fn solutions<'a>(pool: &Pool<'a>, request: &[Request]) -> Result<(Solution<'a>, BTreeSet<PackageName>), Error> {
    let base = pool.base()?;
    let all: Vec<_> = base.iter().chain(request).cloned().collect();
    let solution = pool.solve(&all)?;
    // What the request changes of the base is not of the base.
    let chosen: BTreeSet<Digest> = solution.packages.iter().map(|selected| selected.package.digest()).collect();
    let base = pool.solve(&base)?.packages.into_iter().map(|selected| selected.package);
    let base =
        base.filter(|package| chosen.contains(&package.digest())).map(|package| package.name().clone()).collect();
    Ok((solution, base))
}

/// The newest state of a suite in a lock.
pub(super) fn newest<'a>(lock: &'a Lock, suite: &str) -> Option<&'a Archive> {
    lock.archives.values().filter(|archive| archive.suite == suite).max_by_key(|archive| archive.date)
}

fn project(context: &Context) -> Option<&Path> {
    context.project.as_ref().map(|project| project.directory.path())
}

fn files<'a>(context: &'a Context, allowed: &'a Allowed) -> Files<'a> {
    Files { project: context.project.as_ref().map(|project| &project.directory), allowed }
}

/// The addresses of an archive with `suite` that a toolchain, the user or the host's apt names.
pub(super) fn addresses(context: &Context, wanted: Option<&Packages>, suite: &str) -> Addresses {
    Addresses::new(wanted, &context.debian_mirrors, project(context), || archive::of_host(suite))
}

/// All addresses that may have a file of these archives: those that are configured, then those in the lock.
fn places(context: &Context, packages: Option<&Packages>, archives: &[&Archive]) -> Vec<Mirror> {
    let mut places: Vec<Mirror> = Vec::new();
    for archive in archives {
        let configured = addresses(context, packages, &archive.suite).of_date(archive.date);
        let of_lock = archive.uri.iter().map(|uri| Mirror::new(uri, None));
        for place in configured.into_iter().chain(of_lock) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// The apt sources of a run with the host's network in the root of `target`, which has none itself: its suites, each at the
/// first address on the network. `None` for another root, and where no address is known.
pub(in crate::commands) fn apt_sources(context: &Context, target: &Target, lock: &Lock) -> Option<String> {
    let (reference, platform) = target.key();
    let root = lock.root(reference, platform).filter(|root| root.apt_sources.is_none())?;
    let archives = lock.archives_of(root)?;
    let of_suite = |archive: &&Archive| {
        let places = places(context, target.packages.as_ref(), std::slice::from_ref(archive));
        let uri = places.iter().find_map(Mirror::uri)?;
        Some((archive.suite.clone(), uri))
    };
    let suites: Vec<_> = archives.iter().filter_map(of_suite).collect();
    let suites = suites.iter().map(|(suite, uri)| (suite.as_str(), uri.as_str()));
    Some(archive::for_run(suites, &root.components)).filter(|text| !text.is_empty())
}

/// The keys that a toolchain names; `None` for the embedded ones.
fn keyring(context: &Context, wanted: &Packages, allowed: &Allowed) -> Result<Option<Keyring>, ArchiveError> {
    let SignedBy::File(path) = &wanted.debian.signed_by else { return Ok(None) };
    let path = Path::new(path);
    let of_project = context.project.as_ref().filter(|_| wanted.is_of_project);
    let read = match of_project {
        Some(project) => {
            let place = ProjectPath::of(project.directory.path(), path);
            place.open(&project.directory, allowed).and_then(|file| regular::read(&file, MAX_KEYS))
        }
        None => Trust::in_caller().read_named(path, MAX_KEYS),
    };
    let path = path.to_owned();
    let bytes = read.map_err(|source| ArchiveError::File { verb: "read", path: path.clone(), source })?;
    Keyring::parse(&bytes).map(Some).map_err(|source| ArchiveError::Keyring { path, source })
}
