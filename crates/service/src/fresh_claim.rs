//! A claim, made for a version of a key: what is stored of it, the ticket for whoever takes it, and the commit that hands it out.

use crate::answer::Body;
use crate::attempt::{Attempt, keep_outcome};
use crate::service::Service;
use crate::view::{Beside, KeyView};
use keyward_crypto::{SecretText, digest};
use keyward_domain::claim::{CLAIM_LIFETIME_S, Claim};
use keyward_domain::due::outlook;
use keyward_domain::event::EventId;
use keyward_domain::key::{Key, OpenClaim};
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ClaimId, KeyId, Result, Timestamp, token};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{KvCount, KvRead};
use serde::Serialize;
use std::ops::ControlFlow;
use utoipa::ToSchema;

/// A fresh claim: the record, and the ticket for whoever takes it.
pub(crate) struct FreshClaim {
    pub(crate) record: Claim,
    ticket: SecretText,
}

/// A claim as it is handed to whoever asked for it.
pub(crate) struct HandedClaim {
    id: ClaimId,
    ticket: SecretText,
    url: SecretText,
    expires_at: Timestamp,
}

/// A key with the claim for its version.
pub struct IssuedKey {
    key: KeyView,
    claim: HandedClaim,
    event: EventId,
}

/// An [`IssuedKey`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedKey)]
pub struct IssuedKeyBody<'a> {
    key: &'a KeyView,
    claim: TicketBody<'a>,
    event: EventId,
}

/// The claim that whoever the key is for takes, once.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaimTicket)]
pub(crate) struct TicketBody<'a> {
    id: ClaimId,
    /// What the claim is taken with: a secret until then.
    #[schema(pattern = "^kwc_(live|test)_[0-9A-Za-z]{73}$")]
    ticket: &'a str,
    /// The page that claims on a click; the ticket is in the fragment, which browsers send to nobody.
    #[schema(format = "uri")]
    url: &'a str,
    expires_at: Timestamp,
}

impl HandedClaim {
    /// What it is on the wire.
    pub(crate) fn body(&self) -> TicketBody<'_> {
        let (ticket, url) = (self.ticket.expose(), self.url.expose());
        TicketBody { id: self.id, ticket, url, expires_at: self.expires_at }
    }
}

impl Body for IssuedKey {
    fn to_json(&self) -> SecretText {
        IssuedKeyBody { key: &self.key, claim: self.claim.body(), event: self.event }.to_json()
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Makes a claim for a version of `key`, which carries it from then on in the place of any other.
    pub(crate) fn fresh_claim(&self, key: &mut Key, version: u16, now: Timestamp) -> FreshClaim {
        let ticket = SecretText::new(token::render(
            token::PREFIX_CLAIM,
            key.environment,
            &self.rng.bytes(),
            version,
            &self.rng.bytes(),
        ));
        let ticket_digest = digest::sha256(ticket.expose().as_bytes());
        let id = claim_id(&ticket_digest);
        let expires_at = now.plus_s(CLAIM_LIFETIME_S);
        key.claim = Some(OpenClaim { id, version, expires_at });
        let record = Claim {
            id,
            ticket_digest: digest::hex(&ticket_digest),
            key: key.id,
            application: key.application,
            version,
            expires_at,
        };
        FreshClaim { record, ticket }
    }

    /// The turn at a key for an idempotent attempt that has begun, and the key; or its result, where somebody else was faster while
    /// it waited.
    pub(crate) async fn key_turn_once(
        &self,
        attempt: &Attempt,
        id: KeyId,
    ) -> Result<ControlFlow<SecretText, (Turn, Key)>> {
        let (turn, key) = self.ledger.turn_at::<Key>(id).await?;
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(ControlFlow::Break(text));
        }
        if self.ledger.is_old(&turn) {
            return Ok(ControlFlow::Continue(self.ledger.turn_at_again(id, turn).await?));
        }
        Ok(ControlFlow::Continue((turn, key)))
    }

    /// Hands a fresh claim out, with the key that carries it; these versions die in the same commit.
    pub(crate) async fn commit_claim(
        &self,
        attempt: &Attempt,
        mut draft: Draft,
        mut key: Key,
        turn: Turn,
        claim: FreshClaim,
        dying: &[u16],
    ) -> Result<IssuedKey> {
        let terms = self.terms_of(&key).await?;
        draft.detail.extend(outlook(&key, &terms, self.clock.now()));
        let mut beside = self.beside(&key).await?;
        beside.versions_killed.extend_from_slice(dying);
        let reservation = attempt.take_reservation();
        key.revision = turn.revision();
        self.commit(attempt, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            writes.claim(&claim.record);
            for version in dying {
                writes.version_kill(key.id, *version, key.event);
            }
            let issued = self.issued(&key, &beside, &terms, claim);
            keep_outcome(reservation, &issued, self.clock.now(), writes);
            Ok(issued)
        })
        .await
    }

    /// What is answered to whoever asked for the claim.
    pub(crate) fn issued(&self, key: &Key, beside: &Beside, terms: &Terms, claim: FreshClaim) -> IssuedKey {
        IssuedKey { key: self.view_of(key, beside, terms), claim: self.handed(claim), event: key.event }
    }

    /// A fresh claim with the page that takes it.
    pub(crate) fn handed(&self, FreshClaim { record, ticket }: FreshClaim) -> HandedClaim {
        // In the fragment, which browsers send to nobody.
        let url = SecretText::new(format!("{}/claim#{}", self.public_url, ticket.expose()));
        HandedClaim { id: record.id, ticket, url, expires_at: record.expires_at }
    }
}

/// A claim's id: the first 16 bytes of its ticket's digest, so that whoever holds the ticket can find the claim. The ticket
/// carries 256 random bits, so its digest gives nothing away.
pub(crate) fn claim_id(ticket_digest: &[u8; 32]) -> ClaimId {
    ClaimId::from_bytes(*ticket_digest.first_chunk::<16>().unwrap_or(&[0; 16]))
}
