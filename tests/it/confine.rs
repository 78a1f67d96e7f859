//! Confinement: what a command cannot see, keep or do.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::context::{DEBIAN, MIN, TestContext, tool};
use crate::support::process::Run;

#[test]
fn no_capability_no_new_privilege_no_descriptor() {
    let Some(world) = TestContext::fixtures() else { return };
    let text = world.sh(&[], "cat /proc/self/status; ls /proc/self/fd").ok();
    for line in [
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    // The fourth is the directory that ls reads.
    assert!(text.ends_with("0\n1\n2\n3"), "{text}");
}

#[test]
fn a_descriptor_the_caller_left_open_does_not_get_in() {
    let Some(world) = TestContext::fixtures() else { return };
    let secret = world.write("../secret", "s3cret");
    let hermes = world.sh(&[], "ls /proc/self/fd | tr '\\n' ' '; cat <&7");
    let output = hermes.under(&["sh", "-c", "exec 7<\"$0\"; exec \"$@\"", secret.to_str().unwrap()]).output();
    assert!(output.text().starts_with("0 1 2 3") && !output.text().contains("s3cret"), "{}", output.text());
    assert_ne!(output.code(), 0);
}

#[test]
fn one_user_alone_whoever_the_caller_is() {
    let Some(world) = TestContext::fixtures() else { return };
    let text = world.sh(&[], "id -u; id -g; id -un; echo ~; touch ~/x && echo home; cat /proc/self/uid_map").ok();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines[..5], ["1000", "1000", "builder", "/home/builder", "home"]);
    assert_eq!(lines[5].split_whitespace().collect::<Vec<_>>()[2], "1", "{text}");
}

#[test]
fn root_is_user_0_inside_and_the_caller_outside() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(world) = TestContext::fixtures() else { return };
    let text = world
        .sh(&["--root"], "id -u; id -g; echo ~; touch made; echo x >/usr/bin/new && grep NoNewPrivs /proc/self/status")
        .ok();
    assert_eq!(text, "0\n0\n/root\nNoNewPrivs:\t1");
    assert_eq!(std::fs::metadata(world.work().join("made")).unwrap().uid(), rustix::process::getuid().as_raw());
    // It is root over files only: no mount, no network, no other namespace.
    for attempt in
        ["mount -t tmpfs t /mnt", "unshare -m true", "hostname x && test $(hostname) = x", "chroot /usr true"]
    {
        assert_ne!(world.sh(&["--root"], attempt).output().code(), 0, "{attempt}");
    }
}

#[test]
fn no_further_user_namespace_and_no_mount() {
    let Some(world) = TestContext::fixtures() else { return };
    for attempt in [
        "unshare -U true",
        "unshare -Ur true",
        "unshare -m true",
        "unshare -n true",
        "mount -t tmpfs t /mnt",
        "mount -o remount,rw /sys",
        "umount /proc",
    ] {
        let output = world.sh(&[], attempt).output();
        assert_ne!(output.code(), 0, "{attempt} was allowed");
        assert_ne!(output.code(), 127, "{attempt} was not tried");
    }
}

#[test]
fn kernel_settings_cannot_be_written() {
    let Some(world) = TestContext::fixtures() else { return };
    for options in [&[][..], &["--root"]] {
        for path in [
            "/proc/sys/kernel/hostname",
            "/proc/sys/user/max_user_namespaces",
            "/proc/sysrq-trigger",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/proc/1/oom_score_adj",
        ] {
            let output = world.sh(options, &format!("echo 1 >{path}")).output();
            assert_ne!(output.code(), 0, "{path} was written with {options:?}");
        }
    }
}

#[test]
fn processes_names_and_devices_are_the_sandboxs_own() {
    let Some(world) = TestContext::fixtures() else { return };
    let text = world
        .sh(&[], "ls /proc | grep -c '^[0-9]'; uname -n; cat /etc/hostname; getent hosts hermes | wc -l; ls /dev")
        .ok();
    let (count, rest) = text.split_once('\n').unwrap();
    // What is left of init's command line, which has paths of the host in it, is its name.
    let script =
        "tr -d '\\0' </proc/1/cmdline; echo; ps -o args= 1 2>/dev/null || true; ls -l /proc/1/exe 2>/dev/null || true";
    let store = world.store().display().to_string();
    for options in [&["--store", &store][..], &[]] {
        let words = [options, &["run", "--image", MIN, "-v", "/usr/share:/host:ro", "--", "sh", "-c", script]].concat();
        assert_eq!(world.hermes(words).ok().lines().next(), Some("hermes-init"));
    }
    // Init, the shell, ls, grep.
    assert!(count.parse::<u32>().unwrap() <= 4, "{count} processes are seen");
    let devices = "core\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    assert_eq!(rest, format!("hermes\nhermes\n1\n{devices}"));
    world.sh(&[], "echo x >/dev/null && head -c 4 /dev/urandom | wc -c && test -w /dev/shm && test -w /tmp").ok();
}

