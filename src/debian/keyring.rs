//! Keys that may sign an archive: Debian's, which are part of hermes (`keys/README.md`), or those of a user's keyring file.

use std::sync::LazyLock;

use crate::debian::openpgp::{
    PUBLIC_KEY, PUBLIC_SUBKEY, PublicKey, SIGNATURE, Signature, TRUST, USER_ATTRIBUTE, USER_ID, framed_key, packets,
    unarmor,
};
use crate::dpkg::Fingerprint;
use crate::hint::{ErrorKind, Hint};

/// Largest keyring, in bytes. Debian's has 56 kB.
const MAX_KEYRING: usize = 1 << 20;

/// Debian's keys. `keys/README.md` has their origin, fingerprints and ends.
const DEBIAN: [&[u8]; 6] = [
    include_bytes!("keys/bookworm-archive.pgp"),
    include_bytes!("keys/bookworm-security.pgp"),
    include_bytes!("keys/bookworm-release.pgp"),
    include_bytes!("keys/trixie-archive.pgp"),
    include_bytes!("keys/trixie-security.pgp"),
    include_bytes!("keys/trixie-release.pgp"),
];

/// Types of signatures (RFC 9580, §5.2.1).
const CERTIFICATION: std::ops::RangeInclusive<u8> = 0x10..=0x13;
const SUBKEY_BINDING: u8 = 0x18;
const DIRECT_KEY: u8 = 0x1f;
const KEY_REVOCATION: u8 = 0x20;
const SUBKEY_REVOCATION: u8 = 0x28;

/// The flag of keys that may sign data (RFC 9580, §5.2.3.29).
const MAY_SIGN: u8 = 2;

/// Keys whose signatures are accepted.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<SigningKey>,
}

/// A key or subkey that may sign.
#[derive(Debug)]
pub struct SigningKey {
    pub(super) key: PublicKey,
    owner: String,
    expires: Option<u64>,
}

/// Bytes that are not a keyring with usable keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid keyring: {0}")]
pub struct ParseKeyringError(&'static str);

impl Hint for ParseKeyringError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["gpg --export --armor KEY > FILE writes a keyring".into()]
    }
}

impl SigningKey {
    /// The fingerprint of the key, which is that of a subkey if a subkey signs.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint
    }

    /// The first user ID of the key, which its owner chose.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.key.created
    }

    /// The end of its validity, in seconds since 1970. Signatures made before stay good.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }
}

impl Keyring {
    /// Debian's keys.
    ///
    /// # Panics
    /// Never: a test parses the embedded keys.
    #[must_use]
    pub fn debian() -> &'static Self {
        static KEYS: LazyLock<Keyring> =
            LazyLock::new(|| Keyring::of_packets(&DEBIAN.concat()).expect("the keys parse"));
        &KEYS
    }

    /// The keys of a file, binary or in ASCII armor. Keys of an unsupported kind, revoked keys and keys without a valid
    /// signature of their own are left out.
    ///
    /// # Errors
    /// Malformed packets or armor, something other than public keys, more than 1 MiB, no usable key.
    pub fn parse(file: &[u8]) -> Result<Self, ParseKeyringError> {
        if file.len() > MAX_KEYRING {
            return Err(ParseKeyringError("it is larger than 1 MiB"));
        }
        if !file.starts_with(b"-") {
            return Self::of_packets(file);
        }
        let text = str::from_utf8(file).map_err(|_| ParseKeyringError("its armor is not text"))?.replace("\r\n", "\n");
        let (mut all, mut rest) = (Vec::new(), text.trim_start());
        while !rest.is_empty() {
            let (bytes, next) = unarmor(rest, "PUBLIC KEY BLOCK").ok_or(ParseKeyringError("its armor is malformed"))?;
            all.extend(bytes);
            rest = next.trim_start();
        }
        Self::of_packets(&all)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }

    fn of_packets(bytes: &[u8]) -> Result<Self, ParseKeyringError> {
        let mut keys = Vec::new();
        // Packets of one key and its subkeys, in order (RFC 9580, §10.1).
        let mut certificate: Option<Certificate> = None;
        for (kind, body) in packets(bytes).ok_or(ParseKeyringError("its packets are malformed"))? {
            match (kind, &mut certificate) {
                (PUBLIC_KEY, _) => {
                    let next = PublicKey::parse(body).map(|key| Certificate::new(key, body));
                    keys.extend(std::mem::replace(&mut certificate, next).into_iter().flat_map(Certificate::into_keys));
                }
                (USER_ID, Some(certificate)) => certificate.user(body),
                (PUBLIC_SUBKEY, Some(certificate)) => certificate.subkey(body),
                (SIGNATURE, Some(certificate)) => certificate.signature(body),
                (USER_ATTRIBUTE, Some(certificate)) => certificate.subject = Subject::Other,
                // Parts of a key that is unsupported.
                (USER_ID | PUBLIC_SUBKEY | SIGNATURE | USER_ATTRIBUTE, None) | (TRUST, _) => {}
                _ => return Err(ParseKeyringError("it contains something other than public keys")),
            }
        }
        keys.extend(certificate.into_iter().flat_map(Certificate::into_keys));
        if keys.is_empty() {
            return Err(ParseKeyringError("it has no key of version 4, RSA or Ed25519, that may sign"));
        }
        Ok(Self { keys })
    }
}

