//! Errors of resolving a reference.

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::oci::{DocumentError, WirePlatform};
use crate::platform::{self, Platform};
use crate::reference::Reference;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// A reference cannot be resolved to an image. Large fields are boxed, since most results are not errors.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The registry failed.
    #[error(transparent)]
    Registry { source: Box<RegistryError> },
    /// A document of the image is not valid.
    #[error("invalid document {digest} of {reference}")]
    Document {
        reference: Box<Reference>,
        /// The index, manifest or config in question.
        digest: Digest,
        source: DocumentError,
    },
    /// An index within an index: no rule says which of its images to choose.
    #[error("{reference} has a nested index {digest}, which is not supported")]
    Nested {
        reference: Box<Reference>,
        /// The inner index.
        digest: Digest,
    },
    /// The image has no variant for the platform.
    #[error("{reference} has no image for {}; it has {}", wanted.name(), listed(available))]
    NoPlatform {
        reference: Box<Reference>,
        /// The requested platform.
        wanted: Platform,
        /// Platforms of the image: names for `--platform`, or escaped text of the image.
        available: Vec<String>,
    },
    /// The image needs a newer processor.
    #[error("{reference} needs an x86-64-v{level} processor, and this processor is x86-64-v{supported}")]
    Level {
        reference: Box<Reference>,
        /// The level that the image states.
        level: u8,
        /// The level of this host's processor.
        supported: u8,
    },
    /// The store failed.
    #[error("cannot resolve {reference} in the store")]
    Store { reference: Box<Reference>, source: Box<StoreError> },
}

fn listed(available: &[String]) -> String {
    if available.is_empty() { "no image that names a platform".to_owned() } else { available.join(", ") }
}

impl ResolveError {
    /// For `map_err`: the registry failed.
    pub(super) fn registry(source: RegistryError) -> Self {
        Self::Registry { source: Box::new(source) }
    }

    /// For `map_err`: the store failed.
    pub(super) fn store(reference: &Reference) -> impl Fn(StoreError) -> Self {
        move |source| Self::Store { reference: Box::new(reference.clone()), source: Box::new(source) }
    }

    /// For `map_err`: the document `digest` is not valid.
    pub(super) fn document(reference: &Reference, digest: Digest) -> impl Fn(DocumentError) -> Self {
        move |source| Self::Document { reference: Box::new(reference.clone()), digest, source }
    }
}

impl Hint for ResolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry { source } => source.kind(),
            Self::Document { source, .. } => source.kind(),
            Self::Store { source, .. } => source.kind(),
            Self::Nested { .. } => ErrorKind::Integrity,
            Self::NoPlatform { .. } | Self::Level { .. } => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Registry { source } => source.hints(),
            Self::Document { source, .. } => source.hints(),
            Self::Store { source, .. } => source.hints(),
            Self::Level { .. } => vec![
                "the lockfile was written on a host with a newer processor".into(),
                "select an image for this processor: hermes lock --update, on this host".into(),
            ],
            Self::Nested { .. } => vec!["name one of the images in it by digest".into()],
            Self::NoPlatform { wanted, available, .. } => {
                // A common mistake, since code for an older ARM does run on a newer one.
                let newer = Platform::all().find(|have| {
                    wanted.serves(*have).is_some() && have != wanted && available.iter().any(|name| name == have.name())
                });
                let newer = newer.map(|have| format!("{} programs do not run on {}", have.name(), wanted.name()));
                let needs_more = available.iter().any(|text| {
                    let stated = text.parse::<WirePlatform>().map(|platform| platform.stated_platform());
                    stated.is_ok_and(|stated| stated.known() == Some(*wanted))
                });
                let needs_more = needs_more.then(|| format!("this host's processor is x86-64-v{}", platform::level()));
                let other = available.iter().find(|name| name.parse::<Platform>().is_ok());
                let other = other.map(|name| format!("choose another image, or another platform: --platform {name}"));
                let known = available.first().map(|says| {
                    let wanted = wanted.name();
                    format!(
                        "if you know that one of its images is for {wanted} despite its label: --image-platform {says}"
                    )
                });
                newer.into_iter().chain(needs_more).chain(other).chain(known).collect()
            }
        }
    }
}
