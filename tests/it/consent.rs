//! Consent: a project that asks for something of the host gets it only after the user has allowed it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::context::{MIN, TestContext, tool};
use crate::support::process::Output;
use crate::support::pty::Pty;
use crate::support::run;

/// What is in the file that no project may have.
const CANARY: &str = "CANARY-OF-THE-HOST";

/// A context whose host has a secret: as an archive, as a patch, as a mirror, as a repository, as a program.
struct Host {
    world: TestContext,
    secret: PathBuf,
}

impl Host {
    fn new(world: TestContext) -> Self {
        let secret = world.path().join("secret");
        fs::create_dir_all(secret.join("p")).unwrap();
        fs::write(secret.join("p/hello.txt"), format!("{CANARY}\n")).unwrap();
        run("tar", &["-cf", "secret.tar", "p"], &secret);
        fs::write(
            secret.join("secret.patch"),
            format!("--- a/hello.txt\n+++ b/hello.txt\n@@ -1 +1 @@\n-{CANARY}\n+x\n"),
        )
        .unwrap();
        let hex = run("sha256sum", &["secret.tar"], &secret).split(' ').next().unwrap().to_owned();
        fs::create_dir(secret.join("sha256")).unwrap();
        fs::copy(secret.join("secret.tar"), secret.join("sha256").join(hex)).unwrap();
        Self { world, secret }
    }

    fn hex(&self) -> String {
        fs::read_dir(self.secret.join("sha256")).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap()
    }

    /// The text of a `hermes.toml` in which `{}` stands for the directory of the secret.
    fn write(&self, text: &str) {
        let secret = self.secret.to_str().unwrap();
        self.world.write("hermes.toml", &text.replace("{}", secret).replace("{hex}", &self.hex()));
    }

    /// `hermes OPTIONS source fetch`.
    fn fetch(&self, options: &[&str]) -> Output {
        self.world.hermes([options, &["source", "fetch"]].concat()).output()
    }

    /// Nothing of the secret was read.
    fn assert_untouched(&self, when: &str) {
        assert_eq!(self.world.stored("blobs/sha256"), [""; 0], "{when}");
        assert_eq!(self.world.stored("sources"), [""; 0], "{when}");
        assert!(!self.world.work().join("hermes.lock").exists(), "{when}");
    }
}

/// Ways for a project to read what is not its own; the words that the refusal has.
const READS: [(&str, &str); 9] = [
    ("url = 'file://{}/secret.tar'", "source.x.url: read {}/secret.tar"),
    ("url = 'file://{}/../secret/secret.tar'", "source.x.url: read {}/secret.tar"),
    ("url = 'https://127.0.0.1:1/x'\nsha256 = '{hex}'\nmirrors = ['{}']", "source.x.mirrors: read {}"),
    ("url = 'https://127.0.0.1:1/x'\nsha256 = '{hex}'\nmirrors = ['file://{}']", "source.x.mirrors: read {}"),
    ("url = 'https://127.0.0.1:1/x'\nsha256 = '{hex}'\nmirrors = ['../secret']", "source.x.mirrors: read {}"),
    ("url = 'https://127.0.0.1:1/x'\nsha256 = '{hex}'\nmirrors = ['link']", "source.x.mirrors: read {}"),
    ("url = 'file://{work}/own.tar'\npatches = ['{}/secret.patch']", "source.x.patches: read {}/secret.patch"),
    ("url = 'file://{work}/own.tar'\npatches = ['../secret/secret.patch']", "source.x.patches: read {}/secret.patch"),
    ("url = 'file://{work}/own.tar'\npatches = ['link/secret.patch']", "source.x.patches: read {}/secret.patch"),
];

