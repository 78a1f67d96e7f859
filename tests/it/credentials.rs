//! Private images: credential files and helpers, and which hosts get the credentials.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::context::TestContext;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen};
use crate::support::image::multi_arch;
use crate::support::process::Run;
use crate::support::pty::Pty;
use crate::support::real_registry::{self, RealRegistry};

pub const PASSWORD: &str = "canary-password-77";
const TOKEN: &str = "canary-token-78";
const IDENTITY: &str = "canary-identity-79";
/// base64 of `me:` and the password.
const BASIC: &str = "bWU6Y2FuYXJ5LXBhc3N3b3JkLTc3";
/// bcrypt of `canary-password-77`.
pub const HTPASSWD: &str = "me:$2b$04$AXRoFzxyjwfR0f/Q0LOikOL/pfc4b.x4A63VOt3fM92u3A/obVX9u\n";

/// A registry that wants Basic.
fn basic() -> FakeRegistry {
    let (content, _) = multi_arch();
    FakeRegistry::serve(content, |seen, _, reply| {
        if seen.header("authorization") == Some(&format!("Basic {BASIC}")) {
            return reply;
        }
        // What it was sent comes back, as bad servers do.
        let message = seen.header("authorization").unwrap_or("no");
        let body = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": message }] }).to_string();
        Reply::new(401, body.as_bytes()).header("www-authenticate", "Negotiate, Basic realm=\"x\"")
    })
}

/// A registry that wants tokens, of itself or of `realm`. Without credentials it gives one that is
/// good for nothing.
fn bearer(realm: Option<String>) -> FakeRegistry {
    let (content, _) = multi_arch();
    FakeRegistry::serve(content, move |seen, _, reply| {
        let host = seen.header("host").unwrap();
        if seen.path.starts_with("/token") {
            return token(seen);
        }
        if seen.header("authorization") == Some(&format!("Bearer {TOKEN}")) {
            return reply;
        }
        let realm = realm.clone().unwrap_or_else(|| format!("http://{host}/token"));
        Reply::new(401, b"").header("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"s\""))
    })
}

