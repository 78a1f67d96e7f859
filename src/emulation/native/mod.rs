//! Native tools: programs of the host's architecture in the place of an image's own, which would have to be emulated.
//!
//! What is in their place, and why nothing but the time can tell, is explained in `docs/emulation.md`.

mod compiler;
mod fit;
mod incompatibility;
mod origin;
mod placement;
mod self_test;
mod shim;
mod tools;

pub(crate) use fit::{Fit, Natives};
pub(crate) use incompatibility::Incompatibility;
pub(crate) use placement::Placement;
pub(crate) use self_test::{SelfTest, unit};
pub(crate) use tools::Tool;
