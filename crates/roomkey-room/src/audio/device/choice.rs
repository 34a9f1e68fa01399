//! Which of the formats of a device is used.

use cpal::{SampleFormat, SupportedBufferSize, SupportedStreamConfigRange};

use super::super::frame::AudioFormat;

/// How a device is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    pub(super) format: AudioFormat,
    pub(super) sample_format: SampleFormat,
    /// How much is asked for at a time, where the device says that it can: 10 ms.
    pub(super) period: Option<u32>,
}

/// The best first. 48 kHz needs no resampling, and what is above has all of it.
const RATES: [u32; 11] = [48_000, 96_000, 192_000, 44_100, 88_200, 176_400, 32_000, 24_000, 22_050, 16_000, 8_000];

/// The best first. Those of one bit a sample (DSD) are not used.
const SAMPLE_FORMATS: [SampleFormat; 12] = [
    SampleFormat::F32,
    SampleFormat::I32,
    SampleFormat::I24,
    SampleFormat::I16,
    SampleFormat::F64,
    SampleFormat::I64,
    SampleFormat::U32,
    SampleFormat::U24,
    SampleFormat::U16,
    SampleFormat::U64,
    SampleFormat::I8,
    SampleFormat::U8,
];

/// The best of what a device can do: first by rate, then by channels, then by format of samples.
pub(super) fn choose(
    offers: impl IntoIterator<Item = SupportedStreamConfigRange>,
    num_channels: u32,
) -> Option<Choice> {
    offers.into_iter().filter_map(|offer| judge(&offer, num_channels)).min_by_key(|(rank, _)| *rank).map(|(_, it)| it)
}

type Rank = (usize, u32, usize);

fn judge(offer: &SupportedStreamConfigRange, num_channels: u32) -> Option<(Rank, Choice)> {
    let by_rate = RATES.iter().position(|rate| offer.contains_rate(*rate))?;
    let by_format = SAMPLE_FORMATS.iter().position(|format| *format == offer.sample_format())?;
    let channels = u32::from(offer.channels());
    let by_channels = match channels.checked_sub(num_channels) {
        Some(more) => 2 * more,
        None => 2 * (num_channels - channels) - 1,
    };
    let format = AudioFormat::new(RATES[by_rate], channels).ok()?;
    let period = format.sample_rate / 100;
    let period = match *offer.buffer_size() {
        SupportedBufferSize::Range { min, max } => (min..=max).contains(&period).then_some(period),
        SupportedBufferSize::Unknown => None,
    };
    Some(((by_rate, by_channels, by_format), Choice { format, sample_format: offer.sample_format(), period }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(channels: u16, rates: (u32, u32), sample_format: SampleFormat) -> SupportedStreamConfigRange {
        let buffer_size = SupportedBufferSize::Range { min: 64, max: 4_096 };
        SupportedStreamConfigRange::new(channels, rates.0, rates.1, buffer_size, sample_format)
    }

    fn chosen(offers: &[SupportedStreamConfigRange], num_channels: u32) -> Option<(u32, u32, SampleFormat)> {
        let choice = choose(offers.iter().copied(), num_channels)?;
        Some((choice.format.sample_rate, choice.format.num_channels, choice.sample_format))
    }

    #[test]
    fn what_needs_no_conversion_is_best() {
        use SampleFormat::{F32, I16, U8};
        let offers = [
            offer(1, (8_000, 16_000), F32),
            offer(2, (44_100, 48_000), I16),
            offer(1, (44_100, 48_000), I16),
            offer(1, (44_100, 48_000), U8),
            offer(6, (44_100, 48_000), F32),
        ];
        assert_eq!(chosen(&offers, 1), Some((48_000, 1, I16)));
        assert_eq!(chosen(&offers, 2), Some((48_000, 2, I16)));
        assert_eq!(chosen(&offers[..1], 2), Some((16_000, 1, F32)));
        assert_eq!(chosen(&offers[4..], 1), Some((48_000, 6, F32)));
    }

    #[test]
    fn what_cannot_be_converted_is_not_chosen() {
        let offers = [
            offer(2, (384_000, 384_000), SampleFormat::F32),
            offer(32, (48_000, 48_000), SampleFormat::F32),
            offer(2, (48_000, 48_000), SampleFormat::DsdU8),
        ];
        assert_eq!(chosen(&offers, 2), None);
        assert_eq!(chosen(&[], 2), None);
    }

    #[test]
    fn ten_milliseconds_at_a_time_are_asked_for_where_the_device_can() {
        let period = |min, max| {
            let size = SupportedBufferSize::Range { min, max };
            let offer = SupportedStreamConfigRange::new(1, 48_000, 48_000, size, SampleFormat::F32);
            choose([offer], 1).unwrap().period
        };
        assert_eq!((period(16, 480), period(481, 9_600)), (Some(480), None));
    }
}
