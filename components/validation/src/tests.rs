//! Both faces against a store in memory: what is answered, what is read, what is counted.

use crate::limits::Counters;
use crate::{authorize, key_check};
use keyward_crypto::{Peppers, Ring, RingDocument, Sealer};
use keyward_domain::application::{Application, Status};
use keyward_domain::event::EventId;
use keyward_domain::key::{Environment, Key, Rules, Version};
use keyward_domain::limit::{Limit, OnOutage, Window};
use keyward_domain::network::NetworkRule;
use keyward_domain::ports::Clock;
use keyward_domain::scope::ScopeSet;
use keyward_domain::{ApplicationId, Code, KeyId, RequestId, Result, Timestamp, token};
use keyward_guest::admin::Trust;
use keyward_guest::{Incoming, Method, Response};
use keyward_records::{KvCount, KvRead, LIVE, StoreError, names, seal};
use keyward_verify::Leases;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);
const EVENT: EventId = EventId { epoch: 1, seq: 1 };
const PARTNER: ApplicationId = ApplicationId::from_bytes([2; 16]);
const OTHER: ApplicationId = ApplicationId::from_bytes([3; 16]);

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn monotonic_ms(&self) -> u64 {
        // Each test has its own world: nothing held by another may be believed.
        thread_local!(static MS: Cell<u64> = const { Cell::new(0) });
        MS.with(|ms| ms.replace(ms.get() + 1_000))
    }
    async fn sleep_ms(&self, _: u64) {}
}

struct World {
    values: RefCell<HashMap<String, Vec<u8>>>,
    reads: RefCell<Vec<String>>,
    silent: Cell<bool>,
    records: Sealer,
    peppers: Peppers,
    no_proxies: NetworkRule,
    counts: RefCell<HashMap<String, i64>>,
    counts_are_silent: Cell<bool>,
    leases: Rc<Leases>,
}

impl KvCount for World {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        if self.counts_are_silent.get() {
            return Err(StoreError);
        }
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(key.to_owned()).or_default();
        *count += delta;
        Ok(*count)
    }
}

impl KvRead for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.borrow_mut().push(key.to_owned());
        if self.silent.get() { Err(StoreError) } else { Ok(self.values.borrow().get(key).cloned()) }
    }
}

fn ring(byte: u8) -> String {
    RingDocument::generate([byte; 32], "2026-01-31T08:00:00Z").expect("ring").to_json().expose().to_owned()
}

impl World {
    fn new() -> Self {
        let world = Self {
            values: RefCell::default(),
            reads: RefCell::default(),
            silent: Cell::new(false),
            records: Sealer::new(Ring::parse("records_keyring", &ring(1)).expect("ring")),
            peppers: Peppers::parse(&ring(2)).expect("peppers"),
            no_proxies: NetworkRule::default(),
            counts: RefCell::default(),
            counts_are_silent: Cell::new(false),
            leases: Rc::default(),
        };
        for id in [ApplicationId::KEYWARD, PARTNER, OTHER] {
            world.limit_application(id, Vec::new());
        }
        world
    }

    fn limit_application(&self, id: ApplicationId, limits: Vec<Limit>) {
        let application =
            Application { id, status: Status::Active, generation: 1, revision: 1, event: EVENT, limits };
        let sealed = seal(&self.records, &application, [0; 12]).expect("seals");
        self.put(&names::application(id), sealed);
    }

    fn counters(&self) -> Counters<&Self> {
        Counters::new(self, Rc::clone(&self.leases))
    }

    fn put(&self, key: &str, value: Vec<u8>) {
        self.values.borrow_mut().insert(key.to_owned(), value);
    }

    /// Stores a live key, changed as wanted, and gives its token.
    fn issue(&self, byte: u8, scopes: &[&str], change: impl FnOnce(&mut Key)) -> String {
        let mut key = Key {
            name: "n".into(),
            scopes: ScopeSet::parse("scopes", scopes).expect("scopes"),
            event: EVENT,
            ..Key::new(KeyId::from_bytes([byte; 16]), PARTNER, NOW)
        };
        change(&mut key);
        let token = token::render(&key.prefix, key.environment, key.id.as_bytes(), 1, &[byte; 32]);
        let mac = self.peppers.mac(1, token.as_bytes()).expect("pepper");
        key.versions = vec![Version { number: 1, pepper: 1, mac, claimed_at: NOW }];
        self.put(&names::key(key.id), seal(&self.records, &key, [byte; 12]).expect("seals"));
        self.put(&names::flag(key.id), LIVE.to_vec());
        token
    }

