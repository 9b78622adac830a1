//! A store that is set back to an older copy: administration is frozen where a witness remembers more, the old copy knows of no
//! revocation since, and `keyward audit new-epoch` revokes again what the exported log says before anything goes on.

use std::path::{Path, PathBuf};
use std::process::Output;

use keyward_e2e::admin::{Holder, authorize, new_key, revoke};
use keyward_e2e::dashboard::{SESSION, Visitor};
use keyward_e2e::keyward::WITNESS_FILE;
use keyward_e2e::{Keyward, Request, Setup, json};

/// The files of the SQLite store.
const STORE: [&str; 3] = ["sqlite_key_value.db", "sqlite_key_value.db-wal", "sqlite_key_value.db-shm"];

/// Puts the store's files from one folder in the place of another's.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in STORE {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// The witness remembers what was done up to it.
fn maintenance() -> Request {
    Request::post("/v1/maintenance/run", &json!({}))
}

/// A Keyward on a store that is older than what happened.
struct RolledBack {
    keyward: Keyward,
    application: String,
    /// Revoked since.
    revoked: Holder,
    /// Issued since.
    newer: Holder,
    stays: Holder,
    /// The cookie of somebody who signed in to the dashboard before.
    session: String,
    export: PathBuf,
}

impl RolledBack {
    fn new(setup: Setup) -> Self {
        let mut keyward = setup.start();
        let application = keyward.application("orders");
        let revoked = keyward.holder(&application, &["a:b"]);
        let stays = keyward.holder(&application, &["a:b"]);
        let session = Visitor::signed_in(&keyward, keyward.root()).cookie(SESSION).unwrap();
        keyward.as_root(maintenance()).expect(200);
        keyward.end();
        let yesterday = keyward.folder().join("yesterday");
        copy(&keyward.state_dir(), &yesterday);
        keyward.restart_after_end();

        keyward.as_root(revoke(&revoked.id)).expect(200);
        let newer = keyward.holder(&application, &["a:b"]);
        keyward.as_root(maintenance()).expect(200);
        let export = keyward.folder().join("export.jsonl");
        let log =
            keyward.as_root(Request::get("/v1/audit/events?after=evt_1_0&limit=1000")).expect(200).json();
        let lines = log["items"].as_array().unwrap().iter().map(|event| format!("{event}\n"));
        std::fs::write(&export, lines.collect::<String>()).unwrap();
        keyward.end();
        copy(&yesterday, &keyward.state_dir());
        keyward.restart_after_end();
        Self { keyward, application, revoked, newer, stays, session, export }
    }

    fn new_epoch(&self, more: &[&str]) -> Output {
        let mut command = self.keyward.local_command(&["audit", "new-epoch"]);
        command.arg("--log").arg(&self.export).args(["--reason", "the disk was set back"]);
        command.args(more);
        command.output().unwrap()
    }

    /// Changes, each by its own component.
    fn changes(&self) -> [Request; 3] {
        [
            Request::post("/v1/keys", &new_key(&self.application, &["a:b"])),
            revoke(&self.stays.id),
            maintenance(),
        ]
    }
}

