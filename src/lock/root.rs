//! Roots and native tools composed of packages in a lock, and the archives that the packages are from.

use std::collections::BTreeMap;

use crate::digest::{Digest, Hasher};
use crate::dpkg::{Architecture, PackageName, Request, Version};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;

/// The registry in references of roots. RFC 6761 reserves `.invalid`: no name server has it, so nothing is ever fetched from it.
const REGISTRY: &str = "packages.hermes.invalid";
/// Longest address of an archive, in bytes.
const MAX_ADDRESS: usize = 2000;
/// The tag of a root whose programs are of the target platform.
const TAG: &str = "latest";
/// What the tag of native tools begins with; the name of the target platform follows.
const NATIVE_TAG: &str = "native-";

/// A toolchain and its target platform.
pub(crate) type RootKey = (String, Platform);

/// What was signed: a state of a suite of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The path of the suite below `dists/`.
    pub suite: String,
    /// Where it was found; `None` for a directory of one host.
    pub uri: Option<String>,
    /// `Codename` of the release.
    pub codename: String,
    /// `Date` of the release, in seconds since 1970.
    pub date: u64,
    /// `InRelease`, a blob in the store.
    pub release: Descriptor,
    /// Fingerprints of the keys that have signed it, in hexadecimal digits.
    pub signed_by: Vec<String>,
    /// The indexes that packages were chosen from, by path relative to the suite.
    pub indexes: BTreeMap<String, Descriptor>,
}

/// A root composed of packages for one platform. Its image, if it was composed, is under [`root_reference`] among the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The platform of the programs: not the target platform for a cross toolchain.
    pub platform: Platform,
    /// The requested packages.
    pub request: Vec<Request>,
    /// Keys of the archives in the lock, in the order of the toolchain's suites.
    pub archives: Vec<String>,
    /// Components of the suites.
    pub components: Vec<String>,
    /// The version of the rules by which the root is composed.
    pub composer: u32,
    /// The time of everything that composing writes, in seconds since 1970.
    pub epoch: u64,
    /// The address in the apt sources of the root; `None` for a root without.
    pub apt_sources: Option<String>,
    /// Whether the scripts of the packages were run. Otherwise the packages are unpacked, and no more.
    pub scripts: bool,
    /// The packages, sorted by name.
    pub debs: Vec<Deb>,
}

/// Native tools composed of packages, for the image of a toolchain. Their own image, if it was composed, is under
/// [`native_reference`] among the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeTools {
    /// The chain id of the image whose compilers they replace. For another image they are chosen again.
    pub image: Digest,
    /// Their packages, for the host's platform, without a base and without scripts.
    pub root: Root,
}

/// A package of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    pub name: PackageName,
    pub version: Version,
    pub architecture: Architecture,
    /// SHA-256 of the .deb, which is a blob in the store.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its path in the archive, relative and plain.
    pub path: String,
    /// Whether every root of the suite has it, so that it is in the lower layer.
    pub is_base: bool,
}

impl Archive {
    /// Media type of `InRelease` as a blob.
    pub const RELEASE: &str = "text/plain";
    /// Media type of an index as a blob.
    pub const INDEX: &str = "application/octet-stream";
}

impl Deb {
    /// Media type of a .deb as a blob.
    pub const MEDIA_TYPE: &str = "application/vnd.debian.binary-package";

    /// The blob that it is stored as.
    #[must_use]
    pub fn blob(&self) -> Descriptor {
        Descriptor::new(Self::MEDIA_TYPE, self.digest, self.size)
    }

    /// Whether `path` is a valid path in an archive: relative, plain, without `.` and `..`.
    #[must_use]
    pub(crate) fn is_path(path: &str) -> bool {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b".-_+~:%=,@".contains(&c);
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
        path.len() <= 1000 && path.split('/').all(is_part)
    }

    /// Name, version and architecture, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} {} {}", self.name, self.version, self.architecture)
    }

    pub(super) fn line(&self) -> String {
        let Self { name, version, architecture, digest, size, path, is_base: _ } = self;
        format!("{name} {version} {architecture} {} {size} {path}", digest.hex())
    }

    /// Parses what [`Self::line`] wrote.
    pub(super) fn parse(line: &str, is_base: bool) -> Option<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let (name, version, architecture) = (word()?, word()?, word()?);
        let (digest, size, path) = (word()?, word()?, word()?);
        let is_whole = words.next().is_none() && Self::is_path(path);
        let (name, architecture) = (name.parse().ok()?, architecture.parse().ok()?);
        let (digest, size) = (Digest::from_hex(digest).ok()?, number(size)?);
        let version = version.parse().ok()?;
        is_whole.then(|| Self { name, version, architecture, digest, size, path: path.to_owned(), is_base })
    }
}

/// Whether `text` is an address with https or http, without user and password, query and fragment.
pub(crate) fn is_web(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    text.len() <= MAX_ADDRESS
        && !authority.is_empty()
        && !authority.contains('@')
        && text.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'?' | b'#' | b'"' | b'\\' | b'{' | b'}'))
}

