//! Project Wycheproof's vectors and RFC 5869's, run over the primitives exactly as this crate configures them.
//! Each test counts what it ran: a set that turned out empty, or that our filter emptied, fails.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::Array;
use aes_gcm::{Aes256Gcm, KeyInit};
use ed25519_dalek::{Signature, VerifyingKey};
use wycheproof::TestResult;

use crate::digest::hex;
use crate::keyed::{MacKey, derive};

#[test]
fn wycheproof_aes_256_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let (mut opened, mut refused) = (0, 0);
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        // Ours is one configuration: a key of 256 bits, a nonce of 96, a tag of 128.
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
            let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
            let tag: [u8; 16] = test.tag[..].try_into().unwrap();
            let mut body = test.ct.to_vec();
            let result = cipher.decrypt_inout_detached(
                &Array(nonce),
                &test.aad,
                body.as_mut_slice().into(),
                &Array(tag),
            );
            if test.result == TestResult::Invalid {
                assert!(result.is_err(), "test {}: {} opened", test.tc_id, test.comment);
                refused += 1;
                continue;
            }
            assert!(result.is_ok(), "test {}: {} did not open", test.tc_id, test.comment);
            assert_eq!(body, test.pt.to_vec(), "test {}", test.tc_id);
            let made =
                cipher.encrypt_inout_detached(&Array(nonce), &test.aad, body.as_mut_slice().into()).unwrap();
            assert_eq!((body, made.0), (test.ct.to_vec(), tag), "test {}", test.tc_id);
            opened += 1;
        }
    }
    assert!(opened > 30 && refused > 20, "ran {opened} valid and {refused} invalid vectors");
}

#[test]
fn wycheproof_hkdf_sha_256() {
    use wycheproof::hkdf::{TestName, TestSet};
    let (mut ran, mut ours) = (0, 0);
    for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
        for test in group.tests {
            let mut okm = vec![0; test.size];
            let result =
                hkdf::Hkdf::<sha2::Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
            assert_eq!(result.is_err(), test.result == TestResult::Invalid, "test {}", test.tc_id);
            if result.is_ok() {
                assert_eq!(okm, test.okm.to_vec(), "test {}", test.tc_id);
                // Longer outputs begin with the 32 bytes that we take.
                if let Some(head) = test.okm.get(..32) {
                    let (left, right) = test.ikm.split_at(test.ikm.len() / 2);
                    assert_eq!(
                        derive(&test.salt, &[left, right], &test.info)[..],
                        *head,
                        "test {}",
                        test.tc_id
                    );
                    ours += 1;
                }
            }
            ran += 1;
        }
    }
    assert!(ran > 50 && ours > 20, "ran {ran} vectors, {ours} through our own function");
}

#[test]
fn wycheproof_hmac_sha_256() {
    use wycheproof::mac::{TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
        // Ours is one configuration: a key of 256 bits and the whole tag.
        if (group.key_size, group.tag_size) != (256, 256) {
            continue;
        }
        for test in group.tests {
            let key: [u8; 32] = test.key[..].try_into().unwrap();
            let (left, right) = test.msg.split_at(test.msg.len() / 2);
            let same = MacKey::new(&key).mac(&[left, right])[..] == test.tag[..];
            if test.result == TestResult::Invalid {
                assert!(!same, "test {}: {}", test.tc_id, test.comment);
                invalid += 1;
            } else {
                assert!(same, "test {}: {}", test.tc_id, test.comment);
                valid += 1;
            }
        }
    }
    assert!(valid > 20 && invalid > 20, "ran {valid} valid and {invalid} invalid vectors");
}

#[test]
fn wycheproof_ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let public: [u8; 32] = group.key.pk[..].try_into().unwrap();
        for test in group.tests {
            let accepted = VerifyingKey::from_bytes(&public).is_ok_and(|key| {
                Signature::from_slice(&test.sig)
                    .is_ok_and(|signature| key.verify_strict(&test.msg, &signature).is_ok())
            });
            if test.result == TestResult::Invalid {
                assert!(!accepted, "test {}: {}", test.tc_id, test.comment);
                invalid += 1;
            } else {
                assert!(accepted, "test {}: {}", test.tc_id, test.comment);
                valid += 1;
            }
        }
    }
    assert!(valid > 50 && invalid > 40, "ran {valid} valid and {invalid} invalid vectors");
}

/// RFC 5869 appendix A.1: the first 32 bytes of its output are what a key of 32 bytes would be.
#[test]
fn rfc5869_appendix_a_1() {
    let salt: Vec<u8> = (0x00..=0x0c).collect();
    let info: Vec<u8> = (0xf0..=0xf9).collect();
    assert_eq!(
        hex(&*derive(&salt, &[&[0x0b; 22]], &info)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    );
}

/// RFC 4231 section 4.2 and 4.3: keys shorter than 32 bytes, padded with zeros as HMAC itself pads them.
#[test]
fn rfc4231_cases_1_and_2() {
    let padded = |key: &[u8]| {
        let mut whole = [0; 32];
        whole[..key.len()].copy_from_slice(key);
        MacKey::new(&whole)
    };
    assert_eq!(
        hex(&padded(&[0x0b; 20]).mac(&[b"Hi There"])),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    assert_eq!(
        hex(&padded(b"Jefe").mac(&[b"what do ya want ", b"for nothing?"])),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}
