//! Requests to one registry or mirror: TLS, scheme, tokens, retries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, RANGE};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::sync::{Mutex, OnceCell};

use super::auth::{self, Actions};
use super::certs::Certs;
use super::error::{RegistryError, more_requests};
use super::message::printable;
use super::proxy::Proxies;
use super::rate_limit::RateLimit;
use super::request::Target;
use super::response::{check, is_elsewhere, is_success_of_write};
use super::retry::{self, Pauses, TRIES};
use super::route::{self, without_query};
use super::settings::{CONNECT_TIMEOUT, Host, Limits, Settings};
use crate::credentials::{Credential, Lookup};
use crate::progress::Reporter;

/// Most redirects followed: registries use one, to their storage.
const MAX_REDIRECTS: usize = 5;

/// One registry or mirror.
pub(super) struct Endpoint {
    name: String,
    server: String,
    plain: bool,
    verify: bool,
    ca: Option<Vec<u8>>,
    client: Option<Vec<u8>>,
    proxies: Proxies,
    /// Hosts that may use plain http, or whose certificates are not verified.
    insecure: BTreeSet<String>,
    user_agent: &'static str,
    limits: Limits,
    pauses: std::sync::Mutex<Pauses>,
    http: reqwest::Client,
    scheme: OnceCell<&'static str>,
    /// `Authorization` by repository and actions, since a token is valid for one pair only.
    tokens: Mutex<BTreeMap<(String, Actions), String>>,
    unreachable: AtomicBool,
    /// The rate limit that it stated last.
    limit: std::sync::Mutex<Option<RateLimit>>,
    reporter: Arc<dyn Reporter>,
    credentials: Arc<Lookup>,
}

