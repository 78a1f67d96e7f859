//! Tokens for anonymous access (distribution's "Token Authentication Specification"), by
//! `oci_distribution`.

use oci_distribution::Client;
use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Reference, RegistryOperation};
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::{CONNECT_TIMEOUT, READ_TIMEOUT};

/// The `realm` of the first Bearer challenge (RFC 6750 §3), if there is one.
pub(super) fn bearer_realm(headers: &HeaderMap) -> Option<String> {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        // Lower-casing ASCII keeps every offset.
        let lower = value.to_ascii_lowercase();
        let bearer = lower.find("bearer ")?;
        let start = bearer + lower[bearer..].find("realm=\"")? + "realm=\"".len();
        let end = start + value[start..].find('"')?;
        Some(value[start..end].to_owned())
    })
}

/// Whether a token may be asked for at `realm` by a client that reached the registry by `scheme`:
/// a registry on https must not send anyone to plain http (c/image's CVE-2019-10214 is the family).
pub(super) fn check_realm(realm: &str, scheme: &str) -> Result<(), &'static str> {
    match Url::parse(realm) {
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && scheme == "http") => Ok(()),
        Ok(_) => Err("its token server has no https"),
        Err(_) => Err("it names no valid token server"),
    }
}

/// Where a token is asked for, and how.
pub(super) struct Source<'a> {
    /// `https` or `http`.
    pub scheme: &'a str,
    /// `host[:port]`.
    pub server: &'a str,
    /// The repository it is to be good for, to pull from.
    pub repository: &'a str,
    /// PEM of further CAs.
    pub ca: Option<&'a [u8]>,
    /// Whether certificates are verified.
    pub verify: bool,
    /// `User-Agent`.
    pub user_agent: &'static str,
}

impl Source<'_> {
    /// Asks for a token. `None` where the registry turns out to want none or only passwords.
    /// An error is text of the registry, in part, and not fit for a terminal.
    pub(super) async fn anonymous_token(&self) -> Result<Option<String>, String> {
        let certificate = |pem: &[u8]| Certificate { encoding: CertificateEncoding::Pem, data: pem.to_owned() };
        let config = ClientConfig {
            protocol: if self.scheme == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
            accept_invalid_certificates: !self.verify,
            extra_root_certificates: self.ca.map(certificate).into_iter().collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: self.user_agent,
            ..ClientConfig::default()
        };
        // Not Client::new: that one goes on without our CA where the settings are unusable.
        let client = Client::try_from(config).map_err(words)?;
        let image = Reference::with_tag(self.server.to_owned(), self.repository.to_owned(), "latest".to_owned());
        let asked = client.auth(&image, &RegistryAuth::Anonymous, RegistryOperation::Pull);
        // The crate sets no bound on the body, so time has to.
        match tokio::time::timeout(READ_TIMEOUT, asked).await {
            Ok(token) => token.map_err(words),
            Err(_) => Err(format!("no token came within {} s", READ_TIMEOUT.as_secs())),
        }
    }
}

fn words(error: OciDistributionError) -> String {
    match error {
        // The URL may hold a secret after a redirect, and the cause is the news.
        OciDistributionError::RequestError(error) => {
            let error = error.without_url();
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
        OciDistributionError::AuthenticationFailure(reason) => format!("its token server says: {reason}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, reqwest::header::HeaderValue::from_static(value));
        bearer_realm(&headers)
    }

    #[test]
    fn finds_the_realm_of_a_bearer_challenge() {
        assert_eq!(realm(r#"Bearer realm="https://a/t",service="s""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"bearer service="s", Realm="https://a/t""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"Basic realm="x", Bearer realm="https://a/t""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"Basic realm="x""#), None);
        assert_eq!(realm(r#"Bearer realm="x"#), None);
    }

    #[test]
    fn a_registry_on_https_keeps_its_tokens_there() {
        assert!(check_realm("https://auth.example.com/token", "https").is_ok());
        assert!(check_realm("http://127.0.0.1:5001/token", "http").is_ok());
        for (realm, scheme) in [("http://auth.example.com/", "https"), ("file:///etc/passwd", "http"), ("", "https")] {
            assert!(check_realm(realm, scheme).is_err(), "{realm}");
        }
    }
}
