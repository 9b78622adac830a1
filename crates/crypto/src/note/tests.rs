//! Signed checkpoints against `signed_note` and `tlog_tiles`, implementations that share no code with this one, and against a
//! checkpoint of Go's checksum database.

use proptest::prelude::*;

use super::*;
use crate::base64url;
use crate::ring::RingError;

const ORIGIN: &str = "keyward.invalid/3f9c2a";
const CREATED: &str = "2026-01-31T08:00:00Z";
const ROOT: Hash = [0xa5; 32];

/// A document with these seeds, the first active, the others decrypt-only.
fn document(origin: &str, seeds: &[u8]) -> String {
    let versions: Vec<_> = (1..)
        .zip(seeds)
        .map(|(v, seed)| {
            let key = base64url::encode(&[*seed; 32]);
            let state = if v == 1 { "active" } else { "decrypt-only" };
            format!(r#"{{"v":{v},"key":"{key}","state":"{state}","created_at":"{CREATED}"}}"#)
        })
        .collect();
    format!(r#"{{"origin":{},"versions":[{}]}}"#, serde_json::Value::from(origin), versions.join(","))
}

fn keys(seeds: &[u8]) -> LogKeys {
    LogKeys::parse(&document(ORIGIN, seeds)).unwrap()
}

fn verifiers(keys: &LogKeys, epoch: u32) -> Vec<VerifierKey> {
    keys.verifier_keys(epoch).iter().map(|key| VerifierKey::parse(key).unwrap()).collect()
}

/// A note over any text by one of our keys, written by the other implementation.
fn signed_by_the_other(seed: u8, name: &str, text: &str) -> String {
    let [verifier] = verifier(seed, name);
    let private = STANDARD.encode([&[ED25519], [seed; 32].as_slice()].concat());
    let id = crate::digest::hex(&verifier.id());
    let signer = signed_note::StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id}+{private}")).unwrap();
    let mut note = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    String::from_utf8(note.to_bytes()).unwrap()
}

/// The same, opened by us with the key that signed it.
fn open_text(text: &str) -> Result<Checkpoint, NoteError> {
    open(&signed_by_the_other(1, "x", text), &verifier(1, "x"))
}

fn verifier(seed: u8, name: &str) -> [VerifierKey; 1] {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
    [VerifierKey { name: name.to_owned(), key }]
}

proptest! {
    #[test]
    fn the_other_implementation_opens_what_we_sign(
        epoch: u32,
        size: u64,
        root: [u8; 32],
        seeds in prop::sample::subsequence(vec![1_u8, 2, 3, 4], 1..=4),
    ) {
        let keys = keys(&seeds);
        let note = keys.sign(epoch, size, &root);
        let parsed = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
        let known = keys
            .verifier_keys(epoch)
            .iter()
            .map(|key| Box::new(signed_note::StandardVerifier::new(key).unwrap()) as Box<dyn signed_note::Verifier>)
            .collect();
        let (verified, unknown) = parsed.verify(&signed_note::VerifierList::new(known)).unwrap();
        prop_assert_eq!((verified.len(), unknown.len()), (seeds.len(), 0));

        let head = tlog_tiles::Checkpoint::from_bytes(parsed.text()).unwrap();
        prop_assert_eq!(head.origin(), format!("{ORIGIN}/{epoch}"));
        prop_assert_eq!((head.size(), head.hash().0, head.extension()), (size, root, ""));

        // And so do we, whichever of the keys is known.
        for key in verifiers(&keys, epoch) {
            let opened = open(&note, &[key]).unwrap();
            prop_assert_eq!(opened, Checkpoint { origin: keys.origin(epoch), size, root });
        }
    }

    #[test]
    fn we_open_what_the_other_implementation_signs(size: u64, root: [u8; 32], extension in "([a-zA-Z0-9é ]{1,20}\n){0,3}") {
        let head = tlog_tiles::Checkpoint::new("log.example/7", size, tlog_tiles::Hash(root), &extension).unwrap();
        let text = String::from_utf8(head.to_bytes()).unwrap();
        let note = signed_by_the_other(9, "log.example/7", &text);
        let want = Checkpoint { origin: "log.example/7".to_owned(), size, root };
        prop_assert_eq!(open(&note, &verifier(9, "log.example/7")), Ok(want));
    }

    /// Whatever one byte is changed to, the note does not open, or opens as what was signed.
    #[test]
    fn a_changed_byte_never_opens_as_something_else(at: prop::sample::Index, byte in 0x0a..0x7f_u8) {
        let keys = keys(&[1, 2]);
        let note = keys.sign(1, 70_000, &ROOT);
        let mut bytes = note.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(changed) = String::from_utf8(bytes)
            && let Ok(opened) = open(&changed, &verifiers(&keys, 1))
        {
            prop_assert_eq!(opened, open(&note, &verifiers(&keys, 1)).unwrap());
        }
    }
}

#[test]
fn a_checkpoint_of_gos_checksum_database_opens() {
    let key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let signature =
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=";
    let note =
        |size: &str| format!("go.sum database tree\n{size}\n{root}\n\n\u{2014} sum.golang.org {signature}\n");
    let known = VerifierKey::parse(key).unwrap();
    assert_eq!(known.to_string(), key);
    assert_eq!(known.name(), "sum.golang.org");
    let opened = open(&note("20852163"), std::slice::from_ref(&known)).unwrap();
    assert_eq!(opened.origin, "go.sum database tree");
    assert_eq!((opened.size, STANDARD.encode(opened.root).as_str()), (20_852_163, root));
    let name = known.name().to_owned();
    assert_eq!(open(&note("20852164"), &[known]), Err(NoteError::NotAuthentic { name }));
}

#[test]
fn a_roll_over_is_a_time_of_two_signatures() {
    let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
    let [old_note, both_note, new_note] = [&old, &both, &new].map(|keys| keys.sign(1, 5, &ROOT));
    assert_eq!(both_note.lines().count(), old_note.lines().count() + 1);
    let [old, new] = [verifiers(&old, 1), verifiers(&new, 1)];
    assert_eq!(verifiers(&both, 1), [new.clone(), old.clone()].concat());
    assert!(open(&old_note, &old).is_ok() && open(&both_note, &old).is_ok());
    assert!(open(&both_note, &new).is_ok() && open(&new_note, &new).is_ok());
    assert_eq!(open(&new_note, &old), Err(NoteError::NotSigned { known: 1 }));
    assert_eq!(open(&old_note, &new), Err(NoteError::NotSigned { known: 1 }));
    assert_eq!(open(&new_note, &[]), Err(NoteError::NotSigned { known: 0 }));
}

#[test]
fn an_epochs_keys_open_no_other_epochs_checkpoint() {
    let keys = keys(&[1]);
    assert_eq!(keys.origin(3), "keyward.invalid/3f9c2a/3");
    let note = keys.sign(3, 5, &ROOT);
    assert!(open(&note, &verifiers(&keys, 3)).is_ok());
    assert_eq!(open(&note, &verifiers(&keys, 4)), Err(NoteError::NotSigned { known: 1 }));
}

/// Each is a note with one fault, and a key that would open it without.
#[test]
fn every_broken_rule_is_named() {
    let keys = keys(&[1]);
    let known = verifiers(&keys, 1);
    let note = keys.sign(1, 5, &ROOT);
    let (text, line) = note.rsplit_once("\n\n").unwrap();
    let encoded = line.trim_end().rsplit_once(' ').unwrap().1;
    let name = keys.origin(1);
    let forged = STANDARD.encode([&known[0].id(), [7; 64].as_slice()].concat());
    let short = STANDARD.encode([&known[0].id(), [7; 63].as_slice()].concat());
    let of_others = |lines: usize| "\u{2014} other AAAAAAA=\n".repeat(lines);

    let form = [
        "".to_owned(),
        text.to_owned(),
        format!("{text}\n"),
        format!("{text}\n\n"),
        format!("{text}\n\n\n"),
        format!("{text}\n{line}"),
        note.trim_end().to_owned(),
        format!("{note}\n"),
        format!("\n{line}"),
    ];
    for note in form {
        assert_eq!(open(&note, &known), Err(NoteError::Form), "{note:?}");
    }
    let lines = [
        format!("- {name} {encoded}"),
        format!("\u{2014}{name} {encoded}"),
        format!("\u{2014} {encoded}"),
        format!("\u{2014}  {encoded}"),
        format!("\u{2014} {name}  {encoded}"),
        format!("\u{2014} {name} {encoded} "),
        format!("\u{2014} {name} {encoded}="),
        format!("\u{2014} a+b {encoded}"),
        format!("\u{2014} a\u{a0}b {encoded}"),
        format!("\u{2014} {name} AAAAAA=="),
        format!("\u{2014} {name} AAAA"),
        format!("\u{2014} {name} "),
    ];
    for line in lines {
        let note = format!("{note}{line}\n");
        assert_eq!(open(&note, &known), Err(NoteError::SignatureLine { line: 2 }), "{note:?}");
    }
    let not_authentic = NoteError::NotAuthentic { name: name.clone() };
    let table = [
        (note.replace("\n5\n", "\n6\n"), not_authentic.clone()),
        (format!("{text}\n\n\u{2014} {name} {forged}\n"), not_authentic.clone()),
        (format!("{text}\n\n\u{2014} {name} {short}\n"), not_authentic.clone()),
        // One that holds does not make up for one that does not.
        (format!("{note}\u{2014} {name} {forged}\n"), not_authentic.clone()),
        (format!("\u{2014} {name} {forged}\n{note}"), not_authentic),
        (format!("{text}\n\n\u{2014} other {encoded}\n"), NoteError::NotSigned { known: 1 }),
        (format!("{text}\n\n\u{2014} {name} AAAA{}\n", &encoded[4..]), NoteError::NotSigned { known: 1 }),
        (format!("{note}{}", of_others(SIGNATURES_MAX)), NoteError::Signatures { lines: SIGNATURES_MAX + 1 }),
        (note.replace('\n', "\r\n"), NoteError::Control { byte: b'\r' }),
        (note.replace("5", "\t5"), NoteError::Control { byte: b'\t' }),
        (note.replace("5", "\0"), NoteError::Control { byte: 0 }),
        ("x".repeat(NOTE_BYTES_MAX), NoteError::Form),
        ("x".repeat(NOTE_BYTES_MAX + 1), NoteError::Length { bytes: NOTE_BYTES_MAX + 1 }),
    ];
    for (note, want) in table {
        assert_eq!(open(&note, &known), Err(want), "{note:?}");
    }
    assert!(open(&format!("{note}{}", of_others(SIGNATURES_MAX - 1)), &known).is_ok());
    assert!(open(&format!("{text}\n\n{}{line}", of_others(2)), &known).is_ok());
}

/// Texts that are signed as they stand, so that only their form is at fault.
#[test]
fn a_checkpoint_has_one_form() {
    let root = STANDARD.encode(ROOT);
    assert_eq!(open_text(&format!("o\n0\n{root}\n")).unwrap().size, 0);
    assert_eq!(open_text(&format!("o p\n{}\n{root}\nmore\n", u64::MAX)).unwrap().size, u64::MAX);
    let table = [
        (format!("\n5\n{root}\n"), NoteError::Origin),
        ("o\n".to_owned(), NoteError::Size),
        (format!("o\n\n{root}\n"), NoteError::Size),
        (format!("o\n05\n{root}\n"), NoteError::Size),
        (format!("o\n+5\n{root}\n"), NoteError::Size),
        (format!("o\n-5\n{root}\n"), NoteError::Size),
        (format!("o\n5 \n{root}\n"), NoteError::Size),
        (format!("o\n18446744073709551616\n{root}\n"), NoteError::Size),
        ("o\n5\n".to_owned(), NoteError::Root),
        ("o\n5\n\n".to_owned(), NoteError::Root),
        (format!("o\n5\n{root} \n"), NoteError::Root),
        (format!("o\n5\n{}\n", root.trim_end_matches('=')), NoteError::Root),
        (format!("o\n5\n{}\n", STANDARD.encode([1; 31])), NoteError::Root),
        (format!("o\n5\n{}\n", STANDARD.encode([1; 33])), NoteError::Root),
        (format!("o\n5\n{root}\n\n"), NoteError::Extension),
        (format!("o\n5\n{root}\nmore\n\nmore\n"), NoteError::Extension),
    ];
    for (text, want) in table {
        assert_eq!(open_text(&text), Err(want), "{text:?}");
    }
}

#[test]
fn a_verifier_key_has_one_form() {
    let key = keys(&[1]).verifier_keys(1).remove(0);
    let (rest, encoded) = key.split_at(key.find('+').unwrap() + 10);
    let (name, id) = rest.split_once('+').unwrap();
    let id = id.trim_end_matches('+');
    assert_eq!(VerifierKey::parse(&key).unwrap().to_string(), key);
    let shapes = [
        String::new(),
        name.to_owned(),
        format!("{name}+{encoded}"),
        format!("+{id}+{encoded}"),
        format!("a b+{id}+{encoded}"),
        format!("a\u{1b}b+{id}+{encoded}"),
        format!("{name}+{}+{encoded}", &id[1..]),
        format!("{name}+{}+{encoded}", "ABCDEF01"),
        format!("{name}+{id}+"),
        format!("{key} "),
        format!("{key}="),
    ];
    for text in shapes {
        assert_eq!(VerifierKey::parse(&text), Err(VerifierKeyError::Shape), "{text:?}");
    }
    let with_key = |bytes: &[u8]| VerifierKey::parse(&format!("{name}+{id}+{}", STANDARD.encode(bytes)));
    let name = name.to_owned();
    assert_eq!(with_key(&[4; 33]), Err(VerifierKeyError::Type { name: name.clone(), found: 4 }));
    assert_eq!(with_key(&[1; 32]), Err(VerifierKeyError::Key { name: name.clone() }));
    // The neutral element, under which a signature that anybody can make holds for every message.
    let weak = [[ED25519, 1].as_slice(), &[0; 31]].concat();
    assert_eq!(with_key(&weak), Err(VerifierKeyError::Key { name }));
    assert_eq!(
        VerifierKey::parse(&format!("b+{id}+{encoded}")),
        Err(VerifierKeyError::Id {
            name: "b".to_owned(),
            found: id.to_owned(),
            expected: crate::digest::hex(&verifier(1, "b")[0].id())
        })
    );
}

#[test]
fn a_generated_document_parses() {
    for origin in [ORIGIN, "x", r#"a"\b"#, &"o".repeat(ORIGIN_BYTES_MAX)] {
        let json = LogKeys::generate([1; 32], origin, CREATED).unwrap();
        let generated = LogKeys::parse(json.expose()).unwrap();
        let named = LogKeys::parse(&document(origin, &[1])).unwrap();
        assert_eq!(generated.verifier_keys(1), named.verifier_keys(1));
        assert_eq!(generated.sign(1, 2, &ROOT), named.sign(1, 2, &ROOT));
    }
    let generate = |seed, origin, created| LogKeys::generate(seed, origin, created).err().unwrap();
    assert!(matches!(generate([0; 32], ORIGIN, CREATED), LogKeysError::Ring(RingError::KeyZero { .. })));
    assert!(matches!(generate([1; 32], ORIGIN, "now"), LogKeysError::Ring(RingError::CreatedAt { .. })));
    assert_eq!(generate([1; 32], "", CREATED), LogKeysError::Origin);
}

#[test]
fn every_fault_of_log_keys_is_named() {
    let long = "o".repeat(ORIGIN_BYTES_MAX + 1);
    for origin in ["", "a b", "a+b", "ä", "a\n", "a\u{7f}", &long] {
        let error = LogKeys::parse(&document(origin, &[1])).err();
        assert_eq!(error, Some(LogKeysError::Origin), "{origin:?}");
    }
    let good = document(ORIGIN, &[1]);
    let shapes = [
        "",
        "{}",
        &good.replace("\"origin\"", "\"Origin\""),
        &good.replace("}]}", "}],\"more\":1}"),
        &good.replace("active", "retired"),
        r#"{"versions":[]}"#,
        r#"{"origin":"x"}"#,
    ];
    for json in shapes {
        assert!(matches!(LogKeys::parse(json), Err(LogKeysError::Shape { .. })), "{json}");
    }
    let versions = [
        (document(ORIGIN, &[]), RingError::NotOneActive { ring: "log_keys", active: 0 }),
        (document(ORIGIN, &[1, 1]), RingError::KeyRepeated { ring: "log_keys", first: 1, second: 2 }),
        (document(ORIGIN, &[0]), RingError::KeyZero { ring: "log_keys", version: 1 }),
    ];
    for (json, want) in versions {
        assert_eq!(LogKeys::parse(&json).err(), Some(LogKeysError::Ring(want)), "{json}");
    }
}

#[test]
fn no_error_shows_a_key() {
    let key = base64url::encode(&[0x5a; 32]);
    let good = document(ORIGIN, &[0x5a]);
    for json in [
        good.replace("active", &key),
        good.replace("\"v\":1", &format!("\"v\":\"{key}\"")),
        good.replace(&key, &format!("{key}=")),
        good.replace(ORIGIN, &format!("{key} ")),
        good.replace(CREATED, &key),
        format!("\"{key}\""),
    ] {
        let error = LogKeys::parse(&json).err().unwrap();
        assert!(!format!("{error} {error:?}").contains(&key[..12]), "{error:?}");
        assert!(error.to_string().contains("`log_keys`"), "{error}");
    }
}
