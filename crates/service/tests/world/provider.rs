//! A third party, and the hook by which Keyward rotates what it accepts: four steps, each of which may be asked for again. It goes wrong
//! where it is told to, and breaks the test where it is asked what no provider may be asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::Zeroizing;
use keyward_crypto::webhook::signature;
use keyward_domain::delivery::Fault;
use keyward_service::{Answered, Message, Sender};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// With this status, and nothing was done.
    Refuses(u16),
    /// It was done, and nobody hears of it.
    LosesAnswer,
    /// Nothing was done, and nobody answers.
    IsSilent,
}

/// A call as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub step: String,
    pub rotation: String,
    pub attempt: u64,
}

/// What decides how a call ends.
type Plan = Box<dyn FnMut(&Called) -> Mood>;
/// What makes the next secret, out of the current one.
type Maker = Box<dyn FnMut(&Value) -> Value>;

pub struct Provider {
    secrets: RefCell<Vec<[u8; 32]>>,
    /// What the third party accepts.
    pub accepts: RefCell<BTreeSet<String>>,
    /// What was made for which rotation: asked again, it is the same.
    made: RefCell<BTreeMap<String, Value>>,
    /// The rotations of which each step was done.
    pub finished: RefCell<BTreeSet<String>>,
    pub calls: RefCell<Vec<Called>>,
    plan: RefCell<Plan>,
    maker: RefCell<Maker>,
    /// Whether Keyward is to make the secrets.
    pub leaves_it_to_keyward: Cell<bool>,
    took_ms: Cell<u64>,
}

impl Provider {
    /// A third party that accepts this value.
    pub fn accepting(value: &Value) -> Self {
        Self {
            secrets: RefCell::default(),
            accepts: RefCell::new([value.to_string()].into()),
            made: RefCell::default(),
            finished: RefCell::default(),
            calls: RefCell::default(),
            plan: RefCell::new(Box::new(|_| Mood::Well)),
            maker: RefCell::new(Box::new(counting())),
            leaves_it_to_keyward: Cell::new(false),
            took_ms: Cell::new(0),
        }
    }

    /// Learns what Keyward signs with, out of the answer that shows it.
    pub fn learns(&self, answer: &Value) {
        let text = answer["secret"].as_str().and_then(|text| text.strip_prefix("whsec_")).expect("a secret");
        let secret = STANDARD.decode(text).expect("base64").try_into().expect("32 bytes");
        self.secrets.borrow_mut().push(secret);
    }

    /// How calls end from here on.
    pub fn plan(&self, plan: impl FnMut(&Called) -> Mood + 'static) {
        *self.plan.borrow_mut() = Box::new(plan);
    }

    /// What makes secrets from here on.
    pub fn makes(&self, maker: impl FnMut(&Value) -> Value + 'static) {
        *self.maker.borrow_mut() = Box::new(maker);
    }

    /// How long each call takes from here on.
    pub fn takes_ms(&self, ms: u64) {
        self.took_ms.set(ms);
    }

    pub fn accepts(&self, value: &Value) -> bool {
        self.accepts.borrow().contains(&value.to_string())
    }

    /// The steps that it was asked for, in order.
    pub fn steps(&self) -> Vec<String> {
        self.calls.borrow().iter().map(|called| called.step.clone()).collect()
    }

    fn is_signed(&self, message: &Message<'_>) -> bool {
        let timestamp = message.timestamp.parse().expect("seconds");
        self.secrets.borrow().iter().any(|secret| {
            let expected = signature(secret, &message.id, timestamp, &message.body);
            message.signature.split(' ').any(|one| one == expected)
        })
    }

    /// Does a step; the status and the body of the answer.
    fn serve(&self, call: &Value) -> (u16, Option<Value>) {
        let rotation = call["rotation"].as_str().expect("a rotation").to_owned();
        let value = |version: &str| call[version]["value"].clone();
        let mut accepts = self.accepts.borrow_mut();
        match call["step"].as_str().expect("a step") {
            "create" if self.leaves_it_to_keyward.get() => (204, None),
            "create" => {
                let mut made = self.made.borrow_mut();
                let made =
                    made.entry(rotation).or_insert_with(|| (self.maker.borrow_mut())(&value("current")));
                (200, Some(json!({ "value": made })))
            }
            "set" => {
                accepts.insert(value("pending").to_string());
                (204, None)
            }
            "test" if accepts.contains(&value("pending").to_string()) => (204, None),
            "test" => (422, None),
            "finish" => {
                assert!(accepts.contains(&value("current").to_string()), "the new one was never set");
                accepts.remove(&value("previous").to_string());
                self.finished.borrow_mut().insert(rotation);
                (204, None)
            }
            "roll_back" => {
                assert!(accepts.contains(&value("current").to_string()), "the old one is accepted no longer");
                accepts.remove(&value("pending").to_string());
                (204, None)
            }
            other => panic!("no step: {other}"),
        }
    }
}

/// Each field as its first letter and a number.
fn counting() -> impl FnMut(&Value) -> Value {
    let mut number = 1_000_000;
    move |current| {
        let mut made = current.clone();
        for (_, field) in made.as_object_mut().expect("fields") {
            let kind = field.as_str().and_then(|text| text.chars().next()).unwrap_or('m');
            *field = json!(format!("{kind}{number}"));
        }
        number += 1;
        made
    }
}

impl Sender for Provider {
    async fn send(&self, message: &Message<'_>) -> Result<Answered, Fault> {
        assert!(self.is_signed(message), "a call that Keyward did not sign");
        let call: Value = serde_json::from_slice(&message.body).expect("JSON");
        let text = |name: &str| call[name].as_str().expect("a text").to_owned();
        let called = Called {
            step: text("step"),
            rotation: text("rotation"),
            attempt: call["attempt"].as_u64().expect("a number"),
        };
        let id = called.rotation.replace("evt_", "rot_");
        assert_eq!(message.id, format!("{id}_{}", called.step), "one id for one step");
        let mood = (self.plan.borrow_mut())(&called);
        self.calls.borrow_mut().push(called);
        tokio::time::sleep(Duration::from_millis(self.took_ms.get())).await;
        match mood {
            Mood::Refuses(status) => Ok(Answered { status, ..Answered::default() }),
            Mood::IsSilent => Err(Fault::Timeout),
            Mood::Well | Mood::LosesAnswer => {
                let (status, body) = self.serve(&call);
                if mood == Mood::LosesAnswer {
                    return Err(Fault::Connection);
                }
                let body = body.filter(|_| message.answer_bytes_max > 0).map(|body| body.to_string());
                let body = Zeroizing::new(body.unwrap_or_default().into_bytes());
                Ok(Answered { status, body, ..Answered::default() })
            }
        }
    }
}
