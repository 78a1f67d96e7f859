//! Answers interposed calls at the stops of traced processes.

use std::collections::HashMap;

use rustix::process::Pid;

use super::calls::{InterposedCall, interposed_call};
use super::clock::{self, Width};
use super::directory::{Directories, Form, Read};
use super::positions::Positions;
use super::vdso;
use crate::sandbox::interposed::Interposed;
use crate::sys::SysError;
use crate::sys::ptrace::{self, Call, Resume};
use crate::sys::registers::Registers;

/// Distance below the stack pointer in bytes: beyond the red zone of 128 bytes, which code may use. The kernel writes a
/// signal frame there only after it has read the memory.
const BELOW: u64 = 256;

/// A call that waits for a time, with the original value of the argument that points to the time.
struct Waiting {
    narrow: bool,
    argument: usize,
    address: u64,
}

/// Answers the interposed calls of a command.
pub(in crate::sandbox) struct Interposer {
    /// Nanoseconds by which the command's clock is ahead.
    offset: Option<i128>,
    directories: Directories,
    /// Shortens positions to 32 bits, if requested.
    positions: Option<Positions>,
    waiting: HashMap<Pid, Waiting>,
}

impl Interposer {
    /// An interposer for a command that starts now. With `short`, positions in directories are shortened to 32 bits.
    pub(in crate::sandbox) fn new(interposed: &Interposed, short: bool) -> Self {
        let offset = interposed.clock.map(clock::offset_from_now);
        let (directories, positions) = (Directories::default(), short.then(Positions::new));
        Self { offset, directories, positions, waiting: HashMap::new() }
    }

    /// Handles the stop before the call `name`: returns how to resume the thread if the call is interposed.
    ///
    /// # Errors
    ///
    /// Neither init nor the kernel can answer the call correctly.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid, name: &str, call: &Call) -> Result<Option<Resume>, SysError> {
        let Some(interposed) = interposed_call(name) else { return Ok(None) };
        let offset = self.offset.unwrap_or(0);
        let given = match interposed {
            InterposedCall::ClockGet(width) => Read::Given(clock::gettime(pid, call, width, offset)),
            InterposedCall::TimeOfDay => Read::Given(clock::time_of_day(pid, call, offset)),
            InterposedCall::Time => Read::Given(clock::time(pid, call, offset)),
            InterposedCall::Entries64 if self.positions.is_some() => {
                self.positions.as_mut().map_or(Read::Kernel, |positions| positions.entries(pid, call))
            }
            InterposedCall::Entries64 => self.directories.entries(pid, call, Form::Wide),
            InterposedCall::Entries => {
                self.directories.entries(pid, call, Form::Old(if call.is_wide() { 8 } else { 4 }))
            }
            InterposedCall::SleepUntil(width) => return Ok(Some(self.wait_until(pid, call, Some(2), width, offset))),
            InterposedCall::FutexUntil(width) => {
                return Ok(Some(self.wait_until(pid, call, clock::moment_of_futex(call), width, offset)));
            }
        };
        match given {
            Read::Given(result) => {
                // A thread that was killed a moment ago needs no answer.
                let _ = ptrace::answer(pid, result);
            }
            Read::Kernel => {}
            Read::Failed(error) => return Err(error),
        }
        Ok(Some(Resume::Freely(0)))
    }

    /// Makes a call wait for its time on the host's clock. A copy of that time lies below the stack meanwhile: other
    /// threads may read the original, which is also used again.
    fn wait_until(&mut self, pid: Pid, call: &Call, argument: Option<usize>, width: Width, offset: i128) -> Resume {
        let change = || {
            let argument = argument?;
            let mut registers = Registers::read(pid).ok()?;
            let address = call.arguments[argument];
            let moment = clock::moment(pid, address, width == Width::Wide || call.is_wide(), offset)?;
            let place = registers.stack().checked_sub(BELOW)? & !15;
            if !ptrace::write_memory(pid, place, &moment) {
                return None;
            }
            let narrow = !call.is_wide();
            registers.set_argument(narrow, argument, place);
            registers.write(pid).ok()?;
            Some(Waiting { narrow, argument, address })
        };
        match change() {
            Some(waiting) => {
                self.waiting.insert(pid, waiting);
                Resume::ToExit
            }
            None => Resume::Freely(0),
        }
    }

    /// Handles the stop after a call; returns whether the call was one that waited.
    pub(in crate::sandbox) fn leave(&mut self, pid: Pid) -> bool {
        let Some(Waiting { narrow, argument, address }) = self.waiting.remove(&pid) else { return false };
        // Also if the kernel restarts the call for a signal, since it stops again.
        if let Ok(mut registers) = Registers::read(pid) {
            registers.set_argument(narrow, argument, address);
            let _ = registers.write(pid);
        }
        true
    }

    /// Handles the execution of a program.
    pub(in crate::sandbox) fn executed(&mut self, pid: Pid) {
        self.waiting.remove(&pid);
        if self.offset.is_some() {
            vdso::hide(pid);
        }
    }

    /// Drops the state of a thread that ended.
    pub(in crate::sandbox) fn ended(&mut self, pid: Pid) {
        self.waiting.remove(&pid);
        self.directories.forget(pid);
    }
}
