//! Reads one table of the file key by key. Every mistake is noted and reading goes on, so that one run of `check`
//! tells all of them. A key that nobody asked for is a mistake too.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Problem};
use super::surroundings::{Reference, Secret, Surroundings};
use crate::api::CredentialKind;
use crate::spelling::{self, nearest};

/// The text that is read, and what was wrong with it so far.
#[derive(Debug)]
pub(super) struct Report<'doc> {
    text: &'doc str,
    mistakes: RefCell<Vec<Mistake>>,
    references: RefCell<Vec<SecretReference>>,
}

/// Where the file refers to a secret, and what kind of place that lies in.
#[derive(Debug, Clone)]
pub(super) struct SecretReference {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) kind: CredentialKind,
    pub(super) name: String,
}

impl<'doc> Report<'doc> {
    pub(super) fn new(text: &'doc str) -> Self {
        Self { text, mistakes: RefCell::default(), references: RefCell::default() }
    }

    pub(super) fn note(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    fn refer(&self, reference: SecretReference) {
        self.references.borrow_mut().push(reference);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// All of them in the order of the file, those without a line last.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
        mistakes
    }
}

/// One table being read.
#[derive(Debug)]
pub(super) struct Section<'doc> {
    /// As in `[…]`.
    pub(super) name: String,
    table: Option<&'doc DeTable<'doc>>,
    offset: Option<usize>,
    known: Vec<&'static str>,
    report: &'doc Report<'doc>,
}

impl<'doc> Section<'doc> {
    pub(super) fn top(table: &'doc DeTable<'doc>, report: &'doc Report<'doc>) -> Self {
        Self { name: String::new(), table: Some(table), offset: None, known: Vec::new(), report }
    }

    /// The secrets that have been referred to so far, in all sections.
    pub(super) fn references(&self) -> Vec<SecretReference> {
        self.report.references.borrow().clone()
    }

