//! Export of an image: as an OCI image layout, in a directory or a tar, which `hermes import`, skopeo and podman read, with
//! blobs copied byte for byte; or as an archive in Docker's form.

mod docker;
mod layout;
pub(super) mod sink;
