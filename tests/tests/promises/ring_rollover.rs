//! Rings roll over under load: two processes on one store are started anew one after the other, from the version that only opens to
//! the one that is gone, and no valid key is told 401 or 503 on the way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use keyward_e2e::admin::{Holder, Issued, authorize, claim, new_key};
use keyward_e2e::{Connection, Keyward, Reply, Request, Setup, Value, json};

/// Keys that the load validates.
const KEYS: usize = 24;
/// Connections that validate, and that issue and claim.
const VALIDATORS: usize = 3;
const ISSUERS: usize = 1;
/// How long a request may look for a host that answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the load runs between two changes.
const SETTLE: Duration = Duration::from_millis(300);

/// Where the hosts listen at the moment, and what came of the load.
struct Gateway {
    hosts: RwLock<[SocketAddr; 2]>,
    is_over: AtomicBool,
    validated: AtomicUsize,
    issued: AtomicUsize,
    switched: AtomicUsize,
    refused: Mutex<Vec<String>>,
}

impl Gateway {
    /// Sends as a gateway does: the other host where one does not answer. Only what is sure not to have been carried out, or may be
    /// carried out twice, is sent again.
    fn exchange(&self, from: usize, connection: &mut Option<Connection>, request: &Request) -> Reply {
        let started = Instant::now();
        for attempt in from.. {
            let open = || Connection::try_open(self.hosts.read().unwrap()[attempt % 2]);
            if let Some(mut open) = connection.take().or_else(open)
                && let Some(reply) = open.try_exchange(request)
            {
                *connection = Some(open);
                return reply;
            }
            assert!(started.elapsed() < PATIENCE, "nobody answers {}", request.line());
            self.switched.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
        unreachable!("attempts never end")
    }

    fn expect(&self, what: &str, reply: &Reply, statuses: &[u16]) -> bool {
        let is_fine = statuses.contains(&reply.status);
        if !is_fine {
            self.refused.lock().unwrap().push(format!("{what}: {} {}", reply.status, reply.text()));
        }
        is_fine
    }
}

/// The `keyward` command on the state of these hosts, as root.
fn keyward(host: &Keyward, arguments: &[&str]) -> Value {
    let mut command: Command = host.command(&[]);
    command.arg("--json").args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "keyward {arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn ring(host: &Keyward, arguments: &[&str]) -> Value {
    let state = host.state_dir().display().to_string();
    keyward(host, &[&["ring", "--state-dir", &state], arguments].concat())
}

#[test]
fn no_valid_key_is_refused_while_every_ring_rolls_over_on_two_hosts() {
    let first = Setup::new().on_redis().start();
    let second = first.beside();
    let mut hosts = [first, second];
    let app = hosts[0].application("load");
    let holders: Vec<Holder> = (0..KEYS).map(|_| hosts[0].holder(&app, &["orders:read"])).collect();
    let dead = hosts[0].holder(&app, &["orders:read"]);
    hosts[0].as_root(keyward_e2e::admin::revoke(&dead.id)).expect(200);
    let root = hosts[0].root().to_owned();
    let first_jwks = hosts[0].send(Request::get("/.well-known/keyward/jwks.json")).expect(200).json();

    let gateway = Gateway {
        hosts: RwLock::new([hosts[0].address(), hosts[1].address()]),
        is_over: AtomicBool::new(false),
        validated: AtomicUsize::new(0),
        issued: AtomicUsize::new(0),
        switched: AtomicUsize::new(0),
        refused: Mutex::default(),
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..VALIDATORS {
            let (gateway, holders) = (&gateway, &holders);
            scope.spawn(move || {
                let mut connection = None;
                for turn in number.. {
                    if gateway.is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let request = authorize(&holders[turn % KEYS].token, "?scope=orders:read");
                    let reply = gateway.exchange(number, &mut connection, &request);
                    gateway.expect("authorize", &reply, &[204]);
                    gateway.validated.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..ISSUERS {
            let (gateway, app, root) = (&gateway, &app, &root);
            scope.spawn(move || {
                let mut connection = None;
                for turn in 0.. {
                    if gateway.is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("load-{number}-{turn}");
                    let once = |request: Request| request.field("idempotency-key", &key);
                    let issue = once(Request::post("/v1/keys", &new_key(app, &["orders:read"])).bearer(root));
                    let reply = gateway.exchange(number, &mut connection, &issue);
                    // 409: the same request is still in flight at the host that was killed; a client comes back later.
                    if !gateway.expect("issue", &reply, &[201, 409]) || reply.status == 409 {
                        continue;
                    }
                    let reply =
                        gateway.exchange(number, &mut connection, &once(claim(&Issued::of(&reply).ticket)));
                    if !gateway.expect("claim", &reply, &[200, 409, 410]) || reply.status != 200 {
                        continue;
                    }
                    let reply =
                        gateway.exchange(number, &mut connection, &authorize(&reply.text_at("/token"), ""));
                    gateway.expect("authorize what was just claimed", &reply, &[204]);
                    gateway.issued.fetch_add(1, Ordering::Relaxed);
                }
            });
        }

        let mut steps: Vec<(String, Duration)> = Vec::new();
        let mut step = |name: &str, hosts: &mut [Keyward; 2], work: &mut dyn FnMut(&mut [Keyward; 2])| {
            let began = Instant::now();
            work(hosts);
            for (number, host) in hosts.iter_mut().enumerate() {
                std::thread::sleep(SETTLE);
                host.kill();
                host.restart_after_end();
                gateway.hosts.write().unwrap()[number] = host.address();
            }
            std::thread::sleep(SETTLE);
            steps.push((name.to_owned(), began.elapsed()));
        };
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let rings = ["records_keyring", "audit_keyring", "peppers", "signing_keys", "log_keys"];
            step("added", &mut hosts, &mut |hosts| {
                for name in rings {
                    ring(&hosts[0], &["add", name]);
                }
            });
            step("activated", &mut hosts, &mut |hosts| {
                for name in rings {
                    ring(&hosts[0], &["activate", name, "2", "--yes"]);
                }
            });
            // Without a pass since then nobody lets the old version go.
            let state = hosts[0].state_dir().display().to_string();
            let early = hosts[0]
                .command(&["ring", "--state-dir", &state, "retire", "records_keyring", "1"])
                .output()
                .unwrap();
            assert_eq!(early.status.code(), Some(4), "{}", String::from_utf8_lossy(&early.stderr));
            let began = Instant::now();
            let done = ring(&hosts[1], &["reseal"]);
            println!("sealed anew in {} ms", began.elapsed().as_millis());
            assert_eq!(done["settled"], true, "{done}");
            let status = ring(&hosts[0], &["status"]);
            println!("figures: {}", status["server"]);
            step("retired", &mut hosts, &mut |hosts| {
                ring(&hosts[0], &["retire", "records_keyring", "1"]);
            });
        }));
        gateway.is_over.store(true, Ordering::Relaxed);
        worked.unwrap();
        for (name, took) in &steps {
            println!("{name}, both hosts anew: {} ms", took.as_millis());
        }
    });
    println!(
        "{} validations, {} keys issued and claimed, {} times the other host, in {} s",
        gateway.validated.load(Ordering::Relaxed),
        gateway.issued.load(Ordering::Relaxed),
        gateway.switched.load(Ordering::Relaxed),
        started.elapsed().as_secs(),
    );
    let refused = gateway.refused.lock().unwrap();
    assert!(refused.is_empty(), "{} refusals, such as {:?}", refused.len(), refused.first());
    assert!(gateway.validated.load(Ordering::Relaxed) > 100 && gateway.issued.load(Ordering::Relaxed) > 3);

    for host in &hosts {
        // Every record of state is where it should be; a revoked key stays revoked.
        let mut under: BTreeMap<u32, usize> = BTreeMap::new();
        for prefix in ["m:", "a:", "d:", "n:"] {
            for key in host.store_keys(prefix) {
                let value = host.stored(&key).unwrap();
                *under.entry(keyward_crypto::Sealer::sealed_under(&value).unwrap()).or_default() += 1;
            }
        }
        println!("records by version: {under:?}");
        assert_eq!(under.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(host.authorizes(&dead.token), 401);
        for holder in &holders {
            assert_eq!(host.authorizes(&holder.token), 204);
        }
        // Peppers: old keys go on under the old one and say so; new ones are under the new one.
        let old = host.as_root(Request::get(&format!("/v1/keys/{}", holders[0].id))).expect(200).json();
        assert_eq!(old["versions"][0]["pepper_outdated"], true);
        let new = host.holder(&app, &["orders:read"]);
        let new = host.as_root(Request::get(&format!("/v1/keys/{}", new.id))).expect(200).json();
        assert!(new["versions"][0].get("pepper_outdated").is_none());
        // Signing keys: what verified yesterday's answers is still published, beside the new one.
        let jwks = host.send(Request::get("/.well-known/keyward/jwks.json")).expect(200).json();
        let kids = |set: &Value| -> Vec<String> {
            set["keys"].as_array().unwrap().iter().map(|key| key["kid"].to_string()).collect()
        };
        assert_eq!(kids(&jwks).len(), 2);
        assert!(kids(&jwks).contains(&kids(&first_jwks)[0]));
        // Keys of the log: both sign.
        assert!(host.tick());
        let note = host.as_root(Request::get("/v1/audit/checkpoint")).expect(200).text();
        assert_eq!(note.lines().filter(|line| line.starts_with('\u{2014}')).count(), 2, "{note}");
    }
    assert_eq!(ring(&hosts[0], &["status"])["server"]["rings"][2]["versions"][0]["version"], json!(1));
}
