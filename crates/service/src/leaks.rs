//! Leaks: tokens that a scanner found where anybody can read them, reported many at once. Each that is a key's ends that key, whatever it
//! was; a report that comes twice finds them dead. They wait for nobody's turn.

use crate::attempt::Attempt;
use crate::due::forgotten_fact;
use crate::list::READS_AT_ONCE;
use crate::service::Service;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::{SecretText, digest};
use keyward_domain::event::{Outcome, Target};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::standing::stands_revoked;
use keyward_domain::{Code, Error, KeyId, Result, text, token};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead, Tombstone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most matches of one report.
pub const MATCHES_MAX: usize = 10_000;
/// Keys that end in one commit: a batch of twice as many records, far below what a commit has time for.
const KILLS_MAX: usize = 128;
/// The longest place that an event names, in bytes; longer ones are cut.
const PLACE_BYTES_MAX: usize = 512;
/// The longest word for what it was found in, in bytes.
const SOURCE_BYTES_MAX: usize = 32;
/// Why they are revoked.
const LEAKED: &str = "its token was found where anybody can read it";

/// A match, as GitHub's secret scanning sends it. Members that it has beside these are passed over.
#[derive(Deserialize, ToSchema)]
#[schema(as = LeakMatch)]
pub struct LeakMatch {
    /// What was found.
    #[schema(value_type = String, write_only)]
    pub token: SecretText,
    /// What the scanner calls its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it was found.
    #[serde(default)]
    pub url: Option<String>,
    /// In what, such as `content` or `commit`.
    #[serde(default)]
    pub source: Option<String>,
}

/// What a scanner found, in one report.
#[derive(Deserialize, ToSchema)]
#[schema(as = LeakReport, max_items = 10_000)]
pub struct LeakReport(Vec<LeakMatch>);

/// A label for each match of a report, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = LeakLabels)]
pub struct LeakLabels(Vec<LeakLabel>);

/// What became of a match, in the form that GitHub takes. The token itself is not repeated.
#[derive(Serialize, ToSchema)]
#[schema(as = LeakLabel)]
pub struct LeakLabel {
    /// SHA-256 of the token, in base64.
    token_hash: String,
    /// What the scanner calls its kind.
    token_type: String,
    /// Whether it is, or was, a key's.
    label: Label,
}

/// Whether a match is one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeakLabelKind)]
enum Label {
    /// It is the token of a key, alive or dead.
    TruePositive,
    /// It is nobody's.
    FalsePositive,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Ends every key whose token is among these, with an event for each, and labels all of them in their order. The caller has seen to
    /// it that the report is authentic.
    ///
    /// # Errors
    /// Too many matches; where the store does not answer: then some may have ended, and the same report again ends the others.
    pub async fn report_leaks(&self, attempt: &Attempt, report: &LeakReport) -> Result<LeakLabels> {
        let LeakReport(matches) = report;
        if matches.len() > MATCHES_MAX {
            return Err(Error::new(
                Code::InvalidBody,
                format!("the report has {} matches; at most {MATCHES_MAX}", matches.len()),
            ));
        }
        let mut owners = Vec::with_capacity(matches.len());
        for some in matches.chunks(READS_AT_ONCE) {
            let found = some.iter().map(|found| self.owner_of(&found.token));
            for owner in futures::future::join_all(found).await {
                owners.push(owner?);
            }
        }
        // One end for a key, wherever and however often it was found.
        let mut doomed: BTreeMap<KeyId, (&Key, &LeakMatch)> = BTreeMap::new();
        for (found, owner) in matches.iter().zip(&owners) {
            if let Some((key, true)) = owner {
                doomed.entry(key.id).or_insert((key, found));
            }
        }
        let doomed: Vec<(&Key, &LeakMatch)> = doomed.into_values().collect();
        for some in doomed.chunks(KILLS_MAX) {
            self.end_leaked(attempt, some).await?;
        }
        let label = |(found, owner): (&LeakMatch, &Option<_>)| LeakLabel {
            token_hash: STANDARD.encode(digest::sha256(found.token.expose().as_bytes())),
            token_type: found.kind.clone(),
            label: if owner.is_some() { Label::TruePositive } else { Label::FalsePositive },
        };
        Ok(LeakLabels(matches.iter().zip(&owners).map(label).collect()))
    }

    /// Whose a text is, and whether that key is alive; `None` where it is nobody's.
    async fn owner_of(&self, text: &SecretText) -> Result<Option<(Key, bool)>> {
        if token::parse(text.expose()).is_err() {
            return Ok(None);
        }
        match self.key_of_token(text).await {
            Ok((key, _)) => {
                let is_alive = self.is_alive(&key).await?;
                Ok(Some((key, is_alive)))
            }
            Err(error) if error.code == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn end_leaked(&self, attempt: &Attempt, leaked: &[(&Key, &LeakMatch)]) -> Result<()> {
        let at = self.clock.now();
        let drafts = leaked.iter().map(|(key, found)| {
            let mut draft = attempt.draft(Outcome::Done, Some(LEAKED.to_owned()), Some(key.event));
            draft.target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
            draft.detail = vec![stands_revoked(), forgotten_fact(at)];
            draft.detail.extend(place_of(found));
            draft
        });
        let by = attempt.caller.actor.clone();
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            for (index, (key, _)) in leaked.iter().enumerate() {
                let event = tickets.event(index);
                let tombstone =
                    Tombstone { key: key.id, at, by: by.clone(), reason: LEAKED.to_owned(), event };
                writes.for_event(index).tombstone(&tombstone);
            }
            Ok(())
        })
        .await
    }
}

/// What an event says of where a token was found; nothing where the place itself holds what looks like one.
fn place_of(found: &LeakMatch) -> Option<String> {
    let url = found.url.as_deref().filter(|url| !url.is_empty())?;
    let holds_token = url.contains(found.token.expose())
        || url
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .any(|word| token::parse(word).is_ok());
    let what =
        found.source.as_deref().filter(|source| source.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let what = text::cut(what.unwrap_or("content"), SOURCE_BYTES_MAX);
    (!holds_token).then(|| format!("found in {what} at {}", text::cut(url, PLACE_BYTES_MAX)))
}
