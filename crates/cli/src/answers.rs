//! The server's answers as docs/api.md writes them, as far as they are shown to a person. Members that this version does not
//! know are passed over, so that an older command reads a newer server; `--json` prints what came, not these.
//! Types that carry a secret have no `Debug`.

use keyward_crypto::SecretText;
use keyward_domain::limit::GivenLimit;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// An application.
#[derive(Debug, Deserialize)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What its tokens start with.
    pub prefix: String,
    /// Whom to reach.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// How much hangs on its keys.
    pub importance: Option<String>,
    /// The id of the policy of its keys that have none of their own.
    pub policy: Option<String>,
    /// How much its keys together may use.
    #[serde(default)]
    pub limits: Vec<GivenLimit>,
    /// `active` or `suspended`.
    pub status: String,
    /// RFC 3339.
    pub created_at: String,
}

/// Which keys serve an application's slots.
#[derive(Debug, Deserialize)]
pub struct RoutingTable {
    /// By the slots' names.
    pub routes: Vec<Route>,
}

/// A slot and the key that serves it.
#[derive(Debug, Deserialize)]
pub struct Route {
    /// Its name.
    pub slot: String,
    /// The key's id.
    pub key: String,
    /// How the key stands.
    pub state: String,
    /// Where it stands in its rotation.
    pub rotation: String,
    /// The versions that pass.
    pub versions: Vec<Version>,
}

/// A role.
#[derive(Debug, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What whoever holds it may do.
    pub scopes: Vec<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; where it is retired.
    pub retired_at: Option<String>,
}

/// A webhook.
#[derive(Debug, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Whose events it tells.
    pub application: String,
    /// Where it leads.
    pub url: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Which types it tells of.
    pub events: Vec<String>,
    /// `active`, `disabled` or `retired`.
    pub state: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; until when the secret before signs as well.
    pub old_secret_until: Option<String>,
    /// How delivery goes.
    pub delivery: WebhookDelivery,
}

/// What a call came to that imports many.
#[derive(Debug, Deserialize)]
pub struct Imported {
    /// One for each that was sent, in the same order.
    #[serde(alias = "credentials", alias = "keys")]
    pub items: Vec<ImportedItem>,
}

/// What became of one of them.
#[derive(Debug, Deserialize)]
pub struct ImportedItem {
    /// `imported`, `existing`, `written` or `refused`.
    pub outcome: String,
    /// The id of the credential or key that it is now, if it is one.
    pub id: Option<String>,
    /// The version of a credential that holds it.
    pub version: Option<u32>,
    /// Why it was refused, if it was.
    pub error: Option<ImportRefusal>,
}

/// Why one was refused.
#[derive(Debug, Deserialize)]
pub struct ImportRefusal {
    /// The code of the problem.
    pub code: String,
    /// What was wrong, in words.
    pub detail: String,
}

/// A credential, without what it holds.
#[derive(Debug, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: String,
    /// Whose services fetch it.
    pub application: String,
    /// What it is fetched by.
    pub name: String,
    /// `api-key`, `basic`, `oauth-client`, `certificate` or `opaque`.
    pub kind: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whom to ask about it.
    #[serde(default)]
    pub owner: String,
    /// Words by which it is found.
    #[serde(default)]
    pub tags: Vec<String>,
    /// `active`, `expiring`, `overdue`, `expired` or `retired`.
    pub state: String,
    /// RFC 3339.
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub rotation_due_at: Option<String>,
    /// The version that is read where none is named.
    pub current: u32,
    /// Who rotates it at the third party.
    pub provider: Option<CredentialProvider>,
    /// Its rotation that is under way.
    pub rotation: Option<CredentialRotation>,
    /// Its rotation that ended last.
    pub last_rotation: Option<EndedCredentialRotation>,
    /// Its versions, newest first.
    pub versions: Vec<CredentialVersion>,
    /// RFC 3339.
    pub created_at: String,
}

/// Who rotates a credential.
#[derive(Debug, Deserialize)]
pub struct CredentialProvider {
    /// Where its hook is.
    pub url: String,
}

/// A rotation that is under way.
#[derive(Debug, Deserialize)]
pub struct CredentialRotation {
    /// `creating`, `setting`, `testing`, `waiting`, `finishing` or `rolling-back`.
    pub phase: String,
    /// RFC 3339.
    pub next_attempt_at: String,
    /// What went wrong last.
    pub last_failure: Option<WebhookFailure>,
}

