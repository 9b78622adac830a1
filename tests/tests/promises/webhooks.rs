//! Webhooks over real HTTP: whoever listens verifies with Standard Webhooks' own library, in another language; what goes wrong at their
//! end is tried again as documented, kept as a dead letter, replayed; and nobody is sent into a private network.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward_domain::delivery::{ATTEMPTS_MAX, SCHEDULE_S};
use keyward_e2e::admin::KEYWARD_APPLICATION;
use keyward_e2e::dashboard::{Visitor, hidden};
use keyward_e2e::{Connection, Keyward, Request, Setup, Value, json, programs};

/// Whoever listens, in a process of their own.
struct Receiver {
    address: SocketAddr,
    /// Where it listens over TLS.
    tls_port: Option<u16>,
    child: Child,
}

impl Receiver {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// One that listens over TLS as well, with a file of key and certificate.
    fn start_with(pem: Option<&Path>) -> Self {
        let mut python = Command::new(programs::installed("python"));
        python.arg(programs::root().join("tests/python/webhook_receiver.py")).args(pem);
        let mut child = python.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse::<u16>().unwrap());
        let port = ports.next().expect("`cargo xtask test --only tools` installs standardwebhooks");
        Self { address: ([127, 0, 0, 1], port).into(), tls_port: ports.next(), child }
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/hook?from=keyward", self.address.port())
    }

    fn control(&self, request: &Request) -> Value {
        let reply = Connection::open(self.address).exchange(request).expect(200);
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    fn tell(&self, what: &Value) {
        self.control(&Request::post("/control", what));
    }

    /// What came since the last time.
    fn came(&self) -> Vec<Value> {
        self.control(&Request::get("/control")).as_array().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn allowing_private_targets() -> Setup {
    Setup::new().variable("webhook_private_targets", "true")
}

/// A webhook of an application, whose secret the receiver is told.
fn hook(keyward: &Keyward, application: &str, url: &str, receiver: &Receiver) -> String {
    let new = json!({ "application": application, "url": url, "events": ["*"] });
    let made = keyward.as_root(Request::post("/v1/webhooks", &new)).expect(201);
    receiver.tell(&json!({ "secret": made.text_at("/secret") }));
    made.text_at("/webhook/id")
}

fn run(keyward: &Keyward) -> Value {
    keyward.as_root(Request::post("/v1/delivery/run", &json!({}))).expect(200).json()
}

fn show(keyward: &Keyward, id: &str) -> Value {
    keyward.as_root(Request::get(&format!("/v1/webhooks/{id}"))).expect(200).json()
}

/// Moves the clocks to when the next attempt is due; how many seconds that were, if there is one.
fn wait_for_next(keyward: &Keyward, id: &str) -> Option<u64> {
    let at = show(keyward, id)["delivery"]["next_attempt_at"].as_str()?.to_owned();
    let at = u64::try_from(keyward_domain::Timestamp::parse(&at).unwrap().unix_ms()).unwrap();
    let wait_ms = (at + 1).saturating_sub(keyward.now_ms());
    keyward.advance_ms(wait_ms);
    Some(wait_ms / 1000)
}

fn kinds(came: &[Value]) -> Vec<String> {
    let kind = |came: &Value| {
        let body: Value = serde_json::from_str(came["body"].as_str().unwrap()).unwrap();
        body["type"].as_str().unwrap().to_owned()
    };
    came.iter().map(kind).collect()
}

#[test]
fn a_receiver_with_the_standards_own_library_accepts_all() {
    let (keyward, receiver) = (allowing_private_targets().start(), Receiver::start());
    let application = keyward.application("orders");
    let id = hook(&keyward, &application, &receiver.url("127.0.0.1"), &receiver);
    let holder = keyward.claim(&keyward.issue(&application, &["orders:read"]));
    keyward.as_root(keyward_e2e::admin::revoke(&holder.id)).expect(200);
    assert_eq!(run(&keyward)["delivered"], 3);
    let came = receiver.came();
    let mut heard = kinds(&came);
    heard.sort();
    assert_eq!(heard, ["key.claimed", "key.issued", "key.revoked"]);
    for came in &came {
        assert_eq!(
            (&came["verified"], &came["path"]),
            (&json!(true), &json!("/hook?from=keyward")),
            "{came}"
        );
        assert_eq!(came["headers"]["content-type"], "application/json");
        let text = came.to_string();
        for secret in [&holder.token, keyward.root()] {
            assert!(!text.contains(secret));
        }
    }

    // The secret before signs as well, so whoever listens changes over when they like.
    let rotated =
        keyward.as_root(Request::post(&format!("/v1/webhooks/{id}/rotate-secret"), &json!({}))).expect(200);
    keyward.issue(&application, &["orders:read"]);
    run(&keyward);
    receiver.tell(&json!({ "secret": rotated.text_at("/secret") }));
    keyward.issue(&application, &["orders:read"]);
    run(&keyward);
    let came = receiver.came();
    assert_eq!(came.len(), 2);
    assert!(came.iter().all(|came| came["verified"] == true), "{came:?}");

    let test = keyward.as_root(Request::post(&format!("/v1/webhooks/{id}/test"), &json!({}))).expect(200);
    assert_eq!((&test.json()["delivered"], &test.json()["status"]), (&json!(true), &json!(204)));
    assert_eq!(kinds(&receiver.came()), ["webhook.tested"]);
}

#[test]
fn what_goes_wrong_at_the_other_end_is_told_apart_and_tried_again() {
    let (keyward, receiver) = (allowing_private_targets().start(), Receiver::start());
    let application = keyward.application("orders");
    let id = hook(&keyward, &application, &receiver.url("127.0.0.1"), &receiver);
    keyward.issue(&application, &["orders:read"]);
    for (answer, fault, status) in [
        ("500", "status", json!(500)),
        ("reset", "connection", Value::Null),
        ("redirect", "status", json!(302)),
    ] {
        receiver.tell(&json!({ "answer": answer }));
        assert_eq!(run(&keyward)["failed"], 1, "{answer}");
        let failure = show(&keyward, &id)["delivery"]["last_failure"].clone();
        assert_eq!((&failure["fault"], &failure["status"]), (&json!(fault), &status), "{answer}");
        let came = receiver.came();
        assert_eq!(came.len(), 1, "a redirect is not followed: {came:?}");
        wait_for_next(&keyward, &id);
    }
    receiver.tell(&json!({ "answer": "hang" }));
    let started = Instant::now();
    assert_eq!(run(&keyward)["failed"], 1);
    assert!(started.elapsed() < Duration::from_secs(20), "an attempt is bounded in time");
    assert_eq!(show(&keyward, &id)["delivery"]["last_failure"]["fault"], "timeout");
    wait_for_next(&keyward, &id);
    // An answer as large as they like: nothing of it is read.
    receiver.tell(&json!({ "answer": "large" }));
    assert_eq!(run(&keyward)["delivered"], 1);
    let ids: Vec<Value> = receiver.came().iter().map(|came| came["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1], "under one id");
    assert_eq!(show(&keyward, &id)["delivery"]["circuit"], "closed");
}

#[test]
fn down_for_days_then_a_dead_letter_then_replayed() {
    let (keyward, receiver) = (allowing_private_targets().start(), Receiver::start());
    let application = keyward.application("orders");
    let id = hook(&keyward, &application, &receiver.url("127.0.0.1"), &receiver);
    receiver.tell(&json!({ "answer": "503" }));
    keyward.issue(&application, &["orders:read"]);
    let mut waits = Vec::new();
    loop {
        assert_eq!(run(&keyward)["failed"], 1, "after {waits:?}");
        match wait_for_next(&keyward, &id) {
            Some(wait_s) => waits.push(wait_s),
            None => break,
        }
    }
    assert_eq!(waits.len(), SCHEDULE_S.len());
    for (wait_s, planned_s) in waits.iter().zip(SCHEDULE_S) {
        let planned_s = u64::try_from(planned_s).unwrap();
        // Some of it has gone by when it is looked at; a tenth at most is added.
        let bounds = planned_s.saturating_sub(5)..=planned_s + planned_s / 10 + 1;
        assert!(bounds.contains(wait_s), "{waits:?}");
    }
    let letters = keyward.list("/v1/webhooks/dead-letters");
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["why"], &letters[0]["attempts"]), (&json!("exhausted"), &json!(ATTEMPTS_MAX)));
    assert_eq!(receiver.came().len(), ATTEMPTS_MAX as usize);

    receiver.tell(&json!({ "answer": "200" }));
    let replay = json!({ "message": letters[0]["message"] });
    keyward.as_root(Request::post(&format!("/v1/webhooks/{id}/replay"), &replay)).expect(200);
    assert_eq!(run(&keyward)["delivered"], 1);
    let came = receiver.came();
    assert_eq!((&came[0]["id"], &came[0]["signed"]), (&letters[0]["message"], &json!(true)));
    assert!(keyward.list("/v1/webhooks/dead-letters").is_empty());
}

#[test]
fn nobody_is_sent_into_a_private_network() {
    let receiver = Receiver::start();
    let by_default = Keyward::start();
    let port = receiver.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "0x7f000001",
        "2130706433",
        "127.1",
    ] {
        for scheme in ["http", "https"] {
            let new = json!({ "application": KEYWARD_APPLICATION, "url": format!("{scheme}://{host}:{port}/"), "events": ["*"] });
            let reply = by_default.as_root(Request::post("/v1/webhooks", &new)).expect(400);
            assert_eq!(reply.json()["errors"][0]["field"], "url", "{scheme}://{host}: {}", reply.text());
        }
    }
    // A name that leads there: the host looks once it is resolved, and connects to nothing.
    let keyward = allowing_private_targets().without_private_networks().start();
    let application = keyward.application("orders");
    let id = hook(&keyward, &application, &receiver.url("localhost"), &receiver);
    keyward.issue(&application, &["orders:read"]);
    assert_eq!(run(&keyward)["failed"], 1);
    assert_eq!(show(&keyward, &id)["delivery"]["last_failure"]["fault"], "private-target");
    assert!(receiver.came().is_empty());
}

#[test]
fn over_tls_whom_the_operator_trusts_is_told_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (authority, pem) = (folder.path().join("ca.pem"), folder.path().join("receiver.pem"));
    std::fs::write(&authority, made.cert.pem()).unwrap();
    std::fs::write(&pem, made.signing_key.serialize_pem() + &made.cert.pem()).unwrap();
    let receiver = Receiver::start_with(Some(&pem));
    let url = format!("https://localhost:{}/hook?from=keyward", receiver.tls_port.unwrap());
    let trusting = format!(
        "[[client_tls]]\ncomponent_ids = [\"delivery\"]\nhosts = [\"localhost\"]\nca_roots_file = \"{}\"\n",
        authority.display()
    );
    for (config, fault) in [("", Some("tls")), (trusting.as_str(), None)] {
        let keyward = allowing_private_targets().configured(config).start();
        let application = keyward.application("orders");
        let id = hook(&keyward, &application, &url, &receiver);
        keyward.issue(&application, &["orders:read"]);
        let done = run(&keyward);
        let came = receiver.came();
        let shown = show(&keyward, &id);
        match fault {
            Some(fault) => {
                assert_eq!(shown["delivery"]["last_failure"]["fault"], fault);
                assert!(came.is_empty(), "{came:?}");
            }
            None => {
                assert_eq!((&done["delivered"], &came[0]["verified"]), (&json!(1), &json!(true)), "{shown}");
            }
        }
    }
}

