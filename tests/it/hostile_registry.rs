//! Registries that lie, never end or redirect credentials. The numbers are those of the list of threats.

use std::fs;
use std::sync::Arc;

use hermes::testing::digest::Digest;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Settings};
use serde_json::{Value, json};

use crate::support::context::{TestContext, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest};
use crate::support::image::{Codec, Content, layer, multi_arch, noise};
use crate::support::real_registry::Tls;
use crate::support::{Recorder, block_on, chain};

/// Nothing is there by which anything could be run, and no blob that is not what its name says.
#[track_caller]
fn nothing_usable(world: &TestContext, what: &str) {
    for directory in ["refs", "layers", "tmp", "partial"] {
        assert_eq!(world.stored(directory), Vec::<String>::new(), "{what}: {directory}");
    }
    for name in world.stored("blobs/sha256") {
        let bytes = fs::read(world.store().join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), name, "{what}");
    }
}

#[test]
fn t17_pinned_digest_is_never_ignored() {
    let (content, other) = (tiny("wanted"), tiny("another"));
    let top = content.tags["1"];
    let evil = other.manifests[&other.tags["1"]].clone();
    let manifest = content.manifests.keys().find(|digest| **digest != top).copied();
    let index: Value = serde_json::from_slice(&content.manifests[&top].1).unwrap();
    let amd64: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    assert!(manifest.is_some());
    // The pinned document itself, and the manifest it names; in both cases the registry has the
    // digest that is asked for in its headers, or that of what it sends, or none.
    for (lied, claims) in [top, amd64]
        .into_iter()
        .flat_map(|lied| [Some(lied), Some(Digest::of(&evil.1)), None].map(|claim| (lied, claim)))
    {
        let evil = evil.clone();
        let fake = FakeRegistry::serve(content.clone(), move |seen, _, reply| {
            if !seen.path.ends_with(&format!("/manifests/{lied}")) {
                return reply;
            }
            let reply = Reply::new(200, &evil.1).header("content-type", &evil.0);
            claims.map_or(reply.clone(), |claim| reply.header("docker-content-digest", &claim.to_string()))
        });
        let world = TestContext::empty();
        let pinned = format!("{}/x/y:1@{top}", fake.host());
        let output = world.hermes(["pull", &pinned]).output();
        // An inner manifest of another length is refused for its length.
        output.refused(3, &["mismatch for", "the data was discarded"]);
        nothing_usable(&world, &output.stderr);
        if lied == top {
            assert_eq!(world.stored("blobs/sha256"), Vec::<String>::new());
        }
        // The same by a lock, in a store that has nothing.
        let first = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
        let mirror = |fake: &FakeRegistry| format!("docker.io={}", fake.host());
        world.hermes(["fetch", "--mirror", &mirror(&first), "x/y:1"]).ok();
        let empty = TestContext::empty();
        let locks = world.image_lock("docker.io/x/y:1");
        let words = ["--lock", locks.to_str().unwrap(), "--mirror", &mirror(&fake), "fetch", "x/y:1"];
        let output = empty.hermes(words).output();
        output.refused(3, &["the data was discarded"]);
        nothing_usable(&empty, &output.stderr);
    }
}

#[test]
fn t18_urls_of_a_layer_are_ignored() {
    // As in foreign layers: fetched from there by some, with the registry's credentials (CVE-2020-15157).
    let elsewhere = FakeRegistry::start(|_, _| Reply::new(200, b"x"));
    let base = layer(Codec::Gzip, &[("a", &noise(5000))]);
    for media_type in
        ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]
    {
        let mut content = Content::default();
        let image = content.image(("linux", "amd64", None), std::slice::from_ref(&base));
        let mut manifest: Value = serde_json::from_slice(&content.manifests[&image.digest].1).unwrap();
        manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", elsewhere.host())]);
        manifest["layers"][0]["mediaType"] = media_type.into();
        let image = content.manifest(hermes::testing::oci::MANIFEST, manifest.to_string().into_bytes());
        // Neither where the registry has the layer nor where it has not.
        for has in [true, false] {
            let mut content = content.clone().tag("1", &image);
            if !has {
                content.blobs.remove(&base.descriptor().digest);
            }
            let fake = FakeRegistry::serve(content, |_, _, reply| reply);
            let world = TestContext::empty();
            let output = world.hermes(["pull", &format!("{}/x/y:1", fake.host())]).output();
            if has {
                output.ok();
            } else {
                output.refused(1, &["does not have"]);
            }
        }
    }
    assert_eq!(elsewhere.seen().len(), 0);
}

/// What a registry does to a request.
type Loop = Box<dyn Fn(&Seen, usize, Reply) -> Reply + Send + Sync>;

