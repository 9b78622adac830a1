//! Scanning: in whatever bytes, what is found lies in them, in order and apart, a token of Keyward that is told is one, and one that stands
//! there is told.
#![no_main]

use arbitrary::Arbitrary;
use keyward_cli::scan::allowed::Allowed;
use keyward_cli::scan::rule::Rules;
use keyward_cli::scan::scanner::Scanner;
use keyward_domain::key::Environment;
use keyward_domain::token;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
    let rules =
        Rules::load(&[] as &[&Path]).unwrap_or_else(|_| panic!("the rules that the command comes with"));
    let allowed = Allowed::parse("").unwrap_or_else(|_| panic!("nothing"));
    Scanner::new(Some(rules), allowed).unwrap_or_else(|_| panic!("a scanner"))
});

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    id: [u8; 16],
    secret: [u8; 32],
    before: &'a [u8],
    behind: &'a [u8],
}

fn scan(content: &[u8]) -> Option<Vec<String>> {
    let found = SCANNER.scan("a/file.txt", content)?;
    let mut end = 0;
    let mut tokens = Vec::new();
    for found in found {
        if let Some(span) = &found.span {
            assert!(
                span.start >= end && content.get(span.clone()) == Some(&found.secret[..]),
                "not what stands there"
            );
            end = span.end;
        }
        if found.token.is_some() {
            let text = String::from_utf8(found.secret.to_vec()).expect("a token is ASCII");
            assert!(token::parse(&text).is_ok(), "no token");
            tokens.push(text);
        }
    }
    Some(tokens)
}

fuzz_target!(|data: &[u8]| {
    scan(data);
    let (_, input) = keyward_fuzz::read::<Input>(data);
    let Some(Input { id, secret, before, behind }) = input else { return };
    let planted = token::render("kw", Environment::Live, &id, 1, &secret);
    let content = [before, b"\n", planted.as_bytes(), b"\n", behind].concat();
    if let Some(tokens) = scan(&content) {
        let is_utf16 = content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]);
        assert!(tokens.contains(&planted) || is_utf16, "a token is not found");
    }
});
