//! `run --output`: the digests of what a run made, and of the project that it made it from.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Stat, chmodat, fstat, mkdirat};
use rustix::io::Errno;

use crate::commands::OwnError;
use crate::compare::{ListError, Listing, Product};
use crate::digest::Digest;
use crate::fs::beneath::{self, Links};
use crate::fs::opened::Opened;
use crate::hint::{ErrorKind, Hint};
use crate::record::objects::TREES;
use crate::record::{Output, OutputDirectory};
use crate::store::Store;

/// Names in a project that are no inputs: git's own files, which change when they are read, and the lock, which the record has.
const NO_INPUTS: [&[u8]; 2] = [b".git", b"hermes.lock"];

/// Why outputs are not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// It is elsewhere than in the project.
    #[error("--output {path} is outside the project")]
    Outside {
        /// As asked.
        path: PathBuf,
    },
    /// It is not there.
    #[error("the command succeeded but did not create {path}, which --output names; no outputs are recorded")]
    Missing {
        /// From the top of the project.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot compute the digest of the outputs in {}", place.display())]
    Unread {
        /// The project.
        place: PathBuf,
        /// What, and why not.
        source: ListError,
    },
    /// It cannot be opened, or its listing not be kept.
    #[error("cannot list the files in {}", place.display())]
    Io {
        /// The project, or the records.
        place: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A stored listing is damaged.
    #[error("the stored listing {tree} is damaged")]
    BadListing {
        /// Its digest.
        tree: Digest,
        /// Which line.
        source: crate::compare::ParseListingError,
    },
}

impl OwnError for OutputError {}

impl Hint for OutputError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Outside { .. } => ErrorKind::Usage,
            Self::BadListing { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Outside { .. } => {
                vec!["give a path relative to the project, without '..': --output build/lib".into()]
            }
            Self::Missing { .. } => {
                vec!["name a path that the command creates in /work; outputs in other volumes are not recorded".into()]
            }
            Self::Unread { .. } => vec!["all outputs must be readable".into()],
            Self::Io { .. } | Self::BadListing { .. } => vec![],
        }
    }
}

/// Paths from the top of the project, without dots.
///
/// # Errors
/// One that leads elsewhere.
pub(super) fn inside(paths: &[PathBuf]) -> Result<Vec<PathBuf>, OutputError> {
    let inside = |path: &PathBuf| {
        let parts = path.components().filter(|part| *part != Component::CurDir);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let inside: PathBuf = parts.collect();
        if plain && !path.as_os_str().is_empty() {
            Ok(inside)
        } else {
            Err(OutputError::Outside { path: path.clone() })
        }
    };
    paths.iter().map(inside).collect()
}

/// The same where the project itself will not do.
///
/// # Errors
/// As [`inside`].
pub(super) fn checked(paths: &[PathBuf]) -> Result<Vec<PathBuf>, OutputError> {
    let inside = inside(paths)?;
    match inside.iter().position(|path| path.as_os_str().is_empty()) {
        Some(at) => Err(OutputError::Outside { path: paths[at].clone() }),
        None => Ok(inside),
    }
}

/// Lists what is in `project` before a run that is to make `outputs`.
///
/// # Errors
/// [`OutputError`].
pub(super) fn inputs(store: &Store, project: &Opened, outputs: &[PathBuf]) -> Result<Listing, OutputError> {
    let store = std::fs::metadata(store.root()).ok().map(|meta| (meta.dev(), meta.ino()));
    let is_output = |path: &[u8]| outputs.iter().any(|output| output.as_os_str().as_bytes() == path);
    let is_left_out = |path: &[u8], stat: &Stat| {
        NO_INPUTS.contains(&path) || is_output(path) || store == Some((stat.st_dev, stat.st_ino))
    };
    Ok(listing(project, Path::new(""), &is_left_out)?.unwrap_or_default())
}

/// Those of `outputs` that are directories of `project` before the run.
///
/// # Errors
/// [`OutputError::Io`].
pub(super) fn directories(project: &Opened, outputs: &[PathBuf]) -> Result<Vec<OutputDirectory>, OutputError> {
    let directory = |path: &PathBuf| match beneath::find(project, path, Links::Refuse).and_then(fstat) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
            Some(Ok(OutputDirectory { path: path.clone(), mode: stat.st_mode & 0o7777 }))
        }
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
        Err(source) => Some(Err(OutputError::Io { place: project.path().join(path), source: source.into() })),
    };
    outputs.iter().filter_map(directory).collect()
}

/// Makes `directories`, empty, in the copy `tree` of a project.
///
/// # Errors
/// The system's.
pub(super) fn make_directories(tree: &Path, directories: &[OutputDirectory]) -> io::Result<()> {
    let tree = Opened::directory(tree)?;
    let mut directories: Vec<_> = directories.iter().collect();
    // One in another comes after it.
    directories.sort_by_key(|directory| &directory.path);
    for OutputDirectory { path, mode } in directories {
        // The record may be of another project; nothing is made through its links.
        let inside = beneath::plain(path);
        let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else { continue };
        let parent = match beneath::find(&tree, parent, Links::Refuse) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            parent => parent?,
        };
        match mkdirat(&parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => {
                made?;
                chmodat(&parent, name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
            }
        }
    }
    Ok(())
}

/// Lists what a run made at `output` in `project`.
///
/// # Errors
/// [`OutputError`].
pub(super) fn output(project: &Opened, output: &Path) -> Result<Listing, OutputError> {
    listing(project, output, &|_, _| false)?.ok_or_else(|| OutputError::Missing { path: output.to_owned() })
}

fn listing(
    project: &Opened,
    top: &Path,
    is_left_out: &dyn Fn(&[u8], &Stat) -> bool,
) -> Result<Option<Listing>, OutputError> {
    let place = || project.path().to_owned();
    let product = Product::open(&project.reach(), None).map_err(|source| OutputError::Io { place: place(), source })?;
    Listing::take(&product, top, is_left_out).map_err(|source| OutputError::Unread { place: place(), source })
}

/// Keeps a listing beside the records, and gives its digest.
///
/// # Errors
/// [`OutputError::Io`].
pub(super) fn keep(store: &Store, listing: &Listing) -> Result<Digest, OutputError> {
    let text = listing.render();
    let (digest, place) = (Digest::of(text.as_bytes()), store.records());
    match TREES.keep(&place, &digest, text.as_bytes()) {
        Ok(()) => Ok(digest),
        Err(source) => Err(OutputError::Io { place, source }),
    }
}

/// Such a listing again.
///
/// # Errors
/// It is not there, or is not what was kept.
pub(super) fn kept(store: &Store, tree: &Digest) -> Result<Listing, crate::commands::Error> {
    let bytes = TREES.read(&store.records(), tree)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Listing::parse(&text).map_err(|source| OutputError::BadListing { tree: *tree, source })?)
}

/// Digests of `outputs` after the run, for the record.
///
/// # Errors
/// [`OutputError`].
pub(super) fn made(store: &Store, project: &Opened, outputs: &[PathBuf]) -> Result<Vec<Output>, OutputError> {
    let made = |path: &PathBuf| {
        let listing = output(project, path)?;
        let (files, bytes) = listing.room();
        Ok(Output { path: path.clone(), tree: keep(store, &listing)?, files, bytes })
    };
    outputs.iter().map(made).collect()
}
