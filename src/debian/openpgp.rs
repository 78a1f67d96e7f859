//! OpenPGP (RFC 9580), as far as signatures of archives need it: packets, keys and signatures of version 4, RSA and Ed25519 with
//! SHA-256 and SHA-512.
//!
//! The arithmetic is ring's. Other versions and algorithms are unsupported, which is not an error of the format: an archive may
//! be signed by several keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use ring::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::dpkg::Fingerprint;

/// Most packets in one sequence.
const MAX_PACKETS: usize = 1000;

/// Packet types (§5).
pub(super) const SIGNATURE: u8 = 2;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const TRUST: u8 = 12;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;
pub(super) const USER_ATTRIBUTE: u8 = 17;

/// Algorithms (§9.1, §9.5).
const RSA: u8 = 1;
const RSA_SIGN_ONLY: u8 = 3;
const EDDSA_LEGACY: u8 = 22;
const ED25519_NATIVE: u8 = 27;
const HASH_SHA256: u8 = 8;
const HASH_SHA512: u8 = 10;

/// The object identifier of Ed25519 in keys of [`EDDSA_LEGACY`], with its length (§9.2).
const ED25519_CURVE: &[u8] = &[9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// A big-endian number of `N` octets.
fn number<const N: usize>(rest: &mut &[u8]) -> Option<usize> {
    Some(rest.split_off(..N)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// A length of one, two or five octets, of which the first is at most `two` where there are two (§4.2.1, §5.2.3.7). Partial
/// lengths are refused.
fn length(rest: &mut &[u8], two: usize) -> Option<usize> {
    match number::<1>(rest)? {
        first @ ..192 => Some(first),
        255 => number::<4>(rest),
        first if first <= two => Some(((first - 192) << 8) + number::<1>(rest)? + 192),
        _ => None,
    }
}

/// The types and bodies of the packets; `None` if they are malformed or too many.
pub(super) fn packets(mut rest: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut packets = Vec::new();
    while let Some(&tag) = rest.split_off_first() {
        let (kind, length) = match (tag, tag & 3) {
            (0xc0.., _) => (tag & 0x3f, length(&mut rest, 223)?),
            (0x80.., 0) => (tag >> 2 & 0xf, number::<1>(&mut rest)?),
            (0x80.., 1) => (tag >> 2 & 0xf, number::<2>(&mut rest)?),
            (0x80.., 2) => (tag >> 2 & 0xf, number::<4>(&mut rest)?),
            _ => return None,
        };
        packets.push((kind, rest.split_off(..length)?));
        if packets.len() > MAX_PACKETS {
            return None;
        }
    }
    Some(packets)
}

/// A number of any length (§3.2), whose length in bits must be exact.
fn mpi<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bits = number::<2>(rest)?;
    let digits = rest.split_off(..bits.div_ceil(8))?;
    let zeros = digits.first().map_or(0, |first| first.leading_zeros() as usize);
    (8 * digits.len() - zeros == bits).then_some(digits)
}

/// `digits` with zeros in front, appended to `to`; `None` if there are more than `length`.
fn pad(to: &mut Vec<u8>, digits: &[u8], length: usize) -> Option<()> {
    to.resize(to.len() + length.checked_sub(digits.len())?, 0);
    to.extend(digits);
    Some(())
}

/// Decodes ASCII armor (§6.2) at the beginning of `text`, and returns what follows it. The checksum may be missing, but not be
/// wrong.
pub(super) fn unarmor<'a>(text: &'a str, label: &str) -> Option<(Vec<u8>, &'a str)> {
    let text = text.strip_prefix(&format!("-----BEGIN PGP {label}-----\n"))?;
    let (inside, rest) = text.split_once(&format!("\n-----END PGP {label}-----\n"))?;
    let (headers, body) = match inside.strip_prefix('\n') {
        Some(body) => ("", body),
        None => inside.split_once("\n\n")?,
    };
    if !headers.lines().all(|line| line.contains(": ")) {
        return None;
    }
    let (encoded, checksum) = match body.rsplit_once("\n=") {
        Some((encoded, checksum)) => (encoded, Some(STANDARD.decode(checksum).ok()?)),
        None => (body, None),
    };
    let bytes = STANDARD.decode(encoded.replace('\n', "")).ok()?;
    let is_right = checksum.is_none_or(|checksum| crc24(&bytes).to_be_bytes()[1..] == checksum[..]);
    is_right.then_some((bytes, rest))
}

/// The checksum of ASCII armor (§6.1.1).
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            (crc << 1 ^ if crc & 0x80_0000 == 0 { 0 } else { 0x86_4cfb }) & 0xff_ffff
        })
    })
}

