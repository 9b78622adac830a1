//! Keys are found by their tags: each once, as long as it has the tag, wherever the projections stand; and no store key tells a tag.

use crate::world::{Do, World, new_key, perform};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::{Call, Fault};
use keyward_service::{Attempt, Body, KeyFilter, Page};
use serde_json::{Value, json};

fn tagged(app: ApplicationId, name: &str, tags: &[&str]) -> Value {
    let mut new = new_key(app, name);
    new["tags"] = json!(tags);
    new
}

fn with(app: ApplicationId, tag: &str) -> KeyFilter<'_> {
    KeyFilter { application: Some(app), tag: Some(tag), ..KeyFilter::default() }
}

async fn listed(world: &World, app: ApplicationId, tag: &str, limit: &str) -> Vec<String> {
    let attempt = Attempt::to_read(world.caller(&world.root).await, Action::KeyRead, Target::default());
    let (mut ids, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = Page::parse(Some(limit), cursor.as_deref()).expect("a page");
        let found = world.service().keys(&attempt, &with(app, tag), &page).await.expect("a list");
        let found: Value = serde_json::from_str(found.to_json().expose()).unwrap();
        ids.extend(
            found["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match found["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return ids,
        }
    }
}

async fn retag(world: &World, id: KeyId, tags: &[&str]) {
    world.run(&Do::ChangeKey(id, json!({ "tags": tags }), None)).await.expect("changed");
}

#[tokio::test(start_paused = true)]
async fn each_key_once_as_long_as_it_has_the_tag() {
    let never_integrated = |call: &Call| match call {
        Call::Increment(key) if key.starts_with("c:tree") => Fault::Before,
        _ => Fault::None,
    };
    for integrated in [true, false] {
        let world = World::new(140).await;
        let (app, other) = (world.application("shop").await, world.application("other").await);
        if !integrated {
            world.kv.plan(never_integrated);
        }
        let (first, _) = world.issue(&tagged(app, "a", &["ACME", "eu"])).await;
        let (elsewhere, _) = world.issue(&tagged(other, "b", &["acme"])).await;
        let (second, _) = world.issue(&tagged(app, "c", &["eu"])).await;
        let (third, _) = world.issue(&tagged(app, "d", &["acme"])).await;
        if integrated {
            world.ledger().integrate(64).await.expect("integrates");
        }
        let found = async |tag: &str| listed(&world, app, tag, "1").await;
        let texts = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found(" Acme\n").await, texts(&[third, first]), "in any spelling");
        assert_eq!(listed(&world, other, "acme", "50").await, texts(&[elsewhere]));

        retag(&world, first, &["eu"]).await;
        retag(&world, second, &["eu", "acme"]).await;
        assert_eq!(found("acme").await, texts(&[second, third]), "taken from one, given to another");
        for _ in 0..3 {
            retag(&world, first, &["acme"]).await;
            retag(&world, first, &[]).await;
        }
        // Of two edits of the same revision one is refused in its turn, and writes the record all the same.
        let seen = world.read().key(first).await.unwrap().unwrap().revision;
        let rename = Do::ChangeKey(first, json!({ "name": "renamed" }), Some(seen));
        world.kv.plan(move |call| match never_integrated(call) {
            _ if integrated && !crate::world::is_batch(call) => Fault::None,
            Fault::None if crate::world::is_batch(call) => Fault::Slow(5),
            fault => fault,
        });
        let (one, two) = futures::future::join(world.run(&rename), world.run(&rename)).await;
        assert!(one.is_ok() && two.is_err_and(|error| error.code == Code::RevisionMismatch));
        assert_eq!(world.read().key(first).await.unwrap().unwrap().revision, seen + 2);
        retag(&world, first, &["acme"]).await;
        let mut again = found("acme").await;
        again.sort();
        let mut expected = texts(&[first, second, third]);
        expected.sort();
        assert_eq!(again, expected, "given back, it is there once");
        assert_eq!(found("eu").await, texts(&[second]));
        assert_eq!(found("nobody's").await, texts(&[]));
        assert_eq!(world.run(&Do::ReadKey(first)).await.expect("a key").json()["tags"], json!(["acme"]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_tag_is_refused_with_the_field_that_it_is_in() {
    let world = World::new(141).await;
    let app = world.application("shop").await;
    let error = world.run(&Do::Issue(tagged(app, "a", &["x", "X"]))).await.expect_err("twice");
    assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, "tags[1]"));
    let (id, _) = world.issue(&new_key(app, "a")).await;
    let error = world.run(&Do::ChangeKey(id, json!({"tags": [" "]}), None)).await.expect_err("empty");
    assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, "tags[0]"));
    let attempt = Attempt::to_read(world.caller(&world.root).await, Action::KeyRead, Target::default());
    let page = Page::parse(None, None).unwrap();
    let error = world.service().keys(&attempt, &with(app, ""), &page).await.err().expect("empty");
    assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidParameter, "tag"));
}

#[tokio::test(start_paused = true)]
async fn giving_a_tag_costs_what_every_edit_costs_and_no_store_key_tells_it() {
    let world = World::new(142).await;
    let app = world.application("shop").await;
    let (id, _) = world.issue(&tagged(app, "a", &["zebra"])).await;
    let caller = world.caller(&world.root).await;
    world.kv.take_calls();
    let change = Do::ChangeKey(id, json!({"tags": ["okapi"]}), None);
    perform(&world.service(), caller, &change).await.expect("changed");
    assert_eq!(crate::world::writes(&world.kv.take_calls()), (2, 1));
    world.ledger().integrate(64).await.expect("integrates");
    for store_key in world.kv.values().keys() {
        assert!(!store_key.contains("zebra") && !store_key.contains("okapi"), "{store_key}");
    }
}
