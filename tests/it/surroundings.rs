//! What a build sees of its surroundings: the same everywhere, as the project asks and the lock says.

use crate::support::world::{MIN, World};

const SHOW: &str =
    "echo $SOURCE_DATE_EPOCH $TZ $LANG $(date +%Z) $(umask) $(id -u):$(id -g) $(id -un) $HOME $(hostname) $PWD";

/// A project on Debian, with this `[build]`.
fn project(build: &str) -> Option<World> {
    let world = World::fixtures()?;
    world.write(
        "hermes.toml",
        &format!("toolchain = 'own'\n[toolchains.own.platform.linux-x86_64]\nimage = '{MIN}'\n{build}"),
    );
    Some(world)
}

fn show(world: &World, options: &[&str]) -> crate::support::process::Output {
    world
        .hermes([&["run"], options, &["--", "sh", "-c", SHOW]].concat())
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "de_DE")
        .output()
}

#[test]
fn a_build_sees_the_same_whatever_the_caller_has() {
    let Some(world) = project("") else { return };
    let want = "315532800 UTC C.UTF-8 UTC 0022 1000:1000 builder /home/builder hermes /work";
    assert_eq!(show(&world, &[]).ok(), want);
    assert_eq!(show(&world, &["--root"]).ok(), want.replace("1000:1000 builder /home/builder", "0:0 root /root"));
    // Also outside of any project.
    std::fs::remove_file(world.work().join("hermes.toml")).unwrap();
    assert_eq!(show(&world, &["--image", MIN]).ok(), want);
    assert!(!world.read("hermes.lock").is_empty());
    let lock = world.read("hermes.lock");
    for line in ["[build]", "epoch = 315532800", "umask = \"022\"", "uid = 1000", "net = \"none\"", "work = \"/work\""]
    {
        assert!(lock.contains(&format!("{line}\n")), "{line}: {lock}");
    }
}

#[test]
fn a_project_says_otherwise_and_the_caller_last() {
    let build =
        "[build]\nepoch = 7\ntime-zone = 'UTC+3'\nlocale = 'C'\nuid = 77\nenv = { WORD = 'a b', TZ = 'UTC+4' }\n";
    let Some(world) = project(build) else { return };
    assert_eq!(show(&world, &[]).ok(), "7 UTC+4 C UTC 0022 77:77 builder /home/builder hermes /work");
    let variables =
        |options: &[&str]| world.hermes([&["run"], options, &["--", "sh", "-c", "echo $WORD $TZ"]].concat()).ok();
    assert_eq!(variables(&[]), "a b UTC+4");
    assert_eq!(variables(&["-e", "WORD=c", "-e", "TZ=UTC"]), "c UTC");
    assert!(world.read("hermes.lock").contains("\n[build.env]\nTZ = \"UTC+4\"\nWORD = \"a b\"\n"));
}

#[test]
fn the_machine_is_as_the_project_says() {
    let Some(world) = project(
        "[build]\nhostname = 'a.b'\numask = '077'\nnproc = 1\npersonality = ['addr-no-randomize']\nrequire = ['seccomp']\n",
    ) else {
        return;
    };
    let script =
        "hostname; umask; nproc; cat /proc/self/personality 2>/dev/null; grep -m1 -o '^[0-9a-f]*' /proc/self/maps";
    let run = |options: &[&str]| world.hermes([&["run"], options, &["--", "sh", "-c", script]].concat()).ok();
    let seen = run(&[]);
    let want = seen.starts_with("a.b\n0077\n1\n") || seen.starts_with("a\n0077\n1\n");
    assert!(want && seen.lines().any(|line| line.ends_with("40000")), "{seen}");
    // Nothing moves in memory from one run to the next.
    assert_eq!(run(&[]), seen);
    assert!(run(&["--hostname", "x", "--umask", "022"]).starts_with("x\n0022\n1\n"));
    let lock = world.read("hermes.lock");
    assert!(lock.contains("nproc = 1\n") && lock.contains("personality = [\"addr-no-randomize\"]\n"), "{lock}");
    assert_eq!(
        world.hermes(["rebuild", "--check", "--vary", "hostname", "--", "sh", "-c", "umask >made"]).output().code(),
        0
    );
}

