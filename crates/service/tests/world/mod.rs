//! The world that a test runs in: virtual time whose wall clock can step, seeded randomness, rings made here, a store in memory.
//! It calls use cases as the components do and looks at what lies in the store; it judges nothing.
#![allow(dead_code, reason = "each test program uses its part of the world")]

pub mod provider;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::note::LogKeys;
use keyward_crypto::{Peppers, Ring, Sealer, SecretText};
use keyward_domain::event::{Action, Event, EventId, Source, Target};
use keyward_domain::ports::{Clock, NoSink, Rng};
use keyward_domain::webhook::Targets;
use keyward_domain::{
    ApplicationId, Code, CredentialId, KeyId, PolicyId, RequestId, Result, RoleId, Timestamp, WebhookId,
};
use keyward_ledger::memory::{Call, Fault, MemoryKv};
use keyward_ledger::{KvWrite, Ledger, Receipt};
use keyward_records::{CurrentMonth, KvCount, KvRead, Reader, Rings};
use keyward_service::{
    ApplicationChange, Attempt, Body, BulkRevocation, BulkRotation, Caller, ComplianceQuery,
    CredentialChange, CredentialFilter, CredentialImport, DropRequest, EventFilter, KeyChange, KeyFilter,
    KeyImport, LeakReport, NewApplication, NewCredential, NewCredentialVersion, NewKey, NewPolicy,
    NewProvider, NewRole, NewWebhook, Page, PolicyChange, Presented, RenewKey, ReplayRequest, ResealRequest,
    ResealVault, RoleChange, RollBack, RotateKey, Service, TakeClaim, WebhookChange, WhichCredential,
    bootstrap,
};
use keyward_verify::{Administrator, Demand, InstanceCache, Verdict, Verifier};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// When every world begins, in milliseconds since 1970.
const START_MS: i64 = 1_800_000_000_000;
/// From where every caller of these tests comes.
pub const ADDRESS: &str = "192.0.2.7";
/// What an event says of a key that was issued and that nobody claimed.
pub const UNCLAIMED: &str = "standing unclaimed in generation 1";
/// What every caller of these tests calls itself.
pub const AGENT: &str = "promises/1";

/// Time out of tokio's paused clock; the wall clock is that plus an offset that may change.
#[derive(Clone)]
pub struct TestClock {
    origin: tokio::time::Instant,
    wall_ms: Rc<Cell<i64>>,
    skew_ms: i64,
}

impl TestClock {
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now(), wall_ms: Rc::new(Cell::new(START_MS)), skew_ms: 0 }
    }

    /// The clock of another machine, whose wall clock is so many milliseconds ahead.
    pub fn ahead_by(&self, skew_ms: i64) -> Self {
        Self { skew_ms, ..self.clone() }
    }

    /// Moves the wall clock alone, forward.
    pub fn advance_wall(&self, by: Duration) {
        self.step_wall_ms(i64::try_from(by.as_millis()).unwrap());
    }

    /// Moves the wall clock alone.
    pub fn step_wall_ms(&self, ms: i64) {
        self.wall_ms.set(self.wall_ms.get() + ms);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let elapsed_ms = i64::try_from(self.monotonic_ms()).unwrap();
        Timestamp::from_unix_ms(self.wall_ms.get() + elapsed_ms + self.skew_ms)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap()
    }

    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to be different, always the same from one seed.
pub struct SeededRng(Cell<u64>);

impl SeededRng {
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// True `percent` times out of a hundred.
    pub fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let value = self.next().to_be_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
    }
}

/// A ring document; the last of `versions` is the active one, and a version's key follows from its number and `need`.
pub fn ring_json(need: u8, versions: &[u8]) -> String {
    let last = versions.len() - 1;
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(at, version)| {
            let mut key = [need; 32];
            key[0] = *version;
            let state = if at == last { "active" } else { "decrypt-only" };
            json!({"v": version, "key": URL_SAFE_NO_PAD.encode(key), "state": state, "created_at": "2026-01-31T08:00:00Z"})
        })
        .collect();
    json!({ "versions": versions }).to_string()
}

/// The keys of the log.
fn log_keys() -> LogKeys {
    let document =
        LogKeys::generate([104; 32], "keyward.example/test", "2026-01-31T08:00:00Z").expect("keys");
    LogKeys::parse(document.expose()).expect("keys")
}

fn sealer(name: &'static str, need: u8, versions: &[u8]) -> Sealer {
    Sealer::new(Ring::parse(name, &ring_json(need, versions)).expect("a ring"))
}

/// The ring of the vault with these versions.
pub fn vault_ring(versions: &[u8]) -> Sealer {
    sealer("vault_keyring", 105, versions)
}

