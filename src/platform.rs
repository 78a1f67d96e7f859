//! Platforms, normalized from all common spellings.
//!
//! hermes runs Linux images only, so a platform is a processor architecture. The canonical text is OCI's (`linux/arm/v6`); the
//! name in options and toolchain files is dockcross's (`linux-armv6`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

/// A Linux platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// `linux/386`: 32-bit x86.
    I386,
    /// `linux/amd64`: 64-bit x86.
    Amd64,
    /// `linux/arm/v5`: 32-bit ARM, soft float (Debian's armel).
    ArmV5,
    /// `linux/arm/v6`: 32-bit ARM of the first Raspberry Pi.
    ArmV6,
    /// `linux/arm/v7`: 32-bit ARM, hard float (Debian's armhf).
    ArmV7,
    /// `linux/arm64`: 64-bit ARM; its only variant, v8, is omitted.
    Arm64,
    /// `linux/mips64le`: 64-bit MIPS, little-endian, with the n64 ABI (Debian's mips64el).
    Mips64le,
    /// `linux/ppc64le`.
    Ppc64le,
    /// `linux/riscv64`.
    Riscv64,
    /// `linux/s390x`.
    S390x,
}

/// All platforms: OCI's text, dockcross's name, `uname -m`, and other spellings of the architecture. No other code contains a
/// spelling.
const TABLE: &[(Platform, &str, &str, &str, &[&str])] = &[
    (Platform::I386, "linux/386", "linux-i686", "i686", &["386", "i386", "i486", "i586", "i686", "x86"]),
    (Platform::Amd64, "linux/amd64", "linux-x86_64", "x86_64", &["amd64", "amd64/v1", "x86_64", "x86-64", "x64"]),
    (
        Platform::ArmV5,
        "linux/arm/v5",
        "linux-armv5",
        "armv5tel",
        &["arm/v5", "arm/5", "armv5", "armv5l", "armv5tel", "armel"],
    ),
    (Platform::ArmV6, "linux/arm/v6", "linux-armv6", "armv6l", &["arm/v6", "arm/6", "armv6", "armv6l", "armv6hf"]),
    (
        Platform::ArmV7,
        "linux/arm/v7",
        "linux-armv7",
        "armv7l",
        &["arm", "arm/v7", "arm/7", "armv7", "armv7l", "armv7a", "armv7hf", "armhf"],
    ),
    (
        Platform::Arm64,
        "linux/arm64",
        "linux-aarch64",
        "aarch64",
        &["arm64", "arm64/v8", "arm64/8", "arm64v8", "armv8", "aarch64"],
    ),
    // `uname -m` says mips64 for both byte orders; OCI's mips64 is the big-endian one, which hermes does not know.
    (Platform::Mips64le, "linux/mips64le", "linux-mips64le", "mips64el", &["mips64le", "mips64el"]),
    (Platform::Ppc64le, "linux/ppc64le", "linux-ppc64le", "ppc64le", &["ppc64le", "powerpc64le", "ppc64el"]),
    (Platform::Riscv64, "linux/riscv64", "linux-riscv64", "riscv64", &["riscv64"]),
    (Platform::S390x, "linux/s390x", "linux-s390x", "s390x", &["s390x"]),
];

/// A text that names no known platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown platform '{0}'")]
pub struct ParsePlatformError(String);

impl ParsePlatformError {
    /// The error for `text`, which may come from a stranger.
    pub(crate) fn new(text: &str) -> Self {
        Self(shortened(text, 100))
    }
}

impl Hint for ParsePlatformError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        let names: Vec<_> = Platform::all().map(Platform::name).collect();
        vec![format!("known platforms: {}", names.join(", "))]
    }
}