/// A rotation that is over.
#[derive(Debug, Deserialize)]
pub struct EndedCredentialRotation {
    /// RFC 3339.
    pub ended_at: String,
    /// `done`, `unfinished`, `failed` or `cancelled`.
    pub ending: String,
}

/// A version of a credential, without what it holds.
#[derive(Debug, Deserialize)]
pub struct CredentialVersion {
    /// Its number.
    pub number: u32,
    /// `current`, `pending`, `kept` or `destroyed`.
    pub state: String,
    /// RFC 3339.
    pub written_at: String,
    /// RFC 3339.
    pub destroyed_at: Option<String>,
}

/// What a version of a credential holds. No `Debug`.
#[derive(Deserialize)]
pub struct CredentialValue {
    /// Whose.
    pub id: String,
    /// What it is fetched by.
    pub name: String,
    /// What kind of secret it is.
    pub kind: String,
    /// Which version.
    pub version: u32,
    /// What it holds, field by field.
    pub value: BTreeMap<String, SecretText>,
}

/// How delivery to a webhook goes.
#[derive(Debug, Deserialize)]
pub struct WebhookDelivery {
    /// `closed`, `open` or `half-open`.
    pub circuit: String,
    /// Announcements to be delivered.
    pub pending: u64,
    /// RFC 3339.
    pub next_attempt_at: Option<String>,
    /// Announcements delivered.
    pub delivered: u64,
    /// RFC 3339.
    pub last_success_at: Option<String>,
    /// What went wrong last.
    pub last_failure: Option<WebhookFailure>,
    /// Announcements that could not be delivered.
    pub dead_letters: u64,
}

/// An attempt that failed.
#[derive(Debug, Deserialize)]
pub struct WebhookFailure {
    /// RFC 3339.
    pub at: String,
    /// How.
    pub fault: String,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
}

/// A webhook with its new secret, or a credential with that of its provider.
#[derive(Deserialize)]
pub struct WithSecret<'a> {
    /// The webhook or the credential as it came.
    #[serde(borrow, alias = "webhook", alias = "credential")]
    pub thing: &'a RawValue,
    /// The secret.
    pub secret: SecretText,
}

/// What a test came to.
#[derive(Debug, Deserialize)]
pub struct WebhookTest {
    /// The id of the message.
    pub message: String,
    /// Whether it arrived.
    pub delivered: bool,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub fault: Option<String>,
}

/// An announcement that could not be delivered.
#[derive(Debug, Deserialize)]
pub struct DeadLetter {
    /// Its message's id.
    pub message: String,
    /// Whose it is.
    pub webhook: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// About which key.
    pub key: Option<String>,
    /// About which application.
    pub application: Option<String>,
    /// How much hangs on it.
    pub impact: u32,
    /// How many requests its key carries in a day.
    pub requests_per_day: u64,
    /// When its key ends, RFC 3339.
    pub key_ends_at: Option<String>,
    /// Attempts.
    pub attempts: u32,
    /// RFC 3339.
    pub died_at: String,
    /// Why it was given up.
    pub why: String,
}

/// What became of dead letters.
#[derive(Debug, Deserialize)]
pub struct DeadLettersLeft {
    /// Tried anew, or given up.
    pub moved: u64,
    /// Left.
    pub left: u64,
}

/// A policy.
#[derive(Debug, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it says.
    #[serde(flatten)]
    pub terms: PolicyTerms,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; where it is retired.
    pub retired_at: Option<String>,
}

/// The presets that a policy may start from.
#[derive(Debug, Deserialize)]
pub struct Presets {
    /// All of them.
    pub items: Vec<Preset>,
}

/// A preset that a policy may start from.
#[derive(Debug, Deserialize)]
pub struct Preset {
    /// Its name.
    pub preset: String,
    /// What it sets, and why.
    pub why: String,
    /// What it says.
    #[serde(flatten)]
    pub terms: PolicyTerms,
}

/// What a policy says.
#[derive(Debug, Deserialize)]
pub struct PolicyTerms {
    /// How long after a version was claimed its successor is due; never where it is absent.
    pub rotate_every_s: Option<u64>,
    /// How long a version goes on after its successor was claimed.
    pub grace_s: u64,
    /// The longest life of a key; without bound where it is absent.
    pub lifetime_s_max: Option<u64>,
    /// How long a key may go unused; for ever where it is absent.
    pub idle_after_s: Option<u64>,
    /// Whether its holder renews it by itself.
    pub self_renewal: bool,
    /// `stop` or `incident`.
    pub on_renewal_reuse: String,
    /// `warn` or `retire`.
    pub on_breach: String,
    /// `revoke` or `rotate`.
    pub on_leak: String,
    /// How long a credential is gone on with before it is asked for again.
    pub lease_s: u64,
    /// How long one is gone on with while Keyward cannot be asked.
    pub outage_s: u64,
}

