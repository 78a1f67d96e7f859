//! The root file system of a run: the layers of an image, and the files under `/etc` that describe the run's user and host.

mod cross;
mod etc;
mod image;
mod locale;
mod lookup;
mod user;

pub(crate) use cross::Tree;
pub use etc::injected;
pub(crate) use etc::{HostFiles, InjectedFile};
pub use image::Rootfs;
pub use user::{Accounts, resolve};
pub(crate) use user::{Identity, UserError};
