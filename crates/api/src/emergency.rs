//! What an emergency can stop.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_service::{EmergencyView, Reason};

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
    ]
}
