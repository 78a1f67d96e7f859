//! The addresses of an archive of packages.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::consent::{Allowed, ProjectPath, Setting};
use crate::fs::opened::Opened;
use crate::fs::regular;
use crate::toolchain::{Packages, SignedBy};

/// An address of an archive: what `dists/` and `pool/` are below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// `https://…` or `http://…`, without a slash at the end. Plain http is good enough, since every byte is verified.
    Web(String),
    /// A directory that a project names.
    OfProject(ProjectPath),
    /// A directory that the user or the administrator names.
    OfUser(PathBuf),
}

/// What may be read of the host for a project.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// The directory of the project.
    pub project: Option<&'a Opened>,
    /// What the user allows to be read outside it.
    pub allowed: &'a Allowed,
}

impl Mirror {
    /// The address `text`, which a project in the directory `project` or, without that, the user names.
    #[must_use]
    pub(crate) fn new(text: &str, project: Option<&Path>) -> Self {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Self::Web(text.trim_end_matches('/').to_owned());
        }
        let path = Path::new(plain(text));
        match project {
            Some(project) => Self::OfProject(ProjectPath::of(project, path)),
            None => Self::OfUser(path.to_owned()),
        }
    }

    /// Whether it needs no network.
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        !matches!(self, Self::Web(_))
    }

    /// Its text in messages.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.clone(),
            Self::OfProject(ProjectPath::Inside(path) | ProjectPath::Outside(path)) | Self::OfUser(path) => {
                path.display().to_string()
            }
        }
    }

    /// The address for a lock, which must not have paths of this host.
    #[must_use]
    pub(crate) fn uri(&self) -> Option<String> {
        if let Self::Web(url) = self { Some(url.clone()) } else { None }
    }

    /// The URL of a file in the archive, whose path has only characters that need no escape but `%` and `+`.
    pub(super) fn url(&self, path: &str) -> Option<String> {
        let Self::Web(url) = self else { return None };
        // A plus sign is a plus sign in a path (RFC 3986), but some object stores decode it to a blank.
        Some(format!("{url}/{}", path.replace('%', "%25").replace('+', "%2B")))
    }

    /// Opens a file in the directory.
    pub(super) fn open(&self, path: &str, files: Files<'_>) -> io::Result<File> {
        let denied = || io::Error::new(io::ErrorKind::PermissionDenied, "there is no project");
        match self {
            Self::Web(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
            Self::OfProject(directory) => {
                directory.open_in(files.project.ok_or_else(denied)?, files.allowed, Path::new(path))
            }
            // The user's own directory: links out of it are the user's, too.
            Self::OfUser(directory) => {
                let flags = OFlags::RDONLY | regular::NO_WAIT;
                regular::checked(rustix::fs::openat(CWD, directory.join(path), flags, Mode::empty()))
            }
        }
    }
}

/// The path of a directory that may be written as a `file:` URL.
fn plain(text: &str) -> &str {
    text.strip_prefix("file://").unwrap_or(text)
}

/// The settings of the packages of the project's toolchain `name` that reach outside the project in the directory `project`.
#[must_use]
pub(crate) fn settings(name: &str, packages: &crate::toolchain::Debian, project: &Path) -> Vec<Setting> {
    let directories = packages.mirrors.iter().filter(|mirror| !mirror.contains("://") || mirror.starts_with("file://"));
    let mirrors = directories.map(|mirror| ("mirrors", plain(mirror)));
    let keys = match &packages.signed_by {
        SignedBy::File(path) => Some(("signed-by", path.as_str())),
        SignedBy::Embedded => None,
    };
    let setting = |(key, path): (&str, &str)| {
        let access = ProjectPath::of(project, Path::new(path)).access()?;
        Some(Setting::new(format!("toolchains.{name}.debian.{key}"), access))
    };
    mirrors.chain(keys).filter_map(setting).collect()
}

/// The addresses of `packages` for its `suite`: the toolchain's, else those of the user's configuration, else those of the
/// host's apt, which `host` looks up.
pub(crate) fn addresses(
    packages: &Packages,
    configured: &[String],
    project: Option<&Path>,
    host: impl FnOnce() -> Vec<String>,
) -> Vec<Mirror> {
    let project = project.filter(|_| packages.is_of_project);
    if !packages.debian.mirrors.is_empty() {
        return packages.debian.mirrors.iter().map(|mirror| Mirror::new(mirror, project)).collect();
    }
    let found = if configured.is_empty() { host() } else { configured.to_vec() };
    found.iter().map(|mirror| Mirror::new(mirror, None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::Access;

    fn packages(text: &str) -> Packages {
        let debian = toml::from_str(&format!("suites = ['a']\n{text}")).unwrap();
        Packages { debian, request: vec![], scripts: true, is_of_project: true }
    }

    #[test]
    fn addresses_of_the_toolchain_then_of_the_user_then_of_the_host() {
        let host = || vec!["http://host.example.org/debian/".to_owned()];
        let shown = |text: &str, configured: &[&str]| {
            let configured: Vec<_> = configured.iter().map(ToString::to_string).collect();
            let found = addresses(&packages(text), &configured, Some(Path::new("/p")), host);
            found.iter().map(Mirror::shown).collect::<Vec<_>>()
        };
        let own = "mirrors = ['https://deb.example.org/debian/', 'vendor', 'file:///srv/debian']";
        assert_eq!(shown(own, &["/site"]), ["https://deb.example.org/debian", "vendor", "/srv/debian"]);
        assert_eq!(shown("", &["/site", "http://b/"]), ["/site", "http://b"]);
        assert_eq!(shown("", &[]), ["http://host.example.org/debian"]);
    }

    #[test]
    fn directories_outside_the_project_need_consent() {
        let text = "mirrors = ['https://deb.example.org/debian', 'vendor', '../x', '/srv/debian']\nsigned-by = '/etc/keys.asc'";
        let found: Vec<_> = settings("own", &packages(text).debian, Path::new("/p"))
            .into_iter()
            .map(|setting| (setting.key, setting.access))
            .collect();
        let read = |key: &str, path: &str| (format!("toolchains.own.debian.{key}"), Access::Read(path.into()));
        assert_eq!(found, [read("mirrors", "/x"), read("mirrors", "/srv/debian"), read("signed-by", "/etc/keys.asc")]);
        assert_eq!(settings("own", &packages("").debian, Path::new("/p")), []);
    }

    #[test]
    fn urls_of_files() {
        let web = Mirror::new("http://deb.example.org/debian/", None);
        assert_eq!(
            web.url("pool/g++_1%3a2_all.deb").unwrap(),
            "http://deb.example.org/debian/pool/g%2B%2B_1%253a2_all.deb"
        );
        assert_eq!(web.uri().as_deref(), Some("http://deb.example.org/debian"));
        let directory = Mirror::new("vendor", None);
        assert_eq!((directory.url("a"), directory.uri(), directory.is_local()), (None, None, true));
    }
}
