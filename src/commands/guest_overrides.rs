//! The options that change the guest view, and what they come to in a run.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::lock::{Build, Umask, is_hostname};
use crate::record::{GuestOverrides, GuestView};
use crate::rootfs::{Accounts, Identity};
use crate::sandbox::{HOSTNAME, Shared, UMASK};

impl GuestOverrides {
    /// The overrides, with the project's settings for those that the caller left out.
    #[must_use]
    pub(super) fn or_of(&self, build: &Build) -> Self {
        Self {
            hostname: Some(self.hostname.as_ref().unwrap_or(&build.hostname).clone()),
            umask: Some(self.umask.unwrap_or(build.umask)),
            nproc: self.nproc.or(build.nproc),
            ..self.clone()
        }
    }

    /// The host name inside.
    pub(super) fn hostname(&self) -> &str {
        self.hostname.as_deref().unwrap_or(HOSTNAME)
    }

    /// Permissions that new files do not get.
    pub(super) fn umask(&self) -> u32 {
        self.umask.map_or(UMASK, Umask::bits)
    }

    /// Where the project is inside.
    pub(super) fn work(&self) -> &Path {
        self.work.as_deref().unwrap_or(Path::new(Build::WORK))
    }

    /// Moves the home directory of the user inside to the requested place.
    pub(super) fn settle(&self, identity: &mut Identity, accounts: &mut Accounts) {
        if let Some(home) = &self.home {
            identity.live_at(home, accounts);
        }
    }

    /// The first of the options that has no meaning without namespaces.
    pub(super) fn needs_namespaces(&self) -> Option<&'static str> {
        let options = [
            (self.hostname.is_some(), "--hostname"),
            (self.home.is_some(), "--home"),
            (self.work.is_some(), "--work"),
            (self.interposed.clock.is_some(), "--clock"),
            (self.interposed.directory_order.is_some(), "--dir-order"),
        ];
        options.iter().find(|(is_set, _)| *is_set).map(|(_, option)| *option)
    }

    /// The guest view of a run in which `shared` was mounted and `home` was the home directory.
    pub(super) fn view(&self, home: &Path, shared: &[Shared]) -> GuestView {
        GuestView {
            hostname: self.hostname().to_owned(),
            umask: format!("{:04o}", self.umask()),
            home: home.to_owned(),
            work: shared.iter().any(|shared| shared.bind.target == self.work()).then(|| self.work().to_owned()),
            nproc: self.nproc,
            clock: self.interposed.clock,
            dir_order: self.interposed.directory_order,
        }
    }
}

/// A host name, perhaps with a domain.
///
/// # Errors
/// The text is not a host name.
pub(crate) fn hostname(text: &str) -> Result<String, String> {
    let name = Some(text.to_owned()).filter(|name| is_hostname(name));
    name.ok_or_else(|| "expected at most 64 letters, digits and '-', separated by dots".to_owned())
}

/// A directory inside, where nothing of the system's is: absolute, without `..`, and fit for a line of `/etc/passwd` and for
/// `PATH`.
///
/// # Errors
/// The path is not absolute, or is one of the system's.
pub(crate) fn inside(text: &OsStr) -> Result<String, String> {
    const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];
    let path = Path::new(text);
    let plain = text.to_str().filter(|text| !text.contains([':', '\n', '\0', '\\']));
    let is_fit = path.is_absolute()
        && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
        && path.components().count() > 1
        && !SYSTEM.iter().any(|system| path.starts_with(system));
    // Without double slashes, and none at its end.
    let tidy = || path.components().collect::<PathBuf>().to_str().map(str::to_owned);
    plain
        .filter(|_| is_fit)
        .and_then(|_| tidy())
        .ok_or_else(|| "expected an absolute path outside /proc, /sys and /dev, without '..', ':' and '\\'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_inside() {
        let inside = |text: &str| super::inside(OsStr::new(text)).ok();
        assert_eq!(inside("/home//x/"), Some("/home/x".into()));
        for text in ["", "/", "x", "/x/../y", "/x:y", "/x\ny", "/proc/x", "/sys", "/dev"] {
            assert_eq!(inside(text), None, "{text}");
        }
        assert!(inside("/device").is_some());
    }
}
