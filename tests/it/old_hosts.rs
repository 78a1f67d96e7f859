//! Hosts that lack a feature: single system calls fail under strace(1), or those of a whole old kernel (`support::kernel`).

use std::fs;

use rustix::process::Signal;

use crate::support::context::{CROSS, DEBIAN, MIN, TestContext, tool};
use crate::support::elf::tiny;
use crate::support::kernel::{self, HOSTS};
use crate::support::process::Run;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::require;

/// A context, where calls can be made to fail.
fn world() -> Option<TestContext> {
    tool("strace").then(TestContext::fixtures).flatten()
}

/// Runs it where `call` fails with `error`.
fn without(run: Run, world: &TestContext, call: &str, error: &str) -> Run {
    run.strace(&world.path().join("trace"), &format!("inject={call}:error={error}"))
}

#[test]
fn what_a_run_cannot_do_without_is_named_with_a_remedy() {
    let Some(world) = world() else { return };
    for (call, error, parts) in [
        // A container engine's seccomp profile; a limit of namespaces; a kernel built without.
        ("clone", "EPERM", &["does not allow unprivileged user namespaces", "seccomp", "hermes doctor"][..]),
        ("clone", "ENOSPC", &["does not allow unprivileged user namespaces", "hint: "]),
        ("clone", "EINVAL", &["does not allow unprivileged user namespaces", "hint: "]),
        ("mount", "EPERM", &["cannot set up the sandbox", "mount", "Operation not permitted", "hermes doctor"]),
        ("pivot_root", "EINVAL", &["entering the new root", "hermes doctor"]),
        ("sethostname", "EPERM", &["setting the host name", "hermes doctor"]),
    ] {
        let output = without(world.sh(&[], "echo ran"), &world, call, error).output();
        output.refused(125, parts);
    }
}

#[test]
fn a_kernel_without_a_private_binfmt_misc() {
    let Some(world) = TestContext::foreign() else { return };
    if !tool("strace") {
        return;
    }
    let run = world.hermes(["run", "--platform", "arm64", "--emulation", "binfmt", "--", "true"]);
    let output = without(run, &world, "fsopen", "ENODEV").output();
    output.refused(125, &["registering the emulator", "needs Linux 6.7", "--emulation ptrace"]);
    let output = without(world.hermes(["doctor"]), &world, "fsopen", "ENODEV").output();
    let text = output.exits(0).text();
    assert!(text.contains("--  private binfmt_misc") && text.contains("needs Linux 6.7"), "{text}");
}

#[test]
fn before_linux_6_6_what_is_written_to_the_root_lies_on_disk() {
    let Some(world) = world() else { return };
    let script = "grep -o 'upperdir=[^,]*' /proc/self/mounts; rm -r /usr/share/base-files && mkdir /usr/share/base-files && ls /usr/share/base-files | wc -l; echo x >/etc/new";
    let run = || world.hermes(["run", "--quiet", "--image", MIN, "--", "sh", "-c", script]);
    let output = without(run(), &world, "getxattr", "EOPNOTSUPP").output();
    let text = output.exits(0).text();
    let upper = text.lines().next().unwrap().trim_start_matches("upperdir=").to_owned();
    assert!(upper.contains("/tmp/") && upper.ends_with("/upper"), "{text}");
    assert_eq!(text.lines().nth(1), Some("0"), "{text}");
    assert!(!std::path::Path::new(&upper).parent().unwrap().exists(), "what the run wrote stays behind");
    // In memory it does the same.
    let text = run().ok();
    assert_eq!(text.lines().nth(1), Some("0"), "{text}");
    assert!(text.lines().next().unwrap().ends_with("/tmp/upper"), "{text}");
}

#[test]
fn what_an_older_kernel_lacks_and_a_run_can_do_without() {
    let Some(world) = world() else { return };
    for (call, error) in
        [("landlock_create_ruleset", "ENOSYS"), ("landlock_create_ruleset", "EOPNOTSUPP"), ("close_range", "ENOSYS")]
    {
        let run = world.hermes(["run", "--quiet", "--image", MIN, "--", "sh", "-c", "ls /proc/self/fd | wc -l"]);
        let output = without(run, &world, call, error).output();
        // 0, 1, 2, and the directory that ls reads.
        assert_eq!(output.exits(0).text(), "4", "{call} {error}: {}", output.stderr);
    }
}

#[test]
fn files_move_between_directories_where_landlock_would_refuse_it() {
    let abi = hermes::testing::sys::process::landlock_abi();
    let landlock = if abi > 0 { Ok(()) } else { Err("no landlock in this kernel".to_owned()) };
    let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
    if !require("landlock", landlock) {
        return;
    }
    let world = world.on("landlock-1");
    let script = "mkdir a b && echo >a/file && perl -e 'rename(\"a/file\", \"b/file\") or die $!' && ln b/file a/file && \
                  cp -r a /tmp/x && mv /tmp/x /tmp/y && mv /tmp/y/file /tmp && echo moved";
    let run = |options: &[&str]| {
        world.hermes([&["run", "--image", MIN][..], options, &["--", "sh", "-c", script]].concat()).output()
    };
    assert_eq!(run(&[]).ok(), "moved");
    let records = world.records();
    let record = records.lines().rfind(|line| line.contains(world.work().to_str().unwrap())).unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["enforced"]["landlock_abi"], 0, "{record}");
    run(&["--require", "landlock"]).refused(125, &["landlock", "hermes doctor"]);
    let report = world.hermes(["doctor"]).output();
    let text = report.text();
    assert!(text.lines().any(|line| line.starts_with("--  landlock ") && line.contains(" ABI 1, ")), "{text}");
}

