//! Ownership checks: who besides the user can change a file or directory, judged by its descriptor.
//!
//! A file is trusted if it belongs to the user or to root and nobody else can write to it, as sshd (`StrictModes`) and git
//! (`safe.directory`, CVE-2022-24765) require. Otherwise whoever wrote it decides what hermes does with the user's rights.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, statat};

use crate::fs::beneath::Links;
use crate::fs::regular::{Type, WrongType, check_type};
use crate::fs::{atomic, regular};

/// Write permission of group and others.
const WRITE: u32 = 0o022;
/// Longest `/etc/passwd` or `/etc/group` read, in bytes.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// Why a file or directory is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The owner is not trusted.
    #[error("it belongs to user {owner}, not to user {user}")]
    Owner {
        owner: u32,
        /// The user who should own it, if not root.
        user: u32,
    },
    /// Others can write to it.
    #[error("other users can write to it: its mode is {mode:04o}")]
    Writable {
        /// Its permission bits.
        mode: u32,
    },
    /// It is of another type.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// A file with other names too may be another file of the user's.
    #[error("it has {count} hard links, expected 1")]
    Linked {
        /// How many names it has.
        count: u64,
    },
}

impl Distrust {
    /// The distrust that `error` reports, if it is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        inner.downcast_ref().copied().or_else(|| inner.downcast_ref().copied().map(Self::Type))
    }

    /// What the user can do about the file or directory at `path`.
    #[must_use]
    pub fn hints(self, path: &Path) -> Vec<String> {
        let path = path.display();
        vec![match self {
            Self::Owner { .. } => format!("use one that belongs to you: 'stat {path}' shows the owner"),
            Self::Writable { .. } => {
                format!("if you know that nobody else changed it: chmod go-w {path}")
            }
            Self::Type(_) | Self::Linked { .. } => format!("find out who put it there, then remove {path}"),
        }]
    }
}

impl From<Distrust> for io::Error {
    fn from(distrust: Distrust) -> Self {
        match distrust {
            Distrust::Type(wrong) => wrong.into(),
            distrust => Self::new(io::ErrorKind::PermissionDenied, distrust),
        }
    }
}

/// Which owners are trusted, and whose write permission counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trust {
    user: u32,
    /// Whether only the user is trusted: neither root nor a group that has the user as its only member.
    alone: bool,
    /// Permission bits by which others can write, among those of [`WRITE`]: in a directory that they cannot enter
    /// none counts.
    counted: u32,
}

