//! `hermes run --output`, and `hermes rebuild` of recorded runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use hermes::testing::digest::Digest;
use serde_json::{Value, json};

use crate::support::context::{DEBIAN, MIN, TestContext};
use crate::support::process::{Output, Run};

/// The last record of a run in this context.
fn last(world: &TestContext) -> Value {
    world.json(&["log", "show"])
}

/// What is kept beside the records.
fn kept(world: &TestContext, directory: &str, digest: &Value, ending: &str) -> PathBuf {
    let digest: Digest = digest.as_str().unwrap().parse().unwrap();
    world.store().join("records").join(directory).join(format!("{}{ending}", digest.hex()))
}

fn built(world: &TestContext, options: &[&str], script: &str) -> Run {
    world.sh(&[&["--output", "out"], options].concat(), script)
}

fn rebuild(world: &TestContext, options: &[&str]) -> Run {
    world.hermes([&["rebuild"], options].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr))
}

/// Removes what a rebuild left, which else stays a week.
fn remove(tree: &Value) {
    let place = PathBuf::from(tree.as_str().unwrap());
    fs::remove_dir_all(place.parent().unwrap()).unwrap();
}

#[test]
fn outputs_are_recorded() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("src/a", "a");
    let script = "mkdir -p out/sub; printf 12345 >out/file; chmod 640 out/file; ln out/file out/sub/again; \
                  ln -s ../file out/sub/link; mkfifo out/fifo; printf x >\"out/a b%\"; printf other >elsewhere; mkdir out/empty";
    built(&world, &["--output", "./elsewhere"], script).ok();
    let record = last(&world);
    let outputs = record["outputs"].as_array().unwrap();
    assert_eq!((outputs.len(), &outputs[0]["path"], &outputs[1]["path"]), (2, &json!("out"), &json!("elsewhere")));
    assert_eq!((&outputs[0]["files"], &outputs[0]["bytes"]), (&json!(2), &json!(6)), "a file with two names is one");
    let text = fs::read_to_string(kept(&world, "trees", &outputs[0]["tree"], "")).unwrap();
    let of = |text: &str| Digest::of(text.as_bytes()).hex();
    let want = format!(
        "hermes-tree 1\nd 0755 .\nf 0644 1 {} a%20b%25\nd 0755 empty\np 0644 fifo\nf 0640 5 {} file\nd 0755 sub\n\
         h file sub/again\nl ../file sub/link\n",
        of("x"),
        of("12345")
    );
    assert_eq!(text, want);
    let text = fs::read_to_string(kept(&world, "trees", &outputs[1]["tree"], "")).unwrap();
    assert_eq!(text, format!("hermes-tree 1\nf 0644 5 {} .\n", of("other")));
    // The project before it, without what it made.
    let text = fs::read_to_string(kept(&world, "trees", &record["project"]["tree"], "")).unwrap();
    assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), ["d 0755 src", &format!("f 0644 1 {} src/a", of("a"))]);
    assert!(world.hermes(["log", "show"]).ok().contains("out: 2 files, 6 bytes"));

    // Without, nothing is read.
    world.sh(&[], "true").ok();
    assert_eq!((&last(&world)["outputs"], &last(&world)["project"]["tree"]), (&Value::Null, &Value::Null));
    // A command that fails has made nothing.
    built(&world, &[], "exit 3").output().exits(3);
    assert_eq!(last(&world)["outputs"], Value::Null);
    for path in ["../out", "/etc", "."] {
        let output = world.hermes(["run", "--image", MIN, &format!("--output={path}"), "--", "true"]).output();
        output.refused(2, &["is outside the project"]);
    }
    // What is missing is an error after a run that is on record.
    let output = world.sh(&["--output", "none"], "echo ran").output();
    assert_eq!(output.exits(125).text(), "ran");
    assert!(output.stderr.contains("did not create none"), "{}", output.stderr);
    assert_eq!((&last(&world)["argv"][2], &last(&world)["outputs"]), (&json!("echo ran"), &Value::Null));
}

