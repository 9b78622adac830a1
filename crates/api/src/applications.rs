//! Applications: whom keys belong to.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code};
use keyward_service::{ApplicationChange, ApplicationView, GenerationRevocation, NewApplication, Reason};

const SUBJECT: &str = "Applications";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/applications", "createApplication", "Create an application")
            .scope(scope::APPS_WRITE)
            .takes::<NewApplication>()
            .answers::<ApplicationView>(201, "The application.")
            .creates()
            .refuses(&[Code::NameTaken]),
        Endpoint::get(SUBJECT, "/v1/applications", "listApplications", "The applications that the caller may see")
            .scope(scope::APPS_READ)
            .lists::<ApplicationView>()
            .reads(),
        Endpoint::get(SUBJECT, "/v1/applications/{id}", "getApplication", "One application")
            .scope(scope::APPS_READ)
            .id::<ApplicationId>("id")
            .answers::<ApplicationView>(200, "The application.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/applications/{id}", "changeApplication", "Change, suspend or resume an application")
            .scope(scope::APPS_WRITE)
            .id::<ApplicationId>("id")
            .takes::<ApplicationChange>()
            .answers::<ApplicationView>(200, "The application, changed.")
            .changes_revision()
            .refuses(&[Code::Forbidden, Code::NameTaken, Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/applications/{id}/revoke", "revokeApplication", "Revoke every key that an application has had so far")
            .says("Keys issued later live. Again without a key issued in between, the answer is that of the first time, without a receipt.")
            .scope(scope::KEYS_REVOKE)
            .id::<ApplicationId>("id")
            .takes::<Reason>()
            .answers::<GenerationRevocation>(200, "They are dead.")
            .changes()
            .refuses(&[Code::Forbidden]),
    ]
}
