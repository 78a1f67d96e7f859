//! Hard links to files of layers below.

use super::*;

/// Layers that were unpacked, lowest first.
struct Stack(Vec<(Place, Unpacked)>);

impl Stack {
    fn of(layers: &[Tar]) -> Self {
        let unpack = |tar: &Tar| {
            let place = Place::new();
            let unpacked = place.unpack(tar).unwrap_or_else(|error| panic!("{error:?}"));
            let faults = check(&place.fs(), &unpacked.toc, unpacked.overlay_ready, Depth::Contents, &|_| ());
            assert_eq!(faults, []);
            let mut written = Vec::new();
            unpacked.toc.write(&mut written).unwrap();
            assert_eq!(Toc::read(written.as_slice()).unwrap(), unpacked.toc);
            (place, unpacked)
        };
        Self(layers.iter().map(unpack).collect())
    }

    fn merge(&self) -> Result<Merge, LayerError> {
        let mut merge = Merge::default();
        for (place, unpacked) in &self.0 {
            merge.add(unpacked.toc.clone(), place.fs())?;
        }
        Ok(merge)
    }

    /// What is in the files of the merged tree, and which are one file.
    fn merged(&self, as_what: Files) -> BTreeMap<String, (String, u64)> {
        let temp = tempfile::tempdir().unwrap();
        self.merge().unwrap().write(temp.path(), as_what).unwrap();
        let mut found = BTreeMap::new();
        look(temp.path(), temp.path(), &mut found);
        found
    }
}

fn look(root: &Path, at: &Path, found: &mut BTreeMap<String, (String, u64)>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if meta.is_dir() {
            look(root, &path, found);
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap().to_str().unwrap().to_owned();
            found.insert(name, (target, meta.ino()));
        } else {
            found.insert(name, (fs::read_to_string(&path).unwrap(), meta.ino()));
        }
    }
}

#[test]
fn the_file_of_a_layer_below_is_shared() {
    let layers = Stack::of(&[
        Tar::default().dir("d").file("d/f", "below").hardlink("d/g", "d/f").symlink("d/s", "f").mode("p", b'6', 0o600),
        Tar::default().file("x", ""),
        Tar::default()
            .hardlink("l", "/d/f")
            .hardlink("d/m", "./d/g")
            .hardlink("n", "l")
            .hardlink("t", "d/s")
            .hardlink("q", "p")
            .file("d/f", "above"),
        // A link to one of the layer below, whose name it takes away.
        Tar::default().hardlink("d/o", "d/m").file(".wh.l", "").file("d/.wh.m", ""),
    ]);
    assert_eq!(kinds(&layers.0[2].1)["n"], Kind::Hardlink);
    assert!(!layers.0[2].1.toc.suits_overlay() && layers.0[2].1.toc.needs_layers_below());
    assert!(!layers.0[0].1.toc.needs_layers_below());
    for as_what in [Files::Linked, Files::Copied] {
        let found = layers.merged(as_what);
        let is = |name: &str| found[name].clone();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["d/f", "d/g", "d/o", "d/s", "n", "t", "x"], "{as_what:?}");
        assert_eq!((is("d/f").0, is("n").0, is("t").0), ("above".into(), "below".into(), "f".into()));
        assert!(is("n") == is("d/g") && is("d/g") == is("d/o") && is("t") == is("d/s"), "{as_what:?}: {found:?}");
    }
    let toc = layers.merge().unwrap().into_toc().unwrap();
    let of = |path: &str| toc.entries.iter().find(|entry| entry.path == path.as_bytes()).unwrap();
    assert_eq!((of("d/g").kind, of("n").kind, of("n").link.as_slice()), (Kind::File, Kind::Hardlink, &b"d/g"[..]));
    assert_eq!((of("q").kind, of("q").link.as_slice()), (Kind::Hardlink, &b"p"[..]));
    assert!(toc.entries.iter().all(|entry| entry.kind != Kind::LowerLink));
}

