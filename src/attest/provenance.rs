//! In-toto statements with SLSA provenance. `docs/provenance.md` lists the fields, and what they prove.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::attest::spdx::index_package_url;
use crate::compare::{Listing, escaped};
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::lock::{Image, Lock, Origin};
use crate::platform::Platform;
use crate::record::{RunRecord, Users, Variable};
use crate::reference::Reference;

/// The page about these statements, whose sections name the type of build and the builder.
const PAGE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/provenance.md");
/// Most files that are named; with more, outputs are named as a whole.
const MAX_SUBJECTS: usize = 10_000;
/// The algorithm of the digest of a tree, which is no file.
const TREE: &str = "hermesTree1";

/// Why there is no provenance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvenanceError {
    /// The record has no outputs.
    #[error("the record {} has no outputs, so it has no provenance", id.short())]
    NoOutputs { id: Digest },
    /// The record has no valid start time.
    #[error("the record {} has no valid start time", id.short())]
    BadTime { id: Digest, source: chrono::ParseError },
}

impl Hint for ProvenanceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoOutputs { .. } => ErrorKind::Usage,
            Self::BadTime { .. } => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoOutputs { .. } => {
                vec!["name the outputs when you run the command: hermes run --output PATH … -- COMMAND".into()]
            }
            Self::BadTime { .. } => vec![],
        }
    }
}

/// A Statement (in-toto attestation framework, v1) with a predicate of SLSA provenance v1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: Value,
    internal_parameters: Value,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails {
    builder: Builder,
    metadata: Metadata,
    byproducts: Vec<Resource>,
}

#[derive(Debug, Serialize)]
struct Builder {
    id: String,
    version: Map<String, Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    invocation_id: String,
    started_on: String,
    finished_on: String,
}

/// A `ResourceDescriptor`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    annotations: Map<String, Value>,
}

impl Resource {
    fn new(name: impl Into<String>, algorithm: &str, digest: &Digest) -> Self {
        Self {
            name: name.into(),
            uri: None,
            digest: Map::from_iter([(algorithm.to_owned(), json!(digest.hex()))]),
            media_type: None,
            annotations: Map::new(),
        }
    }

    fn of_type(self, media_type: &str) -> Self {
        Self { media_type: Some(media_type.to_owned()), ..self }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }
}

