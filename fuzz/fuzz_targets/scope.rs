//! Scopes: the grammar against one that is written down segment by segment, covering and supersets against sets of what is covered, those
//! that are narrowed to names of credentials included.
#![no_main]

use arbitrary::Arbitrary;
use keyward_domain::ApplicationId;
use keyward_domain::scope::{Reach, SCOPE_BYTES_MAX, Scope, ScopeSet};
use keyward_fuzz::Word;
use libfuzzer_sys::fuzz_target;

/// A scope taken apart: the model's own form.
#[derive(Debug, Clone, Arbitrary)]
struct Parts {
    first: Option<Word>,
    more: Option<[Word; 2]>,
    below: bool,
    application: Option<bool>,
    /// Names of credentials, to which it is narrowed: it is a scope of the vault then.
    names: Option<Names>,
}

/// One name, or all below one.
#[derive(Debug, Clone, Arbitrary)]
struct Names {
    first: Option<Word>,
    second: Option<Word>,
    below: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    held: [Parts; 3],
    held_count: u8,
    asked: [Parts; 3],
    asked_count: u8,
    needed: Parts,
}

const APPLICATIONS: [ApplicationId; 2] =
    [ApplicationId::from_bytes([1; 16]), ApplicationId::from_bytes([2; 16])];

/// What `held` names of all that is named by segments; the model takes `*` for one that only a wildcard covers.
fn covers_segments(held: &[&str], wanted: &[&str]) -> bool {
    match held.split_last() {
        Some((&"*", stem)) => wanted.len() > stem.len() && wanted.starts_with(stem),
        _ => held == wanted,
    }
}

fn segments_of(words: impl Iterator<Item = &'static str>, below: bool) -> Vec<&'static str> {
    let mut segments: Vec<_> = words.collect();
    if below || segments.is_empty() {
        segments.push("*");
    }
    segments
}

impl Names {
    fn segments(&self) -> Vec<&'static str> {
        segments_of(self.first.iter().chain(&self.second).map(|word| word.0), self.below)
    }
}

impl Parts {
    fn segments(&self) -> Vec<&'static str> {
        let vault = self.names.iter().map(|_| "credentials");
        let words = self.first.iter().chain(self.more.iter().flatten()).map(|word| word.0);
        // Nothing is narrowed to names but what begins with `credentials:`.
        let below = self.below || (self.first.is_none() && self.more.is_none());
        segments_of(vault.chain(words), below)
    }

    fn place(&self) -> Option<ApplicationId> {
        self.application.map(|second| APPLICATIONS[usize::from(second)])
    }

    fn scope(&self) -> Scope {
        let mut text = self.segments().join(":");
        let place = self.place().map(|id| id.to_string());
        let names = self.names.as_ref().map(|names| names.segments().join("/"));
        let narrowed: Vec<String> = place.into_iter().chain(names).collect();
        if !narrowed.is_empty() {
            text.push_str(&format!("@{}", narrowed.join("/")));
        }
        Scope::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// Whether all that `needed` names is named by `self`.
    fn covers(&self, needed: &Self) -> bool {
        let names = match (&self.names, &needed.names) {
            (None, _) => true,
            (Some(held), Some(wanted)) => covers_segments(&held.segments(), &wanted.segments()),
            (Some(_), None) => false,
        };
        let place = self.place().is_none() || self.place() == needed.place();
        place && names && covers_segments(&self.segments(), &needed.segments())
    }

    fn at(&self, application: bool) -> Self {
        Self { application: Some(application), ..self.clone() }
    }
}

/// Names of credentials: `segment(/segment)*`, each of which begins with a letter or digit; the last may be `*`.
fn are_names(text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let plain = |s: &&str| {
        s.starts_with(|c: char| matches!(c, 'a'..='z' | '0'..='9'))
            && s.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
    };
    match segments.split_last() {
        Some((&"*", before)) => before.iter().all(plain),
        _ => segments.iter().all(plain),
    }
}

