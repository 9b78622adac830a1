//! A store that was rolled back: frozen where a witness remembers more, whoever tries whatever; and brought to a new epoch in which
//! everything is revoked that was, however often whoever does it dies on the way.

use crate::history::integrate_all;
use crate::world::{Do, Held, SeededRng, Store, TestClock, World, new_key, perform, survive};
use keyward_domain::event::{Action, EventId, Outcome};
use keyward_domain::standing::stands_revoked;
use keyward_domain::{ApplicationId, Code, CredentialId};
use keyward_ledger::memory::{Backup, Fault, MemoryKv};
use keyward_ledger::{Ledger, Witness};
use keyward_records::Seen;
use keyward_records::projection::Head;
use keyward_service::{Exported, Page};
use serde_json::json;

/// A store with a witness, a backup of an earlier state, and what happened since.
struct Lost {
    world: World,
    witness: MemoryKv<TestClock>,
    backup: Backup,
    /// Tickets taken when the backup was made.
    backup_taken: u64,
    /// A key that was revoked after the backup, one whose application was, one of an application that was suspended, one that stays.
    revoked: Held,
    of_revoked: Held,
    of_suspended: Held,
    stays: Held,
    /// Issued after the backup.
    newer: Held,
    shop: ApplicationId,
}

impl Lost {
    async fn new(seed: u64) -> Self {
        let world = World::new(seed).await;
        let witness = MemoryKv::new(world.clock.clone());
        let (shop, gone) = (world.application("shop").await, world.application("gone").await);
        let suspended = world.application("suspended").await;
        let revoked = world.held(&new_key(shop, "revoked")).await;
        let stays = world.held(&new_key(shop, "stays")).await;
        let of_revoked = world.held(&new_key(gone, "of a revoked application")).await;
        let of_suspended = world.held(&new_key(suspended, "of a suspended application")).await;
        integrate_all(&world, seed).await;
        world.ledger().tell_witness(&witness).await.expect("told");
        let backup = world.kv.backup();
        let backup_taken = world.ledger().last_ticket().await.unwrap().seq;
        world.run(&Do::RevokeKey(revoked.id, "leaked")).await.expect("revoked");
        world.run(&Do::RevokeApplication(gone, "closed")).await.expect("revoked");
        let suspend = json!({"status": "suspended", "reason": "unpaid"});
        world.run(&Do::ChangeApplication(suspended, suspend, None)).await.expect("suspended");
        let newer = world.held(&new_key(shop, "newer")).await;
        integrate_all(&world, seed).await;
        world.ledger().tell_witness(&witness).await.expect("told");
        Self { world, witness, backup, backup_taken, revoked, of_revoked, of_suspended, stays, newer, shop }
    }

    /// The whole log, as an export has it.
    async fn exported(&self) -> Exported {
        let mut exported = Exported::default();
        for event in self.world.events().await {
            exported.note(event);
        }
        exported
    }

    /// Puts the older store back.
    fn roll_back(&self) {
        self.world.kv.restore(&self.backup);
    }

    async fn seen(&self) -> Option<Seen> {
        match self.world.ledger().ask_witness(&self.witness).await {
            Witness::Saw(seen) => Some(seen),
            other => panic!("{other:?}"),
        }
    }

