//! `--root` with a single user: programs that change the owners of files.

use crate::support::context::{DEBIAN, TestContext, fixtures, tool};
use crate::support::process::{Run, Running};
use crate::support::require;

/// Packages served on loopback, and where.
struct Mirror {
    server: Running,
    uri: String,
}

/// `None` where the fixtures are missing.
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

/// Packages from the mirror, and two with files of other users, one of each kind.
const PACKAGES: &str = r#"
export DEBIAN_FRONTEND=noninteractive
echo "deb [trusted=yes] $URI ./" >/etc/apt/sources.list
apt-get -q update && apt-get -q -y install binutils rpm libcap2-bin

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

/// Installs them, then runs `more`, and gives what that printed.
fn install_packages(options: &[&str], more: &str) -> Option<String> {
    let world = TestContext::fixtures()?;
    let mirror = mirror()?;
    let script = format!("set -e; mkdir /build; cd /build\nURI={}\n{PACKAGES}\necho; echo more; {more}", mirror.uri);
    let output = world.sh(&[&["--root", "--net", "host"], options].concat(), &script).output();
    let text = output.ok();
    for (line, times) in [("text", 2), ("with-capability cap_net_raw=ep", 1)] {
        assert_eq!(text.lines().filter(|found| *found == line).count(), times, "{line:?} in {text}");
    }
    for bad in ["Operation not permitted", "Invalid argument", "dpkg: error"] {
        assert!(!output.stderr.contains(bad) && !text.contains(bad), "{text}\n{}", output.stderr);
    }
    drop(mirror.server);
    text.split_once("\nmore\n").map(|(_, more)| more.to_owned())
}

#[test]
fn packages_are_installed() {
    // Most of what the mirror has, and what it is for.
    let more = r#"apt-get -q -y install build-essential >/dev/null
        echo 'int main(void) { return puts("compiled") < 0; }' >hello.c && gcc -include stdio.h -o hello hello.c && ./hello"#;
    let Some(text) = install_packages(&[], more) else { return };
    assert_eq!(text, "compiled");
}

#[test]
fn packages_are_installed_and_their_files_have_owners() {
    let more = "stat -c %U:%G /srv/of-daemon /srv/of-nobody; rpm -V odd && echo verified";
    let want = "daemon:mail\nnobody:mail\nverified";
    for options in [&["--fake-root", "stateful"][..], &["--userns", "range"]] {
        if options[1] == "range" && !range() {
            continue;
        }
        let Some(text) = install_packages(options, more) else { return };
        assert_eq!(text, want, "{options:?}");
    }
}

/// Whether this user has a range of ids.
pub fn range() -> bool {
    let user = crate::support::run("id", &["-un"], std::path::Path::new("/"));
    let has = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.split(':').next() == Some(user.trim()))
    };
    let there = has("/etc/subuid") && has("/etc/subgid");
    tool("newuidmap") && require("subuid", if there { Ok(()) } else { Err("no range in /etc/subuid".into()) })
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
    "mknod c c 1 3 && mknod b b 8 0 && mknod pipe p && test -p pipe",
];

#[test]
fn what_changes_owners_succeeds() {
    let Some(world) = TestContext::fixtures() else { return };
    for line in OWNERS {
        for how in ["stateless", "stateful"] {
            let script = format!("set -e; mkdir /here; cd /here; {line}");
            world.sh(&["--root", "--fake-root", how], &script).ok();
        }
    }
}

