//! The way from the control plane to a worker: a bounded queue without locks, and an eventfd that wakes the worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};

use crate::bridge::{EngineSocket, HookSocket};
use crate::call::{CallId, Engine, VoiceOrder};

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Order {
    /// An order of a call.
    Voice(CallId, Box<VoiceOrder>),
    /// A call's engine was reached.
    Attach(CallId, Box<EngineSocket>),
    /// A platform has opened a session: it is this call.
    Hook(CallId, Box<HookSocket>),
    /// A call speaks with its engine on the socket that it shares.
    Join(CallId, Arc<Engine>),
    /// A socket for calls to share was opened.
    Line(Box<OpenedLine>),
}

/// A socket that calls share, and those that wait for it.
#[derive(Debug)]
pub(super) struct OpenedLine {
    pub(super) node: Arc<Engine>,
    pub(super) socket: EngineSocket,
    pub(super) waiting: Vec<(CallId, Arc<Engine>)>,
}

/// Shared by the control plane's handle and one worker.
#[derive(Debug)]
pub(super) struct Inbox {
    orders: ArrayQueue<Order>,
    wake: OwnedFd,
    stop: AtomicBool,
    /// Calls on the worker, for choosing the least loaded.
    calls: AtomicUsize,
}

impl Inbox {
    pub(super) fn new(capacity: usize) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let orders = ArrayQueue::new(capacity.max(1));
        Ok(Self { orders, wake, stop: AtomicBool::new(false), calls: AtomicUsize::new(0) })
    }

    /// Gives the order back when the queue is full.
    pub(super) fn push(&self, order: Order) -> Result<(), Order> {
        self.orders.push(order)?;
        self.ring();
        Ok(())
    }

    pub(super) fn pop(&self) -> Option<Order> {
        self.orders.pop()
    }

    /// No orders follow; calls still running are closed.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Before orders are taken, so that one put in meanwhile rings anew.
    pub(super) fn hush(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn call_came(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn call_went(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    fn ring(&self) {
        // It can only fail when it rings already, 2^64 times over.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
