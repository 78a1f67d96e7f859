//! `--hostname`, `--clock`, `--dir-order` and similar options of `hermes run`: the command sees what they say, everywhere.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::context::{CROSS, DEBIAN, MIN, TestContext};
use crate::support::kernel;

const DAY: i64 = 86_400;
/// What may lie between two looks at the clock, in seconds.
const SOON: i64 = 3600;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// The record of the last run of this context: others share its store.
fn recorded(world: &TestContext) -> Value {
    let work = world.work();
    let text = world.records();
    let line = text.lines().rfind(|line| line.contains(work.to_str().unwrap())).unwrap();
    serde_json::from_str::<Value>(line).unwrap()["guest"].take()
}

/// Copies `tests/clocks.c` to where it will be compiled.
fn source(world: &TestContext) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clocks.c");
    fs::copy(source, world.work().join("clocks.c")).unwrap();
}

/// Whether all that `clocks` says of the time is `ahead` of now, and nothing is bad.
#[track_caller]
fn assert_clocks(text: &str, ahead: i64, names: &[&str]) {
    let mut seen = Vec::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line} in {text}"));
        assert_ne!(name, "bad", "{text}");
        let seconds: i64 = value.parse().unwrap();
        assert!((seconds - now() - ahead).abs() < SOON, "{name} is {seconds}: {text}");
        seen.push(name);
    }
    assert_eq!(seen, names, "{text}");
}

const CLOCKS: [&str; 8] = ["realtime", "coarse", "tai", "day", "time", "call", "thread", "child"];

#[test]
fn where_it_is() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "uname -n; domainname; cat /etc/hostname; getconf _NPROCESSORS_ONLN; getent hosts a >/dev/null && echo found; umask; echo ~; \
                  getent passwd $(id -u) | cut -d: -f6; touch ~/file && echo mine; pwd; nproc; cat input; ls -A /dev | grep -c online || true";
    world.write("input", "input");
    let options = "--hostname a.b.example --umask 27 --home /home/some//one --work /some/where/else --nproc 1";
    let words: Vec<_> = options.split(' ').collect();
    let seen = "a.b.example\nb.example\na.b.example\n1\nfound\n0027\n/home/some/one\n/home/some/one\nmine\n/some/where/else\n1\ninput0";
    assert_eq!(world.sh(&words, script).ok(), seen);
    assert_eq!(world.sh(&[&words[..], &["--rootfs", "merged"]].concat(), script).ok(), seen);
    let guest = recorded(&world);
    assert_eq!(guest["hostname"], "a.b.example");
    assert_eq!((&guest["umask"], &guest["nproc"]), (&"0027".into(), &1.into()));
    assert_eq!((&guest["home"], &guest["work"]), (&"/home/some/one".into(), &"/some/where/else".into()));
    assert_eq!((&guest["clock"], &guest["dir-order"]), (&Value::Null, &Value::Null));
    // A user that the image knows.
    let script = "echo ~root; grep -c ^root: /etc/passwd; ls -A ~root; stat -c %a ~root; pwd";
    let options = ["--root", "--home", "/elsewhere", "--work", "/opt"];
    assert_eq!(world.sh(&options, script).ok(), "/elsewhere\n1\n700\n/opt");

    let script = "uname -n; domainname; umask; echo ~; pwd; test -e ~root/.bashrc && echo theirs";
    assert_eq!(world.sh(&[], script).ok(), "hermes\n(none)\n0022\n/home/builder\n/work\ntheirs");
    let guest = recorded(&world);
    let home = "/home/builder".into();
    assert_eq!((&guest["hostname"], &guest["umask"], &guest["home"]), (&"hermes".into(), &"0022".into(), &home));
    assert_eq!((&guest["work"], &guest["nproc"], &guest["clock"]), (&"/work".into(), &Value::Null, &Value::Null));
}

