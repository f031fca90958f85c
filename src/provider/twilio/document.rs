//! Reads TwiML: an XML document whose `<Response>` holds verbs, one after the other.
//!
//! What is not XML, or not a `<Response>`, is [`Malformed`] as a whole (Twilio's 12100). A verb, noun or attribute that is not known
//! here, or whose value cannot be used, is passed over and named, so that the timeline tells why nothing came of it. A document type
//! is refused, and with it every entity but the five of XML: none can be made to grow.

use std::str::FromStr;
use std::time::Duration;

use roxmltree::{Node, ParsingOptions};

use super::verb::{
    Dial, Gather, Method, Play, Prompt, Refer, Rejection, Said, Stream, Target, Track, Verb, WebAddress,
};

/// The longest text that is read.
const LONGEST: usize = 64 * 1024;
/// Elements, texts and comments of one document.
const NODES: u32 = 4_000;
/// Verbs of one document; Twilio itself redirects away long before.
const VERBS: usize = 200;
/// How often `loop="0"` plays where only some number can: Twilio's own limit.
const TIMES_MAX: u32 = 1000;
/// People who are called at once.
const TARGETS: usize = 10;

/// What an application has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What is to be done, in order.
    pub verbs: Vec<Verb>,
    /// What was passed over, each in a few words.
    pub passed_over: Vec<String>,
}

/// The text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than we read.
    #[error("the document is longer than {LONGEST} bytes")]
    TooLong,
    /// Not XML, or XML that we do not read.
    #[error("the document is not XML that can be read: {0}")]
    Xml(String),
    /// Another root.
    #[error("the document is no <Response>, but a <{0}>")]
    Root(String),
    /// More than we carry out.
    #[error("the document has more than {VERBS} verbs")]
    TooManyVerbs,
}

impl FromStr for Document {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
        // What editors and templates leave before the declaration is no part of the document.
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let tree = roxmltree::Document::parse_with_options(text, options)
            .map_err(|error| Malformed::Xml(error.to_string()))?;
        let root = tree.root_element();
        if root.tag_name().name() != "Response" {
            return Err(Malformed::Root(short(root.tag_name().name())));
        }
        let mut reader = Reader::default();
        reader.texts_are_nothing(root);
        for element in elements(root) {
            if reader.verbs.len() == VERBS {
                return Err(Malformed::TooManyVerbs);
            }
            let verb = reader.verb(element);
            reader.verbs.extend(verb);
        }
        Ok(Self { verbs: reader.verbs, passed_over: reader.passed_over })
    }
}

#[derive(Default)]
struct Reader {
    verbs: Vec<Verb>,
    passed_over: Vec<String>,
}

impl Reader {
    fn verb(&mut self, element: Node<'_, '_>) -> Option<Verb> {
        match element.tag_name().name() {
            "Connect" => self.connect(element),
            "Start" => self.stream_within(element, &[]).map(Verb::Start),
            "Stop" => Some(Verb::Stop),
            "Say" | "Play" => self.prompt(element).map(Verb::Prompt),
            "Pause" => Some(Verb::Pause(self.pause(element))),
            "Dial" => self.dial(element).map(Verb::Dial),
            "Refer" => self.refer(element).map(Verb::Refer),
            "Gather" => Some(Verb::Gather(self.gather(element))),
            "Redirect" => self.redirect(element).map(Verb::Redirect),
            "Reject" => Some(Verb::Reject(self.reject(element))),
            "Hangup" => {
                self.known(element, &[]);
                Some(Verb::Hangup)
            }
            other => {
                self.pass_over(format!("<{}> is not known here", short(other)));
                None
            }
        }
    }

    fn connect(&mut self, element: Node<'_, '_>) -> Option<Verb> {
        let action = self.address(element, "action", "method");
        let stream = self.stream_within(element, &["action", "method"])?;
        Some(Verb::Connect { stream, action })
    }

