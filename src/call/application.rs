//! A call that an application runs: what its program wants is done to the call, what happens in the call is told to the program, and
//! to whoever wants to know, in Twilio's words.
//! ```text
//!   document --> Program --acts--> Call --> dialog, worker, bot, human
//!                   ^               |
//!                   +---- facts ----+---> status callbacks
//! ```
//! To everything else such a call is an ordinary one; while no bot is connected it is one whose engine has left.

mod sounding;

use std::sync::Arc;
use std::time::Instant;

use self::sounding::Sounds;
use super::account::{Account, no_engine};
use super::command::{CommandError, MachineForHuman, TransferStyle};
use super::engine::EngineFailure;
use super::event::{Asker, EndReason};
use super::one::{Call, Farewell, Hands, Link, State};
use super::program::{Act, DialOutcome, Program, Source, Useless};
use super::record::Layer;
use super::telling;
use super::transfer::{GiveUp, Order};
use super::view::{Direction, Mode};
use super::voice::VoiceOrder;
use super::web::{self, FetchId, WebAnswer, WebFailure, WebRequest};
use super::{output::Output, words};
use crate::provider::twilio::{API_VERSION, Dial, Document, Refer, Rejection, Stream, WebAddress, errors};

/// How long one key is pressed.
const KEY: std::time::Duration = std::time::Duration::from_millis(160);

/// What an application wants of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where its instructions come from.
    pub source: Source,
    /// Asked when they cannot be had.
    pub fallback: Option<WebAddress>,
    /// Who is told how the call fares.
    pub status: Option<StatusCallback>,
    /// Pressed as soon as the call is answered.
    pub keys: Option<String>,
}

/// Who is told how a call fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCallback {
    /// Where.
    pub at: WebAddress,
    /// Of what.
    pub events: Vec<Happening>,
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It is being placed.
    Initiated,
    /// It rings.
    Ringing,
    /// It was answered.
    Answered,
    /// It is over.
    Completed,
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Initiated, Self::Ringing, Self::Answered, Self::Completed];

    /// In Twilio's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Completed => "completed",
        }
    }
}

/// The application of one call.
#[derive(Debug)]
pub(super) struct Application {
    account: Arc<Account>,
    pub(super) program: Program,
    status: Option<StatusCallback>,
    /// How many things it was told.
    told: u32,
    sounds: Sounds,
    /// It rang, as far as anybody was told.
    rang: bool,
    /// It wants the inbound call answered.
    answers: bool,
    /// The stream whose bot speaks.
    stream: Option<Stream>,
    /// The people who are called, and how.
    dial: Option<Dial>,
}

impl Application {
    pub(super) fn new(account: Arc<Account>, run: Run) -> Self {
        Self {
            account,
            program: Program::new(run.source, run.fallback, run.keys),
            status: run.status,
            told: 0,
            sounds: Sounds::default(),
            rang: false,
            answers: false,
            stream: None,
            dial: None,
        }
    }

    pub(super) fn account_sid(&self) -> &str {
        &self.account.sid
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.program.poll_timeout(), self.sounds.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn answers(&self) -> bool {
        self.answers
    }

    /// The people who are called.
    pub(super) fn dial(&self) -> Option<&Dial> {
        self.dial.as_ref()
    }
}

/// What an inbound call is run by.
pub(super) fn of_inbound(account: Arc<Account>) -> Option<Application> {
    let voice = account.voice.clone()?;
    let status = voice.status.map(|at| StatusCallback { at, events: vec![Happening::Completed] });
    let run = Run { source: Source::Web(voice.at), fallback: voice.fallback, status, keys: None };
    Some(Application::new(account, run))
}

impl Call {
    /// Other instructions for a running call, whoever ran it before.
    pub(super) fn run_ordered(
        &mut self,
        hands: &mut Hands<'_>,
        account: Arc<Account>,
        run: Run,
    ) -> Result<(), CommandError> {
        self.may_be_spoken_to()?;
        match self.state {
            State::Talking { .. } => {}
            State::Ringing { .. } | State::Opening { .. } | State::Calling { .. } | State::Confirming
                if self.application.is_some() => {}
            State::Ringing { .. } | State::Opening { .. } | State::Calling { .. } | State::Confirming => {
                return Err(CommandError::CallNotAnswered);
            }
            State::Announcing { .. } | State::Draining { .. } | State::Ending { .. } => {
                return Err(CommandError::CallAlreadyEnded);
            }
        }
        self.milestone(hands, Layer::Control, "application redirects", None);
        let Run { source, fallback, status, keys } = run;
        match &mut self.application {
            Some(application) => {
                if status.is_some() {
                    application.status = status;
                }
                application.program.redirected(hands.now, source, fallback);
            }
            None => {
                self.part(hands);
                self.disconnect(hands);
                let run = Run { source, fallback, status, keys };
                self.application = Some(Application::new(account, run));
                self.with_program(hands, |program, now| program.answered(now));
            }
        }
        self.run_program(hands);
        Ok(())
    }

