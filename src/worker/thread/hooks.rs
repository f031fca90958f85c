//! Platforms' sessions on a worker: what is heard on them goes to the legs of their calls, what those say comes back.

use std::time::{Duration, Instant, SystemTime};

use rand::RngCore;
use serde_json::Map;
use tracing::{debug, warn};

use super::super::call::Call;
use super::super::hook::{HookLeg, Hooked, RTP_HEADER};
use super::super::link::{Lingering, Link, Lost, Received};
use super::super::poller::{Interest, Token};
use super::super::voice::Turn;
use super::{Due, Farewell, Shared};
use crate::bridge::{AudioHook, HOOK_FRAME, HookParting, HookSaid, HookSocket, Incoming, Outgoing};
use crate::call::{DtmfMethod, FIRST_LEG, HookFact, HookOrder, LegId, SECOND_LEG, VoiceFact};

/// How long a platform may take to answer our goodbye.
pub(super) const LAST_WORD: Duration = Duration::from_secs(5);

/// A platform pings every five seconds; who says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(30);

/// The audio of a session has no time-out of its own: a platform that pauses still pings.
const NEVER: Duration = Duration::from_secs(100 * 24 * 3600);

/// As long as a key lasts that comes without a length.
const KEY: Duration = Duration::from_millis(160);

impl Shared {
    pub(super) fn attach_hook(&mut self, now: Instant, call: &mut Call, socket: HookSocket) {
        // One session after the other; nobody speaks in two.
        self.close_hook(now, call);
        let HookSocket { hook, websocket, peer } = socket;
        let link = Link::new(now, websocket, &self.config.watch);
        if let Err(error) = self.poller.add(&link, Token::Hook(call.key), Interest::READ) {
            call.facts.push_back(VoiceFact::Hook(HookFact::Lost { why: error.to_string() }));
            return;
        }
        let legs = Vec::with_capacity(hook.channels().count());
        call.hook = Some(Box::new(Hooked { hook, link, watched: Interest::READ, peer, heard: now, legs }));
        call.facts.push_back(VoiceFact::Hook(HookFact::Arrived));
        // What came behind the `open` is in no socket any more: the poller would not tell of it.
        self.hear_hook(now, call);
    }

