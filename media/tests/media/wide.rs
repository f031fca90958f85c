//! Legs that speak G.722: twice the telephone's bandwidth, through sessions, play-out and renegotiation.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::time::Instant;

use crate::support::{beats, ms, start};
use media::{
    AudioFormat, Codec, LocalMedia, Negotiated, Negotiator, SampleRate, SegmentId, Session, SessionConfig,
};
use rtp_types::RtpPacket;

const SEGMENT: SegmentId = SegmentId(1);
const NARROW: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };
const WIDE: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz16000 };

/// A second of 5,500 Hz, which no narrow leg could carry, from one session through another.
#[test]
fn what_lies_above_the_telephones_band_arrives() {
    let start = start();
    let (mut speaker, mut listener) = (session(start, Codec::G722), session(start, Codec::G722));
    speaker.playout().push(SEGMENT, WIDE, &tone(5_500.0, 16_000, 16_000)).unwrap();

    let heard = carry(start, &mut speaker, &mut listener, 50);

    assert_eq!(heard.len(), 16_000, "a second");
    assert!(level(&heard[4_000..]) > 0.8 * 8_000.0 / 2.0_f64.sqrt(), "{}", level(&heard[4_000..]));
}

/// RFC 3551 §4.5.2: the clock is 8,000 Hz although there are 16,000 samples.
#[test]
fn packets_of_g722_have_160_bytes_and_160_ticks() {
    let start = start();
    let mut speaker = session(start, Codec::G722);

    let sent = beats(&mut speaker, start, 3);

    let packets: Vec<_> =
        sent.iter().map(|sent| RtpPacket::parse(&sent.as_ref().unwrap().0).unwrap()).collect();
    let steps: Vec<_> =
        packets.windows(2).map(|pair| pair[1].timestamp().wrapping_sub(pair[0].timestamp())).collect();
    assert_eq!(steps, [160, 160]);
    assert!(packets.iter().all(|packet| packet.payload_type() == 9 && packet.payload_len() == 160));
}

#[test]
fn media_time_counts_eighths_of_a_millisecond_whatever_the_rate() {
    let start = start();
    let (mut speaker, mut listener) = (session(start, Codec::G722), session(start, Codec::G722));
    let mut times = Vec::new();

    for (at, packet) in (0..).zip(beats(&mut speaker, start, 3)) {
        let now = start + ms(20 * at);
        listener.handle_rtp(now, peer(), &packet.unwrap().0).unwrap();
        times.extend(listener.next_frame(now).map(|frame| (frame.media_time, frame.payload.len())));
    }

    assert_eq!(times, [(0, 640), (160, 640), (320, 640)]);
}

/// A transfer to a narrow telephone and back: what the engine has said before is played on, as long as it was.
#[test]
fn audio_that_waits_survives_a_change_of_bandwidth_and_keeps_its_length() {
    for (first, second) in [(Codec::Pcmu, Codec::G722), (Codec::G722, Codec::Pcma)] {
        let start = start();
        let mut speaker = session(start, first);
        speaker.playout().push(SEGMENT, NARROW, &tone(440.0, 8_000, 8_000)).unwrap();
        beats(&mut speaker, start, 10);

        speaker.renegotiate(start, &Negotiated::plain(peer(), second));
        assert_eq!(speaker.playout().buffered_ms(), 800);
        let mut listener = session(start, second);
        let heard = carry(start + ms(200), &mut speaker, &mut listener, 41);

        assert_eq!(speaker.playout().played_ms(SEGMENT), 1_000, "{first:?} to {second:?}");
        let rate = second.format().rate().hertz() as usize;
        let sounding = &heard[rate / 10..rate * 7 / 10];
        assert!((level(sounding) - 8_000.0 / 2.0_f64.sqrt()).abs() < 400.0, "{}", level(sounding));
    }
}

/// RFC 3264 §6.1 lets a peer switch between all that both named.
#[test]
fn a_peer_that_falls_back_to_g711_is_heard_as_wide_as_before() {
    let start = start();
    let agreed = Negotiated {
        alternate: Some(media::Alternate { codec: Codec::Pcmu, payload_type: 0 }),
        ..Negotiated::plain(peer(), Codec::G722)
    };
    let mut listener = Session::new(start, &agreed, SessionConfig::from_seed(1));
    let mut speaker = session(start, Codec::Pcmu);
    speaker.playout().push(SEGMENT, NARROW, &tone(440.0, 8_000, 8_000)).unwrap();

    let heard = carry(start, &mut speaker, &mut listener, 50);

    assert_eq!(heard.len(), 16_000);
    assert!((level(&heard[4_000..]) - 8_000.0 / 2.0_f64.sqrt()).abs() < 400.0);
}