    fn trust(&self) -> Trust<'_> {
        Trust { records: &self.records, peppers: &self.peppers, trusted_proxies: &self.no_proxies }
    }

    /// What `/v1/authorize` answers, and whether use is counted as accepted or refused.
    fn authorize(&self, target: &str, fields: &[(&str, &str)]) -> Result<(Response, bool)> {
        self.reads.borrow_mut().clear();
        let incoming = request(Method::Get, target, fields, "");
        let answered = now(authorize::answer(&incoming, self, self.trust(), &self.counters(), &Fixed));
        answered.map(|(response, counted)| (response, counted.is_some()))
    }

    fn with_token(&self, target: &str, token: &str) -> (Response, bool) {
        self.authorize(target, &[("x-api-key", token)]).expect("answered")
    }

    fn check(&self, admin: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        let bearer = format!("Bearer {admin}");
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let incoming = request(Method::Post, "/v1/keys/verify", &fields, &body.to_string());
        let (response, _) = now(key_check::answer(&incoming, self, self.trust(), &self.counters(), &Fixed))?;
        assert_eq!(response.status(), 200);
        Ok(serde_json::from_slice(response.body()).expect("JSON"))
    }
}

fn request(method: Method, target: &str, fields: &[(&str, &str)], body: &str) -> Incoming {
    let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
    Incoming::from_parts(RequestId::from_bytes([1; 16]), method, target, fields, body.as_bytes().to_vec())
}

/// A store in memory never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("waits"),
    }
}

fn told(response: &Response) -> (u16, &str, &str) {
    let field = |name| response.field(name).unwrap_or_default();
    (response.status(), field("keyward-code"), field("www-authenticate"))
}

const INVALID: &str = "Bearer realm=\"keyward\", error=\"invalid_token\"";

