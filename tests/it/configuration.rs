//! The configuration files of the system and of the user.

use crate::support::context::TestContext;
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;

#[test]
fn the_systems_configuration_is_read_before_the_users() {
    let Some(world) = TestContext::sandbox() else { return };
    let (system, user) = (
        FakeRegistry::serve(tiny("system"), |_, _, reply| reply),
        FakeRegistry::serve(tiny("user"), |_, _, reply| reply),
    );
    let mirror = |fake: &FakeRegistry| format!("[registry.\"docker.io\"]\nmirrors = [\"{}\"]\n", fake.host());
    world.write("../etc/hermes/config.toml", &mirror(&system));
    // Laid over the host's /etc, in a namespace of the test's own.
    let script = "mount -t overlay none -o \"lowerdir=$0:/etc\" /etc && exec \"$@\"";
    let etc = world.path().join("etc");
    let run = |store: &str| {
        let hermes = world.hermes([
            "--store",
            store,
            "run",
            "--lock",
            &format!("{store}.lock"),
            "--image",
            "tiny:1",
            "--",
            "tool",
        ]);
        hermes.under(&["unshare", "-Urm", "sh", "-c", script, etc.to_str().unwrap()]).output()
    };
    assert_eq!(run("a").ok(), "system amd64");
    world.configure(&mirror(&user));
    assert_eq!(run("b").ok(), "user amd64");
    assert_eq!(user.count("/blobs/"), 3);
}
