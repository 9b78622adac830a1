//! Minting: the one place where tokens come to be. A token exists in the answer to whoever is to hold it, and nowhere else.

use crate::answer::Body;
use crate::service::Service;
use keyward_crypto::{SecretBytes, SecretText, digest};
use keyward_domain::event::EventId;
use keyward_domain::key::{Environment, Key, Version};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::Renewal;
use keyward_domain::{ApplicationId, Error, KeyId, RenewalId, Result, Timestamp, token};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};
use serde::Serialize;
use utoipa::ToSchema;

/// A version that was just minted: what is stored of it, and the token.
pub(crate) struct Minted {
    pub(crate) version: Version,
    pub(crate) token: SecretText,
}

/// A renewal token that was just minted: what is stored of it, and the token.
pub(crate) struct FreshRenewal {
    pub(crate) record: Renewal,
    token: SecretText,
}

/// A minted token and whose it is.
pub struct ClaimedKey {
    id: KeyId,
    name: String,
    application: ApplicationId,
    environment: Environment,
    version: u16,
    expires_at: Option<Timestamp>,
    others_end_at: Option<Timestamp>,
    token: SecretText,
    renewal_token: Option<SecretText>,
    event: EventId,
}

/// A [`ClaimedKey`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaimedKey)]
pub struct ClaimedKeyBody<'a> {
    key: ClaimedVersion<'a>,
    /// The token: it is told here and nowhere else.
    #[schema(pattern = "^[a-z0-9]{2,12}_(live|test)_[0-9A-Za-z]{73}$")]
    token: &'a str,
    /// What the next version is had with, once, by `POST /v1/self/renew`; none where the key's policy does not allow that. It goes
    /// to Keyward alone, never to a gateway.
    #[schema(pattern = "^kwr_(live|test)_[0-9A-Za-z]{73}$", required = true)]
    renewal_token: Option<&'a str>,
    event: EventId,
}

/// Whose a minted token is.
#[derive(Serialize, ToSchema)]
struct ClaimedVersion<'a> {
    id: KeyId,
    name: &'a str,
    application: ApplicationId,
    environment: Environment,
    version: u16,
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
    /// When the version before this one stops; none where there is none.
    #[schema(required = true)]
    others_end_at: Option<Timestamp>,
}

impl Body for ClaimedKey {
    fn to_json(&self) -> SecretText {
        let key = ClaimedVersion {
            id: self.id,
            name: &self.name,
            application: self.application,
            environment: self.environment,
            version: self.version,
            expires_at: self.expires_at,
            others_end_at: self.others_end_at,
        };
        let renewal_token = self.renewal_token.as_ref().map(SecretText::expose);
        ClaimedKeyBody { key, token: self.token.expose(), renewal_token, event: self.event }.to_json()
    }
}

impl ClaimedKey {
    /// What the holder of the newest version of `key` is answered.
    pub(crate) fn of(key: &Key, version: u16, token: SecretText, renewal: Option<FreshRenewal>) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            application: key.application,
            environment: key.environment,
            version,
            expires_at: key.expires_at,
            others_end_at: key.rotation.overlap_ends_at,
            token,
            renewal_token: renewal.map(|renewal| renewal.token),
            event: key.event,
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// A version of a key, with its token.
    ///
    /// # Errors
    /// Only where the ring of peppers contradicts itself.
    pub(crate) fn mint_version(
        &self,
        id: KeyId,
        prefix: &str,
        environment: Environment,
        number: u16,
        now: Timestamp,
    ) -> Result<Minted> {
        let secret = SecretBytes::new(self.rng.bytes::<32>());
        let token =
            SecretText::new(token::render(prefix, environment, id.as_bytes(), number, secret.expose()));
        let pepper = self.rings.peppers.active();
        let mac = self
            .rings
            .peppers
            .mac(pepper, token.expose().as_bytes())
            .map_err(|_| Error::internal("the active pepper is not in its ring"))?;
        Ok(Minted { version: Version { number, pepper, mac, claimed_at: now }, token })
    }

    /// A renewal token for whoever holds the newest version of `key`, which renews itself with it from then on.
    pub(crate) fn mint_renewal(&self, key: &mut Key) -> FreshRenewal {
        let secret = SecretBytes::new(self.rng.bytes::<32>());
        let version = key.newest().map_or(0, |newest| newest.number);
        let token = SecretText::new(token::render(
            token::PREFIX_RENEWAL,
            key.environment,
            key.id.as_bytes(),
            version,
            secret.expose(),
        ));
        let token_digest = digest::sha256(token.expose().as_bytes());
        let id = renewal_id(&token_digest);
        key.rotation.renewal = Some(id);
        let record = Renewal {
            id,
            token_digest: digest::hex(&token_digest),
            key: key.id,
            application: key.application,
            version,
        };
        FreshRenewal { record, token }
    }
}

/// A renewal's id: the first 16 bytes of its token's digest. The token carries 256 random bits, so its digest gives nothing away.
pub(crate) fn renewal_id(token_digest: &[u8; 32]) -> RenewalId {
    RenewalId::from_bytes(*token_digest.first_chunk::<16>().unwrap_or(&[0; 16]))
}
