//! Every message of AudioHook, both ways, in its exact form.

use super::*;

const ID: &str = "e160e428-53e2-487c-977d-96989bf5c99d";
const STEREO: &str = r#"{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}"#;
const EXTERNAL: &str = r#"{"type":"audio","format":"PCMU","channels":["external"],"rate":8000}"#;
const L16: &str = r#"{"type":"audio","format":"L16","channels":["external","internal"],"rate":8000}"#;

/// A platform's end and ours.
struct Talk {
    hook: AudioHook,
    now: Instant,
    seq: u64,
    out: Outgoing,
}

impl Talk {
    fn new() -> Self {
        let now = now();
        Self { hook: AudioHook::new(now, ID.to_owned()), now, seq: 0, out: Outgoing::default() }
    }

    fn opened(media: &str) -> Self {
        let mut talk = Self::new();
        talk.open("c1", media).unwrap();
        talk.hook.take(&mut talk.out);
        talk.said();
        talk
    }

    fn open(&mut self, conversation: &str, media: &str) -> Result<HookSaid, HookFault> {
        let participant = r#"{"id":"p1","ani":"+15550100","aniName":"Sam","dnis":"+15550199"}"#;
        let variables = r#"{"intent":"refund","order":"A-7","contact_id":"ctc_1"}"#;
        self.tell(
            "open",
            &format!(
                r#"{{"organizationId":"org","conversationId":"{conversation}","participant":{participant},"media":[{media}],"language":"en-US","continuedSessions":[{{"id":"before","serverseq":4,"clientseq":9}}],"inputVariables":{variables}}}"#
            ),
        )
    }

    fn tell(&mut self, kind: &str, parameters: &str) -> Result<HookSaid, HookFault> {
        self.seq += 1;
        let (seq, said) = (self.seq, self.hook.said);
        self.text(&format!(
            r#"{{"version":"2","id":"{ID}","type":"{kind}","seq":{seq},"serverseq":{said},"position":"PT0S","parameters":{parameters}}}"#
        ))
    }

    fn text(&mut self, text: &str) -> Result<HookSaid, HookFault> {
        self.hook.understand(self.now, Incoming::Text(text), &mut self.out)
    }

    fn audio(&mut self, audio: &[u8]) -> Result<HookSaid, HookFault> {
        self.hook.understand(self.now, Incoming::Binary(audio), &mut self.out)
    }

    fn said(&mut self) -> Vec<String> {
        let pop = || self.out.pop().map(|(_, message)| String::from_utf8_lossy(&message).into_owned());
        std::iter::from_fn(pop).collect()
    }
}

fn ours(seq: u64, clientseq: u64, kind: &str, parameters: &str) -> String {
    format!(
        r#"{{"version":"2","id":"{ID}","type":"{kind}","seq":{seq},"clientseq":{clientseq},"parameters":{parameters}}}"#
    )
}

