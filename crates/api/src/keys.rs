//! Keys: what a partner presents.

use crate::Endpoint;
use crate::problems::OF_CREDENTIALS;
use keyward_domain::scope::administration as scope;
use keyward_domain::tag::Tag;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_service::{
    IssuedKeyBody, KeyChange, KeyRevocation, KeyView, LookupView, NewKey, Presented, Reason,
};
use keyward_verify::{KeyCheck, KeyCheckAnswer};
use utoipa::openapi::Required;

const SUBJECT: &str = "Keys";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/keys", "issueKey", "Issue a key, with a claim for its first version")
            .says("No secret exists yet: it is minted for whoever takes the claim. Whoever issues a key of `keyward` must hold every scope of it, those of its roles included.")
            .scope(scope::KEYS_WRITE)
            .takes::<NewKey>()
            .answers::<IssuedKeyBody<'_>>(201, "The key, and the claim to be taken.")
            .creates()
            .refuses(&[Code::NotFound, Code::IssuingFrozen]),
        Endpoint::get(SUBJECT, "/v1/keys", "listKeys", "The keys of one application")
            .scope(scope::KEYS_READ)
            .query_of::<ApplicationId>("application", "Whose.", Required::True)
            .query_of::<Tag>("tag", "With this tag, in any spelling.", Required::False)
            .lists::<KeyView>()
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/keys/{id}", "getKey", "One key")
            .scope(scope::KEYS_READ)
            .id::<KeyId>("id")
            .answers::<KeyView>(200, "The key.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/keys/{id}", "changeKey", "Change a key, switch it off or on")
            .scope(scope::KEYS_WRITE)
            .id::<KeyId>("id")
            .takes::<KeyChange>()
            .answers::<KeyView>(200, "The key, changed.")
            .changes_revision()
            .refuses(&[Code::Revoked, Code::LastRoot]),
        Endpoint::post(SUBJECT, "/v1/keys/{id}/claims", "reissueClaim", "A new claim in the place of one that was not taken")
            .scope(scope::KEYS_WRITE)
            .id::<KeyId>("id")
            .takes_nothing()
            .answers::<IssuedKeyBody<'_>>(201, "The key, and the claim to be taken.")
            .creates()
            .refuses(&[Code::StateConflict, Code::Revoked, Code::IssuingFrozen]),
        Endpoint::post(SUBJECT, "/v1/keys/{id}/revoke", "revokeKey", "Revoke a key, for good")
            .says("A key that is dead already stays as it is: the answer is that of its death, without a receipt.")
            .scope(scope::KEYS_REVOKE)
            .id::<KeyId>("id")
            .takes::<Reason>()
            .answers::<KeyRevocation>(200, "It is dead.")
            .changes()
            .refuses(&[Code::LastRoot]),
        Endpoint::post(SUBJECT, "/v1/keys/lookup", "lookUpToken", "Whose a token in hand is")
            .says("The look-up is an event: somebody has seen a secret.")
            .scope(scope::KEYS_READ)
            .takes::<Presented>()
            .answers::<LookupView>(200, "The key, and which of its versions the token is.")
            .changes()
            .refuses(&[Code::NotFound]),
        Endpoint::post(SUBJECT, "/v1/keys/verify", "checkKey", "May this token pass?")
            .credential([scope::KEYS_VERIFY])
            .refuses(OF_CREDENTIALS)
            .takes::<KeyCheck>()
            .answers::<KeyCheckAnswer<'_>>(200, "Whether it passes, and why not.")
            .reads(),
    ]
}
