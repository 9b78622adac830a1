//! Turns at a record that exists: tickets out of its counter, waiting for the one before, stepping over one that went silent.
//!
//! The stored revision is `birth + ticket`. A writer waits until it finds the revision before its own, decides again on what is
//! stored, and writes its revision even where it refuses. Whoever is silent for 5 s is stepped over; a writer that was paused for
//! longer can lose an edit, never a revocation, since what revokes takes no turn. Whoever needs several turns and waited long for
//! the later ones takes the earlier ones again: a turn is good for as long as no successor can have lost patience.

use crate::batch::KvWrite;
use crate::ledger::Ledger;
use keyward_domain::application::{Application, Details, NameOwner};
use keyward_domain::issuing::Issuing;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ApplicationId, Code, Error, Result};
use keyward_records::{KvCount, KvRead, NameRecord, Revised, names};

/// How long a writer waits for each of up to [`SILENT_COUNT`] predecessors that have not written, in milliseconds of the
/// monotonic clock.
const SILENT_MS: u64 = 5_000;
/// Predecessors that are waited for in full. So many silent in a row are dead, not slow.
const SILENT_COUNT: u64 = 3;
/// What each further one adds, in milliseconds: two successors never step over the same predecessors together.
const FURTHER_MS: u64 = 250;
/// The longest that a writer waits in all while others get on, in milliseconds.
const WAIT_MS_MAX: u64 = 15_000;
/// When a turn that waited for another one is taken again, in milliseconds: enough of what a commit may take is left.
const AGAIN_MS: u64 = 1_000;
/// Pauses between looks grow up to this, in milliseconds.
const PAUSE_MS_MAX: u64 = 50;
/// How often a writer that was stepped over queues again.
const ATTEMPTS: u32 = 3;

/// The right to write one revision of one record, until a successor steps over it.
pub struct Turn {
    /// The revision to write.
    pub(crate) revision: u64,
    /// When it was granted, by the monotonic clock.
    pub(crate) granted_ms: u64,
}

impl Turn {
    /// The revision that this turn writes.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The turn as one that a later turn of the same writer need not wait for.
    pub(crate) const fn give_up(self) -> u64 {
        self.revision
    }
}