/// The grammar: `segment(:segment)*`, the last may be `*`, narrowed by `@` and an application's id, or below `credentials:` names, or both.
fn is_scope(text: &str) -> bool {
    let (pattern, place) =
        text.split_once('@').map_or((text, None), |(pattern, place)| (pattern, Some(place)));
    let segments: Vec<&str> = pattern.split(':').collect();
    let plain =
        |s: &&str| !s.is_empty() && s.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'));
    let fits = match segments.split_last() {
        Some((&"*", before)) => before.iter().all(plain),
        _ => segments.iter().all(plain),
    };
    let (id, names) = match place {
        Some(place) if place.starts_with("app_") => {
            place.split_once('/').map_or((Some(place), None), |(id, names)| (Some(id), Some(names)))
        }
        names => (None, names),
    };
    let names = names.is_none_or(|names| {
        pattern.starts_with("credentials:") && are_names(names) && !names.starts_with("app_")
    });
    let id = id.is_none_or(|id| id.parse::<ApplicationId>().is_ok());
    fits && id && names && text.len() <= SCOPE_BYTES_MAX
}

fuzz_target!(|data: &[u8]| {
    let (text, input) = keyward_fuzz::read::<Input>(data);
    match Scope::parse(text) {
        Ok(scope) => {
            assert!(is_scope(text));
            assert_eq!(scope.to_string(), text);
            assert!(scope.covers(&scope) && Scope::fixed("*").covers(&scope));
        }
        Err(_) => assert!(!is_scope(text)),
    }
    let Some(input) = input else { return };

    let held = &input.held[..usize::from(input.held_count % 4)];
    let asked = &input.asked[..usize::from(input.asked_count % 4)];
    let set = |parts: &[Parts]| ScopeSet::from_iter(parts.iter().map(Parts::scope));
    let (held_set, asked_set, needed) = (set(held), set(asked), input.needed.scope());
    let naive = |parts: &[Parts], needed: &Parts| parts.iter().any(|one| one.covers(needed));

    for one in held {
        assert_eq!(one.scope().covers(&needed), one.covers(&input.needed), "{one:?} {needed:?}");
        let is_grant =
            one.segments() == ["credentials", "read"] && one.names.is_some() && one.application.is_none();
        assert_eq!(one.scope().is_grant(), is_grant, "{one:?}");
    }
    assert_eq!(held_set.allows(&needed), naive(held, &input.needed));
    let missing = asked.iter().any(|one| !naive(held, one));
    assert_eq!(held_set.first_missing(&asked_set).is_some(), missing);
    let union = held_set.union(&asked_set);
    assert_eq!(union.allows(&needed), naive(held, &input.needed) || naive(asked, &input.needed));
    assert!(union.first_missing(&held_set).is_none() && union.first_missing(&asked_set).is_none());

    // Where it is held: what is asked for everywhere, and at each application by itself.
    let everywhere = Parts { application: None, ..input.needed.clone() };
    let somewhere: Vec<ApplicationId> = [false, true]
        .into_iter()
        .filter(|at| naive(held, &everywhere.at(*at)))
        .map(|at| APPLICATIONS[usize::from(at)])
        .collect();
    let reach = held_set.reach(&everywhere.scope());
    match &reach {
        Reach::Everywhere => assert!(naive(held, &everywhere)),
        Reach::Some(some) => assert!(!naive(held, &everywhere) && *some == somewhere),
        Reach::Nowhere => assert!(!naive(held, &everywhere) && somewhere.is_empty()),
    }
    assert_eq!(held_set.require_somewhere(&everywhere.scope()).is_ok(), reach != Reach::Nowhere);
    for at in APPLICATIONS {
        let passes = held_set.require_at(&everywhere.scope(), at, "key").is_ok();
        assert_eq!(passes, somewhere.contains(&at), "what is held at {at}");
    }

    let texts: Vec<String> = held_set.iter().map(ToString::to_string).collect();
    assert_eq!(ScopeSet::parse("scopes", &texts), Ok(held_set), "a set reads itself");
});
