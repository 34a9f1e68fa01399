//! What a source of pictures will be given: which codec, in which sizes.

use super::frame::VideoCodec;
use super::layer::{VideoLayer, VideoQuality};

/// What a [`VideoSource`](crate::VideoSource) will be given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoSourceOptions {
    codec: VideoCodec,
    layers: Vec<VideoLayer>,
    is_simulcast: bool,
}

impl VideoSourceOptions {
    /// Pictures of one size.
    pub fn new(codec: VideoCodec, width: u32, height: u32) -> Self {
        let layers = vec![VideoLayer::new(VideoQuality::High, width, height)];
        Self { codec, layers, is_simulcast: false }
    }

    /// At most so many bits a second, in the one size.
    pub fn with_bitrate(mut self, bits_per_second: u32) -> Self {
        if let ([layer], false) = (&mut self.layers[..], self.is_simulcast) {
            layer.bitrate = bits_per_second;
        }
        self
    }

    /// The same pictures in these sizes too or instead, each encoded for itself: an encoder for each, from the smallest on.
    /// Of two layers of the same quality the last counts; none at all changes nothing.
    pub fn with_simulcast_layers(mut self, layers: impl IntoIterator<Item = VideoLayer>) -> Self {
        let mut by_quality = [None; 3];
        for layer in layers {
            by_quality[layer.quality.index()] = Some(layer);
        }
        if by_quality.iter().any(Option::is_some) {
            self.layers = by_quality.into_iter().flatten().collect();
            self.is_simulcast = true;
        }
        self
    }

    /// The sizes that LiveKit's clients choose: a quarter, half and all of the width from 960 pixels on, half and all from
    /// 480 on, and no simulcast below that. With two sizes they are [`Low`](VideoQuality::Low) and
    /// [`Medium`](VideoQuality::Medium).
    pub fn with_simulcast(self) -> Self {
        let Some(full) = self.layers.iter().max_by_key(|layer| layer.quality).copied() else { return self };
        let divisors: &[u32] = match full.width.max(full.height) {
            960.. => &[4, 2, 1],
            480.. => &[2, 1],
            _ => return self,
        };
        let even = |size: u32, divisor: u32| if divisor == 1 { size } else { (size / divisor).next_multiple_of(2) };
        let layers = VideoQuality::ALL.into_iter().zip(divisors).map(|(quality, divisor)| {
            let bitrate = full.bitrate / (divisor * divisor);
            VideoLayer { quality, width: even(full.width, *divisor), height: even(full.height, *divisor), bitrate }
        });
        self.with_simulcast_layers(layers)
    }

    /// The codec.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// The sizes, from the smallest on.
    pub fn layers(&self) -> &[VideoLayer] {
        &self.layers
    }

    /// Whether frames say which layer they are of.
    pub fn is_simulcast(&self) -> bool {
        self.is_simulcast
    }
}
