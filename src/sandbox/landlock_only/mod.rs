//! Runs without namespaces (`--isolation landlock`), for hosts that do not allow user namespaces: the command is an ordinary
//! process of the host that landlock and the system call filter confine to some paths. The confinement is weaker than that of
//! a sandbox with namespaces (`docs/security.md`).
//!
//! Between hermes and the command runs a [`subreaper`], which does the work of init: it becomes the parent of every orphaned
//! descendant of the command (`PR_SET_CHILD_SUBREAPER`), and kills all of them when the command or hermes ends. hermes
//! itself cannot do that, since it may have children from before it was executed.

mod descendants;
mod filter;
mod plan;
mod run;
mod subreaper;

pub(super) use filter::rules as filter_rules;
pub(crate) use plan::LandlockPlan;
pub(crate) use run::run;
