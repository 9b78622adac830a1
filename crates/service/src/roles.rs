//! Roles: create, look, list, change, retire.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::edit::{Editable, check_revision, given, require_living};
use crate::list::{List, Page};
use crate::service::{REPLAY_S, Service};
use crate::view::RoleView;
use keyward_domain::application::NameHolder;
use keyward_domain::error::FieldError;
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::role::{ROLES_MAX, Role};
use keyward_domain::scope::administration as scope;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::text::{Description, Name, check_description, check_name, check_reason};
use keyward_domain::{Code, Error, Result, RoleId, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a role is made of.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// What people call it; unique.
    #[schema(value_type = Name)]
    pub name: String,
    /// What it is for, in words.
    #[serde(default)]
    #[schema(value_type = Description)]
    pub description: String,
    /// What whoever holds it may do.
    #[schema(value_type = Vec<Scope>, max_items = 64)]
    pub scopes: Vec<String>,
}

/// What changes; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct RoleChange {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub name: Option<String>,
    /// Its description.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    pub description: Option<String>,
    /// Its scopes, all of them: for every key that holds the role, at once.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Scope>>, max_items = 64)]
    pub scopes: Option<Vec<String>>,
}

impl NewRole {
    fn check(&self) -> Result<ScopeSet> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_name("name", &self.name).err());
        errors.extend(check_description("description", &self.description).err());
        match ScopeSet::parse("scopes", &self.scopes) {
            Ok(scopes) if errors.is_empty() => return Ok(scopes),
            Ok(_) => {}
            Err(found) => errors.extend(found),
        }
        Err(errors.into())
    }
}

impl RoleChange {
    fn names(&self) -> Vec<String> {
        given([
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("scopes", self.scopes.is_some()),
        ])
    }

    /// The role as it is after the change, but for revision and event.
    fn apply(&self, role: &Role) -> Result<Role> {
        let mut errors: Vec<FieldError> = Vec::new();
        let mut changed = role.clone();
        if self.names().is_empty() {
            errors.push(FieldError::new(
                "",
                "changes nothing",
                "at least one of `name`, `description`, `scopes`",
            ));
        }
        if let Some(name) = &self.name {
            errors.extend(check_name("name", name).err());
            changed.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            errors.extend(check_description("description", description).err());
            changed.description.clone_from(description);
        }
        if let Some(scopes) = &self.scopes {
            match ScopeSet::parse("scopes", scopes) {
                Ok(scopes) => changed.scopes = scopes,
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(changed) } else { Err(errors.into()) }
    }
}

impl Editable for Role {
    fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }

