//! Sources of a project: fetched, locked, unpacked, patched and mounted at /sources.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hermes::testing::digest::Digest;
use serde_json::Value;

use crate::credentials::{HTPASSWD, PASSWORD};
use crate::support::block_on;
use crate::support::context::{TestContext, fixtures, tool};
use crate::support::fake_registry::{FakeRegistry, Reply, ranged};
use crate::support::fsck::assert_consistent;
use crate::support::process::Run;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{require, run};

/// A tar of files in the directory `p-1.0`, by gzip.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if content.starts_with("#!") { 0o755 } else { 0o644 });
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("p-1.0/{name}"), content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn hello() -> Vec<u8> {
    archive(&[("hello.txt", "hello\n"), ("sub/run.sh", "#!/bin/sh\necho ran\n")])
}

/// Serves one file at `/p-1.0.tar.gz`.
fn serve(bytes: Vec<u8>) -> FakeRegistry {
    FakeRegistry::start(move |seen, _| {
        if seen.path == "/p-1.0.tar.gz" { ranged(seen, Reply::new(200, &bytes)) } else { Reply::new(404, b"") }
    })
}

fn url(fake: &FakeRegistry) -> String {
    format!("http://{}/p-1.0.tar.gz", fake.host())
}

fn lock(world: &TestContext) -> toml::Table {
    world.read("hermes.lock").parse().unwrap()
}

#[test]
fn what_is_added_is_written_and_seen() {
    let Some(world) = TestContext::fixtures() else { return };
    let fake = serve(hello());
    world.write("hermes.toml", "# mine\nplatform = 'amd64' # so\n");
    let rows = world.json(&["source", "add", &url(&fake)]);
    assert_eq!((&rows[0]["name"], &rows[0]["state"], &rows[0]["strip"]), (&"p".into(), &"unpacked".into(), &1.into()));
    let text = world.read("hermes.toml");
    assert!(text.starts_with("# mine\nplatform = 'amd64' # so\n"), "{text}");
    let digest = Digest::of(&hello());
    assert!(text.contains(&format!("[source.p]\nurl = \"{}\"\nsha256 = \"{}\"\n", url(&fake), digest.hex())), "{text}");
    let source = &lock(&world)["source"]["p"];
    assert_eq!(source["digest"].as_str().unwrap(), digest.to_string());
    assert_eq!(
        (source["strip"].as_integer(), source["size"].as_integer()),
        (Some(1), i64::try_from(hello().len()).ok())
    );
    drop(fake);
    let script = "cat /sources/p/hello.txt && /sources/p/sub/run.sh && ! touch /sources/p/x && stat -c %a-%Y /sources/p/hello.txt";
    let output = world.sh(&["--quiet"], script).output();
    assert_eq!(output.ok(), "hello\nran\n444-1700000000", "{}", output.stderr);
    // A second one of the name is refused, and nothing is written.
    let before = world.read("hermes.toml");
    world
        .hermes(["source", "add", "https://127.0.0.1:1/p-2.0.tar.gz"])
        .output()
        .refused(2, &["already has a source p", "--name"]);
    world.hermes(["source", "add", "https://127.0.0.1:1/-.tar"]).output().refused(2, &["invalid source name"]);
    assert_eq!(world.read("hermes.toml"), before);
}

#[test]
fn a_run_fetches_what_it_lacks_once() {
    let Some(world) = TestContext::fixtures() else { return };
    // Bytes of its own, since the store is shared.
    let fake = serve(archive(&[("hello.txt", "a run fetches this\n")]));
    world.write("hermes.toml", "");
    world.sh(&[], "true").ok();
    world.write("hermes.toml", &format!("[source.one]\nurl = '{}'\n", url(&fake)));
    world.sh(&["--locked"], "true").output().refused(4, &["source one", "hermes.lock"]);
    world.sh(&["--offline"], "true").output().refused(4, &["source one", "--offline", "hermes source fetch"]);
    assert_eq!(fake.seen().len(), 0);
    for _ in 0..2 {
        assert_eq!(world.sh(&[], "cat /sources/one/hello.txt").ok(), "a run fetches this");
    }
    assert_eq!(fake.count("/p-1.0.tar.gz"), 1);
    assert_eq!(world.sh(&["--offline", "--locked"], "cat /sources/one/hello.txt").ok(), "a run fetches this");
}

