//! The report on credentials: how those of each application stand, which of them somebody is to look at, whom nobody owns and what nobody
//! reads. It only reads, and tells nothing of what they hold. Its figures are counts, so that the pages of a long walk add up.

use crate::attempt::Attempt;
use crate::compliance::Owner;
use crate::credentials::{CredentialState, CredentialView};
use crate::list::Page;
use crate::service::Service;
use keyward_domain::credential::{Credential, EXPIRING_S, Kind};
use keyward_domain::event::{Action, EventId, Outcome};
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, CredentialId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Credentials looked at at the same time.
const CREDENTIALS_AT_ONCE: usize = 8;
/// How credentials stand. Its figures are counts over the credentials of this page: those of all pages add up.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialReport)]
pub struct CredentialReportView {
    /// As of when.
    pub at: Timestamp,
    /// The last event that is in the lists which the report was made from.
    pub through: EventId,
    /// How long before its end a credential counts as about to end, in seconds.
    pub expiring_s: i64,
    /// Credentials looked at, of those that the caller may see.
    pub examined: usize,
    /// Of these, credentials whose record does not open; `keyward audit verify` names them.
    pub damaged: usize,
    /// All of the page.
    pub totals: CredentialFigures,
    /// The same, by application.
    pub applications: Vec<ApplicationCredentials>,
    /// Those that somebody is to see to: that break their policy, are about to end or have ended.
    pub attention: Vec<CredentialToSee>,
    /// Where the next call goes on; none after the last.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// The credentials of one application.
#[derive(Serialize, ToSchema)]
pub struct ApplicationCredentials {
    /// Which application.
    pub application: Owner,
    /// Its figures.
    pub figures: CredentialFigures,
}

/// A credential that somebody is to see to.
#[derive(Serialize, ToSchema)]
pub struct CredentialToSee {
    /// Its id.
    pub id: CredentialId,
    /// What it is fetched by.
    pub name: String,
    /// What kind of secret it is.
    pub kind: Kind,
    /// Whose it is, and whom to reach there.
    pub application: Owner,
    /// Whom to ask about it; may be empty.
    pub owner: String,
    /// Why.
    pub state: CredentialState,
    /// When its next version was due, or when the third party ends it.
    pub at: Timestamp,
    /// When it was read last, as far as its last 64 events tell; null where nobody read it in them.
    #[schema(required = true)]
    pub last_read_at: Option<Timestamp>,
}

/// What is counted; of retired credentials nothing but that they are.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct CredentialFigures {
    /// How they stand.
    pub states: CredentialCounts,
    /// By kind.
    pub kinds: KindCounts,
    /// Those that nobody is named for.
    pub without_owner: u64,
    /// Those that nobody read, as far as the last 64 events of each tell.
    pub never_read: u64,
    /// When the oldest of their current versions was written; null where there is none.
    #[schema(required = true)]
    pub oldest_written_at: Option<Timestamp>,
    /// When one of them was read last; null where none was.
    #[schema(required = true)]
    pub last_read_at: Option<Timestamp>,
}

/// Credentials by how they stand.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct CredentialCounts {
    /// Handed out, and nothing is ahead of them.
    pub active: u64,
    /// The third party ends them soon.
    pub expiring: u64,
    /// Their current version is older than their policy allows.
    pub overdue: u64,
    /// The third party has ended them, as far as is known.
    pub expired: u64,
    /// Given up.
    pub retired: u64,
}

/// Credentials by kind.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CredentialKindCounts)]
pub struct KindCounts {
    /// Keys that are sent along.
    pub api_key: u64,
    /// Names and passwords.
    pub basic: u64,
    /// OAuth 2.0 clients.
    pub oauth_client: u64,
    /// X.509 certificates and their keys.
    pub certificate: u64,
    /// Any other texts.
    pub opaque: u64,
}

const fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}

impl CredentialCounts {
    const fn count(&mut self, state: CredentialState) -> &mut u64 {
        match state {
            CredentialState::Active => &mut self.active,
            CredentialState::Expiring => &mut self.expiring,
            CredentialState::Overdue => &mut self.overdue,
            CredentialState::Expired => &mut self.expired,
            CredentialState::Retired => &mut self.retired,
        }
    }
}

