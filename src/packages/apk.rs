//! apk's database (apk-package(5)), `installed`: each field is named by one letter.

use crate::dpkg::paragraphs;
use crate::packages::{Kind, MAX_PACKAGES, Malformed, Package, Source, line, word};

const FIELDS: [&str; 5] = ["P", "V", "A", "o", "L"];

pub(super) fn parse(text: &[u8]) -> Result<Vec<Package>, Malformed> {
    let mut packages = Vec::new();
    for paragraph in paragraphs(text, FIELDS) {
        let paragraph = paragraph?;
        let needed = |field: usize, why| paragraph.get(field).and_then(word).ok_or_else(|| paragraph.malformed(why));
        let name = needed(0, "a package has no valid name")?;
        let version = needed(1, "a package has no valid version")?;
        let architecture = needed(2, "a package has no valid architecture")?;
        let source = match paragraph.get(3) {
            Some(origin) => {
                let name = word(origin).ok_or_else(|| paragraph.malformed("a package has no valid origin"))?;
                Some(Source { name, version: version.clone() })
            }
            None => None,
        };
        let license = match paragraph.get(4).filter(|text| !text.is_empty()) {
            Some(text) => Some(line(text).ok_or_else(|| paragraph.malformed("a package has no valid licence"))?),
            None => None,
        };
        packages.push(Package { kind: Kind::Apk, name, architecture, version, source, license });
        if packages.len() > MAX_PACKAGES {
            return Err(paragraph.malformed("there are too many packages").into());
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed() {
        let text = "C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=\nP:musl\nV:1.2.4_git20230717-r4\nA:x86_64\nL:MIT\no:musl\n\
                    F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nR:libc.musl-x86_64.so.1\n\n\
                    P:.build-deps\nV:20240101.000000\nA:noarch\nL:\n\n";
        let packages = parse(text.as_bytes()).unwrap();
        assert_eq!(packages.len(), 2);
        let musl = &packages[0];
        assert_eq!((&*musl.name, &*musl.version, &*musl.architecture), ("musl", "1.2.4_git20230717-r4", "x86_64"));
        assert_eq!(musl.license.as_deref(), Some("MIT"));
        assert_eq!(musl.source.as_ref().unwrap().name, "musl");
        assert_eq!((packages[1].source.as_ref(), packages[1].license.as_ref()), (None, None));
        for bad in ["P:a\nV:1\n", "P:a\nV:1\nA:all\nL:a\u{7}b\n", "P:a\nV:1\nA:all\nP:b\n", "P:a\nV:1\nA:all\no:a b\n"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "accepted {bad:?}");
        }
    }
}
