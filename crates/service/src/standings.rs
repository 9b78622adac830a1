//! How keys stand, out of their registers: how many of them stand how, and which. Both are read off, however many keys there are.
//!
//! A register says what the log says, up to where it is projected; what time alone changes of a key is told by the walk along what is due.

use crate::attempt::Attempt;
use crate::list::{Cursor, INTEGRATE_ROUNDS, Order, Page, READS_AT_ONCE};
use crate::service::Service;
use keyward_domain::event::EventId;
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::Reach;
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Error, KeyId, Result};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::register::{Counts, ROWS, RegisterHead, RegisterTotals, SUMS, TOTALS};
use keyward_records::{KvCount, KvRead};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Range;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// Records of totals that one call examines at most: those of 8,192 applications.
const TOTALS_MAX: usize = 128;

/// How many keys stand how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeyStandings)]
pub struct StandingsView {
    /// Of which application; null where of all that the caller may see.
    #[schema(required = true)]
    pub application: Option<ApplicationId>,
    /// As of this event, the last of the log that is projected.
    pub through: EventId,
    /// Whether every key that was issued is in it. Not where the store was written by an earlier Keyward, until maintenance went round.
    pub is_complete: bool,
    /// How many keys there are, dead ones included.
    pub total: u64,
    /// Of these, how many stand how.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = named_schema)]
    pub standings: Counts,
}

fn named<S: Serializer>(counts: &Counts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter())
}

fn named_schema() -> Object {
    let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let all = ObjectBuilder::new().description(Some("Of these, how many stand how."));
    Standing::ALL
        .into_iter()
        .fold(all, |all, standing| all.property(standing.as_str(), count()).required(standing.as_str()))
        .build()
}

/// What the register says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRecord {
    /// Nothing: it is older than registers are.
    Nothing,
    /// That it stands so.
    Stands(Standing),
    /// Something older than the key's record, whose own event will tell.
    Outdated,
}

/// Whose registers are looked through.
enum Whose {
    /// Those of all applications.
    All,
    /// These, by their numbers.
    Some(Vec<RegisterHead>),
}

/// A way through registers: application by application and, in each, row by row.
struct Way {
    whose: Whose,
    standing: Option<Standing>,
    order: Order,
    /// The record of totals that was read last, and how many were.
    totals: Option<RegisterTotals>,
    examined: usize,
}

/// The next application on a way.
enum Next {
    Application(RegisterHead),
    /// So many were examined that the caller is to come again, at the application with this number.
    Later(u64),
    None,
}

