//! A layout or an archive that is read: a directory, or the files of an archive staged in the store.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::{Digest, Hasher};
use crate::fs::atomic;
use crate::layer::{self, LayerError, Limits, Member};
use crate::oci::{self, Descriptor, DocumentError};
use crate::progress::Reporter;
use crate::store::import::members::Members;
use crate::store::staging::TempDir;
use crate::store::{Store, StoreError};

/// Longest `oci-layout` read, in bytes.
const MAX_LAYOUT: u64 = 4 << 10;
/// Maximum number of images of one archive: with each name the list of all names is written again.
pub(super) const MAX_IMAGES: usize = 1000;
pub(super) const TOO_MANY: &str = "it has more than 1000 images";
/// The directories of a layout.
const BLOBS: &str = "blobs/sha256";

/// A layout: as it lies in a directory, or taken out of an archive into `tmp/`, hashed.
pub(super) struct Source {
    /// What the user named.
    name: PathBuf,
    directory: PathBuf,
    staged: Option<TempDir>,
    /// What an archive has beside a layout.
    pub(super) members: Members,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLayout {
    image_layout_version: String,
}

impl Source {
    /// Opens a layout; an archive is read to its end, since its index may come last.
    pub(super) fn open(store: &Store, name: &Path, reporter: &dyn Reporter) -> Result<Self, StoreError> {
        let meta = fs::metadata(name).map_err(StoreError::io("read", name))?;
        let source = if meta.is_dir() {
            Self { name: name.to_owned(), directory: name.to_owned(), staged: None, members: Members::default() }
        } else {
            let temp = store.temp_dir()?;
            let task = reporter.start(&format!("reading {}", name.display()), meta.len());
            let staged = stage(name, temp.path(), store.limits(), &mut |bytes| reporter.advance(task, bytes));
            reporter.finish(task);
            let members = staged?;
            Self { name: name.to_owned(), directory: temp.path().to_owned(), staged: Some(temp), members }
        };
        Ok(source)
    }

    /// The bytes of `index.json`; `None` where this is an archive and no layout.
    pub(super) fn index(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.staged.is_some() && !self.directory.join("oci-layout").exists() {
            return Ok(None);
        }
        let layout = self.read("oci-layout", MAX_LAYOUT, "there is no oci-layout in it")?;
        match serde_json::from_slice::<WireLayout>(&layout) {
            Ok(layout) if layout.image_layout_version.starts_with("1.") => {
                self.read("index.json", oci::MAX_MANIFEST, "there is no index.json in it").map(Some)
            }
            _ => Err(self.not_a_layout("its oci-layout is not of version 1")),
        }
    }

    fn read(&self, name: &str, limit: u64, why: &'static str) -> Result<Vec<u8>, StoreError> {
        let path = self.directory.join(name);
        atomic::read_limited(&path, limit).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => self.not_a_layout(why),
            _ => StoreError::Io { action: "read", path, source },
        })
    }

    pub(super) fn not_a_layout(&self, why: &'static str) -> StoreError {
        StoreError::NotALayout { path: self.name.clone(), why }
    }

    pub(super) fn bad(&self, file: &'static str, source: DocumentError) -> StoreError {
        StoreError::BadFile { path: self.name.clone(), file, source }
    }

    pub(super) fn incomplete(&self, blob: &Descriptor, image: &Descriptor) -> StoreError {
        StoreError::Incomplete { path: self.name.clone(), digest: blob.digest, image: image.digest }
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join(BLOBS).join(digest.hex())
    }

    /// Whether the layout has the blob.
    pub(super) fn has(&self, blob: &Descriptor) -> bool {
        fs::metadata(self.blob(&blob.digest)).is_ok_and(|meta| meta.is_file())
    }

    /// Brings a blob into the store, unless it is there.
    pub(super) fn take(
        &self,
        store: &Store,
        blob: &Descriptor,
        image: &Descriptor,
        reporter: &dyn Reporter,
    ) -> Result<(), StoreError> {
        if store.has_blob(blob) {
            return Ok(());
        }
        let path = self.blob(&blob.digest);
        let Ok(meta) = fs::metadata(&path) else { return Err(self.incomplete(blob, image)) };
        // Opening a FIFO would wait for ever.
        if !meta.is_file() {
            return Err(self.incomplete(blob, image));
        }
        if meta.len() != blob.size {
            return Err(StoreError::Size { digest: blob.digest, expected: blob.size, actual: meta.len() });
        }
        if self.staged.is_some() {
            return store.adopt(&path, &blob.digest);
        }
        let mut from = File::open(&path).map_err(StoreError::io("read", &path))?;
        let mut to = store.create_blob(blob)?;
        let task = reporter.start(&format!("blob {}", blob.digest.short()), blob.size);
        let copied = copy(&mut from, &mut to, &mut |bytes| reporter.advance(task, bytes));
        reporter.finish(task);
        copied.map_err(|source| StoreError::Io { action: "copy", path, source })?;
        to.commit()
    }
}

/// Takes the files of a layout or of a Docker archive out of an archive. No name of it becomes a path
/// unseen: a layout's are known, other files are called by their digests. So a blob that is a link to a file with another
/// name is there under its digest.
fn stage(archive: &Path, to: &Path, limits: &Limits, advance: &mut dyn FnMut(u64)) -> Result<Members, StoreError> {
    let blobs = to.join(BLOBS);
    fs::create_dir_all(&blobs).map_err(StoreError::io("create", &blobs))?;
    let file = File::open(archive).map_err(StoreError::io("read", archive))?;
    let (mut wrong, mut members) = (None, Members::default());
    layer::for_each_member(Counted { file, advance }, limits, &mut |path, member| {
        let Ok(text) = str::from_utf8(path) else { return member.skip() };
        let content = match member {
            Member::Link { target, hard } => {
                if let Ok(target) = str::from_utf8(target) {
                    members.add_link(text, target, hard)?;
                }
                return Ok(());
            }
            Member::File(content) => content,
        };
        let digest =
            text.strip_prefix(BLOBS).and_then(|rest| rest.strip_prefix('/')).and_then(|hex| Digest::from_hex(hex).ok());
        let path = match (text, digest) {
            ("oci-layout" | "index.json", _) => to.join(text),
            (_, Some(digest)) => blobs.join(digest.hex()),
            _ if Members::concerns(text) => to.join("member"),
            _ => return content(&mut io::sink()),
        };
        let failed = |source| LayerError::Io { action: "write", path: text.to_owned(), source };
        let mut file = File::create(&path).map_err(failed)?;
        let mut hasher = Hasher::default();
        content(&mut Both(&mut file, &mut hasher))?;
        let (size, actual) = (hasher.count(), hasher.finish());
        match digest {
            Some(expected) if actual != expected => {
                wrong.get_or_insert(StoreError::Mismatch { expected, actual });
            }
            None if path == to.join("member") => {
                fs::rename(&path, blobs.join(actual.hex())).map_err(failed)?;
                members.add_file(text, actual, size)?;
            }
            // Archives in Docker's form name what lies there, too.
            Some(_) => members.add_file(text, actual, size)?,
            None => {}
        }
        Ok(())
    })
    .map_err(|source| StoreError::Archive { path: archive.to_owned(), source })?;
    wrong.map_or(Ok(members), Err)
}

struct Both<'a>(&'a mut File, &'a mut Hasher);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.write(bytes)?;
        self.1.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Tells how far the archive is read.
struct Counted<'a> {
    file: File,
    advance: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        (self.advance)(length as u64);
        Ok(length)
    }
}

fn copy(from: &mut File, to: &mut dyn Write, advance: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        advance(length as u64);
    }
}