impl Endpoint {
    /// The endpoint for `name`, as settings and references have it. Opens no connection.
    pub(super) fn new(
        name: &str,
        settings: &Settings,
        reporter: Arc<dyn Reporter>,
        credentials: &Arc<Lookup>,
    ) -> Result<Self, RegistryError> {
        let server = route::server(name);
        let loopback = route::is_loopback(server);
        let fallback = Host::default();
        let host = settings.hosts.get(name).unwrap_or(&fallback);
        let (user_agent, limits) = (settings.user_agent, settings.limits);
        let Certs { ca, client } = Certs::read(name, host, &settings.certificates, &*reporter)?;
        let plain = host.insecure || (loopback && ca.is_none());
        let verify = !plain || ca.is_some();
        let tls = |source| RegistryError::Tls { host: name.to_owned(), source };
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(limits.silence)
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .danger_accept_invalid_certs(!verify);
        if let Some(pem) = &ca {
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(tls)?);
        }
        if let Some(pem) = &client {
            builder = builder.identity(Certs::identity(pem).map_err(tls)?);
        }
        let schemes = if plain { &["https", "http"][..] } else { &["https"] };
        let mut urls = schemes.iter().filter_map(|scheme| Url::parse(&format!("{scheme}://{server}/")).ok());
        if urls.any(|url| settings.proxies.is_unusable(&url)) {
            return Err(RegistryError::NoProxy { host: name.to_owned() });
        }
        builder = settings.proxies.apply(builder);
        Ok(Self {
            name: name.to_owned(),
            server: server.to_owned(),
            plain,
            verify,
            ca,
            client,
            proxies: settings.proxies.clone(),
            insecure: settings.hosts.iter().filter(|(_, host)| host.insecure).map(|(name, _)| name.clone()).collect(),
            user_agent,
            limits,
            pauses: std::sync::Mutex::default(),
            http: builder.build().map_err(tls)?,
            scheme: OnceCell::new(),
            tokens: Mutex::default(),
            unreachable: AtomicBool::new(false),
            limit: std::sync::Mutex::default(),
            reporter,
            credentials: Arc::clone(credentials),
        })
    }

    /// Name in settings, references and messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was unreachable in all attempts of an earlier request.
    pub(super) fn was_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// GETs `target`, with a token if one is required, and retries where that may help.
    pub(super) async fn get(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        self.retried(async || self.attempt(target).await).await
    }

    /// GETs `url`, which belongs to no registry, so that no credentials of registries are sent. Errors have the URL without its
    /// query.
    pub(super) async fn get_url(
        &self,
        url: &str,
        target: &Target<'_>,
        authorization: Option<&str>,
    ) -> Result<Response, RegistryError> {
        let shown = without_query(url);
        let once = async || {
            let response = self.send(url, target, authorization).await.map_err(|error| error.with_url(shown))?;
            let checked = check(response, &self.name, shown, target, &self.limits).await;
            checked.map_err(|error| error.without(authorization).through(self.proxy(url)))
        };
        self.retried(once).await
    }

    /// `Authorization` for `url` on this server (RFC 7617): over https with a verified certificate, or to this machine.
    pub(super) fn basic_authorization(&self, url: &Url, credential: &Credential) -> Option<String> {
        let Credential::Password { user, password } = credential else { return None };
        let is_safe = route::is_loopback(&self.server) || (url.scheme() == "https" && self.verify);
        is_safe.then(|| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// Whether plain http is allowed.
    pub(super) fn takes_plain(&self) -> bool {
        self.plain
    }

    /// Base URL of a repository, with a slash at the end.
    pub(super) async fn base(&self, repository: &str) -> Result<String, RegistryError> {
        Ok(format!("{}://{}/v2/{repository}/", self.scheme().await?, self.server))
    }

    /// Sends a request that writes, or checks whether writing is needed, with a token if one is required.
    pub(super) async fn write(
        &self,
        repository: &str,
        method: Method,
        url: &str,
        subject: &str,
        prepare: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let key = (repository.to_owned(), Actions::Push);
        // The upload may be on another server, which must not get the token.
        let ours = Url::parse(&self.base(repository).await?).ok().map(|base| base.origin());
        let at_home = Url::parse(url).is_ok_and(|url| Some(url.origin()) == ours);
        let send = async |token: Option<&str>| {
            let mut request = prepare(self.http.request(method.clone(), url));
            if let Some(token) = token.filter(|_| at_home) {
                request = request.header(AUTHORIZATION, token);
            }
            request.send().await.map_err(|source| self.unanswered(url, source))
        };
        let mut token = self.tokens.lock().await.get(&key).cloned();
        let mut response = send(token.as_deref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(new) = self.new_token(self.scheme().await?, key, &response, token.clone()).await?
        {
            response = send(Some(&new)).await?;
            token = Some(new);
        }
        if is_success_of_write(response.status()) {
            return Ok(response);
        }
        let target = Target { repository, path: "", accept: "", subject, rest: None, head: false };
        let checked = check(response, &self.name, url, &target, &self.limits).await;
        checked.map_err(|error| error.without(token.as_deref()).through(self.proxy(url)))
    }

    async fn retried(&self, ask: impl AsyncFn() -> Result<Response, RegistryError>) -> Result<Response, RegistryError> {
        let mut tries = 1;
        loop {
            let outcome = ask().await;
            if let Err(error) = &outcome
                && error.is_transient()
                && tries < TRIES
                && retry::wait(error, tries + 1, &self.limits, &self.pauses, &*self.reporter).await
            {
                tries += 1;
                continue;
            }
            let unreachable = outcome.as_ref().is_err_and(RegistryError::is_unreachable);
            self.unreachable.store(unreachable, Ordering::Relaxed);
            return outcome;
        }
    }

    /// Sends HEAD for `target`, without retries.
    pub(super) async fn head(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        self.attempt(&Target { head: true, ..*target }).await
    }

    async fn attempt(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        let scheme = self.scheme().await?;
        let url = format!("{scheme}://{}/v2/{}/{}", self.server, target.repository, target.path);
        let key = (target.repository.to_owned(), Actions::Pull);
        let mut token = self.tokens.lock().await.get(&key).cloned();
        let mut response = self.send(&url, target, token.as_deref()).await?;
        // The storage that the registry redirects to must not choose the token server.
        if response.status() == StatusCode::UNAUTHORIZED
            && !is_elsewhere(&response, &url)
            && let Some(new) = self.new_token(scheme, key, &response, token.clone()).await?
        {
            response = self.send(&url, target, Some(&new)).await?;
            token = Some(new);
        }
        // The rate limit of a storage is not that of the registry.
        if !is_elsewhere(&response, &url) {
            self.note_rate_limit(response.headers());
        }
        let checked = check(response, &self.name, &url, target, &self.limits).await;
        checked.map_err(|error| error.without(token.as_deref()).within(&self.limit).through(self.proxy(&url)))
    }

    /// The proxy for `url`, without user and password.
    fn proxy(&self, url: &str) -> Option<String> {
        self.proxies.shown(&Url::parse(url).ok()?)
    }

    /// Stores the rate limit that the registry states, and warns once when few requests are left.
    fn note_rate_limit(&self, headers: &HeaderMap) {
        let Some(limit) = RateLimit::read(headers) else { return };
        let mut known = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&limit) {
            return;
        }
        let line = format!("registry {}: {limit}", self.name);
        if limit.is_low() && !known.as_ref().is_some_and(RateLimit::is_low) {
            self.reporter.warn(&format!("{line}; {}", more_requests(&self.name)));
        } else {
            self.reporter.verbose(&line);
        }
        *known = Some(limit);
    }

    async fn send(&self, url: &str, target: &Target<'_>, token: Option<&str>) -> Result<Response, RegistryError> {
        // Digests are of the stored bytes, so the server must not compress them for the transfer.
        let method = if target.head { Method::HEAD } else { Method::GET };
        let mut request = self.http.request(method, url).header(ACCEPT_ENCODING, "identity");
        if !target.accept.is_empty() {
            request = request.header(ACCEPT, target.accept);
        }
        if let Some(rest) = &target.rest {
            request = request.header(RANGE, format!("bytes={}-", rest.from));
        }
        if let Some(token) = token {
            // reqwest drops this header when a redirect leaves the scheme, host or port
            // (CVE-2020-15157 is the leak otherwise).
            request = request.header(AUTHORIZATION, token);
        }
        request.send().await.map_err(|source| self.unanswered(url, source))
    }

    fn unanswered(&self, url: &str, source: reqwest::Error) -> RegistryError {
        let (host, proxy) = (self.name.clone(), self.proxy(url));
        RegistryError::Request { host, proxy, url: url.to_owned(), source: source.without_url() }
    }

    /// `https`, or `http` if that is allowed and https fails. Determined once.
    async fn scheme(&self) -> Result<&'static str, RegistryError> {
        let find = async || {
            if !self.plain {
                return Ok("https");
            }
            let nothing = Target { repository: "", path: "", accept: "", subject: "", rest: None, head: false };
            let ping = async |scheme| self.send(&format!("{scheme}://{}/v2/", self.server), &nothing, None).await;
            let Err(failure) = ping("https").await else { return Ok("https") };
            if failure.is_timeout() {
                return Err(failure);
            }
            if failure.met_no_tls() && !self.verify {
                return Ok("http");
            }
            match ping("http").await {
                // A TLS server answers a plain request with this status: then the TLS error is the cause.
                Ok(response) if response.status() == StatusCode::BAD_REQUEST => Err(failure),
                Ok(_) => Ok("http"),
                Err(error) if self.verify => {
                    self.reporter.verbose(&error.to_string());
                    Err(failure)
                }
                Err(error) => Err(error),
            }
        };
        self.scheme.get_or_try_init(find).await.copied()
    }

    /// Requests a token other than `old`, if `response` (a 401) says how. Concurrent requests share one token.
    async fn new_token(
        &self,
        scheme: &str,
        key: (String, Actions),
        response: &Response,
        old: Option<String>,
    ) -> Result<Option<String>, RegistryError> {
        let (repository, actions) = (key.0.as_str(), key.1);
        let failed = |why: String| RegistryError::Token {
            host: self.name.clone(),
            repository: repository.to_owned(),
            why: printable(&why),
        };
        // Tokens and credentials are not for the storage that a redirect led to.
        let Some(challenge) = auth::challenge(response, &self.server, scheme) else { return Ok(None) };
        let mut tokens = self.tokens.lock().await;
        let known = tokens.get(&key).cloned();
        if known.is_some() && known != old {
            return Ok(known);
        }
        let source = self.token_source(scheme, repository, actions);
        let token = match source.credential(&self.credentials, &challenge).await {
            Some(credential) => source.authorization(&challenge, &credential).await,
            None => source.anonymous_authorization(&challenge).await,
        };
        let token = token.map_err(failed)?;
        if let Some(token) = &token {
            tokens.insert(key.clone(), token.clone());
        }
        Ok(token)
    }

    fn token_source<'a>(&'a self, scheme: &'a str, repository: &'a str, actions: Actions) -> auth::Source<'a> {
        auth::Source {
            scheme,
            name: &self.name,
            server: &self.server,
            repository,
            actions,
            ca: self.ca.as_deref(),
            client: self.client.as_deref(),
            proxies: &self.proxies,
            verify: self.verify,
            insecure: &self.insecure,
            limits: &self.limits,
            user_agent: self.user_agent,
        }
    }

    /// Checks `credential` by a request to `/v2/`.
    pub(super) async fn log_in(&self, credential: Credential) -> Result<(), RegistryError> {
        let scheme = self.scheme().await?;
        let url = format!("{scheme}://{}/v2/", self.server);
        let target = Target { repository: "", path: "", accept: "", subject: "this login", rest: None, head: false };
        let mut response = self.send(&url, &target, None).await?;
        let mut sent = None;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = auth::challenge(&response, &self.server, scheme)
        {
            let source = self.token_source(scheme, "", Actions::Pull);
            let authorization = source.authorization(&challenge, &credential).await;
            let why = |why: String| RegistryError::LogIn { host: self.name.clone(), why: printable(&why) };
            sent = authorization.map_err(why)?;
            response = self.send(&url, &target, sent.as_deref()).await?;
        }
        let checked = check(response, &self.name, &url, &target, &self.limits).await;
        checked.map(drop).map_err(|error| error.without(sent.as_deref()))
    }
}

fn follow(attempt: redirect::Attempt) -> redirect::Action {
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if from_https && attempt.url().scheme() != "https" {
        attempt.error("a redirect from https to plain http, which is refused")
    } else {
        attempt.follow()
    }
}
