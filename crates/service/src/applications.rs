//! Applications: create, look, list, change, suspend.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::edit::{check_revision, given, overtaken};
use crate::list::{List, Page};
use crate::nullable;
use crate::policies::{parse_policy, policy_given};
use crate::service::{REPLAY_S, Service};
use crate::view::ApplicationView;
use keyward_domain::application::{Application, Details, Importance, NameHolder, Status};
use keyward_domain::error::FieldError;
use keyward_domain::event::{Action, EventId, Outcome};
use keyward_domain::limit::{self, GivenLimit, Limit};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::routing::{Route, SLOTS_MAX, check_slot};
use keyward_domain::scope::Reach;
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{self, Name, check_name, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, PolicyId, Result, token};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// The most contacts of one application.
const CONTACTS_MAX: usize = 16;

/// What an application is made of.
#[derive(Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApplication {
    /// What people call it; unique.
    #[schema(value_type = Name)]
    pub name: String,
    /// What its tokens start with; `kw` by default. `kwr` and `kwc` are reserved.
    #[serde(default)]
    #[schema(pattern = "^[a-z0-9]{2,12}$")]
    pub prefix: Option<String>,
    /// Whom to reach about its keys.
    #[serde(default)]
    #[schema(value_type = Vec<Name>, max_items = 16)]
    pub contacts: Vec<String>,
    /// How much hangs on its keys; `normal` where nothing is said.
    #[serde(default)]
    pub importance: Importance,
    /// The policy of its keys that are given none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<String>,
    /// How much all of its keys together may use in a window of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub limits: Vec<GivenLimit>,
}

/// What changes; what is absent stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct ApplicationChange {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub name: Option<String>,
    /// Its contacts, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Name>>, max_items = 16)]
    pub contacts: Option<Vec<String>>,
    /// How much hangs on its keys.
    #[serde(default)]
    pub importance: Option<Importance>,
    /// The policy of its keys that have none of their own; null for none.
    #[serde(default, deserialize_with = "nullable::given")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<Option<String>>,
    /// Its limits, all of them.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub limits: Option<Vec<GivenLimit>>,
    /// Whether its keys work.
    #[serde(default)]
    pub status: Option<Status>,
    /// Slots, each with the key that serves it from now on, or null where none does any more; others stay.
    #[serde(default)]
    #[schema(schema_with = routes_schema, required = false)]
    pub routes: Option<BTreeMap<String, Option<String>>>,
    /// Why.
    #[serde(default)]
    #[schema(value_type = Option<text::Reason>)]
    pub reason: Option<String>,
}

/// What was read of a request that creates: the policy that it names, and its limits.
struct Checked {
    policy: Option<PolicyId>,
    limits: Vec<Limit>,
}

/// What was read of one that changes: none where it says nothing of it, `Some(None)` where there is to be no policy.
struct CheckedChange {
    policy: Option<Option<PolicyId>>,
    limits: Option<Vec<Limit>>,
}

impl NewApplication {
    fn check(&self) -> Result<Checked> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_name("name", &self.name).err());
        errors.extend(self.prefix.as_deref().and_then(|prefix| check_prefix(prefix).err()));
        errors.extend(check_contacts(&self.contacts));
        let limits = read(limit::parse_all("limits", &self.limits), &mut errors);
        match self.policy.as_deref().map(parse_policy).transpose() {
            Ok(policy) if errors.is_empty() => return Ok(Checked { policy, limits }),
            Ok(_) => {}
            Err(found) => errors.push(found),
        }
        Err(errors.into())
    }
}

