//! One file of each version of every format that was ever written, read by today's code. The files are what the hermes
//! of their time wrote: a version that is added gets a file of its own, and none is changed or removed.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::compare::Listing;
use crate::consent::{Access, Memory};
use crate::digest::Digest;
use crate::layer::{Kind, Toc};
use crate::lock::{self, Lock, Origin};
use crate::platform::Platform;
use crate::progress::Silent;
use crate::record;
use crate::reference::Reference;
use crate::sandbox::{Network, RootStrategy};
use crate::store::Store;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn lock(name: &str) -> Lock {
    lock::parse(&fs::read_to_string(path(name)).unwrap(), &path(name)).unwrap()
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn locks() {
    let [one, two, three] = ["lock-1.toml", "lock-2.toml", "lock-3.toml"].map(lock);
    for lock in [&one, &two, &three] {
        let image = &lock.images[&(name("debian:12"), Platform::ArmV6)];
        assert_eq!((lock.images.len(), image.layers.len()), (4, 2));
        let arm64 = &lock.emulators[&Platform::Arm64];
        assert_eq!(arm64.version.as_deref(), Some("9.2.2 (tonistiigi/binfmt)"));
        assert!(matches!(&arm64.origin, Some(Origin::Image(file)) if file.image == name("a/b:c")));
    }
    // The first version knew neither the surroundings of builds nor sources.
    assert_eq!((one.build, one.sources.len()), (None, 0));
    assert_eq!(two.build.as_ref().unwrap().hostname, "hermes");
    assert_eq!((two.sources["hello"].patches.len(), &two.sources["hello"].commit), (1, &None));
    assert!(two.sources["lib"].commit.is_some());
    // The second version had no labels of images.
    let labels = |lock: &Lock| {
        lock.images.values().filter_map(|image| image.label.as_ref()).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((labels(&two), labels(&three)), (vec![], vec!["linux/arm/v5".to_owned()]));
}

/// The fourth version adds archives, roots, native tools and emulators out of packages.
#[test]
fn locks_with_packages() {
    let lock = lock("lock-4.toml");
    let archive = &lock.archives["bookworm"];
    assert_eq!((archive.date, archive.signed_by.len(), archive.indexes.len()), (1_783_764_997, 1, 1));
    let key = ("own".to_owned(), Platform::Arm64);
    let root = &lock.roots[&key];
    let debs: Vec<_> = root.debs.iter().map(|deb| (deb.name.as_str(), deb.is_base)).collect();
    assert_eq!((root.composer, debs), (1, vec![("cmake", false), ("dpkg", true), ("gcc", false)]));
    assert_eq!(root.debs[2].path, "pool/main/gcc_2-3_arm64.deb");
    let image = lock.image_of_root(&key, root).unwrap();
    assert_eq!(lock.images[&(name("packages.hermes.invalid/own:latest"), Platform::Arm64)], *image);
    // One that was not composed yet.
    let key = ("own".to_owned(), Platform::ArmV7);
    assert_eq!((lock.roots.len(), lock.image_of_root(&key, &lock.roots[&key])), (2, None));
    assert_eq!((lock.natives.len(), lock.image_of_native(&key, &lock.natives[&key])), (2, None));
    let key = ("own".to_owned(), Platform::Arm64);
    let native = &lock.natives[&key];
    assert_eq!((native.image, native.root.scripts, native.root.debs.len()), (image.chain_id().unwrap(), false, 2));
    assert!(lock.image_of_native(&key, native).is_some());
    let Some(Origin::Package(file)) = &lock.emulators[&Platform::Arm64].origin else { panic!("no package") };
    assert_eq!((file.deb.name.as_str(), file.path.as_str()), ("qemu-user-static", "/usr/bin/qemu-aarch64-static"));
}

/// The records of a fixture, first to last.
fn records(name: &str) -> Vec<record::Entry> {
    let store = tempfile::tempdir().unwrap();
    let text = fs::read(path(name)).unwrap();
    fs::write(store.path().join("2026-11.jsonl"), &text).unwrap();
    let mut found = record::entries(store.path()).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    found.reverse();
    let ids = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Digest::of);
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids.collect::<Vec<_>>());
    found
}

