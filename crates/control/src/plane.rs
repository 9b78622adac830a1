//! One request on its way to a use case: the store, the rings, the caller, the attempt, and its end.

use crate::store::ControlKv;
use keyward_domain::event::{Action, Target};
use keyward_domain::ports::Clock;
use keyward_domain::{Code, Error, Result};
use keyward_guest::admin::Trust;
use keyward_guest::refusals::{AnonymousRefusals, DUE_AFTER_MS};
use keyward_guest::variables::{self, Control};
use keyward_guest::{Incoming, WasiClock, WasiRng, authenticate};
use keyward_service::{Attempt, Caller, Service};
use std::rc::Rc;

/// The use cases over the platform's store, clock and randomness.
pub type PlaneService<'a> = Service<'a, ControlKv, WasiClock, WasiRng>;

thread_local! {
    static REFUSALS: AnonymousRefusals = const { AnonymousRefusals::new() };
}

/// What a component of the control plane works with.
pub struct Plane {
    kv: ControlKv,
    control: Rc<Control>,
    clock: WasiClock,
    rng: WasiRng,
    public_url: String,
}

impl Plane {
    /// Reads the variables; nothing of the store is touched yet.
    ///
    /// # Errors
    /// [`Code::Misconfigured`].
    pub async fn open() -> Result<Self> {
        let control = variables::control().await?;
        Ok(Self {
            kv: ControlKv::default(),
            control,
            clock: WasiClock,
            rng: WasiRng,
            public_url: String::new(),
        })
    }

    /// The same for a component that names the outside's way to Keyward.
    #[must_use]
    pub fn at(mut self, public_url: &str) -> Self {
        public_url.clone_into(&mut self.public_url);
        self
    }

    /// The clock.
    pub const fn clock(&self) -> &WasiClock {
        &self.clock
    }

    /// The use cases.
    pub fn service(&self) -> PlaneService<'_> {
        Service::new(&self.kv, &self.control.rings, &self.clock, &self.rng, &self.public_url)
    }

    /// An admin changes something: `work` runs for whoever presents a key of `keyward`; its refusal becomes an event.
    ///
    /// # Errors
    /// Those of authentication and of `work`.
    pub async fn change<T>(
        &self,
        incoming: &Incoming,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        self.administer(incoming, |caller| Attempt::to_change(caller, action, target), work).await
    }

    /// An admin looks at something; only a missing scope becomes an event.
    ///
    /// # Errors
    /// Those of authentication and of `work`.
    pub async fn look<T>(
        &self,
        incoming: &Incoming,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        self.administer(incoming, |caller| Attempt::to_read(caller, action, target), work).await
    }

    async fn administer<T>(
        &self,
        incoming: &Incoming,
        attempt: impl FnOnce(Caller) -> Attempt,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let trust = Trust::from(&*self.control);
        let admin = match authenticate(incoming, &self.kv, trust, &self.clock).await {
            Ok(admin) => admin,
            Err(error) => {
                if matches!(error.code, Code::Unauthenticated | Code::MisplacedCredential) {
                    self.note_refusal(incoming);
                }
                return Err(error);
            }
        };
        let source = incoming.source(&self.control.trusted_proxies);
        // A bad Idempotency-Key is a refusal like any other: it is told after the attempt has begun.
        let (key, fault) = split(incoming.idempotency_key());
        let attempt = attempt(Caller::admin(admin.verified(), source, incoming.id(), key)?);
        self.run(attempt, fault, work).await
    }

    /// Somebody acts with nothing but what the request carries: a ticket or a token.
    ///
    /// # Errors
    /// Those of `work`; a credential in the URL.
    pub async fn hold<T>(
        &self,
        incoming: &Incoming,
        action: Action,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        // Looked at for its misplacement alone.
        incoming.credential()?;
        let source = incoming.source(&self.control.trusted_proxies);
        let (key, fault) = split(incoming.idempotency_key());
        let attempt =
            Attempt::to_change(Caller::holder(source, incoming.id(), key), action, Target::default());
        self.run(attempt, fault, work).await
    }

    async fn run<T>(
        &self,
        attempt: Attempt,
        fault: Option<Error>,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let service = self.service();
        let result = match fault {
            Some(error) => Err(error),
            None => work(&service, &attempt).await,
        };
        service.settle(&attempt, result).await
    }

    /// Counts a refused call without a valid credential. The first of a burst sees to it that the counts are written down: one
    /// increment per source and burst, and one event per source and minute, whatever the flood.
    fn note_refusal(&self, incoming: &Incoming) {
        let address = incoming.client_address(&self.control.trusted_proxies);
        let request = incoming.id();
        if !REFUSALS.with(|refusals| refusals.note(address, self.clock.now())) {
            return;
        }
        let control = Rc::clone(&self.control);
        spin_sdk::wasip3::spawn(async move {
            let plane = Self {
                kv: ControlKv::default(),
                control,
                clock: WasiClock,
                rng: WasiRng,
                public_url: String::new(),
            };
            let pause_ms = u64::try_from(DUE_AFTER_MS).unwrap_or(0).saturating_add(1);
            plane.clock.sleep_ms(pause_ms).await;
            for due in REFUSALS.with(|refusals| refusals.take_due(plane.clock.now())) {
                let (source, count) = (due.source.to_string(), i64::from(due.count));
                // What cannot be written is lost with the instance: these counts are of nobody's deeds.
                let _ = plane.service().record_anonymous(&source, due.minute, count, request).await;
            }
        });
    }
}

/// The value, and the error apart from it.
fn split<T>(result: Result<Option<T>>) -> (Option<T>, Option<Error>) {
    match result {
        Ok(value) => (value, None),
        Err(error) => (None, Some(error)),
    }
}
