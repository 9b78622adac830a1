//! Policies: create, look, list, change, retire; and the presets that one may start from.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::edit::{Editable, check_revision, given, require_living};
use crate::list::{List, Page};
use crate::nullable;
use crate::service::{REPLAY_S, Service};
use crate::view::{PolicyView, PresetView};
use keyward_domain::application::NameHolder;
use keyward_domain::error::FieldError;
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::policy::{OnBreach, OnLeak, OnRenewalReuse, Policy, Preset, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{Description, Name, check_description, check_name, check_reason};
use keyward_domain::{Error, PolicyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request that may give each term of a policy: what is absent is left as it is, or as the preset or the default has it.
macro_rules! with_terms {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// How long after a version was claimed its successor is due, in seconds; null for never. A key has at most 3843
            /// versions: rotated every 5 minutes, it has used them up in 13 days.
            #[serde(default, deserialize_with = "nullable::given", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<u32>, minimum = 300, maximum = 315_360_000)]
            pub rotate_every_s: Option<Option<u32>>,
            /// How long a version goes on after its successor was claimed, in seconds; not longer than the interval.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(minimum = 0, maximum = 7_776_000)]
            pub grace_s: Option<u32>,
            /// The longest life of a key that is issued, in seconds; null for a life without bound.
            #[serde(default, deserialize_with = "nullable::given", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<u32>, minimum = 60, maximum = 315_360_000)]
            pub lifetime_s_max: Option<Option<u32>>,
            /// How long a key may go unused before that is told, in seconds; null for never.
            #[serde(default, deserialize_with = "nullable::given", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<u32>, minimum = 3600, maximum = 315_360_000)]
            pub idle_after_s: Option<Option<u32>>,
            /// Whether whoever claims a version is given a renewal token with it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub self_renewal: Option<bool>,
            /// What a renewal token does that is used twice, beside the alarm.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub on_renewal_reuse: Option<OnRenewalReuse>,
            /// What becomes of a key that breaks its policy, beside the warning.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub on_breach: Option<OnBreach>,
            /// What becomes of a key whose token was found where anybody can read it, beside the alarm.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub on_leak: Option<OnLeak>,
            /// How long whoever read a credential goes on with it before asking again, in seconds.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(minimum = 5, maximum = 86_400)]
            pub lease_s: Option<u32>,
            /// How long whoever read a credential goes on with it while Keyward cannot be asked, in seconds.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(minimum = 0, maximum = 2_592_000)]
            pub outage_s: Option<u32>,
        }

        impl $name {
            /// The same, giving each of these terms.
            #[must_use]
            pub fn giving(self, terms: &Terms) -> Self {
                Self {
                    rotate_every_s: Some(terms.rotate_every_s),
                    grace_s: Some(terms.grace_s),
                    lifetime_s_max: Some(terms.lifetime_s_max),
                    idle_after_s: Some(terms.idle_after_s),
                    self_renewal: Some(terms.self_renewal),
                    on_renewal_reuse: Some(terms.on_renewal_reuse),
                    on_breach: Some(terms.on_breach),
                    on_leak: Some(terms.on_leak),
                    lease_s: Some(terms.lease_s),
                    outage_s: Some(terms.outage_s),
                    ..self
                }
            }

            /// These terms, but for those that it gives.
            fn over(&self, terms: &Terms) -> Terms {
                Terms {
                    rotate_every_s: self.rotate_every_s.unwrap_or(terms.rotate_every_s),
                    grace_s: self.grace_s.unwrap_or(terms.grace_s),
                    lifetime_s_max: self.lifetime_s_max.unwrap_or(terms.lifetime_s_max),
                    idle_after_s: self.idle_after_s.unwrap_or(terms.idle_after_s),
                    self_renewal: self.self_renewal.unwrap_or(terms.self_renewal),
                    on_renewal_reuse: self.on_renewal_reuse.unwrap_or(terms.on_renewal_reuse),
                    on_breach: self.on_breach.unwrap_or(terms.on_breach),
                    on_leak: self.on_leak.unwrap_or(terms.on_leak),
                    lease_s: self.lease_s.unwrap_or(terms.lease_s),
                    outage_s: self.outage_s.unwrap_or(terms.outage_s),
                }
            }
        }
    };
}

