//! `binfmt_misc` registrations (Documentation/admin-guide/binfmt-misc.rst).

use std::fmt::Write as _;

use serde::Serialize;

use crate::emulation::elf;
use crate::platform::Platform;

/// A `binfmt_misc` handler: an emulator, and the programs it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Handler {
    /// The programs' platform.
    pub platform: Platform,
    /// Path of the emulator in the sandbox.
    pub interpreter: String,
}

/// QEMU's name of the architecture, as in `qemu-aarch64`.
pub(super) fn qemu(platform: Platform) -> &'static str {
    match platform {
        Platform::I386 => "i386",
        Platform::Amd64 => "x86_64",
        Platform::ArmV5 | Platform::ArmV6 | Platform::ArmV7 => "arm",
        Platform::Arm64 => "aarch64",
        Platform::Mips64le => "mips64el",
        Platform::Ppc64le => "ppc64le",
        Platform::Riscv64 => "riscv64",
        Platform::S390x => "s390x",
    }
}

/// Prefix of the environment variables that QEMU reads (`linux-user/main.c`).
pub(crate) const VARIABLES: &str = "QEMU_";

/// Environment variables of the emulator for `platform`. Without them `qemu-arm` emulates its newest ARM, and would run
/// programs that an `ARMv6` cannot run.
#[must_use]
pub(crate) fn environment(platform: Platform) -> &'static [(&'static str, &'static str)] {
    match platform {
        Platform::ArmV5 => &[("QEMU_CPU", "arm926")],
        Platform::ArmV6 => &[("QEMU_CPU", "arm1176")],
        _ => &[],
    }
}

impl Handler {
    /// The handler of `platform`, with the emulator at `/.hermes/qemu-…` of the sandbox.
    #[must_use]
    pub(crate) fn new(platform: Platform) -> Self {
        Self { platform, interpreter: format!("/.hermes/qemu-{}", qemu(platform)) }
    }

    /// The line to write to `register`.
    ///
    /// Flags: F opens the emulator at registration, so that it need not be reachable later and cannot be replaced; P
    /// preserves argv\[0\]; O passes the program as a descriptor, so that a program without read permission can run. Never C,
    /// which could give privileges.
    #[must_use]
    pub(crate) fn registration(&self) -> Vec<u8> {
        let (magic, mask) = elf::pattern(self.platform);
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "\\x{byte:02x}");
                text
            })
        };
        format!(":qemu-{}:M::{}:{}:{}:FPO", qemu(self.platform), hex(&magic), hex(&mask), self.interpreter).into_bytes()
    }

    /// Whether a file that begins with `head` matches the handler.
    #[must_use]
    pub(crate) fn runs(&self, head: &[u8]) -> bool {
        elf::is_program(self.platform, head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_those_of_qemu_but_for_the_padding() {
        // As in scripts/qemu-binfmt-conf.sh of QEMU 7.2, except that those masks include the padding of e_ident.
        for (platform, line) in [
            (
                Platform::Arm64,
                r":qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff:/.hermes/qemu-aarch64:FPO",
            ),
            (
                Platform::ArmV6,
                r":qemu-arm:M::\x7f\x45\x4c\x46\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff:/.hermes/qemu-arm:FPO",
            ),
            (
                Platform::Mips64le,
                r":qemu-mips64el:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x08\x00:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff:/.hermes/qemu-mips64el:FPO",
            ),
            (
                Platform::S390x,
                r":qemu-s390x:M::\x7f\x45\x4c\x46\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\xff\xff:/.hermes/qemu-s390x:FPO",
            ),
        ] {
            assert_eq!(String::from_utf8(Handler::new(platform).registration()).unwrap(), line);
        }
    }

    #[test]
    fn programs_are_told_apart() {
        let head = |platform, kind: u16| {
            let mut head = elf::pattern(platform).0.to_vec();
            head[16..18].copy_from_slice(&if platform == Platform::S390x {
                kind.to_be_bytes()
            } else {
                kind.to_le_bytes()
            });
            head
        };
        for platform in Platform::all() {
            let handler = Handler::new(platform);
            assert!(handler.runs(&head(platform, 2)) && handler.runs(&head(platform, 3)), "{platform:?}");
            // A relocatable object, a core dump, and a truncated header.
            assert!(!handler.runs(&head(platform, 1)) && !handler.runs(&head(platform, 4)), "{platform:?}");
            assert!(!handler.runs(&head(platform, 2)[..19]));
            for other in Platform::all().filter(|other| elf::fields(*other) != elf::fields(platform)) {
                assert!(!handler.runs(&head(other, 2)), "{platform:?} {other:?}");
            }
        }
        let mut abi = head(Platform::Arm64, 3);
        abi[7] = 3;
        assert!(Handler::new(Platform::Arm64).runs(&abi));
        // An AppImage; an invalid ELF version.
        abi[8..11].copy_from_slice(b"AI\x02");
        assert!(Handler::new(Platform::Arm64).runs(&abi));
        abi[6] = 0;
        assert!(!Handler::new(Platform::Arm64).runs(&abi));
    }

    #[test]
    fn every_registration_fits_the_kernel() {
        for platform in Platform::all() {
            let handler = Handler::new(platform);
            assert!(handler.registration().len() <= 1920 && handler.interpreter.len() <= 127);
        }
    }
}