    /// A string that `parse` turns into something; `parse` says what is wrong and what to write, after the value.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        self.parse_item(key, value, &parse)
    }

    /// A list of such strings.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.take(key)?;
        let Some(items) = value.get_ref().as_array() else {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "a list of strings", found });
            return None;
        };
        Some(items.iter().filter_map(|item| self.parse_item(key, item, &parse)).collect())
    }

    /// A string without further rules, but never an empty one.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |text| match text {
            "" => Err("is empty; write something or leave the key out".to_owned()),
            text => Ok(text.to_owned()),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("is not known here; write {}", words.join(" or "))
            })
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "true or false", found });
        }
        flag
    }

    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.take(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "a whole number", found });
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let problem = format!("is out of range; write {} to {}", range.start(), range.end());
            self.note(key, value, Problem::Value { found: integer.to_string(), problem });
        }
        number
    }

    pub(super) fn seconds(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|seconds| Duration::from_secs(seconds.into()))
    }

    pub(super) fn milliseconds(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|ms| Duration::from_millis(ms.into()))
    }

    /// The table under `key`; an empty one when it is not there, so that defaults need no second way.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'doc> {
        let name = self.inner_name(key);
        let value = self.take(key);
        let table = value.and_then(|value| self.as_table(key, value));
        let offset = value.map(|value| value.span().start);
        Section { name, table, offset, known: Vec::new(), report: self.report }
    }

    /// Whether the table is there, empty or not.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// The tables under `key` with their names, by name: `[providers.sip-main]`.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(String, Section<'doc>)> {
        let mut outer = self.section(key);
        let Some(table) = outer.table.take() else { return Vec::new() };
        let mut sections = Vec::new();
        for (name, value) in table {
            if let Err(problem) = spelling::name(name.get_ref()) {
                let (found, problem) = (name.get_ref().to_string(), problem.to_owned());
                outer.note_at(None, Some(value.span().start), Problem::Value { found, problem });
                continue;
            }
            let section = Section {
                name: format!("{}.{}", outer.name, name.get_ref()),
                table: outer.as_table(name.get_ref(), value),
                offset: Some(value.span().start),
                known: Vec::new(),
                report: self.report,
            };
            sections.push((name.get_ref().to_string(), section));
        }
        sections
    }

    /// The tables of `[[section.key]]`, in the order of the file.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'doc>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "one or more [[tables]]", found });
            return Vec::new();
        };
        let sections = items.iter().map(|item| Section {
            name: self.inner_name(key),
            table: self.as_table(key, item),
            offset: Some(item.span().start),
            known: Vec::new(),
            report: self.report,
        });
        sections.filter(Section::is_written).collect()
    }

    /// The entries of a table whose keys are the user's own: `headers`, `parameters`.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(&'doc str, &'doc Spanned<DeValue<'doc>>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let table = self.as_table(key, value);
        table.into_iter().flatten().map(|(name, value)| (name.get_ref().as_ref(), value)).collect()
    }

    /// A reference to a secret, followed.
    pub(super) fn secret(&mut self, key: &'static str, surroundings: &Surroundings) -> Option<Secret> {
        let value = self.take(key)?;
        self.secret_item(key, value, surroundings)
    }

    /// A reference to a secret among the user's own keys.
    pub(super) fn secret_item(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        surroundings: &Surroundings,
    ) -> Option<Secret> {
        let reference = match value.get_ref() {
            DeValue::Table(table) => reference(table),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => None,
        };
        let Some(reference) = reference else {
            self.note(key, value, Problem::InlineSecret);
            return None;
        };
        self.report.refer(SecretReference {
            section: self.name.clone(),
            key: key.to_owned(),
            kind: reference.kind(),
            name: reference.name().to_owned(),
        });
        let secret = surroundings.secret(&reference);
        secret
            .map_err(|problem| {
                self.note(key, value, Problem::Value { found: reference.name().to_owned(), problem });
            })
            .ok()
    }

    /// Whether something stands under `key`, be it right or wrong.
    pub(super) fn is_there(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether `key` holds a list without anything in it.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.and_then(|value| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// The value under `key`, as it stands.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'doc Spanned<DeValue<'doc>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// Says that `key` has to be there.
    pub(super) fn missing(&self, key: &'static str, example: &str) {
        // A value that is there but wrong was noted already.
        if !self.is_there(key) {
            let example = format!("{key} = {example}");
            self.note_at(Some(key), self.offset, Problem::Missing { example });
        }
    }

    /// Notes a mistake in the value of `key`, which has been taken.
    pub(super) fn object(&self, key: &str, problem: Problem) {
        let value = self.table.and_then(|table| table.get(key));
        self.note_at(Some(key), value.map(|value| value.span().start).or(self.offset), problem);
    }

    /// Notes a mistake about the table as a whole.
    pub(super) fn object_whole(&self, problem: Problem) {
        self.note_at(None, self.offset, problem);
    }

    /// Notes a mistake in one value under `key`.
    pub(super) fn note(&self, key: &str, value: &Spanned<DeValue<'_>>, problem: Problem) {
        self.note_at(Some(key), Some(value.span().start), problem);
    }

    /// Every key has been asked for: what is left is unknown.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let written = key.get_ref().as_ref();
            if !self.known.contains(&written) {
                let nearest = nearest(written, self.known.iter().copied());
                let problem = Problem::UnknownKey { nearest, known: self.known.clone() };
                self.note_at(Some(written), Some(key.span().start), problem);
            }
        }
    }

    fn parse_item<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = value.get_ref().as_str() else {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "a string", found });
            return None;
        };
        let parsed = parse(text);
        parsed.map_err(|problem| self.note(key, value, Problem::Value { found: shorten(text), problem })).ok()
    }

    fn as_table(&self, key: &str, value: &'doc Spanned<DeValue<'doc>>) -> Option<&'doc DeTable<'doc>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let found = article(value.get_ref());
            self.note(key, value, Problem::Type { expected: "a table", found });
        }
        table
    }

    fn inner_name(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn note_at(&self, key: Option<&str>, offset: Option<usize>, problem: Problem) {
        self.report.note(Mistake {
            line: offset.map(|offset| self.report.line(offset)),
            section: self.name.clone(),
            key: key.map(str::to_owned),
            problem,
        });
    }
}

/// Exactly one of the four ways to a secret.
fn reference<'doc>(table: &'doc DeTable<'doc>) -> Option<Reference<'doc>> {
    let mut entries = table.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else { return None };
    let name = value.get_ref().as_str()?;
    match key.get_ref().as_ref() {
        "env" => Some(Reference::Variable(name)),
        "file" => Some(Reference::File(name)),
        "credential" => Some(Reference::Credential(name)),
        "held" => Some(Reference::Held(name)),
        _ => None,
    }
}

/// A value's type, as one says it.
pub(super) fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
