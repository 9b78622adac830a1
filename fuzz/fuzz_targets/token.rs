//! Tokens: what parses has one spelling, what is minted parses, and a slip of the finger never passes.
#![no_main]

use arbitrary::Arbitrary;
use keyward_domain::base62::{self, WIDTH_32_BYTES};
use keyward_domain::key::Environment;
use keyward_domain::token::{self, VERSION_MAX};
use libfuzzer_sys::fuzz_target;

const CHECK_WIDTH: usize = 6;

#[derive(Debug, Arbitrary)]
struct Input {
    prefix: [u8; 12],
    prefix_length: u8,
    live: bool,
    id: [u8; 16],
    version: u16,
    secret: [u8; 32],
    at: u8,
    to: char,
}

/// The secret of a token that parses: what stands before the check.
fn secret_of(token: &str) -> [u8; 32] {
    let digits = &token[token.len() - CHECK_WIDTH - WIDTH_32_BYTES..token.len() - CHECK_WIDTH];
    base62::decode(digits).expect("it parsed")
}

fn one_spelling(text: &str) {
    if let Ok(parsed) = token::parse(text) {
        let secret = secret_of(text);
        let again = token::render(parsed.prefix, parsed.environment, &parsed.id, parsed.version, &secret);
        assert_eq!(again, text, "a second spelling");
    }
}

fuzz_target!(|data: &[u8]| {
    let (text, input) = keyward_fuzz::read::<Input>(data);
    one_spelling(text);
    let Some(input) = input else { return };

    let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let length = 2 + usize::from(input.prefix_length % 11);
    let prefix: String =
        input.prefix[..length].iter().map(|b| char::from(alphabet[usize::from(b % 36)])).collect();
    let environment = if input.live { Environment::Live } else { Environment::Test };
    let version = 1 + input.version % VERSION_MAX;
    let token = token::render(&prefix, environment, &input.id, version, &input.secret);
    let parsed = token::parse(&token).unwrap_or_else(|why| panic!("{token} was minted: {why}"));
    assert_eq!(
        (parsed.prefix, parsed.environment, parsed.id, parsed.version),
        (prefix.as_str(), environment, input.id, version)
    );
    assert_eq!(secret_of(&token), input.secret);

    let at = usize::from(input.at) % token.len();
    let (before, after) = token.split_at(at);
    let (was, rest) = after.split_at(1);
    if !was.starts_with(input.to) {
        assert!(
            token::parse(&format!("{before}{}{rest}", input.to)).is_err(),
            "one character replaced at {at}"
        );
    }
    assert!(token::parse(&format!("{before}{rest}")).is_err(), "one character left out at {at}");
    assert!(token::parse(&format!("{before}{}{after}", input.to)).is_err(), "one character too many at {at}");
    // Within what the CRC covers two neighbours are a burst of 16 bits, which it always finds.
    if at + 1 < token.len() - CHECK_WIDTH && rest.get(..1) != Some(was) {
        let (next, rest) = rest.split_at(1);
        assert!(token::parse(&format!("{before}{next}{was}{rest}")).is_err(), "two swapped at {at}");
    }
});
