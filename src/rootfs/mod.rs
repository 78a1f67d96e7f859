//! The root file system of a run: the layers of an image, and the few files under `/etc` that say
//! who and where one is.

mod cross;
mod etc;
mod image;
mod locale;
mod lookup;
mod user;

pub use cross::Tree;
pub use etc::{HostFiles, InjectedFile, injected};
pub use image::Rootfs;
pub use lookup::Found;
pub use user::{Accounts, Identity, UserError, resolve};
