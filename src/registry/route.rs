//! Addresses of registries and mirrors.

use std::net::IpAddr;

use reqwest::Url;

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
    let is_url = Url::parse(&format!("https://{host}/")).is_ok_and(|url| url.has_host());
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

/// The URL for messages: a query may contain a signature that grants access.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// The URL of a link on the page at `base` (RFC 3986, section 5.2), without user and password. `None` if it is not a URL.
#[must_use]
pub(crate) fn linked(base: &str, link: &str) -> Option<String> {
    let mut url = Url::parse(base).ok()?.join(link).ok()?;
    url.set_fragment(None);
    url.set_password(None).ok()?;
    url.set_username("").ok()?;
    Some(url.to_string())
}

/// Whether two URLs have the same scheme, host and port.
#[must_use]
pub(crate) fn is_same_server(one: &str, other: &str) -> bool {
    Url::parse(one).ok().zip(Url::parse(other).ok()).is_some_and(|(one, other)| one.origin() == other.origin())
}

/// The host of a URL, without the port.
#[must_use]
pub(crate) fn host_of(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.host_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_pages_and_their_links() {
        assert_eq!(without_query("https://a/b?token=1#x"), "https://a/b");
        let base = "https://index.example.org/simple/zig/";
        for (link, want) in [
            ("../../files/a.whl#sha256=1", Some("https://index.example.org/files/a.whl")),
            ("/a.whl?x=1", Some("https://index.example.org/a.whl?x=1")),
            ("https://me:secret@files.example.org/a", Some("https://files.example.org/a")),
            ("//files.example.org/a", Some("https://files.example.org/a")),
            ("https://", None),
            ("mailto:x", None),
        ] {
            assert_eq!(linked(base, link).as_deref(), want, "{link}");
        }
        assert!(is_same_server(base, "https://INDEX.example.org:443/x"));
        for other in ["http://index.example.org/", "https://index.example.org:8443/", "https://files.example.org/", "x"]
        {
            assert!(!is_same_server(base, other), "{other}");
        }
        assert_eq!(host_of("https://[::1]:5000/x").as_deref(), Some("[::1]"));
    }

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
