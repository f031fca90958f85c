//! Targets that are written as names, and what a name server made of them. What it says changes while the edge runs;
//! the settings are then replaced like after a reload, and what is known of targets that stay is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use sip::locate::{Place, ServerName};

use super::settings::{Provider, Settings, Trunk, TrunkTarget};

/// Where the names of the settings lead, as far as it is known; or why one leads nowhere.
pub type Located = BTreeMap<ServerName, Result<Vec<Place>, String>>;

/// What of a trunk's targets was written as names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrunkNames {
    /// The names.
    pub written: Vec<TargetName>,
    /// The targets that were written as addresses.
    pub fixed: Vec<TrunkTarget>,
    /// The names that lead nowhere, each with the reason.
    pub missing: Vec<String>,
}

/// One target that is written as a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetName {
    /// What to look for.
    pub sought: ServerName,
    /// Host, and port where one is written: as URIs name it.
    pub host: String,
    /// Lower numbers are tried first.
    pub priority: u16,
    /// Share among those of one priority; what the name server says counts within it.
    pub weight: u16,
}

impl Settings {
    /// All names, each once.
    pub fn names(&self) -> Vec<ServerName> {
        let trunks = self.providers.values().map(|provider| &provider.trunk);
        let mut names: Vec<ServerName> =
            trunks.flat_map(|trunk| &trunk.names.written).map(|name| name.sought.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// These settings with the targets that the names lead to now.
    #[must_use]
    pub fn located(&self, located: &Located) -> Self {
        let providers = self.providers.iter().map(|(key, provider)| {
            let provider = match provider.trunk.located(located) {
                Some(trunk) => Arc::new(Provider { trunk, ..Provider::clone(provider) }),
                None => provider.clone(),
            };
            (key.clone(), provider)
        });
        Self { providers: providers.collect(), ..self.clone() }
    }
}

impl Trunk {
    /// `None` where nothing was written as a name.
    fn located(&self, located: &Located) -> Option<Self> {
        let TrunkNames { written, fixed, .. } = &self.names;
        if written.is_empty() {
            return None;
        }
        let mut ranked: Vec<((u16, u16), TrunkTarget)> =
            fixed.iter().map(|at| ((at.priority, 0), at.clone())).collect();
        let mut missing = Vec::new();
        for name in written {
            match located.get(&name.sought) {
                Some(Ok(places)) => {
                    for Place { target, rank, weight } in places {
                        if ranked.iter().all(|(_, known)| known.target != *target) {
                            let weight = weight.saturating_mul(name.weight);
                            let at =
                                TrunkTarget { target: *target, host: name.host.clone(), priority: 0, weight };
                            ranked.push(((name.priority, *rank), at));
                        }
                    }
                }
                Some(Err(why)) => missing.push(why.clone()),
                None => missing.push(format!("{} is being looked up", name.sought.host)),
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut priority = 1;
        let mut before = ranked.first().map(|(rank, _)| *rank);
        let targets = ranked.into_iter().map(|(rank, at)| {
            priority += u16::from(before != Some(rank));
            before = Some(rank);
            TrunkTarget { priority, ..at }
        });
        let targets = targets.collect();
        Some(Self { targets, names: TrunkNames { missing, ..self.names.clone() }, ..self.clone() })
    }

    /// Whether calls can come in over it: who is called usually calls from there as well.
    pub fn is_inbound(&self) -> bool {
        !self.peers.is_empty() || self.is_outbound()
    }

    /// Whether calls can go out over it at all, be its targets known now or not.
    pub fn is_outbound(&self) -> bool {
        !self.targets.is_empty() || !self.names.written.is_empty()
    }
}
