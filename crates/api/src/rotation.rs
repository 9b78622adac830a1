//! Rotation: successors of keys, by an admin's hand or by their holders'.

use crate::Endpoint;
use crate::problems::OF_CREDENTIALS;
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_service::{
    BulkRotation, BulkRotationBody, ClaimedKeyBody, IssuedKeyBody, KeyView, Reason, RenewKey, RotateKey,
    RoutingTableView, SelfView,
};

const SUBJECT: &str = "Rotation";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/keys/{id}/rotate", "rotateKey", "Offer a successor of the version in use, with a claim for it")
            .says("`scheduled`: the version in use goes on until `grace_s` after the successor's claim, and for as long as nobody claims it. `incident`: every version so far dies at once, one that is only offered included, and no renewal token of the key holds any more. A new claim for a successor that is offered is had with `/v1/keys/{id}/claims`.")
            .scope(scope::KEYS_ROTATE)
            .id::<KeyId>("id")
            .takes::<RotateKey>()
            .answers::<IssuedKeyBody<'_>>(201, "The key, and the successor's claim to be taken.")
            .creates()
            .refuses(&[Code::StateConflict, Code::Revoked, Code::LastRoot, Code::IssuingFrozen]),
        Endpoint::post(SUBJECT, "/v1/rotations/bulk", "rotateKeys", "Offer successors of many keys at once, each with a claim")
            .says(
                "Names at least one of `application`, `tag`, `standing`, `actor`, `issued_since`, `issued_until`, `claimed_until`; all \
                 that is given must hold of a key. One call rotates at most 32 keys, in one commit with an event for each; \
                 `next_cursor`, as `cursor` of the next call, leads to the others. A page may have none. A successor that is offered \
                 already gets a claim where it has none that is open; else its key is `skipped`, as is one that is in an overlap. \
                 `incident`: every version so far of these keys dies first, at once; with `claimed_until` what is claimed meanwhile \
                 lives on. Whoever holds `keys:rotate` for some applications names one of them.",
            )
            .scope(scope::KEYS_ROTATE)
            .takes::<BulkRotation>()
            .answers::<BulkRotationBody<'_>>(200, "The keys of this call with their claims; with `dry_run`, those that it would have rotated.")
            .creates()
            .refuses(&[Code::NotFound, Code::IssuingFrozen]),
        Endpoint::post(SUBJECT, "/v1/keys/{id}/rotation/finish", "finishRotation", "End an overlap: every version but the newest dies")
            .scope(scope::KEYS_ROTATE)
            .id::<KeyId>("id")
            .takes::<Reason>()
            .answers::<KeyView>(200, "The key, with one version.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict, Code::Revoked]),
        Endpoint::post(SUBJECT, "/v1/keys/{id}/rotation/cancel", "cancelRotation", "Take the offer of a successor back, until it is claimed")
            .scope(scope::KEYS_ROTATE)
            .id::<KeyId>("id")
            .takes::<Reason>()
            .answers::<KeyView>(200, "The key, without an offer.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict, Code::Revoked]),
        Endpoint::get(SUBJECT, "/v1/self", "getSelf", "What the holder of a token sees of its key")
            .says("For any token that passes. It says when the next version is due and whether the holder can renew the key by itself.")
            .credential([])
            .refuses(OF_CREDENTIALS)
            .answers::<SelfView>(200, "The key.")
            .reads(),
        Endpoint::post(SUBJECT, "/v1/self/renew", "renewSelf", "Have the next version minted with a renewal token, without an admin")
            .says("The answer is signed as that of a claim. The version before goes on for the grace. A renewal token works once: used again it is 410, an alarm, and the end of self-renewal until an admin rotates the key; the same Idempotency-Key has the same answer for 24 h.")
            .takes::<RenewKey>()
            .answers::<ClaimedKeyBody<'_>>(200, "The token, the next renewal token, and whose they are.")
            .creates()
            .refuses(&[Code::MisplacedCredential, Code::NotFound, Code::RenewalUsed, Code::RenewalGone, Code::StateConflict, Code::Revoked, Code::IssuingFrozen]),
        Endpoint::get(SUBJECT, "/v1/routes/{id}", "getRoutes", "Which keys serve an application's slots, and their versions")
            .says("Slots are given keys by changing the application. With `If-None-Match`, the answer is 304 where nothing has changed; with `wait_s` as well, as soon as something has, or 304 after that time.")
            .scope(scope::KEYS_READ)
            .id::<ApplicationId>("id")
            .answers::<RoutingTableView>(200, "The table.")
            .waits_for_change()
            .reads(),
    ]
}
