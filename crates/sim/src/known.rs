//! What those who called know: what was acknowledged to them and when, and what may have happened. Whatever contradicts it is a broken
//! promise, and panics with what was broken.

use crate::world::{Do, Reply};
use keyward_domain::timestamp::Month;
use keyward_domain::{ApplicationId, Error, KeyId, PolicyId, RoleId, WebhookId};
use keyward_ledger::Receipt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How a call ended for whoever made it; `None` where no answer came.
pub type Ended = Option<Result<Reply, Error>>;

/// A moment in a world: how many batches the store had, and the monotonic time.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub written: usize,
    pub at_ms: u64,
}

/// Since when something is acknowledged to be dead.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    pub since: Moment,
    /// With its whole application: validators may remember for 250 ms that it lived.
    pub by_application: bool,
}

pub struct KnownKey {
    pub application: ApplicationId,
    pub dead: Option<Death>,
    /// Something was begun that ends it, or one of its versions, or lets it not pass.
    pub may_end: bool,
    /// An answer is missing that may have brought a version that nobody knows.
    pub may_have_more: bool,
    /// Acknowledged to be switched off, and nobody has begun to switch it on.
    pub disabled: Option<Moment>,
    opposed: Opposed,
    /// The acknowledged name of the highest revision, and every name that it may have got without an answer.
    name: (u64, String),
    maybe_named: Vec<String>,
}

pub struct KnownToken {
    pub key: KeyId,
    pub version: u64,
    pub text: String,
    pub dead: Option<Moment>,
}

/// Calls that undo what another acknowledges: how many were begun, and how many of these have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Opposed {
    begun: u32,
    under_way: u32,
}

impl Opposed {
    /// Whether what began when it stood at `then` and is acknowledged now holds.
    fn lets_hold(self, then: Self) -> bool {
        self.begun == then.begun && then.under_way == 0
    }
}

/// What is personal was destroyed of the months before one, as was acknowledged.
pub struct Shredded {
    pub before: Month,
    /// So many events were acknowledged before it began.
    pub acknowledged: usize,
}

/// What is known when a call begins, as far as what it comes to depends on it.
pub struct Begun {
    tokens: usize,
    keys: usize,
    enables: Opposed,
    thaws: Opposed,
    frozen: bool,
    /// Whether what it presents was withdrawn.
    is_withdrawn: bool,
}

#[derive(Default)]
pub struct Known {
    pub applications: Vec<ApplicationId>,
    /// In the order of their birth.
    pub born: Vec<KeyId>,
    pub keys: BTreeMap<KeyId, KnownKey>,
    pub tokens: Vec<KnownToken>,
    pub renewals: Vec<(KeyId, String)>,
    pub tickets: Vec<(KeyId, String)>,
    /// Renewal tokens and tickets that were reported as leaked, as was acknowledged.
    pub withdrawn: BTreeSet<String>,
    pub policies: Vec<PolicyId>,
    pub roles: Vec<RoleId>,
    pub webhooks: Vec<WebhookId>,
    pub receipts: Vec<Receipt>,
    /// Names of keys that were issued with an Idempotency-Key: there is one key of each at most.
    pub issued_once: Vec<String>,
    /// Whether issuing is acknowledged to be frozen, and nobody has begun to thaw it.
    pub is_frozen: bool,
    thaws: Opposed,
    /// Tokens by what they were minted for: a ticket, or a renewal token.
    minted: BTreeMap<String, String>,
    by_version: BTreeMap<(KeyId, u64), String>,
    /// In this world writers may stall and clocks may jump while requests are under way: edits may be lost, as ARCHITECTURE.md says.
    pub edits_may_be_lost: bool,
    /// Applications whose keys may end, those that are born later as well; all where it is `None`.
    ending: BTreeSet<Option<ApplicationId>>,
    /// The application whose keys nothing ends: their holders count on them.
    pub calm: Option<ApplicationId>,
    pub shredded: Vec<Shredded>,
    /// The last month before which it was asked for.
    pub shredding: Option<Month>,
    names_given: u32,
}

