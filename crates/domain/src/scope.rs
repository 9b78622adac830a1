//! Scopes: what a key may do. `resource:action` in as many segments as needed, `*` as the last segment for everything below.
//!
//! Scopes of administration may be narrowed to one application: `keys:write@app_...`; those of the vault to names of credentials as well:
//! `credentials:read@payments/*`, `credentials:read@app_.../payments/*`.

use crate::credential::is_name_pattern;
use crate::error::{Error, FieldError};
use crate::id::ApplicationId;
use crate::schema::{impl_schema, text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::openapi::{ArrayBuilder, Ref};
use utoipa::{PartialSchema, ToSchema};

/// The longest scope in bytes, its narrowing included.
pub const SCOPE_BYTES_MAX: usize = 128;
/// The most scopes that one key holds or one request asks for.
pub const SCOPES_MAX: usize = 64;

/// The scopes of administration.
pub mod administration {
    /// See applications.
    pub const APPS_READ: &str = "apps:read";
    /// Create, change and suspend applications.
    pub const APPS_WRITE: &str = "apps:write";
    /// See keys.
    pub const KEYS_READ: &str = "keys:read";
    /// Issue keys, edit them, reissue their claims.
    pub const KEYS_WRITE: &str = "keys:write";
    /// Rotate keys: offer a successor, end an overlap, cancel an offer.
    pub const KEYS_ROTATE: &str = "keys:rotate";
    /// Revoke keys, one or all of an application.
    pub const KEYS_REVOKE: &str = "keys:revoke";
    /// Ask whether tokens pass.
    pub const KEYS_VERIFY: &str = "keys:verify";
    /// See roles.
    pub const ROLES_READ: &str = "roles:read";
    /// Create, change and retire roles.
    pub const ROLES_WRITE: &str = "roles:write";
    /// See webhooks and what could not be delivered to them.
    pub const WEBHOOKS_READ: &str = "webhooks:read";
    /// Create, change, test and retire webhooks, rotate their secrets, replay and drop what could not be delivered.
    pub const WEBHOOKS_WRITE: &str = "webhooks:write";
    /// See policies.
    pub const POLICIES_READ: &str = "policies:read";
    /// Create, change and retire policies.
    pub const POLICIES_WRITE: &str = "policies:write";
    /// See the log.
    pub const AUDIT_READ: &str = "audit:read";
    /// Freeze and thaw issuing.
    pub const EMERGENCY_FREEZE: &str = "emergency:freeze";
    /// See whether issuing is frozen.
    pub const EMERGENCY_READ: &str = "emergency:read";
    /// Destroy what is personal in the log of past months.
    pub const AUDIT_SHRED: &str = "audit:shred";
    /// See the rings' versions and what is sealed under each.
    pub const RINGS_READ: &str = "rings:read";
    /// Have records sealed anew.
    pub const RINGS_WRITE: &str = "rings:write";
    /// See the metrics of the whole of Keyward.
    pub const METRICS_READ: &str = "metrics:read";
    /// Have the work done that is due from time to time.
    pub const MAINTENANCE_RUN: &str = "maintenance:run";
    /// See which credentials there are, though not what they hold.
    pub const CREDENTIALS_LIST: &str = "credentials:list";
    /// Read what credentials hold. Keys of other applications than `keyward` hold it for names of their own application's credentials.
    pub const CREDENTIALS_READ: &str = "credentials:read";
    /// Create and change credentials, write versions of them, go back to one.
    pub const CREDENTIALS_WRITE: &str = "credentials:write";
    /// Destroy versions of credentials, and retire credentials.
    pub const CREDENTIALS_DESTROY: &str = "credentials:destroy";
}

/// What the scopes of the vault begin with: those alone may be narrowed to names.
const OF_THE_VAULT: &str = "credentials:";

const GRAMMAR: &str = "segments of `[a-z0-9._-]` joined by `:`, the last may be `*`, at most 128 bytes";

/// One scope, in its one spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    // Boxed, since errors name one: they are returned everywhere, and stay small.
    pattern: Box<str>,
    application: Option<ApplicationId>,
    /// Of credentials: one name, or all below one.
    names: Option<Box<str>>,
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAScope {
    reason: String,
}

impl fmt::Display for NotAScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected {GRAMMAR}", self.reason)
    }
}

impl NotAScope {
    /// The same as a finding about a field of a request.
    pub fn into_field(self, field: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), reason: self.reason, expected: GRAMMAR.to_owned() }
    }
}

