//! Pipes, devices and directories in the place of files that hermes reads, or as standard streams: hermes refuses them at once.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::support::context::{MIN, TestContext};
use crate::support::kernel;
use crate::support::process::{Output, Run};

const SECRET: &str = "hunter2-SECRET";

/// Puts each kind of odd file at `path`, and does `then` with what it is called.
fn odd(path: &Path, secret: &Path, mut then: impl FnMut(&str)) {
    type Make<'a> = &'a dyn Fn();
    let kinds: [(&str, Make); 5] = [
        ("a FIFO", &|| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()),
        ("a symbolic link", &|| symlink(secret, path).unwrap()),
        ("a symbolic link", &|| symlink("/dev/zero", path).unwrap()),
        ("a symbolic link", &|| symlink(path, path).unwrap()),
        ("a directory", &|| fs::create_dir(path).unwrap()),
    ];
    for (what, make) in kinds {
        make();
        then(what);
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    }
}

#[track_caller]
fn refused(output: &Output, code: i32, what: &str) {
    assert_eq!(output.code(), code, "{what}: {}", output.stderr);
    assert!(output.stderr.contains(&format!("it is {what}, not a regular file")), "{what}: {}", output.stderr);
    assert!(!output.stderr.contains(SECRET), "{}", output.stderr);
}

#[test]
fn of_the_project() {
    let Some(world) = TestContext::with_debian() else { return };
    let secret = world.write("../secret", &format!("password = \"{SECRET}\"\n"));
    let run = || world.sh(&["--quiet"], "true");
    let toml = world.work().join("hermes.toml");
    odd(&toml, &secret, |what| refused(&run().output(), 125, what));

    // Once there was a lock, its path is remembered, and read by whoever collects what nobody needs.
    world.write("hermes.toml", "");
    run().ok();
    let lock = world.work().join("hermes.lock");
    fs::remove_file(&lock).unwrap();
    let elsewhere = world.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    odd(&lock, &secret, |what| {
        refused(&run().output(), 125, what);
        // A link that leads nowhere is no lock.
        if fs::metadata(&lock).is_ok() {
            refused(&world.hermes(["gc", "--dry-run"]).dir(&elsewhere).output(), 1, what);
            let text = world.hermes(["df"]).dir(&elsewhere).ok();
            assert!(text.contains("cannot determine what") && !text.contains(SECRET), "{what}: {text}");
        }
    });
    // So is what is locked beside it, before the lock is written.
    let flock = world.work().join(".hermes.lock.flock");
    fs::remove_file(&flock).unwrap();
    odd(&flock, &secret, |what| {
        let output = run().output();
        assert_eq!(output.code(), 125, "{what}: {}", output.stderr);
        assert!(output.stderr.contains("not a regular file"), "{what}: {}", output.stderr);
        assert!(!lock.exists());
    });
    // What is put right is right.
    run().ok();
    assert_eq!(fs::read_to_string(secret).unwrap(), format!("password = \"{SECRET}\"\n"));
}

#[test]
fn a_lock_that_somebody_keeps_is_not_waited_for_without_end() {
    let Some(world) = TestContext::with_debian() else { return };
    world.write("hermes.toml", "");
    let file = fs::File::create(world.work().join(".hermes.lock.flock")).unwrap();
    file.lock().unwrap();
    world.sh(&["--quiet"], "true").ok();
    assert!(world.work().join("hermes.lock").exists());
}

/// With `file` as standard input.
fn fed(mut run: Run, file: OwnedFd) -> (Option<i32>, String) {
    let output = run.command.stdin(Stdio::from(file)).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn directories_as_standard_streams_lead_nowhere() {
    let Some(world) = TestContext::fixtures() else { return };
    let hosts: &[&str] = if kernel::available() { &["", "4.18"] } else { &[""] };
    for host in hosts {
        let run = || {
            let run = world.hermes(["run", "--image", MIN, "--", "true"]);
            if host.is_empty() {
                return run;
            }
            let words = kernel::words(host);
            run.under(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let open = |path: &str, flags| rustix::fs::open(path, flags, Mode::empty()).unwrap();
        for (path, flags) in [("/", OFlags::RDONLY), ("/", OFlags::PATH), ("/etc/passwd", OFlags::PATH)] {
            let (code, stderr) = fed(run(), open(path, flags));
            assert_eq!(code, Some(125), "{host} {path}: {stderr}");
            assert!(stderr.contains("standard input") && stderr.contains("</dev/null"), "{stderr}");
        }
        let (code, stderr) = fed(run(), open("/etc/passwd", OFlags::RDONLY));
        assert_eq!(code, Some(0), "{host}: {stderr}");
        // As standard error, of which nothing can be said.
        let quiet = run().under(&["sh", "-c", "exec \"$@\" 2</", "sh"]);
        assert_eq!(quiet.output().code(), 125, "{host}");
    }
}

#[test]
fn without_namespaces_too() {
    let Some(world) = TestContext::fixtures() else { return };
    let words = ["run", "--isolation", "landlock", "--image", crate::support::context::CROSS, "--", "true"];
    let (code, stderr) = fed(world.hermes(words), rustix::fs::open("/", OFlags::RDONLY, Mode::empty()).unwrap());
    assert_eq!(code, Some(125), "{stderr}");
    assert!(stderr.contains("standard input"), "{stderr}");
}