/// A key, with what its own signatures say about it.
struct Binding {
    key: PublicKey,
    /// The creation of the newest of these signatures, the lifetime of the key and its flags.
    newest: Option<(u64, Option<u64>, Option<u8>)>,
    is_revoked: bool,
}

impl Binding {
    fn new(key: PublicKey) -> Self {
        Self { key, newest: None, is_revoked: false }
    }

    fn add(&mut self, signature: &Signature) {
        if self.newest.is_none_or(|(created, ..)| created <= signature.created) {
            self.newest = Some((signature.created, signature.key_lifetime, signature.key_flags));
        }
    }

    /// The end of the key, if it has one.
    fn expires(&self) -> Option<u64> {
        self.newest.and_then(|(_, lifetime, _)| lifetime).map(|lifetime| self.key.created + lifetime)
    }

    fn is_valid(&self) -> bool {
        self.newest.is_some() && !self.is_revoked
    }
}

/// What the next signatures of a certificate are about.
enum Subject {
    Key,
    /// A user ID, as signatures cover it.
    User(Vec<u8>),
    /// The last subkey, as signatures cover it.
    Subkey(Vec<u8>),
    /// Something that is ignored.
    Other,
}

/// A primary key with its user IDs and subkeys.
struct Certificate {
    primary: Binding,
    subkeys: Vec<Binding>,
    owner: Option<String>,
    /// The primary key as signatures cover it.
    framed: Vec<u8>,
    subject: Subject,
}

impl Certificate {
    fn new(key: PublicKey, body: &[u8]) -> Self {
        let (primary, framed) = (Binding::new(key), framed_key(body));
        Self { primary, subkeys: Vec::new(), owner: None, framed, subject: Subject::Key }
    }

    fn user(&mut self, body: &[u8]) {
        self.owner.get_or_insert_with(|| String::from_utf8_lossy(body).into_owned());
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.subject = Subject::User([&[0xb4], &length[..], body].concat());
    }

    fn subkey(&mut self, body: &[u8]) {
        self.subject = match PublicKey::parse(body) {
            Some(key) => {
                self.subkeys.push(Binding::new(key));
                Subject::Subkey(framed_key(body))
            }
            None => Subject::Other,
        };
    }

    /// Takes a signature over the subject into account, if the primary key made it. Signatures of others are ignored. The
    /// signature by which a subkey confirms its binding is not verified: it protects the subkey's owner, not those who trust
    /// the primary key.
    fn signature(&mut self, body: &[u8]) {
        let Ok(signature) = Signature::parse(body) else { return };
        let covered = match &self.subject {
            Subject::Key => [].as_slice(),
            Subject::User(framed) | Subject::Subkey(framed) => framed,
            Subject::Other => return,
        };
        let key = &self.primary.key;
        if !signature.names(&key.fingerprint) || !signature.is_good(key, &[&self.framed, covered].concat()) {
            return;
        }
        match (&self.subject, signature.kind, self.subkeys.last_mut()) {
            (Subject::Key, KEY_REVOCATION, _) => self.primary.is_revoked = true,
            // Those of Debian's keys only name who may revoke them.
            (Subject::Key, DIRECT_KEY, _) if signature.key_lifetime.is_some() => self.primary.add(&signature),
            (Subject::User(_), kind, _) if CERTIFICATION.contains(&kind) => self.primary.add(&signature),
            (Subject::Subkey(_), SUBKEY_BINDING, Some(subkey)) => subkey.add(&signature),
            (Subject::Subkey(_), SUBKEY_REVOCATION, Some(subkey)) => subkey.is_revoked = true,
            _ => {}
        }
    }