    /// The end of a call, asked for by an application's own request.
    pub(super) fn end_ordered(
        &mut self,
        hands: &mut Hands<'_>,
        only_before_answer: bool,
    ) -> Result<(), CommandError> {
        if self.is_ending() {
            return Err(CommandError::CallAlreadyEnded);
        }
        // There is nothing left to be cancelled.
        if only_before_answer && self.story.is_answered() {
            return Err(CommandError::CallAlreadyEnded);
        }
        self.milestone(hands, Layer::Control, "end ordered", None);
        self.end_for_application(hands);
        Ok(())
    }

    /// Lets the program know something, and does what it wants then.
    pub(super) fn with_program(&mut self, hands: &mut Hands<'_>, tell: impl FnOnce(&mut Program, Instant)) {
        if let Some(application) = &mut self.application {
            tell(&mut application.program, hands.now);
            self.run_program(hands);
        }
    }

    fn run_program(&mut self, hands: &mut Hands<'_>) {
        while let Some(act) = self.application.as_mut().and_then(|one| one.program.poll_act()) {
            self.perform(hands, act);
        }
    }

    fn perform(&mut self, hands: &mut Hands<'_>, act: Act) {
        match act {
            Act::Ask { number, at, fields } => self.ask_application(hands, number, &at, fields),
            Act::Note { what, detail } => self.milestone(hands, Layer::Control, what, detail),
            Act::Answer => {
                if let Some(application) = &mut self.application {
                    application.answers = true;
                }
                self.answer_when_ready(hands);
            }
            Act::Reject(Rejection::Busy) => self.turn_away(hands, sip::StatusCode::BUSY_HERE),
            Act::Reject(Rejection::Rejected) => self.turn_away(hands, sip::StatusCode::DECLINE),
            Act::HangUp => self.end_for_application(hands),
            Act::Sound(sound) => self.sound(hands, sound),
            Act::Silence => self.silence(hands),
            Act::Press(keys) => {
                let digits = keys.chars().filter_map(|key| media::Digit::try_from(key).ok()).collect();
                let order = VoiceOrder::SendDtmf { leg: self.leg.id, digits, duration: KEY };
                hands.outputs.voice(self.id, order);
            }
            Act::Connect(stream) => self.connect_stream(hands, stream),
            Act::Listen(_) | Act::StopListening => {
                let why = Some("<Start><Stream> has no listener here".to_owned());
                self.milestone(hands, Layer::Control, "twiml passed over", why);
            }
            Act::Dial(dial) => self.dial_people(hands, dial),
            Act::Refer(refer) => self.refer_caller(hands, &refer),
            Act::Part => self.part(hands),
            Act::Disconnect => self.disconnect(hands),
        }
    }

    // What the call tells its program.

    /// The port of an inbound call is open: what shall become of it?
    pub(super) fn ask_for_inbound(&mut self, hands: &mut Hands<'_>) {
        self.with_program(hands, |program, now| program.arrived(now));
    }

    /// The call is in conversation.
    pub(super) fn application_answered(&mut self, hands: &mut Hands<'_>) {
        self.tell_application(hands, Happening::Answered);
        self.with_program(hands, |program, now| program.answered(now));
    }

    /// An announcement or a sound was played, or gave way to another one.
    pub(super) fn application_heard(&mut self, hands: &mut Hands<'_>) {
        let Some(application) = &mut self.application else { return };
        if application.sounds.heard() {
            self.with_program(hands, |program, now| program.heard(now));
        }
    }

    /// What the application has answered.
    pub(super) fn application_told(
        &mut self,
        hands: &mut Hands<'_>,
        number: u32,
        outcome: Result<WebAnswer, WebFailure>,
    ) {
        let document = match outcome {
            Ok(WebAnswer { status: 200..300, body }) => document(&body),
            Ok(WebAnswer { status, .. }) => {
                Err(Useless::not_had(format!("HTTP status {status}"), status >= 500))
            }
            Err(WebFailure::TimedOut) => {
                let why = WebFailure::TimedOut.to_string();
                Err(Useless { code: errors::HTTP_TIMEOUT, why, again: true })
            }
            Err(failure) => Err(Useless::not_had(failure.to_string(), failure.may_pass())),
        };
        self.with_program(hands, |program, now| program.fetched(now, number, document));
    }

