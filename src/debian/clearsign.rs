//! Clearsigned documents (RFC 9580, §7), such as `InRelease`.

use std::fmt::Write as _;

use chrono::DateTime;

use crate::debian::keyring::{Keyring, SigningKey};
use crate::debian::openpgp::{SIGNATURE, Signature, Unusable, packets, unarmor};
use crate::dpkg::Fingerprint;
use crate::hint::{ErrorKind, Hint};

/// Largest document, in bytes. Debian's have up to 250 kB.
const MAX_DOCUMENT: usize = 16 << 20;
/// Most signatures. Debian's have three.
const MAX_SIGNATURES: usize = 20;
/// The type of signatures over text (RFC 9580, §5.2.1).
const TEXT: u8 = 1;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n";
const BEGIN_SIGNATURE: &str = "\n-----BEGIN PGP SIGNATURE-----\n";

/// A document whose signatures are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed, without dash escapes and without spaces at the ends of lines.
    pub text: String,
    /// Who signed it, in the order of the signatures: at least one.
    pub signers: Vec<Signer>,
}

/// A good signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Of the key or subkey that made it.
    pub fingerprint: Fingerprint,
    /// When it was made, in seconds since 1970, by the signer's clock.
    pub created: u64,
}

/// Why a document is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no clearsigned document.
    #[error("invalid clearsigned document: {0}")]
    Malformed(&'static str),
    /// A signature that an acceptable key is said to have made does not match the text.
    #[error("bad signature of key {0}")]
    Bad(Fingerprint),
    /// The signature was made after the end of the key.
    #[error("the signature of key {fingerprint} was made on {}, after the key expired on {}", day(*.created), day(*.expired))]
    ExpiredKey { fingerprint: Fingerprint, created: u64, expired: u64 },
    /// hermes cannot verify the signature.
    #[error("cannot verify the signature of key {issuer}: {why}")]
    Unsupported { issuer: String, why: &'static str },
    /// No acceptable key signed it.
    #[error("not signed by an acceptable key: expected {}, got {}", listed(.accepted), listed(.signers))]
    UnknownKey { signers: Vec<String>, accepted: Vec<String> },
}

fn listed(keys: &[String]) -> String {
    keys.join(" or ")
}

/// `2026-07-11`
pub(crate) fn day(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| format!("second {seconds}"), |time| time.format("%Y-%m-%d").to_string())
}

impl Hint for SignatureError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownKey { .. } => vec!["set signed-by to a file with the public keys of the archive".into()],
            _ => Vec::new(),
        }
    }
}

/// Verifies `document` with the keys of `keyring`.
///
/// Signatures of other keys, those of unsupported kinds, and those made after the end of their key do not count; one good
/// signature must remain. A signature that one of the keys is said to have made, but that does not match, refuses the document.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(document: &[u8], keyring: &Keyring) -> Result<Signed, SignatureError> {
    let (hashes, lines, signatures) = parts(document).map_err(SignatureError::Malformed)?;
    let packets = packets(&signatures).filter(|all| all.len() <= MAX_SIGNATURES);
    let packets = packets.ok_or(SignatureError::Malformed("its signatures are malformed"))?;
    let canonical = lines.join("\r\n");
    let (mut signers, mut refused, mut unknown) = (Vec::new(), None, Vec::new());
    for (kind, body) in packets {
        if kind != SIGNATURE {
            return Err(SignatureError::Malformed("it has a packet that is not a signature"));
        }
        let signature = match Signature::parse(body) {
            Ok(signature) => signature,
            Err(Unusable::Malformed) => return Err(SignatureError::Malformed("a signature is malformed")),
            Err(Unusable::Unsupported(why)) => {
                refused.get_or_insert(SignatureError::Unsupported { issuer: "unknown".into(), why });
                continue;
            }
        };
        let Some(key) = keyring.keys().find(|key| signature.names(&key.fingerprint())) else {
            unknown.push(name(&signature));
            continue;
        };
        match check(&signature, key, &hashes, canonical.as_bytes()) {
            Ok(signer) => signers.push(signer),
            Err(bad @ SignatureError::Bad(_)) => return Err(bad),
            Err(other) => refused = Some(other),
        }
    }
    if !signers.is_empty() {
        return Ok(Signed { text: lines.join("\n") + "\n", signers });
    }
    let accepted = keyring.keys().map(|key| key.fingerprint().to_string()).collect();
    Err(refused.unwrap_or(SignatureError::UnknownKey { signers: unknown, accepted }))
}