    /// The keys that may sign. A subkey ends with its primary key.
    fn into_keys(self) -> impl Iterator<Item = SigningKey> {
        let (is_valid, end) = (self.primary.is_valid(), self.primary.expires());
        let owner = self.owner.unwrap_or_default();
        std::iter::once(self.primary)
            .chain(self.subkeys)
            .filter(move |binding| {
                let may_sign =
                    binding.newest.is_some_and(|(_, _, flags)| flags.is_none_or(|flags| flags & MAY_SIGN != 0));
                is_valid && binding.is_valid() && may_sign
            })
            .map(move |binding| {
                let expires = binding.expires().into_iter().chain(end).min();
                SigningKey { key: binding.key, owner: owner.clone(), expires }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("testdata/", $name)).as_slice()
        };
    }

    /// The rows of `keys/README.md`: the fingerprint, the signing subkey, the end.
    #[test]
    fn the_table_of_debians_keys_is_right() {
        let mut keys = Keyring::debian().keys();
        let table = include_str!("keys/README.md").lines().filter(|line| line.starts_with("| `"));
        for (row, bytes) in table.zip(DEBIAN) {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let fingerprints: Vec<_> = cells[2..4].iter().filter(|cell| !cell.is_empty()).collect();
            assert_eq!(Keyring::parse(bytes).unwrap().keys().count(), fingerprints.len(), "{row}");
            for fingerprint in fingerprints {
                let key = keys.next().unwrap();
                assert_eq!(key.fingerprint().to_string(), **fingerprint);
                let day = |seconds: u64| super::super::clearsign::day(seconds);
                assert_eq!(
                    (day(key.created()), day(key.expires().unwrap())),
                    (cells[4].into(), cells[5].into()),
                    "{row}"
                );
                assert!(
                    key.owner().starts_with("Debian ") && key.owner().ends_with("@lists.debian.org>")
                        || key.owner().contains("ftpmaster@")
                );
            }
        }
        assert!(keys.next().is_none());
    }

    #[test]
    fn only_keys_that_may_sign() {
        // The primary key may only certify, the second subkey only encrypt.
        let rsa = Keyring::parse(file!("rsa-key.pgp")).unwrap();
        let keys: Vec<_> = rsa.keys().map(|key| (key.owner(), key.created(), key.expires())).collect();
        assert_eq!(keys, [("Test RSA <rsa@example.org>", 1_767_225_600, Some(1_798_761_600))]);
        for none in [file!("rsa-key-subkey-revoked.pgp"), file!("nistp256-key.asc")] {
            assert!(Keyring::parse(none).is_err());
        }
    }

    #[test]
    fn the_newest_signature_decides_the_end() {
        let end = |file: &[u8]| Keyring::parse(file).unwrap().keys().next().unwrap().expires();
        assert_eq!(end(file!("ed25519-key.asc")), Some(1_798_761_600));
        assert_eq!(end(file!("ed25519-key-extended.asc")), Some(1_893_456_000));
        // Both signatures, in both orders.
        let [old, new] = [file!("ed25519-key.asc"), file!("ed25519-key-extended.asc")]
            .map(|file| unarmor(str::from_utf8(file).unwrap(), "PUBLIC KEY BLOCK").unwrap().0);
        let signature = |key: &[u8]| {
            let start = packets(key).unwrap()[..2].iter().map(|(_, body)| body.len() + 2).sum::<usize>();
            key[start..].to_vec()
        };
        assert_eq!(end(&[&old[..], &signature(&new)].concat()), Some(1_893_456_000));
        assert_eq!(end(&[&new[..], &signature(&old)].concat()), Some(1_893_456_000));
    }

    #[test]
    fn changed_keyrings_have_no_other_keys() {
        let good = file!("rsa-key.pgp");
        let fingerprint = Keyring::parse(good).unwrap().keys().next().unwrap().fingerprint();
        for at in 0..good.len() {
            let mut changed = good.to_vec();
            changed[at] ^= 1;
            if let Ok(keyring) = Keyring::parse(&changed) {
                let keys: Vec<_> = keyring.keys().map(|key| (key.fingerprint(), key.expires())).collect();
                assert_eq!(keys, [(fingerprint, Some(1_798_761_600))], "byte {at}");
            }
            let _ = Keyring::parse(&good[..at]);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let armored = file!("ed25519-key.asc");
        for bad in [
            b"".as_slice(),
            b"not a keyring",
            file!("ed25519.asc"),
            &armored[..armored.len() - 40],
            &[b"-x\n", armored].concat(),
        ] {
            assert!(Keyring::parse(bad).is_err());
        }
        assert!(Keyring::parse(&String::from_utf8_lossy(armored).replace('\n', "\r\n").into_bytes()).is_ok());
        assert!(Keyring::parse(&vec![0; MAX_KEYRING + 1]).is_err());
    }
}
