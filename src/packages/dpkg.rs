//! dpkg's database (deb-control(5), dpkg-query(1)): `status`, and of images without dpkg a file for each
//! package in `status.d`.

use crate::dpkg::{Paragraph, paragraphs};
use crate::packages::{Kind, MAX_PACKAGES, Malformed, Package, Source, word};

const FIELDS: [&str; 5] = ["Package", "Status", "Architecture", "Version", "Source"];

/// The packages whose files are in the image: those of which only the configuration is left are not.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Package>, Malformed> {
    let mut packages = Vec::new();
    for paragraph in installed(text, FIELDS)? {
        let needed = |field: usize, why| paragraph.get(field).and_then(word).ok_or_else(|| paragraph.malformed(why));
        let name = needed(0, "a package has no valid name")?;
        let architecture = needed(2, "a package has no valid architecture")?;
        let version = needed(3, "a package has no valid version")?;
        let source = match paragraph.get(4) {
            Some(text) => {
                source(text, &version).ok_or_else(|| paragraph.malformed("a package has no valid source package"))?
            }
            // A package is its own source where nothing else is said.
            None => Source { name: name.clone(), version: version.clone() },
        };
        packages.push(Package { kind: Kind::Deb, name, architecture, version, source: Some(source), license: None });
        if packages.len() > MAX_PACKAGES {
            return Err(paragraph.malformed("there are too many packages").into());
        }
    }
    Ok(packages)
}

/// These fields, of which the second is `Status`, of the packages whose files are in the image.
fn installed<'a, const N: usize>(text: &'a [u8], fields: [&str; N]) -> Result<Vec<Paragraph<'a, N>>, Malformed> {
    let mut all = paragraphs(text, fields).collect::<Result<Vec<_>, _>>()?;
    all.retain(|paragraph| {
        // `want flag state`; in `status.d` there is none.
        let state = paragraph.get(1).map(|status| status.rsplit(|byte| *byte == b' ').next().unwrap_or_default());
        !matches!(state, Some(b"not-installed" | b"config-files"))
    });
    Ok(all)
}

/// An installed package, and of which sources it was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// Those that it contains parts of (`Built-Using`), then its own.
    pub(crate) sources: Vec<Source>,
}

/// The same packages as [`parse`] gives, with their `Built-Using`: out of `status`, or of paragraphs of an index of packages.
pub(crate) fn built(text: &[u8]) -> Result<Vec<Built>, Malformed> {
    let mut all = Vec::new();
    for (package, paragraph) in parse(text)?.into_iter().zip(installed(text, ["Package", "Status", "Built-Using"])?) {
        let mut sources = Vec::new();
        for used in paragraph.get(2).unwrap_or_default().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !used.is_empty() {
                let used =
                    using(used).ok_or_else(|| paragraph.malformed("Built-Using of a package names no source"))?;
                sources.push(used);
            }
        }
        sources.extend(package.source);
        all.push(Built { name: package.name, version: package.version, architecture: package.architecture, sources });
    }
    Ok(all)
}

/// `name (= version)`
fn using(text: &[u8]) -> Option<Source> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    let version = text[at + 1..].trim_ascii().strip_prefix(b"(=")?.strip_suffix(b")")?.trim_ascii();
    Some(Source { name: word(&text[..at])?, version: word(version)? })
}

/// `name` or `name (version)`, where the version is not the package's own.
fn source(text: &[u8], version: &str) -> Option<Source> {
    let (name, own) = match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_ascii())),
        None => (text, None),
    };
    let version = match own {
        Some(own) => word(own.strip_prefix(b"(")?.strip_suffix(b")")?)?,
        None => version.to_owned(),
    };
    Some(Source { name: word(name)?, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u9
Description: GNU C Library
 Package: not-a-field
 .
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libgcc-s1
Status: hold ok half-configured
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 1:12.2.0-14
";

    #[test]
    fn what_is_installed() {
        let packages = parse(STATUS.as_bytes()).unwrap();
        let found: Vec<_> = packages
            .iter()
            .map(|package| {
                let source = package.source.as_ref().unwrap();
                format!(
                    "{} {} {} {} {}",
                    package.name, package.version, package.architecture, source.name, source.version
                )
            })
            .collect();
        assert_eq!(
            found,
            ["libc6 2.36-9+deb12u9 amd64 glibc 2.36-9+deb12u9", "libgcc-s1 1:12.2.0-14 amd64 gcc-12 12.2.0-14"]
        );
        // In status.d there is no Status, and nothing after the last line.
        assert_eq!(parse(b"Package: base-files\nVersion: 12.4\nArchitecture: all").unwrap().len(), 1);
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn what_packages_are_built_of() {
        let text = STATUS.replace(
            "Source: gcc-12 (12.2.0-14)",
            "Source: gcc-12-cross (15)\nBuilt-Using: glibc (= 2.36-8) , gcc-12 (= 12.2.0-14)",
        );
        let built = built(text.as_bytes()).unwrap();
        let sources: Vec<Vec<_>> = built
            .iter()
            .map(|package| package.sources.iter().map(|source| format!("{} {}", source.name, source.version)).collect())
            .collect();
        assert_eq!(
            sources,
            [vec!["glibc 2.36-9+deb12u9"], vec!["glibc 2.36-8", "gcc-12 12.2.0-14", "gcc-12-cross 15"]]
        );
        for bad in ["gcc-12", "gcc-12 (>= 1)", "gcc-12 (= )", " (= 1)", "gcc-12 (= 1) x"] {
            let text = format!("Package: a\nVersion: 1\nArchitecture: all\nBuilt-Using: {bad}\n");
            assert!(super::built(text.as_bytes()).is_err(), "accepted {bad:?}");
        }
    }

    #[test]
    fn hostile_databases_are_refused() {
        let whole = "Package: a\nVersion: 1\nArchitecture: all\n";
        assert!(parse(whole.as_bytes()).is_ok());
        for bad in [
            "Package: a\nPackage: b\nVersion: 1\nArchitecture: all\n",
            "Package: a\nArchitecture: all\n",
            "Package: a\u{1b}[31m\nVersion: 1\nArchitecture: all\n",
            "Package: a b\nVersion: 1\nArchitecture: all\n",
            "Package: a\nVersion: 1\nArchitecture: all\nSource: b (\n",
            "Package: a\nVersion: 1\nArchitecture: all\nSource: b 1\n",
            "no field\n",
            "\0\0\0\0",
            &whole.replace('1', &"1".repeat(256)),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "accepted {bad:?}");
        }
    }
}
