//! REST, server-sent events, OpenAPI, the pages: how the customer's systems and people talk to the edge (CONTRACT §1).
//!
//! ```text
//!   socket --> serve --> finish ---> handler ---> Commands ----> call      what changes calls
//!                          ^            |-------> CallTable                what runs
//!                          |            +-------> Store                    what is over, events, deliveries, tokens
//!                          +-- Problem: the only way to say no
//! ```
//! Handlers decide nothing about calls: they read what is written, check the words, and ask.
#![expect(clippy::disallowed_methods, reason = "a shell: it has a clock")]

mod audiohook;
mod auth;
mod body;
mod calls;
mod check;
mod commands;
mod credentials;
mod deliveries;
mod events;
mod finish;
mod intake;
mod openapi;
mod operations;
mod orders;
mod pages;
mod path;
mod problem;
mod providers;
mod serve;
mod twilio;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, delete, get, post};
use tokio::sync::{Semaphore, watch};

pub use audiohook::{Hooks, OpenedHook};
pub use commands::{Commands, Order, Unanswered};
pub use credentials::{CredentialKind, Credentials, ReferencedSecret};
pub use intake::{Gates, Intake};
pub use openapi::document;
pub use operations::MetricsAccess;
pub use problem::{Code, Problem};
pub use serve::{Serving, serve};

use crate::call::{CallTable, Health, ProviderKey, Settings};
use crate::store::Store;

/// Where the daemon is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all sockets are open.
    Starting,
    /// Calls come and go.
    Serving,
    /// No new calls; those that run may end.
    Draining,
    /// No calls any more; streams end and connections close.
    Stopped,
}

/// How the providers are, by key.
pub type ProviderHealth = Arc<BTreeMap<ProviderKey, Health>>;

/// All that the API talks to.
#[derive(Clone)]
pub struct Api {
    /// Has commands carried out.
    pub commands: Commands,
    /// The running calls.
    pub calls: Arc<CallTable>,
    /// What is kept.
    pub store: Store,
    /// What the operator decided, as of the last reload.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// How the providers are.
    pub health: watch::Receiver<ProviderHealth>,
    /// Where the daemon is.
    pub phase: watch::Receiver<Phase>,
    /// Writes all numbers in Prometheus' words.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who may read them.
    pub metrics_access: MetricsAccess,
    /// What the configuration says about credentials, as of the last reload.
    pub credentials: watch::Receiver<Arc<Credentials>>,
    /// Counts values that were brought and that the configuration refers to.
    pub brought: watch::Sender<u64>,
    /// Where events of platforms come in, as of the last reload.
    pub intakes: watch::Receiver<Arc<BTreeMap<String, Intake>>>,
    /// What came in there of late.
    pub gates: Gates,
    /// Where sessions of platforms go.
    pub hooks: Hooks,
    /// Places for readers of events; one more gets 429.
    pub streams: Arc<Semaphore>,
}

impl Api {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials.borrow())
    }

    /// All paths.
    pub fn into_router(self) -> Router {
        let mut router = Router::new();
        for (path, methods) in routes() {
            router = router.route(path, methods);
        }
        router
            .fallback(finish::no_such_path)
            .method_not_allowed_fallback(finish::no_such_method)
            .layer(from_fn(finish::finish))
            .with_state(self)
    }
}

/// What the OpenAPI document describes; `openapi` has a test that holds the two together.
fn described_routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/integrations/providers", get(providers::list)),
        ("/api/integrations/providers/{key}/health", get(providers::health)),
        ("/api/integrations/providers/{key}/calls", post(orders::place)),
        ("/api/integrations/providers/{key}/transfer", post(orders::transfer)),
        ("/api/integrations/providers/{key}/wrap-up", post(orders::wrap_up)),
        ("/api/integrations/providers/{key}/calls/{call_id}", get(calls::show)),
        ("/api/calls", get(calls::list)),
        ("/api/calls/{call_id}/timeline", get(calls::timeline)),
        ("/api/calls/{call_id}/recording", get(calls::recording).post(orders::pause_recording)),
        ("/api/calls/{call_id}/mode", post(orders::switch_mode)),
        ("/api/calls/{call_id}/engine", post(orders::switch_engine)),
        ("/api/calls/{call_id}/hold", post(orders::hold)),
        ("/api/calls/{call_id}/resume", post(orders::resume)),
        ("/api/calls/{call_id}/play", post(orders::play)),
        ("/api/calls/{call_id}/mute", post(orders::mute)),
        ("/api/calls/{call_id}/mask", post(orders::mask)),
        ("/api/calls/{call_id}/dtmf", post(orders::send_digits)),
        ("/api/context/{ref}", get(orders::take_context).head(orders::no_head)),
        ("/api/events", get(events::follow)),
        ("/api/webhooks/deliveries", get(deliveries::list)),
        ("/api/webhooks/deliveries/{id}/replay", post(deliveries::replay)),
        ("/api/credentials", get(credentials::list).post(credentials::create)),
        ("/api/credentials/{name}", delete(credentials::delete)),
        ("/api/credentials/intake", get(credentials::links).post(credentials::link)),
        ("/api/credentials/intake/{link}", post(credentials::bring)),
        ("/api/audit", get(credentials::audit)),
        ("/api/intake/{key}/events", post(intake::take)),
        ("/api/openapi.json", get(openapi::show)),
        ("/healthz", get(operations::healthz)),
        ("/readyz", get(operations::readyz)),
        ("/metrics", get(operations::metrics)),
    ]
}

fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    let mut routes = described_routes();
    routes.extend(pages::routes());
    routes.extend(twilio::routes());
    routes.push(("/audiohook/{key}", get(audiohook::open)));
    routes
}
