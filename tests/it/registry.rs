//! `registry::Client` against a registry that lies, fails and redirects.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hermes::testing::digest::Digest;
use hermes::testing::hint::{ErrorKind, Hint as _};
use hermes::testing::oci::{self, Descriptor};
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Host, RegistryError, Settings};

use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest};
use crate::support::image::{Content, multi_arch, noise};
use crate::support::real_registry::{self, RealRegistry, Tls};
use crate::support::{Recorder, block_on, chain};

fn client(hosts: &[(&str, Host)]) -> (Client, Arc<Recorder>) {
    let hosts: BTreeMap<_, _> = hosts.iter().map(|(name, host)| ((*name).to_owned(), host.clone())).collect();
    let recorder = Arc::new(Recorder::default());
    let settings = Settings { hosts, ..Settings::default() };
    (Client::new(settings, recorder.clone()).unwrap(), recorder)
}

fn reference(registry: &FakeRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

fn manifest_error(registry: &FakeRegistry, rest: &str) -> RegistryError {
    let (client, _) = client(&[]);
    block_on(client.manifest(&reference(registry, rest))).unwrap_err()
}

/// A registry with one blob, and the blob's descriptor.
fn with_blob(change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static) -> (FakeRegistry, Descriptor) {
    let mut content = Content::default();
    let descriptor = content.blob("application/octet-stream", noise(100_000));
    (FakeRegistry::serve(content, change), descriptor)
}

async fn read(client: &Client, reference: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let mut blob = client.blob(reference, descriptor).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        bytes.extend_from_slice(&chunk);
        assert!(bytes.len() as u64 <= descriptor.size, "more bytes were handed out than the descriptor says");
    }
    Ok(bytes)
}

fn blob_error(registry: &FakeRegistry, descriptor: &Descriptor) -> RegistryError {
    let (client, _) = client(&[]);
    block_on(read(&client, &reference(registry, "x/y:1"), descriptor)).unwrap_err()
}

#[test]
fn an_honest_registry_over_plain_http_on_loopback() {
    let (content, _) = multi_arch();
    let registry = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
    let (client, _) = client(&[]);
    block_on(async {
        let fetched = client.manifest(&reference(&registry, "x/y:1")).await.unwrap();
        assert_eq!(fetched.digest, content.tags["1"]);
        assert_eq!(fetched.content_type.as_deref(), Some(oci::INDEX));
        assert_eq!(fetched.host, registry.host());
        let (digest, bytes) = content.blobs.iter().next().unwrap();
        let descriptor = Descriptor::new("x", *digest, bytes.len() as u64);
        assert_eq!(&read(&client, &reference(&registry, "x/y:1"), &descriptor).await.unwrap(), bytes);
    });
    let manifest = registry.seen().into_iter().find(|seen| seen.path.contains("/manifests/")).unwrap();
    let accept = manifest.header("accept").unwrap();
    for kind in [oci::INDEX, oci::MANIFEST, oci::DOCKER_INDEX, oci::DOCKER_MANIFEST] {
        assert!(accept.contains(kind), "{accept}");
    }
    assert!(manifest.header("user-agent").unwrap().starts_with("hermes/"));
    assert_eq!(manifest.path, "/v2/x/y/manifests/1");
    assert_eq!(registry.count("/v2/"), registry.count("/v2/x/"), "how it answers a TLS handshake tells the scheme");
}

#[test]
fn what_the_registry_does_not_have() {
    let registry = FakeRegistry::serve(Content::default(), |_, _, reply| reply);
    let error = manifest_error(&registry, "x/y:1");
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&registry.host()) && text.contains("x/y:1"), "{text}");
    assert!(text.contains("manifest unknown\\u{1b}[31m"), "what a registry says is escaped: {text}");
    assert_eq!(registry.count("/manifests/"), 1, "404 is an answer, not a failure to try again");
}

