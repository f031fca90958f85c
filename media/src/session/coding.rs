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

/// The most bytes that one packet's audio takes when it is decoded: 120 ms at 16,000 Hz.
const DECODED_MAX: usize = 6 * BEAT_MAX;

/// What is spent on Opus: wide speech without a flaw, for about a third of the processor time that it could take.
const OPUS_BITS: i32 = 28_000;
const OPUS_COMPLEXITY: i32 = 5;
/// Below no loss it would leave out what makes up for one.
const OPUS_LOSS_PCT: i32 = 5;

const WIDE: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz16000 };

/// One session's codecs.
#[derive(Debug)]
pub(super) struct Coding {
    transcoder: Transcoder,
    g722_in: Option<Box<g722::Decoder>>,
    g722_out: Option<Box<g722::Encoder>>,
    opus_in: Option<opus::Decoder>,
    opus_out: Option<opus::Encoder>,
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
            opus_in: None,
            opus_out: None,
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
        let Self { transcoder, g722_in, opus_in, samples, decoded, frame, .. } = self;
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
            Codec::Opus => {
                let length = codec.length_of(payload) as usize * WIDE.bytes_per_unit() / 2;
                samples.resize(DECODED_MAX / 2, 0);
                let room = &mut samples[..length.min(DECODED_MAX / 2)];
                // What cannot be decoded lasts as long as it says, in silence.
                let decoder = opus_decoder(opus_in);
                if decoder.is_none_or(|decoder| decoder.decode(payload, room, false).is_err()) {
                    room.fill(0);
                }
                decoded.clear();
                room.iter().for_each(|sample| decoded.extend_from_slice(&sample.to_le_bytes()));
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

    /// What was in the `units` before a payload, for a codec that knows better than a guess: the packet behind a gap may hold
    /// the last of it. To be asked before that packet is decoded.
    pub(super) fn recover(&mut self, codec: Codec, payload: &[u8], units: u32) -> Option<&[u8]> {
        match codec {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => return None,
            Codec::Opus => {}
        }
        let last = codec.length_of(payload).min(units);
        let Self { transcoder, opus_in, samples, decoded, frame, .. } = self;
        let decoder = opus_decoder(opus_in)?;
        decoded.clear();
        let mut left = units;
        while left > 0 {
            // First what nobody has, by packets; then what the next one holds.
            let is_last = left <= last;
            let now = if is_last { left } else { (left - last).min(160) };
            samples.resize(DECODED_MAX / 2, 0);
            let room = samples.get_mut(..now as usize * WIDE.bytes_per_unit() / 2)?;
            decoder.decode(if is_last { payload } else { &[] }, room, is_last).ok()?;
            room.iter().for_each(|sample| decoded.extend_from_slice(&sample.to_le_bytes()));
            left -= now;
        }
        if transcoder.target() == WIDE {
            return Some(decoded);
        }
        frame.clear();
        transcoder.feed(WIDE, decoded, |piece| frame.extend_from_slice(piece));
        Some(frame)
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
            Codec::Opus => {
                self.samples.clear();
                let pairs = frame.chunks_exact(2);
                self.samples.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
                let encoder = opus_encoder(&mut self.opus_out);
                encoder.and_then(|encoder| encoder.encode(&self.samples, payload).ok()).unwrap_or(0)
            }
        }
    }
}

/// The library refuses one for want of memory only.
fn opus_decoder(known: &mut Option<opus::Decoder>) -> Option<&mut opus::Decoder> {
    if known.is_none() {
        *known = opus::Decoder::new(WIDE.rate().hertz(), opus::Channels::Mono).ok();
    }
    known.as_mut()
}

fn opus_encoder(known: &mut Option<opus::Encoder>) -> Option<&mut opus::Encoder> {
    if known.is_none() {
        *known = new_opus_encoder().ok();
    }
    known.as_mut()
}

fn new_opus_encoder() -> opus::Result<opus::Encoder> {
    let mut encoder = opus::Encoder::new(WIDE.rate().hertz(), opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(OPUS_BITS))?;
    encoder.set_complexity(OPUS_COMPLEXITY)?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(OPUS_LOSS_PCT)?;
    Ok(encoder)
}