impl ApplicationChange {
    fn check(&self) -> Result<CheckedChange> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(self.name.as_deref().and_then(|name| check_name("name", name).err()));
        errors.extend(self.contacts.as_deref().map(check_contacts).unwrap_or_default());
        errors.extend(self.reason.as_deref().and_then(|reason| check_reason("reason", reason).err()));
        errors.extend(self.routes.iter().flatten().flat_map(|(slot, key)| check_route(slot, key.as_deref())));
        if self.names().is_empty() {
            errors.push(FieldError::new(
                "",
                "changes nothing",
                "at least one of `name`, `contacts`, `importance`, `policy`, `limits`, `status`, `routes`",
            ));
        }
        let limits = self.limits.as_ref().map(|given| read(limit::parse_all("limits", given), &mut errors));
        let parse = |policy: &Option<String>| policy.as_deref().map(parse_policy).transpose();
        match self.policy.as_ref().map(parse).transpose() {
            Ok(policy) if errors.is_empty() => return Ok(CheckedChange { policy, limits }),
            Ok(_) => {}
            Err(found) => errors.push(found),
        }
        Err(errors.into())
    }

    fn names(&self) -> Vec<String> {
        given([
            ("name", self.name.is_some()),
            ("contacts", self.contacts.is_some()),
            ("importance", self.importance.is_some()),
            ("policy", self.policy.is_some()),
            ("limits", self.limits.is_some()),
            ("status", self.status.is_some()),
            ("routes", self.routes.is_some()),
        ])
    }

    /// Puts into the records what it gives, but for routes, revision and event.
    fn apply(&self, checked: CheckedChange, application: &mut Application, details: &mut Details) {
        let CheckedChange { policy, limits } = checked;
        application.status = self.status.unwrap_or(application.status);
        details.importance = self.importance.unwrap_or(details.importance);
        details.policy = policy.unwrap_or(details.policy);
        if let Some(limits) = limits {
            application.limits = limits;
        }
        if let Some(name) = &self.name {
            details.name.clone_from(name);
        }
        if let Some(contacts) = &self.contacts {
            details.contacts.clone_from(contacts);
        }
    }

    /// What the change is to an application with this status; to one that is not known yet, all that it asks for.
    fn action(&self, now: Option<Status>) -> Action {
        match self.status.filter(|status| Some(*status) != now) {
            None => Action::ApplicationChanged,
            Some(Status::Active) => Action::ApplicationResumed,
            Some(Status::Suspended) => Action::ApplicationSuspended,
        }
    }
}

/// Slots by their names, each with the id of a key or null.
fn routes_schema() -> Object {
    let key = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .pattern(Some("^key_[0-7][0-9A-Za-z]{21}$"));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some("Slots, each with the key that serves it from now on, or null where none does any more; others stay."))
        .property_names(Some(ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9][a-z0-9._-]{0,63}$"))))
        .additional_properties(Some(key))
        .max_properties(Some(SLOTS_MAX))
        .build()
}

/// What was read; where it was not, the findings are noted.
fn read<T: Default>(parsed: Result<T, Vec<FieldError>>, errors: &mut Vec<FieldError>) -> T {
    parsed.unwrap_or_else(|found| {
        errors.extend(found);
        T::default()
    })
}

fn check_prefix(prefix: &str) -> Result<(), FieldError> {
    if matches!(prefix, token::PREFIX_RENEWAL | token::PREFIX_CLAIM) {
        Err(FieldError::new("prefix", "is reserved", "any other 2 to 12 of `[a-z0-9]`"))
    } else if token::is_prefix(prefix) {
        Ok(())
    } else {
        Err(FieldError::new("prefix", "is no prefix of tokens", "2 to 12 of `[a-z0-9]`"))
    }
}

fn check_contacts(contacts: &[String]) -> Vec<FieldError> {
    if contacts.len() > CONTACTS_MAX {
        return vec![FieldError::new(
            "contacts",
            format!("has {} entries", contacts.len()),
            "at most 16 contacts",
        )];
    }
    let check = |(index, contact): (usize, &String)| {
        check_name("contacts", contact).err().map(|mut error| {
            error.field = format!("contacts[{index}]");
            error
        })
    };
    contacts.iter().enumerate().filter_map(check).collect()
}

