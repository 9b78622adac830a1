//! A key that renews itself refuses nobody who keeps to it, through a hundred rotations under load; and what an admin rotates is told
//! to the holder of the old version, request by request.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use keyward_domain::Timestamp;
use keyward_e2e::admin::{Holder, Issued, authorize, new_key};
use keyward_e2e::keyward::PUBLIC_URL;
use keyward_e2e::{Keyward, Reply, Request, Setup, eventually, json};

const DAY_MS: u64 = 24 * 3600 * 1000;
const CONNECTIONS: usize = 16;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);

/// Raises a flag when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn renew(token: &str) -> Request {
    Request::post("/v1/self/renew", &json!({ "renewal_token": token }))
}

/// A file that is swapped by renaming another into its place: the old or the new, whole.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// `keyward renew` at the time that the guests have.
fn renewed(keyward: &Keyward, probe: &str) -> serde_json::Value {
    let arguments =
        ["--json", "renew", "--token-file", "token", "--renewal-file", "renewal", "--probe", probe];
    let mut command = keyward.command_at_its_time(&arguments);
    let output = command.current_dir(keyward.folder()).env_remove("KEYWARD_KEY_FILE").output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(!stdout.contains("_live_") && !stderr.contains("_live_"), "it shows a token");
    serde_json::from_str(&stdout).expect("JSON")
}

#[test]
fn a_client_that_renews_itself_is_never_refused_through_a_hundred_rotations() {
    let keyward = Keyward::start();
    let holder = keyward.holder(&keyward.application("shop"), &["orders:read"]);
    let (token, renewal) = (keyward.folder().join("token"), keyward.folder().join("renewal"));
    std::fs::write(&token, &holder.token).unwrap();
    std::fs::write(&renewal, &holder.renewal).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640)).unwrap();
    let probe = format!("{}/v1/authorize", keyward.url());

    let over = AtomicBool::new(false);
    let rounds: Vec<AtomicU64> = (0..CONNECTIONS).map(|_| AtomicU64::new(0)).collect();
    let asked = AtomicU64::new(0);
    // Until every client has read its file anew, so that no clock leaps over a request that is under way.
    let settle = || {
        for round in &rounds {
            let begun = round.load(Ordering::SeqCst);
            while round.load(Ordering::SeqCst) < begun + 2 && !over.load(Ordering::SeqCst) {
                thread::sleep(PAUSE);
            }
        }
    };
    thread::scope(|scope| {
        for round in &rounds {
            scope.spawn(|| {
                let mut connection = keyward.connect();
                while !over.load(Ordering::SeqCst) {
                    let reply = connection.exchange(&authorize(&read(&token), "?scope=orders:read"));
                    if reply.status != 204 {
                        over.store(true, Ordering::SeqCst);
                        panic!("refused: {} {:?}", reply.status, reply.field("keyward-code"));
                    }
                    round.fetch_add(1, Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::Relaxed);
                    // Sixteen clients that never pause would leave the command no core.
                    thread::sleep(PAUSE);
                }
            });
        }
        // However this ends: the clients are not to go on for ever.
        let _end = Ends(&over);
        let mut old = holder.token.clone();
        assert_eq!(renewed(&keyward, &probe)["renewed"], false, "it is not due yet");
        for version in 2..=101 {
            // And a second, since the command is told its time in whole ones.
            keyward.advance_ms(90 * DAY_MS + 1_000);
            let told = renewed(&keyward, &probe);
            assert_eq!((&told["renewed"], &told["version"]), (&true.into(), &version.into()));
            settle();
            keyward.advance_ms(7 * DAY_MS);
            assert_eq!(keyward.authorizes(&old), 401, "the grace is over");
            settle();
            old = read(&token);
            if over.load(Ordering::SeqCst) {
                break;
            }
        }
    });
    eprintln!("{} requests through 100 rotations", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 1_000);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&token), mode(&renewal)), (0o640, 0o644), "whoever could read them still can");
    assert!(!keyward.folder().join("renewal.pending").exists());
    let alarms = keyward.events("action=renewal.replay");
    assert_eq!(alarms, Vec::<serde_json::Value>::new());
}

#[test]
fn the_holder_of_the_old_version_is_told_to_change_and_cut_off_to_the_second() {
    on(&Keyward::start());
    on(&Setup::new().on_redis().start());
}

