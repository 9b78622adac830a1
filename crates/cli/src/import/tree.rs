//! What JSON and YAML have in common: maps, lists and texts, each with the place where it stands.

use std::rc::Rc;

use keyward_crypto::{SecretText, Zeroizing};

use super::source::Place;

/// How deep maps and lists may lie in each other.
pub const DEPTH_MAX: usize = 32;
/// How much may be visited in one file: what is written once and meant often counts as often as it is meant.
pub const VISITS_MAX: usize = 1_000_000;

/// Something, and where it stands.
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub shape: Shape,
}

/// What a node is. What is meant several times is there once.
pub enum Shape {
    /// A text, or a number or a truth value as it is written; which of both, and its text.
    Scalar(ScalarType, SecretText),
    /// Nothing.
    Null,
    /// Members in the order in which they stand.
    Map(Vec<Member>),
    /// Elements.
    List(Vec<Rc<Node>>),
}

/// Whether a scalar is a text to JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    /// It is.
    Text,
    /// It is a number, `true` or `false`, and a text of JSON as it stands.
    Literal,
}

/// A member of a map.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// What it is.
    pub node: Rc<Node>,
}

impl Node {
    /// Its members, where it is a map.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.shape {
            Shape::Map(members) => Some(members),
            _ => None,
        }
    }

    /// Its member of this name, where it is a map that has exactly one.
    pub fn member(&self, name: &str) -> Option<&Node> {
        let mut named = self.members()?.iter().filter(|member| member.name == name);
        let first = named.next();
        first.filter(|_| named.next().is_none()).map(|member| &*member.node)
    }

    /// Its text, where it is a scalar.
    pub fn text(&self) -> Option<&SecretText> {
        match &self.shape {
            Shape::Scalar(_, text) => Some(text),
            _ => None,
        }
    }

    /// All of it as JSON. None where more would be visited than `visits` allows.
    pub fn to_json(&self, visits: &mut Visits) -> Option<SecretText> {
        let mut out = Zeroizing::new(String::new());
        self.write_json(&mut out, visits)?;
        Some(SecretText::new(std::mem::take(&mut *out)))
    }

    fn write_json(&self, out: &mut String, visits: &mut Visits) -> Option<()> {
        visits.count()?;
        match &self.shape {
            Shape::Null => out.push_str("null"),
            Shape::Scalar(ScalarType::Literal, text) => out.push_str(text.expose()),
            Shape::Scalar(ScalarType::Text, text) => {
                let text = Zeroizing::new(serde_json::to_string(text.expose()).ok()?);
                out.push_str(&text);
            }
            Shape::Map(members) => {
                let mut lead = '{';
                for member in members {
                    out.push(lead);
                    out.push_str(&serde_json::to_string(&member.name).ok()?);
                    out.push(':');
                    member.node.write_json(out, visits)?;
                    lead = ',';
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
            Shape::List(elements) => {
                let mut lead = '[';
                for element in elements {
                    out.push(lead);
                    element.write_json(out, visits)?;
                    lead = ',';
                }
                out.push_str(if elements.is_empty() { "[]" } else { "]" });
            }
        }
        Some(())
    }
}

/// How much may still be visited.
pub struct Visits(usize);

impl Default for Visits {
    fn default() -> Self {
        Self(VISITS_MAX)
    }
}

impl Visits {
    /// One more; none where that is too many.
    pub fn count(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}