#[test]
fn a_session_is_opened_with_the_one_media_that_is_best() {
    let mut talk = Talk::new();

    let said = talk.open("c1", &format!("{L16},{EXTERNAL},{STEREO}"));
    let before = talk.said();
    talk.hook.take(&mut talk.out);

    let Ok(HookSaid::Open(open)) = said else { panic!("{said:?}") };
    assert_eq!((open.organization.as_str(), open.conversation.as_str()), ("org", "c1"));
    assert_eq!((open.from.as_str(), open.name.as_str(), open.to.as_str()), ("+15550100", "Sam", "+15550199"));
    assert_eq!(
        (open.language.as_deref(), open.channels),
        (Some("en-US"), HookChannels::Both { external: 0 })
    );
    assert_eq!(open.continued, ["before"]);
    assert_eq!(open.context.intent.as_deref(), Some("refund"));
    assert_eq!(open.context.contact_id.as_deref(), Some("ctc_1"));
    assert_eq!(Value::Object(open.context.merge_fields), serde_json::json!({"order": "A-7"}));
    assert!(before.is_empty(), "nothing is promised before the call is taken");
    assert_eq!(talk.said(), [ours(1, 1, "opened", &format!(r#"{{"media":[{STEREO}]}}"#))]);
}

#[test]
fn a_probe_is_answered_at_once_and_is_no_conversation() {
    let mut talk = Talk::new();

    assert_eq!(talk.open(PROBE, STEREO), Ok(HookSaid::Probe));
    let opened = talk.said();
    let closing = talk.tell("close", r#"{"reason":"end"}"#);
    let everything_is_said = talk.hook.leave(HookParting::Completed, "", &Map::new(), &mut talk.out);

    assert_eq!(opened, [ours(1, 1, "opened", &format!(r#"{{"media":[{STEREO}]}}"#))]);
    assert_eq!(closing, Ok(HookSaid::Closing { reason: "end".to_owned() }));
    assert!(everything_is_said);
    assert_eq!(talk.said(), [ours(2, 2, "closed", "{}")]);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_number() {
    for media in [L16, r#"{"type":"audio","format":"PCMU","channels":["internal"],"rate":8000}"#, "1", ""] {
        assert_eq!(Talk::new().open("c1", media), Err(HookFault::Media), "{media}");
    }
    let mut talk = Talk::new();
    let fault = talk.open("c1", L16).unwrap_err();
    talk.hook.fail(&fault, &mut talk.out);

    let info = "415 none of the offered media can be used: PCMU at 8000 Hz, the external channel or both";
    assert_eq!(talk.said(), [ours(1, 1, "disconnect", &format!(r#"{{"reason":"error","info":"{info}"}}"#))]);
}

#[test]
fn two_channels_become_two_tracks_whatever_the_size_of_the_messages() {
    let external: Vec<u8> = (0..1600_u32).map(|at| (at % 251) as u8).collect();
    let mixed: Vec<u8> = external.iter().flat_map(|sample| [*sample, 0xFF]).collect();
    for (media, external_first) in
        [(STEREO, true), (&STEREO.replace(r#""external","internal""#, r#""internal","external""#), false)]
    {
        for size in [1, 7, 319, 320, 321, 3200] {
            let mut talk = Talk::opened(media);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for chunk in mixed.chunks(size) {
                // A session counts in messages of 200 ms; so many small ones need time.
                talk.now += Duration::from_millis(5);
                assert_eq!(talk.audio(chunk), Ok(HookSaid::Audio));
                let mut frames = [[0; HOOK_FRAME]; 2];
                while talk.hook.next_frame(&mut frames) {
                    first.extend_from_slice(&frames[0]);
                    second.extend_from_slice(&frames[1]);
                }
            }
            let (of_caller, of_agent) = if external_first { (first, second) } else { (second, first) };
            assert_eq!(of_caller, external, "in {size} bytes");
            assert!(of_agent.iter().all(|sample| *sample == 0xFF) && of_agent.len() == 1600);
        }
    }
}

#[test]
fn pings_pauses_keys_and_updates_are_answered_and_told() {
    let mut talk = Talk::opened(EXTERNAL);

    assert_eq!(talk.tell("ping", r#"{"rtt":"PT0.043S"}"#), Ok(HookSaid::Nothing));
    assert_eq!(talk.tell("paused", "{}"), Ok(HookSaid::Paused));
    assert_eq!(talk.tell("resumed", r#"{"start":"PT1S","discarded":"PT2.5S"}"#), Ok(HookSaid::Resumed));
    assert_eq!(talk.tell("discarded", r#"{"start":"PT4S","discarded":"PT0.5S"}"#), Ok(HookSaid::Nothing));
    assert_eq!(talk.tell("dtmf", r##"{"digit":"#"}"##), Ok(HookSaid::Digit(Digit::try_from('#').unwrap())));
    assert_eq!(talk.tell("update", r#"{"language":"de"}"#), Ok(HookSaid::Nothing));
    assert_eq!(talk.tell("brand_new", "{}"), Ok(HookSaid::Nothing));
    assert!(talk.tell("dtmf", r#"{"digit":"12"}"#).is_err());

    assert_eq!(talk.hook.round_trip(), Some(Duration::from_millis(43)));
    assert_eq!(
        (talk.hook.take_skipped(), talk.hook.take_skipped()),
        (Duration::from_secs(3), Duration::ZERO)
    );
    assert_eq!(talk.said(), [ours(2, 2, "pong", "{}"), ours(3, 7, "updated", "{}")]);
}

#[test]
fn a_bot_is_heard_in_packets_of_200_ms_and_taken_back_when_the_caller_speaks() {
    let mut talk = Talk::opened(EXTERNAL);
    for _ in 0..25 {
        talk.hook.say(&[7; HOOK_FRAME], &mut talk.out);
    }
    talk.hook.fall_silent(&mut talk.out);
    talk.hook.fall_silent(&mut talk.out);
    let lengths: Vec<usize> = std::iter::from_fn(|| talk.out.pop()).map(|(_, audio)| audio.len()).collect();

    talk.hook.say(&[7; HOOK_FRAME], &mut talk.out);
    talk.hook.barge_in(&mut talk.out);
    talk.hook.barge_in(&mut talk.out);
    talk.hook.fall_silent(&mut talk.out);

    assert_eq!(lengths, [1600, 1600, 800]);
    assert_eq!(talk.said(), [ours(2, 1, "event", r#"{"entities":[{"type":"barge_in","data":{}}]}"#)]);
}

#[test]
fn who_only_listens_never_speaks() {
    let mut talk = Talk::opened(STEREO);

    for _ in 0..20 {
        talk.hook.say(&[7; HOOK_FRAME], &mut talk.out);
    }
    talk.hook.fall_silent(&mut talk.out);
    talk.hook.barge_in(&mut talk.out);

    assert!(talk.said().is_empty());
}

#[test]
fn both_sides_may_end_it_and_the_flow_learns_what_came_of_it() {
    let variables = Map::from_iter([("disposition".to_owned(), Value::from("sold"))]);

    let mut talk = Talk::opened(EXTERNAL);
    talk.tell("close", r#"{"reason":"disconnect"}"#).unwrap();
    assert_eq!(talk.tell("ping", "{}"), Ok(HookSaid::Nothing));
    assert!(talk.hook.leave(HookParting::Completed, "", &variables, &mut talk.out));
    let closed = ours(3, 3, "closed", r#"{"outputVariables":{"disposition":"sold"}}"#);
    assert_eq!(talk.said(), [ours(2, 3, "pong", "{}"), closed]);

    let mut talk = Talk::opened(EXTERNAL);
    assert!(!talk.hook.leave(HookParting::Completed, "done", &variables, &mut talk.out));
    assert_eq!(talk.audio(&[0; 160]), Ok(HookSaid::Nothing));
    assert_eq!(talk.tell("close", r#"{"reason":"disconnect"}"#), Ok(HookSaid::Closed));
    let parameters = r#"{"reason":"completed","info":"done","outputVariables":{"disposition":"sold"}}"#;
    assert_eq!(talk.said(), [ours(2, 1, "disconnect", parameters), ours(3, 2, "closed", "{}")]);
}

#[test]
fn messages_out_of_turn_are_faults() {
    let text = |id: &str, version: &str, seq: u64, serverseq: u64| {
        let mut talk = Talk::opened(EXTERNAL);
        talk.text(&format!(
            r#"{{"version":"{version}","id":"{id}","type":"ping","seq":{seq},"serverseq":{serverseq},"parameters":{{}}}}"#
        ))
    };
    assert!(text(ID, "2", 2, 1).is_ok());
    for (id, version, seq, serverseq) in
        [("x", "2", 2, 1), (ID, "1", 2, 1), (ID, "2", 1, 1), (ID, "2", 3, 1), (ID, "2", 2, 2)]
    {
        assert!(text(id, version, seq, serverseq).is_err(), "{id} {version} {seq} {serverseq}");
    }
    assert!(Talk::new().tell("ping", "{}").is_err());
    assert!(Talk::new().audio(&[0; 2]).is_err());
    assert!(Talk::opened(EXTERNAL).open("c2", EXTERNAL).is_err());
    assert!(Talk::opened(EXTERNAL).text("{").is_err());
    let theirs = Talk::opened(EXTERNAL).tell("error", r#"{"code":408,"message":"late"}"#);
    assert_eq!(theirs, Err(HookFault::Theirs("408 late".to_owned())));
}

#[test]
fn nobody_sends_more_than_a_conversation_needs() {
    let mut talk = Talk::opened(STEREO);
    let long = " ".repeat(TEXT_MAX + 1);
    assert_eq!(talk.text(&long), Err(HookFault::TooLong));
    assert_eq!(talk.audio(&vec![0; AUDIO_MAX + 1]), Err(HookFault::TooLong));

    let mut talk = Talk::opened(STEREO);
    let floods = (0..100).map(|_| talk.tell("ping", "{}")).filter(Result::is_err).count();
    assert!(floods > 30, "{floods}");

    let mut talk = Talk::opened(STEREO);
    let taken = (0..200).take_while(|_| talk.audio(&[0; 3200]).is_ok()).count();
    assert_eq!(taken, 100, "twenty seconds at once");

    let mut talk = Talk::opened(STEREO);
    for _ in 0..3000 {
        talk.now += Duration::from_millis(200);
        assert_eq!(talk.audio(&[0; 3200]), Ok(HookSaid::Audio));
        talk.hook.taken = talk.hook.audio.len();
    }
    assert!(talk.hook.audio.capacity() < 64 << 10);
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}
