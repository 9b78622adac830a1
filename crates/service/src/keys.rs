//! Keys: issue, look, list, change, reissue a claim, look up by token.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::edit::{check_revision, given};
use crate::fresh_claim::IssuedKey;
use crate::list::{Cursor, EXAMINED_MAX, INTEGRATE_ROUNDS, List, Order, Page};
use crate::nullable;
use crate::policies::{parse_policy, policy_given};
use crate::roles::parse_roles;
use crate::service::{REPLAY_S, Service};
use crate::terms::holding;
use crate::view::{Beside, KeyView, LookupView};
use keyward_crypto::SecretText;
use keyward_domain::application::Application;
use keyward_domain::due::outlook;
use keyward_domain::error::{Blame, FieldError};
use keyward_domain::event::{Outcome, tag_given};
use keyward_domain::imported;
use keyward_domain::key::{EXPIRES_IN_S_MAX, Environment, FIRST_VERSION, Key, Rules};
use keyward_domain::limit::{self, GivenLimit, Limit};
use keyward_domain::network::NetworkRule;
use keyward_domain::policy::{Policy, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::standing::Standing;
use keyward_domain::tag::Tag;
use keyward_domain::text::{Name, check_name};
use keyward_domain::{ApplicationId, Code, Error, KeyId, PolicyId, Result, RoleId, Timestamp, tag, token};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use keyward_verify::{Demand, InstanceCache, Presented, Verifier};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::ops::ControlFlow;
use utoipa::ToSchema;

/// Changes of a key's past that are looked at for a tag that it had before. Beyond them a tag counts as new, and its list may show
/// the key twice.
const PAST_EVENTS_MAX: usize = 64;
/// How often one call asks for candidates where few of them are meant.
const ROUNDS_MAX: usize = 64;
/// Keys whose picture is put together at the same time; each takes five reads.
const VIEWS_AT_ONCE: usize = 32;

/// Restrictions, as a request writes them.
#[derive(Serialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRules {
    /// Networks from which the key may be used, as addresses or in CIDR notation; none means from anywhere.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub network: Vec<String>,
}

/// Out of an object alone: what serde derives takes an array of the fields' values as well.
impl<'de> Deserialize<'de> for NewRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            network: Vec<String>,
        }
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = NewRules;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<NewRules, A::Error> {
                let Fields { network } = Fields::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(NewRules { network })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a key is made of.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Whom it is for.
    #[schema(value_type = ApplicationId)]
    pub application: String,
    /// What people call it.
    #[schema(value_type = Name)]
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// What it may do; nothing where there are neither scopes nor roles.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 64)]
    pub scopes: Vec<String>,
    /// Roles whose scopes it holds as well: for keys of `keyward`, and only for those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RoleId>, max_items = 16)]
    pub roles: Vec<String>,
    /// How long it lives, in seconds; without end where it is absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in_s: Option<i64>,
    /// What restricts it beyond scopes.
    #[serde(default)]
    pub rules: NewRules,
    /// The person or workload that events name: for keys of `keyward`, and only for those.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub principal: Option<String>,
    /// Words by which it is found together with others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Tag>, max_items = 16)]
    pub tags: Vec<String>,
    /// Its own policy, in the place of its application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<String>,
    /// How much it may use in a window of time, whatever its version; for keys of other applications than `keyward`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub limits: Vec<GivenLimit>,
}

/// What changes; what is absent stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct KeyChange {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub name: Option<String>,
    /// Its scopes, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Scope>>, max_items = 64)]
    pub scopes: Option<Vec<String>>,
    /// Its roles, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<RoleId>>, max_items = 16)]
    pub roles: Option<Vec<String>>,
    /// Its rules, all of them.
    #[serde(default)]
    pub rules: Option<NewRules>,
    /// Switched off, or on again.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// Its tags, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Tag>>, max_items = 16)]
    pub tags: Option<Vec<String>>,
    /// Its own policy; null for that of its application.
    #[serde(default, deserialize_with = "nullable::given")]
    #[schema(value_type = Option<PolicyId>)]
    pub policy: Option<Option<String>>,
    /// Its limits, all of them.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub limits: Option<Vec<GivenLimit>>,
}

