//! Finding the emulator on the host, and checking that it is one.

use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::emulation::handler::{elf, qemu};
use crate::fs::atomic;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;

/// Longest emulator file read, in bytes; QEMU's are 3 to 8 MB.
const MAX_PROGRAM: u64 = 256 << 20;

/// Why a foreign platform cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    /// No emulator was found.
    #[error("programs for {guest} need an emulator on this {host} host, and there is no {program}-static", guest = platform.name(), host = Platform::host().name())]
    Absent {
        /// The foreign platform.
        platform: Platform,
        /// Such as `qemu-aarch64`.
        program: String,
    },
    /// The file cannot be read.
    #[error("cannot read the emulator {path}")]
    Unreadable {
        /// The emulator.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file cannot serve as an emulator inside another root.
    #[error("{path} cannot serve as an emulator: it is {what}")]
    Unfit {
        /// The emulator.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Hint for EmulationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unfit { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Absent { platform, .. } => vec![
                "install the package qemu-user-static (Debian, Ubuntu, Fedora, openSUSE have it), or put the program anywhere on PATH; nothing needs to be registered".into(),
                format!("or name the file in config.toml: [emulator] {} = \"/path/to/qemu-{}-static\"", platform.name(), qemu(*platform)),
                format!("or take a cross toolchain: hermes run --toolchain dockcross --platform {}", platform.name()),
            ],
            Self::Unfit { .. } => vec!["a static build for this host is needed, such as Debian's qemu-user-static".into()],
            Self::Unreadable { .. } => vec![],
        }
    }
}

/// The emulator for `platform`: the one configured, else `qemu-ARCH-static` or a static `qemu-ARCH`
/// of a directory in `search`.
///
/// # Errors
/// None found, or the one found is not fit.
pub fn find(platform: Platform, configured: Option<&Path>, search: &[PathBuf]) -> Result<PathBuf, EmulationError> {
    if let Some(path) = configured {
        check(path)?;
        return Ok(path.to_owned());
    }
    let program = format!("qemu-{}", qemu(platform));
    let named =
        |suffix: &str| search.iter().map(|dir| dir.join(format!("{program}{suffix}"))).find(|path| path.is_file());
    if let Some(path) = named("-static") {
        check(&path)?;
        return Ok(path);
    }
    named("").filter(|path| check(path).is_ok()).ok_or(EmulationError::Absent { platform, program })
}

/// Checks that `path` is a static program for this host: inside the sandbox neither a loader nor
/// libraries of the host are in reach.
///
/// # Errors
/// Unreadable, not ELF, for another machine, or dynamically linked.
pub fn check(path: &Path) -> Result<(), EmulationError> {
    let bytes = atomic::read_limited(path, MAX_PROGRAM)
        .map_err(|source| EmulationError::Unreadable { path: path.to_owned(), source })?;
    let unfit = |what| Err(EmulationError::Unfit { path: path.to_owned(), what });
    let Ok(header) = object::elf::FileHeader64::<LittleEndian>::parse(&bytes[..]) else {
        return unfit("not a 64-bit ELF program");
    };
    if header.e_machine(LittleEndian).0 != elf(Platform::host()).2 {
        return unfit("made for another processor");
    }
    let Ok(segments) = header.program_headers(LittleEndian, &bytes[..]) else {
        return unfit("a damaged ELF file");
    };
    if segments.iter().any(|segment| segment.p_type(LittleEndian) == object::elf::PT_INTERP) {
        return unfit("dynamically linked");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfit_emulator_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("qemu-aarch64-static");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let search = [dir.path().to_owned()];
        assert!(matches!(find(Platform::Arm64, None, &search), Err(EmulationError::Unfit { .. })));
        assert!(matches!(find(Platform::Arm64, None, &[]), Err(EmulationError::Absent { .. })));
        let dynamic = std::env::current_exe().unwrap();
        assert!(matches!(check(&dynamic), Err(EmulationError::Unfit { what: "dynamically linked", .. })));
    }
}
