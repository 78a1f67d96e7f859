//! The hint after a failed command in a part of a repository or workspace, of which only that part was mounted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::context::{MIN, TestContext, tool};
use crate::support::process::Run;
use crate::support::pty::Pty;

/// What hermes says of directories that were not mounted, at a terminal.
fn said(run: Run) -> Vec<String> {
    let mut pty = Pty::start(run.under(&["sh", "-c", "\"$@\"; echo E''ND", "sh"]), (24, 80));
    pty.wait();
    pty.until("END");
    let shown = pty.shown();
    shown.lines().filter(|line| line.contains("not mounted")).map(|line| line.trim_end().to_owned()).collect()
}

/// The hints after a command that fails in this directory.
fn hints(world: &TestContext, directory: &str, options: &[&str]) -> Vec<String> {
    let words = [&["run", "--image", MIN], options, &["--", "false"]].concat();
    said(world.hermes(words).dir(&world.work().join(directory)))
}

fn world() -> Option<TestContext> {
    tool("setsid").then(TestContext::fixtures).flatten()
}

fn git(world: &TestContext, directory: &str, words: &[&str]) {
    let mut run =
        Run::new("git").args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "protocol.file.allow=always"]);
    run.command.env("HOME", world.path().join("home")).env("GIT_CONFIG_NOSYSTEM", "1");
    run.args(words).dir(&world.work().join(directory)).ok();
}

