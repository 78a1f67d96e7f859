//! Native tools: programs for the host's architecture that replace emulated programs of an image.
//!
//! `docs/emulation.md` explains which programs are replaced, and why the result is the same.

mod compiler;
mod fit;
mod incompatibility;
mod origin;
mod packages;
mod placement;
mod self_test;
mod shim;
mod tools;

pub(crate) use fit::{Fit, Natives};
pub(crate) use incompatibility::Incompatibility;
pub use packages::{CrossToolsError, ImageCompilers};
pub(crate) use placement::Placement;
pub(crate) use self_test::{SelfTest, unit};
pub(crate) use tools::Tool;
