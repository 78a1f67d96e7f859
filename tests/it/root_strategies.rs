//! Roots without an overlay: their content, which places can be written to, and that no change is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::EntryType;

use crate::image_config::debian;
use crate::support::context::{MIN, TestContext, tool};
use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, Content, layer, links, noise, pack};
use crate::support::kernel::{self, HOSTS};
use crate::support::process::Output;

/// An image of the small Debian and files where programs like to write, in the shared store.
fn image(world: &TestContext) -> &'static str {
    let big = noise(17 << 20);
    let deep = format!("tmp/{}file", "d/".repeat(250));
    let files: [(&str, &[u8]); 9] = [
        (&deep, b"deep"),
        ("root/.cargo/config.toml", b"of the image"),
        ("root/.profile", b"profile"),
        ("home/user/.cache/big", &big),
        ("home/user/.config/small", b"small"),
        ("var/tmp/left", b"left"),
        ("opt/tool/bin/tool", b"tool"),
        ("opt/tool/share/doc", b"doc"),
        ("etc/ssl/own.conf", b"conf"),
    ];
    let mut content = Content::default();
    let config = json!({ "Env": ["PATH=/usr/bin:/bin", "HOME=/home/user"] });
    let manifest = content.image_with(("linux", "amd64", None), &[debian(), layer(Codec::Zstd, &files)], &config);
    let name = "test.invalid/rungs/places:1";
    let _ = world.import(&content.tag("1", &manifest), name);
    name
}

fn sh(world: &TestContext, options: &[&str], script: &str) -> Output {
    world.hermes([&["run"], options, &["--", "sh", "-c", script]].concat()).output()
}

/// Size, mode and time of everything in the merged trees of the store.
struct Trees(Vec<(PathBuf, String)>);

impl Trees {
    fn of(world: &TestContext) -> Self {
        fn walk(at: &Path, found: &mut Vec<(PathBuf, String)>) {
            found.push((at.to_owned(), Trees::look(at)));
            if fs::symlink_metadata(at).unwrap().is_dir() {
                for entry in fs::read_dir(at).unwrap() {
                    walk(&entry.unwrap().path(), found);
                }
            }
        }
        let mut found = Vec::new();
        for chain in world.stored("roots") {
            walk(&world.store().join("roots").join(chain), &mut found);
        }
        Self(found)
    }

    fn look(at: &Path) -> String {
        let metadata = fs::symlink_metadata(at).unwrap();
        format!("{} {:o} {:?}", metadata.len(), metadata.permissions().mode(), metadata.modified().unwrap())
    }

    /// What is added to a directory or taken from it changes its time.
    #[track_caller]
    fn assert_same(&self) {
        assert!(!self.0.is_empty());
        for (path, seen) in &self.0 {
            assert_eq!(*seen, Self::look(path), "a run has changed the tree that all share: {}", path.display());
        }
    }
}

#[test]
fn a_merged_root_is_read_only_but_for_the_usual_places() {
    let Some(world) = TestContext::fixtures() else { return };
    let name = image(&world);
    let merged = ["--quiet", "--rootfs", "merged", "--image", name];
    let run = |script: &str| sh(&world, &merged, script);
    // Where the image has something it is there, and can be changed, removed and added to.
    let script = "cat /root/.cargo/config.toml /home/user/.config/small /var/tmp/left && \
        for p in / /tmp /var/tmp /run /var/log /var/cache /root /root/.cargo ~ ~/.config /home /etc /new/deep; do \
            mkdir -p $p && echo x >$p/made && mv $p/made $p/moved && cat $p/moved && rm $p/moved || echo no $p; done; \
        echo changed >/root/.cargo/config.toml; rm -r ~/.config /etc/hostname; echo root::0:0::/:/bin/sh >/etc/passwd; cat /root/.cargo/config.toml; ls -A ~ /root";
    let text = run(script).ok();
    let expected = format!(
        "of the imagesmallleft{}changed\n/home/user:\n.cache\n\n/root:\n.bashrc\n.cargo\n.profile",
        "x\n".repeat(13)
    );
    assert_eq!(text, expected);
    // What is too much to be copied is seen all the same.
    assert_eq!(run("wc -c <~/.cache/big; echo x >~/.cache/big || echo no").ok(), "17825792\nno");
    assert_eq!(run("find /tmp -name file | wc -c; echo x >/tmp/beside").ok(), "510");
    // All else is as it is.
    for path in ["/usr/made", "/usr/lib/made", "/opt/tool/bin/tool", "/etc/ssl/own.conf", "/var/lib/dpkg/status"] {
        let output = run(&format!("echo x >>{path}"));
        assert!(output.exits(2).stderr.contains("Read-only file system"), "{path}: {}", output.stderr);
    }
    // Modes and times are as an overlay shows them.
    let script = "stat -c '%n %a %u' / /tmp /var/tmp /root /etc /etc/passwd /home/user /var /usr; \
        stat -c '%n %Y' /etc/debian_version /var/tmp/left /root/.cargo /root/.profile ~/.cache/big /usr /bin";
    let overlay = sh(&world, &["--quiet", "--rootfs", "overlay", "--image", name], script);
    assert_eq!(run(script).ok(), overlay.ok());
    // And the next run has all that again.
    assert_eq!(
        run("cat /root/.cargo/config.toml; ls ~/.config /new 2>&1").exits(2).text(),
        "of the imagels: cannot access '/new': No such file or directory\n/home/user/.config:\nsmall"
    );
}

