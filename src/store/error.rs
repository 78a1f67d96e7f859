//! Errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::space;
use crate::fs::trust::Distrust;
use crate::hint::{ErrorKind, Hint};
use crate::layer::{LayerError, TocError};
use crate::lock::LockError;
use crate::oci::DocumentError;
use crate::store::layout::{BUNDLE_VERSION, VERSION};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        source: io::Error,
    },
    /// Another user can change the store or a part of it, or a part is of the wrong type.
    #[error("{} cannot be used in a store", path.display())]
    Distrusted {
        /// The store, or the file or directory in it.
        path: PathBuf,
        source: Distrust,
    },
    /// Another user can rename the store.
    #[error("other users can rename the store, because it is in {}", path.display())]
    Surroundings {
        /// A directory above the store.
        path: PathBuf,
        source: Distrust,
    },
    /// The store has the format of another version of hermes, or its `VERSION` is damaged.
    #[error("unsupported store version '{found}' in {}: this hermes reads version {VERSION}", path.display())]
    Version {
        /// The file `VERSION`.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A directory with other things in it.
    #[error("{} is not a store: it contains '{found}' and no file VERSION", path.display())]
    NotAStore {
        path: PathBuf,
        /// What does not belong there.
        found: String,
    },
    /// A download needs more space than there is.
    #[error("cannot download {needed} bytes: the disk of the store {} has space for only {left}", root.display())]
    NoRoom {
        root: PathBuf,
        /// What is to come, in bytes.
        needed: u64,
        /// What may be written, in bytes; a reserve is left.
        left: u64,
    },
    /// A blob that is not there.
    #[error("the store does not have the blob {0}")]
    Missing(Digest),
    /// A document longer than hermes reads.
    #[error("the document {digest} is too large: {size} bytes, the limit is {limit}")]
    TooLong {
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The longest accepted.
        limit: u64,
    },
    /// A blob of the store is not what its name says.
    #[error("the blob {} is damaged: its digest is {actual}", path.display())]
    Corrupt {
        path: PathBuf,
        /// What its name promises.
        expected: Digest,
        /// What is in it.
        actual: Digest,
    },
    /// Bytes that came are not those that were promised.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    Mismatch {
        expected: Digest,
        /// That of what came.
        actual: Digest,
    },
    /// More or fewer bytes came than were promised.
    #[error("size mismatch for {digest}: expected {expected} bytes, got {actual}")]
    Size {
        digest: Digest,
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack the layer {digest}")]
    Layer { digest: Digest, source: LayerError },
    /// The blob is what it should be, but not the tar in it: the image contradicts itself.
    #[error("diff_id mismatch for the layer {digest}: expected {expected}, got {actual}")]
    DiffId {
        digest: Digest,
        /// The `diff_id` the image config gives.
        expected: Digest,
        /// That of the tar in the blob.
        actual: Digest,
    },
    /// What an unpacked layer has in it is not known.
    #[error("the layer {} is damaged", layer.display())]
    Toc { layer: PathBuf, source: TocError },
    /// Layers cannot be merged.
    #[error("cannot merge layers into {}", root.display())]
    Merge {
        /// What was to be made.
        root: PathBuf,
        source: LayerError,
    },
    /// Layers that make no tree together.
    #[error("cannot merge the layers of the image")]
    Layers { source: LayerError },
    /// Not a bundle at all.
    #[error("{} is not a bundle: {why}", path.display())]
    NotABundle { path: PathBuf, why: &'static str },
    /// A bundle of a hermes that this one does not follow.
    #[error("the bundle {} has version {found}; this hermes reads version {BUNDLE_VERSION}", path.display())]
    BundleVersion {
        path: PathBuf,
        /// The version it says.
        found: String,
    },
    /// The lock that a bundle was made of cannot be followed.
    #[error("cannot read the lockfile in the bundle {}", path.display())]
    BundleLock { path: PathBuf, source: Box<LockError> },
    /// Bytes of a bundle that are not what they were when it was made.
    #[error("the bundle {} is damaged: {what}", path.display())]
    Bundle {
        path: PathBuf,
        /// What of it, and how.
        what: String,
    },
    /// A layer was to be published before it was unpacked.
    #[error("the layer {0} is not unpacked")]
    Unfinished(Digest),
    /// A file in `refs/` is not valid.
    #[error("invalid reference file {}", path.display())]
    Ref { path: PathBuf, source: serde_json::Error },
    /// The lease of a running process is damaged, or of a newer version.
    #[error("cannot read the lease {} of a running hermes", path.display())]
    Lease { path: PathBuf },
    /// A file in `gcroots/` does not contain the path that it is named for.
    #[error("invalid GC root {}: it does not contain the path of the lockfile that it is named for", path.display())]
    GcRoot { path: PathBuf },
    /// A lock file that was used with the store cannot be read.
    #[error("cannot determine what the lockfile {} needs in the store", path.display())]
    Lock { path: PathBuf, source: Box<LockError> },
    /// The file system of the store has no locks.
    #[error("cannot determine what is in use: the file system of {} does not support locks (flock)", path.display())]
    NoLocks {
        /// Where one was wanted.
        path: PathBuf,
    },
    /// An index, manifest or config is not valid.
    #[error("invalid document {digest}")]
    Document { digest: Digest, source: DocumentError },
    /// What was to be imported is no OCI image layout, nor an archive that Docker writes.
    #[error("{} is not an image archive or layout: {why}", path.display())]
    NotALayout {
        /// What was to be imported.
        path: PathBuf,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// A file of what was to be imported is not valid.
    #[error("invalid {file} in the image archive or layout {}", path.display())]
    BadFile {
        /// What was to be imported.
        path: PathBuf,
        /// The file in it.
        file: &'static str,
        source: DocumentError,
    },
    /// An archive cannot be read.
    #[error("cannot read the archive {}", path.display())]
    Archive { path: PathBuf, source: LayerError },
    /// The images of a layout do not say how they are called, or not clearly.
    #[error("cannot name the images in {}: {why}", path.display())]
    Nameless {
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// A layout lacks a part of an image it has.
    #[error("{} is incomplete: the image {image} needs {digest}", path.display())]
    Incomplete {
        path: PathBuf,
        /// What is missing.
        digest: Digest,
        /// The index or manifest that needs it.
        image: Digest,
    },
}

impl StoreError {
    /// The lock file at `path` cannot be read.
    pub(super) fn lock(path: &Path, source: io::Error) -> Self {
        let source = Box::new(LockError::Read { path: path.to_owned(), source });
        Self::Lock { path: path.to_owned(), source }
    }

    /// For `map_err`: a system call on `path` failed, or the path is not to be trusted.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| {
            let (path, source) = (path.to_owned(), source.into());
            match Distrust::of(&source) {
                Some(source) => Self::Distrusted { path, source },
                None => Self::Io { action, path, source },
            }
        }
    }
}

impl Hint for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            // No hermes ever wrote that.
            Self::Version { found, .. } if found.parse::<u32>().is_ok_and(|number| number > 0) => ErrorKind::Failed,
            Self::Io { .. }
            | Self::NoRoom { .. }
            | Self::Distrusted { .. }
            | Self::Surroundings { .. }
            | Self::NotAStore { .. }
            | Self::Lease { .. }
            | Self::Lock { .. }
            | Self::NoLocks { .. } => ErrorKind::Failed,
            Self::Missing(_) => ErrorKind::Unavailable,
            Self::Layer { source, .. }
            | Self::Archive { source, .. }
            | Self::Merge { source, .. }
            | Self::Layers { source } => source.kind(),
            Self::Toc { source, .. } => source.kind(),
            Self::Nameless { .. } => ErrorKind::Usage,
            Self::Unfinished(_) => ErrorKind::Internal,
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Io { source, .. } => space::hints(source),
            Self::NoRoom { .. } => space::hints(&io::ErrorKind::StorageFull.into()),
            Self::Distrusted { path, source } => {
                let mut hints = source.hints(path);
                hints.push("or use another store, in a directory of your own: HERMES_STORE=DIRECTORY".into());
                hints
            }
            Self::Surroundings { path, .. } => vec![
                format!("set the sticky bit, so that others can only remove their own files: chmod +t {}", path.display()),
                "or put the store elsewhere: HERMES_STORE=DIRECTORY".into(),
            ],
            Self::Version { path, .. } => vec![
                "use the hermes that wrote it, or another store: HERMES_STORE=DIRECTORY".into(),
                format!("if no other hermes was used with it, the file is damaged: echo {VERSION} > {}", path.display()),
            ],
            Self::NotAStore { .. } => vec!["set HERMES_STORE to an empty directory or a path that does not exist".into()],
            Self::Missing(_) => vec!["download it with 'hermes pull'".into()],
            Self::Corrupt { .. } | Self::Ref { .. } | Self::GcRoot { .. } => {
                vec!["remove damaged files with 'hermes verify', then pull the image again".into()]
            }
            Self::Lease { .. } => vec!["try again when no other hermes uses the store".into()],
            Self::Lock { path, .. } => {
                let path = path.display();
                vec![format!("restore or remove {path}"), format!("or stop keeping its images: hermes gc --forget {path}")]
            }
            Self::NoLocks { .. } => vec![
                "put the store on a local file system: HERMES_STORE=DIRECTORY".into(),
                "or, while no hermes uses it, remove images with 'hermes rm'".into(),
            ],
            Self::Toc { layer, .. } => vec![format!("remove {} and run the same command again", layer.display())],
            Self::Layer { source, .. } | Self::Merge { source, .. } | Self::Layers { source } => source.hints(),
            Self::Archive { source, .. } if source.kind() == ErrorKind::Failed => source.hints(),
            Self::Archive { .. } | Self::NotALayout { .. } | Self::BadFile { .. } => vec![
                "make one with 'docker save -o FILE NAME', 'podman save -o FILE NAME', 'skopeo copy … oci:DIRECTORY:NAME' or 'docker buildx build --output type=oci,dest=FILE'"
                    .into(),
            ],
            Self::NotABundle { .. } => vec!["make one with 'hermes bundle create FILE'".into()],
            Self::BundleVersion { .. } => vec!["use the version of hermes that wrote it, or a newer one".into()],
            Self::BundleLock { source, .. } => source.hints(),
            Self::Bundle { .. } => vec!["copy the bundle again; nothing was loaded from it".into()],
            Self::Nameless { .. } => vec!["name the image: hermes import --name NAME:TAG …".into()],
            Self::Incomplete { .. } => vec!["export the image again, with all its layers".into()],
            _ => vec![],
        }
    }
}
