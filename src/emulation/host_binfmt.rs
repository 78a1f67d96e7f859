//! The host's `binfmt_misc` handlers (Documentation/admin-guide/binfmt-misc.rst).
//!
//! A sandbox without a `binfmt_misc` instance of its own uses that of the nearest outer user namespace that has one, else the
//! host's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::emulation::elf::pattern;
use crate::emulation::handler::qemu;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;

/// Mount point of `binfmt_misc`.
const MOUNT: &str = "/proc/sys/fs/binfmt_misc";

/// A problem with the host's handlers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The file system is not mounted.
    #[error("its handlers are not visible: {MOUNT} is not mounted")]
    NotMounted,
    /// All handlers are disabled.
    #[error("all its handlers are disabled")]
    SwitchedOff,
    /// No handler matches these programs.
    #[error("none of its handlers matches them")]
    Absent,
    /// A handler with the right name matches other files.
    #[error("its handler {0} matches other files: magic or mask are wrong for these programs")]
    OtherFiles(String),
    /// The handler is disabled.
    #[error("its handler {0} is disabled")]
    Disabled(String),
    /// The emulator would be opened in the sandbox.
    #[error("its handler {name} has no flag F, and {interpreter} is not in the sandbox", interpreter = interpreter.display())]
    NotFixed { name: String, interpreter: PathBuf },
    /// The file of the emulator does not exist.
    #[error("its handler {name} names {interpreter}, which does not exist", interpreter = interpreter.display())]
    Missing { name: String, interpreter: PathBuf },
}

/// The host has no usable handler for a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this host cannot run programs for {}: {fault}", platform.name())]
pub(crate) struct NoHostHandler {
    /// The programs' platform.
    pub platform: Platform,
    pub fault: Fault,
}

impl NoHostHandler {
    /// Whether there is a handler that is not usable.
    #[must_use]
    pub(crate) fn is_misconfigured(&self) -> bool {
        !matches!(self.fault, Fault::NotMounted | Fault::SwitchedOff | Fault::Absent)
    }
}

impl Hint for NoHostHandler {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    fn hints(&self) -> Vec<String> {
        let first = match &self.fault {
            Fault::NotMounted => format!("as root: mount -t binfmt_misc binfmt_misc {MOUNT}"),
            Fault::SwitchedOff => format!("as root: echo 1 > {MOUNT}/status"),
            Fault::Disabled(name) => format!("as root: echo 1 > {MOUNT}/{name}"),
            Fault::Absent => {
                "as root: install qemu-user-static with binfmt-support, or with systemd's binfmt service".to_owned()
            }
            Fault::OtherFiles(name) => format!(
                "as root: echo -1 > {MOUNT}/{name}, and register it again with the magic and mask of QEMU's qemu-binfmt-conf.sh"
            ),
            Fault::NotFixed { name, .. } => format!(
                "as root: echo -1 > {MOUNT}/{name}, and register it again with flag F (qemu-binfmt-conf.sh --persistent yes)"
            ),
            Fault::Missing { name, .. } => {
                format!("as root: reinstall it, or echo -1 > {MOUNT}/{name}")
            }
        };
        vec![first, "or omit --emulation host: hermes needs no handler of the host".to_owned()]
    }
}

/// A handler of the host that works in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostHandler {
    pub name: String,
    /// Path of the emulator on this host.
    pub interpreter: PathBuf,
    /// Whether argv\[0\] is preserved (flag P).
    pub keeps_argv0: bool,
}

