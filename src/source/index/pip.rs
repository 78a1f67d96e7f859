//! The package indexes that pip is configured with ("Configuration" of pip's user guide).

use std::path::PathBuf;

use crate::credentials::{Credential, MAX_NETRC, of_netrc};
use crate::fs::trust::Trust;
use crate::percent;
use crate::progress::Reporter;

/// Largest configuration file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// Where this host has pip's configuration and credentials. Nothing is read before a package is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PipHost {
    /// pip's files, those that override others last.
    pub files: Vec<PathBuf>,
    /// Values of variables, which override all files: `PIP_INDEX_URL`, `PIP_EXTRA_INDEX_URL`, `PIP_NO_INDEX`.
    pub index_url: Option<String>,
    pub extra_index_url: Option<String>,
    pub no_index: Option<String>,
    /// The first of these that exists has credentials.
    pub netrc: Vec<PathBuf>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Its URL, without user and password, and without a slash at the end.
    pub(super) url: String,
    /// User and password of the URL.
    pub(super) credential: Option<Credential>,
}

/// Values in sections or variables.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Values {
    index_url: Option<String>,
    extra_index_url: Option<String>,
    no_index: Option<String>,
}

impl Values {
    fn overridden_by(self, nearer: Self) -> Self {
        Self {
            index_url: nearer.index_url.or(self.index_url),
            extra_index_url: nearer.extra_index_url.or(self.extra_index_url),
            no_index: nearer.no_index.or(self.no_index),
        }
    }

    fn set(&mut self, key: &str, value: String) {
        // pip takes `_` for `-`, and the dashes of the option.
        match key.to_ascii_lowercase().replace('_', "-").trim_start_matches("--") {
            "index-url" => self.index_url = Some(value),
            "extra-index-url" => self.extra_index_url = Some(value),
            "no-index" => self.no_index = Some(value),
            _ => {}
        }
    }
}

impl PipHost {
    /// The indexes: `index-url`, then those of `extra-index-url`. None with `no-index`. A file that others can change, or that
    /// cannot be read, is skipped with a note.
    pub(super) fn indexes(&self, reporter: &dyn Reporter) -> Vec<Index> {
        let (mut global, mut of_command) = (Values::default(), Values::default());
        for path in &self.files {
            let Some(text) = read(path, MAX_CONFIG, reporter) else { continue };
            let [in_file, of_download] = parse(&text);
            global = global.overridden_by(in_file);
            of_command = of_command.overridden_by(of_download);
        }
        let Self { index_url, extra_index_url, no_index, .. } = self.clone();
        let Values { index_url, extra_index_url, no_index } =
            global.overridden_by(of_command).overridden_by(Values { index_url, extra_index_url, no_index });
        if no_index.is_some_and(|value| is_true(&value)) {
            return vec![];
        }
        let index_url = index_url.iter().map(|url| url.trim());
        let extra = extra_index_url.iter().flat_map(|urls| urls.split_whitespace());
        let mut indexes: Vec<Index> = Vec::new();
        for index in index_url.chain(extra).filter(|url| !url.is_empty()).map(Index::new) {
            if indexes.iter().all(|known| known.url != index.url) {
                indexes.push(index);
            }
        }
        indexes
    }

    /// The credential for `host`, which has no port, in the file of credentials.
    pub(super) fn credential(&self, host: &str, reporter: &dyn Reporter) -> Option<Credential> {
        let text = self.netrc.iter().find_map(|path| read(path, MAX_NETRC, reporter))?;
        of_netrc(&text, host)
    }
}

impl Index {
    fn new(text: &str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let decoded = |text: &str| {
            percent::decode(text).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
        };
        let credential = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            Credential::Password { user: decoded(user), password: decoded(password) }
        });
        Self { url: format!("{scheme}://{host}{path}"), credential }
    }
}

fn read(path: &std::path::Path, limit: u64, reporter: &dyn Reporter) -> Option<String> {
    match Trust::in_caller().read_named(path, limit) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                reporter.warn(&format!("{} skipped: {error}", path.display()));
            }
            None
        }
    }
}

