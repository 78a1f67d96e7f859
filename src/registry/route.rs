//! Addresses of registries and mirrors.

use std::net::IpAddr;

/// The server of a registry: `docker.io` is only a name.
pub(super) fn server(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

/// Splits a mirror into its host and the prefix of its repositories. `None` if it is malformed.
pub(super) fn mirror(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
    let prefix = prefix.map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    let is_host = !host.is_empty() && host.bytes().all(|c| plain(c) || matches!(c, b':' | b'[' | b']'));
    let is_prefix = prefix.is_none_or(|prefix| {
        prefix.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain))
    });
    // The URL parser checks ports and brackets.
    let is_url = reqwest::Url::parse(&format!("https://{host}/")).is_ok_and(|url| url.has_host());
    (is_host && is_prefix && is_url).then_some((host, prefix))
}

/// Whether `host[:port]` is this machine: 127.0.0.0/8, `::1` or `localhost`.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_address_not_by_looks() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1", "127.8.9.10:1", "[::1]:5000"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["127.0.0.1.example.com", "localhost.example.com:5000", "128.0.0.1", "[::2]:5000", "127.evil:80"] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn mirrors_are_hosts_with_an_optional_prefix() {
        assert_eq!(mirror("127.0.0.1:5055"), Some(("127.0.0.1:5055", None)));
        assert_eq!(mirror("m.example.com/hub/"), Some(("m.example.com", Some("hub"))));
        assert_eq!(mirror("[::1]:5055/a/b"), Some(("[::1]:5055", Some("a/b"))));
        for bad in ["", "/", "https://m.example.com", "a b", "m/../x", "user@m", "m:port", "m?x", "m//x"] {
            assert_eq!(mirror(bad), None, "{bad}");
        }
    }
}
