//! Credentials that lay elsewhere, taken over: up to 32 in one call and one commit, each with an event of its own. One that is refused
//! keeps no other from being imported, and one that is there already with the same value is left alone, so a call can be made again.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::credential_due::outlook;
use crate::credential_versions::{newly_destroyed, require_settled, writing_facts};
use crate::credentials::{NewCredential, birth_facts, born_by, name_key};
use crate::edit::{Editable, overtaken};
use crate::held::Held;
use crate::service::{REPLAY_S, Service};
use crate::turns::Taken;
use crate::view::RefusedView;
use keyward_crypto::digest;
use keyward_domain::application::NameHolder;
use keyward_domain::credential::{Credential, IMPORTED_AT_ONCE_MAX};
use keyward_domain::error::FieldError;
use keyward_domain::event::{Action, Outcome, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::Scope;
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{self, check_reason};
use keyward_domain::{ApplicationId, Code, CredentialId, Error, PolicyId, Result};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{CredentialValue, KvCount, KvRead, NameRecord, Revised, SecretFields};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// By which an Idempotency-Key is kept apart from those of other routes.
const ROUTE: &str = "credentials.import";
/// What an event says of a credential that lay elsewhere before.
const IMPORTED: &str = "imported";

/// What becomes of a name that is taken and holds something else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It stays, and what was to be imported is refused.
    #[default]
    Keep,
    /// It has what was imported as a new version, the current one from then on.
    Write,
}

/// What is to be imported.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialImport {
    /// Why.
    #[serde(default)]
    #[schema(value_type = Option<text::Reason>)]
    pub reason: Option<String>,
    /// Only tells what would become of each.
    #[serde(default)]
    pub dry_run: bool,
    /// What becomes of a name that is taken and holds something else; `keep` where it is absent.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The credentials, each as it is created alone.
    #[schema(min_items = 1, max_items = 32)]
    pub credentials: Vec<NewCredential>,
}

/// What became of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CredentialImportOutcome)]
pub enum ImportOutcome {
    /// It is a credential now.
    Imported,
    /// It was there before, with the same value, and is as it was.
    Existing,
    /// Its name was there before; what it holds is its new version.
    Written,
    /// Nothing was done about it.
    Refused,
}

/// One of them, and what became of it.
#[derive(Serialize, ToSchema)]
pub struct ImportedCredential {
    /// What became of it; with `dry_run`, what would have.
    pub outcome: ImportOutcome,
    /// The credential's id; null where there is none yet.
    #[schema(required = true)]
    pub id: Option<CredentialId>,
    /// The name that was given.
    pub name: String,
    /// The version that holds the value; null where none does.
    #[schema(required = true)]
    pub version: Option<u32>,
    /// Why it was refused; null where it was not.
    #[schema(required = true)]
    pub error: Option<RefusedView>,
}

/// What one call came to.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportedCredentials)]
pub struct CredentialImportView {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// How many are new.
    pub imported: usize,
    /// How many were there before, with the same value.
    pub existing: usize,
    /// How many have a new version.
    pub written: usize,
    /// How many were refused.
    pub refused: usize,
    /// One for each that was given, in the same order.
    #[schema(max_items = 32)]
    pub credentials: Vec<ImportedCredential>,
}

/// What is to become of one, as far as can be told without a turn.
enum Step {
    /// Nobody has its name.
    Create { tags: Vec<String>, policy: Option<PolicyId> },
    /// A credential has it, and is to have this as its next version.
    Write(CredentialId, u32),
    /// A credential has it, and this as its current version.
    Existing(CredentialId, u32),
    /// Nothing, for this reason; of the credential that has its name, where that is why.
    Refused(Error, Option<CredentialId>),
}

impl Step {
    const fn is_change(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Write(..))
    }

    /// What is told of it where it is not done, or not yet.
    fn told(self, name: &str) -> ImportedCredential {
        let (outcome, id, version, error) = match self {
            Self::Create { .. } => (ImportOutcome::Imported, None, Some(1), None),
            Self::Write(id, version) => (ImportOutcome::Written, Some(id), Some(version), None),
            Self::Existing(id, version) => (ImportOutcome::Existing, Some(id), Some(version), None),
            Self::Refused(error, id) => (ImportOutcome::Refused, id, None, Some(RefusedView::of(error))),
        };
        ImportedCredential { outcome, id, name: name.to_owned(), version, error }
    }
}