fn token(seen: &Seen) -> Reply {
    // The fake registry keeps no bodies: a form is recognized by its content type.
    let form = seen.header("content-type") == Some("application/x-www-form-urlencoded");
    match seen.header("authorization") {
        Some(sent) if sent == format!("Basic {BASIC}") => {
            Reply::new(200, json!({ "token": TOKEN }).to_string().as_bytes())
        }
        Some(sent) => Reply::new(401, sent.as_bytes()),
        None if form => Reply::new(200, json!({ "access_token": TOKEN }).to_string().as_bytes()),
        None => Reply::new(200, br#"{"token":"anonymous"}"#),
    }
}

fn auth(registry: &FakeRegistry) -> Value {
    json!({ "auths": { registry.host(): { "auth": BASIC } } })
}

/// Writes docker's file.
fn docker(world: &TestContext, config: &Value) {
    let dir = world.path().join("home/.docker");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

fn pull(world: &TestContext, registry: &FakeRegistry) -> Run {
    world.hermes(["pull", "--verbose", &format!("{}/x/y:1", registry.host())])
}

/// Nothing below `dir` but docker's own file has a secret in it.
fn clean(dir: &Path, secrets: &[&str]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(".docker") && !path.ends_with("bin") {
            clean(&path, secrets);
        } else if path.is_file() {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for secret in secrets {
                assert!(!text.contains(secret), "{} has {secret}", path.display());
            }
        }
    }
}

fn helper(world: &TestContext, name: &str, script: &str) {
    let dir = world.path().join("bin");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("docker-credential-{name}"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn with_helpers(world: &TestContext, run: Run) -> Run {
    run.env("PATH", format!("{}:/usr/bin:/bin", world.path().join("bin").display()))
}

#[test]
fn t20_no_secret_leaves_the_places_it_is_for() {
    for (registry, config) in [
        (basic(), auth as fn(&FakeRegistry) -> Value),
        (bearer(None), auth),
        (bearer(None), |registry| json!({ "auths": { registry.host(): { "identitytoken": IDENTITY } } })),
    ] {
        let world = TestContext::empty();
        docker(&world, &config(&registry));
        let reference = format!("{}/x/y:1", registry.host());
        let good = pull(&world, &registry).output();
        good.ok();
        // The lock is written before the run, which need not work here.
        let ran = world.hermes(["run", "--verbose", "--image", &reference, "--", "/none"]).output();
        let lock = fs::read_to_string(world.image_lock(&reference)).unwrap();
        assert!(lock.contains(&reference), "{lock}");
        let mut said = vec![format!("{good:?}"), format!("{ran:?}")];
        // The same where it goes wrong.
        fs::remove_dir_all(world.store()).unwrap();
        docker(&world, &json!({ "auths": { registry.host(): { "auth": "bWU6d3JvbmctY2FuYXJ5" } } }));
        let bad = pull(&world, &registry).output();
        bad.refused(1, &[]);
        said.push(format!("{bad:?}"));
        let secrets = [PASSWORD, BASIC, TOKEN, IDENTITY, "wrong-canary", "bWU6d3JvbmctY2FuYXJ5"];
        for secret in secrets {
            assert!(!said.join("").contains(secret), "{secret} in {said:?}");
        }
        clean(world.path(), &secrets);
    }
}

#[test]
fn files_in_order_and_namespaces() {
    let registry = basic();
    let wrong = json!({ "auth": "bWU6d3Jvbmc=" });
    let right = json!({ "auth": BASIC });
    let host = registry.host();
    for (name, config, variable) in [
        ("auth.json", json!({ "auths": { &host: right } }), ("REGISTRY_AUTH_FILE", "auth.json")),
        ("config.json", json!({ "auths": { &host: right } }), ("DOCKER_CONFIG", "")),
        ("containers/auth.json", json!({ "auths": { &host: right } }), ("XDG_RUNTIME_DIR", "")),
        ("n.json", json!({ "auths": { &host: wrong, format!("{host}/x"): right } }), ("REGISTRY_AUTH_FILE", "n.json")),
        ("l.json", json!({ "auths": { format!("https://{host}/v1/"): right } }), ("REGISTRY_AUTH_FILE", "l.json")),
    ] {
        let world = TestContext::empty();
        let dir = world.path().join("auth");
        fs::create_dir_all(dir.join("containers")).unwrap();
        fs::write(dir.join(name), config.to_string()).unwrap();
        pull(&world, &registry).env(variable.0, dir.join(variable.1)).ok();
    }
    let world = TestContext::empty();
    pull(&world, &registry).output().refused(1, &["refuses access", "hermes login"]);
}

#[test]
fn helpers() {
    let registry = basic();
    let good = format!(
        r#"read -r url; echo "$1 $url" >> "$0.log"; echo '{{"ServerURL":"","Username":"me","Secret":"{PASSWORD}"}}'"#
    );
    for config in
        [json!({ "credsStore": "good" }), json!({ "credHelpers": { registry.host(): "good" }, "credsStore": "bad" })]
    {
        let world = TestContext::empty();
        helper(&world, "good", &good);
        docker(&world, &config);
        with_helpers(&world, pull(&world, &registry)).ok();
        let log = fs::read_to_string(world.path().join("bin/docker-credential-good.log")).unwrap();
        assert_eq!(log, format!("get {}\n", registry.host()), "asked once");
    }
}

#[test]
fn a_broken_helper_or_file_does_not_stop_a_public_pull() {
    let (content, _) = multi_arch();
    let public = FakeRegistry::serve(content, |seen, _, reply| match seen.header("authorization") {
        _ if seen.path.starts_with("/token") => Reply::new(200, br#"{"token":"anyone"}"#),
        Some("Bearer anyone") => reply,
        _ => {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            Reply::new(401, b"").header("www-authenticate", &realm)
        }
    });
    for (name, script, said) in [
        ("failing", format!("echo {PASSWORD} >&2; echo {PASSWORD}; exit 1"), "failing failed"),
        ("talking", format!("echo {PASSWORD}"), "an invalid response"),
        ("hanging", "sleep 60 & sleep 60".to_owned(), "did not respond within 10 s"),
        ("missing", String::new(), "is not in PATH"),
        ("../sh", String::new(), "is not in PATH"),
    ] {
        let world = TestContext::empty();
        if !script.is_empty() {
            helper(&world, name, &script);
        }
        docker(&world, &json!({ "credsStore": name }));
        let begun = Instant::now();
        let output = with_helpers(&world, pull(&world, &public)).output();
        output.ok();
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}");
        assert_eq!(output.stderr.matches("continuing without credentials").count(), 1, "{}", output.stderr);
        assert!(output.stderr.contains(said), "{}", output.stderr);
        assert!(!output.stderr.contains(PASSWORD), "{}", output.stderr);
    }
    let world = TestContext::empty();
    docker(&world, &json!({ "auths": PASSWORD }));
    let output = pull(&world, &public).output();
    output.ok();
    assert!(output.stderr.contains("docker's config.json") && !output.stderr.contains(PASSWORD), "{}", output.stderr);
}

#[test]
fn t18_t19_credentials_go_to_nobody_else() {
    let (elsewhere, with_tokens) = (basic(), bearer(None));
    // A mirror asks for its own credentials, and the user has none for it.
    let registry = basic();
    let world = TestContext::empty();
    docker(&world, &auth(&registry));
    let mirror = format!("{}={}", registry.host(), elsewhere.host());
    pull(&world, &registry).args(["--mirror", &mirror]).ok();
    // A redirect to a storage that asks for them.
    for to in [elsewhere.host(), with_tokens.host()] {
        let (content, _) = multi_arch();
        let leading = FakeRegistry::serve(content, move |seen, _, reply| {
            if seen.header("authorization") != Some(&format!("Basic {BASIC}")) {
                return Reply::new(401, b"").header("www-authenticate", "Basic realm=\"x\"");
            }
            if seen.path.contains("/blobs/") {
                return Reply::new(307, b"").header("location", &format!("http://{to}{}", seen.path));
            }
            reply
        });
        docker(&world, &auth(&leading));
        fs::remove_dir_all(world.store()).unwrap();
        pull(&world, &leading).output().refused(1, &["refuses access"]);
    }
    // A token server that sends people on.
    let to = elsewhere.host();
    let sending =
        FakeRegistry::start(move |_, _| Reply::new(307, b"").header("location", &format!("http://{to}/token")));
    let registry = bearer(Some(format!("http://{}/token", sending.host())));
    docker(&world, &auth(&registry));
    pull(&world, &registry).output().refused(1, &["status 307"]);
    // A token server that is no place for them: asked without.
    let registry = bearer(Some("http://192.0.2.1:9/token".to_owned()));
    docker(&world, &json!({ "auths": { registry.host(): { "auth": BASIC }, "192.0.2.1:9": { "auth": BASIC } } }));
    // No token comes from there; what was said before is what counts.
    let output = pull(&world, &registry).output().stderr;
    assert!(output.contains("not sending the credentials for registry"), "{output}");
    assert!(elsewhere.seen().iter().any(|seen| seen.path.contains("/blobs/")), "the redirect was followed");
    assert!(with_tokens.count("/blobs/") > 0 && with_tokens.count("/token") == 0);
    for seen in elsewhere.seen().into_iter().chain(with_tokens.seen()) {
        assert_eq!(seen.header("authorization"), None, "{seen:?}");
    }
}

#[test]
fn log_in_and_out() {
    for registry in [basic(), bearer(None)] {
        let world = TestContext::empty();
        let host = registry.host();
        docker(&world, &json!({ "psFormat": "table" }));
        let file = world.path().join("home/.docker/config.json");
        let login = |password: &str| {
            world.hermes(["login", &host, "-u", "me", "--password-stdin"]).input(password.as_bytes()).output()
        };
        let refused = login("wrong-canary");
        refused.refused(1, &["error:"]);
        assert!(!refused.stderr.contains("wrong-canary"));
        assert!(!fs::read_to_string(&file).unwrap().contains("auths"), "what is refused is not kept");
        let done = login(&format!("{PASSWORD}\n")).ok();
        assert!(done.contains("logged in as me") && !done.contains(PASSWORD), "{done}");
        let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept, json!({ "psFormat": "table", "auths": { &host: { "auth": BASIC } } }));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        pull(&world, &registry).ok();
        assert!(world.hermes(["logout", &host]).ok().contains("logged out"));
        assert!(world.hermes(["logout", &host]).ok().contains("was not logged in"));
        fs::remove_dir_all(world.store()).unwrap();
        pull(&world, &registry).output().refused(1, &[]);
    }
    let world = TestContext::empty();
    world.hermes(["login", "quay.io"]).output().refused(2, &["--password-stdin"]);
    world.hermes(["login", "no/registry"]).output().refused(2, &[]);
    world
        .hermes(["--offline", "login", "quay.io", "-u", "me", "--password-stdin"])
        .input(b"x")
        .output()
        .refused(4, &[]);
}

#[test]
fn log_in_by_a_helper() {
    let registry = basic();
    let world = TestContext::empty();
    helper(&world, "own", r#"echo "$1 $(cat)" >> "$0.log""#);
    docker(&world, &json!({ "credsStore": "own" }));
    let login = world.hermes(["login", &registry.host(), "-u", "me", "--password-stdin"]).input(PASSWORD.as_bytes());
    assert!(with_helpers(&world, login).ok().contains("password stored by docker-credential-own"));
    with_helpers(&world, world.hermes(["logout", &registry.host()])).ok();
    let log = fs::read_to_string(world.path().join("bin/docker-credential-own.log")).unwrap();
    let host = registry.host();
    let stored = format!(r#"store {{"ServerURL":"{host}","Username":"me","Secret":"{PASSWORD}"}}"#);
    assert!(log.starts_with(&stored) && log.contains(&format!("erase {host}\n")), "{log}");
    assert!(!fs::read_to_string(world.path().join("home/.docker/config.json")).unwrap().contains(BASIC));
}

#[test]
fn a_password_is_not_shown_while_typed() {
    let registry = basic();
    let world = TestContext::empty();
    let mut pty = Pty::start(world.hermes(["login", &registry.host()]), (24, 80));
    pty.until("User: ");
    pty.type_("me\n");
    pty.until("Password: ");
    std::thread::sleep(Duration::from_millis(100));
    pty.type_(&format!("{PASSWORD}x\x7f\n"));
    pty.until("logged in as me");
    assert_eq!(pty.wait(), 0);
    assert!(!pty.shown().contains("canary"), "{}", pty.shown());
    assert_eq!(pty.settings().local_modes, pty.settings_before.local_modes);
    let mut pty = Pty::start(world.hermes(["login", &registry.host(), "-u", "me"]), (24, 80));
    pty.until("Password: ");
    std::thread::sleep(Duration::from_millis(100));
    pty.type_("\x03");
    assert_eq!(pty.wait(), 2);
    assert_eq!(pty.settings().local_modes, pty.settings_before.local_modes);
}

#[test]
fn the_real_registry_with_passwords() {
    if !real_registry::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (content, _) = multi_arch();
    RealRegistry::start(dir.path(), None).push("x/y", &content);
    let file = dir.path().join("htpasswd");
    fs::write(&file, HTPASSWD).unwrap();
    let auth = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display());
    let registry = RealRegistry::start_with(dir.path(), None, &auth);
    let world = TestContext::empty();
    let reference = format!("{}/x/y:1", registry.host());
    world.hermes(["pull", &reference]).output().refused(1, &["refuses access"]);
    let login = |password: &[u8]| {
        world.hermes(["login", registry.host(), "-u", "me", "--password-stdin"]).input(password).output()
    };
    login(b"wrong").refused(1, &[]);
    login(PASSWORD.as_bytes()).ok();
    world.hermes(["pull", &reference]).ok();
}
