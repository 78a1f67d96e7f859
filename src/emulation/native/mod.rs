//! Native tools: programs of the host's architecture in the place of an image's own, which would have to be emulated.
//!
//! What is in their place, and why nothing but the time can tell, is explained in `docs/emulation.md`.

mod compiler;
mod misfit;
mod origin;
mod placement;
mod self_test;
mod shim;
mod tools;

pub use misfit::Misfit;
pub use placement::{Fit, NATIVE, Natives, Placement};
pub use self_test::{Product, SelfTest, unit};
pub use tools::{Tool, UnknownTool};
