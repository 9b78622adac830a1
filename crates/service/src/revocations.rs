//! Revocations: one key, all keys of an application, or the very token that somebody found. They wait for nobody's turn.

use crate::attempt::Attempt;
use crate::due::forgotten_fact;
use crate::list::Page;
use crate::service::Service;
use crate::view::{GenerationRevocation, Named, RevocationView};
use keyward_crypto::SecretText;
use keyward_domain::application::Application;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, EventId, Outcome};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::{generation_ended, stands_revoked};
use keyward_domain::text::{self, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead, Tombstone, names};

/// Why something is revoked.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReasonGiven)]
pub struct Reason {
    /// In words.
    #[schema(value_type = text::Reason)]
    pub reason: String,
}

/// The reason in the tombstone of a key that was revoked with its own token.
const REPORTED: &str = "revoked by whoever held its token";

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Revokes a key, for good. A key that is dead already stays as it is, and the answer is the one of its death.
    ///
    /// # Errors
    /// No reason, a missing scope, no such key, the last root; where the store does not answer.
    pub async fn revoke_key(&self, attempt: &Attempt, id: KeyId, reason: &str) -> Result<RevocationView> {
        let previous = match self.visible_key(attempt, scope::KEYS_REVOKE, id).await {
            Ok(key) => {
                self.require_superset(attempt, key.application, &key.scopes, &key.roles).await?;
                Some(key)
            }
            // A damaged record must not keep a key from being revoked: whoever may revoke all keys may revoke this one.
            Err(error) if error.code.blame() == Blame::Integrity => {
                attempt.caller.require(scope::KEYS_REVOKE)?;
                attempt.aim(None, Some(id));
                None
            }
            Err(error) => return Err(error),
        };
        check_reason("reason", reason)?;
        if let Some(key) = &previous {
            self.keep_a_root_beside(key, None).await?;
        }
        self.kill(attempt, id, previous.as_ref(), reason).await
    }

    /// Revokes the key whose living token this is: the token itself is the proof.
    ///
    /// # Errors
    /// A text that is no token, or no key's; where the store does not answer.
    pub async fn report_token(&self, attempt: &Attempt, text: &SecretText) -> Result<RevocationView> {
        let (key, version) = self.key_of_token(text).await?;
        attempt.aim(Some(key.application), Some(key.id));
        if self.version_is_dead(&key, version).await? {
            return Err(Error::new(Code::Revoked, "this version of the key is dead already"));
        }
        self.kill(attempt, key.id, Some(&key), REPORTED).await
    }

    /// Whether a version was killed while its key lives on.
    async fn version_is_dead(&self, key: &Key, version: u16) -> Result<bool> {
        let kill = self.kv.get(&names::version_kill(key.id, version)).await?;
        Ok(kill.is_some() && matches!(self.read().flag(key.id).await?, Some(None)))
    }

    async fn kill(
        &self,
        attempt: &Attempt,
        id: KeyId,
        key: Option<&Key>,
        reason: &str,
    ) -> Result<RevocationView> {
        match self.read().flag(id).await {
            Ok(Some(Some(tombstone))) => return Ok(RevocationView::of(&tombstone)),
            Ok(Some(None)) => {}
            Ok(None) => return Err(Error::not_found("key")),
            // A tombstone that does not open is dead as it is; a proper one takes its place.
            Err(error)
                if error.code.blame() == Blame::Integrity || error.code == Code::RingVersionUnknown => {}
            Err(error) => return Err(error),
        }
        let at = self.clock.now();
        let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), key.map(|key| key.event));
        draft.detail.extend([stands_revoked(), forgotten_fact(at)]);
        let by = draft.actor.clone();
        self.commit(attempt, vec![draft], |tickets, writes| {
            let tombstone = Tombstone { key: id, at, by, reason: reason.to_owned(), event: tickets.event(0) };
            writes.tombstone(&tombstone, key.is_none_or(|key| key.imported.is_some()));
            Ok(RevocationView::of(&tombstone))
        })
        .await
    }

    /// Revokes all keys that an application has had so far. Keys issued later are of the next generation and live. Again without a
    /// key in between, the answer is the one of the first time.
    ///
    /// # Errors
    /// No reason, a missing scope, no such application; where the store does not answer.
    pub async fn revoke_application(
        &self,
        attempt: &Attempt,
        id: ApplicationId,
        reason: &str,
    ) -> Result<RevocationView> {
        self.require_at(attempt, scope::KEYS_REVOKE, id, "application").await?;
        check_reason("reason", reason)?;
        if id == ApplicationId::KEYWARD {
            return Err(Error::new(
                Code::Forbidden,
                "revoking every key of `keyward` would lock everybody out; revoke its keys one by one",
            ));
        }
        attempt.act(Action::ApplicationRevoked);
        let application =
            self.read().application(id).await?.ok_or_else(|| Error::not_found("application"))?;
        let generation = self.living_generation(&application).await?;
        if let Some(dead) = self.dead_already(&application, generation).await {
            return Ok(RevocationView::Generation(dead));
        }
        let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(application.event));
        draft.detail.push(generation_ended(generation));
        let revoked_at = self.clock.now();
        self.commit(attempt, vec![draft], |tickets, writes| {
            writes.generation_kill(id, generation, tickets.event(0));
            Ok(RevocationView::Generation(GenerationRevocation {
                application: Named { id },
                generation,
                revoked_at,
                event: tickets.event(0),
            }))
        })
        .await
    }

    /// When a generation was killed, as far as its event tells; `None` where it lives.
    pub(crate) async fn generation_killed_at(
        &self,
        application: ApplicationId,
        generation: u32,
    ) -> Result<Option<Timestamp>> {
        let kill = self.kv.get(&names::generation_kill(application, generation)).await?;
        let event = kill.and_then(|kill| std::str::from_utf8(&kill).ok()?.parse::<EventId>().ok());
        match event {
            Some(event) => Ok(self.read().event(event).await?.map(|event| event.at)),
            None => Ok(None),
        }
    }

    /// The revocation before this one, where no key has been issued since. Whatever cannot be told is no reason not to revoke.
    async fn dead_already(&self, application: &Application, generation: u32) -> Option<GenerationRevocation> {
        if generation == application.generation {
            return None;
        }
        let (newest, _) = self.things::<KeyId>(&lists::keys_of(application.id), &Page::FIRST).await.ok()?;
        let newest = match newest.first() {
            Some(key) => self.read().key(*key).await.ok()??.generation,
            None => 0,
        };
        let killed = generation - 1;
        let kill = self.kv.get(&names::generation_kill(application.id, killed)).await.ok()??;
        let event = std::str::from_utf8(&kill).ok()?.parse::<EventId>().ok()?;
        let revoked_at = self.read().event(event).await.ok()??.at;
        (newest < generation).then_some(GenerationRevocation {
            application: Named { id: application.id },
            generation: killed,
            revoked_at,
            event,
        })
    }
}
