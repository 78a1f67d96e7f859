//! hermes in the job steps of Slurm.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::confine::processes;
use crate::support::context::{MIN, TestContext};
use crate::support::elf::tiny;
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::process::Run;
use crate::support::pty::Pty;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{require, which};

/// A Slurm of one node; stopped when dropped.
struct Slurm {
    directory: PathBuf,
}

impl Slurm {
    /// Starts a cluster of this host in `directory`. `None` where Slurm is not installed.
    fn start(directory: &Path) -> Option<Self> {
        let there = ["srun", "scancel", "python3"].into_iter().try_for_each(|name| which(name).map(drop));
        if !require("slurm", there) {
            return None;
        }
        let slurm = Self { directory: directory.to_owned() };
        slurm.script("start");
        Some(slurm)
    }

    fn script(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm");
        let output = Run::new("bash").args([script.as_os_str(), verb.as_ref(), self.directory.as_os_str()]).output();
        output.exits(0);
    }

    /// `run` as a step of a job.
    fn srun(&self, options: &[&str], run: Run) -> Run {
        self.with(run).under(&[&["srun"], options].concat())
    }

    fn with(&self, run: Run) -> Run {
        run.env("SLURM_CONF", self.directory.join("slurm.conf"))
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.script("stop");
    }
}

#[test]
fn tasks_share_a_store_that_none_has_filled() {
    let Some(world) = TestContext::in_memory() else { return };
    if !real_registry::available() {
        return;
    }
    let Some(slurm) = Slurm::start(&world.path().join("slurm")) else { return };
    let registry = RealRegistry::start(world.path(), None);
    registry.push("lib/task", &tiny("task"));
    let image = format!("{}/lib/task:1", registry.host());
    let run = world.hermes(["run", "--quiet", "--image", &image, "--", "tool"]);
    assert_eq!(slurm.srun(&["-n", "4"], run).ok(), ["task amd64"; 4].join("\n"));
    assert_consistent(world.store(), "after a step of four tasks");
    let _ = world.import(&tiny("next"), "test.invalid/next:1");
    assert_no_orphans(world.store(), "after a step of four tasks");
}

#[test]
fn a_step_ends_as_its_command_and_a_cancelled_one_leaves_nothing() {
    let Some(world) = TestContext::fixtures() else { return };
    let Some(slurm) = Slurm::start(&world.path().join("slurm")) else { return };
    let step = |script: &str| slurm.srun(&["-n", "2", "--quiet"], world.sh(&["--quiet"], script));
    assert_eq!(step("echo in a step").ok(), "in a step\nin a step");
    step("exit 7").output().exits(7);
    assert_eq!(slurm.srun(&[], world.sh(&["--quiet"], "cat")).input(b"through srun\n").ok(), "through srun");

    // A command that heeds SIGTERM, and one that has to be killed.
    for (script, name) in [("exec sleep", "heeds"), ("trap '' TERM; setsid sleep 4000 & sleep", "does-not")] {
        let marker = format!("26{}{}", std::process::id(), name.len());
        let run = world.sh(&["--quiet"], &format!("echo ready; {script} {marker}"));
        let running = slurm.srun(&["-n", "2", "--job-name", name], run).start();
        running.until("ready\nready");
        slurm.with(Run::new("scancel").args(["--name", name])).output().exits(0);
        // What srun ends with then is Slurm's business.
        let _ = running.wait();
        let limit = Instant::now() + Duration::from_secs(60);
        while processes(&marker) > 0 {
            assert!(
                Instant::now() < limit,
                "{} processes are left of the job that {name} heed SIGTERM",
                processes(&marker)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    // A terminal.
    let run = world.hermes([
        "run",
        "--quiet",
        "--image",
        MIN,
        "--",
        "sh",
        "-c",
        "tty; stty size; read line; echo got-$line; exit 5",
    ]);
    let mut pty = Pty::start(slurm.srun(&["--pty", "--quiet"], run.env("TERM", "xterm")), (33, 99));
    pty.until("/dev/pts/0");
    pty.until("33 99");
    pty.type_("keys\n");
    pty.until("got-keys");
    assert_eq!(pty.wait(), 5, "{}", pty.shown());
}
