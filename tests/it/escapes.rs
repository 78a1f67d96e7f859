//! Control characters in names and texts from outside are escaped before they reach the terminal.

use std::fs;

use hermes::testing::digest::Digest;
use hermes::testing::visible::is_hidden;
use serde_json::{Value, json};

use crate::support::context::TestContext;
use crate::support::image::{Codec, Content, layer};
use crate::support::process::Output;

/// A title, a colour in eight bits, another direction of writing, a line that looks like one of hermes'.
const HOSTILE: &str = "e\u{1b}]0;TITLE\u{7}\u{9b}31m\u{202e}vil\nhint: all is well";
/// The same in a string of TOML.
const IN_TOML: &str = "e\\u001b]0;TITLE\\u0007\\u009b31m\\u202evil\\nhint: all is well";

#[track_caller]
fn assert_plain(output: &Output, what: &str) {
    let text = format!("{}\n{}", output.text(), output.stderr);
    assert!(!text.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line == "hint: all is well" || line.starts_with("hint: all")), "{what}: {text}");
    assert!(text.contains("TITLE"), "{what} does not show it: {text}");
}

#[test]
fn a_project() {
    let world = TestContext::empty();
    let toolchain = |name: &str| {
        format!(
            "[toolchains.\"{name}\"]\ndescription = \"{IN_TOML}\"\nnative = {{ image = 'a/b', tools = [\"{IN_TOML}\"] }}\n\
             [toolchains.\"{name}\".platform.linux-x86_64]\nimage = 'a/b:1'\n"
        )
    };
    world.write("hermes.toml", &format!("toolchain = 'own'\n{}{}", toolchain("own"), toolchain(IN_TOML)));
    for words in [
        &["toolchain", "show", "own"][..],
        &["toolchain", "show", HOSTILE],
        &["toolchain", "list"],
        &["run", "-t", "nosuch", "--", "true"],
        &["--offline", "run", "-t", HOSTILE, "-p", "arm64", "--", "true"],
    ] {
        assert_plain(&world.hermes(words).output(), &words.join(" "));
    }
    // JSON stays JSON, and says the same.
    let output = world.hermes(["toolchain", "show", HOSTILE, "--json"]).output();
    assert_plain(&output, "json");
    let shown: Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!((&shown["name"], &shown["description"]), (&HOSTILE.into(), &HOSTILE.into()));
}

#[test]
fn places_of_sources() {
    let world = TestContext::empty();
    let digest = Digest::of(b"right").hex();
    let mirror = world.work().join(HOSTILE);
    fs::create_dir_all(mirror.join("sha256")).unwrap();
    fs::write(mirror.join("sha256").join(&digest), "wrong").unwrap();
    let source = "url = 'https://127.0.0.1:1/x'";
    world.write("hermes.toml", &format!("[source.x]\n{source}\nsha256 = '{digest}'\nmirrors = [\"{IN_TOML}\"]\n"));
    let output = world.hermes(["--verbose", "source", "fetch"]).output();
    output.exits(3);
    assert_plain(&output, "a mirror");
    world.write("hermes.toml", &format!("[source.x]\n{source}\nmirrors = [\"/nowhere/{IN_TOML}\"]\n"));
    let output = world.hermes(["source", "fetch"]).output();
    output.exits(2);
    assert_plain(&output, "what is asked");
    assert_plain(&world.hermes(["allow"]).output(), "what is allowed");
    assert_plain(&world.hermes(["allow", "--list"]).output(), "the list of what is allowed");
    // A name of the directory itself.
    let project = world.path().join(HOSTILE);
    fs::create_dir(&project).unwrap();
    fs::write(project.join("hermes.toml"), "[build]\nnet = 'host'\n").unwrap();
    assert_plain(&world.hermes(["run", "--", "true"]).dir(&project).output(), "a directory");
}

#[test]
fn an_image() {
    let world = TestContext::empty();
    let mut content = Content::default();
    let settings = json!({ "Labels": { HOSTILE: HOSTILE }, "Env": [format!("A={HOSTILE}")], "Cmd": [HOSTILE] });
    let honest = content.image_with(("linux", "amd64", None), &[layer(Codec::Gzip, &[("a", b"a")])], &settings);
    let (media_type, bytes) = content.manifests.remove(&honest.digest).unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["layers"][0]["mediaType"] = format!("application/vnd.oci.image.layer.{HOSTILE}.tar").into();
    let manifest = content.manifest(&media_type, manifest.to_string().into_bytes());
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/x:1");
    for words in [
        &["inspect", "test.invalid/x:1"][..],
        &["inspect", "test.invalid/x:1", "--json"],
        &["run", "--image", "test.invalid/x:1"],
    ] {
        let output = world.hermes(words).output();
        assert_plain(&output, &words.join(" "));
        if words.contains(&"--json") {
            let shown: Value = serde_json::from_str(&output.text()).unwrap();
            assert_eq!(shown["config"]["config"]["Cmd"][0], HOSTILE);
        }
    }
}
