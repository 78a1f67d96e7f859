//! `hermes run`: the command line, the files and the environment of a command.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::support::context::{MIN, TestContext};
use crate::support::image::noise;
use crate::support::kernel::{self, HOSTS};
use crate::support::process::Run;

/// Runs a test on every host of [`HOSTS`].
fn on_all_hosts(test: fn(&TestContext)) {
    for host in HOSTS {
        let Some(world) = TestContext::fixtures().filter(|_| kernel::available()) else { return };
        test(&world.on(host));
    }
}

#[test]
fn the_commands_exit_code_comes_through() {
    let Some(world) = TestContext::fixtures() else { return };
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        let output = world.sh(&[], script).output();
        output.exits(code);
        assert!(!output.stderr.contains("error"), "hermes itself has nothing to say about {script}: {}", output.stderr);
    }
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_is_126() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("plain", "true\n");
    world.write("no-interpreter", "#!/no/such/interpreter\n");
    fs::set_permissions(world.work().join("no-interpreter"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |command: &str| world.hermes(["run", "--image", MIN, "--", command]).output();
    run("no-such-command").refused(127, &["command not found: no-such-command", "hint: "]);
    run("./no-such-file").refused(127, &["./no-such-file", "hint: "]);
    run("./plain").refused(126, &["cannot run ./plain", "Permission denied", "chmod +x"]);
    run("/tmp").refused(126, &["cannot run /tmp"]);
    run("./no-interpreter").refused(126, &["interpreter"]);
}

#[test]
fn a_script_of_work_runs() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = world.write("configure", "#!/bin/sh\necho \"$0 $*\"\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        world.hermes(["run", "--image", MIN, "--", "./configure", "--prefix", "/x"]).ok(),
        "./configure --prefix /x"
    );
}

#[test]
fn pipes_carry_bytes_both_ways() {
    let Some(world) = TestContext::fixtures() else { return };
    let bytes = noise(3_000_000);
    let output = world.hermes(["run", "--image", MIN, "--", "cat"]).input(&bytes).output();
    output.exits(0);
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    // Standard output and standard error stay apart, and an empty standard input ends.
    let output = world.sh(&[], "echo out; echo err >&2; cat").output();
    assert_eq!((output.text().as_str(), output.stderr.lines().last()), ("out", Some("err")));
}

#[test]
fn tar_through_a_pipe() {
    let Some(world) = TestContext::fixtures() else { return };
    fs::create_dir_all(world.path().join("source/deep/er")).unwrap();
    fs::write(world.path().join("source/deep/er/file"), noise(200_000)).unwrap();
    let hermes = world.hermes(["run", "--image", MIN, "--", "tar", "x"]);
    let source = world.path().join("source");
    let piped = hermes.under(&["sh", "-c", &format!("tar -C {} -c . | \"$@\"", source.display()), "sh"]);
    piped.ok();
    assert_eq!(fs::read(world.work().join("deep/er/file")).unwrap(), noise(200_000));
}

#[test]
fn an_output_that_is_closed_early_ends_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    let hermes = world.hermes(["run", "--image", MIN, "--", "sh", "-c", "yes; echo $? >status"]);
    let output = hermes.under(&["sh", "-c", "\"$@\" | head -n 1", "sh"]).output();
    assert_eq!(output.ok(), "y");
    assert_eq!(output.stderr.matches("error").count(), 0, "{}", output.stderr);
    // yes(1) ended by SIGPIPE, as it does outside, and did not see an error.
    assert_eq!(world.read("status"), "141\n");
}

#[test]
fn the_current_directory_is_work_and_files_made_there_are_the_callers() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("given", "from outside");
    assert_eq!(world.sh(&[], "pwd; cat given; mkdir -p a/b; echo made >a/b/c; umask").ok(), "/work\nfrom outside0022");
    let made = fs::metadata(world.work().join("a/b/c")).unwrap();
    assert_eq!((made.uid(), made.gid()), (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()));
    assert_eq!(made.permissions().mode() & 0o777, 0o644);
}

#[test]
fn volumes_are_mounted_where_they_are_wanted() {
    on_all_hosts(volumes_are_mounted_where_they_are_wanted_on);
}

