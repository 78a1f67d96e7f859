//! Two trees of products compared: by path, kind, mode, link target and content. A file that differs is looked into:
//! ELF section by section, an `ar` archive member by member, text by its first differing line.
//!
//! The trees were made by a build, which may be hostile: names are looked up beneath their root without following
//! links, nothing but files is opened, headers are read within a budget and contents in pieces. Whatever cannot be
//! read or understood never counts as the same.
//!
//! The caller decides what a difference means. `guess` looks for the likely cause, from the properties of each build.

mod archive;
mod content;
mod diff;
mod elf;
mod guess;
mod listing;
mod snapshot;
mod tree;

pub(crate) use diff::{Comparison, Detail, Difference, Finding, Side, Verdict};
pub(crate) use guess::{Guess, Own, Span, guesses};
pub use listing::Listing;
pub(crate) use listing::{ListError, ParseListingError, compare_listings, escaped};
pub(crate) use snapshot::Snapshot;
pub(crate) use tree::CompareError;
pub use tree::{Product, compare};

#[cfg(test)]
mod tests;
