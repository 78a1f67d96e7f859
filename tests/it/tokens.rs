//! Token servers, and answers without end: tokens, manifests, error messages, files.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hermes::testing::oci;
use hermes::testing::reference::Reference;
use hermes::testing::registry::{Client, Host, Limits, RegistryError, Settings};

use crate::support::context::tool;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest};
use crate::support::image::multi_arch;
use crate::support::real_registry::Tls;
use crate::support::{Recorder, block_on, chain};

fn client(host: &str, settings: Host, limits: Limits) -> Client {
    let settings = Settings { hosts: [(host.to_owned(), settings)].into(), limits, ..Settings::default() };
    Client::new(settings, Arc::new(Recorder::default())).unwrap()
}

fn manifest(host: &str, settings: Host, limits: Limits) -> Result<hermes::testing::registry::Fetched, RegistryError> {
    let reference: Reference = format!("{host}/x/y:1").parse().unwrap();
    block_on(client(host, settings, limits).manifest(&reference))
}

/// A service of this machine that gives everybody a secret which looks like a token.
fn victim() -> FakeRegistry {
    FakeRegistry::start(|_, _| Reply::new(200, br#"{"token":"secret","access_token":"secret"}"#))
}

fn challenge(realm: &str) -> Reply {
    Reply::new(401, b"{}").header("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"s\""))
}

/// A registry on https that is honest to whoever has its token; else `deny` answers.
fn guarded(tls: &Tls, deny: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> FakeRegistry {
    let (content, _) = multi_arch();
    FakeRegistry::start_tls(tls, &["http/1.1"], move |seen, _| {
        let host = seen.header("host").unwrap_or_default();
        if seen.header("authorization") == Some("Bearer tok") {
            return honest(&content, &seen.path);
        }
        deny(seen, &format!("https://{host}/token"))
    })
}

#[test]
fn t19_a_token_is_requested_where_the_checked_challenge_says_and_nowhere_else() {
    if !tool("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let trusting = || Host { ca: Some(tls.ca.clone()), ..Host::default() };

    // A second challenge, of the base URL, names another server.
    let victim_of_switch = victim();
    let realm = format!("http://{}/latest/meta-data/", victim_of_switch.host());
    let switching = guarded(&tls, move |seen, own| match seen.path.as_str() {
        "/v2/" => challenge(&realm),
        path if path.starts_with("/token") => Reply::new(200, br#"{"token":"tok"}"#),
        _ => challenge(own),
    });
    manifest(&switching.host(), trusting(), Limits::default()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(victim_of_switch.seen().len(), 0, "{:?}", victim_of_switch.seen());

    // The token server redirects, to plain http and to https.
    let plain = victim();
    let secure = FakeRegistry::start_tls(&tls, &["http/1.1"], |_, _| Reply::new(200, br#"{"token":"secret"}"#));
    for (to, status) in [(format!("http://{}/", plain.host()), 302), (format!("https://{}/", secure.host()), 307)] {
        let redirecting = guarded(&tls, move |seen, own| {
            if seen.path.starts_with("/token") {
                return Reply::new(status, b"").header("location", &to);
            }
            challenge(own)
        });
        let error = manifest(&redirecting.host(), trusting(), Limits::default()).unwrap_err();
        assert!(
            matches!(&error, RegistryError::Token { why, .. } if why.contains("tokens are not requested elsewhere")),
            "{error}"
        );
        let sent: Vec<_> =
            redirecting.seen().into_iter().filter_map(|seen| seen.headers.get("authorization").cloned()).collect();
        assert_eq!(sent, Vec::<String>::new(), "what the other service said went to the registry");
    }
    assert_eq!((plain.seen().len(), secure.seen().len()), (0, 0));

    // The first challenge names plain http, an address, or nothing at all.
    let local = victim();
    for realm in
        [format!("http://{}/", local.host()), "https://169.254.169.254/token".into(), "file:///etc/passwd".into()]
    {
        let named = realm.clone();
        let registry = guarded(&tls, move |_, _| challenge(&named));
        let error = manifest(&registry.host(), trusting(), Limits::default()).unwrap_err();
        assert!(matches!(error, RegistryError::Token { .. }), "{realm}: {error}");
    }
    assert_eq!(local.seen().len(), 0);
}

/// A server on plain http whose answers `answer` writes, given the path. Gives its address.
fn raw(answer: impl Fn(&str, &str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (answer, own) = (Arc::new(answer), address.clone());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (answer, own) = (Arc::clone(&answer), own.clone());
            thread::spawn(move || {
                let mut from = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    // What is no text is a TLS handshake.
                    match from.read_line(&mut head) {
                        Ok(0) | Err(_) => {
                            let _ = stream.write_all(b"HTTP/1.1 400 No\r\nconnection: close\r\n\r\n");
                            return;
                        }
                        Ok(_) => {}
                    }
                }
                let path = head.split(' ').nth(1).unwrap_or_default();
                // A client that leaves is the point.
                let _ = answer(path, &own, &mut stream);
            });
        }
    });
    address
}

fn head(stream: &mut TcpStream, status: u16, headers: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}\r\n")
}

/// Sends a byte now and then, until the client disconnects.
fn drip(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(b" ")?;
        thread::sleep(Duration::from_millis(5));
    }
}

fn deny(own: &str, stream: &mut TcpStream) -> io::Result<()> {
    head(stream, 401, &format!("content-length: 0\r\nwww-authenticate: Bearer realm=\"http://{own}/token\"\r\n"))
}

#[test]
fn t21_a_token_without_end_is_not_kept() {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let registry = raw(move |path, own, stream| {
        if !path.starts_with("/token") {
            return if path == "/v2/" { head(stream, 200, "content-length: 0\r\n") } else { deny(own, stream) };
        }
        head(stream, 200, "content-type: application/json\r\n")?;
        stream.write_all(b"{\"token\":\"")?;
        loop {
            stream.write_all(&vec![b'A'; 1 << 16])?;
            counted.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    let error = manifest(&registry, Host::default(), Limits::default()).unwrap_err();
    assert!(matches!(&error, RegistryError::Token { why, .. } if why.contains("more than 262144 bytes")), "{error}");
    // Beside what is kept there are only the buffers of the connection.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{} bytes were taken", sent.load(Ordering::Relaxed));
}

#[test]
fn t21_what_dribbles_is_given_up() {
    let slow = Limits { slow: Duration::from_millis(300), ..Limits::default() };
    let late = Limits { least: 0, document: Duration::from_millis(600), ..slow };
    for limits in [slow, late] {
        let document = raw(|path, _, stream| {
            if path == "/v2/" {
                return head(stream, 200, "content-length: 0\r\n");
            }
            head(stream, 200, &format!("content-type: {}\r\ncontent-length: 4000000\r\n", oci::MANIFEST))?;
            drip(stream)
        });
        let error = manifest(&document, Host::default(), limits).unwrap_err();
        assert!(matches!(error, RegistryError::Slow { .. }), "a manifest: {}", chain(&error));

        let token = raw(|path, own, stream| match path {
            "/v2/" => head(stream, 200, "content-length: 0\r\n"),
            path if path.starts_with("/token") => head(stream, 200, "").and_then(|()| drip(stream)),
            _ => deny(own, stream),
        });
        let error = manifest(&token, Host::default(), limits).unwrap_err();
        assert!(matches!(&error, RegistryError::Token { why, .. } if why.contains("too slowly")), "a token: {error}");

        let refusal = raw(|path, _, stream| {
            if path == "/v2/" {
                return head(stream, 200, "content-length: 0\r\n");
            }
            head(stream, 403, "content-length: 16000\r\n")?;
            drip(stream)
        });
        let error = manifest(&refusal, Host::default(), limits).unwrap_err();
        assert!(matches!(&error, RegistryError::Denied { message, .. } if message.is_empty()), "an error: {error}");
    }
    // A file, which may be of any length, has no deadline.
    let file = raw(|_, _, stream| head(stream, 200, "content-length: 4000000\r\n").and_then(|()| drip(stream)));
    let slow = Limits { pause: Duration::ZERO, ..slow };
    let client = client(&file, Host::default(), slow);
    let error = block_on(async {
        let mut download = client.download(&format!("http://{file}/file")).await?;
        while download.chunk().await?.is_some() {}
        Ok::<_, RegistryError>(())
    });
    assert!(matches!(error, Err(RegistryError::Slow { .. })), "a file: {error:?}");
}
