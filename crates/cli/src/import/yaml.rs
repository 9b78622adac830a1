//! YAML 1.2, one document. An alias means what its anchor marks and costs what that costs; tags of programs' own and merges are refused,
//! since what they stand for is for those programs to say.

use std::collections::HashMap;
use std::rc::Rc;

use keyward_crypto::SecretText;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::source::{Fault, Place};
use super::tree::{DEPTH_MAX, Member, Node, ScalarType, Shape};

/// What a text of YAML says.
///
/// # Errors
/// It is no YAML, has more than one document, is too deep, or has what is refused.
pub fn read(text: &str) -> Result<Rc<Node>, Fault> {
    let mut reader = Reader { anchors: HashMap::new(), open: Vec::new(), root: None };
    for event in Parser::new_from_str(text) {
        // The parser's own words may quote what it found.
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let place = Place { line: marker.line().max(1), column: marker.col().saturating_add(1) };
            Fault::new(place, "no YAML here")
        })?;
        reader.take(event, span)?;
    }
    reader.root.ok_or_else(|| Fault::new(Place { line: 1, column: 1 }, "it is empty"))
}

/// A map or list that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    shape: OpenShape,
}

enum OpenShape {
    /// Its members, and the name of the one that comes next.
    Map(Vec<Member>, Option<(String, Place)>),
    List(Vec<Rc<Node>>),
}

struct Reader {
    anchors: HashMap<usize, Rc<Node>>,
    open: Vec<Open>,
    root: Option<Rc<Node>>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let place = Place { line: span.start.line().max(1), column: span.start.col().saturating_add(1) };
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Fault::new(place, "a second document; expected one in a file"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                if self.takes_name() {
                    return self.name(text.into_owned(), is_text, place);
                }
                let shape = scalar(text.into_owned(), is_text);
                self.put(anchor, Node { place, shape })
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.begin(place, anchor, OpenShape::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.begin(place, anchor, OpenShape::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { place, anchor, shape }) = self.open.pop() else {
                    return Err(Fault::new(place, "no YAML here"));
                };
                let shape = match shape {
                    OpenShape::Map(members, _) => Shape::Map(members),
                    OpenShape::List(elements) => Shape::List(elements),
                };
                self.put(anchor, Node { place, shape })
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(_) if self.takes_name() => {
                    Err(Fault::new(place, "an alias as a name; write the name out"))
                }
                Some(node) => self.add(node),
                None => Err(Fault::new(place, "an alias of what is not whole yet; write it out")),
            },
            _ => Ok(()),
        }
    }

    /// Whether what comes next is the name of a member.
    fn takes_name(&self) -> bool {
        matches!(self.open.last(), Some(Open { shape: OpenShape::Map(_, None), .. }))
    }

    fn name(&mut self, name: String, is_text: bool, place: Place) -> Result<(), Fault> {
        if name == "<<" && !is_text {
            return Err(Fault::new(place, "a merge by `<<`, which is not followed; write its members out"));
        }
        if let Some(Open { shape: OpenShape::Map(_, next), .. }) = self.open.last_mut() {
            *next = Some((name, place));
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, anchor: usize, shape: OpenShape) -> Result<(), Fault> {
        if self.takes_name() {
            return Err(Fault::new(place, "a map or a list as a name; expected a text"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::new(place, format!("more than {DEPTH_MAX} values lie in each other here")));
        }
        self.open.push(Open { place, anchor, shape });
        Ok(())
    }

    fn put(&mut self, anchor: usize, node: Node) -> Result<(), Fault> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(node)
    }

    fn add(&mut self, node: Rc<Node>) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(Open { shape: OpenShape::List(elements), .. }) => elements.push(node),
            Some(Open { shape: OpenShape::Map(members, next), .. }) => match next.take() {
                Some((name, place)) => members.push(Member { name, place, node }),
                None => return Err(Fault::new(node.place, "a name that is no text")),
            },
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn check_tag(tag: Option<&Tag>, place: Place) -> Result<(), Fault> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(Fault::new(
            place,
            "a tag that only some program understands; write the value itself, without `!`",
        )),
        _ => Ok(()),
    }
}

