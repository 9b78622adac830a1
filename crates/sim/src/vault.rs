//! The vault of a world: admins write credentials, go back, destroy and retire, services read them by id and by name, and what is handed
//! out is held against what was acknowledged. One credential has a provider, which fails as it likes: what is handed out of that one is
//! held against what the third party accepts.

use crate::known::Ended;
use crate::run::Sim;
use crate::world::provider::{Mood, Provider};
use crate::world::{Do, Reply, SeededRng, World, new_key, perform_for_receipt};
use keyward_crypto::digest::leaf_hash;
use keyward_domain::event::{Action, Event, EventId};
use keyward_domain::webhook::Targets;
use keyward_domain::{ApplicationId, CredentialId, KeyId};
use keyward_ledger::Receipt;
use keyward_records::names;
use keyward_service::Caller;
use keyward_verify::Verdict;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// What credentials are called: few names, so that they are taken, given up and taken again.
const NAMES: [&str; 4] = ["db", "payments/db", "payments/eu/db", "paymentsx/db"];
const NAMES_AT_FIRST: [&str; 2] = ["db", "payments/db"];
/// What the one is called that has a provider.
const PROVIDED: &str = "payments/psp";
const HOOK: &str = "https://provider.example/";
/// Within how many runs a rotation is over once everything works again; each is that long after the one before.
const RUNS: usize = 24;
const BETWEEN_RUNS: Duration = Duration::from_secs(400);
/// What services are granted.
const GRANTS: [&[&str]; 4] = [&["*"], &["payments/*"], &["db", "paymentsx/*"], &["payments/eu/db"]];
/// What an admin does, and what services read, in a round.
const CHANGES: usize = 3;
const READS: usize = 6;
const WITHIN_MS: u64 = 40;

/// A service with a key of its own.
struct Account {
    key: KeyId,
    token: String,
    grants: &'static [&'static str],
}

impl Account {
    fn is_granted(&self, name: &str) -> bool {
        self.grants.iter().any(|grant| match grant.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => *grant == name,
        })
    }
}

/// A read that was answered with a value.
struct HandedOut {
    receipt: Receipt,
    credential: CredentialId,
    version: u32,
    to: KeyId,
}

/// What was acknowledged before a read began.
#[derive(Clone, Default)]
struct Acknowledged {
    destroyed: BTreeSet<(CredentialId, u32)>,
    retired: BTreeSet<CredentialId>,
    revisions: BTreeMap<CredentialId, u64>,
}

#[derive(Default)]
struct Kept {
    acknowledged: Acknowledged,
    /// Of each value that somebody asked to be written, whose it is; not known where it was to come with a credential of its own.
    written_for: Vec<Option<CredentialId>>,
    /// Which value a version holds: as was acknowledged, or else as it was first read.
    holds: BTreeMap<(CredentialId, u32), usize>,
    /// The version that is current at a revision.
    current: BTreeMap<(CredentialId, u64), u32>,
    /// What somebody began to destroy: a version, or all of a credential.
    may_be_gone: BTreeSet<(CredentialId, Option<u32>)>,
    handed_out: Vec<HandedOut>,
}

impl Kept {
    /// A value that is like no other, in two parts.
    fn fresh(&mut self, of: Option<CredentialId>) -> Value {
        self.written_for.push(of);
        let number = self.written_for.len() - 1;
        json!({"username": format!("u{number}"), "password": format!("p{number}")})
    }

    /// A version holds a value, and no other, and that value is of no other credential.
    fn holds(&mut self, credential: CredentialId, version: u32, number: usize, is_rough: bool) {
        let whose = *self.written_for[number].get_or_insert(credential);
        assert!(whose == credential || is_rough, "a value is handed out as another credential's");
        let first = *self.holds.entry((credential, version)).or_insert(number);
        assert!(first == number || is_rough, "version {version} holds another value than it was given");
        let versions = self.holds.iter().filter(|((of, _), held)| *of == credential && **held == number);
        assert!(is_rough || versions.count() == 1, "a value was written as two versions");
    }
}

/// Which value it is; both of its parts say so.
fn number(value: &Value) -> usize {
    let part = |field: &str, start: &str| {
        let text = value[field].as_str().expect("a part of a value");
        text.strip_prefix(start).expect("as it was written").parse::<usize>().expect("a number")
    };
    let number = part("username", "u");
    assert_eq!(number, part("password", "p"), "a value is half of one and half of another");
    number
}

pub struct Vault {
    application: ApplicationId,
    accounts: Vec<Account>,
    kept: Rc<RefCell<Kept>>,
    /// The credential that is rotated at the third party, and whoever does that.
    provided: CredentialId,
    provider: Provider,
}

