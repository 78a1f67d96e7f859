//! `Entrypoint`, `Cmd`, `Env`, `User` and `WorkingDir` of an image, as the OCI image specification defines them.

use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use hermes::testing::oci::Document;

use crate::support::context::{TestContext, fixtures};
use crate::support::image::{Codec, Content, Layer, layer, links};
use crate::support::kernel::{self, HOSTS};

/// The only layer of the small Debian, without its bytes: the store has them.
pub fn debian() -> Layer {
    let layout = fixtures().unwrap().join("images/min");
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap()
    };
    let manifest = blob(&index["manifests"][0]);
    let Document::Manifest(manifest) = Document::parse(&manifest, None).unwrap() else { panic!("an index") };
    let config: Value = serde_json::from_slice(&blob(&json!({ "digest": manifest.config.digest }))).unwrap();
    let diff_id = config["rootfs"]["diff_ids"][0].as_str().unwrap().parse().unwrap();
    Layer::known(manifest.layers[0].clone(), diff_id)
}

/// Debian with `passwd` and this config, in the shared store.
pub fn image(world: &TestContext, name: &str, config: &Value) -> String {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1235::/home/worker:/bin/sh\n";
    let group = "root:x:0:\nworker:x:1235:\nstaff:x:50:\n";
    let files = [("etc/passwd", passwd.as_bytes()), ("etc/group", group.as_bytes()), ("src/file", b"in the image")];
    let mut content = Content::default();
    let manifest = content.image_with(("linux", "amd64", None), &[debian(), layer(Codec::Gzip, &files)], config);
    let name = format!("test.invalid/config/{name}:1");
    let _ = world.import(&content.tag("1", &manifest), &name);
    name
}

#[test]
fn entrypoint_and_cmd() {
    let Some(world) = TestContext::fixtures() else { return };
    let both = image(&world, "both", &json!({ "Entrypoint": ["/bin/echo", "entry"], "Cmd": ["cmd", "two words"] }));
    let cmd = image(&world, "cmd", &json!({ "Cmd": ["/bin/sh", "-c", "echo from cmd"] }));
    let run = |words: &[&str]| world.hermes([&["run"], words].concat()).ok();
    assert_eq!(run(&["--image", &both]), "entry cmd two words");
    assert_eq!(run(&["--image", &both, "--", "own", "-x"]), "entry own -x");
    assert_eq!(run(&["--image", &both, "--entrypoint", "/bin/pwd"]), "/work");
    assert_eq!(run(&["--image", &both, "--entrypoint", "echo", "--", "a", "b"]), "a b");
    assert_eq!(run(&["--image", &both, "--entrypoint", "", "--", "echo", "c"]), "c");
    assert_eq!(run(&["--image", &cmd]), "from cmd");
    assert_eq!(run(&["--image", &cmd, "--", "echo", "own"]), "own");
    let none = image(&world, "none", &json!({}));
    for words in [&["run", "--image", &none][..], &["run", "--image", &both, "--entrypoint", ""]] {
        world.hermes(words).output().refused(2, &["no command given", "hint: name a command"]);
    }
}

#[test]
fn a_missing_entrypoint_is_127() {
    let Some(world) = TestContext::fixtures() else { return };
    let name = image(&world, "missing", &json!({ "Entrypoint": ["/entry.sh"] }));
    world.hermes(["run", "--image", &name, "--", "x"]).output().refused(127, &["command not found: /entry.sh"]);
}

#[test]
fn variables_of_the_image() {
    let Some(world) = TestContext::fixtures() else { return };
    let env = ["PATH=/opt/tools:/usr/bin:/bin", "CC=gcc", "EMPTY=", "TWO=a=b", "NOVALUE", "=odd"];
    let name = image(&world, "env", &json!({ "Env": env }));
    let text = world.hermes(["run", "--image", &name, "-e", "CC=clang", "--", "env"]).ok();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "CC=clang",
            "EMPTY=",
            "HOME=/home/builder",
            "LANG=C.UTF-8",
            "PATH=/opt/tools:/usr/bin:/bin",
            "SOURCE_DATE_EPOCH=315619200",
            "TWO=a=b",
            "TZ=UTC"
        ]
    );
    // A command is looked for on the image's PATH, not on the caller's.
    let name = image(&world, "search-path", &json!({ "Env": ["PATH=/nowhere"] }));
    world.hermes(["run", "--image", &name, "--", "true"]).output().refused(127, &["true"]);
}

