//! Values of a file of scenarios, read by what reads the flags of the same names: one list of forms and of
//! ranges.
//!
//! A value is a number or a text: `rate = 20` and `rate = "20"` are the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::Lengths;
use super::load::time;

/// A value as it would stand on the command line.
struct Word;

impl Visitor<'_> for Word {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

/// What `parse` makes of a number or a text.
pub fn number<'de, D: Deserializer<'de>, T>(
    value: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = value.deserialize_any(Word)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}

/// A whole number from `LOW` to `HIGH`.
pub fn whole<'de, D: Deserializer<'de>, const LOW: u32, const HIGH: u32>(
    value: D,
) -> Result<Option<u32>, D::Error> {
    number(value, within::<LOW, HIGH>)
}

/// One or several whole numbers from `LOW` to `HIGH`: `2`, `"1,2"` or `[1, 2]`.
pub fn numbers<'de, D: Deserializer<'de>, const LOW: u32, const HIGH: u32>(
    value: D,
) -> Result<Vec<u32>, D::Error> {
    struct List<const LOW: u32, const HIGH: u32>;

    impl<'de, const LOW: u32, const HIGH: u32> Visitor<'de> for List<LOW, HIGH> {
        type Value = Vec<u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "whole numbers from {LOW} to {HIGH}")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<u32>, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Vec<u32>, E> {
            value.split(',').map(within::<LOW, HIGH>).collect::<Result<_, _>>().map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<u32>, A::Error> {
            let mut list = Vec::new();
            while let Some(value) = values.next_element::<i64>()? {
                list.push(within::<LOW, HIGH>(&value.to_string()).map_err(A::Error::custom)?);
            }
            Ok(list)
        }
    }

    value.deserialize_any(List::<LOW, HIGH>)
}

/// Lengths, as `--prompt-tokens` has them.
pub fn lengths<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Lengths>, D::Error> {
    number(value, Lengths::from_str)
}

/// A time: `"500ms"`, `"5m"`, or seconds.
pub fn times<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    number(value, time)
}

fn within<const LOW: u32, const HIGH: u32>(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| (LOW..=HIGH).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a whole number from {LOW} to {HIGH}"))
}
