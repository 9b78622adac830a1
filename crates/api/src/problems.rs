//! Problems as responses: for each status of an endpoint one, which names the types that it can have.

use keyward_domain::problem::MEDIA_TYPE;
use keyward_domain::{Code, Problem};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Components, Content, Ref, Response, ResponseBuilder};

use crate::components::header;

/// What whoever asks an administrative route without being allowed to is told.
pub const OF_CREDENTIALS: &[Code] =
    &[Code::MisplacedCredential, Code::Unauthenticated, Code::InsufficientScope];
/// What a body can get wrong.
pub const OF_BODIES: &[Code] =
    &[Code::InvalidBody, Code::InvalidField, Code::BodyTooLarge, Code::UnsupportedMediaType];
/// What can happen wherever the store is read.
pub const OF_THE_STORE: &[Code] = &[
    Code::StoreUnavailable,
    Code::RingVersionUnknown,
    Code::Misconfigured,
    Code::RecordDamaged,
    Code::Internal,
];

/// Puts the response that stands for `codes`, all of one status, into `components`, and gives the reference to it.
pub fn response(codes: &[Code], components: &mut Components) -> Ref {
    let name = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(".");
    components.responses.entry(name.clone()).or_insert_with(|| describe(codes).into());
    Ref::from_response_name(name)
}

fn describe(codes: &[Code]) -> Response {
    let titles = codes.iter().map(|code| format!("{} (`{}`)", code.title(), code.as_str()));
    let types = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.problem_type())));
    let narrowed = AllOfBuilder::new()
        .item(Ref::from_schema_name(Problem::name()))
        .item(ObjectBuilder::new().property("type", types));
    let response = ResponseBuilder::new()
        .description(titles.collect::<Vec<_>>().join(". "))
        .header_ref(header::REQUEST_ID, header::named(header::REQUEST_ID))
        .content(MEDIA_TYPE, Content::new(Some(narrowed)));
    hints(codes)
        .into_iter()
        .fold(response, |response, hint| response.header_ref(hint, header::named(hint)))
        .build()
}

/// The headers that say what to do about it.
fn hints(codes: &[Code]) -> Option<&'static str> {
    let status = codes.first().map(|code| code.status());
    match status {
        Some(401 | 403) => Some(header::CHALLENGE),
        Some(429 | 503) => Some(header::RETRY_AFTER),
        Some(409) if codes.contains(&Code::IdempotencyInFlight) => Some(header::RETRY_AFTER),
        _ => None,
    }
}
