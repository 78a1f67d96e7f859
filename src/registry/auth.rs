//! What a registry is shown of who one is (distribution's "Token Authentication Specification"):
//! tokens for anonymous access by `oci_distribution`, those for credentials by code of our own, which
//! sends them to the token server that was checked and follows no redirect.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_distribution::Client;
use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Reference, RegistryOperation};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url, redirect};

use super::certs::Certs;
use super::response::body;
use super::{CONNECT_TIMEOUT, Proxies, READ_TIMEOUT, route};
use crate::credentials::{Credential, Finder};

/// Longest answer of a token server: tokens are some kilobytes.
const MAX_TOKEN: u64 = 256 << 10;

/// How a registry wants to be told who one is.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With a user and a password (RFC 7617).
    Basic,
    /// With a token of this server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What it is to be asked for.
        service: Option<String>,
        /// Why no token may be asked for there.
        refused: Option<&'static str>,
    },
}

/// The challenge in `response`, if that is of `server` itself, asked by `scheme`.
pub(super) fn challenge(response: &Response, server: &str, scheme: &str) -> Option<Challenge> {
    let asked = Url::parse(&format!("{scheme}://{server}/")).ok()?;
    if asked.origin() != response.url().origin() {
        return None;
    }
    let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
    Challenge::parse(&values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>(), scheme)
}

impl Challenge {
    /// Reads the values of `WWW-Authenticate` in an answer that came by `scheme`, `https` or `http`: the
    /// first Bearer challenge (RFC 6750 §3), else a Basic one. `None` where there is neither.
    #[must_use]
    pub fn parse(values: &[&str], scheme: &str) -> Option<Self> {
        let bearer = values.iter().find_map(|value| {
            let realm = parameter(value, "realm")?;
            let refused = check_realm(&realm, scheme).err();
            Some(Self::Bearer { realm, service: parameter(value, "service"), refused })
        });
        let basic = || values.iter().any(|value| value.split(',').any(is_basic));
        bearer.or_else(|| basic().then_some(Self::Basic))
    }
}

fn is_basic(challenge: &str) -> bool {
    let scheme = challenge.split_whitespace().next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// A quoted parameter of the Bearer challenge in `value`.
fn parameter(value: &str, name: &str) -> Option<String> {
    // Lower-casing ASCII keeps every offset.
    let lower = value.to_ascii_lowercase();
    let bearer = lower.find("bearer ")?;
    let sign = format!("{name}=\"");
    let start = bearer + lower[bearer..].find(&sign)? + sign.len();
    let end = start + value[start..].find('"')?;
    Some(value[start..end].to_owned())
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

/// Whether credentials for `server` may be sent to `url`, with certificates verified or not. A registry
/// may name any token server on https; but none on an address of its choosing, which may be one
/// that only this machine reaches (the family of CVE-2026-33540).
fn may_send(url: &Url, server: &str, verify: bool) -> Result<(), &'static str> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let same = format!("{host}{port}") == server;
    if route::is_loopback(host) {
        return if route::is_loopback(server) { Ok(()) } else { Err("it names a token server on this machine") };
    }
    if url.scheme() != "https" {
        return Err("it has no https, where anyone could read them");
    }
    if !verify {
        return Err("its certificate is not verified; 'ca' in config.toml makes it so");
    }
    match url.domain() {
        None if !same => Err("its token server has an address in place of a name"),
        _ => Ok(()),
    }
}

/// What a token is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actions {
    Pull,
    Push,
}

/// Where a token is asked for, and how.
pub(super) struct Source<'a> {
    /// `https` or `http`.
    pub scheme: &'a str,
    /// The registry's name in references and settings.
    pub name: &'a str,
    /// `host[:port]`.
    pub server: &'a str,
    /// The repository it is to be good for; empty for none.
    pub repository: &'a str,
    /// What one wants to do there.
    pub actions: Actions,
    /// PEM of further CAs.
    pub ca: Option<&'a [u8]>,
    /// PEM of a client certificate and its key.
    pub client: Option<&'a [u8]>,
    /// Through which proxies.
    pub proxies: &'a Proxies,
    /// Whether certificates are verified.
    pub verify: bool,
    /// `User-Agent`.
    pub user_agent: &'static str,
}

