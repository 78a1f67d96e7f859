//! Unpacking of layers: a hostile tar becomes a tree on disk.
//!
//! A layer blob is decompressed, hashed, read strictly and written below one directory as a tree
//! that overlayfs can take as it is; what cannot be put on disk by an ordinary user (owners, devices,
//! setuid bits, privileged xattrs) goes into the [`Toc`]. `docs/store.md` describes both.

mod archive;
mod assembly;
mod check;
mod compress;
mod decode;
mod error;
mod header;
mod input;
mod limits;
mod lookahead;
mod merge;
mod monitor;
mod path;
mod pax;
mod readahead;
mod settle;
mod toc;
mod tree;
mod unpack;
mod write;
mod writers;

pub(crate) use archive::{Content, Member, for_each_entry, for_each_member};
pub(crate) use assembly::Placing;
pub use assembly::{Assembled, Assembly, Attributes, assemble};
pub(crate) use check::{Depth, Fault, check};
pub(crate) use compress::compressed;
pub(crate) use decode::{Compression, Decoder};
pub use error::LayerError;
pub(crate) use header::{Header, Type};
pub use limits::Limits;
pub(crate) use limits::MemoryBudget;
pub(crate) use lookahead::{Filler, Lookahead, Reader};
pub use merge::{Files, Merge};
pub(crate) use settle::settle;
pub(crate) use toc::TocError;
pub use toc::{Entry, Kind, Toc};
pub use unpack::{Unpacked, unpack};
pub(crate) use write::{TarWriter, Written, in_tar_order};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
