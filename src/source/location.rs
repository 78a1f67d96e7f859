//! Locations of archives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::consent::{Access, ProjectPath, Setting};
use crate::digest::Digest;
use crate::mirror;
use crate::pypi::Requirement;
use crate::reference::Reference;
use crate::source::{Label, SourceError};
use crate::toolchain::{Origin, SourceDefinition};

/// A location of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A file that the project names, or a file in a directory that it names.
    File { of_project: ProjectPath, name: Option<PathBuf> },
    /// A file in a mirror directory of the user.
    Mirror(PathBuf),
    /// A URL with https or http.
    Web(String),
    /// A tag in a repository of a registry.
    Registry(Box<Reference>),
    /// A commit of a git repository.
    Git { url: String, commit: String },
    /// A wheel of the indexes that pip is configured with.
    Index(Requirement),
    /// Files in the definition.
    Inline(BTreeMap<String, String>),
}

impl Location {
    /// The location `origin`, which a project in the directory `project` or, without that, the user names.
    pub(super) fn of(origin: &Origin, project: Option<&Path>) -> Result<Self, SourceError> {
        match origin {
            Origin::Git { url, commit } => {
                let url = match local(url)? {
                    Some(path) => repository(url, path, project.unwrap_or(Path::new("/")))?,
                    None => url.clone(),
                };
                Ok(Self::Git { url, commit: commit.clone() })
            }
            Origin::Package(requirement) => Ok(Self::Index(requirement.clone())),
            Origin::Files(files) => Ok(Self::Inline(files.clone())),
            Origin::Url(url) => {
                if let Some(path) = local(url)? {
                    return Ok(match project {
                        Some(project) => Self::File { of_project: ProjectPath::of(project, path), name: None },
                        None => Self::Mirror(path.to_owned()),
                    });
                }
                if url.starts_with("https://") || url.starts_with("http://") {
                    return Ok(Self::Web(url.clone()));
                }
                Err(SourceError::Location { url: url.clone(), why: "it must begin with https:// or file://" })
            }
        }
    }

    /// The location of the archive `digest` in a mirror that the project in the directory `project` or, without that, the user
    /// names. A relative directory is relative to the project.
    pub(super) fn in_mirror(mirror: &str, digest: &Digest, project: Option<&Path>) -> Result<Self, SourceError> {
        Ok(match (Self::in_mirror_of_user(mirror, digest)?, project) {
            (Self::Mirror(_), Some(project)) => {
                let name = mirror::path_of(digest).into();
                Self::File { of_project: directory(mirror, project), name: Some(name) }
            }
            (location, _) => location,
        })
    }

    /// The location of the archive `digest` in a mirror that the user names.
    pub(super) fn in_mirror_of_user(mirror: &str, digest: &Digest) -> Result<Self, SourceError> {
        if let Some(repository) = mirror.strip_prefix("oci://") {
            let bad =
                || SourceError::Location { url: repository.to_owned(), why: "it is not a repository of a registry" };
            return Ok(Self::Registry(Box::new(mirror::tag(repository, digest).ok_or_else(bad)?)));
        }
        let path = mirror::path_of(digest);
        if mirror.starts_with("https://") || mirror.starts_with("http://") {
            return Ok(Self::Web(format!("{}/{path}", mirror.trim_end_matches('/'))));
        }
        if is_directory(mirror) {
            return Ok(Self::Mirror(Path::new(plain_directory(mirror)).join(path)));
        }
        let why = "expected a mirror: oci://registry/repository, https://…/ or a directory";
        Err(SourceError::Location { url: mirror.to_owned(), why })
    }

    /// Whether it needs no network.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::File { .. } | Self::Mirror(_) | Self::Inline(_) => true,
            Self::Git { url, .. } => url.starts_with("file://"),
            Self::Web(_) | Self::Registry(_) | Self::Index(_) => false,
        }
    }

    /// Its text in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File { of_project: ProjectPath::Inside(path) | ProjectPath::Outside(path), name } => {
                name.as_ref().map_or_else(|| path.clone(), |name| path.join(name)).display().to_string()
            }
            Self::Mirror(path) => path.display().to_string(),
            Self::Web(url) => url.clone(),
            Self::Registry(reference) => reference.to_string(),
            Self::Git { url, commit } => format!("{url} at {commit}"),
            Self::Index(requirement) => format!("pypi:{requirement}"),
            Self::Inline(_) => "the definition".to_owned(),
        }
    }
}