/// The longest issuer that the signature names, in hexadecimal digits.
fn name(signature: &Signature) -> String {
    let mut name = String::new();
    for byte in signature.issuers.iter().max_by_key(|issuer| issuer.len()).copied().unwrap_or_default() {
        let _ = write!(name, "{byte:02X}");
    }
    if name.is_empty() { "unknown".into() } else { name }
}

/// Verifies one signature with the key that it names.
fn check(signature: &Signature, key: &SigningKey, hashes: &[&str], text: &[u8]) -> Result<Signer, SignatureError> {
    let (fingerprint, created) = (key.fingerprint(), signature.created);
    let unsupported = |why| Err(SignatureError::Unsupported { issuer: fingerprint.to_string(), why });
    if !signature.is_good(&key.key, text) {
        return Err(SignatureError::Bad(fingerprint));
    }
    if let Some(expired) = key.expires().filter(|end| *end <= created) {
        return Err(SignatureError::ExpiredKey { fingerprint, created, expired });
    }
    if signature.kind != TEXT {
        return unsupported("it is not a signature over text");
    }
    if signature.has_unsigned {
        return unsupported("it contains data that are not signed");
    }
    if !hashes.contains(&signature.hash) {
        return unsupported("the document does not announce its hash algorithm");
    }
    if created < key.created() {
        return unsupported("it is older than the key");
    }
    Ok(Signer { fingerprint, created })
}

/// The announced hash algorithms, the lines of the text in canonical form, and the signature packets.
type Parts<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<u8>);

