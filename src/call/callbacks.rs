//! What applications are told of their calls: each call's in order, each once more when it did not arrive, none longer than a
//! moment. Best effort, as the original: what must not be lost are the signed events.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::ids::CallId;
use super::output::Output;
use super::outputs::Outputs;
use super::web::{FetchId, WebAnswer, WebFailure, WebRequest};

/// How long an answer may take: the shell gives up at 15 s and says so.
const PATIENCE: Duration = Duration::from_secs(20);
/// What waits in all; beyond, nothing more is told.
const WAITING: usize = 10_000;

/// What is to be told, by call.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    waiting: BTreeMap<CallId, VecDeque<Waiting>>,
    /// All of them together.
    count: usize,
    next: u64,
    /// Those under way, the oldest first.
    under_way: VecDeque<(Instant, CallId, u64)>,
    /// Not told, because too much waited.
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    request: WebRequest,
    /// Under which number it is under way.
    number: Option<u64>,
    tried: bool,
}

impl Callbacks {
    pub(super) fn tell(&mut self, now: Instant, call: CallId, request: WebRequest, outputs: &mut Outputs) {
        if self.count == WAITING {
            self.dropped += 1;
            return;
        }
        self.count += 1;
        let waiting = Waiting { request, number: None, tried: false };
        self.waiting.entry(call).or_default().push_back(waiting);
        self.send(now, call, outputs);
    }

    pub(super) fn fetched(
        &mut self,
        now: Instant,
        call: CallId,
        number: u64,
        outcome: &Result<WebAnswer, WebFailure>,
        outputs: &mut Outputs,
    ) {
        let Some(queue) = self.waiting.get_mut(&call) else { return };
        let Some(first) = queue.front_mut().filter(|first| first.number == Some(number)) else { return };
        let may_pass = match outcome {
            Ok(answer) => answer.status >= 500,
            Err(failure) => failure.may_pass(),
        };
        if may_pass && !std::mem::replace(&mut first.tried, true) {
            first.number = None;
        } else {
            queue.pop_front();
            self.count -= 1;
            if queue.is_empty() {
                self.waiting.remove(&call);
            }
        }
        self.send(now, call, outputs);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, ..)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs) {
        while let Some((_, call, number)) = self.under_way.front().copied().filter(|(at, ..)| *at <= now) {
            self.under_way.pop_front();
            self.fetched(now, call, number, &Err(WebFailure::TimedOut), outputs);
        }
    }

    /// The first of a call, unless it is under way.
    fn send(&mut self, now: Instant, call: CallId, outputs: &mut Outputs) {
        let first = self.waiting.get_mut(&call).and_then(VecDeque::front_mut);
        let Some(first) = first.filter(|first| first.number.is_none()) else { return };
        self.next += 1;
        first.number = Some(self.next);
        self.under_way.push_back((now + PATIENCE, call, self.next));
        let id = FetchId::Told { call, number: self.next };
        outputs.push(Output::Fetch { id, request: Box::new(first.request.clone()) });
    }
}
