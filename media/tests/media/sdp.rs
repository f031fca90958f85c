//! Offer and answer as two user agents meet them: RFC 3264 and the habits of real ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::support;
use media::{
    AddressFault, Alternate, Codec, Direction, LocalMedia, Negotiated, Negotiator, SdpError, Transport,
};
use proptest::prelude::*;

#[test]
fn an_offer_is_answered_with_its_first_codec_and_its_numbers() {
    let mut us = negotiator();

    let (agreed, answer) = us
        .handle_offer(&offer(
            "m=audio 4000 RTP/AVP 18 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-16\r\na=ptime:30\r\n",
        ))
        .unwrap();

    assert_eq!(agreed, Negotiated { telephone_event: Some(96), ptime_ms: 30, ..plain(Codec::Pcma) });
    assert_eq!(
        text(&answer),
        "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 30000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
         a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

/// RFC 5761 §5.1.1.
#[test]
fn rtcp_shares_the_port_of_rtp_where_both_sides_say_so() {
    let with = |attributes: &str| offer(&audio(attributes));
    for (offered, says) in [("a=rtcp-mux\r\n", true), ("", false)] {
        let (agreed, answer) = negotiator().handle_offer(&with(offered)).unwrap();

        assert_eq!((agreed.rtcp_mux, text(&answer).contains("a=rtcp-mux\r\n")), (says, says));
    }
    for (wants, answered, shared) in
        [(true, "a=rtcp-mux\r\n", true), (true, "", false), (false, "a=rtcp-mux\r\n", false)]
    {
        let mut us = negotiator();
        if wants {
            us.want_mux();
        }

        let offer = us.offer(Direction::SendRecv);
        let agreed = us.handle_answer(&with(answered)).unwrap();

        assert_eq!(text(&offer).contains("a=rtcp-mux\r\n"), wants);
        assert_eq!(agreed.rtcp_mux, shared, "wanted: {wants}, answered: {answered}");
    }
}

#[test]
fn an_offer_of_ours_repeats_the_shared_port_that_the_peer_asked_for() {
    let mut us = negotiator();
    us.handle_offer(&offer(&audio("a=rtcp-mux\r\n"))).unwrap();

    assert!(text(&us.offer(Direction::SendRecv)).contains("a=rtcp-mux\r\n"));
}

/// RFC 3264 §6.1, and our own wish: nobody sends what the other does not take.
#[test]
fn every_pair_of_offered_and_wanted_direction_meets_in_what_both_allow() {
    for offered in Direction::ALL {
        for wanted in Direction::ALL {
            let mut us = negotiator();
            us.want(wanted);

            let (agreed, answer) = us.handle_offer(&offer(&audio(&attribute(offered)))).unwrap();

            let sends = offered.receives() && wanted.sends();
            let receives = offered.sends() && wanted.receives();
            assert_eq!((agreed.direction.sends(), agreed.direction.receives()), (sends, receives));
            assert!(text(&answer).ends_with(&attribute(agreed.direction)), "{offered:?} {wanted:?}");
        }
    }
}

#[test]
fn every_pair_of_offered_and_answered_direction_meets_in_what_both_allow() {
    for offered in Direction::ALL {
        for answered in Direction::ALL {
            let mut us = negotiator();
            us.offer(offered);

            let agreed = us.handle_answer(&offer(&audio(&attribute(answered)))).unwrap();

            let sends = offered.sends() && answered.receives();
            let receives = offered.receives() && answered.sends();
            assert_eq!((agreed.direction.sends(), agreed.direction.receives()), (sends, receives));
        }
    }
}

#[test]
fn a_direction_of_the_session_holds_unless_its_line_says_otherwise() {
    let session = |line: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\na=SendOnly\r\n{}",
            audio(line)
        )
    };

    let inherited = negotiator().handle_offer(session("").as_bytes()).unwrap().0;
    let own = negotiator().handle_offer(session("a=inactive\r\n").as_bytes()).unwrap().0;

    assert_eq!((inherited.direction, own.direction), (Direction::RecvOnly, Direction::Inactive));
}

/// RFC 3264 §8.4: the hold of RFC 2543.
#[test]
fn an_address_of_zeros_is_a_hold() {
    let held = "v=0\r\no=- 1 2 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    let (agreed, answer) = negotiator().handle_offer(held.as_bytes()).unwrap();

    assert_eq!(agreed.direction, Direction::RecvOnly);
    assert!(text(&answer).ends_with("a=recvonly\r\n"));
}

