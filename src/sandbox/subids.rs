//! Ranges of ids that the caller may map (subuid(5)), and the helpers that map them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::sandbox::error::SandboxError;

/// Number of ids inside, with root: those that distributions use, and `nobody`.
const USERS: u32 = 65536;

/// Files with the ranges, and the helpers that map them.
const FILES: [(&str, &str); 2] = [("/etc/subuid", "newuidmap"), ("/etc/subgid", "newgidmap")];

/// First id of the host and number of ids that are mapped from id 1 inside on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    first: u32,
    count: u32,
}

/// Users and groups that the caller may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubIds {
    users: Range,
    groups: Range,
}

impl SubIds {
    /// Reads the ranges of the user `caller` from the files of the host.
    ///
    /// # Errors
    ///
    /// The files grant none.
    pub fn of(caller: u32) -> Result<Self, SandboxError> {
        let name = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(caller)).ok().flatten();
        let name = name.map_or_else(|| caller.to_string(), |user| user.name);
        let [users, groups] = FILES.map(|(file, _)| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            range(&text, &name, caller).ok_or_else(|| SandboxError::NoSubIds { file, user: name.clone() })
        });
        Ok(Self { users: users?, groups: groups? })
    }

    /// Maps the caller to 0 and the ranges to the ids after it, in the new user namespace of `init`. The helpers are
    /// looked for in the directories `search`.
    pub(super) fn map(&self, init: Pid, caller: (u32, u32), search: &[PathBuf]) -> Result<(), SandboxError> {
        for ((_, program), (own, range)) in FILES.into_iter().zip([(caller.0, self.users), (caller.1, self.groups)]) {
            let Range { first, count } = range;
            let words = [init.as_raw_nonzero().get().cast_unsigned(), 0, own, 1, 1, first, count];
            let Some(path) = search.iter().map(|directory| directory.join(program)).find(|path| path.is_file()) else {
                return Err(SandboxError::MapHelper { program, said: "it is in no directory of PATH".to_owned() });
            };
            let done = Command::new(path).args(words.map(|word| word.to_string())).stdin(Stdio::null()).output();
            let said = match done {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(SandboxError::MapHelper { program, said });
        }
        Ok(())
    }

    /// Writes the maps of the user namespace that process `child` has just entered; outside ids are those of this
    /// process's own namespace.
    pub(super) fn map_below(&self, child: Pid) -> std::io::Result<()> {
        for (kind, range) in [("uid", self.users), ("gid", self.groups)] {
            // Two lines, as in the outer map: the kernel refuses a line that spans two of its lines.
            let path = format!("/proc/{}/{kind}_map", child.as_raw_nonzero());
            std::fs::write(Path::new(&path), format!("0 0 1\n1 1 {}\n", range.count))?;
        }
        Ok(())
    }
}

/// First range of `name` or `id` in a file of lines `NAME:FIRST:COUNT`.
fn range(text: &str, name: &str, id: u32) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        if who != name && who.parse() != Ok(id) {
            return None;
        }
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let count = count.min(USERS - 1);
        (count > 0 && first.checked_add(count).is_some()).then_some(Range { first, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_user() {
        let some = |first, count| Some(Range { first, count });
        for (text, want) in [
            ("me:100000:65536", some(100_000, 65535)),
            ("you:1:2\nme:5:7\nme:9:9\n", some(5, 7)),
            ("1000:100000:65536", some(100_000, 65535)),
            ("10000:100000:65536", None),
            ("mean:100000:65536", None),
            ("me:100000", None),
            ("me:100000:0", None),
            ("me:x:65536\nme:3:4", some(3, 4)),
            ("me:4294967295:10", None),
            ("", None),
        ] {
            assert_eq!(range(text, "me", 1000), want, "{text:?}");
        }
    }
}
