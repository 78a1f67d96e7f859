//! dpkg's database.

use crate::debian::deb::testing::{Deb, EPOCH, compose, control, file, text};
use crate::debian::deb::{DatabaseFile, database};
use crate::layer::testing::Tar;

/// A package that uses everything.
fn full() -> Deb {
    let fields = "Homepage: https://example.org\nSection: misc\nPriority: optional\nMulti-Arch: same\nEssential: yes\n\
                  Depends: aa(>=1:2~) |bb,\n cc:any\nReplaces: xx\nStatus: deinstall ok config-files\nPre-Depends: \n";
    let control = Tar::default()
        .dir("./")
        .file("./control", &control("full", fields))
        .file("./conffiles", "/etc/full.conf\nremove-on-upgrade /etc/old.conf\n/bin/conf\n")
        .file("./triggers", "# why\ninterest-noawait /usr/share/full\ninterest named\n\nactivate-noawait ldconfig\n")
        .mode("./postinst", b'0', 0o755)
        .file("./md5sums", "sum  usr/share/full\n");
    let data =
        Tar::default().dir("./").dir("./etc/").file("./etc/full.conf", "abc").dir("./bin/").file("./bin/conf", "");
    Deb::of("full", &control, &data)
}

#[test]
fn the_status_is_as_dpkg_writes_it() {
    let composed = compose(&[full()]).unwrap();
    let expected = "Package: full\nEssential: yes\nStatus: install ok unpacked\nPriority: optional\nSection: misc\n\
                    Maintainer: A <a@example.org>\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1.0-1\nReplaces: xx\n\
                    Depends: aa (>= 1:2~) | bb, cc:any\nConffiles:\n /etc/full.conf 900150983cd24fb0d6963f7d28e17f72\n \
                    /etc/old.conf newconffile remove-on-upgrade\n /bin/conf d41d8cd98f00b204e9800998ecf8427e\n\
                    Description: a package\n more of it\nHomepage: https://example.org\n\n";
    assert_eq!(text(&composed.database(&[]), "status"), expected);
    // Priority and section are the index's, which has its own text for `available`.
    let index = "Package: full\nPriority: required\nSection: libs\nFilename: pool/full.deb\n";
    let other = "Package: other\nPriority: extra\n";
    let database = composed.database(&[other, index]);
    let status = expected.replace("Priority: optional\nSection: misc", "Priority: required\nSection: libs");
    assert_eq!(text(&database, "status"), status);
    assert_eq!(text(&database, "available"), format!("{other}\n{index}\n"));
}

#[test]
fn every_file_has_its_name_mode_and_time() {
    let composed = compose(&[full()]).unwrap();
    let database = composed.database(&[]);
    let paths: Vec<_> = database.iter().map(|file| file.path.trim_start_matches("var/lib/dpkg/")).collect();
    let expected = [
        "available",
        "cmethopt",
        "info/format",
        "info/full:amd64.conffiles",
        "info/full:amd64.list",
        "info/full:amd64.md5sums",
        "info/full:amd64.postinst",
        "info/full:amd64.triggers",
        "status",
        "triggers/File",
        "triggers/named",
    ];
    assert_eq!(paths, expected);
    let of = |path| file(&database, path).attributes;
    assert_eq!((of("info/full:amd64.postinst").mode, of("info/full:amd64.postinst").mtime), (0o755, 0o1750));
    assert_eq!((of("status").mode, of("status").mtime), (0o644, EPOCH));
    assert_eq!(text(&database, "triggers/File"), "/usr/share/full full:amd64/noawait\n");
    assert_eq!(text(&database, "triggers/named"), "full:amd64\n");
    assert_eq!((text(&database, "info/format"), text(&database, "cmethopt")), ("1\n".into(), "apt apt\n".into()));
}

#[test]
fn the_order_of_packages_does_not_matter() {
    let deb = |name: &str| Deb::new(name, "", &Tar::default().dir("./").file(&format!("./{name}"), ""));
    let names = |database: &[DatabaseFile]| text(database, "status").matches("Package: ").count();
    let mut composed = compose(&[deb("b0"), deb("a.1"), deb("a+1"), deb("a0")]).unwrap();
    let one = composed.database(&[]);
    assert_eq!(names(&one), 4);
    let status = text(&one, "status");
    let order: Vec<_> = status.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    assert_eq!(order, ["a+1", "a.1", "a0", "b0"]);
    composed.packages.reverse();
    assert_eq!(database(&composed.packages, &[], &[], EPOCH).unwrap(), one);
}
