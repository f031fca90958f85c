//! The transactions of a scripted peer: what is lost is sent again, what comes twice is told once.
//! ```text
//!   client   request --T1, 2·T1 …--> again until answered; 3xx..6xx to INVITE get their ACK here, every time they come
//!   server   request again --> response again; final responses to INVITE again until ACK
//! ```
//! Written after RFC 3261 §17 and not after the daemon, so that each is a check of the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::message::Message;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// By which way a message came or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Datagram(SocketAddr),
    Stream(u64),
}

impl Path {
    fn loses(self) -> bool {
        matches!(self, Self::Datagram(_))
    }
}

/// What is sent again and again.
#[derive(Debug)]
struct Again {
    at: Instant,
    interval: Duration,
    longest: Duration,
}

#[derive(Debug)]
struct Client {
    request: Message,
    path: Path,
    again: Option<Again>,
    give_up: Option<Instant>,
    /// Responses that were told.
    told: Vec<Message>,
    /// What goes out when a final response comes: at once for refusals, by the script for 2xx.
    ack: Option<Message>,
}

#[derive(Debug)]
struct Server {
    request: Message,
    path: Path,
    response: Option<Message>,
    again: Option<Again>,
    acked: bool,
}

/// One phone, with one address.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    clients: Vec<Client>,
    servers: Vec<Server>,
    /// ACKs of 2xx that were told, by Call-ID, number and who answered.
    acks: Vec<(String, u32, String)>,
    /// What waits to be sent.
    pub(crate) out: Vec<(Path, Vec<u8>)>,
    /// It does not react to anything, and sends nothing again.
    pub(crate) deaf: bool,
}

impl Phone {
    pub(crate) fn new(name: &'static str, address: SocketAddr) -> Self {
        Self {
            name,
            address,
            clients: Vec::new(),
            servers: Vec::new(),
            acks: Vec::new(),
            out: Vec::new(),
            deaf: false,
        }
    }

    /// Sends a request; ACK is [`Self::acknowledge`].
    pub(crate) fn request(&mut self, now: Instant, path: Path, request: Message) {
        self.out.push((path, request.wire()));
        let longest = if request.method() == "INVITE" { Duration::MAX } else { T2 };
        let again = path.loses().then(|| Again { at: now + T1, interval: T1, longest });
        let give_up = Some(now + 64 * T1);
        self.clients.push(Client { request, path, again, give_up, told: Vec::new(), ack: None });
    }

    /// ACK of a 2xx, again whenever the 2xx comes again.
    pub(crate) fn acknowledge(&mut self, path: Path, ack: Message) {
        let is_it = |client: &&mut Client| {
            client.request.method() == "INVITE"
                && client.request.number() == ack.number()
                && client.request.needed("Call-ID") == ack.needed("Call-ID")
                && client.told.iter().any(|told| told.status().is_some_and(|status| status / 100 == 2))
        };
        self.out.push((path, ack.wire()));
        if let Some(client) = self.clients.iter_mut().rev().find(is_it) {
            client.ack = Some(ack);
        }
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, now: Instant, response: Message) {
        let is_it = |server: &&mut Server| {
            server.request.branch() == response.branch() && server.request.method() == response.method()
        };
        let server = self.servers.iter_mut().find(is_it).expect("a request is answered that came");
        self.out.push((server.path, response.wire()));
        let is_final = response.status().is_some_and(|status| status >= 200);
        let is_success = response.status().is_some_and(|status| status < 300);
        // RFC 3261 §13.3.1.4: 2xx are repeated over streams too.
        let repeats = response.method() == "INVITE" && is_final && (server.path.loses() || is_success);
        let is_reliable = !is_final && response.header("RSeq").is_some();
        server.again = (repeats || is_reliable).then(|| Again { at: now + T1, interval: T1, longest: T2 });
        server.response = Some(response);
    }

    /// A reliable provisional response was acknowledged.
    pub(crate) fn is_pracked(&mut self, call_id: &str, number: u32) {
        let is_it = |server: &&mut Server| {
            server.request.needed("Call-ID") == call_id && server.request.number() == number
        };
        for server in self.servers.iter_mut().filter(is_it) {
            let provisional =
                server.response.as_ref().and_then(Message::status).is_some_and(|status| status < 200);
            if provisional {
                server.again = None;
            }
        }
    }

    /// Takes what came; tells it unless it came before.
    pub(crate) fn receive(&mut self, now: Instant, path: Path, message: Message) -> Option<Message> {
        if self.deaf {
            None
        } else if message.status().is_some() {
            self.receive_response(now, message)
        } else if message.method() == "ACK" {
            self.receive_ack(message)
        } else {
            self.receive_request(path, message)
        }
    }

