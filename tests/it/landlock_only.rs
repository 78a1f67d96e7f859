//! `--isolation landlock`: a cross compiler run from the store on hosts without user namespaces.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::image_config::debian;
use crate::support::context::{CROSS, DEBIAN, MIN, TestContext, tool};
use crate::support::image::Content;
use crate::support::kernel;
use crate::support::process::{Output, Run};
use crate::support::pty::Pty;
use crate::support::require;

const BARE: [&str; 5] = ["run", "--isolation", "landlock", "--image", CROSS];

/// A context without user namespaces, on a kernel with landlock. The fixtures are unpacked before.
fn world() -> Option<TestContext> {
    let world = TestContext::fixtures().filter(|_| kernel::available())?;
    let abi = hermes::testing::sys::process::landlock_abi();
    let landlock = if abi > 0 { Ok(()) } else { Err("no landlock in this kernel".to_owned()) };
    require("landlock", landlock).then(|| world.on("no-userns"))
}

fn bare(world: &TestContext, options: &[&str], script: &str) -> Run {
    world.hermes([&BARE, options, &["--", "sh", "-c", script]].concat())
}

#[track_caller]
fn assert_machine(path: &Path, machine: u16) {
    let elf = fs::read(path).unwrap();
    assert_eq!((&elf[..4], u16::from_le_bytes([elf[18], elf[19]])), (&b"\x7fELF"[..], machine), "{}", path.display());
}