/// Where a project has no sources, no call is made for their sake.
#[test]
fn a_run_without_sources_does_not_look_for_any() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("strace") {
        return;
    }
    world.write("hermes.toml", "platform = 'amd64'\n");
    world.sh(&[], "true").ok();
    let log = world.path().join("trace");
    world.sh(&[], "true").strace(&log, "trace=file").ok();
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.contains("hermes.toml") && !calls.contains("/sources"), "{calls}");
}

#[test]
fn what_changed_upstream_is_shown_and_a_mirror_has_what_it_was() {
    let world = TestContext::empty();
    let (old, new) = (hello(), archive(&[("hello.txt", "other\n")]));
    let fake = serve(new.clone());
    let [old_hex, new_hex] = [&old, &new].map(|bytes| Digest::of(bytes).hex());
    let toml = format!("[source.p]\nurl = '{}'\nsha256 = '{old_hex}'\n", url(&fake));
    world.write("hermes.toml", &toml);
    let words = ["checksum mismatch for source p", &old_hex, &new_hex, "mirrors", "hermes.toml"];
    world.hermes(["source", "fetch"]).output().refused(3, &words);
    assert_eq!(world.stored("blobs/sha256"), [""; 0], "nothing of it is kept");
    // The directory of a mirror, relative to the project.
    fs::create_dir_all(world.work().join("vendor/sha256")).unwrap();
    fs::write(world.work().join("vendor/sha256").join(&old_hex), &new).unwrap();
    world.write("hermes.toml", &format!("{toml}mirrors = ['/nowhere', 'vendor']\n"));
    world.hermes(["allow"]).ok();
    world.hermes(["source", "fetch"]).output().refused(3, &words[..3]);
    fs::write(world.work().join("vendor/sha256").join(&old_hex), &old).unwrap();
    let output = world.hermes(["source", "fetch"]).output();
    output.exits(0);
    assert!(output.stderr.contains("now has other content") && output.stderr.contains(&new_hex), "{}", output.stderr);
    assert_eq!(lock(&world)["source"]["p"]["url"].as_str(), Some(url(&fake).as_str()));
    assert_consistent(world.store(), "after a mirror");
}

#[test]
fn nobody_has_it() {
    let world = TestContext::empty();
    let fake = FakeRegistry::start(|_, _| Reply::new(404, b""));
    let toml = format!("[source.p]\nurl = '{}'\n", url(&fake));
    world.write("hermes.toml", &toml);
    world.hermes(["source", "fetch"]).output().refused(1, &["does not have", "p-1.0.tar.gz"]);
    let hex = Digest::of(b"x").hex();
    world.write("hermes.toml", &format!("{toml}sha256 = '{hex}'\nmirrors = ['vendor', 'http://{}/m/']\n", fake.host()));
    world
        .hermes(["source", "fetch"])
        .output()
        .refused(1, &["source p is not available", "vendor/sha256", "/m/sha256/"]);
    world.hermes(["--offline", "source", "fetch"]).output().refused(4, &["source p", "--offline"]);
    for (bad, word) in
        [("ftp://h/x", "must begin with https"), ("/a", "must begin with https"), ("http://192.0.2.1/x", "plain http")]
    {
        world.write("hermes.toml", &format!("[source.p]\nurl = '{bad}'\n"));
        world.hermes(["source", "fetch"]).output().refused(2, &[word]);
    }
    world.hermes(["source", "fetch", "nobody"]).output().refused(2, &["no source nobody", "source list"]);
    fs::remove_file(world.work().join("hermes.toml")).unwrap();
    world.hermes(["source", "list"]).output().refused(2, &["no hermes.toml"]);
}