/// The settings of a source that reach outside the project, which is in the directory `project`.
#[must_use]
pub(crate) fn settings(label: &Label, definition: &SourceDefinition, project: &Path) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |key: &str, access: Option<Access>| {
        settings.extend(access.map(|access| Setting::new(format!("{}.{key}", label.table()), access)));
    };
    let location = |path: &str| ProjectPath::of(project, Path::new(path));
    match &definition.origin {
        Origin::Url(url) => add("url", url.strip_prefix("file://").and_then(|path| location(path).access())),
        // The host's git runs in that repository, even if it is inside the project.
        Origin::Git { url, .. } => match url.strip_prefix("file://") {
            Some(path) => add("git", Some(Access::Repository(location(path).real(project)))),
            None => add("git", url.starts_with("ssh://").then(|| Access::Ssh(url.clone()))),
        },
        Origin::Package(_) | Origin::Files(_) => {}
    }
    for mirror in definition.mirrors.iter().filter(|mirror| is_directory(mirror)) {
        add("mirrors", directory(mirror, project).access());
    }
    for patch in &definition.patches {
        add("patches", location(patch).access());
    }
    settings
}

/// The path of a `file:` URL.
fn local(url: &str) -> Result<Option<&Path>, SourceError> {
    let Some(path) = url.strip_prefix("file://") else { return Ok(None) };
    // Percent-encoding is refused, since tools disagree on whether to decode it.
    if path.starts_with('/') && !path.contains('%') {
        return Ok(Some(Path::new(path)));
    }
    Err(SourceError::Location { url: url.to_owned(), why: "file:// must be followed by an absolute path without %" })
}

/// The `file:` URL, for git, of the repository at `path`, with links resolved.
fn repository(url: &str, path: &Path, project: &Path) -> Result<String, SourceError> {
    let real = ProjectPath::of(project, path).real(project);
    let plain = real.to_str().filter(|path| !path.contains('%')).map(|path| format!("file://{path}"));
    plain.ok_or_else(|| SourceError::Location { url: url.to_owned(), why: "paths for git must be UTF-8, without %" })
}

/// Whether a mirror is a directory of this host.
fn is_directory(mirror: &str) -> bool {
    !mirror.is_empty() && mirror::directory(mirror).is_some()
}

fn plain_directory(mirror: &str) -> &str {
    mirror::directory(mirror).unwrap_or(mirror)
}

fn directory(mirror: &str, project: &Path) -> ProjectPath {
    ProjectPath::of(project, Path::new(plain_directory(mirror)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_mirrors() {
        let digest = Digest::of(b"x");
        let project = Path::new("/p");
        let of = |url: &str, project| Location::of(&Origin::Url(url.to_owned()), project).ok();
        let origin = |url: &str| of(url, Some(project)).map(|location| location.shown());
        assert_eq!(of("file:///a/b", None), Some(Location::Mirror("/a/b".into())), "of the user");
        assert_eq!(origin("https://host/a.tar.gz").as_deref(), Some("https://host/a.tar.gz"));
        assert_eq!(origin("file:///a/b").as_deref(), Some("/a/b"));
        for bad in ["ftp://host/x", "/a/b", "file://host/x", "file:///a%20b", "x", "git://host/x"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
        let mirror =
            |mirror: &str| Location::in_mirror(mirror, &digest, Some(project)).map(|location| location.shown()).ok();
        let hex = digest.hex();
        for (text, want) in [
            ("/a", Some(format!("/a/sha256/{hex}"))),
            ("vendor", Some(format!("vendor/sha256/{hex}"))),
            ("../vendor", Some(format!("/vendor/sha256/{hex}"))),
            ("file:///a", Some(format!("/a/sha256/{hex}"))),
            ("https://host/dir/", Some(format!("https://host/dir/sha256/{hex}"))),
            ("oci://127.0.0.1:5000/a/b", Some(format!("127.0.0.1:5000/a/b:sha256-{hex}"))),
            ("oci://UPPER", None),
            ("ftp://host/", None),
            ("", None),
        ] {
            assert_eq!(mirror(text), want, "{text}");
        }
    }
}
