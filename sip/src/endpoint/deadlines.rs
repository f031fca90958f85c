//! Who wants to be called when: O(log n) to set, move and take, in an order that depends on nothing but time and key.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// At most one deadline a key.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    queue: BTreeSet<(Instant, K)>,
    set: HashMap<K, Instant>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), set: HashMap::new() }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Sets, moves or (`None`) removes the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.set.insert(key, at),
            None => self.set.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, key));
        }
        if let Some(at) = at {
            self.queue.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Removes the earliest deadline that has come by `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.set.remove(&key);
        Some(key)
    }

    /// The deadline of `key`.
    pub(crate) fn at(&self, key: K) -> Option<Instant> {
        self.set.get(&key).copied()
    }

    /// How many are set.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_come_in_order_of_time_then_key_and_only_when_due() {
        let start = beginning();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        deadlines.set('c', Some(at(10)));
        deadlines.set('b', Some(at(20)));
        deadlines.set('a', Some(at(10)));

        assert_eq!(deadlines.next(), Some(at(10)));
        let due: Vec<char> = std::iter::from_fn(|| deadlines.take_due(at(15))).collect();
        assert_eq!(due, ['a', 'c']);
        assert_eq!((deadlines.next(), deadlines.len()), (Some(at(20)), 1));
    }

    #[test]
    fn a_moved_deadline_is_not_due_at_its_old_time() {
        let start = beginning();
        let mut deadlines = Deadlines::default();
        deadlines.set(1, Some(start));
        deadlines.set(1, Some(start + Duration::from_secs(1)));

        assert_eq!(deadlines.take_due(start), None);
        deadlines.set(1, None);
        assert_eq!((deadlines.next(), deadlines.len()), (None, 0));
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn beginning() -> Instant {
        Instant::now()
    }
}
