//! SPDX licence expressions.

use spdx::Expression;

const OPERATORS: [&str; 3] = ["AND", "OR", "WITH"];

/// Whether `text` is a valid licence expression (SPDX 2.3, annex D) of identifiers in the SPDX licence list. Any other licence
/// has to be declared in a document with its own words.
#[must_use]
pub(crate) fn is_spdx(text: &str) -> bool {
    // The crate takes operators in lower case, too; the specification does not.
    let is_wrong = |word: &str| OPERATORS.iter().any(|right| word.eq_ignore_ascii_case(right) && word != *right);
    if text.split([' ', '(', ')']).any(is_wrong) {
        return false;
    }
    // A `LicenseRef-` is valid only in the document that declares it.
    Expression::parse(text).is_ok_and(|expression| {
        expression.requirements().all(|one| {
            let exception = one.req.addition.as_ref();
            one.req.license.id().is_some() && exception.is_none_or(|exception| exception.id().is_some())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for good in [
            "MIT",
            "MIT AND BSD-2-Clause",
            "(GPL-2.0-only OR MIT) AND Zlib",
            "GPL-3.0-or-later WITH GCC-exception-3.1 AND ISC",
            "BSD-Source-Code",
        ] {
            assert!(is_spdx(good), "{good}");
        }
        for bad in [
            "",
            "GPLv2+",
            "MIT and BSD",
            "MIT or Zlib",
            "GPL-2.0+",
            "LicenseRef-own",
            "MIT OR DocumentRef-a:LicenseRef-own",
            "MIT AND",
            "(MIT",
            "MIT)",
            "MIT MIT",
            "AND",
            "MIT WITH MIT",
            "()",
            "public domain",
        ] {
            assert!(!is_spdx(bad), "{bad}");
        }
    }
}
