//! Architectures of packages (Debian policy, §5.6.8).

use std::fmt;
use std::str::FromStr;

use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;
use crate::visible::shortened;

/// Longest name, in bytes. The longest that dpkg knows has 21.
const MAX_LENGTH: usize = 40;

/// The architecture that a package was built for, such as `arm64`, or `all`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture(Box<str>);

/// A text that is not the name of an architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid architecture '{0}'")]
pub struct ParseArchitectureError(String);

impl Hint for ParseArchitectureError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

impl Architecture {
    /// Debian's architecture of a platform. ARM before version 7 has armel, because armhf needs version 7.
    #[must_use]
    pub fn of(platform: Platform) -> Self {
        let name = match platform {
            Platform::Mips64le => "mips64el",
            Platform::I386 => "i386",
            Platform::Amd64 => "amd64",
            Platform::ArmV5 | Platform::ArmV6 => "armel",
            Platform::ArmV7 => "armhf",
            Platform::Arm64 => "arm64",
            Platform::Ppc64le => "ppc64el",
            Platform::Riscv64 => "riscv64",
            Platform::S390x => "s390x",
        };
        Self(name.into())
    }

    /// The GNU type of its programs, such as `aarch64-linux-gnu` (dpkg-architecture(1), `DEB_HOST_GNU_TYPE`); `None` if hermes
    /// has no platform of this architecture.
    #[must_use]
    pub fn gnu_type(&self) -> Option<&'static str> {
        Some(match self.as_str() {
            "amd64" => "x86_64-linux-gnu",
            "arm64" => "aarch64-linux-gnu",
            "armel" => "arm-linux-gnueabi",
            "armhf" => "arm-linux-gnueabihf",
            "i386" => "i686-linux-gnu",
            "mips64el" => "mips64el-linux-gnuabi64",
            "ppc64el" => "powerpc64le-linux-gnu",
            "riscv64" => "riscv64-linux-gnu",
            "s390x" => "s390x-linux-gnu",
            _ => return None,
        })
    }

    /// `all`: packages that are the same on all architectures.
    #[must_use]
    pub fn all() -> Self {
        Self("all".into())
    }

    /// Whether this is `all`.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.as_str() == "all"
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `pattern` means this architecture: its name, `any`, `linux-any`, or `any-CPU` (Debian policy, §11.1). Of the
    /// two wildcards for a processor that differ from the names here, hermes knows `arm`, which is armel and armhf.
    pub(super) fn matches(&self, pattern: &str) -> bool {
        let cpu = match self.as_str() {
            "armel" | "armhf" => "arm",
            name => name,
        };
        match pattern.split_once('-') {
            Some(("linux", "any")) => true,
            Some(("any", wanted)) => wanted == cpu || wanted == "any",
            _ => pattern == "any" || pattern == self.as_str(),
        }
    }
}

/// Lower-case letters and digits, joined by hyphens.
pub(super) fn is_architecture(text: &str) -> bool {
    text.len() <= MAX_LENGTH
        && text
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

impl FromStr for Architecture {
    type Err = ParseArchitectureError;

    fn from_str(text: &str) -> Result<Self, ParseArchitectureError> {
        // The names of wildcards.
        let is_wildcard = text.split('-').any(|part| part == "any") || matches!(text, "native" | "source");
        if is_architecture(text) && !is_wildcard {
            Ok(Self(text.into()))
        } else {
            Err(ParseArchitectureError(shortened(text, 100)))
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_an_architecture() {
        let names: Vec<_> = Platform::all().map(|platform| Architecture::of(platform).to_string()).collect();
        assert_eq!(
            names,
            ["i386", "amd64", "armel", "armel", "armhf", "arm64", "mips64el", "ppc64el", "riscv64", "s390x"]
        );
        for name in names {
            let architecture = name.parse::<Architecture>().unwrap();
            assert_eq!(architecture.as_str(), name);
            assert!(architecture.gnu_type().unwrap().contains("-linux-gnu"), "{name}");
        }
        assert_eq!(Architecture::all().gnu_type(), None);
    }

    #[test]
    fn only_architectures_are_accepted() {
        assert!("all".parse::<Architecture>().unwrap().is_all());
        assert!("kfreebsd-amd64".parse::<Architecture>().is_ok());
        for bad in [
            "",
            "any",
            "linux-any",
            "any-arm",
            "native",
            "source",
            "Amd64",
            "a/b",
            "-a",
            "a-",
            "a_b",
            "..",
            &"a".repeat(41),
        ] {
            assert!(bad.parse::<Architecture>().is_err(), "accepted {bad:?}");
        }
    }

    #[test]
    fn wildcards_match() {
        let armel = Architecture::of(Platform::ArmV6);
        for pattern in ["armel", "any", "linux-any", "any-arm", "any-any"] {
            assert!(armel.matches(pattern), "{pattern}");
        }
        for pattern in ["armhf", "hurd-any", "any-armel", "any-amd64", "all"] {
            assert!(!armel.matches(pattern), "{pattern}");
        }
    }
}
