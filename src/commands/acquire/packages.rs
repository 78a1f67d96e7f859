//! Packages of toolchains: chosen from the signed state of an archive, and fetched by their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Acquirer;
use super::wanted_root::WantedRoot;
use crate::archive::{self, ArchiveError, Demand, Files, Mirror, Source, Suite};
use crate::commands::{Context, Error, network};
use crate::consent::{Allowed, ProjectPath};
use crate::debian::{Index, Keyring, Pool, Solution, day};
use crate::digest::Digest;
use crate::dpkg::{Architecture, PackageName, Request};
use crate::fs::regular;
use crate::fs::trust::Trust;
use crate::lock::{Archive, Deb, Lock, Root};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::toolchain::{Packages, SignedBy};

/// The version of the rules by which this hermes composes roots.
pub(in crate::commands) const COMPOSER: u32 = 1;
/// Most packages that a note lists.
const MAX_PROVIDERS: usize = 20;
/// Longest file with keys, in bytes.
const MAX_KEYS: u64 = 1 << 20;

/// A root whose packages were chosen, and its archives.
#[derive(Debug)]
pub(in crate::commands) struct Solved {
    pub(in crate::commands) root: Root,
    /// In the order of the suites, with their indexes; without names.
    pub(in crate::commands) archives: Vec<Archive>,
}

/// Which state of an archive packages are chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum State {
    /// The one in the lock, if the lock has one and a mirror still has it; else the present one.
    Locked,
    /// The present one, which may not be older than the one in the lock.
    Current,
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
    }
}

impl Solved {
    /// Adds the root `key` to `lock`, and replaces an older one. The archive of a suite has the name of the suite,
    /// unless a root that stays uses another state of it.
    pub(in crate::commands) fn put(self, lock: &mut Lock, key: (String, Platform)) {
        let Self { mut root, archives } = self;
        root.archives = names(lock, &key, &archives);
        for (name, archive) in root.archives.iter().zip(archives) {
            let known = lock.archives.get(name).filter(|known| known.release == archive.release);
            let mut indexes = known.map(|known| known.indexes.clone()).unwrap_or_default();
            indexes.extend(archive.indexes);
            let uri = known.map_or(archive.uri, |known| known.uri.clone());
            lock.archives.insert(name.clone(), Archive { uri, indexes, ..archive });
        }
        lock.roots.insert(key, root);
    }
}