    /// The one `<Stream>` of `<Connect>` or `<Start>`.
    fn stream_within(&mut self, element: Node<'_, '_>, attributes: &[&str]) -> Option<Stream> {
        self.known(element, attributes);
        let mut found = None;
        for noun in elements(element) {
            match noun.tag_name().name() {
                "Stream" if found.is_none() => found = Some(self.stream(noun)),
                other => self.pass_over(format!(
                    "<{}> within <{}> is not known here",
                    short(other),
                    element.tag_name().name()
                )),
            }
        }
        match found {
            Some(Some(stream)) => Some(stream),
            Some(None) => None,
            None => {
                self.pass_over(format!("<{}> without a <Stream>", element.tag_name().name()));
                None
            }
        }
    }

    fn stream(&mut self, element: Node<'_, '_>) -> Option<Stream> {
        let names = ["url", "name", "track", "statusCallback", "statusCallbackMethod"];
        self.known(element, &names);
        let track = self.choice(
            element,
            "track",
            &[
                ("inbound_track", Track::Inbound),
                ("outbound_track", Track::Outbound),
                ("both_tracks", Track::Both),
            ],
        );
        let mut parameters = Vec::new();
        for parameter in elements(element) {
            let (name, value) = (parameter.attribute("name"), parameter.attribute("value"));
            match (parameter.tag_name().name(), name) {
                ("Parameter", Some(name)) => {
                    parameters.push((name.to_owned(), value.unwrap_or_default().to_owned()));
                }
                (other, _) => self.pass_over(format!("<{}> within <Stream> is not known here", short(other))),
            }
        }
        let url = element.attribute("url").map(str::trim).filter(|url| !url.is_empty());
        if url.is_none() {
            self.pass_over("<Stream> without a url".to_owned());
        }
        Some(Stream {
            url: url?.to_owned(),
            name: element.attribute("name").map(str::to_owned),
            track: track.unwrap_or_default(),
            parameters,
            status: self.address(element, "statusCallback", "statusCallbackMethod"),
        })
    }

    fn prompt(&mut self, element: Node<'_, '_>) -> Option<Prompt> {
        let times = self.number(element, "loop", 1, 0, TIMES_MAX);
        let times = Some(times).filter(|times| *times != 0);
        match element.tag_name().name() {
            "Say" => {
                self.known(element, &["loop", "voice", "language"]);
                // What is marked up for a voice is text to us.
                let all: String = element.descendants().filter_map(|node| spoken(node)).collect();
                let text = one_line(&all);
                if text.is_empty() {
                    self.pass_over("<Say> without a text".to_owned());
                    return None;
                }
                Some(Prompt::Say(Said { text, times }))
            }
            "Play" => {
                self.known(element, &["loop", "digits"]);
                if let Some(keys) = element.attribute("digits") {
                    return self.keys(keys);
                }
                let sound = one_line(&text_of(element));
                if sound.is_empty() {
                    self.pass_over("<Play> without a url".to_owned());
                    return None;
                }
                Some(Prompt::Play(Play { sound, times }))
            }
            _ => None,
        }
    }

    fn keys(&mut self, keys: &str) -> Option<Prompt> {
        let are_keys = |key: char| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D' | 'w' | 'W');
        if keys.is_empty() || keys.len() > 64 || !keys.chars().all(are_keys) {
            self.pass_over("<Play digits> takes 1 to 64 of 0-9, *, #, A-D and w".to_owned());
            return None;
        }
        Some(Prompt::Keys(keys.to_owned()))
    }

    fn pause(&mut self, element: Node<'_, '_>) -> Duration {
        self.known(element, &["length"]);
        seconds(self.number(element, "length", 1, 0, 3600))
    }

    fn dial(&mut self, element: Node<'_, '_>) -> Option<Dial> {
        let names = ["timeout", "timeLimit", "callerId", "action", "method", "answerOnBridge"];
        self.known(element, &names);
        let mut targets = Vec::new();
        for noun in elements(element) {
            let text = one_line(&text_of(noun));
            match noun.tag_name().name() {
                "Number" if !text.is_empty() => targets.push(Target::Number(text)),
                "Sip" if !text.is_empty() => targets.push(Target::Sip(text)),
                other => self.pass_over(format!("<{}> within <Dial> is not known here", short(other))),
            }
        }
        let bare = one_line(&text_of(element));
        if targets.is_empty() && !bare.is_empty() {
            targets.push(Target::Number(bare));
        }
        if targets.len() > TARGETS {
            self.pass_over(format!("<Dial> calls at most {TARGETS} at once"));
            targets.truncate(TARGETS);
        }
        if targets.is_empty() {
            self.pass_over("<Dial> without anybody to call".to_owned());
            return None;
        }
        let limit =
            element.attribute("timeLimit").map(|_| self.number(element, "timeLimit", 14_400, 1, 86_400));
        Some(Dial {
            targets,
            timeout: seconds(self.number(element, "timeout", 30, 1, 600)),
            time_limit: limit.map(seconds),
            caller_id: element
                .attribute("callerId")
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
            action: self.address(element, "action", "method"),
        })
    }

