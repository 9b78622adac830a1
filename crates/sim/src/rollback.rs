//! A store that is lost: an older copy takes its place, and a witness remembers more. It is frozen until an epoch is opened on it, in which
//! all is over that was, however often whoever opens it dies.

use crate::instance::{Instance, Weather};
use crate::run::{HELD_MS, Sim};
use crate::world::{Do, perform};
use keyward_crypto::digest::sha256;
use keyward_domain::event::Event;
use keyward_domain::{ClaimId, Code, Error, KeyId, Result, token};
use keyward_ledger::Witness;
use keyward_ledger::memory::{Backup, MemoryKv};
use keyward_service::Exported;
use keyward_verify::Verdict;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often somebody tries to open an epoch before nothing goes wrong any more.
const TRIES: usize = 12;
/// Longer than a ticket is waited for.
const A_WHILE: Duration = Duration::from_secs(61);
/// What goes wrong meanwhile.
const WEATHER: Weather = Weather { failing: 30, repeated: 20, deadly: 10, slow: 4, stalled: 0 };

/// Puts a copy of earlier in the place of the store, and judges what comes of it.
pub async fn judge(sim: &Sim, copy: &Backup) {
    let witness = MemoryKv::new(sim.world.clock.clone());
    sim.world.ledger().tell_witness(&witness).await.expect("told");
    let mut exported = Exported::default();
    let events = sim.world.events().await;
    let withdrawn: BTreeSet<Right> = events.iter().filter_map(Right::withdrawn_by).collect();
    events.into_iter().for_each(|event| exported.note(event));
    let saw = sim.world.ledger().ask_witness(&witness).await;

    sim.world.kv.restore(copy);
    // Whatever ran on the store is stopped before another takes its place.
    sim.heal();
    nothing_is_changed(sim, saw).await;
    open(sim, &exported, saw).await;
    sim.heal();
    tokio::time::advance(Duration::from_millis(HELD_MS)).await;
    what_was_over_is_over(sim, &withdrawn).await;
    let goes_on = change(sim, &sim.start_one(), saw, &new_application()).await;
    assert!(goes_on.is_ok(), "nothing can be changed in the epoch that was opened: {goes_on:?}");
}

/// What a text opens that is no token.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    /// The next version of a key, by the one that it came with.
    Renewal(KeyId, u16),
    Claim(ClaimId),
}

impl Right {
    fn withdrawn_by(event: &Event) -> Option<Self> {
        let renewal = event.target.key.zip(event.renewal_withdrawn());
        let claim = event.claim_withdrawn().map(Self::Claim);
        renewal.map(|(key, version)| Self::Renewal(key, version)).or(claim)
    }

    fn of(text: &str) -> Self {
        let parsed = token::parse(text).expect("what was handed out");
        match parsed.prefix {
            token::PREFIX_RENEWAL => Self::Renewal(KeyId::from_bytes(parsed.id), parsed.version),
            _ => Self::Claim(ClaimId::from_bytes(*sha256(text.as_bytes()).first_chunk().expect("longer"))),
        }
    }
}

fn new_application() -> Do {
    Do::CreateApplication(json!({"name": "after the loss"}))
}

/// What an admin does on an instance that is held to what the witness saw.
async fn change(sim: &Sim, instance: &Instance, saw: Witness, what: &Do) -> Result<()> {
    let caller = instance.admit(&sim.world, &sim.world.root, None).await?;
    perform(&instance.service(&sim.world.rng).held_to(saw), caller, what).await.map(drop)
}

async fn nothing_is_changed(sim: &Sim, saw: Witness) {
    let before = sim.world.kv.values();
    let client = sim.clients.borrow()[0].key;
    for what in [new_application(), Do::RevokeKey(client, "x"), Do::Freeze("x")] {
        let refused = change(sim, &sim.start_one(), saw, &what).await;
        let is_frozen = matches!(&refused, Err(Error { code: Code::StoreRolledBack, .. }));
        assert!(is_frozen, "a store that was rolled back answered {what:?} with {refused:?}");
    }
    assert!(before == sim.world.kv.values(), "a store that was rolled back was written to");
}

/// Opens an epoch, over faults and deaths.
async fn open(sim: &Sim, exported: &Exported, saw: Witness) {
    let Witness::Saw(seen) = saw else { panic!("the witness was told, and says {saw:?}") };
    sim.site.weather.set(WEATHER);
    for tried in 0.. {
        if tried == TRIES {
            sim.site.weather.set(Weather::FAIR);
        }
        let instance = sim.start_one();
        let service = instance.service(&sim.world.rng);
        let opened = instance.living(service.open_epoch(exported, Some(seen), "restored")).await;
        if sim.world.read().epochs().await.expect("the epochs").current > seen.epoch {
            return;
        }
        let is_last = tried == TRIES + 1;
        assert!(!matches!(opened, Some(Ok(_))), "an epoch is said to be open and is not");
        assert!(!is_last, "no epoch can be opened: {:?}", opened.map(|opened| opened.map(|_| ())));
        tokio::time::advance(A_WHILE).await;
    }
}

async fn what_was_over_is_over(sim: &Sim, withdrawn: &BTreeSet<Right>) {
    let dead: Vec<String> = {
        let known = sim.known.borrow();
        let is_dead = |key| known.keys.get(key).is_some_and(|key| key.dead.is_some());
        let dead = known.tokens.iter().filter(|token| token.dead.is_some() || is_dead(&token.key));
        dead.map(|token| token.text.clone()).collect()
    };
    let instance = sim.start_one();
    for token in dead {
        let passes = matches!(instance.verify(&token).await, Ok(Verdict::Accepted(_)));
        assert!(
            !passes,
            "a token whose end was acknowledged passes in the epoch that was opened after a loss"
        );
    }
    let reported = sim.known.borrow().withdrawn.clone();
    // What opened nothing when it was reported was not withdrawn; an older store may have it open.
    for text in reported.into_iter().filter(|text| withdrawn.contains(&Right::of(text))) {
        let is_renewal = text.starts_with(token::PREFIX_RENEWAL);
        let what = if is_renewal { Do::Renew(text) } else { Do::TakeClaim(text) };
        let minted = perform(&instance.service(&sim.world.rng), sim.world.holder(None), &what).await;
        assert!(minted.is_err(), "what was withdrawn mints in the epoch that was opened after a loss");
    }
}
