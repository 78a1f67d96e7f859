//! An image as an OCI image layout.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use tar::Builder;

use crate::digest::{Digest, HashingReader};
use crate::oci::{Descriptor, Document};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::export::sink::Sink;
use crate::store::layout::OCI_LAYOUT;
use crate::store::prune::{MAX_DEPTH, is_document};
use crate::store::{Store, StoreError};

impl Store {
    /// Writes the image `name`, with all its platforms that are in the store, to `out`. The same store
    /// gives the same bytes: names sorted, no times, no owners.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] where a manifest is here and its layers' blobs are not; a blob that is
    /// not what its digest says, with what was written so far worth nothing; `out`'s.
    pub fn export(
        &self,
        name: &Reference,
        top: &Descriptor,
        out: impl Write,
        reporter: &dyn Reporter,
    ) -> Result<(), StoreError> {
        let mut archive = Builder::new(out);
        self.write_layout(name, top, &mut archive, reporter)?;
        let failed = |source| StoreError::Io { action: "write the archive of", path: self.root().to_owned(), source };
        archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)
    }

    /// Writes the same as files into the existing, empty directory `to`.
    pub fn export_directory(
        &self,
        name: &Reference,
        top: &Descriptor,
        mut to: &Path,
        reporter: &dyn Reporter,
    ) -> Result<(), StoreError> {
        self.write_layout(name, top, &mut to, reporter)
    }

    fn write_layout(
        &self,
        name: &Reference,
        top: &Descriptor,
        to: &mut dyn Sink,
        reporter: &dyn Reporter,
    ) -> Result<(), StoreError> {
        let mut blobs = BTreeMap::new();
        self.collect(top, &mut blobs, 0)?;
        let task = reporter.start(&format!("writing {name}"), blobs.values().sum());
        let written = self.write_files(name, top, &blobs, to, &|bytes| reporter.advance(task, bytes));
        reporter.finish(task);
        written
    }

    /// Adds `from` and all it needs to `blobs`, by digest and size.
    fn collect(&self, from: &Descriptor, blobs: &mut BTreeMap<Digest, u64>, depth: u32) -> Result<(), StoreError> {
        blobs.insert(from.digest, from.size);
        match self.read_document(from)? {
            Document::Index(children) => {
                let here = |child: &&Descriptor| is_document(&child.media_type) && self.has_blob(child);
                children
                    .iter()
                    .filter(here)
                    .filter(|_| depth < MAX_DEPTH)
                    .try_for_each(|child| self.collect(child, blobs, depth + 1))
            }
            Document::Manifest(manifest) => {
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    if !self.has_blob(part) {
                        let path = self.root().to_owned();
                        return Err(StoreError::Incomplete { path, digest: part.digest, image: from.digest });
                    }
                    blobs.insert(part.digest, part.size);
                }
                Ok(())
            }
        }
    }

    fn write_files(
        &self,
        name: &Reference,
        top: &Descriptor,
        blobs: &BTreeMap<Digest, u64>,
        to: &mut dyn Sink,
        advance: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { action: "write the archive of", path: self.root().to_owned(), source };
        to.file("oci-layout", OCI_LAYOUT.len() as u64, &mut &OCI_LAYOUT[..]).map_err(failed)?;
        let index = self.index_of([(name.clone(), top.clone())])?;
        to.file("index.json", index.len() as u64, &mut &index[..]).map_err(failed)?;
        // skopeo, as an ordinary user, cannot make a directory that has no entry.
        for directory in ["blobs", "blobs/sha256"] {
            to.directory(directory).map_err(failed)?;
        }
        blobs.iter().try_for_each(|(digest, size)| self.write_blob(digest, *size, to, advance))
    }

    /// Writes a blob of the store, which is verified as it is read.
    pub(in crate::store) fn write_blob(
        &self,
        digest: &Digest,
        size: u64,
        to: &mut dyn Sink,
        advance: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { action: "write the archive of", path: self.root().to_owned(), source };
        let path = self.blob_path(digest);
        let file = self.inner.trust.open(&path).map_err(StoreError::io("open", &path))?;
        let mut hashed = HashingReader::new(Counted { inner: file, advance });
        to.file(&format!("blobs/sha256/{}", digest.hex()), size, &mut hashed).map_err(failed)?;
        let actual = hashed.into_parts().1.finish();
        if actual == *digest { Ok(()) } else { Err(StoreError::Corrupt { path, expected: *digest, actual }) }
    }
}

struct Counted<'a, R> {
    inner: R,
    advance: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.advance)(n as u64);
        Ok(n)
    }
}