#[test]
fn what_cannot_be_had_is_refused() {
    let Some(world) = TestContext::fixtures() else { return };
    for options in [
        ["--hostname", "a b"],
        ["--hostname", "a\nb"],
        ["--umask", "888"],
        ["--home", "x"],
        ["--home", "/a:/bin/sh"],
        ["--work", "/"],
        ["--work", "/proc/1"],
        ["--work", "/a/../b"],
        ["--nproc", "0"],
        ["--clock", "tomorrow"],
        ["--clock", "+1y"],
        ["--dir-order", "sorted"],
    ] {
        world.sh(&options, "true").output().refused(2, &["invalid value", options[0]]);
    }
    for options in [["--clock", "+1d"], ["--dir-order", "reverse"]] {
        let explained = [&["--explain"][..], &options].concat();
        world.sh(&explained, "true").output().refused(2, &["--explain", options[0], "cannot be used with"]);
    }
    for options in
        [["--hostname", "x"], ["--home", "/x"], ["--work", "/x"], ["--clock", "+1d"], ["--dir-order", "reverse"]]
    {
        let words = [&["run", "--image", CROSS, "--isolation", "landlock"][..], &options, &["--", "true"]].concat();
        world.hermes(words).output().refused(2, &[options[0], "needs namespaces"]);
    }
    let words = ["run", "--image", CROSS, "--isolation", "landlock", "--quiet", "--umask", "077", "--nproc", "1"];
    if !rustix::process::getuid().is_root() {
        let script = ["--", "sh", "-c", "umask; nproc"];
        assert_eq!(world.hermes([&words[..], &script].concat()).ok(), "0077\n1");
    }
}

/// Nothing that was asked for goes without saying.
#[test]
fn a_kernel_on_which_it_cannot_be_had() {
    let Some(world) = TestContext::fixtures().filter(|_| kernel::available()).map(|world| world.on("4.18")) else {
        return;
    };
    for (options, script) in [(["--clock", "+1d"], "date; sleep 60"), (["--dir-order", "reverse"], "ls; sleep 60")] {
        let output = world.sh(&options, script).output();
        output.refused(125, &["reading the system calls of the command", options[0], "Linux 5."]);
        assert_eq!(world.sh(&options, "echo ran").ok(), "ran", "what is not asked for is not missed");
    }
}

#[test]
fn when_it_is() {
    let Some(world) = TestContext::fixtures() else { return };
    source(&world);
    let build = "gcc -O1 -pthread -o dynamic clocks.c && gcc -O1 -pthread -static -o static clocks.c";
    world.hermes(["run", "--image", DEBIAN, "--", "sh", "-c", build]).ok();
    for program in ["./dynamic", "./static"] {
        for (clock, ahead) in
            [(None, 0), (Some("+398d"), 398 * DAY), (Some("-1000d"), -1000 * DAY), (Some("@86400"), DAY - now())]
        {
            let options: Vec<_> = clock.into_iter().flat_map(|clock| ["--clock", clock]).collect();
            let run = |script: &str| world.sh(&[&options[..], &["--timeout", "60s"]].concat(), script).ok();
            assert_clocks(&run(&format!("{program} clocks")), ahead, &CLOCKS);
            assert_eq!(run(&format!("{program} waits")), "waited", "{program} {clock:?}");
        }
    }
    // By way of others, and in a program that another of its threads has executed.
    let script = "env -i ./static clocks; exec ./dynamic clocks";
    let text = world.sh(&["--clock", "+398d"], script).ok();
    assert_clocks(&text, 398 * DAY, &[CLOCKS, CLOCKS].concat());
    assert_eq!(world.sh(&["--clock", "2031-05-17T12:00:00Z", "-e", "TZ=UTC"], "date +%F").ok(), "2031-05-17");
    assert_eq!(recorded(&world)["clock"], "2031-05-17T12:00:00Z");
    // The page that answers without the kernel is hidden behind any number of arguments.
    for count in ["1015", "1100", "20000"] {
        let script = format!("x=$(seq {count}); ./dynamic clocks $x");
        let text = world.hermes(["run", "--image", MIN, "--clock", "+398d", "--", "bash", "-c", &script]).ok();
        assert_clocks(&text, 398 * DAY, &CLOCKS);
    }
    // Files have their true times.
    let script = "touch new; stat -c %Y new";
    let made: i64 = world.sh(&["--clock", "+398d"], script).ok().parse().unwrap();
    assert!((made - now()).abs() < SOON);
}

