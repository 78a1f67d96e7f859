//! SPDX documents of an image and of a recorded run.

use serde_json::Value;

use crate::attest::Document;
use crate::commands::image_diff::inventory;
use crate::commands::log::Shown;
use crate::commands::{Context, Error, images, packages};
use crate::lock::{self, Image, Lock};
use crate::platform::Platform;
use crate::record::{Kind, RecordError, objects};
use crate::reference::Reference;
use crate::store::Store;

/// The time of a document that follows from an image alone.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// The document of an image of the store, for a platform; without one, for this host's, or else for its only one.
///
/// # Errors
/// No such image, or one without its layers; the store's.
pub(crate) fn of_image(context: &Context, reference: &Reference, platform: Option<Platform>) -> Result<Value, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let image = images::pick(&store, reference, platform)?;
    document(context, &store, reference, &image)
}

/// The document of the root of a toolchain of packages, by its lock.
///
/// # Errors
/// No lock, or one whose root is not composed; the store does not have its layers.
pub(crate) fn of_toolchain(context: &Context, toolchain: String, platform: Option<Platform>) -> Result<Value, Error> {
    let (reference, image) = packages::root_image(context, toolchain, platform)?;
    let store = context.open_store()?;
    let _lease = store.lease_all();
    document(context, &store, &reference, &image)
}

fn document(context: &Context, store: &Store, reference: &Reference, image: &Image) -> Result<Value, Error> {
    let mut document = Document::default();
    document.subject(reference, image);
    let Some(inventory) = inventory(context, store, image)? else {
        return Err(Error::NoLayersHere(Box::new(reference.clone())));
    };
    document.image(reference, image, Some(&inventory));
    Ok(document.finish(&reference.to_string(), NO_TIME))
}

/// The document of a run on record: its image, its emulator, its native tools.
///
/// # Errors
/// A record of version 1; lock entries of it that are gone or damaged; the store's.
pub(crate) fn of_record(context: &Context, shown: &Shown) -> Result<Value, Error> {
    let (id, what) = (shown.id, "an SPDX document");
    let Kind::Run(record) = &shown.kind else { return Err(RecordError::Old { id, what }.into()) };
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let text = objects::LOCKS.read(&store.records(), &record.run.lock)?;
    let path = objects::LOCKS.path(&store.records(), &record.run.lock);
    let lock: Lock = lock::parse(&String::from_utf8_lossy(&text), &path)?;
    let mut document = Document::default();
    let is_subject = |reference: &Reference, image: &Image| {
        *reference == record.run.target.reference && image.manifest.digest == record.run.manifest
    };
    for ((reference, _), image) in &lock.images {
        if is_subject(reference, image) {
            document.subject(reference, image);
        }
    }
    for ((reference, _), image) in &lock.images {
        let inventory = inventory(context, &store, image)?;
        document.image(reference, image, inventory.as_ref());
        if inventory.is_none() {
            document.remark(format!("not all layers of {reference} are in the store: its packages are not known"));
        }
    }
    for (platform, emulator) in &lock.emulators {
        document.emulator(*platform, emulator);
    }
    for (name, source) in &lock.sources {
        document.source(name, source);
    }
    for ((toolchain, _, name), source) in &lock.toolchain_sources {
        document.toolchain_source(&format!("{name} of {toolchain}"), source);
    }
    // To the second, as the format has it.
    let created = format!("{}Z", record.started.chars().take(19).collect::<String>());
    Ok(document.finish(&format!("run {}", id.short()), &created))
}
