//! After all that can be done with Keyward, no token, ticket, secret or ring key lies in its store's files, in its log, in an event,
//! or in any answer but the one that hands it over.

use std::path::Path;

use keyward_domain::token;
use keyward_e2e::admin::{Holder, Issued, authorize, claim, new_key, revoke};
use keyward_e2e::keyward::SECRET_VARIABLES;
use keyward_e2e::{Keyward, Reply, Request, Setup, json};

use crate::tokens::{mistyped, wrong_secret};

/// What people write and only Keyward's callers may read.
const PERSONAL: [&str; 3] = ["Marlowe & Daughters", "ops@marlowe.example", "the laptop was stolen in Ghent"];

#[test]
fn on_sqlite() {
    leaves_no_secret(&Keyward::start());
}

#[test]
fn on_redis() {
    leaves_no_secret(&Setup::new().on_redis().start());
}

/// Everything that can be done; the tickets and tokens that came of it.
fn tour(keyward: &Keyward) -> Vec<String> {
    let mut secrets = vec![keyward.root().to_owned()];
    let new = json!({ "name": PERSONAL[0], "contacts": [PERSONAL[1]], "prefix": "mrlw" });
    let application = keyward.as_root(Request::post("/v1/applications", &new)).expect(201).text_at("/id");
    let issue = |name: &str| {
        let request = Request::post("/v1/keys", &new_key(&application, &["orders:read"]));
        Issued::of(&keyward.as_root(request.field("idempotency-key", name)).expect(201))
    };
    let take = |issued: &Issued| {
        let reply = keyward.send(claim(&issued.ticket).field("idempotency-key", "once")).expect(200);
        keyward.send(claim(&issued.ticket).field("idempotency-key", "once")).expect(200);
        keyward.send(claim(&issued.ticket)).expect(410);
        Holder::of(&reply)
    };
    let keys: Vec<Holder> = ["one", "two", "three"]
        .map(|name| {
            let issued = issue(name);
            assert_eq!(issue(name).ticket, issued.ticket, "replayed");
            secrets.push(issued.ticket.clone());
            take(&issued)
        })
        .into();
    secrets.extend(keys.iter().map(|key| key.token.clone()));
    let open = issue("open");
    let again =
        keyward.as_root(Request::post(&format!("/v1/keys/{}/claims", open.id), &json!({}))).expect(201);
    secrets.extend([open.ticket.clone(), Issued::of(&again).ticket]);
    let admin = keyward.admin("operator", &["keys:verify", "keys:read"]);
    secrets.push(admin.token.clone());

    for key in &keys {
        keyward.send(authorize(&key.token, "?scope=orders:read")).expect(204);
        keyward.send(authorize(&key.token, "?scope=orders:write")).expect(403);
        keyward.send(Request::get("/v1/authorize").field("x-api-key", &key.token)).expect(204);
        keyward.send(authorize(&key.token, "").bearer(&key.token)).expect(400);
        keyward.send(Request::get(&format!("/v1/authorize?token={}", key.token))).expect(400);
        keyward.send(authorize(&wrong_secret(&key.token), "")).expect(401);
        keyward.send(Request::get("/v1/keys").bearer(&key.token)).expect(401);
        for wrong in [key.token.clone(), mistyped(&key.token), wrong_secret(&key.token)] {
            let body = json!({ "token": wrong });
            keyward.send(Request::post("/v1/keys/verify", &body).bearer(&admin.token)).expect(200);
            keyward.send(Request::post("/v1/keys/lookup", &body).bearer(&admin.token));
            // Where it does not belong: in a field's place, as a field's name, as an id, in a name that is refused.
            for misplaced in [
                json!({ "ticket": wrong }),
                json!({ wrong.clone(): "x" }),
                json!({ "token": { wrong.clone(): 1 } }),
                json!({ "application": wrong, "name": "", "environment": wrong, "scopes": [wrong] }),
                json!({ "reason": 17, "token": wrong }),
                json!(wrong),
            ] {
                for target in
                    ["/v1/claims", "/v1/keys", "/v1/keys/verify", "/v1/applications", "/v1/audit/events"]
                {
                    let reply = keyward.as_root(Request::post(target, &misplaced));
                    assert!((400..500).contains(&reply.status), "{target} {}", reply.text());
                }
            }
            keyward.as_root(Request::get(&format!("/v1/keys/{wrong}")));
            keyward.as_root(Request::get(&format!("/v1/audit/events?cursor={wrong}&actor={wrong}")));
            keyward.as_root(
                Request::get("/v1/applications").field("if-match", &wrong).field("idempotency-key", &wrong),
            );
        }
    }
    keyward
        .as_root(Request::patch(&format!("/v1/keys/{}", keys[0].id), &json!({ "disabled": true })))
        .expect(200);
    keyward.send(authorize(&keys[0].token, "")).expect(401);
    let reason = json!({ "reason": PERSONAL[2] });
    keyward.as_root(Request::post(&format!("/v1/keys/{}/revoke", keys[1].id), &reason)).expect(200);
    keyward.send(Request::post("/v1/revocations", &json!({ "token": keys[2].token }))).expect(200);
    keyward.as_root(Request::post(&format!("/v1/applications/{application}/revoke"), &reason)).expect(200);
    keyward.as_root(revoke(&open.id)).expect(200);

    // Faults make texts that nothing else makes.
    for rule in [
        json!([{ "op": "get", "effect": "fail_before" }]),
        json!([{ "op": "set_many", "effect": "fail_before" }]),
    ] {
        keyward.plan_faults(&rule);
        keyward.send(authorize(&keys[0].token, "")).status.checked_add(1).unwrap();
        keyward.as_root(Request::post("/v1/keys", &new_key(&application, &["a:b"]))).expect(503);
        keyward.withdraw_faults();
    }
    for target in [
        format!("/v1/applications/{application}"),
        format!("/v1/keys?application={application}"),
        format!("/v1/keys/{}", keys[0].id),
        format!("/v1/claims/{}", open.claim),
        "/claim".to_owned(),
        "/readyz".to_owned(),
    ] {
        keyward.as_root(Request::get(&target)).expect(200);
    }
    for arguments in [&["app", "list"][..], &["--json", "audit", "list"], &["key", "show", &keys[0].id]] {
        let output = keyward.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        holds_none(
            &format!("keyward {arguments:?}"),
            &text,
            &secrets.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>(),
        );
    }
    secrets
}

