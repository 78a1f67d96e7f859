//! Layers over each other: the merged tree, the overlay and a model in memory must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hermes::testing::digest::Digest;
use hermes::testing::layer::{Files, Merge, Toc};
use hermes::testing::lock;
use hermes::testing::oci::Descriptor;
use hermes::testing::oci::chain_id;
use hermes::testing::platform::Platform;
use hermes::testing::rootfs::Rootfs;
use hermes::testing::store::Store;

use tar::EntryType;

use crate::image_config::debian;
use crate::support::context::{TestContext, sandboxes};
use crate::support::image::{Content, Layer};
use crate::support::process::Run;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const SEEDS: u64 = 100;

/// What a file system has at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    /// Its number is that of its inode.
    File {
        inode: u64,
        content: String,
    },
    Symlink(String),
    Directory,
    /// Not on disk, but hiding what was there.
    Fifo,
}

/// A node, its mode and time.
type Tree = BTreeMap<String, (Node, u32, u64)>;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for at in (1..list.len()).rev() {
        list.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Changes `tree` by a few operations, as the commands of one build step would; a `plain` tree has no FIFOs.
fn operate(tree: &mut Tree, random: &mut Random, inodes: &mut u64, plain: bool) {
    for _ in 0..2 + random.below(8) {
        let directories: Vec<String> = std::iter::once(String::new())
            .chain(tree.iter().filter(|(_, (node, ..))| *node == Node::Directory).map(|(path, _)| path.clone()))
            .collect();
        let directory = random.pick(&directories).clone();
        // Few names, so that the same path is taken again and again.
        let name = *random.pick(&["a", "b", "c", "a-", "a.b"]);
        let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
        if path.matches('/').count() > 3 {
            continue;
        }
        let what = random.below(10);
        if what == 9 {
            tree.retain(|other, _| *other != path && !is_below(other, &path));
            continue;
        }
        let file = tree.iter().find(|(other, (node, ..))| matches!(node, Node::File { .. }) && **other != path);
        let linked = file.map(|(_, node)| node.clone()).filter(|_| what == 8);
        let stays = what < 4 && tree.get(&path).is_some_and(|(node, ..)| *node == Node::Directory);
        if !stays {
            tree.retain(|other, _| *other != path && !is_below(other, &path));
        }
        *inodes += 1;
        let node = match what {
            0..4 => Node::Directory,
            4..6 | 8 => Node::File { inode: *inodes, content: "x".repeat(usize::try_from(random.below(50)).unwrap()) },
            6 => Node::Symlink(format!("{}/nowhere", *inodes)),
            _ if plain => Node::Symlink("plain".into()),
            _ => Node::Fifo,
        };
        let mode = *random.pick(&[0o755, 0o700, 0o711, 0o1777, 0o640, 0o600]);
        let (mode, time) = if node == Node::Directory && random.chance(30) && !stays {
            (0o755, 0) // as one that no tar has
        } else {
            (mode, 1_600_000_000 + *inodes)
        };
        tree.insert(path, linked.unwrap_or((node, mode, time)));
    }
}

/// A tar that makes `old` into `new`, and means the same in whichever way it is written. A `plain` one, as
/// most tools write it, has every directory that something in it is in.
fn diff(old: &Tree, new: &Tree, random: &mut Random, plain: bool) -> Vec<u8> {
    let inode = |node: &(Node, u32, u64)| if let Node::File { inode, .. } = node.0 { Some(inode) } else { None };
    let directory = |tree: &Tree, path: &str| tree.get(path).is_some_and(|(node, ..)| *node == Node::Directory);
    // Directories all of which is written anew, behind an opaque mark.
    let opaque: BTreeSet<&String> =
        new.keys().filter(|path| directory(old, path) && directory(new, path) && random.chance(40)).collect();
    let covered = |path: &str| opaque.iter().any(|opaque| is_below(path, opaque));
    let mut changed: BTreeSet<&String> =
        new.iter().filter(|(path, node)| covered(path) || old.get(*path) != Some(node)).map(|(path, _)| path).collect();
    // All names of a file come together, as a union file system copies it up before it links it.
    let inodes: BTreeSet<_> = changed.iter().filter_map(|path| inode(&new[*path])).collect();
    changed.extend(new.iter().filter(|(_, node)| inode(node).is_some_and(|it| inodes.contains(&it))).map(|(p, _)| p));
    let mut entries: Vec<(String, Option<&String>)> = Vec::new();
    for path in &opaque {
        entries.push((format!("{path}/.wh..wh..opq"), None));
    }
    for path in old.keys().filter(|path| !new.contains_key(*path) && !covered(path)) {
        // Of what went with its directory, or gave way to something else, only the top is told.
        let above = parent(path);
        if above.is_empty() || directory(new, above) {
            entries.push((format!("{above}/.wh.{}", path.rsplit('/').next().unwrap()), None));
        }
    }
    for path in &changed {
        let (_, mode, time) = &new[*path];
        let below = changed.iter().any(|other| is_below(other, path));
        let like_implied = directory(new, path) && !directory(old, path) && (*mode, *time) == (0o755, 0);
        if like_implied && below && !plain {
            continue;
        }
        if old.get(*path).is_some() && !directory(old, path) && random.chance(50) {
            entries.push((format!("{}/.wh.{}", parent(path), path.rsplit('/').next().unwrap()), None));
        }
        entries.push(((*path).clone(), Some(path)));
    }
    // Directories that did not change may be told of or not.
    for (path, _) in new.iter().filter(|(path, _)| !changed.contains(path) && directory(new, path)) {
        if random.chance(20) || plain {
            entries.push((path.clone(), Some(path)));
        }
    }
    shuffle(&mut entries, random);
    let mut tar = tar::Builder::new(Vec::new());
    let mut written: BTreeMap<u64, String> = BTreeMap::new();
    for (name, path) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        let name = name.trim_start_matches('/').to_owned();
        let Some((node, mode, time)) = path.map(|path| &new[path]) else {
            tar.append_data(&mut header, name, &b""[..]).unwrap();
            continue;
        };
        header.set_mode(*mode);
        header.set_mtime(*time);
        match node {
            Node::File { inode, content } => {
                if let Some(first) = written.get(inode) {
                    header.set_entry_type(tar::EntryType::Link);
                    tar.append_link(&mut header, &name, first).unwrap();
                } else {
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, &name, content.as_bytes()).unwrap();
                    written.insert(*inode, name);
                }
            }
            Node::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, &name, target).unwrap();
            }
            Node::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, format!("{name}/"), &b""[..]).unwrap();
            }
            Node::Fifo => {
                header.set_entry_type(tar::EntryType::Fifo);
                tar.append_data(&mut header, &name, &b""[..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// What can be seen at each path: type, mode, size, time, target, digest.
type Seen = BTreeMap<String, String>;

fn expected(tree: &Tree) -> Seen {
    let mut seen = Seen::new();
    for (path, (node, mode, time)) in tree {
        let text = match node {
            Node::File { content, .. } => {
                let digest = Digest::of(content.as_bytes()).hex();
                format!("f {:o} {} {time} {digest}", mode & 0o777 | 0o600, content.len())
            }
            Node::Symlink(target) => format!("l {} {time} {target}", target.len()),
            Node::Directory => format!("d {:o} {time}", mode | 0o700),
            Node::Fifo => continue,
        };
        seen.insert(path.clone(), text);
    }
    seen
}

/// Mounts each line of standard input (a name, then lower directories) and tells what is seen in it, below
/// `== NAME`; the second argument is where.
const LOOK: &str = r#"
    mount -t tmpfs none "$1" && mkdir "$1/empty" "$1/view" || exit
    while read -r name lower; do
        mount -t overlay -o "userxattr,lowerdir=$lower:$1/empty" none "$1/view" || exit
        echo "== $name"
        (cd "$1/view" && find . -mindepth 1 -printf '%y %m %s %Ts %P %l\n' &&
            find . -type f -printf '%P\n' | xargs -r -d '\n' sha256sum) || exit
        umount "$1/view"
    done"#;

fn parse(text: &str) -> BTreeMap<String, Seen> {
    let mut views = BTreeMap::new();
    for view in text.split("== ").skip(1) {
        let (name, lines) = view.split_once('\n').unwrap();
        let mut seen = Seen::new();
        for line in lines.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let (path, text) = match words[..] {
                [digest, "", path] => {
                    let _ = write!(seen.get_mut(path).unwrap(), " {digest}");
                    continue;
                }
                ["d", mode, _, time, path, ..] => (path, format!("d {mode} {time}")),
                ["l", _, size, time, path, target] => (path, format!("l {size} {time} {target}")),
                [kind, mode, size, time, path, ..] => (path, format!("{kind} {mode} {size} {time}")),
                _ => panic!("{line:?}"),
            };
            seen.insert(path.to_owned(), text);
        }
        views.insert(name.to_owned(), seen);
    }
    views
}

fn unpack(store: &Store, tar: &[u8]) -> lock::Layer {
    let digest = Digest::of(tar);
    let layer = lock::Layer { blob: Descriptor::new(TAR, digest, tar.len() as u64), diff_id: digest };
    if !store.has_layer(&digest) {
        let mut stage = store.create_layer(&digest).unwrap();
        stage.unpack_from(tar, &layer).unwrap();
        store.commit_layers(&[stage]).unwrap();
    }
    layer
}

fn image(layers: Vec<lock::Layer>) -> lock::Image {
    let none = Descriptor::new("", Digest::of(b""), 0);
    lock::Image {
        platform: Platform::host(),
        label: None,
        index: None,
        manifest: none.clone(),
        config: none,
        layers,
        tree: None,
    }
}

fn lower(rootfs: &Rootfs) -> String {
    let paths: Vec<_> = rootfs.lower.iter().map(|path| rootfs.base.join(path).display().to_string()).collect();
    paths.join(":")
}

/// A store in memory, if there is such a place: each layer is synced to disk.
fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

fn merged(store: &Store, layers: &[lock::Layer]) -> PathBuf {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    store.merged_root(&chain_id(&diff_ids).unwrap(), &diff_ids).unwrap()
}

fn merge_into(store: &Store, layers: &[lock::Layer], to: &Path) {
    let mut merge = Merge::default();
    for layer in layers {
        let toc = Toc::read(fs::File::open(store.toc_path(&layer.diff_id)).unwrap()).unwrap();
        merge.add(toc, store.layer_path(&layer.diff_id)).unwrap();
    }
    fs::create_dir(to).unwrap();
    merge.write(to, Files::Linked).unwrap();
}

fn look(views: &str) -> BTreeMap<String, Seen> {
    let at = tempfile::tempdir().unwrap();
    let arguments = ["-Urm", "sh", "-c", LOOK, "sh", at.path().to_str().unwrap()];
    parse(&Run::new("unshare").args(arguments).input(views.as_bytes()).env("LC_ALL", "C").ok())
}

#[test]
fn t07_parallel_unpack_keeps_whiteouts() {
    if !sandboxes() {
        return;
    }
    // Where /dev/shm is another file system, no file can be linked to elsewhere: all are copied.
    let ((_dir, store), elsewhere) = (store(), tempfile::tempdir().unwrap());
    let (mut views, mut wanted, mut as_they_are) = (String::new(), BTreeMap::new(), 0);
    let mut trees = BTreeSet::new();
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut tree, mut inodes) = (Tree::new(), 0);
        let mut tars = Vec::new();
        let plain = seed % 2 == 0;
        for _ in 0..3 + random.below(3) {
            let old = tree.clone();
            operate(&mut tree, &mut random, &mut inodes, plain);
            tars.push(diff(&old, &tree, &mut random, plain));
        }
        // In any order, several at a time.
        let mut order: Vec<_> = tars.iter().collect();
        shuffle(&mut order, &mut random);
        std::thread::scope(|scope| {
            for tar in order {
                scope.spawn(|| unpack(&store, tar));
            }
        });
        let layers: Vec<_> = tars.iter().map(|tar| unpack(&store, tar)).collect();
        // However it is cut into layers, it is one tree.
        let whole = [unpack(&store, &diff(&Tree::new(), &tree, &mut random, true))];
        let [cut, whole] =
            [&layers[..], &whole].map(|layers| store.tree_digest(&image(layers.to_vec()).diff_ids()).unwrap());
        assert_eq!(cut, whole, "seed {seed}");
        assert!(trees.insert(whole), "seed {seed} is an earlier one's tree");
        let rootfs = Rootfs::of(&image(layers.clone()), &store).unwrap();
        as_they_are += u64::from(rootfs.base.ends_with("layers"));
        let _ = writeln!(views, "{seed}-overlay {}", lower(&rootfs));
        let _ = writeln!(views, "{seed}-merged {}", merged(&store, &layers).display());
        let copy = elsewhere.path().join(seed.to_string());
        merge_into(&store, &layers, &copy);
        let _ = writeln!(views, "{seed}-elsewhere {}", copy.display());
        wanted.insert(seed, expected(&tree));
    }
    let seen = look(&views);
    assert_eq!(seen.len(), wanted.len() * 3);
    for (seed, wanted) in &wanted {
        for view in ["merged", "overlay", "elsewhere"] {
            assert_eq!(&seen[&format!("{seed}-{view}")], wanted, "seed {seed}: {view}");
        }
    }
    assert!((SEEDS / 2..SEEDS).contains(&as_they_are), "{as_they_are} of {SEEDS} were mounted as they are");
}

