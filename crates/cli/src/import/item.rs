//! What is to be imported, one by one, and what became of each: where it stood, its name, and never what it holds but for the body that is
//! sent.

use std::rc::Rc;

use keyward_crypto::Zeroizing;

use super::source::Place;
use crate::answers::ImportedItem;

/// One that a file has.
pub struct Item {
    /// The file.
    pub file: Rc<str>,
    /// Where it stands there.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// What no two may share; shown to nobody.
    pub identity: String,
    /// Whether the token of a key can be guessed, where the file has it.
    pub weak: Option<bool>,
    /// How far it is.
    pub state: State,
}

/// How far one is.
pub enum State {
    /// It is to be sent: its JSON.
    Ready(Zeroizing<String>),
    /// It was sent, and no answer came yet.
    Sent,
    /// It was not sent: something ended the import before.
    NotSent,
    /// There is nothing of it to be imported, for this reason.
    LeftOut(String),
    /// It was refused here, for this reason.
    Unfit(String),
    /// The server's answer.
    Answered(ImportedItem),
}

/// How many came to what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// New ones.
    pub imported: usize,
    /// Those that were there before.
    pub existing: usize,
    /// New versions of those that were there before.
    pub written: usize,
    /// Those that were refused, here or by the server.
    pub refused: usize,
    /// Those of which there is nothing to be imported.
    pub left_out: usize,
    /// Those that were not sent.
    pub not_sent: usize,
    /// Those of which nothing is known: they were sent, and no answer came.
    pub unknown: usize,
    /// Those whose token can be guessed.
    pub weak: usize,
}

impl State {
    /// Its outcome as reports have it.
    pub fn outcome(&self) -> &str {
        match self {
            Self::Ready(_) | Self::NotSent => "not-sent",
            Self::Sent => "unknown",
            Self::LeftOut(_) => "left-out",
            Self::Unfit(_) => "refused",
            Self::Answered(answer) => &answer.outcome,
        }
    }

    /// Why it was refused or left out, if it was: a code and words.
    pub fn why(&self) -> Option<(&str, String)> {
        match self {
            Self::LeftOut(why) => Some(("nothing", why.clone())),
            Self::Unfit(why) => Some(("unfit", why.clone())),
            Self::Answered(answer) => {
                answer.error.as_ref().map(|error| (error.code.as_str(), error.detail.clone()))
            }
            Self::Ready(_) | Self::Sent | Self::NotSent => None,
        }
    }

    /// The server's answer, if there is one.
    pub fn answer(&self) -> Option<&ImportedItem> {
        match self {
            Self::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}

impl Counts {
    /// Those of these items.
    pub fn of(items: &[Item]) -> Self {
        let mut counts = Self::default();
        for item in items {
            let count = match item.state.outcome() {
                "imported" => &mut counts.imported,
                "existing" => &mut counts.existing,
                "written" => &mut counts.written,
                "refused" => &mut counts.refused,
                "left-out" => &mut counts.left_out,
                "not-sent" => &mut counts.not_sent,
                _ => &mut counts.unknown,
            };
            *count = count.saturating_add(1);
            let is_weak =
                item.weak == Some(true) && item.state.answer().is_some_and(|answer| answer.error.is_none());
            counts.weak = counts.weak.saturating_add(usize::from(is_weak));
        }
        counts
    }
}
