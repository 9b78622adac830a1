//! A request's body as strict JSON: bounded, UTF-8, no field twice, no unknown field, each fault told by field, reason and what
//! was expected. A value of the body is never repeated: it may be a secret.

use keyward_domain::{Code, Error, FieldError, Result, token};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Segment;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// How deep objects and arrays may lie in one another; no route takes more than four.
const DEPTH_MAX: usize = 16;
/// The longest name of a field that is repeated in an error, in bytes.
const NAME_SHOWN_BYTES_MAX: usize = 64;
/// What stands where a name is not fit to be shown.
const NAME_HIDDEN: &str = "(a name that is not shown)";

/// The error for a body over so many bytes.
pub fn too_large(bytes_max: usize) -> Error {
    Error::new(Code::BodyTooLarge, format!("the body is larger than {bytes_max} bytes"))
}

/// Whether a `Content-Type` says JSON: `application/json`, in UTF-8 where it names a charset.
pub fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return false };
    let mut parts = text.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Reads `bytes` as the JSON object that a route takes.
///
/// # Errors
/// [`Code::InvalidBody`] where the bytes are no JSON; [`Code::InvalidField`] where a field is unknown, missing, doubled or of
/// another type.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let invalid = |detail: String| Error::new(Code::InvalidBody, detail);
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("the body is not UTF-8".to_owned()))?;
    if text.trim().is_empty() {
        return Err(invalid("the body is empty; expected a JSON object".to_owned()));
    }
    if !text.trim_start().starts_with('{') {
        return Err(invalid("the body is no JSON object".to_owned()));
    }
    check_shape(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| Error::fields(vec![finding(error.path(), &error.inner().to_string())]))
}

/// A first pass that knows no types: syntax, depth, and that no object names a field twice.
fn check_shape(text: &str) -> Result<()> {
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Shape { place: Place::Root, depth: 0, found: &found }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (outcome, found.into_inner()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(finding)) => Err(Error::fields(vec![finding])),
        (Err(fault), None) => Err(Error::new(
            Code::InvalidBody,
            format!("the body is no JSON: fault at line {}, column {}", fault.line(), fault.column()),
        )),
    }
}

/// Where in the body a value lies.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Entry(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Place::Root, name) => f.write_str(shown_name(name)),
            Self::Field(parent, name) => write!(f, "{parent}.{}", shown_name(name)),
            Self::Entry(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Looks at one value for [`check_shape`].
struct Shape<'a> {
    place: Place<'a>,
    depth: usize,
    found: &'a RefCell<Option<FieldError>>,
}

