//! One endpoint as data: method, path, what it takes, what it answers. What follows from these (which problems, which headers) is
//! known here and nowhere else.

use keyward_domain::Code;
use keyward_service::WAIT_S_MAX;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Components, Content, Ref, RefOr, Required, Response, ResponseBuilder};

use crate::components::{self, API_KEY, BEARER, header, optional, parameter, schema_of};
use crate::problems::{self, OF_BODIES, OF_CREDENTIALS, OF_THE_STORE};

const JSON: &str = "application/json";

/// One endpoint.
pub struct Endpoint {
    subject: &'static str,
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    problems: Vec<Code>,
    answers: Vec<(u16, ResponseBuilder)>,
    /// Schemas to be put among the components.
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Endpoint {
    fn new(subject: &'static str, method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().tag(subject).operation_id(Some(id)).summary(Some(summary));
        Self {
            subject,
            method,
            path,
            operation,
            problems: Vec::new(),
            answers: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// `GET`, and with it `HEAD`.
    pub fn get(subject: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(subject, HttpMethod::Get, path, id, summary)
    }

    /// `POST`.
    pub fn post(subject: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(subject, HttpMethod::Post, path, id, summary)
    }

    /// `PATCH`.
    pub fn patch(subject: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(subject, HttpMethod::Patch, path, id, summary)
    }

    /// More than the summary says.
    #[must_use]
    pub fn says(mut self, description: &str) -> Self {
        self.operation = self.operation.description(Some(description));
        self
    }

    /// Takes a key of the built-in application that holds this scope, of the control plane, which counts refusals.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.credential([scope]).refuses(OF_CREDENTIALS).refuses(&[Code::TooManyAttempts])
    }

    /// Takes a credential, by either way of presenting it.
    #[must_use]
    pub(crate) fn credential<const N: usize>(mut self, scopes: [&str; N]) -> Self {
        let by = |name: &str| SecurityRequirement::new(name, scopes);
        self.operation = self.operation.security(by(BEARER)).security(by(API_KEY));
        self
    }

    /// Has the id of a `T` in its path.
    #[must_use]
    pub fn id<T: ToSchema>(mut self, name: &str) -> Self {
        self.know::<T>();
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(schema_of::<T>()));
        self.operation = self.operation.parameter(parameter);
        self.refuses(&[Code::NotFound])
    }

    /// Takes a parameter in the query.
    #[must_use]
    pub fn query(mut self, parameter: impl Into<Parameter>) -> Self {
        self.operation = self.operation.parameter(parameter);
        self.refuses(&[Code::InvalidParameter])
    }

    /// Tells whoever has seen its answer already of the next, and lets them wait for it.
    #[must_use]
    pub fn waits_for_change(self) -> Self {
        let seconds =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(WAIT_S_MAX));
        let tag = ObjectBuilder::new().schema_type(Type::String);
        let wait = "How long to wait for a change, in seconds.";
        let seen = "The `ETag` that the client has already.";
        self.query(optional(ParameterIn::Query, "wait_s", wait, seconds))
            .query(optional(ParameterIn::Header, "If-None-Match", seen, tag))
            .shows_revision()
            .answers_with(304, ResponseBuilder::new().description("It is still the one of `If-None-Match`."))
    }

    /// Takes the id of a `T` in the query.
    #[must_use]
    pub fn query_of<T: ToSchema>(mut self, name: &str, description: &str, required: Required) -> Self {
        self.know::<T>();
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(required)
            .description(Some(description))
            .schema(Some(schema_of::<T>()));
        self.query(parameter)
    }

