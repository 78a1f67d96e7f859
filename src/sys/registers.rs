//! Registers of a traced thread before or after a system call.
//!
//! `PTRACE_GET_SYSCALL_INFO` came with Linux 5.3 only, and cannot write them.

use std::ffi::c_uint;
use std::io;

use rustix::process::Pid;

use super::ptrace_request::request;

/// Size of the general registers in words: `struct user_regs_struct`, `struct user_pt_regs`.
#[cfg(target_arch = "x86_64")]
const WORDS: usize = 27;
#[cfg(target_arch = "aarch64")]
const WORDS: usize = 34;

/// General registers of a thread, in the form for a 64-bit tracer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    words: [u64; WORDS],
    /// Number of the call; written if it was changed.
    #[cfg(target_arch = "aarch64")]
    call: Option<u32>,
    /// Whether it is a thread of a 32-bit program, whose words have half the size.
    #[cfg(target_arch = "aarch64")]
    narrow: bool,
}

/// Indexes of the registers among the words (`arch/x86/include/asm/user_64.h`).
#[cfg(target_arch = "x86_64")]
mod at {
    pub(super) const BP: usize = 4;
    pub(super) const BX: usize = 5;
    pub(super) const R10: usize = 7;
    pub(super) const R9: usize = 8;
    pub(super) const R8: usize = 9;
    pub(super) const AX: usize = 10;
    pub(super) const CX: usize = 11;
    pub(super) const DX: usize = 12;
    pub(super) const SI: usize = 13;
    pub(super) const DI: usize = 14;
    pub(super) const CALL: usize = 15;
    pub(super) const IP: usize = 16;
    pub(super) const CS: usize = 17;
    pub(super) const SP: usize = 19;
    /// Registers of the arguments of a call, of 64 and of 32 bits.
    pub(super) const WIDE: [usize; 6] = [DI, SI, DX, R10, R8, R9];
    pub(super) const NARROW: [usize; 6] = [BX, CX, DX, SI, DI, BP];
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Reads the registers of the stopped thread `pid`.
    ///
    /// # Errors
    ///
    /// ESRCH if it was killed a moment ago.
    pub(crate) fn read(pid: Pid) -> io::Result<Self> {
        let mut words = [0; WORDS];
        // In the form of 64 bits for a 32-bit program too, in contrast to the register set.
        request(libc::PTRACE_GETREGS as c_uint, pid, 0, words.as_mut_ptr().addr())?;
        Ok(Self { words })
    }

    /// Writes the registers of `pid`.
    ///
    /// # Errors
    ///
    /// ESRCH if it was killed a moment ago.
    pub(crate) fn write(&self, pid: Pid) -> io::Result<()> {
        request(libc::PTRACE_SETREGS as c_uint, pid, 0, self.words.as_ptr().addr()).map(drop)
    }

    /// Number of the call.
    #[must_use]
    pub(crate) fn number(&self) -> u32 {
        low(self.words[at::CALL])
    }

    /// Whether the call can be one of 32 bits, or of 64 bits. On this architecture both kinds of programs can make both.
    #[must_use]
    #[expect(clippy::unused_self, reason = "the registers of aarch64 decide it")]
    pub(crate) fn may_be(&self, _narrow: bool) -> bool {
        true
    }

    /// Replaces the number of the call before it is made.
    pub(crate) fn set_number(&mut self, number: u32) {
        self.words[at::CALL] = number.into();
    }

    /// Arguments of the call, of 32 bits each if it is `narrow`.
    #[must_use]
    pub(crate) fn arguments(&self, narrow: bool) -> [u64; 6] {
        if narrow {
            return at::NARROW.map(|place| low(self.words[place]).into());
        }
        at::WIDE.map(|place| self.words[place])
    }

    /// Replaces an argument.
    pub(crate) fn set_argument(&mut self, narrow: bool, argument: usize, value: u64) {
        let place = if narrow { at::NARROW[argument] } else { at::WIDE[argument] };
        self.words[place] = value;
    }

    /// Result of the call after it was made; an errno if negative.
    #[must_use]
    pub(crate) fn result(&self, narrow: bool) -> i64 {
        let value = self.words[at::AX];
        if narrow { low(value).cast_signed().into() } else { value.cast_signed() }
    }

    /// Replaces the result of the call.
    pub(crate) fn set_result(&mut self, result: i64) {
        self.words[at::AX] = result.cast_unsigned();
    }

    /// Whether the thread executes 32-bit code.
    #[must_use]
    pub(crate) fn is_narrow(&self) -> bool {
        // `__USER32_CS`; Xen has a selector of its own (arch/x86/include/asm/segment.h, xen/interface).
        matches!(self.words[at::CS], 0x23 | 0xe023)
    }

    /// The stack pointer.
    #[must_use]
    pub(crate) fn stack(&self) -> u64 {
        self.words[at::SP]
    }

    /// Whether these registers, before a call, are at the same place of the program and its stack as `other`.
    #[must_use]
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        [at::IP, at::SP].iter().all(|place| self.words[*place] == other.words[*place])
    }

    /// Registers with which the thread makes its call once more, from those before the call.
    #[must_use]
    pub(crate) fn before_entry(mut self) -> Self {
        // syscall and int 0x80 have two bytes each; after sysenter and similar instructions the kernel returns behind an
        // int 0x80.
        self.words[at::IP] = self.words[at::IP].wrapping_sub(2);
        self.words[at::AX] = self.words[at::CALL];
        // Outside any call, so that the kernel restarts none for a signal.
        self.words[at::CALL] = u64::MAX;
        self
    }
}

