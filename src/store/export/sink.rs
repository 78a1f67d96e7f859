//! Destinations of an exported image: a tar, or a directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};

/// Takes files, each in a directory that came before it.
pub(in crate::store) trait Sink {
    fn directory(&mut self, name: &str) -> io::Result<()>;
    /// Fails where `content` is shorter than `size`; what is beyond it is left out.
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()>;
}

/// The head of a file, or of a directory, whose name ends with `/`. The same files give the same bytes: no times, no owners.
pub(in crate::store) fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    let (kind, mode) = if name.ends_with('/') { (EntryType::Directory, 0o755) } else { (EntryType::Regular, 0o644) };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_path(name)?;
    header.set_cksum();
    Ok(header)
}

impl<W: Write> Sink for Builder<W> {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.append(&header(&format!("{name}/"), 0)?, io::empty())
    }

    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        // A file that shrank under us would else make a tar that nobody can read.
        let mut exactly = content.take(size);
        self.append(&header(name, size)?, &mut exactly)?;
        if exactly.limit() > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Sink for &Path {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        fs::create_dir(self.join(name))
    }

    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut file = File::create_new(self.join(name))?;
        let written = io::copy(&mut content.take(size), &mut file)?;
        file.sync_data()?;
        if written < size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
