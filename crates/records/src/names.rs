//! The names of store keys: `[a-z0-9:.-]`, at most 200 bytes, never made of a caller's text. One place, so that no two kinds collide.

use keyward_crypto::digest;
use keyward_crypto::tree::TileId;
use keyward_domain::event::EventId;
use keyward_domain::imported::Algorithm;
use keyward_domain::timestamp::Month;
use keyward_domain::{ApplicationId, ClaimId, CredentialId, KeyId, PolicyId, RenewalId, RoleId, WebhookId};

/// `prefix` and an id in hex, without the machinery of `format!`: three of them on every validation.
fn of_id(prefix: &str, id: &[u8; 16]) -> String {
    let mut name = String::with_capacity(prefix.len() + 2 * id.len() + ".65535".len());
    name.push_str(prefix);
    keyward_domain::id::push_hex(&mut name, id);
    name
}

/// The flag of a key: live, or a tombstone.
pub fn flag(key: KeyId) -> String {
    of_id("k:", key.as_bytes())
}

/// The kill of one version of a key.
pub fn version_kill(key: KeyId, version: u16) -> String {
    let mut name = of_id("x:", key.as_bytes());
    name.push('.');
    name.push_str(&version.to_string());
    name
}

/// That tokens were imported under a version of the peppers, of which digests of this kind are known: plain, and only ever written.
pub fn imports(pepper: u32, algorithm: Algorithm) -> String {
    format!("i:{pepper}.{}", algorithm.as_str())
}

/// All the rest of a key.
pub fn key(key: KeyId) -> String {
    of_id("m:", key.as_bytes())
}

/// What validation must know of an application.
pub fn application(application: ApplicationId) -> String {
    format!("a:{}", application.hex())
}

/// The kill of one generation of an application's keys.
pub fn generation_kill(application: ApplicationId, generation: u32) -> String {
    format!("x:{}.{generation}", application.hex())
}

/// The rest of an application.
pub fn details(application: ApplicationId) -> String {
    format!("d:{}", application.hex())
}

/// A role.
pub fn role(role: RoleId) -> String {
    format!("r:{}", role.hex())
}

/// A webhook.
pub fn webhook(webhook: WebhookId) -> String {
    format!("h:{}", webhook.hex())
}

/// A credential, without what it holds.
pub fn credential(credential: CredentialId) -> String {
    of_id("j:", credential.as_bytes())
}

/// What a version of a credential holds, or that it was destroyed.
pub fn credential_value(credential: CredentialId, version: u32) -> String {
    format!("{}.{version}", self::credential(credential))
}

/// What calls of a credential's provider are signed with, or that it was destroyed.
pub fn credential_provider(credential: CredentialId) -> String {
    format!("{}.provider", self::credential(credential))
}

/// That a version of a credential was destroyed: write-once, plain, says by which event.
pub fn credential_kill(credential: CredentialId, version: u32) -> String {
    format!("{}.{version}", of_id("x:", credential.as_bytes()))
}

/// Who holds an application's name.
pub fn application_name(name: &str) -> String {
    of_name("keyward/name", name)
}

/// Who holds a role's name.
pub fn role_name(name: &str) -> String {
    of_name("keyward/role-name", name)
}

/// Who holds a policy's name.
pub fn policy_name(name: &str) -> String {
    of_name("keyward/policy-name", name)
}

/// Who holds the name of a credential of an application.
pub fn credential_name(application: ApplicationId, name: &str) -> String {
    let digest = digest::framed("keyward/credential-name", &[application.as_bytes(), name.as_bytes()]);
    format!("n:{}", keyward_domain::id::hex(&digest))
}

fn of_name(kind: &str, name: &str) -> String {
    format!("n:{}", keyward_domain::id::hex(&digest::framed(kind, &[name.as_bytes()])))
}

/// Whether a store key is that of a name.
pub fn is_name(store_key: &str) -> bool {
    store_key.starts_with("n:")
}

/// A claim.
pub fn claim(claim: ClaimId) -> String {
    format!("q:{}", claim.hex())
}

/// The right that a renewal token carries.
pub fn renewal(renewal: RenewalId) -> String {
    format!("z:{}", renewal.hex())
}

/// That a renewal token was used: write-once, plain, says by which event.
pub fn renewal_used(renewal: RenewalId) -> String {
    format!("z:{}.used", renewal.hex())
}

/// A policy.
pub fn policy(policy: PolicyId) -> String {
    format!("g:{}", policy.hex())
}

/// The outcome of an idempotent request; `digest` covers caller, route and Idempotency-Key.
pub fn outcome(digest: &[u8; 32]) -> String {
    format!("y:{}", keyward_domain::id::hex(digest))
}

