//! Rotation of credentials over real HTTP: a provider in another language, which verifies with Standard Webhooks' own library, rotates what
//! a third party accepts, while a service under `keyward exec` goes on; what a provider says is nowhere but its status.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward_e2e::admin::new_credential;
use keyward_e2e::{Connection, Keyward, Request, Setup, Value, json, programs};

const FIRST: &str = "canary-first-4471-never-to-be-seen";
/// What a lease of five seconds and a read that is under way add up to, in milliseconds.
const WAIT_MS: u64 = 35_000;

/// The third party and its provider, in a process of their own.
struct Provider {
    address: SocketAddr,
    child: Child,
}

impl Provider {
    fn start() -> Self {
        let mut python = Command::new(programs::installed("python"));
        python.arg(programs::root().join("tests/python/credential_provider.py"));
        let mut child = python.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse::<u16>();
        let port = port.expect("`cargo xtask test --only tools` installs standardwebhooks");
        Self { address: ([127, 0, 0, 1], port).into(), child }
    }

    fn tell(&self, what: &Value) {
        Connection::open(self.address).exchange(&Request::post("/control", what)).expect(200);
    }

    fn told(&self) -> Value {
        Connection::open(self.address).exchange(&Request::get("/control")).expect(200).json()
    }

    fn accepts(&self, secret: &str) -> bool {
        self.told()["accepts"].as_array().unwrap().iter().any(|one| one == secret)
    }

    fn steps(&self) -> Vec<String> {
        let steps = self.told()["steps"].clone();
        steps.as_array().unwrap().iter().map(|step| step.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn allowing_private_targets() -> Setup {
    Setup::new().variable("webhook_private_targets", "true")
}

/// A credential with a lease of five seconds that the third party accepts and the provider is to rotate.
fn credential(keyward: &Keyward, provider: &Provider) -> (String, String) {
    let application = keyward.application("shop");
    let policy = keyward.policy("short lease", &json!({ "lease_s": 5 }));
    let mut new = new_credential(&application, "payments/psp");
    (new["value"], new["policy"]) = (json!({ "value": FIRST }), json!(policy));
    let id = keyward.as_root(Request::post("/v1/credentials", &new)).expect(201).text_at("/id");
    let body = json!({ "url": format!("http://{}/hook", provider.address) });
    let set = keyward.as_root(Request::post(&format!("/v1/credentials/{id}/provider"), &body)).expect(200);
    provider.tell(&json!({ "secret": set.text_at("/secret"), "accepts": [FIRST] }));
    (application, id)
}

fn rotate(keyward: &Keyward, id: &str) {
    let body = json!({ "reason": "it is time" });
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/rotate"), &body)).expect(200);
}

fn run(keyward: &Keyward) -> Value {
    keyward.as_root(Request::post("/v1/credentials/rotations/run", &json!({}))).expect(200).json()
}

fn show(keyward: &Keyward, id: &str) -> Value {
    keyward.as_root(Request::get(&format!("/v1/credentials/{id}"))).expect(200).json()
}

fn read(keyward: &Keyward, id: &str) -> String {
    keyward.as_root(Request::get(&format!("/v1/credentials/{id}/value"))).expect(200).text_at("/value/value")
}

#[test]
fn a_provider_that_answers_at_the_third_attempt_rotates_what_is_accepted() {
    let (keyward, provider) = (allowing_private_targets().start(), Provider::start());
    let (_, id) = credential(&keyward, &provider);
    provider.tell(&json!({ "flaky": 2 }));
    rotate(&keyward, &id);
    for _ in 0..12 {
        run(&keyward);
        assert!(provider.accepts(&read(&keyward, &id)), "what is handed out is accepted");
        if show(&keyward, &id)["rotation"].is_null() {
            break;
        }
        keyward.advance_ms(WAIT_MS);
    }
    let shown = show(&keyward, &id);
    assert_eq!((&shown["last_rotation"]["ending"], &shown["current"]), (&json!("done"), &json!(2)));
    assert!(!provider.accepts(FIRST), "the old one is over");
    let thrice = ["create", "set", "test", "finish"].map(|step| [step; 3]).concat();
    assert_eq!(provider.steps(), thrice);
    // Nothing secret came out on the way.
    let second = read(&keyward, &id);
    let events = keyward.as_root(Request::get(&format!("/v1/audit/events?credential={id}&limit=100")));
    for text in [events.expect(200).text(), keyward.log(), show(&keyward, &id).to_string()] {
        assert!(!text.contains(FIRST) && !text.contains(&second), "{text}");
    }
}

#[test]
fn what_a_provider_refuses_is_rolled_back_and_told_by_its_status_alone() {
    let (keyward, provider) = (allowing_private_targets().start(), Provider::start());
    let (_, id) = credential(&keyward, &provider);
    provider.tell(&json!({ "answers": { "test": 422 } }));
    rotate(&keyward, &id);
    run(&keyward);
    assert_eq!(provider.steps(), ["create", "set", "test", "roll_back"]);
    assert_eq!(provider.told()["accepts"], json!([FIRST]));
    assert_eq!(read(&keyward, &id), FIRST);
    let shown = show(&keyward, &id);
    assert_eq!(shown["last_rotation"]["ending"], "failed");
    assert_eq!(shown["versions"][0]["state"], "destroyed");
    let failed = keyward.events("action=credential.fail-rotation");
    assert_eq!((&failed[0]["outcome"], &failed[0]["detail"][3]), (&json!("alarm"), &json!("status 422")));
    let all = keyward.as_root(Request::get("/v1/audit/events?limit=100")).expect(200).text();
    assert!(!all.contains("canary-of-the-provider") && !keyward.log().contains("canary-of-the-provider"));
    // A private target is called only where that is allowed.
    let (strict, provider) = (Keyward::start(), Provider::start());
    let id = strict.credential(&strict.application("shop"), "db");
    let body = json!({ "url": format!("http://{}/hook", provider.address) });
    strict.as_root(Request::post(&format!("/v1/credentials/{id}/provider"), &body)).expect(400);
}

fn last_line(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_service_under_exec_goes_on_through_a_rotation_that_keyward_up_makes() {
    let (keyward, provider) = (allowing_private_targets().by_command().start(), Provider::start());
    let (application, id) = credential(&keyward, &provider);
    let service = keyward.holder(&application, &["credentials:read@payments/*"]);
    std::fs::write(keyward.folder().join("token"), format!("{}\n", service.token)).unwrap();
    let starts = keyward.folder().join("starts");
    let script = "echo \"$PSP\" >> starts; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let mut command = keyward.command(&["--key-file", "token", "exec", "--map", "PSP=payments/psp"]);
    command.args(["--", "sh", "-c", script]).current_dir(keyward.folder());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not in time");
            let held = last_line(&starts);
            assert!(held.is_empty() || provider.accepts(&held), "{what}: the service's secret is refused");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("the first start", &|| last_line(&starts) == FIRST);
    rotate(&keyward, &id);
    until("the next secret", &|| last_line(&starts).starts_with("made-"));
    until("the end of the old one", &|| !provider.accepts(FIRST));
    until("the end of the rotation", &|| show(&keyward, &id)["last_rotation"]["ending"] == "done");
    let count = std::fs::read_to_string(&starts).unwrap().lines().count();
    assert_eq!(count, 2, "started anew once");
    let told = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success() && child.wait().unwrap().success(), "it ends as its service does");
}