/// The texts of a report of leaks.
fn reported(report: &Value) -> impl Iterator<Item = &str> {
    report.as_array().into_iter().flatten().filter_map(|found| found["token"].as_str())
}

impl Known {
    pub fn fresh_name(&mut self) -> String {
        self.names_given += 1;
        format!("n{}", self.names_given)
    }

    fn key_of(&self, token: &str) -> Option<KeyId> {
        self.tokens.iter().find(|known| known.text == token).map(|known| known.key)
    }

    /// Something begins, and what it may do may be done from now on.
    pub fn begin(&mut self, what: &Do) -> Begun {
        let mut enables = Opposed::default();
        let mut is_withdrawn = false;
        match what {
            Do::Renew(text) | Do::TakeClaim(text) => is_withdrawn = self.withdrawn.contains(text),
            Do::ReportLeaks(report) => {
                for text in reported(report) {
                    self.key_of(text).into_iter().for_each(|key| self.may_end(key));
                }
            }
            Do::RevokeKey(key, _) | Do::FinishRotation(key, _) => self.may_end(*key),
            Do::Report(token) => self.key_of(token).into_iter().for_each(|key| self.may_end(key)),
            Do::Rotate(key, asked) if asked["mode"] == "incident" => self.may_end(*key),
            Do::RevokeApplication(application, _) => self.all_may_end(Some(*application)),
            Do::RevokeMany(asked) => {
                let of = asked["application"].as_str().map(|id| id.parse().unwrap());
                if asked["tag"].is_null() {
                    self.all_may_end(of);
                } else {
                    // Which of them have it is not followed here.
                    self.all_may_end(None);
                }
            }
            Do::ChangeApplication(application, change, _) if !change["status"].is_null() => {
                self.all_may_end(Some(*application));
            }
            Do::ChangeKey(id, change, _) => {
                if let Some(key) = self.keys.get_mut(id) {
                    if let Some(name) = change["name"].as_str() {
                        key.maybe_named.push(name.to_owned());
                    }
                    if change["disabled"] == true {
                        key.may_end = true;
                    }
                    if change["disabled"] == false {
                        key.opposed.begun += 1;
                        key.opposed.under_way += 1;
                        key.disabled = None;
                    }
                    enables = key.opposed;
                }
            }
            Do::Thaw(_) => {
                self.thaws.begun += 1;
                self.thaws.under_way += 1;
                self.is_frozen = false;
            }
            _ => {}
        }
        let (tokens, keys) = (self.tokens.len(), self.born.len());
        Begun { tokens, keys, enables, thaws: self.thaws, frozen: self.is_frozen, is_withdrawn }
    }

    fn may_end(&mut self, key: KeyId) {
        if let Some(key) = self.keys.get_mut(&key) {
            key.may_end = true;
        }
    }

    /// All keys, or those of an application, but for those whose holders count on them.
    fn all_may_end(&mut self, of: Option<ApplicationId>) {
        self.ending.insert(of);
        let calm = self.calm;
        let meant =
            |key: &&mut KnownKey| of.is_none_or(|of| of == key.application) && calm != Some(key.application);
        self.keys.values_mut().filter(meant).for_each(|key| key.may_end = true);
    }

    /// Takes note of how a call ended.
    pub fn end(&mut self, what: &Do, begun: &Begun, now: Moment, ended: &Ended, receipt: Option<Receipt>) {
        match what {
            Do::Thaw(_) => self.thaws.under_way -= 1,
            Do::ChangeKey(id, change, _) if change["disabled"] == false => {
                self.keys.get_mut(id).into_iter().for_each(|key| key.opposed.under_way -= 1);
            }
            _ => {}
        }
        match ended {
            Some(Ok(reply)) => {
                self.receipts.extend(receipt);
                self.acknowledged(what, begun, now, reply);
            }
            Some(Err(error)) if error.code.status() < 500 => {}
            _ => self.unknown(what),
        }
    }