#[test]
fn a_project_in_c_is_rebuilt_to_the_byte_and_one_that_is_not() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("f.c", "int f(void) { return NUMBER; }\n");
    world.write(
        "Makefile",
        "all: out/libf.so\nf.o: f.c\n\t$(CC) -g -fPIC -DNUMBER=$(NUMBER) -c f.c\nout/libf.so: f.o\n\tmkdir -p out\n\t$(CC) -shared -o $@ f.o\n",
    );
    let make = |number: &str| {
        let words = ["run", "--image", DEBIAN, "--output", "out", "-e", "NUMBER", "--", "make", "-s"];
        world.hermes(words).env("NUMBER", number).ok();
    };
    make("1");
    let id = last(&world)["id"].as_str().unwrap().to_owned();
    let hex = id.strip_prefix("sha256:").unwrap();
    // What it left in the project besides is no input of the next one.
    assert!(world.work().join("f.o").exists());
    let output = rebuild(&world, &["--check", "--json"]).env("NUMBER", "1").output();
    let found = json(output.exits(0));
    assert_eq!((&found["same"], &found["compared"], &found["record"]), (&json!(true), &json!(1), &json!(id)));
    assert!(output.stderr.contains("not copied: f.o, out"), "{}", output.stderr);
    assert_eq!(found["build"]["tree"], Value::Null);
    // The last run of this directory is still that one.
    assert_eq!(last(&world)["id"], id);
    let repeated = world.json(&["log", "-n", "200"]);
    let repeated = repeated["runs"].as_array().unwrap().iter().filter(|run| run["repeats"] == id).count();
    assert_eq!(repeated, 1);

    // Another secret, another library; what the record says of it is still in the project and is looked into.
    let output = rebuild(&world, &["--check", &hex[..10]]).env("NUMBER", "2").output();
    let text = output.exits(1).text();
    assert!(text.contains("out/libf.so") && text.contains(".text at byte"), "{text}");
    assert!(text.contains("1 compared: 0 the same") && text.contains(&format!("record {}", &hex[..12])), "{text}");
    // Once that is gone, its digest is left.
    fs::remove_file(world.work().join("out/libf.so")).unwrap();
    let output = rebuild(&world, &["--check", "--json", "--keep", "kept", hex]).env("NUMBER", "2").output();
    let found = json(output.exits(1));
    assert_eq!(found["files"][0]["details"][0]["what"], "digest");
    assert!(world.work().join("kept/rebuilt/out/libf.so").exists());
    rebuild(&world, &["--check", hex]).output().refused(3, &["variables that are not set: NUMBER"]);
}

#[test]
fn another_way_than_the_recorded_one() {
    let Some(world) = TestContext::fixtures() else { return };
    built(&world, &["--umask", "027"], "mkdir -p out; echo same >out/same; uname -n >out/name").ok();
    let found = json(rebuild(&world, &["--check", "--json"]).output().exits(0));
    assert_eq!((&found["same"], &found["vary"]), (&json!(true), &json!([])));
    let output = rebuild(&world, &["--check", "--vary", "hostname,build-path", "--json"]).output();
    let found = json(output.exits(1));
    assert_eq!((&found["differing"], &found["files"][0]["path"]), (&json!(1), &json!("out/name")));
    assert_eq!(found["files"][0]["details"][0]["what"], "line", "the recorded output is there, and looked into");
    remove(&found["build"]["tree"]);
}

#[test]
fn without_check_the_result_is_somewhere() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("input", "one");
    built(&world, &[], "mkdir -p out; cp input out/").ok();
    fs::remove_dir_all(world.work().join("out")).unwrap();
    let found = json(rebuild(&world, &["--json"]).output().exits(0));
    let tree = PathBuf::from(found["build"]["tree"].as_str().unwrap());
    assert_eq!(fs::read_to_string(tree.join("out/input")).unwrap(), "one");
    assert!(!world.work().join("out").exists(), "the project is left alone");
    assert_eq!(found["same"], true);
    remove(&found["build"]["tree"]);

    // One without outputs can be built again and not be checked.
    world.sh(&[], "cp input made").ok();
    rebuild(&world, &["--check"]).output().refused(2, &["has no outputs", "--output PATH"]);
    let output = rebuild(&world, &["--json"]).output();
    let found = json(output.exits(0));
    assert!(output.stderr.contains("cannot check whether the project has changed"), "{}", output.stderr);
    assert_eq!(found["same"], Value::Null);
    remove(&found["build"]["tree"]);
}