#[test]
fn a_pinned_digest_is_enforced() {
    let (content, _) = multi_arch();
    let other = content.manifests.keys().find(|digest| **digest != content.tags["1"]).copied().unwrap();
    let wrong = content.manifests[&other].1.clone();
    let pinned = content.tags["1"];
    // The registry names the pinned digest in its header, too.
    let registry = FakeRegistry::serve(content, move |seen, _, reply| {
        if seen.path.contains("/manifests/") {
            Reply::new(200, &wrong).header("docker-content-digest", &pinned.to_string())
        } else {
            reply
        }
    });
    let error = manifest_error(&registry, &format!("x/y@{pinned}"));
    assert!(matches!(&error, RegistryError::WrongDigest { expected, got, .. } if *expected == pinned && *got == other));
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains(&registry.host()));
    // By tag only the header is there to contradict the bytes; that is enough.
    assert!(matches!(manifest_error(&registry, "x/y:1"), RegistryError::WrongDigest { .. }));
}

#[test]
fn a_child_manifest_must_have_its_size() {
    let (content, _) = multi_arch();
    let pinned = content.tags["1"];
    let length = content.manifests[&pinned].1.len() as u64;
    let registry = FakeRegistry::serve(content, |_, _, reply| reply);
    let (client, _) = client(&[]);
    let at = |size| block_on(client.manifest_at(&reference(&registry, "x/y:1"), &Descriptor::new("x", pinned, size)));
    assert!(at(length).is_ok());
    assert!(matches!(at(length + 1), Err(RegistryError::WrongSize { .. })));
    assert!(matches!(at(length - 1), Err(RegistryError::TooLong { .. })));
}

#[test]
fn a_manifest_has_a_budget() {
    for announced in [true, false] {
        let huge = vec![b' '; (4 << 20) + 1];
        let registry = FakeRegistry::start(move |seen, _| {
            let reply = Reply::new(200, if seen.path == "/v2/" { b"" } else { &huge });
            if announced { reply } else { reply.without("content-length") }
        });
        let error = manifest_error(&registry, "x/y:1");
        assert!(matches!(error, RegistryError::TooLong { limit: oci::MAX_MANIFEST, .. }), "{error}");
    }
}

#[test]
fn a_login_page_is_no_manifest() {
    let registry = FakeRegistry::start(|_, _| {
        Reply::new(200, b"<html>Welcome to Hotel Wifi</html>").header("content-type", "text/html; charset=utf-8")
    });
    let error = manifest_error(&registry, "x/y:1");
    assert!(
        matches!(&error, RegistryError::NotARegistry { content_type, .. } if content_type == "text/html"),
        "{error}"
    );
    // As a blob it is as long as it should not be.
    let descriptor = Descriptor::new("x", Digest::of(b"x"), 1000);
    assert!(matches!(blob_error(&registry, &descriptor), RegistryError::WrongSize { .. }));
}

#[test]
fn a_blob_is_exactly_as_long_as_its_descriptor_says() {
    // Announced wrong: no byte is read.
    let (registry, descriptor) = with_blob(|_, _, reply| reply);
    let longer = Descriptor { size: descriptor.size + 1, ..descriptor.clone() };
    assert!(matches!(blob_error(&registry, &longer), RegistryError::WrongSize { got: 100_000, .. }));
    let shorter = Descriptor { size: descriptor.size - 1, ..descriptor };
    assert!(matches!(blob_error(&registry, &shorter), RegistryError::WrongSize { .. }));
    // Unannounced and longer.
    let (registry, descriptor) = with_blob(|_, _, reply| reply.without("content-length").body(&noise(100_001)));
    assert!(matches!(blob_error(&registry, &descriptor), RegistryError::TooLong { limit: 100_000, .. }));
    // Unannounced and shorter.
    let (registry, descriptor) = with_blob(|_, _, reply| reply.without("content-length").body(&noise(99_999)));
    assert!(matches!(blob_error(&registry, &descriptor), RegistryError::WrongSize { got: 99_999, .. }));
    // Announced right, then broken off.
    let (registry, descriptor) =
        with_blob(|seen, _, reply| if seen.path == "/v2/" { reply } else { reply.body(&noise(50_000)) });
    let error = blob_error(&registry, &descriptor);
    assert!(matches!(error, RegistryError::Body { .. }), "{}", chain(&error));
}

