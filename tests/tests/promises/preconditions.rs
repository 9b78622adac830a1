//! `If-Match`, on every PATCH of the API's document: a change is made for the revision that its caller saw, or for any; what cannot be
//! the tag of one revision is refused and said to be so.

use std::collections::BTreeSet;

use keyward_e2e::document::Document;
use keyward_e2e::{Keyward, Reply, Request, Value, json};

/// How each is called: its name in the document, the target of a fresh thing, a change of it.
fn changes(keyward: &Keyward) -> Vec<(&'static str, String, Value)> {
    let application = keyward.application("orders");
    let key = keyward.issue(&application, &["orders:read"]).id;
    let role =
        keyward.as_root(Request::post("/v1/roles", &json!({ "name": "clerks", "scopes": ["keys:read"] })));
    let role = role.expect(201).text_at("/id");
    let policy = keyward.policy("quarterly", &json!({}));
    vec![
        ("changeApplication", format!("/v1/applications/{application}"), json!({ "contacts": ["ops"] })),
        ("changeKey", format!("/v1/keys/{key}"), json!({ "disabled": false })),
        (
            "changeWebhook",
            format!("/v1/webhooks/{}", keyward.webhook(&application)),
            json!({ "description": "of the night shift" }),
        ),
        ("changeRole", format!("/v1/roles/{role}"), json!({ "scopes": ["keys:read"] })),
        (
            "changeCredential",
            format!("/v1/credentials/{}", keyward.credential(&application, "db")),
            json!({ "owner": "ops" }),
        ),
        ("changePolicy", format!("/v1/policies/{policy}"), json!({ "grace_s": 3600 })),
    ]
}

#[test]
fn a_change_is_for_the_revision_that_was_seen() {
    let keyward = Keyward::start();
    let changes = changes(&keyward);
    let operations = Document::of(&keyward).operations();
    let described = operations.iter().filter(|operation| operation.line.starts_with("PATCH "));
    let described: BTreeSet<&str> = described.map(|operation| operation.id.as_str()).collect();
    assert_eq!(changes.iter().map(|(name, ..)| *name).collect::<BTreeSet<_>>(), described);

    for (name, target, body) in changes {
        let change = |tags: &[&str]| {
            let request = Request::patch(&target, &body);
            keyward.as_root(tags.iter().fold(request, |request, tag| request.field("if-match", tag)))
        };
        let tag = |reply: &Reply| {
            let tag = reply.field("etag").unwrap_or_else(|| panic!("{name}: no ETag")).to_owned();
            assert_eq!(tag, format!("\"{}\"", reply.json()["revision"]), "{name}");
            tag
        };
        let seen = tag(&keyward.as_root(Request::get(&target)).expect(200));
        let changed = tag(&change(&[&seen]).expect(200));
        assert_ne!(changed, seen, "{name}");
        let stale = change(&[&seen]).expect(412);
        assert_eq!(stale.json()["code"], "revision-mismatch", "{name}");
        assert!(stale.text_at("/detail").contains("read it again"), "{name}");
        // A refusal writes the record as it is, with a revision of its own or none: what is current is what GET says.
        let current = tag(&keyward.as_root(Request::get(&target)).expect(200));
        let (weak, list) = (format!("W/{current}"), format!("{current}, {seen}"));
        for (tags, reason) in [
            (&[weak.as_str()][..], "is a weak tag"),
            (&[&list], "names several tags"),
            (&[&current, &seen], "stands more than once"),
            (&["7"], "is not valid"),
            (&["\"\""], "is not valid"),
            (&["\"x\""], "is not valid"),
            (&["\"+7\""], "is not valid"),
            (&["\"99999999999999999999\""], "is not valid"),
            (&[""], "is not valid"),
        ] {
            let refused = change(tags).expect(400).json();
            assert_eq!(refused["code"], "invalid-parameter", "{name} {tags:?}");
            assert_eq!(refused["errors"][0]["field"], "If-Match", "{name} {tags:?}");
            assert_eq!(refused["errors"][0]["reason"], reason, "{name} {tags:?}");
            let expected = refused["errors"][0]["expected"].as_str().unwrap();
            assert!(expected.contains("`ETag`"), "{name} {tags:?}: {expected}");
        }
        assert_eq!(tag(&keyward.as_root(Request::get(&target)).expect(200)), current, "{name}: unchanged");
        change(&["*"]).expect(200);
        change(&[]).expect(200);
        // And for what is not there, nothing is preferred to anything.
        let absent = format!("{}{}", &target[..target.len() - 22], "1".repeat(22));
        let request = Request::patch(&absent, &body).field("if-match", "*");
        keyward.as_root(request).expect(404);
    }
}
