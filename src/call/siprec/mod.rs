//! A call that is somebody else's: the client of a recorder (RFC 7866) sends what its people say, and the engine hears it.
//! ```text
//!   caller ---+             +--- agent
//!             v             v
//!         [ the client: an SBC, a PBX ]
//!              |  INVITE, a line and a label for each voice, metadata who is who
//!              v
//!   first leg: caller's line --> track 0 --+
//!                                          +--> the engine; nobody hears it
//!   second leg: agent's line --> track 1 --+
//! ```
//! It is a call in mode `assist` whose second leg has no dialog of its own: both lines stand in the one of the first leg. What
//! speaks towards its far end, or hands it to somebody, is refused; its engine may come and go, the call does not end by it.
//! Left out: asking the client for its metadata (RFC 7866 §9.3), and offers of ours.

mod lines;
mod metadata;

use lines::{Agreed, Lines};
use metadata::Metadata;

use super::command::CommandError;
use super::engine::EngineEvent;
use super::event::EndReason;
use super::ids::LegId;
use super::inbound::{description, reason_header};
use super::leg::warning;
use super::one::{Call, Farewell, Hands, State};
use super::party::Party;
use super::record::Layer;
use super::telling;
use super::view::{LegRole, LegStatus, LegView};
use super::voice::{Route, VoiceOrder};

/// The leg of the second line.
const SECOND: LegId = LegId(1);

/// What a call knows of itself as a recording session.
#[derive(Debug)]
pub(super) struct Siprec {
    lines: Lines,
    metadata: Metadata,
    /// By leg: packets that had come when none came any more.
    silent: [Option<u64>; 2],
}

impl Call {
    /// The INVITE begins a recording session.
    pub(super) fn begin_listening(&mut self, hands: &mut Hands<'_>, request: &sip::Message, flow: sip::Flow) {
        let lines = Lines::new(rand::Rng::random::<u64>(hands.chance) >> 1);
        let siprec = Siprec { lines, metadata: Metadata::default(), silent: [None; 2] };
        self.siprec = Some(Box::new(siprec));
        self.application = None;
        let (address, inactivity) = (hands.settings.media_bind, self.provider.trunk.media_timeout);
        self.parties.push(Party::on_our_line(SECOND, self.provider.clone()));
        self.next_leg = SECOND.0 + 1;
        hands.outputs.voice(self.id, VoiceOrder::Open { leg: SECOND, address, inactivity });
        let sip_call_id = request.call_id().unwrap_or_default().to_owned();
        self.story.change(hands.outputs, |view| {
            view.legs.push(LegView::begun(SECOND, LegRole::Human, flow.peer, sip_call_id));
        });
        self.milestone(hands, Layer::Signalling, "recording session begun", None);
        self.learn_metadata(hands, request);
        let is_told = self.siprec.as_ref().is_some_and(|siprec| !siprec.metadata.is_empty());
        if !is_told {
            self.milestone(hands, Layer::Signalling, "no recording metadata", None);
        }
    }

    /// What the client tells of the call, if it does; what cannot be read changes nothing.
    fn learn_metadata(&mut self, hands: &mut Hands<'_>, message: &sip::Message) {
        let (Some(siprec), Some(document)) = (&mut self.siprec, message.recording_metadata()) else { return };
        let learnt = siprec.metadata.learn(&document);
        match learnt {
            Ok(()) => {
                self.milestone(hands, Layer::Signalling, "recording metadata", None);
                self.show_metadata(hands);
            }
            Err(error) => {
                let detail = Some(error.to_string());
                self.milestone(hands, Layer::Signalling, "recording metadata not usable", detail);
            }
        }
    }

