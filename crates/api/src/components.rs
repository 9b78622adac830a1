//! What many endpoints share: headers, parameters, the ways to present a credential.

use keyward_domain::Problem;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ComponentsBuilder, HeaderBuilder, Ref, Required};
use utoipa::{PartialSchema, ToSchema};

use keyward_service::Page;

/// The credential in `Authorization`.
pub const BEARER: &str = "bearer";
/// The credential in a header of its own.
pub const API_KEY: &str = "apiKey";

/// Headers of responses.
pub mod header {
    use utoipa::openapi::Ref;

    /// Names the request.
    pub const REQUEST_ID: &str = "Keyward-Request-Id";
    /// Where in the log a change lies.
    pub const RECEIPT: &str = "Keyward-Receipt";
    /// That the answer was given before.
    pub const REPLAYED: &str = "Idempotency-Replayed";
    /// The revision.
    pub const ETAG: &str = "ETag";
    /// When to come back.
    pub const RETRY_AFTER: &str = "Retry-After";
    /// Which credential is needed.
    pub const CHALLENGE: &str = "WWW-Authenticate";

    /// The reference to a header of this name among the components.
    pub fn named(name: &str) -> Ref {
        Ref::new(format!("#/components/headers/{name}"))
    }
}

/// Parameters of requests.
pub mod parameter {
    use utoipa::openapi::Ref;

    /// Names a request that may be repeated.
    pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
    /// The revision that a change is made for.
    pub const IF_MATCH: &str = "If-Match";
    /// How many items.
    pub const LIMIT: &str = "limit";
    /// Where a page starts.
    pub const CURSOR: &str = "cursor";

    /// The reference to a parameter of this name among the components.
    pub fn named(name: &str) -> Ref {
        Ref::new(format!("#/components/parameters/{name}"))
    }
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

/// A parameter that may be left out.
pub fn optional(place: ParameterIn, name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// All of them.
pub fn shared() -> Components {
    let header = |description: &str, schema: ObjectBuilder| {
        HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
    };
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(Page::LIMIT_MAX))
        .default(Some(Page::LIMIT_DEFAULT.into()));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token in `Authorization: Bearer`. The scopes that a route names are those that its key must hold."))
        .build();
    ComponentsBuilder::new()
        .header(
            header::REQUEST_ID,
            header("Names the request in log lines and in its event.", text("^req_[0-7][0-9A-Za-z]{21}$")),
        )
        .header(
            header::RECEIPT,
            header(
                "Where in the log the change lies, and the RFC 6962 hash of its leaf: an item with a parameter (RFC 9651).",
                text("^\"evt_[0-9]+_[0-9]+\";leaf=:[A-Za-z0-9+/]{43}=:$"),
            ),
        )
        .header(
            header::REPLAYED,
            header("That the answer was given before, under the same Idempotency-Key.", text("^true$")),
        )
        .header(header::ETAG, header("The revision of what is shown, for `If-Match`.", text("^\"[0-9]+\"$")))
        .header(header::RETRY_AFTER, header("When to come back, in seconds.", text("^[0-9]+$")))
        .header(
            header::CHALLENGE,
            header(
                "What the credential lacks (RFC 6750): for a missing scope, `scope` names it.",
                text("^Bearer realm=\"keyward\""),
            ),
        )
        .parameter(
            parameter::IDEMPOTENCY_KEY,
            optional(
                ParameterIn::Header,
                parameter::IDEMPOTENCY_KEY,
                "Names the request, so that it can be repeated: the same key and body have one effect and one answer.",
                text("^[!-~]+$").min_length(Some(1)).max_length(Some(255)),
            ),
        )
        .parameter(
            parameter::IF_MATCH,
            optional(
                ParameterIn::Header,
                parameter::IF_MATCH,
                "The `ETag` that the change is made for, or `*`.",
                text("^(\\*|\"[0-9]{1,19}\")$").examples(["*", "\"3\""]),
            ),
        )
        .parameter(
            parameter::LIMIT,
            optional(ParameterIn::Query, parameter::LIMIT, "How many items a page has at most.", limit),
        )
        .parameter(
            parameter::CURSOR,
            optional(
                ParameterIn::Query,
                parameter::CURSOR,
                "The `next_cursor` of the page before.",
                ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)),
            ),
        )
        .schema(Problem::name(), Problem::schema())
        .schemas_from_iter(referred::<Problem<'_>>())
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(
            API_KEY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "The same token in a header of its own; never together with `Authorization`.",
            ))),
        )
        .build()
}

/// The schemas that `T` refers to, with their names.
pub fn referred<T: ToSchema>() -> Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)> {
    let mut schemas = Vec::new();
    T::schemas(&mut schemas);
    schemas
}

/// The reference to a schema among the components.
pub fn schema_of<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}
