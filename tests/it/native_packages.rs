//! Native tools and emulators out of packages of an archive that the tests sign.

use std::fs;

use crate::support::archive::{Archive, Package};
use crate::support::context::{FOREIGN, TestContext, emulation, fixtures};
use crate::support::elf::{Machine, program};
use crate::support::fake_registry::FakeRegistry;
use crate::support::image::{Codec, Content, layer};
use crate::support::process::Output;
use crate::support::require;

/// The image with packages of Debian 12's compilers, and a program.
const IMAGE: &str = "docker.io/test/compilers:1";
/// dpkg's list of them.
const STATUS: &str = "Package: gcc\nArchitecture: arm64\nSource: gcc-defaults (1.203)\nVersion: 4:12.2.0-3\n
Package: gcc-12\nArchitecture: arm64\nVersion: 12.2.0-14+deb12u1\n
Package: g++-12\nArchitecture: arm64\nSource: gcc-12\nVersion: 12.2.0-14+deb12u1\n
Package: binutils\nArchitecture: arm64\nVersion: 2.40-2\n";
/// What the release of that image is.
const RELEASE: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";
/// What is said when native tools are fetched.
const FETCHING: &str = "fetching native tools for linux-aarch64: 6 packages, ";
const TOOL: &[&str] = &["--", "tool"];

/// Cross compilers that are built from this version of GCC.
fn cross(gcc: &str) -> Vec<Package> {
    let amd64 = |name: &str, fields: &str| {
        Package::new(name, "1", fields).with_file(&format!("usr/lib64/{name}"), name.as_bytes())
    };
    let of = |name: &str, depends: &str| {
        let fields = format!("Source: gcc-12-cross (15)\nBuilt-Using: gcc-12 (= {gcc})\nDepends: {depends}");
        amd64(&format!("{name}-12-aarch64-linux-gnu"), &fields)
    };
    vec![
        of("gcc", "cpp-12-aarch64-linux-gnu, libgcc-12-dev-arm64-cross, libc6"),
        of("g++", "gcc-12-aarch64-linux-gnu, libstdc++-12-dev-arm64-cross"),
        of("cpp", "libc6"),
        Package::new("binutils-aarch64-linux-gnu", "2.40-2", "Source: binutils\nDepends: binutils-common")
            .with_file("usr/bin/as", b"as"),
        amd64("binutils-common", ""),
        amd64("libc6", ""),
        Package::new("libgcc-12-dev-arm64-cross", "1", ""),
        Package::new("libstdc++-12-dev-arm64-cross", "1", ""),
    ]
}

/// A project with an image for arm64, and the archive of its release.
struct World {
    context: TestContext,
    archive: Archive,
    server: FakeRegistry,
}

impl World {
    fn new(gcc: &str) -> Option<Self> {
        Self::with(cross(gcc), STATUS, "")
    }

    /// With these packages in the archive, this list of packages in the image, and these lines in the toolchain.
    fn with(packages: Vec<Package>, status: &str, lines: &str) -> Option<Self> {
        if !emulation() {
            return None;
        }
        let (context, archive) = (TestContext::empty(), Archive::with("bookworm", packages));
        let server = archive.serve();
        let world = Self { context, archive, server };
        world.import(status, RELEASE);
        fs::write(world.context.work().join("archive.pgp"), world.archive.key.public()).unwrap();
        world.define(lines);
        Some(world)
    }

    /// Imports the image with this list of packages, of this release.
    fn import(&self, status: &str, release: &str) {
        let tool = program(Machine::Arm64, "emulated\n", 0);
        let files = [
            ("bin/tool", &tool[..]),
            ("var/lib/dpkg/status", status.as_bytes()),
            ("etc/os-release", release.as_bytes()),
        ];
        let mut image = Content::default();
        let manifest = image.image(("linux", "arm64", None), &[layer(Codec::Zstd, &files)]);
        let index = image.index(&[manifest]);
        let _ = self.context.import(&image.tag("1", &index), IMAGE);
    }

    fn define(&self, lines: &str) {
        let mirror = format!("mirrors = ['http://{}/debian']", self.server.host());
        let text = format!(
            "toolchain = 'own'\nplatform = 'arm64'\n[toolchains.own.debian]\nsuites = ['other']\n\
             signed-by = 'archive.pgp'\n{mirror}\n[toolchains.own.platform.arm64]\nimage = '{IMAGE}'\n{lines}\n"
        );
        self.context.write("hermes.toml", &text);
    }

