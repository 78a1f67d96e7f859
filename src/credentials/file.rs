//! docker's `config.json` and podman's `auth.json`, which have the same format.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, CredentialsError, key};
use crate::fs::atomic;

/// Largest file read, in bytes: docker's contains other settings too.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// The fields of such a file that hermes reads.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// An entry for an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The credential is in the file.
    Credential(Credential),
    /// A helper has the credential.
    Helper(String),
}

impl File {
    /// Reads a file. A missing file has no entries.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        match atomic::read_limited(path, MAX_FILE) {
            Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(Self::default()),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| CredentialsError::Malformed { path: path.to_owned(), line: error.line() }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(source) => Err(CredentialsError::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// The entry for an image: the registry's own helper, else the longest key with credentials, else the helper for all
    /// registries.
    pub(super) fn entry(&self, registry: &str, repository: &str) -> Option<Entry> {
        if let Some(name) = self.own_helper(registry) {
            return Some(Entry::Helper(name.to_owned()));
        }
        let inline = key::candidates(registry, repository).iter().find_map(|wanted| {
            self.auths.iter().filter(|(key, _)| key::normal(key) == *wanted).find_map(|(_, auth)| auth.credential())
        });
        let store = || Some(Entry::Helper(self.creds_store.clone())).filter(|_| !self.creds_store.is_empty());
        inline.map(Entry::Credential).or_else(store)
    }

    /// The helper that stores the credentials for `registry`.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        self.own_helper(registry).or(Some(self.creds_store.as_str())).filter(|name| !name.is_empty())
    }

    fn own_helper(&self, registry: &str) -> Option<&str> {
        let wanted = key::normal(registry);
        let own = self.cred_helpers.iter().find(|(key, _)| key::normal(key) == wanted);
        own.map(|(_, name)| name.as_str()).filter(|name| !name.is_empty())
    }
}

impl Auth {
    /// `None` for the empty entries that docker writes where a helper has the credential, and for anything but base64 of
    /// `user:password`.
    fn credential(&self) -> Option<Credential> {
        if !self.identitytoken.is_empty() {
            return Some(Credential::IdentityToken(self.identitytoken.clone()));
        }
        let text = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = text.trim_end_matches('\0').split_once(':')?;
        (!user.is_empty()).then(|| Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

/// Encodes the value of `auth`.
pub(super) fn encode(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(user: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, encode(user, "p:w"))
    }

    fn parse(text: &str) -> File {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_longest_key_wins() {
        let file = parse(&format!(
            r#"{{"auths":{{"quay.io":{},"quay.io/org":{},"quay.io/org/repo":{},"https://index.docker.io/v1/":{},
                "https://old.example/v1/":{},"token.example":{{"auth":"","identitytoken":"t"}},"empty.example":{{}},
                "bad.example":{{"auth":"%%%"}}}},"HttpHeaders":{{"x":"y"}}}}"#,
            auth("host"),
            auth("org"),
            auth("repo"),
            auth("hub"),
            auth("old")
        ));
        for (registry, repository, want) in [
            ("quay.io", "org/repo", Some("repo")),
            ("quay.io", "org/repo/deep", Some("repo")),
            ("quay.io", "org/other", Some("org")),
            ("quay.io", "organisation", Some("host")),
            ("quay.io:443", "org/repo", None),
            ("evil-quay.io", "org/repo", None),
            ("docker.io", "library/debian", Some("hub")),
            ("registry-1.docker.io", "library/debian", Some("hub")),
            ("old.example", "x", Some("old")),
            ("empty.example", "x", None),
            ("bad.example", "x", None),
        ] {
            let want =
                want.map(|user| Entry::Credential(Credential::Password { user: user.into(), password: "p:w".into() }));
            assert_eq!(file.entry(registry, repository), want, "{registry}/{repository}");
        }
        assert_eq!(file.entry("token.example", "x"), Some(Entry::Credential(Credential::IdentityToken("t".into()))));
    }

    #[test]
    fn a_registrys_own_helper_then_what_is_there_then_the_helper_for_all() {
        let file = parse(&format!(
            r#"{{"auths":{{"a.example":{},"b.example":{},"c.example":{{}}}},"credsStore":"all","credHelpers":{{"a.example":"own","https://index.docker.io/v1/":"hub"}}}}"#,
            auth("a"),
            auth("b")
        ));
        let helper = |name: &str| Some(Entry::Helper(name.into()));
        assert_eq!(file.entry("a.example", "x"), helper("own"));
        assert!(matches!(file.entry("b.example", "x"), Some(Entry::Credential(_))));
        assert_eq!(file.entry("c.example", "x"), helper("all"));
        assert_eq!(file.entry("docker.io", "x"), helper("hub"));
        assert_eq!(file.helper("b.example"), Some("all"));
        assert_eq!(parse("{}").helper("b.example"), None);
    }
}