/// Whether keys are issued at all.
pub const ISSUING: &str = "o:issuing";

/// That a session of the dashboard was ended by whoever signed out: write-once, plain, says by which event. Named by a digest, since
/// the id is a secret.
pub fn session_closed(id: &[u8; 32]) -> String {
    format!("o:session.{}", keyward_domain::id::hex(&digest::framed("keyward/session", &[id])))
}

/// What a session's cookie is sealed for. No key of a store: sessions lie at browsers.
pub const SESSION_COOKIE: &str = "session";

/// An audit event.
pub fn event(event: EventId) -> String {
    format!("e:{}.{}", event.epoch, event.seq)
}

/// The void of a ticket that no event was written for.
pub fn void(event: EventId) -> String {
    format!("v:{}.{}", event.epoch, event.seq)
}

/// A key of a month's personal data.
pub fn personal_key(month: Month, number: u32) -> String {
    format!("s:{month}.{number}")
}

/// Which epochs there are.
pub const EPOCHS: &str = "o:epochs";

/// What a witness saw of the log, in a store of its own.
pub const SEEN: &str = "w:seen";

/// Where the projections stand.
pub const HEAD: &str = "p:head";

/// Which checkpoint was signed last.
pub const SIGNED: &str = "p:signed";

/// How far re-sealing is.
pub const RESEALING: &str = "p:reseal";

/// How far delivery to webhooks is.
pub const DELIVERY: &str = "p:delivery";

/// What is still to be told to a webhook.
pub fn delivery_queue(webhook: WebhookId) -> String {
    format!("p:delivery.{}", webhook.hex())
}

/// How far the walk along what is due is.
pub const DUE_WALK: &str = "p:walk";

/// Which rotations of credentials are under way.
pub const ROTATING: &str = "p:rotating";

/// When maintenance was done last.
pub const MAINTAINED: &str = "p:maintained";

/// How far the folding of use is.
pub const FOLDING: &str = "p:folding";

/// How far the forgetting of counters of limits is.
pub const ENDED_WALK: &str = "p:ended";

/// What is known of a key's use.
pub fn key_use(key: KeyId) -> String {
    of_id("p:use:", key.as_bytes())
}

/// One of the records of a key's use over time.
pub fn use_buckets(key: KeyId, resolution: char, place: i64) -> String {
    format!("{}.{resolution}{place}", key_use(key))
}

/// The latest refusals of requests with a right secret: of an application's keys, or of all.
pub fn refusals(application: Option<ApplicationId>) -> String {
    match application {
        Some(application) => of_id("p:refused:", application.as_bytes()),
        None => "p:refused".to_owned(),
    }
}

/// The requests of a day to an application's keys, or to all.
pub fn requests(application: Option<ApplicationId>, place: i64) -> String {
    match application {
        Some(application) => format!("{}.{place}", of_id("p:requests:", application.as_bytes())),
        None => format!("p:requests.{place}"),
    }
}

/// How many applications have a register of their keys.
pub const REGISTERS: &str = "p:reg";

/// The totals of some registers.
pub fn register_totals(number: u64) -> String {
    format!("{REGISTERS}.{number}")
}

/// The head of an application's register.
pub fn register(application: ApplicationId) -> String {
    of_id("p:reg:", application.as_bytes())
}

/// One page of an application's register.
pub fn register_page(application: ApplicationId, page: u64) -> String {
    format!("{}.{page}", register(application))
}

/// The sums of some pages of an application's register.
pub fn register_sums(application: ApplicationId, number: u64) -> String {
    format!("{}.s{number}", register(application))
}

/// Where the row of a key lies in its application's register.
pub fn row_place(key: KeyId) -> String {
    of_id("p:row:", key.as_bytes())
}

/// The head of a projected list.
pub fn list(list: &str) -> String {
    format!("p:{list}")
}

/// One page of a projected list.
pub fn list_page(list: &str, page: u64) -> String {
    format!("p:{list}.{page}")
}

/// A tile of an epoch's Merkle tree.
pub fn tile(epoch: u32, tile: TileId) -> String {
    format!("t:{epoch}.{}.{}", tile.level, tile.index)
}

/// The signed checkpoint of an epoch's tree at one size.
pub fn checkpoint(epoch: u32, size: u64) -> String {
    format!("cp:{epoch}.{size}")
}

/// What the start-up probe writes.
pub fn probe(slot: i64, half: char) -> String {
    format!("p:probe.{slot}.{half}")
}