#[test]
fn a_file_of_the_host_is_read_only_where_the_user_says_so() {
    for (source, words) in READS {
        let host = Host::new(TestContext::empty());
        let (world, work) = (&host.world, host.world.work());
        fs::copy(host.secret.join("secret.tar"), work.join("own.tar")).unwrap();
        symlink("../secret", work.join("link")).unwrap();
        let words = words.replace("{}", host.secret.to_str().unwrap());
        host.write(&format!("[source.x]\n{}\n", source.replace("{work}", work.to_str().unwrap())));
        let refused = |when: &str| {
            let asked = [&*words, work.to_str().unwrap(), "hermes allow", "--allow-project", "[[allow]]"];
            host.fetch(&[]).refused(2, &asked);
            let verbs = [
                &["fetch"][..],
                &["pull"],
                &["lock"],
                &["run", "--", "true"],
                &["rebuild", "--check", "--", "true"],
                &["source", "mirror", "out"],
            ];
            for verb in verbs {
                world.hermes(verb).output().refused(2, &[&words]);
            }
            assert!(!work.join("out").exists(), "{when}");
            host.assert_untouched(when);
        };
        refused(source);
        // By an option, for one command.
        let output = host.fetch(&["--allow-project"]);
        output.exits(0);
        assert!(!output.stderr.contains("you have allowed"), "{}", output.stderr);
        host.fetch(&[]).refused(2, &[&words]);
        // For good.
        assert!(world.hermes(["allow"]).ok().contains(&words), "{words}");
        let output = host.fetch(&[]);
        output.exits(0);
        let said = output.stderr.lines().filter(|line| line.contains("you have allowed")).count();
        assert_eq!(said, 1, "{}", output.stderr);
        assert_eq!(world.hermes(["allow", "--list"]).ok(), format!("{}\n  {words}", work.display()));
        world.hermes(["allow", "--revoke"]).ok();
        host.fetch(&[]).refused(2, &[&words]);
        assert_eq!(world.hermes(["allow", "--list"]).ok(), "");
        // By a rule.
        let rule = |read: &str| format!("[[allow]]\nproject = '{}'\nread = ['{read}']\n", world.path().display());
        world.configure(&rule("/nowhere"));
        host.fetch(&[]).refused(2, &[&words]);
        world.configure(&rule(host.secret.to_str().unwrap()));
        host.fetch(&[]).exits(0);
    }
}

#[test]
fn another_setting_or_another_directory_asks_again() {
    let host = Host::new(TestContext::empty());
    let world = &host.world;
    host.write("[source.x]\nurl = 'file://{}/secret.tar'\n");
    world.hermes(["allow"]).ok();
    host.fetch(&[]).exits(0);
    // What asks for nothing may change.
    host.write("# a comment\nplatform = 'arm64'\n[source.x]\nstrip = 1\nurl = 'file://{}/secret.tar'\n");
    host.fetch(&[]).exits(0);
    for text in [
        "[source.x]\nurl = 'file://{}/p/hello.txt'\n",
        "[source.y]\nurl = 'file://{}/secret.tar'\n",
        "[build]\nnet = 'host'\n[source.x]\nurl = 'file://{}/secret.tar'\n",
        "[source.x]\nurl = 'file://{}/secret.tar'\nmirrors = ['{}']\n",
    ] {
        host.write(text);
        host.fetch(&[]).refused(2, &["hermes allow"]);
    }
    // A link in the project leads to another directory now.
    let link = world.work().join("fix.patch");
    symlink("../secret/secret.patch", &link).unwrap();
    host.write("[source.x]\nurl = 'file://{}/secret.tar'\npatches = ['fix.patch']\n");
    world.hermes(["allow"]).ok();
    host.fetch(&[]).exits(0);
    fs::remove_file(&link).unwrap();
    fs::write(host.secret.join("other.patch"), "").unwrap();
    symlink("../secret/other.patch", &link).unwrap();
    host.fetch(&[]).refused(2, &["other.patch"]);
    // The same project elsewhere.
    fs::remove_file(&link).unwrap();
    host.write("[source.x]\nurl = 'file://{}/secret.tar'\n");
    host.fetch(&[]).exits(0);
    let other = world.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(world.work().join("hermes.toml"), other.join("hermes.toml")).unwrap();
    world.hermes(["source", "fetch"]).dir(&other).output().refused(2, &[other.to_str().unwrap()]);
    // A lock says nothing.
    fs::copy(world.work().join("hermes.lock"), other.join("hermes.lock")).unwrap();
    world.hermes(["--locked", "source", "fetch"]).dir(&other).output().refused(2, &[other.to_str().unwrap()]);
    // Nor does what others may have written.
    let kept = world.path().join("state/hermes/allowed");
    for entry in fs::read_dir(&kept).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }
    host.fetch(&[]).refused(2, &["hermes allow"]);
}

