//! README's tour works as pasted, line by line, with Keyward running and nothing else prepared.

use std::process::{Command, Stdio};

use keyward_e2e::{Setup, programs};

/// Where README's reader has it; a test takes another port, since this one may be in use.
const ADDRESS_IN_README: &str = "http://127.0.0.1:3000";

/// What stands in fences marked `sh` below the heading `## Tour`.
fn tour(readme: &str) -> String {
    let section =
        readme.split("\n## ").find(|section| section.starts_with("Tour")).expect("a section `Tour`");
    let mut lines = Vec::new();
    let mut is_inside = false;
    for line in section.lines() {
        match (is_inside, line.trim_end()) {
            (false, "```sh") => is_inside = true,
            (true, "```") => is_inside = false,
            (true, line) => lines.push(line),
            (false, _) => {}
        }
    }
    lines.join("\n")
}

#[test]
fn every_line_works_as_pasted() {
    let readme = std::fs::read_to_string(programs::root().join("README.md")).unwrap();
    let script = tour(&readme);
    assert!(script.lines().filter(|line| line.starts_with("curl")).count() >= 8, "a tour of some length");
    assert!(script.contains(ADDRESS_IN_README));
    let keyward = Setup::new().by_command().start();
    let script = script.replace(ADDRESS_IN_README, &keyward.url());
    std::os::unix::fs::symlink(keyward.state_dir(), keyward.folder().join(".keyward")).unwrap();
    // A shell that stops at the first line that fails, where a person would.
    let output = Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", &script])
        .current_dir(keyward.folder())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let statuses: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("HTTP/1.1 "))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(statuses, ["204", "403", "401"], "{text}");
    assert!(text.contains("\"code\":\"claim-taken\""), "{text}");
    assert!(text.to_lowercase().contains("keyward-code: revoked"), "{text}");
    for action in ["key.issue", "claim.take", "claim.replay", "key.revoke"] {
        assert!(text.contains(&format!("\"action\":\"{action}\"")), "{action}: {text}");
    }
    assert!(!text.contains("kw_live_"), "the tour shows no token on the terminal");
}
