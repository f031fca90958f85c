//! WAV files, as announcements, recordings and `analyze` need them.
//!
//! ```text
//!   RIFF size WAVE | "fmt " size: tag, channels, rate, bytes a second, block, bits, .. | .. | "data" size: samples
//! ```

use crate::{AudioFormat, SampleRate, g711};

const PCM: u16 = 1;
const ALAW: u16 = 6;
const ULAW: u16 = 7;

/// The tag that says nothing itself: the real one begins the GUID of an extension of 22 bytes.
const EXTENSIBLE: u16 = 0xFFFE;

/// What follows the tag in such a GUID.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// The rates we read.
const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// Audio of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wav<'a> {
    /// What one sample of `data` is.
    pub encoding: WavEncoding,
    /// Samples a second: 8,000, 16,000, 24,000 or 48,000.
    pub rate: u32,
    /// 1, or 2 whose samples take turns, left first.
    pub channels: u16,
    /// The samples, as they stand in the file.
    pub data: &'a [u8],
}

/// What one sample of a WAV file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WavEncoding {
    /// 16-bit linear, little-endian.
    Pcm16,
    /// G.711 A-law.
    Alaw,
    /// G.711 mu-law.
    Ulaw,
}

/// Why a file is not a WAV that we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// No `RIFF`…`WAVE` at the beginning.
    #[error("not a RIFF/WAVE file")]
    NotWave,
    /// The file ends inside of a chunk.
    #[error("the file ends inside of its {0} chunk")]
    Truncated(&'static str),
    /// A chunk that must be there is not.
    #[error("the {0} chunk is missing")]
    Missing(&'static str),
    /// Not PCM 16 bit, mu-law or A-law.
    #[error("format {tag} with {bits} bits a sample; we read PCM 16 bit (1), A-law (6) and mu-law (7)")]
    Format {
        /// The format tag.
        tag: u16,
        /// Bits a sample.
        bits: u16,
    },
    /// More channels than are read here.
    #[error("{0} channels are too many")]
    Channels(u16),
    /// A rate that is not read here.
    #[error("{0} Hz is not among the rates read here")]
    Rate(u32),
}

impl WavEncoding {
    /// Bytes that one sample of one channel takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::Alaw | Self::Ulaw => 1,
        }
    }

    fn tag(self) -> u16 {
        match self {
            Self::Pcm16 => PCM,
            Self::Alaw => ALAW,
            Self::Ulaw => ULAW,
        }
    }
}

