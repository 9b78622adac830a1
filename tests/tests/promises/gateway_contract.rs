//! What a gateway of `docs/gateways` owes whoever puts it before a service, whichever program it is: nobody passes without Keyward's
//! yes, a refusal says what Keyward said, and the service learns who it is from nobody else. Each gateway's own file runs it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use keyward_e2e::admin::revoke;
use keyward_e2e::gateway::{Example, Gateway, Service, stand_in};
use keyward_e2e::{Keyward, Reply, Request, Setup, json, programs};

use crate::network_rules::bound_to;

/// A gateway before a service, and whom it asks.
struct Scene {
    gateway: Gateway,
    service: Service,
}

impl Scene {
    /// A refusal: it is told as one that nobody may keep, and the service has not seen the request.
    #[track_caller]
    fn refuses(&self, request: &Request, status: u16) -> Reply {
        let before = self.service.reached();
        let reply = self.gateway.ask(request).expect(status);
        assert_eq!(reply.field("cache-control"), Some("no-store"), "{}", request.line());
        assert_eq!(self.service.reached(), before, "{}: it reached the service", request.line());
        reply
    }

    /// The same for want of a verdict: the caller also learns when to try again.
    #[track_caller]
    fn has_no_verdict(&self, request: &Request) -> Reply {
        let reply = self.refuses(request, 503);
        assert!(reply.field("retry-after").is_some(), "{:?}", reply.fields);
        reply
    }
}

fn order(token: &str) -> Request {
    Request::get("/orders/1").bearer(token)
}

/// The identity that reached the service: every field that it could read as Keyward's, with underscores too.
fn identity(seen: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in seen.lines().filter_map(|line| line.split_once(':')) {
        let name = name.to_ascii_lowercase().replace('_', "-");
        if name.starts_with("keyward-") {
            found.entry(name).or_default().push(value.trim().to_owned());
        }
    }
    found
}

/// With the real Keyward behind it.
pub fn keeps_the_service_to_key_holders(example: &Example) {
    let keyward = Setup::new().variable("trusted_proxies", "127.0.0.1").start();
    let service = Service::start();
    let gateway = example.start(keyward.folder(), keyward.address(), service.address());
    let scene = Scene { gateway, service };
    let application = keyward.application("orders");
    let reader = keyward.holder(&application, &["orders:read"]);

    the_service_learns_who_it_is(&scene, &application, &reader.id, &reader.token);
    refusals_are_told_as_keyward_tells_them(&scene, &keyward, &application, &reader.token);
    nothing_slips_past(&scene, &reader.token);
    what_the_service_says_stays(&scene, &reader.token);
    the_callers_address_counts(&scene, &keyward, &application);

    // No verdict is kept, neither a yes nor a no.
    let disable = |disabled: bool| {
        let change = Request::patch(&format!("/v1/keys/{}", reader.id), &json!({ "disabled": disabled }));
        keyward.as_root(change).expect(200);
    };
    scene.gateway.ask(&order(&reader.token)).expect(200);
    disable(true);
    scene.refuses(&order(&reader.token), 401);
    disable(false);
    scene.gateway.ask(&order(&reader.token)).expect(200);

    keyward.plan_faults(&json!([{ "op": "get", "effect": "fail_before" }]));
    scene.has_no_verdict(&order(&reader.token));
    keyward.withdraw_faults();
    scene.gateway.ask(&order(&reader.token)).expect(200);

    keyward.as_root(revoke(&reader.id)).expect(200);
    scene.refuses(&order(&reader.token), 401);

    keyward.kill();
    scene.has_no_verdict(&order(&reader.token));
}

fn the_service_learns_who_it_is(scene: &Scene, application: &str, id: &str, token: &str) {
    let told = [
        ("keyward-key-id", id),
        ("keyward-key-version", "1"),
        ("keyward-application", application),
        ("keyward-environment", "live"),
        ("keyward-scopes", "orders:read"),
    ];
    let told: BTreeMap<_, _> = told.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
    let forged = |request: Request| {
        told.keys().fold(request, |request, name| {
            request
                .field(name, "forged")
                .field(&name.replace('-', "_"), "forged")
                .field(&name.to_ascii_uppercase(), "forged")
        })
    };
    let plain = order(token);
    let by_the_other_header = Request::get("/orders/1").field("X-API-Key", token);
    let with_a_body = Request::new("POST", "/orders/1").bearer(token).body("two pounds of tea");
    // What `Connection` names is for one hop: a gateway that believes it loses what it has just written.
    let dropping = order(token).field("Connection", "Keyward-Key-Id, keyward-scopes");
    for request in [plain, by_the_other_header, with_a_body.clone(), dropping] {
        for request in [forged(request.clone()), request] {
            let seen = scene.gateway.ask(&request).expect(200).text();
            assert_eq!(identity(&seen), told, "{seen}");
            assert!(!seen.contains(token), "the service sees who, not the key: {seen}");
        }
    }
    let seen = scene.gateway.ask(&with_a_body).text();
    assert!(seen.starts_with("POST /orders/1 ") && seen.ends_with("two pounds of tea"), "{seen}");
}

