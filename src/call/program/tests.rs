//! Programs in virtual time: what is wanted after each thing that happens.

use std::time::{Duration, Instant};

use super::*;
use crate::provider::twilio::{Method, Target};

struct Stage {
    now: Instant,
    program: Program,
}

impl Stage {
    /// An answered call that runs this.
    fn answered(inner: &str) -> Self {
        let mut stage = Self::waiting(inner);
        stage.program.answered(stage.now);
        stage
    }

    fn waiting(inner: &str) -> Self {
        let document = document(inner);
        Self { now: start(), program: Program::new(Source::Document(document.into()), None, None) }
    }

    fn asking(fallback: Option<&str>) -> Self {
        let program =
            Program::new(Source::Web(post("https://a.example/voice?x=1")), fallback.map(post), None);
        Self { now: start(), program }
    }

    fn acts(&mut self) -> Vec<Act> {
        std::iter::from_fn(|| self.program.poll_act()).collect()
    }

    /// Until the next deadline, at most.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.program.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.program.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn answer(&mut self, inner: &str) {
        let number = self.program.asked;
        self.program.fetched(self.now, number, Ok(document(inner)));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
fn start() -> Instant {
    Instant::now()
}

fn document(inner: &str) -> Document {
    format!("<Response>{inner}</Response>").parse().unwrap()
}

fn post(url: &str) -> WebAddress {
    WebAddress { url: url.to_owned(), method: Method::Post }
}

fn ask(number: u32, url: &str, fields: &[(&str, &str)]) -> Act {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Act::Ask { number, at: post(url), fields }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_document_is_run_verb_by_verb_and_then_the_call_ends() {
    let mut stage = Stage::answered("<Pause length='3'/><Say>hello</Say><Hangup/>");

    assert_eq!(stage.acts(), []);
    stage.pass(Duration::from_millis(2999));
    assert_eq!(stage.acts(), []);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.acts(), [Act::Sound(Sound::Say("hello".into()))]);
    stage.now += seconds(1);
    stage.program.heard(stage.now);
    assert_eq!(stage.acts(), [Act::HangUp]);
}

#[test]
fn nothing_is_done_before_the_answer_that_needs_one() {
    let mut stage = Stage::waiting("<Pause length='2'/><Say>hello</Say>");

    stage.program.arrived(stage.now);
    stage.pass(seconds(2));
    assert_eq!(stage.acts(), [Act::Answer]);
    stage.program.answered(stage.now);
    assert_eq!(stage.acts(), [Act::Sound(Sound::Say("hello".into()))]);
}

#[test]
fn a_call_is_rejected_before_the_answer_and_hung_up_after_it() {
    let mut ringing = Stage::waiting("<Reject reason='busy'/><Say>never</Say>");
    ringing.program.arrived(ringing.now);
    assert_eq!(ringing.acts(), [Act::Reject(Rejection::Busy)]);

    let mut answered = Stage::answered("<Reject/>");
    assert_eq!(answered.acts(), [Act::HangUp]);
}

#[test]
fn the_verb_after_a_bot_runs_when_the_bot_has_closed_and_its_last_words_are_heard() {
    let mut stage = Stage::answered("<Connect><Stream url='wss://b.example/'/></Connect><Say>bye</Say>");

    assert!(matches!(&stage.acts()[..], [Act::Connect(stream)] if stream.url == "wss://b.example/"));
    stage.pass(seconds(3600));
    stage.program.stream_closed(stage.now);
    assert_eq!(stage.acts(), []);
    stage.program.drained(stage.now);
    assert_eq!(stage.acts(), [Act::Sound(Sound::Say("bye".into()))]);
}

#[test]
fn last_words_that_never_end_are_not_waited_for() {
    let mut stage = Stage::answered("<Connect><Stream url='wss://b.example/'/></Connect>");
    stage.program.stream_closed(stage.now);
    stage.acts();

    stage.pass(LAST_WORDS);

    assert_eq!(stage.acts(), [Act::HangUp]);
}

#[test]
fn a_bot_that_cannot_be_had_is_noted_and_the_document_goes_on() {
    let mut stage = Stage::answered(
        "<Connect action='https://a.example/after'><Stream url='wss://b.example/'/></Connect><Hangup/>",
    );
    stage.acts();

    stage.program.stream_failed(stage.now, "refused");

    let acts = stage.acts();
    assert!(matches!(&acts[0], Act::Note { what: "stream failed", .. }), "{acts:?}");
    assert_eq!(acts[1], ask(1, "https://a.example/after", &[]));
}

#[test]
fn the_application_is_asked_again_then_its_fallback_then_the_call_ends() {
    let mut stage = Stage::asking(Some("https://a.example/plan-b"));
    stage.program.answered(stage.now);
    assert_eq!(stage.acts(), [ask(1, "https://a.example/voice?x=1", &[])]);

    stage.program.fetched(stage.now, 1, Err(Useless::not_had("HTTP status 500".into(), true)));
    assert_eq!(stage.acts()[1], ask(2, "https://a.example/voice?x=1", &[]));
    stage.program.fetched(stage.now, 2, Err(Useless::not_had("HTTP status 500".into(), true)));
    let told = [("ErrorCode", "11200"), ("ErrorUrl", "https://a.example/voice?x=1")];
    assert_eq!(stage.acts()[1], ask(3, "https://a.example/plan-b", &told));
    // It never answers.
    stage.pass(seconds(60));
    let acts = stage.acts();
    assert!(acts.contains(&Act::HangUp), "{acts:?}");
}

#[test]
fn what_is_no_document_is_not_asked_for_again() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.acts();

