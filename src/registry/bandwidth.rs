//! How fast blobs may come, over all that are received at a time.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::size::{ParseSizeError, Size};

/// How far what was not used may be caught up on: long enough for timers, too short to be noticed.
const BURST: Duration = Duration::from_millis(100);

/// Bytes a second, at least 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth(u64);

/// Why there is no such bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseBandwidthError {
    /// No number of bytes.
    #[error(transparent)]
    Size(#[from] ParseSizeError),
    /// Fewer than 1024 bytes a second.
    #[error("at least 1K a second is needed")]
    TooSlow,
}

impl FromStr for Bandwidth {
    type Err = ParseBandwidthError;

    fn from_str(text: &str) -> Result<Self, ParseBandwidthError> {
        let Size(bytes) = text.parse()?;
        if bytes < 1024 { Err(ParseBandwidthError::TooSlow) } else { Ok(Self(bytes)) }
    }
}

/// What is left of a rate at a time: a bucket that fills steadily, and of which many take.
#[derive(Debug)]
pub(super) struct Bucket {
    bandwidth: Bandwidth,
    /// When what was handed out so far has been paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(super) fn new(bandwidth: Bandwidth) -> Self {
        Self { bandwidth, paid: Mutex::default() }
    }

    /// Most bytes to take at a time, so that what comes through is smooth.
    pub(super) fn share(&self) -> usize {
        usize::try_from(self.bandwidth.0 / 10).unwrap_or(usize::MAX)
    }

    /// Waits until `bytes` more may have come. Those who wait have their turn in the order they asked.
    pub(super) async fn take(&self, bytes: usize) {
        let until = self.reserve(bytes, Instant::now());
        tokio::time::sleep_until(until.into()).await;
    }

    /// When `bytes` more may have come, if they are asked for at `now`.
    fn reserve(&self, bytes: usize, now: Instant) -> Instant {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let nanoseconds = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.bandwidth.0);
        let price = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let until = paid.map_or(earliest, |paid| paid.max(earliest)) + price;
        *paid = Some(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!("2M".parse(), Ok(Bandwidth(2 << 20)));
        assert_eq!("1000".parse::<Bandwidth>(), Err(ParseBandwidthError::TooSlow));
        assert!(matches!("1M/s".parse::<Bandwidth>(), Err(ParseBandwidthError::Size(_))));
    }

    #[test]
    fn no_more_comes_than_the_rate_and_what_is_unused_is_lost() {
        let bucket = Bucket::new(Bandwidth(1000));
        let start = Instant::now() + Duration::from_secs(10);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        // Two that take turns get as much as one would.
        let waits: Vec<_> = (0..4).map(|_| bucket.reserve(100, start)).collect();
        assert_eq!(waits, [at(0), at(100), at(200), at(300)]);
        // Whoever comes back after the bucket is full again finds a burst in it, not an hour's worth.
        let later = 3_600_000;
        assert_eq!(bucket.reserve(100, at(later)), at(later));
        assert_eq!(bucket.reserve(1000, at(later)), at(later + 1000));
        assert_eq!(bucket.reserve(0, at(later)), at(later + 1000));
    }
}
