//! The log.

use crate::Endpoint;
use keyward_domain::event::{Action, Event, EventId};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, KeyId, Timestamp};
use utoipa::openapi::Required;

const SUBJECT: &str = "Audit";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(SUBJECT, "/v1/audit/events", "listEvents", "Who did what, newest first")
            .says("Whoever may see the events of some applications only must name one of them.")
            .scope(scope::AUDIT_READ)
            .query_of::<ApplicationId>("application", "About this application or its keys.", Required::False)
            .query_of::<KeyId>("key", "About this key.", Required::False)
            .query_of::<KeyId>("actor", "Caused with this key.", Required::False)
            .query_of::<Action>("action", "Of this action.", Required::False)
            .query_of::<Timestamp>("since", "Not before.", Required::False)
            .query_of::<Timestamp>("until", "Before.", Required::False)
            .lists::<Event>()
            .reads(),
        Endpoint::get(SUBJECT, "/v1/audit/events/{id}", "getEvent", "One event")
            .scope(scope::AUDIT_READ)
            .id::<EventId>("id")
            .answers::<Event>(200, "The event.")
            .reads(),
    ]
}
