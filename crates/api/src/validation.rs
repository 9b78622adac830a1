//! Validation, for gateways: headers alone.

use crate::Endpoint;
use crate::components::{header, optional};
use keyward_domain::ApplicationId;
use keyward_domain::key::Environment;
use keyward_domain::scope::{SCOPES_MAX, Scope};
use utoipa::ToSchema;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{HeaderBuilder, Ref, Required, ResponseBuilder};

const SUBJECT: &str = "Validation";

pub fn endpoints() -> Vec<Endpoint> {
    let text = |description: &str| {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
    };
    let refused = |description: &str, hint: &str| {
        ResponseBuilder::new()
            .description(description)
            .header("Keyward-Code", text("Why; only a right secret learns more than `NOT_FOUND`."))
            .header_ref(hint, header::named(hint))
    };
    let passes = ResponseBuilder::new()
        .description("It passes.")
        .header("Keyward-Key-Id", text("The key."))
        .header("Keyward-Key-Version", text("Which of its versions."))
        .header("Keyward-Application", text("Whose key it is."))
        .header("Keyward-Environment", text("`live` or `test`."))
        .header("Keyward-Scopes", text("What the key may do, separated by spaces."));
    let wrong = ResponseBuilder::new()
        .description("Two credentials, one in the URL, or a parameter that is not valid.");
    let scopes = ArrayBuilder::new().items(Ref::from_schema_name(Scope::name())).max_items(Some(SCOPES_MAX));
    let scope = ParameterBuilder::new()
        .name("scope")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("Scopes that the key must hold, all of them: repeat the parameter."))
        .schema(Some(scopes));
    let environment = optional(
        ParameterIn::Query,
        "environment",
        "In which world the key must work.",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([Environment::Live.as_str(), Environment::Test.as_str()])),
    );
    vec![
        Endpoint::get(SUBJECT, "/v1/authorize", "authorize", "May this request pass?")
            .says("For gateways, in headers alone. `/v1/authorize` and every path below it take every method, OPTIONS too, and answer alike, but for a yes, which is 200 below the path: what a gateway forwards is what it asks about.")
            .credential([])
            .query(scope)
            .query(environment)
            .query_of::<ApplicationId>("application", "Whose key it must be.", Required::False)
            .answers_with(204, passes)
            .answers_with(400, wrong)
            .answers_with(401, refused("No credential, or none that passes.", header::CHALLENGE))
            .answers_with(403, refused("A rule or a missing scope forbids it.", header::CHALLENGE))
            .answers_with(429, refused("A limit is reached.", header::RETRY_AFTER))
            .answers_with(
                503,
                ResponseBuilder::new()
                    .description("The store does not answer, or a key ring is not up to date.")
                    .header_ref(header::RETRY_AFTER, header::named(header::RETRY_AFTER)),
            ),
    ]
}
