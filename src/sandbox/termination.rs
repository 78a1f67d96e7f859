//! Termination of a run from outside: by its timeout, by signals.

use std::time::{Duration, Instant};

use rustix::time::Timespec;

use crate::sandbox::outcome::{Cause, GRACE};

/// What to do to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask it to end: SIGTERM.
    Ask,
    /// Kill it and all its processes.
    Kill,
}

/// Deadlines of a run.
pub(super) struct Termination {
    /// When the command is asked to end, and the timeout.
    timeout: Option<(Instant, Duration)>,
    /// When everything is killed, and why.
    kill: Option<(Instant, Cause)>,
    /// When the last interrupt came, and from where (`si_code`).
    interrupt: Option<(Instant, i32)>,
    /// Why hermes ended the run, once it did.
    pub(super) cause: Option<Cause>,
}

impl Termination {
    /// Starts the clock of a run.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        // A time beyond the range of the clock never comes.
        let timeout = timeout.and_then(|time| Some((Instant::now().checked_add(time)?, time)));
        Self { timeout, kill: None, interrupt: None, cause: None }
    }

    /// Maximum time to wait; `None` without a deadline.
    pub(super) fn wait(&self, now: Instant) -> Option<Timespec> {
        let times = [self.timeout.map(|(at, _)| at), self.kill.map(|(at, _)| at)];
        let left = times.into_iter().flatten().min()?.saturating_duration_since(now);
        Some(timespec(left))
    }

    /// The action that is due now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Action> {
        if let Some((_, cause)) = self.kill.filter(|(at, _)| *at <= now) {
            self.kill = None;
            self.cause = Some(cause);
            return Some(Action::Kill);
        }
        let (_, time) = self.timeout.filter(|(at, _)| *at <= now)?;
        self.timeout = None;
        self.cause = Some(Cause::Timeout(time));
        self.kill.get_or_insert((now + GRACE, Cause::Timeout(time)));
        Some(Action::Ask)
    }

    /// Whether the timeout or a signal asked for the end of the run.
    pub(super) fn is_wanted(&self) -> bool {
        self.cause.is_some() || self.kill.is_some()
    }

    /// Notes SIGTERM, which is forwarded to the command: it has the grace period to end.
    pub(super) fn terminated(&mut self, now: Instant) {
        self.kill.get_or_insert((now + GRACE, Cause::Terminated));
    }

    /// Notes SIGINT: the second within the grace period kills everything. `code` tells Ctrl-C, which the kernel sends,
    /// from kill(2), since a program around hermes may forward the same Ctrl-C once more.
    pub(super) fn interrupted(&mut self, now: Instant, code: i32) -> Option<Action> {
        let again = self.interrupt.is_some_and(|(at, before)| before == code && now < at + GRACE);
        self.interrupt = Some((now, code));
        again.then(|| {
            self.cause = Some(Cause::Interrupted);
            Action::Kill
        })
    }
}

/// A duration as poll(2) takes it.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: i32 = 0x80;
    const USER: i32 = 0;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_time_that_is_up() {
        let start = Instant::now();
        let mut termination = Termination::new(Some(5 * SECOND));
        assert_eq!(termination.due(start), None);
        assert!(termination.wait(start).is_some_and(|wait| wait.tv_sec <= 5));
        let later = start + 6 * SECOND;
        assert_eq!(termination.due(later), Some(Action::Ask));
        assert_eq!(termination.due(later), None);
        assert_eq!(termination.wait(later).unwrap().tv_sec, 10);
        assert_eq!(termination.due(later + GRACE), Some(Action::Kill));
        assert_eq!(termination.cause, Some(Cause::Timeout(5 * SECOND)));
        assert_eq!(termination.wait(later + GRACE), None);
    }

    #[test]
    fn without_a_time_there_is_no_end() {
        let now = Instant::now();
        assert_eq!(Termination::new(None).wait(now), None);
        assert_eq!(Termination::new(Some(Duration::MAX)).wait(now), None);
    }

    #[test]
    fn a_command_that_does_not_heed_sigterm() {
        let now = Instant::now();
        let mut termination = Termination::new(None);
        termination.terminated(now);
        // A second request gives no more time.
        termination.terminated(now + 5 * SECOND);
        assert_eq!((termination.due(now + 9 * SECOND), termination.cause), (None, None));
        assert_eq!(termination.due(now + 10 * SECOND), Some(Action::Kill));
        assert_eq!(termination.cause, Some(Cause::Terminated));
    }

    #[test]
    fn control_c_twice() {
        let now = Instant::now();
        let mut termination = Termination::new(None);
        assert_eq!(termination.interrupted(now, KERNEL), None);
        // The same interrupt, forwarded by a program around hermes.
        assert_eq!(termination.interrupted(now, USER), None);
        assert_eq!(termination.interrupted(now + SECOND, USER), Some(Action::Kill));
        let mut termination = Termination::new(None);
        assert_eq!(termination.interrupted(now, KERNEL), None);
        assert_eq!(termination.interrupted(now + GRACE, KERNEL), None, "the first is long past");
        assert_eq!(termination.interrupted(now + GRACE + SECOND, KERNEL), Some(Action::Kill));
        assert_eq!(termination.cause, Some(Cause::Interrupted));
    }
}
