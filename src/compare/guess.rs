//! Likely causes of differences: places where each of two products contains something that only its own build had.
//!
//! A guess saves a look at the products and proves nothing: a few patterns are searched in the first bytes of the first
//! products that differ.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::compare::diff::{Comparison, Difference, Finding, Verdict};
use crate::compare::tree::Product;
use crate::record::GuestView;

/// Most products that are searched.
const MAX_PRODUCTS: usize = 50;
/// Most bytes of each that are searched.
const MAX_BYTES: u64 = 8 << 20;
/// Longest build of which every second is looked for.
const MAX_SECONDS: i64 = 3600;

/// From when to when, in seconds since 1970.
pub(crate) type Span = (i64, i64);

/// Properties of one build that may show in its products.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    /// Where the project was.
    pub(crate) work: String,
    pub(crate) home: String,
    pub(crate) hostname: String,
    pub(crate) umask: u32,
    /// `TZ`, if it was varied.
    pub(crate) zone: Option<&'static str>,
    /// When it was, by its own clock.
    pub(crate) time: Span,
    /// The same by the true one, which files have.
    pub(crate) true_time: Span,
}

impl Own {
    /// The traces of a build with the guest view `guest`.
    pub(crate) fn new(guest: &GuestView, true_time: Span, zone: Option<&'static str>) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let ahead = guest.clock.map_or(0, |clock| clock.seconds_ahead(true_time.0));
        Self {
            work: guest.work.as_deref().map(text).unwrap_or_default(),
            home: text(&guest.home),
            hostname: guest.hostname.clone(),
            umask: u32::from_str_radix(&guest.umask, 8).unwrap_or(0),
            zone,
            time: (true_time.0 + ahead, true_time.1 + ahead),
            true_time,
        }
    }
}

/// What a difference looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Guess {
    /// The first product in which it was seen.
    pub path: String,
    /// What it is, as in `build path`.
    pub what: &'static str,
    /// How it reads in the first; nothing where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: looks like the {}", self.path, self.what)?;
        match (&self.first, &self.second) {
            (Some(first), Some(second)) => write!(f, " ('{first}' / '{second}')"),
            _ => Ok(()),
        }
    }
}

/// What the differences look like, each kind once.
pub(crate) fn guesses(products: [&Product; 2], comparison: &Comparison, own: &[Own; 2]) -> Vec<Guess> {
    let mut guesses: Vec<Guess> = Vec::new();
    let differing = comparison.files.iter().filter(|finding| finding.verdict == Verdict::Differs);
    for finding in differing.take(MAX_PRODUCTS) {
        let contents = products.map(|product| product.content(Path::new(&finding.path), MAX_BYTES).unwrap_or_default());
        for found in of(finding, &contents, own) {
            if !guesses.iter().any(|known| known.what == found.what) {
                guesses.push(found);
            }
        }
    }
    guesses
}

fn of(finding: &Finding, contents: &[Vec<u8>; 2], own: &[Own; 2]) -> Vec<Guess> {
    let guess = |what, pair: Option<[String; 2]>| {
        let (first, second) = pair.map(|[first, second]| (first, second)).unzip();
        Guess { path: finding.path.clone(), what, first, second }
    };
    let [one, other] = own;
    let pair = |of: fn(&Own) -> &str| [of(one).to_owned(), of(other).to_owned()];
    let texts = [
        ("build path", pair(|own| &own.work)),
        ("home directory", pair(|own| &own.home)),
        ("host name", pair(|own| &own.hostname)),
    ];
    let mut found: Vec<Guess> = texts
        .into_iter()
        .filter(|(_, [first, second])| first != second && has(&contents[0], first) && has(&contents[1], second))
        .map(|(what, pair)| guess(what, Some(pair)))
        .collect();
    found.extend(zone(contents, own).map(|pair| guess("time zone", Some(pair))));
    if finding.details.iter().any(|detail| is_umask(&detail.difference, own)) {
        found.push(guess("umask", None));
    }
    if let Some(pair) = day(contents, own) {
        found.push(guess("date", Some(pair)));
    } else if finding.details.iter().any(|detail| is_time(&detail.difference, own)) {
        found.push(guess("time", None));
    }
    if is_same_in_another_order(contents) {
        found.push(guess("order of its lines: of a directory, a hash table or jobs at the same time", None));
    }
    found
}

fn has(content: &[u8], text: &str) -> bool {
    !text.is_empty() && content.windows(text.len()).any(|window| window == text.as_bytes())
}

/// How a zone that was varied shows, and the usual one.
fn zone(contents: &[Vec<u8>; 2], own: &[Own; 2]) -> Option<[String; 2]> {
    let name = own[1].zone?.split(['<', '>']).nth(1)?;
    let first = ["UTC", "+0000", "+00:00", "GMT"].into_iter().find(|text| has(&contents[0], text))?;
    let is_new = has(&contents[1], name) && !has(&contents[0], name);
    is_new.then(|| [first.to_owned(), name.to_owned()])
}

