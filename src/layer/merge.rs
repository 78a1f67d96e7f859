//! Merging of layers into one tree, by their tables of contents: the result is what an overlay would show, for hosts where an
//! overlay cannot be mounted and for layers that it would show incorrectly.
//!
//! Files are hard links to those of the layers' trees, which nobody writes to, or copies that may be written to; directories
//! are new.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::io;
use std::ops::Bound;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use crate::fs::copy;
use crate::layer::limits::weight;
use crate::layer::path::split;
use crate::layer::toc::{Entry, Kind, Toc};
use crate::layer::tree::{self, Tree};
use crate::layer::{LayerError, MemoryBudget};
use crate::visible::visible_path;

/// Most that all layers of an image may have together, in entries ...
const MAX_ENTRIES: u64 = 8_000_000;
/// ... and in bytes of paths, link targets and extended attributes.
const MAX_TABLE: u64 = 512 << 20;

/// What the files of a merged tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// The layers' own, by another name; where that cannot be, as [`Self::Copied`].
    Linked,
    /// Clones that share their blocks (`FICLONE`); where the file system has none, copies.
    Copied,
}

/// Layers, added from the lowest up.
#[derive(Debug)]
pub struct Merge {
    nodes: BTreeMap<Vec<u8>, Node>,
    trees: Vec<PathBuf>,
    memory: MemoryBudget,
}

impl Default for Merge {
    fn default() -> Self {
        Self::limited(MAX_ENTRIES, MAX_TABLE)
    }
}

/// What stands at a path after the layers so far.
#[derive(Debug, Clone)]
struct Node {
    /// What its layer says of it; of a hard link, what it says of the file.
    entry: Entry,
    /// The first name of the file in its layer, where that is another.
    first: Option<Vec<u8>>,
    /// Whether the layer has the file by that name alone: this one is a link of a layer above.
    moved: bool,
    /// Which of the trees has it.
    tree: usize,
}

impl Node {
    /// The first name of the file in its layer; `path` is its own.
    fn first<'a>(&'a self, path: &'a [u8]) -> &'a [u8] {
        self.first.as_deref().unwrap_or(path)
    }

    fn weight(&self, path: &[u8]) -> usize {
        weight(path, &self.entry) + self.first.as_ref().map_or(0, Vec::len)
    }
}

impl Toc {
    /// Whether an overlay with the layer's tree above others shows what the layer means. It does not
    /// where the tree cannot say it: a directory that is only implied gets a mode of its own, which would
    /// win over that of the layers below; a device, a FIFO or a link to a file of a layer below is not on disk, so
    /// it hides nothing; and overlayfs looks for no opaque mark on a root.
    #[must_use]
    pub fn suits_overlay(&self) -> bool {
        self.entries.iter().all(|entry| match entry.kind {
            Kind::Directory if entry.path.is_empty() => !entry.opaque,
            Kind::Directory => !entry.implied,
            kind => !is_special(kind) && kind != Kind::LowerLink,
        })
    }

    /// Whether it has hard links to files of layers below, without which it is no layer.
    #[must_use]
    pub fn needs_layers_below(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == Kind::LowerLink)
    }
}

fn is_special(kind: Kind) -> bool {
    matches!(kind, Kind::CharDevice | Kind::BlockDevice | Kind::Fifo)
}

impl Merge {
    /// One of at most so many entries and bytes of paths, link targets and extended attributes.
    pub(super) fn limited(entries: u64, table: u64) -> Self {
        Self { nodes: BTreeMap::new(), trees: Vec::new(), memory: MemoryBudget::new(entries, table) }
    }

    /// Adds the next layer: its TOC and its unpacked tree.
    ///
    /// # Errors
    /// [`LayerError::HardLink`], for a link to what the layers below do not have; [`LayerError::Limit`].
    pub fn add(&mut self, toc: Toc, tree: PathBuf) -> Result<(), LayerError> {
        // The links to files of layers below mean those that are there before anything of this layer is.
        let mut lower = HashMap::new();
        for entry in toc.entries.iter().filter(|entry| entry.kind == Kind::LowerLink) {
            let node = self.below(&entry.link, &entry.path)?;
            self.memory.more(node.weight(&entry.path))?;
            lower.insert(entry.path.clone(), node);
        }
        let mut files = HashMap::new();
        for entry in toc.entries.iter().filter(|entry| entry.kind == Kind::Hardlink) {
            if !files.contains_key(&entry.link)
                && let Ok(at) = toc.entries.binary_search_by(|other| other.path.cmp(&entry.link))
            {
                files.insert(entry.link.clone(), (toc.entries[at].kind, toc.entries[at].link.clone()));
            }
        }
        for mut entry in toc.entries {
            let path = std::mem::take(&mut entry.path);
            let leader = if entry.kind == Kind::Hardlink { &entry.link } else { &path };
            let node = if let Some(node) = lower.get(leader) {
                node.clone()
            } else {
                let mut first = None;
                if entry.kind == Kind::Hardlink
                    && let Some((kind, link)) = files.get(&entry.link)
                {
                    first = Some(std::mem::replace(&mut entry.link, link.clone()));
                    entry.kind = *kind;
                }
                Node { entry, first, moved: false, tree: self.trees.len() }
            };
            self.memory.add(node.weight(&path))?;
            self.put(path, node);
        }
        self.trees.push(tree);
        Ok(())
    }

