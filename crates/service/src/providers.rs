//! Providers of credentials: whom Keyward calls in order to rotate a credential, what it is told, and by what it knows that Keyward
//! calls. When it is called is in `credential_rotation.rs`.

use crate::answer::{Answer, Body};
use crate::attempt::{Attempt, keep_outcome};
use crate::credential_due::outlook;
use crate::credential_versions::shown;
use crate::credentials::CredentialView;
use crate::delivery::{Message, readable};
use crate::edit::require_living;
use crate::service::{REPLAY_S, Service};
use keyward_crypto::webhook::{secret_text, signature};
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::credential::{Credential, Kind, VALUE_BYTES_MAX};
use keyward_domain::credential_rotation::{Provider, Rotation, Step};
use keyward_domain::event::EventId;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::check_reason;
use keyward_domain::webhook::{OLD_SECRET_S, OldSecret, SECRET_PREFIX, Targets, Url, check_url};
use keyward_domain::{ApplicationId, Code, CredentialId, Error, Result, Timestamp, base62};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead, ProviderSecret, SecretFields};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The longest answer of a provider that is read, in bytes: JSON may need six for each of a value's.
const ANSWER_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 1024;
/// Bytes of randomness in a secret that Keyward makes, and the characters that it has then: 0-9, A-Z, a-z.
const MADE_BYTES: usize = 32;
const MADE_CHARACTERS: usize = 43;

/// Who is to rotate a credential.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCredentialProvider)]
pub struct NewProvider {
    /// Where its hook is.
    #[schema(value_type = Url)]
    pub url: String,
}

/// Who rotates a credential.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialProvider)]
pub struct ProviderView {
    /// Where its hook is.
    pub url: String,
    /// Since when it is that one.
    pub since: Timestamp,
}

impl From<&Provider> for ProviderView {
    fn from(provider: &Provider) -> Self {
        Self { url: provider.url.clone(), since: provider.since }
    }
}

/// A credential with the secret of its provider that was just made.
pub struct ProviderWithSecret {
    credential: CredentialView,
    secret: SecretText,
}

/// A [`ProviderWithSecret`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialProviderWithSecret)]
pub struct ProviderWithSecretBody<'a> {
    credential: &'a CredentialView,
    /// What calls of the provider are signed with, as libraries of Standard Webhooks take it. Shown here and never again.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: &'a str,
}

impl Body for ProviderWithSecret {
    fn to_json(&self) -> SecretText {
        ProviderWithSecretBody { credential: &self.credential, secret: self.secret.expose() }.to_json()
    }
}

/// What a provider is told: the body of a call.
#[derive(Serialize)]
struct Call<'a> {
    step: &'static str,
    rotation: EventId,
    attempt: u32,
    credential: Whose<'a>,
    current: Held<'a>,
    /// The version to come, or the one to be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Held<'a>>,
    /// The version that the current one took the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Held<'a>>,
}

#[derive(Serialize)]
struct Whose<'a> {
    id: CredentialId,
    application: ApplicationId,
    name: &'a str,
    kind: Kind,
}

/// A version and what it holds.
#[derive(Serialize)]
struct Held<'a> {
    version: u32,
    #[serde(serialize_with = "shown_where_known")]
    value: Option<&'a SecretFields>,
}

fn shown_where_known<S: Serializer>(value: &Option<&SecretFields>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => shown(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// What versions hold that a provider is told of.
pub(crate) struct Told {
    current: Option<SecretFields>,
    pending: Option<SecretFields>,
    previous: Option<SecretFields>,
    secret: Option<ProviderSecret>,
}

impl Told {
    /// Which versions it is told what they hold, for the event that says so.
    pub(crate) fn versions(&self, credential: &Credential, rotation: &Rotation) -> Vec<u32> {
        let current = self.current.as_ref().map(|_| credential.current);
        let pending = self.pending.as_ref().and(rotation.pending);
        let previous = self.previous.as_ref().map(|_| rotation.before);
        current.into_iter().chain(pending).chain(previous).collect()
    }

    /// Whether the provider can be called: what was destroyed can be neither set nor tested, and nothing is told unsigned.
    pub(crate) const fn is_enough_for(&self, step: Step) -> bool {
        let is_there = match step {
            Step::Set | Step::Test => self.pending.is_some(),
            Step::Create | Step::Finish | Step::RollBack => true,
        };
        is_there && self.secret.is_some()
    }

    /// The call of a step that was taken.
    pub(crate) fn message<'m>(
        &self,
        credential: &Credential,
        provider: &'m Provider,
        rotation: &Rotation,
        now: Timestamp,
    ) -> Message<'m> {
        let held = |version: u32, value| Held { version, value };
        let Credential { id, application, name, kind, .. } = credential;
        let previous = held(rotation.before, self.previous.as_ref());
        let call = Call {
            step: rotation.step.as_str(),
            rotation: rotation.id,
            attempt: rotation.attempts,
            credential: Whose { id: *id, application: *application, name, kind: *kind },
            current: held(credential.current, self.current.as_ref()),
            pending: match rotation.step {
                Step::Finish => None,
                _ => rotation.pending.map(|version| held(version, self.pending.as_ref())),
            },
            previous: Some(previous).filter(|_| rotation.step == Step::Finish),
        };
        let body = Zeroizing::new(serde_json::to_vec(&call).unwrap_or_default());
        // The same at every attempt: by it the provider knows that it did the step before.
        let id = format!("rot_{}_{}_{}", rotation.id.epoch, rotation.id.seq, rotation.step);
        let sign = |secret| signature(secret, &id, now.unix_s(), &body);
        let secrets = self.secret.iter().flat_map(|secret| secret.secrets(now));
        let signatures: Vec<String> = secrets.map(sign).collect();
        Message {
            url: &provider.url,
            timestamp: now.unix_s().to_string(),
            signature: signatures.join(" "),
            answer_bytes_max: if rotation.step == Step::Create { ANSWER_BYTES_MAX } else { 0 },
            id,
            body,
        }
    }
}

