//! One request on its way to a use case: the store, the rings, the caller, the attempt, and its end.

use crate::store::ControlKv;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::SecretText;
use keyward_domain::event::{Action, Event, Source, Target};
use keyward_domain::ports::{Clock, EventSink};
use keyward_domain::{Code, Error, RequestId, Result, token};
use keyward_guest::admin::{Trust, authenticate_by, present};
use keyward_guest::refusals::{AnonymousRefusals, DUE_AFTER_MS, Noted};
use keyward_guest::variables::{self, Control};
use keyward_guest::{Incoming, Response, WasiClock, WasiRng, authenticate};
use keyward_ledger::{Receipt, Witness};
use keyward_service::{Attempt, Caller, Service};
use keyward_verify::{Administrator, Verified};
use std::cell::Cell;
use std::rc::Rc;

/// The use cases over the platform's store, clock and randomness.
pub type PlaneService<'a> = Service<'a, ControlKv, WasiClock, WasiRng>;

/// The header that says where in the log a change lies, and the hash of its leaf there.
const RECEIPT: &str = "keyward-receipt";

thread_local! {
    static REFUSALS: AnonymousRefusals = const { AnonymousRefusals::new() };
}

/// The component's log as a second place where events are told: one line of JSON each, to be shipped elsewhere.
pub(crate) struct EventLines;

impl EventSink for EventLines {
    fn committed(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(&event.redacted()) {
            println!("{line}");
        }
    }
}

/// What a component of the control plane works with.
pub struct Plane {
    kv: ControlKv,
    control: Rc<Control>,
    clock: WasiClock,
    rng: WasiRng,
    public_url: String,
    /// A second store, which remembers how far the log was.
    witness_store: Option<ControlKv>,
    /// What it was found to remember.
    witness: Cell<Witness>,
}

impl Plane {
    /// Reads the variables; nothing of the store is touched yet.
    ///
    /// # Errors
    /// [`Code::Misconfigured`].
    pub async fn open() -> Result<Self> {
        Ok(Self::over(variables::control().await?))
    }

    fn over(control: Rc<Control>) -> Self {
        Self {
            kv: ControlKv::default(),
            witness_store: control.witness_store.as_deref().map(ControlKv::new),
            control,
            clock: WasiClock,
            rng: WasiRng,
            public_url: String::new(),
            witness: Cell::default(),
        }
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
        Service::new(&self.kv, &self.control.rings, &self.clock, &self.rng, &EventLines, &self.public_url)
            .held_to(self.witness.get())
    }

    /// Asks the witness, where there is one, what it remembers; whatever is done from here on is held to it.
    pub async fn ask_witness(&self) {
        if let Some(store) = &self.witness_store {
            self.witness.set(self.service().ledger().ask_witness(store).await);
        }
    }

    /// Tells the witness, where there is one, how far the log is.
    ///
    /// # Errors
    /// Those of [`keyward_ledger::Ledger::tell_witness`].
    pub async fn tell_witness(&self) -> Result<()> {
        match &self.witness_store {
            Some(store) => self.service().ledger().tell_witness(store).await,
            None => Ok(()),
        }
    }

    /// The store where validators keep use.
    pub fn usage_store(&self) -> ControlKv {
        ControlKv::new(&self.control.usage_store)
    }

    /// An admin changes something: `work` runs for whoever presents a key of `keyward`; its refusal becomes an event.
    ///
    /// # Errors
    /// Those of authentication and of `work`.
    pub async fn change(
        &self,
        incoming: &Incoming,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<Response>,
    ) -> Result<Response> {
        self.administer(incoming, |caller| Attempt::to_change(caller, action, target), work).await
    }

    /// An admin looks at something; only a missing scope becomes an event.
    ///
    /// # Errors
    /// Those of authentication and of `work`.
    pub async fn look(
        &self,
        incoming: &Incoming,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<Response>,
    ) -> Result<Response> {
        self.administer(incoming, |caller| Attempt::to_read(caller, action, target), work).await
    }

    async fn administer(
        &self,
        incoming: &Incoming,
        attempt: impl FnOnce(Caller) -> Attempt,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<Response>,
    ) -> Result<Response> {
        let admitted = self.admit(incoming).await?;
        // A bad Idempotency-Key is a refusal like any other: it is told after the attempt has begun.
        let (key, fault) = split(incoming.idempotency_key());
        let (response, receipt) = self.run(attempt(admitted.caller(key)), fault, work).await?;
        Ok(with_receipt(response, receipt))
    }

