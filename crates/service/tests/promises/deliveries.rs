//! What webhooks listen for is told to them, or is known not to have been: at every fault, by however many runs at once, for as long as
//! the schedule says. Whoever listens is here in memory; over real HTTP they are in the end-to-end tests.

use crate::usage;
use crate::world::{Do, World, new_key, survive};
use keyward_crypto::webhook::signature;
use keyward_domain::delivery::{ATTEMPTS_MAX, FAILURES_MAX, Fault, PENDING_MAX, SCHEDULE_S};
use keyward_domain::event::{Action, Target};
use keyward_domain::webhook::Targets;
use keyward_domain::{ApplicationId, Code, Error, Result, WebhookId};
use keyward_ledger::memory::{Call, Fault as StoreFault};
use keyward_service::{
    Answered, Attempt, Body, Caller, DeadLetterFilter, DeliveryView, DropRequest, Message, NewWebhook, Page,
    ReplayRequest, Sender, WebhookChange,
};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// One message as it came.
#[derive(Debug, Clone)]
struct Came {
    url: String,
    id: String,
    timestamp: i64,
    signature: String,
    body: Vec<u8>,
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }
}

/// Whoever listens: answers as it is told, and keeps what came, whatever it answered.
#[derive(Default)]
struct Listener {
    answer: Cell<Option<Result<u16, Fault>>>,
    retry_after: Cell<Option<&'static str>>,
    came: RefCell<Vec<Came>>,
    took_ms: Cell<u64>,
}

impl Listener {
    fn answers(&self, answer: Result<u16, Fault>) {
        self.answer.set(Some(answer));
    }

    fn take(&self) -> Vec<Came> {
        std::mem::take(&mut *self.came.borrow_mut())
    }

    fn kinds(&self) -> Vec<String> {
        self.take().iter().map(Came::kind).collect()
    }
}

impl Sender for Listener {
    async fn send(&self, message: &Message<'_>) -> Result<Answered, Fault> {
        self.came.borrow_mut().push(Came {
            url: message.url.to_owned(),
            id: message.id.clone(),
            timestamp: message.timestamp.parse().expect("seconds"),
            signature: message.signature.clone(),
            body: message.body.to_vec(),
        });
        tokio::time::sleep(Duration::from_millis(self.took_ms.get())).await;
        let status = self.answer.get().unwrap_or(Ok(204))?;
        let retry_after = self.retry_after.get().map(str::to_owned);
        Ok(Answered { status, retry_after, ..Answered::default() })
    }
}

/// A webhook as it was made.
struct Hook {
    id: WebhookId,
    secret: [u8; 32],
}

fn secret_of(answer: &Value) -> [u8; 32] {
    use base64::Engine;
    let text = answer["secret"].as_str().and_then(|text| text.strip_prefix("whsec_")).expect("a secret");
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64").try_into().expect("32 bytes")
}

async fn create_as(world: &World, caller: Caller, new: &Value) -> Result<Hook> {
    let service = world.service();
    let attempt = Attempt::to_change(caller, Action::WebhookCreated, Target::default());
    let new: NewWebhook = serde_json::from_value(new.clone()).expect("a body of the right shape");
    let answer = service.create_webhook(&attempt, new, Targets::Public).await;
    let answer = service.settle(&attempt, answer).await?;
    let answer: Value = serde_json::from_str(answer.to_json().expose()).expect("JSON");
    let id = answer["webhook"]["id"].as_str().expect("an id").parse().expect("an id");
    Ok(Hook { id, secret: secret_of(&answer) })
}

async fn create(world: &World, application: ApplicationId, events: &[&str]) -> Hook {
    let new = json!({
        "application": application.to_string(), "url": format!("https://{}.example/", application.hex()), "events": events
    });
    create_as(world, world.caller(&world.root).await, &new).await.expect("a webhook")
}

async fn attempt(world: &World, action: Action) -> Attempt {
    Attempt::to_change(world.caller(&world.root).await, action, Target::default())
}

async fn show(world: &World, id: WebhookId) -> Value {
    let attempt = Attempt::to_read(world.caller(&world.root).await, Action::WebhookRead, Target::default());
    let view = world.service().webhook(&attempt, id).await.expect("a webhook");
    serde_json::from_str(view.to_json().expose()).expect("JSON")
}

