//! An emergency: all keys that one admin key issued die by one command, each with one event; and while issuing is frozen nobody issues,
//! however many try, while validation goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyward_e2e::admin::{Holder, Issued, authorize, claim, hex_of, new_key};
use keyward_e2e::{Connection, Keyward, Request, Setup, Value, json, load, pasted};

/// Keys that the stolen admin key issued.
const STOLEN: usize = 1_000;
const WRITERS: usize = 8;

/// So many keys, issued with this token over several connections, and claimed where that is asked.
fn issue_many(
    keyward: &Keyward,
    application: &str,
    token: &str,
    count: usize,
    claimed: bool,
) -> Vec<(Issued, String)> {
    let issued = load::on_connections(keyward.address(), WRITERS, |number, connection| {
        let share = count / WRITERS + usize::from(number < count % WRITERS);
        let one = |connection: &mut Connection| {
            let request = Request::post("/v1/keys", &new_key(application, &["orders:read"])).bearer(token);
            let issued = Issued::of(&connection.exchange(&request).expect(201));
            let token = match claimed {
                true => connection.exchange(&claim(&issued.ticket)).expect(200).text_at("/token"),
                false => String::new(),
            };
            (issued, token)
        };
        (0..share).map(|_| one(connection)).collect::<Vec<_>>()
    });
    issued.into_iter().flatten().collect()
}

/// `keyward --json emergency revoke --actor ...`, and the answers it printed, one a line.
fn revoke_by_command(keyward: &Keyward, actor: &str) -> (Output, Vec<Value>) {
    let arguments = ["--json", "emergency", "revoke", "--actor", actor, "--reason", "stolen", "--yes"];
    let output = keyward.command(&arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// How often each key died, by the log; every such event names the tombstone of its key and nothing else.
fn deaths(keyward: &Keyward) -> BTreeMap<String, usize> {
    let mut deaths = BTreeMap::new();
    for event in keyward.events("action=key.revoke") {
        let key = event["target"]["key"].as_str().unwrap().to_owned();
        let writes = event["writes"].as_array().unwrap();
        // The first of a call names the outcome that is kept for its Idempotency-Key as well.
        let records = writes.iter().map(|write| write["record"].as_str().unwrap());
        let state: Vec<&str> = records.filter(|record| !record.starts_with("y:")).collect();
        assert_eq!(state, [format!("k:{}", hex_of(&key))], "{event}");
        assert_eq!(event["reason"], "stolen", "{event}");
        *deaths.entry(key).or_default() += 1;
    }
    deaths
}

#[test]
fn a_thousand_keys_of_one_admin_die_by_one_command() {
    dies_by_one_command(&Keyward::start());
}

#[test]
fn a_thousand_keys_of_one_admin_die_by_one_command_on_redis() {
    dies_by_one_command(&Setup::new().on_redis().start());
}

fn dies_by_one_command(keyward: &Keyward) {
    let application = keyward.application("orders");
    let stolen = keyward.admin("stolen", &["keys:write"]);
    let spared: Vec<Holder> = (0..5).map(|_| keyward.holder(&application, &["orders:read"])).collect();
    let keys = issue_many(keyward, &application, &stolen.token, STOLEN, true);
    // Nobody has looked at a list since: a good part of the log is in no projection.
    let started = Instant::now();
    let (output, answers) = revoke_by_command(keyward, &stolen.id);
    let took = started.elapsed();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let revoked: Vec<&str> = answers
        .iter()
        .flat_map(|answer| answer["revoked"].as_array().unwrap())
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    let expected: BTreeSet<&str> = keys.iter().map(|(issued, _)| issued.id.as_str()).collect();
    assert_eq!(revoked.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(revoked.len(), STOLEN, "each once");

    let mut connection = keyward.connect();
    for (_, token) in &keys {
        let refused = connection.exchange(&authorize(token, ""));
        assert_eq!((refused.status, refused.field("keyward-code")), (401, Some("REVOKED")));
    }
    for holder in spared.iter().chain([&stolen]) {
        assert_eq!(connection.exchange(&authorize(&holder.token, "")).status, 204, "issued by somebody else");
    }
    let deaths = deaths(keyward);
    assert_eq!(deaths.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    assert!(deaths.values().all(|count| *count == 1), "exactly one event each");
    println!(
        "{} keys of one admin key: all refused, {} events, {} calls, {took:.1?}",
        revoked.len(),
        deaths.values().sum::<usize>(),
        answers.len()
    );

    let (again, answers) = revoke_by_command(keyward, &stolen.id);
    assert_eq!(again.status.code(), Some(0));
    let dead: u64 = answers.iter().map(|answer| answer["already_dead"].as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(dead).unwrap(), STOLEN, "and it is done");
}

#[test]
fn killed_half_way_it_is_taken_up_where_it_stopped() {
    let mut keyward = Keyward::start();
    let application = keyward.application("orders");
    let stolen = keyward.admin("stolen", &["keys:write"]);
    let keys = issue_many(&keyward, &application, &stolen.token, 600, false);
    let output = std::thread::scope(|scope| {
        let command = scope.spawn(|| revoke_by_command(&keyward, &stolen.id));
        let mut connection = keyward.connect();
        let one = "/v1/audit/events?action=key.revoke&limit=1";
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            let found = connection.exchange(&Request::get(one).bearer(keyward.root())).json();
            if !found["items"].as_array().unwrap().is_empty() {
                break;
            }
        }
        keyward.kill();
        command.join().unwrap().0
    });
    keyward.restart_after_end();
    let half = deaths(&keyward).len();
    let (again, _) = revoke_by_command(&keyward, &stolen.id);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
    let deaths = deaths(&keyward);
    assert_eq!(deaths.len(), keys.len());
    assert!(deaths.values().all(|count| *count == 1), "exactly one event each");
    println!("killed after {half} of {} (exit code {:?})", keys.len(), output.status.code());
}

#[test]
fn frozen_under_load_nobody_issues_and_validation_goes_on() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let admin = keyward.admin("busy", &["keys:write"]);
    let held = keyward.holder(&application, &["orders:read"]);
    let waiting = keyward.issue(&application, &["orders:read"]);
    let (frozen, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut issued, mut refused, mut validated, mut issued_after) = (0, 0, 0, 0);
    std::thread::scope(|scope| {
        let (keyward, frozen, over) = (&keyward, &frozen, &over);
        let (application, admin, held) = (&application, &admin, &held);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(move || {
                    let mut connection = keyward.connect();
                    let (mut issued, mut refused) = (0, 0);
                    while !over.load(Ordering::SeqCst) {
                        // Looked at before the request is sent: what was sent later may not issue.
                        let is_frozen = frozen.load(Ordering::SeqCst);
                        let request = Request::post("/v1/keys", &new_key(application, &["orders:read"]));
                        let reply = connection.exchange(&request.bearer(&admin.token));
                        match reply.status {
                            201 if is_frozen => panic!("issued after the freeze was answered"),
                            201 => issued += 1,
                            _ => {
                                assert_eq!(reply.expect(409).text_at("/code"), "issuing-frozen");
                                refused += 1;
                            }
                        }
                    }
                    (issued, refused)
                })
            })
            .collect();
        let validator = scope.spawn(move || {
            let (mut connection, mut count) = (keyward.connect(), 0);
            while !over.load(Ordering::SeqCst) {
                assert_eq!(connection.exchange(&authorize(&held.token, "")).status, 204);
                count += 1;
            }
            count
        });
        std::thread::sleep(Duration::from_millis(500));
        let freeze = Request::post("/v1/emergency/freeze", &json!({ "reason": "stolen" }));
        let state = keyward.as_root(freeze).expect(200).json();
        frozen.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::SeqCst);
        for writer in writers {
            let (did, did_not) = writer.join().unwrap();
            (issued, refused) = (issued + did, refused + did_not);
        }
        validated = validator.join().unwrap();
        let after = keyward.list(&format!(
            "/v1/audit/events?action=key.issue&limit=100&since={}",
            state["issuing"]["at"].as_str().unwrap()
        ));
        let of = |event: &&Value| {
            event["outcome"] == "done" && seq(&event["id"]) > seq(&state["issuing"]["event"])
        };
        issued_after = after.iter().filter(of).count();
    });
    assert!(
        issued > 0 && refused > 0 && validated > 0,
        "{issued} issued, {refused} refused, {validated} validated"
    );
    assert!(issued_after <= WRITERS, "{issued_after} were under way, at most one of each writer");
    println!(
        "{issued} issued, {issued_after} of them under way as it froze, {refused} refused, {validated} validations"
    );

    let refused = keyward.send(claim(&waiting.ticket)).expect(409);
    assert_eq!(refused.text_at("/code"), "issuing-frozen");
    let thaw = Request::post("/v1/emergency/thaw", &json!({ "reason": "found" }));
    keyward.as_root(thaw).expect(200);
    assert_eq!(keyward.authorizes(&keyward.claim(&waiting).token), 204, "the claim waited");
}

