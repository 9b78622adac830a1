//! Use: how keys are used.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{KeyId, Timestamp};
use keyward_service::{BucketLength, UsageView};
use utoipa::openapi::Required;

const SUBJECT: &str = "Usage";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(SUBJECT, "/v1/keys/{id}/usage", "getKeyUsage", "How often a key was used, when, and to which end")
            .says("Hours are kept for seven days, days for ninety; a day of hours or a month of days where `from` is left out. Counts are of requests with a right secret. What an instance had not written when it was killed is not in them.")
            .scope(scope::KEYS_READ)
            .id::<KeyId>("id")
            .query_of::<Timestamp>("from", "From the hour or day on that this lies in.", Required::False)
            .query_of::<Timestamp>("to", "Up to this; until now where it is left out.", Required::False)
            .query_of::<BucketLength>("by", "How long the buckets are.", Required::False)
            .answers::<UsageView>(200, "The counts.")
            .reads(),
    ]
}
