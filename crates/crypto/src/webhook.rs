//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA-256 over id, time and body. Nothing here knows where they are sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::keyed::MacKey;
use crate::secret::SecretText;

/// The value of `webhook-signature` for one secret: `v1,` and base64 of HMAC-SHA-256 over `{id}.{timestamp}.{body}`. With several
/// secrets the values stand one after the other, separated by spaces.
pub fn signature(secret: &[u8; 32], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let timestamp = timestamp_s.to_string();
    let mac = MacKey::new(secret).mac(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(mac))
}

/// A secret as whoever listens is given it: `prefix` and base64.
pub fn secret_text(prefix: &str, secret: &[u8; 32]) -> SecretText {
    let mut text = String::with_capacity(prefix.len() + 44);
    text.push_str(prefix);
    STANDARD.encode_string(secret, &mut text);
    SecretText::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_id_time_and_body() {
        // Computed apart with `openssl dgst -sha256 -hmac`.
        let secret = *b"0123456789abcdef0123456789abcdef";
        let signed = signature(&secret, "msg_1_42", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signed, "v1,6Px0Ig5jqhrtLsasYiv12PzdOobp5KxtD1amzIzugi8=");
        for other in [
            signature(&[0; 32], "msg_1_42", 1_614_265_330, b"{\"test\": 2432232314}"),
            signature(&secret, "msg_1_43", 1_614_265_330, b"{\"test\": 2432232314}"),
            signature(&secret, "msg_1_42", 1_614_265_331, b"{\"test\": 2432232314}"),
            signature(&secret, "msg_1_42", 1_614_265_330, b"{}"),
        ] {
            assert_ne!(signed, other);
        }
        let text = secret_text("whsec_", &secret);
        assert_eq!(text.expose(), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    }
}
