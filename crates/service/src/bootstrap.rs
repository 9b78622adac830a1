//! What is done next to the store, without a caller: the first commit, which makes the built-in application `keyward` and its root
//! key, and the recovery of a root key that was lost.

use crate::attempt::Attempt;
use crate::authority::EVERYTHING;
use crate::caller::Caller;
use crate::mint::Minted;
use crate::service::Service;
use keyward_crypto::SecretText;
use keyward_domain::application::{Application, Details, Importance, KEYWARD_NAME, Status};
use keyward_domain::due::outlook;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::standing::stands_revoked;
use keyward_domain::text::{check_name, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, RequestId, Result, token};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead, Tombstone};
use std::ops::ControlFlow;

/// Tickets that first commits may have taken which died before they wrote; a store with more has a log.
const DEAD_ATTEMPTS_MAX: u64 = 16;

/// A root key that took the place of a lost one.
pub struct RecoveredRoot {
    /// Its id.
    pub key: KeyId,
    /// Its token.
    pub token: SecretText,
    /// The event that made it.
    pub event: EventId,
    /// The root keys that were revoked with it.
    pub revoked: Vec<KeyId>,
}

/// Makes the built-in application and its root key, which holds every scope, and gives the root token.
///
/// # Errors
/// [`Code::StateConflict`] where the store has them already; a bad `principal`; where the store does not answer.
pub async fn initialise<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    principal: &str,
) -> Result<SecretText> {
    check_name("principal", principal)?;
    let application_id = ApplicationId::KEYWARD;
    if service.read().application(application_id).await?.is_some() || has_log(service).await? {
        return Err(Error::new(
            Code::StateConflict,
            "the store has been initialised before; nothing was changed",
        ));
    }
    let generation = 1;
    let mut application = Application {
        id: application_id,
        status: Status::Active,
        generation,
        revision: 1,
        event: EventId { epoch: 0, seq: 0 },
        limits: Vec::new(),
    };
    let details = Details {
        // Its keys administer all others.
        importance: Importance::Critical,
        id: application_id,
        name: KEYWARD_NAME.to_owned(),
        prefix: token::PREFIX_DEFAULT.to_owned(),
        contacts: Vec::new(),
        policy: None,
        routes: Vec::new(),
        created_at: service.clock.now(),
        revision: 1,
    };
    let (mut key, token) = root_key(service, &details.prefix, generation, principal)?;
    let attempt = attempt(service, Action::Initialised, key.id);
    let mut draft = attempt.draft(Outcome::Done, None, None);
    draft.detail.extend(outlook(&key, &service.terms_of(&key).await?, service.clock.now()));
    service
        .commit(&attempt, vec![draft], |tickets, writes| {
            application.event = tickets.event(0);
            key.event = tickets.event(0);
            writes.new_application(&application, &details);
            writes.new_key(&key);
            Ok(token)
        })
        .await
}