/// A project of two programs, one for this machine and one for another.
const MAKEFILE: &str = "\
CC ?= cc
all: $(NAME)
$(NAME): main.o greet.o
\t$(CC) -o $@ $^
%.o: %.c greet.h
\t$(CC) -c -o $@ $<
clean:
\trm -f *.o
";

#[test]
fn the_main_job_on_hosts_that_lack_much() {
    for host in HOSTS {
        let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
        let world = world.on(host);
        world.write("Makefile", MAKEFILE);
        world.write("greet.h", "const char *greet(void);\n");
        world.write("greet.c", "#include \"greet.h\"\nconst char *greet(void) { return \"hello\"; }\n");
        world.write(
            "main.c",
            "#include <stdio.h>\n#include \"greet.h\"\nint main(void) { return puts(greet()) < 0; }\n",
        );
        // A cross compiler, whose variable CC is the image's, and a native one.
        for (image, name, machine) in [(CROSS, "cross", 183_u16), (DEBIAN, "native", 62)] {
            let variable = format!("NAME={name}");
            world.hermes(["run", "--quiet", "--image", image, "--", "make", "clean", "all", &variable]).ok();
            let elf = fs::read(world.work().join(name)).unwrap();
            assert_eq!((&elf[..4], u16::from_le_bytes([elf[18], elf[19]])), (&b"\x7fELF"[..], machine), "{host:?}");
        }
        assert_eq!(world.sh(&["--quiet"], "./native").ok(), "hello", "{host:?}");
        world.sh(&[], "exit 7").output().exits(7);
        world.sh(&[], "kill -TERM $$").output().exits(143);
        let run = world.sh(&[], "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done").start();
        run.until("ready");
        run.signal(Signal::TERM);
        assert_eq!(run.wait().exits(9).text(), "ready\ncaught", "{host:?}");
        world.hermes(["run", "--image", MIN, "--", "no-such-command"]).output().refused(127, &["command not found"]);
    }
}

#[test]
fn pulling_on_hosts_that_lack_much() {
    for host in HOSTS {
        let Some(world) = TestContext::sandbox().filter(|_| kernel::available()) else { return };
        if !real_registry::available() {
            return;
        }
        let world = world.on(host);
        let registry = RealRegistry::start(world.path(), None);
        registry.push("lib/tiny", &tiny("pulled"));
        let image = format!("{}/lib/tiny:1", registry.host());
        world.hermes(["pull", &image]).ok();
        assert_eq!(world.hermes(["run", "--image", &image, "--", "tool"]).ok(), "pulled amd64", "{host:?}");
        world.hermes(["verify"]).ok();
        world.hermes(["gc"]).ok();
        assert_eq!(world.stored("tmp"), Vec::<String>::new());
    }
}

#[test]
fn a_volume_of_many_mounts_is_restricted_mount_by_mount() {
    // Below the volume: a mount with flags of its own, one in it, one that is hidden by another, and odd names.
    let script = r#"
        mount -t tmpfs -o noexec,nosuid tmpfs "$0/a b" && mkdir "$0/a b/in" && mount -t tmpfs tmpfs "$0/a b/in" &&
        mount -t tmpfs tmpfs "$0/over" && mkdir "$0/over/hidden" && mount -t tmpfs tmpfs "$0/over/hidden" &&
        mount -t tmpfs tmpfs "$0/over" && mount --bind "$0/a b" "$0/back\\slash" && exec "$@""#;
    for host in ["", "4.18"] {
        let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
        let world = world.on(host);
        let data = world.path().join("data");
        for name in ["a b", "over", "back\\slash"] {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        let look = "cd /data; for d in . 'a b' 'a b/in' over 'back\\slash'; do touch \"$d/new\" 2>&1 && echo \"wrote $d\"; done; \
            grep ' /data' /proc/self/mounts | cut -d' ' -f2,4";
        let run = |mode: &str| {
            let volume = format!("{}:/data{mode}", data.display());
            let run = world.sh(&["-v", &volume], look);
            run.under(&["unshare", "-Urm", "sh", "-c", script, data.to_str().unwrap()]).output()
        };
        let text = run(":ro").exits(0).text();
        assert_eq!(text.matches("Read-only file system").count(), 5, "{host:?}: {text}");
        // Those that lie under others, which nobody gets at, are left alone where each takes a call of its own.
        let restricted = |line: &&str| line.starts_with("/data") && line.contains(" ro,nosuid,nodev,");
        assert_eq!(text.lines().filter(restricted).count(), if host.is_empty() { 7 } else { 5 }, "{host:?}: {text}");
        assert_eq!(text.matches("noexec").count(), 2, "{host:?}: {text}");
        let text = run("").exits(0).text();
        assert_eq!(text.matches("wrote").count(), 5, "{host:?}: {text}");
    }
}

#[test]
fn a_host_without_user_namespaces_is_refused_with_what_to_ask_for() {
    let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
    let world = world.on("no-userns");
    let output = world.sh(&[], "echo ran").output();
    output.refused(
        125,
        &["does not allow unprivileged user namespaces", "clone: Operation not permitted", "seccomp=unconfined"],
    );
    assert!(!output.stderr.contains("no overlay"), "{}", output.stderr);
    let output = world.hermes(["doctor"]).output();
    let text = output.exits(1).text();
    for step in ["user namespace", "merged tree"] {
        assert!(text.contains(&format!("NO  {step}")), "{text}");
    }
    assert!(text.contains("seccomp=unconfined") && text.ends_with("nothing runs here yet"), "{text}");
}
