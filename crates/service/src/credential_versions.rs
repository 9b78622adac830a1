//! What credentials hold: read, written in new versions, gone back to, destroyed. The only place where a value leaves the store.

use crate::answer::{Answer, Body};
use crate::attempt::{Attempt, keep_outcome};
use crate::credential_due::outlook;
use crate::credentials::{CredentialView, name_key};
use crate::edit::{Edit, require_living};
use crate::service::{REPLAY_S, Service};
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::application::NameHolder;
use keyward_domain::credential::{Credential, Kind, check_name};
use keyward_domain::event::Outcome;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{self, check_reason};
use keyward_domain::{ApplicationId, Code, CredentialId, Error, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::{CredentialValue, KvCount, KvRead, SecretFields};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// How often it is looked for another version for whoever waits for one, in milliseconds.
const LOOK_EVERY_MS: u64 = 250;

/// A new version of a credential.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredentialVersion {
    /// What it holds, field by field, as the credential's kind has them.
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    pub value: SecretFields,
    /// When the third party ends it; null where that is not known. Left out, what is known of the credential stays.
    #[serde(default, deserialize_with = "crate::nullable::given")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<Option<Timestamp>>,
    /// Why.
    #[serde(default)]
    #[schema(value_type = Option<text::Reason>)]
    pub reason: Option<String>,
}

/// Which version to go back to.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// Its number.
    pub version: u32,
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
}

/// By what a credential is found.
#[derive(Debug, Clone, Copy)]
pub enum WhichCredential<'a> {
    /// Its id.
    Id(CredentialId),
    /// Its application and its name; a service need not name its own.
    Name(Option<ApplicationId>, &'a str),
}

/// What a version of a credential holds, for whoever may read it.
pub struct CredentialValueView {
    credential: CredentialView,
    version: u32,
    value: SecretFields,
}

/// A [`CredentialValueView`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialValue)]
pub struct CredentialValueBody<'a> {
    /// Whose.
    pub id: CredentialId,
    /// Whose services fetch it.
    pub application: ApplicationId,
    /// What it is fetched by.
    pub name: &'a str,
    /// What kind of secret it is.
    pub kind: Kind,
    /// Which version.
    pub version: u32,
    /// When that was written.
    pub written_at: Timestamp,
    /// What it holds, field by field.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub value: &'a SecretFields,
    /// When the third party ends it.
    #[schema(required = true)]
    pub expires_at: Option<Timestamp>,
    /// How long to go on with it before asking again, in seconds.
    pub lease_s: u32,
    /// How long to go on with it while Keyward cannot be asked, in seconds.
    pub outage_s: u32,
    /// Also the answer's ETag: another one says that there may be something new.
    pub revision: u64,
}

/// The one place where a value is written into an answer, or into a call of its provider.
pub(crate) fn shown<S: Serializer>(value: &&SecretFields, serializer: S) -> Result<S::Ok, S::Error> {
    let fields = value.expose();
    let mut map = serializer.serialize_map(Some(fields.clone().count()))?;
    for (name, text) in fields {
        map.serialize_entry(name, text)?;
    }
    map.end()
}

impl CredentialValueView {
    /// The revision of the credential that it was read at.
    pub const fn revision(&self) -> u64 {
        self.credential.revision
    }
}