fn volumes_are_mounted_where_they_are_wanted_on(world: &TestContext) {
    for (path, text) in [("../data/file", "old"), ("../data/inner/file", "inner"), ("../single", "one"), ("here", "")] {
        world.write(path, text);
    }
    let data = world.path().join("data");
    let (data, single) = (data.to_str().unwrap(), world.path().join("single"));
    let read =
        world.sh(&["-v", &format!("{data}:/deep/er/data")], "cat /deep/er/data/file; echo new >/deep/er/data/made");
    assert_eq!(read.ok(), "old");
    assert_eq!(world.read("../data/made"), "new\n");
    // Read-only, everything beneath it too.
    for path in ["made", "inner/made", "file", "inner/file"] {
        let output = world.sh(&["-v", &format!("{data}:/data:ro")], &format!("echo x >/data/{path}")).output();
        assert!(output.exits(2).stderr.contains("Read-only file system"), "{path}: {}", output.stderr);
    }
    // A single file, over one of the image's and where the image has none; a relative source; SRC alone.
    let over = format!("{}:/etc/passwd:ro", single.display());
    assert_eq!(world.sh(&["-v", &over], "cat /etc/passwd").ok(), "one");
    let new = format!("{}:/new/place/file", single.display());
    assert_eq!(world.sh(&["-v", &new], "cat /new/place/file; echo two >/new/place/file").ok(), "one");
    assert_eq!(world.read("../single"), "two\n");
    assert_eq!(world.sh(&["-v", "../data:/data", "-v", data], &format!("cat /data/file {data}/file")).ok(), "oldold");
    // Another directory as /work: the current one is then not there.
    assert_eq!(world.sh(&["-v", &format!("{data}:/work")], "ls").ok(), "file\ninner\nmade");
}

#[test]
fn a_read_only_volume_is_read_only_in_the_mounts_below_it() {
    on_all_hosts(a_read_only_volume_is_read_only_in_the_mounts_below_it_on);
}

fn a_read_only_volume_is_read_only_in_the_mounts_below_it_on(world: &TestContext) {
    let data = world.path().join("data");
    fs::create_dir_all(data.join("mounted")).unwrap();
    // A namespace of the test's own, where it may mount something below the volume.
    let script = r#"mount -t tmpfs tmpfs "$0/mounted" && echo inside >"$0/mounted/file" && exec "$@""#;
    let volume = format!("{}:/data:ro", data.display());
    let hermes = world.sh(&["-v", &volume], "cat /data/mounted/file; echo x >/data/mounted/new");
    let output = hermes.under(&["unshare", "-Urm", "sh", "-c", script, data.to_str().unwrap()]).output();
    assert_eq!(output.exits(2).text(), "inside");
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
}

#[test]
fn a_volume_cannot_be_led_astray_by_links_of_the_image() {
    on_all_hosts(a_volume_cannot_be_led_astray_by_links_of_the_image_on);
}

fn a_volume_cannot_be_led_astray_by_links_of_the_image_on(world: &TestContext) {
    world.write("../data/file", "data");
    // /bin is a link to usr/bin in Debian; the mount lands inside in any case.
    let volume = format!("{}:/bin/../bin/data", world.path().join("data").display());
    world.hermes(["run", "--image", MIN, "-v", &volume, "--", "true"]).output().refused(2, &["'..'"]);
    let volume = format!("{}:/lib/data", world.path().join("data").display());
    assert_eq!(world.sh(&["-v", &volume], "cat /usr/lib/data/file").ok(), "data");
}

