//! Composition of images from real packages of Debian 12, with the fixture `base` (`scripts/fixtures base`).
//!
//! This is a program of its own, because a sandbox is started from a process with one thread, and the usual test program has
//! several. It executes itself again for each composition.

#![expect(clippy::print_stdout, reason = "it reports as a test program does")]

#[expect(unreachable_pub, reason = "one of its functions is used")]
#[path = "it/support/skip.rs"]
mod skip;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hermes::testing::compose::{Archive, ComposeError, Composition, DirectoryOrder, compose};
use hermes::testing::debian::deb::Expected;
use hermes::testing::digest::Digest;
use hermes::testing::hint::{ErrorKind, Hint as _, error_chain};
use hermes::testing::layer::{Limits, Toc, unpack};
use hermes::testing::platform::Platform;
use hermes::testing::progress::Silent;
use hermes::testing::store::Store;

/// 2026-07-13: the time of the image of Docker Hub that the packages make.
const EPOCH: i64 = 1_783_900_800;
/// Id of `debian:bookworm-20260713` for amd64 on Docker Hub.
const HUB: &str = "sha256:a3fed23063cd6781681a3d48f0912e9ae9549ff02a0ae4f0f276dcb6d85118bc";
/// Media type of the layers.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Variables that make this program compose an image: the store, the fixture, and what is varied.
const STORE: &str = "HERMES_COMPOSE_STORE";
const DEBS: &str = "HERMES_COMPOSE_DEBS";
const REVERSE: &str = "HERMES_COMPOSE_REVERSE";
const PACKAGES: &str = "HERMES_COMPOSE_PACKAGES";
/// The base is kept, and found again; dpkg unpacks further packages.
const KEEP: &str = "HERMES_COMPOSE_KEEP";
const BY_DPKG: &str = "HERMES_COMPOSE_BY_DPKG";

/// Name and function of a test.
type Test = (&'static str, fn(&Fixture));

const TESTS: [Test; 7] = [
    ("a_base_is_docker_hubs_image", a_base_is_docker_hubs_image),
    ("packages_are_where_dpkg_would_unpack_them", packages_are_where_dpkg_would_unpack_them),
    ("a_base_is_composed_once", a_base_is_composed_once),
    ("the_host_does_not_show_in_the_bytes", the_host_does_not_show_in_the_bytes),
    ("a_killed_composition_leaves_only_litter", a_killed_composition_leaves_only_litter),
    ("an_archive_with_a_changed_byte_is_refused", an_archive_with_a_changed_byte_is_refused),
    ("a_failing_script_is_named", a_failing_script_is_named),
];

fn main() {
    if let (Some(store), Some(debs)) = (std::env::var_os(STORE), std::env::var_os(DEBS)) {
        std::process::exit(child(Path::new(&store), Path::new(&debs)));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names = || TESTS.iter().map(|(name, _)| name);
    if arguments.iter().any(|argument| argument == "--list") {
        // As of the usual test programs, for runners such as cargo-nextest.
        if !arguments.iter().any(|argument| argument == "--ignored") {
            names().for_each(|name| println!("{name}: test"));
        }
        return;
    }
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let fixture = Fixture::find();
    for (name, test) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        if skip::require("debian-base", fixture.as_ref().map(drop).map_err(Clone::clone)) {
            let started = Instant::now();
            if let Ok(fixture) = &fixture {
                test(fixture);
            }
            println!("test {name} ... ok ({} s)", started.elapsed().as_secs());
        } else {
            println!("test {name} ... skipped");
        }
    }
}

/// Packages, as `scripts/debian-base` leaves them.
struct Fixture(PathBuf);

impl Fixture {
    fn find() -> Result<Self, String> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures");
        let base = std::env::var_os("HERMES_FIXTURES").map_or(default, PathBuf::from).join("base");
        if base.join("base").is_file() { Ok(Self(base)) } else { Err("there is no fixture base".into()) }
    }
}

/// The archives that the paragraphs of an index describe.
fn archives(debs: &Path, index: &[&str]) -> Vec<Archive> {
    let archive = |paragraph: &&str| {
        let field = |name: &str| {
            let line = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {paragraph}")).to_owned()
        };
        let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
        let file = format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a"));
        let expected = Expected {
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            architecture: architecture.parse().unwrap(),
            digest: Digest::from_hex(&field("SHA256")).unwrap(),
            size: field("Size").parse().unwrap(),
        };
        Archive { expected, path: debs.join(file) }
    };
    index.iter().map(archive).collect()
}

