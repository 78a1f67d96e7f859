//! Errors of Debian's packages and archives.

use crate::debian::{Index, Keyring, Release, ReleaseError, SignatureError};
use crate::dpkg::{Architecture, Fingerprint, PackageName, ParseParagraphError, Request, Version, parse_relations};

use super::{cause, error};

#[test]
fn words_of_packages() {
    examples!(error ParsePackageNameError ["Upper".parse::<PackageName>().unwrap_err()]);
    examples!(error ParseArchitectureError ["PDP-11".parse::<Architecture>().unwrap_err()]);
    examples!(error ParseVersionError ["1:".parse::<Version>().unwrap_err(), "a b".parse::<Version>().unwrap_err()]);
    examples!(error ParseRequestError ["gcc=".parse::<Request>().unwrap_err()]);
    examples!(error ParseFingerprintError ["ABC".parse::<Fingerprint>().unwrap_err()]);
    examples!(cause ParseRelationError [parse_relations("gcc (>> )").unwrap_err()]);
}

#[test]
fn archives_of_packages() {
    examples!(cause ParseParagraphError [ParseParagraphError { why: "a field is there twice", line: 7 }]);
    let amd64: Architecture = "amd64".parse().unwrap();
    examples!(error ParseIndexError [Index::parse(b"Package\n".to_vec(), &amd64).unwrap_err()]);
    examples!(error ParseKeyringError [Keyring::parse(b"no keys").unwrap_err()]);
    examples!(error ParseReleaseError [Release::parse("Suite: stable\n").unwrap_err()]);
    let key: Fingerprint = "4CB50190207B4758A3F73A796ED0E7B82643E131".parse().unwrap();
    variants!(error SignatureError {
        Malformed("it has no signature"),
        Bad(key.clone()),
        ExpiredKey { fingerprint: key.clone(), created: 1_783_764_997, expired: 1_700_000_000 },
        Unsupported { issuer: key.to_string(), why: "its hash is SHA-1" },
        UnknownKey { signers: vec!["0123456789ABCDEF".into()], accepted: vec![key.to_string()] },
    });
    variants!(error ReleaseError {
        OtherSuite { wanted: "bookworm".into(), got: vec!["oldstable".into(), "trixie".into()] },
        Expired { valid_until: 1_783_764_997 },
        Older { date: 1_700_000_000, known: 1_783_764_997 },
        NoIndex {
            component: "contrib".into(),
            architecture: amd64.clone(),
            components: vec!["main".into()],
            architectures: vec![amd64],
        },
    });
}
