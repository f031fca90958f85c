//! Messages with one or two peculiarities each, which their label names: what RFC 3261 allows, and what it does not.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// A peculiarity: its name, and what it does to a message.
pub struct Peculiarity {
    pub name: &'static str,
    apply: fn(&mut Draft, &mut StdRng),
}

/// A message before it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    start: String,
    headers: Vec<(String, String)>,
    body: String,
    /// Instead of the body's length.
    length: Option<String>,
    line_end: &'static str,
    behind: String,
}

impl Draft {
    /// A header's value; where another peculiarity has taken it away, one that nobody reads.
    fn header(&mut self, name: &str) -> &mut String {
        let place = self.headers.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
        let place = place.unwrap_or_else(|| {
            self.append("X-Nobody", "");
            self.headers.len() - 1
        });
        &mut self.headers[place].1
    }

    fn rename(&mut self, from: &str, to: &str) {
        for (name, _) in self.headers.iter_mut().filter(|(name, _)| name == from) {
            to.clone_into(name);
        }
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| other != name);
    }

    fn append(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Where it differs: its first line, a header's name or value by number, its end.
    fn changed(&self, before: &Self) -> Vec<(&'static str, usize)> {
        let mut places = Vec::new();
        if self.start != before.start {
            places.push(("start", 0));
        }
        for number in 0..self.headers.len().max(before.headers.len()) {
            let (now, then) = (self.headers.get(number), before.headers.get(number));
            if now.map(|header| &header.0) != then.map(|header| &header.0) {
                places.push(("name", number));
            }
            if now.map(|header| &header.1) != then.map(|header| &header.1) {
                places.push(("value", number));
            }
        }
        if (&self.length, self.line_end, &self.behind) != (&before.length, before.line_end, &before.behind) {
            places.push(("end", 0));
        }
        places
    }

    /// As it is sent.
    pub fn wire(&self) -> Vec<u8> {
        let mut text = format!("{}{}", self.start, self.line_end);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}{}", self.line_end);
        }
        let length = self.length.clone().unwrap_or_else(|| self.body.len().to_string());
        if !length.is_empty() {
            text += &format!("Content-Length: {length}{}", self.line_end);
        }
        text += self.line_end;
        text += &self.body;
        text += &self.behind;
        // What stands for a byte that is no UTF-8.
        text.into_bytes().into_iter().map(|byte| if byte == 1 { 0xE9 } else { byte }).collect()
    }
}

const METHODS: [&str; 8] = ["INVITE", "BYE", "OPTIONS", "ACK", "CANCEL", "REFER", "NOTIFY", "INFO"];
const STATUSES: [&str; 6] =
    ["100 Trying", "180 Ringing", "200 OK", "302 Moved Temporarily", "486 Busy Here", "603 Decline"];
const HOSTS: [&str; 5] = ["example.com", "192.0.2.7", "[2001:db8::9]", "sip.Example.ORG", "a-b.example"];

/// A plain request or response.
pub fn plain(chance: &mut StdRng) -> Draft {
    let method = *METHODS.choose(chance).expect("there are some");
    let mut host = || *HOSTS.choose(chance).expect("there are some");
    let (to, from, hop) = (host(), host(), host());
    let number: u32 = chance.random_range(1..0x7FFF_FFFF);
    let start = if chance.random_bool(0.5) {
        format!("{method} sip:+1555{number}@{to} SIP/2.0")
    } else {
        format!("SIP/2.0 {}", STATUSES.choose(chance).expect("there are some"))
    };
    let port = if chance.random_bool(0.5) { ":5062" } else { "" };
    let headers = [
        ("Via", format!("SIP/2.0/UDP {hop}{port};branch=z9hG4bK{number:x};rport")),
        ("Max-Forwards", "70".to_owned()),
        ("From", format!("<sip:alice@{from}>;tag={number}")),
        ("To", format!("<sip:+1555{number}@{to}>;tag=t{number}")),
        ("Call-ID", format!("{number:x}@{from}").replace(['[', ']'], "")),
        ("CSeq", format!("{number} {method}")),
        ("Contact", format!("<sip:alice@{from}{port}>")),
    ];
    let body = if chance.random_bool(0.5) { "v=0\r\n".to_owned() } else { String::new() };
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Draft { start, headers, body, length: None, line_end: "\r\n", behind: String::new() }
}

