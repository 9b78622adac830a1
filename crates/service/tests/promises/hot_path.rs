//! May this token pass? In which order it is decided, what it reads, and who learns why not.

use crate::world::{Do, World, code_of, new_key, rings};
use keyward_domain::key::Environment;
use keyward_domain::scope::Scope;
use keyward_domain::{ApplicationId, Code, KeyId, token};
use keyward_ledger::memory::{Call, Fault};
use keyward_records::names;
use keyward_verify::{Demand, InstanceCache, Verdict};
use serde_json::json;
use std::time::Duration;

fn demand() -> Demand<'static> {
    Demand::default()
}

#[tokio::test(start_paused = true)]
async fn garbage_costs_no_read() {
    let world = World::new(1).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.kv.take_calls();
    let flipped = if held.token.ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{flipped}", &held.token[..held.token.len() - 1]);
    let long = "x".repeat(1 << 20);
    for garbage in ["", "x", "kw_live_", "\0", "Bearer", "ключ", &long, &mistyped] {
        assert_eq!(world.code(garbage, &demand()).await, "NOT_FOUND");
        assert_eq!(world.kv.take_calls(), [], "reads for {} bytes", garbage.len());
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_id_and_wrong_secret_look_alike() {
    let world = World::new(2).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let render =
        |id: KeyId, version| token::render("kw", Environment::Live, id.as_bytes(), version, &[9; 32]);
    let unknown = KeyId::from_bytes([7; 16]);
    let expected = |id: KeyId, version| {
        vec![
            Call::Get(names::flag(id)),
            Call::Get(names::key(id)),
            Call::Get(names::version_kill(id, version)),
        ]
    };
    for (id, version) in
        [(unknown, 1), (held.id, 1), (held.id, 2), (held.id, token::VERSION_MAX), (unclaimed, 1)]
    {
        world.kv.take_calls();
        let verdict = world.verify(&render(id, version), &demand()).await.expect("an answer");
        assert_eq!(world.kv.take_calls(), expected(id, version));
        let Verdict::Refused(refusal) = verdict else { panic!("accepted") };
        assert_eq!(refusal.code.as_str(), "NOT_FOUND");
        assert!(refusal.presented.is_none() && refusal.missing_scope.is_none());
    }
}

/// Puts a world's key into a condition; the conditions are in the order in which they win.
async fn spoil(world: &World, app: ApplicationId, key: KeyId, condition: &str) {
    let done = match condition {
        "revoked" => world.run(&Do::RevokeKey(key, "lost")).await,
        "version killed" => {
            world.kv.tamper(&names::version_kill(key, 1), Some(b"evt_1_1".to_vec()));
            return;
        }
        "generation killed" => world.run(&Do::RevokeApplication(app, "leak")).await,
        "expired" => {
            world.clock.step_wall_ms(3_600_000);
            return;
        }
        "disabled" => world.run(&Do::ChangeKey(key, json!({"disabled": true}), None)).await,
        "suspended" => {
            world.run(&Do::ChangeApplication(app, json!({"status": "suspended", "reason": "x"}), None)).await
        }
        other => panic!("{other}"),
    };
    done.expect(condition);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_wins_and_only_the_right_secret_learns_it() {
    // Each condition alone, and together with all that come after it.
    let conditions = ["revoked", "version killed", "generation killed", "expired", "disabled", "suspended"];
    let codes = ["REVOKED", "REVOKED", "REVOKED", "EXPIRED", "DISABLED", "DISABLED"];
    let all = conditions.len();
    for (first, upto) in (0..=all).flat_map(|first| [(first, all), (first, all.min(first + 1))]) {
        let world = World::new(3).await;
        let app = world.application("shop").await;
        let mut new = new_key(app, "k");
        new["expires_in_s"] = json!(3600);
        new["rules"] = json!({"network": ["10.0.0.0/8"]});
        let held = world.held(&new).await;
        // Backwards, since what is dead cannot be edited.
        for condition in conditions[first..upto].iter().rev() {
            spoil(&world, app, held.id, condition).await;
        }
        let orders = [Scope::parse("orders:read").unwrap()];
        let billing = [Scope::parse("orders:read").unwrap(), Scope::parse("billing:read").unwrap()];
        let inside = Some("10.1.2.3".parse().unwrap());
        let other = ApplicationId::from_bytes([5; 16]);
        let table = [
            // The demands, from the one that offends everything to the one that offends nothing.
            (
                Demand {
                    scopes: &billing,
                    environment: Some(Environment::Test),
                    application: Some(other),
                    client_address: None,
                },
                "FORBIDDEN",
            ),
            (
                Demand {
                    scopes: &billing,
                    environment: Some(Environment::Test),
                    application: Some(app),
                    client_address: inside,
                },
                "FORBIDDEN",
            ),
            (
                Demand {
                    scopes: &billing,
                    environment: Some(Environment::Live),
                    application: Some(other),
                    client_address: inside,
                },
                "FORBIDDEN",
            ),
            (
                Demand { scopes: &billing, environment: None, application: None, client_address: None },
                "FORBIDDEN",
            ),
            (
                Demand {
                    scopes: &billing,
                    environment: None,
                    application: None,
                    client_address: Some("11.0.0.1".parse().unwrap()),
                },
                "FORBIDDEN",
            ),
            (
                Demand { scopes: &billing, environment: None, application: None, client_address: inside },
                "INSUFFICIENT_SCOPE",
            ),
            (
                Demand {
                    scopes: &orders,
                    environment: Some(Environment::Live),
                    application: Some(app),
                    client_address: inside,
                },
                "VALID",
            ),
            (
                Demand {
                    scopes: &[],
                    environment: None,
                    application: None,
                    client_address: Some("::ffff:10.0.0.1".parse().unwrap()),
                },
                "VALID",
            ),
        ];
        let forged = token::render("kw", Environment::Live, held.id.as_bytes(), 1, &[9; 32]);
        for (demand, otherwise) in table {
            let expected = codes.get(first).copied().unwrap_or(otherwise);
            let verdict = world.verify(&held.token, &demand).await;
            assert_eq!(code_of(&verdict), expected, "from {:?} on", conditions.get(first));
            if let Ok(Verdict::Refused(refusal)) = verdict {
                assert!(refusal.presented.is_some(), "the right secret learns whose it is");
                let missing = refusal.missing_scope.map(|scope| scope.to_string());
                assert_eq!(missing.as_deref() == Some("billing:read"), expected == "INSUFFICIENT_SCOPE");
            }
            let Ok(Verdict::Refused(refusal)) = world.verify(&forged, &demand).await else {
                panic!("accepted")
            };
            assert_eq!(refusal.code.as_str(), "NOT_FOUND");
            assert!(refusal.presented.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_acknowledged_revoke_the_very_next_validation_is_refused() {
    let world = World::new(4).await;
    let app = world.application("shop").await;
    let applications = InstanceCache::default();
    for n in 0..50 {
        let held = world.held(&new_key(app, &format!("k{n}"))).await;
        assert_eq!(code_of(&world.verify_with(&applications, &held.token, &demand()).await), "VALID");
        if n % 2 == 0 {
            world.run(&Do::RevokeKey(held.id, "lost")).await.expect("revoked");
        } else {
            world.run(&Do::Report(held.token.clone())).await.expect("reported");
        }
        assert_eq!(code_of(&world.verify_with(&applications, &held.token, &demand()).await), "REVOKED");
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_is_remembered_for_250_ms_from_the_start_of_the_read() {
    for (killed, expected) in [(true, "REVOKED"), (false, "DISABLED")] {
        for read_takes_ms in [0, 100] {
            let world = World::new(5).await;
            let app = world.application("shop").await;
            let held = world.held(&new_key(app, "k")).await;
            let applications = InstanceCache::default();
            let code = async || code_of(&world.verify_with(&applications, &held.token, &demand()).await);
            world.kv.plan(move |call| match call {
                Call::Get(key) if key.starts_with("a:") => Fault::SlowReply(read_takes_ms),
                _ => Fault::None,
            });
            assert_eq!(code().await, "VALID");
            world.heal();
            let what = if killed {
                Do::RevokeApplication(app, "leak")
            } else {
                Do::ChangeApplication(app, json!({"status": "suspended"}), None)
            };
            world.run(&what).await.expect("done");
            tokio::time::advance(Duration::from_millis(249 - read_takes_ms)).await;
            // Within the bound it may still pass; the wall clock has no say in it.
            world.clock.step_wall_ms(-86_400_000);
            world.kv.take_calls();
            assert_eq!(code().await, "VALID");
            assert_eq!(world.kv.take_calls().len(), 3, "the application is remembered");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(code().await, expected);
            assert_eq!(world.kv.take_calls().len(), 5, "the application is read again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_process_cannot_know_is_later_and_never_a_verdict() {
    // Sealed or minted under versions that the other process lacks.
    let cases = [
        ("records", rings(&[1, 2], &[1], &[1]), "ring-version-unknown"),
        ("peppers", rings(&[1], &[1], &[1, 2]), "ring-version-unknown"),
    ];
    for (name, newer, expected) in cases {
        let mut world = World::new(6).await;
        let older = std::mem::replace(&mut world.rings, newer);
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        assert_eq!(world.code(&held.token, &demand()).await, "VALID", "{name}");
        world.rings = older;
        assert_eq!(world.code(&held.token, &demand()).await, expected, "{name}");
    }
    // A record of a later format is later too.
    let world = World::new(6).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    for store_key in [names::key(held.id), names::application(app)] {
        let value = world.kv.values().remove(&store_key).expect("there");
        let mut later = value.clone();
        later[0] = 2;
        world.kv.tamper(&store_key, Some(later));
        assert_eq!(world.code(&held.token, &demand()).await, "ring-version-unknown");
        world.kv.tamper(&store_key, Some(value));
    }
    // An application sealed under a version that came later.
    let mut world = World::new(6).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let older = std::mem::replace(&mut world.rings, rings(&[1, 2], &[1], &[1]));
    world.run(&Do::ChangeApplication(app, json!({"contacts": []}), None)).await.expect("changed");
    world.rings = older;
    assert_eq!(world.code(&held.token, &demand()).await, "ring-version-unknown");
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_503() {
    let world = World::new(7).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    for silent in ["k:", "m:", "x:", "a:"] {
        world.kv.plan(move |call| match call {
            Call::Get(key) if key.starts_with(silent) => Fault::Before,
            _ => Fault::None,
        });
        let error = world.verify(&held.token, &demand()).await.err().expect("no verdict");
        assert_eq!((error.code, error.code.status()), (Code::StoreUnavailable, 503), "{silent}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_or_moved_is_denied() {
    let world = World::new(8).await;
    let app = world.application("shop").await;
    let (victim, thief) =
        (world.held(&new_key(app, "victim")).await, world.held(&new_key(app, "thief")).await);
    let values = world.kv.values();
    let damage: [(&str, String, Option<Vec<u8>>); 9] = [
        ("flag absent", names::flag(victim.id), None),
        ("record absent", names::key(victim.id), None),
        ("record empty", names::key(victim.id), Some(vec![1])),
        ("record flipped", names::key(victim.id), {
            let mut value = values[&names::key(victim.id)].clone();
            *value.last_mut().unwrap() ^= 1;
            Some(value)
        }),
        ("record of another key", names::key(victim.id), Some(values[&names::key(thief.id)].clone())),
        ("record of another kind", names::key(victim.id), Some(values[&names::application(app)].clone())),
        ("application absent", names::application(app), None),
        ("application cut", names::application(app), Some(values[&names::application(app)][..40].to_vec())),
        (
            "application of another",
            names::application(app),
            Some(values[&names::application(ApplicationId::KEYWARD)].clone()),
        ),
    ];
    for (name, store_key, value) in damage {
        world.kv.tamper(&store_key, value);
        assert_eq!(world.code(&victim.token, &demand()).await, "NOT_FOUND", "{name}");
        world.kv.tamper(&store_key, values.get(&store_key).cloned());
        assert_eq!(world.code(&victim.token, &demand()).await, "VALID", "{name}: mended");
    }
    // A flag that is not exactly the live one is dead, whatever it is.
    for flag in [&b""[..], b"L", b"ll", b"live", b"x", &[0]] {
        world.kv.tamper(&names::flag(victim.id), Some(flag.to_vec()));
        assert_eq!(world.code(&victim.token, &demand()).await, "REVOKED");
    }
    // The thief's own record under the victim's name opens for neither.
    world.kv.tamper(&names::flag(victim.id), values.get(&names::flag(victim.id)).cloned());
    world.kv.tamper(&names::key(victim.id), values.get(&names::key(thief.id)).cloned());
    let forged = token::render("kw", Environment::Live, victim.id.as_bytes(), 1, &[1; 32]);
    assert_eq!(world.code(&forged, &demand()).await, "NOT_FOUND");
    assert_eq!(world.code(&thief.token, &demand()).await, "VALID");
}
