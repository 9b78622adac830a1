//! Keys out of another system: its partners keep the tokens that they have, of which Keyward is given the digests. One call takes up to
//! [`IMPORTS_MAX`] of them into one commit, each with an event of its own, as has one that is refused; that keeps no other from it.
//!
//! A key's id follows from its token's digest under the peppers, so a token is imported once, however often and by however many it is tried.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::keys::{NewKey, NewRules, facts_given};
use crate::service::{REPLAY_S, Service};
use crate::turns::{KEYS_AT_ONCE, Taken};
use crate::view::RefusedView;
use keyward_domain::error::FieldError;
use keyward_domain::event::{Outcome, Target};
use keyward_domain::imported::{Digest, Imported};
use keyward_domain::key::{Environment, FIRST_VERSION, Key, Version};
use keyward_domain::limit::GivenLimit;
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::Scope;
use keyward_domain::scope::administration as scope;
use keyward_domain::tag::Tag;
use keyward_domain::text::{self, Name, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, PolicyId, Result};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keys that one call takes at most.
pub const IMPORTS_MAX: usize = KEYS_AT_ONCE;
/// By which an Idempotency-Key is kept apart from those of other routes.
const ROUTE: &str = "keys.import";

/// Which keys, and why.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyImportAsked)]
pub struct KeyImport {
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
    /// Only tells what would become of each.
    #[serde(default)]
    pub dry_run: bool,
    /// The keys.
    #[schema(min_items = 1, max_items = 32)]
    pub keys: Vec<KeyToImport>,
}

/// A key of another system: the digest of its token, and what it becomes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyToImport {
    /// Of the whole token. The token itself is never sent.
    #[schema(value_type = Digest)]
    pub digest: String,
    /// Whether whoever has the token at hand finds it easily guessed; absent where they have its digest alone.
    #[serde(default)]
    pub weak: Option<bool>,
    /// Whom it is for.
    #[schema(value_type = ApplicationId)]
    pub application: String,
    /// What people call it.
    #[schema(value_type = Name)]
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// What it may do; nothing where there are none.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 64)]
    pub scopes: Vec<String>,
    /// How long it lives from now on, in seconds; without end where it is absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in_s: Option<i64>,
    /// What restricts it beyond scopes.
    #[serde(default)]
    pub rules: NewRules,
    /// Words by which it is found together with others.
    #[serde(default)]
    #[schema(value_type = Vec<Tag>, max_items = 16)]
    pub tags: Vec<String>,
    /// Its own policy, in the place of its application's.
    #[serde(default)]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<String>,
    /// How much it may use in a window of time.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub limits: Vec<GivenLimit>,
}

impl KeyImport {
    fn check(&self) -> Result<()> {
        check_reason("reason", &self.reason)?;
        if self.keys.is_empty() || self.keys.len() > IMPORTS_MAX {
            let found = format!("has {} entries", self.keys.len());
            return Err(Error::field(
                "keys",
                found,
                format!("1 to {IMPORTS_MAX} keys; send more in further calls"),
            ));
        }
        Ok(())
    }
}

impl KeyToImport {
    /// The same as a key that is to be issued.
    fn as_new(&self) -> NewKey {
        NewKey {
            application: self.application.clone(),
            name: self.name.clone(),
            environment: self.environment,
            scopes: self.scopes.clone(),
            roles: Vec::new(),
            expires_in_s: self.expires_in_s,
            rules: NewRules { network: self.rules.network.clone() },
            principal: None,
            tags: self.tags.clone(),
            policy: self.policy.clone(),
            limits: self.limits.clone(),
        }
    }
}

/// What became of each.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyImport)]
pub struct KeyImportView {
    /// Whether nothing was done.
    dry_run: bool,
    /// Keys that came to be; with `dry_run`, that would have.
    imported: usize,
    /// Keys that were there before.
    existing: usize,
    /// Keys that were not taken.
    refused: usize,
    /// Each, in the order in which they were given.
    keys: Vec<ImportedKeyView>,
}

/// What became of one of them.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportedKey)]
pub struct ImportedKeyView {
    outcome: ImportOutcome,
    /// The key that its token is; null where it was refused.
    #[schema(required = true)]
    id: Option<KeyId>,
    /// Why it was refused; null where it was not.
    #[schema(required = true)]
    error: Option<RefusedView>,
}

/// What became of something that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyImportOutcome)]
enum ImportOutcome {
    /// It came to be.
    Imported,
    /// It was there before, and stays as it is.
    Existing,
    /// It was not taken.
    Refused,
}