/// The message of this number, and what is peculiar about it.
pub fn message(number: u64) -> (Vec<&'static str>, Vec<u8>) {
    let mut chance = StdRng::seed_from_u64(number);
    let mut draft = plain(&mut chance);
    let (mut names, mut touched) = (Vec::new(), Vec::new());
    for _ in 0..chance.random_range(0..=2) {
        let one = PECULIARITIES.choose(&mut chance).expect("there are some");
        let before = draft.clone();
        (one.apply)(&mut draft, &mut chance);
        // Two at the same place would be a third one.
        let now = draft.changed(&before);
        if now.iter().any(|place| touched.contains(place)) {
            draft = before;
        } else {
            touched.extend(now);
            names.push(one.name);
        }
    }
    (names, draft.wire())
}

fn edit(draft: &mut Draft, name: &str, from: &str, to: &str) {
    let value = draft.header(name);
    *value = value.replacen(from, to, 1);
}

const fn new(name: &'static str, apply: fn(&mut Draft, &mut StdRng)) -> Peculiarity {
    Peculiarity { name, apply }
}

/// All there are. The first ones are allowed.
pub const PECULIARITIES: &[Peculiarity] = &[
    new("compact names", |draft, _| {
        for (long, compact) in [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Contact", "m")]
        {
            draft.rename(long, compact);
        }
    }),
    new("names in other case", |draft, _| {
        for (name, _) in &mut draft.headers {
            *name = name.to_ascii_uppercase();
        }
    }),
    new("space before the colon", |draft, _| {
        let first = draft.headers.first_mut().expect("a Via");
        first.0.push_str(" \t");
    }),
    new("folded header", |draft, _| edit(draft, "CSeq", " ", "\r\n  ")),
    new("folded with a tab before a parameter", |draft, _| edit(draft, "From", ";tag", "\r\n\t;tag")),
    new("quoted display name", |draft, _| draft.header("From").insert_str(0, "\"Alice, <b>; \\\"x\\\"\" ")),
    new("display name of tokens", |draft, _| draft.header("To").insert_str(0, "Bob the Builder ")),
    new("display name in UTF-8", |draft, _| draft.header("From").insert_str(0, "\"Åse Ørn\" ")),
    new("display name touches the bracket", |draft, _| draft.header("From").insert_str(0, "\"A\"")),
    new("address without brackets", |draft, _| {
        for bracket in ["<", ">"] {
            edit(draft, "From", bracket, "");
        }
    }),
    new("parameters inside and outside", |draft, _| edit(draft, "To", ">", ";user=phone;x=y>")),
    new("parameter without value inside", |draft, _| edit(draft, "To", ">", ";lr>")),
    new("space around parameters", |draft, _| edit(draft, "From", ";tag=", " ; tag = ")),
    new("quoted parameter", |draft, _| draft.header("From").push_str(";x=\"a;tag=no,b\"")),
    new("parameter without value", |draft, _| draft.header("To").push_str(";flag")),
    new("tag in other case", |draft, _| edit(draft, "From", ";tag", ";TAG")),
    new("two hops in one header", |draft, _| {
        draft.header("Via").push_str(", SIP/2.0/TCP inner.example.com:5070;branch=z9hG4bKinner");
    }),
    new("two Via headers", |draft, _| {
        draft
            .headers
            .insert(1, ("Via".to_owned(), "SIP/2.0/TCP inner.example.com;branch=z9hG4bKi".to_owned()));
    }),
    new("space in Via's protocol", |draft, _| edit(draft, "Via", "SIP/2.0/UDP", "SIP / 2.0 / UDP")),
    new("space around Via's port", |draft, _| edit(draft, "Via", ";branch", " ;branch")),
    new("Via in small letters", |draft, _| edit(draft, "Via", "SIP/2.0/UDP", "sip/2.0/udp")),
    new("Via of an unknown transport", |draft, _| edit(draft, "Via", "/UDP", "/UNKNOWN")),
    new("Via without branch", |draft, _| edit(draft, "Via", ";branch=", ";other=")),
    new("Via with received", |draft, _| draft.header("Via").push_str(";received=192.0.2.99;ttl=3")),
    new("Via with received of IPv6", |draft, _| draft.header("Via").push_str(";received=2001:db8::1")),
    new("unknown header", |draft, _| draft.append("X-Odd.~!%", "a: b, c; \"")),
    new("empty header", |draft, _| draft.append("Subject", "")),
    new("many headers", |draft, chance| {
        for number in 0..chance.random_range(10..40) {
            draft.append(&format!("X-{number}"), "x");
        }
    }),
    new("unknown method", |draft, _| {
        let value = draft.header("CSeq");
        *value = "1 N-E.W!%*_+`'~".to_owned();
        if !draft.start.starts_with("SIP/") {
            draft.start = "N-E.W!%*_+`'~ sip:a@example.com SIP/2.0".to_owned();
        }
    }),
    new("unknown status", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 499 Whatever".clone_into(&mut draft.start);
        }
    }),
    new("no reason phrase", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 200 ".clone_into(&mut draft.start);
        }
    }),
    new("reason phrase in UTF-8", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 200 Geht günstig".clone_into(&mut draft.start);
        }
    }),
    new("sips target", |draft, _| draft.start = draft.start.replace("sip:+", "sips:+")),
    new("tel target", |draft, _| {
        draft.start = draft.start.replace("sip:+1555", "tel:+1555").replace('@', ";x=")
    }),
    new("target with escapes", |draft, _| draft.start = draft.start.replace("sip:+", "sip:%2B%20a;b=c&d+")),
    new("target with a password", |draft, _| draft.start = draft.start.replace('@', ":secret@")),
    new("target with parameters", |draft, _| {
        draft.start = draft.start.replace(" SIP/2.0", ";transport=tcp;lr;x=%41 SIP/2.0");
    }),
    new("target without user", |draft, _| {
        if !draft.start.starts_with("SIP/") {
            "OPTIONS sip:example.com SIP/2.0".clone_into(&mut draft.start);
            draft.header("CSeq").clear();
            draft.header("CSeq").push_str("7 OPTIONS");
        }
    }),
    new("host with a final dot", |draft, _| edit(draft, "From", "@example.com", "@example.com.")),
    new("no Max-Forwards", |draft, _| draft.remove("Max-Forwards")),
    new("no Contact", |draft, _| draft.remove("Contact")),
    new("no tag in To", |draft, _| {
        let value = draft.header("To");
        *value = value.split(";tag").next().unwrap_or_default().to_owned();
    }),
    new("Call-ID of one word", |draft, _| *draft.header("Call-ID") = "word-~<>:\\\"/[]?{}".to_owned()),
    new("no Content-Length", |draft, _| draft.length = Some(String::new())),
    new("Content-Length with zeros", |draft, _| draft.length = Some(format!("000{}", draft.body.len()))),
    new("more bytes than Content-Length", |draft, _| draft.behind = "surplus".to_owned()),
    new("largest number", |draft, _| {
        let value = draft.header("CSeq").split_once(' ').map(|(_, method)| method.to_owned());
        *draft.header("CSeq") = format!("2147483647 {}", value.unwrap_or_default());
    }),
    // What follows breaks a rule.
    new("no Via", |draft, _| draft.remove("Via")),
    new("no From", |draft, _| draft.remove("From")),
    new("no To", |draft, _| draft.remove("To")),
    new("no Call-ID", |draft, _| draft.remove("Call-ID")),
    new("no CSeq", |draft, _| draft.remove("CSeq")),
    new("two To headers that differ", |draft, _| draft.append("To", "<sip:other@example.com>")),
    new("two Call-ID headers that differ", |draft, _| draft.append("Call-ID", "another")),
    new("two CSeq headers that differ", |draft, _| draft.append("CSeq", "4 ACK")),
    new("number too large", |draft, _| *draft.header("CSeq") = "4294967296 INVITE".to_owned()),
    new("negative number", |draft, _| *draft.header("CSeq") = "-1 INVITE".to_owned()),
    new("number that is none", |draft, _| *draft.header("CSeq") = "one INVITE".to_owned()),
    new("CSeq without method", |draft, _| *draft.header("CSeq") = "12".to_owned()),
    new("CSeq of another method", |draft, _| *draft.header("CSeq") = "12 PUBLISH".to_owned()),
    new("Max-Forwards too large", |draft, _| *draft.header("Max-Forwards") = "300".to_owned()),
    new("Max-Forwards that is none", |draft, _| *draft.header("Max-Forwards") = "-1".to_owned()),
    new("quote that does not end", |draft, _| draft.header("From").insert_str(0, "\"Alice ")),
    new("bracket that does not end", |draft, _| edit(draft, "To", ">", "")),
    new("empty address", |draft, _| *draft.header("From") = "<>;tag=1".to_owned()),
    new("address without scheme", |draft, _| edit(draft, "To", "<sip:", "<")),
    new("address without host", |draft, _| *draft.header("To") = "<sip:bob@>;tag=1".to_owned()),
    new("port too large", |draft, _| *draft.header("To") = "<sip:bob@example.com:65536>;tag=1".to_owned()),
    new("port that is none", |draft, _| *draft.header("To") = "<sip:bob@example.com:x>;tag=1".to_owned()),
    new("IPv6 without brackets", |draft, _| *draft.header("To") = "<sip:bob@2001:db8::9>;tag=1".to_owned()),
    new("IPv6 that does not end", |draft, _| *draft.header("To") = "<sip:bob@[2001:db8::9>;tag=1".to_owned()),
    new("space in an address", |draft, _| *draft.header("To") = "<sip:bo b@example.com>;tag=1".to_owned()),
    new("escape that is none", |draft, _| *draft.header("To") = "<sip:%zz@example.com>;tag=1".to_owned()),
    new("two addresses in From", |draft, _| draft.header("From").push_str(", <sip:other@example.com>")),
    new("empty tag", |draft, _| *draft.header("To") = "<sip:bob@example.com>;tag=".to_owned()),
    new("semicolon at the end", |draft, _| draft.header("To").push(';')),
    new("Via without transport", |draft, _| edit(draft, "Via", "/UDP", "")),
    new("Via without host", |draft, _| *draft.header("Via") = "SIP/2.0/UDP ;branch=z9hG4bK1".to_owned()),
    new("Via of another version", |draft, _| edit(draft, "Via", "SIP/2.0", "SIP/7.0")),
    new("comma at Via's end", |draft, _| draft.header("Via").push(',')),
    new("empty Via", |draft, _| draft.header("Via").clear()),
    new("empty Call-ID", |draft, _| draft.header("Call-ID").clear()),
    new("Call-ID with a space", |draft, _| *draft.header("Call-ID") = "two words".to_owned()),
    new("header without colon", |draft, _| {
        let last = draft.headers.last_mut().expect("a Contact");
        last.1.push_str("\r\nNo colon here");
    }),
    new("header without a name", |draft, _| draft.append("", "value")),
    new("name with a space", |draft, _| draft.append("Two words", "value")),
    new("first header is folded", |draft, _| draft.start.push_str("\r\n Folded: x")),
    new("lines end in LF", |draft, _| {
        draft.line_end = "\n";
    }),
    new("lone LF in a value", |draft, _| draft.append("Subject", "a\nInjected: b")),
    new("lone CR in a value", |draft, _| draft.append("Subject", "a\rb")),
    new("NUL in a value", |draft, _| draft.append("Subject", "a\0b")),
    new("byte that is no UTF-8 in a value", |draft, _| draft.append("Subject", "caf\u{1}")),
    new("byte that is no UTF-8 in From", |draft, _| draft.header("From").insert_str(0, "\"caf\u{1}\" ")),
    new("Content-Length too large", |draft, _| draft.length = Some((draft.body.len() + 10).to_string())),
    new("Content-Length negative", |draft, _| draft.length = Some("-5".to_owned())),
    new("Content-Length that is none", |draft, _| draft.length = Some("five".to_owned())),
    new("Content-Length beyond all numbers", |draft, _| {
        draft.length = Some("99999999999999999999".to_owned())
    }),
    new("two Content-Lengths that differ", |draft, _| draft.append("Content-Length", "3")),
    new("another version", |draft, _| draft.start = draft.start.replace("SIP/2.0", "SIP/7.0")),
    new("version in small letters", |draft, _| draft.start = draft.start.replace("SIP/2.0", "sip/2.0")),
    new("another protocol", |draft, _| draft.start = draft.start.replace("SIP/2.0", "HTTP/1.1")),
    new("two spaces in the first line", |draft, _| draft.start = draft.start.replacen(' ', "  ", 1)),
    new("space at the first line's end", |draft, _| draft.start.push(' ')),
    new("space before the first line", |draft, _| draft.start.insert(0, ' ')),
    new("empty line first", |draft, _| draft.start.insert_str(0, "\r\n")),
    new("target in brackets", |draft, _| {
        if !draft.start.starts_with("SIP/") {
            draft.start = draft.start.replace("sip:+", "<sip:+").replace(" SIP/2.0", "> SIP/2.0");
        }
    }),
    new("target with headers", |draft, _| {
        if !draft.start.starts_with("SIP/") {
            draft.start = draft.start.replace(" SIP/2.0", "?Route=%3Csip:x%3E SIP/2.0");
        }
    }),
    new("target of an unknown scheme", |draft, _| draft.start = draft.start.replace("sip:+", "nobody:+")),
    new("no target", |draft, _| {
        if !draft.start.starts_with("SIP/") {
            "INVITE SIP/2.0".clone_into(&mut draft.start);
        }
    }),
    new("status beyond all", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 4294967301 OK".clone_into(&mut draft.start);
        }
    }),
    new("status of two digits", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 99 OK".clone_into(&mut draft.start);
        }
    }),
    new("status of no class", |draft, _| {
        if draft.start.starts_with("SIP/") {
            "SIP/2.0 799 OK".clone_into(&mut draft.start);
        }
    }),
];
