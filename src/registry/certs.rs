//! Certificates of one registry: additional CAs, and the client certificate.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::RegistryError;
use super::settings::Host;
use crate::progress::Reporter;

/// The certificates for one registry.
#[derive(Debug, Default)]
pub(super) struct Certs {
    /// Additional CAs, as PEM.
    pub ca: Option<Vec<u8>>,
    /// Client certificate and its key, as PEM.
    pub client: Option<Vec<u8>>,
}

impl Certs {
    /// Reads the certificates for the registry `name`: those that `host` names, else those in a subdirectory `name` of
    /// one of `directories`, as docker and podman have them: `*.crt` for CAs, `NAME.cert` and `NAME.key` for a client.
    pub(super) fn read(
        name: &str,
        host: &Host,
        directories: &[PathBuf],
        reporter: &dyn Reporter,
    ) -> Result<Self, RegistryError> {
        // The name of a registry may come from a stranger's file; '..' must not become part of a path.
        let directories = directories.iter().filter(|_| !name.starts_with('.'));
        let found_files: Vec<PathBuf> = directories.flat_map(|directory| files(&directory.join(name))).collect();
        let with = |extension: &'static str| {
            found_files.iter().filter(move |path| path.extension() == Some(OsStr::new(extension)))
        };
        let authorities: Vec<_> = host.ca.as_ref().map_or_else(|| with("crt").collect(), |ca| vec![ca]);
        let ca = authorities.into_iter().map(|path| read_ca(name, path)).collect::<Result<Vec<_>, _>>()?;
        // Without 'client-key' the key is in the file of the certificate.
        let configured = host.client_cert.clone().map(|cert| {
            let key = host.client_key.clone().unwrap_or_else(|| cert.clone());
            (cert, key)
        });
        let found = || with("cert").next().map(|cert| (cert.clone(), cert.with_extension("key")));
        if let (None, Some(key)) = (&host.client_cert, &host.client_key) {
            return Err(unfit(name, key, "is a key without a 'client-cert'"));
        }
        let client = match (configured, found()) {
            (Some((cert, key)), _) => Some(read_client(name, &cert, &key, reporter)?),
            (None, Some((cert, key))) => match read_client(name, &cert, &key, reporter) {
                // Keys of docker's daemon, which runs as root, are usually readable by root only.
                Err(RegistryError::ClientRead { path, source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    reporter.warn(&format!(
                        "cannot read {}; continuing without a client certificate for {name}",
                        path.display()
                    ));
                    None
                }
                outcome => Some(outcome?),
            },
            (None, None) => None,
        };
        Ok(Self { ca: (!ca.is_empty()).then(|| ca.concat()), client })
    }

    /// Converts the client certificate for the TLS library.
    pub(super) fn identity(client: &[u8]) -> Result<Identity, reqwest::Error> {
        Identity::from_pem(client)
    }
}

/// The files in a directory, sorted; none if there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

fn read_ca(host: &str, path: &Path) -> Result<Vec<u8>, RegistryError> {
    let failed = |source| RegistryError::CaRead { host: host.to_owned(), path: path.to_owned(), source };
    let pem = fs::read(path).map_err(failed)?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => {
            Err(RegistryError::CaEmpty { host: host.to_owned(), path: path.to_owned() })
        }
        // The files are concatenated, and one may lack a final newline.
        Ok(_) => Ok([&pem, &b"\n"[..]].concat()),
        Err(source) => Err(RegistryError::Tls { host: host.to_owned(), source }),
    }
}

/// Reads and checks a client certificate and its key. A server that refuses them says only that it wants a certificate.
fn read_client(host: &str, cert: &Path, key: &Path, reporter: &dyn Reporter) -> Result<Vec<u8>, RegistryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| RegistryError::ClientRead { host: host.to_owned(), path, source }
    };
    let certificate = fs::read(cert).map_err(failed(cert))?;
    let secret = fs::read(key).map_err(failed(key))?;
    if fs::metadata(key).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0) {
        reporter.warn(&format!(
            "every user of this machine can read {}, the client key for registry {host}: run chmod o= {}",
            key.display(),
            key.display()
        ));
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| unfit(host, cert, "is not valid PEM"))?;
    if chain.is_empty() {
        return Err(unfit(host, cert, "contains no PEM certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
        let encrypted = secret.windows(9).any(|part| part == b"ENCRYPTED");
        unfit(
            host,
            key,
            if encrypted {
                "contains a key with a passphrase, which is not supported"
            } else {
                "contains no PEM private key"
            },
        )
    })?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unfit(host, key, "is not the key of the certificate"),
        _ => unfit(host, cert, "contains no certificate with a supported key"),
    })?;
    let same = if cert == key { &[][..] } else { &secret };
    Ok([&certificate, &b"\n"[..], same].concat())
}

fn unfit(host: &str, path: &Path, what: &'static str) -> RegistryError {
    RegistryError::ClientUnfit { host: host.to_owned(), path: path.to_owned(), what }
}
