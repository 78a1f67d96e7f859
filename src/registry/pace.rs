//! Minimum speed of a response.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;

use super::error::RegistryError;
use super::settings::Limits;

/// Bytes of one response, and time, since its speed was last checked.
#[derive(Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
}

/// Why a transfer ended early.
pub(super) enum Stalled {
    /// The connection broke, or nothing was received for [`Limits::silence`].
    Broken(reqwest::Error),
    /// Fewer than [`Limits::least`] bytes in [`Limits::slow`], or not all bytes within [`Limits::document`].
    Slow { bytes: u64, seconds: u64 },
}

impl Stalled {
    /// The error for a registry that was sending `subject`.
    pub(super) fn of(self, host: String, subject: String) -> RegistryError {
        match self {
            Self::Broken(source) => RegistryError::Body { host, subject, source },
            Self::Slow { bytes, seconds } => RegistryError::Slow { host, subject, bytes, seconds },
        }
    }
}

impl Pace {
    /// The next bytes of `response`, `None` at its end. Only the time in this function counts, since the registry is not
    /// to blame for a slow reader.
    pub(super) async fn chunk(&mut self, response: &mut Response, limits: &Limits) -> Result<Option<Bytes>, Stalled> {
        if self.waited > limits.slow {
            if self.bytes < limits.least {
                return Err(Stalled::Slow { bytes: self.bytes, seconds: self.waited.as_secs() });
            }
            *self = Self::default();
        }
        let begun = Instant::now();
        let chunk = response.chunk().await;
        self.waited += begun.elapsed();
        let chunk = chunk.map_err(|error| Stalled::Broken(error.without_url()))?;
        self.bytes += chunk.as_ref().map_or(0, Bytes::len) as u64;
        Ok(chunk)
    }
}
