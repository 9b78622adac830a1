//! Traefik (`forwardAuth`) with `docs/gateways/traefik.yaml` keeps what `gateway_contract.rs` says.

use keyward_e2e::gateway::Example;

use crate::gateway_contract::{keeps_the_service_to_key_holders, maps_every_verdict};

const TRAEFIK: Example = Example {
    program: "traefik",
    arguments: &["--configFile=traefik.yaml"],
    files: &["traefik.yaml", "traefik-routes.yaml"],
};

#[test]
fn it_keeps_the_service_to_key_holders() {
    keeps_the_service_to_key_holders(&TRAEFIK);
}

#[test]
fn it_maps_every_verdict() {
    maps_every_verdict(&TRAEFIK);
}
