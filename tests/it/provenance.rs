//! `hermes log show --format slsa`.
//!
//! The schemas of an in-toto Statement and of SLSA provenance are published as protocol buffers and as CUE, not as JSON Schema. The
//! types here are those messages in the JSON form that protocol buffers have (lowerCamelCase, no fields but these), with what the
//! specifications demand besides: <https://github.com/in-toto/attestation/tree/main/spec/v1>, <https://slsa.dev/spec/v1.1/provenance>.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hermes::testing::digest::Digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support;
use crate::support::context::{DEBIAN, MIN, TestContext};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<ResourceDescriptor>,
    predicate_type: String,
    predicate: Provenance,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceDescriptor {
    name: Option<String>,
    uri: Option<String>,
    #[serde(default)]
    digest: BTreeMap<String, String>,
    content: Option<String>,
    download_location: Option<String>,
    media_type: Option<String>,
    #[serde(default)]
    annotations: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Provenance {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: Map<String, Value>,
    #[serde(default)]
    internal_parameters: Map<String, Value>,
    #[serde(default)]
    resolved_dependencies: Vec<ResourceDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RunDetails {
    builder: Builder,
    metadata: BuildMetadata,
    #[serde(default)]
    byproducts: Vec<ResourceDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Builder {
    id: String,
    #[serde(default)]
    version: BTreeMap<String, String>,
    #[serde(default, rename = "builderDependencies")]
    dependencies: Vec<ResourceDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BuildMetadata {
    invocation_id: String,
    started_on: String,
    finished_on: String,
}

/// A URI with a scheme (RFC 3986).
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain)
}

/// `<YYYY>-<MM>-<DD>T<hh>:<mm>:<ss>Z`
fn is_timestamp(text: &str) -> bool {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    digits == "0000-00-00T00:00:00Z"
}

impl ResourceDescriptor {
    /// What is demanded of each: one of uri, digest and content; digests in lower-case hexadecimal digits.
    fn check(&self) {
        assert!(self.uri.is_some() || !self.digest.is_empty() || self.content.is_some());
        for (algorithm, digest) in &self.digest {
            assert!(algorithm == "sha256" || algorithm == "hermesTree1", "{algorithm}");
            Digest::from_hex(digest).unwrap();
        }
        assert!(self.uri.as_deref().is_none_or(is_uri), "{:?}", self.uri);
        assert_eq!((&self.content, &self.download_location), (&None, &None));
        assert!(self.media_type.as_deref().is_none_or(|kind| kind.contains('/')));
    }
}

impl Statement {
    fn read(text: &str) -> Self {
        let statement: Self = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(statement.kind, "https://in-toto.io/Statement/v1");
        assert_eq!(statement.predicate_type, "https://slsa.dev/provenance/v1");
        // Subjects are told apart by name, and are matched by digest alone.
        let names: BTreeSet<_> = statement.subject.iter().map(|subject| subject.name.as_deref().unwrap()).collect();
        assert!(!names.is_empty() && names.len() == statement.subject.len());
        assert!(statement.subject.iter().all(|subject| !subject.digest.is_empty()));
        let Provenance { build_definition: build, run_details: run } = &statement.predicate;
        assert!(is_uri(&build.build_type) && is_uri(&run.builder.id) && run.builder.dependencies.is_empty());
        assert!(is_timestamp(&run.metadata.started_on) && is_timestamp(&run.metadata.finished_on));
        assert!(run.metadata.started_on <= run.metadata.finished_on);
        for resource in statement.subject.iter().chain(&build.resolved_dependencies).chain(&run.byproducts) {
            resource.check();
        }
        statement
    }

    fn digest(&self, subject: &str) -> &str {
        let found = self.subject.iter().find(|found| found.name.as_deref() == Some(subject));
        &found.unwrap_or_else(|| panic!("no subject {subject}")).digest["sha256"]
    }

    fn dependency(&self, name: &str) -> &ResourceDescriptor {
        let all = &self.predicate.build_definition.resolved_dependencies;
        all.iter().find(|found| found.name.as_deref() == Some(name)).unwrap_or_else(|| panic!("no dependency {name}"))
    }
}

#[test]
fn provenance_of_a_build() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("f.c", "int f(void) { return 1; }\n");
    support::run("tar", &["-cf", "../given.tar", "f.c"], &world.work());
    let archive = world.path().join("given.tar");
    world.write("hermes.toml", &format!("[source.given]\nurl = 'file://{}'\nstrip = 0\n", archive.display()));
    world.hermes(["allow"]).ok();
    let script = "mkdir -p out/sub out/none; gcc -c f.c -o out/f.o; ln out/f.o out/sub/again; printf x >single";
    let words = [
        "run", "--image", DEBIAN, "--output", "out", "--output", "single", "-e", "KIND=a", "-e", "SECRET", "--", "sh",
        "-ec", script,
    ];
    world.hermes(words).env("SECRET", "hunter2").ok();
    let text = world.hermes(["log", "show", "--format", "slsa"]).ok();
    assert!(!text.contains("hunter2"));
    let statement = Statement::read(&text);
    let object = Digest::of(&fs::read(world.work().join("out/f.o")).unwrap()).hex();
    assert_eq!(statement.subject.len(), 3);
    assert_eq!([statement.digest("out/f.o"), statement.digest("out/sub/again")], [&object, &object]);
    assert_eq!(statement.digest("single"), Digest::of(b"x").hex());

    let record = world.json(&["log", "show"]);
    let Provenance { build_definition: build, run_details: run } = &statement.predicate;
    let external = &build.external_parameters;
    assert_eq!(external["command"], json!(["sh", "-ec", script]));
    assert_eq!(external["environment"], json!({ "KIND": "a", "SECRET": null }));
    assert_eq!((&external["image"], &external["network"]), (&json!(DEBIAN), &json!("none")));
    let internal = &build.internal_parameters;
    assert_eq!((&internal["slsaBuildLevel"], &internal["enforced"]), (&json!(1), &record["enforced"]));
    let hex = |digest: &Value| digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let image = statement.dependency("image");
    assert_eq!(image.digest["sha256"], hex(&record["manifest"]));
    let url = format!(
        "pkg:oci/buildpack-deps@sha256%3A{}?repository_url=docker.io/library/buildpack-deps&tag=bookworm",
        hex(&record["manifest"])
    );
    assert_eq!(image.uri.as_ref(), Some(&url));
    assert_eq!(statement.dependency("image: layer").annotations["diffId"], record["diff-ids"][0]);
    assert_eq!(statement.dependency("source given").digest["sha256"], Digest::of(&fs::read(&archive).unwrap()).hex());
    assert_eq!(statement.dependency("project").digest["hermesTree1"], hex(&record["project"]["tree"]));
    assert_eq!(statement.dependency("lock").digest["sha256"], hex(&record["lock"]));
    assert_eq!(json!(run.metadata.invocation_id), record["id"]);
    assert_eq!(json!(run.builder.version["hermes"]), record["hermes"]);
    assert_eq!(run.byproducts.len(), 3);
    // The page that the types name is there.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/provenance.md")).unwrap();
    for (uri, head) in [(&build.build_type, "### run-v1"), (&run.builder.id, "### local-builder")] {
        assert!(uri.ends_with(&format!("docs/provenance.md#{}", &head[4..])) && page.contains(head), "{uri}");
    }
}

#[test]
fn an_output_without_files_is_named_as_a_whole() {
    let Some(world) = TestContext::fixtures() else { return };
    world.sh(&["--output", "out"], "mkdir -p out/empty").ok();
    let statement = Statement::read(&world.hermes(["log", "show", "--format", "slsa"]).ok());
    let tree = world.json(&["log", "show"])["outputs"][0]["tree"].as_str().unwrap().to_owned();
    assert_eq!(statement.subject[0].name.as_deref(), Some("out"));
    assert_eq!(format!("sha256:{}", statement.subject[0].digest["hermesTree1"]), tree);
}

#[test]
fn of_what_nothing_came_there_is_no_provenance() {
    let Some(world) = TestContext::fixtures() else { return };
    world.sh(&[], "true").ok();
    let slsa = |world: &TestContext| world.hermes(["log", "show", "--format", "slsa"]).output();
    slsa(&world).refused(2, &["has no outputs", "--output PATH"]);
    world.hermes(["run", "--image", MIN, "--output", "out", "--", "sh", "-c", "mkdir out; exit 1"]).output().exits(1);
    slsa(&world).refused(2, &["has no outputs"]);
}
