//! A webhook: where the events of an application are told over HTTP, the record `h:{id}`; and which targets it may have.
//!
//! INVARIANT: nothing here resolves a name: what a name leads to is for the runtime to look at when it connects.

use crate::announcement::Filter;
use crate::error::FieldError;
use crate::event::EventId;
use crate::id::{ApplicationId, WebhookId};
use crate::network::is_public;
use crate::schema::{impl_schema, text};
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest URL of a webhook, in bytes.
pub const URL_BYTES_MAX: usize = 2048;
/// The most webhooks of one application that are not retired.
pub const WEBHOOKS_MAX: usize = 16;
/// How long the secret that was replaced signs as well, in seconds: a day.
pub const OLD_SECRET_S: i64 = 24 * 3600;
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// What a secret's text starts with, as Standard Webhooks has it.
pub const SECRET_PREFIX: &str = "whsec_";

/// All of a webhook. No `Debug`: it holds the secrets that it signs with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose events it tells; those of the built-in application tell of all, and of what belongs to none.
    pub application: ApplicationId,
    /// Where it leads.
    pub url: String,
    /// What it is for, in words; may be empty.
    #[serde(default)]
    pub description: String,
    /// The types that it tells of.
    pub events: Filter,
    /// What it signs with.
    pub secret: [u8; SECRET_BYTES],
    /// What it signed with before, while that signs as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret: Option<OldSecret>,
    /// Nothing is sent for now.
    #[serde(default)]
    pub disabled: bool,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// When it was given up, for good.
    #[serde(default, with = "millis::option")]
    pub retired_at: Option<Timestamp>,
    /// It tells of what comes after this event: the one that created it, or enabled it last.
    pub since: EventId,
    /// And before this one, which disabled or retired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<EventId>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
}

/// A secret that was replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldSecret {
    /// The secret.
    pub secret: [u8; SECRET_BYTES],
    /// Until when it signs as well.
    #[serde(with = "millis")]
    pub until: Timestamp,
}

impl Webhook {
    /// Whether anything is sent to it.
    pub const fn is_open(&self) -> bool {
        !self.disabled && self.retired_at.is_none()
    }

    /// Whether an event at this place fell into the time in which it listens.
    pub fn listened_at(&self, event: EventId) -> bool {
        event > self.since && self.until.is_none_or(|until| event < until)
    }

    /// The secrets that sign at this moment, the newest first.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8; SECRET_BYTES]> {
        let old = self.old_secret.as_ref().filter(|old| now < old.until).map(|old| &old.secret);
        std::iter::once(&self.secret).chain(old)
    }
}

/// Which targets webhooks may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Targets {
    /// What is reached over the internet, by `https`.
    #[default]
    Public,
    /// Private, loopback and link-local addresses and plain `http` as well.
    PrivateToo,
}

/// The URL of a webhook, in the API's document.
pub enum Url {}

impl_schema!(
    Url,
    text(
        "Where a webhook leads: `https://host[:port]/path?query`, without user, password or fragment; `http` and private addresses only where the operator allows them.",
        "^https?://[A-Za-z0-9.:\\[\\]-]+([/?][!-\"$-~]*)?$",
    )
    .min_length(Some(10))
    .max_length(Some(URL_BYTES_MAX))
);

/// Checks where a webhook leads, by the URL's text alone.
///
/// # Errors
/// A [`FieldError`] for `field`; it does not repeat the URL, which may hold a secret of whoever listens there.
pub fn check_url(field: &'static str, url: &str, targets: Targets) -> Result<(), FieldError> {
    let no = |reason: &str, expected: &str| Err(FieldError::new(field, reason, expected));
    if url.len() > URL_BYTES_MAX {
        return no("is too long", "at most 2048 bytes");
    }
    let (rest, is_plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return no("is no URL that a webhook may have", "`https://` and a host"),
    };
    if is_plain && targets == Targets::Public {
        return no("is not encrypted", "`https://`; `http` is for targets that the operator allows");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !path.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b'#') {
        return no("has a path that no request may have", "printable ASCII, percent-encoded, no fragment");
    }
    let Some((host, port)) = split_authority(authority) else {
        return no(
            "has no plain host",
            "a name, an IPv4 address or an IPv6 address in brackets, and a port if need be",
        );
    };
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return no("has no port that can be connected to", "a number from 1 to 65535");
    }
    match Host::parse(host) {
        None => {
            no("has no plain host", "letters, digits, hyphens and dots; an address in its usual notation")
        }
        Some(Host::Own) => no("leads back into this service", "a host outside it"),
        Some(Host::Local) if targets == Targets::Public => {
            no("names this machine", "a host that is reached over the internet")
        }
        Some(Host::Address(address)) if targets == Targets::Public && !is_public(address) => {
            no("is a private address", "a host that is reached over the internet")
        }
        Some(Host::Name | Host::Local | Host::Address(_)) => Ok(()),
    }
}

