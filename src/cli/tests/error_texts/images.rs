//! Errors of images and sources: unpacking, the store, registries.

use std::time::Duration;

use rustix::io::Errno;

use crate::fetch::FetchError;
use crate::fs::trust::Distrust;
use crate::layer::{LayerError, TocError};
use crate::lock::LockError;
use crate::mirror::MirrorError;
use crate::oci::DocumentError;
use crate::platform::Platform;
use crate::pypi::Requirement;
use crate::registry::{RateLimit, RegistryError};
use crate::resolve::ResolveError;
use crate::rootfs::UserError;
use crate::source::{Label, SourceError, UnpackError};
use crate::store::StoreError;

use super::{digest, error, foreign, io, not_json, path, reference};

/// A blob of a registry whose digest is wrong.
fn wrong_digest() -> RegistryError {
    RegistryError::WrongDigest {
        host: "quay.io".into(),
        subject: "quay.io/a/b:1".into(),
        expected: digest("a"),
        got: digest("b"),
    }
}

fn reset() -> RegistryError {
    RegistryError::Slow { host: "quay.io".into(), subject: "layer 1".into(), bytes: 100, seconds: 60 }
}

fn mismatch() -> StoreError {
    StoreError::Mismatch { expected: digest("a"), actual: digest("b") }
}

fn full() -> std::io::Error {
    std::io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error())
}

/// An error of reqwest, which has no constructor for others.
fn request() -> reqwest::Error {
    reqwest::Proxy::all("http://[").unwrap_err()
}

#[test]
fn layers() {
    variants!(error LayerError {
        MediaType("application/vnd.oci.image.layer.v1.tar+encrypted".into()),
        Compression("xz"),
        ArchiveCompression("lz4"),
        Read(io()),
        Limit { what: "entries", limit: 1_000_000 },
        Bomb { free: 1 << 30, ratio: 100 },
        Tar { offset: 512, why: "the checksum of the header is wrong".into() },
        Entry { path: "../a".into(), why: "it leads out of the layer" },
        Deep { path: "a/b/c".into(), limit: 1000 },
        Parent { path: "a/b".into(), parent: "a".into() },
        HardLink { path: "a".into(), target: "b".into() },
        Io { action: "create", path: "a".into(), source: full() },
    });
    variants!(error TocError {
        Io(io()),
        Malformed { line: 7 },
        Version(9),
    });
    variants!(error UserError {
        Unknown { kind: "user", file: "passwd", name: "www".into() },
        BadId { kind: "group", id: "4294967295".into() },
        Unreadable(io()),
    });
}

