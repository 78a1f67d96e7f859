//! Small images made by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use hermes::testing::digest::Digest;
use hermes::testing::oci::{self, Descriptor};

/// A layer's blob and its tar.
#[derive(Clone)]
pub struct Layer {
    pub media_type: &'static str,
    pub blob: Vec<u8>,
    pub tar: Vec<u8>,
    known: Option<(Descriptor, Digest)>,
}

#[derive(Clone, Copy)]
pub enum Codec {
    Plain,
    Gzip,
    Zstd,
}

/// A layer with these files, each below directories that are in the tar too. What is in a `bin` is
/// executable.
pub fn layer(codec: Codec, files: &[(&str, &[u8])]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = |path: &str, kind, mode, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    let mut made = std::collections::BTreeSet::new();
    for (path, bytes) in files {
        for (at, _) in path.match_indices('/') {
            if made.insert(path[..=at].to_owned()) {
                header(&path[..=at], tar::EntryType::Directory, 0o755, b"");
            }
        }
        let permissions = if path.contains("bin/") { 0o755 } else { 0o644 };
        header(path, tar::EntryType::Regular, permissions, bytes);
    }
    pack(codec, tar.into_inner().unwrap())
}

/// A layer with this tar.
pub fn pack(codec: Codec, tar: Vec<u8>) -> Layer {
    let (media_type, blob) = match codec {
        Codec::Plain => ("application/vnd.oci.image.layer.v1.tar", tar.clone()),
        Codec::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&tar).unwrap();
            ("application/vnd.oci.image.layer.v1.tar+gzip", gzip.finish().unwrap())
        }
        Codec::Zstd => ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(&tar[..], 1).unwrap()),
    };
    Layer { media_type, blob, tar, known: None }
}

impl Layer {
    /// One that is this tar, as it is.
    pub fn plain(tar: Vec<u8>) -> Self {
        Self { media_type: "application/vnd.oci.image.layer.v1.tar", blob: tar.clone(), tar, known: None }
    }

    /// One whose bytes are known to the store, and not here.
    pub fn known(descriptor: Descriptor, diff_id: Digest) -> Self {
        Self { media_type: "", blob: vec![], tar: vec![], known: Some((descriptor, diff_id)) }
    }

    pub fn descriptor(&self) -> Descriptor {
        self.known.as_ref().map_or_else(|| describe(self.media_type, &self.blob), |(known, _)| known.clone())
    }

    pub fn diff_id(&self) -> Digest {
        self.known.as_ref().map_or_else(|| Digest::of(&self.tar), |(_, known)| *known)
    }
}

/// A layer with these symbolic links and nothing else.
pub fn links(links: &[(&str, &str)]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
    }
    pack(Codec::Plain, tar.into_inner().unwrap())
}

/// Bytes that do not compress, always the same.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(step).collect()
}

pub fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

/// What a registry holds for one repository.
#[derive(Clone, Default)]
pub struct Content {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// By digest: media type and bytes.
    pub manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    pub tags: BTreeMap<String, Digest>,
}

/// `os`, `architecture` and `variant`.
pub type Platform<'a> = (&'a str, &'a str, Option<&'a str>);

impl Content {
    /// Adds one image and gives its manifest's descriptor, with the platform in it.
    pub fn image(&mut self, platform: Platform, layers: &[Layer]) -> Descriptor {
        self.image_with(platform, layers, &serde_json::json!({ "Env": ["PATH=/bin"] }))
    }

    /// The same with its own `config` of the image config.
    pub fn image_with(
        &mut self,
        (os, architecture, variant): Platform,
        layers: &[Layer],
        run: &serde_json::Value,
    ) -> Descriptor {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id().to_string()).collect();
        let mut config = serde_json::json!({
            "os": os, "architecture": architecture, "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(variant) = variant {
            config["variant"] = variant.into();
        }
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        for layer in layers.iter().filter(|layer| layer.known.is_none()) {
            self.blob(layer.media_type, layer.blob.clone());
        }
        let layers: Vec<_> = layers.iter().map(Layer::descriptor).collect();
        let manifest =
            serde_json::json!({ "schemaVersion": 2, "mediaType": oci::MANIFEST, "config": config, "layers": layers });
        let mut descriptor = self.manifest(oci::MANIFEST, manifest.to_string().into_bytes());
        descriptor.platform = Some(oci::WirePlatform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        });
        descriptor
    }

    /// Adds an index and gives its descriptor.
    pub fn index(&mut self, manifests: &[Descriptor]) -> Descriptor {
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": oci::INDEX, "manifests": manifests });
        self.manifest(oci::INDEX, index.to_string().into_bytes())
    }

    pub fn manifest(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = describe(media_type, &bytes);
        self.manifests.insert(descriptor.digest, (media_type.to_owned(), bytes));
        descriptor
    }

    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = describe(media_type, &bytes);
        self.blobs.insert(descriptor.digest, bytes);
        descriptor
    }

    /// Writes an image layout whose `index.json` has the tagged documents.
    pub fn write_layout(&self, dir: &Path) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let documents = self.manifests.iter().map(|(digest, (_, bytes))| (digest, bytes));
        for (digest, bytes) in self.blobs.iter().chain(documents) {
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        let tops = self.tags.iter().map(|(tag, digest)| {
            let (media_type, bytes) = &self.manifests[digest];
            let mut top = describe(media_type, bytes);
            top.annotations.insert("org.opencontainers.image.ref.name".into(), tag.clone());
            top
        });
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": tops.collect::<Vec<_>>() });
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    pub fn tag(mut self, tag: &str, descriptor: &Descriptor) -> Self {
        self.tags.insert(tag.to_owned(), descriptor.digest);
        self
    }
}

/// An index of amd64 (gzip, zstd), arm64 and arm/v5 (both with amd64's first layer), tagged `1`.
pub fn multi_arch() -> (Content, [Layer; 3]) {
    let base = layer(Codec::Gzip, &[("etc/os-release", b"ID=test\n"), ("usr/share/noise", &noise(300_000))]);
    let tool = layer(Codec::Zstd, &[("usr/bin/tool", b"#!/bin/sh\n")]);
    let plain = layer(Codec::Plain, &[("usr/lib/arm", b"arm\n")]);
    let mut content = Content::default();
    let entries = [
        content.image(("linux", "amd64", None), &[base.clone(), tool.clone(), base.clone()]),
        content.image(("linux", "arm64", Some("v8")), &[base.clone(), plain.clone()]),
        content.image(("linux", "arm", Some("v5")), &[base.clone(), plain.clone()]),
        content.image(("linux", "arm", Some("v7")), std::slice::from_ref(&plain)),
    ];
    let index = content.index(&entries);
    (content.tag("1", &index), [base, tool, plain])
}
