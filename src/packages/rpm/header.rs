//! The header of a package as rpm keeps it (rpm.org, "RPM package format", "Header structure"): two lengths, an index
//! of tags, and the data that these point into; all numbers big-endian.

use crate::packages::rpm::bytes::{Bytes, MAX_HEADER};
use crate::packages::{Kind, Package, Source, line, word};

/// Most tags, rpm's own limit.
const MAX_TAGS: usize = 0xffff;
/// Bytes of a tag in the index.
const ENTRY: usize = 16;

/// Tags (`rpmtag.h`), and of what types they are.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCH: u32 = 1022;
const SOURCERPM: u32 = 1044;
const INT32: u32 = 4;
const STRING: u32 = 6;
const I18N_STRING: u32 = 9;

/// The package of a header, or what is wrong with it.
pub(super) fn package(header: &Bytes<'_>) -> Result<Package, &'static str> {
    let short = |_| "its header ends early";
    let (tags, length) = (header.be32(0).map_err(short)?, header.be32(4).map_err(short)?);
    if tags > MAX_TAGS || length > MAX_HEADER {
        return Err("its header is too long");
    }
    let data = Bytes(header.piece(8 + tags * ENTRY, length).map_err(short)?);
    let mut found = Found::default();
    for entry in (0..tags).map(|tag| 8 + tag * ENTRY) {
        let field = |at: usize| header.be32(entry + at).map_err(short);
        let (tag, kind, offset) = (field(0)?, field(4)?, field(8)?);
        let (Ok(tag), Ok(kind)) = (u32::try_from(tag), u32::try_from(kind)) else { continue };
        let text = || {
            let rest = data.0.get(offset..).ok_or("a tag points outside its header")?;
            let end = rest.iter().position(|byte| *byte == 0).ok_or("a string in its header is not terminated")?;
            Ok::<_, &'static str>(Some(&rest[..end]))
        };
        match (tag, kind) {
            (NAME, STRING) => found.name = text()?,
            (VERSION, STRING) => found.version = text()?,
            (RELEASE, STRING) => found.release = text()?,
            (ARCH, STRING) => found.architecture = text()?,
            (SOURCERPM, STRING) => found.source = text()?,
            (LICENSE, STRING | I18N_STRING) => found.license = text()?,
            (EPOCH, INT32) => found.epoch = Some(data.be32(offset).map_err(|_| "a tag points outside its header")?),
            _ => {}
        }
    }
    found.package()
}

#[derive(Default)]
struct Found<'a> {
    name: Option<&'a [u8]>,
    epoch: Option<usize>,
    version: Option<&'a [u8]>,
    release: Option<&'a [u8]>,
    architecture: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    license: Option<&'a [u8]>,
}

impl Found<'_> {
    fn package(self) -> Result<Package, &'static str> {
        let name = self.name.and_then(word).ok_or("it has no valid name")?;
        let version = self.version.and_then(word).ok_or("it has no valid version")?;
        let release = self.release.and_then(word).ok_or("it has no valid release")?;
        let epoch = self.epoch.map_or_else(String::new, |epoch| format!("{epoch}:"));
        // Keys have none.
        let architecture = self.architecture.map_or(Some("none".to_owned()), word);
        let source = match self.source.filter(|text| !text.is_empty() && *text != b"(none)") {
            Some(text) => Some(word(text).and_then(|file| source(&file)).ok_or("it has no valid source package")?),
            None => None,
        };
        let license = match self.license.filter(|text| !text.is_empty()) {
            Some(text) => Some(line(text).ok_or("it has no valid licence")?),
            None => None,
        };
        Ok(Package {
            kind: Kind::Rpm,
            name,
            architecture: architecture.ok_or("it has no valid architecture")?,
            version: format!("{epoch}{version}-{release}"),
            source,
            license,
        })
    }
}

/// `name-version-release.src.rpm`.
fn source(file: &str) -> Option<Source> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    (!name.is_empty()).then(|| Source { name: name.to_owned(), version: format!("{version}-{release}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, bytes) in entries {
            let offset = u32::try_from(data.len()).unwrap();
            index.extend([*tag, *kind, offset, 1].map(u32::to_be_bytes).concat());
            data.extend_from_slice(bytes);
        }
        let lengths = [entries.len(), data.len()].map(|length| u32::try_from(length).unwrap().to_be_bytes());
        [lengths.concat(), index, data].concat()
    }

    #[test]
    fn tags_become_a_package() {
        let whole = header(&[
            (EPOCH, INT32, &2_u32.to_be_bytes()),
            (NAME, STRING, b"vim-minimal\0"),
            (VERSION, STRING, b"9.1\0"),
            (RELEASE, STRING, b"1.fc40\0"),
            (ARCH, STRING, b"x86_64\0"),
            (SOURCERPM, STRING, b"vim-9.1-1.fc40.src.rpm\0"),
            (LICENSE, I18N_STRING, b"Vim AND MIT\0"),
        ]);
        let found = package(&Bytes(&whole)).unwrap();
        assert_eq!((&*found.name, &*found.version, &*found.architecture), ("vim-minimal", "2:9.1-1.fc40", "x86_64"));
        assert_eq!(found.source, Some(Source { name: "vim".into(), version: "9.1-1.fc40".into() }));
        assert_eq!(found.license.as_deref(), Some("Vim AND MIT"));
        // Cut anywhere, it is no header.
        for end in 0..whole.len() {
            assert!(package(&Bytes(&whole[..end])).is_err(), "{end}");
        }
        // And no change of a byte makes it panic.
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = package(&Bytes(&bytes));
            }
        }
    }
}
