//! `[debian]` of a toolchain: a root composed of Debian packages, instead of an image.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dpkg::Request;
use crate::lock::{Build, is_web};
use crate::reference::Reference;

/// The value of `signed-by` for the keys that are embedded in hermes.
const EMBEDDED_KEYS: &str = "debian";
/// Longest name of a suite or component, and longest address, in bytes.
const MAX_NAME: usize = 100;
const MAX_ADDRESS: usize = 2000;
/// Most suites and components of a toolchain. Each pair is an index of up to 50 MB.
const MAX_LIST: usize = 16;

/// The packages of a toolchain, and the archive that they are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Debian {
    /// Suites or codenames, such as `bookworm`, each by its path below `dists/`.
    pub suites: Vec<String>,
    /// Components of the suites.
    pub components: Vec<String>,
    /// Addresses of the archive and of its mirrors, in the order in which they are tried: `https://…`,
    /// `http://…`, `oci://…`, `file://…` or a directory, which is relative to the project. Empty: those of `config.toml` or of the host.
    pub mirrors: Vec<String>,
    /// Whose signatures count.
    pub signed_by: SignedBy,
    /// The time of everything that composing writes, in seconds since 1970; `None` for the date of the archive.
    pub epoch: Option<u64>,
    /// Packages for all platforms.
    pub packages: Vec<Request>,
    /// The archive's address in the apt sources of the root; `None` for a root without apt sources.
    pub apt_sources: Option<String>,
}

/// The keys that may sign an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// Debian's keys, embedded in hermes.
    Embedded,
    /// The keys in this file, which is relative to the project.
    File(String),
}

/// The packages of one platform of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The archive.
    pub debian: Debian,
    /// All requested packages: those for all platforms, then those for this one.
    pub request: Vec<Request>,
    /// Whether their scripts are run; otherwise the packages are unpacked, and no more.
    pub scripts: bool,
    /// Whether a project defines the toolchain, so that its paths need consent.
    pub is_of_project: bool,
}

/// The archive that packages for the host are from: emulators and native tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolArchive {
    /// The toolchain, for the user's consent to its addresses.
    pub toolchain: String,
    /// The archive, without a request.
    pub packages: Packages,
}

impl Debian {
    /// The main component of a suite in Debian's own archive, wherever the user or the host has it.
    #[must_use]
    pub fn of_suite(suite: &str) -> Option<Self> {
        is_suite(suite).then(|| Self {
            suites: vec![suite.to_owned()],
            components: main(),
            mirrors: vec![],
            signed_by: SignedBy::Embedded,
            epoch: None,
            packages: vec![],
            apt_sources: None,
        })
    }

    /// Makes relative paths absolute, for a definition in a file of the user in `directory`.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for mirror in self.mirrors.iter_mut().filter(|mirror| !mirror.contains("://")) {
            *mirror = directory.join(&mirror).to_string_lossy().into_owned();
        }
        if let SignedBy::File(path) = &mut self.signed_by {
            *path = directory.join(&path).to_string_lossy().into_owned();
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Wire {
    suites: Vec<String>,
    #[serde(default = "main")]
    components: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
    #[serde(default = "embedded")]
    signed_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packages: Vec<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apt_sources: Option<String>,
}

fn main() -> Vec<String> {
    vec!["main".to_owned()]
}

fn embedded() -> String {
    EMBEDDED_KEYS.to_owned()
}

impl TryFrom<Wire> for Debian {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let Wire { suites, components, mirrors, signed_by, epoch, packages, apt_sources } = wire;
        let is_list = |names: &[String]| {
            let unique = names.iter().enumerate().all(|(at, name)| is_suite(name) && !names[..at].contains(name));
            unique && (1..=MAX_LIST).contains(&names.len())
        };
        if !is_list(&suites) {
            return Err(format!("debian.suites: expected 1 to {MAX_LIST} different names such as \"bookworm\""));
        }
        if !is_list(&components) {
            return Err(format!("debian.components: expected 1 to {MAX_LIST} different names such as \"main\""));
        }
        if let Some(mirror) = mirrors.iter().find(|mirror| !is_mirror(mirror)) {
            let mirror = mirror.escape_default();
            return Err(format!(
                "debian.mirrors: '{mirror}' is neither https://…, http://…, oci://REGISTRY/REPOSITORY, file:///… nor a directory, without blanks and passwords"
            ));
        }
        if signed_by.is_empty() || signed_by.len() > MAX_ADDRESS || signed_by.chars().any(char::is_control) {
            return Err("debian.signed-by: expected \"debian\", or a file with keys".to_owned());
        }
        if epoch.is_some_and(|epoch| !Build::is_epoch(epoch)) {
            return Err("debian.epoch: expected seconds since 1970".to_owned());
        }
        if apt_sources.as_ref().is_some_and(|uri| !is_web(uri)) {
            return Err("debian.apt-sources: expected https://… or http://…, without blanks and passwords".to_owned());
        }
        let signed_by = if signed_by == EMBEDDED_KEYS { SignedBy::Embedded } else { SignedBy::File(signed_by) };
        Ok(Self { suites, components, mirrors, signed_by, epoch, packages, apt_sources })
    }
}

