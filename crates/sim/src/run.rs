//! One world from its seed: rounds of everything that the service does, several at once, on several instances, while calls fail, repeat
//! and take their time, processes die, replicas fall behind and clocks step.

use crate::flaws::{Flaw, Memory};
use crate::imports::Imports;
use crate::instance::{Edge, Instance, Site, Versions, Weather};
use crate::known::{Ended, Known, Moment, Shredded};
use crate::limits::{CounterStore, Limited};
use crate::vault::Vault;
use crate::world::{Do, SeededRng, World, new_admin, new_key, rings, vault_ring};
use futures::future::{FutureExt, LocalBoxFuture, join_all};
use keyward_domain::delivery::Fault;
use keyward_domain::distinct::Distinct;
use keyward_domain::event::{Action, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::timestamp::Month;
use keyward_domain::usage::{Durations, Outcomes};
use keyward_domain::webhook::Targets;
use keyward_domain::{ApplicationId, Code, KeyId, WebhookId};
use keyward_ledger::memory::Backup;
use keyward_records::{KvCount, SealedUsage, UsageBatch, UsageCount, names};
use keyward_service::{Answered, Attempt, Body, DeadLetterFilter, Message, Page, Sender};
use keyward_verify::{RefusalCode, Verdict};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

const INSTANCES: usize = 3;
const ROUNDS: usize = 4;
const AT_ONCE: usize = 4;
/// How long validators may remember that an application lived.
pub const HELD_MS: u64 = 250;
/// Requests that a client makes for one answer before it comes back later.
const TRIES: usize = 8;
/// How long the answer to a claim can be had again.
const CLAIM_REPLAY_MS: u64 = 55_000;
pub const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
/// Longer than a message is tried.
const UNHEARD: Duration = Duration::from_secs(6 * 24 * 3600);
/// Where the webhook is that hears of everything.
pub const HOOK: &str = "https://hook.example/";

/// What goes on in some worlds beside what goes on in all.
#[derive(Debug, Clone, Copy)]
pub struct Acts {
    /// Keys are used under limits.
    limits: bool,
    /// Nobody listens for days, and dead letters are tried anew or dropped.
    dead_letters: bool,
    /// What is personal in months of the past is destroyed.
    shreds: bool,
    /// The ring of the log rolls over.
    audit_ring: bool,
    /// In the end the store is lost, and a copy of an earlier one takes its place.
    loses_store: bool,
    /// There are credentials, and services read them.
    vault: bool,
    /// A scanner reports what it found of keys.
    leaks: bool,
    /// Tokens of another system are taken over.
    imports: bool,
}

impl Acts {
    pub const NONE: Self = Self {
        limits: false,
        dead_letters: false,
        shreds: false,
        audit_ring: false,
        loses_store: false,
        vault: false,
        leaks: false,
        imports: false,
    };

    /// Those of the world of a seed.
    pub fn of(seed: u64) -> Self {
        let rng = SeededRng::new(seed ^ 0x00ac_75ac_75ac);
        let drawn = |percent| rng.chance(percent);
        Self {
            limits: drawn(25),
            dead_letters: drawn(15),
            shreds: drawn(15),
            audit_ring: drawn(15),
            loses_store: drawn(15),
            vault: drawn(25),
            leaks: drawn(25),
            imports: drawn(25),
        }
    }
}

/// A holder that does as it should: uses its token, renews itself, and repeats what was not answered.
pub struct Client {
    pub key: KeyId,
    pub token: String,
    since: Moment,
    /// What it used before, until the grace is surely over.
    previous: Option<String>,
    renewal: String,
    /// A claim that an admin gave it.
    ticket: Option<String>,
    pending: Option<Pending>,
    /// A claim was burnt under it: what it holds may have been succeeded by what nobody holds.
    pub is_lost: bool,
}

/// What was asked for and not answered.
#[derive(Clone)]
struct Pending {
    what: Do,
    idempotency_key: String,
    since_ms: u64,
}

/// Whoever listens to webhooks: answers as it likes, and keeps which messages it answered well.
pub struct Listener {
    /// Whether it refuses some of what it is told.
    pub moods: Cell<bool>,
    /// Whether it is away, and nothing reaches it.
    is_away: Cell<bool>,
    /// By where it was told.
    pub heard: RefCell<BTreeSet<(String, String)>>,
    rng: Rc<SeededRng>,
}

impl Sender for Listener {
    async fn send(&self, message: &Message<'_>) -> Result<Answered, Fault> {
        tokio::time::sleep(Duration::from_millis(self.rng.next() % 50)).await;
        if self.is_away.get() {
            return Err(Fault::Connection);
        }
        let status = match self.moods.get().then(|| self.rng.below(4)) {
            Some(0) => return Err(Fault::Connection),
            Some(1) => 503,
            _ => 204,
        };
        if status == 204 {
            self.heard.borrow_mut().insert((message.url.to_owned(), message.id.clone()));
        }
        Ok(Answered { status, ..Answered::default() })
    }
}

/// A world under way.
pub struct Sim {
    pub world: World,
    pub site: Site,
    pub rng: Rc<SeededRng>,
    pub known: RefCell<Known>,
    pub clients: RefCell<Vec<Client>>,
    pub listener: Listener,
    instances: RefCell<Vec<Rc<Instance>>>,
    edges: RefCell<Vec<Rc<Edge>>>,
    versions: RefCell<Versions>,
    acts: Acts,
    /// What acts draw from, so that a world without them is the same whatever they come to be.
    pub acting: Rc<SeededRng>,
    limited: RefCell<Option<Rc<Limited>>>,
    vault: RefCell<Option<Rc<Vault>>>,
    imports: RefCell<Option<Rc<Imports>>>,
    /// A copy of the store as it was between two rounds.
    pub copy: RefCell<Option<Backup>>,
    /// By how much wall clocks stepped back, all in all.
    pub stepped_back_ms: Cell<i64>,
    /// The webhook that hears of everything.
    hook: Cell<Option<WebhookId>>,
    /// What validators kept of use.
    pub used: RefCell<BTreeMap<KeyId, u64>>,
    requests: Cell<u64>,
    /// Whether a month went by, so that graces and claims are over.
    pub has_aged: Cell<bool>,
    /// Whether each request is told: for one world that is looked at.
    pub tells: bool,
}

impl Sim {
    /// A world with its first application, its clients and a webhook, before anything went wrong.
    pub async fn new(seed: u64, acts: Acts, flaw: Option<Flaw>, tells: bool) -> Self {
        let mut world = World::new(seed).await;
        // Whoever looks from outside reads all versions that come to be.
        world.rings = rings(&[1], &[3, 2, 1], &[1]);
        world.rings.vault = Some(vault_ring(&[3, 2, 1]));
        let rng = Rc::new(SeededRng::new(seed ^ 0x005e_ed5e_ed5e));
        let acting = Rc::new(SeededRng::new(seed ^ 0x00ac_7ed0_ac7e));
        let (weather, memory) = (Rc::new(Cell::new(Weather::FAIR)), Rc::new(Memory::default()));
        let (drawn, weathered) = (Rc::clone(&acting), Rc::clone(&weather));
        let site = Site {
            counters: CounterStore::new(world.clock.clone(), drawn, weathered, flaw, Rc::clone(&memory)),
            weather,
            rng: Rc::clone(&rng),
            behind: Rc::new(world.kv.connect(world.clock.clone())),
            flaw,
            memory,
        };
        let listener = Listener {
            moods: Cell::new(false),
            is_away: Cell::new(false),
            heard: RefCell::default(),
            rng: Rc::clone(&rng),
        };
        let sim = Self {
            site,
            rng,
            known: RefCell::default(),
            clients: RefCell::default(),
            listener,
            instances: RefCell::default(),
            edges: RefCell::default(),
            versions: RefCell::new(Versions { records: vec![1], audit: vec![1], vault: vec![1] }),
            acts,
            acting,
            limited: RefCell::default(),
            vault: RefCell::default(),
            imports: RefCell::default(),
            copy: RefCell::default(),
            stepped_back_ms: Cell::new(0),
            hook: Cell::new(None),
            used: RefCell::default(),
            requests: Cell::new(0),
            has_aged: Cell::new(false),
            tells,
            world,
        };
        sim.settle_in().await;
        if acts.limits {
            let limited = Limited::settle_in(&sim).await;
            sim.limited.replace(Some(Rc::new(limited)));
        }
        if acts.vault {
            let vault = Vault::settle_in(&sim).await;
            sim.vault.replace(Some(Rc::new(vault)));
        }
        if acts.imports {
            let imports = Imports::settle_in(&sim).await;
            sim.imports.replace(Some(Rc::new(imports)));
        }
        sim
    }

    async fn settle_in(&self) {
        let world = &self.world;
        let hook = json!({"application": ApplicationId::KEYWARD.to_string(), "url": HOOK, "events": ["*"]});
        let hook = world.run(&Do::CreateWebhook(hook)).await.expect("a webhook");
        self.hook.set(Some(hook.at("/webhook/id").parse().unwrap()));
        let policy = world.policy(&json!({"rotate_every_s": 30 * 24 * 3600, "grace_s": 7 * 24 * 3600})).await;
        let new = json!({ "name": "calm", "policy": policy });
        let calm = world.run(&Do::CreateApplication(new)).await.expect("an application");
        let calm: ApplicationId = calm.at("/id").parse().unwrap();
        let held = world.held(&new_key(calm, "client")).await;
        let mut known = self.known.borrow_mut();
        known.calm = Some(calm);
        known.knows(held.id, calm, "client");
        known.holds(held.id, &held.token, &held.renewal);
        drop(known);
        self.clients.borrow_mut().push(Client {
            key: held.id,
            token: held.token,
            since: self.now(),
            previous: None,
            renewal: held.renewal,
            ticket: None,
            pending: None,
            is_lost: false,
        });
        for _ in 0..INSTANCES {
            self.instances.borrow_mut().push(Rc::new(self.site.start(world, &self.versions.borrow())));
        }
        self.edges.borrow_mut().push(Rc::new(Edge::new(world, &self.versions.borrow())));
    }

    pub fn now(&self) -> Moment {
        Moment { written: self.world.kv.written(), at_ms: self.world.clock.monotonic_ms() }
    }

    /// Everything that goes on, round by round.
    pub async fn live(&self) {
        let rng = &self.rng;
        let is_rough = rng.chance(25);
        self.known.borrow_mut().edits_may_be_lost = is_rough;
        let weather = Weather {
            failing: *rng.one_of(&[0, 10, 40, 100]),
            repeated: *rng.one_of(&[0, 5, 20]),
            deadly: *rng.one_of(&[0, 3, 10]),
            slow: *rng.one_of(&[0, 4, 15]),
            stalled: if is_rough { 8 } else { 0 },
        };
        self.site.weather.set(weather);
        self.listener.moods.set(true);
        for _ in 0..ROUNDS {
            self.between_rounds().await;
            self.act_between_rounds().await;
            let mut tasks: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
            for _ in 0..AT_ONCE {
                tasks.push(match rng.below(12) {
                    0..7 => self.administer().boxed_local(),
                    7 => self.validate().boxed_local(),
                    8 => self.schedule().boxed_local(),
                    9 => self.deliver().boxed_local(),
                    _ => self.keep_use().boxed_local(),
                });
            }
            for at in 0..self.clients.borrow().len() {
                tasks.push(self.client(at).boxed_local());
            }
            tasks.push(self.validate().boxed_local());
            tasks.extend(self.act());
            if is_rough {
                tasks.push(self.step_clocks().boxed_local());
            }
            join_all(tasks).await;
        }
    }

    /// What happens while nobody asks for anything.
    async fn between_rounds(&self) {
        let rng = &self.rng;
        for at in 0..INSTANCES {
            if self.instances.borrow()[at].is_dead() || rng.chance(10) {
                self.restart(at);
            }
        }
        let edge = Rc::clone(&self.edges.borrow()[0]);
        if rng.chance(40) {
            edge.is_cut.set(rng.chance(40));
            edge.lag_ms.set(*rng.one_of(&[0, 100, 1_000, 10_000]));
            edge.replica.cut(edge.is_cut.get());
            edge.replica.lag(edge.lag_ms.get());
            edge.since_ms.set(self.now().at_ms);
        }
        match rng.below(10) {
            0 => self.step_wall_ms(-600_000),
            1 => self.step_wall_ms(70_000),
            2 => tokio::time::advance(Duration::from_secs(61)).await,
            3 if self.clients.borrow().iter().all(|client| client.pending.is_none()) => self.age(MONTH).await,
            4 => self.roll_ring(|versions| &mut versions.records),
            _ => {}
        }
    }

    /// What is begun beside all else.
    fn act(&self) -> Vec<LocalBoxFuture<'_, ()>> {
        let (acts, rng) = (self.acts, &self.acting);
        let mut tasks: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
        if let Some(limited) = self.limited() {
            tasks.push(async move { limited.use_some(self).await }.boxed_local());
        }
        if let Some(limited) = self.limited().filter(|_| rng.chance(30)) {
            tasks.push(async move { limited.change(self).await }.boxed_local());
        }
        if let Some(vault) = self.vault() {
            let (admins, rotating) = (Rc::clone(&vault), Rc::clone(&vault));
            tasks.push(async move { admins.administer(self).await }.boxed_local());
            tasks.push(async move { rotating.rotate(self).await }.boxed_local());
            tasks.push(async move { vault.read_some(self).await }.boxed_local());
        }
        if acts.dead_letters && rng.chance(60) {
            tasks.push(self.see_to_dead_letters().boxed_local());
        }
        if acts.shreds && rng.chance(50) {
            tasks.push(self.shred().boxed_local());
        }
        if let Some(imports) = self.imports() {
            tasks.push(async move { imports.import_some(self).await }.boxed_local());
        }
        if acts.leaks {
            tasks.push(self.report_leaks().boxed_local());
        }
        tasks
    }

    /// What acts add to what happens while nobody asks for anything.
    async fn act_between_rounds(&self) {
        let (acts, rng) = (self.acts, &self.acting);
        let may_age = self.clients.borrow().iter().all(|client| client.pending.is_none());
        if acts.limits {
            self.site.counters.is_down.set(rng.chance(10));
        }
        if acts.dead_letters && may_age && rng.chance(40) {
            self.listener.is_away.set(true);
            self.schedule().await;
            self.deliver().await;
            self.listener.is_away.set(false);
            self.age(UNHEARD).await;
            self.deliver().await;
        }
        if acts.shreds && may_age && rng.chance(40) {
            self.age(MONTH).await;
        }
        if acts.audit_ring && rng.chance(50) {
            self.roll_ring(|versions| &mut versions.audit);
        }
        if acts.vault && rng.chance(30) {
            // Re-sealing has something to do.
            self.roll_ring(|versions| &mut versions.records);
        }
        if acts.vault && rng.chance(30) {
            self.roll_ring(|versions| &mut versions.vault);
        }
        if acts.loses_store && rng.chance(40) {
            self.copy.replace(Some(self.world.kv.backup()));
        }
    }

    /// An admin tries dead letters of a webhook anew, or gives them up: one of them, or all.
    async fn see_to_dead_letters(&self) {
        let Some(letters) = self.dead_letters(&self.acting).await else { return };
        if letters.is_empty() {
            return;
        }
        let (webhook, message) = self.acting.one_of(&letters).clone();
        let message = self.acting.chance(50).then_some(message);
        let what = if self.acting.chance(60) {
            Do::ReplayDeadLetters(webhook, json!({ "message": message }))
        } else {
            Do::DropDeadLetters(webhook, json!({ "message": message, "reason": "x" }))
        };
        self.call(&what, None).await;
    }

    /// The messages that were given up and are kept, each with whose it is; `None` where no answer came.
    pub async fn dead_letters(&self, rng: &SeededRng) -> Option<Vec<(WebhookId, String)>> {
        let instance = self.instance_for(rng);
        let service = instance.service(&self.world.rng);
        let listed = instance.living(async {
            let caller = instance.admit(&self.world, &self.world.root, None).await.ok()?;
            let attempt = Attempt::to_read(caller, Action::WebhookRead, Target::default());
            let (mut letters, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let page = Page::parse(Some("100"), cursor.as_deref()).expect("a page");
                let list = service.dead_letters(&attempt, &DeadLetterFilter::default(), &page).await.ok()?;
                let list: Value = serde_json::from_str(list.to_json().expose()).expect("JSON");
                letters.extend(list["items"].as_array().into_iter().flatten().map(|letter| {
                    let text = |name: &str| letter[name].as_str().expect("an id").to_owned();
                    (text("webhook").parse().expect("an id"), text("message"))
                }));
                cursor = list["next_cursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    return Some(letters);
                }
            }
        });
        listed.await.flatten()
    }

    /// A scanner reports what it found of keys that are not a client's: their tokens, renewal tokens and tickets. Some are then rotated,
    /// others end, by their policies.
    async fn report_leaks(&self) {
        let rng = &self.acting;
        let client = self.clients.borrow()[0].key;
        let (mut found, application) = {
            let known = self.known.borrow();
            let tokens = known.tokens.iter().filter(|token| token.key != client).map(|token| &token.text);
            let rights = known.renewals.iter().chain(&known.tickets).filter(|(key, _)| *key != client);
            let all: Vec<String> = tokens.chain(rights.map(|(_, text)| text)).cloned().collect();
            (all, (!known.applications.is_empty()).then(|| *rng.one_of(&known.applications)))
        };
        if let Some(application) = application.filter(|_| rng.chance(40)) {
            let policy = json!({"name": format!("rotating {}", rng.next()), "on_leak": "rotate"});
            if let Some(Ok(policy)) = self.call(&Do::CreatePolicy(policy), None).await {
                self.call(
                    &Do::ChangeApplication(application, json!({"policy": policy.at("/id")}), None),
                    None,
                )
                .await;
            }
        }
        found.retain(|_| rng.chance(30));
        let matches: Vec<Value> =
            found.iter().map(|text| json!({"token": text, "type": "keyward"})).collect();
        if !matches.is_empty() {
            self.call(&Do::ReportLeaks(json!(matches)), None).await;
        }
    }

    /// An admin has what is personal in all months of the past destroyed.
    async fn shred(&self) {
        let before = Month::of(self.world.clock.now());
        let acknowledged = {
            let mut known = self.known.borrow_mut();
            known.shredding = known.shredding.max(Some(before));
            known.receipts.len()
        };
        let what = Do::Shred(before.to_string(), "x".to_owned());
        if let Some(Ok(_)) = self.call(&what, None).await {
            self.known.borrow_mut().shredded.push(Shredded { before, acknowledged });
        }
    }

    /// Moves the wall clocks.
    fn step_wall_ms(&self, by_ms: i64) {
        self.stepped_back_ms.set(self.stepped_back_ms.get() + (-by_ms).max(0));
        self.world.clock.step_wall_ms(by_ms);
    }

    /// So much time goes by that every grace and every claim is over.
    pub async fn age(&self, by: Duration) {
        tokio::time::advance(by).await;
        self.has_aged.set(true);
        for client in self.clients.borrow_mut().iter_mut() {
            (client.previous, client.ticket) = (None, None);
        }
    }

    /// A new version of a ring: known to all first, active one process after the other.
    fn roll_ring(&self, ring: fn(&mut Versions) -> &mut Vec<u8>) {
        let known: Vec<u8> = ring(&mut self.versions.borrow_mut()).clone();
        let newest = known.iter().copied().max().unwrap();
        let is_active = known.last() == Some(&newest);
        if is_active {
            let mut next: Vec<u8> = vec![newest + 1];
            next.extend(known);
            *ring(&mut self.versions.borrow_mut()) = next;
            for at in 0..INSTANCES {
                self.restart(at);
            }
            let old = self.edges.borrow_mut().pop().unwrap();
            let edge = Edge::new(&self.world, &self.versions.borrow());
            drop(old);
            edge.since_ms.set(self.now().at_ms);
            self.edges.borrow_mut().push(Rc::new(edge));
        } else {
            let mut next: Vec<u8> = known.into_iter().filter(|version| *version != newest).collect();
            next.push(newest);
            *ring(&mut self.versions.borrow_mut()) = next;
        }
    }

    fn restart(&self, at: usize) {
        self.instances.borrow_mut()[at] = Rc::new(self.start_one());
    }

    /// All processes start anew, nothing goes wrong any more.
    pub fn heal(&self) {
        self.site.weather.set(Weather::FAIR);
        self.site.counters.is_down.set(false);
        self.listener.moods.set(false);
        for at in 0..INSTANCES {
            self.restart(at);
        }
        let edge = Rc::clone(&self.edges.borrow()[0]);
        edge.is_cut.set(false);
        edge.lag_ms.set(0);
        edge.replica.cut(false);
        edge.replica.lag(0);
        edge.since_ms.set(self.now().at_ms);
    }

    /// A process beside those that serve.
    pub fn start_one(&self) -> Instance {
        self.site.start(&self.world, &self.versions.borrow())
    }

    pub fn instance(&self) -> Rc<Instance> {
        self.instance_for(&self.rng)
    }

    /// One of the instances, for whoever draws from another generator.
    pub fn instance_for(&self, rng: &SeededRng) -> Rc<Instance> {
        Rc::clone(rng.one_of(&self.instances.borrow()))
    }

    /// The keys under limits, where this world has any.
    pub fn limited(&self) -> Option<Rc<Limited>> {
        self.limited.borrow().clone()
    }

    /// The imports, where this world has any.
    pub fn imports(&self) -> Option<Rc<Imports>> {
        self.imports.borrow().clone()
    }

    /// The credentials, where this world has any.
    pub fn vault(&self) -> Option<Rc<Vault>> {
        self.vault.borrow().clone()
    }

    /// The webhook that hears of everything.
    pub fn hook(&self) -> WebhookId {
        self.hook.get().expect("it was made first")
    }

    pub fn edge(&self) -> Rc<Edge> {
        Rc::clone(&self.edges.borrow()[0])
    }

    pub fn idempotency_key(&self) -> String {
        self.requests.set(self.requests.get() + 1);
        format!("request-{}", self.requests.get())
    }

    /// One request to one instance.
    pub async fn call(&self, what: &Do, idempotency_key: Option<&str>) -> Ended {
        let begun = self.known.borrow_mut().begin(what);
        let token = match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::ReportLeaks(_) | Do::Renew(_) => None,
            _ => Some(self.world.root.as_str()),
        };
        let asked_ms = self.now().at_ms;
        let instance = self.instance();
        let served = instance.living(instance.serve(&self.world, token, what, idempotency_key)).await;
        let (ended, receipt) = match served {
            Some((ended, receipt)) => (Some(ended), receipt),
            None => (None, None),
        };
        if self.tells {
            let came_to = match &ended {
                None => "no answer".to_owned(),
                Some(Ok(reply)) if reply.replayed => "as before".to_owned(),
                Some(Ok(_)) => receipt.map_or("done".to_owned(), |receipt| receipt.event.to_string()),
                Some(Err(error)) => error.to_string(),
            };
            eprintln!("{asked_ms}-{} ms {idempotency_key:?} {what:?}: {came_to}", self.now().at_ms);
        }
        self.known.borrow_mut().end(what, &begun, self.now(), &ended, receipt);
        ended
    }

    /// The same until it is answered, or so often.
    pub async fn call_until_answered(&self, what: &Do, idempotency_key: &str) -> Ended {
        for _ in 0..TRIES {
            match self.call(what, Some(idempotency_key)).await {
                None => {}
                Some(Err(error)) if is_for_later(&error) => {}
                answered => return answered,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.instances.borrow().iter().all(|instance| instance.is_dead()) {
                self.restart(0);
            }
        }
        None
    }

    async fn administer(&self) {
        tokio::time::sleep(Duration::from_millis(self.rng.next() % 30)).await;
        for _ in 0..2 {
            let what = self.choose();
            if self.rng.chance(40) {
                let key = self.idempotency_key();
                if let Do::Issue(new) = &what {
                    let name = new["name"].as_str().unwrap().to_owned();
                    self.known.borrow_mut().issued_once.push(name);
                }
                self.call_until_answered(&what, &key).await;
            } else {
                self.call(&what, None).await;
            }
        }
    }

    /// Something for an admin to do, or for whoever holds a ticket or a token of a key that is not a client's.
    fn choose(&self) -> Do {
        let rng = &self.rng;
        let mut known = self.known.borrow_mut();
        let name = known.fresh_name();
        let calm = known.calm.unwrap();
        let client = self.clients.borrow()[0].key;
        let Some(application) = (!known.applications.is_empty()).then(|| *rng.one_of(&known.applications))
        else {
            return Do::CreateApplication(json!({ "name": name }));
        };
        let others: Vec<KeyId> = known.born.iter().copied().filter(|key| *key != client).collect();
        let tickets: Vec<String> =
            known.tickets.iter().filter(|(key, _)| *key != client).map(|(_, t)| t.clone()).collect();
        let tokens: Vec<String> =
            known.tokens.iter().filter(|t| t.key != client).map(|t| t.text.clone()).collect();
        let renewals: Vec<String> =
            known.renewals.iter().filter(|(key, _)| *key != client).map(|(_, r)| r.clone()).collect();
        let issue = || {
            let mut new =
                if rng.chance(15) { new_admin(&["keys:read"], &[]) } else { new_key(application, &name) };
            new["name"] = json!(name);
            if rng.chance(20) {
                new["tags"] = json!(["bad"]);
            }
            Do::Issue(new)
        };
        if others.is_empty() {
            return issue();
        }
        let key = *rng.one_of(&others);
        let any = |texts: &[String], what: fn(String) -> Do| {
            if texts.is_empty() { issue() } else { what(rng.one_of(texts).clone()) }
        };
        match rng.below(40) {
            0 => Do::CreateApplication(json!({ "name": name })),
            1..5 => issue(),
            5..13 => any(&tickets, Do::TakeClaim),
            13 => Do::Reissue(key),
            14..17 => Do::Rotate(key, json!({"reason": "x", "mode": "scheduled", "grace_s": 3600})),
            17 => Do::Rotate(key, json!({"reason": "x", "mode": "incident"})),
            18..20 => Do::FinishRotation(key, "x"),
            20 => Do::CancelRotation(key, "x"),
            21..23 => any(&renewals, Do::Renew),
            23..25 => Do::RevokeKey(key, "lost"),
            25 => Do::RevokeApplication(application, "leak"),
            26 => Do::RevokeMany(match rng.below(3) {
                0 => json!({"tag": "bad", "reason": "x"}),
                1 => json!({"application": application, "reason": "x"}),
                _ => json!({"tag": "bad", "reason": "x", "dry_run": true}),
            }),
            27 => any(&tokens, Do::Report),
            28 => any(&tokens, Do::Lookup),
            29 => Do::ChangeKey(key, json!({"disabled": rng.chance(60)}), None),
            30 => Do::ChangeKey(key, json!({"tags": ["bad"]}), None),
            31 if known.is_frozen || rng.chance(50) => Do::Thaw("x"),
            31 => Do::Freeze("x"),
            32 => match rng.below(4) {
                0 => Do::CreatePolicy(json!({"name": name, "rotate_every_s": 86_400, "grace_s": 3_600})),
                1 if !known.policies.is_empty() => {
                    Do::ChangePolicy(*rng.one_of(&known.policies), json!({"grace_s": 600}), None)
                }
                2 if !known.policies.is_empty() => Do::RetirePolicy(*rng.one_of(&known.policies), "x"),
                _ if !known.policies.is_empty() => {
                    Do::ChangeApplication(application, json!({"policy": rng.one_of(&known.policies)}), None)
                }
                _ => Do::ListPresets,
            },
            33 => match rng.below(3) {
                0 if !known.roles.is_empty() => Do::RetireRole(*rng.one_of(&known.roles), "x"),
                1 if !known.roles.is_empty() => {
                    Do::ChangeRole(*rng.one_of(&known.roles), json!({"scopes": ["apps:read"]}), None)
                }
                _ => Do::CreateRole(json!({"name": name, "scopes": ["keys:read"]})),
            },
            34 => match rng.below(3) {
                0 if !known.webhooks.is_empty() => Do::RetireWebhook(*rng.one_of(&known.webhooks), "x"),
                1 if !known.webhooks.is_empty() => {
                    Do::ChangeWebhook(*rng.one_of(&known.webhooks), json!({"disabled": rng.chance(50)}))
                }
                _ => Do::CreateWebhook(
                    json!({"application": application, "url": "https://other.example/", "events": ["*"]}),
                ),
            },
            35 => Do::ChangeApplication(application, json!({ "name": name }), None),
            36 => Do::ChangeApplication(
                application,
                json!({"status": *rng.one_of(&["active", "suspended"]), "reason": "x"}),
                None,
            ),
            37 => match rng.below(6) {
                0 => Do::ListKeys(application),
                1 => Do::ListApplications,
                2 => Do::ListEvents(None),
                3 => Do::Compliance(Some(calm), None, 10, None),
                4 => Do::ReadKey(key),
                _ => Do::ChangeApplication(application, json!({"routes": {"slot": key}}), None),
            },
            // The client's key may be edited and offered a successor like any other.
            38 => Do::ChangeKey(client, json!({ "name": name }), None),
            _ => Do::ChangeKey(key, json!({ "name": name }), None),
        }
    }

    /// Somebody presents tokens, here and there.
    pub async fn validate(&self) {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(self.rng.next() % 20)).await;
            let count = self.known.borrow().tokens.len();
            // What was just acknowledged to be dead is where a mistake would show.
            let at = if self.rng.chance(50) {
                count - 1 - self.rng.below(count.min(3))
            } else {
                self.rng.below(count)
            };
            self.present(at).await;
        }
    }

    /// Presents a token, and holds the answer to what was acknowledged before.
    pub async fn present(&self, at: usize) {
        let (text, key) = {
            let known = self.known.borrow();
            (known.tokens[at].text.clone(), known.tokens[at].key)
        };
        let edge = self.rng.chance(40).then(|| self.edge());
        let begun = self.now();
        let seen = edge.as_ref().map_or(usize::MAX, |edge| edge.replica.applied());
        let is_settled = |since: Moment| match &edge {
            None => begun.at_ms >= since.at_ms + HELD_MS,
            Some(edge) => {
                let last_ms = (since.at_ms + edge.lag_ms.get()).max(edge.since_ms.get());
                !edge.is_cut.get() && begun.at_ms >= last_ms + HELD_MS
            }
        };
        let must_not = {
            let known = self.known.borrow();
            let (token, key) = (&known.tokens[at], &known.keys[&key]);
            let is_seen = |since: Moment| since.written <= seen;
            let dead = key
                .dead
                .is_some_and(|dead| is_seen(dead.since) && (!dead.by_application || is_settled(dead.since)));
            let killed = token.dead.is_some_and(is_seen);
            let disabled = !known.edits_may_be_lost && key.disabled.is_some_and(is_seen);
            (dead, killed, disabled)
        };
        let enables_before = self.known.borrow().keys[&key].disabled.is_some();
        let instance = self.instance();
        let verdict = match &edge {
            Some(edge) => Some(edge.verify(&text).await),
            None => instance.living(instance.verify(&text)).await,
        };
        let Some(Ok(Verdict::Accepted(_))) = verdict else { return };
        let where_ = if edge.is_some() { "at a replica that has it" } else { "at the store itself" };
        assert!(!must_not.0, "a token passed {where_} after its key's revocation was acknowledged");
        assert!(!must_not.1, "a token passed {where_} after the end of its version was acknowledged");
        // Somebody may have begun to switch it on meanwhile.
        let still = enables_before && self.known.borrow().keys[&key].disabled.is_some();
        assert!(!(must_not.2 && still), "a token passed {where_} while its key was switched off");
    }

    /// The client's turn: it uses what it holds, and now and then asks for what comes next.
    async fn client(&self, at: usize) {
        for _ in 0..2 {
            self.use_token(at).await;
            tokio::time::sleep(Duration::from_millis(self.rng.next() % 40)).await;
        }
        let has_ticket = self.clients.borrow()[at].ticket.is_some();
        if self.rng.chance(20) && !has_ticket {
            // An admin offers it a successor, and hands it the claim.
            let key = self.clients.borrow()[at].key;
            let what = Do::Rotate(key, json!({"reason": "due"}));
            if let Some(Ok(reply)) = self.call(&what, None).await {
                self.clients.borrow_mut()[at].ticket = Some(reply.at("/claim/ticket"));
            }
        }
        if self.rng.chance(60) || self.clients.borrow()[at].pending.is_some() {
            self.ask_for_next(at).await;
            self.use_token(at).await;
        }
    }

    /// The client asks for its next token, or goes on asking.
    pub async fn ask_for_next(&self, at: usize) {
        let fresh = || {
            let clients = self.clients.borrow();
            let ticket = clients[at].ticket.clone().filter(|_| self.rng.chance(50));
            let what = ticket.map_or_else(|| Do::Renew(clients[at].renewal.clone()), Do::TakeClaim);
            Pending { what, idempotency_key: self.idempotency_key(), since_ms: self.now().at_ms }
        };
        let asked = self.clients.borrow()[at].pending.clone();
        let pending = asked.unwrap_or_else(fresh);
        self.clients.borrow_mut()[at].pending = Some(pending.clone());
        let ended = self.call_until_answered(&pending.what, &pending.idempotency_key).await;
        let is_rough = self.known.borrow().edits_may_be_lost;
        let mut clients = self.clients.borrow_mut();
        let client = &mut clients[at];
        let is_claim = matches!(pending.what, Do::TakeClaim(_));
        match ended {
            Some(Ok(reply)) => {
                client.previous = Some(std::mem::replace(&mut client.token, reply.at("/token")));
                client.renewal = reply.at("/renewal_token");
                client.since = self.now();
                (client.pending, client.ticket) = (None, None);
            }
            Some(Err(error)) => {
                client.pending = None;
                if is_claim {
                    client.ticket = None;
                    // Who won it is unknown where a process died with it, or the answer came too late.
                    client.is_lost |= error.code == Code::ClaimTaken;
                } else {
                    let may = matches!(error.code, Code::StateConflict | Code::IssuingFrozen);
                    assert!(may || client.is_lost || is_rough, "a client could not renew itself: {error}");
                }
            }
            None if is_claim && self.now().at_ms > pending.since_ms + CLAIM_REPLAY_MS => {
                client.is_lost = true;
                (client.pending, client.ticket) = (None, None);
            }
            None => {}
        }
    }

    /// A client that does as it should is never refused.
    pub async fn use_token(&self, at: usize) {
        let edge = self.rng.chance(40).then(|| self.edge());
        let seen = edge.as_ref().map_or(usize::MAX, |edge| edge.replica.applied());
        let (token, is_fallback) = {
            let clients = self.clients.borrow();
            let client = &clients[at];
            match &client.previous {
                // What it was just given may not have come there yet.
                _ if client.since.written <= seen => (client.token.clone(), false),
                Some(previous) => (previous.clone(), true),
                None => return,
            }
        };
        let instance = self.instance();
        let verdict = match &edge {
            Some(edge) => Some(edge.verify(&token).await),
            None => instance.living(instance.verify(&token)).await,
        };
        let refused = match verdict {
            Some(Ok(Verdict::Refused(refusal))) => refusal.code,
            _ => return,
        };
        let excused = self.clients.borrow()[at].is_lost || self.known.borrow().edits_may_be_lost;
        let never_came = is_fallback && refused == RefusalCode::NotFound;
        assert!(excused || never_came, "a client was refused with {}", refused.as_str());
    }

    pub async fn schedule(&self) {
        let instance = self.instance();
        let service = instance.service(&self.world.rng);
        let _ = instance
            .living(async {
                let _ = service.maintain().await;
                let _ = service.fold_use(&instance.kv).await;
            })
            .await;
        if let Some(limited) = self.limited() {
            limited.forget(self, &instance).await;
        }
    }

    pub async fn deliver(&self) {
        let instance = self.instance();
        let service = instance.service(&self.world.rng);
        let _ = instance.living(service.deliver(&self.listener, Targets::Public)).await;
    }

    /// A validator keeps what it has counted.
    async fn keep_use(&self) {
        let instance = self.instance();
        let key = *self.rng.one_of(&self.known.borrow().born);
        let Some(Ok(ticket)) = instance.living(instance.kv.increment(names::usage::TICKETS, 1)).await else {
            return;
        };
        let hour = self.world.clock.now().unix_s().div_euclid(3600);
        let mut count = UsageCount {
            key,
            version: 1,
            hour,
            outcomes: Outcomes::default(),
            addresses: Distinct::default(),
        };
        count.outcomes.note(None);
        let (ticket, reads) = (ticket.unsigned_abs(), Durations::default());
        let batch = UsageBatch { ticket, counts: vec![count], refusals: Vec::new(), reads };
        let sealed =
            SealedUsage::new(&instance.rings.records, &batch, self.world.rng.bytes()).expect("sealed");
        self.world.kv.tamper(sealed.store_key(), Some(sealed.value().to_vec()));
        *self.used.borrow_mut().entry(key).or_default() += 1;
    }

    /// The wall clock jumps while requests are under way.
    async fn step_clocks(&self) {
        tokio::time::sleep(Duration::from_millis(self.rng.next() % 50)).await;
        let by_ms = *self.rng.one_of(&[-600_000, -3_000, 3_000, 70_000]);
        self.step_wall_ms(by_ms);
    }
}

/// Whether the same request may be answered later.
fn is_for_later(error: &keyward_domain::Error) -> bool {
    error.code.status() == 503 && error.code != Code::IssuingFrozen || error.code == Code::IdempotencyInFlight
}
