//! Layers of other tools, and layers made to be expensive.

use serde_json::json;

use tar::EntryType;

use crate::image_config::debian;
use crate::support::context::TestContext;
use crate::support::elf::{Machine, program};
use crate::support::image::{Codec, Content, Layer, layer, pack};

const HOST: (&str, &str, Option<&str>) = ("linux", "amd64", None);

/// A layer of hard links: their names and targets.
fn hard_links(links: &[(&str, &str)]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o644);
        // As bazel's rules_img writes it: the size of the file, and no content.
        header.set_size(4242);
        tar.append_link(&mut header, name, target).unwrap();
    }
    pack(Codec::Gzip, tar.into_inner().unwrap())
}

fn image(world: &TestContext, name: &str, layers: &[Layer]) -> String {
    let mut content = Content::default();
    let manifest = content.image(HOST, layers);
    let name = format!("test.invalid/layers/{name}:1");
    let _ = world.import(&content.tag("1", &manifest), &name);
    name
}

#[test]
fn links_to_files_of_layers_below() {
    let Some(world) = TestContext::fixtures() else { return };
    let below = layer(Codec::Gzip, &[("opt/tool", b"the tool"), ("opt/other", b"another")]);
    let links = hard_links(&[("opt/link", "opt/tool"), ("usr/again", "opt/link"), ("opt/echo", "/usr/bin/echo")]);
    let above = layer(Codec::Gzip, &[("opt/tool", b"a new tool")]);
    let name = image(&world, "lower", &[debian(), below, links, above]);
    let script =
        "cat /opt/link; echo; cat /opt/tool; echo; stat -c %i /opt/link /usr/again | uniq | wc -l; /opt/echo hi";
    let expected = "the tool\na new tool\n1\nhi";
    for options in [&[][..], &["--rootfs", "merged"], &["--root"]] {
        let run = [&["run", "--image", &name], options, &["--", "sh", "-c", script]].concat();
        assert_eq!(world.hermes(run).ok(), expected, "{options:?}");
    }
    // What the store says of it, and what leaves it.
    world.hermes(["verify", &name]).output().exits(0);
    let file = world.path().join("image.tar");
    for format in ["oci", "docker-archive"] {
        let _ = std::fs::remove_file(&file);
        world.hermes(["export", "--format", format, &name]).args([&file]).output().exits(0);
        let other = TestContext::fixtures().unwrap();
        let store = other.path().join("another");
        let other = |words: &[&str]| other.hermes(["--store", store.to_str().unwrap()]).args(words).output();
        other(&["import", "--name", "test.invalid/again:1", file.to_str().unwrap()]).exits(0);
        let output = other(&["run", "--image", "test.invalid/again:1", "--", "sh", "-c", script]);
        assert_eq!(output.exits(0).text().trim_end(), expected, "{format}");
    }
}

#[test]
fn a_link_to_nothing_below_is_refused() {
    let Some(world) = TestContext::fixtures() else { return };
    let below = layer(Codec::Gzip, &[("opt/tool", b"the tool")]);
    let nothing = &["is refused: its hard link target", "is not an earlier file of this layer or of one below"];
    for (name, layers) in [
        ("nothing", vec![debian(), below.clone(), hard_links(&[("opt/link", "opt/none")])]),
        ("directory", vec![debian(), below.clone(), hard_links(&[("opt/link", "opt")])]),
        ("circle", vec![debian(), hard_links(&[("a", "b"), ("b", "a")])]),
        ("above", vec![debian(), hard_links(&[("link", "opt/tool")]), below]),
        ("alone", vec![hard_links(&[("link", "opt/tool")])]),
    ] {
        let name = image(&world, name, &layers);
        world.hermes(["run", "--image", &name, "--", "true"]).output().refused(3, nothing);
    }
}

#[test]
fn a_path_without_end_is_refused() {
    let Some(world) = TestContext::fixtures() else { return };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, "x/".repeat(2000) + "f", &b""[..]).unwrap();
    let name = image(&world, "deep", &[debian(), pack(Codec::Gzip, tar.into_inner().unwrap())]);
    world
        .hermes(["run", "--image", &name, "--", "true"])
        .output()
        .refused(3, &["its path has more than 256 components"]);
}

