//! Credentials of third parties: create, look, list, change, retire. What their versions hold is in `credential_versions.rs`, and shown
//! by nothing in here.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::credential_due::outlook;
use crate::credential_rotation::{CredentialRotationView, LastRotationView};
use crate::credential_versions::version_fact;
use crate::edit::{Editable, check_revision, given, require_living};
use crate::list::{EXAMINED_MAX, List, Page, READS_AT_ONCE};
use crate::nullable;
use crate::policies::parse_policy;
use crate::providers::ProviderView;
use crate::service::{REPLAY_S, Service};
use keyward_crypto::digest::hex;
use keyward_domain::application::NameHolder;
use keyward_domain::credential::{Credential, CredentialName, EXPIRING_S, Kind, Version, check_name};
use keyward_domain::credential_due::Reminded;
use keyward_domain::error::FieldError;
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::Scope;
use keyward_domain::scope::administration as scope;
use keyward_domain::tag::{self, Tag};
use keyward_domain::text::{Description, check_description, check_reason};
use keyward_domain::{ApplicationId, Code, CredentialId, Error, PolicyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{CredentialValue, KvCount, KvRead, SecretFields, names};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// What a credential is made of.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// Whose services fetch it.
    pub application: ApplicationId,
    /// What it is fetched by; unique within the application.
    #[schema(value_type = CredentialName)]
    pub name: String,
    /// What kind of secret it is.
    pub kind: Kind,
    /// What its first version holds, field by field: `value` for `api-key` and `opaque`; `username` and `password` for `basic`;
    /// `client_id`, `client_secret` and if need be `token_url` for `oauth-client`; `certificate` and `private_key`, both PEM, for
    /// `certificate`. At most 64 KiB in all.
    #[serde(serialize_with = "left_out")]
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    pub value: SecretFields,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(value_type = Description)]
    pub description: String,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(value_type = Description)]
    pub owner: String,
    /// Words by which it is found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Tag>, max_items = 16)]
    pub tags: Vec<String>,
    /// When the third party ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The policy that says how often it is to be rotated, in the place of its application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<String>,
}

/// Where requests are told apart a digest stands for it, and it stands nowhere.
fn left_out<S: Serializer>(_: &SecretFields, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_unit()
}

/// What changes; what is absent stays. What it holds changes by a new version.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct CredentialChange {
    /// Its name: services that fetch it by the old one find it no longer.
    #[serde(default)]
    #[schema(value_type = Option<CredentialName>)]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    pub description: Option<String>,
    /// Whom to ask about it.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    pub owner: Option<String>,
    /// Its tags, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Tag>>, max_items = 16)]
    pub tags: Option<Vec<String>>,
    /// When the third party ends it; null where that is not known.
    #[serde(default, deserialize_with = "nullable::given")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<Option<Timestamp>>,
    /// Its own policy; null for that of its application.
    #[serde(default, deserialize_with = "nullable::given")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<Option<String>>,
}

/// Which credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct CredentialFilter<'a> {
    /// Those of one application; of all that the caller may see where there is none.
    pub application: Option<ApplicationId>,
    /// Those whose name begins so.
    pub name: Option<&'a str>,
    /// Those with this tag, in any spelling.
    pub tag: Option<&'a str>,
    /// Those that stand so.
    pub state: Option<CredentialState>,
}

/// How a credential stands. Exactly one holds of each: the first of retired, expired, overdue, expiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialState {
    /// It is handed out, and nothing is ahead of it.
    Active,
    /// It is handed out, and the third party ends it within thirty days.
    Expiring,
    /// It is handed out, and its current version is older than its policy allows.
    Overdue,
    /// The third party has ended it, as far as is known.
    Expired,
    /// It was given up, for good, and what it held is destroyed.
    Retired,
}

impl CredentialState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Active, Self::Expiring, Self::Overdue, Self::Expired, Self::Retired];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expiring => "expiring",
            Self::Overdue => "overdue",
            Self::Expired => "expired",
            Self::Retired => "retired",
        }
    }
}

