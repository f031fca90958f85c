//! What a leg hears of the other legs of its call, and what it hears while it waits.
//!
//! ```text
//!   speaker's frames --> Relay: JitterBuffer --> Transcoder --+
//!   speaker's frames --> Relay -------------------------------+--> blend --> the leg's packet
//!   engine's play-out ----------------------------------------+
//!   nobody: what is played while one waits -------------------+
//! ```
//!
//! A relay lags behind its speaker as far as the speaker's network makes necessary, and no farther: [`JitterBuffer`]. What
//! the session has guessed for lost packets is left out, since the buffer guesses better when it knows what is due when.
//! Voices that speak at once are added as linear samples.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use media::{AudioFormat, BEAT_MAX, Discard, JitterBuffer, Played, SAMPLES_PER_BEAT, Transcoder, UpFrame};

use crate::call::{Announcement, LegId};

/// A beat's samples at the highest rate of a leg.
const SAMPLES_MOST: usize = BEAT_MAX / 2;

/// What a speaker said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken<'a> {
    pub(super) format: AudioFormat,
    pub(super) payload: &'a [u8],
    /// In 1/8,000 s, gaps included; wraps.
    pub(super) media_time: u32,
    /// Something before it is missing, and nothing was guessed for it.
    pub(super) discontinuity: bool,
    /// A guess in the place of something that was lost.
    pub(super) concealed: bool,
}

impl<'a> Spoken<'a> {
    pub(super) fn new(format: AudioFormat, frame: &UpFrame<'a>) -> Self {
        let UpFrame { payload, media_time, discontinuity, concealed, .. } = *frame;
        Self { format, payload, media_time, discontinuity, concealed }
    }
}

/// The frames of one speaker on their way to one listener.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) speaker: LegId,
    /// Made when the speaker is heard first, and anew when he changes his codec.
    stream: Option<Stream>,
    transcoder: Transcoder,
    /// Laid out as the listener hears.
    ready: VecDeque<u8>,
}

/// What was said in one layout.
#[derive(Debug)]
struct Stream {
    format: AudioFormat,
    buffer: JitterBuffer,
    /// Of the next piece.
    number: u32,
    /// The media time behind what came last.
    next: u32,
}

/// What became of what was said, in samples of the speaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Relayed {
    /// Guessed, since nothing was there.
    pub(super) concealed: u64,
    /// Added or taken off, to lag farther or less far behind.
    pub(super) stretched: u64,
}

/// What is played, again and again, to somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    audio: Arc<Announcement>,
    at: usize,
    transcoder: Transcoder,
}

impl Relay {
    pub(super) fn new(speaker: LegId) -> Self {
        let transcoder = Transcoder::new(AudioFormat::Pcmu);
        Self { speaker, stream: None, transcoder, ready: VecDeque::with_capacity(2 * BEAT_MAX) }
    }

    /// Takes a frame of the speaker. Answers how many of his samples came too late.
    pub(super) fn push(&mut self, now: Instant, spoken: &Spoken<'_>) -> u64 {
        let Spoken { format, .. } = *spoken;
        match &mut self.stream {
            Some(stream) if stream.format == format => stream.push(now, spoken),
            Some(_) | None => {
                self.ready.clear();
                self.stream.insert(Stream::new(now, spoken)).push(now, spoken)
            }
        }
    }

    /// The next 20 ms as the listener hears, if anything is to be heard; `out` is as long as that.
    pub(super) fn take(
        &mut self,
        now: Instant,
        listener: AudioFormat,
        out: &mut [u8],
        relayed: &mut Relayed,
    ) -> bool {
        let Self { stream: Some(stream), transcoder, ready, .. } = self else { return false };
        if transcoder.target() != listener {
            *transcoder = Transcoder::new(listener);
            ready.clear();
        }
        let mut linear = [0; BEAT_MAX];
        let Some(linear) = stream.take(now, &mut linear, relayed) else {
            ready.clear();
            return false;
        };
        transcoder.feed(AudioFormat::L16 { rate: stream.format.rate() }, linear, |piece| ready.extend(piece));
        if ready.len() < out.len() {
            return false;
        }
        let length = out.len();
        for (to, from) in out.iter_mut().zip(ready.drain(..length)) {
            *to = from;
        }
        true
    }
}