    fn receive_response(&mut self, now: Instant, message: Message) -> Option<Message> {
        let is_it = |client: &&mut Client| {
            client.request.branch() == message.branch() && client.request.method() == message.method()
        };
        let Some(client) = self.clients.iter_mut().find(is_it) else {
            panic!("{}: a response to nothing: {message:?}", self.name)
        };
        let status = message.status().unwrap_or_default();
        let is_invite = message.method() == "INVITE";
        client.give_up = None;
        if is_invite || status >= 200 {
            client.again = None;
        } else if let Some(again) = &mut client.again {
            // RFC 3261 §17.1.2.2: Proceeding goes on at T2.
            again.interval = T2;
            again.at = now + T2;
        }
        if is_invite && status >= 300 && client.ack.is_none() {
            client.ack = Some(ack_of_refusal(&client.request, &message));
        }
        if is_invite && status >= 200 {
            self.out.extend(client.ack.iter().map(|ack| (client.path, ack.wire())));
        }
        let came_before = client.told.contains(&message);
        client.told.push(message.clone());
        (!came_before).then_some(message)
    }

    fn receive_ack(&mut self, message: Message) -> Option<Message> {
        let is_it = |server: &&mut Server| {
            server.request.method() == "INVITE"
                && server.request.needed("Call-ID") == message.needed("Call-ID")
                && server.request.number() == message.number()
        };
        let server = self.servers.iter_mut().find(is_it).expect("an ACK belongs to an INVITE");
        // Another fork of ours may have answered since.
        let answered = server.response.as_ref().and_then(|response| response.tag("To"));
        if answered == message.tag("To") {
            server.again = None;
        }
        server.acked = true;
        let status = server.response.as_ref().and_then(Message::status).unwrap_or_default();
        assert!(status >= 200, "{}: an ACK before the final response", self.name);
        if status >= 300 {
            assert_eq!(message.branch(), server.request.branch(), "RFC 3261 §17.1.1.3");
            return None;
        }
        assert_ne!(message.branch(), server.request.branch(), "the ACK of a 2xx is a transaction of its own");
        let tag = message.tag("To").unwrap_or_default().to_owned();
        let known = (message.needed("Call-ID").to_owned(), message.number(), tag);
        let came_before = self.acks.contains(&known);
        self.acks.push(known);
        (!came_before).then_some(message)
    }

    fn receive_request(&mut self, path: Path, message: Message) -> Option<Message> {
        let is_it = |server: &&Server| {
            server.request.branch() == message.branch() && server.request.method() == message.method()
        };
        if let Some(server) = self.servers.iter().find(is_it) {
            assert_eq!(server.request, message, "a repeated request says what it said");
            self.out.extend(server.response.iter().map(|response| (server.path, response.wire())));
            return None;
        }
        let request = message.clone();
        self.servers.push(Server { request, path, response: None, again: None, acked: false });
        Some(message)
    }

    /// When something is to be sent again.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        let again = self.clients.iter().filter_map(|client| client.again.as_ref());
        let again = again.chain(self.servers.iter().filter_map(|server| server.again.as_ref()));
        let give_up = self.clients.iter().filter_map(|client| client.give_up);
        again.map(|again| again.at).chain(give_up).min().filter(|_| !self.deaf)
    }

    /// Sends again what is due. What nobody answers for 64·T1 is a failed test.
    pub(crate) fn repeat(&mut self, now: Instant) {
        for client in &mut self.clients {
            if let Some(again) = client.again.as_mut().filter(|again| again.at <= now) {
                again.go_on(now);
                self.out.push((client.path, client.request.wire()));
            }
            let is_lost = client.give_up.is_some_and(|give_up| give_up <= now);
            assert!(!is_lost || self.deaf, "{}: nobody answers {}", self.name, client.request.start);
        }
        for server in &mut self.servers {
            if let (Some(again), Some(response)) =
                (server.again.as_mut().filter(|again| again.at <= now), &server.response)
            {
                again.go_on(now);
                self.out.push((server.path, response.wire()));
            }
        }
    }

    /// Whether the final response to this INVITE was acknowledged.
    pub(crate) fn is_acked(&self, call_id: &str, number: u32) -> bool {
        let is_it = |server: &&Server| {
            server.request.method() == "INVITE"
                && server.request.needed("Call-ID") == call_id
                && server.request.number() == number
        };
        self.servers.iter().any(|server| is_it(&server) && server.acked)
    }

    /// Requests that the script has left without a final answer.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let left = self.servers.iter().filter(|server| {
            server.response.as_ref().and_then(Message::status).is_none_or(|status| status < 200)
        });
        left.map(|server| server.request.start.clone()).collect()
    }
}

impl Again {
    fn go_on(&mut self, now: Instant) {
        self.interval = self.longest.min(self.interval * 2);
        self.at = now + self.interval;
    }
}

/// RFC 3261 §17.1.1.3.
fn ack_of_refusal(request: &Message, response: &Message) -> Message {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.headers {
        match name.as_str() {
            "Via" | "From" | "Call-ID" | "Route" | "Max-Forwards" => {
                headers.push((name.clone(), value.clone()))
            }
            _ => {}
        }
    }
    headers.push(("To".to_owned(), response.needed("To").to_owned()));
    headers.push(("CSeq".to_owned(), format!("{} ACK", request.number())));
    let start = format!("ACK {} SIP/2.0", request.request_uri());
    Message::write(start, headers, crate::message::bare())
}
