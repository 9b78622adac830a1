//! Claims: look, and take. Taking mints the secret; it exists nowhere before and is stored nowhere after.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::fresh_claim::claim_id;
use crate::holder::{Bearer, holders_request};
use crate::mint::ClaimedKey;
use crate::service::Service;
use crate::view::{ClaimView, NamedApplication, NamedKey};
use keyward_crypto::{SecretText, digest};
use keyward_domain::claim::{CLAIM_REPLAY_S, Claim, State};
use keyward_domain::due::outlook;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ClaimId, Code, Error, Result, Timestamp, token};
use keyward_ledger::{Begun, IdempotentRequest, KvWrite, Reservation};
use keyward_records::{KvCount, KvRead, names};
use serde::Deserialize;
use utoipa::ToSchema;

const TICKET: Bearer = Bearer {
    prefix: token::PREFIX_CLAIM,
    field: "ticket",
    what: "a claim's ticket",
    whole: "a whole ticket",
};

/// The ticket that a claim is taken with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeClaim {
    /// The ticket.
    #[schema(value_type = String, pattern = "^kwc_(live|test)_[0-9A-Za-z]{73}$")]
    pub ticket: SecretText,
}

/// A token that somebody has in hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PresentedToken)]
pub struct Presented {
    /// The token.
    #[schema(value_type = String, pattern = "^[a-z0-9]{2,12}_(live|test)_[0-9A-Za-z]{73}$")]
    pub token: SecretText,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// For whom a claim is, until when, taken or not: for whoever holds its id.
    ///
    /// # Errors
    /// No such claim; where the store does not answer.
    pub async fn claim(&self, id: ClaimId) -> Result<ClaimView> {
        let reader = self.read();
        let claim = reader.claim(id).await?.ok_or_else(|| Error::not_found("claim"))?;
        let (key, details) = futures::join!(reader.key(claim.key), reader.details(claim.application));
        let (key, details) = key?.zip(details?).ok_or_else(|| Error::damaged("a claim"))?;
        let alive = self.is_alive(&key).await?;
        let state = match state(&claim, &key, alive, self.clock.now()) {
            // Somebody has the right to mint already: at this very moment, or it burnt with a crash.
            State::Open if self.kv.increment(&names::counter::claim(claim.id), 0).await? > 0 => State::Taken,
            state => state,
        };
        Ok(ClaimView {
            id,
            state,
            application: NamedApplication { id: details.id, name: details.name },
            key: NamedKey { id: key.id, name: key.name, environment: key.environment },
            expires_at: claim.expires_at,
        })
    }

    /// Takes a claim: the first to come mints the secret, every other is refused, and the second is an alarm.
    ///
    /// # Errors
    /// A text that is no ticket, no such claim, one that is taken or gone, frozen issuing; where the store does not answer.
    pub async fn take_claim(&self, attempt: &Attempt, take: &TakeClaim) -> Result<Answer<ClaimedKey>> {
        let claim = self.find_claim(&take.ticket).await?;
        attempt.aim(Some(claim.application), Some(claim.key));
        let request = holders_request(attempt, claim.id.as_bytes(), "claims.take", CLAIM_REPLAY_S);
        let key = self.read().key(claim.key).await?.ok_or_else(|| Error::damaged("a claim"))?;
        let alive = self.is_alive(&key).await?;
        let state = state(&claim, &key, alive, self.clock.now());
        if state == State::Open {
            // Before a place is taken: refused now, the claim can still be taken after the thaw.
            self.require_issuing(attempt).await?;
        }
        // A twin is told so before it asks for the claim, which it would not get. Who writes the outcome is the claim's to decide.
        if let Some(Begun::Replay(replay)) =
            self.begin_as_holder(request.as_ref(), state == State::Open).await?
        {
            return Ok(Answer::Replayed(attempt.replay(replay)));
        }
        match state {
            State::Open => {}
            State::Taken => return self.taken(attempt, &claim, &key).await,
            State::Expired => return Err(gone("its 15 minutes are over")),
            State::Void => {
                return Err(gone("it was withdrawn, another took its place, or the key is no more"));
            }
        }
        // The first ticket wins. A lost reply burns the claim, which an admin reissues: better than a secret minted twice.
        match self.kv.increment(&names::counter::claim(claim.id), 1).await {
            Ok(1) => self.mint(attempt, &claim, request).await.map(Answer::Fresh),
            Ok(_) => self.taken(attempt, &claim, &key).await,
            Err(_) => Err(Error::new(
                Code::OutcomeUnknown,
                "the store did not say whether the claim was taken; repeat it, and where it is taken ask for a new claim",
            )),
        }
    }

