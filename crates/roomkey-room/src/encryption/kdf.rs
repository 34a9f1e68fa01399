//! How a key is made of what the application gives.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroize as _;

/// As many bytes as one block of either derivation has; no key is longer.
pub(super) const BLOCK: usize = 32;

/// As all clients have it; some tens of milliseconds.
const ROUNDS: u32 = 100_000;
/// As all clients have it: so many zeros.
const INFO: [u8; 128] = [0; 128];

/// The first block of PBKDF2 with HMAC-SHA256 (RFC 8018 section 5.2).
pub(super) fn pbkdf2(password: &[u8], salt: &[u8], out: &mut [u8; BLOCK]) {
    pbkdf2_rounds(password, salt, ROUNDS, out);
}

fn pbkdf2_rounds(password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8; BLOCK]) {
    let keyed = mac(password);
    let mut block = after(&keyed, &[salt, &1_u32.to_be_bytes()]);
    out.copy_from_slice(&block);
    for _ in 1..rounds {
        block = after(&keyed, &[&block]);
        out.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    block.zeroize();
}

/// The first block of HKDF with SHA-256 (RFC 5869).
pub(super) fn hkdf(secret: &[u8], salt: &[u8], out: &mut [u8; BLOCK]) {
    let mut extracted = after(&mac(salt), &[secret]);
    out.copy_from_slice(&after(&mac(&extracted), &[&INFO, &[1]]));
    extracted.zeroize();
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn after(keyed: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; BLOCK] {
    let mut mac = keyed.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::tests::unhex;

    #[test]
    fn one_round_of_pbkdf2_is_that_of_rfc_7914() {
        let mut out = [0; BLOCK];
        pbkdf2_rounds(b"passwd", b"salt", 1, &mut out);
        assert_eq!(out[..], unhex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"));
    }
}
