//! One file of a package.

use crate::debian::deb::testing::{Deb, expected};
use crate::debian::deb::{DebError, Fault, copy_file};
use crate::hint::error_chain;
use crate::layer::Limits;
use crate::layer::testing::Tar;

/// What is copied from `path`; `None` if the package has no file there.
fn copied(deb: &Deb, path: &str) -> Result<Option<Vec<u8>>, DebError> {
    let (bytes, mut out) = (deb.bytes(), Vec::new());
    let limits = (&Limits::default(), 10);
    let found = copy_file(&bytes[..], &expected(&deb.name, &bytes), path, limits, &mut out)?;
    Ok(found.then_some(out))
}

fn qemu() -> Tar {
    let data = Tar::default().dir("./").dir("./usr/").dir("./usr/bin/").file("./usr/bin/qemu-arm", "arm");
    data.file("./bin/old", "old").symlink("./usr/bin/link", "qemu-arm").hardlink("./usr/bin/hard", "./usr/bin/qemu-arm")
}

#[test]
fn a_file_is_found_by_its_path() {
    let of = |path| copied(&Deb::new("tool", "", &qemu()).compressed(".xz"), path).unwrap();
    assert_eq!(of("/usr/bin/qemu-arm").as_deref(), Some(&b"arm"[..]));
    // Both spellings of a path below a merged directory.
    for path in ["/usr/bin/old", "/bin/old"] {
        assert_eq!(of(path).as_deref(), Some(&b"old"[..]), "{path}");
    }
    for path in ["/usr/bin/qemu", "/usr/bin", "/usr/bin/link", "/usr/bin/hard", "/", "../usr/bin/qemu-arm"] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn packages_that_are_not_the_expected_ones_give_no_file() {
    let deb = Deb::new("tool", "", &qemu());
    let mut bytes = deb.bytes();
    let expected = deb.expected();
    let at = bytes.windows(3).rposition(|part| part == b"arm").unwrap();
    bytes[at] = b'A';
    let copy = copy_file(&bytes[..], &expected, "/usr/bin/qemu-arm", (&Limits::default(), 10), &mut Vec::new());
    assert!(matches!(*copy.unwrap_err().source, Fault::Digest { .. }));
    let refused = |data: &Tar| error_chain(&copied(&Deb::new("tool", "", data), "/usr/bin/qemu-arm").unwrap_err());
    let twice = qemu().file("./usr/bin/qemu-arm", "other");
    assert!(refused(&twice).contains("the archive has it twice"));
    let long = Tar::default().file("./usr/bin/qemu-arm", "more than ten bytes");
    assert!(refused(&long).contains("it is too long"));
}
