//! One side of a call: its dialog, what both ends agreed to send, and, where we call, how far the calling is.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::identity::{self, Privacy, Shown};
use super::ids::{CallId, LegId};
use super::number::{self, NotDialable};
use super::one::{Hands, context_headers};
use super::output::Output;
use super::redirect::{self, Redirects};
use super::settings::{Provider, Trunk};

/// How long a target may say nothing while there is another one.
const TRY: Duration = Duration::from_secs(4);

/// Forks whose early answers are kept.
const MAX_FORKS: usize = 16;

/// One side of a call.
pub(super) struct Leg {
    pub(super) id: LegId,
    /// Over whose trunk it runs.
    pub(super) provider: Arc<Provider>,
    pub(super) dialog: Option<sip::DialogId>,
    pub(super) negotiator: Option<media::Negotiator>,
    pub(super) negotiated: Option<media::Negotiated>,
    /// Our answer to the offer in the INVITE.
    pub(super) answer: Option<bytes::Bytes>,
    /// We sent an offer with a 2xx; the ACK brings the answer.
    pub(super) owes_answer: bool,
    /// Forks whose reliable ringing has brought an answer to our offer, by To tag: their 200 may say no more.
    pub(super) early_answers: Vec<(String, media::Negotiated)>,
    pub(super) held: bool,
    /// Where we call somebody.
    pub(super) dialling: Option<Dialling>,
    /// Nothing of the dialog is left.
    pub(super) dialog_gone: bool,
}

/// An INVITE of ours: to whom, and which targets of the trunk are still to be asked.
pub(super) struct Dialling {
    /// As it was asked for.
    pub(super) to: String,
    /// Number or URI.
    pub(super) from: String,
    /// Whether `from` is kept quiet.
    pub(super) privacy: Privacy,
    /// What was asked to be added.
    pub(super) headers: Vec<(String, String)>,
    /// Our offer, once there is a port.
    pub(super) offer: Option<bytes::Bytes>,
    /// Where the INVITE is, and whether the phone was heard to ring there.
    pub(super) tried: Option<(sip::Target, bool)>,
    /// Where it goes next if it comes to nothing there.
    pub(super) targets: VecDeque<sip::Target>,
    /// Whom to ask for instead of `to`, where the trunk has sent the call elsewhere.
    pub(super) elsewhere: Option<sip::Uri>,
    pub(super) redirects: Redirects,
}

