//! Keyward's promises, one file for each, kept by the built components on the real host over real HTTP.
//! `cargo xtask test --only build --only e2e` builds what they need and runs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the whole package is tests: what goes wrong must fail loudly and at once"
)]

mod api_document;
mod audit_verify;
mod audit_verify_large;
mod back_off;
mod bad_input;
mod bad_requests_in_bulk;
mod by_the_command;
mod claim_page;
mod claims_once;
mod compliance;
mod contract_loop;
mod credential_rotation;
mod credentials;
mod credentials_out_of_place;
mod dashboard;
mod dashboard_pages;
mod dashboard_sessions;
mod due_work;
mod emergency;
mod every_change_is_on_record;
mod found_secrets;
mod garbage_costs_nothing;
mod gateway_caddy;
mod gateway_contract;
mod gateway_envoy;
mod gateway_nginx;
mod gateway_traefik;
mod idempotency;
mod imports;
mod kill_nine;
mod last_root;
mod leaks;
mod limits;
mod methods;
mod metrics;
mod moved_records;
mod narrowed_admin;
mod network_rules;
mod patience;
mod policies;
mod preconditions;
mod readme_tour;
mod recovery_drills;
mod redis_under_load;
mod refusals_name_the_scope;
mod refusals_tell_why;
mod replicas;
mod revocation_is_at_once;
mod ring_rollover;
mod roles;
mod rolled_back;
mod rotation;
mod schemathesis;
mod second_sink;
mod secrets;
mod signed_claims;
mod stalled_writer;
mod store_faults;
mod stores;
mod tenancy;
mod text_as_it_is;
mod tokens;
mod transparency_log;
mod unknown_and_wrong_look_alike;
mod usage;
mod webhooks;
mod workloads;