#[test]
fn a_repository_of_the_project_leads_git_elsewhere() {
    let host = Host::new(TestContext::empty());
    let (world, work) = (&host.world, host.world.work());
    if !tool("git") {
        return;
    }
    let git = |words: &[&str]| run("git", words, &host.secret).trim().to_owned();
    git(&["init", "-q", "."]);
    git(&["add", "."]);
    git(&["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "private"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let own = work.join("own.git");
    git(&["init", "-q", "--bare", own.to_str().unwrap()]);
    let objects = host.secret.join(".git/objects");
    fs::write(own.join("objects/info/alternates"), format!("{}\n", objects.display())).unwrap();
    fs::write(own.join("refs/heads/x"), format!("{commit}\n")).unwrap();
    let names = |place: &Path| {
        host.write(&format!("[source.x]\ngit = 'file://{}'\ncommit = '{commit}'\n", place.display()));
    };
    // The question says so, and a rule for files of the project is no answer.
    names(&own);
    host.fetch(&[]).refused(2, &["which can lead it to other repositories of yours"]);
    let rule = |read: &Path| format!("[[allow]]\nproject = '{}'\nread = ['{}']\n", work.display(), read.display());
    world.configure(&rule(&work));
    host.fetch(&[]).refused(2, &["source.x.git: run git in"]);
    world.configure(&rule(&host.secret));
    host.fetch(&[]).refused(2, &["source.x.git: run git in"]);
    host.assert_untouched("git");
    // One outside the project is its owner's.
    names(&host.secret);
    host.fetch(&[]).exits(0);
}

#[test]
fn repositories_and_emulators_of_the_host() {
    let host = Host::new(TestContext::empty());
    let (world, work) = (&host.world, host.world.work());
    let commit = "1".repeat(40);
    if tool("git") {
        // Also one that the project has brought: the host's git would work in it.
        fs::create_dir(work.join("own.git")).unwrap();
        for place in [host.secret.to_str().unwrap(), work.join("own.git").to_str().unwrap()] {
            host.write(&format!("[source.x]\ngit = 'file://{place}'\ncommit = '{commit}'\n"));
            host.fetch(&[]).refused(2, &[&format!("source.x.git: run git in {place}")]);
            host.fetch(&["--allow-project"]).refused(1, &["git cannot fetch"]);
        }
        let ssh = "ssh://git@127.0.0.1:1/x.git";
        host.write(&format!("[source.x]\ngit = '{ssh}'\ncommit = '{commit}'\n"));
        host.fetch(&[]).refused(2, &[&format!("source.x.git: fetch {ssh} with your ssh keys")]);
        world.configure(&format!("[[allow]]\nproject = '{}'\nssh = ['127.0.0.2']\n", work.display()));
        host.fetch(&[]).refused(2, &[ssh]);
        world.configure(&format!("[[allow]]\nproject = '{}'\nssh = ['127.0.0.1']\n", work.display()));
        host.fetch(&[]).refused(1, &["git cannot fetch"]);
        world.configure("");
    }
    // Which file it is would tell whether the host has one of this digest.
    let sha256 = host.hex();
    let toolchain = |emulator: &str| {
        format!(
            "toolchain = 'x'\n[toolchains.x]\n[toolchains.x.platform.linux-s390x]\nimage = 'a/b'\n{}",
            format_args!("{emulator} = {{ file = '{}/secret.tar', sha256 = '{sha256}' }}\n", host.secret.display())
        )
    };
    let words = "toolchains.x.platform.linux-s390x.emulator.file: read ";
    host.write(&toolchain("emulator"));
    world.hermes(["run", "-p", "s390x", "--", "true"]).output().refused(2, &[words]);
    world.hermes(["fetch", "-p", "s390x"]).output().refused(2, &[words]);
    let allowed = world.hermes(["--allow-project", "run", "-p", "s390x", "--", "true"]).output();
    assert!(!allowed.stderr.contains(words) && allowed.stderr.contains("secret.tar"), "{}", allowed.stderr);
    host.assert_untouched("emulator");
}

/// The network namespace that a run is in.
fn net(world: &TestContext, words: &[&str]) -> Output {
    world.hermes([words, &["run", "--image", MIN, "--", "readlink", "/proc/self/ns/net"]].concat()).output()
}

#[test]
fn the_hosts_network() {
    let Some(world) = TestContext::fixtures() else { return };
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let own = own.to_str().unwrap();
    world.write("hermes.toml", "[build]\nnet = 'host'\n");
    let words = ["build.net: use the host's network", "--net host", "hermes allow"];
    net(&world, &[]).refused(2, &words);
    net(&world, &["--locked"]).refused(2, &words);
    for verb in
        [&["rebuild", "--check", "--image", MIN, "--", "true"][..], &["run", "--isolation", "landlock", "--", "x"]]
    {
        world.hermes(verb).output().refused(2, &words);
    }
    // An option that decides about it asks for nothing else.
    let with = |option: &str| {
        world.hermes(["run", "--image", MIN, "--net", option, "--", "readlink", "/proc/self/ns/net"]).output().ok()
    };
    assert_eq!(with("host"), own);
    assert_ne!(with("none"), own);
    let output = net(&world, &["--allow-project"]);
    assert_eq!(output.ok(), own);
    assert!(!output.stderr.contains("you have allowed"), "{}", output.stderr);
    net(&world, &[]).refused(2, &words);
    world.configure(&format!("[[allow]]\nproject = '{}'\nnet = 'host'\n", world.path().display()));
    assert_eq!(net(&world, &[]).ok(), own);
    world.configure("");
    world.hermes(["allow"]).ok();
    let output = net(&world, &[]);
    assert_eq!(output.ok(), own);
    assert!(output.stderr.contains("you have allowed") && output.stderr.contains(words[0]), "{}", output.stderr);
    // From a directory below, it is the same project.
    fs::create_dir(world.work().join("sub")).unwrap();
    let sub =
        world.hermes(["run", "--image", MIN, "--", "readlink", "/proc/self/ns/net"]).dir(&world.work().join("sub"));
    assert_eq!(sub.ok(), own);
}

#[test]
fn a_recorded_run_and_a_lock_ask_too() {
    let Some(world) = TestContext::fixtures() else { return };
    let built = |options: &[&str]| {
        let words = [options, &["run", "--image", MIN, "--output", "out", "--", "sh", "-c", "echo x >out"]].concat();
        world.hermes(words).output()
    };
    let again = |options: &[&str]| world.hermes([options, &["rebuild", "--check"]].concat()).output();
    // What an option said holds for the record as well.
    built(&["--quiet"]).exits(0);
    again(&[]).exits(0);
    world.write("hermes.toml", "[build]\nnet = 'host'\n");
    built(&["--allow-project"]).exits(0);
    let record: Value = world.json(&["log", "show"]);
    assert_eq!((&record["network"], &record["request"]["network"]), (&"host".into(), &Value::Null));
    again(&[]).refused(2, &["build.net"]);
    again(&["--allow-project"]).exits(0);
    let output = world.hermes(["bisect", "hermes.lock", "hermes.lock", "--image", MIN, "--", "true"]).output();
    output.refused(2, &["lock identical inputs"]);
    let good = world.read("hermes.lock");
    world.write("good.lock", &good.replace("net = \"host\"", "net = \"none\""));
    world.write("hermes.toml", "");
    let output = world.hermes(["bisect", "good.lock", "hermes.lock", "--image", MIN, "--", "true"]).output();
    output.refused(2, &["build.net: use the host's network"]);
}

#[test]
fn a_yes_at_the_terminal_is_remembered() {
    let host = Host::new(TestContext::empty());
    host.write("[source.x]\nurl = 'file://{}/secret.tar'\n");
    let ask = |answer: &str| {
        let mut pty = Pty::start(host.world.hermes(["source", "fetch"]), (24, 200));
        pty.until("[y/N]");
        pty.type_(answer);
        (pty.wait(), pty.shown())
    };
    for answer in ["\n", "n\n", "what?\n"] {
        let (code, shown) = ask(answer);
        assert!(code == 2 && shown.contains("source.x.url: read"), "{shown}");
        host.assert_untouched(answer);
    }
    assert_eq!(ask("y\n").0, 0);
    // From now on without a question, and without a terminal.
    let mut pty = Pty::start(host.world.hermes(["source", "fetch"]), (24, 200));
    assert_eq!(pty.wait(), 0, "{}", pty.shown());
    host.fetch(&[]).exits(0);
}

#[test]
fn what_is_added_on_the_command_line_is_allowed() {
    let host = Host::new(TestContext::empty());
    let world = &host.world;
    host.write("");
    let url = format!("file://{}/secret.tar", host.secret.display());
    world.hermes(["source", "add", &url, "--name", "x"]).ok();
    host.fetch(&[]).exits(0);
    // It does not allow the rest.
    host.write("[build]\nnet = 'host'\n");
    world.hermes(["source", "add", &url, "--name", "y"]).ok();
    host.fetch(&[]).refused(2, &["source.y.url"]);
}

/// Where a user has no home, the current directory is not one.
#[test]
fn a_project_is_no_home() {
    let host = Host::new(TestContext::empty());
    host.write("[source.x]\nurl = 'file://{}/secret.tar'\n");
    let rule = format!("[[allow]]\nproject = '/'\nread = ['{}']\n", host.secret.display());
    for place in ["hermes/config.toml", ".config/hermes/config.toml"] {
        host.world.write(place, &rule);
    }
    let fetch = || host.world.hermes(["source", "fetch"]).env("XDG_CONFIG_HOME", ".").env("XDG_STATE_HOME", ".");
    fetch().env("HOME", "").output().refused(2, &["source.x.url"]);
    fetch().output().refused(2, &["source.x.url"]);
}