impl Stream {
    fn new(now: Instant, first: &Spoken<'_>) -> Self {
        let Spoken { format, media_time, .. } = *first;
        let buffer = JitterBuffer::new(now, format.rate(), format.bytes_per_beat());
        Self { format, buffer, number: 0, next: media_time }
    }

    fn push(&mut self, now: Instant, spoken: &Spoken<'_>) -> u64 {
        let Self { format, .. } = *self;
        let scale = format.rate().hertz() / 8_000;
        let pieces = spoken.payload.chunks(format.bytes_per_beat());
        if spoken.concealed {
            // The numbers of what was lost.
            self.number = self.number.wrapping_add(u32::try_from(pieces.len()).unwrap_or(0));
            return 0;
        }
        let ahead = spoken.media_time.wrapping_sub(self.next).cast_signed();
        if spoken.discontinuity && ahead > 0 {
            let lost = ahead.cast_unsigned() / SAMPLES_PER_BEAT as u32;
            self.number = self.number.wrapping_add(lost.max(1));
        }
        let mut media_time = spoken.media_time;
        let mut late = 0;
        for piece in pieces {
            let samples = (piece.len() / format.bytes_per_sample()) as u32;
            let inserted = self.buffer.insert(now, self.number, media_time.wrapping_mul(scale), piece);
            late += if inserted == Err(Discard::Late) { u64::from(samples) } else { 0 };
            self.number = self.number.wrapping_add(1);
            media_time = media_time.wrapping_add(samples / scale);
        }
        self.next = media_time;
        late
    }

    /// The next 20 ms as linear bytes.
    fn take<'a>(
        &mut self,
        now: Instant,
        linear: &'a mut [u8; BEAT_MAX],
        relayed: &mut Relayed,
    ) -> Option<&'a [u8]> {
        let Self { format, buffer, .. } = self;
        let target = AudioFormat::L16 { rate: format.rate() };
        let mut samples = [0; SAMPLES_MOST];
        let samples = &mut samples[..target.bytes_per_beat() / 2];
        let before = buffer.counts();
        buffer.next_frame(now, samples, |payload, samples| {
            let mut bytes = [0; BEAT_MAX];
            let length = format.convert(target, payload, &mut bytes);
            for (sample, pair) in samples.iter_mut().zip(bytes[..length].chunks_exact(2)) {
                *sample = i16::from_le_bytes([pair[0], pair[1]]);
            }
            length / 2
        });
        let counts = buffer.counts();
        relayed.concealed += counts.concealed - before.concealed;
        relayed.stretched += (counts.lengthened - before.lengthened) + (counts.shortened - before.shortened);
        if buffer.is_quiet() {
            return None;
        }
        for (pair, sample) in linear.chunks_exact_mut(2).zip(&*samples) {
            pair.copy_from_slice(&sample.to_le_bytes());
        }
        Some(&linear[..target.bytes_per_beat()])
    }
}

impl Waiting {
    pub(super) fn new(audio: Arc<Announcement>) -> Self {
        Self { audio, at: 0, transcoder: Transcoder::new(AudioFormat::Pcmu) }
    }

    /// Fills `out` with the next 20 ms.
    fn fill(&mut self, listener: AudioFormat, out: &mut [u8]) {
        if self.transcoder.target() != listener {
            self.transcoder = Transcoder::new(listener);
        }
        let mut codes = [0; SAMPLES_PER_BEAT];
        for code in &mut codes {
            let Some(next) = self.audio.pcmu.get(self.at) else { return };
            *code = *next;
            self.at = (self.at + 1) % self.audio.pcmu.len();
        }
        let mut filled = 0;
        self.transcoder.feed(AudioFormat::Pcmu, &codes, |piece| {
            let length = piece.len().min(out.len() - filled);
            out[filled..filled + length].copy_from_slice(&piece[..length]);
            filled += length;
        });
    }
}

