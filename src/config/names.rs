//! What the sections call each other by, and how a URL is read wherever one stands.

use std::collections::BTreeMap;

use super::mistake::Problem;
use super::section::Section;
use crate::spelling;

/// What is configured by name, and every name that was written: one that was written wrongly is not unknown.
#[derive(Debug)]
pub(super) struct Named<K, V> {
    /// What could be read.
    pub(super) known: BTreeMap<K, V>,
    written: Vec<String>,
}

impl<K: Ord, V> Named<K, V> {
    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), written: Vec::new() }
    }

    /// What stands under `name`; none when it could not be read.
    pub(super) fn insert(&mut self, name: String, entry: Option<(K, V)>) {
        self.known.extend(entry);
        self.written.push(name);
    }

    /// The name under `key`, if there is one and it is known.
    pub(super) fn read(
        &self,
        section: &mut Section<'_>,
        key: &'static str,
        what: &'static str,
    ) -> Option<String> {
        let name = section.text(key)?;
        if self.written.contains(&name) {
            return Some(name);
        }
        let nearest = spelling::nearest(&name, self.written.iter().map(String::as_str)).map(str::to_owned);
        section.object(key, Problem::UnknownName { what, name, nearest });
        None
    }
}

/// A reader for a kind of URL.
pub(super) fn url(rule: fn(&str) -> Result<(), &'static str>) -> impl Fn(&str) -> Result<String, String> {
    move |text| Ok(rule(text).map(|()| text.to_owned())?)
}