impl Platform {
    /// All platforms, in the order of their OCI text.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str, &'static [&'static str]) {
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[0])
    }

    /// OCI's text, such as `linux/arm/v6`.
    #[must_use]
    pub fn oci(self) -> &'static str {
        self.row().1
    }

    /// dockcross's spelling, such as `linux-armv6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// The name of the machine, as `uname -m` prints it.
    #[must_use]
    pub fn machine(self) -> &'static str {
        self.row().3
    }

    /// The OCI `architecture` and `variant` of this platform.
    #[must_use]
    pub fn architecture(self) -> (&'static str, Option<&'static str>) {
        let text = self.oci().trim_start_matches("linux/");
        text.split_once('/').map_or((text, None), |(architecture, variant)| (architecture, Some(variant)))
    }

    /// The platform of this host.
    #[must_use]
    pub fn host() -> Self {
        by_spelling(std::env::consts::ARCH).unwrap_or(Self::Amd64)
    }

    /// Rank of an image for this platform where one for `wanted` is requested: `Some(0)` is exact, greater numbers are worse,
    /// `None` does not fit. An image for an older ARM runs on a newer ARM, but not the reverse (containerd's rule; moby#37647 is
    /// the bug otherwise).
    #[must_use]
    pub fn serves(self, wanted: Self) -> Option<u8> {
        match (self.arm_version(), wanted.arm_version()) {
            (Some(have), Some(want)) => want.checked_sub(have),
            _ => (self == wanted).then_some(0),
        }
    }

    fn arm_version(self) -> Option<u8> {
        match self {
            Self::ArmV5 => Some(5),
            Self::ArmV6 => Some(6),
            Self::ArmV7 => Some(7),
            _ => None,
        }
    }

    /// Whether its addresses have 32 bits.
    #[must_use]
    pub fn is_32_bit(self) -> bool {
        matches!(self, Self::I386 | Self::ArmV5 | Self::ArmV6 | Self::ArmV7)
    }

    /// Whether a processor of this platform runs programs for `guest` without an emulator.
    #[must_use]
    pub fn runs(self, guest: Self) -> bool {
        self == guest || (self == Self::Amd64 && guest == Self::I386) || guest.serves(self).is_some()
    }
}

/// The platform that an index or image config states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StatedPlatform {
    /// None is stated.
    #[default]
    Nothing,
    /// A known Linux platform.
    Linux {
        platform: Platform,
        /// Minimum x86-64 level of the processor (psABI: 1 to 4); 1 on other platforms.
        level: u8,
    },
    /// Another operating system, or an unknown architecture.
    Other,
}

impl StatedPlatform {
    /// Interprets the fields of an OCI `platform` object or image config, in upper or lower case and in the spellings of
    /// containerd, Docker and `uname`. Without an operating system it is Linux.
    #[must_use]
    pub fn of(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let [os, architecture, variant] =
            [os, architecture, variant.unwrap_or_default()].map(|text| text.trim().to_ascii_lowercase());
        match (os.as_str(), architecture.as_str()) {
            ("" | "linux", "") => return Self::Nothing,
            ("" | "linux", _) => {}
            _ => return Self::Other,
        }
        let Some(platform) = by_spelling(&architecture) else { return Self::Other };
        let number = || {
            let text = ["x86-64-", "x86_64-", "arm"].iter().find_map(|start| variant.strip_prefix(start));
            let text = text.unwrap_or(&variant);
            let text = text.strip_prefix('v').unwrap_or(text);
            // The parser of u8 accepts a sign.
            text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten()
        };
        let exactly = |platform| Self::Linux { platform, level: 1 };
        match (platform, variant.as_str()) {
            (_, "") | (Platform::Riscv64, "rva20u64") => exactly(platform),
            (Platform::Amd64, _) => match number() {
                Some(level @ 1..=4) => Self::Linux { platform, level },
                _ => Self::Other,
            },
            (Platform::ArmV5 | Platform::ArmV6 | Platform::ArmV7, _) => {
                // `uname` has variants such as v7l.
                let spelled = number().map_or_else(|| format!("arm{variant}"), |number| format!("armv{number}"));
                let known = by_spelling(&spelled).filter(|platform| platform.arm_version().is_some());
                known.map_or(Self::Other, exactly)
            }
            (Platform::Arm64, _) if number() == Some(8) => exactly(platform),
            _ => Self::Other,
        }
    }

