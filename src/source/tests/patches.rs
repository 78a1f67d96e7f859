//! Patches, good and bad.

use super::{Scratch, tar};
use crate::fs::source_digest::of_tree;
use crate::source::*;

fn tree() -> Vec<u8> {
    tar()
        .file("p/src/a.c", "one\ntwo\nthree\nfour\n")
        .file("p/gone", "bye\n")
        .mode("p/script", b'0', 0o755)
        .hardlink("p/twin", "p/src/a.c")
        .symlink("p/link", "src/a.c")
        .end()
}

const PLAIN: &str = "\
Some words on it.

Index: src/a.c
===================================================================
--- p-1.0.orig/src/a.c\t2020-01-01 00:00:00
+++ p-1.0/src/a.c\t2020-01-01 00:00:00
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
@@ -4 +4,2 @@ in some function
 four
+five
\\ No newline at end of file
";

const GIT: &str = "\
From 0123 Mon Sep 17 00:00:00 2001
Subject: [PATCH] all that git does

---
 new | 1 +
diff --git a/dir/new b/dir/new
new file mode 100755
index 0000000..1111111
--- /dev/null
+++ b/dir/new
@@ -0,0 +1 @@
+fresh
diff --git a/gone b/gone
deleted file mode 100644
index 1111111..0000000
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-bye
diff --git a/empty b/empty
new file mode 100644
index 0000000..e69de29
diff --git a/script b/script
old mode 100755
new mode 100644
--
2.30.2
";

#[test]
fn patches_apply_in_order() {
    let scratch = Scratch::new();
    let again = "--- a/src/a.c\n+++ b/src/a.c\n@@ -2 +2 @@\n-TWO\n+2\n";
    let unpacked = scratch.unpack(&tree(), 1, &[PLAIN, GIT, again]).unwrap();
    assert_eq!(scratch.read("src/a.c"), "one\n2\nthree\nfour\nfive");
    assert_eq!(scratch.read("twin"), "one\ntwo\nthree\nfour\n", "another name keeps its content");
    assert_eq!((scratch.read("dir/new").as_str(), scratch.read("empty").as_str()), ("fresh\n", ""));
    assert!(!scratch.fs().join("gone").exists());
    assert_eq!([scratch.mode("dir/new"), scratch.mode("script"), scratch.mode("src/a.c")], [0o555, 0o444, 0o444]);
    assert_eq!(scratch.mtime("src/a.c"), 1000);
    assert_eq!(of_tree(&scratch.fs()).unwrap(), unpacked.digest);
    // The same once more gives the same.
    assert_eq!(Scratch::new().unpack(&tree(), 1, &[PLAIN, GIT, again]).unwrap(), unpacked);
}

#[test]
fn a_patched_file_has_the_time_of_the_newest() {
    let old =
        tar().file("p/a", "x\n").with("p/b", b'0', b"", |block| block[136..148].copy_from_slice(b"00000003720\0"));
    let scratch = Scratch::new();
    scratch.unpack(&old.end(), 1, &["--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n"]).unwrap();
    assert_eq!((scratch.mtime("a"), scratch.mtime("b")), (2000, 2000));
}

#[track_caller]
fn fails(patch: &str, word: &str) {
    let error = Scratch::new().unpack(&tree(), 1, &[patch]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, UnpackError::Patch { .. } | UnpackError::Mismatch { .. }), "{text}");
    assert!(text.contains(word), "no {word:?} in {text}");
}

#[test]
fn p01_paths_out_of_the_tree() {
    for path in ["../canary", "a/../../canary", "/etc/passwd", "a/\u{1b}x"] {
        fails(&format!("--- a/x\n+++ {path}\n@@ -0,0 +1 @@\n+x\n"), "refused");
    }
    fails("--- x\n+++ x\n@@ -0,0 +1 @@\n+x\n", "does not begin with a/ or b/");
}

#[test]
fn p02_through_links() {
    fails("--- a/link\n+++ b/link\n@@ -1 +1 @@\n-one\n+x\n", "not a file");
    let error = Scratch::new().unpack(&tree(), 1, &["--- /dev/null\n+++ b/link/x\n@@ -0,0 +1 @@\n+x\n"]).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
    fails("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n", "not a file");
}

#[test]
fn p03_lines_that_are_not_there() {
    fails("--- a/src/a.c\n+++ b/src/a.c\n@@ -1,2 +1,2 @@\n one\n-zwei\n+2\n", "hunk 1 do not match");
    fails("--- a/src/b.c\n+++ b/src/b.c\n@@ -1 +1 @@\n-one\n+x\n", "no such file");
    fails("--- /dev/null\n+++ b/gone\n@@ -0,0 +1 @@\n+x\n", "it exists");
    fails("--- a/src/a.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "some of its content remains");
}

#[test]
fn p04_changes_that_do_not_add_up() {
    let head = "--- a/src/a.c\n+++ b/src/a.c\n";
    for (body, word) in [
        ("@@ -1,2 +1,2 @@\n one\n", "within a hunk"),
        ("@@ -1 +1 @@\n-one\n+1\n+extra\n", "more lines"),
        ("@@ -1,2 +1,1 @@\n-one\n+1\n+extra\n", "count"),
        ("@@ -1 +1 @@\n?one\n", "count"),
        ("@@ -x +1 @@\n-one\n+1\n", "header of a hunk"),
        ("@@ -1,-2 +1 @@\n-one\n+1\n", "header of a hunk"),
        ("@@ -99999999999999999999 +1 @@\n-one\n+1\n", "header of a hunk"),
        ("", "expected a hunk"),
    ] {
        fails(&format!("{head}{body}"), word);
    }
    fails("@@ -1 +1 @@\n-one\n+1\n", "the file that it changes");
    fails("nothing at all\n", "no file");
    fails("", "no file");
}

#[test]
fn p05_what_git_does_and_hermes_not() {
    fails("diff --git a/src/a.c b/src/b.c\nsimilarity index 100%\nrename from src/a.c\nrename to src/b.c\n", "renamed");
    fails("diff --git a/gone b/gone\nindex 1..2 100644\nGIT binary patch\nliteral 3\nabc\n", "not text");
    fails("diff --git a/gone b/gone\nBinary files a/gone and b/gone differ\n", "not text");
    fails("diff --git \"a/\\303\" \"b/\\303\"\n--- a/x\n+++ b/x\n", "quotes");
    fails("diff --git a/gone b/gone\n--- a/gone\n+++ b/src/a.c\n@@ -1 +1 @@\n-bye\n+x\n", "two names");
}