impl Way {
    /// Whether any of these keys are looked for.
    fn leads_to(&self, counts: &Counts) -> bool {
        self.standing.map_or_else(|| counts.all(), |standing| counts.of(standing)) > 0
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How many keys stand how: those of one application, or all that the caller may see.
    ///
    /// # Errors
    /// A missing scope, no such application; where the store does not answer.
    pub async fn standings(
        &self,
        attempt: &Attempt,
        application: Option<ApplicationId>,
    ) -> Result<StandingsView> {
        let applications = match application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::KEYS_READ, application, "application").await?;
                self.read().application(application).await?.ok_or_else(|| Error::not_found("application"))?;
                Some(vec![application])
            }
            None => self.readable_applications(attempt)?,
        };
        // Failing to write projections is no reason not to answer: it says as of when it is.
        let _ = self.ledger.integrate(INTEGRATE_ROUNDS).await;
        let reader = self.read();
        let head = reader.head().await?;
        // Before the registers are: what is integrated meanwhile makes them look no less complete.
        let lists = match &applications {
            None => vec![lists::KEYS.to_owned()],
            Some(applications) => applications.iter().copied().map(lists::keys_of).collect(),
        };
        let issued = futures::future::try_join_all(lists.iter().map(|list| reader.list_head(list))).await?;
        let issued = issued.iter().flatten().fold(0_u64, |sum, head| sum.saturating_add(head.count));
        let mut standings = Counts::default();
        match &applications {
            None => {
                let records = reader.registers().await?.applications.div_ceil(TOTALS);
                let numbers: Vec<u64> = (0..records).collect();
                for some in numbers.chunks(READS_AT_ONCE) {
                    let reads = some.iter().map(|number| reader.register_totals(*number));
                    for totals in futures::future::try_join_all(reads).await?.into_iter().flatten() {
                        totals.applications.iter().for_each(|(_, counts)| standings.merge(counts));
                    }
                }
            }
            Some(applications) => {
                let heads = self.registers_of(applications).await?;
                heads.iter().for_each(|head| standings.merge(&head.counts()));
            }
        }
        Ok(StandingsView {
            application,
            through: EventId { epoch: head.epoch, seq: head.size },
            is_complete: standings.all() >= issued,
            total: standings.all(),
            standings,
        })
    }

    /// The applications whose keys the caller may see; `None` where those of all.
    pub(crate) fn readable_applications(&self, attempt: &Attempt) -> Result<Option<Vec<ApplicationId>>> {
        attempt.caller.require_somewhere(scope::KEYS_READ)?;
        Ok(match attempt.caller.reach(scope::KEYS_READ) {
            Reach::Everywhere => None,
            Reach::Some(applications) => Some(applications),
            Reach::Nowhere => Some(Vec::new()),
        })
    }

    async fn registers_of(&self, applications: &[ApplicationId]) -> Result<Vec<RegisterHead>> {
        let reader = self.read();
        let reads = applications.iter().map(|application| reader.register(*application));
        Ok(futures::future::try_join_all(reads).await?.into_iter().flatten().collect())
    }

    /// The keys that stand so (all, where nothing is asked) of these applications, or of all: application by application, in each by
    /// when the log first told of the key.
    pub(crate) async fn keys_by_standing(
        &self,
        applications: Option<&[ApplicationId]>,
        standing: Option<Standing>,
        order: Order,
        page: &Page,
    ) -> Result<(Vec<KeyId>, Option<Cursor>)> {
        let whose = match applications {
            None => Whose::All,
            Some(applications) => {
                let mut heads = self.registers_of(applications).await?;
                heads.sort_by_key(|head| head.number);
                Whose::Some(heads)
            }
        };
        let registers = self.read().registers().await?.applications;
        let mut way = Way { whose, standing, order, totals: None, examined: 0 };
        let (mut number, mut place) = page.at().map_or((None, None), |(n, place)| (Some(n), Some(place)));
        let mut found: Vec<KeyId> = Vec::new();
        loop {
            let head = match self.next_register(&mut way, number, registers).await? {
                Next::Application(head) => head,
                Next::Later(number) => return Ok((found, Some(Cursor::at(number, order.first())))),
                Next::None => return Ok((found, None)),
            };
            // A place is one of the application that it was told for.
            let from = place.take().filter(|_| number == Some(head.number));
            if let Some(next) = self.rows_of(&way, &head, from, page.limit(), &mut found).await? {
                return Ok((found, Some(Cursor::at(head.number, next))));
            }
            number = match order.after(head.number) {
                Some(number) => Some(number),
                None => return Ok((found, None)),
            };
        }
    }

    /// The first application at or behind this number that a way leads to.
    async fn next_register(&self, way: &mut Way, from: Option<u64>, registers: u64) -> Result<Next> {
        let order = way.order;
        if let Whose::Some(heads) = &way.whose {
            let is_on = |head: &&RegisterHead| {
                from.is_none_or(|from| order.is_from(from, head.number)) && way.leads_to(&head.counts())
            };
            let found = match order {
                Order::Oldest => heads.iter().find(is_on),
                Order::Newest => heads.iter().rev().find(is_on),
            };
            return Ok(found.map_or(Next::None, |head| Next::Application(head.clone())));
        }
        for number in order.over(order.from(from, 0..registers)) {
            let record = number / TOTALS;
            if way.totals.as_ref().is_none_or(|totals| totals.number != record) {
                if way.examined >= TOTALS_MAX {
                    return Ok(Next::Later(number));
                }
                way.examined += 1;
                way.totals = self.read().register_totals(record).await?;
            }
            let at = usize::try_from(number % TOTALS).unwrap_or(usize::MAX);
            let totals = way.totals.as_ref().and_then(|totals| totals.applications.get(at));
            let Some((application, _)) = totals.filter(|(_, counts)| way.leads_to(counts)) else { continue };
            if let Some(head) = self.read().register(*application).await? {
                return Ok(Next::Application(head));
            }
        }
        Ok(Next::None)
    }

    /// Adds the keys of a register that a way leads to, from a place on, up to a limit; where to go on, if there are more. Pages
    /// without any are not read: their sums say so.
    async fn rows_of(
        &self,
        way: &Way,
        head: &RegisterHead,
        from: Option<u64>,
        limit: usize,
        found: &mut Vec<KeyId>,
    ) -> Result<Option<u64>> {
        let (reader, order, application) = (self.read(), way.order, head.application);
        let places = order.from(from, 0..head.rows);
        for number in order.over(held_by(&places, ROWS * SUMS)) {
            let is_on_it = |tally| way.leads_to(&keyward_records::register::Tally::counts(tally, head.ended));
            if !nth(&head.sums, number).is_some_and(is_on_it) {
                continue;
            }
            let sums = reader.register_sums(application, number).await?;
            let sums = sums.ok_or_else(|| Error::damaged("a register"))?;
            let pages = held_by(&within(&places, number, ROWS * SUMS), ROWS);
            for page in order.over(pages) {
                if !nth(&sums.pages, page % SUMS).is_some_and(is_on_it) {
                    continue;
                }
                let rows = reader.register_page(application, page).await?;
                let rows = rows.ok_or_else(|| Error::damaged("a register"))?.rows;
                for place in order.over(within(&places, page, ROWS)) {
                    let Some(row) = nth(&rows, place % ROWS) else { continue };
                    if way.standing.is_some_and(|standing| row.standing(head.ended) != standing) {
                        continue;
                    }
                    if found.len() >= limit {
                        return Ok(Some(place));
                    }
                    found.push(row.key);
                }
            }
        }
        Ok(None)
    }

    /// What the registers say of each of these keys, in their order.
    pub(crate) async fn standings_on_record(&self, keys: &[Key]) -> Result<Vec<OnRecord>> {
        let reader = self.read();
        let places = keys.iter().map(|key| reader.row_place(key.id));
        let (head, places) = futures::join!(reader.head(), futures::future::try_join_all(places));
        let (head, places) = (head?, places?);
        let mut heads: BTreeMap<ApplicationId, Option<RegisterHead>> =
            places.iter().flatten().map(|place| (place.application, None)).collect();
        let reads = heads.iter_mut().map(async |(application, head)| {
            *head = reader.register(*application).await?;
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let mut pages: BTreeMap<(ApplicationId, u64), _> =
            places.iter().flatten().map(|place| ((place.application, place.place / ROWS), None)).collect();
        let reads = pages.iter_mut().map(async |((application, page), found)| {
            *found = reader.register_page(*application, *page).await?;
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let on_record = keys.iter().zip(places).map(|(key, place)| {
            if key.event > (EventId { epoch: head.epoch, seq: head.size }) {
                return OnRecord::Outdated;
            }
            let Some(place) = place else { return OnRecord::Nothing };
            let ended = heads.get(&place.application).and_then(Option::as_ref).map_or(0, |head| head.ended);
            let page = pages.get(&(place.application, place.place / ROWS)).and_then(Option::as_ref);
            let row = page.and_then(|page| nth(&page.rows, place.place % ROWS));
            row.map_or(OnRecord::Nothing, |row| OnRecord::Stands(row.standing(ended)))
        });
        Ok(on_record.collect())
    }
}

impl OnRecord {
    /// Whether it is to be told that the key stands so. What is on record as revoked stays so, whatever is told: a key that lives all
    /// the same is for `audit verify` to name.
    pub(crate) fn lacks(self, standing: Standing) -> bool {
        match self {
            Self::Nothing => true,
            Self::Stands(on_record) => on_record != standing && on_record != Standing::Revoked,
            Self::Outdated => false,
        }
    }
}

fn nth<T>(values: &[T], number: u64) -> Option<&T> {
    values.get(usize::try_from(number).ok()?)
}

/// The records that hold these places, so many in each.
const fn held_by(places: &Range<u64>, each: u64) -> Range<u64> {
    places.start / each..places.end.div_ceil(each)
}

/// Those of these places that the record with this number holds.
fn within(places: &Range<u64>, number: u64, each: u64) -> Range<u64> {
    places.start.max(number.saturating_mul(each))
        ..places.end.min(number.saturating_add(1).saturating_mul(each))
}