    fn unknown(&mut self, what: &Do) {
        let key = match what {
            Do::TakeClaim(ticket) => {
                self.tickets.iter().find(|(_, known)| known == ticket).map(|(key, _)| *key)
            }
            Do::Renew(token) => self.renewals.iter().find(|(_, known)| known == token).map(|(key, _)| *key),
            Do::Rotate(key, _) | Do::Reissue(key) => Some(*key),
            _ => None,
        };
        if let Some(key) = key.and_then(|key| self.keys.get_mut(&key)) {
            key.may_have_more = true;
        }
    }

    fn acknowledged(&mut self, what: &Do, begun: &Begun, now: Moment, reply: &Reply) {
        let answer = reply.json();
        let id =
            |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        match what {
            Do::CreateApplication(_) => self.applications.push(id("/id").parse().unwrap()),
            Do::CreatePolicy(_) => self.policies.push(id("/id").parse().unwrap()),
            Do::CreateRole(_) => self.roles.push(id("/id").parse().unwrap()),
            Do::CreateWebhook(_) => self.webhooks.push(id("/webhook/id").parse().unwrap()),
            Do::Issue(new) => {
                assert!(
                    reply.replayed || !self.was_frozen(begun),
                    "a key was issued while issuing was frozen"
                );
                let key: KeyId = id("/key/id").parse().unwrap();
                self.tickets.push((key, id("/claim/ticket")));
                self.knows(key, id("/key/application").parse().unwrap(), new["name"].as_str().unwrap());
            }
            Do::Reissue(key) => self.tickets.push((*key, id("/claim/ticket"))),
            Do::Rotate(key, asked) => {
                self.tickets.push((*key, id("/claim/ticket")));
                if asked["mode"] == "incident" {
                    self.end_versions(*key, begun.tokens, u64::MAX, now);
                }
            }
            Do::FinishRotation(key, _) => {
                let known = self.tokens.iter().take(begun.tokens).filter(|token| token.key == *key);
                let newest = known.map(|token| token.version).max().unwrap_or(0);
                self.end_versions(*key, begun.tokens, newest, now);
            }
            Do::TakeClaim(ticket) => {
                assert!(
                    reply.replayed || !self.was_frozen(begun),
                    "a claim was taken while issuing was frozen"
                );
                assert!(
                    reply.replayed || !begun.is_withdrawn || self.edits_may_be_lost,
                    "a claim was taken whose ticket had leaked"
                );
                self.minted(ticket, reply);
            }
            Do::Renew(renewal) => {
                assert!(
                    reply.replayed || !self.was_frozen(begun),
                    "a key was renewed while issuing was frozen"
                );
                assert!(
                    reply.replayed || !begun.is_withdrawn || self.edits_may_be_lost,
                    "a key was renewed by a token that had leaked"
                );
                self.minted(renewal, reply);
            }
            Do::RevokeKey(key, _) => self.dies(*key, now, false),
            Do::Report(token) => {
                // Whoever reports a token that is none is told nothing else.
                if let Some(key) = self.key_of(token) {
                    self.dies(key, now, false);
                }
            }
            Do::ReportLeaks(report) => {
                for text in reported(report) {
                    match self.tokens.iter_mut().find(|known| known.text == text) {
                        Some(token) => token.dead = token.dead.or(Some(now)),
                        None => drop(self.withdrawn.insert(text.to_owned())),
                    }
                }
            }
            Do::RevokeMany(asked) if asked["dry_run"] != true => {
                for dead in answer["revoked"].as_array().into_iter().flatten() {
                    self.dies(dead["id"].as_str().unwrap().parse().unwrap(), now, false);
                }
            }
            Do::RevokeApplication(application, _) => {
                let of = |key: &KeyId| self.keys.get(key).is_some_and(|key| key.application == *application);
                let dead: Vec<KeyId> = self.born.iter().take(begun.keys).copied().filter(of).collect();
                dead.into_iter().for_each(|key| self.dies(key, now, true));
            }
            Do::ChangeKey(id, change, _) => {
                let revision = answer["revision"].as_u64().unwrap();
                let Some(key) = self.keys.get_mut(id) else { return };
                if let Some(name) = change["name"].as_str() {
                    key.maybe_named.retain(|maybe| maybe != name);
                    if revision > key.name.0 {
                        key.name = (revision, name.to_owned());
                    }
                }
                if change["disabled"] == true && key.opposed.lets_hold(begun.enables) {
                    key.disabled = Some(now);
                }
            }
            Do::Freeze(_) => self.is_frozen = self.thaws.lets_hold(begun.thaws),
            _ => {}
        }
    }

