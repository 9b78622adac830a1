//! The steps, in order. Each refusal beyond "no such token" is told only to whoever presented the right secret.

use crate::application::{ApplicationCache, Standing};
use crate::verdict::{Demand, Presented, Refusal, RefusalCode, Verdict, Verified};
use keyward_crypto::{Domain, Peppers, Sealer, UnknownPepper};
use keyward_domain::key::Key;
use keyward_domain::limit::Limit;
use keyward_domain::ports::Clock;
use keyward_domain::scope::Scope;
use keyward_domain::token::{self, Parsed};
use keyward_domain::{Code, Error, KeyId, Result};
use keyward_records::{Flag, KvRead, names, open};
use std::rc::Rc;

/// About the length of a sealed key, so that an unknown id costs the same decryption as a wrong secret.
const DECOY_BYTES: usize = 224;

/// Answers whether tokens pass.
pub struct Verifier<'a, K, C> {
    kv: &'a K,
    records: &'a Sealer,
    peppers: &'a Peppers,
    applications: &'a ApplicationCache,
    clock: &'a C,
}

impl<'a, K: KvRead, C: Clock> Verifier<'a, K, C> {
    /// A verifier over this store and these rings; `applications` outlives the request.
    pub const fn new(
        kv: &'a K,
        records: &'a Sealer,
        peppers: &'a Peppers,
        applications: &'a ApplicationCache,
        clock: &'a C,
    ) -> Self {
        Self { kv, records, peppers, applications, clock }
    }

    /// Whether `token` passes with this demand.
    ///
    /// # Errors
    /// Where the store is silent or a ring is not up to date: neither "allowed" nor "denied".
    pub async fn verify(&self, token: &str, demand: &Demand<'_>) -> Result<Verdict> {
        // 1. No I/O for garbage.
        let Ok(parsed) = token::parse(token) else {
            return Ok(Verdict::Refused(Refusal::NOT_FOUND));
        };
        // 2. and 3., 4.
        match self.find(&parsed).await? {
            Some(found) => self.decide(found, parsed.version, demand).await,
            None => Ok(Verdict::Refused(Refusal::NOT_FOUND)),
        }
    }