/// Finds the repository as git does, which the image does not have.
const FIND: &str = r#"
d=$PWD
while [ ! -e "$d/.git" ]; do d=${d%/*}; [ -n "$d" ] || exit 1; done
g=$d/.git
if [ -f "$g" ]; then read -r _ g <"$g"; fi
case $g in /*) ;; *) g=$d/$g ;; esac
cd "$g" || exit 1
c=.
if [ -f commondir ]; then read -r c <commondir; fi
[ -f HEAD ] && [ -d "$c/objects" ]
"#;

/// A repository with a subdirectory, a submodule, a worktree and a subdirectory of that.
fn repository(world: &TestContext) {
    for name in ["lib", "top"] {
        world.write(&format!("{name}/src/file"), "x");
        git(world, name, &["init", "-q"]);
        git(world, name, &["add", "."]);
        git(world, name, &["commit", "-q", "-m", "x"]);
    }
    let lib = world.work().join("lib");
    git(world, "top", &["submodule", "--quiet", "add", lib.to_str().unwrap(), "sub"]);
    git(world, "top", &["commit", "-q", "-m", "y"]);
    git(world, "top", &["worktree", "add", "-q", "../tree"]);
}

#[test]
fn the_options_of_the_hint_bring_the_repository() {
    let (true, Some(world)) = (tool("git"), world()) else { return };
    repository(&world);
    let work = world.work();
    let (top, tree) = (work.join("top"), work.join("tree"));
    let (top, tree) = (top.display(), tree.display());
    let common = format!("-v {top}/.git:{top}/.git:ro");
    for (directory, options) in [
        ("top/src", format!("-v {top}:/work -w /work/src, or [run] mount = \"project\" in {top}/hermes.toml")),
        ("top/sub", format!("-v {top}:/work -w /work/sub, or [run] mount = \"project\" in {top}/hermes.toml")),
        ("top/sub/src", format!("-v {top}:/work -w /work/sub/src, or [run] mount = \"project\" in {top}/hermes.toml")),
        ("tree", common.clone()),
        ("tree/src", format!("-v {tree}:/work -w /work/src {common}")),
    ] {
        let describe = |options: &[&str]| world.sh(options, FIND).dir(&work.join(directory));
        let found = said(describe(&[]));
        assert_eq!(found.len(), 1, "{directory}: {found:?}");
        let (_, given) = found[0].split_once("if the command needs it: ").unwrap();
        assert_eq!(given, options, "{directory}");
        let given: Vec<_> = given.split(", or ").next().unwrap().split(' ').collect();
        describe(&given).ok();
        assert_eq!(hints(&world, directory, &given), [""; 0], "{directory}");
    }
}

#[test]
fn a_cargo_workspace() {
    let Some(world) = world() else { return };
    world.write("Cargo.toml", "[workspace]\nmembers = ['a']\n");
    world.write("a/Cargo.toml", "[package]\nname = 'a'\n");
    world.write("own/Cargo.toml", "[package]\nname = 'own'\n[workspace]\n");
    let top = world.work();
    let work = top.display();
    let hint = format!(
        "hint: the Cargo workspace {work} is not mounted; if the command needs it: -v {work}:/work -w /work/a, or [run] \
         mount = \"project\" in {work}/hermes.toml"
    );
    assert_eq!(hints(&world, "a", &[]), [hint.as_str()]);
    assert_eq!(hints(&world, "own", &[]), [""; 0]);
    assert_eq!(hints(&world, ".", &[]), [""; 0]);
    // The repository around it is more, but it holds the home directory.
    fs::create_dir(world.path().join(".git")).unwrap();
    fs::write(world.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    assert_eq!(hints(&world, "a", &[]), [hint]);
    fs::rename(world.path().join(".git"), top.join(".git")).unwrap();
    assert!(hints(&world, "a", &[])[0].starts_with(&format!("hint: the repository {work} is not mounted")));
}

#[test]
fn only_after_a_failure_at_a_terminal() {
    let Some(world) = world() else { return };
    world.write(".git/HEAD", "ref: refs/heads/main\n");
    world.write("a/file", "x");
    let dir = world.work().join("a");
    assert_eq!(hints(&world, "a", &[]).len(), 1);
    assert_eq!(hints(&world, "a", &["--quiet"]), [""; 0]);
    let top = format!("{}:/work", world.work().display());
    assert_eq!(hints(&world, "a", &["-v", &top, "-w", "/work/a"]), [""; 0]);
    assert_eq!(said(world.sh(&[], "true").dir(&dir)), [""; 0]);
    assert_eq!(said(world.sh(&[], "kill -9 $$").dir(&dir)), [""; 0]);
    let output = world.sh(&[], "false").dir(&dir).output();
    assert!(!output.exits(1).stderr.contains("not mounted"), "{}", output.stderr);
    // Home is not mounted by a hint.
    assert_eq!(said(world.sh(&[], "false").dir(&dir).env("HOME", world.work())), [""; 0]);
    assert_eq!(said(world.sh(&[], "false").dir(&dir).env("HOME", &dir)), [""; 0]);
}

/// A `.git` that the command, or whoever made the archive, has written leads nowhere.
#[test]
fn a_hostile_git_file_recommends_nothing() {
    let Some(world) = world() else { return };
    world.write("a/file", "x");
    world.write("secret/id", "x");
    let (git, secret) = (world.work().join("a/.git"), world.work().join("secret"));
    let secret = secret.to_str().unwrap();
    let nothing = |what: &str| assert_eq!(hints(&world, "a", &[]), [""; 0], "{what}");
    for text in [
        format!("gitdir: {secret}"),
        format!("gitdir: {secret}/worktrees/a"),
        "gitdir: ../secret\n".into(),
        "gitdir: fake/worktrees/a\n".into(),
        "gitdir: link/worktrees/a\n".into(),
        "gitdir: /\n".into(),
        "gitdir: \n".into(),
        "gitdir: \0\u{1b}[31m\n".into(),
        format!("gitdir: {}\n", "x/".repeat(100_000)),
        secret.into(),
        String::new(),
    ] {
        fs::write(&git, &text).unwrap();
        nothing(&text[..text.len().min(80)]);
    }
    // A repository of the command's own that names the worktree as it should is mounted already; no pointer leads out of it.
    world.write("a/fake/worktrees/a/gitdir", &format!("{}\n", git.display()));
    for (shared, what) in [("../..", "its own"), (secret, "another"), ("../../../../secret", "another, relative")] {
        world.write("a/fake/worktrees/a/commondir", shared);
        fs::write(&git, "gitdir: fake/worktrees/a\n").unwrap();
        nothing(what);
    }
    symlink(secret, world.work().join("a/link")).unwrap();
    fs::create_dir_all(Path::new(secret).join("worktrees/a")).unwrap();
    fs::write(&git, "gitdir: link/worktrees/a\n").unwrap();
    nothing("no back pointer");
    // One that names another worktree's file.
    world.write("secret/worktrees/a/commondir", "../..\n");
    let other = world.write("b/.git", &format!("gitdir: {secret}/worktrees/a\n"));
    world.write("secret/worktrees/a/gitdir", other.to_str().unwrap());
    fs::write(&git, format!("gitdir: {secret}/worktrees/a\n")).unwrap();
    nothing("another's worktree");
    assert_eq!(hints(&world, "b", &[]).len(), 1);
    // No link and no FIFO is followed.
    fs::remove_file(&git).unwrap();
    symlink(&other, &git).unwrap();
    nothing("a link");
    fs::remove_file(&git).unwrap();
    mknodat(CWD, &git, FileType::Fifo, Mode::RWXU, 0).unwrap();
    nothing("a FIFO");
    fs::remove_file(&git).unwrap();
    let manifest = world.work().join("a/Cargo.toml");
    world.write("Cargo.toml", "[workspace]\n");
    mknodat(CWD, &manifest, FileType::Fifo, Mode::RWXU, 0).unwrap();
    nothing("a FIFO for a manifest");
    fs::remove_file(&manifest).unwrap();
    for text in ["[".repeat(200_000), format!("a = {}", "[".repeat(100_000)), "\0".into()] {
        fs::write(&manifest, text).unwrap();
        nothing("no manifest");
    }
}

#[test]
fn paths_are_words_and_escaped() {
    let Some(world) = world() else { return };
    for (top, options) in [("a $(id)", Some("-v '")), ("x:y", None), ("b\u{1b}[31m", None)] {
        world.write(&format!("{top}/.git/HEAD"), "x");
        world.write(&format!("{top}/sub/file"), "x");
        let found = hints(&world, &format!("{top}/sub"), &[]);
        assert_eq!(found.len(), usize::from(options.is_some()), "{found:?}");
        let is_quoted = |hint: &String| options.is_some_and(|options| hint.contains(options));
        assert!(found.iter().all(is_quoted), "{found:?}");
    }
}
