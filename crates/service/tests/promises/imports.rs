//! Partners keep the tokens that another system issued: each is imported once, passes like any other from then on, dies for good when it is
//! revoked, and nothing in the store helps whoever guesses at it.

use crate::history::{check_projections, check_state, integrate_all};
use crate::revocation_races::interleave;
use crate::world::{Do, World, code_of, is_batch, new_key, perform, rings, survive};
use keyward_crypto::digest::{hex, sha256, sha512};
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::{Call, Fault};
use keyward_verify::{Demand, InstanceCache};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// The token of another system with this number.
fn token(number: usize) -> String {
    format!("pk_legacy_{}", hex(&sha256(&number.to_be_bytes())))
}

fn of_sha256(token: &str) -> String {
    format!("sha256:{}", hex(&sha256(token.as_bytes())))
}

fn of_sha512(token: &str) -> String {
    format!("sha512:{}", hex(&sha512(token.as_bytes())))
}

fn one(app: ApplicationId, digest: &str) -> Value {
    json!({"digest": digest, "application": app, "name": "partner", "environment": "live", "scopes": ["orders:read"]})
}

/// An import of the tokens with these numbers, by SHA-256 and SHA-512 in turn.
pub fn imports(app: ApplicationId, numbers: Range<usize>) -> Value {
    let digest = |number: usize| match number % 2 {
        0 => of_sha256(&token(number)),
        _ => of_sha512(&token(number)),
    };
    let keys: Vec<Value> = numbers.map(|number| one(app, &digest(number))).collect();
    json!({"reason": "moved", "keys": keys})
}

fn ids(reply: &Value) -> Vec<KeyId> {
    reply["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().parse().unwrap()).collect()
}

fn outcomes(reply: &Value) -> Vec<&str> {
    reply["keys"].as_array().unwrap().iter().map(|key| key["outcome"].as_str().unwrap()).collect()
}

async fn import(world: &World, asked: &Value) -> Value {
    world.run(&Do::ImportKeys(asked.clone())).await.expect("imports").json()
}

async fn passes(world: &World, token: &str) -> &'static str {
    world.code(token, &Demand::default()).await
}

async fn born(world: &World) -> usize {
    let imported = |event: &keyward_domain::event::Event| {
        event.action == Action::KeyImported && event.outcome == Outcome::Done
    };
    world.events().await.iter().filter(|event| imported(event)).count()
}

