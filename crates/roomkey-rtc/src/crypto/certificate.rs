//! The self-signed certificate of a connection.
//!
//! A peer of WebRTC compares the certificate's fingerprint with the one in the SDP (RFC 8122) and looks at nothing else, so
//! the names and dates in it are the same for everybody.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey};
use sha2::{Digest, Sha256};
use str0m::config::DtlsCert;

/// `ecdsa-with-SHA256`, 1.2.840.10045.4.3.2, as an `AlgorithmIdentifier`.
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// `id-at-commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const EXPLICIT_0: u8 = 0xa0;

/// A new key and a certificate for it (RFC 5280), or `None` where the system has no randomness or the key can't be encoded.
pub(super) fn self_signed() -> Option<DtlsCert> {
    let key = SigningKey::try_generate().ok()?;
    let public_key = key.verifying_key().to_public_key_der().ok()?;
    let private_key = key.to_pkcs8_der().ok()?;

    let to_be_signed = to_be_signed(public_key.as_bytes());
    let signature: DerSignature = key.sign(&to_be_signed);
    let certificate =
        element(SEQUENCE, &[&to_be_signed, ECDSA_WITH_SHA256, &element(BIT_STRING, &[&[0], signature.as_bytes()])]);

    Some(DtlsCert { certificate, private_key: private_key.as_bytes().to_vec() })
}

fn to_be_signed(public_key: &[u8]) -> Vec<u8> {
    // Firefox wants serial numbers that differ between all certificates it meets; the key does, so its digest does.
    let mut serial: [u8; 16] = Sha256::digest(public_key)[..16].try_into().expect("a SHA-256 digest has 32 bytes");
    serial[0] = serial[0] & 0x7f | 0x40;

    let attribute = element(SEQUENCE, &[COMMON_NAME, &element(UTF8_STRING, &[b"roomkey"])]);
    let name = element(SEQUENCE, &[&element(SET, &[&attribute])]);
    let validity =
        element(SEQUENCE, &[&element(UTC_TIME, &[b"240101000000Z"]), &element(UTC_TIME, &[b"491231235959Z"])]);
    element(
        SEQUENCE,
        &[
            &element(EXPLICIT_0, &[&element(INTEGER, &[&[2]])]),
            &element(INTEGER, &[&serial]),
            ECDSA_WITH_SHA256,
            &name,
            &validity,
            &name,
            public_key,
        ],
    )
}

/// Tag, length and contents in DER (X.690 section 10.1).
fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=127) => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).expect("a certificate is shorter than 64 kB").to_be_bytes());
        }
    }
    contents.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier;
    use p256::pkcs8::DecodePrivateKey;

    use super::*;

    /// The contents of the first element of `der`, and what follows it.
    fn split(der: &[u8]) -> (u8, &[u8], &[u8]) {
        let (length, header) = match der[1] {
            0x81 => (usize::from(der[2]), 3),
            0x82 => (usize::from(u16::from_be_bytes([der[2], der[3]])), 4),
            short => (usize::from(short), 2),
        };
        (der[0], &der[header..header + length], &der[header + length..])
    }

    #[test]
    fn a_certificate_is_signed_by_the_key_that_it_names() {
        let made = self_signed().unwrap();
        let key = SigningKey::from_pkcs8_der(&made.private_key).unwrap();

        let (tag, contents, rest) = split(&made.certificate);
        assert_eq!((tag, rest.len()), (SEQUENCE, 0));
        let (_, body, rest) = split(contents);
        let to_be_signed = &contents[..contents.len() - rest.len()];
        let (_, algorithm, rest) = split(rest);
        assert_eq!(algorithm, &ECDSA_WITH_SHA256[2..]);
        let (tag, signature, rest) = split(rest);
        assert_eq!((tag, signature[0], rest.len()), (BIT_STRING, 0, 0));
        let signature = DerSignature::try_from(&signature[1..]).unwrap();
        VerifyingKey::from(&key).verify(to_be_signed, &signature).unwrap();

        let public_key = key.verifying_key().to_public_key_der().unwrap();
        assert!(body.ends_with(public_key.as_bytes()));
    }

    #[test]
    fn no_two_certificates_share_a_serial_number() {
        let serial = |certificate: &[u8]| split(split(split(split(certificate).1).1).2).1.to_vec();
        let (one, other) = (self_signed().unwrap(), self_signed().unwrap());
        assert_eq!(serial(&one.certificate).len(), 16);
        assert_ne!(serial(&one.certificate), serial(&other.certificate));
    }
}
