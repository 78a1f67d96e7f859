//! SPDX 2.3 documents: the packages in the images that a run used, its emulators and its sources. The same record and the
//! same images give the same bytes. `docs/packages.md` lists what is in them, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::lock::{self, Emulator, Image, Source};
use crate::packages::{Distribution, Inventory, Package, escaped, is_spdx};
use crate::platform::Platform;
use crate::reference::Reference;

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// An SPDX document that grows.
#[derive(Default)]
pub(crate) struct Document {
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
    /// Makes an image the subject of the document.
    pub(crate) fn subject(&mut self, reference: &Reference, image: &Image) {
        self.subject = Some(image_id(reference, image));
    }

    /// Adds an image, and its packages where those are known.
    pub(crate) fn image(&mut self, reference: &Reference, image: &Image, inventory: Option<&Inventory>) {
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
        let Some(Inventory { distribution, packages, unread }) = inventory else { return };
        for package in packages {
            self.installed(&id, package, distribution.as_ref());
        }
        for unread in unread {
            self.remark(format!("the packages in {} are not known: {}", unread.path, unread.why));
        }
    }

    /// Adds a line to the comment of the document.
    pub(crate) fn remark(&mut self, line: String) {
        self.remarks.insert(line);
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

    pub(crate) fn emulator(&mut self, platform: Platform, emulator: &Emulator) {
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
    pub(crate) fn source(&mut self, name: &str, source: &Source) {
        let id = self.add_source(name, source);
        self.relationships.insert((DOCUMENT.to_owned(), "DESCRIBES", id));
    }

    /// Adds a source of the toolchain.
    pub(crate) fn toolchain_source(&mut self, name: &str, source: &Source) {
        let id = self.add_source(name, source);
        self.tie(&id);
    }

    /// Adds a source, and returns its id.
    fn add_source(&mut self, name: &str, source: &Source) -> String {
        let id = format!("SPDXRef-Source-{}", Digest::of(format!("{name} {}", source.digest).as_bytes()).short());
        let checksum = escaped(&source.digest.to_string());
        let purl = match &source.package {
            Some(of) => format!("{}?checksum={checksum}", index_package_url(of)),
            None => format!("pkg:generic/{}?checksum={checksum}", escaped(name)),
        };
        let version = source.package.as_ref().map(|package| package.requirement.version());
        let version = version.or(source.commit.as_deref()).unwrap_or(UNKNOWN);
        let mut package = package(&id, name, version, &purl);
        let location = match (&source.url, &source.commit) {
            (Some(url), Some(commit)) => format!("git+{url}@{commit}"),
            (Some(url), None) => url.clone(),
            (None, _) => UNKNOWN.to_owned(),
        };
        package.insert("downloadLocation".into(), json!(location));
        package.insert("checksums".into(), checksums(&source.digest));
        package.insert("primaryPackagePurpose".into(), json!("SOURCE"));
        self.packages.insert(id.clone(), package.into());
        id
    }

    /// Relates a package to the subject, whose build tool it is, or, if it is the subject, to the document.
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

    /// The document, with this name and time.
    pub(crate) fn finish(self, name: &str, created: &str) -> Value {
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

/// The purl of a package of an index.
pub(super) fn index_package_url(package: &lock::Package) -> String {
    let requirement = &package.requirement;
    format!("pkg:pypi/{}@{}", requirement.name(), escaped(requirement.version()))
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