/// What a provider answers that made a secret.
#[derive(Deserialize)]
struct Made {
    value: SecretFields,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Gives a credential a provider, or another one. The secret that its calls are signed with is in the answer, and in no other; where
    /// the provider is the same, the one before signs as well for a day.
    ///
    /// Whoever does so has what the credential holds sent to where they say: that takes the right to read it.
    ///
    /// # Errors
    /// A bad URL, a missing scope, no such credential, a retired one; where the store does not answer or this process has no ring of the
    /// vault.
    pub async fn set_credential_provider(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        new: NewProvider,
        targets: Targets,
    ) -> Result<Answer<ProviderWithSecret>> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        attempt.caller.require_credential(
            scope::CREDENTIALS_READ,
            known.application,
            &known.name,
            "credential",
        )?;
        check_url("url", &new.url, targets)?;
        if let Some(text) = self.begin(attempt, "credentials.set-provider", &(id, &new), REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            let provider = Some(Provider { url: new.url.clone(), since: now });
            Ok(Credential { provider, ..credential.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        // Somebody with the same Idempotency-Key may have been faster while the turn was waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        let is_same = edit.before.provider.as_ref().is_some_and(|before| before.url == new.url);
        let before = if is_same { self.read().provider_secret(id).await? } else { None };
        let until = now.plus_s(OLD_SECRET_S);
        let old = before.map(|before| OldSecret { secret: before.secret, until });
        let secret = ProviderSecret { credential: id, secret: self.rng.bytes(), old };
        let terms = self.terms_of(&edit.after).await?;
        let detail = outlook(&edit.after, &terms).into_iter().collect();
        let reservation = attempt.take_reservation();
        let made = self
            .commit_edit(attempt, edit, None, detail, |credential, writes| {
                writes.provider_secret(&secret);
                let made = ProviderWithSecret {
                    credential: CredentialView::of(credential, &terms, now),
                    secret: secret_text(SECRET_PREFIX, &secret.secret),
                };
                keep_outcome(reservation, &made, now, writes);
                made
            })
            .await?;
        Ok(Answer::Fresh(made))
    }

    /// Takes the provider of a credential away: from then on people rotate it.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential, a retired one, one without a provider, one that is being rotated; where the store
    /// does not answer.
    pub async fn remove_credential_provider(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        reason: &str,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        check_reason("reason", reason)?;
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            provider_of(credential)?;
            if credential.rotation.is_some() {
                return Err(Error::new(
                    Code::StateConflict,
                    "the provider is rotating the credential; wait for the end of that, or cancel it first",
                ));
            }
            Ok(Credential { provider: None, ..credential.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let terms = self.terms_of(&edit.after).await?;
        let now = self.clock.now();
        let detail = outlook(&edit.after, &terms).into_iter().collect();
        self.commit_edit(attempt, edit, Some(reason.to_owned()), detail, |credential, writes| {
            writes.provider_secret_destroyed(id, credential.event);
            CredentialView::of(credential, &terms, now)
        })
        .await
    }

    /// What a provider is told for the step that is next, as far as it opens.
    pub(crate) async fn told(&self, credential: &Credential, rotation: &Rotation) -> Result<Told> {
        let reader = self.read();
        let held = async |number: Option<u32>| match number {
            Some(number) => {
                let found = readable(reader.credential_value(credential.id, number).await)?;
                Ok::<_, Error>(found.map(|held| held.fields))
            }
            None => Ok(None),
        };
        let finishes = rotation.step == Step::Finish;
        let (current, pending, previous, secret) = futures::join!(
            held(Some(credential.current)),
            held(rotation.pending.filter(|_| !finishes)),
            held(Some(rotation.before).filter(|_| finishes)),
            reader.provider_secret(credential.id),
        );
        Ok(Told { current: current?, pending: pending?, previous: previous?, secret: readable(secret)? })
    }

    /// The secret of a version to come: the one that the provider answered with, or one that is made here where it answered with none;
    /// nothing where it is none that the kind can have.
    pub(crate) fn made(&self, kind: Kind, answer: &[u8], told: &Told) -> Option<SecretFields> {
        if !answer.is_empty() {
            // No error is passed on: it may name what it found.
            let Made { value } = serde_json::from_slice(answer).ok()?;
            return kind.check(value.lengths()).is_empty().then_some(value);
        }
        if kind == Kind::Certificate {
            return None;
        }
        let mut fields = BTreeMap::new();
        for (name, text) in told.current.as_ref()?.expose() {
            let text = if name == kind.main_field() { self.fresh_secret() } else { text.to_owned() };
            fields.insert(name.to_owned(), SecretText::new(text));
        }
        Some(SecretFields::new(fields))
    }

    fn fresh_secret(&self) -> String {
        let bytes = Zeroizing::new(self.rng.bytes::<MADE_BYTES>());
        let mut text = String::with_capacity(MADE_CHARACTERS);
        base62::encode_into(&mut text, bytes.as_slice(), MADE_CHARACTERS);
        text
    }
}

/// The provider of a credential that has one.
///
/// # Errors
/// Where it has none.
pub(crate) fn provider_of(credential: &Credential) -> Result<&Provider> {
    let none = "the credential has no provider that rotates it; give it one, or write a new version";
    credential.provider.as_ref().ok_or_else(|| Error::new(Code::StateConflict, none))
}