impl Vault {
    /// An application, its services and what they read, before anything went wrong.
    pub async fn settle_in(sim: &Sim) -> Self {
        let application = sim.world.application("vaulted").await;
        let mut accounts = Vec::new();
        for (at, grants) in GRANTS.into_iter().enumerate() {
            let name = format!("service {at}");
            let mut new = new_key(application, &name);
            new["scopes"] = grants.iter().map(|grant| json!(format!("credentials:read@{grant}"))).collect();
            let held = sim.world.held(&new).await;
            let mut known = sim.known.borrow_mut();
            known.knows(held.id, application, &name);
            known.holds(held.id, &held.token, &held.renewal);
            accounts.push(Account { key: held.id, token: held.token, grants });
        }
        let kept = Rc::new(RefCell::new(Kept::default()));
        let first = kept.borrow_mut().fresh(None);
        let provider = Provider::accepting(&first);
        let new = json!({"application": application, "name": PROVIDED, "kind": "basic", "value": first});
        let provided = sim.world.run(&Do::CreateCredential(new)).await.expect("a credential");
        let provided = provided.at("/id").parse().expect("an id");
        let set = sim.world.run(&Do::SetProvider(provided, json!({ "url": HOOK }))).await;
        provider.learns(&set.expect("a provider").json());
        let making = Rc::clone(&kept);
        provider.makes(move |_| making.borrow_mut().fresh(Some(provided)));
        let moods = SeededRng::new(sim.acting.next());
        provider.plan(move |_| match moods.below(8) {
            0 => Mood::IsSilent,
            1 => Mood::LosesAnswer,
            2 => Mood::Refuses(if moods.chance(30) { 422 } else { 503 }),
            _ => Mood::Well,
        });
        let vault = Self { application, accounts, kept, provided, provider };
        for name in NAMES_AT_FIRST {
            let what = vault.create(name);
            let created = sim.world.run(&what).await;
            vault.end(sim, &what, &Some(created));
        }
        vault
    }

    /// A rotation begins, or is taken back, and is gone on with.
    pub async fn rotate(&self, sim: &Sim) {
        let rng = &sim.acting;
        match rng.below(4) {
            0 => {
                let _ = sim.call(&Do::RotateCredential(self.provided, "x"), None).await;
            }
            1 if rng.chance(20) => {
                let _ = sim.call(&Do::CancelCredentialRotation(self.provided, "x"), None).await;
            }
            _ => {}
        }
        for _ in 0..2 {
            let instance = sim.instance_for(rng);
            let service = instance.service(&sim.world.rng);
            let run = service.go_on_with_rotations(&self.provider, Targets::Public);
            let _ = instance.living(run).await;
        }
        let account = &self.accounts[0];
        self.read(sim, account, &Do::ReadCredential(self.provided, None)).await;
    }

    fn create(&self, name: &str) -> Do {
        let value = self.kept.borrow_mut().fresh(None);
        Do::CreateCredential(json!({
            "application": self.application, "name": name, "kind": "basic", "value": value,
        }))
    }

    /// An admin's turn.
    pub async fn administer(&self, sim: &Sim) {
        let rng = &sim.acting;
        for _ in 0..CHANGES {
            tokio::time::sleep(Duration::from_millis(rng.next() % WITHIN_MS)).await;
            let what = self.choose(sim);
            let ended = if rng.chance(40) {
                let key = sim.idempotency_key();
                sim.call_until_answered(&what, &key).await
            } else {
                sim.call(&what, None).await
            };
            self.end(sim, &what, &ended);
        }
    }

    fn choose(&self, sim: &Sim) -> Do {
        let rng = &sim.acting;
        if rng.chance(10) {
            return Do::ResealVault(None);
        }
        if rng.chance(8) {
            return Do::RevokeKey(rng.one_of(&self.accounts).key, "lost");
        }
        if rng.chance(25) {
            let name = *rng.one_of(&NAMES);
            return self.create(name);
        }
        let mut kept = self.kept.borrow_mut();
        let credentials: Vec<CredentialId> = kept.acknowledged.revisions.keys().copied().collect();
        let id = *rng.one_of(&credentials);
        let versions: Vec<u32> =
            kept.holds.keys().filter(|(of, _)| *of == id).map(|(_, version)| *version).collect();
        let version = *rng.one_of(&versions);
        match rng.below(12) {
            0..5 => Do::WriteCredential(id, json!({ "value": kept.fresh(Some(id)) })),
            5..7 => Do::RollCredentialBack(id, version),
            7..10 => {
                kept.may_be_gone.insert((id, Some(version)));
                Do::DestroyCredentialVersion(id, version)
            }
            10 => {
                kept.may_be_gone.insert((id, None));
                Do::RetireCredential(id, "x")
            }
            _ => Do::ChangeCredential(id, json!({ "name": rng.one_of(&NAMES) }), None),
        }
    }

