//! Import and export of images: OCI layouts, `docker save` archives, pipes, directories, and what other tools read.

use std::fs;
use std::path::Path;

use hermes::testing::digest::Digest;
use serde_json::{Value, json};
use tar::EntryType;

use crate::support::context::{TestContext, tool};
use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, Content, layer};
use crate::support::process::{Output, Run};

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
fn id(world: &TestContext, name: &str) -> String {
    let manifest = world.json(&["inspect", name])["manifest"]["digest"].as_str().unwrap().to_owned();
    let path = world.store().join("blobs/sha256").join(manifest.trim_start_matches("sha256:"));
    let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

fn runs(world: &TestContext, name: &str) -> String {
    world.hermes(["--offline", "run", "--image", name, "--", "tool"]).ok()
}

fn import(world: &TestContext, path: &Path) -> Output {
    world.hermes(["import"]).args([path]).output()
}

#[test]
fn docker_archives_come_in() {
    let Some(world) = TestContext::sandbox() else { return };
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
    let world = TestContext::empty();
    let path = world.path().join("archive.tar");
    let outside = world.write("outside.tar", "outside");
    let refused = |what: &str, code: i32, part: &str, spoil: &dyn Fn(&mut Archive)| {
        let (mut archive, _) = Archive::new("x", &json!(["x:1"]));
        spoil(&mut archive);
        archive.write(&path);
        import(&world, &path).refused(code, &[part]);
        assert_eq!((world.stored("refs"), world.stored("tmp")), (vec![], vec![]), "{what}");
    };
    refused("no layer", 3, "names is missing", &|archive| drop(archive.0.remove(0)));
    refused("other bytes", 3, "diff_id mismatch", &|archive| archive.0[1].1 = Member::File(b"else".to_vec()));
    refused("the wrong order", 3, "diff_id mismatch", &|archive| {
        archive.manifest(|manifest| manifest[0]["Layers"].as_array_mut().unwrap().reverse());
    });
    refused("a layer less", 3, "diff_ids", &|archive| {
        archive.manifest(|manifest| drop(manifest[0]["Layers"].as_array_mut().unwrap().pop()));
    });
    refused("another config", 3, "digest mismatch", &|archive| {
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
        refused(&target, 3, "names is missing", &|archive| {
            archive.0[0].1 = Member::Symlink(target.clone());
            archive.0.insert(0, ("loop.tar".into(), Member::Symlink("loop.tar".into())));
        });
    }
}

#[test]
fn docker_archives_go_out_and_come_back() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("out"), TINY);
    let file = world.path().join("out.tar");
    let export = |format: &str, to: &Path| {
        let words = ["export", "--json", TINY, "--format", format];
        let output = world.hermes(words).args([to]).output();
        serde_json::from_str::<Value>(&output.ok()).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let digest = export("docker-archive", &file);
    assert_eq!(digest, id(&world, TINY));
    let other = TestContext::empty();
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
    let again = TestContext::empty();
    again.hermes(["import", "-"]).input(&piped).ok();
    assert_eq!(again.json(&["inspect", TINY])["top"], world.json(&["inspect", TINY])["top"]);
    let directory = world.path().join("layout");
    export("oci-dir", &directory);
    let again = TestContext::empty();
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
    let Some(world) = TestContext::sandbox() else { return };
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
    let other = TestContext::empty();
    import(&other, &written).exits(0);
    assert_eq!((runs(&other, TINY), id(&other, TINY)), ("skopeo amd64".into(), id(&world, TINY)));
}

#[test]
fn a_name_that_means_another_image_is_told() {
    let world = TestContext::empty();
    let import = |file: &str| {
        let mut content = Content::default();
        let manifest = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &[(file, b"x")])]);
        let digest = manifest.digest.to_string();
        (world.import(&content.tag("1", &manifest), "test.invalid/x:1").stderr, digest)
    };
    let (first, before) = import("a");
    assert!(!first.contains("now refers to"), "{first}");
    assert!(!import("a").0.contains("now refers to"));
    let (said, now) = import("b");
    assert!(said.contains(&format!("test.invalid/x:1 now refers to {now}; it referred to {before}")), "{said}");
}

