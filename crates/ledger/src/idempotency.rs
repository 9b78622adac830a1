//! Idempotent requests: the outcome lies in the commit that it belongs to, sealed under the ring *and* the Idempotency-Key.
//!
//! Requests with the same key take turns at the outcome's record; whoever finds an outcome gives it again.

use crate::batch::KvWrite;
use crate::commit::Writes;
use crate::ledger::Ledger;
use crate::turn::Turn;
use keyward_crypto::digest::{framed, hex, sha256};
use keyward_crypto::{Domain, SecretText};
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

/// The turn at the outcome of a request that has none yet.
pub struct Reservation {
    request: IdempotentRequest,
    turn: Turn,
}

/// Where an idempotent request stands.
pub enum Begun {
    /// It has an outcome: the result of the use case, to be given again.
    Replay(Box<str>),
    /// It has none; its commit must take this along.
    Fresh(Reservation),
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Finds the outcome of `request` or reserves the right to write it.
    ///
    /// # Errors
    /// [`Code::IdempotencyMismatch`] where the key came with another body; where the store does not answer.
    pub async fn begin(&self, request: &IdempotentRequest) -> Result<Begun> {
        if let Some(replay) = self.replay(request, self.outcome(request).await?)? {
            return Ok(replay);
        }
        self.reserve(request.clone(), 0).await
    }

    /// Reserves the right anew where another turn was waited for so long that the reservation grew old.
    ///
    /// # Errors
    /// As [`Ledger::begin`].
    pub async fn begin_again(&self, reservation: Reservation) -> Result<Begun> {
        if !self.is_old(&reservation.turn) {
            return Ok(Begun::Fresh(reservation));
        }
        let Reservation { request, turn } = reservation;
        self.reserve(request, turn.give_up()).await
    }

    async fn reserve(&self, request: IdempotentRequest, given_up: u64) -> Result<Begun> {
        let (turn, found) = self
            .turn(
                &request.store_key,
                0,
                given_up,
                async || self.outcome(&request).await,
                |(revision, _)| *revision,
                |(_, outcome)| outcome.as_ref().is_some_and(|outcome| outcome.until > self.clock.now()),
            )
            .await?;
        match self.replay(&request, found)? {
            // The ticket stays unused, as if its holder had gone silent: nobody needs it, since everybody finds the outcome.
            Some(replay) => Ok(replay),
            None => Ok(Begun::Fresh(Reservation { request, turn })),
        }
    }

    /// The outcome of `request` where it has one. Reserves nothing: for requests that have a single winner anyway.
    ///
    /// # Errors
    /// As [`Ledger::begin`].
    pub async fn peek(&self, request: &IdempotentRequest) -> Result<Option<Box<str>>> {
        let found = self.outcome(request).await?;
        Ok(match self.replay(request, found)? {
            Some(Begun::Replay(result)) => Some(result),
            _ => None,
        })
    }

    /// The stored outcome and its revision; `Some((revision, None))` where a request was refused or its outcome is too old.
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

    fn replay(
        &self,
        request: &IdempotentRequest,
        found: Option<(u64, Option<StoredOutcome>)>,
    ) -> Result<Option<Begun>> {
        match found {
            Some((_, Some(outcome))) if outcome.until > self.clock.now() => {
                if outcome.request == request.request {
                    Ok(Some(Begun::Replay(outcome.result.into_boxed_str())))
                } else {
                    Err(Error::new(
                        Code::IdempotencyMismatch,
                        "this Idempotency-Key came with another body before; take a new key for a new request",
                    ))
                }
            }
            _ => Ok(None),
        }
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
        let outcome = StoredOutcome { request: self.request.request.clone(), until, result };
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