/// One that is to be imported, and what is to become of it.
struct Item {
    new: NewCredential,
    step: Step,
}

/// The turn that one of them needs, and what it found there.
enum Place {
    /// At the name, which nobody had when it was looked at last.
    Name(Turn, NameRecord),
    /// At the credential that has the name.
    Credential(Turn, Box<Credential>),
}

/// A turn for one of them, by its place among all.
struct AtPlace {
    index: usize,
    place: Place,
}

impl Taken for AtPlace {
    fn turn(&self) -> Option<&Turn> {
        match &self.place {
            Place::Name(turn, _) | Place::Credential(turn, _) => Some(turn),
        }
    }

    fn into_turn(self) -> Option<Turn> {
        match self.place {
            Place::Name(turn, _) | Place::Credential(turn, _) => Some(turn),
        }
    }
}

/// What is written for one of them beside its event.
enum Work {
    /// Nothing.
    Nothing,
    /// What a turn was taken at, as it is.
    Unchanged(Held),
    /// A credential with its first version, and its name.
    Birth(Box<(Credential, CredentialValue, NameRecord)>, Turn),
    /// A credential before and with its new version, and the versions that are destroyed for that.
    Version(Box<(Credential, Credential, CredentialValue)>, Turn, Vec<u32>),
}

/// What became of one of them.
struct Decided {
    told: ImportedCredential,
    /// What is on record of it, and written; nothing of one that was there before.
    done: Option<(Draft, Work)>,
}

impl CredentialImport {
    fn check(&self) -> Result<()> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(self.reason.as_deref().and_then(|reason| check_reason("reason", reason).err()));
        let count = self.credentials.len();
        if count == 0 || count > IMPORTED_AT_ONCE_MAX {
            let expected = format!("1 to {IMPORTED_AT_ONCE_MAX} credentials");
            errors.push(FieldError::new("credentials", format!("has {count} entries"), expected));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
    }
}

