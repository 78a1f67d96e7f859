//! Errors of Debian's packages and archives.

use crate::archive::ArchiveError;
use crate::commands::packages::PackagesError;
use crate::debian::deb::{DebError, Fault};
use crate::debian::{Field, Index, Keyring, Release, ReleaseError, SignatureError, SolveError};
use crate::dpkg::{Architecture, Fingerprint, PackageName, ParseParagraphError, Request, Version, parse_relations};
use crate::emulation::native::CrossToolsError;
use crate::layer::LayerError;
use crate::lock::Deb;
use crate::packages::Source;
use crate::store::StoreError;

use super::{cause, digest, error, foreign, io, path};

#[test]
fn words_of_packages() {
    examples!(error ParsePackageNameError ["Upper".parse::<PackageName>().unwrap_err()]);
    examples!(error ParseArchitectureError ["PDP-11".parse::<Architecture>().unwrap_err()]);
    examples!(error ParseVersionError ["1:".parse::<Version>().unwrap_err(), "a b".parse::<Version>().unwrap_err()]);
    examples!(error ParseRequestError ["gcc=".parse::<Request>().unwrap_err()]);
    examples!(error ParseFingerprintError ["ABC".parse::<Fingerprint>().unwrap_err()]);
    examples!(cause ParseRelationError [parse_relations("gcc (>> )").unwrap_err()]);
}

#[test]
fn acquisition_of_packages() {
    let key: Fingerprint = "4CB50190207B4758A3F73A796ED0E7B82643E131".parse().unwrap();
    let (suite, place) = (|| "bookworm".to_owned(), || "https://deb.example.org/debian".to_owned());
    let deb = Deb {
        name: "libc6".parse().unwrap(),
        version: "2.36-9".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        digest: digest("a"),
        size: 7,
        path: "pool/main/g/glibc/libc6_2.36-9_amd64.deb".into(),
        is_base: true,
    };
    let day = || "2026-07-11".to_owned();
    let older = Box::new(ReleaseError::Older { date: 1_700_000_000, known: 1_783_764_997 });
    let amd64 = "amd64".parse().unwrap();
    variants!(error ArchiveError {
        NoAddress { suite: suite() },
        OnlyCopies { suite: suite(), places: "oci://registry.example.org/site/debs, /srv/mirror".into() },
        Offline { what: deb.shown() },
        Unavailable { what: "the release of bookworm".into(), tried: format!("{}: no route to host", place()) },
        NoDocument {
            what: "main/binary-amd64/Packages.xz of bookworm".into(),
            tried: format!("{}: it is not there", place()),
        },
        Gone { deb: Box::new(deb.clone()), date: day(), place: place(), mirrors: 0, others: 0 },
        Changed {
            what: deb.shown(),
            place: place(),
            expected: Box::new(digest("a")),
            got: Box::new(digest("b")),
        },
        Signature { suite: suite(), place: place(), source: Box::new(SignatureError::Bad(key)) },
        Release { suite: suite(), place: place(), source: Release::parse("Suite: stable\n").unwrap_err() },
        Unfit { suite: suite(), place: place(), source: older },
        Index {
            suite: suite(),
            path: "main/binary-amd64/Packages.xz".into(),
            source: Index::parse(b"Package\n".to_vec(), &amd64).unwrap_err(),
        },
        Decompress { suite: suite(), path: "main/binary-amd64/Packages.xz".into(), source: io() },
        Keyring { path: path("keys.asc"), source: Keyring::parse(b"no keys").unwrap_err() },
        File { verb: "read", path: path("keys.asc"), source: io() },
        Store(StoreError::Missing(digest("a"))),
    } also {
        Gone { deb: Box::new(deb.clone()), date: day(), place: place(), mirrors: 1, others: 0 },
        Gone { deb: Box::new(deb.clone()), date: day(), place: place(), mirrors: 3, others: 1 },
        Gone { deb: Box::new(deb.clone()), date: day(), place: place(), mirrors: 0, others: 2 },
        Unfit { suite: suite(), place: place(), source: Box::new(ReleaseError::Expired { valid_until: 1_783_764_997 }) },
    });
    variants!(error PackagesError {
        NoPackages("dockcross".into()),
        NoPackage { toolchain: "own".into(), platform: foreign(), name: "gcc".parse().unwrap() },
    });
}

