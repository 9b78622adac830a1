//! What is still to be told to a webhook, and what could not be: its queue, when an attempt is due, when to stop trying. No I/O: what an
//! attempt came to is told to it, with the time and with randomness for the jitter.
//!
//! INVARIANT: an announcement that is queued leaves the queue delivered, or as a dead letter that says why.

use crate::announcement::Type;
use crate::application::Importance;
use crate::event::EventId;
use crate::id::{ApplicationId, KeyId, WebhookId};
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When a failed attempt is followed by the next, in seconds: the schedule that Standard Webhooks recommends. Up to a tenth is added,
/// so that what failed together does not come back together.
pub const SCHEDULE_S: [i64; 9] =
    [5, 300, 1_800, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600];
/// Attempts in all: over three days.
pub const ATTEMPTS_MAX: u32 = 10;
/// How long an announcement is kept trying at most, in seconds: while the circuit is open, most of what is due is not tried.
pub const AGE_S_MAX: i64 = 5 * 24 * 3_600;
/// Announcements that one webhook's queue holds; beyond, the oldest become dead letters.
pub const PENDING_MAX: usize = 256;
/// Dead letters that are kept for one webhook; beyond, the oldest are forgotten, and counted. The log still has their events.
pub const DEAD_MAX: usize = 512;
/// Attempts that may fail in a row before the circuit opens.
pub const FAILURES_MAX: u32 = 5;
/// How long an open circuit waits for its first probe, in seconds. Twice as long for each that fails.
pub const PROBE_S_FIRST: i64 = 60;
/// And at most, in seconds.
pub const PROBE_S_MAX: i64 = 3_600;
/// How long an attempt may be under way, in seconds: nobody hears of one after that, and another is made in its place.
pub const IN_FLIGHT_S: i64 = 60;
/// Attempts at one webhook that are made at the same time.
pub const AT_ONCE: usize = 8;
/// How long an endpoint may ask to be left alone, in seconds: a day. What it asks for beyond is not heeded.
pub const HOLD_S_MAX: u32 = 24 * 3600;

/// The queue of one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Whose.
    pub webhook: WebhookId,
    /// What is to be told, oldest first.
    #[serde(default)]
    pub pending: Vec<Pending>,
    /// What could not be, oldest first.
    #[serde(default)]
    pub dead: Vec<DeadLetter>,
    /// Dead letters that were forgotten.
    #[serde(default)]
    pub forgotten: u64,
    /// How attempts go.
    #[serde(default)]
    pub health: Health,
}

/// An announcement that is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Of which event.
    pub event: EventId,
    /// Under which type.
    pub kind: Type,
    /// About whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationId>,
    /// About which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// What hangs on it, as far as that was known when it was queued.
    #[serde(flatten)]
    pub stakes: Stakes,
    /// Since when it is in the queue.
    #[serde(with = "millis")]
    pub since: Timestamp,
    /// Attempts so far, the one under way included.
    #[serde(default)]
    pub attempts: u32,
    /// When the next is due.
    #[serde(with = "millis")]
    pub due_at: Timestamp,
}

/// What hangs on an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stakes {
    /// How important its application is.
    #[serde(default)]
    pub importance: Importance,
    /// How many requests its key carries in a day.
    #[serde(default)]
    pub requests_per_day: u64,
    /// When its key ends.
    #[serde(default, with = "millis::option")]
    pub key_ends_at: Option<Timestamp>,
}

/// An announcement that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The announcement as it was given up.
    #[serde(flatten)]
    pub pending: Pending,
    /// When.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// Why.
    pub why: DeathCause,
}

/// Why an announcement was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeathCause {
    /// All attempts failed, or it grew too old meanwhile.
    Exhausted,
    /// The queue was full, and it was the oldest.
    Overflow,
    /// The webhook was disabled or retired.
    Closed,
    /// The log does not have the event any more, or it does not open.
    EventUnreadable,
}

