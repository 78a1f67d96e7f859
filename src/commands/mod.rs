//! The verbs: each calls the stages in order and returns the result. Printing, reading the environment and ending the
//! process are left to `cli`.

pub(crate) mod acquire;
pub(crate) mod allow;
pub(crate) mod bisect;
pub(crate) mod bundle;
mod context;
pub(crate) mod df;
pub(crate) mod doctor;
mod error;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod gc;
pub(crate) mod guest_overrides;
pub(crate) mod image_diff;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod mirror;
mod network;
pub(crate) mod outputs;
pub(crate) mod packages;
mod prepare;
pub(crate) mod preview;
mod project_file;
pub(crate) mod provenance;
pub(crate) mod pull;
pub(crate) mod rebuild;
pub(crate) mod run;
mod site_stores;
pub(crate) mod source;
pub(crate) mod spdx;
pub(crate) mod toolchains;
pub(crate) mod unmounted;
pub(crate) mod verify;

pub(crate) use context::{CallerProxies, Context};
#[cfg(test)]
pub(crate) use error::VerbError;
pub(crate) use error::{Error, OwnError};

pub(crate) use crate::record::{Target, TargetSelector};
