//! Answers: headers alone, JSON, pages and their files. Every answer names its request; none but a page's files is ever cached.

use keyward_crypto::digest;
use keyward_domain::{Error, RequestId, Result};
use serde::Serialize;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Response as WireResponse, Trailers};
use spin_sdk::wasip3::{wit_future, wit_stream};

/// The header that names the request.
pub const REQUEST_ID: &str = "keyward-request-id";

/// An answer, as plain data until it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// Without a length an empty answer would be chunked, and its end leave in a segment of its own.
    tells_length: bool,
}

impl Response {
    /// Headers alone, as the hot path answers.
    pub fn empty(status: u16) -> Self {
        // RFC 9110 section 8.6: a 204 has no length.
        let tells_length = status != 204;
        let response = Self { status, fields: Vec::with_capacity(8), body: Vec::new(), tells_length };
        response.with("cache-control", "no-store")
    }

    /// A JSON answer.
    ///
    /// # Errors
    /// [`keyward_domain::Code::Internal`] where `value` does not serialize, which is a fault of ours.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|_| Error::internal("an answer does not serialize"))?;
        Ok(Self::bytes(status, "application/json", body))
    }

    /// An answer with a body made elsewhere, of this media type.
    pub fn bytes(status: u16, media_type: &str, body: Vec<u8>) -> Self {
        let mut response =
            Self::empty(status).with("content-type", media_type).with("x-content-type-options", "nosniff");
        response.body = body;
        response
    }

    /// A page that stands alone. `script` and `style` are what stands in its only `<script>` and `<style>`, to the byte: nothing else
    /// runs, nothing comes from elsewhere, and it posts nothing.
    pub fn page(html: &str, script: &str, style: &str) -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; form-action 'none'",
            source_hash(script),
            source_hash(style)
        );
        Self::html(200, html.to_owned(), &policy)
    }

    /// A page whose script, style and pictures are files beside it: nothing inline runs, nothing comes from another origin, and what it
    /// posts goes to its own.
    pub fn page_with_assets(status: u16, html: String) -> Self {
        const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
                              connect-src 'self'; form-action 'self'";
        Self::html(status, html, POLICY)
    }

    /// What every page has in common: nobody frames it or opens it as theirs, and it tells no one where it was.
    fn html(status: u16, html: String, policy: &str) -> Self {
        Self::bytes(status, "text/html; charset=utf-8", html.into_bytes())
            .with("content-security-policy", format!("{policy}; base-uri 'none'; frame-ancestors 'none'"))
            .with("referrer-policy", "no-referrer")
            .with("x-frame-options", "DENY")
            .with("cross-origin-opener-policy", "same-origin")
            .with("cross-origin-resource-policy", "same-origin")
    }

    /// A file whose name changes with its content, so that it may be kept for good.
    pub fn asset(media_type: &str, content: &'static [u8]) -> Self {
        let mut response = Self::bytes(200, media_type, content.to_vec());
        response.fields.retain(|(name, _)| name != "cache-control");
        response
            .with("cache-control", "public, max-age=31536000, immutable")
            .with("cross-origin-resource-policy", "same-origin")
    }

    /// Sends whoever posted on to what came of it, so that going back and loading anew post nothing again (RFC 9110 section 15.4.4).
    pub fn see_other(path: &str) -> Self {
        Self::empty(303).with("location", path)
    }

    /// The same with one more header. What no header may hold reads as `?`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let mut value = value.into();
        for byte in value.iter_mut().filter(|byte| !(b' '..=b'~').contains(*byte)) {
            *byte = b'?';
        }
        self.fields.push((name.to_owned(), value));
        self
    }

    /// The same with the revision of the thing that it shows.
    #[must_use]
    pub fn with_revision(self, revision: u64) -> Self {
        self.with("etag", format!("\"{revision}\""))
    }

    /// The same, naming its request.
    #[must_use]
    pub fn with_request_id(self, id: RequestId) -> Self {
        self.with(REQUEST_ID, id.to_string())
    }

    /// The same without its body, as HEAD is answered.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body.clear();
        self.tells_length = false;
        self
    }

    /// The status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header, by its lowercase name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(have, _)| have == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Hands the answer to the platform. The body, if any, is written by a task that outlives the call.
    pub fn into_wire(mut self) -> WireResponse {
        if self.tells_length {
            self.fields.push(("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let fields = Fields::from_list(&self.fields).unwrap_or_else(|_| {
            eprintln!("response: a header was refused by the platform; sent without headers");
            Fields::new()
        });
        let (trailers, trailers_reader) = wit_future::new(|| Ok::<Option<Trailers>, ErrorCode>(None));
        let contents = (!self.body.is_empty()).then(|| {
            let (mut writer, reader) = wit_stream::new::<u8>();
            spin_sdk::wasip3::spawn(async move {
                // A peer that went away needs no answer.
                let _ = writer.write_all(self.body).await;
                drop(writer);
                drop(trailers);
            });
            reader
        });
        let (response, _sent) = WireResponse::new(fields, contents, trailers_reader);
        if response.set_status_code(self.status).is_err() {
            eprintln!("response: status {} was refused by the platform", self.status);
        }
        response
    }
}

/// How a content security policy names an inline text (CSP Level 3 section 2.3.1).
fn source_hash(text: &str) -> String {
    let digest = digest::content_digest(text.as_bytes());
    let base64 = digest.trim_start_matches("sha-256=").trim_matches(':');
    format!("sha256-{base64}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cached_and_the_request_is_named() {
        let response = Response::json(201, &serde_json::json!({"a": 1}))
            .expect("serializes")
            .with_revision(7)
            .with_request_id(RequestId::from_bytes([0; 16]));
        assert_eq!(response.status(), 201);
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.field("etag"), Some("\"7\""));
        assert_eq!(response.field(REQUEST_ID), Some("req_0000000000000000000000"));
        assert_eq!(response.body(), b"{\"a\":1}");
        assert_eq!(response.without_body().body(), b"");
    }

    #[test]
    fn headers_cannot_be_split() {
        let response = Response::empty(204).with("x", "a\r\nSet-Cookie: b\u{1b}é");
        assert_eq!(response.field("x"), Some("a??Set-Cookie: b???"));
    }

    #[test]
    fn the_page_runs_its_own_script_alone() {
        let response = Response::page("<script>s</script>", "s", "");
        let policy = response.field("content-security-policy").unwrap_or_default();
        // openssl: printf s | openssl dgst -sha256 -binary | base64
        assert!(
            policy.contains("script-src 'sha256-BDpxh3TFcr2KJa2+sb/NXAJWrhHOz5+cP5JdDlK+r4k='"),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
    }
}
