//! Re-exports for the end-to-end tests and the fuzz targets, module by module. This is not a public interface: it changes
//! with the tests.

pub mod compare {
    pub use crate::compare::{Listing, Product, compare};
}
pub mod compose {
    pub use crate::commands::acquire::compose::{Archive, ComposeError, Composition, compose};
    pub use crate::sandbox::DirectoryOrder;
}
pub mod debian {
    pub mod deb {
        pub use crate::debian::deb::{
            Control, ControlFile, DatabaseFile, DebError, Expected, Fault, Root, UnpackedPackage, copy_file, database,
            read_control,
        };
    }
    pub use crate::debian::{
        Field, Index, IndexFile, IndexPackage, Keyring, ParseIndexError, ParseKeyringError, ParseReleaseError, Pool,
        Priority, Release, ReleaseError, ReleaseFile, Selected, SignatureError, Signed, Signer, SigningKey, Solution,
        SolveError, VirtualChoice, verify,
    };
}
pub mod digest {
    pub use crate::digest::Digest;
}
pub mod dpkg {
    pub use crate::dpkg::{
        Architecture, ArchitectureRestriction, Constraint, Dependency, Fingerprint, Operator, PackageName,
        ParseArchitectureError, ParseFingerprintError, ParsePackageNameError, ParseParagraphError, ParseRelationError,
        ParseRequestError, ParseVersionError, Profile, Qualifier, Relation, Request, Version, parse_relations,
    };
}
pub mod emulation {
    pub mod native {
        pub use crate::emulation::native::{CrossToolsError, ImageCompilers};
    }
    pub use crate::emulation::{interpreter, is_program};
}
pub mod fetch {
    pub use crate::fetch::{FetchError, FetchReport, fetch, unpack_local};
}
pub mod fs {
    pub use crate::fs::opened::Opened;
    pub mod source_digest {
        pub use crate::fs::source_digest::of_tree;
    }
    pub mod remove {
        pub use crate::fs::remove::path;
    }
}
pub mod hint {
    pub use crate::hint::{ErrorKind, Hint, error_chain};
}
pub mod layer {
    pub use crate::layer::{
        Assembled, Assembly, Attributes, Entry, Files, Kind, LayerError, Limits, Merge, Toc, Unpacked, assemble, unpack,
    };
}
pub mod lock {
    pub use crate::lock::{Build, Image, Layer, Source, differences, parse, render};
}
pub mod oci {
    pub use crate::oci::{
        DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, DocumentError, INDEX, ImageConfig, MANIFEST, MAX_LAYERS,
        MAX_MANIFEST, Manifest, WirePlatform, chain_id,
    };
}
pub mod packages {
    pub use crate::packages::{Inventory, Kind};
}
pub mod platform {
    pub use crate::platform::{Platform, level};
}
pub mod progress {
    pub use crate::progress::{Reporter, Silent, TaskId};
}
pub mod pypi {
    pub use crate::pypi::{Listed, ParsePageError, ParseRequirementError, Requirement, parse_page};
}
pub mod record {
    pub use crate::record::{RecordError, entries, find};
}
pub mod reference {
    pub use crate::reference::Reference;
}
pub mod registry {
    pub use crate::registry::{Challenge, Client, Fetched, Host, Limits, RegistryError, Settings};
}
pub mod resolve {
    pub use crate::resolve::{ResolveError, resolve, resolve_local};
}
pub mod rootfs {
    pub use crate::rootfs::{Accounts, Rootfs, injected, resolve};
}
pub mod source {
    pub use crate::source::{strip_of, unpack};
}
pub mod store {
    pub use crate::store::{DIRECTORIES, FILES, Store, StoreError};
}
pub mod sys {
    pub mod process {
        pub use crate::sys::process::landlock_abi;
    }
}
pub mod toolchain {
    pub use crate::toolchain::Project;
}
pub mod visible {
    pub use crate::visible::is_hidden;
}