#[test]
fn an_endpoint_that_asks_to_wait_is_left_alone() {
    let (keyward, receiver) = (allowing_private_targets().start(), Receiver::start());
    let application = keyward.application("orders");
    let id = hook(&keyward, &application, &receiver.url("127.0.0.1"), &receiver);
    keyward.issue(&application, &["orders:read"]);
    receiver.tell(&json!({ "answer": "429", "retry_after": "1800" }));
    assert_eq!(run(&keyward)["failed"], 1);
    keyward.advance_ms(900_000);
    assert_eq!(run(&keyward)["failed"], 0, "half of it is not over");
    receiver.tell(&json!({ "answer": "204" }));
    let wait_s = wait_for_next(&keyward, &id).unwrap();
    assert!((850..=900).contains(&wait_s), "{wait_s} s");
    assert_eq!(run(&keyward)["delivered"], 1);
}

#[test]
fn keyward_up_delivers_without_anybody_asking() {
    let (keyward, receiver) = (allowing_private_targets().by_command().start(), Receiver::start());
    let application = keyward.application("orders");
    hook(&keyward, &application, &receiver.url("127.0.0.1"), &receiver);
    keyward.issue(&application, &["orders:read"]);
    let started = Instant::now();
    let came = loop {
        let came = receiver.came();
        if !came.is_empty() {
            break came;
        }
        assert!(started.elapsed() < Duration::from_secs(40), "nothing came");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(kinds(&came), ["key.issued"]);
    assert_eq!(came[0]["verified"], true);
    assert!(keyward.events("action=delivery.run").is_empty(), "it is nobody's deed");
}

/// The secret or link that a page shows once.
fn shown_once(page: &keyward_e2e::Reply) -> String {
    assert_eq!(page.field("cache-control"), Some("no-store"));
    let text = page.text();
    text.split("data-copy=\"").nth(1).expect("something to copy").split('"').next().unwrap().to_owned()
}

#[test]
fn from_the_dashboard_one_is_made_tested_edited_and_its_dead_letters_are_dealt_with() {
    let (keyward, receiver) = (allowing_private_targets().start(), Receiver::start());
    let application = keyward.application("orders");
    let mut visitor = Visitor::signed_in(&keyward, keyward.root());
    let new = "/dashboard/webhooks/new";
    let page = visitor.get(new).expect(200);
    let wrong = [("application", &*application), ("url", "ftp://example.com/")];
    let told = visitor.send(&page, new, &wrong).expect(400).text();
    assert!(told.contains("<code>url</code>") && told.contains("value=\"ftp://example.com/\""), "{told}");
    let url = receiver.url("127.0.0.1");
    let mut fields = hidden(&page, new);
    for (name, value) in [("application", &*application), ("url", &*url), ("events", "key.issued")] {
        fields.push((name.to_owned(), value.to_owned()));
    }
    let made = visitor.post(new, &fields).expect(200);
    let secret = shown_once(&made);
    assert_eq!(shown_once(&visitor.post(new, &fields).expect(200)), secret, "pressed twice, one is made");
    receiver.tell(&json!({ "secret": secret }));
    let listed = keyward.list("/v1/webhooks");
    assert_eq!((listed.len(), &listed[0]["events"]), (1, &json!(["key.issued"])));
    let id = listed[0]["id"].as_str().unwrap();
    let here = format!("/dashboard/webhooks/{id}");
    let mut act = |deed: &str, query: &str, fields: &[(&str, &str)]| {
        let page = visitor.get(&format!("{here}/{deed}{query}")).expect(200);
        visitor.send(&page, &format!("{here}/{deed}"), fields)
    };

    // These pages call nobody: the test waits for a run of delivery.
    act("test", "", &[]).expect(303);
    assert!(receiver.came().is_empty());
    assert_eq!(run(&keyward)["delivered"], 1);
    let came = receiver.came();
    assert_eq!(kinds(&came), ["webhook.tested"]);
    assert!(came.iter().all(|came| came["verified"] == true), "{came:?}");

    // What it is told of is as it was ticked.
    let edited =
        [("url", &*url), ("description", "pager"), ("events", "key.issued"), ("events", "key.revoked")];
    act("edit", "", &edited).expect(303);
    let webhook = show(&keyward, id);
    assert_eq!(
        (&webhook["description"], &webhook["events"]),
        (&json!("pager"), &json!(["key.issued", "key.revoked"]))
    );
    let wrong = act("edit", "", &[("url", "nowhere"), ("description", "pager"), ("events", "*")]).expect(400);
    assert!(wrong.text().contains("value=\"nowhere\""));

    // Another secret: both sign for a day.
    let fresh = shown_once(&act("secret", "", &[]).expect(200));
    assert_ne!(fresh, secret);
    receiver.tell(&json!({ "secret": fresh }));

    // What died is tried anew or dropped, one by one.
    for _ in 0..2 {
        keyward.issue(&application, &["orders:read"]);
    }
    act("disable", "", &[]).expect(303);
    run(&keyward);
    run(&keyward);
    let letters = keyward.list("/v1/webhooks/dead-letters");
    assert_eq!(letters.len(), 2);
    act("enable", "", &[]).expect(303);
    let message = |letter: &Value| letter["message"].as_str().unwrap().to_owned();
    act("replay", &format!("?message={}", message(&letters[0])), &[]).expect(303);
    assert_eq!(run(&keyward)["delivered"], 1);
    let came = receiver.came();
    assert!(came.iter().all(|came| came["verified"] == true), "{came:?}");
    assert_eq!(kinds(&came), ["key.issued"]);
    let left = keyward.list("/v1/webhooks/dead-letters");
    assert_eq!(left.iter().map(message).collect::<Vec<_>>(), [message(&letters[1])]);
    act("drop", &format!("?message={}", message(&letters[1])), &[("reason", "because")]).expect(303);
    assert!(keyward.list("/v1/webhooks/dead-letters").is_empty());
    act("drop", "?message=msg_1_1", &[("reason", "because")]).expect(404);
}
