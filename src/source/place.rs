//! Where an archive may be.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::reference::Reference;
use crate::source::SourceError;
use crate::toolchain::Origin;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file of this host.
    File(PathBuf),
    /// A URL, by http.
    Web(String),
    /// A repository of a registry, with the tag of the archive.
    Registry(Box<Reference>),
    /// A commit of a git repository.
    Git { url: String, commit: String },
}

impl Place {
    /// The place that `origin` names.
    pub(super) fn of(origin: &Origin) -> Result<Self, SourceError> {
        match origin {
            Origin::Git { url, commit } => Ok(Self::Git { url: url.clone(), commit: commit.clone() }),
            Origin::Url(url) => {
                if let Some(path) = url.strip_prefix("file://") {
                    // What %41 and the like mean is not for a path to guess.
                    let plain = path.starts_with('/') && !path.contains('%');
                    let bad =
                        SourceError::Place { url: url.clone(), why: "after file:// comes an absolute path, without %" };
                    return if plain { Ok(Self::File(path.into())) } else { Err(bad) };
                }
                if url.starts_with("https://") || url.starts_with("http://") {
                    return Ok(Self::Web(url.clone()));
                }
                Err(SourceError::Place { url: url.clone(), why: "it begins with neither https:// nor file://" })
            }
        }
    }

    /// Where a mirror has the archive `digest`. A directory that is not absolute is one of the project's.
    pub(super) fn in_mirror(mirror: &str, digest: &Digest, project: &Path) -> Result<Self, SourceError> {
        let file = |directory: &Path| Self::File(directory.join("sha256").join(digest.hex()));
        if let Some(repository) = mirror.strip_prefix("oci://") {
            return Ok(Self::Registry(Box::new(tag(repository, digest)?)));
        }
        if mirror.starts_with("https://") || mirror.starts_with("http://") {
            return Ok(Self::Web(format!("{}/sha256/{}", mirror.trim_end_matches('/'), digest.hex())));
        }
        if let Some(path) = mirror.strip_prefix("file://") {
            return Ok(file(Path::new(path)));
        }
        if mirror.contains("://") || mirror.is_empty() {
            let why = "a mirror is oci://registry/repository, https://…/ or a directory";
            return Err(SourceError::Place { url: mirror.to_owned(), why });
        }
        Ok(file(&project.join(mirror)))
    }

    /// Whether no socket is opened to get there.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Git { url, .. } => url.starts_with("file://"),
            _ => false,
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Web(url) => url.clone(),
            Self::Registry(reference) => reference.to_string(),
            Self::Git { url, commit } => format!("{url} at {commit}"),
        }
    }
}

/// The tag of an archive in a repository: `sha256-<hex>`, as other artifacts have it.
pub(super) fn tag(repository: &str, digest: &Digest) -> Result<Reference, SourceError> {
    let text = format!("{}:sha256-{}", repository.trim_end_matches('/'), digest.hex());
    let bad = || SourceError::Place { url: repository.to_owned(), why: "it is no repository of a registry" };
    text.parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_mirrors() {
        let digest = Digest::of(b"x");
        let origin = |url: &str| Place::of(&Origin::Url(url.to_owned())).map(|place| place.shown()).ok();
        assert_eq!(origin("https://host/a.tar.gz").as_deref(), Some("https://host/a.tar.gz"));
        assert_eq!(origin("file:///a/b").as_deref(), Some("/a/b"));
        for bad in ["ftp://host/x", "/a/b", "file://host/x", "file:///a%20b", "x", "git://host/x"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
        let mirror = |mirror: &str| Place::in_mirror(mirror, &digest, Path::new("/p")).map(|place| place.shown()).ok();
        let hex = digest.hex();
        for (text, want) in [
            ("/a", Some(format!("/a/sha256/{hex}"))),
            ("vendor", Some(format!("/p/vendor/sha256/{hex}"))),
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
