//! Authentication: credentials and tokens (distribution's "Token Authentication Specification").
//!
//! The client requests a token only from a token server that it has checked, and follows no redirect from there. The
//! registry can read the answer, so the answer must not come from a service that only this machine can reach.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url, redirect};

use super::certs::Certs;
use super::pace::Stalled;
use super::proxy::Proxies;
use super::response::{Unread, body, error_messages};
use super::route;
use super::settings::{CONNECT_TIMEOUT, Limits};
use crate::credentials::{Credential, Lookup};
use crate::hint::error_chain;

/// Largest answer of a token server, in bytes. Tokens have a few kilobytes.
const MAX_TOKEN: u64 = 256 << 10;

/// An authentication challenge.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password (RFC 7617).
    Basic,
    /// A token from a token server (RFC 6750).
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The service that the token is for.
        service: Option<String>,
        /// Why the client may not request a token there.
        refused: Option<&'static str>,
    },
}

/// The challenge in `response` to a request to `server` over `scheme`; `None` if the response comes from another server.
pub(super) fn challenge(response: &Response, server: &str, scheme: &str) -> Option<Challenge> {
    let asked = Url::parse(&format!("{scheme}://{server}/")).ok()?;
    if asked.origin() != response.url().origin() {
        return None;
    }
    let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
    Challenge::parse(&values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>(), scheme)
}

impl Challenge {
    /// Parses the values of `WWW-Authenticate` in a response over `scheme` (`https` or `http`): the first Bearer
    /// challenge (RFC 6750 §3), else a Basic one, else `None`.
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

/// Checks the token server `realm` of a registry that was reached over `scheme`. A registry on https must not send
/// clients to plain http (as in c/image's CVE-2019-10214).
pub(super) fn check_realm(realm: &str, scheme: &str) -> Result<(), &'static str> {
    match Url::parse(realm) {
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && scheme == "http") => Ok(()),
        Ok(_) => Err("its token server has no https"),
        Err(_) => Err("it names no valid token server"),
    }
}

const INVALID: &str = "it names no valid token server";

/// Checks that the client may request a token at `url`, without credentials. The registry chooses the URL and reads
/// the answer. The host must therefore be the registry's own, or a name with a certificate. It must not be this
/// machine, nor an address, which may be reachable from this machine only, nor a host with plain http.
fn may_ask(url: &Url, server: &str, insecure: &BTreeSet<String>) -> Result<(), String> {
    let host = url.host_str().ok_or(INVALID)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(INVALID.to_owned());
    }
    let local = route::is_loopback(host) || host.trim_end_matches('.').rsplit('.').next() == Some("localhost");
    if local && !route::is_loopback(server) {
        return Err("it names a token server on this machine".to_owned());
    }
    if local || is_host_of(url, server) {
        return Ok(());
    }
    if url.domain().is_none() {
        return Err("its token server is an address, not a name".to_owned());
    }
    let authority = authority(url);
    if url.scheme() == "https" || insecure.contains(&authority) {
        return Ok(());
    }
    Err(format!("its token server {authority} has no https; to allow that: --insecure {authority}"))
}

/// Whether the host of `url` is that of `server`, which is `host[:port]`.
fn is_host_of(url: &Url, server: &str) -> bool {
    Url::parse(&format!("https://{server}/")).is_ok_and(|own| own.host() == url.host())
}

/// `host[:port]`, without the scheme's default port.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Checks that the client may send credentials for `server` to `url`. A registry may name any token server on https,
/// but by name: an address may be reachable from this machine only (as in CVE-2026-33540). `verify` is whether
/// certificates are verified.
fn may_send(url: &Url, server: &str, verify: bool) -> Result<(), &'static str> {
    let host = url.host_str().unwrap_or_default();
    if route::is_loopback(host) {
        return if route::is_loopback(server) { Ok(()) } else { Err("it names a token server on this machine") };
    }
    if url.scheme() != "https" {
        return Err("it does not use https, so anyone could read them");
    }
    if !verify {
        return Err("its certificate is not verified; set 'ca' in config.toml");
    }
    match url.domain() {
        None if authority(url) != server => Err("its token server is an address, not a name"),
        _ => Ok(()),
    }
}

/// The actions that a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actions {
    Pull,
    Push,
}