    pub(super) fn hear_hook(&mut self, now: Instant, call: &mut Call) {
        if let Some(hooked) = &mut call.hook {
            hooked.link.ready_to_read();
        }
        while let Some(hooked) = &mut call.hook {
            let received = match hooked.link.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(lost) => return self.lose_hook(now, call, &lost),
            };
            hooked.heard = now;
            let message = match &received {
                Received::Text(text) => Incoming::Text(text),
                Received::Binary(bytes) => Incoming::Binary(bytes),
            };
            match hooked.hook.understand(now, message, &mut self.to_platform) {
                Ok(said) => self.hook_said(now, call, said),
                Err(fault) => {
                    hooked.hook.fail(&fault, &mut self.to_platform);
                    self.tell_platform(now, call);
                    return self.lose_hook(now, call, &Lost::protocol(fault.to_string(), 1002));
                }
            }
            self.tell_platform(now, call);
        }
    }

    fn hook_said(&mut self, now: Instant, call: &mut Call, said: HookSaid) {
        let fact = match said {
            HookSaid::Audio => return self.hook_audio(now, call),
            HookSaid::Digit(digit) => {
                let mut turn = Turn {
                    out: &mut self.out,
                    facts: &mut call.facts,
                    tally: &mut self.tally,
                    scratch: &mut self.scratch,
                };
                call.voice.pressed(now, FIRST_LEG, digit, KEY, DtmfMethod::Info, &mut turn);
                self.speak(now, call);
                return;
            }
            HookSaid::Paused => HookFact::Paused,
            HookSaid::Resumed => HookFact::Resumed,
            HookSaid::Closing { reason } => HookFact::Closing { reason },
            HookSaid::Open(_) | HookSaid::Probe | HookSaid::Closed | HookSaid::Nothing => return,
        };
        call.facts.push_back(VoiceFact::Hook(fact));
    }

    fn hook_audio(&mut self, now: Instant, call: &mut Call) {
        let mut frames = [[0; HOOK_FRAME]; 2];
        let congested = self.is_congested(call);
        let Call { hook: Some(hooked), voice, facts, .. } = call else { return };
        let skipped = hooked.hook.take_skipped();
        if !skipped.is_zero() {
            hooked.legs.iter_mut().for_each(|leg| leg.skip(skipped));
        }
        while hooked.hook.next_frame(&mut frames) {
            for (leg, frame) in hooked.legs.iter_mut().zip(&frames) {
                let packet = leg.packet(frame);
                let mut turn =
                    Turn { out: &mut self.out, facts, tally: &mut self.tally, scratch: &mut self.scratch };
                voice.handle_rtp(now, leg.id, hooked.peer, &packet, congested, &mut turn);
            }
        }
        self.speak(now, call);
    }

    /// A beat of one of its legs, with the packet that would be sent.
    pub(super) fn say_to_platform(
        &mut self,
        now: Instant,
        call: &mut Call,
        leg: LegId,
        packet: Option<&[u8]>,
    ) {
        let spoke = call.voice.spoke();
        let Some(hooked) = call.hook.as_mut().filter(|_| leg == FIRST_LEG) else { return };
        match packet.and_then(|packet| packet.get(RTP_HEADER..)).filter(|_| spoke) {
            Some(audio) => hooked.hook.say(audio, &mut self.to_platform),
            None => hooked.hook.fall_silent(&mut self.to_platform),
        }
        self.tell_platform(now, call);
    }

    pub(super) fn obey_hook(&mut self, now: Instant, call: &mut Call, order: HookOrder) {
        match order {
            HookOrder::Take => self.take_hook(now, call),
            HookOrder::Renew => return self.close_hook(now, call),
            HookOrder::Leave { completed, info, variables } => {
                let Some(hooked) = &mut call.hook else { return };
                let parting = if completed { HookParting::Completed } else { HookParting::Error };
                hooked.hook.leave(parting, &info, &variables, &mut self.to_platform);
            }
        }
        self.tell_platform(now, call);
    }

    fn take_hook(&mut self, now: Instant, call: &mut Call) {
        let Call { key, hook: Some(hooked), voice, facts, .. } = call else { return };
        hooked.hook.take(&mut self.to_platform);
        let agreed = media::Negotiated {
            telephone_event: None,
            ..media::Negotiated::plain(hooked.peer, media::Codec::Pcmu)
        };
        voice.watch_beats();
        for id in [FIRST_LEG, SECOND_LEG].into_iter().take(hooked.hook.channels().count()) {
            if hooked.legs.iter().any(|leg| leg.id == id) {
                continue;
            }
            let seed = self.chance.next_u64();
            let mut turn =
                Turn { out: &mut self.out, facts, tally: &mut self.tally, scratch: &mut self.scratch };
            voice.open(id, NEVER);
            voice.negotiated(now, SystemTime::now(), seed, id, &agreed, &mut turn);
            let seat = self.beats.add(Due::Leg(*key, id));
            hooked.legs.push(HookLeg::new(id, seat, seed as u32));
        }
        self.speak(now, call);
    }

    /// Sends what was written for the platform.
    fn tell_platform(&mut self, now: Instant, call: &mut Call) {
        while let Some((form, message)) = self.to_platform.pop() {
            let Some(hooked) = &mut call.hook else { continue };
            if let Err(lost) = hooked.link.send(now, form, message) {
                self.to_platform.clear();
                return self.lose_hook(now, call, &lost);
            }
        }
    }

    pub(super) fn flush_hook(&mut self, now: Instant, call: &mut Call) {
        let Some(hooked) = &mut call.hook else { return };
        if let Err(lost) = hooked.link.flush(now) {
            self.lose_hook(now, call, &lost);
        }
    }

    pub(super) fn look_after_hook(&mut self, now: Instant, call: &mut Call) {
        let watch = self.config.watch;
        let Some(hooked) = &mut call.hook else { return };
        let silent = now.saturating_duration_since(hooked.heard) >= IDLE;
        let watched = match silent {
            true => Err(Lost::protocol(format!("nothing was heard for {} s", IDLE.as_secs()), 1008)),
            false => hooked.link.watch(now, &watch),
        };
        if let Err(lost) = watched {
            self.lose_hook(now, call, &lost);
        }
    }

    /// The platform is gone, or has to go because of what it did.
    fn lose_hook(&mut self, now: Instant, call: &mut Call, lost: &Lost) {
        debug!(call = %call.id, failure = %lost.failure, "a platform's session is gone");
        let Some(mut hooked) = self.take_away_hook(call) else { return };
        if let Some(code) = lost.close {
            hooked.link.close(code);
            self.say_farewell(now, hooked.link, None);
        }
        call.facts.push_back(VoiceFact::Hook(HookFact::Lost { why: lost.failure.to_string() }));
    }

    fn take_away_hook(&mut self, call: &mut Call) -> Option<Box<Hooked>> {
        let mut hooked = call.hook.take()?;
        for leg in hooked.legs.drain(..) {
            self.beats.remove(leg.seat, Due::Leg(call.key, leg.id));
        }
        Some(hooked)
    }

    /// The call is over: what has to be said to the platform is, if it was not.
    pub(super) fn close_hook(&mut self, now: Instant, call: &mut Call) {
        let Some(mut hooked) = self.take_away_hook(call) else { return };
        let parting = HookParting::Error;
        let is_over = hooked.hook.leave(parting, "the call is over", &Map::new(), &mut self.to_platform);
        if send(now, &mut hooked.link, &mut self.to_platform).is_err() {
            return;
        }
        if is_over {
            hooked.link.close(1000);
        }
        let Hooked { hook, link, .. } = *hooked;
        // The end of the connection is ours as well: who has dialled waits for it.
        self.say_farewell(now, link, Some(hook));
    }

    /// What the poller should look for, and whether the platform should forget what it was sent.
    pub(super) fn watch_hook(&mut self, call: &mut Call) {
        let (key, read, cleared) = (call.key, call.is_listening(), call.voice.take_cleared());
        let Some(hooked) = &mut call.hook else { return };
        if cleared {
            hooked.hook.barge_in(&mut self.to_platform);
            self.tell_platform(Instant::now(), call);
        }
        let Some(hooked) = &mut call.hook else { return };
        let wanted = Interest { read, write: hooked.link.waits_for_room() };
        if hooked.watched == wanted {
            return;
        }
        hooked.watched = wanted;
        if let Err(error) = self.poller.modify(&hooked.link, Token::Hook(key), wanted) {
            warn!(call = %call.id, %error, "a platform's socket cannot be watched");
        }
    }
}