#[test]
fn user_by_name_and_number() {
    let Some(world) = TestContext::fixtures() else { return };
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    for (name, user, ids, home) in [
        ("named", "worker", (1234, 1235), "/home/worker"),
        ("number", "1234", (1234, 1235), "/home/worker"),
        ("pair", "worker:staff", (1234, 50), "/home/worker"),
        ("numbers", "4321:99", (4321, 99), "/home/builder"),
        ("root", "root", (1000, 1000), "/home/builder"),
        ("zero", "0:0", (1000, 1000), "/home/builder"),
    ] {
        let image = image(&world, name, &json!({ "User": user }));
        let text = world
            .hermes(["run", "--image", &image, "--", "sh", "-c", "id -u; id -g; echo $HOME; echo x >/work/made"])
            .ok();
        assert_eq!(text, format!("{}\n{}\n{home}", ids.0, ids.1), "{user}");
        // Whoever one is inside, the file is the caller's outside.
        let made = std::fs::metadata(world.work().join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), own, "{user}");
        std::fs::remove_file(world.work().join("made")).unwrap();
        assert_eq!(world.hermes(["run", "--root", "--image", &image, "--", "id", "-u"]).ok(), "0");
    }
    for (name, user, what) in [("stranger", "nobody-knows", "nobody-knows"), ("huge", "4294967296", "4294967296")] {
        let image = image(&world, name, &json!({ "User": user }));
        world.hermes(["run", "--image", &image, "--", "true"]).output().refused(125, &[what, "hint: run as user 0"]);
    }
}

#[test]
fn working_directory() {
    let Some(world) = TestContext::fixtures() else { return };
    for (name, directory, want) in [
        ("w1", "/src", "/src"),
        ("w2", "/not/there", "/not/there"),
        ("w3", "/", "/work"),
        ("w4", "", "/work"),
        ("w6", "/work/../../../home", "/home"),
        ("w7", "/src/./../new/../x/.", "/x"),
    ] {
        let image = image(&world, name, &json!({ "WorkingDir": directory }));
        let run = |options: &[&str]| {
            world.hermes([&["run", "--image", &image], options, &["--", "sh", "-c", "pwd; test -w ."]].concat())
        };
        assert_eq!(run(&[]).output().text(), want, "{directory}");
        assert_eq!(run(&["-w", "/tmp"]).ok(), "/tmp");
        assert_eq!(run(&["-w", "src/../sub/.."]).output().text(), "/", "{directory}");
    }
    // Nothing was made in the project on the way.
    let names: Vec<_> = std::fs::read_dir(world.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.is_empty(), "{names:?}");
    let image = image(&world, "w5", &json!({ "WorkingDir": "/src" }));
    assert_eq!(world.hermes(["run", "--image", &image, "--", "cat", "file"]).ok(), "in the image");
}

#[test]
fn t22_hostile_image_config() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = |name: &str, config: &Value, script: &str| {
        let image = image(&world, name, config);
        world.hermes(["run", "--image", &image, "--", "sh", "-c", script]).output()
    };
    // A directory by a descriptor that a careless runtime would leak (CVE-2024-21626).
    let config = json!({ "WorkingDir": "/proc/self/fd/7" });
    run("fd", &config, "cd ../../../../..; pwd; ls -d work proc").refused(125, &["directory"]);
    let config = json!({ "WorkingDir": "/proc/self/fd/7/../../.." });
    assert_eq!(run("up", &config, "pwd; cd ../../../../..; pwd; ls -d work proc").ok(), "/proc\n/\nproc\nwork");
    for (name, user) in [("id", "4294967296"), ("minus", "-1"), ("escape", "\u{1b}]0;x\u{7}"), ("path", "../../etc")] {
        let output = run(name, &json!({ "User": user }), "id -u");
        output.refused(125, &["hint: run as user 0"]);
        assert!(!output.stderr.contains(['\u{1b}', '\u{7}']), "{:?}", output.stderr);
    }
    // What the image sets is the command's alone: hermes, its store and its emulator know nothing of it.
    let env = ["LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/evil", "HERMES_STORE=/evil", "HERMES_CONFIG=/evil", "BAD\n=1"];
    let config = json!({ "Env": env, "Volumes": { "/data": {}, "/etc": {}, "../up": {} },
        "Labels": { "label": "\u{1b}[2J\u{7}", "\u{1b}c": "x" }, "ExposedPorts": { "0/tcp": {} }, "StopSignal": "SIGKILL",
        "Healthcheck": { "Test": ["CMD", "/evil"] }, "OnBuild": ["RUN /evil"], "Shell": ["/evil"] });
    let before = world.records().len();
    let output =
        run("everything", &config, "echo $HERMES_STORE; cat /etc/hostname; ls -d /data; mount | grep -c -e /data");
    assert_eq!(output.text(), "/evil\nhermes\n0");
    assert!(world.records().len() > before, "the run was not recorded where it belongs");
    assert!(output.stderr.contains("LD_PRELOAD"), "the dynamic linker says so inside: {}", output.stderr);
    for words in [&["inspect"][..], &["inspect", "--json"]] {
        let text = world.hermes([words, &["test.invalid/config/everything:1"]].concat()).ok();
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
    // 100 MB of groups: refused where they are needed, which is nowhere as root.
    let groups = vec![b'\n'; 100 << 20];
    let mut content = Content::default();
    let layers = [debian(), layer(Codec::Gzip, &[("etc/group", &groups), ("etc/passwd", b"w:x:7:7::/:/bin/sh\n")])];
    let manifest = content.image_with(("linux", "amd64", None), &layers, &json!({ "User": "w:staff" }));
    let name = "test.invalid/config/groups:1";
    let _ = world.import(&content.tag("1", &manifest), name);
    let run =
        |options: &[&str]| world.hermes([&["run", "--image", name], options, &["--", "id", "-u"]].concat()).output();
    run(&[]).refused(125, &["/etc/group", "longer than", "hint: run as user 0"]);
}

