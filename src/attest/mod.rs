//! Attestations: documents in standard formats about an image or a recorded run. SPDX 2.3 (`docs/packages.md`) and in-toto
//! statements with SLSA provenance (`docs/provenance.md`). What goes in is given; nothing is read here.

mod provenance;
mod spdx;

pub(crate) use provenance::{ProvenanceError, Statement};
pub(crate) use spdx::Document;
