//! Applying the hunks of a patch, without fuzz.

/// A hunk: old lines and new lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Number of the first old line, counted from 1. Without old lines, the line after which the new ones are inserted.
    pub(super) start: usize,
    /// Lines including newlines; the last line of a file may lack it.
    pub(super) old: Vec<Vec<u8>>,
    pub(super) new: Vec<Vec<u8>>,
}

/// Splits a file into lines, including newlines.
pub(super) fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Applies `hunks`. The error is the number of the hunk, counted from 1, that does not apply. All old lines of a hunk must
/// match, but may be further up or down; the nearest match is used.
pub(super) fn apply(content: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, usize> {
    let have = lines(content);
    let mut out = Vec::with_capacity(content.len());
    let (mut done, mut shift) = (0, 0_isize);
    for (number, hunk) in hunks.iter().enumerate() {
        let first = if hunk.old.is_empty() { hunk.start } else { hunk.start.saturating_sub(1) };
        let wanted = first.checked_add_signed(shift).unwrap_or(0).max(done);
        let fits = |at: usize| {
            at >= done && have.get(at..at + hunk.old.len()).is_some_and(|lines| lines.iter().eq(hunk.old.iter()))
        };
        let from = wanted.min(have.len());
        let near = (0..=have.len()).flat_map(|far| [from.checked_add(far), from.checked_sub(far)]).flatten();
        // A hunk that only adds lines has nothing to match.
        let at = if hunk.old.is_empty() {
            Some(wanted).filter(|at| fits(*at))
        } else {
            near.into_iter().find(|at| fits(*at))
        };
        let Some(at) = at else { return Err(number + 1) };
        out.extend(have[done..at].concat());
        out.extend(hunk.new.concat());
        done = at + hunk.old.len();
        shift = at.cast_signed() - first.cast_signed();
    }
    out.extend(have[done..].concat());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(start: usize, old: &[&str], new: &[&str]) -> Hunk {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        Hunk { start, old: lines(old), new: lines(new) }
    }

    #[test]
    fn hunks_apply_whole_or_not_at_all() {
        let file = "a\nb\nc\nd\n";
        for (hunks, want) in [
            (vec![hunk(2, &["b\n"], &["x\n", "y\n"])], Ok("a\nx\ny\nc\nd\n")),
            (vec![hunk(1, &["a\n"], &[]), hunk(4, &["d\n"], &["e"])], Ok("b\nc\ne")),
            (vec![hunk(0, &[], &["top\n"])], Ok("top\na\nb\nc\nd\n")),
            (vec![hunk(4, &[], &["end\n"])], Ok("a\nb\nc\nd\nend\n")),
            (vec![hunk(5, &[], &["beyond\n"])], Err(1)),
            // Search down and up from the stated line.
            (vec![hunk(1, &["c\n", "d\n"], &["z\n"])], Ok("a\nb\nz\n")),
            (vec![hunk(40, &["a\n"], &["z\n"])], Ok("z\nb\nc\nd\n")),
            // After the previous hunk, with all lines equal.
            (vec![hunk(2, &["b\n"], &["b\n"]), hunk(3, &["a\n"], &["z\n"])], Err(2)),
            (vec![hunk(1, &["a\n", "x\n"], &["z\n"])], Err(1)),
            (vec![hunk(4, &["d"], &["z"])], Err(1)),
        ] {
            let got = apply(file.as_bytes(), &hunks).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(got.as_deref().map_err(|number| *number), want, "{hunks:?}");
        }
        assert_eq!(apply(b"", &[hunk(0, &[], &["one\n"])]).unwrap(), b"one\n");
        assert_eq!(apply(b"end", &[hunk(1, &["end"], &["end\n"])]).unwrap(), b"end\n");
    }
}
