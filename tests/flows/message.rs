//! SIP messages as the scripted peer reads and writes them. It shares no code with the daemon's own parser, so what the
//! daemon writes is read by somebody else.

/// What a script adds to a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    headers: Vec<(String, String)>,
    body: Option<(String, String)>,
}

/// With nothing but what every message has.
pub(crate) fn bare() -> Parts {
    Parts::default()
}

/// With a session description of PCMU and telephone-event, in this direction.
pub(crate) fn sdp(direction: &str) -> Parts {
    bare().body("application/sdp", &description("{ip}", direction))
}

/// A session description; `{ip}` is replaced by the phone's address.
pub(crate) fn description(address: &str, direction: &str) -> String {
    format!(
        "v=0\r\no=- 7 {{version}} IN IP4 {{ip}}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

impl Parts {
    /// One header more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Whether it has a header of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// With what stands for something else put in its place.
    pub(crate) fn replaced(mut self, mark: &str, text: &str) -> Self {
        for (_, value) in &mut self.headers {
            *value = value.replace(mark, text);
        }
        if let Some((_, body)) = &mut self.body {
            *body = body.replace(mark, text);
        }
        self
    }

    /// This body.
    pub(crate) fn body(mut self, kind: &str, text: &str) -> Self {
        self.body = Some((kind.to_owned(), text.to_owned()));
        self
    }
}

/// A message, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    /// Reads what the daemon has sent. A fault in it is a fault of the daemon, and ends the test.
    pub(crate) fn read(wire: &[u8]) -> Self {
        let text = std::str::from_utf8(wire).expect("the daemon writes UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head ends with an empty line");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
                (name.trim().to_owned(), value.trim().to_owned())
            })
            .collect();
        let message = Self { start, headers, body: body.to_owned() };
        for needed in ["Via", "From", "To", "Call-ID", "CSeq"] {
            assert!(message.header(needed).is_some(), "{needed} is missing in\n{text}");
        }
        assert_eq!(message.needed("Content-Length"), body.len().to_string(), "length of\n{text}");
        assert!(message.status().is_some() || message.needed("Max-Forwards").parse::<u8>().is_ok());
        message
    }

    /// Writes one with `parts` behind `headers`.
    pub(crate) fn write(start: String, headers: Vec<(String, String)>, parts: Parts) -> Self {
        let mut message = Self { start, headers, body: String::new() };
        message.headers.extend(parts.headers);
        if let Some((kind, text)) = parts.body {
            message.headers.push(("Content-Type".to_owned(), kind));
            message.body = text;
        }
        message.headers.push(("Content-Length".to_owned(), message.body.len().to_string()));
        message
    }

    pub(crate) fn wire(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n{}", self.start, self.body).into_bytes()
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Every header of this name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The first header of this name, which has to be there.
    pub(crate) fn needed(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("{name} is missing in {}", self.start))
    }

    /// Whether a header of this name has `token` among what it lists.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
    }

    /// The code, if it is a response.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// What the request asks, or what the response answers.
    pub(crate) fn method(&self) -> &str {
        self.needed("CSeq").split(' ').nth(1).expect("CSeq has a method")
    }

    /// The number in CSeq.
    pub(crate) fn number(&self) -> u32 {
        self.needed("CSeq")
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("CSeq has a number")
    }

    /// The URI that a request is for.
    pub(crate) fn request_uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn branch(&self) -> &str {
        parameter(self.needed("Via"), "branch").expect("Via has a branch")
    }

    /// The tag in From or To.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        parameter(self.needed(name), "tag")
    }

    /// The URI between the brackets of Contact.
    pub(crate) fn contact(&self) -> &str {
        bracketed(self.needed("Contact"))
    }

    /// The direction in the session description: what is written, or what it means to write none.
    pub(crate) fn direction(&self) -> &str {
        let known = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let mut written = self.body.lines().filter_map(|line| line.strip_prefix("a="));
        assert!(self.body.contains("m=audio "), "no audio in the body of {}", self.start);
        written.rfind(|word| known.contains(word)).unwrap_or("sendrecv")
    }
}

/// A parameter behind a value, without quotes.
pub(crate) fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let behind = value.rsplit_once('>').map_or(value, |(_, behind)| behind);
    let parameters = behind.split(';').filter_map(|part| part.split_once('='));
    let mut named = parameters.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().trim_matches('"'))
}

/// What stands between `<` and `>`, or the whole.
pub(crate) fn bracketed(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}
