//! What a sealed record promises: it opens where it was sealed, as it was sealed, and nowhere and nohow else.

use proptest::prelude::*;

use super::*;
use crate::base64url;

const NONCE: [u8; 12] = [5; 12];

/// A sealer over versions with these numbers and key bytes; the first is active.
fn sealer(versions: &[(u32, u8)]) -> Sealer {
    let versions: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(at, (v, fill))| {
            let key = base64url::encode(&[*fill; 32]);
            let state = if at == 0 { "active" } else { "decrypt-only" };
            format!(r#"{{"v":{v},"key":"{key}","state":"{state}","created_at":"2026-01-31T08:00:00Z"}}"#)
        })
        .collect();
    Sealer::new(Ring::parse("test", &format!(r#"{{"versions":[{}]}}"#, versions.join(","))).unwrap())
}

fn domain() -> impl Strategy<Value = Domain> {
    proptest::sample::select(Domain::ALL.as_slice())
}

/// Names as the store has them, and every other text too.
fn store_key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]:[0-9a-f]{0,44}", any::<String>()]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #[test]
    fn round_trip(domain in domain(), key in store_key(), plain in bytes(), nonce: [u8; 12], extra in bytes()) {
        let sealer = sealer(&[(3, 1), (1, 2)]);
        let sealed = sealer.seal(domain, &key, &plain, nonce).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD_BYTES);
        prop_assert_eq!(Sealer::sealed_under(&sealed), Ok(3));
        prop_assert_eq!(&*sealer.open(domain, &key, &sealed).unwrap(), &plain);

        let bound = sealer.seal_bound(domain, &key, &extra, &plain, nonce).unwrap();
        prop_assert_eq!(&*sealer.open_bound(domain, &key, &extra, &bound).unwrap(), &plain);
        prop_assert_eq!(sealer.open(domain, &key, &bound), Err(OpenError::NotAuthentic));
        prop_assert_eq!(sealer.open_bound(domain, &key, &extra, &sealed), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn any_changed_byte_is_noticed(domain in domain(), key in store_key(), plain in bytes(), at: prop::sample::Index, flip in 1_u8..) {
        let sealer = sealer(&[(3, 1), (2, 2)]);
        let mut sealed = sealer.seal(domain, &key, &plain, NONCE).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        let error = sealer.open(domain, &key, &sealed).unwrap_err();
        match at {
            0 => prop_assert_eq!(error, OpenError::UnknownFormat(FORMAT ^ flip)),
            // Version 3 may turn into 2, whose key is another.
            1..=4 => prop_assert!(matches!(error, OpenError::UnknownRingVersion(_) | OpenError::NotAuthentic)),
            _ => prop_assert_eq!(error, OpenError::NotAuthentic),
        }
    }

    #[test]
    fn nothing_opens_under_another_name_domain_or_key(
        domain in domain(),
        other_domain in domain(),
        key in store_key(),
        other_key in store_key(),
        plain in bytes(),
        extra in bytes(),
        other_extra in bytes(),
    ) {
        prop_assume!(domain != other_domain && key != other_key && extra != other_extra);
        let sealer = sealer(&[(3, 1)]);
        let sealed = sealer.seal(domain, &key, &plain, NONCE).unwrap();
        let refused = Err(OpenError::NotAuthentic);
        prop_assert_eq!(&sealer.open(domain, &other_key, &sealed), &refused);
        prop_assert_eq!(&sealer.open(other_domain, &key, &sealed), &refused);
        let same_number = self::sealer(&[(3, 9)]);
        prop_assert_eq!(&same_number.open(domain, &key, &sealed), &refused);
        let without = self::sealer(&[(4, 1)]);
        prop_assert_eq!(&without.open(domain, &key, &sealed), &Err(OpenError::UnknownRingVersion(3)));

        let bound = sealer.seal_bound(domain, &key, &extra, &plain, NONCE).unwrap();
        prop_assert_eq!(&sealer.open_bound(domain, &key, &other_extra, &bound), &refused);
        prop_assert_eq!(&sealer.open_bound(domain, &other_key, &extra, &bound), &refused);
        prop_assert_eq!(&sealer.open_bound(other_domain, &key, &extra, &bound), &refused);
    }

    #[test]
    fn a_cut_or_lengthened_value_never_opens_and_never_panics(plain in bytes(), cut: prop::sample::Index, more in bytes()) {
        let sealer = sealer(&[(3, 1)]);
        let mut sealed = sealer.seal(Domain::Key, "m:00", &plain, NONCE).unwrap();
        let kept = cut.index(sealed.len());
        let error = sealer.open(Domain::Key, "m:00", &sealed[..kept]).unwrap_err();
        let want = if kept < OVERHEAD_BYTES { OpenError::Malformed } else { OpenError::NotAuthentic };
        prop_assert_eq!(error, want);
        prop_assume!(!more.is_empty());
        sealed.extend(more);
        prop_assert_eq!(sealer.open(Domain::Key, "m:00", &sealed), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn garbage_never_opens_and_never_panics(garbage in bytes(), led in any::<bool>()) {
        let sealer = sealer(&[(3, 1)]);
        let garbage = if led { [&[FORMAT, 0, 0, 0, 3], &garbage[..]].concat() } else { garbage };
        prop_assert!(sealer.open(Domain::Key, "m:00", &garbage).is_err());
        prop_assert!(sealer.open_bound(Domain::Key, "m:00", b"", &garbage).is_err());
    }
}

#[test]
fn an_older_version_opens_and_the_active_one_seals() {
    let before = sealer(&[(1, 1)]);
    let sealed = before.seal(Domain::Claim, "q:00", b"claim", NONCE).unwrap();
    let after = sealer(&[(2, 2), (1, 1)]);
    assert_eq!(&**after.open(Domain::Claim, "q:00", &sealed).unwrap(), b"claim");
    let again = after.seal(Domain::Claim, "q:00", b"claim", NONCE).unwrap();
    assert_eq!(Sealer::sealed_under(&again), Ok(2));
    let error = before.open(Domain::Claim, "q:00", &again).unwrap_err();
    assert_eq!(error, OpenError::UnknownRingVersion(2));
    assert!(error.is_unavailable() && OpenError::UnknownFormat(2).is_unavailable());
    assert!(!OpenError::Malformed.is_unavailable() && !OpenError::NotAuthentic.is_unavailable());
}

#[test]
fn lengths_are_bounded() {
    let sealer = sealer(&[(1, 1)]);
    let longest = vec![0; PLAINTEXT_BYTES_MAX];
    let mut sealed = sealer.seal(Domain::Projection, "p:x", &longest, NONCE).unwrap();
    assert_eq!(sealer.open(Domain::Projection, "p:x", &sealed).unwrap().len(), longest.len());
    sealed.push(0);
    assert_eq!(sealer.open(Domain::Projection, "p:x", &sealed), Err(OpenError::Malformed));
    let too_long = vec![0; PLAINTEXT_BYTES_MAX + 1];
    let refused = Err(SealError::TooLong { bytes: too_long.len() });
    assert_eq!(sealer.seal(Domain::Projection, "p:x", &too_long, NONCE), refused);
}

#[test]
fn labels_are_different_and_stable() {
    for (at, domain) in Domain::ALL.iter().enumerate() {
        assert!(domain.label().starts_with("keyward/v1/"));
        assert!(Domain::ALL[at + 1..].iter().all(|other| other.label() != domain.label()));
    }
    // Label and store key are framed: what one loses at the border, the other cannot take over.
    assert_ne!(
        additional_data(Domain::Application, "-detailsx"),
        additional_data(Domain::ApplicationDetails, "x")
    );
}

/// The layout and the derivation, pinned: a release that changes either cannot read the records of the one before. The values
/// were computed by an independent implementation (Python's `hmac` and `cryptography`), see `tests/pin_sealed.py`.
#[test]
fn the_format_is_pinned() {
    let sealer = sealer(&[(7, 0x11)]);
    let sealed = sealer.seal(Domain::Key, "m:00ff", b"keyward", NONCE).unwrap();
    assert_eq!(
        digest::hex(&sealed),
        "01000000070505050505050505050505050cd179fda80d0e0855f1628b3fa0f2c417363e633dea92"
    );
    let bound = sealer.seal_bound(Domain::Outcome, "y:00ff", b"idempotency-1", b"keyward", NONCE).unwrap();
    assert_eq!(
        digest::hex(&bound),
        "01000000070505050505050505050505059f321859ea6bdfdcd304172f32a1ed883276ef2130338f"
    );
    assert_eq!(
        digest::hex(&sealer.keyed_digest("m:00ff", b"keyward")),
        "99fc92a0e2724086896d89c7f6331b8076005db7f4b9e09290fa6d98c929779b"
    );
}

#[test]
fn a_keyed_digest_depends_on_everything_in_it() {
    let sealer = sealer(&[(2, 2), (1, 1)]);
    let digest = sealer.keyed_digest("m:00", b"value");
    assert_eq!(sealer.keyed_digest_under(2, "m:00", b"value"), Ok(digest));
    assert_ne!(sealer.keyed_digest_under(1, "m:00", b"value"), Ok(digest));
    assert_eq!(
        sealer.keyed_digest_under(3, "m:00", b"value"),
        Err(UnknownRingVersion { ring: "test", version: 3 })
    );
    assert_ne!(sealer.keyed_digest("m:0", b"0value"), digest);
    assert_ne!(sealer.keyed_digest("m:00", b"valuf"), digest);
    assert_ne!(self::sealer(&[(2, 3)]).keyed_digest("m:00", b"value"), digest);
}

#[test]
fn a_sealer_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Sealer>();
    shared::<crate::Peppers>();
    shared::<crate::sign::SigningKeys>();
}

#[test]
fn a_sealer_names_its_ring_and_its_versions_the_active_one_first() {
    let sealer = sealer(&[(3, 1), (7, 2), (1, 3)]);
    assert_eq!((sealer.ring_name(), sealer.active_version()), ("test", 3));
    assert_eq!(sealer.versions().collect::<Vec<_>>(), [3, 7, 1]);
    let error = sealer.keyed_digest_under(2, "k:1", b"x").unwrap_err();
    assert!(error.to_string().contains("test") && error.to_string().contains('2'), "{error}");
}
