//! `hermes run --explain`: it reports what a command was refused, and changes nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::context::{DEBIAN, MIN, TestContext, tool};
use crate::support::process::{Output, Run};
use crate::support::pty::Pty;

/// `hermes run --explain` of `script`.
fn explained(world: &TestContext, options: &[&str], script: &str) -> Run {
    world.sh(&[&["--explain"], options].concat(), script)
}

/// What was refused to `script`, in order.
#[track_caller]
fn refused(run: Run) -> Vec<Value> {
    entries(&run.output())
}

#[track_caller]
fn entries(output: &Output) -> Vec<Value> {
    let line = output.stderr.lines().last().unwrap_or_default();
    let all: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {}", output.stderr));
    all["refused"].as_array().unwrap().clone()
}

fn json(world: &TestContext, options: &[&str], script: &str) -> Run {
    explained(world, &[&["--json"], options].concat(), script)
}

/// The entry about `what`.
#[track_caller]
fn about<'a>(all: &'a [Value], what: &str) -> &'a Value {
    all.iter().find(|entry| entry["what"] == what).unwrap_or_else(|| panic!("nothing about {what} in {all:#?}"))
}

/// A context, and a directory of the host beside its work, which is not visible inside.
fn world() -> Option<(TestContext, String)> {
    let world = TestContext::fixtures()?;
    let beside = world.path().join("beside");
    fs::create_dir_all(beside.join("tool/bin")).unwrap();
    fs::write(beside.join("tool/bin/cc"), "").unwrap();
    Some((world, beside.to_str().unwrap().to_owned()))
}

#[test]
fn a_run_that_was_refused_nothing_says_so_in_a_line() {
    let Some(world) = TestContext::fixtures() else { return };
    let output =
        explained(&world, &["--quiet"], "true; ls / /work >/dev/null; no-such-program; test -e /etc/no/such; true")
            .output();
    output.exits(0);
    let told: Vec<_> = output.stderr.lines().filter(|line| !line.contains("no-such-program")).collect();
    assert_eq!(told, ["explain: the sandbox denied nothing to the command"]);
}

#[test]
fn paths_that_only_the_host_has() {
    let Some((world, beside)) = world() else { return };
    std::os::unix::fs::symlink(format!("{beside}/tool"), world.work().join("link")).unwrap();
    let script = "cat $0/cc; cat link/bin/cc; cat ../beside/tool; sleep 0 </no/such; ls /no/such/either";
    let bin = format!("{beside}/tool/bin");
    let run = world.hermes(["run", "--explain", "--json", "--image", MIN, "--", "sh", "-c", script, &bin]);
    let all = refused(run);
    assert_eq!(all.len(), 2, "{all:#?}");
    let found = about(&all, &format!("{beside}/tool/bin/cc"));
    // The same file by its path and by a link is one.
    assert_eq!((&found["error"], &found["count"], &found["program"]), (&"ENOENT".into(), &2.into(), &"cat".into()));
    let option = found["allow"].as_str().unwrap();
    let found = about(&all, "/beside/tool");
    assert_eq!(found["allow"], format!("-v {beside}/tool:/beside/tool:ro"));
    // What is advised works.
    let (flag, volume) = option.split_once(' ').unwrap();
    world.hermes(["run", "--image", MIN, flag, volume, "--", "cat"]).args([format!("{bin}/cc")]).ok();
}

#[test]
fn the_work_directory_by_its_path_outside() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("sub/file", "");
    let path = world.work().join("sub/file");
    let path = path.to_str().unwrap();
    let all = refused(json(&world, &[], &format!("cat {path}")));
    let work = world.work();
    let found = about(&all, path);
    assert_eq!(found["why"], "it is /work/sub/file inside");
    assert_eq!(found["allow"], format!("-v {0}:{0} -w {0}", work.display()));
}

#[test]
fn what_lies_in_the_home_of_the_caller() {
    let Some(world) = TestContext::fixtures() else { return };
    fs::create_dir_all(world.path().join("home/.config/tool")).unwrap();
    fs::write(world.path().join("home/.profile"), "").unwrap();
    let all = refused(json(&world, &[], "cat ~/.config/tool; cat ~/.profile; cat ~/.no-such"));
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["why"], "it exists only in your home directory");
    assert!(all[0]["what"].as_str().unwrap().ends_with("/.config/tool"));
}

