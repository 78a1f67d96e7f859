//! Downloading a file by its URL, with the certificates, proxies, retries and bandwidth limit of a registry.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use reqwest::{Response, StatusCode, Url};

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::message::printable;
use super::pace::Pace;
use super::request::{Rest, Target};
use super::response::{Unread, body};
use super::retry::Attempts;
use super::route::without_query;
use crate::credentials::Credential;

const NOT_WEB: &str = "it is neither https nor http";

/// A file being downloaded. The reader has to verify its digest; the length is not known in advance.
pub struct Download<'a> {
    client: &'a Client,
    endpoint: Arc<Endpoint>,
    url: String,
    /// `Authorization`.
    authorization: Option<String>,
    response: Option<Response>,
    pace: Pace,
    /// Offset of the next byte of the response in the file.
    at: u64,
    received: u64,
    /// Length of the file, if the server states it.
    size: Option<u64>,
    attempts: Attempts,
}

impl Client {
    /// Starts the download of `url`: https, or http if [`super::Host`] allows it for that host.
    ///
    /// # Errors
    /// A URL that is not allowed; otherwise as [`RegistryError`] says.
    pub async fn download(&self, url: &str) -> Result<Download<'_>, RegistryError> {
        self.authorized_download(url, None).await
    }

    /// As [`Self::download`], with a credential for the server, which is sent over https with a verified certificate or to this
    /// machine, and to no other server.
    ///
    /// # Errors
    /// As [`Self::download`].
    pub(crate) async fn authorized_download(
        &self,
        url: &str,
        credential: Option<&Credential>,
    ) -> Result<Download<'_>, RegistryError> {
        let (endpoint, parsed) = self.server_of(url)?;
        let authorization = credential.and_then(|credential| endpoint.basic_authorization(&parsed, credential));
        self.begin(endpoint, parsed, authorization, None, 0).await
    }

    /// The document at `url`, of at most `limit` bytes, and the URL that sent it, to which its links are relative. `accept` lists
    /// media types.
    ///
    /// # Errors
    /// As [`Self::authorized_download`]; a longer document.
    pub(crate) async fn page(
        &self,
        url: &str,
        accept: &str,
        credential: Option<&Credential>,
        limit: u64,
    ) -> Result<(Vec<u8>, String), RegistryError> {
        let (endpoint, parsed) = self.server_of(url)?;
        let authorization = credential.and_then(|credential| endpoint.basic_authorization(&parsed, credential));
        let subject = without_query(url);
        let target = Target { repository: "", path: "", accept, subject, rest: None, head: false };
        let mut response = endpoint.get_url(url, &target, authorization.as_deref()).await?;
        let from = response.url().to_string();
        let (host, subject) = (endpoint.name().to_owned(), subject.to_owned());
        match body(&mut response, limit, self.limits()).await {
            Ok(bytes) => Ok((bytes, from)),
            Err(Unread::TooLong) => Err(RegistryError::TooLong { host, subject, limit }),
            Err(Unread::Stalled(stalled)) => Err(stalled.of(host, subject)),
        }
    }

    /// As [`Self::download`], also by plain http: for what a digest or a signature identifies. The file has `size` bytes, where
    /// that is known; those before `from` are not sent again, if the server supports ranges, and never returned.
    ///
    /// # Errors
    /// As [`Self::download`]; [`RegistryError::WrongSize`] if the server states another length.
    pub async fn verified_download(
        &self,
        url: &str,
        size: Option<u64>,
        from: u64,
    ) -> Result<Download<'_>, RegistryError> {
        let (endpoint, parsed) = self.parsed(url)?;
        match parsed.scheme() {
            "https" | "http" => self.begin(endpoint, parsed, None, size, from).await,
            _ => Err(RegistryError::Url { url: printable(url), why: NOT_WEB }),
        }
    }

    async fn begin(
        &self,
        endpoint: Arc<Endpoint>,
        url: Url,
        authorization: Option<String>,
        size: Option<u64>,
        from: u64,
    ) -> Result<Download<'_>, RegistryError> {
        let (url, pace, attempts) = (url.to_string(), Pace::default(), Attempts::from(from));
        let (client, response, at, received) = (self, None, 0, from);
        let mut download =
            Download { client, endpoint, url, authorization, response, pace, at, received, size, attempts };
        // An empty file is requested too: it may be missing.
        if from == 0 || size.is_none_or(|size| from < size) {
            download.connect().await?;
            if let (Some(expected), Some(got)) = (size, download.size.filter(|got| size != Some(*got))) {
                return Err(download.wrong_size(expected, got));
            }
            download.size = size.or(download.size);
        }
        Ok(download)
    }

    /// Checks the scheme of `url`: https, or http if [`super::Host`] allows it for that host. Opens no connection.
    ///
    /// # Errors
    /// [`RegistryError::Url`].
    pub fn allows(&self, url: &str) -> Result<(), RegistryError> {
        self.server_of(url).map(drop)
    }

    fn parsed(&self, url: &str) -> Result<(Arc<Endpoint>, Url), RegistryError> {
        let bad = |why| RegistryError::Url { url: printable(url), why };
        let parsed = Url::parse(url).map_err(|_| bad("it is not valid"))?;
        let host = parsed.host_str().ok_or_else(|| bad("it names no host"))?;
        let name = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok((self.endpoint(&name)?, parsed))
    }

    fn server_of(&self, url: &str) -> Result<(Arc<Endpoint>, Url), RegistryError> {
        let bad = |why| RegistryError::Url { url: printable(url), why };
        let (endpoint, parsed) = self.parsed(url)?;
        match parsed.scheme() {
            "https" => Ok((endpoint, parsed)),
            "http" if endpoint.takes_plain() => Ok((endpoint, parsed)),
            "http" => Err(bad("plain http is allowed only for hosts with 'insecure'")),
            _ => Err(bad(NOT_WEB)),
        }
    }
}

