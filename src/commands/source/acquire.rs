//! The acquisition of sources, of projects and toolchains: out of the store, else from their origin or a mirror, into the lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::path::Path;

use crate::commands::acquire::{Acquirer, Found, LockSession, Merged};
use crate::commands::prepare::Prepared;
use crate::commands::{Context, Error, Target, network};
use crate::consent::{Allowed, ConsentError, ProjectPath};
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::fs::regular;
use crate::lock::{self, Lock, LockFile, Package};
use crate::platform::Platform;
use crate::pypi::Requirement;
use crate::sandbox::{Bind, Isolation, Shared};
use crate::source::index::{self, FoundWheel, Query};
use crate::source::{self, Label, Search, SourceError};
use crate::store::{Claims, Job, Store, Work};
use crate::toolchain::{Origin, SourceDefinition};

/// Directory of sources inside the sandbox.
const SOURCES: &str = "/sources";
/// Longest patch read, in bytes.
const MAX_PATCH: u64 = 16 << 20;

type Definitions = BTreeMap<String, SourceDefinition>;
type Sources = BTreeMap<String, lock::Source>;

/// Acquires the sources of the project for a run; returns what is to be mounted. Notes in `prepared` if something was downloaded.
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
    let allowed = context.allow_sources(&project.sources)?;
    let mut acquirer = Acquirer::new(context, store, &mut prepared.lease);
    let sources = acquirer.sources(context.lock_file(target), &project.sources, Scope::Project, &allowed)?;
    if let Some(report) = acquirer.fetched {
        // The network was asked, or may have been.
        prepared.fetched.get_or_insert(report);
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
        let path = source.clone();
        Shared::new(Bind { source, target, read_only: true }).map_err(|source| Error::Volume { path, source })
    };
    let binds = sources.iter().map(bind).collect::<Result<_, _>>()?;
    prepared.sources = sources;
    Ok(binds)
}

/// Acquires the sources of the project, if any, for later.
pub(in crate::commands) fn fetch(context: &Context, store: &Store) -> Result<(), Error> {
    let Some(project) = context.project.as_ref().filter(|project| !project.sources.is_empty()) else { return Ok(()) };
    let mut lease = store.lease();
    let allowed = context.allow_sources(&project.sources)?;
    let mut acquirer = Acquirer::new(context, store, &mut lease);
    acquirer.sources(context.lock_of_project(project), &project.sources, Scope::Project, &allowed).map(drop)
}

/// A selection of the project's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Scope {
    /// All of them: the lock forgets others.
    Project,
    /// Some.
    Named,
}

impl<'a> Acquirer<'a> {
    /// Acquires sources, and adds them to the lock `file`. Files of the host are read as far as that is `allowed`.
    pub(in crate::commands) fn sources(
        &mut self,
        file: LockFile,
        definitions: &Definitions,
        scope: Scope,
        allowed: &Allowed,
    ) -> Result<Sources, Error> {
        let mut session = LockSession::open(self.context, self.store, file)?;
        loop {
            let locked = &session.lock.sources;
            let mut sources = Sources::new();
            for (name, definition) in definitions {
                let label = Label::of_project(name);
                let wanted = self.of_project(&label, definition, allowed)?;
                let source = self.source(wanted, locked.get(name), self.context.locked)?;
                let stale = || session.stale(format!("source {name}"));
                sources.insert(name.clone(), source.ok_or_else(stale)?);
            }
            let is_dropped = |name: &&String| scope == Scope::Project && !definitions.contains_key(*name);
            let dropped_sources = locked.keys().filter(is_dropped).cloned().collect();
            let is_new = |(name, source): &(&String, &lock::Source)| locked.get(*name) != Some(source);
            let new = sources.iter().filter(is_new).map(|(name, source)| (name.clone(), source.clone())).collect();
            let found = Found { lock: Lock { sources: new, ..Lock::default() }, dropped_sources, ..Found::default() };
            if found.is_empty() || self.context.locked {
                return Ok(sources);
            }
            let merged = session.merge(&found)?;
            session.add_gc_root();
            if merged == Merged::Ours {
                return Ok(sources);
            }
        }
    }

