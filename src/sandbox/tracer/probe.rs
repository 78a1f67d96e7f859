//! Probe of emulation by ptrace.

use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};

use super::attach::Gate;
use super::exec_redirect::{Execution, exec_stop_rules};
use crate::sandbox::seccomp;
use crate::sys::process::{Forked, exit_now, fork, single_threaded};
use crate::sys::ptrace::{self, Resume, Stop};
use crate::sys::registers::Registers;
use crate::sys::{self, Context as _, SysError};

/// Error of the call in the probe: no kernel returns it for execve(2).
const SAID: Errno = Errno::XFULL;

/// Stops a child before it executes a program, reads the arguments of the call, and makes it fail.
///
/// # Errors
///
/// The call that was refused.
pub(in crate::sandbox) fn probe() -> Result<(), SysError> {
    let none = || SysError::new("ptrace", "a call that stops", Errno::INVAL);
    let proof = single_threaded()?.ok_or_else(none)?;
    let gate = Gate::new()?;
    let child = match fork(&proof)? {
        Forked::Child(_) => exit_now(i32::from(child(gate) != Some(SAID))),
        Forked::Parent(child) => child,
    };
    gate.open(|| ptrace::seize(child, false))?;
    let mut met = false;
    loop {
        let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty())).call("waitpid", "")?;
        let Some((_, status)) = status else { return Err(none()) };
        match ptrace::stop_of(status) {
            None if met && status.exit_status() == Some(0) => return Ok(()),
            None => return Err(none()),
            Some(Stop::Seccomp) => {
                let registers = Registers::read(child).call("ptrace", "PTRACE_GETREGS")?;
                met = Execution::of(&registers).is_some_and(|call| call.path != 0);
                ptrace::refuse(child, u16::try_from(SAID.raw_os_error()).unwrap_or(0))
                    .call("ptrace", "PTRACE_SETREGS")?;
            }
            Some(_) => {}
        }
        ptrace::resume(child, Resume::Freely(0)).call("ptrace", "PTRACE_CONT")?;
    }
}

/// Makes the call, and returns its error.
fn child(gate: Gate) -> Option<Errno> {
    gate.pass().ok().filter(|is_watched| *is_watched)?;
    rustix::thread::set_no_new_privs(true).ok()?;
    sys::seccomp::filter(&seccomp::program(&exec_stop_rules(seccomp::rules(false)))).ok()?;
    let none: [&std::ffi::CStr; 0] = [];
    let Err(errno) = nix::unistd::execve(c"/no/such/program", &none, &none);
    Some(Errno::from_raw_os_error(errno as i32))
}
