//! Composes a root of one tiny package, to find out whether this host can do it. Instead of a shell the package has a program
//! that does what the scripts of packages do.

use std::fs;
use std::path::Path;

use crate::commands::acquire::compose::{Archive, ComposeError, Composition, compose};
use crate::debian::deb::{self, Expected};
use crate::digest::Digest;
use crate::dpkg::Architecture;
use crate::layer::{Entry, Kind, Limits, TarWriter};
use crate::platform::Platform;
use crate::sandbox::probe::Finding;
use crate::store::{Store, StoreError};

/// The program (`src/sys/shim/trial.rs`).
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trial"));
/// The time of the composition: 2020-01-01, in seconds since 1970.
const EPOCH: i64 = 1_577_836_800;
/// Name of the package and of its suite.
const NAME: &str = "trial";

/// Composes the root in a store of its own, beside the files of `store`.
pub(super) fn finding(store: &Store) -> Finding {
    let detail = "scripts run as user 0 of a root in the store, with owners and a clock of their own".to_owned();
    Finding::of("composing packages", false, attempt(store).map(|()| detail))
}

fn attempt(store: &Store) -> Result<(), ComposeError> {
    let place = store.scratch()?;
    let own = Store::open(&place.path().join("store"))?;
    let path = place.path().join("trial.deb");
    let bytes = package().map_err(ComposeError::io("create", &path))?;
    fs::write(&path, &bytes).map_err(ComposeError::io("write", &path))?;
    let architecture = Architecture::of(Platform::host());
    let (Ok(name), Ok(version)) = (NAME.parse(), "1".parse()) else { return Ok(()) };
    let expected = Expected { name, version, architecture, digest: Digest::of(&bytes), size: bytes.len() as u64 };
    let composition = Composition {
        platform: Platform::host(),
        suite: NAME,
        epoch: EPOCH,
        base: &[Archive { expected, path }],
        base_key: None,
        index: &|| Ok(vec![]),
        packages: &[],
        scripts: true,
        requested: &[],
        sources: None,
        emulator: None,
        required: &[],
        limits: Limits::default(),
        directory_order: None,
        is_unpacked_by_dpkg: false,
    };
    let image = compose(&own, &composition, &mut |_| ())?;
    check(&own, &image.layers[0].diff_id).map_err(ComposeError::io("find", Path::new("/made")))
}

/// Whether the layer has the directory that the program made, with the owner that it gave it.
fn check(store: &Store, diff_id: &Digest) -> std::io::Result<()> {
    let toc = store.toc(diff_id).map_err(|error: StoreError| std::io::Error::other(error.to_string()))?;
    let is_made = |entry: &Entry| entry.path == b"made" && (entry.uid, entry.gid, entry.mtime) == (7, 8, (EPOCH, 0));
    if toc.entries.iter().any(is_made) { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

/// The package, with the program as its shell.
fn package() -> std::io::Result<Vec<u8>> {
    let control = format!(
        "Package: {NAME}\nVersion: 1\nArchitecture: {}\nMaintainer: hermes <hermes@example.org>\nDescription: trial\n",
        Architecture::of(Platform::host()).as_str()
    );
    let entry = |path: &str, kind, mode| Entry {
        path: path.into(),
        kind,
        mode,
        mtime: (EPOCH, 0),
        implied: false,
        ..Entry::implied()
    };
    let directory = |path| (entry(path, Kind::Directory, 0o755), &b""[..]);
    let owned = Entry { uid: 9, gid: 9, ..entry("owned", Kind::File, 0o644) };
    let control = tar(vec![(entry("control", Kind::File, 0o644), control.as_bytes())])?;
    let data = tar(vec![
        directory(""),
        directory("bin"),
        (entry("bin/sh", Kind::File, 0o755), PROGRAM),
        directory("etc"),
        (owned, b""),
    ])?;
    Ok(deb::package(b"2.0\n", &control, &data))
}

fn tar(entries: Vec<(Entry, &[u8])>) -> std::io::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        tar.add(&Entry { size: content.len() as u64, ..entry }, content)?;
    }
    Ok(tar.finish()?.0)
}