const PROGRAM: &str = "#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
    int main(int argc, char **argv) { return printf(\"%f\\n\", pow(argc, atof(argv[0]))) < 0; }\n";

#[test]
fn a_cross_compiler_builds_and_links_for_its_target() {
    let Some(world) = world() else { return };
    world.write("main.c", PROGRAM);
    world.write("Makefile", "all: made lib.a\nmade: main.o\n\t$(CC) -o $@ $^ -lm\nlib.a: main.o\n\t$(AR) rcs $@ $^\n");
    // By the image's variable, by name, by make, and in steps.
    let script = "set -e; $CC -O2 -o variable main.c -lm; aarch64-linux-gnu-gcc -static -o named main.c -lm; make -s; \
        aarch64-linux-gnu-objdump -f made | grep -o 'file format .*'; command -v $CC aarch64-linux-gnu-gcc | sort -u | wc -l; \
        echo $ARCH $CROSS_COMPILE; test -d $CROSS_ROOT/include; ls -A $HOME; pwd; echo $HOME";
    let output = bare(&world, &[], script).output();
    let work = world.work();
    let text = output.ok();
    let (text, home) = text.rsplit_once('\n').unwrap();
    assert_eq!(text, format!("file format elf64-littleaarch64\n1\narm64 aarch64-linux-gnu-\n{}", work.display()));
    for name in ["variable", "named", "made"] {
        assert_machine(&work.join(name), 183);
    }
    assert!(output.stderr.contains("not hermetic (--isolation landlock)"), "{}", output.stderr);
    // What it made is the same as what a sandbox makes of it.
    let inside = TestContext::fixtures().unwrap();
    inside.write("main.c", PROGRAM);
    let build = ["--quiet", "--image", CROSS, "--", "sh", "-c", "$CC -O2 -o variable main.c -lm"];
    inside.hermes([&["run"][..], &build].concat()).ok();
    assert!(fs::read(work.join("variable")).unwrap() == fs::read(inside.work().join("variable")).unwrap());
    // Nothing stays of it in the store.
    assert!(!Path::new(home).exists(), "{home} is still there");
}

#[test]
fn what_was_not_given_cannot_be_written_or_read() {
    let Some(world) = world() else { return };
    let home = world.path().join("home");
    fs::write(home.join("secret"), "secret").unwrap();
    world.write("../data/file", "data");
    let data = world.path().join("data");
    let _ = bare(&world, &["--quiet"], "true").ok();
    let gcc = "fs/usr/bin/aarch64-linux-gnu-gcc-12";
    let roots = world.store().join("roots").canonicalize().unwrap();
    let roots = world.stored("roots").into_iter().map(|chain| roots.join(chain));
    let gcc = roots.map(|root| root.join(gcc)).find(|gcc| gcc.exists()).expect("no merged tree has the compiler");
    let (tree, length) = (gcc.ancestors().nth(3).unwrap().display(), fs::metadata(&gcc).unwrap().len());
    let cases = [
        ("no", format!("cat {}/secret", home.display())),
        ("no", format!("ls {}", home.display())),
        ("no", format!("echo x >{}/new", home.display())),
        ("no", format!("cat {}/file", data.display())),
        ("no", "echo x >/tmp/hermes-new".to_owned()),
        ("no", "echo x >/dev/shm/hermes-new".to_owned()),
        ("no", "cat /proc/$PPID/environ".to_owned()),
        ("no", format!("cat /proc/{}/environ", std::process::id())),
        ("no", format!("echo x >{tree}/new")),
        ("no", format!("echo x >>{}", gcc.display())),
        ("no", format!("rm -f {}", gcc.display())),
        ("no", "echo x >$(command -v aarch64-linux-gnu-gcc)".to_owned()),
        ("no", "unshare -r true".to_owned()),
        ("yes", "echo x >new && mkdir -p a/b && mv new a/b && rm -r a".to_owned()),
        (
            "yes",
            "echo x >$HOME/x && echo x >$TMPDIR/x && echo x >/dev/null && head -c 1 /dev/urandom >/dev/null".to_owned(),
        ),
        ("yes", format!("head -c 4 {} >/dev/null && ls {tree} >/dev/null", gcc.display())),
        ("yes", "cat /etc/passwd /proc/self/status >/dev/null".to_owned()),
    ];
    for (allowed, script) in &cases {
        let output = bare(&world, &["--quiet"], &format!("({script}) && echo yes || echo no")).output();
        let text = output.ok();
        assert_eq!(text.lines().last(), Some(*allowed), "{script}: {text} {}", output.stderr);
    }
    assert_eq!(fs::metadata(&gcc).unwrap().len(), length);
    // What is given can, at its own place.
    let given = |mode: &str, script: &str| {
        let volume = format!("{0}:{0}{mode}", data.display());
        bare(&world, &["--quiet", "-v", &volume], &format!("cd {} && {script}", data.display())).output()
    };
    assert_eq!(given("", "cat file && echo x >new").ok(), "data");
    assert_eq!(given(":ro", "cat file && echo x >other || echo no").ok(), "datano");
    // The caller's variables and descriptors are not there.
    let run = bare(
        &world,
        &["--quiet", "-e", "GIVEN=1"],
        "env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | wc -l",
    );
    let text = run.env("SECRET", "x").ok();
    let names = "AR ARCH AS CC CPP CROSS_COMPILE CROSS_ROOT CROSS_TRIPLE DEFAULT_DOCKCROSS_IMAGE GIVEN HOME LANG LD PATH \
        PWD SOURCE_DATE_EPOCH TMPDIR TZ";
    assert_eq!(text, format!("{names} 4"));
    // A directory to start in.
    fs::create_dir(world.work().join("sub")).unwrap();
    assert!(bare(&world, &["--quiet", "-w", "sub"], "pwd").ok().ends_with("/work/sub"));
}

#[test]
fn no_sockets_but_with_the_hosts_network() {
    let Some(world) = world() else { return };
    if !tool("bash") || !tool("python3") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo connected");
    let output = bare(&world, &[], &connect).output();
    assert!(output.exits(1).stderr.contains("Permission denied"), "{}", output.stderr);
    assert!(listener.accept().is_err(), "the host's listener was reached");
    let output = bare(&world, &["--net", "host"], &connect).output();
    assert_eq!(output.ok(), "connected");
    assert!(listener.accept().is_ok());
    assert!(output.stderr.contains("has the host's network"), "{}", output.stderr);
    // Nobody who listens by a name, as session buses do, is asked to do what the command may not.
    let name = world.path().join("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&name).unwrap();
    for net in ["none", "host"] {
        let script = format!(
            "python3 -c 'import socket as s; s.socketpair(); s.socket(s.AF_UNIX).connect(\"{}\")'",
            name.display()
        );
        let output = bare(&world, &["--quiet", "--net", net], &script).output();
        assert!(output.exits(1).stderr.contains("PermissionError"), "{}", output.stderr);
    }
    // Nor who takes datagrams, as systemd does: one of a pair of such sockets can send to any name.
    let name = world.path().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&name).unwrap();
    listener.set_nonblocking(true).unwrap();
    for kind in ["DGRAM", "DGRAM | s.SOCK_CLOEXEC", "RAW"] {
        let script = format!(
            "python3 -c 'import socket as s; s.socketpair(s.AF_UNIX, s.SOCK_SEQPACKET | s.SOCK_NONBLOCK); \
             s.socketpair(s.AF_UNIX, s.SOCK_{kind})[0].sendto(b\"x\", \"{}\")'",
            name.display()
        );
        let output = bare(&world, &["--quiet"], &script).output();
        assert!(output.exits(1).stderr.contains("PermissionError"), "{kind}: {}", output.stderr);
    }
    assert!(listener.recv(&mut [0; 8]).is_err(), "a datagram came");
}

#[test]
fn ends_signals_and_what_is_left_behind() {
    let Some(world) = world() else { return };
    let run = |script: &str| bare(&world, &["--quiet"], script);
    run("exit 7").output().exits(7);
    run("kill -TERM $$").output().exits(143);
    world.hermes([&BARE[..], &["--", "no-such-command"]].concat()).output().refused(127, &["command not found"]);
    let program = world.write("plain", "");
    world.hermes([&BARE[..], &["--", program.to_str().unwrap()]].concat()).output().refused(126, &["plain"]);
    let ready = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let started = run(ready).start();
    started.until("ready");
    started.signal(Signal::TERM);
    assert_eq!(started.wait().exits(9).text(), "ready\ncaught");
    // Its own time, and one that does not heed it.
    let output = bare(&world, &["--timeout", "500ms"], "echo ready; sleep 1000").output();
    assert!(output.exits(124).stderr.contains("timed out"), "{}", output.stderr);
    // What it leaves behind ends with it, in whatever session: it would hold the output.
    let left = "setsid sh -c 'sleep 1000 & sleep 1000' & setsid sleep 1000 & sleep 0.1; exit 3";
    run(left).output().exits(3);
    // The same when hermes is killed.
    let started = run("setsid sh -c 'sleep 1000 & sleep 1000' & echo ready; sleep 1000").start();
    started.until("ready");
    started.signal(Signal::KILL);
    let _ = started.wait();
    // A signal to others than its own gets nowhere, as far as the kernel can see to it.
    if hermes::testing::sys::process::landlock_abi() >= 6 {
        let output = run(&format!("kill -0 {} || kill -0 $PPID || echo no", std::process::id())).output();
        assert_eq!(output.text(), "no");
    }
}

#[test]
fn it_has_a_terminal_of_its_own() {
    let Some(world) = world() else { return };
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all >/dev/tty; stty size; echo $TERM; exit 5";
    let mut pty = Pty::start(bare(&world, &["--quiet"], script).env("TERM", "xterm"), (33, 111));
    assert_eq!(pty.wait(), 5);
    pty.until("all\r\n33 111\r\nxterm\r\n");
}

#[test]
fn limits_and_programs_by_their_paths() {
    let Some(world) = world() else { return };
    let run = |options: &[&str], words: &[&str]| world.hermes([&BARE, options, &["--"], words].concat()).output();
    assert_eq!(run(&["--memory", "500M", "--cpus", "1"], &["echo", "ran"]).ok(), "ran");
    let by_cgroup =
        TestContext::fixtures().unwrap().json(&["doctor"])["findings"].as_array().unwrap().iter().any(|finding| {
            finding["name"] == "limits by cgroup"
                && finding["ok"] == true
                && !finding["detail"].as_str().unwrap().contains("single")
        });
    let output = run(&["--pids", "50"], &["echo", "ran"]);
    if by_cgroup {
        assert_eq!(output.ok(), "ran");
    } else {
        output.refused(2, &["--pids without a cgroup needs namespaces"]);
    }
    let compiler = "/usr/bin/aarch64-linux-gnu-gcc";
    assert_eq!(run(&[], &[compiler, "-dumpmachine"]).ok(), "aarch64-linux-gnu");
    assert_eq!(run(&["--entrypoint", compiler], &["-dumpmachine"]).ok(), "aarch64-linux-gnu");
}

#[test]
fn what_cannot_be_had_without_namespaces_is_refused() {
    let Some(world) = world() else { return };
    let with = |image: &str, options: &[&str]| {
        let words = ["run", "--isolation", "landlock", "--image", image];
        world.hermes([&words, options, &["--", "echo", "ran"]].concat()).output()
    };
    let refused = |options: &[&str], code: i32, parts: &[&str]| {
        with(CROSS, options).refused(code, parts);
    };
    refused(&["--root"], 2, &["--root needs namespaces"]);
    refused(&["--rootfs", "overlay"], 2, &["--rootfs needs namespaces"]);
    refused(&["--rootfs", "merged"], 2, &["--rootfs needs namespaces"]);
    refused(&["--require", "netns"], 2, &["--require netns needs namespaces"]);
    refused(&["-v", "/etc:/data"], 2, &["cannot mount /etc at another path", "-v DIR"]);
    refused(&["-w", "/etc"], 2, &["/etc is outside the current directory"]);
    refused(&["-w", ".."], 2, &["is outside the current directory"]);
    assert_eq!(with(CROSS, &["--require", "seccomp,landlock"]).ok(), "ran");
    with(MIN, &[]).refused(125, &["has no cross compiler", "--toolchain dockcross"]);
    // A native compiler is no cross compiler.
    with(DEBIAN, &[]).refused(125, &["has no cross compiler"]);
    with(DEBIAN, &["--platform", "arm/v5"]).refused(125, &["this image is for linux-armv5"]);
    let store = world.store().canonicalize().unwrap();
    let volume = format!("{0}:{0}", store.display());
    refused(&["-v", &volume], 125, &["overlaps the directory", "HERMES_STORE"]);
    let volume = format!("{0}:{0}", store.parent().unwrap().display());
    refused(&["-v", &volume], 125, &["overlaps the directory"]);
    // Without landlock or a filter nothing would confine the command.
    if tool("strace") {
        let lacking = TestContext::fixtures().unwrap();
        for (call, part) in [("landlock_create_ruleset", "no landlock"), ("seccomp", "does not enforce seccomp")] {
            let run = lacking.hermes([&BARE[..], &["--", "echo", "ran"]].concat());
            let trace = world.path().join("trace");
            run.strace(&trace, &format!("inject={call}:error=ENOSYS")).output().refused(125, &[part]);
        }
    }
    // Where namespaces are refused, this is said.
    let output = world.hermes(["run", "--image", CROSS, "--", "true"]).output();
    output.refused(
        125,
        &["does not allow unprivileged user namespaces", "hint: for a cross toolchain", "--isolation landlock"],
    );
    let text = world.hermes(["doctor"]).output().exits(1).text();
    assert!(text.contains("--isolation landlock"), "{text}");
}

#[test]
fn the_record_says_what_it_was() {
    let Some(world) = world() else { return };
    let marker = format!("bare-{}", std::process::id());
    bare(&world, &["--quiet"], &format!("true {marker} landlock")).ok();
    let outside = world.on("");
    outside.hermes(["run", "--image", CROSS, "--", "sh", "-c", &format!("true {marker} namespaces")]).ok();
    let text = outside.records();
    for isolation in ["landlock", "namespaces"] {
        let line = text.lines().find(|line| line.contains(&format!("true {marker} {isolation}"))).unwrap();
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["request"]["isolation"], isolation, "{record}");
        assert_eq!(record["enforced"]["netns"], isolation == "namespaces");
        assert_eq!(record["enforced"]["seccomp"], true);
    }
}

#[test]
fn links_of_the_image_lead_nowhere_else() {
    let Some(world) = world() else { return };
    // A layer whose compiler is a link to a file of the host, and one whose library is.
    let secret = world.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let links = crate::support::image::links(&[
        ("usr/bin/evil-linux-gnu-gcc", secret.to_str().unwrap()),
        ("usr/bin/evil-linux-gnu-cc", "../../../../../../../../bin/sh"),
        ("usr/lib/libevil.so.1", secret.to_str().unwrap()),
    ]);
    let mut content = Content::default();
    let config = json!({ "Env": ["PATH=/usr/bin:/bin", "LD_PRELOAD=/usr/lib/libevil.so.1", "EVIL=/../../etc/passwd"] });
    let manifest = content.image_with(("linux", "amd64", None), &[debian(), links], &config);
    let name = "test.invalid/bare/links:1";
    let _ = world.import(&content.tag("1", &manifest), name);
    let script = "ls -l $(dirname $(command -v evil-linux-gnu-cc))/../lib; cat $(command -v evil-linux-gnu-cc); echo \"preload:$LD_PRELOAD\"; echo $EVIL";
    let words = ["run", "--quiet", "--isolation", "landlock", "--image", name, "--", "sh", "-c", script];
    let output: Output = world.hermes(words).output();
    let text = output.ok();
    assert!(!text.contains("libevil") && text.contains("preload:\n"), "{text}");
    let tree = PathBuf::from(text.lines().last().unwrap());
    assert!(tree.starts_with(world.store().canonicalize().unwrap()) && tree.ends_with("etc/passwd"), "{text}");
    assert!(text.contains("/fs/"), "{text}");
}
