//! WAV files of 16-bit PCM: as much of the format as an example needs.

use roomkey::BoxError;

/// A sound; the samples of its channels are interleaved.
pub(crate) struct Wav {
    pub(crate) samples: Vec<i16>,
    pub(crate) sample_rate: u32,
    pub(crate) channels: u32,
}

const PCM: u16 = 1;
/// PCM whose header has more to say than the example needs.
const EXTENSIBLE: u16 = 0xfffe;

impl Wav {
    pub(crate) fn read(file: &[u8]) -> Result<Self, BoxError> {
        if !file.starts_with(b"RIFF") || file.get(8..12) != Some(&b"WAVE"[..]) {
            return Err("the file is no WAV file".into());
        }
        let mut rest = &file[12..];
        let mut format = None;
        while let Some((header, after)) = rest.split_first_chunk::<8>() {
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let content = &after[..length.min(after.len())];
            match (&header[..4], format) {
                (b"fmt ", _) if content.len() >= 16 => format = Some(Self::format(content)?),
                (b"data", Some((channels, sample_rate))) => {
                    let samples = content.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
                    let mut samples: Vec<i16> = samples.collect();
                    samples.truncate(samples.len() - samples.len() % channels as usize);
                    return Ok(Self { samples, sample_rate, channels });
                }
                _ => {}
            }
            rest = after.get(length + length % 2..).unwrap_or_default();
        }
        Err("there is no sound in the WAV file".into())
    }

    fn format(content: &[u8]) -> Result<(u32, u32), BoxError> {
        let number = |at: usize| u16::from_le_bytes([content[at], content[at + 1]]);
        let (kind, channels, bits) = (number(0), number(2), number(14));
        let sample_rate = u32::from_le_bytes([content[4], content[5], content[6], content[7]]);
        if !matches!(kind, PCM | EXTENSIBLE) || bits != 16 || channels == 0 {
            return Err("the WAV file is not of 16-bit PCM".into());
        }
        Ok((u32::from(channels), sample_rate))
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let data: Vec<u8> = self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let frame = self.channels * 2;
        let mut file = Vec::with_capacity(44 + data.len());
        file.extend_from_slice(b"RIFF");
        file.extend_from_slice(&length.saturating_add(36).to_le_bytes());
        file.extend_from_slice(b"WAVEfmt ");
        file.extend_from_slice(&16_u32.to_le_bytes());
        file.extend_from_slice(&PCM.to_le_bytes());
        file.extend_from_slice(&(self.channels as u16).to_le_bytes());
        file.extend_from_slice(&self.sample_rate.to_le_bytes());
        file.extend_from_slice(&(self.sample_rate * frame).to_le_bytes());
        file.extend_from_slice(&(frame as u16).to_le_bytes());
        file.extend_from_slice(&16_u16.to_le_bytes());
        file.extend_from_slice(b"data");
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&data);
        file
    }
}
