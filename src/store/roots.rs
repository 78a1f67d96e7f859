//! Merged roots: the layers of an image as one tree, named by chain id, for images whose layers an overlay would not show
//! correctly.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::boot;
use crate::layer::{Files, Merge};
use crate::oci::chain_id;
use crate::progress::Silent;
use crate::store::claim::{Job, Work};
use crate::store::durability::read_line;
use crate::store::layers::holds_tree;
use crate::store::staging::DONE;
use crate::store::staging::make_directory;
use crate::store::staging::{Trash, Tree, take_group};
use crate::store::{Store, StoreError};

/// What the name of a tree's digest begins with, in the directory of its uppermost layer; the chain id follows.
const TREE_DIGEST: &str = "tree-";
/// Longest note beside a merged tree, in bytes.
const MAX_NOTE: u64 = 4 << 20;

/// What tells a kept digest that was damaged.
fn check_of(digest: &Digest, chain_id: &Digest) -> String {
    Digest::of(format!("{digest} {chain_id}").as_bytes()).short()
}

/// The kept digest of the tree of `chain_id`; `None` where it is damaged.
fn read_tree_digest(text: &str, chain_id: &Digest) -> Option<Digest> {
    let (hex, check) = text.split_once(' ')?;
    Digest::from_hex(hex).ok().filter(|digest| check == check_of(digest, chain_id))
}

impl Store {
    /// The layers merged, lowest first, all of which are unpacked. The tree is made where it is not there
    /// yet; its files are links to those of the layers.
    ///
    /// # Errors
    /// [`StoreError::Toc`], [`StoreError::Layers`], [`StoreError::Merge`].
    pub fn merged_root(&self, chain_id: &Digest, diff_ids: &[Digest]) -> Result<PathBuf, StoreError> {
        let to = self.root_of(chain_id);
        if !self.has_root(chain_id) {
            let job = Job { work: Work::Root(*chain_id), label: "merged tree", total: 0 };
            if let Some(_claim) = self.claim(job, &Silent, &|| self.has_root(chain_id)) {
                self.merge(chain_id, diff_ids)?;
            }
        }
        Ok(to.join("fs"))
    }

    /// A copy of the merged tree of its own, which may be written to, in the existing, empty directory `into`.
    pub fn copy_root(&self, diff_ids: &[Digest], into: &Path) -> Result<(), StoreError> {
        let merge = self.layers_merged(diff_ids)?;
        merge.write(into, Files::Copied).map_err(|source| StoreError::Merge { root: into.to_owned(), source })
    }

    /// What was noted beside a merged tree under `name`, in this boot.
    #[must_use]
    pub fn root_note(&self, chain_id: &Digest, name: &str) -> Option<String> {
        let read = || self.inner.trust.read(&self.root_of(chain_id).join(name), MAX_NOTE).ok();
        self.has_root(chain_id).then(read).flatten().and_then(|text| String::from_utf8(text).ok())
    }

    /// Notes something beside a merged tree, for as long as that stays.
    pub fn note_root(&self, chain_id: &Digest, name: &str, text: &[u8]) -> Result<(), StoreError> {
        self.publish(&format!("roots/{}/{name}", chain_id.hex()), text)
    }

    /// What the layers make together, lowest first, all of which are unpacked: the digest of
    /// [the table of contents](crate::layer::Toc::rootfs_digest) of the merged tree. It is kept beside the uppermost layer,
    /// since it takes reading all tables.
    ///
    /// # Errors
    /// [`StoreError::Toc`], [`StoreError::Layers`].
    pub fn tree_digest(&self, diff_ids: &[Digest]) -> Result<Digest, StoreError> {
        let make = || {
            let toc = self.layers_merged(diff_ids)?.into_toc().map_err(|source| StoreError::Layers { source })?;
            Ok(toc.rootfs_digest())
        };
        let (Some(top), Some(chain_id)) = (diff_ids.last(), chain_id(diff_ids)) else { return make() };
        let path = self.layer(top).join(format!("{TREE_DIGEST}{}", chain_id.hex()));
        let kept = || read_tree_digest(&read_line(&path).filter(|_| self.has_layer(top))?, &chain_id);
        let job = Job { work: Work::Tree(chain_id), label: "digest of the tree", total: 0 };
        let claim = if kept().is_some() { None } else { self.claim(job, &Silent, &|| kept().is_some()) };
        // One that is gone again is found out again.
        if claim.is_none()
            && let Some(digest) = kept()
        {
            return Ok(digest);
        }
        let digest = make()?;
        // In a store that cannot be written to everybody finds it out.
        let text = format!("{} {}\n", digest.hex(), check_of(&digest, &chain_id));
        let _ = self.publish(&format!("layers/{}/{TREE_DIGEST}{}", top.hex(), chain_id.hex()), text.as_bytes());
        Ok(digest)
    }

    fn layers_merged(&self, diff_ids: &[Digest]) -> Result<Merge, StoreError> {
        let mut merge = Merge::default();
        for diff_id in diff_ids {
            let toc = self.toc(diff_id)?;
            merge.add(toc, self.layer_path(diff_id)).map_err(|source| StoreError::Layers { source })?;
        }
        Ok(merge)
    }

    fn merge(&self, chain_id: &Digest, diff_ids: &[Digest]) -> Result<(), StoreError> {
        let merge = self.layers_merged(diff_ids)?;
        let temp = self.temp_dir()?;
        let tree = temp.path().join("fs");
        fs::create_dir(&tree).map_err(StoreError::io("create", &tree))?;
        take_group(&tree)?;
        merge
            .write(&tree, Files::Linked)
            .map_err(|source| StoreError::Merge { root: self.root_of(chain_id), source })?;
        // Stores made before there were merged roots lack the directory.
        let parent = self.path("roots");
        make_directory(&parent).map_err(StoreError::io("create", &parent))?;
        self.publish_trees([(&temp, Tree::Root(chain_id))])
    }

    /// Whether the tree is there, made in this boot: what a reboot spoilt of one cannot be seen, and making
    /// it again costs little.
    pub(super) fn has_root(&self, chain_id: &Digest) -> bool {
        let root = self.root_of(chain_id);
        read_line(&root.join(DONE)).is_some_and(|made| boot::is_current(&made)) && holds_tree(&root)
    }

    /// Takes out all merged trees but those `kept`; they are made again when they are needed.
    pub(super) fn take_roots(&self, trash: &mut Trash, kept: &BTreeSet<Digest>) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.path("roots")).into_iter().flatten().flatten() {
            let chain_id = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            if !chain_id.is_some_and(|chain_id| kept.contains(&chain_id)) {
                trash.take(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn root_of(&self, chain_id: &Digest) -> PathBuf {
        self.path("roots").join(chain_id.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_digest_that_is_damaged_is_none() {
        let (digest, chain_id) = (Digest::of(b"tree"), Digest::of(b"chain"));
        let text = format!("{} {}", digest.hex(), check_of(&digest, &chain_id));
        assert_eq!(read_tree_digest(&text, &chain_id), Some(digest));
        assert_eq!(read_tree_digest(&text, &digest), None, "of another chain");
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(read_tree_digest(&String::from_utf8_lossy(&damaged), &chain_id), None, "{at}");
            assert_eq!(read_tree_digest(&text[..at], &chain_id), None, "{at}");
        }
    }
}
