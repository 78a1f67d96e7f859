//! A synthetic archive in which every rule decides something, and the same archive broken in each way.

use std::fmt::Write as _;

use super::*;
use crate::debian::Index;
use crate::dpkg::{Architecture, PackageName, Request};
use crate::hint::{ErrorKind, Hint};

/// One package a line: `name version | Field: value | …`.
const ARCHIVE: &str = "
base-files 12 | Essential: yes | Priority: required | Pre-Depends: awk | Architecture: amd64
dpkg 1.21 | Essential: yes | Priority: required | Pre-Depends: libc6
init 1.65 | Essential: yes | Priority: important | Pre-Depends: usrmerge | usr-is-merged
libc6 2.36 | Priority: optional | Depends: libgcc-s1
libgcc-s1 12 | Depends: gcc-12-base (= 12), libc6 (>= 2.35)
gcc-12-base 12 | Priority: required
mawk 1.3 | Priority: required | Provides: awk
gawk 5.2 | Priority: optional | Provides: awk
apt 2.6 | Priority: important | Depends: libc6 (>= 2.34), gpgv | sqv
gpgv 2.2 | Priority: important
sqv 1.2 | Priority: optional
usrmerge 37 | Conflicts: usr-is-merged | Depends: perl
usr-is-merged 37 | Conflicts: usrmerge
perl 5.36 | Priority: standard | Multi-Arch: allowed
old-app 1 | Depends: lib (<< 2)
old-app 2~rc1 | Depends: lib
lib 1
lib 1.10 | Depends: lib-data (>= 1.2)
lib 1.9
lib-data 1.10 | Architecture: all
alternatives 1 | Depends: missing | lib (>= 9) | second | third
second 1 | Recommends: third | Suggests: third
third 1
satisfied 1 | Depends: third, second | third
first-wins 1 | Depends: second | third, third
needs-mta 1 | Depends: default-mta | mail-transport-agent
exim 4 | Provides: mail-transport-agent | Conflicts: mail-transport-agent | Priority: standard
postfix 3 | Provides: mail-transport-agent | Conflicts: mail-transport-agent | Priority: optional
masqmail 1 | Provides: mail-transport-agent | Conflicts: mail-transport-agent | Priority: standard
needs-versioned 1 | Depends: versioned (>= 2)
provides-none 1 | Provides: versioned
provides-old 1 | Provides: versioned (= 1) | Priority: standard
provides-new 1 | Provides: versioned (= 2)
scripts 1 | Depends: perl:any, linux-only [linux-any], other [hurd-any], i386-only [i386] | perl, check <!nocheck>
linux-only 1
check 1
breaks-lib 1 | Breaks: lib (<< 1.10), third (<< 1)
breaks-third 1 | Breaks: third
replaces 1 | Replaces: third | Provides: third
uses-both 1 | Depends: second, breaks-second | third
breaks-second 1 | Conflicts: second
deep 1 | Depends: deep-1
deep-1 1 | Depends: deep-2
deep-2 1 | Depends: lib (>= 5) | breaks-third | nowhere, third
";

fn index(archive: &str) -> Index {
    let mut text = String::new();
    for line in archive.lines().filter(|line| !line.is_empty()) {
        // `|` between alternatives has no field after it.
        let mut fields: Vec<String> = Vec::new();
        for part in line.split(" | ") {
            match fields.last_mut() {
                Some(last) if !part.contains(": ") => last.extend([" | ", part]),
                _ => fields.push(part.to_owned()),
            }
        }
        let (name, version) = fields[0].split_once(' ').unwrap();
        let _ = write!(text, "Package: {name}\nVersion: {version}\n");
        let architecture = fields.iter().any(|field| field.starts_with("Architecture"));
        text += if architecture { "" } else { "Architecture: amd64\n" };
        let (rest, digest) = (fields[1..].join("\n"), "0".repeat(64));
        let _ = write!(text, "{rest}\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {digest}\n\n");
    }
    // A package without other fields has an empty line.
    Index::parse(text.replace("\n\nFilename", "\nFilename").into_bytes(), &amd64()).unwrap()
}

fn amd64() -> Architecture {
    "amd64".parse().unwrap()
}

