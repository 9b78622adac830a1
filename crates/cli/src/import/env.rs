//! `.env` files. Values are taken as they stand: nothing is run and nothing is looked up, so a value that refers to another one is refused.
//!
//! A line is blank, a comment after `#`, or `NAME=VALUE`, with `export` before it if need be. A value in single quotes is literal; in double
//! quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` stand for what they do in C; both may go over several lines. One without quotes ends with
//! the line, or before a `#` that follows a blank, and is trimmed.

use keyward_crypto::{SecretText, Zeroizing};

use super::source::{Fault, Place, Places};
use super::{Found, Held};

/// Each name with its value, in the order in which they stand.
///
/// # Errors
/// Where a line is none of those above.
pub fn read(text: &str) -> Result<Vec<Found>, Fault> {
    let places = Places::of(text);
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (line, _) = split_line(rest);
        let begin = line.trim_start();
        if begin.is_empty() || begin.starts_with('#') {
            rest = split_line(rest).1;
            continue;
        }
        let place = places.of_part(begin);
        let (name, after) = name(rest, begin, &places)?;
        let (held, left) = value(after, &places)?;
        found.push(Found { place, path: vec![name], description: String::new(), held });
        rest = left;
    }
    Ok(found)
}

/// A line without its end, and what comes after it.
fn split_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

/// The name that a line begins with, and the text behind its `=`, up to the end of the file.
fn name<'t>(rest: &'t str, begin: &'t str, places: &Places<'_>) -> Result<(String, &'t str), Fault> {
    let fault = |at: &str, what: &str| Fault::new(places.of_part(at), what);
    let bare = match begin.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        _ => begin,
    };
    let Some((name, value)) = bare.split_once('=') else {
        return Err(fault(
            begin,
            "no `=` in this line; expected NAME=VALUE, a comment after `#`, or nothing",
        ));
    };
    let name = name.trim_end();
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(is_good) {
        return Err(fault(
            bare,
            "no name of a variable before `=`; expected letters, digits, `_`, `.` and `-`",
        ));
    }
    // The same place in the whole text: a value in quotes may go on in the next line.
    let offset = (value.as_ptr() as usize).saturating_sub(rest.as_ptr() as usize);
    Ok((name.to_owned(), rest.get(offset..).unwrap_or_default()))
}

/// The value that a text begins with, and what comes after its line.
fn value<'t>(text: &'t str, places: &Places<'_>) -> Result<(Held, &'t str), Fault> {
    let begin = text.trim_start_matches([' ', '\t']);
    match begin.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let opened = places.of_part(begin);
            let inner = begin.get(1..).unwrap_or_default();
            let (held, after) = quoted(inner, quote, opened, places)?;
            let (line, rest) = split_line(after);
            let left = line.trim_start();
            if !left.is_empty() && !left.starts_with('#') {
                let what =
                    "text after the closing quote; expected the end of the line, or a comment after `#`";
                return Err(Fault::new(places.of_part(left), what));
            }
            Ok((held, rest))
        }
        _ => {
            let (line, rest) = split_line(text);
            let comment = line.char_indices().zip(std::iter::once(' ').chain(line.chars()));
            let comment = comment.filter(|((_, c), before)| *c == '#' && before.is_whitespace());
            let end = comment.map(|((at, _), _)| at).next().unwrap_or(line.len());
            let value = line.get(..end).unwrap_or(line).trim();
            let held = match refers(value) {
                true => reference(),
                false => Held::of_text(SecretText::new(value.to_owned())),
            };
            Ok((held, rest))
        }
    }
}

/// What stands before the closing quote, and what comes after that.
fn quoted<'t>(
    inner: &'t str,
    quote: char,
    opened: Place,
    places: &Places<'_>,
) -> Result<(Held, &'t str), Fault> {
    let mut value = Zeroizing::new(String::with_capacity(inner.find(quote).unwrap_or(0)));
    let (mut is_reference, mut chars) = (false, inner.char_indices());
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let after = inner.get(at.saturating_add(c.len_utf8())..).unwrap_or_default();
            let held = match is_reference {
                true => reference(),
                false => Held::of_text(SecretText::new(std::mem::take(&mut *value))),
            };
            return Ok((held, after));
        }
        if quote == '"' && c == '\\' {
            value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, plain @ ('"' | '\\' | '$'))) => plain,
                Some((at, _)) => {
                    let place = places.of_part(inner.get(at..).unwrap_or_default());
                    let what = "an escape that is none; expected `\\n`, `\\r`, `\\t`, `\\\"`, `\\\\` or `\\$`, or single quotes around the value";
                    return Err(Fault::new(place, what));
                }
                None => break,
            });
            continue;
        }
        is_reference |= quote == '"' && c == '$' && refers(inner.get(at..).unwrap_or_default());
        value.push(c);
    }
    Err(Fault::new(
        opened,
        format!("a {quote} that is not closed; expected one more at the end of the value"),
    ))
}

