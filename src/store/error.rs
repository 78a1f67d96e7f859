//! Why the store cannot do something.

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

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else can change the store or a part of it, or a part is not what hermes put there.
    #[error("{} cannot be used in a store", path.display())]
    Distrusted {
        /// The store, or the file or directory in it.
        path: PathBuf,
        /// Why.
        source: Distrust,
    },
    /// Others can rename the store.
    #[error("other users can move the store away: it lies in {}", path.display())]
    Surroundings {
        /// A directory above the store.
        path: PathBuf,
        /// Why.
        source: Distrust,
    },
    /// Written by a hermes that keeps its store in another way, or damaged.
    #[error("the store has version '{found}' by {}; this hermes knows version {VERSION}", path.display())]
    Version {
        /// The file `VERSION`.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A directory with other things in it.
    #[error("{} is not a store: it has '{found}' in it, and no VERSION", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What does not belong there.
        found: String,
    },
    /// What is to come needs more room than there is.
    #[error("the download takes {needed} bytes, but the disk of the store {} can take only {left}", root.display())]
    NoRoom {
        /// The store.
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
    #[error("the document {digest} has {size} bytes; at most {limit} are read")]
    TooLong {
        /// The document.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The longest accepted.
        limit: u64,
    },
    /// A blob of the store is not what its name says.
    #[error("the blob {} is damaged: its content is {actual}", path.display())]
    Corrupt {
        /// The blob.
        path: PathBuf,
        /// What its name promises.
        expected: Digest,
        /// What is in it.
        actual: Digest,
    },
    /// Bytes that came are not those that were promised.
    #[error("the content should be {expected} but is {actual}")]
    Mismatch {
        /// The digest promised.
        expected: Digest,
        /// That of what came.
        actual: Digest,
    },
    /// More or fewer bytes came than were promised.
    #[error("{digest} should have {expected} bytes but has {actual}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The size promised.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack the layer {digest}")]
    Layer {
        /// Its blob.
        digest: Digest,
        /// Why.
        source: LayerError,
    },
    /// The blob is what it should be, but not the tar in it: the image contradicts itself.
    #[error("the layer {digest} should unpack to {expected} but unpacks to {actual}")]
    DiffId {
        /// Its blob.
        digest: Digest,
        /// The `diff_id` the image config gives.
        expected: Digest,
        /// That of the tar in the blob.
        actual: Digest,
    },
    /// What an unpacked layer has in it is not known.
    #[error("the layer {} is damaged", layer.display())]
    Toc {
        /// Its directory.
        layer: PathBuf,
        /// Why.
        source: TocError,
    },
    /// Layers cannot be merged.
    #[error("cannot merge layers into {}", root.display())]
    Merge {
        /// What was to be made.
        root: PathBuf,
        /// Why.
        source: LayerError,
    },
    /// Layers that make no tree together.
    #[error("the layers of the image do not fit together")]
    Layers {
        /// Why.
        source: LayerError,
    },
    /// Not a bundle at all.
    #[error("{} is not a bundle: {why}", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A bundle of a hermes that this one does not follow.
    #[error("the bundle {} has version {found}; this hermes reads version {BUNDLE_VERSION}", path.display())]
    BundleVersion {
        /// The bundle.
        path: PathBuf,
        /// The version it says.
        found: String,
    },
    /// The lock that a bundle was made of cannot be followed.
    #[error("the lock in the bundle {} cannot be read", path.display())]
    BundleLock {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: Box<LockError>,
    },
    /// Bytes of a bundle that are not what they were when it was made.
    #[error("the bundle {} is damaged: {what}", path.display())]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// What of it, and how.
        what: String,
    },
    /// A layer was to be published before it was unpacked.
    #[error("the layer {0} is not unpacked")]
    Unfinished(Digest),
    /// A file in `refs/` is not valid.
    #[error("the reference {} is not valid", path.display())]
    Ref {
        /// The file.
        path: PathBuf,
        /// The parser's complaint.
        source: serde_json::Error,
    },
    /// A file in `leases/` of a process that runs is not one that this hermes can read.
    #[error("what a running hermes needs of the store is not known: cannot read {}", path.display())]
    Lease {
        /// The lease.
        path: PathBuf,
    },
    /// A file in `gcroots/` does not have the path that it is named for.
    #[error("{} does not name the lock file that it was made for", path.display())]
    GcRoot {
        /// The file.
        path: PathBuf,
    },
    /// A lock file that was used with the store cannot be read.
    #[error("what the lock file {} needs of the store is not known", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: Box<LockError>,
    },
    /// The file system of the store has no locks.
    #[error("nobody can tell what is in use in this store: there are no locks (flock) on the file system of {}", path.display())]
    NoLocks {
        /// Where one was wanted.
        path: PathBuf,
    },
    /// An index, manifest or config is not valid.
    #[error("the document {digest} is not valid")]
    Document {
        /// The document.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// What was to be imported is no OCI image layout, nor an archive that Docker writes.
    #[error("{} is not an image archive or layout: {why}", path.display())]
    NotALayout {
        /// What was to be imported.
        path: PathBuf,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// A file of what was to be imported is not valid.
    #[error("{} is not an image archive or layout: its {file} is not valid", path.display())]
    BadFile {
        /// What was to be imported.
        path: PathBuf,
        /// The file in it.
        file: &'static str,
        /// Why.
        source: DocumentError,
    },
    /// An archive cannot be read.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
    /// The images of a layout do not say how they are called, or not clearly.
    #[error("{} does not say what to call its images: {why}", path.display())]
    Nameless {
        /// The layout.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// A layout lacks a part of an image it has.
    #[error("{} lacks {digest}, a part of the image {image}", path.display())]
    Incomplete {
        /// The layout.
        path: PathBuf,
        /// What is missing.
        digest: Digest,
        /// The index or manifest that needs it.
        image: Digest,
    },
}

impl StoreError {
    /// The lock file at `path` cannot be looked at.
    pub(super) fn lock(path: &Path, source: io::Error) -> Self {
        let source = Box::new(LockError::Io { verb: "read", path: path.to_owned(), source });
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
                format!("let others only remove their own files there: chmod +t {}", path.display()),
                "or put the store elsewhere: HERMES_STORE=DIRECTORY".into(),
            ],
            Self::Version { path, .. } => vec![
                "use the hermes that wrote it, or another store: HERMES_STORE=DIRECTORY".into(),
                format!("if no other hermes was used with it, the file is damaged: echo {VERSION} > {}", path.display()),
            ],
            Self::NotAStore { .. } => vec!["set HERMES_STORE to an empty directory, or to one yet to be made".into()],
            Self::Missing(_) => vec!["get it with 'hermes pull'".into()],
            Self::Corrupt { .. } | Self::Ref { .. } | Self::GcRoot { .. } => {
                vec!["'hermes verify' takes what is damaged out of the store; then pull the image again".into()]
            }
            Self::Lease { .. } => vec!["try again when no other hermes uses the store".into()],
            Self::Lock { path, .. } => {
                let path = path.display();
                vec![format!("restore or remove {path}"), format!("or let its images go: hermes gc --forget {path}")]
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
            Self::Bundle { .. } => vec!["copy it again from where it was made; nothing of it was taken".into()],
            Self::Nameless { .. } => vec!["name the image: hermes import --name NAME:TAG …".into()],
            Self::Incomplete { .. } => vec!["export the image again, with all its layers".into()],
            _ => vec![],
        }
    }
}