impl Download<'_> {
    /// Length of the file, if the server states it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        let (url, token) = (&self.url, self.authorization.as_deref());
        let subject = without_query(url);
        let whole = Target { repository: "", path: "", accept: "", subject, rest: None, head: false };
        let rest = self.size.filter(|_| self.received > 0).map(|size| Rest { from: self.received, size });
        let response = match self.endpoint.get_url(url, &Target { rest, ..whole }, token).await {
            Err(RegistryError::Range { .. }) => self.endpoint.get_url(url, &whole, token).await?,
            outcome => outcome?,
        };
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        self.at = if partial { self.received } else { 0 };
        if !partial {
            self.size = response.content_length();
        }
        self.response = Some(response);
        self.pace = Pace::default();
        Ok(())
    }

    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// All attempts failed: the connection broke, timed out or was too slow.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else {
                if self.size.is_some_and(|size| self.received == size) {
                    return Ok(None);
                }
                self.connect().await?;
                continue;
            };
            match self.pace.chunk(response, self.client.limits()).await {
                Ok(Some(mut chunk)) => {
                    let known = self.received.saturating_sub(self.at);
                    let known = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.len());
                    self.at += chunk.len() as u64;
                    if let Some(bucket) = self.client.bucket() {
                        bucket.take(chunk.len()).await;
                    }
                    chunk.advance(known);
                    self.received += chunk.len() as u64;
                    if !chunk.is_empty() {
                        return Ok(Some(chunk));
                    }
                }
                Ok(None) if self.size.is_none_or(|size| self.at == size) => return Ok(None),
                Ok(None) => {
                    let error = self.wrong_size(self.size.unwrap_or_default(), self.at);
                    self.retry(error).await?;
                }
                Err(stalled) => {
                    let error = stalled.of(self.endpoint.name().to_owned(), without_query(&self.url).to_owned());
                    self.retry(error).await?;
                }
            }
        }
    }

    fn wrong_size(&self, expected: u64, got: u64) -> RegistryError {
        let (host, subject) = (self.endpoint.name().to_owned(), without_query(&self.url).to_owned());
        RegistryError::WrongSize { host, subject, expected, got }
    }

    async fn retry(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.response = None;
        match self.attempts.next(self.received) {
            Some(next) => {
                self.client.pause(&error, next).await;
                Ok(())
            }
            None => Err(error),
        }
    }
}
