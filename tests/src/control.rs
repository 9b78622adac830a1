//! The host's test world, seen from a test: the clock, the store's faults, its calls and its raw bytes.

use serde_json::{Value, json};

use crate::http::{Connection, Reply, Request};
use crate::keyward::Keyward;

/// The store label that Keyward opens.
const LABEL: &str = "default";

/// One call that a component made of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCall {
    /// Which component.
    pub component: String,
    /// `get`, `set_many`, `increment`, ...
    pub op: String,
    /// The store's keys.
    pub keys: Vec<String>,
}

impl Keyward {
    fn control(&self, request: &Request) -> Reply {
        Connection::open(self.control_address()).exchange(request)
    }

    fn ordered(&self, request: &Request) -> Value {
        self.control(request).expect(200).json()
    }

    /// The guests' wall clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.ordered(&Request::get("/clock"))["unix_ms"].as_u64().unwrap()
    }

    /// Moves the guests' clocks on.
    pub fn advance_ms(&self, ms: u64) {
        self.ordered(&Request::post("/clock/advance", &json!({ "ms": ms })));
        *self.advanced_ms().lock().unwrap() += ms;
    }

    /// Sends a request with an Idempotency-Key, and again as `Retry-After` asks, on the virtual clock, while one like it has not ended.
    ///
    /// # Panics
    /// Where that goes on for longer than the server promises.
    pub fn send_until_ended(&self, request: &Request) -> Reply {
        for _ in 0..20 {
            let reply = self.send(request.clone());
            if reply.status != 409 || reply.json()["code"] != "idempotency-in-flight" {
                return reply;
            }
            let after_s: u64 = reply.field("retry-after").expect("when to come back").parse().unwrap();
            self.advance_ms(after_s * 1_000);
        }
        panic!("in flight for too long: {}", request.line());
    }

    /// Sets the guests' wall clock, back if need be.
    pub fn set_wall_ms(&self, unix_ms: u64) {
        self.ordered(&Request::post("/clock/set-wall", &json!({ "unix_ms": unix_ms })));
    }

    /// Puts the store under this plan; the calls it counts begin now.
    pub fn plan_faults(&self, rules: &Value) {
        self.ordered(&Request::post("/faults", rules));
    }

    /// How many calls the plan's rules have matched so far, rule by rule.
    pub fn faults_matched(&self) -> Vec<u64> {
        let rules = self.ordered(&Request::get("/faults"));
        rules.as_array().unwrap().iter().map(|rule| rule["matched"].as_u64().unwrap()).collect()
    }

    /// Withdraws the plan; what it stalled goes on.
    pub fn withdraw_faults(&self) {
        self.ordered(&Request::new("DELETE", "/faults"));
    }

    /// Store calls from here on are what [`Keyward::calls`] tells.
    pub fn reset_calls(&self) {
        self.ordered(&Request::new("POST", "/calls/reset"));
    }

    /// The store calls since then, one by one.
    pub fn calls(&self) -> Vec<StoreCall> {
        let told = self.ordered(&Request::get("/calls?trace=1"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let call = |call: &Value| StoreCall {
            component: text(&call["component"]),
            op: text(&call["op"]),
            keys: call["keys"].as_array().unwrap().iter().map(text).collect(),
        };
        told["trace"].as_array().unwrap().iter().map(call).collect()
    }

    /// How often the store was called since then.
    pub fn calls_total(&self) -> u64 {
        self.ordered(&Request::get("/calls"))["total"].as_u64().unwrap()
    }

    /// The store's keys that start so.
    pub fn store_keys(&self, prefix: &str) -> Vec<String> {
        let told = self.ordered(&Request::get(&format!("/kv/{LABEL}/keys?prefix={prefix}")));
        let mut keys: Vec<String> =
            told["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    }

    /// A stored value, past every component.
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        let reply = self.control(&Request::get(&format!("/kv/{LABEL}/entries/{key}")));
        match reply.status {
            404 => None,
            _ => Some(reply.expect(200).body),
        }
    }

    /// Removes a stored value, past every component.
    pub fn remove(&self, key: &str) {
        self.control(&Request::new("DELETE", &format!("/kv/{LABEL}/entries/{key}"))).expect(200);
    }

    /// One tick of the scheduler, to its end; whether it was well.
    pub fn tick(&self) -> bool {
        let ticks = self.ordered(&Request::post("/cron/tick", &json!({ "component": "scheduler" })));
        ticks["ticks"][0]["ok"].as_bool().unwrap()
    }

    /// Overwrites a stored value, past every component.
    pub fn tamper(&self, key: &str, value: &[u8]) {
        self.control(&Request::new("PUT", &format!("/kv/{LABEL}/entries/{key}")).body(value)).expect(200);
    }
}
