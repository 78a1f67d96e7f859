//! Limits of memory, processors and processes: by a cgroup, and without one.

use serde_json::{Value, json};

use crate::process::record;
use crate::support::context::{CROSS, DEBIAN, MIN, TestContext, cgroup};
use crate::support::process::{Output, Run};
use crate::support::require;

/// Fills so many MiB of memory, each page of it.
const FILL: &str =
    "my $x = ''; for (1 .. $ARGV[0]) { $x .= chr($_ % 256) x (1 << 20) } print length($x) >> 20, qq{\\n};";

/// Starts so many children that live at the same time, and says how many it got.
const FORKS: &str = "my @c; for (1 .. $ARGV[0]) { my $c = fork; last if !defined $c; if (!$c) { sleep 60; exit } push @c, $c } print scalar(@c), qq{\\n}; kill 9, @c;";

/// The words of its program are what its record is found by: `marker` tells those of two tests apart.
fn perl(world: &TestContext, options: &[&str], marker: &str, program: &str, argument: &str) -> Run {
    let program = format!("# {marker}\n{program}");
    world.hermes([&["run", "--image", MIN], options, &["--", "perl", "-e", &program, argument]].concat())
}

/// A process that is in no cgroup of version 2 that it may use, wherever these tests run.
fn without_cgroup(run: Run) -> Run {
    // In a mount namespace that shows none.
    run.under(&[
        "unshare",
        "-Urm",
        "sh",
        "-c",
        "mount -t tmpfs none /sys/fs/cgroup && exec unshare -U --map-user=1000 --map-group=1000 \"$@\"",
        "sh",
    ])
}

#[test]
fn resource_limits_of_every_run() {
    let Some(world) = TestContext::fixtures() else { return };
    let text =
        world.sh(&[], "ulimit -n; ulimit -Hc; cat /proc/self/oom_score_adj; ulimit -Ss; cat /proc/self/limits").ok();
    let lines: Vec<_> = text.lines().collect();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    assert_eq!(lines[0], hard.map_or(65_536, |hard| hard.min(65_536)).to_string());
    // One byte: less than any core, and other than 0 it keeps programs of the host from being started with one.
    assert!(
        text.lines().any(|line| line.split_whitespace().eq(["Max", "core", "file", "size", "1", "1", "bytes"])),
        "{text}"
    );
    assert!(lines[2].parse::<i32>().unwrap() >= 300, "{text}");
    // The rest is the caller's.
    let limited = world.sh(&[], "ulimit -n; ulimit -s; ulimit -t").under(&[
        "sh",
        "-c",
        "ulimit -n 500; ulimit -s 4096; ulimit -t 777; \"$@\"",
        "sh",
    ]);
    assert_eq!(limited.ok(), "500\n4096\n777");
}

#[test]
fn no_command_brings_core_files_or_the_hosts_handler_back() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("core.c", CORE);
    world.hermes(["run", "--image", DEBIAN, "--", "gcc", "-static", "-o", "core", "core.c"]).ok();
    let modes = [&[][..], &["--root"], &["--root", "--fake-root", "stateful"], &["--explain"], &["--clock", "+1d"]];
    for options in modes {
        let script = "ulimit -c 0 && ulimit -c unlimited && ulimit -Hc 0 && ./core && ls | grep -c core";
        let text = world.hermes([&["run", "--image", MIN], options, &["--", "bash", "-c", script]].concat()).ok();
        assert_eq!(text, "0 0 0 1 0 1 0 1 0 1 1 no core\n2", "{options:?}");
    }
    let bare = ["run", "--isolation", "landlock", "--image", CROSS, "--quiet", "--", "./core"];
    if require(
        "landlock",
        hermes::testing::sys::process::landlock_abi().checked_sub(1).map(drop).ok_or("none".to_owned()),
    ) {
        assert_eq!(world.hermes(bare).ok(), "0 0 0 1 0 1 0 1 0 1 1 no core");
    }
    let output = world.hermes(["run", "--explain", "--image", DEBIAN, "--", "./core"]).output();
    assert!(output.stderr.contains("prlimit64: EPERM"), "{}", output.stderr);
}

