//! `hermes mirror`, and mirrors as places of packages, indexes and signed documents.

use std::fs;
use std::path::{Path, PathBuf};

use hermes::testing::digest::Digest;
use serde_json::Value;

use crate::support::archive::{Archive, NO_EMULATOR, Package};
use crate::support::context::TestContext;
use crate::support::fake_registry::{FakeRegistry, Reply, ranged};
use crate::support::real_registry::{self, RealRegistry};

/// Files that the lock names: five packages, the index and the release.
const FILES: usize = 7;

/// A project whose toolchain has `top`, locked, with its archive served.
struct World {
    context: TestContext,
    archive: Archive,
    server: FakeRegistry,
}

impl World {
    fn new() -> Self {
        let (context, archive) = (TestContext::empty(), Archive::new());
        let server = archive.serve();
        let world = Self { context, archive, server };
        world.define(&[&world.address()], &[]);
        world.context.hermes(["lock"]).ok();
        world
    }

    fn address(&self) -> String {
        format!("http://{}/debian", self.server.host())
    }

    /// The project, with these mirrors of its toolchain and of the user's configuration.
    fn define(&self, of_toolchain: &[&str], of_user: &[&str]) {
        define(&self.context, &self.archive, of_toolchain, of_user);
    }

    /// Another machine that has the project and its lock, and no more.
    fn elsewhere(&self, of_toolchain: &[&str], of_user: &[&str]) -> TestContext {
        let context = TestContext::empty();
        define(&context, &self.archive, of_toolchain, of_user);
        fs::copy(self.context.work().join("hermes.lock"), context.work().join("hermes.lock")).unwrap();
        context
    }

    fn mirrored(&self, target: &str, options: &[&str]) -> Vec<bool> {
        let rows = self.context.json(&[&["mirror", target], options].concat());
        rows.as_array().unwrap().iter().map(|row| row["sent"].as_bool().unwrap()).collect()
    }

    /// The archive is no longer served.
    fn leaves(self) -> (TestContext, Archive) {
        (self.context, self.archive)
    }
}

fn define(context: &TestContext, archive: &Archive, of_toolchain: &[&str], of_user: &[&str]) {
    let list = |mirrors: &[&str]| {
        let quoted: Vec<_> = mirrors.iter().map(|mirror| format!("'{mirror}'")).collect();
        format!("mirrors = [{}]\n", quoted.join(", "))
    };
    let mirrors = if of_toolchain.is_empty() { String::new() } else { list(of_toolchain) };
    let of_user = if of_user.is_empty() { String::new() } else { format!("[debian]\n{}", list(of_user)) };
    context.configure(&format!("{NO_EMULATOR}{of_user}"));
    fs::write(context.work().join("archive.pgp"), archive.key.public()).unwrap();
    context.write(
        "hermes.toml",
        &format!(
            "toolchain = 'own'\nplatform = 's390x'\n[toolchains.own.debian]\nsuites = ['stable']\n\
             signed-by = 'archive.pgp'\npackages = ['top']\n{mirrors}[toolchains.own.platform.s390x]\n"
        ),
    );
}

/// Gets the packages; what hermes says. The root cannot be composed here, which is a note.
#[track_caller]
fn fetches(context: &TestContext) -> String {
    let said = context.hermes(["fetch"]).output().exits(0).stderr.clone();
    assert!(said.contains("are on this machine, but cannot be composed"), "{said}");
    said
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The digest of a package's .deb.
fn hex(package: &Package) -> String {
    Digest::of(&package.deb()).hex()
}

#[test]
fn a_directory_gets_every_file_of_the_lock_once() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    let target = path(&directory);
    assert_eq!(world.mirrored(&target, &["--dry-run"]), [true; FILES]);
    assert!(!directory.exists(), "a dry run has written");
    assert_eq!(world.mirrored(&target, &[]), [true; FILES]);
    assert_eq!(world.mirrored(&target, &[]), [false; FILES]);
    assert_eq!(world.mirrored(&target, &["--dry-run"]), [false; FILES]);
    let deb = directory.join("sha256").join(hex(&world.archive.packages[4]));
    assert_eq!(fs::read(&deb).unwrap(), world.archive.packages[4].deb());
    // One that is gone or damaged is copied again.
    fs::write(&deb, "x").unwrap();
    assert_eq!(world.mirrored(&target, &[]).iter().filter(|sent| **sent).count(), 1);
    // The old name of the command does the same.
    assert_eq!(world.context.json(&["source", "mirror", &target]).as_array().unwrap().len(), FILES);
    let shown = world.context.hermes(["mirror", &target]).ok();
    assert_eq!(shown, format!("0 copied, {FILES} already there"));
}

