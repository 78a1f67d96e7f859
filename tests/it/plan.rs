//! `hermes run --plan`: what it shows, and that it does nothing.

use serde_json::{Value, json};

use crate::support::context::{MIN, TestContext};

fn plan(world: &TestContext, options: &[&str]) -> Value {
    let words = [&["run", "--plan", "--json", "--image", MIN], options, &["--", "make", "all"]].concat();
    let output = world.hermes(&words).env("TOKEN", "s3cret-value").output();
    serde_json::from_str(&output.ok()).unwrap()
}

#[test]
fn a_plan_says_what_a_run_would_do() {
    let Some(world) = TestContext::fixtures() else { return };
    let options = ["-e", "TOKEN", "-e", "LEVEL=9", "--timeout", "90s", "--hostname", "builder", "--nice", "7"];
    let shown = plan(&world, &options);
    let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
    for key in [
        "isolation",
        "target",
        "manifest",
        "command",
        "directory",
        "environment",
        "terminal",
        "user",
        "namespaces",
        "network",
        "root",
        "mounts",
        "paths",
        "guest",
        "emulation",
        "emulator",
        "native-tools",
        "required",
        "limits",
        "timeout",
        "nice",
        "filter",
        "outputs",
    ] {
        assert!(keys.iter().any(|known| *known == key), "no {key} in {keys:?}");
    }
    assert_eq!(keys.len(), 23, "{keys:?}");
    assert_eq!(shown["command"], json!(["make", "all"]));
    assert_eq!((&shown["timeout"], &shown["nice"], &shown["network"]), (&json!(90.0), &json!(7), &json!("none")));
    assert_eq!(shown["guest"]["hostname"], "builder");
    assert!(shown["namespaces"].as_array().unwrap().contains(&json!("network")), "{shown}");
    let variable = |name: &str| {
        let all = shown["environment"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).unwrap().clone()
    };
    assert_eq!(variable("TOKEN"), json!({ "name": "TOKEN" }));
    assert_eq!(variable("LEVEL"), json!({ "name": "LEVEL", "value": "9" }));
    let work = shown["mounts"].as_array().unwrap().iter().find(|mount| mount["target"] == "/work").unwrap();
    assert_eq!((&work["kind"], &work["read-only"]), (&json!("bind"), &json!(false)));
    assert_eq!(work["source"], json!(std::fs::canonicalize(world.work()).unwrap()));
    assert!(shown["filter"]["refused"].as_array().unwrap().contains(&json!("mount")), "{}", shown["filter"]);

    let network = plan(&world, &["--net", "host"]);
    assert!(!network["namespaces"].as_array().unwrap().contains(&json!("network")), "{network}");
    let root = plan(&world, &["--root"]);
    assert_eq!((&root["user"]["uid"], &root["user"]["profile"]), (&json!(0), &json!("provision")));
    assert!(root["filter"]["answered"].as_array().unwrap().contains(&json!("chown")), "{}", root["filter"]);
}

#[test]
fn a_plan_is_readable_and_runs_nothing() {
    let Some(world) = TestContext::fixtures() else { return };
    let marker = format!("plan-{}", std::process::id());
    let words = ["run", "--plan", "--image", MIN, "-e", "TOKEN", "--", "touch", &marker];
    let text = world.hermes(words).env("TOKEN", "s3cret-value").ok();
    for part in [&format!("touch {marker}"), "TOKEN        passed on", "/work from ", "loopback only", "refused"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("s3cret-value"), "{text}");
    assert!(!world.work().join(&marker).exists());
    assert!(!world.records().contains(&marker), "a plan is recorded");
}

#[test]
fn a_plan_is_refused_as_the_run_would_be() {
    let Some(world) = TestContext::fixtures() else { return };
    let refused = |options: &[&str], parts: &[&str]| {
        for plan in [&["--plan"][..], &[]] {
            let words = [&["run"], plan, &["--image", MIN], options, &["--", "true"]].concat();
            world.hermes(&words).output().refused(2, parts);
        }
    };
    refused(&["--output", "../elsewhere"], &["is outside the project"]);
    refused(&["-v", "/no/such/directory:/x"], &["/no/such/directory"]);
    refused(&["--nice", "-1"], &["nice value -1", "hint: --nice accepts"]);
    refused(&["--nice=-20"], &["nice value -20"]);
    refused(&["--nice", "20"], &["20"]);
    // Only a run has a plan.
    world.hermes(["rebuild", "--check", "--plan", "--", "true"]).output().refused(2, &["--plan"]);
}

#[test]
fn the_nice_value_is_that_of_the_command() {
    let Some(world) = TestContext::fixtures() else { return };
    let script = "cut -d' ' -f19 /proc/self/stat";
    assert_eq!(world.sh(&["--nice", "13"], script).ok(), "13");
    assert_eq!(world.sh(&["--nice=19"], script).ok(), "19");
    assert_eq!(world.last_record()["request"]["nice"], 19);
}
