//! The vocabulary of Python package indexes: requirements, names of wheels, and the pages that list them. No I/O.
//!
//! The rules are those of the Python Packaging User Guide: simple repository API (PEP 503, PEP 592, PEP 691), names of
//! binary distributions (PEP 427, PEP 425, PEP 600, PEP 656). Pages come from the network, so all parsers are strict and have
//! limits.

mod anchors;
mod page;
mod requirement;
mod wheel;

pub use page::{Listed, ParsePageError, parse_page};
pub use requirement::{ParseRequirementError, Requirement};
pub(crate) use wheel::{WheelName, is_file_name};
