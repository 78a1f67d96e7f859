//! Toolchains with sources and variables: wheels of an index of Python packages, archives, and files of the definition.

use std::fs;

use hermes::testing::digest::Digest;

use crate::support::context::{MIN, TestContext};
use crate::support::fake_registry::FakeRegistry;
use crate::support::fsck::assert_consistent;
use crate::support::process::Run;
use crate::support::wheel::{Index, Published, zip};

const WHEEL: &str = "tool-1.0-py3-none-manylinux_2_17_x86_64.whl";

/// A wheel with a program that prints `text` and a variable.
fn wheel(text: &str) -> Vec<u8> {
    let program = format!("#!/bin/sh\necho {text} $TOOL_MODE \"$@\"\n");
    zip(&[("tool/run", 0o755, program.as_bytes()), ("tool-1.0.dist-info/WHEEL", 0o644, b"Wheel-Version: 1.0\n")])
}

/// A project whose toolchain mounts the wheel `tool` over the small Debian, and an index that has it.
struct World {
    context: TestContext,
    index: Index,
    server: FakeRegistry,
}

impl World {
    fn new(context: Option<TestContext>, index: Index) -> Option<Self> {
        let context = context?;
        let server = index.serve();
        context.write("hermes.toml", &definition(""));
        Some(Self { context, index, server })
    }

    fn of(context: Option<TestContext>, text: &str) -> Option<Self> {
        Self::new(context, Index::of(vec![Published::new(WHEEL, wheel(text))]))
    }

    /// hermes with this index as pip's.
    fn hermes(&self, words: &[&str]) -> Run {
        self.context.hermes(words).env("PIP_INDEX_URL", Index::url(&self.server))
    }

    fn sh(&self, options: &[&str], script: &str) -> Run {
        self.hermes(&[&["--quiet"], options, &["run", "--", "sh", "-c", script]].concat())
    }

    fn locked(&self) -> toml::Table {
        let lock: toml::Table = self.context.read("hermes.lock").parse().unwrap();
        lock["toolchain"]["own"]["linux/amd64"].as_table().unwrap().clone()
    }
}

/// The toolchain, with more keys for its wheel.
fn definition(more: &str) -> String {
    format!(
        "toolchain = 'own'\nplatform = 'linux-x86_64'\n[toolchains.own]\npath = ['/opt/wrap/bin']\n\
         environment = {{ TOOL_MODE = 'plain', TOOL_HOME = '/opt/tool' }}\n\
         [toolchains.own.source.tool]\nurl = 'pypi:Tool==1'\nmount = '/opt/tool'\n{more}\n\
         [toolchains.own.source.wrappers]\nmount = '/opt/wrap'\n\
         files = {{ 'bin/tool' = \"#!/bin/sh\\nexec /opt/tool/tool/run wrapped \\\"$@\\\"\\n\" }}\n\
         [toolchains.own.platform.linux-x86_64]\nimage = '{MIN}'\nenvironment = {{ TOOL_MODE = 'fast' }}\n"
    )
}

