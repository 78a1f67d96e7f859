//! Opens the file that a call would execute, as its process would.
//!
//! Init has the same root as the process, which cannot change it, and the same user on the host; init has dropped the
//! capabilities that would let it see more ([`crate::sandbox::init`]). Paths in `/proc` about the calling process itself
//! are translated.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::process::Pid;

use super::script::HEAD;

/// Start of a relative path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Working directory.
    Here,
    /// File of this descriptor.
    Descriptor(i32),
}

/// First bytes of the file at `path` for `pid`, followed by zeros, if it is executable. An empty path names the file of
/// the descriptor.
pub(super) fn head(pid: Pid, from: From, path: &[u8], follow: bool) -> Option<[u8; HEAD]> {
    let found = open(pid, from, path, follow)?;
    // Checks the mount option noexec as well.
    rustix::fs::accessat(CWD, own_name(&found), Access::EXEC_OK, AtFlags::empty()).ok()?;
    let mut head = [0; HEAD];
    start(&found, &mut head)?;
    Some(head)
}

/// Path by which this process opens the file of `found` (`O_PATH`).
fn own_name(found: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}

/// Fills `bytes` from the beginning of the file of `found` (`O_PATH`), and returns their number. `None` if it is not a
/// regular file or cannot be read at once: a FIFO of the command must not block init.
pub(in crate::sandbox) fn start(found: &OwnedFd, bytes: &mut [u8]) -> Option<usize> {
    if FileType::from_raw_mode(rustix::fs::fstat(found).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    // Does not wait for the holder of a lease (fcntl(2)).
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(own_name(found), flags, Mode::empty()).ok()?);
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], u64::try_from(length).ok()?).ok()? {
            0 => break,
            read => length += read,
        }
    }
    Some(length)
}

/// Whether a descriptor of `pid` closes on exec.
pub(super) fn is_closed_by_exec(pid: Pid, fd: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", pid.as_raw_nonzero())).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    flags & libc::O_CLOEXEC != 0
}

/// Descriptor of `pid` that an absolute path names, if it closes on exec.
pub(super) fn closing_descriptor(pid: Pid, path: &[u8]) -> Option<i32> {
    let own = format!("/proc/{}/", pid.as_raw_nonzero());
    let number = seen_by(&own, path).strip_prefix(format!("{own}fd/").as_bytes()).map(<[u8]>::to_vec)?;
    let fd = str::from_utf8(&number).ok()?.parse().ok()?;
    is_closed_by_exec(pid, fd).then_some(fd)
}

fn open(pid: Pid, from: From, path: &[u8], follow: bool) -> Option<OwnedFd> {
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
    let own = format!("/proc/{}/", pid.as_raw_nonzero());
    if path.starts_with(b"/") {
        return rustix::fs::open(seen_by(&own, path), flags, Mode::empty()).ok();
    }
    let start = match from {
        From::Here => format!("{own}cwd"),
        From::Descriptor(fd) => format!("{own}fd/{fd}"),
    };
    let start = rustix::fs::open(start, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if path.is_empty() {
        return (from != From::Here).then_some(start);
    }
    rustix::fs::openat(start, path, flags, Mode::empty()).ok()
}

/// Translates an absolute path about the process itself, `own` in `/proc`, for other processes.
fn seen_by(own: &str, path: &[u8]) -> Vec<u8> {
    let places = [(&b"/proc/self/"[..], ""), (b"/proc/thread-self/", ""), (b"/dev/fd/", "fd/")];
    let place = places.into_iter().find_map(|(place, there)| Some((path.strip_prefix(place)?, there)));
    place.map_or_else(|| path.to_vec(), |(rest, there)| [own.as_bytes(), there.as_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_about_oneself() {
        for (path, seen) in [
            ("/bin/sh", "/bin/sh"),
            ("/proc/self/exe", "/proc/7/exe"),
            ("/proc/thread-self/fd/3", "/proc/7/fd/3"),
            ("/dev/fd/3/x", "/proc/7/fd/3/x"),
            ("/proc/selfish", "/proc/selfish"),
            ("/proc/8/exe", "/proc/8/exe"),
        ] {
            assert_eq!(seen_by("/proc/7/", path.as_bytes()), seen.as_bytes(), "{path}");
        }
    }

    #[test]
    fn only_what_can_be_executed_is_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "#!x").unwrap();
        let me = rustix::process::getpid();
        let read = |path: &std::path::Path| head(me, From::Here, path.as_os_str().as_encoded_bytes(), true);
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(read(&path), None);
        mode(0o755);
        let read_head = read(&path).unwrap();
        assert_eq!((&read_head[..4], read_head[HEAD - 1]), (&b"#!x\0"[..], 0));
        assert_eq!(read(dir.path()), None);
        let file = File::open(&path).unwrap();
        assert!(head(me, From::Descriptor(file.as_raw_fd()), b"", true).is_some());
        let fd = file.as_raw_fd();
        assert!(is_closed_by_exec(me, fd) && !is_closed_by_exec(me, 0));
        rustix::fs::mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o755), 0).unwrap();
        assert_eq!(read(&dir.path().join("fifo")), None);
        let closing = |path: String| closing_descriptor(me, path.as_bytes());
        assert_eq!([closing(format!("/dev/fd/{fd}")), closing(format!("/proc/self/fd/{fd}"))], [Some(fd); 2]);
        assert_eq!(
            [closing("/dev/fd/0".into()), closing(format!("/dev/fd/{fd}/x")), closing("/bin/sh".into())],
            [None; 3]
        );
    }
}
