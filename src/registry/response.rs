//! Reading answers: budgets for bodies, words for people.

use oci_distribution::errors::OciEnvelope;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};

use super::RegistryError;

/// Most characters of a registry's own words that are shown.
const MAX_MESSAGE: usize = 300;
/// Most bytes of an error's body that are looked at.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// `text` fit for a terminal: control characters escaped, capped at [`MAX_MESSAGE`] characters.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(MAX_MESSAGE).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(MAX_MESSAGE).is_some() {
        shown.push('…');
    }
    // escape_debug means literals; between words of a sentence quotes need no escape.
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// A header's value where it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Content-Type` without parameters, in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = header(headers, CONTENT_TYPE.as_str())?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

/// The whole body, at most `limit` bytes. `Ok(None)` if it is longer.
pub(super) async fn body(response: &mut Response, limit: u64) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// The answer if it is a success, else the error it stands for. `subject` is what was asked for.
pub(super) async fn check(
    mut response: Response,
    host: &str,
    url: &str,
    subject: &str,
) -> Result<Response, RegistryError> {
    let status = response.status();
    // No other success fits: nothing was asked for in part or left out.
    if status == StatusCode::OK {
        return Ok(response);
    }
    let (host, subject) = (host.to_owned(), subject.to_owned());
    let message = message(&mut response).await;
    Err(match status.as_u16() {
        404 => RegistryError::NotFound { host, subject, message },
        401 | 403 => RegistryError::Denied { host, subject, message },
        429 => RegistryError::RateLimited { host, message },
        status => RegistryError::Status { host, url: url.to_owned(), status, message },
    })
}

/// What an error's body says (distribution spec, "Error Codes"); nothing if it is in another form,
/// since that is a web page as a rule.
async fn message(response: &mut Response) -> String {
    let Ok(Some(bytes)) = body(response, MAX_ERROR_BODY).await else { return String::new() };
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(&bytes) else { return String::new() };
    let messages: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    printable(&messages.join("; "))
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn words_of_a_registry_cannot_drive_the_terminal() {
        assert_eq!(printable("it's \"down\" \x1b[2J\r\n\u{202e}x"), "it's \"down\" \\u{1b}[2J\\r\\n\\u{202e}x");
        assert_eq!(printable(&"x".repeat(301)).chars().count(), 301);
        assert_eq!(printable(" plain ä "), "plain ä");
    }
}
