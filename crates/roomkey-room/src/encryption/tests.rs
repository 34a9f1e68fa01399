//! Frames and keys against what other implementations make of the same (Python's `cryptography` and `hashlib`), and what
//! becomes of everything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Ivs, RoomEncryption, TrackEncryption};
use super::frame::{self, FrameCodec};
use super::key::{EncryptionKey, KeySet, KeySize, Parameters};
use super::key_provider::{KeyError, KeyProvider, KeyProviderOptions};
use super::options::EncryptionOptions;
use super::state::EncryptionState;
use super::{FrameOpener, FrameSealer, Subject};

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const IV: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

fn parameters(size: KeySize) -> Parameters {
    Parameters { salt: b"LKFrameEncryptionKey".to_vec(), size }
}

fn raw_key() -> EncryptionKey {
    EncryptionKey::raw((0..32).collect::<Vec<u8>>())
}

fn key_set() -> Arc<KeySet> {
    KeySet::new(&raw_key(), &parameters(KeySize::Bits128))
}

fn opus() -> Vec<u8> {
    [&[0xf8][..], &(1..20).collect::<Vec<u8>>()].concat()
}

fn h264() -> Vec<u8> {
    unhex(
        "000000016742000a0000000168ce3c80000000016588505152535455565758595a5b5c5d5e5f6061626300000001651a6465666768696a6b\
         6c6d",
    )
}