/// How attempts at a webhook go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Attempts that failed in a row.
    #[serde(default)]
    pub failures: u32,
    /// When an open circuit lets one attempt through.
    #[serde(default, with = "millis::option")]
    pub probe_at: Option<Timestamp>,
    /// Probes that failed since it opened.
    #[serde(default)]
    pub probes: u32,
    /// A probe is under way.
    #[serde(default)]
    pub is_probing: bool,
    /// Until when the endpoint asked to be left alone.
    #[serde(default, with = "millis::option")]
    pub hold_until: Option<Timestamp>,
    /// Announcements delivered.
    #[serde(default)]
    pub delivered: u64,
    /// When one was delivered last.
    #[serde(default, with = "millis::option")]
    pub success_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// How.
    pub fault: Fault,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The answer's status was none of 200 to 299. Redirects are not followed.
    Status(u16),
    /// No answer within the time for one.
    Timeout,
    /// No connection, or it ended before an answer.
    Connection,
    /// No name, or none that leads anywhere.
    NameUnknown,
    /// No certificate that can be trusted, or no TLS.
    Tls,
    /// The target is a private address, and those are not allowed.
    PrivateTarget,
    /// What came was no HTTP.
    Protocol,
}

impl Fault {
    /// Its stable name; the status apart.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::NameUnknown => "name-unknown",
            Self::Tls => "tls",
            Self::PrivateTarget => "private-target",
            Self::Protocol => "protocol",
        }
    }

    /// The status, where there was one.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }
}

/// An attempt that was not taken, as whoever made it saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setback {
    /// Why.
    pub fault: Fault,
    /// How long the endpoint asked to be left alone, in seconds; see [`retry_after_s`].
    pub retry_after_s: Option<u32>,
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after_s: None }
    }
}

/// What an attempt came to.
pub type Attempted = Result<(), Setback>;

/// Whether attempts are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Circuit {
    /// All that are due.
    Closed,
    /// None.
    Open,
    /// One, to see whether it is delivered.
    HalfOpen,
}

impl Health {
    /// Whether attempts are let through now.
    pub fn circuit(&self, now: Timestamp) -> Circuit {
        match self.probe_at {
            None => Circuit::Closed,
            Some(at) if now < at => Circuit::Open,
            Some(_) => Circuit::HalfOpen,
        }
    }

    fn succeeded(&mut self, now: Timestamp) {
        (self.failures, self.probe_at, self.probes, self.is_probing) = (0, None, 0, false);
        self.delivered = self.delivered.saturating_add(1);
        self.success_at = Some(now);
    }

    fn failed(&mut self, Setback { fault, retry_after_s }: Setback, now: Timestamp) {
        if let Some(wait_s) = retry_after_s {
            let until = now.plus_s(i64::from(wait_s.min(HOLD_S_MAX)));
            self.hold_until = self.hold_until.max(Some(until));
        }
        self.failures = self.failures.saturating_add(1);
        self.failure = Some(Failure { at: now, fault });
        if self.probe_at.is_none() {
            if self.failures >= FAILURES_MAX {
                self.probe_at = Some(now.plus_s(PROBE_S_FIRST));
            }
        } else if self.is_probing {
            (self.probes, self.is_probing) = (self.probes.saturating_add(1), false);
            let factor = 1_i64 << self.probes.min(16);
            self.probe_at = Some(now.plus_s(PROBE_S_FIRST.saturating_mul(factor).min(PROBE_S_MAX)));
        }
        // What was under way when the circuit opened says nothing new.
    }
}

impl Queue {
    /// An empty queue.
    pub fn new(webhook: WebhookId) -> Self {
        Self { webhook, pending: Vec::new(), dead: Vec::new(), forgotten: 0, health: Health::default() }
    }

    /// Puts an announcement at the end; where the queue is full, its oldest becomes a dead letter.
    pub fn push(&mut self, announcement: Pending, now: Timestamp) {
        if self.is_full() {
            let oldest = self.pending.remove(0);
            self.bury(oldest, DeathCause::Overflow, now);
        }
        self.pending.push(announcement);
    }

    /// Puts an announcement at the end that somebody waits for: an open circuit lets one through at once, whatever the endpoint asked for.
    pub fn push_to_try(&mut self, announcement: Pending, now: Timestamp) {
        self.push(announcement, now);
        self.try_now(now);
    }

    /// Whether one more would push the oldest out.
    pub const fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    fn try_now(&mut self, now: Timestamp) {
        self.health.hold_until = None;
        self.health.probe_at = self.health.probe_at.map(|_| now);
    }

