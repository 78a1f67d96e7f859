//! Directories that are exchanged with others while hermes uses them: hermes keeps to what it opened.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::context::{MIN, TestContext};
use crate::support::process::Run;

/// What no run may show.
const CANARY: &str = "canary-of-the-victim";

/// Exchanges two names until it is dropped.
struct Exchanger {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchanger {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                std::thread::sleep(Duration::from_micros(700));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A project, and beside it a link to the home of a victim, who stands in the project.
struct Scene {
    world: TestContext,
    /// The project, under whichever name it has now.
    project: File,
}

impl Scene {
    fn new(world: TestContext) -> Self {
        let [project, home] = ["proj", "victim"].map(|name| world.work().join(name));
        for (place, file) in [(&project, "README"), (&home, CANARY)] {
            fs::create_dir(place).unwrap();
            fs::write(place.join(file), "").unwrap();
        }
        fs::write(project.join("hermes.toml"), format!("[toolchains.own.platform.amd64]\nimage = '{MIN}'\n")).unwrap();
        symlink(&home, world.work().join("link")).unwrap();
        let project = File::open(project).unwrap();
        Self { world, project }
    }

    /// The directory that the victim stands in.
    fn here(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.project.as_raw_fd()).into()
    }

    fn exchange(&self) -> Exchanger {
        Exchanger::start(self.world.work().join("proj"), self.world.work().join("link"))
    }

    /// hermes, started in the project itself.
    fn hermes(&self, words: &[&str]) -> Run {
        self.world.hermes(words).dir(&self.here())
    }

    /// The victim's home has nothing that was not there.
    fn is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.world.work().join("victim")).unwrap().map(Result::unwrap).collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_working_directory_is_the_one_hermes_was_started_in() {
    let Some(world) = TestContext::fixtures() else { return };
    let scene = Scene::new(world);
    let exchanger = scene.exchange();
    for number in 0..140 {
        let output = scene.hermes(&["run", "--quiet", "--image", MIN, "--", "ls", "/work"]).output();
        let text = output.ok();
        assert!(text.contains("README") && !text.contains(CANARY), "run {number}: {text}");
    }
    drop(exchanger);
    scene.is_untouched();
}

#[test]
fn a_command_in_another_sandbox_cannot_exchange_it() {
    let Some(world) = TestContext::fixtures() else { return };
    let scene = Scene::new(world);
    // All of it is the other run's project.
    let exchange = r#"
        chomp(my $machine = `uname -m`);
        my $number = $machine eq "x86_64" ? 316 : 276;
        my ($one, $other) = ("proj", "link");
        open(my $begun, ">", "begun");
        until (-e "stop") {
            syscall($number, -100, $one, -100, $other, 2) == 0 or die "renameat2: $!";
            select(undef, undef, undef, 0.0007);
        }
    "#;
    let attacker = scene.world.hermes(["run", "--quiet", "--image", MIN, "--", "perl", "-e", exchange]).start();
    while !scene.world.work().join("begun").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for number in 0..80 {
        let output = scene.hermes(&["run", "--quiet", "--image", MIN, "--", "ls", "/work"]).output();
        let text = output.ok();
        assert!(text.contains("README") && !text.contains(CANARY), "run {number}: {text}");
    }
    scene.world.write("stop", "");
    attacker.wait().exits(0);
    scene.is_untouched();
}

#[test]
fn outputs_are_those_of_the_project_that_was_built() {
    let Some(world) = TestContext::fixtures() else { return };
    let scene = Scene::new(world);
    let out = scene.world.work().join("victim/out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("product"), CANARY).unwrap();
    let exchanger = scene.exchange();
    let mut trees = Vec::new();
    for number in 0..20 {
        let build = format!("mkdir -p out; echo made >out/product; : {number}");
        let words = ["run", "--quiet", "--image", MIN, "--output", "out", "--", "sh", "-c", &build];
        scene.hermes(&words).output().exits(0);
        let record = scene.world.record_with(&format!("out/product; : {number}\""));
        trees.push((record["project"]["tree"].clone(), record["outputs"][0]["tree"].clone()));
    }
    drop(exchanger);
    assert!(trees.iter().all(|tree| tree == &trees[0]), "{trees:?}");
    assert_eq!(fs::read_to_string(out.join("product")).unwrap(), CANARY);
    assert_eq!(names(&scene.world.work().join("victim")).len(), 2);
}