impl Body for CredentialValueView {
    fn to_json(&self) -> SecretText {
        let Self { credential, version, value } = self;
        let written_at = credential.versions.iter().find(|one| one.number == *version);
        let body = CredentialValueBody {
            id: credential.id,
            application: credential.application,
            name: &credential.name,
            kind: credential.kind,
            version: *version,
            written_at: written_at.map_or(credential.created_at, |one| one.written_at),
            value,
            expires_at: credential.expires_at,
            lease_s: credential.lease_s,
            outage_s: credential.outage_s,
            revision: credential.revision,
        };
        let mut text = Zeroizing::new(serde_json::to_string(&body).unwrap_or_default());
        SecretText::new(std::mem::take(&mut *text))
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Whether there may be something new of a credential for whoever saw its revision `seen`: at once, or within `wait_s`. Hands
    /// nothing out; who waited is to be looked at again before anything is.
    ///
    /// # Errors
    /// A missing scope, no such credential; where the store does not answer.
    pub async fn credential_changed(
        &self,
        attempt: &Attempt,
        which: WhichCredential<'_>,
        seen: u64,
        wait_s: u32,
    ) -> Result<bool> {
        let begun_ms = self.clock.monotonic_ms();
        loop {
            if !self.readable_credential(attempt, which).await?.reads_as_at(seen) {
                return Ok(true);
            }
            if self.clock.monotonic_ms().saturating_sub(begun_ms) >= u64::from(wait_s) * 1_000 {
                return Ok(false);
            }
            self.clock.sleep_ms(LOOK_EVERY_MS).await;
        }
    }

    /// Hands out what a version of a credential holds, the current one where none is named; the event that says so is written first.
    ///
    /// # Errors
    /// A missing scope, no such credential, a version that never was or is destroyed; where the store does not answer or this process has
    /// no ring of the vault.
    pub async fn read_credential(
        &self,
        attempt: &Attempt,
        which: WhichCredential<'_>,
        version: Option<u32>,
    ) -> Result<CredentialValueView> {
        let credential = self.readable_credential(attempt, which).await?;
        if credential.retired_at.is_some() {
            return Err(Error::new(
                Code::StateConflict,
                "the credential is retired; what it held is destroyed",
            ));
        }
        let number = version.unwrap_or(credential.current);
        let known =
            credential.version(number).ok_or_else(|| Error::not_found("version of the credential"))?;
        require_tested(&credential, number)?;
        let value = match known.destroyed_at {
            Some(_) => None,
            None => self.read().credential_value(credential.id, number).await?,
        };
        let Some(value) = value else {
            return Err(Error::new(
                Code::StateConflict,
                format!("version {number} is destroyed; read another one, or write a new one"),
            ));
        };
        let view = self.credential_view(&credential).await?;
        let mut draft = attempt.draft(Outcome::Done, None, Some(credential.event));
        draft.detail = vec![version_fact(number)];
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        Ok(CredentialValueView { credential: view, version: number, value: value.fields })
    }

    /// The credential that is meant, where the caller may read it.
    async fn readable_credential(&self, attempt: &Attempt, which: WhichCredential<'_>) -> Result<Credential> {
        let pattern = scope::CREDENTIALS_READ;
        let (application, name) = match which {
            WhichCredential::Id(id) => return self.visible_credential(attempt, pattern, id).await,
            WhichCredential::Name(application, name) => (application, name),
        };
        let application = application.or(attempt.caller.home).ok_or_else(|| {
            Error::parameter("application", "is missing", "the application that the credential belongs to")
        })?;
        attempt.aim(Some(application), None);
        check_name("name", name).map_err(|found| Error::parameter("name", &found.reason, &found.expected))?;
        // Whoever may not read the name learns nothing of whether there is one.
        self.require_named(attempt, pattern, application, name, "credential").await?;
        let reader = self.read();
        let holder = reader.name(&name_key(application, name)).await?.and_then(|name| name.owner.holder());
        let Some(NameHolder::Credential(_, id)) = holder else { return Err(Error::not_found("credential")) };
        let credential = reader.credential(id).await?.filter(|found| found.name == name);
        let credential = credential.ok_or_else(|| Error::not_found("credential"))?;
        attempt.aim_at_credential(application, id);
        Ok(credential)
    }

    /// Writes a new version, which is the current one from then on. What it holds is in no answer.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such credential, a retired one; where the store does not answer.
    pub async fn write_credential(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        new: NewCredentialVersion,
    ) -> Result<Answer<CredentialView>> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        let mut errors = known.kind.check(new.value.lengths());
        errors.extend(new.reason.as_deref().and_then(|reason| check_reason("reason", reason).err()));
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let asked = (id, self.digest_of_value(&new.value)?, new.expires_at, &new.reason);
        if let Some(text) = self.begin(attempt, "credentials.write", &asked, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            require_settled(credential)?;
            let mut written = credential.clone();
            written.expires_at = new.expires_at.unwrap_or(written.expires_at);
            written.write(credential.next_version(), now);
            Ok(written)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        // Somebody with the same Idempotency-Key may have been faster while the turn was waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        let value = CredentialValue { credential: id, version: edit.after.current, fields: new.value };
        let terms = self.terms_of(&edit.after).await?;
        let destroyed = newly_destroyed(&edit.before, &edit.after);
        let mut detail = writing_facts(value.version, &destroyed);
        detail.extend(outlook(&edit.after, &terms));
        let reservation = attempt.take_reservation();
        let view = self
            .commit_edit(attempt, edit, new.reason, detail, |credential, writes| {
                writes.credential_value(&value);
                for number in destroyed {
                    writes.credential_destroyed(id, number, credential.event);
                }
                let view = CredentialView::of(credential, &terms, now);
                keep_outcome(reservation, &view, now, writes);
                view
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// Makes an earlier version the current one again.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential, a retired one, a version that never was or is destroyed; where the store does not
    /// answer.
    pub async fn roll_credential_back(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        asked: &RollBack,
    ) -> Result<Answer<CredentialView>> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        check_reason("reason", &asked.reason)?;
        if let Some(text) = self.begin(attempt, "credentials.roll-back", &(id, asked), REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            require_settled(credential)?;
            require_kept(credential, asked.version)?;
            require_tested(credential, asked.version)?;
            Ok(Credential { current: asked.version, ..credential.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        // Somebody with the same Idempotency-Key may have been faster while the turn was waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        let terms = self.terms_of(&edit.after).await?;
        let now = self.clock.now();
        let mut detail = vec![version_fact(asked.version)];
        detail.extend(outlook(&edit.after, &terms));
        let reservation = attempt.take_reservation();
        let reason = Some(asked.reason.clone());
        let view = self
            .commit_edit(attempt, edit, reason, detail, |credential, writes| {
                let view = CredentialView::of(credential, &terms, now);
                keep_outcome(reservation, &view, now, writes);
                view
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// Destroys what a version holds, for good. The current version is not destroyed: another one has to take its place first.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential or version, the current one; where the store does not answer.
    pub async fn destroy_credential_version(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        number: u32,
        reason: &str,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_DESTROY, id).await?;
        check_reason("reason", reason)?;
        let version = known.version(number).ok_or_else(|| Error::not_found("version of the credential"))?;
        if version.destroyed_at.is_some() {
            return self.credential_view(&known).await;
        }
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            require_kept(credential, number)?;
            if credential.current == number {
                return Err(Error::new(
                    Code::StateConflict,
                    format!(
                        "version {number} is the current one; write another or go back to one first, or retire the credential"
                    ),
                ));
            }
            if credential.rotation.as_ref().is_some_and(|rotation| rotation.needs(number)) {
                return Err(Error::new(
                    Code::StateConflict,
                    format!("a rotation that is under way needs version {number}; wait for its end"),
                ));
            }
            let mut destroyed = credential.clone();
            destroyed.destroy(number, now);
            Ok(destroyed)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        self.commit_destruction(attempt, edit, reason).await
    }

    /// Writes an edit that destroys versions, together with their end.
    pub(crate) async fn commit_destruction(
        &self,
        attempt: &Attempt,
        edit: Edit<Credential>,
        reason: &str,
    ) -> Result<CredentialView> {
        let terms = self.terms_of(&edit.after).await?;
        let now = self.clock.now();
        let destroyed = newly_destroyed(&edit.before, &edit.after);
        let detail = destroyed.iter().map(|number| version_fact(*number)).collect();
        let had_provider = edit.before.provider.is_some();
        self.commit_edit(attempt, edit, Some(reason.to_owned()), detail, |credential, writes| {
            for number in destroyed {
                writes.credential_destroyed(credential.id, number, credential.event);
            }
            if had_provider && credential.provider.is_none() {
                writes.provider_secret_destroyed(credential.id, credential.event);
            }
            CredentialView::of(credential, &terms, now)
        })
        .await
    }
}

/// The versions that an edit destroys.
pub(crate) fn newly_destroyed(before: &Credential, after: &Credential) -> Vec<u32> {
    let is_gone = |number: u32| after.version(number).is_none_or(|version| version.destroyed_at.is_some());
    let living = before.versions.iter().filter(|version| version.destroyed_at.is_none());
    living.map(|version| version.number).filter(|number| is_gone(*number)).collect()
}

/// Refuses a version that never was or whose value is gone.
fn require_kept(credential: &Credential, number: u32) -> Result<()> {
    match credential.version(number) {
        Some(version) if version.destroyed_at.is_none() => Ok(()),
        Some(_) => Err(Error::new(Code::StateConflict, format!("version {number} is destroyed, for good"))),
        None => Err(Error::not_found("version of the credential")),
    }
}

/// What an event says of a version that is written, and of those that are destroyed for it.
pub(crate) fn writing_facts(version: u32, destroyed: &[u32]) -> Vec<String> {
    let destroyed = destroyed.iter().map(|number| format!("destroyed {number}"));
    std::iter::once(version_fact(version)).chain(destroyed).collect()
}

/// Refuses a version that its provider has not tested.
fn require_tested(credential: &Credential, number: u32) -> Result<()> {
    match credential.is_pending(number) {
        false => Ok(()),
        true => Err(Error::new(
            Code::StateConflict,
            format!("version {number} is pending: the credential's provider has not tested it"),
        )),
    }
}

/// Refuses while a rotation decides which version is the current one.
pub(crate) fn require_settled(credential: &Credential) -> Result<()> {
    match credential.is_settled() {
        true => Ok(()),
        false => Err(Error::new(
            Code::StateConflict,
            "the credential is being rotated by its provider; wait for the end of that, or cancel it first",
        )),
    }
}

/// What an event says of the version that it is about.
pub(crate) fn version_fact(number: u32) -> String {
    format!("version {number}")
}
