//! Attacks on the sandbox: those of the list of threats, by number, that are in no other file.
//!
//! Elsewhere: T18 T19 T21 `hostile_registry`, `credentials`; T20 `credentials`; T22 T25 T26 `image_config`; T23 `confine` (descriptors),
//! `image_config` (working directory); T30 `terminal`, `probe`; T31 T34 T35 T36 T42 `probe`; T32 `confine`, `hardening`, `probe`;
//! T39 `image_config`, `registry`; T41 `store`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::context::{MIN, TestContext, tool};
use crate::support::process::Run;
use crate::support::{require, run, which};

/// A copy of hermes that belongs to the test, and the same command line with it.
fn own_copy(world: &TestContext, hermes: &Run) -> PathBuf {
    let copy = world.path().join("bin/hermes");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::copy(hermes.command.get_program(), &copy).unwrap();
    copy
}

/// The same words for the program at `path`.
fn with_program(hermes: Run, path: &Path) -> Run {
    hermes.under(&["sh", "-c", "shift; exec \"$0\" \"$@\"", path.to_str().unwrap()])
}

/// What a hostile image does when hermes itself is executed in it (CVE-2019-5736): a library that the image's
/// variables make the dynamic linker load.
const OVERWRITE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
__attribute__((constructor)) static void attack(void) {
  char path[64];
  int launcher = open("/proc/self/exe", O_PATH);
  snprintf(path, sizeof path, "/proc/self/fd/%d", launcher);
  printf("reached: %d\n", chmod(path, 0777) == 0 && setxattr(path, "user.attack", "x", 1, 0) == 0);
  int fd = open(path, O_WRONLY);
  printf("open: %s\n", fd < 0 ? strerrorname_np(errno) : "ok");
  if (fd >= 0 && write(fd, "attack", 6) == 6) printf("written\n");
  fflush(stdout);
  _exit(7);
}
"#;

