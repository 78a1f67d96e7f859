//! Import of images from an OCI image layout (OCI image spec, "Image Layout"), a directory or an archive of one, or from an
//! archive in Docker's own form. Nothing in it is trusted: every blob is hashed when it is read, and names are set last.

mod docker;
mod images;
mod members;
mod source;

#[cfg(test)]
mod tests;