#[test]
fn a_store_older_than_its_witness_is_frozen_until_a_new_epoch_revokes_again_what_was_revoked() {
    let mut lost = RolledBack::new(Setup::new().with_witness());
    let keyward = &lost.keyward;
    let stored = keyward.store_keys("");
    for _ in 0..5 {
        for change in lost.changes() {
            let refused = keyward.as_root(change).expect(503);
            assert_eq!(refused.text_at("/code"), "store-rolled-back");
            assert!(refused.text_at("/detail").contains("keyward audit new-epoch"));
        }
    }
    // Whoever comes with a ticket or a token alone is told the same.
    let report = Request::post("/v1/revocations", &json!({ "token": lost.stays.token }));
    assert_eq!(keyward.send(report).expect(503).text_at("/code"), "store-rolled-back");
    assert_eq!(keyward.send(Request::get("/readyz")).expect(503).text_at("/code"), "store-rolled-back");
    assert!(!keyward.tick(), "the scheduler neither extends nor signs");
    assert_eq!(stored, keyward.store_keys(""), "nothing was written");
    // Whoever is signed in to the dashboard sees it first.
    let mut visitor = Visitor::new(keyward);
    visitor.put_cookie(SESSION, &lost.session);
    let overview = visitor.get("/dashboard").expect(200).text();
    assert!(
        overview.contains("FROZEN") && overview.contains("older than what its witness saw"),
        "{overview}"
    );
    // Validation and reading go on; the old copy knows nothing of the revocation.
    assert_eq!(keyward.authorizes(&lost.stays.token), 204);
    assert_eq!(keyward.authorizes(&lost.revoked.token), 204);
    assert_eq!(keyward.authorizes(&lost.newer.token), 401);
    assert_eq!(keyward.list(&format!("/v1/keys?application={}", lost.application)).len(), 2);

    lost.keyward.end();
    let opened = lost.new_epoch(&["--witness-store", "witness", "--yes"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    lost.keyward.restart_after_end();
    let keyward = &lost.keyward;
    keyward.send(Request::get("/readyz")).expect(200);
    let refused = keyward.send(authorize(&lost.revoked.token, "")).expect(401);
    assert_eq!(refused.field("keyward-code"), Some("REVOKED"));
    assert_eq!(keyward.authorizes(&lost.newer.token), 401);
    assert_eq!(keyward.authorizes(&lost.stays.token), 204);
    let after = keyward.holder(&lost.application, &["a:b"]);
    assert_eq!(keyward.authorizes(&after.token), 204);
    keyward.as_root(revoke(&after.id)).expect(200);
    assert_eq!(keyward.authorizes(&after.token), 401);
    assert!(keyward.tick());
    assert_eq!(keyward.list(&format!("/v1/keys?application={}", lost.application)).len(), 3);
    let opened = keyward.events("action=audit.epoch");
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0]["reason"], "the disk was set back");
    let revocations = keyward.events(&format!("action=key.revoke&key={}", lost.revoked.id));
    assert_eq!(revocations.len(), 1);
    assert!(revocations[0]["id"].as_str().unwrap().starts_with("evt_2_"));
    for epoch in [1, 2] {
        let checkpoint = Request::get(&format!("/v1/audit/checkpoint?epoch={epoch}"));
        keyward.as_root(checkpoint).expect(200);
    }
    lost.keyward.end();
    let mut verify = lost.keyward.local_command(&["audit", "verify"]);
    let verified = verify.arg("--witness").arg(lost.keyward.folder().join("seen.json")).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // The witness has moved on with the store: the old copy is found again.
    copy(&lost.keyward.folder().join("yesterday"), &lost.keyward.state_dir());
    lost.keyward.restart_after_end();
    let refused = lost.keyward.as_root(revoke(&lost.stays.id)).expect(503);
    assert_eq!(refused.text_at("/code"), "store-rolled-back");
}

#[test]
fn a_new_epoch_is_opened_on_purpose_alone() {
    let mut lost = RolledBack::new(Setup::new().with_witness());
    lost.keyward.end();
    let asked = lost.new_epoch(&["--witness-store", "witness"]);
    assert!(!asked.status.success(), "without a terminal and without --yes nothing is done");
    lost.keyward.restart_after_end();
    assert_eq!(
        lost.keyward.as_root(revoke(&lost.stays.id)).expect(503).text_at("/code"),
        "store-rolled-back"
    );
}

#[test]
fn keyward_up_keeps_a_witness_in_a_file() {
    let mut lost = RolledBack::new(Setup::new().by_command().with_witness());
    for change in lost.changes() {
        assert_eq!(lost.keyward.as_root(change).expect(503).text_at("/code"), "store-rolled-back");
    }
    lost.keyward.end();
    let file = lost.keyward.folder().join(WITNESS_FILE);
    let absent = lost.new_epoch(&["--witness-file", "no-such-file.db", "--yes"]);
    assert_eq!(absent.status.code(), Some(3), "{}", String::from_utf8_lossy(&absent.stderr));
    let opened = lost.new_epoch(&["--witness-file", file.to_str().unwrap(), "--yes"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    lost.keyward.restart_after_end();
    assert_eq!(lost.keyward.authorizes(&lost.revoked.token), 401);
    assert_eq!(lost.keyward.authorizes(&lost.stays.token), 204);
    lost.keyward.as_root(revoke(&lost.stays.id)).expect(200);
}

#[test]
fn a_witness_that_is_down_holds_up_no_revocation() {
    let keyward = Setup::new().with_witness().start();
    let application = keyward.application("orders");
    let [held, reported] = [(); 2].map(|()| keyward.holder(&application, &["a:b"]));
    keyward.plan_faults(&json!([{ "store": "witness", "effect": "fail_before" }]));
    let issue = Request::post("/v1/keys", &new_key(&application, &["a:b"]));
    assert_eq!(keyward.as_root(issue.clone()).expect(503).text_at("/code"), "store-unavailable");
    keyward.as_root(revoke(&held.id)).expect(200);
    keyward.send(Request::post("/v1/revocations", &json!({ "token": reported.token }))).expect(200);
    assert_eq!([&held, &reported].map(|holder| keyward.authorizes(&holder.token)), [401, 401]);
    keyward.withdraw_faults();
    keyward.as_root(issue).expect(201);
    keyward.as_root(maintenance()).expect(200);
}

#[test]
fn without_a_witness_nothing_freezes() {
    let lost = RolledBack::new(Setup::new());
    lost.keyward.send(Request::get("/readyz")).expect(200);
    assert_eq!(lost.keyward.authorizes(&lost.revoked.token), 204, "as SECURITY.md says");
    lost.keyward.as_root(revoke(&lost.revoked.id)).expect(200);
    assert_eq!(lost.keyward.authorizes(&lost.revoked.token), 401);
}