    /// A ledger as the control plane makes it.
    async fn guarded(&self) -> Ledger<'_, Store, TestClock, SeededRng> {
        let ledger = self.world.ledger();
        ledger.held_to(ledger.ask_witness(&self.witness).await)
    }

    async fn run(&self, what: &Do) -> Result<(), Code> {
        let service = self.world.service();
        let witness = service.ledger().ask_witness(&self.witness).await;
        let caller = self.world.caller(&self.world.root).await;
        perform(&service.held_to(witness), caller, what).await.map(drop).map_err(|error| error.code)
    }

    async fn code(&self, key: &Held) -> &'static str {
        self.world.code(&key.token, &Default::default()).await
    }

    /// What was over before the store was lost is over on this one.
    async fn check_ends(&self) {
        assert_eq!(self.code(&self.revoked).await, "REVOKED");
        assert_eq!(self.code(&self.of_revoked).await, "REVOKED");
        assert_eq!(self.code(&self.of_suspended).await, "DISABLED");
        assert_eq!(self.code(&self.newer).await, "NOT_FOUND", "what the backup does not know is denied");
        assert_eq!(self.code(&self.stays).await, "VALID");
    }

    fn changes(&self) -> Vec<Do> {
        vec![
            Do::CreateApplication(json!({"name": "another"})),
            Do::Issue(new_key(self.shop, "another")),
            Do::ChangeKey(self.stays.id, json!({"name": "x"}), None),
            Do::Lookup(self.stays.token.clone()),
            Do::RevokeKey(self.stays.id, "x"),
            Do::RevokeApplication(self.shop, "x"),
            Do::Freeze("x"),
        ]
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_as_its_witness_saw_it_or_newer_is_written_to() {
    let lost = Lost::new(300).await;
    lost.guarded().await.hold_counter().await.expect("as it was seen");
    for what in lost.changes() {
        assert_eq!(lost.run(&what).await, Ok(()), "{what:?}");
    }
    lost.guarded().await.integrate(8).await.expect("goes on from what was seen");
    lost.world.ledger().tell_witness(&lost.witness).await.expect("told");
    lost.guarded().await.hold_counter().await.expect("newer");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_one_that_is_older_and_reading_goes_on() {
    let lost = Lost::new(301).await;
    lost.roll_back();
    let before = lost.world.kv.values();
    // As often as anybody likes: no number of attempts makes up for what is missing.
    for _ in 0..30 {
        for what in lost.changes() {
            assert_eq!(lost.run(&what).await, Err(Code::StoreRolledBack), "{what:?}");
        }
    }
    assert_eq!(lost.guarded().await.hold().await.map_err(|e| e.code), Err(Code::StoreRolledBack));
    let integrated = lost.guarded().await.integrate(8).await.map(drop);
    assert!(integrated.is_err_and(|error| error.code == Code::StoreRolledBack));
    let told = lost.world.ledger().tell_witness(&lost.witness).await;
    assert!(told.is_err_and(|error| error.code == Code::StoreRolledBack), "a witness does not forget");
    assert!(before == lost.world.kv.values(), "nothing was written");
    assert_eq!(lost.code(&lost.revoked).await, "VALID", "the older store knows of no revocation");
    assert_eq!(lost.run(&Do::ListKeys(lost.shop)).await, Ok(()));
    assert_eq!(lost.run(&Do::ListEvents(None)).await, Ok(()));
    assert!(before == lost.world.kv.values(), "not by reading either");
}

#[tokio::test(start_paused = true)]
async fn no_ticket_is_used_twice_where_the_counter_alone_was_lowered() {
    let lost = Lost::new(302).await;
    let before = lost.world.kv.values();
    let taken = lost.seen().await.unwrap().taken;
    lost.world.kv.set_counter("c:audit:1", 3);
    assert!(lost.guarded().await.hold_counter().await.is_err_and(|e| e.code == Code::StoreRolledBack));
    for n in 3..taken {
        let refused = lost.run(&Do::Issue(new_key(lost.shop, &format!("{n}")))).await;
        assert_eq!(refused, Err(Code::StoreRolledBack), "ticket {} was used before", n + 1);
    }
    assert!(before == lost.world.kv.values(), "nothing was written over");
    // Each refusal took a ticket: the counter is where it was, and nothing was lost.
    assert_eq!(lost.run(&Do::Issue(new_key(lost.shop, "after"))).await, Ok(()));
    let used = EventId { epoch: 1, seq: taken + 1 };
    assert_eq!(lost.world.read().event(used).await.unwrap().unwrap().action, Action::KeyIssued);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_begin_with_what_was_seen_is_not_extended() {
    let lost = Lost::new(303).await;
    let head = lost.world.read().head().await.unwrap();
    // Another history of the same length, and one that went on since.
    for more in [0, 2] {
        for n in 0..more {
            lost.world.application(&format!("more {n}")).await;
        }
        integrate_all(&lost.world, 303).await;
        let other = Seen { epoch: 1, taken: head.size, size: head.size, root: [7; 32] };
        lost.world.application(&format!("pending {more}")).await;
        let before = lost.world.kv.values();
        let refused = lost.world.ledger().held_to(Witness::Saw(other)).integrate(8).await;
        assert!(refused.is_err_and(|error| error.code == Code::StoreRolledBack));
        assert!(before == lost.world.kv.values());
    }
}

#[tokio::test(start_paused = true)]
async fn a_witness_that_is_silent_forbids_changes_and_no_reading() {
    let lost = Lost::new(304).await;
    lost.witness.plan(|_| Fault::Before);
    for what in lost.changes() {
        assert_eq!(lost.run(&what).await, Err(Code::StoreUnavailable), "{what:?}");
    }
    assert_eq!(lost.run(&Do::ListKeys(lost.shop)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_revokes_again_what_was_revoked() {
    let lost = Lost::new(305).await;
    let exported = lost.exported().await;
    let size = lost.world.read().head().await.unwrap().size;
    lost.roll_back();
    // One that was under way when the backup was made never wrote its event.
    lost.world.kv.set_counter("c:audit:1", i64::try_from(lost.backup_taken).unwrap() + 2);
    let seen = lost.seen().await;
    let behind = lost.world.service().behind(&exported).await.expect("compared");
    assert_eq!((behind.revocations, behind.suspensions), (2, 1));
    assert_eq!(behind.exported, Some(EventId { epoch: 1, seq: size }));

    let opened = lost.world.service().open_epoch(&exported, seen, "restored yesterday's file").await;
    let opened = opened.expect("a new epoch");
    assert_eq!((opened.epoch, opened.closed, opened.size), (2, 1, lost.backup_taken + 2));
    assert_eq!((opened.revocations, opened.suspensions), (2, 1));
    lost.check_ends().await;
    let event = lost.world.read().event(opened.event).await.unwrap().expect("its event");
    assert_eq!((event.action, event.outcome), (Action::EpochOpened, Outcome::Done));
    assert_eq!(event.reason.as_deref(), Some("restored yesterday's file"));
    let detail = event.detail.join("; ");
    for fact in [opened.root.as_str(), "the witness saw epoch 1", "2 revocations and 1 suspensions replayed"]
    {
        assert!(detail.contains(fact), "{detail}");
    }
    let again = lost.world.read().flag(lost.revoked.id).await.unwrap().unwrap().unwrap();
    assert_eq!((again.reason.as_str(), again.event.epoch), ("leaked", 2));
    let replay = lost.world.read().event(again.event).await.unwrap().unwrap();
    let original = EventId { epoch: 1, seq: lost.backup_taken + 1 };
    let told = vec![original.to_string(), stands_revoked()];
    assert_eq!((replay.action, replay.detail), (Action::KeyRevoked, told));

    // Administration goes on, in lists that cross from one epoch into the other.
    lost.guarded().await.hold().await.expect("not frozen");
    for what in lost.changes() {
        assert_eq!(lost.run(&what).await, Ok(()), "{what:?}");
    }
    lost.guarded().await.integrate(64).await.expect("integrated");
    lost.world.ledger().tell_witness(&lost.witness).await.expect("told");
    assert_eq!(lost.seen().await.map(|seen| seen.epoch), Some(2));
    let listed = lost.world.run(&Do::ListKeys(lost.shop)).await.unwrap().json();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["another", "x", "revoked"], "newest first, over both epochs");
    let mut page = Page::parse(Some("7"), None).unwrap();
    let (mut events, mut all) = (Vec::new(), false);
    while !all {
        let caller = lost.world.caller(&lost.world.root).await;
        let attempt = keyward_service::Attempt::to_read(caller, Action::AuditRead, Default::default());
        let found = lost.world.service().audit_events(&attempt, &Default::default(), &page).await.unwrap();
        events.extend(found.items.into_iter().map(|event| event.id));
        all = found.next_cursor.is_none();
        page = Page::parse(Some("7"), found.next_cursor.as_deref()).unwrap();
    }
    let last = lost.world.ledger().last_ticket().await.unwrap();
    assert_eq!((events.first(), events.last()), (Some(&last), Some(&EventId { epoch: 1, seq: 1 })));
    assert!(events.is_sorted_by(|one, next| one > next), "{events:?}");
    lost.world.ledger().checkpoint(Some(1)).await.expect("the closed epoch's");
    lost.world.ledger().checkpoint(Some(2)).await.expect("the current one's");
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_while_opening_it_leaves_a_frozen_store_and_the_next_one_ends_it() {
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::After] {
        let mut died = 0;
        for nth in 0..40 {
            let lost = Lost::new(306).await;
            let exported = lost.exported().await;
            lost.roll_back();
            let seen = lost.seen().await;
            lost.world.fault_at(nth, |_| true, fault);
            let first = survive(lost.world.service().open_epoch(&exported, seen, "restored")).await;
            lost.world.heal();
            if lost.world.read().epochs().await.unwrap().current == 2 {
                lost.check_ends().await;
            } else {
                died += 1;
                assert!(!matches!(first, Some(Ok(_))), "call {nth}: it said that it is open");
                let early = lost.run(&Do::Issue(new_key(lost.shop, "early"))).await;
                assert_eq!(early, Err(Code::StoreRolledBack), "call {nth}: half an epoch is none");
                let again = lost.world.service().open_epoch(&exported, seen, "restored").await;
                assert_eq!(again.expect("the second run").epoch, 2, "call {nth}");
                lost.check_ends().await;
            }
            assert_eq!(lost.run(&Do::Issue(new_key(lost.shop, "after"))).await, Ok(()), "call {nth}");
            integrate_all(&lost.world, 306).await;
        }
        assert!(died > 10, "{fault:?}: it died at {died} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn no_epoch_is_opened_twice() {
    let lost = Lost::new(307).await;
    lost.roll_back();
    let seen = lost.seen().await.map(|seen| Seen { epoch: 3, ..seen });
    let opened = lost.world.service().open_epoch(&Exported::default(), seen, "twice").await.expect("open");
    assert_eq!((opened.epoch, opened.revocations), (4, 0));
    let epochs = lost.world.read().epochs().await.unwrap();
    let closed: Vec<u32> = epochs.closed.iter().map(|closed| closed.head.epoch).collect();
    assert_eq!((epochs.current, closed), (4, vec![1, 2, 3]));
    assert_eq!(epochs.closed[1].head, Head::start(2), "an epoch that only the lost log had");
    assert_eq!(lost.code(&lost.revoked).await, "VALID", "an export without it revokes nothing");
}

#[tokio::test(start_paused = true)]
async fn leaked_keys_and_what_credentials_held_end_again() {
    let world = World::new(320).await;
    let shop = world.application("shop").await;
    let leaked = world.held(&new_key(shop, "leaked")).await;
    let new =
        json!({"application": shop.to_string(), "name": "db", "kind": "opaque", "value": {"value": "one"}});
    let created = world.run(&Do::CreateCredential(new)).await.expect("created");
    let id: CredentialId = created.at("/id").parse().expect("an id");
    let version = |value: &str| Do::WriteCredential(id, json!({"value": {"value": value}}));
    world.run(&version("two")).await.expect("written");
    integrate_all(&world, 320).await;
    let backup = world.kv.backup();
    let report = json!([{"token": leaked.token, "type": "keyward"}]);
    world.run(&Do::ReportLeaks(report)).await.expect("reported");
    world.run(&version("three")).await.expect("written");
    for number in [1, 2] {
        world.run(&Do::DestroyCredentialVersion(id, number)).await.expect("destroyed");
    }
    integrate_all(&world, 320).await;
    let mut exported = Exported::default();
    for event in world.events().await {
        exported.note(event);
    }
    world.kv.restore(&backup);
    let read = async |number| {
        world.run(&Do::ReadCredential(id, Some(number))).await.map(|reply| reply.at("/value/value"))
    };
    assert_eq!(read(2).await.as_deref(), Ok("two"), "the older store has it");
    let service = world.service();
    assert_eq!(service.behind(&exported).await.expect("looked").revocations, 3);
    let opened = service.open_epoch(&exported, None, "the disk was lost").await.expect("opened");
    assert_eq!(opened.revocations, 3);
    assert_eq!(world.code(&leaked.token, &Default::default()).await, "REVOKED");
    for number in [1, 2] {
        assert_eq!(
            read(number).await.map_err(|error| error.code),
            Err(Code::StateConflict),
            "version {number}"
        );
    }
    let shown = world.run(&Do::ShowCredential(id)).await.expect("shown").json();
    assert!(
        shown["versions"].as_array().unwrap().iter().all(|version| version["state"] == "destroyed"),
        "what is known of it says so too: {shown}"
    );
    // What the older store never had is written anew under its number.
    world.run(&version("three again")).await.expect("written");
    assert_eq!(read(3).await.as_deref(), Ok("three again"));
    assert_eq!(service.behind(&exported).await.expect("looked").revocations, 0);
}

#[tokio::test(start_paused = true)]
async fn what_leaked_of_a_key_that_goes_on_ends_again() {
    let world = World::new(321).await;
    let shop = world.application("shop").await;
    let policy = world.policy(&json!({"on_leak": "rotate"})).await;
    world.run(&Do::ChangeApplication(shop, json!({ "policy": policy }), None)).await.expect("given");
    let rotated = world.held(&new_key(shop, "rotated")).await;
    let renewing = world.held(&new_key(shop, "renewing")).await;
    integrate_all(&world, 321).await;
    let backup = world.kv.backup();
    let found = |token: &str| json!({"token": token, "type": "keyward"});
    let report = json!([found(&rotated.token), found(&renewing.renewal)]);
    world.run(&Do::ReportLeaks(report)).await.expect("reported");
    integrate_all(&world, 321).await;
    let mut exported = Exported::default();
    for event in world.events().await {
        exported.note(event);
    }
    world.kv.restore(&backup);
    let service = world.service();
    assert_eq!(service.behind(&exported).await.expect("looked").revocations, 2);
    assert_eq!(
        service.open_epoch(&exported, None, "the disk was lost").await.expect("opened").revocations,
        2
    );
    assert_eq!(service.behind(&exported).await.expect("looked").revocations, 0);
    let code = async |held: &Held| world.code(&held.token, &Default::default()).await;
    assert_eq!((code(&rotated).await, code(&renewing).await), ("REVOKED", "VALID"));
    // What came with a version that is dead renews nothing either.
    for held in [&rotated, &renewing] {
        let refused = world.run(&Do::Renew(held.renewal.clone())).await.map_err(|error| error.code);
        assert_eq!(refused.err(), Some(Code::RenewalGone));
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_was_retired_is_retired_again() {
    let world = World::new(322).await;
    let shop = world.application("shop").await;
    let new =
        json!({"application": shop.to_string(), "name": "db", "kind": "opaque", "value": {"value": "one"}});
    let created = world.run(&Do::CreateCredential(new.clone())).await.expect("created");
    let id: CredentialId = created.at("/id").parse().expect("an id");
    integrate_all(&world, 322).await;
    let backup = world.kv.backup();
    world.run(&Do::RetireCredential(id, "the third party is gone")).await.expect("retired");
    integrate_all(&world, 322).await;
    let mut exported = Exported::default();
    for event in world.events().await {
        exported.note(event);
    }
    world.kv.restore(&backup);
    let service = world.service();
    let opened = service.open_epoch(&exported, None, "the disk was lost").await.expect("opened");
    assert_eq!(opened.revocations, 2, "the credential, and what its version held");
    assert_eq!(service.behind(&exported).await.expect("looked").revocations, 0);
    let shown = world.run(&Do::ShowCredential(id)).await.expect("shown").json();
    assert_eq!((&shown["state"], &shown["versions"][0]["state"]), (&json!("retired"), &json!("destroyed")));
    let again = world.run(&Do::CreateCredential(new)).await.expect("its name is free");
    assert_ne!(again.at("/id"), id.to_string());
    integrate_all(&world, 322).await;
}