/// What a target did with an INVITE.
pub(super) enum Outcome<'a> {
    /// Anything but silence.
    Answered(&'a str),
    /// Nothing, or it asks to be left alone for a while.
    Failed(&'a str, Option<Duration>),
}

/// Where an INVITE went.
pub(super) struct Invited {
    pub(super) target: sip::Target,
    pub(super) sip_call_id: String,
}

/// Why a new offer of the far end was not answered.
pub(super) enum NotAnswered {
    /// There is no dialog or no port yet.
    TooEarly,
    /// Refused with this.
    Refused { why: String },
}

/// What came of a new offer, or of a request for one.
pub(super) enum Reoffered {
    /// Answered; this holds from now on.
    Negotiated(media::Negotiated),
    /// We have offered; the ACK will say.
    Offered,
}

impl Leg {
    pub(super) fn new(id: LegId, provider: Arc<Provider>, dialog: Option<sip::DialogId>) -> Self {
        Self {
            id,
            provider,
            dialog_gone: dialog.is_none(),
            dialog,
            negotiator: None,
            negotiated: None,
            answer: None,
            owes_answer: false,
            early_answers: Vec::new(),
            held: false,
            dialling: None,
        }
    }

    /// The leg's dialog, from its INVITE on.
    pub(super) fn begin(&mut self, dialog: sip::DialogId) {
        self.dialog = Some(dialog);
        self.dialog_gone = false;
        self.early_answers.clear();
    }

    /// Who offers and answers for this leg, whose audio is at `port`.
    pub(super) fn negotiator(&self, hands: &mut Hands<'_>, port: u16) -> media::Negotiator {
        let local = media::LocalMedia {
            address: hands.settings.media_address,
            port,
            codecs: self.provider.trunk.codecs.clone(),
            telephone_event: true,
            ptime_ms: 20,
        };
        let mut negotiator = media::Negotiator::new(local, rand::Rng::random::<u64>(hands.chance) >> 1);
        if self.provider.trunk.rtcp_mux {
            negotiator.want_mux();
        }
        self.protect(hands, &mut negotiator);
        negotiator
    }

    /// Keys for a new session of this leg, where its trunk wants any.
    pub(super) fn protect(&self, hands: &mut Hands<'_>, negotiator: &mut media::Negotiator) {
        let policy = self.provider.trunk.srtp;
        match policy {
            media::SrtpPolicy::Off => {}
            media::SrtpPolicy::Prefer | media::SrtpPolicy::Require => {
                let mut random = [0; media::SrtpKey::LONGEST];
                let keys = media::SrtpSuite::ALL.map(|suite| {
                    rand::RngCore::fill_bytes(hands.secrets, &mut random);
                    media::SrtpKey::from_random(suite, &random)
                });
                negotiator.protect(policy, keys.to_vec());
                if let Some(identity) = &self.provider.trunk.dtls {
                    negotiator.shake_hands(identity.clone(), self.provider.trunk.srtp_keys);
                }
            }
        }
    }

    /// INVITE to the next target.
    ///
    /// # Errors
    /// When no target is left, or what was asked for cannot be written as a URI.
    pub(super) fn invite_next(
        &mut self,
        hands: &mut Hands<'_>,
        call: CallId,
        context: &Context,
    ) -> Result<Invited, NotDialable> {
        let mut headers = context_headers(hands, call, &self.provider.tenant, context);
        let patience = self.patience();
        let trunk = &self.provider.trunk;
        let dialling = self.dialling.as_mut().ok_or(NotDialable::NoDomain)?;
        let asked = number::uri(&dialling.to, trunk)?;
        let from = from_address(&dialling.from, &self.provider, &hands.settings.sip_host)?;
        let target = dialling.targets.pop_front().ok_or(NotDialable::NoDomain)?;
        let Shown { from, headers: told } = identity::shown(from, dialling.privacy, trunk.identity);
        headers.extend(told);
        headers.extend(dialling.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
        ruled(&mut headers, trunk);
        let to = sip::NameAddr::new(asked.clone());
        let request_uri = dialling.elsewhere.clone().unwrap_or(asked);
        let invite = sip::Invite {
            credentials: trunk.credentials.clone(),
            headers,
            body: dialling.offer.clone().map(sip::Body::sdp),
            timer_b: Some(patience),
            policy: trunk.policy,
            ..sip::Invite::new(target, request_uri, from, to)
        };
        dialling.tried = Some((target, false));
        let dialog = hands.endpoint.invite(hands.now, invite);
        self.begin(dialog);
        if let Some(ways) = hands.ways.get_mut(&self.provider.key) {
            ways.tried(hands.now, target);
        }
        let sip_call_id = hands.endpoint.call_id(dialog).unwrap_or_default().to_owned();
        Ok(Invited { target, sip_call_id })
    }

    /// How long a target may say nothing: less while there is another one to ask.
    fn patience(&self) -> Duration {
        let patience = self.provider.trunk.response_timeout;
        let more = self.dialling.as_ref().is_some_and(|dialling| dialling.targets.len() > 1);
        if more { patience.min(TRY) } else { patience }
    }

    /// The phone was heard to ring there; whether that is news.
    pub(super) fn rang(&mut self, hands: &mut Hands<'_>, status: u16) -> bool {
        let tried = self.dialling.as_mut().and_then(|dialling| dialling.tried.as_mut());
        let Some((_, rang @ false)) = tried else { return false };
        *rang = true;
        self.judge(hands, Outcome::Answered(&status.to_string()));
        true
    }

    /// The target has answered, or has not: what it means for other calls.
    pub(super) fn judge(&self, hands: &mut Hands<'_>, outcome: Outcome<'_>) {
        let tried = self.dialling.as_ref().and_then(|dialling| dialling.tried);
        let (Some((target, _)), Some(ways)) = (tried, hands.ways.get_mut(&self.provider.key)) else { return };
        let at = hands.outputs.timestamp(hands.now);
        let changed = match outcome {
            Outcome::Answered(_) if ways.is_up(target) => false,
            Outcome::Answered(detail) => ways.succeeded(target, detail, at),
            Outcome::Failed(detail, retry_after) => {
                ways.failed(hands.now, target, detail, retry_after, at);
                true
            }
        };
        if changed {
            let health = ways.health(hands.now);
            hands.outputs.push(Output::Health { provider: self.provider.key.clone(), health });
        }
    }

    /// What a final refusal says of its target; whether another may be asked (RFC 3263 §4.3).
    pub(super) fn judge_refusal(&self, hands: &mut Hands<'_>, response: &sip::Message, told: &str) -> bool {
        if response.status() != Some(sip::StatusCode::SERVICE_UNAVAILABLE) {
            self.judge(hands, Outcome::Answered(told));
            return false;
        }
        // RFC 3261 §21.5.4: without Retry-After it is about this call only.
        let retry_after =
            response.retry_after().ok().flatten().map(|after| Duration::from_secs(after.seconds.into()));
        match retry_after {
            Some(_) => self.judge(hands, Outcome::Failed(told, retry_after)),
            None => self.judge(hands, Outcome::Answered(told)),
        }
        true
    }

    /// The target that failed, if there is another one and nobody's phone has rung.
    pub(super) fn may_fail_over(&self) -> Option<sip::Target> {
        let dialling = self.dialling.as_ref()?;
        let (target, false) = dialling.tried? else { return None };
        (!dialling.targets.is_empty()).then_some(target)
    }

    /// After a refusal, or no response at all: whom of the Contacts that it or an earlier one named the INVITE goes to
    /// next, if to anybody.
    pub(super) fn redirected(
        &mut self,
        hands: &mut Hands<'_>,
        response: Option<&sip::Message>,
    ) -> Option<sip::Uri> {
        let trunk = &self.provider.trunk;
        let status = response.and_then(sip::Message::status).map_or(408, sip::StatusCode::code);
        let dialling = self.dialling.as_mut().filter(|_| status < 600 && trunk.follow_redirects)?;
        // 305 is deprecated, and 380 is for people.
        if let (300..=302, Some(response)) = (status, response) {
            let asked = dialling.elsewhere.clone().or_else(|| number::uri(&dialling.to, trunk).ok())?;
            let forbidden = dialling.redirects.learn(&asked, response, trunk);
            *hands.forbidden += forbidden.len() as u64;
        }
        let next = dialling.redirects.next()?;
        let usual = match hands.ways.get(&self.provider.key) {
            Some(ways) => ways.order(hands.now, hands.chance),
            None => trunk.targets.iter().map(|at| at.target).collect(),
        };
        dialling.targets = redirect::way(&next, trunk, usual);
        dialling.tried = None;
        dialling.elsewhere = Some(next.clone());
        (!dialling.targets.is_empty()).then_some(next)
    }

    /// A reliable provisional response may be where the answer is (RFC 3262 §5): the 200 of that fork has none then.
    pub(super) fn take_early_answer(&mut self, response: &sip::Message) -> Result<(), media::SdpError> {
        let is_reliable = response.has_token(sip::HeaderName::Require, "100rel");
        let (true, false, Some(negotiator)) =
            (is_reliable, response.body().is_empty(), self.negotiator.as_mut())
        else {
            return Ok(());
        };
        let negotiated = negotiator.handle_answer(&super::inbound::description(response))?;
        let tag = to_tag(response);
        self.early_answers.retain(|(known, _)| *known != tag);
        if self.early_answers.len() < MAX_FORKS {
            self.early_answers.push((tag, negotiated));
        }
        Ok(())
    }

    /// What the 2xx agrees on; its answer may have come before.
    pub(super) fn final_answer(
        &mut self,
        response: &sip::Message,
    ) -> Result<media::Negotiated, media::SdpError> {
        let tag = to_tag(response);
        let early = std::mem::take(&mut self.early_answers).into_iter().find(|(known, _)| *known == tag);
        match (early, &mut self.negotiator) {
            (Some((_, negotiated)), _) if response.body().is_empty() => Ok(negotiated),
            (_, Some(negotiator)) => negotiator.handle_answer(&super::inbound::description(response)),
            (_, None) => Err(media::SdpError::NoOffer),
        }
    }

    /// A new offer in the running dialog, or a request for one, answered.
    pub(super) fn reoffered(
        &mut self,
        hands: &mut Hands<'_>,
        request: &sip::Message,
    ) -> Result<Reoffered, NotAnswered> {
        let (Some(dialog), Some(negotiator)) = (self.dialog, self.negotiator.as_mut()) else {
            return Err(NotAnswered::TooEarly);
        };
        if let Some((status, headers)) = super::content::refusal(request) {
            hands.endpoint.refuse(hands.now, dialog, status, headers);
            return Err(NotAnswered::Refused { why: status.to_string() });
        }
        let offer = super::inbound::description(request);
        if offer.is_empty() {
            let description = negotiator.offer(media::Direction::SendRecv);
            self.owes_answer = true;
            hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(description)));
            return Ok(Reoffered::Offered);
        }
        match negotiator.handle_offer(&offer) {
            Ok((negotiated, answer)) => {
                hands.endpoint.accept(hands.now, dialog, Vec::new(), Some(sip::Body::sdp(answer)));
                Ok(Reoffered::Negotiated(negotiated))
            }
            Err(error) => {
                let headers = vec![warning(hands, error)];
                hands.endpoint.refuse(hands.now, dialog, sip::StatusCode::NOT_ACCEPTABLE_HERE, headers);
                Err(NotAnswered::Refused { why: error.to_string() })
            }
        }
    }

    /// What a refreshed session (RFC 4028) says anew, if anything. A re-INVITE of ours for it has offered what holds.
    pub(super) fn refreshed(
        &mut self,
        message: &sip::Message,
    ) -> Result<Option<media::Negotiated>, media::SdpError> {
        let (Some(_), false, Some(negotiator)) =
            (message.status(), message.body().is_empty(), self.negotiator.as_mut())
        else {
            return Ok(None);
        };
        let negotiated = negotiator.handle_repeated(&super::inbound::description(message))?;
        Ok((self.negotiated.as_ref() != Some(&negotiated)).then_some(negotiated))
    }
}

