//! Structures that the kernel fills for stat(2) and similar calls, on each architecture.

use crate::sandbox::seccomp::Arch;
use crate::sys::file::STATX;

/// Attributes of a file as statx(2) returns them (linux/stat.h).
pub(super) struct Attributes(pub(super) [u8; STATX]);

/// Offset and width of a field in bytes.
type Field = (usize, usize);

const MASK: Field = (0, 4);
const NLINK: Field = (16, 4);
const UID: Field = (20, 4);
const GID: Field = (24, 4);
const MODE: Field = (28, 2);
const INO: Field = (32, 8);
const BTIME: Field = (80, 8);
const BTIME_NS: Field = (88, 4);
const RDEV_MAJOR: Field = (128, 4);
const RDEV_MINOR: Field = (132, 4);
const DEV_MAJOR: Field = (136, 4);
const DEV_MINOR: Field = (140, 4);

/// Bits of a mode that hold the type of the file.
const TYPE: u64 = libc::S_IFMT as u64;

impl Attributes {
    fn get(&self, (at, width): Field) -> u64 {
        self.0[at..at + width].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn set(&mut self, (at, width): Field, value: u64) {
        self.0[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// Device and inode: no other file has them while this one exists.
    pub(super) fn key(&self) -> (u64, u64) {
        (device(self.get(DEV_MAJOR), self.get(DEV_MINOR)), self.get(INO))
    }

    /// Time at which the file was made, in seconds since 1970 and nanoseconds after them; `None` if the file system does not
    /// know it, or it was not requested.
    pub(super) fn born(&self) -> Option<(i64, u32)> {
        let known = self.get(MASK) & u64::from(libc::STATX_BTIME) != 0;
        known.then(|| (self.get(BTIME).cast_signed(), u32::try_from(self.get(BTIME_NS)).unwrap_or(0)))
    }

    /// Number of hard links.
    pub(super) fn links(&self) -> u64 {
        self.get(NLINK)
    }

    /// User and group.
    pub(super) fn owner(&self) -> (u32, u32) {
        let id = |field| u32::try_from(self.get(field)).unwrap_or(0);
        (id(UID), id(GID))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.get(MODE) & TYPE == u64::from(libc::S_IFDIR)
    }

    /// Replaces the owner.
    pub(super) fn set_owner(&mut self, (user, group): (u32, u32)) {
        self.set(UID, user.into());
        self.set(GID, group.into());
    }

    /// Makes the file a device of this kind (`S_IFCHR`, `S_IFBLK`) and number (as of mknod(2)).
    pub(super) fn set_device(&mut self, kind: u32, number: u32) {
        let number = u64::from(number);
        self.set(MODE, self.get(MODE) & !TYPE | u64::from(kind));
        self.set(RDEV_MAJOR, number >> 8 & 0xfff);
        self.set(RDEV_MINOR, number & 0xff | number >> 12 & 0xf_ff00);
    }
}

/// Device number in the form of stat(2) and mknod(2) (`linux/kdev_t.h`, `new_encode_dev`).
fn device(major: u64, minor: u64) -> u64 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// Layout of a structure of stat(2): its size, and its fields in the order of [`Layout::bytes`].
pub(super) struct Layout {
    length: usize,
    fields: [Field; 17],
}

/// A field that the structure lacks.
const NONE: Field = (0, 0);

/// `struct stat` of x86-64 (arch/x86/include/uapi/asm/stat.h).
const X86_64: Layout = Layout {
    length: 144,
    fields: [
        (0, 8),
        (8, 8),
        NONE,
        (24, 4),
        (16, 8),
        (28, 4),
        (32, 4),
        (40, 8),
        (48, 8),
        (56, 8),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 8),
        (96, 8),
        (104, 8),
        (112, 8),
    ],
};

/// `struct stat` of aarch64 (include/uapi/asm-generic/stat.h).
const AARCH64: Layout = Layout {
    length: 128,
    fields: [
        (0, 8),
        (8, 8),
        NONE,
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 4),
        (32, 8),
        (48, 8),
        (56, 4),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 8),
        (96, 8),
        (104, 8),
        (112, 8),
    ],
};

/// `struct stat64` of i386, whose 64-bit fields are aligned to four bytes.
const I386: Layout = Layout {
    length: 96,
    fields: [
        (0, 8),
        (88, 8),
        (12, 4),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 4),
        (32, 8),
        (44, 8),
        (52, 4),
        (56, 8),
        (64, 4),
        (68, 4),
        (72, 4),
        (76, 4),
        (80, 4),
        (84, 4),
    ],
};

/// `struct stat64` of 32-bit Arm (arch/arm/include/uapi/asm/stat.h).
const ARM: Layout = Layout {
    length: 104,
    fields: [
        (0, 8),
        (96, 8),
        (12, 4),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 4),
        (32, 8),
        (48, 8),
        (56, 4),
        (64, 8),
        (72, 4),
        (76, 4),
        (80, 4),
        (84, 4),
        (88, 4),
        (92, 4),
    ],
};

