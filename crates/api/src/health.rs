//! The service itself.

use crate::Endpoint;
use keyward_domain::Code;
use keyward_service::{Alive, Ready};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, ResponseBuilder};

const SUBJECT: &str = "Service";

pub fn endpoints() -> Vec<Endpoint> {
    let document = ObjectBuilder::new().schema_type(Type::Object);
    vec![
        Endpoint::get(SUBJECT, "/healthz", "getHealth", "Whether the process answers")
            .answers::<Alive>(200, "It does."),
        Endpoint::get(SUBJECT, "/readyz", "getReadiness", "Whether the store can carry Keyward")
            .answers::<Ready>(200, "It can.")
            .reads()
            .refuses(&[Code::StoreUnsuitable, Code::StoreRolledBack]),
        Endpoint::get(SUBJECT, "/openapi.json", "getDocument", "This document").answers_with(
            200,
            ResponseBuilder::new()
                .description("OpenAPI 3.1.")
                .content("application/json", Content::new(Some(document))),
        ),
    ]
}