/// The values that `pip download` takes of a file: those of `[global]`, then those of `[download]` (Python's `configparser`,
/// without interpolation).
fn parse(text: &str) -> [Values; 2] {
    let mut sections = [Values::default(), Values::default()];
    let mut section: Option<usize> = None;
    // The key whose value may go on in the next line, with the indentation of its line.
    let mut open: Option<(String, String, usize)> = None;
    let mut close = |section: Option<usize>, open: &mut Option<(String, String, usize)>| {
        if let (Some(at), Some((key, value, _))) = (section, open.take()) {
            sections[at].set(&key, value);
        }
    };
    for line in text.lines() {
        let words = line.trim();
        if words.is_empty() || words.starts_with(['#', ';']) {
            continue;
        }
        let indentation = line.len() - line.trim_start().len();
        if let Some((_, value, _)) = open.as_mut().filter(|(_, _, of_key)| indentation > *of_key) {
            value.push('\n');
            value.push_str(words);
            continue;
        }
        close(section, &mut open);
        if let Some(name) = words.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = ["global", "download"].iter().position(|known| *known == name);
        } else if let Some((key, value)) = words.split_once(['=', ':']) {
            open = Some((key.trim().to_owned(), value.trim().to_owned(), indentation));
        }
    }
    close(section, &mut open);
    sections
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "t" | "true" | "on" | "1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn host(files: &[&str]) -> (tempfile::TempDir, PipHost) {
        let dir = tempfile::tempdir().unwrap();
        let write = |(at, text): (usize, &&str)| {
            let path = dir.path().join(at.to_string());
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = files.iter().enumerate().map(write).chain([dir.path().join("none")]).collect();
        (dir, PipHost { files, ..PipHost::default() })
    }

    fn urls(host: &PipHost) -> Vec<String> {
        host.indexes(&Silent).into_iter().map(|index| index.url).collect()
    }

    #[test]
    fn files_sections_and_variables_override_one_another() {
        let system = "index-url = https://ignored.example.org\n[global]\n# mine\nIndex_URL: https://system.example.org/simple/ \n\
            extra-index-url =\n    https://one.example.org/simple\n    # between\n\n    https://two.example.org\ntimeout = 3\n";
        let user =
            "[install]\nindex-url = https://no.example.org\n[global]\nindex-url=https://user.example.org/simple\n";
        let (_dir, both) = host(&[system, user]);
        let extra = ["https://one.example.org/simple", "https://two.example.org"];
        assert_eq!(urls(&both), [&["https://user.example.org/simple"][..], &extra].concat());
        let (_dir, download) = host(&["[download]\nindex-url = https://d.example.org\n", user]);
        assert_eq!(urls(&download), ["https://d.example.org"]);
        let variables = PipHost {
            index_url: Some("https://env.example.org/".into()),
            extra_index_url: Some(" https://a.example.org  https://env.example.org ".into()),
            ..both.clone()
        };
        assert_eq!(urls(&variables), ["https://env.example.org", "https://a.example.org"]);
        assert_eq!(urls(&PipHost { no_index: Some("yes".into()), ..variables.clone() }), [""; 0]);
        assert_eq!(urls(&PipHost { no_index: Some("0".into()), ..variables }).len(), 2);
        assert_eq!(urls(&host(&["", "[global\nx", "=", "[global]\n = x\n  y"]).1), [""; 0]);
    }

    #[test]
    fn users_and_passwords_are_no_part_of_the_url() {
        let index = Index::new("https://me%40x:p%2Fw@index.example.org:8443/team/simple/?token=1#x");
        assert_eq!(index.url, "https://index.example.org:8443/team/simple");
        let credential = Credential::Password { user: "me@x".into(), password: "p/w".into() };
        assert_eq!(index.credential, Some(credential));
        assert!(!format!("{index:?}").contains("p/w"));
        let token = Index::new("https://token@index.example.org/a@b/");
        assert_eq!(token.url, "https://index.example.org/a@b");
        assert_eq!(token.credential, Some(Credential::Password { user: "token".into(), password: String::new() }));
        assert_eq!(Index::new("https://index.example.org").credential, None);
    }

    #[test]
    fn files_that_others_can_change_are_skipped() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, host) = host(&["[global]\nindex-url = https://a.example.org\n"]);
        assert_eq!(urls(&host).len(), 1);
        std::fs::set_permissions(&host.files[0], std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(urls(&host), [""; 0]);
    }
}
