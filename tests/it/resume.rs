//! Interrupted downloads: they resume, in this process or the next one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hermes::testing::fetch::{FetchError, FetchReport, fetch};
use hermes::testing::hint::{ErrorKind, Hint as _};
use hermes::testing::oci::Descriptor;
use hermes::testing::platform::Platform;
use hermes::testing::progress::Reporter;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Host, Limits, RegistryError, Settings};
use hermes::testing::resolve::resolve;
use hermes::testing::store::Store;
use rustix::process::Signal;

use crate::support::context::TestContext;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest, ranged};
use crate::support::image::{Codec, Content, Layer, layer, noise};
use crate::support::process::LIMIT;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{Recorder, block_on, chain};

const SIZE: usize = 100_000;

/// Short enough for tests, long enough for a busy machine.
fn limits() -> Limits {
    Limits { pause: Duration::from_millis(1), patience: Duration::from_millis(10), ..Limits::default() }
}

fn client(limits: Limits) -> (Client, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (Client::new(Settings { limits, ..Settings::default() }, recorder.clone()).unwrap(), recorder)
}

/// For each request of a blob: the first byte asked for, and how many were sent.
type Sent = Arc<Mutex<Vec<(Option<usize>, usize)>>>;

/// A registry of which `change` makes what it answers to requests for a blob, given the number of the
/// request and the whole.
fn serve(
    content: Content,
    change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static,
) -> (FakeRegistry, Sent) {
    let sent = Sent::default();
    let log = Arc::clone(&sent);
    let registry = FakeRegistry::serve(content, move |seen, count, reply| {
        if !seen.path.contains("/blobs/") {
            return reply;
        }
        let reply = change(seen, count, reply);
        log.lock().unwrap().push((seen.range(), reply.body.len()));
        reply
    });
    (registry, sent)
}

fn one_blob() -> (Content, Descriptor) {
    let mut content = Content::default();
    let descriptor = content.blob("application/octet-stream", noise(SIZE));
    (content, descriptor)
}

