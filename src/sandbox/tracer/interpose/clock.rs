//! Interposed system calls that read the real time or wait for it.

use rustix::process::Pid;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

use crate::sandbox::interposed::{Clock, SECOND};
use crate::sys::ptrace::{self, Call};

/// Clocks of the real time: `CLOCK_REALTIME`, `CLOCK_REALTIME_COARSE`, `CLOCK_REALTIME_ALARM`, `CLOCK_TAI`.
pub(super) const REAL: [libc::c_int; 4] =
    [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_REALTIME_ALARM, libc::CLOCK_TAI];
/// Bits of the second argument of futex(2) that are the command (`FUTEX_CMD_MASK`).
pub(super) const FUTEX_COMMAND: u32 = 0x7f;

/// Width of the numbers of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// That of an address of the architecture.
    Native,
    /// 64 bits.
    Wide,
}

/// Nanoseconds by which `clock` is ahead of the host's, for a command that starts now.
pub(super) fn offset_from_now(clock: Clock) -> i128 {
    // The coarse clock lags behind the precise one: the command must not see a time before this.
    clock.offset(read(ClockId::RealtimeCoarse))
}

/// Reads a clock of the host, in nanoseconds.
fn read(clock: ClockId) -> i128 {
    nanoseconds(clock_gettime(clock))
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * SECOND + i128::from(time.tv_nsec)
}

/// Answers `clock_gettime(2)` of a clock of the real time.
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

/// Answers gettimeofday(2).
pub(super) fn time_of_day(pid: Pid, call: &Call, offset: i128) -> i64 {
    let now = read(ClockId::Realtime) + offset;
    let [time, zone, ..] = call.arguments;
    let time_given = match time {
        0 => 0,
        time => give(pid, time, &[now.div_euclid(SECOND), now.rem_euclid(SECOND) / 1000], call.is_wide()),
    };
    // The obsolete time zone: two numbers of 32 bits.
    if time_given == 0 && zone != 0 { give(pid, zone, &[0, 0], false) } else { time_given }
}

/// Answers time(2), with the time in memory and as the result.
pub(super) fn time(pid: Pid, call: &Call, offset: i128) -> i64 {
    let now = (read(ClockId::RealtimeCoarse) + offset).div_euclid(SECOND);
    let given = match call.arguments[0] {
        0 => 0,
        place => give(pid, place, &[now], call.is_wide()),
    };
    if given == 0 { i64::try_from(now).unwrap_or(0) } else { given }
}

/// Writes numbers to the memory of `pid`, of 64 bits or, for old calls, their low 32 bits. Returns 0 or EFAULT.
fn give(pid: Pid, address: u64, numbers: &[i128], wide: bool) -> i64 {
    let low = if wide { 8 } else { 4 };
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()[..low].to_vec()).collect();
    if ptrace::write_memory(pid, address, &bytes) { 0 } else { -i64::from(libc::EFAULT) }
}

/// Argument with the absolute time of a waiting futex(2), if it has one.
pub(super) fn moment_of_futex(call: &Call) -> Option<usize> {
    let command = i32::try_from(call.arguments[1] & u64::from(FUTEX_COMMAND)).unwrap_or(0);
    // The timeout of FUTEX_WAIT is relative.
    (command != libc::FUTEX_WAIT && call.arguments[3] != 0).then_some(3)
}

/// Translates the absolute time at `address` of `pid` to the host's, in the same form. `None` if it is invalid, which the
/// kernel reports.
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
    // With a clock behind the host's it may exceed 32 bits.
    let most = if wide { i128::from(i64::MAX) } else { i128::from(i32::MAX) };
    let numbers = [there.div_euclid(SECOND).min(most), there.rem_euclid(SECOND)];
    Some(numbers.iter().flat_map(|number| number.to_le_bytes()[..half].to_vec()).collect())
}
