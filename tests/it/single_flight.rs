//! Many processes that need the same layer or image at once: one of them makes it, and the others wait.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hermes::testing::fetch::fetch;
use hermes::testing::platform::Platform;
use hermes::testing::progress::Reporter;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Settings};
use hermes::testing::resolve::resolve;
use hermes::testing::store::Store;
use rustix::process::Signal;

use crate::support::context::TestContext;
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::process::{Output, Running};
use crate::support::{Recorder, block_on};

const TINY: &str = "test.invalid/tiny:1";
const HERD: usize = 8;

/// How many layers were unpacked by these, which ran with `--verbose`.
fn unpacked(outputs: &[Output]) -> usize {
    outputs.iter().map(|output| output.stderr.matches("unpacked layer ").count()).sum()
}

/// A registry with an image of which the large layer stalls before its end, the first time for a minute.
fn slow() -> (FakeRegistry, String) {
    let registry = FakeRegistry::serve(tiny("herd"), |seen, count, reply| {
        let is_layer = seen.path.contains("/blobs/") && reply.body.len() > 10_000;
        let stall = if count == 0 { Duration::from_secs(60) } else { Duration::from_millis(200) };
        if is_layer { reply.stall(stall) } else { reply }
    });
    let name = format!("{}/lib/tiny:1", registry.host());
    (registry, name)
}

/// Starts a pull, and waits until another process can see that it is at work on both layers.
fn first_pull(world: &TestContext, name: &str) -> Running {
    let first = world.hermes(["pull", name]).start();
    let limit = Instant::now() + Duration::from_secs(60);
    while world.stored("claims").iter().filter(|name| name.starts_with("layer-")).count() < 2 {
        assert!(Instant::now() < limit, "nothing was claimed");
        std::thread::sleep(Duration::from_millis(5));
    }
    first
}

#[test]
fn cold_runs_from_a_site_store_unpack_once() {
    let Some(world) = TestContext::in_memory() else { return };
    let site = TestContext::empty();
    let _ = site.import(&tiny("herd"), TINY);
    let run = || {
        let words = ["--verbose", "--offline", "run", "--image", TINY, "--", "tool"];
        world.hermes(words).env("HERMES_SITE_STORE", site.store()).start()
    };
    let all: Vec<_> = (0..HERD).map(|_| run()).collect();
    let all: Vec<_> = all.into_iter().map(Running::wait).collect();
    for output in &all {
        assert_eq!(output.ok(), "herd amd64");
    }
    assert_eq!(unpacked(&all), 2, "{all:#?}");
    assert_eq!(world.stored("claims"), [""; 0]);
    // A warm run claims nothing.
    assert_eq!(unpacked(&[run().wait()]), 0);
}

#[test]
fn imported_layers_are_unpacked_and_merged_once() {
    let Some(world) = TestContext::in_memory() else { return };
    let _ = world.import(&tiny("herd"), TINY);
    let run = || world.hermes(["--verbose", "run", "--rootfs", "merged", "--image", TINY, "--", "tool"]).start();
    let all: Vec<_> = (0..HERD).map(|_| run()).collect();
    let all: Vec<_> = all.into_iter().map(Running::wait).collect();
    for output in &all {
        assert_eq!(output.ok(), "herd amd64");
    }
    assert_eq!(unpacked(&all), 2, "{all:#?}");
    assert_eq!((world.stored("roots").len(), world.stored("claims")), (1, vec![]));
}

#[test]
fn first_pulls_at_once_fetch_each_layer_once() {
    let world = TestContext::empty();
    let registry = FakeRegistry::serve(tiny("herd"), |seen, _, reply| {
        if seen.path.contains("/blobs/") { reply.stall(Duration::from_millis(300)) } else { reply }
    });
    let name = format!("{}/lib/tiny:1", registry.host());
    let all: Vec<_> = (0..HERD).map(|_| world.hermes(["--verbose", "pull", &name]).start()).collect();
    let all: Vec<_> = all.into_iter().map(Running::wait).collect();
    for output in &all {
        output.ok();
    }
    assert_eq!(unpacked(&all), 2, "{all:#?}");
    for layer in world.json(&["inspect", &name])["layers"].as_array().unwrap() {
        let digest = layer["blob"]["digest"].as_str().unwrap();
        assert_eq!(registry.count(&format!("/blobs/{digest}")), 1);
    }
    assert_eq!(world.stored("claims"), [""; 0]);
}

#[test]
fn whoever_waits_takes_over_from_the_dead() {
    let world = TestContext::empty();
    let (_registry, name) = slow();
    let first = first_pull(&world, &name);
    let second = world.hermes(["--verbose", "pull", &name]).start();
    second.until_stderr("waiting for another hermes");
    first.signal(Signal::KILL);
    assert_eq!(first.wait().code(), -9);
    second.wait().ok();
    assert_eq!(world.stored("claims"), [""; 0]);
    hermes_finds_it_whole(world.store());
}

#[test]
fn whoever_waits_passes_over_the_stopped() {
    let world = TestContext::empty();
    let (registry, name) = slow();
    let first = first_pull(&world, &name);
    first.signal(Signal::STOP);
    // As a second process would, but for its patience of a minute.
    let store = Store::open(world.store()).unwrap().with_patience(Duration::from_millis(1500));
    let recorder = Arc::new(Recorder::default());
    let reporter: Arc<dyn Reporter> = recorder.clone();
    let client = Client::new(Settings::default(), reporter.clone()).unwrap();
    let reference: Reference = name.parse().unwrap();
    let image = block_on(resolve(&reference, Platform::host(), &store, &client, &*recorder)).unwrap();
    let report = block_on(fetch(&reference, &image, &store, &client, &reporter, 4, &|_| false)).unwrap();
    assert_eq!(report.layers_downloaded + report.layers_unpacked, 2);
    assert!(recorder.said("has made no progress"));
    assert!(store.has_image(&image));
    // It goes on, and takes nothing from anybody.
    first.signal(Signal::CONT);
    first.signal(Signal::KILL);
    let _ = first.wait();
    drop(registry);
    hermes_finds_it_whole(world.store());
}

fn hermes_finds_it_whole(store: &Path) {
    crate::support::fsck::assert_consistent(store, "in the end");
}
