//! Retries and the pauses between them.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::RegistryError;
use super::settings::Limits;
use crate::progress::Reporter;

/// Most attempts at a request where another one may help, and at a body that makes no progress.
pub(super) const TRIES: u32 = 3;
/// Bytes that an attempt must bring to count as progress. One byte is not enough: a registry could send a blob byte by
/// byte for ever.
const PROGRESS: u64 = 1 << 10;

/// The attempts at receiving one body, counted since it last made progress.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Bytes received when progress was last made.
    mark: u64,
    failed: u32,
}

impl Attempts {
    /// No attempt yet, with `received` bytes here already.
    pub(super) fn from(received: u64) -> Self {
        Self { mark: received, failed: 0 }
    }

    /// Counts a failed attempt, after which `received` bytes are here: the number of the next attempt, or `None` if
    /// this was the last.
    pub(super) fn next(&mut self, received: u64) -> Option<u32> {
        if received - self.mark >= PROGRESS {
            *self = Self::from(received);
        }
        self.failed += 1;
        (self.failed < TRIES).then_some(self.failed + 1)
    }
}

/// The pauses that a registry asked for (`Retry-After`), over all requests to it. Concurrent requests are asked for
/// the same pause, which counts once.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    granted: Duration,
    /// End of the latest pause.
    until: Option<Instant>,
}

impl Pauses {
    /// Grants a pause of `asked` at `now`, unless all pauses together would exceed `most`.
    fn grant(&mut self, asked: Duration, most: Duration, now: Instant) -> bool {
        let begins = self.until.map_or(now, |until| until.max(now));
        let Some(ends) = now.checked_add(asked) else { return false };
        let further = ends.saturating_duration_since(begins);
        if self.granted.saturating_add(further) > most {
            return false;
        }
        self.granted += further;
        self.until = Some(ends.max(begins));
        true
    }
}

/// Waits before attempt number `next`, because of `error`: as long as the registry asks for, else for a [`pause`].
/// `false` if the registry asks for a longer pause than is allowed: then another attempt is useless.
pub(super) async fn wait(
    error: &RegistryError,
    next: u32,
    limits: &Limits,
    pauses: &Mutex<Pauses>,
    reporter: &dyn Reporter,
) -> bool {
    let Some(asked) = error.retry_after().filter(|asked| !asked.is_zero()) else {
        pause(error, next, limits, reporter).await;
        return true;
    };
    let granted = pauses.lock().unwrap_or_else(PoisonError::into_inner).grant(asked, limits.patience, Instant::now());
    if granted {
        let seconds = asked.as_secs();
        reporter.warn(&format!("{error}; retrying in {seconds} s as requested (attempt {next} of {TRIES})"));
        tokio::time::sleep(asked).await;
    }
    granted
}

/// Waits before attempt number `next`, because of `error`: a random fraction of a time that grows exponentially.
pub(super) async fn pause(error: &RegistryError, next: u32, limits: &Limits, reporter: &dyn Reporter) {
    let longest = limits.pause * 4_u32.saturating_pow(next.saturating_sub(2).min(8));
    // The seed of a hash map is random enough for this.
    let part = RandomState::new().hash_one(next) % 1001;
    reporter.verbose(&format!("{error}; retrying (attempt {next} of {TRIES})"));
    tokio::time::sleep(longest * u32::try_from(part).unwrap_or_default() / 1000).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded_in_total() {
        let (mut pauses, now, most) = (Pauses::default(), Instant::now(), Duration::from_secs(300));
        let seconds = Duration::from_secs;
        assert!(!pauses.grant(seconds(301), most, now) && !pauses.grant(Duration::MAX, most, now));
        // Four concurrent requests, then one more.
        for _ in 0..4 {
            assert!(pauses.grant(seconds(100), most, now));
        }
        assert!(pauses.grant(seconds(150), most, now));
        let later = now + seconds(150);
        assert!(!pauses.grant(seconds(151), most, later));
        assert!(pauses.grant(seconds(150), most, later));
        assert!(!pauses.grant(seconds(1), most, later + seconds(1000)));
        assert!(pauses.grant(Duration::ZERO, most, later + seconds(1000)));
    }
}
