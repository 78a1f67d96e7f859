//! The environment of builds: the same on every host, as the project's settings and the lock say.

use crate::support::context::{MIN, TestContext, tool};

const SHOW: &str =
    "echo $SOURCE_DATE_EPOCH $TZ $LANG $(date +%Z) $(umask) $(id -u):$(id -g) $(id -un) $HOME $(hostname) $PWD";

/// A project on Debian, with this `[build]`.
fn project(build: &str) -> Option<TestContext> {
    let world = TestContext::fixtures()?;
    world.write(
        "hermes.toml",
        &format!("toolchain = 'own'\n[toolchains.own.platform.linux-x86_64]\nimage = '{MIN}'\n{build}"),
    );
    Some(world)
}

fn show(world: &TestContext, options: &[&str]) -> crate::support::process::Output {
    world
        .hermes([&["run"], options, &["--", "sh", "-c", SHOW]].concat())
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "de_DE")
        .output()
}

#[test]
fn a_build_sees_the_same_whatever_the_caller_has() {
    let Some(world) = project("") else { return };
    let want = "315619200 UTC C.UTF-8 UTC 0022 1000:1000 builder /home/builder hermes /work";
    assert_eq!(show(&world, &[]).ok(), want);
    assert_eq!(show(&world, &["--root"]).ok(), want.replace("1000:1000 builder /home/builder", "0:0 root /root"));
    // Also outside of any project.
    std::fs::remove_file(world.work().join("hermes.toml")).unwrap();
    assert_eq!(show(&world, &["--image", MIN]).ok(), want);
    assert!(!world.read("hermes.lock").is_empty());
    let lock = world.read("hermes.lock");
    for line in ["[build]", "epoch = 315619200", "umask = \"022\"", "uid = 1000", "net = \"none\"", "work = \"/work\""]
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
    let Some(world) = TestContext::fixtures() else { return };
    let env = serde_json::json!({ "Env": ["LANG=en_US.UTF-8", "TZ=UTC+1"] });
    let image = crate::image_config::image(&world, "locale", &env);
    assert!(show(&world, &["--image", &image]).ok().starts_with("315619200 UTC+1 en_US.UTF-8 "));
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
    assert!(output.ok().starts_with("8 ") && output.stderr.contains("locked build settings"), "{}", output.stderr);
    assert_eq!(world.read("hermes.lock"), lock.replace("epoch = 315619200", "epoch = 8"));
    assert!(show(&world, &["--locked"]).ok().starts_with("8 "));
    // Another hermes' policy is no other surroundings.
    let policy = lock.lines().find(|line| line.starts_with("policy")).unwrap();
    let other = format!("policy = \"{}\"", hermes::testing::digest::Digest::of(b"other"));
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

/// The settings in a lock are compared, not applied: a lock cannot give a project the network (T45).
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
        show(&world, &[]).refused(3, &["invalid lockfile", "hermes.lock"]);
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

#[test]
fn a_lock_keeps_the_default_it_was_made_with() {
    let Some(world) = project("") else { return };
    show(&world, &[]).ok();
    let old = world.read("hermes.lock").replace("epoch = 315619200", "epoch = 315532800");
    world.write("hermes.lock", &old);
    for options in [&["--locked"][..], &[]] {
        assert!(show(&world, options).ok().starts_with("315532800 "), "{options:?}");
        assert_eq!(world.read("hermes.lock"), old);
    }
    world.hermes(["--offline", "lock"]).ok();
    assert_eq!(world.read("hermes.lock"), old);
    world.write("hermes.toml", "[build]\nepoch = 315619200\n");
    show(&world, &["--locked"]).refused(4, &["[build]"]);
}

/// The settings of a repository name programs: none of them is started.
#[test]
fn the_time_of_the_last_commit() {
    let Some(world) = project("[build]\nepoch = 'git'\n").filter(|_| tool("git")) else { return };
    show(&world, &[]).refused(125, &["epoch = \"git\"", "not a git repository"]);
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@test.invalid", "-c", "commit.gpgsign=false"];
        let mut command = std::process::Command::new("git");
        command.args(identity).args(words).current_dir(world.work()).env("HOME", world.path());
        let output = command.env("GIT_COMMITTER_DATE", "2020-01-02T03:04:05Z").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "one"]);
    let canary = world.path().join("canary");
    let evil = format!("touch {}", canary.display());
    for (key, value) in [
        ("core.fsmonitor", &*evil),
        ("core.pager", &evil),
        ("pager.rev-list", &evil),
        ("core.sshCommand", &evil),
        ("core.editor", &evil),
        ("core.askPass", &evil),
        ("log.showSignature", "true"),
        ("gpg.program", &evil),
        ("diff.external", &evil),
        ("core.hooksPath", "/nonexistent"),
        ("alias.rev-list", &format!("!{evil}")),
        ("credential.helper", &format!("!{evil}")),
        ("filter.x.clean", &evil),
        ("extensions.partialClone", "evil"),
        ("remote.evil.promisor", "true"),
        ("remote.evil.url", &format!("ext::sh -c \"{evil}\"")),
        ("remote.evil.uploadpack", &evil),
        ("protocol.ext.allow", "always"),
    ] {
        git(&["config", key, value]);
    }
    git(&["config", "core.repositoryFormatVersion", "1"]);
    assert!(show(&world, &[]).ok().starts_with("1577934245 "));
    assert!(world.read("hermes.lock").contains("epoch = \"git\"\n"));
    // Another commit changes nothing in the lock; a recorded run keeps its time.
    let output = world.hermes(["--locked", "run", "--output", "out", "--", "sh", "-c", "echo $SOURCE_DATE_EPOCH >out"]);
    output.output().exits(0);
    let head = world.work().join(".git/refs/heads/main");
    let id = git(&["commit-tree", "-m", "two", "HEAD^{tree}"]);
    std::fs::write(&head, format!("{id}\n")).unwrap();
    world.hermes(["--locked", "rebuild", "--check"]).ok();
    // A commit that the partial clone lacks would have to be fetched.
    for url in [format!("ext::sh -c \"{evil}\""), format!("file://{}", world.path().display()), "evil://x".to_owned()] {
        git(&["config", "remote.evil.url", &url]);
        std::fs::write(&head, format!("{}\n", "1".repeat(40))).unwrap();
        show(&world, &[]).refused(125, &["cannot read the time of the last commit"]);
    }
    assert!(!canary.exists(), "git started a program");
}

