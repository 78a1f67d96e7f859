//! `hermes rebuild --check --vary`: the second build differs in what the option names, and in nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::context::{DEBIAN, MIN, TestContext};
use crate::support::process::{Output, Run};

/// Each word, and what shows it, in a file of its name.
const SHOWN: [(&str, &str); 9] = [
    ("hostname", "uname -n >hostname"),
    ("time", "date +%Y >time"),
    ("tz", "date -d @0 +%Z >tz"),
    ("locale", "locale charmap >locale"),
    ("umask", "touch new; stat -c %a new >umask; rm new"),
    ("dir-order", "ls -U /usr/bin >dir-order"),
    ("cpus", "nproc >cpus"),
    ("home", "echo ~ >home"),
    ("build-path", "pwd >build-path"),
];

/// The words that can be varied here.
fn words() -> Vec<&'static str> {
    let one = std::thread::available_parallelism().unwrap().get() == 1;
    SHOWN.into_iter().map(|(word, _)| word).filter(|word| !(one && *word == "cpus")).collect()
}

fn rebuild(world: &TestContext, options: &[&str], script: &str) -> Run {
    let image = if options.contains(&"--image") { vec![] } else { vec!["--image", MIN] };
    world.hermes([&["rebuild", "--check"], &image[..], options, &["--", "sh", "-ec", script]].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", output.text(), output.stderr))
}

/// The products that differ, and what the differences are said to look like.
fn differing(found: &Value) -> (Vec<String>, Vec<String>) {
    let list = |what: &str, key: &str| -> Vec<String> {
        found[what].as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
    };
    (list("files", "path"), list("looks-like", "what"))
}

/// Removes what was kept.
fn clear(found: &Value) {
    if let Some(tree) = found["builds"][0]["tree"].as_str() {
        hermes::testing::fs::remove::path(Path::new(tree).parent().unwrap()).unwrap();
    }
}

fn all_shown() -> String {
    let shown: Vec<_> = SHOWN.iter().map(|(_, script)| *script).collect();
    format!("{}; echo $SOURCE_DATE_EPOCH >epoch", shown.join("; "))
}

#[test]
fn each_word_varies_what_it_says_and_nothing_else() {
    let Some(world) = TestContext::fixtures() else { return };
    let found = json(rebuild(&world, &["--json"], &all_shown()).output().exits(0));
    assert_eq!((&found["identical"], &found["vary"]), (&10.into(), &Value::Array(vec![])));
    for word in words() {
        let output = rebuild(&world, &["--json", "--vary", word], &all_shown()).output();
        let found = json(output.exits(1));
        let (files, looks_like) = differing(&found);
        assert_eq!((files, &found["vary"]), (vec![word.to_owned()], &vec![word].into()), "{found}");
        assert_eq!(found["builds"][0]["options"], Value::Array(vec![]), "{word}");
        let option = found["builds"][1]["options"][0].as_str().unwrap();
        assert!(
            output.stderr.contains(&format!("the second build of {} ({option})", world.work().display())),
            "{}",
            output.stderr
        );
        let guess = match word {
            "hostname" => vec!["host name"],
            "tz" => vec!["time zone"],
            "umask" => vec!["umask"],
            "dir-order" => vec!["order of its lines: of a directory, a hash table or jobs at the same time"],
            "home" => vec!["home directory"],
            "build-path" => vec!["build path"],
            _ => vec![],
        };
        assert_eq!(looks_like, guess, "{found}");
        clear(&found);
    }
}

#[test]
fn all_of_them() {
    let Some(world) = TestContext::fixtures() else { return };
    let mut sorted = words();
    sorted.sort_unstable();
    for vary in ["all", &words().join(","), "tz,all,tz"] {
        let output = rebuild(&world, &["--json", "--vary", vary], &all_shown()).output();
        let found = json(output.exits(1));
        assert_eq!(differing(&found).0, sorted, "{vary}");
        assert_eq!(found["vary"].as_array().unwrap().len(), sorted.len(), "{found}");
        assert!(output.stderr.contains("vary one aspect at a time"), "{}", output.stderr);
        clear(&found);
    }
    // What the user has said already stays.
    let output =
        rebuild(&world, &["--json", "--vary", "all", "--hostname", "mine", "-e", "TZ=UTC+3"], &all_shown()).output();
    let found = json(output.exits(1));
    assert!(output.stderr.contains("not varying hostname: --hostname sets it"), "{}", output.stderr);
    assert!(output.stderr.contains("not varying tz: -e TZ sets it"), "{}", output.stderr);
    sorted.retain(|word| !["hostname", "tz"].contains(word));
    assert_eq!(differing(&found).0, sorted);
    clear(&found);
    // What is no different anywhere: the permissions of products are the umask's.
    let script = "echo same >made; mkdir d; touch d/b d/a; ls d >list";
    rebuild(&world, &["--vary", "all"], script).output().exits(0);
}

#[test]
fn what_is_said_once_is_not_varied() {
    let Some(world) = TestContext::fixtures() else { return };
    for (word, option, value) in [
        ("hostname", "--hostname", "x"),
        ("time", "--clock", "+1d"),
        ("tz", "-e", "TZ=UTC"),
        ("locale", "-e", "LC_ALL=C"),
        ("locale", "-e", "LANGUAGE=en"),
        ("umask", "--umask", "027"),
        ("dir-order", "--dir-order", "reverse"),
        ("cpus", "--nproc", "1"),
        ("home", "--home", "/x"),
        ("home", "-e", "HOME=/x"),
        ("build-path", "--work", "/x"),
    ] {
        let output = rebuild(&world, &["--vary", word, option, value], "true").output();
        output.refused(2, &[&format!("{option} "), "conflicts with --vary"]);
    }
    rebuild(&world, &["--vary", "weather"], "true").output().exits(2);
}

#[test]
fn a_table_for_people() {
    let Some(world) = TestContext::fixtures() else { return };
    let output = rebuild(
        &world,
        &["--vary", "build-path,hostname", "--keep", "trees"],
        "pwd >place; uname -n >name; date +%F >day",
    )
    .output();
    let text = output.exits(1).text();
    assert!(text.contains("place: looks like the build path ('/work' / '/builds/of/another/project')\n"), "{text}");
    assert!(text.contains("name: looks like the host name ('hermes' / 'another.host.example')\n"), "{text}");
    assert!(!text.contains("day"), "{text}");
    assert!(text.contains("--work /builds/of/another/project, --hostname another.host.example, in "), "{text}");
    let output = rebuild(&world, &["--vary", "time"], "date +%F >day").output();
    assert!(output.exits(1).text().contains("day: looks like the date ('20"), "{}", output.text());
}

#[test]
fn a_compiler_with_debugging_information() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("f.c", "int f(void) { return 1; }\nconst char *when = __DATE__;\n");
    let words = ["--image", DEBIAN, "--json", "--vary", "all"];
    let found = json(rebuild(&world, &words, "gcc -g -c f.c").output().exits(1));
    assert_eq!(differing(&found), (vec!["f.o".to_owned()], vec!["build path".to_owned()]), "{found}");
    clear(&found);
    let mapped = "gcc -g -ffile-prefix-map=$PWD=. -c f.c; gcc -shared -o f.so f.o; ar rcsD f.a f.o";
    let found = json(rebuild(&world, &words, mapped).output().exits(0));
    assert_eq!((&found["identical"], &found["looks-like"]), (&3.into(), &Value::Array(vec![])));
}