#[test]
fn a_project_that_is_not_what_it_was() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("src/input", "one");
    world.write("other", "other");
    symlink("other", world.work().join("link")).unwrap();
    built(&world, &[], "mkdir -p out; cp src/input out/; date +%N >out/when; echo >\"$(printf 'ma\\033de')\"").ok();
    // Modes count, times and what git and hermes keep do not.
    let check = |options: &[&str]| rebuild(&world, &[&["--check"], options].concat()).output();
    world.write(".git/index", "index");
    world.write("hermes.lock.orig", "");
    fs::File::open(world.work().join("other")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let output = check(&[]);
    assert!(output.exits(1).text().contains("out/when"));
    assert!(output.stderr.contains("not copied: hermes.lock.orig, ma\\u{1b}de, out"), "{}", output.stderr);
    fs::set_permissions(world.work().join("other"), fs::Permissions::from_mode(0o600)).unwrap();
    world.write("src/input", "two");
    let was = check(&[]);
    was.refused(3, &["has changed since the record: other, src/input", "--changed-project", "--project DIR"]);
    let output = check(&["--changed-project"]);
    assert!(output.exits(1).text().contains("out/input"), "{}", output.text());
    // Where it is as it was.
    let elsewhere = world.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("src")).unwrap();
    fs::write(elsewhere.join("src/input"), "one").unwrap();
    fs::write(elsewhere.join("other"), "other").unwrap();
    symlink("other", elsewhere.join("link")).unwrap();
    let output = check(&["--project", "../elsewhere", "--json"]);
    let found = json(output.exits(1));
    assert_eq!((&found["differing"], &found["identical"]), (&json!(1), &json!(1)), "{found}");
    let id = last(&world)["id"].as_str().unwrap().to_owned();
    fs::rename(world.work(), world.path().join("moved")).unwrap();
    let away = rebuild(&world, &["--check", &id]).dir(&elsewhere).output();
    away.refused(2, &["cannot find the project of the record at", "--project DIR"]);
    fs::create_dir(world.work()).unwrap();
    check(&[]).refused(3, &["has changed since the record"]);
}