fn requests(text: &str) -> Vec<Request> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// The packages chosen for a request, in their order, or the error.
fn solve_in(archive: &str, request: &str) -> Result<String, SolveError> {
    let index = index(archive);
    let pool = Pool::new(&[&index], amd64())?;
    let solution = pool.solve(&requests(request))?;
    Ok(solution.packages.iter().map(|one| one.package.name().as_str()).collect::<Vec<_>>().join(" "))
}

fn solve(request: &str) -> Result<String, SolveError> {
    solve_in(ARCHIVE, request)
}

#[track_caller]
fn chosen(request: &str, expected: &str) {
    assert_eq!(solve(request).as_deref(), Ok(expected), "{request}");
}

#[track_caller]
fn refused(request: &str, expected: &str) {
    assert_eq!(solve(request).unwrap_err().to_string(), expected, "{request}");
}

#[test]
fn the_highest_version_is_the_candidate() {
    chosen("old-app", "old-app lib lib-data");
    let (index, security) = (index(ARCHIVE), index("third 1+deb12u1\nsecond 1\n"));
    let pool = Pool::new(&[&index, &security], amd64()).unwrap();
    let solution = pool.solve(&requests("third second")).unwrap();
    let found: Vec<_> = solution.packages.iter().map(|one| (one.package.version().as_str(), one.index)).collect();
    assert_eq!(found, [("1+deb12u1", 1), ("1", 0)]);
}

#[test]
fn a_request_may_name_a_version() {
    chosen("lib=1.9", "lib");
    refused("lib=1.90", "the archive has no version 1.90 of package lib, but 1.10, 1.9, 1");
    refused("lib=1 lib=1.9", "package lib is requested in the versions 1 and 1.9");
    refused("nothing=1", "the archive has no package nothing");
    // The version holds for requests before it, too.
    chosen("old-app=1 lib=1.9", "old-app lib");
    chosen("lib lib=1.9", "lib");
}

#[test]
fn one_package_is_found_without_its_dependencies() {
    let index = index(ARCHIVE);
    let pool = Pool::new(&[&index], amd64()).unwrap();
    let find = |text: &str| pool.find(&text.parse().unwrap()).map(|package| package.version().as_str().to_owned());
    assert_eq!((find("lib"), find("lib=1.9")), (Ok("1.10".to_owned()), Ok("1.9".to_owned())));
    assert_eq!(find("awk").unwrap_err().to_string(), "the archive has no package awk");
    assert_eq!(find("lib=2").unwrap_err().to_string(), "the archive has no version 2 of package lib, but 1.10, 1.9, 1");
}

#[test]
fn requests_are_taken_in_their_order() {
    chosen("third second", "third second");
    chosen("second third second", "second third");
    chosen("second- alternatives", "alternatives third");
    chosen("alternatives second-", "alternatives third");
    refused("second second-", "cannot install second: the request second- excludes it");
    refused("nothing-", "the archive has no package nothing");
    refused("nothing", "the archive has no package nothing");
}

#[test]
fn dependencies_are_met_depth_first_in_the_order_written() {
    chosen("dpkg", "dpkg libc6 libgcc-s1 gcc-12-base");
    chosen("apt", "apt libc6 libgcc-s1 gcc-12-base gpgv");
    // What is marked already meets a dependency, whatever the order of its alternatives.
    chosen("satisfied", "satisfied third");
    chosen("first-wins", "first-wins second third");
}

#[test]
fn the_first_alternative_that_fits_is_taken() {
    chosen("alternatives", "alternatives second");
    chosen("uses-both", "uses-both second third");
    refused(
        "breaks-second uses-both",
        "cannot meet dependency 'second' of package uses-both: breaks-second conflicts with second",
    );
}

#[test]
fn providers_are_ordered_by_priority_and_name() {
    chosen("base-files", "base-files mawk");
    chosen("needs-mta", "needs-mta exim");
    chosen("exim- needs-mta", "needs-mta masqmail");
    chosen("postfix needs-mta", "postfix needs-mta");
    chosen("mail-transport-agent", "exim");
    chosen("postfix mail-transport-agent", "postfix");
    refused("exim postfix", "cannot install postfix: exim conflicts with postfix");
}

