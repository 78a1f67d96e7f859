//! Debian packages, as they come from a mirror whose index names them: nothing appears beside the tree, and the same package
//! gives the same tree and the same database again.
#![no_main]

use hermes::testing::debian::deb::{DatabaseFile, DebError, Expected, Root, copy_file, database, read_control};
use hermes::testing::digest::Digest;
use hermes::testing::layer::{LayerError, Limits, Toc, assemble};
use libfuzzer_sys::fuzz_target;

struct Refused;

impl From<DebError> for Refused {
    fn from(_: DebError) -> Self {
        Self
    }
}

impl From<LayerError> for Refused {
    fn from(_: LayerError) -> Self {
        Self
    }
}

fn unpack(data: &[u8], expected: &Expected, into: &std::path::Path) -> Result<(Toc, Vec<DatabaseFile>), Refused> {
    let limits = Limits { free: 64 << 20, bytes: 256 << 20, ..Limits::default() };
    let (tree, files) = assemble::<_, Refused>(into, &limits, 1, |assembly| {
        let mut root = Root::new(assembly, &limits);
        root.unpack(data, expected)?;
        let files = database(&root.finish(1)?, &[], &[], 1)?;
        for file in &files {
            assembly.file(file.path.as_bytes(), file.attributes, &file.content)?;
        }
        Ok(files)
    })?;
    Ok((tree.toc, files))
}

fuzz_target!(|data: &[u8]| {
    let expected = Expected {
        name: "tool".parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        digest: Digest::of(data),
        size: data.len() as u64,
    };
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut results = Vec::new();
    for name in ["one", "other"] {
        let tree = around.path().join(name);
        std::fs::create_dir(&tree).unwrap();
        let result = unpack(data, &expected, &tree);
        assert!(result.is_err() || read_control(data, &expected).is_ok(), "control is refused without the data");
        results.push(result.ok());
        hermes::testing::fs::remove::path(&tree).unwrap();
    }
    assert!(results[0] == results[1], "the second time it is another tree");
    let limits = Limits { free: 64 << 20, bytes: 256 << 20, ..Limits::default() };
    let copied = copy_file(data, &expected, "/usr/bin/tool", (&limits, 256 << 20), &mut std::io::sink());
    assert!(results[0].is_none() || copied.is_ok(), "a file of a good package cannot be read");
    assert!(std::fs::read_dir(around.path()).unwrap().next().is_none(), "something appeared beside the tree");
});