    /// The file that the layers so far have at `target`, for a link to it at `path`.
    fn below(&self, target: &[u8], path: &[u8]) -> Result<Node, LayerError> {
        match self.nodes.get(target) {
            Some(node) if node.entry.kind != Kind::Directory => {
                Ok(Node { first: Some(node.first(target).to_vec()), moved: true, ..node.clone() })
            }
            _ => Err(LayerError::HardLink { path: visible_path(path), target: visible_path(target) }),
        }
    }

    fn put(&mut self, path: Vec<u8>, node: Node) {
        let below = self.nodes.get(&path).map(|below| below.entry.kind);
        if node.entry.kind == Kind::Directory && below == Some(Kind::Directory) {
            // Entries of this same layer come after their directory, so all that is there is older.
            if node.entry.opaque {
                self.clear(&path);
            }
            if node.entry.implied {
                return;
            }
        } else if below == Some(Kind::Directory) {
            self.clear(&path);
        }
        if node.entry.kind == Kind::Whiteout {
            self.nodes.remove(&path);
        } else {
            self.nodes.insert(path, node);
        }
    }

    /// Removes what is in a directory.
    fn clear(&mut self, path: &[u8]) {
        let first = if path.is_empty() { vec![0] } else { [path, b"/"].concat() };
        let inside = |other: &[u8]| path.is_empty() || other.starts_with(&first);
        let below = self.nodes.range::<[u8], _>((Bound::Included(first.as_slice()), Bound::Unbounded));
        let gone: Vec<_> = below.map(|(other, _)| other).take_while(|other| inside(other)).cloned().collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    /// What all layers make together, as if it were one layer: names of one file are hard links to the first of them.
    ///
    /// # Errors
    /// [`LayerError::Limit`].
    pub fn into_toc(mut self) -> Result<Toc, LayerError> {
        let mut firsts: HashMap<(usize, Vec<u8>), Vec<u8>> = HashMap::new();
        let mut entries = Vec::with_capacity(self.nodes.len());
        for (path, node) in self.nodes {
            let first = node.first.unwrap_or_else(|| path.clone());
            let mut entry = Entry { path, implied: false, opaque: false, ..node.entry };
            if entry.kind != Kind::Directory {
                match firsts.entry((node.tree, first)) {
                    hash_map::Entry::Occupied(first) => {
                        self.memory.more(first.get().len())?;
                        entry.kind = Kind::Hardlink;
                        entry.link.clone_from(first.get());
                    }
                    hash_map::Entry::Vacant(none) => drop(none.insert(entry.path.clone())),
                }
            }
            entries.push(entry);
        }
        Ok(Toc { entries })
    }

    /// Makes the merged tree in the existing, empty directory `into`. Devices and FIFOs are left out, as
    /// they are in the layers' trees.
    ///
    /// # Errors
    /// The system's. `into` is then in any state.
    pub fn write(self, into: &Path, as_what: Files) -> Result<(), LayerError> {
        let mut tree = Tree::open(into).map_err(LayerError::io("open", b"."))?;
        let mut files: Vec<Vec<(&[u8], &Node)>> = vec![Vec::new(); self.trees.len()];
        for (path, node) in &self.nodes {
            match node.entry.kind {
                Kind::Directory if path.is_empty() => {}
                Kind::Directory => tree.make_directory(path).map_err(LayerError::io("create", path))?,
                kind if is_special(kind) => {}
                _ => files[node.tree].push((path, node)),
            }
        }
        // One layer at a time: each open tree has many descriptors.
        for (from, files) in self.trees.iter().zip(files) {
            let mut from = Tree::open(from).map_err(LayerError::io("open", from.as_os_str().as_encoded_bytes()))?;
            let mut copied = HashMap::new();
            for (path, node) in files {
                place(&mut from, &mut tree, path, node, as_what, &mut copied).map_err(LayerError::io("link", path))?;
            }
        }
        for (path, Node { entry, .. }) in &self.nodes {
            if entry.kind == Kind::Directory {
                tree.finish_directory(path, entry.mode, entry.mtime, &entry.xattrs, false)
                    .map_err(LayerError::io("finish", path))?;
            }
        }
        Ok(())
    }
}

/// Makes `path` in `to` the same file as in `from`, or one like it. `copied` has where files of this layer
/// were copied to, by their first name.
fn place<'a>(
    from: &mut Tree,
    to: &mut Tree,
    path: &'a [u8],
    node: &'a Node,
    as_what: Files,
    copied: &mut HashMap<&'a [u8], &'a [u8]>,
) -> io::Result<()> {
    let (parent, name) = split(path);
    let (at, original) = split(if node.moved { node.first(path) } else { path });
    let source = from.directory(at)?;
    if as_what == Files::Linked {
        match rustix::fs::linkat(source, original, to.directory(parent)?, name, AtFlags::empty()) {
            Err(error) if tree::takes_no_link(error) => {}
            other => return Ok(other?),
        }
    }
    let entry = &node.entry;
    if let Some(first) = copied.get(node.first(path))
        && to.make_hardlink(path, first)?
    {
        return Ok(());
    }
    if entry.kind == Kind::Symlink {
        to.make_symlink(path, &entry.link, entry.mtime)?;
    } else {
        let original = tree::open_file(source.as_fd(), original)?;
        let copy = to.make_file(path)?;
        copy::content(original, &copy)?;
        tree::finish_file(&copy, entry.mode, entry.mtime, &entry.xattrs)?;
    }
    copied.insert(node.first(path), path);
    Ok(())
}
