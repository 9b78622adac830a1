//! The use cases that change things, and the lists that show them: generic over store, clock and randomness.
//!
//! INVARIANT: knows nothing of HTTP or Wasm; every change goes through the ledger's commit, with its event.

mod answer;
mod applications;
mod attempt;
mod audit;
mod authority;
pub mod bootstrap;
mod bulk_revocation;
mod caller;
mod claims;
mod dead_letters;
mod delivery;
mod emergency;
mod epochs;
mod health;
mod held;
mod keys;
mod list;
mod maintenance;
mod proof;
mod revocations;
mod rings;
mod roles;
mod service;
mod unique_name;
mod view;
mod webhooks;

pub use answer::{Answer, Body};
pub use applications::{ApplicationChange, NewApplication};
pub use attempt::Attempt;
pub use audit::{EventFilter, ShredRequest, ShredView};
pub use bulk_revocation::BulkRevocation;
pub use caller::Caller;
pub use claims::{ClaimedKey, ClaimedKeyBody, Presented, TakeClaim};
pub use dead_letters::{DeadLetterFilter, DeadLetterView, DeadLettersView, DropRequest, ReplayRequest};
pub use delivery::{DeliveryView, Message, Sender, WebhookTestView};
pub use epochs::{Behind, EpochView, Exported};
pub use health::{Alive, Ready};
pub use keys::{IssuedKey, IssuedKeyBody, KeyChange, NewKey};
pub use list::{List, Page};
pub use maintenance::MaintenanceView;
pub use proof::{HeadView, ProofView, STATE_RECORDS_MAX, StateDigest, StateDigests, StateQuery};
pub use revocations::Reason;
pub use rings::{ResealRequest, ResealingView, RingsView};
pub use roles::{NewRole, RoleChange};
pub use service::Service;
pub use view::{
    ApplicationView, BulkRevocationView, ClaimView, EmergencyView, GenerationRevocation, KeyRevocation,
    KeyView, LookupView, RevocationView, RoleView,
};
pub use webhooks::{NewWebhook, WebhookChange, WebhookView, WebhookWithSecret, WebhookWithSecretBody};