/// A public key.
#[derive(Debug)]
pub(super) struct PublicKey {
    pub(super) fingerprint: Fingerprint,
    /// Seconds since 1970.
    pub(super) created: u64,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ed25519([u8; 32]),
}

/// The bytes of a key as signatures and fingerprints cover them (§5.2.4).
pub(super) fn framed_key(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0x99], &length[..], body].concat()
}

impl PublicKey {
    /// The key of a packet's body (§5.5.2); `None` if it is unsupported or malformed.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        if number::<1>(&mut rest)? != 4 || body.len() > usize::from(u16::MAX) {
            return None;
        }
        let created = number::<4>(&mut rest)? as u64;
        let material = match *rest.split_off_first()? {
            RSA | RSA_SIGN_ONLY => {
                Material::Rsa { modulus: mpi(&mut rest)?.to_vec(), exponent: mpi(&mut rest)?.to_vec() }
            }
            EDDSA_LEGACY => {
                rest = rest.strip_prefix(ED25519_CURVE)?;
                Material::Ed25519(mpi(&mut rest)?.strip_prefix(&[0x40])?.try_into().ok()?)
            }
            ED25519_NATIVE => Material::Ed25519(rest.split_off(..32)?.try_into().ok()?),
            _ => return None,
        };
        let fingerprint = ring::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &framed_key(body));
        let fingerprint = Fingerprint(fingerprint.as_ref().try_into().ok()?);
        rest.is_empty().then_some(Self { fingerprint, created, material })
    }
}

/// A signature of version 4 (§5.2.3).
pub(super) struct Signature<'a> {
    /// What it signs (§5.2.1).
    pub(super) kind: u8,
    /// The name of its hash algorithm in `Hash` headers.
    pub(super) hash: &'static str,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// Fingerprints and ends of fingerprints (key ids) of the key that made it.
    pub(super) issuers: Vec<&'a [u8]>,
    /// How long the key that it certifies is valid, in seconds.
    pub(super) key_lifetime: Option<u64>,
    /// What the key that it certifies may do.
    pub(super) key_flags: Option<u8>,
    /// Whether something that is not signed, other than the issuer, is in the packet.
    pub(super) has_unsigned: bool,
    algorithm: u8,
    /// The part of the packet that is signed.
    signed: &'a [u8],
    /// The first two octets of the hash.
    check: &'a [u8],
    numbers: &'a [u8],
}

/// Why a signature cannot be verified.
#[derive(Debug)]
pub(super) enum Unusable {
    Malformed,
    /// It is of a kind that hermes does not verify.
    Unsupported(&'static str),
}

/// Calls `each` with the type, with its critical bit, and the body of each subpacket; `None` if they are malformed.
fn subpackets<'a>(mut area: &'a [u8], mut each: impl FnMut(u8, &'a [u8]) -> Option<()>) -> Option<()> {
    while !area.is_empty() {
        let length = length(&mut area, 254)?;
        let (kind, body) = area.split_off(..length)?.split_first()?;
        each(*kind, body)?;
    }
    Some(())
}

impl<'a> Signature<'a> {
    /// The signature of a packet's body. Subpackets that are marked as critical and are not known here are unsupported, and so
    /// are signatures that expire.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Unusable> {
        if body.first() != Some(&4) {
            return Err(Unusable::Unsupported("it is not of version 4"));
        }
        let (signature, unknown) = Self::read(body).ok_or(Unusable::Malformed)?;
        match (signature.algorithm, unknown) {
            (_, Some(why)) => Err(Unusable::Unsupported(why)),
            (RSA | RSA_SIGN_ONLY | EDDSA_LEGACY | ED25519_NATIVE, _) if !signature.hash.is_empty() => Ok(signature),
            _ => Err(Unusable::Unsupported("its algorithm is not RSA or Ed25519 with SHA-256 or SHA-512")),
        }
    }

