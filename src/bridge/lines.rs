//! Sockets that calls share, while they are being dialled: each node once for each worker, however many calls wait for it.
//!
//! ```text
//!   call --> worker: is there a socket to the node? -- yes --> the call is on it
//!                                |  no
//!                                v
//!               wait_for -- the first one --> dial --> dialled -- all that wait --> worker
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

use crate::call::{CallId, Engine};

/// Who waits for which socket.
#[derive(Debug, Default)]
pub struct Lines {
    dialling: Vec<Dialling>,
}

#[derive(Debug)]
struct Dialling {
    worker: usize,
    node: Arc<Engine>,
    waiting: Vec<(CallId, Arc<Engine>)>,
}

impl Lines {
    /// A call of `worker` waits for a socket to the engine's node. Whether it is the first one: then it is to be dialled.
    pub fn wait_for(&mut self, worker: usize, engine: Arc<Engine>, call: CallId) -> bool {
        let known = self.dialling.iter_mut().find(|dialling| dialling.is(worker, &engine));
        match known {
            Some(dialling) => {
                dialling.waiting.retain(|(waiting, _)| *waiting != call);
                dialling.waiting.push((call, engine));
                false
            }
            None => {
                self.dialling.push(Dialling { worker, node: engine.clone(), waiting: vec![(call, engine)] });
                true
            }
        }
    }

    /// The dial came to its end: who waited for it.
    pub fn dialled(&mut self, worker: usize, node: &Engine) -> Vec<(CallId, Arc<Engine>)> {
        let place = self.dialling.iter().position(|dialling| dialling.is(worker, node));
        place.map(|place| self.dialling.swap_remove(place).waiting).unwrap_or_default()
    }
}

impl Dialling {
    fn is(&self, worker: usize, engine: &Engine) -> bool {
        self.worker == worker && self.node.is_same_node(engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{BargeInPolicy, Dialect, Fallback};
    use std::time::Duration;

    #[test]
    fn a_node_is_dialled_once_for_each_worker_and_all_that_wait_are_told() {
        let mut lines = Lines::default();
        let (front, other) = (engine("front", "ws://a/"), engine("other", "ws://b/"));
        // Another name, the same node.
        let twin = engine("twin", "ws://a/");

        assert!(lines.wait_for(0, front.clone(), call(1)));
        assert!(!lines.wait_for(0, twin, call(2)));
        assert!(lines.wait_for(1, front.clone(), call(3)));
        assert!(lines.wait_for(0, other, call(4)));

        let waited: Vec<CallId> = lines.dialled(0, &front).into_iter().map(|(call, _)| call).collect();
        assert_eq!(waited, [call(1), call(2)]);
        assert!(lines.dialled(0, &front).is_empty());
        assert!(lines.wait_for(0, front, call(5)), "the next one dials anew");
    }

    fn engine(name: &str, url: &str) -> Arc<Engine> {
        Arc::new(Engine {
            name: name.into(),
            url: url.into(),
            dialect: Dialect::EdgeMuxV1,
            sample_rate: None,
            headers: Vec::new(),
            parameters: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            accept_timeout: Duration::from_secs(3),
            resume_timeout: Duration::ZERO,
            idle_timeout: Duration::from_secs(60),
            max_calls: None,
            fallback: None,
            barge_in: BargeInPolicy::Engine,
            on_lost: Fallback::HangUp,
        })
    }

    fn call(number: u8) -> CallId {
        format!("call_01ARZ3NDEKTSV4RRFFQ69G5F{number:02}").parse().expect("a call id")
    }
}