impl Dialling {
    /// To `to`, over `targets` in this order.
    pub(super) fn new(to: String, from: String, targets: VecDeque<sip::Target>) -> Self {
        Self {
            to,
            from,
            privacy: Privacy::None,
            headers: Vec::new(),
            offer: None,
            tried: None,
            targets,
            elsewhere: None,
            redirects: Redirects::default(),
        }
    }
}

/// `Warning` (RFC 3261 §20.43) for a session description that cannot be used.
pub(super) fn warning(hands: &Hands<'_>, error: media::SdpError) -> (Cow<'static, str>, String) {
    let text = error.to_string().replace('"', "'");
    ("Warning".into(), format!("{} {} \"{text}\"", error.warning_code(), hands.settings.sip_host))
}

/// Leaves out and replaces what the trunk is configured to.
fn ruled(headers: &mut sip::Headers, trunk: &Trunk) {
    let is_replaced = |name: &str| {
        let set = trunk.set_headers.iter().map(|(name, _)| name);
        set.chain(&trunk.remove_headers).any(|ruled| ruled.eq_ignore_ascii_case(name))
    };
    headers.retain(|(name, _)| !is_replaced(name));
    headers.extend(trunk.set_headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
}

fn to_tag(response: &sip::Message) -> String {
    response.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default()
}

fn from_address(from: &str, provider: &Provider, sip_host: &str) -> Result<sip::NameAddr, NotDialable> {
    let uri = match from.split_once(':') {
        Some(_) => number::uri(from, &provider.trunk)?,
        None => {
            let host = provider.trunk.domain.as_deref().unwrap_or(sip_host);
            let user = provider.trunk.numbers_out.apply(from).replace('#', "%23");
            sip::Uri::parse(format!("sip:{user}@{host}")).map_err(|_| NotDialable::Syntax)?
        }
    };
    Ok(sip::NameAddr::new(uri))
}
