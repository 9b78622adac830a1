//! Leaks: texts that a scanner found where anybody can read them, reported many at once. A token ends its key or, where the key's policy says
//! so, every version of it; a renewal token and a claim's ticket are withdrawn. What ends waits for nobody's turn, and a report that comes
//! twice finds it ended.

use crate::attempt::Attempt;
use crate::due::forgotten_fact;
use crate::list::READS_AT_ONCE;
use crate::service::Service;
use crate::turns::KEYS_AT_ONCE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::{SecretText, digest};
use keyward_domain::claim::claim_withdrawn;
use keyward_domain::due::outlook;
use keyward_domain::event::{Action, Outcome, Target};
use keyward_domain::imported::is_importable;
use keyward_domain::key::Key;
use keyward_domain::policy::{OnLeak, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::renewal_withdrawn;
use keyward_domain::rotation::Mode;
use keyward_domain::standing::stands_revoked;
use keyward_domain::{ClaimId, Code, Error, KeyId, RenewalId, Result, text, token};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{KvCount, KvRead, Tombstone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most matches of one report.
pub const MATCHES_MAX: usize = 10_000;
/// Keys that end in one commit: a batch of a few times as many records, far below what a commit has time for.
const KILLS_MAX: usize = 128;
/// The longest place that an event names, in bytes; longer ones are cut.
const PLACE_BYTES_MAX: usize = 512;
/// The longest word for what it was found in, in bytes.
const SOURCE_BYTES_MAX: usize = 32;
/// Why keys end, or their versions.
const TOKEN_LEAKED: &str = "its token was found where anybody can read it";
/// Why renewal tokens are withdrawn.
const RENEWAL_LEAKED: &str = "its renewal token was found where anybody can read it";
/// Why claims are.
const TICKET_LEAKED: &str = "the ticket of its claim was found where anybody can read it";

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
    /// Whether it is, or was, a key's: its token, its renewal token or the ticket of its claim.
    label: Label,
}

/// Whether a match is one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeakLabelKind)]
enum Label {
    /// It is a key's, whether it opens anything by now or not.
    TruePositive,
    /// It is nobody's.
    FalsePositive,
}

/// What a text is of the key that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The token of a version.
    Token(u16),
    /// What it is renewed with, and the version that came with.
    Renewal(RenewalId, u16),
    /// What one claims a version with.
    Ticket(ClaimId),
}

/// What was found of one key, each once, and by which match.
type Found<'m> = Vec<(What, &'m LeakMatch)>;

/// What ends at once.
enum End {
    /// The key.
    Key,
    /// These versions of it.
    Versions(Vec<u16>),
}

/// What changes in a key's record, in its turn.
enum Change<'m> {
    /// A successor is offered: its versions die by this report, or died by one that broke off.
    Succeeds { was_ended: bool },
    /// It goes on without what was found.
    Loses(Found<'m>),
}

/// What becomes of a key of which something was found; neither where that opens nothing any more.
#[derive(Default)]
struct Fate<'m> {
    end: Option<(End, &'m LeakMatch)>,
    change: Option<Change<'m>>,
}

