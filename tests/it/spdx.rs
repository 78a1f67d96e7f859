//! SPDX documents: validated against the published schema, and compared with each other and with the images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::Project;
use crate::support::context::{MIN, TestContext};
use crate::support::image::{Codec, Content, layer};
use crate::support::require;

/// Whether a schema of `tests/schemas` takes a document, by python3-jsonschema; why not.
fn validated(document: &Value, schema: &str) -> Result<(), String> {
    let script = "import json, sys, jsonschema\n\
                  read = lambda path: json.load(open(path))\n\
                  jsonschema.validate(read(sys.argv[1]), read(sys.argv[2]))\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document.json");
    fs::write(&path, document.to_string()).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas").join(schema);
    let output = Command::new("python3").args(["-c", script]).arg(path).arg(schema).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Whether documents can be validated here.
pub fn validator() -> bool {
    let found = Command::new("python3").args(["-c", "import jsonschema"]).output();
    let there = found.is_ok_and(|output| output.status.success());
    require("jsonschema", if there { Ok(()) } else { Err("no python3-jsonschema".to_owned()) })
}

/// The packages by their ids, after all that every document must be was looked at.
#[track_caller]
pub fn checked(document: &Value) -> BTreeMap<String, Value> {
    validated(document, "spdx-2.3.json").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = document["packages"].as_array().unwrap();
    let by_id: BTreeMap<_, _> = packages.iter().map(|package| (text(&package["SPDXID"]), package.clone())).collect();
    assert_eq!(by_id.len(), packages.len(), "an id is there twice");
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let id = text(&relationship[end]);
            assert!(id == "SPDXRef-DOCUMENT" || by_id.contains_key(&id), "{relationship}");
        }
    }
    by_id
}

/// `FROM HOW TO`, by names.
pub fn relationships(document: &Value, packages: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let name = |id: &Value| {
        packages.get(id.as_str().unwrap()).map_or("-".to_owned(), |it| it["name"].as_str().unwrap().to_owned())
    };
    let all = document["relationships"].as_array().unwrap().iter();
    all.map(|it| {
        let how = it["relationshipType"].as_str().unwrap();
        format!("{} {how} {}", name(&it["spdxElementId"]), name(&it["relatedSpdxElement"]))
    })
    .collect()
}

fn purl(package: &Value) -> &str {
    package["externalRefs"][0]["referenceLocator"].as_str().unwrap()
}

#[test]
fn of_an_image() {
    let Some(world) = TestContext::fixtures().filter(|_| validator()) else { return };
    let print = || world.hermes(["packages", MIN, "--format", "spdx"]).ok();
    let text = print();
    assert_eq!(text, print());
    let document: Value = serde_json::from_str(&text).unwrap();
    let packages = checked(&document);
    let listed = world.json(&["packages", MIN]);
    assert_eq!(packages.len(), listed["packages"].as_array().unwrap().len() + 1);
    let relationships = relationships(&document, &packages);
    assert!(relationships.contains(&format!("- DESCRIBES {MIN}")), "{relationships:?}");
    assert!(relationships.contains(&format!("{MIN} CONTAINS libc6")), "{relationships:?}");
    let libc = packages.values().find(|package| package["name"] == "libc6").unwrap();
    assert!(purl(libc).starts_with("pkg:deb/debian/libc6@2.36-"), "{libc}");
    assert!(purl(libc).ends_with("?arch=amd64&distro=debian-12"), "{libc}");
    assert!(libc["sourceInfo"].as_str().unwrap().starts_with("built from the source package glibc 2.36-"), "{libc}");
    assert_eq!(libc["licenseDeclared"], "NOASSERTION");
    let image = packages.values().find(|package| package["name"] == MIN).unwrap();
    let manifest = listed["manifest"].as_str().unwrap();
    assert_eq!(image["checksums"][0]["checksumValue"], manifest.strip_prefix("sha256:").unwrap());
    // The schema is one that refuses things.
    for (name, value) in [("SPDXID", Value::Null), ("creationInfo", json!({})), ("packages", json!([{ "name": 1 }]))] {
        let mut bad = document.clone();
        bad[name] = value;
        assert!(validated(&bad, "spdx-2.3.json").is_err(), "{name}");
    }
}

#[test]
fn licenses_and_what_is_not_known() {
    if !validator() {
        return;
    }
    let world = TestContext::empty();
    let mut content = Content::default();
    let apk =
        "P:a\nV:1-r0\nA:x86_64\nL:MIT AND Zlib\n\nP:b\nV:1-r0\nA:x86_64\nL:GPLv2+ or \"so\"\n\nP:c\nV:1-r0\nA:x86_64\n";
    let files: [(&str, &[u8]); 3] = [
        ("lib/apk/db/installed", apk.as_bytes()),
        ("var/lib/dpkg/status", b"what is this"),
        ("etc/os-release", b"ID=alpine\nVERSION_ID=3.20\n"),
    ];
    let image = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &files)]);
    world.import(&content.tag("x", &image), "t/apk:1").exits(0);
    let document: Value =
        serde_json::from_str(&world.hermes(["packages", "t/apk:1", "--format", "spdx"]).ok()).unwrap();
    let packages = checked(&document);
    let license = |name: &str| {
        packages.values().find(|package| package["name"] == name).unwrap()["licenseDeclared"].as_str().unwrap()
    };
    assert_eq!((license("a"), license("c")), ("MIT AND Zlib", "NOASSERTION"));
    let extracted = document["hasExtractedLicensingInfos"].as_array().unwrap();
    assert_eq!(extracted.len(), 1);
    assert_eq!(
        (extracted[0]["licenseId"].as_str(), extracted[0]["name"].as_str()),
        (Some(license("b")), Some("GPLv2+ or \"so\""))
    );
    let comment = document["comment"].as_str().unwrap();
    assert!(comment.contains("the packages in /var/lib/dpkg/status are not known"), "{comment}");
}

#[test]
fn of_a_run_on_record() {
    let Some(project) = Project::new().filter(|_| validator()) else { return };
    project.hermes("store", &["run", "-p", "arm64", "--", "tool"]).ok();
    let show = || project.hermes("store", &["log", "show", "--format", "spdx"]).ok();
    let text = show();
    assert_eq!(text, show());
    let document: Value = serde_json::from_str(&text).unwrap();
    let packages = checked(&document);
    let image = format!("{}/lib/tiny:1", project.host());
    let expected = [format!("- DESCRIBES {image}"), format!("qemu-user for linux-aarch64 BUILD_TOOL_OF {image}")];
    assert_eq!(relationships(&document, &packages), BTreeSet::from(expected));
    let emulator = packages.values().find(|package| package["name"] == "qemu-user for linux-aarch64").unwrap();
    let checksum = emulator["checksums"][0]["checksumValue"].as_str().unwrap();
    assert!(project.lock().contains(&format!("digest = \"sha256:{checksum}\"")), "{emulator}");
    // The time of the run, to the second.
    let record: Value = serde_json::from_str(&project.hermes("store", &["log", "show", "--json"]).ok()).unwrap();
    let (created, started) =
        (document["creationInfo"]["created"].as_str().unwrap(), record["started"].as_str().unwrap());
    assert_eq!(created.strip_suffix('Z').unwrap(), &started[..19]);
}