/// What changes owners, and what is then seen of it, a line each.
const SEEN: &[(&str, &str)] = &[
    (
        "touch f; chown nobody:mail f; stat -c %U:%G f; chgrp 0 f; stat -c %U:%G f; ls -l f | cut -d' ' -f3,4",
        "nobody:mail\nnobody:root\nnobody root",
    ),
    ("touch f; chown 1:2 f; chown 0 f; stat -c %u:%g f; chown 0:0 f; stat -c %u:%g f", "0:2\n0:0"),
    ("touch f; chown 70000:4294967294 f; stat -c %u:%g f", "70000:4294967294"),
    // The link, not what it leads to, and the other way round.
    ("touch f; ln -s f l; chown -h 5:6 l; stat -c %u l f; chown 7 l; stat -c %u l f; stat -Lc %u l", "5\n0\n5\n7\n7"),
    ("touch f; chown 5 f; test -O f || echo another; rm f; touch f; test -O f && echo own", "another\nown"),
    (
        "touch a; chown 5 a; mv a b; ln b c; stat -c %u b c; cp -a b d; stat -c %u d; mv d /tmp; stat -c %u /tmp/d; cp b e; stat -c %u e",
        "5\n5\n5\n5\n0",
    ),
    (
        "mkdir -p t/in; touch t/in/f; chown -R 33:44 t; chown 1 t/in; find t -user 33 | sort; find t -uid 1 -gid 44",
        "t\nt/in/f\nt/in",
    ),
    // Of the image: a file with one name, one with two, a directory.
    (
        "chown 5 /etc/debian_version /usr/bin/perl /usr; stat -c %u /etc/debian_version /usr/bin/perl /usr; echo x >>/etc/debian_version; \
      stat -c %u /etc/debian_version",
        "5\n5\n5\n5",
    ),
    (
        "mknod c c 1 3; mknod b b 8 300; stat -c '%F %t %T %a' c b; chown 3 c; chmod 600 c; stat -c '%F %u %a' c; test -c c && echo device",
        "character special file 1 3 644\nblock special file 8 12c 644\ncharacter special file 3 600\ndevice",
    ),
    (
        "umask 077; mknod c c 1 3; stat -c %a c; mknod c c 1 3 2>/dev/null || echo once; mkdir d; mknod d/../e b 1 1; test -b e && echo there",
        "600\nonce\nthere",
    ),
    (
        "touch f g; chown 1:2 f; chown 3:4 g; mknod d c 5 6; tar -cf t.tar f g d; rm f g d; tar --numeric-owner -tvf t.tar | cut -c1,11-15 | tr -s ' '; \
      tar -xpf t.tar; stat -c '%u %t' f d",
        "- 1/2 \n- 3/4 \nc 0/0 \n1 0\n0 5",
    ),
    // Through descriptors, and names of descriptors.
    (
        "touch f; exec 5<>f; chown 9 /dev/fd/5; stat -Lc %u /proc/self/fd/5 /dev/fd/5 f; chown 8 /dev/stdin <f; stat -c %u - <f",
        "9\n9\n9\n8",
    ),
    (
        "chown 5:5 /dev/null; stat -c %u /dev/null; chown 5 missing 2>&1 | grep -o 'No such.*'",
        "5\nNo such file or directory",
    ),
    (
        "mkdir d; cd d; chown 5 .; stat -c %u . ../d; perl -e 'print +(stat(\".\"))[4], \" \", +(lstat(\"../d\"))[4]'",
        "5\n5\n5 5",
    ),
    // Set-user-id goes when the owner changes, and can be had again.
    ("cp /bin/true s; chmod 4755 s; chown 5 s; stat -c %a s; chmod 4755 s; stat -c '%u %a' s", "755\n5 4755"),
];

#[test]
fn with_state_what_was_done_is_seen() {
    let Some(world) = TestContext::fixtures() else { return };
    for (script, want) in SEEN {
        for place in ["/here", "/work"] {
            let name = format!("{place}/{}", want.len() * 1000 + script.len());
            let script = format!("set -e; mkdir -p {name}; cd {name}; {script}");
            let text = world.sh(&["--root", "--fake-root", "stateful"], &script).ok();
            assert_eq!(text.trim_end(), want.trim_end(), "{script}");
        }
    }
}

#[test]
fn with_state_programs_of_both_widths_agree() {
    let Some(world) = TestContext::foreign() else { return };
    for platform in ["amd64", "arm64", "386", "arm/v5"] {
        let words =
            ["run", "--root", "--fake-root", "stateful", "--image", DEBIAN, "--platform", platform, "--", "sh", "-c"];
        let script = "touch /f && chown 70000:mail /f && mknod /d c 1 3 && stat -c '%u:%G %F' /f /d && rm /f && touch /f && stat -c %u /f
            cd / && perl -e '@s = stat(\"d\"); print \"@s[4,5,6] $s[2]\"'";
        let text = world.hermes([&words[..], &[script]].concat()).ok();
        assert_eq!(text, "70000:mail regular empty file\n0:root character special file\n0\n0 0 259 8612", "{platform}");
    }
}

