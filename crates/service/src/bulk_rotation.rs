//! Many keys rotated at once: those of an application, with a tag, that stand alike, of a span of time. One call offers a successor for up
//! to [`KEYS_AT_ONCE`] of them in one commit, each in its own turn, with an event and a claim for each; its cursor leads on, and moves after
//! the work. It decides by the rules of a single rotation.

use crate::answer::{Answer, Body};
use crate::attempt::{Attempt, keep_outcome};
use crate::fresh_claim::{FreshClaim, HandedClaim, TicketBody};
use crate::rotations::{RotateKey, conflict};
use crate::selection::{Asked, Course, Selected, Selection, tag_of};
use crate::service::Service;
use crate::turns::KEYS_AT_ONCE;
use crate::view::SkippedKey;
use keyward_crypto::SecretText;
use keyward_domain::due::outlook;
use keyward_domain::error::FieldError;
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::rotation::Mode;
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::Standing;
use keyward_domain::tag::Tag;
use keyward_domain::text;
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, Timestamp};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which keys, how, and why. All that is given of which must hold of a key.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkRotationAsked, min_properties = 2)]
pub struct BulkRotation {
    /// Of this application.
    #[serde(default)]
    pub application: Option<ApplicationId>,
    /// With this tag.
    #[serde(default)]
    #[schema(value_type = Option<Tag>)]
    pub tag: Option<String>,
    /// Standing so.
    #[serde(default)]
    pub standing: Option<Standing>,
    /// Of this environment.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// Issued with this key of `keyward`.
    #[serde(default)]
    pub actor: Option<KeyId>,
    /// Issued at this time or later.
    #[serde(default)]
    pub issued_since: Option<Timestamp>,
    /// Issued before this time.
    #[serde(default)]
    pub issued_until: Option<Timestamp>,
    /// With a newest version that was claimed before this time. In an incident, the time at which it was found: so nothing is done
    /// twice, whatever was claimed meanwhile.
    #[serde(default)]
    pub claimed_until: Option<Timestamp>,
    /// Whether it is time, or secrets may be in the wrong hands; `scheduled` where it is absent.
    #[serde(default)]
    pub mode: Mode,
    /// How long the versions in use go on once their successors were claimed, in seconds; what each key's policy says where it is
    /// absent. None in an incident.
    #[serde(default)]
    #[schema(maximum = 7_776_000)]
    pub grace_s: Option<u32>,
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
    /// Only tells which would be rotated.
    #[serde(default)]
    pub dry_run: bool,
    /// Where the call before ended.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub cursor: Option<String>,
}

impl Asked for BulkRotation {
    const ROUTE: &'static str = "rotations.bulk";
    const SCOPE: &'static str = scope::KEYS_ROTATE;
    const KEYS_MAX: usize = KEYS_AT_ONCE;
    const ISSUES: bool = true;

    fn application(&self) -> Option<ApplicationId> {
        self.application
    }

    fn kills(&self) -> bool {
        self.mode == Mode::Incident
    }

    fn is_dry(&self) -> bool {
        self.dry_run
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn check(&self) -> Result<Selection> {
        let mut errors: Vec<FieldError> = self.of_each().mistakes();
        let tag = tag_of(self.tag.as_deref(), &mut errors);
        let times = [self.issued_since, self.issued_until, self.claimed_until];
        if self.application.is_none()
            && self.tag.is_none()
            && self.standing.is_none()
            && self.actor.is_none()
            && times.iter().all(Option::is_none)
        {
            errors.push(FieldError::new(
                "",
                "selects no keys",
                "at least one of `application`, `tag`, `standing`, `actor`, `issued_since`, `issued_until`, `claimed_until`",
            ));
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Selection {
            actor: self.actor,
            tag,
            application: self.application,
            environment: self.environment,
            standing: self.standing,
            issued_since: self.issued_since,
            issued_until: self.issued_until,
            claimed_until: self.claimed_until,
        })
    }
}

impl BulkRotation {
    /// What it asks for of each of them.
    fn of_each(&self) -> RotateKey {
        RotateKey { reason: self.reason.clone(), mode: self.mode, grace_s: self.grace_s, version: None }
    }
}

/// What one call rotated, and what it left.
pub struct BulkRotationView {
    dry_run: bool,
    rotated: Vec<RotatedKey>,
    found: Selected,
}

/// One of many for which there is a successor.
struct RotatedKey {
    id: KeyId,
    application: ApplicationId,
    name: String,
    version: u16,
    claim: Option<HandedClaim>,
    event: Option<EventId>,
}

/// A [`BulkRotationView`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkRotation)]
pub struct BulkRotationBody<'a> {
    /// Whether nothing was done.
    dry_run: bool,
    /// Those with a successor that can be claimed; with `dry_run`, those that would have had one.
    rotated: Vec<RotatedKeyBody<'a>>,
    /// Of those meant, how many were dead before.
    already_dead: usize,
    /// Those that are meant and stay as they are.
    skipped: &'a [SkippedKey],
    /// Keys looked at.
    examined: usize,
    /// Where the next call goes on; none after the last.
    #[schema(required = true)]
    next_cursor: Option<&'a str>,
}

