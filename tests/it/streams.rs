//! Standard streams that are files or devices of the host.

use std::fs;
use std::path::PathBuf;

use crate::support::context::{CROSS, MIN, TestContext};
use crate::support::process::Run;
use crate::support::require;

/// A context with a directory that no sandbox sees, and the words before the command in both kinds of isolation.
fn world() -> Option<(TestContext, PathBuf, Vec<Vec<&'static str>>)> {
    let world = TestContext::fixtures()?;
    let hidden = world.path().join("hidden");
    fs::create_dir(&hidden).unwrap();
    let mut kinds = vec![vec!["--quiet", "run", "--image", MIN, "--"]];
    let abi = hermes::testing::sys::process::landlock_abi();
    if require("landlock", if abi > 0 { Ok(()) } else { Err("no landlock in this kernel".into()) }) {
        kinds.push(vec!["--quiet", "run", "--isolation", "landlock", "--image", CROSS, "--"]);
    }
    Some((world, hidden, kinds))
}

/// The command with its streams redirected by the shell: `exec "$@" REDIRECTIONS`.
fn redirected(world: &TestContext, words: &[&str], script: &str, redirections: &str) -> Run {
    let run = world.hermes([words, &["sh", "-c", script]].concat());
    run.under(&["sh", "-c", &format!("exec \"$@\" {redirections}"), "sh"])
}

#[test]
fn files_can_be_opened_by_the_names_of_streams() {
    let Some((world, hidden, kinds)) = world() else { return };
    let file = |name: &str| hidden.join(name);
    let (out, err, input) = (file("out"), file("err"), file("in"));
    let (to, from) = (format!(">{} 2>{}", out.display(), err.display()), format!("<{}", input.display()));
    fs::write(&input, "typed\n").unwrap();
    for words in &kinds {
        let run = |script: &str, redirections: &str| redirected(&world, words, script, redirections).ok();
        run("echo named >/dev/stdout; echo error >/dev/stderr", &to);
        assert_eq!(fs::read_to_string(&out).unwrap(), "named\n", "{words:?}");
        assert_eq!(fs::read_to_string(&err).unwrap(), "error\n", "{words:?}");
        run("echo both | tee -a /proc/self/fd/2 /dev/fd/1 >/dev/null", &to);
        assert_eq!(fs::read_to_string(&err).unwrap(), "both\n", "{words:?}");
        // As outside, the file is opened again: truncated, or appended to.
        run("echo first; echo second >>/dev/stdout; : >/dev/stderr", &to);
        assert_eq!(fs::read_to_string(&out).unwrap(), "first\nsecond\n", "{words:?}");
        assert_eq!(run("cat /dev/stdin; cat /proc/self/fd/0 /dev/fd/0", &from), "typed\ntyped\ntyped", "{words:?}");
        // All three are files, as in a batch job.
        run("cat /dev/stdin | tee /dev/stderr >/dev/stdout", &format!("{from} {to}"));
        assert_eq!(fs::read_to_string(&out).unwrap(), "typed\n", "{words:?}");
        // Devices, and a file of no known user.
        run("echo lost >/dev/stdout; cat /dev/stdin", "</dev/null >/dev/null");
        assert_eq!(run("cat /dev/stdin | wc -c", "</dev/null"), "0", "{words:?}");
    }
}

#[test]
fn a_stream_is_opened_for_no_more_than_it_allows() {
    let Some((world, hidden, kinds)) = world() else { return };
    let (input, out) = (hidden.join("in"), hidden.join("out"));
    let beside = hidden.join("beside");
    fs::write(&beside, "beside").unwrap();
    for words in &kinds {
        fs::write(&input, "kept").unwrap();
        let redirections = format!("<{} >{}", input.display(), out.display());
        for attempt in [
            "echo changed >/proc/self/fd/0",
            "echo changed >>/dev/stdin",
            ": >/dev/stdin",
            "cat /dev/stdout",
            "sh -c : <>/proc/self/fd/0",
            "sh -c : <>/dev/stdout",
        ] {
            let output = redirected(&world, words, &format!("({attempt}) 2>/dev/null"), &redirections).output();
            assert_ne!(output.code(), 0, "{attempt} with {words:?}");
            assert_eq!(fs::read_to_string(&input).unwrap(), "kept", "{attempt} with {words:?}");
        }
        // A descriptor that only names a file allows nothing.
        let perl = "use Fcntl; sysopen(F, shift, 010000000) or die; open(STDIN, '<&', \\*F) or die; exec @ARGV";
        let run = world.hermes([&words[..], &["sh", "-c", "cat /dev/stdin || cat /proc/self/fd/0"]].concat());
        let output = run.under(&["perl", "-e", perl, beside.to_str().unwrap()]).output();
        assert!(!output.text().contains("beside"), "{words:?}");
        assert_ne!(output.code(), 0, "{words:?}");
    }
}

/// `TIOCGPTN`, `mknod` and whatever else makes a new device of a descriptor: none is opened by name.
#[test]
fn a_device_that_is_made_anew_by_opening_it_cannot_be() {
    let Some((world, _, kinds)) = world() else { return };
    if !require("ptmx", fs::metadata("/dev/ptmx").map(drop).map_err(|error| error.to_string())) {
        return;
    }
    for words in kinds.iter().skip(1) {
        let output = redirected(&world, words, "exec 3<>/proc/self/fd/0", "<>/dev/ptmx").output();
        assert_ne!(output.code(), 0, "{words:?}");
    }
}
