//! Environment variables of a run.

use std::ffi::OsString;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::record::Text;

/// An environment variable. The value of one that the caller passed on by its name (`-e NAME`) may be a secret, so it is
/// never serialized.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Recorded")]
pub struct Variable {
    /// Its name.
    pub name: Text,
    /// Its value; `None` if the variable was passed on and then read from a record.
    pub value: Option<Text>,
    /// Whether the caller passed it on by its name.
    pub is_passed_on: bool,
}

/// A variable as a record has it: one that was passed on has no value.
#[derive(Deserialize)]
struct Recorded {
    name: Text,
    #[serde(default)]
    value: Option<Text>,
}

impl Variable {
    /// A variable with a value that is recorded.
    #[must_use]
    pub fn new(name: OsString, value: OsString) -> Self {
        Self { name: Text(name), value: Some(Text(value)), is_passed_on: false }
    }

    /// A variable that is passed on from the caller.
    #[must_use]
    pub fn passed_on(name: OsString, value: OsString) -> Self {
        Self { is_passed_on: true, ..Self::new(name, value) }
    }

    /// The value as far as records have it.
    #[must_use]
    pub fn recorded(&self) -> Option<&Text> {
        self.value.as_ref().filter(|_| !self.is_passed_on)
    }
}

/// Without the value if that may be a secret.
impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).field("value", &self.recorded()).finish_non_exhaustive()
    }
}

impl From<Recorded> for Variable {
    fn from(recorded: Recorded) -> Self {
        Self { is_passed_on: recorded.value.is_none(), name: recorded.name, value: recorded.value }
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.recorded();
        let mut fields = serializer.serialize_struct("Variable", 1 + usize::from(value.is_some()))?;
        fields.serialize_field("name", &self.name)?;
        if let Some(value) = value {
            fields.serialize_field("value", value)?;
        }
        fields.end()
    }
}