impl KeyImportView {
    fn of(dry_run: bool, fates: Vec<Fate>) -> Self {
        let keys: Vec<_> = fates.into_iter().map(ImportedKeyView::of).collect();
        let count = |outcome| keys.iter().filter(|key| key.outcome == outcome).count();
        let (imported, existing) = (count(ImportOutcome::Imported), count(ImportOutcome::Existing));
        Self { dry_run, imported, existing, refused: keys.len() - imported - existing, keys }
    }
}

impl ImportedKeyView {
    fn of(fate: Fate) -> Self {
        let (outcome, id, error) = match fate {
            Fate::ToBe(to_be) => (ImportOutcome::Imported, Some(to_be.key.id), None),
            Fate::Existing(id) => (ImportOutcome::Existing, Some(id), None),
            Fate::Refused(error) => (ImportOutcome::Refused, None, Some(RefusedView::of(error))),
        };
        Self { outcome, id, error }
    }
}

/// What is to become of one of them.
enum Fate {
    ToBe(Box<ToBe>),
    Existing(KeyId),
    Refused(Error),
}

/// A key that is to be born.
#[derive(Clone)]
struct ToBe {
    key: Key,
    imported: Imported,
    terms: Terms,
}

/// The turn at one of them, by its place, and what somebody else made of it meanwhile.
struct Born {
    place: usize,
    turn: Turn,
    found: Option<Key>,
}

impl Taken for Born {
    fn turn(&self) -> Option<&Turn> {
        Some(&self.turn)
    }