    /// Whether a version of a key passes with this demand whose token was presented before: for whoever holds proof of that, such as a
    /// session of the dashboard. All is looked at again but the token.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_again(&self, id: KeyId, version: u16, demand: &Demand<'_>) -> Result<Verdict> {
        let (key, life) = self.read(id, version).await?;
        // A version that its key has forgotten is long dead.
        let known = key.filter(|key| key.version(version).is_some());
        match Found::of(known, life) {
            Some(found) => self.decide(found, version, demand).await,
            None => Ok(Verdict::Refused(Refusal::NOT_FOUND)),
        }
    }

    async fn decide(&self, found: Found, version: u16, demand: &Demand<'_>) -> Result<Verdict> {
        // The secret was right: from here on the caller learns why.
        let standing = match found.dead {
            true => None,
            false => Some(self.standing(&found.key).await?),
        };
        let presented = Presented { key: Box::new(found.key), version, at: self.clock.now() };
        let decided = standing
            .map_or(Err((RefusalCode::Revoked, None)), |standing| decide(standing, &presented, demand));
        Ok(match decided {
            Ok(shared) => Verdict::Accepted(Verified { presented, shared }),
            Err((code, missing_scope)) => {
                Verdict::Refused(Refusal { code, presented: Some(presented), missing_scope })
            }
        })
    }

    /// The key whose secret `parsed` is, alive or dead; `None` for every other token, after the same steps.
    async fn find(&self, parsed: &Parsed<'_>) -> Result<Option<Found>> {
        let (key, life) = self.read(KeyId::from_bytes(parsed.id), parsed.version).await?;
        let version = key.as_ref().and_then(|key| key.version(parsed.version));
        let right = match version {
            Some(version) => {
                self.peppers.verify(version.pepper, parsed.text, &version.mac).map_err(unknown_pepper)?
            }
            None => self.peppers.verify_dummy(parsed.text),
        };
        Ok(Found::of(key.filter(|_| right), life))
    }

    /// The key, where there is one that opens, and whether it or this version of it lives; the same work where there is none.
    async fn read(&self, id: KeyId, version: u16) -> Result<(Option<Key>, Life)> {
        let (flag_key, record_key, kill_key) =
            (names::flag(id), names::key(id), names::version_kill(id, version));
        let (flag, record, kill) =
            futures::join!(self.kv.get(&flag_key), self.kv.get(&record_key), self.kv.get(&kill_key));
        let (flag, record, kill) = (flag?, record?, kill?);

        let key = match &record {
            Some(sealed) => match open::<Key>(self.records, &record_key, sealed) {
                Ok(key) => Some(key),
                Err(error) if error.is_unavailable() => return Err(error.into_error("a key")),
                Err(_) => None,
            },
            None => {
                self.open_decoy(&record_key);
                None
            }
        };
        let life = match Flag::of(flag.as_deref()) {
            Flag::Live if kill.is_none() => Life::Alive,
            Flag::Live | Flag::Dead(_) => Life::Dead,
            Flag::Absent => Life::Unborn,
        };
        Ok((key, life))
    }

    /// The work of opening a record that is not there.
    fn open_decoy(&self, store_key: &str) {
        let mut decoy = [0u8; DECOY_BYTES];
        let version = self.records.active_version().to_be_bytes();
        for (byte, value) in decoy.iter_mut().zip([1].into_iter().chain(version)) {
            *byte = value;
        }
        let _ = std::hint::black_box(self.records.open(Domain::Key, store_key, &decoy));
    }

    /// Step 5.
    async fn standing(&self, key: &Key) -> Result<Standing> {
        self.applications.standing(self.kv, self.records, self.clock, key.application, key.generation).await
    }
}

/// Step 6: the first reason against a version whose secret is right and that is not dead itself; where there is none, the limits that it shares
/// with others, which come last and are for whoever counts.
fn decide(standing: Standing, presented: &Presented, demand: &Demand<'_>) -> Decided {
    let Presented { key, version, at } = presented;
    let code = match standing {
        Standing::Killed => RefusalCode::Revoked,
        Standing::Absent => RefusalCode::NotFound,
        _ if key.expired(*at) || key.retired(*version, *at) => RefusalCode::Expired,
        _ if key.disabled => RefusalCode::Disabled,
        Standing::Suspended => RefusalCode::Disabled,
        Standing::Active(_) if demand.environment.is_some_and(|wanted| wanted != key.environment) => {
            RefusalCode::Forbidden
        }
        Standing::Active(_) if demand.application.is_some_and(|wanted| wanted != key.application) => {
            RefusalCode::Forbidden
        }
        Standing::Active(_) if !key.rules.network.allows(demand.client_address) => RefusalCode::Forbidden,
        Standing::Active(shared) => {
            let missing = demand.scopes.iter().find(|needed| !key.scopes.allows(needed));
            return match missing {
                None => Ok(shared),
                Some(scope) => Err((RefusalCode::InsufficientScope, Some(scope.clone()))),
            };
        }
    };
    Err((code, None))
}

/// The limits that a token that passes shares with others, or why it does not pass.
type Decided = std::result::Result<Rc<[Limit]>, (RefusalCode, Option<Scope>)>;

struct Found {
    key: Key,
    dead: bool,
}

impl Found {
    fn of(key: Option<Key>, life: Life) -> Option<Self> {
        match life {
            // Without a flag the key was never born.
            Life::Unborn => None,
            Life::Alive | Life::Dead => key.map(|key| Self { key, dead: matches!(life, Life::Dead) }),
        }
    }
}

/// Whether a key and one version of it live.
enum Life {
    Unborn,
    Alive,
    Dead,
}

fn unknown_pepper(error: UnknownPepper) -> Error {
    Error::new(Code::RingVersionUnknown, format!("{error}, which a key was minted under"))
}
