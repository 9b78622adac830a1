//! Random histories of use cases, and what must hold of a store whatever happened to it: the log, the state and the projections
//! agree, and nothing that was acknowledged is lost.

use crate::world::{Do, Held, Reply, SeededRng, World, new_key, survive};
use keyward_crypto::digest::{hex, leaf_hash};
use keyward_crypto::tree::{Edge, TILE_WIDTH, TileId};
use keyward_domain::event::{Event, EventId, Outcome};
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Error, KeyId};
use keyward_records::projection::PAGE_ENTRIES;
use keyward_records::register::{Counts, ROWS, TOTALS};
use keyward_records::{StoredEvent, names, open};
use keyward_verify::Demand;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What whoever called knows: what was acknowledged, and what may have happened.
#[derive(Default)]
pub struct History {
    pub applications: Vec<ApplicationId>,
    pub unclaimed: Vec<(KeyId, String)>,
    pub held: Vec<Held>,
    /// Acknowledged revocations.
    pub revoked: BTreeSet<KeyId>,
    /// Keys and applications of revocations without a proper answer.
    pub maybe_revoked: BTreeSet<KeyId>,
    pub maybe_revoked_applications: BTreeSet<ApplicationId>,
    /// Tokens of versions that were acknowledged to be ended while their keys live on.
    pub ended: BTreeSet<String>,
    /// Keys some of whose versions may be.
    pub maybe_ended: BTreeSet<KeyId>,
    pub owner: BTreeMap<KeyId, ApplicationId>,
    /// Names that a key may have: the last acknowledged, and any that was tried since.
    pub named: BTreeMap<KeyId, Vec<String>>,
    /// The events of acknowledged changes.
    pub acknowledged: Vec<EventId>,
    pub names_given: u32,
}

/// How a call ended, for whoever made it.
pub type Ended = Option<Result<Reply, Error>>;

impl History {
    /// Something to do next.
    pub fn choose(&mut self, rng: &SeededRng) -> Do {
        self.names_given += 1;
        let name = format!("n{}", self.names_given);
        if self.applications.is_empty() {
            return Do::CreateApplication(json!({ "name": name }));
        }
        let app = *rng.one_of(&self.applications);
        let some_key = |rng: &SeededRng| {
            let all: Vec<KeyId> = self.owner.keys().copied().collect();
            (!all.is_empty()).then(|| *rng.one_of(&all))
        };
        match rng.below(20) {
            0..2 => Do::CreateApplication(json!({ "name": name })),
            2..7 => Do::Issue(new_key(app, &name)),
            7..12 if !self.unclaimed.is_empty() => Do::TakeClaim(rng.one_of(&self.unclaimed).1.clone()),
            12 if !self.unclaimed.is_empty() => Do::Reissue(rng.one_of(&self.unclaimed).0),
            13 if !self.held.is_empty() => Do::Lookup(rng.one_of(&self.held).token.clone()),
            14 if !self.held.is_empty() => Do::Report(rng.one_of(&self.held).token.clone()),
            15 if rng.chance(20) => Do::RevokeApplication(app, "leak"),
            15 if !self.held.is_empty() => {
                // Whoever is in an overlap or offered already is refused; a day of grace outlasts every history.
                let mode = if rng.chance(30) { "incident" } else { "scheduled" };
                Do::Rotate(rng.one_of(&self.held).id, json!({ "reason": "x", "mode": mode }))
            }
            18 if !self.held.is_empty() => match rng.below(3) {
                0 => Do::FinishRotation(rng.one_of(&self.held).id, "x"),
                1 => Do::CancelRotation(rng.one_of(&self.held).id, "x"),
                _ => Do::Renew(rng.one_of(&self.held).renewal.clone()),
            },
            16 => Do::ChangeApplication(app, json!({ "name": name }), None),
            17 => match some_key(rng) {
                Some(key) => Do::RevokeKey(key, "lost"),
                None => Do::Issue(new_key(app, &name)),
            },
            _ => match some_key(rng) {
                Some(key) => Do::ChangeKey(key, json!({ "name": name }), None),
                None => Do::Issue(new_key(app, &name)),
            },
        }
    }

