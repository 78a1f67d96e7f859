//! What init does when a process of a command in disguise stops.

use std::collections::HashMap;

use rustix::process::Pid;

use super::directory::{Directories, Form, Read};
use super::positions::Positions;
use super::{Interposed, InterposedCall, Width, clock, told, vdso};
use crate::sys::SysError;
use crate::sys::ptrace::{self, Call, Resume};
use crate::sys::registers::Registers;

/// Below the stack pointer, in bytes: beyond what code keeps there without saying (the red zone, 128), and where a
/// signal's frame may lie only once the kernel has read it.
const BELOW: u64 = 256;

/// A call that waits until a moment, and what its register was that says where the moment is.
struct Waiting {
    narrow: bool,
    argument: usize,
    address: u64,
}

/// Answers calls of a command.
pub(in crate::sandbox) struct Interposer {
    /// How far the command's clock is ahead, in nanoseconds.
    offset: Option<i128>,
    directories: Directories,
    /// Where positions are made to fit into 32 bits.
    positions: Option<Positions>,
    waiting: HashMap<Pid, Waiting>,
}

impl Interposer {
    /// One for a command that starts now; `short` where positions in directories have to fit into 32 bits.
    pub(in crate::sandbox) fn new(interposed: &Interposed, short: bool) -> Self {
        let offset = interposed.clock.map(clock::Clock::offset_from_now);
        let (directories, positions) = (Directories::default(), short.then(Positions::new));
        Self { offset, directories, positions, waiting: HashMap::new() }
    }

    /// Before the call `name`: how the thread goes on, if the call is one that is answered here.
    ///
    /// # Errors
    /// It can be answered neither so nor by the kernel.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid, name: &str, call: &Call) -> Result<Option<Resume>, SysError> {
        let Some(told) = told(name) else { return Ok(None) };
        let offset = self.offset.unwrap_or(0);
        let given = match told {
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
                // One that was killed a moment ago needs no answer.
                let _ = ptrace::answer(pid, result);
            }
            Read::Kernel => {}
            Read::Failed(error) => return Err(error),
        }
        Ok(Some(Resume::Freely(0)))
    }

    /// Has a call wait for its moment in the host's time, of which a copy lies below the stack meanwhile: its own may be read
    /// by others, and will be read again.
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

    /// After a call: whether it was one that waited.
    pub(in crate::sandbox) fn leave(&mut self, pid: Pid) -> bool {
        let Some(Waiting { narrow, argument, address }) = self.waiting.remove(&pid) else { return false };
        // Also where the kernel makes the call again for a signal: it stops again.
        if let Ok(mut registers) = Registers::read(pid) {
            registers.set_argument(narrow, argument, address);
            let _ = registers.write(pid);
        }
        true
    }

    /// Another program runs.
    pub(in crate::sandbox) fn executed(&mut self, pid: Pid) {
        self.waiting.remove(&pid);
        if self.offset.is_some() {
            vdso::hide(pid);
        }
    }

    /// The thread is no more, or another by now.
    pub(in crate::sandbox) fn ended(&mut self, pid: Pid) {
        self.waiting.remove(&pid);
        self.directories.forget(pid);
    }
}
