//! Every store that Keyward runs on keeps the same promises, seen from where Keyward sees it: from inside a component.

use keyward_e2e::keyward::Bare;
use keyward_e2e::{Request, Value, programs};

/// Fewer checks than this would mean that the suite did not run to its end.
const CHECKS_MIN: usize = 19;

#[test]
fn sqlite_through_a_component() {
    conforms(&Bare::start(&programs::guest("kv-conformance"), false));
}

#[test]
fn redis_through_a_component() {
    conforms(&Bare::start(&programs::guest("kv-conformance"), true));
}

fn conforms(bare: &Bare) {
    let reply = bare.connect().exchange(&Request::get("/")).expect(200);
    let checks = reply.json();
    let checks = checks.as_array().unwrap();
    assert!(checks.len() >= CHECKS_MIN, "{} checks", checks.len());
    let broken: Vec<&Value> = checks.iter().filter(|check| !check["broken"].is_null()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
