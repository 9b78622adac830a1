//! Every change and every refusal of an admin leaves exactly one event that says who, from where, when; and no secret lies anywhere.

use crate::history::History;
use crate::world::{ADDRESS, AGENT, Do, SeededRng, World, new_key, perform, rings};
use keyward_domain::event::{Action, ActorKind, Outcome};
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, KeyId};
use keyward_records::{names, open};
use serde_json::json;

/// What, whether the admin without scopes does it, and the event: action, outcome, target.
type Row = (Do, bool, Action, Outcome, Option<ApplicationId>, Option<KeyId>);

#[tokio::test(start_paused = true)]
async fn each_call_leaves_exactly_one_event() {
    let world = World::new(110).await;
    let app = world.application("shop").await;
    world.application("taken").await;
    let held = world.held(&new_key(app, "held")).await;
    let other = world.held(&new_key(app, "other")).await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let (claimed, ticket) = world.issue(&new_key(app, "to claim")).await;
    let mut new = new_key(app, "tagged");
    new["tags"] = json!(["a"]);
    let (tagged, _) = world.issue(&new).await;
    let poor = world.admin(&["metrics:read".to_owned()]).await;
    let root = world.caller(&world.root).await.key();
    let absent = (ApplicationId::from_bytes([1; 16]), KeyId::from_bytes([1; 16]));
    let garbage = "kw_live_garbage".to_owned();
    let done = Outcome::Done;
    let refused = Outcome::Refused;
    let rows: Vec<Row> = vec![
        (
            Do::CreateApplication(json!({"name": "taken"})),
            false,
            Action::ApplicationCreated,
            refused,
            None,
            None,
        ),
        (Do::CreateApplication(json!({"name": ""})), false, Action::ApplicationCreated, refused, None, None),
        (Do::CreateApplication(json!({"name": "x"})), true, Action::ApplicationCreated, refused, None, None),
        (
            Do::ChangeApplication(app, json!({"contacts": ["c"]}), None),
            false,
            Action::ApplicationChanged,
            done,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({"name": "taken"}), None),
            false,
            Action::ApplicationChanged,
            refused,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({"name": "y"}), Some(99)),
            false,
            Action::ApplicationChanged,
            refused,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({}), None),
            false,
            Action::ApplicationChanged,
            refused,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(absent.0, json!({"name": "y"}), None),
            false,
            Action::ApplicationChanged,
            refused,
            Some(absent.0),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({"status": "suspended"}), None),
            false,
            Action::ApplicationSuspended,
            done,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({"status": "suspended"}), Some(99)),
            false,
            Action::ApplicationSuspended,
            refused,
            Some(app),
            None,
        ),
        // It is suspended already: no more than a change.
        (
            Do::ChangeApplication(app, json!({"status": "suspended"}), None),
            false,
            Action::ApplicationChanged,
            done,
            Some(app),
            None,
        ),
        (
            Do::ChangeApplication(app, json!({"status": "active"}), None),
            false,
            Action::ApplicationResumed,
            done,
            Some(app),
            None,
        ),
        (Do::Issue(new_key(absent.0, "x")), false, Action::KeyIssued, refused, Some(absent.0), None),
        (Do::Issue(new_key(app, "")), false, Action::KeyIssued, refused, Some(app), None),
        (Do::Issue(new_key(app, "x")), true, Action::KeyIssued, refused, Some(app), None),
        (
            Do::ChangeKey(held.id, json!({"name": "n"}), None),
            false,
            Action::KeyChanged,
            done,
            Some(app),
            Some(held.id),
        ),
        (
            Do::ChangeKey(held.id, json!({"name": "n"}), Some(99)),
            false,
            Action::KeyChanged,
            refused,
            Some(app),
            Some(held.id),
        ),
        (
            Do::ChangeKey(held.id, json!({"scopes": ["NO"]}), None),
            false,
            Action::KeyChanged,
            refused,
            Some(app),
            Some(held.id),
        ),
        (
            Do::ChangeKey(absent.1, json!({"name": "n"}), None),
            false,
            Action::KeyChanged,
            refused,
            None,
            Some(absent.1),
        ),
        (
            Do::ChangeKey(held.id, json!({"name": "n"}), None),
            true,
            Action::KeyChanged,
            refused,
            None,
            Some(held.id),
        ),
        (Do::Reissue(unclaimed), false, Action::ClaimReissued, done, Some(app), Some(unclaimed)),
        (Do::Reissue(held.id), false, Action::ClaimReissued, refused, Some(app), Some(held.id)),
        (Do::TakeClaim(ticket.clone()), false, Action::ClaimTaken, done, Some(app), Some(claimed)),
        (Do::TakeClaim(ticket), false, Action::ClaimReplayed, Outcome::Alarm, Some(app), Some(claimed)),
        (Do::Lookup(held.token.clone()), false, Action::KeyLookedUp, done, Some(app), Some(held.id)),
        (Do::Lookup(garbage), false, Action::KeyLookedUp, refused, None, None),
        (Do::Lookup(held.token.clone()), true, Action::KeyLookedUp, refused, None, None),
        (Do::RevokeKey(held.id, ""), false, Action::KeyRevoked, refused, Some(app), Some(held.id)),
        (Do::RevokeKey(held.id, "x"), true, Action::KeyRevoked, refused, None, Some(held.id)),
        (Do::RevokeKey(held.id, "why"), false, Action::KeyRevoked, done, Some(app), Some(held.id)),
        (
            Do::ChangeKey(held.id, json!({"name": "n"}), None),
            false,
            Action::KeyChanged,
            refused,
            Some(app),
            Some(held.id),
        ),
        (Do::Report(other.token), false, Action::KeyReported, done, Some(app), Some(other.id)),
        (Do::ReadKey(held.id), true, Action::KeyRead, refused, None, Some(held.id)),
        (Do::ListApplications, true, Action::ApplicationRead, refused, None, None),
        (Do::ListEvents(None), true, Action::AuditRead, refused, None, None),
        (Do::RevokeMany(json!({"tag": "a", "reason": "x"})), true, Action::KeyRevoked, refused, None, None),
        (Do::RevokeMany(json!({"reason": "x"})), false, Action::KeyRevoked, refused, None, None),
        (
            Do::RevokeMany(json!({"tag": "a", "reason": "x", "application": app})),
            false,
            Action::KeyRevoked,
            done,
            Some(app),
            Some(tagged),
        ),
        (Do::RotateMany(json!({"tag": "a", "reason": "x"})), true, Action::KeyRotated, refused, None, None),
        (Do::RotateMany(json!({"reason": "x"})), false, Action::KeyRotated, refused, None, None),
        (Do::ImportKeys(json!({"reason": "x", "keys": []})), true, Action::KeyImported, refused, None, None),
        (Do::ImportKeys(json!({"reason": "x", "keys": []})), false, Action::KeyImported, refused, None, None),
        (Do::Freeze("why"), true, Action::IssuingFrozen, refused, None, None),
        (Do::Freeze(""), false, Action::IssuingFrozen, refused, None, None),
        (Do::Freeze("why"), false, Action::IssuingFrozen, done, None, None),
        (Do::Issue(new_key(app, "x")), false, Action::KeyIssued, refused, Some(app), None),
        (Do::Reissue(unclaimed), false, Action::ClaimReissued, refused, Some(app), Some(unclaimed)),
        (Do::Thaw("why"), false, Action::IssuingThawed, done, None, None),
        (Do::ReadEmergency, true, Action::IssuingRead, refused, None, None),
        (Do::RevokeApplication(app, "why"), false, Action::ApplicationRevoked, done, Some(app), None),
        (
            Do::RevokeApplication(absent.0, "why"),
            false,
            Action::ApplicationRevoked,
            refused,
            Some(absent.0),
            None,
        ),
    ];
    for (what, by_poor, action, outcome, application, key) in rows {
        let caller = match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.holder(None),
            _ => world.caller(if by_poor { &poor.token } else { &world.root }).await,
        };
        let holder = matches!(what, Do::TakeClaim(_) | Do::Report(_));
        let before = world.events().await.len();
        tokio::time::advance(std::time::Duration::from_millis(10)).await;
        let result = perform(&world.service(), caller, &what).await;
        let events = world.events().await;
        assert_eq!(events.len(), before + 1, "{what:?}");
        let event = events.last().unwrap();
        assert_eq!((event.action, event.outcome), (action, outcome), "{what:?}");
        assert_eq!(event.target.application, application, "{what:?}");
        if key.is_some() || outcome == refused {
            assert_eq!(event.target.key, key, "{what:?}");
        }
        assert_eq!(event.source.client_addr.as_deref(), Some(ADDRESS), "{what:?}");
        assert_eq!(event.source.user_agent.as_deref(), Some(AGENT), "{what:?}");
        assert_eq!(event.at, world.clock.now(), "{what:?}");
        assert!(event.request.is_some());
        if holder {
            assert_eq!((event.actor.kind, event.actor.key), (ActorKind::Holder, None), "{what:?}");
        } else {
            let (who, principal) =
                if by_poor { (Some(poor.id), "someone@example.com") } else { (root, "ops@example.com") };
            assert_eq!((event.actor.kind, event.actor.key), (ActorKind::Admin, who), "{what:?}");
            assert_eq!(event.actor.principal.as_deref(), Some(principal), "{what:?}");
        }
        if let Err(error) = result
            && outcome == refused
        {
            assert_eq!(event.reason.as_deref(), Some(error.code.as_str()), "{what:?}");
        }
    }
    // A look that is allowed leaves none, and neither does a replay.
    world.run_once("once", &Do::CreateApplication(json!({"name": "once"}))).await.expect("created");
    let before = world.events().await.len();
    world.run(&Do::ReadApplication(app)).await.expect("read");
    world.run(&Do::ListKeys(app)).await.expect("list");
    world.run(&Do::ListEvents(None)).await.expect("list");
    assert!(
        world
            .run_once("once", &Do::CreateApplication(json!({"name": "once"})))
            .await
            .expect("again")
            .replayed
    );
    assert!(world.run(&Do::ReadKey(absent.1)).await.is_err());
    assert_eq!(world.events().await.len(), before);
}