#[test]
fn hold_and_resume_by_the_peer_end_where_they_began() {
    let mut us = negotiator();
    let (before, first) = us.handle_offer(&offer(&audio("a=sendrecv\r\n"))).unwrap();

    let (held, _) = us.handle_offer(&offer(&audio("a=sendonly\r\n"))).unwrap();
    let (resumed, last) = us.handle_offer(&offer(&audio("a=sendrecv\r\n"))).unwrap();

    assert_eq!(held.direction, Direction::RecvOnly);
    assert_eq!(resumed, before);
    assert_eq!((version(&first), version(&last)), (1, 3));
}

#[test]
fn while_we_hold_the_peer_its_refresh_does_not_resume() {
    let mut us = negotiator();
    us.handle_offer(&offer(&audio(""))).unwrap();
    us.want(Direction::SendOnly);

    let (agreed, answer) = us.handle_offer(&offer(&audio("a=sendrecv\r\n"))).unwrap();

    assert_eq!(agreed.direction, Direction::SendOnly);
    assert!(text(&answer).ends_with("a=sendonly\r\n"));
}

/// RFC 3264 §8.
#[test]
fn the_version_rises_only_when_the_description_changes() {
    let mut us = negotiator();

    let versions = [Direction::SendRecv, Direction::SendRecv, Direction::SendOnly, Direction::SendOnly]
        .map(|direction| version(&us.offer(direction)));

    assert_eq!(versions, [1, 1, 2, 2]);
}

#[test]
fn a_refused_offer_leaves_what_was_wanted_before_and_never_takes_its_version_back() {
    let mut us = negotiator();
    us.handle_offer(&offer(&audio(""))).unwrap();
    let refused = us.offer(Direction::SendOnly);
    us.rollback();

    let (agreed, answer) = us.handle_offer(&offer(&audio(""))).unwrap();

    assert_eq!(agreed.direction, Direction::SendRecv);
    assert_eq!((version(&refused), version(&answer)), (2, 3));
    assert_eq!(us.handle_answer(&offer(&audio(""))), Err(SdpError::NoOffer));
}

#[test]
fn a_peer_that_changes_address_and_codec_is_followed() {
    let mut us = negotiator();
    us.handle_offer(&offer(&audio(""))).unwrap();
    let moved = "v=0\r\no=- 1 2 IN IP4 198.51.100.9\r\ns=-\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\nc=IN IP4 203.0.113.5\r\n";

    let (agreed, answer) = us.handle_offer(moved.as_bytes()).unwrap();

    assert_eq!(agreed.rtp, address("203.0.113.5:5000"));
    assert_eq!(agreed.codec, Codec::Pcma);
    assert_eq!(agreed.telephone_event, None);
    assert!(text(&answer).contains("m=audio 30000 RTP/AVP 8\r\n"));
}

/// RFC 3264 §6: as many lines in the answer, in the same order.
#[test]
fn every_line_is_answered_in_its_place() {
    let (agreed, answer) = negotiator()
        .handle_offer(&offer(
            "m=video 6000 RTP/AVP 31 34\r\na=sendonly\r\nm=audio 4002 RTP/SAVP 0\r\nm=audio 4000 RTP/AVP 0\r\n\
             m=audio 4004 RTP/AVP 8\r\nm=image 7000 udptl t38\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        ))
        .unwrap();

    assert_eq!(agreed.rtp.port(), 4000);
    let lines: Vec<_> =
        text(&answer).lines().filter(|line| line.starts_with("m=")).map(String::from).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 31 34",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 30000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8",
            "m=image 0 udptl t38",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
        ]
    );
}

#[test]
fn our_own_offer_later_keeps_the_lines_the_peer_began_with() {
    let mut us = negotiator();
    us.handle_offer(&offer(
        "m=video 6000 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n",
    ))
    .unwrap();

    let hold = us.offer(Direction::SendOnly);
    let agreed = us
        .handle_answer(&offer("m=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=recvonly\r\n"))
        .unwrap();

    assert!(
        text(&hold).contains("m=video 0 RTP/AVP 31\r\nm=audio 30000 RTP/AVP 8 0 96\r\n"),
        "{}",
        text(&hold)
    );
    assert_eq!(
        agreed,
        Negotiated { direction: Direction::SendOnly, telephone_event: Some(96), ..plain(Codec::Pcma) }
    );
}

