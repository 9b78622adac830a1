//! README's tour works as pasted, line by line, with Keyward running and nothing else prepared.

use keyward_e2e::{Setup, pasted};

#[test]
fn every_line_works_as_pasted() {
    let script = pasted::fences("README.md", "Tour").concat();
    assert!(script.lines().filter(|line| line.starts_with("curl")).count() >= 8, "a tour of some length");
    assert!(script.contains(pasted::ADDRESS));
    let keyward = Setup::new().by_command().start();
    let (text, errors) = pasted::run(&keyward, &script);
    assert!(errors.is_empty(), "{errors}");
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
}
