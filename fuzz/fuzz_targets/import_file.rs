//! Files that are imported: whatever stands in one, reading it gives secrets with names that fit, or a place in it and no part of it.
#![no_main]

use keyward_cli::import::source::Fault;
use keyward_cli::import::{Found, Held, aws_csv, env, json, keys, naming, nested, vault_kv, yaml};
use keyward_domain::credential::NAME_BYTES_MAX;
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

/// What a fault may show of a file: no run of it that is as long as a secret.
const SHOWN_MAX: usize = 24;

fn check(text: &str, found: Result<Vec<Found>, Fault>) {
    match found {
        Ok(found) => {
            for Found { place, path, held, .. } in found {
                assert!(
                    place.line >= 1 && place.line <= text.split(['\n', '\r']).count() + 1,
                    "no line of the file"
                );
                if let Ok(name) = naming::name("shop/", &path) {
                    assert!(
                        name.starts_with("shop/") && name.len() <= NAME_BYTES_MAX,
                        "{} bytes",
                        name.len()
                    );
                }
                if let Held::Text(text) = &held {
                    assert!(!text.expose().is_empty());
                }
            }
        }
        Err(fault) => quiet(text, &fault),
    }
}

/// A message has nothing of what it complains of.
fn quiet(text: &str, fault: &Fault) {
    let said: Vec<char> = fault.what.chars().collect();
    for run in said.windows(SHOWN_MAX) {
        let run: String = run.iter().collect();
        let is_ours = run.split(' ').all(|word| word.len() < SHOWN_MAX);
        assert!(is_ours || !text.contains(&run), "a message repeats the file");
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(text, env::read(text));
    check(text, aws_csv::read(text));
    for root in [json::read(text).map(Rc::new), yaml::read(text)] {
        match root {
            Ok(root) => {
                check(text, nested::read(&root));
                check(text, vault_kv::read(&root, Some("stem")));
            }
            Err(fault) => quiet(text, &fault),
        }
    }
    match keys::of_csv(text, &[]) {
        Ok(records) => drop(records),
        Err(fault) => quiet(text, &fault),
    }
});