#[test]
fn an_answer_may_give_telephone_events_another_number_and_keep_two_codecs() {
    let mut us = negotiator();
    us.offer(Direction::SendRecv);

    let agreed = us
        .handle_answer(&offer("m=audio 4000 RTP/AVP 8 0 97\r\na=rtpmap:97 TELEPHONE-EVENT/8000\r\n"))
        .unwrap();

    assert_eq!((agreed.telephone_event, agreed.telephone_event_in), (Some(97), Some(101)));
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcma, 8));
    assert_eq!(agreed.alternate, Some(Alternate { codec: Codec::Pcmu, payload_type: 0 }));
}

#[test]
fn the_answer_of_the_200_replaces_the_one_of_the_183() {
    let mut us = negotiator();
    us.offer(Direction::SendRecv);
    us.handle_answer(&offer("m=audio 4000 RTP/AVP 0\r\n")).unwrap();

    let agreed = us.handle_answer(&offer("m=audio 5000 RTP/AVP 8\r\n")).unwrap();

    assert_eq!((agreed.rtp.port(), agreed.codec), (5000, Codec::Pcma));
}

#[test]
fn a_description_that_goes_out_once_more_takes_a_new_answer_whoever_offered_before() {
    let moved = String::from_utf8(offer(&audio(""))).unwrap().replace("198.51.100.9", "198.51.100.10");
    let mut offered = negotiator();
    offered.offer(Direction::SendRecv);
    offered.handle_answer(&offer(&audio(""))).unwrap();
    let mut answered = negotiator();
    let (before, _) = answered.handle_offer(&offer(&audio(""))).unwrap();

    for us in [&mut offered, &mut answered] {
        let now = us.handle_repeated(moved.as_bytes()).unwrap();

        assert_eq!((now.direction, now.codec), (before.direction, before.codec));
        assert_ne!(now.rtp, before.rtp);
        assert!(us.handle_repeated(b"v=9").is_err());
        assert!(us.handle_repeated(moved.as_bytes()).is_ok());
        us.offer(Direction::SendRecv);
        assert_eq!(us.handle_repeated(moved.as_bytes()), Err(SdpError::OfferPending));
    }
}

#[test]
fn names_in_any_case_under_dynamic_numbers_are_understood() {
    let (agreed, answer) = negotiator()
        .handle_offer(&offer(
            "m=Audio 4000 rtp/avp 111 97\r\na=rtpmap:111 opus/48000/2\r\na=RTPMAP:97 pcmu/8000/1\r\n",
        ))
        .unwrap();

    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcmu, 97));
    assert!(text(&answer).contains("a=rtpmap:97 PCMU/8000\r\n"));
}

#[test]
fn a_static_number_means_what_its_map_says() {
    let remapped = offer("m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 G729/8000\r\n");

    assert_eq!(negotiator().handle_offer(&remapped).unwrap().0.codec, Codec::Pcma);
}

#[test]
fn telephone_events_are_taken_with_and_without_their_range_but_need_our_clock_and_a_digit() {
    let agreed = |lines: &str| {
        let offer = offer(&format!("m=audio 4000 RTP/AVP 0 96 97\r\n{lines}"));
        negotiator().handle_offer(&offer).unwrap().0.telephone_event
    };

    assert_eq!(agreed("a=rtpmap:96 telephone-event/8000\r\n"), Some(96));
    assert_eq!(agreed("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\n"), Some(96));
    assert_eq!(agreed("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-11,16\r\n"), Some(96));
    assert_eq!(agreed("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 32-36,66\r\n"), None);
    assert_eq!(agreed("a=rtpmap:96 telephone-event/48000\r\na=rtpmap:97 telephone-event/8000\r\n"), Some(97));
    assert_eq!(agreed(""), None);
}

#[test]
fn rtcp_goes_where_the_peer_says_else_to_the_next_port() {
    let rtcp = |port: u16, line: &str| {
        let offer = offer(&format!("m=audio {port} RTP/AVP 0\r\n{line}"));
        negotiator().handle_offer(&offer).unwrap().0.rtcp
    };

    assert_eq!(rtcp(4000, ""), address("198.51.100.9:4001"));
    assert_eq!(rtcp(4000, "a=rtcp:53020\r\n"), address("198.51.100.9:53020"));
    assert_eq!(rtcp(4000, "a=rtcp:53020 IN IP4 203.0.113.7\r\n"), address("203.0.113.7:53020"));
    assert_eq!(rtcp(4000, "a=rtcp:lots\r\n"), address("198.51.100.9:4001"));
    assert_eq!(rtcp(65_535, ""), address("198.51.100.9:0"));
}

