//! The document of Keyward's HTTP API (OpenAPI 3.1), out of the types that the components read and answer with. It runs nowhere: the
//! snapshot `docs/openapi.json` is what `/openapi.json` serves, and `cargo xtask openapi` writes it anew.
//!
//! A route is added in three steps: derive `ToSchema` on what it reads and answers, with the limits that the code checks; describe it
//! in the module of its subject below (an [`Endpoint`] knows which problems follow from a body, a scope, an id in the path ...; what
//! is particular is named with [`Endpoint::refuses`]); run `cargo xtask openapi`. The tests compare the document with the routes in the
//! components' sources and with the snapshot.

mod applications;
mod audit;
mod claims;
mod components;
mod credentials;
mod emergency;
mod endpoint;
mod health;
mod keys;
mod policies;
mod problems;
mod rings;
mod roles;
mod rotation;
mod usage;
mod validation;
mod webhooks;

pub use endpoint::Endpoint;

use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder, Paths, Tag};

/// Every route of every component, subject by subject.
pub fn endpoints() -> Vec<Endpoint> {
    [
        applications::endpoints(),
        roles::endpoints(),
        policies::endpoints(),
        keys::endpoints(),
        rotation::endpoints(),
        claims::endpoints(),
        validation::endpoints(),
        usage::endpoints(),
    ]
    .into_iter()
    .chain([
        emergency::endpoints(),
        credentials::endpoints(),
        webhooks::endpoints(),
        audit::endpoints(),
        rings::endpoints(),
    ])
    .chain([health::endpoints()])
    .flatten()
    .collect()
}

/// The document.
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = components::shared();
    let mut tags = Vec::<&str>::new();
    for endpoint in endpoints() {
        if !tags.contains(&endpoint.subject()) {
            tags.push(endpoint.subject());
        }
        endpoint.describe(&mut paths, &mut components);
    }
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let mut info = Info::new("Keyward", env!("CARGO_PKG_VERSION"));
    info.description = Some(include_str!("description.md").to_owned());
    info.license = Some(license);
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components))
        .tags(Some(tags.into_iter().map(Tag::new)))
        .build()
}

/// The document as the snapshot has it.
///
/// # Errors
/// Those of the serializer.
pub fn snapshot() -> Result<String, serde_json::Error> {
    document().to_pretty_json().map(|text| text + "\n")
}
