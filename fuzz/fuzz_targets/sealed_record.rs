//! Sealed records: what was sealed opens where it was sealed and nowhere else, and whatever an authentic plaintext holds, reading it
//! gives a record or an error: never a panic, and never a record that would not come back from what is written of it.
#![no_main]

use arbitrary::Arbitrary;
use keyward_crypto::{Domain, OpenError, Sealer};
use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::delivery::Queue;
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::session::Session;
use keyward_domain::webhook::Webhook;
use keyward_fuzz::sealer;
use keyward_records::projection::{Head, ListHead, ListPage};
use keyward_records::register::{
    RegisterHead, RegisterPage, RegisterSums, RegisterTotals, Registers, RowPlace,
};
use keyward_records::{
    Codec, CredentialValue, Delivery, DueWalk, EndedLimits, EndedWalk, Epochs, Folding, KeyUse, Maintained,
    NameRecord, PersonalKey, ProviderSecret, Record, Refusals, Requests, Resealing, RotationWalk, Seen,
    Signed, StoredEvent, Tombstone, UsageBatch, UseBlock, Void, open, seal,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    domain: u8,
    other_domain: u8,
    nonce: [u8; 12],
    at: u16,
    flip: u8,
    store_key: &'a str,
    other_key: &'a str,
    raw: &'a [u8],
    plain: &'a [u8],
}

static SEALERS: LazyLock<(Sealer, Sealer)> = LazyLock::new(|| (sealer(1), sealer(2)));

/// What is sealed here is thrown away: one nonce does.
const NONCE: [u8; 12] = [5; 12];

fn domain(number: u8) -> Domain {
    Domain::ALL[usize::from(number) % Domain::ALL.len()]
}

/// The envelope, whatever is in it.
fn envelope(input: &Input) {
    let (ours, others) = &*SEALERS;
    let (domain, other_domain) = (domain(input.domain), domain(input.other_domain));
    let _ = ours.open(domain, input.store_key, input.raw);
    let _ = Sealer::sealed_under(input.raw);

    let sealed = ours.seal(domain, input.store_key, input.plain, input.nonce).expect("short");
    assert_eq!(&*ours.open(domain, input.store_key, &sealed).expect("sealed here"), input.plain);
    assert_eq!(others.open(domain, input.store_key, &sealed), Err(OpenError::NotAuthentic), "another ring");
    if domain != other_domain {
        assert!(ours.open(other_domain, input.store_key, &sealed).is_err(), "another domain");
    }
    if input.store_key != input.other_key {
        assert!(ours.open(domain, input.other_key, &sealed).is_err(), "another store key");
    }
    let at = usize::from(input.at) % sealed.len();
    let mut changed = sealed.clone();
    changed[at] ^= input.flip.max(1);
    assert!(ours.open(domain, input.store_key, &changed).is_err(), "byte {at} changed");
    assert!(ours.open(domain, input.store_key, &sealed[..at]).is_err(), "cut");
    assert!(ours.open(domain, input.store_key, &[&sealed[..], &[input.flip]].concat()).is_err(), "longer");

    let extra = input.other_key.as_bytes();
    let bound = ours.seal_bound(domain, input.store_key, extra, input.plain, input.nonce).expect("short");
    assert_eq!(&*ours.open_bound(domain, input.store_key, extra, &bound).expect("sealed here"), input.plain);
    assert!(ours.open(domain, input.store_key, &bound).is_err(), "without what it is bound to");
    assert!(ours.open_bound(domain, input.store_key, input.raw, &bound).is_err() || input.raw == extra);
}

fn decode<R: Record>(body: &[u8]) -> Option<R> {
    match R::CODEC {
        Codec::Json => serde_json::from_slice(body).ok(),
        Codec::Binary => postcard::from_bytes(body).ok(),
    }
}

/// One kind of record, over a plaintext that is any bytes behind the number of a schema.
fn record<R: Record>(schema: u8, body: &[u8]) {
    let (sealer, _) = &*SEALERS;
    let plain = |schema: u8| [&[schema], body].concat();
    // Of a schema of the past, of the present, or of one to come.
    let any = sealer.seal(R::DOMAIN, "x", &plain(schema % (R::SCHEMA + 2)), NONCE).expect("short");
    let _ = open::<R>(sealer, "x", &any);

    let Some(found) = decode::<R>(body) else { return };
    let place = found.store_key();
    let value = sealer.seal(R::DOMAIN, &place, &plain(R::SCHEMA), NONCE).expect("short");
    let read: R = open(sealer, &place, &value).unwrap_or_else(|why| panic!("at {place}: {why:?}"));
    assert!(open::<R>(sealer, &format!("{place}0"), &value).is_err(), "it opens in its place alone");
    // What is written of it is read as the same, so that it is written the same.
    let written = seal(sealer, &read, NONCE).expect("not longer by much");
    let again: R = open(sealer, &place, &written).unwrap_or_else(|why| panic!("written at {place}: {why:?}"));
    assert!(seal(sealer, &again, NONCE).expect("as long") == written, "another text at {place}");
}

macro_rules! any_record {
    ($kind:expr, $($record:ty),* $(,)?) => {{
        const KINDS: &[fn(u8, &[u8])] = &[$(record::<$record>,)*];
        KINDS[usize::from($kind) % KINDS.len()]
    }};
}

fuzz_target!(|data: &[u8]| {
    let (_, input) = keyward_fuzz::read::<Input>(data);
    if let Some(input) = input {
        envelope(&input);
    }
    // The kind of a record, the number of a schema, and what lies behind that in the plaintext.
    let [kind, schema, body @ ..] = data else { return };
    let check = any_record!(
        *kind,
        Key,
        Application,
        Details,
        Role,
        Claim,
        Renewal,
        Policy,
        Issuing,
        Webhook,
        Credential,
        CredentialValue,
        NameRecord,
        Void,
        Tombstone,
        StoredEvent,
        PersonalKey,
        Epochs,
        Seen,
        Head,
        ListHead,
        ListPage,
        KeyUse,
        UseBlock,
        Refusals,
        Folding,
        UsageBatch,
        EndedLimits,
        Maintained,
        EndedWalk,
        DueWalk,
        Delivery,
        Queue,
        Resealing,
        Session,
        Signed,
        Requests,
        Registers,
        RegisterTotals,
        RegisterHead,
        RegisterPage,
        RegisterSums,
        RowPlace,
        ProviderSecret,
        RotationWalk,
    );
    check(*schema, body);
});