/// A layer of these entries: name, kind, mode and time; files have their name as content.
fn layer(entries: &[(&str, EntryType, u32, u64)]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, mode, time) in entries {
        let mut header = tar::Header::new_ustar();
        let content = if *kind == EntryType::Regular { name.as_bytes() } else { b"" };
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(*time);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    Layer::plain(tar.into_inner().unwrap())
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;
const TIME: u64 = 1_700_000_000;

/// Each view of these layers: mounted as hermes would, merged, merged by copying.
fn views(layers: &[Layer]) -> Vec<Seen> {
    let ((_dir, store), elsewhere) = (store(), tempfile::tempdir().unwrap());
    let layers: Vec<_> = layers.iter().map(|layer| unpack(&store, &layer.tar)).collect();
    let rootfs = Rootfs::of(&image(layers.clone()), &store).unwrap();
    let copy = elsewhere.path().join("copy");
    merge_into(&store, &layers, &copy);
    let all = [lower(&rootfs), merged(&store, &layers).display().to_string(), copy.display().to_string()];
    let lines: Vec<_> = all.iter().enumerate().map(|(at, lower)| format!("{at} {lower}\n")).collect();
    look(&lines.concat()).into_values().collect()
}

#[test]
fn names_of_one_file_stay_so_where_it_is_copied() {
    let ((_dir, store), elsewhere) = (store(), tempfile::tempdir().unwrap());
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    for name in ["a", "d/z"] {
        header.set_entry_type(if name == "a" { FILE } else { EntryType::Link });
        header.set_mode(0o640);
        if name == "a" {
            tar.append_data(&mut header, name, &b""[..]).unwrap();
        } else {
            tar.append_link(&mut header, name, "a").unwrap();
        }
    }
    tar.append_link(&mut header, "e/y", "a").unwrap();
    let layers = [tar.into_inner().unwrap(), layer(&[(".wh.a", FILE, 0o644, TIME)]).tar];
    let layers: Vec<_> = layers.iter().map(|tar| unpack(&store, tar)).collect();
    // The name that has the file in its layer is hidden; the others are still one file.
    let to = elsewhere.path().join("copy");
    merge_into(&store, &layers, &to);
    let stat = |name: &str| fs::metadata(to.join(name)).map(|meta| (meta.ino(), meta.mode() & 0o777));
    assert!(stat("a").is_err());
    assert_eq!(stat("d/z").unwrap(), stat("e/y").unwrap());
    assert_eq!(stat("d/z").unwrap().1, 0o640);
}

/// Debian with these layers on it, ready to run.
fn on_debian(world: &TestContext, name: &str, layers: &[Layer]) -> String {
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[&[debian()], layers].concat());
    let name = format!("test.invalid/roots/{name}:1");
    let _ = world.import(&content.tag("1", &manifest), &name);
    name
}