async fn change(world: &World, id: WebhookId, change: Value) -> Result<()> {
    let change: WebhookChange = serde_json::from_value(change).expect("a body of the right shape");
    let attempt = attempt(world, Action::WebhookChanged).await;
    world.service().change_webhook(&attempt, id, change, None, Targets::Public).await.map(|_| ())
}

async fn dead_letters(world: &World) -> Vec<Value> {
    let attempt = Attempt::to_read(world.caller(&world.root).await, Action::WebhookRead, Target::default());
    let page = Page::parse(None, None).expect("a page");
    let list = world.service().dead_letters(&attempt, &DeadLetterFilter::default(), &page).await;
    let list: Value = serde_json::from_str(list.expect("a list").to_json().expose()).expect("JSON");
    list["items"].as_array().expect("a list").clone()
}

async fn replay(world: &World, id: WebhookId) -> usize {
    let attempt = attempt(world, Action::WebhookReplayed).await;
    let asked = ReplayRequest { message: None };
    let service = world.service();
    let replayed = service.replay_dead_letters(&attempt, id, &asked).await;
    service.settle(&attempt, replayed).await.expect("replayed").moved
}

async fn deliver(world: &World, listener: &Listener) -> Value {
    let done: Result<DeliveryView> = world.service().deliver(listener, Targets::Public).await;
    serde_json::from_str(done.expect("a run").to_json().expose()).expect("JSON")
}

/// Lets the wall clock get to when the webhook's next attempt is due; how many seconds that took, if there is one.
async fn wait_for_next(world: &World, id: WebhookId) -> Option<i64> {
    let at = show(world, id).await["delivery"]["next_attempt_at"].as_str().map(str::to_owned)?;
    let at = keyward_domain::Timestamp::parse(&at).expect("a time");
    let now = keyward_domain::ports::Clock::now(&world.clock);
    let wait_ms = (at.unix_ms() - now.unix_ms()).max(0);
    world.clock.step_wall_ms(wait_ms);
    Some(wait_ms / 1000)
}