/// What one step over the ring of the vault came to.
#[derive(Debug, Deserialize)]
pub struct VaultResealing {
    /// The version that it sealed under.
    pub active: u32,
    /// Values that it looked at.
    pub values: u64,
    /// Of these, those that it sealed anew.
    pub resealed: u64,
    /// Of these, those that do not open.
    pub unreadable: u64,
    /// Where the next step goes on.
    pub next_cursor: Option<String>,
}

/// How far a run of what is due came.
#[derive(Debug, Deserialize)]
pub struct Maintenance {
    /// Tickets of the log that are in its tree and lists.
    pub integrated: u64,
    /// Tickets taken.
    pub taken: u64,
    /// Events that came late and were reported.
    pub late_events: u64,
    /// What was done of what was due for keys.
    #[serde(default)]
    pub due: DueWork,
}

/// What a run did of what was due for keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DueWork {
    /// Keys that something was due for.
    pub keys: u64,
    /// Successors that were offered.
    pub offered: u64,
    /// Keys that break their policy.
    pub broken: u64,
    /// Minutes that are left to walk.
    pub minutes_left: u64,
}

/// The rings that a server has, and how far sealing anew is.
#[derive(Debug, Deserialize)]
pub struct Rings {
    /// Each ring.
    pub rings: Vec<Ring>,
    /// How far it is.
    pub resealing: Resealing,
}

/// A ring.
#[derive(Debug, Deserialize)]
pub struct Ring {
    /// Its name.
    pub name: String,
    /// The version that seals or MACs what is new.
    pub active: u32,
    /// Its versions.
    pub versions: Vec<RingVersion>,
}

/// One version of a ring.
#[derive(Debug, Deserialize)]
pub struct RingVersion {
    /// Its number.
    pub version: u32,
    /// What it is used for.
    pub state: String,
    /// Records found under it.
    pub records: Option<u64>,
    /// Tombstones found under it.
    pub tombstones: Option<u64>,
    /// Living keys found with a secret under it.
    pub keys: Option<u64>,
}

/// What one step found of the vault's ring.
#[derive(Debug, Deserialize)]
pub struct VaultRing {
    /// The ring, with what was found under its versions.
    pub ring: Ring,
    /// Where the next step goes on.
    pub next_cursor: Option<String>,
}

/// How far sealing anew is.
#[derive(Debug, Deserialize)]
pub struct Resealing {
    /// Whether the last whole pass found everything under the active version.
    pub settled: bool,
    /// The pass under way.
    pub pass: Option<ResealingPass>,
    /// The last whole one.
    pub last: Option<ResealingWholePass>,
}

/// A pass under way.
#[derive(Debug, Deserialize)]
pub struct ResealingPass {
    /// It waits for the log before it looks at anything.
    pub waiting: bool,
    /// Records looked at.
    pub records: u64,
}

/// A whole pass.
#[derive(Debug, Deserialize)]
pub struct ResealingWholePass {
    /// The version that it sealed under.
    pub active: u32,
    /// When it began.
    pub begun_at: String,
    /// Records looked at.
    pub records: u64,
    /// Records found under another version.
    pub outdated: u64,
    /// Records sealed anew.
    pub resealed: u64,
    /// Records that do not open.
    pub damaged: u64,
}

/// How many keys stand how.
#[derive(Debug, Deserialize)]
pub struct Standings {
    /// Whether every key is in it.
    pub is_complete: bool,
    /// How many there are.
    pub total: u64,
    /// By the names of standings.
    pub standings: BTreeMap<String, u64>,
}

/// A key.
#[derive(Debug, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub application: String,
    /// What people call it.
    pub name: String,
    /// `live` or `test`.
    pub environment: String,
    /// Whom it stands for, if it administers.
    pub principal: Option<String>,
    /// Set where its first version is a token that another system issued.
    pub imported: Option<keyward_domain::imported::Imported>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The ids of the roles whose scopes it holds as well.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Words by which it is found.
    #[serde(default)]
    pub tags: Vec<String>,
    /// From where.
    #[serde(default)]
    pub rules: Rules,
    /// The id of its own policy.
    pub policy: Option<String>,
    /// How much it may use.
    #[serde(default)]
    pub limits: Vec<GivenLimit>,
    /// RFC 3339; when its next version is due.
    pub due_at: Option<String>,
    /// `unclaimed`, `active`, `disabled`, `expired` or `revoked`.
    pub state: String,
    /// The same, and what is ahead of one that passes: `rotating`, `expiring` or `overdue`.
    pub standing: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; never where absent.
    pub expires_at: Option<String>,
    /// Its secrets' numbers.
    #[serde(default)]
    pub versions: Vec<Version>,
    /// Where it stands between them.
    #[serde(default)]
    pub rotation: Rotation,
    /// The claim that is open.
    pub claim: Option<OpenClaim>,
    /// When, by whom and why it was revoked.
    pub revoked: Option<Revoked>,
}

