//! Idempotent requests: the outcome lies in the commit that it belongs to, sealed under the ring *and* the Idempotency-Key.
//!
//! Whoever finds an outcome gives it again. Whoever finds none stands in line at numbered places, each a counter: marks of those who
//! came count there and add up their times. The first is alone and executes; everybody else reads off since when the place is taken,
//! and is sent away until it was for longer than a request can take: then the next place is free. So nobody waits here, and the
//! process that died in the middle of a request holds it up for seconds.

use crate::batch::KvWrite;
use crate::commit::{Receipt, Writes};
use crate::ledger::Ledger;
use crate::turn::Turn;
use keyward_crypto::digest::{framed, hex, leaf_hash, sha256};
use keyward_crypto::{Domain, SecretText};
use keyward_domain::event::EventId;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result, Timestamp};
use keyward_records::{KvCount, KvRead, RecordError, StoredOutcome, names};
use std::rc::Rc;

/// A request that came with an Idempotency-Key.
#[derive(Clone)]
pub struct IdempotentRequest {
    store_key: String,
    secret: Rc<SecretText>,
    request: String,
    lifetime_s: i64,
}

impl IdempotentRequest {
    /// `caller` and `route` keep one caller's keys apart from another's; `body` is the request in a canonical form;
    /// the outcome may be had again for `lifetime_s` seconds.
    pub fn new(caller: &[u8], route: &str, key: SecretText, body: &[u8], lifetime_s: i64) -> Self {
        let digest = framed("keyward/outcome", &[caller, route.as_bytes(), key.expose().as_bytes()]);
        Self {
            store_key: names::outcome(&digest),
            secret: Rc::new(key),
            request: hex(&sha256(body)),
            lifetime_s,
        }
    }
}

/// How long a place is believed to be held by a living request, in seconds of the wall clock: well over what a commit may take, as
/// with turns. A clock that jumps forward by as much lets two requests with one key execute.
const HELD_S: i64 = 5;
/// The places that one call looks at. Each dead request leaves one behind.
const PLACES_MAX: u32 = 64;
/// Bits of a place's counter in which the times of its marks, in seconds since 1970, add up. Above them marks are counted.
const TIME_BITS: u32 = 46;
/// Marks of one place whose times add up within [`TIME_BITS`], as far as anybody looks at them.
const MARKS_MAX: i64 = 10_000;

/// The place of a request that has no outcome yet, as the turn at its record.
pub struct Reservation {
    request: IdempotentRequest,
    turn: Turn,
}

/// Where an idempotent request stands.
pub enum Begun {
    /// It has an outcome, to be given again.
    Replay(Replay),
    /// It has none; its commit must take this along.
    Fresh(Reservation),
}

/// What an idempotent request came to.
pub struct Replay {
    /// The result of the use case.
    pub result: Box<str>,
    /// The receipt of its commit; `None` where its event cannot be read now.
    pub receipt: Option<Receipt>,
}

/// What a mark at a place found there.
enum Place {
    /// Nobody: it is ours.
    Ours(Turn),
    /// Somebody, since this many seconds, as the mean of all who came: never longer than the first of them is there.
    Taken(i64),
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Finds the outcome of `request` or reserves the right to write it.
    ///
    /// # Errors
    /// [`Code::IdempotencyMismatch`] where the key came with another body; [`Code::IdempotencyInFlight`] where a request with it may
    /// still be executed; where the store does not answer.
    pub async fn begin(&self, request: &IdempotentRequest) -> Result<Begun> {
        self.line_up(request.clone(), 0).await
    }

    /// Reserves the right anew where a turn was waited for so long that the reservation grew old.
    ///
    /// # Errors
    /// As [`Ledger::begin`].
    pub async fn begin_again(&self, reservation: Reservation) -> Result<Begun> {
        if !self.is_old(&reservation.turn) {
            return Ok(Begun::Fresh(reservation));
        }
        let Reservation { request, turn } = reservation;
        self.line_up(request, turn.revision()).await
    }

    /// Looks for a place behind `behind` and behind the one that the outcome was last written from.
    async fn line_up(&self, request: IdempotentRequest, behind: u64) -> Result<Begun> {
        let mut place = behind;
        for _ in 0..PLACES_MAX {
            // Anew at each place: whoever held the one before may have written meanwhile.
            let found = self.outcome(&request).await?;
            place = place.max(found.as_ref().map_or(0, |(place, _)| *place)).saturating_add(1);
            if let Some(replay) = self.replay(&request, found).await? {
                return Ok(Begun::Replay(replay));
            }
            match self.mark(&request, place).await? {
                Place::Ours(turn) => return Ok(Begun::Fresh(Reservation { request, turn })),
                Place::Taken(since_s) if since_s > HELD_S => {}
                Place::Taken(_) => break,
            }
        }
        const DETAIL: &str = "a request with this Idempotency-Key has not ended yet; repeat it in a second to learn its outcome";
        Err(Error { retry_after_s: Some(1), ..Error::new(Code::IdempotencyInFlight, DETAIL) })
    }

