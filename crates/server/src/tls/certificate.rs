//! What of a certificate is told to people: whose it is, and when it holds.
//!
//! rustls shows neither, and a library for X.509 would bring a dozen crates for three fields, so this reads
//! as far as the subject and no further. It decides nothing: what is trusted, rustls decides. What cannot be
//! read is not told.
//!
//! Source: RFC 5280, 4.1 and 4.1.2.5; X.690 for lengths.

use std::fmt::Write;

/// Characters of a name that are told.
const NAME_CHARS_MAX: usize = 128;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the first one leaves out.
const VERSION: u8 = 0xA0;

/// Parts of a name that are told, by the last byte of their number below 2.5.4.
const PARTS: [(u8, &str); 5] = [(3, "CN"), (11, "OU"), (10, "O"), (7, "L"), (6, "C")];

/// Whose it is, and when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Quoted, without anything that moves a terminal.
    pub(crate) subject: String,
    /// Units: seconds since 1970.
    pub(crate) from: i64,
    /// The last moment. Units: seconds since 1970.
    pub(crate) until: i64,
}

impl Certificate {
    /// Of a certificate in DER, as far as it can be read.
    pub(crate) fn of(der: &[u8]) -> Option<Certificate> {
        let mut fields = Der(Der(Der(der).only(SEQUENCE)?).only(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let [_serial, _algorithm, _issuer] = [fields.next()?, fields.next()?, fields.next()?];
        let mut times = Der(fields.only(SEQUENCE)?);
        let (from, until) = (time(times.next()?)?, time(times.next()?)?);
        Some(Certificate { subject: name(Der(fields.only(SEQUENCE)?)), from, until })
    }
}

/// Values one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next one.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // Longer ones would be certificates of more than 16 MiB.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next one, which has that tag.
    fn only(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// Units: seconds since 1970.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // Two digits of the year: 1950 to 2049.
        UTC_TIME => format!("{}{text}", if text < "5" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp().as_second())
}

/// The parts of a name that people write down, quoted.
fn name(mut sets: Der<'_>) -> String {
    let mut name = String::new();
    while let Some(content) = sets.only(SET) {
        let Some((label, value)) = Der(content).only(SEQUENCE).and_then(part) else { continue };
        let _ = write!(name, "{}{label}={value}", if name.is_empty() { "" } else { "," });
    }
    let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("{shown:?}")
}

fn part(content: &[u8]) -> Option<(&'static str, String)> {
    let mut part = Der(content);
    let object = part.only(OBJECT)?;
    let (_, value) = part.next()?;
    let [0x55, 0x04, number] = *object else { return None };
    let (_, label) = PARTS.into_iter().find(|(known, _)| *known == number)?;
    Some((label, String::from_utf8_lossy(value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of that tag.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut bytes = match length {
            0..=0x7F => vec![tag, length as u8],
            _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        bytes.extend_from_slice(content);
        bytes
    }

    fn certificate(names: &[(u8, &str)], times: [(u8, &str); 2]) -> Vec<u8> {
        let names: Vec<u8> = names
            .iter()
            .flat_map(|(number, value)| {
                let pair = [der(OBJECT, &[0x55, 0x04, *number]), der(0x0C, value.as_bytes())].concat();
                der(SET, &der(SEQUENCE, &pair))
            })
            .collect();
        let times: Vec<u8> = times.iter().flat_map(|(tag, text)| der(*tag, text.as_bytes())).collect();
        let fields = [
            der(VERSION, &der(0x02, &[2])),
            der(0x02, &[1; 20]),
            der(SEQUENCE, &der(OBJECT, &[42])),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &times),
            der(SEQUENCE, &names),
            der(SEQUENCE, &[0; 300]),
        ];
        der(SEQUENCE, &der(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn names_and_times_are_read() {
        let check = |names: &[(u8, &str)], times: [(u8, &str); 2], expect: (&str, i64, i64)| {
            let found = Certificate::of(&certificate(names, times)).unwrap();
            assert_eq!((found.subject.as_str(), found.from, found.until), expect);
        };
        let usual = [(UTC_TIME, "700101000001Z"), (GENERALIZED_TIME, "20500101000000Z")];
        let (from, until) = (1, 2_524_608_000);
        check(&[(3, "client.test")], usual, ("\"CN=client.test\"", from, until));
        check(&[(10, "Org"), (99, "?"), (3, "a")], usual, ("\"O=Org,CN=a\"", from, until));
        check(&[], usual, ("\"\"", from, until));
        check(&[(3, "\u{1b}[2J\u{202e}\"")], usual, (r#""CN=\u{1b}[2J\u{202e}\"""#, from, until));
        let modern = [(UTC_TIME, "491231235959Z"), (UTC_TIME, "500101000000Z")];
        check(&[], modern, ("\"\"", 2_524_607_999, -631_152_000));
    }

    /// Bytes of whoever connects: every beginning and every changed byte is read or refused.
    #[test]
    fn no_bytes_break_it() {
        let whole = certificate(
            &[(3, "a"), (10, "b")],
            [(UTC_TIME, "700101000001Z"), (GENERALIZED_TIME, "20500101000000Z")],
        );
        for end in 0..whole.len() {
            assert_eq!(Certificate::of(&whole[..end]), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7F, 0x80, 0x84, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Certificate::of(&bytes);
            }
        }
    }
}