impl Scope {
    /// Parses a scope.
    ///
    /// # Errors
    /// [`NotAScope`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NotAScope> {
        let no = |reason: &str| Err(NotAScope { reason: reason.to_owned() });
        if text.is_empty() {
            return no("is empty");
        }
        if text.len() > SCOPE_BYTES_MAX {
            return no("is too long");
        }
        let (pattern, narrowed) =
            text.split_once('@').map_or((text, None), |(pattern, to)| (pattern, Some(to)));
        let (application, names) = match narrowed {
            None => (None, None),
            Some(to) => match narrowing(to) {
                None => return no("names no application after `@`"),
                // Names are those of credentials.
                Some((_, Some(_))) if !pattern.starts_with(OF_THE_VAULT) => {
                    return no("names no application after `@`");
                }
                Some(narrowed) => narrowed,
            },
        };
        let mut segments = pattern.split(':').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if segment == "*" && last {
                continue;
            }
            if segment.is_empty() {
                return no("has an empty segment");
            }
            if !segment
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
            {
                return no("has a character that no scope has");
            }
        }
        Ok(Self { pattern: pattern.into(), application, names: names.map(Into::into) })
    }

    /// A scope of administration written in the code, which is known to be well-formed.
    pub fn fixed(pattern: &'static str) -> Self {
        Self { pattern: pattern.into(), application: None, names: None }
    }

    /// The same scope, narrowed to one application.
    #[must_use]
    pub fn at(mut self, application: ApplicationId) -> Self {
        self.application = Some(application);
        self
    }

    /// The same scope, narrowed to one credential's name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.names = Some(name.into());
        self
    }

    /// Which application this scope is narrowed to.
    pub const fn application(&self) -> Option<ApplicationId> {
        self.application
    }

    /// Whether it is narrowed at all.
    pub const fn is_narrowed(&self) -> bool {
        self.application.is_some() || self.names.is_some()
    }

    /// Whether it grants a service to read credentials by their names: nothing but `credentials:read@NAMES` does, so that a partner's
    /// `*` or `credentials:read`, which may mean something of the partner's own, opens no vault.
    pub fn is_grant(&self) -> bool {
        &*self.pattern == administration::CREDENTIALS_READ
            && self.names.is_some()
            && self.application.is_none()
    }

    /// Whether whoever holds `self` may do all that `needed` allows.
    pub fn covers(&self, needed: &Self) -> bool {
        let place = self.application.is_none() || self.application == needed.application;
        let names = match (&self.names, &needed.names) {
            (None, _) => true,
            (Some(held), Some(needed)) => covers_pattern(held, needed),
            (Some(_), None) => false,
        };
        place && names && covers_pattern(&self.pattern, &needed.pattern)
    }
}

/// What a scope is narrowed to by the text behind its `@`: an application, names of credentials, or names of one application's.
fn narrowing(text: &str) -> Option<(Option<ApplicationId>, Option<&str>)> {
    if !text.starts_with(ApplicationId::PREFIX) {
        return is_name_pattern(text).then_some((None, Some(text)));
    }
    let (id, names) = text.split_once('/').map_or((text, None), |(id, names)| (id, Some(names)));
    let fits = names.is_none_or(is_name_pattern);
    Some((Some(id.parse().ok()?), names)).filter(|_| fits)
}