with_terms! {
    /// What a policy is made of. What neither it nor a preset gives is 90 days between rotations, 7 days of grace, no bounds, and
    /// renewal by the holder.
    #[derive(Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    pub struct NewPolicy {
        /// What people call it; unique.
        #[schema(value_type = Name)]
        pub name: String,
        /// What it is for, in words.
        #[serde(default)]
        #[schema(value_type = Description)]
        pub description: String,
        /// The preset whose terms hold where no others are given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub preset: Option<Preset>,
    }
}

with_terms! {
    /// What changes; what is absent stays.
    #[derive(Default, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(min_properties = 1)]
    pub struct PolicyChange {
        /// Its name.
        #[serde(default)]
        #[schema(value_type = Option<Name>)]
        pub name: Option<String>,
        /// Its description.
        #[serde(default)]
        #[schema(value_type = Option<Description>)]
        pub description: Option<String>,
    }
}

impl NewPolicy {
    fn check(&self) -> Result<Terms> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_name("name", &self.name).err());
        errors.extend(check_description("description", &self.description).err());
        let terms = self.over(&self.preset.map_or(Terms::DEFAULT, Preset::terms));
        errors.extend(terms.check());
        if errors.is_empty() { Ok(terms) } else { Err(errors.into()) }
    }
}

impl PolicyChange {
    /// Whether it gives each of the terms, in the order of [`Terms::facts`].
    const fn gives(&self) -> [bool; 10] {
        [
            self.rotate_every_s.is_some(),
            self.grace_s.is_some(),
            self.lifetime_s_max.is_some(),
            self.idle_after_s.is_some(),
            self.self_renewal.is_some(),
            self.on_renewal_reuse.is_some(),
            self.on_breach.is_some(),
            self.on_leak.is_some(),
            self.lease_s.is_some(),
            self.outage_s.is_some(),
        ]
    }

    /// What an event says of it: the names of what it gives, and the terms with what they are from now on.
    fn facts(&self, terms: &Terms) -> Vec<String> {
        let named = given([("name", self.name.is_some()), ("description", self.description.is_some())]);
        let terms = terms.facts().into_iter().zip(self.gives()).filter(|(_, given)| *given);
        named.into_iter().chain(terms.map(|(fact, _)| fact)).collect()
    }