/// The codec, the frame, the IV, the number of the key, and what comes of them.
type Vector = (FrameCodec, Vec<u8>, [u8; 12], u8, &'static str);

fn vectors() -> [Vector; 5] {
    let mut zeros = [0; 12];
    zeros[8] = 1;
    [
        (
            FrameCodec::Audio,
            opus(),
            IV,
            3,
            "f8f44e0e785b79df84c2061da83941dc29a74388194a3c176223fea140d23d59587a7ee6000102030405060708090a0b0c03",
        ),
        (
            FrameCodec::Vp8,
            unhex("1002009d012a4001b40028292a2b2c2d2e2f3031323334353637"),
            IV,
            0,
            "1002009d012a4001b400dd6527577252f6a3fb3d2497007ae50e17ffe57adb10ab4b51ec9cc0b0b6d261000102030405060708090a\
             0b0c00",
        ),
        (
            FrameCodec::Vp8,
            unhex("b101003c3d3e3f404142434445"),
            IV,
            0,
            "b10100c97133431e3e9acf8f49455c18273adc65709271ae904f0c4705000102030405060708090a0b0c00",
        ),
        (
            FrameCodec::Vp9,
            unhex("86010203464748494a4b4c4d4e4f"),
            IV,
            0,
            "734d0f7f183890c581475ae97a00bf89c058009d656559a74e0b8025ca97000102030405060708090a0b0c00",
        ),
        (
            FrameCodec::H264,
            h264(),
            zeros,
            1,
            "000000016742000a0000000168ce3c80000000016588a18132830ecf61e0692430cdfb54fd4cad8cd07a34239133ee0316ea187a8a\
             0700f3b99ccb1a7f3b4b060c01c23dd1234c6862c700000300000300000300000301000003000c01",
        ),
    ]
}

#[test]
fn frames_of_all_codecs_are_what_other_implementations_make_of_them() {
    let key = key_set();
    for (codec, plain, iv, key_index, expected) in vectors() {
        let sealed = frame::seal(codec, &plain, &key, key_index, &iv).unwrap();
        assert_eq!(hex(&sealed), expected, "{codec:?}");
        let parsed = frame::parse(codec, &sealed).unwrap();
        assert_eq!((parsed.key_index, parsed.iv), (key_index, iv));
        let mut body = parsed.body;
        assert_eq!(key.open(&iv, parsed.clear, &mut body), Some(()));
        assert_eq!(body, plain, "{codec:?}");
    }
}

#[test]
fn keys_and_those_that_follow_them_are_what_other_implementations_make() {
    let exported = |key: &KeySet| hex(key.export().expose());
    for (key, first, second, sealed) in [
        (
            raw_key(),
            "6d0dd7b3d6f4efde47ab9a9e15abde7635c45a13bddf5da15eed01f40178d328",
            "bd83f159cff92bfaf55d2d2409c21221da4b6f1d036dc2826e24f14ace70e8cc",
            "f8f44e0e785b79df84c2061da83941dc29a74388194a3c176223fea140d23d59587a7ee6000102030405060708090a0b0c03",
        ),
        (
            EncryptionKey::passphrase("open sesame"),
            "fbf02c4d66a3a308d1a2e8ce27fd74c530e64f4126bc5ea709a6e008314f6b17",
            "118a277b230b734be7ab0c28c3eecc7b39f8156b938fd3600548286c50266878",
            "f84b6bc1a8fd64f77593619798ee22fec1be3651afe9f00ec5fe85f3764da710dd6729c0000102030405060708090a0b0c00",
        ),
    ] {
        let parameters = parameters(KeySize::Bits128);
        let set = KeySet::new(&key, &parameters);
        let key_index = unhex(sealed).pop().unwrap();
        assert_eq!(hex(&frame::seal(FrameCodec::Audio, &opus(), &set, key_index, &IV).unwrap()), sealed);
        let next = set.ratcheted(&parameters);
        assert_eq!(exported(&next), first);
        assert_eq!(exported(&next.ratcheted(&parameters)), second);
    }
    let long = KeySet::new(&raw_key(), &parameters(KeySize::Bits256));
    assert_eq!(
        hex(&frame::seal(FrameCodec::Audio, &opus(), &long, 3, &IV).unwrap()),
        "f8a0a6536ab03295bab78c402fb28aa74e51f1bcd0ce22b7a728e3d0e9aeb3ff9abf0a96000102030405060708090a0b0c03"
    );
}

#[test]
fn data_is_what_other_implementations_make_of_it() {
    let mut data = b"\x0a\x07hello!!".to_vec();
    key_set().seal(&IV, 0, &mut data).unwrap();
    assert_eq!(hex(&data), "ff4b65193213b7adea5e8a41dd22d02df7544beb007732837c");
}

/// A room whose members have these keys, as this client and as the others.
fn room(keys: &KeyProvider) -> Arc<RoomEncryption> {
    let room = Arc::new(RoomEncryption::new(EncryptionOptions::new(keys.clone())));
    room.joined("me", b"the server's own");
    room
}

fn shared(options: KeyProviderOptions, key: &EncryptionKey) -> KeyProvider {
    let keys = KeyProvider::with_options(options);
    keys.set_shared_key(0, key).unwrap();
    keys
}

struct Pair {
    sending: Arc<RoomEncryption>,
    sealer: FrameSealer,
    receiving: Arc<RoomEncryption>,
    opener: FrameOpener,
    now: Instant,
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn new(sending: &KeyProvider, receiving: &KeyProvider) -> Self {
        let (sending, receiving) = (room(sending), room(receiving));
        Self {
            sealer: FrameSealer::new(&TrackEncryption { room: Arc::clone(&sending), id: 7 }),
            opener: FrameOpener::new(&receiving, "me".into(), "TR_it".into()),
            sending,
            receiving,
            now: Instant::now(),
        }
    }

    fn pass(&mut self) -> Option<Vec<u8>> {
        let sealed = self.sealer.seal(FrameCodec::Audio, &opus())?;
        self.open(&sealed)
    }

    fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.now += Duration::from_millis(200);
        self.opener.open(self.now, FrameCodec::Audio, sealed)
    }

    fn told(&self) -> Vec<EncryptionState> {
        let told = self.receiving.reports.take();
        assert!(told.iter().all(|(subject, _)| *subject == Subject::Remote("TR_it".into())));
        told.into_iter().map(|(_, state)| state).collect()
    }
}

#[test]
fn a_frame_passes_and_only_changes_of_the_state_are_told() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &keys);
    for _ in 0..5 {
        assert_eq!(pair.pass(), Some(opus()));
    }
    assert_eq!(pair.told(), [EncryptionState::Ok]);
    assert_eq!(pair.sending.reports.take(), [(Subject::Local(7), EncryptionState::Ok)]);
    assert_eq!(pair.open(&[]), Some(Vec::new()), "what is empty has nothing to hide");
    assert_eq!(pair.told(), []);
}

