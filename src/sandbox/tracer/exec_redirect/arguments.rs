//! System calls that execute programs, and their arguments.

use rustix::process::Pid;

use crate::sandbox::seccomp::{Arch, number};
use crate::sys::ptrace::read_memory;
use crate::sys::registers::Registers;

/// Calls that execute programs.
pub(in crate::sandbox) const CALLS: [&str; 2] = ["execve", "execveat"];

/// Maximum size of a path with its terminator, in bytes (linux/limits.h).
const PATH_MAX: usize = 4096;
/// Reads within one page do not fail halfway.
const PAGE: usize = 4096;
/// More than the kernel accepts of arguments, variables and their addresses together, in bytes: three quarters of
/// `_STK_LIM` (fs/exec.c).
const MOST: usize = 6 << 20;

/// A call that executes a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct Execution {
    /// Whether it is a 32-bit call.
    pub(in crate::sandbox) narrow: bool,
    /// Argument with the path; the next one is the list of the program's arguments.
    pub(in crate::sandbox) place: usize,
    /// Directory of a relative path.
    pub(in crate::sandbox) directory: i32,
    /// Address of the path.
    pub(in crate::sandbox) path: u64,
    /// Address of the list of arguments.
    pub(in crate::sandbox) list: u64,
    /// `AT_*`
    pub(in crate::sandbox) flags: u32,
    arch: Arch,
}

impl Execution {
    /// Reads the call from the registers, if it is one that executes a program. On the other architecture the numbers of
    /// these calls belong to no call that stops.
    pub(in crate::sandbox) fn of(registers: &Registers) -> Option<Self> {
        let found = Arch::NATIVE
            .into_iter()
            .flat_map(|arch| CALLS.map(|call| (arch, call)))
            .find(|(arch, call)| registers.may_be(is_narrow(*arch)) && number(call, *arch) == Some(registers.number()));
        let (arch, call) = found?;
        let narrow = is_narrow(arch);
        let arguments = registers.arguments(narrow);
        let low = |at: usize| u32::try_from(arguments[at] & 0xffff_ffff).unwrap_or(0);
        let at = call == "execveat";
        let place = usize::from(at);
        Some(Self {
            narrow,
            place,
            directory: if at { low(0).cast_signed() } else { libc::AT_FDCWD },
            path: arguments[place],
            list: arguments[place + 1],
            flags: if at { low(4) } else { 0 },
            arch,
        })
    }

    /// Size of an address in bytes.
    pub(in crate::sandbox) fn word(&self) -> usize {
        if self.narrow { 4 } else { 8 }
    }

    /// The same call with another path and list. The path is absolute.
    pub(in crate::sandbox) fn redirected(&self, registers: &Registers, path: u64, list: u64) -> Registers {
        let mut registers = *registers;
        registers.set_argument(self.narrow, self.place, path);
        registers.set_argument(self.narrow, self.place + 1, list);
        if self.place == 1 {
            registers.set_argument(self.narrow, 4, 0);
        }
        registers
    }

    /// A call that allocates `length` bytes of memory, in place of this one (mmap(2)).
    pub(in crate::sandbox) fn for_memory(&self, registers: &Registers, length: u64) -> Option<Registers> {
        let bits = |bits: i32| u64::from(bits.cast_unsigned());
        let nothing = if self.narrow { u64::from(u32::MAX) } else { u64::MAX };
        let protection = bits(libc::PROT_READ | libc::PROT_WRITE);
        let kind = bits(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let arguments = [0, length, protection, kind, nothing, 0];
        self.instead(registers, if self.narrow { "mmap2" } else { "mmap" }, &arguments)
    }

    /// A call that makes a descriptor close on exec, or not, in place of this one (fcntl(2)).
    pub(in crate::sandbox) fn for_descriptor(&self, registers: &Registers, fd: i32, closes: bool) -> Option<Registers> {
        let arguments = [fd, libc::F_SETFD, if closes { libc::FD_CLOEXEC } else { 0 }];
        self.instead(registers, "fcntl", &arguments.map(|argument| u64::from(argument.cast_unsigned())))
    }

    fn instead(&self, registers: &Registers, call: &str, arguments: &[u64]) -> Option<Registers> {
        let mut registers = *registers;
        registers.set_number(number(call, self.arch)?);
        for (at, value) in arguments.iter().enumerate() {
            registers.set_argument(self.narrow, at, *value);
        }
        Some(registers)
    }

    /// Bytes of an address in a list.
    pub(in crate::sandbox) fn bytes_of(&self, address: u64) -> Vec<u8> {
        address.to_ne_bytes()[..self.word()].to_vec()
    }

    /// Addresses in the list of arguments of `pid`. As for the kernel, a null pointer is an empty list.
    pub(in crate::sandbox) fn addresses(&self, pid: Pid) -> Listed {
        let mut addresses = Vec::new();
        let mut at = self.list;
        let word = self.word();
        let mut page = [0; PAGE];
        while at != 0 {
            let length = to_page_end(at);
            // An address may cross two pages if the list is not aligned.
            let length = if length < word { length + word } else { length - length % word };
            let read = read_memory(pid, at, &mut page[..length.min(PAGE)]);
            if read < word {
                return Listed::Unreadable;
            }
            for bytes in page[..read - read % word].chunks_exact(word) {
                let mut address = [0; 8];
                address[..word].copy_from_slice(bytes);
                match u64::from_ne_bytes(address) {
                    0 => return Listed::All(addresses),
                    address => addresses.push(address),
                }
            }
            if addresses.len() * word > MOST {
                return Listed::TooMany;
            }
            at += u64::try_from(read - read % word).unwrap_or(0);
        }
        Listed::All(addresses)
    }
}

/// Content of a list of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Listed {
    /// Addresses.
    All(Vec<u64>),
    /// More than the kernel accepts.
    TooMany,
    /// Part of it cannot be read.
    Unreadable,
}

/// Number of bytes from an address to the end of its page.
fn to_page_end(address: u64) -> usize {
    PAGE - usize::try_from(address % 4096).unwrap_or(0)
}

fn is_narrow(arch: Arch) -> bool {
    matches!(arch, Arch::I386 | Arch::Arm)
}

/// Reads the path at `address` of `pid`.
pub(in crate::sandbox) fn path(pid: Pid, address: u64) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut page = [0; PAGE];
    while path.len() < PATH_MAX {
        let at = address.checked_add(u64::try_from(path.len()).ok()?)?;
        let length = to_page_end(at);
        let read = read_memory(pid, at, &mut page[..length]);
        if let Some(end) = page[..read].iter().position(|byte| *byte == 0) {
            path.extend_from_slice(&page[..end]);
            return (path.len() < PATH_MAX).then_some(path);
        }
        if read < length {
            return None;
        }
        path.extend_from_slice(&page[..read]);
    }
    None
}