    fn into_turn(self) -> Option<Turn> {
        Some(self.turn)
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Makes keys of the tokens with these digests. A token that is a key already stays what it is, whatever became of that key; what cannot
    /// be taken is told beside the others.
    ///
    /// # Errors
    /// No reason, no or too many keys, frozen issuing; where the store does not answer.
    pub async fn import_keys(&self, attempt: &Attempt, asked: &KeyImport) -> Result<Answer<KeyImportView>> {
        attempt.caller.require_somewhere(scope::KEYS_WRITE)?;
        asked.check()?;
        // Looked for before the keys are: what was imported under this Idempotency-Key is found there.
        if !asked.dry_run
            && let Some(text) = self.replayed(attempt, ROUTE, asked, REPLAY_S).await?
        {
            return Ok(Answer::Replayed(text));
        }
        self.require_issuing(attempt).await?;
        let mut fates: Vec<Fate> = Vec::with_capacity(asked.keys.len());
        for fate in futures::future::join_all(asked.keys.iter().map(|key| self.fate_of(attempt, key))).await {
            let fate = fate?;
            let twin = fates.iter().any(|other| matches!((other, &fate), (Fate::ToBe(one), Fate::ToBe(two)) if one.key.id == two.key.id));
            fates.push(match fate {
                Fate::ToBe(to_be) if twin => Fate::Existing(to_be.key.id),
                fate => fate,
            });
        }
        let to_be = fates.iter().enumerate().filter_map(|(place, fate)| match fate {
            Fate::ToBe(to_be) => Some((place, to_be.key.id)),
            Fate::Existing(_) | Fate::Refused(_) => None,
        });
        let to_be: Vec<(usize, KeyId)> = to_be.collect();
        if asked.dry_run || to_be.is_empty() {
            let refusals = refusals(attempt, asked, &fates);
            if !refusals.is_empty() {
                self.commit(attempt, refusals, |_, _| Ok(())).await?;
            }
            return Ok(Answer::Fresh(KeyImportView::of(asked.dry_run, fates)));
        }
        if let Some(text) = self.begin(attempt, ROUTE, asked, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let take = async |(place, id): &(usize, KeyId), old| {
            let (turn, found) = self.ledger.turn_to_be_born::<Key>(*id, old).await?;
            Ok(Some(Born { place: *place, turn, found }))
        };
        let (born, failed) = self.turns(to_be.iter().copied(), take).await;
        if let Some(error) = failed {
            if born.is_empty() {
                return Err(error);
            }
            for (place, _) in to_be.iter().filter(|(place, _)| born.iter().all(|born| born.place != *place)) {
                if let Some(fate) = fates.get_mut(*place) {
                    *fate = Fate::Refused(error.clone());
                }
            }
        }
        // Somebody with the same Idempotency-Key may have been faster while turns were waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        self.import_in_turn(attempt, asked, fates, born).await.map(Answer::Fresh)
    }

    async fn fate_of(&self, attempt: &Attempt, asked: &KeyToImport) -> Result<Fate> {
        match self.weigh(attempt, asked).await {
            Ok(fate) => Ok(fate),
            Err(error) => error.of_one().map(Fate::Refused),
        }
    }

    async fn weigh(&self, attempt: &Attempt, asked: &KeyToImport) -> Result<Fate> {
        let digest: Digest = asked.digest.parse().map_err(|error: FieldError| Error::fields(vec![error]))?;
        let new = asked.as_new();
        if new.application.parse() == Ok(ApplicationId::KEYWARD) {
            return Err(Error::field(
                "application",
                "is `keyward`",
                "a partner's application: the secrets of those who administer are minted here, and nowhere else",
            ));
        }
        let checked = self.check_new(attempt, &new).await?;
        let secret = digest.secret();
        let peppers = &self.rings.peppers;
        let contradicts = |_| Error::internal("a pepper is not in its ring");
        for pepper in peppers.versions() {
            let id = KeyId::from_bytes(peppers.imported_id(pepper, &secret).map_err(contradicts)?);
            if let Some(known) = self.read().key(id).await? {
                let is_theirs =
                    attempt.caller.require_at(scope::KEYS_WRITE, known.application, "key").is_ok();
                return is_theirs.then_some(Fate::Existing(id)).ok_or_else(|| {
                    Error::new(
                        Code::StateConflict,
                        "the token is a key already, of an application that this credential may not see",
                    )
                });
            }
        }
        let pepper = peppers.active();
        let id = KeyId::from_bytes(peppers.imported_id(pepper, &secret).map_err(contradicts)?);
        let mac = peppers.mac(pepper, &secret).map_err(contradicts)?;
        let (mut key, terms) = self.key_to_be(id, new, checked).await?;
        let imported = Imported { algorithm: digest.algorithm(), is_weak: asked.weak };
        key.imported = Some(imported);
        key.succeed(Version { number: FIRST_VERSION, pepper, mac, claimed_at: key.created_at });
        Ok(Fate::ToBe(Box::new(ToBe { key, imported, terms })))
    }

    /// One commit: each is born in its turn, with an event of its own; one that somebody else made meanwhile stays as it is.
    async fn import_in_turn(
        &self,
        attempt: &Attempt,
        asked: &KeyImport,
        mut fates: Vec<Fate>,
        born: Vec<Born>,
    ) -> Result<KeyImportView> {
        let now = self.clock.now();
        let mut drafts = Vec::with_capacity(born.len());
        let mut writing = Vec::with_capacity(born.len());
        for Born { place, turn, found } in born {
            let Some(fate) = fates.get_mut(place) else { continue };
            let Fate::ToBe(to_be) = &*fate else { continue };
            let ToBe { key, imported, terms } = (**to_be).clone();
            let mut draft = attempt.draft(Outcome::Done, Some(asked.reason.clone()), None);
            draft.target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
            if let Some(known) = found {
                draft.outcome = Outcome::Refused;
                draft.detail = vec!["a key already".to_owned()];
                draft.previous = Some(known.event);
                *fate = Fate::Existing(known.id);
                writing.push((known, None, turn));
            } else {
                draft.detail = facts_given(&key, &terms, now);
                draft.detail.extend(facts_of(imported));
                writing.push((key, Some(imported), turn));
            }
            drafts.push(draft);
        }
        drafts.extend(refusals(attempt, asked, &fates));
        let reservation = attempt.take_reservation();
        self.commit(attempt, drafts, |tickets, writes| {
            for (index, (mut key, imported, turn)) in writing.into_iter().enumerate() {
                (key.revision, key.event) = (turn.revision(), tickets.event(index));
                let writes = writes.for_event(index);
                match imported {
                    Some(imported) => writes.imported_key(&key, imported, turn),
                    None => writes.change(&key, turn),
                }
            }
            let view = KeyImportView::of(false, fates);
            keep_outcome(reservation, &view, now, writes.for_event(0));
            Ok(view)
        })
        .await
    }
}

/// What is on record of those that are refused; of a look only where a scope was missing.
fn refusals(attempt: &Attempt, asked: &KeyImport, fates: &[Fate]) -> Vec<Draft> {
    let refused = asked.keys.iter().zip(fates).filter_map(|(key, fate)| match fate {
        Fate::Refused(error) if !asked.dry_run || error.missing_scope.is_some() => Some((key, error)),
        _ => None,
    });
    let draft = |(key, error): (&KeyToImport, &Error)| {
        let mut draft = attempt.draft(Outcome::Refused, Some(error.code.as_str().to_owned()), None);
        draft.target = Target { application: key.application.parse().ok(), ..Target::default() };
        draft.detail = error.missing_scope.iter().map(ToString::to_string).collect();
        draft.detail.extend(error.fields.iter().map(|field| field.field.clone()));
        draft
    };
    refused.map(draft).collect()
}

/// What the event of its birth says of where a key comes from.
fn facts_of(imported: Imported) -> Vec<String> {
    let weak = imported.is_weak.filter(|is_weak| *is_weak).map(|_| "easily guessed".to_owned());
    std::iter::once(format!("by its {}", imported.algorithm.title())).chain(weak).collect()
}