fn covers_pattern(held: &str, needed: &str) -> bool {
    match held.strip_suffix('*') {
        None => held == needed,
        // `a:*` covers what lies below `a:`, not `a` itself.
        Some(stem) => needed.starts_with(stem),
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)?;
        match (self.application, &self.names) {
            (Some(id), Some(names)) => write!(f, "@{id}/{names}"),
            (Some(id), None) => write!(f, "@{id}"),
            (None, Some(names)) => write!(f, "@{names}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl_schema!(
    Scope,
    text(
        "What a key may do: segments joined by `:`, the last may be `*` for everything below. Scopes of administration may be narrowed to one application after an `@`, those of the vault to names of credentials.",
        "^(\\*|[a-z0-9._-]+(:[a-z0-9._-]+)*(:\\*)?)(@(app_[0-7][0-9A-Za-z]{21}|(app_[0-7][0-9A-Za-z]{21}/)?(\\*|[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*(/\\*)?)))?$",
    )
    .max_length(Some(SCOPE_BYTES_MAX))
);

/// For which applications a scope is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// For all.
    Everywhere,
    /// For these, in order, each once.
    Some(Vec<ApplicationId>),
    /// For none.
    Nowhere,
}

/// The scopes that a key holds: sorted, each once, at most [`SCOPES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Parses the scopes of a request's `field`.
    ///
    /// # Errors
    /// One [`FieldError`] for each entry that is no scope, or one for too many of them.
    pub fn parse<S: AsRef<str>>(field: &str, texts: &[S]) -> Result<Self, Vec<FieldError>> {
        if texts.len() > SCOPES_MAX {
            return Err(vec![FieldError::new(
                field,
                format!("has {} entries", texts.len()),
                "at most 64 scopes",
            )]);
        }
        let mut scopes = Vec::with_capacity(texts.len());
        let mut errors = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match Scope::parse(text.as_ref()) {
                Ok(scope) => scopes.push(scope),
                Err(error) => errors.push(error.into_field(format!("{field}[{index}]"))),
            }
        }
        if errors.is_empty() { Ok(Self::from_iter(scopes)) } else { Err(errors) }
    }

    /// Whether some scope held covers `needed`.
    pub fn allows(&self, needed: &Scope) -> bool {
        self.0.iter().any(|held| held.covers(needed))
    }

    /// The first scope of `other` that none held here covers; `None` where `self` is a superset.
    pub fn first_missing<'a>(&self, other: &'a Self) -> Option<&'a Scope> {
        other.0.iter().find(|needed| !self.allows(needed))
    }

    /// Where `needed` is held.
    pub fn reach(&self, needed: &Scope) -> Reach {
        if self.allows(needed) {
            return Reach::Everywhere;
        }
        let narrowed = |held: &Scope| held.application().filter(|id| held.covers(&needed.clone().at(*id)));
        let mut some: Vec<ApplicationId> = Vec::new();
        for application in self.0.iter().filter_map(narrowed) {
            if let Err(place) = some.binary_search(&application) {
                some.insert(place, application);
            }
        }
        if some.is_empty() { Reach::Nowhere } else { Reach::Some(some) }
    }

    /// Passes where `needed` is held for every application.
    ///
    /// # Errors
    /// [`crate::Code::InsufficientScope`].
    pub fn require(&self, needed: &Scope) -> Result<(), Error> {
        if self.allows(needed) { Ok(()) } else { Err(Error::missing_scope(needed.clone())) }
    }

    /// Passes where `needed` is held for some application at least: what comes before the application is known.
    ///
    /// # Errors
    /// [`crate::Code::InsufficientScope`].
    pub fn require_somewhere(&self, needed: &Scope) -> Result<(), Error> {
        match self.reach(needed) {
            Reach::Nowhere => Err(Error::missing_scope(needed.clone())),
            _ => Ok(()),
        }
    }

    /// Passes where `needed` is held for `application`. For whoever holds it for others only, there is no such `what`: the
    /// error is [`Error::hidden`].
    ///
    /// # Errors
    /// [`crate::Code::InsufficientScope`] and [`crate::Code::NotFound`].
    pub fn require_at(&self, needed: &Scope, application: ApplicationId, what: &str) -> Result<(), Error> {
        match self.reach(needed) {
            Reach::Everywhere => Ok(()),
            Reach::Some(some) if some.contains(&application) => Ok(()),
            Reach::Some(_) => Err(Error::hidden(what, needed.clone().at(application))),
            Reach::Nowhere => Err(Error::missing_scope(needed.clone())),
        }
    }

    /// Passes where `needed` is held. For whoever holds the like for others only, there is no such `what`: the error is
    /// [`Error::hidden`].
    ///
    /// # Errors
    /// [`crate::Code::InsufficientScope`] and [`crate::Code::NotFound`].
    pub fn require_this(&self, needed: &Scope, what: &str) -> Result<(), Error> {
        if self.allows(needed) {
            Ok(())
        } else if self.holds_like(&Self::wide(needed)) {
            Err(Error::hidden(what, needed.clone()))
        } else {
            // Of whoever holds nothing like it, not even whether there is such a thing depends.
            Err(Error::missing_scope(Self::wide(needed)))
        }
    }

    /// The same scope, not narrowed.
    fn wide(scope: &Scope) -> Scope {
        Scope { pattern: scope.pattern.clone(), application: None, names: None }
    }

    /// Whether `needed` is held for something at least, however narrow; where `needed` is narrowed to an application, for something of
    /// that.
    pub fn holds_like(&self, needed: &Scope) -> bool {
        let is_there = |held: &Scope| {
            held.application.is_none()
                || needed.application.is_none()
                || held.application == needed.application
        };
        self.0.iter().any(|held| is_there(held) && covers_pattern(&held.pattern, &needed.pattern))
    }

    /// All that either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Separated by spaces, as RFC 6750 writes them.
    pub fn joined(&self) -> String {
        let mut out = String::new();
        for scope in &self.0 {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&scope.to_string());
        }
        out
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        // Inserted one by one: a general sort is 40 KB of code in a component, for at most 64 entries.
        let mut sorted: Vec<Scope> = Vec::new();
        for scope in scopes {
            if let Err(place) = sorted.binary_search(&scope) {
                sorted.insert(place, scope);
            }
        }
        Self(sorted)
    }
}

