//! What a call asked for: `requestParameters`, of any shape, kept within bounds.
//!
//! The caller chose all of it, and each API has parameters of its own. So they are kept as JSON, cut where it grows
//! beyond what any call on a trail needs: what is beyond a bound is left out, and its absence is known.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::lenient::cut;

/// The most values kept of one call, nested ones included: event selectors end at 500 values and 250 resources.
const MAX_VALUES: usize = 2_048;
/// The longest text kept of one call, in bytes, all values together: more than CloudTrail records of one.
const MAX_TEXT_BYTES: usize = 131_072;

/// The parameters of a call. Untrusted.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Parameters {
    values: Map<String, Value>,
    is_whole: bool,
}

impl Parameters {
    /// A parameter by name, as JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The names of those that are kept.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A parameter that is text, unless it is empty. CloudTrail writes some flags as text and some as flags, so these
    /// read as their names.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// Whether these are all parameters of the call, and whole: there was an object of them, none was beyond a bound, and
    /// none stood twice.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Reads them from their JSON. What cannot be read, such as a number that no type holds, is as good as absent: the
    /// rest of the event is read without.
    pub(super) fn read(json: &str) -> Self {
        let room = Room::new();
        let value = Bounded(&room).deserialize(&mut serde_json::Deserializer::from_str(json));
        match value {
            Ok(Some(Value::Object(values))) => Self { values, is_whole: room.is_whole.get() },
            _ => Self::default(),
        }
    }
}

/// What may still be kept.
struct Room {
    values: Cell<usize>,
    bytes: Cell<usize>,
    /// Nothing was left out or cut so far.
    is_whole: Cell<bool>,
}

impl Room {
    fn new() -> Self {
        let (values, bytes) = (Cell::new(MAX_VALUES), Cell::new(MAX_TEXT_BYTES));
        Self { values, bytes, is_whole: Cell::new(true) }
    }

    fn is_left(&self) -> bool {
        self.values.get() > 0 && self.bytes.get() > 0
    }

    /// Whether there is room for one more value, with so much text; if not, there is none for any other either.
    fn takes(&self, bytes: usize) -> bool {
        let left = self.values.get().checked_sub(1).zip(self.bytes.get().checked_sub(bytes));
        let (values, bytes) = left.unwrap_or_default();
        self.values.set(values);
        self.bytes.set(bytes);
        if left.is_none() {
            self.is_whole.set(false);
        }
        left.is_some()
    }
}

/// Reads any JSON while there is room, and skips it without building it in memory from there on.
#[derive(Clone, Copy)]
struct Bounded<'r>(&'r Room);

impl Bounded<'_> {
    fn keep(self, value: impl Into<Value>) -> Option<Value> {
        self.0.takes(0).then(|| value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.0.is_left() {
            return deserializer.deserialize_any(self);
        }
        self.0.is_whole.set(false);
        IgnoredAny::deserialize(deserializer).map(|_| None)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Value>, E> {
        let kept = cut(text);
        if kept.len() < text.len() {
            self.0.is_whole.set(false);
        }
        Ok(self.0.takes(kept.len()).then(|| Value::from(kept)))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Option<Value>, E> {
        Ok(self.keep(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<Value>, E> {
        Ok(self.keep(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<Value>, E> {
        Ok(self.keep(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<Value>, E> {
        Ok(self.keep(number))
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(self.keep(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        let has_room = self.0.takes(0);
        let mut kept = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            kept.extend(item);
        }
        // Kept as far as there was room.
        Ok(has_room.then_some(Value::Array(kept)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<Value>, A::Error> {
        let has_room = self.0.takes(0);
        let mut kept = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Some(value) = entries.next_value_seed(self)? else { continue };
            let name = cut(&name);
            if kept.contains_key(name) {
                // The first stands.
                self.0.is_whole.set(false);
            } else if self.0.takes(name.len()) {
                kept.insert(name.to_owned(), value);
            }
        }
        Ok(has_room.then_some(Value::Object(kept)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &Value) -> Parameters {
        Parameters::read(&json.to_string())
    }

    #[test]
    fn what_a_call_asked_for_is_kept_as_it_is() {
        let selectors =
            json!([{ "readWriteType": "ReadOnly", "dataResources": [{ "values": ["arn:aws:s3"] }] }]);
        let asked =
            json!({ "trailName": "audit", "eventSelectors": selectors, "isMultiRegionTrail": false, "n": 7 });
        let parameters = read(&asked);
        assert!(parameters.is_whole());
        assert_eq!(parameters.text("trailName"), Some("audit"));
        assert_eq!(parameters.text("isMultiRegionTrail"), Some("false"));
        assert_eq!(parameters.get("eventSelectors"), Some(&selectors));
        assert_eq!((parameters.text("n"), parameters.get("n")), (None, Some(&json!(7))));
    }

    #[test]
    fn what_is_no_object_is_no_parameters() {
        for odd in [json!(null), json!(7), json!("text"), json!([{ "name": "audit" }])] {
            let parameters = read(&odd);
            assert_eq!((parameters.text("name"), parameters.is_whole()), (None, false), "{odd}");
        }
    }

    #[test]
    fn what_stands_twice_is_known_not_to_be_whole() {
        let twice = Parameters::read(r#"{"isMultiRegionTrail":true,"isMultiRegionTrail":false}"#);
        assert_eq!((twice.text("isMultiRegionTrail"), twice.is_whole()), (Some("true"), false));
    }

    /// Whoever makes the call chooses how much it asks for.
    #[test]
    fn what_is_beyond_a_bound_is_left_out_and_known_to_be() {
        let many = read(&json!({ "name": "audit", "values": vec![1; 100_000] }));
        assert_eq!((many.text("name"), many.is_whole()), (Some("audit"), false));
        let long = read(&json!({ "name": "audit", "values": vec!["x".repeat(5_000); 1_000] }));
        assert_eq!((long.text("name"), long.is_whole()), (Some("audit"), false));
        let kept = |parameters: &Parameters| serde_json::to_string(&parameters.values).expect("JSON").len();
        assert!(kept(&many) + kept(&long) < 2 * (MAX_TEXT_BYTES + 8 * MAX_VALUES));
        let hollow = read(&json!({ "name": "audit", "values": vec![json!({}); 100_000] }));
        assert!(!hollow.is_whole());
        assert!(kept(&hollow) < 8 * MAX_VALUES, "{}", kept(&hollow));
        let cut = read(&json!({ "name": "x".repeat(5_000) }));
        assert_eq!((cut.text("name").map(str::len), cut.is_whole()), (Some(2_048), false));
    }
}
