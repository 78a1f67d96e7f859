//! Odd names, many layers, several at once, ends in the middle.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::distribution::{self, Distribution};
use crate::support::double::Double;
use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, Content, layer};
use crate::support::pty::Pty;
use crate::support::require;
use crate::support::world::{MIN, World, tool};

const TINY: &str = "test.invalid/tiny:1";

#[test]
fn a_store_and_a_directory_with_odd_names() {
    for name in
        ["with space", "colon:comma,", "quote\"'\\back", "new\nline", "ünïcode", "equals=x", "-dash", "dollar$HOME"]
    {
        let Some(world) = World::sandbox() else { return };
        let store = world.path().join(name);
        let work = world.work().join(name);
        fs::create_dir(&work).unwrap();
        let layout = world.path().join("layout");
        tiny("odd").write_layout(&layout);
        let hermes = |words: &[&str]| world.hermes(words).env("HERMES_STORE", &store).dir(&work);
        hermes(&["import", "--name", TINY, layout.to_str().unwrap()]).ok();
        let output = hermes(&["run", "--image", TINY, "--", "tool"]).output();
        assert_eq!(output.ok(), "odd amd64", "{name:?}");
    }
}

#[test]
fn arguments_and_variables_are_bytes() {
    let Some(world) = World::fixtures() else { return };
    let odd = OsString::from_vec(b"a\xff\n\"' $x\\".to_vec());
    let mut variable = OsString::from("ODD=");
    variable.push(&odd);
    let words = ["run", "--image", MIN, "-e"].map(OsStr::new);
    let script = ["--", "sh", "-c", "printf '%s|' \"$ODD\" \"$@\"", "sh"].map(OsStr::new);
    let output =
        world.hermes(words).args([&variable]).args(script).args([&odd, OsStr::new(""), OsStr::new("--root")]).output();
    output.exits(0);
    let want = [odd.as_bytes(), b"|", odd.as_bytes(), b"||--root|"].concat();
    assert!(output.stdout == want, "{:?}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn options_after_the_command_are_the_commands() {
    let Some(world) = World::fixtures() else { return };
    let run = |words: &[&str]| world.hermes([&["run", "--image", MIN], words].concat()).ok();
    assert_eq!(run(&["echo", "-x", "--platform", "arm64"]), "-x --platform arm64");
    assert_eq!(run(&["echo", "--", "--help"]), "-- --help");
    assert_eq!(run(&["--", "printf", "%s", "--help"]), "--help");
}

#[test]
fn as_many_layers_as_an_image_may_have() {
    let Some(world) = World::sandbox() else { return };
    let many = |count: usize| {
        let tool = program(Machine::Amd64, "many\n", 0);
        let mut layers = vec![layer(Codec::Plain, &[("bin/tool", &tool)])];
        layers.extend((1..count).map(|n| layer(Codec::Plain, &[(&format!("layer/{n}"), b"x")])));
        let mut content = Content::default();
        let manifest = content.image(("linux", "amd64", None), &layers);
        content.tag("1", &manifest)
    };
    // More than an overlay takes are merged.
    for (count, merged) in [(500, 0), (501, 1)] {
        let name = format!("test.invalid/many:{count}");
        let _ = world.import(&many(count), &name);
        assert_eq!(world.hermes(["run", "--image", &name, "--", "tool"]).ok(), "many");
        assert_eq!(world.stored("roots").len(), merged);
    }
    let layout = world.path().join("layout");
    many(2001).write_layout(&layout);
    let output = world.hermes(["import", "--name", "test.invalid/many:2"]).args([&layout]).output();
    assert_ne!(output.code(), 0, "one more is refused, not tried");
    assert!(output.stderr.contains("2000"), "{}", output.stderr);
}

#[test]
fn the_same_layer_twice_and_an_image_without_layers() {
    let Some(world) = World::sandbox() else { return };
    let twice = layer(Codec::Gzip, &[("bin/tool", &program(Machine::Amd64, "twice\n", 0))]);
    let between = layer(Codec::Gzip, &[("bin/tool", &program(Machine::Amd64, "between\n", 0))]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[twice.clone(), between, twice]);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/twice:1");
    assert_eq!(world.hermes(["run", "--image", "test.invalid/twice:1", "--", "tool"]).ok(), "twice");
    // An image of no layers has an empty root, or is refused: in no case a crash.
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[]);
    let layout = world.path().join("layout");
    content.tag("1", &manifest).write_layout(&layout);
    let imported = world.hermes(["import", "--name", "test.invalid/empty:1"]).args([&layout]).output();
    if imported.code() == 0 {
        let output = world.hermes(["run", "--image", "test.invalid/empty:1", "--", "tool"]).output();
        assert!([3, 125, 127].contains(&output.code()), "{}", output.stderr);
        assert!(output.stderr.starts_with("error: ") || output.stderr.contains("\nerror: "), "{}", output.stderr);
    }
}

