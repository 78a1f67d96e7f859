//! From a choice to bytes on disk: lock, image, emulator.

use std::cell::LazyCell;
use std::path::PathBuf;

use crate::commands::sites::Sites;
use crate::commands::{Choice, Context, Error, network};
use crate::digest::Digest;
use crate::emulation;
use crate::fetch::{FetchReport, fetch, unpack_local};
use crate::lock::{Emulator, Image, Lock};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::resolve::{ResolveError, resolve, resolve_local};
use crate::store::{Lease, Needs, Store};

/// A choice, ready to run.
pub(super) struct Prepared {
    /// The image, unpacked in the store.
    pub(super) image: Image,
    /// The emulator and its file in the store, where the image is foreign.
    pub(super) emulator: Option<(Emulator, PathBuf)>,
    /// What was fetched; `None` where no socket was opened.
    pub(super) fetched: Option<FetchReport>,
    /// Keeps all of it in the store.
    pub(super) lease: Lease,
}

/// What something is made ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A run on this host, now.
    Run,
    /// The same, with the blobs of layers that are unpacked already.
    Pull,
    /// Any later one, perhaps elsewhere: an emulator is welcome, but not needed.
    Later {
        /// What the reference leads to, if that was found out before and the lock does not say.
        top: Option<Digest>,
    },
}

/// Makes the store hold what `choice` means, and the lock say it.
pub(super) fn prepare(context: &Context, store: &Store, choice: &Choice, purpose: Purpose) -> Result<Prepared, Error> {
    let file = context.lock_file(choice);
    let mut lock = file.read()?;
    let key = (choice.reference.clone(), choice.image_platform);
    // Whatever is found to be there from here on stays there.
    let mut lease = store.lease();
    let mut all_fetched: Option<FetchReport> = None;
    loop {
        let locked = lock.images.get(&key).cloned();
        let stale = |what: String| Error::Stale { lock: file.path().to_owned(), what };
        if locked.is_none() && context.locked {
            return Err(stale(format!("{} for {}", choice.reference, choice.image_platform.name())));
        }
        let mut needs = Needs::default();
        if let Some(image) = &locked {
            needs.image(image);
        }
        if let Some(emulator) = lock.emulators.get(&choice.image_platform) {
            needs.blob(&emulator.blob());
        }
        if needs != Needs::default() {
            lease.add(&needs);
        }
        // The emulator before the image: where there is none, nothing is downloaded in vain.
        let emulator = match emulator(context, store, choice.image_platform, &lock, &mut lease) {
            Err(error @ (Error::Emulation(_) | Error::EmulatorChanged { .. }))
                if matches!(purpose, Purpose::Later { .. }) =>
            {
                context.reporter.note(&format!("{error}; the image is fetched all the same"));
                None
            }
            outcome => outcome?,
        };
        let new_emulator = emulator.as_ref().is_some_and(|(_, _, new)| *new);
        if new_emulator && context.locked {
            return Err(stale(format!("the emulator for {}", choice.image_platform.name())));
        }
        let (image, fetched) = image(context, store, choice, locked.clone(), purpose, &mut lease)?;
        all_fetched = match (all_fetched, fetched) {
            (Some(before), Some(now)) => Some(before + now),
            (before, now) => before.or(now),
        };
        let emulator = emulator.map(|(emulator, path, _)| (emulator, path));
        if locked.is_none() || new_emulator {
            let now = file.update(|lock| {
                lock.images.entry(key.clone()).or_insert_with(|| image.clone());
                if let Some((emulator, _)) = &emulator {
                    lock.emulators.entry(choice.image_platform).or_insert_with(|| emulator.clone());
                }
            })?;
            let other_emulator = emulator
                .as_ref()
                .is_some_and(|(emulator, _)| now.emulators.get(&choice.image_platform) != Some(emulator));
            let ours = now.images.get(&key) == Some(&image) && !other_emulator;
            context.reporter.note(&format!(
                "{} {} for {} in {}",
                if ours { "locked" } else { "another hermes has just locked" },
                choice.reference,
                choice.image_platform.name(),
                file.path().display()
            ));
            if !ours {
                // Somebody may rely on it by now. All that is needed is in the lock, so this comes to
                // an end the second time.
                lock = now;
                continue;
            }
        }
        if let Err(error) = store.remember(file.path()) {
            // In a store that cannot be written nothing is removed either.
            context.reporter.detail(&format!("{} is not remembered: {error}", file.path().display()));
        }
        return Ok(Prepared { image, emulator, fetched: all_fetched, lease });
    }
}

