//! The first commit: the built-in application `keyward` and its root key. Run once, next to the store, before anything serves.

use crate::attempt::Attempt;
use crate::caller::Caller;
use crate::service::Service;
use keyward_crypto::{SecretBytes, SecretText};
use keyward_domain::application::{Application, Details, KEYWARD_NAME, Status};
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::key::{Environment, Key, Rules, Version};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::text::check_name;
use keyward_domain::{ApplicationId, Code, Error, KeyId, RequestId, Result, token};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};

/// Tickets that first commits may have taken which died before they wrote; a store with more has a log.
const DEAD_ATTEMPTS_MAX: u64 = 16;

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
    let (now, id) = (service.clock.now(), KeyId::from_bytes(service.rng.bytes()));
    let event = EventId { epoch: 0, seq: 0 };
    let mut application =
        Application { id: application_id, status: Status::Active, generation: 1, revision: 1, event };
    let details = Details {
        id: application_id,
        name: KEYWARD_NAME.to_owned(),
        prefix: token::PREFIX_DEFAULT.to_owned(),
        contacts: Vec::new(),
        created_at: now,
        revision: 1,
    };
    let secret = SecretBytes::new(service.rng.bytes::<32>());
    let (environment, number) = (Environment::Live, 1);
    let token =
        SecretText::new(token::render(&details.prefix, environment, id.as_bytes(), number, secret.expose()));
    let pepper = service.rings.peppers.active();
    let mac = service
        .rings
        .peppers
        .mac(pepper, token.expose())
        .map_err(|_| Error::internal("the active pepper is not in its ring"))?;
    let mut key = Key {
        id,
        application: application_id,
        generation: 1,
        prefix: details.prefix.clone(),
        environment,
        name: "root".to_owned(),
        principal: Some(principal.to_owned()),
        scopes: ScopeSet::from_iter([Scope::fixed("*")]),
        rules: Rules::default(),
        expires_at: None,
        disabled: false,
        created_at: now,
        versions: vec![Version { number, pepper, mac, claimed_at: now }],
        claim: None,
        revision: 1,
        event,
        tags: Vec::new(),
        roles: Vec::new(),
    };
    let caller = Caller::system(RequestId::from_bytes(service.rng.bytes()));
    let target = Target { application: Some(application_id), ..Target::key(Some(id)) };
    let attempt = Attempt::to_change(caller, Action::Initialised, target);
    service
        .commit(&attempt, vec![attempt.draft(Outcome::Done, None, None)], |tickets, writes| {
            application.event = tickets.event(0);
            key.event = tickets.event(0);
            writes.new_application(&application, &details);
            writes.new_key(&key);
            Ok(token)
        })
        .await
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
