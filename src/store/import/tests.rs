//! Importing layouts, good and bad.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::layer::testing::Tar;
use crate::oci;
use crate::progress::Silent;
use crate::skip::require;
use crate::store::tests::{add_image, assert_clean, name, names, temp_store, unpack};
use crate::store::{Store, StoreError};

/// Copies the store's own layout parts, which are a layout.
fn layout(store: &Store, to: &Path) {
    for part in ["oci-layout", "index.json", "blobs"] {
        let status = Command::new("cp").args(["-r"]).arg(store.path(part)).arg(to).status().unwrap();
        assert!(status.success());
    }
}

fn source(images: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let (temp, store) = temp_store();
    for (reference, content) in images {
        let (top, _) = add_image(&store, &Tar::default().file("f", content));
        store.set_ref(&name(reference), &top).unwrap();
    }
    let path = temp.path().join("layout");
    fs::create_dir(&path).unwrap();
    layout(&store, &path);
    (temp, path)
}

fn archive(layout: &Path, flags: &str) -> PathBuf {
    let path = layout.with_extension(format!("tar{flags}"));
    let status = Command::new("tar").arg(format!("-c{flags}f")).arg(&path).arg("-C").arg(layout).arg(".").status();
    assert!(status.unwrap().success());
    path
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn directories_and_archives() {
    let (_source, layout) = source(&[("debian:12", "one"), ("quay.io/a/b:c", "two")]);
    for path in [layout.clone(), archive(&layout, ""), archive(&layout, "z")] {
        let (_temp, store) = temp_store();
        let named = store.import(&path, None, &Silent).unwrap();
        assert_eq!(
            named.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(),
            ["docker.io/library/debian:12", "quay.io/a/b:c"]
        );
        assert_eq!(store.refs().unwrap(), named);
        assert_eq!(names(store.path("blobs/sha256")).len(), 6);
        for (_, top) in &named {
            assert!(store.read_document(top).is_ok());
        }
        assert_eq!(fs::metadata(store.blob_path(&named[0].1.digest)).unwrap().mode() & 0o7777, 0o444);
        assert_clean(&store);
        store.import(&path, None, &Silent).unwrap();
    }
}

/// A name that says of which packages an image is composed is the store's own to give.
#[test]
fn nobody_else_names_a_composed_root() {
    let root = format!("packages.hermes.invalid/own:{}", "ab".repeat(32));
    let (_source, layout) = source(&[(&root, "evil")]);
    let (_temp, store) = temp_store();
    for rename in [None, Some(name(&root))] {
        let (found, top) = store.import(&layout, rename.as_ref(), &Silent).unwrap().remove(0);
        assert_eq!(found, name(&root).pinned(top.digest));
        assert!(store.find_ref(&found).unwrap().is_some() && store.find_ref(&name(&root)).unwrap().is_none());
    }
}

#[test]
fn names_are_found_or_asked_for() {
    let (_source, layout) = source(&[("debian:12", "one")]);
    let (_temp, store) = temp_store();
    let index = layout.join("index.json");
    let full = "docker.io/library/debian:12";
    assert_eq!(store.import(&layout, Some(&name("my/own:1")), &Silent).unwrap()[0].0, name("my/own:1"));
    for tag in ["12", "latest", "NOT A NAME/x", ""] {
        edit(&index, &format!("{full:?}"), &format!("{tag:?}"));
        let error = store.import(&layout, None, &Silent).unwrap_err();
        assert!(matches!(&error, StoreError::Nameless { .. }) && error.hints()[0].contains("--name"), "{tag}");
        edit(&index, &format!(":{tag:?}}}"), &format!(":{full:?}}}"));
    }
    edit(&index, &format!("{full:?}"), &format!(r#""12","io.containerd.image.name":"{full}""#));
    assert_eq!(store.import(&layout, None, &Silent).unwrap()[0].0, name("debian:12"));
    let (_source, two) = source(&[("a/a", "one"), ("b/b", "two")]);
    assert!(matches!(store.import(&two, Some(&name("c/c")), &Silent), Err(StoreError::Nameless { .. })));
    edit(&two.join("index.json"), "b/b", "a/a");
    assert!(matches!(store.import(&two, None, &Silent), Err(StoreError::Nameless { .. })));
}

#[test]
fn one_name_for_the_manifests_of_several_platforms() {
    let (_source, layout) = source(&[("a/a", "one"), ("b/b", "two")]);
    let index = layout.join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let text =
        text.replacen(r#""annotations""#, r#""platform":{"os":"linux","architecture":"amd64"},"annotations""#, 1);
    let (first, second) = text.split_at(text.rfind(r#""annotations""#).unwrap());
    fs::write(&index, format!(r#"{first}"platform":{{"os":"linux","architecture":"arm64"}},{second}"#)).unwrap();
    let (_temp, store) = temp_store();
    let named = store.import(&layout, Some(&name("c/c:1")), &Silent).unwrap();
    assert_eq!(named.len(), 1);
    assert!(matches!(store.read_document(&named[0].1), Ok(oci::Document::Index(list)) if list.len() == 2));
}

/// Makes a good layout bad.
type Spoil = fn(&Path);

#[test]
fn wrong_layouts_set_no_name() {
    let cases: [(&str, Spoil); 10] = [
        ("a missing layer", |layout| fs::remove_file(layer(layout)).unwrap()),
        ("a damaged layer", |layout| {
            let mut bytes = fs::read(layer(layout)).unwrap();
            bytes[20] ^= 1;
            fs::write(layer(layout), bytes).unwrap();
        }),
        ("no oci-layout", |layout| fs::remove_file(layout.join("oci-layout")).unwrap()),
        ("another version", |layout| {
            fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        }),
        ("no index", |layout| fs::remove_file(layout.join("index.json")).unwrap()),
        ("a manifest for an index", |layout| {
            fs::write(layout.join("index.json"), r#"{"schemaVersion":2,"config":1}"#).unwrap();
        }),
        ("an empty index", |layout| {
            fs::write(layout.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        }),
        ("a missing manifest", |layout| fs::remove_file(manifest(layout)).unwrap()),
        ("a long manifest", |layout| {
            fs::OpenOptions::new().append(true).open(manifest(layout)).unwrap().write_all(b"x").unwrap();
        }),
        ("another manifest", |layout| {
            let length = usize::try_from(fs::metadata(manifest(layout)).unwrap().len()).unwrap();
            fs::write(manifest(layout), vec![b'x'; length]).unwrap();
        }),
    ];
    for (what, spoil) in cases {
        let (_source, layout) = source(&[("debian:12", "one")]);
        Command::new("chmod").arg("-R").arg("u+w").arg(&layout).status().unwrap();
        spoil(&layout);
        for path in [layout.clone(), archive(&layout, "z")] {
            let (_temp, store) = temp_store();
            let error = store.import(&path, None, &Silent).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{what}: {error:?}");
            assert_eq!(store.refs().unwrap(), [], "{what}");
            assert_clean(&store);
        }
    }
}

/// The layer is the only blob in gzip.
fn layer(layout: &Path) -> PathBuf {
    let mut blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs.find(|path| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])).unwrap()
}

/// The manifest is longer than its config and layer.
fn manifest(layout: &Path) -> PathBuf {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_sparse_layout_has_some_platforms_only() {
    let (_source, layout) = source(&[("debian:12", "one")]);
    let text = fs::read_to_string(layout.join("index.json")).unwrap();
    let present = text[text.find('[').unwrap() + 1..text.rfind(']').unwrap()].to_owned();
    let absent = format!(r#"{{"mediaType":"{}","digest":"{}","size":5}}"#, oci::MANIFEST, Digest::of(b"other"));
    let (_temp, store) = temp_store();
    let import = |children: &str| {
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{children}]}}"#, oci::INDEX);
        let digest = Digest::of(index.as_bytes());
        fs::write(layout.join("blobs/sha256").join(digest.hex()), &index).unwrap();
        let top = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"x/y:z"}}}}]}}"#,
            oci::INDEX,
            index.len()
        );
        fs::write(layout.join("index.json"), top).unwrap();
        store.import(&layout, None, &Silent)
    };
    import(&format!("{absent},{present}")).unwrap();
    assert!(matches!(import(&absent), Err(StoreError::Incomplete { .. })));
}

#[test]
fn skopeo_and_umoci_read_the_store() {
    let skopeo = Command::new("skopeo").arg("--version").output();
    if !require("skopeo", skopeo.map(drop).map_err(|error| format!("skopeo: {error}"))) {
        return;
    }
    let (temp, store) = temp_store();
    let (top, image) = add_image(&store, &Tar::default().file("f", "x"));
    store.set_ref(&name("debian:12"), &top).unwrap();
    let reference = format!("oci:{}:docker.io/library/debian:12", store.root().display());
    let output = Command::new("skopeo").args(["inspect", "--raw", &reference]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(Digest::of(&output.stdout), top.digest);
    // And what skopeo writes is read.
    let archive = temp.path().join("archive.tar");
    let to = format!("oci-archive:{}:localhost/copy:1", archive.display());
    let output = Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &reference, &to]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_temp, other) = temp_store();
    let named = other.import(&archive, None, &Silent).unwrap();
    assert_eq!(named, [(name("localhost/copy:1"), top)]);
    unpack(&other, &image.layers[0]).unwrap();
}
