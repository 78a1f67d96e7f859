//! Images in archives: Docker's own form, pipes, directories, and what other tools make of it all.

use std::fs;
use std::path::Path;

use hermes::digest::Digest;
use serde_json::{Value, json};
use tar::EntryType;

use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, layer};
use crate::support::process::{Output, Run};
use crate::support::world::{World, tool};

const TINY: &str = "test.invalid/tiny:1";

enum Member {
    File(Vec<u8>),
    Symlink(String),
    Hardlink(String),
}

/// An image in Docker's form, to be written as good or as bad as a test needs.
struct Archive(Vec<(String, Member)>);

impl Archive {
    /// As `podman save` and skopeo write it.
    fn new(says: &str, tags: &Value) -> (Self, Digest) {
        let layers = [
            layer(Codec::Plain, &[("bin/tool", &program(Machine::Amd64, &format!("{says}\n"), 0))]).tar,
            layer(Codec::Plain, &[("etc/x", b"x")]).tar,
        ];
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({ "os": "linux", "architecture": "amd64", "config": { "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids }, "docker_version": "x" });
        let config = config.to_string().into_bytes();
        let id = Digest::of(&config);
        let names: Vec<_> = diff_ids.iter().map(|diff_id| format!("{}.tar", diff_id.hex())).collect();
        let manifest = json!([{ "Config": format!("{}.json", id.hex()), "RepoTags": tags, "Layers": names }]);
        let mut members: Vec<_> = names.into_iter().zip(layers.map(Member::File)).collect();
        members.push((format!("{}.json", id.hex()), Member::File(config)));
        members.push(("manifest.json".into(), Member::File(manifest.to_string().into_bytes())));
        (Self(members), id)
    }

    fn manifest(&mut self, change: impl FnOnce(&mut Value)) {
        let Some((_, Member::File(bytes))) = self.0.last_mut() else { panic!() };
        let mut value = serde_json::from_slice(bytes).unwrap();
        change(&mut value);
        *bytes = value.to_string().into_bytes();
    }

    fn write(&self, path: &Path) {
        let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
        for (name, member) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(0);
            match member {
                Member::File(bytes) => {
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, name, &bytes[..]).unwrap();
                }
                Member::Symlink(target) | Member::Hardlink(target) => {
                    let hard = matches!(member, Member::Hardlink(_));
                    header.set_entry_type(if hard { EntryType::Link } else { EntryType::Symlink });
                    tar.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        tar.into_inner().unwrap();
    }
}

/// The digest of an image's config: its id, as Docker calls it.
fn id(world: &World, name: &str) -> String {
    let manifest = world.json(&["inspect", name])["manifest"]["digest"].as_str().unwrap().to_owned();
    let path = world.store().join("blobs/sha256").join(manifest.trim_start_matches("sha256:"));
    let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

fn runs(world: &World, name: &str) -> String {
    world.hermes(["--offline", "run", "--image", name, "--", "tool"]).ok()
}

fn import(world: &World, path: &Path) -> Output {
    world.hermes(["import"]).args([path]).output()
}

#[test]
fn docker_archives_come_in() {
    let Some(world) = World::sandbox() else { return };
    let path = world.path().join("archive.tar");
    let tags = json!(["one:1", "quay.io/two/two:2"]);
    let (mut archive, digest) = Archive::new("plain", &tags);
    archive.write(&path);
    let text = import(&world, &path).ok();
    assert_eq!(text.lines().count(), 2);
    for name in ["one:1", "quay.io/two/two:2"] {
        assert_eq!((runs(&world, name), id(&world, name)), ("plain".into(), digest.to_string()), "{text}");
    }
    // The manifest that hermes writes is always the same.
    assert_eq!(import(&world, &path).ok(), text);
    // Docker before 25: a directory a layer, links to layers that are there already; manifest.json first.
    let old = "0123456789abcdef".repeat(4);
    let shared = archive.0[0].0.clone();
    archive.0.insert(0, (format!("{old}/layer.tar"), Member::Symlink(format!("../{shared}"))));
    archive.0.push(("again/layer.tar".into(), Member::Hardlink(format!("{old}/layer.tar"))));
    archive.0.push(("repositories".into(), Member::File(b"{}".to_vec())));
    let position = archive.0.iter().position(|(name, _)| name == "manifest.json").unwrap();
    let manifest = archive.0.remove(position);
    archive.0.push(manifest);
    archive.manifest(|manifest| manifest[0]["Layers"][0] = "again/layer.tar".into());
    archive.0.rotate_right(1);
    archive.write(&path);
    assert_eq!(import(&world, &path).ok(), text);
    // Through a pipe, compressed.
    let zipped = Run::new("gzip").args(["-c"]).args([&path]).output().stdout;
    assert_eq!(world.hermes(["import", "-"]).input(&zipped).ok(), text);
    assert_eq!(
        world.hermes(["import", "--name", "own/name:3", "-"]).input(&zipped).ok().split(' ').next(),
        Some("docker.io/own/name:3")
    );
    assert_eq!(world.stored("tmp"), Vec::<String>::new());
}

#[test]
fn docker_archives_that_lie_are_refused() {
    let world = World::empty();
    let path = world.path().join("archive.tar");
    let outside = world.write("outside.tar", "outside");
    let refused = |what: &str, code: i32, part: &str, spoil: &dyn Fn(&mut Archive)| {
        let (mut archive, _) = Archive::new("x", &json!(["x:1"]));
        spoil(&mut archive);
        archive.write(&path);
        import(&world, &path).refused(code, &[part]);
        assert_eq!((world.stored("refs"), world.stored("tmp")), (vec![], vec![]), "{what}");
    };
    refused("no layer", 3, "is not in it", &|archive| drop(archive.0.remove(0)));
    refused("other bytes", 3, "should unpack to", &|archive| archive.0[1].1 = Member::File(b"else".to_vec()));
    refused("the wrong order", 3, "should unpack to", &|archive| {
        archive.manifest(|manifest| manifest[0]["Layers"].as_array_mut().unwrap().reverse());
    });
    refused("a layer less", 3, "diff_ids", &|archive| {
        archive.manifest(|manifest| drop(manifest[0]["Layers"].as_array_mut().unwrap().pop()));
    });
    refused("another config", 3, "the content should be", &|archive| {
        archive.0[2].1 = Member::File(br#"{"rootfs":{"diff_ids":[]}}"#.to_vec());
    });
    refused("no manifest", 3, "manifest.json", &|archive| drop(archive.0.pop()));
    refused("no images", 3, "no image", &|archive| archive.manifest(|manifest| *manifest = json!([])));
    refused("no JSON", 3, "manifest.json", &|archive| archive.manifest(|manifest| *manifest = json!("x")));
    refused("no name", 2, "--name", &|archive| archive.manifest(|manifest| manifest[0]["RepoTags"] = Value::Null));
    refused("a bad name", 3, "name", &|archive| archive.manifest(|manifest| manifest[0]["RepoTags"] = json!(["../x"])));
    refused("two of one name", 2, "--name", &|archive| {
        let (other, _) = Archive::new("y", &json!(["x:1"]));
        let Some((_, Member::File(manifest))) = other.0.last() else { panic!() };
        let other_image: Value = serde_json::from_slice(manifest).unwrap();
        archive.manifest(|manifest| manifest.as_array_mut().unwrap().push(other_image[0].clone()));
        let mut members: Vec<_> = other.0.into_iter().take(3).collect();
        members.append(&mut archive.0);
        archive.0 = members;
    });
    // From the top of an archive, ".." leads out of it, even to a name that is there.
    let up = format!("../{}", Archive::new("x", &json!([])).0.0[1].0);
    for target in [
        up,
        outside.display().to_string(),
        "../../../../../../outside.tar".into(),
        "loop.tar".into(),
        String::from(".."),
    ] {
        refused(&target, 3, "is not in it", &|archive| {
            archive.0[0].1 = Member::Symlink(target.clone());
            archive.0.insert(0, ("loop.tar".into(), Member::Symlink("loop.tar".into())));
        });
    }
}

#[test]
fn docker_archives_go_out_and_come_back() {
    let Some(world) = World::sandbox() else { return };
    let _ = world.import(&tiny("out"), TINY);
    let file = world.path().join("out.tar");
    let export = |format: &str, to: &Path| {
        let words = ["export", "--json", TINY, "--format", format];
        let output = world.hermes(words).args([to]).output();
        serde_json::from_str::<Value>(&output.ok()).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let digest = export("docker-archive", &file);
    assert_eq!(digest, id(&world, TINY));
    let other = World::empty();
    import(&other, &file).exits(0);
    assert_eq!((runs(&other, TINY), id(&other, TINY)), ("out amd64".into(), digest.clone()));
    // The same bytes each time, and through a pipe.
    let bytes = fs::read(&file).unwrap();
    assert_eq!(world.hermes(["export", TINY, "-", "--format", "docker-archive"]).output().exits(0).stdout, bytes);
    assert_eq!(other.hermes(["export", TINY, "-", "--format", "docker-archive"]).output().exits(0).stdout, bytes);
    // Of several platforms one is chosen.
    let arm = world.hermes(["export", "--format", "docker-archive", "-p", "arm64", TINY, "-"]).output().stdout;
    assert_ne!(arm, bytes);
    world
        .hermes(["export", "--format", "docker-archive", "-p", "s390x", TINY, "-"])
        .output()
        .refused(1, &["no image for"]);
    // In a layout all digests stay.
    let piped = world.hermes(["export", TINY, "-"]).output().exits(0).stdout.clone();
    let again = World::empty();
    again.hermes(["import", "-"]).input(&piped).ok();
    assert_eq!(again.json(&["inspect", TINY])["top"], world.json(&["inspect", TINY])["top"]);
    let directory = world.path().join("layout");
    export("oci-dir", &directory);
    let again = World::empty();
    import(&again, &directory).exits(0);
    assert_eq!(again.json(&["inspect", TINY])["top"], world.json(&["inspect", TINY])["top"]);
    // A directory with something in it stays as it is.
    let full = world.write("full/file", "mine");
    let full = full.parent().unwrap();
    world.hermes(["export", TINY, "--format", "oci-dir"]).args([full]).output().refused(1, &["cannot write"]);
    assert_eq!(fs::read_dir(full).unwrap().count(), 1);
    world.hermes(["export", TINY, "--format", "oci-dir", "-"]).output().refused(2, &["hint:"]);
    // A blob that is damaged makes no archive.
    let layer = world.json(&["inspect", TINY])["layers"][1]["blob"]["digest"].as_str().unwrap().to_owned();
    let blob = world.store().join("blobs/sha256").join(layer.trim_start_matches("sha256:"));
    let length = fs::metadata(&blob).unwrap().len();
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let broken = world.path().join("broken.tar");
    world.hermes(["export", TINY, "--format", "docker-archive"]).args([&broken]).output().refused(3, &[&layer]);
    assert!(!broken.exists());
}

#[test]
fn skopeo_reads_and_writes_docker_archives() {
    let Some(world) = World::sandbox() else { return };
    if !tool("skopeo") {
        return;
    }
    let _ = world.import(&tiny("skopeo"), TINY);
    let file = world.path().join("out.tar");
    world.hermes(["export", TINY, "--format", "docker-archive"]).args([&file]).ok();
    let skopeo = |words: &[&str]| Run::new("skopeo").args([&["--insecure-policy"], words].concat()).ok();
    let source = format!("docker-archive:{}", file.display());
    let seen: Value = serde_json::from_str(&skopeo(&["inspect", "--config", "--raw", &source])).unwrap();
    assert_eq!(seen, world.json(&["inspect", TINY])["config"]);
    let layout = format!("oci:{}:x", world.path().join("layout").display());
    skopeo(&["copy", "-q", &source, &layout]);
    let copied: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", &layout])).unwrap();
    assert_eq!(copied["layers"].as_array().unwrap().len(), 2);
    // What it writes is read, and is the same image.
    let written = world.path().join("skopeo.tar");
    let to = format!("docker-archive:{}:{TINY}", written.display());
    skopeo(&["copy", "-q", &source, &to]);
    let other = World::empty();
    import(&other, &written).exits(0);
    assert_eq!((runs(&other, TINY), id(&other, TINY)), ("skopeo amd64".into(), id(&world, TINY)));
}

#[test]
fn umoci_unpacks_from_the_store_and_from_an_export() {
    let world = World::empty();
    if !tool("umoci") {
        return;
    }
    let path = world.path().join("archive.tar");
    let name = "localhost:5000/a/b:1";
    let (archive, _) = Archive::new("umoci", &json!([name]));
    archive.write(&path);
    import(&world, &path).exits(0);
    let exported = world.path().join("exported");
    world.hermes(["export", name, "--format", "oci-dir"]).args([&exported]).ok();
    for (at, layout) in [world.store(), &exported].into_iter().enumerate() {
        assert_eq!(Run::new("umoci").args(["ls", "--layout"]).args([layout]).ok(), name);
        let to = world.path().join(at.to_string());
        let image = format!("{}:{name}", layout.display());
        Run::new("umoci").args(["unpack", "--rootless", "--image", &image]).args([&to]).ok();
        assert_eq!(fs::read(to.join("rootfs/etc/x")).unwrap(), b"x");
    }
}
