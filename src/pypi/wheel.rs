//! Names of wheels.

use crate::platform::Platform;
use crate::pypi::Requirement;
use crate::pypi::requirement::{is_version, normalized};

/// Longest name of a file, in bytes.
const MAX: usize = 250;

/// The parts of a wheel's name (PEP 427).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WheelName<'a> {
    name: &'a str,
    version: &'a str,
    /// Number of the build; 0 without one.
    pub(crate) build: u64,
    python: &'a str,
    abi: &'a str,
    platform: &'a str,
}

/// Whether `text` is a plain name of a file: no path, no blanks, nothing that a terminal obeys.
#[must_use]
pub(crate) fn is_file_name(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._+!-~".contains(&c);
    (1..=MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain)
}

impl<'a> WheelName<'a> {
    /// Parses `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`; `None` for anything else.
    #[must_use]
    pub(crate) fn parse(file: &'a str) -> Option<Self> {
        let stem = file.strip_suffix(".whl").filter(|_| is_file_name(file))?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, [python, abi, platform]) = match parts[..] {
            [name, version, python, abi, platform] => (name, version, 0, [python, abi, platform]),
            [name, version, build, python, abi, platform] => {
                let digits = build.bytes().take_while(u8::is_ascii_digit).count();
                (name, version, build[..digits].parse().ok()?, [python, abi, platform])
            }
            _ => return None,
        };
        is_version(version).then_some(Self { name, version, build, python, abi, platform })
    }

    /// Whether it is the required package.
    #[must_use]
    pub(crate) fn is_of(&self, requirement: &Requirement) -> bool {
        normalized(self.name).as_deref() == Some(requirement.name()) && requirement.is_version(self.version)
    }

    /// Whether its files are for `platform`, for any Python 3, and for no interpreter's ABI: hermes unpacks it and runs no
    /// Python.
    #[must_use]
    pub(crate) fn fits(&self, platform: Platform) -> bool {
        let machine = platform.machine();
        let is_machine = |tag: &str| {
            let mut words = tag.strip_suffix(machine).and_then(|rest| rest.strip_suffix('_')).unwrap_or("").split('_');
            let is_number = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_digit());
            let rest = |words: std::str::Split<'_, char>| words.clone().count() == 2 && { words }.all(is_number);
            match words.next() {
                Some("linux" | "manylinux1" | "manylinux2010" | "manylinux2014") => words.next().is_none(),
                Some("manylinux" | "musllinux") => rest(words),
                _ => false,
            }
        };
        self.platform.split('.').any(|tag| tag == "any" || is_machine(tag))
            && self.abi.split('.').any(|tag| tag == "none")
            && self.python.split('.').any(|tag| tag == "py3")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name() {
        let file = "ziglang-0.13.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl";
        let wheel = WheelName::parse(file).unwrap();
        let requirement = |text: &str| text.parse::<Requirement>().unwrap();
        assert!(wheel.is_of(&requirement("ZigLang==0.13")) && wheel.build == 0);
        assert!(!wheel.is_of(&requirement("ziglang==0.13.1")) && !wheel.is_of(&requirement("zig==0.13.0")));
        assert!(wheel.fits(Platform::Amd64));
        assert!(![Platform::I386, Platform::Arm64, Platform::ArmV7].into_iter().any(|platform| wheel.fits(platform)));
        let built = WheelName::parse("a_b-1.0+x-12b-py2.py3-none-any.whl").unwrap();
        assert!(built.is_of(&requirement("A.b==1.0+X")) && built.build == 12 && built.fits(Platform::S390x));
        for bad in [
            "a-1.0.tar.gz",
            "a-1.0.whl",
            "a-1-2-3-4-5-6-7.whl",
            "a-x-py3-none-any.whl",
            "a-1-b-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a-1-py3-none-any.whl\n",
        ] {
            assert_eq!(WheelName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn tags_that_fit() {
        let fits = |tags: &str, platform| WheelName::parse(&format!("a-1-{tags}.whl")).unwrap().fits(platform);
        for (tags, platform) in [
            ("py3-none-any", Platform::Riscv64),
            ("py3-none-linux_armv6l", Platform::ArmV6),
            ("py3-none-linux_armv7l", Platform::ArmV7),
            ("py3-none-manylinux2014_aarch64", Platform::Arm64),
            ("py3-none-musllinux_1_2_i686", Platform::I386),
            ("py3-none-macosx_12_0_arm64.manylinux1_x86_64", Platform::Amd64),
        ] {
            assert!(fits(tags, platform), "{tags}");
        }
        for tags in [
            "py2-none-any",
            "cp311-none-any",
            "py3-cp311-linux_x86_64",
            "py3-none-win_amd64",
            "py3-none-macosx_10_9_x86_64",
            "py3-none-manylinux_x_2_x86_64",
            "py3-none-manylinux_2_x86_64",
            "py3-none-linux_64_x86_64",
            "py3-none-x86_64",
        ] {
            assert!(!fits(tags, Platform::Amd64), "{tags}");
        }
    }
}
