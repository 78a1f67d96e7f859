//! Which features of the kernel confine a command: they are reported, recorded, and enforced by `--require`.

use crate::support::context::{MIN, TestContext, tool};

#[test]
fn calls_are_filtered_in_every_profile() {
    let Some(world) = TestContext::fixtures() else { return };
    for options in [&[][..], &["--root"], &["--net", "host"]] {
        let text =
            world.sh(options, "grep Seccomp: /proc/self/status; setarch linux32 uname -m; unshare -r true").output();
        assert_eq!(text.text(), "Seccomp:\t2\ni686", "{options:?}");
        assert!(text.stderr.contains("unshare failed: Operation not permitted"), "{options:?}: {}", text.stderr);
    }
}

#[test]
fn what_was_enforced_is_recorded() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("enforced-{}", std::process::id());
    for (options, netns) in [(&["--require", "netns,seccomp,landlock"][..], true), (&["--net", "host"], false)] {
        world.sh(options, &format!("true {marker} {netns}")).ok();
        let record = world.record_with(&format!("true {marker} {netns}"));
        assert_eq!(record["enforced"]["seccomp"], true, "{record}");
        assert_eq!(record["enforced"]["netns"], netns, "{record}");
    }
}

#[test]
fn what_is_required_and_not_had_ends_the_run_before_it_begins() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = |feature: &str, more: &[&str]| {
        world.hermes(
            [&["run", "--image", MIN, "--require", feature][..], more, &["--", "sh", "-c", "echo ran"]].concat(),
        )
    };
    let output = run("netns", &["--net", "host"]).output();
    output.refused(125, &["does not enforce netns", "--net host shares"]);
    assert_eq!(output.text(), "");
    run("magic", &[]).output().refused(2, &["invalid value 'magic'"]);
    if !tool("strace") {
        return;
    }
    for (feature, call, error) in [
        ("seccomp", "seccomp", "EINVAL"),
        ("seccomp", "seccomp", "ENOSYS"),
        ("landlock", "landlock_create_ruleset", "ENOSYS"),
    ] {
        let without = |feature: &str| {
            run(feature, &[]).strace(&world.path().join("trace"), &format!("inject={call}:error={error}")).output()
        };
        let output = without(feature);
        output.refused(125, &[&format!("does not enforce {feature}"), "hermes doctor"]);
        assert_eq!(output.text(), "");
        // Not required, it is done without.
        assert_eq!(without("netns").exits(0).text(), "ran");
    }
}