    fn refer(&mut self, element: Node<'_, '_>) -> Option<Refer> {
        self.known(element, &["action", "method"]);
        let mut to = None;
        for noun in elements(element) {
            match noun.tag_name().name() {
                "Sip" if to.is_none() => to = Some(one_line(&text_of(noun))),
                other => self.pass_over(format!("<{}> within <Refer> is not known here", short(other))),
            }
        }
        let to = to.filter(|to| !to.is_empty());
        if to.is_none() {
            self.pass_over("<Refer> without a <Sip>".to_owned());
        }
        Some(Refer { to: to?, action: self.address(element, "action", "method") })
    }

    fn gather(&mut self, element: Node<'_, '_>) -> Gather {
        let names = [
            "input",
            "numDigits",
            "timeout",
            "finishOnKey",
            "action",
            "method",
            "actionOnEmptyResult",
            "language",
        ];
        self.known(element, &names);
        let input = element.attribute("input").unwrap_or("dtmf");
        let takes_keys = input.split_ascii_whitespace().any(|kind| kind == "dtmf");
        if input != "dtmf" {
            self.pass_over(format!("<Gather input=\"{}\">: only dtmf is understood", short(input)));
        }
        let mut prompts = Vec::new();
        for noun in elements(element) {
            match noun.tag_name().name() {
                "Say" | "Play" => prompts.extend(self.prompt(noun)),
                "Pause" => prompts.push(Prompt::Pause(self.pause(noun))),
                other => self.pass_over(format!("<{}> within <Gather> is not known here", short(other))),
            }
        }
        let enough = element.attribute("numDigits").map(|_| self.number(element, "numDigits", 1, 1, 64));
        Gather {
            takes_keys,
            enough: enough.map(|enough| enough as usize),
            finish_on: self.finish_on(element),
            timeout: seconds(self.number(element, "timeout", 5, 0, 600)),
            action: self.address(element, "action", "method"),
            tells_nothing_too: element.attribute("actionOnEmptyResult") == Some("true"),
            prompts,
        }
    }

    /// `#` where nothing is written; nothing where that is written.
    fn finish_on(&mut self, element: Node<'_, '_>) -> Option<char> {
        let Some(written) = element.attribute("finishOnKey") else { return Some('#') };
        let mut keys = written.chars();
        match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(key @ ('0'..='9' | '*' | '#')), None) => Some(key),
            (Some(_), _) => {
                self.pass_over(format!("finishOnKey=\"{}\" is not one key", short(written)));
                Some('#')
            }
        }
    }

    fn redirect(&mut self, element: Node<'_, '_>) -> Option<WebAddress> {
        self.known(element, &["method"]);
        let url = one_line(&text_of(element));
        let method = self.method(element, "method");
        if url.is_empty() {
            self.pass_over("<Redirect> without a url".to_owned());
            return None;
        }
        Some(WebAddress { url, method })
    }

    fn reject(&mut self, element: Node<'_, '_>) -> Rejection {
        self.known(element, &["reason"]);
        let reasons = [("rejected", Rejection::Rejected), ("busy", Rejection::Busy)];
        self.choice(element, "reason", &reasons).unwrap_or_default()
    }

    fn address(&mut self, element: Node<'_, '_>, url: &str, method: &str) -> Option<WebAddress> {
        let written = element.attribute(url).map(str::trim).filter(|url| !url.is_empty())?;
        Some(WebAddress { url: written.to_owned(), method: self.method(element, method) })
    }

    fn method(&mut self, element: Node<'_, '_>, name: &str) -> Method {
        self.choice(element, name, &[("POST", Method::Post), ("GET", Method::Get)]).unwrap_or_default()
    }

    fn choice<T: Copy>(&mut self, element: Node<'_, '_>, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let written = element.attribute(name)?.trim();
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
        if chosen.is_none() {
            self.pass_over(format!("{name}=\"{}\" is not known here", short(written)));
        }
        chosen.map(|(_, meaning)| *meaning)
    }

    fn number(&mut self, element: Node<'_, '_>, name: &str, usual: u32, least: u32, most: u32) -> u32 {
        let Some(written) = element.attribute(name) else { return usual };
        let number = written.trim().parse::<u32>().ok();
        if number.is_none() {
            self.pass_over(format!("{name}=\"{}\" is not a number", short(written)));
        }
        number.unwrap_or(usual).clamp(least, most)
    }

    fn known(&mut self, element: Node<'_, '_>, names: &[&str]) {
        for attribute in element.attributes() {
            if !names.contains(&attribute.name()) {
                let (name, verb) = (short(attribute.name()), element.tag_name().name());
                self.pass_over(format!("{name} of <{verb}> is not known here"));
            }
        }
    }

    fn texts_are_nothing(&mut self, root: Node<'_, '_>) {
        if !text_of(root).trim().is_empty() {
            self.pass_over("text outside of the verbs".to_owned());
        }
    }

    /// Each is told once, and not more than anybody reads.
    fn pass_over(&mut self, what: String) {
        if self.passed_over.len() < 20 && !self.passed_over.contains(&what) {
            self.passed_over.push(what);
        }
    }
}