#[test]
fn ipv6_is_spoken_on_both_sides() {
    let mut us = Negotiator::new(LocalMedia { address: "2001:db8::1".parse().unwrap(), ..local() }, 7);
    let offer = "v=0\r\no=- 1 1 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    let (agreed, answer) = us.handle_offer(offer.as_bytes()).unwrap();

    assert_eq!(agreed.rtp, address("[2001:db8::9]:4000"));
    assert!(text(&answer).contains("c=IN IP6 2001:db8::1\r\n"));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_reason_and_its_warning() {
    let cases: &[(&str, SdpError, u16)] = &[
        ("", SdpError::NoAudio, 304),
        ("m=video 4000 RTP/AVP 31\r\n", SdpError::NoAudio, 304),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::NoAudio, 304),
        ("m=audio 4000 RTP/AVP 18 3\r\n", SdpError::NoCommonCodec, 305),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMU/16000\r\n", SdpError::NoCommonCodec, 305),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMU/8000/2\r\n", SdpError::NoCommonCodec, 305),
        ("m=audio 4000 RTP/SAVP 0\r\n", SdpError::Transport(Transport::Srtp), 302),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", SdpError::Transport(Transport::DtlsSrtp), 302),
        ("m=audio 4000 TCP/RTP/AVP 0\r\n", SdpError::Transport(Transport::Unknown), 302),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 pc33.example.com\r\n",
            SdpError::Address(AddressFault::NotAnIpAddress),
            300,
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.17.12/127\r\n",
            SdpError::Address(AddressFault::Multicast),
            330,
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::9\r\n",
            SdpError::Address(AddressFault::OtherFamily),
            301,
        ),
        ("m=audio 70000 RTP/AVP 0\r\n", SdpError::Malformed { line: 6 }, 399),
        ("m=audio\r\n", SdpError::Malformed { line: 6 }, 399),
        ("nonsense\r\n", SdpError::Malformed { line: 6 }, 399),
    ];
    for (lines, error, code) in cases {
        let mut us = negotiator();

        assert_eq!(us.handle_offer(&offer(lines)).unwrap_err(), *error, "{lines}");

        assert_eq!(error.warning_code(), *code, "{lines}");
        assert!(us.handle_offer(&offer(&audio(""))).is_ok(), "a refused offer must leave no trace");
    }
}

#[test]
fn a_description_without_any_address_is_refused() {
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    assert_eq!(
        negotiator().handle_offer(sdp.as_bytes()).unwrap_err(),
        SdpError::Address(AddressFault::Missing)
    );
}

#[test]
fn answers_that_do_not_fit_the_offer_are_refused_and_the_offer_still_waits() {
    let mut us = negotiator();
    assert_eq!(us.handle_answer(&offer(&audio(""))), Err(SdpError::NoOffer));
    us.offer(Direction::SendRecv);

    assert_eq!(us.handle_answer(&offer("")), Err(SdpError::LineCount { expected: 1, found: 0 }));
    assert_eq!(us.handle_answer(&offer("m=audio 0 RTP/AVP 0\r\n")), Err(SdpError::Refused));
    assert_eq!(us.handle_answer(&offer("m=audio 4000 RTP/AVP 18\r\n")), Err(SdpError::NoCommonCodec));
    assert_eq!(us.handle_offer(&offer(&audio(""))).unwrap_err(), SdpError::OfferPending);

    assert!(us.handle_answer(&offer(&audio(""))).is_ok());
}

#[test]
fn odd_but_harmless_descriptions_are_understood() {
    let bare_line_feeds =
        "v=0\no=- 1 1 IN IP4 198.51.100.9\ns=-\nc=IN IP4 198.51.100.9\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
    let latin_1: &[u8] = b"v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=Gespr\xE4ch\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let c_string = [offer(&audio("")), vec![0]].concat();
    let only_the_needed = "v=0\r\nc=IN IP4 198.51.100.9\r\nm=audio 4000 RTP/AVP 0\r\n";
    for sdp in [bare_line_feeds.as_bytes(), latin_1, &c_string, only_the_needed.as_bytes()] {
        let agreed = negotiator().handle_offer(sdp).map(|(agreed, _)| agreed.rtp);

        assert_eq!(agreed, Ok(address("198.51.100.9:4000")), "{}", String::from_utf8_lossy(sdp));
    }
}