    /// Takes note of how a call ended.
    pub fn note(&mut self, what: &Do, ended: &Ended) {
        let Some(Ok(reply)) = ended else {
            // What is refused changed nothing; all else may have.
            if let Some(Err(error)) = ended
                && error.code.status() < 500
            {
                return;
            }
            match what {
                Do::RevokeKey(key, _) => drop(self.maybe_revoked.insert(*key)),
                Do::Report(token) => {
                    self.maybe_revoked
                        .extend(self.held.iter().find(|held| held.token == *token).map(|h| h.id));
                }
                Do::RevokeApplication(app, _) => drop(self.maybe_revoked_applications.insert(*app)),
                Do::Rotate(key, _) | Do::FinishRotation(key, _) => drop(self.maybe_ended.insert(*key)),
                Do::ChangeKey(key, change, _) => {
                    self.named.entry(*key).or_default().push(change["name"].as_str().unwrap().to_owned());
                }
                _ => {}
            }
            return;
        };
        if let Some(event) = reply.json().get("event").and_then(|event| event.as_str()) {
            self.acknowledged.push(event.parse().expect("an event's id"));
        }
        match what {
            Do::CreateApplication(_) => self.applications.push(reply.at("/id").parse().unwrap()),
            Do::Issue(new) => {
                let id = reply.at("/key/id").parse().unwrap();
                self.owner.insert(id, reply.at("/key/application").parse().unwrap());
                self.named.insert(id, vec![new["name"].as_str().unwrap().to_owned()]);
                self.unclaimed.push((id, reply.at("/claim/ticket")));
            }
            Do::Rotate(id, asked) => {
                if asked["mode"] == "incident" {
                    self.end_versions(*id, 0);
                }
                self.unclaimed.retain(|(key, _)| key != id);
                self.unclaimed.push((*id, reply.at("/claim/ticket")));
            }
            Do::FinishRotation(id, _) => self.end_versions(*id, 1),
            Do::CancelRotation(id, _) => self.unclaimed.retain(|(key, _)| key != id),
            Do::Renew(_) => self.hold(reply),
            Do::Reissue(id) => {
                self.unclaimed.retain(|(key, _)| key != id);
                self.unclaimed.push((*id, reply.at("/claim/ticket")));
            }
            Do::TakeClaim(ticket) => {
                self.unclaimed.retain(|(_, other)| other != ticket);
                self.hold(reply);
            }
            Do::RevokeKey(id, _) => drop(self.revoked.insert(*id)),
            Do::Report(token) => {
                self.revoked.extend(self.held.iter().find(|held| held.token == *token).map(|held| held.id));
            }
            Do::RevokeApplication(app, _) => {
                let dead: Vec<KeyId> =
                    self.owner.iter().filter(|(_, owner)| *owner == app).map(|(key, _)| *key).collect();
                self.revoked.extend(dead);
            }
            Do::ChangeKey(key, change, _) => {
                self.named.insert(*key, vec![change["name"].as_str().unwrap().to_owned()]);
            }
            _ => {}
        }
    }

    /// Somebody holds the newest version of a key.
    fn hold(&mut self, reply: &Reply) {
        self.held.push(Held {
            id: reply.at("/key/id").parse().unwrap(),
            token: reply.at("/token"),
            renewal: reply.json()["renewal_token"].as_str().unwrap_or_default().to_owned(),
        });
    }

    /// Every version of a key that somebody holds is dead, but for so many of the newest.
    fn end_versions(&mut self, id: KeyId, newest: usize) {
        let mut mine: Vec<&str> =
            self.held.iter().filter(|held| held.id == id).map(|held| held.token.as_str()).collect();
        mine.truncate(mine.len().saturating_sub(newest));
        self.ended.extend(mine.into_iter().map(str::to_owned));
    }

    /// Chooses, does and notes one thing; `None` where the caller never came back.
    pub async fn step(&mut self, world: &World, rng: &SeededRng) {
        let what = self.choose(rng);
        let ended = survive(world.run(&what)).await;
        self.note(&what, &ended);
    }

