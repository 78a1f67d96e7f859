//! Ends of emulated commands that may be the emulator's fault.

use std::fmt;

use crate::digest::Digest;
use crate::emulation::handler::qemu;
use crate::lock::Emulator;
use crate::platform::Platform;

/// An emulated command that ended by a signal of which a bug of the emulator may be the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    signal: &'static str,
    platform: Platform,
    emulator: Digest,
    version: Option<String>,
}

impl Crash {
    /// Whether `exit_code`, a command's own or 128 and the number of a signal (a shell's word for the end of its last
    /// program), tells of one.
    #[must_use]
    pub(crate) fn of(exit_code: u8, platform: Platform, emulator: &Emulator) -> Option<Self> {
        // signal(7): the same numbers on all hosts that hermes runs on.
        let signal = match exit_code.checked_sub(128)? {
            4 => "SIGILL",
            6 => "SIGABRT",
            7 => "SIGBUS",
            11 => "SIGSEGV",
            _ => return None,
        };
        Some(Self { signal, platform, emulator: emulator.digest, version: emulator.version.clone() })
    }
}

impl fmt::Display for Crash {
    /// A hint, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("of unknown version");
        write!(
            f,
            "{} in a program that qemu-{} {version} ({}) emulated for {}: if the program is not to blame, try another \
             version of QEMU, named in config.toml: [emulator] {} = \"FILE\"; or in [emulator] of the toolchain, without \
             the [emulator] block of the lock",
            self.signal,
            qemu(self.platform),
            self.emulator,
            self.platform.name(),
            self.platform.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_ends_are_crashes() {
        let emulator = Emulator { version: Some("9.2.2 (x)".into()), ..Emulator::new(Digest::of(b"qemu"), 4) };
        let of = |code| Crash::of(code, Platform::ArmV6, &emulator).map(|crash| crash.to_string());
        for code in [0, 1, 11, 124, 125, 126, 127, 128, 129, 130, 137, 141, 143, 255] {
            assert_eq!(of(code), None, "{code}");
        }
        for (code, signal) in [(132, "SIGILL"), (134, "SIGABRT"), (135, "SIGBUS"), (139, "SIGSEGV")] {
            let text = of(code).unwrap();
            assert!(text.starts_with(signal) && text.contains("qemu-arm 9.2.2 (x)"), "{text}");
            assert!(text.contains("[emulator] linux-armv6"), "{text}");
        }
    }
}