/// One of many that were rotated.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedKey)]
struct RotatedKeyBody<'a> {
    /// Its id.
    id: KeyId,
    /// Whose it is.
    application: ApplicationId,
    /// What people call it.
    name: &'a str,
    /// The version that the claim mints.
    #[schema(minimum = 1, maximum = 3843)]
    version: u16,
    /// The claim to be taken; none with `dry_run`.
    #[schema(required = true)]
    claim: Option<TicketBody<'a>>,
    /// The event that says so; none with `dry_run`.
    #[schema(required = true)]
    event: Option<EventId>,
}

impl Body for BulkRotationView {
    fn to_json(&self) -> SecretText {
        let rotated = self.rotated.iter().map(|key| RotatedKeyBody {
            id: key.id,
            application: key.application,
            name: &key.name,
            version: key.version,
            claim: key.claim.as_ref().map(HandedClaim::body),
            event: key.event,
        });
        BulkRotationBody {
            dry_run: self.dry_run,
            rotated: rotated.collect(),
            already_dead: self.found.already_dead,
            skipped: &self.found.skipped,
            examined: self.found.examined,
            next_cursor: self.found.next_cursor.as_deref(),
        }
        .to_json()
    }
}

/// What is to be done about a key that is meant.
enum Step {
    /// A successor is offered.
    Offer,
    /// One is offered already and nobody can claim it: a claim is made for it.
    Claim(u16),
}

/// A key in its turn, as it is to be written, and the event that tells of it.
struct Decided {
    key: Key,
    turn: Turn,
    draft: Draft,
    /// The claim for its successor and the versions that die with it; none where it stays as it is.
    made: Option<(FreshClaim, Vec<u16>)>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Offers successors for the keys that are asked for, as many as one call does, with a claim for each; the cursor of its answer
    /// leads to the others. A successor that is offered already gets a claim where it has none that is open, so that what was offered
    /// on schedule can be handed out. Keys that are not to be rotated now are named beside them. In an incident every version so far of
    /// all of them dies first, at once; the key of the call itself is spared then.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, a bad cursor, frozen issuing; where the store does not answer.
    pub async fn rotate_many(
        &self,
        attempt: &Attempt,
        asked: &BulkRotation,
    ) -> Result<Answer<BulkRotationView>> {
        let of_each = asked.of_each();
        let check = async |key: &Key| self.step(attempt, key, &of_each).await.map(drop);
        let mut found = match self.course(attempt, asked, check).await? {
            Course::Replayed(text) => return Ok(Answer::Replayed(text)),
            Course::Looked(mut found) => {
                let meant = std::mem::take(&mut found.meant);
                let rotated = meant.into_iter().map(|key| self.would_be_rotated(attempt, key, &of_each));
                let rotated = futures::future::try_join_all(rotated).await?;
                return Ok(Answer::Fresh(BulkRotationView { dry_run: asked.dry_run, rotated, found }));
            }
            Course::Begun(found) => found,
        };
        let meant = std::mem::take(&mut found.meant);
        if asked.mode == Mode::Incident {
            self.kill_those_in_use(attempt, &meant, &of_each).await?;
        }
        let (taken, failed) = self.turns_at_keys(meant.iter().map(|key| key.id)).await;
        if let Some(error) = failed {
            // Their claims would be lost with an error of one of them.
            if taken.is_empty() {
                return Err(error);
            }
            let is_left = |id: KeyId| taken.iter().all(|(_, key)| key.id != id);
            let left = meant.iter().filter(|key| is_left(key.id));
            found.skipped.extend(left.map(|key| SkippedKey::told(key.id, error.clone())));
        }
        // Somebody with the same Idempotency-Key may have been faster while turns were waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        self.rotate_in_turn(attempt, taken, &of_each, found).await.map(Answer::Fresh)
    }

