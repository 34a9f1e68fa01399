//! The ciphers of SRTP: AES counter mode (RFC 3711) and AES-GCM (RFC 7714).

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

/// The bytes of an authentication tag of GCM.
const TAG_LEN: usize = 16;

/// The ciphers that str0m may negotiate.
#[derive(Debug)]
pub(super) struct Srtp;

impl SrtpProvider for Srtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Self
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb_round::<Aes128>(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb_round::<Aes256>(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(CounterMode { key })
    }
}

impl SupportedAeadAes128Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm(Aes128Gcm::new(&key.into())))
    }
}

impl SupportedAeadAes256Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm(Aes256Gcm::new(&key.into())))
    }
}

/// One block, as the key derivation of RFC 3711 section 4.3 needs it. str0m hands over what is longer than a block.
fn ecb_round<C: BlockCipherEncrypt + KeyInit>(key: &[u8], input: &[u8], output: &mut [u8]) {
    let cipher = C::new_from_slice(key).expect("str0m passes a key of the cipher's length");
    let mut block = aes::cipher::Block::<C>::default();
    let length = block.len();
    block.copy_from_slice(&input[..length]);
    cipher.encrypt_block(&mut block);
    output[..length].copy_from_slice(&block);
}

/// AES-128 in counter mode; its integrity is str0m's, by HMAC.
struct CounterMode {
    key: [u8; 16],
}

impl CounterMode {
    fn apply(&self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = output.get_mut(..input.len()).ok_or_else(|| failed("output is shorter than input"))?;
        ctr::Ctr128BE::<Aes128>::new(&self.key.into(), iv.into()).apply_keystream_b2b(input, output);
        Ok(())
    }
}

impl Aes128CmSha1_80Cipher for CounterMode {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.apply(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.apply(iv, input, output)
    }
}

impl fmt::Debug for CounterMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CounterMode")
    }
}

struct Gcm<C>(C);

impl<C> Gcm<C>
where
    C: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    fn seal(&self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let length = input.len();
        if output.len() < length + TAG_LEN {
            return Err(failed("output has no room for the tag"));
        }
        let (text, rest) = output.split_at_mut(length);
        let buffer = InOutBuf::new(input, text).map_err(|_| failed("lengths differ"))?;
        let tag =
            self.0.encrypt_inout_detached(&Nonce::from(*iv), aad, buffer).map_err(|_| failed("encryption failed"))?;
        rest[..TAG_LEN].copy_from_slice(&tag);
        Ok(())
    }

    fn open(&self, iv: &[u8; 12], aads: &[&[u8]], input: &[u8], output: &mut [u8]) -> Result<usize, CryptoError> {
        let (text, tag) =
            input.split_last_chunk::<TAG_LEN>().ok_or_else(|| failed("packet is shorter than its tag"))?;
        let output = output.get_mut(..text.len()).ok_or_else(|| failed("output is shorter than input"))?;
        let joined;
        let aad = if let [aad] = aads {
            *aad
        } else {
            joined = aads.concat();
            &joined
        };
        let buffer = InOutBuf::new(text, output).map_err(|_| failed("lengths differ"))?;
        self.0
            .decrypt_inout_detached(&Nonce::from(*iv), aad, buffer, &Tag::from(*tag))
            .map_err(|_| failed("packet is not authentic"))?;
        Ok(text.len())
    }
}

impl AeadAes128GcmCipher for Gcm<Aes128Gcm> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl AeadAes256GcmCipher for Gcm<Aes256Gcm> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl<C> fmt::Debug for Gcm<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm")
    }
}

fn failed(what: &str) -> CryptoError {
    CryptoError::Other(what.to_owned())
}
