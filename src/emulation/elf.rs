//! Recognizing ELF programs by their headers (gABI, chapter 4).

use object::LittleEndian;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader as _};

use crate::platform::Platform;

/// The ELF fields that identify a platform: class (1: 32 bit, 2: 64 bit), byte order (1: little, 2: big) and machine
/// (gABI, `e_machine`).
pub(super) fn fields(platform: Platform) -> (u8, u8, u16) {
    match platform {
        Platform::I386 => (1, 1, 0x03),
        Platform::Amd64 => (2, 1, 0x3e),
        Platform::ArmV5 | Platform::ArmV6 | Platform::ArmV7 => (1, 1, 0x28),
        Platform::Arm64 => (2, 1, 0xb7),
        Platform::Mips64le => (2, 1, 0x08),
        Platform::Ppc64le => (2, 1, 0x15),
        Platform::Riscv64 => (2, 1, 0xf3),
        Platform::S390x => (2, 2, 0x16),
    }
}

/// The first bytes of a platform's programs, and a mask of the significant bits.
pub(super) fn pattern(platform: Platform) -> ([u8; 20], [u8; 20]) {
    let (class, order, machine) = fields(platform);
    let half = |value: u16| if order == 1 { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut magic = [0; 20];
    magic[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    // e_type is 2 (executable) or 3 (position independent): the mask below excludes the lowest bit.
    magic[16..18].copy_from_slice(&half(2));
    magic[18..].copy_from_slice(&half(machine));
    let mut mask = [0xff; 20];
    // The mask excludes the OS ABI and its version, which differ between Debian and Alpine, and the padding of e_ident after
    // them, which the kernel ignores, and in which AppImages have a mark.
    mask[7..16].fill(0);
    mask[16..18].copy_from_slice(&half(0xfffe));
    (magic, mask)
}

/// Whether a file that begins with `head` is a program for `platform`.
#[must_use]
pub fn is_program(platform: Platform, head: &[u8]) -> bool {
    let (magic, mask) = pattern(platform);
    let differs = |((byte, magic), mask): ((&u8, u8), u8)| (byte ^ magic) & mask != 0;
    head.len() >= magic.len() && !head.iter().zip(magic).zip(mask).any(differs)
}

/// The loader (`PT_INTERP`) of a program that begins with `head`, if it is within `head`.
#[must_use]
pub fn interpreter(head: &[u8]) -> Option<&[u8]> {
    fn of<H: FileHeader<Endian = LittleEndian>>(head: &[u8]) -> Option<&[u8]> {
        let headers = H::parse(head).ok()?.program_headers(LittleEndian, head).ok()?;
        headers.iter().find_map(|header| header.interpreter(LittleEndian, head).ok()?)
    }
    of::<FileHeader64<LittleEndian>>(head).or_else(|| of::<FileHeader32<LittleEndian>>(head))
}