#[test]
fn emulated_builds() {
    let Some(world) = TestContext::foreign() else { return };
    let script = format!("{}; ls -U /etc >dir-order", all_shown());
    for tier in ["auto", "ptrace"] {
        let words =
            ["--image", DEBIAN, "-p", "arm64", "--emulation", tier, "--json", "--vary", "time,dir-order,build-path"];
        let found = json(rebuild(&world, &words, &script).output().exits(1));
        assert_eq!(differing(&found).0, ["build-path", "dir-order", "time"], "{tier}");
        clear(&found);
    }
}

#[test]
fn a_project_elsewhere_moves_with_what_is_in_it() {
    let Some(world) = TestContext::fixtures() else { return };
    let project = world.path().join("project");
    fs::create_dir_all(project.join("sub")).unwrap();
    fs::create_dir(world.path().join("beside")).unwrap();
    fs::write(world.path().join("beside/given"), "given").unwrap();
    let volumes = [
        format!("{}:/work", project.display()),
        format!("{}:/work/sub/more:ro", world.path().join("beside").display()),
    ];
    let words = ["--vary", "build-path", "-v", &volumes[0], "-v", &volumes[1], "-w", "/work/sub", "--json"];
    let found = json(rebuild(&world, &words, "cat more/given >made; pwd >place").output().exits(1));
    assert_eq!((differing(&found).0, &found["identical"]), (vec!["sub/place".to_owned()], &1.into()), "{found}");
    clear(&found);
    assert_eq!(fs::read_dir(project.join("sub")).unwrap().count(), 0, "the project is as it was");
}

#[test]
fn diffoscope_has_a_word_where_it_is_there() {
    let Some(world) = TestContext::fixtures() else { return };
    let tools = world.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let program = tools.join("diffoscope");
    // It leaves a process behind that holds its output open, and says far too much.
    let script = "#!/bin/sh\nfor last; do :; done\necho \"it is $(cat \"$last\")\"; printf '\\033[31m\\n'; sleep 1000 & yes word\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", tools.display());
    let run =
        |script: &str| rebuild(&world, &["--vary", "hostname", "--keep", "trees"], script).env("PATH", &path).output();
    let output = run("uname -n >name; ln -s name link; mkfifo fifo");
    output.exits(1);
    assert!(output.stderr.contains("running diffoscope on name"), "{}", output.stderr);
    assert!(output.stderr.contains("it is another.host.example\n"), "{}", output.stderr);
    assert!(!output.stderr.contains('\x1b') && output.stderr.contains("\n…\n"), "{:?}", output.stderr);
    assert!(output.stderr.len() < 50_000 && !output.text().contains("it is"), "{}", output.stderr.len());
    fs::remove_dir_all(world.work().join("trees")).unwrap();
    // Nothing differs, or nothing that it could look at.
    let output = run("echo same >name");
    assert!(!output.exits(0).stderr.contains("diffoscope"), "{}", output.stderr);
    fs::remove_dir_all(world.work().join("trees")).unwrap();
    let output = run("ln -s $(uname -n) link");
    assert!(!output.exits(1).stderr.contains("diffoscope"), "{}", output.stderr);
}