    /// What is to be done about a key, as a single rotation would have it.
    async fn step(&self, attempt: &Attempt, key: &Key, asked: &RotateKey) -> Result<Step> {
        if let Some(offer) = &key.rotation.offer
            && (asked.mode == Mode::Scheduled || self.is_left_with_an_offer(key).await?)
        {
            let open = key.claim.as_ref().filter(|claim| claim.version == offer.version);
            if open.is_some_and(|claim| claim.expires_at > self.clock.now()) {
                return Err(conflict(
                    "a successor is offered already, and its claim is open; if its link is lost, ask for a new one with `/claims`",
                ));
            }
            return self.check_reissue(attempt, key).await.map(Step::Claim);
        }
        if asked.mode == Mode::Incident && attempt.caller.key() == Some(key.id) {
            return Err(Error::new(
                Code::Forbidden,
                "it is the key of this very call; to end its versions, rotate it by its id",
            ));
        }
        self.check_rotation(attempt, key, asked).await.map(|()| Step::Offer)
    }

    /// What is told of a key that would be rotated.
    async fn would_be_rotated(&self, attempt: &Attempt, key: Key, asked: &RotateKey) -> Result<RotatedKey> {
        let version = match self.step(attempt, &key, asked).await? {
            Step::Claim(version) => Some(version),
            Step::Offer => key.next_version(),
        };
        let version = version.ok_or_else(|| Error::internal("a key's versions are used up"))?;
        let Key { id, application, name, .. } = key;
        Ok(RotatedKey { id, application, name, version, claim: None, event: None })
    }

    /// Ends the versions of those whose successor is still to be offered.
    async fn kill_those_in_use(&self, attempt: &Attempt, meant: &[Key], asked: &RotateKey) -> Result<()> {
        let mut in_use: Vec<Key> = Vec::new();
        for key in meant {
            if !self.is_left_with_an_offer(key).await? {
                in_use.push(key.clone());
            }
        }
        self.kill_versions(attempt, &in_use, &asked.reason).await
    }

    /// One commit: decides again on what is stored, and writes each key with an event of its own.
    async fn rotate_in_turn(
        &self,
        attempt: &Attempt,
        taken: Vec<(Turn, Key)>,
        asked: &RotateKey,
        mut found: Selected,
    ) -> Result<BulkRotationView> {
        let decisions = taken.into_iter().map(|(turn, key)| self.decide(attempt, key, turn, asked));
        let mut decided: Vec<Decided> = Vec::new();
        for (decision, skipped) in futures::future::try_join_all(decisions).await? {
            decided.push(decision);
            found.skipped.extend(skipped);
        }
        let drafts = decided.iter().map(|decided| decided.draft.clone());
        let now = self.clock.now();
        let reservation = attempt.take_reservation();
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            let mut rotated: Vec<RotatedKey> = Vec::new();
            for (index, Decided { mut key, turn, made, .. }) in decided.into_iter().enumerate() {
                let event = tickets.event(index);
                (key.revision, key.event) = (turn.revision(), event);
                let writes = writes.for_event(index);
                writes.change(&key, turn);
                let Some((claim, dying)) = made else { continue };
                writes.claim(&claim.record);
                for version in dying {
                    writes.version_kill(key.id, version, event);
                }
                let version = claim.record.version;
                let claim = Some(self.handed(claim));
                let Key { id, application, name, .. } = key;
                rotated.push(RotatedKey { id, application, name, version, claim, event: Some(event) });
            }
            let view = BulkRotationView { dry_run: false, rotated, found };
            keep_outcome(reservation, &view, now, writes.for_event(0));
            Ok(view)
        })
        .await
    }

    /// What becomes of a key in its turn; where that is nothing, why.
    async fn decide(
        &self,
        attempt: &Attempt,
        key: Key,
        turn: Turn,
        asked: &RotateKey,
    ) -> Result<(Decided, Option<SkippedKey>)> {
        let target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
        let mut draft = attempt.draft(Outcome::Done, Some(asked.reason.clone()), Some(key.event));
        draft.target = target;
        let mut changed = key.clone();
        let step = match self.step(attempt, &key, asked).await {
            Ok(Step::Offer) => self.offer(&mut changed, asked.mode, asked.grace_s).await,
            Ok(Step::Claim(version)) => {
                draft.action = Action::ClaimReissued;
                Ok((version, Vec::new()))
            }
            Err(error) => Err(error),
        };
        let (version, dying) = match step {
            Ok(step) => step,
            Err(error) => {
                draft.outcome = Outcome::Refused;
                draft.reason = Some(error.code.as_str().to_owned());
                let skipped = SkippedKey::because(key.id, error)?;
                return Ok((Decided { key, turn, draft, made: None }, Some(skipped)));
            }
        };
        let now = self.clock.now();
        let claim = self.fresh_claim(&mut changed, version, now);
        draft.detail = vec![asked.mode.as_str().to_owned(), format!("version {version}")];
        let terms = self.terms_of(&changed).await?;
        draft.detail.extend(outlook(&changed, &terms, now));
        Ok((Decided { key: changed, turn, draft, made: Some((claim, dying)) }, None))
    }
}