/// The host's network: its names resolve, and its proxies can be passed on.
#[test]
fn names_and_proxies_of_the_host() {
    let Some(world) = project("") else { return };
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--net", "host"], options, &["--", "sh", "-c", script]].concat();
        world.hermes(words).env("https_proxy", "http://me:hunter2@127.0.0.1:1").env("no_proxy", "localhost").output()
    };
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let output = run(&[], "cat /etc/hosts; env");
    let text = output.ok();
    assert!(text.starts_with("127.0.0.1 localhost hermes\n::1 localhost hermes\n"), "{text}");
    assert!(text.contains(hosts.trim_end()) && !text.contains("hunter2"), "{text}");
    let note = |output: &crate::support::process::Output| output.stderr.matches("your proxies").count();
    assert_eq!(note(&output), 1, "{}", output.stderr);
    assert!(
        output.stderr.contains("-e https_proxy -e no_proxy") && !output.stderr.contains("hunter2"),
        "{}",
        output.stderr
    );
    // Who has decided about one is not told; nor is who has no network.
    let output = run(&["-e", "https_proxy"], "echo $https_proxy $no_proxy");
    assert_eq!((output.ok().as_str(), note(&output)), ("http://me:hunter2@127.0.0.1:1", 0), "{}", output.stderr);
    let alone = world.hermes(["run", "--", "env"]).env("https_proxy", "http://127.0.0.1:1").output();
    assert!(note(&alone) == 0 && !alone.text().contains("proxy"), "{}", alone.stderr);
    world.configure("[run]\npass-proxy = true\n");
    let output = run(&[], "echo PROXIES $https_proxy $no_proxy");
    assert_eq!((output.ok().as_str(), note(&output)), ("PROXIES http://me:hunter2@127.0.0.1:1 localhost", 0));
    assert!(!world.record_with("echo PROXIES").to_string().contains("hunter2"));
}

/// `LANG` names a locale that the image has.
#[test]
fn the_locale_is_one_of_the_image() {
    use crate::support::elf::{Machine, program};
    use crate::support::image::{Codec, Content, layer};
    let Some(world) = TestContext::sandbox() else { return };
    let tool = program(Machine::Amd64, "x\n", 0);
    let archive = |names: &[u8]| {
        let mut bytes: Vec<u8> =
            [0xde02_0109, 0, 0, 0, 0, 56, u32::try_from(names.len()).unwrap(), 0, 0, 0, 0, 0, 0, 0]
                .iter()
                .flat_map(|number: &u32| number.to_le_bytes())
                .collect();
        bytes.extend(names);
        bytes
    };
    let (has, lacks) = (archive(b"en_US.utf8\0C.utf8\0"), archive(b"en_US.utf8\0de_DE.utf8\0"));
    for (at, (path, content, want)) in [
        ("usr/lib/locale/C.utf8/LC_CTYPE", &b""[..], true),
        ("usr/lib/locale/C.UTF-8/LC_CTYPE", b"", true),
        ("usr/lib/locale/locale-archive", &has, true),
        ("usr/lib/locale/locale-archive", &lacks, false),
        ("usr/lib/locale/locale-archive", b"", false),
        ("usr/lib/locale/en_US.utf8/LC_CTYPE", b"", false),
        ("lib/ld-musl-x86_64.so.1", b"", true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut image = Content::default();
        let manifest =
            image.image(("linux", "amd64", None), &[layer(Codec::Gzip, &[("bin/tool", &tool), (path, content)])]);
        let name = format!("test.invalid/locale:{at}");
        let _ = world.import(&image.tag("1", &manifest), &name);
        let lang = || {
            world.hermes(["run", "--image", &name, "--", "/bin/tool"]).ok();
            let record = world.last_record();
            let all = record["environment"].as_array().unwrap().clone();
            all.iter().find(|variable| variable["name"] == "LANG").map(|variable| variable["value"].clone())
        };
        assert_eq!(lang(), want.then(|| "C.UTF-8".into()), "{path}");
        // What a project names is set as it is.
        world.write("hermes.toml", "[build]\nlocale = 'de_DE.UTF-8'\n");
        assert_eq!(lang(), Some("de_DE.UTF-8".into()), "{path}");
        std::fs::remove_file(world.work().join("hermes.toml")).unwrap();
    }
}