fn paragraphs(text: &str) -> Vec<&str> {
    text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()).collect()
}

/// Composes the image of the fixture, and prints its id and layers.
fn child(store: &Path, debs: &Path) -> i32 {
    let read = |name: &str| fs::read_to_string(debs.join(name)).unwrap_or_default();
    let (base, packages, sources) = (read("base"), read("packages"), read("sources"));
    let index = paragraphs(&base);
    let with_packages = std::env::var_os(PACKAGES).is_some();
    let packages = if with_packages { archives(debs, &paragraphs(&packages)) } else { vec![] };
    let requested = fs::read_to_string(debs.join("requested")).unwrap_or_else(|_| "make".to_owned());
    let requested: Vec<_> = requested.split_whitespace().map(str::to_owned).collect();
    let texts = || Ok(index.iter().map(|text| (*text).to_owned()).collect());
    let composition = Composition {
        platform: Platform::Amd64,
        suite: "bookworm",
        epoch: EPOCH,
        base: &archives(debs, &index),
        base_key: std::env::var_os(KEEP).map(|_| Digest::of(base.as_bytes())),
        index: &texts,
        packages: &packages,
        scripts: true,
        requested: &requested,
        sources: (!sources.is_empty()).then_some(&sources),
        emulator: None,
        required: &[],
        limits: Limits::default(),
        directory_order: std::env::var_os(REVERSE).map(|_| DirectoryOrder::Reverse),
        is_unpacked_by_dpkg: std::env::var_os(BY_DPKG).is_some(),
    };
    let opened = Store::open(store).map_err(ComposeError::from);
    match opened.and_then(|store| compose(&store, &composition, &mut |_| ())) {
        Ok(image) => {
            println!("{}", image.config.digest);
            image.layers.iter().for_each(|layer| println!("{} {}", layer.diff_id, layer.blob.digest));
            0
        }
        Err(error) => {
            println!("{}\n{}", error_chain(&error), error.hints().join("\n"));
            if error.kind() == ErrorKind::Integrity { 3 } else { 1 }
        }
    }
}