#[test]
fn t21_whatever_a_registry_does_comes_to_an_end() {
    let to = |location: String| Reply::new(307, b"").header("location", &location);
    let host = |seen: &Seen| seen.header("host").unwrap().to_owned();
    let challenge = move |seen: &Seen, path: &str| {
        let realm = format!("Bearer realm=\"http://{}{path}\",service=\"s\"", host(seen));
        Reply::new(401, b"").header("www-authenticate", &realm)
    };
    let loops: Vec<(&str, usize, Loop)> = vec![
        (
            "redirects in a circle",
            40,
            Box::new(move |seen, _, reply| match seen.path.as_str() {
                "/v2/" => reply,
                "/a" => to(format!("http://{}/b", host(seen))),
                _ => to(format!("http://{}/a", host(seen))),
            }),
        ),
        (
            "blobs in a circle",
            40,
            Box::new(move |seen, _, reply| if seen.path.contains("/blobs/") { to(seen.path.clone()) } else { reply }),
        ),
        (
            "tokens that are never good",
            20,
            Box::new(move |seen, count, _| match seen.path.as_str() {
                path if path.starts_with("/token") => {
                    Reply::new(200, format!(r#"{{"token":"t{count}","expires_in":0}}"#).as_bytes())
                }
                _ => challenge(seen, "/token"),
            }),
        ),
        (
            "a token server that redirects",
            40,
            Box::new(move |seen, _, _| match seen.path.as_str() {
                path if path.starts_with("/token") => to(format!("{path}x")),
                _ => challenge(seen, "/token"),
            }),
        ),
        ("a token server that wants a token", 20, Box::new(move |seen, _, _| challenge(seen, "/token"))),
        (
            "patience without end",
            20,
            Box::new(
                |seen, _, reply| {
                    if seen.path == "/v2/" { reply } else { Reply::new(429, b"").header("retry-after", "0") }
                },
            ),
        ),
        (
            "a layer that comes by and by",
            60,
            Box::new(
                |seen, _, reply| {
                    if seen.path.contains("/blobs/") && reply.body.len() > 100_000 { reply.cut(1) } else { reply }
                },
            ),
        ),
    ];
    let content = tiny("never");
    for (what, most, answer) in loops {
        let served = content.clone();
        let fake = FakeRegistry::start(move |seen, count| answer(seen, count, honest(&served, &seen.path)));
        let world = TestContext::empty();
        let output = world.hermes(["pull", &format!("{}/x/y:1", fake.host())]).output();
        output.refused(1, &[]);
        assert_eq!(fake.count("/token") > 0, what.contains("token"), "{what}");
        assert!(fake.seen().len() <= most, "{what}: {} requests", fake.seen().len());
        assert_eq!(world.stored("refs"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn t21_an_index_of_itself_ends() {
    let (mut content, _) = multi_arch();
    let mut inner = content.index(&[]);
    inner.platform =
        Some(hermes::testing::oci::WirePlatform { os: "linux".into(), architecture: "amd64".into(), variant: None });
    let mut outer = inner.clone();
    for _ in 0..5 {
        let platform = outer.platform.clone();
        outer = content.index(&[outer]);
        outer.platform = platform;
    }
    let fake = FakeRegistry::serve(content.tag("1", &outer), |_, _, reply| reply);
    let world = TestContext::empty();
    world.hermes(["pull", &format!("{}/x/y:1", fake.host())]).output().refused(3, &["has a nested index"]);
    assert_eq!(fake.count("/manifests/"), 2);
}

#[test]
fn t18_credentials_never_follow_a_redirect() {
    if !tool("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let mut content = Content::default();
    let blob = content.blob("application/octet-stream", noise(5000));
    let served = content.clone();
    let storage = move |seen: &Seen, _| honest(&served, &seen.path);
    // Another port, another name for the same host, another scheme.
    let (plain, secure) = (FakeRegistry::start(storage.clone()), FakeRegistry::start_tls(&tls, &["h2"], storage));
    let places = [
        format!("http://{}", plain.host()),
        format!("http://localhost:{}", plain.address.port()),
        format!("https://{}", secure.host()),
    ];
    for away in places {
        let to = away.clone();
        let registry = FakeRegistry::serve(content.clone(), move |seen, _, reply| {
            let host = seen.header("host").unwrap();
            if seen.path.starts_with("/token") {
                return Reply::new(200, br#"{"token":"canary"}"#);
            }
            if seen.header("authorization") != Some("Bearer canary") {
                let realm = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
                return Reply::new(401, b"").header("www-authenticate", &realm);
            }
            if !seen.path.contains("/blobs/") {
                return reply;
            }
            Reply::new(307, b"").header("location", &format!("{to}{}", seen.path)).header("set-cookie", "canary=1")
        });
        let client = Client::new(Settings::default(), Arc::new(Recorder::default())).unwrap();
        let reference: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
        let bytes = block_on(client.small_blob(&reference, &blob, 5000));
        assert!(bytes.unwrap_or_else(|error| panic!("{away}: {}", chain(&error))) == noise(5000));
    }
    let asked: Vec<_> = plain.seen().into_iter().chain(secure.seen()).collect();
    assert_eq!(asked.len(), 3, "{asked:#?}");
    for seen in asked {
        assert!(!format!("{:?}", seen.headers).contains("canary"), "{seen:?}");
        assert_eq!((seen.header("authorization"), seen.header("cookie"), seen.header("referer")), (None, None, None));
    }
}
