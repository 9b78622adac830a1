//! The head of a request: which credential it presents, from which address it comes, and what else is read out of its fields.
//! Whoever sends it wrote all of it but the last `spin-client-addr`.
#![no_main]

use arbitrary::Arbitrary;
use keyward_domain::key::Environment;
use keyward_domain::network::NetworkRule;
use keyward_domain::text::USER_AGENT_BYTES_MAX;
use keyward_domain::{Code, RequestId, token};
use keyward_guest::{Incoming, Method};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Name {
    Authorization,
    ApiKey,
    ClientAddr,
    ForwardedFor,
    UserAgent,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Other,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Value<'a> {
    Bytes(&'a [u8]),
    /// A token that could be right, bare or behind a scheme.
    Token {
        scheme: bool,
    },
    /// Addresses, some of them of trusted proxies.
    Addresses([Hop; 3]),
    /// An entity tag.
    Tag(u64),
}

/// An address on the way from the client.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Hop {
    Proxy(u8),
    Mapped(u8),
    Client(u8),
    Six(u8),
    None,
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    target: &'a str,
    token_in: Option<Place>,
    fields: Vec<(Name, Value<'a>)>,
    peer: Hop,
    behind_proxies: bool,
}

/// Where in the URL a token stands.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Place {
    Segment,
    Value,
    Parameter,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Authorization => "Authorization",
            Self::ApiKey => "x-api-key",
            Self::ClientAddr => "Spin-Client-Addr",
            Self::ForwardedFor => "X-Forwarded-For",
            Self::UserAgent => "user-agent",
            Self::IdempotencyKey => "Idempotency-Key",
            Self::IfMatch => "if-match",
            Self::IfNoneMatch => "If-None-Match",
            Self::Other => "accept",
        }
    }
}

impl Hop {
    fn text(self) -> String {
        match self {
            Self::Proxy(n) => format!("10.0.0.{n}"),
            Self::Mapped(n) => format!("::ffff:10.0.0.{n}"),
            Self::Client(n) => format!("203.0.113.{n}:4711"),
            Self::Six(n) => format!("[2001:db8::{n:x}]:443"),
            Self::None => "unknown".to_owned(),
        }
    }
}

fn sample() -> String {
    token::render("kw", Environment::Live, &[7; 16], 1, &[9; 32])
}

impl Value<'_> {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Token { scheme } => {
                format!("{}{}", if scheme { "Bearer " } else { "" }, sample()).into_bytes()
            }
            Self::Addresses(hops) => hops.map(Hop::text).join(", ").into_bytes(),
            Self::Tag(revision) => format!("\"{revision}\"").into_bytes(),
        }
    }
}

/// The model's reading of one hop.
fn address(text: &str) -> Option<IpAddr> {
    let parsed = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse());
    parsed.ok().map(|address| address.to_canonical()).filter(|address| !address.is_unspecified())
}

/// The client of a request whose proxies are all in `10.0.0.0/8`: one list from the client to us, read from our end.
fn client(peer: Option<IpAddr>, forwarded: &[String]) -> Option<IpAddr> {
    let is_proxy = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
    let written = forwarded.iter().flat_map(|value| value.split(',')).map(|entry| address(entry.trim()));
    let way: Vec<Option<IpAddr>> = written.chain([peer]).collect();
    // The first from our end that is no proxy, whether or not it is readable; otherwise the farthest proxy.
    match way.iter().rev().find(|hop| !hop.is_some_and(is_proxy)) {
        Some(found) => *found,
        None => way[0],
    }
}

