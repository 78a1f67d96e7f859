//! The script that configures the packages of a root, and what it gets.

use std::ffi::OsString;

use super::finish::Part;

const SCRIPT: &str = include_str!("files/configure.sh");

/// A package with a preinst script, which dpkg runs before it unpacks the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preinst {
    /// Name of the package's files in dpkg's database: with the architecture if several can be installed at once.
    pub(crate) name: String,
    /// Architecture of the package, or `all`.
    pub(crate) architecture: String,
    /// Its control file.
    pub(crate) control: Vec<u8>,
}

/// The command line that configures a part of a root, with the packages that were `requested` for it.
#[must_use]
pub(crate) fn command(part: Part, preinsts: &[Preinst], requested: &[String]) -> Vec<OsString> {
    let part = match part {
        Part::Base => "base",
        Part::Packages => "packages",
    };
    let start = ["/bin/sh", "-c", SCRIPT, "configure", part].map(str::to_owned);
    let preinsts = preinsts.iter().map(|Preinst { name, architecture, .. }| format!("{name}={architecture}"));
    let words = start.into_iter().chain(preinsts).chain(["--".to_owned()]).chain(requested.iter().cloned());
    words.map(OsString::from).collect()
}

/// The variables of the script: those of debootstrap and debuerreotype.
#[must_use]
pub(crate) fn environment(epoch: i64) -> Vec<(OsString, OsString)> {
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.into(), value.into()));
    fixed.chain([("SOURCE_DATE_EPOCH".into(), epoch.to_string().into())]).collect()
}

/// File with the output of the script, in its directory.
pub(crate) const LOG: &str = "log";
/// File with what the script is doing, in its directory.
pub(crate) const STEP: &str = "step";

/// The package that dpkg reports as failed in the output of the script.
#[must_use]
pub(crate) fn failed_package(log: &str) -> Option<&str> {
    // lib/dpkg/ehandle.c and src/main/errors.c of dpkg 1.21.
    let line = log.lines().rev().find_map(|line| line.strip_prefix("dpkg: error processing package "))?;
    line.split(' ').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lists_preinsts_and_requests() {
        let preinst = |name: &str, architecture: &str| Preinst {
            name: name.into(),
            architecture: architecture.into(),
            control: vec![],
        };
        let command =
            command(Part::Packages, &[preinst("libc6:amd64", "amd64"), preinst("tzdata", "all")], &["make".into()]);
        let words: Vec<_> = command.iter().skip(3).map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words, ["configure", "packages", "libc6:amd64=amd64", "tzdata=all", "--", "make"]);
    }

    #[test]
    fn a_preinst_gets_the_files_of_its_own_package() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let text = "#!/bin/sh\nfor file in \"${0%/*}\"/*; do echo \"${file##*/} $DPKG_MAINTSCRIPT_PACKAGE\"; done\n";
        for (path, text) in [
            ("place/control/a.b:amd64", ""),
            ("info/a.b:amd64.preinst", text),
            ("info/a.b:amd64.templates", ""),
            ("info/a.b:amd64.z.preinst", "exit 1"),
            ("info/a.b:amd64.z.config", ""),
            ("info/a.preinst", "exit 1"),
        ] {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), text).unwrap();
            std::fs::set_permissions(at(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let functions = SCRIPT.split("\ncore=").next().unwrap();
        let script = format!("{functions}\npreinst a.b:amd64 amd64\n")
            .replace("/.hermes-compose", at("place").to_str().unwrap())
            .replace("/var/lib/dpkg", dir.path().to_str().unwrap());
        let status = std::process::Command::new("sh").args(["-c", &script, "configure", "base"]).status().unwrap();
        let log = std::fs::read_to_string(at("place/log")).unwrap();
        assert!(status.success(), "{log}");
        assert_eq!(log, "control a.b\npreinst a.b\ntemplates a.b\n");
    }

    #[test]
    fn the_package_of_a_failure_is_found_in_the_log() {
        let log = "Setting up passwd (1) ...\ndpkg: error processing package libc6:arm64 (--configure):\n \
                   installed libc6:arm64 package post-installation script subprocess returned error exit status 1\n";
        assert_eq!(failed_package(log), Some("libc6:arm64"));
        assert_eq!(failed_package("Setting up passwd (1) ...\n"), None);
    }
}
