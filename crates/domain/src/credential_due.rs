//! What is due for a credential, and when: its rotation, and that people are told that it is to be rotated or about to end. It follows
//! from the credential and the terms of its policy; whoever sees to it notes what was told, so that nothing is told twice.

use crate::credential::Credential;
use crate::due::EXPIRING_S;
use crate::policy::Terms;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Its rotation begins.
    Rotate,
    /// It is told that somebody has to rotate it.
    TellDue,
    /// It is told that nobody did, for a whole grace.
    TellOverdue,
    /// It is told that the third party is about to end it.
    TellExpiring,
    /// It is told that the third party has ended it.
    TellExpired,
}

/// What was told of a credential that comes by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reminded {
    /// Of which due date it was told that it is due.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Of which due date it was told that it is over.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Timestamp>,
    /// Of which end it was told.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// And until when.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub end_until: Option<Timestamp>,
}

impl Credential {
    /// When its next version is due by its policy; never for a credential that is retired.
    pub fn rotation_due_at(&self, terms: &Terms) -> Option<Timestamp> {
        let every_s = terms.rotate_every_s.filter(|_| self.retired_at.is_none())?;
        Some(self.current()?.written_at.plus_s(i64::from(every_s)))
    }
}

impl Duty {
    /// Everything that is to be done by time and was not, that of the past included.
    fn all(credential: &Credential, terms: &Terms) -> Vec<(Timestamp, Self)> {
        let mut duties = Vec::new();
        if credential.retired_at.is_some() {
            return duties;
        }
        let told = credential.reminded;
        if let Some(due_at) = credential.rotation_due_at(terms) {
            match (&credential.provider, &credential.rotation) {
                (Some(_), None) => {
                    let at = credential.not_again_before().map_or(due_at, |again| again.max(due_at));
                    duties.push((at, Self::Rotate));
                }
                (None, _) if told.due != Some(due_at) => duties.push((due_at, Self::TellDue)),
                _ => {}
            }
            if told.overdue != Some(due_at) {
                duties.push((due_at.plus_s(i64::from(terms.grace_s)), Self::TellOverdue));
            }
        }
        if let Some(end) = credential.expires_at {
            let is_told = |at: Timestamp| told.end == Some(end) && told.end_until >= Some(at);
            let warnings = EXPIRING_S.map(|before_s| (end.plus_s(-before_s), Self::TellExpiring));
            let warnings = warnings.into_iter().filter(|(at, _)| *at > credential.created_at);
            duties.extend(warnings.chain([(end, Self::TellExpired)]).filter(|(at, _)| !is_told(*at)));
        }
        duties.sort_by_key(|(at, _)| *at);
        duties
    }

    /// What is due at `now`. A warning that a later one has overtaken, or the end itself, is passed over.
    pub fn due(credential: &Credential, terms: &Terms, now: Timestamp) -> Vec<Self> {
        let mut due: Vec<Self> = Vec::new();
        for (_, duty) in Self::all(credential, terms).into_iter().filter(|(at, _)| *at <= now) {
            due.retain(|earlier| {
                *earlier != duty && (duty, *earlier) != (Self::TellExpired, Self::TellExpiring)
            });
            due.push(duty);
        }
        due
    }

    /// When something is due next; of the past where it was not seen to.
    pub fn next(credential: &Credential, terms: &Terms) -> Option<Timestamp> {
        Self::all(credential, terms).first().map(|(at, _)| *at)
    }

