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
    let context = context.requiring(&invocation.request.required);
    match prepare(&context, invocation)? {
        Opening::Ready((session, Prepared::Namespaces(namespaces))) => session.execute(*namespaces),
        Opening::Ready((session, Prepared::LandlockOnly(landlock_only))) => session.execute(*landlock_only),
        Opening::Fetched(lease) => Ok(Done::Fetched(lease)),
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
    let context = context.requiring(&invocation.request.required);
    let plan = match prepare(&context, invocation)? {
        Opening::Ready((session, Prepared::Namespaces(namespaces))) => RunPlan::of_namespaces(&session, *namespaces),
        Opening::Ready((session, Prepared::LandlockOnly(landlock_only))) => {
            RunPlan::of_landlock_only(&session, &landlock_only)
        }
        Opening::Fetched(lease) => return Ok(Planned::Fetched(lease)),
    };
    Ok(Planned::Plan(Box::new(plan)))
}

/// A planned sandbox.
enum Prepared {
    Namespaces(Box<Namespaces>),
    LandlockOnly(Box<LandlockOnly>),
}

/// Opens the session of a run and plans its sandbox, by the rules of its kind of isolation.
fn prepare(context: &Context, invocation: Invocation) -> Result<Opening<(Box<RunSession<'_>>, Prepared)>, Error> {
    let isolation = invocation.request.isolation;
    let binds = match isolation {
        Isolation::Namespaces => namespaces::binds,
        Isolation::Landlock => landlock_only::binds,
    };
    let mut session = match RunSession::open(context, invocation, binds)? {
        Opening::Ready(session) => session,
        Opening::Fetched(lease) => return Ok(Opening::Fetched(lease)),
    };
    let sandbox = match isolation {
        Isolation::Namespaces => Prepared::Namespaces(Box::new(Namespaces::prepare(&mut session)?)),
        Isolation::Landlock => Prepared::LandlockOnly(Box::new(LandlockOnly::prepare(&mut session)?)),
    };
    Ok(Opening::Ready((session, sandbox)))
}