/// Prints what came of each way to change the limit, and of some that change no such thing.
const CORE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define TRY(call) (errno = 0, (call), errno)
static struct rlimit none, all = {RLIM_INFINITY, RLIM_INFINITY}, old = {7, 7};
int main(void) {
    // An address whose lower half is 0.
    struct rlimit *far = mmap((void *)0x100000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    *far = none;
    printf("%d ", TRY(setrlimit(RLIMIT_CORE, &none)));
    printf("%d ", TRY(prlimit(getpid(), RLIMIT_CORE, &all, 0)));
    printf("%d ", TRY(syscall(SYS_prlimit64, 0, RLIMIT_CORE, far, 0)));
    printf("%d ", TRY(prlimit(0, RLIMIT_CORE, &none, &old)));
    printf("%d ", TRY(prlimit(0, RLIMIT_CORE, 0, &old)));
    printf("%lu ", (unsigned long)old.rlim_cur);
    // Other limits, and process 1.
    old.rlim_cur = 100;
    prlimit(0, RLIMIT_NOFILE, 0, &none);
    none.rlim_cur = 50;
    printf("%d ", TRY(prlimit(0, RLIMIT_NOFILE, &none, &old)));
    printf("%d ", TRY(prlimit(1, RLIMIT_NOFILE, &none, 0)));
    getrlimit(RLIMIT_NOFILE, &none);
    printf("%d ", none.rlim_cur != 50);
    getrlimit(RLIMIT_CORE, &old);
    printf("%lu %lu ", (unsigned long)old.rlim_cur, (unsigned long)old.rlim_max);
    fflush(stdout);
    pid_t child = fork();
    if (!child) raise(SIGSEGV), _exit(0);
    int status;
    waitpid(child, &status, 0);
    puts(WCOREDUMP(status) ? "core" : "no core");
}
"#;

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let world = TestContext::empty();
    for option in
        ["--memory=0", "--memory=1K", "--memory=much", "--cpus=0", "--cpus=-1", "--cpus=all", "--pids=0", "--pids=x"]
    {
        let output = world.hermes(["run", option, "--", "true"]).output();
        assert!(output.exits(2).stderr.contains(option.split('=').next().unwrap()), "{}", output.stderr);
    }
}

#[test]
fn memory_of_each_process_without_a_cgroup() {
    let Some(world) = TestContext::fixtures() else { return };
    let fill = |megabytes: &str| {
        without_cgroup(perl(&world, &["--memory", "200M"], "memory without a cgroup", FILL, megabytes)).output()
    };
    let output = fill("50");
    assert_eq!(output.ok(), "50");
    assert!(
        output.stderr.contains("--memory 200M limits the data of each process separately (RLIMIT_DATA); no cgroup"),
        "{}",
        output.stderr
    );
    let output = fill("300");
    assert!(output.code() != 0 && output.stderr.contains("Out of memory"), "{}", output.stderr);
    assert_eq!(record(&world, "memory without a cgroup")["limits"], json!({ "process": { "memory": 200 << 20 } }));
    // Room that is reserved and never filled does not count.
    let reserve = "syscall(9, 0, 1 << 34, 0, 0x4022, -1, 0) > 0 or die; print qq{reserved\\n}";
    assert_eq!(
        without_cgroup(perl(&world, &["--memory", "200M"], "memory without a cgroup", reserve, "")).ok(),
        "reserved"
    );
}

#[test]
fn processors_without_a_cgroup() {
    let Some(world) = TestContext::fixtures() else { return };
    let all = std::thread::available_parallelism().unwrap().get();
    for (asked, got) in [("0.5", 1), ("1", 1), ("1.1", 2.min(all)), ("9999", all)] {
        let output = without_cgroup(world.sh(&["--cpus", asked], "nproc")).output();
        assert_eq!(output.ok(), got.to_string());
        assert!(output.stderr.contains(&format!("--cpus {asked} binds the run to processors")), "{}", output.stderr);
    }
}

#[test]
fn processes_without_a_cgroup() {
    let Some(world) = TestContext::fixtures() else { return };
    let forks = |limit: &str, wanted: &str| {
        without_cgroup(perl(&world, &["--pids", limit], "processes without a cgroup", FORKS, wanted)).output()
    };
    let output = forks("20", "100");
    // perl itself is one of them; those of the host and of other runs do not count.
    assert_eq!(output.ok(), "19");
    assert!(output.stderr.contains("--pids 20 is enforced by RLIMIT_NPROC"), "{}", output.stderr);
    assert_eq!(forks("200", "100").ok(), "100");
    let other = without_cgroup(perl(
        &world,
        &["--pids", "120"],
        "processes without a cgroup",
        "$| = 1; for (1 .. 110) { fork // die and next or do { sleep 60; exit } } print qq{many\\n}; sleep 60",
        "",
    ))
    .start();
    other.until("many");
    assert_eq!(forks("20", "100").ok(), "19", "another run counts");
}

/// The record's limits, and that nothing is left of the cgroup.
fn by_cgroup(world: &TestContext, marker: &str, want: &Value) {
    assert_eq!(record(world, marker)["limits"]["cgroup"], *want);
}

