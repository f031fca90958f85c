//! Between what packets hold and what a session hands out and takes ([`Codec::format`]).
//!
//! ```text
//!   payload -- as it is, or decoded --> Transcoder --> frame for the engine
//!   frame of a beat -- as it is, or encoded ---------> payload
//! ```
//!
//! A codec with a memory gets its frames in their order, behind the window. Its decoder is made when its first packet
//! comes, so a leg pays for what it speaks.

use crate::{AudioFormat, BEAT_MAX, Codec, SampleRate, Transcoder, g722};

/// The most bytes that one packet's audio takes when it is decoded: 60 ms at 16,000 Hz.
const DECODED_MAX: usize = 3 * BEAT_MAX;

const WIDE: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz16000 };

/// One session's codecs.
#[derive(Debug)]
pub(super) struct Coding {
    transcoder: Transcoder,
    g722_in: Option<Box<g722::Decoder>>,
    g722_out: Option<Box<g722::Encoder>>,
    samples: Vec<i16>,
    decoded: Vec<u8>,
    /// What of a packet is handed out.
    frame: Vec<u8>,
}

impl Coding {
    /// For a session that hands out `format`.
    pub(super) fn new(format: AudioFormat) -> Self {
        Self {
            transcoder: Transcoder::new(format),
            g722_in: None,
            g722_out: None,
            samples: Vec::new(),
            decoded: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Frames are handed out as `format` from now on.
    pub(super) fn switch_format(&mut self, format: AudioFormat) {
        if self.transcoder.target() != format {
            self.transcoder = Transcoder::new(format);
        }
    }

    /// What a payload of `codec` holds, as the session hands it out.
    pub(super) fn decode<'a>(&'a mut self, codec: Codec, payload: &'a [u8]) -> &'a [u8] {
        if codec.format() == self.transcoder.target() && !codec.is_wide() {
            return payload;
        }
        let Self { transcoder, g722_in, samples, decoded, frame, .. } = self;
        let (format, audio) = match codec {
            Codec::Pcmu | Codec::Pcma => (codec.format(), payload),
            Codec::G722 => {
                let decoder = g722_in.get_or_insert_with(|| Box::new(g722::Decoder::new(g722::Mode::Kbit64)));
                samples.resize(DECODED_MAX / 2, 0);
                let length = decoder.decode(payload, samples);
                decoded.clear();
                samples[..length].iter().for_each(|sample| decoded.extend_from_slice(&sample.to_le_bytes()));
                (WIDE, &decoded[..])
            }
        };
        if format == transcoder.target() {
            return audio;
        }
        frame.clear();
        transcoder.feed(format, audio, |piece| frame.extend_from_slice(piece));
        frame
    }

    /// Writes a beat's frame, laid out as [`Codec::format`], as `codec` into `payload`; answers how many bytes.
    pub(super) fn encode(&mut self, codec: Codec, frame: &[u8], payload: &mut [u8]) -> usize {
        match codec {
            Codec::Pcmu | Codec::Pcma => {
                let length = frame.len().min(payload.len());
                payload[..length].copy_from_slice(&frame[..length]);
                length
            }
            Codec::G722 => {
                let encoder = self.g722_out.get_or_insert_with(Box::default);
                self.samples.clear();
                let pairs = frame.chunks_exact(2);
                self.samples.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
                encoder.encode(&self.samples, payload)
            }
        }
    }
}