fn seq(id: &Value) -> u64 {
    id.as_str().unwrap().rsplit_once('_').unwrap().1.parse().unwrap()
}

#[test]
fn the_page_for_it_works_as_pasted() {
    let keyward = Setup::new().by_command().start();
    let application = keyward.application("orders");
    let found = keyward.holder(&application, &["orders:read"]);
    std::fs::write(keyward.folder().join("found.txt"), &found.token).unwrap();
    let stolen = keyward.admin("deploy", &["keys:write"]);
    let issued = issue_many(&keyward, &application, &stolen.token, 10, true);
    let partners = pasted::fences("docs/emergency.md", "A key of a partner").concat();
    let (shown, _) = pasted::run(&keyward, &format!("KEY={}\n{partners}", found.id));
    assert!(shown.contains(&found.id), "{shown}");
    let administrators = pasted::fences("docs/emergency.md", "A key of an administrator").concat();
    let (shown, told) = pasted::run(&keyward, &format!("STOLEN={}\n{administrators}", stolen.id));
    assert!(told.contains("10 keys would be revoked") && told.contains("10 keys revoked"), "{told}");
    for token in issued.iter().map(|(_, token)| token).chain([&found.token, &stolen.token]) {
        assert_eq!(keyward.authorizes(token), 401);
    }
    for (issued, _) in &issued {
        assert!(shown.contains(&issued.id), "{shown}");
    }
    keyward.issue(&application, &["orders:read"]);
}
