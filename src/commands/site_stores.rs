//! Site stores: stores of others, searched before the network. Nothing is written to them, and only their names are
//! trusted: every digest is verified, as with a registry.

use std::io;
use std::path::{Path, PathBuf};

use crate::commands::{Context, Error};
use crate::fetch::unpack_from;
use crate::hint::error_chain;
use crate::lock::{self, Image};
use crate::oci::{self, Descriptor};
use crate::reference::Reference;
use crate::resolve::{Wanted, resolve_local};
use crate::store::{Store, StoreError};

/// The usable site stores.
pub(super) struct Sites<'a> {
    context: &'a Context,
    stores: Vec<Store>,
}

impl<'a> Sites<'a> {
    /// Opens them. A store that cannot be opened is no error, since it belongs to another user.
    pub(super) fn open(context: &'a Context) -> Self {
        let left_out = |path: &Path, why: &str| {
            context.reporter.warn(&format!("skipping site store {}: {why}", path.display()));
        };
        let open = |path: &PathBuf| match Store::open_site(path) {
            Ok(Some(site)) => Some(site),
            Ok(None) => {
                left_out(path, "there is no store");
                None
            }
            Err(error) => {
                left_out(path, &error_chain(&error));
                None
            }
        };
        Self { context, stores: context.sites.iter().filter_map(open).collect() }
    }

    /// Acquires an image from a site store: the `known` one, else the first one that a site store has by this name. `None` where
    /// no site store has all of it.
    pub(super) fn find(
        &self,
        store: &Store,
        reference: &Reference,
        wanted: &Wanted,
        known: Option<&Image>,
    ) -> Result<Option<Image>, Error> {
        for site in &self.stores {
            let image = match known {
                Some(image) => Some(image.clone()),
                None => resolve_local(reference, wanted.clone(), site).unwrap_or_else(|error| {
                    self.note(site, &error);
                    None
                }),
            };
            let Some(image) = image else { continue };
            if site.has_blob(&image.manifest)
                && let Err(error) = documents(&image, site, store)
            {
                self.note(site, &error);
            }
            self.layers(&image, site, store);
            if store.has_image(&image) {
                let pinned = reference.pinned(image.top().digest);
                let name = if known.is_some() { &pinned } else { reference };
                // Another process may have set it at the same time.
                if store.find_ref(name)?.is_none_or(|top| top.digest != image.top().digest) {
                    store.set_ref(name, image.top())?;
                }
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Unpacks what site stores have of the layers of `image` that `store` lacks.
    pub(super) fn unpack(&self, store: &Store, image: &Image) {
        let missing = |layer: &&lock::Layer| !store.has_blob(&layer.blob);
        if store.missing_layers(image).iter().any(missing) {
            for site in &self.stores {
                self.layers(image, site, store);
            }
        }
    }

    /// Whether a site store has a blob, so that it need not be fetched.
    pub(super) fn has_blob(&self, blob: &Descriptor) -> bool {
        self.stores.iter().any(|site| site.has_blob(blob))
    }

    /// Copies a blob from the first site store that has the right bytes.
    pub(super) fn copy_blob(&self, store: &Store, blob: &Descriptor) -> bool {
        let copy = |site: &Store| {
            let mut to = store.create_blob(blob)?;
            let mut from = site.open_blob(blob)?;
            io::copy(&mut from, &mut to).map_err(|source| StoreError::Io {
                action: "copy",
                path: site.blob_path(&blob.digest),
                source,
            })?;
            to.commit()
        };
        self.stores.iter().filter(|site| site.has_blob(blob)).any(|site| match copy(site) {
            Ok(()) => true,
            Err(error) => {
                self.note(site, &error);
                false
            }
        })
    }

    fn layers(&self, image: &Image, site: &Store, store: &Store) {
        if let Err(error) = unpack_from(image, site, store, self.context.reporter.as_ref()) {
            self.note(site, &error);
        }
    }

    fn note(&self, site: &Store, error: &dyn std::error::Error) {
        let line = format!("cannot use site store {}: {}", site.root().display(), error_chain(error));
        self.context.reporter.warn(&line);
    }
}

fn documents(image: &Image, site: &Store, store: &Store) -> Result<(), StoreError> {
    for document in image.index.iter().chain([&image.manifest, &image.config]) {
        if !store.has_blob(document) {
            store.add_blob(&site.read_blob(document, oci::MAX_CONFIG)?, &document.media_type)?;
        }
    }
    Ok(())
}