/// Makes one frame of all that a leg hears; `frame` holds what the engine says to it, or noise.
pub(super) fn blend(
    now: Instant,
    relays: &mut [Relay],
    waiting: Option<&mut Waiting>,
    format: AudioFormat,
    frame: &mut [u8],
    played: Played,
    relayed: &mut Relayed,
) -> Played {
    let mut sum = [0_i32; SAMPLES_MOST];
    let mut alone = [0; BEAT_MAX];
    let alone = &mut alone[..frame.len()];
    let mut voices = 0;
    if played == Played::Audio {
        voices += 1;
        alone.copy_from_slice(frame);
        add(&mut sum, format, frame);
    }
    for relay in relays {
        let mut heard = [0; BEAT_MAX];
        let heard = &mut heard[..frame.len()];
        if relay.take(now, format, heard, relayed) {
            voices += 1;
            add(&mut sum, format, heard);
            alone.copy_from_slice(heard);
        }
    }
    match (voices, waiting) {
        (0, Some(waiting)) => {
            waiting.fill(format, frame);
            Played::Audio
        }
        (0, None) => Played::Silence,
        (1, _) => {
            frame.copy_from_slice(alone);
            Played::Audio
        }
        (_, _) => {
            let linear = AudioFormat::L16 { rate: format.rate() };
            for (code, sample) in frame.chunks_exact_mut(format.bytes_per_sample()).zip(sum) {
                let sample = sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                linear.convert(format, &sample.to_le_bytes(), code);
            }
            Played::Audio
        }
    }
}

