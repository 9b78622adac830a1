//! schemathesis makes requests up out of the API's document, right ones and wrong ones, as root: every answer is one that the document
//! names, in status, media type, headers and shape, and none is our fault. What it leaves out, and why, is in its configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use keyward_e2e::document::Document;
use keyward_e2e::{Keyward, Request, Setup, Value, json, programs};

/// What the configuration is made of, in `tests/python`.
const CONFIGURATION: [&str; 2] = ["schemathesis.toml", "schemathesis_hooks.py"];
/// What ends things: tried after all the rest, which else would have nothing alive to be about.
const ENDINGS: [&str; 8] = [
    "revokeApplication",
    "retireRole",
    "retirePolicy",
    "retireWebhook",
    "retireCredential",
    "revokeKey",
    "reportToken",
    "revokeKeys",
];
/// A webhook's target that refuses a connection at once: a name would have to be resolved, again and again.
const NOBODY_LISTENS: &str = "http://127.0.0.1:9/";
/// Of this one it has refusals alone: it makes up no path parameter with a slash in it. `api_document` fetches a tile.
const REFUSED_ALONE: &str = "GET /v1/audit/tile/{tile}";
/// Accepted in a state, with the fields of a kind, or under a signature alone, which requests made up at random seldom meet: these are
/// refused as described, and accepted in the walk over every change, or in that of reports of leaks.
const BY_STATE: [&str; 11] = [
    "POST /v1/keys/{id}/rotate",
    "POST /v1/keys/{id}/rotation/finish",
    "POST /v1/keys/{id}/rotation/cancel",
    "POST /v1/self/renew",
    "POST /v1/credentials",
    "POST /v1/credentials/{id}/versions",
    "POST /v1/credentials/{id}/versions/{version}/destroy",
    "POST /v1/credentials/{id}/roll-back",
    "POST /v1/credentials/{id}/rotate",
    "POST /v1/credentials/{id}/rotation/cancel",
    "POST /v1/leaks",
];
/// As many characters of `0-9A-Za-z` in a row has what follows `kw_live_`, and nothing else.
const SECRET_CHARACTERS: usize = 73;

/// Things that requests can be about, each in the file that the configuration names.
fn write_things(keyward: &Keyward, folder: &Path) {
    let write = |name: &str, value: &str| fs::write(folder.join(name), format!("\"{value}\"\n")).unwrap();
    let application = keyward.application("orders");
    let issue = || keyward.issue(&application, &["orders:read"]);
    let (holder, unclaimed, open) = (keyward.claim(&issue()), issue(), issue());
    let role = json!({ "name": "clerks", "scopes": ["keys:read"] });
    write("application", &application);
    write("role", &keyward.as_root(Request::post("/v1/roles", &role)).expect(201).text_at("/id"));
    let webhook = json!({ "application": application, "url": NOBODY_LISTENS, "events": ["*"] });
    let webhook = keyward.as_root(Request::post("/v1/webhooks", &webhook)).expect(201);
    write("webhook", &webhook.text_at("/webhook/id"));
    write("policy", &keyward.policy("quarterly", &json!({})));
    write("credential", &keyward.credential(&application, "db"));
    write("key", &holder.id);
    write("token", &holder.token);
    write("unclaimed-key", &unclaimed.id);
    write("claim", &open.claim);
    write("ticket", &open.ticket);
    write("event", keyward.events("action=key.issue")[0]["id"].as_str().unwrap());
    // The tree is extended before anything about it is asked.
    keyward.as_root(Request::get("/v1/audit/checkpoint")).expect(200);
}

/// A report without the secrets of what it shows: whoever asks for one is told it, and schemathesis asks.
fn without_secrets(report: &str) -> String {
    let word = |word: &str| match word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len() {
        0..SECRET_CHARACTERS => word.to_owned(),
        _ => "(hidden) ".to_owned(),
    };
    report.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(word).collect()
}

/// What came of a run.
#[derive(Default)]
struct Tried {
    operations: u64,
    cases: u64,
    /// By operation, how many right requests were accepted.
    accepted: BTreeMap<String, u64>,
}

/// Tries the operations that `filter` leaves, in a folder with the configuration and the document.
fn run(keyward: &Keyward, folder: &Path, filter: &str, tried: &mut Tried) {
    let mut schemathesis = Command::new(programs::installed("schemathesis"));
    schemathesis.args(["run", "openapi.json", "--url", &keyward.url(), "--no-color"]);
    schemathesis.args(["--report", "json", "--report-json-path", "report.json"]);
    schemathesis.args(ENDINGS.iter().flat_map(|id| [filter, id]));
    // The token is in the environment alone.
    schemathesis.env("KEYWARD_ROOT", keyward.root()).current_dir(folder).stdin(Stdio::null());
    let output = schemathesis.output().unwrap_or_else(|error| {
        panic!("schemathesis does not start ({error}); `cargo xtask test --only tools` installs it")
    });
    let shown = without_secrets(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    assert!(output.status.success(), "{shown}");
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["complete"], true, "{shown}");
    tried.operations += report["operations"]["tested"].as_u64().unwrap();
    tried.cases += report["test_cases"]["generated"].as_u64().unwrap();
    for (line, phases) in report["valid_rates"].as_object().unwrap() {
        let phases = phases.as_object().unwrap().values();
        let accepted = phases.map(|rate| rate["accepted"].as_u64().unwrap()).sum::<u64>();
        *tried.accepted.entry(line.clone()).or_default() += accepted;
    }
}

#[test]
fn every_answer_is_one_that_the_document_names() {
    let keyward = Setup::new().variable("webhook_private_targets", "true").start();
    let folder = keyward.folder().join("schemathesis");
    fs::create_dir(&folder).unwrap();
    write_things(&keyward, &folder);
    for name in CONFIGURATION {
        fs::copy(programs::root().join("tests/python").join(name), folder.join(name)).unwrap();
    }
    // Of a document that it fetches, it leaves out the operation that it fetched it by.
    let document = keyward.send(Request::get("/openapi.json")).expect(200).body;
    fs::write(folder.join("openapi.json"), document).unwrap();

    let (started, mut tried) = (Instant::now(), Tried::default());
    run(&keyward, &folder, "--exclude-operation-id", &mut tried);
    run(&keyward, &folder, "--include-operation-id", &mut tried);
    println!(
        "{} operations, {} cases, {:.1} s",
        tried.operations,
        tried.cases,
        started.elapsed().as_secs_f64()
    );
    let described = Document::of(&keyward).operations();
    assert_eq!(tried.operations, described.len() as u64, "every operation was tried");
    let lines = described.iter().map(|operation| operation.line.as_str());
    let refused = lines.filter(|line| tried.accepted.get(*line).is_none_or(|accepted| *accepted == 0));
    let refused = refused.filter(|line| !BY_STATE.contains(line));
    assert_eq!(refused.collect::<Vec<_>>(), [REFUSED_ALONE], "accepted nothing");
}
