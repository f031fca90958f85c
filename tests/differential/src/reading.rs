//! What three parsers read in one message, in words that can be compared.
//!
//! ```text
//!   wire --> ours       -->+
//!        --> rsipstack  -->+--> Reading: fields as text, or nothing where the message is refused
//!        --> sipx-sip   -->+
//! ```
//! A message is taken by a parser when it and every header that a request or response must have (RFC 3261 §8.1.1, §8.2.6)
//! can be read; what a parser reads only when asked is asked for.

use std::net::IpAddr;

use bytes::Bytes;
use rsipstack::sip as theirs;
use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
use sipx_sip as sipx;

/// Fields by name.
pub type Reading = Vec<(&'static str, String)>;

/// A parser: nothing where it refuses the message.
pub type Parser = fn(&Bytes) -> Option<Reading>;

/// Those that ours is compared with.
pub const OTHERS: [(&str, Parser); 2] = [("rsipstack", rsipstack), ("sipx-sip", sipx_sip)];

/// Ours.
pub fn ours(wire: &Bytes) -> Option<Reading> {
    let message = sip::Message::parse(wire.clone(), sip::Framing::Datagram).ok()?;
    message.check().ok()?;
    let start = match (message.method(), message.status()) {
        (Some(method), _) => {
            let uri = message.request_uri().ok()?;
            format!("{} {}", method.as_str(), our_uri(&uri))
        }
        (None, status) => status?.code().to_string(),
    };
    let via = message.via().ok()?;
    let cseq = message.cseq().ok()?;
    let host = via.host();
    Some(vec![
        ("start", start),
        ("call-id", message.call_id().ok()?.to_owned()),
        ("cseq", format!("{} {}", cseq.number, cseq.method.as_str())),
        ("from", our_party(&message.from().ok()?)),
        ("to", our_party(&message.to().ok()?)),
        ("via", via_text(via.transport().as_str(), &our_host(host), via.port(), via.branch())),
        ("body", hex(&message.body())),
    ])
}

fn our_party(party: &sip::NameAddr) -> String {
    format!("{} tag {}", our_uri(party.uri()), party.tag().unwrap_or("-"))
}

fn our_uri(uri: &sip::Uri) -> String {
    match uri.host() {
        Some(host) => uri_text(uri.user(), &our_host(host), uri.port()),
        None => "other".to_owned(),
    }
}

fn our_host(host: sip::Host<'_>) -> String {
    match host {
        sip::Host::Domain(name) => name.to_ascii_lowercase(),
        sip::Host::V4(ip) => ip.to_string(),
        sip::Host::V6(ip) => ip.to_string(),
    }
}

fn rsipstack(wire: &Bytes) -> Option<Reading> {
    let message = theirs::parser::parse_message(wire).ok()?;
    let (start, body) = match &message {
        theirs::SipMessage::Request(request) => {
            (format!("{} {}", request.method, their_uri(&request.uri)), &request.body)
        }
        theirs::SipMessage::Response(response) => {
            (u16::from(response.status_code.clone()).to_string(), &response.body)
        }
    };
    let via = message.top_via_header().ok()?.typed().ok()?;
    let cseq = message.cseq_header().ok()?.typed().ok()?;
    let (from, to) = (message.from_header().ok()?.typed().ok()?, message.to_header().ok()?.typed().ok()?);
    let sent_by = via.sent_by();
    let port = sent_by.port.as_ref().map(|port| port.value());
    let branch = via.branch().map(|branch| branch.value().to_owned());
    Some(vec![
        ("start", start),
        ("call-id", message.call_id_header().ok()?.value().to_owned()),
        ("cseq", format!("{} {}", cseq.seq, cseq.method)),
        ("from", their_party(&from.uri, from.tag().map(theirs::param::Tag::value))),
        ("to", their_party(&to.uri, to.tag().map(theirs::param::Tag::value))),
        ("via", via_text(&via.transport.to_string(), &their_host(&sent_by.host), port, branch.as_deref())),
        ("body", hex(body)),
    ])
}

fn their_party(uri: &theirs::Uri, tag: Option<&str>) -> String {
    format!("{} tag {}", their_uri(uri), tag.unwrap_or("-"))
}

fn their_uri(uri: &theirs::Uri) -> String {
    match uri.scheme {
        None | Some(theirs::Scheme::Sip | theirs::Scheme::Sips) => {
            let port = uri.host_with_port.port.as_ref().map(|port| port.value());
            uri_text(uri.user(), &their_host(&uri.host_with_port.host), port)
        }
        Some(_) => "other".to_owned(),
    }
}

fn their_host(host: &theirs::Host) -> String {
    match host {
        theirs::Host::Domain(name) => name.0.to_ascii_lowercase(),
        theirs::Host::IpAddr(ip) => ip.to_string(),
    }
}

fn sipx_sip(wire: &Bytes) -> Option<Reading> {
    let message = sipx::parse_datagram(wire.clone(), &sipx::Limits::datagram()).ok()?;
    // That Max-Forwards may be absent is no finding of consequence (RFC 3261 §16.3 item 3).
    if sipx::validate(&message).iter().any(|finding| !finding.is_repairable()) {
        return None;
    }
    let start = match &message {
        sipx::Message::Request(request) => {
            format!("{} {}", text(request.method.as_bytes()), sipx_uri(&request.uri))
        }
        sipx::Message::Response(response) => response.status.code().to_string(),
    };
    let headers = message.headers();
    let via = headers.typed::<sipx::Via>()?.ok()?;
    let cseq = headers.typed::<sipx::CSeq>()?.ok()?;
    let (from, to) =
        (headers.typed::<sipx::headers::From>()?.ok()?, headers.typed::<sipx::headers::To>()?.ok()?);
    let branch = via.branch().map(text);
    let host = sipx_host(&via.host);
    Some(vec![
        ("start", start),
        ("call-id", text(&headers.typed::<sipx::CallId>()?.ok()?.0)),
        ("cseq", format!("{} {}", cseq.sequence, text(cseq.method.as_bytes()))),
        ("from", sipx_party(&from)),
        ("to", sipx_party(&to)),
        ("via", via_text(&text(&via.transport), &host, via.port, branch.as_deref())),
        ("body", hex(message.body())),
    ])
}

fn sipx_party(party: &sipx::headers::Address) -> String {
    format!("{} tag {}", sipx_uri(&party.uri), party.tag().map_or("-".to_owned(), text))
}

fn sipx_uri(uri: &sipx::Uri) -> String {
    match uri.host() {
        Some(host) => uri_text(uri.user().map(text).as_deref(), &sipx_host(host), uri.port()),
        None => "other".to_owned(),
    }
}

fn sipx_host(host: &sipx::uri::Host) -> String {
    let bytes = host.to_bytes();
    text(&bytes).trim_matches(['[', ']']).to_ascii_lowercase()
}

/// Addresses in one spelling.
fn uri_text(user: Option<&str>, host: &str, port: Option<u16>) -> String {
    let host = host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |ip| ip.to_string());
    format!("{}@{host}:{}", user.unwrap_or("-"), port.map_or("-".to_owned(), |port| port.to_string()))
}

fn via_text(transport: &str, host: &str, port: Option<u16>, branch: Option<&str>) -> String {
    format!("{} {} {}", transport.to_ascii_uppercase(), uri_text(None, host, port), branch.unwrap_or("-"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
