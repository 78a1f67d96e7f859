//! How fast blobs may come, over all that are received at a time.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far what was not used may be caught up on: long enough for timers, too short to be noticed.
const BURST: Duration = Duration::from_millis(100);

/// Bytes a second, at least 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

/// Text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a rate such as 500K, 2M or 1.5MiB (bytes a second, at least 1K)")]
pub struct NoRate(String);

impl FromStr for Rate {
    type Err = NoRate;

    /// A number with an optional unit: K, M and G are powers of 1024, as with curl and wget, and so are
    /// KiB, MiB and GiB; kB, MB and GB are powers of 1000. Case does not matter.
    fn from_str(text: &str) -> Result<Self, NoRate> {
        let wrong = || NoRate(text.escape_default().to_string());
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        // Nine digits are more than anybody measures, and cannot overflow.
        if whole.is_empty() || whole.len() > 9 || part.len() > 9 || number.ends_with('.') {
            return Err(wrong());
        }
        let read = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u64>().map_err(|_| wrong()) };
        let scale = 10_u64.pow(u32::try_from(part.len()).unwrap_or_default());
        let bytes = read(whole)? * unit + read(part)? * unit / scale;
        if bytes < 1024 { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

/// What is left of a rate at a time: a bucket that fills steadily, and of which many take.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When what was handed out so far has been paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, paid: Mutex::default() }
    }

    /// Most bytes to take at a time, so that what comes through is smooth.
    pub(super) fn share(&self) -> usize {
        usize::try_from(self.rate.0 / 10).unwrap_or(usize::MAX)
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
        let nanoseconds = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.rate.0);
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
    fn rates_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("500K", 512_000),
            ("2M", 2 << 20),
            ("1.5MiB", 3 << 19),
            ("2mb", 2_000_000),
            ("1.25k", 1280),
            ("2048", 2048),
            ("1G", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        for bad in ["", "K", "0", "1000", "0.5K", "-1M", "1.M", ".5M", "1.2.3M", "1 M", "9999999999999G", "1T", "1M/s"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_more_comes_than_the_rate_and_what_is_unused_is_lost() {
        let bucket = Bucket::new(Rate(1000));
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