#[test]
fn memory_of_all_processes_by_a_cgroup() {
    if !cgroup() {
        return;
    }
    let Some(world) = TestContext::fixtures() else { return };
    let fill = |options: &[&str], program: &str, megabytes: &str| -> Output {
        perl(&world, &[&["--quiet", "--memory", "200M"], options].concat(), "memory by a cgroup", program, megabytes)
            .output()
    };
    let output = fill(&[], FILL, "50");
    assert_eq!(output.ok(), "50");
    assert_eq!(output.stderr, "", "nothing is to be said of a limit that is what it seems");
    let output = fill(&[], FILL, "300");
    let parts =
        ["error: the command exceeded --memory 200M: the kernel killed 1 of its processes", "hint: raise --memory"];
    output.refused(137, &parts);
    by_cgroup(&world, "memory by a cgroup", &json!({ "memory": 200 << 20 }));
    assert_eq!(record(&world, "memory by a cgroup")["cause"], json!({ "memory": { "limit": 200 << 20, "killed": 1 } }));
    // Together: three of 80 MiB each.
    let three = "for (1 .. 3) { if (!fork) { my $x = 'x' x (80 << 20); sleep 5; exit } } my $bad = 0; while (wait > 0) { $bad ||= $? } exit($bad ? 9 : 0)";
    let output = fill(&[], three, "");
    assert!(output.exits(9).stderr.contains("the kernel killed"), "{}", output.stderr);
    // Files in memory count.
    let output = world.sh(&["--memory", "32M"], "head -c 60M /dev/zero >/dev/shm/zeros && echo all").output();
    assert!(output.code() != 0 && output.stderr.contains("--memory 32M"), "{}", output.stderr);
}

#[test]
fn processes_and_processors_by_a_cgroup() {
    if !cgroup() {
        return;
    }
    let Some(world) = TestContext::fixtures() else { return };
    let output = perl(&world, &["--pids", "20", "--cpus", "0.5"], "processes by a cgroup", FORKS, "100").output();
    assert_eq!(output.ok(), "19");
    by_cgroup(&world, "processes by a cgroup", &json!({ "millicpus": 500, "pids": 20 }));
    let script = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait";
    let output = world.sh(&["--pids", "20"], script).output();
    assert!(output.code() != 0 && output.stderr.contains("error: the command exceeded --pids 20"), "{}", output.stderr);
    // Half a processor: on a busy host it has less than that anyway.
    let spin =
        "my $end = time + 5; 1 while time < $end; my ($u, $s) = times; print $u + $s < 3.2 ? qq{half\n} : qq{whole\n}";
    assert_eq!(perl(&world, &["--cpus", "0.5"], "processes by a cgroup", spin, "").ok(), "half");
}

#[test]
fn the_cgroup_is_hidden_and_goes_away() {
    if !cgroup() {
        return;
    }
    let Some(world) = TestContext::fixtures() else { return };
    assert_eq!(world.sh(&["--pids", "50"], "cat /proc/self/cgroup").ok(), "0::/");
    let mine = || -> Vec<std::path::PathBuf> {
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = std::path::PathBuf::from(format!("/sys/fs/cgroup{}", text.trim().strip_prefix("0::").unwrap()));
        let all = [own.clone(), own.parent().unwrap().to_owned()];
        let entries = all.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.to_string_lossy().contains("/hermes-")).collect()
    };
    // One that is killed leaves its cgroup, and the next removes it.
    let run = world.sh(&["--pids", "50"], "echo ready; exec sleep 60").start();
    run.until("ready");
    let pid = run.pid().as_raw_nonzero().to_string();
    let of_it = || mine().into_iter().filter(|path| path.to_string_lossy().contains(&format!("-{pid}-"))).count();
    assert_eq!(of_it(), 1);
    run.signal(rustix::process::Signal::KILL);
    run.wait().exits(-9);
    world.sh(&["--pids", "50"], "true").ok();
    assert_eq!(of_it(), 0, "{:?}", mine());
}

#[test]
fn the_lowest_cgroup_that_can_be_used_is() {
    if !cgroup() {
        return;
    }
    let Some(world) = TestContext::fixtures() else { return };
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = std::path::PathBuf::from(format!("/sys/fs/cgroup{}", text.trim().strip_prefix("0::").unwrap()));
    let group = own.with_file_name(format!("alone-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    let enter = |script: &str, run: Run| {
        let script = format!("echo $$ >{}/cgroup.procs; {script}", group.display());
        run.under(&["sh", "-c", &script, "sh"])
    };
    let forks = |options: &[&str]| perl(&world, &[&["--quiet"], options].concat(), "processes in a group", FORKS, "60");
    // Alone in it, hermes makes room below, and leaves it as it was.
    let sleeper = world.sh(&["--quiet", "--pids", "33"], "sleep 1");
    let alone = sleeper.under(&["sh", "-c", &format!("sh -c 'echo $$ >{}/cgroup.procs; exec \"$@\"' sh \"$@\" & while ! cat {0}/hermes-*run/pids.max 2>/dev/null; do sleep 0.02; done; wait $!", group.display()), "sh"]);
    assert_eq!(alone.ok(), "34");
    let below = std::fs::read_dir(&group).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!((below, std::fs::read_to_string(group.join("cgroup.subtree_control")).unwrap().trim()), (0, ""));
    // With company it goes beside, and takes along what limits it here.
    std::fs::write(group.join("pids.max"), "31").unwrap();
    let output = enter("\"$@\"", forks(&["--memory", "1G"])).output();
    assert_eq!(output.ok(), "30");
    std::fs::remove_dir(&group).unwrap();
}
