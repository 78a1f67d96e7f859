//! Resource limits of the command (getrlimit(2)): those of every run, and requested ones that no cgroup enforces.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sandbox::limits::{Limits, whole_cpus};
use crate::sandbox::policy::Policy;
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sys::process::{Forked, SingleThreaded, exit_now, fork};
use crate::sys::{Context as _, SysError};

/// Open files: enough for builds, the same on every host, and few enough for old programs that close every possible
/// descriptor.
const OPEN_FILES: u64 = 65_536;

/// Addition to the OOM score: the kernel kills the command before its caller when the host runs out of memory.
const OOM_SCORE: i32 = 300;

/// Raises a hard limit of core files of 0 to the 1 that [`set_defaults`] needs; false if it stays 0. Only root of the
/// host may raise it, and not in a user namespace.
pub(in crate::sandbox) fn allow_no_core_handler() -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Core);
    maximum != Some(0) || setrlimit(Resource::Core, Rlimit { current, maximum: Some(1) }).is_ok()
}

/// Sets the limits of every run, then those of `policy` that no cgroup enforces, its nice value and its processors.
pub(in crate::sandbox) fn apply(policy: &Policy, proof: &SingleThreaded) -> Result<(), StepError> {
    set_defaults().at(Step::SetResourceLimits)?;
    set_asked(policy.limits, proof)?;
    if let Some(nice) = policy.nice {
        set_nice(nice).at(Step::SetNice)?;
    }
    if let Some(count) = policy.nproc {
        show_cpus(count).at(Step::ChooseCpus)?;
    }
    Ok(())
}

/// Sets the limits of every run.
fn set_defaults() -> Result<(), SysError> {
    // No core file, and, in contrast to 0, no core handler of the host, which would get the core through a pipe and run
    // outside (fs/coredump.c). The filter keeps the limit at 1.
    set(Resource::Core, "RLIMIT_CORE", 1, Some(1))?;
    let hard = getrlimit(Resource::Nofile).maximum;
    set(Resource::Nofile, "RLIMIT_NOFILE", hard.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES)), hard)?;
    // Raising the score needs no privilege; the command could lower it again to that of its caller. If it fails, the run
    // is as likely to be killed as its caller.
    let path = "/proc/self/oom_score_adj";
    let inherited = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if inherited.is_some_and(|score| score < OOM_SCORE) {
        let _ = std::fs::write(path, OOM_SCORE.to_string());
    }
    Ok(())
}

/// Sets requested limits that no cgroup enforces, in the command's own user namespace.
fn set_asked(limits: Limits, proof: &SingleThreaded) -> Result<(), StepError> {
    if let Some(memory) = limits.memory {
        // Not RLIMIT_AS: many programs reserve far more memory than they use.
        set(Resource::Data, "RLIMIT_DATA", memory, Some(memory)).at(Step::LimitMemory)?;
    }
    if let Some(millicpus) = limits.millicpus {
        bind_to_cpus(whole_cpus(millicpus)).at(Step::LimitCpus)?;
    }
    if let Some(pids) = limits.pids {
        limit_processes(pids, proof).at(Step::LimitProcesses)?;
    }
    Ok(())
}

fn set(resource: Resource, name: &'static str, current: u64, maximum: Option<u64>) -> Result<(), SysError> {
    // An existing lower limit is kept.
    let least = |asked: u64, has: Option<u64>| has.map_or(asked, |has| has.min(asked));
    let hard = getrlimit(resource).maximum;
    let maximum = maximum.map(|asked| least(asked, hard)).or(hard);
    setrlimit(resource, Rlimit { current: Some(least(current, maximum)), maximum }).call("setrlimit", name)
}

/// Sets the nice value of the command.
fn set_nice(nice: i8) -> Result<(), SysError> {
    rustix::process::setpriority_process(None, nice.into()).call("setpriority", nice.to_string())
}

/// Binds the command to `count` of the available processors, chosen at random so that parallel runs do not all use the
/// first ones.
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

/// Shows the command the first `count` of the available processors.
fn show_cpus(count: u32) -> Result<(), SysError> {
    let mut shown = CpuSet::new();
    for cpu in allowed_cpus()?.into_iter().take(usize::try_from(count).unwrap_or(usize::MAX)) {
        shown.set(cpu);
    }
    sched_setaffinity(None, &shown).call("sched_setaffinity", "")
}

/// Processors that this process may use.
pub(in crate::sandbox) fn allowed_cpus() -> Result<Vec<usize>, SysError> {
    let allowed = sched_getaffinity(None).call("sched_getaffinity", "")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Sets `RLIMIT_NPROC` after a trial. Since Linux 5.14 it counts the processes of a user in a user namespace, which are
/// those of this run; before, all processes of the user on the host. It does not apply to root.
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
    // This process is the only one: a limit of one must refuse a second process, and a limit of two must not.
    if one_more_than(1)? || !one_more_than(2)? {
        return Err(SysError::new("setrlimit", name, Errno::OPNOTSUPP));
    }
    set(Resource::Nproc, name, pids, Some(pids))
}
