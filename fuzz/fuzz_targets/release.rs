//! The content of `InRelease`, and indexes of Debian packages: no path leaves the archive, and a package means the same by
//! itself.
#![no_main]

use hermes::testing::debian::{Index, Release};
use hermes::testing::dpkg::Architecture;
use libfuzzer_sys::fuzz_target;

fn is_beneath(path: &str) -> bool {
    !path.split('/').any(|part| matches!(part, "" | "." | "..")) && path.bytes().all(|byte| byte.is_ascii_graphic())
}

fuzz_target!(|data: &[u8]| {
    let amd64: Architecture = "amd64".parse().unwrap();
    if let Ok(release) = str::from_utf8(data).map_err(|_| ()).and_then(|text| Release::parse(text).map_err(|_| ())) {
        for component in &release.components {
            for index in release.indexes(component, &amd64).unwrap_or_default() {
                assert!(is_beneath(&index.path) && is_beneath(&index.by_hash()), "{index:?}");
                assert_eq!(release.file(&index.path), Some(index.file));
            }
        }
        assert!(release.check_not_older(release.date).is_ok());
    }
    let Ok(index) = Index::parse(data.to_vec(), &amd64) else { return };
    for package in index.packages() {
        assert!(is_beneath(package.path()), "{}", package.path());
        let alone = Index::parse(package.paragraph().to_vec(), &amd64).expect("a package that was read is read alone");
        let again = alone.packages().next().unwrap();
        assert_eq!(format!("{:?}", (again.name(), again.version(), again.digest(), again.size())), {
            format!("{:?}", (package.name(), package.version(), package.digest(), package.size()))
        });
        assert!(alone.packages().nth(1).is_none());
    }
});
