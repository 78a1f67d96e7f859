//! Concurrency of downloads, limits of bandwidth, and rate limits of registries.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hermes::testing::platform::Platform;
use hermes::testing::progress::Reporter;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Limits, Settings};
use hermes::testing::resolve::resolve;
use hermes::testing::store::Store;

use crate::support::context::TestContext;
use crate::support::fake_registry::{FakeRegistry, Reply, ranged};
use crate::support::image::{Codec, Content, Layer, layer, noise};
use crate::support::{Recorder, block_on};

const RATE: u64 = 64 << 10;
/// What may be caught up on at the start: a tenth of a second's worth, and as much in one piece.
const BURST: u64 = RATE / 5;

fn image(layers: &[Layer]) -> Content {
    let mut content = Content::default();
    let image = content.image(("linux", "amd64", None), layers);
    content.tag("1", &image)
}

fn client(limits: Limits) -> (Client, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let settings = Settings { limits, bandwidth: "64K".parse().ok(), ..Settings::default() };
    (Client::new(settings, recorder.clone()).unwrap(), recorder)
}

#[test]
fn at_no_time_more_has_come_than_the_rate_allows() {
    let (mut content, size) = (Content::default(), 60_000);
    let blobs = [content.blob("x", noise(size)), content.blob("x", noise(size + 1))];
    let registry = FakeRegistry::serve(content, |_, _, reply| reply);
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    // The registry may be silent for less than this takes: that one waits is not its slowness.
    let (client, recorder) = client(Limits { slow: Duration::from_secs(1), least: u64::MAX, ..Limits::default() });
    let (begun, sum) = (Instant::now(), Mutex::new(0));
    let read = async |descriptor| {
        let mut blob = client.blob(&reference, descriptor).await.unwrap();
        let (mut bytes, mut longest) = (Vec::new(), 0);
        while let Some(chunk) = blob.chunk().await.unwrap() {
            bytes.extend_from_slice(&chunk);
            longest = longest.max(chunk.len());
            let mut sum = sum.lock().unwrap();
            *sum += chunk.len() as u64;
            let allowed = begun.elapsed().as_millis() * u128::from(RATE) / 1000 + u128::from(BURST);
            assert!(u128::from(*sum) <= allowed, "{sum} bytes where {allowed} are allowed");
        }
        assert!(longest <= 6554, "{longest} bytes at once");
        bytes
    };
    let both = block_on(async { futures_util::join!(read(&blobs[0]), read(&blobs[1])) });
    assert!(both == (noise(size), noise(size + 1)));
    assert!(!recorder.said("too slowly"), "{:?}", recorder.lines);
    assert_eq!(registry.count("/blobs/"), 2);
}

#[test]
fn what_is_sent_again_is_paid_for_too() {
    let mut content = Content::default();
    let blob = content.blob("x", noise(30_000));
    // It breaks off, and then sends the whole in place of the rest.
    let registry = FakeRegistry::serve(content, |seen, count, reply| {
        if seen.path.contains("/blobs/") && count == 0 { reply.cut(20_000) } else { reply }
    });
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    let (client, _) = client(Limits { pause: Duration::ZERO, ..Limits::default() });
    let begun = Instant::now();
    assert!(block_on(client.small_blob(&reference, &blob, 30_000)).unwrap() == noise(30_000));
    let allowed = begun.elapsed().as_millis() * u128::from(RATE) / 1000 + u128::from(BURST);
    assert!(allowed >= 50_000, "50000 bytes came where {allowed} are allowed");
    assert_eq!(registry.count("/blobs/"), 2);
}

/// Counts the blobs that are asked for and not yet answered, and answers none until so many are.
#[derive(Default)]
struct Gate {
    open: Mutex<usize>,
    changed: Condvar,
}