#[test]
fn init_is_not_for_the_command_to_look_at() {
    let Some(world) = TestContext::fixtures() else { return };
    for path in ["exe", "root", "cwd", "environ", "mem", "fd", "maps"] {
        let output =
            world.sh(&[], &format!("cat /proc/1/{path} || ls /proc/1/{path}/ || readlink /proc/1/{path}")).output();
        assert_ne!(output.code(), 0, "/proc/1/{path}: {}", output.text());
    }
    // Nor is it killed or stopped.
    assert_eq!(world.sh(&[], "kill -9 1; kill -STOP 1; echo still").output().text(), "still");
}

#[test]
fn no_network_but_loopback() {
    let Some(world) = TestContext::fixtures() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected");
    let bash = |net: &str, script: &str| {
        world.hermes(["run", "--image", MIN, "--net", net, "--", "bash", "-c", script]).output()
    };
    let devices = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    assert_eq!(bash("none", devices).ok(), "lo");
    assert_eq!(bash("none", "cat /sys/class/net/*/operstate; ls /sys/class/net").ok(), "unknown\nlo");
    let output = bash("none", &connect);
    assert!(output.exits(1).stderr.contains("connect"), "{}", output.stderr);
    assert!(listener.accept().is_err(), "the host's listener was reached");
    // A server of the command's own is.
    let own = "use Socket; socket(L, AF_INET, SOCK_STREAM, 0); bind(L, pack_sockaddr_in(0, inet_aton('127.0.0.1'))) && listen(L, 1) or die; \
               socket(C, AF_INET, SOCK_STREAM, 0); print connect(C, getsockname(L)) ? 'connected' : $!";
    assert_eq!(world.hermes(["run", "--image", MIN, "--", "perl", "-e", own]).ok(), "connected");
    // With the host's network it is.
    assert_eq!(bash("host", &connect).ok(), "connected");
    assert!(listener.accept().is_ok());
    assert_eq!(bash("host", devices).ok().lines().count(), std::fs::read_dir("/sys/class/net").unwrap().count());
    // The host's resolver comes with it; nothing else changes.
    assert_eq!(
        bash("host", "cat /etc/resolv.conf").text(),
        std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default().trim_end()
    );
    assert_eq!(bash("host", "grep CapEff /proc/self/status").ok(), "CapEff:\t0000000000000000");
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let Some(world) = TestContext::fixtures() else { return };
    let name = format!("hermes-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_eq!(world.sh(&[], &format!("grep -c {name} /proc/net/unix")).output().text(), "0");
}

#[test]
fn what_the_command_leaves_behind_ends_with_it() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("29{}", std::process::id());
    let script = format!(
        "sleep {marker} & setsid sleep {marker} & (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; sleep 0.1; exit 4"
    );
    world.sh(&[], &script).output().exits(4);
    assert_eq!(processes(&marker), 0);
}

#[test]
fn two_hundred_children_are_reaped() {
    let Some(world) = TestContext::fixtures() else { return };
    // What grep wrote counts, not its status: that is an error too where a process ended under it.
    let script = "i=0; while [ $i -lt 200 ]; do (setsid true &); i=$((i+1)); done; z() { grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null; }; n=0; while z >/tmp/z; [ -s /tmp/z ] && [ $n -lt 200 ]; do sleep 0.02; n=$((n+1)); done; wc -l </tmp/z";
    assert_eq!(world.sh(&[], script).ok(), "0");
}

#[test]
fn signals_sent_to_hermes_reach_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let script = format!("trap 'echo caught {name}; exit 42' {name}; echo ready; while :; do sleep 0.01; done");
        let run = world.sh(&[], &script).start();
        run.until("ready");
        run.signal(signal);
        assert_eq!(run.wait().exits(42).text(), format!("ready\ncaught {name}"));
    }
    // A command without a handler ends as it would outside.
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let run = world.sh(&[], "echo ready; exec sleep 60").start();
        run.until("ready");
        run.signal(signal);
        run.wait().exits(code);
    }
}