#[test]
fn sockets_of_the_host() {
    let Some((world, beside)) = world() else { return };
    let path = format!("{beside}/agent");
    let _agent = UnixListener::bind(&path).unwrap();
    let script =
        "perl -MSocket -e 'socket($s, AF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or exit 1' $0";
    let all = refused(world.hermes(["run", "--explain", "--json", "--image", DEBIAN, "--", "sh", "-c", script, &path]));
    let found = about(&all, &path);
    assert_eq!((&found["call"], &found["error"]), (&"connect".into(), &"ENOENT".into()));
    assert_eq!(found["allow"], format!("-v {path}:{path}"));
}

#[test]
fn without_a_network() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "getent hosts example.com; exec 3<>/dev/tcp/192.0.2.1/443; exec 3<>/dev/udp/192.0.2.2/5000";
    let run = |options: &[&str]| {
        world.hermes([&["run", "--explain", "--json", "--image", MIN], options, &["--", "bash", "-c", script]].concat())
    };
    let all = refused(run(&[]));
    let lookup = about(&all, "the address of example.com");
    assert_eq!((&lookup["program"], &lookup["allow"]), (&"getent".into(), &"--net host".into()));
    for (what, program) in [("192.0.2.1:443", "bash"), ("192.0.2.2:5000", "bash")] {
        let found = about(&all, what);
        assert_eq!((&found["program"], &found["allow"]), (&program.into(), &"--net host".into()));
    }
    assert_eq!(all.len(), 3, "{all:#?}");
}

#[test]
fn read_only_and_forbidden() {
    let Some((world, beside)) = world() else { return };
    fs::write(format!("{beside}/secret"), "").unwrap();
    fs::set_permissions(format!("{beside}/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let volume = format!("{beside}:/given:ro");
    let script = "echo >/given/new; cat /given/secret; echo >/sys/new; echo 1 >/proc/sys/kernel/panic; \
                  chown 12345 /tmp/x; mknod /tmp/b b 1 1; touch /tmp/x; chmod 0 /tmp/x; cat /tmp/x; test -w /given; kill -9 1";
    let all = refused(json(&world, &["-v", &volume], script));
    let remedy = |what: &str, error: &str, kind: &str, words: &str| {
        let found = about(&all, what);
        assert_eq!(found["error"], error, "{found}");
        assert!(found[kind].as_str().is_some_and(|text| text.contains(words)), "{found}");
    };
    remedy("/given/new", "EROFS", "allow", &format!("-v {beside}:/given"));
    remedy("/given/secret", "EACCES", "cannot", "run chmod there");
    remedy("/sys/new", "EROFS", "cannot", "outside");
    remedy("/tmp/b", "EPERM", "allow", "--root");
    remedy("/tmp/x", "EACCES", "allow", "--root");
    remedy("kill (process 1)", "EPERM", "cannot", "belongs to hermes");
}

#[test]
fn calls_that_the_filter_refuses() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("calls.c", CALLS);
    let script = "gcc calls.c -o calls && ./calls && su -c true </dev/null";
    let run = world.hermes(["run", "--explain", "--json", "--image", DEBIAN, "--", "sh", "-c", script]);
    let output = run.output();
    // The same errors that every other run meets.
    let plain = world.hermes(["run", "--image", DEBIAN, "--", "./calls"]).ok();
    assert_eq!(output.text().lines().next(), plain.lines().next());
    assert_eq!(plain, "mount 1, unshare 1, socket 97, bpf 1, io_uring_setup 38, ioctl 1, setuid 22");
    let all = entries(&output);
    for (what, error) in [
        ("mount", "EPERM"),
        ("unshare (user, mount namespaces)", "EPERM"),
        ("socket (AF_ALG)", "EAFNOSUPPORT"),
        ("bpf", "EPERM"),
        ("io_uring_setup", "ENOSYS"),
        ("ioctl (TIOCSTI)", "EPERM"),
        ("setuid (id 12345)", "EINVAL"),
    ] {
        let found = about(&all, what);
        assert_eq!((&found["error"], &found["program"]), (&error.into(), &"calls".into()), "{found}");
    }
    assert!(about(&all, "/usr/bin/su")["why"].as_str().unwrap().contains("no_new_privs"));
    assert!(!output.stderr.contains("clone3"), "{}", output.stderr);
}

/// Compiles `tests/filters.c`.
fn filters(world: &TestContext) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filters.c");
    fs::copy(source, world.work().join("filters.c")).unwrap();
    let words = ["gcc", "-O1", "-static", "-pthread", "-o", "filters", "filters.c"];
    world.hermes([&["run", "--image", DEBIAN, "--"], &words[..]].concat()).ok();
}