#[test]
fn what_unpacks_to_too_much_can_be_allowed() {
    let Some(world) = TestContext::fixtures() else { return };
    // The store is that of earlier tests too, and must not have the layer yet.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos().to_string();
    let zeros = layer(Codec::Zstd, &[("opt/zeros", &vec![0; 8 << 20]), ("opt/now", now.as_bytes())]);
    assert!(zeros.blob.len() < 10_000, "{} bytes", zeros.blob.len());
    let name = image(&world, "zeros", &[debian(), zeros]);
    let run = ["run", "--image", &name, "--", "stat", "-c", "%s", "/opt/zeros"];
    let refusal =
        ["it unpacks to more than 1M, and to more than 200 times its size", "raise the limit: --unpack-limit SIZE"];
    world.hermes(["--unpack-limit", "1M"]).args(run).output().refused(125, &refusal);
    world.configure("unpack-limit = '1M'\n");
    world.hermes(run).output().refused(125, &refusal);
    world.configure("unpack-limit = '20M'\n");
    assert_eq!(world.hermes(run).ok(), format!("{}", 8 << 20));
}

#[test]
fn more_variables_than_a_program_takes() {
    let Some(world) = TestContext::fixtures() else { return };
    let variables: Vec<_> = (0..300_000).map(|at| format!("V{at:06}=x")).collect();
    let mut content = Content::default();
    let manifest = content.image_with(HOST, &[debian()], &json!({ "Env": variables }));
    let name = "test.invalid/layers/variables:1";
    let _ = world.import(&content.tag("1", &manifest), name);
    let output = world.hermes(["run", "--image", name, "--", "true"]).output();
    output.refused(126, &["Argument list too long"]);
}

#[test]
fn as_many_layers_as_an_image_may_have() {
    let Some(world) = TestContext::sandbox() else { return };
    let many = |count: usize| {
        let tool = program(Machine::Amd64, "many\n", 0);
        let mut layers = vec![layer(Codec::Plain, &[("bin/tool", &tool)])];
        layers.extend((1..count).map(|n| layer(Codec::Plain, &[(&format!("layer/{n}"), b"x")])));
        let mut content = Content::default();
        let manifest = content.image(("linux", "amd64", None), &layers);
        content.tag("1", &manifest)
    };
    // More than an overlay takes are merged.
    for (count, merged) in [(500, 0), (501, 1)] {
        let name = format!("test.invalid/many:{count}");
        let _ = world.import(&many(count), &name);
        assert_eq!(world.hermes(["run", "--image", &name, "--", "tool"]).ok(), "many");
        assert_eq!(world.stored("roots").len(), merged);
    }
    let layout = world.path().join("layout");
    many(2001).write_layout(&layout);
    let output = world.hermes(["import", "--name", "test.invalid/many:2"]).args([&layout]).output();
    assert_ne!(output.code(), 0, "one more is refused, not tried");
    assert!(output.stderr.contains("2000"), "{}", output.stderr);
}

#[test]
fn the_same_layer_twice_and_an_image_without_layers() {
    let Some(world) = TestContext::sandbox() else { return };
    let twice = layer(Codec::Gzip, &[("bin/tool", &program(Machine::Amd64, "twice\n", 0))]);
    let between = layer(Codec::Gzip, &[("bin/tool", &program(Machine::Amd64, "between\n", 0))]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[twice.clone(), between, twice]);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/twice:1");
    assert_eq!(world.hermes(["run", "--image", "test.invalid/twice:1", "--", "tool"]).ok(), "twice");
    // An image of no layers has an empty root, or is refused: in no case a crash.
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[]);
    let layout = world.path().join("layout");
    content.tag("1", &manifest).write_layout(&layout);
    let imported = world.hermes(["import", "--name", "test.invalid/empty:1"]).args([&layout]).output();
    if imported.code() == 0 {
        let output = world.hermes(["run", "--image", "test.invalid/empty:1", "--", "tool"]).output();
        assert!([3, 125, 127].contains(&output.code()), "{}", output.stderr);
        assert!(output.stderr.starts_with("error: ") || output.stderr.contains("\nerror: "), "{}", output.stderr);
    }
}