#[test]
fn killing_hermes_kills_everything_inside() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("28{}", std::process::id());
    let run =
        world.sh(&[], &format!("sleep {marker} & setsid sleep {marker} & echo ready; exec sleep {marker}")).start();
    run.until("ready");
    let limit = Instant::now() + Duration::from_secs(20);
    while processes(&marker) < 3 {
        assert!(Instant::now() < limit, "{} of three processes", processes(&marker));
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::KILL);
    // The end of its output is the end of the last process that held it.
    run.wait().exits(-9);
    assert_eq!(processes(&marker), 0);
}

#[test]
fn stop_and_continue_reach_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = world.sh(&[], "while :; do echo tick; sleep 0.02; done").start();
    run.until("tick\ntick");
    run.signal(Signal::TSTP);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", run.pid().as_raw_nonzero())).unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    while !state().contains(") T ") {
        assert!(Instant::now() < limit, "hermes does not stop: {}", state());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    let before = run.until("tick").len();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(run.until("tick").len(), before, "the command runs on while hermes is stopped");
    run.signal(Signal::CONT);
    let limit = Instant::now() + Duration::from_secs(10);
    while run.until("tick").len() == before {
        assert!(Instant::now() < limit, "the command was not continued");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::TERM);
    run.wait().exits(143);
}

/// How many processes of the host have `marker` in their command line.
pub fn processes(marker: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == marker.as_bytes())).count()
}

/// What `strace -f` saw of a warm run.
fn traced(world: &TestContext, calls: &str, run: Run) -> Vec<String> {
    let log = world.path().join("trace");
    run.strace(&log, &format!("trace={calls}")).ok();
    std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_warm_run_makes_two_processes_and_no_thread() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("strace") {
        return;
    }
    let run = || world.hermes(["run", "--image", DEBIAN, "--", "/bin/true"]);
    run().ok();
    let calls = traced(&world, "clone,clone3,fork,vfork", run());
    assert!(!calls.iter().any(|call| call.contains("CLONE_THREAD") || call.contains("CLONE_VM")), "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| call.contains('(')).count(), 2, "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| call.contains("CLONE_NEWUSER")).count(), 1, "{calls:#?}");
}

#[test]
fn a_warm_run_opens_no_socket_to_the_world() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("strace") {
        return;
    }
    let run = |offline: &[&str]| world.hermes([offline, &["run", "--image", DEBIAN, "--", "/bin/true"]].concat());
    run(&[]).ok();
    for offline in [&[][..], &["--offline"]] {
        let calls = traced(&world, "socket,socketpair,connect,bind,listen,accept,accept4,sendto", run(offline));
        let mut others = calls.iter().filter(|call| !call.contains("socketpair(AF_UNIX"));
        // Loopback is switched on inside, by an ioctl of some socket that is never connected.
        assert!(
            others.all(|call| call.contains("socket(AF_") && !calls.iter().any(|call| call.contains("connect("))),
            "{calls:#?}"
        );
    }
}

#[test]
fn the_sandbox_inherits_nothing_of_the_callers_session() {
    let Some(world) = TestContext::fixtures() else { return };
    // Neither the session nor the process group is the caller's, which would be seen as 0 inside.
    let text = world.sh(&[], "cut -d' ' -f5-8 /proc/$$/stat; echo $$").ok();
    let (ids, own) = text.split_once('\n').unwrap();
    let ids: Vec<_> = ids.split(' ').collect();
    assert_eq!(ids[..3], [own, own, "0"], "process group, session, terminal: {text}");
}