#[test]
fn an_image_that_has_another_locale_keeps_it() {
    let Some(world) = World::fixtures() else { return };
    let env = serde_json::json!({ "Env": ["LANG=en_US.UTF-8", "TZ=UTC+1"] });
    let image = crate::image_config::image(&world, "locale", &env);
    assert!(show(&world, &["--image", &image]).ok().starts_with("315532800 UTC+1 en_US.UTF-8 "));
}

#[test]
fn the_lock_has_to_agree() {
    let Some(world) = project("") else { return };
    show(&world, &[]).ok();
    let (lock, toml) = (world.read("hermes.lock"), world.read("hermes.toml"));
    world.write("hermes.toml", &format!("{toml}[build]\nepoch = 8\n"));
    show(&world, &["--locked"]).refused(4, &["hermes.lock", "[build]", "hint: run once without --locked"]);
    assert_eq!(world.read("hermes.lock"), lock);
    let output = show(&world, &[]);
    assert!(output.ok().starts_with("8 ") && output.stderr.contains("locked what builds see"), "{}", output.stderr);
    assert_eq!(world.read("hermes.lock"), lock.replace("epoch = 315532800", "epoch = 8"));
    assert!(show(&world, &["--locked"]).ok().starts_with("8 "));
    // Another hermes' policy is no other surroundings.
    let policy = lock.lines().find(|line| line.starts_with("policy")).unwrap();
    let other = format!("policy = \"{}\"", hermes::digest::Digest::of(b"other"));
    world.write("hermes.lock", &world.read("hermes.lock").replace(policy, &other));
    assert!(show(&world, &["--locked"]).ok().starts_with("8 "));
    // Nor does an older lock, which has none, change by being used.
    let old = lock.replace("version = 2", "version = 1");
    let (start, end) = (old.find("[build]").unwrap(), old.find("[image").unwrap());
    let old = format!("{}{}", &old[..start], &old[end..]);
    world.write("hermes.lock", &old);
    assert!(show(&world, &["--locked"]).ok().starts_with("8 "));
    assert_eq!(world.read("hermes.lock"), old);
}

/// What a lock says is not done, but compared: nobody gives a project the network by its lock (T45).
#[test]
fn t45_a_strangers_lock_cannot_widen_the_sandbox() {
    let Some(world) = project("") else { return };
    show(&world, &[]).ok();
    let lock = world.read("hermes.lock");
    for (good, bad) in [
        ("net = \"none\"", "net = \"host\""),
        ("uid = 1000", "uid = 1001"),
        ("work = \"/work\"", "work = \"/etc\""),
        ("umask = \"022\"", "umask = \"000\""),
        ("\n[build]\n", "\n[build.env]\nLD_PRELOAD = \"/work/evil.so\"\n\n[build]\n"),
    ] {
        let changed = lock.replace(good, bad);
        assert_ne!(changed, lock, "{good}");
        world.write("hermes.lock", &changed);
        show(&world, &["--locked"]).refused(4, &["[build]"]);
        let seen = world.hermes(["run", "--", "sh", "-c", "ls /sys/class/net; env; umask; id -u; pwd"]).ok();
        let kept = !seen.contains("LD_PRELOAD") && seen.starts_with("lo\n") && seen.ends_with("0022\n1000\n/work");
        assert!(kept, "{bad}: {seen}");
        assert_eq!(world.read("hermes.lock"), lock, "{bad}");
    }
    for (good, bad) in [
        ("uid = 1000", "uid = 0"),
        ("net = \"none\"", "net = \"all\""),
        ("work = \"/work\"", "work = \"work\""),
        ("\n[build]\n", "\n[build]\nmounts = [\"/etc\"]\n"),
        ("hostname = \"hermes\"", "hostname = \"a b\""),
    ] {
        world.write("hermes.lock", &lock.replace(good, bad));
        show(&world, &[]).refused(3, &["hermes.lock is not valid"]);
    }
}

#[test]
fn the_network_and_what_is_required_are_the_projects_too() {
    let Some(world) = project("[build]\nnet = 'host'\n") else { return };
    let net =
        |options: &[&str]| world.hermes([&["run"], options, &["--", "readlink", "/proc/self/ns/net"]].concat()).ok();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    world.hermes(["allow"]).ok();
    assert_eq!(net(&[]), own.to_str().unwrap());
    assert_ne!(net(&["--net", "none"]), own.to_str().unwrap());
    let Some(world) = project("[build]\nrequire = ['landlock']\n").map(|world| world.on("4.18")) else { return };
    show(&world, &[]).refused(125, &["landlock"]);
}
