//! Two endpoints and the owners of their calls: what each was told, as short words.

use std::time::Duration;

use sip::endpoint::Event;
use sip::simulate::{Faults, Happening, Network, Node};
use sip::{Body, DialogId, Headers, Invite, Message, NameAddr, Transport, Uri};

use crate::bench::beginning;

/// The first endpoint of each test.
pub(crate) const ALICE: Node = 0;
/// The second one.
pub(crate) const BOB: Node = 1;

/// Two endpoints on a network; everything told is kept.
pub(crate) struct Pair {
    pub(crate) network: Network,
    pub(crate) told: Vec<(Duration, Node, Event)>,
}

impl Pair {
    pub(crate) fn new(faults: Faults) -> Self {
        Self::seeded(1, faults)
    }

    pub(crate) fn seeded(seed: u64, faults: Faults) -> Self {
        let mut network = Network::new(beginning(), seed, faults);
        network.add(|_| {});
        network.add(|_| {});
        Self { network, told: Vec::new() }
    }

    /// Alice calls Bob with an offer.
    pub(crate) fn call(&mut self, transport: Transport) -> DialogId {
        let invite = self.invitation(transport);
        let now = self.network.now();
        self.network.endpoint(ALICE).invite(now, invite)
    }

    pub(crate) fn invitation(&self, transport: Transport) -> Invite {
        let target = self.network.target(BOB, transport);
        let invite = Invite::new(
            target,
            uri("sip:bob@10.0.0.2"),
            name("sip:alice@10.0.0.1"),
            name("sip:bob@10.0.0.2"),
        );
        Invite { body: Some(Body::sdp("offer")), ..invite }
    }

    /// Lets everything happen until the next event of a node for which `wanted` holds.
    pub(crate) fn until(&mut self, node: Node, wanted: &str) -> Event {
        while let Some(happening) = self.network.advance() {
            if let Happening::Event(who, event) = happening {
                self.told.push((self.network.elapsed(), who, event.clone()));
                if who == node && word(&event) == wanted {
                    return event;
                }
            }
        }
        panic!(
            "{node} was never told {wanted}; it was told {:?}\n{}",
            self.words(node),
            self.network.ladder()
        );
    }

    /// Lets everything happen until nothing is left, without any reaction.
    pub(crate) fn settle(&mut self) {
        while let Some(happening) = self.network.advance() {
            if let Happening::Event(who, event) = happening {
                self.told.push((self.network.elapsed(), who, event));
            }
        }
        for node in [ALICE, BOB] {
            let ledger = self.network.endpoint(node).ledger();
            assert_eq!(ledger, sip::Ledger::default(), "{node} holds something\n{}", self.network.ladder());
        }
    }

    /// Lets everything happen that does within `span`, without any reaction.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.network.elapsed() + span;
        while let Some(happening) = self.network.advance_until(end) {
            if let Happening::Event(who, event) = happening {
                self.told.push((self.network.elapsed(), who, event));
            }
        }
    }

    /// A call that is up: both dialogs.
    pub(crate) fn connected(&mut self, transport: Transport) -> (DialogId, DialogId) {
        let alice = self.call(transport);
        let bob = dialog(&self.until(BOB, "Invited"));
        self.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("answer"))));
        self.until(ALICE, "Answered");
        self.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
        self.until(BOB, "Acknowledged");
        (alice, bob)
    }

    pub(crate) fn act<T>(
        &mut self,
        node: Node,
        act: impl FnOnce(&mut sip::Endpoint, std::time::Instant) -> T,
    ) -> T {
        let now = self.network.now();
        act(self.network.endpoint(node), now)
    }

    /// What a node was told, in words.
    pub(crate) fn words(&self, node: Node) -> Vec<String> {
        self.told.iter().filter(|(_, who, _)| *who == node).map(|(.., event)| word(event)).collect()
    }

    /// When a node was told something the first time, in milliseconds.
    pub(crate) fn when(&self, node: Node, wanted: &str) -> Option<u128> {
        let found = self.told.iter().find(|(_, who, event)| *who == node && word(event) == wanted);
        found.map(|(at, ..)| at.as_millis())
    }

    /// The first lines that a node sent, without what all have in common.
    pub(crate) fn sent(&self, node: Node) -> Vec<String> {
        let ip = self.network.target(node, Transport::Udp).address.ip();
        let mine = self.network.traces().iter().filter(|trace| trace.from.ip() == ip);
        mine.map(|trace| short(&trace.start_line())).collect()
    }

    /// How often a node sent a message with that first line.
    pub(crate) fn times_sent(&self, node: Node, wanted: &str) -> usize {
        self.sent(node).iter().filter(|line| *line == wanted).count()
    }
}

