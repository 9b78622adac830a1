//! The steps, in order. Each refusal beyond "no such token" is told only to whoever presented the right secret.

use crate::application::Standing;
use crate::cache::InstanceCache;
use crate::verdict::{Demand, Presented, Refusal, RefusalCode, Verdict, Verified};
use keyward_crypto::{Domain, Peppers, Sealer, UnknownPepper, digest};
use keyward_domain::imported::{self, Algorithm, Digest};
use keyward_domain::key::{FIRST_VERSION, Key};
use keyward_domain::limit::Limit;
use keyward_domain::ports::Clock;
use keyward_domain::scope::Scope;
use keyward_domain::token::{self, Parsed};
use keyward_domain::{Code, Error, KeyId, Result};
use keyward_records::{Flag, KvRead, names, open};
use std::borrow::Cow;
use std::rc::Rc;

/// About the length of a sealed key, so that an unknown id costs the same decryption as a wrong secret.
const DECOY_BYTES: usize = 224;

/// Answers whether tokens pass.
pub struct Verifier<'a, K, C> {
    kv: &'a K,
    records: &'a Sealer,
    peppers: &'a Peppers,
    cache: &'a InstanceCache,
    clock: &'a C,
}

impl<'a, K: KvRead, C: Clock> Verifier<'a, K, C> {
    /// A verifier over this store and these rings; `cache` outlives the request.
    pub const fn new(
        kv: &'a K,
        records: &'a Sealer,
        peppers: &'a Peppers,
        cache: &'a InstanceCache,
        clock: &'a C,
    ) -> Self {
        Self { kv, records, peppers, cache, clock }
    }

    /// Whether `token` passes with this demand.
    ///
    /// # Errors
    /// Where the store is silent or a ring is not up to date: neither "allowed" nor "denied".
    pub async fn verify(&self, token: &str, demand: &Demand<'_>) -> Result<Verdict> {
        // 1. No I/O for garbage.
        let places = match token::parse(token) {
            Ok(Parsed { id, version, .. }) => {
                vec![Place { id: KeyId::from_bytes(id), version, secret: Cow::Borrowed(token.as_bytes()) }]
            }
            Err(_) if imported::is_importable(token) => self.places_of_imported(token).await?,
            Err(_) => Vec::new(),
        };
        // 2. and 3., 4.
        for place in &places {
            if let Some(found) = self.find(place).await? {
                return self.decide(found, demand).await;
            }
        }
        Ok(Verdict::Refused(Refusal::NOT_FOUND))
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
        match Found::of(known, version, life) {
            Some(found) => self.decide(found, demand).await,
            None => Ok(Verdict::Refused(Refusal::NOT_FOUND)),
        }
    }

    async fn decide(&self, found: Found, demand: &Demand<'_>) -> Result<Verdict> {
        // The secret was right: from here on the caller learns why.
        let standing = match found.dead {
            true => None,
            false => Some(self.standing(&found.key).await?),
        };
        let presented = Presented { key: Box::new(found.key), version: found.version, at: self.clock.now() };
        let decided = standing
            .map_or(Err((RefusalCode::Revoked, None)), |standing| decide(standing, &presented, demand));
        Ok(match decided {
            Ok(shared) => Verdict::Accepted(Verified { presented, shared }),
            Err((code, missing_scope)) => {
                Verdict::Refused(Refusal { code, presented: Some(presented), missing_scope })
            }
        })
    }

    /// The key whose secret lies there, alive or dead; `None` for every other secret, after the same steps.
    async fn find(&self, Place { id, version: number, secret }: &Place<'_>) -> Result<Option<Found>> {
        let (key, life) = self.read(*id, *number).await?;
        let version = key.as_ref().and_then(|key| key.version(*number));
        let right = match version {
            Some(version) => {
                self.peppers.verify(version.pepper, secret, &version.mac).map_err(unknown_pepper)?
            }
            None => self.peppers.verify_dummy(secret),
        };
        Ok(Found::of(key.filter(|_| right), *number, life))
    }

    /// Where a text may be found that another system may have issued: one place for each kind of imports that there is.
    async fn places_of_imported(&self, text: &str) -> Result<Vec<Place<'static>>> {
        let kinds = self.cache.imports.kinds(self.kv, self.peppers, self.clock).await?;
        let mut places = Vec::new();
        for (pepper, algorithm) in kinds {
            let secret = digest_of(text, algorithm).secret();
            let id = self.peppers.imported_id(pepper, &secret).map_err(unknown_pepper)?;
            places.push(Place {
                id: KeyId::from_bytes(id),
                version: FIRST_VERSION,
                secret: Cow::Owned(secret),
            });
        }
        Ok(places)
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
        self.cache
            .applications
            .standing(self.kv, self.records, self.clock, key.application, key.generation)
            .await
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

/// Where the version of a key lies that a token may be of, and what is MACed of the token.
struct Place<'t> {
    id: KeyId,
    version: u16,
    secret: Cow<'t, [u8]>,
}

struct Found {
    key: Key,
    version: u16,
    dead: bool,
}

impl Found {
    fn of(key: Option<Key>, version: u16, life: Life) -> Option<Self> {
        match life {
            // Without a flag the key was never born.
            Life::Unborn => None,
            Life::Alive | Life::Dead => {
                key.map(|key| Self { key, version, dead: matches!(life, Life::Dead) })
            }
        }
    }
}

/// Whether a key and one version of it live.
enum Life {
    Unborn,
    Alive,
    Dead,
}

fn digest_of(text: &str, algorithm: Algorithm) -> Digest {
    let bytes = match algorithm {
        Algorithm::Sha256 => digest::sha256(text.as_bytes()).to_vec(),
        Algorithm::Sha512 => digest::sha512(text.as_bytes()).to_vec(),
    };
    Digest::new(algorithm, bytes)
}

fn unknown_pepper(error: UnknownPepper) -> Error {
    Error::new(Code::RingVersionUnknown, format!("{error}, which a key was minted under"))
}