impl std::str::FromStr for CredentialState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// How a version of a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialVersionState {
    /// It is handed out where none is named.
    Current,
    /// Its provider has not tested it yet: it is not handed out.
    Pending,
    /// It is handed out where it is named.
    Kept,
    /// What it held is gone, for good.
    Destroyed,
}

/// A version of a credential, without what it holds.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialVersion)]
pub struct CredentialVersionView {
    /// Counts from 1.
    pub number: u32,
    /// How it stands.
    pub state: CredentialVersionState,
    /// When it was written.
    pub written_at: Timestamp,
    /// The event that wrote it.
    pub event: EventId,
    /// Since when what it held is gone.
    #[schema(required = true)]
    pub destroyed_at: Option<Timestamp>,
}

/// A credential, without what it holds.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
pub struct CredentialView {
    /// Its id.
    pub id: CredentialId,
    /// Whose services fetch it.
    pub application: ApplicationId,
    /// What it is fetched by.
    pub name: String,
    /// What kind of secret it is.
    pub kind: Kind,
    /// What it is for.
    pub description: String,
    /// Whom to ask about it.
    pub owner: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it stands.
    pub state: CredentialState,
    /// When the third party ends it.
    #[schema(required = true)]
    pub expires_at: Option<Timestamp>,
    /// Its own policy; null where its application's holds.
    #[schema(required = true)]
    pub policy: Option<PolicyId>,
    /// When its next version is due by its policy; null where it never is.
    #[schema(required = true)]
    pub rotation_due_at: Option<Timestamp>,
    /// How long whoever read it may go on with it before asking again, in seconds.
    pub lease_s: u32,
    /// How long whoever read it may go on with it while Keyward cannot be asked, in seconds.
    pub outage_s: u32,
    /// The number of the version that is handed out where none is named.
    pub current: u32,
    /// Who rotates it at the third party; null where people do.
    #[schema(required = true)]
    pub provider: Option<ProviderView>,
    /// Its rotation that is under way.
    #[schema(required = true)]
    pub rotation: Option<CredentialRotationView>,
    /// Its rotation that ended last.
    #[schema(required = true)]
    pub last_rotation: Option<LastRotationView>,
    /// Its versions, newest first.
    #[schema(max_items = 32)]
    pub versions: Vec<CredentialVersionView>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Since when it is given up; null while it is not.
    #[schema(required = true)]
    pub retired_at: Option<Timestamp>,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
}

impl CredentialView {
    pub(crate) fn of(credential: &Credential, terms: &Terms, now: Timestamp) -> Self {
        let rotation_due_at = credential.rotation_due_at(terms);
        let state = match credential.retired_at {
            Some(_) => CredentialState::Retired,
            None if credential.expires_at.is_some_and(|at| at <= now) => CredentialState::Expired,
            None if rotation_due_at.is_some_and(|at| at <= now) => CredentialState::Overdue,
            None if credential.expires_at.is_some_and(|at| at <= now.plus_s(EXPIRING_S)) => {
                CredentialState::Expiring
            }
            None => CredentialState::Active,
        };
        let version = |version: &Version| CredentialVersionView {
            number: version.number,
            state: match version.destroyed_at {
                Some(_) => CredentialVersionState::Destroyed,
                None if version.number == credential.current => CredentialVersionState::Current,
                None if credential.is_pending(version.number) => CredentialVersionState::Pending,
                None => CredentialVersionState::Kept,
            },
            written_at: version.written_at,
            event: version.event,
            destroyed_at: version.destroyed_at,
        };
        Self {
            id: credential.id,
            application: credential.application,
            name: credential.name.clone(),
            kind: credential.kind,
            description: credential.description.clone(),
            owner: credential.owner.clone(),
            tags: credential.tags.clone(),
            state,
            expires_at: credential.expires_at,
            policy: credential.policy,
            rotation_due_at,
            lease_s: terms.lease_s,
            outage_s: terms.outage_s,
            current: credential.current,
            provider: credential.provider.as_ref().map(ProviderView::from),
            rotation: credential
                .rotation
                .as_ref()
                .map(|rotation| CredentialRotationView::of(credential, rotation, now)),
            last_rotation: credential.last_rotation.as_ref().map(LastRotationView::from),
            versions: credential.versions.iter().rev().map(version).collect(),
            created_at: credential.created_at,
            retired_at: credential.retired_at,
            revision: credential.revision,
            event: credential.event,
        }
    }
}

