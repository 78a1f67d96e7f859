//! The sources of a project, made present: out of the store, else from where they are found; and the lock says what they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::path::Path;

use crate::commands::prepare::Prepared;
use crate::commands::run::share;
use crate::commands::{Context, Error, Target, network};
use crate::consent::{Allowed, ConsentError, ProjectPath};
use crate::digest::Digest;
use crate::fetch::FetchReport;
use crate::fs::opened::Opened;
use crate::fs::{listing, regular};
use crate::lock::{self, LockFile};
use crate::sandbox::{Bind, Isolation, Shared};
use crate::source::{self, Search, SourceError};
use crate::store::{Claims, Closure, Job, Lease, Store, Work};
use crate::toolchain::{Origin, SourceDefinition};

/// Where sources are inside.
const SOURCES: &str = "/sources";
/// Longest patch read, in bytes.
const MAX_PATCH: u64 = 16 << 20;

/// Sources that are there now.
pub(in crate::commands) struct Present {
    pub(in crate::commands) sources: BTreeMap<String, lock::Source>,
    /// Names of those whose archive had to be received.
    pub(in crate::commands) received: Vec<String>,
}

/// Those of the project, for a run: what is to be mounted. That something was fetched is noted in `prepared`.
pub(in crate::commands) fn ready(
    context: &Context,
    store: &Store,
    target: &Target,
    isolation: Isolation,
    prepared: &mut Prepared,
) -> Result<Vec<Shared>, Error> {
    let Some(project) = context.project.as_ref().filter(|project| !project.sources.is_empty()) else {
        return Ok(vec![]);
    };
    let file = context.lock_file(target);
    let allowed = context.allow_sources(&project.sources)?;
    let present = make(context, store, &file, (&project.sources, true), &allowed, &mut prepared.lease)?;
    if !present.received.is_empty() {
        // The network was asked, or may have been.
        prepared.fetched.get_or_insert_with(FetchReport::default);
    }
    let bind = |(name, locked): (&String, &lock::Source)| {
        let source = store.source_path(&locked.key());
        let target = match isolation {
            Isolation::Namespaces => Path::new(SOURCES).join(name),
            Isolation::Landlock => {
                context.reporter.warn(&format!("source {name} is at {}", source.display()));
                source.clone()
            }
        };
        share(Bind { source, target, read_only: true })
    };
    let binds = present.sources.iter().map(bind).collect::<Result<_, _>>()?;
    prepared.sources = present.sources;
    Ok(binds)
}

/// Those of the project, for later, where it has any.
pub(in crate::commands) fn fetch(context: &Context, store: &Store) -> Result<(), Error> {
    let Some(project) = context.project.as_ref().filter(|project| !project.sources.is_empty()) else { return Ok(()) };
    let mut lease = store.lease();
    let allowed = context.allow_sources(&project.sources)?;
    make(context, store, &context.lock_of(None), (&project.sources, true), &allowed, &mut lease).map(drop)
}

/// Makes `definitions` present, which are `all` of the project or some: the lock forgets others only then. What they ask for
/// of the host is read as far as it is `allowed`.
pub(in crate::commands) fn make(
    context: &Context,
    store: &Store,
    file: &LockFile,
    (definitions, all): (&BTreeMap<String, SourceDefinition>, bool),
    allowed: &Allowed,
    lease: &mut Lease,
) -> Result<Present, Error> {
    let mut received = Vec::new();
    loop {
        let locked = file.read()?.sources;
        let mut sources = BTreeMap::new();
        for (name, definition) in definitions {
            let maker = Maker::new(context, store, name, definition, allowed)?;
            let known = locked.get(name).filter(|known| maker.fits(known));
            if known.is_none() && context.locked {
                return Err(Error::Stale { lock: file.path().to_owned(), what: format!("source {name}") });
            }
            let source = match known {
                Some(known) => maker.keep(known, lease, &mut received)?,
                None => maker.find(locked.get(name), lease, &mut received)?,
            };
            sources.insert(name.clone(), source);
        }
        let is_left = |name: &String| all && !definitions.contains_key(name);
        let same = sources.iter().all(|(name, source)| locked.get(name) == Some(source)) && !locked.keys().any(is_left);
        if same || context.locked {
            return Ok(Present { sources, received });
        }
        let now = file.update(|lock| {
            lock.sources.retain(|name, _| !is_left(name));
            for (name, source) in &sources {
                // Another hermes may have been first: somebody may rely on what it found.
                if lock.sources.get(name) == locked.get(name) {
                    lock.sources.insert(name.clone(), source.clone());
                }
            }
        })?;
        if let Err(error) = store.add_gc_root(file.path()) {
            context.reporter.verbose(&format!("{} is not remembered: {error}", file.path().display()));
        }
        let names: Vec<_> =
            sources.keys().filter(|name| now.sources.get(*name) != locked.get(*name)).cloned().collect();
        if !names.is_empty() {
            let text = format!("locked source {} in {}", names.join(", "), file.path().display());
            context.reporter.warn(&text);
        }
        if sources.iter().all(|(name, source)| now.sources.get(name) == Some(source)) {
            return Ok(Present { sources, received });
        }
    }
}