/// Which keys, and in which order.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyFilter<'a> {
    /// Those of one application; of all that the caller may see where there is none.
    pub application: Option<ApplicationId>,
    /// Those with this tag, in any spelling.
    pub tag: Option<&'a str>,
    /// Those that stand so.
    pub standing: Option<Standing>,
    /// Those whose name begins so, to the letter.
    pub name: Option<&'a str>,
    /// By when they were issued; application by application where they are looked up by how they stand.
    pub order: Order,
}

/// Where keys are found.
enum Source {
    /// A list of keys.
    List(String),
    /// The registers of these applications, or of all.
    Registers(Option<Vec<ApplicationId>>),
}

/// A checked [`NewKey`].
pub(crate) struct Checked {
    pub(crate) application: ApplicationId,
    scopes: ScopeSet,
    rules: Rules,
    roles: Vec<RoleId>,
    tags: Vec<String>,
    policy: Option<PolicyId>,
    limits: Vec<Limit>,
}

impl NewKey {
    fn check(&self) -> Result<Checked> {
        let mut errors: Vec<FieldError> = Vec::new();
        let application = self.application.parse::<ApplicationId>();
        if let Err(error) = application {
            errors.push(FieldError::new("application", "is not an application's id", error.to_string()));
        }
        errors.extend(check_name("name", &self.name).err());
        let scopes = ScopeSet::parse("scopes", &self.scopes).unwrap_or_else(|found| {
            errors.extend(found);
            ScopeSet::default()
        });
        let administrative = application == Ok(ApplicationId::KEYWARD);
        if !administrative {
            errors.extend(narrowed(&scopes));
        }
        let roles = check_roles(&self.roles, administrative, &mut errors);
        let rules = check_rules(&self.rules, &mut errors);
        let tags = check_tags(&self.tags, &mut errors);
        let policy = check_policy(self.policy.as_deref(), &mut errors);
        let limits = check_limits(&self.limits, administrative, &mut errors);
        match self.expires_in_s {
            Some(seconds) if seconds <= 0 => errors.push(FieldError::new(
                "expires_in_s",
                "lies in the past",
                "1 to 315360000 seconds, or nothing for a key without end",
            )),
            Some(seconds) if seconds > EXPIRES_IN_S_MAX => errors.push(FieldError::new(
                "expires_in_s",
                "is more than ten years",
                "1 to 315360000 seconds, or nothing for a key without end",
            )),
            _ => {}
        }
        match &self.principal {
            Some(principal) if administrative => errors.extend(check_name("principal", principal).err()),
            None if administrative => errors.push(FieldError::new(
                "principal",
                "is missing",
                "the person or workload that a key of `keyward` stands for",
            )),
            Some(_) => {
                errors.push(FieldError::new(
                    "principal",
                    "is given",
                    "no principal: only keys of `keyward` have one",
                ));
            }
            None => {}
        }
        if administrative && self.environment == Environment::Test {
            errors.push(FieldError::new(
                "environment",
                "is `test`",
                "`live`: keys of `keyward` administer for real",
            ));
        }
        match application {
            Ok(application) if errors.is_empty() => {
                Ok(Checked { application, scopes, rules, roles, tags, policy, limits })
            }
            _ => Err(errors.into()),
        }
    }
}

impl KeyChange {
    fn names(&self) -> Vec<String> {
        given([
            ("name", self.name.is_some()),
            ("scopes", self.scopes.is_some()),
            ("roles", self.roles.is_some()),
            ("rules", self.rules.is_some()),
            ("disabled", self.disabled.is_some()),
            ("tags", self.tags.is_some()),
            ("policy", self.policy.is_some()),
            ("limits", self.limits.is_some()),
        ])
    }

