//! `--emulation`: each mode in which foreign programs are run by their emulator, and which mode a host gets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hermes::testing::digest::Digest;

use crate::support::context::{CROSS, TestContext, tool};
use crate::support::elf::{Machine, program};
use crate::support::kernel;
use crate::support::process::Run;
use crate::support::{made, require, which};

/// `tests/exec.c` for this host with 64 and 32 bits, and for arm64 without and with a loader.
const PROGRAMS: [&str; 4] = ["t-amd64", "t-386", "t-static", "t-dynamic"];

/// The directory with them.
fn programs() -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("tests/exec.sh is for hosts with x86-64".to_owned());
    }
    which("cc")?;
    let world = TestContext::fixtures().ok_or("no fixtures")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exec.c");
    let text = fs::read(&source).map_err(|error| error.to_string())?;
    made::once("exec-programs", &text, |kept| {
        fs::copy(&source, world.work().join("exec.c")).unwrap();
        let native = ["-O1", "-static", "-pthread", "-o", "t-amd64", "exec.c"];
        let narrow = "-m32 -static -nostdlib -O1 -fno-pie -no-pie -fno-stack-protector -o t-386 exec.c";
        for words in [native.to_vec(), narrow.split(' ').collect()] {
            let output = Command::new("cc").args(words).current_dir(world.work()).output();
            let output = output.map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        let foreign =
            "$CC -O1 -static -pthread -o t-static exec.c && $CC -O1 -pthread -o t-dynamic exec.c && chmod 755 t-*";
        world.hermes(["run", "--image", CROSS, "--", "sh", "-c", foreign]).ok();
        for name in PROGRAMS {
            fs::copy(world.work().join(name), kept.join(name)).unwrap();
        }
        Ok(())
    })
}

/// A context with the programs and the script in its directory of work.
fn world() -> Option<TestContext> {
    let world = TestContext::foreign()?;
    let programs = programs();
    require("exec-programs", programs.as_ref().map(drop).map_err(Clone::clone)).then_some(())?;
    for name in PROGRAMS {
        fs::copy(programs.as_ref().unwrap().join(name), world.work().join(name)).unwrap();
    }
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exec.sh"), world.work().join("exec.sh")).unwrap();
    Some(world)
}

/// `hermes run --platform arm64 --emulation TIER OPTIONS -- sh -c SCRIPT`.
fn run(world: &TestContext, tier: &str, options: &[&str], script: &str) -> Run {
    let words = ["run", "--platform", "arm64", "--emulation", tier];
    world.hermes([&words, options, &["--", "sh", "-c", script]].concat())
}

/// Whether a run can have a `binfmt_misc` of its own here.
fn private() -> bool {
    let Some(world) = TestContext::foreign() else { return false };
    let output = run(&world, "binfmt", &[], "true").output();
    require("binfmt", if output.code() == 0 { Ok(()) } else { Err(output.stderr) })
}

#[test]
fn a_mark_in_the_padding_of_a_program_makes_no_difference() {
    let Some(world) = TestContext::foreign() else { return };
    let mut appimage = program(Machine::Arm64, "an AppImage\n", 0);
    appimage[8..11].copy_from_slice(b"AI\x02");
    let path = world.work().join("appimage");
    fs::write(&path, appimage).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let tiers = ["ptrace", "binfmt"].into_iter().filter(|tier| *tier == "ptrace" || private());
    for tier in tiers {
        assert_eq!(run(&world, tier, &[], "./appimage").ok(), "an AppImage", "{tier}");
    }
}

