//! Image references: `[registry/]repository[:tag][@digest]`, with Docker's defaults.
//!
//! The grammar is that of distribution's `reference` package. The parser is hand-written because other implementations compile
//! a large regular expression first, which would take longer than creating all namespaces of a warm `hermes run`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

const DOCKER_HUB: &str = "docker.io";

/// A reference, with Docker's defaults (`docker.io`, `library/`, `latest`) filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference '{text}': {why}")]
pub struct ParseReferenceError {
    text: String,
    why: &'static str,
}

impl Hint for ParseReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["examples of references: debian:bookworm, quay.io/pypa/manylinux_2_28_x86_64 or 127.0.0.1:5000/tools@sha256:…".into()]
    }
}

impl Reference {
    /// The registry, such as `docker.io`, `quay.io`, `127.0.0.1:5000` or `[::1]:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, such as `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` if only a digest was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same reference, pinned to `digest`.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The last component of a registry's `/manifests/` path: the digest, else the tag.
    #[must_use]
    pub fn target(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone().unwrap_or_else(|| "latest".into()), |digest| digest.to_string())
    }
}

/// Normalizes `host[:port]`: lower case, and the canonical form of an IPv6 address in brackets (RFC 5952). `None` if it is
/// malformed.
fn host(text: &str) -> Option<String> {
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|c| c.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then(|| format!("[{address}]{port}"));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    (host.split('.').all(label) && port.is_none_or(is_port)).then(|| text.to_ascii_lowercase())
}

/// Whether `text` is lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text
            .split(alphanumeric)
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|c| c == b'-'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && !text.starts_with(['.', '-'])
        && !text.is_empty()
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let fail = |why| ParseReferenceError { text: shortened(text, 300), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse::<Digest>().map_err(|_| fail("the digest must be sha256:<64 hexadecimal digits>"))?),
            ),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("the tag must be at most 128 letters, digits, '_', '.' and '-'"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest))
                if host.contains(['.', ':'])
                    || host == "localhost"
                    || host.contains(|c: char| c.is_ascii_uppercase()) =>
            {
                (host, rest)
            }
            _ => (DOCKER_HUB, name),
        };
        let registry = host(registry).ok_or_else(|| fail("the part before the first '/' is not a host name"))?;
        let registry = if registry == "index.docker.io" { DOCKER_HUB.to_owned() } else { registry };
        let repository = if registry == DOCKER_HUB && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(fail(
                "the name must be lower-case letters and digits, joined by '.', '_' or '-', in parts separated by '/'",
            ));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        f.pad(&format!("{}/{}{tag}{digest}", self.registry, self.repository))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_defaults_are_filled_in() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, full) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("dockcross/linux-armv6-lts", "docker.io/dockcross/linux-armv6-lts:latest"),
            ("index.docker.io/library/debian", "docker.io/library/debian:latest"),
            ("quay.io/pypa/manylinux_2_28_x86_64:2024.11.11-1", "quay.io/pypa/manylinux_2_28_x86_64:2024.11.11-1"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5055/a/b/c", "127.0.0.1:5055/a/b/c:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("[::1]/x:1", "[::1]/x:1"),
            ("[FD00:0:0::A]:5000/x/y:1", "[fd00::a]:5000/x/y:1"),
            (&format!("[::ffff:10.0.0.1]/x@{digest}"), &format!("[::ffff:10.0.0.1]/x@{digest}")),
            (&format!("debian@{digest}"), &format!("docker.io/library/debian@{digest}")),
            (&format!("debian:12@{digest}"), &format!("docker.io/library/debian:12@{digest}")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{full} is not stable");
        }
    }

    #[test]
    fn hostile_text_is_refused() {
        for bad in [
            "",
            ":",
            "/",
            "Debian",
            "debian:",
            "debian:-x",
            "a//b",
            "../x",
            "a/../b",
            "debian@sha256:12",
            "-a",
            "a-",
            "a.-b",
            "exa mple/x",
            "http://x/y",
            "x.y:port/z",
            "127.0.0.1:999999/x",
            "a:b:c",
            "x\n",
            "quay.io/",
            "a@b@c",
            "[::1]",
            "[::1]:/x",
            "[::1]5000/x",
            "[::1]:500000/x",
            "[::1/x",
            "[fe80::1%eth0]/x",
            "[127.0.0.1]/x",
            "[]/x",
            "::1/x",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "accepted {bad:?}");
        }
        assert!(format!("debian:{}", "x".repeat(129)).parse::<Reference>().is_err());
        assert!("a/".repeat(200).parse::<Reference>().is_err());
    }
}
