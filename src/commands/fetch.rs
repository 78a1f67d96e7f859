//! `hermes fetch`: what locks name, made present for work without a network.

use std::collections::BTreeSet;

use crate::commands::prepare::{Purpose, prepare};
use crate::commands::pull::Pulled;
use crate::commands::{Choice, Context, Error, Selection, network, sources};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::{ResolveError, platforms, platforms_local};
use crate::store::Store;

/// What was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// The images; without any, a toolchain's.
    pub images: Vec<Reference>,
    /// `--toolchain`.
    pub toolchain: Option<String>,
    /// For which platforms; none for the one that a run would take.
    pub platforms: Vec<Platform>,
    /// For all there are.
    pub all_platforms: bool,
}

/// What is to be fetched.
struct Wanted {
    choice: Choice,
    /// What its reference leads to, if that was found out.
    top: Option<Digest>,
}

/// Fetches what runs will need, by their lock, which gets what it lacks. All platforms are those of
/// the lock, where it has any of the toolchain, else those of the toolchain; of an image named by the
/// user, those it is made for. A foreign platform for which there is no emulator is told of and
/// fetched nonetheless.
///
/// # Errors
/// Any stage's. What was fetched by then stays.
pub(crate) fn fetch(context: &Context, request: &Request) -> Result<Vec<Pulled>, Error> {
    if request.images.is_empty() {
        context.allow_project(false)?;
    }
    let store = context.open_store()?;
    let mut fetched: Vec<Pulled> = Vec::new();
    for wanted in wanted(context, &store, request)? {
        let Wanted { choice, top } = wanted;
        let done = prepare(context, &store, &choice, Purpose::Later { top })?;
        fetched.push(Pulled {
            reference: choice.reference,
            platform: choice.image_platform,
            manifest: done.image.manifest.digest,
            bytes: done.fetched.map_or(0, |report| report.bytes_downloaded),
        });
    }
    if request.images.is_empty() {
        sources::fetch(context, &store)?;
    }
    Ok(fetched)
}

fn wanted(context: &Context, store: &Store, request: &Request) -> Result<Vec<Wanted>, Error> {
    let mut all = Vec::new();
    if request.images.is_empty() {
        let choices = if request.all_platforms {
            of_toolchain(context, &context.toolchain(request.toolchain.clone()))?
        } else {
            let selection =
                |platform| Selection { platform, toolchain: request.toolchain.clone(), ..Selection::default() };
            asked(&request.platforms).map(|platform| context.choose(selection(platform))).collect::<Result<_, _>>()?
        };
        all.extend(choices.into_iter().map(|choice| Wanted { choice, top: None }));
    }
    for image in &request.images {
        let choose =
            |platform| context.choose(Selection { platform, image: Some(image.clone()), ..Selection::default() });
        if request.all_platforms {
            let choice = choose(None)?;
            let (top, platforms) = of_image(context, store, &choice)?;
            if platforms.is_empty() {
                let (reference, wanted) = (Box::new(image.clone()), choice.image_platform);
                return Err(ResolveError::NoPlatform { reference, wanted, available: Vec::new() }.into());
            }
            for platform in platforms {
                all.push(Wanted { choice: choose(Some(platform))?, top: Some(top) });
            }
        } else {
            for platform in asked(&request.platforms) {
                all.push(Wanted { choice: choose(platform)?, top: None });
            }
        }
    }
    // Several platforms of a cross toolchain may share an image.
    let mut seen = BTreeSet::new();
    all.retain(|wanted| seen.insert((wanted.choice.reference.clone(), wanted.choice.image_platform)));
    Ok(all)
}

/// The platforms asked for; `None` stands for the one a run would take.
fn asked(platforms: &[Platform]) -> impl Iterator<Item = Option<Platform>> {
    let default = platforms.is_empty().then_some(None);
    default.into_iter().chain(platforms.iter().copied().map(Some))
}

/// What the lock has of a toolchain, or all of it where it has nothing.
fn of_toolchain(context: &Context, name: &str) -> Result<Vec<Choice>, Error> {
    let platforms = context.catalog.find(name)?.platform.into_keys();
    let choose = |platform| {
        context.choose(Selection { platform: Some(platform), toolchain: Some(name.to_owned()), ..Selection::default() })
    };
    let choices = platforms.map(choose).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = choices.first() else { return Ok(choices) };
    let lock = context.lock_file(first).read()?;
    let is_locked = |choice: &&Choice| lock.images.contains_key(&(choice.reference.clone(), choice.image_platform));
    let locked: Vec<_> = choices.iter().filter(is_locked).cloned().collect();
    Ok(if locked.is_empty() { choices } else { locked })
}

/// For which platforms an image is made, and the document that says so, the same for all of them: by
/// the lock, else by the store, else by what a registry says now.
fn of_image(context: &Context, store: &Store, choice: &Choice) -> Result<(Digest, BTreeSet<Platform>), Error> {
    let reference = &choice.reference;
    let lock = context.lock_file(choice).read()?;
    let locked = lock.images.iter().find(|((locked, _), _)| locked == reference);
    let top = match locked.map(|(_, image)| image.top().clone()) {
        Some(top) => Some(top),
        None => store.find_ref(reference)?,
    };
    if let Some(top) = &top
        && let Some(platforms) = platforms_local(top, store)
    {
        return Ok((top.digest, platforms));
    }
    if context.offline {
        return Err(Error::Offline { reference: reference.clone(), platform: choice.image_platform });
    }
    let asked = top.map_or_else(|| reference.clone(), |top| reference.pinned(top.digest));
    network::run(context, async |client| Ok(platforms(&asked, &client).await?))
}