    pub(crate) async fn find_claim(&self, ticket: &SecretText) -> Result<Claim> {
        let ticket_digest = TICKET.digest(ticket)?;
        let claim = self.read().claim(claim_id(&ticket_digest)).await?;
        claim
            .filter(|claim| claim.ticket_digest == digest::hex(&ticket_digest))
            .ok_or_else(|| Error::not_found("claim"))
    }

    /// The winner's part. Whatever goes wrong from here on burns the claim.
    async fn mint(
        &self,
        attempt: &Attempt,
        claim: &Claim,
        request: Option<IdempotentRequest>,
    ) -> Result<ClaimedKey> {
        let (turn, mut key) = self.ledger.turn_at::<Key>(claim.key).await?;
        let alive = self.is_alive(&key).await?;
        let now = self.clock.now();
        if state(claim, &key, alive, now) != State::Open {
            attempt.unused(key, turn);
            return Err(gone("it changed at the same moment; ask for a new claim"));
        }
        let minted = self.mint_version(key.id, &key.prefix, key.environment, claim.version, now)?;
        let terms = self.terms_of(&key).await?;
        let mut draft = attempt.draft(Outcome::Done, None, Some(key.event));
        key.succeed(minted.version);
        draft.detail.extend(outlook(&key, &terms, now));
        key.rotation.renewal = None;
        let renewal = terms.self_renewal.then(|| self.mint_renewal(&mut key));
        key.revision = turn.revision();
        self.commit(attempt, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            if let Some(renewal) = &renewal {
                writes.renewal(&renewal.record);
            }
            let claimed = ClaimedKey::of(&key, claim.version, minted.token, renewal);
            let reservation = request.map(|request| Reservation::of_winner(request, self.clock));
            keep_outcome(reservation, &claimed, now, writes);
            Ok(claimed)
        })
        .await
    }

    /// Everybody else's part: a refusal; the first to be refused raises the alarm.
    async fn taken<T>(&self, attempt: &Attempt, claim: &Claim, key: &Key) -> Result<T> {
        // Counted apart from the places: whoever comes when the claim is taken asks for none.
        if self.kv.increment(&names::counter::claim_refused(claim.id), 1).await? == 1 {
            attempt.act(Action::ClaimReplayed);
            let draft = attempt.draft(Outcome::Alarm, None, Some(key.event));
            self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        }
        Err(Error::new(
            Code::ClaimTaken,
            "the claim was taken before; if that was not you, have the key revoked; if its answer was lost, ask for a new claim",
        ))
    }
}

/// Where a claim stands, by its key's record.
fn state(claim: &Claim, key: &Key, alive: bool, now: Timestamp) -> State {
    match &key.claim {
        Some(open) if open.id == claim.id => {
            if !alive || key.expired(now) {
                State::Void
            } else if now >= claim.expires_at {
                State::Expired
            } else {
                State::Open
            }
        }
        None if key.version(claim.version).is_some() => State::Taken,
        _ => State::Void,
    }
}

fn gone(why: &str) -> Error {
    Error::new(Code::ClaimGone, format!("the claim can no longer be taken: {why}; ask for a new one"))
}