#[test]
fn no_two_frames_have_the_same_iv() {
    let mut ivs = Ivs::beginning_at([0xff; 12]);
    assert_eq!((ivs.next(), ivs.next()), ([0xff; 12], [0; 12]));
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &keys);
    let all: std::collections::HashSet<_> =
        (0..1_000).map(|_| pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap()).collect();
    assert_eq!(all.len(), 1_000);
    let mut other = Pair::new(&keys, &keys);
    assert!(!all.contains(&other.sealer.seal(FrameCodec::Audio, &opus()).unwrap()), "nor of another track");
}

#[test]
fn whatever_is_changed_on_the_way_does_not_pass() {
    let key = key_set();
    for (codec, plain, iv, key_index, _) in vectors() {
        let sealed = frame::seal(codec, &plain, &key, key_index, &iv).unwrap();
        let opened = |sealed: &[u8]| {
            let parsed = frame::parse(codec, sealed)?;
            let mut body = parsed.body;
            key.open(&parsed.iv, parsed.clear, &mut body)?;
            Some((body, parsed.key_index))
        };
        assert_eq!(opened(&sealed), Some((plain.clone(), key_index)));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                // The number of the key says only which one is tried.
                let passes = opened(&changed).filter(|(_, index)| *index == key_index);
                assert_eq!(passes, None, "{codec:?}, bit {bit} of byte {at} of {}", sealed.len());
            }
        }
        for length in 0..sealed.len() {
            assert_eq!(opened(&sealed[..length]), None, "{codec:?}, cut to {length}");
        }
    }
}

#[test]
fn no_bytes_of_a_stranger_do_harm() {
    let mut random = fastrand::Rng::with_seed(11);
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &keys);
    let vectors = vectors();
    for round in 0..20_000 {
        let (codec, _, _, _, sealed) = &vectors[random.usize(..vectors.len())];
        let codec = if round % 10 == 0 { FrameCodec::Av1 } else { *codec };
        let mut bytes = unhex(sealed);
        for _ in 0..random.usize(1..6) {
            match random.u8(..4) {
                0 => bytes.truncate(random.usize(..=bytes.len())),
                1 => bytes.extend((0..random.usize(..40)).map(|_| random.u8(..4))),
                _ => {
                    if let Some(at) = (!bytes.is_empty()).then(|| random.usize(..bytes.len())) {
                        bytes[at] = random.u8(..);
                    }
                }
            }
        }
        if let Some(opened) = pair.opener.open(pair.now, codec, &bytes) {
            let is_untouched = vectors.iter().any(|(_, plain, ..)| *plain == opened);
            assert!(is_untouched || opened.is_empty(), "{}", hex(&bytes));
        }
    }
}

#[test]
fn another_key_opens_nothing_and_a_missing_one_is_told_as_such() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let others = shared(KeyProviderOptions::new(), &EncryptionKey::raw([9; 32]));
    let mut pair = Pair::new(&keys, &others);
    for _ in 0..3 {
        assert_eq!(pair.pass(), None);
    }
    assert_eq!(pair.told(), [EncryptionState::DecryptionFailed]);
    others.set_shared_key(0, &raw_key()).unwrap();
    assert_eq!(pair.pass(), Some(opus()), "a key that is set counts at once");

    let none = KeyProvider::new();
    let mut pair = Pair::new(&keys, &none);
    assert_eq!((pair.pass(), pair.pass()), (None, None));
    assert_eq!(pair.told(), [EncryptionState::MissingKey]);
    none.set_shared_key(0, &raw_key()).unwrap();
    assert_eq!(pair.pass(), Some(opus()));

    let mut pair = Pair::new(&KeyProvider::new(), &keys);
    assert_eq!(pair.sealer.seal(FrameCodec::Audio, &opus()), None, "without a key nothing goes out");
    assert_eq!(pair.sending.reports.take(), [(Subject::Local(7), EncryptionState::MissingKey)]);
}