    /// Whether issuing was acknowledged to be frozen before something began, and nobody has begun to thaw it since.
    fn was_frozen(&self, begun: &Begun) -> bool {
        begun.frozen && self.thaws.begun == begun.thaws.begun && !self.edits_may_be_lost
    }

    /// A key is known to exist.
    pub fn knows(&mut self, id: KeyId, application: ApplicationId, name: &str) {
        if self.keys.contains_key(&id) {
            return;
        }
        self.born.push(id);
        let is_ending = self.ending.contains(&None) || self.ending.contains(&Some(application));
        let key = KnownKey {
            application,
            dead: None,
            may_end: is_ending && self.calm != Some(application),
            may_have_more: false,
            disabled: None,
            opposed: Opposed::default(),
            name: (1, name.to_owned()),
            maybe_named: Vec::new(),
        };
        self.keys.insert(id, key);
    }

    fn minted(&mut self, for_what: &str, reply: &Reply) {
        let (key, token) = (reply.at("/key/id").parse::<KeyId>().unwrap(), reply.at("/token"));
        let version = reply.json()["key"]["version"].as_u64().unwrap();
        let is_claim = self.tickets.iter().any(|(_, ticket)| ticket == for_what);
        let first = self.minted.entry(for_what.to_owned()).or_insert_with(|| token.clone());
        assert!(
            *first == token || (self.edits_may_be_lost && !is_claim),
            "two secrets for one {}",
            if is_claim { "claim" } else { "renewal token" }
        );
        let first = self.by_version.entry((key, version)).or_insert_with(|| token.clone());
        assert!(*first == token || self.edits_may_be_lost, "two secrets are version {version} of one key");
        if self.tokens.iter().any(|known| known.text == token) {
            return;
        }
        if let Some(renewal) = reply.json()["renewal_token"].as_str() {
            self.renewals.push((key, renewal.to_owned()));
        }
        self.tokens.push(KnownToken { key, version, text: token, dead: None });
    }

    /// A version that somebody was given outside of any fault.
    pub fn holds(&mut self, key: KeyId, token: &str, renewal: &str) {
        self.renewals.push((key, renewal.to_owned()));
        self.tokens.push(KnownToken { key, version: 1, text: token.to_owned(), dead: None });
    }

    /// A token that another system issued, once it is known to be a key's.
    pub fn holds_imported(&mut self, key: KeyId, token: &str) {
        if self.tokens.iter().all(|known| known.text != token) {
            self.tokens.push(KnownToken { key, version: 1, text: token.to_owned(), dead: None });
        }
    }

    fn dies(&mut self, key: KeyId, now: Moment, by_application: bool) {
        if let Some(key) = self.keys.get_mut(&key) {
            key.may_end = true;
            // What dies alone dies at once, even where its application has died.
            if key.dead.is_none_or(|dead| dead.by_application && !by_application) {
                key.dead = Some(Death { since: now, by_application });
            }
        }
    }

    /// Of the first so many tokens, those of a key whose versions are lower are dead.
    fn end_versions(&mut self, key: KeyId, tokens: usize, below: u64, now: Moment) {
        let meant = |token: &&mut KnownToken| token.key == key && token.version < below;
        for token in self.tokens.iter_mut().take(tokens).filter(meant) {
            token.dead.get_or_insert(now);
        }
    }

    /// Whether a key may have this name now.
    pub fn may_be_named(&self, id: KeyId, name: &str) -> bool {
        let key = &self.keys[&id];
        key.name.1 == name || key.maybe_named.iter().any(|maybe| maybe == name)
    }
}
