//! The certificates of one registry: whom to trust beside the system's authorities, and who one is.

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

/// What was found for a registry.
#[derive(Debug, Default)]
pub(super) struct Certs {
    /// PEM of further authorities.
    pub ca: Option<Vec<u8>>,
    /// PEM of a client certificate and its key, which belong together.
    pub client: Option<Vec<u8>>,
}

impl Certs {
    /// For the registry `name`: what `host` says, else what lies in a directory of that name in one of
    /// `directories`, as docker and podman have them: `*.crt` of authorities, `NAME.cert` and `NAME.key` of
    /// a client.
    pub(super) fn read(
        name: &str,
        host: &Host,
        directories: &[PathBuf],
        reporter: &dyn Reporter,
    ) -> Result<Self, RegistryError> {
        // A mirror's name is the user's, a registry's may be a stranger's: '..' is no name.
        let directories = directories.iter().filter(|_| !name.starts_with('.'));
        let of_others: Vec<PathBuf> = directories.flat_map(|directory| files(&directory.join(name))).collect();
        let with = |extension: &'static str| {
            of_others.iter().filter(move |path| path.extension() == Some(OsStr::new(extension)))
        };
        let authorities: Vec<_> = host.ca.as_ref().map_or_else(|| with("crt").collect(), |ca| vec![ca]);
        let ca = authorities.into_iter().map(|path| read_ca(name, path)).collect::<Result<Vec<_>, _>>()?;
        // Without a key of its own the certificate's file has it.
        let configured = host.client_cert.clone().map(|cert| {
            let key = host.client_key.clone().unwrap_or_else(|| cert.clone());
            (cert, key)
        });
        let found = || with("cert").next().map(|cert| (cert.clone(), cert.with_extension("key")));
        if let (None, Some(key)) = (&host.client_cert, &host.client_key) {
            return Err(unfit(name, key, "belongs to no 'client-cert'"));
        }
        let client = match (configured, found()) {
            (Some((cert, key)), _) => Some(read_client(name, &cert, &key, reporter)?),
            (None, Some((cert, key))) => match read_client(name, &cert, &key, reporter) {
                // Docker's daemon is root, and its keys are root's alone as a rule.
                Err(RegistryError::ClientRead { path, source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    reporter.warn(&format!(
                        "{} cannot be read; going on without a client certificate for {name}",
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

    /// The client certificate as the TLS library takes it.
    pub(super) fn identity(client: &[u8]) -> Result<Identity, reqwest::Error> {
        Identity::from_pem(client)
    }
}

/// What lies in a directory, sorted; nothing where there is none.
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
        // Files are put together, and one may end without a line's end.
        Ok(_) => Ok([&pem, &b"\n"[..]].concat()),
        Err(source) => Err(RegistryError::Tls { host: host.to_owned(), source }),
    }
}

/// Reads a client's certificate and key, and makes sure that they are of use: a server would only say
/// that it wants a certificate.
fn read_client(host: &str, cert: &Path, key: &Path, reporter: &dyn Reporter) -> Result<Vec<u8>, RegistryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| RegistryError::ClientRead { host: host.to_owned(), path, source }
    };
    let certificate = fs::read(cert).map_err(failed(cert))?;
    let secret = fs::read(key).map_err(failed(key))?;
    if fs::metadata(key).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0) {
        reporter.warn(&format!(
            "every user of this machine can read {}, the key for registry {host}: chmod o= {}",
            key.display(),
            key.display()
        ));
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| unfit(host, cert, "is no valid PEM"))?;
    if chain.is_empty() {
        return Err(unfit(host, cert, "holds no PEM certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
        let encrypted = secret.windows(9).any(|part| part == b"ENCRYPTED");
        unfit(
            host,
            key,
            if encrypted { "holds a key with a passphrase, which cannot be used" } else { "holds no PEM private key" },
        )
    })?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unfit(host, key, "is not the key of the certificate"),
        _ => unfit(host, cert, "holds no certificate with a key that can be used"),
    })?;
    let same = if cert == key { &[][..] } else { &secret };
    Ok([&certificate, &b"\n"[..], same].concat())
}

fn unfit(host: &str, path: &Path, what: &'static str) -> RegistryError {
    RegistryError::ClientUnfit { host: host.to_owned(), path: path.to_owned(), what }
}