#[test]
fn a_versioned_dependency_needs_a_versioned_provider() {
    chosen("needs-versioned", "needs-versioned provides-new");
    chosen("versioned", "provides-old");
    refused(
        "provides-new- needs-versioned",
        "cannot meet dependency 'versioned (>= 2)' of package needs-versioned: the request provides-new- \
         excludes it",
    );
}

#[test]
fn a_choice_that_the_archive_leaves_open_is_reported() {
    let index = index(ARCHIVE);
    let pool = Pool::new(&[&index], amd64()).unwrap();
    let choices = |request: &str| pool.solve(&requests(request)).unwrap().choices;
    let name = |text: &str| text.parse::<PackageName>().unwrap();
    let choice = |wanted_by: Option<&str>| VirtualChoice {
        name: name("mail-transport-agent"),
        wanted_by: wanted_by.map(name),
        chosen: name("exim"),
        providers: vec![name("exim"), name("masqmail")],
    };
    assert_eq!(choices("needs-mta"), [choice(Some("needs-mta"))]);
    assert_eq!(choices("mail-transport-agent"), [choice(None)]);
    // The priority decides, a marked package, or a package of that name.
    for request in ["base-files", "exim needs-mta", "third", "needs-versioned"] {
        assert_eq!(choices(request), [], "{request}");
    }
}

#[test]
fn conflicts_and_breaks_ban_names_and_what_is_provided() {
    chosen("breaks-lib lib", "breaks-lib lib lib-data");
    refused("breaks-lib lib=1.9", "cannot install lib: breaks-lib breaks lib");
    refused("lib=1.9 breaks-lib", "cannot install breaks-lib: breaks-lib breaks lib");
    refused("breaks-third replaces", "cannot install replaces: breaks-third breaks replaces");
    // Replaces does not count.
    chosen("third replaces", "third replaces");
}

#[test]
fn architectures_and_profiles_restrict_dependencies() {
    chosen("scripts", "scripts perl linux-only check");
    let archive = ARCHIVE.replace(" | Multi-Arch: allowed", "");
    let error = solve_in(&archive, "scripts").unwrap_err().to_string();
    assert_eq!(error, "cannot meet dependency 'perl:any' of package scripts: the archive has perl 5.36");
    assert_eq!(solve_in("aa 1 | Depends: bb:amd64\nbb 1\n", "aa").as_deref(), Ok("aa bb"));
    assert!(solve_in("aa 1 | Depends: bb:arm64\nbb 1\n", "aa").is_err());
}

