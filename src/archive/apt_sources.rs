//! The apt sources of the host (sources.list(5)): where a Debian host gets its packages from.

use std::path::{Path, PathBuf};

use crate::archive::mirror::snapshot_time;
use crate::dpkg::paragraphs;
use crate::fs::trust::Trust;
use crate::toolchain::is_mirror;

/// The directory with apt's configuration.
const DIRECTORY: &str = "/etc/apt";
/// Debian's keys in a root.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Largest file, in bytes, and most files read.
const MAX_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 256;
/// The releases in Debian's archive, from the oldest that is still there to the next ones, and their other names.
const RELEASES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// The addresses from which apt on this host gets packages of `suite`, in the order of its files. If apt does not use the suite,
/// the addresses of Debian's archive from which it gets another release. Empty without apt. Files that cannot be read, or that
/// users other than root can change, are passed over.
#[must_use]
pub(crate) fn of_host(suite: &str) -> Vec<String> {
    addresses(Path::new(DIRECTORY), suite)
}

/// The text of `debian.sources` for a root of `codename`, as debuerreotype 0.17 writes it into images (`debuerreotype-debian-sources-list`):
/// the suite with its updates, and the security archive beside it. `uri` is the archive; where its host begins with `deb.`,
/// comments name the snapshots of the time `epoch` on the host that begins with `snapshot.`.
#[must_use]
pub(crate) fn for_root(uri: &str, codename: &str, components: &[String], epoch: u64) -> String {
    let uri = uri.trim_end_matches('/');
    let time = snapshot_time(epoch);
    let snapshot = |uri: &str| {
        let (scheme, rest) = uri.split_once("://")?;
        let (host, path) = rest.strip_prefix("deb.")?.split_once('/')?;
        Some(format!("# {scheme}://snapshot.{host}/archive/{path}/{time}\n"))
    };
    let one = |uri: &str, suites: &str| {
        let snapshot = snapshot(uri).unwrap_or_default();
        let components = components.join(" ");
        format!("Types: deb\n{snapshot}URIs: {uri}\nSuites: {suites}\nComponents: {components}\nSigned-By: {KEYRING}\n")
    };
    if matches!(codename, "sid" | "unstable" | "experimental" | "rc-buggy") {
        return one(uri, codename);
    }
    let updates = one(uri, &format!("{codename} {codename}-updates"));
    let security = one(&format!("{uri}-security"), &format!("{codename}-security"));
    format!("{updates}\n{security}")
}

/// The text of a `.sources` file with suites and the address of each: for a run with the host's network.
#[must_use]
pub(crate) fn for_run<'a>(suites: impl IntoIterator<Item = (&'a str, &'a str)>, components: &[String]) -> String {
    let components = components.join(" ");
    let one = |(suite, uri): (&str, &str)| {
        format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}\nSigned-By: {KEYRING}\n")
    };
    suites.into_iter().map(one).collect::<Vec<_>>().join("\n")
}

fn addresses(directory: &Path, suite: &str) -> Vec<String> {
    let parts = std::fs::read_dir(directory.join("sources.list.d")).into_iter().flatten();
    let mut parts: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.sort();
    let mut entries: Vec<Entry> = Vec::new();
    for path in std::iter::once(directory.join("sources.list")).chain(parts).take(MAX_FILES) {
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => of_list,
            Some("sources") => of_sources,
            _ => continue,
        };
        let Ok(bytes) = Trust::in_caller().read_named(&path, MAX_FILE) else { continue };
        entries.extend(parse(&bytes));
    }
    let with = |fits: &dyn Fn(&Entry) -> bool| {
        let mut found: Vec<String> = Vec::new();
        for address in entries.iter().filter(|entry| fits(entry)).flat_map(|entry| &entry.addresses) {
            if !found.contains(address) {
                found.push(address.clone());
            }
        }
        found
    };
    let found = with(&|entry| entry.suites.iter().any(|of| of == suite));
    // Debian has all of its releases in one archive. A file of somebody else for this release may name other components.
    if found.is_empty() && is_of_debian(suite) { with(&Entry::is_debian) } else { found }
}

/// Whether Debian's archive has the suite, beside those of other releases. (Those of security updates are in another archive.)
fn is_of_debian(suite: &str) -> bool {
    let release = ["-updates", "-proposed-updates", "-backports"].iter().find_map(|part| suite.strip_suffix(part));
    RELEASES.contains(&release.unwrap_or(suite))
}

/// Addresses of archives, and what apt uses of them.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    addresses: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Entry {
    fn is_debian(&self) -> bool {
        self.suites.iter().any(|suite| RELEASES.contains(&suite.as_str()))
            && self.components.iter().any(|of| of == "main")
    }
}

/// The address as hermes takes it: apt also writes `file:/path`. `None` for `cdrom:` and others.
fn address(text: &str) -> Option<String> {
    let text = text.strip_prefix("file:").filter(|path| path.starts_with('/')).unwrap_or(text);
    let text = text.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(text);
    let is_usable = text.starts_with("http") || text.starts_with('/');
    (is_usable && is_mirror(text)).then(|| text.trim_end_matches('/').to_owned())
}

/// The entries of a file of lines `deb [OPTIONS] URI SUITE COMPONENT…`.
fn of_list(bytes: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(bytes);
    let line = |line: &str| {
        let line = line.split('#').next()?.trim_start().strip_prefix("deb")?;
        let rest = line.strip_prefix([' ', '\t'])?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_ascii_whitespace().map(str::to_owned);
        let (uri, suite) = (words.next()?, words.next()?);
        Some(Entry { addresses: vec![address(&uri)?], suites: vec![suite], components: words.collect() })
    };
    text.lines().filter_map(line).collect()
}