#[test]
fn with_state_many_processes_are_answered_and_none_waits_for_ever() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "cd /tmp; for i in 1 2 3 4 5 6 7 8; do (for n in $(seq 40); do touch $i.$n; chown $i $i.$n; stat -c %u $i.$n; rm $i.$n; done >$i.log) & done
        while :; do stat / >/dev/null; done & busy=$!; wait %1 %2 %3 %4 %5 %6 %7 %8; kill -9 $busy
        for i in 1 2 3 4 5 6 7 8; do sort -u $i.log; grep -c . $i.log; done; sleep 1000 & (while :; do stat /etc >/dev/null; done) & exit 3";
    let output = world.sh(&["--root", "--fake-root", "stateful"], script).output();
    let want: Vec<String> = (1..=8).map(|i| format!("{i}\n40")).collect();
    assert_eq!(output.exits(3).text(), want.join("\n"));
}

#[test]
fn without_a_listener_there_is_no_state() {
    let Some(world) = TestContext::fixtures() else { return };
    if !tool("strace") {
        return;
    }
    let run = world.sh(&["--root", "--fake-root", "stateful"], "echo ran");
    let output = run.strace(&world.path().join("trace"), "inject=seccomp:error=EBUSY").output();
    output.refused(125, &["listening to system calls", "--fake-root stateless"]);
}

#[test]
fn with_a_range_owners_are_real() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(world) = TestContext::fixtures() else { return };
    if !range() {
        return;
    }
    let options = ["--root", "--userns", "range"];
    for (line, want) in [
        ("touch f; chown nobody:mail f; stat -c %U:%G f; test -O f || echo another", "nobody:mail\nanother"),
        ("setpriv --reuid=33 --regid=8 --clear-groups id -u; id -G", "33\n0"),
        (
            "su daemon -s /bin/sh -c 'touch /etc/mine 2>&1 || id -un'",
            "touch: cannot touch '/etc/mine': Permission denied\ndaemon",
        ),
        ("grep -c . /proc/self/uid_map; cat /proc/self/setgroups", "2\nallow"),
    ] {
        assert_eq!(world.sh(&options, line).ok(), want, "{line}");
    }
    let _ = world
        .sh(&options, "touch theirs mine; chown 33 theirs; mount -t tmpfs t /mnt || unshare -r true || rm /work/none")
        .output();
    let (mine, theirs) =
        ["mine", "theirs"].map(|name| std::fs::metadata(world.work().join(name)).unwrap().uid()).into();
    assert_eq!(mine, rustix::process::getuid().as_raw());
    assert!(theirs != mine && theirs > 32, "{theirs}");
    world.sh(&options, "rm theirs").ok();
    // What it takes is asked for by name.
    let without = world.sh(&options, "true").env("PATH", "/nowhere").output();
    without.refused(125, &["newuidmap", "uidmap"]);
    // A helper in the working directory belongs to the project, and is not used.
    world.write("newuidmap", "#!/bin/sh\ntouch ran\n");
    std::fs::set_permissions(world.work().join("newuidmap"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    world.sh(&options, "true").env("PATH", ".:").output().refused(125, &["newuidmap"]);
    assert!(!world.work().join("ran").exists());
    if tool("strace") {
        let lacks = |call: &[&str], parts: &[&str]| {
            let words = [&["strace", "-f", "-qq", "-o", "/dev/null"][..], call].concat();
            world.sh(&options, "true").under(&words).output().refused(125, parts);
        };
        lacks(&["-P", "/etc/subgid", "-e", "inject=openat:error=ENOENT"], &["/etc/subgid has no range", "usermod"]);
        lacks(&["-e", "inject=getxattr:error=EOPNOTSUPP"], &["an overlay in memory", "Linux 6.6"]);
    }
    let words: Vec<&str> = ["--userns", "range", "--root", "--fake-root", "stateful"].into();
    world.sh(&words, "true").output().refused(2, &["--fake-root"]);
}

#[test]
fn what_can_be_done_in_truth_is_left_to_the_kernel() {
    let Some(world) = TestContext::fixtures() else { return };
    for (line, error) in [
        // chown(1) looks whether there is a file; the call itself is what counts.
        ("perl -e 'chown(0, 0, \"missing\") or die $!' || exit 1", "No such file"),
        ("perl -e 'chown(0, -1, \"missing\") or die $!' || exit 1", "No such file"),
        ("perl -e 'chown(-1, 0, \"missing\") or die $!' || exit 1", "No such file"),
        ("mknod /missing/pipe p", "No such file"),
        ("chown 0:0 /readonly", "Read-only file system"),
    ] {
        let bind = format!("{}:/readonly:ro", world.work().display());
        let output = world.sh(&["--root", "-v", &bind], line).output();
        assert!(output.exits(1).stderr.contains(error), "{line}: {}", output.stderr);
    }
    world.sh(&["--root"], "perl -e 'chown(0, 1, \"missing\") or die $!'").ok();
    let text = world.sh(&["--root"], "touch f && chown 0:0 f && stat -c %u:%g f && mkfifo p && test -p p").ok();
    assert_eq!(text, "0:0");
}

#[test]
fn without_fake_root_the_truth_is_told() {
    let Some(world) = TestContext::fixtures() else { return };
    let fails = |options: &[&str], line: &str| {
        let output = world.sh(options, line).output();
        assert!(output.code() != 0, "{options:?} {line}: {}", output.text());
    };
    for line in ["touch /f; chown 1:1 /f", "mknod /device c 1 3", "setpriv --reuid=33 true"] {
        fails(&["--root", "--fake-root", "off"], line);
    }
    // Users other than 0 get the true answers.
    fails(&[], "touch f; chown 12345:12345 f");
    world.sh(&["--fake-root", "stateless"], "true").output().refused(2, &["--root"]);
}

#[test]
fn foreign_programs_are_told_the_same() {
    let Some(world) = TestContext::foreign() else { return };
    for platform in ["arm64", "386"] {
        let words = ["run", "--root", "--image", DEBIAN, "--platform", platform, "--", "sh", "-c"];
        let script = "touch /f && chown nobody:mail /f && mknod /d c 1 3 && uname -m";
        world.hermes([&words[..], &[script]].concat()).output().exits(0);
    }
}

/// The kinds of root that this user can have.
fn roots() -> Vec<Vec<&'static str>> {
    let mut roots: Vec<Vec<&str>> =
        ["stateless", "stateful"].map(|fake| vec!["--quiet", "--root", "--fake-root", fake]).into();
    if range() {
        roots.push(vec!["--quiet", "--root", "--userns", "range"]);
    }
    roots
}