impl CredentialView {
    /// When its next version was due or the third party ends it, where that is why somebody is to see to it.
    pub fn concerns_at(&self) -> Option<Timestamp> {
        match self.state {
            CredentialState::Overdue => self.rotation_due_at,
            CredentialState::Expiring | CredentialState::Expired => self.expires_at,
            CredentialState::Active | CredentialState::Retired => None,
        }
    }
}

/// What was found wrong with what people write about a credential.
#[derive(Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn note(&mut self, checked: Result<(), FieldError>) {
        self.0.extend(checked.err());
    }

    fn tags(&mut self, tags: &[String]) -> Vec<String> {
        tag::parse_all("tags", tags).unwrap_or_else(|found| {
            self.0.extend(found);
            Vec::new()
        })
    }

    fn policy(&mut self, policy: Option<&str>) -> Option<PolicyId> {
        parse_policy(policy?).map_err(|found| self.0.push(found)).ok()
    }

    fn end<T>(self, checked: T) -> Result<T> {
        if self.0.is_empty() { Ok(checked) } else { Err(self.0.into()) }
    }
}

impl NewCredential {
    /// Its tags and its policy, as they are kept.
    pub(crate) fn check(&self) -> Result<(Vec<String>, Option<PolicyId>)> {
        let mut found = Findings::default();
        found.note(check_name("name", &self.name));
        found.note(check_description("description", &self.description));
        found.note(check_description("owner", &self.owner));
        found.0.extend(self.kind.check(self.value.lengths()));
        let checked = (found.tags(&self.tags), found.policy(self.policy.as_deref()));
        found.end(checked)
    }

    /// The credential as it comes to be, but for its event, and what its first version holds.
    pub(crate) fn born(
        self,
        id: CredentialId,
        tags: Vec<String>,
        policy: Option<PolicyId>,
        now: Timestamp,
    ) -> (Credential, CredentialValue) {
        let mut credential = Credential {
            id,
            application: self.application,
            name: self.name,
            kind: self.kind,
            description: self.description,
            owner: self.owner,
            tags,
            expires_at: self.expires_at,
            policy,
            versions: Vec::new(),
            current: 0,
            created_at: now,
            provider: None,
            rotation: None,
            last_rotation: None,
            reminded: Reminded::default(),
            retired_at: None,
            revision: 1,
            same_since: 1,
            event: EventId { epoch: 0, seq: 0 },
        };
        credential.write(credential.next_version(), now);
        let value = CredentialValue { credential: id, version: credential.current, fields: self.value };
        (credential, value)
    }
}

impl CredentialChange {
    fn names(&self) -> Vec<String> {
        given([
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("owner", self.owner.is_some()),
            ("tags", self.tags.is_some()),
            ("expires_at", self.expires_at.is_some()),
            ("policy", self.policy.is_some()),
        ])
    }

    /// The credential as it is after the change, but for revision and event.
    fn apply(&self, credential: &Credential) -> Result<Credential> {
        let mut found = Findings::default();
        let mut changed = credential.clone();
        if self.names().is_empty() {
            found.note(Err(FieldError::new(
                "",
                "changes nothing",
                "at least one of `name`, `description`, `owner`, `tags`, `expires_at`, `policy`",
            )));
        }
        if let Some(name) = &self.name {
            found.note(check_name("name", name));
            changed.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            found.note(check_description("description", description));
            changed.description.clone_from(description);
        }
        if let Some(owner) = &self.owner {
            found.note(check_description("owner", owner));
            changed.owner.clone_from(owner);
        }
        if let Some(tags) = &self.tags {
            changed.tags = found.tags(tags);
        }
        changed.expires_at = self.expires_at.unwrap_or(changed.expires_at);
        if let Some(policy) = &self.policy {
            changed.policy = found.policy(policy.as_deref());
        }
        found.end(changed)
    }
}

