//! The `keyward` command does the whole loop against a Keyward that runs; its exit codes say how it went, and it shows no token.

use std::os::unix::fs::PermissionsExt as _;

use keyward_e2e::{Keyward, Setup, Value};

fn runs(keyward: &Keyward, arguments: &[&str], exit_code: i32) -> String {
    let output = keyward.command(arguments).current_dir(keyward.folder()).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(exit_code), "keyward {arguments:?}: {stdout}{stderr}");
    assert!(
        !stdout.contains("kw_live_") && !stderr.contains("kw_live_"),
        "keyward {arguments:?} shows a token"
    );
    stdout
}

fn json(keyward: &Keyward, arguments: &[&str], exit_code: i32) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    serde_json::from_str(&runs(keyward, &all, exit_code)).expect("JSON")
}

#[test]
fn the_whole_loop() {
    let keyward = Setup::new().by_command().start();
    let mode = std::fs::metadata(keyward.state_dir().join("root.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let application = json(&keyward, &["app", "create", "Acme Orders"], 0)["id"].as_str().unwrap().to_owned();
    assert!(runs(&keyward, &["app", "list"], 0).contains("Acme Orders"));
    runs(&keyward, &["app", "create", "Acme Orders"], 4);

    let create =
        ["key", "create", "--application", &application, "--name", "orders", "--scope", "orders:read"];
    let with_claim: Vec<&str> =
        create.iter().copied().chain(["--claim-out", "token.txt", "--expires-in", "30d"]).collect();
    runs(&keyward, &with_claim, 0);
    let path = keyward.folder().join("token.txt");
    let token = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(keyward.authorizes(&token), 204);
    runs(&keyward, &with_claim, 3);

    // A claim by hand: the ticket in a file, its answer's signature checked on the way.
    let issued = json(&keyward, &create, 0);
    std::fs::write(keyward.folder().join("link.txt"), issued["claim"]["url"].as_str().unwrap()).unwrap();
    runs(&keyward, &["key", "claim", "link.txt", "--out", "second.txt"], 0);
    runs(&keyward, &["key", "claim", "link.txt", "--out", "third.txt"], 4);
    assert!(!keyward.folder().join("third.txt").exists());
    let id = issued["key"]["id"].as_str().unwrap();

    assert_eq!(json(&keyward, &["verify", "second.txt", "--scope", "orders:read"], 0)["code"], "VALID");
    assert_eq!(
        json(&keyward, &["verify", "second.txt", "--scope", "orders:write"], 1)["code"],
        "INSUFFICIENT_SCOPE"
    );
    assert_eq!(json(&keyward, &["key", "show", id], 0)["state"], "active");
    runs(&keyward, &["key", "revoke", id, "--reason", "the end"], 0);
    assert_eq!(json(&keyward, &["verify", "second.txt"], 1)["code"], "REVOKED");
    let listed = json(&keyward, &["key", "list", "--application", &application], 0);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let events = json(&keyward, &["audit", "list", "--key", id], 0);
    let actions: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.revoke", "claim.replay", "claim.take", "key.issue"]);

    runs(&keyward, &["key", "show", "key_0000000000000000000000"], 3);
    runs(&keyward, &["key", "show", "nonsense"], 2);
    let mut nowhere = keyward.command(&["app", "list", "--url", "http://127.0.0.1:9"]);
    assert_eq!(nowhere.output().unwrap().status.code(), Some(5));
    // A second init writes over nothing.
    let state = keyward.state_dir();
    let before = std::fs::read(state.join("variables.env")).unwrap();
    runs(&keyward, &["init", "--state-dir", state.to_str().unwrap()], 4);
    assert_eq!(std::fs::read(state.join("variables.env")).unwrap(), before);
}