#[test]
fn umoci_unpacks_from_the_store_and_from_an_export() {
    let world = TestContext::empty();
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

/// What is in an archive, by path.
fn layout(members: &[(String, Member)]) -> Archive {
    let copy = |member: &Member| match member {
        Member::File(bytes) => Member::File(bytes.clone()),
        Member::Symlink(to) => Member::Symlink(to.clone()),
        Member::Hardlink(to) => Member::Hardlink(to.clone()),
    };
    Archive(members.iter().map(|(name, member)| (name.clone(), copy(member))).collect())
}

/// The bytes of a file in an archive.
fn bytes(archive: &Archive, end: &str) -> Vec<u8> {
    let found = archive.0.iter().find(|(name, _)| name.ends_with(end));
    let Some((_, Member::File(bytes))) = found else { panic!("no {end}") };
    bytes.clone()
}

#[test]
fn docker_25_saves_an_image_without_a_name() {
    let Some(world) = TestContext::sandbox() else { return };
    let path = world.path().join("archive.tar");
    let (plain, digest) = Archive::new("docker 25", &json!([]));
    let config = bytes(&plain, &format!("{}.json", digest.hex()));
    let layers: Vec<_> = plain.0[..2].iter().map(|(name, _)| bytes(&plain, name)).collect();
    let compressed = |layer: &Vec<u8>| Run::new("gzip").args(["-nc"]).input(layer).output().stdout;
    // The layers as they are, and as the containerd image store keeps them.
    for layers in [layers.clone(), layers.iter().map(compressed).collect()] {
        let at = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        let paths: Vec<_> = layers.iter().map(|layer| at(layer)).collect();
        let index =
            json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": null });
        let manifest = json!([{ "Config": at(&config), "RepoTags": null, "Layers": paths, "LayerSources": null }]);
        let mut members: Vec<_> =
            layers.iter().chain([&config]).map(|blob| (at(blob), Member::File(blob.clone()))).collect();
        for (name, text) in [
            ("index.json", index.to_string()),
            ("manifest.json", manifest.to_string()),
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.into()),
            ("repositories", "{}".into()),
        ] {
            members.push((name.into(), Member::File(text.into_bytes())));
        }
        layout(&members).write(&path);
        import(&world, &path).refused(2, &["has no name", "--name"]);
        world.hermes(["import", "--name", "named/by:hand"]).args([&path]).ok();
        assert_eq!(
            (runs(&world, "named/by:hand"), id(&world, "named/by:hand")),
            ("docker 25".into(), digest.to_string())
        );
        // An index of no images is one of none without Docker's list.
        members.retain(|(name, _)| name != "manifest.json");
        layout(&members).write(&path);
        import(&world, &path).refused(3, &["there is no image in it"]);
    }
    // What is not valid is said, and why.
    for (name, text) in [("index.json", r#"{"schemaVersion":2,"manifests":7}"#), ("manifest.json", "[7]")] {
        let layout_file = ("oci-layout".to_owned(), Member::File(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        let file = (name.to_owned(), Member::File(text.as_bytes().to_vec()));
        let members = if name == "index.json" { vec![layout_file, file] } else { vec![file] };
        Archive(members).write(&path);
        import(&world, &path).refused(3, &[&format!("invalid {name} in"), "invalid type: integer"]);
    }
}

/// As debuerreotype writes layouts.
#[test]
fn blobs_may_be_links_to_files_with_names() {
    let Some(world) = TestContext::sandbox() else { return };
    let path = world.path().join("archive.tar");
    let mut content = crate::support::image::Content::default();
    let tool = program(Machine::Amd64, "linked\n", 0);
    let image = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &[("bin/tool", &tool)])]);
    let content = content.tag("debian:linked", &image);
    let directory = world.path().join("linked");
    content.write_layout(&directory);
    let mut members = Vec::new();
    for name in ["oci-layout", "index.json"] {
        members.push((name.to_owned(), Member::File(fs::read(directory.join(name)).unwrap())));
    }
    let documents = content.manifests.iter().map(|(digest, (_, bytes))| (digest, bytes));
    for (digest, blob) in content.blobs.iter().chain(documents) {
        let name = if blob.starts_with(b"{") { format!("image-{}.json", blob.len()) } else { "rootfs.tar.gz".into() };
        members.push((format!("blobs/sha256/{}", digest.hex()), Member::Symlink(format!("../{name}"))));
        members.push((format!("blobs/{name}"), Member::File(blob.clone())));
    }
    layout(&members).write(&path);
    import(&world, &path).ok();
    assert_eq!(runs(&world, "debian:linked"), "linked");
    // Hard links, and links to a link.
    let linked = |link: &dyn Fn(&str) -> Member| {
        let mut members = layout(&members).0;
        for (name, member) in &mut members {
            if let Member::Symlink(target) = member {
                assert!(name.starts_with("blobs/sha256/"));
                *member = link(target.trim_start_matches("../"));
            }
        }
        members.push(("blobs/again".into(), Member::Symlink("rootfs.tar.gz".into())));
        Archive(members)
    };
    for archive in [
        linked(&|name| Member::Hardlink(format!("blobs/{name}"))),
        linked(&|name| Member::Symlink(if name == "rootfs.tar.gz" { "../again".into() } else { format!("../{name}") })),
    ] {
        let world = TestContext::sandbox().unwrap();
        archive.write(&path);
        import(&world, &path).ok();
        assert_eq!(runs(&world, "debian:linked"), "linked");
    }
    // One that leads elsewhere, or to itself, is no blob.
    for target in ["../../outside", "/etc/passwd", "../nothing", "../loop"] {
        let world = TestContext::empty();
        let mut members = layout(&members).0;
        for (name, member) in &mut members {
            if name.starts_with("blobs/sha256/") {
                *member = Member::Symlink(target.into());
            }
        }
        members.retain(|(name, _)| !name.starts_with("blobs/r"));
        members.push(("blobs/loop".into(), Member::Symlink("loop".into())));
        Archive(members).write(&path);
        import(&world, &path).refused(3, &["is incomplete: the image sha256:"]);
        assert_eq!((world.stored("refs"), world.stored("tmp")), (vec![], vec![]), "{target}");
    }
}

#[test]
fn archives_are_read_in_every_usual_compression() {
    let world = TestContext::empty();
    let plain = world.path().join("archive.tar");
    let (archive, digest) = Archive::new("packed", &json!(["packed:1"]));
    archive.write(&plain);
    let mut read = 0;
    for program in ["gzip", "xz", "bzip2", "zstd"] {
        if !tool(program) {
            continue;
        }
        let world = TestContext::empty();
        let path = world.path().join("image");
        fs::write(&path, Run::new(program).args(["-c"]).args([&plain]).output().exits(0).stdout.clone()).unwrap();
        import(&world, &path).ok();
        assert_eq!(id(&world, "packed:1"), digest.to_string(), "{program}");
        read += 1;
    }
    assert!(read > 0);
    let path = world.path().join("image.tar.lz4");
    fs::write(&path, b"\x04\x22\x4d\x18\x64\x40\xa7").unwrap();
    import(&world, &path).refused(1, &["compressed with lz4", "decompress it first"]);
}