#[test]
fn refusals_name_the_chain() {
    refused(
        "deep",
        "cannot meet dependency 'third' of package deep-2 (deep → deep-1 → deep-2): breaks-third (deep → deep-1 → deep-2 → \
         breaks-third) breaks third; breaks-third (deep → deep-1 → deep-2 → breaks-third) breaks replaces",
    );
    refused(
        "third deep",
        "cannot meet dependency 'lib (>= 5) | breaks-third | nowhere' of package deep-2 (deep → deep-1 → deep-2): the archive \
         has lib 1.10; breaks-third breaks third; the archive has no package nowhere",
    );
    let error = solve("deep").unwrap_err();
    let SolveError::Unmet { chain, .. } = &error else { panic!() };
    assert_eq!(chain.iter().map(PackageName::as_str).collect::<Vec<_>>(), ["deep", "deep-1", "deep-2"]);
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn why_a_package_was_chosen() {
    let index = index(ARCHIVE);
    let pool = Pool::new(&[&index], amd64()).unwrap();
    let solution = pool.solve(&requests("apt third")).unwrap();
    let why = |name: &str| {
        let chain = solution.why(&name.parse().unwrap())?;
        Some(chain.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(why("gcc-12-base").as_deref(), Some("apt libc6 libgcc-s1 gcc-12-base"));
    assert_eq!(why("third").as_deref(), Some("third"));
    assert_eq!(why("second"), None);
    let requested: Vec<_> =
        solution.packages.iter().filter(|one| one.is_requested).map(|one| one.package.name().as_str()).collect();
    assert_eq!(requested, ["apt", "third"]);
}

#[test]
fn the_base_is_a_request() {
    let base = |archive: &str| {
        let index = index(archive);
        let base = Pool::new(&[&index], amd64()).unwrap().base().unwrap();
        base.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let all = "base-files dpkg init gcc-12-base mawk apt usr-is-merged usrmerge-";
    assert_eq!(base(ARCHIVE), all);
    chosen(all, "base-files mawk dpkg libc6 libgcc-s1 gcc-12-base init usr-is-merged apt gpgv");
    chosen("init", "init usrmerge perl");
    // As in Debian 13.
    assert_eq!(
        base(&ARCHIVE.replace(" | Pre-Depends: usrmerge | usr-is-merged", "")),
        "base-files dpkg init gcc-12-base mawk apt"
    );
    // An archive that has only what roots need.
    assert_eq!(base(&ARCHIVE.replace("usrmerge 37 |", "other 37 |")), all.replace(" usrmerge-", ""));
    assert_eq!(base(&ARCHIVE.replace("usr-is-merged 37 |", "other 37 |")), all.replace(" usr-is-merged", ""));
}

#[test]
fn malformed_relations_are_refused_where_they_count() {
    for (from, to, request) in [
        ("Depends: libgcc-s1", "Depends: LIBGCC", "dpkg"),
        ("Pre-Depends: libc6", "Pre-Depends: libc6 (>> )", "dpkg"),
        ("Breaks: third", "Breaks: third (", "breaks-third"),
        ("Conflicts: second", "Conflicts: second third", "breaks-second"),
        ("Provides: third", "Provides: |", "second"),
    ] {
        let archive = ARCHIVE.replace(from, to);
        let error = solve_in(&archive, request).unwrap_err();
        assert!(matches!(error, SolveError::Malformed { .. }), "{to}: {error}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
    assert!(solve_in(&ARCHIVE.replace("Depends: libgcc-s1", "Depends: LIBGCC"), "third").is_ok());
}

#[test]
fn hostile_relations_are_limited() {
    // A chain that a recursive search would not survive.
    let mut chain = String::new();
    for at in 0..20_000 {
        let _ = writeln!(chain, "p{at} 1 | Depends: p{}", at + 1);
    }
    let error = solve_in(&chain, "p0").unwrap_err();
    let SolveError::Unmet { chain, .. } = &error else { panic!("{error}") };
    assert_eq!(chain.len(), 20_000);
    assert!(error.to_string().len() < 500, "{error}");
    // Many alternatives with many providers.
    let mut wide = format!("aa 1 | Depends: {}\n", vec!["xx (>= 9)"; 4000].join(" | "));
    for at in 0..4000 {
        let _ = writeln!(wide, "p{at} 1 | Provides: xx (= 1)");
    }
    assert_eq!(solve_in(&wide, "aa"), Err(SolveError::TooComplex));
    // Fields that are read again and again, of relations that hold for no package.
    let mut long = String::new();
    for at in 0..60 {
        let _ = writeln!(long, "p{at} 1 | Depends: p{} | Conflicts: {}xx", at + 1, "xx [i386], ".repeat(20_000));
    }
    assert_eq!(solve_in(&long, "p0"), Err(SolveError::TooComplex));
}

#[test]
fn errors_stay_short() {
    let names: Vec<_> = (0..4000).map(|at| format!("n{at}")).collect();
    let mut archive = format!("aa 1 | Depends: {}\nbb 1 | Depends: virtual\n", names.join(" | "));
    for at in 0..4000 {
        let _ = writeln!(archive, "cc {at}\np{at} 1 | Provides: virtual | Conflicts: bb");
    }
    for (request, expected) in [("aa", 11), ("bb", 11)] {
        let error = solve_in(&archive, request).unwrap_err();
        let SolveError::Unmet { reasons, .. } = &error else { panic!("{error}") };
        assert!(reasons.len() <= expected && error.to_string().len() < 2000, "{error}");
    }
    let error = solve_in(&archive, "cc=99999").unwrap_err().to_string();
    assert!(error.len() < 500, "{error}");
}
