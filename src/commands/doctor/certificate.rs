//! The three things a doctor wants to know of a certificate (RFC 5280 §4.1): from when to when it is good, and for which
//! names. Whether anybody believes it is left to TLS. Pure.
//! ```text
//!   Certificate { tbs { [0] version?, serial, algorithm, issuer, validity { from, until }, subject, key, … [3] extensions } … }
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use time::{Date, Month, PrimitiveDateTime, Time};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// `subjectAltName`, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// What could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Seconds since 1970.
    pub(super) from: i64,
    /// Seconds since 1970.
    pub(super) until: i64,
    /// Names and addresses it is for, as it has them: `sip.example.com`, `*.example.com`, `192.0.2.1`.
    pub(super) names: Vec<String>,
}

impl Certificate {
    /// Reads a certificate in DER; none when it is not one.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut outer = Der(der).inside(SEQUENCE)?;
        let mut body = outer.inside(SEQUENCE)?;
        if body.0.first() == Some(&VERSION) {
            body.next()?;
        }
        for _serial_algorithm_issuer in 0..3 {
            body.next()?;
        }
        let mut validity = body.inside(SEQUENCE)?;
        let (from, until) = (time(validity.next()?)?, time(validity.next()?)?);
        let mut names = Vec::new();
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content).unwrap_or_default();
            }
        }
        Some(Self { from, until, names })
    }
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut list = Der(extensions).inside(SEQUENCE)?;
    while let Some((SEQUENCE, extension)) = list.next() {
        let mut extension = Der(extension);
        if extension.next()? != (IDENTIFIER, ALTERNATIVE_NAMES) {
            continue;
        }
        // Whether it is critical may stand between.
        let value = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTETS)?.1;
        let mut names = Der(value).inside(SEQUENCE)?;
        return Some(std::iter::from_fn(|| names.next()).filter_map(name).collect());
    }
    None
}

fn name((tag, content): (u8, &[u8])) -> Option<String> {
    match tag {
        DNS_NAME => std::str::from_utf8(content).ok().map(str::to_owned),
        IP_ADDRESS => match content.len() {
            4 => Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(content).ok()?)).to_string()),
            16 => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?)).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on (RFC 5280 §4.1.2.5).
fn time((tag, content): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i32 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
    let time = Time::from_hms(part(4)?, part(6)?, part(8)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

/// Values of distinguished encoding, one after the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value: its tag and its content. None at the end, and none where the lengths do not add up.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// What the next value holds, which must have this tag.
    fn inside(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| Self(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str], from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut wanted = rcgen::CertificateParams::new(names).unwrap();
        wanted.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        wanted.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        wanted.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn validity_and_names_are_read_on_both_sides_of_2050() {
        let der = made(&["sip.example.com", "*.example.org", "192.0.2.1"], (2024, 2, 29), (2051, 1, 1));

        let read = Certificate::read(&der).unwrap();

        assert_eq!((read.from, read.until), (1_709_164_800, 2_556_144_000));
        assert_eq!(read.names, ["sip.example.com", "*.example.org", "192.0.2.1"]);
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_is_nothing_and_no_panic() {
        let der = made(&["example.com"], (2024, 1, 1), (2025, 1, 1));

        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None, "{length}");
        }
        for at in 0..der.len() {
            let mut broken = der.clone();
            broken[at] = broken[at].wrapping_add(0x55);
            let _whatever = Certificate::read(&broken);
        }
    }
}
