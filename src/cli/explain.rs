//! The output after a run: what the sandbox denied to the command, or a hint how to learn it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use crate::cli::printer::{json_to_stderr, line_to_stderr, text_to_stderr};
use crate::cli::settings;
use crate::commands::{Context, unmounted};
use crate::record::Run;
use crate::sandbox::{Ended, Entry, Explanation, Outcome, Profile, RootStrategy};
use crate::visible::visible;

/// Most that is shown to people.
const MAX_SHOWN: usize = 20;

/// Says it on standard error: standard output is the command's. What ran is what the `record` says.
pub(super) fn after(context: &Context, outcome: &Outcome, record: &Run, json: bool, quiet: bool) {
    match &outcome.explanation {
        Some(explanation) if json => {
            json_to_stderr(explanation);
        }
        Some(explanation) => text_to_stderr(text(explanation).trim_end()),
        None if !quiet && std::io::stderr().is_terminal() => {
            if let Some(hint) = hint(outcome.ended, record.profile, record.root_strategy) {
                line_to_stderr(&format!("hint: {hint}"));
            }
            if matches!(outcome.ended, Ended::Code(1..))
                && outcome.cause.is_none()
                && let Some(unmounted) = unmounted::find(context, record, settings::home().as_deref())
            {
                line_to_stderr(&format!("hint: {unmounted}"));
            }
        }
        None => {}
    }
}

/// For people.
fn text(explanation: &Explanation) -> String {
    let Explanation { refused, more } = explanation;
    if refused.is_empty() && *more == 0 {
        return "explain: the sandbox denied nothing to the command".into();
    }
    let mut out = "explain: operations that the sandbox denied, most significant first\n".to_owned();
    for entry in refused.iter().take(MAX_SHOWN) {
        write_entry(&mut out, entry);
    }
    let rest = *more + u64::try_from(refused.len().saturating_sub(MAX_SHOWN)).unwrap_or(0);
    if rest > 0 {
        let _ = writeln!(out, "  and {rest} more");
    }
    out
}

fn write_entry(out: &mut String, entry: &Entry) {
    let Entry { what, call, error, count, others, program, pid, why, remedy } = entry;
    let _ = write!(out, "  {}", visible(what));
    if *others > 0 {
        let _ = write!(out, " and {others} more");
    }
    let mut facts = Vec::new();
    // A call by its own name needs it once.
    match error {
        Some(error) if what.starts_with(call.as_str()) => facts.push(error.clone()),
        Some(error) => facts.push(format!("{call} {error}")),
        None => {}
    }
    if *count > 1 {
        facts.push(format!("{count} times"));
    }
    if !program.is_empty() {
        let first = if *count > 1 { "first by " } else { "by " };
        facts.push(format!("{first}{} ({pid})", visible(program)));
    }
    let _ = writeln!(out, ": {}", facts.join(", "));
    let _ = writeln!(out, "      {why}; {remedy}");
}

/// Where the end of a command that was not watched has probably to do with the sandbox. Builds fail all the time for
/// reasons of their own.
fn hint(ended: Ended, profile: Profile, root: RootStrategy) -> Option<&'static str> {
    const BAD_CALL: i32 = 31; // SIGSYS
    match ended {
        Ended::Signal(BAD_CALL) | Ended::Code(159) => Some(
            "a system call with a number that the filter does not know ended it (SIGSYS), such as one of x32; no option allows it",
        ),
        Ended::Code(126 | 127) => Some("to see what the sandbox denied: hermes run --explain …"),
        // Package managers rename directories of the image, and say no more than the kernel does.
        Ended::Code(1..) if profile == Profile::Provision && root == RootStrategy::Overlay => {
            Some("if it printed 'Invalid cross-device link': --rootfs merged allows renaming directories of the image")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Remedy;

    fn entry(what: &str, count: u64, remedy: Remedy) -> Entry {
        Entry {
            what: what.into(),
            call: "openat".into(),
            error: Some("ENOENT".into()),
            count,
            others: count / 5,
            program: "s\x1bh".into(),
            pid: 7,
            why: "it exists only outside the sandbox".into(),
            remedy,
        }
    }

    #[test]
    fn for_people() {
        let nothing = Explanation::default();
        assert_eq!(text(&nothing).lines().count(), 1);
        let refused = vec![
            entry("/opt/\x1b[31mtool", 12, Remedy::Allow("-v /opt/tool:/opt/tool:ro".into())),
            entry("openat (x)", 1, Remedy::Cannot("do without".into())),
        ];
        insta::assert_snapshot!(text(&Explanation { refused, more: 31 }), @r"
        explain: operations that the sandbox denied, most significant first
          /opt/\u{1b}[31mtool and 2 more: openat ENOENT, 12 times, first by s\u{1b}h (7)
              it exists only outside the sandbox; allow it with -v /opt/tool:/opt/tool:ro
          openat (x): ENOENT, by s\u{1b}h (7)
              it exists only outside the sandbox; cannot be allowed: do without
          and 31 more
        ");
        let many = vec![entry("/x", 1, Remedy::Cannot("no".into())); 100];
        let shown = text(&Explanation { refused: many, more: 1 });
        assert!(shown.lines().count() < 50 && shown.ends_with("and 81 more\n"), "{shown}");
    }

    #[test]
    fn hints_are_rare() {
        for (ended, said, as_root) in [
            (Ended::Code(0), false, false),
            (Ended::Code(1), false, true),
            (Ended::Code(2), false, true),
            (Ended::Signal(9), false, false),
            (Ended::Code(127), true, true),
            (Ended::Signal(31), true, true),
        ] {
            assert_eq!(hint(ended, Profile::Build, RootStrategy::Overlay).is_some(), said, "{ended:?}");
            assert_eq!(hint(ended, Profile::Provision, RootStrategy::Copy).is_some(), said, "{ended:?}");
            assert_eq!(hint(ended, Profile::Provision, RootStrategy::Overlay).is_some(), as_root, "{ended:?}");
        }
    }
}
