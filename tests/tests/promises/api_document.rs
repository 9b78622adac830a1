//! The API's document is served to everybody, is the snapshot of the repository, and names what the components take: no path, no
//! method more or less.

use std::collections::BTreeSet;

use keyward_e2e::document::Document;
use keyward_e2e::{Keyward, Request, programs};

#[test]
fn it_is_served_without_a_credential() {
    let keyward = Keyward::start();
    let snapshot = std::fs::read(programs::root().join("docs/openapi.json")).unwrap();
    let reply = keyward.send(Request::get("/openapi.json")).expect(200);
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert_eq!(reply.body, snapshot, "built before the snapshot was written: `cargo xtask build`");
    assert_eq!(reply.json()["openapi"], "3.1.0");
    let head = keyward.send(Request::new("HEAD", "/openapi.json")).expect(200);
    assert_eq!(head.field("content-type"), Some("application/json"));
    // A token that is none opens nothing and closes nothing.
    keyward.send(Request::get("/openapi.json").bearer("nobody's")).expect(200);
}

#[test]
fn every_path_takes_the_methods_that_are_described_and_no_other() {
    let keyward = Keyward::start();
    let mut checked = 0;
    // A gateway's question is asked in every method: `methods.rs` has it.
    for (path, mut described) in Document::of(&keyward).paths() {
        if path == "/v1/authorize" {
            continue;
        }
        if described.contains("GET") {
            described.insert("HEAD".to_owned());
        }
        described.insert("OPTIONS".to_owned());
        let target = path.replace(['{', '}'], "");
        let reply = keyward.send(Request::new("OPTIONS", &target)).expect(204);
        let allow = reply.field("allow").unwrap_or_else(|| panic!("{path}: no Allow"));
        assert_eq!(allow.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), described, "{path}");
        checked += 1;
    }
    assert!(checked > 20, "{checked} paths");
}

#[test]
fn a_client_made_of_it_can_fetch_tiles() {
    let keyward = Keyward::start();
    keyward.as_root(Request::get("/v1/audit/checkpoint")).expect(200);
    let tile = |path: &str| keyward.as_root(Request::get(&format!("/v1/audit/tile/{path}"))).expect(200).body;
    // Such a client writes the slashes of a parameter percent-encoded.
    for path in ["0/000.p/1", "entries/000.p/1"] {
        assert_eq!(tile(&path.replace('/', "%2F")), tile(path), "{path}");
        assert_eq!(tile(&path.replace('/', "%2f")), tile(path), "{path}");
    }
}