impl KindCounts {
    const fn count(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::ApiKey => &mut self.api_key,
            Kind::Basic => &mut self.basic,
            Kind::OauthClient => &mut self.oauth_client,
            Kind::Certificate => &mut self.certificate,
            Kind::Opaque => &mut self.opaque,
        }
    }
}

impl CredentialFigures {
    /// Counts one more, read last at this time.
    fn count(&mut self, credential: &Credential, state: CredentialState, last_read_at: Option<Timestamp>) {
        add_one(self.states.count(state));
        if state == CredentialState::Retired {
            return;
        }
        add_one(self.kinds.count(credential.kind));
        if credential.owner.is_empty() {
            add_one(&mut self.without_owner);
        }
        if last_read_at.is_none() {
            add_one(&mut self.never_read);
        }
        let written_at = credential.current().map(|current| current.written_at);
        self.oldest_written_at = self.oldest_written_at.into_iter().chain(written_at).min();
        self.last_read_at = self.last_read_at.max(last_read_at);
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How the credentials of an application, or all that the caller may see, stand; as many of them as the page has room for, newest
    /// first.
    ///
    /// # Errors
    /// A missing scope, no such application, a bad cursor; where the store does not answer.
    pub async fn credential_report(
        &self,
        attempt: &Attempt,
        application: Option<ApplicationId>,
        page: &Page,
    ) -> Result<CredentialReportView> {
        let list = self.list_of_credentials(attempt, application).await?;
        match application {
            Some(application) => {
                self.require_at(attempt, scope::AUDIT_READ, application, "application").await?;
            }
            None => attempt.caller.require(scope::AUDIT_READ)?,
        }
        let (ids, next_cursor) = self.things::<CredentialId>(&list, page).await?;
        let head = self.read().head().await?;
        let now = self.clock.now();
        let mut report = CredentialReportView {
            at: now,
            through: EventId { epoch: head.epoch, seq: head.size },
            expiring_s: EXPIRING_S,
            examined: 0,
            damaged: 0,
            totals: CredentialFigures::default(),
            applications: Vec::new(),
            attention: Vec::new(),
            next_cursor,
        };
        let reader = self.read();
        let mut credentials = Vec::with_capacity(ids.len());
        for found in futures::future::join_all(ids.into_iter().map(|id| reader.credential(id))).await {
            match found {
                Ok(found) => credentials.extend(found.filter(|found| attempt.may_list(found))),
                Err(error) if error.code == Code::RecordDamaged => report.damaged += 1,
                Err(error) => return Err(error),
            }
        }
        report.examined = credentials.len() + report.damaged;
        let owners = self.owners(credentials.iter().map(|credential| credential.application)).await?;
        let terms = self.terms_of_each(&credentials).await?;
        let all: Vec<(&Credential, &Terms)> = credentials.iter().zip(&terms).collect();
        let mut by_application: BTreeMap<ApplicationId, CredentialFigures> = BTreeMap::new();
        for some in all.chunks(CREDENTIALS_AT_ONCE) {
            let reads = some.iter().map(|(credential, _)| self.last_read_at(credential.id));
            for ((credential, terms), read_at) in some.iter().zip(futures::future::try_join_all(reads).await?)
            {
                let view = CredentialView::of(credential, terms, now);
                report.totals.count(credential, view.state, read_at);
                let of_application = by_application.entry(credential.application).or_default();
                of_application.count(credential, view.state, read_at);
                if let (Some(at), Some(owner)) = (view.concerns_at(), owners.get(&credential.application)) {
                    report.attention.push(CredentialToSee {
                        id: credential.id,
                        name: credential.name.clone(),
                        kind: credential.kind,
                        application: owner.clone(),
                        owner: credential.owner.clone(),
                        state: view.state,
                        at,
                        last_read_at: read_at,
                    });
                }
            }
        }
        report.applications = by_application
            .into_iter()
            .filter_map(|(id, figures)| {
                Some(ApplicationCredentials { application: owners.get(&id)?.clone(), figures })
            })
            .collect();
        Ok(report)
    }

    /// When a credential was read last, as far as its newest events tell.
    async fn last_read_at(&self, id: CredentialId) -> Result<Option<Timestamp>> {
        let past = self.past_of(&lists::events_of_credential(id)).await?;
        let read = |action, outcome| action == Action::CredentialRead && outcome == Outcome::Done;
        Ok(past.iter().rev().find(|event| read(event.action, event.outcome)).map(|event| event.at))
    }
}
