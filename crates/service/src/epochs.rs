//! A new epoch of the log, for a store that was rolled back. What it has of the old epoch is integrated and closed, and what an exported
//! copy of the log says was revoked since is revoked again, before anything new is written. Run next to the store, with nobody at it.
//!
//! The record of the epochs is written last: until then the store is as old as it was, and a run that died is run again. What was
//! replayed by then stays, with its events in the epoch that is to come.

use crate::service::Service;
use keyward_crypto::digest::hex;
use keyward_domain::application::{NameHolder, Status};
use keyward_domain::claim::claim_withdrawn;
use keyward_domain::credential::{Credential, Version};
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Actor, ActorKind, Event, EventId, Outcome, Source, Target};
use keyward_domain::issuing::{Issuing, State};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::renewal_withdrawn;
use keyward_domain::standing::{generation_ended, stands_revoked};
use keyward_domain::text::check_reason;
use keyward_domain::timestamp::Month;
use keyward_domain::{ApplicationId, ClaimId, Code, CredentialId, Error, KeyId, RequestId, Result};
use keyward_ledger::{Draft, KvWrite};
use keyward_records::projection::Head;
use keyward_records::{
    ClosedEpoch, KvCount, KvRead, PersonalKey, PersonalKeyState, Revised, Seen, Tombstone, names,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Revocations, and ends of what credentials held, that one commit replays at most.
const REPLAYED_AT_ONCE: usize = 64;

/// What an exported log says that must hold on whatever store goes on from it: who was revoked, and what was closed last.
#[derive(Default)]
pub struct Exported {
    newest: Option<EventId>,
    /// The events that ended something, each end once.
    ends: Vec<(End, Event)>,
    known: BTreeSet<End>,
    standing: BTreeMap<ApplicationId, Event>,
    issuing: Option<Event>,
    shredded: BTreeSet<Month>,
}

/// What is over for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Key(KeyId),
    Version(KeyId, u16),
    Generation(ApplicationId, u32),
    /// What lets its holder have a version minted.
    Right(KeyId, Right),
    /// What a version of a credential held.
    Value(CredentialId, u32),
    /// A credential, with all of its versions.
    Credential(CredentialId),
}

/// A right to have a version of a key minted; whether it holds stands in the key's record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    /// The renewal token that came with a version.
    Renewal(u16),
    /// A claim.
    Claim(ClaimId),
}

impl Right {
    /// Whether it holds.
    fn holds(self, key: &Key) -> bool {
        match self {
            Self::Renewal(version) => {
                key.rotation.renewal.is_some() && key.newest().is_some_and(|newest| newest.number == version)
            }
            Self::Claim(id) => key.claim.as_ref().is_some_and(|open| open.id == id),
        }
    }

    /// It holds no longer.
    fn withdraw(self, key: &mut Key) {
        match self {
            Self::Renewal(_) => key.rotation.renewal = None,
            Self::Claim(_) => key.claim = None,
        }
    }

    fn fact(self) -> String {
        match self {
            Self::Renewal(version) => renewal_withdrawn(version),
            Self::Claim(id) => claim_withdrawn(id),
        }
    }
}

impl Exported {
    /// Takes note of one event; they come in the order of the log.
    pub fn note(&mut self, event: Event) {
        self.newest = self.newest.max(Some(event.id));
        if event.outcome == Outcome::Refused {
            return;
        }
        for end in ends(&event) {
            if self.known.insert(end) {
                self.ends.push((end, event.clone()));
            }
        }
        match (event.action, event.target.application) {
            (Action::ApplicationSuspended | Action::ApplicationResumed, Some(application)) => {
                self.standing.insert(application, event);
            }
            (Action::IssuingFrozen | Action::IssuingThawed, _) => self.issuing = Some(event),
            (Action::AuditShredded, _) => {
                self.shredded.extend(event.detail.iter().filter_map(|month| month.parse::<Month>().ok()));
            }
            _ => {}
        }
    }

    /// The last event of the exported log.
    pub const fn newest(&self) -> Option<EventId> {
        self.newest
    }
}

