//! Policies: how often keys rotate, how long they live, and what becomes of those that do not keep to it.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{Code, PolicyId};
use keyward_service::{List, NewPolicy, PolicyChange, PolicyView, PresetView, Reason};

const SUBJECT: &str = "Policies";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/policies", "createPolicy", "Create a policy")
            .says("What neither the request nor its preset gives is 90 days between rotations, 7 days of grace, no bounds, and renewal by the holder.")
            .scope(scope::POLICIES_WRITE)
            .takes::<NewPolicy>()
            .answers::<PolicyView>(201, "The policy.")
            .creates()
            .refuses(&[Code::NameTaken]),
        Endpoint::get(SUBJECT, "/v1/policies", "listPolicies", "The policies, retired ones included")
            .scope(scope::POLICIES_READ)
            .lists::<PolicyView>()
            .reads(),
        Endpoint::get(SUBJECT, "/v1/policies/presets", "listPolicyPresets", "Terms that a policy may start from")
            .says("Each says what it sets, and why: having it makes nobody compliant with anything.")
            .scope(scope::POLICIES_READ)
            .answers::<List<PresetView>>(200, "All of them.")
            .reads()
            .refuses(&[Code::InvalidParameter]),
        Endpoint::get(SUBJECT, "/v1/policies/{id}", "getPolicy", "One policy")
            .scope(scope::POLICIES_READ)
            .id::<PolicyId>("id")
            .answers::<PolicyView>(200, "The policy.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/policies/{id}", "changePolicy", "Change a policy, for all keys that have it at once")
            .says("A null term is \"never\" or \"without bound\"; one that is absent stays as it is.")
            .scope(scope::POLICIES_WRITE)
            .id::<PolicyId>("id")
            .takes::<PolicyChange>()
            .answers::<PolicyView>(200, "The policy, changed.")
            .changes_revision()
            .refuses(&[Code::NameTaken, Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/policies/{id}/retire", "retirePolicy", "Retire a policy")
            .says("Nobody is given it any more, and its name is free; whoever has it keeps its terms. One that is retired stays as it is: the answer is its state, without a receipt.")
            .scope(scope::POLICIES_WRITE)
            .id::<PolicyId>("id")
            .takes::<Reason>()
            .answers::<PolicyView>(200, "The policy, retired.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
    ]
}
