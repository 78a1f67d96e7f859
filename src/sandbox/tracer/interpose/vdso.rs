//! The page with which a program reads clocks without the kernel (vdso(7)), out of its sight.
//!
//! A C library learns of it from the vector behind the environment on the first stack (getauxval(3)), which is changed
//! before the program's first instruction. The page stays where it is; who looks for it in `/proc/self/maps` or
//! `/proc/self/auxv` finds it.

use rustix::process::Pid;

use crate::sys::ptrace::{read_memory, write_memory};
use crate::sys::registers::Registers;

/// Types of entries (linux/auxvec.h).
const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_SYSINFO_EHDR: u64 = 33;

/// More addresses of arguments and variables there cannot be: `_STK_LIM / 4 * 3` (fs/exec.c), of at least 4 bytes each.
const MOST: usize = (6 << 20) / 4;
/// Read at a time, in bytes.
const PIECE: usize = 4096;

/// Words of the first stack of a program, from its lowest on.
struct Words {
    pid: Pid,
    /// Bytes of a word.
    size: usize,
    /// Where `bytes` were read.
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
            // The end of the stack is the end of the memory that there is.
            if read == 0 {
                return None;
            }
        }
        let mut word = [0; 8];
        word[..self.size].copy_from_slice(&self.bytes[offset..offset + self.size]);
        Some(u64::from_le_bytes(word))
    }
}

/// Hides the page from the program that `pid` has just become. Where its memory is not to be had nothing is done.
pub(super) fn hide(pid: Pid) -> Option<()> {
    let registers = Registers::read(pid).ok()?;
    let size = if registers.is_narrow() { 4 } else { 8 };
    let mut words = Words { pid, size, start: registers.stack(), bytes: Vec::new() };
    // The number of arguments, these and a 0, the variables and a 0.
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