/// `INVITE` of a request, `180` of a response.
pub(crate) fn short(start_line: &str) -> String {
    let mut words = start_line.split(' ');
    let first = words.next().unwrap_or_default();
    if first == "SIP/2.0" { words.next().unwrap_or_default().to_owned() } else { first.to_owned() }
}

/// The name of an event.
pub(crate) fn word(event: &Event) -> String {
    format!("{event:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// The dialog of an event.
pub(crate) fn dialog(event: &Event) -> DialogId {
    match event {
        Event::Invited { dialog, .. }
        | Event::Cancelled { dialog, .. }
        | Event::Expired { dialog }
        | Event::Acknowledged { dialog, .. }
        | Event::AckMissing { dialog }
        | Event::Progress { dialog, .. }
        | Event::Answered { dialog, .. }
        | Event::Refused { dialog, .. }
        | Event::Failed { dialog, .. }
        | Event::Reinvited { dialog, .. }
        | Event::Updated { dialog, .. }
        | Event::ReinviteCancelled { dialog }
        | Event::ReinviteAnswered { dialog, .. }
        | Event::ReinviteRefused { dialog, .. }
        | Event::HungUp { dialog, .. }
        | Event::Referred { dialog, .. }
        | Event::Info { dialog, .. }
        | Event::Notified { dialog, .. }
        | Event::ReferAccepted { dialog, .. }
        | Event::ReferRefused { dialog, .. }
        | Event::ReferProgress { dialog, .. }
        | Event::InfoAnswered { dialog, .. }
        | Event::InfoFailed { dialog, .. }
        | Event::Refreshed { dialog, .. }
        | Event::SessionExpired { dialog }
        | Event::UpdateAnswered { dialog, .. }
        | Event::UpdateRefused { dialog, .. }
        | Event::Pracked { dialog, .. }
        | Event::PrackMissing { dialog }
        | Event::EarlyOffer { dialog, .. }
        | Event::Gone { dialog } => *dialog,
        Event::Request { .. } | Event::RequestAnswered { .. } | Event::RequestFailed { .. } => {
            panic!("{event:?} has no dialog")
        }
    }
}

/// The message of an event.
pub(crate) fn message(event: &Event) -> &Message {
    match event {
        Event::Invited { request, .. }
        | Event::Cancelled { request, .. }
        | Event::Acknowledged { request, .. }
        | Event::Reinvited { request, .. }
        | Event::Updated { request, .. }
        | Event::HungUp { request, .. }
        | Event::Referred { request, .. }
        | Event::Info { request, .. }
        | Event::Notified { request, .. }
        | Event::ReferProgress { request, .. }
        | Event::Refreshed { message: request, .. }
        | Event::Pracked { request, .. }
        | Event::EarlyOffer { request, .. }
        | Event::Request { request, .. } => request,
        Event::Progress { response, .. }
        | Event::Answered { response, .. }
        | Event::Refused { response, .. }
        | Event::UpdateAnswered { response, .. }
        | Event::ReinviteAnswered { response, .. }
        | Event::ReferAccepted { response, .. }
        | Event::InfoAnswered { response, .. }
        | Event::RequestAnswered { response, .. } => response,
        Event::Expired { .. }
        | Event::SessionExpired { .. }
        | Event::UpdateRefused { .. }
        | Event::PrackMissing { .. }
        | Event::AckMissing { .. }
        | Event::Failed { .. }
        | Event::ReinviteCancelled { .. }
        | Event::ReinviteRefused { .. }
        | Event::ReferRefused { .. }
        | Event::InfoFailed { .. }
        | Event::RequestFailed { .. }
        | Event::Gone { .. } => panic!("{event:?} has no message"),
    }
}

pub(crate) fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> NameAddr {
    NameAddr::new(uri(text))
}
