//! `keyward audit verify` finds an honest log clean, whatever it went through, and names what was changed, dropped, reordered, rolled back
//! or made anew, over HTTP and in the store itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use keyward_e2e::admin::{Holder, Issued, claim, hex_of, new_key, revoke};
use keyward_e2e::store_copy::StoreCopy;
use keyward_e2e::{Connection, Keyward, Request, Setup, Value, eventually, json};

/// What a check came to.
struct Verdict {
    code: i32,
    report: Value,
    told: String,
}

impl Verdict {
    fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let told =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let report = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()["report"].take();
        Self { code: output.status.code().unwrap(), report, told }
    }

    #[track_caller]
    fn is_clean(&self, what: &str) {
        assert_eq!(self.code, 0, "{what}: {}", self.told);
    }

    #[track_caller]
    fn names(&self, what: &str, kind: &str, place: &str) {
        assert_eq!(self.code, 6, "{what}: {}", self.told);
        let findings = self.report["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| finding["kind"] == kind && finding["place"] == place);
        assert!(found, "{what}: {kind} at {place} is not in {}", self.told);
    }
}

/// A command that goes on until it is told to stop; killed when dropped, so that a test that fails leaves none behind.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Keyward that was used, and where what was seen of its log is kept.
struct Used {
    keyward: Keyward,
    application: String,
    dead: Holder,
    renamed: Holder,
    older_record: Vec<u8>,
}

impl Used {
    fn new(keyward: Keyward) -> Self {
        let application = keyward.application("orders");
        keyward.admin("auditor", &["audit:read"]);
        let dead = keyward.holder(&application, &["a:b"]);
        keyward.as_root(revoke(&dead.id)).expect(200);
        let renamed = keyward.holder(&application, &["a:b"]);
        let record = format!("m:{}", hex_of(&renamed.id));
        let older_record = keyward.stored(&record).unwrap_or_default();
        let rename = Request::patch(&format!("/v1/keys/{}", renamed.id), &json!({ "name": "renamed" }));
        keyward.as_root(rename).expect(200);
        keyward.as_root(Request::post("/v1/applications", &json!({ "name": "orders" }))).expect(409);
        keyward.send(claim(&keyward.issue(&application, &["c:d"]).ticket)).expect(200);
        // What is not integrated yet is not looked at in full.
        keyward.as_root(Request::get("/v1/audit/checkpoint")).expect(200);
        Self { keyward, application, dead, renamed, older_record }
    }

    fn over_http(&self, witness: &Path) -> Verdict {
        let mut command = self.keyward.command(&["--json", "audit", "verify", "--witness"]);
        command.arg(witness);
        Verdict::of(command)
    }

    fn in_store(&self, store: &Path, witness: &Path) -> Verdict {
        let mut command = self.keyward.command(&["--json", "audit", "verify", "--store"]);
        command.arg(store).arg("--variables").arg(self.keyward.state_dir().join("variables"));
        command.arg("--witness").arg(witness);
        Verdict::of(command)
    }

    fn in_state(&self, witness: &Path) -> Verdict {
        let mut command = self.keyward.command(&["--json", "audit", "verify", "--state-dir"]);
        command.arg(self.keyward.state_dir()).arg("--witness").arg(witness);
        let config = self.keyward.folder().join("runtime-config.toml");
        if config.exists() {
            command.arg("--runtime-config-file").arg(config);
        }
        Verdict::of(command)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.keyward.folder().join(name)
    }
}

#[test]
fn a_log_in_use_is_clean() {
    let used = Used::new(Keyward::start());
    let witness = used.file("witness.json");
    used.over_http(&witness).is_clean("at the first look");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&witness).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    used.over_http(&witness).is_clean("at the second");
    used.in_state(&witness).is_clean("in the store, while it is served");
    let copy = StoreCopy::of(&used.keyward.state_dir(), used.file("copy.db"));
    used.in_store(copy.path(), &witness).is_clean("in a copy");
    let seen: Value = serde_json::from_slice(&std::fs::read(&witness).unwrap()).unwrap();
    assert!(seen["epochs"][0]["note"].as_str().unwrap().contains(seen["origin"].as_str().unwrap()), "{seen}");

    // With the ring at hand the server is believed even less.
    let mut command = used.keyward.command(&["--json", "audit", "verify", "--variables"]);
    command.arg(used.keyward.state_dir().join("variables")).arg("--witness").arg(&witness);
    Verdict::of(command).is_clean("over HTTP, opened here");

    // Nobody answers, and nobody may ask: neither is "tampered".
    let nowhere = Verdict::of(used.keyward.command(&["audit", "verify", "--url", "http://127.0.0.1:9"]));
    assert_eq!(nowhere.code, 5, "{}", nowhere.told);
    let issuer = used.keyward.admin("issuer", &["keys:write"]);
    std::fs::write(used.file("issuer.key"), issuer.token).unwrap();
    let mut command = used.keyward.command(&["audit", "verify", "--key-file"]);
    let refused = Verdict::of({
        command.arg(used.file("issuer.key"));
        command
    });
    assert_eq!(refused.code, 3, "{}", refused.told);
}