#[test]
fn a_broken_connection_is_taken_up() {
    let world = TestContext::empty();
    let noise = crate::support::image::noise(300_000);
    let text: String = noise.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let whole = archive(&[("big", &text)]);
    let served = whole.clone();
    let fake = FakeRegistry::start(move |seen, number| {
        let reply = ranged(seen, Reply::new(200, &served));
        if number == 0 { reply.cut(served.len() / 2) } else { reply }
    });
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    world.hermes(["source", "fetch"]).ok();
    let seen = fake.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[1].range().is_some_and(|from| from > 0));
    assert_eq!(lock(&world)["source"]["p"]["digest"].as_str().unwrap(), Digest::of(&whole).to_string());
}

#[test]
fn what_the_project_says_otherwise_is_locked_anew() {
    let world = TestContext::empty();
    let fake = serve(hello());
    let moved = serve(hello());
    let digest = Digest::of(&hello());
    let say = |url: &str, rest: &str| {
        world.write("hermes.toml", &format!("[source.p]\nurl = '{url}'\nsha256 = '{}'\n{rest}", digest.hex()));
    };
    let fetch = |options: &[&str]| world.hermes([&["source", "fetch"], options].concat()).output();
    say(&url(&fake), "");
    fetch(&[]).exits(0);
    let key = || {
        let list = world.json(&["source", "list"]);
        assert_eq!(list[0]["state"], "unpacked");
        let source = lock(&world)["source"]["p"].clone();
        (source.get("strip").cloned(), source.get("patches").cloned())
    };
    assert_eq!(key(), (Some(1.into()), None));
    // Elsewhere, and the same bytes: nothing to be allowed.
    say(&url(&moved), "");
    fetch(&["--locked"]).exits(0);
    fetch(&["--offline"]).exits(0);
    assert_eq!(lock(&world)["source"]["p"]["url"].as_str(), Some(url(&moved).as_str()));
    say(&url(&moved), "strip = 0\n");
    fetch(&["--locked"]).refused(4, &["source p"]);
    fetch(&["--offline"]).exits(0);
    assert_eq!(key(), (Some(0.into()), None));
    world.write("fix.patch", "--- a/hello.txt\n+++ b/hello.txt\n@@ -1 +1 @@\n-hello\n+patched\n");
    say(&url(&moved), "patches = ['fix.patch']\n");
    fetch(&["--locked"]).refused(4, &["source p"]);
    fetch(&["--offline"]).exits(0);
    let (strip, patches) = key();
    assert_eq!((strip, patches.unwrap().as_array().unwrap().len()), (Some(1.into()), 1));
    // The patch itself changed.
    world.write("fix.patch", "--- a/hello.txt\n+++ b/hello.txt\n@@ -1 +1 @@\n-hullo\n+patched\n");
    fetch(&["--locked"]).refused(4, &["source p"]);
    fetch(&["--offline"]).refused(1, &["cannot unpack source p", "hello.txt", "do not match"]);
    assert_eq!(fake.seen().len() + moved.seen().len(), 1, "the archive was here all the time");
    // Another archive by its digest: the lock is not obeyed.
    let other = Digest::of(b"other").hex();
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\nsha256 = '{other}'\n", url(&moved)));
    fetch(&["--locked"]).refused(4, &["source p"]);
    fetch(&[]).refused(3, &[&other, &digest.hex()]);
    // What the project does not name any more, the lock need not.
    world.write("hermes.toml", "");
    world.hermes(["source", "list"]).ok();
    say(&url(&moved), "");
    world.write("hermes.toml", &world.read("hermes.toml").replace("source.p", "source.q"));
    fetch(&[]).exits(0);
    assert_eq!(lock(&world)["source"].as_table().unwrap().keys().collect::<Vec<_>>(), ["q"]);
}

