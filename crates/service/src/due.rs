//! The walk along what is due: minute by minute through the lists of keys and credentials that are due then, with a cursor that moves
//! after the work. It may be run twice, at once, half, or a day late: what is due follows from a key's record, which says until when it
//! was seen to. What is due for credentials is in `credential_due.rs`.
//!
//! A sweep goes round all of them beside it, a few at a time: it finds what no list leads to, such as the keys of a policy that changed,
//! and those whose register does not say how they stand.

use crate::service::Service;
use crate::standings::OnRecord;
use crate::turns::KEYS_AT_ONCE;
use keyward_domain::due::{Duty, FORGOTTEN_AFTER_S, due_at, outlook};
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Actor, ActorKind, Outcome, Source, Target};
use keyward_domain::key::Key;
use keyward_domain::policy::{OnBreach, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::rotation::Mode;
use keyward_domain::standing::{Standing, stands};
use keyward_domain::{Code, CredentialId, Error, KeyId, Result, Timestamp};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::projection::lists;
use keyward_records::{DueWalk, KeyUse, KvCount, KvRead, MINUTES_PER_HOUR, minute_of};
use serde::Serialize;
use utoipa::ToSchema;

/// A minute is walked this long after its end, in seconds: by then its events are written, by whichever clock.
const BEHIND_S: i64 = 5;
/// Keys and credentials that one run sees to at most.
const SEEN_TO_MAX: usize = 512;
/// Lists that one run looks into at most: two days of minutes, or ninety of hours in which nothing is due.
const LISTS_MAX: usize = 2880;
/// Keys, and credentials, that the sweep looks at in one run.
const SWEEP_KEYS: usize = 128;
const SWEEP_CREDENTIALS: usize = 32;

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
    /// Keys that stood otherwise than was on record, and of which it was told.
    pub restated: usize,
    /// Credentials that something was due for.
    pub credentials: usize,
    /// Rotations of credentials that began.
    pub rotations: usize,
    /// Minutes that are left to walk, of those that are over.
    pub minutes_left: i64,
}

/// What lists of what is due lead to.
#[derive(Debug, Clone, Copy)]
enum Listed {
    Key(KeyId),
    Credential(CredentialId),
}

