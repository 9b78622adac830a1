//! Roles: bundles of scopes of administration, held by reference.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{Code, RoleId};
use keyward_service::{NewRole, Reason, RoleChange, RoleView};

const SUBJECT: &str = "Roles";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/roles", "createRole", "Create a role")
            .says("Whoever creates a role must hold every scope of it.")
            .scope(scope::ROLES_WRITE)
            .takes::<NewRole>()
            .answers::<RoleView>(201, "The role.")
            .creates()
            .refuses(&[Code::NameTaken]),
        Endpoint::get(SUBJECT, "/v1/roles", "listRoles", "The roles, retired ones included")
            .scope(scope::ROLES_READ)
            .lists::<RoleView>()
            .reads(),
        Endpoint::get(SUBJECT, "/v1/roles/{id}", "getRole", "One role")
            .scope(scope::ROLES_READ)
            .id::<RoleId>("id")
            .answers::<RoleView>(200, "The role.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/roles/{id}", "changeRole", "Change a role, for all keys that hold it at once")
            .says("Whoever changes a role must hold every scope that it has before and after.")
            .scope(scope::ROLES_WRITE)
            .id::<RoleId>("id")
            .takes::<RoleChange>()
            .answers::<RoleView>(200, "The role, changed.")
            .changes_revision()
            .refuses(&[Code::NameTaken, Code::StateConflict, Code::LastRoot]),
        Endpoint::post(SUBJECT, "/v1/roles/{id}/retire", "retireRole", "Retire a role, for good")
            .says("A role that living keys hold is refused, saying how many. One that is retired stays as it is: the answer is its state, without a receipt.")
            .scope(scope::ROLES_WRITE)
            .id::<RoleId>("id")
            .takes::<Reason>()
            .answers::<RoleView>(200, "The role, retired.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
    ]
}