impl From<Debian> for Wire {
    fn from(debian: Debian) -> Self {
        let Debian { suites, components, mirrors, signed_by, epoch, packages, apt_sources } = debian;
        let signed_by = match signed_by {
            SignedBy::Embedded => embedded(),
            SignedBy::File(path) => path,
        };
        Self { suites, components, mirrors, signed_by, epoch, packages, apt_sources }
    }
}

/// Whether `text` is a valid name of a suite or component: a relative path without `.` and `..`.
fn is_suite(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+' | b'~');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    text.len() <= MAX_NAME && text.split('/').all(is_part)
}

/// What stands for the time of the locked state in the address of an archive that keeps old states.
pub(crate) const ARCHIVE_DATE: &str = "{date}";

/// Whether `text` is the address of an archive: a web address, which may have [`ARCHIVE_DATE`] in its path; a repository of a registry
/// with copies of packages, `oci://REGISTRY/REPOSITORY`; or a directory of this host.
pub(crate) fn is_mirror(text: &str) -> bool {
    let is_path = |path: &str| !path.is_empty() && path.len() <= MAX_ADDRESS && !path.chars().any(char::is_control);
    if let Some(repository) = text.strip_prefix("oci://") {
        return text.len() <= MAX_ADDRESS
            && format!("{}:tag", repository.trim_end_matches('/')).parse::<Reference>().is_ok();
    }
    match text.strip_prefix("file://") {
        // Percent-encoding is refused, since tools disagree on whether to decode it.
        Some(path) => path.starts_with('/') && is_path(path) && !path.contains('%'),
        None => is_web(text) || is_web_of_date(text) || (!text.contains("://") && is_path(text)),
    }
}

