//! What is told of use over time: of a key by the hour or the day, by version, by outcome; of all keys by the hour and by outcome. Nothing
//! here says who used them.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::usage::Outcomes;
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::{KeyUse, KvCount, KvRead, Requests, Resolution, UseBucket};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Type};

/// How long the buckets of a report are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = UsageBucketLength)]
pub enum BucketLength {
    /// An hour; a week of them is kept.
    #[default]
    Hour,
    /// A day; ninety of them are kept.
    Day,
}

impl BucketLength {
    /// The one of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            _ => None,
        }
    }

    const fn resolution(self) -> Resolution {
        match self {
            Self::Hour => Resolution::Hour,
            Self::Day => Resolution::Day,
        }
    }

    /// Buckets where nobody says from when: a day of hours, a month of days.
    const fn count_default(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Day => 30,
        }
    }
}

/// Which use.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsageQuery {
    /// From the bucket on that this lies in.
    pub from: Option<Timestamp>,
    /// Up to the bucket that this lies in, or before which it begins.
    pub to: Option<Timestamp>,
    /// How long the buckets are.
    pub by: BucketLength,
}

/// How often a key was used, when, and to which end.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyUsage)]
pub struct UsageView {
    /// Which key.
    pub key: KeyId,
    /// Whose.
    pub application: ApplicationId,
    /// How long a bucket is.
    pub by: BucketLength,
    /// When the first bucket begins: as asked for, as far as that is kept.
    pub from: Timestamp,
    /// When the last bucket ends.
    pub to: Timestamp,
    /// Up to when all is in it that was kept; use that came later is in it in part, or not yet. Null where none was ever folded.
    #[schema(required = true)]
    pub as_of: Option<Timestamp>,
    /// When the key was used last, to the hour: the hour's beginning. Null where no use is known.
    #[schema(required = true)]
    pub last_used_at: Option<Timestamp>,
    /// Requests with a right secret in all buckets, by what they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
    /// From about how many addresses they came, with a standard error of 6.5 %; a /64 of IPv6 is one.
    pub addresses: u64,
    /// The same by version.
    pub versions: Vec<VersionUsageView>,
    /// Every bucket, oldest first.
    #[schema(max_items = 168)]
    pub buckets: Vec<UsageBucketView>,
}

/// The use of one version.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyVersionUsage)]
pub struct VersionUsageView {
    /// Which version.
    pub version: u16,
    /// Requests with a right secret, by what they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
    /// When it was used last, to the hour: the hour's beginning.
    #[schema(required = true)]
    pub last_used_at: Option<Timestamp>,
}

/// The use in an hour or a day.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageBucket)]
pub struct UsageBucketView {
    /// When it begins.
    pub at: Timestamp,
    /// Requests with a right secret, by what they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
    /// From about how many addresses they came.
    pub addresses: u64,
    /// The same by version.
    pub versions: Vec<VersionCountsView>,
}

/// The use of one version in an hour or a day.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageBucketVersion)]
pub struct VersionCountsView {
    /// Which version.
    pub version: u16,
    /// Requests with a right secret, by what they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
}

/// Those outcomes that there were, by their names.
fn named<S: Serializer>(outcomes: &Outcomes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(outcomes.iter().filter(|(_, count)| *count > 0))
}

fn counts() -> Object {
    let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("How often each outcome was: `VALID`, or the code of the refusal. Those that were not are left out."))
        .additional_properties(Some(AdditionalProperties::RefOr(count.into())))
        .build()
}

/// The requests to the keys of an application, or to all that the caller may see, hour by hour.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Requests)]
pub struct RequestsView {
    /// To whose keys; null where to all that the caller may see.
    #[schema(required = true)]
    pub application: Option<ApplicationId>,
    /// When the first hour begins: as asked for, as far as that is kept.
    pub from: Timestamp,
    /// When the last hour ends.
    pub to: Timestamp,
    /// Up to when all is in it that was kept; use that came later is in it in part, or not yet. Null where none was ever folded.
    #[schema(required = true)]
    pub as_of: Option<Timestamp>,
    /// Requests with a right secret in all hours, by what they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
    /// Every hour, oldest first.
    #[schema(max_items = 168)]
    pub buckets: Vec<RequestsBucketView>,
}

/// The requests of an hour.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestsBucket)]
pub struct RequestsBucketView {
    /// When it begins.
    pub at: Timestamp,
    /// What they came to.
    #[serde(serialize_with = "named")]
    #[schema(schema_with = counts)]
    pub outcomes: Outcomes,
}

impl UsageView {
    fn of(range: &Range, as_of: Option<Timestamp>, used: Option<&KeyUse>, buckets: &[UseBucket]) -> Self {
        let resolution = range.by.resolution();
        let mut all = UseBucket::empty(0);
        buckets.iter().for_each(|bucket| all.merge(bucket));
        let last_used_at = |version| used.and_then(|used| used.last_used_at(version));
        Self {
            key: range.key,
            application: range.application,
            by: range.by,
            from: resolution.begins(range.first),
            to: resolution.begins(range.last.saturating_add(1)),
            as_of,
            last_used_at: used.and_then(KeyUse::last_used),
            outcomes: all.outcomes(),
            addresses: all.addresses.estimate(),
            versions: all
                .versions
                .iter()
                .map(|(version, outcomes)| VersionUsageView {
                    version: *version,
                    outcomes: *outcomes,
                    last_used_at: last_used_at(*version),
                })
                .collect(),
            buckets: buckets.iter().map(|bucket| UsageBucketView::of(bucket, resolution)).collect(),
        }
    }
}