/// Rings with these versions of each kind.
pub fn rings(records: &[u8], audit: &[u8], peppers: &[u8]) -> Rings {
    Rings {
        records: sealer("records_keyring", 101, records),
        audit: sealer("audit_keyring", 102, audit),
        peppers: Peppers::parse(&ring_json(103, peppers)).expect("peppers"),
        vault: Some(vault_ring(&[1])),
        log: Some(log_keys()),
        month: CurrentMonth::default(),
    }
}

pub type Store = MemoryKv<TestClock>;
pub type TestService<'a> = Service<'a, Store, TestClock, SeededRng>;

/// What a use case answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub text: String,
    pub replayed: bool,
}

impl Reply {
    fn of(body: &impl Body) -> Self {
        Self { text: body.to_json().expose().to_owned(), replayed: false }
    }

    fn answer<T: Body>(answer: &keyward_service::Answer<T>) -> Self {
        Self { text: answer.to_json().expose().to_owned(), replayed: answer.is_replayed() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The text at this JSON pointer.
    pub fn at(&self, pointer: &str) -> String {
        match self.json().pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => panic!("nothing at {pointer}"),
        }
    }
}

/// One call of a use case, as data.
#[derive(Debug, Clone)]
pub enum Do {
    CreateApplication(Value),
    ChangeApplication(ApplicationId, Value, Option<u64>),
    RevokeApplication(ApplicationId, &'static str),
    Issue(Value),
    ImportKeys(Value),
    ChangeKey(KeyId, Value, Option<u64>),
    Reissue(KeyId),
    Rotate(KeyId, Value),
    FinishRotation(KeyId, &'static str),
    CancelRotation(KeyId, &'static str),
    Renew(String),
    RevokeKey(KeyId, &'static str),
    RevokeMany(Value),
    RotateMany(Value),
    Lookup(String),
    Report(String),
    ReportLeaks(Value),
    TakeClaim(String),
    Freeze(&'static str),
    Thaw(&'static str),
    ReadEmergency,
    ReadApplication(ApplicationId),
    ListApplications,
    ReadKey(KeyId),
    ListKeys(ApplicationId),
    Standings(Option<ApplicationId>),
    ReadEvent(EventId),
    ListEvents(Option<ApplicationId>),
    /// Before which month, and why.
    Shred(String, String),
    /// One step; whether of a pass that begins with it.
    Reseal(bool),
    ReadRings,
    /// From this cursor on.
    ResealVault(Option<String>),
    /// From this cursor on.
    ReadVaultRing(Option<String>),
    CreateRole(Value),
    ChangeRole(RoleId, Value, Option<u64>),
    RetireRole(RoleId, &'static str),
    ReadRole(RoleId),
    ListRoles,
    CreatePolicy(Value),
    ChangePolicy(PolicyId, Value, Option<u64>),
    RetirePolicy(PolicyId, &'static str),
    ReadPolicy(PolicyId),
    ListPolicies,
    ListPresets,
    CreateCredential(Value),
    ImportCredentials(Value),
    ChangeCredential(CredentialId, Value, Option<u64>),
    WriteCredential(CredentialId, Value),
    /// By its id, and which version.
    ReadCredential(CredentialId, Option<u32>),
    /// By its application and its name.
    ReadCredentialNamed(ApplicationId, String),
    RollCredentialBack(CredentialId, u32),
    DestroyCredentialVersion(CredentialId, u32),
    RetireCredential(CredentialId, &'static str),
    SetProvider(CredentialId, Value),
    RemoveProvider(CredentialId, &'static str),
    RotateCredential(CredentialId, &'static str),
    CancelCredentialRotation(CredentialId, &'static str),
    ShowCredential(CredentialId),
    ListCredentials(Option<ApplicationId>),
    CreateWebhook(Value),
    ChangeWebhook(WebhookId, Value),
    RetireWebhook(WebhookId, &'static str),
    ReplayDeadLetters(WebhookId, Value),
    DropDeadLetters(WebhookId, Value),
    /// Whose keys, since when, how many, from where on.
    Compliance(Option<ApplicationId>, Option<Timestamp>, usize, Option<String>),
    /// Whose credentials, how many, from where on.
    CredentialReport(Option<ApplicationId>, usize, Option<String>),
}

impl Do {
    /// The attempt that a component makes of it.
    fn attempt(&self, caller: Caller) -> Attempt {
        let of_key = |key: KeyId| Target::key(Some(key));
        let of_application = |id: ApplicationId| Target::application(Some(id));
        let nothing = Target::default();
        match self {
            Self::CreateApplication(_) => Attempt::to_change(caller, Action::ApplicationCreated, nothing),
            Self::ChangeApplication(id, ..) => {
                Attempt::to_change(caller, Action::ApplicationChanged, of_application(*id))
            }
            Self::RevokeApplication(id, _) => {
                Attempt::to_change(caller, Action::ApplicationRevoked, of_application(*id))
            }
            Self::Issue(_) => Attempt::to_change(caller, Action::KeyIssued, nothing),
            Self::ChangeKey(id, ..) => Attempt::to_change(caller, Action::KeyChanged, of_key(*id)),
            Self::Reissue(id) => Attempt::to_change(caller, Action::ClaimReissued, of_key(*id)),
            Self::Rotate(id, _) => Attempt::to_change(caller, Action::KeyRotated, of_key(*id)),
            Self::FinishRotation(id, _) => Attempt::to_change(caller, Action::RotationFinished, of_key(*id)),
            Self::CancelRotation(id, _) => Attempt::to_change(caller, Action::RotationCancelled, of_key(*id)),
            Self::Renew(_) => Attempt::to_change(caller, Action::KeyRenewed, nothing),
            Self::RevokeKey(id, _) => Attempt::to_change(caller, Action::KeyRevoked, of_key(*id)),
            Self::RevokeMany(_) => Attempt::to_change(caller, Action::KeyRevoked, nothing),
            Self::ImportKeys(_) => Attempt::to_change(caller, Action::KeyImported, nothing),
            Self::RotateMany(_) => Attempt::to_change(caller, Action::KeyRotated, nothing),
            Self::Lookup(_) => Attempt::to_change(caller, Action::KeyLookedUp, nothing),
            Self::Report(_) => Attempt::to_change(caller, Action::KeyReported, nothing),
            Self::ReportLeaks(_) => Attempt::to_change(caller, Action::KeyLeaked, nothing),
            Self::TakeClaim(_) => Attempt::to_change(caller, Action::ClaimTaken, nothing),
            Self::Freeze(_) => Attempt::to_change(caller, Action::IssuingFrozen, nothing),
            Self::Thaw(_) => Attempt::to_change(caller, Action::IssuingThawed, nothing),
            Self::ReadEmergency => Attempt::to_read(caller, Action::IssuingRead, nothing),
            Self::ReadApplication(id) => {
                Attempt::to_read(caller, Action::ApplicationRead, of_application(*id))
            }
            Self::ListApplications => Attempt::to_read(caller, Action::ApplicationRead, nothing),
            Self::ReadKey(id) => Attempt::to_read(caller, Action::KeyRead, of_key(*id)),
            Self::Standings(id) => {
                Attempt::to_read(caller, Action::KeyRead, Target { application: *id, ..Target::default() })
            }
            Self::ListKeys(id) => Attempt::to_read(caller, Action::KeyRead, of_application(*id)),
            Self::Shred(..) => Attempt::to_change(caller, Action::AuditShredded, nothing),
            Self::Reseal(_) => Attempt::to_change(caller, Action::RingResealed, nothing),
            Self::ResealVault(_) => Attempt::to_change(caller, Action::RingResealed, nothing),
            Self::ReadRings | Self::ReadVaultRing(_) => Attempt::to_read(caller, Action::RingRead, nothing),
            Self::CreateRole(_) => Attempt::to_change(caller, Action::RoleCreated, nothing),
            Self::ChangeRole(id, ..) => {
                Attempt::to_change(caller, Action::RoleChanged, Target::role(Some(*id)))
            }
            Self::RetireRole(id, _) => {
                Attempt::to_change(caller, Action::RoleRetired, Target::role(Some(*id)))
            }
            Self::ReadRole(id) => Attempt::to_read(caller, Action::RoleRead, Target::role(Some(*id))),
            Self::ListRoles => Attempt::to_read(caller, Action::RoleRead, nothing),
            Self::CreatePolicy(_) => Attempt::to_change(caller, Action::PolicyCreated, nothing),
            Self::ChangePolicy(id, ..) => {
                Attempt::to_change(caller, Action::PolicyChanged, Target::policy(Some(*id)))
            }
            Self::RetirePolicy(id, _) => {
                Attempt::to_change(caller, Action::PolicyRetired, Target::policy(Some(*id)))
            }
            Self::ReadPolicy(id) => Attempt::to_read(caller, Action::PolicyRead, Target::policy(Some(*id))),
            Self::ListPolicies | Self::ListPresets => Attempt::to_read(caller, Action::PolicyRead, nothing),
            Self::CreateCredential(_) | Self::ImportCredentials(_) => {
                Attempt::to_change(caller, Action::CredentialCreated, nothing)
            }
            Self::ChangeCredential(id, ..) => {
                Attempt::to_change(caller, Action::CredentialChanged, Target::credential(Some(*id)))
            }
            Self::WriteCredential(id, _) => {
                Attempt::to_change(caller, Action::CredentialWritten, Target::credential(Some(*id)))
            }
            Self::ReadCredential(id, _) => {
                Attempt::to_read(caller, Action::CredentialRead, Target::credential(Some(*id)))
            }
            Self::ReadCredentialNamed(..) => Attempt::to_read(caller, Action::CredentialRead, nothing),
            Self::RollCredentialBack(id, _) => {
                Attempt::to_change(caller, Action::CredentialRolledBack, Target::credential(Some(*id)))
            }
            Self::DestroyCredentialVersion(id, _) => {
                Attempt::to_change(caller, Action::CredentialDestroyed, Target::credential(Some(*id)))
            }
            Self::RetireCredential(id, _) => {
                Attempt::to_change(caller, Action::CredentialRetired, Target::credential(Some(*id)))
            }
            Self::SetProvider(id, _) => {
                Attempt::to_change(caller, Action::CredentialProviderSet, Target::credential(Some(*id)))
            }
            Self::RemoveProvider(id, _) => {
                Attempt::to_change(caller, Action::CredentialProviderRemoved, Target::credential(Some(*id)))
            }
            Self::RotateCredential(id, _) => {
                Attempt::to_change(caller, Action::CredentialRotationBegun, Target::credential(Some(*id)))
            }
            Self::CancelCredentialRotation(id, _) => {
                Attempt::to_change(caller, Action::CredentialRotationCancelled, Target::credential(Some(*id)))
            }
            Self::ShowCredential(id) => {
                Attempt::to_read(caller, Action::CredentialListed, Target::credential(Some(*id)))
            }
            Self::ListCredentials(_) => Attempt::to_read(caller, Action::CredentialListed, nothing),
            Self::CreateWebhook(_) => Attempt::to_change(caller, Action::WebhookCreated, nothing),
            Self::ChangeWebhook(..) => Attempt::to_change(caller, Action::WebhookChanged, nothing),
            Self::RetireWebhook(..) => Attempt::to_change(caller, Action::WebhookRetired, nothing),
            Self::ReplayDeadLetters(id, _) => {
                Attempt::to_change(caller, Action::WebhookReplayed, Target::webhook(Some(*id)))
            }
            Self::DropDeadLetters(id, _) => {
                Attempt::to_change(caller, Action::WebhookDropped, Target::webhook(Some(*id)))
            }
            Self::Compliance(..) | Self::CredentialReport(..) | Self::ReadEvent(_) | Self::ListEvents(_) => {
                Attempt::to_read(caller, Action::AuditRead, nothing)
            }
        }
    }
}

fn body<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a body of the right shape")
}

fn first_page() -> Page {
    Page::parse(None, None).expect("a page")
}

/// Runs one use case to its end, as a component does.
pub async fn perform<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    caller: Caller,
    what: &Do,
) -> Result<Reply> {
    perform_for_receipt(service, caller, what).await.0
}

/// The same, and the receipt of its event where it has one.
pub async fn perform_for_receipt<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    caller: Caller,
    what: &Do,
) -> (Result<Reply>, Option<Receipt>) {
    let attempt = what.attempt(caller);
    let result = execute(service, &attempt, what).await;
    let settled = service.settle(&attempt, result).await;
    (settled, attempt.receipt())
}

async fn execute<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    service: &Service<'_, K, C, R>,
    attempt: &Attempt,
    what: &Do,
) -> Result<Reply> {
    Ok(match what {
        Do::CreateApplication(new) => {
            Reply::answer(&service.create_application(attempt, body::<NewApplication>(new)).await?)
        }
        Do::ChangeApplication(id, change, if_match) => Reply::of(
            &service.change_application(attempt, *id, body::<ApplicationChange>(change), *if_match).await?,
        ),
        Do::RevokeApplication(id, reason) => {
            Reply::of(&service.revoke_application(attempt, *id, reason).await?)
        }
        Do::Issue(new) => Reply::answer(&service.issue_key(attempt, body::<NewKey>(new)).await?),
        Do::ChangeKey(id, change, if_match) => {
            Reply::of(&service.change_key(attempt, *id, body::<KeyChange>(change), *if_match).await?)
        }
        Do::Reissue(id) => Reply::answer(&service.reissue_claim(attempt, *id).await?),
        Do::Rotate(id, asked) => {
            Reply::answer(&service.rotate_key(attempt, *id, &body::<RotateKey>(asked)).await?)
        }
        Do::FinishRotation(id, reason) => Reply::of(&service.finish_rotation(attempt, *id, reason).await?),
        Do::CancelRotation(id, reason) => Reply::of(&service.cancel_rotation(attempt, *id, reason).await?),
        Do::Renew(token) => {
            let asked: RenewKey = body(&json!({ "renewal_token": token }));
            Reply::answer(&service.renew_key(attempt, &asked).await?)
        }
        Do::RevokeKey(id, reason) => Reply::of(&service.revoke_key(attempt, *id, reason).await?),
        Do::RevokeMany(asked) => {
            Reply::answer(&service.revoke_many(attempt, &body::<BulkRevocation>(asked)).await?)
        }
        Do::ImportKeys(asked) => {
            Reply::answer(&service.import_keys(attempt, &body::<KeyImport>(asked)).await?)
        }
        Do::RotateMany(asked) => {
            Reply::answer(&service.rotate_many(attempt, &body::<BulkRotation>(asked)).await?)
        }
        Do::Lookup(token) => {
            let presented: Presented = body(&json!({ "token": token }));
            Reply::of(&service.lookup(attempt, &presented.token).await?)
        }
        Do::Report(token) => {
            let presented: Presented = body(&json!({ "token": token }));
            Reply::of(&service.report_token(attempt, &presented.token).await?)
        }
        Do::ReportLeaks(report) => {
            Reply::of(&service.report_leaks(attempt, &body::<LeakReport>(report)).await?)
        }
        Do::TakeClaim(ticket) => Reply::answer(
            &service.take_claim(attempt, &body::<TakeClaim>(&json!({ "ticket": ticket }))).await?,
        ),
        Do::Freeze(reason) => Reply::of(&service.freeze_issuing(attempt, reason).await?),
        Do::Thaw(reason) => Reply::of(&service.thaw_issuing(attempt, reason).await?),
        Do::ReadEmergency => Reply::of(&service.emergency(attempt).await?),
        Do::Shred(before, reason) => Reply::of(&service.shred(attempt, before, reason).await?),
        Do::Reseal(anew) => {
            let request: ResealRequest = body(&json!({ "anew": anew }));
            Reply::of(&service.reseal_step(attempt, &request).await?)
        }
        Do::ResealVault(cursor) => {
            let asked = body::<ResealVault>(&json!({ "cursor": cursor }));
            Reply::of(&service.reseal_vault(attempt, &asked).await?)
        }
        Do::ReadRings => Reply::of(&service.rings(attempt).await?),
        Do::ReadApplication(id) => Reply::of(&service.application(attempt, *id).await?),
        Do::ListApplications => Reply::of(&service.applications(attempt, &first_page()).await?),
        Do::ReadKey(id) => Reply::of(&service.key(attempt, *id).await?),
        Do::ListKeys(id) => {
            let filter = KeyFilter { application: Some(*id), ..KeyFilter::default() };
            Reply::of(&service.keys(attempt, &filter, &first_page()).await?)
        }
        Do::Standings(application) => Reply::of(&service.standings(attempt, *application).await?),
        Do::ReadEvent(id) => Reply::of(&service.audit_event(attempt, *id).await?),
        Do::ListEvents(application) => {
            let filter = EventFilter { application: *application, ..EventFilter::default() };
            Reply::of(&service.audit_events(attempt, &filter, &first_page()).await?)
        }
        Do::CreateRole(new) => Reply::answer(&service.create_role(attempt, body::<NewRole>(new)).await?),
        Do::ChangeRole(id, change, if_match) => {
            Reply::of(&service.change_role(attempt, *id, body::<RoleChange>(change), *if_match).await?)
        }
        Do::RetireRole(id, reason) => Reply::of(&service.retire_role(attempt, *id, reason).await?),
        Do::ReadRole(id) => Reply::of(&service.role(attempt, *id).await?),
        Do::ListRoles => Reply::of(&service.roles(attempt, &first_page()).await?),
        Do::CreatePolicy(new) => {
            Reply::answer(&service.create_policy(attempt, body::<NewPolicy>(new)).await?)
        }
        Do::ChangePolicy(id, change, if_match) => {
            Reply::of(&service.change_policy(attempt, *id, body::<PolicyChange>(change), *if_match).await?)
        }
        Do::RetirePolicy(id, reason) => Reply::of(&service.retire_policy(attempt, *id, reason).await?),
        Do::ReadPolicy(id) => Reply::of(&service.policy(attempt, *id).await?),
        Do::ListPolicies => Reply::of(&service.policies(attempt, &first_page()).await?),
        Do::CreateCredential(new) => {
            Reply::answer(&service.create_credential(attempt, body::<NewCredential>(new)).await?)
        }
        Do::ImportCredentials(asked) => {
            Reply::answer(&service.import_credentials(attempt, body::<CredentialImport>(asked)).await?)
        }
        Do::ChangeCredential(id, change, if_match) => {
            let change = body::<CredentialChange>(change);
            Reply::of(&service.change_credential(attempt, *id, change, *if_match).await?)
        }
        Do::WriteCredential(id, new) => {
            Reply::answer(&service.write_credential(attempt, *id, body::<NewCredentialVersion>(new)).await?)
        }
        Do::ReadCredential(id, version) => {
            Reply::of(&service.read_credential(attempt, WhichCredential::Id(*id), *version).await?)
        }
        Do::ReadCredentialNamed(application, name) => {
            let which = WhichCredential::Name(Some(*application), name);
            Reply::of(&service.read_credential(attempt, which, None).await?)
        }
        Do::RollCredentialBack(id, version) => {
            let asked = body::<RollBack>(&json!({ "version": version, "reason": "it broke" }));
            Reply::answer(&service.roll_credential_back(attempt, *id, &asked).await?)
        }
        Do::DestroyCredentialVersion(id, version) => {
            Reply::of(&service.destroy_credential_version(attempt, *id, *version, "it leaked").await?)
        }
        Do::RetireCredential(id, reason) => {
            Reply::of(&service.retire_credential(attempt, *id, reason).await?)
        }
        Do::ReadVaultRing(cursor) => Reply::of(&service.vault_ring(attempt, cursor.as_deref()).await?),
        Do::SetProvider(id, new) => {
            let new = body::<NewProvider>(new);
            Reply::answer(&service.set_credential_provider(attempt, *id, new, Targets::Public).await?)
        }
        Do::RemoveProvider(id, reason) => {
            Reply::of(&service.remove_credential_provider(attempt, *id, reason).await?)
        }
        Do::RotateCredential(id, reason) => {
            Reply::of(&service.rotate_credential(attempt, *id, reason).await?)
        }
        Do::CancelCredentialRotation(id, reason) => {
            Reply::of(&service.cancel_credential_rotation(attempt, *id, reason).await?)
        }
        Do::ShowCredential(id) => Reply::of(&service.credential(attempt, *id).await?),
        Do::ListCredentials(application) => {
            let filter = CredentialFilter { application: *application, ..CredentialFilter::default() };
            Reply::of(&service.credentials(attempt, &filter, &first_page()).await?)
        }
        Do::CreateWebhook(new) => {
            let new = body::<NewWebhook>(new);
            Reply::answer(&service.create_webhook(attempt, new, Targets::Public).await?)
        }
        Do::ChangeWebhook(id, change) => {
            let change = body::<WebhookChange>(change);
            Reply::of(&service.change_webhook(attempt, *id, change, None, Targets::Public).await?)
        }
        Do::RetireWebhook(id, reason) => Reply::of(&service.retire_webhook(attempt, *id, reason).await?),
        Do::ReplayDeadLetters(id, asked) => {
            Reply::of(&service.replay_dead_letters(attempt, *id, &body::<ReplayRequest>(asked)).await?)
        }
        Do::DropDeadLetters(id, asked) => {
            Reply::of(&service.drop_dead_letters(attempt, *id, &body::<DropRequest>(asked)).await?)
        }
        Do::CredentialReport(application, limit, cursor) => {
            let page = Page::parse(Some(&limit.to_string()), cursor.as_deref())?;
            Reply::of(&service.credential_report(attempt, *application, &page).await?)
        }
        Do::Compliance(application, since, limit, cursor) => {
            let asked = ComplianceQuery { application: *application, since: *since };
            let page = Page::parse(Some(&limit.to_string()), cursor.as_deref())?;
            Reply::of(&service.compliance(attempt, &asked, &page).await?)
        }
        Do::ListPresets => Reply::of(&service.policy_presets(attempt)?),
    })
}

/// The body that issues a plain live key.
pub fn new_key(application: ApplicationId, name: &str) -> Value {
    json!({"application": application.to_string(), "name": name, "environment": "live", "scopes": ["orders:read"]})
}

/// The body that issues a key of `keyward`.
pub fn new_admin(scopes: &[&str], roles: &[RoleId]) -> Value {
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    json!({"application": ApplicationId::KEYWARD.to_string(), "name": "admin", "environment": "live", "scopes": scopes,
        "roles": roles, "principal": "someone@example.com"})
}

/// A key of an application, claimed.
pub struct Held {
    pub id: KeyId,
    pub token: String,
    /// Empty where the key does not renew itself.
    pub renewal: String,
}

pub struct World {
    pub clock: TestClock,
    pub kv: Store,
    pub rng: SeededRng,
    pub rings: Rings,
    pub root: String,
}

impl World {
    /// An initialised store.
    pub async fn new(seed: u64) -> Self {
        let mut world = Self::empty(seed);
        let root = bootstrap::initialise(&world.service(), "ops@example.com").await.expect("initialise");
        world.root = root.expose().to_owned();
        world.kv.take_calls();
        world
    }

    /// A store with nothing in it.
    pub fn empty(seed: u64) -> Self {
        let clock = TestClock::new();
        Self {
            kv: MemoryKv::new(clock.clone()),
            clock,
            rng: SeededRng::new(seed),
            rings: rings(&[1], &[1], &[1]),
            root: String::new(),
        }
    }

    pub fn service(&self) -> TestService<'_> {
        self.service_with(&self.rings)
    }

    /// The same rings in another instance, which has not met the month's key yet.
    pub fn rings_without_month(&self) -> Rings {
        rings(&[1], &[1], &[1])
    }

    pub fn service_with<'a>(&'a self, rings: &'a Rings) -> TestService<'a> {
        Service::new(&self.kv, rings, &self.clock, &self.rng, &NoSink, "https://keyward.example")
    }

    pub fn ledger(&self) -> Ledger<'_, Store, TestClock, SeededRng> {
        Ledger::new(&self.kv, &self.rings, &self.clock, &self.rng, &NoSink)
    }

    pub fn read(&self) -> Reader<'_, Store> {
        self.ledger().read()
    }

    pub fn request(&self) -> RequestId {
        RequestId::from_bytes(self.rng.bytes())
    }

    pub fn source() -> Source {
        Source { client_addr: Some(ADDRESS.to_owned()), user_agent: Some(AGENT.to_owned()) }
    }

    /// The verdict on a token, with nothing remembered from before.
    pub async fn verify(&self, token: &str, demand: &Demand<'_>) -> Result<Verdict> {
        let applications = InstanceCache::default();
        self.verify_with(&applications, token, demand).await
    }

    pub async fn verify_with(
        &self,
        applications: &InstanceCache,
        token: &str,
        demand: &Demand<'_>,
    ) -> Result<Verdict> {
        Verifier::new(&self.kv, &self.rings.records, &self.rings.peppers, applications, &self.clock)
            .verify(token, demand)
            .await
    }

    /// The code of the verdict, `VALID`, or the code of the error.
    pub async fn code(&self, token: &str, demand: &Demand<'_>) -> &'static str {
        code_of(&self.verify(token, demand).await)
    }

    /// Root does it: the receipt.
    pub async fn receipt(&self, what: &Do, idempotency_key: Option<&str>) -> Option<Receipt> {
        let caller = self.caller_with(&self.root, idempotency_key).await;
        let attempt = what.attempt(caller);
        let service = self.service();
        let result = execute(&service, &attempt, what).await;
        service.settle(&attempt, result).await.expect("done");
        attempt.receipt()
    }

    /// An admin by token, through the real verifier.
    pub async fn caller_with(&self, token: &str, idempotency_key: Option<&str>) -> Caller {
        self.try_caller(token, idempotency_key).await.expect("the admin's token passes")
    }

    /// The same where the store may fail; `None` where it does, or the token does not pass.
    pub async fn try_caller(&self, token: &str, idempotency_key: Option<&str>) -> Option<Caller> {
        let Ok(Verdict::Accepted(verified)) = self.verify(token, &Demand::default()).await else {
            return None;
        };
        let admin = Administrator::of(verified, &self.kv, &self.rings.records).await.ok()?;
        let key = idempotency_key.map(|key| SecretText::new(key.to_owned()));
        Some(Caller::admin(&admin, Self::source(), self.request(), key))
    }

    pub async fn caller(&self, token: &str) -> Caller {
        self.caller_with(token, None).await
    }

    pub fn holder(&self, idempotency_key: Option<&str>) -> Caller {
        let key = idempotency_key.map(|key| SecretText::new(key.to_owned()));
        Caller::holder(Self::source(), self.request(), key)
    }

    /// Root does it, or the holder of a ticket or token where no admin is needed.
    pub async fn run(&self, what: &Do) -> Result<Reply> {
        let caller = match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::ReportLeaks(_) | Do::Renew(_) => self.holder(None),
            _ => self.caller(&self.root).await,
        };
        perform(&self.service(), caller, what).await
    }

    pub async fn run_as(&self, token: &str, what: &Do) -> Result<Reply> {
        perform(&self.service(), self.caller(token).await, what).await
    }

    /// Root does it with an Idempotency-Key, or the holder.
    pub async fn run_once(&self, idempotency_key: &str, what: &Do) -> Result<Reply> {
        let caller = match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::ReportLeaks(_) | Do::Renew(_) => {
                self.holder(Some(idempotency_key))
            }
            _ => self.caller_with(&self.root, Some(idempotency_key)).await,
        };
        perform(&self.service(), caller, what).await
    }

    /// The same, repeated each second as `Retry-After` asks, until no request with this key is in flight.
    pub async fn run_until_ended(&self, idempotency_key: &str, what: &Do) -> Result<Reply> {
        for _ in 0..20 {
            match self.run_once(idempotency_key, what).await {
                Err(error) if error.code == Code::IdempotencyInFlight => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                ended => return ended,
            }
        }
        panic!("in flight for 20 s: {what:?}");
    }

    pub async fn application(&self, name: &str) -> ApplicationId {
        let reply = self.run(&Do::CreateApplication(json!({ "name": name }))).await.expect("an application");
        reply.at("/id").parse().expect("an id")
    }

    /// An issued key and its claim's ticket.
    pub async fn issue(&self, new: &Value) -> (KeyId, String) {
        let reply = self.run(&Do::Issue(new.clone())).await.expect("a key");
        (reply.at("/key/id").parse().expect("an id"), reply.at("/claim/ticket"))
    }

    /// A key that was issued and claimed.
    pub async fn held(&self, new: &Value) -> Held {
        let (id, ticket) = self.issue(new).await;
        let reply = self.run(&Do::TakeClaim(ticket)).await.expect("a token");
        let renewal = reply.json()["renewal_token"].as_str().unwrap_or_default().to_owned();
        Held { id, token: reply.at("/token"), renewal }
    }

    /// An admin with these scopes.
    pub async fn admin(&self, scopes: &[String]) -> Held {
        self.held(&json!({
            "application": ApplicationId::KEYWARD.to_string(), "name": "admin", "environment": "live", "scopes": scopes,
            "principal": "someone@example.com"
        }))
        .await
    }

    /// A role with these scopes.
    pub async fn role(&self, name: &str, scopes: &[&str]) -> RoleId {
        let new = json!({ "name": name, "scopes": scopes });
        self.run(&Do::CreateRole(new)).await.expect("a role").at("/id").parse().expect("an id")
    }

    /// A policy with these terms, named after them.
    pub async fn policy(&self, terms: &Value) -> PolicyId {
        let mut new = terms.clone();
        new["name"] = json!(terms.to_string());
        self.run(&Do::CreatePolicy(new)).await.expect("a policy").at("/id").parse().expect("an id")
    }

    /// An admin who holds roles alone.
    pub async fn admin_with(&self, roles: &[RoleId]) -> Held {
        self.held(&new_admin(&[], roles)).await
    }

    /// A service with a token of its own, as a component lets it in.
    pub async fn workload(&self, token: &str) -> Caller {
        let Ok(Verdict::Accepted(verified)) = self.verify(token, &Demand::default()).await else {
            panic!("the service's token does not pass");
        };
        Caller::workload(&verified, Self::source(), self.request())
    }

    /// A service does it.
    pub async fn run_as_workload(&self, token: &str, what: &Do) -> Result<Reply> {
        perform(&self.service(), self.workload(token).await, what).await
    }

    /// Every ticket taken, with its event where there is one.
    pub async fn log(&self) -> Vec<(EventId, Option<Event>)> {
        let last = self.ledger().last_ticket().await.expect("the counter");
        let mut log = Vec::new();
        for seq in 1..=last.seq {
            let id = EventId { seq, ..last };
            log.push((id, self.read().event(id).await.expect("an event that opens")));
        }
        log
    }

    /// The events in the log.
    pub async fn events(&self) -> Vec<Event> {
        self.log().await.into_iter().filter_map(|(_, event)| event).collect()
    }

    /// From now on there are no faults.
    pub fn heal(&self) {
        self.kv.plan(|_| Fault::None);
    }

    /// The `nth` call (from 0) that `which` picks has this fault, no other.
    pub fn fault_at(&self, nth: usize, which: impl Fn(&Call) -> bool + 'static, fault: Fault) {
        let mut seen = 0;
        self.kv.plan(move |call| {
            if !which(call) {
                return Fault::None;
            }
            seen += 1;
            if seen == nth + 1 { fault } else { Fault::None }
        });
    }
}

/// The result of work that may have crashed: `None` where it never came back. Takes ten minutes of virtual time then.
pub async fn survive<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(600), work).await.ok()
}

pub fn code_of(verdict: &Result<Verdict>) -> &'static str {
    match verdict {
        Ok(Verdict::Accepted(_)) => "VALID",
        Ok(Verdict::Refused(refusal)) => refusal.code.as_str(),
        Err(error) => error.code.as_str(),
    }
}

/// Picks calls of the store.
pub type Which = fn(&Call) -> bool;

pub fn is_batch(call: &Call) -> bool {
    matches!(call, Call::SetMany(_))
}

pub fn is_ticket(call: &Call) -> bool {
    matches!(call, Call::Increment(key) if key.starts_with("c:audit:"))
}

/// How many increments and batches these calls are.
pub fn writes(calls: &[Call]) -> (usize, usize) {
    let increments = calls.iter().filter(|call| matches!(call, Call::Increment(_))).count();
    (increments, calls.iter().filter(|call| is_batch(call)).count())
}