    /// What is known of the recorded call is in the context of ours, and caller and called are those of that call.
    fn show_metadata(&mut self, hands: &mut Hands<'_>) {
        let Some(siprec) = &self.siprec else { return };
        if siprec.metadata.is_empty() {
            return;
        }
        let settled = siprec.lines.labels();
        let wished: Vec<&str> = siprec.metadata.labels().collect();
        let label = |place: usize| settled[place].or_else(|| wished.get(place).copied());
        let labels = match settled {
            [None, None] => [label(0), label(1)],
            [Some(_), _] | [None, Some(_)] => settled,
        };
        let shown = siprec.metadata.shown(labels);
        let rules = &self.provider.trunk.numbers_in;
        let people = labels.map(|label| {
            let aor = label.and_then(|label| siprec.metadata.heard_on(label)?.aor.clone())?;
            let uri = sip::Uri::parse(&aor).ok()?;
            Some(rules.apply(&super::number::shown(&uri)))
        });
        if self.story.view().context.merge_fields.get("siprec") == Some(&shown) {
            return;
        }
        let [from, to] = people;
        self.story.change(hands.outputs, |view| {
            view.context.merge_fields.insert("siprec".to_owned(), shown);
            view.from = from.unwrap_or(std::mem::take(&mut view.from));
            view.to = to.unwrap_or(std::mem::take(&mut view.to));
        });
        let context = self.story.view().context.clone();
        self.tell_engine(hands, EngineEvent::Context(context));
        self.story.show(hands.outputs);
    }

    /// A line has its port; with both the offer is answered, the phone rings and the engine is dialled.
    pub(super) fn line_opened(&mut self, hands: &mut Hands<'_>, leg: LegId, port: u16) {
        let State::Ringing { .. } = self.state else { return };
        let Some(of) = self.line(leg) else { return };
        let mut negotiator = of.negotiator(hands, port);
        negotiator.want(media::Direction::RecvOnly);
        of.negotiator = Some(negotiator);
        let both = [self.leg.id, SECOND];
        if !both.into_iter().all(|leg| self.line(leg).is_some_and(|leg| leg.negotiator.is_some())) {
            return;
        }
        let offer = self.offer.clone().unwrap_or_default();
        match self.answer_lines(hands, &offer) {
            Ok((agreed, answer)) => {
                self.leg.answer = Some(answer);
                self.keep_agreed(hands, agreed);
            }
            Err(error) => return self.not_acceptable(hands, error),
        }
        self.show_metadata(hands);
        self.let_hear(hands);
        self.ring(hands);
        self.dial(hands);
    }

    fn line(&mut self, leg: LegId) -> Option<&mut super::leg::Leg> {
        if leg == self.leg.id {
            return Some(&mut self.leg);
        }
        self.party(leg).map(|party| &mut party.leg)
    }

    fn answer_lines(
        &mut self,
        hands: &mut Hands<'_>,
        offer: &[u8],
    ) -> Result<([Agreed; 2], bytes::Bytes), media::SdpError> {
        let second = self.parties.iter_mut().find(|party| party.leg.id == SECOND);
        let (Some(siprec), Some(first), Some(second)) = (
            &mut self.siprec,
            self.leg.negotiator.as_mut(),
            second.and_then(|party| party.leg.negotiator.as_mut()),
        ) else {
            return Err(media::SdpError::NoAudio);
        };
        let Siprec { lines, metadata, .. } = siprec.as_mut();
        let answered = lines.answer(offer, metadata.labels(), [first, second]);
        if let Ok((agreed, _)) = &answered {
            for (number, one) in agreed.iter().enumerate() {
                if let Agreed::Not(error) = one {
                    let detail = Some(format!("leg {number}: {error}"));
                    self.milestone(hands, Layer::Media, "line refused", detail);
                }
            }
        }
        answered
    }

    /// What each line came to holds from now on; the worker hears of it with the 200.
    fn keep_agreed(&mut self, hands: &mut Hands<'_>, agreed: [Agreed; 2]) {
        for (leg, agreed) in [self.leg.id, SECOND].into_iter().zip(agreed) {
            let Some(line) = self.line(leg) else { continue };
            let before = line.negotiated.take();
            let hears = |one: &media::Negotiated| one.direction.receives();
            let heard_before = before.as_ref().map(hears);
            line.negotiated = match agreed {
                Agreed::On(negotiated) => Some(*negotiated),
                Agreed::Off | Agreed::Not(_) => {
                    before.map(|before| media::Negotiated { direction: media::Direction::Inactive, ..before })
                }
            };
            let heard = line.negotiated.as_ref().map(hears);
            let what = match (heard_before, heard) {
                (Some(true) | None, Some(false)) => "line paused",
                (Some(false), Some(true)) => "line resumed",
                (None, Some(true)) if self.story.is_answered() => "line added",
                (None, Some(true)) | (Some(true), Some(true)) | (Some(false), Some(false)) | (_, None) => {
                    continue;
                }
            };
            self.milestone(hands, Layer::Signalling, what, Some(format!("leg {}", leg.0)));
        }
    }