/// Chunks of any size, at the rate of a model, add up to the same time.
#[test]
fn a_models_24_khz_in_odd_chunks_lasts_as_long_as_it_should() {
    let start = start();
    for codec in Codec::ALL {
        let mut speaker = session(start, codec);
        let said = tone(440.0, 24_000, 24_000);
        for chunk in said.chunks(333) {
            let format = AudioFormat::L16 { rate: SampleRate::Hz24000 };
            speaker.playout().push(SEGMENT, format, chunk).unwrap();
        }

        assert!((999..=1_000).contains(&speaker.playout().buffered_ms()), "{codec:?}");
        let heard = carry(start, &mut speaker, &mut session(start, codec), 50);
        let expected = 8_000.0 / 2.0_f64.sqrt();
        assert!((level(&heard[heard.len() / 4..]) - expected).abs() < 400.0, "{codec:?} {}", level(&heard));
    }
}

/// The peer's order decides among what is as wide as our first codec; the rest is for those who have nothing else.
#[test]
fn whether_our_first_codec_is_wide_decides_what_an_offer_comes_to() {
    let (narrow_first, wide_first) = ([Codec::Pcmu, Codec::G722], [Codec::G722, Codec::Pcmu]);
    let cases = [
        (&narrow_first[..], "9 8 0", Codec::Pcmu),
        (&narrow_first[..], "9", Codec::G722),
        (&wide_first[..], "0 9", Codec::G722),
        (&wide_first[..], "0", Codec::Pcmu),
    ];
    for (ours, theirs, expected) in cases {
        let local = local(ours);
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {theirs}\r\n"
        );

        let (agreed, answer) = Negotiator::new(local, 1).handle_offer(offer.as_bytes()).unwrap();

        assert_eq!(agreed.codec, expected, "{ours:?} and {theirs}");
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        assert_eq!(answer.contains("a=rtpmap:9 G722/8000"), expected == Codec::G722, "{answer}");
    }
}

/// RFC 7587 §4.1: the clock is 48,000 Hz whatever is in the packets.
#[test]
fn opus_carries_wide_speech_under_a_clock_of_48_khz() {
    let start = start();
    let (mut speaker, mut listener) = (session(start, Codec::Opus), session(start, Codec::Opus));
    speaker.playout().push(SEGMENT, WIDE, &tone(1_000.0, 16_000, 16_000)).unwrap();

    let sent = beats(&mut speaker, start, 50);

    let packets: Vec<_> =
        sent.iter().map(|sent| RtpPacket::parse(&sent.as_ref().unwrap().0).unwrap()).collect();
    let steps = packets.windows(2).map(|pair| pair[1].timestamp().wrapping_sub(pair[0].timestamp()));
    assert!(steps.clone().all(|step| step == 960), "{:?}", steps.collect::<Vec<_>>());
    assert!(packets.iter().all(|packet| (1..=160).contains(&packet.payload_len())));
    let (mut heard, mut times) = (Vec::new(), Vec::new());
    for (at, packet) in (0..).zip(&sent) {
        let now = start + ms(20 * at);
        listener.handle_rtp(now, peer(), &packet.as_ref().unwrap().0).unwrap();
        while let Some(frame) = listener.next_frame(now) {
            times.push(frame.media_time);
            heard.extend(frame.payload.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        }
    }
    assert_eq!(times, (0..50).map(|beat| 160 * beat).collect::<Vec<u32>>());
    assert!((level(&heard[4_000..]) - 8_000.0 / 2.0_f64.sqrt()).abs() < 800.0, "{}", level(&heard[4_000..]));
    assert!(listener.statistics(start + ms(1_000)).jitter_ms < 1.0);
}

/// Both ends of a session agree on Opus, its events and their clock; a key lasts as long as it was pressed.
#[test]
fn keys_beside_opus_have_its_clock_or_the_old_one() {
    let theirs = |events: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 97 98\r\n\
             a=rtpmap:96 opus/48000/2\r\n{events}"
        )
    };
    let cases = [
        ("a=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000\r\n", 98, 48_000),
        ("a=rtpmap:97 telephone-event/8000\r\n", 97, 8_000),
    ];
    for (events, number, clock) in cases {
        let local = local(&[Codec::Pcmu, Codec::Opus]);
        let (agreed, answer) = Negotiator::new(local, 1).handle_offer(theirs(events).as_bytes()).unwrap();

        assert_eq!((agreed.codec, agreed.payload_type), (Codec::Opus, 96));
        assert_eq!((agreed.telephone_event, agreed.event_clock), (Some(number), clock));
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        assert!(answer.contains("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1"), "{answer}");
        assert!(answer.contains(&format!("a=rtpmap:{number} telephone-event/{clock}\r\n")), "{answer}");

        let start = start();
        let mut speaker = Session::new(start, &agreed, SessionConfig::from_seed(1));
        let mut listener = Session::new(start, &agreed, SessionConfig::from_seed(2));
        speaker.send_dtmf(media::Digit::try_from('7').unwrap(), ms(200)).unwrap();
        for (at, packet) in (0..).zip(beats(&mut speaker, start, 20)) {
            let now = start + ms(20 * at);
            listener.handle_rtp(now, peer(), &packet.unwrap().0).unwrap();
            while listener.next_frame(now).is_some() {}
        }
        let digit = listener.next_dtmf().unwrap();
        assert_eq!((digit.digit.as_char(), digit.duration_ms), ('7', 200), "at {clock} Hz");
        assert_eq!(listener.next_dtmf(), None);
    }
}

