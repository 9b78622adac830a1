//! What is found where, what is left out, and how the command ends.

use crate::place::{Place, finding, github_token, minted, noise};

#[test]
fn tokens_of_keyward_and_of_others_in_a_tree() {
    let place = Place::new("tree");
    let wrong = minted("kw", 9).replace("kw_live", "kx_live");
    place.write(
        "src/main.py",
        format!("import os\n\nTOKEN = '{}'\nGITHUB = \"{}\"\n", minted("acme", 1), github_token(1)),
    );
    place.write("notes.txt", format!("{}\r\nticket {}\r\n{wrong}\r\n", minted("kwr", 2), minted("kwc", 3)));
    place.write(".env", format!("DB_URL=postgres://shop:{}@db.internal/shop\n", noise(16, 2)));
    place.write("README.md", "nothing of interest\n");
    assert_eq!(
        place.finds(&[], 1),
        [
            finding("postgres-connection-uri", ".env", 1, 24),
            finding("keyward-renewal-token", "notes.txt", 1, 1),
            finding("keyward-claim-ticket", "notes.txt", 2, 8),
            finding("keyward-token", "src/main.py", 3, 10),
            finding("github-pat", "src/main.py", 4, 11),
        ]
    );
    assert_eq!(place.finds(&["--own"], 1).len(), 3);
    assert_eq!(
        place.finds(&["src/main.py"], 1),
        [finding("keyward-token", "main.py", 3, 10), finding("github-pat", "main.py", 4, 11)]
    );
    assert_eq!(place.finds(&["README.md"], 0), []);
    assert_eq!(place.scan(&["nowhere"]).status.code(), Some(3));
    assert_eq!(place.scan(&["--json", "--format", "sarif"]).status.code(), Some(2));
}

#[test]
fn what_is_left_out_of_a_tree() {
    let place = Place::new("left-out");
    let line = format!("x = '{}'\n", github_token(3));
    place.write(".gitignore", "ignored/\n");
    place.write("ignored/a.py", &line);
    place.write("program", [line.as_bytes(), b"\0\0"].concat());
    place.write("large.json", format!("{line}{}", " ".repeat(1024 * 1024)));
    place.write("target-of-link/.gitignore", "*\n");
    place.write("target-of-link/b.py", &line);
    std::os::unix::fs::symlink(place.path("target-of-link"), place.path("link")).unwrap();
    std::os::unix::fs::symlink(place.path("ignored/a.py"), place.path("link.py")).unwrap();
    place.write("allowed.py", format!("x = '{}' # keyward:allow of a test\n", github_token(3)));
    let report = place.report(&["--max-mib", "1"], 0);
    assert_eq!(report["left_out"]["binary"], 1);
    assert_eq!(report["left_out"]["too_large"], 1);
    assert_eq!(place.finds(&[], 1), [finding("github-pat", "large.json", 1, 6)]);
    let paths: Vec<String> = place.finds(&["--ignored"], 1).into_iter().map(|(_, path, ..)| path).collect();
    assert_eq!(paths, ["ignored/a.py", "large.json", "target-of-link/b.py"]);

    // What was added in spite of `.gitignore` is in everybody's clone.
    place.git(&["init", "-q"]);
    place.git(&["add", "-f", "ignored/a.py"]);
    assert_eq!(
        place.finds(&[], 1),
        [finding("github-pat", "ignored/a.py", 1, 6), finding("github-pat", "large.json", 1, 6)]
    );
}

#[test]
fn odd_texts() {
    let place = Place::new("odd");
    let token = minted("kw", 4);
    place.write("huge-line.js", format!("{}{token}{}", "a;".repeat(500_000), "b ".repeat(500_000)));
    place.write("latin1.txt", [b"gr\xfc\xdfe: ".as_slice(), token.as_bytes(), b"\n"].concat());
    place.write("crlf.ini", format!("[a]\r\nkey={token}\r\n"));
    place.write("empty", "");
    let utf16: Vec<u8> =
        format!("\u{feff}$t = '{token}'").encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("windows.ps1", utf16);
    assert_eq!(
        place.finds(&[], 1),
        [
            finding("keyward-token", "crlf.ini", 2, 5),
            finding("keyward-token", "huge-line.js", 1, 1_000_001),
            finding("keyward-token", "latin1.txt", 1, 8),
            finding("keyward-token", "windows.ps1", 1, 7),
        ]
    );
}

#[test]
fn what_cannot_be_read_is_told_and_is_no_clean_scan() {
    let place = Place::new("unread");
    place.write("fine.txt", "fine\n");
    place.write("closed.txt", format!("{}\n", minted("kw", 5)));
    place.chmod("closed.txt", 0o000);
    // Root reads everything; then there is nothing to see here.
    if std::fs::read(place.path("closed.txt")).is_ok() {
        return;
    }
    let report = place.report(&[], 5);
    assert_eq!(report["left_out"]["unread"][0]["path"], "closed.txt");
    place.write("leak.txt", format!("{}\n", minted("kw", 6)));
    place.report(&[], 1);
}