#[test]
fn archives_of_packages() {
    examples!(cause ParseParagraphError [ParseParagraphError { why: "a field occurs twice", line: 7 }]);
    let amd64: Architecture = "amd64".parse().unwrap();
    examples!(error ParseIndexError [Index::parse(b"Package\n".to_vec(), &amd64).unwrap_err()]);
    examples!(error ParseKeyringError [Keyring::parse(b"no keys").unwrap_err()]);
    examples!(error ParseReleaseError [Release::parse("Suite: stable\n").unwrap_err()]);
    let key: Fingerprint = "4CB50190207B4758A3F73A796ED0E7B82643E131".parse().unwrap();
    variants!(error SignatureError {
        Malformed("it has no signature"),
        Bad(key),
        ExpiredKey { fingerprint: key, created: 1_783_764_997, expired: 1_700_000_000 },
        Unsupported { issuer: key.to_string(), why: "its hash is SHA-1" },
        UnknownKey { signers: vec!["0123456789ABCDEF".into()], accepted: vec![key.to_string()] },
    });
    variants!(error ReleaseError {
        OtherSuite { wanted: "bookworm".into(), got: vec!["oldstable".into(), "trixie".into()] },
        Expired { valid_until: 1_783_764_997 },
        Older { date: 1_700_000_000, known: 1_783_764_997 },
        NoIndex {
            component: "contrib".into(),
            architecture: amd64.clone(),
            components: vec!["main".into()],
            architectures: vec![amd64],
        },
    });
}

#[test]
fn native_tools_of_archives() {
    let source = |version: &str| Box::new(Source { name: "gcc-12".into(), version: version.into() });
    let package = || "gcc-12-aarch64-linux-gnu".to_owned();
    let malformed = ParseParagraphError { why: "a field is there twice", line: 7 };
    variants!(error CrossToolsError {
        Malformed(malformed.into()),
        NoCompiler {},
        NotDebian {},
        Known("the archive has no native tools for the image".into()),
        Unavailable(SolveError::UnknownPackage(package().parse().unwrap())),
        OtherSource {
            package: package(),
            image: source("12.2.0-14+deb12u1"),
            native: Some(source("12.2.0-13")),
        },
    });
}

#[test]
fn package_archives() {
    let layer = || LayerError::Read(io());
    variants!(cause Fault {
        Digest { expected: digest("a"), actual: digest("b") },
        Size { expected: 100, actual: 99 },
        Read(io()),
        Archive("it has no member data.tar"),
        Member { member: "control.tar", source: layer() },
        Control { file: "md5sums".into(), why: "line 7 has no path".into() },
        Other { field: "Version", expected: "2.36-9".into(), actual: "2.36-8".into() },
        Entry { path: "../etc/passwd".into(), why: "it leaves the root" },
        Conflict { path: "usr/bin/cc".into(), other: "gcc".parse().unwrap() },
        Tree(layer()),
    });
    let unpack = |fault| DebError { package: "libc6".parse().unwrap(), source: Box::new(fault) };
    examples!(error DebError [
        unpack(Fault::Archive("it has no member data.tar")),
        unpack(Fault::Tree(layer())),
        unpack(Fault::Conflict { path: "usr/bin/cc".into(), other: "gcc".parse().unwrap() }),
    ]);
}

#[test]
fn requests_of_packages() {
    let name = |text: &str| text.parse::<PackageName>().unwrap();
    let version = |text: &str| text.parse::<Version>().unwrap();
    variants!(error SolveError {
        UnknownPackage(name("gcc-99")),
        UnknownVersion {
            name: name("cmake"),
            version: version("3.25.1-2"),
            available: vec![version("3.25.1-1"), version("3.18.4-2")],
        },
        TwoVersions { name: name("cmake"), versions: [version("1"), version("2")] },
        Excluded { name: name("postfix"), reasons: vec!["exim4 conflicts with postfix".into()] },
        Unmet {
            chain: (1..=20).map(|at| name(&format!("package-{at}"))).collect(),
            dependency: "libfoo (>= 2) | bar".into(),
            reasons: vec!["the archive has libfoo 1".into(), "the request bar- excludes it".into()],
        },
        Malformed {
            package: name("gcc"),
            field: Field::PreDepends,
            source: parse_relations("aa (> 1)").unwrap_err(),
        },
        TooComplex {},
    });
}