fuzz_target!(|input: Input| {
    let token = sample();
    let mut target = input.target.to_owned();
    if let Some(place) = input.token_in {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        target = match place {
            Place::Segment => format!("{path}/{token}/x?{query}"),
            Place::Value => format!("{path}?k={token}&{query}"),
            Place::Parameter => format!("{path}?{query}&{token}"),
        };
    }
    let mut fields: Vec<(String, Vec<u8>)> =
        input.fields.iter().take(24).map(|(name, value)| (name.text().to_owned(), value.bytes())).collect();
    // The runtime's own field comes last.
    fields.push((Name::ClientAddr.text().to_owned(), input.peer.text().into_bytes()));
    let of = |name: Name| -> Vec<Vec<u8>> {
        fields.iter().filter(|(have, _)| have == name.text()).map(|(_, value)| value.clone()).collect()
    };
    let incoming = Incoming::from_parts(
        RequestId::from_bytes([1; 16]),
        Method::Get,
        &target,
        fields.clone(),
        Vec::new(),
    );

    let (authorizations, api_keys) = (of(Name::Authorization), of(Name::ApiKey));
    match incoming.credential() {
        Ok(found) => {
            assert!(input.token_in.is_none(), "a token in the URL is refused");
            assert!(authorizations.len() <= 1 && api_keys.len() <= 1, "one credential at most");
            let bearers = authorizations
                .iter()
                .filter(|value| value.trim_ascii().to_ascii_lowercase().starts_with(b"bearer"));
            match found {
                None => assert!(api_keys.is_empty()),
                Some(secret) => {
                    let text = secret.expose().as_bytes();
                    assert!(text.len() <= token::LENGTH_MAX && !text.contains(&b','));
                    assert_eq!(text, text.trim_ascii());
                    let given: Vec<&Vec<u8>> = bearers.chain(&api_keys).collect();
                    assert!(!given.is_empty());
                    assert!(
                        given.iter().any(|value| value.trim_ascii().ends_with(text)),
                        "not out of thin air"
                    );
                }
            }
        }
        Err(error) => {
            assert!(matches!(error.code, Code::MisplacedCredential | Code::InvalidParameter), "{error:?}");
            assert!(!error.detail.contains(&token), "an error repeats no credential");
        }
    }
    // A good token in one place, and nothing else that could be one, is what is presented.
    if input.token_in.is_none()
        && incoming.query().is_ok()
        && !target.contains('_')
        && !target.contains('%')
        && authorizations.is_empty()
        && api_keys == [token.as_bytes()]
    {
        let found = incoming.credential().expect("in its place").expect("presented");
        assert_eq!(found.expose(), token);
    }

    let peer = address(&input.peer.text());
    let texts = |name: Name| -> Vec<String> {
        of(name).into_iter().map(|value| String::from_utf8(value).unwrap_or_default()).collect()
    };
    let forwarded = texts(Name::ForwardedFor);
    let proxies: &[&str] = if input.behind_proxies { &["10.0.0.0/8"] } else { &[] };
    let rule = NetworkRule::parse("trusted_proxies", proxies).expect("a network");
    let expected = if input.behind_proxies && peer.is_some() { client(peer, &forwarded) } else { peer };
    assert_eq!(incoming.client_address(&rule), expected, "{peer:?} {forwarded:?}");

    if let Some(agent) = incoming.user_agent() {
        let whole = String::from_utf8_lossy(&of(Name::UserAgent)[0]).into_owned();
        assert!(agent.len() <= USER_AGENT_BYTES_MAX && whole.starts_with(&agent));
        assert!(agent.len() + 4 > USER_AGENT_BYTES_MAX || agent == whole, "cut without need");
    }
    let idempotency_keys = of(Name::IdempotencyKey);
    match incoming.idempotency_key() {
        Ok(None) => assert!(idempotency_keys.is_empty()),
        Ok(Some(key)) => {
            assert_eq!(idempotency_keys, [key.expose().as_bytes()]);
            assert!(
                (1..=255).contains(&key.expose().len()) && key.expose().bytes().all(|b| b.is_ascii_graphic())
            );
        }
        Err(_) => assert!(!idempotency_keys.is_empty()),
    }
    // A tag of ours has one spelling, and no other is taken for it.
    if let Ok(Some(revision)) = incoming.if_match() {
        assert_eq!(texts(Name::IfMatch)[0].trim(), format!("\"{revision}\""));
    }
    if let Some(revision) = incoming.if_none_match() {
        let given = texts(Name::IfNoneMatch)[0].trim().to_owned();
        assert!(given == format!("\"{revision}\"") || given == format!("W/\"{revision}\""), "{given}");
    }
});