/// `NT_PRSTATUS` is 31 registers, sp, pc and pstate; of a 32-bit program 18 words of 32 bits, which are r0 to
/// r15, cpsr and the first argument as it was. The number of the call is a set of its own.
#[cfg(target_arch = "aarch64")]
impl Registers {
    const GENERAL: usize = 1; // NT_PRSTATUS, linux/elf.h
    const SYSTEM_CALL: usize = 0x404; // NT_ARM_SYSTEM_CALL
    const PC: usize = 32;
    const NARROW_PC: usize = 15;
    const NARROW_FLAGS: usize = 16;
    const THUMB: u64 = 1 << 5;

    fn set(kind: c_uint, pid: Pid, which: usize, at: *mut u8, length: usize) -> io::Result<usize> {
        let mut set = libc::iovec { iov_base: at.cast(), iov_len: length };
        request(kind, pid, which, (&raw mut set).addr())?;
        Ok(set.iov_len)
    }

    /// Reads the registers of the stopped thread `pid`.
    ///
    /// # Errors
    ///
    /// ESRCH if it was killed a moment ago.
    pub fn read(pid: Pid) -> io::Result<Self> {
        let mut words = [0_u64; WORDS];
        let kind = libc::PTRACE_GETREGSET as c_uint;
        let length = Self::set(kind, pid, Self::GENERAL, words.as_mut_ptr().cast(), size_of_val(&words))?;
        let narrow = length < size_of_val(&words);
        if narrow {
            let packed = words;
            for (at, word) in words.iter_mut().enumerate() {
                let pair = packed[at / 2];
                *word = if at % 2 == 0 { pair & 0xffff_ffff } else { pair >> 32 };
            }
        }
        Ok(Self { words, call: None, narrow })
    }

    /// Writes the registers of `pid`.
    ///
    /// # Errors
    ///
    /// ESRCH if it was killed a moment ago.
    pub fn write(&self, pid: Pid) -> io::Result<()> {
        let kind = libc::PTRACE_SETREGSET as c_uint;
        if let Some(mut call) = self.call {
            Self::set(kind, pid, Self::SYSTEM_CALL, (&raw mut call).cast(), size_of_val(&call))?;
        }
        if self.narrow {
            let mut words = [0_u32; 18];
            for (word, from) in words.iter_mut().zip(self.words) {
                *word = low(from);
            }
            return Self::set(kind, pid, Self::GENERAL, words.as_mut_ptr().cast(), size_of_val(&words)).map(drop);
        }
        let mut words = self.words;
        Self::set(kind, pid, Self::GENERAL, words.as_mut_ptr().cast(), size_of_val(&words)).map(drop)
    }

    /// Number of the call.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.call.unwrap_or_else(|| low(self.words[if self.narrow { 7 } else { 8 }]))
    }

    /// Whether the call can be one of 32 bits, or of 64 bits.
    #[must_use]
    pub fn may_be(&self, narrow: bool) -> bool {
        self.narrow == narrow
    }

    /// Replaces the number of the call before it is made.
    pub fn set_number(&mut self, number: u32) {
        self.call = Some(number);
    }

    /// Arguments of the call.
    #[must_use]
    pub fn arguments(&self, _narrow: bool) -> [u64; 6] {
        std::array::from_fn(|at| self.words[at])
    }

    /// Replaces an argument.
    pub fn set_argument(&mut self, _narrow: bool, argument: usize, value: u64) {
        self.words[argument] = value;
    }

    /// Result of the call after it was made; an errno if negative.
    #[must_use]
    pub fn result(&self, narrow: bool) -> i64 {
        if narrow { low(self.words[0]).cast_signed().into() } else { self.words[0].cast_signed() }
    }

    /// Replaces the result of the call.
    pub fn set_result(&mut self, result: i64) {
        self.words[0] = result.cast_unsigned();
    }

    /// Whether the thread executes 32-bit code.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.narrow
    }

    /// The stack pointer.
    #[must_use]
    pub fn stack(&self) -> u64 {
        self.words[if self.narrow { 13 } else { 31 }]
    }

    /// Whether these registers, before a call, are at the same place of the program and its stack as `other`.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        let places = if self.narrow { [13, Self::NARROW_PC] } else { [31, Self::PC] };
        places.iter().all(|place| self.words[*place] == other.words[*place])
    }

    /// Registers with which the thread makes its call once more, from those before the call.
    #[must_use]
    pub fn before_entry(mut self) -> Self {
        if let Some(call) = self.call.take() {
            self.words[if self.narrow { 7 } else { 8 }] = call.into();
        }
        let thumb = self.narrow && self.words[Self::NARROW_FLAGS] & Self::THUMB != 0;
        let pc = if self.narrow { Self::NARROW_PC } else { Self::PC };
        self.words[pc] = self.words[pc].wrapping_sub(if thumb { 2 } else { 4 });
        self
    }
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).unwrap_or(0)
}
