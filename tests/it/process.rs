//! `hermes run` as a process: signals, job control, and exit codes that tell how the command ended.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::termios::LocalModes;
use serde_json::{Value, json};

use crate::image_config::debian;
use crate::support::context::{MIN, TestContext, tool};
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::image::Content;
use crate::support::process::Running;
use crate::support::pty::Pty;

/// The last line of the store's records whose command line has `word`.
pub fn record(world: &TestContext, marker: &str) -> Value {
    let text = world.records();
    let line =
        text.lines().rfind(|line| line.contains(marker)).unwrap_or_else(|| panic!("no run of {marker} is recorded"));
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("timeout-{}", std::process::id());
    let output = world.sh(&["--timeout", "0.5"], &format!(": {marker}; exec sleep 60")).output();
    output.refused(124, &["error: the command timed out (--timeout 500ms)", "hint: raise --timeout"]);
    let record = record(&world, &marker);
    assert_eq!((&record["ended"], &record["cause"]), (&json!({ "signal": 15 }), &json!({ "timeout": 0.5 })));
    // It may tidy up, and what it ends with then does not count.
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let output = world.sh(&["--timeout", "1s", "--quiet"], script).output();
    assert_eq!(output.exits(124).text(), "ready\nasked");
    assert!(output.stderr.contains("timed out"), "{}", output.stderr);
    // One that is stopped is asked too.
    world.sh(&["--timeout", "500ms"], "kill -STOP $$").output().exits(124);
    // A command that ends in time keeps its exit code.
    let output = world.sh(&["--timeout", "1h30m"], "exit 7").output();
    assert!(output.exits(7).stderr.is_empty(), "{}", output.stderr);
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let world = TestContext::empty();
    for time in ["", "0", "5x", "-1s", "1h30", "30m1h"] {
        let output = world.hermes(["run", &format!("--timeout={time}"), "--", "true"]).output();
        assert!(output.exits(2).stderr.contains("--timeout"), "{}", output.stderr);
    }
}

#[test]
fn who_does_not_heed_sigterm_is_killed_after_the_grace() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "trap '' TERM; echo ready; sleep 300 & while :; do sleep 0.05; done";
    // At the same time, since the grace is ten seconds.
    let told = world.sh(&[], script).start();
    let late = world.sh(&["--timeout", "500ms"], script).start();
    told.until("ready");
    told.signal(Signal::TERM);
    let (told, late) = (told.wait(), late.wait());
    assert!(told.exits(137).stderr.contains("did not end within 10 s of SIGTERM and was killed"), "{}", told.stderr);
    assert!(late.exits(124).stderr.contains("timed out"), "{}", late.stderr);
}

#[test]
fn the_second_interrupt_kills() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = world.sh(&[], "trap 'echo caught' INT; echo ready; while :; do sleep 0.01; done").start();
    run.until("ready");
    run.signal(Signal::INT);
    run.until("caught");
    run.signal(Signal::INT);
    let output = run.wait();
    assert!(output.exits(137).stderr.contains("error: the command was killed by a second interrupt"), "{output:?}");
}

#[test]
fn every_signal_that_ends_the_command_is_told() {
    let Some(world) = TestContext::fixtures() else { return };
    for signal in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 50, 64] {
        let output = world.sh(&[], &format!("kill -{signal} $$; echo not reached")).output();
        assert_eq!(output.exits(128 + signal).text(), "");
    }
    assert!(!world.work().join("core").exists(), "a core was written");
}