    /// What was acknowledged is there, and what was revoked is dead.
    pub async fn check_acknowledged(&self, world: &World, seed: u64) {
        let log = world.log().await;
        for id in &self.acknowledged {
            let event = log.iter().find(|(other, _)| other == id).and_then(|(_, event)| event.as_ref());
            let event =
                event.unwrap_or_else(|| panic!("seed {seed}: {id} was acknowledged and is not in the log"));
            assert_eq!(event.outcome, Outcome::Done, "seed {seed}: {id}");
        }
        for held in &self.held {
            let code = world.code(&held.token, &Demand::default()).await;
            let app = self.owner[&held.id];
            let uncertain =
                self.maybe_revoked.contains(&held.id) || self.maybe_revoked_applications.contains(&app);
            let uncertain = uncertain || self.maybe_ended.contains(&held.id);
            if self.ended.contains(&held.token) {
                // Of a version before the last no more is known than that it does not pass.
                assert!(matches!(code, "REVOKED" | "NOT_FOUND"), "seed {seed}: {:?} is {code}", held.id);
            } else if self.revoked.contains(&held.id) {
                assert_eq!(code, "REVOKED", "seed {seed}: {:?} after its revocation", held.id);
            } else if !uncertain {
                assert_eq!(code, "VALID", "seed {seed}: {:?} was claimed", held.id);
            }
        }
        for (id, names) in &self.named {
            let key = world.read().key(*id).await.expect("opens").expect("an acknowledged key");
            assert!(names.contains(&key.name), "seed {seed}: {id:?} is named {}, not {names:?}", key.name);
        }
    }
}

/// The state is what the log says: for each record of state, the last event that wrote it has the digest of what lies there.
pub async fn check_state(world: &World, seed: u64) {
    let mut last: BTreeMap<String, (EventId, String)> = BTreeMap::new();
    for event in world.events().await {
        for write in &event.writes {
            last.insert(write.record.clone(), (event.id, write.digest.clone()));
        }
    }
    let values = world.kv.values();
    for (store_key, value) in &values {
        if ["e:", "v:", "p:", "t:", "cp:"].iter().any(|prefix| store_key.starts_with(prefix)) {
            continue;
        }
        let (event, digest) = last
            .get(store_key)
            .unwrap_or_else(|| panic!("seed {seed}: nothing in the log wrote {store_key}"));
        let found = hex(&world.rings.audit.keyed_digest(store_key, value));
        assert_eq!(&found, digest, "seed {seed}: {store_key} is not what {event} wrote");
    }
    for store_key in last.keys() {
        assert!(
            world.kv.values().contains_key(store_key),
            "seed {seed}: {store_key} was written and is gone"
        );
    }
}

/// Brings the projections to the end of the log, voids included.
pub async fn integrate_all(world: &World, seed: u64) {
    for _ in 0..200 {
        let progress = world.ledger().integrate(64).await.expect("integrates");
        if progress.size == progress.taken {
            return;
        }
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
    }
    panic!("seed {seed}: the integrator does not reach the end of the log");
}

/// What is counted in a register, by the names of standings.
fn named(counts: &Counts) -> BTreeMap<&'static str, u64> {
    counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(standing, count)| (standing.as_str(), count))
        .collect()
}