#[test]
fn every_way_to_execute_a_program_is_the_same_by_ptrace() {
    let Some(world) = world() else { return };
    if !private() {
        return;
    }
    let said = |tier: &str| {
        let output = run(&world, tier, &[], "sh exec.sh 2>&1").output();
        output.exits(0);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (binfmt, ptrace) = (said("binfmt"), said("ptrace"));
    let wrong: Vec<_> = binfmt
        .split("== ")
        .zip(ptrace.split("== "))
        .filter(|(binfmt, ptrace)| binfmt != ptrace)
        .map(|(binfmt, ptrace)| format!("binfmt: {binfmt}ptrace: {ptrace}"))
        .collect();
    assert!(wrong.is_empty() && binfmt.len() == ptrace.len(), "{}", wrong.concat());
    // That it is what it should be, and not twice the same failure.
    for part in [
        "== ./t-amd64 exec ./t-static args 1 2\n[./t-static][args][1][2] m\n-> 0\n",
        "== ./t-static exec ./t-amd64 args 1 2\n[./t-amd64][args][1][2] m\n-> 0\n",
        "== ./t-static exec ./script4 1 2\n[/work/t-static][args][/work/script1][x y][script2][/work/script3][a][./script4][1][2] m\n",
        "== ./t-amd64 exec ./script5 1 2\n./script5: ELOOP\n-> 90\n",
        "== ./t-amd64 memfd-cloexec ./t-static args\nmemfd-cloexec: E2BIG, 1\nmemfd-cloexec: ENOENT\n-> 90\n",
        "== ./t-static memfd-cloexec ./t-static args\nmemfd-cloexec: E2BIG, 1\n[./t-static][args] m\n-> 0\n",
        "== ./t-amd64 signals ./t-static\n[./t-static] m\n",
        "signals: 5\n",
        "== ./t-amd64 job /bin/sleep 20\njob: 0 stopped 19\njob: 0 continued 18\njob: signal 15\n",
        "== ./t-amd64 deep 6 ./t-amd64 ./t-static\ndeep: bottom\n-> 7\n",
        "== ./t-386 ./t-static args a\n[./t-static][args][a] m\n-> 0\n",
        "== ./t-386 - ./t-static\n-> 7\n",
        "== ./t-amd64 registers ./t-static\nexecve: -7 1\nexecveat: -7 1\n-> 0\n",
        "./closed/t-static: EACCES 66\n./missing: ENOENT 66\n",
        "== ./t-amd64 state ./t-static\nstate: blocked 1 ignored 1 umask 27 kept 1 closed 1\n",
    ] {
        assert!(binfmt.contains(part), "no {part:?} in {binfmt}");
    }
    assert!(!binfmt.contains("no mode"), "{binfmt}");
}

#[test]
fn thousands_of_programs() {
    let Some(world) = world() else { return };
    assert_eq!(run(&world, "ptrace", &[], "./t-amd64 many 1000 ./t-static true").ok(), "many: 1000");
    assert_eq!(run(&world, "ptrace", &[], "./t-static many 400 ./t-386 ./t-static true").ok(), "many: 400");
    assert_eq!(
        run(&world, "ptrace", &[], "./t-static deep 100 ./t-static ./t-amd64").output().exits(7).text(),
        "deep: bottom"
    );
    // What is left behind ends with the run, stopped or not.
    let script = "./t-amd64 exec /bin/sleep 1000 & ./t-static exec /bin/sleep 1000 & kill -STOP $!; exit 4";
    run(&world, "ptrace", &[], script).output().exits(4);
}

#[test]
fn the_processor_holds_in_an_empty_environment() {
    let Some(world) = world() else { return };
    for (platform, machine) in [("armv5", "armv5tel"), ("armv6", "armv6l")] {
        let run = world.hermes(["run", "-p", platform, "--emulation", "ptrace", "--", "env", "-i", "/bin/uname", "-m"]);
        assert_eq!(run.env("QEMU_CPU", "max").ok(), machine);
    }
}

#[test]
fn ptrace_goes_with_the_other_options() {
    let Some(world) = world() else { return };
    let nested = "./t-amd64 exec /bin/sh -c 'id -u; ./t-amd64 vfork /bin/true'";
    let vfork = ["vfork: exit 0"; 3].join("\n");
    for (options, user) in [
        (&["--root"][..], "0"),
        (&["--root", "--fake-root", "stateful"], "0"),
        (&["--timeout", "100s", "--pids", "4000"], ""),
        (&["--explain"], ""),
    ] {
        let output = run(&world, "ptrace", options, nested).output();
        let text = output.exits(0).text();
        let (id, rest) = text.split_once('\n').unwrap();
        assert!((user.is_empty() || id == user) && rest == vfork, "{options:?}: {text}");
    }
    let output = run(&world, "ptrace", &["--root", "--userns", "range"], nested).output();
    // Not everybody has such a range.
    assert!(
        output.code() == 0 || output.stderr.contains("newuidmap") || output.stderr.contains("range of ids"),
        "{}",
        output.stderr
    );
    // What --explain tells is about the program that was meant, not about its emulator.
    let output = run(
        &world,
        "ptrace",
        &["--explain", "--json"],
        "./t-static exec /opt/no/such; ./t-static exec ./t-amd64 exec /bin/true",
    )
    .output();
    assert!(!output.stderr.contains("qemu") && !output.stderr.contains(".hermes"), "{}", output.stderr);
    run(&world, "ptrace", &["--timeout", "2s"], "./t-static exec /bin/sleep 1000").output().exits(124);
}

#[test]
fn what_can_be_read_only_by_descriptor_is_not_run() {
    let Some(world) = world() else { return };
    // As it is for scripts everywhere: the emulator opens the program, which the kernel would do for binfmt.
    let script = "cp t-static secret; chmod 111 secret; ./t-amd64 exec ./secret true";
    assert_eq!(run(&world, "ptrace", &[], script).output().exits(90).text(), "./secret: ENOEXEC");
}

#[test]
fn a_host_without_a_private_binfmt_misc_goes_on_by_ptrace() {
    let Some(world) = world().filter(|_| kernel::available()) else { return };
    // A store of its own: what is remembered is.
    let fresh = TestContext::empty().on("4.18");
    let _ = fresh.import(&crate::support::elf::tiny("word"), "test.invalid/tiny:1");
    let tool = |world: &TestContext, tier: &str| {
        let words =
            ["--verbose", "run", "--image", "test.invalid/tiny:1", "-p", "arm64", "--emulation", tier, "--", "tool"];
        world.hermes(words).output()
    };
    let output = tool(&fresh, "auto");
    assert_eq!(output.exits(0).text(), "word arm64");
    assert!(output.stderr.contains("foreign programs are run by --emulation ptrace"), "{}", output.stderr);
    assert_eq!(fresh.last_record()["emulation"], "ptrace");
    // Said once.
    let output = tool(&fresh, "auto");
    assert_eq!(output.exits(0).text(), "word arm64");
    assert!(!output.stderr.contains("--emulation ptrace"), "{}", output.stderr);
    let output = tool(&fresh, "binfmt");
    output.refused(125, &["registering the emulator", "Linux 6.7", "--emulation ptrace"]);
    let text = fresh.hermes(["doctor"]).output().text();
    assert!(text.contains("--  private binfmt_misc") && text.contains("ok  emulation by ptrace"), "{text}");
    let fresh = fresh.on("");
    if private() {
        // What holds under a filter does not hold without; and what no longer holds the doctor finds out.
        let verdict = fresh.store().join("handlers-refused");
        let remembered = fs::read_to_string(&verdict).unwrap();
        fs::write(&verdict, format!("{} 0/0\n", remembered.rsplit_once(' ').unwrap().0)).unwrap();
        assert_eq!(tool(&fresh, "auto").exits(0).text(), "word arm64");
        assert_eq!(fresh.last_record()["emulation"], "ptrace");
        fresh.hermes(["doctor"]).ok();
        assert!(!verdict.exists());
        assert_eq!(tool(&fresh, "auto").exits(0).text(), "word arm64");
        assert_eq!(fresh.last_record()["emulation"], "binfmt");
    }
    // What tells calls to --explain came later than what is needed here.
    if private() {
        let output =
            fresh.on("4.18").hermes(["run", "--explain", "--image", "test.invalid/tiny:1", "--", "tool"]).output();
        output.refused(125, &["PTRACE_GET_SYSCALL_INFO", "Linux 5.3"]);
    }
    // Refused both the overlay and the handlers by one run, as root in a copy too.
    for options in [&[][..], &["--root"]] {
        let lacking = TestContext::empty().on("4.18 no-overlay");
        let _ = lacking.import(&crate::support::elf::tiny("word"), "test.invalid/tiny:1");
        let words = [&["run", "--image", "test.invalid/tiny:1", "-p", "arm64"], options, &["--", "tool"]].concat();
        assert_eq!(lacking.hermes(words).ok(), "word arm64", "{options:?}");
        assert_ne!(lacking.last_record()["root-strategy"], "overlay");
    }
    // Real programs.
    let world = world.on("4.18");
    let script = "printf '#!/bin/bash\necho $0\n' >s; chmod 755 s; ./s; ./t-amd64 vfork ./s | tail -n 1; env -i ./s";
    let run = world.hermes(["run", "--platform", "arm64", "--", "sh", "-c", script]);
    assert_eq!(run.ok(), "./s\nvfork: exit 0\n./s");
}

/// A run where this host has `handler` registered, in a `binfmt_misc` that only this test has; `before` is done to it.
fn on_host(world: &TestContext, handler: &str, before: &str, options: &[&str]) -> Run {
    let script = format!(
        "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && cd /proc/sys/fs/binfmt_misc && {{ [ -z \"$0\" ] || printf %s \"$0\" >register; }} && {{ {before}; }} && cd \"$OLDPWD\" && exec unshare -U --map-user=1000 --map-group=1000 \"$@\""
    );
    let words =
        [&["run", "--platform", "arm64"], options, &["--", "sh", "-c", "uname -m; ./t-amd64 exec ./t-static args"]];
    world.hermes(words.concat()).under(&["unshare", "-Urm", "sh", "-c", &script, handler])
}

#[test]
fn the_handler_of_the_host() {
    let Some(world) = world() else { return };
    if !tool("unshare") || !private() {
        return;
    }
    let emulator = which("qemu-aarch64-static").or_else(|_| which("qemu-aarch64"));
    if !require("qemu", emulator.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let emulator = emulator.unwrap();
    let digest = Digest::of(&fs::read(&emulator).unwrap()).to_string();
    let copy = world.path().join("qemu-aarch64");
    fs::copy(&emulator, &copy).unwrap();
    let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
    let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
    let exact = mask.replace(r"\xfe\xff\xff\xff", r"\xff\xff\xff\xff");
    let handler = |mask: &str, flags: &str| format!(":qemu-aarch64:M::{magic}:{mask}:{}:{flags}", copy.display());
    let (right, forced) = (handler(mask, "FP"), ["--emulation", "host"]);

    let output = on_host(&world, &right, "true", &forced).output();
    assert_eq!(output.exits(0).text(), "aarch64\n[./t-static][args] -", "{}", output.stderr);
    let record = world.last_record();
    assert_eq!((&record["emulation"], &record["emulator"]["digest"]), (&"host".into(), &digest.as_str().into()));
    // Nothing was taken from it into the lock.
    assert!(!fs::read_to_string(world.locks().join("debian.lock")).unwrap().contains("[emulator"));

    for (handler, before, parts) in [
        (handler(mask, "P"), "true", &["no flag F", "register it again with flag F"][..]),
        (handler(&exact, "FP"), "true", &["magic or mask", "qemu-binfmt-conf.sh"]),
        (
            right.clone(),
            "echo 0 >qemu-aarch64",
            &["qemu-aarch64 is disabled", "echo 1 > /proc/sys/fs/binfmt_misc/qemu-aarch64"],
        ),
        (right.clone(), "echo 0 >status", &["all its handlers are disabled", "binfmt_misc/status"]),
        (String::new(), "true", &["none of its handlers", "install qemu-user-static"]),
        (right.clone(), &format!("mv {0} {0}.gone", copy.display()), &["which does not exist", "reinstall it"]),
    ] {
        let output = on_host(&world, &handler, before, &forced).output();
        output.refused(125, parts);
        let _ = fs::rename(format!("{}.gone", copy.display()), &copy);
    }

    // Under --locked only the locked emulator is used: the lock first has none, then another one, then this one.
    on_host(&world, &right, "true", &["--locked", "--emulation", "host"]).output().refused(4, &["has none"]);
    assert_eq!(run(&world, "auto", &[], "uname -m").ok(), "aarch64");
    let output = on_host(&world, &right, "true", &["--locked", "--emulation", "host"]).output();
    assert_eq!(output.exits(0).text(), "aarch64\n[./t-static][args] -");
    let mut other = fs::read(&emulator).unwrap();
    other.extend(b"other");
    fs::write(&copy, other).unwrap();
    let output = on_host(&world, &right, "true", &["--locked", "--emulation", "host"]).output();
    output.refused(4, &["--locked requires the emulator with digest sha256:"]);
    // Unread, it runs, and what it is is not known.
    let output = on_host(&world, &right, &format!("chmod 111 {}", copy.display()), &forced).output();
    assert!(output.exits(0).stderr.contains("cannot determine which emulator"), "{}", output.stderr);
    assert!(world.last_record()["emulator"].is_null());
    fs::remove_file(&copy).unwrap();

    // With an emulator of its own hermes has no need of it; without any, it takes what there is.
    fs::copy(&emulator, &copy).unwrap();
    let output = on_host(&world, &right, "true", &["--verbose"]).output();
    output.exits(0);
    assert_eq!(world.last_record()["emulation"], "binfmt");
    let fresh = TestContext::foreign().unwrap();
    fs::copy(world.work().join("t-amd64"), fresh.work().join("t-amd64")).unwrap();
    fs::copy(world.work().join("t-static"), fresh.work().join("t-static")).unwrap();
    let path = fresh.path().join("bin");
    fs::create_dir(&path).unwrap();
    for name in ["unshare", "sh", "mount"] {
        std::os::unix::fs::symlink(which(name).unwrap(), path.join(name)).unwrap();
    }
    let output = on_host(&fresh, &right, "true", &[]).env("PATH", &path).output();
    output.exits(0);
    let record = fresh.last_record();
    assert_eq!((&record["emulation"], &record["emulator"]["digest"]), (&"host".into(), &digest.as_str().into()));
}
