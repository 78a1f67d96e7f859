//! Hides the page with which a program reads clocks without the kernel (vdso(7)).
//!
//! A C library finds the page through the auxiliary vector behind the environment on the initial stack (getauxval(3)),
//! which is changed before the first instruction of the program. The page stays mapped; a program that looks for it in
//! `/proc/self/maps` or `/proc/self/auxv` finds it.

use rustix::process::Pid;

use crate::sys::ptrace::{read_memory, write_memory};
use crate::sys::registers::Registers;

/// Types of entries (linux/auxvec.h).
const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_SYSINFO_EHDR: u64 = 33;

/// Maximum number of addresses of arguments and variables: `_STK_LIM / 4 * 3` (fs/exec.c), of at least 4 bytes each.
const MOST: usize = (6 << 20) / 4;
/// Size of a read in bytes.
const PIECE: usize = 4096;

/// Words of the initial stack of a program, from the lowest on.
struct Words {
    pid: Pid,
    /// Size of a word in bytes.
    size: usize,
    /// Address of `bytes`.
    start: u64,
    bytes: Vec<u8>,
}

impl Words {
    fn at(&mut self, place: usize) -> Option<u64> {
        let offset = place * self.size;
        while offset + self.size > self.bytes.len() {
            let from = self.bytes.len();
            self.bytes.resize(from + PIECE, 0);
            let read = read_memory(self.pid, self.start + u64::try_from(from).ok()?, &mut self.bytes[from..]);
            self.bytes.truncate(from + read);
            // The end of the stack is the end of readable memory.
            if read == 0 {
                return None;
            }
        }
        let mut word = [0; 8];
        word[..self.size].copy_from_slice(&self.bytes[offset..offset + self.size]);
        Some(u64::from_le_bytes(word))
    }
}

/// Hides the page from the program that `pid` has just executed. Does nothing if its memory cannot be read.
pub(super) fn hide(pid: Pid) -> Option<()> {
    let registers = Registers::read(pid).ok()?;
    let size = if registers.is_narrow() { 4 } else { 8 };
    let mut words = Words { pid, size, start: registers.stack(), bytes: Vec::new() };
    // Number of arguments, the arguments and a 0, the variables and a 0.
    let mut place = 2 + usize::try_from(words.at(0)?).ok().filter(|arguments| *arguments < MOST)?;
    while words.at(place)? != 0 {
        place += 1;
        if place > 2 * MOST {
            return None;
        }
    }
    place += 1;
    loop {
        match words.at(place)? {
            AT_NULL => return Some(()),
            AT_SYSINFO_EHDR => {
                let address = words.start + u64::try_from(place * size).ok()?;
                return write_memory(pid, address, &AT_IGNORE.to_le_bytes()[..size]).then_some(());
            }
            _ => place += 2,
        }
    }
}