/// Makes a new root key in a store that has been initialised. The old ones stay as they are, or with `revoke_others` die in the
/// same commit: every other key of `keyward` that lives and holds every scope, or whose record does not open.
///
/// # Errors
/// [`Code::StateConflict`] where the store has never been initialised; a bad `principal` or `reason`; where the store does not
/// answer.
pub async fn recover_root<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    principal: &str,
    reason: &str,
    revoke_others: bool,
) -> Result<RecoveredRoot> {
    check_name("principal", principal)?;
    check_reason("reason", reason)?;
    let reader = service.read();
    let (application, details) =
        futures::join!(reader.application(ApplicationId::KEYWARD), reader.details(ApplicationId::KEYWARD));
    let Some((application, details)) = application?.zip(details?) else {
        return Err(Error::new(
            Code::StateConflict,
            "the store has never been initialised; nothing was changed; `keyward init` does that",
        ));
    };
    let generation = service.living_generation(&application).await?;
    let (mut key, token) = root_key(service, &details.prefix, generation, principal)?;
    let others = if revoke_others { living_roots(service).await? } else { Vec::new() };

    let recovery = attempt(service, Action::RootRecovered, key.id);
    let because = || Some(reason.to_owned());
    let mut draft = recovery.draft(Outcome::Done, because(), None);
    draft.detail.extend(outlook(&key, &service.terms_of(&key).await?, service.clock.now()));
    let mut drafts = vec![draft];
    recovery.act(Action::KeyRevoked);
    for (other, previous) in &others {
        recovery.aim(Some(ApplicationId::KEYWARD), Some(*other));
        let mut draft = recovery.draft(Outcome::Done, because(), *previous);
        draft.detail.push(stands_revoked());
        drafts.push(draft);
    }
    let (at, by) = (service.clock.now(), recovery.caller().actor.clone());
    service
        .commit(&recovery, drafts, |tickets, writes| {
            let event = tickets.event(0);
            key.event = event;
            writes.new_key(&key);
            for (index, (other, _)) in others.iter().enumerate() {
                let place = index.saturating_add(1);
                let (event, reason) = (tickets.event(place), reason.to_owned());
                let tombstone = Tombstone { key: *other, at, by: by.clone(), reason, event };
                writes.for_event(place).tombstone(&tombstone, false);
            }
            let revoked = others.iter().map(|(other, _)| *other).collect();
            Ok(RecoveredRoot { key: key.id, token, event, revoked })
        })
        .await
}

/// An attempt of Keyward itself at a key of its own application.
fn attempt<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    action: Action,
    key: KeyId,
) -> Attempt {
    let caller = Caller::system(RequestId::from_bytes(service.rng.bytes()));
    let target = Target { application: Some(ApplicationId::KEYWARD), ..Target::key(Some(key)) };
    Attempt::to_change(caller, action, target)
}

/// A new root key, claimed by whoever runs this, and its token. Its event is set in its commit.
fn root_key<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    prefix: &str,
    generation: u32,
    principal: &str,
) -> Result<(Key, SecretText)> {
    let (now, id) = (service.clock.now(), KeyId::from_bytes(service.rng.bytes()));
    let environment = Environment::Live;
    let Minted { version, token } = service.mint_version(id, prefix, environment, 1, now)?;
    let key = Key {
        generation,
        prefix: prefix.to_owned(),
        environment,
        name: "root".to_owned(),
        principal: Some(principal.to_owned()),
        scopes: ScopeSet::from_iter([Scope::fixed(EVERYTHING)]),
        versions: vec![version],
        ..Key::new(id, ApplicationId::KEYWARD, now)
    };
    Ok((key, token))
}

/// The keys of `keyward` that live and hold every scope, each with its last event. One whose record does not open cannot be seen to
/// hold less.
async fn living_roots<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
) -> Result<Vec<(KeyId, Option<EventId>)>> {
    let mut roots = Vec::new();
    service
        .keys_of_keyward(async |id, key| {
            let holds_everything = match &key {
                Some(key) => service.holds_everything(key).await?,
                None => true,
            };
            // A damaged tombstone is dead as it is.
            let lives = match service.read().flag(id).await {
                Err(error) if error.code.blame() == Blame::Integrity => false,
                flag => flag? == Some(None),
            };
            if holds_everything && lives {
                roots.push((id, key.map(|key| key.event)));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(roots)
}

/// Whether the store has a log, even where the built-in application is gone from it. Tickets alone are none: a first commit that
/// died before it wrote must not keep the next one from being made.
async fn has_log<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
) -> Result<bool> {
    let EventId { epoch, seq: taken } = service.ledger.last_ticket().await?;
    for seq in 1..=taken.min(DEAD_ATTEMPTS_MAX) {
        if service.read().event(EventId { epoch, seq }).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(epoch > 1 || taken > DEAD_ATTEMPTS_MAX)
}