/// Whether programs that read such files would put something else in the place of a part of it: `$NAME`, `${NAME}`, `$(command)`.
fn refers(value: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '(');
    value.split('$').skip(1).any(|after| after.starts_with(begins))
}

fn reference() -> Held {
    let what = "it refers to something else by `$`, which is not followed; write the value out, in single quotes where it has a `$` of its own";
    Held::Unfit(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Vec<(String, String)> {
        let found = read(text).expect("reads");
        let told = found.into_iter().map(|one| {
            let held = match one.held {
                Held::Text(text) => text.expose().to_owned(),
                Held::Nothing(why) => format!("<{why}>"),
                Held::Unfit(_) => "<refused>".to_owned(),
                Held::Fields(..) => unreachable!("a line has no fields"),
            };
            (one.path.concat(), held)
        });
        told.collect()
    }

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text = "\
# a comment

A=plain
export B = 'single # quoted $HOME'
C=\"two\\nlines \\\"x\\\" \\$\" # and a comment
D=a#b # comment
E=
F=\"\"
G='over
two lines'
  H=\tx y \r
I=$HOME/x
J=\"${A}\"
K=pa$$1word$
L=#nothing
";
        let expected = [
            ("A", "plain"),
            ("B", "single # quoted $HOME"),
            ("C", "two\nlines \"x\" $"),
            ("D", "a#b"),
            ("E", "<it is empty>"),
            ("F", "<it is empty>"),
            ("G", "over\ntwo lines"),
            ("H", "x y"),
            ("I", "<refused>"),
            ("J", "<refused>"),
            ("K", "pa$$1word$"),
            ("L", "<it is empty>"),
        ];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(texts(text), expected);
        assert_eq!(texts("A='x'"), [("A".to_owned(), "x".to_owned())]);
        let places: Vec<String> =
            read("A=1\r\n\r\n  B=2").expect("reads").iter().map(|one| one.place.to_string()).collect();
        assert_eq!(places, ["1:1", "3:3"]);
    }

    #[test]
    fn a_fault_says_where_and_never_what() {
        for (text, place, says) in [
            ("A=1\nhush", "2:1", "no `=`"),
            ("hu sh=1", "1:1", "no name"),
            ("=hush", "1:1", "no name"),
            ("A=1\n  B='hush\nC=2\n", "2:5", "not closed"),
            ("A=\"hush", "1:3", "not closed"),
            ("A=\"x\\hush\"", "1:6", "escape"),
            ("A='x'hush", "1:6", "after the closing quote"),
            ("A=\"hush\\", "1:3", "not closed"),
        ] {
            let fault = read(text).err().expect("refused");
            assert_eq!(fault.place.to_string(), place, "{text:?}");
            assert!(fault.what.contains(says) && !fault.what.contains("hush"), "{text:?}: {fault:?}");
        }
    }

    fn quoted(value: &str) -> String {
        let mut out = String::from("\"");
        for c in value.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '"' | '\\' | '$' => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
        out + "\""
    }

    proptest! {
        #[test]
        fn what_is_written_in_quotes_is_read_back(values in proptest::collection::vec("[^\\r\\u{0}]{1,40}", 0..6)) {
            let written: String = values.iter().enumerate().map(|(n, value)| format!("V{n}={}\n", super::tests::quoted(value))).collect();
            let expected: Vec<(String, String)> = values.into_iter().enumerate().map(|(n, value)| (format!("V{n}"), value)).collect();
            prop_assert_eq!(texts(&written), expected.clone());
            // Another reader of such files reads the same out of it.
            let theirs: Result<Vec<_>, _> = dotenvy::from_read_iter(written.as_bytes()).collect();
            prop_assert_eq!(theirs.expect("reads"), expected);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[A-Z=\"'\\\\\\n\\r$# {}x]{0,60}") {
            let _ = read(&text);
        }
    }
}