#[test]
fn root_may_change_to_the_root_that_it_has() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = r#"
        symlink "/", "/tmp/link"; chdir "/usr/share" or die;
        for my $same ("/", ".././..", "/tmp/link", "/proc/self/../..") { chroot $same or die "$same: $!" }
        for my $other ("/usr", ".", "/proc", "/work") { chroot $other and die "$other is the root now"; $! == 1 or die "$other: $!" }
        chroot "/missing" and die; $! == 2 or die "$!"; chroot "/etc/passwd" and die; $! == 20 or die "$!";
        -e "share/doc" or chdir "/usr" and -e "share/doc" or die "it is another root""#;
    let off = vec!["--quiet", "--root", "--fake-root", "off"];
    for options in roots().iter().chain([&off]) {
        // chroot(8), which changes its directory too, has its scripts run.
        world
            .sh(options, &format!("perl -e '{script}' && chroot / /bin/sh -c 'test -d /work && exit 3'"))
            .output()
            .exits(3);
    }
    let output = world.sh(&["--root", "--explain"], "chroot / true && ! chroot /usr true").output();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_ne!(world.sh(&[], "chroot / true").output().code(), 0);
}

#[test]
fn directories_of_the_kernel_can_be_given_to_root() {
    let Some(world) = TestContext::fixtures() else { return };
    // As rpm does for its package `filesystem`.
    let script = r#"chown(0, 0, "/proc", "/sys", "/proc/self", "/sys/kernel") == 4 or die "chown: $!";
        open(my $f, "<", "/proc/version") or die; chown(0, 0, $f) == 1 or die "fchown: $!"; chmod(0555, "/proc") or $!{EPERM} or die;
        -e "/missing" or chown(0, 0, "/missing") == 0 or die; $! == 2 or die "missing: $!""#;
    for options in roots() {
        world.sh(&options, &format!("perl -MErrno -e '{script}' && chown -h 0:0 /proc /sys")).ok();
    }
}