/// Whether in a run with these options, in which a command adds filters, the same is refused as in one without any, and
/// whether these filters do what they are for.
#[track_caller]
fn assert_filters(world: &TestContext, options: &[&str]) {
    let run = |options: &[&str], filter| {
        let words = ["run", "--image", DEBIAN, "--timeout", "120s"];
        world.hermes([&words, options, &["--", "./filters", filter]].concat()).output()
    };
    let of = |text: &str, when: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(when)).map(str::to_owned).collect()
    };
    let plain = of(&run(&[], "none").ok(), "before ");
    assert!(plain.len() > 18 && !plain.iter().any(|line| line.ends_with(" 0")), "{plain:#?}");
    for (filter, own) in [
        ("trace", None),
        ("notify", Some("own listener 4242")),
        ("trap", Some("own signals 1")),
        ("errno", Some("own errno 25")),
    ] {
        let output = run(options, filter);
        if options.contains(&"--root") && filter == "notify" {
            // Init listens to calls of root, and a process can have one listener only.
            output.exits(1);
            assert!(output.stderr.contains("filter: Device or resource busy"), "{}", output.stderr);
            continue;
        }
        let text = output.ok();
        assert_eq!(of(&text, "before "), plain, "{options:?} {filter}");
        assert_eq!(of(&text, "after "), plain, "{options:?} {filter}");
        assert!(own.is_none_or(|own| text.lines().any(|line| line == own)), "{options:?} {filter}: {text}");
    }
}

#[test]
fn what_is_refused_stays_refused_whatever_filters_a_command_adds() {
    let Some(world) = TestContext::fixtures() else { return };
    filters(&world);
    assert_filters(&world, &[]);
    assert_filters(&world, &["--explain"]);
    assert_filters(&world, &["--explain", "--root"]);
    assert_filters(&world, &["--clock", "+1d", "--dir-order", "reverse"]);
    assert_filters(&world, &["--root", "--fake-root", "stateful"]);
    assert_filters(&world, &["--root", "--fake-root", "stateful", "--clock", "+1d"]);
}

#[test]
fn and_where_foreign_programs_are_executed_by_ptrace() {
    let Some(world) = TestContext::foreign() else { return };
    filters(&world);
    let foreign = ["--platform", "arm64", "--emulation", "ptrace"];
    assert_filters(&world, &foreign);
    assert_filters(&world, &[&foreign[..], &["--explain"]].concat());
}

const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *nothing(void *a) { return a; }
#define TRY(call) (errno = 0, (call), errno)
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, nothing, 0);
    pthread_join(thread, 0);
    printf("mount %d, ", TRY(mount("x", "/mnt", "tmpfs", 0, 0)));
    printf("unshare %d, ", TRY(unshare(CLONE_NEWUSER | CLONE_NEWNS)));
    printf("socket %d, ", TRY(socket(AF_ALG, SOCK_SEQPACKET, 0)));
    printf("bpf %d, ", TRY(syscall(SYS_bpf, 0, 0, 0)));
    printf("io_uring_setup %d, ", TRY(syscall(SYS_io_uring_setup, 1, 0)));
    printf("ioctl %d, ", TRY(ioctl(0, TIOCSTI, "x")));
    printf("setuid %d\n", TRY(setuid(12345)));
}
"#;

