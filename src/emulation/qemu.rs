//! Finding and checking QEMU on the host.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use rustix::fs::CWD;

use crate::digest::Digest;
use crate::emulation::elf;
use crate::emulation::handler::qemu;
use crate::emulation::version;
use crate::fs::beneath::Links;
use crate::fs::regular;
use crate::fs::trust::{Distrust, Trust};
use crate::hint::{ErrorKind, Hint};
use crate::lock::{Emulator, Origin};
use crate::platform::Platform;

/// Largest emulator, in bytes. QEMU's programs have 3 to 8 MB.
pub(crate) const MAX_PROGRAM: u64 = 256 << 20;

/// The programs of a foreign platform cannot be emulated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmulationError {
    /// No emulator was found.
    #[error("programs for {guest} need an emulator on this {host} host, and there is no {program}-static", guest = platform.name(), host = Platform::host().name())]
    Absent {
        platform: Platform,
        /// Such as `qemu-aarch64`.
        program: String,
    },
    /// The file cannot be read.
    #[error("cannot read the emulator {path}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file is not usable as an emulator in a sandbox.
    #[error("cannot use {path} as an emulator: it is {what}")]
    Unfit { path: PathBuf, what: String },
    /// The file does not have the SHA-256 that the toolchain names.
    #[error("checksum mismatch for the emulator {path}: expected {wanted}, got {found}")]
    Changed {
        path: PathBuf,
        /// The digest in the toolchain.
        wanted: Digest,
        /// The digest of the file.
        found: Digest,
    },
    /// The image or package has no such file.
    #[error("{} has no emulator {} for {}", origin.place(), origin.path(), platform.name())]
    NotThere {
        /// The image or package, and the path in it.
        origin: Box<Origin>,
        platform: Platform,
    },
}

impl Hint for EmulationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unfit { .. } | Self::Changed { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Absent { platform, .. } => vec![
                "install the package qemu-user-static (Debian, Ubuntu, Fedora, openSUSE have it), or put the program in a directory of PATH; it need not be registered".into(),
                in_config(*platform),
                "or name an image that contains one in the toolchain: [emulator] image = \"docker.io/tonistiigi/binfmt:qemu-v9.2.2\"".into(),
                format!("or use a cross toolchain: hermes run --toolchain dockcross --platform {}", platform.name()),
            ],
            Self::Unfit { .. } => vec!["install a static build for this host, such as Debian's qemu-user-static".into()],
            Self::Changed { wanted, .. } => vec![
                "install the file that the toolchain expects, or write the digest of this one into [emulator] of the toolchain".into(),
                format!("'sha256sum' should print {}", wanted.hex()),
            ],
            Self::NotThere { platform, .. } => vec![
                "set the 'path', or another 'image' or 'package', in [emulator] of the toolchain".into(),
                in_config(*platform),
            ],
            Self::Unreadable { path, source } => Distrust::of(source).map_or_else(Vec::new, |distrust| {
                let mut hints = distrust.hints(path);
                hints.push("or name it in a toolchain with its digest: [emulator] file = \"…\", sha256 = \"…\"".into());
                hints
            }),
        }
    }
}

fn in_config(platform: Platform) -> String {
    format!(
        "or name the file in config.toml: [emulator] {} = \"/path/to/qemu-{}-static\"",
        platform.name(),
        qemu(platform)
    )
}

/// The path of the emulator of `platform`: replaces `{arch}` by QEMU's name of the architecture.
#[must_use]
pub(crate) fn path_for(pattern: &str, platform: Platform) -> String {
    pattern.replace("{arch}", qemu(platform))
}

/// Finds the host's emulator for `platform`: `qemu-ARCH-static` or a static `qemu-ARCH` in a directory of `search`.
///
/// # Errors
/// There is none, or it is not usable.
pub(crate) fn find(platform: Platform, search: &[PathBuf]) -> Result<EmulatorFile, EmulationError> {
    let program = format!("qemu-{}", qemu(platform));
    let named =
        |suffix: &str| search.iter().map(|dir| dir.join(format!("{program}{suffix}"))).find(|path| path.is_file());
    if let Some(path) = named("-static") {
        return EmulatorFile::open_trusted(path, platform);
    }
    // Many hosts have a dynamically linked one, which is not usable.
    match named("").map(|path| EmulatorFile::open_trusted(path, platform)) {
        None | Some(Err(EmulationError::Unfit { .. })) => Err(EmulationError::Absent { platform, program }),
        Some(found) => found,
    }
}

