//! Toolchains of Debian packages: locked, fetched, listed, from archives over http and in directories.

use std::fs;

use hermes::testing::digest::Digest;
use serde_json::Value;

use crate::support::archive::{Archive, Key, NO_EMULATOR, Package};
use crate::support::context::{TestContext, sandboxes};
use crate::support::elf::{Machine, program};
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, ranged};

/// A project whose toolchain has `top`, with its archive served.
struct World {
    context: TestContext,
    archive: Archive,
    server: FakeRegistry,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// The same with more lines in the `[debian]` table.
    fn with(lines: &str) -> Self {
        let (context, archive) = (TestContext::empty(), Archive::new());
        let server = archive.serve();
        let world = Self { context, archive, server };
        let mirror = format!("mirrors = ['http://{}/debian']\n{lines}", world.server.host());
        world.define(&mirror, "'top'");
        world
    }

    fn define(&self, lines: &str, packages: &str) {
        // Packages without programs cannot be composed: on a platform without an emulator hermes does not try.
        self.context.configure(NO_EMULATOR);
        fs::write(self.context.work().join("archive.pgp"), self.archive.key.public()).unwrap();
        self.context.write(
            "hermes.toml",
            &format!(
                "toolchain = 'own'\nplatform = 's390x'\n[toolchains.own.debian]\nsuites = ['stable']\n\
                 signed-by = 'archive.pgp'\npackages = [{packages}]\n{lines}\n[toolchains.own.platform.s390x]\n"
            ),
        );
    }

    fn lock(&self) -> toml::Table {
        self.context.read("hermes.lock").parse().unwrap()
    }

    /// The lines of the packages that are not of the base.
    fn debs(&self) -> Vec<String> {
        let lock = self.lock();
        let debs = lock["root"]["own"]["linux/s390x"]["deb"].as_array().unwrap();
        debs.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// What hermes says when it ends with this exit code.
    #[track_caller]
    fn fails(&self, words: &[&str], code: i32) -> String {
        let output = self.context.hermes(words.iter().copied()).output();
        output.exits(code);
        String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr
    }
}

#[test]
fn packages_are_chosen_and_locked() {
    let world = World::new();
    world.context.hermes(["lock"]).ok();
    let names =
        |lines: &[String]| lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&world.debs()), ["lib", "top"]);
    let lock = world.lock();
    assert_eq!(lock["version"].as_integer(), Some(4));
    let archive = &lock["archive"]["stable"];
    assert_eq!(archive["date"].as_integer(), Some(1_783_764_997));
    assert_eq!(archive["codename"].as_str(), Some("testing"));
    assert_eq!(archive["signed-by"][0].as_str(), Some(world.archive.key.fingerprint().as_str()));
    assert_eq!(archive["uri"].as_str(), Some(format!("http://{}/debian", world.server.host()).as_str()));
    let root = &lock["root"]["own"]["linux/s390x"];
    assert_eq!(root["epoch"].as_integer(), Some(1_783_764_997), "the date of the archive");
    assert_eq!(root["base"].as_array().unwrap().len(), 3);
    // By hash, so that the index is that of the release.
    assert!(world.server.seen().iter().all(|seen| !seen.path.ends_with("Packages.xz")));
    // The same again asks nobody.
    let before = world.server.seen().len();
    world.context.hermes(["lock"]).ok();
    assert_eq!(world.server.seen().len(), before);
}

#[test]
fn packages_are_listed_by_the_lock() {
    let world = World::new();
    assert!(world.fails(&["packages"], 4).contains("has no entry"));
    world.context.hermes(["lock"]).ok();
    let listed = world.context.json(&["packages", "-t", "own"]);
    let names: Vec<_> =
        listed["packages"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["aa", "apt", "bb", "lib", "top"]);
    assert_eq!(world.context.hermes(["packages", "--offline", "--why", "lib"]).ok(), "top -> lib");
    assert_eq!(world.context.hermes(["packages", "--offline", "--why", "bb"]).ok(), "aa -> bb");
    assert!(world.fails(&["packages", "--why", "nothing"], 2).contains("has no package nothing"));
}

