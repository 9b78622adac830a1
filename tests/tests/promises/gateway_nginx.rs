//! nginx (`auth_request`) with `docs/gateways/nginx.conf` keeps what `gateway_contract.rs` says.

use keyward_e2e::gateway::Example;

use crate::gateway_contract::{keeps_the_service_to_key_holders, maps_every_verdict};

const NGINX: Example = Example {
    program: "nginx",
    arguments: &["-p", ".", "-e", "log", "-c", "nginx.conf", "-g", "daemon off; pid nginx.pid;"],
    files: &["nginx.conf"],
};

#[test]
fn it_keeps_the_service_to_key_holders() {
    keeps_the_service_to_key_holders(&NGINX);
}

#[test]
fn it_maps_every_verdict() {
    maps_every_verdict(&NGINX);
}
