//! A component's variables, parsed once per instance (which lives a second when idle). What is missing or wrong is told by the
//! variable's name and the rule that it breaks, never by its content.

use keyward_crypto::leak_report::ReportKeys;
use keyward_crypto::note::LogKeys;
use keyward_crypto::sign::SigningKeys;
use keyward_crypto::{Peppers, Ring, RingError, Sealer, SecretText};
use keyward_domain::network::NetworkRule;
use keyward_domain::webhook::Targets;
use keyward_domain::{Code, Error, Result};
use keyward_records::{CurrentMonth, Rings};
use spin_sdk::variables;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::thread::LocalKey;

/// The longest `public_url`, in bytes.
const PUBLIC_URL_BYTES_MAX: usize = 256;
/// The shortest `maintenance_token`, in bytes.
const MAINTENANCE_TOKEN_BYTES_MIN: usize = 32;
/// The longest label of a store, in bytes.
const LABEL_BYTES_MAX: usize = 64;

/// What a component that only validates is handed.
pub struct Validation {
    /// Opens records of state.
    pub records: Sealer,
    /// MACs tokens.
    pub peppers: Peppers,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: NetworkRule,
    /// The label of the store where use is counted.
    pub usage_store: Cow<'static, str>,
}

/// What every component of the control plane is handed.
pub struct Control {
    /// Records, audit and peppers, and what else the component is handed.
    pub rings: Rings,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: NetworkRule,
    /// The label of the store that remembers how far the log was, where there is one.
    pub witness_store: Option<String>,
    /// The label of the store where use is counted, for those components that fold it.
    pub usage_store: Cow<'static, str>,
}

/// What the components that mint are handed beyond [`Control`].
pub struct Minting {
    /// Signs the answers that carry a token.
    pub signing_keys: SigningKeys,
    /// Where the outside reaches Keyward, without a slash at the end.
    pub public_url: String,
}

/// What the components that call out are handed beyond [`Control`].
pub struct Outbound {
    /// Which targets webhooks and providers may have.
    pub targets: Targets,
    /// What whoever runs Keyward presents to have calls made that are due, and nothing else; none where it is left out.
    pub maintenance_token: Option<SecretText>,
}

/// What revocation is handed beyond [`Control`].
pub struct Leaks {
    /// The keys that reports of leaked tokens are signed with; none where nobody may report any.
    pub report_keys: Option<ReportKeys>,
}

thread_local! {
    static LEAKS: OnceCell<Rc<Leaks>> = const { OnceCell::new() };
    static VALIDATION: OnceCell<Rc<Validation>> = const { OnceCell::new() };
    static CONTROL: OnceCell<Rc<Control>> = const { OnceCell::new() };
    static MINTING: OnceCell<Rc<Minting>> = const { OnceCell::new() };
    static OUTBOUND: OnceCell<Rc<Outbound>> = const { OnceCell::new() };
}

/// The variables of validation.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn validation() -> Result<Rc<Validation>> {
    if let Some(held) = held(&VALIDATION) {
        return Ok(held);
    }
    let fresh = Validation {
        records: sealer("records_keyring", &required("records_keyring").await?)?,
        peppers: ring_rule(Peppers::parse(required("peppers").await?.expose()))?,
        trusted_proxies: parse_proxies(optional("trusted_proxies").await?.expose())?,
        usage_store: usage_store().await?,
    };
    Ok(hold(&VALIDATION, fresh))
}

/// The variables of the control plane.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn control() -> Result<Rc<Control>> {
    if let Some(held) = held(&CONTROL) {
        return Ok(held);
    }
    let fresh = Control {
        rings: Rings {
            records: sealer("records_keyring", &required("records_keyring").await?)?,
            audit: sealer("audit_keyring", &required("audit_keyring").await?)?,
            peppers: ring_rule(Peppers::parse(required("peppers").await?.expose()))?,
            vault: vault_ring().await?,
            log: log_keys(&optional("log_keys").await?)?,
            month: CurrentMonth::default(),
        },
        trusted_proxies: parse_proxies(optional("trusted_proxies").await?.expose())?,
        witness_store: parse_label("witness_store", optional("witness_store").await?.expose())?,
        usage_store: usage_store().await?,
    };
    Ok(hold(&CONTROL, fresh))
}