impl Editable for Credential {
    fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }

    fn unique_name(&self) -> Option<(NameHolder, &str)> {
        Some((NameHolder::Credential(self.application, self.id), &self.name))
    }

    fn follow(&mut self, before: &Self, event: EventId) {
        written_by(self, before, event);
    }
}

/// What follows from the event by which a credential comes to be.
pub(crate) fn born_by(credential: &mut Credential, event: EventId) {
    credential.event = event;
    for version in &mut credential.versions {
        version.event = event;
    }
}

/// What follows from the event by which Keyward goes on with a credential by itself: who reads it is handed the same, unless another
/// version is current.
pub(crate) fn moved_by(credential: &mut Credential, before: &Credential, event: EventId) {
    written_by(credential, before, event);
    if credential.current == before.current {
        credential.same_since = if before.same_since == 0 { before.revision } else { before.same_since };
    }
}

/// What follows from the event that writes a credential: a version that it adds, and a rotation that it begins, are the event's.
pub(crate) fn written_by(credential: &mut Credential, before: &Credential, event: EventId) {
    credential.same_since = credential.revision;
    let known = |number: u32| before.version(number).is_some();
    for version in credential.versions.iter_mut().filter(|version| !known(version.number)) {
        version.event = event;
    }
    if let Some(rotation) = credential.rotation.as_mut().filter(|_| before.rotation.is_none()) {
        rotation.id = event;
    }
}