fn on(keyward: &Keyward) {
    let application = keyward.application("shop");
    let mut new = new_key(&application, &["orders:read"]);
    new["expires_in_s"] = 3600.into();
    let holder = keyward.claim(&Issued::of(&keyward.as_root(Request::post("/v1/keys", &new)).expect(201)));
    let before = keyward.send(authorize(&holder.token, "")).expect(204);
    assert_eq!((before.field("keyward-key-version"), before.field("keyward-rotate-by")), (Some("1"), None));

    let asked = json!({ "reason": "due", "grace_s": 600 });
    let rotate = Request::post(&format!("/v1/keys/{}/rotate", holder.id), &asked);
    let offered = keyward.as_root(rotate.clone().field("idempotency-key", "once")).expect(201);
    let ticket = offered.text_at("/claim/ticket");
    assert_eq!(offered.text_at("/claim/url"), format!("{PUBLIC_URL}/claim#{ticket}"));
    let again = keyward.as_root(rotate.clone().field("idempotency-key", "once")).expect(201);
    assert_eq!((again.text(), again.field("idempotency-replayed")), (offered.text(), Some("true")));
    keyward.as_root(rotate).expect(409);
    assert_eq!(keyward.send(authorize(&holder.token, "")).expect(204).field("keyward-rotate-by"), None);

    keyward.advance_ms(60_000);
    let successor = keyward.claim(&Issued::of(&offered));
    let told = keyward.send(authorize(&holder.token, "")).expect(204);
    let end = Timestamp::parse(told.field("keyward-rotate-by").expect("until when")).expect("a time");
    let newest = keyward.send(authorize(&successor.token, "")).expect(204);
    assert_eq!((newest.field("keyward-key-version"), newest.field("keyward-rotate-by")), (Some("2"), None));
    let me = |token: &str| keyward.send(Request::get("/v1/self").bearer(token));
    let mine = me(&holder.token).expect(200).json();
    assert_eq!((&mine["version"], &mine["rotate_by"]), (&1.into(), &end.to_string().into()));
    assert_eq!(mine["rotation"], "overlapping");
    let checked = Request::post("/v1/keys/verify", &json!({ "token": holder.token }));
    assert_eq!(keyward.as_root(checked).expect(200).text_at("/key/rotate_by"), end.to_string());

    // The virtual clock runs beside the machine's: a second before the end, and at it.
    let left_ms = u64::try_from(end.unix_ms()).unwrap() - keyward.now_ms();
    assert!(left_ms <= 600_000 && left_ms > 590_000, "{left_ms}");
    keyward.advance_ms(left_ms - 1_000);
    assert_eq!(keyward.authorizes(&holder.token), 204);
    keyward.advance_ms(1_000);
    let refused = keyward.send(authorize(&holder.token, "")).expect(401);
    assert_eq!(refused.field("keyward-code"), Some("EXPIRED"));
    me(&holder.token).expect(401);
    assert_eq!(keyward.authorizes(&successor.token), 204);
    keyward.advance_ms(3_600_000);
    assert_eq!(keyward.authorizes(&successor.token), 401, "the hard end");
}

#[test]
fn an_incident_ends_both_versions_at_the_next_request() {
    let keyward = Keyward::start();
    let holder = keyward.holder(&keyward.application("shop"), &["orders:read"]);
    let successor = keyward.claim(&keyward.rotate(&holder.id, &json!({ "reason": "due" })));
    for token in [&holder.token, &successor.token] {
        assert_eq!(keyward.authorizes(token), 204);
    }
    let offered = keyward.rotate(&holder.id, &json!({ "reason": "leaked", "mode": "incident" }));
    for token in [&holder.token, &successor.token] {
        let refused = keyward.send(authorize(token, "")).expect(401);
        assert_eq!(refused.field("keyward-code"), Some("REVOKED"));
    }
    let gone = keyward.send(renew(&successor.renewal)).expect(410);
    assert_eq!(gone.json()["code"], "renewal-gone");
    let third = keyward.claim(&offered);
    assert_eq!(keyward.authorizes(&third.token), 204);
    let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", holder.id))).expect(200).json();
    let states: Vec<_> = shown["versions"].as_array().unwrap().iter().map(|v| v["state"].clone()).collect();
    assert_eq!(states, ["revoked", "revoked", "live"]);
}

#[test]
fn a_renewal_is_signed_like_a_claim_and_its_token_works_once() {
    let keyward = Keyward::start();
    let holder = keyward.holder(&keyward.application("shop"), &["orders:read"]);
    let once = |key: &str| keyward.send(renew(&holder.renewal).field("idempotency-key", key));
    let reply: Reply = once("mine").expect(200);
    for field in ["signature", "signature-input", "content-digest"] {
        assert!(reply.field(field).is_some(), "{field}");
    }
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(once("mine").expect(200).text(), reply.text(), "a lost answer is had again");
    let successor = Holder::of(&reply);
    let used = once("another").expect(410);
    assert_eq!(used.json()["code"], "renewal-used");
    let alarms = keyward.events("action=renewal.replay");
    assert_eq!((alarms.len(), &alarms[0]["outcome"]), (1, &"alarm".into()));
    for token in [&holder.token, &successor.token] {
        assert_eq!(keyward.authorizes(token), 204, "both stay until an admin decides");
    }
    keyward.advance_ms(8 * DAY_MS);
    keyward.send(renew(&successor.renewal)).expect(410);
    assert!(
        !keyward.send(Request::get("/v1/self").bearer(&successor.token)).expect(200).json()["self_renewal"]
            .as_bool()
            .unwrap()
    );
}

#[test]
fn what_is_due_is_offered_by_the_clock_without_anybody_asking() {
    let keyward = Setup::new().ticking().start();
    let holder = keyward.holder(&keyward.application("shop"), &["orders:read"]);
    // A minute at a time first, so that the walk has begun; then the days that nobody walked.
    for ms in [60_000, 60_000, 90 * DAY_MS, 120_000, 60_000] {
        keyward.advance_ms(ms);
        keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    }
    eventually("an offer", || !keyward.events(&format!("action=key.offer&key={}", holder.id)).is_empty());
    let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", holder.id))).expect(200).json();
    assert_eq!(shown["rotation"]["state"], "offered");
    keyward.advance_ms(60_000);
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    let offers = keyward.events(&format!("action=key.offer&key={}", holder.id));
    assert_eq!((offers.len(), &offers[0]["actor"]["kind"]), (1, &"system".into()), "once");
    let renewed = Holder::of(&keyward.send(renew(&holder.renewal)).expect(200));
    assert_eq!(keyward.authorizes(&renewed.token), 204);
}