#[test]
fn the_number_with_a_frame_says_which_key_opens_it() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    keys.set_shared_key(15, &EncryptionKey::raw([5; 32])).unwrap();
    let mut pair = Pair::new(&keys, &keys);
    let early = pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap();
    keys.set_key_index(15).unwrap();
    let late = pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap();
    assert_eq!((early.last(), late.last()), (Some(&0), Some(&15)));
    for frame in [&late, &early, &late] {
        assert_eq!(pair.open(frame), Some(opus()));
    }
    assert_eq!(keys.set_key_index(16), Err(KeyError::NoSuchIndex { key_index: 16, size: 16 }));
    assert_eq!(keys.set_shared_key(200, &raw_key()), Err(KeyError::NoSuchIndex { key_index: 200, size: 16 }));
    keys.set_key_index(3).unwrap();
    assert_eq!(pair.pass(), None, "there is none under it");
}

#[test]
fn a_participants_own_key_comes_before_the_one_for_all() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let others = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &others);
    keys.set_key("me", 0, &EncryptionKey::raw([4; 32])).unwrap();
    assert_eq!(pair.pass(), None);
    others.set_key("somebody", 0, &EncryptionKey::raw([4; 32])).unwrap();
    assert_eq!(pair.pass(), None, "it is somebody else's");
    others.set_key("me", 0, &EncryptionKey::raw([4; 32])).unwrap();
    assert_eq!(pair.pass(), Some(opus()));
    others.remove_keys(&"me".into());
    keys.remove_keys(&"me".into());
    assert_eq!(pair.pass(), Some(opus()));
}

#[test]
fn a_key_is_followed_within_the_window_and_not_beyond_it() {
    let options = || KeyProviderOptions::new().with_ratchet_window(4);
    for steps in [1, 4, 5] {
        let (keys, others) = (shared(options(), &raw_key()), shared(options(), &raw_key()));
        let mut pair = Pair::new(&keys, &others);
        assert_eq!(pair.pass(), Some(opus()));
        pair.told();
        for _ in 0..steps {
            keys.ratchet_shared_key(0).unwrap();
        }
        let passes = pair.pass().is_some();
        assert_eq!(passes, steps <= 4, "{steps}");
        if passes {
            assert_eq!(pair.told(), [EncryptionState::KeyRatcheted, EncryptionState::Ok]);
            assert_eq!(pair.pass(), Some(opus()));
            let exported = |keys: &KeyProvider| keys.export_key(&"me".into(), 0).unwrap().expose().to_vec();
            assert_eq!(exported(&others), exported(&keys));
            let of_all = others.export_shared_key(0).unwrap();
            assert_ne!(of_all.expose(), exported(&keys), "it is this participant that has moved on");
            others.set_shared_key(0, &raw_key()).unwrap();
            assert_eq!(exported(&others), raw_key().expose(), "what is set anew is for all");
        } else {
            assert_eq!(pair.told(), [EncryptionState::DecryptionFailed]);
        }
    }
    let (keys, others) = (shared(options(), &raw_key()), shared(options().with_ratchet_window(0), &raw_key()));
    let mut pair = Pair::new(&keys, &others);
    keys.ratchet_key("me", 0).unwrap();
    assert_eq!(pair.pass(), None, "no window");
    assert_eq!(keys.ratchet_key("me", 1).unwrap_err(), KeyError::NoKey);
}

#[test]
fn the_keys_that_follow_a_passphrase_are_made_elsewhere_and_found_once_they_are_there() {
    let options = || KeyProviderOptions::new().with_ratchet_window(1);
    let passphrase = EncryptionKey::passphrase("open sesame");
    let (keys, others) = (shared(options(), &passphrase), shared(options(), &passphrase));
    let mut pair = Pair::new(&keys, &others);
    keys.ratchet_shared_key(0).unwrap();
    assert_eq!(pair.pass(), None, "nobody waits for them here");
    while pair.pass().is_none() {
        std::thread::yield_now();
    }
    assert_eq!(pair.told(), [EncryptionState::DecryptionFailed, EncryptionState::KeyRatcheted, EncryptionState::Ok]);
}

