//! The self-test of native compilers: run with the image's own compilers and with the native ones, and compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commands::run::emulation::Foreign;
use crate::commands::run::native_tools::trial::{self, Trial, Wanted};
use crate::commands::{Context, Error};
use crate::compare::{self, CompareError, Detail, Difference, Finding, Product, Verdict};
use crate::emulation::native::{self, Incompatibility, Placement, SelfTest};
use crate::hint::error_chain;
use crate::store::{Store, TempDir};

/// For each side. Emulated it takes some 20 seconds of an idle processor.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest product, in bytes. An image may write anything in its place.
const MAX_PRODUCT: u64 = 16 << 20;
/// The result that is kept where nothing differs.
const PASSED: &str = "passed";

/// Has the native compilers of `placements` pass the self-test; once for these two images in a boot, as a test that fails is
/// kept too.
///
/// # Errors
/// They do not make what the image's own compilers make; the test could not be run.
pub(super) fn pass(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
    test: &SelfTest,
    placements: &[Placement],
) -> Result<(), Error> {
    let result = trial::once(
        context,
        store,
        wanted,
        ("tested", "self-test of the native compilers"),
        &test.key(),
        || {
            context.reporter.warn(&format!(
            "comparing the output of the native compilers with that of the compilers of {}: about half a minute, once until this host restarts",
            wanted.target.reference
        ));
            let files = test.files();
            let mut run = |placements: &[Placement]| {
                let (placements, command) = (placements.to_vec(), SelfTest::COMMAND);
                trial::run(
                    context,
                    store,
                    wanted,
                    foreign,
                    Trial { placements, files: &files, command, timeout: PATIENCE },
                )
            };
            let made = [run(&[])?, run(placements.get(..test.placements).unwrap_or(placements))?];
            let found =
                difference(test, made.each_ref().map(TempDir::path)).map_err(|source| wanted.incompatible(source))?;
            Ok(found.unwrap_or_else(|| PASSED.to_owned()))
        },
    )?;
    if result == PASSED { Ok(()) } else { Err(wanted.incompatible(Incompatibility::SelfTest(result))) }
}

/// The first difference between what the image's own compilers made and what the native ones made, each in its directory.
///
/// # Errors
/// The test did not end, or cannot be compared: the next run may try again.
fn difference(test: &SelfTest, made: [&Path; 2]) -> Result<Option<String>, Incompatibility> {
    let mut trees = Vec::new();
    for (directory, whose) in made.iter().zip(["image's own", "native"]) {
        if !directory.join(SelfTest::ENDED).exists() {
            return Err(Incompatibility::SelfTest(format!(
                "the {whose} compilers did not end within {} s",
                PATIENCE.as_secs()
            )));
        }
        let tree = Product::open(directory, None);
        trees.push(tree.map_err(|source| Incompatibility::Io { path: (*directory).to_owned(), source })?);
    }
    let [own, native] = &trees[..] else { return Ok(None) };
    let mut is_any = false;
    for product in &test.products {
        let is_expected = |directory: &&Path| {
            let found = std::fs::symlink_metadata(directory.join(&product.file));
            found.map_or(true, |file| file.is_file() && file.len() <= MAX_PRODUCT)
        };
        if !made.iter().all(is_expected) {
            return Ok(Some(format!("'{}' created no object file", product.call())));
        }
        let compared = match compare::compare([own, native], &[PathBuf::from(&product.file)]) {
            // The test has an option that neither of them knows.
            Err(CompareError::Absent { .. }) => continue,
            compared => compared.map_err(|error| Incompatibility::SelfTest(error_chain(&error)))?,
        };
        is_any = true;
        if let Some(finding) = compared.files.iter().find(|finding| finding.verdict == Verdict::Differs) {
            return Ok(Some(described(&product.call(), finding)));
        }
    }
    Ok((!is_any).then(|| "neither the image's own compilers nor the native ones compile anything".to_owned()))
}

