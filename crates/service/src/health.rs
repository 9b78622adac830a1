//! Whether a process answers, and whether its store can carry Keyward.

use keyward_ledger::StoreKind;
use serde::Serialize;
use utoipa::ToSchema;

/// Everything is well.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
}

/// The process answers.
#[derive(Serialize, ToSchema)]
pub struct Alive {
    status: Health,
}

/// The process answers, and its store was probed.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    status: Health,
    store: ProbedStore,
}

/// What the probe found.
#[derive(Serialize, ToSchema)]
struct ProbedStore {
    /// `sqlite` or `redis`.
    kind: &'static str,
    /// Whether no ticket is given twice.
    unique_tickets: bool,
    /// Whether a batch is written whole.
    batch: bool,
}

impl Alive {
    /// As long as somebody asks it.
    pub const fn now() -> Self {
        Self { status: Health::Ok }
    }
}

impl Ready {
    /// With a store that passed its probe.
    pub const fn on(kind: StoreKind) -> Self {
        let store = ProbedStore { kind: kind.as_str(), unique_tickets: true, batch: true };
        Self { status: Health::Ok, store }
    }
}