#[test]
fn mount_points_are_made_beside_what_the_image_has() {
    let Some(world) = TestContext::fixtures() else { return };
    let name = image(&world);
    let _ = sh(&world, &["--quiet", "--rootfs", "merged", "--image", name], "true").ok();
    let before = Trees::of(&world);
    world.write("../data/file", "data\n");
    let data = world.path().join("data");
    let to = |target: &str| format!("{}:{target}", data.display());
    let file = format!("{}:/opt/tool/bin/single:ro", data.join("file").display());
    let volumes = [
        to("/opt/tool/new/er/dir"),
        to("/opt/tool/share"),
        to("/usr/lib/hermes"),
        to("/top"),
        to("/opt/tool/bin/dir"),
        file,
    ];
    let mut options = vec!["--quiet", "--rootfs", "merged", "--image", name];
    for volume in &volumes {
        options.extend(["-v", volume]);
    }
    let script = "cat /opt/tool/new/er/dir/file /opt/tool/share/file /usr/lib/hermes/file /lib/hermes/file /top/file \
        /opt/tool/bin/dir/file /opt/tool/bin/single /opt/tool/bin/tool; echo; ls /opt/tool /opt/tool/bin; test -f /usr/lib/os-release && \
        echo y >/usr/lib/hermes/made; echo x >/opt/tool/bin/single; gzip --version | head -n 1";
    let output = sh(&world, &options, script);
    let text = output.ok();
    assert!(
        text.starts_with(&format!(
            "{}tool\n/opt/tool:\nbin\nnew\nshare\n\n/opt/tool/bin:\ndir\nsingle\ntool\ngzip",
            "data\n".repeat(7)
        )),
        "{text}"
    );
    assert!(output.stderr.contains("single: Read-only file system"), "{}", output.stderr);
    assert_eq!(world.read("../data/made"), "y\n");
    // A directory to start in that is not there is made too.
    let started =
        world.hermes(["run", "--quiet", "--rootfs", "merged", "--image", name, "-w", "/usr/share/a/b", "--", "pwd"]);
    assert_eq!(started.ok(), "/usr/share/a/b");
    before.assert_same();
}

#[test]
fn a_volume_that_is_read_only_gets_no_mount_point() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("../data/file", "");
    let (data, home) = (world.path().join("data"), world.path().join("home"));
    for kind in ["merged", "overlay"] {
        let volumes = [format!("{}:/data:ro", data.display()), format!("{}:/data/sub", home.display())];
        let options = ["--rootfs", kind, "-v", &volumes[0], "-v", &volumes[1]];
        world
            .sh(&options, "echo ran")
            .output()
            .refused(125, &["mounting a file or directory of the host", "Read-only file system"]);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }
}

#[test]
fn root_without_an_overlay_works_in_a_copy() {
    let Some(world) = TestContext::fixtures() else { return };
    let _ = sh(&world, &["--quiet", "--rootfs", "merged", "--image", MIN], "true").ok();
    let before = Trees::of(&world);
    let script = "rm -r /usr/share/doc && echo x >/usr/bin/new && echo changed >/etc/debian_version && \
        echo y >>/usr/lib/os-release && mkdir -p /opt/x && dpkg --clear-avail && id -u && cat /etc/debian_version && \
        stat -c '%a %u' /usr/bin/new /tmp | tr '\n' ' '";
    let output = sh(&world, &["--root", "--rootfs", "merged", "--image", MIN], script);
    assert_eq!(output.ok(), "0\nchanged\n644 0 1777 0 ");
    assert!(output.stderr.contains("--root works in a copy of the image: "), "{}", output.stderr);
    let size = output.stderr.split("a copy of the image: ").nth(1).unwrap().split(' ').next().unwrap();
    assert!((20.0..1000.0).contains(&size.parse::<f64>().unwrap()), "{size}");
    before.assert_same();
    // Its mount points need no skeleton.
    let volume = format!("{}:/usr/lib/hermes", world.path().join("home").display());
    let output = sh(&world, &["--root", "--rootfs", "merged", "--image", MIN, "-v", &volume], "ls -d /usr/lib/hermes");
    assert_eq!(output.ok(), "/usr/lib/hermes");
}

