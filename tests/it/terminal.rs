//! `hermes run` at a terminal.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::support::context::{MIN, TestContext, tool};
use crate::support::process::LIMIT;
use crate::support::pty::Pty;

fn at_terminal(world: &TestContext, command: &[&str]) -> Pty {
    let run = world.hermes([&["run", "--quiet", "--image", MIN, "--"], command].concat());
    Pty::start(run.env("TERM", "xterm-256color"), (33, 111))
}

/// A context, where setsid(1) can make a terminal a session's.
fn world() -> Option<TestContext> {
    tool("setsid").then(TestContext::fixtures).flatten()
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
    // `exit` can refuse while bash has not noticed yet that the stopped job was killed.
    pty.type_("exec sh -c 'exit 6'\n");
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

/// Whether standard input is the terminal, or standard output.
const ONE_STREAM: [&str; 2] = ["\"$@\" | cat", "\"$@\" </dev/null"];

#[test]
fn one_stream_does_not_lead_to_the_callers_terminal() {
    let Some(world) = world() else { return };
    let attack = "use Fcntl; for my $n (0..2) { open(my $f, '+<&=', $n) or open($f, '>&=', $n) or next; next unless -t $f; \
        print STDOUT \"fd $n\", (chmod(0666, $f) ? ' chmod' : ''), (utime(1, 1, $f) ? ' utime' : ''), \
        (ioctl($f, 0x540c, 0) ? ' exclusive' : ''), (ioctl($f, 0x5412, my $x = 'x') ? ' input' : ''), \
        (open(my $g, '<', '/dev/tty') ? ' controlling' : ''), qq( tried\\n); \
        fcntl($f, F_SETFL, fcntl($f, F_GETFL, 0) | O_NONBLOCK | O_APPEND) or die; }";
    for script in ONE_STREAM {
        let run = world.hermes(["--quiet", "run", "--image", MIN, "--", "perl", "-e", attack]);
        let mut pty = Pty::start(run.under(&["sh", "-c", script, "sh"]), (24, 80));
        let before = rustix::fs::fstat(pty.screen()).unwrap();
        let code = pty.wait();
        pty.until_times(" tried", 2);
        assert_eq!(code, 0, "{}", pty.shown());
        assert!(pty.shown().lines().all(|line| line.split(' ').count() == 3), "{}", pty.shown());
        let after = rustix::fs::fstat(pty.screen()).unwrap();
        assert_eq!((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid));
        let flags = rustix::fs::fcntl_getfl(pty.screen()).unwrap();
        assert!(!flags.intersects(rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::APPEND), "{flags:?}");
    }
}

#[test]
fn one_stream_is_still_a_terminal_with_a_name() {
    let Some(world) = world() else { return };
    for script in ONE_STREAM {
        let command = "echo named >/dev/stderr; echo both | tee /dev/stderr; stty -F /dev/stderr size >&2; tty <&2 >&2";
        let run = world.hermes(["--quiet", "run", "--image", MIN, "--", "sh", "-c", command]);
        let mut pty = Pty::start(run.under(&["sh", "-c", script, "sh"]), (33, 111));
        let code = pty.wait();
        pty.until("/dev/console\r\n");
        pty.until_times("both\r\n", 2);
        pty.until("named\r\n");
        pty.until("33 111\r\n");
        assert_eq!(code, 0, "{}", pty.shown());
    }
    // What is typed is the command's where it is the one that reads, and a pager's where it is not.
    let run = world.sh(&["--quiet"], "read line; echo got $line");
    let mut pty = Pty::start(run.under(&["sh", "-c", "\"$@\" | cat", "sh"]), (24, 80));
    pty.type_("words\n");
    pty.until("got words\r\n");
    assert_eq!(pty.wait(), 0, "{}", pty.shown());
    let run = world.sh(&["--quiet"], "echo output");
    let mut pty = Pty::start(run.under(&["sh", "-c", "\"$@\" | (read key </dev/tty; cat; echo $key)", "sh"]), (24, 80));
    pty.type_("key\n");
    pty.until("output\r\nkey\r\n");
    assert_eq!(pty.wait(), 0, "{}", pty.shown());
}

#[test]
fn a_terminal_without_a_session_does_not_become_the_commands() {
    let Some(world) = world() else { return };
    let run = world.sh(&["--quiet"], "echo named >/dev/stderr; exec 3<>/dev/tty && echo mine");
    // A new session, without the terminal that its standard error is.
    let perl = "use Fcntl; use IO::Handle; sysopen(M, '/dev/ptmx', O_RDWR | O_NOCTTY) or die; \
        my $no = pack('i', 0); ioctl(M, 0x40045431, $no) or die; my $n = pack('i', 0); ioctl(M, 0x80045430, $n) or die; \
        sysopen(T, '/dev/pts/' . unpack('i', $n), O_RDWR | O_NOCTTY) or die; open(STDERR, '>&', \\*T) or die; exec @ARGV";
    let output = run.under(&["setsid", "--wait", "perl", "-e", perl]).output();
    assert_eq!(output.text(), "", "{}", output.stderr);
    assert_ne!(output.code(), 0);
}

#[test]
fn a_timeout_and_signals_are_served_while_nobody_reads_the_terminal() {
    let Some(world) = world() else { return };
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--quiet", "--image", MIN], options, &["--", "sh", "-c", script]].concat();
        Pty::unread(world.hermes(words).env("TERM", "dumb"), (24, 80))
    };
    assert_eq!(run(&["--timeout", "2s"], "exec yes").wait(), 124);
    // Its output is more than any terminal takes.
    let started = world.work().join("started");
    let mut pty = run(&[], "touch started; exec yes");
    let limit = Instant::now() + LIMIT;
    while !started.exists() {
        assert!(Instant::now() < limit, "not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait(), 143);
}

#[test]
fn the_callers_terminal_cannot_be_typed_into() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("setsid") {
        return;
    }
    // TIOCSTI on whatever descriptors there are, where standard output and error are the caller's.
    let push = "for my $f (*STDIN, *STDOUT, *STDERR) { my $c = 'X'; print ioctl($f, 0x5412, $c) ? 'pushed' : 'refused', qq(\\n) } print -e '/dev/tty' && open(T, '<', '/dev/tty') ? 'tty' : 'no tty', qq(\\n)";
    let run = world.hermes(["run", "--quiet", "--image", MIN, "--", "perl", "-e", push]);
    let mut pty = Pty::start(
        run.under(&["bash", "-c", "echo | \"$@\"; read -t 0.2 line; echo \"line=$line\"", "bash"]),
        (24, 80),
    );
    let _ = pty.wait();
    pty.until("line=");
    assert_eq!(pty.shown().matches("refused").count(), 3, "{}", pty.shown());
    assert!(pty.shown().contains("no tty") && !pty.shown().contains('X'), "{}", pty.shown());
}