fn add(sum: &mut [i32; SAMPLES_MOST], format: AudioFormat, frame: &[u8]) {
    let mut linear = [0; 2 * SAMPLES_MOST];
    let length = format.convert(AudioFormat::L16 { rate: format.rate() }, frame, &mut linear);
    let linear = &linear[..length];
    for (sum, sample) in sum.iter_mut().zip(linear.chunks_exact(2)) {
        *sum += i32::from(i16::from_le_bytes([sample[0], sample[1]]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOBODY: [u8; SAMPLES_PER_BEAT] = [0xFF; SAMPLES_PER_BEAT];
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn in_a_calm_network_a_voice_comes_through_sample_by_sample_and_soon() {
        let said: Vec<u8> = (0..100 * 160_u32).map(|at| code(at * 31)).collect();
        let packets = said.chunks(160).enumerate();
        let packets: Vec<_> =
            packets.map(|(at, frame)| (20 * at as u64, 160 * at as u32, frame.to_vec())).collect();

        let (heard, counts) = run(&packets, 7, 2_100);

        let sound: Vec<u8> = heard.iter().flatten().flatten().copied().collect();
        let delay = heard.iter().take_while(|beat| beat.is_none()).count();
        assert!(delay <= 1, "{delay} beats");
        assert_eq!(
            (counts.concealed, heard[delay..100].iter().filter(|beat| beat.is_none()).count()),
            (0, 0)
        );
        let before = sound.iter().zip(&said).take_while(|(one, other)| one == other).count();
        let after = sound[..said.len() - counts.stretched as usize].iter().rev().zip(said.iter().rev());
        let after = after.take_while(|(one, other)| one == other).count();
        assert!(before + after + 600 >= said.len(), "{before} and {after} of {}, {counts:?}", said.len());
    }

    #[test]
    fn where_packets_come_unevenly_nothing_is_missing_once_that_is_known() {
        // Every fifth packet is 70 ms late, and those behind it wait for it.
        let late = |at: u64| 20 * at + if at % 5 == 4 { 70 } else { 0 };
        let mut latest = 0;
        let packets: Vec<_> = (0..500_u64)
            .map(|at| {
                latest = late(at).max(latest);
                (latest, 160 * at as u32, voice(at as u32))
            })
            .collect();

        let heard = listen(&packets, 3, 10_000);

        let dry = heard[100..].iter().filter(|beat| beat.is_none()).count();
        assert_eq!(dry, 0);
        let counts = relayed(&packets, 3, 10_000);
        assert!(counts.concealed < 8_000, "{counts:?}");
    }

    #[test]
    fn who_says_no_more_is_silent_soon_and_is_heard_when_he_goes_on() {
        let first = (0..50_u64).map(|at| (20 * at, 160 * at as u32, voice(at as u32)));
        let pause = 5_000;
        let second =
            (0..50_u64).map(|at| (pause + 20 * at, 8 * pause as u32 + 160 * at as u32, voice(at as u32)));
        let packets: Vec<_> = first.chain(second).collect();

        let heard = listen(&packets, 3, 6_500);

        let is_heard =
            |from: usize, to: usize| heard[from / 20..to / 20].iter().filter(|beat| beat.is_some()).count();
        assert!(is_heard(0, 1_000) >= 48, "{}", is_heard(0, 1_000));
        assert_eq!(is_heard(1_400, 5_000), 0);
        assert!(is_heard(5_000, 6_000) >= 47, "{}", is_heard(5_000, 6_000));
    }

    #[test]
    fn what_was_lost_is_guessed_whether_the_session_has_guessed_or_not() {
        let packets: Vec<_> = (0..200_u64).map(|at| (20 * at, 160 * at as u32, voice(at as u32))).collect();
        for concealed in [true, false] {
            let mut relay = Relay::new(LegId(1));
            let start = now();
            let mut counts = Relayed::default();
            let mut dry = 0;
            let mut lost = false;
            for (at, media_time, payload) in &packets {
                let now = start + MS * *at as u32;
                let is_lost = (at / 20) % 10 == 9;
                let spoken = Spoken {
                    format: AudioFormat::Pcmu,
                    payload,
                    media_time: *media_time,
                    discontinuity: lost && !concealed,
                    concealed: is_lost,
                };
                if !is_lost || concealed {
                    relay.push(now, &spoken);
                }
                lost = is_lost;
                let mut out = [0; 160];
                dry += usize::from(!relay.take(now + 3 * MS, AudioFormat::Pcmu, &mut out, &mut counts));
            }
            assert!(dry <= 1, "{dry}");
            assert!((2_800..=3_600).contains(&counts.concealed), "{counts:?}");
        }
    }

    #[test]
    fn a_far_end_whose_clock_is_fast_never_makes_a_conversation_late() {
        let mut relay = Relay::new(LegId(1));
        let start = now();
        let mut counts = Relayed::default();
        let (mut pushed, mut taken) = (0_u64, 0_u64);
        // 500 ppm, ten minutes.
        for beat in 0..30_000_u64 {
            let now = start + MS * (20 * beat) as u32;
            while pushed * 20_000 * 9_995 / 10_000 <= beat * 20_000 {
                let media_time = 160 * pushed as u32;
                relay.push(now, &spoken(media_time, &voice(pushed as u32)));
                pushed += 1;
            }
            let mut out = [0; 160];
            taken += u64::from(relay.take(now, AudioFormat::Pcmu, &mut out, &mut counts));
        }
        let waits = pushed as i64 * 160 - taken as i64 * 160 - counts.stretched as i64;
        assert!(waits < 8 * 120, "{waits} samples wait");
        assert!((taken, counts.concealed) >= (29_990, 0), "{taken} {counts:?}");
    }

    #[test]
    fn packets_of_any_time_and_codec_come_through() {
        let wide = AudioFormat::L16 { rate: media::SampleRate::Hz16000 };
        for (format, ms) in [(AudioFormat::Pcma, 10), (AudioFormat::Pcmu, 30), (wide, 20), (wide, 60)] {
            let mut relay = Relay::new(LegId(1));
            let start = now();
            let length = format.bytes_per_beat() * ms / 20;
            let (mut counts, mut heard) = (Relayed::default(), 0);
            for at in 0..3_000_usize {
                let now = start + MS * at as u32;
                if at % ms == 0 {
                    let payload = vec![0x21; length];
                    relay.push(now, &Spoken { format, ..spoken(8 * at as u32, &payload) });
                }
                if at % 20 == 5 {
                    let mut out = [0; 160];
                    heard += usize::from(relay.take(now, AudioFormat::Pcmu, &mut out, &mut counts));
                }
            }
            assert!(heard >= 145, "{format:?} of {ms} ms: {heard}");
            assert!(counts.concealed < 1_600, "{format:?} of {ms} ms: {counts:?}");
        }
    }

    #[test]
    fn two_voices_are_added() {
        let sample = |code: u8| i32::from(media::g711::ulaw_to_linear(code));
        let start = now();
        let mut relays = [Relay::new(LegId(1)), Relay::new(LegId(2))];
        let (mut frame, mut counts) = (NOBODY, Relayed::default());
        for beat in 0..10 {
            let now = start + MS * 20 * beat;
            for relay in &mut relays {
                relay.push(now, &spoken(160 * beat, &[0xA0; 160]));
            }
            frame = [0xB0; 160];
            blend(now, &mut relays, None, AudioFormat::Pcmu, &mut frame, Played::Audio, &mut counts);
        }
        let expected = 2 * sample(0xA0) + sample(0xB0);
        let error = (sample(frame[0]) - expected).abs();
        assert!(error <= expected.abs() / 16, "{} of {expected}", sample(frame[0]));
    }

    #[test]
    fn who_waits_hears_something_until_somebody_speaks() {
        let now = now();
        let audio = Arc::new(Announcement { name: "tone".into(), pcmu: vec![1, 2, 3] });
        let mut waiting = Waiting::new(audio);
        let (mut frame, mut counts) = (NOBODY, Relayed::default());
        let pcmu = AudioFormat::Pcmu;
        let played = blend(now, &mut [], Some(&mut waiting), pcmu, &mut frame, Played::Silence, &mut counts);
        assert_eq!((played, &frame[..4]), (Played::Audio, &[1, 2, 3, 1][..]));

        let mut frame = [9; 160];
        blend(now, &mut [], Some(&mut waiting), pcmu, &mut frame, Played::Audio, &mut counts);
        assert_eq!(frame, [9; 160]);
    }

    /// What is heard each beat of packets that come at (ms, media time), `offset` ms behind whole beats.
    fn listen(packets: &[(u64, u32, Vec<u8>)], offset: u64, length: u64) -> Vec<Option<Vec<u8>>> {
        run(packets, offset, length).0
    }

    fn relayed(packets: &[(u64, u32, Vec<u8>)], offset: u64, length: u64) -> Relayed {
        run(packets, offset, length).1
    }

    fn run(packets: &[(u64, u32, Vec<u8>)], offset: u64, length: u64) -> (Vec<Option<Vec<u8>>>, Relayed) {
        let mut relay = Relay::new(LegId(1));
        let start = now();
        let (mut heard, mut counts) = (Vec::new(), Relayed::default());
        let mut packets = packets.iter().peekable();
        for at in 0..length {
            let now = start + MS * at as u32;
            while let Some((_, media_time, payload)) = packets.next_if(|(due, ..)| *due <= at) {
                relay.push(now, &spoken(*media_time, payload));
            }
            if at % 20 == offset {
                let mut out = NOBODY;
                let is_heard = relay.take(now, AudioFormat::Pcmu, &mut out, &mut counts);
                heard.push(is_heard.then(|| out.to_vec()));
            }
        }
        (heard, counts)
    }

    fn spoken(media_time: u32, payload: &[u8]) -> Spoken<'_> {
        Spoken { format: AudioFormat::Pcmu, payload, media_time, discontinuity: false, concealed: false }
    }

    /// A frame of a voice of 125 Hz.
    fn voice(number: u32) -> Vec<u8> {
        (0..160)
            .map(|at| {
                let phase = ((number * 160 + at) % 64) as f32 / 64.0 * std::f32::consts::TAU;
                media::g711::linear_to_ulaw((6_000.0 * phase.sin() + 2_000.0 * (3.0 * phase).sin()) as i16)
            })
            .collect()
    }

    /// Any code but that of a negative zero, which is the other zero afterwards.
    fn code(number: u32) -> u8 {
        let code = (number >> 3) as u8;
        if code == 0x7F { 0xFF } else { code }
    }

    #[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
