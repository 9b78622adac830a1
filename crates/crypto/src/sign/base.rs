//! The signature base of RFC 9421 section 2.5, and the one list of components that we cover.
//! Signing and verifying both build it here, so that they cannot drift apart.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The largest integer of structured fields (RFC 9651 section 3.3.1): 15 digits.
pub(super) const INTEGER_MAX: i64 = 999_999_999_999_999;

/// A covered component: its identifier as it stands in the signature base, quotes and parameters included, and its value.
pub(super) type Component<'a> = (&'static str, &'a str);

/// A component's value cannot stand in a signature base: it is empty, or has something else than visible ASCII and inner
/// blanks, or is no path or method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value of the component {component} cannot be signed; expected visible ASCII, no blank at either end"
)]
pub struct BadComponent {
    /// The component's identifier.
    pub component: &'static str,
}

const METHOD: &str = r#""@method";req"#;
const PATH: &str = r#""@path";req"#;
const REQUEST_DIGEST: &str = r#""content-digest";req"#;
const STATUS: &str = r#""@status""#;
const DIGEST: &str = r#""content-digest""#;

/// What we cover, in the order in which we cover it.
pub(super) fn components<'a>(
    method: &'a str,
    path: &'a str,
    request_content_digest: Option<&'a str>,
    status: &'a str,
    content_digest: &'a str,
) -> Vec<Component<'a>> {
    let mut components = vec![(METHOD, method), (PATH, path)];
    components.extend(request_content_digest.map(|digest| (REQUEST_DIGEST, digest)));
    components.extend([(STATUS, status), (DIGEST, content_digest)]);
    components
}

/// The inner list of the components' identifiers.
pub(super) fn covered(components: &[Component<'_>]) -> String {
    let identifiers: Vec<_> = components.iter().map(|(identifier, _)| *identifier).collect();
    format!("({})", identifiers.join(" "))
}

/// The value of `"@signature-params"` and of our member of `Signature-Input`. `kid` is base64url.
pub(super) fn parameters(components: &[Component<'_>], created: i64, expires: i64, kid: &str) -> String {
    let tag = super::TAG;
    let covered = covered(components);
    format!(r#"{covered};created={created};expires={expires};keyid="{kid}";alg="ed25519";tag="{tag}""#)
}

/// The text that is signed.
pub(super) fn signature_base(components: &[Component<'_>], parameters: &str) -> Result<String, BadComponent> {
    let mut text = String::new();
    for &(component, value) in components {
        let visible = |byte: &u8| byte.is_ascii_graphic();
        let fits = match component {
            METHOD => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            PATH => {
                value.starts_with('/')
                    && value.bytes().all(|byte| visible(&byte) && byte != b'?' && byte != b'#')
            }
            _ => value.bytes().all(|byte| visible(&byte) || byte == b' ') && value.trim() == value,
        };
        if value.is_empty() || !fits {
            return Err(BadComponent { component });
        }
        text.push_str(&format!("{component}: {value}\n"));
    }
    text.push_str(&format!("\"@signature-params\": {parameters}"));
    Ok(text)
}

/// A byte sequence of structured fields (RFC 9651 section 3.3.5).
pub(super) fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}
