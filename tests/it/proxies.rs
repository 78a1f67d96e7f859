//! Proxies. This machine is never reached through one, so all takes place at an address that is not
//! loopback's: in a network namespace where 10.99.0.1 is an address of `lo`.

use std::fs;
use std::path::Path;

use crate::support::context::{TestContext, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest};
use crate::support::image::Content;
use crate::support::process::{Output, Run};
use crate::support::proxy::Proxy;
use crate::support::real_registry::Tls;
use crate::support::{require, run};

const ADDRESS: &str = "10.99.0.1:0";
const PASSWORD: &str = "canary-proxy-81";
/// base64 of `me:` and the password.
const BASIC: &str = "bWU6Y2FuYXJ5LXByb3h5LTgx";

#[test]
fn in_a_network_of_its_own() {
    let works = || {
        let made = std::process::Command::new("unshare").args(["-rn", "true"]).status();
        if made.is_ok_and(|status| status.success()) { Ok(()) } else { Err("unshare -rn fails".to_owned()) }
    };
    if !require("userns", works()) || !tool("ip") || !tool("openssl") {
        return;
    }
    let path = std::env::var("PATH").unwrap();
    let inner = Run::new(std::env::current_exe().unwrap())
        .args(["--exact", "proxies::what_goes_through_a_proxy", "--ignored", "--nocapture"])
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .under(&["unshare", "-rn"])
        .output();
    assert!(inner.ok().contains("1 passed"), "{}", inner.text());
}

/// What is said and kept has no password in it.
#[track_caller]
fn clean(world: &TestContext, output: &Output) {
    fn walk(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path);
            } else {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains(PASSWORD) && !text.contains(BASIC), "{}", path.display());
            }
        }
    }
    let said = format!("{}{}", output.text(), output.stderr);
    assert!(!said.contains(PASSWORD) && !said.contains(BASIC), "{said}");
    walk(world.path());
}

/// A registry that wants a token, of itself.
fn answer(content: &Content, scheme: &str, seen: &Seen) -> Reply {
    let host = seen.header("host").unwrap_or_default();
    if seen.path.starts_with("/token") {
        return Reply::new(200, br#"{"token":"t"}"#);
    }
    if seen.header("authorization") != Some("Bearer t") {
        let realm = format!("Bearer realm=\"{scheme}://{host}/token\",service=\"s\"");
        return Reply::new(401, b"").header("www-authenticate", &realm);
    }
    honest(content, &seen.path)
}

#[test]
#[ignore = "needs the network namespace that in_a_network_of_its_own makes"]
fn what_goes_through_a_proxy() {
    for line in ["link set lo up", "address add 10.99.0.1/32 dev lo"] {
        run("ip", &line.split(' ').collect::<Vec<_>>(), Path::new("/"));
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::named(dir.path(), "IP:10.99.0.1");
    let content = tiny("far");
    let served = content.clone();
    let secure = FakeRegistry::listen(ADDRESS, Some(FakeRegistry::acceptor(&tls, &["http/1.1"])), move |seen, _| {
        answer(&served, "https", seen)
    });
    let served = content.clone();
    let plain = FakeRegistry::listen(ADDRESS, None, move |seen, _| answer(&served, "http", seen));
    let local = FakeRegistry::start(move |seen, _| answer(&content, "http", seen));
    let configuration = format!(
        "[registry.\"{}\"]\nca = '{}'\n[registry.\"{}\"]\ninsecure = true\n",
        secure.host(),
        tls.ca.display(),
        plain.host()
    );
    let pull = |registry: &FakeRegistry, variables: &[(&str, &str)]| {
        let world = TestContext::empty();
        world.configure(&configuration);
        let mut run = world.hermes(["pull", "--verbose", &format!("{}/x/y:1", registry.host())]);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let output = run.output();
        clean(&world, &output);
        output
    };
    let url = |proxy: &Proxy| format!("http://me:{PASSWORD}@{}", proxy.address);

    // https by CONNECT: the proxy sees where to, and who asks; nothing else.
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let proxy = Proxy::start(ADDRESS, None);
        pull(&secure, &[(variable, &url(&proxy))]).ok();
        let heads = proxy.heads();
        assert!(!heads.is_empty(), "{variable}");
        for head in heads {
            assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", secure.host())), "{head}");
            assert!(
                head.to_ascii_lowercase()
                    .contains(&format!("proxy-authorization: basic {}", BASIC.to_ascii_lowercase())),
                "{head}"
            );
            assert!(!head.to_ascii_lowercase().contains("\nauthorization"), "{head}");
        }
    }
    // http by forwarding.
    let proxy = Proxy::start(ADDRESS, None);
    pull(&plain, &[("HTTP_PROXY", &url(&proxy))]).ok();
    let heads = proxy.heads();
    for part in ["manifests/1", "/blobs/", "/token"] {
        let all: Vec<_> = heads.iter().filter(|head| head.lines().next().unwrap().contains(part)).collect();
        assert!(!all.is_empty(), "{part}: {heads:?}");
        for head in all {
            assert!(head.starts_with(&format!("GET http://{}/", plain.host())), "{head}");
            assert!(head.contains(BASIC), "{head}");
        }
    }
    for seen in secure.seen().iter().chain(&plain.seen()) {
        assert_eq!(seen.header("proxy-authorization"), None, "{seen:?}");
    }
    // No proxy where none is wanted, and never to this machine.
    let proxy = Proxy::start(ADDRESS, Some(502));
    let all = [("HTTPS_PROXY", &*url(&proxy)), ("HTTP_PROXY", &*url(&proxy))];
    for none in ["*", "10.99.0.1", "10.0.0.0/8", "a.example.org, 10.99.0.1"] {
        pull(&secure, &[all[0], all[1], ("NO_PROXY", none)]).ok();
        pull(&plain, &[all[0], all[1], ("no_proxy", none)]).ok();
    }
    pull(&local, &all).ok();
    assert_eq!(proxy.heads(), Vec::<String>::new());
    // One that refuses, or is not there, is named.
    let gone = std::net::TcpListener::bind(ADDRESS).unwrap().local_addr().unwrap();
    for refusal in [Some(407), Some(502), None] {
        let proxy = Proxy::start(ADDRESS, refusal);
        let address = if refusal.is_some() { proxy.address } else { gone };
        let url = format!("http://me:{PASSWORD}@{address}");
        for registry in [&secure, &plain] {
            let asked = registry.seen().len();
            let output = pull(registry, &[("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)]);
            output.refused(1, &[&format!("through proxy http://{address}"), "NO_PROXY"]);
            assert_eq!(registry.seen().len(), asked, "it was reached nonetheless");
            if refusal.is_some() {
                assert!((1..=8).contains(&proxy.heads().len()), "{:?}", proxy.heads());
            }
        }
    }
    let output = pull(&secure, &[("HTTPS_PROXY", "socks5://10.99.0.1:1")]);
    output.refused(2, &["expected an http or https URL", "NO_PROXY"]);
    pull(&secure, &[("HTTPS_PROXY", "socks5://10.99.0.1:1"), ("NO_PROXY", "10.99.0.1")]).ok();
    pull(&local, &[("ALL_PROXY", "socks5://10.99.0.1:1")]).ok();
}