    /// A source of the project that is wanted. Its files are read as far as that is `allowed`.
    pub(in crate::commands) fn of_project<'w>(
        &self,
        label: &'w Label,
        definition: &'w SourceDefinition,
        allowed: &'w Allowed,
    ) -> Result<WantedSource<'w>, Error>
    where
        'a: 'w,
    {
        let project = &self.context.project.as_ref().ok_or(ConsentError::NoProject)?.directory;
        Ok(WantedSource { label, definition, project: Some(project), allowed, platform: Platform::host() })
    }

    /// Acquires one source: the `locked` one, if it fits its definition. `None` if it does not, and `only_locked`.
    pub(in crate::commands) fn source(
        &mut self,
        wanted: WantedSource<'_>,
        locked: Option<&lock::Source>,
        only_locked: bool,
    ) -> Result<Option<lock::Source>, Error> {
        let mut maker = Maker::new(self, wanted)?;
        match locked.filter(|locked| maker.fits(locked)) {
            Some(locked) => maker.keep(locked).map(Some),
            None if only_locked => Ok(None),
            None => maker.find(locked).map(Some),
        }
    }

    /// Downloads the archives of acquired `sources` that the store lacks.
    pub(in crate::commands) fn archives(
        &mut self,
        definitions: &Definitions,
        allowed: &Allowed,
        sources: &Sources,
    ) -> Result<(), Error> {
        for (name, source) in sources {
            let Some(definition) = definitions.get(name) else { continue };
            let label = Label::of_project(name);
            let wanted = self.of_project(&label, definition, allowed)?;
            self.archive(wanted, source)?;
        }
        Ok(())
    }

    /// Downloads the archive of an acquired source, if the store lacks it.
    pub(in crate::commands) fn archive(
        &mut self,
        wanted: WantedSource<'_>,
        source: &lock::Source,
    ) -> Result<(), Error> {
        let mut maker = Maker::new(self, wanted)?;
        if maker.archive(&source.digest).is_none() {
            maker.receive(Some(source.digest))?;
        }
        Ok(())
    }
}

/// A source that is wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct WantedSource<'a> {
    /// Its name in messages.
    pub(in crate::commands) label: &'a Label,
    pub(in crate::commands) definition: &'a SourceDefinition,
    /// The directory of the project that defines it; `None` for a definition of the user, and for hermes' own.
    pub(in crate::commands) project: Option<&'a Opened>,
    /// Files of the host that may be read for it.
    pub(in crate::commands) allowed: &'a Allowed,
    /// The platform of its programs, for packages of an index.
    pub(in crate::commands) platform: Platform,
}

/// The acquisition of one source.
struct Maker<'a, 'b> {
    acquirer: &'a mut Acquirer<'b>,
    context: &'b Context,
    store: &'b Store,
    wanted: WantedSource<'a>,
    patches: Vec<Vec<u8>>,
    digests: Vec<Digest>,
    /// The archive of files in the definition.
    inline: Option<Digest>,
}

impl<'a, 'b> Maker<'a, 'b> {
    fn new(acquirer: &'a mut Acquirer<'b>, wanted: WantedSource<'a>) -> Result<Self, Error> {
        let (context, store) = (acquirer.context, acquirer.store);
        let mut patches = Vec::new();
        for patch in &wanted.definition.patches {
            let project = wanted.project.ok_or(ConsentError::NoProject)?;
            let place = ProjectPath::of(project.path(), Path::new(patch));
            let bytes = place.open(project, wanted.allowed).and_then(|file| regular::read(&file, MAX_PATCH));
            let failed = |source| SourceError::File { verb: "read", path: place.real(project.path()), source };
            patches.push(bytes.map_err(failed)?);
        }
        let digests = patches.iter().map(|patch| Digest::of(patch)).collect();
        let inline = match &wanted.definition.origin {
            Origin::Files(files) => Some(Digest::of(&source::inline_archive(files))),
            _ => None,
        };
        Ok(Self { acquirer, context, store, wanted, patches, digests, inline })
    }