    /// The signature, and why it is unsupported.
    fn read(body: &'a [u8]) -> Option<(Self, Option<&'static str>)> {
        let mut rest = body.get(4..)?;
        let length = number::<2>(&mut rest)?;
        let hashed = rest.split_off(..length)?;
        let signed = &body[..body.len() - rest.len()];
        let length = number::<2>(&mut rest)?;
        let unhashed = rest.split_off(..length)?;
        let hash = match body[3] {
            HASH_SHA256 => "SHA256",
            HASH_SHA512 => "SHA512",
            _ => "",
        };
        let (mut created, mut unknown) = (None, None);
        let mut signature = Self {
            kind: body[1],
            hash,
            created: 0,
            issuers: Vec::new(),
            key_lifetime: None,
            key_flags: None,
            has_unsigned: false,
            algorithm: body[2],
            signed,
            check: rest.split_off(..2)?,
            numbers: rest,
        };
        subpackets(hashed, |kind, mut body| {
            // §5.2.3.7 lists the types.
            match kind & 0x7f {
                2 => created = Some(number::<4>(&mut body)? as u64),
                3 if number::<4>(&mut body)? != 0 => unknown = Some("signatures that expire are not supported"),
                9 => signature.key_lifetime = Some(number::<4>(&mut body)? as u64).filter(|seconds| *seconds != 0),
                16 => signature.issuers.push(body.split_off(..8)?),
                27 => signature.key_flags = Some(body.first().copied().unwrap_or_default()),
                33 => signature.issuers.push(body.strip_prefix(&[4]).filter(|rest| rest.len() == 20)?),
                // What a key prefers, and who else may revoke it.
                7 | 11 | 12 | 21..=23 | 25 | 30 | 34 => {}
                _ if kind & 0x80 != 0 => unknown = Some("it has a critical subpacket of an unknown type"),
                _ => {}
            }
            Some(())
        })?;
        subpackets(unhashed, |kind, mut body| {
            match kind {
                16 => signature.issuers.push(body.split_off(..8).filter(|_| body.is_empty())?),
                33 => signature.issuers.push(body.strip_prefix(&[4]).filter(|rest| rest.len() == 20)?),
                _ => signature.has_unsigned = true,
            }
            Some(())
        })?;
        signature.created = created?;
        Some((signature, unknown))
    }

    /// Whether it says that the key with this fingerprint made it.
    pub(super) fn names(&self, fingerprint: &Fingerprint) -> bool {
        !self.issuers.is_empty() && self.issuers.iter().all(|issuer| fingerprint.0.ends_with(issuer))
    }

    /// Whether `key` made it over `data`.
    pub(super) fn is_good(&self, key: &PublicKey, data: &[u8]) -> bool {
        self.verify(key, data).is_some()
    }

    fn verify(&self, key: &PublicKey, data: &[u8]) -> Option<()> {
        let length = u32::try_from(self.signed.len()).ok()?.to_be_bytes();
        let message = [data, self.signed, &[4, 0xff], &length].concat();
        let (hash, rsa) = match self.hash {
            "SHA256" => (&SHA256, &RSA_PKCS1_2048_8192_SHA256),
            _ => (&SHA512, &RSA_PKCS1_2048_8192_SHA512),
        };
        let digest = ring::digest::digest(hash, &message);
        if !digest.as_ref().starts_with(self.check) {
            return None;
        }
        let (mut rest, mut raw) = (self.numbers, Vec::new());
        match (&key.material, self.algorithm) {
            (Material::Rsa { modulus, exponent }, RSA | RSA_SIGN_ONLY) => {
                pad(&mut raw, mpi(&mut rest)?, modulus.len())?;
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(rsa, &message, &raw).ok()?;
            }
            (Material::Ed25519(key), EDDSA_LEGACY | ED25519_NATIVE) => {
                if self.algorithm == EDDSA_LEGACY {
                    pad(&mut raw, mpi(&mut rest)?, 32)?;
                    pad(&mut raw, mpi(&mut rest)?, 32)?;
                } else {
                    raw = rest.split_off(..64)?.to_vec();
                }
                UnparsedPublicKey::new(&ED25519, key).verify(digest.as_ref(), &raw).ok()?;
            }
            _ => return None,
        }
        rest.is_empty().then_some(())
    }
}
