//! Many processes at once on one store, some of which are killed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::context::TestContext;
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::process::{Output, Run, Running};
use crate::support::real_registry::{self, RealRegistry};

const MANY: usize = 32;
const NAME: &str = "test.invalid/many:1";

/// Starts the same command so many times at once.
fn at_once(command: &dyn Fn() -> Run) -> Vec<Output> {
    let all: Vec<_> = (0..MANY).map(|_| command().start()).collect();
    all.into_iter().map(Running::wait).collect()
}

/// Does the same, kills every third process after some time, and returns the outputs of all.
fn killing_some(command: &dyn Fn() -> Run) -> Vec<Output> {
    let (mut victims, mut others) = (vec![], vec![]);
    for number in 0..MANY {
        let running = command().start();
        if number % 3 > 0 {
            others.push(running);
            continue;
        }
        victims.push(std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(number as u64 * 37 % 60));
            running.signal(Signal::KILL);
            running.wait()
        }));
    }
    let victims: Vec<_> = victims.into_iter().map(|victim| victim.join().unwrap().code()).collect();
    // Some may have come to their end before.
    assert!(victims.iter().all(|code| [0, -9].contains(code)), "{victims:?}");
    say(&format!("killed {} of {MANY}", victims.iter().filter(|code| **code != 0).count()));
    others.into_iter().map(Running::wait).collect()
}

#[expect(clippy::print_stdout, reason = "how it went is worth knowing")]
fn say(line: &str) {
    println!("{line}");
}

#[test]
fn many_at_once_pull_and_run() {
    let Some(world) = TestContext::in_memory() else { return };
    if !real_registry::available() {
        return;
    }
    let registry = RealRegistry::start(world.path(), None);
    registry.push("lib/many", &tiny("many"));
    let image = format!("{}/lib/many:1", registry.host());
    let pull = || world.hermes(["pull", "--quiet", "--json", &image]);
    let run = || world.hermes(["run", "--quiet", "--image", &image, "--", "tool"]);
    let bytes = |output: &Output| {
        let json: serde_json::Value = serde_json::from_str(&output.ok()).unwrap();
        json[0]["bytes"].as_u64().unwrap()
    };
    let sizes: Vec<u64> = at_once(&pull).iter().map(bytes).collect();
    let (whole, all) = (sizes.iter().max().unwrap(), sizes.iter().sum::<u64>());
    assert!(*whole > 200_000, "nobody fetched the image: {sizes:?}");
    say(&format!("{MANY} pulls fetched {all} bytes in all, at most {whole} each"));
    assert_consistent(world.store(), "after pulls");
    assert_no_orphans(world.store(), "after pulls");
    assert_eq!(bytes(&pull().output()), 0, "there is something left to fetch");
    for output in at_once(&run) {
        assert_eq!(output.ok(), "many amd64");
    }

    hermes::testing::fs::remove::path(world.store()).unwrap();
    for output in killing_some(&pull) {
        output.ok();
    }
    assert_consistent(world.store(), "after pulls, some of them killed");
    pull().ok();
    assert_eq!(run().ok(), "many amd64");
    assert_consistent(world.store(), "in the end");
    // A run that has everything unpacks nothing, and therefore does not clean up either.
    let _ = world.import(&tiny("next"), NAME);
    assert_no_orphans(world.store(), "in the end");
}

#[test]
fn many_at_once_run_an_image_that_was_never_run() {
    let Some(world) = TestContext::in_memory() else { return };
    let run = || world.hermes(["run", "--quiet", "--image", NAME, "--", "tool"]);
    for killing in [false, true] {
        for name in ["store", "state"] {
            hermes::testing::fs::remove::path(&world.path().join(name)).unwrap();
        }
        let _ = world.import(&tiny("many"), NAME);
        for output in if killing { killing_some(&run) } else { at_once(&run) } {
            assert_eq!(output.ok(), "many amd64");
        }
        assert_consistent(world.store(), "after runs");
        assert_eq!(world.hermes(["--locked", "run", "--quiet", "--image", NAME, "--", "tool"]).ok(), "many amd64");
        let _ = world.import(&tiny("next"), "test.invalid/next:1");
        assert_no_orphans(world.store(), "after runs");
    }
}

#[test]
fn several_first_runs_at_once_from_a_registry() {
    let Some((world, registry)) = TestContext::with_registry("shared") else { return };
    let image = format!("{}/lib/tiny:1", registry.host());
    let runs: Vec<_> = (0..6).map(|_| world.hermes(["run", "--image", &image, "--", "tool"]).start()).collect();
    for run in runs {
        assert_eq!(run.wait().ok(), "shared amd64");
    }
    assert_eq!(world.stored("tmp"), Vec::<String>::new());
    assert_eq!(world.stored("layers").len(), 2);
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_that_counts() {
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        let Some(world) = TestContext::sandbox() else { return };
        // The first time, the large layer does not end.
        let slow = FakeRegistry::serve(tiny("again"), |seen, count, reply| {
            let endless = count == 0 && seen.path.contains("/blobs/") && reply.body.len() > 10_000;
            if endless { reply.stall(Duration::from_secs(60)) } else { reply }
        });
        let image = format!("{}/lib/tiny:1", slow.host());
        let run = world.hermes(["run", "--image", &image, "--", "tool"]).start();
        let limit = Instant::now() + Duration::from_secs(20);
        // Index, manifest, config and the small layer, which waits unpacked for the large one.
        while world.stored("blobs/sha256").len() < 4 {
            assert!(Instant::now() < limit, "the small layer does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
        run.signal(signal);
        run.wait().exits(-signal.as_raw());
        assert_eq!(world.stored("refs"), Vec::<String>::new());
        assert!(!world.image_lock(&image).exists());
        assert_eq!(world.hermes(["run", "--image", &image, "--", "tool"]).ok(), "again amd64");
        // What the dead one left was swept away.
        assert_eq!(world.stored("tmp"), Vec::<String>::new());
    }
}
