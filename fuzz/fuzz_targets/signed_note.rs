//! Signed checkpoints: what was signed opens, and whatever opens says what was signed: the text of a note cannot be changed by a bit.
#![no_main]

use arbitrary::Arbitrary;
use keyward_crypto::note::{Checkpoint, LogKeys, VerifierKey, open};
use keyward_fuzz::CREATED;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const ORIGIN: &str = "keyward.invalid/3f9c2a";

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    epoch: u32,
    size: u64,
    root: [u8; 32],
    at: u16,
    flip: u8,
    cut: u16,
    line: &'a str,
}

static KEYS: LazyLock<(LogKeys, LogKeys)> = LazyLock::new(|| {
    let keys = |fill| {
        let document = LogKeys::generate([fill; 32], ORIGIN, CREATED).expect("a good origin");
        LogKeys::parse(document.expose()).expect("its own document")
    };
    (keys(1), keys(2))
});

fn verifiers(keys: &LogKeys, epoch: u32) -> Vec<VerifierKey> {
    keys.verifier_keys(epoch).iter().map(|key| VerifierKey::parse(key).expect("our own")).collect()
}

fuzz_target!(|data: &[u8]| {
    let (text, input) = keyward_fuzz::read::<Input>(data);
    let (ours, others) = &*KEYS;

    // Any text: nobody signed it, so it never opens; and a key has one spelling.
    assert!(open(text, &verifiers(ours, 1)).is_err());
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }

    let Some(input) = input else { return };
    let known = verifiers(ours, input.epoch);

    let note = ours.sign(input.epoch, input.size, &input.root);
    let signed = Checkpoint { origin: ours.origin(input.epoch), size: input.size, root: input.root };
    assert_eq!(open(&note, &known).as_ref(), Ok(&signed));
    assert!(open(&note, &verifiers(others, input.epoch)).is_err(), "signed by another");
    assert!(open(&note, &verifiers(ours, input.epoch ^ 1)).is_err(), "of another epoch");

    let mut bytes = note.clone().into_bytes();
    let at = usize::from(input.at) % bytes.len();
    bytes[at] ^= input.flip;
    if let Ok(changed) = String::from_utf8(bytes)
        && changed != note
    {
        assert!(open(&changed, &known).is_err(), "byte {at} changed");
    }
    let cut = usize::from(input.cut) % note.len();
    if let Some(start) = note.get(..cut) {
        assert!(open(start, &known).is_err(), "cut after {cut}");
    }
    // A line more is another's signature, or none: either way the text stays what was signed.
    for more in [format!("{note}{}\n", input.line), format!("{note}\u{2014} {}\n", input.line)] {
        if let Ok(opened) = open(&more, &known) {
            assert_eq!(opened, signed, "{more:?}");
        }
    }
    let before = format!("{}\n{note}", input.line);
    assert!(open(&before, &known).is_err(), "a line before");
});
