//! The Opus codec that is used unless the application brings its own.

use opus_pure::{Application, MAX_PACKET_SAMPLES, OpusDecoder, OpusEncoder};

use super::codec::{AudioCodec, AudioDecoder, AudioEncoder, CodecError};
use super::frame::AudioFormat;
use super::{FRAME, MAX_PACKET_BYTES};

/// Opus in pure Rust (crate `opus-pure`).
///
/// 48 kbit/s, which is what LiveKit's SDKs send a microphone with unless told otherwise; tuned for speech; variable bit rate;
/// without in-band FEC, since redundant packets recover more; silence is sent like everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpusCodec {
    bitrate: u32,
    complexity: u8,
    music: bool,
    dtx: bool,
    expected_loss: u8,
}

impl OpusCodec {
    /// The codec as described above.
    pub fn new() -> Self {
        Self { bitrate: 48_000, complexity: 9, music: false, dtx: false, expected_loss: 0 }
    }

    /// Bits a second, all channels together, from 6,000 to 510,000: what is beyond counts as these. LiveKit's SDKs call
    /// 12,000 telephone, 24,000 speech, 48,000 music, and double it for stereo and high quality.
    pub fn with_bitrate(self, bits_per_second: u32) -> Self {
        Self { bitrate: bits_per_second.clamp(6_000, 510_000), ..self }
    }

    /// How much time encoding may take, from 0 to 10; 9 unless told otherwise.
    pub fn with_complexity(self, complexity: u8) -> Self {
        Self { complexity: complexity.min(10), ..self }
    }

    /// Whether faithfulness goes before intelligibility: for music, not for speech.
    pub fn with_music(self, music: bool) -> Self {
        Self { music, ..self }
    }

    /// Whether next to nothing is sent while it is silent (discontinuous transmission). It saves bytes, and costs the
    /// listener the first syllable where a voice begins softly.
    pub fn with_dtx(self, dtx: bool) -> Self {
        Self { dtx, ..self }
    }

    /// How many packets of a hundred are expected to get lost. Above 0 each packet may carry a poor copy of the one before
    /// it (in-band FEC), at the cost of its own quality. It is for tracks that are published without redundancy.
    pub fn with_expected_loss(self, percent: u8) -> Self {
        Self { expected_loss: percent.min(100), ..self }
    }
}

impl Default for OpusCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl AudioCodec for OpusCodec {
    fn encoder(&self, num_channels: u32) -> Result<Box<dyn AudioEncoder>, CodecError> {
        let application = if self.music { Application::Audio } else { Application::Voip };
        let mut encoder = OpusEncoder::new(RATE, num_channels as usize, application).map_err(CodecError::new)?;
        encoder.bitrate_bps = self.bitrate.cast_signed();
        encoder.complexity = i32::from(self.complexity);
        encoder.use_dtx = self.dtx;
        encoder.use_inband_fec = self.expected_loss > 0;
        encoder.packet_loss_perc = i32::from(self.expected_loss);
        Ok(Box::new(Encoder(encoder)))
    }

    fn decoder(&self, num_channels: u32) -> Result<Box<dyn AudioDecoder>, CodecError> {
        let decoder = OpusDecoder::new(RATE, num_channels as usize).map_err(CodecError::new)?;
        Ok(Box::new(Decoder(decoder)))
    }
}

const RATE: i32 = AudioFormat::OPUS_RATE.cast_signed();

struct Encoder(OpusEncoder);

impl AudioEncoder for Encoder {
    fn encode(&mut self, samples: &[f32], packet: &mut Vec<u8>) -> Result<(), CodecError> {
        packet.resize(MAX_PACKET_BYTES, 0);
        let length = self.0.encode(samples, FRAME, packet).map_err(CodecError::new)?;
        packet.truncate(length);
        Ok(())
    }
}

struct Decoder(OpusDecoder);

impl Decoder {
    /// Runs `decode` on room for `samples_per_channel` more, and leaves what it made.
    fn append(
        &mut self,
        samples_per_channel: usize,
        samples: &mut Vec<f32>,
        decode: impl FnOnce(&mut OpusDecoder, &mut [f32]) -> opus_pure::Result<usize>,
    ) -> Result<(), CodecError> {
        let start = samples.len();
        samples.resize(start + samples_per_channel * self.0.channels(), 0.0);
        let made = decode(&mut self.0, &mut samples[start..]);
        let made = made.map_err(CodecError::new);
        samples.truncate(start + made.as_ref().map_or(0, |made| *made * self.0.channels()));
        made.map(|_| ())
    }

    /// The same for what is missing, which may have any length: Opus makes up whole steps of 2.5 ms.
    fn make_up(
        &mut self,
        samples_per_channel: usize,
        samples: &mut Vec<f32>,
        decode: impl FnOnce(&mut OpusDecoder, usize, &mut [f32]) -> opus_pure::Result<usize>,
    ) -> Result<(), CodecError> {
        const STEP: usize = 120;
        let wanted = samples.len() + samples_per_channel * self.0.channels();
        let room = samples_per_channel.next_multiple_of(STEP).clamp(STEP, MAX_PACKET_SAMPLES);
        let result = self.append(room, samples, |decoder, out| decode(decoder, room, out));
        samples.truncate(wanted);
        result
    }
}

impl AudioDecoder for Decoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<f32>) -> Result<(), CodecError> {
        // An empty one would mean a lost one.
        let room = packet_samples(packet).ok_or_else(|| CodecError::new("an empty or malformed packet"))?;
        self.append(room, samples, |decoder, out| decoder.decode(packet, room, out))
    }

    fn recover(&mut self, next: &[u8], samples_per_channel: usize, samples: &mut Vec<f32>) -> Result<(), CodecError> {
        self.make_up(samples_per_channel, samples, |decoder, room, out| decoder.decode_fec(next, room, out))
    }

    fn conceal(&mut self, samples_per_channel: usize, samples: &mut Vec<f32>) -> Result<(), CodecError> {
        self.make_up(samples_per_channel, samples, |decoder, room, out| decoder.decode(&[], room, out))
    }
}

