//! An event as it lies in the store: what is personal in it (principal, address, user agent) is sealed once more, under a random
//! key of its month. Destroying that key shreds the personal part of a month while the log, a tree over sealed events, stays whole.

use crate::names;
use crate::record::{Codec, Record, RecordError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use keyward_crypto::{Domain, SealError, Sealer, SecretBytes};
use keyward_domain::event::{ActorKind, Event, EventId, Source};
use keyward_domain::timestamp::Month;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;

/// What stands where personal data was, once it is shredded.
pub const SHREDDED: &str = "shredded";

/// An event as it is sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// All that is not personal.
    #[serde(flatten)]
    pub event: Event,
    /// What is, under the key of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<SealedPersonal>,
}

impl Record for StoredEvent {
    const DOMAIN: Domain = Domain::Event;
    fn store_key(&self) -> String {
        names::event(self.event.id)
    }
}

/// The personal part of an event.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPersonal {
    /// The month whose key it is sealed under.
    pub month: Month,
    /// Which of the month's keys.
    pub number: u32,
    /// The sealed [`Personal`], base64.
    sealed: String,
}

/// What is personal in an event.
#[derive(Serialize, Deserialize)]
struct Personal {
    principal: Option<String>,
    #[serde(flatten)]
    source: Source,
}

/// A month's key, in use.
#[derive(Clone)]
pub struct MonthKey {
    /// Which month.
    pub month: Month,
    /// Which of the month's keys: there are several only where writers met at its beginning.
    pub number: u32,
    /// The key.
    pub key: Rc<SecretBytes<32>>,
}

/// Where a month's key lies, or what became of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct PersonalKey {
    /// Which month.
    pub month: Month,
    /// Which of the month's keys, from 1.
    pub number: u32,
    /// The key, or its end.
    pub state: PersonalKeyState,
}

/// What became of a month's key.
#[derive(Clone, Serialize, Deserialize)]
pub enum PersonalKeyState {
    /// It opens what is personal.
    Kept([u8; 32]),
    /// It was destroyed, as this event says.
    Shredded(EventId),
}

impl Record for PersonalKey {
    const DOMAIN: Domain = Domain::PersonalKey;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::personal_key(self.month, self.number)
    }
}

impl From<&MonthKey> for PersonalKey {
    fn from(held: &MonthKey) -> Self {
        let state = PersonalKeyState::Kept(*held.key.expose());
        Self { month: held.month, number: held.number, state }
    }
}

impl PersonalKey {
    /// The key, where it was not shredded.
    pub fn kept(&self) -> Option<MonthKey> {
        match self.state {
            PersonalKeyState::Kept(key) => {
                Some(MonthKey { month: self.month, number: self.number, key: Rc::new(SecretBytes::new(key)) })
            }
            PersonalKeyState::Shredded(_) => None,
        }
    }
}

/// The key of the current month, as far as this instance met it. Only months that are over are shredded: whoever reads lets go of a key
/// once its month is, since an instance that wrote nothing since would go on opening what was destroyed.
#[derive(Default)]
pub struct CurrentMonth(RefCell<Option<MonthKey>>);

impl CurrentMonth {
    /// The key kept for `month`.
    pub fn get(&self, month: Month) -> Option<MonthKey> {
        self.0.borrow().as_ref().filter(|held| held.month == month).cloned()
    }

    /// Lets go of the key of any month but the current one.
    pub fn let_go_but(&self, current: Month) {
        self.0.borrow_mut().take_if(|held| held.month != current);
    }

    /// Keeps the key of the current month.
    pub fn keep(&self, key: MonthKey) {
        *self.0.borrow_mut() = Some(key);
    }
}

impl StoredEvent {
    /// Whether an event has anything personal.
    pub fn is_personal(event: &Event) -> bool {
        event.actor.principal.is_some() || event.source != Source::default()
    }

    /// The event to store, its personal part sealed under `key`; without a key it must have none. `nonce` is fresh.
    ///
    /// # Errors
    /// [`SealError`] where the personal part is too long.
    pub fn new(
        mut event: Event,
        audit: &Sealer,
        key: Option<&MonthKey>,
        nonce: [u8; 12],
    ) -> Result<Self, SealError> {
        let personal =
            Personal { principal: event.actor.principal.take(), source: std::mem::take(&mut event.source) };
        let personal = match key {
            None => None,
            Some(MonthKey { month, number, key }) => {
                let plain = keyward_crypto::Zeroizing::new(serde_json::to_vec(&personal).unwrap_or_default());
                let place = names::event(event.id);
                let sealed = audit.seal_bound(Domain::EventPersonal, &place, key.expose(), &plain, nonce)?;
                let sealed = STANDARD_NO_PAD.encode(sealed);
                Some(SealedPersonal { month: *month, number: *number, sealed })
            }
        };
        Ok(Self { event, personal })
    }

    /// The event with its personal part, under the month's key as it was found: `None` where that is gone from the store.
    ///
    /// # Errors
    /// [`RecordError`] where the key is there and the personal part does not open.
    pub fn reveal(self, audit: &Sealer, key: Option<&PersonalKey>) -> Result<Event, RecordError> {
        let Self { mut event, personal } = self;
        let Some(personal) = personal else { return Ok(event) };
        match key.and_then(PersonalKey::kept) {
            None => {
                let shredded = || Some(SHREDDED.to_owned());
                event.actor.principal = (event.actor.kind == ActorKind::Admin).then(shredded).flatten();
                event.source = Source { client_addr: shredded(), user_agent: shredded() };
            }
            Some(month) => {
                let sealed = STANDARD_NO_PAD.decode(&personal.sealed).map_err(|_| RecordError::Damaged)?;
                let place = names::event(event.id);
                let plain = audit.open_bound(Domain::EventPersonal, &place, month.key.expose(), &sealed)?;
                let Personal { principal, source } =
                    serde_json::from_slice(&plain).map_err(|_| RecordError::Damaged)?;
                event.actor.principal = principal;
                event.source = source;
            }
        }
        Ok(event)
    }
}