impl UsageBucketView {
    fn of(bucket: &UseBucket, resolution: Resolution) -> Self {
        let version = |(version, outcomes): &(u16, Outcomes)| VersionCountsView {
            version: *version,
            outcomes: *outcomes,
        };
        Self {
            at: resolution.begins(bucket.bucket),
            outcomes: bucket.outcomes(),
            addresses: bucket.addresses.estimate(),
            versions: bucket.versions.iter().map(version).collect(),
        }
    }
}

/// Which buckets of which key.
struct Range {
    key: KeyId,
    application: ApplicationId,
    by: BucketLength,
    first: i64,
    last: i64,
}

impl UsageQuery {
    /// The first and the last bucket.
    fn range(&self, now: Timestamp) -> Result<(i64, i64)> {
        let resolution = self.by.resolution();
        let current = resolution.bucket_of(now);
        let last = match self.to {
            // A bucket that only begins there is not in it.
            Some(to) => resolution.bucket_of(Timestamp::from_unix_ms(to.unix_ms().saturating_sub(1))),
            None => current,
        };
        let last = last.min(current);
        let first = match self.from {
            Some(from) => resolution.bucket_of(from),
            None => last.saturating_sub(self.by.count_default() - 1),
        };
        if first > last {
            return Err(Error::parameter(
                "from",
                "is not before the end",
                "a time before `to` and before now",
            ));
        }
        let oldest = current.saturating_sub(resolution.kept() - 1);
        if last < oldest {
            let expected = "a time within the last seven days by the hour, or the last ninety by the day";
            return Err(Error::parameter("to", "is too long ago", expected));
        }
        Ok((first.max(oldest), last))
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How many requests there were to the keys of an application, or to all that the caller may see, hour by hour: those of a day where
    /// nothing is asked, of seven at most. Folds what was kept in `usage` first, so that it is of now.
    ///
    /// # Errors
    /// A missing scope, no such application, a range of which nothing is kept; where a store does not answer.
    pub async fn requests(
        &self,
        attempt: &Attempt,
        application: Option<ApplicationId>,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        usage: &K,
    ) -> Result<RequestsView> {
        let of = match application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::KEYS_READ, application, "application").await?;
                vec![Some(application)]
            }
            None => match self.readable_applications(attempt)? {
                None => vec![None],
                Some(applications) => applications.into_iter().map(Some).collect(),
            },
        };
        let (first, last) = UsageQuery { from, to, by: BucketLength::Hour }.range(self.clock.now())?;
        self.fold_use(usage).await?;
        let reader = self.read();
        let days = Requests::day_of(first)..=Requests::day_of(last);
        let days = of.into_iter().flat_map(|of| days.clone().map(move |day| (of, day)));
        let found = days.map(async |(of, day)| {
            Ok::<_, Error>(reader.requests(of, day).await?.filter(|found| found.day == day))
        });
        let (found, folding) = futures::join!(futures::future::try_join_all(found), reader.folding());
        let mut hours: BTreeMap<i64, Outcomes> =
            (first..=last).map(|hour| (hour, Outcomes::default())).collect();
        let mut all = Outcomes::default();
        for (hour, outcomes) in found?.into_iter().flatten().flat_map(|day| day.hours) {
            if let Some(known) = hours.get_mut(&hour) {
                known.merge(&outcomes);
                all.merge(&outcomes);
            }
        }
        let hour = |(hour, outcomes)| RequestsBucketView { at: Resolution::Hour.begins(hour), outcomes };
        Ok(RequestsView {
            application,
            from: Resolution::Hour.begins(first),
            to: Resolution::Hour.begins(last.saturating_add(1)),
            as_of: folding?.as_of,
            outcomes: all,
            buckets: hours.into_iter().map(hour).collect(),
        })
    }

    /// How often a key was used. Folds what was kept in `usage` first, so that it is of now.
    ///
    /// # Errors
    /// A missing scope, no such key, a range of which nothing is kept; where a store does not answer.
    pub async fn key_usage(
        &self,
        attempt: &Attempt,
        id: KeyId,
        query: &UsageQuery,
        usage: &K,
    ) -> Result<UsageView> {
        let key = self.visible_key(attempt, scope::KEYS_READ, id).await?;
        let (first, last) = query.range(self.clock.now())?;
        let range = Range { key: id, application: key.application, by: query.by, first, last };
        self.fold_use(usage).await?;
        let (reader, resolution) = (self.read(), query.by.resolution());
        let blocks = resolution.block_of(first)..=resolution.block_of(last);
        let blocks = blocks.map(async |number| {
            let found = reader.use_block(id, resolution, number).await?;
            Ok::<_, Error>(found.filter(|found| found.block == number))
        });
        let (blocks, used, folding) =
            futures::join!(futures::future::try_join_all(blocks), reader.key_use(id), reader.folding());
        let found = blocks?.into_iter().flatten().flat_map(|block| block.buckets);
        let mut found: BTreeMap<i64, UseBucket> = found.map(|bucket| (bucket.bucket, bucket)).collect();
        let buckets: Vec<UseBucket> = (first..=last)
            .map(|bucket| found.remove(&bucket).unwrap_or_else(|| UseBucket::empty(bucket)))
            .collect();
        Ok(UsageView::of(&range, folding?.as_of, used?.as_ref(), &buckets))
    }
}