impl Attempt {
    /// Whether the caller may see a credential in a list.
    pub(crate) fn may_list(&self, credential: &Credential) -> bool {
        let scope = Scope::fixed(scope::CREDENTIALS_LIST).at(credential.application).named(&credential.name);
        self.caller.scopes.allows(&scope)
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Creates a credential with its first version. What it holds is in no answer.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, a taken name; where the store does not answer.
    pub async fn create_credential(
        &self,
        attempt: &Attempt,
        new: NewCredential,
    ) -> Result<Answer<CredentialView>> {
        let application = new.application;
        attempt.aim(Some(application), None);
        self.require_named(attempt, scope::CREDENTIALS_WRITE, application, &new.name, "application").await?;
        let (tags, policy) = new.check()?;
        let asked = (&new, self.digest_of_value(&new.value)?);
        if let Some(text) = self.begin(attempt, "credentials.create", &asked, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.read().application(application).await?.is_none() {
            return Err(Error::not_found("application"));
        }
        if let Some(policy) = policy {
            self.require_living_policy(policy).await?;
        }
        let id = CredentialId::from_bytes(self.rng.bytes());
        let holder = NameHolder::Credential(application, id);
        let (mut turn, mut name) = self.reserve_name(attempt, &new.name, holder, None).await?;
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.ledger.is_old(&turn) {
            (turn, name) = self.reserve_name(attempt, &new.name, holder, Some(turn)).await?;
        }
        // Only now: the event of a refusal names no credential that never was.
        attempt.aim_at_credential(application, id);
        let now = self.clock.now();
        let (mut credential, value) = new.born(id, tags, policy, now);
        let terms = self.terms_of(&credential).await?;
        let reservation = attempt.take_reservation();
        let mut draft = attempt.draft(Outcome::Done, None, None);
        draft.detail = birth_facts(&credential, &value);
        draft.detail.extend(outlook(&credential, &terms));
        let view = self
            .commit(attempt, vec![draft], |tickets, writes| {
                born_by(&mut credential, tickets.event(0));
                writes.new_credential(&credential);
                writes.credential_value(&value);
                writes.name(&name, turn);
                let view = CredentialView::of(&credential, &terms, now);
                keep_outcome(reservation, &view, now, writes);
                Ok(view)
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// Passes where the caller holds `pattern` for credentials of this name. For whoever holds it for others only, there is no such `what`:
    /// where there is such an application, that is a missing scope all the same, for the log.
    pub(crate) async fn require_named(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        application: ApplicationId,
        name: &str,
        what: &str,
    ) -> Result<()> {
        match attempt.caller.require_credential(pattern, application, name, what) {
            Err(error)
                if error.code == Code::NotFound
                    && matches!(self.read().application(application).await, Ok(None)) =>
            {
                Err(Error::not_found(what))
            }
            result => result,
        }
    }

    /// What stands for what a version holds where requests are told apart.
    pub(crate) fn digest_of_value(&self, value: &SecretFields) -> Result<String> {
        self.keyed_digest_of_value(value).map(|digest| hex(&digest))
    }

    /// The same as bytes, to be compared.
    pub(crate) fn keyed_digest_of_value(&self, value: &SecretFields) -> Result<[u8; 32]> {
        let vault = self.rings.vault()?;
        let fields: Vec<(&str, &str)> = value.expose().collect();
        let text = keyward_crypto::Zeroizing::new(serde_json::to_vec(&fields).unwrap_or_default());
        Ok(vault.keyed_digest("credential", &text))
    }

    /// One credential.
    ///
    /// # Errors
    /// A missing scope, no such credential; where the store does not answer.
    pub async fn credential(&self, attempt: &Attempt, id: CredentialId) -> Result<CredentialView> {
        let credential = self.visible_credential(attempt, scope::CREDENTIALS_LIST, id).await?;
        self.credential_view(&credential).await
    }

    pub(crate) async fn credential_view(&self, credential: &Credential) -> Result<CredentialView> {
        let terms = self.terms_of(credential).await?;
        Ok(CredentialView::of(credential, &terms, self.clock.now()))
    }

    /// A credential that the caller may touch by this scope.
    pub(crate) async fn visible_credential(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        id: CredentialId,
    ) -> Result<Credential> {
        let credential = self.read().credential(id).await?;
        let Some(credential) = credential else {
            // Whoever may see none at all is told so, whether there is one or not.
            return Err(match attempt.caller.scopes.holds_like(&Scope::fixed(pattern)) {
                true => Error::not_found("credential"),
                false => Error::missing_scope(Scope::fixed(pattern)),
            });
        };
        attempt.aim_at_credential(credential.application, id);
        let Credential { application, name, .. } = &credential;
        attempt.caller.require_credential(pattern, *application, name, "credential")?;
        Ok(credential)
    }

    /// The credentials that a filter leaves of those that the caller may see, newest first, retired ones included. A page may be short of
    /// them, or empty, and lead on all the same: it bounds what it examines.
    ///
    /// # Errors
    /// A missing scope, no such application, a bad cursor; where the store does not answer.
    pub async fn credentials(
        &self,
        attempt: &Attempt,
        filter: &CredentialFilter<'_>,
        page: &Page,
    ) -> Result<List<CredentialView>> {
        let list = self.list_of_credentials(attempt, filter.application).await?;
        let unfit = |found: FieldError| Error::parameter(&found.field, &found.reason, &found.expected);
        let tag = filter.tag.map(|tag| tag::parse("tag", tag).map_err(unfit)).transpose()?;
        let is_meant = |credential: &Credential| {
            attempt.may_list(credential)
                && filter.name.is_none_or(|start| credential.name.starts_with(start))
                && tag.as_ref().is_none_or(|tag| credential.tags.contains(tag))
        };
        let (mut items, mut next, mut examined) = (Vec::new(), None::<String>, 0);
        loop {
            let rest = page.of_at_most(page.limit().saturating_sub(items.len()).min(READS_AT_ONCE));
            let rest = match &next {
                Some(cursor) => rest.next(cursor)?,
                None => rest,
            };
            let (ids, cursor) = self.things::<CredentialId>(&list, &rest).await?;
            examined += ids.len().max(1);
            let reader = self.read();
            let found =
                futures::future::try_join_all(ids.into_iter().map(|id| reader.credential(id))).await?;
            let found: Vec<Credential> = found.into_iter().flatten().filter(is_meant).collect();
            let (terms, now) = (self.terms_of_each(&found).await?, self.clock.now());
            let views = found.iter().zip(&terms).map(|(found, terms)| CredentialView::of(found, terms, now));
            items.extend(views.filter(|view| filter.state.is_none_or(|state| view.state == state)));
            next = cursor;
            if next.is_none() || items.len() >= page.limit() || examined >= EXAMINED_MAX {
                return Ok(List { items, next_cursor: next });
            }
        }
    }

    /// The list of the credentials of an application, or of all, where the caller may see any of them.
    pub(crate) async fn list_of_credentials(
        &self,
        attempt: &Attempt,
        application: Option<ApplicationId>,
    ) -> Result<String> {
        let needed = Scope::fixed(scope::CREDENTIALS_LIST);
        let list = match application {
            Some(application) => {
                attempt.aim(Some(application), None);
                let exists = self.read().application(application).await?.is_some();
                let here = needed.clone().at(application);
                if attempt.caller.scopes.holds_like(&needed)
                    && !(exists && attempt.caller.scopes.holds_like(&here))
                {
                    return Err(if exists {
                        Error::hidden("application", here)
                    } else {
                        Error::not_found("application")
                    });
                }
                lists::credentials_of(application)
            }
            None => lists::CREDENTIALS.to_owned(),
        };
        if !attempt.caller.scopes.holds_like(&needed) {
            return Err(Error::missing_scope(needed));
        }
        Ok(list)
    }

    /// What a change of a credential would come to, changing nothing.
    ///
    /// # Errors
    /// Those of [`Service::change_credential`], but for a name that another credential has.
    pub async fn preview_credential_change(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        change: &CredentialChange,
        if_match: Option<u64>,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        let then = self.decide_on_credential(attempt, &known, change, if_match).await?;
        self.credential_view(&then).await
    }

    /// A credential as it is after a change, where the caller may make it.
    async fn decide_on_credential(
        &self,
        attempt: &Attempt,
        credential: &Credential,
        change: &CredentialChange,
        if_match: Option<u64>,
    ) -> Result<Credential> {
        let changed = change.apply(credential)?;
        // What it is called decides who reads it: nobody moves one to where they may write none.
        attempt.caller.require_credential(
            scope::CREDENTIALS_WRITE,
            credential.application,
            &changed.name,
            "credential",
        )?;
        check_revision(if_match, credential.revision)?;
        require_living(credential)?;
        if let Some(policy) = changed.policy.filter(|_| change.policy.is_some()) {
            self.require_living_policy(policy).await?;
        }
        Ok(changed)
    }

    /// Changes what is known of a credential; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such credential, a retired one, another revision, a taken name; where the store does not
    /// answer.
    pub async fn change_credential(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        change: CredentialChange,
        if_match: Option<u64>,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        let decide = async |credential: &Credential| {
            self.decide_on_credential(attempt, credential, &change, if_match).await
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let terms = self.terms_of(&edit.after).await?;
        let now = self.clock.now();
        let mut detail = change.names();
        detail.extend(outlook(&edit.after, &terms));
        self.commit_edit(attempt, edit, None, detail, |credential, _| {
            CredentialView::of(credential, &terms, now)
        })
        .await
    }

    /// Retires a credential, for good: what its versions hold is destroyed, and its name is free. One that is retired stays as it is.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential; where the store does not answer.
    pub async fn retire_credential(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        reason: &str,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_DESTROY, id).await?;
        check_reason("reason", reason)?;
        if known.retired_at.is_some() {
            return self.credential_view(&known).await;
        }
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            let mut retired = credential.clone();
            retired.retire(now);
            for version in &credential.versions {
                retired.destroy(version.number, now);
            }
            Ok(retired)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        self.commit_destruction(attempt, edit, reason).await
    }
}

/// What an event says of a credential that comes to be.
pub(crate) fn birth_facts(credential: &Credential, value: &CredentialValue) -> Vec<String> {
    vec![credential.kind.as_str().to_owned(), version_fact(value.version)]
}

/// What leads to a credential by its name.
pub(crate) fn name_key(application: ApplicationId, name: &str) -> String {
    names::credential_name(application, name)
}
