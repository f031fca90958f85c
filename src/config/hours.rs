//! `[hours.NAME]`: when somebody is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Weekday;

use super::section::Section;
use crate::call::{Holiday, Hours, Opening};

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// By name; nothing where one could not be read, which was noted.
pub(super) fn hours(sections: Vec<(String, Section<'_>)>) -> BTreeMap<String, Option<Arc<Hours>>> {
    sections.into_iter().map(|(name, section)| (name, one(section).map(Arc::new))).collect()
}

fn one(mut section: Section<'_>) -> Option<Hours> {
    let zone = section.parsed("zone", |text| {
        let known = jiff::tz::TimeZone::get(text);
        known.map_err(|_| "is no time zone; write one like Europe/Berlin or America/New_York".to_owned())
    });
    if zone.is_none() {
        section.missing("zone", "\"Europe/Berlin\"");
    }
    let open = section.list("open", opening);
    if open.is_none() {
        section.missing("open", "[\"mon-fri 09:00-17:00\"]");
    }
    let holidays = section.list("holidays", holiday).unwrap_or_default();
    section.finish();
    Some(Hours { zone: zone?, open: open?, holidays })
}

fn opening(text: &str) -> Result<Opening, String> {
    let wrong = || "is no opening; write days and a time, like \"mon-fri 09:00-17:00\"".to_owned();
    let (days, times) = text.split_once(' ').ok_or_else(wrong)?;
    let (from, to) = times.trim().split_once('-').ok_or_else(wrong)?;
    let days = days.split(',').map(days_of).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
    Ok(Opening { days: days.concat(), from, to })
}

/// `mon`, or `fri-mon`.
fn days_of(text: &str) -> Option<Vec<Weekday>> {
    let place = |text: &str| DAYS.iter().position(|(name, _)| *name == text);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (place(first)?, place(last)?);
    let count = (last + DAYS.len() - first) % DAYS.len() + 1;
    Some((first..first + count).map(|place| DAYS[place % DAYS.len()].1).collect())
}

/// `09:00`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let at = two(hours)? * 60 + two(minutes).filter(|minutes| *minutes < 60)?;
    (at <= 24 * 60).then_some(at)
}

/// `2026-12-24`, or `12-24` of every year.
fn holiday(text: &str) -> Result<Holiday, String> {
    let wrong = || "is no day; write 2026-12-24, or 12-24 for every year".to_owned();
    let every_year = text.len() == 5;
    // A leap year, so that each day of a year is there.
    let whole = if every_year { format!("2024-{text}") } else { text.to_owned() };
    let date: jiff::civil::Date = whole.parse().map_err(|_| wrong())?;
    let year = (!every_year).then(|| date.year());
    Ok(Holiday { year, month: date.month(), day: date.day() })
}