impl Source<'_> {
    /// What there is for this repository. Helpers run beside what else is received.
    pub(super) async fn credential(&self, finder: &Arc<Finder>, challenge: &Challenge) -> Option<Credential> {
        let (asked, name, repository) = (Arc::clone(finder), self.name.to_owned(), self.repository.to_owned());
        let credential = tokio::task::spawn_blocking(move || asked.find(&name, &repository)).await.ok()??;
        match self.trusted(challenge) {
            Ok(()) => Some(credential),
            Err(why) => {
                finder.note(format!("credentials for registry {} are not sent: {why}", self.name));
                None
            }
        }
    }

    /// Whether credentials may go where `challenge` wants them.
    fn trusted(&self, challenge: &Challenge) -> Result<(), &'static str> {
        let invalid = "it names no valid token server";
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.server)).map_err(|_| invalid)?;
        may_send(&own, self.server, self.verify)?;
        match challenge {
            Challenge::Bearer { refused: Some(why), .. } => Err(why),
            Challenge::Bearer { realm, .. } => {
                may_send(&Url::parse(realm).map_err(|_| invalid)?, self.server, self.verify)
            }
            Challenge::Basic => Ok(()),
        }
    }

    /// `Authorization` without credentials. As [`Self::anonymous_token`].
    pub(super) async fn anonymous_authorization(&self, challenge: &Challenge) -> Result<Option<String>, String> {
        match challenge {
            Challenge::Basic => Ok(None),
            Challenge::Bearer { refused: Some(why), .. } => Err((*why).to_owned()),
            // To this one a certificate has to be shown.
            Challenge::Bearer { realm, service, .. } if self.client.is_some() => {
                let url = Url::parse(realm).map_err(|error| error.to_string())?;
                let client = self.token_client(&url).map_err(|error| causes(&error))?;
                self.ask(client.get(self.question(url, service.as_deref()))).await.map(Some)
            }
            Challenge::Bearer { realm, .. } => {
                Ok(self.anonymous_token(realm).await?.map(|token| format!("Bearer {token}")))
            }
        }
    }

    /// `Authorization` by `credential`. No answer of the token server is in an error, since it may
    /// quote what it was sent.
    pub(super) async fn authorization(
        &self,
        challenge: &Challenge,
        credential: &Credential,
    ) -> Result<Option<String>, String> {
        self.trusted(challenge)?;
        let (realm, service) = match (challenge, credential) {
            (Challenge::Bearer { realm, service, .. }, _) => (realm, service),
            (Challenge::Basic, Credential::Password { user, password }) => {
                return Ok(Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
            }
            (Challenge::Basic, Credential::IdentityToken(_)) => return Ok(None),
        };
        let url = Url::parse(realm).map_err(|error| error.to_string())?;
        let client = self.token_client(&url).map_err(|error| causes(&error))?;
        let request = match credential {
            Credential::Password { user, password } => {
                client.get(self.question(url, service.as_deref())).basic_auth(user, Some(password))
            }
            Credential::IdentityToken(token) => {
                let mut form = url.clone();
                form.query_pairs_mut().clear();
                let mut form = self.question(form, service.as_deref());
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "hermes")
                    .append_pair("refresh_token", token);
                let form = form.query().unwrap_or_default().to_owned();
                client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
        };
        self.ask(request).await.map(Some)
    }

    /// `url` with what a token is to be good for.
    fn question(&self, mut url: Url, service: Option<&str>) -> Url {
        let actions = if self.actions == Actions::Push { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.repository);
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(service.map(|service| ("service", service)));
        pairs.extend_pairs((!self.repository.is_empty()).then_some(("scope", &scope)));
        drop(pairs);
        url
    }

    /// The `Authorization` that a token server gives.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<String, String> {
        let mut response = request.send().await.map_err(|error| causes(&error.without_url()))?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Err(match status {
                400..=403 => format!(
                    "its token server does not take the credentials (status {status}); 'hermes login' renews them"
                ),
                _ => format!("its token server answers with status {status}"),
            });
        }
        let bytes = body(&mut response, MAX_TOKEN).await.map_err(|error| causes(&error))?.unwrap_or_default();
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| "its token server's answer is none".to_owned())?;
        let token = answer.token.or(answer.access_token).ok_or("its token server's answer has no token")?;
        Ok(format!("Bearer {token}"))
    }

    /// As the endpoint's own, but one that follows no redirect: what is asked for a token here holds
    /// the credentials.
    fn token_client(&self, realm: &Url) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .redirect(redirect::Policy::none())
            .danger_accept_invalid_certs(!self.verify);
        if let Some(pem) = self.ca {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        // A server elsewhere has no business with who one is at the registry.
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.server));
        if let Some(pem) = self.client.filter(|_| own.is_ok_and(|own| own.origin() == realm.origin())) {
            builder = builder.identity(Certs::identity(pem)?);
        }
        self.proxies.apply(builder).build()
    }

    /// Asks for a token. `None` where the registry turns out to want none or only passwords.
    /// An error is text of the registry, in part, and not fit for a terminal.
    async fn anonymous_token(&self, realm: &str) -> Result<Option<String>, String> {
        let certificate = |pem: &[u8]| Certificate { encoding: CertificateEncoding::Pem, data: pem.to_owned() };
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.server));
        let asked: Vec<_> = [own, Url::parse(realm)].into_iter().flatten().collect();
        let (secure, plain, direct) = self.proxies.for_others(&asked);
        let config = ClientConfig {
            protocol: if self.scheme == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
            accept_invalid_certificates: !self.verify,
            extra_root_certificates: self.ca.map(certificate).into_iter().collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: self.user_agent,
            https_proxy: secure,
            http_proxy: plain,
            no_proxy: Some(direct),
            ..ClientConfig::default()
        };
        // Not Client::new: that one goes on without our CA where the settings are unusable.
        let client = Client::try_from(config).map_err(words)?;
        let image = Reference::with_tag(self.server.to_owned(), self.repository.to_owned(), "latest".to_owned());
        let operation = if self.actions == Actions::Push { RegistryOperation::Push } else { RegistryOperation::Pull };
        let asked = client.auth(&image, &RegistryAuth::Anonymous, operation);
        // The crate sets no bound on the body, so time has to.
        match tokio::time::timeout(READ_TIMEOUT, asked).await {
            Ok(token) => token.map_err(words),
            Err(_) => Err(format!("no token came within {} s", READ_TIMEOUT.as_secs())),
        }
    }
}

