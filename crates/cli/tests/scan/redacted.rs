//! No form of output has more of a secret than its first four characters, and each is what its readers expect.

use proptest::prelude::*;
use serde_json::Value;

use crate::place::{Place, github_token, minted, noise};

/// The longest part of a secret that may be shown.
const SHOWN_MAX: usize = 4;

fn outputs(place: &Place, secrets: &[String]) {
    for format in ["table", "json", "sarif"] {
        for more in [&[] as &[&str], &["--history"]] {
            let ran = place.scan(&[&["--format", format], more].concat());
            assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
            let told =
                format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            for secret in secrets {
                let parts = secret.as_bytes().windows(SHOWN_MAX * 2);
                for part in parts.map(|part| std::str::from_utf8(part).unwrap()) {
                    assert!(!told.contains(part), "{format} has `{part}` of `{secret}`:\n{told}");
                }
            }
        }
    }
}

#[test]
fn no_output_has_a_secret() {
    let place = Place::new("redacted");
    place.git(&["init", "-q"]);
    // What a token says of its key may be told; its secret begins after prefix, environment, id and version.
    let secret_of = |token: &str| token[token.len() - 49..].to_owned();
    proptest!(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() }, |(fill in 1_u8..=255, seed in 0_usize..1000, dir in "[a-z]{1,6}")| {
        let (token, renewal) = (minted("acme", fill), minted("kwr", fill));
        let (github, password) = (github_token(seed), noise(14, seed));
        place.write(&format!("{dir}/a.py"), format!("x = '{token}'\ny = '{github}'\n"));
        place.write(&format!("{dir}/{renewal}.txt"), format!("{renewal} in its name as well"));
        place.write(&format!("{dir}/.env"), format!("URL=mysql://me:{password}@db/x\nDB_PASSWORD='{password}'\n"));
        place.commit("2026-01-31T08:00:00Z");
        outputs(&place, &[secret_of(&token), secret_of(&renewal), github, password]);
    });
}

#[test]
fn sarif_is_of_the_shape_that_its_readers_expect() {
    let place = Place::new("sarif");
    place.write("a b/\u{e4}#1.py", format!("x = '{}'\n", github_token(1)));
    let ran = place.scan(&["--format", "sarif"]);
    let log: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len(), "each rule once");
    let result = &run["results"][0];
    let at = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[at]["id"], result["ruleId"]);
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%A4%231.py");
    assert_eq!(
        place["region"],
        serde_json::json!({ "startLine": 1, "startColumn": 6, "endLine": 1, "endColumn": 46 })
    );
    assert!(run["results"][0]["partialFingerprints"]["keywardScan/v1"].is_string());
}
