//! What keys of `keyward` may do, their roles included: whoever touches one holds all of it, and the last root key stays.

use crate::attempt::Attempt;
use crate::list::Page;
use crate::service::Service;
use keyward_domain::error::{Blame, FieldError};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::role::Role;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, RoleId};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead, names};
use std::ops::ControlFlow;

/// Records of keys read at the same time.
const READS_AT_ONCE: usize = 32;

/// What a root key holds.
pub(crate) const EVERYTHING: &str = "*";

fn everything() -> Scope {
    Scope::fixed(EVERYTHING)
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Passes where the caller holds `pattern` for an application. For whoever holds it for others only, there is no such `what`:
    /// where there is one, that is a missing scope all the same, for the log.
    pub(crate) async fn require_at(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        application: ApplicationId,
        what: &str,
    ) -> Result<()> {
        match attempt.caller.require_at(pattern, application, what) {
            Err(error)
                if error.code == Code::NotFound
                    && matches!(self.read().application(application).await, Ok(None)) =>
            {
                Err(Error::not_found(what))
            }
            result => result,
        }
    }

    /// Whoever touches a key of `keyward` must hold every scope of it, those of its roles included; nobody grants what they lack.
    /// Keys of other applications may be touched by whoever may touch keys there.
    pub(crate) async fn require_superset(
        &self,
        attempt: &Attempt,
        application: ApplicationId,
        scopes: &ScopeSet,
        roles: &[RoleId],
    ) -> Result<()> {
        if application != ApplicationId::KEYWARD {
            return Ok(());
        }
        attempt.caller.require_all(scopes)?;
        for (id, role) in roles.iter().zip(self.read_roles(roles).await?) {
            match role {
                Some(role) => attempt.caller.require_all(&role.allowed())?,
                // It might have allowed anything, and may again once it is put back.
                None => attempt.caller.require(EVERYTHING).map_err(|mut error| {
                    error.detail = format!(
                        "the role `{id}` cannot be read; whoever touches a key that names it must hold `*`"
                    );
                    error
                })?,
            }
        }
        Ok(())
    }

    /// Whoever hands out, to themselves as well, what reads credentials must be able to read them: nobody grants what they lack.
    pub(crate) fn require_grants<'a>(
        &self,
        attempt: &Attempt,
        application: ApplicationId,
        scopes: impl IntoIterator<Item = &'a Scope>,
    ) -> Result<()> {
        if application == ApplicationId::KEYWARD {
            return Ok(());
        }
        let grants = scopes.into_iter().filter(|scope| scope.is_grant());
        attempt.caller.require_all(&grants.map(|scope| scope.clone().at(application)).collect())
    }

    /// These roles; `None` for one that is absent or does not open.
    async fn read_roles(&self, roles: &[RoleId]) -> Result<Vec<Option<Role>>> {
        let reader = self.read();
        let found = futures::future::join_all(roles.iter().map(|id| reader.role(*id))).await;
        found.into_iter().map(readable).collect()
    }

    /// Refuses roles that are absent or retired: no key is given one of these.
    pub(crate) async fn require_living_roles(&self, roles: &[RoleId]) -> Result<()> {
        let found = self.read_roles(roles).await?;
        let dead = |(id, role): (&RoleId, Option<Role>)| {
            role.is_none_or(|role| role.retired_at.is_some()).then(|| {
                FieldError::new(
                    "roles",
                    format!("names `{id}`, which is no role or a retired one"),
                    "ids of roles",
                )
            })
        };
        let errors: Vec<FieldError> = roles.iter().zip(found).filter_map(dead).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
    }

    /// How many living keys hold a role.
    pub(crate) async fn holders(&self, role: RoleId) -> Result<usize> {
        let mut holders = 0;
        self.keys_of_keyward(async |_, key| {
            if let Some(key) = key
                && key.roles.contains(&role)
                && !key.expired(self.clock.now())
                && self.is_alive(&key).await?
            {
                holders += 1;
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(holders)
    }

    /// Refuses what would take the last root away with `key`, of which `left` is left; nothing where it dies. Two roots that end at
    /// the same moment are not seen by each other.
    pub(crate) async fn keep_a_root_beside(&self, key: &Key, left: Option<&Key>) -> Result<()> {
        if !self.is_root(key).await? {
            return Ok(());
        }
        if let Some(left) = left
            && self.is_root(left).await?
        {
            return Ok(());
        }
        self.keep_a_root(|other| (other.id != key.id).then(|| other.clone())).await
    }

    /// Refuses the death of `key` where the last root would go with it and those that are `dying` beside it.
    pub(crate) async fn keep_a_root_without(&self, key: &Key, dying: &[Key]) -> Result<()> {
        if !self.is_root(key).await? {
            return Ok(());
        }
        let stays = |other: &Key| other.id != key.id && dying.iter().all(|one| one.id != other.id);
        self.keep_a_root(|other| stays(other).then(|| other.clone())).await
    }

    /// Refuses a change of a role that would take the last root away.
    pub(crate) async fn keep_a_root_with_role(&self, before: &Role, after: &Role) -> Result<()> {
        let everything = everything();
        if !before.allowed().allows(&everything) || after.allowed().allows(&everything) {
            return Ok(());
        }
        self.keep_a_root(|key| {
            let mut left = key.clone();
            left.roles.retain(|role| *role != before.id);
            Some(left)
        })
        .await
    }

    /// Refuses where there is a root now and none in what is `left` of all keys.
    pub(crate) async fn keep_a_root(&self, left: impl Fn(&Key) -> Option<Key>) -> Result<()> {
        let (mut is_one_now, mut is_one_left) = (false, false);
        self.keys_of_keyward(async |_, key| {
            // One whose record does not open administers nothing.
            let Some(key) = key else { return Ok(ControlFlow::Continue(())) };
            is_one_now |= self.is_root(&key).await?;
            if let Some(left) = left(&key) {
                is_one_left = self.is_root(&left).await?;
            }
            Ok(if is_one_left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .await?;
        if is_one_now && !is_one_left {
            return Err(Error::new(
                Code::LastRoot,
                "no other key holds `*` for good; issue another root key and have it claimed first. A root token that leaked can \
                 be ended all the same, with `POST /v1/revocations`",
            ));
        }
        Ok(())
    }

    /// Whether a key can administer everything until somebody takes that from it: it is alive, claimed, not disabled, without an
    /// end, and holds `*` for all applications, by itself or through a role.
    async fn is_root(&self, key: &Key) -> Result<bool> {
        let lasts = !key.disabled && key.expires_at.is_none() && !key.versions.is_empty();
        if !key.is_administrative() || !lasts {
            return Ok(false);
        }
        Ok(self.holds_everything(key).await?
            && self.is_alive(key).await?
            && self.has_living_version(key).await?)
    }

    /// Whether a key holds `*` for all applications, by itself or through a role.
    pub(crate) async fn holds_everything(&self, key: &Key) -> Result<bool> {
        let everything = everything();
        if key.scopes.allows(&everything) {
            return Ok(true);
        }
        let roles = self.read_roles(&key.roles).await?;
        Ok(roles.into_iter().flatten().any(|role| role.allowed().allows(&everything)))
    }

    /// Whether some version was not killed by itself.
    async fn has_living_version(&self, key: &Key) -> Result<bool> {
        let kills = key.versions.iter().map(|version| names::version_kill(key.id, version.number));
        for kill in kills {
            if self.kv.get(&kill).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows every key of `keyward`, newest first, for as long as `look` goes on; `None` for one whose record does not open. Work
    /// grows with the number of such keys, so this is for what is done rarely.
    pub(crate) async fn keys_of_keyward(
        &self,
        mut look: impl AsyncFnMut(KeyId, Option<Key>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let list = lists::keys_of(ApplicationId::KEYWARD);
        let mut page = Page::LONGEST;
        loop {
            let (ids, next) = self.things::<KeyId>(&list, &page).await?;
            for ids in ids.chunks(READS_AT_ONCE) {
                let reader = self.read();
                let keys = futures::future::join_all(ids.iter().map(|id| reader.key(*id))).await;
                for (id, key) in ids.iter().zip(keys) {
                    if look(*id, readable(key)?).await?.is_break() {
                        return Ok(());
                    }
                }
            }
            match next {
                Some(cursor) => page = page.next(&cursor)?,
                None => return Ok(()),
            }
        }
    }
}

/// What was read; nothing where it does not open.
fn readable<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.code.blame() == Blame::Integrity => Ok(None),
        other => other,
    }
}
