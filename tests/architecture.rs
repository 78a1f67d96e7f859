//! The shape of the code, as `docs/architecture.md` tells it: what may use what, how long a file may
//! be, and who alone may be unsafe, print, read the environment or speak to the network.

#[path = "architecture/imports.rs"]
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

/// Every module, each using only those before it: those that exist, and those of [`PLANNED`].
const LAYERS: &[&str] = &[
    "hint",
    "visible",
    "percent",
    "digest",
    "platform",
    "reference",
    "progress",
    "size",
    "oci",
    "dpkg",
    "pypi",
    "sys",
    "fs",
    "consent",
    "lock",
    "toolchain",
    "task",
    "dockerfile",
    "layer",
    "store",
    "credentials",
    "registry",
    "resolve",
    "fetch",
    "mirror",
    "source",
    "rootfs",
    "packages",
    "debian",
    "archive",
    "audit",
    "emulation",
    "sandbox",
    "record",
    "results",
    "env",
    "compare",
    "attest",
    "wheel",
    "pack",
    "build",
    "executor",
    "docker",
    "commands",
    "cli",
    "testing",
];

/// Modules that are yet to be written: each has its place among the layers. One that is written leaves this list.
const PLANNED: &[&str] =
    &["task", "dockerfile", "audit", "results", "env", "wheel", "pack", "build", "executor", "docker"];

/// Longest source file, in lines.
const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|ending| ending == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(directory), extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no {extension} files in {directory}");
    found
}

/// The module of a source file: `src/sandbox/init/mod.rs` belongs to `sandbox`.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The lines of a file that are code of the program, without unit tests and comments.
fn code(path: &Path) -> Vec<(usize, String)> {
    let inside = path.strip_prefix(root()).unwrap();
    if inside.iter().any(|part| part == "tests" || part == "tests.rs") || is_declared_for_tests(path) {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let mut lines = Vec::new();
    // The indentation of the item of which only tests know.
    let mut hidden: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let indentation = line.len() - line.trim_start().len();
        if line.trim_start() == "#[cfg(test)]" {
            hidden = Some(indentation);
        } else if let Some(outer) = hidden {
            let ends = line.ends_with([';', '}', ',']) && (indentation == outer);
            hidden = (!ends).then_some(outer);
        } else {
            lines.push((number + 1, without_comment(line).to_owned()));
        }
    }
    lines
}

/// A comment begins a line or follows a blank: the slashes of an address are code.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" //").next().unwrap_or("") }
}

/// Whether the file is a module that its folder declares beneath `#[cfg(test)]`.
fn is_declared_for_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let Ok(folder) = fs::read_to_string(path.with_file_name("mod.rs")) else { return false };
    folder.split("#[cfg(test)]\n").skip(1).any(|item| {
        item.lines().next().is_some_and(|line| line.trim_end_matches(';').ends_with(&format!("mod {name}")))
    })
}

#[test]
fn modules_use_only_what_is_below_them() {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    for path in files("src", "rs") {
        let own = module(&path);
        if own == "lib" || own == "main" {
            continue;
        }
        let own_rank =
            rank(&own).unwrap_or_else(|| panic!("{own} is in no layer: add it to LAYERS and docs/architecture.md"));
        for (number, line) in code(&path) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let Some(used_rank) = rank(&used) else { continue };
                assert!(used_rank <= own_rank, "{}:{number}: {own} uses {used}, which is above it", path.display());
            }
        }
    }
}

#[test]
fn files_of_a_module_form_no_ring() {
    let src = root().join("src");
    let files = files("src", "rs").into_iter().filter(|path| !path.starts_with(src.join("sys/shim")));
    let code_of = |path: PathBuf| {
        let lines: String = code(&path).into_iter().map(|(_, line)| line + "\n").collect();
        (path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), lines)
    };
    let rings = imports::Modules::new(files.map(code_of)).rings();
    assert!(rings.is_empty(), "files of a folder import one another in a ring: {rings:#?}");
}

#[test]
fn every_layer_exists_and_is_documented() {
    let document = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for layer in LAYERS {
        let source = root().join("src").join(layer);
        let exists = source.is_dir() || source.with_extension("rs").is_file();
        let is_planned = PLANNED.contains(layer);
        assert!(exists || is_planned, "no module {layer}");
        assert!(!(exists && is_planned), "{layer} is written: remove it from PLANNED");
        assert!(document.contains(&format!("`{layer}`")), "docs/architecture.md does not mention {layer}");
    }
}

#[test]
fn files_are_short() {
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; split it by responsibility", path.display());
    }
}