/// What is due for a key, and what that follows from.
struct Found {
    duties: Vec<Duty>,
    terms: Terms,
    is_dead: bool,
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
        let mut left = SEEN_TO_MAX;
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
            let seen_to = self.see_to_listed(&lists::due(walk.minute), walk.at, left, &mut done).await?;
            left -= seen_to;
            if seen_to == 0 {
                (walk.minute, walk.at) = (walk.minute + 1, 0);
            } else {
                walk.at = walk.at.saturating_add(u64::try_from(seen_to).unwrap_or(u64::MAX));
                self.ledger.keep_due_walk(&walk).await?;
            }
        }
        walk.sweep = self.sweep(lists::KEYS, walk.sweep, SWEEP_KEYS, &mut done).await?;
        let (list, at) = (lists::CREDENTIALS, walk.sweep_credentials);
        walk.sweep_credentials = self.sweep(list, at, SWEEP_CREDENTIALS, &mut done).await?;
        if walk != begun {
            self.ledger.keep_due_walk(&walk).await?;
        }
        done.minutes_left = (over - walk.minute).max(0);
        Ok(done)
    }

    /// Sees to what a list leads to from a place on; where to go on, which is its beginning once its end was found.
    async fn sweep(&self, list: &str, at: u64, limit: usize, done: &mut DueView) -> Result<u64> {
        match self.see_to_listed(list, at, limit, done).await? {
            seen_to if seen_to == limit => Ok(at.saturating_add(u64::try_from(limit).unwrap_or(0))),
            _ => Ok(0),
        }
    }

    /// Sees to what a list leads to from a place on, as [`Service::entries_from`] follows it; how many entries those were.
    async fn see_to_listed(&self, list: &str, at: u64, limit: usize, done: &mut DueView) -> Result<usize> {
        let (mut keys, mut credentials): (Vec<KeyId>, Vec<CredentialId>) = (Vec::new(), Vec::new());
        let entries = self.entries_from(list, at, limit).await?;
        for entry in &entries {
            match listed(&entry.id).ok_or_else(|| Error::damaged("a list"))? {
                Listed::Key(id) => keys.push(id),
                Listed::Credential(id) => credentials.push(id),
            }
        }
        for ids in keys.chunks(KEYS_AT_ONCE) {
            self.see_to(ids, done).await?;
        }
        for id in credentials {
            self.see_to_credential(id, done).await?;
        }
        Ok(entries.len())
    }

    /// Sees to these keys in one commit: each in a turn of its own, as it is stored by then.
    async fn see_to(&self, ids: &[KeyId], done: &mut DueView) -> Result<()> {
        let mut keys: Vec<Key> = Vec::new();
        for found in futures::future::join_all(ids.iter().map(|id| self.readable_key(*id))).await {
            // The same key may be on a list twice.
            keys.extend(found?.filter(|key| keys.iter().all(|other| other.id != key.id)));
        }
        let duties = self.duties_of_each(&keys).await?;
        let due = keys.iter().zip(duties).filter(|(_, found)| !found.duties.is_empty());
        let due: Vec<KeyId> = due.map(|(key, _)| key.id).collect();
        if due.is_empty() {
            return Ok(());
        }
        let (taken, mut failed) = self.turns_at_keys(due).await;
        let (turns, keys): (Vec<Turn>, Vec<Key>) = taken.into_iter().unzip();
        let in_turn = turns.into_iter().zip(keys.iter().cloned());
        let seen = match self.duties_of_each(&keys).await {
            Ok(found) => {
                in_turn.zip(found).map(|((turn, key), found)| self.perform(key, turn, found, done)).collect()
            }
            Err(error) => {
                // What cannot be told now is seen to later; the turns are given back.
                failed = Some(error);
                in_turn.map(|(turn, key)| Seen { key, turn, drafts: Vec::new() }).collect()
            }
        };
        self.commit_seen(seen).await?;
        failed.map_or(Ok(()), Err)
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

    /// A key's record, where this process can read it.
    pub(crate) async fn readable_key(&self, id: KeyId) -> Result<Option<Key>> {
        match self.read().key(id).await {
            // What does not open is for `audit verify` to name; it must not stop the walk.
            Err(error) if error.code.blame() == Blame::Integrity => Ok(None),
            // Nor what another process can open: the sweep comes by again.
            Err(error) if error.code == Code::RingVersionUnknown => Ok(None),
            found => found,
        }
    }

    /// What is due for each of these keys, in their order.
    async fn duties_of_each(&self, keys: &[Key]) -> Result<Vec<Found>> {
        let terms = self.terms_of_each(keys).await?;
        let found = keys.iter().zip(terms).map(|(key, terms)| self.duties(key, terms));
        let mut found = futures::future::try_join_all(found).await?;
        let on_record = match self.standings_on_record(keys).await {
            // What does not open is for `audit verify` to name; it must not stop the walk.
            Err(error) if error.code.blame() == Blame::Integrity => vec![OnRecord::Outdated; keys.len()],
            found => found?,
        };
        for ((key, found), on_record) in keys.iter().zip(&mut found).zip(on_record) {
            let standing = Standing::of(key, &found.terms, found.is_dead, self.clock.now());
            // Whatever else is due tells of it as well.
            if found.duties.is_empty() && on_record.lacks(standing) {
                found.duties.push(Duty::TellStanding);
            }
        }
        Ok(found)
    }

    async fn duties(&self, key: &Key, terms: Terms) -> Result<Found> {
        let died_at = self.died_at(key).await?;
        let duties = self.duties_since(key, &terms, died_at).await?;
        Ok(Found { duties, terms, is_dead: died_at.is_some() })
    }

    async fn duties_since(&self, key: &Key, terms: &Terms, died_at: Option<Timestamp>) -> Result<Vec<Duty>> {
        let now = self.clock.now();
        let forgotten = key.versions.is_empty() && key.claim.is_none();
        match died_at {
            None => {
                let mut due = Duty::due(key, terms, now);
                if terms.idle_after_s.is_some() {
                    let used = self.read().key_use(key.id).await?;
                    let last_used = used.as_ref().and_then(KeyUse::last_used);
                    due.extend(Duty::is_idle(key, terms, last_used, now).then_some(Duty::TellIdle));
                }
                Ok(due)
            }
            Some(died_at) if !forgotten && now >= died_at.plus_s(FORGOTTEN_AFTER_S) => Ok(vec![Duty::Forget]),
            Some(_) => Ok(Vec::new()),
        }
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
    fn perform(&self, mut key: Key, turn: Turn, found: Found, done: &mut DueView) -> Seen {
        let (now, Found { duties, terms, is_dead }) = (self.clock.now(), found);
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
                Duty::TellStanding => {
                    done.restated += 1;
                    tell(Action::KeyStanding, Vec::new());
                }
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
            match is_dead {
                false => last.detail.extend(outlook(&key, &terms, now)),
                true => last.detail.push(stands(Standing::Revoked, &key)),
            }
        }
        Seen { key, turn, drafts }
    }
}

/// What the event of a key's death says of the time at which its secrets are forgotten.
pub(crate) fn forgotten_fact(died_at: Timestamp) -> String {
    due_at(died_at.plus_s(FORGOTTEN_AFTER_S))
}

fn ends(key: &Key) -> Vec<String> {
    key.expires_at.iter().map(|end| format!("ends {end}")).collect()
}

fn listed(id: &str) -> Option<Listed> {
    id.parse().map(Listed::Key).or_else(|_| id.parse().map(Listed::Credential)).ok()
}

/// What Keyward does by itself.
pub(crate) fn draft(action: Action, target: Target) -> Draft {
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
