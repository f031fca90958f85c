//! In steady state a call's audio costs no allocation: neither a frame up nor a beat down, whatever the
//! network does to the packets, in every format an engine speaks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::hearing::{AnswerDetector, BargeInDetector, DtmfDetector, DtmfTone, SpeechDetector, ToneDetector};
use media::{
    AudioFormat, Codec, ComfortNoise, Concealer, Digit, JitterBuffer, Loudness, Mixer, Negotiated,
    NoiseMeter, NoiseSource, PACKET_MAX, REPORT_MAX, Resampler, SRTCP_OVERHEAD, SampleRate, SegmentId,
    Session, SessionConfig, SrtpKey, SrtpReceiver, SrtpSender, SrtpSuite, g722,
};

/// Counts what this thread allocates; the harness has others.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged; counting allocates nothing, since the
// counter is constant-initialised and has no destructor.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAMES: u32 = 1_000;
const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_thousand_frames_both_ways_allocate_nothing() {
    for format in [AudioFormat::Pcmu, AudioFormat::Pcma, L16] {
        let mut call = Call::new(format);
        // The first seconds size what is sized by need, and say what is said once.
        call.run(0..200, |index| index);

        assert_eq!(allocations_of(|| call.run(200..200 + FRAMES, |index| index)), 0, "{format:?}");
    }
}

#[test]
fn packets_lost_doubled_and_reordered_allocate_nothing() {
    let mut call = Call::new(AudioFormat::Pcmu);
    let disturbed = |index: u32| match index % 10 {
        3 => index + 1,
        4 => index - 1,
        7 => index - 1,
        _ => index,
    };
    call.run(0..200, disturbed);

    assert_eq!(allocations_of(|| call.run(200..200 + FRAMES, disturbed)), 0);
}

#[test]
fn keys_and_reports_allocate_nothing() {
    let mut call = Call::new(AudioFormat::Pcmu);
    call.run(0..200, |index| index);

    let allocations = allocations_of(|| {
        for round in 0..5 {
            for event in 0..16 {
                let digit = Digit::from_event(event).expect("16 digits");
                call.session.send_dtmf(digit, Duration::from_millis(40)).expect("few wait");
            }
            call.run(200 + 200 * round..400 + 200 * round, |index| index);
        }
    });

    assert_eq!(call.session.statistics(call.start).dtmf_out, 80);
    assert_eq!(allocations, 0);
}

#[test]
fn g722_allocates_nothing() {
    let mut encoder = g722::Encoder::new();
    let mut decoder = g722::Decoder::new(g722::Mode::Kbit64);
    let mut samples = [1_000; 320];
    let mut codes = [0; 160];

    let allocations = allocations_of(|| {
        for _ in 0..FRAMES {
            encoder.encode(&samples, &mut codes);
            decoder.decode(&codes, &mut samples);
        }
    });

    assert_eq!(allocations, 0);
}