impl CredentialImportView {
    fn of(dry_run: bool, credentials: Vec<ImportedCredential>) -> Self {
        let count = |outcome| credentials.iter().filter(|one| one.outcome == outcome).count();
        Self {
            dry_run,
            imported: count(ImportOutcome::Imported),
            existing: count(ImportOutcome::Existing),
            written: count(ImportOutcome::Written),
            refused: count(ImportOutcome::Refused),
            credentials,
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Imports credentials: those whose names are free come to be, those that are there with the same value stay as they are, and what
    /// becomes of the others [`OnConflict`] says. No value is in the answer. Each that is done or refused is an event; a look is on
    /// record where it lacked a scope.
    ///
    /// # Errors
    /// None or too many of them; no scope for any name; where the store does not answer or this process has no ring of the vault.
    pub async fn import_credentials(
        &self,
        attempt: &Attempt,
        asked: CredentialImport,
    ) -> Result<Answer<CredentialImportView>> {
        let needed = Scope::fixed(scope::CREDENTIALS_WRITE);
        if !attempt.caller.scopes.holds_like(&needed) {
            return Err(Error::missing_scope(needed));
        }
        asked.check()?;
        let values = asked.credentials.iter().map(|new| self.digest_of_value(&new.value));
        let values = values.collect::<Result<Vec<String>>>()?;
        // Looked for before the names are: what was imported under this Idempotency-Key is found there.
        if !asked.dry_run
            && let Some(text) = self.replayed(attempt, ROUTE, &(&asked, &values), REPLAY_S).await?
        {
            return Ok(Answer::Replayed(text));
        }
        let steps = self.steps_of_import(attempt, &asked).await?;
        let is_change = !asked.dry_run && steps.iter().any(Step::is_change);
        if is_change && let Some(text) = self.begin(attempt, ROUTE, &(&asked, &values), REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let CredentialImport { reason, dry_run, on_conflict, credentials } = asked;
        let mut items: Vec<Item> =
            credentials.into_iter().zip(steps).map(|(new, step)| Item { new, step }).collect();
        if !is_change {
            return self.import_nothing(attempt, dry_run, items).await.map(Answer::Fresh);
        }
        let places = self.places_of_import(&mut items).await?;
        // Somebody with the same Idempotency-Key may have been faster while turns were waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        let mut decided = Vec::new();
        for (item, place) in items.into_iter().zip(places) {
            decided.push(self.decide_import(attempt, item, place, on_conflict, reason.as_ref()).await?);
        }
        self.commit_import(attempt, decided).await.map(Answer::Fresh)
    }

    /// What is to become of each, as far as can be told without turns.
    async fn steps_of_import(&self, attempt: &Attempt, asked: &CredentialImport) -> Result<Vec<Step>> {
        let mut first: BTreeMap<(ApplicationId, &str), usize> = BTreeMap::new();
        let places = asked.credentials.iter().enumerate().map(|(index, new)| {
            let earlier = *first.entry((new.application, &new.name)).or_insert(index);
            (new, (earlier != index).then_some(earlier))
        });
        let places: Vec<_> = places.collect();
        let steps = places.into_iter().map(async |(new, twin)| {
            let step = self.step_of_import(attempt, new, twin, asked.on_conflict).await;
            step.or_else(|error| refused(error, None))
        });
        futures::future::try_join_all(steps).await
    }

    /// What is to become of one; `twin` is where its name stands before it.
    async fn step_of_import(
        &self,
        attempt: &Attempt,
        new: &NewCredential,
        twin: Option<usize>,
        on_conflict: OnConflict,
    ) -> Result<Step> {
        let (application, name) = (new.application, new.name.as_str());
        self.require_named(attempt, scope::CREDENTIALS_WRITE, application, name, "application").await?;
        let (tags, policy) = new.check()?;
        if let Some(twin) = twin {
            let reason = format!("is that of `credentials[{twin}]` as well");
            return Err(Error::field("name", reason, "each name of an application once"));
        }
        let reader = self.read();
        let (known, found) =
            futures::join!(reader.application(application), self.credential_named(application, name));
        if known?.is_none() {
            return Err(Error::not_found("application"));
        }
        if let Some(policy) = policy {
            self.require_living_policy(policy).await?;
        }
        match found? {
            Some(found) => self.step_at(&found, &new.value, on_conflict).await,
            None => Ok(Step::Create { tags, policy }),
        }
    }

    /// What is to become of one whose name this credential has.
    async fn step_at(
        &self,
        found: &Credential,
        value: &SecretFields,
        on_conflict: OnConflict,
    ) -> Result<Step> {
        let current = self.read().credential_value(found.id, found.current).await?;
        if let Some(current) = current {
            let held = self.keyed_digest_of_value(&current.fields)?;
            if digest::equal(&held, &self.keyed_digest_of_value(value)?) {
                return Ok(Step::Existing(found.id, found.current));
            }
        }
        if on_conflict == OnConflict::Keep {
            const DETAIL: &str = "a credential of the application has this name and holds something else; choose another, or have it \
                                  written as a new version with `on_conflict`";
            return refused(Error::new(Code::NameTaken, DETAIL), Some(found.id));
        }
        if let Err(error) = require_settled(found) {
            return refused(error, Some(found.id));
        }
        let errors = found.kind.check(value.lengths());
        match errors.is_empty() {
            true => Ok(Step::Write(found.id, found.next_version())),
            false => refused(errors.into(), Some(found.id)),
        }
    }

    /// The living credential that has a name.
    async fn credential_named(&self, application: ApplicationId, name: &str) -> Result<Option<Credential>> {
        let reader = self.read();
        let owner = reader.name(&name_key(application, name)).await?.and_then(|name| name.owner.holder());
        let Some(NameHolder::Credential(_, id)) = owner else { return Ok(None) };
        Ok(reader.credential(id).await?.filter(|found| found.retired_at.is_none()))
    }

    /// A commit of refusals alone, where there is one to be told.
    async fn import_nothing(
        &self,
        attempt: &Attempt,
        dry_run: bool,
        items: Vec<Item>,
    ) -> Result<CredentialImportView> {
        let is_told = |error: &Error| !dry_run || error.missing_scope.is_some();
        let drafts = items.iter().filter_map(|Item { new, step }| match step {
            Step::Refused(error, id) if is_told(error) => Some(refusal(attempt, new, error, *id)),
            _ => None,
        });
        let drafts: Vec<Draft> = drafts.collect();
        if !drafts.is_empty() {
            self.commit(attempt, drafts, |_, _| Ok(())).await?;
        }
        let told = items.into_iter().map(|Item { new, step }| step.told(&new.name));
        Ok(CredentialImportView::of(dry_run, told.collect()))
    }

    /// The turns of those that change something. One that could not be had refuses its own alone, unless there is no other.
    async fn places_of_import(&self, items: &mut [Item]) -> Result<Vec<Option<Place>>> {
        let changes = items.iter().enumerate().filter(|(_, item)| item.step.is_change());
        let take = async |(index, item): &(usize, &Item), old: Option<Turn>| {
            let place = match item.step {
                Step::Write(id, _) => self.place_at_credential(id, old).await?,
                _ => self.place_at_name(name_key(item.new.application, &item.new.name), old).await?,
            };
            Ok(Some(AtPlace { index: *index, place }))
        };
        let (taken, failed) = self.turns(changes.collect::<Vec<_>>(), take).await;
        let mut places: Vec<Option<Place>> = items.iter().map(|_| None).collect();
        let is_any = !taken.is_empty();
        for AtPlace { index, place } in taken {
            if let Some(slot) = places.get_mut(index) {
                *slot = Some(place);
            }
        }
        match failed {
            Some(error) if !is_any => Err(error),
            Some(error) => {
                let left = items.iter_mut().zip(&places).filter(|(_, place)| place.is_none());
                for (item, _) in left.filter(|(item, _)| item.step.is_change()) {
                    item.step = Step::Refused(error.clone(), None);
                }
                Ok(places)
            }
            None => Ok(places),
        }
    }

    async fn place_at_name(&self, store_key: String, old: Option<Turn>) -> Result<Place> {
        let (turn, name) = match old {
            None => self.ledger.name_turn(store_key).await?,
            Some(old) => self.ledger.name_turn_again(store_key, old).await?,
        };
        Ok(Place::Name(turn, name))
    }

    async fn place_at_credential(&self, id: CredentialId, old: Option<Turn>) -> Result<Place> {
        let (turn, credential) = match old {
            None => self.ledger.turn_at::<Credential>(id).await?,
            Some(old) => self.ledger.turn_at_again::<Credential>(id, old).await?,
        };
        Ok(Place::Credential(turn, Box::new(credential)))
    }

    /// Decides on one again, on what is stored in its turn.
    async fn decide_import(
        &self,
        attempt: &Attempt,
        item: Item,
        place: Option<Place>,
        on_conflict: OnConflict,
        reason: Option<&String>,
    ) -> Result<Decided> {
        match (place, item) {
            (Some(Place::Name(turn, name)), Item { new, step: Step::Create { tags, policy } }) => {
                match self.credential_named(new.application, &new.name).await? {
                    None => self.birth(attempt, new, (tags, policy), (turn, name), reason).await,
                    // Somebody was faster. Their credential is in no turn of ours, so it has no new version now.
                    Some(found) => {
                        let step = self.step_at(&found, &new.value, OnConflict::Keep).await?;
                        Ok(left(attempt, &new, &found, step, Held::in_turn(name, turn)))
                    }
                }
            }
            (Some(Place::Credential(turn, found)), Item { new, .. }) => {
                let step = match found.retired_at.is_none() && found.name == new.name {
                    true => self.step_at(&found, &new.value, on_conflict).await?,
                    false => Step::Refused(overtaken(), Some(found.id)),
                };
                match step {
                    Step::Write(..) => self.version(attempt, new, (turn, *found), reason).await,
                    step => Ok(left(attempt, &new, &found, step, Held::in_turn((*found).clone(), turn))),
                }
            }
            (_, Item { new, step }) => {
                let done = match &step {
                    Step::Refused(error, id) => Some((refusal(attempt, &new, error, *id), Work::Nothing)),
                    _ => None,
                };
                Ok(Decided { told: step.told(&new.name), done })
            }
        }
    }

    /// One whose name is free comes to be.
    async fn birth(
        &self,
        attempt: &Attempt,
        new: NewCredential,
        (tags, policy): (Vec<String>, Option<PolicyId>),
        (turn, mut name): (Turn, NameRecord),
        reason: Option<&String>,
    ) -> Result<Decided> {
        let id = CredentialId::from_bytes(self.rng.bytes());
        let (credential, value) = new.born(id, tags, policy, self.clock.now());
        name.owner.give(Some(NameHolder::Credential(credential.application, id)));
        name.owner.revision = turn.revision();
        let mut draft = attempt.draft(Outcome::Done, reason.cloned(), None);
        draft.target = target(credential.application, Some(id));
        draft.detail = birth_facts(&credential, &value);
        draft.detail.push(IMPORTED.to_owned());
        draft.detail.extend(outlook(&credential, &self.terms_of(&credential).await?));
        let told = ImportedCredential {
            outcome: ImportOutcome::Imported,
            id: Some(id),
            name: credential.name.clone(),
            version: Some(value.version),
            error: None,
        };
        Ok(Decided { told, done: Some((draft, Work::Birth(Box::new((credential, value, name)), turn))) })
    }

    /// One that is there has a new version.
    async fn version(
        &self,
        attempt: &Attempt,
        new: NewCredential,
        (turn, before): (Turn, Credential),
        reason: Option<&String>,
    ) -> Result<Decided> {
        let version = before.next_version();
        let mut after = before.clone();
        after.expires_at = new.expires_at.or(after.expires_at);
        after.write(version, self.clock.now());
        let destroyed = newly_destroyed(&before, &after);
        let mut draft = attempt.draft(Outcome::Done, reason.cloned(), Some(before.event));
        draft.action = Action::CredentialWritten;
        draft.target = target(before.application, Some(before.id));
        draft.detail = writing_facts(version, &destroyed);
        draft.detail.push(IMPORTED.to_owned());
        draft.detail.extend(outlook(&after, &self.terms_of(&after).await?));
        let told = Step::Write(before.id, version).told(&before.name);
        let value = CredentialValue { credential: before.id, version, fields: new.value };
        Ok(Decided {
            told,
            done: Some((draft, Work::Version(Box::new((before, after, value)), turn, destroyed))),
        })
    }

    async fn commit_import(&self, attempt: &Attempt, decided: Vec<Decided>) -> Result<CredentialImportView> {
        let (mut told, mut drafts, mut work) = (Vec::new(), Vec::new(), Vec::new());
        for one in decided {
            told.push(one.told);
            if let Some((draft, todo)) = one.done {
                drafts.push(draft);
                work.push(todo);
            }
        }
        let view = CredentialImportView::of(false, told);
        let now = self.clock.now();
        let reservation = attempt.take_reservation();
        self.commit(attempt, drafts, |tickets, writes| {
            for (index, todo) in work.into_iter().enumerate() {
                let event = tickets.event(index);
                let writes = writes.for_event(index);
                match todo {
                    Work::Nothing => {}
                    Work::Unchanged(held) => held.write(event, writes),
                    Work::Birth(born, turn) => {
                        let (mut credential, value, name) = *born;
                        born_by(&mut credential, event);
                        writes.new_credential(&credential);
                        writes.credential_value(&value);
                        writes.name(&name, turn);
                    }
                    Work::Version(written, turn, destroyed) => {
                        let (before, mut after, value) = *written;
                        after.written(turn.revision(), event);
                        after.follow(&before, event);
                        writes.change(&after, turn);
                        writes.credential_value(&value);
                        for number in destroyed {
                            writes.credential_destroyed(after.id, number, event);
                        }
                    }
                }
            }
            keep_outcome(reservation, &view, now, writes.for_event(0));
            Ok(view)
        })
        .await
    }
}

fn target(application: ApplicationId, id: Option<CredentialId>) -> Target {
    Target { application: Some(application), ..Target::credential(id) }
}

/// One of many is refused; an error of the store refuses them all.
fn refused(error: Error, id: Option<CredentialId>) -> Result<Step> {
    Ok(Step::Refused(error.of_one()?, id))
}

/// What is on record of one that is refused.
fn refusal(attempt: &Attempt, new: &NewCredential, error: &Error, id: Option<CredentialId>) -> Draft {
    let mut draft = attempt.draft(Outcome::Refused, Some(error.code.as_str().to_owned()), None);
    draft.target = target(new.application, id);
    draft.detail.extend(error.missing_scope.iter().map(ToString::to_string));
    draft.detail.extend(error.fields.iter().map(|field| field.field.clone()));
    draft.detail.push(IMPORTED.to_owned());
    draft
}

/// One that turned out in its turn to need none: what the turn was taken at is written as it is.
fn left(attempt: &Attempt, new: &NewCredential, found: &Credential, step: Step, held: Held) -> Decided {
    let why = Error::new(Code::NameTaken, "somebody else was faster");
    let error = match &step {
        Step::Refused(error, _) => error,
        _ => &why,
    };
    let mut draft = refusal(attempt, new, error, Some(found.id));
    draft.previous = held.event();
    Decided { told: step.told(&new.name), done: Some((draft, Work::Unchanged(held))) }
}