impl Shape<'_> {
    fn fault<E: de::Error>(&self, place: Place<'_>, reason: &str, expected: &str) -> E {
        *self.found.borrow_mut() = Some(FieldError::new(place.to_string(), reason, expected));
        E::custom(reason)
    }

    fn check_depth<E: de::Error>(&self) -> Result<(), E> {
        match self.depth < DEPTH_MAX {
            true => Ok(()),
            false => Err(self.fault(self.place, "lies too deep", "at most 16 levels")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut index = 0_usize;
        loop {
            let place = Place::Entry(&self.place, index);
            match entries.next_element_seed(Shape {
                place,
                depth: self.depth.saturating_add(1),
                found: self.found,
            })? {
                Some(()) => index = index.saturating_add(1),
                None => return Ok(()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            let place = Place::Field(&self.place, &name);
            if seen.contains(&name) {
                return Err(self.fault(place, "stands twice", "each field once"));
            }
            fields.next_value_seed(Shape {
                place,
                depth: self.depth.saturating_add(1),
                found: self.found,
            })?;
            seen.insert(name);
        }
        Ok(())
    }
}

/// A name that a caller made up, where it may be repeated to them: plain, short, and no token.
pub(crate) fn shown_name(name: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let fit = !name.is_empty() && name.len() <= NAME_SHOWN_BYTES_MAX && name.bytes().all(plain);
    if fit && token::parse(name).is_err() { name } else { NAME_HIDDEN }
}

/// Names in backticks, separated by commas.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The parser's message as a finding. Of the message only what our own types say is repeated, never what the caller sent.
fn finding(path: &serde_path_to_error::Path, message: &str) -> FieldError {
    let message = match message.rfind(" at line ") {
        Some(end) => message.get(..end).unwrap_or_default(),
        None => message,
    };
    let expected = message.rfind(", expected ").and_then(|at| message.get(at + ", expected ".len()..));
    let place = place(path);
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.strip_suffix('`').unwrap_or(rest);
        let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        return FieldError::new(place, "is missing", "this field to be given");
    }
    // The path ends in the very name that is unknown.
    if message.starts_with("unknown field `") {
        return FieldError::new(place, "is unknown", expected.unwrap_or("no such field"));
    }
    let place = if place.is_empty() { "(the body)".to_owned() } else { place };
    if message.starts_with("unknown variant `") {
        return FieldError::new(
            place,
            "is none of the values known here",
            expected.unwrap_or("another value"),
        );
    }
    if let Some(rest) = message.strip_prefix("invalid type: ") {
        return FieldError::new(place, kind(rest), expected.map_or("another type", type_name));
    }
    if message.starts_with("invalid value: ") {
        return FieldError::new(place, "is out of range", expected.map_or("another value", type_name));
    }
    if message.starts_with("invalid length ") {
        return FieldError::new(
            place,
            "has a wrong number of entries",
            expected.unwrap_or("another number of entries"),
        );
    }
    // Messages of our own types: `<reason>; expected <what>` or `expected <what>`.
    match message.split_once("; expected ") {
        Some((reason, expected)) => FieldError::new(place, reason, expected),
        None => match message.strip_prefix("expected ") {
            Some(expected) => FieldError::new(place, "is not valid", expected),
            None => FieldError::new(place, "is not valid", "another value"),
        },
    }
}

fn place(path: &serde_path_to_error::Path) -> String {
    let mut out = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(shown_name(name));
            }
            Segment::Unknown => {}
        }
    }
    out
}

/// What the caller sent, by its kind alone: the message goes on with the value.
fn kind(message: &str) -> &'static str {
    const KINDS: [(&str, &str); 8] = [
        ("string", "is a string"),
        ("integer", "is a whole number"),
        ("floating point", "is a number with a fraction"),
        ("boolean", "is a boolean"),
        ("null", "is null"),
        ("sequence", "is an array"),
        ("map", "is an object"),
        ("unit", "is null"),
    ];
    KINDS.iter().find(|(word, _)| message.starts_with(word)).map_or("is of another type", |(_, said)| said)
}

