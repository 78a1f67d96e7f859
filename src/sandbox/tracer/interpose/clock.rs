//! Another time: what it is, and how a call that reads it or waits for it is dealt with.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use rustix::process::Pid;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use serde::{Serialize, Serializer};

use super::Width;
use crate::size::{Time, duration};
use crate::sys::ptrace::{self, Call};

/// The clocks of the real time: `CLOCK_REALTIME`, `CLOCK_REALTIME_COARSE`, `CLOCK_REALTIME_ALARM`, `CLOCK_TAI`.
pub(super) const REAL: [libc::c_int; 4] =
    [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_REALTIME_ALARM, libc::CLOCK_TAI];
/// What of the second argument of futex(2) is the command (`FUTEX_CMD_MASK`).
pub(super) const FUTEX_COMMAND: u32 = 0x7f;

const SECOND: i128 = 1_000_000_000;
/// Farther from 1970 than this no program expects to be: the end of the year 9999, in seconds.
const LAST: i64 = 253_402_300_799;

/// What time it is, to a command. From its start on it goes on as the host's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// So much later.
    Ahead(Duration),
    /// So much earlier, but not before 1970.
    Behind(Duration),
    /// This at the command's start: after 1970.
    From(Duration),
}

/// Text that is no time for a clock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time such as +398d, -2h, 2031-05-17T12:00:00Z or @1700000000, from 1970 to 9999")]
pub struct NoClock(String);

impl FromStr for Clock {
    type Err = NoClock;

    /// `+` or `-` and a time as [`Time`] reads it; a time of RFC 3339; `@` and seconds since 1970.
    fn from_str(text: &str) -> Result<Self, NoClock> {
        let span = |text: &str| text.parse::<Time>().ok().map(|Time(time)| time);
        let clock = match text.split_at_checked(1) {
            Some(("+", time)) => span(time).map(Self::Ahead),
            Some(("-", time)) => span(time).map(Self::Behind),
            Some(("@", seconds)) if seconds.bytes().all(|digit| digit.is_ascii_digit()) => {
                seconds.parse().ok().map(|seconds| Self::From(Duration::from_secs(seconds)))
            }
            _ => {
                let time = DateTime::parse_from_rfc3339(text).ok();
                let seconds = time.and_then(|time| u64::try_from(time.timestamp()).ok().map(|since| (since, time)));
                seconds.map(|(since, time)| {
                    // A leap second is counted in nanoseconds.
                    Self::From(Duration::new(since, time.timestamp_subsec_nanos().min(999_999_999)))
                })
            }
        };
        let (Self::Ahead(span) | Self::Behind(span) | Self::From(span)) = clock.ok_or_else(|| wrong(text))?;
        let is_near = i64::try_from(span.as_secs()).is_ok_and(|seconds| seconds <= LAST);
        clock.filter(|_| is_near).ok_or_else(|| wrong(text))
    }
}

fn wrong(text: &str) -> NoClock {
    NoClock(text.escape_default().to_string())
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(span) => write!(f, "+{}", duration(*span)),
            Self::Behind(span) => write!(f, "-{}", duration(*span)),
            Self::From(since) => {
                let seconds = i64::try_from(since.as_secs()).unwrap_or(LAST);
                let time = DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
        }
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Clock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Clock {
    /// How far ahead of the host's it is, in nanoseconds, for a command that starts `now`, since 1970.
    fn offset(self, now: i128) -> i128 {
        let long = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        match self {
            Self::Ahead(span) => long(span),
            Self::Behind(span) => -long(span).min(now),
            Self::From(since) => long(since) - now,
        }
    }

    /// The same in seconds, for whole seconds since 1970.
    #[must_use]
    pub fn seconds_ahead(self, now: i64) -> i64 {
        i64::try_from(self.offset(i128::from(now) * SECOND).div_euclid(SECOND)).unwrap_or(0)
    }

    /// The same for a command that starts now.
    pub(super) fn offset_from_now(self) -> i128 {
        // The one that is behind, or the command could see a time before this.
        self.offset(read(ClockId::RealtimeCoarse))
    }
}

/// A clock of the host, in nanoseconds.
fn read(clock: ClockId) -> i128 {
    nanoseconds(clock_gettime(clock))
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * SECOND + i128::from(time.tv_nsec)
}

/// What `clock_gettime(2)` of a clock of the real time is told.
pub(super) fn gettime(pid: Pid, call: &Call, width: Width, offset: i128) -> i64 {
    let now = match i32::try_from(call.arguments[0]) {
        Ok(libc::CLOCK_REALTIME_COARSE) => read(ClockId::RealtimeCoarse),
        Ok(libc::CLOCK_TAI) => {
            clock_gettime_dynamic(DynamicClockId::Tai).map_or_else(|_| read(ClockId::Realtime), nanoseconds)
        }
        _ => read(ClockId::Realtime),
    };
    let now = now + offset;
    let wide = width == Width::Wide || call.is_wide();
    give(pid, call.arguments[1], &[now.div_euclid(SECOND), now.rem_euclid(SECOND)], wide)
}

/// What gettimeofday(2) is told.
pub(super) fn time_of_day(pid: Pid, call: &Call, offset: i128) -> i64 {
    let now = read(ClockId::Realtime) + offset;
    let [time, zone, ..] = call.arguments;
    let time_given = match time {
        0 => 0,
        time => give(pid, time, &[now.div_euclid(SECOND), now.rem_euclid(SECOND) / 1000], call.is_wide()),
    };
    // A time zone that no kernel has had for long: two numbers of 32 bits.
    if time_given == 0 && zone != 0 { give(pid, zone, &[0, 0], false) } else { time_given }
}

/// What time(2) is told, and the caller gets.
pub(super) fn time(pid: Pid, call: &Call, offset: i128) -> i64 {
    let now = (read(ClockId::RealtimeCoarse) + offset).div_euclid(SECOND);
    let given = match call.arguments[0] {
        0 => 0,
        place => give(pid, place, &[now], call.is_wide()),
    };
    if given == 0 { i64::try_from(now).unwrap_or(0) } else { given }
}

/// Writes numbers of 64 or, as old calls do, the low 32 bits to memory of `pid`: 0, or EFAULT as an errno is given.
fn give(pid: Pid, address: u64, numbers: &[i128], wide: bool) -> i64 {
    let low = if wide { 8 } else { 4 };
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()[..low].to_vec()).collect();
    if ptrace::write_memory(pid, address, &bytes) { 0 } else { -i64::from(libc::EFAULT) }
}