impl Trust {
    /// Trust in the user hermes runs as, and in root.
    #[must_use]
    pub(crate) fn in_caller() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), alone: false, counted: WRITE }
    }

    /// Trust in the user hermes runs as and in nobody else, for what gives permissions to others.
    #[must_use]
    pub(crate) fn in_caller_alone() -> Self {
        Self { alone: true, ..Self::in_caller() }
    }

    /// Trust in the owner of a directory, and in root, for what is in it; `directory` is its stat.
    #[must_use]
    pub(crate) fn in_owner_of(directory: &Stat) -> Self {
        Self { user: directory.st_uid, alone: false, counted: WRITE }
    }

    /// The same trust in what is in a directory, which is itself trusted.
    #[must_use]
    pub(crate) fn within(self, directory: &Stat) -> Self {
        // Who may not pass through the directory reaches nothing in it.
        Self { counted: ((directory.st_mode & 0o011) << 1) & self.counted, ..self }
    }

    /// Checks type, owner and mode.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub(crate) fn check(self, stat: &Stat, wanted: Type) -> Result<(), Distrust> {
        check_type(stat, wanted)?;
        self.check_access(stat)
    }

    fn check_access(self, stat: &Stat) -> Result<(), Distrust> {
        self.check_owner(stat)?;
        let writers = stat.st_mode & self.counted;
        if writers & 0o002 != 0 || writers & 0o020 != 0 && !self.has_group(stat) {
            return Err(Distrust::Writable { mode: stat.st_mode & 0o7777 });
        }
        Ok(())
    }

    /// Whether the group of a file has no other user in it.
    fn has_group(self, stat: &Stat) -> bool {
        let root_s = stat.st_gid == 0 && stat.st_uid == 0;
        !self.alone && (root_s || is_private_group(stat.st_gid, self.user))
    }

    /// Checks the owner alone, for a link, whose mode means nothing.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub(crate) fn check_owner(self, stat: &Stat) -> Result<(), Distrust> {
        if stat.st_uid == self.user || (stat.st_uid == 0 && !self.alone) {
            Ok(())
        } else {
            Err(Distrust::Owner { owner: stat.st_uid, user: self.user })
        }
    }

    /// Checks an open file.
    ///
    /// # Errors
    /// [`Distrust`].
    pub(crate) fn check_file(self, file: impl AsFd) -> io::Result<()> {
        Ok(self.check(&fstat(file)?, Type::File)?)
    }

    /// The same for a file that is going to be written to: it must have no other name, since a hard link of another
    /// user's making would have some other file of the caller's written to.
    ///
    /// # Errors
    /// [`Distrust`].
    pub(crate) fn check_written(self, file: &File) -> io::Result<()> {
        self.check_file(file)?;
        // 0 where it was removed since it was opened.
        let count = file.metadata()?.nlink();
        if count > 1 { Err(Distrust::Linked { count }.into()) } else { Ok(()) }
    }

    /// Checks the directory `name` in `parent`, which must be no link.
    ///
    /// # Errors
    /// [`Distrust`].
    pub(crate) fn check_directory(self, parent: impl AsFd, name: &Path) -> io::Result<Stat> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.check(&stat, Type::Directory)?;
        Ok(stat)
    }

    /// Opens a regular file for reading. `path` must be no link.
    ///
    /// # Errors
    /// [`Distrust`].
    pub(crate) fn open(self, path: &Path) -> io::Result<File> {
        let file = regular::open(CWD, path, Links::Refuse)?;
        self.check_file(&file)?;
        Ok(file)
    }

    /// Opens a regular file for reading that `path` may lead to by links, such as a file of the user's settings.
    ///
    /// # Errors
    /// [`Distrust`].
    pub(crate) fn open_followed(self, path: &Path) -> io::Result<File> {
        let file = regular::open(CWD, path, Links::Follow)?;
        self.check_file(&file)?;
        Ok(file)
    }

    /// Reads what the user has named, at most `limit` bytes: a regular file, or what a shell puts in place of one
    /// (`/dev/null`, a pipe).
    ///
    /// # Errors
    /// [`Distrust`]; `InvalidData` for more bytes.
    pub(crate) fn read_named(self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = rustix::fs::open(path, OFlags::RDONLY | regular::NO_WAIT, Mode::empty())?;
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Its mode says who can use the device, and not who decides what is read.
            FileType::CharacterDevice => self.check_owner(&stat)?,
            FileType::Fifo => self.check_access(&stat)?,
            _ => self.check(&stat, Type::File)?,
        }
        // Waits for the writer of a pipe; a pipe without one is empty.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        regular::read(&File::from(file), limit)
    }

    /// Reads a regular file of at most `limit` bytes. `path` must be no link.
    ///
    /// # Errors
    /// [`Distrust`]; `InvalidData` for a longer file.
    pub(crate) fn read(self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        regular::read(&self.open(path)?, limit)
    }
}

/// Whether group `gid` has user `uid` as its only member, as the group that the system made for the user: Debian, Fedora
/// and others do, and then use umask 002.
///
/// Only `/etc/passwd` and `/etc/group` are asked. Where they do not know the user or the group, as with a directory
/// service, a group with the user's own number counts as the user's: services that make such groups number them so.
fn is_private_group(gid: u32, uid: u32) -> bool {
    let read = |path: &str| atomic::read_limited(Path::new(path), MAX_ACCOUNTS).unwrap_or_default();
    let [passwd, group] = ["/etc/passwd", "/etc/group"].map(read);
    stands_for(uid, gid, &String::from_utf8_lossy(&passwd), &String::from_utf8_lossy(&group))
}

