//! The requests of the bench, as docs/api.md has them.
//! Tokens and tickets live in memory here and go to the server alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::load::Workload;

/// The scope that every key of the bench holds and every check asks for.
const SCOPE: &str = "bench:read";

/// What a gateway asks for each partner request.
pub const AUTHORIZE: &str = "/v1/authorize?scope=bench:read";

/// A request with or without a body; `bearer` goes into `Authorization`.
pub fn request(method: &str, target: &str, bearer: Option<&str>, body: Option<&Value>) -> Rc<[u8]> {
    let credential = bearer.map(|token| ("Authorization", format!("Bearer {token}")));
    request_with(method, target, credential, body)
}

/// The same for whoever takes the credential in another header, or under another scheme.
pub fn request_with(
    method: &str,
    target: &str,
    credential: Option<(&str, String)>,
    body: Option<&Value>,
) -> Rc<[u8]> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: bench\r\n");
    if let Some((name, value)) = credential {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        Some(body) => {
            let body = body.to_string();
            text.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
        None if method == "GET" => text.push_str("\r\n"),
        None => text.push_str("Content-Length: 0\r\n\r\n"),
    }
    text.into_bytes().into()
}

/// The same requests over and over, in turn.
pub struct Rotation {
    requests: Vec<Rc<[u8]>>,
    next: Cell<usize>,
    expected: u16,
}

impl Rotation {
    /// Requests that are all answered with `expected`.
    pub fn new(requests: Vec<Rc<[u8]>>, expected: u16) -> Rc<Self> {
        Rc::new(Self { requests, next: Cell::new(0), expected })
    }
}

impl Workload for Rotation {
    fn next(&self) -> Option<Rc<[u8]>> {
        let index = self.next.get();
        self.next.set((index + 1) % self.requests.len().max(1));
        self.requests.get(index).map(Rc::clone)
    }

    fn expected(&self) -> u16 {
        self.expected
    }
}

/// Issues keys until told to stop, and keeps their tickets.
pub struct Issue {
    root: String,
    application: String,
    at_most: usize,
    limits: Value,
    sent: Cell<usize>,
    tickets: RefCell<Vec<String>>,
}

impl Issue {
    /// Keys of `application`, `at_most` of them, without limits.
    pub fn new(root: &str, application: &str, at_most: usize) -> Rc<Self> {
        Self::limited(root, application, at_most, json!([]))
    }

    /// The same under these limits, as `POST /v1/keys` takes them.
    pub fn limited(root: &str, application: &str, at_most: usize, limits: Value) -> Rc<Self> {
        Rc::new(Self {
            root: root.to_owned(),
            application: application.to_owned(),
            at_most,
            limits,
            sent: Cell::new(0),
            tickets: RefCell::new(Vec::new()),
        })
    }

    /// The tickets of the keys issued since last asked.
    pub fn take_tickets(&self) -> Vec<String> {
        self.tickets.take()
    }
}

impl Workload for Issue {
    fn next(&self) -> Option<Rc<[u8]>> {
        let number = self.sent.get();
        if number >= self.at_most {
            return None;
        }
        self.sent.set(number + 1);
        let body = json!({
            "application": self.application,
            "name": format!("bench {number}"),
            "environment": "live",
            "scopes": [SCOPE, "bench:write"],
            "expires_in_s": 86_400,
            "limits": self.limits,
        });
        Some(request("POST", "/v1/keys", Some(&self.root), Some(&body)))
    }

    fn expected(&self) -> u16 {
        201
    }

    fn answered(&self, body: &[u8]) {
        if let Some(ticket) = text_at(body, "/claim/ticket") {
            self.tickets.borrow_mut().push(ticket);
        }
    }
}

/// A key that was claimed.
#[derive(Clone)]
pub struct Claimed {
    /// `key_...`
    pub id: String,
    /// What its holder presents.
    pub token: String,
}

/// Claims what was issued, each once, and keeps the tokens.
pub struct Claim {
    tickets: RefCell<Vec<String>>,
    claimed: RefCell<Vec<Claimed>>,
}

impl Claim {
    /// Claims these tickets.
    pub fn new(tickets: Vec<String>) -> Rc<Self> {
        Rc::new(Self { tickets: RefCell::new(tickets), claimed: RefCell::new(Vec::new()) })
    }

    /// The keys claimed since last asked.
    pub fn take_claimed(&self) -> Vec<Claimed> {
        self.claimed.take()
    }
}

