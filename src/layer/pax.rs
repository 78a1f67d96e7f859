//! PAX extended headers (POSIX.1-2017, pax, "Extended Header"), read strictly. tar-core stops
//! without a word at the first record whose length does not parse.

/// Key and value of one record.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// What hermes asks of the records of one entry.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one kind of record that was seen")]
pub(super) struct Records {
    pub(super) path: bool,
    pub(super) link: bool,
    pub(super) size: bool,
    pub(super) sparse: bool,
    pub(super) mtime: Option<(i64, u32)>,
}

/// Splits an extended header into its records: `<length> <key>=<value>\n`.
pub(super) fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, String> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let (record, rest) = split(data).ok_or("invalid extended header")?;
        records.push(record);
        data = rest;
    }
    Ok(records)
}

fn split(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(unsigned(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    (equals > 0 && !body[..equals].contains(&0)).then_some(((&body[..equals], &body[equals + 1..]), rest))
}

pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

impl Records {
    /// Checks every record that matters. The last one of a key is the one that counts.
    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        let mut all = Self::default();
        for (key, value) in records(data)? {
            let number = || unsigned(value).ok_or_else(|| format!("'{}' is not a number", key.escape_ascii()));
            match key {
                b"path" => all.path = true,
                b"linkpath" => all.link = true,
                b"size" => {
                    number()?;
                    all.size = true;
                }
                b"uid" | b"gid" => {
                    number()?;
                }
                b"mtime" => all.mtime = Some(time(value).ok_or("'mtime' is not a time")?),
                b"GNU.sparse.name" => (all.path, all.sparse) = (true, true),
                b"GNU.sparse.map" => {
                    if !value.split(|byte| *byte == b',').all(|part| unsigned(part).is_some()) {
                        return Err("'GNU.sparse.map' is not a list of numbers".into());
                    }
                    all.sparse = true;
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    number()?;
                    all.sparse = true;
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

/// `[-]seconds[.fraction]` as seconds and nanoseconds after them; further digits are cut off.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(unsigned(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"0");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, time_) in [
            ("0", Some((0, 0))),
            ("1700000000", Some((1_700_000_000, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.", Some((12, 0))),
            ("12.1234567899", Some((12, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("", None),
            ("-", None),
            ("+1", None),
            (".5", None),
            ("1e3", None),
            ("1.-5", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(time(text.as_bytes()), time_, "{text}");
        }
    }

    #[test]
    fn records_are_read_to_the_end_or_not_at_all() {
        let all = records(b"20 path=foo/bar.txt\n10 size=1\n12 path=b=c\n").unwrap();
        assert_eq!(all, [(&b"path"[..], &b"foo/bar.txt"[..]), (b"size", b"1"), (b"path", b"b=c")]);
        assert_eq!(records(b"").unwrap(), []);
        for bad in [
            &b"10 size=1"[..],
            b"11 size=1\n",
            b"8 size=1\n",
            b"+10 size=1\n",
            b"xx size=1\n",
            b"0 size=1\n",
            b"1 size=1\n",
            b"10 size=1\n\0\0",
            b"10 size=1\ngarbage without any blank",
            b"10 size:1\n",
            b"6 =ab\n",
            b"10 s\0ze=1\n",
            b"99999999999999999999999 size=1\n",
        ] {
            assert!(records(bad).is_err(), "accepted {}", bad.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_digits() {
        for bad in ["size=+5", "size=-5", "size=5x", "uid=", "GNU.sparse.map=1,2,", "GNU.sparse.major=one", "mtime=x"] {
            let record = format!("{} {bad}\n", bad.len() + 4);
            assert_eq!(record.len(), bad.len() + if bad.len() + 4 > 9 { 4 } else { 3 });
            assert!(Records::read(record.as_bytes()).is_err(), "accepted {bad}");
        }
        let all = Records::read(b"10 size=1\n11 mtime=2\n13 mtime=3.5\n").unwrap();
        assert_eq!(all, Records { size: true, mtime: Some((3, 500_000_000)), ..Records::default() });
    }
}
