//! Whether a trunk's target is there: OPTIONS (RFC 3261 §11) at an interval. Any final answer is a yes.

use std::time::Instant;

use super::clock::Timestamp;
use super::settings::Provider;

/// The probing of one trunk.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) next: Option<Instant>,
    pub(super) waiting: Option<sip::RequestId>,
    pub(super) reachable: Option<bool>,
    pub(super) detail: String,
    pub(super) checked_at: Option<Timestamp>,
}

impl Probe {
    /// Probes at once where the trunk has a target and an interval.
    pub(super) fn new(now: Instant, provider: &Provider) -> Self {
        let probed = provider.trunk.target.is_some() && provider.trunk.probe_interval.is_some();
        let detail = if probed { "not probed yet" } else { "not probed" };
        Self {
            next: probed.then_some(now),
            waiting: None,
            reachable: None,
            detail: detail.to_owned(),
            checked_at: None,
        }
    }

    /// The outcome of an OPTIONS. True when the verdict is another than before.
    pub(super) fn conclude(&mut self, reachable: bool, detail: String, at: Timestamp) -> bool {
        let changed = self.reachable != Some(reachable) || self.detail != detail;
        self.waiting = None;
        self.reachable = Some(reachable);
        self.detail = detail;
        self.checked_at = Some(at);
        changed
    }
}
