//! A sealed record belongs to its place: copied to another key, cut, flipped or put back from yesterday's place it opens for nobody,
//! and is said to be damaged where somebody asks.

use keyward_e2e::admin::hex_of;
use keyward_e2e::{Keyward, Request, json};

#[test]
fn what_is_moved_or_changed_does_not_open() {
    let keyward = Keyward::start();
    let (strong_application, weak_application) = (keyward.application("strong"), keyward.application("weak"));
    let strong = keyward.holder(&strong_application, &["*"]);
    let weak = keyward.holder(&weak_application, &["orders:read"]);
    let record = |id: &str| format!("m:{}", hex_of(id));
    let original = keyward.stored(&record(&weak.id)).unwrap();
    let of_strong = keyward.stored(&record(&strong.id)).unwrap();
    let root_id = keyward.events("action=keyward.init")[0]["target"]["key"].as_str().unwrap().to_owned();
    let of_root = keyward.stored(&record(&root_id)).unwrap();
    let flipped = |at: usize| {
        let mut bytes = original.clone();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        ("another key's record", of_strong.clone()),
        ("root's record", of_root),
        ("the last bit flipped", flipped(usize::MAX)),
        ("a bit in the middle flipped", flipped(original.len() / 2)),
        ("cut", original[..original.len() - 1].to_vec()),
        ("longer", [original.as_slice(), b"\0"].concat()),
        ("empty", Vec::new()),
    ];
    for (what, value) in &cases {
        keyward.tamper(&record(&weak.id), value);
        assert_eq!(keyward.authorizes(&weak.token), 401, "{what}");
        assert_eq!(keyward.authorizes(&strong.token), 204, "{what}: others are not touched");
        let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", weak.id)));
        assert_eq!((shown.status, shown.json()["code"].as_str()), (500, Some("record-damaged")), "{what}");
    }
    keyward.tamper(&record(&weak.id), &original);
    assert_eq!(keyward.authorizes(&weak.token), 204);

    // A ring version or a format that this process does not know is neither yes nor no: it may be tomorrow's.
    let mut of_tomorrow = original.clone();
    of_tomorrow[1..5].copy_from_slice(&[0, 0, 0, 77]);
    for unknown in [of_tomorrow, flipped(0), br#"{"scopes":["*"]}"#.to_vec()] {
        keyward.tamper(&record(&weak.id), &unknown);
        assert_eq!(keyward.authorizes(&weak.token), 503);
    }
    keyward.tamper(&record(&weak.id), &original);

    // Damage is no shelter: such a key can still be revoked, and then stays dead when its record comes back.
    keyward.tamper(&record(&weak.id), &of_strong);
    let target = format!("/v1/keys/{}/revoke", weak.id);
    keyward.as_root(Request::post(&target, &json!({ "reason": "its record is damaged" }))).expect(200);
    keyward.tamper(&record(&weak.id), &original);
    assert_eq!(keyward.authorizes(&weak.token), 401);

    // A flag that is gone denies, as does one that says something else; a tombstone moved to a living key kills, and that is all.
    let flag = format!("k:{}", hex_of(&strong.id));
    let live = keyward.stored(&flag).unwrap();
    for value in [&b""[..], b"live", b"\x02"] {
        keyward.tamper(&flag, value);
        assert_eq!(keyward.authorizes(&strong.token), 401, "{value:?}");
    }
    keyward.tamper(&flag, &live);
    assert_eq!(keyward.authorizes(&strong.token), 204);
}