    /// The worker may hear what was agreed.
    pub(super) fn lines_negotiated(&mut self, hands: &mut Hands<'_>) {
        let mut hears = false;
        for leg in [self.leg.id, SECOND] {
            let Some(media) = self.line(leg).and_then(|line| line.negotiated.clone()) else { continue };
            hears |= media.direction.receives();
            let codec = media.codec.name().to_owned();
            self.story.change(hands.outputs, |view| {
                if let Some(shown) = view.legs.iter_mut().find(|known| known.leg == leg.0) {
                    shown.codec = Some(codec);
                    shown.status = LegStatus::Connected;
                }
            });
            hands.outputs.voice(self.id, VoiceOrder::Negotiated { leg, media });
        }
        if hears == self.leg.held {
            self.leg.held = !hears;
            self.hold_changed(hands, !hears);
        }
    }

    /// re-INVITE or UPDATE: other lines, other metadata, or both.
    pub(super) fn lines_reoffered(&mut self, hands: &mut Hands<'_>, request: &sip::Message) {
        let Some(dialog) = self.leg.dialog else { return };
        self.learn_metadata(hands, request);
        let refused = super::content::refusal(request);
        if let Some((status, headers)) = refused {
            self.milestone(hands, Layer::Signalling, "re-invite refused", Some(status.to_string()));
            return hands.endpoint.refuse(hands.now, dialog, status, headers);
        }
        let offer = description(request);
        if offer.is_empty() && request.method() == Some(sip::Method::Update) {
            return hands.endpoint.accept(hands.now, dialog, Vec::new(), None);
        }
        match self.answer_lines(hands, &offer) {
            Ok((agreed, answer)) => {
                hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(answer)));
                self.milestone(hands, Layer::Signalling, "re-invite answered", None);
                self.keep_agreed(hands, agreed);
                self.lines_negotiated(hands);
                self.show_metadata(hands);
            }
            Err(error) => {
                self.milestone(hands, Layer::Signalling, "re-invite refused", Some(error.to_string()));
                let headers = vec![warning(hands, error)];
                hands.endpoint.refuse(hands.now, dialog, sip::StatusCode::NOT_ACCEPTABLE_HERE, headers);
            }
        }
    }

    /// UPDATE before the answer: metadata, since an offer has no answer yet that it could follow.
    pub(super) fn lines_offered_early(
        &mut self,
        hands: &mut Hands<'_>,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        self.learn_metadata(hands, request);
        let status = match description(request).is_empty() {
            true => sip::StatusCode::OK,
            false => sip::StatusCode::NOT_ACCEPTABLE_HERE,
        };
        hands.endpoint.respond(hands.now, id, status, Vec::new(), None);
    }

    /// The client goes on in another dialog (RFC 3891): its other half has taken over. Both lines and what is known go on.
    pub(super) fn listening_taken_over(
        &mut self,
        hands: &mut Hands<'_>,
        dialog: sip::DialogId,
        request: &sip::Message,
        flow: sip::Flow,
    ) {
        let State::Talking { .. } = self.state else {
            let status = sip::StatusCode::DECLINE;
            let reason = reason_header(status, "the call is not in conversation");
            return hands.endpoint.refuse(hands.now, dialog, status, vec![("Reason".into(), reason)]);
        };
        let kept = self.begin_anew(hands);
        self.learn_metadata(hands, request);
        let (agreed, answer) = match self.answer_lines(hands, &description(request)) {
            Ok(answered) => answered,
            Err(error) => {
                self.go_on_as_before(kept);
                let headers = vec![warning(hands, error)];
                return hands.endpoint.refuse(
                    hands.now,
                    dialog,
                    sip::StatusCode::NOT_ACCEPTABLE_HERE,
                    headers,
                );
            }
        };
        let before = self.leg.dialog;
        self.leg.begin(dialog);
        hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(answer)));
        if let Some(before) = before {
            let reason = reason_header(sip::StatusCode::OK, "Replaced");
            hands.endpoint.hang_up(hands.now, before, vec![("Reason".into(), reason)]);
        }
        let sip_call_id = request.call_id().unwrap_or_default().to_owned();
        self.story.change(hands.outputs, |view| {
            view.sip.call_id = Some(sip_call_id.clone());
            for leg in &mut view.legs {
                leg.peer = flow.peer.to_string();
                leg.sip_call_id.clone_from(&sip_call_id);
            }
        });
        self.milestone(hands, Layer::Signalling, "dialog replaced", Some(format!("from {}", flow.peer)));
        self.keep_agreed(hands, agreed);
        self.lines_negotiated(hands);
        self.show_metadata(hands);
    }

    /// Both lines on their ports, as nothing had been said; what they were, for the case that nothing comes of it.
    fn begin_anew(&mut self, hands: &mut Hands<'_>) -> Kept {
        let mut negotiators = [None, None];
        for (leg, kept) in [self.leg.id, SECOND].into_iter().zip(&mut negotiators) {
            let Some(line) = self.line(leg) else { continue };
            let Some(before) = line.negotiator.take() else { continue };
            let mut negotiator = before.anew(rand::Rng::random::<u64>(hands.chance) >> 1);
            line.protect(hands, &mut negotiator);
            negotiator.want(media::Direction::RecvOnly);
            line.negotiator = Some(negotiator);
            *kept = Some(before);
        }
        let fresh = Lines::new(rand::Rng::random::<u64>(hands.chance) >> 1);
        let lines = self.siprec.as_mut().map(|siprec| std::mem::replace(&mut siprec.lines, fresh));
        Kept { negotiators, lines }
    }

    fn go_on_as_before(&mut self, kept: Kept) {
        for (leg, before) in [self.leg.id, SECOND].into_iter().zip(kept.negotiators) {
            if let (Some(line), Some(before)) = (self.line(leg), before) {
                line.negotiator = Some(before);
            }
        }
        if let (Some(siprec), Some(lines)) = (&mut self.siprec, kept.lines) {
            siprec.lines = lines;
        }
    }

    /// The session timer was refreshed, perhaps with news of who is there.
    pub(super) fn listening_refreshed(&mut self, hands: &mut Hands<'_>, message: &sip::Message) {
        let by = if message.status().is_some() { "by us" } else { "by the far end" };
        self.milestone(hands, Layer::Signalling, "session refreshed", Some(by.to_owned()));
        self.learn_metadata(hands, message);
    }

    /// No packets of one line for too long. The session is over when none comes on any line that should bring some.
    pub(super) fn line_silent(&mut self, hands: &mut Hands<'_>, leg: LegId) {
        self.milestone(hands, Layer::Media, "no packets on a line", Some(format!("leg {}", leg.0)));
        let both = [self.leg.id, SECOND];
        let came = |leg: LegId| {
            self.story.view().legs.iter().find(|known| known.leg == leg.0).map_or(0, |known| known.frames_up)
        };
        let came = both.map(came);
        let receives = both.map(|leg| {
            let agreed = self.line(leg).and_then(|line| line.negotiated.as_ref());
            agreed.is_some_and(|agreed| agreed.direction.receives())
        });
        let Some(siprec) = &mut self.siprec else { return };
        if let Some(place) = both.iter().position(|known| *known == leg) {
            siprec.silent[place] = Some(came[place]);
        }
        let is_over =
            (0..both.len()).all(|place| !receives[place] || siprec.silent[place] == Some(came[place]));
        if is_over {
            let raw = telling::raw_code("media.timeout", "no RTP came on any line for too long");
            self.end(hands, EndReason::MediaTimeout, raw, Farewell::hang_up("Media timeout"));
        }
    }

    /// The engine hears both lines, and nobody hears anybody.
    pub(super) fn listening_route(&self) -> Option<Route> {
        self.siprec.as_ref()?;
        let engine_hears = vec![self.leg.id, SECOND];
        Some(Route { engine_to: None, engine_hears, hears: Vec::new(), muted: Vec::new() })
    }

    /// Whether there is somebody at the far end who could be spoken to or handed on.
    pub(super) fn may_be_spoken_to(&self) -> Result<(), CommandError> {
        match self.siprec {
            Some(_) => Err(CommandError::CallListenOnly),
            None => Ok(()),
        }
    }
}

/// What both lines were.
struct Kept {
    negotiators: [Option<media::Negotiator>; 2],
    lines: Option<Lines>,
}