    /// Leaves a mark at a place. Marks are never taken back: a call that the store repeats would take somebody else's.
    async fn mark(&self, request: &IdempotentRequest, place: u64) -> Result<Place> {
        let (granted_ms, now_s) = (self.clock.monotonic_ms(), self.clock.now().unix_s().max(0));
        let mark = (1 << TIME_BITS) | now_s;
        let marks = self.kv.increment(&names::counter::place(&request.store_key, place), mark).await?;
        let others = marks.saturating_sub(mark);
        if others == 0 {
            return Ok(Place::Ours(Turn { revision: place, granted_ms }));
        }
        let (count, times) = (others >> TIME_BITS, others & ((1 << TIME_BITS) - 1));
        let since_s = if count > MARKS_MAX { 0 } else { now_s.saturating_sub(times / count.max(1)) };
        Ok(Place::Taken(since_s))
    }

    /// The outcome of `request` where it has one. Reserves nothing: for requests that have a single winner anyway.
    ///
    /// # Errors
    /// As [`Ledger::begin`].
    pub async fn peek(&self, request: &IdempotentRequest) -> Result<Option<Replay>> {
        let found = self.outcome(request).await?;
        self.replay(request, found).await
    }

    /// The stored outcome and the place that it was written from; `Some((place, None))` where a request was refused.
    async fn outcome(&self, request: &IdempotentRequest) -> Result<Option<(u64, Option<StoredOutcome>)>> {
        let Some(sealed) = self.kv.get(&request.store_key).await? else { return Ok(None) };
        let plain = self
            .rings
            .records
            .open_bound(Domain::Outcome, &request.store_key, request.secret.expose().as_bytes(), &sealed)
            .map_err(|e| RecordError::from(e).into_error("an idempotent request"))?;
        let stored: (u64, Option<StoredOutcome>) =
            serde_json::from_slice(&plain).map_err(|_| Error::damaged("an idempotent request"))?;
        Ok(Some(stored))
    }

    async fn replay(
        &self,
        request: &IdempotentRequest,
        found: Option<(u64, Option<StoredOutcome>)>,
    ) -> Result<Option<Replay>> {
        let outcome = found.and_then(|(_, outcome)| outcome);
        let Some(outcome) = outcome.filter(|outcome| outcome.until > self.clock.now()) else {
            return Ok(None);
        };
        if outcome.request != request.request {
            return Err(Error::new(
                Code::IdempotencyMismatch,
                "this Idempotency-Key came with another body before; take a new key for a new request",
            ));
        }
        let receipt = match outcome.event {
            Some(event) => self.receipt(event).await,
            None => None,
        };
        Ok(Some(Replay { result: outcome.result.into_boxed_str(), receipt }))
    }

    /// The receipt of an event that was written; `None` where it cannot be read: what was done stays done.
    async fn receipt(&self, event: EventId) -> Option<Receipt> {
        let sealed = self.kv.get(&names::event(event)).await.ok()??;
        Some(Receipt { event, leaf: leaf_hash(&sealed) })
    }
}

impl Reservation {
    /// For whoever won the right to execute `request` elsewhere, so that nobody else writes its outcome.
    pub fn of_winner<C: Clock>(request: IdempotentRequest, clock: &C) -> Self {
        Self { request, turn: Turn { revision: 1, granted_ms: clock.monotonic_ms() } }
    }

    /// Puts the outcome into the commit that it belongs to.
    pub fn fulfil<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
        self,
        result: String,
        now: Timestamp,
        writes: &mut Writes<'_, K, C, R>,
    ) {
        let until = now.plus_s(self.request.lifetime_s);
        let event = Some(writes.first_event());
        let outcome = StoredOutcome { request: self.request.request.clone(), until, result, event };
        self.write(Some(outcome), writes);
    }

    /// Gives the turn back together with the event of a refusal, so that a corrected request need not wait.
    pub fn release<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(self, writes: &mut Writes<'_, K, C, R>) {
        self.write(None, writes);
    }

    fn write<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
        self,
        outcome: Option<StoredOutcome>,
        writes: &mut Writes<'_, K, C, R>,
    ) {
        let Self { request, turn } = self;
        let plain = keyward_crypto::Zeroizing::new(
            serde_json::to_vec(&(turn.revision(), outcome)).unwrap_or_default(),
        );
        let ledger = writes.ledger();
        let sealed = ledger.rings.records.seal_bound(
            Domain::Outcome,
            &request.store_key,
            request.secret.expose().as_bytes(),
            &plain,
            ledger.rng.bytes(),
        );
        match sealed {
            Ok(sealed) => writes.outcome(request.store_key, sealed, turn),
            Err(_) => writes.fail(Error::internal("an outcome is too large to be sealed")),
        }
    }
}
