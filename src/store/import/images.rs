//! The images of a layout or an archive, and their names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::digest::Digest;
use crate::lock::is_of_packages;
use crate::oci::{self, Descriptor, Document};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::bundle::PART;
use crate::store::import::docker;
use crate::store::import::source::{MAX_IMAGES, Source, TOO_MANY};
use crate::store::prune::{MAX_DEPTH, is_document};
use crate::store::refs::REF_NAME;
use crate::store::{Store, StoreError};

const INDEX: &str = "index.json";
/// Where `docker buildx` puts the full name; its `org.opencontainers.image.ref.name` is only the tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

impl Store {
    /// Takes all images of the layout `source` into the store: a directory, or a tar of one or of
    /// `docker save`, plain or compressed by gzip, zstd, xz or bzip2. Each is called what the layout says, or `rename` where there is only one. Images
    /// for platforms that the layout has no manifest of are left out, as a sparse layout wants it.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`], [`StoreError::BadFile`], [`StoreError::Archive`], [`StoreError::Nameless`],
    /// [`StoreError::Incomplete`]; a blob that is not what its digest says; the system's. No name is
    /// set then, though blobs that were in order may have come in.
    pub fn import(
        &self,
        source: &Path,
        rename: Option<&Reference>,
        reporter: &dyn Reporter,
    ) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
        let layout = Source::open(self, source, reporter)?;
        let mut named = match layout.index()? {
            // Docker writes an index without images for those that have no name.
            Some(index) => match self.in_layout(&layout, &index, source, rename)? {
                named if named.is_empty() && layout.members.has_manifest() => in_archive(&layout, source, rename)?,
                named => named,
            },
            None => in_archive(&layout, source, rename)?,
        };
        if named.is_empty() {
            return Err(StoreError::NotALayout { path: source.to_owned(), why: "there is no image in it" });
        }
        if named.len() > MAX_IMAGES {
            return Err(layout.not_a_layout(TOO_MANY));
        }
        let mut done = BTreeSet::new();
        for (_, top) in &named {
            self.import_document(&layout, top, top, reporter, 0, &mut done)?;
        }
        for (name, top) in &mut named {
            // What the layout's index said beside it is the layout's.
            *top = Descriptor::new(&top.media_type, top.digest, top.size);
            // Of these names only those count that this store has given itself, to what it has composed: they say of which
            // packages an image is made. A lock finds the image by its digest.
            if is_of_packages(name) {
                *name = name.pinned(top.digest);
            }
            match self.find_ref(name)? {
                Some(before) if before.digest != top.digest => {
                    reporter.warn(&format!("{name} now refers to {}; it referred to {}", top.digest, before.digest));
                }
                _ => {}
            }
            self.set_ref(name, top)?;
        }
        Ok(named)
    }

    /// The images that the `index.json` of a layout lists, and how each is to be called.
    fn in_layout(
        &self,
        layout: &Source,
        index: &[u8],
        source: &Path,
        rename: Option<&Reference>,
    ) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
        let mut tops = match Document::parse(index, Some(oci::INDEX)).map_err(|error| layout.bad(INDEX, error))? {
            Document::Index(tops) => tops,
            Document::Manifest(_) => return Err(layout.not_a_layout("its index.json is a manifest")),
        };
        // What a bundle has beside images is for `bundle load`.
        tops.retain(|top| is_document(&top.media_type) && !top.annotations.contains_key(PART));
        Ok(match rename {
            Some(name) if tops.len() > 1 => {
                // One image, whose index is the layout's own.
                let platforms: BTreeSet<_> = tops.iter().filter_map(|top| top.platform.as_ref()).collect();
                if platforms.len() != tops.len() {
                    let why = "it has several, which would all get the same name";
                    return Err(StoreError::Nameless { path: source.to_owned(), why });
                }
                vec![(name.clone(), self.add_blob(index, oci::INDEX)?)]
            }
            Some(name) => tops.into_iter().map(|top| (name.clone(), top)).collect(),
            None => by_name(tops, source)?,
        })
    }

    /// Brings in an index or manifest and what it needs, that first, unless it is among those `done`: the same document can
    /// be listed any number of times. `image` is for messages.
    fn import_document(
        &self,
        layout: &Source,
        document: &Descriptor,
        image: &Descriptor,
        reporter: &dyn Reporter,
        depth: u32,
        done: &mut BTreeSet<(Digest, u32)>,
    ) -> Result<(), StoreError> {
        if !done.insert((document.digest, depth)) {
            return Ok(());
        }
        layout.take(self, document, image, reporter)?;
        match self.read_document(document)? {
            Document::Index(children) => {
                let (mut present, mut some) = (false, false);
                for child in children.iter().filter(|child| is_document(&child.media_type) && depth < MAX_DEPTH) {
                    some = true;
                    if layout.has(child) || self.has_blob(child) {
                        self.import_document(layout, child, document, reporter, depth + 1, done)?;
                        present = true;
                    }
                }
                match children.first() {
                    Some(child) if some && !present => Err(layout.incomplete(child, document)),
                    _ => Ok(()),
                }
            }
            Document::Manifest(manifest) => {
                let parts = manifest.layers.iter().chain([&manifest.config]);
                parts.into_iter().try_for_each(|part| layout.take(self, part, document, reporter))
            }
        }
    }
}

/// The images of a Docker archive, and how each is to be called.
fn in_archive(
    layout: &Source,
    source: &Path,
    rename: Option<&Reference>,
) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
    let Some(images) = docker::images(layout)? else {
        return Err(layout.not_a_layout("there is neither an oci-layout nor a manifest.json in it"));
    };
    let nameless = |why| StoreError::Nameless { path: source.to_owned(), why };
    if rename.is_some() && images.len() > 1 {
        return Err(nameless("it has several, which would all get the same name"));
    }
    let mut named = BTreeMap::new();
    for (tags, top) in images {
        let tags = rename.map_or(tags, |name| vec![name.clone()]);
        if tags.is_empty() {
            return Err(nameless("an image in it has no name"));
        }
        for name in tags {
            if named.insert(name, top.clone()).is_some_and(|other| other.digest != top.digest) {
                return Err(nameless("two images in it have the same name"));
            }
        }
    }
    Ok(named.into_iter().collect())
}

/// The names that the layout itself gives.
fn by_name(tops: Vec<Descriptor>, source: &Path) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
    let mut named: BTreeMap<Reference, Descriptor> = BTreeMap::new();
    let nameless = |why| StoreError::Nameless { path: source.to_owned(), why };
    for top in tops {
        let annotations = [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(|key| top.annotations.get(key));
        // "latest" or "12" alone is a tag, although it could be read as a repository.
        let name = annotations.filter(|name| name.contains(['/', ':'])).find_map(|name| name.parse().ok());
        let name = name.ok_or_else(|| nameless("an image in it has no name, or only a tag"))?;
        match named.insert(name, top.clone()) {
            Some(other) if other.digest != top.digest => return Err(nameless("two images in it have the same name")),
            _ => {}
        }
    }
    Ok(named.into_iter().collect())
}
