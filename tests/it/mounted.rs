//! `[run] mount` of `hermes.toml`: a command started in a subdirectory gets the whole project.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::context::{MIN, TestContext};
use crate::support::process::Run;

const FILE: &str = "[run]\nmount = 'project'\n";

/// `hermes run` in a directory of the project.
fn sh(world: &TestContext, directory: &str, options: &[&str], script: &str) -> Run {
    world.sh(&[&["--quiet"], options].concat(), script).dir(&world.work().join(directory))
}

/// A project with subdirectories, whose file is this user's alone.
fn project(text: &str) -> Option<TestContext> {
    let world = TestContext::fixtures()?;
    world.write("sub/deep/file", "deep");
    world.write("top", "top");
    let file = world.write("hermes.toml", text);
    fs::set_permissions(world.work(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    Some(world)
}

#[test]
fn all_of_the_project_from_below_it() {
    let Some(world) = project(FILE) else { return };
    assert_eq!(
        sh(&world, "sub/deep", &[], "pwd; cat file ../../top; echo x >../../made").ok(),
        "/work/sub/deep\ndeeptop"
    );
    assert!(world.work().join("made").exists());
    // The store, and so the records, may be those of other tests.
    let record = world.record_with(&format!("\"project\":{{\"path\":\"{}\"", world.work().display()));
    assert_eq!(record["request"]["directory"], "/work/sub/deep");
    assert_eq!(sh(&world, ".", &[], "pwd; cat top").ok(), "/work\ntop");
    // What the command line says counts.
    assert_eq!(sh(&world, "sub", &["-w", "/"], "pwd").ok(), "/");
    let sub = world.work().join("sub");
    let volume = format!("{}:/work", sub.display());
    assert_eq!(sh(&world, "sub/deep", &["-v", &volume], "pwd; ls").ok(), "/work\ndeep");
    // Twice, each time in a copy of all of it.
    let words = ["rebuild", "--check", "--image", MIN, "--output", "sub/out", "--", "sh", "-c", "cat ../top >out"];
    world.hermes(words).dir(&sub).output().exits(0);
    assert!(!sub.join("out").exists());
}

#[test]
fn without_it_the_current_directory_alone() {
    let Some(world) = project("") else { return };
    assert_eq!(sh(&world, "sub", &[], "pwd; ls").ok(), "/work\ndeep");
}

#[test]
fn a_file_that_others_can_have_written_asks_first() {
    let Some(world) = project(FILE) else { return };
    for (path, mode) in [("hermes.toml", 0o666), (".", 0o777), (".", 0o1777)] {
        let path = world.work().join(path);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = sh(&world, "sub", &[], "true").output();
        refused.refused(2, &["run.mount: read and write all of", "hermes allow"]);
        assert_eq!(sh(&world, "sub", &["--allow-project"], "pwd").ok(), "/work/sub");
        // From the top there is nothing more to ask for.
        assert_eq!(sh(&world, ".", &[], "pwd").ok(), "/work");
        fs::set_permissions(&path, before).unwrap();
    }
}

#[test]
fn a_group_of_ones_own_is_nobody_else() {
    let Some(world) = project(FILE).filter(|_| crate::ownership::private_group()) else { return };
    for path in ["hermes.toml", "."] {
        fs::set_permissions(world.work().join(path), fs::Permissions::from_mode(0o775)).unwrap();
    }
    assert_eq!(sh(&world, "sub", &[], "pwd").ok(), "/work/sub");
}
