//! What kind of credential a map of fields is.

use keyward_crypto::SecretText;
use keyward_domain::credential::Kind;

use super::Held;
use super::tree::Member;

/// Kinds that are known by the names of their fields.
const BY_FIELDS: [Kind; 3] = [Kind::Basic, Kind::OauthClient, Kind::Certificate];

/// A text once more, as a secret of its own.
pub fn copy(text: &SecretText) -> SecretText {
    SecretText::new(text.expose().to_owned())
}

/// The fields of a kind, where a map has exactly those that it needs, each with a text.
pub fn by_fields(members: &[Member]) -> Option<Held> {
    let held = |kind: Kind| {
        let mut fields = Vec::new();
        for member in members {
            let field = kind.fields().iter().find(|field| field.name == member.name)?;
            let text = member.node.text().filter(|text| !text.expose().is_empty())?;
            fields.push((field.name, copy(text)));
        }
        let is_there = |name: &str| fields.iter().filter(|(given, _)| *given == name).count();
        let fits = kind.fields().iter().all(|field| match is_there(field.name) {
            0 => field.is_optional,
            count => count == 1,
        });
        fits.then_some(Held::Fields(kind, fields))
    };
    BY_FIELDS.into_iter().find_map(held)
}