    /// Takes note of how a change ended.
    fn end(&self, sim: &Sim, what: &Do, ended: &Ended) {
        let Some(Ok(reply)) = ended else { return };
        let is_rough = sim.known.borrow().edits_may_be_lost;
        let mut kept = self.kept.borrow_mut();
        let value = match what {
            Do::CreateCredential(new) | Do::WriteCredential(_, new) => Some(number(&new["value"])),
            Do::RevokeKey(..) | Do::ResealVault(_) => return,
            _ => None,
        };
        let shown = reply.json();
        let small = |number: &Value| u32::try_from(number.as_u64().expect("a number")).expect("small");
        let id: CredentialId = reply.at("/id").parse().expect("an id");
        let (revision, current) = (shown["revision"].as_u64().expect("one"), small(&shown["current"]));
        if let Some(value) = value {
            kept.holds(id, current, value, is_rough);
        }
        let first = *kept.current.entry((id, revision)).or_insert(current);
        assert!(first == current || is_rough, "one revision has two versions that are current");
        let newest = kept.acknowledged.revisions.entry(id).or_default();
        *newest = revision.max(*newest);
        if shown["state"] == "retired" {
            kept.acknowledged.retired.insert(id);
        }
        for version in shown["versions"].as_array().into_iter().flatten() {
            if version["state"] == "destroyed" {
                kept.acknowledged.destroyed.insert((id, small(&version["number"])));
            }
        }
    }

    /// Services read, here and there.
    pub async fn read_some(&self, sim: &Sim) {
        let rng = &sim.acting;
        for _ in 0..READS {
            tokio::time::sleep(Duration::from_millis(rng.next() % WITHIN_MS)).await;
            let account = rng.one_of(&self.accounts);
            let versions: Vec<(CredentialId, u32)> = self.kept.borrow().holds.keys().copied().collect();
            let what = if rng.chance(30) {
                Do::ReadCredentialNamed(self.application, (*rng.one_of(&NAMES)).to_owned())
            } else {
                let (id, version) = *rng.one_of(&versions);
                Do::ReadCredential(id, rng.chance(70).then_some(version))
            };
            self.read(sim, account, &what).await;
        }
    }

    /// A service reads, and the answer is held to what was acknowledged before.
    async fn read(&self, sim: &Sim, account: &Account, what: &Do) {
        let before = self.kept.borrow().acknowledged.clone();
        let is_over = {
            let known = sim.known.borrow();
            let is_dead = known.keys[&account.key].dead.is_some_and(|dead| !dead.by_application);
            is_dead || known.tokens.iter().any(|token| token.text == account.token && token.dead.is_some())
        };
        let instance = sim.instance_for(&sim.acting);
        let read = instance.living(async {
            let Ok(Verdict::Accepted(verified)) = instance.verify(&account.token).await else { return None };
            let caller = Caller::workload(&verified, World::source(), sim.world.request());
            Some(perform_for_receipt(&instance.service(&sim.world.rng), caller, what).await)
        });
        let read = read.await.flatten();
        if sim.tells {
            let told = read.as_ref().map(|(result, _)| result.as_ref().map(|reply| reply.text.as_str()));
            eprintln!("{} reads {what:?}: {told:?}", account.key);
        }
        let Some((Ok(reply), receipt)) = read else { return };
        assert!(!is_over, "a service read after the end of its key was acknowledged");
        assert!(account.is_granted(&reply.at("/name")), "a service read a name that nobody granted it");
        let (credential, version) = self.fits(sim, what, &reply, &before);
        let receipt = receipt.expect("a read is handed out with its event");
        self.kept.borrow_mut().handed_out.push(HandedOut { receipt, credential, version, to: account.key });
    }