#[test]
fn t24_the_launcher_cannot_be_overwritten() {
    let Some(world) = TestContext::fixtures().filter(|_| tool("strace")) else { return };
    if !require("cc", which("cc").map(drop)) {
        return;
    }
    world.write("evil.c", OVERWRITE);
    run("cc", &["-shared", "-fPIC", "-w", "-o", "evil.so", "evil.c"], &world.work());
    world.write("script", "#!/proc/self/exe --version\n");
    fs::set_permissions(world.work().join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let hermes = |program: &str| {
        let words = ["run", "--quiet", "--image", MIN, "-e", "LD_PRELOAD=/work/evil.so", "--", program];
        world.hermes(words)
    };
    let copy = own_copy(&world, &hermes(""));
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let before = fs::read(&copy).unwrap();
    for program in ["/proc/self/exe", "/work/script"] {
        // Landlock forbids to execute what lies outside.
        let output = with_program(hermes(program), &copy).output();
        assert_eq!(output.exits(126).text(), "", "{program}: {}", output.stderr);
        // Without landlock it is executed, and is a copy.
        let call = "inject=landlock_create_ruleset:error=ENOSYS";
        let output = with_program(hermes(program), &copy).strace(&world.path().join("trace"), call).output();
        let text = output.text();
        assert!(text.contains("\nopen: E") && !text.contains("written"), "{program}: {text:?}");
        assert_eq!(output.code(), 7, "{program}: {}", output.stderr);
        let mode = fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{program}: the mode of hermes was changed");
        assert!(fs::read(&copy).unwrap() == before, "{program}: hermes was overwritten");
        let mut value = [0_u8; 8];
        let attribute = rustix::fs::getxattr(&copy, "user.attack", &mut value);
        assert!(attribute.is_err(), "{program}: an attribute of hermes was set");
    }
}

/// Puts a shell's script before a command, in a user namespace with more ids than the caller's.
pub const RANGE: [&str; 5] = ["unshare", "--map-auto", "--map-root-user", "sh", "-c"];

/// Whether files can be given to other users.
pub fn other_users() -> bool {
    let output = Run::new("true").under(&[&RANGE[..], &["exec \"$@\"", "sh"]].concat()).output();
    require("subuid", if output.code() == 0 { Ok(()) } else { Err(output.stderr) })
}

#[test]
fn t43_hermes_with_privileges_of_its_file_refuses_to_run() {
    let Some(world) = TestContext::fixtures().filter(|_| other_users()) else { return };
    let copy = own_copy(&world, &world.hermes([""; 0]));
    for bits in ["u+s", "g+s"] {
        // Another user's file, as which it would run.
        let script = "chown 1:1 \"$0\" && chmod 755 \"$0\" && chmod BITS \"$0\" && shift && exec \"$0\" \"$@\"";
        let script = script.replace("BITS", bits);
        for words in [&["run", "--image", MIN, "--", "true"][..], &["--version"]] {
            let hermes = world.hermes(words).under(&[&RANGE[..], &[&script, copy.to_str().unwrap()]].concat());
            hermes.output().refused(125, &["set-user-id", "hint: it needs none: chmod ug-s"]);
        }
    }
}

#[test]
fn t40_t45_a_project_that_another_put_where_everybody_writes_is_none() {
    let Some(world) = TestContext::fixtures().filter(|_| other_users()) else { return };
    let public = world.work().join("public");
    fs::create_dir_all(public.join("mine")).unwrap();
    let file = world.write("public/hermes.toml", "toolchain = 'theirs'\n");
    let give = format!("chown 1:1 {}", file.display());
    Run::new("true").under(&[&RANGE[..], &[&give, "sh"]].concat()).ok();
    let run = |mode| {
        fs::set_permissions(&public, fs::Permissions::from_mode(mode)).unwrap();
        world.hermes(["run", "--", "true"]).dir(&public.join("mine")).output()
    };
    run(0o1777).exits(0);
    // Where not everybody writes, it is a colleague's.
    run(0o755).refused(2, &["theirs"]);
}

#[test]
fn t25_t37_targets_that_move_while_they_are_mounted_lead_nowhere_else() {
    let Some(world) = TestContext::fixtures() else { return };
    let outside = world.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // As a sandbox that runs in the same directory would: `sub` is now a directory, now a link out of the root.
    let (sub, aside) = (world.work().join("sub"), world.work().join("aside"));
    fs::create_dir(&sub).unwrap();
    symlink(&outside, &aside).unwrap();
    let done = AtomicBool::new(false);
    let mut codes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, &sub, rustix::fs::CWD, &aside, exchange).unwrap();
            }
        });
        let volume = format!("{}:/work/sub/made/deep", world.path().join("home").display());
        for _ in 0..20 {
            let output =
                world.sh(&["--quiet", "-v", &volume, "-w", "/work/sub/here"], "echo x >new; echo ran").output();
            assert!([0, 125].contains(&output.code()), "{}: {}", output.code(), output.stderr);
            codes.push(output.code());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside; {codes:?}");
}

#[test]
fn t33_nothing_of_the_callers_session() {
    let Some(world) = TestContext::fixtures() else { return };
    let names = [
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        "XDG_RUNTIME_DIR",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "DOCKER_HOST",
        "GPG_AGENT_INFO",
        "KRB5CCNAME",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "HERMES_STORE",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "QEMU_CPU",
        "BASH_ENV",
    ];
    let mut hermes = world.sh(&[], "env | sort");
    for name in names {
        // Not one that would keep hermes itself from running.
        let value = if name == "HERMES_STORE" { world.store().as_os_str() } else { OsStr::new("") };
        hermes = hermes.env(name, value);
    }
    // PWD is the shell's own.
    assert_eq!(
        hermes.ok(),
        "HOME=/home/builder\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/work\n\
        SOURCE_DATE_EPOCH=315619200\nTZ=UTC"
    );
}