#[test]
fn hostile_archives_leave_nothing() {
    let world = TestContext::empty();
    world.write("hermes.toml", "");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "p/out", "../../../etc/passwd").unwrap();
    let path = world.path().join("evil.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let add = world.hermes(["source", "add", &format!("file://{}", path.display())]).output();
    add.refused(3, &["cannot unpack source evil", "'out'", "leads out"]);
    assert_eq!((world.stored("sources"), world.stored("tmp")), (vec![], vec![]));
    assert_eq!(world.read("hermes.toml"), "");
    assert!(!world.work().join("hermes.lock").exists());
}

#[test]
fn a_place_on_this_host_is_not_in_the_lock() {
    let world = TestContext::empty();
    world.write("hermes.toml", "");
    let path = world.path().join("p-1.0.tar.gz");
    fs::write(&path, hello()).unwrap();
    world.hermes(["--offline", "source", "add", &format!("file://{}", path.display())]).ok();
    let text = world.read("hermes.lock");
    assert!(!text.contains("file:") && !text.contains(world.path().to_str().unwrap()), "{text}");
}

#[test]
fn gc_keeps_what_a_lock_names() {
    let world = TestContext::empty();
    let fake = serve(hello());
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    world.hermes(["source", "fetch"]).ok();
    world.hermes(["gc"]).ok();
    assert_eq!((world.stored("sources").len(), world.stored("blobs/sha256").len()), (1, 1));
    assert_eq!(world.json(&["df"])["sources"]["count"], 1);
    // What can be made again goes first.
    world.hermes(["gc", "--max-inodes", "1"]).ok();
    assert_eq!((world.stored("sources").len(), world.stored("blobs/sha256").len()), (0, 1));
    assert_eq!(world.json(&["source", "list"])[0]["state"], "archive");
    world.hermes(["--offline", "source", "fetch"]).ok();
    fs::remove_file(world.work().join("hermes.lock")).unwrap();
    let collected = world.json(&["gc"]);
    assert_eq!((&collected["sources"]["count"], &collected["blobs"]["count"]), (&1.into(), &1.into()));
    assert_eq!((world.stored("sources").len(), world.stored("blobs/sha256").len()), (0, 0));
}

/// Damages the file or directory at `path` in the store.
fn spoil(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, "spoilt\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn damage_is_found_and_made_good() {
    let world = TestContext::empty();
    let fake = serve(hello());
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    world.hermes(["source", "fetch"]).ok();
    assert_eq!(world.json(&["source", "verify"])[0]["damage"], Value::Array(vec![]));
    world.hermes(["verify"]).ok();
    let tree = world.store().join("sources").join(&world.stored("sources")[0]);
    spoil(&tree.join("fs/hello.txt"));
    let output = world.hermes(["source", "verify"]).output();
    output.exits(3);
    assert!(output.text().contains("tree digest mismatch"), "{}", output.text());
    world.hermes(["verify"]).output().exits(3);
    assert_eq!(world.stored("sources"), [""; 0]);
    // Back from the archive.
    world.hermes(["--offline", "source", "fetch"]).ok();
    assert_eq!(fs::read_to_string(tree.join("fs/hello.txt")).unwrap(), "hello\n");
    // After a reboot whole trees stay, and damaged ones are unpacked again.
    let other_boot = "11111111-2222-3333-4444-555555555555";
    fs::write(tree.join("done"), other_boot).unwrap();
    world.hermes(["--offline", "source", "fetch"]).ok();
    assert_eq!(fs::read_to_string(tree.join("done")).unwrap(), "");
    fs::write(tree.join("done"), other_boot).unwrap();
    spoil(&tree.join("fs/hello.txt"));
    world.hermes(["--offline", "source", "fetch"]).ok();
    assert_eq!(fs::read_to_string(tree.join("fs/hello.txt")).unwrap(), "hello\n");
    // The archive too.
    let blob = world.store().join("blobs/sha256").join(Digest::of(&hello()).hex());
    spoil(&blob);
    world.hermes(["source", "verify"]).output().exits(3);
    hermes::testing::fs::remove::path(&tree).unwrap();
    world.hermes(["--offline", "source", "fetch"]).output().refused(4, &["--offline"]);
    world.hermes(["source", "fetch"]).ok();
    assert_consistent(world.store(), "after damage");
}