#[test]
fn stores() {
    let layer = || LayerError::Entry { path: "../a".into(), why: "it leads out of the layer" };
    let document = || DocumentError::Malformed { what: "manifest", source: not_json() };
    let lock = || Box::new(LockError::Conflict { path: path("hermes.lock") });
    let distrust = || Distrust::Writable { mode: 0o777 };
    variants!(error StoreError {
        Io { action: "create", path: path("/srv/store/tmp"), source: full() },
        Distrusted { path: path("/srv/store"), source: distrust() },
        Surroundings { path: path("/srv"), source: distrust() },
        Version { path: path("/srv/store/VERSION"), found: "9".into() },
        NotAStore { path: path("/srv/store"), found: "photos".into() },
        NoRoom { root: path("/srv/store"), needed: 2_000_000, left: 1_000_000 },
        Missing(digest("a")),
        TooLong { digest: digest("a"), size: 5_000_000, limit: 4_000_000 },
        Corrupt { path: path("/srv/store/blobs/sha256/1"), expected: digest("a"), actual: digest("b") },
        Mismatch { expected: digest("a"), actual: digest("b") },
        Size { digest: digest("a"), expected: 100, actual: 90 },
        Layer { digest: digest("a"), source: layer() },
        DiffId { digest: digest("a"), expected: digest("b"), actual: digest("c") },
        Toc { layer: path("/srv/store/layers/1"), source: TocError::Malformed { line: 7 } },
        Merge { root: path("/srv/store/roots/1"), source: layer() },
        Layers { source: layer() },
        NotABundle { path: path("a.tar"), why: "it has no bundle.json" },
        BundleVersion { path: path("a.tar"), found: "9".into() },
        BundleLock { path: path("a.tar"), source: lock() },
        Bundle { path: path("a.tar"), what: "the blob 1 has another digest".into() },
        Unfinished(digest("a")),
        Ref { path: path("/srv/store/refs/1"), source: not_json() },
        Lease { path: path("/srv/store/leases/1") },
        GcRoot { path: path("/srv/store/gcroots/1") },
        Lock { path: path("/srv/project/hermes.lock"), source: lock() },
        NoLocks { path: path("/srv/store") },
        Document { digest: digest("a"), source: document() },
        NotALayout { path: path("a.tar"), why: "it has no index.json" },
        BadFile { path: path("a.tar"), file: "index.json", source: document() },
        Archive { path: path("a.tar"), source: LayerError::ArchiveCompression("lz4") },
        Nameless { path: path("a.tar"), why: "it has no names" },
        Incomplete { path: path("a.tar"), digest: digest("a"), image: digest("b") },
    } also {
        Version { path: path("/srv/store/VERSION"), found: "x".into() },
        Archive { path: path("a.tar"), source: layer() },
    });
}

#[test]
fn registries() {
    let host = || "quay.io".to_owned();
    let subject = || "quay.io/a/b:1".to_owned();
    let url = || "https://quay.io/v2/a/b/manifests/1".to_owned();
    let limit = RateLimit { limit: 100, remaining: Some(0), window: Some(21_600), source: "192.0.2.1".into() };
    let pause = Some(Duration::from_secs(30));
    variants!(error RegistryError {
        Mirror { host: host(), mirror: "http://a".into() },
        Url { url: "ftp://a".into(), why: "it is neither http nor https" },
        CaRead { host: host(), path: path("ca.pem"), source: io() },
        CaEmpty { host: host(), path: path("ca.pem") },
        ClientRead { host: host(), path: path("key.pem"), source: io() },
        ClientUnfit { host: host(), path: path("key.pem"), what: "holds no key" },
        NoProxy { host: host() },
        Tls { host: host(), source: request() },
        Request { host: host(), url: url(), proxy: Some("http://proxy:3128".into()), source: request() },
        Body { host: host(), subject: subject(), source: request() },
        NotFound { host: host(), subject: subject(), message: "manifest unknown".into() },
        Denied { host: host(), subject: subject(), message: String::new() },
        RateLimited { host: host(), message: "slow down".into(), retry_after: pause, limit: Some(Box::new(limit)) },
        Status { host: host(), url: url(), proxy: None, status: 503, message: "overload".into(), retry_after: pause },
        Storage { host: host(), subject: subject(), status: 403 },
        Range { host: host(), subject: subject(), why: "it starts at byte 0, not at 100".into() },
        Slow { host: host(), subject: subject(), bytes: 100, seconds: 60 },
        Token { host: host(), repository: "a/b".into(), why: "status 500".into() },
        LogIn { host: host(), why: "status 401".into() },
        NotARegistry { host: host(), subject: subject(), content_type: "text/html".into() },
        TooLong { host: host(), subject: subject(), limit: 4_194_304 },
        WrongSize { host: host(), subject: subject(), expected: 100, got: 90 },
        WrongDigest { host: host(), subject: subject(), expected: digest("a"), got: digest("b") },
    } also {
        Status {
            host: host(),
            url: url(),
            proxy: Some("http://proxy:3128".into()),
            status: 407,
            message: String::new(),
            retry_after: None,
        },
    });
    let reference = || Box::new(reference());
    let document = || DocumentError::Malformed { what: "manifest", source: not_json() };
    variants!(error ResolveError {
        Registry { source: Box::new(wrong_digest()) },
        Document { reference: reference(), digest: digest("a"), source: document() },
        Nested { reference: reference(), digest: digest("a") },
        NoPlatform { reference: reference(), wanted: foreign(), available: vec!["linux-x64".into()] },
        Level { reference: reference(), level: 4, supported: 2 },
        Store { reference: reference(), source: Box::new(mismatch()) },
    } also {
        NoPlatform { reference: reference(), wanted: foreign(), available: vec![] },
    });
    variants!(error FetchError {
        Registry { source: Box::new(wrong_digest()) },
        Partial { source: Box::new(reset()) },
        Store { source: Box::new(mismatch()) },
        Layer { digest: digest("a"), host: host(), source: Box::new(mismatch()) },
        Blob { path: path("/srv/store/blobs/sha256/1"), source: Box::new(mismatch()) },
        Write { path: path("/srv/store/blobs/sha256/1"), source: full() },
        Worker {},
    });
}