/// A decimal number without sign and leading zeros.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()));
    is_plain.then(|| text.parse().ok()).flatten()
}

impl Root {
    /// The indexes of `archive` that have packages of the root's components and architecture, with their paths, sorted by path.
    #[must_use]
    pub fn indexes<'a>(&self, archive: &'a Archive) -> Vec<(&'a String, &'a Descriptor)> {
        let architecture = Architecture::of(self.platform);
        let is_of = |path: &str| {
            self.components.iter().any(|component| {
                let rest = path.strip_prefix(component.as_str()).and_then(|rest| rest.strip_prefix("/binary-"));
                let of = rest.and_then(|rest| rest.split_once('/')).map(|(of, _)| of);
                of.is_some_and(|of| of == architecture.as_str() || of == "all")
            })
        };
        archive.indexes.iter().filter(|(path, _)| is_of(path)).collect()
    }

    /// Identifies the base of the composed root as [`Self::digest`] does the whole. Roots of several toolchains have the same base.
    #[must_use]
    pub fn base_digest(&self, releases: &[&Archive]) -> Digest {
        self.digest_of("base", releases, |_| None, |deb| deb.is_base)
    }

    /// Identifies the composed root: the digest of everything in the lock that determines its bytes, with the `releases` of its
    /// archives, and their indexes, which dpkg's database has a part of.
    #[must_use]
    pub fn digest(&self, releases: &[&Archive]) -> Digest {
        self.digest_of("root", releases, |request| Some(request.to_string()), |_| true)
    }

    fn digest_of(
        &self,
        what: &str,
        releases: &[&Archive],
        of_request: impl Fn(&Request) -> Option<String>,
        is_part: impl Fn(&Deb) -> bool,
    ) -> Digest {
        let mut hasher = Hasher::default();
        let mut line = |text: String| hasher.update(format!("{text}\n").as_bytes());
        line(format!("{what} {} {} {}", self.composer, self.platform.oci(), self.epoch));
        line(format!("apt-sources {}", self.apt_sources.as_deref().unwrap_or("-")));
        line(format!("components {}", self.components.join(" ")));
        for archive in releases {
            line(format!("archive {} {} {}", archive.suite, archive.codename, archive.release.digest));
            for (path, blob) in self.indexes(archive) {
                line(format!("index {path} {}", blob.digest));
            }
        }
        if !self.scripts {
            line("scripts no".to_owned());
        }
        for request in self.request.iter().filter_map(of_request) {
            line(format!("request {request}"));
        }
        for deb in self.debs.iter().filter(|deb| is_part(deb)) {
            let part = if deb.is_base { "base" } else { "deb" };
            line(format!("{part} {} {} {}", deb.shown(), deb.digest, deb.size));
        }
        hasher.finish()
    }
}

/// The reserved reference of the root of a toolchain for a target platform with programs of another, or the same, platform.
/// `None` if the name of the toolchain cannot be part of a reference.
#[must_use]
pub(crate) fn root_reference(toolchain: &str, target: Platform, programs: Platform) -> Option<Reference> {
    let tag = if target == programs { TAG } else { target.name() };
    let text = format!("{REGISTRY}/{toolchain}:{tag}");
    text.parse().ok().filter(|reference: &Reference| reference.repository() == toolchain && !toolchain.contains('/'))
}

/// Whether a reference is reserved for roots composed of packages.
#[must_use]
pub(crate) fn is_of_packages(reference: &Reference) -> bool {
    reference.registry() == REGISTRY
}

/// The toolchain and target platform of the root that has this reference, with programs of `platform`.
#[must_use]
pub(crate) fn root_key(reference: &Reference, platform: Platform) -> Option<RootKey> {
    let target = match reference.tag().filter(|_| is_of_packages(reference))? {
        TAG => platform,
        name => name.parse().ok()?,
    };
    Some((reference.repository().to_owned(), target))
}

/// The reserved reference of the native tools of a toolchain for a target platform. `None` if the name of the toolchain cannot be
/// part of a reference.
#[must_use]
pub(crate) fn native_reference(toolchain: &str, target: Platform) -> Option<Reference> {
    // A name that is fit for a root.
    root_reference(toolchain, target, target)?;
    format!("{REGISTRY}/{toolchain}:{NATIVE_TAG}{}", target.name()).parse().ok()
}