/// What a scalar is, by the core schema (YAML 1.2.2, 10.3.2) as far as JSON has it.
fn scalar(text: String, is_text: bool) -> Shape {
    if is_text {
        return Shape::Scalar(ScalarType::Text, SecretText::new(text));
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Shape::Null,
        literal if is_literal(literal) => Shape::Scalar(ScalarType::Literal, SecretText::new(text)),
        _ => Shape::Scalar(ScalarType::Text, SecretText::new(text)),
    }
}

fn is_literal(text: &str) -> bool {
    let begins =
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || matches!(text, "true" | "false");
    begins && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::tree::Visits;
    use proptest::prelude::*;

    fn json(text: &str) -> String {
        let node = read(text).expect("reads");
        node.to_json(&mut Visits::default()).expect("few").expose().to_owned()
    }

    #[test]
    fn documents_are_read_as_people_write_them() {
        let text = "\
---
# a comment
db:
  username: shop
  password: 'it''s # hush'
  port: 5432
  is_on: true
  no: no
pem: |
  -----BEGIN
  x
empty: ~
list: [a, \"b\\n\", 0x1f, 1e3, 007]
base: &base {a: 1}
other: *base
";
        assert_eq!(
            json(text),
            "{\"db\":{\"username\":\"shop\",\"password\":\"it's # hush\",\"port\":5432,\"is_on\":true,\"no\":\"no\"},\
             \"pem\":\"-----BEGIN\\nx\\n\",\"empty\":null,\"list\":[\"a\",\"b\\n\",\"0x1f\",1e3,\"007\"],\
             \"base\":{\"a\":1},\"other\":{\"a\":1}}"
        );
        let node = read("a: 1\nb:\n  c: &x 2\n").expect("reads");
        let inner = &node.members().expect("a map")[1];
        assert_eq!(
            (inner.place.to_string(), inner.node.members().expect("a map")[0].place.to_string()),
            ("2:1".to_owned(), "3:3".to_owned())
        );
    }

    #[test]
    fn a_fault_says_where_and_never_what() {
        for (text, place, says) in [
            ("a: 1\nb: hush: x", "2:8", "no YAML"),
            ("a: !vault hush", "1:4", "tag"),
            ("a: &x {b: 1}\nc: {<<: *x}", "2:5", "merge"),
            ("a: 1\n---\nb: 2", "2:1", "second document"),
            ("[a]: 1", "1:1", "as a name"),
            ("", "1:1", "empty"),
            ("a: *hush", "1:4", "no YAML"),
            ("a: &x [*x]", "1:8", "not whole"),
        ] {
            let fault = read(text).err().unwrap_or_else(|| panic!("{text:?} is read"));
            assert!(fault.what.contains(says) && !fault.what.contains("hush"), "{text:?}: {fault:?}");
            assert_eq!(fault.place.to_string(), place, "{text:?} {fault:?}");
        }
        assert!(read(&"[".repeat(100)).err().expect("refused").what.contains("32"));
        assert!(read(&"[".repeat(200_000)).is_err(), "no stack is used up");
    }

    #[test]
    fn what_is_meant_often_costs_as_often() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..20 {
            let before = n - 1;
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
        }
        let node = read(&text).expect("it is short as it stands");
        assert!(node.to_json(&mut Visits::default()).is_none(), "and is not written out");
    }

    proptest! {
        #[test]
        fn json_is_yaml(map in proptest::collection::btree_map("[a-z]{1,6}", "[ -~\\n\\u{e4}]{0,20}", 0..5)) {
            let text = serde_json::to_string(&map).expect("JSON");
            prop_assert_eq!(json(&text), text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[a-b:\\-\\[\\]{}&*!|>\"'# \\n]{0,60}") {
            let _ = read(&text);
        }
    }
}