#[tokio::test(start_paused = true)]
async fn an_event_names_the_one_before_it_on_the_same_key() {
    let world = World::new(111).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.run(&Do::ChangeKey(held.id, json!({"name": "a"}), None)).await.expect("changed");
    world.run(&Do::RevokeKey(held.id, "x")).await.expect("revoked");
    let of_key: Vec<_> = world.events().await.into_iter().filter(|e| e.target.key == Some(held.id)).collect();
    let [issued, claimed, changed, revoked] = of_key.as_slice() else { panic!("{}", of_key.len()) };
    assert_eq!(issued.previous, None);
    assert_eq!(claimed.previous, Some(issued.id));
    assert_eq!(changed.previous, Some(claimed.id));
    assert_eq!(revoked.previous, Some(changed.id));
}

#[tokio::test(start_paused = true)]
async fn anonymous_refusals_are_one_event_per_source_and_minute_and_a_flood_one_alarm() {
    let world = World::new(112).await;
    let before = world.events().await.len();
    for minute in [1, 2] {
        for source in ["198.51.100.1", "198.51.100.2"] {
            for _ in 0..20 {
                let request = world.request();
                world.service().record_anonymous(source, minute, 3, request).await.expect("counted");
            }
        }
    }
    let events = world.events().await.split_off(before);
    let told: Vec<_> =
        events.iter().map(|e| (e.action, e.outcome, e.source.client_addr.as_deref())).collect();
    let of = |source| {
        let refused = (Action::AnonymousRefused, Outcome::Refused, Some(source));
        [refused, (Action::AnonymousLockedOut, Outcome::Alarm, Some(source))]
    };
    assert_eq!(told[..4], [of("198.51.100.1"), of("198.51.100.2")].concat());
    assert_eq!(told[4..], told[..4], "and once more in the next minute");
    assert!(events.iter().all(|event| event.actor.kind == ActorKind::Anonymous));
    let counted = world.service().record_anonymous("198.51.100.3", 3, 20, world.request()).await;
    assert_eq!(counted, Ok(20));
    assert_eq!(world.events().await.last().map(|event| event.action), Some(Action::AnonymousRefused));
}

