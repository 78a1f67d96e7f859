//! Reads the object of a call from the arguments, memory and `/proc` of its process, and decides whether its failure is
//! worth a report.
//!
//! The command controls all of it and may change it at any time; it only affects the explanation.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::process::Pid;

use crate::emulation;
use crate::sandbox::denial::Denied;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::{Bind, Network};
use crate::sandbox::tracer::exec_redirect::start_of_file;
use crate::sandbox::tracer::explain::address::{Peer, peer, question};
use crate::sandbox::tracer::explain::calls::{Shape, shape};
use crate::sandbox::tracer::explain::path_resolution::{self, Node};
use crate::sys::ptrace::{self, Call};

/// Maximum length of a path (linux/limits.h).
const PATH_MAX: usize = 4096;
const DNS: u16 = 53;

/// Object of a denial, and the name of the call.
pub(super) struct Subject {
    pub(super) what: Denied,
    pub(super) call: &'static str,
}

/// Sandbox as the explanation needs it.
pub(super) struct View {
    binds: Vec<Bind>,
    network: Network,
    argv: Vec<OsString>,
}

impl View {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { binds: path_resolution::binds(plan), network: plan.policy.network, argv: plan.policy.argv.clone() }
    }

    /// Object that the finished call `name` was denied; `None` if it is not worth a report.
    pub(super) fn subject(&self, pid: Pid, name: &'static str, call: &Call, errno: i32) -> Option<Subject> {
        let arguments = call.arguments;
        let memory = Memory { pid, wide: call.is_wide() };
        match shape(name) {
            Shape::Numbers => numbers(name, call, errno),
            Shape::Address(at) => self.peer(&memory, name, (arguments[at], arguments[at + 1]), errno),
            Shape::Datagram => self.datagram(&memory, name, arguments, errno),
            Shape::Message => self.message(&memory, name, arguments[1], errno),
            Shape::SocketCall => {
                // Numbers of linux/net.h.
                let words = memory.words(arguments[1]);
                match arguments[0] {
                    2 => self.peer(&memory, "bind", (words[1], words[2]), errno),
                    3 => self.peer(&memory, "connect", (words[1], words[2]), errno),
                    9 => self.lookup(&memory, (words[1], words[2]), "send"),
                    11 => self.datagram(&memory, "sendto", words, errno),
                    16 | 20 => self.message(&memory, "sendmsg", words[1], errno),
                    _ => None,
                }
            }
            shape => {
                if !is_telling(name, call, errno) {
                    return None;
                }
                let (directory, address) = match shape {
                    Shape::Path(at) => (None, arguments[at]),
                    Shape::At(directory, at) => (Some(arguments[directory]), arguments[at]),
                    Shape::Descriptor(at) => (Some(arguments[at]), 0),
                    Shape::Two([from, to]) => {
                        let argument = |(directory, at): (Option<usize>, usize)| {
                            (directory.map(|directory| arguments[directory]), arguments[at])
                        };
                        let (directory, address) = argument(from);
                        let from_path = memory.path(directory, address)?;
                        if errno == libc::EXDEV {
                            let (directory, address) = argument(to);
                            return self.unmovable(&from_path, &memory.path(directory, address)?, name);
                        }
                        let from_missing =
                            path_resolution::resolve(&from_path, &self.binds, Node::look).missing.is_some();
                        if errno == libc::ENOENT && from_missing { argument(from) } else { argument(to) }
                    }
                    _ => return None,
                };
                let path = memory.path(directory, address)?;
                self.path(&path, name, errno).map(|what| Subject { what, call: name })
            }
        }
    }

    /// Whether an overlay cannot rename this directory of the image: it would have to record its origin (`redirect_dir`),
    /// which the kernel denies to overlays of user namespaces. Renaming to another mount fails everywhere.
    fn unmovable(&self, from: &Path, to: &Path, call: &'static str) -> Option<Subject> {
        let device =
            |path: &Path| rustix::fs::lstat(path).ok().filter(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        let is_given = path_resolution::bind_of(from, &self.binds).is_some();
        let is_one_mount = device(from)?.st_dev == device(to.parent()?)?.st_dev;
        let path = from.to_string_lossy().into_owned();
        (!is_given && is_one_mount)
            .then_some(Subject { what: Denied::Path { path, missing: None, outside: None }, call })
    }

    fn path(&self, path: &Path, name: &str, errno: i32) -> Option<Denied> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let is_named = |path: &Path| path_resolution::is_named(&text(path), &self.argv);
        let is_missing = errno == libc::ENOENT;
        // Covers most failed lookups, before any link is followed.
        if is_missing && !name.starts_with("exec") && path_resolution::is_the_images_own(path) && !is_named(path) {
            return None;
        }
        // Links there depend on the process that reads them.
        if path.starts_with("/proc") {
            return (!is_missing).then(|| Denied::Path { path: text(path), missing: None, outside: None });
        }
        let found = path_resolution::resolve(path, &self.binds, Node::look);
        let outside = found.outside.as_deref().map(text);
        if !is_missing {
            return Some(Denied::Path { path: text(&found.path), missing: None, outside });
        }
        let Some(missing) = found.missing else {
            // The program exists, so its interpreter is missing. Otherwise it was made a moment ago.
            let interpreter = interpreter(&found.path).filter(|_| name.starts_with("exec"))?;
            let gone = path_resolution::resolve(&interpreter, &self.binds, Node::look).missing.is_some();
            return gone.then(|| Denied::Interpreter { program: text(&found.path), path: text(&interpreter) });
        };
        if found.is_mounted
            || path_resolution::is_the_images_own(&found.path) && !is_named(path) && !is_named(&found.path)
        {
            return None;
        }
        Some(Denied::Path { path: text(&found.path), missing: Some(text(&missing)), outside })
    }

    fn peer(&self, memory: &Memory, name: &'static str, (at, length): (u64, u64), errno: i32) -> Option<Subject> {
        let mut bytes = [0; 128];
        let length = usize::try_from(length).unwrap_or(0).min(bytes.len());
        let length = ptrace::read_memory(memory.pid, at, &mut bytes[..length]);
        let told = |what| Some(Subject { what, call: name });
        match peer(&bytes[..length])? {
            Peer::Internet(_, DNS) if self.network == Network::None && name != "bind" => {
                told(Denied::Lookup { name: None })
            }
            Peer::Internet(ip, port) => {
                let loopback = ip.is_loopback() || ip.is_unspecified();
                let refused = [
                    libc::ENETUNREACH,
                    libc::EHOSTUNREACH,
                    libc::ENETDOWN,
                    libc::EACCES,
                    libc::EPERM,
                    libc::EADDRNOTAVAIL,
                    libc::ECONNREFUSED,
                ];
                let told_of = refused.contains(&errno);
                // C libraries connect to port 0 and the like only to find out the route.
                let is_trial = errno != libc::EACCES && port == 0;
                if !told_of || is_trial {
                    return None;
                }
                told(Denied::Address { ip: ip.to_string(), port, loopback })
            }
            Peer::Abstract(name) => {
                [libc::EPERM, libc::EACCES, libc::ECONNREFUSED].contains(&errno).then_some(())?;
                told(Denied::Abstract { name })
            }
            Peer::Path(path) => {
                [libc::EPERM, libc::EACCES, libc::ENOENT, libc::EROFS].contains(&errno).then_some(())?;
                self.path(&memory.absolute(None, &path.into())?, name, errno).and_then(told)
            }
        }
    }

    fn datagram(&self, memory: &Memory, name: &'static str, arguments: [u64; 6], errno: i32) -> Option<Subject> {
        let asked = self.lookup(memory, (arguments[1], arguments[2]), name);
        asked.or_else(|| self.peer(memory, name, (arguments[4], arguments[5]), errno))
    }

    /// `struct msghdr`: the address and its length, then vectors of bytes.
    fn message(&self, memory: &Memory, name: &'static str, header: u64, errno: i32) -> Option<Subject> {
        let [address, length, vectors, ..] = memory.words(header);
        let [start, size, ..] = memory.words(vectors);
        let asked = self.lookup(memory, (start, size), name);
        asked.or_else(|| self.peer(memory, name, (address, low(length).into()), errno))
    }

    /// Without a network, a queried name is a failed lookup.
    fn lookup(&self, memory: &Memory, (at, length): (u64, u64), call: &'static str) -> Option<Subject> {
        if self.network != Network::None {
            return None;
        }
        let mut bytes = [0; 512];
        let length = usize::try_from(length).unwrap_or(0).min(bytes.len());
        let length = ptrace::read_memory(memory.pid, at, &mut bytes[..length]);
        let name = question(&bytes[..length])?;
        Some(Subject { what: Denied::Lookup { name: Some(name) }, call })
    }

    /// File systems that are full, each with the error that a writer met.
    pub(super) fn full(&self) -> Vec<(Denied, i32)> {
        let is_full = |path: &str| {
            let about = rustix::fs::statvfs(path);
            let writable = |flags: StatVfsMountFlags| !flags.contains(StatVfsMountFlags::RDONLY);
            about.is_ok_and(|about| writable(about.f_flag) && about.f_blocks > 0 && about.f_bavail == 0)
        };
        let what = |path: &str| Denied::Path {
            path: path.to_owned(),
            missing: None,
            outside: path_resolution::bind_of(Path::new(path), &self.binds)
                .map(|bind| bind.source.to_string_lossy().into_owned()),
        };
        let given = self.binds.iter().filter(|bind| !bind.read_only).filter_map(|bind| bind.target.to_str());
        let places = ["/", "/tmp", "/dev/shm"].into_iter().chain(given);
        places.filter(|path| is_full(path)).map(|path| (what(path), libc::ENOSPC)).collect()
    }
}

