//! When two URIs mean the same (RFC 3261 §19.1.4; RFC 3966 §4 for `tel:`).

use crate::uri::escape::{Unit, units};
use crate::uri::{Scheme, Uri};

impl Uri {
    /// Whether both mean the same (RFC 3261 §19.1.4; RFC 3966 §4 for `tel:`). Not transitive, so it is not `==`.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        if self.scheme() != other.scheme() {
            return false;
        }
        match self.scheme() {
            Scheme::Sip | Scheme::Sips => {
                same_escaped(self.user(), other.user(), Case::Matters)
                    && same_escaped(self.password(), other.password(), Case::Matters)
                    && self.host() == other.host()
                    && self.port() == other.port()
                    && self.agrees_on_params(other)
                    && other.agrees_on_params(self)
                    && self.has_headers_of(other)
                    && other.has_headers_of(self)
            }
            Scheme::Tel => same_number(self, other) && self.has_params_of(other) && other.has_params_of(self),
            Scheme::Other => self.text == other.text,
        }
    }

    /// A parameter on both sides must be equal; these may not stand on one side alone. RFC 3261's text forgets
    /// `transport`, its examples do not.
    fn agrees_on_params(&self, other: &Self) -> bool {
        const BOTH_OR_NONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        self.params().all(|(name, _)| match other.param(name) {
            // The first of a name counts, on both sides.
            Some(theirs) => same_escaped(self.param(name), Some(theirs), Case::Ignored),
            None => !BOTH_OR_NONE.iter().any(|special| special.eq_ignore_ascii_case(name)),
        })
    }

    fn has_params_of(&self, other: &Self) -> bool {
        other.params().all(|(name, _)| same_escaped(other.param(name), self.param(name), Case::Ignored))
    }

    fn has_headers_of(&self, other: &Self) -> bool {
        other.headers().all(|theirs| {
            self.headers().any(|ours| ours.0.eq_ignore_ascii_case(&theirs.0) && ours.1 == theirs.1)
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

/// `%61` equals `a`; `%3B` does not equal `;`, because a reserved character raw has a meaning (RFC 3261 §19.1.4).
fn same_escaped(one: Option<&str>, other: Option<&str>, case: Case) -> bool {
    let normal = |unit: Unit| {
        let reserved =
            matches!(unit.byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
        let byte = if case == Case::Ignored { unit.byte.to_ascii_lowercase() } else { unit.byte };
        (byte, unit.escaped && reserved)
    };
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => units(one).map(normal).eq(units(other).map(normal)),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn same_number(one: &Uri, other: &Uri) -> bool {
    let digits = |uri: &Uri| -> String {
        let number = uri.user().unwrap_or_default();
        number
            .chars()
            .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    digits(one) == digits(other)
}