    fn unique_name(&self) -> Option<(NameHolder, &str)> {
        Some((NameHolder::Role(self.id), &self.name))
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Creates a role.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, a taken name; where the store does not answer.
    pub async fn create_role(&self, attempt: &Attempt, new: NewRole) -> Result<Answer<RoleView>> {
        attempt.caller.require(scope::ROLES_WRITE)?;
        let scopes = new.check()?;
        attempt.caller.require_all(&scopes)?;
        if let Some(text) = self.begin(attempt, "roles.create", &new, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let id = RoleId::from_bytes(self.rng.bytes());
        let holder = NameHolder::Role(id);
        let (mut turn, mut name) = self.reserve_name(attempt, &new.name, holder, None).await?;
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.ledger.is_old(&turn) {
            (turn, name) = self.reserve_name(attempt, &new.name, holder, Some(turn)).await?;
        }
        // Only now: the event of a refusal names no role that never was.
        attempt.aim_at_role(id);
        let now = self.clock.now();
        let mut role = Role {
            id,
            name: new.name,
            description: new.description,
            scopes,
            created_at: now,
            retired_at: None,
            revision: 1,
            event: EventId { epoch: 0, seq: 0 },
        };
        let mut draft = attempt.draft(Outcome::Done, None, None);
        draft.detail = vec![allows(&role.scopes)];
        let reservation = attempt.take_reservation();
        let view = self
            .commit(attempt, vec![draft], |tickets, writes| {
                role.event = tickets.event(0);
                writes.new_role(&role);
                writes.name(&name, turn);
                let view = RoleView::of(&role);
                keep_outcome(reservation, &view, now, writes);
                Ok(view)
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// One role.
    ///
    /// # Errors
    /// A missing scope, no such role; where the store does not answer.
    pub async fn role(&self, attempt: &Attempt, id: RoleId) -> Result<RoleView> {
        attempt.caller.require(scope::ROLES_READ)?;
        Ok(RoleView::of(&self.known_role(id).await?))
    }

    async fn known_role(&self, id: RoleId) -> Result<Role> {
        self.read().role(id).await?.ok_or_else(|| Error::not_found("role"))
    }

    /// The roles, newest first, retired ones included.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where the store does not answer.
    pub async fn roles(&self, attempt: &Attempt, page: &Page) -> Result<List<RoleView>> {
        attempt.caller.require(scope::ROLES_READ)?;
        let (ids, next_cursor) = self.things::<RoleId>(lists::ROLES, page).await?;
        let reader = self.read();
        let roles = futures::future::join_all(ids.into_iter().map(|id| reader.role(id))).await;
        let roles = roles.into_iter().filter_map(Result::transpose);
        let items = roles.map(|role| role.map(|role| RoleView::of(&role))).collect::<Result<_>>()?;
        Ok(List { items, next_cursor })
    }

    /// Changes a role; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such role, a retired one, another revision, a taken name, the last root's role; where the
    /// store does not answer.
    pub async fn change_role(
        &self,
        attempt: &Attempt,
        id: RoleId,
        change: RoleChange,
        if_match: Option<u64>,
    ) -> Result<RoleView> {
        attempt.caller.require(scope::ROLES_WRITE)?;
        let known = self.known_role(id).await?;
        let decide = async |role: &Role| {
            attempt.caller.require_all(&role.scopes)?;
            let changed = change.apply(role)?;
            attempt.caller.require_all(&changed.scopes)?;
            check_revision(if_match, role.revision)?;
            require_living(role)?;
            self.keep_a_root_with_role(role, &changed).await?;
            Ok(changed)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let mut detail = change.names();
        if change.scopes.is_some() {
            detail.push(allows(&edit.after.scopes));
        }
        self.commit_edit(attempt, edit, None, detail, |role, _| RoleView::of(role)).await
    }

    /// Retires a role, for good: it allows nothing from then on, and its name is free. One that is retired stays as it is.
    ///
    /// # Errors
    /// No reason, a missing scope, no such role, one that living keys hold; where the store does not answer.
    pub async fn retire_role(&self, attempt: &Attempt, id: RoleId, reason: &str) -> Result<RoleView> {
        attempt.caller.require(scope::ROLES_WRITE)?;
        let known = self.known_role(id).await?;
        attempt.caller.require_all(&known.scopes)?;
        check_reason("reason", reason)?;
        if known.retired_at.is_some() {
            return Ok(RoleView::of(&known));
        }
        // Before its turn is taken: whoever is given the role from here on is given nothing.
        match self.holders(id).await? {
            0 => {}
            holders => {
                return Err(Error::new(
                    Code::StateConflict,
                    format!(
                        "living keys that hold the role: {holders}; take it from them or revoke them first"
                    ),
                ));
            }
        }
        let now = self.clock.now();
        let decide = async |role: &Role| {
            attempt.caller.require_all(&role.scopes)?;
            require_living(role)?;
            Ok(Role { retired_at: Some(now), ..role.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let reason = Some(reason.to_owned());
        self.commit_edit(attempt, edit, reason, Vec::new(), |role, _| RoleView::of(role)).await
    }
}

/// What an event says of the scopes that a role allows from now on.
fn allows(scopes: &ScopeSet) -> String {
    format!("scopes {}", scopes.joined())
}

/// The roles that a request's `roles` names, each once.
///
/// # Errors
/// One [`FieldError`] for each entry that is no role's id, or one for too many of them.
pub(crate) fn parse_roles(texts: &[String]) -> Result<Vec<RoleId>, Vec<FieldError>> {
    if texts.len() > ROLES_MAX {
        return Err(vec![FieldError::new(
            "roles",
            format!("has {} entries", texts.len()),
            "at most 16 roles",
        )]);
    }
    let (mut roles, mut errors) = (Vec::with_capacity(texts.len()), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<RoleId>() {
            Ok(role) if roles.contains(&role) => {}
            Ok(role) => roles.push(role),
            Err(error) => {
                let field = format!("roles[{index}]");
                errors.push(FieldError::new(field, "is not a role's id", error.to_string()));
            }
        }
    }
    if errors.is_empty() { Ok(roles) } else { Err(errors) }
}
