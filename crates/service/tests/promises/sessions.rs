//! A session of the dashboard lies sealed at a browser, and holds for as long as the key that opened it passes, nobody signed out of it,
//! somebody is there, and its day is not over. Whatever ends it ends it everywhere.

use crate::world::{Do, Held, World, new_admin};
use keyward_domain::event::{Action, Outcome, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::session::{
    SESSION_IDLE_S_MAX, SESSION_LIFE_S_MAX, SESSION_NOTED_EVERY_S, Session, Standing,
};
use keyward_domain::{ApplicationId, Code};
use keyward_ledger::memory::{Call, Fault};
use keyward_records::{names, open, seal};
use keyward_service::Attempt;
use keyward_verify::{Demand, InstanceCache, Verdict, Verifier};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// What a browser holds.
type Cookie = Vec<u8>;

/// Signs in with the token of `who`, as the dashboard does.
async fn sign_in(world: &World, who: &Held) -> Cookie {
    let caller = world.caller(&who.token).await;
    let attempt = Attempt::to_change(caller, Action::SessionOpened, Target::default());
    let session = world.service().open_session(&attempt, who.id, 1).await.expect("opened");
    sealed(world, &session)
}

fn sealed(world: &World, session: &Session) -> Cookie {
    seal(&world.rings.records, session, world.rng.bytes()).expect("short")
}

fn opened(world: &World, cookie: &[u8]) -> Option<Session> {
    open(&world.rings.records, names::SESSION_COOKIE, cookie).ok()
}

async fn sign_out(world: &World, who: &Held, cookie: &[u8]) {
    let attempt =
        Attempt::to_change(world.caller(&who.token).await, Action::SessionClosed, Target::default());
    let session = opened(world, cookie).expect("a session");
    world.service().close_session(&attempt, &session).await.expect("closed");
}

/// What a request with this cookie from this address is told: `VALID`, or why not.
async fn from(world: &World, cookie: &[u8], client_address: Option<IpAddr>) -> &'static str {
    let Some(session) = opened(world, cookie) else { return "NO SESSION" };
    match session.standing(world.clock.now()) {
        Standing::Idle => return "IDLE",
        Standing::Over => return "OVER",
        Standing::Holds | Standing::HoldsUnnoted => {}
    }
    match world.service().is_closed(&session).await {
        Ok(true) => return "CLOSED",
        Ok(false) => {}
        Err(error) => return error.code.as_str(),
    }
    let (rings, applications) = (&world.rings, InstanceCache::default());
    let verifier = Verifier::new(&world.kv, &rings.records, &rings.peppers, &applications, &world.clock);
    let demand = Demand { application: Some(ApplicationId::KEYWARD), client_address, ..Demand::default() };
    match verifier.verify_again(session.key, session.version, &demand).await {
        Ok(Verdict::Accepted(_)) => "VALID",
        Ok(Verdict::Refused(refusal)) => refusal.code.as_str(),
        Err(error) => error.code.as_str(),
    }
}

async fn told(world: &World, cookie: &[u8]) -> &'static str {
    from(world, cookie, None).await
}