#[test]
fn programs_of_32_bits() {
    let Some((world, beside)) = world() else { return };
    let path = format!("{beside}/tool/bin/cc");
    // open(2), mount(2), unshare(2) of a user namespace and bpf(2) by the numbers of 32-bit x86.
    let script = "for ([5, $ARGV[0], 0], [21, 'x', '/mnt', 'tmpfs'], [310, 0x10000000], [357, 0, 0, 0]) { $! = 0; my ($n, @a) = @$_; syscall($n, @a); print $! + 0, ' ' }";
    let run = |options: &[&str]| {
        let image = ["run", "--image", DEBIAN, "--platform", "386"];
        world.hermes([&image, options, &["--", "perl", "-e", script, &path]].concat()).output()
    };
    let output = run(&["--explain", "--json"]);
    assert_eq!(output.ok(), "2 1 1 1 ");
    assert_eq!(run(&[]).ok(), "2 1 1 1 ");
    let all = entries(&output);
    for (what, error) in
        [(path.as_str(), "ENOENT"), ("mount", "EPERM"), ("unshare (user namespace)", "EPERM"), ("bpf", "EPERM")]
    {
        assert_eq!(about(&all, what)["error"], error);
    }
}

#[test]
fn a_program_whose_interpreter_is_missing() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = world.write("script", "#!/usr/bin/no-such-python3 -x\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    let all = refused(json(&world, &[], "./script"));
    assert!(
        all[0]["what"].as_str().unwrap().starts_with("/usr/bin/no-such-python3, which /work/script names"),
        "{all:?}"
    );
    // If the command itself cannot be executed, the error says so.
    let output = world.hermes(["run", "--explain", "--image", MIN, "--", "./script"]).output();
    output.refused(126, &["interpreter", "hint: /usr/bin/no-such-python3"]);
}

#[test]
fn a_pipe_in_the_place_of_a_program_stops_nothing() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("race.c", RACE);
    let words = ["run", "--explain", "--timeout", "60s", "--image", DEBIAN];
    let script = "gcc -O1 -pthread race.c -o race && ./race && echo over";
    assert_eq!(world.hermes([&words[..], &["--", "sh", "-c", script]].concat()).ok(), "over");
}

/// For some seconds a pipe with a name comes and goes while it is executed.
const RACE: &str = r#"
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static volatile int over;
static void *flips(void *nothing) {
    while (!over) {
        mkfifo("/work/program", 0755);
        for (volatile int i = 0; i < 200; i++);
        unlink("/work/program");
        for (volatile int i = 0; i < 2000; i++);
    }
    return nothing;
}
int main(void) {
    pthread_t thread;
    char *words[] = {"program", 0};
    pthread_create(&thread, 0, flips, 0);
    for (time_t end = time(0) + 3; time(0) < end;) execve("/work/program", words, 0);
    over = 1;
    pthread_join(thread, 0);
    return 0;
}
"#;

#[test]
fn a_command_that_only_the_host_has() {
    let Some((world, beside)) = world() else { return };
    let path = format!("{beside}/tool/bin/cc");
    let output = world.hermes(["run", "--explain", "--image", MIN, "--", &path]).output();
    output.refused(127, &[&format!("command not found: {path}"), "allow it with -v ", "paths are those inside"]);
}

#[test]
fn full_memory() {
    let Some(world) = TestContext::fixtures() else { return };
    // A small file system of the host, since what is the sandbox's own may grow to half of all memory.
    let small = world.write("../small/keep", "").parent().unwrap().display().to_string();
    let run = json(&world, &["-v", &format!("{small}:/small")], "dd if=/dev/zero of=/small/x bs=1M count=4");
    let mounted = format!("mount -t tmpfs -o size=1m small {small} && exec \"$@\"");
    let all = refused(run.under(&["unshare", "-Urm", "sh", "-c", &mounted, "sh"]));
    let found = all.iter().find(|entry| entry["what"].as_str().unwrap().starts_with("/small")).unwrap();
    assert_eq!(found["error"], "ENOSPC");
    assert!(found["cannot"].as_str().unwrap().contains("free space there"), "{found}");
}

