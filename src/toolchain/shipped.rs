//! Lockfiles that hermes ships for toolchains of the catalogue.

use std::path::Path;

use crate::lock::{self, Lock, LockError};

/// The embedded lockfiles: every `NAME.lock` of `lockfiles/`.
const EMBEDDED: &[(&str, &str)] = &[
    ("debian", include_str!("../../lockfiles/debian.lock")),
    ("debian13", include_str!("../../lockfiles/debian13.lock")),
];

/// The lock of the embedded toolchain `name`.
///
/// # Errors
/// The file cannot be used, which a test excludes.
pub(super) fn lock(name: &str) -> Result<Option<Lock>, LockError> {
    let text = EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
    text.map(|text| lock::parse(text, &Path::new("lockfiles").join(format!("{name}.lock")))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Catalog;

    #[test]
    fn all_lockfiles_are_embedded_for_toolchains_of_the_catalogue() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("lockfiles");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        files.sort();
        let names: Vec<String> = EMBEDDED.iter().map(|(name, _)| format!("{name}.lock")).collect();
        assert_eq!(files, names);
        for (name, text) in EMBEDDED {
            Catalog::default().find(name).unwrap();
            // As hermes writes it.
            let lock = lock(name).unwrap().unwrap();
            assert_eq!(lock::render(&lock), *text, "{name}");
            // No mirror, and no settings of the machine that wrote it.
            assert!(!text.contains("://") && lock.build.is_none(), "{name}");
        }
    }
}