#[test]
fn an_offer_with_opus_names_events_of_both_clocks_and_one_without_does_not() {
    for (codecs, wide) in [(&[Codec::Pcmu, Codec::Opus][..], true), (&[Codec::Pcmu, Codec::G722][..], false)]
    {
        let offer = Negotiator::new(local(codecs), 1).offer(media::Direction::SendRecv);

        let offer = String::from_utf8(offer.to_vec()).unwrap();
        assert!(offer.contains("a=rtpmap:101 telephone-event/8000\r\n"), "{offer}");
        assert_eq!(offer.contains("a=rtpmap:110 telephone-event/48000\r\n"), wide, "{offer}");
        assert_eq!(offer.contains("a=rtpmap:111 opus/48000/2\r\n"), wide, "{offer}");
    }
}

/// A peer whose events have our number of Opus, or of the other events, is offered again without two things under one number.
#[test]
fn no_two_things_of_an_offer_have_one_number() {
    for theirs in [111, 110, 101, 96] {
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 {theirs}\r\n\
             a=rtpmap:{theirs} telephone-event/8000\r\n"
        );
        let mut negotiator = Negotiator::new(local(&[Codec::Pcmu, Codec::Opus]), 1);
        negotiator.handle_offer(offer.as_bytes()).unwrap();

        let again = String::from_utf8(negotiator.offer(media::Direction::SendRecv).to_vec()).unwrap();

        let line = again.lines().find(|line| line.starts_with("m=audio")).unwrap();
        let mut numbers: Vec<&str> = line.split(' ').skip(3).collect();
        assert_eq!(numbers.len(), 4, "{again}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4, "{again}");
    }
}

#[test]
fn an_opus_packet_of_no_length_is_counted_and_nothing_of_it_goes_up() {
    let start = start();
    let mut listener = session(start, Codec::Opus);
    // Frames of 60 ms, three of them and more than fit (RFC 6716 §3.2.5: at most 120 ms).
    let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    packet.extend_from_slice(&[0x1B, 0x03, 1, 2, 3]);

    assert_eq!(listener.handle_rtp(start, peer(), &packet), Err(media::Discard::Malformed));
    assert_eq!(listener.next_frame(start), None);
}

fn local(codecs: &[Codec]) -> LocalMedia {
    LocalMedia {
        address: "192.0.2.9".parse().unwrap(),
        port: 4_000,
        codecs: codecs.to_vec(),
        telephone_event: true,
        ptime_ms: 20,
    }
}

/// What a listener hears of so many beats, as linear samples.
fn carry(start: Instant, speaker: &mut Session, listener: &mut Session, count: u64) -> Vec<i16> {
    let format = listener.format();
    let mut heard = Vec::new();
    for (at, packet) in (0..).zip(beats(speaker, start, count)) {
        let now = start + ms(20 * at);
        listener.handle_rtp(now, peer(), &packet.unwrap().0).unwrap();
        while let Some(frame) = listener.next_frame(now) {
            let mut linear = vec![0; 2 * frame.payload.len()];
            let length = format.convert(AudioFormat::L16 { rate: format.rate() }, frame.payload, &mut linear);
            heard.extend(linear[..length].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        }
    }
    heard
}

fn tone(hertz: f64, rate: u32, samples: u32) -> Vec<u8> {
    let sample = |at: u32| ((f64::from(at) * TAU * hertz / f64::from(rate)).sin() * 8_000.0).round() as i16;
    (0..samples).flat_map(|at| sample(at).to_le_bytes()).collect()
}

fn level(samples: &[i16]) -> f64 {
    let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (power / samples.len() as f64).sqrt()
}

fn session(now: Instant, codec: Codec) -> Session {
    Session::new(now, &Negotiated::plain(peer(), codec), SessionConfig::from_seed(1))
}

fn peer() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}
