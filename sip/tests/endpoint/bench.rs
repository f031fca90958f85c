//! One endpoint against a peer that is nothing but written messages.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::endpoint::Event;
use sip::{
    Config, Endpoint, Flow, Framing, HeaderName, Local, Message, MessageWriter, Method, StatusCode, Target,
    Transmit, Transport,
};

/// The beginning of a test's time.
#[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
pub(crate) fn beginning() -> Instant {
    Instant::now()
}

/// Our endpoint at 192.0.2.1:5060, the peer at 192.0.2.9:5060.
pub(crate) struct Bench {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    pub(crate) flow: Flow,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::on(Transport::Udp)
    }

    pub(crate) fn on(transport: Transport) -> Self {
        Self::configured(transport, |_| {})
    }

    pub(crate) fn configured(transport: Transport, adjust: impl FnOnce(&mut Config)) -> Self {
        let local: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let locals = vec![Local::new(Transport::Udp, local), Local::new(Transport::Tcp, local)];
        let mut config = Config::new("edge", locals);
        adjust(&mut config);
        let connection = match transport {
            Transport::Udp => None,
            Transport::Tcp | Transport::Tls => Some(sip::ConnectionId(7)),
        };
        let flow = Flow { transport, local, peer: "192.0.2.9:5060".parse().unwrap(), connection };
        Self { endpoint: Endpoint::new(config, 1), now: beginning(), flow }
    }

    pub(crate) fn target(&self) -> Target {
        Target { transport: self.flow.transport, address: self.flow.peer }
    }

    /// A message from the peer; line ends become CR LF.
    pub(crate) fn receive(&mut self, text: &str) {
        let wire = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.receive_wire(wire.into());
    }

    pub(crate) fn receive_wire(&mut self, wire: Bytes) {
        self.endpoint.handle_message(self.now, self.flow, wire);
    }

    /// The peer answers one of our requests.
    pub(crate) fn answer(
        &mut self,
        request: &Message,
        status: u16,
        tag: &str,
        change: impl FnOnce(&mut MessageWriter),
    ) {
        self.receive_wire(self.answered(request, status, tag, change));
    }

    pub(crate) fn answered(
        &self,
        request: &Message,
        status: u16,
        tag: &str,
        change: impl FnOnce(&mut MessageWriter),
    ) -> Bytes {
        let status = StatusCode::new(status).unwrap();
        let tag = (!tag.is_empty()).then_some(tag);
        let mut writer = MessageWriter::response_to(request, status, self.flow.local, tag);
        change(&mut writer);
        writer.finish()
    }

    /// What we have sent since the last time.
    pub(crate) fn sent(&mut self) -> Vec<Message> {
        self.transmits().into_iter().map(|transmit| parse(transmit.payload)).collect()
    }

    pub(crate) fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.endpoint.poll_transmit()).collect()
    }

    /// The only message we have sent since the last time.
    pub(crate) fn sent_one(&mut self) -> Message {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{:?}", sent.iter().map(first).collect::<Vec<_>>());
        sent.remove(0)
    }

    /// What the owner was told since the last time.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    pub(crate) fn words(&mut self) -> Vec<String> {
        self.events().iter().map(crate::owners::word).collect()
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Lets time pass and answers what was sent when, in milliseconds from `since`.
    pub(crate) fn pass_noting(&mut self, span: Duration, since: Instant) -> Vec<(u128, String)> {
        let mut log = Vec::new();
        let end = self.now + span;
        loop {
            let at = self.now.duration_since(since).as_millis();
            log.extend(self.sent().iter().map(|message| (at, first(message))));
            let Some(next) = self.endpoint.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = end;
        log
    }

    /// Nothing is held and nothing waits.
    pub(crate) fn assert_empty(&mut self) {
        assert_eq!(self.endpoint.ledger(), sip::Ledger::default());
        assert_eq!(self.endpoint.poll_timeout(), None);
    }
}

/// An INVITE from the peer with an offer. `change` may add lines.
pub(crate) fn invite(lines: &str) -> String {
    format!(
        "INVITE sip:edge@192.0.2.1 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKinvite1;rport\n\
         Max-Forwards: 70\n\
         From: \"Trunk\" <sip:trunk@192.0.2.9>;tag=theirs\n\
         To: <sip:edge@192.0.2.1>\n\
         Call-ID: call-1@192.0.2.9\n\
         CSeq: 10 INVITE\n\
         Contact: <sip:trunk@192.0.2.9:5060>\n\
         {lines}\
         Content-Type: application/sdp\n\
         Content-Length: 5\n\n\
         offer"
    )
}

/// A request of the peer within the dialog that `invite` made; `to` is our side's To with its tag.
pub(crate) fn within(method: &str, seq: u32, to: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} sip:edge@192.0.2.1:5060 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{method}{seq};rport\n\
         Max-Forwards: 70\n\
         From: \"Trunk\" <sip:trunk@192.0.2.9>;tag=theirs\n\
         To: {to}\n\
         Call-ID: call-1@192.0.2.9\n\
         CSeq: {seq} {method}\n\
         {lines}\
         Content-Length: {length}\n\n\
         {body}"
    )
}

pub(crate) fn parse(wire: Bytes) -> Message {
    let message = Message::parse(wire, Framing::Stream).unwrap();
    message.check().unwrap();
    message
}

/// `INVITE` of a request, `180` of a response.
pub(crate) fn first(message: &Message) -> String {
    match (message.method(), message.status()) {
        (Some(method), _) => method.as_str().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => unreachable!(),
    }
}

pub(crate) fn firsts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(first).collect()
}

pub(crate) fn header(message: &Message, name: HeaderName) -> String {
    message.header(name).map(|value| value.text().into_owned()).unwrap_or_default()
}

pub(crate) fn is(message: &Message, method: Method<'_>) -> bool {
    message.method() == Some(method)
}
