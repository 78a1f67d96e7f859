//! The sources that compilers are built from, according to their packages, and known differences in their output.
//!
//! The version that a compiler states is not enough: Debian revisions have patches, and `gcc -dumpversion` is the same with
//! and without them.

use std::path::{Path, PathBuf};

use super::incompatibility::Incompatibility;
use crate::packages::{Owners, Source};

/// Two revisions whose output is known to be the same, except with certain options.
struct Known {
    source: &'static str,
    image: &'static str,
    native: &'static str,
    /// Prefixes of the targets on which they differ.
    targets: &'static [&'static str],
    /// Prefixes of the options with which they differ there.
    options: &'static [&'static str],
}

/// Debian 12: the only difference is the patch for CVE-2023-4039 in the stack protector on `AArch64`, about the place of the
/// guard in the frame of a function with variable-length arrays. `tests/it/native.rs` compares the output of both.
const KNOWN: [Known; 1] = [Known {
    source: "gcc-12",
    image: "12.2.0-14+deb12u1",
    native: "12.2.0-14",
    targets: &["aarch64"],
    options: &["-fstack-protector"],
}];

/// A pair of programs that have to be built from the same source, whose name begins with `source`.
pub(super) struct Pair {
    /// Real path in the image.
    pub(super) image: PathBuf,
    /// Real path among the native tools.
    pub(super) native: PathBuf,
    pub(super) source: &'static str,
}

/// Prefixes of options with which the output of the native compiler for `target` could differ. With such options the image's
/// compiler is used.
///
/// # Errors
/// The programs are not known to be built from the same sources.
pub(super) fn compare(
    pairs: &[Pair],
    (image, native): (Option<&Owners<'_>>, Option<&Owners<'_>>),
    target: &str,
) -> Result<Vec<&'static str>, Incompatibility> {
    let mut options = Vec::new();
    for Pair { image: ours, native: theirs, source } in pairs {
        let of = |owners: Option<&Owners<'_>>, path: &Path| owners?.source_of(path.to_str()?, source).cloned();
        let unknown = |path: &Path, whose| Incompatibility::Unpackaged { path: path.to_owned(), whose };
        let image = of(image, ours).ok_or_else(|| unknown(ours, "image"))?;
        let native = of(native, theirs).ok_or_else(|| unknown(theirs, "image of native tools"))?;
        for option in differing(&image, &native, target).ok_or_else(|| differs(ours, &image, &native))? {
            if !options.contains(option) {
                options.push(*option);
            }
        }
    }
    Ok(options)
}

fn differs(path: &Path, image: &Source, native: &Source) -> Incompatibility {
    Incompatibility::Differs(format!(
        "{} in the image is built from {} {}, its native counterpart from {} {}",
        path.display(),
        image.name,
        image.version,
        native.name,
        native.version
    ))
}

/// Whether a compiler built from `native` can replace one built from `image`, apart from some options.
pub(super) fn is_accepted(image: &Source, native: &Source, target: &str) -> bool {
    differing(image, native, target).is_some()
}

/// Prefixes of options with which the output of these two revisions differs; `None` for unknown revisions.
fn differing(image: &Source, native: &Source, target: &str) -> Option<&'static [&'static str]> {
    if image == native {
        return Some(&[]);
    }
    let is_known = |known: &&Known| {
        (image.name.as_str(), native.name.as_str()) == (known.source, known.source)
            && (image.version.as_str(), native.version.as_str()) == (known.image, known.native)
    };
    let known = KNOWN.iter().find(is_known)?;
    let differs = known.targets.iter().any(|beginning| target.starts_with(beginning));
    Some(if differs { known.options } else { &[] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, version: &str) -> Source {
        Source { name: name.into(), version: version.into() }
    }

    #[test]
    fn revisions_that_make_the_same() {
        let (fixed, plain) = (source("gcc-12", "12.2.0-14+deb12u1"), source("gcc-12", "12.2.0-14"));
        let none: Option<&[&str]> = Some(&[]);
        assert_eq!(differing(&plain, &plain, "aarch64-linux-gnu"), none);
        assert_eq!(differing(&fixed, &plain, "aarch64-linux-gnu"), Some(&["-fstack-protector"][..]));
        assert_eq!(differing(&fixed, &plain, "arm-linux-gnueabi"), none);
        // The reverse pair, other revisions and other sources are not known.
        assert_eq!(differing(&plain, &fixed, "arm-linux-gnueabi"), None);
        assert_eq!(differing(&fixed, &source("gcc-12", "12.2.0-13"), "riscv64-linux-gnu"), None);
        assert_eq!(differing(&source("gcc-11", "11.3.0-12"), &source("gcc-11", "11.3.0-11"), "x"), None);
        assert_eq!(differing(&source("binutils", "2.40-2"), &source("binutils", "2.40-3"), "x"), None);
    }

    #[test]
    fn without_packages_nothing_is_known() {
        let read = |path: &str| {
            let text = match path {
                "var/lib/dpkg/status" => "Package: gcc-12\nArchitecture: arm64\nVersion: 12.2.0-14+deb12u1\n",
                "var/lib/dpkg/info/gcc-12.list" => "/usr/bin/gcc-12\n",
                _ => return None,
            };
            Some(text.into())
        };
        let cross = |path: &str| {
            let text = match path {
                "var/lib/dpkg/status" => {
                    "Package: gcc-12-x\nArchitecture: amd64\nVersion: 1\nSource: gcc-12-cross (15)\nBuilt-Using: gcc-12 (= 12.2.0-13)\n"
                }
                "var/lib/dpkg/info/gcc-12-x.list" => "/usr/bin/x-gcc-12\n",
                _ => return None,
            };
            Some(text.into())
        };
        let (image, native) = (Owners::of(&read), Owners::of(&cross));
        let said = |ours: &str, theirs: &str, native: Option<&Owners<'_>>| {
            let pair = Pair { image: ours.into(), native: theirs.into(), source: "gcc-12" };
            compare(&[pair], (image.as_ref(), native), "aarch64-linux-gnu").unwrap_err().to_string()
        };
        let differs = said("/usr/bin/gcc-12", "/usr/bin/x-gcc-12", native.as_ref());
        assert!(
            differs.contains("built from gcc-12 12.2.0-14+deb12u1") && differs.contains("gcc-12 12.2.0-13"),
            "{differs}"
        );
        let local = said("/usr/local/bin/gcc", "/usr/bin/x-gcc-12", native.as_ref());
        assert!(local.contains("/usr/local/bin/gcc of the image belongs to no Debian package"), "{local}");
        assert!(
            said("/usr/bin/gcc-12", "/usr/bin/x-gcc-12", None).contains("of the image of native tools belongs to no")
        );
    }
}
