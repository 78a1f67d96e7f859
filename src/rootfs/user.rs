//! The user inside the sandbox: the image's `User`, or the caller.

use std::io;

use serde::Serialize;

use crate::hint::{ErrorKind, Hint};
use crate::rootfs::Rootfs;
use crate::visible::shortened;

/// The one user of a sandbox. Files it makes in mounted directories belong to the caller outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    pub name: String,
    pub home: String,
    /// Whether the image's own `/etc/passwd` knows the user.
    pub known: bool,
    /// Whether its home directory is another than the image's.
    pub moved: bool,
}

/// The image's `User` cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such name in the image.
    #[error("the image runs as {kind} '{name}', which its /etc/{file} does not contain")]
    Unknown {
        /// user, group
        kind: &'static str,
        /// passwd, group
        file: &'static str,
        name: String,
    },
    /// An id that does not exist (CVE-2024-40635).
    #[error("the image runs as {kind} '{id}': expected an id from 0 to 4294967294")]
    BadId {
        /// user, group
        kind: &'static str,
        /// The number as written.
        id: String,
    },
    /// The image's accounts cannot be read.
    #[error("cannot read /etc/passwd and /etc/group of the image")]
    Unreadable(#[source] io::Error),
}

impl Hint for UserError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    fn hints(&self) -> Vec<String> {
        vec!["run as user 0 instead: --root".into()]
    }
}

impl Identity {
    /// Has its home at `path`, and `accounts` say so.
    pub fn live_at(&mut self, path: &str, accounts: &mut Accounts) {
        self.moved = self.home != path;
        path.clone_into(&mut self.home);
        let id = self.uid.to_string();
        let moved = |line: &str| {
            let mut fields: Vec<&str> = line.split(':').collect();
            if fields.len() >= 6 && fields[2] == id {
                fields[5] = path;
            }
            fields.join(":") + "\n"
        };
        if self.moved && self.known {
            accounts.passwd = accounts.passwd.lines().map(moved).collect();
        }
    }
}

/// Who the image knows.
pub struct Accounts {
    /// All of `/etc/passwd`.
    pub(super) passwd: String,
    /// All of `/etc/group`.
    pub(super) group: String,
}

impl Accounts {
    /// Those of an image. Files that it does not have are empty.
    ///
    /// # Errors
    /// They cannot be read, or are far too long.
    pub fn of(rootfs: &Rootfs) -> Result<Self, UserError> {
        let files = rootfs.read(["etc/passwd", "etc/group"]).map_err(UserError::Unreadable)?;
        let [passwd, group] = files.map(|bytes| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned());
        Ok(Self { passwd, group })
    }
}

/// The user of a run: root if `root`; else the image's `user` unless that is root; else `builder`, user and group, the
/// same whoever calls, since programs write it into their products. Not root, because a build as root would try to give
/// files away, which one mapped id cannot. Outside, it is the caller.
///
/// # Errors
/// A user or group the image does not know, an impossible id.
pub fn resolve(user: &str, root: bool, builder: u32, accounts: &Accounts) -> Result<Identity, UserError> {
    let Accounts { passwd, group: groups } = accounts;
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    let wanted = if name.is_empty() { None } else { Some(lookup("user", "passwd", name, passwd)?) };
    let (uid, own_gid) = match wanted {
        _ if root => (0, 0),
        Some(uid) if uid != 0 => (uid, builder),
        _ => (builder, builder),
    };
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 6 && fields[2].parse() == Ok(uid));
    let gid = match group {
        Some(group) if !root && wanted.is_some_and(|uid| uid != 0) => lookup("group", "group", group, groups)?,
        _ if root => 0,
        _ => {
            entry.as_ref().filter(|_| wanted == Some(uid)).and_then(|fields| fields[3].parse().ok()).unwrap_or(own_gid)
        }
    };
    Ok(entry.map_or_else(
        || Identity { uid, gid, name: "builder".into(), home: "/home/builder".into(), known: false, moved: false },
        |fields| {
            // A home that is no absolute path would be resolved against whatever directory one is in.
            let home = if fields[5].starts_with('/') { fields[5] } else { "/" };
            Identity { uid, gid, name: fields[0].to_owned(), home: home.to_owned(), known: true, moved: false }
        },
    ))
}

fn lookup(kind: &'static str, file: &'static str, name: &str, table: &str) -> Result<u32, UserError> {
    let shown = || shortened(name, 100);
    if name.bytes().all(|c| c.is_ascii_digit()) {
        // The last id means "none" to the kernel.
        return name.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(|| UserError::BadId { kind, id: shown() });
    }
    table
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 3 && fields[0] == name)
        .and_then(|fields| fields[2].parse().ok())
        .ok_or_else(|| UserError::Unknown { kind, file, name: shown() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn image() -> (tempfile::TempDir, Rootfs) {
        let dir = tempfile::tempdir().unwrap();
        let id = Digest::of(b"layer");
        let etc = dir.path().join(id.hex()).join("fs/etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(
            etc.join("passwd"),
            "root:x:0:0::/root:/bin/sh\nbuilder:x:1001:1002::/home/b:/bin/sh\nodd:x:77:77::relative:\n",
        )
        .unwrap();
        std::fs::write(etc.join("group"), "root:x:0:\nstaff:x:50:\n").unwrap();
        let rootfs = Rootfs::new(dir.path().to_owned(), &[id]);
        (dir, rootfs)
    }

    #[test]
    fn who_one_is() {
        let (_dir, rootfs) = image();
        for (user, root, builder, uid, gid, name, home) in [
            ("", false, 1000, 1000, 1000, "builder", "/home/builder"),
            ("root", false, 501, 501, 501, "builder", "/home/builder"),
            ("0:0", false, 501, 501, 501, "builder", "/home/builder"),
            ("", false, 1001, 1001, 1001, "builder", "/home/b"),
            ("builder", false, 501, 1001, 1002, "builder", "/home/b"),
            ("builder:staff", false, 501, 1001, 50, "builder", "/home/b"),
            ("1234", false, 501, 1234, 501, "builder", "/home/builder"),
            ("1234:9", false, 501, 1234, 9, "builder", "/home/builder"),
            ("odd", false, 501, 77, 77, "odd", "/"),
            ("builder", true, 501, 0, 0, "root", "/root"),
            ("", true, 501, 0, 0, "root", "/root"),
        ] {
            let who = resolve(user, root, builder, &Accounts::of(&rootfs).unwrap()).unwrap();
            assert_eq!(
                (who.uid, who.gid, who.name.as_str(), who.home.as_str()),
                (uid, gid, name, home),
                "{user:?} {root} {builder}"
            );
        }
    }

    #[test]
    fn impossible_users_are_refused() {
        let (_dir, rootfs) = image();
        for bad in ["nobody", "4294967296", "4294967295", "99999999999999999999", "-1", "builder:none", "../x"] {
            assert!(resolve(bad, false, 501, &Accounts::of(&rootfs).unwrap()).is_err(), "accepted {bad:?}");
        }
    }
}
