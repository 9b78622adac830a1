//! What is due for credentials on the walk along what is due: their rotation begins where they have a provider, and people are told
//! what only they can do. Calls nobody: the rotation itself is `credential_rotation.rs`'.

use crate::credentials::moved_by;
use crate::due::{DueView, draft};
use crate::service::Service;
use keyward_domain::credential::Credential;
use keyward_domain::credential_due::Duty;
use keyward_domain::due::due_at;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Outcome, Target};
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, CredentialId, Result};
use keyward_ledger::{Draft, KvWrite};
use keyward_records::{KvCount, KvRead, Revised};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Sees to what is due for a credential, in a turn of its own, as it is stored by then.
    pub(crate) async fn see_to_credential(&self, id: CredentialId, done: &mut DueView) -> Result<()> {
        let known = match self.read().credential(id).await {
            // What does not open is for `audit verify` to name, and what another process can open it sees to.
            Err(error)
                if error.code.blame() == Blame::Integrity || error.code == Code::RingVersionUnknown =>
            {
                None
            }
            found => found?,
        };
        let Some(known) = known else { return Ok(()) };
        let terms = self.terms_of(&known).await?;
        if Duty::due(&known, &terms, self.clock.now()).is_empty() {
            return Ok(());
        }
        let (turn, before) = self.ledger.turn_at::<Credential>(id).await?;
        let now = self.clock.now();
        let due = Duty::due(&before, &terms, now);
        let mut credential = before.clone();
        for duty in &due {
            if *duty == Duty::Rotate {
                credential.begin_rotation(now);
                done.rotations += 1;
            }
            duty.seen_to(&mut credential, &terms, now);
        }
        done.credentials += usize::from(!due.is_empty());
        let mut drafts: Vec<Draft> = due.iter().map(|duty| told(*duty, &before, &terms)).collect();
        match drafts.last_mut() {
            Some(last) => last.detail.extend(outlook(&credential, &terms)),
            // Somebody else saw to it meanwhile. The turn is given back all the same.
            None => drafts.push(draft(Action::DuePassed, Target::default())),
        }
        let written_with = due.iter().position(|duty| *duty == Duty::Rotate).unwrap_or(0);
        self.ledger
            .commit(drafts, |tickets, writes| {
                let event = tickets.event(written_with);
                credential.written(turn.revision(), event);
                moved_by(&mut credential, &before, event);
                writes.for_event(written_with).change(&credential, turn);
                Ok(())
            })
            .await?;
        Ok(())
    }
}

/// The event that tells of what was due.
fn told(duty: Duty, credential: &Credential, terms: &Terms) -> Draft {
    let action = match duty {
        Duty::Rotate => Action::CredentialRotationBegun,
        Duty::TellDue | Duty::TellOverdue => Action::CredentialRotationDue,
        Duty::TellExpiring => Action::CredentialExpiring,
        Duty::TellExpired => Action::CredentialExpired,
    };
    let since = credential.rotation_due_at(terms).map(|at| format!("since {at}"));
    let end = credential.expires_at.map(|end| format!("ends {end}"));
    Draft {
        outcome: if duty == Duty::TellOverdue { Outcome::Alarm } else { Outcome::Done },
        detail: match duty {
            Duty::Rotate | Duty::TellDue => Vec::new(),
            Duty::TellOverdue => since.into_iter().collect(),
            Duty::TellExpiring | Duty::TellExpired => end.into_iter().collect(),
        },
        previous: Some(credential.event),
        ..draft(action, of(credential))
    }
}

/// What an event of a credential is about.
pub(crate) fn of(credential: &Credential) -> Target {
    Target { application: Some(credential.application), ..Target::credential(Some(credential.id)) }
}

/// What the event of a credential's change says of the time at which it is due for something next.
pub(crate) fn outlook(credential: &Credential, terms: &Terms) -> Option<String> {
    Duty::next(credential, terms).map(due_at)
}