    /// Lets in whoever presents a key of `keyward`.
    async fn admit(&self, incoming: &Incoming) -> Result<Admitted<'_>> {
        let authentication = authenticate(incoming, &self.kv, self.trust(), &self.clock);
        let (admin, ()) = futures::join!(authentication, self.ask_witness());
        self.admitted(incoming, admin, || is_token(incoming)).await
    }

    /// Whoever was authenticated, or what those are told who were not.
    async fn admitted(
        &self,
        incoming: &Incoming,
        admin: Result<Administrator>,
        presents_token: impl FnOnce() -> bool,
    ) -> Result<Admitted<'_>> {
        match admin {
            Ok(administrator) => Ok(self.admit_as(incoming, administrator)),
            Err(error) => Err(self.turn_away(incoming, error, presents_token).await),
        }
    }

    pub(crate) fn admit_as(&self, incoming: &Incoming, administrator: Administrator) -> Admitted<'_> {
        let source = incoming.source(&self.control.trusted_proxies);
        Admitted { plane: self, administrator, source, request: incoming.id() }
    }

    /// Lets in whoever puts a token of a key of `keyward` into a form. A wrong one counts as on every other way in.
    ///
    /// # Errors
    /// Those of authentication.
    pub async fn admit_by(&self, incoming: &Incoming, token: &SecretText) -> Result<Admitted<'_>> {
        let authentication = authenticate_by(token, incoming, &self.kv, self.trust(), &self.clock);
        let (admin, ()) = futures::join!(authentication, self.ask_witness());
        self.admitted(incoming, admin, || token::parse(token.expose()).is_ok()).await
    }

    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust::from(&*self.control)
    }

    pub(crate) const fn kv(&self) -> &ControlKv {
        &self.kv
    }

    pub(crate) const fn rng(&self) -> &WasiRng {
        &self.rng
    }

    /// Somebody acts with nothing but what the request carries: a ticket or a token.
    ///
    /// # Errors
    /// Those of `work`; a credential in the URL.
    pub async fn hold(
        &self,
        incoming: &Incoming,
        action: Action,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<Response>,
    ) -> Result<Response> {
        // Looked at for its misplacement alone.
        incoming.credential()?;
        self.ask_witness().await;
        let source = incoming.source(&self.control.trusted_proxies);
        let (key, fault) = split(incoming.idempotency_key());
        let attempt =
            Attempt::to_change(Caller::holder(source, incoming.id(), key), action, Target::default());
        let (response, receipt) = self.run(attempt, fault, work).await?;
        Ok(with_receipt(response, receipt))
    }

    /// Somebody reads what services may read as well: an admin by their scopes, or a service by what its key grants. Only what was
    /// refused for want of a scope becomes an event, unless `work` writes one.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for no token or one that does not pass, and those of `work`.
    pub async fn fetch<T>(
        &self,
        incoming: &Incoming,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let (verified, ()) = futures::join!(self.present(incoming), self.ask_witness());
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return Err(self.turn_away(incoming, error, || is_token(incoming)).await),
        };
        let source = incoming.source(&self.control.trusted_proxies);
        let caller = if verified.key().is_administrative() {
            let administrator = Administrator::of(verified, &self.kv, self.trust().records).await?;
            Caller::admin(&administrator, source, incoming.id(), None)
        } else {
            Caller::workload(&verified, source, incoming.id())
        };
        self.run(Attempt::to_read(caller, action, target), None, work).await.map(|(value, _)| value)
    }

    /// Whoever presents a token that passes, of whichever key.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for none or one that does not pass; where the store is silent or a ring not up to date.
    pub async fn present(&self, incoming: &Incoming) -> Result<Verified> {
        present(incoming, &self.kv, self.trust(), &self.clock).await
    }

    async fn run<T>(
        &self,
        attempt: Attempt,
        fault: Option<Error>,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<(T, Option<Receipt>)> {
        if attempt.action().is_urgent() && self.witness.get() == Witness::Silent {
            // A witness that is down keeps no stolen key alive; should the store be behind as well, the witness says so when it is back.
            self.witness.set(Witness::None);
        }
        let service = self.service();
        if !attempt.reads() {
            // Before the attempt takes a turn anywhere: nobody is to wait for it later.
            service.ledger().hold().await?;
        }
        let result = match fault {
            Some(error) => Err(error),
            None => work(&service, &attempt).await,
        };
        let value = service.settle(&attempt, result).await?;
        Ok((value, attempt.receipt()))
    }

    /// What whoever has no valid credential is told: what is wrong with it, or to wait, where too many calls from there were refused
    /// before. It is asked only here, so that a valid credential passes whatever others present from the same place.
    async fn turn_away(
        &self,
        incoming: &Incoming,
        error: Error,
        presents_token: impl FnOnce() -> bool,
    ) -> Error {
        if !matches!(error.code, Code::Unauthenticated | Code::MisplacedCredential) {
            return error;
        }
        let address = incoming.client_address(&self.control.trusted_proxies);
        let now = self.clock.now();
        let Noted { minute, source, is_first, is_news } =
            REFUSALS.with(|refusals| refusals.note(address, now));
        if is_first {
            self.write_refusals_down(incoming.id());
        }
        // The store is asked once for each source and minute, and never for what is no token at all.
        if is_news
            && presents_token()
            && let Ok(written) = self.service().recorded_anonymous(&source.to_string(), minute).await
        {
            REFUSALS.with(|refusals| refusals.learn(minute, source, written));
        }
        match REFUSALS.with(|refusals| refusals.wait_s(minute, source, now)) {
            Some(wait_s) if error.code == Code::Unauthenticated => Error::too_many_attempts(wait_s),
            _ => error,
        }
    }

    /// Sees to it that refused calls are written down: one increment per source and burst, and one event per source and minute,
    /// whatever the flood.
    fn write_refusals_down(&self, request: RequestId) {
        let control = Rc::clone(&self.control);
        spin_sdk::wasip3::spawn(async move {
            let plane = Self::over(control);
            plane.ask_witness().await;
            let pause_ms = u64::try_from(DUE_AFTER_MS).unwrap_or(0).saturating_add(1);
            loop {
                plane.clock.sleep_ms(pause_ms).await;
                for due in REFUSALS.with(|refusals| refusals.take_due(plane.clock.now())) {
                    let (source, count) = (due.source.to_string(), i64::from(due.count));
                    // What cannot be written is lost with the instance: these counts are of nobody's deeds.
                    let written = plane.service().record_anonymous(&source, due.minute, count, request).await;
                    if let Ok(written) = written {
                        REFUSALS.with(|refusals| refusals.learn(due.minute, due.source, written));
                    }
                }
                if REFUSALS.with(AnonymousRefusals::is_done) {
                    break;
                }
            }
        });
    }
}