/// What restricts a key's use.
#[derive(Debug, Default, Deserialize)]
pub struct Rules {
    /// Networks.
    #[serde(default)]
    pub network: Vec<String>,
}

/// One secret of a key, without the secret.
#[derive(Debug, Deserialize)]
pub struct Version {
    /// From 1.
    pub version: u32,
    /// `live`, `retiring`, `retired` or `revoked`.
    #[serde(default)]
    pub state: String,
    /// RFC 3339.
    pub claimed_at: String,
    /// RFC 3339; when it stops although its key goes on.
    #[serde(default)]
    pub ends_at: Option<String>,
    /// RFC 3339, to the hour; when it was used last, where that is known.
    #[serde(default)]
    pub last_used_at: Option<String>,
}

/// Where a key stands in its rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// `stable`, `offered` or `overlapping`.
    pub state: String,
    /// The version that is to come, or came last.
    pub successor: Option<u32>,
    /// `scheduled` or `incident`.
    pub mode: Option<String>,
    /// RFC 3339; when the overlap ends.
    pub ends_at: Option<String>,
}

/// A claim that nobody took yet.
#[derive(Debug, Deserialize)]
pub struct OpenClaim {
    /// Its id.
    pub id: String,
    /// RFC 3339.
    pub expires_at: String,
}

/// A revocation.
#[derive(Debug, Deserialize)]
pub struct Revoked {
    /// RFC 3339.
    pub at: String,
    /// By whom.
    pub by: Option<Actor>,
    /// Why.
    pub reason: Option<String>,
}

/// `POST /v1/keys`. Carries a ticket.
#[derive(Deserialize)]
pub struct Issued {
    /// The key.
    pub key: Key,
    /// The right to its token.
    pub claim: IssuedClaim,
}

/// A claim as it is handed out. Carries a ticket.
#[derive(Deserialize)]
pub struct IssuedClaim {
    /// The ticket. Secret.
    pub ticket: String,
    /// The link to the page that claims. Secret.
    pub url: String,
}

/// `POST /v1/claims`. Carries a token.
#[derive(Deserialize)]
pub struct Claimed<'a> {
    /// The key, as it came.
    #[serde(borrow)]
    pub key: &'a RawValue,
    /// The token. Secret.
    pub token: String,
    /// What the next version is had with; none where the key's policy does not allow that. Secret.
    #[serde(default)]
    pub renewal_token: Option<String>,
}

/// `GET /v1/self`.
#[derive(Debug, Deserialize)]
pub struct SelfKey {
    /// When the presented version stops, where a successor is claimed.
    pub rotate_by: Option<String>,
    /// `stable`, `offered` or `overlapping`.
    pub rotation: String,
    /// When the next version is due.
    pub due_at: Option<String>,
    /// Whether a renewal token of it holds.
    pub self_renewal: bool,
}

/// The key of a taken claim.
#[derive(Debug, Deserialize)]
pub struct ClaimedKey {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub application: String,
    /// `live` or `test`.
    pub environment: String,
    /// The secret's number.
    pub version: u32,
    /// RFC 3339; never where absent.
    pub expires_at: Option<String>,
    /// RFC 3339; when the version before it stops, where there is one.
    #[serde(default)]
    pub others_end_at: Option<String>,
}

/// `POST /v1/keys/{id}/revoke`.
#[derive(Debug, Deserialize)]
pub struct Revocation {
    /// The key.
    pub key: Named,
    /// RFC 3339.
    pub revoked_at: String,
    /// The event that records it.
    pub event: String,
}

/// `/v1/emergency` and what lies below it.
#[derive(Debug, Deserialize)]
pub struct Emergency {
    /// Whether keys are issued.
    pub issuing: Issuing,
}

/// Whether keys are issued, and since when, by whom and why, where anybody ever stopped it.
#[derive(Debug, Deserialize)]
pub struct Issuing {
    /// `open` or `frozen`.
    pub state: String,
    /// RFC 3339.
    pub at: Option<String>,
    /// By whom.
    pub by: Option<Actor>,
    /// Why.
    pub reason: Option<String>,
    /// The event that says so.
    pub event: Option<String>,
}