impl<'a> Wav<'a> {
    /// Reads a file: PCM 16 bit, mu-law or A-law, also where `WAVE_FORMAT_EXTENSIBLE` says so; 8, 16, 24 or
    /// 48 kHz, one channel or two; anything else says what it is. A data chunk whose size was left open
    /// (0xFFFF_FFFF, by writers into a pipe) reaches to the end.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn parse(file: &'a [u8]) -> Result<Self, WavError> {
        let Some((b"RIFF", body)) = file.split_first_chunk() else { return Err(WavError::NotWave) };
        let Some(b"WAVE") = body.get(4..8) else { return Err(WavError::NotWave) };
        let mut rest = &body[8..];
        let mut format = None;
        while let Some((id, after)) = rest.split_first_chunk::<4>() {
            let Some((size, content)) = after.split_first_chunk::<4>() else { break };
            let size = u32::from_le_bytes(*size);
            match id {
                b"fmt " => {
                    let chunk = content.get(..size as usize).ok_or(WavError::Truncated("fmt"))?;
                    format = Some(read_format(chunk)?);
                }
                b"data" => {
                    let open = (size == u32::MAX).then_some(content);
                    let data = open.or_else(|| content.get(..size as usize));
                    let (encoding, rate, channels) = format.ok_or(WavError::Missing("fmt"))?;
                    return Ok(Self {
                        encoding,
                        rate,
                        channels,
                        data: data.ok_or(WavError::Truncated("data"))?,
                    });
                }
                _ => {}
            }
            // Chunks begin at even places.
            let next = size as usize + (size & 1) as usize;
            rest = content.get(next..).unwrap_or_default();
        }
        Err(WavError::Missing(if format.is_some() { "data" } else { "fmt" }))
    }

    /// The telephone's audio: 8,000 Hz, one channel, as [`AudioFormat`] has it.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn telephone(&self) -> Result<AudioFormat, WavError> {
        if self.channels != 1 {
            return Err(WavError::Channels(self.channels));
        }
        if self.rate != SampleRate::Hz8000.hertz() {
            return Err(WavError::Rate(self.rate));
        }
        Ok(match self.encoding {
            WavEncoding::Pcm16 => AudioFormat::L16 { rate: SampleRate::Hz8000 },
            WavEncoding::Alaw => AudioFormat::Pcma,
            WavEncoding::Ulaw => AudioFormat::Pcmu,
        })
    }

    /// The whole file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let width = self.encoding.bytes_per_sample() as u32;
        let block = width * u32::from(self.channels);
        let size = self.data.len() as u32;
        let padding = size & 1;

        // Formats other than PCM say how long their extension is, and how many samples follow.
        let extended = self.encoding != WavEncoding::Pcm16;
        let format_size: u32 = if extended { 18 } else { 16 };
        let fact_size: u32 = if extended { 12 } else { 0 };
        let mut file = Vec::with_capacity(64 + self.data.len());
        file.extend(b"RIFF");
        file.extend((4 + 8 + format_size + fact_size + 8 + size + padding).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(format_size.to_le_bytes());
        file.extend(self.encoding.tag().to_le_bytes());
        file.extend(self.channels.to_le_bytes());
        file.extend(self.rate.to_le_bytes());
        file.extend((self.rate * block).to_le_bytes());
        file.extend((block as u16).to_le_bytes());
        file.extend((8 * width as u16).to_le_bytes());
        if extended {
            file.extend(0_u16.to_le_bytes());
            file.extend(b"fact");
            file.extend(4_u32.to_le_bytes());
            file.extend((size / block.max(1)).to_le_bytes());
        }
        file.extend(b"data");
        file.extend(size.to_le_bytes());
        file.extend(self.data);
        file.extend(&[0][..padding as usize]);
        file
    }

    /// A whole file of 16-bit linear samples; those of two channels take turns.
    pub fn file_of(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        Wav { encoding: WavEncoding::Pcm16, rate, channels, data: &data }.to_bytes()
    }

    /// The samples as 16-bit linear; those of two channels take turns.
    pub fn to_linear(&self) -> Vec<i16> {
        match self.encoding {
            WavEncoding::Pcm16 => {
                self.data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
            }
            WavEncoding::Alaw => self.data.iter().map(|code| g711::alaw_to_linear(*code)).collect(),
            WavEncoding::Ulaw => self.data.iter().map(|code| g711::ulaw_to_linear(*code)).collect(),
        }
    }

    /// One channel's samples, 0 being the first or only one; none where there is no such channel.
    pub fn channel(&self, number: u16) -> Vec<i16> {
        if number >= self.channels {
            return Vec::new();
        }
        self.to_linear().into_iter().skip(usize::from(number)).step_by(usize::from(self.channels)).collect()
    }
}

