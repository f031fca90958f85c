//! Tells the sender of webhooks which receivers have something new. Any number of changes between two looks are one: a
//! set, so that a slow sender costs no more memory than there are receivers, and beyond a bound not even that.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::outbox::ReceiverId;

/// Receivers named one by one; when there are more, it is said of all.
const NAMED: usize = 10_000;

/// What has changed since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxChange {
    /// These receivers have deliveries that they had not.
    Receivers(BTreeSet<ReceiverId>),
    /// Any receiver may have.
    Everything,
}

#[derive(Debug)]
pub(super) struct Board {
    change: Mutex<OutboxChange>,
    bell: Notify,
}

impl Default for Board {
    fn default() -> Self {
        Self { change: Mutex::new(OutboxChange::Receivers(BTreeSet::new())), bell: Notify::new() }
    }
}

impl Board {
    pub(super) fn pin(&self, receivers: BTreeSet<ReceiverId>) {
        if receivers.is_empty() {
            return;
        }
        {
            let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
            if let OutboxChange::Receivers(known) = &mut *change {
                known.extend(receivers);
                if known.len() > NAMED {
                    *change = OutboxChange::Everything;
                }
            }
        }
        self.bell.notify_one();
    }

    /// Waits until there is something, and takes it. One sender looks.
    pub(super) async fn look(&self) -> OutboxChange {
        loop {
            let nothing = OutboxChange::Receivers(BTreeSet::new());
            let change = {
                let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
                mem::replace(&mut *change, nothing.clone())
            };
            if change != nothing {
                return change;
            }
            self.bell.notified().await;
        }
    }
}
