//! `hermes run`.
//!
//! [`request`] (one run: its request and open files) → [`session`] (what both kinds of isolation need) → [`namespaces`] or
//! [`landlock_only`] (the plan, and its execution) → [`record`].

mod attempts;
mod emulation;
mod environment;
mod landlock_only;
mod namespaces;
mod native_tools;
mod plan;
mod record;
mod request;
mod rootfs;
mod session;

#[cfg(test)]
pub(crate) use landlock_only::LandlockOnlyError;
pub(crate) use native_tools::usable_accel;
pub(crate) use plan::{MountKind, RunPlan};
pub(crate) use request::{Invocation, share};
pub(crate) use session::{Done, Ran};

use crate::commands::run::landlock_only::LandlockOnly;
use crate::commands::run::namespaces::Namespaces;
use crate::commands::run::session::{Opening, RunSession};
use crate::commands::{Context, Error};
use crate::sandbox::Isolation;
use crate::store::Lease;

/// Runs a command in an image.
///
/// # Errors
/// Those of every stage.
pub(crate) fn run(context: &Context, invocation: Invocation) -> Result<Done, Error> {
    let mut session = match open(context, invocation)? {
        Opening::Ready(session) => *session,
        Opening::Fetched(lease) => return Ok(Done::Fetched(lease)),
    };
    match session.invocation.request.isolation {
        Isolation::Namespaces => {
            let namespaces = Namespaces::prepare(&mut session)?;
            session.execute(namespaces)
        }
        Isolation::Landlock => {
            let landlock_only = LandlockOnly::prepare(&mut session)?;
            session.execute(landlock_only)
        }
    }
}

/// The plan of a run, or nothing yet.
pub(crate) enum Planned {
    /// The plan.
    Plan(Box<RunPlan>),
    /// As [`Done::Fetched`].
    Fetched(Lease),
}

/// Plans a run as [`run`] does. Nothing is run but what hermes needs to know of compilers, and nothing is recorded.
///
/// # Errors
/// Those of [`run`] before the sandbox is made.
pub(crate) fn plan(context: &Context, invocation: Invocation) -> Result<Planned, Error> {
    let mut session = match open(context, invocation)? {
        Opening::Ready(session) => *session,
        Opening::Fetched(lease) => return Ok(Planned::Fetched(lease)),
    };
    let plan = match session.invocation.request.isolation {
        Isolation::Namespaces => {
            let namespaces = Namespaces::prepare(&mut session)?;
            RunPlan::of_namespaces(&session, namespaces)
        }
        Isolation::Landlock => {
            let landlock_only = LandlockOnly::prepare(&mut session)?;
            RunPlan::of_landlock_only(&session, &landlock_only)
        }
    };
    Ok(Planned::Plan(Box::new(plan)))
}

/// Opens the session of a run, by the rules of its kind of isolation.
fn open(context: &Context, invocation: Invocation) -> Result<Opening<'_>, Error> {
    let binds = match invocation.request.isolation {
        Isolation::Namespaces => namespaces::binds,
        Isolation::Landlock => landlock_only::binds,
    };
    RunSession::open(context, invocation, binds)
}
