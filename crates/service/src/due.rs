//! The walk along what is due: minute by minute through the lists of keys that are due then, with a cursor that moves after the work.
//! It may be run twice, at once, half, or a day late: what is due follows from a key's record, which says until when it was seen to.
//!
//! A sweep goes round all keys beside it, a few at a time: it finds what no list leads to, such as the keys of a policy that changed.

use crate::service::Service;
use keyward_domain::due::{Duty, FORGOTTEN_AFTER_S, due_at};
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Actor, ActorKind, Outcome, Source, Target};
use keyward_domain::key::Key;
use keyward_domain::policy::{OnBreach, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::rotation::Mode;
use keyward_domain::{Code, Error, KeyId, Result, Timestamp};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::projection::{PAGE_ENTRIES, lists};
use keyward_records::{DueWalk, KeyUse, KvCount, KvRead, MINUTES_PER_HOUR, minute_of};
use serde::Serialize;
use utoipa::ToSchema;

/// A minute is walked this long after its end, in seconds: by then its events are written, by whichever clock.
const BEHIND_S: i64 = 5;
/// Keys that one run sees to at most.
const KEYS_MAX: usize = 512;
/// Lists that one run looks into at most: two days of minutes, or ninety of hours in which nothing is due.
const LISTS_MAX: usize = 2880;
/// Keys that the sweep looks at in one run.
const SWEEP_KEYS: usize = 128;
/// Keys seen to in one commit.
const AT_ONCE: usize = 32;
/// How often turns are taken at most: others are waited for meanwhile, and one that died holds its successor up for 5 s.
const TURNS_AGAIN: usize = 3;

/// What a run did of what was due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DueWork)]
pub struct DueView {
    /// Keys that something was due for.
    pub keys: usize,
    /// Successors that were offered.
    pub offered: usize,
    /// Keys that were found to break their policy.
    pub broken: usize,
    /// Of these, keys whose life ended with it.
    pub retired: usize,
    /// Dead keys whose secrets' MACs were given up.
    pub forgotten: usize,
    /// Minutes that are left to walk, of those that are over.
    pub minutes_left: i64,
}

/// A key that something is due for, in its turn.
struct Seen {
    key: Key,
    turn: Turn,
    drafts: Vec<Draft>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Sees to what is due, for one run. Only where the log is projected as far as it was when the run began: else a list could be passed
    /// that is not complete.
    pub(crate) async fn see_to_what_is_due(&self) -> Result<DueView> {
        let now = self.clock.now();
        let mut walk = self.read().due_walk().await?.unwrap_or_else(|| DueWalk::beginning(now));
        let begun = walk;
        let mut done = DueView::default();
        let over = minute_of(now.plus_s(-BEHIND_S));
        let mut left = KEYS_MAX;
        for _ in 0..LISTS_MAX {
            if walk.minute >= over || left == 0 {
                break;
            }
            let hour = walk.minute.div_euclid(MINUTES_PER_HOUR);
            let next_hour = (hour + 1) * MINUTES_PER_HOUR;
            if walk.minute.rem_euclid(MINUTES_PER_HOUR) == 0
                && next_hour <= over
                && self.read().list_head(&lists::due_in_hour(hour)).await?.is_none()
            {
                (walk.minute, walk.at) = (next_hour, 0);
                continue;
            }
            let ids = self.listed(&lists::due(walk.minute), walk.at, left).await?;
            for ids in ids.chunks(AT_ONCE) {
                self.see_to(ids, &mut done).await?;
            }
            left -= ids.len();
            if ids.is_empty() {
                (walk.minute, walk.at) = (walk.minute + 1, 0);
            } else {
                walk.at = walk.at.saturating_add(u64::try_from(ids.len()).unwrap_or(u64::MAX));
                self.ledger.keep_due_walk(&walk).await?;
            }
        }
        let ids = self.listed(lists::KEYS, walk.sweep, SWEEP_KEYS).await?;
        for ids in ids.chunks(AT_ONCE) {
            self.see_to(ids, &mut done).await?;
        }
        walk.sweep = match ids.len() {
            SWEEP_KEYS => walk.sweep.saturating_add(u64::try_from(SWEEP_KEYS).unwrap_or(0)),
            _ => 0,
        };
        if walk != begun {
            self.ledger.keep_due_walk(&walk).await?;
        }
        done.minutes_left = (over - walk.minute).max(0);
        Ok(done)
    }

    /// The ids in a list from a place on, at most so many; of one page, so there may be more.
    async fn listed(&self, list: &str, at: u64, limit: usize) -> Result<Vec<KeyId>> {
        let Some(head) = self.read().list_head(list).await? else { return Ok(Vec::new()) };
        if at >= head.count {
            return Ok(Vec::new());
        }
        let page = self.read().list_page(list, at / PAGE_ENTRIES).await?;
        let page = page.ok_or_else(|| Error::damaged("a list"))?;
        let first = usize::try_from(at % PAGE_ENTRIES).unwrap_or(usize::MAX);
        let entries = page.entries.iter().skip(first).take(limit);
        entries.map(|entry| entry.id.parse().map_err(|_| Error::damaged("a list"))).collect()
    }

    /// Sees to these keys in one commit: each in a turn of its own, as it is stored by then.
    async fn see_to(&self, ids: &[KeyId], done: &mut DueView) -> Result<()> {
        let looks = futures::future::join_all(ids.iter().map(|id| self.is_due(*id))).await;
        let mut due: Vec<KeyId> = Vec::new();
        for (id, look) in ids.iter().zip(looks) {
            // The same key may be on a list twice.
            if look? && !due.contains(id) {
                due.push(*id);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        // A failure must not leave the turns of the others unused: their next writers would wait for them.
        let (turns, mut failed) = self.turns(due).await;
        let mut seen: Vec<Seen> = Vec::new();
        for (turn, key) in turns {
            match self.duties(&key).await {
                Ok(found) => seen.push(self.perform(key, turn, found, done)),
                Err(error) => {
                    seen.push(Seen { key, turn, drafts: Vec::new() });
                    failed = Some(error);
                }
            }
        }
        self.commit_seen(seen).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Turns at these keys, and the keys as they are stored by then; those that grew old while another was waited for are taken again.
    async fn turns(&self, ids: Vec<KeyId>) -> (Vec<(Turn, Key)>, Option<Error>) {
        let (mut held, mut failed) = (Vec::new(), None);
        let mut wanted: Vec<(KeyId, Option<Turn>)> = ids.into_iter().map(|id| (id, None)).collect();
        for _ in 0..TURNS_AGAIN {
            let turns = wanted.into_iter().map(async |(id, old)| match old {
                None => self.ledger.turn_at::<Key>(id).await,
                Some(old) => self.ledger.turn_at_again(id, old).await,
            });
            for taken in futures::future::join_all(turns).await {
                match taken {
                    Ok(taken) => held.push(taken),
                    Err(error) => failed = Some(error),
                }
            }
            let (old, fresh): (Vec<_>, Vec<_>) =
                held.into_iter().partition(|(turn, _): &(Turn, Key)| self.ledger.is_old(turn));
            held = fresh;
            wanted = old.into_iter().map(|(turn, key)| (key.id, Some(turn))).collect();
            if wanted.is_empty() {
                break;
            }
        }
        (held, failed)
    }

    async fn commit_seen(&self, seen: Vec<Seen>) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut drafts: Vec<Draft> = seen.iter().flat_map(|seen| seen.drafts.iter().cloned()).collect();
        if seen.iter().any(|seen| seen.drafts.is_empty()) {
            // Somebody else saw to it meanwhile. Its turn is given back all the same.
            drafts.push(draft(Action::DuePassed, Target::default()));
        }
        let passed = drafts.len().saturating_sub(1);
        let committed = self.ledger.commit(drafts, |tickets, writes| {
            let mut first = 0;
            for Seen { mut key, turn, drafts } in seen {
                let event = if drafts.is_empty() { passed } else { first };
                first += drafts.len();
                (key.revision, key.event) = (turn.revision(), tickets.event(event));
                writes.for_event(event).change(&key, turn);
            }
            Ok(())
        });
        committed.await.map(|committed| committed.value)
    }

    /// Whether something is due for a key.
    async fn is_due(&self, id: KeyId) -> Result<bool> {
        let key = match self.read().key(id).await {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(false),
            // What does not open is for `audit verify` to name; it must not stop the walk.
            Err(error) if error.code.blame() == Blame::Integrity => return Ok(false),
            // Nor what another process can open: the sweep comes by again.
            Err(error) if error.code == Code::RingVersionUnknown => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(!self.duties(&key).await?.0.is_empty())
    }

    async fn duties(&self, key: &Key) -> Result<(Vec<Duty>, Terms)> {
        let (now, terms) = (self.clock.now(), self.terms_of(key).await?);
        let forgotten = key.versions.is_empty() && key.claim.is_none();
        let duties = match self.died_at(key).await? {
            None => {
                let mut due = Duty::due(key, &terms, now);
                if terms.idle_after_s.is_some() {
                    let used = self.read().key_use(key.id).await?;
                    let last_used = used.as_ref().and_then(KeyUse::last_used);
                    due.extend(Duty::is_idle(key, &terms, last_used, now).then_some(Duty::TellIdle));
                }
                due
            }
            Some(died_at) if !forgotten && now >= died_at.plus_s(FORGOTTEN_AFTER_S) => vec![Duty::Forget],
            Some(_) => Vec::new(),
        };
        Ok((duties, terms))
    }

    /// When a key was revoked, by itself or with its generation; where that cannot be told, now.
    async fn died_at(&self, key: &Key) -> Result<Option<Timestamp>> {
        if self.is_alive(key).await? {
            return Ok(None);
        }
        match self.read().flag(key.id).await {
            Ok(Some(Some(tombstone))) => Ok(Some(tombstone.at)),
            _ => match self.generation_killed_at(key.application, key.generation).await? {
                Some(at) => Ok(Some(at)),
                None => Ok(Some(self.clock.now())),
            },
        }
    }

    /// Does what is due in the key's record, and drafts the events that tell of it.
    fn perform(&self, mut key: Key, turn: Turn, found: (Vec<Duty>, Terms), done: &mut DueView) -> Seen {
        let (now, (duties, terms)) = (self.clock.now(), found);
        let target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
        let previous = Some(key.event);
        let mut drafts: Vec<Draft> = Vec::new();
        let mut tell =
            |action, detail: Vec<String>| drafts.push(Draft { detail, previous, ..draft(action, target) });
        for duty in &duties {
            match duty {
                Duty::Offer => match key.offer_successor(Mode::Scheduled, terms.grace_s, now) {
                    Some(version) => {
                        done.offered += 1;
                        tell(Action::KeyOffered, vec![format!("version {version}")]);
                    }
                    None => tell(Action::PolicyBroken, vec!["no version is left".to_owned()]),
                },
                Duty::TellUnclaimed => {
                    let version = key.highest_version();
                    tell(Action::RotationUnclaimed, vec![format!("version {version}")]);
                }
                Duty::TellExpiring => tell(Action::KeyExpiring, ends(&key)),
                Duty::TellIdle => tell(Action::KeyIdle, Vec::new()),
                Duty::TellExpired => tell(Action::KeyExpired, ends(&key)),
                Duty::Breach => {
                    done.broken += 1;
                    tell(Action::PolicyBroken, Vec::new());
                    if terms.on_breach == OnBreach::Retire {
                        done.retired += 1;
                        key.expires_at = Some(key.expires_at.map_or(now, |end| end.min(now)));
                        tell(Action::KeyRetired, Vec::new());
                    }
                }
                Duty::Forget => {
                    done.forgotten += 1;
                    key.rotation.version_offered = key.highest_version();
                    key.versions.clear();
                    (key.claim, key.rotation.offer, key.rotation.renewal) = (None, None, None);
                    tell(Action::KeyForgotten, Vec::new());
                }
            }
        }
        if let Some(last) = drafts.last_mut() {
            done.keys += 1;
            key.rotation.looked_at = Some(now);
            last.detail.extend(Duty::next(&key, &terms).map(due_at));
        }
        Seen { key, turn, drafts }
    }

    /// What the event of a key's change says of the time at which the key is due for something next.
    pub(crate) async fn due_fact(&self, key: &Key) -> Result<Option<String>> {
        let terms = self.terms_of(key).await?;
        Ok(Duty::next(key, &terms).map(due_at))
    }
}

/// What the event of a key's death says of the time at which its secrets are forgotten.
pub(crate) fn forgotten_fact(died_at: Timestamp) -> String {
    due_at(died_at.plus_s(FORGOTTEN_AFTER_S))
}

fn ends(key: &Key) -> Vec<String> {
    key.expires_at.iter().map(|end| format!("ends {end}")).collect()
}

/// What Keyward does by itself.
fn draft(action: Action, target: Target) -> Draft {
    Draft {
        action,
        outcome: match action {
            Action::PolicyBroken => Outcome::Alarm,
            _ => Outcome::Done,
        },
        target,
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: None,
        reason: None,
        detail: Vec::new(),
        previous: None,
    }
}