/// A key in its turn, as it is to be written, the event that tells of it, and the versions that die with it.
struct Decided {
    key: Key,
    turn: Turn,
    draft: Draft,
    dying: Vec<u16>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Sees to it that nothing that was found opens anything: a token's key ends, or all its versions where its policy has it rotated;
    /// renewal tokens and claims are withdrawn. An event for each tells of it. Labels all matches in their order. The caller has seen to
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
        let mut labels = Vec::with_capacity(matches.len());
        let mut leaked: BTreeMap<KeyId, (Key, Found<'_>)> = BTreeMap::new();
        for some in matches.chunks(READS_AT_ONCE) {
            let owners =
                futures::future::join_all(some.iter().map(|found| self.owner_of(&found.token))).await;
            for (found, owner) in some.iter().zip(owners) {
                let owner = owner?;
                labels.push(label(found, owner.is_some()));
                let Some((key, what)) = owner else { continue };
                let (_, all) = leaked.entry(key.id).or_insert_with(|| (key, Vec::new()));
                if all.iter().all(|(known, _)| *known != what) {
                    all.push((what, found));
                }
            }
        }
        let (keys, found): (Vec<Key>, Vec<Found<'_>>) = leaked.into_values().unzip();
        let terms = self.terms_of_each(&keys).await?;
        let (mut ends, mut changes) = (Vec::new(), BTreeMap::new());
        let cases: Vec<_> = keys.iter().zip(&found).zip(&terms).collect();
        for some in cases.chunks(READS_AT_ONCE) {
            let fates = some.iter().map(|((key, found), terms)| self.fate_of_leaked(key, found, terms));
            let fates = futures::future::try_join_all(fates).await?;
            for (((key, _), _), Fate { end, change }) in some.iter().zip(fates) {
                ends.extend(end.map(|(end, place)| (*key, end, place)));
                changes.extend(change.map(|change| (key.id, change)));
            }
        }
        // All that ends, before anybody waits for a turn.
        for some in ends.chunks(KILLS_MAX) {
            self.end_leaked(attempt, some).await?;
        }
        let changing: Vec<KeyId> = changes.keys().copied().collect();
        for some in changing.chunks(KEYS_AT_ONCE) {
            self.change_leaked(attempt, some, &changes).await?;
        }
        Ok(LeakLabels(labels))
    }

    /// Whose a text is, and what of it; `None` where it is nobody's.
    async fn owner_of(&self, text: &SecretText) -> Result<Option<(Key, What)>> {
        let prefix = match token::parse(text.expose()) {
            Ok(parsed) => Some(parsed.prefix),
            Err(_) if is_importable(text.expose()) => None,
            Err(_) => return Ok(None),
        };
        let owner = match prefix {
            Some(token::PREFIX_RENEWAL) => match self.find_renewal(text).await {
                Ok(renewal) => {
                    let key = self.read().key(renewal.key).await?;
                    Ok(key.map(|key| (key, What::Renewal(renewal.id, renewal.version))))
                }
                Err(error) => Err(error),
            },
            Some(token::PREFIX_CLAIM) => match self.find_claim(text).await {
                Ok(claim) => {
                    let key = self.read().key(claim.key).await?;
                    Ok(key.map(|key| (key, What::Ticket(claim.id))))
                }
                Err(error) => Err(error),
            },
            _ => self.key_of_token(text).await.map(|(key, version)| Some((key, What::Token(version)))),
        };
        match owner {
            Err(error) if error.code == Code::NotFound => Ok(None),
            owner => owner,
        }
    }

    /// What becomes of a key. A version that is dead, a renewal token that was used and a claim that was taken open nothing: that they
    /// were found ends nothing. A version out of its grace dies, and the key goes on: a clock that steps back would let it pass again.
    async fn fate_of_leaked<'m>(&self, key: &Key, found: &Found<'m>, terms: &Terms) -> Result<Fate<'m>> {
        if !self.is_alive(key).await? {
            return Ok(Fate::default());
        }
        let dead = self.read().killed_versions(key).await?;
        let now = self.clock.now();
        let tokens: Vec<(u16, &LeakMatch)> = found
            .iter()
            .filter_map(|(what, place)| match what {
                What::Token(version) => Some((*version, *place)),
                What::Renewal(..) | What::Ticket(_) => None,
            })
            .collect();
        let mortal = tokens.iter().filter(|(version, _)| !dead.contains(version));
        let (retired, passing): (Vec<_>, Vec<_>) =
            mortal.partition(|(version, _)| key.retired(*version, now));
        let rotates = terms.on_leak == OnLeak::Rotate && key.next_version().is_some();
        if let Some((_, place)) = passing.first() {
            return Ok(match rotates {
                true => Fate {
                    end: Some((End::Versions(self.mortal_versions(key).await?), place)),
                    change: Some(Change::Succeeds { was_ended: true }),
                },
                false => Fate { end: Some((End::Key, place)), change: None },
            });
        }
        if !tokens.is_empty() && rotates && self.is_left_without_successor(key).await? {
            return Ok(Fate { end: None, change: Some(Change::Succeeds { was_ended: false }) });
        }
        let versions = retired.iter().map(|(version, _)| *version).collect();
        let end = retired.first().map(|(_, place)| (End::Versions(versions), *place));
        let lost: Found<'_> = found.iter().filter(|(what, _)| Self::opens(key, *what)).copied().collect();
        Ok(Fate { end, change: (!lost.is_empty()).then_some(Change::Loses(lost)) })
    }

    /// Whether a renewal token or a ticket holds, by its key's record.
    fn opens(key: &Key, what: What) -> bool {
        match what {
            What::Token(_) => false,
            What::Renewal(id, _) => key.rotation.renewal == Some(id),
            // Whether its time is over is for each clock to say.
            What::Ticket(id) => key.claim.as_ref().is_some_and(|open| open.id == id),
        }
    }

    /// Whether every version of a key is dead and nobody offered another.
    async fn is_left_without_successor(&self, key: &Key) -> Result<bool> {
        Ok(key.rotation.offer.is_none() && self.mortal_versions(key).await?.is_empty())
    }

    /// One commit: tombstones and kills, and an event for each key.
    async fn end_leaked(&self, attempt: &Attempt, ends: &[(&Key, End, &LeakMatch)]) -> Result<()> {
        let at = self.clock.now();
        let drafts = ends.iter().map(|(key, end, place)| {
            let mut draft = draft_of(attempt, key, TOKEN_LEAKED);
            draft.detail = match end {
                End::Key => vec![stands_revoked(), forgotten_fact(at)],
                End::Versions(dying) => dying.iter().map(|version| format!("version {version}")).collect(),
            };
            draft.detail.extend(place_of(place));
            draft
        });
        let by = attempt.caller.actor.clone();
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            for (index, (key, end, _)) in ends.iter().enumerate() {
                let event = tickets.event(index);
                let writes = writes.for_event(index);
                match end {
                    End::Key => {
                        let reason = TOKEN_LEAKED.to_owned();
                        let tombstone = Tombstone { key: key.id, at, by: by.clone(), reason, event };
                        writes.tombstone(&tombstone, key.imported.is_some());
                    }
                    End::Versions(dying) => {
                        dying.iter().for_each(|version| writes.version_kill(key.id, *version, event));
                    }
                }
            }
            Ok(())
        })
        .await
    }

    /// One commit: each of these keys in its turn, as it is stored by then.
    async fn change_leaked(
        &self,
        attempt: &Attempt,
        ids: &[KeyId],
        changes: &BTreeMap<KeyId, Change<'_>>,
    ) -> Result<()> {
        let (taken, failed) = self.turns_at_keys(ids.iter().copied()).await;
        let taken = taken.into_iter().filter_map(|(turn, key)| Some((turn, changes.get(&key.id)?, key)));
        let decisions = taken.map(|(turn, change, key)| self.decide_leaked(attempt, turn, key, change));
        let decided = futures::future::try_join_all(decisions).await?;
        if !decided.is_empty() {
            let drafts = decided.iter().map(|decided| decided.draft.clone());
            self.commit(attempt, drafts.collect(), |tickets, writes| {
                for (index, Decided { mut key, turn, dying, .. }) in decided.into_iter().enumerate() {
                    let event = tickets.event(index);
                    (key.revision, key.event) = (turn.revision(), event);
                    let writes = writes.for_event(index);
                    writes.change(&key, turn);
                    dying.iter().for_each(|version| writes.version_kill(key.id, *version, event));
                }
                Ok(())
            })
            .await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// What becomes of a key in its turn; an event says so where somebody else has seen to it meanwhile.
    async fn decide_leaked(
        &self,
        attempt: &Attempt,
        turn: Turn,
        mut key: Key,
        change: &Change<'_>,
    ) -> Result<Decided> {
        let mut draft = draft_of(attempt, &key, TOKEN_LEAKED);
        let mut dying = Vec::new();
        match change {
            Change::Succeeds { was_ended } => {
                draft.action = Action::KeyRotated;
                let is_needed = match was_ended {
                    true => !self.is_left_with_an_offer(&key).await?,
                    false => self.is_left_without_successor(&key).await?,
                };
                if is_needed {
                    let version;
                    (version, dying) = self.offer(&mut key, Mode::Incident, None).await?;
                    draft.detail = vec![Mode::Incident.as_str().to_owned(), format!("version {version}")];
                }
            }
            Change::Loses(found) => {
                for (what, place) in
                    found.iter().filter(|(what, _)| Self::opens(&key, *what)).copied().collect::<Found<'_>>()
                {
                    match what {
                        What::Token(_) => {}
                        What::Renewal(_, version) => {
                            key.rotation.renewal = None;
                            draft.reason = Some(RENEWAL_LEAKED.to_owned());
                            draft.detail.push(renewal_withdrawn(version));
                        }
                        What::Ticket(id) => {
                            key.claim = None;
                            draft.reason = Some(TICKET_LEAKED.to_owned());
                            draft.detail.push(claim_withdrawn(id));
                        }
                    }
                    draft.detail.extend(place_of(place));
                }
            }
        }
        if draft.detail.is_empty() {
            draft.outcome = Outcome::Refused;
            draft.reason = Some(Code::StateConflict.as_str().to_owned());
        } else {
            let terms = self.terms_of(&key).await?;
            draft.detail.extend(outlook(&key, &terms, self.clock.now()));
        }
        Ok(Decided { key, turn, draft, dying })
    }
}

/// The event of what becomes of a key.
fn draft_of(attempt: &Attempt, key: &Key, reason: &str) -> Draft {
    Draft {
        target: Target { application: Some(key.application), ..Target::key(Some(key.id)) },
        ..attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(key.event))
    }
}

/// What is told of a match.
fn label(found: &LeakMatch, is_ours: bool) -> LeakLabel {
    LeakLabel {
        token_hash: STANDARD.encode(digest::sha256(found.token.expose().as_bytes())),
        token_type: found.kind.clone(),
        label: if is_ours { Label::TruePositive } else { Label::FalsePositive },
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