#[test]
fn ten_thousand_orphans_are_reaped() {
    let Some(world) = TestContext::fixtures() else { return };
    // Each is left to init by its parent. In the end init has none that is dead.
    let script = r#"
        for (1 .. 100) {
            my @children = map { my $child = fork // die "fork: $!"; if (!$child) { fork // die "fork: $!"; exit } $child } 1 .. 100;
            waitpid $_, 0 for @children;
        }
        for (1 .. 1000) {
            my @left = grep { $_ != 1 && $_ != $$ } map { m{(\d+)} } glob "/proc/[0-9]*";
            if (!@left) { print "none left\n"; exit }
            select undef, undef, undef, 0.02;
        }
    "#;
    assert_eq!(world.hermes(["run", "--image", MIN, "--", "perl", "-e", script]).ok(), "none left");
}

#[test]
fn standard_streams_are_what_they_were() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "cat >/work/input; for fd in 0 1 2; do readlink /proc/self/fd/$fd; done >/work/fds";
    let file = world.write("from", "out of a file");
    for (redirections, input, fds) in [
        ("<from >to 2>&1", "out of a file", ["/work/from", "/work/to", "/work/to"]),
        // Never a descriptor that hermes has open itself: what is closed is empty.
        ("<&- >&- 2>&-", "", ["/dev/null", "/dev/null", "/dev/null"]),
        ("<&-", "", ["/dev/null", "pipe:", "pipe:"]),
        (">&- <from", "out of a file", ["/work/from", "/dev/null", "pipe:"]),
    ] {
        let run = world.sh(&[], script).under(&["sh", "-c", &format!("exec \"$@\" {redirections}"), "sh"]);
        run.output().exits(0);
        assert_eq!(world.read("input"), input, "{redirections}");
        let got = world.read("fds");
        // The loop's own output is the file it writes.
        let want = [fds[0], "/work/fds", fds[2]];
        for (got, want) in got.lines().zip(want) {
            assert!(got.contains(want), "{redirections}: {got}, not {want}");
        }
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "out of a file");
    assert_eq!(world.sh(&[], "cat").input(b"through a pipe").ok(), "through a pipe");
}

#[test]
fn who_reads_no_more_ends_the_command_by_sigpipe() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "\"$@\" | head -n 1; echo ${PIPESTATUS[0]}";
    let run = world.sh(&[], "while :; do echo line; done").under(&["bash", "-c", script, "bash"]);
    assert_eq!(run.ok(), "line\n141");
}

#[test]
fn long_command_lines_and_environments() {
    let Some(world) = TestContext::fixtures() else { return };
    // 1.9 MB in all, of the 2 MiB that the kernel takes with the usual 'ulimit -s', and 120 kB each.
    let (long, value) = ("w".repeat(120_000), "v".repeat(120_000));
    let words = vec![long.as_str(); 10];
    let names: Vec<String> = (0..6).map(|number| format!("LONG_{number}")).collect();
    let mut options = vec!["run", "--image", MIN];
    options.extend(names.iter().flat_map(|name| ["-e", name.as_str()]));
    let script = "echo $# ${#1} ${#10} ${#LONG_0} ${#LONG_5}";
    let mut run = world.hermes([&options, &["--", "bash", "-c", script, "bash"][..], &words].concat());
    for name in &names {
        run = run.env(name, &value);
    }
    assert_eq!(run.ok(), "10 120000 120000 120000 120000");
    // What the image adds may be too much.
    let mut content = Content::default();
    let config = json!({ "Env": [format!("LONG={}", "x".repeat(140_000))] });
    let manifest = content.image_with(("linux", "amd64", None), &[debian()], &config);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/long:1");
    let output = world.hermes(["run", "--image", "test.invalid/long:1", "--", "true"]).output();
    output.refused(126, &["cannot run true", "Argument list too long", "hint: arguments and variables"]);
}

/// A shell with job control at a terminal, in which `$H` is `hermes run … --`.
fn shell(world: &TestContext) -> Pty {
    let run = world.hermes(["run", "--quiet", "--image", MIN, "--"]).env("TERM", "xterm");
    let bash = "H=\"$*\" PS1='$ ' exec bash --norc --noprofile -i";
    let mut pty = Pty::start(run.under(&["sh", "-c", bash, "sh"]), (24, 400));
    // What is typed is echoed, so it must not look like what it prints.
    pty.type_("echo shell-$((1+1)); PS1='$ '\n");
    pty.until("shell-2");
    until_prompt(&pty);
    pty
}

