//! TLS failures among the causes of a failed request.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// The error of the TLS library that made the request fail.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `source()` of an `io::Error` skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &(dyn Error + 'static)));
    }
    None
}

/// Why the server's certificate was refused, if it was.
pub(super) fn certificate_error(error: &reqwest::Error) -> Option<&CertificateError> {
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(why) => Some(why),
        _ => None,
    }
}

/// Whether a server's certificate was refused because it is a CA. rustls accepts no CA as the certificate of a server,
/// where OpenSSL and Go do.
pub(super) fn is_ca(error: &CertificateError) -> bool {
    match error {
        CertificateError::Other(other) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

/// Whether the server answered a TLS handshake with something else, such as plain http.
pub(super) fn speaks_no_tls(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Whether the server may have refused because it was shown no client certificate, or not the right one. In TLS 1.3 it
/// refuses after the handshake, and the connection may be closed before the alert is read.
pub(super) fn may_want_certificate(error: &reqwest::Error, url: &str) -> bool {
    let refused = matches!(
        tls_error(error),
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ))
    );
    let ended = !(error.is_connect() || error.is_timeout() || error.is_redirect() || error.is_builder());
    refused || (ended && url.starts_with("https:"))
}