#[test]
fn what_is_kept_beside_the_record_is_believed_by_its_digest_alone() {
    let Some(world) = TestContext::fixtures() else { return };
    // Such a lock as no other test has.
    world.write("hermes.toml", &format!("[build]\nenv = {{ WORLD = '{}' }}\n", world.path().display()));
    built(&world, &[], "mkdir -p out; echo >out/file").ok();
    let record = last(&world);
    let lock = kept(&world, "locks", &record["lock"], ".lock");
    let text = fs::read_to_string(&lock).unwrap();
    assert!(text.contains(&world.path().display().to_string()));
    // The project's lock and definition are not asked.
    world.write("hermes.lock", "version = 99\n");
    world.write("hermes.toml", "toolchain = 'none'\n");
    rebuild(&world, &["--check"]).output().exits(3);
    rebuild(&world, &["--check", "--changed-project"]).output().exits(0);
    let name = lock.file_name().unwrap().to_str().unwrap();
    let is_it =
        |seen: &String| fs::read_to_string(world.store().join("gcroots").join(seen)).unwrap_or_default().contains(name);
    assert!(!world.stored("gcroots").iter().any(is_it), "a kept lock keeps no images");

    fs::write(&lock, text.replace("WORLD", "EARTH")).unwrap();
    rebuild(&world, &["--changed-project"]).output().refused(3, &["has changed since it was recorded"]);
    fs::remove_file(&lock).unwrap();
    rebuild(&world, &["--changed-project"]).output().refused(2, &["cannot read"]);
    fs::write(&lock, text).unwrap();
    let tree = kept(&world, "trees", &record["project"]["tree"], "");
    let listing = fs::read_to_string(&tree).unwrap();
    fs::write(&tree, listing.replace("f 0644", "f 0755")).unwrap();
    rebuild(&world, &[]).output().refused(3, &["has changed since it was recorded"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let Some(world) = TestContext::fixtures() else { return };
    rebuild(&world, &[]).output().refused(2, &["there is no recorded run in"]);
    world.sh(&[], "exit 5").output().exits(5);
    let output = rebuild(&world, &[]).output();
    output.refused(2, &["the build failed: exit code 5 (in the record: 5)"]);
    rebuild(&world, &["abcdef", "--", "make"]).output().exits(2);
    rebuild(&world, &["--image", MIN, "--", "make"]).output().refused(2, &["requires --check"]);
    rebuild(&world, &["--net", "host", "abcdef"]).output().refused(2, &["cannot be changed for a record"]);
    rebuild(&world, &["make"]).output().refused(2, &["invalid record id 'make'", "after '--'"]);
    rebuild(&world, &["ffffffffffffffff"]).output().refused(2, &["no record has an id"]);
}

#[test]
fn images_that_are_gone_are_named() {
    let Some(world) = TestContext::fixtures() else { return };
    built(&world, &[], "mkdir -p out; echo >out/file").ok();
    // The same records beside a store without images.
    let other = TestContext::empty();
    other.hermes(["--offline", "pull", "test.invalid/none:1"]).output().exits(4);
    let id = last(&world)["id"].as_str().unwrap().to_owned();
    let line = world
        .records()
        .lines()
        .find(|line| format!("sha256:{}", Digest::of(line.as_bytes()).hex()) == id)
        .unwrap()
        .to_owned();
    fs::write(other.store().join("records/2026-01.jsonl"), line + "\n").unwrap();
    let record = last(&world);
    for (directory, digest, ending) in [
        ("locks", &record["lock"], ".lock"),
        ("trees", &record["project"]["tree"], ""),
        ("trees", &record["outputs"][0]["tree"], ""),
    ] {
        let to = kept(&other, directory, digest, ending);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(kept(&world, directory, digest, ending), to).unwrap();
    }
    let output = rebuild(&other, &["--check", &id]).output();
    output.refused(4, &["is not on this machine", "hermes rebuild --fetch"]);
}

#[test]
fn an_output_directory_that_was_there_is_there_for_the_rebuild() {
    let Some(world) = TestContext::fixtures() else { return };
    for directory in ["dist", "deep/er"] {
        fs::create_dir_all(world.work().join(directory)).unwrap();
    }
    fs::set_permissions(world.work().join("dist"), fs::Permissions::from_mode(0o2750)).unwrap();
    // Neither is made by the build, which fails without them.
    let script = "stat -c %a dist > dist/mode && echo made > deep/er/file";
    world.sh(&["--output", "dist", "--output", "deep/er", "--output", "new"], &format!("{script} && mkdir new")).ok();
    let record = last(&world);
    let directories = record["directories"].as_array().unwrap();
    let paths: Vec<_> = directories.iter().map(|directory| directory["path"].as_str().unwrap()).collect();
    assert_eq!((paths, &directories[0]["mode"]), (vec!["dist", "deep/er"], &json!(0o2750)));
    assert_eq!(world.read("dist/mode"), "2750\n");
    rebuild(&world, &["--check"]).output().exits(0);
    // Whatever became of them since.
    fs::remove_dir_all(world.work().join("dist")).unwrap();
    fs::write(world.work().join("dist"), "a file").unwrap();
    rebuild(&world, &["--check"]).output().exits(0);
}

#[test]
fn a_sparse_output_without_end_is_an_error() {
    let Some(world) = TestContext::fixtures() else { return };
    let output = built(&world, &[], "mkdir out; truncate -s 7T out/sparse").output();
    output.exits(125);
    assert!(output.stderr.contains("out/sparse") && output.stderr.contains("sparse files"), "{}", output.stderr);
}
