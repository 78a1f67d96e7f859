//! The store on disk: blobs, unpacked layers, references.
//!
//! ```text
//! VERSION                          which of these pictures the store is
//! oci-layout index.json            with blobs/, a plain OCI image layout
//! blobs/sha256/<hex>               bytes as they came; 0444, programs 0555
//! layers/<diff_id hex>/fs toc done an unpacked layer; see `layer`
//! roots/<chain_id hex>/fs done     layers merged into one tree; see `roots`
//! sources/<key>/fs tree done        an unpacked source; see `sources`
//! refs/<hex of the name>.json      what a name means
//! claims/                          what running processes make for all; see `claim`
//! leases/                          what running processes need; see `lease`
//! gcroots/<sha256 of the path>     lock files whose images are kept; see `gc_roots`
//! records/                         what runs did; see `record`
//! partial/<hex>                    blobs that came in part; see `partial`
//! overlay-refused                  overlays are refused here; see `host_limits`
//! handlers-refused                 the same for a `binfmt_misc` of the sandbox's own
//! tmp/ trash/                      on the way in, on the way out
//! ```
//!
//! Everything is made in `tmp/` and appears by one rename, whole; what a reference needs is there
//! before the reference. A crash leaves only litter in `tmp/`, `trash/` or `leases/`, which later runs
//! clear, and in `partial/` what the next pull goes on from. Who reads takes a lease before, so that
//! nobody who removes things (`gc`, `prune`) takes away what is read. `docs/store.md` says more.

mod blob;
mod bundle;
mod claim;
mod closure;
mod composed;
mod durability;
mod error;
mod export;
mod gc;
mod gc_roots;
mod handle;
mod host_limits;
mod import;
mod layers;
mod layout;
mod lease;
mod objects;
mod opening;
mod partial;
mod prune;
mod refs;
mod roots;
mod sources;
mod staging;
mod totals;
mod usage;
mod verify;

pub(crate) use blob::{BlobWriter, Incoming};
pub(crate) use bundle::{Form, Part};
pub(crate) use claim::{Claims, Job, Work};
pub(crate) use closure::Closure;
pub use error::StoreError;
pub(crate) use gc::{Budget, Collected, GcRoot};
pub use handle::Store;
pub(crate) use layers::LayerStage;
pub use layout::{DIRECTORIES, FILES};
pub(crate) use lease::Lease;
pub(crate) use prune::Pruned;
pub(crate) use staging::TempDir;
pub(crate) use totals::Totals;
pub(crate) use usage::DiskUsage;
pub(crate) use verify::{Treatment, Verified};

#[cfg(test)]
mod tests;