#[test]
fn a_directory_is_a_mirror() {
    let world = TestContext::empty();
    let fake = serve(hello());
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    let vendor = world.path().join("vendor");
    let sent = world.json(&["source", "mirror", vendor.to_str().unwrap()]);
    assert_eq!(sent[0]["sent"], true);
    assert_eq!(world.json(&["source", "mirror", vendor.to_str().unwrap()])[0]["sent"], false);
    let hex = Digest::of(&hello()).hex();
    assert_eq!(fs::read(vendor.join("sha256").join(&hex)).unwrap(), hello());
    // For all projects of the site, on another machine, without a network.
    let other = TestContext::empty();
    other.configure(&format!("[sources]\nmirrors = ['{}']\n", vendor.display()));
    other.write("hermes.toml", &format!("[source.p]\nurl = '{}'\nsha256 = '{hex}'\n", url(&fake)));
    other.hermes(["--offline", "source", "fetch"]).ok();
    assert_eq!(other.json(&["source", "list"])[0]["state"], "unpacked");
}

#[test]
fn a_registry_is_a_mirror() {
    if !real_registry::available() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let passwords = data.path().join("htpasswd");
    fs::write(&passwords, HTPASSWD).unwrap();
    let auth = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", passwords.display());
    let registry = RealRegistry::start_with(data.path(), None, &auth);
    let login = |world: &TestContext| {
        let login = world.hermes(["login", registry.host(), "-u", "me", "--password-stdin"]);
        login.input(PASSWORD.as_bytes()).ok();
    };
    let world = TestContext::empty();
    let fake = serve(hello());
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    let repository = format!("{}/site/sources", registry.host());
    world.hermes(["source", "mirror", &repository]).output().refused(1, &["refuses access"]);
    login(&world);
    assert_eq!(world.json(&["source", "mirror", &repository])[0]["sent"], true);
    assert_eq!(world.json(&["source", "mirror", &repository])[0]["sent"], false);
    let hex = Digest::of(&hello()).hex();
    let manifest: Value = block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}/v2/site/sources/manifests/sha256-{hex}", registry.host());
        let get = reqwest::Client::new()
            .get(url)
            .basic_auth("me", Some(PASSWORD))
            .header("accept", "application/vnd.oci.image.manifest.v1+json");
        serde_json::from_slice(&get.send().await.unwrap().bytes().await.unwrap()).unwrap()
    });
    assert_eq!(manifest["artifactType"], "application/vnd.hermes.source.v1");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{hex}"));
    drop(fake);
    let other = TestContext::empty();
    let toml =
        format!("[source.p]\nurl = 'https://127.0.0.1:1/x'\nsha256 = '{hex}'\nmirrors = ['oci://{repository}']\n");
    other.write("hermes.toml", &toml);
    other.hermes(["--offline", "source", "fetch"]).output().refused(4, &["--offline"]);
    login(&other);
    other.hermes(["source", "fetch"]).ok();
    assert_eq!(other.json(&["source", "list"])[0]["state"], "unpacked");
    world.hermes(["--offline", "source", "mirror", &repository]).output().refused(2, &["--offline"]);
}

/// A repository with one commit, and its id.
fn repository(directory: &Path) -> String {
    fs::create_dir_all(directory.join("src/deep")).unwrap();
    fs::write(directory.join("src/a.c"), "int a;\n").unwrap();
    fs::write(directory.join("src/deep/run.sh"), "#!/bin/sh\n").unwrap();
    fs::write(directory.join("n".repeat(150)), "long\n").unwrap();
    fs::write(directory.join(".gitattributes"), "src/a.c export-ignore\n*.txt export-subst\n").unwrap();
    fs::write(directory.join("v.txt"), "$Format:%H$\n").unwrap();
    fs::set_permissions(directory.join("src/deep/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("src/a.c", directory.join("link")).unwrap();
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@test.invalid", "-c", "commit.gpgsign=false"];
        run("git", &[&identity[..], words].concat(), directory)
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "one", "--date=2020-01-01T00:00:00Z"]);
    git(&["rev-parse", "HEAD"]).trim().to_owned()
}