    /// The key as it is after the change, but for revision and event.
    fn apply(&self, key: &Key) -> Result<Key> {
        let mut errors: Vec<FieldError> = Vec::new();
        let mut changed = key.clone();
        if self.names().is_empty() {
            errors.push(FieldError::new(
                "",
                "changes nothing",
                "at least one of `name`, `scopes`, `roles`, `rules`, `disabled`, `tags`, `policy`, `limits`",
            ));
        }
        if let Some(name) = &self.name {
            errors.extend(check_name("name", name).err());
            changed.name.clone_from(name);
        }
        if let Some(scopes) = &self.scopes {
            match ScopeSet::parse("scopes", scopes) {
                Ok(scopes) => changed.scopes = scopes,
                Err(found) => errors.extend(found),
            }
            if !key.is_administrative() {
                errors.extend(narrowed(&changed.scopes));
            }
        }
        if let Some(roles) = &self.roles {
            changed.roles = check_roles(roles, key.is_administrative(), &mut errors);
        }
        if let Some(rules) = &self.rules {
            changed.rules = check_rules(rules, &mut errors);
        }
        changed.disabled = self.disabled.unwrap_or(key.disabled);
        if let Some(tags) = &self.tags {
            changed.tags = check_tags(tags, &mut errors);
        }
        if let Some(policy) = &self.policy {
            changed.policy = check_policy(policy.as_deref(), &mut errors);
        }
        if let Some(limits) = &self.limits {
            changed.limits = check_limits(limits, key.is_administrative(), &mut errors);
        }
        if errors.is_empty() { Ok(changed) } else { Err(errors.into()) }
    }
}

/// Narrowing is for administration, and for what grants a service to read credentials.
fn narrowed(scopes: &ScopeSet) -> Option<FieldError> {
    let some = scopes.iter().any(|scope| scope.is_narrowed() && !scope.is_grant());
    some.then(|| {
        FieldError::new(
            "scopes",
            "has a scope with `@`",
            "scopes without `@`, or `credentials:read@NAME` with the names of the application's own credentials: only keys of `keyward` are narrowed otherwise",
        )
    })
}

/// Roles are bundles of scopes of administration, so keys of `keyward` alone hold them.
fn check_roles(roles: &[String], administrative: bool, errors: &mut Vec<FieldError>) -> Vec<RoleId> {
    if !administrative && !roles.is_empty() {
        errors.push(FieldError::new("roles", "are given", "no roles: only keys of `keyward` hold them"));
        return Vec::new();
    }
    parse_roles(roles).unwrap_or_else(|found| {
        errors.extend(found);
        Vec::new()
    })
}

/// What the event of a key's birth says of it.
pub(crate) fn facts_given(key: &Key, terms: &Terms, now: Timestamp) -> Vec<String> {
    let mut facts: Vec<String> =
        key.tags.iter().map(|tag| tag_given(tag)).chain(roles_given(&key.roles)).collect();
    facts.extend(key.policy.map(|policy| policy_given(Some(policy))));
    facts.extend(key.limits.iter().map(Limit::fact));
    facts.extend(outlook(key, terms, now));
    facts
}

/// What an event says of the roles that a key holds from now on.
fn roles_given(roles: &[RoleId]) -> impl Iterator<Item = String> {
    roles.iter().map(|role| format!("role {role}"))
}

fn check_rules(rules: &NewRules, errors: &mut Vec<FieldError>) -> Rules {
    let network = NetworkRule::parse("rules.network", &rules.network).unwrap_or_else(|found| {
        errors.extend(found);
        NetworkRule::default()
    });
    Rules { network }
}

fn check_tags(tags: &[String], errors: &mut Vec<FieldError>) -> Vec<String> {
    tag::parse_all("tags", tags).unwrap_or_else(|found| {
        errors.extend(found);
        Vec::new()
    })
}

fn check_policy(policy: Option<&str>, errors: &mut Vec<FieldError>) -> Option<PolicyId> {
    let parsed = parse_policy(policy?);
    parsed.map_err(|found| errors.push(found)).ok()
}

/// Limits are spent where partners' tokens are looked at: whoever administers meets none.
fn check_limits(limits: &[GivenLimit], administrative: bool, errors: &mut Vec<FieldError>) -> Vec<Limit> {
    if administrative && !limits.is_empty() {
        errors.push(FieldError::new("limits", "are given", "no limits: keys of `keyward` have none"));
        return Vec::new();
    }
    limit::parse_all("limits", limits).unwrap_or_else(|found| {
        errors.extend(found);
        Vec::new()
    })
}