#[test]
fn sources() {
    let name = || "lua".to_owned();
    let label = || Label::of_project("lua");
    let of_toolchain = || Label::of_toolchain("zig", "ziglang");
    let requirement = || Box::new("ziglang==0.13.0".parse::<Requirement>().unwrap());
    let url = || "https://example.org/lua.git".to_owned();
    variants!(error UnpackError {
        Tar(LayerError::Tar { offset: 512, why: "the checksum of the header is wrong".into() }),
        Zip("it has no central directory".into()),
        Format("it is neither a tar nor a zip"),
        Entry { path: "../a".into(), why: "it leads out of the archive".into() },
        Limit { what: "entries", limit: 1_000_000 },
        Empty(2),
        Patch { line: 7, why: "a hunk is too short".into() },
        Mismatch { path: "src/a.c".into(), why: "line 7 differs".into() },
        Io { action: "create", path: "src/a.c".into(), source: full() },
    });
    variants!(error MirrorError {
        Store(mismatch()),
        Registry(wrong_digest()),
        Repository { text: "UPPER".into() },
        File { verb: "write", path: path("/srv/mirror/sha256/1234"), source: io() },
        Offline { place: "oci://registry.example.org/site/mirror".into() },
    });
    variants!(error SourceError {
        Store(mismatch()),
        Registry(wrong_digest()),
        Unpack { name: label(), source: UnpackError::Empty(2) },
        Changed {
            name: label(),
            location: "https://example.org/lua.tar.gz".into(),
            expected: Box::new(digest("a")),
            got: Box::new(digest("b")),
        },
        Unavailable { name: label(), tried: "https://example.org/lua.tar.gz: status 404".into() },
        Offline { name: label() },
        NoIndex { name: of_toolchain() },
        NoWheel { name: of_toolchain(), requirement: requirement(), platform: Platform::Amd64, others: vec![] },
        SeveralWheels {
            name: of_toolchain(),
            requirement: requirement(),
            files: vec!["a-1-py3-none-any.whl".into(), "a-1-py3-none-linux_x86_64.whl".into()],
        },
        Location { url: "ftp://a".into(), why: "it is neither http nor https" },
        File { verb: "read", path: path("a.patch"), source: io() },
        NoGit { url: url() },
        Git { url: url(), commit: "1234".into(), why: "fatal: not our ref".into() },
        CommitTime { directory: path("/srv/project"), why: "fatal: not a git repository".into() },
        GitIo { url: url(), source: io() },
        Unknown { name: name() },
        Taken { name: name() },
        NoProject {},
        Name { name: "a b".into() },
    } also {
        Changed {
            name: of_toolchain(),
            location: "pypi:ziglang==0.13.0".into(),
            expected: Box::new(digest("a")),
            got: Box::new(digest("b")),
        },
        Offline { name: of_toolchain() },
        NoWheel {
            name: of_toolchain(),
            requirement: requirement(),
            platform: Platform::Amd64,
            others: vec!["a-1-py3-none-win_amd64.whl".into()],
        },
    });
}
