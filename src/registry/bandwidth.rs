//! Bandwidth limit over all concurrent downloads.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::size::{ParseSizeError, Size};

/// Unused bandwidth that may be caught up on: long enough for the resolution of timers, too short to be noticed.
const BURST: Duration = Duration::from_millis(100);

/// Bytes a second, at least 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth(u64);

/// A bandwidth that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseBandwidthError {
    /// Not a number of bytes.
    #[error(transparent)]
    Size(#[from] ParseSizeError),
    /// Fewer than 1024 bytes a second.
    #[error("expected at least 1K a second")]
    TooSlow,
}

impl FromStr for Bandwidth {
    type Err = ParseBandwidthError;

    fn from_str(text: &str) -> Result<Self, ParseBandwidthError> {
        let Size(bytes) = text.parse()?;
        if bytes < 1024 { Err(ParseBandwidthError::TooSlow) } else { Ok(Self(bytes)) }
    }
}

/// A token bucket shared by all downloads.
#[derive(Debug)]
pub(super) struct Bucket {
    bandwidth: Bandwidth,
    /// When the bytes granted so far have used up their bandwidth.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(super) fn new(bandwidth: Bandwidth) -> Self {
        Self { bandwidth, paid: Mutex::default() }
    }

    /// Most bytes to take at a time, so that the transfer is smooth.
    pub(super) fn share(&self) -> usize {
        usize::try_from(self.bandwidth.0 / 10).unwrap_or(usize::MAX)
    }

    /// Waits until `bytes` more may be received. Waiters are served in the order of their requests.
    pub(super) async fn take(&self, bytes: usize) {
        let until = self.reserve(bytes, Instant::now());
        tokio::time::sleep_until(until.into()).await;
    }

    /// The time at which `bytes` more may be received, if requested at `now`.
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
        // Two downloads share what one would get.
        let waits: Vec<_> = (0..4).map(|_| bucket.reserve(100, start)).collect();
        assert_eq!(waits, [at(0), at(100), at(200), at(300)]);
        // After a long pause the bucket holds one burst, not an hour's worth.
        let later = 3_600_000;
        assert_eq!(bucket.reserve(100, at(later)), at(later));
        assert_eq!(bucket.reserve(1000, at(later)), at(later + 1000));
        assert_eq!(bucket.reserve(0, at(later)), at(later + 1000));
    }
}
