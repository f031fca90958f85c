//! A telephone at the far end: our own SIP endpoint with the moods of a random peer.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use sip::endpoint::Event;
use sip::{Body, DialogId, Endpoint, StatusCode};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// What a telephone means to do with one call.
#[derive(Debug, Clone)]
pub(crate) struct Mood {
    /// As caller: gives up after this long. As callee: refuses after this long.
    pub(crate) impatience: Option<Duration>,
    /// As callee: rings this long before it answers; `None` never does.
    pub(crate) rings: Option<Duration>,
    /// As callee: how it refuses, when it does.
    pub(crate) refusal: StatusCode,
    /// Hangs up this long after the answer; `None` leaves it to us.
    pub(crate) talks: Option<Duration>,
    /// Holds the call at this time after the answer.
    pub(crate) holds: Option<Duration>,
    /// What it does with REFER.
    pub(crate) refer: ReferMood,
    /// Sends its offer only in the ACK's other direction: an INVITE without a body.
    pub(crate) offers_late: bool,
    /// Offers what nobody can speak.
    pub(crate) speaks_nothing: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum ReferMood {
    Succeeds,
    Fails,
    Refuses,
    Silent,
}

impl Mood {
    pub(crate) fn random(chance: &mut StdRng) -> Self {
        let mut sometimes = |probability: f64, most: u64| {
            chance.random_bool(probability).then(|| Duration::from_millis(chance.random_range(0..most)))
        };
        let impatience = sometimes(0.25, 9_000);
        let rings = sometimes(0.85, 8_000);
        let talks = sometimes(0.6, 20_000);
        let holds = sometimes(0.2, 10_000);
        let refusals = [
            StatusCode::BUSY_HERE,
            StatusCode::TEMPORARILY_UNAVAILABLE,
            StatusCode::DECLINE,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        Self {
            impatience,
            rings,
            talks,
            holds,
            refusal: refusals[chance.random_range(0..refusals.len())],
            refer: [ReferMood::Succeeds, ReferMood::Fails, ReferMood::Refuses, ReferMood::Silent]
                [chance.random_range(0..4)],
            offers_late: chance.random_bool(0.1),
            speaks_nothing: chance.random_bool(0.04),
        }
    }

    /// What goes into the INVITE.
    pub(crate) fn offer(&self) -> Option<Body> {
        if self.offers_late {
            return None;
        }
        let sdp =
            if self.speaks_nothing { SDP.replace("RTP/AVP 0 101", "RTP/AVP 18 101") } else { SDP.to_owned() };
        Some(Body::sdp(sdp))
    }
}

impl Mood {
    /// What goes into the 200.
    pub(crate) fn answer(&self) -> Option<Body> {
        let sdp = if self.speaks_nothing { "v=0\r\n" } else { SDP };
        Some(Body::sdp(sdp))
    }
}

/// The offer that puts the other side on hold.
pub(crate) fn hold() -> Body {
    Body::sdp(format!("{SDP}a=sendonly\r\n").replace("o=- 1 1", "o=- 1 2"))
}

/// What a telephone does when its time comes.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Ring(DialogId),
    Answer(DialogId),
    Refuse(DialogId),
    HangUp(DialogId),
    Hold(DialogId),
}

/// The telephone's own part of the world: reacts to an event, and tells what it will do later.
pub(crate) fn react(
    endpoint: &mut Endpoint,
    now: Instant,
    event: Event,
    mood_of: &mut impl FnMut(DialogId) -> Mood,
    gone: &mut Vec<DialogId>,
) -> Vec<(Instant, Deed)> {
    let mut deeds = Vec::new();
    let answered = |dialog: DialogId, mood: &Mood, deeds: &mut Vec<(Instant, Deed)>| {
        deeds.extend(mood.talks.map(|after| (now + after, Deed::HangUp(dialog))));
        deeds.extend(mood.holds.map(|after| (now + after, Deed::Hold(dialog))));
    };
    match event {
        Event::Invited { dialog, .. } => {
            let mood = mood_of(dialog);
            deeds.push((now + Duration::from_millis(30), Deed::Ring(dialog)));
            deeds.extend(mood.rings.map(|after| (now + after, Deed::Answer(dialog))));
            deeds.extend(mood.impatience.map(|after| (now + after, Deed::Refuse(dialog))));
        }
        Event::Acknowledged { dialog, .. } => answered(dialog, &mood_of(dialog), &mut deeds),
        Event::Answered { dialog, .. } => {
            let mood = mood_of(dialog);
            endpoint.acknowledge(now, dialog, mood.offers_late.then(|| Body::sdp(SDP)));
            answered(dialog, &mood, &mut deeds);
        }
        Event::ReinviteAnswered { dialog, .. } => endpoint.acknowledge(now, dialog, None),
        Event::Reinvited { dialog, .. } | Event::Updated { dialog, .. } => {
            endpoint.accept(now, dialog, Vec::new(), Some(Body::sdp(SDP)));
        }
        Event::Referred { dialog, id, .. } => match mood_of(dialog).refer {
            ReferMood::Refuses => endpoint.respond(now, id, StatusCode::DECLINE, Vec::new(), None),
            ReferMood::Succeeds | ReferMood::Fails | ReferMood::Silent => {
                endpoint.respond(now, id, StatusCode::ACCEPTED, Vec::new(), None);
            }
        },
        Event::EarlyOffer { id, .. } => {
            endpoint.respond(now, id, StatusCode::OK, Vec::new(), Some(Body::sdp(SDP)));
        }
        Event::Info { id, .. } | Event::Notified { id, .. } | Event::Request { id, .. } => {
            endpoint.respond(now, id, StatusCode::OK, Vec::new(), None);
        }
        Event::Gone { dialog } => gone.push(dialog),
        Event::Cancelled { .. }
        | Event::Expired { .. }
        | Event::AckMissing { .. }
        | Event::Progress { .. }
        | Event::Refused { .. }
        | Event::Failed { .. }
        | Event::ReinviteCancelled { .. }
        | Event::ReinviteRefused { .. }
        | Event::HungUp { .. }
        | Event::ReferAccepted { .. }
        | Event::ReferRefused { .. }
        | Event::ReferProgress { .. }
        | Event::InfoAnswered { .. }
        | Event::InfoFailed { .. }
        | Event::Refreshed { .. }
        | Event::SessionExpired { .. }
        | Event::UpdateAnswered { .. }
        | Event::UpdateRefused { .. }
        | Event::Pracked { .. }
        | Event::PrackMissing { .. }
        | Event::RequestAnswered { .. }
        | Event::RequestFailed { .. } => {}
    }
    deeds
}
