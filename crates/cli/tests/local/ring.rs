//! A ring's versions live as DESIGN says: in as decrypt-only, active by an explicit act, gone by another; files stay private, whole
//! and in step.

use std::process::Command;

use keyward_crypto::State;
use keyward_crypto::ring::ChangingRing;
use serde_json::json;

use crate::folder::Folder;

const RINGS: [&str; 6] =
    ["records_keyring", "audit_keyring", "peppers", "signing_keys", "vault_keyring", "log_keys"];

fn versions(folder: &Folder, name: &'static str) -> Vec<(u32, State)> {
    let ring = ChangingRing::parse(name, &folder.read(&format!(".keyward/variables/{name}.json"))).unwrap();
    let mut versions: Vec<_> = ring.ring().versions().collect();
    versions.sort_by_key(|(version, _)| *version);
    versions
}

/// What a shell has of the rings' variables is what their files say.
fn are_in_step(folder: &Folder) {
    for name in RINGS {
        let script =
            format!(". .keyward/variables.env; printf %s \"$SPIN_VARIABLE_{}\"", name.to_ascii_uppercase());
        let shell = Command::new("sh").args(["-c", &script]).current_dir(folder.path(".")).output().unwrap();
        let file = folder.read(&format!(".keyward/variables/{name}.json"));
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), file, "{name}");
    }
}

#[test]
fn a_version_goes_in_becomes_active_and_is_dropped() {
    use State::{Active, DecryptOnly};
    let folder = Folder::with_state("ring");
    let modes = folder.modes();
    // What somebody else has in the file for a shell stays.
    let lines = folder.read(".keyward/variables.env");
    std::fs::write(
        folder.path(".keyward/variables.env"),
        format!("# ours\nSPIN_VARIABLE_PUBLIC_URL='https://x'\n{lines}"),
    )
    .unwrap();
    for name in RINGS {
        assert_eq!(
            folder.json(&format!("ring add {name}"), 0),
            json!({"ring": name, "version": 2, "state": "decrypt-only"})
        );
        assert_eq!(versions(&folder, name), [(1, Active), (2, DecryptOnly)]);
        are_in_step(&folder);
        let (_, said) = folder.says(&format!("ring activate {name} 2"), 2);
        assert!(
            said.contains("--yes is needed") && said.contains("Every process must have version 2"),
            "{said}"
        );
        folder.says(&format!("ring activate {name} 7 --yes"), 3);
        folder.says(&format!("ring retire {name} 1 --force-unverified"), 4);
        folder.says(&format!("ring retire {name} 2 --force-unverified"), 4);
        assert_eq!(versions(&folder, name), [(1, Active), (2, DecryptOnly)]);
        folder.says(&format!("ring activate {name} 2 --yes"), 0);
        assert_eq!(versions(&folder, name), [(1, DecryptOnly), (2, Active)]);
        are_in_step(&folder);
        let holds_records = !["signing_keys", "log_keys"].contains(&name);
        if holds_records {
            let (_, said) = folder.says(&format!("ring retire {name} 1"), 4);
            assert!(said.contains("has not been counted") && said.contains("is lost, for good"), "{said}");
        }
        let force = if holds_records { "--force-unverified" } else { "" };
        folder.says(&format!("ring retire {name} 1 {force}"), 0);
        assert_eq!(versions(&folder, name), [(2, Active)]);
        are_in_step(&folder);
    }
    assert_eq!(folder.modes(), modes, "files stay private, and nothing is left of the construction");
    let lines = folder.read(".keyward/variables.env");
    assert!(lines.starts_with("# ours\nSPIN_VARIABLE_PUBLIC_URL='https://x'\n"), "{lines}");
    folder.says("ring add pepper", 2);
}

#[test]
fn the_status_is_a_table_of_numbers_and_states() {
    let folder = Folder::with_state("ring-status");
    folder.says("ring add peppers", 0);
    let status = folder.json("ring status", 0);
    assert_eq!(status["rings"][2]["ring"], "peppers");
    let states: Vec<_> =
        status["rings"][2]["versions"].as_array().unwrap().iter().map(|v| v["state"].as_str()).collect();
    assert_eq!(states, [Some("active"), Some("decrypt-only")]);
    let (shown, noted) = folder.says("ring status", 0);
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(
        rows,
        [
            ["RING", "VERSION", "STATE"],
            ["records_keyring", "1", "active"],
            ["audit_keyring", "1", "active"],
            ["peppers", "1", "active"],
            ["peppers", "2", "decrypt-only"],
            ["signing_keys", "1", "active"],
            ["vault_keyring", "1", "active"],
            ["log_keys", "1", "active"],
        ]
    );
    assert!(noted.contains("A token keeps the pepper that it was minted under"), "{noted}");
    assert!(!noted.contains("warning"), "{noted}");

    // A line that was left behind is told and mended.
    let lines = folder.read(".keyward/variables.env");
    let stale: String =
        lines.lines().filter(|line| !line.contains("PEPPERS")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.path(".keyward/variables.env"), stale).unwrap();
    let (_, noted) = folder.says("ring status", 0);
    assert!(noted.contains("warning: .keyward/variables.env says something else of peppers"), "{noted}");
    folder.says("ring add signing_keys", 0);
    are_in_step(&folder);
    // Who has no such file gets none.
    std::fs::remove_file(folder.path(".keyward/variables.env")).unwrap();
    folder.says("ring add signing_keys", 0);
    assert!(!folder.path(".keyward/variables.env").exists());
    let damaged = folder.path(".keyward/variables/peppers.json");
    std::fs::write(damaged, "{}").unwrap();
    folder.says("ring status", 3);
}