/// They were not enough to repeat a run.
#[test]
fn records_of_version_1() {
    let commands: Vec<_> = records("records-1.jsonl")
        .into_iter()
        .map(|entry| match entry.kind {
            record::Kind::Old(record) => record["argv"].to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(commands, [r#"["make","hello"]"#, r#"["sh","-c","sleep 100"]"#]);
}

/// Both versions have the same runs.
#[test]
fn records_of_versions_2_and_3() {
    for name in ["records-2.jsonl", "records-3.jsonl"] {
        let runs: Vec<_> = records(name)
            .into_iter()
            .map(|entry| match entry.kind {
                record::Kind::Run(record) => record.run,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_records(&runs);
    }
}

fn assert_records(runs: &[record::Run]) {
    let words: Vec<_> = runs.iter().map(|run| run.argv.last().unwrap().to_string()).collect();
    let copied = "cp main.c out/copy; echo $MODE";
    assert_eq!(words, ["kill -9 $$", copied, "exit 3", "30", "kill -9 $$", "a\u{fffd}b", copied, "hello"]);
    let request = &runs[1].request;
    assert_eq!(request.outputs, [Path::new("out")]);
    assert_eq!(request.guest_overrides.hostname.as_deref(), Some("builder"));
    assert!(request.guest_overrides.interposed.clock.is_some());
    assert_eq!((request.limits.pids, request.users), (Some(100), record::Users::Single));
    assert_eq!(request.environment.iter().filter(|variable| variable.is_passed_on).count(), 1);
    assert_eq!((runs[1].outputs.len(), runs[1].directories.len()), (1, 1));
    assert_eq!((&*runs[1].guest.umask, runs[1].guest.nproc), ("0027", Some(2)));
    assert_eq!(runs[1].project.path, Path::new("/home/user/work"));
    assert!(runs[1].project.tree.is_some() && runs[0].project.tree.is_none());
    assert!(runs[2].request.root && runs[2].request.entrypoint.is_some());
    assert_eq!(runs[2].root_strategy, RootStrategy::Copy);
    assert!(runs[3].cause.is_some());
    // The project decided on the network of the first, the caller on that of the second.
    assert_eq!([&runs[0], &runs[5]].map(|run| run.request.network), [None, Some(Network::Host)]);
    assert!(runs[6].repeats.is_some());
    assert_eq!((runs[7].target.platform, runs[7].target.image_platform), (Platform::Arm64, Platform::Arm64));
    assert!(runs[7].emulator.is_some() && runs[7].emulation.is_some() && runs[7].target.emulator.is_some());
}

#[test]
fn listings_of_outputs() {
    let listing = Listing::parse(&fs::read_to_string(path("tree-1")).unwrap()).unwrap();
    assert_eq!(listing.files().map(|(path, _)| path).collect::<Vec<_>>(), [Path::new("copy")]);
}

#[test]
fn tables_of_contents() {
    let read = |name| Toc::read(fs::read(path(name)).unwrap().as_slice()).unwrap();
    let kinds = |toc: &Toc| toc.entries.iter().map(|entry| entry.kind).collect::<Vec<_>>();
    let (one, two) = (read("toc-1"), read("toc-2"));
    let [directory, file] = [Kind::Directory, Kind::File];
    assert_eq!(kinds(&one), [directory, directory, Kind::Symlink, file, directory, file, file, Kind::CharDevice]);
    assert_eq!(one.entries[3].mode, 0o4755);
    assert_eq!(kinds(&two), [directory, directory, Kind::LowerLink, Kind::Whiteout, directory, directory, file]);
    assert_eq!(two.entries[6].path, "usr/lib/caf\u{e9} %".as_bytes());
}

#[test]
fn bundles() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(&temp.path().join("store")).unwrap();
    let bundle = store.stage_bundle(&path("bundle-1.tar"), &Silent).unwrap();
    let parts: Vec<_> = bundle.parts().iter().map(|part| (part.kind, part.name.as_str())).collect();
    assert_eq!(
        parts,
        [("image", "example.org/tiny:1 for linux-x86_64"), ("source", "source-p"), ("lock", "hermes.lock")]
    );
    assert!(bundle.lock().images.contains_key(&(name("example.org/tiny:1"), Platform::Amd64)));
}

#[test]
fn consent() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read(path("consent.json")).unwrap();
    let kept = directory.path().join(format!("{}.json", Digest::of(&text).hex()));
    fs::write(&kept, &text).unwrap();
    fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
    let memory = Memory::new(directory.path().to_owned());
    let [settings] = &memory.list().unwrap()[..] else { panic!("not one project") };
    assert_eq!((settings.project.as_path(), settings.settings.len()), (Path::new("/home/user/project"), 5));
    let accesses: Vec<_> = settings.settings.iter().map(|setting| &setting.access).collect();
    assert_eq!(accesses[..2], [&Access::HostNetwork, &Access::Mount("/home/user".into())]);
    assert!(memory.has(settings));
}

#[test]
fn stores() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("store");
    copy(&path("store-1"), &root);
    let store = Store::open(&root).unwrap();
    let tiny = "sha256:dc0a259742068b494b7035c789dbb2ac399b98e1f58abccc5789d752d9745223";
    assert_eq!(store.find_ref(&name("example.org/tiny:1")).unwrap().unwrap().digest.to_string(), tiny);
    assert!(store.is_gc_root(Path::new("/home/user/project/hermes.lock")));
}

fn copy(from: &Path, to: &Path) {
    DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy_to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &copy_to);
        } else {
            fs::write(copy_to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