fn stands_for(uid: u32, gid: u32, passwd: &str, group: &str) -> bool {
    let number = |fields: &[&str], at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let mut user = None;
    for line in passwd.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if number(&fields, 2) == Some(uid) {
            user.get_or_insert(fields[0]);
        } else if number(&fields, 3) == Some(gid) {
            return false;
        }
    }
    let mut named = None;
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if number(&fields, 2) == Some(gid) {
            named = Some(fields[0]);
            let mut members = fields.get(3).copied().unwrap_or_default().split(',').filter(|name| !name.is_empty());
            if members.any(|member| Some(member) != user) {
                return false;
            }
        }
    }
    match (user, named) {
        (Some(user), Some(name)) => user == name,
        _ => uid == gid,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn stat(path: &Path) -> Stat {
        rustix::fs::lstat(path).unwrap()
    }

    #[test]
    fn who_may_write_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let trust = Trust::in_caller();
        set(0o644);
        trust.open(&path).unwrap();
        set(0o646);
        assert_eq!(trust.check(&stat(&path), Type::File), Err(Distrust::Writable { mode: 0o646 }));
        let error = trust.open(&path).unwrap_err();
        assert_eq!(Distrust::of(&error), Some(Distrust::Writable { mode: 0o646 }));
        // Nobody else passes through the directory above.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        trust.within(&stat(dir.path())).open(&path).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o701)).unwrap();
        assert!(trust.within(&stat(dir.path())).open(&path).is_err());

        set(0o600);
        let mut other = stat(&path);
        other.st_uid = trust.user + 1;
        assert!(matches!(trust.check(&other, Type::File), Err(Distrust::Owner { .. })));
        assert_eq!(Trust::in_owner_of(&other).check(&other, Type::File), Ok(()));
        other.st_uid = 0;
        assert_eq!(trust.check(&other, Type::File), Ok(()), "root can change everything anyway");
        let alone = Trust::in_caller_alone();
        if trust.user != 0 {
            assert!(matches!(alone.check(&other, Type::File), Err(Distrust::Owner { .. })));
        }
        let mut grouped = stat(&path);
        assert_eq!(alone.check(&grouped, Type::File), Ok(()));
        // Even where the group has nobody else in it.
        grouped.st_mode |= 0o020;
        assert!(matches!(alone.check(&grouped, Type::File), Err(Distrust::Writable { .. })));
    }

    #[test]
    fn links_and_fifos_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink("file", at("link")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let trust = Trust::in_caller();
        for name in ["link", "fifo", ""] {
            let distrust = Distrust::of(&trust.open(&at(name)).unwrap_err());
            assert!(matches!(distrust, Some(Distrust::Type(_))), "{name}: {distrust:?}");
        }
        for name in ["link", "fifo", ""] {
            let error = regular::open_with(CWD, &at(name), OFlags::WRONLY | OFlags::APPEND, Mode::empty()).unwrap_err();
            assert!(matches!(Distrust::of(&error), Some(Distrust::Type(_))), "{name}: {error:?}");
        }
        assert!(matches!(trust.check(&stat(&at("link")), Type::Directory), Err(Distrust::Type(_))));
        fs::hard_link(at("file"), at("other")).unwrap();
        let file = trust.open(&at("file")).unwrap();
        assert_eq!(Distrust::of(&trust.check_written(&file).unwrap_err()), Some(Distrust::Linked { count: 2 }));
    }

    #[test]
    fn a_group_of_one_is_its_user() {
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nyou:x:1001:100::/:/bin/sh\n";
        let group = "root:x:0:\nme:x:1000:\nusers:x:100:me\nstaff:x:1002:\nboth:x:1003:me,you\nown:x:1004:me\n";
        for (uid, gid, alone) in [
            (1000, 1000, true),
            (1000, 100, false),
            (1000, 1002, false),
            (1000, 1003, false),
            (1000, 1004, false),
            // Known to a directory service alone.
            (70000, 70000, true),
            (70000, 100, false),
            (70000, 80000, false),
            (1000, 80000, false),
        ] {
            assert_eq!(stands_for(uid, gid, passwd, group), alone, "{uid} {gid}");
        }
        assert!(!stands_for(1000, 1000, passwd, "me:x:1000:you\n"));
        assert!(!stands_for(1000, 1000, &format!("{passwd}he:x:1005:1000::/:/bin/sh\n"), group));
    }
}
