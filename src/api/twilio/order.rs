//! What a form asks for.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use url::form_urlencoded;

use super::refusal::{Refusal, bad};
use crate::call::{
    AnsweringMachine, Context, Happening, OnMachine, PlaceCall, Privacy, RecordMode, Run, Source,
    StatusCallback,
};
use crate::provider::twilio::{Document, Malformed, Method, WebAddress};
use crate::spelling;

/// Fields by name; one may stand more than once.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

/// A call to be placed.
#[derive(Debug)]
pub(super) struct Placing {
    pub(super) call: PlaceCall,
    pub(super) run: Run,
}

/// What becomes of a call.
#[derive(Debug, PartialEq)]
pub(super) enum Update {
    Run(Box<Run>),
    Complete,
    Cancel,
    /// Nothing that we can change was written.
    Nothing,
}

impl Form {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first of that name, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let named: Vec<&str> =
            self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        named.into_iter()
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn seconds(&self, name: &str, most: u32) -> Result<Option<u32>, Refusal> {
        let Some(written) = self.get(name) else { return Ok(None) };
        let wrong = || bad(20001, format!("{name} is not a number of seconds"));
        let seconds = written.parse::<u32>().map_err(|_| wrong())?;
        Ok(Some(seconds.clamp(1, most)))
    }

    fn method(&self, name: &str) -> Result<Method, Refusal> {
        let Some(written) = self.get(name) else { return Ok(Method::default()) };
        Method::named(written).ok_or_else(|| bad(20001, format!("{name} is neither GET nor POST")))
    }

    fn address(&self, url: &str, method: &str, code: u32) -> Result<Option<WebAddress>, Refusal> {
        let Some(written) = self.get(url) else { return Ok(None) };
        spelling::webhook_url(written)
            .map_err(|_| bad(code, format!("{url} is not a valid URL: {written}")))?;
        Ok(Some(WebAddress { url: written.to_owned(), method: self.method(method)? }))
    }

    /// Where the instructions come from: exactly one of `Url` and `Twiml`.
    fn source(&self) -> Result<Option<Source>, Refusal> {
        if self.get("ApplicationSid").is_some() {
            return Err(bad(21218, "There are no applications here: write Url or Twiml"));
        }
        if let Some(text) = self.get("Twiml") {
            let document =
                text.parse::<Document>().map_err(|error: Malformed| bad(12100, error.to_string()))?;
            return Ok(Some(Source::Document(document.into())));
        }
        Ok(self.address("Url", "Method", 21205)?.map(Source::Web))
    }

    fn status(&self) -> Result<Option<StatusCallback>, Refusal> {
        let Some(at) = self.address("StatusCallback", "StatusCallbackMethod", 21609)? else {
            return Ok(None);
        };
        let words = self.all("StatusCallbackEvent").flat_map(str::split_ascii_whitespace);
        let known = |word: &str| Happening::ALL.into_iter().find(|one| one.as_str() == word);
        let mut events = Vec::new();
        for word in words {
            let event = known(word);
            events
                .push(event.ok_or_else(|| bad(21626, format!("StatusCallbackEvent is not known: {word}")))?);
        }
        if events.is_empty() {
            events.push(Happening::Completed);
        }
        Ok(Some(StatusCallback { at, events }))
    }

    fn record(&self) -> Option<RecordMode> {
        let stereo = self.get("RecordingChannels") == Some("dual");
        let mode = if stereo { RecordMode::Stereo } else { RecordMode::Mixed };
        self.is_true("Record").then_some(mode)
    }
}

/// The form of `POST …/Calls.json`.
pub(super) fn place(form: &Form) -> Result<Placing, Refusal> {
    let to = form.get("To").ok_or_else(|| bad(21201, "No 'To' number is specified"))?;
    let from = form.get("From").ok_or_else(|| bad(21213, "No 'From' number is specified"))?;
    dialled(to).map_err(|problem| bad(21211, format!("'To' number {to} {problem}")))?;
    dialled(from).map_err(|problem| bad(21212, format!("'From' number {from} {problem}")))?;
    let source = form.source()?.ok_or_else(|| bad(21205, "Url parameter is required"))?;
    let detects = match form.get("MachineDetection") {
        Some("Enable" | "DetectMessageEnd") => true,
        Some(_) | None => false,
    };
    let call = PlaceCall {
        to: to.to_owned(),
        from: Some(from.to_owned()),
        context: Context::default(),
        mode: None,
        engine: None,
        workflow: None,
        ring_timeout_sec: form.seconds("Timeout", 600)?.or(Some(60)),
        max_duration_sec: form.seconds("TimeLimit", 86_400)?,
        answering_machine: detects
            .then_some(AnsweringMachine { detect: true, on_machine: OnMachine::Continue }),
        record: form.record(),
        webhook_url: None,
        platform: None,
        privacy: Privacy::default(),
        stir: None,
        headers: std::collections::BTreeMap::new(),
    };
    let keys = form.get("SendDigits").map(keys).transpose()?;
    let fallback = form.address("FallbackUrl", "FallbackMethod", 21205)?;
    Ok(Placing { call, run: Run { source, fallback, status: form.status()?, keys } })
}