    /// The policy as it is after the change, but for revision and event.
    fn apply(&self, policy: &Policy) -> Result<Policy> {
        let mut errors: Vec<FieldError> = Vec::new();
        let mut changed = policy.clone();
        changed.terms = self.over(&policy.terms);
        if self.facts(&changed.terms).is_empty() {
            errors.push(FieldError::new(
                "",
                "changes nothing",
                "at least one of `name`, `description` and the terms",
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
        errors.extend(changed.terms.check());
        if errors.is_empty() { Ok(changed) } else { Err(errors.into()) }
    }
}

impl Editable for Policy {
    fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }

    fn unique_name(&self) -> Option<(NameHolder, &str)> {
        Some((NameHolder::Policy(self.id), &self.name))
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Creates a policy.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, a taken name; where the store does not answer.
    pub async fn create_policy(&self, attempt: &Attempt, new: NewPolicy) -> Result<Answer<PolicyView>> {
        attempt.caller.require(scope::POLICIES_WRITE)?;
        let terms = new.check()?;
        if let Some(text) = self.begin(attempt, "policies.create", &new, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let id = PolicyId::from_bytes(self.rng.bytes());
        let holder = NameHolder::Policy(id);
        let (mut turn, mut name) = self.reserve_name(attempt, &new.name, holder, None).await?;
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.ledger.is_old(&turn) {
            (turn, name) = self.reserve_name(attempt, &new.name, holder, Some(turn)).await?;
        }
        // Only now: the event of a refusal names no policy that never was.
        attempt.aim_at_policy(id);
        let now = self.clock.now();
        let mut policy = Policy {
            id,
            name: new.name,
            description: new.description,
            terms,
            created_at: now,
            retired_at: None,
            revision: 1,
            event: EventId { epoch: 0, seq: 0 },
        };
        let mut draft = attempt.draft(Outcome::Done, None, None);
        draft.detail = new.preset.map(|preset| format!("preset {}", preset.as_str())).into_iter().collect();
        draft.detail.extend(policy.terms.facts());
        let reservation = attempt.take_reservation();
        let view = self
            .commit(attempt, vec![draft], |tickets, writes| {
                policy.event = tickets.event(0);
                writes.new_policy(&policy);
                writes.name(&name, turn);
                let view = PolicyView::of(&policy);
                keep_outcome(reservation, &view, now, writes);
                Ok(view)
            })
            .await?;
        Ok(Answer::Fresh(view))
    }

    /// One policy.
    ///
    /// # Errors
    /// A missing scope, no such policy; where the store does not answer.
    pub async fn policy(&self, attempt: &Attempt, id: PolicyId) -> Result<PolicyView> {
        attempt.caller.require(scope::POLICIES_READ)?;
        Ok(PolicyView::of(&self.known_policy(id).await?))
    }

    async fn known_policy(&self, id: PolicyId) -> Result<Policy> {
        self.read().policy(id).await?.ok_or_else(|| Error::not_found("policy"))
    }

    /// The policies, newest first, retired ones included.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where the store does not answer.
    pub async fn policies(&self, attempt: &Attempt, page: &Page) -> Result<List<PolicyView>> {
        attempt.caller.require(scope::POLICIES_READ)?;
        let (ids, next_cursor) = self.things::<PolicyId>(lists::POLICIES, page).await?;
        let reader = self.read();
        let policies = futures::future::join_all(ids.into_iter().map(|id| reader.policy(id))).await;
        let policies = policies.into_iter().filter_map(Result::transpose);
        let items =
            policies.map(|policy| policy.map(|policy| PolicyView::of(&policy))).collect::<Result<_>>()?;
        Ok(List { items, next_cursor })
    }

    /// Changes a policy; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such policy, a retired one, another revision, a taken name; where the store does not answer.
    pub async fn change_policy(
        &self,
        attempt: &Attempt,
        id: PolicyId,
        change: PolicyChange,
        if_match: Option<u64>,
    ) -> Result<PolicyView> {
        attempt.caller.require(scope::POLICIES_WRITE)?;
        let known = self.known_policy(id).await?;
        let decide = async |policy: &Policy| {
            let changed = change.apply(policy)?;
            check_revision(if_match, policy.revision)?;
            require_living(policy)?;
            Ok(changed)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let detail = change.facts(&edit.after.terms);
        self.commit_edit(attempt, edit, None, detail, |policy, _| PolicyView::of(policy)).await
    }

    /// Retires a policy: nobody is given it from then on, and its name is free. Whoever has it keeps its terms, so that no key changes
    /// its rhythm by a deed that does not name it. One that is retired stays as it is.
    ///
    /// # Errors
    /// No reason, a missing scope, no such policy; where the store does not answer.
    pub async fn retire_policy(&self, attempt: &Attempt, id: PolicyId, reason: &str) -> Result<PolicyView> {
        attempt.caller.require(scope::POLICIES_WRITE)?;
        let known = self.known_policy(id).await?;
        check_reason("reason", reason)?;
        if known.retired_at.is_some() {
            return Ok(PolicyView::of(&known));
        }
        let now = self.clock.now();
        let decide = async |policy: &Policy| {
            require_living(policy)?;
            Ok(Policy { retired_at: Some(now), ..policy.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let reason = Some(reason.to_owned());
        self.commit_edit(attempt, edit, reason, Vec::new(), |policy, _| PolicyView::of(policy)).await
    }

    /// The presets that a policy may start from.
    ///
    /// # Errors
    /// A missing scope.
    pub fn policy_presets(&self, attempt: &Attempt) -> Result<List<PresetView>> {
        attempt.caller.require(scope::POLICIES_READ)?;
        Ok(List { items: Preset::ALL.map(PresetView::of).into(), next_cursor: None })
    }

    /// Refuses a policy that is absent or retired: nobody is given one of these. What it says, otherwise.
    pub(crate) async fn require_living_policy(&self, id: PolicyId) -> Result<Policy> {
        match self.read().policy(id).await? {
            Some(policy) if policy.retired_at.is_none() => Ok(policy),
            _ => Err(Error::field(
                "policy",
                format!("names `{id}`, which is no policy or a retired one"),
                "the id of a policy",
            )),
        }
    }
}

/// The policy that a request's `policy` names.
///
/// # Errors
/// A [`FieldError`] where the text is no policy's id.
pub(crate) fn parse_policy(text: &str) -> Result<PolicyId, FieldError> {
    text.parse().map_err(|error: keyward_domain::id::NotAnId| {
        FieldError::new("policy", "is not a policy's id", error.to_string())
    })
}

/// What an event says of the policy that an application or a key has from now on.
pub(crate) fn policy_given(policy: Option<PolicyId>) -> String {
    policy.map_or_else(|| "policy none".to_owned(), |id| format!("policy {id}"))
}