#[test]
fn not_with_owners_that_stay() {
    let Some(world) = TestContext::fixtures() else { return };
    let output = world.sh(&["--root", "--fake-root", "stateful", "--explain"], "echo ran").output();
    output.refused(2, &["--explain and --fake-root stateful", "--fake-root stateless"]);
}

#[test]
fn nothing_else_can_trace() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write(
        "trace.c",
        "#include <errno.h>\n#include <stdio.h>\n#include <sys/ptrace.h>\nint main() { ptrace(PTRACE_TRACEME, 0, 0, 0); printf(\"%d\", errno); }\n",
    );
    let script = "gcc trace.c -o trace && ./trace";
    let run = world.hermes(["run", "--explain", "--json", "--image", DEBIAN, "--", "sh", "-c", script]);
    let output = run.output();
    assert_eq!(output.ok(), "1");
    assert!(about(&entries(&output), "ptrace")["cannot"].as_str().unwrap().contains("without --explain"));
    assert_eq!(world.hermes(["run", "--image", DEBIAN, "--", "./trace"]).ok(), "0");
}

#[test]
fn ends_are_the_commands_own() {
    let Some(world) = TestContext::fixtures() else { return };
    for (script, code) in
        [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("(exit 3); exit $?", 3), ("sleep 30 & exit 4", 4)]
    {
        explained(&world, &[], script).output().exits(code);
    }
    // Orphans and zombies, signals to and from children, a stopped child that goes on.
    let script = "trap 'echo usr1' USR1; (sleep 0.05; kill -USR1 $$) & wait $!; \
                  sh -c 'kill -STOP $$; touch /tmp/on; echo went on' & c=$!; until [ -e /tmp/on ]; do kill -CONT $c; sleep 0.01; done; wait $c; echo $?";
    let output = explained(&world, &[], script).output();
    assert_eq!(output.ok(), "usr1\nwent on\n0");
}

#[test]
fn signals_reach_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    for (signal, code) in [(Signal::TERM, 9), (Signal::INT, 8)] {
        let script = "trap 'exit 9' TERM; trap 'exit 8' INT; echo ready; while :; do sleep 0.01; done";
        let run = explained(&world, &[], script).start();
        run.until("ready");
        run.signal(signal);
        let output = run.wait();
        output.exits(code);
        assert!(output.stderr.contains("explain: "), "{}", output.stderr);
    }
}

#[test]
fn a_shell_has_job_control() {
    if !tool("setsid") {
        return;
    }
    let Some(world) = TestContext::fixtures() else { return };
    let run = world.hermes(["run", "--quiet", "--explain", "--image", MIN, "--", "bash", "--norc", "-i"]);
    let mut pty = Pty::start(run.env("TERM", "xterm"), (24, 80));
    pty.type_("PS1='$ '; sh -c 'echo start$((1)); exec sleep 60'\n");
    pty.until("start1\r\n");
    pty.type_("\u{1a}");
    pty.until("Stopped");
    pty.type_("bg %1; sleep 0.1; jobs; kill %1; wait; echo one-$((1+1))\n");
    pty.until("Running");
    pty.until("one-2");
    pty.type_("exit 6\n");
    assert_eq!(pty.wait(), 6, "{}", pty.shown());
    pty.until("explain: the sandbox denied nothing");
}

#[test]
fn threads_and_programs_started_by_them() {
    let Some((world, beside)) = world() else { return };
    world.write("threads.c", THREADS);
    let path = format!("{beside}/tool/bin/cc");
    let script = "gcc -pthread threads.c -o threads && ./threads $0";
    let run = world.hermes(["run", "--explain", "--json", "--image", DEBIAN, "--", "sh", "-c", script, &path]);
    let output = run.output();
    assert_eq!(output.exits(5).text(), "joined\nanother program");
    let all = entries(&output);
    assert_eq!(about(&all, &path)["count"], 1600);
}