/// The image, whole and unpacked: out of the lock, else out of the store, else out of a registry.
fn image(
    context: &Context,
    store: &Store,
    choice: &Choice,
    locked: Option<Image>,
    purpose: Purpose,
    lease: &mut Lease,
) -> Result<(Image, Option<FetchReport>), Error> {
    let known = match locked {
        Some(image) => Some(image),
        None => match resolve_local(&choice.reference, choice.image_platform, store) {
            Ok(image) => {
                if let Some(image) = &image {
                    lease.add(&needs_of(image));
                }
                image
            }
            // What is here has no such platform; the registry may.
            Err(ResolveError::NoPlatform { .. }) if !context.offline => None,
            Err(error) => return Err(error.into()),
        },
    };
    let sites = LazyCell::new(|| Sites::open(context));
    let is_there = |image: &Image| {
        store.has_image(image)
            && (purpose == Purpose::Run || context.offline || has_blobs(store, image, |blob| sites.has_blob(blob)))
    };
    if let Some(image) = &known {
        if is_there(image) {
            return Ok((image.clone(), None));
        }
        unpack_local(image, store, context.reporter.as_ref())?;
        if is_there(image) {
            return Ok((image.clone(), None));
        }
    }
    if let Some(image) = sites.find(store, choice, known.as_ref())? {
        lease.add(&needs_of(&image));
        // Before that somebody may have removed it.
        if store.has_image(&image) {
            return Ok((image, None));
        }
    }
    if context.offline {
        return Err(Error::Offline { reference: choice.reference.clone(), platform: choice.image_platform });
    }
    let (image, report) = network::run(context, async |client| {
        let wanted = choice.image_platform;
        let (image, reference) = if let Some(image) = known {
            // Not what the tag means by now.
            let pinned = choice.reference.pinned(image.top().digest);
            (image, pinned)
        } else {
            let asked = match purpose {
                Purpose::Later { top: Some(top) } => choice.reference.pinned(top),
                _ => choice.reference.clone(),
            };
            let image = resolve(&asked, wanted, store, &client, context.reporter.as_ref()).await?;
            lease.add(&needs_of(&image));
            sites.unpack(store, &image);
            (image, choice.reference.clone())
        };
        let report =
            fetch(&reference, &image, store, &client, &context.reporter, context.jobs, &|blob| sites.has_blob(blob))
                .await?;
        Ok((image, report))
    })?;
    Ok((image, Some(report)))
}

/// Whether the blobs of all layers are here or `elsewhere`: one that was damaged and taken out is not, although the layer
/// may be unpacked.
pub(super) fn has_blobs(store: &Store, image: &Image, elsewhere: impl Fn(&Descriptor) -> bool) -> bool {
    image.layers.iter().all(|layer| store.has_blob(&layer.blob) || elsewhere(&layer.blob))
}

/// What `image` needs of the store.
pub(super) fn needs_of(image: &Image) -> Needs {
    let mut needs = Needs::default();
    needs.image(image);
    needs
}

/// The emulator for programs of `platform`, its file, and whether the lock does not have it yet.
fn emulator(
    context: &Context,
    store: &Store,
    platform: Platform,
    lock: &Lock,
    lease: &mut Lease,
) -> Result<Option<(Emulator, PathBuf, bool)>, Error> {
    if Platform::host().runs(platform) {
        return Ok(None);
    }
    let locked = lock.emulators.get(&platform);
    if let Some(emulator) = locked
        && store.has_blob(&emulator.blob())
    {
        return Ok(Some((emulator.clone(), store.blob_path(&emulator.digest), false)));
    }
    let found = emulation::find(platform, context.emulators.get(&platform).map(PathBuf::as_path), &context.search);
    let path = match (found, locked) {
        (Ok(path), _) => path,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(locked)) => {
            return Err(Error::EmulatorChanged { platform, wanted: locked.digest, found: error.to_string() });
        }
    };
    let emulator = lease.add_program(&path)?;
    if let Some(locked) = locked
        && *locked != emulator
    {
        let found = format!("{} of this host has {}", path.display(), emulator.digest);
        return Err(Error::EmulatorChanged { platform, wanted: locked.digest, found });
    }
    let path = store.blob_path(&emulator.digest);
    Ok(Some((emulator, path, locked.is_none())))
}
