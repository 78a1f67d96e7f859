//! Invalid input: the error says what is wrong and what to do, and leaves nothing incomplete in the store.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use hermes::testing::digest::Digest;
use hermes::testing::oci;

use crate::support::context::{MIN, TestContext};
use crate::support::elf::{Machine, program, tiny};
use crate::support::fake_registry::FakeRegistry;
use crate::support::image::{Codec, Content, layer, noise};

/// A layout of the tiny image, to be damaged.
fn layout(world: &TestContext) -> PathBuf {
    let path = world.path().join("layout");
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    tiny("good").write_layout(&path);
    path
}

/// The blobs of a layout, largest first.
fn blobs(layout: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut blobs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    blobs.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    blobs
}

/// Nothing can be seen of an image, and nothing is on its way.
fn nothing_published(world: &TestContext) {
    for directory in ["refs", "layers", "tmp"] {
        assert_eq!(world.stored(directory), Vec::<String>::new(), "{directory}");
    }
    assert_eq!(world.json(&["images"]), json!([]));
}

#[test]
fn damaged_layouts() {
    let scratch = TestContext::empty();
    let count = blobs(&layout(&scratch)).len();
    assert!(count >= 7, "{count} blobs");
    // Each blob in turn: another byte; a byte too few; a byte too many; gone.
    for at in 0..count {
        for damage in ["digest", "short", "long", "gone"] {
            let world = TestContext::empty();
            let layout = layout(&world);
            let blob = &blobs(&layout)[at];
            let mut bytes = fs::read(blob).unwrap();
            match damage {
                "digest" => bytes[10] ^= 1,
                "short" => drop(bytes.pop()),
                _ => bytes.push(0),
            }
            fs::write(blob, &bytes).unwrap();
            if damage == "gone" {
                fs::remove_file(blob).unwrap();
            }
            let import = || world.hermes(["import", "--name", "test.invalid/bad:1"]).args([&layout]).output();
            let output = import();
            // A manifest that is gone makes the layout a sparse one, which is allowed.
            if damage == "gone" && output.code() == 0 {
                continue;
            }
            let hex = blob.file_name().unwrap().to_str().unwrap();
            output.refused(3, &[&hex[..12]]);
            nothing_published(&world);
            // What was in order may have stayed; it does no harm to the whole layout.
            self::layout(&world);
            import().exits(0);
            assert_eq!(world.json(&["images"]).as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn what_is_no_layout() {
    let world = TestContext::empty();
    let import = |path: &Path| world.hermes(["import"]).args([path]).output();
    import(Path::new("/no/such/path")).refused(1, &["/no/such/path"]);
    import(&world.work()).refused(3, &["is not an image archive or layout", "hint: "]);
    let file = world.write("file", "this is no archive, though it is long enough to be looked at\n");
    import(&file).refused(3, &["hint: "]);
    for (name, text, code, part) in [
        ("oci-layout", "{}", 3, "oci-layout"),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#, 3, "version 1"),
        ("index.json", "not json", 3, "index.json"),
        ("index.json", r#"{"schemaVersion":2,"manifests":[]}"#, 3, "no image"),
    ] {
        let layout = layout(&world);
        fs::write(layout.join(name), text).unwrap();
        import(&layout).refused(code, &[part]);
    }
    // A layout whose image is called "1" only.
    import(&layout(&world)).refused(2, &["cannot name the images in", "--name"]);
    nothing_published(&world);
}

#[test]
fn manifest_and_index_confused() {
    let world = TestContext::empty();
    let import = |content: &Content, change: &dyn Fn(&mut Value)| {
        let layout = world.path().join("confused");
        let _ = fs::remove_dir_all(&layout);
        content.write_layout(&layout);
        let mut index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        change(&mut index);
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        world.hermes(["import", "--name", "test.invalid/confused:1"]).args([&layout]).output()
    };
    // The descriptor says manifest, the document is an index, and the other way round.
    let content = tiny("x");
    import(&content, &|index| index["manifests"][0]["mediaType"] = oci::MANIFEST.into()).refused(3, &["invalid"]);
    let mut single = Content::default();
    let manifest = single.image(("linux", "amd64", None), &[layer(Codec::Plain, &[("bin/x", b"x")])]);
    let single = single.tag("1", &manifest);
    import(&single, &|index| index["manifests"][0]["mediaType"] = oci::INDEX.into()).refused(3, &["invalid"]);
    // A document that is both at once.
    let mut both = single.clone();
    let bytes = &both.manifests[&manifest.digest].1;
    let mut document: Value = serde_json::from_slice(bytes).unwrap();
    document["manifests"] = json!([manifest]);
    let chimera = both.manifest(oci::MANIFEST, document.to_string().into_bytes());
    import(&both.tag("1", &chimera), &|_| ()).refused(3, &["invalid"]);
    nothing_published(&world);
    import(&single, &|_| ()).exits(0);
}

#[test]
fn a_layer_that_does_not_unpack_to_its_diff_id() {
    let Some(world) = TestContext::sandbox() else { return };
    let mut content = Content::default();
    let honest = layer(Codec::Gzip, &[("bin/tool", b"x")]);
    let manifest = content.image(("linux", "amd64", None), std::slice::from_ref(&honest));
    // The same image with another diff id in its config.
    let document: Value = serde_json::from_slice(&content.manifests[&manifest.digest].1).unwrap();
    let digest: Digest = document["config"]["digest"].as_str().unwrap().parse().unwrap();
    let config = String::from_utf8(content.blobs[&digest].clone()).unwrap();
    let config = config.replace(&honest.diff_id().to_string(), &Digest::of(b"other").to_string());
    let config = content.blob("application/vnd.oci.image.config.v1+json", config.into_bytes());
    let liar =
        json!({ "schemaVersion": 2, "mediaType": oci::MANIFEST, "config": config, "layers": document["layers"] });
    let liar = content.manifest(oci::MANIFEST, liar.to_string().into_bytes());
    let _ = world.import(&content.tag("1", &liar), "test.invalid/liar:1");
    let output = world.hermes(["run", "--image", "test.invalid/liar:1", "--", "tool"]).output();
    output.refused(3, &[&Digest::of(b"other").hex()[..12]]);
    assert_eq!(world.stored("layers"), Vec::<String>::new());
    assert_eq!(world.stored("tmp"), Vec::<String>::new());
}

#[test]
fn volumes_that_cannot_be() {
    let Some(world) = TestContext::fixtures() else { return };
    for (volume, part) in [
        ("/no/such/path:/x", "/no/such/path"),
        ("missing:/x", "missing"),
        ("/etc:relative", "absolute"),
        ("/etc:/x:rx", "ro or rw"),
        ("/etc:/a:ro:b", "too many colons"),
        ("", "absolute"),
    ] {
        let output = world.sh(&["-v", volume], "echo ran").output();
        output.refused(2, &["cannot mount", part, "hint: -v expects SOURCE:TARGET[:ro]"]);
    }
    // A directory over a file, a file over a directory.
    world.write("../file", "x");
    let file = world.path().join("file").display().to_string();
    for volume in [format!("{file}:/usr"), format!("{}:/etc/passwd", world.path().join("home").display())] {
        world
            .sh(&["-v", &volume], "echo ran")
            .output()
            .refused(125, &["mounting a file or directory of the host", "hint: "]);
    }
}

#[test]
fn a_current_directory_that_cannot_be_work() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = |script: &str| world.sh(&[], "echo ran").under(&["sh", "-c", script, "sh"]).output();
    fs::create_dir(world.work().join("closed")).unwrap();
    run("cd closed && chmod 0 . && exec \"$@\"").refused(
        125,
        &["cannot use the current directory as /work", "Permission denied", "hint: change to a directory"],
    );
    run("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"")
        .refused(125, &["cannot use the current directory as /work", "hint: "]);
    fs::set_permissions(world.work().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    // One that is only readable is fine to read from.
    fs::write(world.work().join("closed/file"), "read").unwrap();
    let output = world
        .sh(&[], "cat file; echo x >new")
        .under(&["sh", "-c", "cd closed && chmod 555 . && exec \"$@\"", "sh"])
        .output();
    fs::set_permissions(world.work().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.exits(2).text(), "read");
    assert!(output.stderr.contains("Permission denied"), "{}", output.stderr);
}

#[test]
fn a_foreign_image_without_an_emulator() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("foreign"), "test.invalid/tiny:1");
    let run = || world.hermes(["run", "--image", "test.invalid/tiny:1", "-p", "arm64", "--", "tool"]);
    let output = run().env("PATH", "/no/where").output();
    output.refused(
        125,
        &[
            "programs for linux-aarch64 need an emulator",
            "hint: install the package qemu-user-static",
            "[emulator] linux-aarch64 =",
            "--toolchain dockcross --platform linux-aarch64",
        ],
    );
    // Native platforms need none.
    assert_eq!(
        world.hermes(["run", "--image", "test.invalid/tiny:1", "--", "tool"]).env("PATH", "/no/where").ok(),
        "foreign amd64"
    );
    // One that is not fit to be one: a script, and a program that needs the host's libraries.
    let bin = world.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("qemu-aarch64-static"), "#!/bin/sh\n").unwrap();
    run()
        .env("PATH", &bin)
        .output()
        .refused(3, &["qemu-aarch64-static as an emulator", "hint: install a static build"]);
    fs::copy("/bin/sh", bin.join("qemu-aarch64-static")).unwrap();
    run().env("PATH", &bin).output().refused(3, &["dynamically linked"]);
    world.configure("[emulator]\narm64 = '/no/such/qemu'\n");
    run().output().refused(125, &["/no/such/qemu"]);
    assert!(
        !world.image_lock("test.invalid/tiny:1").exists()
            || !fs::read_to_string(world.image_lock("test.invalid/tiny:1")).unwrap().contains("arm64")
    );
    // Named in the configuration, a good one is found wherever it is.
    if crate::support::context::emulation() {
        fs::copy("/usr/bin/qemu-aarch64-static", bin.join("my-emulator")).unwrap();
        world.configure(&format!("[emulator]\narm64 = '{}'\n", bin.join("my-emulator").display()));
        assert_eq!(run().env("PATH", "/no/where").ok(), "foreign arm64");
    }
}

#[test]
fn user_namespaces_forbidden() {
    let Some(world) = TestContext::fixtures() else { return };
    // In a namespace of the test's own, root may forbid further ones.
    let forbid = ["unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"", "sh"];
    let output = world.sh(&[], "echo ran").under(&forbid).output();
    output.refused(
        125,
        &[
            "does not allow unprivileged user namespaces",
            "hint: user.max_user_namespaces is 0",
            "sysctl user.max_user_namespaces=",
            "hermes doctor",
        ],
    );
    let output = world.hermes(["doctor"]).under(&forbid).output();
    let text = output.exits(1).text();
    assert!(text.contains("NO  user namespace") && text.contains("sysctl user.max_user_namespaces="), "{text}");
    assert!(text.ends_with("nothing runs here yet"), "{text}");
}

#[test]
fn a_store_that_is_full() {
    let Some(world) = TestContext::sandbox() else { return };
    let mut content = Content::default();
    let big = layer(Codec::Zstd, &[("bin/tool", &program(Machine::Amd64, "full\n", 0)), ("big", &noise(3_000_000))]);
    let manifest = content.image(("linux", "amd64", None), &[big]);
    let layout = world.path().join("full");
    content.tag("1", &manifest).write_layout(&layout);
    let fake = FakeRegistry::serve(content_of(&layout), |_, _, reply| reply);
    let image = format!("{}/x/full:1", fake.host());
    fs::create_dir(world.store()).unwrap();
    // A small file system as the store, in a namespace of the test's own; afterwards what it holds.
    let script = "mount -t tmpfs -o size=$0 tmpfs \"$HERMES_STORE\"; \"$@\"; echo code $?; cd \"$HERMES_STORE\"; find refs layers tmp trash -mindepth 1; df --output=pcent . | tail -n 1";
    let store =
        |size: &str, words: &[&str]| world.hermes(words).under(&["unshare", "-Urm", "sh", "-c", script, size]).output();
    for size in ["1m", "2m", "4m"] {
        for words in [
            &["import", "--name", "x.y/full:1", layout.to_str().unwrap()][..],
            &["pull", &image],
            &["run", "--image", &image, "--", "tool"],
        ] {
            let output = store(size, words);
            // 4 MB hold the blob, but not the unpacked layer too: importing alone is then done.
            if size == "4m" && words[0] == "import" {
                assert!(output.text().contains("code 0"), "{}{}", output.text(), output.stderr);
                continue;
            }
            let text = output.text();
            let code = if words[0] == "run" { "code 125" } else { "code 1" };
            assert_eq!(text.lines().next(), Some(code), "{size} {words:?}: {text}{}", output.stderr);
            assert_eq!(text.lines().count(), 2, "left behind by {words:?} with {size}: {text}");
            // A layer with no room for its blob is not begun.
            let full = ["No space left on device", "has space for only"];
            assert!(full.iter().any(|part| output.stderr.contains(part)), "{}", output.stderr);
            for part in ["error: ", "hint: free space", "HERMES_STORE"] {
                assert!(output.stderr.contains(part), "no {part} in {}", output.stderr);
            }
        }
    }
    let output = store("16m", &["run", "--image", &image, "--", "tool"]);
    assert!(output.text().starts_with("full\ncode 0"), "{}{}", output.text(), output.stderr);
}

/// What is in a layout, for a registry.
fn content_of(layout: &Path) -> Content {
    let mut content = Content::default();
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    for path in blobs(layout) {
        let bytes = fs::read(path).unwrap();
        if Digest::of(&bytes) == digest {
            let manifest = content.manifest(oci::MANIFEST, bytes);
            content = content.tag("1", &manifest);
        } else {
            content.blob("", bytes);
        }
    }
    content
}

#[test]
fn a_store_that_cannot_be_one() {
    let Some(world) = TestContext::fixtures() else { return };
    let images = |store: &Path| world.hermes(["images"]).env("HERMES_STORE", store).output();
    images(Path::new("/proc/no")).refused(1, &["/proc/no"]);
    let closed = world.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    images(&closed.join("store")).refused(1, &["cannot create", "Permission denied"]);
    // A directory that holds something else is not touched.
    world.write("precious", "x");
    images(&world.work()).refused(1, &["is not a store", "'precious'", "hint: set HERMES_STORE"]);
    assert_eq!(fs::read_dir(world.work()).unwrap().count(), 1);
    // Nor are its modes found fault with, as if it were one: / has such a directory too.
    images(Path::new("/")).refused(1, &["is not a store", "hint: set HERMES_STORE"]);
    // A store of a later hermes.
    let later = world.path().join("later");
    fs::create_dir(&later).unwrap();
    fs::write(later.join("VERSION"), "99\n").unwrap();
    images(&later).refused(1, &["unsupported store version '99'", "hint: use the hermes that wrote it"]);
    world.sh(&["--store", "/proc/no"], "true").output().refused(125, &["/proc/no"]);
}

#[test]
fn wrong_usage_is_2_and_names_the_word() {
    let world = TestContext::empty();
    for (words, part) in [
        (&["run", "--net", "bridge", "--", "x"][..], "bridge"),
        (&["run", "--nonsense"], "--nonsense"),
        (&["frobnicate"], "frobnicate"),
        (&["rm"], "REF"),
        (&["inspect", "not a name"], "not a name"),
        (&["run", "--image", "a:b:c", "--", "x"], "a:b:c"),
        (&["run", "--image", MIN, "--toolchain", "debian", "--", "x"], "--toolchain"),
        (&["--mirror", "nonsense", "images"], "NAME=VALUE"),
    ] {
        let output = world.hermes(words).output();
        assert!(output.exits(2).stderr.contains(part), "{words:?}: {}", output.stderr);
        assert!(output.stdout.is_empty());
    }
    // No words at all: the help, as an error.
    let output = world.hermes(&[] as &[&str]).output();
    assert!(output.exits(2).stderr.contains("Usage: hermes"), "{}", output.stderr);
}
