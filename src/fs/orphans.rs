//! Orphaned temporary files. Their names say which process made them: `<host>-<pid>-<random>`, where `host` stands for the
//! boot and the pid namespace in which the pid is valid.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::digest::Digest;
use crate::fs::boot;

/// The prefix of the names of temporary files of this process.
#[must_use]
pub(crate) fn prefix() -> String {
    format!("{}-{}-", host(), std::process::id())
}

/// Whether the process that made a file of this name has ended. `None` where that is unknown: the name is of another host, or
/// not one of these names.
#[must_use]
pub(crate) fn is_orphaned(name: &str) -> Option<bool> {
    let mut parts = name.split('-');
    if parts.next() != Some(&host()) {
        return None;
    }
    let pid = parts.next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw)?;
    Some(test_kill_process(pid) == Err(Errno::SRCH))
}

fn host() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let both = [boot::current().as_bytes(), b"\n", namespace.as_os_str().as_encoded_bytes()].concat();
    Digest::of(&both).short()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_it_is() {
        assert_eq!(is_orphaned(&format!("{}x", prefix())), Some(false));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(is_orphaned(&format!("{}-{}-x", host(), child.id())), Some(true));
        for none in
            [format!("{}-", host()), format!("{}-x-y", host()), "0123456789ab-1-x".into(), "x".into(), String::new()]
        {
            assert_eq!(is_orphaned(&none), None, "{none}");
        }
    }
}