#[test]
fn a_wheel_is_found_locked_and_mounted() {
    let Some(world) = World::of(TestContext::fixtures(), "found") else { return };
    let script = "tool x; ! touch /opt/tool/x 2>/dev/null; echo $PATH $TOOL_HOME; stat -c %a /opt/tool/tool/run /opt/wrap/bin/tool";
    let path = "/opt/wrap/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /opt/tool";
    let want = format!("found fast wrapped x\n{path}\n555\n555");
    world.sh(&["--locked"], "true").output().refused(4, &["hermes.lock"]);
    assert_eq!(world.sh(&[], script).ok(), want);
    let locked = world.locked();
    let tool = locked["tool"].as_table().unwrap();
    let [name, version, file, digest] = ["name", "version", "file", "digest"].map(|key| tool[key].as_str().unwrap());
    assert_eq!((name, version, file), ("tool", "1", WHEEL));
    assert_eq!(digest, Digest::of(&wheel("found")).to_string());
    let text = world.context.read("hermes.lock");
    assert!(text.contains("\nversion = 4\n") && !text.contains(&world.server.host()), "{text}");
    // Later the index is not asked, and the options of a run override the toolchain's variables.
    let asked = world.server.seen().len();
    assert_eq!(world.sh(&["--locked", "--offline"], script).ok(), want);
    let words = ["--quiet", "--locked", "run", "-e", "TOOL_MODE=own", "--", "tool"];
    assert_eq!(world.hermes(&words).ok(), "found own wrapped");
    assert_eq!(world.server.seen().len(), asked);
    // The project's variables, too.
    world.context.write("hermes.toml", &(definition("") + "[build]\nenv = { TOOL_MODE = 'project' }\n"));
    assert_eq!(world.hermes(&["--quiet", "run", "--", "tool"]).ok(), "found project wrapped");
    let plan = world.hermes(&["run", "--plan", "--json", "--", "tool"]).ok();
    assert!(plan.contains("/opt/wrap") && plan.contains("/opt/tool"), "{plan}");
    assert!(world.hermes(&["toolchain", "show", "own"]).ok().contains("source tool: pypi:tool==1 at /opt/tool"));
}

#[test]
fn a_recorded_run_is_repeated_with_its_sources() {
    let Some(world) = World::of(TestContext::with_debian(), "recorded") else { return };
    world.hermes(&["run", "--output", "out", "--", "sh", "-c", "tool > out"]).ok();
    world.context.write("hermes.toml", "");
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    world.hermes(&["rebuild", "--check", "--changed-project", "--offline"]).ok();
    let record = world.context.records();
    assert!(!record.contains(&world.server.host()), "{record}");
    assert_consistent(world.context.store(), "after all");
}

#[test]
fn html_pages_and_extra_indexes_serve_too() {
    let index = Index { html: true, ..Index::of(vec![Published::new(WHEEL, wheel("from html"))]) };
    let Some(world) = World::new(TestContext::fixtures(), index) else { return };
    let empty = FakeRegistry::start(|_, _| crate::support::fake_registry::Reply::new(404, b""));
    let run = world.context.hermes(["--quiet", "run", "--", "tool"]);
    let run = run.env("PIP_INDEX_URL", Index::url(&empty)).env("PIP_EXTRA_INDEX_URL", Index::url(&world.server));
    assert_eq!(run.ok(), "from html fast wrapped");
    // Without an index there is a hint, and nothing is asked.
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    world.context.hermes(["run", "--", "tool"]).output().refused(2, &["pip", "no index", "PIP_INDEX_URL"]);
    world.sh(&["--offline"], "true").output().refused(4, &["tool of own", "--offline", "hermes fetch -t own"]);
}

