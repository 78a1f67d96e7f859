//! Licences in the words of SPDX, where a database has them.

/// Identifiers of the SPDX licence list that distributions use most. What has any other goes by its own words: an
/// expression with a name that nobody knows would be an invalid document.
const KNOWN: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0-Perl",
    "Artistic-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "EPL-1.0",
    "EPL-2.0",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "FTL",
    "GFDL-1.3-only",
    "GFDL-1.3-or-later",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "ISC",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "NCSA",
    "OFL-1.1",
    "OLDAP-2.8",
    "OpenSSL",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "Sleepycat",
    "TCL",
    "Unicode-DFS-2016",
    "Unlicense",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "blessing",
    "bzip2-1.0.6",
    "curl",
];
/// The same of what stands after `WITH`.
const EXCEPTIONS: &[&str] = &[
    "Autoconf-exception-3.0",
    "Bison-exception-2.2",
    "Classpath-exception-2.0",
    "GCC-exception-2.0",
    "GCC-exception-3.1",
    "LLVM-exception",
    "Linux-syscall-note",
];

/// Whether `text` is a licence expression (SPDX 2.3, annex D) of names that are known: names, joined by `AND`, `OR` and
/// `WITH`, in parentheses or not.
#[must_use]
pub(crate) fn is_spdx(text: &str) -> bool {
    let text = text.replace('(', " ( ").replace(')', " ) ");
    let (mut depth, mut wants_name, mut is_exception) = (0_u32, true, false);
    for word in text.split_whitespace() {
        match word {
            "(" if wants_name && !is_exception => depth += 1,
            ")" if !wants_name && depth > 0 => depth -= 1,
            "AND" | "OR" if !wants_name => wants_name = true,
            "WITH" if !wants_name && !is_exception => (wants_name, is_exception) = (true, true),
            name if wants_name && (if is_exception { EXCEPTIONS } else { KNOWN }).contains(&name) => {
                (wants_name, is_exception) = (false, false);
            }
            _ => return false,
        }
    }
    !wants_name && depth == 0
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
        ] {
            assert!(is_spdx(good), "{good}");
        }
        for bad in [
            "",
            "GPLv2+",
            "MIT and BSD",
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
