//! Tools that have native replacements.

use std::str::FromStr;

use serde::Serialize;

/// Programs that are replaced together. Only [`Tool::Compiler`] is replaced by default. A toolchain has to list the others,
/// since they can see the machine that they run on, which may affect a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tool {
    /// GCC's C and C++ with binutils.
    Compiler,
    /// GNU make. Its `MAKE_HOST` is the host's.
    Make,
    /// Ninja.
    Ninja,
    /// `sh`: whatever the image's is.
    Sh,
    /// bash. Its `MACHTYPE` and `HOSTTYPE` are the host's.
    Bash,
    /// sed.
    Sed,
    /// grep.
    Grep,
    /// awk: whatever the image's is.
    Awk,
    /// GNU coreutils, without programs that report the machine (`uname`, `arch`).
    Coreutils,
    /// `find` and `xargs`.
    Findutils,
    /// GNU diffutils.
    Diffutils,
    /// tar.
    Tar,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// m4.
    M4,
    /// Python, of the same minor version as the image's. It reports the host's architecture, so it must not build extension
    /// modules.
    Python,
}

const ALL: [(Tool, &str); 17] = [
    (Tool::Compiler, "compiler"),
    (Tool::Make, "make"),
    (Tool::Ninja, "ninja"),
    (Tool::Sh, "sh"),
    (Tool::Bash, "bash"),
    (Tool::Sed, "sed"),
    (Tool::Grep, "grep"),
    (Tool::Awk, "awk"),
    (Tool::Coreutils, "coreutils"),
    (Tool::Findutils, "findutils"),
    (Tool::Diffutils, "diffutils"),
    (Tool::Tar, "tar"),
    (Tool::Gzip, "gzip"),
    (Tool::Xz, "xz"),
    (Tool::Bzip2, "bzip2"),
    (Tool::M4, "m4"),
    (Tool::Python, "python"),
];

/// An unknown name of a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown native tool '{name}'; known tools: {}", ALL.map(|(_, name)| name).join(", "))]
pub(crate) struct ParseToolError {
    pub name: String,
}

impl FromStr for Tool {
    type Err = ParseToolError;

    fn from_str(text: &str) -> Result<Self, ParseToolError> {
        let known = ALL.iter().find(|(_, name)| *name == text).map(|(tool, _)| *tool);
        known.ok_or_else(|| ParseToolError { name: text.escape_default().to_string() })
    }
}

impl Tool {
    /// Its name in a toolchain file.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(tool, _)| *tool == self).map_or("", |(_, name)| name)
    }

    /// Names of its programs; those of the compiler may have prefixes and suffixes.
    pub(super) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Compiler => &[],
            Self::Make => &["make", "gmake"],
            Self::Ninja => &["ninja"],
            Self::Sh => &["sh"],
            Self::Bash => &["bash"],
            Self::Sed => &["sed"],
            Self::Grep => &["grep", "egrep", "fgrep"],
            Self::Awk => &["awk", "gawk", "mawk"],
            Self::Coreutils => COREUTILS,
            Self::Findutils => &["find", "xargs"],
            Self::Diffutils => &["cmp", "diff", "diff3", "sdiff"],
            Self::Tar => &["tar"],
            Self::Gzip => &["gzip"],
            Self::Xz => &["xz"],
            Self::Bzip2 => &["bzip2"],
            Self::M4 => &["m4"],
            Self::Python => &["python3"],
        }
    }
}

/// Without `stdbuf`, which loads a library into other programs, and `chroot`.
#[rustfmt::skip]
const COREUTILS: &[&str] = &[
    "[", "b2sum", "base32", "base64", "basename", "basenc", "cat", "chgrp", "chmod", "chown", "cksum", "comm", "cp", "csplit",
    "cut", "date", "dd", "dir", "dircolors", "dirname", "du", "echo", "env", "expand", "expr", "factor", "false", "fmt", "fold",
    "head", "id", "install", "join", "link", "ln", "logname", "ls", "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "mv", "nice",
    "nl", "nohup", "nproc", "numfmt", "od", "paste", "pathchk", "pr", "printenv", "printf", "ptx", "pwd", "readlink", "realpath",
    "rm", "rmdir", "seq", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "shred", "shuf", "sleep", "sort",
    "split", "stat", "stty", "sum", "sync", "tac", "tail", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tsort",
    "tty", "unexpand", "uniq", "unlink", "vdir", "wc", "who", "whoami", "yes",
];

/// binutils, whose names may have the target as prefix.
pub(super) const BINUTILS: [&str; 18] = [
    "addr2line",
    "ar",
    "as",
    "c++filt",
    "dwp",
    "elfedit",
    "gprof",
    "ld",
    "ld.bfd",
    "ld.gold",
    "nm",
    "objcopy",
    "objdump",
    "ranlib",
    "readelf",
    "size",
    "strings",
    "strip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (tool, name) in ALL {
            assert_eq!((name.parse(), tool.name()), (Ok(tool), name));
        }
        assert!("gcc".parse::<Tool>().unwrap_err().to_string().contains("compiler, make"));
        // Programs that report the machine stay the image's.
        assert!(!COREUTILS.contains(&"uname") && !COREUTILS.contains(&"arch") && COREUTILS.is_sorted());
    }
}