    stage.program.fetched(stage.now, 1, Err(Useless::malformed("no <Response>".into())));

    let note = Act::Note { what: "application not usable", detail: Some("12100: no <Response>".into()) };
    assert_eq!(stage.acts(), [note, Act::HangUp]);
}

#[test]
fn a_late_answer_to_a_question_that_was_asked_again_is_passed_over() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.pass(seconds(20));
    stage.acts();

    stage.program.fetched(stage.now, 1, Ok(document("<Hangup/>")));
    assert_eq!(stage.acts(), []);
    stage.program.fetched(stage.now, 2, Ok(document("<Pause/>")));
    assert_eq!(stage.acts(), []);
    stage.pass(seconds(1));
    assert_eq!(stage.acts(), [Act::HangUp]);
}

#[test]
fn a_relative_url_is_one_beside_the_document() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.acts();

    stage.answer("<Redirect>next?y=2</Redirect>");
    assert_eq!(stage.acts(), [ask(2, "https://a.example/next?y=2", &[])]);
    stage.answer("<Play>/sounds/one.wav</Play>");
    assert_eq!(stage.acts(), [Act::Sound(Sound::Play("https://a.example/sounds/one.wav".into()))]);
}

#[test]
fn a_relative_url_beside_nothing_ends_the_call() {
    let mut stage = Stage::answered("<Redirect>/next</Redirect>");

    let note = Act::Note { what: "application url not usable", detail: Some("/next".into()) };
    assert_eq!(stage.acts(), [note, Act::HangUp]);
}

#[test]
fn keys_are_gathered_until_there_are_enough_and_told() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.answer("<Gather numDigits='2' action='/keys'><Say>press</Say></Gather><Say>nothing came</Say>");
    stage.acts();

    stage.program.key(stage.now, '4');
    assert_eq!(stage.acts(), [Act::Silence], "a key ends the prompt");
    stage.program.key(stage.now, '2');
    assert_eq!(stage.acts(), [Act::Silence, ask(2, "https://a.example/keys", &[("Digits", "42")])]);
}

#[test]
fn the_last_key_ends_a_gather_and_is_told_apart() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.answer("<Gather/>");
    stage.acts();

    for key in "123#".chars() {
        stage.program.key(stage.now, key);
    }

    let told = [("Digits", "123"), ("FinishedOnKey", "#")];
    assert_eq!(
        stage.acts().last(),
        Some(&ask(2, "https://a.example/voice?x=1", &told)),
        "the document's own URL"
    );
}

#[test]
fn without_a_key_the_next_verb_runs_after_the_prompts_and_the_time() {
    let mut stage =
        Stage::answered("<Gather timeout='4'><Say>press</Say><Pause length='2'/></Gather><Hangup/>");
    assert_eq!(stage.acts(), [Act::Sound(Sound::Say("press".into()))]);
    stage.pass(seconds(30));
    assert_eq!(stage.acts(), [], "the prompt is still heard");

    stage.program.heard(stage.now);
    stage.pass(Duration::from_millis(5999));
    assert_eq!(stage.acts(), []);
    stage.pass(Duration::from_millis(1));

    assert_eq!(stage.acts(), [Act::Silence, Act::HangUp]);
}

#[test]
fn each_key_gives_time_for_the_next() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.answer("<Gather timeout='5'/>");
    stage.acts();

    for key in ['1', '2', '3'] {
        stage.pass(Duration::from_millis(4900));
        stage.program.key(stage.now, key);
        assert_eq!(stage.acts(), []);
    }
    stage.pass(seconds(5));

    assert_eq!(stage.acts()[1], ask(2, "https://a.example/voice?x=1", &[("Digits", "123")]));
}

#[test]
fn whoever_was_dialled_and_leaves_is_told_to_the_action() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    stage.answer("<Dial action='/after' timeout='12'>+15550100</Dial>");
    let acts = stage.acts();
    assert!(matches!(&acts[1], Act::Dial(dial) if dial.targets == [Target::Number("+15550100".into())]));

    stage.pass(seconds(5));
    stage.program.joined(stage.now);
    stage.pass(seconds(90));
    stage.program.left(stage.now);

    let told = [("DialCallStatus", "completed"), ("DialBridged", "true"), ("DialCallDuration", "90")];
    assert_eq!(stage.acts(), [ask(2, "https://a.example/after", &told)]);
}