#[test]
fn a_store_that_may_only_be_read_still_runs() {
    let Some(world) = World::sandbox() else { return };
    let _ = world.import(&tiny("read-only"), TINY);
    let run = || world.hermes(["run", "--image", TINY, "--", "tool"]).output();
    assert_eq!(run().ok(), "read-only amd64");
    let mode = |mode| {
        for directory in ["", "records", "tmp", "refs", "layers", "blobs", "blobs/sha256"] {
            let _ = fs::set_permissions(world.store().join(directory), fs::Permissions::from_mode(mode));
        }
        for record in world.stored("records").iter().filter(|name| name.contains('.')) {
            let record = world.store().join("records").join(record);
            fs::set_permissions(record, fs::Permissions::from_mode(mode & 0o666)).unwrap();
        }
    };
    mode(0o555);
    let output = run();
    mode(0o755);
    assert_eq!(output.ok(), "read-only amd64");
    assert!(output.stderr.contains("this run is not recorded"), "{}", output.stderr);
}

#[test]
fn several_first_runs_at_once_from_a_registry() {
    let Some(world) = World::sandbox() else { return };
    if !require("registry", distribution::available()) {
        return;
    }
    let registry = Distribution::start(world.path(), None);
    registry.push("lib/tiny", &tiny("shared"));
    let image = format!("{}/lib/tiny:1", registry.host());
    let runs: Vec<_> = (0..6).map(|_| world.hermes(["run", "--image", &image, "--", "tool"]).start()).collect();
    for run in runs {
        assert_eq!(run.wait().ok(), "shared amd64");
    }
    assert_eq!(world.stored("tmp"), Vec::<String>::new());
    assert_eq!(world.stored("layers").len(), 2);
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_that_counts() {
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        let Some(world) = World::sandbox() else { return };
        // The first time, the large layer does not end.
        let slow = Double::serve(tiny("again"), |seen, count, reply| {
            let endless = count == 0 && seen.path.contains("/blobs/") && reply.body.len() > 10_000;
            if endless { reply.stall(Duration::from_secs(60)) } else { reply }
        });
        let image = format!("{}/lib/tiny:1", slow.host());
        let run = world.hermes(["run", "--image", &image, "--", "tool"]).start();
        let limit = Instant::now() + Duration::from_secs(20);
        // Index, manifest, config and the small layer, which waits unpacked for the large one.
        while world.stored("blobs/sha256").len() < 4 {
            assert!(Instant::now() < limit, "the small layer does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
        run.signal(signal);
        run.wait().exits(-signal.as_raw());
        assert_eq!(world.stored("refs"), Vec::<String>::new());
        assert!(!world.locks().join("images.lock").exists());
        assert_eq!(world.hermes(["run", "--image", &image, "--", "tool"]).ok(), "again amd64");
        // What the dead one left was swept away.
        assert_eq!(world.stored("tmp"), Vec::<String>::new());
    }
}

#[test]
fn offline_opens_no_socket_even_where_something_is_missing() {
    let Some(world) = World::sandbox() else { return };
    if !tool("strace") {
        return;
    }
    let log = world.path().join("trace");
    for words in [&["--offline", "run", "--", "true"][..], &["--offline", "pull", "x/y:1"], &["--offline", "pull"]] {
        world.hermes(words).strace(&log, "trace=socket,connect,sendto,clone3").output().refused(4, &["--offline"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), "", "{words:?}");
    }
}

#[test]
fn the_systems_configuration_is_read_before_the_users() {
    let Some(world) = World::sandbox() else { return };
    let (system, user) =
        (Double::serve(tiny("system"), |_, _, reply| reply), Double::serve(tiny("user"), |_, _, reply| reply));
    let mirror = |double: &Double| format!("[registry.\"docker.io\"]\nmirrors = [\"{}\"]\n", double.host());
    world.write("../etc/hermes/config.toml", &mirror(&system));
    // Laid over the host's /etc, in a namespace of the test's own.
    let script = "mount -t overlay none -o \"lowerdir=$0:/etc\" /etc && exec \"$@\"";
    let etc = world.path().join("etc");
    let run = |store: &str| {
        let hermes = world.hermes([
            "--store",
            store,
            "run",
            "--lock",
            &format!("{store}.lock"),
            "--image",
            "tiny:1",
            "--",
            "tool",
        ]);
        hermes.under(&["unshare", "-Urm", "sh", "-c", script, etc.to_str().unwrap()]).output()
    };
    assert_eq!(run("a").ok(), "system amd64");
    world.configure(&mirror(&user));
    assert_eq!(run("b").ok(), "user amd64");
    assert_eq!(user.count("/blobs/"), 3);
}

#[test]
fn the_callers_terminal_cannot_be_typed_into() {
    let Some(world) = World::fixtures() else { return };
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

#[test]
fn abstract_sockets_are_out_of_reach_with_the_hosts_network_too() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let Some(world) = World::fixtures() else { return };
    let abi = world.json(&["doctor"])["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["name"] == "landlock")
        .unwrap()["detail"]
        .clone();
    let scoped = abi.as_str().and_then(|text| text.strip_prefix("ABI ")?.parse::<u32>().ok()).filter(|abi| *abi >= 6);
    if !require("landlock", scoped.map(drop).ok_or_else(|| format!("no ABI 6 (Linux 6.12): {abi}"))) {
        return;
    }
    let name = format!("hermes-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!(
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); print connect(S, pack_sockaddr_un(qq(\\0{name}))) ? 'connected' : $!"
    );
    let output = world.hermes(["run", "--net", "host", "--image", MIN, "--", "perl", "-e", &connect]).output();
    assert_eq!(output.ok(), "Operation not permitted");
}