/// Every text that must be seen by its receiver alone.
fn secrets_of(text: &str) -> Vec<String> {
    // The whole, and its secret part: 43 characters before the check of 6.
    let part = text.len().checked_sub(49).and_then(|at| text.get(at..at + 43)).map(str::to_owned);
    std::iter::once(text.to_owned()).chain(part).collect()
}

#[tokio::test(start_paused = true)]
async fn no_secret_lies_in_the_store_the_log_or_an_error() {
    let mut world = World::new(113).await;
    let rng = SeededRng::new(113);
    let mut history = History::default();
    let mut secrets = secrets_of(&world.root);
    let mut errors = String::new();
    let app = world.application("shop").await;
    for n in 0..150 {
        let what = history.choose(&rng);
        let key = format!("idempotency-key-{n}-of-this-test");
        let ended = if rng.chance(50) { world.run_once(&key, &what).await } else { world.run(&what).await };
        if let Err(error) = &ended {
            errors.push_str(&format!("{error} {error:?}\n"));
        }
        secrets.push(key);
        for pointer in ["/token", "/renewal_token", "/claim/ticket"] {
            let found = ended.as_ref().ok().and_then(|reply| reply.json().pointer(pointer).cloned());
            if let Some(text) = found.and_then(|value| value.as_str().map(str::to_owned)) {
                secrets.extend(secrets_of(&text));
            }
        }
        history.note(&what, &Some(ended));
    }
    // Secrets where they do not belong, and a store that fails, in their errors.
    let token = world.held(&new_key(app, "k")).await.token;
    let (_, ticket) = world.issue(&new_key(app, "l")).await;
    secrets.extend(secrets_of(&token));
    secrets.extend(secrets_of(&ticket));
    let cut = token[..token.len() - 1].to_owned();
    for round in 0..3 {
        if round == 1 {
            world.kv.plan(|_| keyward_ledger::memory::Fault::Before);
        }
        if round == 2 {
            world.heal();
            world.rings = rings(&[2], &[1], &[2]);
        }
        for text in [&token, &ticket, &cut, &format!("{token}x")] {
            for what in [Do::TakeClaim(text.clone()), Do::Report(text.clone())] {
                match perform(&world.service(), world.holder(Some("idempotency-key-of-errors")), &what).await
                {
                    Ok(_) => {}
                    Err(error) => errors.push_str(&format!("{error} {error:?}\n")),
                }
            }
            if let Err(error) = world.verify(text, &Default::default()).await {
                errors.push_str(&format!("{error} {error:?}\n"));
            }
        }
    }
    world.rings = rings(&[1], &[1], &[1]);
    world.heal();
    world.ledger().integrate(64).await.expect("integrates");
    assert!(
        secrets.len() > 100 && errors.lines().count() > 20,
        "{} {}",
        secrets.len(),
        errors.lines().count()
    );

    let values = world.kv.values();
    let mut log = String::new();
    for event in world.events().await {
        log.push_str(&serde_json::to_string(&event).unwrap());
    }
    for secret in &secrets {
        assert!(!errors.contains(secret.as_str()), "in an error");
        assert!(!log.contains(secret.as_str()), "in an event");
        for (key, value) in &values {
            let clear = value.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!clear && !key.contains(secret.as_str()), "in {key}");
        }
    }
    // And in no record as it lies opened, but for outcomes, which only their Idempotency-Key opens.
    for (store_key, value) in &values {
        if let Some(hex) = store_key.strip_prefix("m:") {
            let key =
                open::<keyward_domain::key::Key>(&world.rings.records, store_key, value).expect("a key");
            assert_eq!(names::key(key.id), format!("m:{hex}"));
            let plain = serde_json::to_string(&key).unwrap();
            assert!(secrets.iter().all(|secret| !plain.contains(secret.as_str())), "in a key's record");
        }
        if store_key.starts_with("q:") {
            let claim = open::<keyward_domain::claim::Claim>(&world.rings.records, store_key, value)
                .expect("a claim");
            let plain = serde_json::to_string(&claim).unwrap();
            assert!(secrets.iter().all(|secret| !plain.contains(secret.as_str())), "in a claim");
        }
        if store_key.starts_with("z:") && !store_key.ends_with(".used") {
            let renewal = open::<keyward_domain::renewal::Renewal>(&world.rings.records, store_key, value)
                .expect("a renewal");
            let plain = serde_json::to_string(&renewal).unwrap();
            assert!(secrets.iter().all(|secret| !plain.contains(secret.as_str())), "in a renewal");
        }
    }
}
