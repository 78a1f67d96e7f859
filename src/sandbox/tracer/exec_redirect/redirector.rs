//! Redirects calls that would execute a foreign program to its emulator.
//!
//! Everything else is left to the kernel: if something is wrong, the call is not changed, and fails as it would without a
//! tracer. The decision permits nothing that the call could not execute anyway, so it does not matter that files and
//! memory may change meanwhile.
//!
//! The new arguments need memory in the process. None of its existing memory is safe: the stack of a goroutine ends soon,
//! and memory after vfork(2) belongs to the parent too. The process is therefore first made to allocate some (mmap(2)),
//! and then makes its own call again. The memory is gone when the program is executed. After vfork(2) it stays with the
//! parent: one page for each such call.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::Pid;

use super::arguments::{self, Execution, Listed};
use super::file::{self, From};
use super::script::Script;
use crate::emulation::Handler;
use crate::sys::ptrace;
use crate::sys::registers::Registers;

/// Maximum number of interpreters of a file (fs/exec.c, `exec_binprm`); with a registered handler, the emulator is one of
/// them.
const MOST_SCRIPTS: usize = 5;
const PAGE: u64 = 4096;

/// Decision about a call.
enum Decision {
    /// The kernel executes it unchanged.
    Kernel,
    /// It fails.
    Refuse(Errno),
    /// The emulator executes this program.
    Emulate(Program),
}

/// A program for the emulator.
struct Program {
    /// Words before the arguments of the call; the first is the program's own name.
    words: Vec<Word>,
    /// Path of the program.
    path: Word,
    /// Descriptor that the path names and that would close before the emulator could open it.
    closing: Option<i32>,
}

/// A string for the new program.
#[derive(Clone)]
enum Word {
    /// In the memory of the process, at this address.
    There(u64),
    /// To be written to the process.
    New(Vec<u8>),
}

/// A changed call in progress, with the registers from before it.
#[derive(Clone, Copy)]
enum UnderWay {
    /// It allocates this much memory.
    Memory(Registers, Execution, u64),
    /// It keeps this descriptor open for the emulator.
    Keeping(Registers, Execution, i32),
    /// The call failed with this error, and closes the descriptor that was kept.
    Closing(Registers, i64),
    /// It executes an emulator.
    Emulator(Registers, Execution),
}

/// Memory area of a process.
#[derive(Clone, Copy)]
struct Area {
    start: u64,
    length: u64,
}

/// State after the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Left {
    /// The process's own call is over, or the call was not changed.
    Done,
    /// The process makes its call again.
    Again,
}

/// Executes foreign programs.
pub(in crate::sandbox) struct ExecRedirector {
    handler: Handler,
    /// Processor model for the emulator, if it needs one.
    model: Option<Vec<u8>>,
    under_way: HashMap<Pid, UnderWay>,
    areas: HashMap<Pid, Area>,
    /// Descriptors to close if no program is executed.
    kept: HashMap<Pid, i32>,
    /// Calls that failed with this error and are made once more only to close such a descriptor.
    failed: HashMap<Pid, (Registers, i64)>,
}

impl ExecRedirector {
    /// A redirector for the programs of `handler`; `environment` is the command's.
    pub(in crate::sandbox) fn new(handler: Handler, environment: &[(OsString, OsString)]) -> Self {
        let model = environment.iter().rev().find(|(name, _)| name == "QEMU_CPU");
        let model = model.map(|(_, model)| model.as_bytes().to_vec());
        let (under_way, areas) = (HashMap::new(), HashMap::new());
        Self { handler, model, under_way, areas, kept: HashMap::new(), failed: HashMap::new() }
    }

    /// Drops the state of a thread that ended or executed a program.
    pub(in crate::sandbox) fn forget(&mut self, pid: Pid) {
        self.under_way.remove(&pid);
        self.areas.remove(&pid);
        self.kept.remove(&pid);
        self.failed.remove(&pid);
    }