fn leaves_no_secret(keyward: &Keyward) {
    let secrets = tour(keyward);
    let events = keyward.events("");
    assert!(events.len() > 20);

    // Whole, and the secret alone: as text and as the bytes that it stands for.
    let mut needles: Vec<Vec<u8>> = Vec::new();
    for secret in &secrets {
        assert!(token::parse(secret).is_ok(), "a token or a ticket");
        let body = &secret[secret.len() - 73..];
        needles.extend([secret.clone().into_bytes(), body.as_bytes()[24..67].to_vec()]);
        needles.push(base62_bytes(&body[24..67]));
    }
    let mut ring_keys = Vec::new();
    for name in SECRET_VARIABLES {
        let path = keyward.state_dir().join("variables").join(format!("{name}.json"));
        let ring: keyward_e2e::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let key = ring["versions"][0]["key"].as_str().unwrap();
        use base64::Engine as _;
        ring_keys.push(key.as_bytes().to_vec());
        ring_keys.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key).unwrap());
    }
    needles.extend(ring_keys);

    for (line, reply) in keyward.seen() {
        let is_handed_over = matches!(
            (line.split('?').next().unwrap_or_default(), reply.status),
            ("POST /v1/keys", 201) | ("POST /v1/claims", 200)
        ) || (line.ends_with("/claims") && reply.status == 201);
        if !is_handed_over {
            holds_none(&line, &wire(&reply), &needles);
        }
    }
    for event in &events {
        holds_none("an event", event.to_string().as_bytes(), &needles);
    }
    holds_none("the log", keyward.log().as_bytes(), &needles);
    for word in PERSONAL {
        assert!(!keyward.log().contains(word), "the log tells what people wrote");
    }

    // What the disk holds: while it runs, and after a kill, when the last writes lie beside the database.
    let personal: Vec<Vec<u8>> = PERSONAL.iter().map(|word| word.as_bytes().to_vec()).collect();
    let scan = || {
        let folder =
            if keyward.redis().is_some() { keyward.folder().join("redis") } else { keyward.state_dir() };
        let mut files = 0;
        for_each_file(&folder, &mut |path, bytes| {
            let name = path.display().to_string();
            if name.ends_with("root.key") || name.contains("/variables") {
                return;
            }
            files += 1;
            holds_none(&name, bytes, &needles);
            holds_none(&name, bytes, &personal);
        });
        assert!(files > 0, "there is something to scan");
    };
    scan();
    keyward.kill();
    scan();
    assert!(contains(b"the root key", &[b"root".to_vec()]).is_some(), "the scan finds what is there");
}

fn wire(reply: &Reply) -> Vec<u8> {
    let mut bytes = reply.body.clone();
    for (name, value) in &reply.fields {
        bytes.extend_from_slice(format!("{name}: {value}\n").as_bytes());
    }
    bytes
}

fn contains(haystack: &[u8], needles: &[Vec<u8>]) -> Option<usize> {
    needles.iter().position(|needle| {
        // Eight bytes of it are found fast; the rest is compared.
        haystack.windows(needle.len()).any(|window| window == needle.as_slice())
    })
}

#[track_caller]
fn holds_none(place: &str, bytes: &[u8], needles: &[Vec<u8>]) {
    // Which one it is stays unsaid: this output is a log, too.
    assert!(contains(bytes, needles).is_none(), "{place} holds a secret");
}

/// 32 bytes out of 43 characters of `0-9A-Za-z`, most significant first.
fn base62_bytes(text: &str) -> Vec<u8> {
    let mut bytes = [0_u8; 32];
    for c in text.bytes() {
        let mut carry = u32::from(match c {
            b'0'..=b'9' => c - b'0',
            b'A'..=b'Z' => c - b'A' + 10,
            _ => c - b'a' + 36,
        });
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 62;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
    }
    bytes.to_vec()
}

fn for_each_file(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_file(&path, look);
        } else if let Ok(bytes) = std::fs::read(&path) {
            look(&path, &bytes);
        }
    }
}