#[test]
fn the_layer_below_must_have_the_file() {
    let below = Tar::default().dir("d").file("d/f", "").symlink("e", "d").symlink("loop", "loop");
    let refused = |layers: &[Tar]| {
        let outcome = Stack::of(layers).merge();
        assert!(matches!(outcome, Err(LayerError::HardLink { .. })), "{outcome:?}");
    };
    for target in ["none", "d", "e/f", "d/f/x", "loop/x"] {
        refused(&[below.clone(), Tar::default().hardlink("l", target)]);
    }
    // Each of the two is where the other points, and nothing is below.
    refused(&[below.clone(), Tar::default().hardlink("a", "b").hardlink("b", "a")]);
    // It was taken away by a layer between.
    refused(&[below.clone(), Tar::default().file("d/.wh.f", ""), Tar::default().hardlink("l", "d/f")]);
    // Links lead to layers below, not above.
    refused(&[below.clone(), Tar::default().hardlink("l", "new"), Tar::default().file("new", "")]);
    refused(&[Tar::default().hardlink("l", "new"), Tar::default().file("new", "")]);
}

#[test]
fn what_the_layer_itself_hides_is_no_target() {
    for (what, tar) in [
        ("a whiteout", Tar::default().file("d/.wh.f", "").hardlink("l", "d/f")),
        ("a whiteout of its directory", Tar::default().file(".wh.d", "").hardlink("l", "d/f")),
        ("an opaque directory", Tar::default().file("d/.wh..wh..opq", "").hardlink("l", "d/f")),
        ("an opaque root", Tar::default().file(".wh..wh..opq", "").hardlink("l", "d/f")),
        ("a directory in the place of another", Tar::default().file(".wh.d", "").dir("d").hardlink("l", "d/f")),
        ("a file in the place of its directory", Tar::default().file("d", "").hardlink("l", "d/f")),
        ("a symlink on its way", Tar::default().symlink("d", "e").hardlink("l", "d/f")),
        ("a symlink to outside", Tar::default().symlink("d", "/etc").hardlink("l", "d/passwd")),
        ("a link on its way", Tar::default().hardlink("d", "x").hardlink("l", "d/f")),
        ("itself", Tar::default().hardlink("l", "l")),
        ("what it replaces", Tar::default().hardlink("d", "d/f")),
        ("a directory", Tar::default().dir("d").hardlink("l", "d")),
        ("an implied directory", Tar::default().file("d/e/f", "").hardlink("l", "d/e")),
    ] {
        assert!(matches!(bad(what, &tar), LayerError::HardLink { .. }), "{what}");
    }
    assert!(matches!(
        bad("below a link", &Tar::default().hardlink("l", "x").file("l/f", "")),
        LayerError::Parent { .. }
    ));
    // A whiteout after the link takes the name away, not the file.
    let later = Tar::default().hardlink("l", "d/f").file("d/.wh.f", "");
    let found = Stack::of(&[Tar::default().file("d/f", "kept"), later]).merged(Files::Linked);
    assert_eq!(found.iter().map(|(name, (text, _))| (&**name, &**text)).collect::<Vec<_>>(), [("l", "kept")]);
    // What takes the place of the link, in its layer or above.
    let layers = [
        Tar::default().file("f", "f"),
        Tar::default().hardlink("l", "f").file("l", "new"),
        Tar::default().file("f", "2"),
    ];
    let found = Stack::of(&layers).merged(Files::Linked);
    assert_eq!((&*found["l"].0, &*found["f"].0), ("new", "2"));
}

#[test]
fn what_a_merge_keeps_is_bounded() {
    let mut merge = Merge::limited(10, 1000);
    let place = Place::new();
    let toc = place.unpack(&Tar::default().dir("d").file("d/f", "").file("d/g", "")).unwrap().toc;
    merge.add(toc.clone(), place.fs()).unwrap();
    merge.add(toc.clone(), place.fs()).unwrap();
    let error = merge.add(toc, place.fs()).unwrap_err();
    assert!(matches!(error, LayerError::Limit { limit: 10, .. }), "{error}");
    // Short links to a file with a long first name.
    let long = "n".repeat(250);
    let below = Tar::default().file("z", "").pax(&[("path", long.as_bytes())]).hardlink("", "z");
    let links = (0..9).fold(Tar::default(), |tar, at| tar.hardlink(&format!("{at}"), "z"));
    let (below, links) = (Stack::of(&[below]), Stack::of(&[links]));
    let mut merge = Merge::limited(100, 1000);
    merge.add(below.0[0].1.toc.clone(), below.0[0].0.fs()).unwrap();
    let error = merge.add(links.0[0].1.toc.clone(), links.0[0].0.fs()).unwrap_err();
    assert!(matches!(error, LayerError::Limit { limit: 1000, .. }), "{error}");
}
