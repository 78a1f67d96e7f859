use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::*;
use crate::fs::opened::Opened;
use crate::progress::{Reporter, TaskId};

/// Records the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Reporter for Notes {
    fn start(&self, _: &str, _: u64) -> TaskId {
        TaskId(0)
    }
    fn advance(&self, _: TaskId, _: u64) {}
    fn finish(&self, _: TaskId) {}
    fn warn(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn verbose(&self, _: &str) {}
}

fn settings(project: &Path, accesses: &[Access]) -> Settings {
    let settings = accesses.iter().map(|access| Setting::new("key", access.clone())).collect();
    Settings { project: project.to_owned(), settings }
}

fn allowed(access: Access) -> Allowed {
    Consent::of_the_user([Setting::new("key", access)])
}

fn decide(consent: &Consent, all: &Settings) -> Option<Allowed> {
    consent.decide(all, all.settings.clone(), &Notes::default()).ok()
}

#[test]
fn nothing_is_allowed_unless_the_user_says_so() {
    let read = Access::Read("/etc/secret".into());
    let all = settings(Path::new("/p"), &[Access::HostNetwork, read.clone()]);
    let error = Consent::default().decide(&all, all.settings.clone(), &Notes::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/p") && text.contains("network") && text.contains("/etc/secret"), "{text}");
    // No settings need no consent.
    assert_eq!(Consent::default().decide(&all, BTreeSet::new(), &Notes::default()).ok(), Some(Allowed::default()));
    let allowed = decide(&Consent { everything: true, ..Consent::default() }, &all).unwrap();
    assert!(allowed.has(&Access::HostNetwork) && allowed.has(&read));
    assert!(!allowed.has(&Access::Read("/etc/secrets".into())));
}

#[test]
fn rules_are_for_directories() {
    let dir = tempfile::tempdir().unwrap();
    let dir = fs_real(dir.path());
    std::fs::create_dir_all(dir.join("src/p")).unwrap();
    std::fs::create_dir_all(dir.join("srcx")).unwrap();
    symlink(dir.join("src"), dir.join("link")).unwrap();
    let rule = Rule {
        project: dir.join("link"),
        network: false,
        read: vec!["/srv/mirror".into()],
        ssh: vec!["git.example.org".into()],
    };
    let consent = Consent { rules: vec![rule], ..Consent::default() };
    let is_allowed = |project: &str, access: &Access| {
        decide(&consent, &settings(&dir.join(project), std::slice::from_ref(access))).is_some()
    };
    assert!(is_allowed("src/p", &Access::Read("/srv/mirror/x".into())));
    assert!(is_allowed("src", &Access::Ssh("ssh://me@git.example.org:22/x".into())));
    assert!(!is_allowed("src/p", &Access::Read("/srv/mirrors".into())));
    assert!(!is_allowed("src/p", &Access::HostNetwork));
    assert!(!is_allowed("src/p", &Access::Ssh("ssh://git.example.org.evil.example/x".into())));
    assert!(!is_allowed("srcx", &Access::Read("/srv/mirror/x".into())));
    // A repository inside the project is under the control of the project.
    assert!(is_allowed("src/p", &Access::Repository("/srv/mirror/x.git".into())));
    assert!(!is_allowed("src/p", &Access::Repository("/srv/other/x.git".into())));
    let everything = Rule { project: dir.join("src"), read: vec![dir.clone()], ..Rule::default() };
    let own = dir.join("src/p/x.git");
    assert!(everything.allows(&dir.join("src/p"), &Access::Read(own.clone())));
    assert!(!everything.allows(&dir.join("src/p"), &Access::Repository(own)));
    // All needed settings have to be allowed.
    let both = settings(&dir.join("src"), &[Access::Read("/srv/mirror/x".into()), Access::HostNetwork]);
    assert_eq!(decide(&consent, &both), None);
}

fn fs_real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap()
}

