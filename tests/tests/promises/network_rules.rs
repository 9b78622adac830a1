//! A network rule sees the real peer, whatever a caller writes into its headers; only a proxy that is trusted by name may speak for
//! somebody else, and only for its direct client.

use keyward_e2e::admin::{Holder, Issued, authorize, new_key};
use keyward_e2e::{Keyward, Request, Setup, json};

/// A claimed key with a network rule.
pub(crate) fn bound_to(keyward: &Keyward, application: &str, networks: &[&str]) -> Holder {
    let mut key = new_key(application, &["orders:read"]);
    key["rules"] = json!({ "network": networks });
    keyward.claim(&Issued::of(&keyward.as_root(Request::post("/v1/keys", &key)).expect(201)))
}

/// What a caller may write to look like another.
const FORGED: [&[(&str, &str)]; 6] = [
    &[],
    &[("spin-client-addr", "10.1.2.3:4711")],
    &[("x-forwarded-for", "10.1.2.3")],
    &[("x-forwarded-for", "10.1.2.3, 10.1.2.4"), ("forwarded", "for=10.1.2.3")],
    &[("spin-client-addr", "10.1.2.3:1"), ("Spin-Client-Addr", "10.1.2.3:2"), ("x-real-ip", "10.1.2.3")],
    &[("spin-client-addr", "0.0.0.0:0"), ("x-forwarded-for", "10.1.2.3")],
];

#[test]
fn forged_headers_move_nobody() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let elsewhere = bound_to(&keyward, &application, &["10.0.0.0/8"]);
    let here = bound_to(&keyward, &application, &["127.0.0.0/8", "10.0.0.0/30"]);
    for forged in FORGED {
        let with = |token: &str| {
            forged.iter().fold(authorize(token, ""), |request, (name, value)| request.field(name, value))
        };
        let refused = keyward.send(with(&elsewhere.token)).expect(403);
        assert_eq!(refused.field("keyward-code"), Some("FORBIDDEN"), "{forged:?}");
        keyward.send(with(&here.token)).expect(204);
    }
    // An admin's key, too; and the log names the real peer.
    let request = Request::post("/v1/applications", &json!({ "name": "x" }))
        .field("x-forwarded-for", "10.1.2.3")
        .field("spin-client-addr", "10.1.2.3:1");
    let event = keyward.as_root(request).expect(201).text_at("/event");
    let event = keyward.as_root(Request::get(&format!("/v1/audit/events/{event}"))).expect(200);
    assert_eq!(event.text_at("/source/client_addr"), "127.0.0.1");

    // Whoever asks on behalf of a caller says where that caller is, or else there is no address.
    let verify = |address: Option<&str>| {
        let mut body = json!({ "token": elsewhere.token });
        if let Some(address) = address {
            body["client_ip"] = address.into();
        }
        keyward.as_root(Request::post("/v1/keys/verify", &body)).expect(200).json()["code"].clone()
    };
    assert_eq!((verify(Some("10.9.9.9")), verify(Some("127.0.0.1"))), (json!("VALID"), json!("FORBIDDEN")));
    assert_eq!((verify(Some("::ffff:10.9.9.9")), verify(None)), (json!("VALID"), json!("FORBIDDEN")));
}

#[test]
fn a_trusted_proxy_speaks_for_its_direct_client() {
    let keyward = Setup::new().variable("trusted_proxies", "127.0.0.1").start();
    let application = keyward.application("orders");
    let holder = bound_to(&keyward, &application, &["10.0.0.0/8"]);
    let cases: [(&[&str], u16); 7] = [
        (&["10.1.2.3"], 204),
        (&["192.0.2.1, 10.1.2.3"], 204),
        // The rightmost entry is what the proxy saw; what stands left of it the client may have written.
        (&["10.1.2.3, 192.0.2.1"], 403),
        (&["10.1.2.3", "192.0.2.1"], 403),
        (&["10.1.2.3, 127.0.0.1"], 204),
        (&["10.1.2.3, nonsense"], 403),
        (&[], 403),
    ];
    for (forwarded, status) in cases {
        let request = forwarded
            .iter()
            .fold(authorize(&holder.token, ""), |request, value| request.field("x-forwarded-for", value));
        assert_eq!(keyward.send(request).status, status, "{forwarded:?}");
    }
}