/// What an event ended, by its target and the records that it wrote.
fn ends(event: &Event) -> Vec<End> {
    match (event.action, event.target) {
        (Action::KeyRevoked | Action::KeyReported, Target { key: Some(key), .. }) => vec![End::Key(key)],
        // By the key's policy it ended the key, or less.
        (Action::KeyLeaked, Target { key: Some(key), .. })
            if event.writes.iter().any(|write| write.record == names::flag(key)) =>
        {
            vec![End::Key(key)]
        }
        (Action::ApplicationRevoked, Target { application: Some(application), .. }) => {
            let prefix = names::generation_kill(application, 0);
            let prefix = prefix.trim_end_matches('0');
            let generation = |record: &str| record.strip_prefix(prefix)?.parse::<u32>().ok();
            let written = event.writes.iter().filter_map(|write| generation(&write.record));
            written.map(|generation| End::Generation(application, generation)).collect()
        }
        (_, Target { credential: Some(credential), .. }) => {
            let prefix = names::credential_kill(credential, 0);
            let prefix = prefix.trim_end_matches('0');
            let version = |record: &str| record.strip_prefix(prefix)?.parse::<u32>().ok();
            let written = event.writes.iter().filter_map(|write| version(&write.record));
            let values = written.map(|version| End::Value(credential, version));
            let retired = (event.action == Action::CredentialRetired).then_some(End::Credential(credential));
            values.chain(retired).collect()
        }
        // Whatever wrote kills of versions: an incident, the end of an overlap, a leak, a renewal token that was used twice.
        (_, Target { key: Some(key), .. }) => {
            let prefix = names::version_kill(key, 0);
            let prefix = prefix.trim_end_matches('0');
            let version = |record: &str| record.strip_prefix(prefix)?.parse::<u16>().ok();
            let written = event.writes.iter().filter_map(|write| version(&write.record));
            let rights =
                [event.renewal_withdrawn().map(Right::Renewal), event.claim_withdrawn().map(Right::Claim)];
            let rights = rights.into_iter().flatten().map(|right| End::Right(key, right));
            written.map(|version| End::Version(key, version)).chain(rights).collect()
        }
        _ => Vec::new(),
    }
}

/// How a store stands beside an exported log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// The epoch that the store is in.
    pub epoch: u32,
    /// Tickets that the store has taken in it.
    pub taken: u64,
    /// The last event of the exported log.
    pub exported: Option<EventId>,
    /// Revocations of the exported log that the store does not have.
    pub revocations: usize,
    /// Applications that are suspended by the exported log and active in the store.
    pub suspensions: usize,
}

