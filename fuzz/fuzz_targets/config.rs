//! Image configs, and who one is inside by an image's `User` and `/etc/passwd`: the bytes before the first 0xff are
//! the config, those after it the file.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use hermes::testing::digest::Digest;
use hermes::testing::oci::{Descriptor, ImageConfig, Manifest};
use hermes::testing::rootfs::{self, Accounts, Rootfs};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image of one layer, in memory.
static IMAGE: LazyLock<(PathBuf, Rootfs)> = LazyLock::new(|| {
    let base = tempfile::tempdir_in("/dev/shm").unwrap().keep();
    let rootfs = Rootfs::new(base, &[Digest::of(b"")]);
    let etc = rootfs.base.join(&rootfs.lower[0]).join("etc");
    fs::create_dir_all(&etc).unwrap();
    (etc.join("passwd"), rootfs)
});

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == 0xff).unwrap_or(data.len());
    let (json, passwd) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(config) = ImageConfig::parse_alone(json) else { return };
    // Strings of fields that hermes does not know are passed over, and may be no valid text.
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
    let said = value["rootfs"]["diff_ids"].as_array().expect("a config without diff_ids");
    let ours: Vec<Value> = config.diff_ids.iter().map(|digest| digest.to_string().into()).collect();
    assert_eq!(*said, ours);

    let layer = Descriptor::new(LAYER, Digest::of(b""), 0);
    for more in 0..2 {
        let layers = vec![layer.clone(); config.diff_ids.len() + more];
        let manifest = Manifest { config: layer.clone(), layers };
        assert_eq!(ImageConfig::parse(json, &manifest).ok(), (more == 0).then(|| config.clone()));
    }

    let (file, rootfs) = &*IMAGE;
    fs::write(file, passwd).unwrap();
    let Ok(accounts) = Accounts::of(rootfs) else { return };
    for root in [false, true] {
        let Ok(identity) = rootfs::resolve(&config.user, root, 1000, &accounts) else { continue };
        assert!(identity.uid != u32::MAX && identity.gid != u32::MAX, "{identity:?}");
        assert_eq!(identity.uid == 0, root, "{identity:?}");
        assert!(identity.home.starts_with('/'), "{identity:?}");
        assert!(!identity.name.contains(['\n', ':']) && !identity.home.contains(['\n', ':']), "{identity:?}");
        let files = rootfs::injected(rootfs, &accounts, &identity, "hermes", None, root);
        assert!(files.iter().all(|file| !file.path.starts_with('/')));
    }
});