    /// `hermes run OPTIONS -- tool`.
    fn run(&self, options: &[&str]) -> Output {
        self.context.hermes([&["run"], options, TOOL].concat()).output()
    }

    /// It ran, emulated.
    #[track_caller]
    fn works(&self, options: &[&str]) -> String {
        let output = self.run(options);
        assert_eq!(output.exits(0).text(), "emulated", "{}", output.stderr);
        output.stderr
    }

    fn lock(&self) -> toml::Table {
        self.context.read("hermes.lock").parse().unwrap()
    }

    /// Number of requests so far.
    fn asked(&self) -> usize {
        self.server.seen().len()
    }
}

#[test]
fn native_tools_are_chosen_fetched_and_pinned() {
    let Some(world) = World::new("12.2.0-14") else { return };
    let said = world.works(&[]);
    assert!(said.contains(FETCHING) && said.contains("locked ") && said.contains("native tools of own"), "{said}");
    let lock = world.lock();
    assert_eq!(lock["version"].as_integer(), Some(4));
    let native = lock["native"]["own"]["linux/arm64"].as_table().unwrap();
    let names: Vec<_> = native["deb"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let names: Vec<_> = names.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let expected = ["binutils-aarch64-linux-gnu", "binutils-common", "cpp-12-aarch64-linux-gnu"];
    let expected = [&expected[..], &["g++-12-aarch64-linux-gnu", "gcc-12-aarch64-linux-gnu", "libc6"]].concat();
    assert_eq!(names, expected, "what the target has is left out");
    assert_eq!((native["scripts"].as_bool(), native["platform"].as_str()), (Some(false), Some("linux/amd64")));
    assert!(["image-chain-id", "chain-id", "tree", "manifest", "layer"].iter().all(|key| native.contains_key(*key)));
    assert_eq!(native["archives"][0].as_str(), Some("bookworm"), "the suite of the image, not of the toolchain");
    assert_eq!(world.server.count("/pool/"), 6);
    // The second time nobody is asked, and nothing is fetched.
    let asked = world.asked();
    for options in [&[][..], &["--locked", "--offline"]] {
        let said = world.works(options);
        assert!(!said.contains("fetching") && !said.contains("locked"), "{said}");
    }
    assert_eq!(world.asked(), asked);
    // dpkg's database says what the tools are built from.
    let chain = native["chain-id"].as_str().unwrap().trim_start_matches("sha256:");
    let layers = world.context.stored("layers");
    let layer = layers
        .iter()
        .find(|layer| *layer == native["layer"][0]["diff-id"].as_str().unwrap().trim_start_matches("sha256:"));
    let tree = world.context.store().join("layers").join(layer.unwrap()).join("fs");
    let status = fs::read_to_string(tree.join("var/lib/dpkg/status")).unwrap();
    assert!(status.contains("Built-Using: gcc-12 (= 12.2.0-14)"), "{status}");
    assert_eq!(
        fs::read_to_string(tree.join("lib64/libc6")).unwrap(),
        "libc6",
        "merged /usr without base-files: {chain}"
    );
}

#[test]
fn a_lock_is_enough_on_another_machine() {
    let Some(world) = World::new("12.2.0-14") else { return };
    world.works(&[]);
    let lock = world.context.read("hermes.lock");
    // Its store has the image alone, and no mirror has a release or an index.
    let Some(far) = World::new("12.2.0-14") else { return };
    far.context.write("hermes.lock", &lock);
    far.archive.remove("dists/bookworm/InRelease");
    let said = far.works(&["--locked"]);
    assert!(said.contains(FETCHING), "{said}");
    assert!(far.server.seen().iter().all(|seen| seen.path.starts_with("/debian/pool/")));
    assert_eq!(far.context.read("hermes.lock"), lock);
    // Packages are freed by the collection, and the tools stay.
    far.context.hermes(["gc"]).ok();
    let asked = far.asked();
    assert!(!far.works(&["--locked", "--offline"]).contains("native tools for"));
    assert_eq!(far.asked(), asked);
}

#[test]
fn nothing_is_fetched_where_nothing_is_replaced() {
    let Some(world) = World::new("12.2.0-14") else { return };
    for options in [&["--accel", "off"][..], &["--root"]] {
        let said = world.works(options);
        assert!(!said.contains("native tools"), "{options:?}: {said}");
    }
    world.define("native = false");
    assert!(!world.works(&[]).contains("native tools"));
    assert_eq!(world.asked(), 0);
    assert!(!world.lock().contains_key("native"));
    world.run(&["--accel", "require"]).refused(125, &["native = false"]);
}

#[test]
fn offline_a_run_goes_on_emulated_and_says_why_once() {
    let Some(world) = World::new("12.2.0-14") else { return };
    let said = world.works(&["--offline"]);
    assert_eq!(said.matches("without native tools for linux-aarch64").count(), 1, "{said}");
    assert!(said.contains("--offline forbids downloading it"), "{said}");
    world.run(&["--offline", "--accel", "require"]).refused(4, &["--offline forbids"]);
    assert_eq!(world.asked(), 0);
    // A lock without native tools stays as it is.
    let said = world.works(&["--locked"]);
    assert!(said.contains("native tools of own for linux-aarch64, and --locked forbids adding one"), "{said}");
    world.run(&["--locked", "--accel", "require"]).refused(4, &["--locked forbids adding one"]);
    assert_eq!(world.asked(), 0);
}

#[test]
fn without_an_address_a_run_goes_on_emulated() {
    let Some(world) = World::new("12.2.0-14") else { return };
    let text = world.context.read("hermes.toml");
    let kept = text.lines().filter(|line| !line.starts_with("mirrors"));
    world.context.write("hermes.toml", &kept.fold(String::new(), |text, line| text + line + "\n"));
    // The host's apt may have bookworm: an image of another release.
    world.import(STATUS, "ID=debian\nVERSION_CODENAME=hermes-tests\n");
    let said = world.works(&[]);
    assert_eq!(said.matches("without native tools").count(), 1, "{said}");
    assert!(said.contains("no address of a Debian archive with hermes-tests is known"), "{said}");
    world.run(&["--accel", "require"]).refused(2, &["no address of a Debian archive", "mirrors"]);
}

#[test]
fn compilers_of_another_revision_are_refused_by_name() {
    let Some(mut world) = World::new("12.2.0-13") else { return };
    let vendor = world.context.work().join("vendor");
    world.archive.write(&vendor);
    let text = world.context.read("hermes.toml").replace(&format!("http://{}/debian", world.server.host()), "vendor");
    world.context.write("hermes.toml", &text);
    let reason = [
        "the image has gcc-12 12.2.0-14+deb12u1, but gcc-12-aarch64-linux-gnu of the archive is built from gcc-12 12.2.0-13",
        "hint: --accel off",
    ];
    let said = world.works(&[]);
    assert!(said.contains(reason[0]) && said.matches("without native tools").count() == 1, "{said}");
    assert!(!world.lock().contains_key("native"));
    // That is kept: the archive is not read at each run.
    fs::remove_dir_all(&vendor).unwrap();
    assert!(world.works(&[]).contains(reason[0]));
    world.run(&["--accel", "require"]).refused(125, &reason);
    // The archive gets the right ones, and an update looks again.
    world.archive.packages = cross("12.2.0-14");
    world.archive.publish();
    world.archive.write(&vendor);
    world.context.hermes(["--offline", "lock", "--update"]).ok();
    assert!(world.lock()["native"]["own"]["linux/arm64"].as_table().unwrap().contains_key("manifest"));
    assert!(!world.works(&["--locked", "--offline"]).contains("without native tools"));
}

#[test]
fn images_without_compilers_are_passed_over() {
    for status in ["", "Package: tcc\nArchitecture: arm64\nVersion: 1\n"] {
        let Some(world) = World::with(cross("12.2.0-14"), status, "") else { return };
        assert!(!world.works(&[]).contains("native tools"));
        assert_eq!(world.asked(), 0);
        world.run(&["--accel", "require"]).refused(125, &["no packages of GCC and binutils"]);
    }
}

#[test]
fn packages_that_are_gone_or_changed() {
    let Some(world) = World::new("12.2.0-14") else { return };
    let path = world.archive.packages[0].path();
    let deb = world.archive.get(&path);
    world.archive.set(&path, &vec![0; deb.len()]);
    world.run(&[]).refused(3, &["checksum mismatch for gcc-12-aarch64-linux-gnu 1 amd64"]);
    world.archive.remove(&path);
    let said = world.works(&[]);
    assert!(said.contains("gcc-12-aarch64-linux-gnu 1 amd64") && said.contains("is no longer in"), "{said}");
    world.run(&["--accel", "require"]).refused(4, &["is no longer in"]);
    world.archive.set(&path, &deb);
    assert!(!world.works(&[]).contains("without native tools"));
}

/// Compilers of Debian itself: the fixtures' image, and cross compilers of its release from an archive of the tests.
#[test]
fn products_of_packaged_compilers_are_the_same() {
    let Some(context) = TestContext::native() else { return };
    let fixture = fixtures().map(|fixtures| fixtures.join("cross-packages"));
    let fixture = fixture
        .and_then(|path| if path.join("base").is_file() { Ok(path) } else { Err("no fixture cross-packages".into()) });
    if !require("cross-packages", fixture.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let mut archive = Archive::with_base(&fixture.unwrap(), vec![]);
    "bookworm".clone_into(&mut archive.suite);
    archive.publish();
    let server = archive.serve();
    fs::write(context.work().join("archive.pgp"), archive.key.public()).unwrap();
    context.write(
        "hermes.toml",
        &format!(
            "toolchain = 'own'\nplatform = 'arm64'\n[toolchains.own.debian]\nsuites = ['bookworm']\nsigned-by = 'archive.pgp'\n\
             mirrors = ['http://{}/debian']\n[toolchains.own.platform.arm64]\nimage = '{FOREIGN}'\n",
            server.host()
        ),
    );
    context.write("a.c", "#include <stdio.h>\nint main(void) { char b[64]; return sprintf(b, \"%d\", 7) - 1; }\n");
    context.write("b.cc", "#include <iostream>\nint main() { std::cout << 7 << '\\n'; }\n");
    let script = |name: &str| {
        format!(
            "set -e; mkdir {name}; gcc -O2 -c a.c -o {name}/a.o; gcc -O2 -fstack-protector-strong -c a.c -o {name}/p.o; \
             g++ -O2 -c b.cc -o {name}/b.o; g++ {name}/b.o -o {name}/b; {name}/b; for o in a p b; do strip -R .comment {name}/$o.o; done"
        )
    };
    let run = |accel: &str| context.hermes(["run", "--accel", accel, "--", "sh", "-c", &script(accel)]).output();
    assert_eq!(run("off").exits(0).text(), "7");
    assert_eq!(server.seen().len(), 0);
    let output = run("require");
    assert_eq!(output.exits(0).text(), "7", "{}", output.stderr);
    // The store is shared, and has the tools if this test was here before.
    let lock: toml::Table = context.read("hermes.lock").parse().unwrap();
    assert_eq!(lock["native"]["own"]["linux/arm64"]["deb"].as_array().unwrap().len(), 19);
    for name in ["a.o", "p.o", "b.o"] {
        let [off, on] = ["off", "require"].map(|place| fs::read(context.work().join(place).join(name)).unwrap());
        assert!(off == on, "{name}");
    }
    let record = context.json(&["log", "show"]);
    assert!(record["native"]["tools"][0].as_str().unwrap().starts_with("gcc 12.2.0"), "{record}");
}

/// What passes for an emulator: whatever it is to run, it prints its name.
fn emulator(name: &str) -> Vec<u8> {
    [program(Machine::Amd64, name, 7), format!("qemu-aarch64 version 1.2 ({name})\n").into_bytes()].concat()
}

/// A world whose emulator is a package, on a host without any QEMU.
fn bare(emulator: &[u8]) -> Option<World> {
    let package = Package::new("qemu-user-static", "1:7.2-1", "Depends: nothing-that-exists");
    let package =
        package.with_file("usr/bin/qemu-aarch64-static", emulator).with_file("usr/bin/qemu-arm-static", b"other");
    let world = World::with(vec![package], "", "")?;
    let text = world.context.read("hermes.toml").replace("suites = ['other']", "suites = ['bookworm']");
    world.context.write("hermes.toml", &(text + "[toolchains.own.emulator]\npackage = 'qemu-user-static'\n"));
    Some(world)
}

impl World {
    fn on_bare_host(&self, words: &[&str]) -> Output {
        self.context.hermes(words).env("PATH", "/no/where").output()
    }
}

#[test]
fn the_emulator_comes_out_of_a_package() {
    let good = emulator("good");
    let Some(mut world) = bare(&good) else { return };
    let run = [&["run"], TOOL].concat();
    let output = world.on_bare_host(&run);
    assert_eq!(output.exits(7).text(), "good", "{}", output.stderr);
    assert!(output.stderr.contains("fetching the emulator for linux-aarch64: 1 package, "), "{}", output.stderr);
    let lock = world.lock();
    let emulator_ = lock["emulator"]["linux/arm64"].as_table().unwrap();
    assert!(emulator_["deb"].as_str().unwrap().starts_with("qemu-user-static 1:7.2-1 amd64 "), "{emulator_}");
    assert_eq!(emulator_["path"].as_str(), Some("/usr/bin/qemu-aarch64-static"));
    assert_eq!(emulator_["archives"][0].as_str(), Some("bookworm"));
    // Warm.
    let asked = world.asked();
    let warm = [&["--offline", "--locked", "run"], TOOL].concat();
    assert_eq!(world.on_bare_host(&warm).exits(7).stderr, "");
    world.context.hermes(["gc"]).ok();
    assert_eq!(world.on_bare_host(&warm).exits(7).text(), "good");
    assert_eq!(world.asked(), asked);
    // Another machine, by the lock, when the archive has no release any more.
    let Some(far) = bare(&good) else { return };
    far.context.write("hermes.lock", &world.context.read("hermes.lock"));
    far.archive.remove("dists/bookworm/InRelease");
    assert_eq!(far.on_bare_host(&["--locked", "fetch"]).exits(0).stderr.matches("fetching the emulator").count(), 1);
    assert_eq!(far.on_bare_host(&warm).exits(7).text(), "good");
    // The archive, now a directory, has a newer one, which an update takes.
    let newer = Package::new("qemu-user-static", "1:7.2-2", "");
    world.archive.packages = vec![newer.with_file("usr/bin/qemu-aarch64-static", &emulator("newer"))];
    world.archive.publish();
    world.archive.write(&world.context.work().join("vendor"));
    let text = world.context.read("hermes.toml").replace(&format!("http://{}/debian", world.server.host()), "vendor");
    world.context.write("hermes.toml", &text);
    assert_eq!(world.on_bare_host(&run).exits(7).text(), "good");
    world.on_bare_host(&["--offline", "lock", "--update"]).exits(0);
    assert_eq!(world.on_bare_host(&warm).exits(7).text(), "newer");
    assert_eq!(world.lock()["archive"].as_table().unwrap().len(), 1);
}

#[test]
fn an_emulator_that_is_no_longer_in_the_archive() {
    let Some(world) = bare(&emulator("good")) else { return };
    let run = [&["run"], TOOL].concat();
    world.on_bare_host(&run).exits(7);
    let Some(far) = bare(&emulator("good")) else { return };
    far.context.write("hermes.lock", &world.context.read("hermes.lock"));
    // Neither the mirror nor the address in the lock has it.
    let path = far.archive.packages[0].path();
    let deb = world.archive.get(&path);
    far.archive.remove(&path);
    world.archive.remove(&path);
    far.on_bare_host(&run).refused(4, &["qemu-user-static 1:7.2-1 amd64 (locked in", "is no longer in"]);
    world.archive.set(&path, &deb);
    // A package without that file, and one that is no emulator.
    let text = world.context.read("hermes.toml");
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    world.context.write("hermes.toml", &(text.clone() + "path = '/usr/bin/none'\n"));
    world
        .on_bare_host(&run)
        .refused(125, &["the package qemu-user-static 1:7.2-1 amd64 has no emulator /usr/bin/none for linux-aarch64"]);
    world.context.write("hermes.toml", &(text.clone() + "path = '/usr/bin/qemu-arm-static'\n"));
    world.on_bare_host(&run).refused(3, &["not a 64-bit ELF program"]);
    world.context.write("hermes.toml", &text.replace("'qemu-user-static'", "'qemu-user'"));
    world.on_bare_host(&run).refused(2, &["the archive has no package qemu-user"]);
}

/// The host's QEMU as a package.
#[test]
fn a_foreign_program_runs_with_a_packaged_emulator() {
    let Some(context) = TestContext::foreign() else { return };
    drop(context);
    let Ok(qemu) = fs::read("/usr/bin/qemu-aarch64-static") else { return };
    let Some(world) = bare(&qemu) else { return };
    let output = world.on_bare_host(&[&["run"], TOOL].concat());
    assert_eq!(output.exits(0).text(), "emulated", "{}", output.stderr);
}