    /// The platform, if it is known.
    #[must_use]
    pub fn known(self) -> Option<Platform> {
        if let Self::Linux { platform, .. } = self { Some(platform) } else { None }
    }
}

/// The x86-64 level of this host's processor (psABI, "Low Level System Information"); 1 if unknown.
#[must_use]
pub fn level() -> u8 {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! has {
            ($($feature:tt)*) => { [$(std::is_x86_feature_detected!($feature)),*].iter().all(|has| *has) };
        }
        let v2 = has!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
        let v3 = v2 && has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe" "xsave");
        let v4 = v3 && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
        1 + u8::from(v2) + u8::from(v3) + u8::from(v4)
    }
    #[cfg(not(target_arch = "x86_64"))]
    1
}

fn by_spelling(architecture: &str) -> Option<Platform> {
    TABLE.iter().find(|row| row.4.contains(&architecture)).map(|row| row.0)
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let lower = text.to_ascii_lowercase();
        let architecture = lower.strip_prefix("linux/").or_else(|| lower.strip_prefix("linux-")).unwrap_or(&lower);
        by_spelling(architecture)
            .or_else(|| by_spelling(&architecture.replacen('-', "/", 1)))
            .ok_or_else(|| ParsePlatformError::new(text))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.oci())
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.oci())
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling() {
        for (platform, spellings) in [
            (Platform::Amd64, "linux-x86_64 linux-x64 linux/amd64 amd64 x86_64 linux/x86_64 linux-amd64 LINUX/AMD64"),
            (Platform::I386, "linux-i686 linux-x86 linux/386 386 i386 i686 linux-i386"),
            (
                Platform::Arm64,
                "linux-aarch64 linux-arm64 linux/arm64 linux/arm64/v8 arm64 aarch64 arm64v8 linux/aarch64",
            ),
            (Platform::ArmV5, "linux-armv5 linux/arm/v5 armel armv5"),
            (Platform::ArmV6, "linux-armv6 linux/arm/v6 arm/v6 armv6 armv6l linux-arm-v6"),
            (Platform::ArmV7, "linux-armv7 linux/arm/v7 linux/arm arm/v7 armv7 armv7l armhf linux-armhf"),
            (Platform::Mips64le, "linux-mips64le linux/mips64le mips64le mips64el linux-mips64el"),
            (Platform::Riscv64, "linux-riscv64 linux/riscv64"),
        ] {
            for spelling in spellings.split(' ') {
                assert_eq!(spelling.parse(), Ok(platform), "{spelling}");
            }
        }
        for bad in [
            "",
            "linux",
            "linux/",
            "windows/amd64",
            "linux/arm/v8",
            "linux/arm64/v9",
            "armv4",
            "mips64",
            "linux/amd64/v3",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "accepted {bad:?}");
        }
    }

    #[test]
    fn every_platform_reads_its_own_texts() {
        let known =
            |os: &str, architecture: &str, variant: Option<&str>| StatedPlatform::of(os, architecture, variant).known();
        for platform in Platform::all() {
            assert_eq!(platform.oci().parse(), Ok(platform));
            assert_eq!(platform.name().parse(), Ok(platform));
            assert_eq!(platform.row().3.parse(), Ok(platform));
            let (architecture, variant) = platform.architecture();
            assert_eq!(known("linux", architecture, variant), Some(platform));
        }
        assert_eq!(known("linux", "arm64", Some("v8")), Some(Platform::Arm64));
        assert_eq!(known("linux", "arm", Some("")), Some(Platform::ArmV7));
        assert_eq!(known("unknown", "unknown", None), None);
        assert_eq!(known("windows", "amd64", None), None);
    }

    #[test]
    fn what_images_say_in_every_usual_spelling() {
        use Platform::{Amd64, Arm64, ArmV5, ArmV6, ArmV7, I386, Mips64le, Ppc64le, Riscv64};
        for (os, architecture, variant, platform, level) in [
            ("linux", "amd64", "", Amd64, 1),
            ("linux", "amd64", "v1", Amd64, 1),
            ("linux", "amd64", "v2", Amd64, 2),
            ("Linux", "x86_64", "x86-64-v3", Amd64, 3),
            ("linux", "x86-64", "4", Amd64, 4),
            ("", "AMD64", "", Amd64, 1),
            ("linux", "arm64", "v8", Arm64, 1),
            ("linux", "arm64", "armv8", Arm64, 1),
            ("linux", "aarch64", "8", Arm64, 1),
            ("linux", "arm", "", ArmV7, 1),
            ("linux", "arm", "armv7", ArmV7, 1),
            ("linux", "arm", "7", ArmV7, 1),
            ("linux", "arm", "V6", ArmV6, 1),
            ("linux", "arm", "v7l", ArmV7, 1),
            ("linux", "armhf", "", ArmV7, 1),
            ("linux", "armv6l", "", ArmV6, 1),
            ("linux", "armel", "", ArmV5, 1),
            ("linux", "arm", "v5", ArmV5, 1),
            ("linux", "i686", "", I386, 1),
            ("linux", "mips64le", "", Mips64le, 1),
            ("linux", "mips64el", "", Mips64le, 1),
            ("linux", "ppc64el", "", Ppc64le, 1),
            ("linux", "riscv64", "rva20u64", Riscv64, 1),
        ] {
            let said = StatedPlatform::of(os, architecture, Some(variant));
            assert_eq!(said, StatedPlatform::Linux { platform, level }, "{os}/{architecture}/{variant}");
        }
        for (os, architecture) in [("", ""), ("linux", ""), ("Linux", " ")] {
            assert_eq!(StatedPlatform::of(os, architecture, None), StatedPlatform::Nothing, "{os}/{architecture}");
        }
        for (os, architecture, variant) in [
            ("windows", "amd64", ""),
            ("windows", "", ""),
            ("unknown", "unknown", ""),
            ("linux", "unknown", ""),
            ("linux", "amd64", "v5"),
            ("linux", "amd64", "v0"),
            ("linux", "amd64", "v+2"),
            ("linux", "arm", "v8"),
            ("linux", "arm", "v4"),
            ("linux", "arm64", "v9"),
            ("linux", "386", "v2"),
            ("linux", "s390x", "z13"),
            ("linux", "mips64", ""),
            ("linux", "mips64le", "r6"),
            ("linux", "amd64/v2", ""),
        ] {
            assert_eq!(
                StatedPlatform::of(os, architecture, Some(variant)),
                StatedPlatform::Other,
                "{os}/{architecture}/{variant}"
            );
        }
    }

    #[test]
    fn a_newer_arm_never_serves_an_older_one() {
        use Platform::{Amd64, Arm64, ArmV5, ArmV6, ArmV7, I386};
        assert_eq!(ArmV7.serves(ArmV6), None);
        assert_eq!(ArmV6.serves(ArmV5), None);
        assert_eq!(ArmV6.serves(ArmV6), Some(0));
        assert_eq!(ArmV5.serves(ArmV6), Some(1));
        assert_eq!(ArmV6.serves(ArmV7), Some(1));
        assert_eq!(Arm64.serves(ArmV7), None);
        assert_eq!(I386.serves(Amd64), None);
    }

    #[test]
    fn what_runs_without_an_emulator() {
        use Platform::{Amd64, Arm64, ArmV6, ArmV7, I386};
        assert!(Amd64.runs(Amd64) && Amd64.runs(I386) && ArmV7.runs(ArmV6));
        assert!(!Amd64.runs(Arm64) && !Arm64.runs(ArmV7) && !I386.runs(Amd64) && !ArmV6.runs(ArmV7));
    }
}