/// A token server's answer; docker's and `OAuth2`'s name for the token.
#[derive(serde::Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// An error and its causes.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn words(error: OciDistributionError) -> String {
    match error {
        // The URL may hold a secret after a redirect, and the cause is the news.
        OciDistributionError::RequestError(error) => causes(&error.without_url()),
        OciDistributionError::AuthenticationFailure(reason) => format!("its token server says: {reason}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(value: &str) -> Option<String> {
        match Challenge::parse(&[value], "https")? {
            Challenge::Bearer { realm, .. } => Some(realm),
            Challenge::Basic => Some("basic".to_owned()),
        }
    }

    #[test]
    fn finds_the_realm_of_a_bearer_challenge() {
        assert_eq!(realm(r#"Bearer realm="https://a/t",service="s""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"bearer service="s", Realm="https://a/t""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"Basic realm="x", Bearer realm="https://a/t""#).as_deref(), Some("https://a/t"));
        assert_eq!(realm(r#"Basic realm="x""#).as_deref(), Some("basic"));
        assert_eq!(realm(r#"Bearer realm="x"#), None);
    }

    #[test]
    fn credentials_go_to_no_doubtful_place() {
        for (url, server, verify, ok) in [
            ("https://auth.docker.io/token", "registry-1.docker.io", true, true),
            ("https://10.0.0.5:5000/token", "10.0.0.5:5000", true, true),
            ("http://127.0.0.1:5001/token", "127.0.0.1:5000", false, true),
            ("https://auth.example.com/token", "127.0.0.1:5000", true, true),
            ("http://auth.example.com/token", "127.0.0.1:5000", false, false),
            ("https://auth.example.com/token", "127.0.0.1:5000", false, false),
            ("http://10.0.0.5:5000/v2/", "10.0.0.5:5000", true, false),
            ("https://10.0.0.5:5000/v2/", "10.0.0.5:5000", false, false),
            ("https://169.254.169.254/token", "quay.io", true, false),
            ("https://127.0.0.1/token", "quay.io", true, false),
            ("https://[::1]/token", "quay.io", true, false),
            ("https://localhost/token", "quay.io", true, false),
        ] {
            assert_eq!(may_send(&Url::parse(url).unwrap(), server, verify).is_ok(), ok, "{url} for {server}");
        }
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
