//! Archives of files that stand in a definition.

use std::collections::BTreeMap;
use std::path::Path;

use tar::{Builder, Header};

/// The time of the files, in seconds since 1970: that of builds, 2 January 1980.
const TIME: u64 = 315_619_200;

/// A tar of `files`, text by relative path, which depends on them alone. Scripts, which begin with `#!`, are programs.
pub(crate) fn archive(files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = Header::new_gnu();
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(text.len() as u64);
        header.set_mode(if text.starts_with("#!") { 0o755 } else { 0o644 });
        // Writing to memory fails only for names that cannot be stored, and the definition has none.
        let _ = tar.append_data(&mut header, Path::new(path), text.as_bytes());
    }
    tar.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn the_archive_depends_on_the_files_alone() {
        let files = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let long = "a/".repeat(70) + "b";
        let one = archive(&files(&[("bin/cc", "#!/bin/sh\n"), ("a", ""), (&long, "x")]));
        assert_eq!(one, archive(&files(&[(&long, "x"), ("a", ""), ("bin/cc", "#!/bin/sh\n")])));
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let entry = entry.unwrap();
            let mode = entry.header().mode().unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), mode, entry.size())
        };
        let found: Vec<_> = tar::Archive::new(&*one).entries().unwrap().map(read).collect();
        assert_eq!(found, [("a".into(), 0o644, 0), (long, 0o644, 1), ("bin/cc".into(), 0o755, 10)]);
        // Locks have this digest: a change of the format would make all of them stale.
        let digest = Digest::of(&archive(&files(&[("bin/cc", "#!/bin/sh\n")]))).hex();
        insta::assert_snapshot!(digest);
    }
}
