//! Crashes of emulated commands that may be bugs of the emulator.

use std::fmt;

use crate::digest::Digest;
use crate::emulation::handler::qemu;
use crate::lock::Emulator;
use crate::platform::Platform;

/// An emulated command that was ended by a signal that may indicate a bug of the emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    signal: &'static str,
    platform: Platform,
    emulator: Digest,
    version: Option<String>,
}

impl Crash {
    /// Recognizes a crash by `exit_code`: the command's, or 128 plus the number of a signal, as shells report it.
    #[must_use]
    pub(crate) fn of(exit_code: u8, platform: Platform, emulator: &Emulator) -> Option<Self> {
        // signal(7): the numbers are the same on all supported hosts.
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
    /// A hint, in one line.
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
