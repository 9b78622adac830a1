//! An edit of a record that people look after: decided before the record's turn and again in it, written with the names that it moves.
//! What is changed, and who may, is for the use case to say.

use crate::attempt::Attempt;
use crate::held::InTurn;
use crate::service::Service;
use keyward_domain::application::NameHolder;
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result, Timestamp};
use keyward_ledger::{KvWrite, Turn, Writes};
use keyward_records::{KvCount, KvRead, NameRecord, Revised};

/// A record that people create, change and retire.
pub(crate) trait Editable: Revised + Clone + Into<InTurn> {
    /// When it was given up, for good.
    fn retired_at(&self) -> Option<Timestamp>;

    /// The name that nothing else of its kind may have, and by whom it is held.
    fn unique_name(&self) -> Option<(NameHolder, &str)>;

    /// What else follows from its change by an event.
    fn follow(&mut self, _before: &Self, _event: EventId) {}
}

/// An edit that is ready to be written.
pub(crate) struct Edit<T> {
    turn: Turn,
    pub(crate) before: T,
    /// The record as it is afterwards, but for its revision and the event.
    pub(crate) after: T,
    names: Vec<(Turn, NameRecord)>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Decides on an edit of a record that is `known`, before and in the record's turn, and takes the turns of the names that it moves.
    pub(crate) async fn edit<T: Editable>(
        &self,
        attempt: &Attempt,
        known: &T,
        decide: impl AsyncFn(&T) -> Result<T>,
    ) -> Result<Edit<T>> {
        // Before a turn is taken: nobody waits for one that is refused.
        decide(known).await?;
        let id = known.id();
        let (mut turn, mut before) = self.ledger.turn_at::<T>(id).await?;
        let decided = match decide(&before).await {
            Ok(after) => self.move_names(attempt, &before, &after).await.map(|names| (after, names)),
            Err(error) => Err(error),
        };
        let (mut after, names) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                attempt.unused(before, turn);
                return Err(error);
            }
        };
        if self.ledger.is_old(&turn) {
            let stale = before;
            (turn, before) = self.ledger.turn_at_again(id, turn).await?;
            let same_name = before.unique_name() == stale.unique_name();
            after = match if same_name { decide(&before).await } else { Err(overtaken()) } {
                Ok(after) => after,
                Err(error) => {
                    // The names' turns lapse: somebody stepped over them meanwhile, or will.
                    attempt.unused(before, turn);
                    return Err(error);
                }
            };
        }
        Ok(Edit { turn, before, after, names })
    }

    /// The name records that an edit writes: none where the record keeps its name; one that is retired gives it up.
    async fn move_names<T: Editable>(
        &self,
        attempt: &Attempt,
        before: &T,
        after: &T,
    ) -> Result<Vec<(Turn, NameRecord)>> {
        let Some((holder, old)) = before.unique_name() else { return Ok(Vec::new()) };
        let new = after.unique_name().filter(|_| after.retired_at().is_none()).map(|(_, name)| name);
        self.exchange_names(attempt, holder, old, new).await
    }

    /// Writes an edit; `answer` makes the answer of the record as it is written.
    pub(crate) async fn commit_edit<T: Editable, V>(
        &self,
        attempt: &Attempt,
        edit: Edit<T>,
        reason: Option<String>,
        detail: Vec<String>,
        answer: impl FnOnce(&T, &mut Writes<'_, K, C, R>) -> V,
    ) -> Result<V> {
        let Edit { turn, before, after: mut record, names } = edit;
        let mut draft = attempt.draft(Outcome::Done, reason, Some(before.event()));
        draft.detail = detail;
        self.commit(attempt, vec![draft], |tickets, writes| {
            record.written(turn.revision(), tickets.event(0));
            record.follow(&before, tickets.event(0));
            writes.change(&record, turn);
            for (turn, name) in names {
                writes.name(&name, turn);
            }
            Ok(answer(&record, writes))
        })
        .await
    }
}

/// What an event says of a change: the names of the fields that it gives.
pub(crate) fn given<const FIELDS: usize>(fields: [(&str, bool); FIELDS]) -> Vec<String> {
    fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned()).collect()
}

/// Refuses where the record is retired.
pub(crate) fn require_living<T: Editable>(record: &T) -> Result<()> {
    match record.retired_at() {
        None => Ok(()),
        Some(_) => Err(Error::new(
            Code::StateConflict,
            format!("the {} is retired, for good; create another one", T::KIND),
        )),
    }
}

/// Refuses where the caller saw another revision.
pub(crate) fn check_revision(if_match: Option<u64>, revision: u64) -> Result<()> {
    match if_match {
        Some(seen) if seen != revision => Err(Error::new(
            Code::RevisionMismatch,
            format!("If-Match names revision {seen}; the current one is {revision}: read it again"),
        )),
        _ => Ok(()),
    }
}

/// What an editor is told who waited so long for a second turn that somebody else came between.
pub(crate) fn overtaken() -> Error {
    Error::new(Code::StateConflict, "it changed at the same moment; read it again")
}
