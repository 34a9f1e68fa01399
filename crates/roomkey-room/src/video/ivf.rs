//! IVF files: the plainest container of VP8, VP9 and AV1, which ffmpeg and the codecs' own tools read and write.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::av1;
use super::frame::{EncodedVideoFrame, VideoCodec, to_ticks};
use super::packet::MAX_FRAME;

/// Writes frames into an IVF file. Its times are in units of 1/90,000 s.
///
/// ```
/// use std::time::Duration;
///
/// use roomkey_room::{EncodedVideoFrame, IvfError, IvfReader, IvfWriter, VideoCodec};
///
/// # fn main() -> Result<(), IvfError> {
/// let mut writer = IvfWriter::new(Vec::new(), VideoCodec::Vp8, 320, 180)?;
/// for index in 0..3 {
///     let elapsed = Duration::from_secs(index) / 30;
///     writer.write(&EncodedVideoFrame::new(VideoCodec::Vp8, elapsed, &[0x11, 0x02, 0x00][..]))?;
/// }
/// let file = writer.finish()?;
/// let frames = IvfReader::new(&file[..])?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(frames[1].timestamp, 3_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct IvfWriter<W> {
    writer: W,
    codec: VideoCodec,
    wraps: u64,
    last: u32,
}

impl<W: Write> IvfWriter<W> {
    /// Begins a file of pictures of this size; later ones may have another. The header says nothing of how many frames
    /// follow, since that is not known.
    ///
    /// # Errors
    ///
    /// H.264 does not go into IVF; its frames can be written one after the other as they are. Or the writer fails.
    pub fn new(mut writer: W, codec: VideoCodec, width: u16, height: u16) -> Result<Self, IvfError> {
        let four_cc = four_cc(codec).ok_or(IvfError::UnsupportedCodec(*b"H264"))?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(SIGNATURE);
        header.extend_from_slice(&[0, 0, HEADER as u8, 0]);
        header.extend_from_slice(four_cc);
        header.extend_from_slice(&width.to_le_bytes());
        header.extend_from_slice(&height.to_le_bytes());
        header.extend_from_slice(&VideoCodec::CLOCK_RATE.to_le_bytes());
        header.extend_from_slice(&1_u32.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        writer.write_all(&header)?;
        Ok(Self { writer, codec, wraps: 0, last: 0 })
    }

    /// Writes one frame. AV1 gets the temporal delimiter that a file needs.
    ///
    /// # Errors
    ///
    /// The frame is of another codec than the file, or the writer fails.
    pub fn write(&mut self, frame: &EncodedVideoFrame) -> Result<(), IvfError> {
        if frame.codec != self.codec {
            return Err(IvfError::WrongCodec(frame.codec));
        }
        let delimiter: &[u8] =
            if frame.codec == VideoCodec::Av1 && !av1::has_delimiter(&frame.data) { &av1::DELIMITER } else { &[] };
        let size = u32::try_from(delimiter.len() + frame.data.len()).map_err(|_| IvfError::FrameTooLarge)?;
        let ticks = to_ticks(frame.elapsed);
        self.wraps += u64::from(ticks < self.last && self.last - ticks > u32::MAX / 2);
        self.last = ticks;
        self.writer.write_all(&size.to_le_bytes())?;
        self.writer.write_all(&(self.wraps << 32 | u64::from(ticks)).to_le_bytes())?;
        self.writer.write_all(delimiter)?;
        self.writer.write_all(&frame.data)?;
        Ok(())
    }

    /// Flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// The writer fails.
    pub fn finish(mut self) -> Result<W, IvfError> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}

/// Reads frames from an IVF file, as an iterator or with [`next_frame`](Self::next_frame).
#[derive(Debug)]
pub struct IvfReader<R> {
    reader: R,
    codec: VideoCodec,
    dimensions: (u32, u32),
    /// Units of time in a second, and how many of them a step of the file's times is.
    rate: u32,
    scale: u32,
}

impl<R: Read> IvfReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// It is no IVF file, or of a codec that WebRTC does not have, or the reader fails.
    pub fn new(mut reader: R) -> Result<Self, IvfError> {
        let mut header = [0; HEADER];
        reader.read_exact(&mut header)?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = number(4) >> 16;
        let (rate, scale) = (number(16), number(20));
        if !header.starts_with(SIGNATURE) || length < HEADER as u32 || rate == 0 || scale == 0 {
            return Err(IvfError::NotIvf);
        }
        let rest = u64::from(length) - HEADER as u64;
        if io::copy(&mut reader.by_ref().take(rest), &mut io::sink())? != rest {
            return Err(IvfError::NotIvf);
        }
        let name = [header[8], header[9], header[10], header[11]];
        let codec = CODECS.iter().find(|(_, known)| **known == name).ok_or(IvfError::UnsupportedCodec(name))?.0;
        let dimensions = (number(12) & 0xffff, number(12) >> 16);
        Ok(Self { reader, codec, dimensions, rate, scale })
    }