#[test]
fn links_of_a_hostile_image_lead_nowhere_else() {
    for host in HOSTS {
        let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
        links_lead_nowhere_else(&world.on(host));
    }
}

fn links_lead_nowhere_else(world: &TestContext) {
    let outside = world.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "outside").unwrap();
    let image = |name: &str, link: &str, target: &str| {
        let mut content = Content::default();
        let layers = [debian(), links(&[(link, target)])];
        let manifest = content.image_with(("linux", "amd64", None), &layers, &json!({}));
        let name = format!("test.invalid/links/{name}:1");
        let _ = world.import(&content.tag("1", &manifest), &name);
        name
    };
    // What the system is mounted over must be the image's own directory.
    for (name, link) in [("proc", "proc"), ("sys", "sys"), ("dev", "dev")] {
        let image = image(name, link, "/etc");
        let output = world.hermes(["run", "--image", &image, "--", "true"]).output();
        output.refused(125, &[&format!("mounting /{link}"), "symbolic links", "which prevents the mount"]);
    }
    // Nor may what the user gives come to lie there, or over the whole root, by a link of the image or of the project.
    for (name, target) in
        [("work-proc", "/proc"), ("work-root", "/"), ("work-dev", "dev/./"), ("work-deep", "/proc/self")]
    {
        let image = image(name, "work", target);
        let output = world.hermes(["run", "--image", &image, "--", "true"]).output();
        output.refused(125, &["/work", "symbolic links"]);
    }
    let plain = image("plain", "somewhere", "/srv");
    std::os::unix::fs::symlink("/proc", world.work().join("way")).unwrap();
    let volume = format!("{}:/work/way", world.path().join("home").display());
    let output = world.hermes(["run", "--image", &plain, "-v", &volume, "--", "true"]).output();
    output.refused(125, &["/work/way", "symbolic links"]);
    std::fs::remove_file(world.work().join("way")).unwrap();
    // If /etc is a link, it is followed inside the root: the files of the run are put where it leads.
    let linked = image("etc", "etc", "/srv");
    let script = "readlink /etc; cat /etc/hostname /srv/hostname; ls /srv";
    assert_eq!(
        world.hermes(["run", "--image", &linked, "--", "sh", "-c", script]).ok(),
        "/srv\nhermes\nhermes\ngroup\nhostname\nhosts\nmtab\npasswd"
    );
    // All else is made, mounted or written inside, wherever a link points.
    let up = format!("../../../../../../../../../../{}", outside.display());
    let absolute = outside.display().to_string();
    for (name, link, target) in [
        ("tmp", "tmp", &absolute),
        ("hermes", ".hermes", &up),
        ("hostname", "etc/hostname", &format!("{absolute}/file")),
        ("hosts", "etc/hosts", &format!("{up}/file")),
        ("work", "work", &absolute),
        ("volume", "data", &up),
    ] {
        let image = image(name, link, target);
        let script = "echo x >/tmp/new; echo x >/data/deep/new; true";
        let volume = format!("{}:/data/deep", world.path().join("home").display());
        let output = world.hermes(["run", "--image", &image, "-v", &volume, "--", "sh", "-c", script]).output();
        assert!([0, 125].contains(&output.code()), "{link}: {}", output.stderr);
        let names: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "{link} leads outside");
        assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "outside", "{link} leads outside");
    }
}
