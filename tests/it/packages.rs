//! Packages of images, compared with the lists of the package managers themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::context::{DEBIAN, MIN, TestContext, tool};
use crate::support::image::{Codec, Content, layer};
use crate::support::run;

const AMD64: (&str, &str, Option<&str>) = ("linux", "amd64", None);

/// An image with these files, called `name`.
fn image(world: &TestContext, name: &str, files: &[(&str, &[u8])], config: &serde_json::Value) {
    let mut content = Content::default();
    let image = content.image_with(AMD64, &[layer(Codec::Gzip, files)], config);
    world.import(&content.tag("x", &image), name).exits(0);
}

/// `NAME VERSION ARCH SOURCE SOURCE-VERSION` of each package.
fn lines(listed: &serde_json::Value) -> BTreeSet<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let packages = listed["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let source = &package["source"];
            let words =
                [&package["name"], &package["version"], &package["architecture"], &source["name"], &source["version"]];
            words.map(text).join(" ")
        })
        .collect()
}

#[test]
fn debian_as_dpkg_says() {
    let Some(world) = TestContext::fixtures() else { return };
    let format = "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\\n";
    let says = world.sh(&[], &format!("dpkg-query -W -f '{format}'")).ok();
    let listed = world.json(&["packages", MIN]);
    let found = lines(&listed);
    assert!(found.len() > 50, "{found:?}");
    assert_eq!(found, says.lines().map(str::to_owned).collect::<BTreeSet<_>>());
    assert_eq!(listed["distribution"]["id"], "debian");
    assert_eq!(listed["unread"], serde_json::json!([]));
    // Of another platform's image, none of whose programs is run.
    let arm = world.json(&["packages", DEBIAN, "--platform", "arm/v5"]);
    assert!(lines(&arm).iter().any(|line| line.starts_with("libc6 2.36-") && line.contains(" armel glibc ")));
}