#[test]
fn a_small_blob_is_verified() {
    let (registry, descriptor) = with_blob(|_, _, reply| reply);
    let (client, _) = client(&[]);
    let reference = reference(&registry, "x/y:1");
    let get = |descriptor: &Descriptor, limit| block_on(client.small_blob(&reference, descriptor, limit));
    assert_eq!(get(&descriptor, 100_000).unwrap(), noise(100_000));
    assert!(matches!(get(&descriptor, 99_999), Err(RegistryError::TooLong { .. })));
    let (registry, descriptor) =
        with_blob(|seen, _, reply| if seen.path == "/v2/" { reply } else { reply.body(&vec![b'x'; 100_000]) });
    let reference = self::reference(&registry, "x/y:1");
    let error = block_on(client.small_blob(&reference, &descriptor, 100_000)).unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
}

#[test]
fn passing_failures_are_tried_again() {
    for status in [503, 429] {
        let (content, _) = multi_arch();
        let registry = FakeRegistry::serve(content, move |seen, count, reply| {
            if seen.path.contains("/manifests/") && count < 2 { Reply::new(status, b"") } else { reply }
        });
        let (client, recorder) = client(&[]);
        block_on(client.manifest(&reference(&registry, "x/y:1"))).unwrap();
        assert_eq!(registry.count("/manifests/"), 3);
        assert!(recorder.said("attempt 3 of 3"), "{:?}", recorder.lines);
    }
}

#[test]
fn lasting_failures_end() {
    for (status, tries) in [(500, 3), (429, 3), (403, 1), (418, 1), (204, 1), (304, 1)] {
        let registry = FakeRegistry::start(move |seen, _| {
            Reply::new(if seen.path == "/v2/" { 200 } else { status }, b"").without("content-length")
        });
        let error = manifest_error(&registry, "x/y:1");
        match (&error, status) {
            (RegistryError::Denied { .. }, 403) | (RegistryError::RateLimited { .. }, 429) => {}
            (RegistryError::Status { status: got, .. }, _) if *got == status => {}
            _ => panic!("{status}: {error:?}"),
        }
        assert_eq!(registry.count("/manifests/"), tries, "{status}");
    }
}

#[test]
fn nobody_there() {
    // Bound and dropped: nothing listens on that port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (client, recorder) = client(&[]);
    let reference = format!("127.0.0.1:{port}/x:1").parse().unwrap();
    let error = block_on(client.manifest(&reference)).unwrap_err();
    assert!(matches!(error, RegistryError::Request { .. }));
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert!(recorder.said("attempt 3 of 3"));
    assert!(!error.hints().is_empty());
}

