//! Names that nothing else of their kind may have: taken, exchanged and given up in turns, each at a record of its own.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_domain::application::{KEYWARD_NAME, NameHolder};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_ledger::{KvWrite, Turn};
use keyward_records::{KvCount, KvRead, NameRecord, names};

/// The store key of a name of the holder's kind.
fn store_key(holder: NameHolder, name: &str) -> String {
    match holder {
        NameHolder::Application(_) => names::application_name(name),
        NameHolder::Role(_) => names::role_name(name),
        NameHolder::Policy(_) => names::policy_name(name),
        NameHolder::Credential(application, _) => names::credential_name(application, name),
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The name's record with this holder, and the turn to write it: another one in the place of an `old` one.
    pub(crate) async fn reserve_name(
        &self,
        attempt: &Attempt,
        name: &str,
        holder: NameHolder,
        old: Option<Turn>,
    ) -> Result<(Turn, NameRecord)> {
        let kind = match holder {
            NameHolder::Application(_) if name == KEYWARD_NAME => {
                return Err(Error::new(
                    Code::NameTaken,
                    "`keyward` is the built-in application; choose another name",
                ));
            }
            NameHolder::Application(_) => "application",
            NameHolder::Role(_) => "role",
            NameHolder::Policy(_) => "policy",
            NameHolder::Credential(..) => "credential of the application",
        };
        let store_key = store_key(holder, name);
        let (turn, mut record) = match old {
            None => self.ledger.name_turn(store_key).await?,
            Some(old) => self.ledger.name_turn_again(store_key, old).await?,
        };
        if record.owner.holder().is_some_and(|other| other != holder) {
            attempt.unused(record, turn);
            return Err(Error::new(Code::NameTaken, format!("another {kind} has this name; choose another")));
        }
        record.owner.give(Some(holder));
        record.owner.revision = turn.revision();
        Ok((turn, record))
    }

    /// The name records that a change of names writes: the new one taken, the old one free again. Without a new name, the old one is
    /// given up.
    pub(crate) async fn exchange_names(
        &self,
        attempt: &Attempt,
        holder: NameHolder,
        old: &str,
        new: Option<&str>,
    ) -> Result<Vec<(Turn, NameRecord)>> {
        if new == Some(old) {
            return Ok(Vec::new());
        }
        let mut taken = match new {
            Some(name) => Some(self.reserve_name(attempt, name, holder, None).await?),
            None => None,
        };
        let free = self.give_up_name(holder, old).await?;
        if let Some((old, _)) = taken.take_if(|(turn, _)| self.ledger.is_old(turn))
            && let Some(name) = new
        {
            taken = Some(self.reserve_name(attempt, name, holder, Some(old)).await?);
        }
        Ok(taken.into_iter().chain([free]).collect())
    }

    /// The record of a name that its holder gives up, and the turn to write it.
    pub(crate) async fn give_up_name(&self, holder: NameHolder, name: &str) -> Result<(Turn, NameRecord)> {
        let (turn, mut free) = self.ledger.name_turn(store_key(holder, name)).await?;
        if free.owner.holder() == Some(holder) {
            free.owner.give(None);
        }
        free.owner.revision = turn.revision();
        Ok((turn, free))
    }
}