/// `struct stat` of i386 and 32-bit Arm, with ids of 16 bits.
const SHORT: Layout = Layout {
    length: 64,
    fields: [
        (0, 4),
        (4, 4),
        NONE,
        (8, 2),
        (10, 2),
        (12, 2),
        (14, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 4),
        (32, 4),
        (36, 4),
        (40, 4),
        (44, 4),
        (48, 4),
        (52, 4),
    ],
};

/// Id that the kernel returns in place of one that needs more than 16 bits (`DEFAULT_OVERFLOWUID`).
const OVERFLOW: u64 = 65534;

impl Layout {
    /// Layout of the structure that `call` fills on `arch`.
    pub(super) fn of(call: &str, arch: Arch) -> &'static Self {
        match (arch, call.ends_with("64") || call == "newfstatat") {
            (Arch::X86_64, _) => &X86_64,
            (Arch::Aarch64, _) => &AARCH64,
            (Arch::I386, true) => &I386,
            (Arch::Arm, true) => &ARM,
            (Arch::I386 | Arch::Arm, false) => &SHORT,
        }
    }

    /// The structure; `None` if a value does not fit, which the kernel reports itself.
    pub(super) fn bytes(&self, of: &Attributes) -> Option<Vec<u8>> {
        let time = |at: usize| [of.get((at, 8)), of.get((at + 8, 4))];
        let ([atime, atime_ns], [ctime, ctime_ns], [mtime, mtime_ns]) = (time(64), time(96), time(112));
        let ino = of.get(INO);
        let rdev = device(of.get(RDEV_MAJOR), of.get(RDEV_MINOR));
        let short = self.length == SHORT.length;
        let id = |field| of.get(field).min(if short { OVERFLOW } else { u64::MAX });
        let values = [
            of.key().0,
            ino,
            ino & 0xffff_ffff,
            of.get(MODE),
            of.get(NLINK),
            id(UID),
            id(GID),
            rdev,
            of.get((40, 8)),
            of.get((4, 4)),
            of.get((48, 8)),
            atime,
            atime_ns,
            mtime,
            mtime_ns,
            ctime,
            ctime_ns,
        ];
        let mut bytes = vec![0; self.length];
        for ((at, width), value) in self.fields.into_iter().zip(values) {
            if width == 0 {
                continue;
            }
            let (low, high) = (&value.to_le_bytes()[..width], &value.to_le_bytes()[width..]);
            if high.iter().any(|byte| *byte != 0) {
                return None;
            }
            bytes[at..at + width].copy_from_slice(low);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::sys::file::statx;

    fn value(bytes: &[u8], at: usize, width: usize) -> u64 {
        bytes[at..at + width].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    #[test]
    fn the_hosts_structure_is_that_of_the_c_library() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut attributes = Attributes(statx(&file, libc::STATX_BASIC_STATS).unwrap());
        attributes.set_owner((70_000, 80_000));
        attributes.set_device(libc::S_IFBLK, 0x0012_3456);
        let real = file.metadata().unwrap();
        let arch = Arch::NATIVE[0];
        let bytes = Layout::of("newfstatat", arch).bytes(&attributes).unwrap();
        assert_eq!(bytes.len(), size_of::<libc::stat>());
        for (at, width, want) in [
            (offset_of!(libc::stat, st_dev), 8, real.dev()),
            (offset_of!(libc::stat, st_ino), 8, real.ino()),
            (offset_of!(libc::stat, st_mode), 4, u64::from(libc::S_IFBLK) | u64::from(real.mode()) & 0o7777),
            (offset_of!(libc::stat, st_nlink), 4, real.nlink()),
            (offset_of!(libc::stat, st_uid), 4, 70_000),
            (offset_of!(libc::stat, st_gid), 4, 80_000),
            (offset_of!(libc::stat, st_rdev), 8, 0x0012_3456),
            (offset_of!(libc::stat, st_size), 8, real.size()),
            (offset_of!(libc::stat, st_blksize), 4, real.blksize()),
            (offset_of!(libc::stat, st_blocks), 8, real.blocks()),
            (offset_of!(libc::stat, st_atime), 8, real.atime().cast_unsigned()),
            (offset_of!(libc::stat, st_mtime), 8, real.mtime().cast_unsigned()),
            (offset_of!(libc::stat, st_mtime_nsec), 8, real.mtime_nsec().cast_unsigned()),
            (offset_of!(libc::stat, st_ctime_nsec), 8, real.ctime_nsec().cast_unsigned()),
        ] {
            assert_eq!(value(&bytes, at, width), want, "at {at}");
        }
        assert_eq!(attributes.key(), (real.dev(), real.ino()));
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_kernel() {
        let mut attributes = Attributes([0; STATX]);
        attributes.set_owner((70_000, 5));
        attributes.set(INO, 7);
        let bytes = Layout::of("stat", Arch::I386).bytes(&attributes).unwrap();
        assert_eq!((value(&bytes, 4, 4), value(&bytes, 12, 2), value(&bytes, 14, 2)), (7, OVERFLOW, 5));
        attributes.set((40, 8), 1 << 32);
        assert_eq!(Layout::of("stat", Arch::I386).bytes(&attributes), None);
        let bytes = Layout::of("stat64", Arch::I386).bytes(&attributes).unwrap();
        assert_eq!((bytes.len(), value(&bytes, 24, 4), value(&bytes, 44, 8)), (96, 70_000, 1 << 32));
    }
}
