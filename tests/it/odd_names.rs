//! Names, arguments and variables of any bytes, and words after the command.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::support::context::{MIN, TestContext};
use crate::support::elf::tiny;

const TINY: &str = "test.invalid/tiny:1";

#[test]
fn a_store_and_a_directory_with_odd_names() {
    for name in
        ["with space", "colon:comma,", "quote\"'\\back", "new\nline", "ünïcode", "equals=x", "-dash", "dollar$HOME"]
    {
        let Some(world) = TestContext::sandbox() else { return };
        let store = world.path().join(name);
        let work = world.work().join(name);
        fs::create_dir(&work).unwrap();
        let layout = world.path().join("layout");
        tiny("odd").write_layout(&layout);
        let hermes = |words: &[&str]| world.hermes(words).env("HERMES_STORE", &store).dir(&work);
        hermes(&["import", "--name", TINY, layout.to_str().unwrap()]).ok();
        let output = hermes(&["run", "--image", TINY, "--", "tool"]).output();
        assert_eq!(output.ok(), "odd amd64", "{name:?}");
    }
}

#[test]
fn arguments_and_variables_are_bytes() {
    let Some(world) = TestContext::fixtures() else { return };
    let odd = OsString::from_vec(b"a\xff\n\"' $x\\".to_vec());
    let mut variable = OsString::from("ODD=");
    variable.push(&odd);
    let words = ["run", "--image", MIN, "-e"].map(OsStr::new);
    let script = ["--", "sh", "-c", "printf '%s|' \"$ODD\" \"$@\"", "sh"].map(OsStr::new);
    let output =
        world.hermes(words).args([&variable]).args(script).args([&odd, OsStr::new(""), OsStr::new("--root")]).output();
    output.exits(0);
    let want = [odd.as_bytes(), b"|", odd.as_bytes(), b"||--root|"].concat();
    assert!(output.stdout == want, "{:?}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn options_after_the_command_are_the_commands() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = |words: &[&str]| world.hermes([&["run", "--image", MIN], words].concat()).ok();
    assert_eq!(run(&["echo", "-x", "--platform", "arm64"]), "-x --platform arm64");
    assert_eq!(run(&["echo", "--", "--help"]), "-- --help");
    assert_eq!(run(&["--", "printf", "%s", "--help"]), "--help");
}
