//! Errors of files: on this machine, of the user, of a project.

use rustix::io::Errno;

use crate::consent::{Access, ConsentError, Setting};
use crate::credentials::CredentialsError;
use crate::fs::copy::CopyError;
use crate::fs::regular::{Type, check_type};
use crate::fs::trust::Distrust;
use crate::lock::LockError;
use crate::record::RecordError;
use crate::toolchain::ToolchainError;

use super::{cause, digest, error, foreign, io, not_toml, path, sys};

#[test]
fn system() {
    examples!(cause SysError [sys("mount", "/proc", Errno::PERM), sys("clone", "", Errno::NOSPC)]);
    examples!(cause CopyError [CopyError { path: path("src/a"), source: io() }]);
}

#[test]
fn types_and_owners() {
    let device = rustix::fs::stat("/dev/null").unwrap();
    let wrong = || check_type(&device, Type::File).unwrap_err();
    examples!(cause WrongType [wrong(), check_type(&device, Type::Directory).unwrap_err()]);
    variants!(cause Distrust {
        Owner { owner: 1001, user: 1000 },
        Writable { mode: 0o777 },
        Type(wrong()),
        Linked { count: 2 },
    });
    let all = [
        Distrust::Owner { owner: 1001, user: 1000 },
        Distrust::Writable { mode: 0o777 },
        Distrust::Type(wrong()),
        Distrust::Linked { count: 2 },
    ];
    let hints: Vec<String> = all.iter().flat_map(|distrust| distrust.hints(&path("/srv/store"))).collect();
    insta::assert_snapshot!("hints-of-Distrust", hints.join("\n"));
}

#[test]
fn settings() {
    let settings = [
        Setting::new("build.net", Access::HostNetwork),
        Setting::new("mounts", Access::Mount(path("/srv/data"))),
        Setting::new("toolchains.a.emulator.file", Access::Read(path("/opt/qemu"))),
        Setting::new("build.epoch", Access::Repository(path("/srv/git"))),
        Setting::new("source.a.url", Access::Ssh("ssh://git@example.org/a".into())),
    ];
    variants!(error ConsentError {
        NotAllowed { project: path("/srv/project"), settings: settings.to_vec() },
        Memory { action: "write", path: path("/srv/state"), source: io() },
        Write { source: io() },
        NoMemory {},
        NoProject {},
    });
    variants!(error ToolchainError {
        Unknown { name: "debain".into(), known: vec!["debian".into(), "dockcross".into()] },
        Platform { name: "debian".into(), platform: foreign(), known: vec![foreign()] },
        Name { name: "Own".into() },
        Taken { name: "own".into() },
        Malformed { path: path("hermes.toml"), source: Box::new(not_toml()) },
        Unreadable { path: path("hermes.toml"), source: io() },
    });
    variants!(error CredentialsError {
        Unreadable { path: path("auth.json"), source: io() },
        Malformed { path: path("auth.json"), line: 3 },
        Unwritable { path: path("auth.json"), source: io() },
        NoHome {},
        NoHelper { name: "pass".into() },
        Helper { name: "pass".into(), what: "ended with exit code 1".into() },
    });
}

#[test]
fn locks_and_records() {
    let distrusted = || Distrust::Writable { mode: 0o666 }.into();
    variants!(error LockError {
        Read { path: path("hermes.lock"), source: io() },
        Write { path: path("hermes.lock"), source: io() },
        Malformed { path: path("hermes.lock"), source: Box::new(not_toml()) },
        Version { path: path("hermes.lock"), found: 9 },
        Conflict { path: path("hermes.lock") },
    } also {
        Read { path: path("/srv/hermes.lock"), source: distrusted() },
        Write { path: path("hermes.lock"), source: std::io::ErrorKind::InvalidInput.into() },
    });
    variants!(error RecordError {
        Io { path: path("/srv/store/records"), source: io() },
        Changed { path: path("/srv/store/records/trees/1"), found: digest("a") },
        NoId { text: "x".into() },
        Unknown { prefix: "1234".into() },
        Ambiguous { prefix: "1234".into(), ids: vec![digest("a"), digest("b")] },
        NoneHere { project: path("/srv/project") },
        Newer { id: digest("a"), version: 9 },
        Old { id: digest("a"), what: "a rebuild" },
        Malformed { id: digest("a"), reason: "missing field `run`".into() },
    });
}
