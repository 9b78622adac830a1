//! Imports of a world: admins take over tokens of another system, the same ones more than once and at the same time, and hold what they are
//! told against each other. What becomes of the keys is followed with all others.

use crate::known::Ended;
use crate::run::Sim;
use crate::world::Do;
use keyward_crypto::digest::{hex, sha256, sha512};
use keyward_domain::{ApplicationId, KeyId};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Tokens of the other system: few, so that they are imported again.
const TOKENS: usize = 12;
/// Tokens of one call at most.
const AT_ONCE: usize = 4;
const WITHIN_MS: u64 = 40;

/// A token as the other system issued it.
fn token(number: usize) -> String {
    format!("legacy-{}", hex(&sha256(&number.to_be_bytes())))
}

fn digest(number: usize) -> String {
    let token = token(number);
    match number % 2 {
        0 => format!("sha256:{}", hex(&sha256(token.as_bytes()))),
        _ => format!("sha512:{}", hex(&sha512(token.as_bytes()))),
    }
}

pub struct Imports {
    application: ApplicationId,
    /// Which key a token was told to be.
    ids: RefCell<BTreeMap<usize, KeyId>>,
    /// Tokens that somebody was told to have made a key of.
    made: RefCell<BTreeMap<usize, u32>>,
}

impl Imports {
    /// The application that they are for, before anything went wrong.
    pub async fn settle_in(sim: &Sim) -> Self {
        let application = sim.world.application("moved").await;
        Self { application, ids: RefCell::default(), made: RefCell::default() }
    }

    /// The keys that tokens were told to be.
    pub fn keys(&self) -> Vec<KeyId> {
        self.ids.borrow().values().copied().collect()
    }

    /// An admin's turn.
    pub async fn import_some(&self, sim: &Sim) {
        let rng = &sim.acting;
        tokio::time::sleep(Duration::from_millis(rng.next() % WITHIN_MS)).await;
        let first = rng.below(TOKENS);
        let numbers: Vec<usize> = (0..=rng.below(AT_ONCE)).map(|step| (first + step) % TOKENS).collect();
        let keys: Vec<Value> = numbers.iter().map(|number| self.asked(*number)).collect();
        let what = Do::ImportKeys(json!({"reason": "moved", "keys": keys}));
        if rng.chance(40) {
            let key = sim.idempotency_key();
            let ended = sim.call_until_answered(&what, &key).await;
            self.end(sim, &numbers, &ended);
        } else {
            let ended = sim.call(&what, None).await;
            self.end(sim, &numbers, &ended);
        }
    }

    fn asked(&self, number: usize) -> Value {
        json!({
            "digest": digest(number), "application": self.application, "name": format!("moved {number}"),
            "environment": "live", "scopes": ["orders:read"],
        })
    }

    fn end(&self, sim: &Sim, numbers: &[usize], ended: &Ended) {
        let Some(Ok(reply)) = ended else { return };
        let answer = reply.json();
        let mut known = sim.known.borrow_mut();
        for (number, told) in numbers.iter().zip(answer["keys"].as_array().expect("one for each")) {
            let Some(id) = told["id"].as_str() else { continue };
            let id: KeyId = id.parse().expect("an id");
            let first = *self.ids.borrow_mut().entry(*number).or_insert(id);
            assert_eq!(first, id, "a token is two keys");
            if told["outcome"] == "imported" && !reply.replayed {
                let mut made = self.made.borrow_mut();
                let times = made.entry(*number).or_default();
                *times += 1;
                assert!(*times == 1 || known.edits_may_be_lost, "a token was imported twice");
            }
            known.knows(id, self.application, &format!("moved {number}"));
            known.holds_imported(id, &token(*number));
        }
    }
}