impl Statement {
    /// The provenance of the outputs of a recorded run. `listing` gives the listing of an output.
    ///
    /// # Errors
    /// [`ProvenanceError`]; those of `listing`.
    pub(crate) fn new<E: From<ProvenanceError>>(
        id: Digest,
        record: &RunRecord,
        lock: &Lock,
        listing: &dyn Fn(&Digest) -> Result<Listing, E>,
    ) -> Result<Self, E> {
        if record.run.outputs.is_empty() {
            return Err(ProvenanceError::NoOutputs { id }.into());
        }
        let started: DateTime<Utc> =
            record.started.parse().map_err(|source| ProvenanceError::BadTime { id, source })?;
        let took = TimeDelta::try_milliseconds(milliseconds(record.seconds)).unwrap_or_default();
        let stamp = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        Ok(Self {
            kind: "https://in-toto.io/Statement/v1",
            subject: subjects(record, listing)?,
            predicate_type: "https://slsa.dev/provenance/v1",
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: format!("{PAGE}#run-v1"),
                    external_parameters: external(record),
                    internal_parameters: internal(record),
                    resolved_dependencies: dependencies(record, lock),
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: format!("{PAGE}#local-builder"),
                        version: Map::from_iter([("hermes".to_owned(), json!(record.hermes))]),
                    },
                    metadata: Metadata {
                        invocation_id: id.to_string(),
                        started_on: stamp(started),
                        finished_on: stamp(started.checked_add_signed(took).unwrap_or(started)),
                    },
                    byproducts: byproducts(record, &id),
                },
            },
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a number of milliseconds that is too large becomes the largest")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

/// Each file that came out; each output as a whole where there are too many, or none in it.
fn subjects<E>(record: &RunRecord, listing: &dyn Fn(&Digest) -> Result<Listing, E>) -> Result<Vec<Resource>, E> {
    let name = |path: &Path| match path.to_str() {
        Some(text) => text.to_owned(),
        None => escaped(path.as_os_str().as_encoded_bytes()),
    };
    let mut subjects = Vec::new();
    for output in &record.run.outputs {
        let whole = Resource::new(name(&output.path), TREE, &output.tree);
        let files = listing(&output.tree)?;
        let files: Vec<_> = files.files().take(MAX_SUBJECTS + 1 - subjects.len().min(MAX_SUBJECTS)).collect();
        if files.is_empty() {
            subjects.push(whole);
        }
        for (path, content) in files {
            let path = if path.as_os_str().is_empty() { output.path.clone() } else { output.path.join(path) };
            subjects.push(Resource::new(name(&path), "sha256", &content));
        }
    }
    if subjects.len() > MAX_SUBJECTS {
        let outputs = record.run.outputs.iter();
        subjects = outputs.map(|output| Resource::new(name(&output.path), TREE, &output.tree)).collect();
    }
    Ok(subjects)
}

/// Parameters that the user chose.
fn external(record: &RunRecord) -> Value {
    let (request, target) = (&record.run.request, &record.run.target);
    json!({
        "command": request.argv,
        "entrypoint": request.entrypoint,
        "toolchain": target.toolchain,
        "image": target.reference,
        "platform": target.platform,
        "environment": variables(&request.environment),
        "directory": request.directory,
        "volumes": request.volumes,
        "surroundings": request.guest_overrides,
        "network": record.run.network,
        "root": request.root,
        "fakeRoot": request.fake_root,
        "manyUsers": request.users == Users::Range,
        "require": request.required,
        "limits": request.limits,
        "timeoutSeconds": request.timeout.map(|time| time.as_secs_f64()),
        "rootfs": request.rootfs,
        "accel": request.accel,
        "emulation": request.emulation,
        "outputs": request.outputs,
    })
}

/// Parameters that hermes derived.
fn internal(record: &RunRecord) -> Value {
    let run = &record.run;
    json!({
        "slsaBuildLevel": 1,
        "command": run.argv,
        "environment": variables(&run.environment),
        "directory": run.directory,
        "surroundings": run.guest,
        "profile": run.profile,
        "isolation": run.request.isolation,
        "root": run.root_strategy,
        "network": run.network,
        "emulation": run.emulation,
        "nativeTools": run.native.as_ref().map(|native| &native.tools),
        "limits": run.limits,
        "enforced": run.enforced,
        "timings": run.timings,
    })
}

/// By name; null for one whose value is not recorded.
fn variables(all: &[Variable]) -> Map<String, Value> {
    all.iter().map(|variable| (variable.name.to_string(), json!(variable.recorded()))).collect()
}

/// All inputs, by digest.
fn dependencies(record: &RunRecord, lock: &Lock) -> Vec<Resource> {
    let run = &record.run;
    let mut all = Vec::new();
    for ((reference, platform), image) in &lock.images {
        let is_main = (reference, *platform) == (&run.target.reference, run.target.image_platform);
        // An image of native tools that were not used is not an input.
        if is_main || run.native.is_some() {
            let name = if is_main { "image" } else { "native tools" };
            all.extend(of_image(name, reference, *platform, image));
        }
    }
    if let Some(emulator) = &run.emulator {
        let mut resource = Resource::new("emulator", "sha256", &emulator.digest);
        if let Some(version) = &emulator.version {
            resource = resource.with("version", version.as_str());
        }
        let locked = lock.emulators.get(&run.target.image_platform);
        if let Some(origin) = locked.and_then(|emulator| emulator.origin.as_ref()) {
            resource = match origin {
                Origin::Image(file) => resource.with("image", file.image.to_string()).with("path", file.path.as_str()),
                Origin::Package(file) => resource.with("package", file.deb.shown()).with("path", file.path.as_str()),
            };
        }
        all.push(resource);
    }
    for (name, source) in lock.all_sources() {
        let mut resource = Resource::new(format!("source {name}"), "sha256", &source.digest);
        resource.uri = source.url.clone().or_else(|| source.package.as_ref().map(index_package_url));
        if let Some(commit) = &source.commit {
            resource = resource.with("commit", commit.as_str());
        }
        all.push(resource);
        for patch in &source.patches {
            all.push(Resource::new(format!("patch of source {name}"), "sha256", patch));
        }
    }
    if let Some(project) = &run.project.tree {
        all.push(Resource::new("project", TREE, project));
    }
    all.push(Resource::new("lock", "sha256", &run.lock).of_type("application/toml"));
    all
}

/// An image and its layers.
fn of_image(name: &str, reference: &Reference, platform: Platform, image: &Image) -> Vec<Resource> {
    let manifest = Resource::new(name, "sha256", &image.manifest.digest).of_type(&image.manifest.media_type);
    let mut manifest = Resource { uri: Some(package_url(reference, &image.manifest.digest)), ..manifest }
        .with("reference", reference.to_string())
        .with("platform", platform.name());
    if let Some(tree) = image.tree {
        manifest = manifest.with("tree", tree.to_string());
    }
    let config =
        Resource::new(format!("{name}: config"), "sha256", &image.config.digest).of_type(&image.config.media_type);
    let layers = image.layers.iter().map(|layer| {
        Resource::new(format!("{name}: layer"), "sha256", &layer.blob.digest)
            .of_type(&layer.blob.media_type)
            .with("diffId", layer.diff_id.to_string())
            .with("size", layer.blob.size)
    });
    [manifest, config].into_iter().chain(layers).collect()
}

/// `pkg:oci/…`, as purl has it for images.
fn package_url(reference: &Reference, manifest: &Digest) -> String {
    let repository = reference.repository();
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let place = format!("{}/{repository}", reference.registry()).replace(':', "%3A");
    let tag = reference.tag().map(|tag| format!("&tag={tag}")).unwrap_or_default();
    format!("pkg:oci/{name}@sha256%3A{}?repository_url={place}{tag}", manifest.hex())
}

/// The record and the listings of its outputs.
fn byproducts(record: &RunRecord, id: &Digest) -> Vec<Resource> {
    let listing = |output: &crate::record::Output| {
        Resource::new(format!("listing of {}", output.path.display()), "sha256", &output.tree).of_type("text/plain")
    };
    let own = Resource::new("record", "sha256", id).of_type("application/json");
    std::iter::once(own).chain(record.run.outputs.iter().map(listing)).collect()
}
