//! Sources in messages.

use std::fmt;

/// The name of a source, and the toolchain that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// `None` for a source of the project.
    pub toolchain: Option<Box<str>>,
    pub name: Box<str>,
}

impl Label {
    /// A source of the project.
    #[must_use]
    pub(crate) fn of_project(name: &str) -> Self {
        Self { toolchain: None, name: name.into() }
    }

    /// A source of a toolchain.
    #[must_use]
    pub(crate) fn of_toolchain(toolchain: &str, name: &str) -> Self {
        Self { toolchain: Some(toolchain.into()), name: name.into() }
    }

    /// The key of its table in `hermes.toml`.
    #[must_use]
    pub(crate) fn table(&self) -> String {
        let Self { toolchain, name } = self;
        toolchain
            .as_ref()
            .map_or_else(|| format!("source.{name}"), |toolchain| format!("toolchains.{toolchain}.source.{name}"))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.toolchain {
            Some(toolchain) => write!(f, "{} of {toolchain}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
