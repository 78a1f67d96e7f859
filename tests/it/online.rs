//! Runs from an empty store and a registry.

use std::fs;

use crate::support::context::{MIN, TestContext, emulation, fixtures, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::{FakeRegistry, Reply, Seen, honest};
use crate::support::real_registry::{RealRegistry, Tls};

const IMAGE: &str = "docker.io/library/tiny:1";

fn mirror(host: &str) -> String {
    format!("[registry.\"docker.io\"]\nmirrors = [\"{host}\"]\n")
}

/// A context whose registry has the image as `library/tiny` too.
fn with_registry() -> Option<(TestContext, RealRegistry)> {
    let (world, registry) = TestContext::with_registry("first")?;
    registry.push("library/tiny", &tiny("first"));
    Some((world, registry))
}

#[test]
fn the_catalogues_own_images_from_an_empty_store() {
    let Some(world) = TestContext::sandbox() else { return };
    let Some(registry) = RealRegistry::of_fixtures(false).filter(|_| emulation()) else { return };
    world.configure(&mirror(registry.host()));
    // docker.io/library/buildpack-deps:bookworm of the catalogue; a foreign platform at once.
    let output = world.hermes(["run", "--platform", "linux-armv6", "--", "uname", "-m"]).output();
    assert_eq!(output.exits(0).text(), "armv6l");
    assert!(!output.stderr.contains('\u{1b}') && !output.stderr.contains('\r'), "{}", output.stderr);
    drop(registry);
    for options in [&["--offline"][..], &[], &["--locked"], &["--offline", "--locked"]] {
        let run = world.hermes([options, &["run", "--platform", "armv6", "--", "uname", "-m"]].concat());
        assert_eq!(run.ok(), "armv6l", "{options:?}");
    }
}

#[test]
fn https_with_a_ca_of_its_own() {
    let Some(world) = TestContext::sandbox() else { return };
    let Some(registry) = RealRegistry::of_fixtures(true) else { return };
    let ca = fixtures().unwrap().join("tls/ca.crt");
    world.configure(&format!(
        "{}[registry.\"{}\"]\nca = \"{}\"\n",
        mirror(registry.host()),
        registry.host(),
        ca.display()
    ));
    let run = world.hermes(["run", "--image", MIN, "--", "cat", "/etc/hostname"]);
    assert_eq!(run.ok(), "hermes");
    drop(registry);
    assert_eq!(world.hermes(["run", "--image", MIN, "--", "cat", "/etc/hostname"]).ok(), "hermes");
}

#[test]
fn a_ca_is_needed_and_can_be_an_option() {
    let Some((world, http)) = with_registry() else { return };
    let tls = Tls::new(world.path());
    let registry = RealRegistry::start(world.path(), Some(&tls));
    let image = format!("{}/library/tiny:1", registry.host());
    let wrong = Tls::new(&{
        let path = world.path().join("other");
        fs::create_dir_all(&path).unwrap();
        path
    });
    let option = |ca: &Tls| format!("{}={}", registry.host(), ca.ca.display());
    let run = |ca: &Tls| world.hermes(["run", "--ca", &option(ca), "--image", &image, "--", "tool"]).output();
    run(&wrong).refused(125, &["certificate", "hint: ", "ca ="]);
    assert_eq!(world.stored("refs"), Vec::<String>::new());
    assert_eq!(run(&tls).ok(), "first amd64");
    // A file that is no certificate, or is not there.
    let option = |path: &str| world.hermes(["pull", "--ca", &format!("{}={path}", registry.host()), &image]).output();
    option("/etc/passwd").refused(2, &["no PEM certificate", "/etc/passwd"]);
    option("/no/such/file").refused(2, &["/no/such/file"]);
    drop(http);
}

#[test]
fn a_mirror_by_option_and_by_the_registrys_own_name() {
    let Some((world, registry)) = with_registry() else { return };
    let option = format!("docker.io={}", registry.host());
    assert_eq!(world.hermes(["run", "--mirror", &option, "--image", "tiny:1", "--", "tool"]).ok(), "first amd64");
    // The name is docker.io's in any case; the mirror is only where it came from.
    assert!(world.hermes(["images"]).ok().contains(IMAGE));
    let direct = format!("{}/library/tiny:1", registry.host());
    assert_eq!(world.hermes(["run", "--image", &direct, "--", "tool"]).ok(), "first amd64");
    // A mirror that is down is passed over.
    let option = format!("{}=127.0.0.1:1", registry.host());
    let fresh = TestContext::empty();
    assert_eq!(fresh.hermes(["run", "--mirror", &option, "--image", &direct, "--", "tool"]).ok(), "first amd64");
}

#[test]
fn the_second_run_asks_nobody() {
    let Some(world) = TestContext::sandbox() else { return };
    let fake = FakeRegistry::serve(tiny("counted"), |_, _, reply| reply);
    world.configure(&mirror(&fake.host()));
    let run = || world.hermes(["run", "--image", IMAGE, "--", "tool"]).ok();
    assert_eq!(run(), "counted amd64");
    let asked = fake.seen().len();
    // Index, manifest, config, two layers, and perhaps a greeting.
    assert!((5..=6).contains(&asked), "{asked} requests: {:#?}", fake.seen());
    assert_eq!(run(), "counted amd64");
    assert_eq!(fake.seen().len(), asked);
    // Nor do the other verbs ask, but pull does, for what the tag means now: nothing more.
    world.hermes(["images"]).ok();
    world.hermes(["inspect", IMAGE]).ok();
    assert_eq!(fake.seen().len(), asked);
    world.hermes(["pull", IMAGE]).ok();
    // None of the three blobs is fetched again.
    assert_eq!(fake.count("/blobs/"), 3, "{:#?}", fake.seen());
}

#[test]
fn pull_then_run_offline() {
    let Some((world, registry)) = with_registry() else { return };
    world.configure(&mirror(registry.host()));
    let output = world.hermes(["pull", IMAGE]).output();
    assert!(output.ok().starts_with(&format!("{IMAGE}  linux-x86_64  sha256:")), "{}", output.text());
    let pulled = world.json(&["pull", "--platform", "arm64", IMAGE]);
    assert_eq!((&pulled[0]["reference"], &pulled[0]["platform"]), (&IMAGE.into(), &"linux/arm64".into()));
    assert!(!world.locks().exists(), "pull of a name leaves the locks alone");
    drop(registry);
    assert_eq!(world.hermes(["--offline", "run", "--image", IMAGE, "--", "tool"]).ok(), "first amd64");
    if emulation() {
        let run = world.hermes(["--offline", "run", "--image", IMAGE, "--platform", "arm64", "--", "tool"]);
        assert_eq!(run.ok(), "first arm64");
    }
}

#[test]
fn pull_of_a_toolchain_fetches_what_its_run_needs() {
    let Some((world, registry)) = with_registry() else { return };
    let table = format!("[toolchains.own.platform.linux-x86_64]\nimage = '{}/library/tiny:1'\n", registry.host());
    world.write("hermes.toml", &format!("toolchain = 'own'\n{table}"));
    world.hermes(["pull"]).ok();
    drop(registry);
    assert_eq!(world.hermes(["--offline", "--locked", "run", "--", "tool"]).ok(), "first amd64");
}

#[test]
fn what_a_registry_damages_is_not_run_and_nothing_stays() {
    let Some(world) = TestContext::sandbox() else { return };
    let content = tiny("honest");
    let damage = |reply: Reply| {
        let mut body = reply.body.clone();
        if let Some(byte) = body.last_mut() {
            *byte ^= 1;
        }
        reply.body(&body)
    };
    let fake = FakeRegistry::serve(
        content,
        move |seen, _, reply| if seen.path.contains("/blobs/") { damage(reply) } else { reply },
    );
    world.configure(&mirror(&fake.host()));
    let output = world.hermes(["run", "--image", IMAGE, "--", "tool"]).output();
    output.refused(3, &["digest mismatch", "hint: "]);
    assert_eq!(world.hermes(["images"]).ok().lines().count(), 1, "only the head of the table");
    for directory in ["refs", "layers", "tmp"] {
        assert_eq!(world.stored(directory), Vec::<String>::new(), "{directory}");
    }
    assert!(!world.image_lock(IMAGE).exists());
}

#[test]
fn a_name_nobody_has_and_a_registry_that_is_down() {
    let Some((world, registry)) = with_registry() else { return };
    let missing = format!("{}/library/none:1", registry.host());
    world
        .hermes(["run", "--image", &missing, "--", "x"])
        .output()
        .refused(125, &["does not have", "library/none", "hint: "]);
    world.hermes(["pull", &missing]).output().refused(1, &["does not have"]);
    let image = format!("{}/library/tiny:2", registry.host());
    world.hermes(["pull", &image]).output().refused(1, &["tiny:2"]);
    let host = registry.host().to_owned();
    drop(registry);
    let output = world.hermes(["pull", &format!("{host}/library/tiny:1")]).output();
    output.refused(1, &["no response from registry", "'hermes import'"]);
}

fn method(seen: &Seen) -> String {
    let target = seen.path.rsplit('/').next().unwrap_or_default();
    format!("{} {}", seen.method, target.get(..12).unwrap_or(target))
}

/// What a pull of `reference` asks the registry, greetings left out.
#[track_caller]
fn asked(world: &TestContext, fake: &FakeRegistry, reference: &str) -> Vec<String> {
    let before = fake.seen().len();
    world.hermes(["pull", reference]).ok();
    let seen = fake.seen().split_off(before);
    seen.iter().filter(|seen| seen.path != "/v2/").map(method).collect()
}

#[test]
fn what_is_there_costs_one_head() {
    let world = TestContext::empty();
    let content = tiny("same");
    let fake = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
    let reference = format!("{}/x/y:1", fake.host());
    assert_eq!(asked(&world, &fake, &reference).len(), 5, "index, manifest, config and two layers");
    assert_eq!(asked(&world, &fake, &reference), ["HEAD 1"]);
    // An image named by its digest cannot change: no registry is asked, though the name is new.
    let pinned = format!("{}/x/y@{}", fake.host(), content.tags["1"]);
    let before = fake.seen().len();
    for options in [&[][..], &["--offline"]] {
        world.hermes([options, &["pull", &pinned]].concat()).ok();
    }
    assert_eq!(fake.seen().len(), before);
    world.hermes(["rm", &reference]).ok();
    assert_eq!(asked(&world, &fake, &pinned), Vec::<String>::new(), "its own name keeps it");
    // A layer that is gone is fetched, and by the whole way.
    let layer = world.stored("layers").remove(0);
    let gone = world.store().join("layers").join(layer);
    fs::rename(gone, world.path().join("gone")).unwrap();
    assert_eq!(asked(&world, &fake, &pinned)[0][..3], *"GET");
    assert_eq!(world.stored("layers").len(), 2);
}

#[test]
fn a_head_that_does_not_tell_is_followed_by_a_get() {
    let heads: [fn(Reply) -> Reply; 4] = [
        |_| Reply::new(405, b""),
        |reply| reply.without("docker-content-digest"),
        |reply| reply.header("docker-content-digest", "sha256:lie"),
        |_| Reply::new(500, b""),
    ];
    for head in heads {
        let world = TestContext::empty();
        let fake = FakeRegistry::serve(
            tiny("same"),
            move |seen, _, reply| if seen.method == "HEAD" { head(reply) } else { reply },
        );
        let reference = format!("{}/x/y:1", fake.host());
        world.hermes(["pull", &reference]).ok();
        assert_eq!(asked(&world, &fake, &reference)[..2], ["HEAD 1", "GET 1"]);
        assert_eq!(fake.count("/blobs/"), 3, "no blob again");
    }
}

#[test]
fn of_a_new_image_only_what_is_new_is_fetched() {
    let world = TestContext::empty();
    let (first, second) = (tiny("first"), tiny("second"));
    let both = [first.clone(), second.clone()];
    let fake = FakeRegistry::start(move |seen, count| {
        // The tag moves after it was asked for once.
        let newer = usize::from(count > 0 && seen.path.ends_with("/manifests/1"));
        let replies = [honest(&both[newer], &seen.path), honest(&both[1 - newer], &seen.path)];
        replies.into_iter().find(|reply| reply.status == 200).unwrap_or_else(|| Reply::new(404, b""))
    });
    let reference = format!("{}/x/y:1", fake.host());
    world.hermes(["pull", &reference]).ok();
    let requests = asked(&world, &fake, &reference);
    // HEAD and GET of the tag, the manifest, the config and the one layer that is another.
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert_eq!((requests[0].as_str(), requests[1].as_str()), ("HEAD 1", "GET 1"));
    assert_eq!(fake.count("/blobs/"), 5, "{:?}", fake.seen());
    let before = fake.seen().len();
    assert_eq!(asked(&world, &fake, &reference), ["HEAD 1"]);
    assert!(fake.seen().len() <= before + 2);
}

#[test]
fn offline_opens_no_socket_even_where_something_is_missing() {
    let Some(world) = TestContext::sandbox() else { return };
    if !tool("strace") {
        return;
    }
    let log = world.path().join("trace");
    for words in [&["--offline", "run", "--", "true"][..], &["--offline", "pull", "x/y:1"], &["--offline", "pull"]] {
        world.hermes(words).strace(&log, "trace=socket,connect,sendto,clone3").output().refused(4, &["--offline"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), "", "{words:?}");
    }
}