/// What one call did to many keys, or would have done. May carry tickets.
#[derive(Deserialize)]
pub struct ManyKeys<K> {
    /// Those to which it was done, or would be.
    #[serde(alias = "revoked", alias = "rotated")]
    pub keys: Vec<K>,
    /// How many were dead before.
    pub already_dead: u64,
    /// Those that are meant and stay as they are.
    pub skipped: Vec<SkippedKey>,
    /// How many were looked at.
    pub examined: u64,
    /// Where the next call goes on.
    pub next_cursor: Option<String>,
}

/// One of many that died.
#[derive(Debug, Deserialize)]
pub struct RevokedKey {
    /// Its id.
    pub id: String,
    /// Whose it was.
    pub application: String,
    /// The event of its death.
    pub event: Option<String>,
}

/// One of many that were rotated. Carries a ticket.
#[derive(Deserialize)]
pub struct RotatedKey {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub application: String,
    /// What people call it.
    pub name: String,
    /// The version that the claim mints.
    pub version: u16,
    /// The right to that version's token.
    pub claim: Option<RotatedClaim>,
}

/// A successor's claim as it is handed out. Carries a ticket.
#[derive(Deserialize)]
pub struct RotatedClaim {
    /// The ticket. Secret.
    pub ticket: String,
    /// The link to the page that claims. Secret.
    pub url: String,
    /// Until when it can be taken.
    pub expires_at: String,
}

/// One of many that stays as it is.
#[derive(Debug, Deserialize)]
pub struct SkippedKey {
    /// Its id.
    pub id: String,
    /// The code of the problem.
    pub code: String,
    /// Why not.
    pub detail: String,
}

/// Something of which only the id is told.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
}

/// `POST /v1/keys/lookup`.
#[derive(Debug, Deserialize)]
pub struct LookedUp {
    /// The key.
    pub key: Key,
    /// The secret's number.
    pub version: u32,
}

/// `POST /v1/keys/verify`.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    /// Whether the token may pass.
    pub valid: bool,
    /// `VALID`, or why not.
    pub code: String,
    /// Whose token it is, where the answer may tell.
    pub key: Option<VerdictKey>,
    /// Whose key it is.
    pub application: Option<Named>,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// The key of a verdict.
#[derive(Debug, Deserialize)]
pub struct VerdictKey {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `live` or `test`.
    pub environment: String,
    /// The secret's number.
    pub version: u32,
    /// RFC 3339; never where absent.
    pub expires_at: Option<String>,
    /// RFC 3339; when the version before it stops, where there is one.
    #[serde(default)]
    pub others_end_at: Option<String>,
}

/// An event of the audit log.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Its place in the log.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    /// What was done or tried.
    pub action: String,
    /// `done`, `refused` or `alarm`.
    pub outcome: String,
    /// To what.
    #[serde(default)]
    pub target: Target,
    /// By whom.
    pub actor: Actor,
    /// From where.
    #[serde(default)]
    pub source: Source,
    /// Why.
    pub reason: Option<String>,
}

/// What an event was done to.
#[derive(Debug, Default, Deserialize)]
pub struct Target {
    /// An application.
    pub application: Option<String>,
    /// A key.
    pub key: Option<String>,
    /// A role.
    pub role: Option<String>,
    /// A policy.
    pub policy: Option<String>,
}

impl Target {
    /// What it was done to, as closely as is known.
    pub fn shown(&self) -> Option<&str> {
        let things = [&self.key, &self.role, &self.policy, &self.application];
        things.into_iter().find_map(|thing| thing.as_deref())
    }
}

/// Who did it.
#[derive(Debug, Deserialize)]
pub struct Actor {
    /// In which role.
    pub kind: String,
    /// With which key.
    pub key: Option<String>,
    /// Who that is.
    pub principal: Option<String>,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.principal, &self.key) {
            (Some(principal), Some(key)) => write!(f, "{principal} ({key})"),
            (Some(who), None) | (None, Some(who)) => f.write_str(who),
            (None, None) => f.write_str(&self.kind),
        }
    }
}

/// From where it was done.
#[derive(Debug, Default, Deserialize)]
pub struct Source {
    /// The caller's address.
    pub client_addr: Option<String>,
}

/// A page of a list, its items as they came.
#[derive(Deserialize)]
pub struct Page {
    /// The items.
    pub items: Vec<Box<RawValue>>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
}