/// A source of tokens: the registry and the settings for its token server.
pub(super) struct Source<'a> {
    /// `https` or `http`.
    pub scheme: &'a str,
    /// The registry's name in references and settings.
    pub name: &'a str,
    /// `host[:port]`.
    pub server: &'a str,
    /// The repository that the token is for; empty for none.
    pub repository: &'a str,
    pub actions: Actions,
    /// Additional CAs, as PEM.
    pub ca: Option<&'a [u8]>,
    /// Client certificate and key, as PEM.
    pub client: Option<&'a [u8]>,
    pub proxies: &'a Proxies,
    /// Whether the registry's certificate is verified.
    pub verify: bool,
    /// Hosts (`host[:port]`) without certificate verification, which may use plain http.
    pub insecure: &'a BTreeSet<String>,
    pub limits: &'a Limits,
    /// `User-Agent`.
    pub user_agent: &'static str,
}

impl Source<'_> {
    /// The credential for this repository. Credential helpers run in another thread.
    pub(super) async fn credential(&self, lookup: &Arc<Lookup>, challenge: &Challenge) -> Option<Credential> {
        let (asked, name, repository) = (Arc::clone(lookup), self.name.to_owned(), self.repository.to_owned());
        let credential = tokio::task::spawn_blocking(move || asked.find(&name, &repository)).await.ok()??;
        match self.trusted(challenge) {
            Ok(()) => Some(credential),
            Err(why) => {
                lookup.note(format!("not sending the credentials for registry {}: {why}", self.name));
                None
            }
        }
    }

    /// Checks that the client may send credentials to the server that `challenge` names.
    fn trusted(&self, challenge: &Challenge) -> Result<(), &'static str> {
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.server)).map_err(|_| INVALID)?;
        may_send(&own, self.server, self.verify)?;
        match challenge {
            Challenge::Bearer { refused: Some(why), .. } => Err(why),
            Challenge::Bearer { realm, .. } => {
                may_send(&Url::parse(realm).map_err(|_| INVALID)?, self.server, self.verify)
            }
            Challenge::Basic => Ok(()),
        }
    }

    /// `Authorization` without credentials. An error contains text of the token server, which is not escaped.
    pub(super) async fn anonymous_authorization(&self, challenge: &Challenge) -> Result<Option<String>, String> {
        match challenge {
            Challenge::Basic => Ok(None),
            Challenge::Bearer { refused: Some(why), .. } => Err((*why).to_owned()),
            Challenge::Bearer { realm, service, .. } => {
                let url = self.token_server(realm)?;
                let client = self.token_client(&url).map_err(|error| error_chain(&error))?;
                let mut response = self.send(client.get(self.question(url, service.as_deref()))).await?;
                match response.status() {
                    StatusCode::OK => self.token(&mut response).await.map(Some),
                    status => Err(match error_messages(&mut response, self.limits).await {
                        said if said.is_empty() => format!("its token server answers with status {}", status.as_u16()),
                        said => format!("its token server answers with status {}, saying: {said}", status.as_u16()),
                    }),
                }
            }
        }
    }

    /// Parses and checks the URL of the token server.
    fn token_server(&self, realm: &str) -> Result<Url, String> {
        let url = Url::parse(realm).map_err(|_| INVALID)?;
        may_ask(&url, self.server, self.insecure)?;
        Ok(url)
    }

    /// `Authorization` with `credential`. Errors quote no answer of the token server, since it may repeat the secret.
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
        let url = self.token_server(realm)?;
        let client = self.token_client(&url).map_err(|error| error_chain(&error))?;
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
        let mut response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => self.token(&mut response).await.map(Some),
            status if (400..=403).contains(&status.as_u16()) => Err(format!(
                "its token server refuses the credentials (status {}); renew them with 'hermes login'",
                status.as_u16()
            )),
            status => Err(format!("its token server answers with status {}", status.as_u16())),
        }
    }

    /// `url` with the service and scope of the token as query parameters.
    fn question(&self, mut url: Url, service: Option<&str>) -> Url {
        let actions = if self.actions == Actions::Push { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.repository);
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(service.map(|service| ("service", service)));
        pairs.extend_pairs((!self.repository.is_empty()).then_some(("scope", &scope)));
        drop(pairs);
        url
    }

    /// Sends `request` and refuses a redirect.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, String> {
        let response = request.send().await.map_err(|error| error_chain(&error.without_url()))?;
        if response.status().is_redirection() {
            let status = response.status().as_u16();
            return Err(format!("its token server redirects (status {status}); tokens are not requested elsewhere"));
        }
        Ok(response)
    }

    /// Reads the answer of a token server into `Authorization`.
    async fn token(&self, response: &mut Response) -> Result<String, String> {
        let bytes = body(response, MAX_TOKEN, self.limits).await.map_err(|unread| match unread {
            Unread::TooLong => format!("its token server sends more than {MAX_TOKEN} bytes"),
            Unread::Stalled(Stalled::Broken(error)) => error_chain(&error),
            Unread::Stalled(Stalled::Slow { bytes, seconds }) => {
                format!("its token server sends too slowly: {bytes} bytes in {seconds} s")
            }
        })?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| "its token server's answer is not valid JSON".to_owned())?;
        let token = answer.token.or(answer.access_token).ok_or("its token server's answer has no token")?;
        Ok(format!("Bearer {token}"))
    }

    /// The HTTP client for the token server. It follows no redirect: the request may hold credentials, and the registry
    /// reads the answer.
    fn token_client(&self, realm: &Url) -> Result<reqwest::Client, reqwest::Error> {
        let own = Url::parse(&format!("{}://{}/", self.scheme, self.server));
        // Another server's certificate is verified even where the registry's is not.
        let lenient = if is_host_of(realm, self.server) || route::is_loopback(realm.host_str().unwrap_or_default()) {
            !self.verify
        } else {
            self.insecure.contains(&authority(realm))
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(self.limits.silence)
            .redirect(redirect::Policy::none())
            .danger_accept_invalid_certs(lenient);
        if let Some(pem) = self.ca {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        // The client certificate identifies the user at the registry, and must not be shown to another server.
        if let Some(pem) = self.client.filter(|_| own.is_ok_and(|own| own.origin() == realm.origin())) {
            builder = builder.identity(Certs::identity(pem)?);
        }
        self.proxies.apply(builder).build()
    }
}

/// The answer of a token server, with docker's and `OAuth2`'s field for the token.
#[derive(serde::Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
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
    fn a_token_is_requested_from_no_doubtful_place() {
        let insecure = BTreeSet::from(["auth.lan:5001".to_owned()]);
        for (url, server, ok) in [
            ("https://auth.docker.io/token", "registry-1.docker.io", true),
            ("https://quay.io/v2/auth", "quay.io", true),
            ("http://registry.lan:5001/token", "registry.lan:5000", true),
            ("https://10.0.0.5:5001/token", "10.0.0.5:5000", true),
            ("https://[fd00::1]/token", "[fd00::1]:5000", true),
            ("http://127.0.0.1:5001/token", "127.0.0.1:5000", true),
            ("http://localhost:5001/token", "127.0.0.1:5000", true),
            ("http://auth.lan:5001/token", "registry.lan:5000", true),
            ("http://auth.lan:5002/token", "registry.lan:5000", false),
            ("http://auth.lan/token", "10.0.0.5:5000", false),
            ("https://169.254.169.254/latest/meta-data/", "quay.io", false),
            ("http://2852039166/latest/meta-data/", "registry.lan", false),
            ("https://[fe80::1]/token", "quay.io", false),
            ("https://10.0.0.6/token", "10.0.0.5:5000", false),
            ("https://127.0.0.1/token", "quay.io", false),
            ("https://0x7f.1/token", "quay.io", false),
            ("https://0.0.0.0/token", "quay.io", false),
            ("https://0.0.0.0/token", "127.0.0.1:5000", false),
            ("https://[::1]/token", "quay.io", false),
            ("https://[::ffff:127.0.0.1]/token", "quay.io", false),
            ("https://localhost/token", "quay.io", false),
            ("https://LOCALHOST./token", "quay.io", false),
            ("https://a.localhost/token", "quay.io", false),
            ("https://me:secret@auth.example.com/token", "quay.io", false),
        ] {
            let asked = may_ask(&Url::parse(url).unwrap(), server, &insecure);
            assert_eq!(asked.is_ok(), ok, "{url} for {server}: {asked:?}");
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
