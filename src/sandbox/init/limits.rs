//! Resource limits of the command (getrlimit(2)): some for every run, some where no cgroup holds them.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{Step as _, StepError};
use crate::sandbox::limits::{Limits, whole_cpus};
use crate::sys::process::{Forked, SingleThreaded, exit_now, fork};
use crate::sys::{Context as _, SysError};

/// Open files: as many as builds need, on every host the same, and few enough for old programs that
/// close every descriptor there may be.
const OPEN_FILES: u64 = 65_536;

/// How much sooner than its caller the command is killed when the host has no memory left.
const OOM_SCORE: i32 = 300;

/// Has the hard limit of core files allow the 1 that [`set_defaults`] sets, where it is 0; false where it stays 0. Only root of
/// the host may raise it, and no longer so in a user namespace.
pub(in crate::sandbox) fn allow_no_core_handler() -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Core);
    maximum != Some(0) || setrlimit(Resource::Core, Rlimit { current, maximum: Some(1) }).is_ok()
}

/// Sets what every run has.
pub(in crate::sandbox) fn set_defaults() -> Result<(), SysError> {
    // No core file, and, other than with 0, no handler of the host that gets the core through a pipe
    // and would run outside (fs/coredump.c). The filter keeps it at 1.
    set(Resource::Core, "RLIMIT_CORE", 1, Some(1))?;
    let hard = getrlimit(Resource::Nofile).maximum;
    set(Resource::Nofile, "RLIMIT_NOFILE", hard.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES)), hard)?;
    // To raise it needs no privilege, and no more does a command that sets it back to its caller's. Where it cannot be, the
    // run is as likely to be killed as its caller.
    let path = "/proc/self/oom_score_adj";
    let inherited = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if inherited.is_some_and(|score| score < OOM_SCORE) {
        let _ = std::fs::write(path, OOM_SCORE.to_string());
    }
    Ok(())
}

/// Sets what was asked for and no cgroup holds, in the command's own user namespace.
pub(in crate::sandbox) fn set_asked(limits: Limits, proof: &SingleThreaded) -> Result<(), StepError> {
    if let Some(memory) = limits.memory {
        // Not RLIMIT_AS: many programs reserve far more room than they ever fill.
        set(Resource::Data, "RLIMIT_DATA", memory, Some(memory)).step("limiting memory")?;
    }
    if let Some(millicpus) = limits.millicpus {
        bind_to_cpus(whole_cpus(millicpus)).step("limiting processors")?;
    }
    if let Some(pids) = limits.pids {
        limit_processes(pids, proof).step("limiting processes")?;
    }
    Ok(())
}

fn set(resource: Resource, name: &'static str, current: u64, maximum: Option<u64>) -> Result<(), SysError> {
    // What is limited already is not raised.
    let least = |asked: u64, has: Option<u64>| has.map_or(asked, |has| has.min(asked));
    let hard = getrlimit(resource).maximum;
    let maximum = maximum.map(|asked| least(asked, hard)).or(hard);
    setrlimit(resource, Rlimit { current: Some(least(current, maximum)), maximum }).call("setrlimit", name)
}

/// Binds the command to so many of the processors it may use. Which ones is left to chance, so that
/// runs at the same time do not all take the first.
fn bind_to_cpus(count: u64) -> Result<(), SysError> {
    let allowed = allowed_cpus()?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let first = usize::try_from(now.tv_nsec / 1000).unwrap_or(0);
    let mut chosen = CpuSet::new();
    for number in 0..allowed.len().min(usize::try_from(count).unwrap_or(usize::MAX)) {
        chosen.set(allowed[(first + number) % allowed.len()]);
    }
    sched_setaffinity(None, &chosen).call("sched_setaffinity", "")
}

/// Has the command see so many of the processors it may use, at most: the first ones.
pub(in crate::sandbox) fn show_cpus(count: u32) -> Result<(), SysError> {
    let mut shown = CpuSet::new();
    for cpu in allowed_cpus()?.into_iter().take(usize::try_from(count).unwrap_or(usize::MAX)) {
        shown.set(cpu);
    }
    sched_setaffinity(None, &shown).call("sched_setaffinity", "")
}

/// The processors that this process may use.
pub(in crate::sandbox) fn allowed_cpus() -> Result<Vec<usize>, SysError> {
    let allowed = sched_getaffinity(None).call("sched_getaffinity", "")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// `RLIMIT_NPROC`. Since Linux 5.14 it counts the processes of a user in a user namespace, which are
/// those of this run; before, all of the user on the host. To root it means nothing. So it is tried.
fn limit_processes(pids: u64, proof: &SingleThreaded) -> Result<(), SysError> {
    let name = "RLIMIT_NPROC";
    let hard = getrlimit(Resource::Nproc).maximum;
    let one_more_than = |limit| -> Result<bool, SysError> {
        setrlimit(Resource::Nproc, Rlimit { current: Some(limit), maximum: hard }).call("setrlimit", name)?;
        match fork(proof) {
            Ok(Forked::Child(_)) => exit_now(0),
            Ok(Forked::Parent(child)) => {
                waitpid(Some(child), WaitOptions::empty()).call("waitpid", "")?;
                Ok(true)
            }
            Err(error) if error.is(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    };
    // This process is the only one: a second must be refused by a limit of one, and not by one of two.
    if one_more_than(1)? || !one_more_than(2)? {
        return Err(SysError::new("setrlimit", name, Errno::OPNOTSUPP));
    }
    set(Resource::Nproc, name, pids, Some(pids))
}
