//! Records of version 2, converted to the present version. They have the same content under other names.

use serde_json::{Map, Value, json};

use crate::record::VERSION;

/// Names of the guest view, which version 2 has among the others.
const GUEST: [&str; 7] = ["hostname", "umask", "home", "work", "nproc", "clock", "dir-order"];
/// Names of the target in the record and in its request.
const TARGET: [&str; 3] = ["toolchain", "platform", "reference"];
const TARGET_IN_REQUEST: [&str; 3] = ["image-platform", "emulator", "native"];

/// The record of the present version with the content of `record`, as far as that is a record of version 2: what is
/// missing is found out when the result is read.
pub(super) fn converted(mut record: Map<String, Value>) -> Value {
    let mut request = match record.remove("asked") {
        Some(Value::Object(request)) => request,
        _ => Map::new(),
    };
    let mut project = take(&mut request, &["project"]);
    if let Some(path) = project.remove("project") {
        project.insert("path".into(), path);
        project.insert("tree".into(), record.remove("project").unwrap_or(Value::Null));
    }
    let guest = take(&mut record, &GUEST);
    let mut target = take(&mut record, &TARGET);
    target.extend(take(&mut request, &TARGET_IN_REQUEST));
    rename(&mut record, "root", "root-strategy");
    convert_request(&mut request);
    if let Some(isolation) = record.remove("isolation") {
        request.insert("isolation".into(), isolation);
    }
    record.extend([
        ("version".to_owned(), json!(VERSION)),
        ("request".to_owned(), Value::Object(request)),
        ("project".to_owned(), Value::Object(project)),
        ("guest".to_owned(), Value::Object(guest)),
        ("target".to_owned(), Value::Object(target)),
    ]);
    Value::Object(record)
}

fn convert_request(request: &mut Map<String, Value>) {
    if let Some(many) = request.remove("many-users") {
        request.insert("users".into(), json!(if many == json!(true) { "range" } else { "single" }));
    }
    rename(request, "surroundings", "guest-overrides");
    if let Some(Value::Object(overrides)) = request.get_mut("guest-overrides") {
        rename(overrides, "disguise", "interposed");
    }
    // Version 2 has the network that there was, even if the project decided.
    if request.remove("network-by") != Some(json!("caller")) {
        request.remove("network");
    }
}

fn take(from: &mut Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names.iter().filter_map(|name| from.remove_entry(*name)).collect()
}

fn rename(map: &mut Map<String, Value>, old: &str, new: &str) {
    if let Some(value) = map.remove(old) {
        map.insert(new.to_owned(), value);
    }
}