fn elements<'a, 'input>(node: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(|child| child.is_element())
}

/// The texts directly within, comments left out.
fn text_of(node: Node<'_, '_>) -> String {
    node.children().filter_map(spoken).collect()
}

fn spoken<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.is_text().then(|| node.text()).flatten()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str) -> Document {
        format!("<Response>{inner}</Response>").parse().unwrap()
    }

    fn verbs(inner: &str) -> Vec<Verb> {
        let document = read(inner);
        assert_eq!(document.passed_over, Vec::<String>::new(), "{inner}");
        document.verbs
    }

    #[test]
    fn a_bot_is_connected_with_its_parameters() {
        let verbs = verbs(
            r#"<Connect action="/done" method="GET"><Stream url="wss://bots.example.com/ws" name="mine" track="inbound_track"
                 statusCallback="https://a.example/s"><Parameter name="who" value="Sam &amp; Co"/><Parameter name="empty"/>
               </Stream></Connect>"#,
        );

        let stream = Stream {
            url: "wss://bots.example.com/ws".into(),
            name: Some("mine".into()),
            track: Track::Inbound,
            parameters: vec![("who".into(), "Sam & Co".into()), ("empty".into(), String::new())],
            status: Some(WebAddress { url: "https://a.example/s".into(), method: Method::Post }),
        };
        let action = Some(WebAddress { url: "/done".into(), method: Method::Get });
        assert_eq!(verbs, [Verb::Connect { stream, action }]);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let verbs =
            verbs("<Pause/><Gather/><Dial>+15550100</Dial><Reject/><Say>hi</Say><Redirect>/next</Redirect>");

        assert_eq!(verbs[0], Verb::Pause(Duration::from_secs(1)));
        let Verb::Gather(gather) = &verbs[1] else { panic!() };
        assert_eq!((gather.takes_keys, gather.enough, gather.finish_on), (true, None, Some('#')));
        assert_eq!((gather.timeout, gather.tells_nothing_too), (Duration::from_secs(5), false));
        let Verb::Dial(dial) = &verbs[2] else { panic!() };
        assert_eq!(dial.targets, [Target::Number("+15550100".into())]);
        assert_eq!((dial.timeout, dial.time_limit), (Duration::from_secs(30), None));
        assert_eq!(verbs[3], Verb::Reject(Rejection::Rejected));
        assert_eq!(verbs[4], Verb::Prompt(Prompt::Say(Said { text: "hi".into(), times: Some(1) })));
        let redirect = WebAddress { url: "/next".into(), method: Method::Post };
        assert_eq!(verbs[5], Verb::Redirect(redirect));
    }

    #[test]
    fn entities_cdata_and_comments_are_read_as_xml_reads_them() {
        let said = |inner: &str| {
            let Verb::Prompt(Prompt::Say(said)) = verbs(inner).remove(0) else { panic!("{inner}") };
            said.text
        };

        assert_eq!(said("<Say>a &lt; b &amp;&#32;c &#x2764;</Say>"), "a < b & c \u{2764}");
        assert_eq!(said("<Say><![CDATA[5 < 6 & 7]]></Say>"), "5 < 6 & 7");
        assert_eq!(said("<Say>one <!-- two --> three\n\n  four</Say>"), "one three four");
        assert_eq!(said("<Say>now <emphasis level='strong'>slowly</emphasis></Say>"), "now slowly");
    }

    #[test]
    fn a_gather_holds_its_prompts_and_a_dial_its_people() {
        let verbs = verbs(
            r#"<Gather input="dtmf" numDigits="1" timeout="3" finishOnKey="" action="https://a.example/keys">
                 <Say loop="0">Press one</Say><Pause length="2"/><Play>https://a.example/beep.wav</Play></Gather>
               <Dial timeout="9" timeLimit="60" callerId="+15550111" action="/after"><Number>+15550100</Number>
                 <Sip>sip:alice@10.0.0.9</Sip></Dial>
               <Play digits="ww12#"/>"#,
        );

        let Verb::Gather(gather) = &verbs[0] else { panic!() };
        assert_eq!((gather.enough, gather.finish_on), (Some(1), None));
        assert_eq!(
            gather.prompts,
            [
                Prompt::Say(Said { text: "Press one".into(), times: None }),
                Prompt::Pause(Duration::from_secs(2)),
                Prompt::Play(Play { sound: "https://a.example/beep.wav".into(), times: Some(1) }),
            ]
        );
        let Verb::Dial(dial) = &verbs[1] else { panic!() };
        let people = [Target::Number("+15550100".into()), Target::Sip("sip:alice@10.0.0.9".into())];
        assert_eq!(dial.targets, people);
        assert_eq!(dial.time_limit, Some(Duration::from_secs(60)));
        assert_eq!(verbs[2], Verb::Prompt(Prompt::Keys("ww12#".into())));
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_named() {
        let document = read(
            r#"hello<Enqueue>support</Enqueue><Pause length="soon" colour="red"/><Dial><Conference>Room</Conference></Dial>
               <Connect><ConversationRelay url="wss://x"/></Connect><Hangup/>"#,
        );

        assert_eq!(document.verbs, [Verb::Pause(Duration::from_secs(1)), Verb::Hangup]);
        assert_eq!(
            document.passed_over,
            [
                "text outside of the verbs",
                "<Enqueue> is not known here",
                "colour of <Pause> is not known here",
                "length=\"soon\" is not a number",
                "<Conference> within <Dial> is not known here",
                "<Dial> without anybody to call",
                "<ConversationRelay> within <Connect> is not known here",
                "<Connect> without a <Stream>",
            ]
        );
    }

    #[test]
    fn what_is_no_document_is_refused_as_a_whole() {
        let refused = |text: &str| text.parse::<Document>().unwrap_err();

        for text in ["", "hello", "<Response>", "<Response><Say>x</Response>", "<Response>&nbsp;</Response>"]
        {
            assert!(matches!(refused(text), Malformed::Xml(_)), "{text}");
        }
        assert_eq!(refused("<html></html>"), Malformed::Root("html".into()));
        assert_eq!(refused(&"<Response/>".repeat(10_000)), Malformed::TooLong);
        let many = format!("<Response>{}</Response>", "<Hangup/>".repeat(VERBS + 1));
        assert_eq!(refused(&many), Malformed::TooManyVerbs);
        assert!(
            "\u{feff}\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>".parse::<Document>().is_ok()
        );
    }

    /// The billion laughs, an external entity, and an element within an element within an element.
    #[test]
    fn a_document_that_would_grow_or_reach_out_is_refused() {
        let laughs =
            r#"<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><Response><Say>&b;</Say></Response>"#;
        let outside =
            r#"<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><Response><Say>&x;</Say></Response>"#;
        let deep = format!("<Response>{}{}</Response>", "<a>".repeat(6000), "</a>".repeat(6000));

        for text in [laughs, outside, &deep] {
            assert!(matches!(text.parse::<Document>(), Err(Malformed::Xml(_))));
        }
    }
}
