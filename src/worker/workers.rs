//! The control plane's end of all workers. Owned by one task: it knows which worker has which call.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::WorkerConfig;
use super::inbox::{Inbox, OpenedLine, Order};
use super::ports::PortPool;
use super::recorder::Recorder;
use super::thread::Worker;
use crate::bridge::{EngineSocket, HookSocket};
use crate::call::{CallId, Engine, VoiceFact, VoiceOrder};

/// Orders that wait here for a worker whose queue is full, over all workers.
const MOST_WAITING: usize = 64 << 10;

/// Closed calls that are remembered, so that an engine that was reached too late finds nobody.
const REMEMBERED: usize = 8 << 10;

/// The workers cannot take the order: they have stood still for longer than all queues hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the voice workers do not keep up")]
pub struct Overloaded;

/// All voice workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Handle>,
    recorder: Option<JoinHandle<()>>,
    calls: HashMap<CallId, usize>,
    closed: HashSet<CallId>,
    closed_in_order: VecDeque<CallId>,
}

#[derive(Debug)]
struct Handle {
    inbox: Arc<Inbox>,
    /// Sockets to share that it was handed.
    lines: u64,
    /// What the inbox had no room for, in order.
    waiting: VecDeque<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads. Each gets its own part of the ports. A recorder for the metrics should be installed
    /// before.
    ///
    /// # Errors
    /// When the system gives no thread, poller or eventfd.
    pub fn start(config: &WorkerConfig, facts: &Sender<(CallId, VoiceFact)>) -> io::Result<Self> {
        let count = config.threads.map_or_else(usual_threads, usize::from);
        let mut workers = Vec::with_capacity(count);
        let (recorder, recording) = Recorder::start()?;
        for number in 0..count {
            let inbox = Arc::new(Inbox::new(config.orders)?);
            let range = part(&config.ports, number, count);
            let ports = PortPool::new(range, config.quarantine, config.seed);
            let worker =
                Worker::new(number, config.clone(), ports, inbox.clone(), facts.clone(), recorder.clone())?;
            let thread =
                std::thread::Builder::new().name(format!("voice-{number}")).spawn(move || worker.run())?;
            workers.push(Handle { inbox, lines: 0, waiting: VecDeque::new(), thread: Some(thread) });
        }
        Ok(Self {
            workers,
            recorder: Some(recording),
            calls: HashMap::new(),
            closed: HashSet::new(),
            closed_in_order: VecDeque::new(),
        })
    }

    /// Gives an order to the call's worker; a call's first order chooses the least loaded. After
    /// [`VoiceOrder::Close`] nothing of the call is taken any more: it is dropped in silence.
    ///
    /// A worker's full queue is no error: the order waits here, and goes out with the next order or
    /// [`Self::flush`].
    ///
    /// # Errors
    /// When too much waits here already.
    pub fn order(&mut self, call: CallId, order: VoiceOrder) -> Result<(), Overloaded> {
        let closes = matches!(order, VoiceOrder::Close(_));
        self.give(call, Order::Voice(call, Box::new(order)))?;
        if closes {
            self.forget(call);
        }
        Ok(())
    }

    /// Hands over the open socket of the call's engine. The worker answers with
    /// [`VoiceFact::EngineConnected`]. When the call is closed already, the socket is.
    ///
    /// # Errors
    /// When too much waits here already.
    pub fn attach(&mut self, call: CallId, socket: EngineSocket) -> Result<(), Overloaded> {
        self.give(call, Order::Attach(call, Box::new(socket)))
    }

    /// Hands over the session that a platform has opened. The worker answers with
    /// [`HookFact::Arrived`](crate::call::HookFact::Arrived).
    ///
    /// # Errors
    /// When too much waits here already.
    pub fn attach_hook(&mut self, call: CallId, socket: HookSocket) -> Result<(), Overloaded> {
        self.give(call, Order::Hook(call, Box::new(socket)))
    }

    /// The call speaks with its engine on a socket that it shares with others. The worker answers with
    /// [`VoiceFact::EngineConnected`], or with [`VoiceFact::EngineToDial`] where there is none.
    ///
    /// # Errors
    /// When too much waits here already.
    pub fn join(&mut self, call: CallId, engine: Arc<Engine>) -> Result<(), Overloaded> {
        self.give(call, Order::Join(call, engine))
    }

    /// The worker that has the call.
    pub fn worker_of(&self, call: CallId) -> Option<usize> {
        self.calls.get(&call).copied()
    }

    /// How many sockets to share the worker was handed, those on their way to it included.
    pub fn lines_handed(&self, worker: usize) -> u64 {
        self.workers.get(worker).map_or(0, |handle| handle.lines)
    }

