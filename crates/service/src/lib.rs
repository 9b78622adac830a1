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
mod bulk_rotation;
mod caller;
mod claims;
mod compliance;
mod credential_due;
mod credential_import;
mod credential_report;
mod credential_rotation;
mod credential_versions;
mod credentials;
mod dead_letters;
mod delivery;
mod due;
mod edit;
mod emergency;
mod epochs;
mod fresh_claim;
mod health;
mod held;
mod holder;
mod key_import;
mod keys;
mod leaks;
mod limits;
mod list;
mod log_state;
mod maintenance;
mod metrics;
mod mint;
mod nullable;
mod policies;
mod proof;
mod providers;
mod refusals;
mod renewals;
mod revocations;
mod rings;
mod roles;
mod rotations;
mod routing;
mod selection;
mod service;
mod sessions;
mod standings;
mod terms;
mod turns;
mod unique_name;
mod usage;
mod use_report;
mod vault_ring;
mod view;
mod waiting;
mod webhooks;

pub use answer::{Answer, Body};
pub use applications::{ApplicationChange, NewApplication};
pub use attempt::Attempt;
pub use audit::{EventFilter, ShredRequest, ShredView};
pub use bulk_revocation::BulkRevocation;
pub use bulk_rotation::{BulkRotation, BulkRotationBody, BulkRotationView};
pub use caller::Caller;
pub use claims::{Presented, TakeClaim};
pub use compliance::{
    ApplicationFigures, ComplianceQuery, ComplianceView, Figures, KeyCounts, Latencies, OnRecord, OverdueKey,
    Owner, RotationFigures, Spans,
};
pub use credential_import::{
    CredentialImport, CredentialImportView, ImportOutcome, ImportedCredential, OnConflict,
};
pub use credential_report::{
    ApplicationCredentials, CredentialCounts, CredentialFigures, CredentialReportView, CredentialToSee,
    KindCounts,
};
pub use credential_rotation::{CredentialRotationView, LastRotationView, RotationRunView};
pub use credential_versions::{
    CredentialValueBody, CredentialValueView, NewCredentialVersion, RollBack, WhichCredential,
};
pub use credentials::{
    CredentialChange, CredentialFilter, CredentialState, CredentialVersionState, CredentialVersionView,
    CredentialView, NewCredential,
};
pub use dead_letters::{DeadLetterFilter, DeadLetterView, DeadLettersView, DropRequest, ReplayRequest};
pub use delivery::{Answered, DeliveryView, Message, Sender, WebhookTestView};
pub use due::DueView;
pub use epochs::{Behind, EpochView, Exported};
pub use fresh_claim::{IssuedKey, IssuedKeyBody};
pub use health::{Alive, Ready};
pub use key_import::{IMPORTS_MAX, KeyImport, KeyImportView};
pub use keys::{KeyChange, KeyFilter, NewKey, NewRules};
pub use leaks::{LeakLabels, LeakReport, MATCHES_MAX};
pub use list::{List, Order, Page};
pub use log_state::{CheckpointState, Finding, LogState, Witnessed};
pub use maintenance::MaintenanceView;
pub use metrics::METRICS_MEDIA_TYPE;
pub use mint::{ClaimedKey, ClaimedKeyBody};
pub use policies::{NewPolicy, PolicyChange};
pub use proof::{HeadView, ProofView, STATE_RECORDS_MAX, StateDigest, StateDigests, StateQuery};
pub use providers::{NewProvider, ProviderView, ProviderWithSecret, ProviderWithSecretBody};
pub use refusals::{RefusalFilter, RefusalView, RefusalsView};
pub use renewals::RenewKey;
pub use revocations::Reason;
pub use rings::{ResealRequest, ResealingView, RingsView};
pub use roles::{NewRole, RoleChange};
pub use rotations::RotateKey;
pub use service::Service;
pub use standings::StandingsView;
pub use use_report::{
    BucketLength, RequestsBucketView, RequestsView, UsageBucketView, UsageQuery, UsageView,
    VersionCountsView, VersionUsageView,
};
pub use vault_ring::{ResealVault, VaultResealingView, VaultRingView};
pub use view::{
    ApplicationView, BulkRevocationView, ClaimView, EmergencyView, GenerationRevocation, IssuingView,
    KeyRevocation, KeyView, LookupView, OpenClaimView, PolicyView, PresetView, RefusedView, RevocationView,
    RevokedKey, RevokedView, RoleView, RotationView, RoutingTableView, SelfView, SkippedKey, SlotView,
    VersionState, VersionView,
};
pub use waiting::WAIT_S_MAX;
pub use webhooks::{
    FailureView, NewWebhook, QueueView, WebhookChange, WebhookState, WebhookView, WebhookWithSecret,
    WebhookWithSecretBody,
};
