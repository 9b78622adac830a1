//! The report on credentials says how they stand, whom nobody owns and what nobody reads, to the second and for whom they may be seen.

use crate::world::{Do, Reply, World, new_key};
use keyward_domain::{ApplicationId, Code, CredentialId};
use serde_json::{Value, json};
use std::time::Duration;

const DAY_S: u64 = 24 * 3600;

async fn days(days: u64) {
    tokio::time::advance(Duration::from_secs(days * DAY_S)).await;
}

async fn credential(world: &World, application: ApplicationId, name: &str, more: Value) -> CredentialId {
    let mut new =
        json!({"application": application, "name": name, "kind": "opaque", "value": {"value": "x"}});
    new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.run(&Do::CreateCredential(new)).await.expect("created").at("/id").parse().expect("an id")
}

async fn report(world: &World, limit: usize, cursor: Option<String>) -> Reply {
    world.run(&Do::CredentialReport(None, limit, cursor)).await.expect("a report")
}

#[tokio::test(start_paused = true)]
async fn every_figure_is_what_comes_out_by_hand() {
    let world = World::new(930).await;
    let policy = world.policy(&json!({"rotate_every_s": 10 * DAY_S, "grace_s": 0})).await;
    let new = json!({"name": "shop", "contacts": ["ops@shop.example"], "policy": policy});
    let shop: ApplicationId =
        world.run(&Do::CreateApplication(new)).await.expect("shop").at("/id").parse().unwrap();
    let other = world.application("other").await;
    let first = world.read().details(shop).await.expect("read").expect("shop").created_at;
    let late = credential(&world, shop, "late", json!({"owner": "Ada"})).await;
    let gone = credential(&world, shop, "gone", json!({})).await;
    world.run(&Do::RetireCredential(gone, "x")).await.expect("retired");
    days(11).await;
    let read = credential(&world, shop, "read", json!({"owner": "Ada"})).await;
    let mut service = new_key(shop, "service");
    service["scopes"] = json!(["credentials:read@read"]);
    let service = world.held(&service).await;
    world.run_as_workload(&service.token, &Do::ReadCredential(read, None)).await.expect("read");
    let in_days = |days: u64| first.plus_s(i64::try_from((11 + days) * DAY_S).unwrap()).to_string();
    let soon =
        json!({"kind": "basic", "value": {"username": "u", "password": "p"}, "expires_at": in_days(29)});
    credential(&world, other, "soon", soon).await;
    credential(&world, other, "over", json!({"expires_at": first.to_string()})).await;
    credential(&world, other, "later", json!({"expires_at": in_days(31)})).await;

    let whole = report(&world, 100, None).await.json();
    let totals = &whole["totals"];
    assert_eq!(
        totals["states"],
        json!({"active": 2, "expiring": 1, "overdue": 1, "expired": 1, "retired": 1})
    );
    assert_eq!(
        totals["kinds"],
        json!({"api-key": 0, "basic": 1, "oauth-client": 0, "certificate": 0, "opaque": 4})
    );
    assert_eq!((&totals["without_owner"], &totals["never_read"]), (&json!(3), &json!(4)));
    let shown = async |id| world.run(&Do::ShowCredential(id)).await.expect("shown").json();
    assert_eq!(totals["oldest_written_at"], shown(late).await["versions"][0]["written_at"]);
    let read_at =
        world.events().await.into_iter().rev().find(|event| event.action.as_str() == "credential.read");
    assert_eq!(totals["last_read_at"], read_at.expect("an event").at.to_string());
    let attention: Vec<_> = whole["attention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| (seen["name"].as_str().unwrap(), seen["state"].as_str().unwrap()))
        .collect();
    assert_eq!(attention, [("over", "expired"), ("soon", "expiring"), ("late", "overdue")], "newest first");
    let overdue = &whole["attention"][2];
    assert_eq!(
        (&overdue["owner"], &overdue["application"]["contacts"]),
        (&json!("Ada"), &json!(["ops@shop.example"]))
    );
    assert_eq!(overdue["at"], shown(late).await["rotation_due_at"]);

    // Pages add up.
    let (mut cursor, mut examined, mut never_read) = (None, 0, 0);
    loop {
        let page = report(&world, 2, cursor).await.json();
        examined += page["examined"].as_u64().unwrap();
        never_read += page["totals"]["never_read"].as_u64().unwrap();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((examined, never_read), (6, 4));
    let of_other = world.run(&Do::CredentialReport(Some(other), 100, None)).await.expect("a report").json();
    assert_eq!(
        (&of_other["examined"], &of_other["applications"][0]["application"]["name"]),
        (&json!(3), &json!("other"))
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_sees_some_names_is_told_of_those() {
    let world = World::new(931).await;
    let app = world.application("shop").await;
    credential(&world, app, "payments/db", json!({})).await;
    credential(&world, app, "other", json!({})).await;
    let scopes =
        |scopes: &[&str]| -> Vec<String> { scopes.iter().map(|scope| (*scope).to_owned()).collect() };
    let narrow = world.admin(&scopes(&["audit:read", "credentials:list@payments/*"])).await;
    let what = Do::CredentialReport(None, 100, None);
    let seen = world.run_as(&narrow.token, &what).await.expect("a report").json();
    assert_eq!((&seen["examined"], &seen["totals"]["states"]["active"]), (&json!(1), &json!(1)));
    for poor in [&["audit:read"][..], &["credentials:list"]] {
        let poor = world.admin(&scopes(poor)).await;
        let refused = world.run_as(&poor.token, &what).await.map_err(|error| error.code).err();
        assert_eq!(refused, Some(Code::InsufficientScope));
    }
}
