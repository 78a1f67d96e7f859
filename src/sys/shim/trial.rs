//! The trial: a program that `hermes doctor` composes a root of, as that root's shell. It does what the scripts of packages do and
//! what few hosts allow, and exits with 0 if all of that works, else with the number of what does not.
//!
//! `build.rs` compiles it.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::mem::MaybeUninit;

use call::call;

mod call;

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x30, #0", "bl {main}", "brk #1", main = sym main);

#[cfg(target_arch = "x86_64")]
mod number {
    pub const MKDIRAT: usize = 258;
    pub const FCHOWNAT: usize = 260;
    pub const STATX: usize = 332;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const MKDIRAT: usize = 34;
    pub const FCHOWNAT: usize = 54;
    pub const STATX: usize = 291;
    pub const CLOCK_GETTIME: usize = 113;
    pub const EXIT_GROUP: usize = 94;
}

/// `AT_FDCWD`
const HERE: usize = (-100_isize).cast_unsigned();

/// User and group of a file (`struct statx`: bytes 20 and 24).
fn owner(path: usize) -> Option<(u32, u32)> {
    const BASIC: usize = 0x7ff;
    let mut buffer = MaybeUninit::<[u32; 64]>::uninit();
    let place = buffer.as_mut_ptr();
    // SAFETY: a path, and a buffer of the size that the call fills.
    let failed = unsafe { call(number::STATX, [HERE, path, 0, BASIC, place.expose_provenance(), 0]) };
    // SAFETY: the call has filled all of it.
    (failed == 0).then(|| unsafe { ((*place)[5], (*place)[6]) })
}

/// The number of what does not work.
fn fault() -> usize {
    /// 2020-01-01 and a day after it, in seconds since 1970: the time of the composition.
    const TIMES: core::ops::Range<i64> = 1_577_836_800..1_577_923_200;
    let [made, owned] = [c"/made", c"/owned"].map(|path| path.as_ptr().expose_provenance());
    let mut time = [0_i64; 2];
    // SAFETY: a path; a path; a buffer of two numbers.
    let (directory, change, clock) = unsafe {
        (
            call(number::MKDIRAT, [HERE, made, 0o755, 0, 0, 0]),
            call(number::FCHOWNAT, [HERE, made, 7, 8, 0, 0]),
            call(number::CLOCK_GETTIME, [0, (&raw mut time).expose_provenance(), 0, 0, 0, 0]),
        )
    };
    if directory != 0 {
        return 1;
    }
    if change != 0 || owner(made) != Some((7, 8)) {
        return 2;
    }
    if owner(owned) != Some((9, 9)) {
        return 3;
    }
    if clock != 0 || !TIMES.contains(&time[0]) { 4 } else { 0 }
}

extern "C" fn main() -> ! {
    // SAFETY: the end.
    unsafe { call(number::EXIT_GROUP, [fault(), 0, 0, 0, 0, 0]) };
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the end.
    unsafe { call(number::EXIT_GROUP, [5, 0, 0, 0, 0, 0]) };
    loop {}
}
