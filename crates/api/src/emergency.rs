//! What an emergency can stop and end.

use crate::Endpoint;
use keyward_domain::Code;
use keyward_domain::scope::administration as scope;
use keyward_service::{BulkRevocation, BulkRevocationView, EmergencyView, Reason};

const SUBJECT: &str = "Emergency";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(SUBJECT, "/v1/emergency", "getEmergency", "Whether issuing is frozen, since when and why")
            .scope(scope::EMERGENCY_READ)
            .answers::<EmergencyView>(200, "How it stands.")
            .reads(),
        Endpoint::post(SUBJECT, "/v1/emergency/freeze", "freezeIssuing", "Stop all issuing")
            .says("Nobody issues a key or takes a claim until it is thawed. Frozen already, it stays so since the first call.")
            .scope(scope::EMERGENCY_FREEZE)
            .takes::<Reason>()
            .answers::<EmergencyView>(200, "How it stands.")
            .changes(),
        Endpoint::post(SUBJECT, "/v1/emergency/thaw", "thawIssuing", "Go on issuing")
            .scope(scope::EMERGENCY_FREEZE)
            .takes::<Reason>()
            .answers::<EmergencyView>(200, "How it stands.")
            .changes(),
        Endpoint::post(SUBJECT, "/v1/revocations/bulk", "revokeKeys", "Revoke many keys: by who issued them, by tag, by time")
            .says(
                "Names at least one of `actor`, `tag`, `issued_since`, `issued_until`; all that is given must hold of a key. One call \
                 revokes at most 128 keys, in one commit with an event for each; `next_cursor`, as `cursor` of the next call, leads to \
                 the others. A page may have none. Whoever holds `keys:revoke` for some applications names one of them.",
            )
            .scope(scope::KEYS_REVOKE)
            .takes::<BulkRevocation>()
            .answers::<BulkRevocationView>(200, "The keys of this call; with `dry_run`, those that it would have revoked.")
            .creates()
            .refuses(&[Code::NotFound]),
    ]
}