/// The toolchain and target platform of the native tools that have this reference.
#[must_use]
pub(crate) fn native_key(reference: &Reference) -> Option<RootKey> {
    let tag = reference.tag().filter(|_| is_of_packages(reference))?;
    Some((reference.repository().to_owned(), tag.strip_prefix(NATIVE_TAG)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_back_to_their_native_tools() {
        let reference = native_reference("debian12", Platform::Arm64).unwrap();
        assert_eq!(native_key(&reference), Some(("debian12".to_owned(), Platform::Arm64)));
        assert_eq!(root_key(&reference, Platform::Amd64), None, "they are no root");
        let root = root_reference("debian12", Platform::Arm64, Platform::Amd64).unwrap();
        assert_eq!(native_key(&root), None);
        assert_eq!(native_reference("Own", Platform::Arm64), None);
        assert_eq!(native_key(&"debian:native-linux-aarch64".parse().unwrap()), None);
    }

    #[test]
    fn references_lead_back_to_their_roots() {
        for (target, programs) in [(Platform::Arm64, Platform::Arm64), (Platform::ArmV6, Platform::Amd64)] {
            let reference = root_reference("debian12", target, programs).unwrap();
            assert_eq!(root_key(&reference, programs), Some(("debian12".to_owned(), target)));
        }
        for bad in ["", "A", "a/b", "a:b", "a@b", "-a", "..", "a b"] {
            assert_eq!(root_reference(bad, Platform::Amd64, Platform::Amd64), None, "{bad}");
        }
        for other in ["debian:12", "packages.hermes.invalid/a:vax", "packages.hermes.invalid.example.org/a:latest"] {
            assert_eq!(root_key(&other.parse().unwrap(), Platform::Amd64), None, "{other}");
        }
    }

    #[test]
    fn the_digest_covers_the_indexes_of_the_root() {
        let index = |text: &str| Descriptor::new(Archive::INDEX, Digest::of(text.as_bytes()), 1);
        let archive = |indexes: &[(&str, &str)]| Archive {
            suite: "bookworm".into(),
            uri: None,
            codename: "bookworm".into(),
            date: 1,
            release: index("release"),
            signed_by: vec![],
            indexes: indexes.iter().map(|(path, text)| ((*path).to_owned(), index(text))).collect(),
        };
        let root = Root {
            platform: Platform::Amd64,
            request: vec![],
            archives: vec![],
            components: vec!["main".into()],
            composer: 1,
            epoch: 1,
            apt_sources: None,
            scripts: true,
            debs: vec![],
        };
        let digest = |indexes: &[(&str, &str)]| root.digest(&[&archive(indexes)]);
        let own = ("main/binary-amd64/Packages.xz", "own");
        // dpkg's database has texts of the index, which a lock may name wrongly.
        assert_ne!(digest(&[own]), digest(&[(own.0, "other")]));
        assert_ne!(digest(&[own]), digest(&[own, ("main/binary-all/Packages.xz", "all")]));
        // Those of other platforms and components are added to the same archive of a lock.
        let others = [("main/binary-arm64/Packages.xz", "a"), ("contrib/binary-amd64/Packages.xz", "b")];
        assert_eq!(digest(&[own]), digest(&[&[own], &others[..]].concat()));
    }

    #[test]
    fn roots_with_the_same_base_share_its_digest() {
        let deb = |name: &str, is_base| Deb {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            architecture: Architecture::all(),
            digest: Digest::of(name.as_bytes()),
            size: 1,
            path: "pool/a.deb".into(),
            is_base,
        };
        let root = Root {
            platform: Platform::Amd64,
            request: vec!["gcc".parse().unwrap()],
            archives: vec![],
            components: vec!["main".into()],
            composer: 1,
            epoch: 7,
            apt_sources: None,
            scripts: true,
            debs: vec![deb("dpkg", true), deb("gcc", false)],
        };
        let base = root.base_digest(&[]);
        assert_ne!(base, root.digest(&[]));
        let other = Root { request: vec!["make".parse().unwrap()], debs: vec![deb("dpkg", true)], ..root.clone() };
        assert_eq!(other.base_digest(&[]), base);
        for changed in [
            Root { epoch: 8, ..root.clone() },
            Root { platform: Platform::Arm64, ..root.clone() },
            Root { apt_sources: Some("http://deb.example.org/debian".into()), ..root.clone() },
            Root { debs: vec![deb("dash", true)], ..root.clone() },
            Root { composer: 2, ..root.clone() },
        ] {
            assert_ne!(changed.base_digest(&[]), base, "{changed:?}");
        }
    }

    #[test]
    fn lines_of_debs_are_strict() {
        let hex = "ab".repeat(32);
        let good = format!("libc6 2.36-9+deb12u10 amd64 {hex} 12 pool/main/g/glibc/libc6_2.36-9+deb12u10_amd64.deb");
        assert_eq!(Deb::parse(&good, false).unwrap().line(), good);
        for bad in [
            format!("{good} more"),
            good.replace("pool/main", "/pool"),
            good.replace("pool/main", "pool/../.."),
            good.replace("pool/main", "pool//main"),
            good.replace("pool/main", "pool/ma\u{1b}in"),
            good.replace(" 12 ", " 012 "),
            good.replace(" 12 ", " +12 "),
            good.replace(&hex, "ab"),
            good.replace("libc6 ", "LIBC6 "),
            good.replace("2.36-9+deb12u10 amd64", "x amd64"),
            good.replace(" amd64 ", " any "),
            good.replacen(' ', "  ", 1),
            "libc6".to_owned(),
            String::new(),
        ] {
            assert_eq!(Deb::parse(&bad, false), None, "{bad}");
        }
    }
}