#[test]
fn t36_inheritable_capabilities_of_the_caller_are_gone() {
    let Some(world) = TestContext::fixtures().filter(|_| tool("setpriv")) else { return };
    let caller = ["unshare", "-Ur", "setpriv", "--inh-caps=+chown,+net_admin", "--ambient-caps=+chown,+net_admin"];
    for options in [&[][..], &["--root"]] {
        let text = world.sh(options, "grep -E 'Cap(Inh|Amb)' /proc/self/status").under(&caller).ok();
        assert_eq!(text, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000", "{options:?}");
    }
}

#[test]
fn t40_nothing_of_a_warm_run_has_a_name_in_a_directory_of_everybodys() {
    let Some(world) = TestContext::fixtures().filter(|_| tool("strace")) else { return };
    let hermes = || world.hermes(["run", "--image", MIN, "--", "/bin/true"]);
    hermes().ok();
    let log = world.path().join("trace");
    hermes().strace(&log, "trace=open,openat,mkdir,mkdirat,mknodat,symlinkat,rename,renameat2,linkat,unlinkat").ok();
    let own = world.path().to_str().unwrap();
    let trace = fs::read_to_string(log).unwrap();
    let common = |line: &&str| ["\"/tmp/", "\"/var/tmp/", "\"/dev/shm/"].iter().any(|place| line.contains(place));
    let strange: Vec<_> = trace.lines().filter(common).filter(|line| !line.contains(own)).collect();
    assert!(trace.contains("openat("), "nothing was traced");
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn t45_a_strangers_project_names_images_and_nothing_else() {
    let Some(world) = TestContext::fixtures() else { return };
    for text in [
        "volumes = ['/:/host']",
        "net = 'host'",
        "root = true",
        "environment = { LD_PRELOAD = '/x' }",
        "require = []",
        "store = '/tmp/x'",
        "[emulator]\nlinux-aarch64 = '/work/evil'",
        "[registry.'docker.io']\nmirrors = ['evil.example']",
        "[registry.'docker.io']\ninsecure = true",
        "[toolchains.x]\ndescription = 'x'\nvolumes = ['/:/host']",
        "[toolchains.x]\ndescription = 'x'\n[toolchains.x.platform.linux-x86_64]\nimage = 'a/b:1'\nnet = 'host'",
        "[toolchains.x]\ndescription = 'x'\n[toolchains.x.platform.linux-x86_64]\nimage = '../../etc'",
    ] {
        world.write("hermes.toml", text);
        let output = world.hermes(["run", "--", "true"]).output();
        assert_eq!(output.code(), 2, "{text}: {}", output.stderr);
        assert!(output.stderr.contains("hermes.toml"), "{text}: {}", output.stderr);
    }
}

#[test]
fn t35_a_caller_who_is_root_cannot_write_the_kernels_settings() {
    let Some(world) = TestContext::fixtures() else { return };
    // Who is user 0 of the host owns what lies there, capabilities or not. In a namespace where the caller is
    // called 0 the same is done, though there it would not be needed.
    let script = "grep -E ' /(proc|sys)/' /proc/self/mountinfo | cut -d' ' -f5,6; echo x >/proc/sys/kernel/msgmax";
    let output = world.sh(&[], script).under(&["unshare", "-Ur"]).output();
    let text = output.text();
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
    for path in ["/proc/sys", "/proc/irq", "/proc/bus", "/sys/firmware", "/sys/fs/bpf"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{path} ro,"))), "{path} is not covered: {text}");
    }
    for path in ["/proc/timer_list", "/proc/keys", "/proc/kmsg"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{path} "))), "{path} is not covered: {text}");
    }
    // An ordinary caller pays for none of it.
    assert_eq!(world.sh(&[], "grep -cE ' /(proc|sys)/' /proc/self/mountinfo").output().text(), "0");
}

#[test]
fn abstract_sockets_are_out_of_reach_with_the_hosts_network_too() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let Some(world) = TestContext::fixtures() else { return };
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