/// The open file of an emulator, so that the file that was checked is the one that is used.
#[derive(Debug)]
pub(crate) struct EmulatorFile {
    path: PathBuf,
    file: File,
    emulator: Emulator,
}

impl EmulatorFile {
    /// Opens the program at `path` and checks that it can run programs of `platform` in a sandbox. It must be a static program
    /// for this host, since a sandbox has no loader and libraries of the host. It may have any owner: the caller compares its
    /// digest with a trusted one, or trusts the image that contains it.
    ///
    /// # Errors
    /// It is unreadable, not ELF, for another machine, dynamically linked, or QEMU for another architecture.
    pub(crate) fn open_any_owner(path: PathBuf, platform: Platform) -> Result<Self, EmulationError> {
        let file = regular::open(CWD, &path, Links::Follow);
        Self::new(path, file, platform)
    }

    /// As [`Self::open_any_owner`], but only the user or root may be able to write to it.
    pub(crate) fn open_trusted(path: PathBuf, platform: Platform) -> Result<Self, EmulationError> {
        let file = Trust::in_caller().open_followed(&path);
        Self::new(path, file, platform)
    }

    fn new(path: PathBuf, file: io::Result<File>, platform: Platform) -> Result<Self, EmulationError> {
        let read = file.and_then(|file| Ok((regular::read(&file, MAX_PROGRAM)?, file)));
        let (bytes, file) = read.map_err(|source| EmulationError::Unreadable { path: path.clone(), source })?;
        let emulator = check(&bytes, &path, platform)?;
        Ok(Self { path, file, emulator })
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    #[must_use]
    pub(crate) fn emulator(&self) -> &Emulator {
        &self.emulator
    }
}

/// Checks and identifies the program at `path`, as [`EmulatorFile::open_any_owner`] does.
pub(crate) fn inspect(path: &Path, platform: Platform) -> Result<Emulator, EmulationError> {
    Ok(EmulatorFile::open_any_owner(path.to_owned(), platform)?.emulator)
}

fn check(bytes: &[u8], path: &Path, platform: Platform) -> Result<Emulator, EmulationError> {
    let unfit = |what: &str| EmulationError::Unfit { path: path.to_owned(), what: what.to_owned() };
    is_static(bytes).map_err(unfit)?;
    let version = version::of(bytes, qemu(platform));
    if version.is_none()
        && let Some(other) = Platform::all().find(|other| version::of(bytes, qemu(*other)).is_some())
    {
        return Err(unfit(&format!("QEMU for {}, not for {}", qemu(other), qemu(platform))));
    }
    Ok(Emulator { version, ..Emulator::new(Digest::of(bytes), bytes.len() as u64) })
}

fn is_static(bytes: &[u8]) -> Result<(), &'static str> {
    let header = object::elf::FileHeader64::<LittleEndian>::parse(bytes).map_err(|_| "not a 64-bit ELF program")?;
    if header.e_machine(LittleEndian).0 != elf::fields(Platform::host()).2 {
        return Err("made for another processor");
    }
    let segments = header.program_headers(LittleEndian, bytes).map_err(|_| "a damaged ELF file")?;
    if segments.iter().any(|segment| segment.p_type(LittleEndian) == object::elf::PT_INTERP) {
        return Err("dynamically linked");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_unfit_emulator_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("qemu-aarch64-static");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let search = [dir.path().to_owned()];
        assert!(matches!(find(Platform::Arm64, &search), Err(EmulationError::Unfit { .. })));
        assert!(matches!(find(Platform::Arm64, &[]), Err(EmulationError::Absent { .. })));
        let unfit = |path: &Path, word: &str| match inspect(path, Platform::Arm64) {
            Err(EmulationError::Unfit { what, .. }) => assert!(what.contains(word), "{what}"),
            other => panic!("{other:?}"),
        };
        unfit(&std::env::current_exe().unwrap(), "dynamically linked");
        unfit(&script, "not a 64-bit ELF");
        assert!(matches!(inspect(dir.path(), Platform::Arm64), Err(EmulationError::Unreadable { .. })));
        assert_eq!(path_for("/q/qemu-{arch}", Platform::ArmV6), "/q/qemu-arm");
    }
}