/// A call with numbers only.
fn numbers(name: &'static str, call: &Call, errno: i32) -> Option<Subject> {
    let is = |wanted: &[i32]| wanted.contains(&errno);
    // -1 keeps an id.
    let id = || call.arguments[..3].iter().map(|id| low(*id).cast_signed()).find(|id| *id != -1);
    let detail = match name {
        "socket" if is(&[libc::EPERM, libc::EACCES]) => return Some(Subject { what: socket(call), call: name }),
        "kill" if is(&[libc::EPERM]) => Some(format!("process {}", low(call.arguments[0]).cast_signed())),
        "setgroups" | "setgroups32" if is(&[libc::EPERM, libc::EINVAL]) => None,
        _ if name.starts_with("set") && is(&[libc::EPERM, libc::EINVAL]) => id().map(|id| format!("id {id}")),
        _ => return None,
    };
    Some(Subject { what: Denied::Call { detail }, call: name })
}

/// Whether the failure of a call with a path is worth a report.
fn is_telling(name: &str, call: &Call, errno: i32) -> bool {
    // Needs more rights than reading; programs do without.
    const O_NOATIME: u32 = 0o1_000_000;
    let flags = match name {
        "open" => low(call.arguments[1]),
        "openat" => low(call.arguments[2]),
        _ => 0,
    };
    match errno {
        libc::ENOENT | libc::EROFS | libc::ENOSPC | libc::EDQUOT => true,
        // A program that only asks for permission has its answer.
        libc::EACCES => !name.contains("access"),
        libc::EPERM => flags & O_NOATIME == 0,
        libc::EINVAL => name.contains("chown"),
        libc::EXDEV => name.starts_with("rename"),
        _ => false,
    }
}

