//! What a check came to: each broken place by its name, and what could not be looked at.

use keyward_domain::event::EventId;
use serde::Serialize;

/// What a check came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// Its epochs, from the first.
    pub epochs: Vec<EpochReport>,
    /// Records of state that were held against the log.
    pub records: u64,
    /// Projected lists that were computed anew and compared.
    pub lists: u64,
    /// Registers of keys that were held against the log.
    pub registers: u64,
    /// Every broken place.
    pub findings: Vec<Finding>,
    /// What is worth knowing and is no fault.
    pub remarks: Vec<String>,
    /// What could not be told: a version of the ring that is not at hand, for instance.
    pub untold: Vec<String>,
}

impl Report {
    /// Whether nothing is broken and everything could be told.
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.untold.is_empty()
    }

    pub(crate) fn find(&mut self, kind: Kind, place: impl ToString, what: impl Into<String>) {
        self.findings.push(Finding { place: place.to_string(), kind, what: what.into() });
    }
}

/// One epoch.
#[derive(Debug, Clone, Serialize)]
pub struct EpochReport {
    /// Which.
    pub epoch: u32,
    /// Leaves of its tree.
    pub size: u64,
    /// The root at that size, lowercase hex.
    pub root: String,
    /// Tickets taken.
    pub taken: u64,
    /// Tickets that were given up.
    pub voids: u64,
    /// Events behind the tree, which the next integration takes in.
    pub behind: u64,
    /// The checkpoint that was signed for that size.
    #[serde(skip)]
    pub note: Option<String>,
}

/// One broken place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: an event's id, a store key, `epoch 1`.
    pub place: String,
    /// Of which kind.
    pub kind: Kind,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl Finding {
    /// The event that it is about, if it is about one.
    pub fn event(&self) -> Option<EventId> {
        self.place.parse().ok()
    }
}

/// Kinds of what can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What lies at a ticket is not what the tree has there.
    Leaf,
    /// A ticket without event or void.
    Gap,
    /// An event or void that does not open at its place, or not as a whole.
    Event,
    /// The event before it on the same target is not there, or is about another.
    Previous,
    /// An event beside its void that no alarm reports.
    Late,
    /// The counter of tickets is below what is there, or below what was seen.
    Counter,
    /// The tiles or the root do not follow from the leaves.
    Tree,
    /// A checkpoint that is not signed by a known key, or says something else than the tree.
    Checkpoint,
    /// The log is not the one that was seen before: cut, rolled back, or made anew.
    Witness,
    /// A list or a register is not what the events make of it.
    Projection,
    /// A record is not as the last event that wrote it left it.
    State,
}

impl Kind {
    /// In one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Gap => "gap",
            Self::Event => "event",
            Self::Previous => "previous",
            Self::Late => "late",
            Self::Counter => "counter",
            Self::Tree => "tree",
            Self::Checkpoint => "checkpoint",
            Self::Witness => "witness",
            Self::Projection => "projection",
            Self::State => "state",
        }
    }
}
