//! The package that a file of an image belongs to, and the sources it was built from, according to dpkg.

use std::fmt;

use crate::packages::{Source, dpkg};

/// Where dpkg keeps what it knows, in an image.
const DATABASE: &str = "var/lib/dpkg";

/// Reads a file of an image by its path in it; `None` where it is not there or cannot be read.
pub(crate) type Reader<'a> = dyn Fn(&str) -> Option<Vec<u8>> + 'a;

/// The sources of dpkg's packages.
pub(crate) struct Owners<'a> {
    packages: Vec<dpkg::Built>,
    read: &'a Reader<'a>,
}

impl fmt::Debug for Owners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").field("packages", &self.packages).finish_non_exhaustive()
    }
}

impl<'a> Owners<'a> {
    /// The packages of the image whose files `read` reads; `None` where it has no database of dpkg, or one that is malformed.
    #[must_use]
    pub(crate) fn of(read: &'a Reader<'a>) -> Option<Self> {
        let status = read(&format!("{DATABASE}/status"))?;
        Some(Self { packages: dpkg::built(&status).ok()?, read })
    }

    /// The source package that the file at `path` was compiled from: of those packages whose source begins with `source` or
    /// that were built using such a one, the first that lists it.
    #[must_use]
    pub(crate) fn source_of(&self, path: &str, source: &str) -> Option<&Source> {
        // The same file by the name that it had before /usr was merged, or has since.
        let other = path.strip_prefix("/usr").map_or_else(|| format!("/usr{path}"), str::to_owned);
        self.packages.iter().find_map(|package| {
            let found = package.sources.iter().find(|of| of.name.starts_with(source))?;
            let lists = [format!("{}:{}", package.name, package.architecture), package.name.clone()];
            let list = lists.iter().find_map(|name| (self.read)(&format!("{DATABASE}/info/{name}.list")))?;
            let is_its = |line: &[u8]| line == path.as_bytes() || line == other.as_bytes();
            list.split(|byte| *byte == b'\n').any(is_its).then_some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: cpp-12\nStatus: install ok installed\nArchitecture: arm64\nSource: gcc-12\nVersion: 12.2.0-14+deb12u1\n
Package: gcc-12-x\nStatus: install ok installed\nArchitecture: amd64\nSource: gcc-12-cross (15)\nVersion: 12.2.0-14cross1\nBuilt-Using: glibc (= 2.36-8), gcc-12 (= 12.2.0-14)\n
Package: libgcc-s1\nStatus: install ok installed\nArchitecture: arm64\nSource: gcc-12\nVersion: 12.2.0-14+deb12u1\n
Package: tar\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n";

    fn read(path: &str) -> Option<Vec<u8>> {
        let text = match path {
            "var/lib/dpkg/status" => STATUS,
            "var/lib/dpkg/info/cpp-12.list" => "/.\n/usr\n/usr/bin/cpp-12\n/usr/lib/gcc/cc1\n",
            "var/lib/dpkg/info/gcc-12-x:amd64.list" => "/usr/bin/x-gcc-12\n",
            "var/lib/dpkg/info/libgcc-s1:arm64.list" => "/lib/libgcc_s.so.1",
            "var/lib/dpkg/info/tar.list" => "/bin/tar\n",
            _ => return None,
        };
        Some(text.into())
    }

    #[test]
    fn what_files_are_of() {
        let owners = Owners::of(&read).unwrap();
        let of =
            |path, source| owners.source_of(path, source).map(|source| format!("{} {}", source.name, source.version));
        let ours = Some("gcc-12 12.2.0-14+deb12u1".to_owned());
        assert_eq!(of("/usr/lib/gcc/cc1", "gcc-1"), ours);
        assert_eq!(of("/usr/lib/libgcc_s.so.1", "gcc-"), ours);
        assert_eq!(of("/usr/bin/x-gcc-12", "gcc-12"), Some("gcc-12 12.2.0-14".into()));
        assert_eq!(of("/usr/bin/tar", "tar"), Some("tar 1".into()));
        // Of another source, of nobody, and part of a name.
        for (path, source) in [("/usr/bin/tar", "gcc-"), ("/usr/local/bin/gcc", "gcc-"), ("/usr/bin/cpp", "gcc-")] {
            assert_eq!(of(path, source), None, "{path}");
        }
        assert!(Owners::of(&|_| None).is_none());
        assert!(Owners::of(&|_| Some(b"no field\n".to_vec())).is_none());
    }
}
