//! Use: how keys are used, and which requests are refused.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, KeyId, Timestamp};
use keyward_service::{BucketLength, METRICS_MEDIA_TYPE, RefusalsView, RequestsView, UsageView};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Required, ResponseBuilder};

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
        Endpoint::get(SUBJECT, "/v1/activity/requests", "countRequests", "How many requests there were, hour by hour")
            .says("To the keys of one application, or to all that the caller may see: of the last day where `from` is left out, of seven days at most. Counts are of requests with a right secret.")
            .scope(scope::KEYS_READ)
            .query_of::<ApplicationId>("application", "To the keys of this application.", Required::False)
            .query_of::<Timestamp>("from", "From the hour on that this lies in.", Required::False)
            .query_of::<Timestamp>("to", "Up to this; until now where it is left out.", Required::False)
            .answers::<RequestsView>(200, "The counts.")
            .refuses(&[Code::NotFound])
            .reads(),
        Endpoint::get(SUBJECT, "/v1/activity/refusals", "listRefusals", "The latest refusals of requests with a right secret")
            .says("Newest first, those of a minute that are alike together: 256 of all applications, and 256 of each. No address and no token is in it. With `If-None-Match`, the answer is 304 where there are no others; with `wait_s` as well, as soon as there are, or 304 after that time.")
            .scope(scope::KEYS_READ)
            .query_of::<ApplicationId>("application", "Those of the keys of this application.", Required::False)
            .query_of::<Timestamp>("since", "From the minute on that this lies in.", Required::False)
            .answers::<RefusalsView>(200, "The refusals.")
            .waits_for_change()
            .refuses(&[Code::NotFound])
            .reads(),
        Endpoint::get(SUBJECT, "/metrics", "getMetrics", "Metrics for Prometheus")
            .says("In the text format 0.0.4. The number of series is fixed: no label names a key, an application or a caller.")
            .scope(scope::METRICS_READ)
            .answers_with(200, metrics())
            .refuses(&[Code::InvalidParameter])
            .reads(),
    ]
}

fn metrics() -> ResponseBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String);
    ResponseBuilder::new().description("The metrics.").content(METRICS_MEDIA_TYPE, Content::new(Some(text)))
}
