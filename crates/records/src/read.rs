//! Reading typed records: one call for one record, errors sorted into "not there", "later" and "damaged".

use crate::credential::{CredentialValue, ProviderSecret};
use crate::delivery::Delivery;
use crate::due::DueWalk;
use crate::ended::EndedWalk;
use crate::epoch::Epochs;
use crate::event::{CurrentMonth, PersonalKey, StoredEvent};
use crate::flag::{Flag, Tombstone};
use crate::kv::KvRead;
use crate::last_use::{Folding, KeyUse, Refusals, Requests, Resolution, UseBlock};
use crate::maintained::Maintained;
use crate::names;
use crate::projection::{Head, ListHead, ListPage};
use crate::record::{NameRecord, Record, Void, open};
use crate::register::{RegisterHead, RegisterPage, RegisterSums, RegisterTotals, Registers, RowPlace};
use crate::reseal::Resealing;
use crate::revised::Revised;
use crate::rotation_walk::RotationWalk;
use crate::signed::Signed;
use crate::witness::Seen;
use keyward_crypto::note::LogKeys;
use keyward_crypto::{Peppers, Sealer};
use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::delivery::Queue;
use keyward_domain::event::{Event, EventId};
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::session::Session;
use keyward_domain::timestamp::Month;
use keyward_domain::webhook::Webhook;
use keyward_domain::{
    ApplicationId, ClaimId, Code, CredentialId, Error, KeyId, PolicyId, RenewalId, Result, RoleId, Timestamp,
    WebhookId,
};

/// The rings that the control plane holds. Validation holds `records` and `peppers` alone.
pub struct Rings {
    /// Seals records of state.
    pub records: Sealer,
    /// Seals audit events.
    pub audit: Sealer,
    /// MACs tokens.
    pub peppers: Peppers,
    /// Seals what credentials hold, for whoever is handed it.
    pub vault: Option<Sealer>,
    /// Signs checkpoints of the log, for whoever is handed them.
    pub log: Option<LogKeys>,
    /// The key of this month's personal data, once it is known.
    pub month: CurrentMonth,
}

impl Rings {
    /// The ring of the vault.
    ///
    /// # Errors
    /// [`Code::Misconfigured`] where this process was not handed it.
    pub fn vault(&self) -> Result<&Sealer> {
        self.vault.as_ref().ok_or_else(|| {
            let detail = "variable `vault_keyring` is missing; expected what `keyward init` made";
            Error::new(Code::Misconfigured, detail)
        })
    }
}

/// Reads typed records from a store.
pub struct Reader<'a, K> {
    kv: &'a K,
    rings: &'a Rings,
}

impl<'a, K: KvRead> Reader<'a, K> {
    /// A reader of `kv` with these rings.
    pub const fn new(kv: &'a K, rings: &'a Rings) -> Self {
        Self { kv, rings }
    }

    async fn record<R: Record>(&self, sealer: &Sealer, store_key: &str, what: &str) -> Result<Option<R>> {
        match self.kv.get(store_key).await? {
            None => Ok(None),
            Some(value) => open(sealer, store_key, &value).map(Some).map_err(|e| e.into_error(what)),
        }
    }