fn low(argument: u64) -> u32 {
    u32::try_from(argument & 0xffff_ffff).unwrap_or(0)
}

/// Object of a call that the filter denies.
pub(super) fn refused_call(name: &str, call: &Call) -> Denied {
    let hex = |argument: u64| Some(format!("{:#x}", low(argument)));
    let detail = match name {
        "socket" | "socketpair" => return socket(call),
        "ioctl" => match low(call.arguments[1]) {
            0x540c => Some("TIOCEXCL".to_owned()),
            0x5412 => Some("TIOCSTI".to_owned()),
            0x541c => Some("TIOCLINUX".to_owned()),
            0x5423 => Some("TIOCSETD".to_owned()),
            other => Some(format!("{other:#x}")),
        },
        "clone" | "unshare" => Some(namespaces(low(call.arguments[0]))),
        "personality" => hex(call.arguments[0]),
        _ => None,
    };
    Denied::Call { detail }
}

/// Names of the requested namespaces.
fn namespaces(flags: u32) -> String {
    let kinds = [
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWNET, "network"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (0x80, "time"),
    ];
    let asked: Vec<_> =
        kinds.iter().filter(|(bit, _)| flags & bit.cast_unsigned() != 0).map(|(_, name)| *name).collect();
    asked.join(", ") + if asked.len() == 1 { " namespace" } else { " namespaces" }
}