impl_schema!(
    ScopeSet,
    ArrayBuilder::new()
        .items(Ref::from_schema_name(Scope::name()))
        .max_items(Some(SCOPES_MAX))
        .unique_items(true)
        .description(Some("The scopes that a key holds.")),
    Scope,
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).expect(text)
    }

    #[test]
    fn grammar() {
        assert!(Scope::parse(&"x".repeat(128)).is_ok());
        for good in [
            "*",
            "orders:read",
            "orders:*",
            "a",
            "a.b-c_d:e:f:g",
            "keys:write@app_0000000000000000000000",
            "credentials:read@*",
            "credentials:read@payments/db",
            "credentials:*@payments/*",
            "credentials:read@app_0000000000000000000000/payments/db",
            &format!("credentials:destroy@app_0000000000000000000000/{}", "x".repeat(80)),
        ] {
            assert_eq!(Scope::parse(good).map(|s| s.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            ":",
            "a:",
            ":a",
            "a::b",
            "*:a",
            "a*",
            "A:b",
            "a b",
            "a:b@",
            "a:b@app_x",
            "a:b@db",
            "*@db",
            "credentials:read@",
            "credentials:read@app_x",
            "credentials:read@app_0000000000000000000000/",
            "credentials:read@/db",
            "credentials:read@db/",
            "credentials:read@d*",
            "credentials:read@db@db",
            "ä",
            "a\0",
            "a,b",
            &"x".repeat(129),
        ] {
            assert!(Scope::parse(bad).is_err(), "`{bad}`");
        }
    }

    #[test]
    fn covering() {
        let app = "app_0000000000000000000001";
        let yes = [
            ("*", "orders:read"),
            ("*", "*"),
            ("orders:*", "orders:read"),
            ("orders:*", "orders:read:all"),
            ("orders:*", "orders:*"),
            ("orders:read", "orders:read"),
            ("keys:write", &format!("keys:write@{app}")),
            (&format!("keys:*@{app}"), &format!("keys:write@{app}")),
            ("credentials:read", "credentials:read@payments/db"),
            ("credentials:read@*", "credentials:read@payments/db"),
            ("credentials:read@payments/*", "credentials:read@payments/db"),
            ("credentials:read@payments/*", "credentials:read@payments/eu/*"),
            ("credentials:read@payments/db", "credentials:read@payments/db"),
            ("credentials:*@payments/*", &format!("credentials:read@{app}/payments/db")),
            (&format!("credentials:read@{app}"), &format!("credentials:read@{app}/payments/db")),
            (&format!("credentials:read@{app}/payments/*"), &format!("credentials:read@{app}/payments/db")),
            ("*", "credentials:read@payments/db"),
        ];
        let no = [
            ("orders:read", "orders:write"),
            ("orders:read", "orders:*"),
            ("orders:*", "orders"),
            ("orders:*", "*"),
            ("orders:*", "ordersx:read"),
            ("order:read", "orders:read"),
            (&format!("keys:write@{app}"), "keys:write"),
            (&format!("keys:write@{app}"), "keys:write@app_0000000000000000000002"),
            ("credentials:read@payments/*", "credentials:read"),
            ("credentials:read@*", "credentials:read"),
            ("credentials:read@payments/*", "credentials:read@payments"),
            ("credentials:read@payments/*", "credentials:read@paymentsx/db"),
            ("credentials:read@payments/*", "credentials:read@*"),
            ("credentials:read@payments/db", "credentials:read@payments/db2"),
            ("credentials:read@payments/*", "credentials:write@payments/db"),
            (&format!("credentials:read@{app}"), "credentials:read@payments/db"),
            (
                &format!("credentials:read@{app}/payments/*"),
                "credentials:read@app_0000000000000000000002/payments/db",
            ),
        ];
        for (held, needed) in yes {
            assert!(scope(held).covers(&scope(needed)), "{held} covers {needed}");
        }
        for (held, needed) in no {
            assert!(!scope(held).covers(&scope(needed)), "{held} does not cover {needed}");
        }
    }

    #[test]
    fn sets_name_each_bad_entry() {
        let errors = ScopeSet::parse("scopes", &["a:b", "A", ""]).expect_err("two are wrong");
        assert_eq!(errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), ["scopes[1]", "scopes[2]"]);
        assert!(ScopeSet::parse("scopes", &vec!["a"; 64]).is_ok());
        assert!(ScopeSet::parse("scopes", &vec!["a"; 65]).is_err());
        let set = ScopeSet::parse("scopes", &["b:c", "a", "b:c"]).expect("scopes");
        assert_eq!((set.joined().as_str(), set.is_empty()), ("a b:c", false));
        assert_eq!((ScopeSet::default().joined().as_str(), ScopeSet::default().is_empty()), ("", true));
    }

    #[test]
    fn what_a_narrowed_holder_may_not_see_does_not_exist() {
        let (mine, other) = (ApplicationId::from_bytes([1; 16]), ApplicationId::from_bytes([2; 16]));
        let read = Scope::fixed("keys:read");
        let at_mine = ScopeSet::from_iter([scope("keys:*").at(mine)]);
        let (all, none) = (ScopeSet::from_iter([scope("keys:*")]), ScopeSet::from_iter([scope("apps:read")]));
        let code = |set: &ScopeSet, app| set.require_at(&read, app, "key").map_err(|e| e.code);
        assert_eq!((code(&all, mine), code(&at_mine, mine)), (Ok(()), Ok(())));
        assert_eq!(code(&at_mine, other), Err(crate::Code::NotFound));
        assert_eq!(code(&none, mine), Err(crate::Code::InsufficientScope));
        assert_eq!(at_mine.require(&read).map_err(|e| e.code), Err(crate::Code::InsufficientScope));
        assert!(at_mine.require_somewhere(&read).is_ok() && none.require_somewhere(&read).is_err());
        assert_eq!(at_mine.reach(&read), Reach::Some(vec![mine]));
        assert_eq!((all.reach(&read), none.reach(&read)), (Reach::Everywhere, Reach::Nowhere));
    }

    #[test]
    fn nothing_but_a_name_behind_the_word_itself_opens_the_vault() {
        let grants = ["credentials:read@*", "credentials:read@db", "credentials:read@payments/*"];
        let others = [
            "*",
            "credentials:*",
            "credentials:read",
            "credentials:*@db",
            "credentials:write@db",
            "credentials:read@app_0000000000000000000001/db",
        ];
        assert!(grants.iter().all(|text| scope(text).is_grant()));
        assert!(others.iter().all(|text| !scope(text).is_grant()));
    }

    #[test]
    fn whoever_may_read_other_names_is_told_that_there_is_none() {
        let needed =
            Scope::fixed("credentials:read").at(ApplicationId::from_bytes([1; 16])).named("payments/db");
        let code = |held: &str| {
            ScopeSet::from_iter([scope(held)]).require_this(&needed, "credential").map_err(|e| e.code)
        };
        assert_eq!(code("credentials:read@payments/*"), Ok(()));
        assert_eq!(code("credentials:read@orders/*"), Err(crate::Code::NotFound));
        assert_eq!(code("credentials:write"), Err(crate::Code::InsufficientScope));
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        ("[ab]{1,2}(:[ab]{1,2}){0,2}(:\\*)?").prop_map(|text| Scope::parse(&text).expect("by the grammar"))
    }

    proptest! {
        #[test]
        fn covering_is_a_preorder(a in any_scope(), b in any_scope(), c in any_scope()) {
            prop_assert!(a.covers(&a));
            if a.covers(&b) && b.covers(&c) {
                prop_assert!(a.covers(&c));
            }
        }

        #[test]
        fn nobody_gains_by_a_superset(held in proptest::collection::vec(any_scope(), 0..4), asked in proptest::collection::vec(any_scope(), 0..4), probe in any_scope()) {
            let (held, asked) = (ScopeSet::from_iter(held), ScopeSet::from_iter(asked));
            if held.first_missing(&asked).is_none() && asked.allows(&probe) {
                prop_assert!(held.allows(&probe));
            }
        }
    }
}
