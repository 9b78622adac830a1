//! Whoever administers: the holder of a live key of the built-in application, and all that it may do, its roles included.
//! Roles are read here, when somebody administers, and nowhere on the hot path.

use crate::verdict::{Presented, Verified};
use keyward_crypto::Sealer;
use keyward_domain::key::{Environment, Key};
use keyward_domain::role::Role;
use keyward_domain::scope::ScopeSet;
use keyward_domain::{Code, Error, Result, RoleId};
use keyward_records::{KvRead, names, open};

/// An administrator. Only [`Administrator::of`] makes one.
pub struct Administrator {
    key: Box<Key>,
    version: u16,
    scopes: ScopeSet,
}

impl Administrator {
    /// The administrator whose key passed.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] where the key is another application's or a test key; where the store is silent or a ring is
    /// not up to date.
    pub async fn of<K: KvRead>(verified: Verified, kv: &K, records: &Sealer) -> Result<Self> {
        let Presented { key, version, .. } = verified.presented;
        if !key.is_administrative() || key.environment != Environment::Live {
            return Err(Error::new(
                Code::Unauthenticated,
                "the credential is no live key of the application `keyward`; administration takes such a key",
            ));
        }
        let mut scopes = key.scopes.clone();
        // One after the other: most hold one or two, and what reads many at once would weigh more in `validation` than it saves.
        for role in &key.roles {
            scopes = scopes.union(&allowed(kv, records, *role).await?);
        }
        Ok(Self { key, version, scopes })
    }

    /// The key, as it was read for this request.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Which of its versions was presented.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// What it may do: its own scopes and those of its roles.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}

/// What a role allows. One that is absent, does not open or is retired allows nothing.
async fn allowed<K: KvRead>(kv: &K, records: &Sealer, id: RoleId) -> Result<ScopeSet> {
    let store_key = names::role(id);
    let Some(sealed) = kv.get(&store_key).await? else { return Ok(ScopeSet::default()) };
    match open::<Role>(records, &store_key, &sealed) {
        Ok(role) => Ok(role.allowed()),
        Err(error) if error.is_unavailable() => Err(error.into_error("a role")),
        Err(_) => Ok(ScopeSet::default()),
    }
}