/// Sees to it that the archives of what is `present` are in the store as well.
pub(in crate::commands) fn archives(
    context: &Context,
    store: &Store,
    definitions: &BTreeMap<String, SourceDefinition>,
    allowed: &Allowed,
    present: Present,
    lease: &mut Lease,
) -> Result<BTreeMap<String, lock::Source>, Error> {
    for (name, source) in &present.sources {
        let Some(definition) = definitions.get(name) else { continue };
        let maker = Maker::new(context, store, name, definition, allowed)?;
        if maker.archive(&source.digest).is_none() {
            maker.receive(Some(source.digest), lease, &mut Vec::new())?;
        }
    }
    Ok(present.sources)
}

/// One source, being made present.
struct Maker<'a> {
    context: &'a Context,
    store: &'a Store,
    name: &'a str,
    definition: &'a SourceDefinition,
    allowed: &'a Allowed,
    project: &'a Opened,
    patches: Vec<Vec<u8>>,
    digests: Vec<Digest>,
}

impl<'a> Maker<'a> {
    fn new(
        context: &'a Context,
        store: &'a Store,
        name: &'a str,
        definition: &'a SourceDefinition,
        allowed: &'a Allowed,
    ) -> Result<Self, Error> {
        let project = &context.project.as_ref().ok_or(ConsentError::NoProject)?.directory;
        let mut patches = Vec::new();
        for patch in &definition.patches {
            let place = ProjectPath::of(project.path(), Path::new(patch));
            let bytes = place.open(project, allowed).and_then(|file| regular::read(&file, MAX_PATCH));
            let failed = |source| SourceError::File { verb: "read", path: place.real(project.path()), source };
            patches.push(bytes.map_err(failed)?);
        }
        let digests = patches.iter().map(|patch| Digest::of(patch)).collect();
        Ok(Self { context, store, name, definition, allowed, project, patches, digests })
    }

    /// What the lock has of where it is found: nothing of this host.
    fn url(&self) -> Option<String> {
        Some(self.definition.origin.url()).filter(|url| !url.starts_with("file:")).map(str::to_owned)
    }

    fn commit(&self) -> Option<&str> {
        if let Origin::Git { commit, .. } = &self.definition.origin { Some(commit) } else { None }
    }

    /// Whether `known` comes from where the project says.
    fn is_from_here(&self, known: &lock::Source) -> bool {
        let same_commit = known.commit.as_deref() == self.commit();
        // A commit is the same wherever it is found; an archive, if its digest is said.
        same_commit && (known.commit.is_some() || self.definition.sha256.is_some() || known.url == self.url())
    }

    /// Whether `known` is what the project asks for.
    fn fits(&self, known: &lock::Source) -> bool {
        self.is_from_here(known)
            && self.definition.sha256.is_none_or(|digest| digest == known.digest)
            && self.definition.strip.is_none_or(|strip| strip == known.strip)
            && known.patches == self.digests
    }

    /// What the lock has; the URL may have changed.
    fn keep(&self, known: &lock::Source, lease: &mut Lease, received: &mut Vec<String>) -> Result<lock::Source, Error> {
        let source = lock::Source { url: self.url(), ..known.clone() };
        hold(lease, &source);
        if self.is_whole(&source) {
            return Ok(source);
        }
        let Some(_claim) = self.claim(Work::Source(source.key()), &|| self.store.has_source(&source.key())) else {
            return Ok(source);
        };
        let mut archive = match self.archive(&source.digest) {
            Some(archive) => archive,
            None => self.receive(Some(source.digest), lease, received)?.1,
        };
        self.unpack(&source, &mut archive)?;
        Ok(source)
    }

    /// The right to do what this source takes, unless another process does it meanwhile.
    fn claim(&self, work: Work, is_done: &dyn Fn() -> bool) -> Option<Claims> {
        let label = format!("source {}", self.name);
        self.store.claim(Job { work, label: &label, total: 0 }, self.context.reporter.as_ref(), is_done)
    }