fn check_route(slot: &str, key: Option<&str>) -> Vec<FieldError> {
    let field = format!("routes.{}", if check_slot("", slot).is_ok() { slot } else { "?" });
    let mut errors: Vec<FieldError> = check_slot(&field, slot).err().into_iter().collect();
    if let Some(Err(error)) = key.map(str::parse::<KeyId>) {
        errors.push(FieldError::new(field, "is no key's id", error.to_string()));
    }
    errors
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Creates an application.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, a taken name; where the store does not answer.
    pub async fn create_application(
        &self,
        attempt: &Attempt,
        new: NewApplication,
    ) -> Result<Answer<ApplicationView>> {
        attempt.caller.require(scope::APPS_WRITE)?;
        let Checked { policy, limits } = new.check()?;
        if let Some(text) = self.begin(attempt, "applications.create", &new, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        if let Some(policy) = policy {
            self.require_living_policy(policy).await?;
        }
        let id = ApplicationId::from_bytes(self.rng.bytes());
        let holder = NameHolder::Application(id);
        let (mut turn, mut name) = self.reserve_name(attempt, &new.name, holder, None).await?;
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.ledger.is_old(&turn) {
            (turn, name) = self.reserve_name(attempt, &new.name, holder, Some(turn)).await?;
        }
        // Only now: the event of a refusal names no application that never was.
        attempt.aim(Some(id), None);
        let now = self.clock.now();
        let event = EventId { epoch: 0, seq: 0 };
        let mut application =
            Application { id, status: Status::Active, generation: 1, revision: 1, event, limits };
        let details = Details {
            id,
            name: new.name,
            prefix: new.prefix.unwrap_or_else(|| token::PREFIX_DEFAULT.to_owned()),
            contacts: new.contacts,
            importance: new.importance,
            policy,
            routes: Vec::new(),
            created_at: now,
            revision: 1,
        };
        let reservation = attempt.take_reservation();
        let mut draft = attempt.draft(Outcome::Done, None, None);
        draft.detail.extend(policy.map(|policy| policy_given(Some(policy))));
        draft.detail.extend(application.limits.iter().map(Limit::fact));
        let view = self
            .commit(attempt, vec![draft], |tickets, writes| {
                application.event = tickets.event(0);
                writes.new_application(&application, &details);
                writes.name(&name, turn);
                let view = ApplicationView::of(&application, &details);
                keep_outcome(reservation, &view, now, writes);
                Ok(view)
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// One application.
    ///
    /// # Errors
    /// A missing scope, no such application; where the store does not answer.
    pub async fn application(&self, attempt: &Attempt, id: ApplicationId) -> Result<ApplicationView> {
        self.require_at(attempt, scope::APPS_READ, id, "application").await?;
        self.application_view(id).await?.ok_or_else(|| Error::not_found("application"))
    }

    async fn application_view(&self, id: ApplicationId) -> Result<Option<ApplicationView>> {
        let reader = self.read();
        let (application, details) = futures::join!(reader.application(id), reader.details(id));
        Ok(application?
            .zip(details?)
            .map(|(application, details)| ApplicationView::of(&application, &details)))
    }

    /// The applications that the caller may see, newest first.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where the store does not answer.
    pub async fn applications(&self, attempt: &Attempt, page: &Page) -> Result<List<ApplicationView>> {
        attempt.caller.require_somewhere(scope::APPS_READ)?;
        let (ids, next_cursor) = match attempt.caller.reach(scope::APPS_READ) {
            Reach::Some(some) => page.of(some),
            _ => self.things(lists::APPLICATIONS, page).await?,
        };
        let views = futures::future::join_all(ids.into_iter().map(|id| self.application_view(id))).await;
        let items = views.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        Ok(List { items, next_cursor })
    }

    /// Changes an application; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, another revision, a taken name; where the store does not answer.
    pub async fn change_application(
        &self,
        attempt: &Attempt,
        id: ApplicationId,
        change: ApplicationChange,
        if_match: Option<u64>,
    ) -> Result<ApplicationView> {
        let checked = self.check_change_of(attempt, id, &change, if_match).await?;
        let (mut turn, mut application, mut details) = self.ledger.application_turn(id).await?;
        if let Err(error) = check_revision(if_match, application.revision) {
            attempt.unused((application, details), turn);
            return Err(error);
        }
        let (old, new) = (details.name.as_str(), change.name.as_deref());
        let holder = NameHolder::Application(id);
        let names = match self.exchange_names(attempt, holder, old, Some(new.unwrap_or(old))).await {
            Ok(names) => names,
            Err(error) => {
                attempt.unused((application, details), turn);
                return Err(error);
            }
        };
        if self.ledger.is_old(&turn) {
            let name = details.name;
            (turn, application, details) = self.ledger.application_turn_again(id, turn).await?;
            let still = check_revision(if_match, application.revision)
                .and_then(|()| if details.name == name { Ok(()) } else { Err(overtaken()) });
            if let Err(error) = still {
                // The names' turns lapse: somebody stepped over them meanwhile, or will.
                attempt.unused((application, details), turn);
                return Err(error);
            }
        }
        let routes = match self.changed_routes(&details, &change).await {
            Ok(routes) => routes,
            Err(error) => {
                // The names' turns lapse, as above.
                attempt.unused((application, details), turn);
                return Err(error);
            }
        };
        attempt.act(change.action(Some(application.status)));
        let generation = self.living_generation(&application).await?;
        let mut draft = attempt.draft(Outcome::Done, change.reason.clone(), Some(application.event));
        draft.detail = change.names();
        draft.detail.extend(checked.policy.map(policy_given));
        draft.detail.extend(checked.limits.iter().flatten().map(Limit::fact));
        (application.revision, details.revision) = (turn.revision(), turn.revision());
        application.generation = generation;
        change.apply(checked, &mut application, &mut details);
        details.routes = routes;
        self.commit(attempt, vec![draft], |tickets, writes| {
            application.event = tickets.event(0);
            writes.application(&application, &details, turn);
            for (turn, name) in names {
                writes.name(&name, turn);
            }
            Ok(ApplicationView::of(&application, &details))
        })
        .await
    }

    /// The application as it would be after a change, for whoever is asked whether they mean it. Nothing is changed, and what would be
    /// refused is, but for a name that is taken and routes that lead nowhere: those are looked at when it is.
    ///
    /// # Errors
    /// As [`Service::change_application`].
    pub async fn preview_application_change(
        &self,
        attempt: &Attempt,
        id: ApplicationId,
        change: &ApplicationChange,
        if_match: Option<u64>,
    ) -> Result<ApplicationView> {
        let checked = self.check_change_of(attempt, id, change, if_match).await?;
        let reader = self.read();
        let (application, details) = futures::join!(reader.application(id), reader.details(id));
        let (mut application, mut details) =
            application?.zip(details?).ok_or_else(|| Error::not_found("application"))?;
        change.apply(checked, &mut application, &mut details);
        Ok(ApplicationView::of(&application, &details))
    }

    /// What is looked at before a turn is taken: there is no turn at what does not exist.
    async fn check_change_of(
        &self,
        attempt: &Attempt,
        id: ApplicationId,
        change: &ApplicationChange,
        if_match: Option<u64>,
    ) -> Result<CheckedChange> {
        attempt.act(change.action(None));
        self.require_at(attempt, scope::APPS_WRITE, id, "application").await?;
        let checked = change.check()?;
        let is_kept = change.name.is_some() || change.status.is_some() || change.limits.is_some();
        if id == ApplicationId::KEYWARD && is_kept {
            return Err(Error::new(
                Code::Forbidden,
                "the built-in application keeps its name, stays active and has no limits: its keys administer all others",
            ));
        }
        let known = self.read().application(id).await?.ok_or_else(|| Error::not_found("application"))?;
        check_revision(if_match, known.revision)?;
        if let Some(policy) = checked.policy.flatten() {
            self.require_living_policy(policy).await?;
        }
        Ok(checked)
    }

    /// The routes as they are after the change; a slot leads to a living key of the application.
    async fn changed_routes(&self, details: &Details, change: &ApplicationChange) -> Result<Vec<Route>> {
        let mut routes = details.routes.clone();
        for (slot, key) in change.routes.iter().flatten() {
            routes.retain(|route| route.slot != *slot);
            let Some(Ok(id)) = key.as_deref().map(str::parse::<KeyId>) else { continue };
            let found = self.read().key(id).await?.filter(|key| key.application == details.id);
            let lives = match &found {
                Some(key) => self.is_alive(key).await?,
                None => false,
            };
            if !lives {
                let expected = "the id of a living key of the application";
                return Err(Error::field(format!("routes.{slot}"), "leads to no such key", expected));
            }
            routes.push(Route { slot: slot.clone(), key: id });
        }
        routes.sort_by(|a, b| a.slot.cmp(&b.slot));
        if routes.len() > SLOTS_MAX {
            let found = format!("are {} with those that stay", routes.len());
            return Err(Error::field("routes", found, "at most 64 slots"));
        }
        Ok(routes)
    }
}
