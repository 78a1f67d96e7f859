//! The context of every verb: its settings, and the store, lock and target that follow from them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commands::Error;
use crate::consent::{Consent, ConsentError};
use crate::layer::Limits;
use crate::lock::{Build, Epoch, Feature, Lock, LockFile};
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::record::{Target, TargetSelector};
use crate::registry;
use crate::sandbox;
use crate::size::Size;
use crate::source::{self, GitHost, PipHost};
use crate::store::Store;
use crate::toolchain::{Catalog, Project};

/// Toolchain used where neither the user nor a project names one.
const DEFAULT_TOOLCHAIN: &str = "debian";

/// Settings, resolved once from arguments, environment and files.
#[derive(Clone)]
pub(crate) struct Context {
    /// Directory of the store.
    pub store: PathBuf,
    /// Site stores: read-only, searched before the network.
    pub sites: Vec<PathBuf>,
    /// Directory of the locks of toolchains used outside any project.
    pub locks: PathBuf,
    /// A lock file named by the user.
    pub lock: Option<LockFile>,
    /// The build environment that replaces the project's.
    pub build: Option<Build>,
    /// The current directory, or the number of the system's error.
    pub here: Result<PathBuf, i32>,
    /// What the user allows a project beyond its directory.
    pub consent: Arc<Consent>,
    /// The project of the current directory.
    pub project: Option<Project>,
    /// All toolchains.
    pub catalog: Catalog,
    /// Emulators named by the user.
    pub emulators: BTreeMap<Platform, PathBuf>,
    /// Directories that are searched for emulators.
    pub search: Vec<PathBuf>,
    /// Proxies of the caller, for commands with the host's network.
    pub proxies: CallerProxies,
    /// The parts of the host that git gets when it fetches sources.
    pub git: GitHost,
    /// Where the host's pip has its settings, for packages of an index.
    pub pip: PipHost,
    /// Settings for registries.
    pub registry: registry::Settings,
    /// Mirrors of the archives of sources, for all projects.
    pub source_mirrors: Vec<String>,
    /// Addresses of archives of Debian packages, for toolchains that name none.
    pub debian_mirrors: Vec<String>,
    /// Network access is disabled.
    pub offline: bool,
    /// This process was executed again after a download: what could not be downloaded was reported before.
    pub reexecuted: bool,
    /// The lock may not change.
    pub locked: bool,
    /// Features that a run requires, and so the scripts of packages that are composed for it, besides those of the project.
    pub required: Vec<Feature>,
    /// How many layers are downloaded at a time, at most [`crate::fetch::MAX_JOBS`].
    pub jobs: usize,
    /// Bytes that a layer or an archive may unpack to, however small it is itself; `None` for the default limit.
    pub unpack_limit: Option<Size>,
    /// Receives progress.
    pub reporter: Arc<dyn Reporter>,
}

/// Proxies of the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallerProxies {
    /// Names of variables and their values.
    pub variables: Vec<(OsString, OsString)>,
    /// Whether commands get them.
    pub are_passed_on: bool,
}

impl Context {
    /// The current directory.
    ///
    /// # Errors
    /// [`Error::WorkDirectory`], as where it was removed.
    pub(crate) fn here(&self) -> Result<&Path, Error> {
        let error = |error: &i32| Error::WorkDirectory { source: io::Error::from_raw_os_error(*error) };
        self.here.as_deref().map_err(error)
    }

    /// The current directory, or the root where there is none.
    #[must_use]
    pub(crate) fn directory(&self) -> &Path {
        self.here.as_deref().unwrap_or(Path::new("/"))
    }

    /// Absolute paths for those of the command line. They need not exist.
    pub(crate) fn absolute(&self, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
        let here = self.here()?;
        Ok(paths.into_iter().map(|path| here.join(path)).collect())
    }

    /// Opens the store.
    pub(crate) fn open_store(&self) -> Result<Store, Error> {
        Ok(self.limited(Store::open(&self.store)?))
    }

    /// Opens the store if there is one.
    pub(crate) fn existing_store(&self) -> Result<Option<Store>, Error> {
        Ok(Store::open_existing(&self.store)?.map(|store| self.limited(store)))
    }

    fn limited(&self, store: Store) -> Store {
        match self.unpack_limit {
            Some(Size(bytes)) => store.with_limits(Limits::unpacking_to(bytes)),
            None => store,
        }
    }