/// Where a call that waits has the moment, if it has one that is not so far from now.
pub(super) fn moment_of_futex(call: &Call) -> Option<usize> {
    let command = i32::try_from(call.arguments[1] & u64::from(FUTEX_COMMAND)).unwrap_or(0);
    // FUTEX_WAIT waits so long.
    (command != libc::FUTEX_WAIT && call.arguments[3] != 0).then_some(3)
}

/// The moment at `address` of `pid`, in the host's time, as bytes of the same form. `None` where it is no time, which is the
/// kernel's to say.
pub(super) fn moment(pid: Pid, address: u64, wide: bool, offset: i128) -> Option<Vec<u8>> {
    let half = if wide { 8 } else { 4 };
    let mut bytes = vec![0; 2 * half];
    if ptrace::read_memory(pid, address, &mut bytes) < bytes.len() {
        return None;
    }
    let number = |bytes: &[u8]| match bytes.try_into() {
        Ok(bytes) => i128::from(i32::from_le_bytes(bytes)),
        Err(_) => bytes.try_into().map_or(0, |bytes| i128::from(i64::from_le_bytes(bytes))),
    };
    let (seconds, nanoseconds) = (number(&bytes[..half]), number(&bytes[half..]));
    if seconds < 0 || !(0..SECOND).contains(&nanoseconds) {
        return None;
    }
    let there = (seconds * SECOND + nanoseconds - offset).max(0);
    // Of a clock behind the host's it may be more than 32 bits hold.
    let most = if wide { i128::from(i64::MAX) } else { i128::from(i32::MAX) };
    let numbers = [there.div_euclid(SECOND).min(most), there.rem_euclid(SECOND)];
    Some(numbers.iter().flat_map(|number| number.to_le_bytes()[..half].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_as_people_write_them() {
        let seconds = Duration::from_secs;
        for (text, clock, shown) in [
            ("+398d", Clock::Ahead(seconds(398 * 86_400)), "+398d"),
            ("-1h30m", Clock::Behind(seconds(5400)), "-1h30m"),
            ("+90", Clock::Ahead(seconds(90)), "+1m30s"),
            ("@0", Clock::From(seconds(0)), "1970-01-01T00:00:00Z"),
            ("@1700000000", Clock::From(seconds(1_700_000_000)), "2023-11-14T22:13:20Z"),
            ("2031-05-17T12:00:00Z", Clock::From(seconds(1_936_785_600)), "2031-05-17T12:00:00Z"),
            (
                "2031-05-17T12:00:00.5+02:00",
                Clock::From(Duration::from_millis(1_936_778_400_500)),
                "2031-05-17T10:00:00.500Z",
            ),
        ] {
            assert_eq!(text.parse(), Ok(clock), "{text}");
            assert_eq!(clock.to_string(), shown);
            assert_eq!(shown.parse(), Ok(clock), "{shown}");
        }
        for text in [
            "",
            "+",
            "-",
            "@",
            "398d",
            "+398",
            "++1d",
            "+0s",
            "+1y",
            "@-1",
            "@1.5",
            "@999999999999",
            "yesterday",
            "2031-05-17",
            "1969-12-31T23:59:59Z",
            "+99999999d",
            "é",
        ] {
            let parsed = text.parse::<Clock>();
            assert!(parsed.is_err() || text == "+398", "{text}: {parsed:?}");
        }
    }

    #[test]
    fn how_far_ahead() {
        let (now, day) = (1_000_000 * SECOND, 86_400 * SECOND);
        let offset = |text: &str| text.parse::<Clock>().unwrap().offset(now);
        assert_eq!([offset("+1d"), offset("-1d"), offset("@1000001"), offset("@0")], [day, -day, SECOND, -now]);
        assert_eq!(offset("-99999d"), -now, "not before 1970");
    }
}