    /// The codec of all frames.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Width and height in pixels, as the header says.
    pub fn dimensions(&self) -> (u32, u32) {
        self.dimensions
    }

    /// The next frame; nothing at the end of the file. A frame's [`elapsed`](EncodedVideoFrame::elapsed) is the file's time.
    ///
    /// # Errors
    ///
    /// The file ends within a frame, a frame is too large to be one, or the reader fails.
    pub fn next_frame(&mut self) -> Result<Option<EncodedVideoFrame>, IvfError> {
        let mut header = Vec::with_capacity(FRAME_HEADER);
        self.reader.by_ref().take(FRAME_HEADER as u64).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let ends_early = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (size, time) = header.split_first_chunk().ok_or_else(ends_early)?;
        let time = u64::from_le_bytes(*time.first_chunk().ok_or_else(ends_early)?);
        let size = u32::from_le_bytes(*size) as usize;
        if size > MAX_FRAME {
            return Err(IvfError::FrameTooLarge);
        }
        let mut data = vec![0; size];
        self.reader.read_exact(&mut data)?;
        Ok(Some(EncodedVideoFrame::new(self.codec, self.elapsed(time), data)))
    }

    fn elapsed(&self, time: u64) -> Duration {
        let nanos = u128::from(time) * u128::from(self.scale) * 1_000_000_000 / u128::from(self.rate);
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        Duration::new(seconds, (nanos % 1_000_000_000) as u32)
    }
}

impl<R: Read> Iterator for IvfReader<R> {
    type Item = Result<EncodedVideoFrame, IvfError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}

/// Why an IVF file can't be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum IvfError {
    /// Reading or writing failed, or the file ends too early.
    Io(io::Error),
    /// The header is none of IVF.
    NotIvf,
    /// A codec that does not go into IVF, or that is unknown here, by its name in the file.
    UnsupportedCodec([u8; 4]),
    /// The file is of another codec than this.
    WrongCodec(VideoCodec),
    /// A frame says that it is larger than any frame should be.
    FrameTooLarge,
}

impl fmt::Display for IvfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the IVF file can't be read or written"),
            Self::NotIvf => f.write_str("the file is no IVF file"),
            Self::UnsupportedCodec(name) => write!(f, "{} in IVF is not supported", name.escape_ascii()),
            Self::WrongCodec(codec) => write!(f, "the IVF file is not of {}", codec.mime_type()),
            Self::FrameTooLarge => f.write_str("a frame of the IVF file is larger than a frame should be"),
        }
    }
}

impl std::error::Error for IvfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotIvf | Self::UnsupportedCodec(_) | Self::WrongCodec(_) | Self::FrameTooLarge => None,
        }
    }
}

impl From<io::Error> for IvfError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn four_cc(codec: VideoCodec) -> Option<&'static [u8; 4]> {
    CODECS.iter().find(|(known, _)| *known == codec).map(|(_, name)| *name)
}

const SIGNATURE: &[u8; 4] = b"DKIF";
const HEADER: usize = 32;
const FRAME_HEADER: usize = 12;
const CODECS: [(VideoCodec, &[u8; 4]); 3] =
    [(VideoCodec::Vp8, b"VP80"), (VideoCodec::Vp9, b"VP90"), (VideoCodec::Av1, b"AV01")];
