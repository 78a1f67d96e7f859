//! Reasons and remedies of denials.

use std::path::Path;

use crate::sandbox::denial::Denial;
use crate::sandbox::explanation::Remedy;
use crate::sandbox::policy::{Bind, Network, Profile};
use crate::visible::quoted;

/// Reason and remedy of a denial.
pub(super) struct Advice {
    /// The lower, the more informative: names on the command line first, then the network, paths, calls.
    pub(super) rank: u32,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) remedy: Remedy,
    /// Whether it is merged with others of the same remedy.
    pub(super) merges: bool,
}

fn allow(options: &str) -> Remedy {
    Remedy::Allow(options.to_owned())
}

fn cannot(reason: &str) -> Remedy {
    Remedy::Cannot(reason.to_owned())
}

/// A path, quoted for a shell.
pub(super) fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// Option that mounts `source` at `target`.
pub(super) fn volume(source: &Path, target: &Path, read_only: bool) -> Remedy {
    let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
    if source.contains(':') || target.contains(':') {
        return cannot("-v takes no path with a colon: give it another name");
    }
    let mode = if read_only { ":ro" } else { "" };
    Remedy::Allow(format!("-v {}", quoted(&format!("{source}:{target}{mode}"))))
}

/// Options that give the files of `bind` the same path inside as outside.
pub(super) fn same_path(bind: &Bind) -> Remedy {
    match volume(&bind.source, &bind.source, bind.read_only) {
        Remedy::Allow(option) => Remedy::Allow(format!("{option} -w {}", shown(&bind.source))),
        remedy @ Remedy::Cannot(_) => remedy,
    }
}

pub(super) fn lookup(name: Option<&str>) -> Advice {
    Advice {
        rank: 8,
        what: name.map_or("a host's name".into(), |name| format!("the address of {name}")),
        why: "there is no network; hermes fetches declared sources before the run".into(),
        remedy: allow("--net host"),
        merges: false,
    }
}

pub(super) fn address(denial: &Denial, (ip, port, loopback): (&str, u16, bool), network: Network) -> Advice {
    let what = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let is_bind = denial.call == "bind";
    let (why, remedy) = match network {
        _ if is_bind && denial.errno == libc::EACCES => {
            ("only root of the host listens on ports below 1024", cannot("let it listen on port 1024 or above"))
        }
        Network::Host => ("the network of the host refuses it", cannot("the sandbox does not restrict the network")),
        Network::None if loopback => {
            ("no process inside listens there; the host's loopback is a different one", allow("--net host"))
        }
        Network::None if is_bind => ("it is an address of the host", allow("--net host")),
        Network::None => ("there is no network; hermes fetches declared sources before the run", allow("--net host")),
    };
    Advice { rank: 9, what, why: why.into(), remedy, merges: false }
}

pub(super) fn unnamed_socket(name: &str) -> Advice {
    Advice {
        rank: 30,
        what: format!("socket @{name}"),
        why: "it has no path".into(),
        remedy: cannot("only sockets with a path can be shared, by -v"),
        merges: false,
    }
}

pub(super) fn set_user_id(path: &str, profile: Profile) -> Advice {
    let remedy = match profile {
        Profile::Build => allow("--root, which is user 0 from the start"),
        Profile::Provision => cannot("it is user 0 inside already: omit sudo and su"),
    };
    let why = "it ran without its owner's rights: no program gains any (no_new_privs)".into();
    Advice { rank: 25, what: shown(Path::new(path)), why, remedy, merges: false }
}

/// Reason and remedy of a change of owner.
fn giving_away(profile: Profile) -> (&'static str, Remedy) {
    match profile {
        Profile::Build => ("only root changes owners, and only inside", allow("--root")),
        Profile::Provision => {
            ("there is only one user, who owns all files", allow("--fake-root stateless, or --userns range"))
        }
    }
}