    /// Takes what is to be attempted now, up to `room`, and counts the attempts. Whatever is not settled within [`IN_FLIGHT_S`] is
    /// taken again.
    pub fn take_due(&mut self, now: Timestamp, room: usize) -> Vec<Pending> {
        let spent = |pending: &Pending| {
            pending.due_at <= now
                && (pending.attempts >= ATTEMPTS_MAX || now >= pending.since.plus_s(AGE_S_MAX))
        };
        let (spent, pending) = std::mem::take(&mut self.pending).into_iter().partition(spent);
        self.pending = pending;
        for pending in spent {
            self.bury(pending, DeathCause::Exhausted, now);
        }
        let is_held = self.health.hold_until.is_some_and(|until| now < until);
        let room = match self.health.circuit(now) {
            _ if is_held => 0,
            Circuit::Open => 0,
            Circuit::HalfOpen => room.min(1),
            Circuit::Closed => room.min(AT_ONCE),
        };
        let mut taken = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.due_at <= now).take(room) {
            pending.attempts += 1;
            pending.due_at = now.plus_s(IN_FLIGHT_S);
            taken.push(pending.clone());
        }
        if !taken.is_empty() && self.health.probe_at.is_some() {
            // Until it is known what becomes of this one, there is no other.
            self.health.probe_at = Some(now.plus_s(IN_FLIGHT_S));
            self.health.is_probing = true;
        }
        taken
    }

    /// What an attempt at `tried` came to. `random` is for the jitter.
    pub fn settle(&mut self, tried: &Pending, came_to: Attempted, now: Timestamp, random: u32) {
        let place = self.pending.iter().position(|pending| pending.event == tried.event);
        match came_to {
            Ok(()) => {
                self.health.succeeded(now);
                if let Some(place) = place {
                    self.pending.remove(place);
                }
            }
            Err(setback) => {
                self.health.failed(setback, now);
                // One that took so long that another was made in its place decides nothing any more.
                let Some(pending) = place.and_then(|place| self.pending.get_mut(place)) else { return };
                if pending.attempts != tried.attempts {
                    return;
                }
                match wait_ms(&SCHEDULE_S, pending.attempts, random) {
                    Some(wait_ms) => {
                        pending.due_at = Timestamp::from_unix_ms(now.unix_ms().saturating_add(wait_ms));
                    }
                    None => self.give_up(tried.event, DeathCause::Exhausted, now),
                }
            }
        }
    }

    /// Makes a dead letter of one announcement.
    pub fn give_up(&mut self, event: EventId, why: DeathCause, now: Timestamp) {
        if let Some(place) = self.pending.iter().position(|pending| pending.event == event) {
            let pending = self.pending.remove(place);
            self.bury(pending, why, now);
        }
    }

    /// Makes dead letters of all.
    pub fn close(&mut self, now: Timestamp) {
        for pending in std::mem::take(&mut self.pending) {
            self.bury(pending, DeathCause::Closed, now);
        }
    }

    fn bury(&mut self, pending: Pending, why: DeathCause, now: Timestamp) {
        if self.dead.len() >= DEAD_MAX {
            self.dead.remove(0);
            self.forgotten = self.forgotten.saturating_add(1);
        }
        self.dead.push(DeadLetter { pending, at: now, why });
    }

    /// Puts dead letters back into the queue, the one of `event` or as many as there is room for, as if they were new; how many those
    /// were. An open circuit lets one through at once, whatever the endpoint asked for: whoever replays has reason to.
    pub fn replay(&mut self, event: Option<EventId>, now: Timestamp) -> usize {
        let mut room = PENDING_MAX.saturating_sub(self.pending.len());
        let mut replayed = 0;
        for letter in std::mem::take(&mut self.dead) {
            if room == 0 || event.is_some_and(|event| letter.pending.event != event) {
                self.dead.push(letter);
                continue;
            }
            room -= 1;
            replayed += 1;
            // Announced anew meanwhile by nobody: an event is queued once.
            self.pending.push(Pending { since: now, attempts: 0, due_at: now, ..letter.pending });
        }
        if replayed > 0 {
            self.try_now(now);
        }
        replayed
    }

    /// Forgets dead letters, the one of `event` or all; which those were.
    pub fn drop_dead(&mut self, event: Option<EventId>) -> Vec<EventId> {
        let (dropped, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.dead)
            .into_iter()
            .partition(|letter| event.is_none_or(|event| letter.pending.event == event));
        self.dead = kept;
        dropped.into_iter().map(|letter| letter.pending.event).collect()
    }

    /// When it is to be looked at next; never where nothing is pending.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = self.pending.iter().map(|pending| pending.due_at).min()?;
        [self.health.probe_at, self.health.hold_until].into_iter().flatten().max().max(Some(due))
    }
}