#[tokio::test(start_paused = true)]
async fn an_imported_token_passes_rotates_and_dies_like_any_other() {
    let world = World::new(940).await;
    let app = world.application("shop").await;
    assert_eq!(passes(&world, &token(0)).await, "NOT_FOUND");
    world.kv.take_calls();
    let reply = import(&world, &imports(app, 0..32)).await;
    assert_eq!(world.kv.take_calls().iter().filter(|call| is_batch(call)).count(), 1, "one commit");
    assert_eq!(
        (&reply["imported"], &reply["existing"], &reply["refused"]),
        (&json!(32), &json!(0), &json!(0))
    );
    let ids = ids(&reply);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 32);
    for number in 0..32 {
        assert_eq!(passes(&world, &token(number)).await, "VALID", "{number}");
        // What was handed over is no way in.
        for digest in [of_sha256(&token(number)), of_sha512(&token(number))] {
            assert_eq!(passes(&world, &digest).await, "NOT_FOUND");
            assert_eq!(passes(&world, &digest[7..]).await, "NOT_FOUND");
        }
    }
    assert_eq!(passes(&world, &token(32)).await, "NOT_FOUND");
    let key = world.run(&Do::ReadKey(ids[1])).await.expect("read").json();
    assert_eq!(key["imported"], json!({"algorithm": "sha512", "weak": null}));
    assert_eq!((&key["state"], &key["versions"][0]["version"]), (&json!("active"), &json!(1)));
    let listed = {
        integrate_all(&world, 940).await;
        world.run(&Do::ListKeys(app)).await.expect("listed").json()
    };
    assert_eq!(listed["items"].as_array().unwrap().len(), 32, "they are among its keys");

    // Its successor is minted here; both pass until the old one's grace is over.
    let ticket = world
        .run(&Do::Rotate(ids[0], json!({"reason": "ours", "grace_s": 60})))
        .await
        .expect("offered")
        .at("/claim/ticket");
    let successor = world.run(&Do::TakeClaim(ticket)).await.expect("claimed").at("/token");
    assert!(successor.starts_with("kw_live_"));
    assert_eq!((passes(&world, &token(0)).await, passes(&world, &successor).await), ("VALID", "VALID"));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!((passes(&world, &token(0)).await, passes(&world, &successor).await), ("EXPIRED", "VALID"));

    world.run(&Do::RevokeKey(ids[1], "lost")).await.expect("revoked");
    assert_eq!(passes(&world, &token(1)).await, "REVOKED");
    world.run(&Do::Report(token(2))).await.expect("reported by whoever holds it");
    assert_eq!(passes(&world, &token(2)).await, "REVOKED");
    world.run(&Do::ReportLeaks(json!([{"token": token(3), "type": "legacy"}]))).await.expect("reported");
    assert_eq!(passes(&world, &token(3)).await, "REVOKED");
    assert_eq!(world.run(&Do::Lookup(token(4))).await.expect("found").at("/key/id"), ids[4].to_string());
    world.run(&Do::RevokeApplication(app, "over")).await.expect("revoked");
    assert_eq!(passes(&world, &token(5)).await, "REVOKED");
    check_state(&world, 940).await;
    check_projections(&world, 940).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_imported_once_and_a_dead_one_stays_dead() {
    let world = World::new(941).await;
    let app = world.application("shop").await;
    let first = import(&world, &imports(app, 0..4)).await;
    world.run(&Do::RevokeKey(ids(&first)[2], "lost")).await.expect("revoked");
    let again = import(&world, &imports(app, 0..6)).await;
    assert_eq!(outcomes(&again), ["existing", "existing", "existing", "existing", "imported", "imported"]);
    assert_eq!(ids(&again)[..4], ids(&first)[..]);
    assert_eq!(passes(&world, &token(2)).await, "REVOKED");
    assert_eq!(born(&world).await, 6);
    // Twice in one call, and under an older pepper.
    let mut twice = imports(app, 8..9);
    twice["keys"] = json!([twice["keys"][0], twice["keys"][0]]);
    assert_eq!(outcomes(&import(&world, &twice).await), ["imported", "existing"]);
    let rolled = rings(&[1], &[1], &[1, 2]);
    let caller = world.caller(&world.root).await;
    let reply = perform(&world.service_with(&rolled), caller, &Do::ImportKeys(imports(app, 5..7)))
        .await
        .expect("imports")
        .json();
    assert_eq!(outcomes(&reply), ["existing", "imported"]);
    let cache = InstanceCache::default();
    let verifier =
        keyward_verify::Verifier::new(&world.kv, &rolled.records, &rolled.peppers, &cache, &world.clock);
    for number in [0, 1, 5, 6] {
        assert_eq!(code_of(&verifier.verify(&token(number), &Demand::default()).await), "VALID", "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_taken_keeps_no_other_from_it() {
    let world = World::new(942).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    import(&world, &imports(other, 7..8)).await;
    let narrowed = world.admin(&[format!("keys:write@{app}")]).await;
    let digest = |number| of_sha256(&token(number));
    let with = |field: &str, value: Value| {
        let mut key = one(app, &digest(0));
        key[field] = value;
        key
    };
    let keys = [
        (with("digest", json!(token(0))), Some("invalid-field")),
        (with("digest", json!("md5:00")), Some("invalid-field")),
        (with("name", json!("")), Some("invalid-field")),
        (with("scopes", json!(["credentials:read@x/*"])), Some("insufficient-scope")),
        (with("application", json!(other)), Some("not-found")),
        (with("application", json!(ApplicationId::KEYWARD)), Some("invalid-field")),
        (with("policy", json!("pol_0000000000000000000000")), Some("invalid-field")),
        (one(app, &of_sha512(&token(7))), Some("state-conflict")),
        (one(app, &digest(10)), None),
    ];
    let asked = json!({"reason": "x", "keys": keys.iter().map(|(key, _)| key).collect::<Vec<_>>()});
    let reply = world.run_as(&narrowed.token, &Do::ImportKeys(asked)).await.expect("some").json();
    for (at, (_, code)) in keys.iter().enumerate() {
        assert_eq!(reply["keys"][at]["error"]["code"].as_str(), *code, "{at}: {}", reply["keys"][at]);
    }
    assert_eq!((&reply["imported"], &reply["refused"]), (&json!(1), &json!(8)));
    assert!(!reply.to_string().contains(&token(0)), "what was sent by mistake is not repeated");
    let refused: Vec<_> =
        world.events().await.into_iter().filter(|event| event.outcome == Outcome::Refused).collect();
    assert_eq!(refused.len(), 8, "each is on record");
    let hidden = refused
        .iter()
        .find(|event| event.target.application == Some(other))
        .expect("of another's application");
    assert_eq!(hidden.detail, [format!("keys:write@{other}")]);
    assert_eq!(passes(&world, &token(10)).await, "VALID");
    for bad in [
        json!({"reason": "x", "keys": []}),
        imports(app, 0..33),
        json!({"reason": "", "keys": [one(app, &digest(1))]}),
    ] {
        let error = world.run(&Do::ImportKeys(bad)).await.expect_err("refused");
        assert_eq!(error.code, Code::InvalidField);
    }
    // A dry run tells the same and does nothing.
    let mut dry = imports(app, 10..13);
    dry["dry_run"] = json!(true);
    let reply = import(&world, &dry).await;
    assert_eq!(outcomes(&reply), ["existing", "imported", "imported"]);
    assert_eq!(passes(&world, &token(11)).await, "NOT_FOUND");
    world.run(&Do::Freeze("x")).await.expect("frozen");
    let error = world.run(&Do::ImportKeys(imports(app, 20..21))).await.expect_err("frozen");
    assert_eq!(error.code, Code::IssuingFrozen);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_of_ours_costs_no_read_where_nothing_was_imported() {
    let world = World::new(943).await;
    let app = world.application("shop").await;
    let cache = InstanceCache::default();
    let code = async |text: String| code_of(&world.verify_with(&cache, &text, &Demand::default()).await);
    assert_eq!(code(token(0)).await, "NOT_FOUND");
    world.kv.take_calls();
    for number in 0..100 {
        assert_eq!(code(token(number)).await, "NOT_FOUND");
    }
    assert_eq!(world.kv.take_calls(), []);
    import(&world, &imports(app, 0..1)).await;
    tokio::time::advance(Duration::from_millis(250)).await;
    assert_eq!(code(token(0)).await, "VALID", "known to every instance after 250 ms");
    world.kv.take_calls();
    assert_eq!(code(token(2)).await, "NOT_FOUND");
    assert_eq!(world.kv.take_calls().len(), 3, "as many reads as of any other token");
    // Where the store is silent nobody is told that there is no such token.
    world.kv.plan(|call| if matches!(call, Call::Get(_)) { Fault::Before } else { Fault::None });
    assert_eq!(code(token(0)).await, "store-unavailable");
    tokio::time::advance(Duration::from_millis(250)).await;
    assert_eq!(code(token(0)).await, "store-unavailable");
}

#[tokio::test(start_paused = true)]
async fn no_digest_lies_in_the_store_and_none_can_be_guessed_at_without_the_pepper() {
    let world = World::new(944).await;
    let app = world.application("shop").await;
    let weak = "acme-partner-2019";
    let mut asked =
        json!({"reason": "x", "keys": [one(app, &of_sha256(weak)), one(app, &of_sha512(&token(1)))]});
    asked["keys"][0]["weak"] = json!(true);
    let reply = world.run_once("once", &Do::ImportKeys(asked)).await.expect("imports").json();
    let needles: Vec<Vec<u8>> =
        [sha256(weak.as_bytes()).to_vec(), sha512(token(1).as_bytes()).to_vec()].to_vec();
    for (name, value) in world.kv.values() {
        for needle in &needles {
            let hexed = hex(needle);
            assert!(!value.windows(needle.len()).any(|part| part == needle), "{name}");
            assert!(
                !name.contains(&hexed[..32]) && !String::from_utf8_lossy(&value).contains(&hexed),
                "{name}"
            );
        }
    }
    for event in world.events().await {
        let text = serde_json::to_string(&event).expect("JSON");
        assert!(!text.contains(&hex(&needles[0])) && !text.contains(weak));
    }
    let told = world
        .events()
        .await
        .into_iter()
        .find(|event| event.target.key == Some(ids(&reply)[0]))
        .expect("an event");
    assert!(told.detail.contains(&"easily guessed".to_owned()), "{:?}", told.detail);
    let key = world.run(&Do::ReadKey(ids(&reply)[0])).await.expect("read").json();
    assert_eq!(key["imported"], json!({"algorithm": "sha256", "weak": true}));
    // Under another pepper the same digest leads elsewhere.
    let others = rings(&[1], &[1], &[7]);
    let digest = [&b"sha256:"[..], &needles[0]].concat();
    let mine = world.rings.peppers.imported_id(1, &digest).expect("an id");
    assert_eq!(ids(&reply)[0].as_bytes(), &mine);
    assert_ne!(others.peppers.imported_id(7, &digest).expect("an id"), mine);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_call_all_of_a_commit_or_nothing_is_imported_and_the_next_call_goes_on() {
    for nth in 0.. {
        let mut finished = true;
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let world = World::new(945).await;
            let app = world.application("shop").await;
            let what = Do::ImportKeys(imports(app, 0..3));
            let caller = world.caller_with(&world.root, None).await;
            world.fault_at(nth, |_| true, fault);
            let ended = survive(perform(&world.service(), caller, &what)).await;
            world.heal();
            finished &= ended.is_some();
            let imported = born(&world).await;
            assert!(imported == 0 || imported == 3, "call {nth}: {imported}");
            // Without an Idempotency-Key, as a command would that was killed and started anew.
            let reply = import(&world, &imports(app, 0..5)).await;
            assert_eq!(reply["refused"], 0, "call {nth}");
            assert_eq!(born(&world).await, 5, "call {nth}: each once");
            for number in 0..5 {
                assert_eq!(passes(&world, &token(number)).await, "VALID", "call {nth}");
            }
            check_state(&world, 945).await;
        }
        if finished {
            assert!(nth > 8, "{nth} calls");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_imports_at_once_make_one_key_of_a_token() {
    for seed in 0..60 {
        let world = World::new(9460 + seed).await;
        let app = world.application("shop").await;
        let what = [Do::ImportKeys(imports(app, 0..3)), Do::ImportKeys(imports(app, 1..4))];
        let ended = interleave(&world, &what, |awake| world.rng.below(awake), None).await;
        let told: Vec<Value> = ended.iter().map(|reply| reply.as_ref().expect("imports").json()).collect();
        assert_eq!(ids(&told[0])[1..], ids(&told[1])[..2], "seed {seed}");
        let imported = |reply: &Value| reply["imported"].as_u64().unwrap();
        assert_eq!(imported(&told[0]) + imported(&told[1]), 4, "seed {seed}");
        assert_eq!(born(&world).await, 4, "seed {seed}");
        for number in 0..4 {
            assert_eq!(passes(&world, &token(number)).await, "VALID", "seed {seed}");
        }
        check_state(&world, seed).await;
    }
}

/// A batch that was held up is written when the key that it makes is long revoked: what it brings back is the birth, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_birth_that_comes_late_brings_nobody_back_to_life() {
    let world = World::new(947).await;
    let app = world.application("shop").await;
    let ids = ids(&import(&world, &imports(app, 0..5)).await);
    let birth: Vec<(String, Vec<u8>)> = world
        .kv
        .values()
        .into_iter()
        .filter(|(name, _)| name.starts_with("k:") || name.starts_with("m:"))
        .collect();
    integrate_all(&world, 947).await;
    let ways = [
        Do::RevokeKey(ids[0], "lost"),
        Do::Report(token(1)),
        Do::ReportLeaks(json!([{"token": token(2), "type": "legacy"}])),
        Do::Rotate(ids[3], json!({"reason": "leaked", "mode": "incident"})),
        Do::RevokeMany(
            json!({"issued_since": "2020-01-01T00:00:00Z", "application": app, "reason": "all of them"}),
        ),
    ];
    for what in &ways {
        world.run(what).await.expect("ended");
    }
    for (name, value) in birth {
        world.kv.tamper(&name, Some(value));
    }
    for number in 0..5 {
        assert_eq!(passes(&world, &token(number)).await, "REVOKED", "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_issued_is_never_taken_for_an_imported_one() {
    let world = World::new(948).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    // Its digest may be imported, as whoever imports has no way to tell; the token itself stays what it was.
    let reply = import(&world, &json!({"reason": "x", "keys": [one(app, &of_sha256(&held.token))]})).await;
    assert_eq!(
        world.run(&Do::Lookup(held.token.clone())).await.expect("found").at("/key/id"),
        held.id.to_string()
    );
    world.run(&Do::RevokeKey(held.id, "lost")).await.expect("revoked");
    assert_eq!(passes(&world, &held.token).await, "REVOKED");
    assert_ne!(ids(&reply)[0], held.id);
}
