//! The system call filter of a run.

use crate::emulation::EmulationMode;
use crate::sandbox::fakeroot::{self, Owner};
use crate::sandbox::plan::Plan;
use crate::sandbox::seccomp::{self, Answer, Rule};
use crate::sandbox::tracer::exec_redirect::exec_stop_rules;
use crate::sandbox::tracer::explain;
use crate::sandbox::tracer::interpose::{interposed_rules, short_position_rules};

/// Calls that put files on disk: fsync(2), sync(2), `sync_file_range(2)`, msync(2).
const SYNC: [&str; 7] = ["fdatasync", "fsync", "msync", "sync", "sync_file_range", "sync_file_range2", "syncfs"];

/// The rules for the command of `plan`: what every command is refused, the answers of the fake root, and the calls that stop
/// for a tracer. With `short_positions`, those that read directories do too ([`crate::sandbox::plan::Positions`]).
pub(super) fn rules(plan: &Plan, short_positions: bool) -> Vec<Rule> {
    let policy = &plan.policy;
    let owner = Owner { ids: (plan.uid, plan.gid), many: policy.sub_ids.is_some() };
    let mut rules = seccomp::rules(plan.personality_32_bit);
    rules.extend(fakeroot::rules(policy.profile, policy.fake_root, owner));
    if policy.ignores_sync {
        rules.extend(SYNC.map(|call| Rule::always(call, Answer::Errno(0))));
    }
    if policy.emulation == Some(EmulationMode::Ptrace) {
        rules = exec_stop_rules(rules);
    }
    if policy.explain.is_some() {
        rules = explain::watched(rules);
    }
    rules = interposed_rules(rules, &policy.interposed);
    if short_positions { short_position_rules(rules) } else { rules }
}