#[test]
fn what_the_archive_has_now_is_shown_and_taken() {
    let mut world = World::new();
    world.context.hermes(["lock"]).ok();
    let before = world.context.read("hermes.lock");
    world.archive.packages[4] = Package::new("lib", "2-2", "");
    world.archive.date = "Sun, 12 Jul 2026 10:16:37 UTC".to_owned();
    world.archive.publish();
    let shown = world.fails(&["lock", "--check"], 4);
    assert!(shown.contains("archive stable") && shown.contains("packages of own for linux-s390x"), "{shown}");
    assert!(shown.contains("lib") && shown.contains("2-1 -> 2-2") && !shown.contains("top "), "{shown}");
    assert_eq!(world.context.read("hermes.lock"), before);
    world.context.hermes(["lock", "--update"]).ok();
    assert!(world.debs()[0].starts_with("lib 2-2 "));
    assert_eq!(world.lock()["archive"].as_table().unwrap().len(), 1);
    world.context.write("old.lock", &before);
    let shown = world.context.hermes(["lock", "--diff", "old.lock", "hermes.lock"]).ok();
    assert!(shown.contains("2-1 -> 2-2"), "{shown}");
}

#[test]
fn an_older_release_is_refused() {
    let mut world = World::new();
    world.context.hermes(["lock"]).ok();
    world.archive.date = "Fri, 10 Jul 2026 10:16:37 UTC".to_owned();
    world.archive.publish();
    let error = world.fails(&["lock", "--update"], 3);
    assert!(error.contains("older than the known one of 2026-07-11"), "{error}");
}

#[test]
fn a_release_past_its_end_is_refused() {
    let mut world = World::new();
    world.archive.fields = "Valid-Until: Sun, 12 Jul 2026 10:16:37 UTC\n".to_owned();
    world.archive.publish();
    let error = world.fails(&["lock"], 3);
    assert!(error.contains("expired on 2026-07-12"), "{error}");
}

#[test]
fn signatures_of_other_keys_and_changed_text_are_refused() {
    let mut world = World::new();
    let stranger = Key::new(9);
    let known = std::mem::replace(&mut world.archive.key, stranger);
    world.archive.publish();
    let error = world.fails(&["lock"], 3);
    assert!(error.contains(&known.fingerprint()), "what would be accepted: {error}");
    assert!(error.contains(&world.archive.key.fingerprint()), "what was found: {error}");
    world.archive.key = known;
    world.archive.publish();
    let text = String::from_utf8(world.archive.get("dists/stable/InRelease")).unwrap();
    world.archive.set("dists/stable/InRelease", text.replace("Origin: Tests", "Origin: Texts").as_bytes());
    assert!(world.fails(&["lock"], 3).contains("bad signature"));
    assert!(!world.context.work().join("hermes.lock").exists());
}

#[test]
fn another_suite_is_refused() {
    let world = World::new();
    let release = world.archive.get("dists/stable/InRelease");
    world.archive.set("dists/other/InRelease", &release);
    let text = world.context.read("hermes.toml").replace("'stable'", "'other'");
    world.context.write("hermes.toml", &text);
    let error = world.fails(&["lock"], 3);
    assert!(error.contains("expected suite other, got stable or testing"), "{error}");
}

#[test]
fn an_index_with_other_bytes_is_refused() {
    let world = World::new();
    let lock = |world: &World| world.fails(&["lock"], 3);
    let text = String::from_utf8(world.archive.get("dists/stable/InRelease")).unwrap();
    let line = text.lines().find(|line| line.ends_with("binary-s390x/Packages.xz")).unwrap();
    let digest = line.split_ascii_whitespace().next().unwrap();
    let path = format!("dists/stable/main/binary-s390x/by-hash/SHA256/{digest}");
    let mut bytes = world.archive.get(&path);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    world.archive.set(&path, &bytes);
    let error = lock(&world);
    assert!(error.contains("checksum mismatch for index of stable"), "{error}");
}

#[test]
fn requests_without_a_solution_name_the_chain() {
    let mut world = World::new();
    let mirror = format!("mirrors = ['http://{}/debian']", world.server.host());
    for (packages, words) in [
        ("'nothing'", &["the archive has no package nothing"][..]),
        ("'top=3'", &["no version 3 of package top", "1:1.0-1"]),
        ("'top', 'lib-'", &["lib (>= 2)", "top"]),
    ] {
        world.define(&mirror, packages);
        let error = world.fails(&["lock"], 2);
        assert!(words.iter().all(|word| error.contains(word)), "{packages}: {error}");
    }
    world.archive.packages[4] = Package::new("lib", "1-1", "");
    world.archive.publish();
    world.define(&mirror, "'top'");
    let error = world.fails(&["lock"], 2);
    assert!(error.contains("cannot meet dependency 'lib (>= 2)' of package top"), "{error}");
}

