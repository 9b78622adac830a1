//! `docs/operations.md` holds as pasted: a ring rolls over, a store comes back from its backup, a lost root key and a lost ring are
//! got over.

use keyward_e2e::admin::{Holder, revoke};
use keyward_e2e::{Keyward, Request, Setup, pasted};

const DOCUMENT: &str = "docs/operations.md";

/// What stands below a heading, one text for each place between which the reader does something else than paste.
fn script<const N: usize>(heading: &str) -> [String; N] {
    let fences = pasted::fences(DOCUMENT, heading);
    let count = fences.len();
    fences.try_into().unwrap_or_else(|_| panic!("`{heading}` has {count} blocks"))
}

fn start() -> (Keyward, Holder) {
    let keyward = Setup::new().by_command().start();
    let application = keyward.application("shop");
    let holder = keyward.holder(&application, &["orders:read"]);
    assert_eq!(keyward.authorizes(&holder.token), 204);
    (keyward, holder)
}

fn start_anew(keyward: &mut Keyward) {
    keyward.kill();
    keyward.restart_after_end();
}

#[test]
fn a_ring_rolls_over() {
    let (mut keyward, holder) = start();
    for script in script::<3>("Rolling a ring over") {
        let (shown, _) = pasted::run(&keyward, &script);
        assert!(shown.contains("records_keyring"), "{shown}");
        start_anew(&mut keyward);
        assert_eq!(keyward.authorizes(&holder.token), 204);
    }
    let ring = std::fs::read_to_string(keyward.state_dir().join("variables/records_keyring.json")).unwrap();
    assert!(ring.contains("\"v\":2") && !ring.contains("\"v\":1"), "version 1 is gone");
    let application = keyward.application("after");
    assert_eq!(keyward.authorizes(&keyward.holder(&application, &["orders:read"]).token), 204);
}

#[test]
fn a_store_comes_back_from_its_backup() {
    let (mut keyward, holder) = start();
    let [backup, restore] = script("Backup and restore");
    pasted::run(&keyward, &backup);
    keyward.as_root(revoke(&holder.id)).expect(200);
    assert_eq!(keyward.authorizes(&holder.token), 401);

    let mut early = keyward.command(&["restore", "--from", "keyward-backup.db", "--replace", "--state-dir"]);
    let early = early.arg(keyward.state_dir()).current_dir(keyward.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&early.stderr);
    assert_eq!(early.status.code(), Some(4), "{said}");
    assert!(said.contains("Stop Keyward first"), "{said}");
    assert_eq!(keyward.authorizes(&holder.token), 401, "nothing was changed");

    keyward.end();
    let (shown, said) = pasted::run(&keyward, &restore);
    assert!(shown.contains(".replaced-") && said.contains("lives again"), "{shown}{said}");
    keyward.restart_after_end();
    assert_eq!(keyward.authorizes(&holder.token), 204, "as the document warns");
    // And the old store is whole.
    let kept = std::fs::read_dir(keyward.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.to_str().unwrap().contains(".replaced-")).collect::<Vec<_>>();
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    let mut check = keyward.command(&["audit", "verify", "--witness", "witness.json", "--store"]);
    check.arg(kept).arg("--variables").arg(keyward.state_dir().join("variables"));
    let check = check.current_dir(keyward.folder()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn a_lost_root_key() {
    let keyward = Setup::new().by_command().start();
    let [lost, stolen] = script("Drill: a lost root key");
    let (shown, _) = pasted::run(&keyward, &lost);
    assert!(shown.contains("made after the recovery") && shown.contains("root.recover"), "{shown}");
    assert_eq!(keyward.as_root(Request::get("/v1/applications")).status, 200, "the old key is as it was");
    let (shown, _) = pasted::run(&keyward, &stolen);
    let revoked = shown.lines().filter(|line| line.contains("key.revoke")).count();
    assert_eq!(revoked, 2, "the first root and the recovered one: {shown}");
    assert_eq!(keyward.as_root(Request::get("/v1/applications")).status, 401);
    let new = std::fs::read_to_string(keyward.state_dir().join("root.key")).unwrap();
    keyward.send(Request::get("/v1/applications").bearer(new.trim())).expect(200);
}

#[test]
fn a_root_key_lost_on_redis() {
    let keyward = Setup::new().on_redis().start();
    let mut recover = keyward.command(&["recover-root", "--principal", "ada", "--out", "new.key"]);
    recover.arg("--state-dir").arg(keyward.state_dir());
    recover.args(["--runtime-config-file", "runtime-config.toml"]).current_dir(keyward.folder());
    let recovered = recover.output().unwrap();
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    let new = std::fs::read_to_string(keyward.folder().join("new.key")).unwrap();
    keyward.send(Request::get("/v1/applications").bearer(new.trim())).expect(200);
}

#[test]
fn a_lost_ring() {
    let (mut keyward, holder) = start();
    let [copy, loss, back, none] = script("Drill: a lost ring");
    pasted::run(&keyward, &copy);
    let (shown, _) = pasted::run(&keyward, &loss);
    assert!(shown.contains("refused with 3") && shown.contains("records_keyring.json"), "{shown}");
    assert_eq!(keyward.authorizes(&holder.token), 204, "what runs goes on");
    pasted::run(&keyward, &back);
    start_anew(&mut keyward);
    assert_eq!(keyward.authorizes(&holder.token), 204);
    let (shown, _) = pasted::run(&keyward, &none);
    assert!(shown.contains("refused with 6"), "{shown}");
    start_anew(&mut keyward);
    assert_eq!(keyward.authorizes(&holder.token), 204);
}
