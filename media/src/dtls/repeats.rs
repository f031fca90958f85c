//! Which datagrams of a handshake the peer says again, by the numbers of their messages (RFC 6347 §4.2.2).
//!
//! The library stops its own repetitions as soon as it hears any message, though it does not answer one that it has answered
//! before: two that repeat in step would then both wait for ever. So what was answered is kept from it.

/// Content type, version, epoch, sequence number, length.
const RECORD: usize = 13;

/// A whole handshake has fewer messages; a higher number is a forgery.
const LAST: u16 = 16;

/// What of the peer's handshake was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    /// The highest number that was heard.
    heard: Option<u16>,
    /// Up to which number we have answered.
    answered: Option<u16>,
}

impl Repeats {
    /// Whether this was answered before. The first message of a client always counts as new: the library answers it whenever
    /// it comes, without a memory of its own.
    pub(super) fn is_repeat(&mut self, datagram: &[u8]) -> bool {
        let Some((highest, is_all)) = numbers(datagram).filter(|(highest, _)| *highest <= LAST) else {
            return false;
        };
        if is_all && highest > 0 && self.answered.is_some_and(|answered| highest <= answered) {
            return true;
        }
        self.heard = self.heard.max(Some(highest));
        false
    }

    /// What was heard so far has its answer.
    pub(super) fn answered(&mut self) {
        self.answered = self.heard;
    }
}

/// The highest number of a handshake message in the clear, and whether there is nothing else in the datagram.
fn numbers(mut datagram: &[u8]) -> Option<(u16, bool)> {
    let (mut highest, mut is_all) = (None, true);
    while let Some((header, rest)) = datagram.split_first_chunk::<RECORD>() {
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (record, next) = rest.split_at_checked(length)?;
        let number = match (header[0], header[3], header[4], record) {
            (22, 0, 0, [_, _, _, _, high, low, ..]) => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        is_all &= number.is_some();
        highest = highest.max(number);
        datagram = next;
    }
    Some((highest?, is_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_a_repeat_and_all_else_is_new() {
        let mut repeats = Repeats::default();

        assert!(!repeats.is_repeat(&message(1)));
        assert!(!repeats.is_repeat(&message(1)), "not answered yet");
        repeats.answered();
        assert!(repeats.is_repeat(&message(1)));
        assert!(!repeats.is_repeat(&message(2)));
        assert!(!repeats.is_repeat(&message(0)), "a first word");
        assert!(!repeats.is_repeat(&[message(1), change()].concat()), "something else is in it");
    }

    #[test]
    fn garbage_and_numbers_of_no_handshake_change_nothing() {
        let mut repeats = Repeats::default();
        for datagram in [vec![], vec![22; 12], vec![22; 40], message(60_000), change()] {
            assert!(!repeats.is_repeat(&datagram));
            repeats.answered();
            assert_eq!(repeats, Repeats::default());
        }
    }

    fn message(number: u16) -> Vec<u8> {
        let mut record = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 7, 0, 12, 1, 0, 0, 0];
        record.extend(number.to_be_bytes());
        record.extend([0; 6]);
        record
    }

    fn change() -> Vec<u8> {
        vec![20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 1]
    }
}
