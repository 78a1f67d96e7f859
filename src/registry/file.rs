//! A file by its URL. No registry's protocol, but a registry's means: certificates, proxies, retries, the rate, going on where a
//! connection broke.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use reqwest::{Response, StatusCode, Url};

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::message::printable;
use super::pace::Pace;
use super::request::{Rest, Target};
use super::retry::Attempts;

/// A file being received. How long it is and what is in it, only its digest tells.
pub struct Download<'a> {
    client: &'a Client,
    endpoint: Arc<Endpoint>,
    url: String,
    response: Option<Response>,
    pace: Pace,
    /// Where in the file the next byte of the answer is.
    at: u64,
    received: u64,
    /// The file's length, where the server said it.
    size: Option<u64>,
    attempts: Attempts,
}

impl Client {
    /// Begins to receive the file at `url`: https, or http where [`super::Host`] allows it to that host.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn download(&self, url: &str) -> Result<Download<'_>, RegistryError> {
        let (endpoint, parsed) = self.server_of(url)?;
        let mut download = Download {
            client: self,
            endpoint,
            url: parsed.to_string(),
            response: None,
            pace: Pace::default(),
            at: 0,
            received: 0,
            size: None,
            attempts: Attempts::default(),
        };
        download.connect().await?;
        Ok(download)
    }

    /// Whether something may be fetched from `url`: by https, or by http where [`super::Host`] allows it to that host.
    /// Opens no connection.
    ///
    /// # Errors
    /// [`RegistryError::Url`].
    pub fn allows(&self, url: &str) -> Result<(), RegistryError> {
        self.server_of(url).map(drop)
    }

    fn server_of(&self, url: &str) -> Result<(Arc<Endpoint>, Url), RegistryError> {
        let bad = |why| RegistryError::Url { url: printable(url), why };
        let parsed = Url::parse(url).map_err(|_| bad("it cannot be understood"))?;
        let host = parsed.host_str().ok_or_else(|| bad("it names no host"))?;
        let name = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let endpoint = self.endpoint(&name)?;
        match parsed.scheme() {
            "https" => Ok((endpoint, parsed)),
            "http" if endpoint.takes_plain() => Ok((endpoint, parsed)),
            "http" => Err(bad("plain http is only spoken with hosts that may be insecure")),
            _ => Err(bad("it is neither https nor http")),
        }
    }
}

impl Download<'_> {
    /// How long the file is, where the server said it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        let whole = Target { repository: "", path: "", accept: "", subject: &self.url, rest: None, head: false };
        let rest = self.size.filter(|_| self.received > 0).map(|size| Rest { from: self.received, size });
        let response = match self.endpoint.get_url(&self.url, &Target { rest, ..whole }).await {
            Err(RegistryError::Range { .. }) => self.endpoint.get_url(&self.url, &whole).await?,
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
    /// The connection broke, or nothing came in time, or too slowly, and the same with others that were made in its place.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else {
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
                    let (host, subject) = (self.endpoint.name().to_owned(), self.url.clone());
                    let (expected, got) = (self.size.unwrap_or_default(), self.at);
                    self.again(RegistryError::WrongSize { host, subject, expected, got }).await?;
                }
                Err(stalled) => {
                    let error = stalled.of(self.endpoint.name().to_owned(), self.url.clone());
                    self.again(error).await?;
                }
            }
        }
    }

    async fn again(&mut self, error: RegistryError) -> Result<(), RegistryError> {
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
