//! SPDX 2.3 documents: which packages are in the images that a run used, and what else it used. The same record and
//! the same images give the same bytes. `docs/packages.md` says what is in them, and what not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::commands::image_diff::inventory;
use crate::commands::log::Shown;
use crate::commands::recording::records;
use crate::commands::{Context, Error, images};
use crate::digest::Digest;
use crate::lock::{self, Emulator, Image, Lock, Source};
use crate::packages::{Distribution, Inventory, Package, escaped, is_spdx};
use crate::platform::Platform;
use crate::record::{Kind, RecordError, kept};
use crate::reference::Reference;
use crate::store::Store;

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
/// The time of a document that follows from an image alone.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// The document of an image of the store, for a platform; without one, for this host's, or else for its only one.
///
/// # Errors
/// No such image, or one without its layers; the store's.
pub(crate) fn of_image(context: &Context, reference: &Reference, platform: Option<Platform>) -> Result<Value, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let image = images::pick(&store, reference, platform)?;
    let mut document = Document::default();
    document.subject(reference, &image);
    if !document.image(context, &store, reference, &image)? {
        return Err(Error::NoLayersHere(Box::new(reference.clone())));
    }
    Ok(document.finish(&reference.to_string(), NO_TIME))
}

/// The document of a run on record: its image, its emulator, its native tools.
///
/// # Errors
/// A record of version 1; lock entries of it that are gone or damaged; the store's.
pub(crate) fn of_record(context: &Context, shown: &Shown) -> Result<Value, Error> {
    let (id, what) = (shown.id, "an SPDX document");
    let Kind::Run(record) = &shown.kind else { return Err(RecordError::Old { id, what }.into()) };
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let text = kept::LOCKS.read(&records(&store), &record.run.lock)?;
    let path = kept::LOCKS.path(&records(&store), &record.run.lock);
    let lock: Lock = lock::parse(&String::from_utf8_lossy(&text), &path)?;
    let mut document = Document::default();
    let is_subject = |reference: &Reference, image: &Image| {
        *reference == record.run.reference && image.manifest.digest == record.run.manifest
    };
    for ((reference, _), image) in &lock.images {
        if is_subject(reference, image) {
            document.subject(reference, image);
        }
    }
    for ((reference, _), image) in &lock.images {
        if !document.image(context, &store, reference, image)? {
            let what = format!("not all layers of {reference} are in the store: its packages are not known");
            document.remarks.insert(what);
        }
    }
    for (platform, emulator) in &lock.emulators {
        document.emulator(*platform, emulator);
    }
    for (name, source) in &lock.sources {
        document.source(name, source);
    }
    // To the second, as the format has it.
    let created = format!("{}Z", record.started.chars().take(19).collect::<String>());
    Ok(document.finish(&format!("run {}", id.short()), &created))
}

#[derive(Default)]
struct Document {
    /// By their ids.
    packages: BTreeMap<String, Value>,
    /// From, how, to.
    relationships: BTreeSet<(String, &'static str, String)>,
    /// Texts of licences that have no SPDX identifier, by what they are called.
    licenses: BTreeMap<String, String>,
    remarks: BTreeSet<String>,
    subject: Option<String>,
}

impl Document {
    /// Says what the document is about.
    fn subject(&mut self, reference: &Reference, image: &Image) {
        self.subject = Some(image_id(reference, image));
    }

    /// Adds an image and its packages; `false` where its layers are not in the store.
    fn image(&mut self, context: &Context, store: &Store, reference: &Reference, image: &Image) -> Result<bool, Error> {
        let id = image_id(reference, image);
        let (digest, architecture) = (image.manifest.digest, image.platform.architecture().0);
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let name = repository.rsplit('/').next().unwrap_or_default();
        let tag = reference.tag().map_or_else(String::new, |tag| format!("&tag={}", escaped(tag)));
        let purl = format!(
            "pkg:oci/{}@{}?arch={architecture}&repository_url={}{tag}",
            escaped(name),
            escaped(&digest.to_string()).replace(':', "%3A"),
            escaped(&repository)
        );
        let mut package = package(&id, &reference.to_string(), &digest.to_string(), &purl);
        package.insert("checksums".into(), checksums(&digest));
        package.insert("primaryPackagePurpose".into(), json!("CONTAINER"));
        package.insert("comment".into(), json!("the checksum is that of the image's manifest"));
        self.packages.insert(id.clone(), package.into());
        self.tie(&id);
        let Some(Inventory { distribution, packages, unread }) = inventory(context, store, image)? else {
            return Ok(false);
        };
        for package in &packages {
            self.installed(&id, package, distribution.as_ref());
        }
        self.remarks.extend(
            unread.iter().map(|unread| format!("the packages in {} are not known: {}", unread.path, unread.why)),
        );
        Ok(true)
    }