#[test]
fn a_commit_is_a_source() {
    if !tool("git") {
        return;
    }
    let world = TestContext::empty();
    let upstream = world.path().join("upstream");
    fs::create_dir(&upstream).unwrap();
    let commit = repository(&upstream);
    let address = format!("file://{}", upstream.display());
    // Settings that would run a program, or say how trees look.
    let canary = world.path().join("ran");
    let settings = format!(
        "[core]\n\tfsmonitor = touch {0}\n\thooksPath = {1}\n\tautocrlf = true\n[credential]\n\thelper = !touch {0}\n",
        canary.display(),
        world.path().display()
    );
    fs::write(world.path().join("home/.gitconfig"), settings).unwrap();
    fs::write(world.path().join("reference-transaction"), format!("#!/bin/sh\ntouch {}\n", canary.display())).unwrap();
    fs::set_permissions(world.path().join("reference-transaction"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write("hermes.toml", "");
    world.hermes(["--offline", "source", "add", &address, "--commit", &commit, "--name", "up"]).ok();
    assert!(!canary.exists(), "git ran a program");
    let tree = world.store().join("sources").join(&world.stored("sources")[0]).join("fs");
    assert_eq!(fs::read_to_string(tree.join("link")).unwrap(), "int a;\n");
    assert_eq!(fs::read_to_string(tree.join("v.txt")).unwrap(), "$Format:%H$\n", "attributes are not obeyed");
    assert_eq!(fs::metadata(tree.join("src/deep/run.sh")).unwrap().permissions().mode() & 0o777, 0o555);
    let source = lock(&world)["source"]["up"].clone();
    assert_eq!((source["commit"].as_str(), source.get("git")), (Some(commit.as_str()), None));
    // The same tar of a clone, elsewhere.
    let other = TestContext::empty();
    let clone = other.path().join("clone");
    run("git", &["clone", "-q", "--bare", upstream.to_str().unwrap(), clone.to_str().unwrap()], world.path());
    other.write("hermes.toml", &format!("[source.x]\ngit = 'file://{}'\ncommit = '{commit}'\n", clone.display()));
    other.hermes(["--offline", "--allow-project", "source", "fetch"]).ok();
    assert_eq!(lock(&other)["source"]["x"]["digest"], source["digest"]);
    // Without git: it says so, and a mirror will do.
    let vendor = world.path().join("vendor");
    world.hermes(["source", "mirror", vendor.to_str().unwrap()]).ok();
    let third = TestContext::empty();
    let hex = source["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let toml = format!("[source.x]\ngit = '{address}'\ncommit = '{commit}'\nsha256 = '{hex}'\n");
    third.write("hermes.toml", &toml);
    let fetch = || third.hermes(["--allow-project", "source", "fetch"]).env("PATH", "/nonexistent").output();
    fetch().refused(1, &["git is not installed", "hermes mirror"]);
    third.write("hermes.toml", &format!("{toml}mirrors = ['{}']\n", vendor.display()));
    fetch().exits(0);
    // What is no commit, or not there.
    for (commit, word) in [("0".repeat(40), "git cannot fetch"), ("HEAD".to_owned(), "full id")] {
        third.write("hermes.toml", &format!("[source.y]\ngit = '{address}'\ncommit = '{commit}'\n"));
        let output = third.hermes(["--allow-project", "source", "fetch"]).output();
        assert!(output.code() != 0 && output.stderr.contains(word), "{output:?}");
    }
    third.write("hermes.toml", &format!("[source.y]\ngit = 'ext::sh -c evil'\ncommit = '{commit}'\n"));
    assert_ne!(third.hermes(["source", "fetch"]).output().code(), 0);
}

/// A few trees, each of which names the one below ten times: ten million files.
#[test]
fn a_commit_of_countless_files_is_refused() {
    if !tool("git") {
        return;
    }
    let world = TestContext::empty();
    let upstream = world.path().join("upstream");
    fs::create_dir(&upstream).unwrap();
    let git = |words: &[&str], input: &str| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@test.invalid"];
        let run = Run::new("git").args(["-C", upstream.to_str().unwrap()]).args(identity).args(words);
        run.input(input.as_bytes()).ok()
    };
    git(&["init", "-q", "-b", "main"], "");
    let mut entry = format!("100644 blob {}", git(&["hash-object", "-w", "--stdin"], "content"));
    for _ in 0..7 {
        let names: Vec<_> = (0..10).map(|at| format!("{entry}\t{at}{}\n", "n".repeat(200))).collect();
        entry = format!("040000 tree {}", git(&["mktree"], &names.concat()));
    }
    let commit = git(&["commit-tree", "-m", "many", entry.rsplit(' ').next().unwrap()], "");
    git(&["update-ref", "refs/heads/main", &commit], "");
    world.write("hermes.toml", "");
    let address = format!("file://{}", upstream.display());
    let add = ["--offline", "source", "add", &address, "--commit", &commit, "--name", "many"];
    let output = world.hermes(add).output();
    output.exits(1);
    assert!(output.stderr.contains("its list of files is larger than"), "{}", output.stderr);
}

#[test]
fn two_at_once() {
    let world = TestContext::empty();
    let fake = serve(hello());
    world.write("hermes.toml", &format!("[source.p]\nurl = '{}'\n", url(&fake)));
    let all: Vec<_> = (0..6).map(|_| world.hermes(["source", "fetch"]).start()).collect();
    for one in all {
        one.wait().exits(0);
    }
    assert_eq!((world.stored("sources").len(), world.stored("tmp").len()), (1, 0));
    assert_consistent(world.store(), "after six at once");
}

/// lua, from a tar in xz, with a patch, by the gcc of the image.
#[test]
fn lua_is_built_from_its_source() {
    let Some(world) = TestContext::fixtures() else { return };
    let lua = fixtures().unwrap().join("src/lua");
    if !require("lua", if lua.is_dir() { Ok(()) } else { Err("no src/lua in the fixtures".into()) }) {
        return;
    }
    let mut tar = tar::Builder::new(Vec::new());
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all("lua-5.4", &lua).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    xz.write_all(&tar.into_inner().unwrap()).unwrap();
    let path = world.path().join("lua-5.4.tar.xz");
    fs::write(&path, xz.finish().unwrap()).unwrap();
    let header = fs::read_to_string(lua.join("src/lua.h")).unwrap();
    let line = header.lines().position(|line| line.starts_with("#define LUA_AUTHORS")).unwrap();
    let text = header.lines().nth(line).unwrap();
    let number = line + 1;
    let diff = format!(
        "--- a/src/lua.h\n+++ b/src/lua.h\n@@ -{number} +{number} @@\n-{text}\n+#define LUA_AUTHORS \"a patch\"\n"
    );
    world.write("authors.patch", &diff);
    let toml = format!("[source.lua]\nurl = 'file://{}'\npatches = ['authors.patch']\n", path.display());
    world.write("hermes.toml", &toml);
    world.hermes(["allow"]).ok();
    let script = "cp -r /sources/lua lua && chmod -R u+w lua && make -s -C lua/src linux >&2 && lua/src/lua -e 'print(6 * 7)' && grep -c 'a patch' lua/src/liblua.a";
    let image = crate::support::context::DEBIAN;
    let output = world.hermes(["run", "--platform", "amd64", "--image", image, "--", "sh", "-ec", script]).output();
    assert_eq!(output.ok(), "42\n1", "{}", output.stderr);
}
