//! Garbage collection: what anybody needs is marked, the rest is removed.

mod collect;
mod mark;

pub(crate) use collect::{Budget, Collected};
pub(crate) use mark::GcRoot;
