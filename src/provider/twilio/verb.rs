//! What an application can say: the verbs that a document is made of, with their defaults filled in.

use std::time::Duration;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `<Connect><Stream>`: the caller and a bot hear each other until the bot closes.
    Connect {
        /// The bot.
        stream: Stream,
        /// What is asked afterwards.
        action: Option<WebAddress>,
    },
    /// `<Start><Stream>`: somebody listens while the document goes on.
    Start(Stream),
    /// `<Stop><Stream>`: nobody listens any more.
    Stop,
    /// `<Say>` and `<Play>`.
    Prompt(Prompt),
    /// `<Pause>`.
    Pause(Duration),
    /// `<Dial>`.
    Dial(Dial),
    /// `<Refer>`.
    Refer(Refer),
    /// `<Gather>`.
    Gather(Gather),
    /// `<Redirect>`.
    Redirect(WebAddress),
    /// `<Reject>`: only an inbound call that has not been answered can be.
    Reject(Rejection),
    /// `<Hangup>`.
    Hangup,
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// `<Say>`.
    Say(Said),
    /// `<Play>` of a sound.
    Play(Play),
    /// `<Play digits>`: keys; `w` waits for half a second.
    Keys(String),
    /// `<Pause>` within `<Gather>`.
    Pause(Duration),
}

/// `<Say>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What, white space as one blank.
    pub text: String,
    /// How often; `None`: until something else happens.
    pub times: Option<u32>,
}

/// `<Play>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// What: a URL, or one relative to the document's.
    pub sound: String,
    /// How often; `None`: until something else happens.
    pub times: Option<u32>,
}

/// `<Stream>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// Where the bot listens.
    pub url: String,
    /// The application's own name for it.
    pub name: Option<String>,
    /// What a listener hears.
    pub track: Track,
    /// `<Parameter>`: told to the bot at the start.
    pub parameters: Vec<(String, String)>,
    /// Where it is told how the stream fares.
    pub status: Option<WebAddress>,
}

/// What a listener hears.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Track {
    /// The caller.
    #[default]
    Inbound,
    /// What the caller hears.
    Outbound,
    /// Both.
    Both,
}

/// A URL that is asked for instructions, perhaps relative to the document's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// As written.
    pub url: String,
    /// How it is asked.
    pub method: Method,
}

/// How a URL is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Fields in the URL.
    Get,
    /// Fields in the body.
    #[default]
    Post,
}

impl Method {
    /// As HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    /// The method of that name; nothing when it is another one.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Get, Self::Post].into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
    }
}

/// `<Dial>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Who is called, all at once.
    pub targets: Vec<Target>,
    /// How long it rings.
    pub timeout: Duration,
    /// How long the conversation may last.
    pub time_limit: Option<Duration>,
    /// The number that they see.
    pub caller_id: Option<String>,
    /// What is asked afterwards; without it the document goes on.
    pub action: Option<WebAddress>,
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `<Number>`, or the text of `<Dial>`.
    Number(String),
    /// `<Sip>`.
    Sip(String),
}

impl Target {
    /// As it is dialled.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Number(text) | Self::Sip(text) => text,
        }
    }
}

/// `<Refer>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    /// Where the caller is sent.
    pub to: String,
    /// What is asked afterwards.
    pub action: Option<WebAddress>,
}

/// `<Gather>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// Whether keys are taken; speech is not.
    pub takes_keys: bool,
    /// So many keys are enough.
    pub enough: Option<usize>,
    /// This key ends it and is not part of what is told.
    pub finish_on: Option<char>,
    /// Without a key for so long it is over.
    pub timeout: Duration,
    /// What is told of the keys; the document's own URL where nothing is written.
    pub action: Option<WebAddress>,
    /// It is told even when no key came.
    pub tells_nothing_too: bool,
    /// What is heard meanwhile; a key ends it.
    pub prompts: Vec<Prompt>,
}

/// Why an inbound call is not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rejection {
    /// Not in service.
    #[default]
    Rejected,
    /// Busy.
    Busy,
}