fn parts(document: &[u8]) -> Result<Parts<'_>, &'static str> {
    if document.len() > MAX_DOCUMENT {
        return Err("it is larger than 16 MiB");
    }
    let document = str::from_utf8(document).map_err(|_| "it is not text")?;
    // Of a document with other line ends it would not be sure what was signed.
    if document.contains('\r') {
        return Err("it has carriage returns");
    }
    let rest = document.strip_prefix(BEGIN).ok_or("it does not begin with a signed message")?;
    let (headers, rest) = rest.split_once("\n\n").ok_or("it has no text")?;
    let mut hashes = Vec::new();
    for header in headers.split('\n') {
        let algorithms = header.strip_prefix("Hash: ").ok_or("it has a header other than Hash")?;
        hashes.extend(algorithms.split(',').map(|name| name.trim_matches(' ')));
    }
    let text_end = rest.find(BEGIN_SIGNATURE).ok_or("it has no signature")?;
    let mut lines = Vec::new();
    for line in rest[..text_end].split('\n') {
        let line = line
            .strip_prefix("- ")
            .map_or_else(|| if line.starts_with('-') { Err("a dash is not escaped") } else { Ok(line) }, Ok)?;
        lines.push(line.trim_end_matches([' ', '\t']));
    }
    let (signatures, rest) = unarmor(&rest[text_end + 1..], "SIGNATURE").ok_or("its armor is malformed")?;
    if !rest.is_empty() {
        return Err("something follows the signature");
    }
    Ok((hashes, lines, signatures))
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("testdata/", $name)).as_slice()
        };
    }

    fn ed25519() -> Keyring {
        Keyring::parse(file!("ed25519-key.asc")).unwrap()
    }

    fn rsa() -> Keyring {
        Keyring::parse(file!("rsa-key.pgp")).unwrap()
    }

    fn signers(document: &[u8], keyring: &Keyring) -> Vec<(Fingerprint, u64)> {
        let signed = verify(document, keyring).unwrap();
        signed.signers.iter().map(|signer| (signer.fingerprint, signer.created)).collect()
    }

    #[test]
    fn signatures_of_gnupg_are_good() {
        let [ed, rsa_key] = [&ed25519(), &rsa()].map(|keyring| keyring.keys().next().unwrap().fingerprint());
        let at = 1_769_904_000;
        assert_eq!(signers(file!("ed25519.asc"), &ed25519()), [(ed, at)]);
        assert_eq!(signers(file!("rsa.asc"), &rsa()), [(rsa_key, at)]);
        assert_eq!(signers(file!("notation.asc"), &ed25519()), [(ed, at)]);
        // Of two signatures one is by an acceptable key.
        assert_eq!(signers(file!("both.asc"), &ed25519()), [(ed, at)]);
        assert_eq!(signers(file!("both.asc"), &rsa()), [(rsa_key, at)]);
    }

    #[test]
    fn the_text_is_what_was_signed() {
        let signed = verify(file!("ed25519.asc"), &ed25519()).unwrap();
        assert!(signed.text.starts_with("Suite: stable\nCodename: test\n"), "{}", signed.text);
        assert!(signed.text.ends_with(" 0 main/binary-amd64/Packages\n"), "{}", signed.text);
        let odd = verify(file!("odd.asc"), &ed25519()).unwrap();
        assert_eq!(odd.text, "-----dashed\n\nblanks: yes\n- item\nEnd\n");
        // Blanks at the ends of lines are not signed, and not in the text.
        let changed = String::from_utf8(file!("odd.asc").to_vec()).unwrap().replace("yes \t\n", "yes\n");
        assert_eq!(verify(changed.as_bytes(), &ed25519()), Ok(odd));
    }

    #[test]
    fn each_changed_byte_is_refused() {
        for (document, keyring) in [(file!("ed25519.asc"), ed25519()), (file!("rsa.asc"), rsa())] {
            let armor = String::from_utf8_lossy(document).find(BEGIN_SIGNATURE).unwrap();
            for at in 0..document.len() {
                for byte in
                    [document[at] ^ 1, document[at] ^ 2, document[at] ^ 0x20, document[at] ^ 0x80, b'\n', b' ', b'-']
                {
                    let mut changed = document.to_vec();
                    changed[at] = byte;
                    let is_same = byte == document[at];
                    assert_eq!(verify(&changed, &keyring).is_ok(), is_same, "{byte:#x} at byte {at}");
                }
                // Line ends in the armor are not part of the signature.
                let shorter = [&document[..at], &document[at + 1..]].concat();
                let is_same = shorter == document || (at > armor && document[at] == b'\n');
                assert!(verify(&shorter, &keyring).is_err() || is_same, "without byte {at}");
                assert!(verify(&document[..at], &keyring).is_err(), "the first {at} bytes");
            }
            assert!(verify(&[document, b"\n"].concat(), &keyring).is_err());
            assert!(verify(&[b"\n", document].concat(), &keyring).is_err());
        }
    }

    #[test]
    fn unknown_keys_are_named_with_the_acceptable_ones() {
        let error = verify(file!("rsa.asc"), &ed25519()).unwrap_err();
        let [expected, signer] =
            [ed25519(), rsa()].map(|keyring| keyring.keys().next().unwrap().fingerprint().to_string());
        assert_eq!(error.to_string(), format!("not signed by an acceptable key: expected {expected}, got {signer}"));
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(matches!(verify(file!("rsa.asc"), Keyring::debian()), Err(SignatureError::UnknownKey { .. })));
    }

    #[test]
    fn a_bad_signature_refuses_in_spite_of_a_good_one() {
        // The last signature of the two is damaged, but still names its key.
        let both = String::from_utf8(file!("both.asc").to_vec()).unwrap();
        let (text, armor) = both.split_once("-----BEGIN PGP SIGNATURE-----").unwrap();
        let armor = format!("-----BEGIN PGP SIGNATURE-----{armor}");
        let (mut packets, _) = unarmor(&armor, "SIGNATURE").unwrap();
        *packets.last_mut().unwrap() ^= 1;
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, packets);
        let bad = format!("{text}-----BEGIN PGP SIGNATURE-----\n\n{encoded}\n-----END PGP SIGNATURE-----\n");
        let [ed, rsa] = [ed25519(), rsa()];
        assert!([verify(bad.as_bytes(), &ed), verify(bad.as_bytes(), &rsa)].iter().any(Result::is_ok));
        let keyring = Keyring::parse(&[file!("ed25519-key.asc"), file!("rsa-key-armored.asc")].concat()).unwrap();
        assert!(matches!(verify(bad.as_bytes(), &keyring), Err(SignatureError::Bad(_))));
        assert_eq!(verify(both.as_bytes(), &keyring).unwrap().signers.len(), 2);
    }

    #[test]
    fn an_expired_key_is_good_for_earlier_signatures() {
        let old = ed25519();
        let expired = old.keys().next().unwrap().expires().unwrap();
        assert!(verify(file!("ed25519.asc"), &old).is_ok());
        let error = verify(file!("late.asc"), &old).unwrap_err();
        assert!(
            matches!(error, SignatureError::ExpiredKey { expired: end, created, .. } if end == expired && created > end)
        );
        assert!(error.to_string().ends_with("was made on 2027-02-01, after the key expired on 2027-01-01"), "{error}");
        let extended = Keyring::parse(file!("ed25519-key-extended.asc")).unwrap();
        assert!(verify(file!("late.asc"), &extended).is_ok());
    }

    #[test]
    fn unsupported_signatures_do_not_count() {
        for document in [
            file!("critical.asc"),
            file!("expires.asc"),
            file!("early.asc"),
            file!("nistp256.asc"),
            file!("sha384.asc"),
            &String::from_utf8_lossy(file!("ed25519.asc")).replace("Hash: SHA512", "Hash: SHA256").into_bytes(),
        ] {
            let error = verify(document, &ed25519()).unwrap_err();
            assert!(matches!(error, SignatureError::Unsupported { .. }), "{error}");
        }
    }

    #[test]
    fn malformed_documents_are_refused() {
        let good = String::from_utf8(file!("ed25519.asc").to_vec()).unwrap();
        for bad in [
            String::new(),
            good.replace('\n', "\r\n"),
            good.replace("Hash: SHA512\n", "Hash: SHA512\nComment: x\n"),
            good.replace("Hash: SHA512\n", ""),
            good.replace("Suite", "-Suite"),
            good.replacen("-----BEGIN PGP SIGNATURE-----\n\n", "-----BEGIN PGP SIGNATURE-----\n", 1),
            good.replacen("-----BEGIN PGP SIGNATURE-----\n\n", "-----BEGIN PGP SIGNATURE-----\nx\n\n", 1),
            format!("{good}{good}"),
            format!("{BEGIN}Hash: SHA512\n\n{BEGIN_SIGNATURE}\n-----END PGP SIGNATURE-----\n"),
        ] {
            assert!(
                matches!(
                    verify(bad.as_bytes(), &ed25519()),
                    Err(SignatureError::Malformed(_) | SignatureError::UnknownKey { .. })
                ),
                "accepted {bad}"
            );
        }
        let comment = good.replacen("SIGNATURE-----\n\n", "SIGNATURE-----\nVersion: GnuPG v1\n\n", 1);
        assert!(verify(comment.as_bytes(), &ed25519()).is_ok());
    }
}
