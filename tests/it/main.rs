//! Integration tests, in one binary so that it is linked once.

mod pull;
mod registry;
mod support;
