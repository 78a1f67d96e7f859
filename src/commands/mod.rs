//! The verbs: each calls the stages in order and returns what they came to. None prints, reads the
//! environment or ends the process; that is `cli`'s.

mod accelerate;
pub mod again;
pub mod allow;
mod bare;
pub mod bisect;
pub mod bundle;
pub mod changes;
pub mod composition;
mod context;
pub mod df;
pub mod doctor;
mod environment;
mod error;
pub mod export;
pub mod fetch;
mod foreign;
pub mod gc;
pub mod images;
pub mod import;
pub mod log;
pub mod login;
pub mod logout;
mod network;
pub mod outputs;
pub mod packages;
mod prepare;
pub mod preview;
pub mod provenance;
pub mod pull;
pub mod rebuild;
mod recording;
pub mod relock;
pub mod run;
mod self_test;
mod sites;
pub mod source;
mod sources;
pub mod spdx;
pub mod surroundings;
pub mod toolchains;
pub mod unmounted;
pub mod verify;

pub use context::{CallerProxies, Choice, Context, Selection};
pub use error::Error;
