//! Keys: what a partner presents.

use crate::Endpoint;
use crate::problems::OF_CREDENTIALS;
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::Standing;
use keyward_domain::tag::Tag;
use keyward_domain::text::Name;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_service::{
    IssuedKeyBody, KeyChange, KeyImport, KeyImportView, KeyRevocation, KeyView, LookupView, NewKey, Order,
    Presented, Reason, StandingsView,
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
        Endpoint::post(SUBJECT, "/v1/keys/import", "importKeys", "Take over keys that another system issued")
            .says("Partners keep the tokens that they have: what is sent of one is its digest. A token is imported once; one that is a key already stays what that key is, whatever became of it. One that cannot be taken keeps no other from it: it is told beside them.")
            .scope(scope::KEYS_WRITE)
            .takes::<KeyImport>()
            .answers::<KeyImportView>(200, "What became of each, in the order in which they were given.")
            .creates()
            .refuses(&[Code::IssuingFrozen]),
        Endpoint::get(SUBJECT, "/v1/keys", "listKeys", "The keys of one application, or all that the caller may see")
            .says("Looked up by `standing`, or by whoever is narrowed to some applications and names none, they come application by application. A page bounds what it examines: it may be short, or empty, and lead on all the same.")
            .scope(scope::KEYS_READ)
            .query_of::<ApplicationId>("application", "Whose; all that the caller may see where it is absent.", Required::False)
            .query_of::<Tag>("tag", "With this tag, in any spelling.", Required::False)
            .query_of::<Standing>("standing", "That stand so, as far as the log is projected; each is shown as it stands now.", Required::False)
            .query_of::<Name>("name", "Whose name begins so, to the letter.", Required::False)
            .query_of::<Order>("order", "By when they were issued; `newest` first where it is absent.", Required::False)
            .lists::<KeyView>()
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/keys/standings", "countKeys", "How many keys stand how")
            .says("Counted as the log is projected, not by going through them: it takes as long for a million keys as for ten.")
            .scope(scope::KEYS_READ)
            .query_of::<ApplicationId>("application", "Whose; all that the caller may see where it is absent.", Required::False)
            .answers::<StandingsView>(200, "The counts.")
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
