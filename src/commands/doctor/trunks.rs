//! Asks every target of every trunk with OPTIONS (RFC 3261 §11), from sockets of its own, so that it works beside a running edge.
#![expect(clippy::disallowed_methods, reason = "a shell: it has a clock")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::endpoint::Event;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::facts::{Asked, TrunkSeen};
use super::machine::outward;
use crate::call::{Provider, Settings};
use crate::crypto;
use crate::net::{Heard, Net, Tls};

/// How long an answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Asks all of them at once.
pub(super) async fn ask(settings: &Settings, tls: &Tls, user_agent: &str) -> Vec<TrunkSeen> {
    let mut asking = tokio::task::JoinSet::new();
    let mut place = 0;
    let mut seen = BTreeMap::new();
    for provider in settings.providers.values() {
        for missing in &provider.trunk.names.missing {
            let (host, why) = missing.split_once([':', ' ']).unwrap_or((missing, ""));
            let asked = Asked::NotFound(why.trim().to_owned());
            seen.insert(place, trunk(provider, host.to_owned(), asked));
            place += 1;
        }
        for at in &provider.trunk.targets {
            let transport = at.target.transport.as_param();
            let label = match at.host == at.target.address.to_string() {
                true => format!("{} over {transport}", at.host),
                false => format!("{} ({}) over {transport}", at.host, at.target.address),
            };
            let (provider, target, tls, user_agent) =
                (provider.clone(), at.target, tls.clone(), user_agent.to_owned());
            asking.spawn(async move {
                let asked = options(&provider, target, tls, &user_agent).await;
                (place, trunk(&provider, label, asked))
            });
            place += 1;
        }
    }
    while let Some(asked) = asking.join_next().await {
        if let Ok((place, trunk)) = asked {
            seen.insert(place, trunk);
        }
    }
    seen.into_values().collect()
}

fn trunk(provider: &Provider, target: String, asked: Asked) -> TrunkSeen {
    let has_credentials = provider.trunk.credentials.is_some();
    TrunkSeen { provider: provider.key.as_str().to_owned(), target, has_credentials, asked }
}

async fn options(provider: &Arc<Provider>, target: sip::Target, tls: Tls, user_agent: &str) -> Asked {
    let domain = provider.trunk.domain.clone().unwrap_or_else(|| target.address.to_string());
    let Ok(uri) = sip::Uri::parse(format!("sip:{domain}")) else {
        return Asked::NotSent(format!("`{domain}` cannot be written as a URI"));
    };
    let Some(ours) = outward(Some(target.address.ip())) else {
        return Asked::NotSent("no route leads there".to_owned());
    };
    let any = SocketAddr::new(ours, 0);
    let admit = Arc::new(|_: IpAddr| false);
    let (mut net, mut heard, bound) = match Net::listen(&[(target.transport, any)], admit).await {
        Ok(open) => open,
        Err(error) => return Asked::NotSent(error.to_string()),
    };
    net.secure(tls);
    let locals = bound.iter().map(|bound| sip::Local::new(target.transport, *bound)).collect();
    let config = sip::Config::new(user_agent, locals);
    let mut endpoint = sip::Endpoint::new(config, u64::from_le_bytes(crypto::random()));
    let began = Instant::now();
    endpoint.request(
        began,
        sip::OutOfDialog {
            target,
            method: sip::Method::Options,
            from: sip::NameAddr::new(uri.clone()),
            to: sip::NameAddr::new(uri.clone()),
            request_uri: uri,
            credentials: provider.trunk.credentials.clone(),
            headers: Vec::new(),
            body: None,
            timeout: Some(PATIENCE),
        },
    );
    let conversation = converse(&mut net, &mut heard, &mut endpoint, began);
    // The endpoint has the same limit; this is for a peer that keeps us busy with something else.
    tokio::time::timeout(2 * PATIENCE, conversation).await.unwrap_or(Asked::Silent(PATIENCE))
}

/// Until there is an answer, or none.
async fn converse(
    net: &mut Net,
    heard: &mut mpsc::Receiver<Heard>,
    endpoint: &mut sip::Endpoint,
    began: Instant,
) -> Asked {
    let mut refused = None;
    loop {
        while let Some(transmit) = endpoint.poll_transmit() {
            if let Err(not_sent) = net.send(transmit) {
                endpoint.handle_send_failure(Instant::now(), not_sent.transport, not_sent.to);
            }
        }
        while let Some(event) = endpoint.poll_event() {
            if let Some(asked) = outcome(event, began, refused.take()) {
                return asked;
            }
        }
        let wake = endpoint.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
        tokio::select! {
            next = heard.recv() => match next {
                Some(Heard::Message { flow, wire, at: _ }) => endpoint.handle_message(Instant::now(), flow, wire),
                Some(Heard::NotOpened { transport, peer, reason, .. }) => {
                    refused = Some(reason);
                    endpoint.handle_send_failure(Instant::now(), transport, peer);
                }
                Some(Heard::Closed { connection, transport, peer, .. }) => {
                    refused = Some("the stream was closed".to_owned());
                    net.closed(connection);
                    endpoint.handle_send_failure(Instant::now(), transport, peer);
                }
                Some(Heard::Broken { .. } | Heard::Ping { .. } | Heard::Opened { .. }) => {}
                None => return Asked::NotSent("the socket was closed".to_owned()),
            },
            () = sleep_until(wake.into()) => endpoint.handle_timeout(Instant::now()),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whoever only asks waits for two events of many")]
fn outcome(event: Event, began: Instant, refused: Option<String>) -> Option<Asked> {
    match event {
        Event::RequestAnswered { response, .. } => Some(Asked::Answered {
            status: response.status().map_or(0, sip::StatusCode::code),
            reason: response.reason_phrase().unwrap_or_default().into_owned(),
            took: began.elapsed(),
        }),
        Event::RequestFailed { failure, .. } => Some(match (failure, refused) {
            (sip::Failure::Timeout, None) => Asked::Silent(PATIENCE),
            (failure, refused) => Asked::NotSent(refused.unwrap_or_else(|| failure.to_string())),
        }),
        _ => None,
    }
}