#[test]
fn what_changed_between_two_images() {
    let world = TestContext::empty();
    let (old, new) = (
        "Package: tool\nVersion: 1:1.0-1\nArchitecture: amd64\n\nPackage: gone\nVersion: 1\nArchitecture: all\n",
        "Package: tool\nVersion: 1:1.0-2\nArchitecture: amd64\n\nPackage: come\nVersion: 1\nArchitecture: all\n",
    );
    let apk = b"P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\n\n";
    let config = |path: &str| serde_json::json!({ "Env": [format!("PATH={path}"), "SAME=1"], "WorkingDir": "/w" });
    image(
        &world,
        "t/old:1",
        &[("var/lib/dpkg/status", old.as_bytes()), ("lib/apk/db/installed", apk)],
        &config("/bin"),
    );
    image(
        &world,
        "t/new:1",
        &[("var/lib/dpkg/status", new.as_bytes()), ("lib/apk/db/installed", apk)],
        &config("/\u{1b}[31m"),
    );
    let changes = world.json(&["packages", "t/new:1", "--since", "t/old:1"]);
    assert_eq!(
        changes["packages"]["changed"],
        serde_json::json!([{ "kind": "deb", "name": "tool", "architecture": "amd64", "old": "1:1.0-1", "new": "1:1.0-2" }])
    );
    assert_eq!(changes["packages"]["added"][0]["name"], "come");
    assert_eq!(changes["packages"]["removed"][0]["name"], "gone");
    let text = world.hermes(["packages", "t/new:1", "--since", "t/old:1"]).ok();
    for part in ["~ tool     1:1.0-1 -> 1:1.0-2", "+ come", "- gone", "Env PATH: /bin -> /\\u{1b}[31m"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("SAME") && !text.contains("musl") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(world.hermes(["packages", "t/old:1", "--since", "t/old:1"]).ok(), "no package changed");
    let table = world.hermes(["packages", "t/old:1"]).ok();
    assert!(
        table.lines().any(|line| line.split_whitespace().eq(["musl", "1.2.5-r0", "x86_64", "apk", "musl", "MIT"])),
        "{table}"
    );
    world.hermes(["packages", "t/none:1"]).output().exits(1);
}

#[test]
fn a_database_that_cannot_be_read_is_not_an_empty_one() {
    let world = TestContext::empty();
    for (path, bytes) in [
        ("var/lib/rpm/rpmdb.sqlite", &b"SQLite format 3\0"[..]),
        ("var/lib/rpm/Packages.db", b"RpmP"),
        ("usr/lib/sysimage/rpm/Packages", b"nothing that anybody knows"),
        ("var/lib/dpkg/status", b"Package: x\n"),
        ("var/lib/rpm/rpmdb.sqlite-wal", b"changes"),
        ("lib/apk/db/installed", b"\x00"),
    ] {
        image(&world, "t/bad:1", &[(path, bytes)], &serde_json::json!({}));
        let output = world.hermes(["packages", "t/bad:1"]).output();
        output.exits(0);
        assert!(output.stderr.contains(&format!("note: cannot read the packages in /{path}: ")), "{}", output.stderr);
        let listed = world.json(&["packages", "t/bad:1"]);
        assert_eq!(listed["unread"][0]["path"], format!("/{path}"));
        world.hermes(["rm", "t/bad:1"]).ok();
    }
}

/// A specification of many packages, of which some have headers longer than a page of any database.
fn specification() -> String {
    let mut text = String::from(
        "Name: top\nEpoch: 3\nVersion: 1.2\nRelease: 4\nSummary: x\nLicense: MIT AND BSD-2-Clause\nBuildArch: noarch\n%description\nx\n%files\n",
    );
    for at in 1..=60 {
        let long = "x".repeat(at * at * 10);
        writeln!(
            text,
            "%package -n sub{at}\nSummary: s\nVersion: {at}\n%description -n sub{at}\n{long}\n%files -n sub{at}"
        )
        .unwrap();
    }
    text
}

/// The headers of what `rpmdb --exportdb` wrote, each without its magic bytes.
fn headers(export: &[u8]) -> Vec<&[u8]> {
    let mut headers = Vec::new();
    let mut rest = export;
    while !rest.is_empty() {
        let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let end = 16 + number(8) * 16 + number(12);
        headers.push(&rest[8..end]);
        rest = &rest[end..];
    }
    headers
}

/// A hash of Berkeley DB, made by its own tool.
fn berkeley(headers: &[&[u8]], dir: &Path) -> Vec<u8> {
    let hex = |bytes: &[u8]| bytes.iter().fold(" ".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let mut dump =
        "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n 00000000\n 3d000000\n".to_owned();
    for (number, header) in (1_u32..).zip(headers) {
        writeln!(dump, "{}\n{}", hex(&number.to_le_bytes()), hex(header)).unwrap();
    }
    fs::write(dir.join("dump"), dump + "DATA=END\n").unwrap();
    run("db5.3_load", &["-f", "dump", "Packages"], dir);
    fs::read(dir.join("Packages")).unwrap()
}

/// SUSE's form, after rpm's `rpmpkg.c`: Debian's rpm is built without it.
fn ndb(headers: &[&[u8]]) -> Vec<u8> {
    let words = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
    let magic = |text: &[u8; 4]| u32::from_le_bytes(*text);
    let mut slots = [words([magic(b"RpmP"), 0, 1, 1]), words([61, 0, 0, 0])].concat();
    let mut blobs = Vec::new();
    for (number, header) in (1_u32..).zip(headers) {
        let length = u32::try_from(header.len()).unwrap();
        let block = u32::try_from(4096 + blobs.len()).unwrap() / 16;
        blobs.extend(words([magic(b"BlbS"), number, 0, length]));
        blobs.extend_from_slice(header);
        blobs.extend([0; 4]);
        blobs.extend([length.to_le_bytes(), *b"BlbE"].concat());
        blobs.resize(blobs.len().next_multiple_of(16), 0);
        slots.extend(words([magic(b"Slot"), number, block, length / 16 + 2]));
        if number % 20 == 0 {
            slots.extend(words([magic(b"Slot"), 0, 0, 0]));
        }
    }
    while slots.len() < 4096 {
        slots.extend(words([magic(b"Slot"), 0, 0, 0]));
    }
    slots.extend(blobs);
    slots
}

#[test]
fn rpm_in_all_its_forms_as_rpm_says() {
    if !tool("rpmbuild") || !tool("db5.3_load") {
        return;
    }
    let world = TestContext::empty();
    let dir = tempfile::tempdir().unwrap();
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    let top = dir.path().join("top");
    fs::write(dir.path().join("t.spec"), specification()).unwrap();
    let home = dir.path().join("rpm");
    fs::create_dir(&home).unwrap();
    let rpm = |program: &str, words: &[&str]| {
        let defined = [define("_topdir", top.to_str().unwrap()), define("_dbpath", home.to_str().unwrap())].concat();
        let words: Vec<&str> = defined.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run(program, &words, dir.path())
    };
    rpm("rpmbuild", &["-bb", "t.spec"]);
    let built = fs::read_dir(top.join("RPMS/noarch")).unwrap();
    let built: Vec<_> = built.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    let install = ["-i", "--justdb", "--nodeps", "--noscripts", "--force-debian"];
    rpm("rpm", &install.into_iter().chain(built.iter().map(String::as_str)).collect::<Vec<_>>());
    let says = rpm("rpm", &["-qa", "--qf", "%{NAME} %{EVR} %{ARCH} %{SOURCERPM} %{LICENSE}\\n"]);
    let says: BTreeSet<_> = says.lines().map(|line| line.replace("top-1.2-4.src.rpm", "top 1.2-4")).collect();
    assert_eq!(says.len(), 61);
    let export = std::process::Command::new("rpmdb")
        .args(define("_dbpath", home.to_str().unwrap()))
        .arg("--exportdb")
        .output()
        .unwrap();
    let headers = headers(&export.stdout);
    let databases = [
        ("var/lib/rpm/rpmdb.sqlite", fs::read(home.join("rpmdb.sqlite")).unwrap()),
        ("usr/lib/sysimage/rpm/Packages.db", ndb(&headers)),
        ("var/lib/rpm/Packages", berkeley(&headers, dir.path())),
    ];
    for (path, bytes) in databases {
        let name = format!("t/{}:1", path.rsplit('/').next().unwrap().to_lowercase());
        image(
            &world,
            &name,
            &[(path, &bytes), ("etc/os-release", b"ID=fedora\nVERSION_ID=40\n")],
            &serde_json::json!({}),
        );
        let listed = world.json(&["packages", &name]);
        assert_eq!(listed["unread"], serde_json::json!([]), "{path}");
        let license = |package: &serde_json::Value| package["license"].as_str().unwrap().to_owned();
        let licenses: BTreeSet<_> = listed["packages"].as_array().unwrap().iter().map(license).collect();
        assert_eq!(licenses.into_iter().collect::<Vec<_>>(), ["MIT AND BSD-2-Clause"]);
        let found: BTreeSet<_> = lines(&listed).iter().map(|line| format!("{line} MIT AND BSD-2-Clause")).collect();
        assert_eq!(found, says, "{path}");
        // A truncated database is reported.
        image(&world, "t/cut:1", &[(path, &bytes[..bytes.len() / 2])], &serde_json::json!({}));
        let cut = world.json(&["packages", "t/cut:1"]);
        assert_eq!(cut["unread"][0]["path"], format!("/{path}"));
        world.hermes(["rm", "t/cut:1"]).ok();
        // What is wrong inside, wherever that is, is found or does no harm.
        for at in [13, 16, 20, 28, 100, 105, 110, 4096, 4100, 4117, 4122, 4130, 8200] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            image(&world, "t/bent:1", &[(path, &bytes)], &serde_json::json!({}));
            world.json(&["packages", "t/bent:1"]);
            world.hermes(["rm", "t/bent:1"]).ok();
        }
    }
}