#[tokio::test(start_paused = true)]
async fn each_webhook_hears_of_what_it_listens_for_once_and_signed() {
    let world = World::new(11).await;
    let (orders, billing) = (world.application("orders").await, world.application("billing").await);
    world.issue(&new_key(orders, "before there was a webhook")).await;
    let hook = create(&world, orders, &["*"]).await;
    let claims = create(&world, billing, &["key.claimed"]).await;
    let all = create(&world, ApplicationId::KEYWARD, &["issuing.frozen", "key.revoked"]).await;
    let held = world.held(&new_key(orders, "order channel")).await;
    world.held(&new_key(billing, "billing channel")).await;
    world.run(&Do::RevokeKey(held.id, "stolen")).await.expect("revoked");
    world.run(&Do::Freeze("an emergency")).await.expect("frozen");

    let listener = Listener::default();
    let done = deliver(&world, &listener).await;
    assert_eq!(done, json!({ "queued": 6, "delivered": 6, "failed": 0, "more": false }));
    let came = listener.take();
    let heard = |hook: &Hook, application: ApplicationId| {
        let url = format!("https://{}.example/", application.hex());
        let its: Vec<&Came> = came.iter().filter(|came| came.url == url).collect();
        for came in &its {
            assert_eq!(came.signature, signature(&hook.secret, &came.id, came.timestamp, &came.body));
        }
        its.iter().map(|came| came.kind()).collect::<Vec<_>>()
    };
    assert_eq!(heard(&hook, orders), ["key.issued", "key.claimed", "key.revoked"]);
    assert_eq!(heard(&claims, billing), ["key.claimed"]);
    assert_eq!(heard(&all, ApplicationId::KEYWARD), ["key.revoked", "issuing.frozen"]);
    let revoked = came.iter().find(|came| came.kind() == "key.revoked").expect("it came").json();
    assert_eq!(revoked["data"]["key"], held.id.to_string());
    assert_eq!(revoked["data"]["application"], orders.to_string());
    assert_eq!(revoked["data"]["actor"], "admin");
    let text = revoked.to_string();
    for hidden in ["stolen", "ops@example.com", crate::world::ADDRESS, crate::world::AGENT, "order channel"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert_eq!(deliver(&world, &listener).await["delivered"], 0);
    assert!(listener.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_with_nothing_to_do_writes_nothing() {
    let world = World::new(12).await;
    let listener = Listener::default();
    deliver(&world, &listener).await;
    let orders = world.application("orders").await;
    create(&world, orders, &["*"]).await;
    deliver(&world, &listener).await;
    world.kv.take_calls();
    deliver(&world, &listener).await;
    let calls = world.kv.take_calls();
    assert!(!calls.iter().any(|call| matches!(call, Call::SetMany(_))), "{calls:?}");
    assert!(calls.len() <= 8, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_as_documented_then_kept_as_a_dead_letter_then_replayed() {
    let world = World::new(13).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["key.issued"]).await;
    let (key, _) = world.issue(&new_key(orders, "order channel")).await;
    let listener = Listener::default();
    listener.answers(Ok(503));
    let mut waits = Vec::new();
    loop {
        assert_eq!(deliver(&world, &listener).await["failed"], 1, "after {waits:?}");
        match wait_for_next(&world, hook.id).await {
            Some(wait_s) => waits.push(wait_s),
            None => break,
        }
    }
    assert_eq!(waits.len(), SCHEDULE_S.len());
    for (wait_s, planned_s) in waits.iter().zip(SCHEDULE_S) {
        assert!((planned_s..=planned_s + planned_s / 10 + 1).contains(wait_s), "{waits:?}");
    }
    let attempts = listener.take();
    assert_eq!(attempts.len(), usize::try_from(ATTEMPTS_MAX).unwrap());
    assert!(attempts.iter().all(|came| came.id == attempts[0].id && came.body == attempts[0].body));
    let stamps: Vec<i64> = attempts.iter().map(|came| came.timestamp).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "each attempt is signed when it is made");

    let letters = dead_letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["key"], key.to_string());
    assert_eq!((&letters[0]["why"], &letters[0]["attempts"]), (&json!("exhausted"), &json!(ATTEMPTS_MAX)));
    assert_eq!(deliver(&world, &listener).await["failed"], 0, "nothing is tried any more");

    listener.answers(Ok(200));
    assert_eq!(replay(&world, hook.id).await, 1);
    assert_eq!(deliver(&world, &listener).await["delivered"], 1);
    assert_eq!(listener.take()[0].id, attempts[0].id, "under the id that it had");
    assert!(dead_letters(&world).await.is_empty());
    let shown = show(&world, hook.id).await;
    assert_eq!(
        (&shown["delivery"]["circuit"], &shown["delivery"]["failures"]),
        (&json!("closed"), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_to_wait_is_waited_for() {
    let world = World::new(21).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["key.issued"]).await;
    world.issue(&new_key(orders, "order channel")).await;
    let listener = Listener::default();
    listener.answers(Ok(429));
    listener.retry_after.set(Some("900"));
    assert_eq!(deliver(&world, &listener).await["failed"], 1);
    // What comes meanwhile waits as well.
    world.issue(&new_key(orders, "billing channel")).await;
    assert_eq!(
        deliver(&world, &listener).await,
        json!({ "queued": 1, "delivered": 0, "failed": 0, "more": false })
    );
    assert_eq!(wait_for_next(&world, hook.id).await, Some(900));
    listener.answers(Ok(204));
    assert_eq!(deliver(&world, &listener).await["delivered"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_is_probed_and_hears_of_all_when_it_is_back() {
    let world = World::new(14).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["key.issued"]).await;
    for n in 0..20 {
        world.issue(&new_key(orders, &format!("channel {n}"))).await;
    }
    let listener = Listener::default();
    listener.answers(Err(Fault::Connection));
    deliver(&world, &listener).await;
    let shown = show(&world, hook.id).await;
    assert_eq!(shown["delivery"]["circuit"], "open");
    assert_eq!(shown["delivery"]["last_failure"]["fault"], "connection");
    let failures = listener.take().len();
    assert!(failures >= usize::try_from(FAILURES_MAX).unwrap() && failures <= 8, "{failures} attempts");
    for _ in 0..5 {
        assert!(wait_for_next(&world, hook.id).await.expect("there is more to tell") >= 59);
        assert_eq!(show(&world, hook.id).await["delivery"]["circuit"], "half-open");
        deliver(&world, &listener).await;
        assert_eq!(listener.take().len(), 1, "one at a time");
    }
    listener.answers(Ok(200));
    for _ in 0..3 {
        wait_for_next(&world, hook.id).await;
        deliver(&world, &listener).await;
    }
    let mut ids: Vec<String> = listener.take().into_iter().map(|came| came.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(show(&world, hook.id).await["delivery"]["circuit"], "closed");
}

#[tokio::test(start_paused = true)]
async fn two_runs_at_once_share_the_work() {
    let world = World::new(15).await;
    let orders = world.application("orders").await;
    create(&world, orders, &["*"]).await;
    for n in 0..30 {
        world.issue(&new_key(orders, &format!("channel {n}"))).await;
    }
    let listener = Listener::default();
    listener.took_ms.set(500);
    let (service, other) = (world.service(), world.service());
    let (one, two) = futures::join!(
        service.deliver(&listener, Targets::Public),
        other.deliver(&listener, Targets::Public)
    );
    one.expect("a run");
    two.expect("a run");
    deliver(&world, &listener).await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    listener.take().into_iter().for_each(|came| *times.entry(came.id).or_default() += 1);
    assert_eq!(times.len(), 30);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

/// A run that dies at call `nth`; whether there was such a call.
async fn crash_at(nth: usize, fault: StoreFault) -> bool {
    let world = World::new(16).await;
    let (orders, billing) = (world.application("orders").await, world.application("billing").await);
    create(&world, orders, &["*"]).await;
    create(&world, billing, &["*"]).await;
    let mut expected = 0;
    for n in 0..3 {
        world.issue(&new_key(orders, &format!("channel {n}"))).await;
        world.issue(&new_key(billing, &format!("channel {n}"))).await;
        expected += 2;
    }
    let listener = Listener::default();
    let seen = std::rc::Rc::new(Cell::new(0));
    let counter = std::rc::Rc::clone(&seen);
    world.kv.plan(move |_| {
        counter.set(counter.get() + 1);
        match counter.get().cmp(&(nth + 1)) {
            std::cmp::Ordering::Less => StoreFault::None,
            std::cmp::Ordering::Equal => fault,
            // The process is gone, and all that it was doing; or one call failed, and the rest goes on.
            std::cmp::Ordering::Greater => match fault {
                StoreFault::Crash | StoreFault::CrashAfter => StoreFault::Crash,
                _ => StoreFault::None,
            },
        }
    });
    let _ = survive(world.service().deliver(&listener, Targets::Public)).await;
    let was_reached = seen.get() > nth;
    world.heal();
    for _ in 0..4 {
        world.clock.advance_wall(Duration::from_secs(61));
        deliver(&world, &listener).await;
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    listener.take().into_iter().for_each(|came| *times.entry(came.id).or_default() += 1);
    assert_eq!(times.len(), expected, "call {nth}, {fault:?}: something is lost");
    assert!(times.values().all(|times| *times <= 2), "call {nth}, {fault:?}: {times:?}");
    assert!(dead_letters(&world).await.is_empty(), "call {nth}, {fault:?}");
    was_reached
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_at_any_call_of_the_store_loses_nothing() {
    for nth in 0.. {
        eprintln!("call {nth}");
        let mut was_reached = false;
        for fault in [StoreFault::Crash, StoreFault::CrashAfter, StoreFault::Before, StoreFault::After] {
            was_reached |= crash_at(nth, fault).await;
        }
        if !was_reached {
            assert!(nth > 10, "there were calls");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_disabled_and_what_was_for_it_is_kept() {
    let world = World::new(17).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["*"]).await;
    world.issue(&new_key(orders, "one")).await;
    let listener = Listener::default();
    listener.answers(Ok(410));
    deliver(&world, &listener).await;
    let shown = show(&world, hook.id).await;
    assert_eq!(shown["state"], "disabled");
    let event = world.events().await.into_iter().rfind(|event| event.action == Action::WebhookChanged);
    assert_eq!(event.expect("it is on record").target.webhook, Some(hook.id));
    world.clock.advance_wall(Duration::from_secs(3600));
    deliver(&world, &listener).await;
    let letters = dead_letters(&world).await;
    assert_eq!((letters.len(), &letters[0]["why"]), (1, &json!("closed")));
    world.issue(&new_key(orders, "while it is disabled")).await;
    assert_eq!(deliver(&world, &listener).await["queued"], 0);
    change(&world, hook.id, json!({ "disabled": false })).await.expect("enabled");
    listener.answers(Ok(200));
    listener.take();
    assert_eq!(replay(&world, hook.id).await, 1);
    world.issue(&new_key(orders, "after that")).await;
    deliver(&world, &listener).await;
    assert_eq!(listener.kinds(), ["key.issued", "key.issued"]);
}

#[tokio::test(start_paused = true)]
async fn the_secret_that_was_replaced_signs_for_a_day() {
    let world = World::new(18).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["*"]).await;
    let rotating = attempt(&world, Action::WebhookSecretRotated).await;
    let answer = world.service().rotate_webhook_secret(&rotating, hook.id).await.expect("rotated");
    let fresh = secret_of(&serde_json::from_str(answer.to_json().expose()).expect("JSON"));
    assert_ne!(fresh, hook.secret);
    let listener = Listener::default();
    for (later_s, secrets) in [(0, vec![fresh, hook.secret]), (24 * 3600, vec![fresh])] {
        world.clock.advance_wall(Duration::from_secs(later_s));
        world.issue(&new_key(orders, "a key")).await;
        deliver(&world, &listener).await;
        let came = listener.take().pop().expect("it came");
        let signed: Vec<String> =
            secrets.iter().map(|secret| signature(secret, &came.id, came.timestamp, &came.body)).collect();
        assert_eq!(came.signature, signed.join(" "));
    }
    // No secret lies in the store in the clear.
    for (key, value) in world.kv.values() {
        assert!(!value.windows(32).any(|window| window == fresh), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_that_is_queued_is_sent_by_the_next_run_whatever_the_webhook_listens_for() {
    let world = World::new(23).await;
    let orders = world.application("orders").await;
    let hook = create(&world, orders, &["key.revoked"]).await;
    let listener = Listener::default();
    let test = async |id: WebhookId| {
        let testing = attempt(&world, Action::WebhookTested).await;
        let service = world.service();
        let queued = service.queue_webhook_test(&testing, id).await;
        service.settle(&testing, queued).await
    };
    let message = test(hook.id).await.expect("queued");
    assert!(listener.take().is_empty(), "whoever queues it calls nobody");
    assert_eq!(show(&world, hook.id).await["delivery"]["pending"], 1);
    assert_eq!(deliver(&world, &listener).await["delivered"], 1);
    let came = listener.take().pop().expect("it came");
    assert_eq!((came.kind(), &came.id), ("webhook.tested".to_owned(), &message.to_string()));
    assert_eq!(came.signature, signature(&hook.secret, &came.id, came.timestamp, &came.body));
    let told = world.events().await.pop().expect("an event");
    assert_eq!((told.action, told.id), (Action::WebhookTested, message.0));
    assert_eq!(deliver(&world, &listener).await["delivered"], 0, "once");
    assert!(show(&world, hook.id).await["delivery"]["last_success_at"].is_string());

    // Where nothing is let through, whoever tests has reason to.
    listener.answers(Err(Fault::Connection));
    for _ in 0..FAILURES_MAX {
        test(hook.id).await.expect("queued");
        deliver(&world, &listener).await;
    }
    assert_eq!(show(&world, hook.id).await["delivery"]["circuit"], "open");
    listener.take();
    listener.answers(Ok(204));
    assert_eq!(deliver(&world, &listener).await["delivered"], 0, "an open circuit");
    test(hook.id).await.expect("queued");
    assert_eq!(deliver(&world, &listener).await["delivered"], 1);
    assert_eq!(show(&world, hook.id).await["delivery"]["circuit"], "closed");

    // Nothing that is to be told is given up for a test.
    listener.answers(Err(Fault::Connection));
    while show(&world, hook.id).await["delivery"]["pending"].as_u64().unwrap() < PENDING_MAX as u64 {
        test(hook.id).await.expect("queued");
    }
    let refused = |result: Result<_>| result.map(|_| ()).map_err(|error: Error| error.code);
    assert_eq!(refused(test(hook.id).await), Err(Code::StateConflict));
    assert_eq!(show(&world, hook.id).await["delivery"]["dead_letters"], 0);
    change(&world, hook.id, json!({ "disabled": true })).await.expect("disabled");
    assert_eq!(refused(test(hook.id).await), Err(Code::StateConflict));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_narrowed_to_an_application_has_its_webhooks_alone() {
    let world = World::new(19).await;
    let (orders, billing) = (world.application("orders").await, world.application("billing").await);
    let hidden = create(&world, billing, &["*"]).await;
    let all = create(&world, ApplicationId::KEYWARD, &["*"]).await;
    let clerk = world
        .admin(&[format!("webhooks:*@{orders}"), format!("webhooks:*@{}", ApplicationId::KEYWARD)])
        .await;
    let new = |application: ApplicationId| json!({ "application": application.to_string(), "url": "https://example.com/", "events": ["*"] });
    let code = |result: Result<Hook>| result.map(|_| ()).map_err(|error: Error| error.code);
    let caller = async || world.caller(&clerk.token).await;
    assert_eq!(code(create_as(&world, caller().await, &new(orders)).await), Ok(()));
    assert_eq!(code(create_as(&world, caller().await, &new(billing)).await), Err(Code::NotFound));
    assert_eq!(
        code(create_as(&world, caller().await, &new(ApplicationId::KEYWARD)).await),
        Err(Code::InsufficientScope)
    );
    for id in [hidden.id, all.id, WebhookId::from_bytes([9; 16])] {
        let attempt = Attempt::to_read(caller().await, Action::WebhookRead, Target::default());
        assert_eq!(world.service().webhook(&attempt, id).await.err().map(|e| e.code), Some(Code::NotFound));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_listed_by_impact_and_dropped_with_a_reason() {
    let world = World::new(20).await;
    let (orders, billing) = (world.application("orders").await, world.application("billing").await);
    let (low, high) = (create(&world, orders, &["*"]).await, create(&world, billing, &["*"]).await);
    for (application, importance) in [(orders, "low"), (billing, "critical")] {
        let change = json!({ "importance": importance });
        world.run(&Do::ChangeApplication(application, change, None)).await.expect("changed");
    }
    // Told of before anybody listened to it.
    let busy = world.held(&new_key(orders, "carries requests")).await;
    usage::keep(&world, usage::ticket(&world).await, busy.id, 1, 5_000);
    usage::fold(&world).await;
    deliver(&world, &Listener::default()).await;
    world.issue(&new_key(orders, "of little importance")).await;
    world
        .run(&Do::ChangeKey(busy.id, json!({ "name": "carries requests still" }), None))
        .await
        .expect("changed");
    let mut ends_soon = new_key(orders, "about to end");
    ends_soon["expires_in_s"] = json!(2 * 24 * 3600);
    let (soon, _) = world.issue(&ends_soon).await;
    world.issue(&new_key(billing, "critical")).await;
    deliver(&world, &Listener { answer: Cell::new(Some(Ok(500))), ..Listener::default() }).await;
    for hook in [&low, &high] {
        change(&world, hook.id, json!({ "disabled": true })).await.expect("disabled");
    }
    world.clock.advance_wall(Duration::from_secs(60));
    deliver(&world, &Listener::default()).await;
    let letters = dead_letters(&world).await;
    let impacts: Vec<u64> = letters.iter().map(|letter| letter["impact"].as_u64().unwrap()).collect();
    assert_eq!(impacts, [40, 30, 24, 0]);
    assert_eq!((&letters[0]["requests_per_day"], &letters[0]["importance"]), (&json!(5_000), &json!("low")));
    assert_eq!(letters[0]["key"], busy.id.to_string());
    assert!(letters.iter().any(|letter| letter["key"] == soon.to_string() && letter["impact"] == 24));

    let message = letters[3]["message"].as_str().unwrap();
    let dropping = attempt(&world, Action::WebhookDropped).await;
    let asked: DropRequest =
        serde_json::from_value(json!({ "message": message, "reason": "known by mail" })).unwrap();
    let left = world.service().drop_dead_letters(&dropping, low.id, &asked).await.expect("dropped");
    assert_eq!((left.moved, left.left), (1, 2));
    let again = world.service().drop_dead_letters(&dropping, low.id, &asked).await;
    assert_eq!(again.err().map(|error| error.code), Some(Code::NotFound));
    let event = world.events().await.into_iter().rfind(|event| event.action == Action::WebhookDropped);
    let event = event.expect("it is on record");
    assert_eq!(event.reason.as_deref(), Some("known by mail"));
    assert!(event.detail.iter().any(|fact| fact == message), "{:?}", event.detail);
}
