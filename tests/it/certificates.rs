//! Registries that require a client certificate.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hermes::testing::hint::Hint as _;
use hermes::testing::registry::{Client, Host, RegistryError, Settings};

use crate::support::context::{MIN, TestContext, fixtures};
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{Recorder, block_on, chain, require, run};

/// A registry of the fixtures that asks for certificates, and where theirs are.
fn registry() -> Option<(RealRegistry, PathBuf)> {
    let fixtures = fixtures().and_then(|fixtures| {
        let there = fixtures.join("tls/client.crt").exists();
        if there { Ok(fixtures) } else { Err("no client certificate; run scripts/fixtures".to_owned()) }
    });
    if !real_registry::available() || !require("fixtures", fixtures.as_ref().map(drop).map_err(Clone::clone)) {
        return None;
    }
    let fixtures = fixtures.unwrap();
    Some((RealRegistry::of_fixtures_for_clients(&fixtures), fixtures.join("tls")))
}

fn get(registry: &RealRegistry, settings: Settings) -> (Result<(), RegistryError>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let client = Client::new(settings, recorder.clone()).unwrap();
    let reference = format!("{}/library/debian:bookworm", registry.host()).parse().unwrap();
    (block_on(client.manifest(&reference)).map(drop), recorder)
}

fn with(registry: &RealRegistry, host: Host) -> Settings {
    Settings { hosts: [(registry.host().to_owned(), host)].into(), ..Settings::default() }
}

/// A copy that its owner alone can read.
fn private(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_client_certificate_is_shown() {
    let Some((registry, tls)) = registry() else { return };
    let world = TestContext::empty();
    let configure = |lines: &str| {
        let host = registry.host();
        world.configure(&format!(
            "[registry.\"docker.io\"]\nmirrors = ['{host}']\n[registry.\"{host}\"]\nca = '{}'\n{lines}",
            tls.join("ca.crt").display()
        ));
    };
    let pull = || world.hermes(["pull", &MIN.replace("docker.io", registry.host())]).output();
    configure("");
    pull().refused(1, &["may require a client certificate", "client-cert ="]);
    // Relative to the file that says it.
    let config = world.path().join("config/hermes");
    fs::copy(tls.join("client.crt"), config.join("me.pem")).unwrap();
    private(&tls.join("client.key"), &config.join("me.key"));
    configure("client-cert = 'me.pem'\nclient-key = 'me.key'\n");
    let output = pull();
    output.ok();
    assert!(!output.stderr.contains("me.key"), "{}", output.stderr);
    // Both in one file.
    let both = ["client.key", "client.crt"].map(|name| fs::read(tls.join(name)).unwrap()).concat();
    fs::write(config.join("both.pem"), both).unwrap();
    configure("client-cert = 'both.pem'\n");
    fs::remove_dir_all(world.store()).unwrap();
    let output = pull();
    output.ok();
    let warning = format!("every user of this machine can read {}", config.join("both.pem").display());
    assert_eq!(output.stderr.matches(&warning).count(), 1, "{}", output.stderr);
}

#[test]
fn certificates_that_cannot_be_used_are_told_apart() {
    let Some((registry, tls)) = registry() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("none.pem"), "nothing\n").unwrap();
    private(&tls.join("server.key"), &path("other.key"));
    run(
        "openssl",
        &["ec", "-aes128", "-passout", "pass:x", "-in", tls.join("client.key").to_str().unwrap(), "-out", "locked.key"],
        dir.path(),
    );
    let (cert, key) = (tls.join("client.crt"), tls.join("client.key"));
    for (cert, key, part) in [
        (Some(&path("missing")), Some(&key), "cannot read the client certificate or key"),
        (Some(&cert), Some(&path("missing")), "cannot read the client certificate or key"),
        (Some(&path("none.pem")), Some(&key), "contains no PEM certificate"),
        (Some(&cert), Some(&path("none.pem")), "contains no PEM private key"),
        (Some(&cert), None, "contains no PEM private key"),
        (None, Some(&key), "a key without a 'client-cert'"),
        (Some(&cert), Some(&path("other.key")), "is not the key of the certificate"),
        (Some(&cert), Some(&path("locked.key")), "passphrase"),
    ] {
        let host = Host {
            ca: Some(tls.join("ca.crt")),
            client_cert: cert.cloned(),
            client_key: key.cloned(),
            ..Host::default()
        };
        let (outcome, _) = get(&registry, with(&registry, host));
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {}", chain(&error));
        assert!(error.to_string().contains(registry.host()), "{}", chain(&error));
    }
}

/// For want of a certificate. The connection may be gone before the reason is read, so no more is sure.
#[track_caller]
fn refused(outcome: Result<(), RegistryError>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, RegistryError::Request { .. }), "{}", chain(&error));
    assert!(error.hints().iter().any(|hint| hint.contains("client-cert = ")), "{}: {:?}", chain(&error), error.hints());
}

#[test]
fn what_docker_and_podman_are_told_counts() {
    let Some((registry, tls)) = registry() else { return };
    let dir = tempfile::tempdir().unwrap();
    let [docker, podman] = ["docker", "podman"].map(|name| dir.path().join(name));
    let own = docker.join(registry.host());
    fs::create_dir_all(&own).unwrap();
    let settings = |host| Settings { certificates: vec![podman.clone(), docker.clone()], ..with(&registry, host) };
    fs::copy(tls.join("ca.crt"), own.join("ca.crt")).unwrap();
    let (outcome, _) = get(&registry, settings(Host::default()));
    refused(outcome);
    fs::copy(tls.join("client.crt"), own.join("client.cert")).unwrap();
    assert!(matches!(get(&registry, settings(Host::default())).0, Err(RegistryError::ClientRead { .. })));
    private(&tls.join("client.key"), &own.join("client.key"));
    let (outcome, recorder) = get(&registry, settings(Host::default()));
    outcome.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(!recorder.said("client.key"), "{:?}", recorder.lines);
    // Another registry's are not for this one.
    let aside = docker.join("127.0.0.1:1");
    fs::rename(&own, &aside).unwrap();
    assert!(get(&registry, settings(Host { ca: Some(tls.join("ca.crt")), ..Host::default() })).0.is_err());
    fs::rename(&aside, &own).unwrap();
    // config.toml has the say where it says something.
    let missing = Host { client_cert: Some("/none".into()), ..Host::default() };
    assert!(matches!(get(&registry, settings(missing)).0, Err(RegistryError::ClientRead { .. })));
    // Docker's daemon is root, and its key may be root's.
    if !rustix::process::getuid().is_root() {
        fs::set_permissions(own.join("client.key"), Permissions::from_mode(0o000)).unwrap();
        let (outcome, recorder) = get(&registry, settings(Host::default()));
        refused(outcome);
        assert!(recorder.said("continuing without a client certificate"), "{:?}", recorder.lines);
    }
}