/// How much hangs on a dead letter, from 0 to 100: up to 40 for how many requests its key carries (10 for each power of ten a day),
/// up to 30 for how close that key's end is, and up to 30 for how important its application is.
pub fn impact(stakes: &Stakes, now: Timestamp) -> u32 {
    const DAY_S: i64 = 24 * 3_600;
    let carried = stakes.requests_per_day.checked_ilog10().map_or(0, |tens| 10 * (tens + 1)).min(40);
    let left_s = stakes.key_ends_at.map(|ends_at| ends_at.unix_s().saturating_sub(now.unix_s()));
    let closeness = match left_s {
        None => 0,
        Some(left_s) if left_s <= DAY_S => 30,
        Some(left_s) if left_s <= 3 * DAY_S => 24,
        Some(left_s) if left_s <= 7 * DAY_S => 18,
        Some(left_s) if left_s <= 30 * DAY_S => 9,
        Some(_) => 0,
    };
    let importance = match stakes.importance {
        Importance::Low => 0,
        Importance::Normal => 10,
        Importance::High => 20,
        Importance::Critical => 30,
    };
    carried + closeness + importance
}

/// How long the field `Retry-After` asks to wait (RFC 9110 section 10.2.3), in seconds: it has a number of them, or a date. Nothing where
/// it has neither, or a date that is over.
pub fn retry_after_s(field: &str, now: Timestamp) -> Option<u32> {
    if field.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than there are seconds is a long time all the same.
        return (!field.is_empty()).then(|| field.parse().unwrap_or(u32::MAX));
    }
    let at = Timestamp::parse_http_date(field)?;
    u32::try_from(at.unix_s().saturating_sub(now.unix_s())).ok().filter(|wait_s| *wait_s > 0)
}