fn composing(store: &Path, debs: &Path, through: &[&str], variables: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<OsString> = through.iter().map(OsString::from).collect();
    words.push(program.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(STORE, store).env(DEBS, debs);
    command.envs(variables.iter().map(|name| (name, "1")));
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A copy of the fixture in which single files can be replaced.
fn copy(fixture: &Fixture) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&fixture.0).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn a_base_is_docker_hubs_image(fixture: &Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let output = composing(&dir.path().join("store"), &fixture.0, &[], &[]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    if fixture.0.join("sources").is_file() {
        assert_eq!(text(&output).lines().next(), Some(HUB));
    }
    assert_eq!(fs::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0, "files were left behind");
}

/// A store in which an image was composed: it is whole, and its layers are those that their blobs unpack to.
fn is_whole(store: &Path) {
    let opened = Store::open(store).unwrap();
    let verified = opened.verify(&[], true, &Silent).unwrap();
    assert!(verified.damage.is_empty() && verified.layers > 0, "{verified:?}");
    for layer in fs::read_dir(store.join("layers")).unwrap() {
        let layer = layer.unwrap();
        let diff_id = Digest::from_hex(layer.file_name().to_str().unwrap()).unwrap();
        let again = tempfile::tempdir().unwrap();
        let unpacked = fs::read_dir(store.join("blobs/sha256")).unwrap().find_map(|blob| {
            let into = again.path().join(blob.as_ref().unwrap().file_name());
            fs::create_dir(&into).unwrap();
            let file = fs::File::open(blob.unwrap().path()).unwrap();
            let unpacked = unpack(file, LAYER, &into, &Limits::default()).ok()?;
            (unpacked.diff_id == diff_id).then_some(unpacked)
        });
        let toc = Toc::read(fs::File::open(layer.path().join("toc")).unwrap()).unwrap();
        assert_eq!(unpacked.expect("no blob of the layer").toc, toc);
    }
}

/// Further packages are unpacked by hermes, or by dpkg, to the same bytes.
fn packages_are_where_dpkg_would_unpack_them(fixture: &Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let store = |name: &str| dir.path().join(name);
    let ours = composing(&store("ours"), &fixture.0, &[], &[PACKAGES]).output().unwrap();
    assert!(ours.status.success(), "{}", text(&ours));
    let theirs = composing(&store("theirs"), &fixture.0, &[], &[PACKAGES, BY_DPKG]).output().unwrap();
    assert_eq!(text(&theirs), text(&ours));
    is_whole(&store("ours"));
}

/// A second root with the same base has the same bytes as if its base had been composed too.
fn a_base_is_composed_once(fixture: &Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let store = |name: &str| dir.path().join(name);
    let fresh = composing(&store("fresh"), &fixture.0, &[], &[PACKAGES]).output().unwrap();
    assert!(fresh.status.success(), "{}", text(&fresh));
    let base = composing(&store("kept"), &fixture.0, &[], &[KEEP]).output().unwrap();
    assert!(base.status.success(), "{}", text(&base));
    // Without the archive of a package of the base, it cannot be composed again.
    let debs = copy(fixture);
    let names = fs::read_dir(debs.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    fs::remove_file(debs.path().join(names.into_iter().find(|name| name.starts_with("tar_")).unwrap())).unwrap();
    let kept = composing(&store("kept"), debs.path(), &[], &[PACKAGES, KEEP]).output().unwrap();
    assert_eq!(text(&kept), text(&fresh));
    is_whole(&store("kept"));
    assert!(!composing(&store("none"), debs.path(), &[], &[PACKAGES, KEEP]).output().unwrap().status.success());
}

fn the_host_does_not_show_in_the_bytes(fixture: &Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let usual = composing(&dir.path().join("one"), &fixture.0, &[], &[PACKAGES]).output().unwrap();
    assert!(usual.status.success(), "{}", text(&usual));
    assert_eq!(text(&usual).lines().count(), 3, "two layers: {}", text(&usual));
    let through = ["taskset", "-c", "0", "sh", "-c", "umask 077; exec \"$0\""];
    let varied = composing(&dir.path().join("two"), &fixture.0, &through, &[PACKAGES, REVERSE]).output().unwrap();
    assert_eq!(text(&varied), text(&usual));
}

fn a_killed_composition_leaves_only_litter(fixture: &Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut delay = Duration::from_millis(100);
    loop {
        let mut child = composing(&store, &fixture.0, &[], &[]).spawn().unwrap();
        let end = Instant::now() + delay;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let finished = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        child.wait().unwrap();
        let opened = Store::open(&store).unwrap();
        for blob in fs::read_dir(store.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), name, "a part of a blob was published");
        }
        for layer in fs::read_dir(store.join("layers")).unwrap() {
            let name = layer.unwrap().file_name().into_string().unwrap();
            assert!(opened.has_layer(&Digest::from_hex(&name).unwrap()), "a part of a layer was published");
        }
        if finished {
            break;
        }
        delay *= 3;
    }
}

fn an_archive_with_a_changed_byte_is_refused(fixture: &Fixture) {
    let debs = copy(fixture);
    let name = fs::read_dir(debs.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = name.into_iter().find(|name| name.starts_with("tar_")).unwrap();
    let mut bytes = fs::read(debs.path().join(&name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(debs.path().join(&name)).unwrap();
    fs::write(debs.path().join(&name), bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = composing(&dir.path().join("store"), debs.path(), &[], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("package tar"), "{}", text(&output));
}

/// On top of the base there is a package whose postinst fails.
fn a_failing_script_is_named(fixture: &Fixture) {
    let debs = copy(fixture);
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("DEBIAN")).unwrap();
    let control = "Package: broken\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: fails\n";
    fs::write(source.path().join("DEBIAN/control"), control).unwrap();
    fs::write(source.path().join("DEBIAN/postinst"), "#!/bin/sh\necho the reason\nexit 1\n").unwrap();
    let chmod = Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(source.path()).status().unwrap();
    assert!(chmod.success());
    fs::set_permissions(source.path().join("DEBIAN/postinst"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let deb = debs.path().join("broken_1_all.deb");
    let built = Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(source.path()).arg(&deb).output();
    assert!(built.unwrap().status.success());
    let bytes = fs::read(&deb).unwrap();
    let paragraph = format!("{control}SHA256: {}\nSize: {}\n", Digest::of(&bytes).hex(), bytes.len());
    let _ = fs::remove_file(debs.path().join("packages"));
    fs::write(debs.path().join("packages"), paragraph).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = composing(&dir.path().join("store"), debs.path(), &[], &[PACKAGES]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("the package broken failed") && said.contains("output: the reason"), "{said}");
}
