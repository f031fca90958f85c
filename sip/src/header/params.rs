//! Parameters of a header element: `;name=value;name="quoted";name` (generic-param of RFC 3261 §25.1).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::lex::{self, Cursor, Malformed, RawParam};

/// The parameters of one element, in order. Names compare without case; the first of a name counts.
///
/// Kept as one text without white space between its parts, so that a clone shares it and none costs nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Params(Option<Arc<str>>);

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Param<'a> {
    /// The name as written.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The value without its quotes, `None` when there is no equal sign.
    pub fn value(self) -> Option<Cow<'a, str>> {
        self.value.map(|value| match lex::unquote(value.as_bytes()) {
            Cow::Borrowed(plain) => lex::readable(plain),
            Cow::Owned(plain) => Cow::Owned(lex::readable(&plain).into_owned()),
        })
    }

    /// The value as written, with its quotes if it has them.
    pub fn raw_value(self) -> Option<&'a str> {
        self.value
    }
}

impl Params {
    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<Param<'_>> {
        self.iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name, as written: for tags, branches and other tokens.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Param::raw_value)
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'_>> {
        let mut cursor = Cursor::new(self.as_str().as_bytes());
        std::iter::from_fn(move || {
            let RawParam { name, value } = cursor.param().ok().flatten()?;
            // Reading and setting only store text.
            let text = |bytes| std::str::from_utf8(bytes).expect("a piece of a str between ASCII delimiters");
            Some(Param { name, value: value.map(text) })
        })
    }

    /// Sets a parameter: replaced where it is, else added at the end. The value is quoted when it is not plain; line
    /// breaks and other control characters in it become spaces, characters of the name that no token has become `-`.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let mut text = String::with_capacity(self.as_str().len() + name.len() + 16);
        let mut found = false;
        for param in self.iter() {
            if !param.name.eq_ignore_ascii_case(name) {
                push(&mut text, param.name, param.value);
            } else if !found {
                found = true;
                push_plain(&mut text, name, value);
            }
        }
        if !found {
            push_plain(&mut text, name, value);
        }
        self.0 = Some(text.into());
    }

    /// The text that is written behind the element, empty or beginning with a semicolon.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Reads parameters up to something that is not a semicolon.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut text = String::new();
        while let Some(RawParam { name, value }) = cursor.param()? {
            if text.is_empty() {
                text.reserve(name.len() + value.map_or(0, <[u8]>::len) + cursor.rest().len() + 2);
            }
            let value = value.map(lex::readable);
            push(&mut text, name, value.as_deref());
        }
        Ok(if text.is_empty() { Self(None) } else { Self(Some(text.into())) })
    }
}

fn push(text: &mut String, name: &str, value: Option<&str>) {
    text.extend([";", name]);
    text.extend(value.into_iter().flat_map(|value| ["=", value]));
}

fn push_plain(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.extend(name.chars().map(|c| match u8::try_from(c) {
        Ok(byte) if lex::is_token_byte(byte) => c,
        Ok(_) | Err(_) => '-',
    }));
    let Some(value) = value else { return };
    text.push('=');
    if !value.is_empty() && value.bytes().all(lex::is_param_value_byte) {
        text.push_str(value);
    } else {
        lex::push_quoted(text, value);
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Params {
        Params::read(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn white_space_goes_and_order_and_spelling_stay() {
        let read = params(" ;  Tag = x ; lr ;\r\n q=\"a;\\\"b\"");

        assert_eq!(read.to_string(), ";Tag=x;lr;q=\"a;\\\"b\"");
        assert_eq!(read.token("TAG"), Some("x"));
        assert_eq!(read.get("lr").unwrap().value(), None);
        assert_eq!(read.get("q").unwrap().value().unwrap(), "a;\"b");
        assert!(read.get("r").is_none());
    }

    #[test]
    fn a_set_value_cannot_become_another_parameter() {
        let mut read = params(";a=1;tag=old;tag=older;b");

        read.set("TAG", Some("x;lr\r\nVia: y"));
        read.set("n ame", None);

        assert_eq!(read.to_string(), ";a=1;TAG=\"x;lr  Via: y\";b;n-ame");
        assert_eq!(params(&read.to_string()), read);
    }

    #[test]
    fn a_fold_inside_quotes_is_white_space_and_bytes_that_are_not_text_are_marked() {
        let read = Params::read(&mut Cursor::new(b";x=\"a\r\n b\xff\"")).unwrap();

        assert_eq!(read.get("x").unwrap().value().unwrap(), "a   b\u{fffd}");
    }
}
