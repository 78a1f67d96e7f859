//! Where mirrors are, and where they have a file.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::reference::Reference;

/// What begins the address of a repository.
const REPOSITORY: &str = "oci://";

/// A mirror that hermes can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of this host.
    Directory(PathBuf),
    /// A repository, `registry/name`.
    Repository(String),
}

impl Place {
    /// The mirror that a command names: `oci://REGISTRY/REPOSITORY`; the same without `oci://` if it begins with the name of a
    /// registry; else a directory.
    #[must_use]
    pub(crate) fn of_command(text: &str) -> Self {
        let is_registry = |host: &str| !host.starts_with('.') && (host == "localhost" || host.contains(['.', ':']));
        match text.strip_prefix(REPOSITORY) {
            Some(repository) => Self::Repository(repository.to_owned()),
            None if text.split_once('/').is_some_and(|(host, _)| is_registry(host)) => {
                Self::Repository(text.to_owned())
            }
            None => Self::Directory(PathBuf::from(text)),
        }
    }

    /// The mirror at an address in `mirrors` of a configuration. `None` for a web server, which hermes only reads.
    #[must_use]
    pub(crate) fn of_setting(text: &str) -> Option<Self> {
        if let Some(repository) = text.strip_prefix(REPOSITORY) {
            return Some(Self::Repository(repository.to_owned()));
        }
        directory(text).map(|path| Self::Directory(PathBuf::from(path)))
    }

    /// Its text in messages and commands.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Repository(repository) => format!("{REPOSITORY}{repository}"),
        }
    }
}

/// The path of a mirror that is a directory of this host, which may be written as a `file:` URL. `None` for other mirrors.
#[must_use]
pub(crate) fn directory(text: &str) -> Option<&str> {
    text.strip_prefix("file://").or_else(|| (!text.contains("://")).then_some(text))
}

/// The path of a file in a mirror that is a directory, here or on a web server.
#[must_use]
pub(crate) fn path_of(digest: &Digest) -> String {
    format!("sha256/{}", digest.hex())
}

/// The tag of a file in `repository`, as other tools tag artifacts too. `None` for a text that is not a repository.
#[must_use]
pub(crate) fn tag(repository: &str, digest: &Digest) -> Option<Reference> {
    format!("{}:sha256-{}", repository.trim_end_matches('/'), digest.hex()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_repositories() {
        let repository = |text: &str| Place::Repository(text.to_owned());
        let directory = |text: &str| Place::Directory(text.into());
        for (text, want) in [
            ("oci://host/a", repository("host/a")),
            ("127.0.0.1:5000/a", repository("127.0.0.1:5000/a")),
            ("ghcr.io/me/sources", repository("ghcr.io/me/sources")),
            ("localhost/a", repository("localhost/a")),
            ("vendor", directory("vendor")),
            ("vendor/x", directory("vendor/x")),
            ("./a.b/x", directory("./a.b/x")),
            ("../x", directory("../x")),
            ("/srv/a.b", directory("/srv/a.b")),
        ] {
            assert_eq!(Place::of_command(text), want, "{text}");
        }
        for (text, want) in [
            ("oci://host/a", Some(repository("host/a"))),
            ("/srv/mirror", Some(directory("/srv/mirror"))),
            ("file:///srv/mirror", Some(directory("/srv/mirror"))),
            ("https://deb.example.org/debian", None),
            ("http://deb.example.org/debian", None),
        ] {
            assert_eq!(Place::of_setting(text), want, "{text}");
        }
    }

    #[test]
    fn files_have_paths_and_tags() {
        let digest = Digest::of(b"x");
        assert_eq!(path_of(&digest), format!("sha256/{}", digest.hex()));
        let tagged = tag("127.0.0.1:5000/a/b/", &digest).unwrap();
        assert_eq!(tagged.to_string(), format!("127.0.0.1:5000/a/b:sha256-{}", digest.hex()));
        assert_eq!(tag("UPPER", &digest), None);
    }
}
