//! Composition of a root from packages of Debian: everything but the run of their scripts.
//!
//! A root is unpacked ([`crate::debian::deb`]; further packages: [`above`]), configured by its own dpkg ([`script`]), finished
//! ([`mod@finish`]) and written as a layer ([`layer`]), with an [`image`] config. From the packages, the epoch and the text for apt follow the bytes of the
//! layer. Those of a base are the bytes that debootstrap and debuerreotype make, and so Docker Hub's image.

pub(crate) mod above;
pub(crate) mod finish;
pub(crate) mod image;
pub(crate) mod layer;
pub(crate) mod script;
pub(crate) mod times;
pub(crate) mod tree;
