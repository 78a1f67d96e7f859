//! What a store consists of: the versions of its formats, its directories, and the other files at its top.

/// Version of the layout on disk.
pub(super) const VERSION: u32 = 1;
/// Version of the bundles that are written, `docs/bundles.md`.
pub(super) const BUNDLE_VERSION: &str = "1";
/// Content of `oci-layout`.
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Note that overlays are refused on this host, `host_limits`.
pub(super) const OVERLAY_REFUSED: &str = "overlay-refused";
/// Note that a sandbox gets no `binfmt_misc` of its own on this host, `host_limits`.
pub(super) const HANDLERS_REFUSED: &str = "handlers-refused";
/// Directory of the lock files whose images are kept, `gc_roots`.
pub(super) const GC_ROOTS: &str = "gcroots";
/// Name of [`GC_ROOTS`] in stores made before it was renamed: it is still read, and still written there.
pub(super) const OLD_GC_ROOTS: &str = "seen";

/// Directory of the records of runs.
pub(super) const RECORDS: &str = "records";

/// The directories of a store.
pub const DIRECTORIES: [&str; 13] = [
    "blobs",
    "blobs/sha256",
    "claims",
    GC_ROOTS,
    "layers",
    "leases",
    "partial",
    RECORDS,
    "refs",
    "roots",
    "sources",
    "tmp",
    "trash",
];
/// The directories that others may read, once the owner lets them into the store itself.
pub(super) const READABLE: [&str; 3] = ["blobs", "blobs/sha256", "refs"];
/// What else the top of a store may hold.
pub const FILES: [&str; 7] =
    ["VERSION", "oci-layout", "index.json", ".index.json.flock", OVERLAY_REFUSED, HANDLERS_REFUSED, OLD_GC_ROOTS];
/// What hermes accepts in a directory that becomes a store, besides its own files: the root of a fresh ext4 has it.
pub(super) const FOREIGN: &str = "lost+found";