fn read_format(chunk: &[u8]) -> Result<(WavEncoding, u32, u16), WavError> {
    let head: &[u8; 16] = chunk.first_chunk().ok_or(WavError::Truncated("fmt"))?;
    let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (mut tag, channels, bits) = (word(0), word(2), word(14));
    let rate = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    if tag == EXTENSIBLE {
        let guid: &[u8; 16] =
            chunk.get(24..).and_then(<[u8]>::first_chunk).ok_or(WavError::Truncated("fmt"))?;
        if guid[2..] == GUID_TAIL {
            tag = u16::from_le_bytes([guid[0], guid[1]]);
        }
    }
    let encoding = match (tag, bits) {
        (PCM, 16) => WavEncoding::Pcm16,
        (ALAW, 8) => WavEncoding::Alaw,
        (ULAW, 8) => WavEncoding::Ulaw,
        _ => return Err(WavError::Format { tag, bits }),
    };
    if !(1..=2).contains(&channels) {
        return Err(WavError::Channels(channels));
    }
    if !RATES.contains(&rate) {
        return Err(WavError::Rate(rate));
    }
    Ok((encoding, rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let data: Vec<u8> = (0..=255).collect();
        for encoding in [WavEncoding::Ulaw, WavEncoding::Alaw, WavEncoding::Pcm16] {
            for (rate, channels) in [(8_000, 1), (16_000, 2), (48_000, 1)] {
                for length in [0, 4, 252] {
                    let wav = Wav { encoding, rate, channels, data: &data[..length] };

                    assert_eq!(Wav::parse(&wav.to_bytes()), Ok(wav));
                }
            }
        }
        let odd = mono(WavEncoding::Ulaw, &data[..255]);
        assert_eq!(Wav::parse(&odd.to_bytes()), Ok(odd));
    }

    #[test]
    fn chunks_we_do_not_know_are_passed_over_also_odd_ones() {
        let file = mono(WavEncoding::Pcm16, &[1, 2]).to_bytes();
        let (head, tail) = file.split_at(12);
        let listed = [head, b"LIST\x03\0\0\0abc\0", tail].concat();

        assert_eq!(Wav::parse(&listed).map(|wav| wav.data), Ok(&[1, 2][..]));
    }

    #[test]
    fn a_data_chunk_of_open_size_reaches_to_the_end() {
        let mut file = mono(WavEncoding::Pcm16, &[1, 2, 3, 4]).to_bytes();
        file[40..44].fill(0xFF);

        assert_eq!(Wav::parse(&file).map(|wav| wav.data), Ok(&[1, 2, 3, 4][..]));
    }

    #[test]
    fn an_extensible_format_is_what_its_guid_says() {
        let extensible = |tag: u16, bits: u16, tail: [u8; 14]| {
            let mut format = Vec::new();
            for word in [EXTENSIBLE, 1, 8_000, 0, 16_000, 0, bits / 8, bits, 22, bits, 4, 0, tag] {
                format.extend(word.to_le_bytes());
            }
            format.extend(tail);
            [b"RIFF\0\0\0\0WAVEfmt \x28\0\0\0", &format[..], b"data\x02\0\0\0\x01\x02"].concat()
        };

        let pcm = extensible(PCM, 16, GUID_TAIL);
        let law = extensible(ULAW, 8, GUID_TAIL);

        assert_eq!(Wav::parse(&pcm), Ok(mono(WavEncoding::Pcm16, &[1, 2])));
        assert_eq!(Wav::parse(&law), Ok(mono(WavEncoding::Ulaw, &[1, 2])));
        let other = Wav::parse(&extensible(PCM, 16, [7; 14])).map_err(Some).map(|_| ());
        assert_eq!(other, Err(Some(WavError::Format { tag: EXTENSIBLE, bits: 16 })));
        let mut short = pcm;
        short[16] = 30;
        assert_eq!(Wav::parse(&short), Err(WavError::Truncated("fmt")));
    }

    #[test]
    fn what_we_do_not_read_says_what_it_is() {
        let file = mono(WavEncoding::Pcm16, &[1, 2]).to_bytes();
        let with = |at: usize, value: u8| {
            let mut other = file.clone();
            other[at] = value;
            other
        };
        let fault = |file: &[u8]| Wav::parse(file).unwrap_err();

        assert_eq!(fault(b"ID3"), WavError::NotWave);
        assert_eq!(fault(&with(20, 3)), WavError::Format { tag: 3, bits: 16 });
        assert_eq!(fault(&with(34, 24)), WavError::Format { tag: 1, bits: 24 });
        assert_eq!(fault(&with(22, 3)), WavError::Channels(3));
        assert_eq!(fault(&with(22, 0)), WavError::Channels(0));
        assert_eq!(fault(&with(25, 0x2B)), WavError::Rate(0x2B40));
        assert_eq!(fault(&with(12, b'F')), WavError::Missing("fmt"));
        assert_eq!(fault(&with(36, b'D')), WavError::Missing("data"));
        assert_eq!(fault(&file[..file.len() - 1]), WavError::Truncated("data"));
        assert_eq!(fault(&file[..30]), WavError::Truncated("fmt"));
    }

    #[test]
    fn the_telephone_takes_8000_hz_mono_only() {
        let wide = Wav { rate: 16_000, ..mono(WavEncoding::Pcm16, &[]) };
        let stereo = Wav { channels: 2, ..mono(WavEncoding::Pcm16, &[]) };

        assert_eq!(mono(WavEncoding::Alaw, &[]).telephone(), Ok(AudioFormat::Pcma));
        assert_eq!(wide.telephone(), Err(WavError::Rate(16_000)));
        assert_eq!(stereo.telephone(), Err(WavError::Channels(2)));
    }

    #[test]
    fn no_beginning_of_a_file_panics() {
        let file = mono(WavEncoding::Ulaw, &[1, 2, 3]).to_bytes();
        for length in 0..file.len() {
            let _ = Wav::parse(&file[..length]);
        }
    }

    #[test]
    fn all_formats_become_linear_and_channels_come_apart() {
        let linear = |encoding, data: &[u8]| mono(encoding, data).to_linear();

        assert_eq!(linear(WavEncoding::Pcm16, &[0x34, 0x12, 0xFF]), [0x1234]);
        assert_eq!(linear(WavEncoding::Ulaw, &[0xFF, 0x80]), [0, 32_124]);
        assert_eq!(linear(WavEncoding::Alaw, &[0xD5]), [8]);
        let file = Wav::file_of(8_000, 2, &[1, -1, 2, -2]);
        let stereo = Wav::parse(&file).unwrap();
        assert_eq!(stereo.channel(0), [1, 2]);
        assert_eq!(stereo.channel(1), [-1, -2]);
        assert!(stereo.channel(2).is_empty());
    }

    fn mono(encoding: WavEncoding, data: &[u8]) -> Wav<'_> {
        Wav { encoding, rate: 8_000, channels: 1, data }
    }
}