async fn read(client: &Client, registry: &FakeRegistry, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    let mut blob = client.blob(&reference, descriptor).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        assert!(!chunk.is_empty());
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads the blob of a registry that answers so, and gives the requests it took.
fn read_blob(
    limits: Limits,
    change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static,
) -> (Sent, Arc<Recorder>) {
    let (content, descriptor) = one_blob();
    let (registry, sent) = serve(content, change);
    let (client, recorder) = client(limits);
    let bytes = block_on(read(&client, &registry, &descriptor)).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(bytes.len(), SIZE);
    assert!(bytes == noise(SIZE));
    (sent, recorder)
}

#[test]
fn a_body_cut_at_any_byte_goes_on_from_there() {
    for cut in [0, 1, 1023, 10_000, 50_001, SIZE - 1] {
        let (sent, _) = read_blob(
            limits(),
            move |seen, count, whole| {
                if count == 0 { whole.cut(cut) } else { ranged(seen, whole) }
            },
        );
        let rest = (cut > 0).then_some(cut);
        assert_eq!(*sent.lock().unwrap(), [(None, cut), (rest, SIZE - cut)], "no byte is sent twice");
    }
}

#[test]
fn a_body_without_length_that_ends_early_goes_on_from_there() {
    let (sent, _) =
        read_blob(
            limits(),
            |seen, count, whole| {
                if count == 0 { whole.without("content-length").cut(30_000) } else { ranged(seen, whole) }
            },
        );
    assert_eq!(*sent.lock().unwrap(), [(None, 30_000), (Some(30_000), 70_000)]);
}

#[test]
fn progress_gives_new_tries_and_none_ends_them() {
    // More breaks than tries, each after some progress.
    let (sent, _) = read_blob(limits(), |seen, _, whole| ranged(seen, whole).cut(12_000));
    let sent = sent.lock().unwrap();
    assert_eq!((sent.len(), sent.iter().map(|(_, bytes)| bytes).sum::<usize>()), (9, SIZE));

    // After that, nothing: three tries.
    let (content, descriptor) = one_blob();
    let (registry, sent) =
        serve(content, |seen, count, whole| ranged(seen, whole).cut(if count == 0 { 40_000 } else { 0 }));
    let (client, recorder) = client(limits());
    let error = block_on(read(&client, &registry, &descriptor)).unwrap_err();
    assert!(matches!(error, RegistryError::Body { .. }), "{}", chain(&error));
    assert_eq!(*sent.lock().unwrap(), [(None, 40_000), (Some(40_000), 0), (Some(40_000), 0)]);
    assert!(recorder.said("cannot receive") && recorder.said("attempt 3 of 3"), "{:?}", recorder.lines);

    // A byte at a time is no progress.
    let (content, descriptor) = one_blob();
    let (registry, sent) = serve(content, |seen, _, whole| ranged(seen, whole).cut(1));
    block_on(read(&client, &registry, &descriptor)).unwrap_err();
    assert_eq!(sent.lock().unwrap().len(), 3);
}

#[test]
fn the_whole_for_the_rest_is_not_appended() {
    let (sent, _) = read_blob(limits(), |_, count, whole| if count == 0 { whole.cut(33_333) } else { whole });
    assert_eq!(*sent.lock().unwrap(), [(None, 33_333), (Some(33_333), SIZE)]);
}

#[test]
fn a_wrong_content_range_is_not_appended() {
    let claims = [
        Some("bytes 0-99999/100000"),
        Some("bytes 49999-99999/100000"),
        Some("bytes 50000-99999/100001"),
        Some("bytes 50000-99999/*"),
        Some("bytes 50000-100000/100000"),
        Some("bytes 50000-49999/100000"),
        Some("50000-99999"),
        // Another length than it has.
        Some("bytes 50000-60000/100000"),
        None,
    ];
    for claim in claims {
        let (sent, recorder) = read_blob(limits(), move |_, count, whole| match (count, claim) {
            (0, _) => whole.cut(50_000),
            (1, Some(claim)) => Reply::new(206, &whole.body[50_000..]).header("content-range", claim),
            (1, None) => Reply::new(206, &whole.body[50_000..]),
            _ => whole,
        });
        let expected = [(None, 50_000), (Some(50_000), 50_000), (None, SIZE)];
        assert_eq!(*sent.lock().unwrap(), expected, "{claim:?}");
        assert!(recorder.said("cannot resume the download of"), "{claim:?}: {:?}", recorder.lines);
    }
}

#[test]
fn a_part_of_the_rest_will_do() {
    let (sent, _) = read_blob(limits(), |seen, count, whole| match count {
        0 => whole.cut(50_000),
        1 => Reply::new(206, &whole.body[50_000..70_000]).header("content-range", "bytes 50000-69999/100000"),
        _ => ranged(seen, whole),
    });
    assert_eq!(*sent.lock().unwrap(), [(None, 50_000), (Some(50_000), 20_000), (Some(70_000), 30_000)]);
}

#[test]
fn a_416_is_answered_by_asking_for_the_whole() {
    let (sent, _) = read_blob(limits(), |_, count, whole| match count {
        0 => whole.cut(50_000),
        1 => Reply::new(416, b"").header("content-range", "bytes */100000"),
        _ => whole,
    });
    assert_eq!(*sent.lock().unwrap(), [(None, 50_000), (Some(50_000), 0), (None, SIZE)]);
}

#[test]
fn silence_is_answered_by_another_connection() {
    let quick = Limits { silence: Duration::from_millis(700), ..limits() };
    let (sent, recorder) =
        read_blob(
            quick,
            |seen, count, whole| {
                if count == 0 { whole.stall(Duration::from_secs(600)) } else { ranged(seen, whole) }
            },
        );
    // All but the last part came before.
    assert_eq!(sent.lock().unwrap()[1], (Some(90_000), 10_000));
    assert!(recorder.said("attempt 2 of 3"), "{:?}", recorder.lines);
}

#[test]
fn slowness_is_answered_by_another_connection() {
    // So strict that every connection is too slow after its first bytes.
    let strict = Limits { slow: Duration::ZERO, least: u64::MAX, ..limits() };
    let (sent, recorder) = read_blob(strict, |seen, _, whole| ranged(seen, whole));
    let starts: Vec<_> = sent.lock().unwrap().iter().map(|(from, _)| from.unwrap_or(0)).collect();
    assert!(starts.len() > 1 && starts.is_sorted(), "{starts:?}");
    assert!(recorder.said("too slowly"), "{:?}", recorder.lines);
}

#[test]
fn a_registry_that_asks_for_patience_gets_it() {
    let now = "Sun, 06 Nov 1994 08:49:37 GMT";
    let patient = Limits { patience: Duration::from_secs(20), ..limits() };
    for (status, after) in [(429, "1"), (503, "Sun, 06 Nov 1994 08:49:38 GMT")] {
        let (sent, recorder) = read_blob(patient, move |_, count, whole| {
            if count == 0 { Reply::new(status, b"").header("retry-after", after).header("date", now) } else { whole }
        });
        assert_eq!(sent.lock().unwrap().len(), 2);
        let said = "retry after 1 s; retrying in 1 s as requested (attempt 2 of 3)";
        assert!(recorder.said(said), "{status} {after}: {:?}", recorder.lines);
    }
    // Who asks for more than there is, at once or by and by, is not asked again.
    let (content, descriptor) = one_blob();
    for (status, after, tries) in [(429, "21600", 1), (503, "99999999", 1), (429, "Sat, 06 Nov 2094 08:49:38 GMT", 1)] {
        let (registry, _) = serve(content.clone(), move |_, _, _| {
            Reply::new(status, b"").header("retry-after", after).header("date", now)
        });
        let (client, _) = client(patient);
        let error = block_on(read(&client, &registry, &descriptor)).unwrap_err();
        assert!(error.to_string().contains("retry after"), "{}", chain(&error));
        assert_eq!(registry.count("/blobs/"), tries);
    }
    let (registry, _) = serve(content, |_, _, _| Reply::new(429, b"").header("retry-after", "1"));
    let (client, _) = client(Limits { patience: Duration::from_secs(1), ..limits() });
    assert!(block_on(read(&client, &registry, &descriptor)).is_err());
    assert_eq!(registry.count("/blobs/"), 2, "one pause, and patience is at its end");
    assert!(block_on(read(&client, &registry, &descriptor)).is_err());
    assert_eq!(registry.count("/blobs/"), 3, "for other requests as well");
    // A Retry-After of 0.88 ms, as some proxies send, is no reason to stop.
    read_blob(
        limits(),
        |_, count, whole| {
            if count == 0 { Reply::new(429, b"").header("retry-after", "0.88ms") } else { whole }
        },
    );
}

#[test]
fn a_storage_that_refuses_is_not_asked_again() {
    for refusal in [400, 401, 403, 404] {
        let (content, descriptor) = one_blob();
        let (stored, path) = (content.clone(), format!("/v2/x/y/blobs/{}", descriptor.digest));
        let storage = FakeRegistry::start(move |seen, _| {
            let whole = honest(&stored, &path);
            match seen.path.as_str() {
                "/signed/0" => whole.cut(40_000),
                "/signed/1" => {
                    Reply::new(refusal, b"").header("www-authenticate", r#"Bearer realm="http://127.0.0.1:1/""#)
                }
                "/signed/2" => ranged(seen, whole),
                other => panic!("{other}"),
            }
        });
        let away = storage.host();
        let (registry, _) = serve(content, move |_, count, _| {
            Reply::new(307, b"").header("location", &format!("http://{away}/signed/{count}"))
        });
        let (client, _) = client(limits());
        let bytes = block_on(read(&client, &registry, &descriptor)).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(bytes == noise(SIZE));
        let asked: Vec<_> = storage.seen().iter().map(|seen| (seen.path.clone(), seen.range())).collect();
        let expected = [("/signed/0", None), ("/signed/1", Some(40_000)), ("/signed/2", Some(40_000))];
        assert_eq!(asked, expected.map(|(path, range)| (path.to_owned(), range)), "{refusal}");
    }
}

#[test]
fn a_token_that_expires_in_the_middle_is_replaced_once() {
    let tokens = FakeRegistry::start(|_, count| Reply::new(200, format!(r#"{{"token":"t{count}"}}"#).as_bytes()));
    let realm = format!("http://{}/token", tokens.host());
    let (content, descriptor) = one_blob();
    let registry = FakeRegistry::serve(content, move |seen, count, whole| {
        // The first token is good for one request of the blob: the one after the challenge.
        match (seen.header("authorization"), count) {
            (Some("Bearer t0"), 1) => whole.cut(60_000),
            (Some("Bearer t1"), _) => ranged(seen, whole),
            _ => {
                let challenge = format!(r#"Bearer realm="{realm}",service="test",scope="repository:x/y:pull""#);
                Reply::new(401, b"").header("www-authenticate", &challenge)
            }
        }
    });
    let (client, _) = client(limits());
    assert!(block_on(read(&client, &registry, &descriptor)).unwrap() == noise(SIZE));
    let asked: Vec<_> = registry.seen().iter().filter(|seen| seen.path.contains("/blobs/")).map(Seen::range).collect();
    assert_eq!(asked, [None, None, Some(60_000), Some(60_000)]);
    assert_eq!(tokens.count("/token"), 2);
}

#[test]
fn where_a_mirror_does_not_get_on_the_registry_does() {
    let (content, descriptor) = one_blob();
    let (origin, from_origin) = serve(content.clone(), |seen, _, whole| ranged(seen, whole));
    let (mirror, from_mirror) =
        serve(content, |seen, count, whole| ranged(seen, whole).cut(if count == 0 { 40_000 } else { 0 }));
    let recorder = Arc::new(Recorder::default());
    let host = Host { mirrors: vec![mirror.host()], ..Host::default() };
    let settings = Settings { hosts: [(origin.host(), host)].into(), limits: limits(), ..Settings::default() };
    let client = Client::new(settings, recorder.clone()).unwrap();
    assert!(block_on(read(&client, &origin, &descriptor)).unwrap() == noise(SIZE));
    assert_eq!(*from_mirror.lock().unwrap(), [(None, 40_000), (Some(40_000), 0), (Some(40_000), 0)]);
    assert_eq!(*from_origin.lock().unwrap(), [(Some(40_000), 60_000)]);
    assert!(recorder.said(&format!("mirror {} of {} skipped", mirror.host(), origin.host())), "{:?}", recorder.lines);
}

#[test]
fn a_registry_that_sends_everybody_elsewhere_is_believed_about_manifests() {
    let other = FakeRegistry::start(|_, _| Reply::new(404, b""));
    let away = other.host();
    let registry = FakeRegistry::start(move |seen, _| match seen.path.as_str() {
        "/v2/" => Reply::new(200, b""),
        path => Reply::new(307, b"").header("location", &format!("http://{away}{path}")),
    });
    let (client, _) = client(limits());
    let error = block_on(client.manifest(&format!("{}/x/y:1", registry.host()).parse().unwrap())).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{}", chain(&error));
    assert_eq!(other.count("/manifests/"), 1);
}

/// An image of one layer for amd64, tagged `1`.
fn one_layer() -> (Content, Layer) {
    let layer = layer(Codec::Gzip, &[("usr/share/noise", &noise(SIZE))]);
    let mut content = Content::default();
    let image = content.image(("linux", "amd64", None), std::slice::from_ref(&layer));
    (content.tag("1", &image), layer)
}

/// One pull, as by a process of its own.
fn pull(store: &Path, registry: &FakeRegistry) -> (Result<FetchReport, FetchError>, Arc<Recorder>) {
    let store = Store::open(store).unwrap();
    let (client, recorder) = client(limits());
    let reporter: Arc<dyn Reporter> = recorder.clone();
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    let outcome = block_on(async {
        let image = resolve(&reference, Platform::Amd64, &store, &client, &*reporter).await.unwrap();
        fetch(&reference, &image, &store, &client, &reporter, 4, &|_| false).await
    });
    (outcome, recorder)
}

fn partial(store: &Path, layer: &Layer) -> PathBuf {
    store.join("partial").join(layer.descriptor().digest.hex())
}

/// The layer is there, right, and nothing else is left of it.
fn assert_whole(root: &Path, layer: &Layer) {
    let store = Store::open(root).unwrap();
    assert_eq!(fs::read(store.blob_path(&layer.descriptor().digest)).unwrap(), layer.blob);
    assert!(fs::read(store.layer_path(&layer.diff_id()).join("usr/share/noise")).unwrap() == noise(SIZE));
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    assert!(!partial(root, layer).exists());
}

/// What of `sent` is the layer, leaving out the config.
fn layer_sent(registry: &FakeRegistry, layer: &Layer) -> Vec<Option<usize>> {
    let digest = layer.descriptor().digest.to_string();
    registry.seen().iter().filter(|seen| seen.path.ends_with(&digest)).map(Seen::range).collect()
}

#[test]
fn a_pull_that_failed_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (content, layer) = one_layer();
    let size = layer.blob.len();
    let digest = layer.descriptor().digest.to_string();
    let (registry, _) = serve(content, move |seen, count, whole| match count {
        _ if !seen.path.ends_with(&digest) => whole,
        0 => whole.cut(70_000),
        1 | 2 => ranged(seen, whole).cut(0),
        _ => ranged(seen, whole),
    });
    let (outcome, recorder) = pull(dir.path(), &registry);
    let error = outcome.unwrap_err();
    assert!(matches!(error, FetchError::Partial { .. }), "{}", chain(&error));
    assert!(error.hints().iter().any(|hint| hint.contains("resumes the download")), "{:?}", error.hints());
    recorder.tasks();
    assert_eq!(fs::metadata(partial(dir.path(), &layer)).unwrap().len(), 70_000);
    assert!(!Store::open(dir.path()).unwrap().has_blob(&layer.descriptor()), "nothing unverified is published");

    let (outcome, recorder) = pull(dir.path(), &registry);
    assert_eq!(outcome.unwrap().bytes_downloaded, (size - 70_000) as u64);
    assert_eq!(recorder.tasks()[0].1, size as u64, "the bar ends full");
    assert_eq!(layer_sent(&registry, &layer), [None, Some(70_000), Some(70_000), Some(70_000)]);
    assert_whole(dir.path(), &layer);
}

#[test]
fn what_is_kept_is_not_believed() {
    let (content, layer) = one_layer();
    let mut flipped = layer.blob[..80_000].to_vec();
    flipped[40_000] ^= 1;
    let mut last = layer.blob.clone();
    *last.last_mut().unwrap() ^= 1;
    let too_long = [layer.blob.as_slice(), b"x"].concat();
    let size = layer.blob.len();
    // What lies there, the requests it leads to, and whether the user is told.
    let cases = [
        ("whole and right", layer.blob.clone(), vec![], false),
        ("half", layer.blob[..size / 2].to_vec(), vec![Some(size / 2)], false),
        ("empty", vec![], vec![None], false),
        ("too long", too_long, vec![None], false),
        ("one bit", flipped, vec![Some(80_000), None], true),
        ("zeroes", vec![0; 80_000], vec![Some(80_000), None], true),
        ("whole but wrong", last, vec![None], true),
    ];
    for (what, kept, requests, told) in cases {
        // A child that another test starts holds the lock on what is to be dropped from its fork to its exec, and
        // then it is left lying: not every time.
        for last_try in [false, false, false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = dir.path().join("store");
            drop(Store::open(&store).unwrap());
            fs::write(partial(&store, &layer), &kept).unwrap();
            let (registry, _) = serve(content.clone(), |seen, _, whole| ranged(seen, whole));
            let (outcome, recorder) = pull(&store, &registry);
            outcome.unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
            assert_eq!(layer_sent(&registry, &layer), requests, "{what}");
            assert_eq!(recorder.said("fetching it again from its start"), told, "{what}: {:?}", recorder.lines);
            if last_try || !told || !partial(&store, &layer).exists() {
                assert_whole(&store, &layer);
                break;
            }
        }
    }
}

#[test]
fn content_that_is_wrong_twice_is_the_registrys() {
    let (content, layer) = one_layer();
    for wrong in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let digest = layer.descriptor().digest.to_string();
        let (registry, _) = serve(content.clone(), move |seen, count, whole| {
            if !seen.path.ends_with(&digest) || count >= wrong {
                return ranged(seen, whole);
            }
            let mut body = whole.body.clone();
            body[50_000] ^= 1;
            whole.body(&body)
        });
        let (outcome, recorder) = pull(dir.path(), &registry);
        assert!(recorder.said("fetching it again from its start"), "{:?}", recorder.lines);
        assert_eq!(layer_sent(&registry, &layer), [None, None], "each from its start");
        if wrong == 1 {
            outcome.unwrap();
            assert_whole(dir.path(), &layer);
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity);
            assert!(chain(&error).contains(&registry.host()), "{}", chain(&error));
            assert!(!partial(dir.path(), &layer).exists(), "what is wrong is not kept");
            assert!(!Store::open(dir.path()).unwrap().has_blob(&layer.descriptor()));
        }
    }
}

#[test]
fn what_another_process_writes_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    drop(Store::open(&store).unwrap());
    let (content, layer) = one_layer();
    let path = partial(&store, &layer);
    fs::write(&path, &layer.blob[..100]).unwrap();
    let other = File::open(&path).unwrap();
    other.lock().unwrap();
    let (registry, _) = serve(content, |seen, _, whole| ranged(seen, whole));
    pull(&store, &registry).0.unwrap();
    assert_eq!(layer_sent(&registry, &layer), [None]);
    assert!(Store::open(&store).unwrap().has_blob(&layer.descriptor()));
    assert_eq!(fs::read(&path).unwrap(), &layer.blob[..100]);
}

/// Waits until `path` has at least `size` bytes.
fn until_written(path: &Path, size: u64) {
    let begun = Instant::now();
    while fs::metadata(path).map_or(0, |meta| meta.len()) < size {
        assert!(begun.elapsed() < LIMIT, "{} does not grow", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_and_run_again_a_pull_goes_on() {
    let world = TestContext::empty();
    let (content, layer) = one_layer();
    let digest = layer.descriptor().digest.to_string();
    let (registry, _) = serve(content, move |seen, count, whole| {
        if count == 0 && seen.path.ends_with(&digest) {
            whole.stall(Duration::from_secs(600))
        } else {
            ranged(seen, whole)
        }
    });
    let image = format!("{}/x/y:1", registry.host());
    let pull = || world.hermes(["pull", "--image", &image, "--platform", "amd64"]);
    let running = pull().start();
    // All but the last part, of which the registry sends nothing for now.
    let kept = (layer.blob.len() as u64 - 1) / 10_000 * 10_000;
    until_written(&partial(world.store(), &layer), kept);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code(), -9);
    pull().ok();
    assert_eq!(layer_sent(&registry, &layer), [None, Some(usize::try_from(kept).unwrap())], "no byte is sent twice");
    assert_whole(world.store(), &layer);
}

#[test]
fn several_at_once_do_each_other_no_harm() {
    let world = TestContext::empty();
    let (content, layer) = one_layer();
    // Whoever comes first breaks off once, and is not alone by then.
    let (registry, _) = serve(content, |seen, count, whole| {
        if count == 0 { whole.cut(50_000).stall(Duration::from_millis(200)) } else { ranged(seen, whole) }
    });
    let image = format!("{}/x/y:1", registry.host());
    let all: Vec<_> =
        (0..8).map(|_| world.hermes(["pull", "--image", &image, "--platform", "amd64"]).start()).collect();
    for running in all {
        running.wait().exits(0);
    }
    assert_whole(world.store(), &layer);
}

#[test]
fn the_real_registry_goes_on_too() {
    if !real_registry::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let registry = RealRegistry::start(dir.path(), None);
    let (content, layer) = one_layer();
    registry.push("x/y", &content);
    let world = TestContext::empty();
    drop(Store::open(world.store()).unwrap());
    fs::write(partial(world.store(), &layer), &layer.blob[..60_000]).unwrap();
    let image = format!("{}/x/y:1", registry.host());
    let output = world.hermes(["pull", "--verbose", "--image", &image, "--platform", "amd64"]).output();
    output.exits(0);
    assert!(
        output.stderr.contains("after 60000 bytes") && !output.stderr.contains("requesting all of it"),
        "{}",
        output.stderr
    );
    assert_whole(world.store(), &layer);
}