/// The names of `archives` in `lock`, for a new root `key`.
fn names(lock: &Lock, key: &(String, Platform), archives: &[Archive]) -> Vec<String> {
    let others: BTreeSet<&String> =
        lock.roots.iter().filter(|(other, _)| *other != key).flat_map(|(_, root)| &root.archives).collect();
    let mut taken: BTreeMap<String, &Archive> = BTreeMap::new();
    for archive in archives {
        let is_free = |name: &String| {
            let of_others = lock.archives.get(name).filter(|_| others.contains(name));
            of_others.or(taken.get(name).copied()).is_none_or(|known| known.release == archive.release)
        };
        let with_date = format!("{}@{}", archive.suite, archive.date);
        let with_digest = format!("{}@{}", archive.suite, archive.release.digest.hex());
        let names = [archive.suite.clone(), with_date, with_digest];
        let name = names.iter().find(|name| is_free(name)).unwrap_or(&names[2]).clone();
        taken.insert(name, archive);
    }
    // In the order of the suites.
    let name_of =
        |archive: &Archive| taken.iter().find(|(_, of)| std::ptr::eq(**of, archive)).map(|(name, _)| name.clone());
    archives.iter().filter_map(name_of).collect()
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
        let deb = |selected: &crate::debian::Selected<'_>| {
            let package = selected.package;
            Deb {
                name: package.name().clone(),
                version: package.version().clone(),
                architecture: if package.is_all() { Architecture::all() } else { architecture.clone() },
                digest: package.digest(),
                size: package.size(),
                path: package.path().to_owned(),
                is_base: base.contains(package.name()),
            }
        };
        let mut debs: Vec<_> = solution.packages.iter().map(deb).collect();
        debs.sort_by(|a, b| a.name.cmp(&b.name));
        let archives: Vec<_> = suites.into_iter().map(|suite| suite.archive).collect();
        let newest = archives.iter().map(|archive| archive.date).max().unwrap_or_default();
        let root = Root {
            platform,
            request: wanted.request.clone(),
            archives: Vec::new(),
            components: wanted.debian.components.clone(),
            composer: COMPOSER,
            epoch: wanted.debian.epoch.unwrap_or(newest),
            apt_sources: wanted.debian.apt_sources.clone(),
            debs,
        };
        Ok(Solved { root, archives })
    }

    /// The chain of packages from a request of `root` to `name`: why the root has it. `None` if it has no such package.
    pub(in crate::commands) fn why(
        &mut self,
        toolchain: &str,
        wanted: &Packages,
        root: &Root,
        lock: &Lock,
        name: &PackageName,
    ) -> Result<Option<Vec<PackageName>>, Error> {
        let (_, indexes) = self.states(toolchain, wanted, root.platform, lock, State::Locked)?;
        let pool = Pool::new(&indexes.iter().collect::<Vec<_>>(), Architecture::of(root.platform))?;
        Ok(solutions(&pool, &root.request)?.0.why(name))
    }

    /// The releases of the toolchain's suites, and their indexes of packages.
    fn states(
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
            // What no site store has is looked for at the mirrors.
            let _ = self.store.has_blob(blob) || self.sites().copy_blob(self.store, blob);
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
                let mirrors = mirrors(context, wanted, suite);
                let is_reachable = !context.offline || mirrors.iter().any(Mirror::is_local);
                let mut found = None;
                // Without a network the locked state is the present one.
                if let Some(locked) = locked.filter(|_| state == State::Locked || !is_reachable) {
                    found = source.locked(locked, keys, &mirrors).await?;
                }
                let demand = Demand { suite, keys, now: Some(now), known: locked.map(|locked| locked.date) };
                let mut found = match found {
                    Some(found) => found,
                    None => source.current(demand, &mirrors).await?,
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

    /// Makes the store hold the packages of a root, each verified, and the indexes that describe them. Returns the number of bytes that were downloaded.
    ///
    /// # Errors
    /// A package is gone, or changed; the network is needed, and disabled.
    pub(in crate::commands) fn debs(&mut self, wanted: WantedRoot<'_>) -> Result<u64, Error> {
        let WantedRoot { root, archives, .. } = wanted;
        self.hold(|needs| needs.packages(root, archives));
        let missing: Vec<&Deb> = root.debs.iter().filter(|deb| !self.has_deb(deb)).collect();
        let architecture = Architecture::of(root.platform);
        let indexes = archives.iter().flat_map(|archive| {
            let all = archive::indexes_of(archive, &root.components, &architecture);
            all.map(move |(path, blob)| (*archive, path, blob))
        });
        let is_missing = |blob: &Descriptor| !self.store.has_blob(blob) && !self.sites().copy_blob(self.store, blob);
        let indexes: Vec<_> = indexes.filter(|(_, _, blob)| is_missing(blob)).collect();
        if missing.is_empty() && indexes.is_empty() {
            return Ok(0);
        }
        let allowed =
            wanted.toolchain.map_or_else(|| Ok(Allowed::default()), |name| self.context.allow_packages(name))?;
        let (context, store) = (self.context, self.store);
        let places = places(context, wanted);
        let date = archives.first().map(|archive| day(archive.date)).unwrap_or_default();
        self.fetched.get_or_insert_default();
        let bytes = network::run(context, async |client| {
            let client = Some(&client).filter(|_| !context.offline);
            let files = files(context, &allowed);
            let source = Source { store, client, files, reporter: context.reporter.as_ref() };
            for (archive, path, blob) in indexes {
                source.locked_index(archive, path, blob, &places).await?;
            }
            Ok(source.debs(&missing, &places, &date, context.jobs).await?)
        })?;
        if let Some(report) = &mut self.fetched {
            report.bytes_downloaded += bytes;
        }
        Ok(bytes)
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
fn newest<'a>(lock: &'a Lock, suite: &str) -> Option<&'a Archive> {
    lock.archives.values().filter(|archive| archive.suite == suite).max_by_key(|archive| archive.date)
}

fn project(context: &Context) -> Option<&Path> {
    context.project.as_ref().map(|project| project.directory.path())
}

fn files<'a>(context: &'a Context, allowed: &'a Allowed) -> Files<'a> {
    Files { project: context.project.as_ref().map(|project| &project.directory), allowed }
}

/// The addresses of an archive that a toolchain, the user or the host's apt names.
fn mirrors(context: &Context, wanted: &Packages, suite: &str) -> Vec<Mirror> {
    archive::addresses(wanted, &context.debian_mirrors, project(context), || archive::of_host(suite))
}

/// All addresses that may have a package of a root: those that are configured, then those in the lock.
fn places(context: &Context, wanted: WantedRoot<'_>) -> Vec<Mirror> {
    let mut places: Vec<Mirror> = Vec::new();
    for archive in wanted.archives {
        let configured = match wanted.packages {
            Some(packages) => mirrors(context, packages, &archive.suite),
            None => of_user(context, &archive.suite),
        };
        let of_lock = archive.uri.iter().map(|uri| Mirror::new(uri, None));
        for place in configured.into_iter().chain(of_lock) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// Those of the user or the host's apt.
fn of_user(context: &Context, suite: &str) -> Vec<Mirror> {
    let mut all = context.debian_mirrors.clone();
    if all.is_empty() {
        all = archive::of_host(suite);
    }
    all.iter().map(|mirror| Mirror::new(mirror, None)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(suite: &str, state: &str, date: u64) -> Archive {
        let blob = |text: &str| Descriptor::new("", Digest::of(text.as_bytes()), 1);
        Archive {
            suite: suite.into(),
            uri: None,
            codename: suite.into(),
            date,
            release: blob(state),
            signed_by: vec![],
            indexes: BTreeMap::from([(format!("index of {state}"), blob(state))]),
        }
    }

    fn solved(archives: Vec<Archive>) -> Solved {
        let root = Root {
            platform: Platform::Amd64,
            request: vec![],
            archives: vec![],
            components: vec!["main".into()],
            composer: COMPOSER,
            epoch: 1,
            apt_sources: None,
            debs: vec![],
        };
        Solved { root, archives }
    }

    #[test]
    fn states_of_a_suite_that_other_roots_use_stay() {
        let mut lock = Lock::default();
        let key = |name: &str| (name.to_owned(), Platform::Amd64);
        solved(vec![archive("a", "old", 1), archive("b", "b", 1)]).put(&mut lock, key("one"));
        solved(vec![archive("a", "old", 1)]).put(&mut lock, key("two"));
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "b"]);
        // The other one still uses the old state.
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("two"));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "a@2", "b"]);
        assert_eq!(lock.roots[&key("one")].archives, ["a", "b"]);
        assert_eq!(lock.roots[&key("two")].archives, ["a@2"]);
        assert_eq!(newest(&lock, "a").unwrap().date, 2);
        // Now nobody does.
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("one"));
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("two"));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn two_states_of_one_date_get_different_names() {
        let mut lock = Lock::default();
        let key = |name: &str| (name.to_owned(), Platform::Amd64);
        for (name, state) in [("one", "x"), ("two", "y"), ("three", "z")] {
            solved(vec![archive("a", state, 1)]).put(&mut lock, key(name));
        }
        assert_eq!(lock.archives.len(), 3);
        assert_eq!(lock.archives.values().map(|archive| archive.release.digest).collect::<BTreeSet<_>>().len(), 3);
    }
}