#[test]
fn an_exported_key_is_the_same_key_elsewhere() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let exported = keys.ratchet_shared_key(0).unwrap();
    let others = shared(KeyProviderOptions::new().with_ratchet_window(0), &exported);
    assert_eq!(Pair::new(&keys, &others).pass(), Some(opus()));
}

#[test]
fn a_window_is_tried_ten_times_a_second_at_most() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let others = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &others);
    let sealed = pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap();
    let mut broken = sealed;
    broken[5] ^= 1;
    assert_eq!(pair.opener.open(pair.now, FrameCodec::Audio, &broken), None);
    keys.ratchet_shared_key(0).unwrap();
    let next = pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap();
    let mut open_at = |ms| pair.opener.open(pair.now + Duration::from_millis(ms), FrameCodec::Audio, &next);
    assert_eq!(open_at(99), None);
    assert_eq!(open_at(100), Some(opus()));
}

#[test]
fn a_key_that_keeps_failing_is_not_tried_until_another_is_set() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let others = shared(KeyProviderOptions::new().with_failure_tolerance(2), &raw_key());
    let mut pair = Pair::new(&keys, &others);
    let good = pair.sealer.seal(FrameCodec::Audio, &opus()).unwrap();
    let mut broken = good.clone();
    broken[5] ^= 1;
    for _ in 0..2 {
        assert_eq!(pair.open(&broken), None);
    }
    assert_eq!(pair.open(&good), Some(opus()), "so much is tolerated");
    for _ in 0..3 {
        assert_eq!(pair.open(&broken), None);
    }
    assert_eq!(pair.open(&good), None);
    others.set_shared_key(0, &raw_key()).unwrap();
    assert_eq!(pair.open(&good), Some(opus()));
}

#[test]
fn the_servers_own_frames_pass_and_what_only_looks_like_them_does_not() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &keys);
    let silence = [&[0xf8, 0xff, 0xfe][..], &[0; 77]].concat();
    assert_eq!(pair.open(&[&silence[..], b"the server's own"].concat()), Some(silence.clone()));
    assert_eq!(pair.open(&[&opus()[..], b"the server's own"].concat()), None);
    assert_eq!(pair.open(&silence), None);
    pair.receiving.joined("me", b"another one");
    assert_eq!(pair.open(&[&silence[..], b"the server's own"].concat()), None, "of the room of before");
    assert_eq!(pair.open(&[&silence[..], b"another one"].concat()), Some(silence));
}

#[test]
fn what_no_client_encrypts_is_not_sent() {
    let keys = shared(KeyProviderOptions::new(), &raw_key());
    let mut pair = Pair::new(&keys, &keys);
    assert_eq!(pair.sealer.seal(FrameCodec::Av1, &[0x12, 0, 0x0a, 1, 2]), None);
    assert_eq!(pair.sealer.seal(FrameCodec::H264, &[0, 0, 0, 1, 0x67, 1, 2]), None, "no slice");
    assert_eq!(pair.sealer.seal(FrameCodec::Vp8, &[0, 1, 2]), None, "shorter than its header");
    assert_eq!(pair.sending.reports.take(), [(Subject::Local(7), EncryptionState::EncryptionFailed)]);
}

#[test]
fn no_key_is_ever_shown() {
    let secret = "a secret of its own";
    let key = EncryptionKey::passphrase(secret);
    let raw = EncryptionKey::raw([0x7b; 16]);
    let keys = shared(KeyProviderOptions::new().with_ratchet_salt("salt and pepper"), &raw);
    keys.set_key("me", 1, &raw).unwrap();
    let mut pair = Pair::new(&keys, &keys);
    pair.pass();
    let shown = format!(
        "{key:?} {raw:?} {keys:?} {:?} {:?} {:?} {:?} {:?} {:#?}",
        keys.options(),
        pair.sending,
        pair.sealer,
        pair.opener,
        pair.sending.options,
        KeySet::new(&raw, &parameters(KeySize::Bits256)),
    );
    for hidden in [secret, "123, 123", "7b, 7b", "7b7b", "pepper"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert!(shown.contains("Pbkdf2") && shown.contains("EncryptionKey"), "{shown}");
}
