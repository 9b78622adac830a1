//! Claims and reports: what needs no other credential than what the request carries.

use crate::Endpoint;
use keyward_domain::{ClaimId, Code};
use keyward_service::{
    ClaimView, ClaimedKeyBody, KeyRevocation, LeakLabels, LeakReport, Presented, TakeClaim,
};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Content, Required, ResponseBuilder};

const SUBJECT: &str = "Claims and reports";

pub fn endpoints() -> Vec<Endpoint> {
    let jwk = ObjectBuilder::new().schema_type(Type::Object);
    let jwks = ObjectBuilder::new().property("keys", ArrayBuilder::new().items(jwk)).required("keys");
    let page = ObjectBuilder::new().schema_type(Type::String);
    vec![
        Endpoint::post(SUBJECT, "/v1/claims", "takeClaim", "Take a claim: mints the token and tells it once")
            .says("The answer is signed (RFC 9421). Again it is 410, and an alarm; with the same Idempotency-Key it can be had for 60 s more.")
            .takes::<TakeClaim>()
            .answers::<ClaimedKeyBody<'_>>(200, "The token, and whose it is.")
            .creates()
            .refuses(&[Code::MisplacedCredential, Code::NotFound, Code::ClaimTaken, Code::ClaimGone, Code::IssuingFrozen]),
        Endpoint::get(SUBJECT, "/v1/claims/{id}", "getClaim", "For whom a claim is, until when, taken or not")
            .id::<ClaimId>("id")
            .answers::<ClaimView>(200, "The claim.")
            .reads(),
        Endpoint::post(SUBJECT, "/v1/revocations", "reportToken", "Revoke the key whose token this is: the token is the proof")
            .takes::<Presented>()
            .answers::<KeyRevocation>(200, "It is dead.")
            .changes()
            .refuses(&[Code::MisplacedCredential, Code::NotFound, Code::Revoked]),
        Endpoint::post(SUBJECT, "/v1/leaks", "reportLeaks", "End what a scanner found, as the policies of the keys say")
            .says("In the format of GitHub's secret scanning partners, and signed as GitHub signs (ECDSA over P-256 with SHA-256, of the body as it was sent) by a key that the variable `leak_report_keys` has. The key of a token that was found is revoked; where its policy has `on_leak` `rotate`, every version of it dies and a successor is offered. A renewal token and a claim's ticket are withdrawn. A report that comes twice finds them ended, and labels the same. The body may have 8 MB, and 10,000 matches.")
            .query(required_header("Github-Public-Key-Identifier", "Which key it is signed with."))
            .query(required_header("Github-Public-Key-Signature", "The signature, ASN.1 DER in base64."))
            .takes::<LeakReport>()
            .answers::<LeakLabels>(200, "A label for each match, in their order.")
            .changes()
            .refuses(&[Code::NotFound, Code::Unauthenticated, Code::MisplacedCredential, Code::Misconfigured]),
        Endpoint::get(SUBJECT, "/claim", "claimPage", "The page that explains a claim, and takes it on a click").answers_with(
            200,
            ResponseBuilder::new()
                .description("The page; the ticket stays in the fragment of its address.")
                .content("text/html", Content::new(Some(page))),
        ),
        Endpoint::get(SUBJECT, "/.well-known/keyward/jwks.json", "getSigningKeys", "The keys that claim answers are signed with")
            .answers_with(
                200,
                ResponseBuilder::new()
                    .description("A JSON web key set (RFC 7517).")
                    .content("application/jwk-set+json", Content::new(Some(jwks))),
            )
            .refuses(&[Code::Misconfigured]),
    ]
}

fn required_header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
