//! Skips that are seen: what a test needs and this machine lacks. Unit tests use this file too (`src/lib.rs`).

use std::fs::OpenOptions;
use std::io::Write as _;

/// Whether a test that needs `what` can run. Where it cannot, the test is skipped: a line with `what`, the reason
/// and the test's name is added to the file that `HERMES_TEST_SKIPS` names, which `scripts/test` prints at its end.
///
/// # Panics
/// `HERMES_TEST_REQUIRE`, a list with commas, has `what`, or it is `all` and the list `HERMES_TEST_WITHOUT` lacks `what`.
pub fn require(what: &str, available: Result<(), String>) -> bool {
    let Err(reason) = available else { return true };
    let lists = |variable: &str, word: &str| {
        std::env::var(variable).unwrap_or_default().split(',').any(|listed| listed.trim() == word)
    };
    let required = lists("HERMES_TEST_REQUIRE", what)
        || lists("HERMES_TEST_REQUIRE", "all") && !lists("HERMES_TEST_WITHOUT", what);
    assert!(!required, "{what} is required by HERMES_TEST_REQUIRE: {reason}");
    if let Some(path) = std::env::var_os("HERMES_TEST_SKIPS") {
        let test = std::env::var("NEXTEST_TEST_NAME").ok();
        let test = test.or_else(|| std::thread::current().name().map(str::to_owned)).unwrap_or_default();
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut file = OpenOptions::new().append(true).open(path).expect("scripts/test makes this file");
        // One write, so that tests that run at once do not mix their lines.
        file.write_all(format!("{what}\t{reason}\t{test}\n").as_bytes()).unwrap();
    }
    false
}
