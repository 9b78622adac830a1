//! Promise: what cannot run is refused at start, with what was wrong and what would be right.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::{Setup, manifest, plain_manifest};

#[test]
fn each_fault_is_named() {
    let route = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"";
    for (manifest, runtime_config, part) in [
        ("spin_manifest_version = 1".to_owned(), None, "this host runs version 2"),
        (manifest(route, "files = [\"a\"]"), None, "build the files into the component"),
        (manifest(&format!("{route}\n{route}"), ""), None, "the route `/...` is there twice"),
        (
            manifest("[[trigger.cron]]\ncomponent = \"probe\"\ncron_expression = \"* * *\"", ""),
            None,
            "six or seven are needed",
        ),
        (
            manifest(route, "key_value_stores = [\"other\"]"),
            None,
            "no `[key_value_store.other]` in the runtime configuration",
        ),
        (manifest(route, "allowed_outbound_hosts = [\"example.com\"]"), None, "there is no scheme"),
        (manifest(route, "variables = { a = \"{{ b }}\" }"), None, "names no entry of `[variables]`"),
        (plain_manifest().replace("probe.wasm", "other.wasm"), None, "is it built?"),
        (plain_manifest().replace("probe.wasm", "probe.d"), None, "is no component this host can run"),
        (
            plain_manifest(),
            Some("[key_value_store.default]\ntype = \"azure\""),
            "\"spin\" (SQLite) and \"redis\"",
        ),
        (
            plain_manifest(),
            Some("[key_value_store.a]\ntype = \"replica\"\nof = \"default\"\nlag_ms = 1"),
            "test world only",
        ),
        (
            plain_manifest(),
            Some("[key_value_store.a]\ntype = \"redis\"\nurl = \"rubbish\""),
            "is no Redis URL",
        ),
    ] {
        let mut setup = Setup::new(manifest.clone());
        if let Some(text) = runtime_config {
            setup = setup.runtime_config(text);
        }
        let (code, said) = setup.fails();
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(part), "{manifest}: {said}");
    }
}

#[test]
fn a_second_host_on_one_address_is_refused() {
    let host = Setup::plain().start();
    let (code, said) = Setup::plain().arg(format!("--listen={}", host.addr)).fails();
    assert!(code != 0 && said.contains("listen"), "{said}");
}
