//! The log.

use crate::Endpoint;
use crate::problems::OF_CREDENTIALS;
use keyward_domain::event::{Action, Event, EventId};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, CredentialId, KeyId, Timestamp};
use keyward_service::{
    ComplianceView, CredentialReportView, HeadView, MaintenanceView, ProofView, ShredRequest, ShredView,
    StateDigests, StateQuery,
};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Required, ResponseBuilder};

use crate::components::optional;

const SUBJECT: &str = "Audit";
const REPORTS: &str = "Reports";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(SUBJECT, "/v1/audit/events", "listEvents", "Who did what, newest first")
            .says(
                "Whoever may see the events of some applications only must name one of them. With `after` they come oldest first, at \
                 most 1000, up to the first whose writing is not finished; `next_cursor` is then the next `after`.",
            )
            .scope(scope::AUDIT_READ)
            .query_of::<ApplicationId>("application", "About this application or its keys.", Required::False)
            .query_of::<KeyId>("key", "About this key.", Required::False)
            .query_of::<CredentialId>("credential", "About this credential.", Required::False)
            .query_of::<KeyId>("actor", "Caused with this key.", Required::False)
            .query_of::<Action>("action", "Of this action.", Required::False)
            .query_of::<Timestamp>("since", "Not before.", Required::False)
            .query_of::<Timestamp>("until", "Before.", Required::False)
            .query(after())
            .lists::<Event>()
            .reads(),
        Endpoint::get(SUBJECT, "/v1/audit/events/{id}", "getEvent", "One event")
            .scope(scope::AUDIT_READ)
            .id::<EventId>("id")
            .answers::<Event>(200, "The event.")
            .reads(),
        Endpoint::get(SUBJECT, "/v1/audit/checkpoint", "getCheckpoint", "The signed head of the log")
            .says("A checkpoint of C2SP tlog-checkpoint, brought up to date first.")
            .scope(scope::AUDIT_READ)
            .query(epoch())
            .answers_with(200, text("A signed note."))
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/audit/head", "getLogHead", "How far the log is, and who signs it")
            .says("What the checkpoint does not say: tickets taken, tickets voided, the keys that sign. Nothing of it is signed.")
            .scope(scope::AUDIT_READ)
            .query(epoch())
            .answers::<HeadView>(200, "How the log stands.")
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/audit/tile/{tile}", "getTile", "A tile of the Merkle tree, or the entries below it")
            .says(
                "C2SP tlog-tiles of height 8: `0/x001/067`, `1/000.p/5`, `entries/000`; the slashes of the path stand as they are or \
                 percent-encoded. Entries are the sealed events.",
            )
            .scope(scope::AUDIT_READ)
            .query(tile())
            .query(epoch())
            .answers_with(200, bytes("The hashes, or the entries."))
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/audit/proof/inclusion", "proveInclusion", "Proof that an event is in the log")
            .says("As RFC 6962 section 2.1.1 has it; `size` is that of the tree that it leads to, the newest by default.")
            .scope(scope::AUDIT_READ)
            .query_of::<EventId>("event", "Which event.", Required::True)
            .query(size())
            .answers::<ProofView>(200, "The proof.")
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(
            SUBJECT,
            "/v1/audit/proof/consistency",
            "proveConsistency",
            "Proof that a log seen before is the beginning of the one now",
        )
        .says("As RFC 6962 section 2.1.2 has it.")
        .scope(scope::AUDIT_READ)
        .query(count("from", "The size of the log seen before.", Required::True))
        .query(size())
        .query(epoch())
        .answers::<ProofView>(200, "The proof.")
        .reads()
        .refuses(&[Code::NotFound]),
        Endpoint::post(SUBJECT, "/v1/audit/state", "digestState", "Digests of records as they lie there now")
            .says("To be held against the ones that events name under `writes`. Changes nothing.")
            .scope(scope::AUDIT_READ)
            .takes::<StateQuery>()
            .answers::<StateDigests>(200, "The digests, in the order asked for.")
            .reads(),
        Endpoint::post(SUBJECT, "/v1/audit/shred", "shredPersonalData", "Destroy what is personal in the log of past months")
            .says(
                "The keys under which addresses, user agents and principals of those months lie are destroyed; the events stay, and the \
                 log still verifies.",
            )
            .scope(scope::AUDIT_SHRED)
            .takes::<ShredRequest>()
            .answers::<ShredView>(200, "What is gone.")
            .changes(),
        Endpoint::get(REPORTS, "/v1/reports/compliance", "reportCompliance", "How keys comply with their policies")
            .says(
                "Walks the keys, newest first, a page at a time. Its figures are counts and sums over the keys of the page, so that those of \
                 all pages add up. Takes both scopes; whoever holds them for some applications only must name one of them.",
            )
            .credential([scope::AUDIT_READ, scope::KEYS_READ])
            .refuses(OF_CREDENTIALS)
            .query_of::<ApplicationId>("application", "The keys of this application.", Required::False)
            .query_of::<Timestamp>("since", "Rotations and revocations from then on.", Required::False)
            .pages()
            .answers::<ComplianceView>(200, "The figures of a page.")
            .reads()
            .refuses(&[Code::NotFound, Code::TooManyAttempts]),
        Endpoint::get(REPORTS, "/v1/reports/credentials", "reportCredentials", "How credentials stand, and who looks after them")
            .says(
                "Walks the credentials that the caller may see, newest first, a page at a time. Its figures are counts over those of the \
                 page, so that those of all pages add up. Takes both scopes; whoever holds `audit:read` for some applications only must name \
                 one of them.",
            )
            .credential([scope::AUDIT_READ, scope::CREDENTIALS_LIST])
            .refuses(OF_CREDENTIALS)
            .query_of::<ApplicationId>("application", "The credentials of this application.", Required::False)
            .pages()
            .answers::<CredentialReportView>(200, "The figures of a page.")
            .reads()
            .refuses(&[Code::NotFound, Code::TooManyAttempts]),
        Endpoint::post(SUBJECT, "/v1/maintenance/run", "runMaintenance", "Do the work that is due from time to time")
            .says("Extends the log's tree and lists, and reports events that came late. For platforms without a cron trigger.")
            .scope(scope::MAINTENANCE_RUN)
            .takes_nothing()
            .answers::<MaintenanceView>(200, "How far it came.")
            .changes(),
    ]
}

fn after() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^evt_[0-9]+_[0-9]+$"));
    optional(ParameterIn::Query, "after", "Oldest first, after this event; `evt_1_0` for all.", schema)
}

fn epoch() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(u32::MAX));
    optional(ParameterIn::Query, "epoch", "Which epoch of the log; the current one by default.", schema)
}

fn size() -> Parameter {
    count("size", "The size of the tree that the proof leads to.", Required::False)
}

fn count(name: &str, description: &str, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(required)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
        .build()
}

fn tile() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^([0-7]|entries)(/x[0-9]{3})*/[0-9]{3}([.]p/[0-9]{1,3})?$"));
    ParameterBuilder::new()
        .name("tile")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Level or `entries`, index, and width where it is not full."))
        .schema(Some(schema))
        .build()
}

fn text(description: &str) -> ResponseBuilder {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    ResponseBuilder::new()
        .description(description)
        .content("text/plain; charset=utf-8", Content::new(Some(schema)))
}

fn bytes(description: &str) -> ResponseBuilder {
    let content = Content::new(None::<utoipa::openapi::RefOr<utoipa::openapi::Schema>>);
    ResponseBuilder::new().description(description).content("application/octet-stream", content)
}