/// The form of `POST …/Calls/{sid}.json`.
pub(super) fn update(form: &Form) -> Result<Update, Refusal> {
    let source = form.source()?;
    match (form.get("Status"), source) {
        (Some("completed"), _) => Ok(Update::Complete),
        (Some("canceled"), _) => Ok(Update::Cancel),
        (Some(other), _) => Err(bad(21220, format!("Status {other} is neither completed nor canceled"))),
        (None, Some(source)) => {
            let fallback = form.address("FallbackUrl", "FallbackMethod", 21205)?;
            Ok(Update::Run(Box::new(Run { source, fallback, status: form.status()?, keys: None })))
        }
        (None, None) => Ok(Update::Nothing),
    }
}

/// A number or a SIP URI; Twilio's clients are neither.
fn dialled(text: &str) -> Result<(), &'static str> {
    if text.starts_with("client:") {
        return Err("is a client; write a number or a SIP URI");
    }
    spelling::dialable(text)
}

fn keys(written: &str) -> Result<String, Refusal> {
    let known = |key: char| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D' | 'w' | 'W');
    if (1..=64).contains(&written.len()) && written.chars().all(known) {
        Ok(written.to_owned())
    } else {
        Err(bad(20001, "SendDigits takes 1 to 64 of 0-9, *, #, A-D and w"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> Form {
        Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    const NUMBERS: [(&str, &str); 2] = [("To", "+16505824074"), ("From", "+18005551234")];

    #[test]
    fn a_call_is_placed_with_all_that_the_form_says() {
        let mut fields = NUMBERS.to_vec();
        fields.extend([
            ("Url", "https://a.example/voice"),
            ("Method", "GET"),
            ("FallbackUrl", "https://a.example/plan-b"),
            ("StatusCallback", "https://a.example/status"),
            ("StatusCallbackEvent", "initiated"),
            ("StatusCallbackEvent", "ringing answered"),
            ("Timeout", "20"),
            ("TimeLimit", "600"),
            ("Record", "true"),
            ("RecordingChannels", "dual"),
            ("MachineDetection", "Enable"),
            ("SendDigits", "ww1#"),
        ]);

        let Placing { call, run } = place(&form(&fields)).unwrap();

        assert_eq!((call.to.as_str(), call.from.as_deref()), ("+16505824074", Some("+18005551234")));
        assert_eq!((call.ring_timeout_sec, call.max_duration_sec), (Some(20), Some(600)));
        assert_eq!(call.record, Some(RecordMode::Stereo));
        assert!(call.answering_machine.is_some_and(|machine| machine.detect));
        let at = |url: &str, method| WebAddress { url: url.to_owned(), method };
        assert_eq!(run.source, Source::Web(at("https://a.example/voice", Method::Get)));
        assert_eq!(run.fallback, Some(at("https://a.example/plan-b", Method::Post)));
        let events = vec![Happening::Initiated, Happening::Ringing, Happening::Answered];
        assert_eq!(
            run.status,
            Some(StatusCallback { at: at("https://a.example/status", Method::Post), events })
        );
        assert_eq!(run.keys.as_deref(), Some("ww1#"));
    }

    #[test]
    fn the_common_mistakes_have_twilios_numbers() {
        let with = |more: &[(&str, &str)]| {
            let mut fields = NUMBERS.to_vec();
            fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
            fields.extend(more);
            place(&form(&fields)).unwrap_err().code
        };
        let url = ("Url", "https://a.example/");

        assert_eq!(with(&[url, ("To", "")]), 21201);
        assert_eq!(with(&[url, ("From", "")]), 21213);
        assert_eq!(with(&[url, ("To", "nobody")]), 21211);
        assert_eq!(with(&[url, ("To", "client:alice")]), 21211);
        assert_eq!(with(&[url, ("From", "nobody")]), 21212);
        assert_eq!(with(&[]), 21205);
        assert_eq!(with(&[("Url", "voice.xml")]), 21205);
        assert_eq!(with(&[("Twiml", "<Response>")]), 12100);
        assert_eq!(with(&[("ApplicationSid", "AP1")]), 21218);
        assert_eq!(with(&[url, ("StatusCallback", "x")]), 21609);
        assert_eq!(
            with(&[url, ("StatusCallback", "https://a.example/"), ("StatusCallbackEvent", "sung")]),
            21626
        );
    }

    #[test]
    fn an_update_ends_redirects_or_changes_nothing() {
        assert_eq!(update(&form(&[("Status", "completed")])).unwrap(), Update::Complete);
        assert_eq!(update(&form(&[("Status", "canceled")])).unwrap(), Update::Cancel);
        assert_eq!(update(&form(&[("Status", "ringing")])).unwrap_err().code, 21220);
        assert_eq!(update(&form(&[])).unwrap(), Update::Nothing);
        assert!(matches!(update(&form(&[("Twiml", "<Response/>")])).unwrap(), Update::Run(_)));
    }
}
