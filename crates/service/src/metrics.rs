//! What a monitoring system scrapes, in Prometheus' text format 0.0.4: sums that were folded or are kept anyway, so that a scrape costs
//! some reads however many keys there are. No label names a key, an application or a caller: the number of series is fixed.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::usage::{BOUNDS_US, Durations};
use keyward_domain::{Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::{Delivery, DueWalk, Folding, KvCount, KvRead, names};
use std::fmt::{Display, Write};

const SECONDS_PER_MINUTE: i64 = 60;

/// The media type of the format.
pub const METRICS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is told of a metric beside its samples.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "gauge", help }
}

/// A text in the format. Names, helps and labels are of this file alone, so none needs escaping.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// A metric with a sample for each value of one label.
    fn labelled<V: Display>(
        &mut self,
        family: &Family,
        label: &str,
        samples: impl IntoIterator<Item = (&'static str, V)>,
    ) {
        self.head(family);
        for (value, sample) in samples {
            self.line(format_args!("{}{{{label}=\"{value}\"}} {sample}", family.name));
        }
    }

    /// A metric that is one number; left out where it is not known.
    fn single(&mut self, family: &Family, sample: Option<impl Display>) {
        if let Some(sample) = sample {
            self.head(family);
            self.line(format_args!("{} {sample}", family.name));
        }
    }

    /// A histogram of seconds.
    fn histogram(&mut self, name: &'static str, help: &'static str, durations: &Durations) {
        self.head(&Family { name, kind: "histogram", help });
        let (upto, all) = durations.cumulative();
        for (bound_us, count) in BOUNDS_US.into_iter().zip(upto) {
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {count}", Seconds(bound_us)));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(format_args!("{name}_sum {}", Seconds(durations.sum_us())));
        self.line(format_args!("{name}_count {all}"));
    }

    fn head(&mut self, family: &Family) {
        self.line(format_args!("# HELP {} {}", family.name, family.help));
        self.line(format_args!("# TYPE {} {}", family.name, family.kind));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Microseconds, written as seconds without losing any.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let fraction = format!("{micros:06}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            fraction => write!(f, "{whole}.{fraction}"),
        }
    }
}

/// What a scrape reads.
struct Read {
    folding: Folding,
    /// Tickets of batches of use that were taken.
    batches_taken: u64,
    /// Tickets of events that are in the tree and the lists, and those that were taken.
    integrated: u64,
    taken: u64,
    delivery: Delivery,
    walk: Option<DueWalk>,
    maintained_at: Option<Timestamp>,
}

impl Read {
    fn text(&self) -> String {
        let mut out = Exposition::default();
        let version = [(env!("CARGO_PKG_VERSION"), 1)];
        out.labelled(
            &gauge("keyward_build_info", "Always 1; the label says which version answers."),
            "version",
            version,
        );
        self.use_of_keys(&mut out);
        self.log(&mut out);
        self.deliveries(&mut out);
        self.work(&mut out);
        out.0
    }

    fn use_of_keys(&self, out: &mut Exposition) {
        let Folding { outcomes, reads, folded, missed, overwritten, through, as_of, .. } = &self.folding;
        let family = counter(
            "keyward_validations_total",
            "Requests with a right secret, by what they came to, as far as they are folded.",
        );
        out.labelled(&family, "outcome", outcomes.iter());
        out.histogram(
            "keyward_validation_store_read_duration_seconds",
            "How long the store took for the parallel reads of a validation with a right secret, as the component saw it; of one request in eight.",
            reads,
        );
        let family = counter(
            "keyward_usage_batches_total",
            "Batches of use: folded, missing for over a minute and given up, or overwritten before anybody came.",
        );
        let results = [("folded", folded), ("missing", missed), ("overwritten", overwritten)];
        out.labelled(&family, "result", results);
        let family = gauge("keyward_usage_batches_waiting", "Batches of use that are not folded yet.");
        out.single(&family, Some(self.batches_taken.saturating_sub(*through)));
        let family = gauge(
            "keyward_usage_folded_timestamp_seconds",
            "Up to when all use is folded that was kept, in seconds since 1970.",
        );
        out.single(&family, as_of.map(Timestamp::unix_s));
    }

    fn log(&self, out: &mut Exposition) {
        let family =
            gauge("keyward_audit_log_size", "Events and voids in the tree of the log's current epoch.");
        out.single(&family, Some(self.integrated));
        let family =
            gauge("keyward_audit_log_lag", "Tickets of the log that were taken and are not in the tree yet.");
        out.single(&family, Some(self.taken.saturating_sub(self.integrated)));
    }

    fn deliveries(&self, out: &mut Exposition) {
        let Delivery { delivered, failed, dead, open, due, .. } = &self.delivery;
        let family =
            counter("keyward_delivery_attempts_total", "Attempts to tell webhooks, by what they came to.");
        out.labelled(&family, "result", [("delivered", delivered), ("failed", failed)]);
        let family = gauge("keyward_delivery_dead_letters", "Dead letters that are kept.");
        out.single(&family, Some(dead.values().fold(0_usize, |sum, count| sum.saturating_add(*count))));
        let family = gauge("keyward_delivery_circuits_open", "Webhooks whose circuit is open.");
        out.single(&family, Some(open.len()));
        let family = gauge("keyward_delivery_queues", "Webhooks for which announcements wait.");
        out.single(&family, Some(due.len()));
    }

    fn work(&self, out: &mut Exposition) {
        let family = gauge(
            "keyward_maintenance_timestamp_seconds",
            "When the work that is due from time to time was done last, in seconds since 1970.",
        );
        out.single(&family, self.maintained_at.map(Timestamp::unix_s));
        let family = gauge(
            "keyward_due_timestamp_seconds",
            "Up to when everything is seen to that was due for keys, in seconds since 1970.",
        );
        out.single(&family, self.walk.map(|walk| walk.minute.saturating_mul(SECONDS_PER_MINUTE)));
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The metrics as text; `usage` is the store where validators keep use.
    ///
    /// # Errors
    /// A missing scope; where a store does not answer.
    pub async fn metrics(&self, attempt: &Attempt, usage: &K) -> Result<String> {
        attempt.caller.require(scope::METRICS_READ)?;
        let reader = self.read();
        let counted = async {
            let taken = usage.increment(names::usage::TICKETS, 0).await?;
            Ok(u64::try_from(taken).unwrap_or(0))
        };
        let (folding, batches_taken, head, last, delivery, walk, maintained_at) = futures::try_join!(
            reader.folding(),
            counted,
            reader.head(),
            self.ledger.last_ticket(),
            reader.delivery(),
            reader.due_walk(),
            reader.maintained_at()
        )?;
        let is_current = head.epoch == last.epoch;
        let read = Read {
            folding,
            batches_taken,
            // A new epoch begins empty until something is integrated.
            integrated: if is_current { head.size } else { 0 },
            taken: last.seq,
            delivery: delivery.unwrap_or_default(),
            walk,
            maintained_at,
        };
        Ok(read.text())
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;

    #[test]
    fn seconds_lose_nothing() {
        for (us, text) in [
            (0, "0"),
            (100, "0.0001"),
            (1, "0.000001"),
            (2_500, "0.0025"),
            (1_000_000, "1"),
            (61_500_000, "61.5"),
        ] {
            assert_eq!(Seconds(us).to_string(), text);
        }
    }
}
