//! Applying unified diffs, of `diff -u` and of git, to a tree.
//!
//! The first component of each path is stripped, as with `patch -p1`. Malformed hunks, binary diffs, renames and copies are
//! refused: a patch is never applied in part.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::source::hunk::{self, Hunk};
use crate::source::tree::{Node, Tree};
use crate::source::{UnpackError, entry_path};
use crate::visible::visible_path;

/// Largest file that can be patched, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The path that stands for no file.
const NOTHING: &[u8] = b"/dev/null";

/// The changes to one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    path: Vec<u8>,
    created: bool,
    deleted: bool,
    /// Whether the file is to be executable, if stated.
    program: Option<bool>,
    hunks: Vec<Hunk>,
}

/// Applies a patch.
pub(super) fn apply(patch: &[u8], tree: &mut Tree) -> Result<(), UnpackError> {
    let changes = Reader::new(patch).changes()?;
    if changes.is_empty() {
        return Err(UnpackError::Patch { line: 1, why: "it changes no file".into() });
    }
    changes.iter().try_for_each(|change| change.apply(tree))
}

impl Change {
    fn apply(&self, tree: &mut Tree) -> Result<(), UnpackError> {
        let path = self.path.as_slice();
        let mismatch = |why: String| Err(UnpackError::Mismatch { path: visible_path(path), why });
        let from_nothing = self.hunks.first().is_some_and(|hunk| hunk.start == 0 && hunk.old.is_empty());
        let (before, program) = match tree.node(path) {
            Some(_) if self.created => return mismatch("the patch creates it, but it exists".into()),
            Some(Node::File { program, .. }) => (tree.read(path, MAX_FILE)?, *program),
            Some(_) => return mismatch("it is not a file".into()),
            // `diff -uN` writes the name of a file that does not exist yet.
            None if self.created || (from_nothing && self.hunks.len() == 1) => (vec![], false),
            None => return mismatch("there is no such file".into()),
        };
        let after = match hunk::apply(&before, &self.hunks) {
            Ok(after) => after,
            Err(number) => return mismatch(format!("the lines of hunk {number} do not match")),
        };
        if !self.deleted {
            return tree.replace(path, self.program.unwrap_or(program), &after);
        }
        if !after.is_empty() {
            return mismatch("the patch removes it, but some of its content remains".into());
        }
        tree.remove(path)
    }
}

struct Reader<'a> {
    lines: Peekable<IntoIter<&'a [u8]>>,
    number: usize,
}

impl<'a> Reader<'a> {
    fn new(patch: &'a [u8]) -> Self {
        Self { lines: hunk::lines(patch).into_iter().peekable(), number: 0 }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        self.number += 1;
        self.lines.next()
    }

