//! Self-service: what the holder of a token sees of its key, and how it has the next version minted with its renewal token, without
//! an admin. A renewal token that comes twice is in somebody else's hands as well: an alarm, and the end of it.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::holder::{Bearer, holders_request};
use crate::mint::{ClaimedKey, renewal_id};
use crate::service::Service;
use crate::view::SelfView;
use keyward_crypto::{SecretText, digest};
use keyward_domain::due::outlook;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::key::Key;
use keyward_domain::policy::{OnRenewalReuse, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::{RENEWAL_REPLAY_S, Renewal, renewal_withdrawn};
use keyward_domain::rotation::{Mode, Phase};
use keyward_domain::{Code, Error, Result, token};
use keyward_ledger::{Begun, KvWrite, Turn};
use keyward_records::{KvCount, KvRead, names};
use keyward_verify::Verified;
use serde::Deserialize;
use std::ops::ControlFlow;
use utoipa::ToSchema;

const RENEWAL_TOKEN: Bearer = Bearer {
    prefix: token::PREFIX_RENEWAL,
    field: "renewal_token",
    what: "a renewal token",
    whole: "a whole renewal token",
};

/// What a key is renewed with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewKey {
    /// The renewal token that came with the newest version.
    #[schema(value_type = String, pattern = "^kwr_(live|test)_[0-9A-Za-z]{73}$")]
    pub renewal_token: SecretText,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// What the holder of a token sees of its key.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn self_view(&self, verified: &Verified) -> Result<SelfView> {
        let key = verified.key();
        let terms = self.terms_of(key).await?;
        Ok(SelfView::of(key, verified.version(), &terms, self.clock.now()))
    }

    /// Mints the next version for whoever holds the renewal token, and the next renewal token.
    ///
    /// # Errors
    /// A text that is no renewal token, or none of a key; one that was used or holds no longer; a key that is dead, or still in the
    /// overlap of its last rotation; frozen issuing; where the store does not answer.
    pub async fn renew_key(&self, attempt: &Attempt, asked: &RenewKey) -> Result<Answer<ClaimedKey>> {
        let renewal = self.find_renewal(&asked.renewal_token).await?;
        attempt.aim(Some(renewal.application), Some(renewal.key));
        let request = holders_request(attempt, renewal.id.as_bytes(), "self.renew", RENEWAL_REPLAY_S);
        let key = self.read().key(renewal.key).await?.ok_or_else(|| Error::damaged("a renewal token"))?;
        let checked = self.check_renewal(attempt, &renewal, &key).await;
        match self.begin_as_holder(request.as_ref(), checked.is_ok()).await? {
            Some(Begun::Replay(replay)) => return Ok(Answer::Replayed(attempt.replay(replay))),
            Some(Begun::Fresh(reservation)) => attempt.put_reservation(reservation),
            None => {}
        }
        let (refusal, held) = match checked {
            Err(refusal) => (refusal, None),
            Ok(_) => {
                let (turn, key) = match self.key_turn_once(attempt, renewal.key).await? {
                    ControlFlow::Continue(taken) => taken,
                    ControlFlow::Break(text) => return Ok(Answer::Replayed(text)),
                };
                match self.check_renewal(attempt, &renewal, &key).await {
                    Ok(terms) => {
                        return self.renew(attempt, &renewal, key, turn, &terms).await.map(Answer::Fresh);
                    }
                    Err(refusal) => (refusal, Some((turn, key))),
                }
            }
        };
        if refusal.code == Code::RenewalUsed {
            self.used_twice(attempt, &renewal, held).await?;
        } else if let Some((turn, key)) = held {
            attempt.unused(key, turn);
        }
        Err(refusal)
    }

    pub(crate) async fn find_renewal(&self, text: &SecretText) -> Result<Renewal> {
        let token_digest = RENEWAL_TOKEN.digest(text)?;
        let renewal = self.read().renewal(renewal_id(&token_digest)).await?;
        renewal
            .filter(|renewal| renewal.token_digest == digest::hex(&token_digest))
            .ok_or_else(|| Error::not_found("renewal token"))
    }

    /// The terms that a renewal is made under.
    async fn check_renewal(&self, attempt: &Attempt, renewal: &Renewal, key: &Key) -> Result<Terms> {
        let gone =
            |why: &str| Error::new(Code::RenewalGone, format!("the renewal token no longer holds: {why}"));
        self.require_alive(key).await?;
        if key.rotation.renewal != Some(renewal.id) {
            return Err(match self.kv.get(&names::renewal_used(renewal.id)).await? {
                Some(_) => Error::new(
                    Code::RenewalUsed,
                    "the renewal token was used before; if that was not you, have the key rotated in mode `incident`",
                ),
                None => gone("the key was rotated, or its renewal stopped; ask for a claim"),
            });
        }
        // Whoever killed it may not have had its turn at the record yet.
        if self.kv.get(&names::version_kill(key.id, renewal.version)).await?.is_some() {
            return Err(gone("the version that it came with was ended; ask for a claim"));
        }
        let now = self.clock.now();
        if key.expired(now) {
            return Err(Error::new(Code::StateConflict, "the key has expired; ask for a new one"));
        }
        let terms = self.terms_of(key).await?;
        if !terms.self_renewal {
            return Err(gone("the key's policy does not allow it any more; ask for a claim"));
        }
        if let (Phase::Overlapping, Some(end)) = (key.phase(now), key.rotation.overlap_ends_at) {
            let wait_s = end.unix_s().saturating_sub(now.unix_s()).saturating_add(1);
            let mut error = Error::new(
                Code::StateConflict,
                format!("the version before the newest is in its grace until {end}; renew after that"),
            );
            error.retry_after_s = u32::try_from(wait_s).ok();
            return Err(error);
        }
        if key.next_version().is_none() {
            return Err(Error::new(
                Code::StateConflict,
                "the key has had as many versions as a token can name; ask for a new key",
            ));
        }
        self.require_issuing(attempt).await?;
        Ok(terms)
    }

    /// Mints, in the key's turn: nobody else can use the token meanwhile.
    async fn renew(
        &self,
        attempt: &Attempt,
        renewal: &Renewal,
        mut key: Key,
        turn: Turn,
        terms: &Terms,
    ) -> Result<ClaimedKey> {
        let now = self.clock.now();
        // A successor that is offered is the one that is taken.
        let offered = match &key.rotation.offer {
            Some(offer) => Some(offer.version),
            None => key.offer_successor(Mode::Scheduled, terms.grace_s, now),
        };
        let version = offered.ok_or_else(|| Error::internal("a key's versions are used up"))?;
        let minted = self.mint_version(key.id, &key.prefix, key.environment, version, now)?;
        let mut draft = attempt.draft(Outcome::Done, None, Some(key.event));
        draft.detail = vec![format!("version {version}")];
        key.succeed(minted.version);
        draft.detail.extend(outlook(&key, terms, now));
        let next = self.mint_renewal(&mut key);
        key.revision = turn.revision();
        let reservation = attempt.take_reservation();
        self.commit(attempt, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            writes.renewal_used(renewal.id, key.event);
            writes.renewal(&next.record);
            let claimed = ClaimedKey::of(&key, version, minted.token, Some(next));
            keep_outcome(reservation, &claimed, now, writes);
            Ok(claimed)
        })
        .await
    }

    /// A token that was used comes again: the first to come so raises the alarm, and no renewal token of the key holds any more. What
    /// becomes of its versions is for its policy to say.
    async fn used_twice(
        &self,
        attempt: &Attempt,
        renewal: &Renewal,
        held: Option<(Turn, Key)>,
    ) -> Result<()> {
        let first = self.kv.increment(&names::counter::renewal_refused(renewal.id), 1).await? == 1;
        let (turn, mut key) = match held {
            Some(held) if first => held,
            Some((turn, key)) => {
                attempt.unused(key, turn);
                return Ok(());
            }
            // Not beside a turn that is held: it would wait for itself.
            None if first => self.ledger.turn_at::<Key>(renewal.key).await?,
            None => return Ok(()),
        };
        let terms = self.terms_of(&key).await?;
        attempt.act(Action::RenewalReplayed);
        let mut draft = attempt.draft(Outcome::Alarm, None, Some(key.event));
        draft.detail = vec![format!("version {}", renewal.version)];
        let mut dying = Vec::new();
        if terms.on_renewal_reuse == OnRenewalReuse::Incident {
            dying = self.mortal_versions(&key).await?;
            key.offer_successor(Mode::Incident, 0, self.clock.now());
        }
        let newest = key.newest().filter(|_| key.rotation.renewal.is_some());
        draft.detail.extend(newest.map(|newest| renewal_withdrawn(newest.number)));
        draft.detail.extend(outlook(&key, &terms, self.clock.now()));
        key.rotation.renewal = None;
        key.revision = turn.revision();
        self.commit(attempt, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            for version in dying {
                writes.version_kill(key.id, version, key.event);
            }
            Ok(())
        })
        .await
    }
}
