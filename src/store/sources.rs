//! Unpacked sources, by the key of everything that decides their content (`lock::Source::key`): `sources/<key>/fs`, read-only;
//! `tree`, the digest of that; `done`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::{boot, source_digest};
use crate::store::durability::{open_directory, read_line};
use crate::store::layers::holds_tree;
use crate::store::staging::DONE;
use crate::store::staging::make_directory;
use crate::store::staging::{TempDir, Tree, create_new, take_group};
use crate::store::{Store, StoreError};

/// Has the digest of the tree.
const TREE: &str = "tree";

impl Store {
    /// Whether the source is unpacked, by what was found out in this boot ([`Self::mark_source_durable`]).
    #[must_use]
    pub fn has_source(&self, key: &Digest) -> bool {
        let source = self.source(key);
        let made = read_line(&source.join(DONE));
        made.is_some_and(|made| made.is_empty() || boot::is_current(&made)) && holds_tree(&source)
    }

    /// Where the unpacked source is, or would be.
    #[must_use]
    pub fn source_path(&self, key: &Digest) -> PathBuf {
        self.source(key).join("fs")
    }

    /// The digest that the tree had when it was unpacked; `None` where it is not whole.
    #[must_use]
    pub fn source_tree(&self, key: &Digest) -> Option<Digest> {
        let place = self.source(key);
        read_line(&place.join(DONE)).filter(|_| holds_tree(&place))?;
        Digest::from_hex(&read_line(&place.join(TREE))?).ok()
    }

    /// What is wrong with an unpacked source, of which every byte is read.
    #[must_use]
    pub fn source_fault(&self, key: &Digest) -> Option<String> {
        let Some(tree) = self.source_tree(key) else { return Some("is not whole".into()) };
        match source_digest::of_tree(&self.source_path(key)) {
            Ok(found) if found == tree => None,
            Ok(found) => Some(format!("tree digest mismatch: expected {tree}, got {found}")),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Records that a source that was unpacked in an earlier boot is on disk.
    pub fn mark_source_durable(&self, key: &Digest) {
        // In a read-only store every process checks the source.
        if let Ok(directory) = open_directory(&self.source(key)) {
            let _ = self.mark_durable(&directory);
        }
    }

    /// Begins to unpack a source.
    pub fn create_source(&self) -> Result<SourceStage, StoreError> {
        let stage = SourceStage(self.temp_dir()?);
        let tree = stage.path();
        fs::create_dir(&tree).map_err(StoreError::io("create", &tree))?;
        take_group(&tree)?;
        Ok(stage)
    }

    /// Publishes a source that was unpacked, with the digest of its tree.
    pub fn commit_source(&self, stage: &SourceStage, key: &Digest, tree: &Digest) -> Result<(), StoreError> {
        let path = stage.0.path().join(TREE);
        let written = create_new(&path).and_then(|mut file| file.write_all(tree.hex().as_bytes()));
        written.map_err(StoreError::io("write", &path))?;
        // Stores made before there were sources lack the directory.
        let parent = self.path("sources");
        make_directory(&parent).map_err(StoreError::io("create", &parent))?;
        self.publish_trees([(&stage.0, Tree::Source(key))])
    }

    pub(super) fn source(&self, key: &Digest) -> PathBuf {
        self.path("sources").join(key.hex())
    }
}

/// A source being unpacked. Dropped without [`Store::commit_source`], it leaves nothing.
#[derive(Debug)]
pub struct SourceStage(TempDir);

impl SourceStage {
    /// The directory the tree grows in.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("fs")
    }
}
