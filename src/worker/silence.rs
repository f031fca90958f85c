//! How long nobody has spoken, and whose turn it was.
//!
//! ```text
//!   engine speaks ...... | silence of the caller: told at each length that is waited for
//!   caller speaks ...... | silence of the engine; so it is from the beginning on, too
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use crate::call::Voice;

/// Watches the silences of one conversation.
#[derive(Debug)]
pub(super) struct Silence {
    /// Lengths that are told, the shortest first.
    caller: Vec<Duration>,
    engine: Vec<Duration>,
    /// Whose turn it is.
    turn: Turn,
    since: Option<Instant>,
    /// How many of the lengths were told of this silence.
    told: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Caller,
    Engine,
}

impl Silence {
    pub(super) fn new(caller: Vec<Duration>, engine: Vec<Duration>) -> Box<Self> {
        Box::new(Self { caller, engine, turn: Turn::Engine, since: None, told: 0 })
    }

    /// Somebody else is heard, or nobody: what was silent until now does not count.
    pub(super) fn begin_anew(&mut self) {
        (self.since, self.told) = (None, 0);
    }

    /// A beat has passed. Who has been silent for so long, where that is waited for.
    pub(super) fn beat(
        &mut self,
        now: Instant,
        engine_speaks: bool,
        caller_speaks: bool,
    ) -> Option<(Voice, Duration)> {
        if engine_speaks || caller_speaks {
            self.turn = if caller_speaks { Turn::Engine } else { Turn::Caller };
            (self.since, self.told) = (Some(now), 0);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let (who, lengths) = match self.turn {
            Turn::Caller => (Voice::Caller, &self.caller),
            Turn::Engine => (Voice::Engine, &self.engine),
        };
        let length = *lengths.get(self.told)?;
        if now.saturating_duration_since(since) < length {
            return None;
        }
        self.told += 1;
        Some((who, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(20);

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// `speaks` says who speaks in which second: `e`, `c`, or nobody. What was told, and in which second.
    fn told(silence: &mut Silence, speaks: &str) -> Vec<(u128, Voice, u64)> {
        #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
        let start = Instant::now();
        let beats = speaks.bytes().flat_map(|who| [who; 50]).enumerate();
        let told = beats.filter_map(|(beat, who)| {
            let now = start + BEAT * beat as u32;
            let (who, length) = silence.beat(now, who == b'e', who == b'c')?;
            Some(((now - start).as_millis() / 1000, who, length.as_secs()))
        });
        told.collect()
    }

    #[test]
    fn each_length_is_told_once_a_silence_to_whoever_has_the_turn() {
        let mut silence = Silence::new(vec![second(3), second(5)], vec![second(2)]);

        let told = told(&mut silence, "---eee------ccc----e----");

        let expected = [
            (2, Voice::Engine, 2),
            (8, Voice::Caller, 3),
            (10, Voice::Caller, 5),
            (16, Voice::Engine, 2),
            (22, Voice::Caller, 3),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_was_silent_before_the_conversation_begins_anew_does_not_count() {
        let mut silence = Silence::new(Vec::new(), vec![second(2)]);
        assert_eq!(told(&mut silence, "--"), []);

        silence.begin_anew();

        assert_eq!(told(&mut silence, "--"), []);
    }
}
