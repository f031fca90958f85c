//! Follows the names of targets: looks them up when they are due, and tells the desk when they lead elsewhere.
//! ```text
//!   reload ------------> [config] --names--> Resolver
//!                           |                    |
//!                           +--- located <-------+  changed: settings and TLS to the desk
//! ```
//! What was found stays in use while a name server does not answer: an old address is better than none.
#![expect(clippy::disallowed_methods, reason = "a shell: it has a clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::locate::ServerName;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::call::{Located, Settings};
use crate::config::Config;
use crate::net::{Found, Resolver, Tls};

/// How long a start, or a check, waits for the first answers.
const FIRST: Duration = Duration::from_secs(5);

/// The names of one configuration, and where they lead.
pub struct Directory {
    config: Config,
    resolver: Resolver,
    located: Located,
    due: BTreeMap<ServerName, Instant>,
    looking: JoinSet<(ServerName, Found)>,
}

impl Directory {
    /// Looks every name up once, as far as the answers come in time.
    pub async fn open(config: Config) -> Self {
        let resolver = Resolver::new(&config.dns_servers);
        let mut directory =
            Self { config, resolver, located: Located::new(), due: BTreeMap::new(), looking: JoinSet::new() };
        directory.look();
        let answers = async {
            while let Some(found) = directory.looking.join_next().await {
                if let Ok((name, found)) = found {
                    directory.take(name, found);
                }
            }
        };
        let _some_may_be_late = tokio::time::timeout(FIRST, answers).await;
        directory
    }

    /// What the names make of the configuration now.
    pub fn now(&self) -> (Arc<Settings>, Tls) {
        self.config.located(&self.located)
    }

    /// Whether any name has to be followed.
    fn next_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Begins to look for every name that is due.
    fn look(&mut self) {
        let mut spoken: Vec<sip::Transport> = Vec::new();
        for listen in &self.config.sip.listen {
            if !spoken.contains(&listen.transport) {
                spoken.push(listen.transport);
            }
        }
        let now = Instant::now();
        for name in self.config.settings.names() {
            if self.due.get(&name).is_some_and(|due| *due > now) {
                continue;
            }
            // Its turn comes again when this search is over; the limit is for one that never ends.
            self.due.insert(name.clone(), now + 4 * FIRST);
            let (resolver, spoken) = (self.resolver.clone(), spoken.clone());
            self.looking.spawn(async move {
                let found = resolver.locate(name.clone(), &spoken).await;
                (name, found)
            });
        }
    }

    /// True when the name leads elsewhere than before.
    fn take(&mut self, name: ServerName, found: Found) -> bool {
        if !self.due.contains_key(&name) {
            return false;
        }
        self.due.insert(name.clone(), found.due);
        let before = self.located.get(&name);
        let told = match (before, found.outcome) {
            (Some(Ok(_)), Err(why)) => {
                tracing::warn!(
                    name = name.host,
                    why,
                    "a target is not found any more; its old addresses stay in use"
                );
                return false;
            }
            (Some(Err(_)) | None, Err(why)) => {
                if before.is_none() {
                    tracing::warn!(name = name.host, why, "a target is not found; it is looked for again");
                }
                Err(why)
            }
            (_, Ok(places)) => Ok(places),
        };
        let changed = before != Some(&told);
        if changed && let Ok(places) = &told {
            tracing::info!(name = name.host, places = places.len(), "a target was found");
        }
        self.located.insert(name, told);
        changed
    }

    /// Follows the names until nobody listens any more. `reloads` brings new configurations; `tell` takes what is to be
    /// used from now on, and answers with `false` when it has ended.
    pub async fn follow(
        mut self,
        mut reloads: mpsc::Receiver<Config>,
        tell: impl AsyncFn(Arc<Settings>, Tls) -> bool,
    ) {
        loop {
            let due = self.next_due();
            let changed = tokio::select! {
                newer = reloads.recv() => match newer {
                    Some(newer) => {
                        self.replace(newer);
                        true
                    }
                    None => return,
                },
                Some(found) = self.looking.join_next() => match found {
                    Ok((name, found)) => self.take(name, found),
                    Err(error) => {
                        tracing::error!(%error, "a search for a target has ended in panic");
                        false
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.look();
                    false
                }
            };
            if changed {
                let (settings, tls) = self.now();
                if !tell(settings, tls).await {
                    return;
                }
            }
        }
    }

    /// A new configuration: what is known of names that stay is kept, others are looked for at once.
    fn replace(&mut self, newer: Config) {
        if self.config.dns_servers != newer.dns_servers {
            self.resolver = Resolver::new(&newer.dns_servers);
            self.due.clear();
        }
        let names = newer.settings.names();
        self.located.retain(|name, _| names.contains(name));
        self.due.retain(|name, _| names.contains(name));
        self.config = newer;
        self.look();
    }
}