/// Whether `text` is a web address with one [`ARCHIVE_DATE`], in its path.
fn is_web_of_date(text: &str) -> bool {
    let Some((before, after)) = text.split_once(ARCHIVE_DATE) else { return false };
    let has_path = before.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    has_path && is_web(&format!("{before}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::{Content, Definition};

    fn parse(text: &str) -> Result<Definition, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let text = "[debian]\nsuites = ['bookworm']\npackages = ['gcc']\n[platform.linux-aarch64]\npackages = ['cmake=3.25.1-1', 'usrmerge-']\n";
        let definition = parse(text).unwrap();
        let debian = definition.debian.clone().unwrap();
        assert_eq!((debian.components, debian.mirrors), (vec!["main".to_owned()], vec![]));
        assert_eq!((debian.signed_by, debian.epoch, debian.apt_sources), (SignedBy::Embedded, None, None));
        // The output can be parsed.
        let text = toml::to_string(&definition).unwrap();
        assert_eq!(parse(&text).unwrap(), definition);
    }

    #[test]
    fn packages_may_be_unpacked_only() {
        let text = "[debian]\nsuites = ['a']\n[platform.arm64]\nscripts = false\n[platform.armv7]\nscripts = true\n";
        let definition = parse(text).unwrap();
        let scripts: Vec<_> = definition
            .platform
            .values()
            .map(|target| matches!(target.content, Content::Packages { scripts: true, .. }))
            .collect();
        assert_eq!(scripts.iter().filter(|scripts| **scripts).count(), 1);
        assert_eq!(parse(&toml::to_string(&definition).unwrap()).unwrap(), definition);
    }

    #[test]
    fn everything_is_read() {
        let text = "suites = ['bookworm', 'bookworm-updates']\ncomponents = ['main', 'contrib']\n\
            mirrors = ['https://deb.example.org/debian', 'vendor', 'file:///srv/debian', 'oci://registry.example.org/debs', \
            'https://snapshot.example.org/archive/debian/{date}/']\nsigned-by = 'keys.asc'\n\
            epoch = 1783900800\npackages = ['gcc']\napt-sources = 'http://deb.example.org/debian'\n";
        let debian: Debian = toml::from_str(text).unwrap();
        assert_eq!((debian.suites.len(), debian.components.len(), debian.mirrors.len()), (2, 2, 5));
        assert_eq!((&debian.signed_by, debian.epoch), (&SignedBy::File("keys.asc".into()), Some(1_783_900_800)));
        assert_eq!(toml::from_str::<Debian>(&toml::to_string(&debian).unwrap()).unwrap(), debian);
    }

    #[test]
    fn mistakes_are_explained() {
        let of_debian = |line: &str| format!("[debian]\nsuites = ['bookworm']\n{line}\n[platform.arm64]\n");
        for (text, word) in [
            ("[debian]\nsuites = []\n[platform.arm64]\n".to_owned(), "debian.suites"),
            ("[debian]\nsuites = ['../x']\n[platform.arm64]\n".to_owned(), "debian.suites"),
            ("[debian]\nsuites = ['a', 'a']\n[platform.arm64]\n".to_owned(), "debian.suites"),
            (of_debian("components = ['a b']"), "debian.components"),
            (of_debian("mirrors = ['ftp://deb.example.org']"), "debian.mirrors"),
            (of_debian("mirrors = ['https://me:secret@deb.example.org']"), "debian.mirrors"),
            (of_debian("mirrors = ['https://deb.example.org/?x']"), "debian.mirrors"),
            (of_debian("mirrors = ['file://debian']"), "debian.mirrors"),
            (of_debian("mirrors = ['']"), "debian.mirrors"),
            (of_debian("mirrors = ['oci://UPPER']"), "debian.mirrors"),
            (of_debian("mirrors = ['oci://me:secret@registry.example.org/debs']"), "debian.mirrors"),
            (of_debian("mirrors = ['https://{date}.example.org/debian']"), "debian.mirrors"),
            (of_debian("mirrors = ['https://snapshot.example.org/{date}/{date}']"), "debian.mirrors"),
            (of_debian("mirrors = ['https://snapshot.example.org/{day}']"), "debian.mirrors"),
            (of_debian("apt-sources = 'https://snapshot.example.org/{date}'"), "debian.apt-sources"),
            (of_debian("signed-by = ''"), "debian.signed-by"),
            (of_debian("epoch = 99999999999999"), "debian.epoch"),
            (of_debian("apt-sources = 'vendor'"), "debian.apt-sources"),
            (of_debian("packages = ['GCC']"), "GCC"),
            (of_debian("keys = 'x'"), "keys"),
            ("[platform.arm64]\npackages = ['gcc']\n".to_owned(), "[debian]"),
            ("[platform.arm64]\nimage-platform = 'amd64'\n".to_owned(), "image"),
            ("[debian]\nsuites = ['a']\n[platform.arm64]\nimage = 'a/b'\npackages = ['gcc']\n".to_owned(), "not both"),
            ("[platform.arm64]\nimage = 'a/b'\nscripts = false\n".to_owned(), "it has an image"),
            ("[emulator]\npackage = 'qq'\n[platform.arm64]\nimage = 'a/b'\n".to_owned(), "[debian]"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_suites_are_paths_below_dists() {
        for good in ["bookworm", "bookworm-updates", "bookworm/updates", "stable", "12.1+x~y"] {
            assert!(is_suite(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "a b", "ä", "a\n", &"a".repeat(101)] {
            assert!(!is_suite(bad), "{bad:?}");
        }
    }
}