/// A platform whose call is over says its last word.
pub(super) fn hear_last_word(
    now: Instant,
    farewell: &mut Farewell,
    mut hook: AudioHook,
    out: &mut Outgoing,
) -> Lingering {
    let link = &mut farewell.link;
    link.ready_to_read();
    loop {
        let said = match link.receive() {
            Ok(Some(Received::Text(text))) => hook.understand(now, Incoming::Text(&text), out),
            Ok(Some(Received::Binary(bytes))) => hook.understand(now, Incoming::Binary(&bytes), out),
            Ok(None) => {
                // Not yet.
                farewell.hook = Some(hook);
                return Lingering::Open;
            }
            Err(_) => return Lingering::Closed,
        };
        if send(now, link, out).is_err() {
            return Lingering::Closed;
        }
        match said {
            Ok(HookSaid::Closed) => link.close(1000),
            Err(_) => return Lingering::Closed,
            Ok(
                HookSaid::Open(_)
                | HookSaid::Probe
                | HookSaid::Audio
                | HookSaid::Digit(_)
                | HookSaid::Paused
                | HookSaid::Resumed
                | HookSaid::Closing { .. }
                | HookSaid::Nothing,
            ) => {}
        }
    }
}

fn send(now: Instant, link: &mut Link, out: &mut Outgoing) -> Result<(), Lost> {
    while let Some((form, message)) = out.pop() {
        if let Err(lost) = link.send(now, form, message) {
            out.clear();
            return Err(lost);
        }
    }
    Ok(())
}
