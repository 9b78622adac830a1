//! Audit events: each comes back from its text and from the store whole, and what is redacted or shredded of it is gone.
#![no_main]

use arbitrary::Arbitrary;
use keyward_crypto::{Sealer, SecretBytes};
use keyward_domain::announcement::{Announcement, MessageId, Type};
use keyward_domain::event::{
    Action, Actor, ActorKind, Event, EventId, Outcome, Source, Target, WriteDigest, tag_given,
};
use keyward_domain::timestamp::Month;
use keyward_domain::{ApplicationId, KeyId, RequestId, RoleId, Timestamp};
use keyward_fuzz::sealer;
use keyward_records::{MonthKey, PersonalKey, PersonalKeyState, SHREDDED, StoredEvent};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;
use std::sync::LazyLock;

/// The last millisecond that a calendar of four digits has: 9999-12-31T23:59:59.999Z.
const END_MS: i64 = 253_402_300_799_999;
/// Stands in every text that must not be told on; nothing else has it.
const PRIVATE: &str = "\u{1}private\u{1}";

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    epoch: u32,
    seq: u64,
    at_ms: i64,
    action: u8,
    outcome: u8,
    kind: u8,
    ids: [Option<u8>; 5],
    principal: Option<&'a str>,
    client_addr: Option<&'a str>,
    user_agent: Option<&'a str>,
    reason: Option<&'a str>,
    facts: Vec<(bool, &'a str)>,
    writes: [&'a str; 2],
    previous: Option<(u32, u64)>,
    nonce: [u8; 12],
}

static AUDIT: LazyLock<Sealer> = LazyLock::new(|| sealer(3));

fn private(text: &str) -> String {
    format!("{PRIVATE}{text}")
}

impl Input<'_> {
    fn event(&self) -> Event {
        let [application, key, role, request, actor] = self.ids.map(|id| id.map(|byte| [byte; 16]));
        let place = |epoch, seq: u64| EventId { epoch, seq: seq.max(1) };
        let plain = |text: &str| text.replace(PRIVATE, "");
        let fact = |(is_tag, text): &(bool, &str)| match is_tag {
            true => tag_given(&private(text)),
            false => format!("fact {}", plain(text)),
        };
        let outcome = [Outcome::Done, Outcome::Refused, Outcome::Alarm][usize::from(self.outcome) % 3];
        // Why something was refused is a code; otherwise it is in somebody's words.
        let reason = |text| if outcome == Outcome::Refused { plain(text) } else { private(text) };
        Event {
            id: place(self.epoch, self.seq),
            at: Timestamp::from_unix_ms(self.at_ms.rem_euclid(END_MS)),
            action: Action::ALL[usize::from(self.action) % Action::ALL.len()],
            outcome,
            target: Target {
                application: application.map(ApplicationId::from_bytes),
                key: key.map(KeyId::from_bytes),
                role: role.map(RoleId::from_bytes),
                ..Target::default()
            },
            actor: Actor {
                kind: [ActorKind::Admin, ActorKind::Holder, ActorKind::Anonymous, ActorKind::System]
                    [usize::from(self.kind) % 4],
                key: actor.map(KeyId::from_bytes),
                principal: self.principal.map(private),
            },
            source: Source {
                client_addr: self.client_addr.map(private),
                user_agent: self.user_agent.map(private),
            },
            request: request.map(RequestId::from_bytes),
            reason: self.reason.map(reason),
            detail: self.facts.iter().take(8).map(fact).collect(),
            previous: self.previous.map(|(epoch, seq)| place(epoch, seq)),
            writes: self
                .writes
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| WriteDigest { record: private(text), digest: private("") })
                .collect(),
        }
    }
}

fn json(event: &Event) -> String {
    serde_json::to_string(event).expect("plain data")
}

/// As JSON has it: the mark's control characters are escaped there.
fn tells(json: &str) -> bool {
    json.contains("\\u0001private\\u0001")
}

fuzz_target!(|data: &[u8]| {
    let (text, input) = keyward_fuzz::read::<Input>(data);
    // Any text: what is an event is written down as one that reads the same.
    if let Ok(event) = serde_json::from_str::<Event>(text) {
        let written = json(&event);
        let read: Event = serde_json::from_str(&written).unwrap_or_else(|why| panic!("{written}: {why}"));
        assert_eq!(json(&read), written);
    }

    let Some(input) = input else { return };
    let event = input.event();
    let written = json(&event);
    assert_eq!(serde_json::from_str::<Event>(&written).expect("its own text"), event);
    assert_eq!(event.id.to_string().parse(), Ok(event.id));
    assert_eq!(MessageId(event.id).to_string().parse(), Ok(MessageId(event.id)));

    let redacted = event.redacted();
    let told = json(&redacted);
    assert!(!tells(&told), "{told}");
    assert_eq!(redacted.redacted(), redacted);
    let Event { actor, reason, detail, source, writes, .. } = event.clone();
    let kept: Vec<String> = detail.iter().filter(|fact| !fact.contains(PRIVATE)).cloned().collect();
    assert_eq!((&redacted.detail, redacted.tags_given().count()), (&kept, 0));
    assert_eq!(event.tags_given().count(), detail.len() - kept.len());
    assert_eq!(
        Event { actor, reason, detail, source, writes, ..redacted.clone() },
        event,
        "and nothing else is"
    );
    // What webhooks are told follows from the redacted event alone.
    assert_eq!(Type::of(&event), Type::of(&redacted));
    if let Some(kind) = Type::of(&event) {
        let body = serde_json::to_string(&Announcement::new(kind, &redacted)).expect("plain data");
        assert!(!tells(&body), "{body}");
    }

    // In the store: whole under the month's key, without what is personal once that is destroyed.
    let month = Month::of(event.at);
    let key = MonthKey { month, number: 1, key: Rc::new(SecretBytes::new([5; 32])) };
    let stored = StoredEvent::new(event.clone(), &AUDIT, Some(&key), input.nonce).expect("short");
    let text = serde_json::to_string(&stored).expect("plain data");
    let read: StoredEvent = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert!(read == stored);
    assert!(read.event.actor.principal.is_none() && read.event.source == Source::default());
    let revealed = stored.clone().reveal(&AUDIT, Some(&PersonalKey::from(&key))).expect("the month's key");
    assert_eq!(revealed, event);
    let other = PersonalKey { month, number: 1, state: PersonalKeyState::Kept([6; 32]) };
    assert!(stored.clone().reveal(&AUDIT, Some(&other)).is_err(), "another key");
    let gone = PersonalKey { month, number: 1, state: PersonalKeyState::Shredded(event.id) };
    for key in [None, Some(&gone)] {
        let shredded = stored.clone().reveal(&AUDIT, key).expect("nothing to open");
        let shown = |text: Option<String>| text.is_none_or(|text| text == SHREDDED);
        assert!(
            shown(shredded.actor.principal)
                && shown(shredded.source.client_addr)
                && shown(shredded.source.user_agent)
        );
        assert_eq!((shredded.reason, shredded.detail), (event.reason.clone(), event.detail.clone()));
    }
});