#[test]
fn t08_implied_parents_do_not_override() {
    let below = layer(&[("a/", DIRECTORY, 0o700, TIME), ("a/b/", DIRECTORY, 0o711, TIME), ("c", FILE, 0o600, TIME)]);
    let above = layer(&[("a/n", FILE, 0o644, TIME), ("a/b/n", FILE, 0o644, TIME), ("c/n", FILE, 0o644, TIME)]);
    if !sandboxes() {
        return;
    }
    for seen in views(&[below.clone(), above.clone()]) {
        for (path, text) in [("a", "d 700 1700000000"), ("a/b", "d 711 1700000000"), ("c", "d 755 0")] {
            assert_eq!(seen[path], text, "{path}");
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }
    let Some(world) = TestContext::fixtures() else { return };
    let image = on_debian(&world, "implied", &[below, above]);
    let stat = || world.hermes(["run", "--image", &image, "--", "stat", "-c", "%a %Y", "/a", "/a/b", "/c"]).ok();
    assert_eq!(stat(), "700 1700000000\n711 1700000000\n755 0");
    assert_eq!(stat(), "700 1700000000\n711 1700000000\n755 0");
}

#[test]
fn what_an_overlay_cannot_say_is_merged() {
    if !sandboxes() {
        return;
    }
    let files =
        |names: &[&'static str]| layer(&names.iter().map(|name| (*name, FILE, 0o644, TIME)).collect::<Vec<_>>());
    let special = |kind| layer(&[("f", kind, 0o644, TIME)]);
    for (what, layers, want) in [
        ("a FIFO", vec![files(&["f", "g"]), special(EntryType::Fifo)], &["g"][..]),
        ("a device", vec![files(&["f", "g"]), special(EntryType::Char)], &["g"]),
        ("a device below", vec![special(EntryType::Char), files(&["f", "g"])], &["f", "g"]),
        ("an opaque root", vec![files(&["f", "g"]), files(&[".wh..wh..opq", "h"])], &["h"]),
        ("the same layer twice", vec![files(&["f"]), files(&[".wh.f", "g"]), files(&["f"])], &["f", "g"]),
    ] {
        for seen in views(&layers) {
            assert_eq!(seen.keys().collect::<Vec<_>>(), want, "{what}");
        }
    }
}

#[test]
fn a_layer_without_whiteouts_is_merged() {
    if !sandboxes() {
        return;
    }
    let (_dir, store) = store();
    let layers = [
        layer(&[("d/", DIRECTORY, 0o755, TIME), ("d/f", FILE, 0o644, TIME), ("g", FILE, 0o644, TIME)]),
        layer(&[("d/", DIRECTORY, 0o755, TIME), ("d/.wh.f", FILE, 0o644, TIME)]),
    ];
    let layers: Vec<_> = layers.iter().map(|layer| unpack(&store, &layer.tar)).collect();
    let image = image(layers.clone());
    assert_eq!(Rootfs::of(&image, &store).unwrap().base, store.root().join("layers"));
    // As unpacking leaves it where the file system takes no whiteout.
    let upper = store.layer_path(&layers[1].diff_id);
    fs::remove_file(upper.join("d/f")).unwrap();
    fs::write(upper.with_file_name("no-overlay"), "").unwrap();
    let rootfs = Rootfs::of(&image, &store).unwrap();
    let seen = look(&format!("it {}\n", lower(&rootfs)));
    assert_eq!(seen["it"].keys().collect::<Vec<_>>(), ["d", "g"]);
    // Its files are the layer's own: nothing is there twice.
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let merged = rootfs.base.join(&rootfs.lower[0]);
    assert_eq!(inode(merged.join("g")), inode(store.layer_path(&layers[0].diff_id).join("g")));
}

#[test]
fn a_merged_root_is_made_once_and_goes_with_its_image() {
    let Some(world) = TestContext::sandbox() else { return };
    let tool = crate::support::elf::program(crate::support::elf::Machine::Amd64, "merged\n", 0);
    let below = crate::support::image::layer(crate::support::image::Codec::Gzip, &[("bin/tool", &tool)]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[below, layer(&[("bin/n", FILE, 0o644, TIME)])]);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/merged:1");
    let run = || world.hermes(["run", "--image", "test.invalid/merged:1", "--", "tool"]).start();
    // Many at once make it once.
    let runs: Vec<_> = (0..4).map(|_| run()).collect();
    for run in runs {
        assert_eq!(run.wait().ok(), "merged");
    }
    let root = world.stored("roots");
    assert_eq!((root.len(), world.stored("tmp")), (1, vec![]));
    // Then no table of contents is read any more.
    for layer in world.stored("layers") {
        fs::remove_file(world.store().join("layers").join(layer).join("toc")).unwrap();
    }
    assert_eq!(run().wait().ok(), "merged");
    // What is no whole root is made anew; without the tables that fails, and says what to do.
    fs::remove_file(world.store().join("roots").join(&root[0]).join("done")).unwrap();
    run().wait().refused(3, &["is damaged", "hint: remove"]);
    world.hermes(["rm", "test.invalid/merged:1"]).ok();
    assert_eq!((world.stored("roots"), world.stored("layers")), (vec![], vec![]));
}

#[test]
fn a_merged_root_is_not_older_than_what_it_is_made_of() {
    let Some(world) = TestContext::sandbox() else { return };
    let program = |text| crate::support::elf::program(crate::support::elf::Machine::Amd64, text, 0);
    let below = crate::support::image::layer(crate::support::image::Codec::Gzip, &[("bin/tool", &program("good\n"))]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[below, layer(&[("bin/n", FILE, 0o644, TIME)])]);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/merged:1");
    let run = || world.hermes(["run", "--image", "test.invalid/merged:1", "--", "tool"]).ok();
    assert_eq!(run(), "good");
    let root = world.store().join("roots").join(&world.stored("roots")[0]);
    // Another content in the layer's file is in the tree's as well, which 'verify' does not look at.
    let tool = root.join("fs/bin/tool");
    fs::write(&tool, program("evil\n")).unwrap();
    assert_eq!(run(), "evil");
    world.hermes(["verify"]).output().exits(3);
    assert_eq!((world.stored("roots"), run().as_str()), (vec![], "good"));
    // After a reboot it is not relied on.
    fs::remove_file(&tool).unwrap();
    fs::write(root.join("done"), "01234567-89ab-cdef-0123-456789abcdef").unwrap();
    assert_eq!(run(), "good");
}

#[test]
fn the_root_directory_is_the_images() {
    let Some(world) = TestContext::fixtures() else { return };
    let root = |mode, time| layer(&[("./", DIRECTORY, mode, time)]);
    let silent = layer(&[("etc/", DIRECTORY, 0o755, TIME)]);
    for (name, layers, want) in [
        ("explicit", vec![root(0o711, TIME)], "711 1700000000"),
        ("below", vec![root(0o700, TIME + 1), silent.clone()], "700 1700000001"),
        ("sticky", vec![root(0o700, TIME), root(0o1755, TIME + 2)], "1755 1700000002"),
    ] {
        let image = on_debian(&world, name, &layers);
        let run = world.hermes(["run", "--image", &image, "--", "sh", "-c", "umask 077; stat -c '%a %Y' /"]);
        assert_eq!(run.under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]).ok(), want, "{name}");
    }
}
