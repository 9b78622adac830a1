//! `keyward recover-root` writes a new root token into a new private file, or changes nothing.

use std::collections::BTreeSet;

use crate::folder::Folder;

#[test]
fn a_lost_root_key_is_replaced() {
    let folder = Folder::with_state("recover-root");
    let old = folder.read(".keyward/root.key");
    let (_, said) = folder.says("recover-root --principal ada", 4);
    assert!(said.contains("there is `.keyward/root.key`; nothing was changed"), "{said}");
    std::fs::remove_file(folder.path(".keyward/root.key")).unwrap();

    let recovered = folder.json("recover-root --principal ada --reason gone", 0);
    assert_eq!(
        (recovered["event"].as_str(), recovered["revoked"].as_array().map(Vec::len)),
        (Some("evt_1_2"), Some(0))
    );
    assert_eq!(folder.modes()[".keyward/root.key"], 0o600);
    let new = folder.read(".keyward/root.key");
    keyward_domain::token::parse(new.strip_suffix('\n').unwrap()).unwrap();
    assert_ne!(new, old);

    // The one that `init` made and the one from above.
    let (shown, _) = folder.says("recover-root --principal ada --revoke-others --out third.key", 0);
    let revoked: BTreeSet<&str> = shown.lines().filter_map(|line| line.strip_prefix("revoked ")).collect();
    assert_eq!(revoked.len(), 2, "{shown}");
    assert!(shown.contains("third.key"), "{shown}");
}

#[test]
fn a_recovery_that_fails_leaves_nothing() {
    let folder = Folder::with_state("no-recovery");
    std::fs::remove_file(folder.path(".keyward/root.key")).unwrap();
    let before = folder.contents();
    folder.says("recover-root", 2);
    folder.says("recover-root --principal ada --state-dir absent", 3);
    folder.says("recover-root --principal ada --out absent/root.key", 3);
    let output = folder.run(&["recover-root", "--principal", " "]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(folder.contents().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());

    std::fs::rename(folder.path(".keyward/sqlite_key_value.db"), folder.path("moved.db")).unwrap();
    let (_, said) = folder.says("recover-root --principal ada", 3);
    assert!(said.contains("There is no store"), "{said}");
    assert!(
        !folder.path(".keyward/sqlite_key_value.db").exists() && !folder.path(".keyward/root.key").exists()
    );
}
