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
        why: "there is no network; what is fetched before the run needs none".into(),
        remedy: allow("--net host"),
        merges: false,
    }
}

pub(super) fn address(refusal: &Denial, (ip, port, loopback): (&str, u16, bool), network: Network) -> Advice {
    let what = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let is_bind = refusal.call == "bind";
    let (why, remedy) = match network {
        _ if is_bind && refusal.errno == libc::EACCES => {
            ("ports below 1024 are root's", cannot("let it listen on a port from 1024 on"))
        }
        Network::Host => ("the host's network does not let it through", cannot("the sandbox has no part in this")),
        Network::None if loopback => ("nothing listens there inside; the host's own is another", allow("--net host")),
        Network::None if is_bind => ("it is an address of the host's", allow("--net host")),
        Network::None => ("there is no network; what is fetched before the run needs none", allow("--net host")),
    };
    Advice { rank: 9, what, why: why.into(), remedy, merges: false }
}

pub(super) fn unnamed_socket(name: &str) -> Advice {
    Advice {
        rank: 30,
        what: format!("socket @{name}"),
        why: "it has no path".into(),
        remedy: cannot("only sockets with a path can be given, by -v"),
        merges: false,
    }
}

pub(super) fn set_user_id(path: &str, profile: Profile) -> Advice {
    let remedy = match profile {
        Profile::Build => allow("--root, which is user 0 from the start"),
        Profile::Provision => cannot("it is user 0 inside already: leave sudo and su out"),
    };
    let why = "it ran without its owner's rights: no program gains any (no_new_privs)".into();
    Advice { rank: 25, what: shown(Path::new(path)), why, remedy, merges: false }
}

/// Reason and remedy of a change of owner.
fn giving_away(profile: Profile) -> (&'static str, Remedy) {
    match profile {
        Profile::Build => ("only root gives files away, and only inside", allow("--root")),
        Profile::Provision => {
            ("there is one user only, who owns all files", allow("--fake-root stateless, or --userns range"))
        }
    }
}

/// Advice about a path that exists.
pub(super) fn forbidden(refusal: &Denial, path: &Path, bind: Option<&Bind>, profile: Profile) -> Advice {
    let what = shown(path);
    let advice = |rank, why: &str, remedy| Advice { rank, what: what.clone(), why: why.into(), remedy, merges: false };
    let call = refusal.call.as_str();
    let of_kernel = path.starts_with("/proc") || path.starts_with("/sys");
    match refusal.errno {
        libc::ENOSPC | libc::EDQUOT if bind.is_some() => {
            advice(3, "the disk of the host is full", cannot("make room there"))
        }
        libc::ENOSPC | libc::EDQUOT => {
            // A mount at a directory of the image would hide its content.
            let depth = if path.starts_with("/dev") { 3 } else { 2 };
            let top = path.iter().take(depth).collect::<std::path::PathBuf>();
            let at = if path.iter().count() > 1 { shown(&top) } else { "/tmp".to_owned() };
            let remedy = Remedy::Allow(format!("-v DIRECTORY:{at}, with a directory that has room"));
            advice(3, "it is in memory, and full", remedy)
        }
        libc::EXDEV => {
            let option = if profile == Profile::Build { "--root --rootfs merged" } else { "--rootfs merged" };
            advice(5, "an overlay does not rename directories of the image", allow(option))
        }
        _ if path.starts_with("/proc/1") => advice(70, "process 1 is hermes's own", cannot("leave it alone")),
        _ if of_kernel => advice(35, "it is the kernel's, and the same for the whole host", cannot("set it outside")),
        libc::EROFS => match bind {
            Some(bind) => advice(10, "it is mounted read-only", volume(&bind.source, &bind.target, false)),
            None => advice(12, "it is read-only in every sandbox", cannot("write below /work, /tmp or -v")),
        },
        _ if call.contains("chown") => {
            let (why, remedy) = giving_away(profile);
            advice(15, why, remedy)
        }
        _ if call.contains("mknod") => {
            let why = "devices can be made by root of the host only";
            match profile {
                Profile::Build => advice(15, why, allow("--root, for which it seems to succeed")),
                Profile::Provision => advice(15, why, allow("--fake-root stateless, with which it seems to succeed")),
            }
        }
        _ if call.contains("xattr") => match profile {
            Profile::Build => advice(20, "only root gives such attributes, and only inside", allow("--root")),
            Profile::Provision => advice(20, "root of the host alone gives such attributes", cannot("do without them")),
        },
        libc::EACCES if call.starts_with("exec") => {
            let why = "it is not executable, or no program";
            advice(10, why, Remedy::Cannot(format!("set its bit: chmod +x {what}")))
        }
        _ if bind.is_some() => {
            advice(10, "its permissions forbid it", cannot("they would outside too: chmod it there"))
        }
        _ => match profile {
            Profile::Build => advice(14, "its permissions in the image forbid it", allow("--root")),
            Profile::Provision => advice(14, "not even root may inside", cannot("the kernel has it so")),
        },
    }
}

/// Advice for calls: names, rank, reason, what to do instead. The first list with the name counts.
const CALLS: &[(&[&str], u32, &str, &str)] = &[
    (
        &["mount", "umount", "umount2", "pivot_root", "chroot"],
        20,
        "mounts are the sandbox's own",
        "bring directories in with -v",
    ),
    (
        &["open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"],
        50,
        "mounts are the sandbox's own",
        "bring directories in with -v",
    ),
    (
        &["clone", "unshare", "setns"],
        20,
        "there are no namespaces within the sandbox",
        "switch the program's own sandbox off",
    ),
    (&["ptrace"], 40, "hermes traces the command itself under --explain", "run it without --explain"),
    (
        &["bpf", "perf_event_open", "syslog", "lookup_dcookie", "fanotify_init", "userfaultfd"],
        22,
        "it looks into the kernel",
        "do that outside",
    ),
    (&["add_key", "keyctl", "request_key"], 40, "keys are the caller's, not the sandbox's", "do without the keyring"),
    (&["open_by_handle_at"], 30, "it goes past the permissions of directories", "use paths"),
    (
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        60,
        "it is a way around the filter",
        "programs do without it",
    ),
    (&["ioctl"], 30, "it changes more of a terminal than a command may", "do without"),
    (&["personality"], 40, "it switches off what protects the process", "do without"),
    (&["modify_ldt", "uselib", "vm86", "vm86old", "socketcall"], 40, "it is for programs of another age", "do without"),
    (&["prlimit64"], 45, "there are no core files, and process 1 is hermes's own", "leave these limits alone"),
    (&["kill"], 30, "signals go to processes of the sandbox only", "process 1 is hermes's own"),
];

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
        "socket" if detail.is_some_and(|detail| detail.contains("RAW")) => {
            advice(20, "such sockets are for root of the host, ping(8)'s too", cannot("try it with a connection"))
        }
        _ if call.contains("chown") => {
            let (why, remedy) = giving_away(profile);
            advice(15, why, remedy)
        }
        "socket" | "socketpair" => {
            advice(45, "sockets are AF_UNIX, AF_INET and AF_INET6", cannot("programs do without others"))
        }
        _ if call.starts_with("setre")
            || call.starts_with("setgroups")
            || call.starts_with("setu")
            || call.starts_with("setg") =>
        {
            match profile {
                Profile::Build => advice(25, "only root becomes somebody else, and only inside", allow("--root")),
                Profile::Provision => {
                    advice(25, "there is one user", allow("--fake-root stateless, or --userns range"))
                }
            }
        }
        _ => advice(30, "it is about the whole machine", cannot("do that outside")),
    }
}
