//! What a script is written in: phones that send and expect, an engine that says what it is told to, and the API.
//!
//! A script that expects something waits for it and gets nothing else: over a line that loses nothing, whatever comes
//! instead ends the test with the ladder of all messages. Over one that loses, provisional responses may be missing and
//! messages may overtake each other. At the end nothing may be left that the script has not looked at, and nothing may be
//! held by the daemon.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::carrier::{Arrival, Carrier, Order, Said, Weather};
use crate::message::{Message, Parts, bare, bracketed, parameter};
use crate::phone::{Path, Phone};

/// For what has to come.
const PATIENCE: Duration = Duration::from_secs(45);

pub(crate) const ALICE: usize = 0;
pub(crate) const BOB: usize = 1;
pub(crate) const CAROL: usize = 2;

/// A dialog of a phone with the daemon, or an INVITE that is to become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leg(usize);

/// What the engine says when it is told of a call.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    Says(Value),
    Waits,
}

#[derive(Debug)]
struct Side {
    phone: usize,
    path: Path,
    call_id: String,
    local: String,
    remote: String,
    /// Where requests go.
    target: String,
    routes: Vec<String>,
    number: u32,
    /// The newest INVITE of ours.
    invite: Option<Message>,
    inbox: VecDeque<Message>,
}

pub(crate) struct Play {
    pub(crate) name: String,
    pub(crate) weather: Weather,
    pub(crate) carrier: Box<dyn Carrier>,
    edge: SocketAddr,
    phones: Vec<Phone>,
    sides: Vec<Side>,
    /// Requests outside of a dialog, with the phone that they came to and by which way.
    strangers: VecDeque<(usize, Path, Message)>,
    pub(crate) mood: Mood,
    told: Vec<VecDeque<Value>>,
    start: Instant,
    ladder: Vec<String>,
    /// Apart from other runs against the same daemon.
    salt: usize,
    drawn: u32,
    version: u32,
}

impl Play {
    pub(crate) fn new(
        name: String,
        weather: Weather,
        carrier: Box<dyn Carrier>,
        edge: SocketAddr,
        addresses: &[SocketAddr],
        salt: usize,
    ) -> Self {
        let names = ["alice", "bob", "carol"];
        let phones = names.into_iter().zip(addresses).map(|(name, address)| Phone::new(name, *address));
        Self {
            name,
            weather,
            edge,
            phones: phones.collect(),
            sides: Vec::new(),
            strangers: VecDeque::new(),
            mood: Mood::Says(json!({ "type": "accept" })),
            told: Vec::new(),
            start: carrier.now(),
            carrier,
            ladder: Vec::new(),
            salt,
            drawn: 0,
            version: 0,
        }
    }

    pub(crate) fn loses(&self) -> bool {
        self.weather.loss > 0
    }

    pub(crate) fn ladder(&self) -> String {
        self.ladder.join("\n")
    }

    /// Where a phone is reached, as a URI.
    pub(crate) fn uri(&self, phone: usize) -> String {
        let Phone { name, address, .. } = &self.phones[phone];
        format!("sip:{name}@{address};transport={}", self.weather.transport())
    }