#[test]
fn a_refusal_is_found_out_once_and_told() {
    let Some(world) = TestContext::sandbox().filter(|_| kernel::available() && tool("strace")) else { return };
    let _ = world.import(&tiny("rung"), "test.invalid/tiny:1");
    let words = ["run", "--image", "test.invalid/tiny:1", "--", "tool"];
    assert_eq!(world.hermes(words).ok(), "rung amd64");
    assert_eq!(world.last_record()["root-strategy"], "overlay");
    let world = world.on("no-overlay");
    let first = world.hermes(words).output();
    assert_eq!(first.ok(), "rung amd64");
    assert!(
        first.stderr.contains("no overlay can be mounted here (mount overlay: Operation not permitted"),
        "{}",
        first.stderr
    );
    assert_eq!(world.last_record()["root-strategy"], "merged");
    // Not tried again, and not told again.
    let log = world.path().join("trace");
    let second = world.hermes(words).strace(&log, "trace=mount").output();
    assert_eq!(second.ok(), "rung amd64");
    assert!(!second.stderr.contains("overlay"), "{}", second.stderr);
    let mounts = fs::read_to_string(&log).unwrap();
    assert!(mounts.contains("tmpfs") && !mounts.contains("\"overlay\""), "{mounts}");
    // Who insists is refused.
    let output = world.hermes([&["run", "--rootfs", "overlay"], &words[1..]].concat()).output();
    output.refused(
        125,
        &["the overlay of the image's layers", "Operation not permitted", "hint: overlays", "--rootfs overlay"],
    );
    // Doctor reports both, and that native programs run.
    let report = world.json(&["doctor"]);
    let finding =
        |name: &str| report["findings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!(finding("overlay")["ok"], false);
    assert!(finding("overlay")["remedies"][0].as_str().unwrap().contains("Linux 5.11"));
    assert_eq!((&finding("merged tree")["ok"], &report["native"]), (&json!(true), &json!(true)));
    // A pull has the tree ready.
    let _ = world.import(&tiny("other"), "test.invalid/other:1");
    let made = world.stored("roots").len();
    world.hermes(["pull", "--image", "test.invalid/other:1"]).ok();
    assert_eq!(world.stored("roots").len(), made + 1);
    // What holds in there is not for those outside, who share the store.
    let world = world.on("");
    let outside = world.hermes(words).output();
    assert_eq!((outside.ok().as_str(), outside.stderr.as_str()), ("rung amd64", ""));
    assert_eq!(world.last_record()["root-strategy"], "overlay");
    // Where it is no longer so, doctor forgets it.
    let circumstances = fs::read_to_string(world.store().join("overlay-refused")).unwrap();
    let own = circumstances.rsplit_once(' ').unwrap().0;
    fs::write(world.store().join("overlay-refused"), format!("{own} 0/0\n")).unwrap();
    let _ = world.hermes(words).ok();
    assert_eq!(world.last_record()["root-strategy"], "merged");
    let _ = world.hermes(["doctor"]).ok();
    let _ = world.hermes(words).ok();
    assert_eq!(world.last_record()["root-strategy"], "overlay");
    // One that was cut short, or says something else, is as none.
    for text in ["", "nonsense", &format!("{own}\n"), "\0\0\0"] {
        fs::write(world.store().join("overlay-refused"), text).unwrap();
        let _ = world.hermes(words).ok();
        assert_eq!(world.last_record()["root-strategy"], "overlay");
    }
}

#[test]
fn t25_links_and_files_in_the_place_of_what_is_mounted() {
    let Some(world) = TestContext::in_memory().filter(|_| kernel::available()) else { return };
    let outside = world.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    let (absolute, file) = (outside.display().to_string(), outside.join("file").display().to_string());
    let up = format!("{}{file}", "../".repeat(20));
    let places = ["proc", "dev", "sys", "tmp", "etc/resolv.conf", "etc/hosts", "etc", "work", "run", "root", "home"];
    let kinds = [("absolute", absolute), ("up", up), ("file", file), ("is-file", String::new())];
    let mut names = Vec::new();
    for (at, place) in places.iter().enumerate() {
        for (kind, target) in &kinds {
            let tool = layer(Codec::Plain, &[("bin/tool", &program(Machine::Amd64, "ran\n", 0))]);
            let above =
                if target.is_empty() { layer(Codec::Plain, &[(place, b"x")]) } else { links(&[(place, target)]) };
            let mut content = Content::default();
            let manifest = content.image(("linux", "amd64", None), &[tool, above]);
            let name = format!("test.invalid/t25/{at}-{kind}:1");
            let _ = world.import(&content.tag("1", &manifest), &name);
            names.push((place, name));
        }
    }
    let mut world = world;
    for host in HOSTS {
        world = world.on(host);
        for (place, name) in &names {
            let output = world.hermes(["run", "--quiet", "--net", "host", "--image", name, "--", "tool"]).output();
            assert!([0, 125].contains(&output.code()), "{host:?} {name}: {}", output.stderr);
            if output.code() == 0 {
                assert_eq!((output.text().as_str(), output.stderr.as_str()), ("ran", ""), "{host:?} {place}");
            } else {
                output.refused(125, &["which prevents the mount"]);
            }
            let found: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(found, ["file"], "{host:?}: {name} leads outside");
            assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside", "{host:?} {name}");
            // A system directory is never mounted through a link, nor over a file.
            assert!(output.code() == 125 || !["proc", "dev", "sys"].contains(place), "{host:?} {name}");
        }
    }
}

#[test]
fn a_file_system_without_hard_links() {
    let Some(world) = TestContext::in_memory().filter(|_| kernel::available()) else { return };
    let mut world = world.on("no-links");
    // A layer with hard links of its own, to a file and to a link.
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, target: Option<&str>, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(1_500_000_000);
        header.set_size(bytes.len() as u64);
        match target {
            Some(target) => tar.append_link(&mut header, name, target).unwrap(),
            None => tar.append_data(&mut header, name, bytes).unwrap(),
        }
    };
    let program = program(Machine::Amd64, "linked\n", 0);
    add("bin/first", EntryType::Regular, None, &program);
    add("bin/tool", EntryType::Link, Some("bin/first"), b"");
    add("bin/link", EntryType::Symlink, Some("first"), b"");
    add("bin/link-too", EntryType::Link, Some("bin/link"), b"");
    let hard = pack(Codec::Gzip, tar.into_inner().unwrap());
    let diff_id = hard.diff_id();
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &[("etc/low", b"low")]), hard]);
    let name = "test.invalid/hard:1";
    let _ = world.import(&content.tag("1", &manifest), name);
    for kind in ["overlay", "merged"] {
        for tool in ["tool", "link-too"] {
            assert_eq!(world.hermes(["run", "--rootfs", kind, "--image", name, "--", tool]).ok(), "linked", "{kind}");
        }
    }
    let output = world.hermes(["run", "--root", "--rootfs", "merged", "--image", name, "--", "tool"]).output();
    assert_eq!(output.ok(), "linked");
    world.hermes(["verify"]).ok();
    // The layer means the same as before: its export has the links.
    let archive = world.path().join("archive.tar");
    world.hermes(["export", name, archive.to_str().unwrap()]).ok();
    // A copy that is not what it should be is found.
    let copy = world.store().join("layers").join(diff_id.hex()).join("fs/bin/tool");
    assert_eq!(fs::metadata(&copy).unwrap().len(), program.len() as u64);
    fs::write(&copy, vec![b'x'; program.len()]).unwrap();
    let output = world.hermes(["verify", "--dry-run"]).output();
    assert!(
        output.exits(3).stderr.contains("bin/tool") || output.text().contains("bin/tool"),
        "{}{}",
        output.text(),
        output.stderr
    );
    // Elsewhere links are links.
    world = world.on("");
    let _ = world.hermes(["verify"]).output();
    assert_eq!(world.hermes(["run", "--image", name, "--", "tool"]).ok(), "linked");
}

#[test]
fn before_linux_6_6_a_store_without_extended_attributes_takes_no_overlay() {
    let Some(world) = TestContext::in_memory().filter(|_| tool("strace")) else { return };
    let _ = world.import(&tiny("plain"), "test.invalid/tiny:1");
    let words = ["run", "--image", "test.invalid/tiny:1", "--", "tool"];
    // Neither the memory nor the store's file system takes the marks of an overlay.
    let log = world.path().join("trace");
    let output = world.hermes(words).strace(&log, "inject=getxattr,setxattr:error=EOPNOTSUPP").output();
    assert_eq!(output.ok(), "plain amd64");
    assert!(
        output.stderr.contains("no overlay can be mounted here (the store's file system has no extended attributes)")
    );
    assert_eq!(world.last_record()["root-strategy"], "merged");
}
