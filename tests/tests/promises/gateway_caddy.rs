//! Caddy (`forward_auth`) with `docs/gateways/Caddyfile` keeps what `gateway_contract.rs` says.

use keyward_e2e::gateway::Example;

use crate::gateway_contract::{keeps_the_service_to_key_holders, maps_every_verdict};

const CADDY: Example = Example {
    program: "caddy",
    arguments: &["run", "--adapter", "caddyfile", "--config", "Caddyfile"],
    files: &["Caddyfile"],
};

#[test]
fn it_keeps_the_service_to_key_holders() {
    keeps_the_service_to_key_holders(&CADDY);
}

#[test]
fn it_maps_every_verdict() {
    maps_every_verdict(&CADDY);
}