/// A product that differs: in which unit, if that can be said.
fn described(call: &str, finding: &Finding) -> String {
    let unit = |detail: &Detail| match &detail.difference {
        Difference::Section { section, .. } | Difference::SectionOnlyIn { section, .. } => {
            native::unit(section).map(str::to_owned)
        }
        _ => None,
    };
    let named = finding.details.iter().find_map(|detail| Some((detail, Some(unit(detail)?))));
    let Some((detail, unit)) = named.or_else(|| finding.details.first().map(|detail| (detail, None))) else {
        return format!("the output of '{call}' differs");
    };
    let of_unit = unit.map_or_else(String::new, |unit| format!("unit {unit} of "));
    format!(
        "{of_unit}the output of '{call}' differs between the image's own compiler (first) and the native one (second): {detail}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Side;

    /// What `difference` says where the image's own compilers left the first files, and the native ones the second.
    fn said(files: [&[(&str, &[u8])]; 2]) -> Result<Option<String>, String> {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (directory, files) in directories.iter().zip(files) {
            for (name, content) in files {
                std::fs::write(directory.path().join(name), content).unwrap();
            }
        }
        let test = SelfTest::of("/usr/bin/gcc".as_ref());
        difference(&test, directories.each_ref().map(tempfile::TempDir::path)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_counts_as_different() {
        let ended: (&str, &[u8]) = (SelfTest::ENDED, b"");
        let made: (&str, &[u8]) = ("product-1", b"one");
        assert_eq!(said([&[ended, made], &[ended, made]]), Ok(None));
        let other = said([&[ended, made], &[ended, ("product-1", b"two")]]).unwrap().unwrap();
        assert!(other.contains("-fstack-protector-strong") && other.contains("line 1: 'one' / 'two'"), "{other}");
        // What one of them cannot compile, and what both cannot.
        let lacking = said([&[ended, made], &[ended]]).unwrap().unwrap();
        assert!(lacking.contains("only in the first"), "{lacking}");
        assert!(said([&[ended], &[ended]]).unwrap().unwrap().contains("nor the native ones"));
        // A test that was ended from outside says nothing of the compilers.
        assert!(said([&[ended, made], &[made]]).unwrap_err().contains("the native compilers did not end"));
        assert!(said([&[made], &[ended, made]]).unwrap_err().contains("the image's own compilers did not end"));
    }

    #[test]
    fn what_an_image_puts_in_the_place_of_a_product() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, native] = directories.each_ref().map(tempfile::TempDir::path);
        for directory in [own, native] {
            std::fs::write(directory.join(SelfTest::ENDED), "").unwrap();
            std::fs::write(directory.join("product-0"), "").unwrap();
        }
        let test = SelfTest::of("/usr/bin/gcc".as_ref());
        let is_refused = || difference(&test, [own, native]).unwrap().unwrap().contains("created no object file");
        let place = own.join("product-0");
        std::fs::File::create(&place).unwrap().set_len(1 << 40).unwrap();
        assert!(is_refused());
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &place).unwrap();
        assert!(is_refused());
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert!(is_refused());
    }

    #[test]
    fn the_unit_is_named() {
        let section = |name: &str| Difference::Section { section: name.into(), offset: Some(4), first: 8, second: 12 };
        let finding = |differences: Vec<Difference>| Finding {
            path: "product-1".into(),
            verdict: Verdict::Differs,
            details: differences.into_iter().map(Detail::from).collect(),
            more: false,
        };
        let text = described("gcc -O2", &finding(vec![section(".text"), section(".text.unit_alloca")]));
        assert!(
            text.starts_with("unit alloca of the output of 'gcc -O2'") && text.ends_with("4, 8 / 12 bytes"),
            "{text}"
        );
        let text = described("gcc -O2", &finding(vec![Difference::OnlyIn { side: Side::First }]));
        assert!(text.starts_with("the output of 'gcc -O2'") && text.contains("only in the first"), "{text}");
    }
}