/// 401 with a challenge unless the token is `t0ken`.
fn guarded(realm: &str, seen: &Seen, reply: Reply) -> Reply {
    if seen.header("authorization") == Some("Bearer t0ken") {
        return reply;
    }
    let challenge = format!(r#"Bearer realm="{realm}",service="test",scope="repository:x/y:pull""#);
    Reply::new(401, br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
        .header("www-authenticate", &challenge)
}

#[test]
fn an_anonymous_token_is_fetched_and_kept() {
    let tokens = FakeRegistry::start(|_, _| Reply::new(200, br#"{"token":"t0ken","expires_in":300}"#));
    let realm = format!("http://{}/token", tokens.host());
    let (content, _) = multi_arch();
    let registry = FakeRegistry::serve(content, move |seen, _, reply| guarded(&realm, seen, reply));
    let (client, _) = client(&[]);
    let reference = reference(&registry, "x/y:1");
    block_on(async {
        client.manifest(&reference).await.unwrap();
        client.manifest(&reference).await.unwrap();
    });
    let asked: Vec<_> = tokens.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1, "one token serves both");
    assert!(asked[0].path.contains("service=test") && asked[0].path.contains("scope=repository%3Ax%2Fy%3Apull"));
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(registry.count("/manifests/"), 3, "401, then two with the token");
}

#[test]
fn t21_a_circle_of_401_ends() {
    let tokens = FakeRegistry::start(|_, _| Reply::new(200, br#"{"access_token":"another"}"#));
    let realm = format!("http://{}/token", tokens.host());
    let registry = FakeRegistry::start(move |seen, _| guarded(&realm, seen, Reply::new(200, b"{}")));
    let error = manifest_error(&registry, "x/y:1");
    assert!(matches!(&error, RegistryError::Denied { message, .. } if message == "authentication required"), "{error}");
    assert_eq!((registry.count("/manifests/"), tokens.count("/token")), (2, 1));
    // Passwords only: no token is asked for.
    let registry = FakeRegistry::start(|_, _| Reply::new(401, b"").header("www-authenticate", r#"Basic realm="x""#));
    assert!(matches!(manifest_error(&registry, "x/y:1"), RegistryError::Denied { .. }));
    assert_eq!(registry.count("/manifests/"), 1);
}

#[test]
fn a_token_server_that_refuses_is_quoted_escaped() {
    let said = br#"{"errors":[{"code":"DENIED","message":"go \u001b[2Jaway"}]}"#;
    let tokens = FakeRegistry::start(|_, _| Reply::new(403, said));
    let realm = format!("http://{}/token", tokens.host());
    let registry = FakeRegistry::start(move |seen, _| guarded(&realm, seen, Reply::new(200, b"{}")));
    let error = manifest_error(&registry, "x/y:1");
    assert!(matches!(&error, RegistryError::Token { why, .. } if why.contains("go \\u{1b}[2Jaway")), "{error}");
}

#[test]
fn t18_a_redirect_does_not_take_the_token_along() {
    let (content, _) = multi_arch();
    let stored = content.clone();
    let storage = FakeRegistry::start(move |seen, _| honest(&stored, &seen.path.replace("/signed", "/v2/x/y/blobs")));
    let tokens = FakeRegistry::start(|_, _| Reply::new(200, br#"{"token":"t0ken"}"#));
    let (realm, away) = (format!("http://{}/token", tokens.host()), storage.host());
    let registry = FakeRegistry::serve(content.clone(), move |seen, _, reply| {
        let reply = match seen.path.rsplit_once("/blobs/") {
            Some((_, digest)) => Reply::new(307, b"")
                .header("location", &format!("http://{away}/signed/{digest}?signature=s3cret"))
                .header("set-cookie", "a=b"),
            None => reply,
        };
        guarded(&realm, seen, reply)
    });
    let (client, _) = client(&[]);
    let (digest, bytes) = content.blobs.iter().next().unwrap();
    let descriptor = Descriptor::new("x", *digest, bytes.len() as u64);
    assert_eq!(&block_on(read(&client, &reference(&registry, "x/y:1"), &descriptor)).unwrap(), bytes);
    let signed: Vec<_> = storage.seen().into_iter().filter(|seen| seen.path.starts_with("/signed/")).collect();
    assert_eq!(signed.len(), 1);
    for header in ["authorization", "cookie", "referer"] {
        assert_eq!(signed[0].header(header), None, "{header} went to the redirect's target");
    }
}

#[test]
fn t21_redirects_end() {
    let registry = FakeRegistry::start(|seen, _| {
        if seen.path == "/v2/" {
            Reply::new(200, b"")
        } else {
            Reply::new(307, b"").header("location", &format!("{}x", seen.path))
        }
    });
    let error = manifest_error(&registry, "x/y:1");
    assert!(chain(&error).contains("too many redirects"), "{}", chain(&error));
    assert!(registry.count("/manifests/") <= 7);
    let dead = FakeRegistry::start(|_, _| Reply::new(500, b""));
    let away = dead.host();
    drop(dead);
    let registry = FakeRegistry::start(move |seen, _| {
        let away = format!("http://{away}/x?signature=s3cret");
        if seen.path == "/v2/" { Reply::new(200, b"") } else { Reply::new(307, b"").header("location", &away) }
    });
    assert!(
        !chain(&manifest_error(&registry, "x/y:1")).contains("s3cret"),
        "the URL of a redirect is no one's business"
    );
}

fn mirrored(mirrors: &[String], origin: &FakeRegistry) -> (Client, Arc<Recorder>) {
    client(&[(&origin.host(), Host { mirrors: mirrors.to_vec(), ..Host::default() })])
}

#[test]
fn mirrors_are_asked_first_and_missed_gladly() {
    let (content, _) = multi_arch();
    let origin = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
    let empty = FakeRegistry::serve(Content::default(), |_, _, reply| reply);
    let broken = FakeRegistry::start(|_, _| Reply::new(403, b""));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (client, recorder) = mirrored(&[empty.host(), broken.host(), gone.clone()], &origin);
    let reference = reference(&origin, "x/y:1");
    let fetched = block_on(client.manifest(&reference)).unwrap();
    assert_eq!(fetched.host, origin.host());
    for mirror in [empty.host(), broken.host(), gone.clone()] {
        assert!(recorder.said(&format!("mirror {mirror} of {} skipped", origin.host())), "{:?}", recorder.lines);
    }
    // A mirror that does not answer is tried in vain only once.
    let begun = Instant::now();
    block_on(client.manifest(&reference)).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());

    let mirror = FakeRegistry::serve(content, |_, _, reply| reply);
    let asked = origin.seen().len();
    let (client, _) = mirrored(&[format!("{}/cache/", mirror.host())], &origin);
    assert_eq!(block_on(client.manifest(&reference)).unwrap().host, mirror.host());
    assert_eq!(origin.seen().len(), asked, "the origin is left alone");
    assert_eq!(mirror.count("/v2/cache/x/y/manifests/1"), 1);
}

#[test]
fn a_lying_mirror_is_named() {
    let (content, _) = multi_arch();
    let origin = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
    let mirror = FakeRegistry::serve(content.clone(), |seen, _, reply| {
        if seen.path.contains("/manifests/") { reply.body(b"{}").without("content-length") } else { reply }
    });
    let (client, _) = mirrored(&[mirror.host()], &origin);
    let pinned = reference(&origin, &format!("x/y@{}", content.tags["1"]));
    let error = block_on(client.manifest(&pinned)).unwrap_err();
    assert!(matches!(&error, RegistryError::WrongDigest { host, .. } if *host == mirror.host()), "{error}");
    assert_eq!(origin.count("/manifests/"), 0, "a lie is not papered over by the origin");
}

#[test]
fn a_host_elsewhere_gets_no_plain_http_unless_told() {
    // Not loopback by its name, but reached there: the name decides.
    let registry = FakeRegistry::start(|_, _| Reply::new(200, b"{}"));
    let name = format!("{}.nip.invalid:{}", registry.address.ip(), registry.address.port());
    let reference: Reference = format!("{name}/x:1").parse().unwrap();
    let (client, _) = client(&[]);
    assert!(block_on(client.manifest(&reference)).is_err());
    assert_eq!(registry.seen().len(), 0);
}

#[test]
fn settings_that_cannot_work() {
    let recorder = Arc::new(Recorder::default());
    let host = Host { mirrors: vec!["https://mirror.example.com".into()], ..Host::default() };
    let settings = Settings { hosts: [("docker.io".to_owned(), host)].into(), ..Settings::default() };
    let Err(error) = Client::new(settings, recorder) else { panic!("a URL was taken for a mirror") };
    assert_eq!((error.kind(), error.hints().len()), (ErrorKind::Usage, 1));

    let dir = tempfile::tempdir().unwrap();
    let registry = FakeRegistry::start(|_, _| Reply::new(200, b"{}"));
    for (name, content) in [("missing.pem", None), ("empty.pem", Some("hello"))] {
        let path = dir.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let (client, _) = client(&[(&registry.host(), Host { ca: Some(path), ..Host::default() })]);
        let error = block_on(client.manifest(&reference(&registry, "x:1"))).unwrap_err();
        match (&error, content) {
            (RegistryError::CaRead { .. }, None) | (RegistryError::CaEmpty { .. }, Some(_)) => {}
            _ => panic!("{error:?}"),
        }
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    assert_eq!(registry.seen().len(), 0, "with a CA of its own, plain http is out of the question");
}

#[test]
fn plain_http_and_own_certificates_with_the_real_registry() {
    if !real_registry::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let (http, https) = (RealRegistry::start(dir.path(), None), RealRegistry::start(dir.path(), Some(&tls)));
    let (content, _) = multi_arch();
    http.push("x/y", &content);
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (ca, wrong) = (Some(tls.ca.clone()), Some(Tls::new(&other).ca));
    let get = |registry: &RealRegistry, ca: &Option<PathBuf>, insecure| {
        let host = Host { ca: ca.clone(), insecure, ..Host::default() };
        let (client, _) = client(&[(registry.host(), host)]);
        block_on(client.manifest(&format!("{}/x/y:1", registry.host()).parse().unwrap()))
    };
    for (what, registry, ca, insecure) in [
        ("http on loopback", &http, &None, false),
        ("http on loopback, insecure said as well", &http, &None, true),
        ("http, with a CA but insecure", &http, &ca, true),
        ("https, verified", &https, &ca, false),
        ("https, verified, insecure", &https, &ca, true),
        ("https on loopback, not verified", &https, &None, false),
    ] {
        let fetched = get(registry, ca, insecure).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
        assert_eq!(fetched.digest, content.tags["1"], "{what}");
    }
    for insecure in [false, true] {
        let error = get(&https, &wrong, insecure).unwrap_err();
        assert!(chain(&error).contains("invalid peer certificate"), "{}", chain(&error));
        assert!(error.hints().iter().any(|hint| hint.contains("ca = ")), "{:?}", error.hints());
    }
    let error = get(&http, &ca, false).unwrap_err();
    assert!(matches!(error, RegistryError::Request { .. }), "a CA means https: {}", chain(&error));
    // A registry on https whose storage is on plain http.
    let away = FakeRegistry::start(|_, _| Reply::new(200, b""));
    let further = format!(
        "middleware:\n  storage:\n    - name: redirect\n      options: {{baseurl: \"http://{}/\"}}\n",
        away.host()
    );
    let redirecting = RealRegistry::start_with(dir.path(), Some(&tls), &further);
    let host = Host { ca: ca.clone(), ..Host::default() };
    let (redirected, _) = client(&[(redirecting.host(), host)]);
    let (digest, bytes) = content.blobs.iter().next().unwrap();
    let reference = format!("{}/x/y:1", redirecting.host()).parse().unwrap();
    let error = block_on(redirected.blob(&reference, &Descriptor::new("x", *digest, bytes.len() as u64))).unwrap_err();
    assert!(chain(&error).contains("from https to plain http"), "{}", chain(&error));
    assert_eq!(away.seen().len(), 0);
    // A certificate that is its own CA, as many have made them: rustls takes none of these.
    let error =
        get(&RealRegistry::start(&other, Some(&Tls::self_signed(&other))), &Some(other.join("self.pem")), false);
    assert!(error.as_ref().is_err_and(|error| error.hints()[0].contains("itself a CA")), "{error:?}");
}