/// What the store key of a record of state starts with: flags, kills, keys, applications, details, names, claims, outcomes, roles,
/// months' keys, switches, webhooks, policies, renewals, credentials, marks of what was imported. Neither the log and its projections, which prove themselves, nor counters.
const STATE_PREFIXES: [&str; 16] =
    ["k:", "x:", "m:", "a:", "d:", "n:", "q:", "y:", "r:", "s:", "o:", "h:", "g:", "z:", "j:", "i:"];

/// What the names of records start with that are kept beside the log under `p:` and follow from more than it: where the projections
/// stand, what was signed last, how far re-sealing, delivery, what is due, rotations of credentials and counters that are over are, when
/// that was looked at last, use, what the probe wrote. All else under `p:` are lists and registers.
const BESIDE_PREFIXES: [&str; 13] = [
    HEAD,
    SIGNED,
    RESEALING,
    DELIVERY,
    DUE_WALK,
    ROTATING,
    ENDED_WALK,
    MAINTAINED,
    FOLDING,
    "p:use:",
    "p:requests",
    "p:refused",
    "p:probe.",
];

/// What the names of a register's records start with.
const REGISTER_PREFIXES: [&str; 2] = [REGISTERS, "p:row:"];

/// Whether a name that starts with `p:` is one of a register.
pub fn is_of_a_register(name: &str) -> bool {
    REGISTER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whose register's head a name is, if it is one.
pub fn of_register(name: &str) -> Option<ApplicationId> {
    let digits = name.strip_prefix("p:reg:").filter(|digits| digits.len() == 32)?;
    Some(ApplicationId::from_bytes(u128::from_str_radix(digits, 16).ok()?.to_be_bytes()))
}

/// Whether a name that starts with `p:` is none of a projected list.
pub fn is_no_list(name: &str) -> bool {
    is_of_a_register(name) || BESIDE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a text can be the store key of a record of state: of what events name under `writes`.
pub fn is_state(record: &str) -> bool {
    record.len() <= 200
        && STATE_PREFIXES.iter().any(|prefix| record.starts_with(prefix))
        && record
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'))
}

/// Counters of control: only ever touched by `increment`.
pub mod counter {
    use super::{ClaimId, EventId, Month, RenewalId};

    /// The numbers of a month's keys for personal data.
    pub fn personal_keys(month: Month) -> String {
        format!("c:s:{month}")
    }

    /// The tickets of audit events.
    pub fn audit(epoch: u32) -> String {
        format!("c:audit:{epoch}")
    }

    /// The tickets of revisions of the record at `store_key`.
    pub fn revision(store_key: &str) -> String {
        format!("c:{store_key}")
    }

    /// The marks at one place in the line of the idempotent requests whose outcome lies at `store_key`.
    pub fn place(store_key: &str, place: u64) -> String {
        format!("c:{store_key}.{place}")
    }

    /// Who takes a claim: the first.
    pub fn claim(claim: ClaimId) -> String {
        format!("c:q:{}", claim.hex())
    }

    /// Who was refused a claim that was taken: the first raises the alarm.
    pub fn claim_refused(claim: ClaimId) -> String {
        format!("c:q:{}.refused", claim.hex())
    }

    /// Who was refused a renewal by a token that was used: the first raises the alarm.
    pub fn renewal_refused(renewal: RenewalId) -> String {
        format!("c:z:{}.refused", renewal.hex())
    }

    /// Who extends the log's projections from this event on: the first.
    pub fn tree(from: EventId) -> String {
        format!("c:tree:{}.{}", from.epoch, from.seq)
    }

    /// Who extends them behind a gap that was seen there: the first.
    pub fn tree_behind_gap(from: EventId) -> String {
        format!("c:tree:{}.{}.gap", from.epoch, from.seq)
    }

    /// Who reports an event that came late: the first.
    pub fn late(event: EventId) -> String {
        format!("c:late:{}.{}", event.epoch, event.seq)
    }

    /// Refused anonymous calls from one source in one minute.
    pub fn anonymous(minute: i64, source_digest: &[u8; 32]) -> String {
        format!(
            "c:anon:{minute}.{}",
            keyward_domain::id::hex(source_digest.first_chunk::<16>().unwrap_or(&[0; 16]))
        )
    }

    /// The start-up probe's own counter.
    pub const PROBE: &str = "c:probe";
}

/// Use, kept where validators may write.
pub mod usage {
    use std::fmt::Write;

    /// The tickets of batches of use: only ever touched by `increment`.
    pub const TICKETS: &str = "u:tickets";

    /// What hashes of addresses are made for. Nothing lies there.
    pub const ADDRESS: &str = "u:address";

    /// Batches that are kept at a time. What nobody has folded by then is overwritten, oldest first: use must not fill a disk.
    pub const BATCHES_MAX: u64 = 65_536;

    /// The place of one batch of use; the batch itself says which ticket it has.
    pub fn batch(ticket: u64) -> String {
        format!("u:{}", ticket % BATCHES_MAX)
    }

    /// What was taken of a limit of a key or an application in one window: only ever touched by `increment`, until the window is over.
    pub fn limit(holder: &[u8; 16], tag: u32, window: i64) -> String {
        let mut name = super::of_id("u:limit:", holder);
        // Neither fails for a string.
        let _ = write!(name, ".{tag:08x}.{window}");
        name
    }

    /// Whether a store key is that of what was taken of a limit.
    pub fn is_limit(store_key: &str) -> bool {
        store_key.starts_with("u:limit:")
    }

    /// The tickets of counters of limits whose windows end in an hour, counted from 1970: only ever touched by `increment`.
    pub fn ended_limits(hour: i64) -> String {
        format!("u:ended:{hour}")
    }

    /// One of these counters, by its ticket.
    pub fn ended_limit(hour: i64, ticket: u64) -> String {
        format!("u:ended:{hour}.{ticket}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_every_store_takes() {
        let (key_id, app, claim_id) = (
            KeyId::from_bytes([255; 16]),
            ApplicationId::from_bytes([255; 16]),
            ClaimId::from_bytes([255; 16]),
        );
        let event_id = EventId { epoch: u32::MAX, seq: u64::MAX };
        let names = [
            flag(key_id),
            version_kill(key_id, u16::MAX),
            key(key_id),
            application(app),
            generation_kill(app, u32::MAX),
            details(app),
            role(RoleId::from_bytes([255; 16])),
            webhook(WebhookId::from_bytes([255; 16])),
            application_name("Zoë \u{1b} 'DROP"),
            role_name("Zoë \u{1b} 'DROP"),
            policy_name("Zoë \u{1b} 'DROP"),
            claim(claim_id),
            renewal(RenewalId::from_bytes([255; 16])),
            renewal_used(RenewalId::from_bytes([255; 16])),
            session_closed(&[255; 32]),
            policy(PolicyId::from_bytes([255; 16])),
            credential(CredentialId::from_bytes([255; 16])),
            credential_value(CredentialId::from_bytes([255; 16]), u32::MAX),
            credential_kill(CredentialId::from_bytes([255; 16]), u32::MAX),
            credential_provider(CredentialId::from_bytes([255; 16])),
            credential_name(app, "payments/db"),
            counter::renewal_refused(RenewalId::from_bytes([255; 16])),
            outcome(&[255; 32]),
            event(event_id),
            void(event_id),
            ISSUING.to_owned(),
            HEAD.to_owned(),
            SIGNED.to_owned(),
            RESEALING.to_owned(),
            DELIVERY.to_owned(),
            delivery_queue(WebhookId::from_bytes([255; 16])),
            counter::revision(DELIVERY),
            DUE_WALK.to_owned(),
            ROTATING.to_owned(),
            MAINTAINED.to_owned(),
            FOLDING.to_owned(),
            key_use(key_id),
            use_buckets(key_id, 'h', i64::MIN),
            refusals(Some(app)),
            requests(Some(app), i64::MAX),
            REGISTERS.to_owned(),
            register_totals(u64::MAX),
            register(app),
            register_page(app, u64::MAX),
            register_sums(app, u64::MAX),
            row_place(key_id),
            list_page(&crate::projection::lists::due(i64::MAX), u64::MAX),
            list_page(&crate::projection::lists::events_of_key(key_id), u64::MAX),
            list_page(&crate::projection::lists::keys_tagged(Some(app), "Zoë \u{1b} 'DROP"), u64::MAX),
            tile(u32::MAX, TileId { level: 5, index: u64::MAX }),
            checkpoint(u32::MAX, u64::MAX),
            personal_key(Month::of(keyward_domain::Timestamp::from_unix_ms(i64::MAX)), u32::MAX),
            counter::personal_keys(Month::of(keyward_domain::Timestamp::from_unix_ms(0))),
            EPOCHS.to_owned(),
            SEEN.to_owned(),
            probe(i64::MIN, 'a'),
            counter::audit(u32::MAX),
            counter::revision(&key(key_id)),
            counter::place(&outcome(&[255; 32]), u64::MAX),
            counter::claim(claim_id),
            counter::claim_refused(claim_id),
            counter::tree(event_id),
            counter::tree_behind_gap(event_id),
            counter::late(event_id),
            counter::anonymous(i64::MAX, &[255; 32]),
            usage::TICKETS.to_owned(),
            usage::ADDRESS.to_owned(),
            usage::batch(u64::MAX),
        ];
        for name in names {
            assert!(name.len() <= 200, "{name}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-')),
                "{name}"
            );
        }
    }
}