fn refusals_are_told_as_keyward_tells_them(scene: &Scene, keyward: &Keyward, application: &str, token: &str) {
    let writer = keyward.holder(application, &["orders:write"]).token;
    let invalid = "Bearer realm=\"keyward\", error=\"invalid_token\"";
    let scope = "Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"orders:read\"";
    let cases = [
        (Request::get("/orders/1"), 401, Some("Bearer realm=\"keyward\"")),
        (Request::get("/orders/1").field("Keyward-Key-Id", "forged"), 401, Some("Bearer realm=\"keyward\"")),
        (order("kw_live_nonsense"), 401, Some(invalid)),
        (order(&writer), 403, Some(scope)),
        (order(&writer).field("X-API-Key", token), 400, None),
    ];
    for (request, status, challenge) in cases {
        let reply = scene.refuses(&request, status);
        assert_eq!(reply.field("www-authenticate"), challenge);
        assert_eq!(reply.field("retry-after"), None, "it is of no use to try again");
    }
}

fn nothing_slips_past(scene: &Scene, token: &str) {
    let before = scene.service.reached();
    let refused = |request: &Request| {
        let status = scene.gateway.ask(request).status;
        assert!((300..500).contains(&status), "{}: {status}", request.line());
    };
    for target in [
        "/",
        "/orders",
        "//orders/1",
        "/orders//1",
        "/orders/../orders/1",
        "/x/../orders/1",
        "/orders/%2e%2e/orders/1",
        "/%6frders/1",
        "/orders%2f1",
        "/ORDERS/1",
    ] {
        for method in ["GET", "POST", "OPTIONS", "HEAD"] {
            refused(&Request::new(method, target));
        }
    }
    // A key for /orders/ opens nothing beside it, and no way to Keyward.
    for target in [
        "/",
        "/admin/1",
        "/orders/../admin/1",
        "/orders/%2e%2e/admin/1",
        "/orders/..%2fadmin/1",
        "/_keyward",
        "/no-verdict",
        "/v1/authorize",
        "/v1/authorize/orders/1",
    ] {
        refused(&Request::get(target).bearer(token));
    }
    assert_eq!(scene.service.reached(), before);
}

fn what_the_service_says_stays(scene: &Scene, token: &str) {
    for status in [201, 401, 403, 404, 429, 500, 502, 503] {
        let request = Request::get(&format!("/orders/{status}")).bearer(token);
        let reply = scene.gateway.ask(&request).expect(status);
        assert!(reply.text().starts_with("GET /orders/"), "{status}: {}", reply.text());
        assert_eq!((reply.field("cache-control"), reply.field("www-authenticate")), (None, None), "{status}");
    }
    let reply = scene.gateway.ask(&Request::get("/orders/hangup").bearer(token));
    assert!(reply.status >= 500 && !reply.text().contains("verdict"), "the service's fault, not Keyward's");
}

fn the_callers_address_counts(scene: &Scene, keyward: &Keyward, application: &str) {
    let [home, abroad, gateway] = ["127.0.0.3", "127.0.0.4", "127.0.0.1"];
    let at_home = bound_to(keyward, application, &[home]).token;
    let at_the_gateway = bound_to(keyward, application, &[gateway]).token;
    let ask = |from: &str, request: &Request| scene.gateway.ask_from(from.parse().unwrap(), request).status;
    assert_eq!(ask(home, &order(&at_home)), 200);
    let claims_to_be_home = |request: Request| {
        [request.clone(), request.clone().field("X-Forwarded-For", home), request.field("X-Real-IP", home)]
    };
    for request in claims_to_be_home(order(&at_home)) {
        assert_eq!(ask(abroad, &request), 403);
    }
    // Whoever could have the address dropped on the way to Keyward would be taken for the gateway itself.
    let dropping = order(&at_the_gateway).field("Connection", "X-Forwarded-For");
    for request in [order(&at_the_gateway), dropping.clone(), dropping.field("X-Forwarded-For", gateway)] {
        let status = ask(abroad, &request);
        assert!(matches!(status, 400 | 403), "{status}");
    }
}

/// With a Keyward that says anything at all.
pub fn maps_every_verdict(example: &Example) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    let gateway = example.start(folder.path(), stand_in(), service.address());
    let scene = Scene { gateway, service };
    let says = |verdict: &str| Request::get("/orders/1").field("X-API-Key", verdict);

    scene.gateway.ask(&says("204")).expect(200);
    for status in [400, 401, 403, 429] {
        let reply = scene.refuses(&says(&status.to_string()), status);
        if status == 429 {
            assert_eq!(reply.field("retry-after"), Some("7"), "Keyward knows when");
        }
    }
    for verdict in ["500", "502", "503", "504", "hangup", "nonsense"] {
        scene.has_no_verdict(&says(verdict));
    }
    let before = scene.service.reached();
    for odd in ["302", "404", "418"] {
        assert!(scene.gateway.ask(&says(odd)).status >= 300, "{odd}");
    }
    assert_eq!(scene.service.reached(), before);

    let asked = Instant::now();
    scene.has_no_verdict(&says("silent"));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[test]
fn the_table_names_the_versions_that_are_tested() {
    let table = std::fs::read_to_string(programs::root().join("docs/gateways/README.md")).unwrap();
    for name in ["envoy", "traefik"] {
        let pins = programs::root().join("tests/python").join(name).with_extension("txt");
        let pins = std::fs::read_to_string(pins).unwrap();
        let version = pins.split_once("==").unwrap().1.split_whitespace().next().unwrap();
        assert!(table.contains(version), "docs/gateways/README.md does not name {name} {version}");
    }
}