#[test]
fn huge_descriptions_are_refused_and_cost_nothing_much() {
    let too_long = offer(&"a=x\r\n".repeat(20_000));
    let too_many = offer(&"m=audio 4000 RTP/AVP 0\r\n".repeat(33));
    let many_formats = offer(&format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(25_000)));

    assert_eq!(negotiator().handle_offer(&too_long).unwrap_err(), SdpError::TooLong { limit: 65_536 });
    assert_eq!(negotiator().handle_offer(&too_many).unwrap_err(), SdpError::TooManyMedia { limit: 32 });
    assert!(negotiator().handle_offer(&many_formats).is_ok());
}

/// Bodies of real stacks, and of fuzzers: none may panic, and what is answered must read back.
#[test]
fn real_and_hostile_bodies_are_answered_or_refused() {
    let mut answered = 0;
    let mut refused = std::collections::BTreeMap::new();
    for folder in ["sdp-real", "fuzz-seeds/pjproject/sdp", "fuzz-seeds/pjproject/sip", "cve-shaped"] {
        let Some(folder) = support::fixture(folder) else { continue };
        for file in support::files(&folder) {
            let body = std::fs::read(&file).unwrap();
            negotiator().offer(Direction::SendRecv);
            let mut caller = negotiator();
            caller.offer(Direction::SendRecv);
            let _ = caller.handle_answer(&body);
            match negotiator().handle_offer(&body) {
                Ok((_, answer)) => {
                    answered += 1;
                    let lines = |text: &[u8]| {
                        text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"m=")).count()
                    };
                    assert_eq!(lines(&body), lines(&answer), "{}", file.display());
                    sdp_types::Session::parse(&answer).unwrap();
                }
                Err(error) => *refused.entry(error.to_string()).or_insert(0) += 1,
            }
        }
    }
    println!("answered {answered}, refused {refused:#?}");
}

proptest! {
    #![proptest_config(support::config())]

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = negotiator().handle_offer(&body);
    }

    #[test]
    fn no_mutilated_description_panics(at in 0_usize..300, byte: u8, cut in 0_usize..300) {
        let mut body = offer("m=audio 4000 RTP/AVP 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=rtcp:4001 IN IP4 198.51.100.9\r\na=sendrecv\r\n");
        let length = body.len();
        body[at % length] = byte;
        body.truncate(cut.max(1));
        let mut us = negotiator();
        let _ = us.handle_offer(&body);
        us.offer(Direction::SendRecv);
        let _ = us.handle_answer(&body);
    }

    /// Two of us always understand each other, and never both send into the void.
    #[test]
    fn two_of_us_agree_on_the_same(
        caller_first: bool,
        callee_codecs in prop::sample::subsequence(Codec::ALL.to_vec(), 1..=3),
        offered in prop::sample::select(Direction::ALL.to_vec()),
        wanted in prop::sample::select(Direction::ALL.to_vec()),
        events: (bool, bool),
    ) {
        let mut codecs = Codec::ALL.to_vec();
        if caller_first { codecs.reverse(); }
        let mut caller = Negotiator::new(LocalMedia { codecs, telephone_event: events.0, ..local() }, 1);
        let mut callee = Negotiator::new(LocalMedia { codecs: callee_codecs, telephone_event: events.1, ..local() }, 2);
        callee.want(wanted);

        for _ in 0..2 {
            let offer = caller.offer(offered);
            let (theirs, answer) = callee.handle_offer(&offer).unwrap();
            let ours = caller.handle_answer(&answer).unwrap();

            prop_assert_eq!(ours.direction.reversed(), theirs.direction);
            prop_assert_eq!((ours.codec, ours.payload_type), (theirs.codec, theirs.payload_type));
            prop_assert_eq!(ours.telephone_event, theirs.telephone_event);
            prop_assert_eq!(ours.telephone_event.is_some(), events.0 && events.1);
        }
    }
}

fn local() -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 30_000,
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        telephone_event: true,
        ptime_ms: 20,
    }
}

fn negotiator() -> Negotiator {
    Negotiator::new(local(), 7)
}

fn offer(lines: &str) -> Vec<u8> {
    let session = "v=0\r\no=alice 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n";
    format!("{session}{lines}").into_bytes()
}

fn audio(attributes: &str) -> String {
    format!("m=audio 4000 RTP/AVP 0\r\n{attributes}")
}

fn attribute(direction: Direction) -> String {
    format!("a={}\r\n", direction.attribute())
}

fn plain(codec: Codec) -> Negotiated {
    Negotiated { telephone_event: None, ..Negotiated::plain(address("198.51.100.9:4000"), codec) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

fn version(body: &[u8]) -> u64 {
    text(body).split(' ').nth(2).unwrap().parse().unwrap()
}