/// What somebody with the file does to it, and what the check must say of it.
struct Case {
    what: &'static str,
    change: Box<dyn Fn(&StoreCopy)>,
    kind: &'static str,
    place: String,
}

fn case(what: &'static str, kind: &'static str, place: &str, change: impl Fn(&StoreCopy) + 'static) -> Case {
    Case { what, change: Box::new(change), kind, place: place.to_owned() }
}

#[test]
fn whatever_is_done_to_the_file_is_named() {
    let used = Used::new(Keyward::start());
    let yesterday = StoreCopy::of(&used.keyward.state_dir(), used.file("yesterday.db"));
    let yesterdays_head = {
        used.in_store(yesterday.path(), &used.file("yesterday.json")).is_clean("yesterday");
        yesterday.at("p:head")
    };
    used.keyward.holder(&used.application, &["a:b"]);
    used.keyward.holder(&used.application, &["a:b"]);
    let witness = used.file("witness.json");
    used.over_http(&witness).is_clean("before");
    let last = used.keyward.holes().last;
    let (flag, record) = (format!("k:{}", hex_of(&used.dead.id)), format!("m:{}", hex_of(&used.renamed.id)));
    let stray = format!("k:{}", "7".repeat(32));
    let older = used.older_record.clone();
    let (stray_key, flag_key, record_key) = (stray.clone(), flag.clone(), record.clone());
    let cases = [
        case("a byte flipped", "leaf", "evt_1_5", |copy| {
            let mut event = copy.at("e:1.5");
            event[30] ^= 1;
            copy.put("e:1.5", &event);
        }),
        case("a byte flipped", "event", "evt_1_5", |copy| {
            let mut event = copy.at("e:1.5");
            event[30] ^= 1;
            copy.put("e:1.5", &event);
        }),
        case("an event deleted", "gap", "evt_1_6", |copy| copy.delete(&["e:1.6"])),
        case("two swapped", "event", "evt_1_4", |copy| {
            let (one, other) = (copy.at("e:1.4"), copy.at("e:1.7"));
            copy.put("e:1.4", &other);
            copy.put("e:1.7", &one);
        }),
        case("the tail cut", "witness", "epoch 1", move |copy| {
            let cut = [format!("e:1.{last}"), format!("e:1.{}", last - 1)];
            copy.delete(&[&cut[0], &cut[1]]);
            copy.put("p:head", &yesterdays_head);
        }),
        case("the counter lowered", "counter", "epoch 1", move |copy| {
            copy.put("c:audit:1", &(last - 2).to_le_bytes());
        }),
        case("the record of a key put back to an older one", "state", &record, move |copy| {
            copy.put(&record_key, &older);
        }),
        case("a live flag over a tombstone", "state", &flag, move |copy| copy.put(&flag_key, b"l")),
        case("a key that nobody issued", "state", &stray, move |copy| copy.put(&stray_key, b"l")),
        case("a list cut", "projection", "p:apps", |copy| copy.delete(&["p:apps"])),
    ];
    for Case { what, change, kind, place } in &cases {
        let copy = StoreCopy::of(&used.keyward.state_dir(), used.file("changed.db"));
        change(&copy);
        used.in_store(copy.path(), &witness).names(what, kind, place);
    }
    let rolled_back = used.in_store(yesterday.path(), &witness);
    rolled_back.names("yesterday's file", "witness", "epoch 1");
    rolled_back.names("yesterday's file", "counter", "epoch 1");
    used.over_http(&witness)
        .is_clean("what lies there was not touched, and the witness not by a check that found something");
}