#[test]
fn nobody_who_answers_is_told_and_without_an_action_the_document_goes_on() {
    let mut told = Stage::answered("<Dial action='https://a.example/after'>1</Dial>");
    told.acts();
    told.program.not_joined(told.now, DialOutcome::Busy);
    let fields = [("DialCallStatus", "busy"), ("DialBridged", "false")];
    assert_eq!(told.acts(), [ask(1, "https://a.example/after", &fields)]);

    let mut untold = Stage::answered("<Dial>1</Dial><Say>sorry</Say>");
    untold.acts();
    untold.program.not_joined(untold.now, DialOutcome::NoAnswer);
    assert_eq!(untold.acts(), [Act::Sound(Sound::Say("sorry".into()))]);
}

#[test]
fn a_dialled_conversation_has_its_limit() {
    let mut stage = Stage::answered("<Dial timeLimit='60'>1</Dial>");
    stage.program.joined(stage.now);
    stage.acts();

    stage.pass(seconds(60));

    assert_eq!(stage.acts(), [Act::Part, Act::HangUp]);
}

#[test]
fn a_refused_refer_is_told_with_its_status() {
    let mut stage = Stage::answered("<Refer action='https://a.example/after'><Sip>sip:b@far</Sip></Refer>");
    stage.acts();

    stage.program.not_referred(stage.now, Some(603));

    let told = [("ReferCallStatus", "failed"), ("ReferSipResponseCode", "603")];
    assert_eq!(stage.acts(), [ask(1, "https://a.example/after", &told)]);
}

#[test]
fn other_instructions_take_the_place_of_what_runs() {
    let mut stage = Stage::answered("<Connect><Stream url='wss://b.example/'/></Connect><Say>never</Say>");
    stage.acts();

    let source = Source::Document(document("<Say>instead</Say>").into());
    stage.program.redirected(stage.now, source, None);

    let said = Act::Sound(Sound::Say("instead".into()));
    assert_eq!(stage.acts(), [Act::Silence, Act::Disconnect, Act::Part, said]);
    stage.program.stream_closed(stage.now);
    stage.program.drained(stage.now);
    assert_eq!(stage.acts(), [], "the bot of before has no say any more");
}

#[test]
fn a_sound_is_repeated_as_often_as_the_document_says() {
    let mut stage = Stage::answered("<Play loop='3'>beep</Play>");
    for _ in 0..3 {
        assert_eq!(stage.acts(), [Act::Sound(Sound::Play("beep".into()))]);
        stage.now += seconds(1);
        stage.program.heard(stage.now);
    }
    assert_eq!(stage.acts(), [Act::HangUp]);

    let mut forever = Stage::answered("<Play loop='0'>beep</Play>");
    for _ in 0..1000 {
        assert_eq!(forever.acts().len(), 1);
        forever.now += seconds(1);
        forever.program.heard(forever.now);
    }
    // One that nobody hears is not repeated at all.
    forever.acts();
    forever.program.heard(forever.now);
    assert_eq!(forever.acts(), [Act::HangUp]);
}

#[test]
fn keys_are_pressed_when_their_waits_are_over() {
    let mut stage = Stage::waiting("<Say>hello</Say>");
    stage.program.keys = Some("ww12w3".into());
    stage.program.answered(stage.now);

    assert_eq!(stage.acts(), []);
    stage.pass(seconds(1));
    assert_eq!(stage.acts(), [Act::Press("12".into())]);
    stage.pass(seconds(1));
    assert_eq!(stage.acts(), [Act::Press("3".into())]);
    stage.pass(KEY);
    assert_eq!(stage.acts(), [Act::Sound(Sound::Say("hello".into()))]);
}

#[test]
fn an_application_that_only_ever_redirects_comes_to_an_end() {
    let mut stage = Stage::asking(None);
    stage.program.answered(stage.now);
    let mut asked = 0;
    while stage.acts().iter().any(|act| matches!(act, Act::Ask { .. })) {
        asked += 1;
        stage.answer("<Redirect/><Redirect>/again</Redirect>");
    }
    assert_eq!(asked, DOCUMENTS);
}

#[test]
fn what_comes_after_the_end_does_nothing() {
    let mut stage = Stage::answered("<Gather/><Hangup/>");
    stage.program.ended();

    stage.program.key(stage.now, '1');
    stage.program.heard(stage.now);
    stage.program.answered(stage.now);
    stage.pass(seconds(3600));

    assert_eq!(stage.acts(), []);
    assert_eq!(stage.program.poll_timeout(), None);
}
