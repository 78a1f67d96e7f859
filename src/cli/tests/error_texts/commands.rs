//! Errors of verbs.

use crate::archive::ArchiveError;
use crate::cli::prompt::{LoginPromptError, PromptError};
use crate::commands::acquire::compose::ComposeError;
use crate::commands::bisect::BisectError;
use crate::commands::bundle::BundleError;
use crate::commands::lock::LockCommandError;
use crate::commands::mirror::MirrorCommandError;
use crate::commands::outputs::OutputError;
use crate::commands::rebuild::RebuildError;
use crate::commands::rebuild::replay::ReplayError;
use crate::commands::run::LandlockOnlyError;
use crate::commands::verify::VerifyError;
use crate::commands::{Error, VerbError};
use crate::compare::{CompareError, ListError, Listing, Side};
use crate::consent::ConsentError;
use crate::credentials::CredentialsError;
use crate::debian::SolveError;
use crate::debian::deb::{self, DebError};
use crate::emulation::native::{CrossToolsError, Incompatibility};
use crate::emulation::{EmulationError, Fault, NoHostHandler};
use crate::fetch::FetchError;
use crate::fs::copy::CopyError;
use crate::layer::LayerError;
use crate::lock::{Entry, LockError};
use crate::mirror::MirrorError;
use crate::record::RecordError;
use crate::reference::Reference;
use crate::registry::RegistryError;
use crate::resolve::ResolveError;
use crate::rootfs::UserError;
use crate::sandbox::{Cause, SandboxError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::toolchain::ToolchainError;

use super::{cause, digest, error, foreign, io, path, reference};

/// An error of a lower module, which a verb shows as it is.
fn lower() -> Error {
    Error::from(RecordError::Unknown { prefix: "1234".into() })
}

#[test]
fn errors_of_all_verbs() {
    let reference = || Box::new(reference());
    let absent = || EmulationError::Absent { platform: foreign(), program: "qemu-aarch64".into() };
    variants!(error Error {
        // Shown as they are: each has a snapshot of its own.
        Archive(ArchiveError::NoAddress { suite: "bookworm".into() }),
        Consent(ConsentError::NoProject),
        Credentials(CredentialsError::NoHome),
        Emulation(absent()),
        Fetch(FetchError::Worker),
        Lock(LockError::Conflict { path: path("hermes.lock") }),
        Mirror(MirrorError::Repository { text: "UPPER".into() }),
        Package(DebError { package: "make".parse().unwrap(), source: Box::new(deb::Fault::Archive("it is too short")) }),
        Record(RecordError::Unknown { prefix: "1234".into() }),
        Reference("UPPER".parse::<Reference>().unwrap_err()),
        Registry(RegistryError::NoProxy { host: "quay.io".into() }),
        Resolve(ResolveError::Nested { reference: reference(), digest: digest("a") }),
        Sandbox(SandboxError::Threads),
        Solve(SolveError::TooComplex),
        Source(SourceError::NoProject),
        Store(StoreError::Missing(digest("a"))),
        Toolchain(ToolchainError::Unreadable { path: path("hermes.toml"), source: io() }),
        NoHostHandler(NoHostHandler { platform: foreign(), fault: Fault::Absent }),
        User(UserError::Unreadable(io())),
        Verb(verb_error()),
        // Their own.
        Incompatibility { native: *reference(), source: Box::new(Incompatibility::NoCrossCompiler) },
        NoNativeTools { reference: *reference(), source: Box::new(CrossToolsError::NoCompiler) },
        NotAccelerated("the toolchain names no native tools"),
        Offline { reference: *reference(), platform: foreign() },
        Tree {
            reference: reference(),
            platform: foreign(),
            locked: Box::new(digest("a")),
            found: Box::new(digest("b")),
        },
        Composed { reference: reference(), locked: Box::new(digest("a")), found: Box::new(digest("b")) },
        Composer { reference: *reference(), composer: 2, known: 1 },
        NotComposed { reference: *reference(), platform: foreign() },
        OfflineLogin { registry: "quay.io".into() },
        NoRegistry { text: "a b".into() },
        Stale { lock: path("hermes.lock"), what: "debian for linux-aarch64".into() },
        NotLocked { lock: path("hermes.lock"), what: "packages of own for linux-aarch64".into() },
        EmulatorChanged { platform: foreign(), wanted: digest("a"), found: "this host has none".into() },
        NoEmulator {
            platform: foreign(),
            place: reference().to_string(),
            host: Box::new(absent()),
            source: Box::new(lower()),
        },
        HandlerNotLocked { platform: foreign(), path: path("/usr/bin/qemu-aarch64"), locked: Some(digest("a")) },
        NotSeen { path: path("hermes.lock") },
        Unwritable { path: path("a.tar"), source: io() },
        NoStream {},
        Terminal {},
        NoImage(*reference()),
        NoLayersHere(reference()),
        ExplainWithState {},
        Nice { nice: -5, lowest: 0 },
        NoCommand(*reference()),
        NoLayers {},
        Volume { path: path("/data"), source: io() },
        VolumeSyntax { text: path("a:b:c"), why: "TARGET must be an absolute path" },
        Exchanged { path: path("/data") },
        WorkDirectory { source: io() },
        Streams { source: io() },
        Runtime { source: io() },
    } also {
        HandlerNotLocked { platform: foreign(), path: path("/usr/bin/qemu-aarch64"), locked: None },
    });
    examples!(error VerbError [verb_error()]);
}

/// The error of one verb, as all verbs carry it.
fn verb_error() -> VerbError {
    let Error::Verb(error) = Error::from(BundleError::NoProject) else { panic!("the error of a verb is another") };
    error
}

#[test]
fn locks_and_bundles() {
    variants!(error LockCommandError {
        Name { name: "lua".into(), known: vec!["zlib".into()] },
        Absent(path("old.lock")),
    } also {
        Name { name: "lua".into(), known: vec![] },
    });
    variants!(error BundleError {
        NoProject {},
        NothingLocked { lock: path("hermes.lock") },
        Lacking { what: vec!["debian (1234)".into(), "and 3 more".into()] },
        OtherLock { path: path("hermes.lock") },
    });
    variants!(error MirrorCommandError {
        NoProject {},
        Sources { names: vec!["lua".into(), "zlib".into()] },
    });
    variants!(error BisectError {
        Same { good: path("good.lock"), bad: path("bad.lock") },
        FailsAlready { lock: path("good.lock"), code: 2 },
        WorksToo { lock: path("bad.lock") },
        Lacks { lock: path("good.lock"), entry: Box::new(Entry::Emulator(foreign())) },
        Copy { path: path("/srv/store/tmp/1"), source: copy() },
        Place { path: path("/srv/store/tmp/1"), source: io() },
    });
}

fn copy() -> CopyError {
    CopyError { path: path("src/a"), source: std::io::ErrorKind::PermissionDenied.into() }
}

#[test]
fn builds() {
    let killed = Cause::Memory { limit: 2 << 30, killed: 3 };
    variants!(error RebuildError {
        Option("--rootfs"),
        Recorded {},
        Unchecked {},
        Fixed("--clock"),
        Keep { path: path("kept"), source: std::io::ErrorKind::AlreadyExists.into() },
        Copy { project: path("/srv/project"), source: copy() },
        Look { path: path("/srv/store/tmp/1"), source: io() },
        Build { side: Side::Second, options: vec!["--umask 077"], code: 137, source: Some(killed) },
        Compare(CompareError::Absent { path: path("build") }),
        Nothing {},
        Environment { what: "image".into(), first: "sha256:1".into(), second: "sha256:2".into() },
    } also {
        Build { side: Side::First, options: vec![], code: 2, source: None },
    });
    variants!(error ReplayError {
        NoOutputs { id: digest("a") },
        NoProject { project: path("/srv/project"), source: io() },
        Project { project: path("/srv/project"), changed: vec![path("src/a.c"), path("src/b.c")] },
        Variables { names: vec!["TOKEN".into()] },
        NotHere { id: digest("a"), source: Box::new(lower()) },
        Failed { code: 137, was: 0, source: Some(killed) },
    });
    let listing = || Listing::parse("x").unwrap_err();
    variants!(error OutputError {
        Outside { path: path("../a") },
        Missing { path: path("build/a") },
        Unread { place: path("/srv/project"), source: ListError { path: path("build/a"), source: io() } },
        Io { place: path("/srv/store/records"), source: io() },
        BadListing { tree: digest("a"), source: listing() },
    });
    variants!(error LandlockOnlyError {
        Option("--explain"),
        Root {},
        Foreign(foreign()),
        NoCompiler(reference()),
        Moved { path: path("/data") },
        Elsewhere { path: path("/data") },
        Store { path: path("/srv"), tree: path("/srv/store/roots/1") },
        Programs { tree: path("/srv/store/roots/1"), source: io() },
    });
}

#[test]
fn prompts() {
    variants!(cause PromptError {
        NoTerminal("input"),
        UserName {},
        EmptyPassword {},
        NotUtf8 {},
        Interrupted {},
        Terminal(io()),
    });
    examples!(error LoginPromptError [LoginPromptError {
        what: "the password",
        source: PromptError::EmptyPassword,
    }]);
}

#[test]
fn verification_of_compositions() {
    variants!(error VerifyError {
        NoRoot { lock: path("hermes.lock"), name: Some("own".into()) },
    } also {
        NoRoot { lock: path("hermes.lock"), name: None },
    });
}

#[test]
fn compositions() {
    variants!(error ComposeError {
        Script {
            what: "the package libc6:arm64".into(),
            code: 1,
            output: vec!["Setting up libc6:arm64 (2.36-9) ...".into(), "dpkg: error processing package libc6:arm64".into()],
        },
        Deb(DebError { package: "make".parse().unwrap(), source: Box::new(deb::Fault::Archive("it is not an ar archive")) }),
        Archive(ArchiveError::Offline { what: "index of bookworm".into() }),
        Tree(LayerError::Entry { path: "etc/passwd".into(), why: "something else is there" }),
        Io { action: "open", path: path("/debs/make.deb"), source: io() },
        Sandbox(SandboxError::Threads),
        Store(StoreError::Missing(digest("a"))),
        Document(serde_json::from_str::<u8>("x").unwrap_err()),
    });
}