#[test]
fn a_package_that_is_gone_is_named_with_what_to_do() {
    let world = World::new();
    world.archive.remove(&world.archive.packages[3].path());
    world.archive.remove(&world.archive.packages[4].path());
    let error = world.fails(&["fetch"], 4);
    assert!(error.contains("lib 2-1 all (locked in the archive of 2026-07-11) is no longer in http://"), "{error}");
    assert!(error.contains("neither is 1 other package"), "{error}");
    for way in ["hermes bundle create", "mirrors", "hermes lock --update"] {
        assert!(error.contains(way), "{way}: {error}");
    }
}

#[test]
fn a_package_with_other_bytes_is_refused_by_name() {
    let world = World::new();
    let path = world.archive.packages[4].path();
    let mut deb = world.archive.get(&path);
    let middle = deb.len() / 2;
    deb[middle] ^= 1;
    world.archive.set(&path, &deb);
    let error = world.fails(&["fetch"], 3);
    assert!(error.contains("checksum mismatch for lib 2-1 all from http://"), "{error}");
}

#[test]
fn the_next_address_has_what_the_first_one_lacks() {
    let world = World::new();
    let other = Archive::new();
    let second = other.serve();
    // The first one has lost one package, and has other bytes of another.
    world.archive.remove(&world.archive.packages[3].path());
    world.archive.set(&world.archive.packages[4].path(), &vec![0; world.archive.packages[4].deb().len()]);
    let vendor = world.context.work().join("vendor");
    let lines =
        format!("mirrors = ['http://{}/debian', 'http://{}/debian', 'vendor']", world.server.host(), second.host());
    world.define(&lines, "'top'");
    let said = world.context.hermes(["pull", "--dry-run", "--json"]).ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["images"][0]["packages"]["count"], &said["images"][0]["packages"]["here"]),
        (&5.into(), &0.into())
    );
    let _ = fetch(&world);
    assert_eq!(second.count("/pool/"), 2);
    // A directory of the project is as good as a server.
    other.write(&vendor);
    let away = World::new();
    away.define(&format!("mirrors = ['{}']", "vendor"), "'top'");
    other.write(&away.context.work().join("vendor"));
    away.context.hermes(["lock", "--offline"]).ok();
    assert!(away.lock()["archive"]["stable"].get("uri").is_none(), "the lock has a path of this host");
    assert_eq!(away.server.seen().len(), 0);
}

/// Fetches; a machine that cannot compose has the packages all the same.
fn fetch(world: &World) -> String {
    world.context.hermes(["fetch"]).output().stderr
}

#[test]
fn a_download_that_breaks_off_is_resumed() {
    let (context, archive) = (TestContext::empty(), Archive::new());
    let path = archive.packages[4].path();
    let (whole, file) = (archive.get(&path), path.clone());
    let release = archive.get("dists/stable/InRelease");
    let debs: Vec<_> = archive.packages.iter().map(|package| (package.path(), package.deb())).collect();
    let index = archive.index();
    let server = FakeRegistry::start(move |seen, count| {
        let wanted = seen.path.strip_prefix("/debian/").unwrap_or_default();
        if wanted == file {
            let reply = ranged(seen, Reply::new(200, &whole));
            return if count == 0 { reply.cut(whole.len() / 2) } else { reply };
        }
        if wanted == "dists/stable/InRelease" {
            return Reply::new(200, &release);
        }
        if wanted.contains("/by-hash/") {
            return Reply::new(200, &index);
        }
        match debs.iter().find(|(path, _)| *path == wanted) {
            Some((_, deb)) => Reply::new(200, deb),
            None => Reply::new(404, b""),
        }
    });
    let world = World { context, archive, server };
    world.define(&format!("mirrors = ['http://{}/debian']", world.server.host()), "'top'");
    let said = fetch(&world);
    let ranges: Vec<_> =
        world.server.seen().iter().filter(|seen| seen.path.ends_with(&path)).map(Seen::range).collect();
    assert!(ranges.len() == 2 && ranges[0].is_none() && ranges[1].is_some(), "{ranges:?} {said}");
}