#[test]
fn a_directory_alone_is_enough() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    world.mirrored(&path(&directory), &[]);
    let far = world.elsewhere(&[], &[&path(&directory)]);
    let lock = far.read("hermes.lock");
    let asked = world.server.seen().len();
    far.hermes(["--offline", "fetch"]).output().exits(0);
    assert_eq!(far.hermes(["packages", "--offline", "--why", "lib"]).ok(), "top -> lib");
    assert_eq!(far.read("hermes.lock"), lock);
    // From there everything can be mirrored again, with the signed release.
    let again = far.path().join("again");
    far.hermes(["--offline", "mirror", &path(&again)]).ok();
    assert_eq!(fs::read_dir(again.join("sha256")).unwrap().count(), FILES);
    // Another request is solved with the locked state of the archive.
    let text = far.read("hermes.toml").replace("['top']", "['lib']");
    far.write("hermes.toml", &text);
    far.hermes(["--offline", "lock"]).ok();
    assert!(!far.read("hermes.lock").contains("\"top "));
    // It has no present state: without a network that is the locked one.
    far.hermes(["--offline", "lock", "--update"]).ok();
    assert_eq!(world.server.seen().len(), asked, "the archive was asked");
}

#[test]
fn a_directory_on_a_web_server_is_enough() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    world.mirrored(&path(&directory), &[]);
    let server = FakeRegistry::start(move |seen, _| {
        match seen.path.strip_prefix("/site/").map(|path| fs::read(directory.join(path))) {
            Some(Ok(bytes)) => ranged(seen, Reply::new(200, &bytes)),
            _ => Reply::new(404, b"not here"),
        }
    });
    let far = world.elsewhere(&[&format!("http://{}/site/", server.host())], &[]);
    let asked = world.server.seen().len();
    fetches(&far);
    assert_eq!(world.server.seen().len(), asked, "the archive was asked");
}

#[test]
fn a_directory_of_the_project_is_enough_and_one_outside_needs_consent() {
    let world = World::new();
    let vendor = world.context.path().join("vendor");
    world.mirrored(&path(&vendor), &[]);
    let outside = world.elsewhere(&[&path(&vendor)], &[]);
    let output = outside.hermes(["--offline", "fetch"]).output();
    output.refused(2, &["toolchains.own.debian.mirrors", "hermes allow"]);
    outside.hermes(["allow"]).ok();
    outside.hermes(["--offline", "fetch"]).output().exits(0);
    let inside = world.elsewhere(&["vendor"], &[]);
    fs::rename(&vendor, inside.work().join("vendor")).unwrap();
    inside.hermes(["--offline", "fetch"]).output().exits(0);
    // It has no present state.
    inside.hermes(["--offline", "lock", "--update"]).ok();
    inside.hermes(["lock", "--update"]).output().refused(1, &["cannot fetch the release of stable", "vendor"]);
}

#[test]
fn a_repository_alone_is_enough() {
    if !real_registry::available() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let registry = RealRegistry::start(data.path(), None);
    let world = World::new();
    let target = format!("oci://{}/site/debs", registry.host());
    assert_eq!(world.mirrored(&target, &["--dry-run"]), [true; FILES]);
    assert_eq!(world.mirrored(&target, &[]), [true; FILES]);
    assert_eq!(world.mirrored(&target, &[]), [false; FILES]);
    assert_eq!(world.mirrored(&target, &["--dry-run"]), [false; FILES]);
    let deb = hex(&world.archive.packages[4]);
    let revision = format!("docker/registry/v2/repositories/site/debs/_manifests/tags/sha256-{deb}/current/link");
    let digest = fs::read_to_string(find(data.path(), &revision)).unwrap();
    let hex = digest.trim_start_matches("sha256:");
    let blob = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let manifest: Value = serde_json::from_slice(&fs::read(find(data.path(), &blob)).unwrap()).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.hermes.deb.v1");
    assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{deb}"));
    // As a mirror of the toolchain, and of the site.
    for (of_toolchain, of_user) in [(&[target.as_str()][..], &[][..]), (&[][..], &[target.as_str()][..])] {
        let far = world.elsewhere(of_toolchain, of_user);
        let asked = world.server.seen().len();
        fetches(&far);
        assert_eq!(far.hermes(["packages", "--offline", "--why", "lib"]).ok(), "top -> lib");
        assert_eq!(world.server.seen().len(), asked, "the archive was asked");
        let again = path(&far.path().join("again"));
        far.hermes(["mirror", &again]).ok();
        assert_eq!(fs::read_dir(far.path().join("again/sha256")).unwrap().count(), FILES);
    }
    // It has no present state.
    let far = world.elsewhere(&[&target], &[]);
    let text = far.read("hermes.toml").replace("'stable'", "'hermes-tests'");
    far.write("hermes.toml", &text);
    far.hermes(["lock"]).output().refused(2, &["only mirrors with copies of locked files", &target, "config.toml"]);
}

