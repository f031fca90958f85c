//! Numbers that nobody may call: whoever asked not to be, or is in a public register.

use std::sync::Arc;

/// A list of E.164 numbers; eight bytes each, shared by whoever copies it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoNotCall(Arc<[u64]>);

/// Digits of the longest number (ITU-T E.164 §6).
const LONGEST: usize = 15;

impl DoNotCall {
    /// A number a line, with its `+`; what is behind `#` is a remark, empty lines are none.
    ///
    /// # Errors
    /// The first line that is no number, counted from 1.
    pub fn read(text: &str) -> Result<Self, usize> {
        let mut numbers = Vec::new();
        for (line, written) in text.lines().enumerate() {
            let written = written.split('#').next().unwrap_or_default().trim();
            if !written.is_empty() {
                numbers.push(digits(written).ok_or(line + 1)?);
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers.into()))
    }

    /// Whether the number is in it. One without `+` never is.
    pub fn holds(&self, number: &str) -> bool {
        !self.0.is_empty() && digits(number).is_some_and(|number| self.0.binary_search(&number).is_ok())
    }
}

/// `+` and up to 15 digits, the first of which is no zero; what is only there for the eye is left out.
fn digits(number: &str) -> Option<u64> {
    let digits = number.strip_prefix('+')?;
    let digits: String = digits.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let is_number = (1..=LONGEST).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_what_is_in_it_however_it_is_written() {
        let list = DoNotCall::read("# asked us\n+1 (650) 582-4074\n\n+4930123456 # by letter\n+4930123456\n")
            .unwrap();

        for (number, held) in [
            ("+16505824074", true),
            ("+4930123456", true),
            ("+493012345", false),
            ("16505824074", false),
            ("200", false),
            ("", false),
        ] {
            assert_eq!(list.holds(number), held, "{number}");
        }
        assert!(!DoNotCall::default().holds("+16505824074"));
    }

    #[test]
    fn a_line_that_is_no_number_is_named() {
        for wrong in ["6505824074", "+0123", "+1650582407412345", "+1650x", "+"] {
            assert_eq!(DoNotCall::read(&format!("+1650\n{wrong}\n")), Err(2), "{wrong}");
        }
    }
}