    /// Handles the stop before a call; returns whether its end must be seen.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid) -> bool {
        // A thread that was killed a moment ago has no registers.
        let Ok(registers) = Registers::read(pid) else { return false };
        let Some(call) = Execution::of(&registers) else { return false };
        if let Some((before, result)) = self.failed.remove(&pid).filter(|(before, _)| before.is_at(&registers)) {
            let Some(closing) = self.kept.remove(&pid).and_then(|fd| call.for_descriptor(&registers, fd, true)) else {
                return false;
            };
            self.under_way.insert(pid, UnderWay::Closing(before, result));
            return closing.write(pid).is_ok();
        }
        match self.decide(pid, &call) {
            Decision::Kernel => false,
            Decision::Refuse(errno) => refuse(pid, errno),
            Decision::Emulate(program) => match call.addresses(pid) {
                Listed::Unreadable => false,
                Listed::TooMany => refuse(pid, Errno::TOOBIG),
                Listed::All(list) => self.emulate(pid, &registers, call, program, &list),
            },
        }
    }

    fn decide(&self, pid: Pid, call: &Execution) -> Decision {
        const KNOWN: i32 = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
        let has = |flag: i32| call.flags & flag.cast_unsigned() != 0;
        let Some(path) = arguments::path(pid, call.path).filter(|_| call.flags & !KNOWN.cast_unsigned() == 0) else {
            return Decision::Kernel;
        };
        if path.is_empty() && !has(libc::AT_EMPTY_PATH) {
            return Decision::Kernel;
        }
        let by_descriptor = call.directory != libc::AT_FDCWD && !path.starts_with(b"/");
        let from = if by_descriptor { From::Descriptor(call.directory) } else { From::Here };
        let Some(mut head) = file::head(pid, from, &path, !has(libc::AT_SYMLINK_NOFOLLOW)) else {
            return Decision::Kernel;
        };
        // The name that the kernel gives to the interpreter (fs/exec.c, `alloc_bprm`).
        let mut program = Word::There(call.path);
        if by_descriptor {
            let slash = if path.is_empty() { "" } else { "/" };
            program = Word::New([format!("/dev/fd/{}{slash}", call.directory).as_bytes(), &path].concat());
        }
        let mut words = vec![];
        for scripts in 0..=MOST_SCRIPTS {
            if self.handler.runs(&head) {
                if scripts == MOST_SCRIPTS {
                    return Decision::Refuse(Errno::LOOP);
                }
                // A file that only this descriptor leads to, which the emulator will not have.
                if scripts == 0 && by_descriptor && file::is_closed_by_exec(pid, call.directory) {
                    return Decision::Refuse(Errno::NOENT);
                }
                let closing = file::closing_descriptor(pid, &path).filter(|_| scripts == 0);
                return Decision::Emulate(Program { words, path: program, closing });
            }
            let Some(script) = Script::of(&head) else { return Decision::Kernel };
            if scripts == 0 && by_descriptor && file::is_closed_by_exec(pid, call.directory) {
                return Decision::Kernel;
            }
            let Some(next) = file::head(pid, From::Here, &script.interpreter, true) else { return Decision::Kernel };
            head = next;
            let interpreter = Word::New(script.interpreter);
            // The path of the script replaces the first word.
            let rest = words.get(1..).unwrap_or_default().to_vec();
            words = [Some(interpreter.clone()), script.argument.map(Word::New), Some(program)]
                .into_iter()
                .flatten()
                .chain(rest)
                .collect();
            program = interpreter;
        }
        Decision::Kernel
    }

    /// Changes the call to execute the emulator, or to allocate memory first. `list` are the arguments of the call.
    fn emulate(&mut self, pid: Pid, registers: &Registers, call: Execution, program: Program, list: &[u64]) -> bool {
        let Program { words, path, closing } = program;
        if let Some(fd) = closing {
            let Some(keeping) = call.for_descriptor(registers, fd, false) else { return false };
            self.under_way.insert(pid, UnderWay::Keeping(*registers, call, fd));
            return keeping.write(pid).is_ok();
        }
        let text = |text: &[u8]| Word::New(text.to_vec());
        let first = list.first().map_or_else(|| text(b""), |first| Word::There(*first));
        let mut line = vec![text(self.handler.interpreter.as_bytes()), text(b"-0")];
        line.push(words.first().cloned().unwrap_or(first));
        if let Some(model) = &self.model {
            line.extend([text(b"-cpu"), text(model)]);
        }
        // The name of a program may begin with any character.
        line.extend([text(b"--"), path]);
        line.extend(words.iter().skip(1).cloned());
        line.extend(list.iter().skip(1).map(|address| Word::There(*address)));
        let texts = line.iter().map(|word| if let Word::New(text) = word { text.len() + 1 } else { 0 });
        let needed = u64::try_from(texts.sum::<usize>() + (line.len() + 1) * call.word()).unwrap_or(u64::MAX);
        let Some(area) = self.areas.get(&pid).copied().filter(|area| area.length >= needed) else {
            let length = needed.next_multiple_of(PAGE);
            let Some(asking) = call.for_memory(registers, length) else { return false };
            self.under_way.insert(pid, UnderWay::Memory(*registers, call, length));
            return asking.write(pid).is_ok();
        };
        // The list, followed by the strings.
        let mut addresses = Vec::new();
        let mut strings = Vec::new();
        let strings_start = area.start + u64::try_from((line.len() + 1) * call.word()).unwrap_or(0);
        for word in &line {
            addresses.extend(call.bytes_of(match word {
                Word::There(address) => *address,
                Word::New(_) => strings_start + u64::try_from(strings.len()).unwrap_or(0),
            }));
            if let Word::New(text) = word {
                strings.extend_from_slice(text);
                strings.push(0);
            }
        }
        addresses.extend(call.bytes_of(0));
        if !ptrace::write_memory(pid, area.start, &[addresses, strings].concat()) {
            // Another thread has changed the arguments.
            self.areas.remove(&pid);
            return false;
        }
        self.under_way.insert(pid, UnderWay::Emulator(*registers, call));
        call.redirected(registers, strings_start, area.start).write(pid).is_ok()
    }

    /// Handles the stop after a call.
    pub(in crate::sandbox) fn leave(&mut self, pid: Pid) -> Left {
        let Some(under_way) = self.under_way.remove(&pid) else {
            // Another program, executed by a thread that took over the id of the first thread.
            let is_there =
                |pid: Pid| rustix::fs::access(format!("/proc/{}", pid.as_raw_nonzero()), Access::EXISTS).is_ok();
            let known = self.areas.keys().chain(self.kept.keys()).chain(self.under_way.keys()).copied();
            for gone in known.filter(|pid| !is_there(*pid)).collect::<Vec<_>>() {
                self.forget(gone);
            }
            return Left::Done;
        };
        let Ok(now) = Registers::read(pid) else { return Left::Done };
        match under_way {
            UnderWay::Memory(mut before, call, length) => {
                let start = now.result(call.narrow);
                if (-4095..0).contains(&start) {
                    before.set_result(-i64::from(libc::ENOMEM));
                    let _ = before.write(pid);
                    return Left::Done;
                }
                let start = if call.narrow { start & 0xffff_ffff } else { start };
                self.areas.insert(pid, Area { start: start.cast_unsigned(), length });
                let _ = before.before_entry().write(pid);
                Left::Again
            }
            UnderWay::Keeping(before, call, fd) => {
                if now.result(call.narrow) == 0 {
                    self.kept.insert(pid, fd);
                }
                let _ = before.before_entry().write(pid);
                Left::Again
            }
            UnderWay::Emulator(mut before, call) => {
                let result = now.result(call.narrow);
                if !(-4095..0).contains(&result) {
                    self.forget(pid);
                    return Left::Done;
                }
                // It continues with its own registers; the memory is ready for its next attempt.
                if self.kept.contains_key(&pid) {
                    self.failed.insert(pid, (before, result));
                    let _ = before.before_entry().write(pid);
                    return Left::Again;
                }
                before.set_result(result);
                let _ = before.write(pid);
                Left::Done
            }
            UnderWay::Closing(mut before, result) => {
                before.set_result(result);
                let _ = before.write(pid);
                Left::Done
            }
        }
    }
}

/// Makes the call fail. Its end need not be seen.
fn refuse(pid: Pid, errno: Errno) -> bool {
    let _ = ptrace::refuse(pid, u16::try_from(errno.raw_os_error()).unwrap_or(0));
    false
}
