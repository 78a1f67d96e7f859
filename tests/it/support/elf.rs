//! Programs of a few bytes, so that an image can run without a C library.

use super::image::{Codec, Content, layer, noise};

/// The processors programs are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Amd64,
    I386,
    Arm64,
    Arm,
    Mips64le,
}

const BASE: u32 = 0x40_0000;

/// A static program that writes `text` to standard output and exits with `code`.
pub fn program(machine: Machine, text: &str, code: u8) -> Vec<u8> {
    let wide = matches!(machine, Machine::Amd64 | Machine::Arm64 | Machine::Mips64le);
    let head = if wide { 64 + 56 } else { 52 + 32 };
    let mut body = match machine {
        Machine::Amd64 => amd64(text, code),
        Machine::I386 => i386(text, code, BASE + head),
        Machine::Arm64 => arm64(text, code),
        Machine::Arm => arm(text, code),
        Machine::Mips64le => mips64le(text, code, BASE + head),
    };
    body.extend(text.as_bytes());
    let size = head + u32::try_from(body.len()).unwrap();
    let (number, flags): (u16, u32) = match machine {
        Machine::Amd64 => (0x3e, 0),
        Machine::I386 => (0x03, 0),
        Machine::Arm64 => (0xb7, 0),
        Machine::Arm => (0x28, 0x0500_0200),      // EABI 5
        Machine::Mips64le => (0x08, 0x8000_0007), // MIPS64 release 2, n64
    };
    let mut elf = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
    elf.resize(16, 0);
    let word = |elf: &mut Vec<u8>, value: u32| {
        elf.extend(value.to_le_bytes());
        if wide {
            elf.extend([0; 4]);
        }
    };
    elf.extend([2, 0]);
    elf.extend(number.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    word(&mut elf, BASE + head);
    word(&mut elf, if wide { 64 } else { 52 });
    word(&mut elf, 0);
    elf.extend(flags.to_le_bytes());
    let sizes: [u16; 6] = if wide { [64, 56, 1, 64, 0, 0] } else { [52, 32, 1, 40, 0, 0] };
    elf.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    // One segment that is the whole file, readable and executable.
    elf.extend(1_u32.to_le_bytes());
    if wide {
        elf.extend(5_u32.to_le_bytes());
    }
    for value in [0, BASE, BASE, size, size] {
        word(&mut elf, value);
    }
    if !wide {
        elf.extend(5_u32.to_le_bytes());
    }
    word(&mut elf, 0x1000);
    assert_eq!(elf.len(), head as usize);
    elf.extend(body);
    elf
}

fn length(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap()
}

fn amd64(text: &str, code: u8) -> Vec<u8> {
    let mut body = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // write, 1
    body.extend([0x48, 0x8d, 0x35, 19, 0, 0, 0]); // lea rsi, [rip + 19]
    body.extend([0xba, length(text), 0, 0, 0, 0x0f, 0x05]);
    body.extend([0xb8, 60, 0, 0, 0, 0xbf, code, 0, 0, 0, 0x0f, 0x05]);
    body
}

fn i386(text: &str, code: u8, start: u32) -> Vec<u8> {
    let mut body = vec![0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9];
    body.extend((start + 34).to_le_bytes());
    body.extend([0xba, length(text), 0, 0, 0, 0xcd, 0x80]);
    body.extend([0xb8, 1, 0, 0, 0, 0xbb, code, 0, 0, 0, 0xcd, 0x80]);
    body
}

fn arm64(text: &str, code: u8) -> Vec<u8> {
    let words = [
        0xd280_0020, // mov x0, 1
        0x1000_00e1, // adr x1, text
        0xd280_0002 | u32::from(length(text)) << 5,
        0xd280_0808, // mov x8, write
        0xd400_0001,
        0xd280_0000 | u32::from(code) << 5,
        0xd280_0ba8, // mov x8, exit
        0xd400_0001,
    ];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

fn arm(text: &str, code: u8) -> Vec<u8> {
    let words = [
        0xe3a0_0001, // mov r0, 1
        0xe28f_1014, // add r1, pc, 20: text
        0xe3a0_2000 | u32::from(length(text)),
        0xe3a0_7004, // mov r7, write
        0xef00_0000,
        0xe3a0_0000 | u32::from(code),
        0xe3a0_7001, // mov r7, exit
        0xef00_0000,
    ];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

fn mips64le(text: &str, code: u8, at: u32) -> Vec<u8> {
    let address = at + 4 * 9;
    let words = [
        0x2402_1389, // li v0, write
        0x2404_0001, // li a0, 1
        0x3c05_0000 | address >> 16,
        0x34a5_0000 | address & 0xffff,
        0x2406_0000 | u32::from(length(text)),
        0x0000_000c, // syscall
        0x2402_13c2, // li v0, exit
        0x2404_0000 | u32::from(code),
        0x0000_000c,
    ];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

/// An image for amd64 and arm64, tagged `1`, whose `tool` prints `word` and the architecture.
pub fn tiny(word: &str) -> Content {
    let mut content = Content::default();
    let entries = [(Machine::Amd64, "amd64"), (Machine::Arm64, "arm64")].map(|(machine, architecture)| {
        let tool = program(machine, &format!("{word} {architecture}\n"), 0);
        // Files of a size of their own, so that something is fetched that can be counted.
        let base = layer(Codec::Gzip, &[("usr/share/base", &noise(200_000))]);
        let top = layer(Codec::Zstd, &[("bin/tool", &tool)]);
        content.image(("linux", architecture, None), &[base, top])
    });
    let index = content.index(&entries);
    content.tag("1", &index)
}