/// An epoch that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochView {
    /// Its number.
    pub epoch: u32,
    /// The event that opened it.
    pub event: EventId,
    /// The epoch that was closed.
    pub closed: u32,
    /// Its leaves.
    pub size: u64,
    /// The root of its tree, lowercase hex.
    pub root: String,
    /// Revocations of the exported log that the store did not have and now has. Those of a run before that died are not among them.
    pub revocations: usize,
    /// Applications that were suspended again.
    pub suspensions: usize,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How the store stands beside an exported log; changes nothing.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn behind(&self, exported: &Exported) -> Result<Behind> {
        let last = self.ledger.last_ticket().await?;
        Ok(Behind {
            epoch: last.epoch,
            taken: last.seq,
            exported: exported.newest,
            revocations: self.missing_ends(exported).await?.len(),
            suspensions: self.missing_suspensions(exported).await?.len(),
        })
    }

    /// Closes the store's epoch and opens the next one that neither the store nor the exported log nor the witness has seen.
    ///
    /// # Errors
    /// No reason; somebody else at the store; where the store does not answer or its log is damaged. Then it is run again.
    pub async fn open_epoch(
        &self,
        exported: &Exported,
        seen: Option<Seen>,
        reason: &str,
    ) -> Result<EpochView> {
        check_reason("reason", reason)?;
        let closed = self.ledger.close().await?;
        let mut epochs = self.read().epochs().await?;
        let known = [Some(epochs.current), seen.map(|seen| seen.epoch), exported.newest.map(|id| id.epoch)];
        let last = known.into_iter().flatten().max().unwrap_or(epochs.current);
        let epoch = last.checked_add(1).ok_or_else(|| Error::internal("there is no epoch after the last"))?;
        let request = RequestId::from_bytes(self.rng.bytes());

        let revocations = self.replay_ends(exported, epoch, request).await?;
        let suspensions = self.replay_suspensions(exported, epoch, request).await?;
        self.replay_freeze(exported, epoch, request).await?;
        self.replay_shredding(exported, epoch, request).await?;

        if self.ledger.close().await? != closed {
            return Err(Error::new(
                Code::StateConflict,
                "somebody wrote to the store meanwhile; stop whatever runs on it and repeat",
            ));
        }
        epochs.closed.push(ClosedEpoch { head: closed.clone() });
        // Epochs that only the lost log had: nothing of them is here.
        epochs.closed.extend((closed.epoch + 1..epoch).map(|lost| ClosedEpoch { head: Head::start(lost) }));
        epochs.current = epoch;
        let mut draft = replayed(Action::EpochOpened, Target::default(), request);
        draft.reason = Some(reason.to_owned());
        draft.detail = vec![
            format!("closed epoch {} at {} entries, root {}", closed.epoch, closed.size, hex(&closed.root)),
            match seen {
                Some(Seen { epoch, taken, size, root }) => {
                    format!(
                        "the witness saw epoch {epoch}, {taken} tickets, {size} entries, root {}",
                        hex(&root)
                    )
                }
                None => "no witness".to_owned(),
            },
            match exported.newest {
                Some(newest) => format!("exported log up to {newest}"),
                None => "empty exported log".to_owned(),
            },
            format!("{revocations} revocations and {suspensions} suspensions replayed"),
        ];
        let committed = self
            .ledger
            .commit_in(epoch, vec![draft], |tickets, writes| {
                writes.epochs(&epochs, &Head::start(epoch));
                Ok(tickets.event(0))
            })
            .await?;
        Ok(EpochView {
            epoch,
            event: committed.value,
            closed: closed.epoch,
            size: closed.size,
            root: hex(&closed.root),
            revocations,
            suspensions,
        })
    }

    /// Ends that the store does not have. A key that it never had is denied as it is.
    async fn missing_ends<'e>(&self, exported: &'e Exported) -> Result<Vec<&'e (End, Event)>> {
        let mut missing = Vec::new();
        for chunk in exported.ends.chunks(REPLAYED_AT_ONCE) {
            let looks = chunk.iter().map(|(end, _)| self.lives(*end));
            for (ended, lives) in chunk.iter().zip(futures::future::join_all(looks).await) {
                if lives? {
                    missing.push(ended);
                }
            }
        }
        Ok(missing)
    }

    async fn lives(&self, end: End) -> Result<bool> {
        match end {
            End::Generation(application, generation) => {
                Ok(!self.read().generation_killed(application, generation).await?)
            }
            // A version that the store never had cannot pass, and its number may be given anew.
            End::Version(key, version) => match self.read().key(key).await {
                Ok(Some(found)) if version <= found.highest_version() => {
                    Ok(self.kv.get(&names::version_kill(key, version)).await?.is_none())
                }
                Ok(_) => Ok(false),
                Err(error) if error.code.blame() == Blame::Integrity => Ok(false),
                Err(error) => Err(error),
            },
            End::Right(key, right) => match self.read().key(key).await {
                Ok(found) => Ok(found.is_some_and(|found| right.holds(&found))),
                Err(error) if error.code.blame() == Blame::Integrity => Ok(false),
                Err(error) => Err(error),
            },
            End::Value(credential, version) => match self.read().credential(credential).await {
                Ok(found) => match found.and_then(|found| found.version(version).copied()) {
                    Some(Version { destroyed_at: Some(_), .. }) => {
                        Ok(self.kv.get(&names::credential_kill(credential, version)).await?.is_none())
                    }
                    known => Ok(known.is_some()),
                },
                Err(error) if error.code.blame() == Blame::Integrity => Ok(false),
                Err(error) => Err(error),
            },
            End::Credential(credential) => match self.read().credential(credential).await {
                Ok(found) => Ok(found.is_some_and(|found| found.retired_at.is_none())),
                Err(error) if error.code.blame() == Blame::Integrity => Ok(false),
                Err(error) => Err(error),
            },
            End::Key(key) => match self.read().flag(key).await {
                Ok(flag) => Ok(matches!(flag, Some(None))),
                // A tombstone that does not open is one.
                Err(error) if error.code.blame() == Blame::Integrity => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    async fn replay_ends(&self, exported: &Exported, epoch: u32, request: RequestId) -> Result<usize> {
        let missing = self.missing_ends(exported).await?;
        let replayed = missing.len();
        // What stands in a record takes a turn at it; marks of their own wait for none.
        let mut of_credentials: BTreeMap<CredentialId, Vec<&(End, Event)>> = BTreeMap::new();
        let mut marks = Vec::new();
        for missing in missing {
            match missing.0 {
                End::Right(key, right) => {
                    self.replay_withdrawal(key, right, again(&missing.1, request), epoch).await?;
                }
                End::Value(id, _) | End::Credential(id) => {
                    of_credentials.entry(id).or_default().push(missing)
                }
                End::Key(_) | End::Version(..) | End::Generation(..) => marks.push(missing),
            }
        }
        for (id, ends) in of_credentials {
            self.replay_ends_of_credential(id, &ends, epoch, request).await?;
        }
        for chunk in marks.chunks(REPLAYED_AT_ONCE) {
            let drafts = chunk.iter().map(|(end, original)| {
                let mut draft = again(original, request);
                draft.detail.extend(match end {
                    End::Generation(_, generation) => Some(generation_ended(*generation)),
                    End::Key(_) => Some(stands_revoked()),
                    End::Version(..) | End::Right(..) | End::Value(..) | End::Credential(_) => None,
                });
                draft
            });
            let write = self.ledger.commit_in(epoch, drafts.collect(), |tickets, writes| {
                for (index, (end, original)) in chunk.iter().enumerate() {
                    let event = tickets.event(index);
                    let writes = writes.for_event(index);
                    match end {
                        End::Generation(application, generation) => {
                            writes.generation_kill(*application, *generation, event);
                        }
                        End::Version(key, version) => writes.version_kill(*key, *version, event),
                        End::Right(..) | End::Value(..) | End::Credential(_) => {}
                        End::Key(key) => {
                            let reason = original.reason.clone().unwrap_or_default();
                            let by = original.actor.clone();
                            writes.tombstone(
                                &Tombstone { key: *key, at: original.at, by, reason, event },
                                true,
                            );
                        }
                    }
                }
                Ok(())
            });
            write.await?;
        }
        Ok(replayed)
    }

    async fn replay_withdrawal(&self, id: KeyId, right: Right, mut draft: Draft, epoch: u32) -> Result<()> {
        let (turn, mut key) = self.ledger.turn_at::<Key>(id).await?;
        if right.holds(&key) {
            right.withdraw(&mut key);
        }
        draft.detail.push(right.fact());
        key.revision = turn.revision();
        let write = self.ledger.commit_in(epoch, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            Ok(())
        });
        write.await.map(|committed| committed.value)
    }

    /// What is known of a credential says as well that what its versions held is gone, and that it was given up.
    async fn replay_ends_of_credential(
        &self,
        id: CredentialId,
        ends: &[&(End, Event)],
        epoch: u32,
        request: RequestId,
    ) -> Result<()> {
        let (mut turn, mut credential) = self.ledger.turn_at::<Credential>(id).await?;
        let given_up = if ends.iter().any(|(end, _)| matches!(end, End::Credential(_))) {
            let holder = NameHolder::Credential(credential.application, id);
            Some(self.give_up_name(holder, &credential.name).await?)
        } else {
            None
        };
        // Somebody who is gone may have been waited for at the name.
        if self.ledger.is_old(&turn) {
            (turn, credential) = self.ledger.turn_at_again(id, turn).await?;
        }
        for (end, original) in ends {
            match end {
                End::Value(_, version) => credential.destroy(*version, original.at),
                End::Credential(_) => credential.retire(original.at),
                End::Key(_) | End::Version(..) | End::Generation(..) | End::Right(..) => {}
            }
        }
        let drafts = ends.iter().map(|(_, original)| again(original, request)).collect();
        let write = self.ledger.commit_in(epoch, drafts, |tickets, writes| {
            for (index, (end, _)) in ends.iter().enumerate() {
                let writes = writes.for_event(index);
                if let End::Value(_, version) = end {
                    writes.credential_destroyed(id, *version, tickets.event(index));
                }
            }
            credential.written(turn.revision(), tickets.event(ends.len().saturating_sub(1)));
            writes.change(&credential, turn);
            if let Some((turn, name)) = given_up {
                writes.name(&name, turn);
            }
            Ok(())
        });
        write.await.map(|committed| committed.value)
    }

    async fn missing_suspensions<'e>(
        &self,
        exported: &'e Exported,
    ) -> Result<Vec<(ApplicationId, &'e Event)>> {
        let mut missing = Vec::new();
        for (id, event) in &exported.standing {
            let is_active =
                self.read().application(*id).await?.is_some_and(|found| found.status == Status::Active);
            if is_active && event.action == Action::ApplicationSuspended {
                missing.push((*id, event));
            }
        }
        Ok(missing)
    }

    async fn replay_suspensions(&self, exported: &Exported, epoch: u32, request: RequestId) -> Result<usize> {
        let missing = self.missing_suspensions(exported).await?;
        for (id, original) in &missing {
            let (turn, mut application, mut details) = self.ledger.application_turn(*id).await?;
            (application.revision, details.revision) = (turn.revision(), turn.revision());
            application.status = Status::Suspended;
            let write = self.ledger.commit_in(epoch, vec![again(original, request)], |tickets, writes| {
                application.event = tickets.event(0);
                writes.application(&application, &details, turn);
                Ok(())
            });
            write.await?;
        }
        Ok(missing.len())
    }

    /// Issuing that was frozen stays so.
    async fn replay_freeze(&self, exported: &Exported, epoch: u32, request: RequestId) -> Result<()> {
        let Some(original) = exported.issuing.as_ref().filter(|event| event.action == Action::IssuingFrozen)
        else {
            return Ok(());
        };
        if self.read().issuing().await?.is_some_and(|issuing| issuing.state == State::Frozen) {
            return Ok(());
        }
        let (turn, _) = self.ledger.issuing_turn().await?;
        let write = self.ledger.commit_in(epoch, vec![again(original, request)], |tickets, writes| {
            let issuing = Issuing {
                state: State::Frozen,
                at: original.at,
                by: original.actor.clone(),
                reason: original.reason.clone().unwrap_or_default(),
                event: tickets.event(0),
                revision: turn.revision(),
            };
            writes.issuing(&issuing, turn);
            Ok(())
        });
        write.await.map(|committed| committed.value)
    }

    /// A backup brings back the keys of months that were shredded since.
    async fn replay_shredding(&self, exported: &Exported, epoch: u32, request: RequestId) -> Result<()> {
        let mut kept: Vec<PersonalKey> = Vec::new();
        for month in &exported.shredded {
            kept.extend(self.kept_keys(*month).await?);
        }
        if kept.is_empty() {
            return Ok(());
        }
        let months: BTreeSet<Month> = kept.iter().map(|key| key.month).collect();
        let mut draft = replayed(Action::AuditShredded, Target::default(), request);
        draft.detail = months.iter().map(ToString::to_string).collect();
        let write = self.ledger.commit_in(epoch, vec![draft], |tickets, writes| {
            for mut key in kept {
                key.state = PersonalKeyState::Shredded(tickets.event(0));
                writes.personal_key(&key);
            }
            Ok(())
        });
        write.await.map(|committed| committed.value)
    }
}

/// What Keyward does by itself while an epoch is opened.
fn replayed(action: Action, target: Target, request: RequestId) -> Draft {
    Draft {
        action,
        outcome: Outcome::Done,
        target,
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: Some(request),
        reason: None,
        detail: Vec::new(),
        previous: None,
    }
}

/// An event of the exported log, done again: its detail names the original.
fn again(original: &Event, request: RequestId) -> Draft {
    Draft {
        reason: original.reason.clone(),
        detail: vec![original.id.to_string()],
        ..replayed(original.action, original.target, request)
    }
}