/// Records that change for as long as they exist.
const fn never<T>(_: &T) -> bool {
    false
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// A turn at the record with this id, and the record as it stands.
    ///
    /// # Errors
    /// Where the store does not answer, the record does not open, or there is none.
    pub async fn turn_at<T: Revised>(&self, id: T::Id) -> Result<(Turn, T)> {
        self.turn_at_after(id, 0).await
    }

    /// Another turn in the place of one that grew old, and the record as it stands now.
    ///
    /// # Errors
    /// As [`Ledger::turn_at`].
    pub async fn turn_at_again<T: Revised>(&self, id: T::Id, old: Turn) -> Result<(Turn, T)> {
        self.turn_at_after(id, old.give_up()).await
    }

    /// Whether so much time went by that the turn is to be taken again before anything is decided on it.
    pub fn is_old(&self, turn: &Turn) -> bool {
        self.clock.monotonic_ms().saturating_sub(turn.granted_ms) > AGAIN_MS
    }

    async fn turn_at_after<T: Revised>(&self, id: T::Id, given_up: u64) -> Result<(Turn, T)> {
        let (turn, found) = self.turn_to_be_born_after(id, given_up).await?;
        found.map(|record| (turn, record)).ok_or_else(|| Error::not_found(T::KIND))
    }

    /// A turn at a record whose id is not random, so that others may be making it as well, and what one of them made of it. Its revisions
    /// start at 2: what is not there stands at 1.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn turn_to_be_born<T: Revised>(
        &self,
        id: T::Id,
        old: Option<Turn>,
    ) -> Result<(Turn, Option<T>)> {
        self.turn_to_be_born_after(id, old.map_or(0, Turn::give_up)).await
    }

    async fn turn_to_be_born_after<T: Revised>(&self, id: T::Id, given_up: u64) -> Result<(Turn, Option<T>)> {
        let reader = self.read();
        let read = async || reader.revised(id).await;
        self.turn(&T::store_key_of(id), 1, given_up, read, T::revision, never).await
    }

    /// A turn at an application's two records, and the records as they stand.
    ///
    /// # Errors
    /// Where the store does not answer, a record does not open, or there is none.
    pub async fn application_turn(&self, id: ApplicationId) -> Result<(Turn, Application, Details)> {
        self.application_turn_after(id, 0).await
    }

    /// Another turn in the place of one that grew old, and the records as they stand now.
    ///
    /// # Errors
    /// As [`Ledger::application_turn`].
    pub async fn application_turn_again(
        &self,
        id: ApplicationId,
        old: Turn,
    ) -> Result<(Turn, Application, Details)> {
        self.application_turn_after(id, old.give_up()).await
    }

    async fn application_turn_after(
        &self,
        id: ApplicationId,
        given_up: u64,
    ) -> Result<(Turn, Application, Details)> {
        let reader = self.read();
        let read = async || {
            let (application, details) = futures::join!(reader.application(id), reader.details(id));
            Ok(application?.zip(details?))
        };
        let (turn, found) = self
            .turn(
                &names::application(id),
                1,
                given_up,
                read,
                |(application, _): &(Application, Details)| application.revision,
                never,
            )
            .await?;
        let (application, details) = found.ok_or_else(|| Error::not_found("application"))?;
        Ok((turn, application, details))
    }

    /// A turn at the record `store_key` that says who holds a name, and the record as it stands. An unknown name stands at
    /// revision 0.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn name_turn(&self, store_key: String) -> Result<(Turn, NameRecord)> {
        self.name_turn_after(store_key, 0).await
    }

    /// Another turn in the place of one that grew old, and the record as it stands now.
    ///
    /// # Errors
    /// As [`Ledger::name_turn`].
    pub async fn name_turn_again(&self, store_key: String, old: Turn) -> Result<(Turn, NameRecord)> {
        self.name_turn_after(store_key, old.give_up()).await
    }

    async fn name_turn_after(&self, store_key: String, given_up: u64) -> Result<(Turn, NameRecord)> {
        let reader = self.read();
        let (turn, found) = self
            .turn(
                &store_key,
                0,
                given_up,
                async || reader.name(&store_key).await,
                |record: &NameRecord| record.owner.revision,
                never,
            )
            .await?;
        let record = found.unwrap_or_else(|| NameRecord { at: store_key, owner: NameOwner::default() });
        Ok((turn, record))
    }

    /// A turn at the switch of issuing, and the record as it stands; `None` where nobody ever touched it.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn issuing_turn(&self) -> Result<(Turn, Option<Issuing>)> {
        self.issuing_turn_after(0).await
    }

    /// Another turn in the place of one that grew old, and the record as it stands now.
    ///
    /// # Errors
    /// As [`Ledger::issuing_turn`].
    pub async fn issuing_turn_again(&self, old: Turn) -> Result<(Turn, Option<Issuing>)> {
        self.issuing_turn_after(old.give_up()).await
    }

    async fn issuing_turn_after(&self, given_up: u64) -> Result<(Turn, Option<Issuing>)> {
        let reader = self.read();
        let read = async || reader.issuing().await;
        self.turn(names::ISSUING, 0, given_up, read, |issuing: &Issuing| issuing.revision, never).await
    }

    /// Takes a ticket for the record at `store_key` and waits for its turn. `birth` is the revision at which such records start;
    /// `given_up` is the turn that this writer had before, 0 for none: where nobody came between, everybody was waited for already.
    /// A record that is `settled` changes no more, so nobody waits for it.
    pub(crate) async fn turn<T>(
        &self,
        store_key: &str,
        birth: u64,
        given_up: u64,
        read: impl AsyncFn() -> Result<Option<T>>,
        revision_of: impl Fn(&T) -> u64,
        settled: impl Fn(&T) -> bool,
    ) -> Result<(Turn, Option<T>)> {
        for _ in 0..ATTEMPTS {
            let revision = birth + self.revision_ticket(store_key).await?;
            let found = self.wait_for(revision, birth, given_up, &read, &revision_of, &settled).await?;
            if let Some((granted_ms, found)) = found {
                return Ok((Turn { revision, granted_ms }, found));
            }
        }
        Err(crowded())
    }

    async fn revision_ticket(&self, store_key: &str) -> Result<u64> {
        let counter = names::counter::revision(store_key);
        let ticket = match self.kv.increment(&counter, 1).await {
            Ok(ticket) => ticket,
            Err(_) => self.kv.increment(&counter, 1).await?,
        };
        u64::try_from(ticket).map_err(|_| Error::damaged("a revision counter"))
    }

    /// What is stored once `revision` is due, and when it was looked at; `None` where a later one was written already.
    async fn wait_for<T>(
        &self,
        revision: u64,
        birth: u64,
        given_up: u64,
        read: &impl AsyncFn() -> Result<Option<T>>,
        revision_of: &impl Fn(&T) -> u64,
        settled: &impl Fn(&T) -> bool,
    ) -> Result<Option<(u64, Option<T>)>> {
        let started_ms = self.clock.monotonic_ms();
        let (mut progress_ms, mut seen, mut pause_ms) = (started_ms, None, 1);
        let mut moves = 0_u32;
        loop {
            // Counted from before the read: what was read may be as old as that.
            let now_ms = self.clock.monotonic_ms();
            let found = read().await?;
            if found.as_ref().is_some_and(settled) {
                return Ok(Some((now_ms, found)));
            }
            let stored = found.as_ref().map_or(birth, revision_of);
            if stored >= revision {
                return Ok(None);
            }
            if seen != Some(stored) {
                moves += u32::from(seen.is_some());
                (progress_ms, seen) = (now_ms, Some(stored));
            }
            let missing = revision.saturating_sub(1).saturating_sub(stored);
            if revision.saturating_sub(1) <= stored.max(given_up)
                || now_ms.saturating_sub(progress_ms) >= patience_ms(missing)
            {
                return Ok(Some((now_ms, found)));
            }
            // Those before are alive, only many: stepping over them would lose one of their edits or this one.
            if moves > 0 && now_ms.saturating_sub(started_ms) >= WAIT_MS_MAX {
                return Err(crowded());
            }
            self.clock.sleep_ms(pause_ms).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
        }
    }
}

/// How long `missing` predecessors may be silent before they are stepped over: one wait for each, since otherwise two successors
/// would step over one writer together, the later of them over the earlier as well.
fn patience_ms(missing: u64) -> u64 {
    let further = missing.saturating_sub(SILENT_COUNT);
    SILENT_MS * missing.min(SILENT_COUNT) + FURTHER_MS.saturating_mul(further)
}

fn crowded() -> Error {
    Error::new(
        Code::StoreUnavailable,
        "too many writers at the same record; nothing was changed; repeat later",
    )
}