#[test]
fn a_good_token_is_answered_in_headers_alone() {
    let world = World::new();
    let token = world.issue(7, &["orders:read", "orders:write"], |_| ());
    let query = "scope=orders:read&scope=orders:write&environment=live&page=2";
    for below in ["/", "/orders/7"] {
        let (response, _) = world.with_token(&format!("/v1/authorize{below}?{query}"), &token);
        assert_eq!((response.status(), response.body()), (200, &b""[..]), "what Envoy takes for a yes");
    }
    let (response, counted) = world.with_token(&format!("/v1/authorize?{query}"), &token);
    assert_eq!((response.status(), response.body(), counted), (204, &b""[..], true));
    for (name, value) in [
        ("keyward-key-id", KeyId::from_bytes([7; 16]).to_string()),
        ("keyward-key-version", "1".into()),
        ("keyward-application", PARTNER.to_string()),
        ("keyward-environment", "live".into()),
        ("keyward-scopes", "orders:read orders:write".into()),
        ("cache-control", "no-store".into()),
    ] {
        assert_eq!(response.field(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(response.field("keyward-code"), None);
}

#[test]
fn garbage_is_refused_without_a_read_or_a_count() {
    let world = World::new();
    let token = world.issue(7, &[], |_| ());
    let mistyped = token.replacen('7', "8", 1) + "x";
    let basic = [("authorization", "Basic a2V5")];
    for (fields, challenge) in [
        (&[][..], "Bearer realm=\"keyward\""),
        (&basic, "Bearer realm=\"keyward\""),
        (&[("x-api-key", mistyped.as_str())], INVALID),
        (&[("authorization", "Bearer \0\u{1b}")], INVALID),
    ] {
        let (response, counted) = world.authorize("/v1/authorize", fields).expect("answered");
        assert_eq!(told(&response), (401, "NOT_FOUND", challenge));
        assert!(!counted && world.reads.borrow().is_empty());
    }
}

#[test]
fn an_unknown_id_and_a_wrong_secret_are_told_alike() {
    let world = World::new();
    world.issue(7, &[], |_| ());
    let answers = [7_u8, 8].map(|id| {
        let forged = token::render("kw", Environment::Live, &[id; 16], 1, &[99; 32]);
        let (response, counted) = world.with_token("/v1/authorize", &forged);
        assert!(!counted);
        let reads =
            world.reads.borrow().iter().map(|read| read.get(..2).map(str::to_owned)).collect::<Vec<_>>();
        (response, reads)
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(told(&answers[0].0), (401, "NOT_FOUND", INVALID));
    assert_eq!(answers[0].1.len(), 3);
}

#[test]
fn only_a_right_secret_learns_why() {
    let world = World::new();
    let scope = "Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"orders:write\"";
    let plain = "Bearer realm=\"keyward\"";
    let home = Rules { network: NetworkRule::parse("network", &["192.0.2.0/24"]).expect("network") };
    type Change = Box<dyn FnOnce(&mut Key)>;
    let cases: Vec<(&str, Change, (u16, &str, &str))> = vec![
        ("?scope=orders:read&scope=orders:write", Box::new(|_| ()), (403, "INSUFFICIENT_SCOPE", scope)),
        ("?environment=test", Box::new(|_| ()), (403, "FORBIDDEN", plain)),
        ("?application=app_0000000000000000000000", Box::new(|_| ()), (403, "FORBIDDEN", plain)),
        ("", Box::new(move |key| key.rules = home), (403, "FORBIDDEN", plain)),
        ("", Box::new(|key| key.expires_at = Some(NOW)), (401, "EXPIRED", INVALID)),
        ("", Box::new(|key| key.disabled = true), (401, "DISABLED", INVALID)),
    ];
    for (index, (query, change, expected)) in cases.into_iter().enumerate() {
        let token = world.issue(20 + u8::try_from(index).expect("few"), &["orders:read"], change);
        let (response, counted) = world.with_token(&format!("/v1/authorize{query}"), &token);
        assert_eq!(told(&response), expected, "{query}");
        assert!(counted, "a refused use of a known key is counted");
    }
    let token = world.issue(50, &[], |_| ());
    world.put(&names::flag(KeyId::from_bytes([50; 16])), b"x".to_vec());
    assert_eq!(told(&world.with_token("/v1/authorize", &token).0), (401, "REVOKED", INVALID));
    let token = world.issue(51, &[], |_| ());
    world.put(&names::version_kill(KeyId::from_bytes([51; 16]), 1), b"x".to_vec());
    assert_eq!(told(&world.with_token("/v1/authorize", &token).0), (401, "REVOKED", INVALID));
}

#[test]
fn what_is_wrong_with_the_request_is_400_and_a_silent_store_503() {
    let world = World::new();
    let token = world.issue(7, &[], |_| ());
    let bearer = format!("Bearer {token}");
    let code =
        |target: &str, fields: &[(&str, &str)]| world.authorize(target, fields).map_err(|e| e.code).err();
    let both = [("authorization", bearer.as_str()), ("x-api-key", token.as_str())];
    assert_eq!(code("/v1/authorize", &both), Some(Code::MisplacedCredential));
    assert_eq!(code(&format!("/v1/authorize?q={token}"), &[]), Some(Code::MisplacedCredential));
    assert_eq!(code(&format!("/v1/authorize/{token}"), &both[..1]), Some(Code::MisplacedCredential));
    for query in
        ["scope=A", "scope=", "environment=prod", "application=x", "environment=live&environment=test", "a=%"]
    {
        assert_eq!(
            code(&format!("/v1/authorize?{query}"), &both[..1]),
            Some(Code::InvalidParameter),
            "{query}"
        );
    }
    world.silent.set(true);
    assert_eq!(code("/v1/authorize", &both[..1]), Some(Code::StoreUnavailable));
}

#[test]
fn whoever_holds_the_scope_may_ask_about_a_token() {
    let world = World::new();
    let admin = |byte, scopes: &[&str]| {
        world.issue(byte, scopes, |key| {
            key.application = ApplicationId::KEYWARD;
            key.principal = Some("ops".into());
        })
    };
    let (all, narrowed, none) = (
        admin(100, &["keys:*"]),
        admin(101, &[&format!("keys:verify@{PARTNER}")]),
        admin(102, &["keys:read"]),
    );
    let good = world.issue(7, &["orders:read"], |key| key.name = "<b>\r\n".into());
    let others = world.issue(8, &["orders:read"], |key| key.application = OTHER);
    let known = serde_json::json!({
        "valid": true, "code": "VALID", "application": {"id": PARTNER}, "scopes": ["orders:read"], "limits": [],
        "key": {"id": KeyId::from_bytes([7; 16]), "name": "<b>\r\n", "environment": "live", "version": 1, "expires_at": null, "rotate_by": null},
    });
    let nothing = serde_json::json!({"valid": false, "code": "NOT_FOUND", "key": null, "application": null, "scopes": [], "limits": []});
    for asking in [&all, &narrowed] {
        assert_eq!(world.check(asking, &serde_json::json!({"token": good})), Ok(known.clone()));
        assert_eq!(world.check(asking, &serde_json::json!({"token": "x"})), Ok(nothing.clone()));
    }
    assert_eq!(
        world.check(&narrowed, &serde_json::json!({"token": others})),
        Ok(nothing),
        "another tenant's key"
    );
    let lacking =
        world.check(&all, &serde_json::json!({"token": good, "scopes": ["orders:write"]})).expect("answered");
    assert_eq!((&lacking["valid"], &lacking["code"]), (&false.into(), &"INSUFFICIENT_SCOPE".into()));

    let code = |token: &str, body| world.check(token, &body).map_err(|e| e.code).err();
    let body = serde_json::json!({"token": good});
    assert_eq!(code(&none, body.clone()), Some(Code::InsufficientScope));
    assert_eq!(
        code(&good, body.clone()),
        Some(Code::Unauthenticated),
        "a partner's key is no administrator's"
    );
    assert_eq!(code("", body), Some(Code::Unauthenticated));
    for bad in [
        serde_json::json!({}),
        serde_json::json!({"token": 1}),
        serde_json::json!({"token": good, "scopes": ["A"]}),
        serde_json::json!({"token": good, "client_ip": "home"}),
        serde_json::json!({"token": good, "more": 1}),
    ] {
        assert_eq!(code(&all, bad.clone()), Some(Code::InvalidField), "{bad}");
    }
}

#[test]
fn the_network_rule_sees_the_address_that_the_caller_of_verify_names() {
    let world = World::new();
    let admin = world.issue(100, &["*"], |key| key.application = ApplicationId::KEYWARD);
    let rule = NetworkRule::parse("network", &["192.0.2.0/24"]).expect("network");
    let token = world.issue(7, &[], |key| key.rules.network = rule);
    for (address, code) in [
        (Some("192.0.2.9"), "VALID"),
        (Some("::ffff:192.0.2.9"), "VALID"),
        (Some("198.51.100.1"), "FORBIDDEN"),
        (None, "FORBIDDEN"),
    ] {
        let told = world.check(&admin, &serde_json::json!({"token": token, "client_ip": address}));
        assert_eq!(told.expect("answered")["code"], code, "{address:?}");
    }
}

fn limit(name: &str, amount: u64, window: Window, on_outage: OnOutage) -> Limit {
    Limit { name: name.to_owned(), amount, window, on_outage }
}

#[test]
fn limits_are_told_and_the_first_that_is_used_up_refuses() {
    let world = World::new();
    let burst = limit("burst", 3, Window::Seconds(60), OnOutage::Refuse);
    let token = world.issue(1, &[], |key| key.limits = vec![burst]);
    world.limit_application(PARTNER, vec![limit("monthly", 100, Window::Month, OnOutage::Refuse)]);
    let (response, _) = world.with_token("/v1/authorize?cost=2", &token);
    assert_eq!(response.status(), 204);
    assert_eq!(response.field("ratelimit-policy"), Some("\"burst\";q=3;w=60, \"monthly\";q=100;w=2678400"));
    assert_eq!(response.field("ratelimit"), Some("\"burst\";r=1;t=60, \"monthly\";r=98;t=1440000"));
    // Too much for what is left of one of them: nothing is spent of either.
    let (response, counted) = world.with_token("/v1/authorize?cost=2", &token);
    assert!(counted);
    assert_eq!((response.status(), response.field("keyward-code")), (429, Some("RATE_LIMITED")));
    assert_eq!(response.field("retry-after"), Some("60"));
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(problem["violated-policies"], serde_json::json!(["burst"]));
    let (response, _) = world.with_token("/v1/authorize", &token);
    assert_eq!(response.status(), 204);
    assert_eq!(response.field("ratelimit"), Some("\"burst\";r=0;t=60, \"monthly\";r=97;t=1440000"));
    // Whoever does not pass for another reason spends nothing.
    let (response, _) = world.with_token("/v1/authorize?scope=a:b", &token);
    assert_eq!((response.status(), response.field("ratelimit")), (403, None));
}

#[test]
fn a_used_up_quota_is_told_apart_and_so_is_a_cost_that_is_none() {
    let world = World::new();
    let admin = world.issue(9, &["keys:verify"], |key| {
        key.application = ApplicationId::KEYWARD;
        key.principal = Some("ops".into());
    });
    let token =
        world.issue(1, &[], |key| key.limits = vec![limit("daily", 5, Window::Day, OnOutage::Refuse)]);
    let check = |cost: u32| world.check(&admin, &serde_json::json!({ "token": token, "cost": cost }));
    let told = check(5).expect("answered");
    assert_eq!((&told["code"], &told["limits"][0]["remaining"]), (&"VALID".into(), &0.into()));
    let told = check(1).expect("answered");
    assert_eq!((&told["valid"], &told["code"]), (&false.into(), &"USAGE_EXCEEDED".into()));
    assert_eq!(told["limits"][0]["limit"], 5);
    assert_eq!(check(0).unwrap_err().fields[0].field, "cost");
    let refused = world.authorize("/v1/authorize?cost=1000001", &[("x-api-key", &token)]);
    assert_eq!(refused.unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn while_counters_are_silent_a_limit_says_what_becomes_of_a_request() {
    for (on_outage, expected) in [(OnOutage::Refuse, Err(Code::StoreUnavailable)), (OnOutage::Pass, Ok(204))]
    {
        let world = World::new();
        let token =
            world.issue(1, &[], |key| key.limits = vec![limit("burst", 3, Window::Seconds(60), on_outage)]);
        world.counts_are_silent.set(true);
        let answered = world.authorize("/v1/authorize", &[("x-api-key", &token)]);
        assert_eq!(answered.map(|(response, _)| response.status()).map_err(|error| error.code), expected);
    }
}
