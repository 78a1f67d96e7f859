//! `--root`: programs that change owners, with one user.

use crate::support::process::{Run, Running};
use crate::support::require;
use crate::support::world::{DEBIAN, World, fixtures, tool};

/// Packages served on loopback, and where.
struct Mirror {
    server: Running,
    uri: String,
}

/// `None`, with a SKIP line, where there are none.
fn mirror() -> Option<Mirror> {
    let directory = fixtures().map(|fixtures| fixtures.join("repository"));
    let directory = directory.and_then(|directory| {
        let there = directory.join("Packages").exists();
        if there { Ok(directory) } else { Err("no packages; run scripts/fixtures repository".to_owned()) }
    });
    if !require("fixtures", directory.as_ref().map(drop).map_err(Clone::clone)) || !tool("python3") {
        return None;
    }
    let words = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"];
    let server = Run::new("python3").args(words).args([directory.unwrap()]).start();
    let said = server.until("http://");
    let uri = said[said.find("http://").unwrap()..].split(')').next().unwrap().to_owned();
    Some(Mirror { server, uri })
}

/// A package with files of other users, and of the names and numbers that `install_packages` looks at.
const PACKAGES: &str = r#"
export DEBIAN_FRONTEND=noninteractive
echo "deb [trusted=yes] $URI ./" >/etc/apt/sources.list
apt-get -q update && apt-get -q -y install build-essential rpm libcap2-bin
printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n' >hello.c && gcc -o hello hello.c && ./hello

mkdir -p deb/DEBIAN deb/srv && echo text >deb/srv/of-daemon
printf 'Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: owners\n' >deb/DEBIAN/control
tar -czf control.tar.gz --owner=0 --group=0 -C deb/DEBIAN ./control
tar -czf data.tar.gz --owner=daemon:1 --group=mail:8 -C deb ./srv && echo 2.0 >debian-binary
ar r odd.deb debian-binary control.tar.gz data.tar.gz && dpkg -i odd.deb && cat /srv/of-daemon

cat >odd.spec <<SPEC
Name: odd
Version: 1
Release: 1
Summary: owners
License: none
BuildArch: noarch
%description
%install
mkdir -p %{buildroot}/srv
echo text >%{buildroot}/srv/of-nobody
%files
%attr(0640, nobody, mail) /srv/of-nobody
SPEC
rpmbuild --quiet -bb --define "_topdir $PWD/rpm" odd.spec && rpm -i rpm/RPMS/noarch/odd-1-1.noarch.rpm && cat /srv/of-nobody

cp /bin/true with-capability && setcap cap_net_raw+ep with-capability && getcap with-capability
"#;

#[test]
fn packages_are_installed() {
    let Some(world) = World::fixtures() else { return };
    let Some(mirror) = mirror() else { return };
    let script = format!("set -e; mkdir /build; cd /build\nURI={}\n{PACKAGES}", mirror.uri);
    let output = world.sh(&["--root", "--net", "host"], &script).output();
    let text = output.ok();
    for line in ["compiled", "text\ntext\nwith-capability cap_net_raw=ep"] {
        assert!(text.contains(line) || text.replace("odd-1-1\n", "").contains(line), "no {line:?} in {text}");
    }
    for bad in ["Operation not permitted", "Invalid argument", "dpkg: error"] {
        assert!(!output.stderr.contains(bad) && !text.contains(bad), "{text}\n{}", output.stderr);
    }
    drop(mirror.server);
}

/// What changes owners, a line each.
const OWNERS: &[&str] = &[
    "useradd --create-home ann && grep -q ann /etc/passwd && test -d /home/ann",
    "mkdir -p tree/in && chown -R nobody:mail tree && chown -h 7 /bin/sh",
    "touch file && install -o root -g mail file /usr/local/share",
    "touch a && tar -cf of-many.tar --owner=ann:5000 --group=them:6000 a && rm a && tar -xpf of-many.tar && test -f a",
    "perl -e '$) = \"8 8\"; $( = 8; ($<, $>) = (1, 1); exec \"true\"'",
    "setpriv --reuid=33 --regid=33 --clear-groups true",
    "su daemon -s /bin/sh -c true",
    "mknod device c 1 3 && mknod device b 8 0 && mknod pipe p && test -p pipe",
];

#[test]
fn what_changes_owners_succeeds() {
    let Some(world) = World::fixtures() else { return };
    for line in OWNERS {
        let script = |line| format!("set -e; mkdir /here; cd /here; useradd -M ann2; {line}");
        world.sh(&["--root"], &script(line)).output().ok();
    }
}

#[test]
fn what_can_be_done_in_truth_is_left_to_the_kernel() {
    let Some(world) = World::fixtures() else { return };
    for (line, error) in [
        ("chown 0:0 missing", "No such file"),
        ("chown -h root missing", "No such file"),
        ("chgrp root missing", "No such file"),
        ("mknod /missing/pipe p", "No such file"),
        ("chown 0:0 /readonly", "Read-only file system"),
    ] {
        let bind = format!("{}:/readonly:ro", world.work().display());
        let output = world.sh(&["--root", "-v", &bind], line).output();
        assert!(output.exits(1).stderr.contains(error), "{line}: {}", output.stderr);
    }
    let text = world.sh(&["--root"], "touch f && chown 0:0 f && stat -c %u:%g f && mkfifo p && test -p p").ok();
    assert_eq!(text, "0:0");
}

#[test]
fn without_fake_root_the_truth_is_told() {
    let Some(world) = World::fixtures() else { return };
    let fails = |options: &[&str], line: &str| {
        let output = world.sh(options, line).output();
        assert!(output.code() != 0, "{options:?} {line}: {}", output.text());
    };
    for line in ["touch /f; chown 1:1 /f", "mknod /device c 1 3", "setpriv --reuid=33 true"] {
        fails(&["--root", "--fake-root", "off"], line);
    }
    // Who is not user 0 is told nothing else than ever.
    fails(&[], "touch f; chown 12345:12345 f");
    world.sh(&["--fake-root", "stateless"], "true").output().refused(2, &["--root"]);
}

#[test]
fn foreign_programs_are_told_the_same() {
    let Some(world) = World::foreign() else { return };
    for platform in ["arm64", "386"] {
        let words = ["run", "--root", "--image", DEBIAN, "--platform", platform, "--", "sh", "-c"];
        let script = "touch /f && chown nobody:mail /f && mknod /d c 1 3 && uname -m";
        world.hermes([&words[..], &[script]].concat()).output().exits(0);
    }
}