/// A type as people who write JSON call it.
fn type_name(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a map" => "an object",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::key::Environment;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        environment: Environment,
        #[serde(default)]
        scopes: Vec<String>,
        expires_in_s: Option<u32>,
        #[serde(default)]
        rules: Option<Rules>,
        application: Option<keyward_domain::ApplicationId>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Rules {
        network: Vec<String>,
    }

    fn refused(body: &str) -> Error {
        parse_json::<Sample>(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn each_fault_names_field_reason_and_what_is_expected() {
        let secret = token::render("kw", Environment::Live, &[7; 16], 1, &[9; 32]);
        let unknown = format!(r#"{{"name":"n","environment":"live","{secret}":1}}"#);
        let fields = "one of `name`, `environment`, `scopes`, `expires_in_s`, `rules`, `application`";
        let cases: &[(&str, [&str; 3])] = &[
            (r#"{"environment":"live"}"#, ["name", "is missing", "this field to be given"]),
            (r#"{"name":1,"environment":"live"}"#, ["name", "is a whole number", "a string"]),
            (r#"{"name":null,"environment":"live"}"#, ["name", "is null", "a string"]),
            (
                r#"{"name":"n","environment":"prod"}"#,
                ["environment", "is none of the values known here", "`live` or `test`"],
            ),
            (r#"{"name":"n","environment":"live","scopes":"a"}"#, ["scopes", "is a string", "an array"]),
            (
                r#"{"name":"n","environment":"live","scopes":["a",{}]}"#,
                ["scopes[1]", "is an object", "a string"],
            ),
            (
                r#"{"name":"n","environment":"live","expires_in_s":-1}"#,
                ["expires_in_s", "is out of range", "a whole number, 0 or more"],
            ),
            (
                r#"{"name":"n","environment":"live","expires_in_s":1.5}"#,
                ["expires_in_s", "is a number with a fraction", "a whole number, 0 or more"],
            ),
            (
                r#"{"name":"n","environment":"live","expires_in_s":99999999999}"#,
                ["expires_in_s", "is out of range", "a whole number, 0 or more"],
            ),
            (r#"{"name":"n","environment":"live","naem":"x"}"#, ["naem", "is unknown", fields]),
            (
                r#"{"name":"n","environment":"live","a`, expected `b":"x"}"#,
                [NAME_HIDDEN, "is unknown", fields],
            ),
            (&unknown, [NAME_HIDDEN, "is unknown", fields]),
            (
                r#"{"name":"n","environment":"live","rules":{"network":[],"nets":1}}"#,
                ["rules.nets", "is unknown", "`network`"],
            ),
            (
                r#"{"name":"n","environment":"live","rules":{}}"#,
                ["rules.network", "is missing", "this field to be given"],
            ),
            (r#"{"name":"n","environment":"live","rules":3}"#, ["rules", "is a whole number", "an object"]),
            (r#"{"name":"n","name":"m","environment":"live"}"#, ["name", "stands twice", "each field once"]),
            (
                r#"{"rules":{"network":[],"network":[]}}"#,
                ["rules.network", "stands twice", "each field once"],
            ),
            (
                r#"{"name":"n","environment":"live","application":"x, expected y"}"#,
                ["application", "is not valid", "`app_` followed by 22 characters of `0-9A-Za-z`"],
            ),
        ];
        for (body, [field, reason, expected]) in cases {
            let error = refused(body);
            assert_eq!(error.code, Code::InvalidField, "{body}");
            assert_eq!(error.fields, [FieldError::new(*field, *reason, *expected)], "{body}");
            assert!(!error.detail.contains(&secret));
        }
    }

    #[test]
    fn a_value_is_never_repeated() {
        for body in [
            r#"{"name":{"hush-hush":"hush-hush"},"environment":"live"}"#,
            r#"{"name":"n","environment":"hush-hush"}"#,
            r#"{"name":"n","environment":"live","scopes":"hush-hush"}"#,
            r#"{"name":"n","environment":"live","application":"hush-hush"}"#,
            r#"{"name":"n","environment":"live","expires_in_s":"hush-hush, expected hush-hush"}"#,
            r#"{"name":"hush-hush" hush-hush"#,
        ] {
            let error = refused(body);
            assert!(!format!("{error:?}").contains("hush-hush"), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for body in
            ["", "  ", "{", "[]", "3", "null", "{}x", r#"{"name":"n",}"#, "{'name':1}", "{\"a\":\"\u{1}\"}"]
        {
            assert_eq!(refused(body).code, Code::InvalidBody, "{body}");
        }
        assert_eq!(refused(&deep).fields.first().map(|f| f.reason.as_str()), Some("lies too deep"));
        assert_eq!(parse_json::<Sample>(b"{\"name\":\"\xff\"}").map_err(|e| e.code), Err(Code::InvalidBody));
    }

    #[test]
    fn a_right_body_is_read() {
        let sample = parse_json::<Sample>(br#" {"name":"Zo\u00eb","environment":"test","scopes":["a"]} "#);
        assert_eq!(sample.map(|s| (s.name, s.scopes.len())), Ok(("Zoë".to_owned(), 1)));
    }

    #[test]
    fn media_types() {
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
        assert!(!is_json(b"\xff"));
    }
}