/// Advice about a path that exists.
pub(super) fn forbidden(denial: &Denial, path: &Path, bind: Option<&Bind>, profile: Profile) -> Advice {
    let what = shown(path);
    let advice = |rank, why: &str, remedy| Advice { rank, what: what.clone(), why: why.into(), remedy, merges: false };
    let call = denial.call.as_str();
    let of_kernel = path.starts_with("/proc") || path.starts_with("/sys");
    match denial.errno {
        libc::ENOSPC | libc::EDQUOT if bind.is_some() => {
            advice(3, "the disk of the host is full", cannot("free space there"))
        }
        libc::ENOSPC | libc::EDQUOT => {
            // A mount at a directory of the image would hide its content.
            let depth = if path.starts_with("/dev") { 3 } else { 2 };
            let top = path.iter().take(depth).collect::<std::path::PathBuf>();
            let at = if path.iter().count() > 1 { shown(&top) } else { "/tmp".to_owned() };
            let remedy = Remedy::Allow(format!("-v DIRECTORY:{at}, with a directory on a disk with free space"));
            advice(3, "the memory for it is full", remedy)
        }
        libc::EXDEV => {
            let option = if profile == Profile::Build { "--root --rootfs merged" } else { "--rootfs merged" };
            advice(5, "an overlay does not rename directories of the image", allow(option))
        }
        _ if path.starts_with("/proc/1") => advice(70, "process 1 belongs to hermes", cannot("do not access it")),
        _ if of_kernel => advice(35, "it is a setting of the kernel for the whole host", cannot("set it outside")),
        libc::EROFS => match bind {
            Some(bind) => advice(10, "it is mounted read-only", volume(&bind.source, &bind.target, false)),
            None => advice(12, "it is read-only in every sandbox", cannot("write to /work, /tmp or a directory of -v")),
        },
        _ if call.contains("chown") => {
            let (why, remedy) = giving_away(profile);
            advice(15, why, remedy)
        }
        _ if call.contains("mknod") => {
            let why = "only root of the host makes devices";
            match profile {
                Profile::Build => advice(15, why, allow("--root, where it seems to succeed")),
                Profile::Provision => advice(15, why, allow("--fake-root stateless, with which it seems to succeed")),
            }
        }
        _ if call.contains("xattr") => match profile {
            Profile::Build => advice(20, "only root sets such attributes, and only inside", allow("--root")),
            Profile::Provision => advice(20, "only root of the host sets such attributes", cannot("omit them")),
        },
        libc::EACCES if call.starts_with("exec") => {
            let why = "it is not executable, or not a program";
            advice(10, why, Remedy::Cannot(format!("set its bit: chmod +x {what}")))
        }
        _ if bind.is_some() => {
            advice(10, "its permissions forbid it", cannot("the same holds outside: run chmod there"))
        }
        _ => match profile {
            Profile::Build => advice(14, "its permissions in the image forbid it", allow("--root")),
            Profile::Provision => advice(14, "the kernel forbids it even to root inside", cannot("do it outside")),
        },
    }
}

/// Advice for calls: names, rank, reason, what to do instead. The first list with the name counts.
const CALLS: &[(&[&str], u32, &str, &str)] = &[
    (
        &["mount", "umount", "umount2", "pivot_root", "chroot"],
        20,
        "a command may not mount",
        "mount directories with -v",
    ),
    (
        &["open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"],
        50,
        "a command may not mount",
        "mount directories with -v",
    ),
    (
        &["clone", "unshare", "setns"],
        20,
        "the sandbox allows no further namespaces",
        "disable the program's own sandbox",
    ),
    (&["ptrace"], 40, "hermes traces the command itself under --explain", "run it without --explain"),
    (
        &["bpf", "perf_event_open", "syslog", "lookup_dcookie", "fanotify_init", "userfaultfd"],
        22,
        "it inspects the kernel or other processes",
        "do that outside",
    ),
    (&["add_key", "keyctl", "request_key"], 40, "keyrings belong to the caller", "run it without the keyring"),
    (&["open_by_handle_at"], 30, "it bypasses the permissions of directories", "use paths"),
    (
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        60,
        "it bypasses the filter",
        "programs fall back to other calls",
    ),
    (&["ioctl"], 30, "it changes the terminal in a way that is not allowed", "run it without this request"),
    (&["personality"], 40, "it disables protections of the process", "run it without this request"),
    (&["modify_ldt", "uselib", "vm86", "vm86old", "socketcall"], 40, "it is an obsolete call", "use a current program"),
    (&["prlimit64"], 45, "core files are disabled, and process 1 belongs to hermes", "do not change these limits"),
    (&["kill"], 30, "signals reach processes of the sandbox only", "process 1 belongs to hermes"),
];

/// Advice about a raw internet socket.
pub(super) fn raw_socket(call: &str, family: &str) -> Advice {
    Advice {
        rank: 20,
        what: format!("{call} ({family}, SOCK_RAW)"),
        why: "only root of the host opens such sockets, which older ping(8) uses".into(),
        remedy: cannot("test with a connection"),
        merges: false,
    }
}

/// Advice about a call.
pub(super) fn call(call: &str, detail: Option<&str>, profile: Profile) -> Advice {
    let what = match detail {
        Some(detail) => format!("{call} ({detail})"),
        None => call.to_owned(),
    };
    let advice = |rank, why: &str, remedy| Advice { rank, what: what.clone(), why: why.into(), remedy, merges: false };
    if let Some((_, rank, why, instead)) = CALLS.iter().find(|(names, ..)| names.contains(&call)) {
        return advice(*rank, why, cannot(instead));
    }
    match call {
        _ if call.contains("chown") => {
            let (why, remedy) = giving_away(profile);
            advice(15, why, remedy)
        }
        "socket" | "socketpair" => advice(
            45,
            "only sockets of AF_UNIX, AF_INET and AF_INET6 are allowed",
            cannot("programs fall back to these"),
        ),
        _ if call.starts_with("setre")
            || call.starts_with("setgroups")
            || call.starts_with("setu")
            || call.starts_with("setg") =>
        {
            match profile {
                Profile::Build => advice(25, "only root changes its user, and only inside", allow("--root")),
                Profile::Provision => {
                    advice(25, "there is only one user", allow("--fake-root stateless, or --userns range"))
                }
            }
        }
        _ => advice(30, "it affects the whole machine", cannot("do that outside")),
    }
}