    /// A URI of this user at the daemon.
    pub(crate) fn at_edge(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.edge)
    }

    pub(crate) fn address(&self, phone: usize) -> SocketAddr {
        self.phones[phone].address
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}\n{}", self.name, self.ladder())
    }

    fn draw(&mut self, word: &str) -> String {
        self.drawn += 1;
        format!("{word}{}-{}-{}", self.drawn, self.weather.seed, self.salt)
    }

    // ---- time

    /// Lets time pass until `found` finds something, or until the deadline.
    fn wait<T>(&mut self, patience: Duration, mut found: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let deadline = self.carrier.now() + patience;
        loop {
            if let Some(found) = found(self) {
                return Some(found);
            }
            if self.carrier.now() >= deadline {
                return None;
            }
            self.pump(deadline);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let nothing: Option<()> = self.wait(time, |_| None);
        debug_assert!(nothing.is_none());
    }

    fn pump(&mut self, until: Instant) {
        self.send_all();
        let due = self.phones.iter().filter_map(Phone::next_time).min();
        let wake = due.map_or(until, |due| due.min(until));
        if let Some(arrival) = self.carrier.step(wake) {
            self.arrive(arrival);
        }
        let now = self.carrier.now();
        for phone in &mut self.phones {
            phone.repeat(now);
        }
        self.send_all();
    }

    fn send_all(&mut self) {
        for number in 0..self.phones.len() {
            for (path, wire) in std::mem::take(&mut self.phones[number].out) {
                let start = String::from_utf8_lossy(wire.split(|byte| *byte == b'\r').next().unwrap_or(&[]))
                    .into_owned();
                self.note(number, "->", &start);
                self.carrier.send(number, path, &wire);
            }
        }
    }

    fn note(&mut self, phone: usize, arrow: &str, what: &str) {
        let at = (self.carrier.now() - self.start).as_secs_f64();
        self.ladder.push(format!("{at:>9.3} {:>6} {arrow} {what}", self.phones[phone].name));
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Sip { to, path, wire } => {
                let message = Message::read(&wire);
                self.note(to, "<-", &message.start);
                let now = self.carrier.now();
                if let Some(message) = self.phones[to].receive(now, path, message) {
                    self.deliver(to, path, message);
                }
            }
            Arrival::Engine { engine, told } => {
                let at = (self.carrier.now() - self.start).as_secs_f64();
                self.ladder
                    .push(format!("{at:>9.3} engine <- {}", told["type"].as_str().unwrap_or_default()));
                self.told.resize_with(self.told.len().max(engine + 1), VecDeque::new);
                let is_start = told["type"] == "start";
                self.told[engine].push_back(told);
                if let (true, Mood::Says(said)) = (is_start, self.mood.clone()) {
                    self.carrier.engine_says(engine, &said);
                }
            }
            Arrival::EngineGone { engine } => {
                self.told.resize_with(self.told.len().max(engine + 1), VecDeque::new);
                self.told[engine].push_back(json!({ "type": "gone" }));
            }
            Arrival::Closed { path } => {
                self.ladder.push(format!("          stream {path:?} is closed"));
            }
        }
    }

    fn deliver(&mut self, phone: usize, path: Path, message: Message) {
        let call_id = message.needed("Call-ID");
        let is_new =
            message.status().is_none() && message.tag("To").is_none() && message.method() != "CANCEL";
        let known = self.sides.iter_mut().rev().find(|side| side.phone == phone && side.call_id == call_id);
        match known {
            Some(side) if !is_new => {
                // A stream that the daemon has opened is as good as ours.
                if message.status().is_none() {
                    side.path = path;
                }
                let is_answer = message.status().is_some_and(|status| (101..300).contains(&status));
                if is_answer && message.method() == "INVITE" {
                    message.needed("To").clone_into(&mut side.remote);
                    if let Some(contact) = message.header("Contact") {
                        bracketed(contact).clone_into(&mut side.target);
                    }
                    let routes: Vec<String> = message.all("Record-Route").map(str::to_owned).collect();
                    side.routes = routes.into_iter().rev().collect();
                }
                side.inbox.push_back(message);
            }
            Some(_) | None => self.strangers.push_back((phone, path, message)),
        }
    }

    // ---- what phones send

    /// INVITE from a phone to the daemon.
    pub(crate) fn invite(&mut self, phone: usize, number: &str, parts: Parts) -> Leg {
        self.ask(phone, "INVITE", number, parts)
    }

    fn side_to(&mut self, phone: usize, number: &str) -> Leg {
        let path = self.carrier.way(phone);
        let (name, uri) = (self.phones[phone].name, self.at_edge(number));
        let tag = self.draw("tag");
        let local = format!("<sip:{name}@{}>;tag={tag}", self.phones[phone].address);
        let call_id = self.draw("call");
        self.sides.push(Side {
            phone,
            path,
            call_id,
            local,
            remote: format!("<{uri}>"),
            target: uri,
            routes: Vec::new(),
            number: 0,
            invite: None,
            inbox: VecDeque::new(),
        });
        Leg(self.sides.len() - 1)
    }

    /// A request of the dialog.
    pub(crate) fn request(&mut self, leg: Leg, method: &str, parts: Parts) -> Message {
        self.sides[leg.0].number += 1;
        let request = self.compose(leg, method, self.sides[leg.0].number, parts);
        let Side { phone, path, .. } = self.sides[leg.0];
        let now = self.carrier.now();
        self.phones[phone].request(now, path, request.clone());
        if method == "INVITE" {
            self.sides[leg.0].invite = Some(request.clone());
        }
        self.send_all();
        request
    }

    fn compose(&mut self, leg: Leg, method: &str, number: u32, parts: Parts) -> Message {
        let branch = self.draw("z9hG4bK-");
        let parts = self.filled(leg, parts);
        let side = &self.sides[leg.0];
        let phone = &self.phones[side.phone];
        let via =
            format!("SIP/2.0/{} {};branch={branch}", self.weather.transport().to_uppercase(), phone.address);
        let mut headers = vec![
            ("Via".to_owned(), via),
            ("Max-Forwards".to_owned(), "70".to_owned()),
            ("From".to_owned(), side.local.clone()),
            ("To".to_owned(), side.remote.clone()),
            ("Call-ID".to_owned(), side.call_id.clone()),
            ("CSeq".to_owned(), format!("{number} {method}")),
        ];
        headers.extend(side.routes.iter().map(|route| ("Route".to_owned(), route.clone())));
        if ["INVITE", "UPDATE", "REFER", "SUBSCRIBE"].contains(&method) {
            headers.push(("Contact".to_owned(), format!("<{}>", self.uri(side.phone))));
        }
        Message::write(format!("{method} {} SIP/2.0", side.target), headers, parts)
    }

    /// Fills the phone's address and the next version of its session into a description.
    fn filled(&mut self, leg: Leg, parts: Parts) -> Parts {
        self.version += 1;
        let address = self.phones[self.sides[leg.0].phone].address.ip().to_string();
        parts.replaced("{ip}", &address).replaced("{version}", &self.version.to_string())
    }

    /// ACK of the 2xx that came last.
    pub(crate) fn ack(&mut self, leg: Leg, parts: Parts) {
        let ack = self.ack_held_back(leg, parts);
        self.send_ack(leg, ack);
    }

    /// An ACK of the 2xx that came last, to be sent later.
    pub(crate) fn ack_held_back(&mut self, leg: Leg, parts: Parts) -> Message {
        let number = self.sides[leg.0].invite.as_ref().map_or(0, Message::number);
        self.compose(leg, "ACK", number, parts)
    }

    pub(crate) fn send_ack(&mut self, leg: Leg, ack: Message) {
        let Side { phone, path, .. } = self.sides[leg.0];
        self.phones[phone].acknowledge(path, ack);
        self.send_all();
    }

    /// The newest INVITE once more, as a slow network may bring it.
    pub(crate) fn invite_again(&mut self, leg: Leg) {
        let side = &self.sides[leg.0];
        let Some(invite) = &side.invite else { self.fail("there is no INVITE") };
        let (phone, path, wire) = (side.phone, side.path, invite.wire());
        self.phones[phone].out.push((path, wire));
        self.send_all();
    }

    /// The newest INVITE as it would come by another way: with another branch.
    pub(crate) fn invite_by_another_way(&mut self, leg: Leg) {
        let branch = self.draw("z9hG4bK-");
        let side = &self.sides[leg.0];
        let Some(mut invite) = side.invite.clone() else { self.fail("there is no INVITE") };
        let (before, phone, path, now) =
            (invite.branch().to_owned(), side.phone, side.path, self.carrier.now());
        for (_, value) in invite.headers.iter_mut().filter(|(name, _)| name == "Via") {
            *value = value.replace(&before, &branch);
        }
        self.phones[phone].request(now, path, invite);
        self.send_all();
    }

    /// A request of a dialog that never was.
    pub(crate) fn stray(&mut self, phone: usize, method: &str, number: &str) -> Leg {
        let leg = self.side_of_nothing(phone, number);
        let parts = match method {
            "INVITE" | "UPDATE" => crate::message::sdp("sendrecv"),
            "REFER" => bare().with("Refer-To", "<sip:+15550199@example.com>"),
            "NOTIFY" => bare().with("Event", "refer").with("Subscription-State", "terminated"),
            _ => bare(),
        };
        self.request(leg, method, parts);
        leg
    }

    pub(crate) fn stray_ack(&mut self, phone: usize, number: &str) -> Leg {
        let leg = self.side_of_nothing(phone, number);
        let ack = self.ack_held_back(leg, bare());
        self.send_ack(leg, ack);
        leg
    }

    fn side_of_nothing(&mut self, phone: usize, number: &str) -> Leg {
        let leg = self.side_to(phone, number);
        self.sides[leg.0].remote += ";tag=never";
        leg
    }

    /// A request outside of any dialog; what comes back comes to its leg.
    pub(crate) fn ask(&mut self, phone: usize, method: &str, number: &str, parts: Parts) -> Leg {
        let leg = self.side_to(phone, number);
        self.request(leg, method, parts);
        leg
    }

    /// CANCEL of the INVITE under way.
    pub(crate) fn cancel(&mut self, leg: Leg) {
        let side = &self.sides[leg.0];
        let Some(invite) = side.invite.clone() else { self.fail("there is nothing to cancel") };
        let kept = ["Via", "Max-Forwards", "From", "To", "Call-ID", "Route"];
        let mut headers: Vec<(String, String)> =
            invite.headers.iter().filter(|(name, _)| kept.contains(&name.as_str())).cloned().collect();
        headers.push(("CSeq".to_owned(), format!("{} CANCEL", invite.number())));
        let start = format!("CANCEL {} SIP/2.0", invite.request_uri());
        let cancel = Message::write(start, headers, bare());
        let (phone, path, now) = (side.phone, side.path, self.carrier.now());
        self.phones[phone].request(now, path, cancel);
        self.send_all();
    }

    /// Answers a request of the leg.
    pub(crate) fn reply(&mut self, leg: Leg, request: &Message, status: u16, parts: Parts) {
        let parts = self.filled(leg, parts);
        let side = &self.sides[leg.0];
        let (phone, local) = (side.phone, side.local.clone());
        let response = self.response(phone, request, status, &local, parts);
        let now = self.carrier.now();
        self.phones[phone].respond(now, response);
        self.send_all();
    }

    /// Answers an INVITE as another fork of it.
    pub(crate) fn reply_as(&mut self, leg: Leg, request: &Message, status: u16, tag: &str, parts: Parts) {
        let parts = self.filled(leg, parts);
        let phone = self.sides[leg.0].phone;
        let response = self.response(phone, request, status, &format!("<sip:fork>;tag={tag}"), parts);
        let now = self.carrier.now();
        self.phones[phone].respond(now, response);
        self.send_all();
    }

    /// Waits for the ACK of another fork's answer.
    pub(crate) fn is_acked_by(&mut self, leg: Leg, invite: &Message, tag: &str) -> bool {
        let is_it = |message: &Message| {
            message.method() == "ACK" && message.number() == invite.number() && message.tag("To") == Some(tag)
        };
        self.either(leg, "an ACK of the other fork", is_it).tag("To") == Some(tag)
    }

    fn response(&self, phone: usize, request: &Message, status: u16, local: &str, parts: Parts) -> Message {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &request.headers {
            if ["Via", "From", "Call-ID", "CSeq", "Record-Route"].contains(&name.as_str()) {
                headers.push((name.clone(), value.clone()));
            }
        }
        let to = if request.tag("To").is_some() || status == 100 {
            request.needed("To").to_owned()
        } else {
            format!("{};tag={}", request.needed("To"), parameter(local, "tag").unwrap_or_default())
        };
        headers.push(("To".to_owned(), to));
        let has_contact = parts.has("Contact");
        if !has_contact
            && status > 100
            && status < 300
            && ["INVITE", "UPDATE", "REFER"].contains(&request.method())
        {
            headers.push(("Contact".to_owned(), format!("<{}>", self.uri(phone))));
        }
        Message::write(format!("SIP/2.0 {status} {}", phrase(status)), headers, parts)
    }

    /// Waits for an INVITE to this phone.
    pub(crate) fn called(&mut self, phone: usize) -> (Leg, Message) {
        let (path, invite) = self.stranger(phone, "INVITE");
        let tag = self.draw("tag");
        self.sides.push(Side {
            phone,
            path,
            call_id: invite.needed("Call-ID").to_owned(),
            local: format!("{};tag={tag}", invite.needed("To")),
            remote: invite.needed("From").to_owned(),
            target: invite.contact().to_owned(),
            routes: invite.all("Record-Route").map(str::to_owned).collect(),
            number: 100,
            invite: None,
            inbox: VecDeque::new(),
        });
        (Leg(self.sides.len() - 1), invite)
    }

    /// Waits for a request to this phone that belongs to no dialog, and is no call.
    pub(crate) fn asked(&mut self, phone: usize, method: &str) -> Message {
        self.stranger(phone, method).1
    }

    /// Answers such a request.
    pub(crate) fn tell(&mut self, phone: usize, request: &Message, status: u16, parts: Parts) {
        let tag = self.draw("tag");
        let local = format!("<sip:{}>;tag={tag}", self.phones[phone].address);
        let response = self.response(phone, request, status, &local, parts);
        let now = self.carrier.now();
        self.phones[phone].respond(now, response);
        self.send_all();
    }

    /// Waits longer for such a request.
    pub(crate) fn asked_within(&mut self, phone: usize, method: &str, patience: Duration) -> Message {
        self.stranger_within(phone, method, patience).1
    }

    fn stranger(&mut self, phone: usize, method: &str) -> (Path, Message) {
        self.stranger_within(phone, method, PATIENCE)
    }

    fn stranger_within(&mut self, phone: usize, method: &str, patience: Duration) -> (Path, Message) {
        let found = self.wait(patience, |play| {
            let is_it =
                |(to, _, message): &(usize, Path, Message)| *to == phone && message.method() == method;
            let place = play.strangers.iter().position(is_it)?;
            play.strangers.remove(place).map(|(_, path, message)| (path, message))
        });
        found.unwrap_or_else(|| self.fail(&format!("no {method} came to {}", self.phones[phone].name)))
    }

    // ---- what phones expect

    /// The response with this status to a request of the leg.
    pub(crate) fn expect(&mut self, leg: Leg, method: &str, status: u16) -> Message {
        self.expect_within(leg, method, status, PATIENCE)
    }

    pub(crate) fn expect_within(
        &mut self,
        leg: Leg,
        method: &str,
        status: u16,
        patience: Duration,
    ) -> Message {
        let wanted = |message: &Message| message.status() == Some(status) && message.method() == method;
        let passed = |message: &Message| {
            message.method() == method && message.status().is_some_and(|other| other < 200)
        };
        self.take(leg, &format!("{status} to {method}"), patience, wanted, passed)
    }

    /// Whatever final response comes to this request.
    pub(crate) fn any_final(&mut self, leg: Leg, method: &str) -> Message {
        let is_it = |message: &Message| message.method() == method && message.status() >= Some(200);
        self.either(leg, &format!("a final response to {method}"), is_it)
    }

    /// A ringing that may be lost on its way.
    pub(crate) fn ringing(&mut self, leg: Leg, status: u16) -> Option<Message> {
        if !self.loses() {
            return Some(self.expect(leg, "INVITE", status));
        }
        self.wait(Duration::from_secs(3), |play| {
            let inbox = &mut play.sides[leg.0].inbox;
            let is_final = |message: &Message| message.method() == "INVITE" && message.status() >= Some(200);
            let place = inbox.iter().position(|message| message.status() == Some(status));
            match place {
                Some(place) => Some(inbox.remove(place)),
                None => inbox.iter().any(is_final).then_some(None),
            }
        })
        .flatten()
    }

    /// A request of the leg from the daemon.
    pub(crate) fn receive(&mut self, leg: Leg, method: &str) -> Message {
        self.receive_within(leg, method, PATIENCE)
    }

    pub(crate) fn receive_within(&mut self, leg: Leg, method: &str, patience: Duration) -> Message {
        let wanted = |message: &Message| message.status().is_none() && message.method() == method;
        self.take(leg, method, patience, wanted, |message| {
            message.status().is_some_and(|status| status < 200)
        })
    }

    /// The ACK of our final response to this INVITE.
    pub(crate) fn acked(&mut self, leg: Leg, invite: &Message) -> Option<Message> {
        let Side { phone, ref call_id, .. } = self.sides[leg.0];
        let (call_id, number) = (call_id.clone(), invite.number());
        let acked = self.wait(PATIENCE, |play| play.phones[phone].is_acked(&call_id, number).then_some(()));
        if acked.is_none() {
            self.fail("our final response was not acknowledged");
        }
        let inbox = &mut self.sides[leg.0].inbox;
        let place = inbox.iter().position(|message| message.method() == "ACK" && message.number() == number);
        place.and_then(|place| inbox.remove(place))
    }

    fn take(
        &mut self,
        leg: Leg,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Message) -> bool,
        passed: impl Fn(&Message) -> bool,
    ) -> Message {
        let loses = self.loses();
        let found = self.wait(patience, |play| {
            let inbox = &mut play.sides[leg.0].inbox;
            let place = inbox.iter().position(&wanted);
            if let Some(place) = place {
                let found = inbox.remove(place);
                // What went before it is over with it.
                let before: Vec<Message> = inbox.drain(..place).collect();
                for message in before.into_iter().rev() {
                    if !passed(&message) {
                        inbox.push_front(message);
                    }
                }
                return found;
            }
            let other = inbox.iter().find(|message| !passed(message) && message.method() != "ACK");
            if let (Some(other), false) = (other, loses) {
                let other = other.start.clone();
                play.fail(&format!("{other} came where {what} was expected"));
            }
            None
        });
        found.unwrap_or_else(|| self.fail(&format!("{what} did not come")))
    }

    /// Whether something waits in this leg that nobody has looked at.
    pub(crate) fn waits(&self, leg: Leg, is_it: impl Fn(&Message) -> bool) -> bool {
        self.sides[leg.0].inbox.iter().any(is_it)
    }

    /// Takes what came to this leg, if it did; for races that may end either way.
    pub(crate) fn may_have(&mut self, leg: Leg, is_it: impl Fn(&Message) -> bool) -> Option<Message> {
        let inbox = &mut self.sides[leg.0].inbox;
        let place = inbox.iter().position(is_it)?;
        inbox.remove(place)
    }

    /// Waits for whichever of these comes first.
    pub(crate) fn either(&mut self, leg: Leg, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        let found = self.wait(PATIENCE, |play| play.may_have(leg, &is_it));
        found.unwrap_or_else(|| self.fail(&format!("{what} did not come")))
    }

    /// Nothing comes to this leg for so long.
    pub(crate) fn quiet(&mut self, leg: Leg, time: Duration) {
        self.pass(time);
        if let Some(message) = self.sides[leg.0].inbox.front() {
            let came = message.start.clone();
            self.fail(&format!("{came} came where nothing was expected"));
        }
    }

    // ---- what the phones' insides are asked to do

    pub(crate) fn set_deaf(&mut self, phone: usize) {
        self.phones[phone].deaf = true;
    }

    pub(crate) fn call_id(&self, leg: Leg) -> &str {
        &self.sides[leg.0].call_id
    }

    pub(crate) fn tag_of(&self, leg: Leg) -> String {
        parameter(&self.sides[leg.0].local, "tag").unwrap_or_default().to_owned()
    }

    pub(crate) fn tag_of_edge(&self, leg: Leg) -> String {
        parameter(&self.sides[leg.0].remote, "tag").unwrap_or_default().to_owned()
    }

    pub(crate) fn target(&self, leg: Leg) -> String {
        self.sides[leg.0].target.clone()
    }

    /// The stream that the leg runs over is cut, where there is one.
    pub(crate) fn cut(&mut self, leg: Leg) {
        self.carrier.cut(self.sides[leg.0].path);
    }

    /// The process of the engine that was dialled last ends.
    pub(crate) fn engine_dies(&mut self) {
        self.carrier.engine_dies(self.told.len() - 1);
    }

    /// A PRACK for a response to `invite` has come and was answered.
    pub(crate) fn is_pracked(&mut self, leg: Leg, invite: &Message) {
        let Side { phone, ref call_id, .. } = self.sides[leg.0];
        let call_id = call_id.clone();
        self.phones[phone].is_pracked(&call_id, invite.number());
    }

    // ---- the engine

    /// The engine is told of this; what it was told before is passed over.
    pub(crate) fn engine_hears(&mut self, kind: &str) -> Value {
        let found = self.wait(PATIENCE, |play| {
            let told = play.told.last_mut()?;
            let place = told.iter().position(|told| told["type"] == kind)?;
            told.drain(..place);
            told.pop_front()
        });
        found.unwrap_or_else(|| self.fail(&format!("the engine did not hear {kind}")))
    }

    /// The engine that was dialled last says something.
    pub(crate) fn engine_says(&mut self, said: &Value) {
        let engine = self.told.len() - 1;
        let at = (self.carrier.now() - self.start).as_secs_f64();
        self.ladder.push(format!("{at:>9.3} engine -> {said}"));
        self.carrier.engine_says(engine, said);
    }

    pub(crate) fn engines(&self) -> usize {
        self.told.len()
    }

    // ---- the API

    pub(crate) fn order(&mut self, order: Order) -> Said {
        self.send_all();
        self.carrier.order(order)
    }

    /// Places a call.
    pub(crate) fn place(&mut self, body: Value) -> String {
        match self.order(Order::Place(body)) {
            Said::Placed(call) => call,
            said @ (Said::Accepted | Said::Refused(_)) => {
                self.fail(&format!("the call was not placed: {said:?}"))
            }
        }
    }

    pub(crate) fn accepted(&mut self, order: Order) {
        match self.order(order) {
            Said::Accepted => {}
            said @ (Said::Placed(_) | Said::Refused(_)) => self.fail(&format!("not accepted: {said:?}")),
        }
    }

    /// The newest call object.
    pub(crate) fn view(&mut self) -> Value {
        self.carrier.calls().pop().unwrap_or_else(|| self.fail("there is no call"))
    }

    pub(crate) fn call(&mut self) -> String {
        self.view()["call_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the newest call object shows this.
    pub(crate) fn shows(&mut self, field: &str, wanted: &str) {
        let shown = self.wait(PATIENCE, |play| {
            // A real daemon is asked over HTTP: not for every packet.
            if !play.carrier.is_virtual() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let calls = play.carrier.calls();
            (calls.last()?.pointer(field)? == wanted).then_some(())
        });
        if shown.is_none() {
            let view = self.view();
            self.fail(&format!("{field} is not {wanted} in {view}"));
        }
    }

    /// Waits until the provider's health shows this.
    pub(crate) fn shows_health(&mut self, field: &str, wanted: &str) {
        let shown = self.wait(PATIENCE, |play| {
            if !play.carrier.is_virtual() {
                std::thread::sleep(Duration::from_millis(20));
            }
            (play.carrier.health().pointer(field)? == wanted).then_some(())
        });
        if shown.is_none() {
            let health = self.carrier.health();
            self.fail(&format!("{field} is not {wanted} in {health}"));
        }
    }

    /// The call is over for this reason, and so it was told.
    pub(crate) fn ended(&mut self, reason: &str, events: &[&str]) {
        self.shows("/end_reason", reason);
        self.told_events(events);
    }

    pub(crate) fn told_events(&mut self, events: &[&str]) {
        let loses = self.loses();
        let told = self.wait(PATIENCE, |play| {
            let told = play.carrier.events();
            // A call whose only responses were lost was never placed anywhere.
            let unplaced = loses && events.first() == Some(&"placed") && told == events[1..];
            (told == events || unplaced).then_some(())
        });
        if told.is_none() {
            let told = self.carrier.events();
            self.fail(&format!("{told:?} were told instead of {events:?}"));
        }
    }

    /// What every flow ends with: nothing left over anywhere.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let left = self.wait(Duration::from_secs(400), |play| {
            let settled = play.phones.iter().all(|phone| phone.next_time().is_none());
            (settled && play.carrier.left_over().is_none()).then_some(())
        });
        if left.is_none() {
            let left = self.carrier.left_over();
            self.fail(&format!("left over: {left:?}"));
        }
        if let Some((phone, _, message)) = self.strangers.front() {
            let came = format!("{} got {} and nobody looked at it", self.phones[*phone].name, message.start);
            self.fail(&came);
        }
        let unseen = self.sides.iter().flat_map(|side| &side.inbox);
        let unseen = unseen.filter(|message| {
            message.status().is_none_or(|status| status >= 200) && message.method() != "ACK"
        });
        if let Some(message) = unseen.map(|message| message.start.clone()).next() {
            self.fail(&format!("{message} came and nobody looked at it"));
        }
        let unanswered: Vec<String> =
            self.phones.iter().filter(|phone| !phone.deaf).flat_map(Phone::unanswered).collect();
        if !unanswered.is_empty() {
            self.fail(&format!("the script has not answered {unanswered:?}"));
        }
        self.ladder
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        401 => "Unauthorized",
        407 => "Proxy Authentication Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        491 => "Request Pending",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "As The Script Says",
    }
}
