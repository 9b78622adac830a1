//! What the checks ask of a log, wherever it lies.

use keyward_crypto::tree::{Hash, TileId};
use keyward_domain::ApplicationId;
use keyward_domain::event::Event;
use keyward_records::projection::Entry;
use keyward_records::register::{Counts, RegisterHead, Row, Tally};
use std::collections::BTreeMap;

/// A log to be checked. Calls come from several threads at once.
pub trait LogSource: Sync {
    /// Why the source does not answer.
    type Error: Send;

    /// How an epoch's log stands: the current one where it is `None`.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn stand(&self, epoch: Option<u32>) -> Result<Stand, Self::Error>;

    /// What lies at tickets `from..=to` of an epoch, one for each, in order. Those above `size` are not in the tree yet.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn tickets(&self, epoch: u32, from: u64, to: u64, size: u64) -> Result<Vec<Ticket>, Self::Error>;

    /// The first `width` hashes of a tile as it is stored; `None` where there are fewer.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn tile(&self, epoch: u32, tile: TileId, width: usize) -> Result<Option<Vec<Hash>>, Self::Error>;

    /// The keyed digests of records as they lie there now, under a version of the audit ring; `None` where there is no such record.
    /// At most [`DIGESTS_MAX`] at a time.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn digests(&self, ring_version: u32, records: &[String]) -> Result<Vec<Option<Hash>>, Self::Error>;

    /// A projected list.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn list(&self, list: &str) -> Result<Listed, Self::Error>;

    /// The register of an application's keys.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn register(&self, application: ApplicationId) -> Result<Registered, Self::Error>;

    /// The totals of all registers; `None` where the source shows no registers.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn register_totals(&self) -> Result<Option<Vec<(ApplicationId, Counts)>>, Self::Error>;

    /// All that lies there, by name; `None` where the source cannot tell.
    ///
    /// # Errors
    /// Where the source does not answer.
    fn inventory(&self) -> Result<Option<Inventory>, Self::Error>;
}

/// Records whose digests are asked for at a time.
pub(crate) const DIGESTS_MAX: usize = 256;

/// How an epoch's log stands.
#[derive(Debug, Clone)]
pub struct Stand {
    /// Which epoch.
    pub epoch: u32,
    /// The log's origin without the epoch, as its checkpoints have it.
    pub origin: String,
    /// Leaves of its tree.
    pub size: u64,
    /// The root that goes with it; `None` where what says so is damaged.
    pub root: Option<Hash>,
    /// Tickets taken, as the counter says.
    pub taken: u64,
    /// The signed checkpoint of that size, where there is one.
    pub checkpoint: Option<String>,
    /// Versions of the audit ring in use: what an event that shows none may be sealed under.
    pub ring_versions: Vec<u32>,
}

/// What lies at one ticket.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its number.
    pub seq: u64,
    /// The hash of what is its leaf, where anything is and the source shows it.
    pub leaf: Option<Hash>,
    /// Under which version of the audit ring its event is sealed, where that is seen.
    pub ring_version: Option<u32>,
    /// What it is.
    pub content: Content,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// What a ticket came to.
#[derive(Debug, Clone)]
pub enum Content {
    /// Neither event nor void.
    Absent,
    /// Given up.
    Void,
    /// An event.
    Event(Box<Event>),
    /// An event beside the void of its ticket: it came late.
    Late(Box<Event>),
    /// Something that does not open; the ticket's faults say why.
    Damaged,
    /// Sealed under a version of the ring, or in a format, that is not known here.
    Unknown,
}

/// A projected list as a source shows it.
#[derive(Debug, Clone)]
pub enum Listed {
    /// The source does not show it.
    NotShown,
    /// It does not open, or a page is missing.
    Damaged,
    /// The ids of its things, in the order of the log.
    Ids(Vec<String>),
    /// Its entries.
    Entries(Vec<Entry>),
}

/// The register of an application's keys as a source shows it.
#[derive(Debug, Clone)]
pub enum Registered {
    /// There is none.
    Absent,
    /// It does not open, or a part of it is missing.
    Damaged,
    /// It is there.
    Whole(Box<Register>),
}

/// A register as it is stored.
#[derive(Debug, Clone)]
pub struct Register {
    /// Its head.
    pub head: RegisterHead,
    /// What its records of sums say of each page.
    pub sums: Vec<Vec<Tally>>,
    /// The rows of each page.
    pub pages: Vec<Vec<Row>>,
}

/// The names of what lies in a store.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Records of state.
    pub records: Vec<String>,
    /// Projected lists.
    pub lists: Vec<String>,
    /// Applications that have a register.
    pub registers: Vec<ApplicationId>,
    /// Checkpoints, by epoch and size, as they are stored.
    pub checkpoints: BTreeMap<(u32, u64), String>,
    /// The highest event of each epoch.
    pub highest: BTreeMap<u32, u64>,
    /// What has no name of ours.
    pub foreign: Vec<String>,
}

/// The version of the ring that leads a sealed value, without opening it.
pub fn ring_version(sealed: &[u8]) -> Option<u32> {
    keyward_crypto::Sealer::sealed_under(sealed).ok()
}
