//! `hermes run` at a terminal.

use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::support::pty::Pty;
use crate::support::world::{MIN, World, tool};

fn at_terminal(world: &World, command: &[&str]) -> Pty {
    let run = world.hermes([&["run", "--quiet", "--image", MIN, "--"], command].concat());
    Pty::start(run.env("TERM", "xterm-256color"), (33, 111))
}

/// A world, where setsid(1) can make a terminal a session's.
fn world() -> Option<World> {
    tool("setsid").then(World::fixtures).flatten()
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    let Some(world) = world() else { return };
    let mut pty =
        at_terminal(&world, &["sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo $TERM; exit 5"]);
    assert_eq!(pty.wait(), 5);
    pty.until("/dev/pts/0\r\nall\r\nxterm-256color\r\n");
}

#[test]
fn without_a_terminal_on_both_ends_there_is_none_inside() {
    let Some(world) = world() else { return };
    let script = "\"$@\" | cat; \"$@\" </dev/null";
    let run = world.sh(&["--quiet"], "test -t 0 || echo no 0; test -t 1 || echo no 1; echo \"${TERM-no TERM}\"");
    let mut pty = Pty::start(run.env("TERM", "xterm").under(&["sh", "-c", script, "sh"]), (24, 80));
    assert_eq!(pty.wait(), 0, "{}", pty.shown());
    pty.until_times("no TERM", 2);
}

#[test]
fn the_size_follows() {
    let Some(world) = world() else { return };
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut pty = at_terminal(&world, &["sh", "-c", script]);
    pty.until("33 111\r\nready");
    pty.resize((50, 132));
    pty.until("50 132");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn keys_are_echoed_once_and_reach_the_command() {
    let Some(world) = world() else { return };
    let mut pty = at_terminal(&world, &["sh", "-c", "echo ready; cat; echo end"]);
    pty.until("ready\r\n");
    pty.type_("hello\n");
    pty.until("hello\r\nhello\r\n");
    // Ctrl-D ends the input.
    pty.type_("\u{4}");
    pty.until("end\r\n");
    assert_eq!(pty.wait(), 0);
    assert_eq!(pty.shown(), "ready\r\nhello\r\nhello\r\nend\r\n");
}

#[test]
fn control_c_interrupts_the_command_alone() {
    let Some(world) = world() else { return };
    let mut pty = at_terminal(&world, &["sh", "-c", "echo ready; exec sleep 60"]);
    pty.until("ready");
    pty.type_("\u{3}");
    assert_eq!(pty.wait(), 130);
    // A command that handles it goes on.
    let mut pty =
        at_terminal(&world, &["sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done"]);
    pty.until("ready");
    pty.type_("\u{3}");
    assert_eq!(pty.wait(), 9, "{}", pty.shown());
    pty.until("caught");
}

#[test]
fn a_shell_has_job_control() {
    let Some(world) = world() else { return };
    let mut pty = at_terminal(&world, &["bash", "--norc", "-i"]);
    // What is typed is echoed, so it must not look like what it prints.
    pty.type_("PS1='$ '; sh -c 'echo start$((1)); exec sleep 60'\n");
    pty.until("start1\r\n");
    pty.type_("\u{1a}");
    pty.until("Stopped");
    pty.type_("jobs; kill %1; echo one-$((1+1))\n");
    pty.until("one-2");
    pty.type_("exit 6\n");
    assert_eq!(pty.wait(), 6, "{}", pty.shown());
    for complaint in ["can't access tty", "no job control", "cannot set terminal"] {
        assert!(!pty.shown().contains(complaint), "{}", pty.shown());
    }
}

#[test]
fn the_callers_terminal_is_as_it_was() {
    let Some(world) = world() else { return };
    for end in [None, Some(Signal::TERM), Some(Signal::HUP)] {
        let mut pty = at_terminal(&world, &["sh", "-c", "echo ready; read line; exit 0"]);
        let before = pty.settings_before.clone();
        pty.until("ready");
        assert!(
            !pty.settings().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO),
            "it is raw while the command runs"
        );
        match end {
            None => pty.type_("\n"),
            Some(signal) => pty.signal(signal),
        }
        let code = pty.wait();
        assert_eq!(code, end.map_or(0, |signal| 128 + signal.as_raw()));
        let after = pty.settings();
        assert_eq!(
            (after.local_modes, after.input_modes, after.output_modes),
            (before.local_modes, before.input_modes, before.output_modes),
            "{end:?}"
        );
        assert!(after.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    }
}

#[test]
fn a_failure_before_the_command_leaves_the_terminal_alone() {
    let Some(world) = world() else { return };
    let mut pty = at_terminal(&world, &["no-such-command"]);
    assert_eq!(pty.wait(), 127);
    pty.until("command not found: no-such-command");
    // Not in raw mode: each line begins at the left.
    assert!(!pty.shown().replace("\r\n", "").contains('\n'), "{:?}", pty.shown());
    assert_eq!(pty.settings().local_modes, pty.settings_before.local_modes);
}

#[test]
fn all_of_a_large_output_arrives() {
    let Some(world) = world() else { return };
    let mut pty = at_terminal(&world, &["sh", "-c", "seq 1 50000; echo last"]);
    assert_eq!(pty.wait(), 0);
    pty.until("\r\nlast\r\n");
    assert_eq!(pty.shown().lines().count(), 50_001);
}

#[test]
fn what_is_piped_into_a_command_whose_output_is_a_terminal() {
    let Some(world) = world() else { return };
    let run = world.sh(&["--quiet"], "cat; test -t 1 && echo tty");
    let mut pty = Pty::start(run.under(&["sh", "-c", "echo piped | \"$@\"", "sh"]), (24, 80));
    let code = pty.wait();
    pty.until("piped\r\n");
    assert_eq!(code, 0, "{}", pty.shown());
}