/// The registers are what the facts that events tell come to, each counted by itself.
async fn check_registers(world: &World, seed: u64, events: &[Event]) {
    struct Known {
        application: ApplicationId,
        generation: u32,
        standing: Standing,
    }
    #[derive(Default)]
    struct Expected {
        rows: Vec<(KeyId, Standing)>,
        counts: BTreeMap<&'static str, u64>,
    }
    let mut order: Vec<KeyId> = Vec::new();
    let mut known: BTreeMap<KeyId, Known> = BTreeMap::new();
    let mut ended: BTreeMap<ApplicationId, u32> = BTreeMap::new();
    for event in events {
        if let (Some(application), Some(generation)) = (event.target.application, event.generation_ended()) {
            let ended = ended.entry(application).or_default();
            *ended = generation.max(*ended);
        }
        let (Some(key), Some((standing, generation))) = (event.target.key, event.standing()) else {
            continue;
        };
        match (known.get_mut(&key), event.target.application, generation) {
            (Some(known), ..) if known.standing == Standing::Revoked => {}
            (Some(known), ..) => known.standing = standing,
            (None, Some(application), Some(generation)) => {
                known.insert(key, Known { application, generation, standing });
                order.push(key);
            }
            (None, ..) => {}
        }
    }
    let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut of_applications: BTreeMap<ApplicationId, Expected> =
        ended.keys().map(|application| (*application, Expected::default())).collect();
    for key in order {
        let Known { application, generation, standing } = known[&key];
        let dead = ended.get(&application).is_some_and(|ended| generation <= *ended);
        let standing = if dead { Standing::Revoked } else { standing };
        let expected = of_applications.entry(application).or_default();
        expected.rows.push((key, standing));
        *expected.counts.entry(standing.as_str()).or_default() += 1;
        *all.entry(standing.as_str()).or_default() += 1;
    }
    let reader = world.read();
    let mut totals = Vec::new();
    for number in 0..reader.registers().await.unwrap().applications.div_ceil(TOTALS) {
        totals.extend(reader.register_totals(number).await.unwrap().expect("totals").applications);
    }
    assert_eq!(totals.len(), of_applications.len(), "seed {seed}: registers");
    let mut sum = Counts::default();
    for (application, counts) in &totals {
        sum.merge(counts);
        let Expected { rows: expected_rows, counts: expected } = &of_applications[application];
        let head = reader.register(*application).await.unwrap().expect("a head");
        assert_eq!(&named(counts), expected, "seed {seed}: the total of {application}");
        assert_eq!(&named(&head.counts()), expected, "seed {seed}: the head of {application}");
        let mut rows = Vec::new();
        for page in 0..head.rows.div_ceil(ROWS) {
            rows.extend(reader.register_page(*application, page).await.unwrap().expect("a page").rows);
        }
        for (place, row) in rows.iter().enumerate() {
            let found = reader.row_place(row.key).await.unwrap().expect("a place");
            assert_eq!((found.application, found.place), (*application, place as u64), "seed {seed}");
        }
        let rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.standing(head.ended))).collect();
        assert_eq!(&rows, expected_rows, "seed {seed}: the rows of {application}");
    }
    assert_eq!(named(&sum), all, "seed {seed}: all together");
}

/// Up to the head every ticket has an event or a void, and lists and leaves are exactly what follows from them.
pub async fn check_projections(world: &World, seed: u64) {
    let head = world.read().head().await.expect("a head");
    let values = world.kv.values();
    let mut lists: BTreeMap<String, Vec<(EventId, String)>> = BTreeMap::new();
    let mut edge = Edge::empty();
    let (mut leaves, mut events) = (Vec::new(), Vec::new());
    for seq in 1..=head.size {
        let id = EventId { epoch: 1, seq };
        if let Some(void) = values.get(&names::void(id)) {
            leaves.push(leaf_hash(void));
            edge.append(leaf_hash(void));
            continue;
        }
        let sealed = values.get(&names::event(id)).unwrap_or_else(|| panic!("seed {seed}: a hole at {id}"));
        leaves.push(leaf_hash(sealed));
        edge.append(leaf_hash(sealed));
        let stored = open::<StoredEvent>(&world.rings.audit, &names::event(id), sealed).expect("an event");
        for (list, thing) in keyward_ledger::places(&stored.event) {
            lists.entry(list).or_default().push((id, thing));
        }
        events.push(stored.event);
    }
    check_registers(world, seed, &events).await;
    for (list, expected) in &lists {
        let found = world.read().list_head(list).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("seed {seed}: no list {list}"));
        assert_eq!(found.count, u64::try_from(expected.len()).unwrap(), "seed {seed}: {list}");
        let mut entries = Vec::new();
        for page in 0..found.count.div_ceil(PAGE_ENTRIES) {
            let page = world.read().list_page(list, page).await.unwrap().expect("a page");
            entries.extend(page.entries.into_iter().map(|entry| (entry.event, entry.id)));
        }
        assert_eq!(&entries, expected, "seed {seed}: {list}");
    }
    let heads = values.keys().filter(|name| !names::is_no_list(name));
    let heads = heads.filter_map(|name| name.strip_prefix("p:")).filter(|list| {
        let page = list.rsplit_once('.').map(|(_, page)| page);
        !page.is_some_and(|page| page.bytes().all(|byte| byte.is_ascii_digit()))
    });
    for list in heads {
        assert!(lists.contains_key(list), "seed {seed}: the list {list} follows from nothing");
    }
    let mut found = Vec::new();
    for index in 0..head.size.div_ceil(TILE_WIDTH) {
        let tile = world.ledger().tile(1, TileId { level: 0, index }).await.unwrap();
        found.extend(tile.expect("a tile"));
    }
    assert_eq!(edge.root(), head.root, "seed {seed}: the root");
    assert_eq!(found, leaves, "seed {seed}: the leaves");
}
