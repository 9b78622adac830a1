//! Credentials over real HTTP: what one holds is handed out signed, cached by nobody, to whoever may read it, and found nowhere else; a
//! service that waits for the next version is told of it, and one that is revoked while it waits is told nothing.

use std::time::{Duration, Instant};

use keyward_e2e::admin::{new_credential, revoke};
use keyward_e2e::{Keyward, Request, Setup, Value, json};

const CANARY: &str = "canary-71c2e5b0-never-to-be-seen";

fn read(token: &str, query: &str) -> Request {
    Request::get(&format!("/v1/credentials/value?{query}")).bearer(token)
}

fn write(keyward: &Keyward, id: &str, value: &str) {
    let body = json!({ "value": { "value": value } });
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/versions"), &body)).expect(201);
}

#[test]
fn an_answer_is_signed_and_tells_for_how_long_it_holds() {
    let keyward = Keyward::start();
    let application = keyward.application("shop");
    let id = keyward.credential(&application, "payments/db");
    let service = keyward.holder(&application, &["credentials:read@payments/*"]);
    let answer = keyward.send(read(&service.token, "name=payments/db")).expect(200);
    let value = answer.json();
    assert_eq!(value["value"], json!({ "value": "what it holds" }));
    assert_eq!((&value["id"], &value["version"], &value["kind"]), (&json!(id), &json!(1), &json!("opaque")));
    assert_eq!((&value["lease_s"], &value["outage_s"]), (&json!(300), &json!(3600)));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("etag"), Some("\"1\""));
    for field in ["content-digest", "signature-input", "signature"] {
        assert!(answer.field(field).is_some(), "{field}");
    }
    // What has not changed is not handed out again, and is no event.
    let events = keyward.events(&format!("credential={id}")).len();
    let same = || read(&service.token, "name=payments/db").field("if-none-match", "\"1\"");
    let unchanged = keyward.send(same()).expect(304);
    assert!(unchanged.body.is_empty());
    assert_eq!(keyward.events(&format!("credential={id}")).len(), events);
    write(&keyward, &id, "another");
    assert_eq!(keyward.send(same()).expect(200).text_at("/value/value"), "another");
    let first = keyward.send(read(&service.token, "name=payments/db&version=1")).expect(200);
    assert_eq!(first.text_at("/value/value"), "what it holds");
    // Each read is on record, with who and which.
    let reads = keyward.events(&format!("credential={id}&action=credential.read"));
    let of: Vec<_> = reads.iter().map(|event| (&event["actor"]["key"], &event["detail"][0])).collect();
    let (version_1, version_2, key) = (json!("version 1"), json!("version 2"), json!(service.id));
    assert_eq!(of, [(&key, &version_1), (&key, &version_2), (&key, &version_1)]);
    assert!(reads.iter().all(|event| event["actor"]["kind"] == "workload"));
    // What is asked wrongly is told so.
    for (query, status) in
        [("", 400), ("name=", 400), ("name=Payments", 400), ("name=payments/x", 404), ("name=orders", 404)]
    {
        keyward.send(read(&service.token, query)).expect(status);
    }
    keyward.send(read(keyward.root(), "name=payments/db")).expect(400);
    let named = format!("name=payments/db&application={application}");
    keyward.send(read(keyward.root(), &named)).expect(200);
}

#[test]
fn whoever_waits_is_told_of_the_next_version_unless_they_were_revoked() {
    let keyward = Setup::new().by_command().start();
    let application = keyward.application("shop");
    let id = keyward.credential(&application, "db");
    let services = [(); 2].map(|()| keyward.holder(&application, &["credentials:read@db"]));
    std::thread::scope(|scope| {
        let waiting = services.each_ref().map(|service| {
            let wait = read(&service.token, "name=db&wait_s=20").field("if-none-match", "\"1\"");
            let mut connection = keyward.connect();
            scope.spawn(move || {
                let begun = Instant::now();
                (connection.exchange(&wait), begun.elapsed())
            })
        });
        std::thread::sleep(Duration::from_secs(1));
        keyward.as_root(revoke(&services[1].id)).expect(200);
        write(&keyward, &id, "another");
        let [told, refused] = waiting.map(|thread| thread.join().unwrap());
        assert_eq!(told.0.expect(200).text_at("/value/value"), "another");
        assert!(told.1 < Duration::from_secs(10), "{:?}", told.1);
        assert_eq!(refused.0.expect(401).json()["code"], "unauthenticated");
    });
    keyward.send(read(&services[1].token, "name=db")).expect(401);
}

#[test]
fn what_one_holds_is_found_nowhere_else() {
    let keyward = Keyward::start();
    let application = keyward.application("shop");
    let mut new = new_credential(&application, "db");
    new["value"] = json!({ "value": CANARY });
    let created = keyward
        .as_root(Request::post("/v1/credentials", &new).field("idempotency-key", "once-and-again-1"))
        .expect(201);
    let id = created.text_at("/id");
    write(&keyward, &id, CANARY);
    // What goes wrong repeats nothing.
    let wrong: [(&str, Value, u16); 3] = [
        ("versions", json!({ "value": { "password": CANARY } }), 400),
        ("versions", json!({ "value": CANARY }), 400),
        ("versions", json!({ "value": { CANARY: "x" } }), 400),
    ];
    for (path, body, status) in wrong {
        let reply =
            keyward.as_root(Request::post(&format!("/v1/credentials/{id}/{path}"), &body)).expect(status);
        assert!(!reply.text().contains(CANARY), "{}", reply.text());
    }
    let mut holders = 0;
    for (line, reply) in keyward.seen() {
        let names_it = String::from_utf8_lossy(&reply.body).contains(CANARY);
        holders += usize::from(names_it && line.starts_with("GET /v1/credentials/"));
    }
    assert_eq!(holders, 0, "nobody has read it yet");
    keyward.as_root(Request::get(&format!("/v1/credentials/{id}/value"))).expect(200);
    for path in [format!("/v1/credentials/{id}"), "/v1/credentials".to_owned(), "/v1/audit/events".to_owned()]
    {
        assert!(!keyward.as_root(Request::get(&path)).expect(200).text().contains(CANARY), "{path}");
    }
    assert!(!keyward.log().contains(CANARY));
    for entry in
        std::fs::read_dir(keyward.state_dir()).unwrap().flatten().filter(|entry| entry.path().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{:?}", entry.path());
    }
}

#[test]
fn a_value_may_have_64_kib_and_not_a_byte_more() {
    let keyward = Keyward::start();
    let application = keyward.application("shop");
    let id = keyward.credential(&application, "bundle");
    // Six bytes of JSON for each of its own.
    let largest = "\u{1}".repeat(65_536);
    write(&keyward, &id, &largest);
    let read = keyward.as_root(Request::get(&format!("/v1/credentials/{id}/value"))).expect(200);
    assert_eq!(read.json()["value"]["value"].as_str(), Some(largest.as_str()));
    let too_long = json!({ "value": { "value": "x".repeat(65_537) } });
    let refused =
        keyward.as_root(Request::post(&format!("/v1/credentials/{id}/versions"), &too_long)).expect(400);
    assert_eq!(refused.json()["errors"][0]["field"], "value");
    let far_too_long = json!({ "value": { "value": "x".repeat(500_000) } });
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/versions"), &far_too_long)).expect(413);
}