/// Whether a request presents what could be a token.
fn is_token(incoming: &Incoming) -> bool {
    matches!(incoming.credential(), Ok(Some(text)) if token::parse(text.expose()).is_ok())
}

/// The receipt as a field of its own, an item with a parameter (RFC 9651): it covers the commit that the body's outcome lies in, so
/// the body cannot hold it.
fn with_receipt(response: Response, receipt: Option<Receipt>) -> Response {
    let Some(receipt) = receipt else { return response };
    let leaf = STANDARD.encode(receipt.leaf);
    response.with(RECEIPT, format!("\"{}\";leaf=:{leaf}:", receipt.event))
}

/// An administrator who was let in, for as many attempts as one request makes.
pub struct Admitted<'p> {
    plane: &'p Plane,
    administrator: Administrator,
    source: Source,
    request: RequestId,
}

impl Admitted<'_> {
    /// Who it is, and what they may do.
    pub const fn administrator(&self) -> &Administrator {
        &self.administrator
    }

    fn caller(&self, idempotency_key: Option<SecretText>) -> Caller {
        Caller::admin(&self.administrator, self.source.clone(), self.request, idempotency_key)
    }

    /// They change something; a refusal becomes an event.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn change<T>(
        &self,
        action: Action,
        target: Target,
        idempotency_key: Option<SecretText>,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let attempt = Attempt::to_change(self.caller(idempotency_key), action, target);
        self.plane.run(attempt, None, work).await.map(|(value, _)| value)
    }

    /// They look at something; only a missing scope becomes an event.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn look<T>(
        &self,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let attempt = Attempt::to_read(self.caller(None), action, target);
        self.plane.run(attempt, None, work).await.map(|(value, _)| value)
    }
}

/// The value, and the error apart from it.
fn split<T>(result: Result<Option<T>>) -> (Option<T>, Option<Error>) {
    match result {
        Ok(value) => (value, None),
        Err(error) => (None, Some(error)),
    }
}