/// The entries of a file of paragraphs with `Types`, `URIs`, `Suites`.
fn of_sources(bytes: &[u8]) -> Vec<Entry> {
    // apt ignores comments, which may stand between the lines of a field.
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |text, line| {
        // A line of blanks ends a paragraph, too.
        text + line.trim_end() + "\n"
    });
    let mut found = Vec::new();
    let fields = ["Types", "URIs", "Suites", "Components", "Enabled"];
    for paragraph in paragraphs(text.as_bytes(), fields).map_while(Result::ok) {
        let words = |field: usize| {
            let value = String::from_utf8_lossy(paragraph.get(field).unwrap_or_default()).into_owned();
            value.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let has = |field: usize, word: &str| words(field).iter().any(|one| one == word);
        if has(0, "deb") && !has(4, "no") {
            let addresses = words(1).iter().filter_map(|uri| address(uri)).collect();
            found.push(Entry { addresses, suites: words(2), components: words(3) });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of a suite.
    fn addresses_of<'a>(entries: &'a [Entry], suite: &str) -> Vec<&'a str> {
        let of_suite = entries.iter().filter(|entry| entry.suites.iter().any(|of| of == suite));
        of_suite.flat_map(|entry| &entry.addresses).map(String::as_str).collect()
    }

    #[test]
    fn one_line_files() {
        let text = b"# deb http://comment/ a main\ndeb http://one/debian/ a main contrib # b\n\
            \tdeb  [ arch=amd64 signed-by=/k ]\thttps://two/debian a main\ndeb-src http://src/ a main\ndeb http://other/ b main\n\
            deb cdrom:[Debian 12]/ a main\ndeb file:/srv/a a main\ndeb file:///srv/b a main\ndeb [ x http://open/ a main\n\
            deb http://me:pw@host/ a main\ndebhttp://x a main\ndeb\ndeb http://\xff/ a main\n\xff\xfe\n";
        let found = of_list(text);
        assert_eq!(addresses_of(&found, "a"), ["http://one/debian", "https://two/debian", "/srv/a", "/srv/b"]);
        assert_eq!(addresses_of(&found, "b"), ["http://other"]);
        assert_eq!(found[0].components, ["main", "contrib"]);
    }

    #[test]
    fn files_of_paragraphs() {
        let text = b"# note\nTypes: deb deb-src\n# between\nURIs: http://one/debian\n https://two/debian/\nSuites: a a-updates\n\
            Components: main\n\nTypes: deb\nURIs: http://off/\nSuites: a\nEnabled: no\n \nTypes: deb-src\nURIs: http://src/\n\
            Suites: a\n\nTypes: deb\nURIs: mirror+file:/etc/mirrors\nSuites: a\n\nTypes: deb\nURIs: http://b/\nSuites: b\n";
        let found = of_sources(text);
        assert_eq!(addresses_of(&found, "a"), ["http://one/debian", "https://two/debian"]);
        assert_eq!(addresses_of(&found, "b"), ["http://b"]);
        assert_eq!((&found[0].components[..], &found[1].components[..]), (&["main".to_owned()][..], &[][..]));
        assert_eq!(of_sources(b"not a field\n"), []);
    }

    #[test]
    fn the_sources_of_a_root() {
        let main = ["main".to_owned()];
        let text = for_root("http://deb.example.org/debian", "bookworm", &main, 1_783_900_800);
        let want = "Types: deb\n# http://snapshot.example.org/archive/debian/20260713T000000Z\nURIs: http://deb.example.org/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\n\
            # http://snapshot.example.org/archive/debian-security/20260713T000000Z\n\
            URIs: http://deb.example.org/debian-security\nSuites: bookworm-security\nComponents: main\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(text, want);
        let sid = for_root("https://mirror.example.org/debian/", "sid", &main, 0);
        assert_eq!(sid.lines().count(), 5, "{sid}");
        assert!(sid.contains("\nURIs: https://mirror.example.org/debian\nSuites: sid\n"));
    }

    #[test]
    fn all_files_of_a_host_in_order() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(addresses(dir.path(), "a"), [""; 0]);
        std::fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in [
            ("sources.list", "deb http://one a main\n"),
            ("sources.list.d/2.list", "deb http://three a main\ndeb http://one a main\n"),
            ("sources.list.d/1.sources", "Types: deb\nURIs: http://two\nSuites: a\n"),
            ("sources.list.d/3.list.save", "deb http://four a main\n"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(addresses(dir.path(), "a"), ["http://one", "http://two", "http://three"]);
    }

    #[test]
    fn other_releases_are_in_the_archive_of_a_debian_host() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in [
            (
                "sources.list",
                "deb http://vendor trixie stable\ndeb http://security trixie-security main\ndeb http://x noble main\n",
            ),
            (
                "sources.list.d/1.sources",
                "Types: deb\nURIs: http://debian\nSuites: trixie trixie-updates\nComponents: main\n",
            ),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        for suite in ["bookworm", "bookworm-updates", "trixie-backports", "sid"] {
            assert_eq!(addresses(dir.path(), suite), ["http://debian"], "{suite}");
        }
        assert_eq!(addresses(dir.path(), "trixie"), ["http://vendor", "http://debian"]);
        for suite in ["bookworm-security", "jammy", "hermes-tests"] {
            assert_eq!(addresses(dir.path(), suite), [""; 0], "{suite}");
        }
    }
}