/// Host and port of an authority; nothing where it has a user or is none.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.contains('@') {
        return None;
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        // With its bracket, so that no name reads like it.
        let host = authority.get(..host.len() + 2)?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => port.is_empty().then_some((host, None)),
        };
    }
    Some(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

/// What stands where a host does.
#[derive(Debug, PartialEq, Eq)]
enum Host {
    Name,
    /// A name that means this machine wherever it is resolved.
    Local,
    /// A name by which the runtime reaches the application's own components.
    Own,
    Address(IpAddr),
}

impl Host {
    /// Reads a host. An IPv4 address has one notation here: URL parsers also take `127.1`, `0x7f000001` and `2130706433`, and a check
    /// that reads them otherwise than whoever connects is none.
    fn parse(host: &str) -> Option<Self> {
        if let Some(address) = host.strip_prefix('[') {
            return address.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|v6| Self::Address(v6.into()));
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name.is_empty() || name.len() > 253 {
            return None;
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !name.split('.').all(is_label) {
            return None;
        }
        // As the URL standard has it: a host whose last label is a number is an IPv4 address, or none.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        if last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex) {
            let address = if host.ends_with('.') { None } else { name.parse::<Ipv4Addr>().ok() };
            return address.map(|v4| Self::Address(v4.into()));
        }
        let ends_in = |parent: &str| name == parent || name.ends_with(&format!(".{parent}"));
        Some(if ends_in("spin.internal") || matches!(name.as_str(), "self" | "self.alt") {
            Self::Own
        } else if ends_in("localhost") {
            Self::Local
        } else {
            Self::Name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(url: &str, targets: Targets) -> bool {
        check_url("url", url, targets).is_ok()
    }

    #[test]
    fn public_targets() {
        for url in [
            "https://example.com",
            "https://hooks.example.com/keyward?tenant=7",
            "https://example.com:8443/",
            "https://xn--bcher-kva.example/",
            "https://8.8.8.8/x",
            "https://[2606:4700::1111]:443/x",
            "https://example.com./",
            "https://EXAMPLE.com/a%20b",
        ] {
            assert!(passes(url, Targets::Public) && passes(url, Targets::PrivateToo), "{url}");
        }
    }

    #[test]
    fn private_targets_are_for_whoever_allows_them() {
        for url in [
            "http://example.com/",
            "https://localhost/",
            "https://a.localhost./",
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
        ] {
            assert!(!passes(url, Targets::Public), "{url}");
            assert!(passes(url, Targets::PrivateToo), "{url}");
        }
    }

    #[test]
    fn what_parsers_read_in_several_ways_is_refused_everywhere() {
        for url in [
            "",
            "example.com",
            "ftp://example.com/",
            "https://",
            "https:///x",
            "https://user@example.com/",
            "https://user:hush@example.com/",
            "https://example.com@127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.0.0.1/",
            "https://127.0.0.0x1/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://127.0.0.01/",
            "https://[fe80::1%25eth0]/",
            "https://[::1/",
            "https://exa mple.com/",
            "https://exämple.com/",
            "https://ex%61mple.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:/",
            "https://example.com/a b",
            "https://example.com/#fragment",
            "https://example.com\\@127.0.0.1/",
            "https://issuance.spin.internal/v1/keys",
            "http://self/v1/keys",
            "https://example..com/",
        ] {
            let error = check_url("url", url, Targets::PrivateToo).expect_err(url);
            assert!(!error.reason.contains("hush") && !error.expected.contains("hush"));
        }
        assert!(!passes(&format!("https://example.com/{}", "x".repeat(2048)), Targets::PrivateToo));
    }

    #[test]
    fn a_replaced_secret_signs_for_as_long_as_it_may() {
        let at = Timestamp::from_unix_ms(1_795_515_095_042);
        let event = |seq| EventId { epoch: 1, seq };
        let webhook = Webhook {
            id: WebhookId::from_bytes([1; 16]),
            application: ApplicationId::KEYWARD,
            url: "https://example.com".into(),
            description: String::new(),
            events: Filter::All,
            secret: [2; 32],
            old_secret: Some(OldSecret { secret: [1; 32], until: at.plus_s(OLD_SECRET_S) }),
            disabled: true,
            created_at: at,
            retired_at: None,
            since: event(3),
            until: Some(event(7)),
            revision: 1,
            event: event(7),
        };
        assert_eq!(webhook.secrets(at).count(), 2);
        assert_eq!(webhook.secrets(at.plus_s(OLD_SECRET_S)).collect::<Vec<_>>(), [&[2; 32]]);
        assert!(!webhook.is_open() && Webhook { disabled: false, ..webhook.clone() }.is_open());
        let retired = Webhook { disabled: false, retired_at: Some(at), ..webhook.clone() };
        assert!(!retired.is_open());
        assert_eq!(webhook.secrets(at.plus_s(86_399)).count(), 2, "for a day");
        let listened: Vec<u64> = (1..9).filter(|seq| webhook.listened_at(event(*seq))).collect();
        assert_eq!(listened, [4, 5, 6]);
    }
}