#[test]
fn without_an_address_the_hint_says_where_to_name_one() {
    let world = World::new();
    let text = world.context.read("hermes.toml");
    let without: String =
        text.lines().filter(|line| !line.starts_with("mirrors")).map(|line| line.to_owned() + "\n").collect();
    // No host's apt has a suite of this name.
    world.context.write("hermes.toml", &without.replace("'stable'", "'hermes-tests'"));
    let error = world.fails(&["lock"], 2);
    let place = "~/.config/hermes/config.toml";
    for part in [place, "\n  [debian]\n  mirrors = [\"https://deb.example.org/debian\"]\n", "--toolchain debian-image"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The user's configuration is used where the toolchain says nothing.
    world.context.write("hermes.toml", &without);
    world.context.configure(&format!("{NO_EMULATOR}[debian]\nmirrors = ['http://{}/debian']\n", world.server.host()));
    world.context.hermes(["lock"]).ok();
    // A lock without an address, on a machine that knows none.
    let lock = world.context.read("hermes.lock").replace("stable", "hermes-tests");
    let without: String =
        lock.lines().filter(|line| !line.starts_with("uri = ")).flat_map(|line| [line, "\n"]).collect();
    world.context.write("hermes.lock", &without);
    let text = world.context.read("hermes.toml").replace("'stable'", "'hermes-tests'");
    world.context.write("hermes.toml", &text);
    world.context.configure(NO_EMULATOR);
    fs::remove_dir_all(world.context.store()).unwrap();
    let error = world.fails(&["fetch"], 2);
    assert!(error.contains("no address of a Debian archive") && error.contains(place), "{error}");
}

#[test]
fn a_lock_that_does_not_fit_is_an_error_with_locked() {
    let world = World::new();
    let error = world.fails(&["lock", "--locked"], 4);
    assert!(error.contains("packages of own"), "{error}");
    world.context.hermes(["lock"]).ok();
    let mirror = format!("mirrors = ['http://{}/debian']", world.server.host());
    world.define(&mirror, "'lib'");
    let error = world.fails(&["run", "--locked", "--", "true"], 4);
    assert!(error.contains("packages of own for linux-s390x"), "{error}");
    let error = world.fails(&["fetch", "--offline"], 4);
    assert!(error.contains("--offline"), "{error}");
}

#[test]
fn a_directory_outside_the_project_needs_consent() {
    let world = World::new();
    let outside = world.context.path().join("outside");
    world.archive.write(&outside);
    world.define(&format!("mirrors = ['{}']", outside.display()), "'top'");
    let error = world.fails(&["lock"], 2);
    assert!(error.contains("toolchains.own.debian.mirrors") && error.contains("hermes allow"), "{error}");
    world.context.hermes(["allow"]).ok();
    world.context.hermes(["lock"]).ok();
    assert_eq!(world.debs().len(), 2);
}

/// A mirror that states no length, and sends more than the package has.
#[test]
fn a_mirror_that_sends_too_much_is_passed_over() {
    let world = World::new();
    let path = world.archive.packages[4].path();
    let long = [world.archive.packages[4].deb(), vec![0; 1000]].concat();
    let wanted = path.clone();
    let first = FakeRegistry::start(move |seen, _| {
        let is_wanted = seen.path.ends_with(&wanted);
        if is_wanted { Reply::new(200, &long).without("content-length") } else { Reply::new(404, b"") }
    });
    world.define(
        &format!("mirrors = ['http://{}/debian', 'http://{}/debian']", first.host(), world.server.host()),
        "'top'",
    );
    let said = fetch(&world);
    assert!(!said.contains("cannot write"), "{said}");
    assert_eq!((first.count(&path), world.server.count(&path)), (1, 1), "{said}");
}

/// A project for this machine, whose root has a shell that says and does something else. Even the shell that runs the scripts of
/// packages is a program of a package.
fn with_own_shell() -> Option<World> {
    if !sandboxes() || !cfg!(target_arch = "x86_64") {
        return None;
    }
    let mut world = World::new();
    world.archive.packages[1].programs =
        vec![("bin/sh".to_owned(), program(Machine::Amd64, "a text of the package", 7))];
    world.archive.publish();
    let text = world.context.read("hermes.toml").replace("s390x", "linux-x86_64");
    world.context.write("hermes.toml", &text);
    Some(world)
}

#[test]
fn programs_of_packages_get_no_streams_of_the_caller() {
    let Some(world) = with_own_shell() else { return };
    let output = world.context.hermes(["lock"]).output();
    output.exits(1);
    assert!(output.stderr.contains("cannot configure the root"), "{}", output.stderr);
    assert!(output.stderr.contains("exit code 7"), "{}", output.stderr);
    assert!(!output.stderr.contains("a text of the package") && output.stdout.is_empty(), "{}", output.text());
}

#[test]
fn programs_of_packages_need_what_a_run_requires() {
    let Some(world) = with_own_shell() else { return };
    // A host without landlock.
    let world = World { context: world.context.on("4.18"), ..world };
    let output = world.context.hermes(["run", "--require", "landlock", "--", "true"]).output();
    assert!(output.stderr.contains("does not enforce landlock"), "{}", output.stderr);
    assert!(!output.stderr.contains("exit code 7"), "{}", output.stderr);
}

#[test]
fn a_changed_package_of_a_lock_is_found_by_check() {
    let world = World::new();
    world.context.hermes(["lock"]).ok();
    let (lock, deb) = (world.context.read("hermes.lock"), Digest::of(&world.archive.packages[4].deb()).hex());
    assert_eq!(lock.matches(&deb).count(), 1);
    world.context.write("hermes.lock", &lock.replace(&deb, &Digest::of(b"another package").hex()));
    let shown = world.fails(&["lock", "--check"], 4);
    assert!(shown.contains("packages of own for linux-s390x"), "{shown}");
}

/// Packages without programs have no scripts that could run: unpacked, they are a root for any platform.
#[test]
fn packages_are_unpacked_without_scripts_and_without_an_emulator() {
    let world = World::new();
    let with_scripts = world.context.read("hermes.toml");
    world.context.hermes(["lock"]).ok();
    assert!(world.fails(&["fetch"], 0).contains("cannot be composed"), "scripts need an emulator");
    world.context.write("hermes.toml", &(with_scripts.clone() + "scripts = false\n"));
    let error = world.fails(&["fetch", "--locked"], 4);
    assert!(error.contains("packages of own for linux-s390x as the toolchain has them"), "{error}");
    world.context.hermes(["fetch"]).ok();
    let lock = world.lock();
    let root = lock["root"]["own"]["linux/s390x"].as_table().unwrap();
    assert_eq!((root["scripts"].as_bool(), root["layer"].as_array().unwrap().len()), (Some(false), 1));
    let tree = world.context.store().join("layers").join(&world.context.stored("layers")[0]).join("fs");
    assert_eq!(fs::read_to_string(tree.join("usr/share/top")).unwrap(), "top 1:1.0-1\n");
    let status = fs::read_to_string(tree.join("var/lib/dpkg/status")).unwrap();
    assert_eq!(status.matches("Status: install ok unpacked").count(), 5, "{status}");
    // The same bytes elsewhere.
    let other = World::new();
    other.context.write("hermes.lock", &world.context.read("hermes.lock"));
    other
        .context
        .write("hermes.toml", &world.context.read("hermes.toml").replace(&world.server.host(), &other.server.host()));
    fs::copy(world.context.work().join("archive.pgp"), other.context.work().join("archive.pgp")).unwrap();
    other.context.hermes(["--locked", "fetch"]).ok();
    // The root with scripts is another one.
    world.context.write("hermes.toml", &with_scripts);
    assert!(world.fails(&["fetch"], 0).contains("cannot be composed"));
    assert!(!world.lock()["root"]["own"]["linux/s390x"].as_table().unwrap().contains_key("manifest"));
}

/// A world whose toolchain is the user's, and has two platforms with the same programs. There is no project yet.
fn of_user() -> World {
    let world = World::new();
    fs::remove_file(world.context.work().join("hermes.toml")).unwrap();
    let toolchains = world.context.path().join("config/hermes/toolchains");
    fs::write(toolchains.join("archive.pgp"), world.archive.key.public()).unwrap();
    let text = format!(
        "[debian]\nsuites = ['stable']\nsigned-by = 'archive.pgp'\npackages = ['top']\nmirrors = ['http://{}/debian']\n\
         [platform.s390x]\n[platform.armv7]\nimage-platform = 's390x'\n",
        world.server.host()
    );
    fs::write(toolchains.join("own.toml"), text).unwrap();
    world
}

/// Makes the working directory a project with that toolchain.
fn begin_project(world: &World) {
    world.context.write("hermes.toml", "toolchain = 'own'\nplatform = 's390x'\n");
}

#[test]
fn a_project_starts_with_what_its_user_has_locked() {
    let world = of_user();
    world.context.hermes(["lock", "-t", "own"]).ok();
    let file = world.context.locks().join("own.lock");
    let own: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    begin_project(&world);
    let error = world.fails(&["--locked", "fetch"], 4);
    assert!(error.contains("packages of own for linux-s390x"), "{error}");
    // The archive is not asked, even for what it no longer has.
    world.archive.remove("dists/stable/InRelease");
    let asked = world.server.seen().len();
    let listed = world.context.hermes(["packages", "--offline"]).ok();
    assert!(listed.contains("top") && !world.context.work().join("hermes.lock").exists(), "{listed}");
    world.context.hermes(["--offline", "lock"]).ok();
    assert_eq!(world.server.seen().len(), asked);
    let lock = world.lock();
    assert_eq!((&lock["root"], &lock["archive"]), (&own["root"], &own["archive"]));
    // From now on the project's lock counts.
    fs::write(&file, "not a lock").unwrap();
    world.context.hermes(["--offline", "--locked", "lock"]).ok();
    // It is no longer a start, and nothing that other projects need.
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    let error = world.fails(&["lock"], 1);
    assert!(error.contains("release of stable"), "{error}");
}

#[test]
fn roots_of_one_lock_have_one_state_of_the_archive() {
    let mut world = of_user();
    world.context.hermes(["lock", "-t", "own"]).ok();
    world.archive.packages[4] = Package::new("lib", "2-2", "");
    world.archive.date = "Sun, 12 Jul 2026 10:16:37 UTC".to_owned();
    world.archive.publish();
    begin_project(&world);
    // An update does not go by what other locks have.
    world.context.hermes(["lock", "-p", "s390x", "--update"]).ok();
    assert!(world.debs()[0].starts_with("lib 2-2 "), "{:?}", world.debs());
    world.context.hermes(["lock"]).ok();
    let lock = world.lock();
    assert_eq!(lock["archive"].as_table().unwrap().len(), 1);
    let roots = &lock["root"]["own"];
    assert_eq!(roots["linux/arm/v7"]["deb"], roots["linux/s390x"]["deb"]);
}

#[test]
fn a_toolchain_is_added_with_its_lock_or_not_at_all() {
    let world = World::new();
    let before = "# mine\n[toolchains.own.platform.x86_64]  # so\nimage = 'debian:12'\n";
    world.context.write("hermes.toml", before);
    let mirror = format!("[debian]\nmirrors = ['http://{}/debian']\n{NO_EMULATOR}", world.server.host());
    world.context.configure(&mirror);
    let add = |words: &[&'static str]| {
        let options = ["--debian", "stable", "-p", "s390x", "--signed-by", "archive.pgp"];
        [&["toolchain", "add"], words, &options].concat()
    };
    for (words, code, said) in [
        (&["own", "top"][..], 2, "hermes.toml has a toolchain 'own' already"),
        (&["New", "top"], 2, "'New' is not a name"),
        (&["new", "absent"], 2, "absent"),
        (&["new", "TOP"], 2, "invalid package request 'TOP'"),
    ] {
        let found = world.fails(&add(words), code);
        assert!(found.contains(said), "{found}");
        assert_eq!(world.context.read("hermes.toml"), before);
    }
    // Debian's keys have not signed this archive.
    world.fails(&["toolchain", "add", "new", "--debian", "stable", "-p", "s390x", "top"], 3);
    assert_eq!(world.context.read("hermes.toml"), before);
    let said = world.context.hermes(add(&["new", "top"])).ok();
    assert!(said.contains("+ packages of new for linux-s390x"), "{said}");
    let after = world.context.read("hermes.toml");
    assert!(after.starts_with(before) && after.contains("[toolchains.new.platform.linux-s390x]"), "{after}");
    assert!(world.lock()["root"]["new"]["linux/s390x"]["deb"].as_array().unwrap().len() == 2);
    world.context.hermes(["lock", "--check", "--toolchain", "new"]).ok();
    let list = world.context.hermes(["toolchain", "list"]).ok();
    let line = |name: &str| list.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap().to_owned();
    assert!(line("new").contains("packages of stable") && line("own").contains("images"), "{list}");
    // Without a project there is one afterwards.
    let directory = world.context.path().join("fresh");
    fs::create_dir(&directory).unwrap();
    fs::copy(world.context.work().join("archive.pgp"), directory.join("archive.pgp")).unwrap();
    world.context.hermes(add(&["new", "top"])).dir(&directory).ok();
    assert!(directory.join("hermes.toml").exists() && directory.join("hermes.lock").exists());
}
