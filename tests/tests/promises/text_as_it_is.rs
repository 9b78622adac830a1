//! Any text is a name: it is stored as it is, and whoever shows it escapes it, so that it moves no terminal, splits no header, runs
//! in no page and makes no line of a log.

use keyward_e2e::admin::new_key;
use keyward_e2e::{Keyward, Request, json};

/// Hostile or merely foreign, each at most 128 bytes.
pub const NAMES: [&str; 9] = [
    "line\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "\u{1b}[31mred\u{1b}[0m\u{7}\u{9b}2J",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"},{\"id\":\"app_1\"",
    "nul\u{0}inside",
    "\u{202e}gnp.exe\u{2066}",
    "Zoë \u{1f511} \u{65e5}\u{672c}\u{8a9e}",
    "'; DROP TABLE spin_key_value; --",
    "${jndi:ldap://x} {{7*7}} %s%n $(reboot) `id`",
];

#[test]
fn stored_as_it_is_and_escaped_wherever_it_is_shown() {
    let keyward = Keyward::start();
    for name in NAMES {
        let created =
            keyward.as_root(Request::post("/v1/applications", &json!({ "name": name, "contacts": [name] })));
        let application = created.expect(201).text_at("/id");
        let shown = keyward.as_root(Request::get(&format!("/v1/applications/{application}"))).expect(200);
        assert_eq!(
            (shown.text_at("/name"), shown.text_at("/contacts/0")),
            (name.to_owned(), name.to_owned())
        );
        assert!(shown.body.iter().all(|byte| *byte >= b' '), "control characters are escaped in JSON");

        let mut key = new_key(&application, &["a:b"]);
        key["name"] = name.into();
        let issued = keyward.as_root(Request::post("/v1/keys", &key).field("user-agent", "a\tb")).expect(201);
        let claim =
            keyward.send(Request::get(&format!("/v1/claims/{}", issued.text_at("/claim/id")))).expect(200);
        assert_eq!(
            (claim.text_at("/key/name"), claim.text_at("/application/name")),
            (name.to_owned(), name.to_owned())
        );
        assert_eq!(claim.field("content-type"), Some("application/json"));
        assert_eq!(claim.field("x-content-type-options"), Some("nosniff"));

        let target = format!("/v1/keys/{}/revoke", issued.text_at("/key/id"));
        let revoked = keyward.as_root(Request::post(&target, &json!({ "reason": name }))).expect(200);
        let event = format!("/v1/audit/events/{}", revoked.text_at("/event"));
        assert_eq!(keyward.as_root(Request::get(&event)).expect(200).text_at("/reason"), name);
        let taken = keyward.as_root(Request::post("/v1/applications", &json!({ "name": name }))).expect(409);
        assert_eq!(taken.json()["code"], "name-taken");
        assert!(!taken.text().contains(name), "a refusal does not repeat it");
    }
    // A person's terminal, and a program's pipe.
    for arguments in [&["app", "list"][..], &["--json", "app", "list"], &["audit", "list"]] {
        let output = keyward.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let hostile = |c: char| {
            (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{2066}'
        };
        assert!(!text.contains(hostile), "{arguments:?}: {text:?}");
    }
    let log = keyward.log();
    assert!(!log.contains(['\u{1b}', '\r', '\u{202e}']) && !log.contains("Set-Cookie"), "{log}");
}
