//! How a text that somebody else wrote is shown: nothing of it may move a cursor, colour, reorder or hide what stands beside it.
//! Whoever prints names, reasons or problems goes through here; the text itself is never changed anywhere else.

use std::fmt::Write as _;

/// Whether a character acts on what stands around it: a control character (C0, DEL, C1), or a mark that reorders text or takes
/// no room.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` with every such character as `\n`, `\r`, `\t` or `\u{..}`.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => out.extend(character.escape_default()),
            _ if acts(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    out
}

/// JSON of the same meaning, in which no such character stands but the line feeds and blanks between values. Inside of strings
/// JSON itself allows most of them as they are.
pub fn shown_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        // A raw line feed can only stand between values: JSON forbids it inside of strings.
        if acts(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// A cell as RFC 4180 writes it. One that a spreadsheet would take for a formula is led by an apostrophe, which makes it text there
/// (OWASP, "CSV injection").
pub fn csv_cell(text: &str) -> String {
    let is_formula = text
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if !is_formula && !text.contains([',', '"', '\r', '\n']) {
        return text.to_owned();
    }
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_what_reads_is_not() {
        let table = [
            ("Grüße, 株式会社 & <b>", "Grüße, 株式会社 & <b>"),
            ("a\r\nSet-Cookie: x", "a\\r\\nSet-Cookie: x"),
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("tab\tand\u{7f}and\u{9b}2J", "tab\\tand\\u{7f}and\\u{9b}2J"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let name = "a\u{9b}2J\u{7f}\u{202e}\u{e0041}é";
        let json = format!("{{\n  \"name\": \"{name}\"\n}}");
        let shown = shown_json(&json);
        assert!(shown.chars().all(|c| c == '\n' || !acts(c)), "{shown}");
        let value: serde_json::Value = serde_json::from_str(&shown).expect("still JSON");
        assert_eq!(value.get("name").and_then(|v| v.as_str()), Some(name));
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b \"c\"", "\"a,b \"\"c\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("=cmd|'/C calc'!A0", "\"'=cmd|'/C calc'!A0\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(csv_cell(text), expected, "{text:?}");
        }
    }
}
