//! Envoy (`ext_authz`) with `docs/gateways/envoy.yaml` keeps what `gateway_contract.rs` says.

use keyward_e2e::gateway::Example;

use crate::gateway_contract::{keeps_the_service_to_key_holders, maps_every_verdict};

const ENVOY: Example = Example {
    program: "envoy",
    arguments: &["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "2"],
    files: &["envoy.yaml"],
};

#[test]
fn it_keeps_the_service_to_key_holders() {
    keeps_the_service_to_key_holders(&ENVOY);
}

#[test]
fn it_maps_every_verdict() {
    maps_every_verdict(&ENVOY);
}
