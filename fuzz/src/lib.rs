//! What targets share: how they read an input, rings of known keys, and texts out of few words, so that a mutation meets itself again.
//! Nothing here asserts anything; the properties stand in the targets.

use arbitrary::{Arbitrary, Unstructured};
use keyward_crypto::{Ring, RingDocument, Sealer};

/// When the rings of all targets were made.
pub const CREATED: &str = "2026-01-31T08:00:00Z";

/// An input as text, which is how seeds are written, and as a structure made of the same bytes.
pub fn read<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> (&'a str, Option<T>) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    (text, T::arbitrary_take_rest(Unstructured::new(data)).ok())
}

/// A sealer over one version whose key is 32 times `fill`, which is not 0.
pub fn sealer(fill: u8) -> Sealer {
    let document = RingDocument::generate([fill; 32], CREATED).expect("a key that is not zero");
    Sealer::new(Ring::parse("fuzz", document.to_json().expose()).expect("its own document"))
}

/// A word of few: two of them are often the same, or one the other's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub &'static str);

impl<'a> Arbitrary<'a> for Word {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        u.choose(&["a", "b", "ab", "a.b", "read", "0"]).map(|word| Self(word))
    }
}
