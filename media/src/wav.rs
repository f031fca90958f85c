//! WAV files, as far as announcements and tests need them.
//!
//! ```text
//!   RIFF size WAVE | "fmt " size: tag, channels, rate, bytes a second, block, bits, .. | .. | "data" size: samples
//! ```

use crate::{AudioFormat, SampleRate};

const PCM: u16 = 1;
const ALAW: u16 = 6;
const ULAW: u16 = 7;

/// Audio of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wav<'a> {
    /// How `data` is laid out.
    pub format: AudioFormat,
    /// The samples, as they stand in the file.
    pub data: &'a [u8],
}

/// Why a file is not a WAV that we can play.
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
    /// Not one channel.
    #[error("{0} channels; we read mono")]
    Channels(u16),
    /// Not 8,000 Hz.
    #[error("{0} Hz; we read 8000 Hz")]
    Rate(u32),
}

impl<'a> Wav<'a> {
    /// Reads a file: PCM 16 bit, mu-law or A-law, 8,000 Hz, mono; anything else says what it is. A data
    /// chunk whose size was left open (0xFFFF_FFFF, by writers into a pipe) reaches to the end.
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
                    let format = format.ok_or(WavError::Missing("fmt"))?;
                    return Ok(Self { format, data: data.ok_or(WavError::Truncated("data"))? });
                }
                _ => {}
            }
            // Chunks begin at even places.
            let next = size as usize + (size & 1) as usize;
            rest = content.get(next..).unwrap_or_default();
        }
        Err(WavError::Missing(if format.is_some() { "data" } else { "fmt" }))
    }

    /// The whole file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, bits) = match self.format {
            AudioFormat::L16 { .. } => (PCM, 16_u16),
            AudioFormat::Pcma => (ALAW, 8),
            AudioFormat::Pcmu => (ULAW, 8),
        };
        let rate = self.format.rate().hertz();
        let width = self.format.bytes_per_sample() as u32;
        let size = self.data.len() as u32;
        let padding = size & 1;

        // Formats other than PCM say how long their extension is, and how many samples follow.
        let extended = tag != PCM;
        let format_size: u32 = if extended { 18 } else { 16 };
        let fact_size: u32 = if extended { 12 } else { 0 };
        let mut file = Vec::with_capacity(64 + self.data.len());
        file.extend(b"RIFF");
        file.extend((4 + 8 + format_size + fact_size + 8 + size + padding).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(format_size.to_le_bytes());
        file.extend(tag.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * width).to_le_bytes());
        file.extend((width as u16).to_le_bytes());
        file.extend(bits.to_le_bytes());
        if extended {
            file.extend(0_u16.to_le_bytes());
            file.extend(b"fact");
            file.extend(4_u32.to_le_bytes());
            file.extend((size / width).to_le_bytes());
        }
        file.extend(b"data");
        file.extend(size.to_le_bytes());
        file.extend(self.data);
        file.extend(&[0][..padding as usize]);
        file
    }

    /// The samples as 16-bit linear.
    pub fn to_linear(&self) -> Vec<i16> {
        let samples = self.data.len() / self.format.bytes_per_sample();
        let mut bytes = vec![0; 2 * samples];
        self.format.convert(AudioFormat::L16 { rate: self.format.rate() }, self.data, &mut bytes);
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }
}

fn read_format(chunk: &[u8]) -> Result<AudioFormat, WavError> {
    let chunk: &[u8; 16] = chunk.first_chunk().ok_or(WavError::Truncated("fmt"))?;
    let word = |at: usize| u16::from_le_bytes([chunk[at], chunk[at + 1]]);
    let (tag, channels, bits) = (word(0), word(2), word(14));
    let rate = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
    let format = match (tag, bits) {
        (PCM, 16) => AudioFormat::L16 { rate: SampleRate::Hz8000 },
        (ALAW, 8) => AudioFormat::Pcma,
        (ULAW, 8) => AudioFormat::Pcmu,
        _ => return Err(WavError::Format { tag, bits }),
    };
    if channels != 1 {
        return Err(WavError::Channels(channels));
    }
    if rate != SampleRate::Hz8000.hertz() {
        return Err(WavError::Rate(rate));
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

    #[test]
    fn what_is_written_reads_back() {
        let data: Vec<u8> = (0..=255).collect();
        for format in [AudioFormat::Pcmu, AudioFormat::Pcma, L16] {
            for length in [0, 2, 254] {
                let wav = Wav { format, data: &data[..length] };

                assert_eq!(Wav::parse(&wav.to_bytes()), Ok(wav));
            }
        }
        let odd = Wav { format: AudioFormat::Pcmu, data: &data[..255] };
        assert_eq!(Wav::parse(&odd.to_bytes()), Ok(odd));
    }

    #[test]
    fn chunks_we_do_not_know_are_passed_over_also_odd_ones() {
        let file = Wav { format: L16, data: &[1, 2] }.to_bytes();
        let (head, tail) = file.split_at(12);
        let listed = [head, b"LIST\x03\0\0\0abc\0", tail].concat();

        assert_eq!(Wav::parse(&listed).map(|wav| wav.data), Ok(&[1, 2][..]));
    }

    #[test]
    fn a_data_chunk_of_open_size_reaches_to_the_end() {
        let mut file = Wav { format: L16, data: &[1, 2, 3, 4] }.to_bytes();
        file[40..44].fill(0xFF);

        assert_eq!(Wav::parse(&file).map(|wav| wav.data), Ok(&[1, 2, 3, 4][..]));
    }

    #[test]
    fn what_we_do_not_play_says_what_it_is() {
        let file = Wav { format: L16, data: &[1, 2] }.to_bytes();
        let with = |at: usize, value: u8| {
            let mut other = file.clone();
            other[at] = value;
            other
        };
        let fault = |file: &[u8]| Wav::parse(file).unwrap_err();

        assert_eq!(fault(b"ID3"), WavError::NotWave);
        assert_eq!(fault(&with(20, 3)), WavError::Format { tag: 3, bits: 16 });
        assert_eq!(fault(&with(34, 24)), WavError::Format { tag: 1, bits: 24 });
        assert_eq!(fault(&with(22, 2)), WavError::Channels(2));
        assert_eq!(fault(&with(25, 0x3E)), WavError::Rate(0x3E40));
        assert_eq!(fault(&with(12, b'F')), WavError::Missing("fmt"));
        assert_eq!(fault(&with(36, b'D')), WavError::Missing("data"));
        assert_eq!(fault(&file[..file.len() - 1]), WavError::Truncated("data"));
        assert_eq!(fault(&file[..30]), WavError::Truncated("fmt"));
    }

    #[test]
    fn no_beginning_of_a_file_panics() {
        let file = Wav { format: AudioFormat::Pcmu, data: &[1, 2, 3] }.to_bytes();
        for length in 0..file.len() {
            let _ = Wav::parse(&file[..length]);
        }
    }

    #[test]
    fn all_formats_become_linear() {
        let linear = |format, data: &[u8]| Wav { format, data }.to_linear();

        assert_eq!(linear(L16, &[0x34, 0x12, 0xFF]), [0x1234]);
        assert_eq!(linear(AudioFormat::Pcmu, &[0xFF, 0x80]), [0, 32_124]);
        assert_eq!(linear(AudioFormat::Pcma, &[0xD5]), [8]);
    }
}