    /// A record that changes in turns, by its id.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn revised<R: Revised>(&self, id: R::Id) -> Result<Option<R>> {
        self.record(&self.rings.records, &R::store_key_of(id), &format!("a {}", R::KIND)).await
    }

    /// A key's record.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn key(&self, id: KeyId) -> Result<Option<Key>> {
        self.revised(id).await
    }

    /// Whether a key's flag is live, and its tombstone where it is dead. `None` where there is no flag.
    ///
    /// # Errors
    /// Where the store does not answer or the tombstone does not open.
    pub async fn flag(&self, id: KeyId) -> Result<Option<Option<Tombstone>>> {
        let value = self.kv.get(&names::flag(id)).await?;
        match Flag::of(value.as_deref()) {
            Flag::Absent => Ok(None),
            Flag::Live => Ok(Some(None)),
            Flag::Dead(value) => Tombstone::open(&self.rings.records, id, value)
                .map(|tombstone| Some(Some(tombstone)))
                .map_err(|e| e.into_error("a tombstone")),
        }
    }

    /// What validation must know of an application.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn application(&self, id: ApplicationId) -> Result<Option<Application>> {
        self.record(&self.rings.records, &names::application(id), "an application").await
    }

    /// The rest of an application.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn details(&self, id: ApplicationId) -> Result<Option<Details>> {
        self.record(&self.rings.records, &names::details(id), "an application").await
    }

    /// A role.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn role(&self, id: RoleId) -> Result<Option<Role>> {
        self.revised(id).await
    }

    /// A webhook.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>> {
        self.revised(id).await
    }

    /// Who holds a name.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn name(&self, store_key: &str) -> Result<Option<NameRecord>> {
        self.record(&self.rings.records, store_key, "a name").await
    }

    /// A claim.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn claim(&self, id: ClaimId) -> Result<Option<Claim>> {
        self.record(&self.rings.records, &names::claim(id), "a claim").await
    }

    /// The right that a renewal token carries.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn renewal(&self, id: RenewalId) -> Result<Option<Renewal>> {
        self.record(&self.rings.records, &names::renewal(id), "a renewal token").await
    }

    /// A policy.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn policy(&self, id: PolicyId) -> Result<Option<Policy>> {
        self.revised(id).await
    }

    /// A credential, without what it holds.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn credential(&self, id: CredentialId) -> Result<Option<Credential>> {
        self.revised(id).await
    }

    /// What a version of a credential holds; `None` where it was destroyed or never was.
    ///
    /// # Errors
    /// Where this process has no ring of the vault, the store does not answer or the record does not open.
    pub async fn credential_value(&self, id: CredentialId, version: u32) -> Result<Option<CredentialValue>> {
        let vault = self.rings.vault()?;
        let (value_key, kill_key) =
            (names::credential_value(id, version), names::credential_kill(id, version));
        let (value, kill) = futures::join!(self.kv.get(&value_key), self.kv.get(&kill_key));
        // Looked at first: what was destroyed stays destroyed, whatever a writer that was held up put back.
        match (kill?, value?) {
            (None, Some(value)) => {
                open(vault, &value_key, &value).map(Some).map_err(|e| e.into_error("a credential's value"))
            }
            _ => Ok(None),
        }
    }

    /// What calls of a credential's provider are signed with; for a credential that has one.
    ///
    /// # Errors
    /// Where this process has no ring of the vault, the store does not answer or the record does not open.
    pub async fn provider_secret(&self, id: CredentialId) -> Result<Option<ProviderSecret>> {
        self.record(self.rings.vault()?, &names::credential_provider(id), "a provider's secret").await
    }

    /// The versions of a key that were killed while it lives on.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn killed_versions(&self, key: &Key) -> Result<Vec<u16>> {
        let kills = key.versions.iter().map(async |version| {
            let kill = self.kv.get(&names::version_kill(key.id, version.number)).await?;
            Ok(kill.map(|_| version.number))
        });
        futures::future::join_all(kills).await.into_iter().filter_map(Result::transpose).collect()
    }

    /// How issuing stands; `None` where nobody ever froze it.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn issuing(&self) -> Result<Option<Issuing>> {
        self.record(&self.rings.records, names::ISSUING, "the state of issuing").await
    }

    /// Whether whoever opened a session has signed out of it.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn session_closed(&self, session: &Session) -> Result<bool> {
        Ok(self.kv.get(&names::session_closed(session.id())).await?.is_some())
    }

    /// An event, as far as it is not shredded.
    ///
    /// # Errors
    /// Where the store does not answer or the event does not open.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let what = "an audit event";
        let stored: Option<StoredEvent> = self.record(&self.rings.audit, &names::event(id), what).await?;
        let Some(stored) = stored else { return Ok(None) };
        let key = match &stored.personal {
            Some(personal) => self.personal_key(personal.month, personal.number).await?,
            None => None,
        };
        stored.reveal(&self.rings.audit, key.as_ref()).map(Some).map_err(|e| e.into_error(what))
    }

    /// A key of a month's personal data.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn personal_key(&self, month: Month, number: u32) -> Result<Option<PersonalKey>> {
        if let Some(held) = self.rings.month.get(month).filter(|held| held.number == number) {
            return Ok(Some(PersonalKey::from(&held)));
        }
        let what = "a month's key";
        self.record(&self.rings.audit, &names::personal_key(month, number), what).await
    }

    /// Which epochs of the log there are.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn epochs(&self) -> Result<Epochs> {
        let found = self.record(&self.rings.audit, names::EPOCHS, "the epochs").await?;
        Ok(found.unwrap_or(Epochs::FIRST))
    }

    /// What the store, a witness, saw of the log; `None` where it has seen nothing yet.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn seen(&self) -> Result<Option<Seen>> {
        self.record(&self.rings.audit, names::SEEN, "what the witness saw").await
    }

    /// A void.
    ///
    /// # Errors
    /// Where the store does not answer or the void does not open.
    pub async fn void(&self, id: EventId) -> Result<Option<Void>> {
        self.record(&self.rings.audit, &names::void(id), "a void").await
    }

    /// Whether a generation of an application's keys was killed.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn generation_killed(&self, application: ApplicationId, generation: u32) -> Result<bool> {
        Ok(self.kv.get(&names::generation_kill(application, generation)).await?.is_some())
    }

    /// How far the projections are.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn head(&self) -> Result<Head> {
        let found = self.record(&self.rings.audit, names::HEAD, "the projections").await?;
        Ok(found.unwrap_or_else(|| Head::start(Epochs::FIRST.current)))
    }

    /// How far re-sealing is.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn resealing(&self) -> Result<Resealing> {
        let found = self.record(&self.rings.audit, names::RESEALING, "the progress of re-sealing").await?;
        Ok(found.unwrap_or_default())
    }

    /// How far delivery to webhooks is.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn delivery(&self) -> Result<Option<Delivery>> {
        self.record(&self.rings.audit, names::DELIVERY, "the progress of delivery").await
    }

    /// What is still to be told to a webhook.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn delivery_queue(&self, webhook: WebhookId) -> Result<Queue> {
        let found = self.record(&self.rings.audit, &names::delivery_queue(webhook), "a queue").await?;
        Ok(found.unwrap_or_else(|| Queue::new(webhook)))
    }

    /// How far the walk along what is due is; `None` where there was none yet.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn due_walk(&self) -> Result<Option<DueWalk>> {
        self.record(&self.rings.audit, names::DUE_WALK, "the walk along what is due").await
    }

    /// Which rotations of credentials are under way.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn rotation_walk(&self) -> Result<RotationWalk> {
        let found = self.record(&self.rings.audit, names::ROTATING, "the rotations under way").await?;
        Ok(found.unwrap_or_default())
    }

    /// When the work that is due from time to time was done last.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn maintained_at(&self) -> Result<Option<Timestamp>> {
        let what = "the last maintenance";
        let found: Option<Maintained> = self.record(&self.rings.audit, names::MAINTAINED, what).await?;
        Ok(found.map(|run| run.at))
    }

    /// Which checkpoint was signed last; `None` where none was since that is noted.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn signed(&self) -> Result<Option<Signed>> {
        self.record(&self.rings.audit, names::SIGNED, "which checkpoint was signed last").await
    }

    /// How far the forgetting of counters of limits is; nothing where it never began.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn ended_walk(&self) -> Result<Option<EndedWalk>> {
        self.record(&self.rings.audit, names::ENDED_WALK, "the forgetting of counters").await
    }

    /// How far the folding of use is.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn folding(&self) -> Result<Folding> {
        let found = self.record(&self.rings.audit, names::FOLDING, "the folding of use").await?;
        Ok(found.unwrap_or_default())
    }

    /// What is known of a key's use.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn key_use(&self, key: KeyId) -> Result<Option<KeyUse>> {
        self.record(&self.rings.audit, &names::key_use(key), "a key's use").await
    }

    /// What lies in the place of a block of a key's use: that block, or one of another time that has the same place.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn use_block(
        &self,
        key: KeyId,
        resolution: Resolution,
        block: i64,
    ) -> Result<Option<UseBlock>> {
        self.record(&self.rings.audit, &resolution.store_key(key, block), "a key's use").await
    }

    /// What lies in the place of a day of requests: that day, or another that has the same place.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn requests(&self, application: Option<ApplicationId>, day: i64) -> Result<Option<Requests>> {
        let store_key = Requests::store_key_of(application, day);
        self.record(&self.rings.audit, &store_key, "the requests of a day").await
    }

    /// The latest refusals: of the keys of an application, or of all.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn refusals(&self, application: Option<ApplicationId>) -> Result<Refusals> {
        let found = self.record(&self.rings.audit, &names::refusals(application), "the refusals").await?;
        Ok(found.unwrap_or(Refusals::empty(application)))
    }

    /// The head of a projected list.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn list_head(&self, list: &str) -> Result<Option<ListHead>> {
        self.record(&self.rings.audit, &names::list(list), "a list").await
    }

    /// A page of a projected list.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn list_page(&self, list: &str, page: u64) -> Result<Option<ListPage>> {
        self.record(&self.rings.audit, &names::list_page(list, page), "a list").await
    }

    /// How many applications have a register.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn registers(&self) -> Result<Registers> {
        let found = self.record(&self.rings.audit, names::REGISTERS, "the registers").await?;
        Ok(found.unwrap_or_default())
    }

    /// The totals of some registers.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn register_totals(&self, number: u64) -> Result<Option<RegisterTotals>> {
        self.record(&self.rings.audit, &names::register_totals(number), "the registers").await
    }

    /// The head of an application's register.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn register(&self, application: ApplicationId) -> Result<Option<RegisterHead>> {
        self.record(&self.rings.audit, &names::register(application), "a register").await
    }

    /// A page of an application's register.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn register_page(&self, application: ApplicationId, page: u64) -> Result<Option<RegisterPage>> {
        self.record(&self.rings.audit, &names::register_page(application, page), "a register").await
    }

    /// The sums of some pages of an application's register.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn register_sums(
        &self,
        application: ApplicationId,
        number: u64,
    ) -> Result<Option<RegisterSums>> {
        self.record(&self.rings.audit, &names::register_sums(application, number), "a register").await
    }

    /// Where the row of a key lies.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn row_place(&self, key: KeyId) -> Result<Option<RowPlace>> {
        self.record(&self.rings.audit, &names::row_place(key), "a register").await
    }
}
