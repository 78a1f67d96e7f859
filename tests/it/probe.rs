//! What a program can do inside, each thing of a long list tried by `tests/probe/probe.c` and compared with the table
//! of the profile in `tests/probe/expected`, in full: a line that is not in the table fails as one that differs.
//!
//! A table has a line `name: result` for each trial. `a | b` allows either. `outside` is what the same program,
//! run by the same user, gets outside. What the kernel refuses or lacks is accepted whatever the table says, if it
//! is refused or missing outside as well. The tables of the other profiles hold only what differs from `build.txt`; a line
//! that they lack altogether has the result `-`. What was found lies in `target/tmp/probe-PROFILE.txt` afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::context::{CROSS, MIN, TestContext, tool};
use crate::support::process::Run;
use crate::support::pty::Pty;
use crate::support::{made, require, which};

/// Results by name.
type Table = BTreeMap<String, String>;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe/probe.c");

/// The program for this host; `None` where it cannot be compiled.
fn probe() -> Option<PathBuf> {
    static PROBE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = PROBE.get_or_init(|| {
        let mut cc = Command::new(which("cc")?);
        let text = fs::read(SOURCE).map_err(|error| error.to_string())?;
        let directory = made::once("probe", &text, |directory| {
            cc.args(["-static", "-O1", "-Wall", "-Werror", "-o"]).arg(directory.join("probe")).arg(SOURCE);
            let output = cc.output().map_err(|error| error.to_string())?;
            output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
        })?;
        Ok(directory.join("probe"))
    });
    require("cc", made.as_ref().map(drop).map_err(Clone::clone)).then(|| made.clone().unwrap())
}

/// Where a probe is, for `-v`.
fn volume(probe: &Path) -> String {
    format!("{}:/probe:ro", probe.display())
}

fn read(text: &str) -> Table {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not a result: {line:?}")))
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect()
}

/// Takes out what differs from host to host and means nothing here.
fn normal(table: Table) -> Table {
    let mut normal = Table::new();
    for (name, result) in table {
        let point = name.strip_prefix("mounted.at ");
        if point.is_some_and(|point| point.starts_with("/sys/")) {
            // Which these are is the host's business, but whether one may be written.
            let all = normal.entry("mounted.below /sys".into()).or_insert_with(|| "read-only".into());
            if !result.split_once(' ').unwrap().1.starts_with("ro,") {
                *all = format!("{} is writable", point.unwrap_or_default());
            }
            continue;
        }
        let result = match point {
            Some(point) => {
                let (kind, options) = result.split_once(' ').unwrap();
                // A bind mount has the type and some flags of what lies there.
                let bind = ["/work", "/probe"].contains(&point) || point.starts_with("/.hermes/");
                let device = point.starts_with("/dev/") && !["/dev/pts", "/dev/shm"].contains(&point);
                let times = ["relatime", "noatime", "nodiratime"];
                let options: Vec<_> = options.split(',').filter(|option| !times.contains(option)).collect();
                match (bind, device) {
                    (true, _) => format!("bind {}", options.join(",")),
                    (_, true) => "device".into(),
                    _ => format!("{kind} {}", options.join(",")),
                }
            }
            None if name == "id./proc/self/cgroup" => result.rsplit(':').next().unwrap().to_owned(),
            None => result,
        };
        normal.insert(name, result);
    }
    normal
}

/// What the program gets outside.
fn outside(probe: &Path) -> Table {
    let directory = tempfile::tempdir().unwrap();
    normal(read(&Run::new(probe).dir(directory.path()).ok()))
}

