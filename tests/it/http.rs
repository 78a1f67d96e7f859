//! HTTP/2 and HTTP/1.1 over TLS, and how connections are reused.

use std::sync::Arc;
use std::time::Duration;

use hermes::testing::oci::Descriptor;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Host, Limits, RegistryError, Settings};

use crate::support::context::{TestContext, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::{End, FakeRegistry, Reply, Seen, honest, ranged};
use crate::support::image::{Content, noise};
use crate::support::real_registry::Tls;
use crate::support::{Recorder, block_on, chain, require};

const SIZE: usize = 300_000;

/// A registry with one blob, of which `change` makes what it answers.
fn serve(
    tls: &Tls,
    protocol: &str,
    change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static,
) -> (FakeRegistry, Descriptor) {
    let mut content = Content::default();
    let descriptor = content.blob("application/octet-stream", noise(SIZE));
    let answer = move |seen: &Seen, count| {
        let reply = ranged(seen, honest(&content, &seen.path));
        if seen.path.contains("/blobs/") { change(seen, count, reply) } else { reply }
    };
    (FakeRegistry::start_tls(tls, &[protocol], answer), descriptor)
}

fn read(
    tls: &Tls,
    registry: &FakeRegistry,
    descriptor: &Descriptor,
) -> (Result<Vec<u8>, RegistryError>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let host = Host { ca: Some(tls.ca.clone()), ..Host::default() };
    let limits = Limits { pause: Duration::from_millis(1), ..Limits::default() };
    let settings = Settings { hosts: [(registry.host(), host)].into(), limits, ..Settings::default() };
    let client = Client::new(settings, recorder.clone()).unwrap();
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    (block_on(client.small_blob(&reference, descriptor, SIZE as u64)), recorder)
}

#[test]
fn whatever_a_server_speaks() {
    if !tool("openssl") {
        return;
    }
    for (protocols, version) in
        [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["h2"], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
    {
        let world = TestContext::empty();
        let tls = Tls::new(world.path());
        let content = tiny("same");
        let registry = FakeRegistry::start_tls(&tls, protocols, move |seen, _| honest(&content, &seen.path));
        let ca = format!("{}={}", registry.host(), tls.ca.display());
        world.hermes(["pull", "--ca", &ca, &format!("{}/x/y:1", registry.host())]).ok();
        let seen = registry.seen();
        assert!(seen.len() >= 5 && seen.iter().all(|seen| seen.version == version), "{protocols:?}: {seen:#?}");
    }
}

#[test]
fn a_blob_that_is_reset_goes_on_from_there() {
    if !tool("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    for (protocol, end) in [("h2", End::Reset), ("h2", End::GoAway), ("http/1.1", End::Reset)] {
        let (registry, descriptor) = serve(&tls, protocol, move |_, count, reply| match count {
            0 => reply.cut(100_000).end(end),
            1 => reply.cut(50_000).end(end),
            _ => reply,
        });
        let (bytes, recorder) = read(&tls, &registry, &descriptor);
        let bytes = bytes.unwrap_or_else(|error| panic!("{protocol} {end:?}: {}", chain(&error)));
        assert!(bytes == noise(SIZE));
        let blobs: Vec<_> = registry.seen().into_iter().filter(|seen| seen.path.contains("/blobs/")).collect();
        let ranges: Vec<_> = blobs.iter().map(|seen| seen.range().unwrap_or_default()).collect();
        assert_eq!(ranges, [0, 100_000, 150_000], "{protocol} {end:?}");
        assert!(recorder.said("cannot receive"), "{:?}", recorder.lines);
    }
}

#[test]
fn t21_resets_without_end_come_to_one() {
    if !tool("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    for protocol in ["h2", "http/1.1"] {
        for (end, bytes) in [(End::Reset, 0), (End::Reset, 10), (End::GoAway, 0), (End::Nothing, 0)] {
            let (registry, descriptor) = serve(&tls, protocol, move |_, _, reply| reply.cut(bytes).end(end));
            let (outcome, _) = read(&tls, &registry, &descriptor);
            assert!(outcome.is_err());
            let asked = registry.count("/blobs/");
            assert!((3..=9).contains(&asked), "{protocol} {end:?}: {asked} requests");
        }
    }
}

#[test]
fn several_blobs_at_once_by_one_connection() {
    if !tool("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let mut content = Content::default();
    let blobs: Vec<_> = (0..4).map(|at| content.blob("x", noise(SIZE + at))).collect();
    let registry = FakeRegistry::start_tls(&tls, &["h2"], move |seen, _| honest(&content, &seen.path));
    let host = Host { ca: Some(tls.ca.clone()), ..Host::default() };
    let settings = Settings { hosts: [(registry.host(), host)].into(), ..Settings::default() };
    let client = Client::new(settings, Arc::new(Recorder::default())).unwrap();
    let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    let all = block_on(async {
        // The connection is there by then: without it, each would make its own.
        client.small_blob(&reference, &blobs[0], SIZE as u64).await.unwrap();
        futures_util::future::join_all(blobs.iter().map(|blob| client.small_blob(&reference, blob, SIZE as u64 + 4)))
            .await
    });
    for (at, bytes) in all.into_iter().enumerate() {
        assert!(bytes.unwrap_or_else(|error| panic!("{}", chain(&error))) == noise(SIZE + at));
    }
    let seen = registry.seen();
    assert!(seen.iter().all(|request| request.peer == seen[0].peer), "{seen:#?}");
}

#[test]
fn a_registry_with_an_ipv6_address() {
    let loopback = std::net::TcpListener::bind("[::1]:0").map(drop).map_err(|error| error.to_string());
    if !require("ipv6", loopback) {
        return;
    }
    let world = TestContext::empty();
    let content = tiny("six");
    let registry = FakeRegistry::listen("[::1]:0", None, move |seen, _| honest(&content, &seen.path));
    let name = format!("{}/x/y:1", registry.host());
    assert!(name.starts_with("[::1]:"), "{name}");
    world.hermes(["pull", &name]).ok();
    assert_eq!(world.json(&["images"])[0]["reference"], name.as_str());
    // In another spelling it is the same one.
    world.hermes(["--offline", "inspect", &name.replace("[::1]", "[0:0::0001]")]).ok();
    world.hermes(["rm", &name]).ok();
}
