//! `hermes log`: records are listed and shown even if some lines are damaged.

use std::fs;
use std::path::PathBuf;

use hermes::testing::digest::Digest;
use serde_json::{Value, json};

use crate::support::context::{MIN, TestContext};
use crate::support::process::Output;

/// A store without images, and the directory of its records.
fn empty() -> (TestContext, PathBuf) {
    let world = TestContext::empty();
    world.hermes(["--offline", "pull", "test.invalid/none:1"]).output().exits(4);
    let records = world.store().join("records");
    assert!(records.is_dir());
    (world, records)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr))
}

/// The runs of this context, newest first.
fn here(world: &TestContext) -> Vec<Value> {
    world.json(&["log", "--here"])["runs"].as_array().unwrap().clone()
}

#[test]
fn what_ran_is_listed_and_shown() {
    let Some(world) = TestContext::fixtures() else { return };
    world.sh(&["-e", "KIND=first", "--net", "none"], "exit 0").ok();
    world.sh(&["--timeout", "1m", "--require", "netns"], "exit 7").output().exits(7);
    let runs = here(&world);
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!((&runs[0]["exit"], &runs[1]["exit"]), (&json!(7), &json!(0)));
    assert_eq!(runs[0]["argv"], json!(["sh", "-c", "exit 7"]));
    let failed = world.json(&["log", "--here", "--failed"]);
    assert_eq!(failed["runs"].as_array().unwrap().len(), 1);
    let one = world.json(&["log", "--here", "-n", "1"]);
    assert_eq!((&one["runs"][0]["id"], &one["more"]), (&runs[0]["id"], &json!(true)));

    // The last one, and one by the beginning of its id.
    let last = world.json(&["log", "show"]);
    assert_eq!((&last["id"], &last["version"]), (&runs[0]["id"], &json!(3)));
    let request = &last["request"];
    assert_eq!((&request["timeout"], &request["required"]), (&json!(60.0), &json!(["netns"])));
    assert_eq!(request["argv"], json!(["sh", "-c", "exit 7"]));
    assert_eq!(last["project"]["path"], json!(fs::canonicalize(world.work()).unwrap()));
    let hex = runs[1]["id"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let first = world.json(&["log", "show", &hex[..12]]);
    assert_eq!(first["id"], runs[1]["id"]);
    let value = |name: &str| {
        let all = first["environment"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{name}: {all:?}"))["value"]
            .clone()
    };
    assert_eq!(value("KIND"), "first");
    assert!(value("PATH").as_str().unwrap().contains("/bin"));
    let timings = &first["timings"];
    assert!(["prepare", "root", "command"].iter().all(|phase| timings[phase].as_f64().unwrap() > 0.0), "{timings}");

    // The id is the digest of the line.
    let text = world.records();
    assert!(text.lines().any(|line| Digest::of(line.as_bytes()).hex() == hex), "no line has the digest {hex}");

    // Two runs of one image have one lock between them, in the form of hermes.lock, which a run can be given.
    assert_eq!(first["lock"], last["lock"]);
    let digest: Digest = first["lock"].as_str().unwrap().parse().unwrap();
    let lock = world.store().join("records/locks").join(format!("{}.lock", digest.hex()));
    let bytes = fs::read(&lock).unwrap();
    assert_eq!(Digest::of(&bytes), digest);
    let words = ["--locked", "--offline", "--lock", lock.to_str().unwrap(), "run", "--image", MIN, "--", "true"];
    world.hermes(words).ok();

    // For people.
    let table = world.hermes(["log", "--here"]).ok();
    assert!(table.starts_with("RECORD") && table.contains(&hex[..12]) && table.contains("exit 7"), "{table}");
    let text = world.hermes(["log", "show", &hex]).ok();
    for part in [&hex, "KIND         = first", "enforced", "inputs", "manifest"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn a_value_that_is_passed_on_is_not_written_anywhere() {
    let Some(world) = TestContext::fixtures() else { return };
    let secret = format!("secret-{}-{}", std::process::id(), "hunter2");
    // The last word on a variable counts, and only it is recorded.
    let words = ["-e", "TOKEN", "-e", "OTHER=open", "-e", "BOTH", "-e", "BOTH=open", "-e", "LATE=early", "-e", "LATE"];
    let script = format!("test \"$TOKEN $OTHER $BOTH $LATE\" = \"{}-{} open open $TOKEN\"", "secret", "$PART");
    let part = secret.strip_prefix("secret-").unwrap().to_owned();
    let run = world.sh(&[&words[..], &["-e", "PART"]].concat(), &script);
    run.env("TOKEN", &secret).env("BOTH", &secret).env("LATE", &secret).env("PART", &part).ok();
    let shown = world.json(&["log", "show"]);
    let variable = |name: &str| {
        let all = shown["environment"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).unwrap().clone()
    };
    assert_eq!(variable("TOKEN"), json!({ "name": "TOKEN" }));
    assert_eq!(variable("LATE"), json!({ "name": "LATE" }));
    assert_eq!(variable("OTHER"), json!({ "name": "OTHER", "value": "open" }));
    assert_eq!(variable("BOTH"), json!({ "name": "BOTH", "value": "open" }));
    let requested = shown["request"]["environment"].as_array().unwrap();
    assert_eq!(requested.len(), 5, "{requested:?}");
    let mut waiting = vec![world.store().join("records")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
                assert!(!text.contains(&part), "{} has the secret", entry.path().display());
            }
        }
    }
}

#[test]
fn lines_of_all_kinds_are_read() {
    let (world, records) = empty();
    let old = json!({
        "version": 1, "started": "2020-01-02T03:04:05.678Z", "seconds": 1.5, "toolchain": "debian", "platform": "linux-amd64",
        "reference": "docker.io/library/debian:12", "argv": ["make", "\u{1b}[31mred"], "environment": ["PATH"],
        "binds": [{ "source": world.work(), "target": "/work", "read_only": false }], "ended": { "code": 3 }, "cause": null,
    });
    let long = format!("{{\"version\":2,\"argv\":\"{}\"}}", "x".repeat(49 << 20));
    let newer = r#"{"version":4,"anything":[]}"#;
    let damaged = r#"{"version":2,"started":7}"#;
    let text = format!("{old}\n{long}\n{newer}\n\n{damaged}\nno json\n[1,2]\n{{\"version\":2,\"sta");
    fs::write(records.join("2020-01.jsonl"), text).unwrap();
    let listed = world.json(&["log"]);
    let runs = listed["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &listed["torn"]), (3, &json!(4)), "{listed}");
    assert!(runs[0]["unread"].as_str().unwrap().starts_with("damaged: "), "{listed}");
    assert_eq!((&runs[1]["version"], &runs[1]["unread"]), (&json!(4), &json!("from a newer hermes")));
    assert_eq!((&runs[2]["exit"], &runs[2]["repeatable"]), (&json!(3), &json!(false)));
    let table = world.hermes(["log"]).ok();
    for part in
        ["4 lines are not records", "(from a newer hermes)", "(version 1, cannot be rebuilt)", "2020-01-02 03:04:05"]
    {
        assert!(table.contains(part), "no {part} in {table}");
    }
    assert!(!table.contains('\u{1b}'), "{table:?}");

    let id = |line: &str| Digest::of(line.as_bytes()).hex();
    let show = |id: &str| world.hermes(["log", "show", id]).output();
    show(&id(newer)).refused(3, &["has version 4; this hermes reads versions up to 3", "a newer one"]);
    show(&id(damaged)).refused(3, &["is damaged"]);
    let shown = show(&id(&old.to_string()));
    assert!(shown.ok().contains("version 1") && shown.text().contains("make"), "{}", shown.text());
    assert_eq!(json(&world.hermes(["log", "show", &id(&old.to_string()), "--json"]).output())["seconds"], 1.5);
    // The last of this directory is the only one that names it.
    assert_eq!(world.json(&["log", "show"])["version"], 1);
    show("abc").refused(2, &["invalid record id 'abc'"]);
    show("../../etc").refused(2, &["invalid record id"]);
    show("00000000").refused(1, &["no record has an id that begins with 00000000", "hermes log"]);
}

/// They have the content of today's records under other names.
#[test]
fn records_of_version_2_are_shown_as_those_of_today() {
    let (world, records) = empty();
    let text = include_str!("../formats/records-2.jsonl");
    fs::write(records.join("2026-11.jsonl"), text).unwrap();
    assert_eq!(world.json(&["log"])["runs"].as_array().unwrap().len(), text.lines().count());
    let id = Digest::of(text.lines().nth(1).unwrap().as_bytes()).hex();
    let shown = world.json(&["log", "show", &id]);
    assert_eq!((&shown["id"], &shown["version"]), (&json!(format!("sha256:{id}")), &json!(3)));
    assert_eq!(shown["request"]["guest-overrides"]["hostname"], "builder");
    assert_eq!((&shown["guest"]["umask"], &shown["project"]["path"]), (&json!("0027"), &json!("/home/user/work")));
    assert_eq!((&shown["asked"], &shown["hostname"]), (&Value::Null, &Value::Null));
    let text = world.hermes(["log", "show", &id]).ok();
    for part in ["MODE         = fast", "SECRET       passed on", "project      /home/user/work"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn ids_that_begin_alike_are_told_apart() {
    let (world, records) = empty();
    let mut text = String::new();
    let mut seen = std::collections::BTreeMap::new();
    let pair = (0..).find_map(|number| {
        let line = format!("{{\"version\":4,\"number\":{number}}}");
        let id = Digest::of(line.as_bytes()).hex();
        text.push_str(&line);
        text.push('\n');
        seen.insert(id[..4].to_owned(), id.clone()).map(|other| (other, id))
    });
    let (one, other) = pair.unwrap();
    // The same line twice is one record.
    fs::write(records.join("2020-01.jsonl"), format!("{text}{text}")).unwrap();
    let output = world.hermes(["log", "show", &one[..4]]).output();
    output.refused(2, &["2 records have ids that begin with", &one[..20], &other[..20], "more digits"]);
    world.hermes(["log", "show", &one]).output().refused(3, &["has version 4"]);
}