    /// Notes that it was seen to at `now`. That a rotation began says the rotation itself.
    pub fn seen_to(self, credential: &mut Credential, terms: &Terms, now: Timestamp) {
        let due_at = credential.rotation_due_at(terms);
        let told = &mut credential.reminded;
        match self {
            Self::Rotate => {}
            Self::TellDue => told.due = due_at,
            Self::TellOverdue => (told.due, told.overdue) = (due_at, due_at),
            Self::TellExpiring | Self::TellExpired => {
                (told.end, told.end_until) = (credential.expires_at, Some(now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;
    use crate::credential_rotation::{Ended, Ending, Provider};

    const DAY_S: i64 = 24 * 3600;
    const POLICY: Terms =
        Terms { rotate_every_s: Some(100 * 86_400), grace_s: 10 * 86_400, ..Terms::DEFAULT };

    fn written() -> Credential {
        let mut credential = credential();
        credential.write(1, credential.created_at);
        credential
    }

    fn see_to(credential: &mut Credential, days: i64) -> Vec<Duty> {
        let now = credential.created_at.plus_s(days * DAY_S);
        let due = Duty::due(credential, &POLICY, now);
        due.iter().for_each(|duty| duty.seen_to(credential, &POLICY, now));
        due
    }

    fn next_day(credential: &Credential) -> Option<i64> {
        let next = Duty::next(credential, &POLICY)?;
        Some((next.unix_s() - credential.created_at.unix_s()) / DAY_S)
    }

    #[test]
    fn what_nobody_rotates_is_told_when_it_is_due_and_when_it_is_overdue() {
        let mut credential = written();
        assert_eq!((next_day(&credential), see_to(&mut credential, 99)), (Some(100), vec![]));
        assert_eq!(see_to(&mut credential, 100), [Duty::TellDue]);
        assert_eq!((next_day(&credential), see_to(&mut credential, 101)), (Some(110), vec![]), "once");
        assert_eq!(see_to(&mut credential, 110), [Duty::TellOverdue]);
        assert_eq!((next_day(&credential), see_to(&mut credential, 900)), (None, vec![]));
        let at = credential.created_at.plus_s(900 * DAY_S);
        credential.write(2, at);
        assert_eq!(next_day(&credential), Some(1000), "and round again");
        assert_eq!(see_to(&mut credential, 2000), [Duty::TellDue, Duty::TellOverdue]);
        credential.retired_at = Some(at);
        assert_eq!(next_day(&credential), None);
    }

    #[test]
    fn what_has_a_provider_is_rotated_and_not_again_at_once_where_that_failed() {
        let mut credential = written();
        let (url, since) = ("https://example.com/".to_owned(), credential.created_at);
        credential.provider = Some(Provider { url, since });
        assert_eq!(see_to(&mut credential, 100), [Duty::Rotate]);
        credential.begin_rotation(since.plus_s(100 * DAY_S));
        assert_eq!((next_day(&credential), see_to(&mut credential, 101)), (Some(110), vec![]));
        credential.rotation = None;
        let ended = Ended { id: credential.event, at: since.plus_s(102 * DAY_S), ending: Ending::Failed };
        credential.last_rotation = Some(ended);
        assert_eq!((next_day(&credential), see_to(&mut credential, 102)), (Some(103), vec![]));
        assert_eq!(see_to(&mut credential, 110), [Duty::Rotate, Duty::TellOverdue]);
        credential.last_rotation = Some(Ended { ending: Ending::Done, ..ended });
        assert_eq!(see_to(&mut credential, 102), [Duty::Rotate]);
    }

    #[test]
    fn an_end_is_told_a_week_and_a_day_before_and_when_it_is_there() {
        let mut credential = written();
        let days = |days: i64| credential.created_at.plus_s(days * DAY_S);
        let (end, soon, later) = (days(50), days(44), days(60));
        credential.expires_at = Some(end);
        assert_eq!((next_day(&credential), see_to(&mut credential, 42)), (Some(43), vec![]));
        assert_eq!(see_to(&mut credential, 43), [Duty::TellExpiring]);
        // Another end is told of anew, one that is near at once.
        credential.expires_at = Some(soon);
        assert_eq!(
            (see_to(&mut credential, 43), see_to(&mut credential, 43)),
            (vec![Duty::TellExpiring], vec![])
        );
        credential.expires_at = Some(end);
        assert_eq!(see_to(&mut credential, 49), [Duty::TellExpiring]);
        assert_eq!(
            (see_to(&mut credential, 50), see_to(&mut credential, 51)),
            (vec![Duty::TellExpired], vec![])
        );
        credential.expires_at = Some(later);
        assert_eq!(see_to(&mut credential, 70), [Duty::TellExpired], "what it has overtaken is passed over");
        let mut short = written();
        short.expires_at = Some(short.created_at.plus_s(DAY_S));
        assert_eq!(next_day(&short), Some(1), "a day before was its birth");
    }
}
