//! `resolve` and `fetch`: from a registry into a store, atomically.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hermes::testing::digest::Digest;
use hermes::testing::fetch::{FetchError, FetchReport, fetch, unpack_local};
use hermes::testing::hint::{ErrorKind, Hint as _};
use hermes::testing::lock::Image;
use hermes::testing::oci::{self, DocumentError};
use hermes::testing::platform::Platform;
use hermes::testing::progress::Reporter;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Host, RegistryError, Settings};
use hermes::testing::resolve::{ResolveError, resolve, resolve_local};
use hermes::testing::store::{Store, StoreError};

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::image::{Codec, Content, Layer, layer, multi_arch, noise};
use crate::support::real_registry::{self, RealRegistry, Tls};
use crate::support::{Recorder, block_on, chain};

/// A store of its own and a client.
struct Setup {
    dir: tempfile::TempDir,
    store: Store,
    client: Client,
    recorder: Arc<Recorder>,
}

#[derive(Debug)]
enum Failure {
    Resolve(ResolveError),
    Fetch(FetchError),
}

impl Setup {
    fn new(hosts: &[(&str, Host)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let hosts: BTreeMap<_, _> = hosts.iter().map(|(name, host)| ((*name).to_owned(), host.clone())).collect();
        let recorder = Arc::new(Recorder::default());
        let client = Client::new(Settings { hosts, ..Settings::default() }, recorder.clone()).unwrap();
        Self { dir, store, client, recorder }
    }

    fn resolve(&self, reference: &Reference, platform: Platform) -> Result<Image, ResolveError> {
        block_on(resolve(reference, platform, &self.store, &self.client, &*self.recorder))
    }

    fn fetch(&self, reference: &Reference, image: &Image) -> Result<FetchReport, FetchError> {
        let reporter: Arc<dyn Reporter> = self.recorder.clone();
        block_on(fetch(reference, image, &self.store, &self.client, &reporter, 4, &|_| false))
    }

    fn pull(&self, reference: &Reference, platform: Platform) -> Result<(Image, FetchReport), Failure> {
        let image = self.resolve(reference, platform).map_err(Failure::Resolve)?;
        let report = self.fetch(reference, &image).map_err(Failure::Fetch)?;
        Ok((image, report))
    }

    fn refused(&self, reference: &Reference, platform: Platform) -> Failure {
        let failure = self.pull(reference, platform).unwrap_err();
        assert_eq!(self.store.refs().unwrap(), vec![], "a failed pull must not leave a reference");
        assert_eq!(
            fs::read_dir(self.store.root().join("tmp")).map_or(0, Iterator::count),
            0,
            "staging was left behind"
        );
        self.recorder.tasks();
        failure
    }

    fn file(&self, layer: &Layer, path: &str) -> Vec<u8> {
        fs::read(self.store.layer_path(&layer.diff_id()).join(path)).unwrap()
    }
}

fn reference(registry: &FakeRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

fn honest(content: &Content) -> FakeRegistry {
    FakeRegistry::serve(content.clone(), |_, _, reply| reply)
}

#[test]
fn a_multi_arch_image_is_pulled_once() {
    let (content, [base, tool, plain]) = multi_arch();
    let registry = honest(&content);
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    assert_eq!(resolve_local(&name, Platform::Amd64, &setup.store).unwrap(), None);

    let (image, report) = setup.pull(&name, Platform::Amd64).unwrap();
    assert_eq!(image.platform, Platform::Amd64);
    assert_eq!(image.index.as_ref().unwrap().digest, content.tags["1"]);
    assert_eq!(image.index.as_ref().unwrap().media_type, oci::INDEX);
    assert_eq!(image.layers.len(), 3, "the same layer twice stays twice");
    assert_eq!((report.layers_downloaded, report.layers_reused, report.layers_unpacked), (2, 0, 0));
    assert_eq!(report.bytes_downloaded, (base.blob.len() + tool.blob.len()) as u64);
    assert_eq!(setup.file(&base, "usr/share/noise"), noise(300_000));
    assert_eq!(setup.file(&tool, "usr/bin/tool"), b"#!/bin/sh\n");
    assert_eq!(registry.count(&base.descriptor().digest.to_string()), 1);
    assert_eq!(setup.store.refs().unwrap(), vec![(name.clone(), image.top().clone())]);
    assert!(setup.store.has_image(&image) && setup.store.missing_layers(&image).is_empty());
    let mut bars = setup.recorder.tasks();
    bars.sort();
    let mut expected: Vec<_> = [&base, &tool]
        .map(|layer| (format!("layer {}", layer.descriptor().digest.short()), layer.blob.len() as u64))
        .to_vec();
    expected.push(("writing to disk".to_owned(), 0));
    expected.sort();
    assert_eq!(bars, expected);

    // The same from the store alone, by tag and by digest; another platform is not there yet.
    let asked = registry.seen().len();
    assert_eq!(resolve_local(&name, Platform::Amd64, &setup.store).unwrap().as_ref(), Some(&image));
    for digest in [image.top().digest, image.manifest.digest] {
        let pinned = reference(&registry, &format!("other/name@{digest}"));
        let local = resolve_local(&pinned, Platform::Amd64, &setup.store).unwrap().unwrap();
        assert_eq!((local.manifest.digest, local.layers), (image.manifest.digest, image.layers.clone()));
    }
    assert_eq!(resolve_local(&name, Platform::Arm64, &setup.store).unwrap(), None);
    assert_eq!(setup.fetch(&name, &image).unwrap(), FetchReport { layers_reused: 2, ..FetchReport::default() });
    assert_eq!(registry.seen().len(), asked, "nothing was missing, so nothing is asked for");

    // Another platform shares a layer.
    let (image, report) = setup.pull(&name, Platform::Arm64).unwrap();
    assert_eq!((report.layers_downloaded, report.layers_reused), (1, 1));
    assert_eq!(setup.file(&plain, "usr/lib/arm"), b"arm\n");
    assert_eq!(resolve_local(&name, Platform::Arm64, &setup.store).unwrap(), Some(image));
    // arm/v6 is served by arm/v5, though arm/v7 is there.
    assert_eq!(setup.resolve(&name, Platform::ArmV6).unwrap().platform, Platform::ArmV5);
}

#[test]
fn a_platform_that_is_not_there_is_answered_with_those_that_are() {
    let (content, _) = multi_arch();
    let registry = honest(&content);
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    let Failure::Resolve(error) = setup.refused(&name, Platform::Riscv64) else { panic!() };
    let text = error.to_string();
    assert!(text.contains("linux-riscv64; it has linux-aarch64, linux-armv5, linux-armv7, linux-x86_64"), "{text}");
    assert!(error.hints().iter().any(|hint| hint.contains("--platform")), "{:?}", error.hints());

    setup.pull(&name, Platform::Amd64).unwrap();
    assert!(matches!(resolve_local(&name, Platform::S390x, &setup.store), Err(ResolveError::NoPlatform { .. })));
}

#[test]
fn a_manifest_without_an_index_goes_by_its_config() {
    let mut content = Content::default();
    let base = layer(Codec::Gzip, &[("a", b"a")]);
    let v7 = content.image(("linux", "arm", Some("v7")), &[base]);
    let registry = honest(&content.tag("1", &v7));
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    for wanted in [Platform::ArmV6, Platform::Amd64] {
        let Failure::Resolve(error) = setup.refused(&name, wanted) else { panic!() };
        assert!(error.to_string().contains("it has linux-armv7"), "{error}");
    }
    let (image, _) = setup.pull(&name, Platform::ArmV7).unwrap();
    assert_eq!((image.index.is_none(), image.platform), (true, Platform::ArmV7));
    assert_eq!(resolve_local(&name, Platform::ArmV7, &setup.store).unwrap(), Some(image));
}

#[test]
fn documents_that_are_not_what_they_should_be() {
    let (content, [base, ..]) = multi_arch();
    // An index served as a manifest.
    let registry = FakeRegistry::serve(content.clone(), |seen, _, reply| {
        if seen.path.contains("/manifests/1") { reply.header("content-type", oci::MANIFEST) } else { reply }
    });
    let failure = Setup::new(&[]).refused(&reference(&registry, "x/y:1"), Platform::Amd64);
    assert!(matches!(failure, Failure::Resolve(ResolveError::Document { source: DocumentError::Confused(_), .. })));

    let refused = |content: &Content| {
        let registry = honest(content);
        match Setup::new(&[]).refused(&reference(&registry, "x/y:1"), Platform::Amd64) {
            Failure::Resolve(error) => error,
            Failure::Fetch(error) => panic!("{}", chain(&error)),
        }
    };
    // Both an index and a manifest.
    let mut both = content.clone();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}}"#, descriptor_json(&base));
    let both_descriptor = both.manifest(oci::INDEX, text.into_bytes());
    assert!(matches!(refused(&both.tag("1", &both_descriptor)), ResolveError::Document { .. }));
    // An index within an index.
    let mut nested = content.clone();
    let mut inner = nested.index(&[]);
    inner.platform = Some(oci::WirePlatform { os: "linux".into(), architecture: "amd64".into(), variant: None });
    let outer = nested.index(&[inner]);
    assert!(matches!(refused(&nested.tag("1", &outer)), ResolveError::Nested { .. }));
    // An entry with another size than its manifest.
    let mut lying = Content::default();
    let mut entry = lying.image(("linux", "amd64", None), slice::from_ref(&base));
    entry.size += 1;
    let index = lying.index(&[entry]);
    let error = refused(&lying.tag("1", &index));
    let ResolveError::Registry { source } = error else { panic!("{error}") };
    assert!(matches!(*source, RegistryError::WrongSize { .. }), "{source}");
    // Fewer diff_ids than layers.
    let mut short = Content::default();
    let image = short.image(("linux", "amd64", None), slice::from_ref(&base));
    let manifest = String::from_utf8(short.manifests[&image.digest].1.clone()).unwrap();
    let twice = manifest.replace(r#""layers":["#, &format!(r#""layers":[{},"#, descriptor_json(&base)));
    let twice = short.manifest(oci::MANIFEST, twice.into_bytes());
    let error = refused(&short.tag("1", &twice));
    assert!(matches!(error, ResolveError::Document { source: DocumentError::LayerCount { .. }, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

fn descriptor_json(layer: &Layer) -> String {
    serde_json::to_string(&layer.descriptor()).unwrap()
}

/// An amd64 image of these layers, tagged `1`.
fn image_of(layers: &[Layer]) -> Content {
    let mut content = Content::default();
    let image = content.image(("linux", "amd64", None), layers);
    content.tag("1", &image)
}

type Lie = Box<dyn Fn(Reply) -> Reply + Send + Sync>;

#[test]
fn a_layer_that_lies_leaves_nothing() {
    let good = layer(Codec::Gzip, &[("good", &noise(200_000))]);
    let bad = layer(Codec::Gzip, &[("bad", &noise(100_000))]);
    let content = image_of(&[good, bad.clone()]);
    let path = format!("/blobs/{}", bad.descriptor().digest);
    let other = layer(Codec::Gzip, &[("bad", &vec![b'x'; 100_000])]).blob;
    let mut flipped = bad.blob.clone();
    flipped[50_000] ^= 1;
    let lies: Vec<(&str, ErrorKind, Lie)> = vec![
        ("one bit", ErrorKind::Integrity, {
            let flipped = flipped.clone();
            Box::new(move |reply| reply.body(&flipped))
        }),
        ("another layer", ErrorKind::Integrity, Box::new(move |_| Reply::new(200, &other))),
        ("zeroes", ErrorKind::Integrity, {
            let zeroes = vec![0; bad.blob.len()];
            Box::new(move |reply| reply.body(&zeroes))
        }),
        (
            "broken off",
            ErrorKind::Failed,
            Box::new(|reply| {
                let half = reply.body[..50_000].to_vec();
                reply.body(&half)
            }),
        ),
        (
            "half reported as whole",
            ErrorKind::Integrity,
            Box::new(|reply| {
                let half = reply.body[..50_000].to_vec();
                reply.without("content-length").body(&half)
            }),
        ),
        ("not there", ErrorKind::Failed, Box::new(|_| Reply::new(404, b""))),
    ];
    for (what, kind, lie) in lies {
        let path = path.clone();
        let registry =
            FakeRegistry::serve(
                content.clone(),
                move |seen, _, reply| {
                    if seen.path.ends_with(&path) { lie(reply) } else { reply }
                },
            );
        let setup = Setup::new(&[]);
        let Failure::Fetch(error) = setup.refused(&reference(&registry, "x/y:1"), Platform::Amd64) else {
            panic!("{what}")
        };
        assert_eq!(error.kind(), kind, "{what}: {}", chain(&error));
        assert!(chain(&error).contains(&registry.host()), "{what}: {}", chain(&error));
        assert!(!setup.store.has_blob(&bad.descriptor()), "{what} was published as a blob");
        assert!(!setup.store.has_layer(&bad.diff_id()), "{what} was published as a layer");
    }
}

#[test]
fn one_failure_stops_the_other_layers() {
    let slow = layer(Codec::Gzip, &[("slow", &noise(200_000))]);
    let missing = layer(Codec::Gzip, &[("missing", b"x")]);
    let mut content = image_of(&[slow.clone(), missing.clone()]);
    content.blobs.remove(&missing.descriptor().digest);
    let path = format!("/blobs/{}", slow.descriptor().digest);
    let registry = FakeRegistry::serve(content, move |seen, _, reply| {
        if seen.path.ends_with(&path) { reply.stall(Duration::from_secs(50)) } else { reply }
    });
    let begun = Instant::now();
    let Failure::Fetch(error) = Setup::new(&[]).refused(&reference(&registry, "x/y:1"), Platform::Amd64) else {
        panic!()
    };
    assert!(error.to_string().contains("does not have"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_wrong_diff_id_publishes_neither_blob_nor_layer() {
    let claimed = layer(Codec::Gzip, &[("a", b"a")]);
    let mut served = layer(Codec::Gzip, &[("a", b"b")]);
    served.tar = claimed.tar;
    let registry = honest(&image_of(slice::from_ref(&served)));
    let setup = Setup::new(&[]);
    let Failure::Fetch(error) = setup.refused(&reference(&registry, "x/y:1"), Platform::Amd64) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Integrity, "{}", chain(&error));
    assert!(!setup.store.has_layer(&served.diff_id()));
    assert!(!setup.store.has_blob(&served.descriptor()));
}

#[test]
fn a_mirror_that_lies_about_a_layer_is_named() {
    let bad = layer(Codec::Zstd, &[("a", &noise(50_000))]);
    let content = image_of(slice::from_ref(&bad));
    let origin = honest(&content);
    let blob = bad.descriptor().digest.to_string();
    let zeroes = vec![0; bad.blob.len()];
    let mirror = FakeRegistry::serve(
        content,
        move |seen, _, reply| {
            if seen.path.ends_with(&blob) { reply.body(&zeroes) } else { reply }
        },
    );
    let setup = Setup::new(&[(&origin.host(), Host { mirrors: vec![mirror.host()], ..Host::default() })]);
    let Failure::Fetch(error) = setup.refused(&reference(&origin, "x/y:1"), Platform::Amd64) else { panic!() };
    let FetchError::Layer { host, source, .. } = &error else { panic!("{}", chain(&error)) };
    assert!(*host == mirror.host() && matches!(**source, StoreError::Mismatch { .. }), "{}", chain(&error));
    assert!(error.hints().iter().any(|hint| hint.contains("mirrors")), "{:?}", error.hints());
}

#[test]
fn a_locked_image_does_not_move_its_tag() {
    let (old, new) =
        (image_of(&[layer(Codec::Gzip, &[("a", b"old")])]), image_of(&[layer(Codec::Gzip, &[("a", b"new")])]));
    let mut both = new.clone();
    both.blobs.extend(old.blobs.clone());
    both.manifests.extend(old.manifests.clone());
    let (registry_old, registry) = (honest(&old), honest(&both));
    let locked = Setup::new(&[]).resolve(&reference(&registry_old, "x/y:1"), Platform::Amd64).unwrap();
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    let (newest, _) = setup.pull(&name, Platform::Amd64).unwrap();
    let report = setup.fetch(&name.pinned(locked.top().digest), &locked).unwrap();
    assert_eq!(report.layers_downloaded, 1, "documents and layer come from the repository by digest");
    assert!(setup.store.has_image(&locked));
    assert_eq!(setup.store.find_ref(&name).unwrap().unwrap().digest, newest.top().digest);
    assert_eq!(setup.store.refs().unwrap().len(), 2);
}

/// Removes what makes a layer unpacked.
fn forget_layer(store: &Store, layer: &Layer) {
    let tree = store.layer_path(&layer.diff_id());
    let dir = tree.ancestors().find(|dir| dir.ends_with(layer.diff_id().hex())).unwrap();
    fs::remove_dir_all(dir).unwrap();
    assert!(!store.has_layer(&layer.diff_id()));
}

fn overwrite(path: &Path, bytes: &[u8]) {
    // Blobs are read-only; a new file stands for decay.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn layers_are_unpacked_from_blobs_without_a_network() {
    let (content, [base, tool, _]) = multi_arch();
    let registry = honest(&content);
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    let (image, _) = setup.pull(&name, Platform::Amd64).unwrap();
    drop(registry);
    for layer in [&base, &tool] {
        forget_layer(&setup.store, layer);
    }
    unpack_local(&image, &setup.store, &*setup.recorder).unwrap();
    assert!(setup.store.missing_layers(&image).is_empty());
    assert_eq!(setup.file(&base, "etc/os-release"), b"ID=test\n");
    setup.recorder.tasks();
    // And by fetch, which then needs no registry either.
    forget_layer(&setup.store, &tool);
    assert_eq!(
        setup.fetch(&name, &image).unwrap(),
        FetchReport { layers_unpacked: 1, layers_reused: 1, ..FetchReport::default() }
    );
}

#[test]
fn a_damaged_blob_is_named_offline_and_healed_online() {
    let (content, [base, tool, _]) = multi_arch();
    let registry = honest(&content);
    let setup = Setup::new(&[]);
    let name = reference(&registry, "x/y:1");
    let (image, _) = setup.pull(&name, Platform::Amd64).unwrap();
    forget_layer(&setup.store, &base);
    forget_layer(&setup.store, &tool);
    let config = setup.store.blob_path(&image.config.digest);
    overwrite(&config, &vec![b' '; usize::try_from(image.config.size).unwrap()]);
    let error = resolve_local(&name, Platform::Amd64, &setup.store).unwrap_err();
    assert!(chain(&error).contains(&config.display().to_string()), "{}", chain(&error));
    let path = setup.store.blob_path(&base.descriptor().digest);
    let mut damaged = base.blob.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    overwrite(&path, &damaged);

    let error = unpack_local(&image, &setup.store, &*setup.recorder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(!setup.store.has_layer(&base.diff_id()));

    let report = setup.fetch(&name, &image).unwrap();
    assert_eq!(report.layers_downloaded, 1);
    assert!(setup.recorder.said("fetching it again"));
    assert_eq!(Digest::of(&fs::read(&path).unwrap()), base.descriptor().digest, "the blob itself is healed, too");
    assert_eq!(resolve_local(&name, Platform::Amd64, &setup.store).unwrap().as_ref(), Some(&image), "so is the config");
    assert!(setup.store.missing_layers(&image).is_empty());
}

#[test]
fn the_real_registry_over_http_and_https() {
    if !real_registry::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let (http, https) = (RealRegistry::start(dir.path(), None), RealRegistry::start(dir.path(), Some(&tls)));
    let (content, [base, tool, plain]) = multi_arch();
    http.push("tools/cross", &content);
    let name = |registry: &RealRegistry| format!("{}/tools/cross:1", registry.host()).parse::<Reference>().unwrap();
    let with_ca = Host { ca: Some(tls.ca.clone()), ..Host::default() };
    let cases = [("http", &http, vec![]), ("https", &https, vec![(https.host(), with_ca)])];
    for (what, registry, hosts) in cases {
        let setup = Setup::new(&hosts);
        let (image, report) =
            setup.pull(&name(registry), Platform::Amd64).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!((image.top().digest, report.layers_downloaded), (content.tags["1"], 2), "{what}");
        assert_eq!(setup.file(&base, "usr/share/noise"), noise(300_000));
        assert_eq!(setup.file(&tool, "usr/bin/tool"), b"#!/bin/sh\n");
        let (image, _) = setup.pull(&name(registry), Platform::ArmV6).unwrap();
        assert_eq!(image.platform, Platform::ArmV5);
        assert_eq!(setup.file(&plain, "usr/lib/arm"), b"arm\n");
    }

    // A mirror of a registry that cannot be reached at all.
    let mirrored = Host { mirrors: vec![http.host().to_owned()], ..Host::default() };
    let setup = Setup::new(&[("docker.io", mirrored)]);
    let (image, _) = setup.pull(&"tools/cross:1".parse().unwrap(), Platform::Amd64).unwrap();
    assert_eq!(setup.store.refs().unwrap()[0].0.to_string(), "docker.io/tools/cross:1");
    assert!(setup.store.has_image(&image));
    let _ = setup.dir;

    let missing = format!("{}/tools/cross:2", http.host()).parse().unwrap();
    let Failure::Resolve(error) = Setup::new(&[]).refused(&missing, Platform::Amd64) else { panic!() };
    assert!(error.to_string().contains("does not have"), "{error}");
}