impl Workload for Claim {
    fn next(&self) -> Option<Rc<[u8]>> {
        let ticket = self.tickets.borrow_mut().pop()?;
        Some(request("POST", "/v1/claims", None, Some(&json!({ "ticket": ticket }))))
    }

    fn expected(&self) -> u16 {
        200
    }

    fn answered(&self, body: &[u8]) {
        if let (Some(id), Some(token)) = (text_at(body, "/key/id"), text_at(body, "/token")) {
            self.claimed.borrow_mut().push(Claimed { id, token });
        }
    }
}

/// Revokes keys, each once.
pub struct Revoke {
    root: String,
    keys: RefCell<Vec<Claimed>>,
}

impl Revoke {
    /// Revokes these keys.
    pub fn new(root: &str, keys: Vec<Claimed>) -> Rc<Self> {
        Rc::new(Self { root: root.to_owned(), keys: RefCell::new(keys) })
    }
}

impl Workload for Revoke {
    fn next(&self) -> Option<Rc<[u8]>> {
        let key = self.keys.borrow_mut().pop()?;
        let target = format!("/v1/keys/{}/revoke", key.id);
        Some(request("POST", &target, Some(&self.root), Some(&json!({ "reason": "bench" }))))
    }

    fn expected(&self) -> u16 {
        200
    }
}

/// The bare component.
pub fn hello() -> Rc<dyn Workload> {
    Rotation::new(vec![request("GET", "/bench/hello", None, None)], 204)
}

/// The three reads of validation, for the same keys.
pub fn three_read(keys: &[Claimed]) -> anyhow::Result<Rc<dyn Workload>> {
    let mut requests = Vec::new();
    for key in keys {
        requests.push(request("GET", &format!("/bench/three-read?{}", store_id(&key.token)?), None, None));
    }
    if requests.is_empty() {
        requests.push(request("GET", "/bench/three-read?00000000000000000000000000000000", None, None));
    }
    Ok(Rotation::new(requests, 204))
}

/// The question of a gateway, key by key.
pub fn authorize(keys: &[Claimed]) -> Rc<dyn Workload> {
    Rotation::new(keys.iter().map(|key| request("GET", AUTHORIZE, Some(&key.token), None)).collect(), 204)
}

/// The same question asked with a body, by a caller with a key of its own.
pub fn verify(root: &str, keys: &[Claimed]) -> Rc<dyn Workload> {
    let ask = |key: &Claimed| {
        request(
            "POST",
            "/v1/keys/verify",
            Some(root),
            Some(&json!({ "token": key.token, "scopes": [SCOPE] })),
        )
    };
    Rotation::new(keys.iter().map(ask).collect(), 200)
}

/// The text at a JSON pointer of `body`.
pub fn text_at(body: &[u8], pointer: &str) -> Option<String> {
    serde_json::from_slice::<Value>(body).ok()?.pointer(pointer)?.as_str().map(str::to_owned)
}

/// The id inside a token as store keys spell it: 16 bytes, 22 characters of base62 (`0-9A-Za-z`, big-endian) in the
/// token, lowercase hex in the store.
fn store_id(token: &str) -> anyhow::Result<String> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let body = token.rsplit('_').next().unwrap_or_default();
    let Some(id) = body.get(..22) else { bail!("a token shorter than its id") };
    let mut number: u128 = 0;
    for character in id.bytes() {
        let digit =
            ALPHABET.iter().position(|known| *known == character).context("a token that is not base62")?;
        number = number
            .checked_mul(62)
            .and_then(|shifted| shifted.checked_add(digit as u128))
            .context("an id larger than 16 bytes")?;
    }
    Ok(format!("{number:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_token_is_spelt_as_in_the_store() {
        let token = |id: &str| format!("kw_live_{id}01secretcheck");
        assert_eq!(store_id(&token("0000000000000000000000")).unwrap(), "0".repeat(32));
        assert_eq!(store_id(&token("00000000000000000000a1")).unwrap(), format!("{:032x}", 36 * 62 + 1));
        // 2^128 - 1 in base62, and one more.
        assert_eq!(store_id(&token("7n42DGM5Tflk9n8mt7Fhc7")).unwrap(), "f".repeat(32));
        assert!(store_id(&token("7n42DGM5Tflk9n8mt7Fhc8")).is_err());
        assert!(store_id("kw_live_short").is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let bytes = request("POST", "/v1/claims", None, Some(&json!({"ticket": "t"})));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.ends_with("Content-Length: 14\r\n\r\n{\"ticket\":\"t\"}"), "{text}");
    }
}
