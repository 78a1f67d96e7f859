//! Names of images (`refs/`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fs::flock;
use crate::oci::{self, Descriptor};
use crate::reference::Reference;
use crate::store::{Store, StoreError};

/// Longest file of a reference read, in bytes.
const MAX_REF: u64 = 64 << 10;
/// The annotation by which other tools find an image in a layout (OCI image spec, annotations).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireRef {
    pub(super) name: Reference,
    pub(super) target: Descriptor,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

impl Store {
    /// Sets `name` to `top`, an index or manifest whose parts are in the store already.
    pub fn set_ref(&self, name: &Reference, top: &Descriptor) -> Result<(), StoreError> {
        let target = Descriptor::new(&top.media_type, top.digest, top.size);
        let wire = WireRef { name: name.clone(), target };
        let _guard = self.lock_refs()?;
        let path = self.ref_path(name);
        let bytes = serde_json::to_vec(&wire).map_err(|source| StoreError::Ref { path, source })?;
        self.publish(&ref_name(name), &bytes)?;
        self.write_index()
    }

    /// The target of `name`.
    ///
    /// # Errors
    /// [`StoreError::Ref`].
    pub fn find_ref(&self, name: &Reference) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.read_ref(self.ref_path(name))?.map(|wire| wire.target))
    }

    /// Whether there is a file for `name`, whatever is in it.
    #[must_use]
    pub fn has_ref(&self, name: &Reference) -> bool {
        fs::symlink_metadata(self.ref_path(name)).is_ok()
    }

    /// All names and their targets, sorted.
    ///
    /// # Errors
    /// [`StoreError::Ref`].
    pub fn refs(&self) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
        let directory = self.path("refs");
        let mut refs = Vec::new();
        for entry in fs::read_dir(&directory).map_err(StoreError::io("read", &directory))? {
            let path = entry.map_err(StoreError::io("read", &directory))?.path();
            if path.extension() == Some(OsStr::new("json")) {
                // One that is gone was removed by another process.
                refs.extend(self.read_ref(path)?.map(|wire| (wire.name, wire.target)));
            }
        }
        refs.sort();
        Ok(refs)
    }

    /// Removes `name`, not its target ([`Store::remove`]). Returns whether there was one.
    pub(super) fn remove_ref(&self, name: &Reference) -> Result<bool, StoreError> {
        let _guard = self.lock_refs()?;
        let path = self.ref_path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.write_index().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Io { action: "remove", path, source }),
        }
    }

    /// Writes `index.json` for other tools; hermes itself never reads it.
    pub(super) fn write_index(&self) -> Result<(), StoreError> {
        self.publish("index.json", &self.index_of(self.refs()?)?)
    }

    /// Repairs what killed writers left: orphaned files, and an `index.json` that lacks names. Every write to the store does
    /// so; this is for commands that find nothing to write.
    ///
    /// # Errors
    /// [`StoreError::Ref`].
    pub fn tidy(&self) -> Result<(), StoreError> {
        self.sweep_once();
        let index = self.index_of(self.refs()?)?;
        // One that cannot be read is rewritten, too.
        if self.is_file("index.json", &index) {
            return Ok(());
        }
        let _guard = self.lock_refs()?;
        self.write_index()
    }

    /// The `index.json` of a layout with these names.
    pub(super) fn index_of(
        &self,
        names: impl IntoIterator<Item = (Reference, Descriptor)>,
    ) -> Result<Vec<u8>, StoreError> {
        let manifests = names.into_iter().map(|(name, target)| Descriptor {
            annotations: BTreeMap::from([(REF_NAME.to_owned(), name.to_string())]),
            ..target
        });
        let index = WireIndex { schema_version: 2, media_type: oci::INDEX, manifests: manifests.collect() };
        let path = self.path("index.json");
        serde_json::to_vec(&index).map_err(|source| StoreError::Ref { path, source })
    }

    /// Keeps two writers from leaving each other's name out of `index.json`.
    pub(super) fn lock_refs(&self) -> Result<flock::Guard, StoreError> {
        let path = self.path("index.json");
        flock::beside(&path).map_err(StoreError::io("lock", &path))
    }

    /// Whether the file `name` of the store has these bytes.
    pub(super) fn is_file(&self, name: &str, bytes: &[u8]) -> bool {
        let found = self.inner.trust.read(&self.path(name), bytes.len() as u64);
        found.is_ok_and(|found| found == bytes)
    }

    /// What the file of a reference says; `None` where it is gone.
    pub(super) fn read_ref(&self, path: PathBuf) -> Result<Option<WireRef>, StoreError> {
        match self.inner.trust.read(&path, MAX_REF) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| StoreError::Ref { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::io("read", &path)(source)),
        }
    }

    pub(super) fn ref_path(&self, name: &Reference) -> PathBuf {
        self.path(&ref_name(name))
    }
}

pub(super) fn ref_name(name: &Reference) -> String {
    format!("refs/{}.json", Digest::of(name.to_string().as_bytes()).hex())
}
