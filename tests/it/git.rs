//! What git, when it fetches sources, gets of the user's settings and keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::context::{TestContext, tool};
use crate::support::fake_registry::{FakeRegistry, Reply};

fn source(url: &str) -> String {
    format!("[source.x]\ngit = '{url}'\ncommit = '{}'\n", "1".repeat(40))
}

/// libcurl reads `~/.netrc`, and no setting of git's keeps it from that.
#[test]
fn no_password_of_netrc_is_sent() {
    if !tool("git") {
        return;
    }
    let world = TestContext::empty();
    let netrc = world.path().join("home/.netrc");
    fs::write(&netrc, "machine 127.0.0.1 login me password NETRC-SECRET\ndefault login me password NETRC-SECRET\n")
        .unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    for scheme in ["Basic realm=\"x\"", "Negotiate"] {
        let fake = FakeRegistry::start(move |_, _| Reply::new(401, b"").header("www-authenticate", scheme));
        world.write("hermes.toml", &source(&format!("http://{}/a.git", fake.host())));
        world.hermes(["source", "fetch"]).env("NETRC", &netrc).output().refused(1, &["git cannot fetch"]);
        let seen = fake.seen();
        assert!(!seen.is_empty(), "nobody was asked");
        assert!(seen.iter().all(|seen| seen.header("authorization").is_none()), "{seen:?}");
    }
}

#[test]
fn plain_http_is_spoken_with_this_machine_only() {
    if !tool("git") {
        return;
    }
    let world = TestContext::empty();
    let fake = FakeRegistry::start(|_, _| Reply::new(404, b""));
    let port = fake.host().rsplit(':').next().unwrap().to_owned();
    // The same server by another name of this host.
    world.write("hermes.toml", &source(&format!("http://0.0.0.0:{port}/a.git")));
    world.hermes(["source", "fetch"]).output().refused(2, &["plain http"]);
    assert_eq!(fake.seen().len(), 0);
    // Nor where a redirect leads.
    let other = fake.host().replace("127.0.0.1", "127.0.0.2");
    let moved = FakeRegistry::start(move |seen, _| {
        Reply::new(302, b"").header("location", &format!("http://{other}{}", seen.path))
    });
    world.write("hermes.toml", &source(&format!("http://{}/a.git", moved.host())));
    world.hermes(["source", "fetch"]).output().refused(1, &["git cannot fetch"]);
    assert_eq!((fake.seen().len(), moved.seen().is_empty()), (0, false));
}

#[test]
fn ssh_forwards_nothing_and_learns_nothing() {
    if !tool("git") {
        return;
    }
    let world = TestContext::empty();
    let bin = world.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let said = world.path().join("said");
    fs::write(bin.join("ssh"), format!("#!/bin/sh\n{{ echo \"$@\"; env; }} >>{}\nexit 1\n", said.display())).unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write("hermes.toml", &source("ssh://git@git.test.invalid/a.git"));
    let canary = world.path().join("canary");
    let command = format!("touch {}", canary.display());
    let fetch = world.hermes(["--allow-project", "source", "fetch"]);
    let fetch = fetch.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()));
    let fetch = fetch.env("SECRET", "hunter2").env("GIT_SSH", "/bin/false").env("GIT_SSH_COMMAND", &command);
    let fetch = fetch.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.sshCommand");
    fetch.env("GIT_CONFIG_VALUE_0", &command).output().refused(1, &["git cannot fetch"]);
    let said = fs::read_to_string(said).unwrap();
    for option in ["BatchMode=yes", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "git.test.invalid"] {
        assert!(said.contains(option), "{option}: {said}");
    }
    assert!(!said.contains("hunter2") && !canary.exists(), "{said}");
    assert!(!said.contains(&format!("HOME={}\n", world.path().join("home").display())), "{said}");
}