#[test]
fn a_history_has_what_was_removed() {
    let place = Place::new("history");
    place.git(&["init", "-q", "-b", "main"]);
    let (gone, kept, merged) = (github_token(6), github_token(7), minted("kw", 8));
    place.write("app.py", format!("# first\nx = '{gone}'\n"));
    let first = place.commit("2026-01-31T08:00:00Z");
    place.write("app.py", format!("# later\n\nx = '{gone}'\ny = '{kept}'\n"));
    let second = place.commit("2026-02-01T08:00:00+01:00");
    place.write("app.py", format!("y = '{kept}'\n"));
    place.commit("2026-02-02T08:00:00Z");
    place.git(&["checkout", "-q", "-b", "side", &first]);
    place.write("side.py", "1\n");
    place.commit("2026-02-03T08:00:00Z");
    place.git(&["checkout", "-q", "main"]);
    // In neither of its parents.
    place.git(&["merge", "-q", "--no-commit", "side"]);
    place.write("side.py", format!("token = '{merged}'\n"));
    let merge = place.commit("2026-02-04T08:00:00Z");
    std::fs::remove_file(place.path("side.py")).unwrap();
    place.commit("2026-02-05T08:00:00Z");

    assert_eq!(place.finds(&[], 1), [finding("github-pat", "app.py", 1, 6)]);
    let report = place.report(&["--history"], 1);
    let seen: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let commit = &one["commit"];
            (
                one["path"].as_str().unwrap(),
                one["line"].as_u64().unwrap(),
                commit["id"].as_str().unwrap(),
                commit["at"].as_str().unwrap(),
                one["in_tree"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("app.py", 1, second.as_str(), "2026-02-01T08:00:00+01:00", true),
            ("app.py", 2, first.as_str(), "2026-01-31T08:00:00Z", false),
            ("side.py", 1, merge.as_str(), "2026-02-04T08:00:00Z", false),
        ]
    );
    // Of a folder of it: what is in the others is not.
    place.write("sub/fine.txt", "fine\n");
    place.commit("2026-02-06T08:00:00Z");
    assert_eq!(place.finds(&["sub", "--history"], 0), []);
    // What a stash keeps is in the history as well.
    place.write("app.py", format!("y = '{}'\n", github_token(9)));
    place.git(&["stash", "-q"]);
    assert_eq!(place.finds(&["--history"], 1).len(), 4);
}

#[test]
fn a_history_that_is_none_or_cut_off_is_told() {
    let place = Place::new("no-history");
    place.write("sub/a.txt", "fine\n");
    let elsewhere = std::env::temp_dir();
    let ran = place.scan(&[elsewhere.to_str().unwrap(), "--history", "--max-mib", "1", "--own"]);
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    place.git(&["init", "-q", "-b", "main", "whole"]);
    let whole = Place::new("whole");
    whole.git(&["init", "-q", "-b", "main"]);
    whole.write("a.py", format!("x = '{}'\n", github_token(1)));
    whole.commit("2026-01-31T08:00:00Z");
    whole.write("a.py", "fine\n");
    whole.commit("2026-02-01T08:00:00Z");
    place.git(&["clone", "-q", "--depth", "1", &format!("file://{}", whole.path("").display()), "cut"]);
    let ran = place.scan(&["cut", "--history"]);
    assert_eq!(ran.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("shallow"));
}

#[test]
fn a_baseline_and_a_list_of_what_is_allowed() {
    let place = Place::new("baseline");
    place.write("old.py", format!("x = '{}'\n", github_token(1)));
    let before = place.scan(&["--format", "json"]);
    place.write("known.json", before.stdout);
    assert_eq!(place.finds(&["--baseline", "known.json"], 0), []);
    // The same secret further down is known; another one is not.
    place.write("old.py", format!("\n\nx = '{}'\nnew = '{}'\n", github_token(1), github_token(2)));
    assert_eq!(place.finds(&["--baseline", "known.json"], 1), [finding("github-pat", "old.py", 4, 8)]);
    place.write(".keyward-scan", "# of tests\ngithub-pat *.py\n");
    assert_eq!(place.finds(&[], 0), []);
    place.write("elsewhere", "github-pat *.rb\n");
    assert_eq!(place.finds(&["--allow", "elsewhere"], 1).len(), 2);
    place.write("elsewhere", "github-pat\n");
    assert_eq!(place.scan(&["--allow", "elsewhere"]).status.code(), Some(3));
    assert_eq!(place.scan(&["--baseline", "elsewhere"]).status.code(), Some(3));
}

#[test]
fn our_own_repository_has_nothing_that_is_not_explained() {
    let place = Place::new("ours");
    let found = place.finds(&[concat!(env!("CARGO_MANIFEST_DIR"), "/../..")], 0);
    assert_eq!(found, []);
}
