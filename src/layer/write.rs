//! Writing of the tar of a layer, with the bytes that GNU tar writes (`--format=gnu --sort=name --numeric-owner`, with
//! `s,^./,,` as transformation).
//!
//! The format is that of GNU tar 1.34 (src/create.c, "Basic Tar Format" of its manual): magic `ustar` and two blanks, no
//! names of owners, device numbers only in heads of devices, names above 100 bytes in an entry of their own before the
//! head, and records of 20 blocks. Debian's images are written so.

use std::cmp::Ordering;
use std::io::{self, Read, Write};

use crate::digest::{Digest, Hasher};
use crate::fs::entries;
use crate::layer::path::{OPAQUE, WHITEOUT, split};
use crate::layer::toc::{Entry, Kind};
use crate::visible::visible_path;

/// Size of a block in bytes.
const BLOCK: usize = 512;
/// Size of a record in bytes: a tar is a whole number of records.
const RECORD: u64 = 20 * BLOCK as u64;
/// Longest name and longest target of a link in a head, in bytes.
const NAME: usize = 100;
/// Name of an entry that contains a long name.
const LONG: &[u8] = b"././@LongLink";

/// Order of the entries of a tar: directory by directory, sorted by the bytes of the names.
#[must_use]
pub(crate) fn in_tar_order(one: &[u8], other: &[u8]) -> Ordering {
    one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
}

/// A tar that is being written.
pub(crate) struct TarWriter<W> {
    out: W,
    hasher: Hasher,
}

