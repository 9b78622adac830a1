//! JSON, with the place of each value: `serde_json` says whether it is JSON and reads texts; where a value stands follows from the part of
//! the input that it is.

use std::rc::Rc;

use keyward_crypto::SecretText;
use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::source::{Fault, Place, Places};
use super::tree::{DEPTH_MAX, Member, Node, ScalarType, Shape};

/// What a text of JSON says.
///
/// # Errors
/// It is no JSON, or too deep.
pub fn read(text: &str) -> Result<Node, Fault> {
    // Of the whole first: what is found in a part has no line of the file.
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = Place { line: error.line().max(1), column: error.column().max(1) };
        Fault::new(place, if error.is_eof() { "the JSON ends too early" } else { "no JSON here" })
    })?;
    node(raw, &Places::of(text), 0)
}

/// What each line says, where each is JSON; lines without anything are passed over.
///
/// # Errors
/// A line is no JSON, or too deep.
pub fn read_lines(text: &str) -> Result<Vec<Node>, Fault> {
    let places = Places::of(text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let nodes = lines.map(|line| {
        let raw: &RawValue = serde_json::from_str(line).map_err(|error| {
            let start = places.of_part(line);
            Fault::new(
                Place { column: error.column().max(1), ..start },
                "no JSON here; expected one object in each line",
            )
        })?;
        node(raw, &places, 0)
    });
    nodes.collect()
}

fn node(raw: &RawValue, places: &Places<'_>, depth: usize) -> Result<Node, Fault> {
    let text = raw.get();
    let place = places.of_part(text);
    if depth > DEPTH_MAX {
        return Err(Fault::new(place, format!("more than {DEPTH_MAX} values lie in each other here")));
    }
    let broken = |_| Fault::new(place, "no JSON here");
    let shape = match text.as_bytes().first() {
        Some(b'{') => {
            let members =
                serde_json::Deserializer::from_str(text).deserialize_map(Members).map_err(broken)?;
            let members = members.into_iter().map(|(name, raw)| {
                let node = Rc::new(node(raw, places, depth.saturating_add(1))?);
                Ok(Member { name, place: node.place, node })
            });
            Shape::Map(members.collect::<Result<_, Fault>>()?)
        }
        Some(b'[') => {
            let elements =
                serde_json::Deserializer::from_str(text).deserialize_seq(Elements).map_err(broken)?;
            let elements =
                elements.into_iter().map(|raw| node(raw, places, depth.saturating_add(1)).map(Rc::new));
            Shape::List(elements.collect::<Result<_, Fault>>()?)
        }
        Some(b'"') => Shape::Scalar(ScalarType::Text, serde_json::from_str(text).map_err(broken)?),
        Some(b'n') => Shape::Null,
        _ => Shape::Scalar(ScalarType::Literal, SecretText::new(text.to_owned())),
    };
    Ok(Node { place, shape })
}

/// Members as parts of the input, repeated ones included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Elements as parts of the input.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::tree::Visits;
    use proptest::prelude::*;

    #[test]
    fn each_value_has_its_place() {
        let node = read("{\n  \"a\": \"x\\n\",\n  \"b\": [1, {\"c\": null}], \"a\": true}").expect("reads");
        let members = node.members().expect("a map");
        let told: Vec<String> =
            members.iter().map(|member| format!("{} {}", member.name, member.place)).collect();
        assert_eq!(told, ["a 2:8", "b 3:8", "a 3:31"]);
        assert_eq!(members[0].node.text().map(SecretText::expose), Some("x\n"));
        assert!(node.member("a").is_none(), "there are two");
        assert_eq!(
            node.to_json(&mut Visits::default()).expect("JSON").expose(),
            "{\"a\":\"x\\n\",\"b\":[1,{\"c\":null}],\"a\":true}"
        );
    }

    #[test]
    fn a_fault_says_where_and_never_what() {
        for (text, place) in [
            ("{\"a\":\n \"hush\" \"b\"}", "2:9"),
            ("", "1:1"),
            ("{\"hush\"", "1:7"),
            ("hush", "1:1"),
            ("{} hush", "1:4"),
        ] {
            let fault = read(text).err().expect("refused");
            assert_eq!(fault.place.to_string(), place, "{text:?} {fault:?}");
            assert!(!fault.what.contains("hush"), "{fault:?}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(read(&deep).err().expect("refused").what.contains("32"));
        assert!(read(&"[".repeat(1_000_000)).is_err(), "no stack is used up");
        assert_eq!(read_lines("{}\n\n{\"a\":1}\nhush").err().expect("refused").place.to_string(), "4:1");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(value in any_json()) {
            let text = serde_json::to_string_pretty(&value).expect("JSON");
            let json = read(&text).expect("reads").to_json(&mut Visits::default()).expect("few");
            let again: serde_json::Value = serde_json::from_str(json.expose()).expect("JSON");
            prop_assert_eq!(again, value);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                proptest::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
