//! Sessions that platforms open: greeted, then a call of the exchange, then a voice worker's.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Desk, Dialled};
use crate::api::OpenedHook;
use crate::bridge::{HookChannels, HookConnection, HookOpen, HookSocket, SocketLimits, greet, turn_away};
use crate::call::{HookArrival, HookFact, HookUse, ProviderKey, VoiceFact};

/// A session that was greeted, and what it is about.
pub(super) struct Greeted {
    provider: ProviderKey,
    socket: HookSocket,
    open: Box<HookOpen>,
}

/// Greets who comes, until nobody can come any more.
pub(super) async fn receive(mut opened: mpsc::Receiver<OpenedHook>, to: mpsc::Sender<Dialled>) {
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            next = opened.recv() => match next {
                Some(opened) => drop(greetings.spawn(welcome(opened, to.clone()))),
                None => return,
            },
            Some(_) = greetings.join_next() => {}
        }
    }
}

async fn welcome(opened: OpenedHook, to: mpsc::Sender<Dialled>) {
    let OpenedHook { tcp, tls, read, peer, provider, proof, place } = opened;
    let connection =
        HookConnection { tcp, tls, read, peer, organization: proof.organization, session: proof.session };
    if let Some((socket, open)) = greet(connection, SocketLimits::default()).await {
        let greeted = Greeted { provider, socket, open };
        let _the_desk_has_ended = to.send(Dialled::Hook(Box::new(greeted))).await;
    }
    drop(place);
}

impl Desk {
    pub(super) fn take_greeted(&mut self, greeted: Greeted) {
        let Greeted { provider, socket, open } = greeted;
        let HookOpen {
            conversation, from, to, name, language, channels, continued, mut context, raw, ..
        } = *open;
        for (key, value) in [("caller_name", Some(name)), ("language", language)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                context.merge_fields.entry(key).or_insert(value.into());
            }
        }
        let purpose = match channels {
            HookChannels::Both { .. } => HookUse::Listen,
            HookChannels::External => HookUse::Speak,
        };
        let peer = socket.peer;
        let session = socket.hook.id().to_owned();
        let arrival = HookArrival {
            provider,
            session,
            continued,
            conversation,
            from,
            to,
            purpose,
            context,
            raw: raw.0,
            peer,
        };
        match self.exchange.handle_hook(Instant::now(), arrival) {
            Ok(call) => {
                if self.workers.attach_hook(call, socket).is_err() {
                    let why = "the voice workers do not keep up".to_owned();
                    let fact = VoiceFact::Hook(HookFact::Lost { why });
                    self.exchange.handle_voice(Instant::now(), call, fact);
                }
            }
            Err(refusal) => {
                tracing::debug!(%peer, %refusal, "a session is turned away");
                self.dialling.spawn(async move { turn_away(socket, &refusal.to_string()).await });
            }
        }
    }
}