#[test]
fn what_is_remembered_holds_for_the_same_settings_of_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state/allowed");
    let memory = Memory::new(place.clone());
    let consent = Consent { memory: Some(memory.clone()), ..Consent::default() };
    let all = settings(Path::new("/p"), &[Access::HostNetwork]);
    assert_eq!(decide(&consent, &all), None);
    memory.add(&all).unwrap();
    assert!(decide(&consent, &all).is_some());
    let more = settings(Path::new("/p"), &[Access::HostNetwork, Access::Read("/x".into())]);
    assert_eq!(decide(&consent, &more), None);
    assert_eq!(decide(&consent, &settings(Path::new("/q"), &[Access::HostNetwork])), None);
    // A subset is another set of settings: the user allowed exactly what was shown.
    assert!(decide(&consent, &settings(Path::new("/p"), &[Access::Read("/x".into())])).is_none());
    assert_eq!(memory.revoke(Path::new("/p")).unwrap(), std::slice::from_ref(&all));
    assert_eq!(decide(&consent, &all), None);
    memory.add(&more).unwrap();
    // Settings that are allowed without an option are reported once.
    let notes = Notes::default();
    let again = Consent { memory: Some(memory.clone()), ..Consent::default() };
    for _ in 0..2 {
        again.decide(&more, all.settings.clone(), &notes).unwrap();
    }
    assert_eq!(*notes.0.lock().unwrap(), ["you have allowed /p: key: use the host's network"]);
    let files: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
    let bits = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((files.len(), bits(&files[0]), bits(&place)), (1, 0o600, 0o700));
    // A file that others can write to is ignored.
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o620)).unwrap();
    assert!(!memory.has(&more) && memory.list().unwrap().is_empty());
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(memory.revoke(Path::new("/p")).unwrap(), std::slice::from_ref(&more));
    assert!(!memory.has(&more));
}

#[test]
fn an_answer_at_the_terminal_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let all = settings(Path::new("/p"), &[Access::HostNetwork]);
    let consent = |answer: bool| Consent {
        memory: Some(Memory::new(dir.path().join("allowed"))),
        question: Some(Arc::new(move |_: &Settings| Ok(answer))),
        ..Consent::default()
    };
    assert_eq!(decide(&consent(false), &all), None);
    assert!(decide(&consent(true), &all).is_some());
    assert!(decide(&consent(false), &all).is_some(), "it is not asked again");
}

#[test]
fn locations_follow_links_before_they_are_asked_about() {
    let dir = tempfile::tempdir().unwrap();
    let project = fs_real(dir.path()).join("p");
    let outside = project.with_file_name("outside");
    std::fs::create_dir_all(project.join("sub")).unwrap();
    std::fs::create_dir_all(outside.join("sha256")).unwrap();
    std::fs::write(project.join("sub/a"), "a").unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    symlink("sub", project.join("dir")).unwrap();
    symlink("../outside/secret", project.join("out")).unwrap();
    symlink(outside.join("secret"), outside.join("sha256/x")).unwrap();
    let opened = Opened::directory(&project).unwrap();
    let of = |path: &str| ProjectPath::of(&project, Path::new(path));
    let absolute = project.join("sub/a");
    for inside in ["sub/a", "./dir/a", "dir/../sub/a", absolute.to_str().unwrap()] {
        let location = of(inside);
        assert_eq!((location.access(), &location), (None, &ProjectPath::Inside("sub/a".into())), "{inside}");
        let mut text = String::new();
        location.open(&opened, &Allowed::default()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a", "{inside}");
    }
    let secret = outside.join("secret");
    for leading_out in ["out", "../outside/secret", "sub/../../outside/secret", secret.to_str().unwrap()] {
        let location = of(leading_out);
        let access = Access::Read(secret.clone());
        assert_eq!(location.access(), Some(access.clone()), "{leading_out}");
        let refused = location.open(&opened, &Allowed::default()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{leading_out}");
        assert!(location.open(&opened, &allowed(access)).is_ok(), "{leading_out}");
    }
    // A link that appears after resolving, a directory, a link that leads out of an allowed directory.
    let location = of("sub/b");
    symlink("../../outside/secret", project.join("sub/b")).unwrap();
    assert!(location.open(&opened, &Allowed::default()).is_err());
    assert!(of("sub").open(&opened, &Allowed::default()).is_err());
    let mirror = of("../outside");
    let allowed = allowed(Access::Read(outside.clone()));
    assert!(mirror.open_in(&opened, &allowed, Path::new("secret")).is_ok());
    assert!(mirror.open_in(&opened, &allowed, Path::new("sha256/x")).is_err());
}
