//! The shim: a program that is mounted over a compiler of a foreign image. It starts the native tool or, where only that gives
//! the right result, the compiler of the image. It is a separate static program of 10 KB, because the root that it runs in has
//! libraries of another architecture only. `build.rs` compiles it, and `emulation::native::shim` writes its orders into each
//! copy.
//!
//! It runs at each call of a compiler, so it allocates nothing: strings are borrowed from the stack that the kernel filled, or
//! lie in one mapping, which ends with execve(2).
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::mem::MaybeUninit;
use core::ptr;

use call::call;

mod call;

/// The orders: strings that end with a zero byte, each after a letter, up to an empty one.
///
/// | letter | the string |
/// |---|---|
/// | `n` | the native program |
/// | `o` | the program of the image |
/// | `=` `^` | an argument, or the beginning of one, that needs the program of the image |
/// | `u` | a variable that needs the program of the image if it is set |
/// | `x` | a variable that disables `u` if it is set |
/// | `a` | an argument to add before all others, unless one begins with the first of these |
/// | `e` | `NAME=VALUE` to set |
/// | `d` `v` | a directory, or an argument, that selects `P` |
/// | `z` | an argument that disables `p` and `P` |
/// | `p` `P` | `NAME=VALUE` to append to a list of paths; `P` if the directory `d` is not empty or the argument `v` is given, else `p` |
#[repr(C)]
struct Orders {
    magic: [u8; 16],
    text: [u8; 4096 - 16],
}

#[used]
#[unsafe(link_section = ".data")]
static ORDERS: Orders = Orders { magic: *b"hermes-shim-text", text: [0; 4096 - 16] };

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x30, #0", "mov x0, sp", "bl {main}", "brk #1", main = sym main);

#[cfg(target_arch = "x86_64")]
mod number {
    pub const OPENAT: usize = 257;
    pub const GETDENTS64: usize = 217;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const WRITE: usize = 1;
    pub const EXECVE: usize = 59;
    pub const EXIT_GROUP: usize = 231;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const OPENAT: usize = 56;
    pub const GETDENTS64: usize = 61;
    pub const CLOSE: usize = 57;
    pub const MMAP: usize = 222;
    pub const WRITE: usize = 64;
    pub const EXECVE: usize = 221;
    pub const EXIT_GROUP: usize = 94;
}

/// A string that ends with a zero byte, and lives as long as the program.
#[derive(Clone, Copy)]
struct Text(*const u8);

impl Text {
    fn byte(self, at: usize) -> u8 {
        // SAFETY: `at` is never beyond the zero byte, since everyone stops there. Volatile, because of what is written into
        // ORDERS after this is compiled.
        unsafe { ptr::read_volatile(self.0.add(at)) }
    }

    fn from(self, at: usize) -> Self {
        // SAFETY: as above.
        Self(unsafe { self.0.add(at) })
    }

    fn len(self) -> usize {
        (0..).find(|at| self.byte(*at) == 0).unwrap_or(0)
    }

    /// How much of `self` comes first in `other`, if all of it does.
    fn begins(self, other: Self) -> Option<usize> {
        (0..).find(|at| self.byte(*at) == 0 || self.byte(*at) != other.byte(*at)).filter(|at| self.byte(*at) == 0)
    }

    fn is(self, other: Self) -> bool {
        self.begins(other).is_some_and(|length| other.byte(length) == 0)
    }

    /// The value, where this is `NAME=VALUE` of the variable that `name` is, or sets.
    fn value_of(self, name: Self) -> Option<Self> {
        let length = (0..).find(|at| matches!(name.byte(*at), 0 | b'=')).unwrap_or(0);
        let same = (0..length).all(|at| self.byte(at) == name.byte(at));
        (same && self.byte(length) == b'=').then(|| self.from(length + 1))
    }
}

/// Strings from the kernel, up to a null pointer.
#[derive(Clone, Copy)]
struct Texts(*const Text);

impl Iterator for Texts {
    type Item = Text;

    fn next(&mut self) -> Option<Text> {
        // SAFETY: argv and envp end with a null pointer, at which this stops.
        let text = unsafe { *self.0 };
        if text.0.is_null() {
            return None;
        }
        // SAFETY: not yet the null pointer.
        self.0 = unsafe { self.0.add(1) };
        Some(text)
    }
}

/// All orders with this letter.
fn orders(letter: u8) -> impl Iterator<Item = Text> {
    let mut at = Text((&raw const ORDERS.text).cast());
    core::iter::from_fn(move || {
        let order = at;
        if order.byte(0) == 0 {
            return None;
        }
        at = order.from(order.len() + 1);
        Some(order)
    })
    .filter(move |order| order.byte(0) == letter)
    .map(|order| order.from(1))
}

/// Memory for the new arguments and environment: one mapping.
struct Room(*mut u8);

