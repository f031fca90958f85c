//! An account as applications for Twilio know it: how it is named, what signs requests to it, where its bots may be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use url::Url;

use super::engine::Dialect;
use super::ids::ProviderKey;
use super::settings::{BargeInPolicy, Engine, Fallback, Settings};
use crate::provider::twilio::{self, Stream, WebAddress};

/// How long a caller rings while an application makes up its mind.
const DECIDES: Duration = Duration::from_secs(60);
/// How long a bot of a document may take to accept its socket.
const CONNECTS: Duration = Duration::from_secs(5);

/// A tenant's account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// `AC` and 32 hexadecimal digits.
    pub sid: String,
    /// Over which provider its calls go.
    pub provider: ProviderKey,
    /// Signs requests to its application.
    pub token: String,
    /// Who says what becomes of inbound calls that no route of the provider claims.
    pub voice: Option<Voice>,
    /// Hosts, each perhaps with a port, of the bots that its documents may connect.
    pub stream_hosts: Vec<String>,
    /// Announcements by what `<Say>` says or `<Play>` names.
    pub sounds: BTreeMap<String, String>,
    /// The announcement for every other `<Say>`.
    pub say: Option<String>,
}

/// Who says what becomes of inbound calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Asked when a call comes in.
    pub at: WebAddress,
    /// Asked when that one is of no use.
    pub fallback: Option<WebAddress>,
    /// Told when the call is over.
    pub status: Option<WebAddress>,
}

impl fmt::Debug for Account {
    /// The token is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sid, provider, .. } = self;
        f.debug_struct("Account").field("sid", sid).field("provider", provider).finish_non_exhaustive()
    }
}

impl Account {
    /// The engine that a `<Stream>` asks for, where the operator lets its documents go there: to hosts of the list, and to engines of
    /// the configuration that speak this language. Without that a document would be a way into the operator's network.
    pub(super) fn engine(&self, settings: &Settings, stream: &Stream) -> Result<Arc<Engine>, String> {
        let url = Url::parse(&stream.url).map_err(|error| format!("{}: {error}", stream.url))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "ws" | "wss")) else {
            return Err(format!("{} is not a websocket URL", stream.url));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL of a stream has a user or password in it".to_owned());
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let listed = |listed: &String| *listed == host || *listed == format!("{host}:{port}");
        let configured = || {
            let mut engines = settings.engines.values().filter(|engine| engine.dialect == Dialect::Twilio);
            engines.any(|engine| Url::parse(&engine.url).is_ok_and(|known| known.origin() == url.origin()))
        };
        if !self.stream_hosts.iter().any(listed) && !configured() {
            return Err(format!("{host}:{port} is not in `stream_hosts`"));
        }
        let signature = twilio::sign(&self.token, url.as_str(), &[]);
        Ok(Arc::new(Engine {
            name: format!("{host}:{port}").as_str().into(),
            url: url.into(),
            headers: vec![(twilio::SIGNATURE_HEADER.to_owned(), signature)],
            parameters: stream.parameters.clone(),
            connect_timeout: CONNECTS,
            ..nobody()
        }))
    }
}

/// What stands where the engine of a call stands, while its application has connected none.
pub(super) fn no_engine() -> Arc<Engine> {
    static NOBODY: LazyLock<Arc<Engine>> = LazyLock::new(|| Arc::new(nobody()));
    NOBODY.clone()
}

fn nobody() -> Engine {
    Engine {
        name: "application".into(),
        url: String::new(),
        dialect: Dialect::Twilio,
        sample_rate: None,
        headers: Vec::new(),
        parameters: Vec::new(),
        connect_timeout: Duration::ZERO,
        accept_timeout: DECIDES,
        resume_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        max_calls: None,
        fallback: None,
        barge_in: BargeInPolicy::Engine,
        on_lost: Fallback::HangUp,
    }
}