    /// Takes a body.
    #[must_use]
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.know::<T>();
        let content = Content::new(Some(schema_of::<T>()));
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self.refuses(OF_BODIES)
    }

    /// Takes `{}` or nothing.
    #[must_use]
    pub fn takes_nothing(mut self) -> Self {
        let nothing = ObjectBuilder::new().schema_type(Type::Object).max_properties(Some(0));
        let body = RequestBodyBuilder::new().content(JSON, Content::new(Some(nothing)));
        self.operation = self.operation.request_body(Some(body.build()));
        self.refuses(OF_BODIES)
    }

    /// Answers with a `T`.
    #[must_use]
    pub fn answers<T: ToSchema>(mut self, status: u16, description: &str) -> Self {
        self.know::<T>();
        let content = Content::new(Some(schema_of::<T>()));
        self.answers_with(status, ResponseBuilder::new().description(description).content(JSON, content))
    }

    /// Answers with something else than JSON of ours.
    #[must_use]
    pub(crate) fn answers_with(mut self, status: u16, response: ResponseBuilder) -> Self {
        let response = response.header_ref(header::REQUEST_ID, header::named(header::REQUEST_ID));
        self.answers.push((status, response));
        self
    }

    /// Goes through something page by page.
    #[must_use]
    pub fn pages(mut self) -> Self {
        for name in [parameter::LIMIT, parameter::CURSOR] {
            self.operation = self.operation.parameter_ref(parameter::named(name));
        }
        self.refuses(&[Code::InvalidParameter])
    }

    /// Answers with a page of `T`s, newest first.
    #[must_use]
    pub fn lists<T: ToSchema>(self) -> Self {
        self.pages().answers::<keyward_service::List<T>>(200, "A page, newest first.")
    }

    /// The answer has one more header, out of [`header`].
    #[must_use]
    fn with(mut self, name: &str) -> Self {
        self.answers = self
            .answers
            .into_iter()
            .map(|(status, response)| (status, response.header_ref(name, header::named(name))))
            .collect();
        self
    }

    /// Reads the store.
    #[must_use]
    pub fn reads(self) -> Self {
        self.refuses(OF_THE_STORE)
    }

    /// Changes something: its answer, named before, carries a receipt.
    #[must_use]
    pub fn changes(self) -> Self {
        self.reads().refuses(&[Code::OutcomeUnknown, Code::StoreRolledBack]).with(header::RECEIPT)
    }

    /// Creates something: takes an Idempotency-Key. Its answer is named before.
    #[must_use]
    pub fn creates(mut self) -> Self {
        self.operation = self.operation.parameter_ref(parameter::named(parameter::IDEMPOTENCY_KEY));
        let codes = [Code::InvalidParameter, Code::IdempotencyInFlight, Code::IdempotencyMismatch];
        self.changes().with(header::REPLAYED).refuses(&codes)
    }

    /// Its answer, named before, shows one thing that has revisions.
    #[must_use]
    pub fn shows_revision(self) -> Self {
        self.with(header::ETAG)
    }

    /// Changes one thing that has revisions: takes `If-Match`. Its answer is named before.
    #[must_use]
    pub fn changes_revision(mut self) -> Self {
        self.operation = self.operation.parameter_ref(parameter::named(parameter::IF_MATCH));
        self.changes().shows_revision().refuses(&[Code::InvalidParameter, Code::RevisionMismatch])
    }

    /// Can answer with these problems.
    #[must_use]
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.problems.extend(codes);
        self
    }

    fn know<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into(), T::schema()));
        self.schemas.extend(components::referred::<T>());
    }

    /// What it is about.
    pub const fn subject(&self) -> &'static str {
        self.subject
    }

    /// Method and path, as in `GET /v1/keys`.
    pub fn line(&self) -> String {
        let method = match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Patch => "PATCH",
            _ => "other",
        };
        format!("{method} {}", self.path)
    }

    /// Adds it to the document.
    pub(crate) fn describe(self, paths: &mut Paths, components: &mut Components) {
        for (name, schema) in self.schemas {
            let known = components.schemas.entry(name.clone()).or_insert_with(|| schema.clone());
            debug_assert!(
                *known == schema,
                "two types are called `{name}`: give one of them another by `#[schema(as = ...)]`"
            );
        }
        let mut responses: BTreeMap<u16, RefOr<Response>> = BTreeMap::new();
        for (status, response) in self.answers {
            responses.insert(status, response.build().into());
        }
        for (status, codes) in by_status(&self.problems) {
            let reference: Ref = problems::response(&codes, components);
            responses.entry(status).or_insert(reference.into());
        }
        let operation = responses.into_iter().fold(self.operation, |operation, (status, response)| {
            operation.response(status.to_string(), response)
        });
        let operation: Operation = operation.build();
        paths.add_path_operation(self.path, vec![self.method], operation);
    }
}

/// The codes of each status, each once, in the order of [`Code::ALL`].
fn by_status(codes: &[Code]) -> BTreeMap<u16, Vec<Code>> {
    let mut sorted: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        sorted.entry(code.status()).or_default().push(*code);
    }
    sorted
}
