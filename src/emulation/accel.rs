//! `--accel`: use of native tools.

use serde::{Deserialize, Serialize};

/// Use of native tools for an image whose programs are emulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// No native tools.
    Off,
    /// Native tools, if the toolchain has some that fit the image.
    #[default]
    Auto,
    /// Native tools; an error if there are none that fit.
    Require,
}