    /// The URL for the lock, which must not have paths of this host.
    fn url(&self) -> Option<String> {
        self.definition().origin.url().filter(|url| !url.starts_with("file:")).map(str::to_owned)
    }

    fn definition(&self) -> &'a SourceDefinition {
        self.wanted.definition
    }

    fn commit(&self) -> Option<&'a str> {
        if let Origin::Git { commit, .. } = &self.definition().origin { Some(commit) } else { None }
    }

    fn requirement(&self) -> Option<&'a Requirement> {
        if let Origin::Package(requirement) = &self.definition().origin { Some(requirement) } else { None }
    }

    /// The digest that the definition gives.
    fn given(&self) -> Option<Digest> {
        self.definition().sha256.or(self.inline)
    }

    /// Whether `known` has the origin that the definition has.
    fn is_from_here(&self, known: &lock::Source) -> bool {
        let is_same = known.commit.as_deref() == self.commit()
            && known.package.as_ref().map(|package| &package.requirement) == self.requirement();
        // A commit names its content wherever it is; an archive does if its digest is given.
        is_same && (known.commit.is_some() || self.given().is_some() || known.url == self.url())
    }

    /// Whether `known` fits the definition.
    fn fits(&self, known: &lock::Source) -> bool {
        self.is_from_here(known)
            && self.given().is_none_or(|digest| digest == known.digest)
            && self.definition().strip.is_none_or(|strip| strip == known.strip)
            && known.patches == self.digests
    }

    /// Acquires the locked source; its URL may have changed.
    fn keep(&mut self, known: &lock::Source) -> Result<lock::Source, Error> {
        let source = lock::Source { url: self.url(), ..known.clone() };
        self.acquirer.hold_source(&source);
        if self.is_whole(&source) {
            return Ok(source);
        }
        let Some(_claim) = self.claim(Work::Source(source.key()), &|| self.store.has_source(&source.key())) else {
            return Ok(source);
        };
        let mut archive = match self.archive(&source.digest) {
            Some(archive) => archive,
            None => self.receive(Some(source.digest))?.1,
        };
        self.unpack(&source, &mut archive)?;
        Ok(source)
    }

    /// A claim to the work, unless another process does it in the meantime.
    fn claim(&self, work: Work, is_done: &dyn Fn() -> bool) -> Option<Claims> {
        let label = format!("source {}", self.wanted.label);
        self.store.claim(Job { work, label: &label, total: 0 }, self.context.reporter.as_ref(), is_done)
    }

    /// Acquires a source that the lock lacks.
    fn find(&mut self, known: Option<&lock::Source>) -> Result<lock::Source, Error> {
        let known = known.filter(|known| self.is_from_here(known));
        let mut file = known.and_then(|known| known.package.as_ref()?.file.clone());
        let mut expected = self.given().or(known.map(|known| known.digest));
        if let (None, Some(requirement)) = (expected, self.requirement()) {
            let wheel = self.look_up(requirement)?;
            (file, expected) = (Some(wheel.file), wheel.sha256);
        }
        if let Some(digest) = expected {
            let source = self.source(digest, 0, 0, None);
            self.acquirer.hold_blob(&source.blob());
        }
        let (digest, mut archive) = self.present(expected)?;
        let size = archive.metadata().map_err(|error| self.unreadable(&digest, error))?.len();
        let strip = match (self.definition().strip, &self.definition().origin) {
            (Some(strip), _) => strip,
            // A tar of a commit or of files has no directory around all, nor has a wheel.
            (None, Origin::Git { .. } | Origin::Package(_) | Origin::Files(_)) => 0,
            (None, Origin::Url(_)) => {
                source::strip_of(&mut archive, self.store.limits()).map_err(|error| self.not_unpacked(error))?
            }
        };
        let source = self.source(digest, size, strip, file);
        self.acquirer.hold_source(&source);
        if !self.is_whole(&source)
            && let Some(_claim) = self.claim(Work::Source(source.key()), &|| self.store.has_source(&source.key()))
        {
            self.unpack(&source, &mut archive)?;
        }
        Ok(source)
    }

    /// The archive from the store, else downloaded.
    fn present(&mut self, expected: Option<Digest>) -> Result<(Digest, File), Error> {
        let Some(digest) = expected else { return self.receive(None) };
        if let Some(archive) = self.archive(&digest) {
            return Ok((digest, archive));
        }
        let path = self.store.blob_path(&digest);
        // One that is there is damaged, and has to be received again.
        let is_damaged = path.exists();
        let _claim = self.claim(Work::Blob(digest), &|| !is_damaged && path.exists());
        match self.archive(&digest) {
            Some(archive) => Ok((digest, archive)),
            None => self.receive(expected),
        }
    }

    /// The source in a lock; `file` is the name of a package's file.
    fn source(&self, digest: Digest, size: u64, strip: u32, file: Option<String>) -> lock::Source {
        let commit = self.commit().map(str::to_owned);
        let package = self.requirement().map(|requirement| Package { requirement: requirement.clone(), file });
        lock::Source { url: self.url(), commit, package, digest, size, strip, patches: self.digests.clone() }
    }

    /// Looks a package up in the indexes of the host's pip.
    fn look_up(&mut self, requirement: &Requirement) -> Result<FoundWheel, Error> {
        let Self { context, wanted: WantedSource { label, platform, .. }, .. } = *self;
        if context.offline {
            return Err(SourceError::Offline { name: label.clone() }.into());
        }
        self.acquirer.fetched.get_or_insert_default();
        let query = Query { label, requirement, platform, digest: None };
        network::run(context, async |client| {
            Ok(index::find(&query, &context.pip, &client, context.reporter.as_ref()).await?)
        })
    }

    /// Whether the unpacked tree is intact. A tree from another boot is verified once.
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

    /// The archive in the store, if it has the digest.
    fn archive(&self, digest: &Digest) -> Option<File> {
        let mut file = File::open(self.store.blob_path(digest)).ok()?;
        let (found, _) = Digest::of_reader(&mut file, &|_| ()).ok()?;
        file.rewind().ok()?;
        if found != *digest {
            self.context.reporter.warn(&format!(
                "source {}: the archive in the store is corrupt, downloading it again",
                self.wanted.label
            ));
        }
        (found == *digest).then_some(file)
    }

    fn receive(&mut self, digest: Option<Digest>) -> Result<(Digest, File), Error> {
        let Self { context, store, wanted, .. } = *self;
        let WantedSource { label, definition, project, allowed, platform } = wanted;
        let Context { source_mirrors: mirrors, git, pip, .. } = context;
        let search = Search { label, definition, digest, mirrors, platform, project, allowed, git, pip };
        if context.offline && !search.has_local_locations()? {
            return Err(SourceError::Offline { name: label.clone() }.into());
        }
        self.acquirer.fetched.get_or_insert_default();
        let incoming = network::run(context, async |client| {
            let client = Some(&client).filter(|_| !context.offline);
            Ok(source::download(&search, store, client, context.reporter.as_ref()).await?)
        })?;
        let (digest, size) = incoming.so_far();
        let received = self.source(digest, size, 0, None);
        self.acquirer.hold_blob(&received.blob());
        incoming.commit(store)?;
        let path = store.blob_path(&digest);
        Ok((digest, File::open(&path).map_err(|error| self.unreadable(&digest, error))?))
    }

    fn unpack(&self, source: &lock::Source, archive: &mut File) -> Result<(), Error> {
        let stage = self.store.create_source()?;
        let unpacked = source::unpack(archive, source.strip, &self.patches, &stage.path(), self.store.limits());
        let unpacked = unpacked.map_err(|error| self.not_unpacked(error))?;
        self.store.commit_source(&stage, &source.key(), &unpacked.digest)?;
        let (label, entries) = (self.wanted.label, unpacked.entries);
        self.context.reporter.verbose(&format!("source {label}: unpacked {entries} entries, tree {}", unpacked.digest));
        Ok(())
    }

    fn not_unpacked(&self, source: source::UnpackError) -> SourceError {
        SourceError::Unpack { name: self.wanted.label.clone(), source }
    }

    fn unreadable(&self, digest: &Digest, source: std::io::Error) -> SourceError {
        SourceError::File { verb: "read", path: self.store.blob_path(digest), source }
    }
}
