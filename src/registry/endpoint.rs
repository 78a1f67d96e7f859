//! One registry or mirror: its TLS, its scheme, its token, and requests that are tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

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
use super::route;
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
    /// What else may be asked by plain http, or without verifying its certificate.
    insecure: BTreeSet<String>,
    user_agent: &'static str,
    limits: Limits,
    pauses: std::sync::Mutex<Pauses>,
    http: reqwest::Client,
    scheme: OnceCell<&'static str>,
    /// `Authorization` by repository and what one does there, since a token is good for one.
    tokens: Mutex<BTreeMap<(String, Actions), String>>,
    unreachable: AtomicBool,
    /// What it said last of the requests that it grants.
    limit: std::sync::Mutex<Option<RateLimit>>,
    reporter: Arc<dyn Reporter>,
    credentials: Arc<Lookup>,
}

impl Endpoint {
    /// The endpoint called `name` in settings and references. Opens no connection.
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

    /// Its name in settings, references and messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether all tries of an earlier request found nobody there.
    pub(super) fn was_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// GETs `target`, with a token where one is demanded, again where that may help.
    pub(super) async fn get(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        self.again(async || self.attempt(target).await).await
    }

    /// GETs `url`, which is no registry's to answer: nobody is told who one is.
    pub(super) async fn get_url(&self, url: &str, target: &Target<'_>) -> Result<Response, RegistryError> {
        let once = async || {
            let response = self.send(url, target, None).await?;
            let checked = check(response, &self.name, url, target, &self.limits).await;
            checked.map_err(|error| error.through(self.proxy(url)))
        };
        self.again(once).await
    }

    /// Whether plain http may be spoken.
    pub(super) fn takes_plain(&self) -> bool {
        self.plain
    }

    /// Where the parts of a repository are, with a slash at the end.
    pub(super) async fn base(&self, repository: &str) -> Result<String, RegistryError> {
        Ok(format!("{}://{}/v2/{repository}/", self.scheme().await?, self.server))
    }

    /// Sends a request that writes, or looks whether writing is needed, with a token for that where one is demanded.
    pub(super) async fn write(
        &self,
        repository: &str,
        method: Method,
        url: &str,
        subject: &str,
        prepare: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let key = (repository.to_owned(), Actions::Push);
        // An upload may lead elsewhere, whom a token is not for.
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

    async fn again(&self, ask: impl AsyncFn() -> Result<Response, RegistryError>) -> Result<Response, RegistryError> {
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

    /// Asks for the headers of `target`, once.
    pub(super) async fn head(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        self.attempt(&Target { head: true, ..*target }).await
    }

    async fn attempt(&self, target: &Target<'_>) -> Result<Response, RegistryError> {
        let scheme = self.scheme().await?;
        let url = format!("{scheme}://{}/v2/{}/{}", self.server, target.repository, target.path);
        let key = (target.repository.to_owned(), Actions::Pull);
        let mut token = self.tokens.lock().await.get(&key).cloned();
        let mut response = self.send(&url, target, token.as_deref()).await?;
        // A storage that the registry redirects to has no say in where tokens come from.
        if response.status() == StatusCode::UNAUTHORIZED
            && !is_elsewhere(&response, &url)
            && let Some(new) = self.new_token(scheme, key, &response, token.clone()).await?
        {
            response = self.send(&url, target, Some(&new)).await?;
            token = Some(new);
        }
        // A storage's word on such things is about itself.
        if !is_elsewhere(&response, &url) {
            self.hear(response.headers());
        }
        let checked = check(response, &self.name, &url, target, &self.limits).await;
        checked.map_err(|error| error.without(token.as_deref()).within(&self.limit).through(self.proxy(&url)))
    }

    /// The proxy that leads to `url`, as people may see it.
    fn proxy(&self, url: &str) -> Option<String> {
        self.proxies.shown(&Url::parse(url).ok()?)
    }

    /// Takes note of what the registry still grants. The user is told once that it is little.
    fn hear(&self, headers: &HeaderMap) {
        let Some(limit) = RateLimit::read(headers) else { return };
        let mut heard = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.as_ref() == Some(&limit) {
            return;
        }
        let said = format!("registry {}: {limit}", self.name);
        if limit.is_low() && !heard.as_ref().is_some_and(RateLimit::is_low) {
            self.reporter.warn(&format!("{said}; {}", more_requests(&self.name)));
        } else {
            self.reporter.verbose(&said);
        }
        *heard = Some(limit);
    }

    async fn send(&self, url: &str, target: &Target<'_>, token: Option<&str>) -> Result<Response, RegistryError> {
        // Content is digested as stored, so a compression of the way is not wanted.
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

    /// `https`, or `http` where that is allowed and https fails: found out once.
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
                // A TLS server answers a plain request so: then what is wrong with TLS is the news.
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

    /// A token other than `old`, if `response` (a 401) says how to get one. Requests that are
    /// refused at the same time share one.
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
        // A storage to which a redirect led is not whom a token or credentials are for.
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

    /// GETs `/v2/` with what `credential` gets one.
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
