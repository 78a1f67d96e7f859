//! Keys of credentials: registries and namespaces, in all spellings in use.

/// The key of Docker Hub, which dates from the time when it was the only registry.
const HUB: &str = "https://index.docker.io/v1/";

/// Normalizes a key to `host[/namespace]`: without scheme and API path, Docker Hub as `docker.io`.
pub(super) fn normal(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    // Only legacy keys are URLs, and their path is that of the API (`/v1/`, `/v2/`).
    let key = bare.map_or(key, |rest| rest.split('/').next().unwrap_or(rest)).trim_end_matches('/');
    let (host, rest) = key.split_once('/').map_or((key, None), |(host, rest)| (host, Some(rest)));
    let host = host.to_ascii_lowercase();
    match (host.as_str(), rest) {
        ("docker.io" | "index.docker.io" | "registry-1.docker.io", None | Some("v1")) => "docker.io".to_owned(),
        ("index.docker.io" | "registry-1.docker.io", Some(rest)) => format!("docker.io/{rest}"),
        (host, Some(rest)) => format!("{host}/{rest}"),
        (host, None) => host.to_owned(),
    }
}

/// The keys that match `repository` of `registry`, longest first.
pub(super) fn candidates(registry: &str, repository: &str) -> Vec<String> {
    let registry = normal(registry);
    let (mut rest, mut keys) = (repository, Vec::new());
    while !rest.is_empty() {
        keys.push(format!("{registry}/{rest}"));
        rest = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.push(registry);
    keys
}

/// The name of a registry in files and for helpers.
pub(super) fn server_url(registry: &str) -> String {
    let registry = normal(registry);
    if registry == "docker.io" { HUB.to_owned() } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_all_their_spellings() {
        for (key, want) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("docker.io/library", "docker.io/library"),
            ("https://quay.io", "quay.io"),
            ("https://Example.com:5000/v1/", "example.com:5000"),
            ("http://example.com/v2/", "example.com"),
            ("quay.io/org/repo", "quay.io/org/repo"),
            ("127.0.0.1:5000/", "127.0.0.1:5000"),
        ] {
            assert_eq!(normal(key), want, "{key}");
        }
        assert_eq!(candidates("quay.io", "a/b"), ["quay.io/a/b", "quay.io/a", "quay.io"]);
        assert_eq!(candidates("registry-1.docker.io", "x"), ["docker.io/x", "docker.io"]);
        assert_eq!(candidates("quay.io", ""), ["quay.io"]);
        assert_eq!(server_url("docker.io"), HUB);
        assert_eq!(server_url("quay.io"), "quay.io");
    }
}
