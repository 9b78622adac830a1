//! Limits at the two faces: what a request costs, what is said of its limits, and the leases of this instance, which are given back soon
//! after the answer.

use keyward_domain::limit::COST_MAX;
use keyward_domain::ports::Clock;
use keyward_domain::{Error, Result};
use keyward_guest::variables::Validation;
use keyward_guest::{Response, SpinKv, WasiClock, WasiRng};
use keyward_records::KvCount;
use keyward_verify::{Leases, LimitStanding, Limiter};
use std::fmt::Write;
use std::rc::Rc;

/// How long leases are held, in milliseconds: an instance may end soon after its last request.
const HELD_MS: u64 = 300;
/// What else there is to say of a request that is too much (draft-ietf-httpapi-ratelimit-headers-11 section 7.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

thread_local! {
    static LEASES: Rc<Leases> = Rc::default();
}

/// Where limits are counted, and the leases that are held of them.
pub(crate) struct Counters<K> {
    kv: K,
    leases: Rc<Leases>,
}

impl<K: KvCount> Counters<K> {
    /// Counters in this store.
    pub(crate) const fn new(kv: K, leases: Rc<Leases>) -> Self {
        Self { kv, leases }
    }

    /// Whoever spends of them.
    pub(crate) fn limiter<'a, C: Clock>(&'a self, clock: &'a C) -> Limiter<'a, K, C> {
        Limiter::new(&self.kv, &self.leases, clock)
    }
}

/// The counters of this instance.
pub(crate) fn counters(configured: &Validation) -> Counters<SpinKv> {
    Counters::new(SpinKv::new(configured.usage_store.clone()), LEASES.with(Rc::clone))
}

/// A request's cost, of a field or parameter that may be absent.
pub(crate) fn check_cost(
    cost: Option<u32>,
    wrong: impl FnOnce(&'static str, &'static str) -> Error,
) -> Result<u64> {
    match cost.unwrap_or(1) {
        cost @ 1..=COST_MAX => Ok(cost.into()),
        _ => Err(wrong("is out of range", "1 to 1000000 units")),
    }
}

/// The same answer with how limits stand (draft-ietf-httpapi-ratelimit-headers-11): names are plain, so that they need no escape.
pub(crate) fn told(response: Response, standings: &[LimitStanding]) -> Response {
    if standings.is_empty() {
        return response;
    }
    let (mut policy, mut limit) = (String::new(), String::new());
    for LimitStanding { name, amount, remaining, window_s, left_s, .. } in standings {
        let comma = if policy.is_empty() { "" } else { ", " };
        // Neither fails for a string.
        let _ = write!(policy, "{comma}\"{name}\";q={amount};w={window_s}");
        let _ = write!(limit, "{comma}\"{name}\";r={remaining};t={left_s}");
    }
    response.with("ratelimit-policy", policy).with("ratelimit", limit)
}

/// The answer to a request that is too much for some of its limits: when to come back, and a problem that names them.
pub(crate) fn exceeded(standings: &[LimitStanding], cost: u64) -> Response {
    let violated: Vec<&LimitStanding> =
        standings.iter().filter(|standing| standing.remaining < cost).collect();
    let wait_s = violated.iter().map(|standing| standing.left_s).max().unwrap_or(1);
    let mut names = String::new();
    for standing in violated {
        let comma = if names.is_empty() { "" } else { "," };
        let _ = write!(names, "{comma}\"{}\"", standing.name);
    }
    let body = format!(
        "{{\"type\":\"{QUOTA_EXCEEDED}\",\"title\":\"Request cannot be satisfied as assigned quota has been exceeded\",\"status\":429,\"violated-policies\":[{names}]}}"
    );
    Response::bytes(429, keyward_domain::problem::MEDIA_TYPE, body.into_bytes())
        .with("retry-after", wait_s.to_string())
}

/// Sees to it that the leases of this instance are given back.
pub(crate) fn see_to(configured: &Rc<Validation>) {
    let leases = LEASES.with(Rc::clone);
    if !leases.wants_seeing_to() {
        return;
    }
    let configured = Rc::clone(configured);
    spin_sdk::wasip3::spawn(async move {
        WasiClock.sleep_ms(HELD_MS).await;
        let kv = SpinKv::new(configured.usage_store.clone());
        let given_up = leases.give_up(WasiClock.now());
        // What cannot be given back stays taken until its window is over; what cannot be noted is never cleaned up. The store's line in
        // the log says why.
        let _ = given_up.write(&kv, &configured.records, &WasiRng).await;
    });
}