/// Waits until the shell reads a line. What is typed while it changes the settings of its terminal is echoed twice, by
/// the kernel and by the shell, or comes before it is ready.
fn until_prompt(pty: &Pty) {
    let limit = Instant::now() + Duration::from_secs(30);
    while pty.settings().local_modes.contains(LocalModes::ICANON) {
        assert!(Instant::now() < limit, "{}", pty.shown());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_is_stopped_and_goes_on() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("setsid") {
        return;
    }
    let mut pty = shell(&world);
    pty.type_("$H sh -c 'echo in$((1)); while read line; do echo got-$line; done; echo out$((1))'\n");
    pty.until("in1\r\n");
    pty.type_("first\n");
    pty.until("got-first");
    // Ctrl-Z is the command's own; this is what 'kill -TSTP' elsewhere does.
    let job = children(&pty)[0];
    rustix::process::kill_process(job, Signal::TSTP).unwrap();
    pty.until("Stopped");
    // The shell has its terminal as it was.
    pty.type_("stty -a | grep -o ' icanon'; echo tty-$((1+1))\n");
    pty.until("tty-2\r\n");
    pty.until(" icanon");
    pty.type_("fg\n");
    pty.type_("second\n");
    pty.until("got-second");
    rustix::process::kill_process(job, Signal::TSTP).unwrap();
    pty.until_times("Stopped", 2);
    // In the background it does not touch the terminal; what it prints is seen.
    pty.type_("bg\n");
    pty.type_("echo back-$((1+1))\n");
    pty.until("back-2");
    pty.type_("fg\n");
    pty.until_times("$H sh -c", 3);
    pty.type_("third\n");
    pty.until("got-third");
    pty.type_("\u{4}");
    pty.until("out1");
    until_alone(&pty);
    pty.type_("exit 4\n");
    assert_eq!(pty.wait(), 4, "{}", pty.shown());
}

#[test]
fn a_job_begins_in_the_background() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("setsid") {
        return;
    }
    let mut pty = shell(&world);
    pty.type_("$H sh -c 'echo begin$((1)); read line; echo got-$line' &\n");
    // It is not stopped for a terminal that it does not read.
    pty.until("begin1");
    until_prompt(&pty);
    pty.type_("echo mine-$((1+1)); fg\n");
    pty.until("mine-2");
    pty.until_times("$H sh -c", 2);
    // hermes has the terminal now, too.
    until_prompt(&pty);
    pty.type_("keys\n");
    pty.until("got-keys");
    until_alone(&pty);
    until_prompt(&pty);
    pty.type_("stty -a | grep -o ' icanon'; exit 3\n");
    assert_eq!(pty.wait(), 3, "{}", pty.shown());
    pty.until(" icanon");
}