/// The variables of the components that mint, beyond those of the control plane.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn minting() -> Result<Rc<Minting>> {
    if let Some(held) = held(&MINTING) {
        return Ok(held);
    }
    let signing_keys = required("signing_keys").await?;
    let fresh = Minting {
        signing_keys: ring_rule(SigningKeys::parse("signing_keys", signing_keys.expose()))?,
        public_url: public_url().await?,
    };
    Ok(hold(&MINTING, fresh))
}

/// Where the outside reaches Keyward, for a component that names links and signs nothing.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn public_url() -> Result<String> {
    parse_public_url(required("public_url").await?.expose())
}

/// The variables of the components that call out, beyond those of the control plane.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn outbound() -> Result<Rc<Outbound>> {
    if let Some(held) = held(&OUTBOUND) {
        return Ok(held);
    }
    let fresh = Outbound {
        targets: webhook_targets().await?,
        maintenance_token: parse_maintenance_token(optional("maintenance_token").await?)?,
    };
    Ok(hold(&OUTBOUND, fresh))
}

/// The variables of reports of leaked tokens.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn leaks() -> Result<Rc<Leaks>> {
    if let Some(held) = held(&LEAKS) {
        return Ok(held);
    }
    let json = optional("leak_report_keys").await?;
    let report_keys = match json.expose().trim().is_empty() {
        true => None,
        false => Some(ReportKeys::parse(json.expose()).map_err(|error| {
            Error::new(Code::Misconfigured, format!("variable `leak_report_keys` is {error}"))
        })?),
    };
    Ok(hold(&LEAKS, Leaks { report_keys }))
}

/// Which targets webhooks and providers may have.
///
/// # Errors
/// [`Code::Misconfigured`] names the variable and the rule.
pub async fn webhook_targets() -> Result<Targets> {
    parse_targets(optional("webhook_private_targets").await?.expose())
}

fn held<T>(slot: &'static LocalKey<OnceCell<Rc<T>>>) -> Option<Rc<T>> {
    slot.with(|held| held.get().cloned())
}

fn hold<T>(slot: &'static LocalKey<OnceCell<Rc<T>>>, fresh: T) -> Rc<T> {
    // Two first requests at once may both parse; one of the two equal results stays.
    slot.with(|held| Rc::clone(held.get_or_init(|| Rc::new(fresh))))
}

/// A variable that may be left out or empty.
async fn optional(name: &'static str) -> Result<SecretText> {
    match variables::get(name).await {
        Ok(value) => Ok(SecretText::new(value)),
        Err(variables::Error::Undefined(_)) => Ok(SecretText::new(String::new())),
        Err(
            variables::Error::InvalidName(_) | variables::Error::Provider(_) | variables::Error::Other(_),
        ) => {
            eprintln!("variables: `{name}` cannot be read");
            Err(misconfigured(name, "cannot be read", "a provider that answers"))
        }
    }
}

async fn required(name: &'static str) -> Result<SecretText> {
    let value = optional(name).await?;
    if value.expose().trim().is_empty() {
        return Err(misconfigured(name, "is missing", "what `keyward init` made"));
    }
    Ok(value)
}

fn misconfigured(name: &str, reason: &str, expected: &str) -> Error {
    Error::new(Code::Misconfigured, format!("variable `{name}` {reason}; expected {expected}"))
}

/// A ring's own error names ring and rule; rings are called as their variables are.
fn ring_rule<T>(parsed: Result<T, RingError>) -> Result<T> {
    parsed.map_err(|error| Error::new(Code::Misconfigured, error.to_string()))
}

fn sealer(name: &'static str, json: &SecretText) -> Result<Sealer> {
    Ok(Sealer::new(ring_rule(Ring::parse(name, json.expose()))?))
}

/// Given to the vault alone.
async fn vault_ring() -> Result<Option<Sealer>> {
    let json = optional("vault_keyring").await?;
    match json.expose().trim().is_empty() {
        true => Ok(None),
        false => sealer("vault_keyring", &json).map(Some),
    }
}

/// Given to those components alone that sign checkpoints.
fn log_keys(json: &SecretText) -> Result<Option<LogKeys>> {
    match json.expose().trim().is_empty() {
        true => Ok(None),
        false => LogKeys::parse(json.expose())
            .map(Some)
            .map_err(|error| Error::new(Code::Misconfigured, error.to_string())),
    }
}

fn parse_proxies(text: &str) -> Result<NetworkRule> {
    let entries: Vec<&str> =
        text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()).collect();
    NetworkRule::parse("trusted_proxies", &entries).map_err(|_| {
        misconfigured(
            "trusted_proxies",
            "is not valid",
            "at most 64 addresses or networks, separated by commas",
        )
    })
}