#[test]
fn concealment_allocates_nothing() {
    let mut concealer = Concealer::new(SampleRate::Hz16000);
    let following = [1_000; 320];
    let mut frame = [0; 320];

    let allocations = allocations_of(|| {
        for round in 0..FRAMES {
            for (at, sample) in (0_u32..).zip(&mut frame) {
                *sample = ((round * 320 + at) * (20 + round % 7) % 9_000) as i16;
            }
            match round % 11 {
                3 | 7 | 8 => concealer.conceal(&mut frame),
                5 => concealer.bridge(&following, &mut frame),
                _ => concealer.keep(&mut frame),
            }
        }
    });

    assert_eq!(allocations, 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
fn a_jitter_buffer_allocates_nothing() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(start, SampleRate::Hz8000, 160);
    let mut frame = [0; 160];

    let allocations = allocations_of(|| {
        for round in 0..FRAMES {
            let now = start + Duration::from_millis(20) * round;
            // Some are lost, some swapped, some held back for a while.
            for number in match round % 50 {
                3 => 0..0,
                7..12 => 0..0,
                12 => round - 5..round + 1,
                _ => round..round + 1,
            } {
                let _ = buffer.insert(
                    now,
                    number ^ u32::from(number % 30 < 2),
                    number * 160,
                    &[number as u8; 160],
                );
            }
            buffer.next_frame(now, &mut frame, |payload, samples| {
                for (at, sample) in samples[..160].iter_mut().enumerate() {
                    *sample = (at as i16 % 50) * i16::from(payload[0]);
                }
                160
            });
        }
    });

    let counts = buffer.counts();
    assert!(counts.concealed > 0 && counts.lengthened > 0 && counts.shortened > 0, "{counts:?}");
    assert_eq!(allocations, 0);
}

#[test]
fn a_resampler_allocates_nothing_after_its_beginning() {
    for (from, to) in [(SampleRate::Hz8000, SampleRate::Hz48000), (SampleRate::Hz24000, SampleRate::Hz16000)]
    {
        let mut resampler = Resampler::new(from, to);
        let samples = [1_000; 1_000];
        let mut given = 0;

        let allocations = allocations_of(|| {
            for round in 0..FRAMES as usize {
                resampler.feed(&samples[..round], |piece| given += piece.len());
            }
        });

        assert!(given > 100_000, "{given}");
        assert_eq!(allocations, 0);
    }
}

#[test]
fn comfort_noise_and_loudness_allocate_nothing() {
    let (mut meter, mut source) = (NoiseMeter::default(), NoiseSource::new(ComfortNoise::white(50), 1));
    let mut loudness = Loudness::new(SampleRate::Hz8000);
    let mut frame = [0; 160];

    let allocations = allocations_of(|| {
        for _ in 0..FRAMES {
            source.fill(&mut frame);
            meter.push(&frame);
            source.describe(meter.measured().expect("a frame was measured"));
            loudness.adjust(&mut frame);
        }
    });

    assert_eq!(allocations, 0);
}

#[test]
fn a_mixer_allocates_nothing() {
    let mut mixer = Mixer::new(SampleRate::Hz8000);
    let mut out = [0; 160];

    let allocations = allocations_of(|| {
        for loud in 0..FRAMES {
            let voice = [30 * loud as i16; 160];
            mixer.mix(&[&voice, &voice, &voice], &mut out);
        }
    });

    assert_eq!(allocations, 0);
}

#[test]
fn hearing_allocates_nothing() {
    let mut keys = DtmfDetector::default();
    let (mut speech, mut tones, mut answer) =
        (SpeechDetector::default(), ToneDetector::default(), AnswerDetector::default());
    let mut bargein = BargeInDetector::default();
    let mut frame = [0; 160];
    let mut heard = 0;

    let allocations = allocations_of(|| {
        for round in 0..FRAMES {
            let digit = Digit::from_event(round as u8 % 16).expect("16 digits");
            let mut tone = DtmfTone::new(digit, -8.0, 100);
            for _ in 0..8 {
                let written = tone.fill(&mut frame);
                frame[written..].fill(0);
                heard += u32::from(keys.push(&frame).is_some());
                speech.push(&frame);
                tones.push(&frame);
                answer.push(&frame);
                bargein.push(&[0; 160], &frame);
                while answer.next_event().is_some() {}
            }
        }
    });

    assert_eq!(allocations, 0);
    assert_eq!(heard, FRAMES);
}

#[test]
fn srtp_allocates_nothing() {
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::from_random(suite, &[7; SrtpKey::LONGEST]);
        let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
        let mut buffer = [0; PACKET_MAX + SRTCP_OVERHEAD];
        let mut opened = 0;

        let allocations = allocations_of(|| {
            for index in 0..FRAMES {
                let plain = packet(index);
                buffer[..plain.len()].copy_from_slice(&plain);
                let length = sender.protect_rtp(&mut buffer, plain.len()).expect("there is room");
                let mut forged = buffer;
                forged[20] ^= 1;
                opened += u32::from(receiver.unprotect_rtp(&mut forged[..length]).is_ok());
                opened += u32::from(receiver.unprotect_rtp(&mut buffer[..length]).is_ok());
                buffer[..8].copy_from_slice(&[0x80, 201, 0, 1, 1, 2, 3, 4]);
                let length = sender.protect_rtcp(&mut buffer, 8).expect("there is room");
                opened += u32::from(receiver.unprotect_rtcp(&mut buffer[..length]).is_ok());
            }
        });

        assert_eq!((allocations, opened), (0, 2 * FRAMES), "{suite:?}");
    }
}

/// A leg with an engine that says one frame a beat.
struct Call {
    start: Instant,
    session: Session,
    format: AudioFormat,
    heard: u64,
}

impl Call {
    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn new(format: AudioFormat) -> Self {
        let start = Instant::now();
        let negotiated = Negotiated::plain(peer(), Codec::Pcmu);
        Self {
            start,
            session: Session::new(start, &negotiated, SessionConfig::from_seed(1)),
            format,
            heard: 0,
        }
    }

    fn run(&mut self, beats: std::ops::Range<u32>, arriving: impl Fn(u32) -> u32) {
        let mut up = [0; 320];
        let mut down = [0; PACKET_MAX];
        let mut report = [0; REPORT_MAX];
        let said = [0x55; 320];
        for index in beats {
            let now = self.start + Duration::from_millis(20) * index;
            self.session.handle_timeout(now);
            let _ = self.session.handle_rtp(now, peer(), &packet(arriving(index)));
            while let Some(frame) = self.session.next_frame(now) {
                let written = AudioFormat::Pcmu.convert(self.format, frame.payload, &mut up);
                self.heard += u64::from(up[written - 1]);
            }
            let audio = &said[..self.format.bytes_per_beat()];
            // Play-out waits for keys; an engine is told how much is buffered and waits too.
            if self.session.playout().buffered_ms() < 100 {
                self.session.playout().push(SegmentId(1), self.format, audio).expect("there is room");
            }
            self.session.next_packet(now, &mut down).expect("a packet a beat");
            if let Some((length, _)) = self.session.next_report(now, &mut report) {
                self.session.handle_rtcp(now, peer(), &report[..length]).expect("our own report");
            }
            while self.session.next_dtmf().is_some() {}
            while self.session.next_fact().is_some() {}
            while self.session.playout().next_fact().is_some() {}
        }
    }
}

fn packet(index: u32) -> [u8; 172] {
    let mut packet = [0x7E; 172];
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(160 * index).to_be_bytes());
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    packet
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}