#[test]
fn files_are_given_to_nobody_as_by_any_user() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = r#"
        sub fails { my ($user, $group) = @_; chown($user, $group, "f") and die "$user:$group"; $! == 1 or die "$user:$group $!";
            open(my $f, "<", "f") or die; chown($user, $group, $f) and die; $! == 1 or die "fchown $user:$group: $!" }
        open(F, ">", "f") or die; my ($me, $us) = ($<, $( + 0);
        fails(@$_) for [0, 0], [$me, 0], [0, $us], [-1, 12], [12, -1], [4294967294, $us];
        chown(@$_, "f") == 1 or die "@$_: $!" for [$me, $us], [-1, -1], [$me, -1], [-1, $us];
        chown($me, $us, "missing") and die; $! == 2 or die "missing: $!""#;
    // What copies and unpacks goes on.
    let tools = "mkdir d && echo x >d/f && cp -a d e && tar -cf t.tar d && tar -xpf t.tar -C e && install -g $(id -g) d/f g && ! chown 0 g";
    world.sh(&["--quiet"], &format!("cd /tmp && perl -e '{script}' && {tools}")).ok();
}

#[test]
fn terminals_can_be_made_by_old_c_libraries() {
    let Some(world) = TestContext::fixtures() else { return };
    // What grantpt(3) of glibc before 2.23 does.
    let script = r#"use Fcntl; open(M, "+<", "/dev/ptmx") or die; my $n = pack("i", 0); ioctl(M, 0x80045430, $n) or die;
        my $name = "/dev/pts/" . unpack("i", $n); my @stat = stat $name; my $tty = getgrnam("tty"); $tty == 5 or die;
        $stat[4] == $< or die "owner $stat[4]"; $stat[5] == $tty or chown($<, $tty, $name) == 1 or die "chown: $!";
        ($stat[2] & 0777) == 0620 or die; my $no = pack("i", 0); ioctl(M, 0x40045431, $no) or die; open(S, "+<", $name) or die "$!""#;
    for options in [&["--quiet"][..], &["--quiet", "--root"]] {
        world.sh(options, &format!("perl -e '{script}' && script -qc 'echo made' /dev/null")).ok();
    }
}

#[test]
fn the_own_network_has_low_ports_and_pings() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = r#"use Socket; socket(L, AF_INET, SOCK_STREAM, 0) or die; bind(L, pack_sockaddr_in(80, INADDR_LOOPBACK)) or die "bind: $!";
        listen(L, 1) or die; socket(P, AF_INET, SOCK_DGRAM, 1) or die "socket: $!"; connect(P, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die;
        send(P, pack("CCnnn", 8, 0, 0, 1, 1), 0) == 8 or die "send: $!"; recv(P, my $reply, 100, 0); ord($reply) == 0 or die "no reply";
        socket(R, AF_INET, SOCK_RAW, 1) and die "a raw socket""#;
    for options in [&["--quiet"][..], &["--quiet", "--root"]] {
        world.sh(options, &format!("perl -e '{script}'")).ok();
    }
}

#[test]
fn localhost_is_found_where_addresses_are_to_be_configured() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = r#"use Socket qw(:all); my $flags = AI_ADDRCONFIG;
        for my $family (AF_INET, AF_UNSPEC) { my ($error, @found) = getaddrinfo("localhost", 80, {family => $family, flags => $flags});
            $error and die "localhost $family: $error"; @found or die }
        my ($error) = getaddrinfo("127.0.0.1", 80, {flags => $flags}); $error and die "$error";
        socket(S, AF_INET, SOCK_DGRAM, 0) or die; connect(S, pack_sockaddr_in(9, inet_aton("192.0.2.1"))) and die "a network";
        $!{ENETUNREACH} or die "$!";
        if (socket(T, AF_INET6, SOCK_STREAM, 0) and bind(T, pack_sockaddr_in6(0, inet_pton(AF_INET6, "::1")))) {
            for my $name ("localhost", "::1") { ($error) = getaddrinfo($name, 80, {family => AF_INET6, flags => $flags}); $error and die "$name: $error" }
            ($error) = getaddrinfo("::1", 80, {flags => $flags}); $error and die "::1: $error";
            connect(T, pack_sockaddr_in6(9, inet_pton(AF_INET6, "2001:db8::1"))) and die "a network" }"#;
    world.sh(&["--quiet"], &format!("perl -MErrno -e '{script}' && test $(ls /sys/class/net) = lo")).ok();
}

#[test]
fn the_table_of_mounts_has_its_usual_name() {
    let Some(world) = TestContext::fixtures() else { return };
    for options in [&["--quiet"][..], &["--quiet", "--root"], &["--quiet", "--rootfs", "merged"]] {
        assert_eq!(
            world.sh(options, "readlink /etc/mtab && grep -q ' / ' /etc/mtab").ok(),
            "/proc/mounts",
            "{options:?}"
        );
    }
}