#[test]
fn directories_from_their_end() {
    let Some(world) = TestContext::fixtures() else { return };
    source(&world);
    world.hermes(["run", "--image", DEBIAN, "--", "gcc", "-static", "-pthread", "-o", "clocks", "clocks.c"]).ok();
    fs::create_dir(world.work().join("large")).unwrap();
    for number in 0..3000 {
        fs::write(world.work().join(format!("large/{number}")), "").unwrap();
    }
    let reverse = ["--dir-order", "reverse", "--timeout", "120s"];
    for place in ["large", "/usr/bin", "/proc/self", "/dev", "/sys/class", "/", "/tmp/new"] {
        let script = format!(
            "mkdir /tmp/new; for i in 1 2 3 4 5 6 7 8 9; do touch /tmp/new/$i; done; ./clocks directory {place}"
        );
        let [plain, reversed] = [&[][..], &reverse].map(|options| world.sh(options, &script).ok());
        let mut lines: Vec<_> = reversed.lines().collect();
        assert!(!lines.iter().any(|line| line.starts_with("bad")), "{place}: {reversed}");
        // Names of processes come and go.
        if place.starts_with("/proc") || place == "/tmp/new" || place == "/" {
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&plain), sorted(&reversed), "{place}");
            assert_ne!(plain, reversed, "{place}");
            continue;
        }
        lines.reverse();
        assert_eq!(lines, plain.lines().collect::<Vec<_>>(), "{place}");
    }
    assert_eq!(recorded(&world)["dir-order"], "reverse");
    // Entries that are removed during the listing, and several readers.
    let script = "cp -r large copy; (ls -U copy >one & ls -U copy >two; wait); cmp one two; rm -r copy && ls large | wc -l; \
                  find large -type f | wc -l; ls /no/such 2>/dev/null || ls -U one; mkdir gone; cd gone; rmdir ../gone; ls; ls </work | head -0";
    assert_eq!(world.sh(&reverse, script).ok(), "3000\n3000\none");
}

#[test]
fn programs_of_32_bits() {
    let Some(world) = TestContext::fixtures() else { return };
    let words = ["run", "--image", DEBIAN, "-p", "386", "--clock", "+398d", "--dir-order", "reverse", "--"];
    let run = |script: &str| world.hermes([&words[..], &["sh", "-c", script]].concat()).ok();
    let seconds: i64 = run("uname -m >machine; date +%s").parse().unwrap();
    assert!((seconds - now() - 398 * DAY).abs() < SOON, "{seconds}");
    assert_ne!(world.read("machine"), "x86_64\n");
    for name in 0..100 {
        world.write(&format!("entries/{name}"), "");
    }
    let reversed = run("ls -U entries");
    let plain = world.sh(&[], "ls -U entries").ok();
    assert_eq!(reversed.lines().rev().collect::<Vec<_>>(), plain.lines().collect::<Vec<_>>());
}

#[test]
fn emulated_programs() {
    let Some(world) = TestContext::foreign() else { return };
    source(&world);
    for name in 0..100 {
        world.write(&format!("entries/{name}"), "");
    }
    let run = |options: &[&str], script: &str| {
        let words = ["run", "--image", DEBIAN, "-p", "arm64", "--timeout", "300s"];
        world.hermes([&words[..], options, &["--", "sh", "-c", script]].concat()).ok()
    };
    run(&[], "gcc -O1 -pthread -o dynamic clocks.c && gcc -O1 -pthread -static -o static clocks.c");
    let plain = run(&[], "./static directory entries");
    for tier in ["auto", "ptrace"] {
        let options = ["--emulation", tier, "--clock", "+398d", "--dir-order", "reverse"];
        // QEMU itself answers differently to an invalid address.
        let text = run(&options, "./static clocks; ./dynamic clocks");
        let text: Vec<_> = text.lines().filter(|line| *line != "bad address").collect();
        assert_clocks(&text.join("\n"), 398 * DAY, &[CLOCKS, CLOCKS].concat());
        assert_eq!(run(&options, "./dynamic waits"), "waited", "{tier}");
        let reversed = run(&options, "./dynamic directory entries");
        assert_eq!(reversed.lines().rev().collect::<Vec<_>>(), plain.lines().collect::<Vec<_>>(), "{tier}");
    }
}

#[test]
fn it_goes_with_what_else_there_is() {
    let Some(world) = TestContext::fixtures() else { return };
    let options = ["--clock", "@86400", "--dir-order", "reverse", "-e", "TZ=UTC"];
    let run = |more: &[&str], script: &str| world.sh(&[&options[..], more].concat(), script);
    let script = "chown 7:7 /etc/hostname; stat -c %u /etc/hostname; date +%F";
    assert_eq!(run(&["--root", "--fake-root", "stateful"], script).ok(), "7\n1970-01-02");
    assert_eq!(run(&["--rootfs", "merged"], "date +%F").ok(), "1970-01-02");
    run(&["--timeout", "300ms"], "date >/dev/null; sleep 60").output().exits(124);
    run(&[], "kill -9 $$").output().exits(137);
    // What is left behind ends with the run.
    assert_eq!(run(&[], "sleep 1000 & date +%F").ok(), "1970-01-02");
    // No hermes in it, whatever the host is called.
    let volume = format!("{0}:{0}", crate::support::context::program().display());
    let words = ["--hostname", "x", "-v", &volume, "-e", "HERMES_STORE=/tmp/store"];
    let script = format!("{} run --image {MIN} -- true", crate::support::context::program().display());
    let _ = world.sh(&words, &script).output().refused(125, &[]);
}