    /// Whether what is handed out is what was written and not destroyed; which version it is.
    fn fits(&self, sim: &Sim, what: &Do, reply: &Reply, before: &Acknowledged) -> (CredentialId, u32) {
        let is_rough = sim.known.borrow().edits_may_be_lost;
        let (read, id) = (reply.json(), reply.at("/id").parse::<CredentialId>().expect("an id"));
        let version: u32 = reply.at("/version").parse().expect("a number");
        let revision = read["revision"].as_u64().expect("one");
        let mut kept = self.kept.borrow_mut();
        assert!(
            !before.destroyed.contains(&(id, version)),
            "version {version} is handed out after its destruction was acknowledged"
        );
        let is_retired = before.retired.contains(&id);
        assert!(!is_retired || is_rough, "a credential is handed out after its retirement was acknowledged");
        let is_old = before.revisions.get(&id).is_some_and(|newest| revision < *newest);
        assert!(!is_old || is_rough, "a credential is read as it was before an acknowledged change");
        if id == self.provided {
            // Which versions it has decides its provider; whether one may be handed out, the third party.
            let is_current = matches!(what, Do::ReadCredential(_, None) | Do::ReadCredentialNamed(..));
            let is_accepted = self.provider.accepts(&read["value"]);
            assert!(!is_current || is_accepted || is_rough, "version {version} is current, and refused");
            kept.holds(id, version, number(&read["value"]), is_rough);
            return (id, version);
        }
        let current = kept.current.get(&(id, revision)).copied();
        let as_asked = match what {
            Do::ReadCredential(asked, Some(number)) => id == *asked && version == *number,
            Do::ReadCredential(asked, None) => {
                id == *asked && current.is_none_or(|current| current == version || is_rough)
            }
            Do::ReadCredentialNamed(_, name) => {
                read["name"] == json!(name) && current.is_none_or(|current| current == version || is_rough)
            }
            _ => false,
        };
        assert!(as_asked, "{what:?} is answered with another version or name: {version} of {id}");
        kept.holds(id, version, number(&read["value"]), is_rough);
        (id, version)
    }

    /// When everything works again: what was written and nobody destroyed is there, all else is not, and each read is on record.
    pub async fn judge(&self, sim: &Sim) {
        self.rotation_ends(sim).await;
        for account in &self.accounts {
            for name in NAMES {
                let named = Do::ReadCredentialNamed(self.application, name.to_owned());
                self.read(sim, account, &named).await;
            }
        }
        let is_rough = sim.known.borrow().edits_may_be_lost;
        let versions: Vec<(CredentialId, u32)> = self.kept.borrow().holds.keys().copied().collect();
        // Of the one that is rotated, what was taken back is destroyed by nobody's deed.
        for (id, version) in versions.into_iter().filter(|(id, _)| *id != self.provided) {
            let what = Do::ReadCredential(id, Some(version));
            let before = self.kept.borrow().acknowledged.clone();
            let ended = sim.call(&what, None).await;
            if let Some(Ok(reply)) = &ended {
                self.fits(sim, &what, reply, &before);
            }
            let may_be_gone = [Some(version), None]
                .into_iter()
                .any(|gone| self.kept.borrow().may_be_gone.contains(&(id, gone)));
            let is_there = matches!(ended, Some(Ok(_))) || may_be_gone || is_rough;
            assert!(is_there, "version {version} was written, and nobody destroyed it: {ended:?}");
        }
        self.reads_are_on_record(sim).await;
    }

    /// A rotation that was begun comes to an end, and what is handed out then is accepted.
    async fn rotation_ends(&self, sim: &Sim) {
        self.provider.plan(|_| Mood::Well);
        let show = async || sim.call(&Do::ShowCredential(self.provided), None).await;
        for _ in 0..RUNS {
            let instance = sim.instance();
            let service = instance.service(&sim.world.rng);
            let run = service.go_on_with_rotations(&self.provider, Targets::Public).await;
            assert!(run.is_ok(), "rotations do not go on: {:?}", run.err());
            let Some(Ok(shown)) = show().await else { panic!("it cannot be looked at") };
            if shown.json()["rotation"].is_null() {
                break;
            }
            tokio::time::advance(BETWEEN_RUNS).await;
        }
        let Some(Ok(shown)) = show().await else { panic!("it cannot be looked at") };
        assert!(shown.json()["rotation"].is_null(), "a rotation does not end: {}", shown.text);
        self.read(sim, &self.accounts[0], &Do::ReadCredential(self.provided, None)).await;
    }

    async fn reads_are_on_record(&self, sim: &Sim) {
        let values = sim.world.kv.values();
        let events: BTreeMap<EventId, Event> =
            sim.world.events().await.into_iter().map(|event| (event.id, event)).collect();
        for read in &self.kept.borrow().handed_out {
            let id = read.receipt.event;
            let leaf = values.get(&names::event(id)).map(|event| leaf_hash(event));
            assert_eq!(leaf, Some(read.receipt.leaf), "a credential was read, and {id} is not in the log");
            let event = &events[&id];
            let is_told = event.action == Action::CredentialRead
                && event.target.credential == Some(read.credential)
                && event.actor.key == Some(read.to)
                && event.detail == [format!("version {}", read.version)];
            assert!(is_told, "{id} tells of another read: {event:?}");
        }
    }
}
