//! Hosts that lack something, by calls that strace(1) makes fail.

use crate::support::process::Run;
use crate::support::world::{MIN, World, tool};

/// A world, where calls can be made to fail.
fn world() -> Option<World> {
    tool("strace").then(World::fixtures).flatten()
}

/// Runs it where `call` fails with `error`.
fn without(run: Run, world: &World, call: &str, error: &str) -> Run {
    run.strace(&world.path().join("trace"), &format!("inject={call}:error={error}"))
}

#[test]
fn what_a_run_cannot_do_without_is_named_with_a_remedy() {
    let Some(world) = world() else { return };
    for (call, error, parts) in [
        // A container engine's seccomp profile; a limit of namespaces; a kernel built without.
        (
            "clone",
            "EPERM",
            &["does not let an ordinary user make a user namespace", "seccomp profile", "hermes doctor"][..],
        ),
        ("clone", "ENOSPC", &["does not let an ordinary user make a user namespace", "hint: "]),
        ("clone", "EINVAL", &["does not let an ordinary user make a user namespace", "hint: "]),
        ("mount", "EPERM", &["the sandbox cannot be set up", "mount", "Operation not permitted", "hermes doctor"]),
        ("pivot_root", "EINVAL", &["entering the new root", "hermes doctor"]),
        ("sethostname", "EPERM", &["naming the host", "hermes doctor"]),
    ] {
        let output = without(world.sh(&[], "echo ran"), &world, call, error).output();
        output.refused(125, parts);
    }
}

#[test]
fn a_kernel_without_a_private_binfmt_misc() {
    let Some(world) = World::foreign() else { return };
    if !tool("strace") {
        return;
    }
    let run = world.hermes(["run", "--platform", "arm64", "--", "true"]);
    let output = without(run, &world, "fsopen", "ENODEV").output();
    output.refused(125, &["registering the emulator", "emulation needs a kernel from 6.7", "--toolchain dockcross"]);
    let output = without(world.hermes(["doctor"]), &world, "fsopen", "ENODEV").output();
    let text = output.exits(0).text();
    assert!(
        text.contains("--  private binfmt_misc") && text.contains("-> emulation needs a kernel from 6.7"),
        "{text}"
    );
}

#[test]
fn before_linux_6_6_what_is_written_to_the_root_lies_on_disk() {
    let Some(world) = world() else { return };
    let script = "grep -o 'upperdir=[^,]*' /proc/self/mounts; rm -r /usr/share/base-files && mkdir /usr/share/base-files && ls /usr/share/base-files | wc -l; echo x >/etc/new";
    let run = || world.hermes(["run", "--quiet", "--image", MIN, "--", "sh", "-c", script]);
    let before = world.stored("tmp");
    let output = without(run(), &world, "getxattr", "EOPNOTSUPP").output();
    let text = output.exits(0).text();
    let upper = text.lines().next().unwrap().trim_start_matches("upperdir=").to_owned();
    assert!(upper.contains("/tmp/") && upper.ends_with("/upper"), "{text}");
    assert_eq!(text.lines().nth(1), Some("0"), "{text}");
    assert_eq!(world.stored("tmp"), before, "what the run wrote stays behind");
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