    fn next_if(&mut self, test: impl FnOnce(&&'a [u8]) -> bool) -> Option<&'a [u8]> {
        let line = self.lines.next_if(test)?;
        self.number += 1;
        Some(line)
    }

    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, UnpackError> {
        Err(UnpackError::Patch { line: self.number, why: why.into() })
    }

    fn changes(mut self) -> Result<Vec<Change>, UnpackError> {
        let mut changes = Vec::new();
        // The git header read so far.
        let mut git: Option<Change> = None;
        // A line right after a hunk must not look like part of it.
        let mut after_hunk = false;
        while let Some(line) = self.next() {
            let text = line.trim_ascii_end();
            if let Some(names) = text.strip_prefix(b"diff --git ") {
                changes.extend(git.take());
                git = Some(Change { path: self.both_names(names)?, ..Change::default() });
            } else if text.starts_with(b"--- ") && self.lines.peek().is_some_and(|line| line.starts_with(b"+++ ")) {
                let change = self.file(text, git.take().unwrap_or_default())?;
                changes.push(change);
                after_hunk = true;
                continue;
            } else if let Some(change) = &mut git {
                if let Err(why) = header(change, text) {
                    return self.wrong(why);
                }
            } else if text.starts_with(b"GIT binary patch") || text.starts_with(b"Binary files ") {
                return self.wrong("it changes a file that is not text");
            } else if text.starts_with(b"@@ ") {
                return self.wrong("it does not name the file that it changes");
            } else if after_hunk && matches!(line.first(), Some(b'+' | b'-' | b' ')) && text != b"--" {
                return self.wrong("a hunk has more lines than its header states");
            }
            after_hunk = false;
        }
        changes.extend(git.take());
        Ok(changes)
    }

    /// The name in `a/NAME b/NAME`: both are the same, except for renames and copies.
    fn both_names(&self, names: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let half = names.len() / 2;
        let (old, new) = (names.get(..half).unwrap_or_default(), names.get(half + 1..).unwrap_or_default());
        match (old.strip_prefix(b"a/"), new.strip_prefix(b"b/")) {
            (Some(old), Some(new)) if old == new && names.get(half) == Some(&b' ') => {
                self.clean(names.get(..half).unwrap_or_default())
            }
            _ => self.wrong("a file is renamed or copied, or has a name in quotes"),
        }
    }

    /// Strips the first component of a path.
    fn clean(&self, raw: &[u8]) -> Result<Vec<u8>, UnpackError> {
        match entry_path::stripped(raw, 1) {
            Ok(path) if path.is_empty() => self.wrong(format!("'{}' does not begin with a/ or b/", visible_path(raw))),
            Ok(path) => Ok(path),
            Err(error) => self.wrong(error.to_string()),
        }
    }

    /// Reads the two lines that name a file, and its hunks.
    fn file(&mut self, old: &[u8], mut change: Change) -> Result<Change, UnpackError> {
        let name = |line: &'a [u8]| line.split(|byte| *byte == b'\t').next().unwrap_or_default().trim_ascii();
        let old = old[4..].split(|byte| *byte == b'\t').next().unwrap_or_default().trim_ascii();
        let new = name(self.next().unwrap_or_default().get(4..).unwrap_or_default());
        if old.starts_with(b"\"") || new.starts_with(b"\"") {
            return self.wrong("a name in quotes");
        }
        (change.created, change.deleted) = (old == NOTHING, new == NOTHING);
        let path = match (change.created, change.deleted) {
            (true, true) => return self.wrong("it names no file"),
            (_, true) => self.clean(old)?,
            _ => self.clean(new)?,
        };
        // A git header may have named the file already.
        if !change.path.is_empty() && change.path != path {
            return self.wrong("two names for one file");
        }
        change.path = path;
        while let Some(line) = self.next_if(|line| line.starts_with(b"@@ ")) {
            let hunk = self.hunk(line)?;
            change.hunks.push(hunk);
        }
        if change.hunks.is_empty() { self.wrong("expected a hunk") } else { Ok(change) }
    }

    fn hunk(&mut self, line: &[u8]) -> Result<Hunk, UnpackError> {
        let Some((start, mut old_left, mut new_left)) = range(line) else {
            return self.wrong("expected the header of a hunk");
        };
        let mut hunk = Hunk { start, ..Hunk::default() };
        // Whether the previous line was an old or a new one.
        let (mut in_old, mut in_new) = (false, false);
        while old_left > 0 || new_left > 0 {
            let Some(line) = self.next() else { return self.wrong("it ends within a hunk") };
            let (sign, rest) = match line.split_first() {
                // Mail programs strip trailing blanks.
                Some((b'\n', _)) | None => (b' ', &b"\n"[..]),
                Some((sign, rest)) => (*sign, rest),
            };
            if sign == b'\\' {
                without_end(&mut hunk, in_old, in_new);
                continue;
            }
            (in_old, in_new) = (matches!(sign, b' ' | b'-'), matches!(sign, b' ' | b'+'));
            if !(in_old || in_new) || (in_old && old_left == 0) || (in_new && new_left == 0) {
                return self.wrong("a line that the header of its hunk does not count");
            }
            let mut rest = rest.to_vec();
            if rest.last() != Some(&b'\n') {
                rest.push(b'\n');
            }
            if in_old {
                old_left -= 1;
                hunk.old.push(rest.clone());
            }
            if in_new {
                new_left -= 1;
                hunk.new.push(rest);
            }
        }
        if self.next_if(|line| line.starts_with(b"\\")).is_some() {
            without_end(&mut hunk, in_old, in_new);
        }
        Ok(hunk)
    }
}

/// Removes the newline of the previous line.
fn without_end(hunk: &mut Hunk, in_old: bool, in_new: bool) {
    for (lines, is_in) in [(&mut hunk.old, in_old), (&mut hunk.new, in_new)] {
        if let Some(line) = lines.last_mut().filter(|_| is_in) {
            line.pop();
        }
    }
}

/// Reads a line of a git header.
fn header(change: &mut Change, line: &[u8]) -> Result<(), &'static str> {
    let mode = |mode: &[u8]| match mode {
        b"100644" => Ok(Some(false)),
        b"100755" => Ok(Some(true)),
        _ => Err("it creates something that is not a file"),
    };
    if let Some(new) = line.strip_prefix(b"new file mode ") {
        (change.created, change.program) = (true, mode(new)?);
    } else if let Some(new) = line.strip_prefix(b"new mode ") {
        change.program = mode(new)?;
    } else if let Some(old) = line.strip_prefix(b"deleted file mode ") {
        mode(old)?;
        change.deleted = true;
    } else if [&b"rename "[..], b"copy ", b"similarity "].iter().any(|word| line.starts_with(word)) {
        return Err("it renames or copies a file; create the patch with git diff --no-renames");
    } else if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files ") {
        return Err("it changes a file that is not text");
    }
    Ok(())
}

/// Parses `@@ -1,2 +3,4 @@`: first old line, number of old lines, number of new lines.
fn range(line: &[u8]) -> Option<(usize, usize, usize)> {
    let line = str::from_utf8(line.strip_prefix(b"@@ -")?.split(|byte| *byte == b'@').next()?).ok()?;
    let (old, new) = line.trim_end().split_once(" +")?;
    let number = |text: &str| {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<usize>().ok()).flatten()
    };
    let pair = |text: &str| match text.split_once(',') {
        Some((start, count)) => Some((number(start)?, number(count)?)),
        None => Some((number(text)?, 1)),
    };
    let ((start, old), (_, new)) = (pair(old)?, pair(new)?);
    (start > 0 || old == 0).then_some((start, old, new))
}