#[test]
fn so_many_layers_are_received_at_a_time() {
    let layers: Vec<_> = (0..5).map(|at| layer(Codec::Gzip, &[(&format!("file{at}"), &noise(30_000 + at))])).collect();
    let content = image(&layers);
    let blobs: Vec<_> = layers.iter().map(|layer| layer.descriptor().digest.to_string()).collect();
    for (jobs, expected) in [("1", 1), ("3", 3), ("32", 5)] {
        // No answer ends before all that may come at a time are under way. One that comes too many
        // is seen, since nothing ends meanwhile.
        let gate = Arc::new(Gate::default());
        let (asked, held) = (Arc::clone(&gate), blobs.clone());
        let registry = FakeRegistry::serve(content.clone(), move |seen, _, reply| {
            let is_layer = held.iter().any(|digest| seen.path.ends_with(digest));
            if is_layer && seen.range().is_none() {
                *asked.open.lock().unwrap() += 1;
                asked.changed.notify_all();
                // Far from its end, which stays away for long.
                return reply.stall(Duration::from_secs(600));
            }
            ranged(seen, reply)
        });
        let world = TestContext::empty();
        let words = ["pull", "--max-concurrent", jobs, &format!("{}/x/y:1", registry.host())];
        let running = world.hermes(words).start();
        let mut open = gate.open.lock().unwrap();
        // Silence is given up after longer than this, and something else asked for then.
        let limit = Instant::now() + Duration::from_secs(40);
        while *open < expected && Instant::now() < limit {
            open = gate.changed.wait_timeout(open, Duration::from_secs(1)).unwrap().0;
        }
        drop(open);
        // Time for one too many to be asked for.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(*gate.open.lock().unwrap(), expected, "--max-concurrent {jobs}");
        drop(running);
    }
}

#[test]
fn settings_that_make_no_sense() {
    let world = TestContext::empty();
    for option in
        [["--max-concurrent", "0"], ["--max-concurrent", "33"], ["--limit-rate", "fast"], ["--limit-rate", "1"]]
    {
        world.hermes(option).args(["pull", "x/y:1"]).output().refused(2, &[option[0]]);
    }
    world.configure("max-concurrent = 0\n");
    world.hermes(["images"]).output().refused(2, &["config.toml", "max-concurrent must be 1 to 32"]);
}

#[test]
fn a_limited_pull_is_a_whole_pull() {
    let content = image(&[layer(Codec::Zstd, &[("a", &noise(9000))]), layer(Codec::Gzip, &[("b", &noise(9001))])]);
    let registry = FakeRegistry::serve(content, |_, _, reply| reply);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let (client, recorder) = client(Limits::default());
    let reporter: Arc<dyn Reporter> = recorder;
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    let image = block_on(async {
        let image = resolve(&reference, Platform::Amd64, &store, &client, &*reporter).await.unwrap();
        hermes::testing::fetch::fetch(&reference, &image, &store, &client, &reporter, 32, &|_| false).await.unwrap();
        image
    });
    assert!(store.has_image(&image));
}

/// A registry that grants 100 requests, of which this many are left at first.
fn granting(left: usize) -> FakeRegistry {
    let content = image(&[layer(Codec::Gzip, &[("a", b"a")])]);
    let asked = Mutex::new(0);
    FakeRegistry::serve(content, move |seen, _, reply| {
        if !seen.path.contains("/manifests/") {
            return reply;
        }
        let mut asked = asked.lock().unwrap();
        let reply = if left > *asked { reply } else { Reply::new(429, b"").header("retry-after", "0") };
        let remaining = left.saturating_sub(*asked);
        *asked += 1;
        reply
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", &format!("{remaining};w=21600"))
            .header("docker-ratelimit-source", "192.0.2.7\tx")
    })
}

#[test]
fn what_a_registry_still_grants_is_told() {
    let said = |registry: &FakeRegistry, options: &[&str]| {
        let world = TestContext::empty();
        let name = format!("{}/x/y:1", registry.host());
        let first = world.hermes([&["pull", &name], options].concat()).output();
        // The second one is a HEAD, with which the headers come too.
        (first.stderr.clone(), world.hermes([&["pull", &name], options].concat()).output().stderr)
    };
    let line = "76 of 100 requests in 6 h left for 192.0.2.7\\tx";
    assert_eq!(said(&granting(76), &[]), (String::new(), String::new()));
    let (first, second) = said(&granting(76), &["--verbose"]);
    assert!(first.contains(line) && second.contains(&line.replace("76", "75")), "{first}{second}");
    let registry = granting(10);
    let (first, second) = said(&registry, &[]);
    let host = registry.host();
    let expected = format!(
        "registry {host}: 10 of 100 requests in 6 h left for 192.0.2.7\\tx; log in for a higher limit (hermes login {host})"
    );
    assert!(first.starts_with(&expected) && first.lines().count() == 1, "{first}");
    assert!(second.contains(" 9 of 100"), "{second}");
    // None are left: the refusal says of what.
    let world = TestContext::empty();
    let registry = granting(0);
    let output = world.hermes(["pull", &format!("{}/x/y:1", registry.host())]).output();
    output.refused(1, &["status 429); 0 of 100 requests in 6 h left", "hermes login", "mirrors"]);
    assert!(!output.stderr.contains("7\tx"), "{}", output.stderr);
}