/// A tar that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// SHA-256 of the tar.
    pub(crate) diff_id: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl<W: Write> TarWriter<W> {
    /// Begins a tar on `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out, hasher: Hasher::default() }
    }

    /// Writes the head of `entry`, and for a file its `content`. Entries are given [`in_tar_order`], and a hard link after
    /// the file that it names. Xattrs and fractions of seconds are not written.
    ///
    /// # Errors
    ///
    /// Those of `out` and `content`; `content` has not the size of the entry; an entry of another layer's files; a name that
    /// in a layer is that of a whiteout.
    pub(crate) fn add(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        let (parent, name) = split(&entry.path);
        if name.starts_with(WHITEOUT) {
            let text =
                format!("'{}' has the name of a whiteout, which a layer cannot contain", visible_path(&entry.path));
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if entry.kind == Kind::Whiteout {
            let name = [WHITEOUT, name].concat();
            return self.head(entry, b'0', &entries::join(parent, &name), 0);
        }
        let path = match entry.path.as_slice() {
            b"" => b".",
            path => path,
        };
        let is_directory = entry.kind == Kind::Directory;
        let path = if is_directory { [path, b"/"].concat() } else { path.to_vec() };
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.head(entry, type_of(entry.kind)?, &path, size)?;
        if size > 0 {
            let copied = io::copy(&mut content.take(size), &mut Tee(self))?;
            if copied != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pad(BLOCK as u64)?;
        }
        if is_directory && entry.opaque {
            let mark = Entry { mode: 0, uid: 0, gid: 0, ..entry.clone() };
            self.head(&mark, b'0', &entries::join(&entry.path, OPAQUE), 0)?;
        }
        Ok(())
    }

    /// Ends the tar.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(crate) fn finish(mut self) -> io::Result<(W, Written)> {
        self.put(&[0; 2 * BLOCK])?;
        self.pad(RECORD)?;
        let size = self.hasher.count();
        Ok((self.out, Written { diff_id: self.hasher.finish(), size }))
    }

    fn head(&mut self, entry: &Entry, kind: u8, path: &[u8], size: u64) -> io::Result<()> {
        let link = if matches!(kind, b'1' | b'2') { entry.link.as_slice() } else { b"" };
        if link.len() > NAME {
            self.long(b'K', link)?;
        }
        if path.len() > NAME {
            self.long(b'L', path)?;
        }
        let mut head = Head::new(path, kind);
        head.number(100..108, i128::from(entry.mode));
        head.number(108..116, i128::from(entry.uid));
        head.number(116..124, i128::from(entry.gid));
        head.number(124..136, i128::from(size));
        head.number(136..148, i128::from(entry.mtime.0));
        head.text(157, link);
        if matches!(kind, b'3' | b'4') {
            head.number(329..337, i128::from(entry.device.0));
            head.number(337..345, i128::from(entry.device.1));
        }
        self.put(&head.sealed())
    }

    /// An entry with a name that is too long for the next head.
    fn long(&mut self, kind: u8, name: &[u8]) -> io::Result<()> {
        let mut head = Head::new(LONG, kind);
        head.number(100..108, 0o644);
        head.number(108..116, 0);
        head.number(116..124, 0);
        head.number(124..136, name.len() as i128 + 1);
        head.number(136..148, 0);
        self.put(&head.sealed())?;
        self.put(name)?;
        self.put(&[0])?;
        self.pad(BLOCK as u64)
    }

    /// Fills with zeros up to a multiple of `unit`.
    fn pad(&mut self, unit: u64) -> io::Result<()> {
        let zeros = [0; BLOCK];
        let mut missing =
            usize::try_from(self.hasher.count().next_multiple_of(unit) - self.hasher.count()).unwrap_or(0);
        while missing > 0 {
            let length = missing.min(BLOCK);
            self.put(&zeros[..length])?;
            missing -= length;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// What is written here goes to the tar.
struct Tee<'a, W>(&'a mut TarWriter<W>);

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn type_of(kind: Kind) -> io::Result<u8> {
    Ok(match kind {
        Kind::File | Kind::Whiteout => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
        Kind::LowerLink => return Err(io::ErrorKind::InvalidInput.into()),
    })
}

/// A head under construction.
struct Head([u8; BLOCK]);

impl Head {
    fn new(path: &[u8], kind: u8) -> Self {
        let mut head = Self([0; BLOCK]);
        head.text(0, path);
        head.0[156] = kind;
        head.0[257..265].copy_from_slice(b"ustar  \0");
        head
    }

    /// Writes as much of `text` as fits into the field of a name at `at`.
    fn text(&mut self, at: usize, text: &[u8]) {
        let length = text.len().min(NAME);
        self.0[at..at + length].copy_from_slice(&text[..length]);
    }

    /// Writes a number in octal digits, or in base 256 if it has too many or is negative.
    fn number(&mut self, field: std::ops::Range<usize>, value: i128) {
        let digits = field.len() - 1;
        let field = &mut self.0[field];
        if value < 0 || value >> (3 * digits) > 0 {
            let bytes = value.to_be_bytes();
            let length = field.len();
            field.copy_from_slice(&bytes[bytes.len() - length..]);
            field[0] = if value < 0 { 0xff } else { 0x80 };
        } else {
            field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
        }
    }

    fn sealed(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::layer::header::{Next, next, parser};
    use crate::layer::limits::Limits;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        Entry { path: path.to_vec(), kind, implied: false, ..Entry::implied() }
    }

    /// The entries of a tree, in the order of a tar.
    fn walk(root: &Path, path: &[u8], seen: &mut BTreeMap<u64, Vec<u8>>, list: &mut Vec<Entry>) {
        let place = root.join(OsStr::from_bytes(path));
        let found = fs::symlink_metadata(&place).unwrap();
        let mut new = entry(path, Kind::File);
        (new.mode, new.uid, new.gid) = (u16::try_from(found.mode() & 0o7777).unwrap(), found.uid(), found.gid());
        (new.mtime, new.size) = ((found.mtime(), 0), found.size());
        if found.is_dir() {
            new.kind = Kind::Directory;
        } else if found.is_symlink() {
            (new.kind, new.link) =
                (Kind::Symlink, fs::read_link(&place).unwrap().into_os_string().into_encoded_bytes());
        } else if let Some(first) = seen.get(&found.ino()) {
            (new.kind, new.link) = (Kind::Hardlink, first.clone());
        } else {
            seen.insert(found.ino(), path.to_vec());
        }
        list.push(new);
        if found.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            for name in names {
                walk(root, &entries::join(path, name.as_bytes()), seen, list);
            }
        }
    }

    fn write(root: &Path, list: &[Entry]) -> (Vec<u8>, Written) {
        let mut writer = TarWriter::new(Vec::new());
        for entry in list {
            let content = match entry.kind {
                Kind::File => fs::read(root.join(OsStr::from_bytes(&entry.path))).unwrap(),
                _ => vec![],
            };
            writer.add(entry, content.as_slice()).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_gnu_tar() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let long = |letter: &str, length| letter.repeat(length);
        for directory in ["a", "a-b", "a/b", "a.d", &format!("{}/{}", long("d", 98), long("e", 60))] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let deep = root.join(long("d", 98));
        for (path, content) in [
            (root.join("a/file"), vec![b'x'; 1]),
            (root.join("a-b/block"), vec![b'y'; 512]),
            (root.join("a/b/large"), vec![b'z'; 300_000]),
            (root.join("empty"), vec![]),
            (root.join(long("n", 100)), b"a name that fits".to_vec()),
            (root.join(long("n", 101)), b"and one that does not".to_vec()),
            (deep.join("x"), b"100 bytes".to_vec()),
            (deep.join("xy"), b"101 bytes".to_vec()),
        ] {
            fs::write(path, content).unwrap();
        }
        for (target, path) in [("../a/file", "a-b/link"), (&long("t", 100), "t100"), (&long("t", 101), "t101")] {
            std::os::unix::fs::symlink(target, root.join(path)).unwrap();
        }
        std::os::unix::fs::symlink(long("t", 150), root.join(long("s", 150))).unwrap();
        // The first name in the order of a tar is the file: a/file comes before a-b/file.
        fs::hard_link(root.join("a/file"), root.join("a-b/file")).unwrap();
        fs::hard_link(deep.join("xy"), root.join("hard")).unwrap();
        for (path, mode) in [("a/file", 0o4755), ("a", 0o2750), ("a.d", 0o1777)] {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let old = fs::File::open(root.join("empty")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 34)).unwrap();

        let mut entries = Vec::new();
        walk(&root, b"", &mut BTreeMap::new(), &mut entries);
        let theirs = dir.path().join("theirs.tar");
        let mut tar = Command::new("tar");
        tar.args(["--format=gnu", "--sort=name", "--numeric-owner", "--transform=s,^./,,", "-cf"]);
        assert!(tar.arg(&theirs).arg("-C").arg(&root).arg(".").status().unwrap().success());
        let (ours, written) = write(&root, &entries);
        let theirs = fs::read(theirs).unwrap();
        let first = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        assert_eq!((first, ours.len()), (None, theirs.len()));
        assert_eq!(written, Written { diff_id: Digest::of(&theirs), size: theirs.len() as u64 });
        let mut sorted = entries.clone();
        sorted.sort_by(|one, other| in_tar_order(&one.path, &other.path));
        assert_eq!(sorted, entries);
    }

    #[test]
    fn what_a_tree_on_disk_cannot_have_is_read_back() {
        let device = Entry { device: (5, 1), mode: 0o600, ..entry(b"dev/console", Kind::CharDevice) };
        let owned = Entry { uid: 3_000_000, gid: 0o777_7777, mtime: (-5, 0), ..entry(b"owned", Kind::Directory) };
        let hidden = entry(b"etc/gone", Kind::Whiteout);
        let opaque = Entry { opaque: true, ..entry(b"var/new", Kind::Directory) };
        let (tar, _) = write(Path::new(""), &[device, hidden, owned, opaque]);
        let mut parser = parser(&Limits::default());
        let mut at = 0;
        let mut heads = Vec::new();
        while let Next::Entry(length, head) = next(&mut parser, &tar[at..]).unwrap() {
            heads.push(head);
            at += length;
        }
        let paths: Vec<_> = heads.iter().map(|head| head.path.as_slice()).collect();
        assert_eq!(paths, [&b"dev/console"[..], b"etc/.wh.gone", b"owned/", b"var/new/", b"var/new/.wh..wh..opq"]);
        assert_eq!((heads[0].device, heads[0].mode), ((5, 1), 0o600));
        assert_eq!((heads[2].uid, heads[2].gid, heads[2].mtime), (3_000_000, 0o777_7777, (-5, 0)));
    }

    #[test]
    fn content_of_another_size_is_an_error() {
        let file = Entry { size: 5, ..entry(b"file", Kind::File) };
        let mut writer = TarWriter::new(Vec::new());
        assert!(writer.add(&file, &b"four"[..]).is_err());
        assert!(TarWriter::new(Vec::new()).add(&entry(b"link", Kind::LowerLink), io::empty()).is_err());
    }

    #[test]
    fn what_would_hide_another_file_is_an_error() {
        for path in [&b".wh.passwd"[..], b"etc/.wh.passwd", b"etc/.wh..wh..opq", b".wh..wh.plnk"] {
            for kind in [Kind::File, Kind::Directory, Kind::Symlink, Kind::Whiteout] {
                let error = TarWriter::new(Vec::new()).add(&entry(path, kind), io::empty()).unwrap_err();
                assert!(error.to_string().contains("the name of a whiteout"), "{error}");
            }
        }
    }
}
