//! A key of a telephone: RFC 4733 §3.2, events 0 to 15.

/// One of `0`–`9`, `*`, `#`, `A`–`D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

/// This character is on no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a DTMF digit (0-9, *, #, A-D)")]
pub struct NotADigit(pub char);

const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

impl Digit {
    /// The digit with this event code, nothing above 15.
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    /// Its event code, 0 to 15.
    pub fn event(self) -> u8 {
        self.0
    }

    /// Its character, letters in upper case.
    pub fn as_char(self) -> char {
        KEYS[usize::from(self.0)]
    }
}

impl TryFrom<char> for Digit {
    type Error = NotADigit;

    fn try_from(key: char) -> Result<Self, NotADigit> {
        let upper = key.to_ascii_uppercase();
        let event = KEYS.into_iter().zip(0..).find(|(candidate, _)| *candidate == upper);
        event.map(|(_, event)| Self(event)).ok_or(NotADigit(key))
    }
}

impl std::fmt::Display for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_survives_the_way_to_its_event_and_back() {
        for event in 0..16 {
            let digit = Digit::from_event(event).unwrap();

            assert_eq!(Digit::try_from(digit.as_char()), Ok(digit));
            assert_eq!(digit.event(), event);
        }
    }

    #[test]
    fn a_flash_and_a_letter_beyond_d_are_no_digits() {
        assert_eq!(Digit::from_event(16), None);
        assert_eq!(Digit::try_from('E'), Err(NotADigit('E')));
        assert_eq!(Digit::try_from('d').map(Digit::as_char), Ok('D'));
    }
}
