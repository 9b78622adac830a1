//! Reports of leaked tokens as GitHub's secret scanning signs them: ECDSA over P-256 with SHA-256, of the body as it was sent.
//! <https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

/// The public keys that reports are signed with, as GitHub publishes them.
pub struct ReportKeys(Vec<(String, VerifyingKey)>);

/// A text is no document of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no document of public keys; expected {{\"public_keys\":[{{\"key_identifier\":\"...\",\"key\":\"-----BEGIN PUBLIC KEY-----...\"}}]}} with keys on P-256"
)]
pub struct NotReportKeys;

/// Why a report is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nobody published such a key, as far as is known here.
    #[error("signed with a key that is not among the published ones")]
    UnknownKey,
    /// The signature is not that key's over this body.
    #[error("the signature is not that of the body as it was sent")]
    NotAuthentic,
}

#[derive(Deserialize)]
struct Document {
    public_keys: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    key_identifier: String,
    key: String,
}

impl ReportKeys {
    /// Parses the document. Members that it has beside these are passed over.
    ///
    /// # Errors
    /// [`NotReportKeys`].
    pub fn parse(json: &str) -> Result<Self, NotReportKeys> {
        let Document { public_keys } = serde_json::from_str(json).map_err(|_| NotReportKeys)?;
        let keys = public_keys.into_iter().map(|published| {
            let key = VerifyingKey::from_public_key_pem(&published.key).map_err(|_| NotReportKeys)?;
            Ok((published.key_identifier, key))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Passes where `body` was signed with the key of this identifier; `signature` is ASN.1 DER in base64.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn verify(&self, identifier: &str, signature: &str, body: &[u8]) -> Result<(), ReportError> {
        let (_, key) = self.0.iter().find(|(known, _)| known == identifier).ok_or(ReportError::UnknownKey)?;
        let der = STANDARD.decode(signature).map_err(|_| ReportError::NotAuthentic)?;
        let signature = Signature::from_der(&der).map_err(|_| ReportError::NotAuthentic)?;
        key.verify(body, &signature).map_err(|_| ReportError::NotAuthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own example, from the page named above.
    const IDENTIFIER: &str = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\\n-----END PUBLIC KEY-----\\n";
    const BODY: &str = r#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
    const SIGNATURE: &str =
        "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";

    fn keys() -> ReportKeys {
        let json = format!(
            r#"{{"public_keys":[{{"key_identifier":"{IDENTIFIER}","key":"{KEY}","is_current":true}}]}}"#
        );
        ReportKeys::parse(&json).unwrap()
    }

    #[test]
    fn githubs_own_example_is_believed_and_nothing_else() {
        let keys = keys();
        assert_eq!(keys.verify(IDENTIFIER, SIGNATURE, BODY.as_bytes()), Ok(()));
        let serialised_again = BODY.replace(",", ", ");
        let not_authentic = Err(ReportError::NotAuthentic);
        assert_eq!(keys.verify(IDENTIFIER, SIGNATURE, serialised_again.as_bytes()), not_authentic);
        assert_eq!(keys.verify(IDENTIFIER, &SIGNATURE.replace('7', "8"), BODY.as_bytes()), not_authentic);
        for nonsense in ["", "?", "AAAA"] {
            assert_eq!(keys.verify(IDENTIFIER, nonsense, BODY.as_bytes()), not_authentic);
        }
        assert_eq!(keys.verify("another", SIGNATURE, BODY.as_bytes()), Err(ReportError::UnknownKey));
    }

    #[test]
    fn what_is_no_document_of_keys() {
        for text in ["", "{}", r#"{"public_keys":[{"key_identifier":"a","key":"b"}]}"#] {
            assert!(ReportKeys::parse(text).is_err(), "{text}");
        }
        assert!(ReportKeys::parse(r#"{"public_keys":[]}"#).is_ok());
    }
}
