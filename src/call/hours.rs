//! When somebody is there: hours of a week in one place of the world, and the days on which nobody is.

use jiff::civil::Weekday;

use super::clock::Timestamp;
use super::settings::Workflow;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// What calls that begin outside of certain hours are treated by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When somebody is there.
    pub hours: std::sync::Arc<Hours>,
    /// How they are treated at any other time.
    pub instead: std::sync::Arc<Workflow>,
}

/// When somebody is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Where the clock hangs.
    pub zone: jiff::tz::TimeZone,
    /// Any of them.
    pub open: Vec<Opening>,
    /// Nobody is there on these days.
    pub holidays: Vec<Holiday>,
}

/// From when to when on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// On which days it begins.
    pub days: Vec<Weekday>,
    /// Minutes after midnight.
    pub from: u16,
    /// Minutes after midnight, not included; on the next day where it is not later than `from`.
    pub to: u16,
}

/// A day of one year, or of every year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holiday {
    /// None: every year.
    pub year: Option<i16>,
    /// From 1.
    pub month: i8,
    /// From 1.
    pub day: i8,
}

impl Hours {
    /// Whether somebody is there.
    pub fn are_open(&self, at: Timestamp) -> bool {
        let Ok(moment) = jiff::Timestamp::from_millisecond(at.unix_ms()) else { return false };
        let there = moment.to_zoned_datetime(self.zone.clone());
        let minute = there.hour().unsigned_abs() as u16 * 60 + there.minute().unsigned_abs() as u16;
        let today = there.date();
        let since_yesterday = today.yesterday().is_ok_and(|yesterday| {
            !self.is_holiday(yesterday)
                && self.open.iter().any(|opening| opening.holds(yesterday, minute + DAY))
        });
        since_yesterday
            || !self.is_holiday(today) && self.open.iter().any(|opening| opening.holds(today, minute))
    }

    fn is_holiday(&self, date: jiff::civil::Date) -> bool {
        self.holidays.iter().any(|holiday| {
            holiday.year.is_none_or(|year| year == date.year())
                && (holiday.month, holiday.day) == (date.month(), date.day())
        })
    }
}

impl Opening {
    /// `minute` counts from the beginning of `date`, and may lie in the day behind it.
    fn holds(&self, date: jiff::civil::Date, minute: u16) -> bool {
        let to = if self.to > self.from { self.to } else { self.to + DAY };
        self.days.contains(&date.weekday()) && (self.from..to).contains(&minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str) -> Hours {
        let weekdays =
            [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
        Hours {
            zone: jiff::tz::TimeZone::get(zone).unwrap(),
            open: vec![
                Opening { days: weekdays.to_vec(), from: 9 * 60, to: 17 * 60 },
                Opening { days: vec![Weekday::Saturday], from: 22 * 60, to: 2 * 60 },
            ],
            holidays: vec![
                Holiday { year: None, month: 12, day: 25 },
                Holiday { year: Some(2026), month: 5, day: 14 },
            ],
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_unix_ms(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn hours_are_those_of_the_place_in_summer_and_in_winter() {
        let berlin = hours("Europe/Berlin");
        for (moment, expected) in [
            ("2026-07-01T06:59:59Z", false),
            ("2026-07-01T07:00:00Z", true),
            ("2026-07-01T14:59:59Z", true),
            ("2026-07-01T15:00:00Z", false),
            ("2026-12-01T07:30:00Z", false),
            ("2026-12-01T08:00:00Z", true),
        ] {
            assert_eq!(berlin.are_open(at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let berlin = hours("Europe/Berlin");
        for (moment, expected) in [
            ("2026-07-04T20:30:00Z", true),
            ("2026-07-04T23:59:00Z", true),
            ("2026-07-05T00:00:00Z", false),
            ("2026-07-05T20:30:00Z", false),
        ] {
            assert_eq!(berlin.are_open(at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn nobody_is_there_on_a_holiday_of_that_year_or_of_every_year() {
        let berlin = hours("Europe/Berlin");
        for (moment, expected) in [
            ("2026-12-25T10:00:00Z", false),
            ("2028-12-25T10:00:00Z", false),
            ("2026-05-14T10:00:00Z", false),
            ("2027-05-14T10:00:00Z", true),
        ] {
            assert_eq!(berlin.are_open(at(moment)), expected, "{moment}");
        }
    }
}