    /// Hands a worker an open socket to share, and the calls that waited for it. Those that are closed already are passed over.
    ///
    /// # Errors
    /// When too much waits here already.
    pub fn open_line(
        &mut self,
        worker: usize,
        node: Arc<Engine>,
        socket: EngineSocket,
        mut waiting: Vec<(CallId, Arc<Engine>)>,
    ) -> Result<(), Overloaded> {
        if self.is_overloaded() {
            return Err(Overloaded);
        }
        waiting.retain(|(call, _)| self.calls.get(call) == Some(&worker));
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.lines += 1;
            handle.give(Order::Line(Box::new(OpenedLine { node, socket, waiting })));
        }
        Ok(())
    }

    /// Offers the workers again what their queues had no room for. Whether nothing is left; call it again soon
    /// when something is.
    pub fn flush(&mut self) -> bool {
        self.workers.iter_mut().all(Handle::flush)
    }

    /// Calls on all workers.
    pub fn calls(&self) -> usize {
        self.workers.iter().map(|worker| worker.inbox.calls()).sum()
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Closes what is still open, and ends the threads. Waits for them, two seconds at most.
    pub fn shutdown(mut self) {
        self.flush();
        self.stop();
    }

    fn stop(&mut self) {
        for worker in &self.workers {
            worker.inbox.stop();
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                warn!("a voice worker had panicked");
            }
        }
        // It writes what waits, and ends because no worker is left.
        if self.recorder.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the recorder had panicked");
        }
    }

    fn give(&mut self, call: CallId, order: Order) -> Result<(), Overloaded> {
        if self.closed.contains(&call) {
            return Ok(());
        }
        let known = self.calls.get(&call).copied();
        let worker = known.unwrap_or_else(|| self.least_loaded());
        if self.is_overloaded() {
            return Err(Overloaded);
        }
        self.calls.insert(call, worker);
        self.workers[worker].give(order);
        Ok(())
    }

    fn is_overloaded(&self) -> bool {
        self.workers.iter().map(|worker| worker.waiting.len()).sum::<usize>() >= MOST_WAITING
    }

    fn least_loaded(&self) -> usize {
        // Calls on their way to a worker are not counted by it yet, so they are counted here.
        let mut loads = vec![0_usize; self.workers.len()];
        for worker in self.calls.values() {
            loads[*worker] += 1;
        }
        let lightest = loads.iter().enumerate().min_by_key(|(_, load)| **load);
        lightest.map_or(0, |(worker, _)| worker)
    }

    fn forget(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.closed.insert(call);
        self.closed_in_order.push_back(call);
        if self.closed_in_order.len() > REMEMBERED
            && let Some(oldest) = self.closed_in_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    fn give(&mut self, order: Order) {
        if !self.flush() {
            self.waiting.push_back(order);
        } else if let Err(order) = self.inbox.push(order) {
            self.waiting.push_back(order);
        }
    }

    /// Whether nothing is left.
    fn flush(&mut self) -> bool {
        while let Some(order) = self.waiting.pop_front() {
            if let Err(order) = self.inbox.push(order) {
                self.waiting.push_front(order);
                return false;
            }
        }
        true
    }
}

/// All cores but one, which the control plane has.
fn usual_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).saturating_sub(1)).max(1)
}

/// The `number`th of `count` parts of `range`, beginning with an even port.
fn part(range: &RangeInclusive<u16>, number: usize, count: usize) -> RangeInclusive<u16> {
    let first = usize::from(range.start().saturating_add(range.start() % 2));
    let pairs = (usize::from(*range.end()) + 1).saturating_sub(first) / 2;
    let bound = |number: usize| first + 2 * (pairs * number / count);
    let (from, to) = (bound(number), bound(number + 1));
    let port = |port: usize| u16::try_from(port).unwrap_or(u16::MAX);
    if from == to {
        #[expect(clippy::reversed_empty_ranges, reason = "a part without ports")]
        return 1..=0;
    }
    port(from)..=port(to - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_range_are_whole_pairs_and_do_not_overlap() {
        assert_eq!(part(&(10_000..=10_009), 0, 2), 10_000..=10_003);
        assert_eq!(part(&(10_000..=10_009), 1, 2), 10_004..=10_009);
        assert_eq!(part(&(10_001..=10_008), 0, 1), 10_002..=10_007);
        assert_eq!(part(&(65_000..=65_535), 0, 1), 65_000..=65_535);
        assert!(part(&(10_000..=10_003), 0, 4).is_empty(), "two pairs cannot serve four");
    }
}
