//! A JSON object whose members stay the bytes that they came as.
//!
//! What the gateway does not know passes through to the letter: numbers of any length, fields of tomorrow,
//! the order. Of a key that comes twice the last holds, so that everybody downstream reads the same.

use std::collections::HashMap;
use std::fmt;

use gptoss_api::ApiError;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object.
#[derive(Debug, Clone, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// Reads a body.
    ///
    /// Errors: `NotJson`; a body that is no object.
    pub fn parse(bytes: &[u8]) -> Result<RawObject, ApiError> {
        gptoss_api::body::parse(bytes)
    }

    /// A member as it came.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// A member, read.
    pub fn value(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A member, read.
    ///
    /// Errors: it cannot be read: a number beyond all, or too deep.
    pub fn read(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let read = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|_| unreadable(name));
        self.raw(name).map(read).transpose()
    }

    /// Puts a member in the place of the one of its name, or behind all others.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        // A value of plain data is JSON.
        let Ok(raw) = serde_json::value::to_raw_value(value) else { return };
        match self.members.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = raw,
            None => self.members.push((name.to_owned(), raw)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.members.iter().position(|(other, _)| other == name)?;
        Some(self.members.remove(at).1)
    }

    /// Calls a member something else.
    pub fn rename(&mut self, name: &str, other: &str) {
        if let Some(raw) = self.remove(name) {
            self.remove(other);
            self.members.push((other.to_owned(), raw));
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The same as values.
    ///
    /// Errors: as [`RawObject::read`].
    pub fn to_map(&self) -> Result<serde_json::Map<String, Value>, ApiError> {
        let read = |(name, raw): &(String, Box<RawValue>)| {
            let value = serde_json::from_str(raw.get()).map_err(|_| unreadable(name))?;
            Ok((name.clone(), value))
        };
        self.members.iter().map(read).collect()
    }

    /// The names of its members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// A member, read, in which no name comes twice: who reads it elsewhere may take the other one.
    ///
    /// Errors: as [`RawObject::read`]; a name comes twice.
    pub fn read_once(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let (Some(raw), Some(value)) = (self.raw(name), self.read(name)?) else { return Ok(None) };
        let mut texts = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        Texts(&mut texts).deserialize(&mut reader).map_err(|_| unreadable(name))?;
        match texts.len() == num_texts(&value) {
            true => Ok(Some(value)),
            false => Err(ApiError::invalid(name, format!("{name}: a name comes twice in an object of it"))),
        }
    }

    /// Bytes of everything that a model would read.
    pub fn prompt_bytes(&self) -> usize {
        let read = ["messages", "input", "prompt", "instructions", "system", "tools", "functions"];
        read.into_iter().filter_map(|name| self.raw(name)).map(|raw| raw.get().len()).sum()
    }

    /// Every text and number in it, names of members included.
    ///
    /// Errors: as [`RawObject::read`]; what cannot be looked at is not passed over.
    pub fn texts(&self) -> Result<Vec<String>, ApiError> {
        let mut texts = Vec::new();
        for (name, raw) in &self.members {
            texts.push(name.clone());
            let mut reader = serde_json::Deserializer::from_str(raw.get());
            Texts(&mut texts).deserialize(&mut reader).map_err(|_| unreadable(name))?;
        }
        Ok(texts)
    }
}

/// Texts, numbers and names in a value.
fn num_texts(value: &Value) -> usize {
    match value {
        Value::String(_) | Value::Number(_) => 1,
        Value::Array(list) => list.iter().map(num_texts).sum(),
        Value::Object(members) => members.values().map(|value| 1 + num_texts(value)).sum(),
        Value::Null | Value::Bool(_) => 0,
    }
}

fn unreadable(name: &str) -> ApiError {
    let message = format!("{name}: a number in it is too large, or it is nested too deeply");
    ApiError::invalid(name, message)
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawObject, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    match places.get(&name) {
                        Some(place) => members[*place].1 = raw,
                        None => {
                            places.insert(name.clone(), members.len());
                            members.push((name, raw));
                        }
                    }
                }
                Ok(RawObject { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, raw) in &self.members {
            map.serialize_entry(name, raw)?;
        }
        map.end()
    }
}

/// Gathers texts at any depth, those behind keys that come twice among them.
struct Texts<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text.to_owned());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(number.to_string());
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Texts(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.0.push(name);
            map.next_value_seed(Texts(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_stays_to_the_letter() {
        let text = r#"{"model":"m","x":{"n":1.000000000000000000001,"big":123456789012345678901234567890},"y":[ 1e400 ]}"#;
        let mut body = RawObject::parse(text.as_bytes()).unwrap();
        body.set("model", &json!("other"));
        let sent = String::from_utf8(body.bytes()).unwrap();
        assert_eq!(sent, text.replace("\"m\"", "\"other\""));
    }

    #[test]
    fn of_two_keys_of_one_name_the_last_holds() {
        let body = RawObject::parse(br#"{"model":"a","z":1,"model":"b"}"#).unwrap();
        assert_eq!(String::from_utf8(body.bytes()).unwrap(), r#"{"model":"b","z":1}"#);
    }

    #[test]
    fn texts_are_found_wherever_they_stand() {
        let body =
            RawObject::parse(br#"{"messages":[{"content":"a","content":"b","k":{"c":4111}}],"u":"d\u0065"}"#)
                .unwrap();
        let texts = body.texts().unwrap();
        for expect in ["a", "b", "c", "4111", "de", "k"] {
            assert!(texts.iter().any(|text| text == expect), "{expect}: {texts:?}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_passed_over() {
        let deep = format!(r#"{{"a":{}"x"{}}}"#, "[".repeat(200), "]".repeat(200));
        for text in [r#"{"a":[1e999,"x"]}"#, &deep] {
            let body = RawObject::parse(text.as_bytes()).unwrap();
            assert!(body.texts().is_err() && body.read("a").is_err() && body.to_map().is_err());
        }
    }

    /// What grows with the square would take minutes.
    #[test]
    fn a_hundred_thousand_members_are_read() {
        let members: Vec<String> = (0..100_000).map(|number| format!("\"{number}\":1")).collect();
        let body = RawObject::parse(format!("{{{},\"7\":2}}", members.join(",")).as_bytes()).unwrap();
        assert_eq!((body.members.len(), body.value("7")), (100_000, Some(serde_json::json!(2))));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "3", "", "{", "{\"a\":1} x", "null"] {
            assert!(RawObject::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