#[test]
fn each_power_has_one_owner() {
    // A power, the text that shows its use, and the modules that have it.
    let powers: &[(&str, &[&str], &[&str])] = &[
        ("unsafe code", &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"], &["sys"]),
        ("printing", &["println!", "print!(", "stdout()", "stderr()"], &["cli", "sandbox"]),
        ("the environment", &["env::var", "env::args", "env::vars"], &["cli"]),
        ("ending the process", &["process::exit("], &["cli"]),
        ("HTTP", &["reqwest"], &["registry"]),
        ("the asynchronous runtime", &["runtime::Builder", "Runtime::new"], &["commands"]),
        ("progress bars", &["indicatif"], &["cli"]),
    ];
    // What cargo runs to build hermes is no part of it.
    for path in files("src", "rs").into_iter().filter(|path| !path.ends_with("build.rs")) {
        let own = module(&path);
        for (number, line) in code(&path) {
            for (power, signs, owners) in powers {
                let used = signs.iter().any(|sign| line.contains(sign));
                assert!(!used || owners.contains(&own.as_str()), "{}:{number}: {power} is not {own}'s", path.display());
            }
        }
    }
}

/// The types that the code of a file makes errors: by `thiserror`, or by hand.
fn errors_of(path: &Path) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut is_derived = false;
    let mut errors = Vec::new();
    for (_, line) in code(path) {
        let derives = line.split("derive(").nth(1).is_some_and(|traits| {
            traits.split([',', ')']).any(|derived| derived.trim().rsplit("::").next() == Some("Error"))
        });
        is_derived |= derives;
        let declared = ["struct ", "enum "].iter().find_map(|kind| line.split(kind).nth(1));
        if let Some(declared) = declared
            && std::mem::take(&mut is_derived)
        {
            errors.push(name(declared));
        }
        let by_hand = line.strip_prefix("impl ").and_then(|rest| rest.split_once(" for "));
        if let Some((_, implemented)) =
            by_hand.filter(|(implemented, _)| implemented.rsplit("::").next() == Some("Error"))
        {
            errors.push(name(implemented));
        }
    }
    errors
}

#[test]
fn every_error_has_a_snapshot_of_its_texts() {
    let snapshots: Vec<String> =
        files("src", "snap").iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut count = 0;
    for path in files("src", "rs") {
        for error in errors_of(&path) {
            count += 1;
            let exists = snapshots.iter().any(|name| name.rsplit("__").next() == Some(&error));
            assert!(exists, "{}: no snapshot of {error}: add it to src/cli/tests/error_texts", path.display());
        }
    }
    assert!(count > 40, "only {count} errors were found");
}

#[test]
fn no_module_is_a_drawer() {
    for path in files("src", "rs") {
        for part in path.iter().filter_map(|part| part.to_str()) {
            let name = part.trim_end_matches(".rs");
            assert!(!["util", "utils", "common", "helpers", "misc", "manager"].contains(&name), "{}", path.display());
        }
    }
}

#[test]
fn documents_point_at_what_exists() {
    let mut documents = files("docs", "md");
    documents.push(root().join("README.md"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "docs/", "tests/", "scripts/", "toolchains/", "lockfiles/", "benches/"]
                .iter()
                .any(|prefix| quoted.starts_with(prefix));
            if is_path && !quoted.contains(['*', '<', ' ', '{']) {
                assert!(root().join(quoted).exists(), "{} points at {quoted}, which is not there", document.display());
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") {
                let path = document.parent().unwrap().join(target);
                assert!(path.exists(), "{} links to {target}, which is not there", document.display());
            }
        }
    }
}

#[test]
fn banned_crates_are_not_in_the_lock() {
    let banned = fs::read_to_string(root().join("deny.toml")).unwrap();
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: Vec<&str> = banned.split("{ crate = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 5, "deny.toml bans {names:?}");
    for name in names {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is banned by deny.toml");
    }
}

/// Rows of the threat table in `docs/security.md` name the tests that hold, as `FILE::TEST`.
#[test]
fn every_threat_has_a_test() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let section = page.split("\n## Threats").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| asset"));
    let tests: Vec<(PathBuf, String)> = ["tests", "src"]
        .iter()
        .flat_map(|directory| files(directory, "rs"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("no test in: {row}"));
        }
        for name in names {
            let exists = match name.split_once("::") {
                Some((module, test)) => tests.iter().any(|(path, text)| {
                    let inside = path.strip_prefix(root()).unwrap();
                    let of_module =
                        inside.iter().any(|part| Path::new(part).file_stem().is_some_and(|stem| stem == module));
                    of_module && text.contains(&format!("fn {test}("))
                }),
                None => root().join(name).exists(),
            };
            if !exists {
                wrong.push(format!("there is no test {name}"));
            }
        }
    }
    assert!(count > 20 && wrong.is_empty(), "{}", wrong.join("\n"));
}
