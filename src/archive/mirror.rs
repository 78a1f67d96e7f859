//! The addresses of an archive of packages.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use rustix::fs::{CWD, Mode, OFlags};

use crate::consent::{Allowed, ProjectPath, Setting};
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::fs::regular;
use crate::mirror;
use crate::reference::Reference;
use crate::toolchain::{ARCHIVE_DATE, Packages, SignedBy};

/// How much later than a state an archive of snapshots certainly has it, in seconds. Its own dates are those of its imports,
/// some hours after `Date` of the release, and for a date between two imports it has the earlier one.
const IMPORTED: u64 = 24 * 60 * 60;

/// An address of an archive, or of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// `https://…` or `http://…`, without a slash at the end: what `dists/` and `pool/` are below, or the directory `sha256` of a
    /// mirror of content. Plain http is good enough, since every byte is verified.
    Web(String),
    /// An archive that keeps old states: a web address with [`ARCHIVE_DATE`], and the date of the wanted state.
    Snapshot { template: String, date: Option<u64> },
    /// A repository of a registry with files by their digests.
    Repository(String),
    /// A directory that a project names, with the content of an archive or of a mirror.
    OfProject(ProjectPath),
    /// A directory that the user or the administrator names.
    OfUser(PathBuf),
}

/// Where a mirror may have a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Url(String),
    /// Below the directory of the mirror.
    File(String),
    /// A blob in the repository of this reference.
    Blob(Box<Reference>),
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
        if let Some(repository) = text.strip_prefix("oci://") {
            return Self::Repository(repository.to_owned());
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            let url = text.trim_end_matches('/').to_owned();
            return if url.contains(ARCHIVE_DATE) {
                Self::Snapshot { template: url, date: None }
            } else {
                Self::Web(url)
            };
        }
        let path = Path::new(mirror::directory(text).unwrap_or(text));
        match project {
            Some(project) => Self::OfProject(ProjectPath::of(project, path)),
            None => Self::OfUser(path.to_owned()),
        }
    }

    /// The same address, for what was locked with the archive's state of `date`, in seconds since 1970.
    #[must_use]
    fn of_date(self, date: u64) -> Self {
        match self {
            Self::Snapshot { template, .. } => Self::Snapshot { template, date: Some(date) },
            other => other,
        }
    }

    /// Whether it needs no network.
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::OfProject(_) | Self::OfUser(_))
    }

    /// Whether it may have the present state of an archive, and not only files of a known digest.
    #[must_use]
    fn has_present_state(&self) -> bool {
        match self {
            Self::Snapshot { .. } | Self::Repository(_) => false,
            // Only in directories of the user: those of a project may not be read without the user's consent.
            Self::OfUser(path) => path.join("dists").is_dir() || !path.join("sha256").is_dir(),
            Self::Web(_) | Self::OfProject(_) => true,
        }
    }

    /// Its text in messages.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.clone(),
            Self::Snapshot { template, date } => date.map_or_else(|| template.clone(), |date| at(template, date)),
            Self::Repository(repository) => format!("oci://{repository}"),
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

    /// The URL of a file at a path of the archive.
    pub(super) fn url(&self, path: &str) -> Option<String> {
        if let Self::Web(url) = self { Some(below(url, path)) } else { None }
    }

    /// Where it may have the file with this digest, which archives have at one of `paths`.
    pub(super) fn locations(&self, paths: &[String], digest: &Digest) -> Vec<Location> {
        let by_digest = mirror::path_of(digest);
        let paths = paths.iter().map(String::as_str);
        match self {
            Self::Web(url) => paths.chain([&*by_digest]).map(|path| Location::Url(below(url, path))).collect(),
            Self::Snapshot { template, date } => {
                let times: Vec<_> = date.iter().flat_map(|date| [*date, date.saturating_add(IMPORTED)]).collect();
                let urls = paths.flat_map(|path| times.iter().map(move |time| below(&at(template, *time), path)));
                urls.map(Location::Url).collect()
            }
            Self::Repository(repository) => {
                mirror::tag(repository, digest).into_iter().map(|tag| Location::Blob(Box::new(tag))).collect()
            }
            Self::OfProject(_) | Self::OfUser(_) => {
                paths.chain([&*by_digest]).map(|path| Location::File(path.to_owned())).collect()
            }
        }
    }

    /// Opens a file in the directory.
    pub(super) fn open(&self, path: &str, files: Files<'_>) -> io::Result<File> {
        let denied = || io::Error::new(io::ErrorKind::PermissionDenied, "there is no project");
        match self {
            Self::Web(_) | Self::Snapshot { .. } | Self::Repository(_) => {
                Err(io::Error::from(io::ErrorKind::Unsupported))
            }
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

/// The settings of the packages of the project's toolchain `name` that reach outside the project in the directory `project`.
#[must_use]
pub(crate) fn settings(name: &str, packages: &crate::toolchain::Debian, project: &Path) -> Vec<Setting> {
    let mirrors = packages.mirrors.iter().filter_map(|mirror| Some(("mirrors", mirror::directory(mirror)?)));
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

/// `path` below the address `url`. The path has only characters that need no escape but `%` and `+`.
fn below(url: &str, path: &str) -> String {
    // A plus sign is a plus sign in a path (RFC 3986), but some object stores decode it to a blank.
    format!("{url}/{}", path.replace('%', "%25").replace('+', "%2B"))
}

/// The address of an archive of snapshots at a time, in seconds since 1970.
fn at(template: &str, seconds: u64) -> String {
    template.replace(ARCHIVE_DATE, &snapshot_time(seconds))
}

/// A time, in seconds since 1970, as archives of snapshots have it in their paths: `20260711T101637Z`.
pub(super) fn snapshot_time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string()
}

/// The addresses of an archive with a suite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Those that may have the present state: the toolchain's, else those of the user's configuration, else those of the host's
    /// apt.
    pub present: Vec<Mirror>,
    /// All of them, for files of a known digest.
    all: Vec<Mirror>,
}

impl Addresses {
    /// The addresses that a toolchain, if `packages` is known, then the user's configuration name, else those of the host's apt,
    /// which `host` looks up.
    pub(crate) fn new(
        packages: Option<&Packages>,
        configured: &[String],
        project: Option<&Path>,
        host: impl FnOnce() -> Vec<String>,
    ) -> Self {
        let project = project.filter(|_| packages.is_some_and(|packages| packages.is_of_project));
        let of_toolchain = packages.map_or(&[][..], |packages| &packages.debian.mirrors);
        let of_toolchain: Vec<_> = of_toolchain.iter().map(|mirror| Mirror::new(mirror, project)).collect();
        let of_user = |mirrors: &[String]| mirrors.iter().map(|mirror| Mirror::new(mirror, None)).collect::<Vec<_>>();
        let mut addresses = Self::default();
        for named in [of_toolchain, of_user(configured)] {
            addresses.add(named);
        }
        if addresses.present.is_empty() {
            addresses.add(of_user(&host()));
        }
        addresses
    }

    fn add(&mut self, named: Vec<Mirror>) {
        if self.present.is_empty() {
            self.present = named.iter().filter(|mirror| mirror.has_present_state()).cloned().collect();
        }
        for mirror in named {
            if !self.all.contains(&mirror) {
                self.all.push(mirror);
            }
        }
    }

    /// The addresses for files that were locked with the archive's state of `date`.
    #[must_use]
    pub(crate) fn of_date(self, date: u64) -> Vec<Mirror> {
        self.all.into_iter().map(|mirror| mirror.of_date(date)).collect()
    }

    /// The addresses that only have files of a known digest.
    #[must_use]
    pub(crate) fn without_present_state(&self) -> Vec<&Mirror> {
        self.all.iter().filter(|mirror| !mirror.has_present_state()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::Access;

    fn packages(text: &str) -> Packages {
        let debian = toml::from_str(&format!("suites = ['a']\n{text}")).unwrap();
        Packages { debian, request: vec![], scripts: true, is_of_project: true }
    }

    /// The addresses for the present state, and for a locked one of 2026-07-11.
    fn addresses(text: &str, configured: &[&str]) -> [Vec<String>; 2] {
        let host = || vec!["http://host.example.org/debian/".to_owned()];
        let configured: Vec<_> = configured.iter().map(ToString::to_string).collect();
        let found = Addresses::new(Some(&packages(text)), &configured, Some(Path::new("/p")), host);
        let shown = |mirrors: &[Mirror]| mirrors.iter().map(Mirror::shown).collect();
        [shown(&found.present), shown(&found.of_date(1_783_764_997))]
    }

    #[test]
    fn addresses_of_the_toolchain_then_of_the_user_then_of_the_host() {
        let own = "mirrors = ['https://deb.example.org/debian/', 'vendor', 'file:///srv/debian']";
        let [present, locked] = addresses(own, &["/site", "vendor"]);
        assert_eq!(present, ["https://deb.example.org/debian", "vendor", "/srv/debian"]);
        // Of a file with a known digest any copy will do.
        assert_eq!(locked, ["https://deb.example.org/debian", "vendor", "/srv/debian", "/site", "vendor"]);
        assert_eq!(addresses("", &["/site", "http://b/"])[0], ["/site", "http://b"]);
        assert_eq!(addresses("", &[])[0], ["http://host.example.org/debian"]);
    }

    #[test]
    fn addresses_with_files_of_known_digests_only_have_no_present_state() {
        let own = "mirrors = ['oci://registry.example.org/debs', 'https://snapshot.example.org/debian/{date}/']";
        let copies = ["oci://registry.example.org/debs", "https://snapshot.example.org/debian/20260711T101637Z"];
        let [present, locked] = addresses(own, &["http://b"]);
        assert_eq!(
            (present, &locked[..2], &locked[2..]),
            (vec!["http://b".to_owned()], &copies.map(String::from)[..], &["http://b".to_owned()][..])
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sha256")).unwrap();
        let site = directory.path().display().to_string();
        assert_eq!(addresses("", &[&site, "http://b"])[0], ["http://b"]);
        let [present, locked] = addresses(own, &[]);
        let host = "http://host.example.org/debian";
        assert_eq!(
            (present, locked),
            (vec![host.to_owned()], [&copies[..], &[host]].concat().iter().map(ToString::to_string).collect())
        );
    }

    #[test]
    fn directories_outside_the_project_need_consent() {
        let text = "mirrors = ['https://deb.example.org/debian', 'vendor', '../x', '/srv/debian', 'oci://registry.example.org/debs']\n\
            signed-by = '/etc/keys.asc'";
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

    #[test]
    fn a_file_is_looked_for_by_its_path_and_by_its_digest() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        let locations =
            |text: &str| Mirror::new(text, None).of_date(1_783_764_997).locations(&["pool/a".into()], &digest);
        let url = |text: &str| Location::Url(text.to_owned());
        assert_eq!(
            locations("http://a/debian"),
            [url("http://a/debian/pool/a"), url(&format!("http://a/debian/sha256/{hex}"))]
        );
        assert_eq!(locations("/srv"), [Location::File("pool/a".into()), Location::File(format!("sha256/{hex}"))]);
        assert_eq!(
            locations("http://s/{date}/"),
            [url("http://s/20260711T101637Z/pool/a"), url("http://s/20260712T101637Z/pool/a")]
        );
        let tag = format!("127.0.0.1:5000/debs:sha256-{hex}").parse().unwrap();
        assert_eq!(locations("oci://127.0.0.1:5000/debs"), [Location::Blob(Box::new(tag))]);
        assert_eq!(Mirror::new("http://s/{date}", None).locations(&["pool/a".into()], &digest), []);
    }
}
