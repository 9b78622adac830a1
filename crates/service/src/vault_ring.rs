//! The ring of the vault rolls over: what credentials hold, and what calls of their providers are signed with, is counted by the version that
//! it lies under, and sealed anew under the active one, where the process has that ring. The place is the caller's cursor: a pass that
//! begins anew finds what is left.

use crate::attempt::Attempt;
use crate::list::Page;
use crate::rings::{RingView, resealed};
use crate::service::Service;
use keyward_crypto::Sealer;
use keyward_domain::credential::Credential;
use keyward_domain::event::{Outcome, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::{CredentialId, Result};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{CredentialValue, KvCount, KvRead, ProviderSecret, RecordError, Revised, names, open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Credentials that one step looks at.
const STEP_CREDENTIALS: &str = "32";

/// The ring of the vault, and what one step found under each of its versions.
#[derive(Serialize, ToSchema)]
#[schema(as = VaultRing)]
pub struct VaultRingView {
    /// Its versions, each with the values of credentials that the step found under it, as records.
    ring: RingView,
    /// Where the next step goes on; null at the end of the pass.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// How to go on with sealing anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = VaultResealRequest)]
pub struct ResealVault {
    /// Where the step before ended; from the beginning where there is none.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub cursor: Option<String>,
}

/// What one step came to.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = VaultResealing)]
pub struct VaultResealingView {
    /// The version that it sealed under.
    active: u32,
    /// Versions of credentials that hold something and secrets of providers, as it found them.
    values: u64,
    /// Of these, those that it sealed anew.
    resealed: u64,
    /// Of these, those that do not open, or lie under a version that this process does not have.
    unreadable: u64,
    /// Where the next step goes on; null at the end of the pass.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The versions of the vault's ring that this process has, and what one step over the credentials, the oldest first, found under each;
    /// it changes nothing. The counts of all steps of a pass add up.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where this process has no ring of the vault or the store does not answer.
    pub async fn vault_ring(&self, attempt: &Attempt, cursor: Option<&str>) -> Result<VaultRingView> {
        attempt.caller.require(scope::RINGS_READ)?;
        let vault = self.rings.vault()?;
        let page = Page::parse(Some(STEP_CREDENTIALS), cursor)?;
        let (ids, next_cursor) =
            self.things_from_the_first::<CredentialId>(lists::CREDENTIALS, &page).await?;
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for id in ids {
            for (_, value) in self.sealed_values(id).await? {
                let under = Sealer::sealed_under(&value).ok();
                under.into_iter().for_each(|version| *counts.entry(version).or_default() += 1);
            }
        }
        let known: Vec<u32> = vault.versions().collect();
        let ring = RingView::new(vault.ring_name(), &known, [Some(&counts), None, None]);
        Ok(VaultRingView { ring, next_cursor })
    }

    /// What the versions of a credential hold, and what its provider knows Keyward by, as it lies in the store.
    async fn sealed_values(&self, id: CredentialId) -> Result<Vec<(String, Vec<u8>)>> {
        let Some(credential) = self.read().credential(id).await? else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        let living = credential.versions.iter().filter(|version| version.destroyed_at.is_none());
        let store_keys = living.map(|version| names::credential_value(id, version.number));
        for store_key in store_keys.chain(credential.provider.iter().map(|_| names::credential_provider(id)))
        {
            let value = self.kv.get(&store_key).await?;
            values.extend(value.map(|value| (store_key, value)));
        }
        Ok(values)
    }

    /// One step of sealing anew what credentials hold, the oldest credential first; its event says that it was asked for, and one for each
    /// credential that it seals anew says that.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where this process has no ring of the vault or the store does not answer.
    pub async fn reseal_vault(&self, attempt: &Attempt, asked: &ResealVault) -> Result<VaultResealingView> {
        attempt.caller.require(scope::RINGS_WRITE)?;
        let active = self.rings.vault()?.active_version();
        let page = Page::parse(Some(STEP_CREDENTIALS), asked.cursor.as_deref())?;
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        let (ids, next_cursor) =
            self.things_from_the_first::<CredentialId>(lists::CREDENTIALS, &page).await?;
        let mut view = VaultResealingView { active, next_cursor, ..VaultResealingView::default() };
        for id in ids {
            if self.count_values(id, &mut view).await? {
                view.resealed += self.reseal_values(id).await?;
            }
        }
        Ok(view)
    }

    /// Counts what the versions of a credential hold; whether some of it is to be sealed anew.
    async fn count_values(&self, id: CredentialId, view: &mut VaultResealingView) -> Result<bool> {
        let vault = self.rings.vault()?;
        let mut is_old = false;
        for (store_key, value) in self.sealed_values(id).await? {
            view.values += 1;
            let opened = match store_key == names::credential_provider(id) {
                true => open::<ProviderSecret>(vault, &store_key, &value).map(drop),
                false => open::<CredentialValue>(vault, &store_key, &value).map(drop),
            };
            match opened {
                Ok(()) => is_old |= Sealer::sealed_under(&value).ok() != Some(view.active),
                Err(RecordError::Damaged | _) => view.unreadable += 1,
            }
        }
        Ok(is_old)
    }

    /// Seals what a credential holds anew, in its turn: whoever destroys a version waits for it, or comes before. How many values.
    async fn reseal_values(&self, id: CredentialId) -> Result<u64> {
        let (turn, mut credential) = self.ledger.turn_at::<Credential>(id).await?;
        let mut values = Vec::new();
        let living: Vec<u32> = credential
            .versions
            .iter()
            .filter(|version| version.destroyed_at.is_none())
            .map(|version| version.number)
            .collect();
        for number in living {
            // What does not open is left as it lies: it has been counted.
            if let Ok(Some(value)) = self.read().credential_value(id, number).await {
                values.push(value);
            }
        }
        let secret = match credential.provider {
            Some(_) => self.read().provider_secret(id).await.unwrap_or_default(),
            None => None,
        };
        let count = values.len() + usize::from(secret.is_some());
        let vault = self.rings.vault()?;
        let detail =
            vec![format!("{} {}", vault.ring_name(), vault.active_version()), format!("{count} values")];
        let mut draft = resealed(detail);
        draft.target = Target { application: Some(credential.application), ..Target::credential(Some(id)) };
        draft.previous = Some(credential.event);
        self.ledger
            .commit(vec![draft], |tickets, writes| {
                credential.written(turn.revision(), tickets.event(0));
                writes.change(&credential, turn);
                for value in &values {
                    writes.credential_value(value);
                }
                if let Some(secret) = &secret {
                    writes.provider_secret(secret);
                }
                Ok(())
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}