    fn installed(&mut self, image: &str, found: &Package, distribution: Option<&Distribution>) {
        let purl = found.purl(distribution);
        let id = format!("SPDXRef-Package-{}", Digest::of(format!("{image} {purl}").as_bytes()).short());
        let mut package = package(&id, &found.name, &found.version, &purl);
        if let Some(source) = &found.source {
            let text = format!("built from the source package {} {}", source.name, source.version);
            package.insert("sourceInfo".into(), json!(text));
        }
        if let Some(license) = &found.license {
            package.insert("licenseDeclared".into(), json!(self.license(license)));
        }
        self.packages.insert(id.clone(), package.into());
        self.relationships.insert((image.to_owned(), "CONTAINS", id));
    }

    /// A licence expression for what a database says.
    fn license(&mut self, text: &str) -> String {
        if is_spdx(text) {
            return text.to_owned();
        }
        let name = format!("LicenseRef-{}", Digest::of(text.as_bytes()).short());
        self.licenses.insert(name.clone(), text.to_owned());
        name
    }

    fn emulator(&mut self, platform: Platform, emulator: &Emulator) {
        let id = format!("SPDXRef-Emulator-{}", emulator.digest.short());
        let name = format!("qemu-user for {}", platform.name());
        let version = emulator.version.as_deref().unwrap_or(UNKNOWN);
        let purl = format!("pkg:generic/qemu-user?checksum={}", escaped(&emulator.digest.to_string()));
        let mut package = package(&id, &name, version, &purl);
        package.insert("checksums".into(), checksums(&emulator.digest));
        package.insert("primaryPackagePurpose".into(), json!("APPLICATION"));
        self.packages.insert(id.clone(), package.into());
        self.tie(&id);
    }

    /// Adds a source of the project, which the document is about as well.
    fn source(&mut self, name: &str, source: &Source) {
        let id = format!("SPDXRef-Source-{}", Digest::of(format!("{name} {}", source.digest).as_bytes()).short());
        let purl = format!("pkg:generic/{}?checksum={}", escaped(name), escaped(&source.digest.to_string()));
        let mut package = package(&id, name, source.commit.as_deref().unwrap_or(UNKNOWN), &purl);
        let location = match (&source.url, &source.commit) {
            (Some(url), Some(commit)) => format!("git+{url}@{commit}"),
            (Some(url), None) => url.clone(),
            (None, _) => UNKNOWN.to_owned(),
        };
        package.insert("downloadLocation".into(), json!(location));
        package.insert("checksums".into(), checksums(&source.digest));
        package.insert("primaryPackagePurpose".into(), json!("SOURCE"));
        self.packages.insert(id.clone(), package.into());
        self.relationships.insert((DOCUMENT.to_owned(), "DESCRIBES", id));
    }

    /// What is not the subject is a tool of it.
    fn tie(&mut self, id: &str) {
        match &self.subject {
            Some(subject) if subject != id => {
                self.relationships.insert((id.to_owned(), "BUILD_TOOL_OF", subject.clone()));
            }
            _ => {
                self.relationships.insert((DOCUMENT.to_owned(), "DESCRIBES", id.to_owned()));
            }
        }
    }

    fn finish(self, name: &str, created: &str) -> Value {
        let relationships = self
            .relationships
            .into_iter()
            .map(|(from, how, to)| json!({ "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to }));
        let licenses = self.licenses.into_iter().map(|(name, text)| {
            json!({ "licenseId": name, "name": text, "extractedText": text,
                    "comment": "as the package database has it; not the text of the licence" })
        });
        let mut document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": name,
            "creationInfo": { "created": created, "creators": [concat!("Tool: hermes-", env!("CARGO_PKG_VERSION"))] },
            "packages": self.packages.into_values().collect::<Vec<_>>(),
            "relationships": relationships.collect::<Vec<_>>(),
            "hasExtractedLicensingInfos": licenses.collect::<Vec<_>>(),
        });
        if !self.remarks.is_empty() {
            document["comment"] = self.remarks.into_iter().collect::<Vec<_>>().join("\n").into();
        }
        // Another document has another name, and the same one always this.
        let digest = Digest::of(document.to_string().as_bytes());
        document["documentNamespace"] = format!("https://spdx.org/spdxdocs/hermes-{}", digest.hex()).into();
        document
    }
}

fn image_id(reference: &Reference, image: &Image) -> String {
    format!("SPDXRef-Image-{}", Digest::of(format!("{reference} {}", image.manifest.digest).as_bytes()).short())
}

fn checksums(digest: &Digest) -> Value {
    json!([{ "algorithm": "SHA256", "checksumValue": digest.hex() }])
}

fn package(id: &str, name: &str, version: &str, purl: &str) -> Map<String, Value> {
    let reference =
        json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl });
    [
        ("SPDXID", json!(id)),
        ("name", json!(name)),
        ("versionInfo", json!(version)),
        ("downloadLocation", json!(UNKNOWN)),
        ("filesAnalyzed", json!(false)),
        ("licenseConcluded", json!(UNKNOWN)),
        ("licenseDeclared", json!(UNKNOWN)),
        ("copyrightText", json!(UNKNOWN)),
        ("externalRefs", json!([reference])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}