#[test]
fn the_files_of_pip_name_the_index() {
    let Some(world) = World::of(TestContext::fixtures(), "by pip.conf") else { return };
    let conf = world.context.path().join("config/pip/pip.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(&conf, format!("[global]\nindex-url = {}/\n", Index::url(&world.server))).unwrap();
    assert_eq!(world.context.hermes(["--quiet", "run", "--", "tool"]).ok(), "by pip.conf fast wrapped");
}

#[test]
fn credentials_reach_the_index_alone_and_no_file_or_message() {
    // me:s3cret
    let login = Some("bWU6czNjcmV0".to_owned());
    let files = vec![Published::new(WHEEL, wheel("guarded"))];
    let other = Index::of(files.clone());
    let other_server = other.serve();
    let index = Index { login: login.clone(), files_at: Some(other_server.host()), ..Index::of(files.clone()) };
    let Some(world) = World::new(TestContext::with_debian(), index) else { return };
    let url = |login: &str| format!("http://{login}{}/simple/", world.server.host());
    let hermes =
        |login: &str| world.context.hermes(["--verbose", "run", "--", "tool"]).env("PIP_INDEX_URL", url(login));
    let denied = hermes("me:wr0ng@").output();
    denied.exits(125);
    assert!(!denied.stderr.contains("wr0ng"), "{}", denied.stderr);
    let output = hermes("me:s3cret@").output();
    output.exits(0);
    assert!(other_server.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(other_server.count(WHEEL) > 0);
    let lock = world.context.read("hermes.lock");
    for text in [&lock, &output.stderr, &output.text(), &world.context.records()] {
        for secret in ["s3cret", "bWU6", "signature", "hidden"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    // By the file of credentials, for index and files on one server.
    let same = Index { login, ..Index::of(files) };
    let server = same.serve();
    let host = "127.0.0.1";
    fs::write(world.context.path().join("home/.netrc"), format!("machine {host} login me password s3cret\n")).unwrap();
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    world.context.hermes(["run", "--", "tool"]).env("PIP_INDEX_URL", Index::url(&server)).ok();
    assert!(server.count("/simple/tool/") > 0);
}

/// What an index must not get through.
#[test]
fn hostile_indexes_are_refused() {
    let Some(world) = World::of(TestContext::with_debian(), "good") else { return };
    let published = |file: &str| Published::new(file, wheel("hostile"));
    let run = || world.hermes(&["run", "--", "tool"]).output();
    // Other bytes than the page states.
    world.index.set(vec![Published { stated: Some(Digest::of(b"other")), ..published(WHEEL) }]);
    run().refused(3, &["checksum mismatch", "tool of own"]);
    // Several files, and none.
    world.index.set(vec![published(WHEEL), published("tool-1.0-py3-none-any.whl")]);
    run().refused(2, &["several wheels", "tool-1.0-py3-none-any.whl", "sha256"]);
    for file in ["tool-1.0-py3-none-win_amd64.whl", "tool-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"] {
        world.index.set(vec![published(file)]);
        run().refused(125, &["no index has a wheel of tool==1", file]);
    }
    for file in
        ["tool-1.1-py3-none-any.whl", "other-1.0-py3-none-any.whl", "tool-1.0.tar.gz", "../tool-1.0-py3-none-any.whl"]
    {
        world.index.set(vec![published(file)]);
        run().refused(125, &["no index has a wheel of tool==1"]);
    }
    // Archives that the rules for sources refuse.
    let escape = zip(&[("../../escape", 0o644, b"x")]);
    world.index.set(vec![Published::new(WHEEL, escape)]);
    run().refused(3, &["cannot unpack source tool of own", "escape"]);
    world.index.set(vec![Published::new(WHEEL, b"PK\x03\x04 and nothing else".to_vec())]);
    run().refused(3, &["cannot unpack source tool of own"]);
    // A withdrawn wheel is used where there is no other, with a note.
    let yanked = Published { yanked: Some("it \u{1b}[31mbreaks".into()), ..published(WHEEL) };
    world.index.set(vec![yanked]);
    let output = run();
    output.exits(0);
    assert!(output.stderr.contains("withdrawn") && !output.stderr.contains('\u{1b}'), "{}", output.stderr);
    assert_consistent(world.context.store(), "after all");
}

#[test]
fn what_is_locked_does_not_change() {
    let Some(world) = World::of(TestContext::with_debian(), "first") else { return };
    world.sh(&[], "true").ok();
    // No registry is asked what a digest names.
    let index = world.context.read("hermes.lock").parse::<toml::Table>().unwrap()["image"][MIN]["linux/amd64"].clone();
    let image = index.get("index").unwrap_or(&index["manifest"])["digest"].as_str().unwrap().to_owned();
    let definition = |more: &str| definition(more).replace(MIN, &format!("{MIN}@{image}"));
    fs::remove_file(world.context.work().join("hermes.lock")).unwrap();
    world.context.write("hermes.toml", &definition(""));
    world.sh(&[], "true").ok();
    let lock = world.context.read("hermes.lock");
    let other = |text: &str| {
        world.index.set(vec![Published::new(WHEEL, wheel(text))]);
    };
    // Another machine: the same lock, an empty store.
    let machine = || {
        let fresh = TestContext::with_debian().unwrap();
        fresh.write("hermes.toml", &definition(""));
        fresh.write("hermes.lock", &lock);
        fresh
    };
    let tool = |machine: &TestContext| {
        machine.hermes(["--quiet", "run", "--", "tool"]).env("PIP_INDEX_URL", Index::url(&world.server))
    };
    assert_eq!(tool(&machine()).ok(), "first fast wrapped");
    other("second");
    tool(&machine()).output().refused(3, &["checksum mismatch for source tool of own"]);
    world.index.set(vec![]);
    tool(&machine()).output().refused(125, &["no index has a wheel of tool==1"]);
    // A mirror has it by its digest.
    let mirror = machine();
    let hex = Digest::of(&wheel("first")).hex();
    fs::create_dir_all(mirror.work().join("vendor/sha256")).unwrap();
    fs::write(mirror.work().join("vendor/sha256").join(hex), wheel("first")).unwrap();
    mirror.write("hermes.toml", &definition("mirrors = ['vendor']"));
    assert_eq!(mirror.hermes(["--quiet", "--locked", "--offline", "run", "--", "tool"]).ok(), "first fast wrapped");
    // The lock changes on request.
    other("second");
    world.hermes(&["lock", "--check"]).output().exits(4);
    assert_eq!(world.context.read("hermes.lock"), lock);
    let text = world.hermes(&["lock", "--update", "own"]).ok();
    assert!(text.contains("source tool of own for linux-x86_64"), "{text}");
    assert_eq!(world.hermes(&["--quiet", "run", "--", "tool"]).ok(), "second fast wrapped");
    // And with the definition: a source that is gone, other files.
    let fewer = definition("").replace("exec /opt", "exec  /opt");
    world.context.write("hermes.toml", &fewer);
    world.sh(&["--locked"], "true").output().refused(4, &["source wrappers of own"]);
    world.sh(&[], "true").ok();
    let digests = [lock, world.context.read("hermes.lock")].map(|text| {
        let lock: toml::Table = text.parse().unwrap();
        lock["toolchain"]["own"]["linux/amd64"]["wrappers"]["digest"].as_str().unwrap().to_owned()
    });
    assert_ne!(digests[0], digests[1]);
}

#[test]
fn bundles_and_the_collector_know_them() {
    let Some(world) = World::of(TestContext::with_debian(), "kept") else { return };
    world.sh(&[], "true").ok();
    world.hermes(&["gc"]).ok();
    assert_eq!(world.hermes(&["--quiet", "--locked", "--offline", "run", "--", "tool"]).ok(), "kept fast wrapped");
    world.hermes(&["bundle", "create", "all.tar"]).ok();
    let other = TestContext::sandbox().unwrap();
    other.write("hermes.toml", &definition(""));
    let bundle = world.context.work().join("all.tar");
    other.hermes(["bundle", "load", "--write-lock"]).args([bundle]).ok();
    assert_eq!(other.hermes(["--quiet", "--locked", "--offline", "run", "--", "tool"]).ok(), "kept fast wrapped");
    assert_consistent(other.store(), "after the bundle");
}

#[test]
fn files_of_the_host_need_consent() {
    let Some(world) = TestContext::fixtures() else { return };
    let archive = world.path().join("tool.whl");
    fs::write(&archive, wheel("of the host")).unwrap();
    let url = format!("url = 'file://{}'", archive.display());
    world.write("hermes.toml", &definition("").replace("url = 'pypi:Tool==1'", &url));
    let key = format!("toolchains.own.source.tool.url: read {}", archive.display());
    world.hermes(["run", "--", "tool"]).output().refused(2, &[&key]);
    assert_eq!(world.hermes(["--quiet", "--allow-project", "run", "--", "tool"]).ok(), "of the host fast wrapped");
    let lock = world.read("hermes.lock");
    assert!(!lock.contains("tool.whl"), "{lock}");
}

#[test]
fn there_are_no_mounts_without_namespaces() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("hermes.toml", &definition(""));
    let words = ["run", "--isolation", "landlock", "--", "tool"];
    world.hermes(words).output().refused(2, &["a toolchain that mounts sources", "--isolation landlock"]);
}
