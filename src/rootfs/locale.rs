//! Detection of the locale that builds get by default.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::rootfs::Rootfs;

/// The locale `C.UTF-8` in glibc: a directory as Debian and Fedora call it, or as older releases of Debian do.
const DIRECTORIES: [&str; 2] = ["usr/lib/locale/C.utf8", "usr/lib/locale/C.UTF-8"];
/// All locales of glibc in one file.
const ARCHIVE: &str = "/usr/lib/locale/locale-archive";
/// How that file begins, in this byte order (`locale/locarchive.h`).
const MAGIC: u32 = 0xde02_0109;
/// Where in its head stand the place and the length of the names, as numbers of 32 bits.
const NAMES: usize = 5;
/// Most bytes of names that are read; those of all locales of glibc take 10 KB.
const MAX_NAMES: u32 = 1 << 20;
/// What the loader of musl is called, whose `C.UTF-8` is built in.
const MUSL: &[u8] = b"ld-musl-";

impl Rootfs {
    /// Whether programs of the image know the locale `C.UTF-8`. Where they do not, perl and others warn at each start.
    #[must_use]
    pub fn has_utf8_locale(&self) -> bool {
        DIRECTORIES.iter().any(|path| self.has_directory(path))
            || self.is_musl()
            || self.archive_has_it().unwrap_or(false)
    }

    fn is_musl(&self) -> bool {
        let names = self.names_in(Path::new("/lib")).unwrap_or_default();
        names.iter().any(|name| name.as_encoded_bytes().starts_with(MUSL))
    }

    fn archive_has_it(&self) -> io::Result<bool> {
        let Some(found) = self.find(Path::new(ARCHIVE))?.filter(|found| !found.is_directory) else { return Ok(false) };
        has_it(&File::open(found.outside)?)
    }
}

fn has_it(archive: &File) -> io::Result<bool> {
    let mut head = [0; 4 * (NAMES + 2)];
    archive.read_exact_at(&mut head, 0)?;
    let number = |at: usize| {
        let bytes = [head[4 * at], head[4 * at + 1], head[4 * at + 2], head[4 * at + 3]];
        // All architectures of today's images but s390x are little-endian.
        if u32::from_le_bytes(head[..4].try_into().unwrap_or_default()) == MAGIC {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        }
    };
    if number(0) != MAGIC {
        return Ok(false);
    }
    let mut names = vec![0; number(NAMES + 1).min(MAX_NAMES) as usize];
    archive.read_exact_at(&mut names, number(NAMES).into())?;
    Ok(names.split(|byte| *byte == 0).any(|name| [&b"C.utf8"[..], b"C.UTF-8"].contains(&name)))
}