#[test]
fn variables_come_from_the_image_and_the_command_line_alone() {
    let Some(world) = TestContext::fixtures() else { return };
    let run = world.sh(&["-e", "A=1", "-e", "B=two words=x", "-e", "PASSED", "-e", "EMPTY=", "-e", "NOT_THERE"], "env");
    let run = run.env("PASSED", "yes").env("SECRET", "s3cret").env("QEMU_CPU", "max").env("QEMU_STRACE", "1");
    let run = run.env("LD_PRELOAD", "").env("LD_LIBRARY_PATH", "/nowhere").env("LANG", "xx_XX").env("TERM", "vt100");
    let text = run.ok();
    let mut names: Vec<_> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    // PWD is the shell's own.
    assert_eq!(names, ["A", "B", "EMPTY", "HOME", "LANG", "PASSED", "PATH", "PWD", "SOURCE_DATE_EPOCH", "TZ"]);
    for line in ["A=1", "B=two words=x", "EMPTY=", "PASSED=yes"] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    assert!(text.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"), "{text}");
    assert_eq!(world.sh(&["-e", "PATH=/bin", "-e", "HOME=/x"], "echo $PATH $HOME").ok(), "/bin /x");
}

#[test]
fn the_callers_library_variables_do_not_reach_the_loader_inside() {
    let Some(world) = TestContext::fixtures() else { return };
    // The loader would complain about the missing library on standard error. hermes's own loader
    // does so too, once, hence the count.
    let run = world.hermes(["run", "--image", MIN, "--", "true"]).env("LD_PRELOAD", "/no/such/library.so").output();
    run.exits(0);
    assert!(run.stderr.matches("/no/such/library.so").count() <= 1, "{}", run.stderr);
}

#[test]
fn the_working_directory_can_be_chosen_and_is_made() {
    let Some(world) = TestContext::fixtures() else { return };
    for (directory, want) in
        [("/usr/lib", "/usr/lib"), ("/new/dir", "/new/dir"), ("sub", "/sub"), ("/work/sub", "/work/sub")]
    {
        assert_eq!(world.sh(&["-w", directory], "pwd").ok(), want, "{directory}");
    }
    assert!(world.work().join("sub").is_dir(), "a directory below /work is made outside too");
}

#[test]
fn every_run_has_a_fresh_root() {
    let Some(world) = TestContext::fixtures() else { return };
    let change = "rm -r /usr/share/doc && echo changed >/etc/debian_version && echo x >/tmp/x && mkdir /new && cat /etc/debian_version";
    let before = world.sh(&[], "cat /etc/debian_version; ls / /usr/share").ok();
    assert_eq!(world.sh(&[], change).ok(), "changed");
    assert_eq!(world.sh(&[], "cat /etc/debian_version; ls / /usr/share").ok(), before);
    assert_eq!(world.sh(&[], "ls -A /tmp /dev/shm").ok(), "/dev/shm:\n\n/tmp:");
}

#[test]
fn standard_output_is_the_commands_alone() {
    let Some(world) = TestContext::fixtures() else { return };
    // The first run writes a lock, and says so, but not there.
    let output = world.sh(&[], "echo data").output();
    assert_eq!(output.ok(), "data");
    assert!(output.stderr.contains("locked docker.io/library/debian:bookworm"), "{}", output.stderr);
    let output = world.sh(&["--quiet"], "echo data").output();
    assert_eq!((output.ok().as_str(), output.stderr.as_str()), ("data", ""));
}

#[test]
fn many_runs_at_once_do_not_meet() {
    let Some(world) = TestContext::fixtures() else { return };
    let runs: Vec<_> = (0..8)
        .map(|n| {
            world.sh(&[], &format!("echo {n} >/tmp/n; sleep 0.1; cat /tmp/n; ls /proc | grep -c '^[0-9]'")).start()
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        let text = run.wait().ok();
        assert_eq!(text.lines().next(), Some(n.to_string().as_str()), "{text}");
    }
}

#[test]
fn a_run_is_recorded_without_the_values_that_are_passed_on() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("marker-{}", std::process::id());
    let run = world.sh(&["-e", "TOKEN", "-e", "LEVEL=9"], &format!(": {marker} $TOKEN; exit 3"));
    run.env("TOKEN", "s3cret-value").output().exits(3);
    let record = world.record_with(&marker);
    assert_eq!(record["target"]["reference"], MIN);
    assert_eq!(record["ended"]["code"], 3);
    assert_eq!(record["profile"], "build");
    let environment = record["environment"].as_array().unwrap();
    for variable in [serde_json::json!({ "name": "TOKEN" }), serde_json::json!({ "name": "LEVEL", "value": "9" })] {
        assert!(environment.contains(&variable), "{variable} in {record}");
    }
    assert!(!record.to_string().contains("s3cret-value"), "{record}");
}

#[test]
fn a_closed_standard_input_or_output_is_survived() {
    let Some(world) = TestContext::fixtures() else { return };
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let hermes: Run = world.sh(&[], "echo x >/work/ran; ls /proc/self/fd | tr '\\n' ' ' >/work/fds");
        let output = hermes.under(&["sh", "-c", &format!("\"$@\" {closed}"), "sh"]).output();
        output.exits(0);
        assert_eq!(world.read("ran"), "x\n");
        fs::remove_file(world.work().join("ran")).unwrap();
    }
}