#[test]
fn what_is_done_under_a_server_is_named_over_http() {
    let used = Used::new(Keyward::start());
    let (keyward, witness) = (&used.keyward, used.file("witness.json"));
    used.over_http(&witness).is_clean("before");
    let (flag, record) = (format!("k:{}", hex_of(&used.dead.id)), format!("m:{}", hex_of(&used.renamed.id)));
    let changed = |key: &str, value: &[u8], kind: &str, place: &str| {
        let original = keyward.stored(key).unwrap();
        keyward.tamper(key, value);
        used.over_http(&witness).names(key, kind, place);
        keyward.tamper(key, &original);
    };
    let mut event = keyward.stored("e:1.5").unwrap();
    event[30] ^= 1;
    changed("e:1.5", &event, "leaf", "evt_1_5");
    changed("e:1.5", &event, "event", "evt_1_5");
    changed("e:1.4", &keyward.stored("e:1.7").unwrap(), "leaf", "evt_1_4");
    changed(&flag, b"l", "state", &flag);
    changed(&record, &used.older_record, "state", &record);
    changed("c:audit:1", &3_u64.to_le_bytes(), "counter", "epoch 1");
    used.over_http(&witness).is_clean("after");
}

#[test]
fn a_log_made_anew_under_the_right_keys_is_named() {
    let mut used = Used::new(Keyward::start());
    let yesterday = StoreCopy::of(&used.keyward.state_dir(), used.file("yesterday.db"));
    used.keyward.holder(&used.application, &["a:b"]);
    let witness = used.file("witness.json");
    used.over_http(&witness).is_clean("before");

    // Somebody puts yesterday's file back and writes another story over it, with the rings and the log's own keys.
    used.keyward.kill();
    let store = used.keyward.state_dir().join("sqlite_key_value.db");
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", store.display()));
    }
    std::fs::copy(yesterday.path(), &store).unwrap();
    used.keyward.restart_after_end();
    used.over_http(&witness).names("rolled back", "witness", "epoch 1");
    for _ in 0..3 {
        used.keyward.holder(&used.application, &["c:d"]);
    }
    used.over_http(&used.file("other.json")).is_clean("for who sees it for the first time");
    used.over_http(&witness).names("made anew, over HTTP", "witness", "epoch 1");
    used.in_state(&witness).names("made anew, in the store", "witness", "epoch 1");
}

/// Issues, claims and revokes on connections to these addresses, for as long as they last.
fn load(keyward: &Keyward, addresses: &[std::net::SocketAddr], application: &str, rounds: usize) {
    std::thread::scope(|scope| {
        for address in addresses.iter().cycle().take(4) {
            scope.spawn(move || {
                let mut connection = Connection::open(*address);
                for _ in 0..rounds {
                    let issue =
                        Request::post("/v1/keys", &new_key(application, &["a:b"])).bearer(keyward.root());
                    let Some(reply) = connection.try_exchange(&issue) else { return };
                    if reply.status != 201 {
                        continue;
                    }
                    let issued = Issued::of(&reply);
                    let Some(_) = connection.try_exchange(&claim(&issued.ticket)) else { return };
                    let Some(_) = connection.try_exchange(&revoke(&issued.id).bearer(keyward.root())) else {
                        return;
                    };
                }
            });
        }
    });
}

#[test]
fn a_log_is_clean_after_kills_under_load_and_while_it_is_written() {
    let mut used = Used::new(Keyward::start());
    let witness = used.file("witness.json");
    for round in 0..4 {
        std::thread::scope(|scope| {
            let (used, address) = (&used, used.keyward.address());
            scope.spawn(move || load(&used.keyward, &[address], &used.application, usize::MAX));
            std::thread::sleep(Duration::from_millis(200 + 60 * round));
            used.over_http(&witness).is_clean("while it is written, over HTTP");
            used.in_state(&witness).is_clean("while it is written, in the store");
            used.keyward.kill();
        });
        used.in_state(&witness).is_clean("killed");
        used.keyward.restart_after_end();
    }
    used.keyward.settle_log();
    used.over_http(&witness).is_clean("settled");
    used.in_state(&witness).is_clean("settled");
}

#[test]
fn a_log_is_clean_with_two_integrators_racing() {
    let used = Used::new(Setup::new().on_redis().start());
    let twin = used.keyward.twin();
    let witness = used.file("witness.json");
    let addresses = [used.keyward.address(), twin.address()];
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| load(&used.keyward, &addresses, &used.application, 30));
        for address in addresses {
            let used = &used;
            scope.spawn(move || {
                let list = Request::get("/v1/audit/events?limit=1").bearer(used.keyward.root());
                let mut connection = Connection::open(address);
                for _ in 0..200 {
                    // A machine at its limits may keep the store waiting: that is told, and no reason to stop.
                    let status = connection.exchange(&list).status;
                    assert!(matches!(status, 200 | 503), "{status}");
                }
            });
        }
        while !writing.is_finished() {
            used.in_state(&witness).is_clean("in the store, while two write and integrate");
        }
    });
    used.in_state(&witness).is_clean("afterwards");
    used.over_http(&witness).is_clean("afterwards");
}