/// A handler as the kernel shows it.
#[derive(Debug, Default)]
struct Entry {
    name: String,
    enabled: bool,
    interpreter: PathBuf,
    flags: String,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Entry {
    /// `None` for a handler that matches by file extension.
    fn read(name: &str, text: &str) -> Option<Self> {
        let mut entry = Self { name: name.to_owned(), ..Self::default() };
        for line in text.lines() {
            match line.split_once(' ') {
                None => entry.enabled |= line == "enabled",
                Some(("interpreter", path)) => entry.interpreter = path.into(),
                Some(("flags:", flags)) => flags.trim().clone_into(&mut entry.flags),
                Some(("offset", offset)) => entry.offset = offset.trim().parse().ok()?,
                Some(("magic", magic)) => entry.magic = hex(magic)?,
                Some(("mask", mask)) => entry.mask = hex(mask)?,
                Some(_) => {}
            }
        }
        (!entry.magic.is_empty()).then_some(entry)
    }

    /// Whether it matches a file that begins with `head`.
    fn matches(&self, head: &[u8]) -> bool {
        let Some(bytes) = head.get(self.offset..self.offset + self.magic.len()) else { return false };
        let mask = self.mask.iter().copied().chain(std::iter::repeat(0xff));
        bytes.iter().zip(&self.magic).zip(mask).all(|((byte, magic), mask)| (byte ^ magic) & mask == 0)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The host's handler for programs of `platform`.
///
/// # Errors
/// There is none that works in a sandbox.
pub(crate) fn host_handler(platform: Platform) -> Result<HostHandler, NoHostHandler> {
    find(platform, Path::new(MOUNT)).map_err(|fault| NoHostHandler { platform, fault })
}

fn find(platform: Platform, mount: &Path) -> Result<HostHandler, Fault> {
    let status = fs::read_to_string(mount.join("status")).map_err(|_| Fault::NotMounted)?;
    if status.trim() != "enabled" {
        return Err(Fault::SwitchedOff);
    }
    let mut entries = read_all(mount).map_err(|_| Fault::NotMounted)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    // The headers of an executable and of a position-independent executable.
    let mut head = pattern(platform).0;
    let kind = if head[5] == 1 { 16 } else { 17 };
    let fixed = head;
    head[kind] = 3;
    let (matching, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.matches(&head) && entry.matches(&fixed));
    let (enabled, disabled): (Vec<_>, Vec<_>) = matching.into_iter().partition(|entry| entry.enabled);
    let fault = |entry: &Entry| {
        let (name, interpreter) = (entry.name.clone(), entry.interpreter.clone());
        if !entry.flags.contains('F') {
            return Some(Fault::NotFixed { name, interpreter });
        }
        let gone = matches!(fs::metadata(&interpreter), Err(error) if error.kind() == io::ErrorKind::NotFound);
        gone.then_some(Fault::Missing { name, interpreter })
    };
    // Of several handlers the kernel uses the newest, which cannot be determined here: all of them have to work.
    if let Some(fault) = enabled.iter().find_map(fault) {
        return Err(fault);
    }
    let program = format!("qemu-{}", qemu(platform));
    let is_meant = |entry: &Entry| {
        let file = entry.interpreter.file_name().unwrap_or_default().to_string_lossy().into_owned();
        entry.name == program || file == program || file == format!("{program}-static")
    };
    match (enabled.into_iter().next(), disabled.into_iter().next()) {
        (Some(entry), _) => {
            Ok(HostHandler { keeps_argv0: entry.flags.contains('P'), name: entry.name, interpreter: entry.interpreter })
        }
        (None, Some(entry)) => Err(Fault::Disabled(entry.name)),
        (None, None) => {
            Err(others.into_iter().find(is_meant).map_or(Fault::Absent, |entry| Fault::OtherFiles(entry.name)))
        }
    }
}

fn read_all(mount: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(mount)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "register" && name != "status" {
            entries.extend(fs::read_to_string(entry.path()).ok().and_then(|text| Entry::read(&name, &text)));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &str = "7f454c460201010000000000000000000200b700";
    const MASK: &str = "ffffffffffffff00fffffffffffffffffeffffff";

    #[test]
    fn handlers_are_judged() {
        let here = std::env::current_exe().unwrap();
        let here = here.display();
        let entry = |state: &str, interpreter: &str, flags: &str, mask: &str| {
            format!("{state}\ninterpreter {interpreter}\nflags: {flags}\noffset 0\nmagic {MAGIC}\nmask {mask}\n")
        };
        let good = entry("enabled", &here.to_string(), "PF", MASK);
        let name = || "qemu-aarch64".to_owned();
        let gone = PathBuf::from("/usr/bin/no-such-qemu");
        let not_fixed = Fault::NotFixed { name: name(), interpreter: gone.clone() };
        let exact = MASK.replace("feffffff", "ffffffff");
        for (status, files, want) in [
            ("enabled", vec![good.clone()], None),
            ("disabled", vec![good.clone()], Some(Fault::SwitchedOff)),
            ("enabled", vec![], Some(Fault::Absent)),
            (
                "enabled",
                vec!["enabled\ninterpreter /usr/bin/mono\nflags: \nextension .exe\n".into()],
                Some(Fault::Absent),
            ),
            ("enabled", vec![good.replace("enabled", "disabled")], Some(Fault::Disabled(name()))),
            ("enabled", vec![entry("enabled", gone.to_str().unwrap(), "OC", MASK)], Some(not_fixed.clone())),
            (
                "enabled",
                vec![entry("enabled", gone.to_str().unwrap(), "F", MASK)],
                Some(Fault::Missing { name: name(), interpreter: gone.clone() }),
            ),
            ("enabled", vec![entry("enabled", &here.to_string(), "F", &exact)], Some(Fault::OtherFiles(name()))),
            ("enabled", vec![entry("enabled", gone.to_str().unwrap(), "", MASK), good.clone()], Some(not_fixed)),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("status"), format!("{status}\n")).unwrap();
            fs::write(dir.path().join("register"), "").unwrap();
            for (number, text) in files.iter().enumerate() {
                let name = if number == 0 { "qemu-aarch64".to_owned() } else { format!("other-{number}") };
                fs::write(dir.path().join(name), text).unwrap();
            }
            let found = find(Platform::Arm64, dir.path());
            assert_eq!(found.as_ref().err(), want.as_ref(), "{status} {files:?}");
            assert!(found.is_err() || found.is_ok_and(|handler| handler.keeps_argv0));
            assert!(find(Platform::S390x, dir.path()).is_err());
        }
        assert_eq!(find(Platform::Arm64, &gone), Err(Fault::NotMounted));
    }
}