const THREADS: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static char *path;
static void *search(void *a) {
    for (int i = 0; i < 200; i++) open(path, O_RDONLY);
    return a;
}
static void *become(void *a) {
    execl("/bin/sh", "sh", "-c", "echo another program; exit 5", NULL);
    return a;
}
int main(int argc, char **argv) {
    pthread_t threads[8];
    path = argv[1];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, search, 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    puts("joined");
    fflush(stdout);
    pthread_create(&threads[0], 0, become, 0);
    for (;;) pause();
}
"#;

#[test]
fn many_short_processes_and_a_deep_tree() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "i=0; while [ $i -lt 1000 ]; do /bin/true || exit 1; i=$((i+1)); done; \
                  deep() { if [ $1 = 0 ]; then echo bottom; exit 3; fi; (deep $(($1-1))); exit $?; }; deep 200";
    let output = explained(&world, &[], script).output();
    assert_eq!(output.exits(3).text(), "bottom");
}

#[test]
fn a_list_without_end_is_cut() {
    let Some((world, beside)) = world() else { return };
    for i in 0..300 {
        fs::create_dir(Path::new(&beside).join(format!("d{i}\u{1b}[31m"))).unwrap();
    }
    let script =
        "i=0; while [ $i -lt 300 ]; do cat \"$(printf '../beside/d%s\\033[31m' $i)\"; i=$((i+1)); done 2>/dev/null";
    let output = explained(&world, &["--quiet"], script).output();
    assert!(output.stderr.lines().count() < 50 && output.stderr.contains(" more\n"), "{}", output.stderr);
    assert!(!output.stderr.contains('\u{1b}'), "{}", output.stderr);
}

#[test]
fn a_host_that_cannot_watch_is_told_before_anything_runs() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("strace") {
        return;
    }
    // What watches hermes by strace is its tracer already: that of the sandbox is refused.
    let output = explained(&world, &[], "echo ran").strace(&world.path().join("log"), "trace=none").output();
    output.refused(125, &["attaching to the command", "ptrace", "omit --explain"]);
}

#[test]
fn foreign_programs_are_seen_by_their_emulator() {
    let Some(world) = TestContext::foreign() else { return };
    let beside = world.path().join("beside");
    fs::write(&beside, "").unwrap();
    let path = beside.to_str().unwrap();
    let run = world.hermes(
        ["run", "--explain", "--json", "--image", DEBIAN, "--platform", "arm64", "--", "cat", path].map(str::to_owned),
    );
    let output = run.output();
    output.exits(1);
    assert_eq!(about(&entries(&output), path)["program"], "cat");
}

#[test]
fn with_other_users_than_one() {
    let Some(world) = TestContext::fixtures().filter(|_| crate::fakeroot::range()) else { return };
    // Both have the command wait for init before it is confined.
    let output =
        explained(&world, &["--quiet", "--root", "--userns", "range"], "chown 5 /tmp && stat -c %u /tmp").output();
    assert_eq!(output.exits(0).text(), "5");
}

#[test]
fn directories_that_an_overlay_does_not_rename() {
    let Some((world, _)) = world() else { return };
    let script = "perl -e 'rename(\"/usr/share/doc\", \"/usr/share/renamed\") or exit 18 * ($! == 18)'";
    for (options, remedy) in [(&["--root"][..], "--rootfs merged"), (&[], "--root --rootfs merged")] {
        let output = world.sh(&[&["--explain", "--json", "--rootfs", "overlay"], options].concat(), script).output();
        output.exits(18);
        let all = entries(&output);
        let found = about(&all, "/usr/share/doc");
        assert_eq!((found["error"].as_str(), found["allow"].as_str()), (Some("EXDEV"), Some(remedy)), "{found}");
    }
    // Another mount is another matter.
    let output = world
        .sh(&["--explain", "--json"], "mkdir /tmp/d; perl -e 'rename(\"/tmp/d\", \"/dev/shm/d\") and exit 1'")
        .output();
    assert!(entries(&output).iter().all(|entry| entry["error"] != "EXDEV"), "{}", output.stderr);
    world.sh(&["--quiet", "--root", "--rootfs", "merged"], script).ok();
}