/// Whether the kernel refuses it inside as outside, or has it not.
fn lacking(inside: &str, outside: &str) -> bool {
    let absent = ["ENOENT", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"];
    inside == outside && inside.starts_with('E') || absent.contains(&inside) && absent.contains(&outside)
}

/// Whether a file that cannot be written inside reads there as it does outside.
fn reads_as(inside: &str, outside: &str) -> bool {
    let read = |result: &str| result.split(", to write: ").next().map(str::to_owned);
    read(inside) == read(outside) && !inside.ends_with("to write: ok")
}

/// Compares what was found with the table of `profile`, of which only `groups` count unless there are none.
#[track_caller]
fn compare(profile: &str, found: &str, groups: &[&str], probe: &Path) {
    let found = normal(read(found));
    let expected = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/probe/expected/{name}.txt"));
        read(&fs::read_to_string(path).unwrap_or_default())
    };
    let mut table = expected("build");
    if profile != "build" {
        table.extend(expected(profile));
    }
    table.retain(|name, _| groups.is_empty() || groups.iter().any(|group| name.starts_with(group)));
    let text: Vec<_> = found.iter().map(|(name, result)| format!("{name}: {result}\n")).collect();
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{profile}.txt")), text.concat()).unwrap();
    let outside = outside(probe);
    let mut wrong = Vec::new();
    for (name, result) in &found {
        let beyond = outside.get(name);
        let allowed = table.get(name).is_some_and(|allowed| {
            allowed.split(" | ").any(|one| if one == "outside" { beyond == Some(result) } else { one == result })
        });
        // The host's own /sys, on which a host may have mounted more or less than this one.
        let shown = profile == "net-host"
            && name.starts_with("sys./sys")
            && beyond.is_some_and(|beyond| reads_as(result, beyond));
        if !allowed && !shown && !beyond.is_some_and(|beyond| lacking(result, beyond)) {
            wrong.push(format!("{name}: {result}, not {}", table.get(name).map_or("in the table", String::as_str)));
        }
    }
    let missing = table.iter().filter(|(name, allowed)| *allowed != "-" && !found.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| format!("{name}: was not tried")));
    assert!(wrong.is_empty(), "in the profile {profile}:\n{}", wrong.join("\n"));
}

/// `hermes run OPTIONS -- /probe …`, with things of the host for it to try.
fn inside(world: &TestContext, probe: &Path, options: &[&str]) -> Run {
    let volume = volume(probe);
    let words = [&["run", "--quiet", "--image", MIN, "-v", &volume], options, &["--", "/probe"]].concat();
    world.hermes(words).under(&[probe.to_str().unwrap(), "with-bait"])
}

fn check(profile: &str, options: &[&str]) {
    let Some((world, probe)) = TestContext::fixtures().zip(probe()) else { return };
    compare(profile, &inside(&world, &probe, options).ok(), &[], &probe);
}

#[test]
fn what_a_build_can_do() {
    check("build", &[]);
}

#[test]
fn what_a_build_with_the_hosts_network_can_do() {
    check("net-host", &["--net", "host"]);
}

#[test]
fn what_root_can_do() {
    check("root", &["--root"]);
}

#[test]
fn what_root_with_owners_that_stay_can_do() {
    check("stateful", &["--root", "--fake-root", "stateful"]);
}

#[test]
fn what_root_with_a_range_of_ids_can_do() {
    if crate::fakeroot::range() {
        check("range", &["--root", "--userns", "range"]);
    }
}

#[test]
fn what_a_build_at_a_terminal_can_do() {
    let Some((world, probe)) = TestContext::fixtures().zip(probe()).filter(|_| tool("setsid")) else { return };
    let mut pty = Pty::start(inside(&world, &probe, &[]).env("TERM", "xterm"), (24, 80));
    assert_eq!(pty.wait(), 0, "{}", pty.shown());
    pty.until("mount.open_tree_attr(/, clone): ");
    compare("terminal", &pty.shown(), &[], &probe);
}

#[test]
fn what_a_foreign_build_can_do() {
    let Some((world, probe)) = TestContext::foreign().zip(probe()) else { return };
    world.write("probe.c", &fs::read_to_string(SOURCE).unwrap());
    let cc = ["aarch64-linux-gnu-gcc", "-static", "-O1", "-o", "probe-arm64", "probe.c"];
    world.hermes([&["run", "--quiet", "--image", CROSS, "--"], &cc[..]].concat()).ok();
    let volume = volume(&world.work().join("probe-arm64"));
    let run = world.hermes(["run", "--quiet", "-p", "arm64", "-v", &volume, "--", "/probe"]);
    // What system calls do is QEMU's business first, and differs from one to the next.
    let groups = ["id.", "fd.", "mounted.", "launcher.", "dev.", "host.", "sys."];
    let text = run.ok();
    let lines: Vec<_> = text.lines().filter(|line| groups.iter().any(|group| line.starts_with(group))).collect();
    assert!(text.contains("\nns.unshare(user): E") && text.contains("\nmount.mount(tmpfs, /tmp): E"), "{text}");
    compare("foreign", &lines.join("\n"), &groups, &probe);
}
