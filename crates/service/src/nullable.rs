//! Fields of a request where null means something else than absence: "none of its own", not "as it was".

use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = ...)]`: `None` where the field is absent, `Some(None)` where it is null.
///
/// # Errors
/// Those of the value.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
