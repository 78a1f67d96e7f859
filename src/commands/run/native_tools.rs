//! Native tools in place of emulated ones: whether they fit the image, and where they are put.

mod self_test;
mod trial;

use std::time::Duration;

pub(super) use trial::Wanted;

use crate::commands::run::emulation::Foreign;
use crate::commands::run::native_tools::trial::Trial;
use crate::commands::{Context, Error, Target};
use crate::digest::Digest;
use crate::emulation::Accel;
use crate::emulation::native::{Fit, Incompatibility, Natives, Placement, Tool};
use crate::fs::atomic;
use crate::hint::error_chain;
use crate::record::RunRequest;
use crate::rootfs::Rootfs;
use crate::sandbox::Isolation;
use crate::store::Store;

/// Time for their answers: compilers are called some thirty times, each for a tenth of a second.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes that their answers take.
const MAX_ANSWERS: u64 = 1 << 20;

/// Native tools for a run.
#[derive(Default)]
pub(super) struct Accelerated {
    pub(super) placements: Vec<Placement>,
    pub(super) tools: Vec<String>,
}

/// The use of native tools that `request` makes, as far as a run of `target` can use any.
///
/// # Errors
/// [`Error::NotAccelerated`].
pub(crate) fn usable_accel(request: &RunRequest, target: &Target) -> Result<Accel, Error> {
    let why = if request.isolation != Isolation::Namespaces {
        Some("--isolation landlock cannot replace programs of the image")
    } else if request.root {
        Some("--root could not install or remove the programs that native tools replace")
    } else if target.is_foreign() && target.native.is_none() {
        Some(if target.toolchain.is_none() {
            "only toolchains have native tools, and --image names an image"
        } else {
            "the toolchain has native = false for this platform"
        })
    } else {
        None
    };
    match why {
        Some(why) if request.accel == Accel::Require => Err(Error::NotAccelerated(why)),
        Some(_) => Ok(Accel::Off),
        None => Ok(request.accel),
    }
}

/// Native tools for the run, or nothing where they do not fit and need not.
pub(super) fn accelerate(
    context: &Context,
    store: &Store,
    accel: Accel,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
) -> Result<Accelerated, Error> {
    match fit(context, store, wanted, foreign) {
        Ok(accelerated) => {
            context.reporter.verbose(&format!("native: {}", accelerated.tools.join(", ")));
            Ok(accelerated)
        }
        Err(error) if accel == Accel::Require => Err(error),
        Err(error) => {
            context.reporter.warn(&format!("{}: all programs are emulated", error_chain(&error)));
            Ok(Accelerated::default())
        }
    }
}

fn fit(context: &Context, store: &Store, wanted: &Wanted<'_>, foreign: &mut Foreign) -> Result<Accelerated, Error> {
    let Some(described) = &wanted.target.native else { return Ok(Accelerated::default()) };
    let incompatible = |source| wanted.incompatible(source);
    let tools = described.tools();
    let tools = tools.iter().map(|name| name.parse::<Tool>()).collect::<Result<Vec<_>, _>>();
    let tools = tools.map_err(|source| incompatible(source.into()))?;
    let Some(tree) = Rootfs::merged_tree(wanted.native, store)? else { return Err(Error::NoLayers) };
    let natives =
        Natives::new(wanted.rootfs, wanted.target.image_platform, wanted.path, &tree, tools).map_err(incompatible)?;
    let said = match natives.questions().map_err(incompatible)? {
        None => None,
        Some(questions) => Some(answers(context, store, wanted, foreign, &natives, &questions)?),
    };
    let Fit { placements, names, self_test } = natives.fit(said.as_deref()).map_err(incompatible)?;
    if let Some(test) = self_test {
        self_test::pass(context, store, wanted, foreign, &test, &placements)?;
    }
    Ok(Accelerated { placements, tools: names })
}

/// The answers of the compilers, from a run of its own: once for these two images in a boot.
fn answers(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
    natives: &Natives<'_>,
    questions: &str,
) -> Result<String, Error> {
    let key = Digest::of(questions.as_bytes());
    trial::once(context, store, wanted, ("said", "output of the compilers"), &key, || {
        context.reporter.warn(&format!(
            "querying the compilers of {} and the native ones, once until this host restarts",
            wanted.target.reference
        ));
        let placements = natives.foundation().map_err(|source| wanted.incompatible(source))?;
        let files = [("questions", questions.to_owned())];
        let command = "exec /bin/sh ./questions >said 2>&1";
        let questions = Trial { placements, files: &files, command, timeout: TIMEOUT };
        let place = trial::run(context, store, wanted, foreign, questions)?;
        let said = atomic::read_plain(&place.path().join("said"), MAX_ANSWERS);
        let said =
            said.map_err(|source| wanted.incompatible(Incompatibility::Io { path: place.path().to_owned(), source }))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    })
}
