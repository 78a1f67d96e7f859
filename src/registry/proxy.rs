//! Choice of a proxy.

use std::net::IpAddr;

use reqwest::{ClientBuilder, Proxy, Url};

use super::message::printable;
use super::route;

/// The proxies that the environment names. This machine is never reached through a proxy, whose loopback is another
/// machine (the rule of Go and Docker).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For https: a URL, which may contain user and password; without a scheme it means http.
    pub https: Option<String>,
    /// For plain http.
    pub http: Option<String>,
    /// Hosts reached without a proxy: `*`, or a comma-separated list of domains (with their subdomains), addresses and
    /// networks such as `10.0.0.0/8`. Domains and addresses may have a port.
    pub none: String,
}

impl Proxies {
    /// Configures a client to use them.
    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        if *self == Self::default() {
            return builder.no_proxy();
        }
        let proxies = self.clone();
        builder.no_proxy().proxy(Proxy::custom(move |url| proxies.to(url)))
    }

    /// The proxy for `url`.
    fn to(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        parse(proxy.as_deref()?).filter(|_| !self.is_direct(url))
    }

    /// The proxy for `url`, for messages: escaped, without user and password.
    pub(super) fn shown(&self, url: &Url) -> Option<String> {
        let proxy = self.to(url)?;
        let port = proxy.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(printable(&format!("{}://{}{port}", proxy.scheme(), proxy.host_str()?)))
    }

    /// Whether the proxy for `url` is not a usable URL.
    pub(super) fn is_unusable(&self, url: &Url) -> bool {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_deref().is_some_and(|proxy| parse(proxy).is_none()) && !self.is_direct(url)
    }

    fn is_direct(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return true };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default();
        route::is_loopback(host) || self.none.split(',').any(|entry| excepts(entry.trim(), bare, port))
    }
}

/// Parses the URL of a proxy as curl and Go do: in "proxy.example.org:3128" the part before the colon is a host, not a
/// scheme.
fn parse(text: &str) -> Option<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&text).ok().filter(|url| url.has_host() && ["http", "https"].contains(&url.scheme()))
}

/// Whether an entry of `NO_PROXY` matches this host.
fn excepts(entry: &str, host: &str, port: Option<u16>) -> bool {
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    let address = host.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        let (Ok(network), Ok(bits), Some(address)) = (network.parse::<IpAddr>(), bits.parse::<u32>(), address) else {
            return false;
        };
        return is_within(address, network, bits);
    }
    // An IPv6 address contains colons.
    let (entry, wanted) = match entry.rsplit_once(':') {
        Some((name, digits)) if entry.parse::<IpAddr>().is_err() => match digits.parse::<u16>() {
            Ok(wanted) => (name.trim_start_matches('[').trim_end_matches(']'), Some(wanted)),
            Err(_) => return false,
        },
        _ => (entry.trim_start_matches('[').trim_end_matches(']'), None),
    };
    if wanted.is_some() && wanted != port {
        return false;
    }
    if let Some(address) = address {
        return entry.parse::<IpAddr>().is_ok_and(|entry| entry == address);
    }
    let (host, name) = (host.trim_end_matches('.').to_ascii_lowercase(), entry.to_ascii_lowercase());
    let name = name.strip_prefix("*.").unwrap_or(&name).trim_start_matches('.');
    !name.is_empty() && host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            bits <= 32 && address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            bits <= 128 && address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_directly() {
        for (none, url, direct) in [
            ("", "https://quay.io/", false),
            ("*", "https://quay.io/", true),
            ("quay.io", "https://quay.io/", true),
            ("QUAY.io", "https://quay.io:8443/", true),
            ("quay.io", "https://cdn.quay.io/", true),
            ("quay.io", "https://notquay.io/", false),
            (".quay.io", "https://cdn.quay.io/", true),
            ("*.quay.io", "https://cdn.quay.io/", true),
            ("a, quay.io ,b", "https://quay.io/", true),
            ("quay.io:443", "https://quay.io/", true),
            ("quay.io:8443", "https://quay.io/", false),
            ("10.0.0.5", "https://10.0.0.5:5000/", true),
            ("10.0.0.5:5000", "https://10.0.0.5:5000/", true),
            ("10.0.0.5:5001", "https://10.0.0.5:5000/", false),
            ("0.0.5", "https://10.0.0.5/", false),
            ("10.0.0.0/8", "https://10.9.9.9/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("10.0.0.0/0", "https://11.0.0.1/", true),
            ("10.0.0.0/33", "https://10.0.0.0/", false),
            ("10.0.0.0/8", "https://10.example.org/", false),
            ("fd00::/8", "https://[fd12::1]:5000/", true),
            ("fd12::1", "https://[fd12::1]:5000/", true),
            ("[fd12::1]:5000", "https://[fd12::1]:5000/", true),
            ("fd00::/8", "https://[fe80::1]/", false),
            ("", "http://127.0.0.1:5000/", true),
            ("", "http://localhost:5000/", true),
            ("", "http://[::1]:5000/", true),
        ] {
            let proxies = Proxies { none: none.into(), ..Proxies::default() };
            assert_eq!(proxies.is_direct(&Url::parse(url).unwrap()), direct, "{none} for {url}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxies = Proxies {
            https: Some("me:canary@proxy.example.org:3128".into()),
            http: Some("https://me:canary@[fd00::1]".into()),
            none: String::new(),
        };
        let shown = |url: &str| proxies.shown(&Url::parse(url).unwrap());
        assert_eq!(shown("https://quay.io/").as_deref(), Some("http://proxy.example.org:3128"));
        assert_eq!(shown("http://quay.io/").as_deref(), Some("https://[fd00::1]"));
        assert_eq!(shown("http://localhost/"), None);
        let nonsense = Proxies { https: Some("http://".into()), ..Proxies::default() };
        let unusable = |proxies: &Proxies, url: &str| proxies.is_unusable(&Url::parse(url).unwrap());
        assert!(unusable(&nonsense, "https://quay.io/") && !unusable(&nonsense, "http://quay.io/"));
        assert!(!unusable(&nonsense, "https://localhost/") && !unusable(&proxies, "https://quay.io/"));
        let socks = Proxies { http: Some("socks5://10.0.0.1".into()), ..Proxies::default() };
        assert!(unusable(&socks, "http://quay.io/"));
        assert_eq!(nonsense.shown(&Url::parse("https://quay.io/").unwrap()), None);
    }
}