/// The file at `path` below a directory of `top`.
fn find(top: &Path, path: &str) -> PathBuf {
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        if directory.join(path).exists() {
            return directory.join(path);
        }
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        directories.extend(entries.filter(|entry| entry.is_dir()));
    }
    panic!("no {path} below {}", top.display());
}

#[test]
fn a_mirror_with_other_bytes_is_refused_by_name() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    world.mirrored(&path(&directory), &[]);
    let far = world.elsewhere(&[], &[&path(&directory)]);
    let deb = directory.join("sha256").join(hex(&world.archive.packages[4]));
    let mut bytes = fs::read(&deb).unwrap();
    bytes[100] ^= 1;
    fs::write(&deb, bytes).unwrap();
    // The address in the lock has the right ones.
    let said = fetches(&far);
    assert!(said.contains("lib 2-1 all from") && said.contains("has other content"), "{said}");
    let far = world.elsewhere(&[], &[&path(&directory)]);
    let words = ["checksum mismatch for lib 2-1 all from", directory.to_str().unwrap()];
    far.hermes(["--offline", "fetch"]).output().refused(3, &words);
}

#[test]
fn an_archive_of_snapshots_is_asked_for_the_locked_date() {
    let world = World::new();
    let files: Vec<_> = world.archive.packages.iter().map(|package| (package.path(), package.deb())).collect();
    let index = world.archive.index();
    // Its import of the state is later than the date of the release.
    let server = FakeRegistry::start(move |seen, _| {
        let wanted = seen.path.strip_prefix("/archive/debian/20260712T101637Z/").unwrap_or_default();
        let found = files.iter().find(|(path, _)| *path == wanted).map(|(_, deb)| deb);
        match found.or(wanted.contains("/by-hash/").then_some(&index)) {
            Some(bytes) => ranged(seen, Reply::new(200, bytes)),
            None => Reply::new(404, b"not here"),
        }
    });
    let template = format!("http://{}/archive/debian/{{date}}/", server.host());
    let far = world.elsewhere(&[&template], &[]);
    let asked = world.server.seen().len();
    fetches(&far);
    assert_eq!(world.server.seen().len(), asked, "the archive was asked");
    assert!(
        server.seen().iter().any(|seen| seen.path.contains("/20260711T101637Z/pool/")),
        "the locked date is the first"
    );
    // It has no present state.
    fs::remove_file(far.work().join("hermes.lock")).unwrap();
    let text = far.read("hermes.toml").replace("'stable'", "'hermes-tests'");
    far.write("hermes.toml", &text);
    far.hermes(["lock"]).output().refused(2, &["only mirrors with copies of locked files", "{date}"]);
}

#[test]
fn what_is_gone_everywhere_is_named_with_the_number_of_mirrors() {
    let world = World::new();
    let empty = world.context.path().join("empty");
    fs::create_dir(&empty).unwrap();
    world.archive.remove(&world.archive.packages[4].path());
    let far = world.elsewhere(&[], &[&path(&empty)]);
    let archive = format!(
        "lib 2-1 all (locked in the archive of 2026-07-11) is no longer in {}, nor in 1 mirror",
        world.address()
    );
    let ways = ["hermes bundle create --packages", "hermes mirror", "{date}", "hermes lock --update"];
    far.hermes(["fetch"]).output().refused(4, &[&[archive.as_str()], &ways[..]].concat());
}

#[test]
fn an_address_that_cannot_be_reached_is_tried_for_one_package() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    world.mirrored(&path(&directory), &[]);
    // Nothing listens there.
    let far = world.elsewhere(&["http://127.0.0.1:1/debian"], &[&path(&directory)]);
    let output = far.hermes(["fetch", "--verbose", "--max-concurrent", "1"]).output();
    output.exits(0);
    let is_tried =
        |package: &&Package| output.stderr.contains(&format!("http://127.0.0.1:1/debian/{}", package.path()));
    assert_eq!(world.archive.packages.iter().filter(is_tried).count(), 1, "{}", output.stderr);
}

