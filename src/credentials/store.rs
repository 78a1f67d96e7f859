//! Storing and erasing credentials: `hermes login` and `hermes logout`.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::file::{self, File};
use super::{CredentialFiles, CredentialsError, helper, key};
use crate::fs::atomic;

/// Where a credential is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// A file that only its owner can read.
    File(PathBuf),
    /// The helper `docker-credential-NAME`.
    Helper(String),
}

/// Stores a password with the helper that the file names for `registry`, else in the file.
///
/// # Errors
/// A file that cannot be read or written, or is malformed; a helper that fails.
pub(crate) fn store(
    files: &CredentialFiles,
    registry: &str,
    user: &str,
    password: &str,
) -> Result<Backend, CredentialsError> {
    let path = files.own.as_deref().ok_or(CredentialsError::NoHome)?;
    let (mut root, file) = read(path)?;
    let server = key::server_url(registry);
    forget(&mut root, registry);
    let place = match file.helper(registry) {
        Some(name) => {
            helper::store(&files.search, name, &server, user, password)?;
            Backend::Helper(name.to_owned())
        }
        None => Backend::File(path.to_owned()),
    };
    // An empty entry tells docker that a helper has the credential.
    let entry = match &place {
        Backend::File(_) => json!({ "auth": file::encode(user, password) }),
        Backend::Helper(_) => json!({}),
    };
    if let Some(auths) = root.entry("auths").or_insert_with(|| json!({})).as_object_mut() {
        auths.insert(server, entry);
    }
    write(path, &root)?;
    Ok(place)
}

/// Erases the credentials for `registry` in the file and its helper. `false` if the file has no entry and names no
/// helper.
pub(crate) fn erase(files: &CredentialFiles, registry: &str) -> Result<bool, CredentialsError> {
    let path = files.own.as_deref().ok_or(CredentialsError::NoHome)?;
    let (mut root, file) = read(path)?;
    let helper = file.helper(registry);
    if let Some(name) = helper {
        helper::erase(&files.search, name, &key::server_url(registry))?;
    }
    let had = forget(&mut root, registry);
    if had {
        write(path, &root)?;
    }
    Ok(had || helper.is_some())
}

/// Reads all of the file, whose other keys are preserved, and the fields that hermes knows.
fn read(path: &Path) -> Result<(Map<String, Value>, File), CredentialsError> {
    let file = File::read(path)?;
    let bytes = match atomic::read_limited(path, file::MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(CredentialsError::Unreadable { path: path.to_owned(), source }),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok((Map::new(), file));
    }
    let root = serde_json::from_slice(&bytes)
        .map_err(|error| CredentialsError::Malformed { path: path.to_owned(), line: error.line() })?;
    Ok((root, file))
}

/// Removes the entries of the registry, in any spelling. Entries of its namespaces stay.
fn forget(root: &mut Map<String, Value>, registry: &str) -> bool {
    let wanted = key::normal(registry);
    let Some(auths) = root.get_mut("auths").and_then(Value::as_object_mut) else { return false };
    let before = auths.len();
    auths.retain(|key, _| key::normal(key) != wanted);
    auths.len() < before
}

fn write(path: &Path, root: &Map<String, Value>) -> Result<(), CredentialsError> {
    let unwritable = |source| CredentialsError::Unwritable { path: path.to_owned(), source };
    // Users link such files to where they keep their settings: the link stays.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let publish = || {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = atomic::create(&path)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec_pretty(root)?)?;
        file.write_all(b"\n")?;
        file.publish()
    };
    publish().map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Credential, Lookup};
    use crate::progress::Silent;
    use std::sync::Arc;

    #[test]
    fn what_is_kept_is_found_and_the_rest_of_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        let files = CredentialFiles { files: vec![path.clone()], own: Some(path.clone()), search: vec![] };
        let find = |registry: &str| Lookup::new(files.clone(), Arc::new(Silent)).find(registry, "x/y");
        assert_eq!(store(&files, "docker.io", "me", "s3cret").unwrap(), Backend::File(path.clone()));
        assert_eq!(find("docker.io"), Some(Credential::Password { user: "me".into(), password: "s3cret".into() }));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let mut root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(root["auths"]["https://index.docker.io/v1/"]["auth"].is_string(), "as docker has it");
        root["psFormat"] = json!("table");
        root["auths"]["index.docker.io"] = json!({ "auth": "b2xk" });
        std::fs::write(&path, root.to_string()).unwrap();
        store(&files, "quay.io", "me", "other").unwrap();
        assert!(erase(&files, "docker.io").unwrap());
        assert!(!erase(&files, "docker.io").unwrap());
        let root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(root["psFormat"], "table");
        assert_eq!(root["auths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["quay.io"]);
        assert_eq!(find("docker.io"), None);
        std::fs::write(&path, "{ oops").unwrap();
        assert!(matches!(store(&files, "quay.io", "a", "b"), Err(CredentialsError::Malformed { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"{ oops", "what hermes does not understand it leaves alone");
    }
}
