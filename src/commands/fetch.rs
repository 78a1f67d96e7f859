//! `hermes fetch`: downloads everything that a lock references, for offline work.

use std::collections::BTreeSet;

use crate::commands::mirror::missing;
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::pull::Pulled;
use crate::commands::source::acquire;
use crate::commands::{Context, Error, Target, TargetSelector, network};
use crate::digest::Digest;
use crate::hint::error_chain;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::{ResolveError, platforms, platforms_local};
use crate::store::Store;

/// The arguments of `hermes fetch`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// The images; without any, a toolchain's.
    pub images: Vec<Reference>,
    /// `--toolchain`.
    pub toolchain: Option<String>,
    /// The platforms; none for the one that a run would use.
    pub platforms: Vec<Platform>,
    /// All platforms.
    pub all_platforms: bool,
}

/// An image to fetch.
struct Wanted {
    target: Target,
    /// The digest that its reference leads to, if known.
    top: Option<Digest>,
}

/// Fetches what runs will need, by their lock, and adds to the lock what it lacks. For a toolchain, all platforms are those
/// in the lock, or if it has none, those of the toolchain; for an image, those that it is made for. A foreign platform
/// without an emulator is fetched, with a note.
pub(crate) fn fetch(context: &Context, request: &Request) -> Result<Vec<Pulled>, Error> {
    if request.images.is_empty() {
        context.allow_project(false)?;
    }
    let store = context.open_store()?;
    let mut fetched: Vec<Pulled> = Vec::new();
    for wanted in wanted(context, &store, request)? {
        let Wanted { target, top } = wanted;
        let done = match prepare(context, &store, &target, Purpose::prefetch(top)) {
            // Another host can compose them.
            Err(error @ Error::NotComposed { .. }) => {
                context.reporter.warn(&error_chain(&error));
                continue;
            }
            done => done?,
        };
        fetched.push(Pulled {
            reference: target.reference,
            platform: target.image_platform,
            manifest: done.image.manifest.digest,
            bytes: done.fetched.map_or(0, |report| report.bytes_downloaded),
        });
    }
    if request.images.is_empty() {
        acquire::fetch(context, &store)?;
        missing::note(context, &context.lock_of(&context.toolchain(request.toolchain.clone())));
    }
    Ok(fetched)
}

fn wanted(context: &Context, store: &Store, request: &Request) -> Result<Vec<Wanted>, Error> {
    let mut all = Vec::new();
    if request.images.is_empty() {
        let targets = if request.all_platforms {
            of_toolchain(context, &context.toolchain(request.toolchain.clone()))?
        } else {
            let selector = |platform| TargetSelector {
                platform,
                toolchain: request.toolchain.clone(),
                ..TargetSelector::default()
            };
            asked(&request.platforms).map(|platform| context.choose(selector(platform))).collect::<Result<_, _>>()?
        };
        all.extend(targets.into_iter().map(|target| Wanted { target, top: None }));
    }
    for image in &request.images {
        let choose = |platform| {
            context.choose(TargetSelector { platform, image: Some(image.clone()), ..TargetSelector::default() })
        };
        if request.all_platforms {
            let target = choose(None)?;
            let (top, platforms) = of_image(context, store, &target)?;
            if platforms.is_empty() {
                let (reference, wanted) = (Box::new(image.clone()), target.image_platform);
                return Err(ResolveError::NoPlatform { reference, wanted, available: Vec::new() }.into());
            }
            for platform in platforms {
                all.push(Wanted { target: choose(Some(platform))?, top: Some(top) });
            }
        } else {
            for platform in asked(&request.platforms) {
                all.push(Wanted { target: choose(platform)?, top: None });
            }
        }
    }
    // Several platforms of a cross toolchain may share an image.
    let mut seen = BTreeSet::new();
    all.retain(|wanted| seen.insert((wanted.target.reference.clone(), wanted.target.image_platform)));
    Ok(all)
}

/// The requested platforms; `None` stands for the one that a run would use.
fn asked(platforms: &[Platform]) -> impl Iterator<Item = Option<Platform>> {
    let default = platforms.is_empty().then_some(None);
    default.into_iter().chain(platforms.iter().copied().map(Some))
}

/// The targets of a toolchain that the lock has, or all of them where it has none.
fn of_toolchain(context: &Context, name: &str) -> Result<Vec<Target>, Error> {
    let platforms = context.catalog.find(name)?.platform.into_keys();
    let choose = |platform| {
        context.choose(TargetSelector {
            platform: Some(platform),
            toolchain: Some(name.to_owned()),
            ..TargetSelector::default()
        })
    };
    let targets = platforms.map(choose).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = targets.first() else { return Ok(targets) };
    let lock = context.lock_file(first).read()?;
    let is_locked = |target: &&Target| lock.has(target.key());
    let locked: Vec<_> = targets.iter().filter(is_locked).cloned().collect();
    Ok(if locked.is_empty() { targets } else { locked })
}

/// The platforms of an image, and the digest of its index: by the lock, else by the store, else by the registry.
fn of_image(context: &Context, store: &Store, target: &Target) -> Result<(Digest, BTreeSet<Platform>), Error> {
    let reference = &target.reference;
    let lock = context.lock_file(target).read()?;
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
        return Err(Error::Offline { reference: reference.clone(), platform: target.image_platform });
    }
    let asked = top.map_or_else(|| reference.clone(), |top| reference.pinned(top.digest));
    network::run(context, async |client| Ok(platforms(&asked, &client).await?))
}
