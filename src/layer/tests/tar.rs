//! T09: a tar has one meaning, or none. And the formats that must work.

use super::*;

fn size(block: &mut [u8; 512], field: &[u8]) {
    block[124..124 + field.len()].copy_from_slice(field);
}

fn with_size(field: &'static [u8]) -> Tar {
    Tar::default().with("f", b'0', b"12345", |block| size(block, field)).file("g", "")
}

#[test]
fn t09_numbers_mean_one_thing() {
    for (what, field) in [
        ("a sign", &b"+0000000005\0"[..]),
        ("a negative size", b"-0000000005\0"),
        ("a leading NUL", b"\x000000000005\0"),
        ("a blank within", b"000000 00005"),
        ("digits after a NUL", b"00000\x0000005\0"),
        ("more than 64 bits", b"\x80\0\0\x01\0\0\0\0\0\0\0\x05"),
        ("negative base 256", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb"),
        ("no number", b"5 bytes    \0"),
    ] {
        assert!(matches!(bad(what, &with_size(field)), LayerError::Tar { .. }), "{what}");
    }
    for field in [&b"00000000005\0"[..], b"000000000005", b"         5 \0", b"\x80\0\0\0\0\0\0\0\0\0\0\x05"] {
        assert_eq!(good(&with_size(field)).0.read("f"), "12345");
    }
    // The same for extended headers, whose size tar-core cuts to 64 bits too.
    let long =
        Tar::default().with("././@LongLink", b'L', b"name\0", |block| size(block, b"\x80\0\0\x01\0\0\0\0\0\0\0\x05"));
    bad("a long name of more than 64 bits", &long.file("x", ""));
    let twice = Tar::default().with("././@LongLink", b'L', &[b'n'; 1024], |_| {});
    bad(
        "sizes that overflow together",
        &twice.with("pax", b'x', b"", |b| size(b, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xfe\0")),
    );
    bad("a PAX size of 2^64 - 1", &Tar::default().pax(&[("size", b"18446744073709551615")]).file("f", ""));
    bad("a wrong checksum", &Tar::default().with("f", b'0', b"", |_| {}).content(&[b'1'; 512]));
}

#[test]
fn t09_sizes_mean_one_thing() {
    let smuggled = Tar::default().file("hidden", "evil").end();
    for kind in *b"123456" {
        let with = |content: &[u8], length: &'static [u8; 12]| {
            let tar = Tar::default().file("x", "");
            tar.with("y", kind, content, move |block| {
                block[157] = b'x';
                size(block, length);
            })
        };
        // A size means no content: Go's reader and libarchive's look for a header there.
        let (place, unpacked) = good(&with(b"", b"00000001750\0").file("g", "end"));
        assert_eq!((place.read("g"), kinds(&unpacked).len()), ("end".into(), 4));
        good(&with(b"", b"00000001750\0"));
        let (place, _) = good(&with(&smuggled[..1024], b"00000002000\0").file("g", "end"));
        assert_eq!((place.read("hidden"), place.read("g")), ("evil".into(), "end".into()));
        bad("content of an entry that has none", &with(&[b'x'; 1024], b"00000002000\0").file("g", "end"));
        bad("content of zeros", &with(&[0; 512], b"00000001000\0").file("g", "end"));
        let tar = Tar::default().file("x", "").pax(&[("size", b"1536")]).link(kind, "y", "x").content(&smuggled);
        bad("PAX content of an entry that has none", &tar);
    }
    // PAX wins over ustar, in both directions; what it covers is no entry.
    let (place, unpacked) = good(
        &Tar::default()
            .pax(&[("size", b"1024")])
            .with("f", b'0', &smuggled[..1024], |b| size(b, b"00000000000\0"))
            .file("g", "end"),
    );
    assert_eq!(kinds(&unpacked).into_keys().collect::<Vec<_>>(), ["", "f", "g"]);
    assert_eq!((fs::metadata(place.path("f")).unwrap().len(), place.read("g")), (1024, "end".into()));
    let tar = Tar::default()
        .pax(&[("size", b"0")])
        .with("f", b'0', b"", |block| size(block, b"00000001000\0"))
        .file("g", "end");
    assert_eq!(good(&tar).0.read("g"), "end");
    let tar =
        Tar::default().pax(&[("size", b"9"), ("size", b"3")]).with("f", b'0', b"end", |b| size(b, b"00000000000\0"));
    assert_eq!(good(&tar).0.read("f"), "end", "the last record wins");
}

#[test]
fn t09_extensions_mean_one_thing() {
    let raw = |data: &[u8]| Tar::default().with("pax", b'x', data, |_| {}).file("f", "");
    for data in [&b"xx path=g\n"[..], b"10 path=g", b"99 path=g\n", b"10 path=g\nrubbish", b"0 path=g\n", b"8 path=g\n"]
    {
        bad("a malformed PAX record", &raw(data));
    }
    good(&raw(b"10 path=g\n"));
    for (key, value) in
        [("size", "-1"), ("size", "+1"), ("size", ""), ("uid", "0x1"), ("mtime", "today"), ("GNU.sparse.major", "x")]
    {
        bad(key, &Tar::default().pax(&[(key, value.as_bytes())]).file("f", ""));
    }
    let long = |tar: Tar, kind, name: &str| tar.with("././@LongLink", kind, name.as_bytes(), |_| {});
    let pax = |tar: Tar| tar.pax(&[("path", b"one"), ("linkpath", b"one")]);
    bad("two names", &long(pax(Tar::default()), b'L', "two\0").file("f", ""));
    bad("two names", &pax(long(Tar::default(), b'L', "two\0")).file("f", ""));
    bad("two targets", &pax(long(Tar::default(), b'K', "two\0")).symlink("f", "x"));
    bad("a long name of nothing", &long(Tar::default(), b'L', "a\0"));
    bad("a lone block of zeros", &Tar::default().file("a", "").content(&[0; 512]).file("b", ""));
    let global = |tar: Tar, data: &[u8]| tar.with("g", b'g', data, |_| {});
    for data in [&b"10 path=g\n"[..], b"10 size=1\n", b"14 linkpath=g\n", b"22 GNU.sparse.major=1\n", b"rubbish"] {
        bad("a global header", &global(Tar::default(), data).file("f", ""));
    }
    bad("a PAX header before a global one", &global(pax(Tar::default()), b"13 comment=g\n").file("f", ""));
    let (place, unpacked) = good(&global(Tar::default(), b"13 comment=g\n").file("f", "x"));
    assert_eq!((place.read("f"), kinds(&unpacked).len()), ("x".into(), 2));
    for kind in *b"DMNVXq\x80" {
        bad("an entry of unknown type", &Tar::default().with("f", kind, b"", |_| {}));
    }
    let old = |kind| Tar::default().with("f", kind, b"", |block| block[257..265].fill(0));
    good(&old(b'0'));
    let directory = |kind, magic: bool| {
        let tar = Tar::default().with("d/", kind, b"", |block| {
            size(block, b"00000000001\0");
            if !magic {
                block[257..265].fill(0);
            }
        });
        tar.file("g", "end")
    };
    assert_eq!(find(&good(&directory(0, false)).1, "d").kind, Kind::Directory);
    bad("a directory by its slash alone with a size", &directory(b'0', true));
    good(&old(0));
    bad("an extension in a header of the 1970s", &old(b'x'));
    let gnu = |field: &'static [u8]| {
        Tar::default().with("f", b'0', b"", move |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[345..345 + field.len()].copy_from_slice(field);
        })
    };
    good(&gnu(b"12345670123\x0012345670123\0"));
    bad("a prefix in GNU's format", &gnu(b"a/long/prefix"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Whatever a byte is changed to, nothing panics and nothing gets out (`Place` looks).
    #[test]
    fn spoilt_tars_do_no_harm(changes in proptest::collection::vec((0_usize..20, 0_usize..512, proptest::num::u8::ANY), 1..4)) {
        let canary = Place::new().canary();
        let tar = Tar::default()
            .dir("d")
            .file("d/f", "content")
            .pax(&[("path", b"d/long"), ("size", b"7"), ("mtime", b"-1.5"), ("SCHILY.xattr.user.x", b"y")])
            .file("x", "content")
            .hardlink("l", "d/f")
            .symlink("s", &canary)
            .pax(&[("GNU.sparse.map", b"1,2,9,1"), ("GNU.sparse.size", b"30")])
            .file("sparse", "abc")
            .file("d/.wh.gone", "")
            .file("o/.wh..wh..opq", "")
            .with("././@LongLink", b'L', b"long/name\0", |_| {})
            .file("s2", "");
        let mut bytes = tar.end();
        for (block, at, value) in changes {
            let block = block * 512;
            if let Some(header) = bytes[block..].first_chunk_mut::<512>() {
                header[at] = value;
                if header[257..262] == *b"ustar" {
                    crate::layer::testing::checksum(header);
                }
            }
        }
        let _ = Place::new().unpack_with(&bytes, &Limits { bytes: 1 << 20, ..Limits::default() });
    }
}

#[test]
fn long_names_of_both_kinds() {
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let gnu = Tar::default().with("././@LongLink", b'L', format!("{name}\0").as_bytes(), |_| {}).file("short", "gnu");
    assert_eq!(good(&gnu).0.read(&name), "gnu");
    let pax = Tar::default().pax(&[("path", name.as_bytes())]).file("short", "pax");
    assert_eq!(good(&pax).0.read(&name), "pax");
    let target = "t/".repeat(200);
    let gnu = Tar::default().with("././@LongLink", b'K', format!("{target}\0").as_bytes(), |_| {}).symlink("s", "x");
    assert_eq!(fs::read_link(good(&gnu).0.path("s")).unwrap().as_os_str().len(), 400);
    let prefix = Tar::default().with("f", b'0', b"ustar", |block| block[345..348].copy_from_slice(b"a/b"));
    assert_eq!(good(&prefix).0.read("a/b/f"), "ustar");
    bad("an endless target", &Tar::default().pax(&[("linkpath", &[b't'; 4096])]).symlink("s", "x"));
    bad("no target", &Tar::default().symlink("s", ""));
}

#[test]
fn times_of_all_sorts() {
    let mtime = |value: &str| {
        Tar::default()
            .pax(&[("mtime", value.as_bytes())])
            .file("f", "")
            .pax(&[("mtime", value.as_bytes())])
            .symlink("s", "f")
    };
    for (text, seconds, nanos) in
        [("1700000000.123456789", 1_700_000_000, 123_456_789), ("-5.25", -6, 750_000_000), ("0", 0, 0)]
    {
        let (place, unpacked) = good(&mtime(text));
        for name in ["f", "s"] {
            let meta = fs::symlink_metadata(place.path(name)).unwrap();
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (seconds, nanos), "{text}");
            assert_eq!(find(&unpacked, name).mtime, (seconds, u32::try_from(nanos).unwrap()));
        }
    }
    let binary =
        |field: &'static [u8; 12]| Tar::default().with("f", b'0', b"", |block| block[136..148].copy_from_slice(field));
    let (_, unpacked) = good(&binary(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_eq!(find(&unpacked, "f").mtime, (-1, 0));
    bad("a time of 90 bits", &binary(b"\x80\0\x01\0\0\0\0\0\0\0\0\0"));
}

#[test]
fn sparse_files_of_every_version() {
    let whole = [&[0; 1000][..], b"abc", &[0; 2000], b"de", &[0; 95]].concat();
    let map = [
        (
            "0.0",
            vec![
                ("GNU.sparse.size", "3100"),
                ("GNU.sparse.numblocks", "2"),
                ("GNU.sparse.offset", "1000"),
                ("GNU.sparse.numbytes", "3"),
                ("GNU.sparse.offset", "3003"),
                ("GNU.sparse.numbytes", "2"),
            ],
        ),
        (
            "0.1",
            vec![
                ("GNU.sparse.size", "3100"),
                ("GNU.sparse.numblocks", "2"),
                ("GNU.sparse.map", "1000,3,3003,2"),
                ("GNU.sparse.name", "f"),
            ],
        ),
    ];
    let check = |what: &str, tar: &Tar| {
        let (place, unpacked) = good(&tar.clone().file("next", "x"));
        assert_eq!(fs::read(place.path("f")).unwrap(), whole, "{what}");
        assert_eq!(
            (find(&unpacked, "f").size, find(&unpacked, "f").digest),
            (3100, Some(Digest::of(&whole))),
            "{what}"
        );
        assert_eq!(place.read("next"), "x");
    };
    for (what, records) in map {
        let records: Vec<_> = records.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        check(what, &Tar::default().pax(&records).file("f", "abcde"));
    }
    let one_of = |size: Option<&str>, map: &str, stored: &str| {
        let content = [format!("{map:\0<512}").as_bytes(), stored.as_bytes()].concat();
        let mut records: Vec<(&str, &[u8])> = vec![
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.realsize", b"3100"),
        ];
        records.extend(size.map(|size| ("size", size.as_bytes())));
        Tar::default().pax(&records).with("GNUSparseFile.0/f", b'0', &content, |_| {})
    };
    let one = |map: &str, stored: &str| one_of(None, map, stored);
    let with_size = |tar: Tar, size: &str| {
        let header = Tar::default().pax(&[("size", size.as_bytes())]);
        header.then(&tar)
    };
    check("1.0", &one("2\n1000\n3\n3003\n2\n", "abcde"));
    // A record of the size covers the map too.
    check("1.0 with a size", &one_of(Some("517"), "2\n1000\n3\n3003\n2\n", "abcde"));
    // libarchive's header has the length of the content alone.
    let mut short = one_of(Some("517"), "2\n1000\n3\n3003\n2\n", "abcde").cut().to_vec();
    let header = short.chunks_exact_mut(512).find(|block| block.starts_with(b"GNUSparseFile")).unwrap();
    header[124..136].copy_from_slice(b"00000000005\0");
    crate::layer::testing::checksum(header.try_into().unwrap());
    check("1.0 of libarchive", &Tar::raw(&short));
    check(
        "0.1 with a size",
        &Tar::default()
            .pax(&[("GNU.sparse.size", b"3100"), ("GNU.sparse.map", b"1000,3,3003,2"), ("size", b"5")])
            .file("f", "abcde"),
    );
    check("1.0 with an empty end", &one("3\n1000\n3\n3003\n2\n3100\n0\n", "abcde"));
    let gnu = |map: &[(u64, u64)], length: u64| {
        Tar::default().with("f", b'S', b"abcde", |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            for (n, (offset, size)) in map.iter().enumerate() {
                let field = format!("{offset:011o}\0{size:011o}\0");
                block[386 + 24 * n..410 + 24 * n].copy_from_slice(field.as_bytes());
            }
            block[483..495].copy_from_slice(format!("{length:011o}\0").as_bytes());
        })
    };
    check("GNU", &gnu(&[(1000, 3), (3003, 2)], 3100));
    for (what, tar) in [
        ("backwards", gnu(&[(3003, 2), (1000, 3)], 3100)),
        ("overlapping", gnu(&[(0, 3), (2, 2)], 3100)),
        ("beyond the end", gnu(&[(0, 3), (3099, 2)], 3100)),
        ("more than stored", gnu(&[(0, 5), (10, 2)], 3100)),
        ("less than stored", gnu(&[(0, 4)], 3100)),
        ("an endless map", one(&"1".repeat(512), "")),
        ("a map longer than the file", one("200\n1\n", "")),
        (
            "an unknown version",
            Tar::default().pax(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")]).file("f", ""),
        ),
        ("a PAX size too", with_size(gnu(&[(1000, 3), (3003, 2)], 3100), "5")),
        ("a PAX size that the map exceeds", one_of(Some("511"), "2\n1000\n3\n3003\n2\n", "abcde")),
        ("a PAX size without the map", one_of(Some("5"), "2\n1000\n3\n3003\n2\n", "abcde")),
        ("a sparse directory", Tar::default().pax(&[("GNU.sparse.map", b"0,0")]).dir("f")),
    ] {
        bad(what, &tar);
    }
}

/// The last of a kind counts, and it alone, to GNU tar and to Go.
#[test]
fn extensions_that_are_repeated() {
    let gnu = |tar: Tar, kind, name: &str| tar.with("././@LongLink", kind, name.as_bytes(), |_| {});
    let long = "n".repeat(700);
    // A name of GNU's extension ends at its first NUL.
    let padded = gnu(gnu(Tar::default(), b'L', "link\0\0more\0"), b'K', "name\0more\0").symlink("s", "x");
    assert_eq!(fs::read_link(good(&padded).0.path("link")).unwrap(), Path::new("name"));
    for (what, tar) in [
        ("paths", Tar::default().pax(&[("path", b"a")]).pax(&[("path", b"name")]).file("f", "x")),
        (
            "three",
            Tar::default().pax(&[("path", b"a")]).pax(&[("size", b"9")]).pax(&[("path", b"name")]).file("f", "x"),
        ),
        ("long names", gnu(gnu(gnu(Tar::default(), b'L', "a\0"), b'L', &long), b'L', "name\0").file("f", "x")),
        ("others between", {
            let tar = gnu(gnu(gnu(Tar::default(), b'L', "a\0"), b'K', "x\0"), b'L', "name\0");
            gnu(tar, b'K', "y\0").file("f", "x")
        }),
    ] {
        let (place, unpacked) = good(&tar.file("g", "end"));
        assert_eq!((place.read("name"), place.read("g")), ("x".into(), "end".into()), "{what}");
        assert_eq!(kinds(&unpacked).len(), 3, "{what}");
    }
    let nothing = Tar::default().pax(&[("path", b"a"), ("size", b"9")]).pax(&[("comment", b"c")]).file("f", "x");
    assert_eq!(good(&nothing).0.read("f"), "x", "nothing is left of the first");
    let sparse = Tar::default()
        .pax(&[("path", b"a")])
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"8")])
        .with("f", b'0', &[&b"1\n0\n1\n"[..], &[0; 506], b"x"].concat(), |_| {});
    assert_eq!(good(&sparse).0.read("f"), "x\0\0\0\0\0\0\0");
    let global = |tar: Tar, data: &[u8]| tar.with("g", b'g', data, |_| {});
    let globals = global(global(Tar::default(), b"13 comment=g\n"), b"13 comment=h\n").file("f", "x");
    assert_eq!(good(&globals).0.read("f"), "x");
    let pax = |tar: Tar| tar.pax(&[("path", b"one")]);
    bad("two names", &gnu(pax(pax(Tar::default())), b'L', "two\0").file("f", ""));
    for (at, what) in [(0, "a wrong checksum"), (512, "a malformed record")] {
        let mut bytes = pax(pax(Tar::default())).file("f", "").end();
        bytes[at] = b'?';
        let outcome = Place::new().unpack_with(&bytes, &Limits::default());
        assert!(matches!(outcome, Err(LayerError::Tar { .. })), "{what} in one that does not count: {outcome:?}");
    }
    bad("a global header after two", &global(pax(pax(Tar::default())), b"13 comment=g\n").file("f", ""));
    bad("nothing after two", &pax(pax(Tar::default())));
    let cut = pax(pax(Tar::default()));
    for length in [513, 1024, 1537, 2048] {
        let outcome = Place::new().unpack_with(&cut.cut()[..length], &Limits::default());
        assert!(matches!(outcome, Err(LayerError::Tar { .. })), "{length}: {outcome:?}");
    }
    let endless = (0..5000).fold(Tar::default(), |tar, _| tar.pax(&[("comment", &[b'x'; 400])]));
    bad("an endless chain", &endless.file("f", ""));
}

#[test]
fn what_the_tar_crate_writes() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let name = "deep/".repeat(50) + "file";
    let mut header = ::tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o640);
    header.set_mtime(77);
    builder.append_data(&mut header, &name, &b"data"[..]).unwrap();
    builder
        .append_link(
            &mut {
                let mut h = header.clone();
                h.set_size(0);
                h.set_entry_type(::tar::EntryType::Link);
                h
            },
            "link",
            &name,
        )
        .unwrap();
    let bytes = builder.into_inner().unwrap();
    let place = Place::new();
    let unpacked = place.unpack_with(&bytes, &Limits::default()).unwrap();
    assert_eq!((place.read("link"), mode(&place.path("link"))), ("data".into(), 0o640));
    assert_eq!(kinds(&unpacked)["link"], Kind::Hardlink);
}