/// The socket that the first two arguments of socket(2) or socketpair(2) ask for.
fn socket(call: &Call) -> Denied {
    let number = low(call.arguments[0]).cast_signed();
    let family = match number {
        libc::AF_INET => "AF_INET",
        libc::AF_INET6 => "AF_INET6",
        libc::AF_NETLINK => "AF_NETLINK",
        libc::AF_PACKET => "AF_PACKET",
        libc::AF_ALG => "AF_ALG",
        libc::AF_VSOCK => "AF_VSOCK",
        libc::AF_BLUETOOTH => "AF_BLUETOOTH",
        libc::AF_CAN => "AF_CAN",
        _ => "",
    };
    let family = if family.is_empty() { format!("family {number}") } else { family.to_owned() };
    let is_internet = [libc::AF_INET, libc::AF_INET6].contains(&number);
    // The other bits are flags.
    let is_raw = low(call.arguments[1]).cast_signed() & 0xf == libc::SOCK_RAW;
    if is_internet && is_raw { Denied::RawSocket { family } } else { Denied::Call { detail: Some(family) } }
}

/// Programs that need to run as root. Layers are unpacked without set-user-id bits, so the mode of the file does not
/// tell.
const SET_USER_ID: &[&str] = &["doas", "fusermount", "fusermount3", "newgidmap", "newuidmap", "pkexec", "su", "sudo"];

/// The program of a process, if it should run as the owner of its file and does not.
pub(super) fn set_user_id(pid: Pid) -> Option<Denied> {
    let path = std::fs::read_link(proc(pid, "exe")).ok()?;
    let name = path.file_name()?.to_str()?;
    SET_USER_ID.contains(&name).then(|| Denied::SetUserId { path: path.to_string_lossy().into_owned() })
}

/// The kernel's name for the program of a process.
pub(super) fn program(pid: Pid) -> String {
    let name = std::fs::read(proc(pid, "comm")).unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

fn proc(pid: Pid, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", pid.as_raw_nonzero()).into()
}

/// Interpreter of a program, from its `#!` line or ELF header.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut start = vec![0; 16 << 10];
    let found = rustix::fs::open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = start_of_file(&found, &mut start)?;
    let start = &start[..length];
    let path = if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
        line.split(u8::is_ascii_whitespace).next()?
    } else {
        emulation::interpreter(start)?
    };
    path.starts_with(b"/").then(|| OsStr::from_bytes(path).into())
}

/// Memory of a process, of 64 or 32 bits.
struct Memory {
    pid: Pid,
    wide: bool,
}

impl Memory {
    /// Reads six words.
    fn words(&self, at: u64) -> [u64; 6] {
        let mut bytes = [0; 48];
        let size = if self.wide { 8 } else { 4 };
        let length = ptrace::read_memory(self.pid, at, &mut bytes[..6 * size]);
        let mut words = [0; 6];
        for (word, piece) in words.iter_mut().zip(bytes[..length].chunks_exact(size)) {
            let mut eight = [0; 8];
            eight[..size].copy_from_slice(piece);
            *word = u64::from_le_bytes(eight);
        }
        words
    }

    /// Reads a string up to its terminator; nothing of one that is too long.
    fn string(&self, mut at: u64) -> Option<OsString> {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut text = Vec::new();
        while text.len() < PATH_MAX {
            // Up to the end of the page: the next one may not exist.
            let mut piece = [0; 256];
            let length = usize::try_from(page - at % page).unwrap_or(0).min(piece.len());
            let length = ptrace::read_memory(self.pid, at, &mut piece[..length]);
            let piece = &piece[..length];
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&piece[..end]);
                return Some(OsStr::from_bytes(&text).to_owned());
            }
            if piece.is_empty() {
                return None;
            }
            text.extend_from_slice(piece);
            at += u64::try_from(length).unwrap_or(0);
        }
        None
    }

    /// Absolute path of the file at `at`; without a path, that of the descriptor.
    fn path(&self, directory: Option<u64>, at: u64) -> Option<PathBuf> {
        let path = if at == 0 { OsString::new() } else { self.string(at)? };
        self.absolute(directory, &path.into())
    }

    fn absolute(&self, directory: Option<u64>, path: &PathBuf) -> Option<PathBuf> {
        if path.is_absolute() {
            return Some(path.clone());
        }
        let base = match directory.map(|fd| low(fd).cast_signed()) {
            None | Some(libc::AT_FDCWD) => proc(self.pid, "cwd"),
            Some(fd) => proc(self.pid, &format!("fd/{fd}")),
        };
        // A removed file or a pipe has no path.
        let base = std::fs::read_link(base).ok().filter(|base| base.is_absolute())?;
        Some(if path.as_os_str().is_empty() { base } else { base.join(path) })
    }
}
