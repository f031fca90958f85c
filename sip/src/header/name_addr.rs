//! From, To, Contact, Route, Record-Route, Refer-To and their like: a URI with a display name and parameters
//! (RFC 3261 §20.10, §25.1).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use memchr::memchr;

use crate::header::Params;
use crate::lex::{self, Cursor, Malformed};
use crate::uri::{Layout, Uri};

/// A URI with its display name and the parameters of the header element.
///
/// Both forms are read, `"Alice" <sip:a@host;lr>;tag=1` and `sip:a@host;tag=1`; the first is written, because in the
/// second nobody can tell whose a parameter is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    display: Option<Arc<str>>,
    uri: Uri,
    params: Params,
}

impl NameAddr {
    /// A bare URI, to be dressed with the `with_` methods.
    pub fn new(uri: Uri) -> Self {
        Self { display: None, uri, params: Params::default() }
    }

    /// Reads a whole text as one element. A comma list is an error here; `Message::contacts` and its like read lists.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        let read = Self::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(read)
    }

    /// The display name without quotes and escapes, `None` when there is none or it is empty.
    pub fn display(&self) -> Option<&str> {
        self.display.as_deref()
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The parameters of the element, not of the URI.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The `tag` of a From or To (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params.token("tag")
    }

    /// This element with another display name; control characters in it become spaces, an empty one is none.
    pub fn with_display(mut self, display: &str) -> Self {
        self.display = (!display.is_empty()).then(|| lex::readable(display.as_bytes()).into());
        self
    }

    /// This element with a tag.
    pub fn with_tag(self, tag: &str) -> Self {
        self.with_param("tag", Some(tag))
    }

    /// This element with a parameter; see [`Params::set`].
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let Parts { display, uri } = Parts::read(cursor)?;
        let display = lex::unquote(display);
        let display = (!display.is_empty()).then(|| lex::readable(&display).into());
        Ok(Self { display, uri: Uri::parse(uri)?, params: Params::read(cursor)? })
    }

    /// Reads one element without keeping it.
    pub(crate) fn skip(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        Parts::read(cursor)?;
        while cursor.param()?.is_some() {}
        Ok(())
    }
}

/// Everything before the parameters; the URI has been checked.
struct Parts<'a> {
    display: &'a [u8],
    uri: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        cursor.skip_lws();
        let display = if cursor.peek() == Some(b'"') {
            let quoted = cursor.quoted()?;
            cursor.skip_lws();
            if cursor.peek() != Some(b'<') {
                return Err(cursor.malformed());
            }
            quoted
        } else {
            // An unquoted name may be any text: many send letters, dots and brackets that are no tokens. Only what
            // ends an element or begins a URI cannot be in it. A Nero phone sends `\"arik\" <sip:…>`, hence the
            // backslash.
            let mut ahead = cursor.clone();
            let mut escaped = false;
            let text = ahead.take_while(|byte| {
                let ends = !escaped && matches!(byte, b'<' | b'>' | b':' | b',' | b';' | b'"');
                escaped = byte == b'\\' && !escaped;
                !ends
            });
            if ahead.peek() == Some(b'<') {
                *cursor = ahead;
                lex::trim(text)
            } else {
                b""
            }
        };
        let in_brackets = cursor.eat(b'<');
        let start = cursor.at();
        let uri = if in_brackets {
            let length = memchr(b'>', cursor.rest()).ok_or(cursor.malformed())?;
            &cursor.rest()[..length]
        } else {
            let end = |byte| lex::is_lws(byte) || matches!(byte, b';' | b',' | b'<' | b'>' | b'"' | b'?');
            cursor.clone().take_while(|byte| !end(byte))
        };
        Layout::read(uri).map_err(|error| Malformed { at: start + error.at })?;
        cursor.advance(uri.len());
        if in_brackets {
            cursor.expect(b'>')?;
        } else if cursor.peek() == Some(b'?') {
            // A URI with headers must stand in brackets (RFC 3261 §20).
            return Err(cursor.malformed());
        }
        Ok(Self { display, uri })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = self.display() {
            let mut quoted = String::with_capacity(display.len() + 2);
            lex::push_quoted(&mut quoted, display);
            write!(f, "{quoted} ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameAddr({self})")
    }
}

impl FromStr for NameAddr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> NameAddr {
        NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn both_forms_are_read_and_the_clear_one_is_written() {
        let short = parse("sip:user@host ;  tag = 1");
        assert_eq!((short.uri().as_str(), short.tag(), short.display()), ("sip:user@host", Some("1"), None));
        assert_eq!(short.to_string(), "<sip:user@host>;tag=1");

        let long = parse("\"A. \\\"Bell\\\\\"<sip:a@host;lr>;tag=x;q=\"1\"");
        assert_eq!((long.display(), long.uri().param("lr")), (Some("A. \"Bell\\"), Some("")));
        assert_eq!(parse(&long.to_string()), long);
    }

    #[test]
    fn a_name_without_quotes_may_touch_its_bracket_and_have_any_letters() {
        for (text, display) in [
            ("caller<sip:a@h>", Some("caller")),
            ("token1~` token2'+_ token3*%!.- <sip:a@h>", Some("token1~` token2'+_ token3*%!.-")),
            ("José (Sales)\r\n  <sip:a@h>", Some("José (Sales)")),
            ("<sip:a@h>", None),
            ("\"\" <sip:a@h>", None),
            ("\\\"arik\\\" <sip:a@h>", Some("\\\"arik\\\"")),
        ] {
            assert_eq!(parse(text).display(), display, "{text:?}");
        }
    }

    #[test]
    fn what_others_might_read_differently_is_refused() {
        for bad in [
            "",
            "<>",
            "\"\" <>",
            "<sip:a@h",
            "\"Mr. J. User <sip:a@h>",
            "Bell, Alexander <sip:a@h>;tag=43",
            "\"W, T\" < sip:a@h >",
            "sip:a@h?Route=%3Csip:x%3E",
            "\"Joe\" <sip:a@h>;;;;",
            "<sip:a@h> x",
            "\"a\" sip:a@h",
            "<sip:a@h>, <sip:b@h>",
            "<sip:a@h>;tag=",
            "<sip:>",
            "<:>",
            "*",
            "<sip:a@h>;=x",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn a_semicolon_in_brackets_belongs_to_the_uri() {
        assert!(parse("<sip:a@h;unknownparam>").uri().param("unknownparam").is_some());
        assert!(parse("sip:a@h;unknownparam").params().get("unknownparam").is_some());
    }

    proptest! {
        #[test]
        fn a_name_addr_reads_back_as_the_same(display in ".{0,20}", user in ".{0,10}", tag in "\\PC{0,10}", lr in any::<bool>()) {
            let uri = Uri::sip(Some(&user), crate::Host::Domain("example.net"), None).unwrap();
            let uri = if lr { uri.with_param("lr", None) } else { uri };
            let name_addr = NameAddr::new(uri).with_display(&display).with_tag(&tag);

            prop_assert_eq!(NameAddr::parse(name_addr.to_string()), Ok(name_addr));
        }

        #[test]
        fn no_text_panics(text in "[ -~\r\n\t]{0,80}") {
            if let Ok(read) = NameAddr::parse(&text) {
                prop_assert_eq!(NameAddr::parse(read.to_string()), Ok(read));
            }
        }
    }
}
