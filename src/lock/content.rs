//! The files that a lock names besides the parts of images.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::lock::model::Lock;
use crate::lock::root::Archive;
use crate::oci::Descriptor;

/// A file that a lock names by its digest, and that is no part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedFile {
    pub kind: FileKind,
    /// Its name in messages: that of a source; name, version and architecture of a package; the path and the suite of a file of an
    /// archive.
    pub name: String,
    /// The blob that a store has it as.
    pub blob: Descriptor,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileKind {
    /// The archive of a source.
    Source,
    /// A .deb.
    Package,
    /// `InRelease`, or an index of packages.
    Index,
}

impl FileKind {
    /// `artifactType` of the manifest of such a file in a registry (OCI image specification 1.1).
    #[must_use]
    pub(crate) fn artifact_type(self) -> &'static str {
        match self {
            Self::Source => "application/vnd.hermes.source.v1",
            Self::Package => "application/vnd.hermes.deb.v1",
            Self::Index => "application/vnd.hermes.archive.v1",
        }
    }
}

impl Archive {
    /// The path of the signed release in the archive.
    #[must_use]
    pub fn release_path(&self) -> String {
        format!("dists/{}/InRelease", self.suite)
    }

    /// What the release is called in messages.
    #[must_use]
    pub fn release_name(&self) -> String {
        format!("InRelease of {}", self.suite)
    }
}

impl Lock {
    /// The sources; the packages of roots, native tools and emulators; the releases and indexes that roots were chosen from. Each
    /// file once.
    #[must_use]
    pub(crate) fn files(&self) -> Vec<LockedFile> {
        let file = |kind, name: String, blob: &Descriptor| LockedFile { kind, name, blob: blob.clone() };
        let sources = self.all_sources().map(|(name, source)| file(FileKind::Source, name, &source.blob()));
        let mut files: Vec<_> = sources.collect();
        for root in self.roots.values() {
            for archive in self.archives_of(root).unwrap_or_default() {
                files.push(file(FileKind::Index, archive.release_name(), &archive.release));
                let of_root = root.indexes(archive).into_iter();
                files.extend(
                    of_root.map(|(path, blob)| file(FileKind::Index, format!("{path} of {}", archive.suite), blob)),
                );
            }
        }
        for deb in self.deb_sets().flat_map(|set| set.debs) {
            files.push(file(FileKind::Package, deb.shown(), &deb.blob()));
        }
        let mut seen = BTreeSet::new();
        files.retain(|file| seen.insert(file.blob.digest));
        files.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        files
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::lock::{Deb, Root, Source};
    use crate::platform::Platform;

    fn blob(text: &str) -> Descriptor {
        Descriptor::new(Archive::INDEX, Digest::of(text.as_bytes()), text.len() as u64)
    }

    fn deb(name: &str) -> Deb {
        Deb {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            architecture: "all".parse().unwrap(),
            digest: Digest::of(name.as_bytes()),
            size: 1,
            path: format!("pool/{name}.deb"),
            is_base: false,
        }
    }

    #[test]
    fn each_file_is_listed_once_and_no_index_that_nothing_uses() {
        let indexes =
            ["main/binary-amd64/Packages.xz", "main/binary-arm64/Packages.xz", "contrib/binary-amd64/Packages.xz"];
        let archive = Archive {
            suite: "bookworm".into(),
            uri: None,
            codename: "bookworm".into(),
            date: 1,
            release: blob("release"),
            signed_by: vec![],
            indexes: BTreeMap::from(indexes.map(|path| (path.to_owned(), blob(path)))),
        };
        let root = Root {
            platform: Platform::Amd64,
            request: vec![],
            archives: vec!["bookworm".into()],
            components: vec!["main".into()],
            composer: 1,
            epoch: 1,
            apt_sources: None,
            scripts: true,
            debs: vec![deb("gcc"), deb("make")],
        };
        let source = Source {
            url: None,
            commit: None,
            package: None,
            digest: Digest::of(b"lua"),
            size: 3,
            strip: 1,
            patches: vec![],
        };
        let mut lock = Lock::default();
        lock.sources.insert("lua".into(), source);
        lock.archives.insert("bookworm".into(), archive);
        let other = Root { debs: vec![deb("make"), deb("perl")], ..root.clone() };
        lock.roots.insert(("one".into(), Platform::Amd64), root);
        lock.roots.insert(("two".into(), Platform::Amd64), other);
        let names: Vec<_> = lock.files().into_iter().map(|file| (file.kind, file.name)).collect();
        let file = |kind, name: &str| (kind, name.to_owned());
        assert_eq!(
            names,
            [
                file(FileKind::Source, "lua"),
                file(FileKind::Package, "gcc 1 all"),
                file(FileKind::Package, "make 1 all"),
                file(FileKind::Package, "perl 1 all"),
                file(FileKind::Index, "InRelease of bookworm"),
                file(FileKind::Index, "main/binary-amd64/Packages.xz of bookworm"),
            ]
        );
    }
}
