//! Imported tokens: a digest has one spelling but for the case of its digits, and no text is a token of Keyward and of another system at once.
#![no_main]

use keyward_domain::imported::{self, Digest};
use keyward_domain::token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(digest) = text.parse::<Digest>() {
        assert!(digest.to_string().eq_ignore_ascii_case(&text), "a second spelling");
        assert_eq!(digest.secret().len(), 7 + digest.algorithm().length());
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
    let is_ours = token::parse(&text).is_ok();
    let is_importable = imported::is_importable(&text);
    assert!(!(is_ours && is_importable), "a token of Keyward could be imported");
    assert_eq!(imported::may_be_token(&text), is_ours || is_importable);
    assert!(
        !is_importable || (text.len() <= imported::LENGTH_MAX && !text.contains([',', ' '])),
        "no value of a header"
    );
    // What carries more than it can has more than 80 bits: 8 for each byte at most.
    assert!(imported::is_weak(&text) || text.len() > 10);
});