#[test]
fn an_export_is_whole_and_a_tail_skips_nothing() {
    let used = Used::new(Keyward::start());
    let keyward = &used.keyward;
    let events = keyward.events("");
    let path = used.file("log.jsonl");
    let run = |arguments: &[&str]| {
        let output = keyward.command(arguments).current_dir(keyward.folder()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["audit", "export", "--output", "log.jsonl"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let exported: Vec<Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(exported.iter().eq(events.iter().rev()), "oldest first, and all of them");
    assert_eq!(run(&["audit", "export"]).lines().count(), events.len());
    let of_one = run(&["audit", "export", "--key", &used.dead.id, "--format", "csv"]);
    assert_eq!(of_one.lines().count(), 1 + 3, "{of_one}");

    let log = used.file("tail.jsonl");
    let mut follow = keyward.command(&["--json", "audit", "tail", "--follow", "--lines", "5"]);
    let tail = Background(follow.stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    let shown = || -> Vec<String> {
        let text = std::fs::read_to_string(&log).unwrap();
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        text.lines().map(id).collect()
    };
    eventually("the last five", || shown().len() == 5);
    for _ in 0..4 {
        keyward.holder(&used.application, &["a:b"]);
    }
    let after: Vec<String> =
        keyward.events("").iter().rev().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    let expected = &after[events.len() - 5..];
    eventually("what came", || shown() == expected);
    drop(tail);
}

#[test]
fn a_witness_keeps_and_serves_what_it_saw_and_takes_nothing_else() {
    let mut used = Used::new(Keyward::start());
    let yesterday = StoreCopy::of(&used.keyward.state_dir(), used.file("yesterday.db"));
    used.keyward.holder(&used.application, &["a:b"]);
    let seen = used.file("seen.json");
    let once = |used: &Used| {
        let mut command = used.keyward.command(&["audit", "witness", "--once", "--file"]);
        command.arg(&seen);
        command.output().unwrap()
    };
    assert!(once(&used).status.success());
    used.keyward.holder(&used.application, &["a:b"]);
    let looked = once(&used);
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    let kept = std::fs::read(&seen).unwrap();
    let (origin, size) = {
        let seen: Value = serde_json::from_slice(&kept).unwrap();
        (seen["origin"].as_str().unwrap().to_owned(), seen["epochs"][0]["size"].as_u64().unwrap())
    };
    assert_eq!(size, used.keyward.holes().last);

    // It serves, and a check asks it.
    let mut serving =
        used.keyward.command(&["--json", "audit", "witness", "--listen", "127.0.0.1:0", "--file"]);
    serving.arg(&seen).stdout(std::process::Stdio::piped());
    let mut serving = Background(serving.spawn().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(serving.0.stdout.take().unwrap()), &mut line)
        .unwrap();
    let url = serde_json::from_str::<Value>(&line).unwrap()["listening"].as_str().unwrap().to_owned();
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let asked = Connection::open(address)
        .exchange(&Request::get(&format!("/checkpoint?origin={origin}")))
        .expect(200);
    assert!(asked.text().starts_with(&format!("{origin}/1\n{size}\n")), "{}", asked.text());
    Connection::open(address).exchange(&Request::get("/checkpoint?origin=other")).expect(404);
    let ask = |used: &Used, file: &str| {
        let mut command =
            used.keyward.command(&["--json", "audit", "verify", "--witness-url", &url, "--witness"]);
        command.arg(used.file(file));
        Verdict::of(command)
    };
    ask(&used, "first.json").is_clean("with a witness elsewhere");

    let kept = std::fs::read(&seen).unwrap();
    used.keyward.kill();
    let store = used.keyward.state_dir().join("sqlite_key_value.db");
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", store.display()));
    }
    std::fs::copy(yesterday.path(), &store).unwrap();
    used.keyward.restart_after_end();
    ask(&used, "second.json").names("rolled back, for who never saw it", "witness", "epoch 1");
    for _ in 0..3 {
        used.keyward.holder(&used.application, &["c:d"]);
    }
    let refused = once(&used);
    assert_eq!(refused.status.code(), Some(6), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(std::fs::read(&seen).unwrap(), kept, "what was seen stays");
}