    /// The engine's socket is up: a stream has begun.
    pub(super) fn stream_begins(&mut self, hands: &mut Hands<'_>) {
        self.tell_stream(hands, "stream-started", None);
    }

    /// A stream is over. True where there was one, and the call goes on as its program wants.
    pub(super) fn stream_over(
        &mut self,
        hands: &mut Hands<'_>,
        failure: &EngineFailure,
        hung_up: bool,
    ) -> bool {
        let is_stream = self.application.as_ref().is_some_and(|one| one.program.is_streaming());
        let is_talking = matches!(self.state, State::Talking { .. });
        if !is_stream || !is_talking || self.is_others_business() {
            return false;
        }
        self.link = Link::Gone;
        self.milestone(hands, Layer::Engine, "stream over", Some(failure.to_string()));
        if hung_up {
            self.tell_stream(hands, "stream-stopped", None);
            hands.outputs.voice(self.id, VoiceOrder::Drain);
            self.forget_stream(hands);
            self.with_program(hands, |program, now| program.stream_closed(now));
        } else {
            self.tell_stream(hands, "stream-error", Some(failure.to_string()));
            hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::EngineLost));
            self.forget_stream(hands);
            let why = failure.to_string();
            self.with_program(hands, |program, now| program.stream_failed(now, &why));
        }
        true
    }

    /// Somebody whom the program has called is there.
    pub(super) fn dialled_joined(&mut self, hands: &mut Hands<'_>) {
        self.with_program(hands, |program, now| program.joined(now));
    }

    /// Whoever the program has called has hung up. True where it had.
    pub(super) fn dialled_left(&mut self, hands: &mut Hands<'_>, raw: &serde_json::value::RawValue) -> bool {
        let dialled = self.application.as_ref().is_some_and(|one| one.program.is_dialling());
        if !dialled || !matches!(self.state, State::Talking { .. }) {
            return false;
        }
        self.mode_changed(hands, Mode::AiOnly, "human_hung_up".to_owned(), Asker::Rule, raw.to_owned());
        self.with_program(hands, |program, now| program.left(now));
        true
    }

    /// A transfer that the program has asked for came to nothing. True where it had.
    pub(super) fn not_transferred(&mut self, hands: &mut Hands<'_>, code: &str, status: Option<u16>) -> bool {
        let Some(application) = &mut self.application else { return false };
        application.dial = None;
        let outcome = match code {
            "transfer.busy" => DialOutcome::Busy,
            "transfer.no_answer" => DialOutcome::NoAnswer,
            _ => DialOutcome::Failed,
        };
        self.with_program(hands, |program, now| {
            program.not_referred(now, status);
            program.not_joined(now, outcome);
        });
        true
    }

    /// The caller is with somebody else now: whoever sent them there is told.
    pub(super) fn application_transferred(&mut self, hands: &mut Hands<'_>) {
        let Some(application) = &self.application else { return };
        let action = application.program.action().filter(|_| application.program.is_referring());
        if let Some(action) = action {
            let more = [("ReferCallStatus", "completed"), ("ReferSipResponseCode", "202")];
            let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.tell_at(hands, &action, more.into());
        }
    }

    /// The call is over.
    pub(super) fn application_ends(&mut self, hands: &mut Hands<'_>) {
        let Some(application) = &mut self.application else { return };
        application.program.ended();
        let streamed = application.stream.is_some();
        if streamed {
            self.tell_stream(hands, "stream-stopped", None);
        }
        self.tell_application(hands, Happening::Completed);
    }

    /// It rings for the first time.
    pub(super) fn application_rings(&mut self, hands: &mut Hands<'_>) {
        if let Some(application) = &mut self.application
            && !std::mem::replace(&mut application.rang, true)
        {
            self.tell_application(hands, Happening::Ringing);
        }
    }

    // What the program has done.

    fn ask_application(
        &mut self,
        hands: &mut Hands<'_>,
        number: u32,
        at: &WebAddress,
        more: Vec<(String, String)>,
    ) {
        let Some(application) = &self.application else { return };
        let mut fields = self.fields(&application.account);
        fields.extend(more);
        let request = WebRequest::new(&application.account.token, at, &fields, web::DOCUMENT);
        let id = FetchId::Document { call: self.id, number };
        hands.outputs.push(Output::Fetch { id, request: Box::new(request) });
        self.milestone(hands, Layer::Control, "application asked", Some(shown(&at.url)));
    }

    fn connect_stream(&mut self, hands: &mut Hands<'_>, stream: Stream) {
        let Some(application) = &mut self.application else { return };
        let engine = application.account.engine(hands.settings, &stream);
        application.stream = Some(stream);
        match engine {
            Ok(engine) => {
                let name = engine.name.to_string();
                self.engine = engine;
                self.had_engines.clear();
                self.story.change(hands.outputs, |view| view.engine = Some(name));
                self.link = Link::Idle;
                self.dial(hands);
            }
            Err(why) => {
                self.tell_stream(hands, "stream-error", Some(why.clone()));
                self.forget_stream(hands);
                self.with_program(hands, |program, now| program.stream_failed(now, &why));
            }
        }
    }

    fn disconnect(&mut self, hands: &mut Hands<'_>) {
        let streamed = self.application.as_ref().is_some_and(|application| application.stream.is_some());
        if streamed {
            self.tell_stream(hands, "stream-stopped", None);
        }
        self.dismiss_engine(hands);
        self.forget_stream(hands);
    }

    fn forget_stream(&mut self, hands: &mut Hands<'_>) {
        if let Some(application) = &mut self.application {
            application.stream = None;
        }
        self.engine = no_engine();
        self.link = Link::Gone;
        self.story.change(hands.outputs, |view| view.engine = None);
    }

    fn dial_people(&mut self, hands: &mut Hands<'_>, dial: Dial) {
        let possible = self.may_transfer().and_then(|()| {
            let people = dial.targets.iter().map(|one| self.destination_of(hands, bare(one.as_str()), "to"));
            people.collect::<Result<Vec<_>, CommandError>>()
        });
        match possible {
            Ok(people) if self.provider.trunk.is_outbound() => {
                if let Some(application) = &mut self.application {
                    application.dial = Some(dial);
                }
                let order = order_of(TransferStyle::Bridge, "dialled");
                self.begin_transfer(hands, order, [people].into());
            }
            Ok(_) => self.not_dialled(hands, &CommandError::ProviderInboundOnly),
            Err(error) => self.not_dialled(hands, &error),
        }
    }

    fn not_dialled(&mut self, hands: &mut Hands<'_>, error: &CommandError) {
        self.milestone(hands, Layer::Control, "dial refused", Some(error.code().to_owned()));
        self.with_program(hands, |program, now| program.not_joined(now, DialOutcome::Failed));
    }

    fn refer_caller(&mut self, hands: &mut Hands<'_>, refer: &Refer) {
        let to = self.may_transfer().and_then(|()| self.destination_of(hands, bare(&refer.to), "to"));
        match to {
            Ok(to) => {
                self.begin_transfer(hands, order_of(TransferStyle::Blind, "referred"), [vec![to]].into())
            }
            Err(error) => {
                self.milestone(hands, Layer::Control, "refer refused", Some(error.code().to_owned()));
                self.with_program(hands, |program, now| program.not_referred(now, None));
            }
        }
    }

    /// Whoever was called into the call leaves it, and so does whoever rings still.
    fn part(&mut self, hands: &mut Hands<'_>) {
        let had = self.transfer.take().is_some() || self.joined().next().is_some();
        if let Some(application) = &mut self.application {
            application.dial = None;
        }
        if !had {
            return;
        }
        self.let_parties_go(hands, "The application goes on");
        let reason = "application".to_owned();
        if self.story.view().mode == Mode::AiOnly {
            let status = self.talking_status();
            self.story.change(hands.outputs, |view| view.status = status);
            self.let_hear(hands);
            self.let_wait(hands);
        } else {
            self.mode_changed(hands, Mode::AiOnly, reason, Asker::Api, telling::nothing());
        }
    }

    fn turn_away(&mut self, hands: &mut Hands<'_>, status: sip::StatusCode) {
        let State::Ringing { .. } = self.state else { return self.end_for_application(hands) };
        let raw = telling::raw_code("engine.rejected", "the application rejected the call");
        let reason = super::inbound::reason_header(status, "Rejected by the application");
        let farewell = Farewell::Refuse { status, headers: vec![("Reason".into(), reason)] };
        self.end_turned_away(hands, status, raw, farewell);
    }

    fn end_for_application(&mut self, hands: &mut Hands<'_>) {
        match self.state {
            State::Ringing { .. } => self.turn_away(hands, sip::StatusCode::DECLINE),
            State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. }
            | State::Ending { .. } => {
                let farewell = Farewell::hang_up("Ended by the application");
                self.end(hands, EndReason::ApiHungUp, telling::nothing(), farewell);
            }
        }
    }

    // What is told to whoever wants to know.

    pub(super) fn tell_application(&mut self, hands: &mut Hands<'_>, happening: Happening) {
        let view = self.story.view();
        let Some(application) = &self.application else { return };
        let Some(status) = application.status.as_ref().filter(|one| one.events.contains(&happening)) else {
            return;
        };
        let at = status.at.clone();
        let mut more = vec![("CallbackSource".to_owned(), "call-progress-events".to_owned())];
        more.push(("SequenceNumber".to_owned(), application.told.to_string()));
        more.push(("Timestamp".to_owned(), hands.outputs.timestamp(hands.now).to_rfc2822()));
        if happening == Happening::Completed {
            let seconds = view.duration_sec.unwrap_or_default();
            more.push(("CallDuration".to_owned(), seconds.to_string()));
            more.push(("Duration".to_owned(), seconds.div_ceil(60).to_string()));
            let code = view.sip.code.or(view.answered_at.map(|_| 200));
            more.extend(code.map(|code| ("SipResponseCode".to_owned(), code.to_string())));
        }
        if happening == Happening::Initiated {
            more.push(("CallStatus".to_owned(), "initiated".to_owned()));
        }
        self.tell_at(hands, &at, more);
        if let Some(application) = &mut self.application {
            application.told += 1;
        }
    }

    fn tell_stream(&mut self, hands: &mut Hands<'_>, event: &str, error: Option<String>) {
        let Some(application) = &self.application else { return };
        let Some(stream) = &application.stream else { return };
        let Some(at) = stream.status.as_ref().and_then(|at| application.program.absolute(at)) else { return };
        let mut more = vec![
            ("StreamSid".to_owned(), words::stream_sid(self.id)),
            ("StreamEvent".to_owned(), event.to_owned()),
            ("Timestamp".to_owned(), hands.outputs.timestamp(hands.now).to_string()),
        ];
        more.extend(stream.name.clone().map(|name| ("StreamName".to_owned(), name)));
        more.extend(error.map(|error| ("StreamError".to_owned(), error)));
        self.tell_at(hands, &at, more);
    }

    fn tell_at(&self, hands: &mut Hands<'_>, at: &WebAddress, more: Vec<(String, String)>) {
        let Some(application) = &self.application else { return };
        let mut fields = self.fields(&application.account);
        fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        fields.extend(more);
        let request = WebRequest::new(&application.account.token, at, &fields, web::DOCUMENT);
        hands.callbacks.tell(hands.now, self.id, request, hands.outputs);
    }

    /// What every request says of the call.
    fn fields(&self, account: &Account) -> Vec<(String, String)> {
        let view = self.story.view();
        let mut fields = vec![
            ("CallSid", words::call_sid(self.id)),
            ("AccountSid", account.sid.clone()),
            ("From", view.from.clone()),
            ("To", view.to.clone()),
            ("Caller", view.from.clone()),
            ("Called", view.to.clone()),
            ("CallStatus", words::status(view).to_owned()),
            ("Direction", words::direction(view).to_owned()),
            ("ApiVersion", API_VERSION.to_owned()),
        ];
        fields.extend(view.answered_by.map(|who| ("AnsweredBy", words::answered_by(who).to_owned())));
        let mut fields: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if view.direction == Direction::Inbound {
            let own = self
                .headers
                .iter()
                .filter(|(name, _)| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-")));
            fields.extend(own.map(|(name, value)| (format!("SipHeader_{name}"), value.clone())));
        }
        fields
    }
}

fn order_of(style: TransferStyle, reason: &str) -> Order {
    Order {
        style,
        give_up: GiveUp::Back,
        reason: Some(reason.to_owned()),
        announce: None,
        re: None,
        by: Asker::Api,
        mode: Mode::Routing,
        on_machine: MachineForHuman::Join,
        referral: None,
    }
}

fn document(body: &[u8]) -> Result<Document, Useless> {
    let text = std::str::from_utf8(body).map_err(|error| Useless::malformed(error.to_string()))?;
    text.parse::<Document>().map_err(|error| Useless::malformed(error.to_string()))
}

/// A SIP URI without the headers that would get into requests of ours.
fn bare(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// A URL for the timeline: what it asks for stays out.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or(url).to_owned()
}