async fn usage_store() -> Result<Cow<'static, str>> {
    let named = parse_label("usage_store", optional("usage_store").await?.expose())?;
    Ok(named.map_or(Cow::Borrowed(crate::store::LABEL_DEFAULT), Cow::Owned))
}

/// A store's label; none where the variable is left out or empty.
fn parse_label(name: &str, text: &str) -> Result<Option<String>> {
    let text = text.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() {
        Ok(None)
    } else if text.len() <= LABEL_BYTES_MAX && text.bytes().all(plain) {
        Ok(Some(text.to_owned()))
    } else {
        Err(misconfigured(name, "is not valid", "the label of a key-value store"))
    }
}

fn parse_targets(text: &str) -> Result<Targets> {
    match text.trim() {
        "" | "false" => Ok(Targets::Public),
        "true" => Ok(Targets::PrivateToo),
        _ => Err(misconfigured("webhook_private_targets", "is not valid", "`true` or `false`")),
    }
}

/// A token that whoever runs Keyward made up; none where the variable is left out or empty.
fn parse_maintenance_token(text: SecretText) -> Result<Option<SecretText>> {
    match text.expose().trim().len() {
        0 => Ok(None),
        MAINTENANCE_TOKEN_BYTES_MIN.. => Ok(Some(SecretText::new(text.expose().trim().to_owned()))),
        _ => Err(misconfigured(
            "maintenance_token",
            "is too short to be a secret",
            "at least 32 random characters",
        )),
    }
}

fn parse_public_url(text: &str) -> Result<String> {
    let url = text.trim().trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']' | b'/' | b'_' | b'~')
    };
    match rest {
        Some(rest)
            if url.len() <= PUBLIC_URL_BYTES_MAX
                && !rest.is_empty()
                && !rest.starts_with(['/', ':'])
                && rest.bytes().all(plain) =>
        {
            Ok(url.to_owned())
        }
        _ => Err(misconfigured(
            "public_url",
            "is not valid",
            "`https://<host>` with a port or a path if need be, at most 256 bytes",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("https://keys.example.com/", "https://keys.example.com"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://example.com/keyward/", "https://example.com/keyward"),
        ] {
            assert_eq!(parse_public_url(text).as_deref(), Ok(expected));
        }
        for bad in [
            "",
            "keys.example.com",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x?a",
            "https://x#a",
            "https://x\r\n",
        ] {
            let parsed = parse_public_url(bad.trim_end_matches(' '));
            assert!(parsed.is_err() || bad.ends_with('\n'), "{bad}");
        }
    }

    #[test]
    fn proxies_and_labels() {
        assert!(parse_proxies(" 10.0.0.0/8, ::1\n192.0.2.1 ").is_ok_and(|rule| !rule.is_empty()));
        assert!(parse_proxies("").is_ok_and(|rule| rule.is_empty()));
        let error = parse_proxies("10.0.0.0/8, hush-hush").expect_err("no network");
        assert!(error.detail.contains("`trusted_proxies`") && !error.detail.contains("hush"));
        assert_eq!(parse_label("usage_store", ""), Ok(None));
        assert_eq!(parse_label("usage_store", "usage"), Ok(Some("usage".to_owned())));
        assert!(parse_label("usage_store", "a b").is_err_and(|error| error.detail.contains("`usage_store`")));
    }

    #[test]
    fn what_calls_out_is_handed() {
        assert_eq!(parse_targets(""), Ok(Targets::Public));
        assert_eq!(parse_targets("true"), Ok(Targets::PrivateToo));
        assert!(parse_targets("yes").is_err_and(|error| error.detail.contains("`webhook_private_targets`")));
        let token = |text: &str| parse_maintenance_token(SecretText::new(text.to_owned()));
        assert!(token("").is_ok_and(|token| token.is_none()));
        assert!(token(&"x".repeat(32)).is_ok_and(|token| token.is_some()));
        assert!(token("hush").is_err_and(|error| !error.detail.contains("hush")));
    }

    #[test]
    fn a_wrong_ring_names_variable_and_rule() {
        let error =
            sealer("records_keyring", &SecretText::new("{\"hush\":1}".into())).err().expect("no ring");
        assert_eq!(error.code, Code::Misconfigured);
        assert!(error.detail.contains("`records_keyring`") && !error.detail.contains("hush"));
    }
}