impl Room {
    fn new(bytes: usize) -> Option<Self> {
        const READ_WRITE: usize = 3;
        const PRIVATE_ANONYMOUS: usize = 0x22;
        // SAFETY: a new mapping, anywhere.
        let at = unsafe { call(number::MMAP, [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) };
        (at > 0).then(|| Self(ptr::with_exposed_provenance_mut(at.cast_unsigned())))
    }

    fn pointer(&mut self, text: Text) {
        // SAFETY: `native` asks for as much as it writes, and writes pointers before text, so that they are aligned.
        unsafe { ptr::write(self.0.cast(), text) };
        // SAFETY: as above.
        self.0 = unsafe { self.0.add(size_of::<Text>()) };
    }

    fn text(&mut self, text: Text, length: usize) {
        for at in 0..length {
            // SAFETY: as above.
            unsafe { ptr::write_volatile(self.0.add(at), text.byte(at)) };
        }
        // SAFETY: as above.
        self.0 = unsafe { self.0.add(length) };
    }
}

fn execute(program: Text, argv: *const Text, envp: *const Text) {
    // SAFETY: all three are terminated as execve(2) requires. It returns only if it fails.
    unsafe { call(number::EXECVE, [program.0.expose_provenance(), argv.expose_provenance(), envp.expose_provenance(), 0, 0, 0]) };
}

fn has_entries(directory: Text) -> bool {
    const AT_FDCWD: usize = (-100_isize).cast_unsigned();
    /// `O_DIRECTORY | O_CLOEXEC`
    const FLAGS: usize = if cfg!(target_arch = "x86_64") { 0x9_0000 } else { 0x8_4000 };
    /// Two entries with names of up to 5 bytes: `.` and `..` (`struct linux_dirent64`).
    const EMPTY: isize = 48;
    let mut entries = MaybeUninit::<[u64; 64]>::uninit(); // not zeroed: nothing here has a memset
    let path = directory.0.expose_provenance();
    // SAFETY: a path, and a buffer with its length.
    unsafe {
        let fd = call(number::OPENAT, [AT_FDCWD, path, FLAGS, 0, 0, 0]);
        if fd < 0 {
            return false;
        }
        let fd = fd.cast_unsigned();
        let buffer = entries.as_mut_ptr().expose_provenance();
        let read = call(number::GETDENTS64, [fd, buffer, size_of_val(&entries), 0, 0, 0]);
        call(number::CLOSE, [fd, 0, 0, 0, 0, 0]);
        read > EMPTY
    }
}

/// Whether the call needs the program of the image.
fn needs_own(arguments: Texts, environment: Texts) -> bool {
    let told = |mut arguments: Texts| {
        arguments.any(|argument| {
            orders(b'=').any(|order| order.is(argument)) || orders(b'^').any(|order| order.begins(argument).is_some())
        })
    };
    let is_set = |name: Text| { environment }.any(|variable| variable.value_of(name).is_some_and(|value| value.byte(0) != 0));
    told(arguments) || orders(b'u').any(is_set) && !orders(b'x').any(is_set)
}

/// Becomes the native program; returns if that fails.
fn native(program: Text, argv: *const Text, arguments: Texts, environment: Texts) -> Option<()> {
    let first = orders(b'a').next();
    let is_told = first.is_some_and(|first| { arguments }.any(|argument| first.begins(argument).is_some()));
    let more = || orders(b'a').filter(move |_| !is_told);
    let is_given = |order: Text| { arguments }.any(|argument| order.is(argument));
    let paths = if orders(b'z').any(is_given) {
        0
    } else if orders(b'd').any(has_entries) || orders(b'v').any(is_given) { b'P' } else { b'p' };
    let is_changed = |variable: Text| orders(b'e').chain(orders(paths)).any(|order| variable.value_of(order).is_some());
    let old = |order: Text| { environment }.find_map(|variable| variable.value_of(order)).filter(|old| old.byte(0) != 0);

    let pointers = 3 + { arguments }.count() + more().count() + { environment }.count() + orders(b'e').count() + orders(paths).count();
    let text: usize = orders(paths).map(|order| order.len() + old(order).map_or(0, Text::len) + 2).sum();
    let mut room = Room::new(pointers * size_of::<Text>() + text)?;
    // SAFETY: behind all pointers.
    let mut strings = Room(unsafe { room.0.add(pointers * size_of::<Text>()) });

    let new_argv: *const Text = room.0.cast();
    // SAFETY: a program has at least its name here, as `main` has seen.
    room.pointer(unsafe { *argv });
    more().chain(arguments).for_each(|argument| room.pointer(argument));
    room.pointer(Text(ptr::null()));
    let new_envp: *const Text = room.0.cast();
    { environment }.filter(|variable| !is_changed(*variable)).chain(orders(b'e')).for_each(|variable| room.pointer(variable));
    for order in orders(paths) {
        room.pointer(Text(strings.0));
        let name = (0..).find(|at| order.byte(*at) == b'=').unwrap_or(0) + 1;
        strings.text(order, name);
        if let Some(old) = old(order) {
            strings.text(old, old.len());
            strings.text(Text(c":".as_ptr().cast()), 1);
        }
        let value = order.from(name);
        strings.text(value, value.len() + 1);
    }
    room.pointer(Text(ptr::null()));
    execute(program, new_argv, new_envp);
    None
}

/// `stack` is the initial stack: the number of arguments, the arguments, null, the environment, null.
extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the layout of a new program's stack (System V ABI, 3.4.1).
    let (count, argv) = unsafe { (*stack, stack.add(1).cast::<Text>()) };
    if count > 0 {
        // SAFETY: as above.
        let (arguments, environment) = unsafe { (Texts(argv.add(1)), Texts(argv.add(count + 1))) };
        if !needs_own(arguments, environment)
            && let Some(program) = orders(b'n').next()
        {
            native(program, argv, arguments, environment);
        }
        // If the native program cannot be started, the image's does the same, more slowly.
        if let Some(program) = orders(b'o').next() {
            execute(program, argv, environment.0);
        }
    }
    const MESSAGE: &[u8] = b"hermes: neither the native tool nor the image's own could be started\n";
    // SAFETY: a buffer with its length; and the end.
    unsafe {
        call(number::WRITE, [2, MESSAGE.as_ptr().expose_provenance(), MESSAGE.len(), 0, 0, 0]);
        call(number::EXIT_GROUP, [126, 0, 0, 0, 0, 0]);
    }
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the end.
    unsafe { call(number::EXIT_GROUP, [126, 0, 0, 0, 0, 0]) };
    loop {}
}