/// How long to wait by a schedule after this many attempts, in milliseconds; nothing after the last.
pub(crate) fn wait_ms(schedule_s: &[i64], attempts: u32, random: u32) -> Option<i64> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let wait_ms = schedule_s.get(index)?.saturating_mul(1_000);
    let jitter = wait_ms / 10 * i64::from(random % 1_001) / 1_000;
    Some(wait_ms.saturating_add(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn event(seq: u64) -> EventId {
        EventId { epoch: 1, seq }
    }

    fn announcement(seq: u64, now: Timestamp) -> Pending {
        Pending {
            event: event(seq),
            kind: Type::KeyIssued,
            application: None,
            key: None,
            stakes: Stakes::default(),
            since: now,
            attempts: 0,
            due_at: now,
        }
    }

    fn queue(count: u64) -> Queue {
        let mut queue = Queue::new(WebhookId::from_bytes([1; 16]));
        (1..=count).for_each(|seq| queue.push(announcement(seq, START), START));
        queue
    }

    #[test]
    fn attempts_follow_the_schedule_and_end_in_a_dead_letter() {
        for random in [0, 1_000] {
            let (mut queue, mut now, mut waits) = (queue(1), START, Vec::new());
            loop {
                let taken = queue.take_due(now, 9);
                let [tried] = taken.as_slice() else { panic!("{} due", taken.len()) };
                queue.settle(tried, Err(Fault::Status(500).into()), now, random);
                let Some(next) = queue.next_due() else { break };
                waits.push(next.unix_s() - now.unix_s());
                now = next;
            }
            let expected: Vec<i64> = SCHEDULE_S.iter().map(|s| s + s * i64::from(random) / 10_000).collect();
            assert_eq!(waits, expected);
            let [letter] = queue.dead.as_slice() else { panic!("{} dead", queue.dead.len()) };
            assert_eq!((letter.why, letter.pending.attempts), (DeathCause::Exhausted, ATTEMPTS_MAX));
            assert!(now < START.plus_s(AGE_S_MAX));
        }
    }

    #[test]
    fn an_open_circuit_lets_one_through_at_a_time() {
        let (mut queue, mut now) = (queue(20), START);
        let taken = queue.take_due(now, 100);
        assert_eq!(taken.len(), AT_ONCE);
        assert_eq!(queue.health.circuit(now), Circuit::Closed);
        taken.iter().for_each(|tried| queue.settle(tried, Err(Fault::Timeout.into()), now, 0));
        assert_eq!(queue.health.circuit(now), Circuit::Open);
        assert!(queue.take_due(now, 100).is_empty());
        // Each probe that fails doubles the wait, up to an hour.
        let mut waits = Vec::new();
        for _ in 0..6 {
            let next = queue.next_due().unwrap();
            waits.push(next.unix_s() - now.unix_s());
            now = next;
            assert_eq!(queue.health.circuit(now), Circuit::HalfOpen);
            let taken = queue.take_due(now, 100);
            assert_eq!(taken.len(), 1);
            assert!(queue.take_due(now, 100).is_empty(), "one at a time");
            queue.settle(&taken[0], Err(Fault::Connection.into()), now, 0);
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920]);
        now = queue.next_due().unwrap();
        let probe = queue.take_due(now, 100);
        queue.settle(&probe[0], Ok(()), now, 0);
        assert_eq!(queue.health.circuit(now), Circuit::Closed);
        assert_eq!(queue.take_due(now, 100).len(), AT_ONCE);
    }

    #[test]
    fn an_endpoint_that_asks_to_wait_is_left_alone() {
        let mut queue = queue(3);
        let tried = queue.take_due(START, 1);
        queue.settle(
            &tried[0],
            Err(Setback { fault: Fault::Status(429), retry_after_s: Some(600) }),
            START,
            0,
        );
        assert_eq!(queue.next_due(), Some(START.plus_s(600)), "the others wait with it");
        assert!(queue.take_due(START.plus_s(599), 9).is_empty());
        let tried = queue.take_due(START.plus_s(600), 1);
        let asked = Setback { fault: Fault::Status(503), retry_after_s: Some(u32::MAX) };
        queue.settle(&tried[0], Err(asked), START.plus_s(600), 0);
        let held = START.plus_s(600 + i64::from(HOLD_S_MAX));
        assert_eq!(queue.next_due(), Some(held), "for a day at most");
        assert!(queue.take_due(held.plus_s(-1), 9).is_empty());
        assert_eq!(queue.replay(None, START.plus_s(700)), 0);
        assert_eq!(queue.next_due(), Some(held), "nothing is replayed, so it is left alone");
        queue.close(START.plus_s(700));
        queue.replay(None, START.plus_s(700));
        assert_eq!(queue.take_due(START.plus_s(700), 9).len(), 3, "whoever replays has reason to");
    }

    #[test]
    fn retry_after_has_seconds_or_a_date() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        for (field, expected) in [
            ("120", Some(120)),
            ("99999999999999", Some(u32::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", None),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after_s(field, now), expected, "{field}");
        }
    }

    #[test]
    fn impact_grows_with_use_with_the_end_and_with_importance() {
        let soon = |days: i64| Some(START.plus_s(days * 24 * 3_600));
        for (requests_per_day, key_ends_at, importance, expected) in [
            (0, None, Importance::Low, 0),
            (0, None, Importance::Normal, 10),
            (9, None, Importance::Low, 10),
            (999, None, Importance::Low, 30),
            (1_000_000, None, Importance::Low, 40),
            (0, None, Importance::High, 20),
            (0, soon(1), Importance::Low, 30),
            (0, soon(2), Importance::Low, 24),
            (0, soon(3), Importance::Low, 24),
            (0, soon(4), Importance::Low, 18),
            (0, soon(7), Importance::Low, 18),
            (0, soon(8), Importance::Low, 9),
            (0, soon(30), Importance::Low, 9),
            (0, soon(31), Importance::Low, 0),
            (5_000, soon(-1), Importance::Critical, 100),
        ] {
            let stakes = Stakes { importance, requests_per_day, key_ends_at };
            assert_eq!(impact(&stakes, START), expected, "{stakes:?}");
        }
    }

    #[test]
    fn nothing_leaves_a_queue_unseen() {
        let mut queue = queue(PENDING_MAX as u64 + 3);
        assert_eq!(queue.pending.len(), PENDING_MAX);
        assert_eq!(queue.dead.iter().map(|letter| letter.pending.event.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(queue.dead.iter().all(|letter| letter.why == DeathCause::Overflow));
        queue.close(START);
        assert_eq!((queue.pending.len(), queue.dead.len()), (0, PENDING_MAX + 3));
        assert_eq!(queue.replay(Some(event(2)), START), 1);
        assert_eq!(queue.replay(None, START), PENDING_MAX - 1, "as many as there is room for");
        assert_eq!(queue.drop_dead(Some(event(9_999))), [], "there is none of that event");
        let last = PENDING_MAX as u64 + 3;
        assert_eq!(queue.drop_dead(Some(event(last))), [event(last)]);
        assert_eq!(queue.drop_dead(None), [event(last - 2), event(last - 1)]);
        assert_eq!(queue.pending.len(), PENDING_MAX);
        for seq in 1_000..1_000 + (DEAD_MAX as u64) + 1 {
            queue.push(announcement(seq, START), START);
        }
        assert_eq!((queue.dead.len(), queue.forgotten), (DEAD_MAX, 1));
    }

    #[test]
    fn an_attempt_of_which_nothing_was_heard_is_made_again() {
        let mut queue = queue(1);
        let first = queue.take_due(START, 9);
        assert!(queue.take_due(START.plus_s(IN_FLIGHT_S - 1), 9).is_empty());
        let later = START.plus_s(IN_FLIGHT_S);
        let second = queue.take_due(later, 9);
        assert_eq!(second[0].attempts, 2);
        queue.settle(&first[0], Err(Fault::Timeout.into()), later, 0);
        assert_eq!(queue.pending[0].due_at, later.plus_s(IN_FLIGHT_S), "the second decides");
        queue.settle(&first[0], Ok(()), later, 0);
        assert!(queue.pending.is_empty(), "delivered is delivered");
    }

    #[test]
    fn what_grew_too_old_behind_an_open_circuit_is_given_up() {
        let mut queue = queue(1);
        queue.pending[0].attempts = 3;
        queue.health.failures = 9;
        queue.health.probe_at = Some(START.plus_s(AGE_S_MAX * 2));
        assert!(queue.take_due(START.plus_s(AGE_S_MAX), 9).is_empty());
        assert_eq!(queue.dead[0].why, DeathCause::Exhausted);
        let later = START.plus_s(AGE_S_MAX * 3);
        queue.replay(None, later);
        assert_eq!(queue.pending, [announcement(1, later)], "replayed, it is as if it were new");
    }

    #[test]
    fn a_fault_has_a_name_and_maybe_a_status() {
        for fault in [
            Fault::Timeout,
            Fault::Connection,
            Fault::NameUnknown,
            Fault::Tls,
            Fault::PrivateTarget,
            Fault::Protocol,
        ] {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.as_str(), "as it is stored");
            assert_eq!(fault.status(), None);
        }
        assert_eq!((Fault::Status(503).as_str(), Fault::Status(503).status()), ("status", Some(503)));
    }

    #[test]
    fn a_circuit_opens_with_the_last_failure_in_a_row() {
        let mut queue = queue(5);
        let taken = queue.take_due(START, 9);
        for (failures, tried) in (1..).zip(&taken) {
            assert_eq!(queue.health.circuit(START), Circuit::Closed, "{failures}");
            queue.settle(tried, Err(Fault::Tls.into()), START, 0);
        }
        assert_eq!((queue.health.circuit(START), queue.health.failures), (Circuit::Open, FAILURES_MAX));
        assert_eq!(queue.health.failure, Some(Failure { at: START, fault: Fault::Tls }));
        queue.settle(&taken[0], Ok(()), START.plus_s(1), 0);
        let health = Health {
            delivered: 1,
            success_at: Some(START.plus_s(1)),
            failure: queue.health.failure,
            ..Health::default()
        };
        assert_eq!(queue.health, health, "one success and all is well");
    }
}