/// Whether what differs is what the umasks differ in.
fn is_umask(difference: &Difference, own: &[Own; 2]) -> bool {
    let (Difference::Mode { first, second }
    | Difference::Member { field: "mode", first, second }
    | Difference::Line { first, second, .. }) = difference
    else {
        return false;
    };
    let octal = |text: &str| u32::from_str_radix(text.trim(), 8).ok();
    let (Some(first), Some(second)) = (octal(first), octal(second)) else { return false };
    let varied = own[0].umask ^ own[1].umask;
    first != second && (first ^ second) & !varied == 0
}

/// How days are written, C's `__DATE__` among them.
const DAYS: [&str; 7] = ["%Y-%m-%d", "%Y%m%d", "%b %e %Y", "%d %b %Y", "%a %b %e", "%Y/%m/%d", "%d.%m.%Y"];

/// The day of each build in each product, where these are two.
fn day(contents: &[Vec<u8>; 2], own: &[Own; 2]) -> Option<[String; 2]> {
    // In its zone it may be another day than in UTC.
    const AWAY: i64 = 14 * 3600;
    let days = |own: &Own, format: &str| -> Vec<String> {
        let (from, to) = own.time;
        let mut moments = vec![from, to];
        if own.zone.is_some() {
            moments.extend([from + AWAY, to + AWAY]);
        }
        let times = moments.into_iter().filter_map(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
        times.map(|time| time.format(format).to_string()).collect()
    };
    DAYS.iter().find_map(|format| {
        let [first, second] = [0, 1].map(|side| {
            days(&own[side], format).into_iter().find(|day| has(&contents[side], day) && !has(&contents[1 - side], day))
        });
        Some([first?, second?])
    })
}

/// Whether a line has a time of its build in each product, or what an archive says of a member.
fn is_time(difference: &Difference, own: &[Own; 2]) -> bool {
    let (Difference::Line { first, second, .. } | Difference::Member { field: "time", first, second }) = difference
    else {
        return false;
    };
    has_time(first, &own[0]) && has_time(second, &own[1])
}

fn has_time(line: &str, own: &Own) -> bool {
    let numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<i64>().ok());
    let within = |(from, to): (i64, i64)| move |second: &i64| (from..=to).contains(second);
    if numbers.clone().any(|number| within(own.time)(&number) || within(own.true_time)(&number)) {
        return true;
    }
    let (from, to) = own.time;
    (from..=to.min(from + MAX_SECONDS)).any(|second| {
        let time = DateTime::<Utc>::from_timestamp(second, 0).map(|time| time.format("%H:%M:%S").to_string());
        time.is_some_and(|time| line.contains(&time))
    })
}

/// Whether both are texts of the same lines.
fn is_same_in_another_order(contents: &[Vec<u8>; 2]) -> bool {
    let lines = |content: &[u8]| {
        let mut lines: Vec<Vec<u8>> = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    let [one, other] = contents;
    one != other && one.len() == other.len() && !one.contains(&0) && lines(one) == lines(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Detail;

    /// 2026-11-21 and 2027-12-24, at 20:45:07 to 20:45:09.
    fn own() -> [Own; 2] {
        let true_time = (1_795_293_907, 1_795_293_909);
        let one = Own {
            work: "/work".into(),
            home: "/home/builder".into(),
            hostname: "hermes".into(),
            umask: 0o022,
            zone: None,
            time: true_time,
            true_time,
        };
        let ahead = 398 * 86_400;
        let other = Own {
            work: "/builds/x".into(),
            home: "/home/another".into(),
            hostname: "another".into(),
            umask: 0o002,
            zone: Some("<+14>-14"),
            time: (true_time.0 + ahead, true_time.1 + ahead),
            true_time,
        };
        [one, other]
    }

    fn seen(first: &str, second: &str, difference: Difference) -> Vec<&'static str> {
        let details = vec![Detail::from(difference)];
        let finding = Finding { path: "x".into(), verdict: Verdict::Differs, details, more: false };
        let contents = [first, second].map(|text| text.as_bytes().to_vec());
        of(&finding, &contents, &own()).into_iter().map(|guess| guess.what).collect()
    }

    #[test]
    fn what_differences_look_like() {
        let order = "order of its lines: of a directory, a hash table or jobs at the same time";
        for (first, second, what) in [
            ("at /work/x.c\0", "at /builds/x/x.c\0", &["build path"][..]),
            ("at /work/x.c", "at /work/y.c", &[]),
            ("on hermes in /home/builder", "on another in /home/another", &["home directory", "host name"]),
            ("Nov 21 2026", "Dec 24 2027", &["date"]),
            ("2026-11-21", "2027-12-24", &["date"]),
            ("Nov 20 2026", "Dec 24 2027", &[]),
            ("UTC", "+14", &["time zone"]),
            ("20:45:08", "20:45:07", &["time"]),
            ("built 1795293907 s", "built 1829681108 s", &["time"]),
            ("20:45:10", "20:45:07", &[]),
            ("a\nb\nc\n", "c\nb\na\n", &[order]),
            ("a\nb\n", "a\nc\n", &[]),
            ("755", "775", &["umask"]),
        ] {
            let line = Difference::Line { number: 1, first: first.into(), second: second.into() };
            assert_eq!(seen(first, second, line), what, "{first} / {second}");
        }
        let mode =
            |first: &str, second: &str| seen("", "", Difference::Mode { first: first.into(), second: second.into() });
        assert_eq!([mode("0644", "0664"), mode("0644", "0755")], [vec!["umask"], vec![]]);
    }
}
