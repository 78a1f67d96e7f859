//! Packages for tests, made member by member, so that they can be malformed in any way.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::ar;
use super::{DatabaseFile, DebError, Expected, Root, UnpackedPackage, database};
use crate::digest::Digest;
use crate::layer::testing::Tar;
use crate::layer::{Assembled, Kind, LayerError, Limits, assemble};

/// The time of what hermes makes.
pub(super) const EPOCH: i64 = 1_783_900_800;

/// Members of an archive by their names.
pub(super) type Members = Vec<(String, Vec<u8>)>;

/// A package under construction.
#[derive(Clone)]
pub(super) struct Deb {
    pub(super) name: String,
    pub(super) members: Members,
}

/// The control file of a package.
pub(super) fn control(name: &str, more: &str) -> String {
    format!(
        "Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: A <a@example.org>\n{more}Description: a package\n more of it\n"
    )
}

impl Deb {
    /// One with these further fields and this data.
    pub(super) fn new(name: &str, fields: &str, data: &Tar) -> Self {
        Self::of(name, &Tar::default().dir("./").file("./control", &control(name, fields)), data)
    }

    /// One with this control archive and data, both plain.
    pub(super) fn of(name: &str, control: &Tar, data: &Tar) -> Self {
        let members = [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control.end()), ("data.tar", data.end())];
        Self { name: name.to_owned(), members: members.map(|(name, bytes)| (name.to_owned(), bytes)).into() }
    }

    /// With control and data compressed as `suffix` says.
    pub(super) fn compressed(mut self, suffix: &str) -> Self {
        for (name, bytes) in &mut self.members[1..] {
            *bytes = compress(suffix, bytes);
            name.push_str(suffix);
        }
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in &self.members {
            ar::append(&mut bytes, name, content);
        }
        bytes
    }

    pub(super) fn expected(&self) -> Expected {
        expected(&self.name, &self.bytes())
    }
}

/// What an index would say of these bytes.
pub(super) fn expected(name: &str, bytes: &[u8]) -> Expected {
    Expected {
        name: name.parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

pub(super) fn compress(suffix: &str, bytes: &[u8]) -> Vec<u8> {
    match suffix {
        "" => bytes.to_vec(),
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => {
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => panic!("{suffix}"),
    }
}

/// Packages that were unpacked together.
#[derive(Debug)]
pub(super) struct Composed {
    temp: tempfile::TempDir,
    pub(super) tree: Assembled,
    pub(super) packages: Vec<UnpackedPackage>,
}

#[derive(Debug)]
pub(super) enum Failure {
    Deb(DebError),
    Layer(LayerError),
}

impl From<DebError> for Failure {
    fn from(error: DebError) -> Self {
        Self::Deb(error)
    }
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Unpacks packages, in this order.
pub(super) fn compose(debs: &[Deb]) -> Result<Composed, DebError> {
    let archives: Vec<_> = debs.iter().map(|deb| (deb.bytes(), deb.expected())).collect();
    compose_bytes(&archives, &Limits::default())
}

pub(super) fn compose_bytes(archives: &[(Vec<u8>, Expected)], limits: &Limits) -> Result<Composed, DebError> {
    let temp = tempfile::tempdir().unwrap();
    let into = temp.path().join("fs");
    std::fs::create_dir(&into).unwrap();
    let composed = assemble(&into, limits, EPOCH, |assembly| {
        let mut root = Root::new(assembly, limits);
        for (bytes, expected) in archives {
            root.unpack(&bytes[..], expected)?;
        }
        Ok::<_, Failure>(root.finish(EPOCH)?)
    });
    let beside = std::fs::read_dir(temp.path()).unwrap().count();
    assert_eq!(beside, 1, "something appeared beside the tree");
    match composed {
        Ok((tree, packages)) => Ok(Composed { temp, tree, packages }),
        Err(Failure::Deb(error)) => Err(error),
        Err(Failure::Layer(error)) => panic!("{error:?}"),
    }
}

impl Composed {
    pub(super) fn root(&self) -> PathBuf {
        self.temp.path().join("fs")
    }

    /// All paths but the root, each with a letter for its kind.
    pub(super) fn paths(&self) -> Vec<String> {
        let entries = self.tree.toc.entries.iter().filter(|entry| !entry.path.is_empty());
        let letter = |kind| match kind {
            Kind::File => 'f',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::Hardlink => 'h',
            _ => panic!("{kind:?}"),
        };
        entries.map(|entry| format!("{} {}", letter(entry.kind), String::from_utf8_lossy(&entry.path))).collect()
    }

    pub(super) fn read(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// dpkg's database, with this index.
    pub(super) fn database(&self, index: &[&str]) -> Vec<DatabaseFile> {
        database(&self.packages, index, index, EPOCH).unwrap()
    }
}

/// A file of the database, without dpkg's directory before its path.
pub(super) fn file<'a>(database: &'a [DatabaseFile], path: &str) -> &'a DatabaseFile {
    let path = format!("var/lib/dpkg/{path}");
    database.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"))
}

pub(super) fn text(database: &[DatabaseFile], path: &str) -> String {
    String::from_utf8(file(database, path).content.clone()).unwrap()
}
