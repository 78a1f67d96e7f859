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
mod record;
mod request;
mod rootfs;
mod session;

pub(crate) use native_tools::usable_accel;
pub(crate) use request::{Invocation, share};
pub(crate) use session::{Done, Ran};

use crate::commands::run::landlock_only::LandlockOnly;
use crate::commands::run::namespaces::Namespaces;
use crate::commands::run::session::{Opening, RunSession};
use crate::commands::{Context, Error};
use crate::sandbox::Isolation;

/// Runs a command in an image.
///
/// # Errors
/// Those of every stage.
pub(crate) fn run(context: &Context, invocation: Invocation) -> Result<Done, Error> {
    let isolation = invocation.request.isolation;
    let binds = match isolation {
        Isolation::Namespaces => namespaces::binds,
        Isolation::Landlock => landlock_only::binds,
    };
    let mut session = match RunSession::open(context, invocation, binds)? {
        Opening::Ready(session) => *session,
        Opening::Fetched(lease) => return Ok(Done::Fetched(lease)),
    };
    match isolation {
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
