//! A backup is the store alone, private and verified; a restore verifies before it touches anything, and keeps what it replaces.

use std::path::Path;

use crate::folder::Folder;

const STORE: &str = ".keyward/sqlite_key_value.db";

/// Something happens that the log has.
fn another_event(folder: &Folder, out: &str) -> String {
    let recovered = folder.json(&format!("recover-root --principal ada --out {out}"), 0);
    recovered["event"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_backed_up_comes_back_and_what_was_there_is_kept() {
    let folder = Folder::with_state("backup");
    let made = folder.json("backup --to copy.db", 0);
    assert_eq!((made["newest_event"].as_str(), made["tickets"].as_u64()), (Some("evt_1_1"), Some(1)));
    let modes = folder.modes();
    assert_eq!(modes["copy.db"], 0o600);
    assert!(modes.keys().all(|name| !name.ends_with(".new") && !name.contains("copy.db-")), "{modes:?}");
    let copy = std::fs::read(folder.path("copy.db")).unwrap();
    assert_eq!(made["size_bytes"].as_u64(), Some(u64::try_from(copy.len()).unwrap()));
    for key in folder.ring_keys() {
        assert!(!copy.windows(key.len()).any(|part| part == key.as_bytes()), "a ring is in the backup");
    }
    let (shown, noted) = folder.says("backup --to second.db", 0);
    assert!(shown.contains("evt_1_1") && noted.contains("The rings are not in it"), "{shown}{noted}");

    assert_eq!(another_event(&folder, "second.key"), "evt_1_2");
    let before = folder.contents();
    folder.says("backup --to copy.db", 4);
    folder.says("restore --from copy.db", 4);
    assert_eq!(folder.contents(), before, "a refusal changes nothing");

    let restored = folder.json("restore --from copy.db --replace", 0);
    assert_eq!(
        (restored["newest_event"].as_str(), restored["store"].as_str()),
        (Some("evt_1_1"), Some(STORE))
    );
    let kept = restored["kept"].as_str().unwrap();
    assert!(
        Path::new(kept).file_name().unwrap().to_str().unwrap().starts_with("sqlite_key_value.db.replaced-")
    );
    let (_, noted) = folder.says(&format!("restore --from {kept} --replace"), 0);
    assert!(noted.contains("a key that was revoked later lives again"), "{noted}");
    assert_eq!(another_event(&folder, "third.key"), "evt_1_3", "the old store is whole");
    assert_eq!(folder.json("backup --to copy.db --replace", 0)["newest_event"], "evt_1_3");
    assert_eq!(folder.modes()[STORE], 0o600);
}

#[test]
fn a_restore_needs_no_store_but_the_rings() {
    let folder = Folder::with_state("restore");
    folder.says("backup --to copy.db", 0);
    std::fs::remove_file(folder.path(STORE)).unwrap();
    folder.says("backup --to none.db", 3);
    assert!(!folder.path(STORE).exists() && !folder.path("none.db").exists(), "looking makes no store");
    let restored = folder.json("restore --from copy.db", 0);
    assert!(restored["kept"].is_null());
    // A store that is damaged is replaced too.
    std::fs::write(folder.path(STORE), "no database").unwrap();
    folder.says("backup --to none.db", 6);
    let restored = folder.json("restore --from copy.db --replace", 0);
    assert_eq!(folder.read(restored["kept"].as_str().unwrap()), "no database");

    folder.says("init --state-dir other", 0);
    let (_, said) = folder.says("restore --from copy.db --state-dir other --replace", 6);
    assert!(said.contains("opens under the rings that it was written with"), "{said}");
    folder.says("restore --from copy.db --state-dir absent", 3);
    assert!(!folder.path("absent").exists());
    folder.says(&format!("restore --from {STORE} --replace"), 2);
}

#[test]
fn what_is_no_whole_store_is_not_restored() {
    let folder = Folder::with_state("damaged");
    folder.says("backup --to copy.db", 0);
    let whole = std::fs::read(folder.path("copy.db")).unwrap();
    std::fs::write(folder.path("cut.db"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(folder.path("text.db"), "no database").unwrap();
    std::fs::write(folder.path("empty.db"), "").unwrap();
    // One byte of a sealed record flipped: whole for SQLite, but not for the rings. The newest event's key stands before it.
    let mut flipped = whole;
    let at = flipped.windows(5).position(|part| part == b"e:1.1").unwrap();
    flipped[at + 60] ^= 1;
    std::fs::write(folder.path("flipped.db"), &flipped).unwrap();
    let before = folder.contents();
    // For whoever has nothing better: whole for SQLite is enough then.
    folder.says("restore --from cut.db --replace --force-unverified", 6);
    for (name, exit_code) in
        [("cut.db", 6), ("text.db", 6), ("empty.db", 3), ("absent.db", 3), ("flipped.db", 6)]
    {
        folder.says(&format!("restore --from {name} --replace"), exit_code);
    }
    assert_eq!(folder.contents(), before);
    let (_, said) = folder.says("restore --from flipped.db --replace --force-unverified", 0);
    assert!(said.contains("does not verify"), "{said}");
    // A store that does not verify is copied all the same, but under another name.
    std::fs::write(folder.path("good.db"), "a good one").unwrap();
    let (_, said) = folder.says("backup --to good.db --replace", 6);
    assert!(said.contains("The copy was kept as `good.db.unverified`"), "{said}");
    assert_eq!(folder.read("good.db"), "a good one");
    assert_eq!(folder.modes()["good.db.unverified"], 0o600);
}
