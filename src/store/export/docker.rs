//! An image as `docker save` writes it: config, layers as plain tars, and a `manifest.json` that names them. `docker load`,
//! podman and skopeo read it; the config and the `diff_id`s do not change.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Write};

use serde::Serialize;
use tar::Builder;

use crate::digest::HashingReader;
use crate::layer::{Decoder, LayerError};
use crate::lock;
use crate::oci;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::export::sink::Sink;
use crate::store::{Store, StoreError};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Store {
    /// Writes `image` as `name` to `out`, in the form of `docker save`. The same image gives the same bytes.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] where a blob is not here; a layer that is not what its `diff_id` says,
    /// with what was written so far worth nothing; `out`'s.
    pub fn export_docker(
        &self,
        name: &Reference,
        image: &lock::Image,
        out: impl Write,
        reporter: &dyn Reporter,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { action: "write the archive of", path: self.root().to_owned(), source };
        for part in image.layers.iter().map(|layer| &layer.blob).chain([&image.config]) {
            if !self.has_blob(part) {
                let path = self.root().to_owned();
                return Err(StoreError::Incomplete { path, digest: part.digest, image: image.manifest.digest });
            }
        }
        let config = self.read_blob(&image.config, oci::MAX_CONFIG)?;
        let file = |layer: &lock::Layer| format!("{}.tar", layer.diff_id.hex());
        let wire = WireImage {
            config: format!("{}.json", image.config.digest.hex()),
            // A name of a digest alone has no tag to be called by.
            repo_tags: name
                .tag()
                .map(|tag| format!("{}/{}:{tag}", name.registry(), name.repository()))
                .into_iter()
                .collect(),
            layers: image.layers.iter().map(file).collect(),
        };
        let mut archive = Builder::new(out);
        archive.file(&wire.config, config.len() as u64, &mut &config[..]).map_err(failed)?;
        let mut written = BTreeSet::new();
        for layer in image.layers.iter().filter(|layer| written.insert(layer.diff_id)) {
            let task = reporter.start(&format!("writing {}", layer.diff_id.short()), 0);
            let done = self.write_layer(layer, &file(layer), &mut archive);
            reporter.finish(task);
            done?;
        }
        let path = self.root().to_owned();
        let manifest = serde_json::to_vec(&[wire]).map_err(|source| StoreError::Ref { path, source })?;
        archive.file("manifest.json", manifest.len() as u64, &mut &manifest[..]).map_err(failed)?;
        archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)
    }

    /// Reads the layer twice: its length must be known before its content is written.
    fn write_layer(&self, layer: &lock::Layer, name: &str, to: &mut impl Sink) -> Result<(), StoreError> {
        let digest = layer.blob.digest;
        let damaged = |source: io::Error| StoreError::Layer { digest, source: LayerError::from(source) };
        let open = || {
            let blob = BufReader::new(self.open_blob(&layer.blob)?);
            Decoder::new(blob, self.limits()).map_err(|source| StoreError::Layer { digest, source })
        };
        let mut tar = HashingReader::new(open()?);
        let size = io::copy(&mut tar, &mut io::sink()).map_err(damaged)?;
        let actual = tar.into_parts().1.finish();
        if actual != layer.diff_id {
            return Err(StoreError::DiffId { digest, expected: layer.diff_id, actual });
        }
        to.file(name, size, &mut open()?).map_err(damaged)
    }
}