#[test]
fn a_terminal_that_goes_away_ends_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("setsid") {
        return;
    }
    let marker = format!("27{}", std::process::id());
    let run =
        world.hermes(["run", "--quiet", "--image", MIN, "--", "sh", "-c", &format!("echo ready; sleep {marker}")]);
    let pty = Pty::start(run.env("TERM", "xterm"), (24, 80));
    pty.until("ready");
    drop(pty);
    let limit = Instant::now() + Duration::from_secs(30);
    while crate::confine::processes(&marker) > 0 {
        assert!(Instant::now() < limit, "the command lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the shell's job has ended: what is typed before is still for that.
fn until_alone(pty: &Pty) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !children(pty).is_empty() {
        assert!(Instant::now() < limit, "{}", pty.shown());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The child processes of the program at the terminal.
fn children(pty: &Pty) -> Vec<rustix::process::Pid> {
    let path = format!("/proc/{0}/task/{0}/children", pty.pid().as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap())).collect()
}

#[test]
fn hermes_in_hermes_is_refused() {
    let Some(world) = TestContext::fixtures() else { return };
    let hermes = format!("{}:/opt/hermes", env!("CARGO_BIN_EXE_hermes"));
    let store = format!("{}:/store", world.store().display());
    for environment in ["", "env -i"] {
        let inner = format!("{environment} /opt/hermes --store /store run --quiet --image {MIN} -- true");
        let output = world.sh(&["--quiet", "-v", &hermes, "-v", &store], &inner).output();
        output.refused(
            125,
            &["error: already inside a hermes sandbox; nesting is not supported", "hint: run hermes outside"],
        );
        assert!(!output.stderr.contains("sysctl") && !output.stderr.contains("seccomp"), "{}", output.stderr);
    }
    let output = world.sh(&["-v", &hermes, "-v", &store], "/opt/hermes --store /store doctor").output();
    assert!(output.exits(1).text().contains("already inside a hermes sandbox"), "{}", output.text());
}

#[test]
fn in_a_container_the_engines_options_are_named() {
    let Some(world) = TestContext::fixtures() else { return };
    // What podman does by default, and what keeps a new /proc from being mounted below it.
    let container = "mount -t tmpfs none /run && touch /run/.containerenv && mount --bind /dev/null /proc/version && \
                     exec unshare -U --map-user=1000 --map-group=1000 \"$@\"";
    let run = world.sh(&["--quiet"], "true").under(&["unshare", "-Urm", "sh", "-c", container, "sh"]);
    let parts = [
        "mounting /proc",
        "hint: /run/.containerenv marks a container",
        "podman run --security-opt seccomp=unconfined",
    ];
    run.output().refused(125, &parts);
    let output = world.sh(&["--quiet"], "true").output();
    assert!(output.exits(0).stderr.is_empty(), "{}", output.stderr);
}

#[test]
fn sixty_four_at_once_and_half_of_them_killed() {
    let Some(world) = TestContext::in_memory() else { return };
    let _ = world.import(&crate::support::elf::tiny("many"), "test.invalid/many:1");
    let run = || world.hermes(["run", "--quiet", "--image", "test.invalid/many:1", "--", "tool"]);
    assert_eq!(run().ok(), "many amd64");
    let (mut victims, mut others) = (vec![], vec![]);
    for number in 0_u64..64 {
        let running = run().start();
        if number % 2 == 0 {
            others.push(running);
            continue;
        }
        victims.push(std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(number * 37 % 40));
            running.signal(Signal::KILL);
            running.wait().code()
        }));
    }
    for output in others.into_iter().map(Running::wait) {
        assert_eq!(output.ok(), "many amd64");
    }
    let codes: Vec<_> = victims.into_iter().map(|victim| victim.join().unwrap()).collect();
    assert!(codes.iter().all(|code| [0, -9].contains(code)) && codes.contains(&-9), "{codes:?}");
    assert_consistent(world.store(), "after runs, half of them killed");
    // Who makes something tidies up.
    let _ = world.import(&crate::support::elf::tiny("next"), "test.invalid/next:1");
    assert_no_orphans(world.store(), "after runs, half of them killed");
}

#[test]
fn the_supervisor_needs_little_memory() {
    let Some(world) = TestContext::fixtures() else { return };
    // The first one also looks at all that is in the image, for the lock.
    world.sh(&[], "true").ok();
    let run = world.sh(&[], "echo ready; exec sleep 60").start();
    run.until("ready");
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid().as_raw_nonzero())).unwrap();
    let value = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    };
    // What is its own; the pages of the program's file are shared by all that run.
    let own = value("RssAnon:");
    assert!(own < 4096, "{own} kB are the supervisor's own\n{status}");
    run.signal(Signal::TERM);
    run.wait().exits(143);
}