/// How many 48 kHz samples a channel of an Opus packet has, or `None` where it is none.
pub(crate) fn packet_samples(packet: &[u8]) -> Option<usize> {
    opus_pure::packet::samples_48k(packet).ok().filter(|samples| *samples > 0)
}

#[cfg(test)]
mod tests {
    use super::super::tone;
    use super::*;

    /// What a decoder does for a lost packet, given the one behind it.
    type Lost<'a> = &'a dyn Fn(&mut dyn AudioDecoder, &[u8], &mut Vec<f32>);

    fn round_trip(codec: OpusCodec, channels: u32, samples: &[f32]) -> Vec<f32> {
        let mut encoder = codec.encoder(channels).unwrap();
        let mut decoder = codec.decoder(channels).unwrap();
        let (mut packet, mut out) = (Vec::new(), Vec::new());
        for frame in samples.chunks_exact(FRAME * channels as usize) {
            packet.clear();
            encoder.encode(frame, &mut packet).unwrap();
            assert_eq!(packet_samples(&packet), Some(FRAME));
            decoder.decode(&packet, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn a_tone_keeps_its_loudness_and_its_frequency() {
        let sent = tone::sine(1_000.0, 0.5, 48_000, 48_000);
        for codec in [OpusCodec::new(), OpusCodec::new().with_music(true), OpusCodec::new().with_bitrate(24_000)] {
            let received = round_trip(codec, 1, &sent);
            let heard = &received[9_600..];
            let ratio = tone::power(heard) / tone::power(&sent);
            assert!((0.8..1.2).contains(&ratio), "{codec:?}: {ratio}");
            let purity = tone::power_at(heard, 1_000.0, 48_000) / tone::power(heard);
            assert!(purity > 0.95, "{codec:?}: {purity}");
        }
    }

    #[test]
    fn the_channels_of_stereo_stay_apart() {
        let (left, right) = (tone::sine(440.0, 0.4, 48_000, 48_000), tone::sine(2_000.0, 0.4, 48_000, 48_000));
        let sent: Vec<_> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
        let received = round_trip(OpusCodec::new().with_music(true).with_bitrate(96_000), 2, &sent);
        let heard: Vec<_> = received[19_200..].iter().step_by(2).copied().collect();
        assert!(tone::power_at(&heard, 440.0, 48_000) > 50.0 * tone::power_at(&heard, 2_000.0, 48_000));
    }

    #[test]
    fn a_long_silence_with_dtx_needs_no_packets() {
        let mut encoder = OpusCodec::new().with_dtx(true).encoder(1).unwrap();
        let mut packet = Vec::new();
        let mut sent = 0;
        for _ in 0..100 {
            packet.clear();
            encoder.encode(&[0.0; FRAME], &mut packet).unwrap();
            sent += usize::from(packet.len() > 2);
        }
        assert!(sent < 40, "{sent}");
    }

    #[test]
    fn a_lost_frame_of_a_voice_is_recovered_from_the_next_packet_better_than_concealed() {
        let codec = OpusCodec::new().with_bitrate(24_000).with_expected_loss(20);
        // A tone that glides, so that nothing before a frame says how it goes on.
        let sent: Vec<_> = (0..48_000)
            .map(|n| n as f32 / 48_000.0)
            .map(|t| 0.3 * (std::f32::consts::TAU * (200.0 * t + 300.0 * t * t)).sin())
            .collect();
        let mut encoder = codec.encoder(1).unwrap();
        let packets: Vec<_> = sent
            .chunks_exact(FRAME)
            .map(|frame| {
                let mut packet = Vec::new();
                encoder.encode(frame, &mut packet).unwrap();
                packet
            })
            .collect();
        let heard = |lost: Lost<'_>| {
            let mut decoder = codec.decoder(1).unwrap();
            let mut out = Vec::new();
            for (n, packet) in packets.iter().enumerate() {
                if n % 10 == 5 {
                    lost(&mut *decoder, &packets[n + 1], &mut out);
                } else {
                    decoder.decode(packet, &mut out).unwrap();
                }
            }
            out
        };
        let whole = heard(&|_, _, _| {});
        assert_eq!(whole.len() + 5 * FRAME, sent.len());
        let perfect = round_trip(codec, 1, &sent);
        let error = |out: &[f32]| out.iter().zip(&perfect).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let concealed = heard(&|decoder, _, out| decoder.conceal(FRAME, out).unwrap());
        let recovered = heard(&|decoder, next, out| decoder.recover(next, FRAME, out).unwrap());
        assert!(error(&recovered) < 0.7 * error(&concealed), "{} {}", error(&recovered), error(&concealed));
    }

    #[test]
    fn random_bytes_are_decoded_or_refused() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut out = Vec::new();
        for channels in [1, 2] {
            let mut decoder = OpusCodec::new().decoder(channels).unwrap();
            for _ in 0..1_000 {
                let packet: Vec<_> = (0..rng.usize(0..120)).map(|_| rng.u8(..)).collect();
                out.clear();
                let _ = decoder.decode(&packet, &mut out);
                let (recovered, concealed) = (rng.usize(..2 * FRAME), rng.usize(..2 * FRAME));
                let _ = decoder.recover(&packet, recovered, &mut out);
                let _ = decoder.conceal(concealed, &mut out);
                assert!(out.len() <= (MAX_PACKET_SAMPLES + recovered + concealed) * channels as usize);
            }
        }
    }
}
