//! `keyward init` makes a state that its owner alone can read, whole, and shows no secret of it.

use std::process::Command;

use keyward_crypto::ring::ChangingRing;

use crate::folder::Folder;

#[test]
fn a_state_is_whole_private_and_made_once() {
    let folder = Folder::new("init");
    let made = folder.run(&["init", "--state-dir", "a state", "--json"]);
    assert!(made.status.success(), "{made:?}");
    let state = folder.path("a state");
    let expected = [
        ("a state", 0o700),
        ("a state/root.key", 0o600),
        ("a state/sqlite_key_value.db", 0o600),
        ("a state/variables", 0o700),
        ("a state/variables.env", 0o600),
        ("a state/variables/audit_keyring.json", 0o600),
        ("a state/variables/log_keys.json", 0o600),
        ("a state/variables/peppers.json", 0o600),
        ("a state/variables/records_keyring.json", 0o600),
        ("a state/variables/signing_keys.json", 0o600),
        ("a state/variables/vault_keyring.json", 0o600),
    ];
    assert_eq!(folder.modes(), expected.map(|(name, mode)| (name.to_owned(), mode)).into());

    let root_key = folder.read("a state/root.key");
    keyward_domain::token::parse(root_key.strip_suffix('\n').unwrap()).unwrap();

    // A shell must read the very text that lies in the files.
    let shell = Command::new("sh")
        .args(["-c", ". './a state/variables.env'; set"])
        .current_dir(folder.path("."))
        .env_clear()
        .output()
        .unwrap();
    let (shell, shown) = (String::from_utf8(shell.stdout).unwrap(), String::from_utf8(made.stdout).unwrap());
    let mut rings = Vec::new();
    for name in ["records_keyring", "audit_keyring", "peppers", "signing_keys", "vault_keyring", "log_keys"] {
        let text = std::fs::read_to_string(state.join(format!("variables/{name}.json"))).unwrap();
        ChangingRing::parse(name, &text).unwrap();
        let upper = name.to_ascii_uppercase();
        assert!(shell.contains(&format!("SPIN_VARIABLE_{upper}='{text}'")), "{name}");
        let key = text.split('"').find(|word| word.len() == 43).unwrap().to_owned();
        assert!(!rings.contains(&key), "every ring has a key of its own");
        rings.push(key);
    }
    let parts = shown.split('"').map(str::to_owned).collect::<Vec<_>>();
    assert!(parts.contains(&"a state/root.key".to_owned()), "{shown}");
    assert!(shown.contains(
        "(set -a; . 'a state/variables.env'; spin up --build --from spin.toml --state-dir 'a state')"
    ));
    let said = format!("{shown}{}", String::from_utf8_lossy(&made.stderr));
    for secret in rings.iter().map(String::as_str).chain([root_key.trim_end()]) {
        assert!(!said.contains(secret));
    }

    let again = folder.run(&["init", "--state-dir", "a state"]);
    assert_eq!(again.status.code(), Some(4));
    assert_eq!(folder.read("a state/root.key"), root_key);
}