#[test]
fn why_uses_the_locked_index_only() {
    let mut world = World::new();
    let directory = world.context.path().join("mirror");
    world.mirrored(&path(&directory), &[]);
    // The archive has moved on, and serves the old index no more.
    world.archive.packages[3] = Package::new("top", "1:1.0-2", "Depends: bb");
    world.archive.publish();
    assert_eq!(world.context.hermes(["packages", "--why", "lib"]).ok(), "top -> lib");
    let far = world.elsewhere(&[&world.address()], &[]);
    let words = ["main/binary-s390x/Packages.xz of stable", "which the lockfile names", "hint: ", "hermes bundle load"];
    far.hermes(["packages", "--why", "lib"]).output().refused(4, &words);
    far.hermes(["packages", "--offline", "--why", "lib"]).output().refused(4, &["--offline"]);
    let far = world.elsewhere(&[&world.address()], &[&path(&directory)]);
    assert_eq!(far.hermes(["packages", "--why", "lib"]).ok(), "top -> lib");
}

#[test]
fn lock_and_fetch_say_what_the_mirrors_of_the_site_lack() {
    let world = World::new();
    let directory = world.context.path().join("mirror");
    let (target, address) = (path(&directory), world.address());
    let note = format!(
        "no mirror of this site has the packages aa 1 all, apt 2.6 all, bb 1 all, lib 2-1 all, top 1:1.0-1 all; the files of archives InRelease of stable, main/binary-s390x/Packages.xz of stable; copy what is missing: hermes mirror {target}"
    );
    let says = |words: &[&str]| world.context.hermes(words).output().exits(0).stderr.clone();
    // Without a mirror that hermes can write there is nothing to say.
    assert!(!says(&["lock"]).contains("no mirror of this site"));
    world.define(&[&address], &[&target]);
    for words in [["lock"], ["fetch"]] {
        let said = says(&words);
        assert!(said.contains(&note), "{said}");
        assert!(!says(&[&words[..], &["--offline"]].concat()).contains("no mirror of this site"));
    }
    world.mirrored(&target, &[]);
    assert!(!says(&["lock"]).contains("no mirror of this site"));
    fs::remove_file(directory.join("sha256").join(hex(&world.archive.packages[4]))).unwrap();
    assert!(says(&["fetch"]).contains("no mirror of this site has the package lib 2-1 all; copy"), "one is missing");
    // A mirror that does not answer is no error, and neither is one that is an archive.
    world.define(&[&address], &["oci://127.0.0.1:1/site/debs"]);
    assert!(!says(&["fetch"]).contains("no mirror of this site"));
    let archive = world.context.path().join("archive");
    world.archive.write(&archive);
    world.define(&[&address], &[&path(&archive)]);
    assert!(!says(&["lock"]).contains("no mirror of this site"));
}

#[test]
fn sources_and_packages_go_to_one_mirror() {
    let world = World::new();
    let bytes = b"a file that is no archive".to_vec();
    let tar = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, "p-1/a", bytes.as_slice()).unwrap();
        tar.into_inner().unwrap()
    };
    let served = tar.clone();
    let upstream = FakeRegistry::start(move |seen, _| ranged(seen, Reply::new(200, &served)));
    let text = world.context.read("hermes.toml") + &format!("[source.p]\nurl = 'http://{}/p-1.tar'\n", upstream.host());
    world.context.write("hermes.toml", &text);
    let directory = world.context.path().join("mirror");
    let rows = world.context.json(&["mirror", &path(&directory)]);
    assert_eq!((&rows[0]["kind"], &rows[0]["name"]), (&"source".into(), &"p".into()), "the lock has it, too");
    assert_eq!(rows.as_array().unwrap().len(), FILES + 1);
    assert_eq!(fs::read(directory.join("sha256").join(Digest::of(&tar).hex())).unwrap(), tar);
    // Without a project nobody says where a source is from.
    let (context, _) = world.leaves();
    let lock = context.work().join("hermes.lock");
    let stranger = TestContext::empty();
    stranger.hermes(["mirror", "somewhere"]).output().refused(2, &["--lock FILE"]);
    let lock = path(&lock);
    let words = ["--lock", &lock, "mirror", "somewhere"];
    stranger.configure(&format!("[debian]\nmirrors = ['{}']\n", directory.display()));
    stranger.hermes(words).output().refused(4, &["the sources p", "change to the directory of the project"]);
}
