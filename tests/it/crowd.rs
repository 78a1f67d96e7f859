//! Many at once on one store, and some of them killed.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::distribution::{self, Distribution};
use crate::support::elf::tiny;
use crate::support::process::{Output, Run, Running};
use crate::support::require;
use crate::support::sound::{assert_no_litter, assert_sound};
use crate::support::world::World;

const CROWD: usize = 32;
const NAME: &str = "test.invalid/crowd:1";

/// Starts the same command so many times at once.
fn at_once(command: &dyn Fn() -> Run) -> Vec<Output> {
    let all: Vec<_> = (0..CROWD).map(|_| command().start()).collect();
    all.into_iter().map(Running::wait).collect()
}

/// The same, and kills every third after some time; what became of the others.
fn killing_some(command: &dyn Fn() -> Run) -> Vec<Output> {
    let (mut victims, mut others) = (vec![], vec![]);
    for number in 0..CROWD {
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
    say(&format!("killed {} of {CROWD}", victims.iter().filter(|code| **code != 0).count()));
    others.into_iter().map(Running::wait).collect()
}

#[expect(clippy::print_stdout, reason = "how it went is worth knowing")]
fn say(line: &str) {
    println!("{line}");
}

#[test]
fn a_crowd_pulls_and_runs() {
    let Some(world) = World::in_memory() else { return };
    if !require("registry", distribution::available()) {
        return;
    }
    let registry = Distribution::start(world.path(), None);
    registry.push("lib/crowd", &tiny("crowd"));
    let image = format!("{}/lib/crowd:1", registry.host());
    let pull = || world.hermes(["pull", "--quiet", "--json", &image]);
    let run = || world.hermes(["run", "--quiet", "--image", &image, "--", "tool"]);
    let bytes = |output: &Output| {
        let json: serde_json::Value = serde_json::from_str(&output.ok()).unwrap();
        json[0]["bytes"].as_u64().unwrap()
    };
    let sizes: Vec<u64> = at_once(&pull).iter().map(bytes).collect();
    let (whole, all) = (sizes.iter().max().unwrap(), sizes.iter().sum::<u64>());
    assert!(*whole > 200_000, "nobody fetched the image: {sizes:?}");
    say(&format!("{CROWD} pulls fetched {all} bytes in all, at most {whole} each"));
    assert_sound(world.store(), "after pulls");
    assert_no_litter(world.store(), "after pulls");
    assert_eq!(bytes(&pull().output()), 0, "there is something left to fetch");
    for output in at_once(&run) {
        assert_eq!(output.ok(), "crowd amd64");
    }

    hermes::testing::fs::remove::path(world.store()).unwrap();
    for output in killing_some(&pull) {
        output.ok();
    }
    assert_sound(world.store(), "after pulls, some of them killed");
    pull().ok();
    assert_eq!(run().ok(), "crowd amd64");
    assert_sound(world.store(), "in the end");
    // Who has everything makes nothing, and so has no reason to tidy up.
    let _ = world.import(&tiny("next"), NAME);
    assert_no_litter(world.store(), "in the end");
}

#[test]
fn a_crowd_runs_what_nobody_has_run_before() {
    let Some(world) = World::in_memory() else { return };
    let run = || world.hermes(["run", "--quiet", "--image", NAME, "--", "tool"]);
    for killing in [false, true] {
        for name in ["store", "state"] {
            hermes::testing::fs::remove::path(&world.path().join(name)).unwrap();
        }
        let _ = world.import(&tiny("crowd"), NAME);
        for output in if killing { killing_some(&run) } else { at_once(&run) } {
            assert_eq!(output.ok(), "crowd amd64");
        }
        assert_sound(world.store(), "after runs");
        assert_eq!(world.hermes(["--locked", "run", "--quiet", "--image", NAME, "--", "tool"]).ok(), "crowd amd64");
        let _ = world.import(&tiny("next"), "test.invalid/next:1");
        assert_no_litter(world.store(), "after runs");
    }
}