    /// What the lock does not have.
    fn find(
        &self,
        known: Option<&lock::Source>,
        lease: &mut Lease,
        received: &mut Vec<String>,
    ) -> Result<lock::Source, Error> {
        let known = known.filter(|known| self.is_from_here(known)).map(|known| known.digest);
        let expected = self.definition.sha256.or(known);
        if let Some(digest) = expected {
            let mut needs = Closure::default();
            needs.blob(&lock::Source { digest, ..self.source(digest, 0, 0) }.blob());
            lease.add(&needs);
        }
        let (digest, mut archive) = self.present(expected, lease, received)?;
        let size = archive.metadata().map_err(|error| self.unreadable(&digest, error))?.len();
        let strip = match (self.definition.strip, self.commit()) {
            (Some(strip), _) => strip,
            (None, Some(_)) => 0,
            (None, None) => {
                source::strip_of(&mut archive, self.store.limits()).map_err(|error| self.not_unpacked(error))?
            }
        };
        let source = self.source(digest, size, strip);
        hold(lease, &source);
        if !self.is_whole(&source)
            && let Some(_claim) = self.claim(Work::Source(source.key()), &|| self.store.has_source(&source.key()))
        {
            self.unpack(&source, &mut archive)?;
        }
        Ok(source)
    }

    /// The archive: out of the store, else received.
    fn present(
        &self,
        expected: Option<Digest>,
        lease: &mut Lease,
        received: &mut Vec<String>,
    ) -> Result<(Digest, File), Error> {
        let here = |digest: Digest| Some((digest, self.archive(&digest)?));
        let Some(digest) = expected else { return self.receive(None, lease, received) };
        if let Some(here) = here(digest) {
            return Ok(here);
        }
        let path = self.store.blob_path(&digest);
        // One that is there is damaged, and has to be received again.
        let is_damaged = path.exists();
        let _claim = self.claim(Work::Blob(digest), &|| !is_damaged && path.exists());
        match here(digest) {
            Some(here) => Ok(here),
            None => self.receive(expected, lease, received),
        }
    }

    fn source(&self, digest: Digest, size: u64, strip: u32) -> lock::Source {
        let commit = self.commit().map(str::to_owned);
        lock::Source { url: self.url(), commit, digest, size, strip, patches: self.digests.clone() }
    }

    /// Whether the tree is there as it was unpacked. One of another boot is looked at once.
    fn is_whole(&self, source: &lock::Source) -> bool {
        let (store, key) = (self.store, source.key());
        if store.has_source(&key) {
            return true;
        }
        if store.source_tree(&key).is_none() || store.source_fault(&key).is_some() {
            return false;
        }
        store.mark_source_durable(&key);
        true
    }

    /// The archive in the store, if it is there and what it was.
    fn archive(&self, digest: &Digest) -> Option<File> {
        let mut file = File::open(self.store.blob_path(digest)).ok()?;
        let (found, _) = listing::hash(&mut file).ok()?;
        file.rewind().ok()?;
        if found != *digest {
            self.context
                .reporter
                .warn(&format!("source {}: the store's archive is damaged, and fetched anew", self.name));
        }
        (found == *digest).then_some(file)
    }

    fn receive(
        &self,
        digest: Option<Digest>,
        lease: &mut Lease,
        received: &mut Vec<String>,
    ) -> Result<(Digest, File), Error> {
        let Self { context, store, name, definition, allowed, .. } = *self;
        let (mirrors, git) = (&context.source_mirrors, &context.git);
        let search = Search { name, definition, digest, mirrors, project: self.project, allowed, git };
        if context.offline && !search.has_local_places()? {
            return Err(SourceError::Offline { name: name.to_owned() }.into());
        }
        received.push(name.to_owned());
        let incoming = network::run(context, async |client| {
            let client = Some(&client).filter(|_| !context.offline);
            Ok(source::download(&search, store, client, context.reporter.as_ref()).await?)
        })?;
        let (digest, size) = incoming.so_far();
        let mut needs = Closure::default();
        needs.blob(&self.source(digest, size, 0).blob());
        lease.add(&needs);
        incoming.commit(store)?;
        let path = store.blob_path(&digest);
        Ok((digest, File::open(&path).map_err(|error| self.unreadable(&digest, error))?))
    }

    fn unpack(&self, source: &lock::Source, archive: &mut File) -> Result<(), Error> {
        let stage = self.store.create_source()?;
        let unpacked = source::unpack(archive, source.strip, &self.patches, &stage.path(), self.store.limits());
        let unpacked = unpacked.map_err(|error| self.not_unpacked(error))?;
        self.store.commit_source(&stage, &source.key(), &unpacked.digest)?;
        let (name, entries) = (self.name, unpacked.entries);
        self.context.reporter.verbose(&format!("source {name}: unpacked {entries} entries, tree {}", unpacked.digest));
        Ok(())
    }

    fn not_unpacked(&self, source: source::UnpackError) -> SourceError {
        SourceError::Unpack { name: self.name.to_owned(), source }
    }

    fn unreadable(&self, digest: &Digest, source: std::io::Error) -> SourceError {
        SourceError::File { verb: "read", path: self.store.blob_path(digest), source }
    }
}

fn hold(lease: &mut Lease, source: &lock::Source) {
    let mut needs = Closure::default();
    needs.source(source);
    lease.add(&needs);
}
