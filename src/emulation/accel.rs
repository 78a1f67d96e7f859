//! Whether native tools take the place of emulated ones.

use serde::{Deserialize, Serialize};

/// What is wanted of the native tools of a toolchain, in an image whose programs are emulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// All programs are the image's, and emulated.
    Off,
    /// Native tools where the toolchain has some that fit the image.
    #[default]
    Auto,
    /// The same; without them nothing is run.
    Require,
}
