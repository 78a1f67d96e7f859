//! What several targets share.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use hermes::testing::digest::Digest;
use hermes::testing::packages::{Inventory, Kind};
use hermes::testing::rootfs::Rootfs;
use libfuzzer_sys::fuzzer_mutate;

const BLOCK: usize = 512;

/// An image of one layer, in memory: its directory and the root it makes.
static IMAGE: LazyLock<(PathBuf, Rootfs)> = LazyLock::new(|| {
    let base = tempfile::tempdir_in("/dev/shm").unwrap().keep();
    let rootfs = Rootfs::new(base, &[Digest::of(b"")]);
    (rootfs.base.join(&rootfs.lower[0]), rootfs)
});

/// Reads `data` as the package database at `path` of an image, and checks what any reader may rely on: words are words,
/// the list is sorted, and a file that was refused gave no packages.
///
/// # Panics
/// Where that does not hold.
pub fn package_database(path: &str, kind: Kind, data: &[u8]) {
    let (top, rootfs) = &*IMAGE;
    let file = top.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, data).unwrap();
    let inventory = Inventory::of(rootfs).unwrap();
    assert!(inventory.unread.is_empty() || inventory.packages.is_empty(), "{:?}", inventory.unread);
    assert!(inventory.packages.is_sorted());
    for package in &inventory.packages {
        assert_eq!(package.kind, kind);
        for word in [&package.name, &package.version, &package.architecture] {
            assert!(word.len() <= 255 && word.bytes().all(|byte| byte.is_ascii_graphic()), "{package:?}");
        }
        assert!(package.license.as_ref().is_none_or(|text| !text.contains(char::is_control)), "{package:?}");
        assert!(package.purl(None).starts_with("pkg:"), "{package:?}");
    }
}

/// A change of a tar that begins at `start` of `data`, with the checksums of its headers made right again, but for one
/// time in 16: nearly every change of a header makes its checksum wrong, and the reader would stop there.
pub fn mutate_tar(data: &mut [u8], start: usize, size: usize, max_size: usize, seed: u32) -> usize {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 16 != 0 && size > BLOCK {
        for block in data[start..size].chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    size
}