async fn pass_s(seconds: i64) {
    tokio::time::advance(Duration::from_secs(u64::try_from(seconds).unwrap())).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_the_key_that_opened_it() {
    let world = World::new(220).await;
    let change = async |id, change| {
        world.run(&Do::ChangeKey(id, change, None)).await.expect("changed");
    };
    let admin = async || world.held(&new_admin(&["keys:read"], &[])).await;

    let revoked = admin().await;
    let (session, other) = (sign_in(&world, &revoked).await, admin().await);
    let stays = sign_in(&world, &other).await;
    assert_eq!(told(&world, &session).await, "VALID");
    world.run(&Do::RevokeKey(revoked.id, "left")).await.expect("revoked");
    assert_eq!(told(&world, &session).await, "REVOKED", "at the very next request");
    assert_eq!(told(&world, &stays).await, "VALID");

    let disabled = admin().await;
    let session = sign_in(&world, &disabled).await;
    change(disabled.id, json!({ "disabled": true })).await;
    assert_eq!(told(&world, &session).await, "DISABLED");
    change(disabled.id, json!({ "disabled": false })).await;
    assert_eq!(told(&world, &session).await, "VALID", "it was the key that was refused");

    let bound = admin().await;
    let session = sign_in(&world, &bound).await;
    change(bound.id, json!({ "rules": { "network": ["192.0.2.0/24"] } })).await;
    assert_eq!(from(&world, &session, "192.0.2.7".parse().ok()).await, "VALID");
    for elsewhere in ["203.0.113.7".parse().ok(), None] {
        assert_eq!(from(&world, &session, elsewhere).await, "FORBIDDEN");
    }

    let mut new = new_admin(&["keys:read"], &[]);
    new["expires_in_s"] = json!(600);
    let expiring = world.held(&new).await;
    let session = sign_in(&world, &expiring).await;
    pass_s(599).await;
    assert_eq!(told(&world, &session).await, "VALID");
    pass_s(1).await;
    assert_eq!(told(&world, &session).await, "EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_the_version_that_opened_it() {
    let world = World::new(221).await;
    let admin = world.held(&new_admin(&["keys:read"], &[])).await;
    let session = sign_in(&world, &admin).await;
    // Rotated away: it holds while the old version does, and not for longer.
    let rotation = json!({ "reason": "it is time", "grace_s": 60 });
    let offered = world.run(&Do::Rotate(admin.id, rotation)).await.expect("offered");
    world.run(&Do::TakeClaim(offered.at("/claim/ticket"))).await.expect("claimed");
    pass_s(59).await;
    assert_eq!(told(&world, &session).await, "VALID", "both versions pass");
    pass_s(1).await;
    assert_eq!(told(&world, &session).await, "EXPIRED");

    let stolen = world.held(&new_admin(&["keys:read"], &[])).await;
    let session = sign_in(&world, &stolen).await;
    let incident = json!({ "reason": "a laptop was stolen", "mode": "incident" });
    world.run(&Do::Rotate(stolen.id, incident)).await.expect("ended");
    assert_eq!(told(&world, &session).await, "REVOKED", "whoever has the old token has no session either");
}

#[tokio::test(start_paused = true)]
async fn signing_out_ends_a_session_wherever_its_cookie_lies_and_no_other() {
    let world = World::new(222).await;
    let admin = world.held(&new_admin(&["keys:read"], &[])).await;
    let session = sign_in(&world, &admin).await;
    let other = sign_in(&world, &admin).await;
    // A copy, and one that was handed out since.
    let later = opened(&world, &session).unwrap().seen(world.clock.now().plus_s(60));
    let copies = [session.clone(), sealed(&world, &later)];
    sign_out(&world, &admin, &session).await;
    for copy in &copies {
        assert_eq!(told(&world, copy).await, "CLOSED");
    }
    assert_eq!(told(&world, &other).await, "VALID");
    // Twice is as good as once, and no clock that steps back revives it.
    sign_out(&world, &admin, &session).await;
    world.clock.step_wall_ms(-3_600_000);
    assert_eq!(told(&world, &session).await, "CLOSED");
    world.clock.step_wall_ms(3_600_000);
    // A store that is silent is no "not closed".
    world.fault_at(0, |call| matches!(call, Call::Get(_)), Fault::Before);
    assert_eq!(told(&world, &session).await, Code::StoreUnavailable.as_str());
    world.heal();

    let events = world.events().await;
    let of_sessions: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.action, Action::SessionOpened | Action::SessionClosed))
        .collect();
    let actions: Vec<Action> = of_sessions.iter().map(|event| event.action).collect();
    let (opens, closes) = (Action::SessionOpened, Action::SessionClosed);
    assert_eq!(actions, [opens, opens, closes, closes]);
    for event in of_sessions {
        assert_eq!(
            (event.outcome, event.actor.key, event.target.key),
            (Outcome::Done, Some(admin.id), Some(admin.id))
        );
    }
    // The id, which is a secret while the session lives, lies nowhere.
    let id = *opened(&world, &session).unwrap().id();
    let hex = keyward_domain::id::hex(&id);
    for (name, value) in world.kv.values() {
        assert!(!name.contains(&hex) && !value.windows(id.len()).any(|part| part == id), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_there_ends_a_session_and_so_does_the_end_of_the_day() {
    let world = World::new(223).await;
    let admin = world.held(&new_admin(&["keys:read"], &[])).await;
    let session = sign_in(&world, &admin).await;
    pass_s(SESSION_IDLE_S_MAX - 1).await;
    assert_eq!(told(&world, &session).await, "VALID");
    pass_s(1).await;
    assert_eq!(told(&world, &session).await, "IDLE");

    // Somebody who is there all the time is given another cookie again and again, and signs in again at the end of the day.
    let mut cookie = sign_in(&world, &admin).await;
    let (began, mut cookies) = (world.clock.now(), 0);
    while told(&world, &cookie).await == "VALID" {
        let session = opened(&world, &cookie).unwrap();
        if session.standing(world.clock.now()) == Standing::HoldsUnnoted {
            cookie = sealed(&world, &session.seen(world.clock.now()));
            cookies += 1;
        }
        pass_s(SESSION_NOTED_EVERY_S / 2).await;
    }
    assert_eq!(told(&world, &cookie).await, "OVER");
    let lasted_s = world.clock.now().unix_s() - began.unix_s();
    assert!(
        (SESSION_LIFE_S_MAX..SESSION_LIFE_S_MAX + SESSION_NOTED_EVERY_S).contains(&lasted_s),
        "{lasted_s}"
    );
    assert!(cookies <= SESSION_LIFE_S_MAX / SESSION_NOTED_EVERY_S, "one in a minute at most: {cookies}");
}

#[tokio::test(start_paused = true)]
async fn nothing_but_what_was_sealed_as_a_session_is_one() {
    let world = World::new(224).await;
    let admin = world.held(&new_admin(&["keys:read"], &[])).await;
    let cookie = sign_in(&world, &admin).await;
    for at in 0..cookie.len() {
        let mut altered = cookie.clone();
        altered[at] ^= 1;
        assert_eq!(told(&world, &altered).await, "NO SESSION", "byte {at}");
    }
    assert_eq!(told(&world, &cookie[..cookie.len() - 1]).await, "NO SESSION");
    // No record of the store passes for one, nor one for a record.
    for (name, value) in world.kv.values() {
        assert_eq!(told(&world, &value).await, "NO SESSION", "{name}");
    }
    // Sealed under a ring that another Keyward has.
    let other = crate::world::rings(&[2], &[2], &[2]);
    let session = opened(&world, &cookie).unwrap();
    let foreign = seal(&other.records, &session, world.rng.bytes()).expect("short");
    assert_eq!(told(&world, &foreign).await, "NO SESSION");
    assert_eq!(told(&world, &cookie).await, "VALID");
}