    /// The target: by the user's options, else the project's, else the defaults.
    pub(crate) fn choose(&self, selector: TargetSelector) -> Result<Target, Error> {
        let project = self.project.as_ref();
        let platform = selector.platform.or_else(|| project?.platform).unwrap_or_else(Platform::host);
        if let Some(reference) = selector.image {
            let target = Target { label: selector.image_platform, ..Target::image(reference, platform) };
            if !target.is_foreign() {
                return Ok(target);
            }
            // An image does not name its emulator.
            let (emulator, archive) = self.catalog.emulator(&self.toolchain(None), platform)?;
            return Ok(Target { emulator, archive, ..target });
        }
        let name = self.toolchain(selector.toolchain);
        let target = self.catalog.target(&name, platform)?;
        Ok(Target {
            toolchain: Some(name),
            platform,
            reference: target.reference,
            image_platform: target.image_platform,
            label: selector.image_platform,
            emulator: target.emulator,
            native: target.native,
            packages: target.packages,
            archive: target.archive,
            additions: target.additions,
        })
    }

    /// The toolchain: the one named, else the project's, else the default.
    #[must_use]
    pub(crate) fn toolchain(&self, named: Option<String>) -> String {
        let of_project = || self.project.as_ref()?.toolchain.clone();
        named.or_else(of_project).unwrap_or_else(|| DEFAULT_TOOLCHAIN.to_owned())
    }

    /// The build environment.
    #[must_use]
    pub(crate) fn build(&self) -> Build {
        let of_project = || self.project.as_ref().map(|project| project.build.clone()).unwrap_or_default();
        self.build.clone().unwrap_or_else(|| Build::new(&of_project(), sandbox::POLICY_DIGEST))
    }

    /// The same for a run that requires these features.
    #[must_use]
    pub(crate) fn requiring(&self, features: &[Feature]) -> Cow<'_, Self> {
        if features.is_empty() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { required: features.to_vec(), ..self.clone() })
    }

    /// The features that every sandbox must have: those of the project, and those of the run.
    #[must_use]
    pub(crate) fn required(&self) -> Vec<Feature> {
        self.build().require.into_iter().chain(self.required.iter().copied()).collect()
    }

    /// The build environment of a project with this `lock`, which keeps the defaults it was made with.
    #[must_use]
    pub(crate) fn build_by(&self, lock: &Lock) -> Build {
        let wanted = self.project.as_ref().map(|project| project.build.clone()).unwrap_or_default();
        match self.build {
            Some(_) => self.build(),
            None => self.build().keeping(&wanted, lock.build.as_ref()),
        }
    }

    /// Replaces `epoch = "git"` by the time of the last commit.
    pub(super) fn at_last_commit(&self, build: Build) -> Result<Build, Error> {
        let epoch = match build.epoch {
            Epoch::Seconds(seconds) => seconds,
            Epoch::Commit => {
                let project = self.project.as_ref().ok_or(ConsentError::NoProject)?;
                source::commit_time(&self.git, &project.directory)?
            }
        };
        Ok(Build { epoch: Epoch::Seconds(epoch), ..build })
    }

    /// The lock file for `target`: the one named by the user, else the project's, else one that is kept for the toolchain or for
    /// the image.
    #[must_use]
    pub(crate) fn lock_file(&self, target: &Target) -> LockFile {
        match &target.toolchain {
            Some(toolchain) => self.lock_of(toolchain),
            None => self.shared_lock().unwrap_or_else(|| LockFile::of_image(&self.locks, &target.reference)),
        }
    }

    /// The lock file for a toolchain.
    #[must_use]
    pub(crate) fn lock_of(&self, toolchain: &str) -> LockFile {
        self.shared_lock().unwrap_or_else(|| LockFile::own(self.locks.join(format!("{toolchain}.lock"))))
    }

    /// The lock file of `project`, unless the user names another one.
    #[must_use]
    pub(crate) fn lock_of_project(&self, project: &Project) -> LockFile {
        self.lock.clone().unwrap_or_else(|| LockFile::of(&project.directory))
    }

    /// The lock file for all toolchains and images: the one named by the user, else the project's.
    #[must_use]
    pub(crate) fn shared_lock(&self) -> Option<LockFile> {
        self.lock.clone().or_else(|| Some(self.lock_of_project(self.project.as_ref()?)))
    }
}