/// How long a key lives under a policy: what was asked for, within the policy's bound, or the bound itself.
fn bounded_life(asked_s: Option<i64>, policy: Option<&Policy>) -> Result<Option<i64>> {
    let Some((policy, max_s)) = policy.and_then(|policy| Some((policy, policy.terms.lifetime_s_max?))) else {
        return Ok(asked_s);
    };
    match asked_s {
        Some(asked_s) if asked_s > i64::from(max_s) => Err(Error::field(
            "expires_in_s",
            format!("is longer than the policy `{}` (`{}`) allows", policy.name, policy.id),
            format!("1 to {max_s} seconds, or nothing for as long as it allows"),
        )),
        asked_s => Ok(asked_s.or(Some(i64::from(max_s)))),
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Issues a key, with a claim for its first version. No secret exists yet.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, frozen issuing; where the store does not answer.
    pub async fn issue_key(&self, attempt: &Attempt, new: NewKey) -> Result<Answer<IssuedKey>> {
        if let Ok(application) = new.application.parse() {
            attempt.aim(Some(application), None);
        }
        let checked = self.check_new(attempt, &new).await?;
        if let Some(text) = self.begin(attempt, "keys.issue", &new, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        self.require_issuing(attempt).await?;
        let id = KeyId::from_bytes(self.rng.bytes());
        let (mut key, terms) = self.key_to_be(id, new, checked).await?;
        attempt.aim(Some(key.application), Some(id));
        let now = key.created_at;
        let claim = self.fresh_claim(&mut key, FIRST_VERSION, now);
        let reservation = attempt.take_reservation();
        let mut draft = attempt.draft(Outcome::Done, None, None);
        draft.detail = facts_given(&key, &terms, now);
        let issued = self
            .commit(attempt, vec![draft], |tickets, writes| {
                key.event = tickets.event(0);
                writes.new_key(&key);
                writes.claim(&claim.record);
                let issued = self.issued(&key, &Beside::default(), &terms, claim);
                keep_outcome(reservation, &issued, now, writes);
                Ok(issued)
            })
            .await?;
        Ok(Answer::Fresh(issued))
    }

    /// Whether the caller may make such a key, and what it asks for.
    pub(crate) async fn check_new(&self, attempt: &Attempt, new: &NewKey) -> Result<Checked> {
        // Whom it is for decides who may; an id that cannot be read is told to whoever may issue at all.
        match new.application.parse::<ApplicationId>() {
            Ok(application) => {
                self.require_at(attempt, scope::KEYS_WRITE, application, "application").await?;
            }
            Err(_) => attempt.caller.require_somewhere(scope::KEYS_WRITE)?,
        }
        let checked = new.check()?;
        self.require_superset(attempt, checked.application, &checked.scopes, &checked.roles).await?;
        self.require_grants(attempt, checked.application, checked.scopes.iter())?;
        Ok(checked)
    }

    /// The key that is asked for, with this id and without a version, and the terms that hold for it.
    pub(crate) async fn key_to_be(&self, id: KeyId, new: NewKey, checked: Checked) -> Result<(Key, Terms)> {
        let reader = self.read();
        let (application, details) =
            futures::join!(reader.application(checked.application), reader.details(checked.application));
        let (application, details) =
            application?.zip(details?).ok_or_else(|| Error::not_found("application"))?;
        self.require_living_roles(&checked.roles).await?;
        let policy = match (checked.policy, details.policy) {
            (Some(own), _) => Some(self.require_living_policy(own).await?),
            (None, Some(default)) => reader.policy(default).await?,
            (None, None) => None,
        };
        let expires_in_s = bounded_life(new.expires_in_s, policy.as_ref())?;
        let terms = holding(application.id, policy.as_ref());
        let generation = self.living_generation(&application).await?;
        let now = self.clock.now();
        let key = Key {
            generation,
            prefix: details.prefix,
            environment: new.environment,
            name: new.name,
            principal: new.principal,
            scopes: checked.scopes,
            rules: checked.rules,
            expires_at: expires_in_s.map(|seconds| now.plus_s(seconds)),
            tags: checked.tags,
            roles: checked.roles,
            policy: checked.policy,
            limits: checked.limits,
            ..Key::new(id, application.id, now)
        };
        Ok((key, terms))
    }

    /// The generation in which an application's new keys are issued: the first that is not killed.
    pub(crate) async fn living_generation(&self, application: &Application) -> Result<u32> {
        let mut generation = application.generation;
        while self.read().generation_killed(application.id, generation).await? {
            generation = generation.saturating_add(1);
        }
        Ok(generation)
    }

    /// One key.
    ///
    /// # Errors
    /// A missing scope, no such key; where the store does not answer.
    pub async fn key(&self, attempt: &Attempt, id: KeyId) -> Result<KeyView> {
        let key = self.visible_key(attempt, scope::KEYS_READ, id).await?;
        let terms = self.terms_of(&key).await?;
        self.key_view(&key, &terms).await
    }

    /// The key, where the caller holds `pattern` for its application.
    pub(crate) async fn visible_key(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        id: KeyId,
    ) -> Result<Key> {
        attempt.caller.require_somewhere(pattern)?;
        let key = self.read().key(id).await?.ok_or_else(|| Error::not_found("key"))?;
        attempt.aim(Some(key.application), Some(id));
        attempt.caller.require_at(pattern, key.application, "key")?;
        Ok(key)
    }

    pub(crate) async fn key_view(&self, key: &Key, terms: &Terms) -> Result<KeyView> {
        Ok(self.view_of(key, &self.beside(key).await?, terms))
    }

    /// What belongs to the picture of a key beside its record.
    pub(crate) async fn beside(&self, key: &Key) -> Result<Beside> {
        let reader = self.read();
        let (ends, used) = futures::join!(self.ends(key), reader.key_use(key.id));
        Ok(Beside { used: used?, ..ends? })
    }

    /// The same without its use: of what the key is dead, as far as it is.
    pub(crate) async fn ends(&self, key: &Key) -> Result<Beside> {
        let reader = self.read();
        let (flag, generation_killed, versions_killed) = futures::join!(
            reader.flag(key.id),
            reader.generation_killed(key.application, key.generation),
            reader.killed_versions(key)
        );
        let (tombstone, generation_killed) = match flag {
            // Dead, whatever its tombstone says: those are never sealed anew.
            Err(error) if error.code == Code::RingVersionUnknown => (None, true),
            flag => (flag?.flatten(), generation_killed?),
        };
        Ok(Beside { tombstone, generation_killed, versions_killed: versions_killed?, used: None })
    }

    /// What the outside sees of a key, without a look at the store.
    pub(crate) fn view_of(&self, key: &Key, beside: &Beside, terms: &Terms) -> KeyView {
        KeyView::of(key, beside, terms, self.rings.peppers.active(), self.clock.now())
    }

    /// The keys that a filter leaves of those that the caller may see. A page may be short of them, or empty, and lead on all the same:
    /// it bounds what it examines.
    ///
    /// # Errors
    /// A missing scope, no such application, what is no tag, a bad cursor; where the store does not answer.
    pub async fn keys(
        &self,
        attempt: &Attempt,
        filter: &KeyFilter<'_>,
        page: &Page,
    ) -> Result<List<KeyView>> {
        let applications = match filter.application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::KEYS_READ, application, "application").await?;
                Some(vec![application])
            }
            None => self.readable_applications(attempt)?,
        };
        let unfit = |found: FieldError| Error::parameter(&found.field, &found.reason, &found.expected);
        filter.name.map(|name| check_name("name", name).map_err(unfit)).transpose()?;
        let tag = filter.tag.map(|tag| tag::parse("tag", tag).map_err(unfit)).transpose()?;
        if let Some(application) = filter.application {
            self.read().application(application).await?.ok_or_else(|| Error::not_found("application"))?;
        }
        let source = self.source(filter, applications, tag.as_deref())?;
        let mut keys: Vec<Key> = Vec::new();
        let limit = page.limit();
        let (mut page, mut next_cursor, mut examined) = (page.of_at_most(limit), None, 0);
        while keys.len() < limit && examined < EXAMINED_MAX {
            page = page.of_at_most(limit - keys.len());
            let (ids, next) = self.some_of(&source, filter, &page).await?;
            examined += ids.len().max(EXAMINED_MAX / ROUNDS_MAX);
            let reader = self.read();
            let found = futures::future::try_join_all(ids.into_iter().map(|id| reader.key(id))).await?;
            // Its place on the list stays where a tag was taken away.
            keys.extend(found.into_iter().flatten().filter(|key| {
                tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
                    && filter.name.is_none_or(|name| key.name.starts_with(name))
            }));
            next_cursor = next;
            match &next_cursor {
                Some(cursor) => page = page.next(cursor)?,
                None => break,
            }
        }
        let terms = self.terms_of_each(&keys).await?;
        let mut items: Vec<KeyView> = Vec::with_capacity(keys.len());
        for (keys, terms) in keys.chunks(VIEWS_AT_ONCE).zip(terms.chunks(VIEWS_AT_ONCE)) {
            let views = keys.iter().zip(terms).map(|(key, terms)| self.key_view(key, terms));
            items.extend(futures::future::try_join_all(views).await?);
        }
        if let (Some(standing), Source::List(_)) = (filter.standing, &source) {
            items.retain(|key| key.standing == standing);
        }
        Ok(List { items, next_cursor })
    }

    /// Where the keys that a filter may leave are found.
    fn source(
        &self,
        filter: &KeyFilter<'_>,
        applications: Option<Vec<ApplicationId>>,
        tag: Option<&str>,
    ) -> Result<Source> {
        let list = match (tag, filter.application, &applications) {
            (Some(tag), Some(application), _) => lists::keys_tagged(Some(application), tag),
            (Some(tag), None, None) => lists::keys_tagged(None, tag),
            (Some(_), None, Some(_)) => {
                let expected = "the id of one of your applications, for the keys with a tag";
                return Err(Error::parameter("application", "is missing", expected));
            }
            (None, Some(application), _) if filter.standing.is_none() => lists::keys_of(application),
            (None, None, None) if filter.standing.is_none() => lists::KEYS.to_owned(),
            (None, ..) => return Ok(Source::Registers(applications)),
        };
        Ok(Source::List(list))
    }

    async fn some_of(
        &self,
        source: &Source,
        filter: &KeyFilter<'_>,
        page: &Page,
    ) -> Result<(Vec<KeyId>, Option<String>)> {
        match (source, filter.order) {
            (Source::List(list), Order::Newest) => self.things(list, page).await,
            (Source::List(list), Order::Oldest) => self.things_from_the_first(list, page).await,
            (Source::Registers(applications), order) => {
                if page.at().is_none() {
                    // As for every list: failing to write projections is no reason not to answer.
                    let _ = self.ledger.integrate(INTEGRATE_ROUNDS).await;
                }
                let applications = applications.as_deref();
                let (ids, next) = self.keys_by_standing(applications, filter.standing, order, page).await?;
                Ok((ids, next.map(Cursor::to_text)))
            }
        }
    }

    /// Of the tags that a change gives to a key, those that it never had: the others have led to it before, and lists show it once.
    async fn never_had(&self, key: &Key, tags: &[String]) -> Result<Vec<String>> {
        let mut new: Vec<String> = tags.iter().filter(|tag| !key.tags.contains(tag)).cloned().collect();
        let mut before = Some(key.event);
        for _ in 0..PAST_EVENTS_MAX {
            let Some(id) = before.filter(|_| !new.is_empty()) else { break };
            let event = match self.read().event(id).await {
                Ok(Some(event)) => event,
                // A hole in the log is no reason to refuse an edit.
                Ok(None) => break,
                Err(error) if error.code.blame() == Blame::Integrity => break,
                Err(error) => return Err(error),
            };
            new.retain(|tag| event.tags_given().all(|had| had != tag));
            before = event.previous;
        }
        Ok(new)
    }

    /// Changes a key; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such key, a revoked one, another revision, the last root; where the store does not answer.
    pub async fn change_key(
        &self,
        attempt: &Attempt,
        id: KeyId,
        change: KeyChange,
        if_match: Option<u64>,
    ) -> Result<KeyView> {
        let known = self.visible_key(attempt, scope::KEYS_WRITE, id).await?;
        let changed = self.check_change(attempt, &known, &change, if_match).await?;
        let new_tags = self.never_had(&known, &changed.tags).await?;
        let (turn, key) = self.ledger.turn_at::<Key>(id).await?;
        let mut changed = match self.check_change(attempt, &key, &change, if_match).await {
            Ok(changed) => changed,
            Err(error) => {
                attempt.unused(key, turn);
                return Err(error);
            }
        };
        changed.revision = turn.revision();
        let mut draft = attempt.draft(Outcome::Done, None, Some(key.event));
        draft.detail = change.names();
        if change.roles.is_some() {
            draft.detail.extend(roles_given(&changed.roles));
        }
        if change.policy.is_some() {
            draft.detail.push(policy_given(changed.policy));
        }
        if change.limits.is_some() {
            draft.detail.extend(changed.limits.iter().map(Limit::fact));
        }
        draft.detail.extend(
            new_tags
                .iter()
                .filter(|tag| changed.tags.contains(tag) && !key.tags.contains(tag))
                .map(|tag| tag_given(tag)),
        );
        let terms = self.terms_of(&changed).await?;
        draft.detail.extend(outlook(&changed, &terms, self.clock.now()));
        let beside = self.beside(&key).await?;
        self.commit(attempt, vec![draft], |tickets, writes| {
            changed.event = tickets.event(0);
            writes.change(&changed, turn);
            Ok(self.view_of(&changed, &beside, &terms))
        })
        .await
    }

    /// The key as it would be after a change, for whoever is asked whether they mean it. Nothing is changed, and what would be refused is.
    ///
    /// # Errors
    /// As [`Service::change_key`].
    pub async fn preview_key_change(
        &self,
        attempt: &Attempt,
        id: KeyId,
        change: &KeyChange,
        if_match: Option<u64>,
    ) -> Result<KeyView> {
        let known = self.visible_key(attempt, scope::KEYS_WRITE, id).await?;
        let changed = self.check_change(attempt, &known, change, if_match).await?;
        let terms = self.terms_of(&changed).await?;
        self.key_view(&changed, &terms).await
    }

    async fn check_change(
        &self,
        attempt: &Attempt,
        key: &Key,
        change: &KeyChange,
        if_match: Option<u64>,
    ) -> Result<Key> {
        self.require_superset(attempt, key.application, &key.scopes, &key.roles).await?;
        let changed = change.apply(key)?;
        self.require_superset(attempt, key.application, &changed.scopes, &changed.roles).await?;
        let new = changed.scopes.iter().filter(|scope| !key.scopes.allows(scope));
        self.require_grants(attempt, key.application, new)?;
        check_revision(if_match, key.revision)?;
        self.require_alive(key).await?;
        if change.roles.is_some() {
            self.require_living_roles(&changed.roles).await?;
        }
        if let Some(policy) = changed.policy.filter(|_| change.policy.is_some()) {
            self.require_living_policy(policy).await?;
        }
        self.keep_a_root_beside(key, Some(&changed)).await?;
        Ok(changed)
    }

    /// Refuses where the key is dead.
    pub(crate) async fn require_alive(&self, key: &Key) -> Result<()> {
        match self.is_alive(key).await? {
            true => Ok(()),
            false => Err(Error::new(Code::Revoked, "the key is revoked, for good; issue a new one")),
        }
    }

    /// Whether neither the key nor its generation was killed.
    pub(crate) async fn is_alive(&self, key: &Key) -> Result<bool> {
        let reader = self.read();
        let (flag, killed) =
            futures::join!(reader.flag(key.id), reader.generation_killed(key.application, key.generation));
        match flag {
            Err(error) if error.code == Code::RingVersionUnknown => Ok(false),
            flag => Ok(matches!(flag?, Some(None)) && !killed?),
        }
    }

    /// A new claim in the place of one that was not taken, or for a successor that is offered.
    ///
    /// # Errors
    /// A missing scope, no such key, a key that is claimed or dead, frozen issuing; where the store does not answer.
    pub async fn reissue_claim(&self, attempt: &Attempt, id: KeyId) -> Result<Answer<IssuedKey>> {
        let known = self.visible_key(attempt, scope::KEYS_WRITE, id).await?;
        self.require_superset(attempt, known.application, &known.scopes, &known.roles).await?;
        // Before its state is looked at: a repeated request has the answer that it had, whatever happened since.
        if let Some(text) = self.begin(attempt, "keys.claims", &id, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        self.check_reissue(attempt, &known).await?;
        let (turn, mut key) = match self.key_turn_once(attempt, id).await? {
            ControlFlow::Continue(taken) => taken,
            ControlFlow::Break(text) => return Ok(Answer::Replayed(text)),
        };
        let version = match self.check_reissue(attempt, &key).await {
            Ok(version) => version,
            Err(error) => {
                attempt.unused(key, turn);
                return Err(error);
            }
        };
        let claim = self.fresh_claim(&mut key, version, self.clock.now());
        let draft = attempt.draft(Outcome::Done, None, Some(key.event));
        self.commit_claim(attempt, draft, key, turn, claim, &[]).await.map(Answer::Fresh)
    }

    /// The version that a new claim would mint.
    pub(crate) async fn check_reissue(&self, attempt: &Attempt, key: &Key) -> Result<u16> {
        self.require_superset(attempt, key.application, &key.scopes, &key.roles).await?;
        self.require_grants(attempt, key.application, key.scopes.iter())?;
        self.require_issuing(attempt).await?;
        self.require_alive(key).await?;
        if key.expired(self.clock.now()) {
            return Err(Error::new(Code::StateConflict, "the key has expired; issue a new one"));
        }
        let offered = key.rotation.offer.as_ref().map(|offer| offer.version);
        // Without a claim and without a version it is the first one, whose claim was withdrawn.
        let first = key.versions.is_empty().then(|| key.highest_version().max(1));
        offered.or(key.claim.as_ref().map(|open| open.version)).or(first).ok_or_else(|| {
            Error::new(
                Code::StateConflict,
                "the key has been claimed; offer a successor with `/rotate`, in mode `incident` if its token is lost or stolen",
            )
        })
    }

    /// Whose a token is, for an admin with the token in hand. The look-up is an event: somebody has seen a secret.
    ///
    /// # Errors
    /// A missing scope, a text that is no token, a token of no key that the caller may see; where the store does not answer.
    pub async fn lookup(&self, attempt: &Attempt, text: &SecretText) -> Result<LookupView> {
        attempt.caller.require_somewhere(scope::KEYS_READ)?;
        let (key, version) = self.key_of_token(text).await?;
        attempt.aim(Some(key.application), Some(key.id));
        attempt.caller.require_at(scope::KEYS_READ, key.application, "token")?;
        let terms = self.terms_of(&key).await?;
        let view = self.key_view(&key, &terms).await?;
        let draft = attempt.draft(Outcome::Done, None, Some(key.event));
        self.commit(attempt, vec![draft], |_, _| Ok(LookupView { key: view, version })).await
    }

    /// The key whose secret `text` is, alive or dead.
    pub(crate) async fn key_of_token(&self, text: &SecretText) -> Result<(Key, u16)> {
        if let Err(malformed) = token::parse(text.expose())
            && !imported::is_importable(text.expose())
        {
            return Err(Error::field("token", "is not a token", format!("a whole token: {malformed}")));
        }
        let cache = InstanceCache::default();
        let verifier = Verifier::new(self.kv, &self.rings.records, &self.rings.peppers, &cache, self.clock);
        let verdict = verifier.verify(text.expose(), &Demand::default()).await?;
        let Presented { key, version, .. } =
            verdict.into_presented().ok_or_else(|| Error::not_found("token"))?;
        Ok((*key, version))
    }
}
