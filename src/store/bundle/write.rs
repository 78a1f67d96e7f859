//! Writing a bundle.

use std::io::Write;

use tar::Builder;

use crate::digest::Digest;
use crate::lock::Lock;
use crate::oci::Descriptor;
use crate::progress::Reporter;
use crate::store::bundle::contents::{Contents, Form, Part};
use crate::store::export::sink::Sink as _;
use crate::store::layout::OCI_LAYOUT;
use crate::store::{Store, StoreError};

impl Store {
    /// The blobs that a bundle of `lock` takes and the store does not have, each with what it is.
    pub fn lacking(&self, lock: &Lock, form: Form) -> Result<Vec<(Digest, String)>, StoreError> {
        let contents = Contents::of(lock, form, crate::lock::render(lock).into_bytes(), self.root())?;
        let blob = |digest: &Digest, size: u64| Descriptor::new("", *digest, size);
        let missing = contents.blobs.iter().filter(|(digest, size)| !self.has_blob(&blob(digest, **size)));
        Ok(missing.map(|(digest, _)| (*digest, contents.name(digest))).collect())
    }

    /// Writes a bundle of `lock` to `out`, and says what it holds. The same lock gives the same bytes.
    ///
    /// # Errors
    /// A blob that is not there, or is not what its digest says, with what was written so far worth nothing; `out`'s.
    pub fn write_bundle(
        &self,
        lock: &Lock,
        form: Form,
        out: impl Write,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Part>, StoreError> {
        let contents = Contents::of(lock, form, crate::lock::render(lock).into_bytes(), self.root())?;
        let failed = |source| StoreError::Io { action: "write the bundle of", path: self.root().to_owned(), source };
        let mut archive = Builder::new(out);
        archive.file("oci-layout", OCI_LAYOUT.len() as u64, &mut &OCI_LAYOUT[..]).map_err(failed)?;
        archive.file("index.json", contents.index.len() as u64, &mut &contents.index[..]).map_err(failed)?;
        for directory in ["blobs", "blobs/sha256"] {
            archive.directory(directory).map_err(failed)?;
        }
        let task = reporter.start("writing the bundle", contents.blobs.values().sum());
        let advance = |bytes| reporter.advance(task, bytes);
        let written = contents.order().try_for_each(|(digest, size)| match contents.made.get(digest) {
            Some(bytes) => {
                let name = format!("blobs/sha256/{}", digest.hex());
                archive.file(&name, size, &mut &bytes[..]).map_err(failed)
            }
            None => self.write_blob(digest, size, &mut archive, &advance),
        });
        reporter.finish(task);
        written?;
        archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)?;
        Ok(contents.parts)
    }
}
