//! How fast an answer comes. One that keeps coming, but too slowly, is given up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;

use super::error::RegistryError;
use super::settings::Limits;

/// What came of one answer since its speed was last checked, and how long that took.
#[derive(Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
}

/// Why no more comes.
pub(super) enum Stalled {
    /// The connection broke, or nothing came for [`Limits::silence`].
    Broken(reqwest::Error),
    /// Fewer bytes than [`Limits::least`] came in [`Limits::slow`], or not all of them within [`Limits::document`].
    Slow { bytes: u64, seconds: u64 },
}

impl Stalled {
    /// The error of a registry that was sending `subject`.
    pub(super) fn of(self, host: String, subject: String) -> RegistryError {
        match self {
            Self::Broken(source) => RegistryError::Body { host, subject, source },
            Self::Slow { bytes, seconds } => RegistryError::Slow { host, subject, bytes, seconds },
        }
    }
}

impl Pace {
    /// The next bytes of `response`, `None` at its end. Only the time in here counts: what the reader does
    /// meanwhile is not the registry's fault.
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
